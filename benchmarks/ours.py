"""Our solvers, called as the peers are: fit on the first rows, predict the rest."""

import numpy as np

from brainalign.maths.banded import BandedRidge


def banded(X, Y, bands, n_train, average=True, **settings):
    """(n_test, t) predictions, and how they were computed."""
    model = BandedRidge(bands=bands, average=average, **settings).fit(X[:n_train], Y[:n_train])
    return model.predict(X[n_train:]), {"method": model.method_}


def single(X, Y, bands, n_train, alphas, shared=False):
    """One penalty for all columns, for each target its own."""
    from brainalign.maths.ridge import RidgeCV

    model = RidgeCV(alphas=np.asarray(alphas), folds=5, shared=shared).fit(X[:n_train], Y[:n_train])
    return model.predict(X[n_train:]), {"method": model.method_}


def shared(X, Y, bands, n_train, alphas):
    """One penalty for all columns and all targets."""
    return single(X, Y, bands, n_train, alphas, shared=True)
