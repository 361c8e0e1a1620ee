"""The pages build, strictly; what README and pages tell one to run, runs; what they say of a study file is so."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import brainalign as ba
from brainalign.cli import app
from brainalign.features.cards import KINDS, model_cards
from brainalign.io.fetch import sample_path
from brainalign.study.kinds import FEATURE_KINDS
from brainalign.study.settings import Study, read_study, study_from

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "brainalign"
MODULES = [p for p in PACKAGE.rglob("*.py") if not p.stem.startswith(("__init__", "cli")) and "_shipped" not in p.parts]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_every_file_has_its_place_in_the_reference(site):
    for path in MODULES:
        room = path.parent.name if path.parent != PACKAGE else "ground"
        name = ".".join(("brainalign", *path.relative_to(PACKAGE).with_suffix("").parts))
        assert f'id="{name}"' in (site / f"api/{room}/index.html").read_text(encoding="utf-8"), name
        assert f'href="{room}/#{name}"' in (site / "api/index.html").read_text(encoding="utf-8"), name


def test_reading_a_page_fetches_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding="utf-8")
        )
        assert [url for url in fetched if "github.com/brainalign" not in url] == [], page


def blocks(page, language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S)


def run_blocks(page, names):
    for k, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page}, Python block {k}", "exec"), names)  # it is what a reader would type
    return names


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """What a reader has who typed in every Python block of README, and the folder they sat in."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BRAINALIGN_CACHE", str(folder / "cache"))
        names = run_blocks("README.md", {})
    return names, folder


def test_the_python_of_readme_runs(reader):
    names, folder = reader
    mean = names["fit"].scores.groupby("model")["r"].mean()
    assert 0.20 < mean["baseline"] < 0.35
    assert abs(mean["full"] - mean["baseline"]) < 0.05
    assert (folder / "results/story/report.html").stat().st_size > 50_000
    again = ba.load(folder / "results/story")
    assert isinstance(again, ba.Encoding)
    assert again.scores["r"].round(4).tolist() == names["fit"].scores["r"].round(4).tolist()


def test_the_python_of_reading_a_result_runs_and_shows_what_the_page_says(reader, monkeypatch):
    names, folder = reader
    monkeypatch.chdir(folder)
    names = run_blocks("docs/reading-a-result.md", dict(names))
    whole, late = (
        names["pearson_within"](names["seen"].array()[rows], names["predicted"].array()[rows], names["fold"][rows])[0]
        for rows in (slice(None), names["late"])
    )
    assert names["late"].sum() == 360  # two volumes of 362 are left out
    assert late < whole - 0.03


def test_the_python_of_transcripts_prints_what_the_page_says(capsys):
    names = run_blocks("docs/ideas/transcripts.md", {})
    (shown,) = blocks("docs/ideas/transcripts.md", "text")
    assert capsys.readouterr().out.startswith(shown)
    assert len(names["reading"].table) == 2127


def test_the_python_of_sound_prints_what_the_page_says(capsys):
    run_blocks("docs/ideas/sound.md", {})
    (shown,) = blocks("docs/ideas/sound.md", "text")
    assert capsys.readouterr().out == shown


def test_the_python_of_fmri_prints_what_the_page_says(capsys):
    run_blocks("docs/ideas/fmri.md", {})
    (shown,) = blocks("docs/ideas/fmri.md", "text")
    assert capsys.readouterr().out == shown


def test_the_python_of_electrodes_prints_what_the_page_says(capsys):
    run_blocks("docs/ideas/electrodes.md", {})
    (shown,) = blocks("docs/ideas/electrodes.md", "text")
    assert capsys.readouterr().out == shown


@pytest.mark.verify
def test_the_python_of_across_prints_what_the_page_says(capsys):
    run_blocks("docs/ideas/across.md", {})
    assert capsys.readouterr().out == "".join(blocks("docs/ideas/across.md", "text"))


