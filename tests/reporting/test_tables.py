from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.result import load_encoding, save
from brainalign.reporting import found
from brainalign.reporting.facts import data_facts
from brainalign.reporting.figures import draw_people
from brainalign.reporting.tables import (
    BEST,
    BEYOND,
    answer,
    control_table,
    gain_table,
    summary,
    target_table,
)
from brainalign.reporting.wording import SMALLEST, number, p_value, signed


def lines_of(fit, name):
    """The summary's lines under one name (a name is said once, its further lines are indented)."""
    out, here = [], ""
    for line in summary(fit):
        here = line[:14].strip() or here
        if here == name:
            out.append(line[15:])
    return out


def without(fit, *columns):
    scores = fit.scores.copy()
    scores[list(columns)] = np.nan
    return replace(fit, scores=scores)


class TestSummary:
    def test_the_numbers_are_those_of_the_tables(self, listening):
        means = listening.scores.groupby("model")["r"].mean()
        text = "\n".join(summary(listening))
        assert f"r of baseline  {number(means['baseline'])}, mean over 6 regions (rate)" in text
        assert f"r of full      {number(means['full'])}, mean over 6 regions" in text
        gain = listening.gain.set_index("over").loc["targets"]
        assert signed(gain["gain_r"]).replace("−", "-") in lines_of(listening, "gain")[0]
        assert "conditional on the fitted models" in lines_of(listening, "gain")[0]
        best = listening.layers.sort_values("r")["model"].iloc[-1]
        assert lines_of(listening, "best layers")[0].startswith(f"{best} ")

    def test_people_their_interval_and_their_p(self, listening):
        row = listening.gain.set_index("over").loc["people"]
        line = lines_of(listening, "gain")[1]
        gains = found.people_gains(listening)
        assert row["gain_r"] == pytest.approx(gains.mean(), abs=1e-12)
        assert "over 7 people" in line
        assert "bootstrap over people" in line
        assert f"sign-flip p {p_value(row['p'], row.get('p_floor', np.nan))}" in line
        assert line.endswith(f"{(gains > 0).sum()} of 7 gain")

    def test_it_is_10_to_20_lines_and_aligned(self, listening):
        lines = summary(listening)
        assert 10 <= len(lines) <= 20
        assert all(line[14] == " " and line[15] != " " for line in lines)

    def test_whoever_was_left_out_is_named_with_the_reason(self, listening):
        assert lines_of(listening, "left out") == ["sub-33: every value of sub-33_bold.tsv is 0"]

    def test_controls_stand_one_a_line(self, listening):
        assert [line.split()[0] for line in lines_of(listening, "controls")] == ["as", "untrained", "reversed"]
        assert lines_of(listening, "controls")[0].endswith("gain +.070")
        assert lines_of(listening, "controls")[1].endswith("gain +.010; lost +.060 (.010 to .110), p .0078")

    def test_one_model_alone_has_no_gain_and_says_why_there_is_no_ceiling(self, alone):
        assert summary(alone) == [
            f"r of full  {number(alone.scores['r'].mean())}, mean over 2 regions",
            "ceiling    — (no ceiling was asked for)",
        ]


class TestAnswer:
    def test_it_says_baseline_full_gain_people_and_ceiling(self, listening):
        text = answer(listening)
        means = listening.scores.groupby("model")["r"].mean()
        assert f"with r {number(means['baseline'])}, with lm it is {number(means['full'])}" in text
        assert "conditional on the fitted models" in text
        assert "of 7 people gain" in text
        assert "of the noise ceiling" in text

    def test_a_loss_is_not_called_a_gain(self, listening):
        gain = listening.gain.assign(gain_r=-0.02)
        assert "a change of −.020" in answer(replace(listening, gain=gain))

    def test_without_ceiling_it_is_silent_about_it(self, listening):
        assert "ceiling" not in answer(without(listening, "ceiling_r", "normalised_r"))

    def test_layers_apart_name_the_best_and_that_it_was_seen(self, listening):
        apart = replace(
            listening,
            scores=listening.scores[listening.scores["model"] != "full"],
            layers=listening.layers.drop(columns="chosen"),
            people=listening.people[listening.people["model"] == "baseline"],
            gain=pd.DataFrame(),
        )
        best = listening.layers.sort_values("r")["model"].iloc[-1]
        assert f"with {best}, the best of several on the test samples, it is" in answer(apart)
        assert "people gain" not in answer(apart)


