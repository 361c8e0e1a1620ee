"""What does the surface of a brain do over time, by the GIFTI file of each hemisphere?"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, iterparse

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.io.bids import parse_name
from brainalign.io.series import Series

# nibabel reads a GIFTI whole, which of a run on fsaverage is 400 MB twice over. A data array at a time is enough here.

BLOCK = 32 << 20  # bytes of a run handed on together
KEY = ("hemisphere", "vertex")
SIDES = {"CortexLeft": "L", "CortexRight": "R"}  # of the metadata AnatomicalStructurePrimary
# what FreeSurfer, the GIFTI standard's "functional" files and Workbench call an array of samples
INTENTS = ("NIFTI_INTENT_TIME_SERIES", "NIFTI_INTENT_NONE", "NIFTI_INTENT_NORMAL")
MILLISECONDS = 50.0  # no TR is as long in seconds, none as short in ms: FreeSurfer writes TimeStep in ms, others in s


@dataclass(frozen=True)
class Hemisphere:
    """One GIFTI file, of which only the first data array has been read.

    Parameters
    ----------
    path : Path
    name : str
        What to call it in errors.
    side : "L" or "R"
    n_samples, n_vertices : int
        By what the file says of itself.
    tr : float or None
        Seconds.
    """

    path: Path
    name: str
    side: str
    n_samples: int
    n_vertices: int
    tr: float | None


def open_gifti(left: Path, right: Path | None, name: str) -> Series:
    """One run on a surface: a GIFTI time series per hemisphere, as fMRIPrep writes them.

    Parameters
    ----------
    left : Path
        ``sub-01_task-x_hemi-L_space-fsaverage6_bold.func.gii``; the only file, whichever hemisphere it is of, where
        there is one.
    right : Path, optional
    name : str
        What to call the first in errors.

    Returns
    -------
    Series
        (samples, vertices): columns `hemisphere` ("L", "R") and `vertex`, counted from 0 within the hemisphere. The
        medial wall is among them. Files are read a data array at a time.

    Raises
    ------
    InputError
        Not GIFTI, cut short, not a time series, hemispheres of different length, or the same one twice.

    Examples
    --------
    >>> import tempfile, nibabel, numpy as np
    >>> from nibabel.gifti import GiftiDataArray, GiftiImage
    >>> frames = [GiftiDataArray(np.full(4, t, "f4"), "NIFTI_INTENT_TIME_SERIES") for t in range(3)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sub-01_hemi-L_space-fsaverage_bold.func.gii")
    ...     nibabel.save(GiftiImage(darrays=frames), path)
    ...     np.concatenate([*open_gifti(path, None, path.name).blocks()]).shape
    (3, 4)
    """
    halves = [_open(left, name)]
    if right is not None:
        halves.append(_open(right, Path(name).with_name(right.name).as_posix()))
        _check_pair(*halves)
    halves.sort(key=lambda half: half.side)
    columns = pd.DataFrame(
        {
            "hemisphere": np.repeat([half.side for half in halves], [half.n_vertices for half in halves]),
            "vertex": np.concatenate([np.arange(half.n_vertices) for half in halves]),
        }
    )
    return Series(
        name,
        columns,
        KEY,
        halves[0].n_samples,
        lambda: _blocks(halves),
        next((half.tr for half in halves if half.tr is not None), None),
        tuple((half.side, half.n_vertices) for half in halves),
        () if right is None else (right,),
    )


def _check_pair(one: Hemisphere, other: Hemisphere) -> None:
    if one.side == other.side:
        raise InputError(f"{one.name} and {other.name} are both of hemisphere {one.side}: name the left and the right")
    if one.n_samples != other.n_samples:
        raise InputError(
            f"{one.name} has {one.n_samples} time points, {other.name} has {other.n_samples}: the hemispheres of a run "
            "have equally many; write both again"
        )


def _blocks(halves: list[Hemisphere]) -> Iterator[np.ndarray]:
    n, width = halves[0].n_samples, sum(half.n_vertices for half in halves)
    step = max(1, BLOCK // (4 * max(1, width)))
    streams = [_samples(half) for half in halves]
    for start in range(0, n, step):
        block = np.empty((min(step, n - start), width), np.float32)
        at = 0
        for half, stream in zip(halves, streams, strict=True):
            for row in block[:, at : at + half.n_vertices]:
                row[:] = next(stream)
            at += half.n_vertices
        yield block
    for stream in streams:
        next(stream, None)  # sees what comes after the last


def _samples(half: Hemisphere) -> Iterator[np.ndarray]:
    """As many samples (n_vertices,) as the file says it has; an error where it has fewer or more."""
    count = 0
    for _, array in _arrays(half.path, half.name):
        for sample in _decode(array, half.name).T:
            if count == half.n_samples or len(sample) != half.n_vertices:
                found = f"one of {len(sample)} vertices" if len(sample) != half.n_vertices else "more"
                raise InputError(
                    f"{half.name} speaks of {half.n_samples} time points of {half.n_vertices} vertices and has "
                    f"{found}: write it again"
                )
            yield sample
            count += 1
    if count < half.n_samples:
        raise InputError(f"{half.name} speaks of {half.n_samples} time points and ends after {count}: write it again")


def _open(path: Path, name: str) -> Hemisphere:
    root, array = next(_arrays(path, name), (None, None))
    if root is None or array is None:
        raise InputError(f"{name} holds no data array: it is no recording; fetch it again")
    intent, dims = array.get("Intent", ""), _dims(array, name)
    if intent not in INTENTS or len(dims) > 2:
        raise InputError(
            f"{name} holds {intent or 'arrays of no intent'} of {len(dims)} dimensions: a recording holds "
            f"{INTENTS[0]}, an array per time point"
        )
    count = root.get("NumberOfDataArrays", "")
    if not count.isdecimal():
        raise InputError(f"{name} does not say how many data arrays it has (found {count!r}): write it again")
    side = _side(path, name, _metadata(root).get("AnatomicalStructurePrimary"))
    samples = int(count) * (dims[1] if len(dims) > 1 else 1)
    return Hemisphere(path, name, side, samples, dims[0], _seconds(_metadata(array).get("TimeStep")))


def _side(path: Path, name: str, structure: str | None) -> str:
    """The hemisphere, by the file's name and by what it says of itself."""
    parsed = parse_name(path.name)
    named, said = parsed and parsed[0].get("hemi"), SIDES.get(structure or "")
    if named and said and named != said:
        raise InputError(
            f"{name} is hemi-{named} by its name and {structure} by its metadata: find out which it is, and rename it"
        )
    if (named or said) not in SIDES.values():
        raise InputError(f"{name} does not say which hemisphere it is of: name it …_hemi-L_… or …_hemi-R_…")
    return named or said or ""


def _arrays(path: Path, name: str) -> Iterator[tuple[Element, Element]]:
    """The file's first lines and each of its data arrays, in order, one in memory at a time."""
    try:
        with path.open("rb") as file:
            parsing = iterparse(file, events=("start", "end"))  # noqa: S314 expat resolves no outside entity
            _, root = next(parsing)
            if root.tag != "GIFTI":
                raise InputError(f"{name} is XML of the kind <{root.tag}>, no GIFTI: fetch it again")
            for event, element in parsing:
                if event == "end" and element.tag == "DataArray":
                    yield root, element
                    element.clear()
                    root.remove(element)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}: check the path, or fetch it") from error
    except (OSError, ParseError) as error:
        what = "is an empty file" if not path.stat().st_size else f"cannot be read to its end ({error})"
        raise InputError(f"{name} {what}: fetch it again") from error


