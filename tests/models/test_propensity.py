"""Estimated chances against those that the data were drawn with."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from causal_lib.models import propensity
from causal_lib.models.interactions import Interactions
from causal_lib.models.propensity import by_features, by_popularity, by_value, calibration, effective_sample_size

IDS = pd.RangeIndex(200), pd.RangeIndex(150)


def _seen(share, value, rng):
    mask = rng.random(share.shape) < share
    return Interactions(*mask.nonzero(), value[mask].astype(float), *IDS), mask


def test_the_rating_s_own_share_is_found_with_a_few_random_ones():
    rng = np.random.default_rng(0)
    value = rng.integers(1, 6, (200, 150))
    share = np.array([0.02, 0.03, 0.05, 0.1, 0.3])[value - 1]
    train, mask = _seen(share, value, rng)
    at_random, _ = _seen(np.full(value.shape, 0.03), value, rng)
    found = by_value(train, at_random)(train)
    assert found == pytest.approx(share[mask], rel=0.2)
    naive, weighted = train.value.mean(), np.average(train.value, weights=1 / found)
    assert abs(weighted - value.mean()) < 0.1 < abs(naive - value.mean())


def test_features_give_the_share_back_also_from_a_sample(monkeypatch):
    rng = np.random.default_rng(1)
    users, items = (pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"]) for n in (200, 150))
    share = 1 / (1 + np.exp(2.5 - 0.8 * users["a"].to_numpy()[:, None] - 0.5 * items["b"].to_numpy()))
    train, mask = _seen(share, np.ones(share.shape), rng)
    for most in (10**6, 12_000):
        monkeypatch.setattr(propensity, "_PAIRS", most)
        found = by_features(train, users=users, items=items)
        assert np.mean(np.abs(found(train) / share[mask] - 1)) < 0.08
    table = calibration(found, train)
    p, n = table["estimated"], table["pairs"]
    assert ((table["observed"] - p) ** 2 / (p * (1 - p) / n)).sum() < stats.chi2.ppf(0.999, 10)
    assert n.tolist() == [3000] * 10
    wilson = proportion_confint(table["observed"] * n, n, alpha=0.05, method="wilson")
    np.testing.assert_allclose(table[["low", "high"]], np.transpose(wilson), atol=1e-7)
    blind = by_features(train)(train)  # an indicator of every id knows the same
    assert np.corrcoef(np.log(blind), np.log(share[mask]))[0, 1] > 0.85  # of 30 to 45 pairs an id


def test_popularity_is_relative_to_the_most_popular():
    train = Interactions(np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1]), np.ones(4), pd.RangeIndex(3), pd.RangeIndex(3))
    assert by_popularity(train)(train) == pytest.approx([1, 1, 1, np.sqrt(0.5)])
    assert by_popularity(train, 1.0)(train).tolist() == [1, 1, 1, 0.5]


def test_clipping_makes_the_sample_larger():
    share = np.array([0.01, 0.5, 0.5, 0.5])
    assert effective_sample_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_sample_size(share) < 1.2 < effective_sample_size(share, 0.3) < 4


def _every(train):
    users, items = (axis.ravel() for axis in np.indices(train.shape))
    return Interactions(users, items, np.ones(len(users)), train.user_ids, train.item_ids)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda t: by_popularity(t, 0), "power=0 must be above 0"),
        (lambda t: by_value(t, t.at_least(9)), "randomised has no rows"),
        (lambda t: by_value(t.at_least(9), t), "train has no rows"),
        (lambda t: by_value(t, t.at_least(1)), "randomised: none of 3 values is 2, 3"),
        (
            lambda t: by_value(t, t)(t.at_least(1).__class__(t.users, t.items, t.value + 9, t.user_ids, t.item_ids)),
            "3 of 3 values were not",
        ),
        (lambda t: by_features(t, users=pd.DataFrame({"a": [1.0, 2.0]})), "users: 2 rows for 3 users"),
        (
            lambda t: by_features(t, items=pd.DataFrame({"a": [1, np.nan, 3]})),
            "items: 1 values are missing or infinite, first in column 'a'",
        ),
        (lambda t: by_features(t.at_least(9)), "train: 0 of 9 pairs looked at are seen; both seen pairs and others"),
        (lambda t: by_features(_every(t)), "train: 9 of 9 pairs looked at are seen; both seen pairs and others"),
        (
            lambda t: effective_sample_size(np.array([0, 0.5, 0])),
            r"propensity, clipped at 0: 2 values outside \(0, 1\], first 0",
        ),
        (lambda t: effective_sample_size(np.array([np.nan, 0.5]), 0.1), "clipped at 0.1: 1 of 2 are missing"),
        (lambda t: effective_sample_size(np.empty(0)), "propensity, clipped at 0 has no values"),
    ],
)
def test_bad_input(how, message):
    train = Interactions(np.arange(3), np.arange(3), np.array([1.0, 2, 3]), pd.RangeIndex(3), pd.RangeIndex(3))
    with pytest.raises(ValueError, match=message):
        how(train)
