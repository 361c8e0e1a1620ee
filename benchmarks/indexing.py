"""How long until a recording is found in a large tree: 100 people × 10 runs, raw and as fMRIPrep leaves them?

python benchmarks/indexing.py [PEOPLE [RUNS]] writes results/benchmarks/indexing.json: the tree is indexed and one space
is chosen, each in a process of its own, beside what nilearn and mne-bids do to list the same files. Files are empty; no
reader opens them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import RESULTS, facts, load_json, peak_bytes, save_json, spread, today

PEOPLE, RUNS, REPEATS = 100, 10, 3
BAR = 10.0  # seconds, for finding the recordings of a space
SPACE = "fsLR:den-91k"
# what is there of each run and each person, as fMRIPrep 25 writes it with four spaces and --cifti-output
RAW = ("bold.nii.gz", "bold.json", "sbref.nii.gz", "sbref.json", "events.tsv")
SPACES = ("", "space-T1w_", "space-MNI152NLin2009cAsym_", "space-MNI152NLin6Asym_res-2_")
SURFACES = ("fsnative", "fsaverage6")
FUNC = [
    *(f"{space}{rest}" for space in SPACES for rest in ("desc-preproc_bold.nii.gz", "desc-preproc_bold.json")),
    *(f"{space}{rest}" for space in SPACES for rest in ("desc-brain_mask.nii.gz", "desc-brain_mask.json")),
    *(f"{space}boldref.nii.gz" for space in SPACES),
    *(f"hemi-{side}_space-{space}_bold.{form}" for space in SURFACES for side in "LR" for form in ("func.gii", "json")),
    *(f"space-fsLR_den-91k_bold.{form}" for form in ("dtseries.nii", "json")),
    *(f"desc-confounds_timeseries.{form}" for form in ("tsv", "json")),
    *(f"space-T1w_desc-{seg}_dseg.nii.gz" for seg in ("aseg", "aparcaseg")),
    *(
        f"from-{a}_to-{b}_mode-image_xfm.{form}"
        for a, b in (("orig", "boldref"), ("boldref", "T1w"))
        for form in ("txt", "json")
    ),
]
ANAT = [
    *(
        f"{space}desc-{what}"
        for space in SPACES[1:]
        for what in ("preproc_T1w.nii.gz", "preproc_T1w.json", "brain_mask.nii.gz")
    ),
    *(f"{space}label-{tissue}_probseg.nii.gz" for space in SPACES[1:] for tissue in ("CSF", "GM", "WM")),
    *(
        f"hemi-{side}_{surface}.surf.gii"
        for side in "LR"
        for surface in ("white", "pial", "midthickness", "inflated", "sphere")
    ),
    *(f"hemi-{side}_{shape}.shape.gii" for side in "LR" for shape in ("curv", "sulc", "thickness")),
]


def write_tree(root, people, runs):
    """Empty files under the names a study has; how many there are."""
    names = ["dataset_description.json", "participants.tsv", "task-story_bold.json"]
    prep = "derivatives/fmriprep/"
    names += [f"{prep}dataset_description.json", *(f"{prep}desc-{seg}_dseg.tsv" for seg in ("aseg", "aparcaseg"))]
    for person in range(1, people + 1):
        sub = f"sub-{person:03d}"
        names += [f"{sub}/anat/{sub}_T1w.{form}" for form in ("nii.gz", "json")]
        names += [f"{prep}{sub}/anat/{sub}_{rest}" for rest in ANAT] + [f"{prep}{sub}.html"]
        names += [f"{prep}{sub}/figures/{sub}_task-story_run-{run}_desc-carpet_bold.svg" for run in range(1, runs + 1)]
        for run in range(1, runs + 1):
            stem = f"{sub}/func/{sub}_task-story_run-{run}_"
            names += [f"{stem}{rest}" for rest in RAW] + [f"{prep}{stem}{rest}" for rest in FUNC]
    for folder in {Path(root, name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Path(root, name).touch()
    return len(names)


def index(root):
    """List every file; ours."""
    from brainalign.io.bids import index_bids

    return len(index_bids(root).files)


def choose(root):
    """Find both what a space holds and what else there is; ours, the index included."""
    from brainalign.io.recordings import choose_recordings

    return len(choose_recordings(root, space=SPACE).recordings)


def nilearn(root):
    """The raw images and those of one space, by glob, person by person and folder by folder."""
    from nilearn.interfaces.bids import get_bids_files

    raw = get_bids_files(root, file_tag="bold", file_type="nii.gz", modality_folder="func")
    prep = Path(root, "derivatives/fmriprep")
    filters = [("space", "fsLR"), ("den", "91k")]
    found = get_bids_files(prep, file_tag="bold", file_type="dtseries.nii", modality_folder="func", filters=filters)
    return len(raw) + len(found)


def mne_bids(root):
    """The functional files of the raw tree and of the pipeline."""
    from mne_bids import find_matching_paths

    return sum(
        len(find_matching_paths(place, datatypes="func", suffixes="bold", check=False, ignore_json=True))
        for place in (root, Path(root, "derivatives/fmriprep"))
    )


FINDERS = (index, choose, nilearn, mne_bids)


def one(name, root):
    """Seconds, imports aside, and bytes of one way to find files."""
    finder = {f.__name__: f for f in FINDERS}[name]
    small = Path(root).with_name("small")
    finder(small)  # imports
    before = peak_bytes()
    began, cpu_began, load = time.perf_counter(), time.process_time(), os.getloadavg()[0]
    found = finder(root)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = {"peak": peak_bytes(), "memory": peak_bytes() - before}
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, **peak, "found": found, "load": load}


def run(command):
    """What a process prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    people, runs = (int(word) for word in [*sys.argv[1:], *map(str, (PEOPLE, RUNS)[len(sys.argv) - 1 :])])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "study")
        files = write_tree(root, people, runs)
        write_tree(root.with_name("small"), 1, 2)
        sys.stdout.write(f"{files:,} files\n")
        records = {}
        for finder in FINDERS:
            command = [sys.executable, __file__, "--one", finder.__name__, str(root)]
            record = spread([json.loads(run(command)) for _ in range(REPEATS)])
            records[finder.__name__] = record
            sys.stdout.write(
                f"{finder.__name__}: {record['seconds']:.2f} s ({record['cpu_seconds']:.2f} s of a core, load "
                f"{max(record['load']):.1f}), {record['found']:,} found, {record['peak'] / 1e6:.0f} MB\n"
            )
    path = RESULTS / "indexing.json"
    key = f"{people} × {runs}"
    save_json(path, {**load_json(path, {}), key: {"files": files, **records, "machine": facts(), "day": today()}})
    if records["choose"]["seconds"] > BAR:
        sys.exit(f"finding the recordings of a space took more than {BAR:g} s")


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.stdout.write(json.dumps(one(sys.argv[2], sys.argv[3])))
    else:
        main()
