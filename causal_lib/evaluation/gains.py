"""Recall and NDCG of users, from the places of their positives: the one implementation."""

import numpy as np


def discounts(k: int) -> np.ndarray:
    """(k + 1,) weight of a rank: 1 / log2(1 + r) for r = 1..k, and 0 at place 0, for no rank."""
    return np.r_[0.0, 1 / np.log2(np.arange(2, k + 2))]


def recall_and_ndcg(
    owner: np.ndarray,
    n_users: int,
    gain: np.ndarray,
    listed: np.ndarray,
    discount: np.ndarray,
    ideal: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG of each user, (n_users,) each; NaN for a user without a positive.

    recall = Σ gain listed / Σ gain; NDCG = Σ gain discount / ideal, sums over a user's positives.

    Parameters
    ----------
    owner : (n,) number of the user of each positive.
    gain : (n,) what a positive is worth, above 0.
    listed : (n,) share of the positive's rank among the first k.
    discount : (n,) weight of its rank, 0 beyond k; see `discounts`.
    ideal : (n_users,) Σ gain discount of the best order.
    """

    def total(values):
        return np.bincount(owner, values, minlength=n_users)

    whole = total(gain)
    has_positive = whole > 0
    recall = np.full(n_users, np.nan)
    np.divide(total(gain * listed), whole, out=recall, where=has_positive)
    ndcg = np.full(n_users, np.nan)
    np.divide(total(gain * discount), ideal, out=ndcg, where=has_positive)
    return recall, ndcg
