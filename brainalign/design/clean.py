"""What is removed from the responses within each run: slow drift, head motion, what else was recorded beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design.resample import spacing
from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.provenance import hash_array, hash_frame
from brainalign.rows import Block, keep_blocks
from brainalign.scratch import LARGE, span_of
from brainalign.signals import Signal, average_people
from brainalign.store import Store, key_of

LONGEST_S = 128.0  # periods longer than this are drift (SPM's and fMRIPrep's convention)
NUMBERS = 2 << 20  # cleaned together, in float64
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
OF_ALL = 1e-10  # of a regressor's size: what is less new than that is rounding
OF_RECORDED = 1e-6  # the same for confounds, which are float32


def clean(
    signal: Signal,
    nuisance: str | Sequence[str] = ("drift", "motion"),
    within: str | np.ndarray = "run",
    *,
    longest_s: float = LONGEST_S,
    store: Store | None = None,
) -> Signal:
    """Remove nuisance by least squares, apart in each run (or in each segment of it), and z-score what is left.

    After it every person and run weighs alike: raw scanner units differ between sequences and sessions.

    Parameters
    ----------
    signal : Signal (n_samples, n_targets)
        With `related["people"]` each person is cleaned by their own confounds, and the mean is taken again.
    nuisance : word, or sequence of words
        `drift` (mean, cubic polynomial, cosines of periods above `longest_s`), `high_pass` (mean and cosines alone, as
        SPM's and nilearn's filters), `linear` (mean and linear trend), `motion` (the six rigid-body parameters of
        `related["confounds"]`), `confounds` (all that was recorded there), or the name of any one of those. All of it
        is removed together, so that nothing that was removed comes back with what is removed after it (Lindquist et al.
        2019). The mean is removed always.
    within : "run", or a label per sample (n_samples,)
        Labels cut the runs further: with the test fold of each sample as its label, nothing that is removed from a
        training sample was estimated on a test sample.
    longest_s : float
        The longest period (s) that is left in, of `drift` and `high_pass`.
    store : Store, optional
        Where a result of more than 256 MB is kept: it is memory-mapped, and found again. Without one it is in memory.

    Returns
    -------
    Signal
        The residuals, mean 0 and SD 1 within each run (or segment). Samples with `use` False have no say in it: what
        was estimated on the others is removed from them too. A column of which nothing is left is 0.

    Raises
    ------
    InputError
        Motion is asked for and was not recorded, or a segment has too few samples for what is to be removed.
    SettingsError
        A confound nobody recorded, or `longest_s` is no number of seconds.

    Notes
    -----
    With Q an orthonormal basis of the regressors on the samples in use, the residuals are y − QQᵀy. Regressors that
    depend on each other add no direction to Q. Columns are cleaned some at a time: beside the result, or with a store,
    this takes about 100 MB.

    References
    ----------
    Lindquist, M. A., Geuter, S., Wager, T. D., & Caffo, B. S. (2019). Modular preprocessing pipelines can reintroduce
    artifacts into fMRI data. Human Brain Mapping, 40, 2358-2376. https://doi.org/10.1002/hbm.24528

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> t = np.arange(100) * 2.0
    >>> fast = np.sin(t)
    >>> x = Signal(np.c_[fast + 5 + 0.1 * t], pd.DataFrame({"run": "1", "time": t}), pd.DataFrame({"roi": ["LIFG"]}))
    >>> bool(np.corrcoef(clean(x, nuisance=["drift"]).values[:, 0], fast)[0, 1] > 0.99)
    True
    """
    nuisance = words_of(nuisance)
    people = signal.related.get("people")
    if people is not None:
        return average_people(clean(people, nuisance, within, longest_s=longest_s, store=store))
    if isinstance(longest_s, bool) or not isinstance(longest_s, (int, float)) or not 0 < longest_s < np.inf:
        raise SettingsError(f"longest_s is the longest period that is left in, in seconds; found {longest_s!r}")
    labels = _labels(signal, within)
    done: dict[str, Any] = {"nuisance": list(nuisance), "within": "run" if isinstance(within, str) else "segment"}
    if {"drift", "high_pass"} & set(nuisance):
        done["longest_s"] = float(longest_s)

    def blocks() -> Iterator[Block]:
        for part in parts_to_clean(signal, nuisance, labels, longest_s):
            yield from _cleaned(signal.values, part)

    n, p = signal.shape
    if store is None or 4 * n * p <= LARGE:
        values = np.zeros((n, p), np.float32)
        for rows, columns, block in blocks():
            values[_place(rows, columns)] = block
    else:
        key = _key(signal, labels, done)
        values = keep_blocks(store, key, (n, p), blocks, {"what": "a cleaned recording", "shape": [n, p]})["values"]
    return replace(signal, values=values, attrs={**signal.attrs, "cleaned": done})


def drift(n: int, tr: float, longest_s: float = LONGEST_S) -> np.ndarray:
    """(n, k) slow regressors of n samples: mean, linear, quadratic, cubic, and cosines of periods above `longest_s`."""
    return np.c_[_polynomials(n, 3), _cosines(n, tr, longest_s)]


def high_pass(n: int, tr: float, longest_s: float = LONGEST_S) -> np.ndarray:
    """(n, k) mean and cosines of periods above `longest_s`: the discrete cosine basis of SPM."""
    return np.c_[_polynomials(n, 0), _cosines(n, tr, longest_s)]


def linear(n: int, tr: float, longest_s: float = LONGEST_S) -> np.ndarray:
    """(n, 2) mean and linear trend."""
    return _polynomials(n, 1)


def words_of(nuisance: str | Sequence[str]) -> tuple[str, ...]:
    """What is to be removed; one word stands for itself.

    Raises
    ------
    SettingsError
        Something that is no words.

    Examples
    --------
    >>> words_of("drift"), words_of(["drift", "motion"])
    (('drift',), ('drift', 'motion'))
    """
    if isinstance(nuisance, str):
        return (nuisance,)
    if not isinstance(nuisance, Iterable) or not all(isinstance(word, str) for word in nuisance):
        raise SettingsError(f"nuisance is a list of words, such as ['drift', 'motion']; found {nuisance!r}")
    return tuple(nuisance)


SLOW = {"drift": drift, "high_pass": high_pass, "linear": linear}


def _polynomials(n: int, order: int) -> np.ndarray:
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, n), min(order, n - 1))


def _cosines(n: int, tr: float, longest_s: float) -> np.ndarray:
    order = min(n - 1, int(2 * n * tr / longest_s))
    return np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(1, order + 1)) / n)


@dataclass(frozen=True)
class Part:
    """One person's samples of one run or segment, and what is removed from them.

    Parameters
    ----------
    rows, columns : int arrays
    basis : array (n_rows, k)
        Orthonormal on the samples in use.
    use : array (n_rows,), bool
    """

    rows: np.ndarray
    columns: np.ndarray
    basis: np.ndarray
    use: np.ndarray


def _labels(signal: Signal, within: str | np.ndarray) -> np.ndarray:
    if isinstance(within, str):
        if within != "run":
            raise SettingsError(f"within is 'run' or a label per sample; found {within!r}")
        return np.zeros(len(signal.samples), int)
    labels = np.asarray(within)
    if len(labels) != len(signal.samples):
        raise InputError(f"{len(labels)} labels for {len(signal.samples)} samples: within needs one per sample")
    return labels


def parts_to_clean(signal: Signal, nuisance: Sequence[str], labels: np.ndarray, longest_s: float) -> Iterator[Part]:
    """Run by run, in it label by label, in it person by person."""
    subjects = signal.columns["subject"] if "subject" in signal.columns else pd.Series("", index=signal.columns.index)
    words = [SLOW[name] for name in nuisance if name in SLOW]
    recorded = [name for name in nuisance if name not in SLOW]
    extra = {who: _recorded(signal, recorded, who) for who in dict.fromkeys(subjects)} if recorded else {}
    run_of, times = signal.samples["run"].to_numpy(), signal.samples["time"].to_numpy(float)
    for run in signal.runs:
        for label in np.unique(labels[run_of == run]):
            rows = np.flatnonzero((run_of == run) & (labels == label))
            use, tr = signal.use[rows], spacing(times[rows], run) if words else 0.0
            slow = np.hstack([word(len(rows), tr, longest_s) for word in words] or [np.ones((len(rows), 1))])
            for who in dict.fromkeys(subjects):
                mine = extra[who][rows] if recorded else np.zeros((len(rows), 0))
                basis = _basis(slow, mine, use, run)
                yield Part(rows, np.flatnonzero(subjects == who), basis, use)


def _recorded(signal: Signal, names: Sequence[str], subject: str) -> np.ndarray:
    """(n_samples, k) of one person's confounds; `motion` stands for the six rigid-body parameters."""
    confounds = signal.related.get("confounds")
    if confounds is None:
        raise InputError(
            f"{', '.join(names)} is to be removed, but no confounds were recorded beside this signal: add a "
            "confounds file, or leave it out of design.nuisance"
        )
    table = confounds.columns
    mine = (table["subject"] == subject).to_numpy() if "subject" in table and subject else np.ones(len(table), bool)
    known, who = table["confound"][mine], f" of sub-{subject}" if subject else ""
    if not mine.any():
        raise InputError(f"{', '.join(names)} is to be removed, but no confounds{who} were recorded: leave it out")
    several = {"motion": MOTION, "confounds": tuple(known)}
    wanted = dict.fromkeys(one for name in names for one in several.get(name, (name,)))
    index = []
    for name in wanted:
        hit = np.flatnonzero(mine & (table["confound"] == name).to_numpy())
        if len(hit) != 1:
            raise SettingsError(
                f"confound {name!r} is not among those{who}; "
                + did_you_mean(name, [*SLOW, "motion", "confounds", *dict.fromkeys(known)])
            )
        index.append(hit[0])
    return np.asarray(confounds.values[:, index], np.float64)


