"""What the page says of electrodes at several lags; the truth is planted (conftest.electrodes)."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.chance import Chance
from brainalign.encoding.latency import latency
from brainalign.reporting import found
from brainalign.reporting.facts import data_facts
from brainalign.reporting.figures import draw_targets
from brainalign.reporting.lags import ROWS, draw_lags
from brainalign.reporting.page import render, tiles
from brainalign.reporting.parts import draw_partition
from brainalign.reporting.peaks import at_peaks, lag_curves, nested_r
from brainalign.reporting.places import draw_places
from brainalign.reporting.tables import UNSEEN, answer, gain_table, summary, target_table
from brainalign.reporting.timelines import draw_course, draw_excerpt, draw_folds
from brainalign.reporting.venn import draw_venn
from brainalign.reporting.wording import number, signed


def texts(drawing):
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)


def scored(fit, change):
    """The fit with other scores: `change` of the targets' columns and of the model's name."""
    scores = fit.scores.copy()
    scores["r"] = change(scores)
    return replace(fit, scores=scores)


def placed(fit, **columns):
    """The fit with other columns of its targets; functions of the columns as they are."""
    here = fit.observed.columns
    changed = here.assign(**{name: make(here) for name, make in columns.items()})
    return replace(fit, observed=replace(fit.observed, columns=changed))


def sized(fit, electrodes):
    """The scores of a study of many electrodes, of which only the baseline's predictions were kept."""
    lags = np.unique(fit.observed.columns["lag"])
    names = pd.DataFrame({"channel": np.repeat([f"G{k}" for k in range(electrodes)], len(lags)), "type": "ECOG"})
    columns = names.assign(lag=np.tile(lags, electrodes))
    rng, rows = np.random.default_rng(0), fit.scores[fit.scores["model"] == "full"].iloc[np.zeros(len(columns), int)]
    parts = [rows.assign(model=m, r=rng.normal(mean, 0.1, len(rows))) for m, mean in (("baseline", 0.1), ("full", 0.3))]
    observed = replace(fit.observed, values=rng.normal(size=(240, len(columns))), columns=columns)
    predictions = replace(observed, columns=columns.assign(model="baseline"))
    none = dict.fromkeys(("gain", "partition"), pd.DataFrame())
    return replace(fit, scores=pd.concat(parts, ignore_index=True), observed=observed, predictions=predictions, **none)


def full_of(fit):
    return fit.scores[fit.scores["model"] == "full"].reset_index(drop=True)


class TestNames:
    @pytest.mark.parametrize(
        ("columns", "nouns"),
        [
            ({"channel": ["A"], "type": "SEEG"}, ("electrode", "electrodes")),
            ({"channel": ["A", "B"], "type": ["ECOG", "DBS"]}, ("electrode", "electrodes")),
            ({"channel": ["A", "B"], "type": ["MEGMAG", "MEGGRADPLANAR"]}, ("sensor", "sensors")),
            ({"channel": ["A"], "type": "EEG"}, ("sensor", "sensors")),
            ({"channel": ["A", "B"], "type": ["EEG", "MISC"]}, ("channel", "channels")),
            ({"channel": ["A"]}, ("channel", "channels")),
            ({"electrode": ["A"]}, ("electrode", "electrodes")),
            ({"roi": ["LIFG"], "lag": 0.1}, ("region", "regions")),
        ],
    )
    def test_targets_are_what_they_were_recorded_from(self, columns, nouns):
        assert found.things_of(pd.DataFrame(columns)) == nouns

    def test_a_label_has_person_electrode_and_lag(self, lagged):
        labels = found.labels_of(lagged.observed.columns)
        assert labels[:2] == ["01 LA1 at −0.2 s", "01 LA1 at 0 s"]
        assert len(set(labels)) == 45
        regions = pd.DataFrame({"roi": "LIFG", "lag": [0.0, 0.2]})
        assert found.labels_of(regions) == ["LIFG at 0 s", "LIFG at 0.2 s"]

    def test_of_one_lag_and_one_person_the_electrode_is_enough(self, electrodes_of):
        alone = electrodes_of(people=("01",), each=2, lags=(0.2,), partition=None)
        assert found.labels_of(alone.observed.columns) == ["LA1", "LA2"]
        assert found.nouns_of(alone) == ("electrode", "electrodes")
        assert found.targets_of(alone) == "2 electrodes"

    def test_electrodes_times_lags_where_each_has_every_lag(self, lagged):
        assert found.targets_of(lagged) == "9 electrodes × 5 lags"
        some = replace(lagged, observed=lagged.observed.select(columns=slice(0, 44)))
        assert found.targets_of(some) == "44 electrodes at lags"

    def test_no_voxel_no_volume_no_motion(self, lagged):
        page = render(lagged)
        assert not re.findall(r"voxel|volume|\bTR\b|motion", page)
        assert "voxel" not in "\n".join(summary(lagged))
        sections = re.findall(r"<h2>([^<]*)</h2>", page)
        assert sections[:4] == ["The data", "Lag by lag", "Electrode by electrode", "Person by person"]
        assert page.index('<div class="beside">') < page.index("r, lag from inner folds") < page.index("from behind")


