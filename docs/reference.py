"""How does every file get its page in the reference? A hook of mkdocs makes a page per room when the docs are built."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "brainalign"
GROUND = "Floor 0: what a measurement is, where it came from, where it is kept."


def question(path: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def reference_pages(package: Path) -> dict[str, str]:
    """Name → Markdown of every page: an index, the ground floor, each room."""
    rooms = {"ground": (GROUND, sorted(p for p in package.glob("*.py") if not p.stem.startswith(("__init__", "cli"))))}
    for init in sorted(package.glob("[a-z]*/__init__.py")):
        files = sorted(p for p in init.parent.glob("*.py") if p != init)
        rooms[init.parent.name] = (question(init), files)
    index = [
        "# Reference",
        "The names in `import brainalign as ba` are defined in these rooms and may be imported from them too.",
    ]
    pages = {}
    for room, (said, files) in rooms.items():
        prefix = "brainalign" if room == "ground" else f"brainalign.{room}"
        pages[room] = "\n\n".join([f"# {room}", said, *(f"::: {prefix}.{path.stem}" for path in files)])
        index.append(f"## [{room}]({room}.md)\n\n{said}\n")
        index.append(
            "\n".join(f"- [`{path.stem}`]({room}.md#{prefix}.{path.stem}): {question(path)}" for path in files)
        )
    return {"index": "\n\n".join(index), **pages}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs once it has listed the pages that are written by hand."""
    for name, text in reference_pages(PACKAGE).items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files
