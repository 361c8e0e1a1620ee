"""A study of one's own: the alice sample cut to four people, with the small model."""

import shutil

import pytest
import yaml

from brainalign.shipped import shipped

PEOPLE = ("18", "22", "23", "33")


@pytest.fixture
def tree(tmp_path):
    """A copy of the sample that a test may break."""
    source, root = shipped("sample", "alice"), tmp_path / "tree"
    people = {f"sub-{p}" for p in PEOPLE}

    def others(folder, names):
        return [n for n in names if n.startswith("sub-") and n.split("_")[0] not in people]

    shutil.copytree(source, root, ignore=others)
    rows = (root / "participants.tsv").read_text().splitlines()
    (root / "participants.tsv").write_text(
        "\n".join(r for r in rows if r[:3] != "sub" or r.split("\t")[0] in people) + "\n"
    )
    return root


@pytest.fixture
def study(tree, tmp_path):
    """Write a study file over the tree; keyword arguments replace whole sections."""

    def write(**sections):
        content = {
            "data": {"bids": "tree", "task": "alice", "average": "subjects"},
            "features": [
                {"name": "rate", "kind": "word_rate"},
                {"name": "length", "kind": "word_length"},
                {"name": "lm", "kind": "language", "model": "stories260k", "layers": [3], "pca": 10},
            ],
            "encoding": {"baseline": ["rate", "length"], "folds": {"by": "contiguous", "n": 4, "inner": 3}},
            "inference": {"permutations": 19, "bootstrap": 50},
            "output": "out",
        } | sections
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
        return path

    return write


@pytest.fixture
def table(tree):
    """One person's table of regions."""
    return tree / "derivatives/rois/sub-22/func/sub-22_task-alice_atlas-sphere6mm_timeseries.tsv"
