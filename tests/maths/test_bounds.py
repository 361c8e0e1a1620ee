"""What people share: bounds from dissimilarities, and the curve through growing pools."""

import numpy as np
import pytest
from scipy import stats

from brainalign.errors import InputError, SettingsError
from brainalign.maths.bounds import extrapolated, rdm_bounds
from brainalign.maths.ceiling import leave_one_out


def rdms(people=5, n=24, share=1.0, seed=0):
    """Dissimilarities shared by people plus their own, (people, n, n)."""
    rng = np.random.default_rng(seed)
    upper = np.sqrt(share) * rng.standard_normal((1, n, n)) + rng.standard_normal((people, n, n))
    upper = np.triu(upper, 1)
    return upper + upper.transpose(0, 2, 1) + 5


def test_bounds_are_correlations_with_means():
    data = rdms()
    pairs = data[:, *np.triu_indices(24, 1)]
    found = rdm_bounds(data, method="pearson")
    for i, own in enumerate(pairs):
        others = np.delete(pairs, i, 0).mean(0)
        np.testing.assert_allclose(found.lower.value[i], stats.pearsonr(own, others).statistic)
        np.testing.assert_allclose(found.upper.value[i], stats.pearsonr(own, pairs.mean(0)).statistic)
    ranks = stats.rankdata(pairs, axis=1)
    ranked = rdm_bounds(data)
    for i, own in enumerate(ranks):
        np.testing.assert_allclose(
            ranked.lower.value[i], stats.spearmanr(own, np.delete(ranks, i, 0).mean(0)).statistic
        )
    plain = rdm_bounds(data, average="dissimilarities")
    for i, own in enumerate(pairs):
        np.testing.assert_allclose(plain.upper.value[i], stats.spearmanr(own, pairs.mean(0)).statistic)
    np.testing.assert_array_equal(rdm_bounds(pairs).lower.value, ranked.lower.value)
    assert ranked.lower.unit == ranked.upper.unit == "r"
    assert (ranked.lower.kind, ranked.upper.kind) == ("rdm_lower", "rdm_upper")


def test_bounds_enclose_the_shared_model():
    """The mean dissimilarities of very many people are the best model people share."""
    rng = np.random.default_rng(1)
    n_pairs = 66 * 65 // 2
    shared = rng.standard_normal(n_pairs)
    people = shared + 1.5 * rng.standard_normal((8, n_pairs))
    best = np.mean([stats.spearmanr(one, shared).statistic for one in people])
    lower, upper = rdm_bounds(people)
    assert lower.value.mean() < best < upper.value.mean()


def test_p_of_unrelated_people_is_uniform_and_se_is_the_spread():
    p = np.concatenate([rdm_bounds(rdms(share=0, seed=seed)).lower.p[:1] for seed in range(60)])
    assert stats.kstest(p, "uniform").pvalue > 0.001
    found = [rdm_bounds(rdms(n=30, seed=seed)).lower for seed in range(40)]
    spread = np.std([one.value[0] for one in found], ddof=1)
    np.testing.assert_allclose(np.mean([one.se[0] for one in found]), spread, rtol=0.4)
    assert max(one.p.max() for one in found) < 0.05


@pytest.mark.parametrize(("ratio", "short"), [(0.3, 0.08), (1.0, 0.06)])
def test_the_curve_ends_below_what_infinitely_many_others_would_reach(ratio, short):
    """An exponential bends sooner than √(x / (1 + (x − 1) ρ)): the less people share, the more it falls short."""
    rng = np.random.default_rng(0)
    people = np.sqrt(ratio) * rng.standard_normal((1, 2000, 10)) + rng.standard_normal((16, 2000, 10))
    found = extrapolated(people)
    truth = np.sqrt(ratio / (1 + ratio))
    assert truth - short < found.value.mean() < truth + 0.01
    assert found.value.mean() > leave_one_out(people[:4], corrected=False).value.mean()
    assert (found.p < 0.05).all()
    assert (found.unit, found.kind) == ("r", "extrapolated")
    low, high = found.interval()
    assert (low < found.value).all()
    assert (found.value < high).all()


def test_nobody_shares_noise():
    noise = np.random.default_rng(0).standard_normal((6, 100, 300))
    found = extrapolated(noise, draws=3)
    assert (found.p <= 0.05).sum() <= stats.binom.ppf(0.999, 300, 0.05)
    assert ((found.value >= 0) & (found.value <= 1)).all()


def test_what_is_refused():
    data = rdms()
    with pytest.raises(InputError, match="7 pairs are not n"):
        rdm_bounds(np.ones((3, 7)))
    with pytest.raises(InputError, match=r"\(people, stimuli, stimuli\) or \(people, pairs\); found shape \(3,\)"):
        rdm_bounds(np.ones(3))
    with pytest.raises(InputError, match="at least 2 people and 5 stimuli; found 1 and 24"):
        rdm_bounds(data[:1])
    broken = data.copy()
    broken[2, 0, 1] = np.nan
    with pytest.raises(InputError, match=r"person 2 hold a NaN or infinite value \(pair 0\)"):
        rdm_bounds(broken)
    with pytest.raises(SettingsError, match="method is 'spearman' or 'pearson'; found 'kendall'"):
        rdm_bounds(data, method="kendall")
    with pytest.raises(SettingsError, match="average is 'ranks' or 'dissimilarities'; found 'both'"):
        rdm_bounds(data, average="both")
    with pytest.raises(InputError, match="at least 4 repeats or people; found 3"):
        extrapolated(np.ones((3, 30, 1)))
    with pytest.raises(SettingsError, match=r"draws is a number of pools .* found 0"):
        extrapolated(np.ones((4, 30, 1)), draws=0)