@np.errstate(invalid="ignore", over="ignore")  # censored samples may hold anything
def _basis(slow: np.ndarray, recorded: np.ndarray, use: np.ndarray, run: str) -> np.ndarray:
    """(n, rank) what regressors span, orthonormal on the samples in use."""
    basis = _orthonormal(slow, use, OF_ALL) if use.any() else slow
    if use.any() and recorded.shape[1]:
        centred = recorded - recorded[use].mean(0)  # rotations in radians and translations in mm weigh alike
        size = centred[use].std(0)
        varies = size > OF_RECORDED * np.abs(recorded[use]).max(0)
        scaled = centred[:, varies] / size[varies]
        scaled = scaled - basis @ (basis[use].T @ scaled[use])
        basis = np.hstack([basis, _orthonormal(scaled, use, OF_RECORDED)])
    if use.sum() <= basis.shape[1]:
        raise InputError(
            f"run {run}: a segment of {int(use.sum())} samples cannot have {slow.shape[1] + recorded.shape[1]} "
            "nuisance regressors removed; use fewer folds, clean: run, or a shorter design.nuisance"
        )
    return basis


def _orthonormal(regressors: np.ndarray, use: np.ndarray, least: float) -> np.ndarray:
    """(n, rank) directions that regressors of size 1 span; those of a size below `least` are left out."""
    U, s, Vt = np.linalg.svd(regressors[use], full_matrices=False)
    there = s > least * np.sqrt(use.sum())
    out = regressors @ (Vt[there].T / s[there])
    out[use] = U[:, there]
    return out


