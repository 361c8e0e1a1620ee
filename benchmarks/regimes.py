"""The situations users meet, as data sets whose truth is known."""

from dataclasses import dataclass, replace

import numpy as np

from brainalign.maths.simulate import Simulated, simulate_bands


@dataclass(frozen=True)
class Regime:
    """Sizes of a benchmark; `iterations` is what the peer is given, `floor` and `goal` are speed ratios."""

    name: str
    what: str
    n_train: int
    n_test: int
    widths: dict
    n_targets: int
    iterations: int
    floor: float
    goal: float
    delays: int = 1
    related: float = 0.0

    def data(self, n_targets: int | None = None, seed: int = 0) -> Simulated:
        """Training rows first, then the test rows."""
        return simulate_bands(
            self.n_train + self.n_test,
            self.widths,
            n_targets or self.n_targets,
            delays=self.delays,
            related=self.related,
            seed=seed,
        )

    @property
    def columns(self) -> int:
        """How wide X is."""
        return self.delays * sum(self.widths.values())

    def changed(self, n_targets: int | None = None, iterations: int | None = None, quick: bool = False) -> "Regime":
        """With other numbers of targets and of the peer's iterations; `quick` is the same in small, to try a script."""
        targets, count = n_targets or self.n_targets, iterations or self.iterations
        changed = replace(self, n_targets=targets, iterations=count if self.iterations else 0)
        if not quick:
            return changed
        widths = {band: max(2, width // 12) for band, width in self.widths.items()}
        small = {
            "n_targets": n_targets or 200,
            "n_train": max(300, self.n_train // 10),
            "n_test": 100,
            "widths": widths,
        }
        return replace(changed, **small)


VOXELWISE = {"lm": 985, "vision": 768, "audio": 40, "rate": 10}
REGIMES = {
    regime.name: regime
    for regime in (
        Regime("n800", "n 800, 4 bands × 4 delays", 800, 400, VOXELWISE, 10_000, 60, 30, 60, delays=4),
        Regime("n3000", "n 3,000, 4 bands × 4 delays", 3000, 500, VOXELWISE, 10_000, 20, 25, 50, delays=4),
        Regime(
            "layers", "13 layers × 768, n 1,000", 1000, 400, {f"l{i}": 768 for i in range(13)}, 10_000, 60, 18, 40,
            related=0.5,
        ),
        Regime("wide", "wide: n 500, 4 × 4,000", 500, 400, dict.fromkeys("abcd", 4000), 5_000, 60, 20, 40),
        Regime("ieeg", "iEEG: n 5,000, 5 × 50", 5000, 1000, dict.fromkeys("abcde", 50), 16_100, 20, 250, 1000),
        Regime(
            "tall", "tall: n 20,000, bands 50, 100, 40, 10", 20_000, 2000, {"a": 50, "b": 100, "c": 40, "d": 10}, 2_000,
            20, 50, 300,
        ),
    )
}  # fmt: skip
COLUMNS = "n 3,000, 7,212 columns"
ONE_PENALTY = {  # for all columns: each target's own, or one that all targets share
    "single": Regime("single", f"a penalty per target: {COLUMNS}", 3000, 500, VOXELWISE, 10_000, 0, 5, 8, delays=4),
    "shared": Regime("shared", f"one penalty for all: {COLUMNS}", 3000, 500, VOXELWISE, 10_000, 0, 5, 8, delays=4),
}
N_ALPHAS = 20  # penalties tried in ONE_PENALTY


def alphas_of(X: np.ndarray) -> list[float]:
    """Penalties for the rows of X from a signal-to-noise ratio of 10^1.5 down to 10⁻³, as `peers.ALPHAS`."""
    centred = X - X.mean(0)
    return (np.square(centred).sum() / len(X) * np.logspace(-1.5, 3, N_ALPHAS)).tolist()


def held_out_r2(Y: np.ndarray, predicted: np.ndarray, train_mean: np.ndarray) -> np.ndarray:
    """(t,) R² of test rows against the training mean."""
    left = np.einsum("nt,nt->t", Y - predicted, Y - predicted, dtype=float)
    return 1 - left / np.einsum("nt,nt->t", Y - train_mean, Y - train_mean, dtype=float)
