"""What a person gets who installs brainalign: built, installed where there is nothing, run outside the repository."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def run(*command, cwd, env=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and an sdist of the working tree."""
    out = tmp_path_factory.mktemp("dist")
    for kind in ("--wheel", "--sdist"):
        run(sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", out, REPOSITORY, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


def shipped_files():
    folder = REPOSITORY / "datasets"
    return {
        p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    }


def test_the_wheel_carries_cards_samples_and_the_small_model(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name, path in shipped_files().items():
            assert archive.read(f"brainalign/_shipped/{name}") == path.read_bytes(), name
    assert "brainalign/_shipped/models/stories260k/model.safetensors" in names
    assert "brainalign/_shipped/sample/alice/participants.tsv" in names
    assert "brainalign/py.typed" in names
    assert "brainalign/__init__.pyi" in names


def test_the_wheel_carries_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"brainalign"}
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".ipynb"))] == []
    assert wheel.stat().st_size < 10e6


def test_the_wheel_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        said = HeaderParser().parsestr(archive.read(metadata).decode())
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert said["License-Expression"] == "BSD-3-Clause"
    assert said["Requires-Python"] == ">=3.11"
    needs = said.get_all("Requires-Dist")
    assert any(need.startswith("packaging") for need in needs)  # himalaya imports it without declaring it
    assert not [need for need in needs if "<" in need.split(";")[0]], "an upper pin needs its reason"
    assert not [need for need in needs if re.match(r"torch|transformers", need) and "extra ==" not in need]


def test_the_sdist_can_be_tested(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "pyproject.toml", "tests/test_packaging.py", "LICENSE"} <= names
    assert {f"datasets/{name}" for name in shipped_files()} <= names
    assert not [name for name in names if name.startswith((".venv", "results", "dist")) or "__pycache__" in name]


def test_the_constraints_are_plain_versions():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert odd == []
    assert "torch==2.13.0" in lines


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment that held nothing but pip, and now the wheel with its language extra."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    # without byte-compiling all of torch: what the demo imports is compiled when it is imported
    install = ("-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
    run(python, *install, "-c", REPOSITORY / "constraints.txt", f"{wheel}[language]", cwd=folder)
    return python.parent


@pytest.fixture
def elsewhere(tmp_path):
    """An environment of variables in which nothing of this repository, and no hub, can be reached."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "BRAINALIGN", "VIRTUAL_ENV"))}
    return kept | {"BRAINALIGN_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}


def test_the_installed_command_answers(installed, elsewhere, tmp_path):
    assert "demo" in run(installed / "brainalign", "--help", cwd=tmp_path, env=elsewhere)
    listed = run(installed / "brainalign", "models", "list", cwd=tmp_path, env=elsewhere)
    assert "stories260k" in listed
    assert "smollm2-135m" in listed
    lies = run(installed / "python", "-c", "import brainalign; print(brainalign.__file__)", cwd=tmp_path, env=elsewhere)
    assert str(installed.parent) in lies


def test_the_installed_demo_runs_with_nothing_fetched(installed, elsewhere, tmp_path):
    run(installed / "brainalign", "demo", "--quick", "--out", tmp_path / "out", cwd=tmp_path, env=elsewhere)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "scores.tsv", "settings.yaml", "provenance.json"} <= made
    scores = (tmp_path / "out/scores.tsv").read_text().splitlines()
    assert len(scores) > 6
    assert str(tmp_path) not in (tmp_path / "out/provenance.json").read_text()  # nothing of the host
