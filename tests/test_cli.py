"""The command line as a user meets it: in a process of its own."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from brainalign import cli
from brainalign.shipped import shipped


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def call(home):
    """Run `brainalign ARGUMENTS` without a network, with a cache of its own; (status, stdout, stderr)."""
    environment = os.environ | {
        "BRAINALIGN_CACHE": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "COLUMNS": "160",
    }

    def run(*arguments, cwd=home):
        command = [sys.executable, "-c", "from brainalign.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=600, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def study(home):
    content = yaml.safe_load(shipped("studies", "listening-quick.yaml").read_text())
    content["data"]["bids"] = str(shipped("sample", "alice"))
    content["features"] = [
        {"name": "rate", "kind": "word_rate"},
        {"name": "lm", "kind": "language", "model": "stories260k", "layers": [2, 4], "pca": 10},
    ]
    content["encoding"] = {"baseline": ["rate"], "folds": {"by": "contiguous", "n": 3, "inner": 3}}
    content["inference"] = {"permutations": 19, "bootstrap": 50}
    path = home / "study.yaml"
    path.write_text(yaml.safe_dump(content | {"output": "out"}))
    return path


def test_help_names_every_command(call):
    status, out, _ = call("--help")
    assert status == 0
    for command in ("demo", "fit", "check", "report", "models", "datasets", "cache"):
        assert command in out


def test_fit_then_report_again(call, study, home):
    status, out, err = call("fit", study)
    assert status == 0, err
    assert "report:" in out
    assert "r of baseline" in out
    assert "sub-33" in out
    assert "\x1b" not in err  # stderr is no terminal: nothing animated
    page = home / "out/report.html"
    first = page.read_bytes()
    page.unlink()
    status, out, err = call("report", home / "out")
    assert status == 0, err
    assert page.read_bytes() == first


def test_check_says_what_is_wrong_and_what_is_right(call, study, home):
    assert call("check", study)[:2] == (0, "no problems found\n")
    broken = home / "broken.yaml"
    content = yaml.safe_load(study.read_text())
    content["features"][1]["model"] = "storis260k"
    content["data"]["task"] = "alicia"
    broken.write_text(yaml.safe_dump(content))
    status, out, _ = call("check", broken)
    assert status == 1
    assert "did you mean 'stories260k'?" in out
    assert "alicia" in out
    status, out, _ = call("check", broken, "--json")
    assert status == 1
    assert len(json.loads(out)["problems"]) >= 2


def test_check_audits_the_folds(call, study, home):
    status, out, err = call("check", study, "--leak")
    assert status == 0, out + err
    assert "no leak found in" in out
    assert "time alone" in out
    shuffled = home / "shuffled.yaml"
    content = yaml.safe_load(study.read_text())
    content["encoding"]["folds"] = {"by": "shuffled", "n": 3, "inner": 3}
    shuffled.write_text(yaml.safe_dump(content))
    status, out, _ = call("check", shuffled, "--leak")
    assert status == 1
    assert "LEAKY" in out
    status, out, _ = call("check", shuffled, "--leak", "--json")
    assert status == 1
    found = {row["check"]: row["leaky"] for row in json.loads(out)["leak"]}
    assert found["time alone"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "none.yaml"), "none.yaml: there is no such study file"),
        (("check", "none.yaml"), "none.yaml: there is no such study file"),
        (("report", "nowhere"), "nowhere is not a results folder"),
        (("models", "show", "smollm2-135"), "did you mean 'smollm2-135m'?"),
        (("models", "fetch", "smollm3"), "did you mean 'smollm2-135m'?"),
        (("datasets", "show", "alise"), "did you mean 'alice'?"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(call, arguments, message):
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("brainalign: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("package", "extra"), [(p, extra) for extra, brought in cli.EXTRAS.items() for p in brought])
def test_a_package_that_is_not_installed_is_named_with_what_brings_it(package, extra, monkeypatch, capsys):
    def missing(*arguments, **settings):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(cli, "app", missing)
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["fit"])
    assert (
        capsys.readouterr().err == f"brainalign: {package} is not installed: run `pip install 'brainalign[{extra}]'`\n"
    )
    with pytest.raises(ModuleNotFoundError):
        cli.main(["fit", "--debug"])


def test_every_package_of_an_extra_is_known():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for extra, brought in cli.EXTRAS.items():
        assert [line.partition(">=")[0] for line in project["optional-dependencies"][extra]] == list(brought)


def test_bad_settings_stop_with_2_and_debug_shows_where(call, study, home):
    content = yaml.safe_load(study.read_text()) | {"featurs": []}
    (home / "typo.yaml").write_text(yaml.safe_dump(content))
    status, _, err = call("fit", "typo.yaml")
    assert status == 2
    assert "unknown key 'featurs'; did you mean 'features'?" in err
    assert "Traceback" not in err
    status, _, err = call("fit", "typo.yaml", "--debug")
    assert status != 0
    assert "Traceback" in err


def test_models_and_datasets_have_cards(call):
    status, out, _ = call("models", "list")
    assert status == 0
    assert "stories260k" in out
    assert "smollm2-135m" in out
    assert "to fetch" in out
    assert "MIT" in call("models", "show", "stories260k")[1]
    assert "alice" in call("datasets", "list")[1]
    assert "tr: 2.0" in call("datasets", "show", "alice")[1]


def test_without_network_the_demo_finishes_and_says_what_it_left_out(call, home):
    status, _, err = call("demo", "--out", home / "demo")
    assert status == 0, err
    assert "smollm2-135m could not be fetched: this run uses stories260k" in err
    assert "left out" in err
    assert (home / "demo/report.html").stat().st_size > 20_000
    assert "could not be fetched" in (home / "demo/report.html").read_text()
