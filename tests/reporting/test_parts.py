"""Which feature earned it: tables made by hand, so that every number in the drawings is known."""

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from brainalign.encoding.result import load_encoding, save
from brainalign.reporting.drawing import LOOKS, short
from brainalign.reporting.found import parts_of, parts_over_ceiling
from brainalign.reporting.page import render
from brainalign.reporting.parts import draw_partition, looks_of
from brainalign.reporting.tables import partition_table
from brainalign.reporting.venn import common_parts, draw_venn, sets_of
from brainalign.reporting.wording import number


def texts(drawing):
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)


def setting(fit, kind, part, **columns):
    """A fit with some numbers of its partition replaced."""
    table = fit.partition.copy()
    rows = (table["kind"] == kind) & (table["part"] == part)
    for name, value in columns.items():
        table.loc[rows, name] = value
    return replace(fit, partition=table)


@pytest.fixture(scope="module")
def known(fit_of):
    """rate: product .02, unique .01; lm: product .08, unique .05; joint .10."""

    def make(kinds=("product", "unique")):
        fit = fit_of(kinds=kinds)
        fit = replace(fit, scores=fit.scores.assign(r2=0.10))
        for kind, part, r2 in (
            ("product", "rate", 0.02),
            ("product", "lm", 0.08),
            ("unique", "rate", 0.01),
            ("unique", "lm", 0.05),
        ):
            fit = setting(fit, kind, part, r2=r2)
        return fit

    return make


class TestPartsOf:
    def test_rows_of_any_order_give_the_targets_in_theirs(self, fit_of):
        fit = fit_of(("a", "b", "c"), 4)
        by_target = fit.partition.sort_values("roi", kind="stable")  # all parts of a target together
        again = parts_of(replace(fit, partition=by_target), "product")
        assert list(again) == ["a", "b", "c"]
        assert again.equals(parts_of(fit, "product"))
        assert again.sum(axis=1).to_numpy() == pytest.approx(fit.scores["r2"].to_numpy())

    def test_they_survive_saving(self, tmp_path, fit_of):
        fit = fit_of(("a", "b", "c"), 4, ("product", "unique", "common"))
        back = load_encoding(save(fit, tmp_path / "x"))
        for kind in ("product", "unique", "common"):
            assert parts_of(back, kind).to_numpy() == pytest.approx(parts_of(fit, kind).to_numpy(), rel=1e-5)

    def test_no_partition_no_columns(self, alone):
        alone = replace(alone, partition=pd.DataFrame())
        assert parts_of(alone, "product").shape == (2, 0)
        assert draw_partition(alone) is draw_venn(alone) is partition_table(alone) is None

    def test_over_the_ceiling_is_a_ratio_of_means_over_targets_that_have_one(self, fit_of):
        fit = fit_of(n=5)
        told = fit.scores["normalised_r2"].notna()
        assert told.tolist() == [True, True, False, True, True]
        lm = parts_of(fit, "product")["lm"]
        share = parts_over_ceiling(fit, parts_of(fit, "product"))["lm"]
        assert share == pytest.approx(lm[told].sum() / fit.scores["ceiling_r2"][told].sum())

    def test_an_old_result_without_ceilings_in_r2_has_no_share(self, fit_of):
        fit = fit_of()
        old = replace(fit, scores=fit.scores.drop(columns=["ceiling_r2", "normalised_r2"]))
        assert parts_over_ceiling(old, parts_of(old, "product")).isna().all()
        assert "over ceiling" not in partition_table(old).head


