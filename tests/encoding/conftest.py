"""Recordings with a known truth."""

import numpy as np
import pandas as pd
import pytest

from brainalign.signals import Signal, average_people


def clock(runs=4, n=80, tr=2.0):
    return pd.concat(
        [pd.DataFrame({"run": str(k + 1), "time": np.arange(n) * tr}) for k in range(runs)], ignore_index=True
    )


@pytest.fixture(scope="session")
def planted():
    """X: bands rate (2 columns), lm.0 … lm.2 (8 each); targets: rate only, rate + lm.1, pure noise."""
    rng = np.random.default_rng(7)
    samples = clock()
    n = len(samples)
    rate = rng.standard_normal((n, 2))
    layers = [rng.standard_normal((n, 8)) * scale for scale in (1, 30, 0.2)]
    columns = pd.DataFrame(
        {
            "band": ["rate"] * 2 + [f"lm.{k}" for k in range(3) for _ in range(8)],
            "layer": [np.nan] * 2 + [k for k in range(3) for _ in range(8)],
            "unit": [0, 1, *list(range(8)) * 3],
        }
    )
    X = Signal(np.c_[rate, *layers] + 3, samples, columns)
    w = rng.standard_normal((8, 1))
    w /= 30 * np.linalg.norm(w)  # lm.1's part has variance 1, as have rate's part and the noise
    signal = np.c_[rate[:, :1], rate[:, :1] + layers[1] @ w, np.zeros(n)]
    Y = Signal(signal + rng.standard_normal((n, 3)), samples, pd.DataFrame({"roi": ["rate", "both", "noise"]}))
    return X, Y


@pytest.fixture(scope="session")
def crowd(planted):
    """Five people whose mean is the planted recording's signal in other noise."""
    X, Y = planted
    rng = np.random.default_rng(8)
    truth = np.repeat(Y.values[None], 5, 0) + 1.5 * rng.standard_normal((5, *Y.shape))
    values = truth.transpose(1, 0, 2).reshape(len(Y.samples), -1)
    columns = pd.DataFrame({"subject": np.repeat(list("abcde"), 3), "roi": ["rate", "both", "noise"] * 5})
    return X, average_people(Signal(values, Y.samples, columns))
