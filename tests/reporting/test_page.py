"""The page in a real browser, and what it must say."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape

import numpy as np
import pandas as pd
import pytest

from brainalign.reporting.page import render, report, title_of
from brainalign.reporting.tables import summary

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"]

MEASURE = """<!doctype html><meta charset="utf-8"><pre></pre>
<iframe width="WIDTH" height="3000" style="border: 0" srcdoc="PAGE"></iframe>
<script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const all = (where, what) => [...where.querySelectorAll(what)];
  all(page, "details").forEach(d => d.open = true);
  const out = {
    width: page.defaultView.innerWidth, scroll: page.documentElement.scrollWidth,
    loaded: page.defaultView.performance.getEntriesByType("resource").map(r => r.name),
    sections: all(page, "section").map(s => [s.id, s.getBoundingClientRect().height]),
    figures: all(page, "figure svg").map(svg => ({
      box: box(svg), shapes: all(svg, "path, use, image").length,
      texts: all(svg, "text").map(t => ({
        said: t.textContent, box: box(t), upright: /rotate/.test(t.getAttribute("transform") || "")}))})),
  };
  document.querySelector("iframe").remove();
  document.querySelector("pre").textContent = "@@" + JSON.stringify(out) + "@@";
};
</script>"""


def browse(page, folder, width):
    """Measure a page as a browser lays it out in a window of some width: (measures, console lines).

    In a frame, since a window of its own is never narrower than 500 px.
    """
    asking = MEASURE.replace("WIDTH", str(width)).replace("PAGE", escape(page))
    (folder / "measured.html").write_text(asking, "utf-8")
    dom, console = visit(folder / "measured.html", folder)
    found = re.search(r"<pre>@@(.*?)@@</pre>", dom, re.DOTALL)
    assert found, dom[:2000]
    return json.loads(unescape(found[1])), console


def visit(path, folder):
    """What a browser makes of a file: (document as text, lines of its console)."""
    asked = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", "--window-size=1400,2000", "--dump-dom"]
    done = subprocess.run([*asked, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1.5


def cropped(figure):
    """What is written beyond a figure's edge."""
    left, top, right, bottom = figure["box"]
    boxes = {text["said"]: text["box"] for text in figure["texts"]}
    return [
        said
        for said, (x0, y0, x1, y1) in boxes.items()
        if x0 < left - 1.5 or x1 > right + 1.5 or y0 < top - 1.5 or y1 > bottom + 1.5
    ]


def touching(figure):
    """What is written over something else."""
    flat = [t for t in figure["texts"] if not t["upright"]]
    return [(a["said"], b["said"]) for i, a in enumerate(flat) for b in flat[:i] if overlap(a["box"], b["box"])]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("name", "figures"), [("listening", 7), ("alone", 4), ("voxels", 5), ("lagged", 8)])
def test_a_browser_shows_the_page(name, figures, width, request, tmp_path):
    measured, console = browse(render(request.getfixturevalue(name)), tmp_path, width)
    assert console == []
    assert measured["loaded"] == []
    assert measured["width"] == width
    assert measured["scroll"] <= width  # wide things scroll in their own box
    assert len(measured["figures"]) == figures
    for figure in measured["figures"]:
        left, top, right, bottom = figure["box"]
        assert right - left > 300
        assert bottom - top > 60
        assert figure["shapes"] > 5
        assert len(figure["texts"]) > 4
        assert (cropped(figure), touching(figure)) == ([], [])
    assert all(height > 30 for _, height in measured["sections"])


LONG = ("rate of words in the whole story", "smollm2-135m.12 with a context of 128", "length", "freq $x$")
THREE = ("product", "unique", "common")


@needs_browser
@pytest.mark.parametrize(
    ("names", "n", "kinds", "figures"),
    [
        (("rate", "lm"), 1, ("product", "unique"), 2),
        (LONG[:2], 6, ("product", "unique"), 2),
        (LONG[:3], 30, THREE, 2),
        (LONG, 12, THREE, 2),
        (tuple(f"feature {k}" for k in range(12)), 30, ("product", "unique"), 1),
        (LONG[:3], 400, THREE, 2),
    ],
)
def test_which_feature_earned_it_can_be_read(names, n, kinds, figures, fit_of, tmp_path):
    regions = pd.DataFrame({"roi": [f"superior temporal gyrus, part {k}, of the left" for k in range(n)]})
    measured, console = browse(render(fit_of(names, n, kinds, targets=regions)), tmp_path, 1280)
    assert console == []
    assert measured["scroll"] <= 1280
    assert len(measured["figures"]) == 3 + figures
    assert [(cropped(figure), touching(figure)) for figure in measured["figures"]] == [([], [])] * (3 + figures)


@needs_browser
def test_nothing_in_the_page_breaks_its_own_rule_of_no_network_and_no_script(listening, tmp_path):
    path = report(listening, tmp_path / "r.html")
    dom, console = visit(path, tmp_path)
    assert console == []
    assert dom.count("<figure>") == 7


def test_the_file_is_whole_in_itself_small_and_the_same_every_time(listening, voxels, tmp_path):
    first, other = (report(fit, tmp_path / "new folder" / "a.html").read_text("utf-8") for fit in (listening, voxels))
    assert first == report(listening, tmp_path / "b.html").read_text("utf-8")
    for page in (first, other):
        assert len(page.encode()) < 1_500_000
        assert "<script" not in page
        assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
        assert not re.findall(r"@import|url\((?!#)", page)
        assert not re.findall(r"\b20\d\d-\d\d-\d\dT", page)


