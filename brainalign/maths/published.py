"""Which ceiling does a map of noise-ceiling signal-to-noise ratios give that came with the data?"""

from __future__ import annotations

import numpy as np

from brainalign.errors import SettingsError
from brainalign.maths.ceiling import Ceiling


def ceiling_of_ncsnr(ncsnr: np.ndarray, k: float = 1.0, met: tuple[int, int] | None = None) -> Ceiling:
    """Share of variance a perfect model explains in the mean of k presentations: s² / (s² + 1/k) (Allen et al. 2022).

    What the map was estimated from is not here, so nothing can be rearranged. Where it is known how much that was, n
    stimuli met m times, the map still tells F = 1 + m s², the ratio of mean squares between and within stimuli of a
    one-way analysis of variance, and with it

    - p from F(n − 1, n (m − 1)), for normal noise that is independent from presentation to presentation;
    - the standard error by the delta method from var F̂ ≈ 2 F² (1/(n − 1) + 1/(n (m − 1))), for normal responses.

    Where it is not known, both are NaN: an honest number or none. Such a ceiling counts as told from zero wherever it
    is above zero (`Ceiling.told_from_zero`), as about half of all voxels without any signal are.

    Parameters
    ----------
    ncsnr : array (n_targets,)
        Standard deviation of the signal over that of the noise of one presentation; NaN where it was not estimated.
    k : float
        Presentations averaged *in the test data*; where counts differ, 1 / mean(1/k_i).
    met : (n, m), optional
        Stimuli, and presentations of each, that the map was estimated from.

    Returns
    -------
    Ceiling
        (n_targets,), unit "r2".

    Raises
    ------
    SettingsError
        k below 1; fewer than two stimuli or presentations; a negative ratio.

    Examples
    --------
    >>> one = ceiling_of_ncsnr(np.array([0.5, 0.05]), k=3, met=(1000, 3))
    >>> one.value.round(3), one.told_from_zero()
    (array([0.429, 0.007]), array([ True, False]))
    """
    s2 = np.asarray(ncsnr, float) ** 2
    if not k >= 1:
        raise SettingsError(f"k is {k}: how many presentations were averaged in the test data, at least 1")
    if (np.asarray(ncsnr) < 0).any():
        raise SettingsError(f"a map of ncsnr is 0 or more; found {np.nanmin(ncsnr):g}: is it another map?")
    value = s2 / (s2 + 1 / k)
    if met is None:
        return Ceiling(value, "r2", np.full(s2.shape, np.nan), np.full(s2.shape, np.nan), "ncsnr_map")
    from scipy.special import fdtrc

    n, m = met
    if n < 2 or m < 2:
        raise SettingsError(f"a ratio of signal to noise needs 2 stimuli met 2 times at least; found {n} met {m} times")
    between, within = n - 1, n * (m - 1)
    ratio = 1 + m * s2
    p = fdtrc(between, within, ratio)
    se = ratio * np.sqrt(2 / between + 2 / within) / m * (1 / k) / (s2 + 1 / k) ** 2
    return Ceiling(value, "r2", se, p, "ncsnr_map", between)