class TestPeaks:
    def test_each_electrode_once_at_its_highest_r(self, lagged):
        best, full = at_peaks(lagged), full_of(lagged)
        want = full.loc[full.groupby(["subject", "channel"])["r"].idxmax()]
        got = full_of(best)
        assert (
            got[["subject", "channel", "lag", "r"]].values.tolist()
            == want[["subject", "channel", "lag", "r"]].values.tolist()
        )
        assert best.observed.columns["lag"].tolist() == got["lag"].tolist()
        base = best.scores.query("model == 'baseline'")
        assert base["lag"].tolist() == got["lag"].tolist()

    def test_they_are_those_of_latency(self, lagged):
        known = latency(lagged, bootstrap=0).set_index(["subject", "channel"])
        best = full_of(at_peaks(lagged)).set_index(["subject", "channel"])
        assert best["lag"].to_dict() == known["peak"].to_dict()
        assert best["r"].to_dict() == pytest.approx(known["r_peak"].to_dict())
        order = at_peaks(lagged).observed.columns.iloc[[7, 0, 4]]
        want = known["r_nested"][list(zip(order["subject"], order["channel"], strict=True))]
        assert nested_r(lagged, order).tolist() == pytest.approx(want.tolist())

    def test_without_positions_electrodes_stay_apart(self, lagged):
        nowhere = placed(lagged, **{axis: lambda columns: np.nan for axis in "xyz"})
        assert at_peaks(nowhere).observed.shape[1] == 9

    def test_what_is_not_known_of_inner_folds_is_nan(self, lagged):
        electrodes = at_peaks(lagged).observed.columns
        only_base = lagged.predictions.select(model="baseline")
        assert np.isnan(nested_r(replace(lagged, predictions=only_base), electrodes)).all()
        twice = placed(lagged, lag=lambda columns: columns["lag"].replace(0.6, 0.4))
        assert np.isnan(nested_r(twice, electrodes)).all()

    def test_without_lags_nothing_is_chosen(self, alone, electrodes_of):
        for fit in (alone, electrodes_of(each=2, lags=(0.2,), partition=None)):
            assert at_peaks(fit) is fit
            assert lag_curves(fit).empty
            assert draw_lags(fit) is None

    def test_curves_are_means_over_electrodes(self, lagged):
        means = lagged.scores.groupby(["model", "lag"])["r"].mean()
        curves = lag_curves(lagged)
        assert curves["lead"].tolist() == pytest.approx(means["full"].tolist())
        assert curves["baseline"].tolist() == pytest.approx(means["baseline"].tolist())
        assert curves["gain"].idxmax() == 0.2  # six of nine follow the model there
        assert curves.loc[0.2, "n"] == 9
        assert 6 <= curves.loc[0.2, "above"] <= 9


