import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brainalign.reporting.drawing import FULL, TEST, draw, inline, new_figure
from brainalign.reporting.figures import draw_layers, draw_people, draw_targets
from brainalign.reporting.found import people_gains
from brainalign.reporting.places import draw_places
from brainalign.reporting.timelines import WORDS, apart, draw_course, draw_excerpt, draw_folds
from brainalign.reporting.wording import MINUS, number


def texts(drawing):
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)


def fills(drawing, colour):
    return len(re.findall(rf'style="[^"]*fill: {colour}[^"]*"', drawing.svg))


def test_number_can_be_read_back():
    @given(st.floats(-3, 3), st.integers(1, 4))
    def read_back(value, digits):
        assert float(number(value, digits).replace(MINUS, "-")) == pytest.approx(value, abs=0.5001 * 10**-digits)

    read_back()


class TestInline:
    def test_the_same_fit_gives_the_same_bytes(self, listening):
        assert draw_targets(listening).svg == draw_targets(listening).svg

    def test_ids_of_two_figures_never_meet(self, listening):
        all_of = (draw_layers, draw_targets, draw_people, draw_excerpt, draw_folds, draw_course)
        ids = [set(re.findall(r' id="([^"]+)"', f(listening).svg)) for f in all_of]
        assert sum(map(len, ids)) == len(set().union(*ids))

    def test_every_reference_finds_its_definition(self, listening):
        svg = draw_folds(listening).svg
        wanted = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', svg))
        assert wanted
        assert wanted <= set(re.findall(r' id="([^"]+)"', svg))

    def test_the_alternative_text_is_escaped(self):
        svg = inline('<svg width="1pt" height="1pt" viewBox="0 0 800 9"><g/></svg>', 'a "b" <c>')
        assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in svg

    def test_nobody_s_own_style_gets_in(self, monkeypatch):
        import matplotlib

        def empty():
            return new_figure(3, 2)[0]

        before = draw("x", empty, title="", alt="").svg
        monkeypatch.setitem(matplotlib.rcParams, "xtick.labelsize", 40.0)
        assert draw("x", empty, title="", alt="").svg == before
        assert matplotlib.rcParams["xtick.labelsize"] == 40.0

    def test_dollars_and_other_scripts_are_letters(self, listening):
        columns = listening.observed.columns.assign(roi=["$\\foo$", "前額葉", "c", "d", "e", "f"])
        drawn = draw_targets(replace(listening, observed=replace(listening.observed, columns=columns)))
        assert {"$\\foo$", "前額葉"} <= set(texts(drawn))


class TestLayers:
    def test_title_names_the_best_layer_and_what_it_is_compared_with(self, listening):
        best = listening.layers.sort_values("r").iloc[-1]
        title = draw_layers(listening).title
        assert title.startswith(f"Layer {best['layer']:g} of 4 predicts best (r {number(best['r'])}, seen on the test")
        assert "the baseline" in title

    def test_baseline_choice_and_ceiling_are_drawn_and_named(self, listening):
        named = " ".join(texts(draw_layers(listening)))
        assert "baseline" in named
        assert "ceiling" in named
        assert "in inner folds" in named

    def test_a_far_ceiling_is_said_instead_of_flattening_the_profile(self, listening):
        scores = listening.scores.assign(ceiling_r=0.99, normalised_r=0.4)
        layers = listening.layers.assign(r=listening.layers["r"] / 4, r_low=np.nan, r_high=np.nan)
        scores["r"] /= 4
        assert "ceiling .99, above the axis" in texts(draw_layers(replace(listening, scores=scores, layers=layers)))

    def test_without_choice_or_interval_it_is_still_drawn(self, listening):
        layers = listening.layers.drop(columns="chosen").assign(r_low=np.nan, r_high=np.nan, layer=np.nan)
        drawn = draw_layers(replace(listening, layers=layers))
        assert "chosen (%)" not in texts(drawn)
        assert "interval" not in drawn.note

    @pytest.mark.parametrize(
        ("axis", "places", "label", "opens"),
        [
            ("lag", [-0.4, -0.2, 0.0, 0.2, 0.4], "lag (s)", "Lag 0 s predicts best"),
            ("context", [4, 8, 16, 64, 128], "context", "Context 16 predicts best"),
            ("number", [0, 1, 2, 3, 4], "alternative", "Alternative 2 predicts best"),
        ],
    )
    def test_lags_and_contexts_are_called_so(self, listening, axis, places, label, opens):
        r = [0.1, 0.2, 0.3, 0.2, 0.1]
        layers = listening.layers.drop(columns="layer").assign(**{axis: places, "r": r, "r_low": r, "r_high": r})
        drawn = draw_layers(replace(listening, layers=layers))
        assert drawn.title.startswith(opens)
        assert label in texts(drawn)
        assert "layer" not in " ".join([*texts(drawn), drawn.title, drawn.note, drawn.alt])

    def test_no_layers_no_figure(self, alone):
        assert draw_layers(alone) is None


