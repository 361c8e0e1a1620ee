"""Every notebook asks a question, is stored without outputs, and runs from top to bottom."""

import resource
import time
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS, "the tests below would pass by being none"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_title_is_a_question_and_nothing_it_printed_is_stored(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, code = notebook.cells[0], [cell for cell in notebook.cells if cell.cell_type == "code"]
    title = first.source.splitlines()[0]
    assert first.cell_type == "markdown"
    assert title.startswith("# ")
    assert title.endswith("?")
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.read(path, as_version=4)
    began, spent = time.perf_counter(), cpu_of_children()
    run(notebook, tmp_path)
    with capsys.disabled():
        took = f"{time.perf_counter() - began:.0f} s, {cpu_of_children() - spent:.0f} s of CPU"
        print(f"\n{path.name}: {took} (meant to stay under 60 s of CPU)")
    last = notebook.cells[-1]
    assert last.outputs, "the last cell shows something"


def run(notebook, folder):
    """Execute every cell; an error names the cell and shows its traceback."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, timeout=600
    ).execute()


def cpu_of_children():
    """CPU seconds of processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