class TestCurve:
    def test_the_title_says_when_and_how_much(self, lagged):
        means = lagged.scores.groupby(["model", "lag"])["r"].mean()
        peak = means["full"].idxmax()
        assert peak in (0.0, 0.2)
        words = {0.0: "as a word begins", 0.2: "0.2 s after a word begins"}[peak]
        title = draw_lags(lagged).title
        numbers = f"(mean r {number(means['full'].max())}, the baseline {number(means['baseline'][peak])})"
        assert title.startswith(f"Electrodes are predicted best {words} {numbers}; lm adds most ")
        gain = means["full"][0.2] - means["baseline"][0.2]
        assert f"({signed(gain)}, above the baseline in {lag_curves(lagged).loc[0.2, 'above']} of 9)." in title

    def test_without_a_baseline_the_model_is_followed(self, lagged):
        alone = replace(lagged, scores=full_of(lagged))
        r = full_of(lagged).groupby("lag")["r"].mean()
        words = {0.0: "as a word begins", 0.2: "0.2 s after a word begins"}[r.idxmax()]
        drawn = draw_lags(alone)
        added = found.models_of(alone).added
        assert drawn.title == f"Electrodes follow {added} most {words} (mean r {number(r.max())})."
        assert "gain in r" not in texts(drawn)

    def test_where_nothing_is_added_it_says_so(self, lagged):
        nothing = scored(lagged, lambda s: np.where(s["model"] == "full", 0.1 + 0.1 * (s["lag"] == 0.4), 0.2))
        assert draw_lags(nothing).title == (
            "Electrodes are predicted best 0.4 s after a word begins (mean r .20, the baseline .20); lm adds to the "
            "baseline at no lag."
        )

    def test_where_nothing_is_predicted_it_says_so(self, lagged):
        nothing = scored(lagged, lambda s: -0.01 - 0.1 * (s["lag"] < 0))
        assert draw_lags(nothing).title == "Electrodes follow lm at no lag: the highest mean r is −.01."
        silent = scored(lagged, lambda s: np.nan)
        assert draw_lags(silent) is None
        assert "Lag by lag" not in render(silent)

    def test_one_electrode_is_called_by_its_name_and_has_no_map(self, electrodes_of):
        drawn = draw_lags(electrodes_of(people=("01",), each=1, partition=None))
        assert drawn.title.startswith("LA1 is predicted best 0.4 s after a word begins (r .")
        assert "; lm adds most then (+." in drawn.title
        assert "Map" not in drawn.note
        assert "LA1" not in texts(drawn)

    def test_every_electrode_has_a_row_those_that_peak_first_on_top(self, lagged):
        full = full_of(lagged)
        best = full.loc[full.groupby(["subject", "channel"])["r"].idxmax()]
        best = best.sort_values(["lag", "r"], ascending=[True, False])
        named = [t for t in texts(draw_lags(lagged)) if " LA" in t]
        assert named == (best["subject"] + " " + best["channel"]).tolist()

    def test_of_many_the_best_are_drawn_and_it_is_said(self, lagged):
        many = sized(lagged, 60)
        drawn = draw_lags(many)
        full = full_of(many).assign(channel=many.observed.columns["channel"].to_numpy())
        best = full.groupby("channel")["r"].max().nlargest(ROWS).index
        assert {t for t in texts(drawn) if t.startswith("G")} == set(best)
        assert f"Map: the {ROWS} best of 60" in drawn.note

    def test_the_window_and_how_the_lag_was_picked_are_said(self, lagged):
        note = draw_lags(lagged).note
        assert "the middle of a window of 0.2 s" in note
        assert "which lag is highest was seen on the test samples" in note
        full = full_of(lagged)
        q = full.loc[full["lag"] == lag_curves(lagged)["lead"].idxmax(), "q"]
        assert f", q < .05 in {(q < 0.05).sum()} of 9." in note
        bare = draw_lags(replace(lagged, settings={})).note
        assert "the middle of a window, of which" in bare

    def test_a_ceiling_is_drawn_where_it_fits_and_said_where_it_does_not(self, lagged):
        high = lag_curves(lagged)["lead"].max()
        near, far = (
            replace(lagged, scores=lagged.scores.assign(ceiling_r=c, normalised_r=0.5)) for c in (1.5 * high, 0.99)
        )
        assert "ceiling" in texts(draw_lags(near))
        few = replace(far, scores=far.scores.assign(r=far.scores["r"] / 4))
        assert "ceiling up to .99, above the axis" in texts(draw_lags(few))
        assert not [t for t in texts(draw_lags(lagged)) if "ceiling" in t]
        assert "Ceiling" not in draw_lags(lagged).note

    def test_people_have_a_line_each_where_there_are_several(self, lagged, electrodes_of):
        assert "one person" in texts(draw_lags(lagged))
        alone = electrodes_of(people=("01",), each=2, partition=None)
        assert "one person" not in texts(draw_lags(alone))

    def test_lags_on_one_side_and_an_event_without_a_word(self, lagged):
        columns = lagged.observed.columns
        later = replace(
            lagged,
            observed=replace(
                lagged.observed,
                columns=columns.assign(lag=columns["lag"] + 1),
                samples=lagged.observed.samples.drop(columns="word"),
            ),
        )
        assert "after an event begins" in draw_lags(later).title
        assert "lag (s); at 0 the event begins" in texts(draw_lags(later))


