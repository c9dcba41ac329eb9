"""Ratings that are missing for a known reason: a real table completed, then seen by chances that are known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame

SHARES = (0.526, 0.242, 0.144, 0.062, 0.026)
"""Of ratings 1 to 5 where songs were drawn at random for users (Yahoo!R3, as told in Schnabel and others 2016)."""
_ROUNDS, _PENALTY = 10, 5.0


@dataclass(frozen=True, eq=False, repr=False)
class SemiSynthetic:
    """A full table of ratings, and what is seen of it.

    Attributes
    ----------
    train : user_id, item_id, rating, propensity of the pairs seen; test : the same without propensity, pairs at random.
    rating : (users, items) all of them; propensity : (users, items) chance to be seen.
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
            f"{len(self.user_ids):,} users, {len(self.item_ids):,} items: {len(self.train):,} ratings seen, mean "
            f"{self.train['rating'].mean():.2f}, of all pairs {self.rating.mean():.2f}; {len(self.test):,} at random to test on"
        )


def semi_synthetic(
    ratings: pd.DataFrame,
    *,
    rank: int = 20,
    alpha: float = 0.25,
    observed: float = 0.05,
    randomised: int = 10,
    seed: int = 0,
) -> SemiSynthetic:
    """``ratings`` completed, and missing by what they are: users rate what they like.

    The table is completed by a factorisation of ``rank`` (alternating ridge regressions), and the predictions' order made ratings
    with the `SHARES` of ratings asked for at random: a truth that is realistic, not right. A pair is seen with probability k for
    ratings of 4 and 5, else k alpha^(4 - rating), k such that the share ``observed`` of all pairs is seen on average.

    Parameters
    ----------
    ratings : user_id, item_id, rating, each pair once.
    randomised : items for each user to test on, drawn uniformly among those not seen: not of all pairs, since liked ones are more
        often seen.
    seed : of the seen pairs, the test pairs and the order of equal predictions.

    Raises
    ------
    ValueError
        for missing columns, repeated pairs, numbers out of range, an ``observed`` share that needs a probability above 1, and
        a user with fewer than ``randomised`` items left.

    Source: Schnabel and others 2016, section 6.2.
    """
    check_frame(ratings, ["user_id", "item_id", "rating"], complete=True, name="ratings")
    if twice := int(ratings.duplicated(["user_id", "item_id"]).sum()):
        raise ValueError(f"ratings: {twice} rows repeat a pair of user and item; keep one row for each")
    if not 0 < alpha <= 1 or not 0 < observed < 1 or randomised < 1 or rank < 1:
        raise ValueError(
            f"{alpha=} must lie in (0, 1], {observed=} in (0, 1), {randomised=} and {rank=} must be 1 or more"
        )
    if not pd.api.types.is_numeric_dtype(ratings["rating"]) or ratings["rating"].nunique() < 2:
        raise ValueError(
            f"ratings: column 'rating' of type {ratings['rating'].dtype} has {ratings['rating'].nunique()} different values; at least "
            "two different numbers are needed"
        )
    rng = np.random.default_rng(seed)
    (users, user_ids), (items, item_ids) = (pd.factorize(ratings[name], sort=True) for name in ("user_id", "item_id"))
    if rank > min(len(user_ids), len(item_ids)):
        raise ValueError(f"{rank=}: at most {min(len(user_ids), len(item_ids))}, the number of users or items")
    predicted = _completed(users, items, ratings["rating"].to_numpy(dtype=float), rank)
    order = np.lexsort((rng.random(predicted.size), predicted.ravel()))
    ends = np.rint(np.cumsum(SHARES) * predicted.size).astype(int)
    rating = np.empty(predicted.size, dtype=np.int8)
    rating[order] = 1 + np.searchsorted(ends, np.arange(predicted.size), side="right").clip(max=4)
    rating = rating.reshape(predicted.shape)
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
            f"{randomised=}: {int((left < randomised).sum())} users have fewer items left, the least {left.min()}"
        )
    # the smallest of random keys among what is left: uniform without replacement
    chosen = np.argpartition(np.where(seen, 2.0, rng.random(rating.shape)), randomised - 1, axis=1)[:, :randomised]
    train = _frame(*seen.nonzero(), rating, user_ids, item_ids)
    train["propensity"] = propensity[seen]
    test = _frame(
        np.repeat(np.arange(len(user_ids)), randomised), np.sort(chosen, axis=1).ravel(), rating, user_ids, item_ids
    )
    return SemiSynthetic(train, test, rating, propensity, pd.Index(user_ids), pd.Index(item_ids))


def _frame(user, item, rating, user_ids, item_ids):
    return pd.DataFrame(
        {"user_id": user_ids[user], "item_id": item_ids[item], "rating": rating[user, item].astype(int)}
    )


def _completed(users, items, value, rank):
    """(users, items) predictions: means of users and items, and factors of what they leave."""
    shape = users.max() + 1, items.max() + 1
    level, own = value.mean(), np.zeros(shape[0])
    of_item = np.zeros(shape[1])
    for _ in range(_ROUNDS):  # shrunk means, by turns
        own = _mean(users, value - level - of_item[items], shape[0])
        of_item = _mean(items, value - level - own[users], shape[1])
    left = value - level - own[users] - of_item[items]
    factors = [0.1 * np.random.default_rng(0).standard_normal((n, rank)) for n in shape]
    codes = (users, items)
    for _ in range(_ROUNDS):
        for side in (0, 1):
            factors[side] = _ridge(codes[side], factors[1 - side][codes[1 - side]], left, shape[side])
    return level + own[:, None] + of_item + factors[0] @ factors[1].T


def _mean(codes, value, n):
    return np.bincount(codes, value, minlength=n) / (np.bincount(codes, minlength=n) + _PENALTY)


def _ridge(codes, x, y, n):
    """(n, rank) ridge regressions of ``y`` on ``x``, one for the rows of each code."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(n + 1))
    found = np.zeros((n, x.shape[1]))
    for k in range(n):
        rows = order[ends[k] : ends[k + 1]]
        found[k] = np.linalg.solve(x[rows].T @ x[rows] + _PENALTY * np.eye(x.shape[1]), x[rows].T @ y[rows])
    return found
