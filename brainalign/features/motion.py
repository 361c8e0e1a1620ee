"""What moves in a film, where, in which direction and how fast?

The motion-energy model of Nishimoto et al. (2011, https://doi.org/10.1016/j.cub.2011.08.031), with the pyramid of
filters of pymoten (Nunez-Elizalde, Deniz, Dupré la Tour, Visconti di Oleggio Castello & Gallant 2021,
https://doi.org/10.5281/zenodo.6349625): quadrature pairs of Gabor filters in space and time, whose energy is the root
of the sum of the two squares. A grating that drifts to the right moves most the filters pymoten 0.1 calls 180°: it lays
them over the film reversed in time. Here they are called by what moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError, need_package
from brainalign.features.decoding import is_number
from brainalign.features.describing import Described, Unreadable, each_readable, why_left_out
from brainalign.features.films import read_film
from brainalign.features.light import lightness_of
from brainalign.features.pictures import Pictures, pictures_of
from brainalign.features.pixels import resized, resizing
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.rows import RowJob, compute_rows, keep_rows
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 1  # counts up when the same film would get other numbers
PART_FRAMES = 512  # between two savings
MASK = 0.001  # where a filter is weaker, pymoten takes it for nothing
PROPORTIONS = 0.02  # by which the frames of several films may differ in width / height
LOG_FLOOR = 1e-5  # pymoten's


def motion_energy(
    film: Pictures | np.ndarray | str | Path | Mapping[str, str | Path],
    rate: int = 15,
    *,
    spatial_frequencies: Sequence[float] = (0, 2, 4, 8, 16),
    temporal_frequencies: Sequence[float] = (0, 2, 4),
    directions: Sequence[float] = (0, 45, 90, 135, 180, 225, 270, 315),
    side: int = 96,
    log: bool = True,
    unreadable: Unreadable = "error",
    name: str = "motion",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The energy of every moment of a film in a pyramid of motion filters.

    Frames are made `side` pixels high, their lightness (CIELAB L*, 0 to 100) is taken, and each filter looks at two
    thirds of a second of them, a third before and a third after. Before it begins and after it ends a film is taken for
    black. The film passes through in pieces: memory does not grow with its length, and no piece has ends of its own.

    Parameters
    ----------
    film : path, mapping of run → path, array, or Pictures
        Paths are read with `read_film` at `rate`. An array holds the frames, (n_frames, height, width) or with 1, 3 or
        4 channels last, as `pictures_of` takes it: run "1", frame n at n / `rate` seconds. Of Pictures
        (``read_film(path, rate=15, onset=…)``) the samples of a run have to be 1/rate seconds apart.
    rate : int
        Frames a second (Hz); motion of up to half as many cycles a second can be seen.
    spatial_frequencies : list of float
        Cycles per picture height; 0, a place as a whole, comes with direction 0.
    temporal_frequencies : list of float
        Hz; 0, what stands still, comes with directions below 180.
    directions : list of float
        Of motion, in degrees: 0 is to the right, 90 up.
    side : int
        Pixels of a frame's height; its proportions are kept.
    log : bool
        Give log(energy + 10⁻⁵), as pymoten does.
    unreadable, name, store, progress
        As for `luminance`; moments that see a frame which cannot be read are censored with it.

    Returns
    -------
    Signal
        (n_frames, n_filters), at the film's `rate`: resample it onto a recording. Columns have `frequency` (cycles per
        picture height), `temporal_frequency` (Hz), `direction` (degrees; of what stands still, across its bars; none of
        frequency 0), `x` and `y` (the centre, 0 to 1 from the left and from the top), and `unit`, which says it all.

    Raises
    ------
    InputError
        As `read_film`, or of an array `pictures_of`; samples that are not evenly spaced, or films of different
        proportions.
    SettingsError
        pymoten is not installed; a rate that is no whole number, no directions, or frequencies that `rate` or
        `side` cannot show.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> x = np.arange(32) / 32
    >>> bars = [np.tile(128 + 100 * np.sin(2 * np.pi * (2 * x - 2 * k / 10)), (32, 1)) for k in range(20)]
    >>> frames = [Image.fromarray(frame.astype(np.uint8)) for frame in bars]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frames[0].save(f"{folder}/right.gif", save_all=True, append_images=frames[1:], duration=100)
    ...     energy = motion_energy(
    ...         f"{folder}/right.gif", rate=10, spatial_frequencies=[2], temporal_frequencies=[2], side=32
    ...     )
    >>> float(energy.columns["direction"][int(energy.values[10].argmax())])
    0.0
    """
    need_package("moten", extra="vision", what="motion energy")
    settings = resizing(side, least=2)
    _check(rate, side, spatial_frequencies, temporal_frequencies, directions)
    frames = _frames_of(film, rate)
    size = _size_of(frames, int(side))
    asked = {
        "rate": int(rate),
        "spatial_frequencies": [float(f) for f in spatial_frequencies],
        "temporal_frequencies": [float(f) for f in temporal_frequencies],
        "directions": [float(d) for d in directions],
    }
    pyramid = _pyramid(size, **asked)
    known = {"kind": "motion_energy", "method": METHOD, "log": bool(log), **asked, **settings, **versions("pymoten")}

    def begin() -> RowJob:
        return _job(frames, pyramid, size, log, unreadable)

    if store is None:
        values = compute_rows(begin(), progress)["values"]
    else:
        runs = [[frames.digests[row] for row in rows] for rows in _runs(frames)]
        about = {"what": "motion energy", "n_frames": len(frames)}
        values = keep_rows(store, key_of(frames=runs, size=size, **known), begin, about, progress)["values"]
    columns = _columns(pyramid, size).assign(band=name)
    columns = columns[["band", *[c for c in columns if c != "band"]]]
    return Described(frames, values, {}, why_left_out(frames, values, unreadable)).signal(columns, {name: known})