class TestTargets:
    def test_a_missing_normalised_score_is_a_dash_with_its_reason(self, listening):
        scores = listening.scores.copy()
        scores["ceiling_kind"] = "split_half"
        scores["normalised_r"] = 0.5
        scores.loc[scores["roi"] == "LIFG", ["normalised_r", "ceiling_p"]] = np.nan, 0.21
        table = target_table(replace(listening, scores=scores))
        row = dict(zip(table.head, next(r for r in table.rows if r[0] == "LIFG"), strict=True))
        assert row["normalised r"] == "—"
        assert (
            table.notes[0] == "— LIFG (p .21): the ceiling cannot be told from zero, so the score is not divided by it."
        )

    def test_no_ceiling_at_all_gives_the_rule_s_own_reason(self, alone):
        table = target_table(alone)
        assert {row[table.head.index("ceiling r")] for row in table.rows} == {"—"}
        assert table.notes == ["— no ceiling was asked for."]

    def test_p_and_q_appear_only_where_they_were_computed(self, listening, alone):
        assert {"p", "q"} <= set(target_table(listening).head)
        assert not {"p", "q"} & set(target_table(alone).head)

    def test_a_p_at_its_floor_is_a_bound_and_said_to_be_the_smallest(self, listening):
        full = listening.scores["model"] == "full"
        p = np.where(full, [1 / 363 if k % 2 else 3 / 363 for k in range(len(full))], 0.5)
        fit = replace(listening, scores=listening.scores.assign(p=p, p_floor=1 / 363))
        table = target_table(fit)
        shown = [row[table.head.index("p")] for row in table.rows[:-1]]
        assert shown == ["≤ .0028" if v < 0.005 else ".0083" for v in p[full]]
        assert len(set(shown)) == 2
        assert SMALLEST in table.notes
        above = target_table(replace(fit, scores=fit.scores.assign(p=0.1)))
        assert SMALLEST not in above.notes
        old = target_table(replace(fit, scores=fit.scores.drop(columns="p_floor")))  # a result of an earlier version
        assert {row[old.head.index("p")] for row in old.rows[:-1]} == {".0028", ".0083"}

    def test_a_floor_is_known_again_after_saving(self, listening, tmp_path):
        fit = replace(listening, scores=listening.scores.assign(p=1 / 363, p_floor=1 / 363))
        back = target_table(load_encoding(save(fit, tmp_path / "x")))
        assert {row[back.head.index("p")] for row in back.rows[:-1]} == {"≤ .0028"}

    def test_p_corrected_for_all_targets_at_once_has_columns_where_it_was_computed(self, listening):
        blank = listening.scores.assign(p_fwe=np.nan, p_cluster=np.nan)
        old = listening.scores.drop(columns="p_fwe")
        for scores in (blank, old):
            assert not {"family-wise p", "cluster p"} & set(target_table(replace(listening, scores=scores)).head)
        assert target_table(listening).head[-1] == "family-wise p"
        scores = listening.scores.assign(p_fwe=0.03, p_cluster=np.nan, p_floor=0.005)
        scores.loc[(scores["model"] == "full") & (scores["roi"] == "LATL"), "p_cluster"] = 0.005
        table = target_table(replace(listening, scores=scores))
        assert table.head[-4:] == ["p", "q", "family-wise p", "cluster p"]
        assert {len(row) for row in table.rows} == {len(table.head)}
        cells = {row[0]: row[-2:] for row in table.rows}
        assert (cells["LATL"], cells["LIFG"], cells["mean"]) == ([".030", "≤ .0050"], [".030", "—"], ["", ""])
        assert any(note.startswith("Family-wise p: ") for note in table.notes)
        assert any(note.startswith("Cluster p: ") for note in table.notes)

    def test_of_many_the_best_are_shown_in_order(self, voxels):
        table = target_table(voxels)
        r = [float(row[table.head.index("full r")]) for row in table.rows[:-1]]
        assert len(r) == BEST
        assert r == sorted(r, reverse=True)
        assert r[0] == pytest.approx(voxels.scores.query("model == 'full'")["r"].max(), abs=5e-4)

    def test_the_last_row_is_a_ratio_of_means(self, listening):
        full = listening.scores.query("model == 'full' and normalised_r == normalised_r")
        table = target_table(listening)
        assert table.rows[-1][table.head.index("normalised r")] == number(full["r"].mean() / full["ceiling_r"].mean())

    def test_a_silent_prediction_is_said(self, alone):
        scores = alone.scores.copy()
        scores.loc[0, "r"] = np.nan
        table = target_table(replace(alone, scores=scores))
        assert "r is — in 1 region, where the prediction never changes; means leave them out." in table.notes


