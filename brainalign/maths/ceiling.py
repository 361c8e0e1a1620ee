"""How close could any model come?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The best score a perfect model could reach on noisy data, with the unit it is in.

    Parameters
    ----------
    value : array (n_targets,) or (n_people, n_targets)
        The ceiling; NaN where it is not defined, negative kept.
    unit : "r" or "r2"
        "r": divide a correlation by it. "r2": a share of variance (a reliability); divide an R² by it.
    se : array, as `value`
        Standard error.
    p : array, as `value`
        One-sided, against a ceiling of zero.
    kind : str
        How it was estimated.

    Examples
    --------
    >>> Ceiling(np.array([0.64]), "r2", np.array([0.08]), np.array([0.005]), "split_half").as_r().value
    array([0.8])
    """

    value: np.ndarray
    unit: str
    se: np.ndarray
    p: np.ndarray
    kind: str

    def as_r(self) -> Ceiling:
        """The same ceiling for correlations: √value (NaN below zero), standard error by the delta method."""
        if self.unit == "r":
            return self
        root = np.sqrt(np.where(self.value >= 0, self.value, np.nan))
        slope = 2 * np.where(root > 0, root, np.nan)
        return replace(self, value=root, unit="r", se=self.se / slope)

    def as_r2(self) -> Ceiling:
        """The same ceiling for R²: value² (NaN below zero), standard error by the delta method."""
        if self.unit == "r2":
            return self
        value = np.where(self.value >= 0, self.value, np.nan)
        return replace(self, value=value**2, unit="r2", se=self.se * 2 * value)