class TestPartition:
    def test_the_title_says_who_earned_most_and_what_it_alone_explains(self, known):
        assert draw_partition(known()).title == (
            "lm earned most, .080 of a joint R² of .100 on average over 3 regions; what it alone explains is .050."
        )

    def test_one_kind_alone_has_its_own_sentence_and_one_panel(self, known):
        product, unique = (draw_partition(known((kind,))) for kind in ("product", "unique"))
        assert product.title == "lm earned most, .080 of a joint R² of .100 on average over 3 regions."
        assert unique.title == "lm alone explains most: R² .050 on average over 3 regions."
        nothing = setting(setting(known(("unique",)), "unique", "lm", r2=-0.01), "unique", "rate", r2=-0.02)
        assert draw_partition(nothing).title == "No feature alone explains anything on average over 3 regions."
        assert "unique part:" not in texts(product)
        assert not {"product part:", "joint R²"} & set(texts(unique))

    def test_nothing_earned_is_not_called_a_win(self, known):
        fit = known()
        for name in ("rate", "lm"):
            fit = setting(fit, "product", name, r2=-0.01)
        fit = replace(fit, scores=fit.scores.assign(r2=-0.02))
        assert draw_partition(fit).title == (
            "No feature earned anything on average over 3 regions (joint R² −.020)."
        )  # fmt: skip

    def test_one_target_is_named_instead_of_counted(self, fit_of):
        assert draw_partition(fit_of(n=1)).title.split(" in ")[1].startswith("R0;")

    def test_one_feature_has_nobody_to_share_with(self, fit_of):
        fit = fit_of(("lm",), kinds=("product", "unique", "common"))
        assert draw_partition(fit) is draw_venn(fit) is partition_table(fit) is None

    def test_bars_end_where_the_numbers_say_negative_ones_left_of_zero(self, known):
        fit = setting(setting(known(), "product", "rate", r2=-0.04), "product", "lm", r2=0.14)
        axes = figure_of(fit).axes[0]
        bars = [(b.get_x(), b.get_x() + b.get_width()) for b in axes.patches if abs(b.get_width()) > 0]
        assert sorted(map(sorted, bars)) == [pytest.approx(b) for b in [[-0.04, 0]] * 3 + [[0, 0.14]] * 3]
        (joint,) = (c for c in axes.collections if len(c.get_segments()) == 3)
        assert [s[0][0] for s in joint.get_segments()] == pytest.approx([0.10] * 3)  # the signed sum
        assert axes.get_xlim()[0] < -0.04

    def test_an_inch_means_the_same_on_both_sides_unless_one_would_be_lost(self, known):
        def scale(axes):
            return np.ptp(axes.get_xlim()) / axes.get_position().width

        left, right = figure_of(known()).axes
        assert scale(left) == pytest.approx(scale(right), rel=0.02)
        fit = known()
        for name in ("rate", "lm"):
            fit = setting(fit, "unique", name, r2=0.002, low=0.001, high=0.003)
        left, right = figure_of(fit).axes
        assert scale(right) < scale(left) / 5
        assert right.get_xlabel() == "R², held out (enlarged)"

    def test_hollow_is_what_could_be_chance(self, known):
        fit = setting(setting(known(), "unique", "lm", q=0.01), "unique", "rate", q=0.2)
        marks = [c for c in figure_of(fit).axes[1].collections if len(c.get_offsets()) == 3 and len(c.get_facecolors())]
        from matplotlib.colors import to_hex

        assert [to_hex(c.get_facecolors()[0]) for c in marks] == ["#ffffff", LOOKS[0].colour]
        assert "Filled: q < .05; hollow: not." in draw_partition(fit).note
        untested = setting(setting(fit, "unique", "lm", q=np.nan), "unique", "rate", q=np.nan)
        assert "hollow" not in draw_partition(untested).note

    def test_a_target_without_numbers_is_a_dash(self, fit_of):
        fit = fit_of()
        table = fit.partition.copy()
        table.loc[table["roi"] == "R1", ["r2", "low", "high", "q"]] = np.nan
        silent = replace(fit, partition=table, scores=fit.scores.assign(r2=[0.1, np.nan, 0.1]))
        assert [t.strip() for t in texts(draw_partition(silent))].count("—") == 1
        assert not [cell for row in partition_table(silent).rows for cell in row if "nan" in cell]

    def test_many_targets_become_distributions(self, fit_of):
        fit = fit_of(n=200)
        drawing = draw_partition(fit)
        product, unique = (parts_of(fit, kind).median() for kind in ("product", "unique"))
        medians = [number(m, 3) for m in (*product, fit.scores["r2"].median(), *unique)]
        written = iter(texts(drawing))
        assert all(median in written for median in medians)  # in this order
        assert "Line: from the 5th to the 95th percentile of regions" in drawing.note

    def test_beyond_eight_the_least_are_drawn_together_and_the_table_has_each(self, fit_of):
        names = [f"f{k}" for k in range(11)]
        fit = fit_of(names, kinds=("product", "unique"))
        for k, name in enumerate(names):
            fit = setting(fit, "product", name, r2=0.01 * (k + 1))
        drawing = draw_partition(fit)
        assert "4 others" in texts(drawing)
        assert [t for t in texts(drawing) if t in names] == names[4:]
        assert "Others: 4 features with smaller parts, drawn together; the table has each." in drawing.note
        assert [row[0] for row in partition_table(fit).rows] == [*names, "together"]
        eight = fit_of(names[:8])
        assert [t for t in texts(draw_partition(eight)) if t in names] == names[:8]

    def test_blue_is_what_was_added_and_grey_the_baseline(self, fit_of):
        fit = fit_of(("rate", "length", "lm"))
        looks = looks_of(fit, ["rate", "length", "lm"], parts_of(fit, "product"))[0]
        assert list(looks) == ["rate", "length", "lm"]
        assert (looks["rate"], looks["length"], looks["lm"]) == (LOOKS[1], LOOKS[0], LOOKS[2])


