"""What fits into memory, and which way costs less?"""

import re
from dataclasses import replace

import numpy as np
import pytest

from brainalign.errors import SettingsError
from brainalign.maths.cost import Sizes, cheaper, dtype_of, flops, lay_out, parse_bytes
from brainalign.maths.folds import contiguous
from brainalign.maths.held_out import CHUNK

SIZES = Sizes(n=1000, p=7000, bands=4, targets=10_000, points=33, tried=8, itemsize=4, workers=2)
FOLDS = contiguous(1000, 5)


def test_sizes_of_memory():
    assert parse_bytes("4GB") == 4_000_000_000
    assert parse_bytes("512 MiB") == 512 * 2**20
    assert parse_bytes(1000) == 1000
    for wrong in ("much", 0, -5, "", None, "0GB"):
        with pytest.raises(SettingsError, match=rf"memory is a size such as '4GB'.*found {re.escape(repr(wrong))}"):
            parse_bytes(wrong)


@pytest.mark.parametrize(("method", "low"), [("dual", 5e7), ("primal", 2e8)])
def test_the_more_memory_the_larger_the_batches(method, low):
    sizes = SIZES if method == "dual" else replace(SIZES, n=20_000, p=200)
    folds = contiguous(sizes.n, 5)
    found = [lay_out(method, sizes, folds, int(memory)) for memory in np.geomspace(low, 1e11, 30)]
    batches = [order.batch for order, _ in found]
    assert batches[-1] == 10_000
    assert found[-1] == (found[-1][0], 2)
    assert found[-1][0].keep
    assert batches[0] < 10_000
    whole = [order.batch == 10_000 for order, _ in found]
    assert whole == sorted(whole)  # once all fit, they fit with more
    assert all(256 <= batch <= 10_000 for batch in batches)


def test_where_memory_is_short_fewer_points_are_computed_at_once():
    n = 1000
    sizes = replace(SIZES, workers=16)
    workers = [lay_out("dual", sizes, FOLDS, int(memory))[1] for memory in (4e7, 1e8, 1e9)]
    assert workers == sorted(workers)
    assert workers[0] < workers[-1] == 16
    order, count = lay_out("dual", sizes, FOLDS, 4 * 10**7)
    held = sizes.bands * n * n * 4 + order.batch * 3 * n * 4
    at_work = 2 * n * n * 4 + CHUNK * 2 * n * 4  # P and R of a point, errors of some targets
    assert held + count * at_work < 4 * 10**7


@pytest.mark.parametrize("method", ["dual", "primal"])
def test_too_little_memory_says_how_much_it_takes(method):
    with pytest.raises(
        SettingsError,
        match=rf"memory=0.001 GB is too little for 1,000 samples × 7,000 columns in 4 bands: the {method} way needs at "
        r"least ([\d.]+) GB; give more memory, or fewer samples or bands",
    ) as error:
        lay_out(method, SIZES, FOLDS, 10**6)
    needed = float(re.search(r"at least ([\d.]+) GB", str(error.value))[1])
    lay_out(method, SIZES, FOLDS, int(1.02e9 * needed))
    with pytest.raises(SettingsError):
        lay_out(method, SIZES, FOLDS, int(0.98e9 * needed))


def test_the_cheaper_way():
    """Columns or samples, whichever are fewer; folds that leave most out make kernels dearer."""
    assert cheaper(SIZES, FOLDS) == "dual"
    assert cheaper(replace(SIZES, p=50), FOLDS) == "primal"
    assert flops("dual", SIZES, FOLDS) < flops("primal", SIZES, FOLDS)
    assert flops("dual", replace(SIZES, targets=20_000), FOLDS) > 1.5 * flops("dual", SIZES, FOLDS)


def test_precision_follows_the_data_and_small_problems_are_computed_finely():
    coarse, fine = np.zeros((2, 2), np.float32), np.zeros((2, 2))
    assert dtype_of(coarse, coarse, small=False) == np.float32
    assert dtype_of(coarse.astype(np.float16), coarse, small=False) == np.float32
    for X, Y, small in (
        (coarse, coarse, True),
        (fine, coarse, False),
        (coarse, fine, False),
        (fine.astype(int), coarse, False),
    ):
        assert dtype_of(X, Y, small) == np.float64
