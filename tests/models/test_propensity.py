"""Estimated chances against those that the data were drawn with."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.proportion import proportion_confint

from causal_lib.models import propensity
from causal_lib.models.interactions import Interactions
from causal_lib.models.propensity import (
    by_features,
    by_popularity,
    by_value,
    calibration,
    effective_sample_size,
)

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
    naive = train.value.mean()
    weighted = np.average(train.value, weights=1 / found)
    assert abs(weighted - value.mean()) < 0.1 < abs(naive - value.mean())


def test_features_give_the_share_back_also_from_a_sample(monkeypatch):
    rng = np.random.default_rng(1)
    users, items = (pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"]) for n in (200, 150))
    share = 1 / (
        1 + np.exp(2.5 - 0.8 * users["a"].to_numpy()[:, None] - 0.5 * items["b"].to_numpy())
    )
    train, mask = _seen(share, np.ones(share.shape), rng)
    for most in (10**6, 12_000):
        monkeypatch.setattr(propensity, "_PAIRS", most)
        found = by_features(train, users=users, items=items)
        assert np.mean(np.abs(found(train) / share[mask] - 1)) < 0.08
    table = calibration(found, train)
    p = table["estimated"]
    n = table["pairs"]
    assert ((table["observed"] - p) ** 2 / (p * (1 - p) / n)).sum() < stats.chi2.ppf(0.999, 10)
    assert n.tolist() == [3000] * 10
    wilson = proportion_confint(table["observed"] * n, n, alpha=0.05, method="wilson")
    np.testing.assert_allclose(table[["low", "high"]], np.transpose(wilson), atol=1e-7)
    blind = by_features(train)(train)  # an indicator of every id knows the same
    assert np.corrcoef(np.log(blind), np.log(share[mask]))[0, 1] > 0.85  # of 30 to 45 pairs an id


def test_popularity_is_relative_to_the_most_popular():
    train = Interactions(
        np.array([0, 1, 2, 0]),
        np.array([0, 0, 0, 1]),
        np.ones(4),
        pd.RangeIndex(3),
        pd.RangeIndex(3),
    )
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
            lambda t: by_value(t, t)(
                t.at_least(1).__class__(t.users, t.items, t.value + 9, t.user_ids, t.item_ids)
            ),
            "3 of 3 values were not",
        ),
        (
            lambda t: by_features(t, users=pd.DataFrame({"a": [1.0, 2.0]})),
            "users: 2 rows for 3 users",
        ),
        (
            lambda t: by_features(t, items=pd.DataFrame({"a": [1, np.nan, 3]})),
            "items: 1 values are missing or infinite, first in column 'a'",
        ),
        (
            lambda t: by_features(t.at_least(9)),
            "train: 0 of 9 pairs looked at are seen; both seen pairs and others",
        ),
        (
            lambda t: by_features(_every(t)),
            "train: 9 of 9 pairs looked at are seen; both seen pairs and others",
        ),
        (
            lambda t: effective_sample_size(np.array([0, 0.5, 0])),
            r"propensity, clipped at 0: 2 values outside \(0, 1\], first 0",
        ),
        (
            lambda t: effective_sample_size(np.array([np.nan, 0.5]), 0.1),
            "clipped at 0.1: 1 of 2 are missing",
        ),
        (lambda t: effective_sample_size(np.empty(0)), "propensity, clipped at 0 has no values"),
    ],
)
def test_bad_input(how, message):
    train = Interactions(
        np.arange(3), np.arange(3), np.array([1.0, 2, 3]), pd.RangeIndex(3), pd.RangeIndex(3)
    )
    with pytest.raises(ValueError, match=message):
        how(train)


def _small(value=(1.0, 2, 2, 3), shape=(4, 3)):
    return Interactions(
        np.array([0, 1, 2, 3]),
        np.array([0, 0, 1, 0]),
        np.array(value),
        pd.RangeIndex(shape[0]),
        pd.RangeIndex(shape[1]),
    )


def test_effective_sample_sizes_by_hand():
    assert effective_sample_size(np.array([0.1, 0.5, 0.5])) == pytest.approx(14**2 / (100 + 4 + 4))
    assert effective_sample_size(np.array([0.1, 0.5, 0.5]), 0.25) == pytest.approx(
        8**2 / (16 + 4 + 4)
    )
    assert effective_sample_size(np.array([0.0, 0.5, 1.0]), 0.5) == pytest.approx(
        5**2 / (4 + 4 + 1)
    )


def test_bayes_rule_by_hand():
    """Of 12 pairs 1, 2 and 1 are seen with ratings 1, 2 and 3; at random their shares are 1/6, 1/6
    and 4/6.
    """
    train = _small()
    rows = np.arange(6)
    at_random = Interactions(
        rows % 4, rows // 4, np.array([1.0, 2, 3, 3, 3, 3]), pd.RangeIndex(4), pd.RangeIndex(3)
    )
    found = by_value(train, at_random)
    assert found(train).tolist() == pytest.approx(
        [1 / 12 * 6, 2 / 12 * 6, 2 / 12 * 6, 1 / 12 * 6 / 4]
    )
    rare = Interactions(
        rows % 4, rows // 4, np.array([2.0, 1, 3, 3, 3, 3]), pd.RangeIndex(4), pd.RangeIndex(3)
    )
    # 2 of 8 pairs have rating 2, a sixth at random: more than all of them
    small = _small(shape=(4, 2))
    assert by_value(small, rare)(small).tolist() == pytest.approx([6 / 8, 1, 1, 6 / 8 / 4])


def test_popularity_to_a_power_by_hand():
    found = by_popularity(_small(), 2.0)
    assert found(_small()).tolist() == pytest.approx([1, 1, (2 / 4) ** 2, 1])
    every = Interactions(
        np.zeros(3, dtype=int), np.arange(3), np.ones(3), pd.RangeIndex(4), pd.RangeIndex(3)
    )
    assert by_popularity(_small())(every).tolist() == pytest.approx(
        [1, (2 / 4) ** 0.5, (1 / 4) ** 0.5]
    )


@pytest.mark.parametrize("c", [1.0, 0.05])
def test_features_are_scikit_learns_regression(c):
    rng = np.random.default_rng(3)
    users = pd.DataFrame({"a": rng.normal(3, 5, 20)})
    mask = rng.random((20, 15)) < 0.3
    train = Interactions(*mask.nonzero(), np.ones(mask.sum()), pd.RangeIndex(20), pd.RangeIndex(15))
    found = by_features(train, users=users, c=c)(train)
    scaled = (users["a"] - users["a"].mean()) / users["a"].std(ddof=0)
    user, item = np.indices(mask.shape).reshape(2, -1)
    x = np.column_stack([scaled.to_numpy()[user], np.eye(15)[item]])
    model = LogisticRegression(C=c, max_iter=1000).fit(x, mask.ravel())
    expected = model.predict_proba(x)[:, 1][mask.ravel()]
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    if c == 1.0:
        np.testing.assert_array_equal(found, by_features(train, users=users)(train))


def test_a_sample_of_pairs_has_its_intercept_put_right(monkeypatch):
    """With one constant-like attribute: the mean chance is the share of all pairs, not that of the
    pairs fitted.
    """
    rng = np.random.default_rng(4)
    mask = rng.random((80, 50)) < 0.1
    train = Interactions(*mask.nonzero(), np.ones(mask.sum()), pd.RangeIndex(80), pd.RangeIndex(50))
    attributes = {
        "users": pd.DataFrame({"a": rng.normal(size=80)}),
        "items": pd.DataFrame({"b": rng.normal(size=50)}),
    }
    monkeypatch.setattr(propensity, "_PAIRS", 1000)
    first, same, other = (
        by_features(train, **attributes, seed=seed)(_every(train)) for seed in (0, 0, 1)
    )
    assert first.mean() == pytest.approx(mask.mean(), rel=0.03)  # not put right: 0.33
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(first, by_features(train, **attributes)(_every(train)))
    assert not np.array_equal(first, other)


def test_calibration_by_hand():
    """Twelve pairs in three groups of four by the item's chance; Wilson's interval of the pairs
    seen.
    """
    seen = _small()
    seen = Interactions(
        np.array([0, 1, 3, 2]), np.array([0, 0, 0, 1]), np.ones(4), seen.user_ids, seen.item_ids
    )
    table = calibration(
        lambda pairs: np.array([0.9, 0.5, 0.1])[pairs.items] + 0.01 * pairs.users, seen, bins=3
    )
    assert table["pairs"].tolist() == [4, 4, 4]
    assert table["estimated"].tolist() == pytest.approx([0.115, 0.515, 0.915])
    assert table["observed"].tolist() == [0, 0.25, 0.75]
    low, high = proportion_confint(np.array([0, 1, 3]), 4, method="wilson")
    np.testing.assert_allclose(table["low"], low, atol=1e-7)
    np.testing.assert_allclose(table["high"], high, atol=1e-7)
    default = calibration(
        lambda pairs: np.linspace(0.1, 0.9, 12)[pairs.users * 3 + pairs.items], seen
    )
    assert len(default) == 10
