"""Which samples does a feature of events have: one per event, at its onset?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign.errors import InputError, did_you_mean


def samples_of(events: pd.DataFrame, column: str) -> pd.DataFrame:
    """The samples table of a feature: one row per event, in the order of the events.

    Parameters
    ----------
    events : DataFrame
        `run`, `onset` (s, never falling within a run), and the column that says what was shown or heard; `duration`
        (s) is kept where it is there.
    column : str
        Which column becomes `stimulus`, as text without surrounding white space.

    Returns
    -------
    DataFrame
        `run`, `time` (s), `duration` (where known), `stimulus`.

    Raises
    ------
    InputError
        No events; a missing column, onset or stimulus; onsets that fall within a run.

    Examples
    --------
    >>> events = pd.DataFrame({"run": "1", "onset": [0.5, 0.9], "word": ["Alice", "was"]})
    >>> samples_of(events, "word")["stimulus"].tolist()
    ['Alice', 'was']
    """
    for name in ("run", "onset", column):
        if name not in events:
            hint = "for a single run: events['run'] = '1'" if name == "run" else did_you_mean(name, events.columns)
            raise InputError(f"the events have no column {name!r}; {hint}")
    if len(events) == 0:
        raise InputError("the events table is empty: a feature needs at least one event")
    onset = pd.to_numeric(events["onset"], errors="coerce").to_numpy(float)
    if not np.isfinite(onset).all():
        row = int(np.flatnonzero(~np.isfinite(onset))[0])
        raise InputError(f"event {row} has no onset in seconds; found {events['onset'].iloc[row]!r}")
    missing = events[column].isna().to_numpy()
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise InputError(
            f"event {row} (onset {onset[row]:g} s) has no {column}: leave such events out; if it is a word such as "
            "'null' or 'nan', read the table with keep_default_na=False"
        )
    run = events["run"].astype(str).to_numpy()
    samples = pd.DataFrame({"run": run, "time": onset})
    step = samples.groupby("run", sort=False)["time"].diff().to_numpy(float)
    if (step < 0).any():
        row = int(np.flatnonzero(step < 0)[0])
        raise InputError(
            f"event {row} (run {run[row]}, onset {onset[row]:g} s) begins before the one above it: sort the events of "
            "each run by onset"
        )
    if "duration" in events:
        samples["duration"] = pd.to_numeric(events["duration"], errors="coerce").to_numpy(float)
    samples["stimulus"] = [str(text).strip() for text in events[column]]
    return samples
