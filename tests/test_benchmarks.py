"""The arithmetic behind the benchmarks' numbers, and the page they are written into."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """benchmarks/ is no package: its files find one another because they are run there."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    yield
    for name in {"speed", "cost", "page", "accuracy", "measure", "regimes", "peers", "ours"} & set(
        sys.modules
    ) - before:
        del sys.modules[name]


def test_a_whole_run_lies_on_the_line_through_two_shorter_ones():
    from speed import at_full, extrapolate, fitting

    line = extrapolate((1, 12.0), (5, 52.0), 20)
    assert (line["setup"], line["per_iteration"], line["seconds"]) == pytest.approx((2, 10, 202))
    assert fitting((1, 12.0), (3, 32.0), 20, limit=100) == 9
    assert fitting((1, 12.0), (3, 32.0), 20, limit=1000) == 20
    assert fitting((1, 12.0), (3, 32.0), 20, limit=10) == 3  # two lengths at least, or there is no line
    assert at_full({500: 2.0, 2000: 5.0}, 10_000) == pytest.approx(21)
    assert at_full({500: 2.0, 2000: 1.9}, 10_000) == 1.9  # noise of a short trial is no negative cost
    assert at_full({200: 3.0}, 200) == 3


def test_the_variant_expected_to_take_least_is_timed():
    from speed import fastest

    ways = ["numpy", "torch", "kernel"]
    assert fastest(ways, [{"expected": 3.0}, {"expected": 2.0}, {"times": {}, "timeout": 9}]) == "torch"
    with pytest.raises(RuntimeError, match="no peer finished its probe"):
        fastest(ways, [{}, {}, {}])


def test_slopes_and_time_per_core():
    from cost import per_core, slope

    sizes = np.array([500, 1000, 5000])
    assert slope(sizes, 3e-7 * sizes**2.5) == pytest.approx(2.5)
    # of 2 cores, two threads of ours and one of a neighbour's get 4/3 when shared fairly
    assert per_core(10.0, 15.0, 2)["fair"] == pytest.approx(1)
    assert per_core(10.0, 15.0, 2)["strict"] == pytest.approx(0.75)


def test_the_page_says_what_was_measured(tmp_path):
    from page import write_page

    docs, results = tmp_path / "docs", tmp_path / "results"
    docs.mkdir()
    results.mkdir()
    (docs / "benchmarks.md").write_text((REPOSITORY / "docs/benchmarks.md").read_text(encoding="utf-8"), "utf-8")
    ours = {"seconds": 2.0, "memory": 5e8, "r2": 0.0913}
    theirs = {"seconds": 80.0, "memory": 1e9, "r2": 0.0912, "name": "himalaya kernel torch", "iterations": 15}
    record = {"what": "n 800", "targets": 10_000, "iterations": 20, "floor": 30, "goal": 60, "ratio": 40.0}
    record |= {"ours": ours, "peer": theirs | {"extrapolated": True}}
    machine = {"cores": 2, "architecture": "x86_64", "blas": ["openblas"], "python": "3", "versions": {"numpy": "2"}}
    (results / "speed.json").write_text(json.dumps({"regimes": {"n800": record}, "machine": machine}), "utf-8")
    runs = [{"n": n, "seconds": n / 500, "memory": n * 1e5, "method": "dual"} for n in (500, 1000)]
    varied = {"runs": runs, "slopes": {"seconds": 1.0, "memory": 1.0}}
    (results / "cost.json").write_text(json.dumps({"n": varied, "machine": machine}), "utf-8")

    assert write_page(results, docs) == ["speed", "cost"]
    page = (docs / "benchmarks.md").read_text(encoding="utf-8")
    row = "| n 800 | 10,000 | 2 | 80 (himalaya kernel torch, 20 iterations, extrapolated from 15) | **40** | 30 → 60 |"
    assert f"{row} .0913, .0912 | 0.5, 1 |" in page
    assert "| samples | 1,000 | 2 | 0.1 | dual |\n| samples | **slope** | **1.00** | **1.00** |  |" in page
    assert all("</svg>" in (docs / f"benchmarks/{name}.svg").read_text(encoding="utf-8") for name in ("speed", "cost"))
    assert json.loads((docs / "benchmarks/speed.json").read_text(encoding="utf-8"))["regimes"]["n800"]["ratio"] == 40
    write_page(results, docs)
    assert (docs / "benchmarks.md").read_text(encoding="utf-8") == page


def test_a_page_without_its_marks_is_refused():
    from page import fill

    with pytest.raises(ValueError, match="has the marks <!-- speed: made by"):
        fill("# Benchmarks\n", "speed", "")
