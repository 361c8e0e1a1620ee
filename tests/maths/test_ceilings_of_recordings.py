"""Ceilings of real recordings, against the values known of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import io, stats

from brainalign.maths.bounds import extrapolated, rdm_bounds
from brainalign.maths.ceiling import cc_max, leave_one_out, noise_ceiling, split_half

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def needs(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real recordings at {path}: set BRAINALIGN_TEST_DATA")
    return path


@pytest.fixture(scope="module")
def alice():
    """(17 people, 362 volumes, 6 regions), drift, a 128 s cosine basis and head motion regressed out, then scaled."""
    root = needs("alice-fmri-rois")
    n, tr = 362, 2.0
    time = np.linspace(-1, 1, n)
    cosines = [np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k in range(1, int(2 * n * tr / 128) + 1)]
    people = []
    for path in sorted((root / "bold" / "6mm").glob("s*-timecourses.txt")):
        name = path.name.split("-")[0]
        if name == "s33":  # a broken recording, all zeros
            continue
        motion = np.loadtxt(next((root / "motion").glob(f"{name}-rp*")))[-n:]
        nuisance = np.column_stack([time**power for power in range(4)] + cosines + [motion])
        y = np.loadtxt(path)
        y -= nuisance @ np.linalg.lstsq(nuisance, y, rcond=None)[0]
        people.append(y / y.std(0))
    return np.array(people)


def test_people_listening_to_alice(alice):
    assert alice.shape == (17, 362, 6)
    group = split_half(alice, null="shift").as_r()
    one, bound = leave_one_out(alice), leave_one_out(alice, corrected=False)
    np.testing.assert_allclose(group.value, [0.76, 0.71, 0.89, 0.79, 0.73, 0.64], atol=0.02)
    np.testing.assert_allclose(one.value.mean(0), [0.27, 0.24, 0.42, 0.29, 0.25, 0.19], atol=0.02)
    np.testing.assert_allclose(bound.value.mean(0), [0.20, 0.16, 0.37, 0.23, 0.18, 0.12], atol=0.02)
    assert (group.p < 0.01).all()
    curve = extrapolated(alice)
    assert (np.abs(curve.value - bound.value.mean(0)) < 0.03).all()  # a curve that bends early finds little more
    assert (curve.value < one.value.mean(0)).all()


def test_neurons_in_v4_by_three_ceilings_alike():
    """Six to ten presentations of each image."""
    raw = np.load(needs("v4-natural-images", "responses_raw_210325.npy")).transpose(2, 1, 0)
    assert raw.shape == (10, 640, 50)
    halves = split_half(raw, corrected=False)
    assert abs(np.median(halves.value) - 0.60) < 0.02
    for ceiling in (noise_ceiling(raw).as_r(), split_half(raw).as_r(), cc_max(raw)):
        assert abs(np.median(ceiling.value) - 0.87) < 0.02, ceiling.kind
        assert ceiling.told_from_zero().all()


def test_bounds_of_four_people_seeing_92_objects():
    found = io.loadmat(needs("images92-rdms", "92_brainRDMs.mat"))["RDMs"]
    rdms = np.array([[found[0, i, k]["RDM"] for k in range(2)] for i in range(4)], float).mean(1)
    lower, upper = rdm_bounds(rdms, average="dissimilarities")
    np.testing.assert_allclose(lower.value, [0.43, 0.30, 0.45, 0.34], atol=0.02)
    np.testing.assert_allclose(upper.value, [0.69, 0.62, 0.74, 0.60], atol=0.02)
    assert (lower.p < 0.01).all()


def test_voxels_seeing_eight_categories_in_twelve_runs():
    import brainalign as ba
    from brainalign.encoding.ceilings import repeats_of

    root = needs("haxby2001-bids")
    brain = ba.read_fmri(root, subject="1", task="objectviewing")
    brain = brain.select(columns=brain.array().mean(0) > 300)
    assert brain.shape[1] == 511
    slow = np.vander(np.linspace(-1, 1, 121), 3)  # the README's figures are of runs without their parabola
    values = [run.array() - slow @ np.linalg.lstsq(slow, run.array())[0] for run in brain.split("run").values()]
    straight = ba.Signal(np.concatenate(values), brain.samples, brain.columns)
    means = ba.condition_means(ba.clean(straight, []), ba.read_events(root, task="objectviewing"))
    found = repeats_of(means)
    assert found.responses.shape == (12, 8, 511)
    halves = split_half(found.responses, splits="odd-even", corrected=False)
    assert abs(np.nanmedian(halves.value) - 0.25) < 0.03
    assert abs(np.nanquantile(halves.value, 0.9) - 0.77) < 0.03
    by_hand = stats.pearsonr(found.responses[::2].mean(0), found.responses[1::2].mean(0), axis=0).statistic
    np.testing.assert_allclose(halves.value, by_hand, atol=1e-6)