class TestPlaces:
    def test_electrodes_are_drawn_however_few(self, lagged):
        best = full_of(at_peaks(lagged)).sort_values("r").iloc[-1]
        drawn = draw_places(lagged)
        name = f"{best['subject']} {best['channel']}"
        point = ", ".join(f"{best[axis]:g}" for axis in "xyz").replace("-", "−")
        assert drawn.title == (
            f"The best electrode, {name}, lies at ({point}) mm (r {number(best['r'])} at {best['lag']:g} s)."
        )
        assert "all 9 electrodes" in drawn.note
        assert "Frame: MNI152Lin." in drawn.note
        assert "left – right (mm)" in texts(drawn)
        assert drawn.svg.count("<use") >= 3 * 9

    def test_positions_not_known_are_left_out_and_counted(self, lagged):
        some = placed(lagged, x=lambda columns: columns["x"].where(columns["subject"] != "02"))
        drawn = draw_places(some)
        assert "of 6 that are drawn" in drawn.title
        assert "Not drawn: 3 electrodes of unknown position." in drawn.note
        assert dict(data_facts(some))["Positions"] == "MNI152Lin; 3 not known"

    def test_nothing_known_nothing_drawn(self, lagged):
        nowhere = placed(lagged, x=lambda columns: np.nan, frame=lambda columns: "n/a")
        assert draw_places(nowhere) is None
        assert dict(data_facts(nowhere))["Positions"] == "not known"
        assert "from behind" not in render(nowhere)
        assert draw_places(scored(lagged, lambda s: np.nan)) is None

    def test_frames_are_never_mixed(self, lagged):
        two = placed(lagged, frame=lambda columns: np.where(columns["subject"] == "03", "ACPC", "MNI152Lin"))
        drawn = draw_places(two)
        assert "6 electrodes through the head" in drawn.note
        assert "Frame: MNI152Lin. Not drawn: 3 electrodes in ACPC; frames are not to be compared." in drawn.note
        assert dict(data_facts(two))["Positions"] == "6 in MNI152Lin, 3 in ACPC"

    @pytest.mark.parametrize(
        ("frame", "said"), [("CTF", "Frame: CTF."), ("n/a", "In which frame they are is not known.")]
    )
    def test_an_axis_of_another_frame_is_only_called_by_its_letter(self, lagged, frame, said):
        drawn = draw_places(placed(lagged, frame=lambda columns: frame))
        assert {"x (mm)", "y (mm)", "z (mm)", "x and z"} <= set(texts(drawn))
        assert "left – right (mm)" not in texts(drawn)
        assert said in drawn.note