def test_leaky_folds_are_the_first_thing_said(alone):
    note = "LEAKY FOLDS: the samples of a time series were shuffled"
    leaky = replace(alone, notes=(*alone.notes, note))
    assert f'<p class="warning">{note}</p>' in render(leaky)
    assert summary(leaky)[0].split(maxsplit=1) == ["warning", note]
    assert 'class="warning"' not in render(alone)
    assert not summary(alone)[0].startswith("warning")


def test_many_voxels_are_painted_rather_than_drawn_one_by_one(voxels):
    rng = np.random.default_rng(0)
    n = 40_000
    place = pd.DataFrame(rng.uniform(-70, 70, (n, 3)), columns=["x", "y", "z"])
    parts = []
    for model, r in (("baseline", 0.1), ("full", 0.2)):
        one = voxels.scores.query("model == 'full'").iloc[np.zeros(n, int)].reset_index(drop=True)
        parts.append(one.assign(model=model, r=rng.normal(r, 0.1, n), x=place["x"], y=place["y"], z=place["z"]))
    observed = replace(voxels.observed, values=np.zeros((60, n), np.float32), columns=place)
    both = pd.concat([place.assign(model="baseline"), place.assign(model="full")], ignore_index=True)
    predictions = replace(voxels.predictions, values=np.zeros((60, 2 * n), np.float32), columns=both)
    fit = replace(
        voxels,
        scores=pd.concat(parts, ignore_index=True),
        observed=observed,
        predictions=predictions,
        gain=pd.DataFrame(),
    )
    page = render(fit)
    assert "data:image/png;base64," in page
    assert len(page.encode()) < 1_500_000


@pytest.fixture(scope="module")
def whole(listening):
    return render(listening)


@pytest.fixture(scope="module")
def bare(alone):
    return render(alone)


class TestWords:
    def test_the_person_left_out_is_named_with_the_reason(self, whole):
        assert "<dt>Left out</dt><dd>sub-33: every value of sub-33_bold.tsv is 0</dd>" in whole

    def test_every_part_in_its_order(self, whole):
        found = re.findall(r'<section id="(\w+)">', whole)
        assert found == [
            "data",
            "layers",
            "targets",
            "people",
            "parts",
            "design",
            "course",
            "checks",
            "caveats",
            "reading",
            "origin",
        ]

    def test_absent_parts_leave_no_empty_place(self, bare):
        found = re.findall(r'<section id="(\w+)">', bare)
        assert found == ["data", "targets", "parts", "design", "course", "caveats", "reading", "origin"]

    def test_every_caveat_is_there(self, listening, whole):
        assert len(listening.notes) > 3
        assert [note for note in listening.notes if f"<li>{note}</li>" not in unescape(whole)] == []

    def test_no_ceiling_is_a_dash_and_its_reason(self, bare):
        assert "<td>—</td>" in bare
        assert "— no ceiling was asked for." in bare
        assert not re.findall(r">[^<]*\bnan\b", bare)

    def test_what_a_user_named_is_text_and_never_markup(self, listening):
        evil = "<img src=x onerror=alert(1)>&'\""
        columns = listening.observed.columns.assign(roi=[evil, "b", "c", "d", "e", "f"])
        scores = listening.scores.assign(roi=listening.scores["roi"].replace("LATL", evil))
        excerpt = listening.excerpt.assign(text=evil)
        settings = {**listening.settings, "title": evil}
        fit = replace(
            listening,
            observed=replace(listening.observed, columns=columns),
            scores=scores,
            excerpt=excerpt,
            settings=settings,
            notes=(evil,),
        )
        page = render(fit)
        assert "<img" not in page
        assert page.count("&lt;img") > 5

    def test_a_study_without_a_title_asks_its_question(self, alone, voxels):
        assert title_of(alone) == "How well does rate + lm.2 predict the brain?"
        assert title_of(voxels) == "How well does lm.2 predict the brain beyond the baseline?"

    def test_settings_inputs_and_versions_are_kept_closed(self, listening):
        fit = replace(listening, provenance={**listening.provenance, "inputs": {"sub-18_bold.tsv": "ab" * 32}})
        page = render(fit)
        assert page.count("<details>") == 3
        assert "ab" * 32 in page
        assert "numpy" in page


@pytest.mark.parametrize(
    "change",
    [
        lambda fit: replace(fit, scores=fit.scores.assign(p=np.nan, q=np.nan)),
        lambda fit: replace(fit, scores=fit.scores.assign(r_low=np.nan, r_high=np.nan)),
        lambda fit: replace(fit, scores=fit.scores.assign(ceiling_r=np.nan, ceiling_p=np.nan, normalised_r=np.nan)),
        lambda fit: replace(fit, people=pd.DataFrame(), gain=pd.DataFrame()),
        lambda fit: replace(fit, layers=pd.DataFrame(), scores=fit.scores.query("model == 'baseline'")),
        lambda fit: replace(fit, layers=pd.DataFrame(), excerpt=pd.DataFrame(), controls=pd.DataFrame()),
        lambda fit: replace(fit, settings={}, provenance={}, notes=()),
    ],
)
def test_whatever_is_missing_the_page_is_made(listening, change):
    page = render(change(listening))
    assert page.rstrip().endswith("</html>")
    assert 'id="targets"' in page
