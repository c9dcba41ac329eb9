"""Intervals of rare clicks against exact ones, and how often they hold a known rate."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from causal_lib.policy.intervals import Clicks, Intervals


def _ends(w, r, kind="auto", level=0.95):
    how = Intervals(kind, level, np.random.default_rng(0))
    return how.ends(w * r, Clicks.of(w, r, None))


@pytest.mark.parametrize("clicks", [0, 1, 4, 19, 60])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_of_equal_weights_they_are_nearly_exact(clicks, level):
    """Clopper and Pearson's interval of a count, which knows no weights."""
    n = 20_000
    r = np.r_[np.ones(clicks), np.zeros(n - clicks)]
    exact = binomtest(clicks, n).proportion_ci(level, method="exact")
    for weight in (1.0, 3.0):
        low, high = _ends(np.full(n, weight), r, level=level)
        assert low == pytest.approx(weight * exact.low, rel=0.01)
        assert high == pytest.approx(weight * exact.high, rel=0.01)


def test_of_many_clicks_they_are_nearly_normal():
    rng = np.random.default_rng(0)
    r = (rng.random(100_000) < 0.4).astype(float)
    w = rng.choice([0.5, 1.0, 1.5], size=100_000)
    low, high = _ends(w, r)
    half = norm.ppf(0.975) * (w * r).std(ddof=1) / np.sqrt(100_000)
    assert (low, high) == pytest.approx(_ends(w, r, "normal"), abs=0.05 * half)
    assert _ends(w, r, "normal") == pytest.approx(((w * r).mean() - half, (w * r).mean() + half))


def test_they_hold_the_rate_where_normal_ones_do_not(draws):
    """1,500 rounds of 1% clicks: about 15 of them, with weights from 1/3 to 6."""
    share = np.array([0.6, 0.35, 0.05])
    weight = np.array([1 / 3, 1.0, 9.0])
    weight[2] = (1 - share[:2] @ weight[:2]) / share[2]
    rate = 0.01
    missed = {"auto": 0, "normal": 0}
    for seed in range(4 * draws):
        rng = np.random.default_rng(seed)
        w = rng.choice(weight, p=share, size=1500)
        r = (rng.random(1500) < rate).astype(float)
        for kind in missed:
            low, high = _ends(w, r, kind)
            missed[kind] += not low <= rate <= high
    error = np.sqrt(0.05 * 0.95 / (4 * draws))
    assert missed["auto"] / (4 * draws) < 0.05 + 2 * error
    assert missed["normal"] / (4 * draws) > 0.05 + 4 * error


def test_an_estimator_of_smaller_error_has_a_narrower_interval():
    rng = np.random.default_rng(1)
    r = (rng.random(2000) < 0.1).astype(float)
    w = rng.choice([0.5, 1.5], size=2000)
    how = Intervals("auto", 0.95, rng)
    wide = how.ends(w * r, Clicks.of(w, r, None))
    narrow = how.ends(0.2 + (w * r - (w * r).mean()) / 3, Clicks.of(w, r, None))
    assert narrow[1] - narrow[0] == pytest.approx((wide[1] - wide[0]) / 3)


def test_clicks_of_copied_rounds_count_once():
    rng = np.random.default_rng(2)
    r = (rng.random(800) < 0.02).astype(float)
    w = rng.choice([0.5, 1.5], size=800)
    once = Intervals("auto", 0.95, rng)
    codes = np.tile(np.arange(800), 5)
    many = Intervals("auto", 0.95, rng, codes)
    found = many.ends(np.tile(w * r, 5), Clicks.of(np.tile(w, 5), np.tile(r, 5), codes))
    assert found == pytest.approx(once.ends(w * r, Clicks.of(w, r, None)), rel=1e-3)


def test_a_single_round_has_no_error():
    how = Intervals("auto", 0.95, np.random.default_rng(0))
    assert how.error(np.array([3.0])) == 0
    assert how.ends(np.array([3.0])) == (3.0, 3.0)