class TestTables:
    def test_each_electrode_at_its_best_lag_beside_one_chosen_unseen(self, lagged):
        table = target_table(lagged)
        assert table.head[:5] == ["electrode", "best lag", "baseline r", "full r", UNSEEN]
        assert "p" not in table.head
        assert {"q", "family-wise p"} <= set(table.head)
        known = latency(lagged, bootstrap=0)
        assert [row[0] for row in table.rows] == (known["subject"] + " " + known["channel"]).tolist()
        assert [row[1] for row in table.rows] == [f"{lag:g} s" for lag in known["peak"]]
        assert [row[3] for row in table.rows] == [number(r, 3) for r in known["r_peak"]]
        assert [row[4] for row in table.rows] == [number(r, 3) for r in known["r_nested"]]
        assert "which flatters r. Lag from inner folds: chosen in each fold without its test samples." in table.notes[0]
        assert not table.last_is_mean

    def test_of_many_the_twenty_best(self, lagged):
        many = sized(lagged, 60)
        table = target_table(many)
        assert len(table.rows) == 20
        assert table.notes[0] == "The 20 best of 60 electrodes, by r of full."
        r = full_of(many).assign(channel=many.observed.columns["channel"].to_numpy()).groupby("channel")["r"].max()
        assert [row[0] for row in table.rows] == r.nlargest(20).index.tolist()
        assert UNSEEN not in table.head  # their predictions were not kept

    def test_regions_stand_beside_electrodes_where_they_are_known(self, lagged):
        known = placed(lagged, region=lambda columns: np.where(columns["channel"] == "LA1", "STG", "n/a"))
        table = target_table(known)
        assert table.head[1] == "region"
        assert table.rows[0][1] == "STG"

    def test_summary_answer_and_tiles_say_when(self, lagged):
        curve = full_of(lagged).groupby("lag")["r"].mean()
        words = {0.0: "as a word begins", 0.2: "0.2 s after a word begins"}[curve.idxmax()]
        assert "on average over 9 electrodes × 5 lags" in answer(lagged)
        assert f" Mean r is highest {words}: {number(curve.max())}, the baseline " in answer(lagged)
        line = next(line for line in summary(lagged) if line.startswith("best lag"))
        assert f"mean r is highest {words}: {number(curve.max())}, the baseline " in line
        assert (f"{curve.idxmax():g} s", f"lag of the highest mean r ({number(curve.max())})", "full") in tiles(lagged)
        assert gain_table(lagged).rows[0][0] == "mean of 9 electrodes × 5 lags"

    def test_what_was_made_of_voltages(self, lagged):
        facts = dict(data_facts(lagged))
        seconds = lagged.observed.samples.groupby("run")["time"].agg(lambda t: t.max() - t.min()).sum()
        assert facts["Recording"].startswith(f"2 runs, 240 words in {int(seconds // 60)} min")
        assert facts["Electrodes"] == "9 SEEG: 3 in 01, 3 in 02, 3 in 03"
        assert facts["Windows"] == "5 of 0.2 s, their middles from −0.2 s to 0.6 s; at 0 s the word begins"
        assert facts["Signal"] == "amplitude at 70–150 Hz in 8 sub-bands, 100 times a second"
        assert facts["Reference"] == "common average"
        assert facts["Line noise"] == "60 Hz and its harmonics removed in 2 runs; not removed in 1 run"
        assert facts["Bad channels"] == "sub-01: LA6, LA8 (flat), LA7 (bad by channels.tsv)"
        assert "Words" not in facts

    def test_one_person_and_one_window(self, electrodes_of):
        facts = dict(data_facts(electrodes_of(people=("01",), each=2, lags=(0.2,), partition=None)))
        assert facts["Electrodes"] == "2 SEEG: LA1, LA2"
        assert facts["Windows"] == "one, its middle 0.2 s after a word begins"
        assert not {"Signal", "Reference", "Bad channels"} & set(facts)


