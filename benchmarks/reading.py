"""What does it take to read eight runs of 300 volumes and 200,000 voxels, the first time and the next, and in nilearn?

    python benchmarks/reading.py [--small]

Each reader is a process of its own; written to results/benchmarks/reading.json. Memory is the process's own: pages of
mapped files, which the system takes back when it needs them, are counted apart.
"""

import argparse
import gzip
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import RESULTS, facts, own_bytes, peak_bytes, save_json, today

SHAPE, VOXELS, VOLUMES, RUNS, TR = (72, 90, 72), 200_000, 300, 8, 1.5


def write(root, volumes, runs):
    """A tree as fMRIPrep leaves it: images in int16, compressed as nibabel does, a brain mask, confounds."""
    import nibabel

    rng = np.random.default_rng(0)
    func = Path(root) / "derivatives/fmriprep/sub-01/func"
    func.mkdir(parents=True)
    affine = np.diag([2.4, 2.4, 2.4, 1.0])
    inside = np.zeros(SHAPE, np.int16)
    inside.reshape(-1)[: VOXELS * 2 : 2] = 1
    baseline = rng.integers(4000, 9000, SHAPE).astype(np.int16)
    for run in range(1, runs + 1):
        stem = f"sub-01_task-rest_run-{run}_space-MNI"
        nibabel.save(nibabel.Nifti1Image(inside, affine), func / f"{stem}_desc-brain_mask.nii.gz")
        header = nibabel.Nifti1Header()
        header.set_data_shape((*SHAPE, volumes))
        header.set_data_dtype(np.int16)
        header.set_sform(affine, 1)
        header.set_xyzt_units("mm", "sec")
        header.set_zooms((2.4, 2.4, 2.4, TR))
        header["magic"], header["vox_offset"] = b"n+1", 352
        with gzip.open(func / f"{stem}_desc-preproc_bold.nii.gz", "wb", compresslevel=1) as file:
            file.write(header.binaryblock + b"\0" * 4)
            for _ in range(volumes):
                noise = rng.integers(-60, 60, SHAPE, dtype=np.int16)
                file.write(np.where(inside, baseline + noise, 0).astype("<i2").tobytes(order="F"))
        (func / f"{stem}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": TR, "StartTime": 0}))


def ours(root, cache):
    """`read_fmri`, to a store."""
    from brainalign import read_fmri
    from brainalign.store import Store

    return read_fmri(root, store=Store(cache)).shape


def theirs(root, cache):
    """NiftiMasker run by run, one below the other: what one would write by hand."""
    from nilearn.maskers import NiftiMasker

    func = Path(root) / "derivatives/fmriprep/sub-01/func"
    values = []
    for image in sorted(func.glob("*_bold.nii.gz")):
        mask = image.with_name(image.name.replace("preproc_bold", "brain_mask"))
        values.append(NiftiMasker(mask, standardize=None, dtype="float32").fit_transform(image))
    return np.concatenate(values).shape


def child(name, root, cache):
    """Read, and print one line of JSON."""
    for module in ("brainalign.io.fmri", "nilearn.maskers", "nilearn.masking"):  # importing is not reading
        importlib.import_module(module)
    began = time.perf_counter()
    with own_bytes() as most:
        shape = {"ours": ours, "theirs": theirs}[name](root, cache)
    told = {"shape": list(shape), "seconds": time.perf_counter() - began, "own_bytes": most[0], "rss": peak_bytes()}
    print(json.dumps(told))


def main():
    """Write the tree, read it three ways, print and save what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="two runs of 60 volumes")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child)
        return
    volumes, runs = (60, 2) if asked.small else (VOLUMES, RUNS)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "tree", Path(folder) / "cache"
        write(root, volumes, runs)
        for what, name in (("first", "ours"), ("again", "ours"), ("nilearn", "theirs")):
            command = [sys.executable, __file__, "--child", name, str(root), str(cache)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[what] = json.loads(done.stdout.splitlines()[-1])
            one = found[what]
            print(
                f"{what:8} {one['seconds']:7.1f} s  own {one['own_bytes'] / 1e6:7,.0f} MB  "
                f"with mapped files {one['rss'] / 1e6:7,.0f} MB  {one['shape']}",
                flush=True,
            )
    if not asked.small:
        save_json(RESULTS / "reading.json", {"date": today(), "facts": facts(), **found})


if __name__ == "__main__":
    main()