def test_features_are_told_apart_in_grey():
    """CIE lightness of those with the same kind of filling; 10 is a step between neighbours of a good grey scale."""

    def lightness(colour):
        rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16

    for filled in ([x for x in LOOKS if not x.hatch], [x for x in LOOKS if x.hatch]):
        assert len(filled) == 4
        assert min(abs(lightness(a.colour) - lightness(b.colour)) for a, b in combinations(filled, 2)) > 10
    assert len({look.marker for look in LOOKS}) == len(LOOKS)


def test_long_names_keep_both_their_ends():
    assert short("a" * 26) == "a" * 26
    assert short("superior temporal gyrus left") != short("superior temporal gyrus right")
    assert len(short("superior temporal gyrus, anterior part, left")) == 26


def figure_of(fit):
    """The matplotlib figure behind `draw_partition`, laid out."""
    from brainalign.reporting import parts
    from brainalign.reporting.drawing import styled

    kinds = {kind: parts_of(fit, kind) for kind in ("product", "unique")}
    looks = looks_of(fit, list(kinds["product"]), kinds["product"])[0]
    with styled("x"):
        figure = parts._rows(fit, kinds, looks)
        figure.draw_without_rendering()
    return figure


class TestVenn:
    def test_every_region_has_its_mean(self, fit_of):
        fit = fit_of(("rate", "length", "lm"), kinds=("common",))
        means = parts_of(fit, "common").mean()
        assert len(means) == 7
        shown = texts(draw_venn(fit))
        assert {number(m, 3) for m in means} <= set(shown)
        assert {"rate", "length", "lm"} <= set(shown)
        total = number(fit.scores["r2"].mean(), 3)
        assert draw_venn(fit).title.startswith(
            f"Of a joint R² of {total} on average over 3 regions, rate alone explains"
        )

    @pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
    def test_a_number_stands_in_its_own_region_and_in_no_other(self, names):
        from brainalign.reporting.venn import APART, _meeting, _place

        angles = np.deg2rad([180.0, 0.0] if len(names) == 2 else [150.0, 30.0, 270.0])
        middles = APART * np.column_stack([np.cos(angles), np.sin(angles)])
        for some in sets_of(range(len(names))):
            place = _place(middles, list(some))
            assert (np.linalg.norm(place - middles, axis=1) < 0.95).nonzero()[0].tolist() == list(some)
            outline = _meeting(middles[list(some)])  # closed or not, its points lie in all the circles, on one's rim
            distance = np.linalg.norm(outline[:, None] - middles[None, list(some)], axis=2).max(1)
            assert distance == pytest.approx(1)

    def test_two_unique_parts_and_the_joint_say_what_is_shared(self, known):
        drawing = draw_venn(known())
        assert drawing.title == (
            "Of a joint R² of .100 on average over 3 regions, rate alone explains .010, lm alone .050; .040 is shared."
        )
        assert {".010", ".050", ".040"} <= set(texts(drawing))
        names, parts = common_parts(known())
        assert names == ["rate", "lm"]
        assert parts.mean().to_numpy() == pytest.approx([0.01, 0.05, 0.04])

    def test_of_three_unique_parts_the_shares_cannot_be_told(self, fit_of):
        assert draw_venn(fit_of(("a", "b", "c"), kinds=("product", "unique"))) is None
        assert draw_venn(fit_of(("a", "b"), kinds=("product",))) is None
        assert draw_venn(fit_of(tuple("abcde"), kinds=("common",))) is None

    def test_names_of_a_part_in_any_order(self, fit_of):
        fit = fit_of(("a", "b"), kinds=("common",))
        swapped = replace(fit, partition=fit.partition.assign(part=fit.partition["part"].replace("a&b", "b&a")))
        assert common_parts(swapped)[1].equals(common_parts(fit)[1])

    def test_a_negative_region_is_hatched_and_its_minus_written(self, fit_of):
        fit = fit_of(("rate", "lm"), kinds=("common",))
        assert "<pattern" not in draw_venn(fit).svg
        drawing = draw_venn(setting(fit, "common", "rate&lm", r2=-0.012))
        assert "−.012" in texts(drawing)
        assert "<pattern" in drawing.svg
        assert "Hatched: negative" in drawing.note

    def test_a_target_with_a_missing_part_is_left_out_whole(self, fit_of):
        fit = fit_of(("rate", "lm"), 3, kinds=("common",))
        table = fit.partition.copy()
        table.loc[(table["roi"] == "R2") & (table["part"] == "rate&lm"), "r2"] = np.nan
        drawing = draw_venn(replace(fit, partition=table))
        assert "on average over 2 regions" in drawing.title
        means = parts_of(fit, "common").iloc[:2].mean()
        assert {number(m, 3) for m in means} <= set(texts(drawing))
        assert draw_venn(setting(fit, "common", "rate", r2=np.nan)) is None

    def test_four_features_are_fifteen_bars(self, fit_of):
        fit = fit_of(("rate", "length", "freq", "lm"), 5, kinds=("common",))
        drawing = draw_venn(fit)
        assert drawing.wide
        means = parts_of(fit, "common").mean()
        shown = texts(drawing)
        assert [number(m, 3) for m in means] == [t for t in shown if re.fullmatch(r"−?\.\d{3}", t)]
        assert {"rate", "length", "freq", "lm"} <= set(shown)

    def test_the_ceiling_s_share_stands_below_only_where_there_is_one(self, fit_of):
        fit = fit_of(("a", "b"), kinds=("common",))
        assert len([t for t in texts(draw_venn(fit)) if t.endswith("%")]) == 3
        without = replace(fit, scores=fit.scores.assign(normalised_r2=np.nan))
        assert not [t for t in texts(draw_venn(without)) if t.endswith("%")]
        assert "ceiling" not in draw_venn(without).note