class TestFigures:
    def test_bars_are_electrodes_at_their_best_lag(self, lagged):
        drawn = draw_targets(lagged)
        best = full_of(at_peaks(lagged))[["subject", "channel", "lag"]].to_numpy().tolist()
        assert {f"{who} {channel} at {lag:g} s" for who, channel, lag in best} <= set(texts(drawn))
        assert "is highest on the test samples, which flatters it." in drawn.note

    def test_many_electrodes_are_a_distribution_of_electrodes(self, lagged):
        drawn = draw_targets(sized(lagged, 60))
        assert drawn.title.startswith("Half of 60 electrodes are predicted with r above ")
        assert " at their best lag, the best, G" in drawn.title
        assert "number of electrodes" in texts(drawn)

    def test_parts_are_drawn_lag_by_lag(self, lagged):
        drawn = draw_partition(lagged)
        assert {"lag (s)", "joint R²", "length", "lm"} <= set(texts(drawn))
        assert "on average over 9 electrodes × 5 lags" in drawn.title
        assert drawn.note == "At each lag the mean over electrodes; dashed line: the word begins."
        assert "on average over 9 electrodes × 5 lags" in draw_venn(lagged).title

    def test_the_course_goes_word_by_word(self, lagged):
        drawn = draw_course(lagged)
        assert "word, runs one after the other" in texts(drawn)
        best = full_of(lagged).sort_values("r").iloc[-1]
        assert drawn.title.startswith(f"{best['subject']} {best['channel']} at {best['lag']:g} s, predicted best")

    def test_whose_time_it_is_is_said_where_there_are_several(self, lagged, electrodes_of):
        assert "Time: when sub-01 met the words" in draw_folds(lagged).note
        assert "Time" not in draw_folds(electrodes_of(people=("01",), each=2, partition=None)).note

    def test_voltages_as_they_run_are_samples_and_no_more_than_can_be_told_apart(self, lagged, listening):
        table = listening.excerpt
        events = table[table["kind"] == "event"]
        clock = np.arange(0, 36, 0.01)
        run = pd.DataFrame({"kind": "volume", "run": "1", "time": clock, "duration": 0.01, "text": "", "value": 1.0})
        settings = {"data": {"kind": "ieeg"}, "design": {"delays_volumes": [0, 10]}}
        excerpt = pd.concat([events, run.assign(feature="length", kernel="sum")], ignore_index=True)
        drawn = draw_excerpt(replace(listening, settings=settings, excerpt=excerpt))
        assert drawn.title == "From words to samples: each sample is predicted from the words 0 to 0.1 s earlier."
        assert "length\nper sample" in drawn.svg or "per sample" in texts(drawn)
        assert 400 < int(re.search(r"in each of (\d+) samples of 0.01 s", drawn.alt)[1]) <= 420


@pytest.mark.parametrize(
    "change",
    [
        lambda fit: replace(fit, scores=fit.scores.assign(q=np.nan, p=np.nan)),
        lambda fit: replace(fit, scores=fit.scores.query("model == 'baseline'")),
        lambda fit: replace(fit, settings={}, partition=pd.DataFrame(), gain=pd.DataFrame()),
        lambda fit: placed(fit, x=lambda columns: np.nan, channel=lambda columns: "LA1"),
        lambda fit: scored(fit, lambda s: s["r"].where(s["lag"] != 0.2)),
        lambda fit: scored(fit, lambda s: s["r"].where(s["subject"] != "02")),
    ],
)
def test_whatever_is_missing_the_page_is_made(lagged, change):
    assert render(change(lagged)).rstrip().endswith("</html>")


def test_noise_is_not_flattered_where_lags_are_chosen_in_inner_folds(electrodes_of):
    silent = electrodes_of(noise=1e6, partition=None, chance=Chance(permutations=0, bootstrap=0))
    best = at_peaks(silent)
    assert full_of(best)["r"].mean() > 0.05  # the highest of five
    assert nested_r(silent, best.observed.columns).mean() < 0.04