def test_the_study_file_of_readme_is_checked_and_fitted(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    (block,) = blocks("README.md", "yaml")
    (tmp_path / "alice").symlink_to(sample_path("alice"))
    (tmp_path / "study.yaml").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    checked = CliRunner().invoke(app, ["check", "study.yaml"])
    assert (checked.exit_code, checked.stdout) == (0, "no problems found\n")
    # one layer of six and little chance, or this would take a minute; the whole is what `demo --quick` runs
    quick = yaml.safe_load(block) | {"inference": {"permutations": 19, "bootstrap": 20}}
    quick["features"][-1]["layers"] = [3]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(quick), encoding="utf-8")
    fitted = CliRunner().invoke(app, ["fit", "study.yaml"])
    assert fitted.exit_code == 0, fitted.output
    assert {"report.html", "scores.tsv", "gain.tsv"} <= {p.name for p in (tmp_path / "results/story").iterdir()}


def test_start_names_every_key_of_a_study_file_at_its_default(tmp_path):
    block, *_ = blocks("docs/start.md", "yaml")
    said = yaml.safe_load(block)
    (tmp_path / "study.yaml").write_text(block, encoding="utf-8")
    read_study(tmp_path / "study.yaml")
    needed = {"bids": said["data"]["bids"]}
    kinds = {"word_rate": [], "word_length": [], "word_position": [], "word_frequency": [], "phoneme_rate": []}
    kinds |= {"word_class": [], "category": [], "language": ["model"], "surprisal": ["model"]}
    kinds |= {"sentence": ["column"], "static": ["model"], "vision": ["model", "layers"], "conse": [], "luminance": []}
    kinds |= {"contrast": [], "colour": [], "spatial_frequency": [], "gabor": [], "motion_energy": [], "pixels": []}
    kinds |= {"speech": ["model", "layers"], "mel": [], "envelope": [], "onset_strength": [], "pitch": []}
    assert list(kinds) == list(FEATURE_KINDS)
    features = [{key: f[key] for key in ("name", "kind", *kinds[f["kind"]])} for f in said["features"]]
    least = study_from({"data": needed, "features": features})
    assert [f["kind"] for f in said["features"]] == list(kinds)
    assert said == least.model_dump(mode="json"), "another default, or a key the page does not have"
    assert list(said) == list(Study.model_fields)


def test_the_studies_of_start_are_valid():
    _, *studies = blocks("docs/start.md", "yaml")
    for study in map(yaml.safe_load, studies):
        assert set(study_from(study).encoding.baseline) < {feature["name"] for feature in study["features"]}
    assert len(studies) == 3


def test_the_page_of_models_says_what_the_cards_say():
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", (REPOSITORY / "docs/models.md").read_text(encoding="utf-8"), re.M)
    said = {name: [cell.strip("` ") for cell in cells.split(" | ")] for name, cells in rows}
    assert sorted(said) == sorted(model_cards())
    for card in model_cards().values():
        use, what, *rest = said[card.name]
        assert use == KINDS[card.kind].use
        fetched = "comes with brainalign" if card.is_shipped else f"{card.download_mb} MB"
        assert rest == [card.licence, fetched, f"{card.disk_mb} MB"]
        if card.layers:
            assert (f"{card.layers} layers × {card.width}" if card.width else f"{card.layers} blocks") in what


def test_readme_says_under_which_licence_each_model_stands():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    for card in model_cards().values():
        (row,) = [line for line in lines if line.startswith("| ") and f"`{card.name}`" in line]
        assert card.licence in row


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_is_linked_is_there(page):
    links = re.findall(r"\]\(([^)#]+)", (REPOSITORY / page).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not link.startswith("http") and not (REPOSITORY / link).is_file()] == []


def test_the_pictures_are_small_and_made_by_the_script(reader, tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_images", REPOSITORY / "docs/make_images.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    images = sorted(script.IMAGES.iterdir())
    assert [path.name for path in images] == ["layers.svg", "people.svg", "small-samples.svg", "targets.svg"]
    assert all(path.stat().st_size < 150_000 for path in images)
    fit = reader[0]["fit"]
    made = script.write_images(replace(fit, layers=fit.layers.iloc[:0]), tmp_path / "images")
    assert [path.name for path in made] == ["targets.svg", "people.svg"]
    for path in [*images, *made]:
        head = path.read_text(encoding="utf-8")[:700]
        assert head.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 '), path
        assert 'fill="#ffffff"' in head  # ink on a dark page is not to be seen