class TestTable:
    def test_means_and_how_many_targets_are_told(self, known):
        fit = setting(setting(known(), "unique", "lm", q=[0.01, 0.04, 0.2]), "unique", "rate", q=[0.3, 0.2, np.nan])
        table = partition_table(fit)
        assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in table.head] == [
            "", "product R²", "over ceiling", "unique R²", "over ceiling", "unique, q < .05",
        ]  # fmt: skip
        rows = {row[0]: [row[1], row[3], row[5]] for row in table.rows}
        assert rows == {
            "rate": [".020", ".010", "0 of 2"],
            "lm": [".080", ".050", "2 of 3"],
            "together": [".100", "", ""],
        }
        assert table.last_is_mean
        assert table.notes == ["Means over 3 regions.", "Over ceiling: a ratio of means."]

    def test_the_level_is_the_one_that_was_asked_for(self, known):
        fit = setting(known(), "unique", "lm", q=[0.01, 0.04, 0.2])
        strict = partition_table(replace(fit, settings={"inference": {"fdr": 0.02}}))
        assert strict.head[-1].endswith(".02")
        assert strict.rows[1][-1] == "1 of 3"

    def test_unique_alone_has_no_sum(self, known):
        table = partition_table(known(("unique",)))
        assert [row[0] for row in table.rows] == ["rate", "lm"]
        assert not table.last_is_mean


EVIL = "<img src=x onerror=alert(1)>&'\""


class TestPage:
    def test_the_section_stands_between_people_and_design(self, fit_of):
        page = render(fit_of())
        found = re.findall(r'<section id="(\w+)">', page)
        assert found.index("targets") < found.index("parts") < found.index("design")
        assert "<h2>Which feature earned it</h2>" in page

    def test_names_are_text_and_never_markup(self, fit_of):
        page = render(fit_of(("rate", EVIL.replace("&", "and")), kinds=("product", "unique", "common")))
        assert "<img" not in page
        assert page.count("&lt;img") > 5
        for n in (3, 40):
            drawing = draw_partition(fit_of(("rate", EVIL), n))
            assert "<img" not in drawing.svg
            assert EVIL in drawing.alt

    def test_thousands_of_targets_do_not_make_a_heavy_page(self, fit_of):
        rng = np.random.default_rng(0)
        place = pd.DataFrame(rng.integers(-30, 30, (5_000, 3)) * 2.0, columns=["x", "y", "z"])
        fit = fit_of(tuple(f"f{k}" for k in range(9)), 5_000, targets=place)
        assert len(draw_partition(fit).svg) < 60_000
        assert len(render(fit).encode()) < 1_500_000
