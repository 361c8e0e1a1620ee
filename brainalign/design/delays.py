"""How the brain lags: every feature once per delay, so that the response's shape is fitted, not assumed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from brainalign.design.resample import in_use, spacing
from brainalign.errors import SettingsError
from brainalign.signals import Signal


def delay(signal: Signal, volumes: Sequence[int] = (1, 2, 3, 4, 5)) -> Signal:
    """Finite impulse response design: copies of every column, each shifted by a whole number of samples.

    Parameters
    ----------
    signal : Signal (n_samples, n_columns)
        Evenly sampled within each run.
    volumes : sequence of int
        Delays in samples; 2 means that the brain at time t is predicted from the feature at t − 2 samples. Negative
        delays look ahead.

    Returns
    -------
    Signal (n_samples, n_columns × n_delays)
        `columns` gain `delay` (samples). What would come from before or after the run is 0; no run sees another. What
        is not known is not known at every delay, and its samples are out of use.

    Raises
    ------
    SettingsError
        No delays, doubles, or delays that are not whole numbers.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> clock = pd.DataFrame({"run": "1", "time": [0.0, 2.0, 4.0]})
    >>> x = Signal([[1.0], [2.0], [3.0]], clock, pd.DataFrame({"band": ["rate"]}))
    >>> delay(x, volumes=(0, 1)).values.tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]
    """
    shifts = [int(v) for v in volumes]
    if not shifts or len(set(shifts)) < len(shifts) or shifts != list(volumes):
        raise SettingsError(
            f"delays are different whole numbers of samples, such as (1, 2, 3, 4); found {list(volumes)}"
        )
    values = signal.array()
    width = values.shape[1]
    out = np.zeros((len(values), width * len(shifts)), np.float32)
    run_of = signal.samples["run"].to_numpy()
    for run in signal.runs:
        rows = np.flatnonzero(run_of == run)
        spacing(signal.samples["time"].to_numpy(float)[rows], run)  # refuses an uneven clock
        for k, shift in enumerate(shifts):
            source = np.arange(len(rows)) - shift
            inside = (source >= 0) & (source < len(rows))
            out[rows[inside], k * width : (k + 1) * width] = values[rows[source[inside]]]
    columns = pd.concat([signal.columns.assign(delay=shift) for shift in shifts], ignore_index=True)
    return Signal(out, in_use(signal.samples, out), columns, attrs={**signal.attrs, "delays_volumes": shifts})