class TestTargets:
    def test_a_bar_per_region_and_model(self, listening):
        assert fills(draw_targets(listening), FULL) == 6 + 1  # and one in the legend
        assert set(listening.observed.columns["roi"]) <= set(texts(draw_targets(listening)))

    def test_many_become_a_distribution_and_a_map(self, voxels):
        assert "number of voxels" in texts(draw_targets(voxels))
        assert draw_targets(voxels).title.startswith("Half of 500 voxels are predicted with r above")
        assert {"from above", "from behind", "from the side"} <= set(texts(draw_places(voxels)))

    def test_few_or_placeless_targets_have_no_map(self, listening):
        assert draw_places(listening) is None

    def test_nothing_predicted_nothing_drawn(self, alone):
        silent = replace(alone, scores=alone.scores.assign(r=np.nan))
        assert draw_targets(silent) is None
        assert draw_course(silent) is None


def test_people_are_drawn_in_the_order_of_their_gain(listening):
    named = [t for t in texts(draw_people(listening)) if t in set(people_gains(listening).index)]
    assert named == list(people_gains(listening).sort_values(kind="stable").index)


def test_no_people_no_dots(alone):
    assert draw_people(alone) is None


class TestTimelines:
    def test_every_fold_has_one_test_stretch_where_folds_are_contiguous(self, listening):
        # broken bars: one path per stretch, the colour said for the collection
        assert draw_folds(listening).svg.count(TEST) == 6 + 1  # and the legend
        assert "6 folds in turn, with a gap on both sides" in draw_folds(listening).title

    def test_a_held_out_set_is_called_so(self, voxels):
        assert (
            draw_folds(voxels).title == "One part of the recording (25 %) was held out once and never used for fitting."
        )

    def test_words_are_written_and_long_runs_cut_to_what_can_be_read(self, listening):
        drawn = draw_excerpt(listening)
        written = [t for t in texts(drawn) if t in set(listening.excerpt["text"]) - {""}]
        assert written == listening.excerpt.query("kind == 'event'")["text"].tolist()[:WORDS]
        assert "2 to 10 s earlier" in drawn.title

    def test_events_without_words_and_other_kernels(self, listening):
        settings = {**listening.settings, "design": {"resample": "lanczos", "delays_volumes": [0]}}
        blocks = listening.excerpt.assign(text=np.nan, kernel="boxcar")  # which blocks have, whatever words have
        drawn = draw_excerpt(replace(listening, excerpt=blocks, settings=settings))
        assert drawn.title == "From events to volumes: each volume is predicted from the events."
        assert not [t for t in texts(drawn) if "Lanczos" in t]

    def test_no_excerpt_no_figure(self, alone):
        assert draw_excerpt(alone) is None

    @given(arrays(float, st.integers(2, 40), elements=st.floats(0, 100)).map(np.sort), st.floats(0.01, 2))
    def test_labels_keep_their_distance_their_order_and_their_place(self, wanted, gap):
        got = apart(wanted, gap, 0.0, 100.0)
        assert np.diff(got).min() >= gap * (1 - 1e-9) - 1e-9
        assert got.min() >= -1e-9
        assert got.max() <= 100 + 1e-9
        if np.diff(wanted).min() >= gap:
            assert got == pytest.approx(wanted, abs=1e-9)

    def test_the_course_is_that_of_the_best_target(self, listening):
        full = listening.scores.query("model == 'full'")
        best = full.loc[full["r"].idxmax()]
        assert draw_course(listening).title.startswith(f"{best['roi']}, predicted best")
        assert draw_course(listening).title.endswith(f"r {number(best['r'])}.")

    def test_where_only_the_baseline_s_predictions_were_kept_the_title_says_so(self, listening):
        keep = (listening.predictions.columns["model"] == "baseline").to_numpy()
        scores = listening.scores[listening.scores["model"] != "full"]
        apart_ = replace(listening, scores=scores, predictions=listening.predictions.select(columns=keep))
        base = scores.query("model == 'baseline'")["r"]
        title = draw_course(apart_).title
        assert "the prediction of the baseline, never fitted" in title
        assert title.endswith(f"r {number(base.max())}.")
