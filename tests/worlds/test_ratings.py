"""The completed ratings, their chances to be seen, and what is seen of them."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from causal_lib import paths
from causal_lib.data.sources import load
from causal_lib.worlds import ratings as module
from causal_lib.worlds.ratings import SHARES, semi_synthetic


@pytest.fixture(scope="module")
def given():
    """Ratings of a low-rank taste, 30 of 80 items a user."""
    rng = np.random.default_rng(0)
    level = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 80)) + rng.normal(size=80)
    users, items = (rng.random(level.shape) < 0.4).nonzero()
    rating = 1 + np.searchsorted(
        [-1.5, -0.5, 0.5, 1.5], level[users, items] + 0.3 * rng.normal(size=len(users))
    )
    return pd.DataFrame(
        {"user_id": 100 + users, "item_id": [f"i{k:02}" for k in items], "rating": rating}
    )


@pytest.fixture(scope="module")
def made(given):
    """One table, a tenth of it seen."""
    return semi_synthetic(given, observed=0.1, seed=1)


def test_shares_and_propensities_are_those_asked_for(made):
    counts = np.bincount(made.rating.ravel(), minlength=6)[1:]
    assert np.abs(counts - np.array(SHARES) * made.rating.size).max() <= 1
    assert made.propensity.mean() == pytest.approx(0.1)
    levels = np.array([np.unique(made.propensity[made.rating == r]).item() for r in range(1, 6)])
    assert levels / levels[4] == pytest.approx([1 / 64, 1 / 16, 1 / 4, 1, 1])
    rows = (
        pd.Index(made.user_ids).get_indexer(made.train["user_id"]),
        pd.Index(made.item_ids).get_indexer(made.train["item_id"]),
    )
    assert (made.rating[rows] == made.train["rating"]).all()
    assert (made.propensity[rows] == made.train["propensity"]).all()
    assert "ratings seen, mean" in repr(made)


def test_the_completed_table_follows_the_given_one(given, made):
    rows = made.user_ids.get_indexer(given["user_id"]), made.item_ids.get_indexer(given["item_id"])
    assert np.corrcoef(made.rating[rows], given["rating"])[0, 1] > 0.7


def test_weights_give_the_mean_back_and_plain_ratings_do_not(given):
    off = {"naive": [], "ips": [], "random": []}
    for seed in range(20):
        one = semi_synthetic(given, rank=3, observed=0.1, seed=seed)
        truth = one.rating.mean()
        off["naive"].append(one.train["rating"].mean() - truth)
        off["ips"].append(
            (one.train["rating"] / one.train["propensity"]).sum() / one.rating.size - truth
        )
        left = np.ones(one.rating.shape, dtype=bool)
        left[
            one.user_ids.get_indexer(one.train["user_id"]),
            one.item_ids.get_indexer(one.train["item_id"]),
        ] = False
        off["random"].append(
            one.test["rating"].mean()
            - np.mean([r[keep].mean() for r, keep in zip(one.rating, left, strict=True)])
        )
    z = {name: np.mean(gaps) / (np.std(gaps, ddof=1) / np.sqrt(20)) for name, gaps in off.items()}
    assert z["naive"] > 20
    assert abs(z["ips"]) < 4
    assert abs(z["random"]) < 4


def test_test_pairs_are_new_and_as_many_for_everybody(made):
    pairs = [
        set(part[["user_id", "item_id"]].itertuples(index=False, name=None))
        for part in (made.train, made.test)
    ]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == len(made.test)
    assert (made.test.groupby("user_id").size() == 10).all()


def test_same_seed_same_bytes(given):
    one, other, third = (
        semi_synthetic(given, rank=3, observed=0.1, seed=seed) for seed in (4, 4, 5)
    )
    pd.testing.assert_frame_equal(one.train, other.train)
    pd.testing.assert_frame_equal(one.test, other.test)
    assert len(one.train) != len(third.train) or not one.train.equals(third.train)


@pytest.mark.parametrize(
    ("change", "how", "message"),
    [
        ({"rating": np.nan}, {}, "rating"),
        ({"user_id": 1, "item_id": "a"}, {}, "ratings: .* rows repeat a pair"),
        ({"rating": 3}, {}, "column 'rating' of type int64 has 1 different values; at least two"),
        ({"rating": "good"}, {}, "column 'rating' of type str has 1 different values"),
        ({}, {"rank": 61}, "rank=61: at most 60, the number of users or items"),
        ({}, {"alpha": 0}, r"alpha=0 must lie in \(0, 1\]"),
        ({}, {"observed": 1.0}, r"observed=1.0 in \(0, 1\)"),
        ({}, {"randomised": 0}, "randomised=0"),
        (
            {},
            {"observed": 0.5},
            r"observed=0.5 with alpha=0.25 needs a probability of .*; at most 0\.1\d+ can be seen",
        ),
        ({}, {"observed": 0.1, "randomised": 80}, "randomised=80: 60 users have fewer items left"),
    ],
)
def test_bad_input(given, change, how, message):
    with pytest.raises(ValueError, match=message):
        semi_synthetic(given.assign(**change), **how)


def test_ml_100k_is_like_the_source():
    if os.environ.get("CI") != "true" and not (paths.RAW / "ml-100k").exists():
        pytest.skip("ml-100k: run causal-lib data fetch")
    made = semi_synthetic(load("ml-100k")["ratings"])
    assert made.rating.shape == (943, 1682)
    assert len(made.train) == pytest.approx(0.05 * made.rating.size, rel=0.01)
    assert made.train["rating"].mean() - made.rating.mean() > 1


# ---- by hand -------------------------------------------------------------------------------------


def test_means_are_shrunk_and_regressions_are_ridge():
    codes = np.array([0, 2, 2, 0, 2])
    value = np.array([1.0, 2, 4, 6, 3])
    assert module._mean(codes, value, 3).tolist() == pytest.approx([7 / 7, 0, 9 / 8])
    x = np.random.default_rng(0).normal(size=(5, 2))
    found = module._ridge(codes, x, value, 3)
    for k in (0, 2):
        own = codes == k
        expected = Ridge(alpha=5.0, fit_intercept=False).fit(x[own], value[own]).coef_
        assert found[k] == pytest.approx(expected)
    assert found[1].tolist() == [0, 0]


def test_the_table_stays_the_same(given, fingerprint):
    """Computed once: what changes a number changes every result that was made with the table."""
    one = semi_synthetic(given, rank=3, alpha=0.4, observed=0.15, randomised=4, seed=7)
    text = one.train.assign(item_id=one.train["item_id"].str[1:].astype(int))
    test = one.test.assign(item_id=one.test["item_id"].str[1:].astype(int))
    found = [
        fingerprint(text),
        fingerprint(test),
        fingerprint(one.rating.astype(float)),
        fingerprint(one.propensity),
    ]
    assert found == pytest.approx(
        [175.27629151197684, 173.31469233385036, 146.82636217821198, 12.188113261258968], rel=1e-8
    )
    assert (one.test.groupby("user_id").size() == 4).all()
    levels = np.array([np.unique(one.propensity[one.rating == r]).item() for r in range(1, 6)])
    assert levels / levels[4] == pytest.approx([0.4**3, 0.4**2, 0.4, 1, 1])
    assert one.propensity.mean() == pytest.approx(0.15)
