"""Which contacts of a shaft, strip or grid are beside each other?"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from brainalign.errors import InputError

Grids = Mapping[str, tuple[int, int]]
"""Shaft → rows and columns, of contacts that are numbered from 1 or from 0 along a row, then along the next."""

BESIDE = 1.3  # of the spacing of a grid: below the diagonal, √2
STRIP = 16  # contacts that an ECOG array in one line has at most
SIZE = re.compile(r"\[?\s*(\d+)\s*x\s*(\d+)\s*\]?", re.I)


def size_of(array: pd.DataFrame, shaft: str, grids: Grids | None) -> tuple[tuple[int, int] | None, list[str]]:
    """Rows and columns of a grid; None for a shaft or strip, with a note where that is a guess.

    Parameters
    ----------
    array : DataFrame
        The contacts of one shaft, strip or grid: `type`, `number` (counted from 1), `x`, `y`, `z`, `dimension`.
    shaft : str
    grids : mapping of shaft → (rows, columns), or None
    """
    top = int(array["number"].max())
    if grids is not None and shaft in grids:
        size, who = grids[shaft], "grids says"
    else:
        said = {text for text in array["dimension"] if text} if "dimension" in array else set()
        found = SIZE.fullmatch(said.pop().strip()) if len(said) == 1 else None
        if found is None:
            long = array["type"].iloc[0] == "ECOG" and top > STRIP
            note = (
                f"{shaft} has contacts up to {top} and no size is known: taken as one line; name its rows and columns"
            )
            return None, [f"{note} as grids"] * long
        low, high = sorted((int(found[1]), int(found[2])))  # BIDS writes the smaller first: numbered along the longer
        size, who = (low, high), "electrodes.tsv says"
    if size[0] * size[1] < top:
        raise InputError(f"{shaft} is {size[0]} × {size[1]}, {who}, and has a contact {top}: correct one of the two")
    return (None, []) if 1 in size else (size, [])


def beside_each_other(array: pd.DataFrame, shaft: str, grids: Grids | None) -> tuple[np.ndarray, list[str]]:
    """(n, n) bool: which contacts of one array, as `size_of` takes it, are beside each other."""
    number = array["number"].to_numpy(int) - 1
    size, guess = size_of(array, shaft, grids)
    if size is not None:
        row, column = np.divmod(number, size[1])
        steps = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
        return steps == 1, guess
    xyz = array[["x", "y", "z"]].to_numpy(float)
    if array["type"].iloc[0] == "ECOG" and np.isfinite(xyz).all() and len(xyz) > 2:
        apart = np.linalg.norm(xyz[:, None] - xyz, axis=2)
        np.fill_diagonal(apart, np.inf)
        spacing = float(np.median(apart.min(1)))
        return (apart < BESIDE * spacing) & (spacing > 0), []
    return np.abs(number[:, None] - number) == 1, guess