def _check(
    rate: Any, side: int, spatial: Sequence[float], temporal: Sequence[float], directions: Sequence[float]
) -> None:
    if not is_number(rate) or rate % 1 or rate < 2:
        raise SettingsError(f"rate is a whole number of frames a second, 2 or more; found {rate!r}")
    for found, most, which in ((spatial, side / 2, "spatial"), (temporal, rate / 2, "temporal")):
        if not len(found) or not all(is_number(f) and 0 <= f <= most for f in found):
            raise SettingsError(
                f"{which}_frequencies are from 0 to {most:g}, half of what is sampled; found {list(found)!r}"
            )
    if not len(directions) or not all(is_number(d) and np.isfinite(d) for d in directions):
        raise SettingsError(f"directions are of motion, one or more, in degrees; found {list(directions)!r}")


def _frames_of(film: Pictures | np.ndarray | str | Path | Mapping[str, str | Path], rate: int) -> Pictures:
    if isinstance(film, np.ndarray):
        found = pictures_of(film)
        names = [f"frame {k}" for k in range(len(found))]
        time = np.arange(len(found)) / rate
        samples = pd.DataFrame({"run": "1", "time": time, "duration": 1 / rate, "stimulus": names})
        return replace(found, samples=samples)
    frames: Pictures = film if isinstance(film, Pictures) else read_film(film, rate=rate)
    for rows in _runs(frames):
        step = np.diff(frames.samples["time"].to_numpy(float)[rows])
        if len(step) and np.abs(step - 1 / rate).max() > 0.01 / rate:
            run = frames.samples["run"].iloc[rows[0]]
            raise InputError(
                f"the frames of run {run} are not {1 / rate:.4f} s apart, as a rate of {rate} Hz has them, but "
                f"{step.min():.4f} to {step.max():.4f} s: read the film with read_film(.., rate={rate})"
            )
    return frames


def _runs(frames: Pictures) -> list[np.ndarray]:
    """The rows of each run."""
    run = frames.samples["run"].to_numpy()
    return [np.flatnonzero(run == one) for one in dict.fromkeys(run)]


def _size_of(frames: Pictures, side: int) -> tuple[int, int]:
    """Height and width that frames are resized to."""
    shapes = {}
    for rows in _runs(frames):
        first = next((picture for _, picture in each_readable(frames, rows, "censor")), None)
        if first is None:
            next(frames.read([int(rows[0])]))  # says what is wrong with it
        else:
            shapes[frames.samples["run"].iloc[rows[0]]] = first.shape[1] / first.shape[0]
    widest, narrowest = max(shapes, key=shapes.__getitem__), min(shapes, key=shapes.__getitem__)
    if shapes[widest] > shapes[narrowest] * (1 + PROPORTIONS):
        raise InputError(
            f"the films differ in width / height, {shapes[narrowest]:.2f} in run {narrowest} and {shapes[widest]:.2f} "
            f"in run {widest}: their filters would lie elsewhere; describe them apart, or crop them alike"
        )
    return side, max(2, round(side * next(iter(shapes.values()))))


