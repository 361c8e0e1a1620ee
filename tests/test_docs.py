"""The pages build, strictly, and every file of the package is in the reference."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "brainalign"
MODULES = [p for p in PACKAGE.rglob("*.py") if p.stem not in ("__init__", "cli") and "_shipped" not in p.parts]


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