class TestNames:
    def test_a_region_by_its_name_with_the_person_where_there_are_several(self):
        columns = pd.DataFrame({"subject": ["1", "2"], "roi": ["LIFG", "LIFG"]})
        assert found.labels_of(columns) == ["1 LIFG", "2 LIFG"]
        assert found.labels_of(columns.iloc[:1]) == ["LIFG"]

    def test_a_voxel_by_its_place_and_anything_else_by_what_it_has(self):
        assert found.labels_of(pd.DataFrame({"x": [-4.0], "y": [2.5], "z": [0.0]})) == ["(−4, 2.5, 0)"]
        assert found.labels_of(pd.DataFrame({"electrode": ["G12"]})) == ["G12"]
        assert found.labels_of(pd.DataFrame({"subject": ["1"]}, index=[0])) == ["target 1"]

    def test_what_is_added_is_what_only_the_full_model_has_a_part_of(self, listening):
        """Whatever the columns of unique parts are called, and in whichever order they come."""
        scores = listening.scores[["roi", "model", "r"]].copy()
        full = (scores["model"] == "full").to_numpy()
        scores["unique_rate"], scores["unique_length"], scores["unique_lm"] = 0.01, 0.01, 0.05
        scores["r2_lm"] = np.where(full, 0.1, np.nan)
        scores["r2_rate"] = 0.1
        scores["r2_length"] = np.where(full, 0.1, np.nan)
        scores["r2_silent"] = np.nan
        assert found.models_of(replace(listening, scores=scores)).added == "lm + length"

    def test_layers_are_called_by_their_feature(self, listening):
        full = listening.scores["model"] == "full"
        scores = listening.scores.drop(columns=[c for c in listening.scores if c.startswith(("unique_", "r2_"))])
        scores = scores.assign(r2_rate=0.1, **{f"r2_lm.{k}": np.where(full, 0.1, np.nan) for k in range(5)})
        assert found.models_of(replace(listening, scores=scores)).added == "lm"

    def test_many_added_features_are_counted(self, listening):
        full = listening.scores["model"] == "full"
        scores = listening.scores[["roi", "model", "r"]].assign(
            **{f"r2_f{k}": np.where(full, 0.1, np.nan) for k in range(9)}
        )
        assert found.models_of(replace(listening, scores=scores)).added == "f0 + f1 + f2 + 6 more"

    def test_a_model_like_the_baseline_keeps_its_name(self, listening):
        scores = listening.scores[["roi", "model", "r"]].assign(r2_rate=0.1)
        assert found.models_of(replace(listening, scores=scores)).added == "full"


class TestFacts:
    def test_people_in_and_out_runs_and_words(self, listening):
        facts = dict(data_facts(listening))
        assert facts["Left out"] == "sub-33: every value of sub-33_bold.tsv is 0"
        assert facts["People"] == "7, averaged: 18, 19, 20, 21, 22, 23, 24"
        assert facts["Recording"] == "1 run, 180 volumes of 2 s: 6 min"
        assert facts["Words"] == "2,127"
        assert facts["Regions"].startswith("6: LATL, ")

    def test_a_bare_fit_says_what_it_knows(self, alone):
        assert dict(data_facts(alone)) == {
            "Recording": "3 runs, 180 volumes of 2 s: 6 min",
            "Regions": "2: LATL, RATL",
            "Folds": "one run left out at a time",
        }