def _pyramid(
    size: tuple[int, int],
    rate: int,
    spatial_frequencies: list[float],
    temporal_frequencies: list[float],
    directions: list[float],
) -> Any:
    from moten.pyramids import MotionEnergyPyramid

    return MotionEnergyPyramid(
        stimulus_vhsize=size,
        stimulus_fps=rate,
        spatial_frequencies=spatial_frequencies,
        temporal_frequencies=temporal_frequencies,
        spatial_directions=directions,
    )


def _columns(pyramid: Any, size: tuple[int, int]) -> pd.DataFrame:
    found = pyramid.parameters
    frequency = np.asarray(found["spatial_freq"], float)
    columns = pd.DataFrame(
        {
            "frequency": frequency,
            "temporal_frequency": np.asarray(found["temporal_freq"], float),
            "direction": np.where(frequency > 0, np.asarray(found["direction"], float), np.nan),
            "x": np.asarray(found["centerh"], float) * size[0] / size[1],
            "y": np.asarray(found["centerv"], float),
        }
    )
    says = "{:g} cycles/picture {:g} Hz {:g}° at {:.2f}, {:.2f}".format
    columns.insert(0, "unit", [says(*row).replace(" nan°", "") for row in columns.to_numpy()])
    return columns


@dataclass(frozen=True, eq=False)
class _Filters:
    """A pyramid, each spatial filter once: many differ in their temporal frequency only.

    spatial : (n_pixels, 2 × n_different) float32, cosines, then sines
    which : (n_filters,) int, its spatial filter
    temporal : (width, n_filters) complex
    """

    spatial: np.ndarray
    which: np.ndarray
    temporal: np.ndarray


def _filters(pyramid: Any, size: tuple[int, int]) -> _Filters:
    from moten.core import mk_3d_gabor

    different: dict[tuple[float, ...], int] = {}
    cosines, sines, which, temporal = [], [], [], []
    for one in pyramid.filters:
        place = tuple(float(one[k]) for k in ("centerh", "centerv", "direction", "spatial_freq", "spatial_env"))
        sine, cosine, slow_sine, slow_cosine = (np.asarray(part) for part in mk_3d_gabor(size, **one))
        if place not in different:
            different[place] = len(different)
            seen = np.abs(sine) + np.abs(cosine) > MASK
            cosines.append((cosine * seen).ravel().astype(np.float32))
            sines.append((sine * seen).ravel().astype(np.float32))
        which.append(different[place])
        temporal.append(slow_cosine - 1j * slow_sine)  # reversed in time
    return _Filters(np.stack(cosines + sines, axis=1), np.array(which), np.stack(temporal, axis=1).astype(np.complex64))


def _job(frames: Pictures, pyramid: Any, size: tuple[int, int], log: bool, unreadable: Unreadable) -> RowJob:
    filters = _filters(pyramid, size)
    width = len(filters.temporal)
    parts = [
        (rows, start, min(start + PART_FRAMES, len(rows)))
        for rows in _runs(frames)
        for start in range(0, len(rows), PART_FRAMES)
    ]

    def compute(part: int) -> np.ndarray:
        rows, start, stop = parts[part]
        begin, end = max(0, start - width), min(len(rows), stop + width)
        light = np.full((end - begin, size[0] * size[1]), np.nan, np.float32)
        for place, picture in each_readable(frames, rows[begin:end], unreadable):
            light[place] = lightness_of(resized(picture, *size)).ravel()
        energy = _energy(light, filters)[start - begin : stop - begin]
        return np.log(energy + LOG_FLOOR) if log else energy

    what = f"motion energy of {len(frames):,} frames"
    return RowJob((len(frames), len(filters.which)), [rows[a:b] for rows, a, b in parts], compute, {}, what)


def _energy(light: np.ndarray, filters: _Filters) -> np.ndarray:
    """(n_frames, n_filters), of frames (n_frames, n_pixels) with black before and behind; NaN near one that is NaN."""
    n, width = len(light), len(filters.temporal)
    still = light @ filters.spatial
    cosines, sines = np.split(still, 2, axis=1)
    padded = np.zeros((n + 2 * width, cosines.shape[1]), np.complex64)
    padded[width : width + n] = cosines + 1j * sines
    moving = np.zeros((n, len(filters.which)), np.complex64)
    for k, weights in enumerate(filters.temporal):
        begin = width - (k - (width + 1) // 2 + 1)  # as pymoten: half a width ahead to half behind
        moving += padded[begin : begin + n, filters.which] * weights
    return np.abs(moving)