def _decode(array: Element, name: str) -> np.ndarray:
    """(n_vertices, n_samples) the numbers of a data array; most have one sample."""
    from nibabel.nifti1 import data_type_codes

    dims = _dims(array, name)
    kinds: Any = data_type_codes.dtype
    text = array.findtext("Data") or ""
    encoding = array.get("Encoding", "")
    if encoding not in ("ASCII", "Base64Binary", "GZipBase64Binary"):
        raise InputError(f"{name} keeps its numbers as {encoding or 'nothing said'}: write it as GZipBase64Binary")
    try:
        kind = np.dtype(kinds[array.get("DataType")])
        if encoding == "ASCII":
            values = np.array(text.split(), kind)
        else:
            raw = base64.b64decode(text)
            order = ">" if array.get("Endian") == "BigEndian" else "<"
            values = np.frombuffer(zlib.decompress(raw) if encoding[0] == "G" else raw, kind.newbyteorder(order))
        values = values.reshape(dims, order="F" if array.get("ArrayIndexingOrder") == "ColumnMajorOrder" else "C")
    except (ValueError, KeyError, zlib.error) as error:
        raise InputError(f"{name} has a data array that cannot be read ({error}): fetch it again") from error
    return values.reshape(dims[0], -1)


def _dims(array: Element, name: str) -> list[int]:
    try:
        return [int(array.attrib[f"Dim{k}"]) for k in range(int(array.attrib["Dimensionality"]))] or [1]
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} has a data array whose shape is not said ({error}): fetch it again") from error


def _metadata(element: Element) -> dict[str, str]:
    pairs = element.iterfind("MetaData/MD")
    return {(md.findtext("Name") or "").strip(): (md.findtext("Value") or "").strip() for md in pairs}


def _seconds(step: str | None) -> float | None:
    """A TimeStep in seconds; None where it is not said, or 0 as FreeSurfer writes where it does not know."""
    try:
        value = float(step or 0)
    except ValueError:
        return None
    return None if not 0 < value < np.inf else value / 1000 if value >= MILLISECONDS else value