class TestGainAndControls:
    @pytest.mark.parametrize(("p", "said"), [(1 / 128, "≤ .0078"), (2 / 128, ".016")])
    def test_the_smallest_p_of_people_is_said_to_be_so_everywhere(self, listening, p, said):
        gain = listening.gain.assign(p=np.where(listening.gain["over"] == "people", p, np.nan), p_floor=1 / 128)
        fit = replace(listening, gain=gain)
        table = gain_table(fit)
        assert table.rows[-1][-1] == said
        assert {row[-1] for row in table.rows[:-1]} == {"—"}
        least = p == 1 / 128
        assert (SMALLEST in table.notes) == least
        for text in (answer(fit), "\n".join(summary(fit)), draw_people(fit).title):
            assert f"sign-flip p {said}" in text
            assert (f"sign-flip p {said}, the smallest possible" in text) == least

    def test_gains_of_an_earlier_version_have_no_floor(self, listening):
        fit = replace(listening, gain=listening.gain.drop(columns="p_floor", errors="ignore"))
        assert "≤" not in answer(fit) + "".join(cell for row in gain_table(fit).rows for cell in row)

    def test_every_target_their_mean_and_people(self, listening):
        table = gain_table(listening)
        names = [row[0] for row in table.rows]
        assert (names[6], names[-1]) == ("mean of 6 regions", "mean of 7 people")
        assert names[7:-1] == [f"sub-{who}" for who in dict.fromkeys(listening.people["subject"])]
        assert len(table.rows) == 15
        assert "p of their mean: sign-flip test over people, one-sided." in table.notes
        assert BEYOND in table.notes

    def test_without_intervals_the_difference_remains(self, listening):
        table = gain_table(replace(listening, gain=pd.DataFrame(), people=pd.DataFrame()))
        full, base = (listening.scores.query(f"model == '{m}'")["r"].to_numpy() for m in ("full", "baseline"))
        assert [row[1] for row in table.rows] == [signed(v) for v in [*(full - base), (full - base).mean()]]
        assert {row[2] for row in table.rows} == {"—"}

    def test_a_control_says_what_it_lost_with_interval_and_p(self, listening):
        table = control_table(listening)
        assert table.head[-3:] == ["lost", "95 % interval", "p"]
        assert table.rows[0][0] == "as asked"
        assert table.rows[0][-3:] == ["—", "—", "—"]
        assert table.rows[2] == [
            "the stimulus reversed in time", "−.020", ".010", "+.030", "+.040", "−.020 to .100", ".24"
        ]  # fmt: skip
        assert "sign-flip test over people" in table.notes[1]

    def test_without_people_a_control_has_no_p(self, listening):
        controls = listening.controls.drop(columns="p").assign(low=np.nan, high=np.nan)
        alone = replace(listening, controls=controls)
        table = control_table(alone)
        assert table.head[-1] == "95 % interval"
        assert {row[-1] for row in table.rows} == {"—"}
        assert len(table.notes) == 1
        assert lines_of(alone, "controls")[1].endswith("lost +.060")

    def test_nothing_to_compare_is_no_table(self, alone):
        assert gain_table(alone) is None
        assert control_table(alone) is None


def test_the_excerpt_survives_saving_word_for_word(listening, tmp_path):
    excerpt = listening.excerpt.copy()
    excerpt.loc[[0, 1, 2], "text"] = ["null", "NA", "nan"]
    back = load_encoding(save(replace(listening, excerpt=excerpt), tmp_path / "x"))
    assert back.excerpt["text"].tolist() == excerpt["text"].tolist()
    assert back.excerpt["value"].to_numpy() == pytest.approx(excerpt["value"].to_numpy(), rel=1e-5)
    assert summary(back) == summary(listening)


def test_people_side_by_side_are_counted_as_regions_of_people(listening):
    one = listening.people.query("model == 'full'")
    columns = one[["subject", "roi"]].reset_index(drop=True)
    n = len(columns)
    brain = replace(listening.observed, values=np.zeros((180, n), np.float32), columns=columns)
    fit = replace(listening, scores=listening.people, people=pd.DataFrame(), gain=pd.DataFrame(), observed=brain)
    assert dict(data_facts(fit))["Targets"] == "42: 6 regions × 7 people"
    assert f"mean over {n} regions of people" in summary(fit)[0]
    assert found.people_gains(fit).tolist() == pytest.approx(found.people_gains(listening).tolist())
