"""Ratings that are missing for a known reason: a real table, completed, seen with known chances."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame
from causal_lib.worlds.base import simulates

SHARES = (0.526, 0.242, 0.144, 0.062, 0.026)
"""Of ratings 1 to 5 of songs drawn at random (Yahoo! R3, from Schnabel and others 2016)."""
_ROUNDS = 10  # of each alternating fit
_PENALTY = 5.0


@dataclass(frozen=True, eq=False, repr=False)
class SemiSynthetic:
    """A full table of ratings, and what is seen of it.

    It is no `World`: nothing is treated, so it has neither a graph nor an effect.

    Attributes
    ----------
    train : user_id, item_id, rating, propensity of the pairs seen.
    test : user_id, item_id, rating of pairs at random.
    rating : (users, items) all ratings.
    propensity : (users, items) chance to be seen.
    user_ids, item_ids : of the rows and columns.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    rating: np.ndarray
    propensity: np.ndarray
    user_ids: pd.Index
    item_ids: pd.Index

    def __repr__(self):
        return (
            f"{len(self.user_ids):,} users, {len(self.item_ids):,} items: "
            f"{len(self.train):,} ratings seen, "
            f"mean {self.train['rating'].mean():.2f}, of all pairs {self.rating.mean():.2f}; "
            f"{len(self.test):,} at random to test on"
        )


@simulates("4.3")
def semi_synthetic(
    ratings: pd.DataFrame,
    *,
    rank: int = 20,
    alpha: float = 0.25,
    observed: float = 0.05,
    randomised: int = 10,
    seed: int = 0,
) -> SemiSynthetic:
    """Real ratings, completed, then missing because of their value: users rate what they like.

    The table is completed by a factorisation of ``rank`` (alternating ridge regressions). The order
    of the predictions is turned into ratings with the `SHARES` of ratings asked for at random: the
    truth is realistic, not right. A pair is seen with probability k for ratings of 4 and 5, else
    k alpha^(4 - rating), with k such that the share ``observed`` of all pairs is seen on average.

    Parameters
    ----------
    ratings : user_id, item_id, rating, each pair once.
    randomised : items for each user to test on, drawn uniformly among those not seen; so not of all
        pairs, since liked ones are more often seen.
    seed : of the seen pairs, the test pairs and the order of equal predictions.

    Raises
    ------
    ValueError
        for missing columns, repeated pairs, numbers out of range, an ``observed`` share that needs
        a probability above 1, and a user with fewer than ``randomised`` items left.

    Source: Schnabel and others 2016, section 6.2.
    """
    check_frame(ratings, ["user_id", "item_id", "rating"], complete=True, name="ratings")
    if twice := int(ratings.duplicated(["user_id", "item_id"]).sum()):
        raise ValueError(
            f"ratings: {twice} rows repeat a pair of user and item; keep one row for each"
        )
    if not 0 < alpha <= 1 or not 0 < observed < 1 or randomised < 1 or rank < 1:
        raise ValueError(
            f"{alpha=} must lie in (0, 1], {observed=} in (0, 1), {randomised=} and {rank=} must "
            "be 1 or more"
        )
    values = ratings["rating"]
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() < 2:
        raise ValueError(
            f"ratings: column 'rating' of type {values.dtype} has {values.nunique()} different "
            "values; at least two different numbers are needed"
        )
    rng = np.random.default_rng(seed)
    users, user_ids = pd.factorize(ratings["user_id"], sort=True)
    items, item_ids = pd.factorize(ratings["item_id"], sort=True)
    if rank > min(len(user_ids), len(item_ids)):
        raise ValueError(
            f"{rank=}: at most {min(len(user_ids), len(item_ids))}, the number of users or items"
        )
    predicted = _completed(users, items, values.to_numpy(dtype=float), rank)
    rating = _with_shares(predicted, rng)
    propensity = np.where(rating >= 4, 1.0, alpha ** (4.0 - rating))
    propensity *= observed / propensity.mean()
    if propensity.max() > 1:
        raise ValueError(
            f"{observed=} with {alpha=} needs a probability of {propensity.max():.2f}; "
            f"at most {observed / propensity.max():.3f} can be seen"
        )
    seen = rng.random(rating.shape) < propensity
    left = (~seen).sum(axis=1)
    if (left < randomised).any():
        raise ValueError(
            f"{randomised=}: {int((left < randomised).sum())} users have fewer items left, the "
            f"least {left.min()}"
        )
    # the smallest of random keys among what is left: uniform without replacement
    keys = np.where(seen, 2.0, rng.random(rating.shape))
    chosen = np.argpartition(keys, randomised - 1, axis=1)[:, :randomised]

    def pairs(user, item):
        columns = {"user_id": user_ids[user], "item_id": item_ids[item]}
        return pd.DataFrame({**columns, "rating": rating[user, item].astype(int)})

    return SemiSynthetic(
        train=pairs(*seen.nonzero()).assign(propensity=propensity[seen]),
        test=pairs(
            np.repeat(np.arange(len(user_ids)), randomised), np.sort(chosen, axis=1).ravel()
        ),
        rating=rating,
        propensity=propensity,
        user_ids=pd.Index(user_ids),
        item_ids=pd.Index(item_ids),
    )


def _with_shares(predicted, rng):
    """Ratings in the order of ``predicted``, equal predictions at random, with the `SHARES`."""
    order = np.lexsort((rng.random(predicted.size), predicted.ravel()))
    ends = np.rint(np.cumsum(SHARES) * predicted.size).astype(int)
    place = np.arange(predicted.size)
    rating = np.empty(predicted.size, dtype=np.int8)
    rating[order] = 1 + np.searchsorted(ends, place, side="right").clip(max=4)
    return rating.reshape(predicted.shape)


def _completed(users, items, value, rank):
    """(users, items) predictions: means of users and items, and factors of the residuals."""
    n_users = users.max() + 1
    n_items = items.max() + 1
    mean = value.mean()
    of_user = np.zeros(n_users)
    of_item = np.zeros(n_items)
    for _ in range(_ROUNDS):  # shrunk means, in turn
        of_user = _mean(users, value - mean - of_item[items], n_users)
        of_item = _mean(items, value - mean - of_user[users], n_items)
    residual = value - mean - of_user[users] - of_item[items]
    item_factors = 0.1 * np.random.default_rng(0).standard_normal((n_items, rank))
    for _ in range(_ROUNDS):
        user_factors = _ridge(users, item_factors[items], residual, n_users)
        item_factors = _ridge(items, user_factors[users], residual, n_items)
    return mean + of_user[:, None] + of_item + user_factors @ item_factors.T


def _mean(codes, value, n):
    counts = np.bincount(codes, minlength=n)
    return np.bincount(codes, value, minlength=n) / (counts + _PENALTY)


def _ridge(codes, x, y, n):
    """(n, rank) ridge regressions of ``y`` on ``x``, one for the rows of each code."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(n + 1))
    penalty = _PENALTY * np.eye(x.shape[1])
    coefficients = np.zeros((n, x.shape[1]))
    for k in range(n):
        rows = order[ends[k] : ends[k + 1]]
        coefficients[k] = np.linalg.solve(x[rows].T @ x[rows] + penalty, x[rows].T @ y[rows])
    return coefficients