def _cleaned(values: Any, part: Part) -> Iterator[Block]:
    """z-scored residuals, some columns at a time."""
    first, last = part.rows[0], part.rows[-1] + 1
    step = max(1, NUMBERS // len(part.rows))
    for start in range(0, len(part.columns), step):
        columns = part.columns[start : start + step]
        y = np.asarray(values[first:last, span_of(columns)], np.float64)
        y = y[part.rows - first] if len(y) > len(part.rows) else y
        yield part.rows, columns, _residual(y, part.basis, part.use)


@np.errstate(invalid="ignore", over="ignore")  # censored samples may hold anything
def _residual(y: np.ndarray, basis: np.ndarray, use: np.ndarray) -> np.ndarray:
    """z-scored residuals (n, t) float32 of y, which is written over."""
    fitted, every = basis[use], bool(use.all())
    used = y if every else y[use]
    size, weights = np.maximum(used.max(0), -used.min(0)), fitted.T @ used
    del used  # a third of what is in memory here
    y -= basis @ weights
    used = y if every else y[use]
    spread = np.sqrt(np.einsum("ij,ij->j", used, used) / len(used))
    there = spread > 1e-7 * size  # less is what rounding leaves of a column that was all nuisance
    y *= np.divide(1, spread, out=np.zeros_like(spread), where=there)
    return y.astype(np.float32)


def _place(rows: np.ndarray, columns: np.ndarray) -> Any:
    """The same as an index of a two-dimensional array."""
    some, of = span_of(rows), span_of(columns)
    return (some, of) if isinstance(some, slice) or isinstance(of, slice) else np.ix_(rows, columns)


def _key(signal: Signal, labels: np.ndarray, done: dict[str, Any]) -> str:
    """The key of what is cleaned, from all that it depends on: the numbers too, which may have been changed."""
    confounds = signal.related.get("confounds")
    table = signal.samples[["run", "time"]].assign(use=signal.use, label=np.unique(labels, return_inverse=True)[1])
    who = ["subject"] if "subject" in signal.columns else []
    beside = None if confounds is None else [hash_array(confounds.values), hash_frame(confounds.columns)]
    return key_of(
        what="clean 1",
        values=hash_array(signal.values),
        samples=hash_frame(table),
        columns=hash_frame(signal.columns[who]),
        confounds=beside,
        done=done,
    )
