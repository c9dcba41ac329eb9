"""Rankings of the whole catalogue (article 3.2.4): top-k lists and their metrics.

A metric over sampled items can order models differently from the metric over all items (Krichene
and Rendle 2020), so every item is scored. Scores come in blocks of users, so that memory does not
grow with users times items.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from causal_lib.checks import check_codes, check_propensity, check_whole
from causal_lib.evaluation.gains import discounts, recall_and_ndcg
from causal_lib.resampling import percentile_ends, resampled_counts

_BLOCK = 4_000_000  # scores in memory at once
Scores = Callable[[np.ndarray], np.ndarray]
"""From user codes (b,) to the scores of all items (b, items)."""


def top_items(
    scores: Scores, users: np.ndarray, k: int, seen: sparse.csr_array | None = None
) -> np.ndarray:
    """(len(users), k) codes of the items with the highest scores, the highest first.

    Places are -1 where fewer than k items are left.

    Parameters
    ----------
    scores : see `Scores`; of equal scores the item with the smaller code comes first.
    seen : (all users, items), an entry of any value where an item is not to be recommended.

    Raises
    ------
    ValueError
        for k below 1 or above the number of items, scores of another shape or not finite, and users
        that ``seen`` does not have.
    """
    users = np.asarray(users)
    rows = []
    if seen is not None:
        users = check_codes(users, seen.shape[0], name="users", of="user")
    size = 1  # the first block tells the number of items
    start = 0
    while start < len(users):
        part = users[start : start + size]
        block = np.array(scores(part), dtype=np.float64)
        if (
            block.ndim != 2
            or len(block) != len(part)
            or (seen is not None and block.shape[1] != seen.shape[1])
        ):
            raise ValueError(
                f"scores of {len(part)} users have shape {block.shape}; a row a "
                "user, a column an item"
            )
        if not 1 <= k <= block.shape[1]:
            raise ValueError(f"{k=}: between 1 and the {block.shape[1]} items there are")
        if bad := int((~np.isfinite(block)).sum()):
            raise ValueError(
                f"scores: {bad} are missing or infinite, first of user "
                f"{part[(~np.isfinite(block)).any(axis=1)][0]}"
            )
        if seen is not None:
            own = seen[part]
            block[np.repeat(np.arange(len(part)), np.diff(own.indptr)), own.indices] = -np.inf
        rows.append(_best(block, k))
        start += len(part)
        size = max(1, _BLOCK // block.shape[1])
    return np.concatenate(rows) if rows else np.empty((0, k), dtype=np.int64)


def _best(block, k):
    """(b, k) columns of the largest entries, -1 for those that are -inf; ties by the smaller
    column.
    """
    # np.argpartition and torch.topk pick any of the entries that tie with the k-th. Here those
    # above it are in, and ties fill the rest in the order of the columns.
    limit = np.partition(block, -k, axis=1)[:, [-k]]
    above = block > limit
    tied = (block == limit) & (
        np.cumsum(block == limit, axis=1) <= k - above.sum(axis=1, keepdims=True)
    )
    columns = (above | tied).nonzero()[1].reshape(-1, k)
    values = np.take_along_axis(block, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.where(
        np.isneginf(np.take_along_axis(values, order, axis=1)),
        -1,
        np.take_along_axis(columns, order, axis=1),
    )


@dataclass(frozen=True, repr=False)
class Ranking:
    """How good top-k lists are; prints as a table.

    Attributes
    ----------
    table : indexed by (weighting, metric), with the columns value, low, high: the mean over users
        who have a positive, with its 95% interval by a bootstrap of users. Coverage and Gini are
        properties of these lists, not estimates, and have no interval.
    per_user : (users with a positive, metrics) the values that the table averages; for a pooled
        metric its linear approximation.
    k, users, left_out : length of the lists; users averaged over; users without a positive.
    """

    table: pd.DataFrame
    per_user: pd.DataFrame
    k: int
    users: int
    left_out: int

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        table = self.table.astype(object).where(self.table.notna(), None)
        metrics: dict = {}
        for (way, metric), row in table.iterrows():
            metrics.setdefault(way, {})[metric] = row.to_dict()
        return {"k": self.k, "users": self.users, "left_out": self.left_out, "metrics": metrics}

    def __repr__(self):
        text = self.table.map("{:.4f}".format, na_action="ignore").fillna("")
        return (
            f"lists of {self.k} for {self.users:,} users ({self.left_out:,} without a "
            f"positive left out)\n{text}"
        )


def evaluate_ranking(
    top: np.ndarray,
    test: sparse.csr_array,
    users: np.ndarray | None = None,
    *,
    propensity: np.ndarray | None = None,
    popularity: np.ndarray | None = None,
    n_boot: int = 500,
    seed: int = 0,
) -> Ranking:
    """Metrics of the lists ``top`` against the positives ``test``.

    With d(r) = 1 / log2(1 + r) for the ranks r of a user's m positives (0 beyond k) and
    w = 1 / propensity of a positive:

    | metric | naive | ips | snips |
    |---|---|---|---|
    | recall | hits / m | | |
    | precision | hits / k | Σ w [r <= k] / k | |
    | DCG | Σ d(r) | Σ w d(r) | |
    | pooled recall | Σ hits / Σ m | | Σ w [r <= k] / Σ w |
    | pooled gain | Σ d(r) / Σ m | | Σ w d(r) / Σ w |
    | NDCG | Σ d(r) / Σ d(1..min(m, k)) | | |
    | MRR | 1 / the least r, 0 without a hit | | |

    The pooled metrics are ratios of sums over all users, since a weighted ratio of one user with
    few positives is biased. The last two columns are right, with many users, where positives are
    seen with their propensities. Recall, NDCG and MRR are averages of users' ratios and have no
    such version. Further metrics are novelty (mean of -log2 of the items' share of ``popularity``),
    coverage (share of the items in some list) and Gini (of how often items are listed).

    Parameters
    ----------
    top : (users, k) item codes as of `top_items`, -1 where a list ends early.
    test : (all users, items) csr, above 0 at positives; zeros are no positives.
    users : codes of the rows of ``top``, each once; all in order by default.
    propensity : (all users, items) or (items,) in (0, 1], chance of a positive to be seen.
    popularity : (items,) counts in the training data, for novelty.

    Raises
    ------
    ValueError
        where no user has a positive, for lists without places or that name an item twice, users
        given twice, codes of no user or item, missing or negative values in ``test`` (a dislike is
        no positive: see `Interactions.at_least`), fewer than 2 draws, propensities of positives
        that are missing or outside (0, 1], and propensities or popularity of another shape.

    Source: Krichene and Rendle 2020; Schnabel and others 2016 (ips); Yang and others 2018 (snips).
    """
    check_whole(n_boot, name="n_boot", low=2)
    top, users, m, values = _by_user(top, test, users, propensity)
    n_items = test.shape[1]
    k = top.shape[1]
    if popularity is not None:
        values[("lists", "novelty")] = _novelty(top, popularity, n_items)
    per_user = pd.DataFrame(values, index=pd.Index(users, name="user"))[m > 0]
    per_user.columns.names = ["weighting", "metric"]
    table = _with_intervals(per_user, n_boot, seed)
    counts = np.bincount(top[top >= 0], minlength=n_items)
    table.loc[("lists", "coverage"), "value"] = (counts > 0).mean()
    table.loc[("lists", "Gini"), "value"] = _gini(counts) if counts.any() else np.nan
    return Ranking(table, per_user, k, len(per_user), int((m == 0).sum()))


def mean_ranking(
    top: np.ndarray,
    test: sparse.csr_array,
    users: np.ndarray | None = None,
    *,
    metric: tuple[str, str],
    propensity: np.ndarray | None = None,
) -> float:
    """The value of one ``metric`` of `evaluate_ranking`, (weighting, name), without an interval.

    Training computes it after every epoch. Raises ValueError as `evaluate_ranking` does, and for an
    unknown metric.
    """
    *_, m, values = _by_user(top, test, users, propensity)
    if metric not in values:
        raise ValueError(
            f"unknown {metric=}; known: {', '.join(map(str, values))} (ips and snips with "
            "propensity only)"
        )
    return float(values[metric][m > 0].mean())


def _by_user(top, test, users, propensity):
    """Lists and users as arrays, positives of each user, and each metric's value for each user."""
    test = sparse.csr_array(test)
    top = np.asarray(top)
    n_items = test.shape[1]
    users = check_codes(
        np.arange(test.shape[0]) if users is None else users, test.shape[0], name="users", of="user"
    )
    _check_lists(top, users, n_items)
    if missing := int(np.isnan(test.data).sum()):
        raise ValueError(
            f"test: {missing} of {test.nnz} entries are missing; leave out what is not known to "
            "be positive"
        )
    rows = test[users]
    rows.sum_duplicates()
    if negative := int((rows.data < 0).sum()):
        raise ValueError(
            f"test: {negative} of {rows.nnz} entries are negative, first "
            f"{rows.data[rows.data < 0][0]:g}; keep the positives only (Interactions.at_least)"
        )
    rows.eliminate_zeros()
    m = np.diff(rows.indptr)
    if not m.any():
        raise ValueError(
            f"test: none of the {len(users)} users has a positive; nothing can be measured"
        )
    k = top.shape[1]
    owner = np.repeat(np.arange(len(users)), m)
    # rank of every positive in the list of its user, 0 where it is not in the list
    wide = sparse.csr_array(
        (np.tile(np.arange(1, k + 1), len(users))[top.ravel() >= 0],
         (np.repeat(np.arange(len(users)), k)[top.ravel() >= 0], top.ravel()[top.ravel() >= 0])),
        shape=rows.shape,
    )  # fmt: skip
    rank = np.asarray(wide[owner, rows.indices]).ravel()
    hit = rank > 0
    by_rank = discounts(k)
    d = by_rank[rank]

    def total(values):
        return np.bincount(owner, values, minlength=len(users))

    hits = total(hit)
    gain = total(d)
    ideal = np.cumsum(by_rank)[np.minimum(m, k)]
    recall, ndcg = recall_and_ndcg(owner, len(users), np.ones(len(owner)), hit, d, ideal)
    first = np.full(len(users), np.inf)
    np.minimum.at(first, owner[hit], rank[hit])
    values = {
        ("naive", "recall"): recall,
        ("naive", "precision"): hits / k,
        ("naive", "NDCG"): ndcg,
        ("naive", "MRR"): 1 / first,
        ("naive", "DCG"): gain,
        ("naive", "pooled recall"): _ratio(hits, m),
        ("naive", "pooled gain"): _ratio(gain, m),
    }
    if propensity is not None:
        w = 1 / _of_positives(propensity, users[owner], rows.indices, test.shape)
        weighted_hits = total(w * hit)
        weighted_gain = total(w * d)
        whole = total(w)
        values[("ips", "precision")] = weighted_hits / k
        values[("ips", "DCG")] = weighted_gain
        values[("snips", "pooled recall")] = _ratio(weighted_hits, whole)
        values[("snips", "pooled gain")] = _ratio(weighted_gain, whole)
    return top, users, m, values


def compare(one: Ranking, other: Ranking, *, n_draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """``one`` minus ``other``, user by user, for each metric: difference, low, high and p.

    The interval is a 95% bootstrap of users. p is the share of ``n_draws`` random exchanges of the
    two models within users that give a difference as large.

    Raises ValueError where the two were not evaluated on the same users.
    """
    check_whole(n_draws, name="n_draws", low=2)
    if not one.per_user.index.equals(other.per_user.index):
        raise ValueError(
            f"{one.users} and {other.users} users: the two must be evaluated on the same ones"
        )
    shared = [name for name in one.per_user if name in other.per_user]
    gap = one.per_user[shared] - other.per_user[shared]
    table = _with_intervals(gap, n_draws, seed).rename(columns={"value": "difference"})
    rng = np.random.default_rng(seed)
    values = gap.to_numpy()
    extreme = np.ones(len(shared))
    for _ in range(n_draws):
        flipped = rng.choice([-1.0, 1.0], len(values)) @ values / len(values)
        extreme += np.abs(flipped) >= np.abs(table["difference"].to_numpy()) - 1e-12
    return table.assign(p=extreme / (n_draws + 1))


def _with_intervals(per_user, n_boot, seed):
    values = per_user.to_numpy()
    rng = np.random.default_rng(seed)
    draws = np.array([resampled_counts(len(values), rng) @ values for _ in range(n_boot)])
    low, high = percentile_ends(draws / len(values))
    return pd.DataFrame(
        {"value": values.mean(axis=0), "low": low, "high": high}, index=per_user.columns
    )


def _check_lists(top, users, n_items):
    if top.ndim != 2 or users.shape != (len(top),) or not top.shape[1]:
        raise ValueError(
            f"top has shape {top.shape} for {users.size} users; one list a row is needed, with "
            "one place at least"
        )
    check_codes(top, n_items, name="top", of="item", low=-1)
    if twice := int(pd.Index(users).duplicated().sum()):
        raise ValueError(f"users: {twice} are given twice; one list a user is needed")
    ordered = np.sort(top, axis=1)
    if twice := int(
        ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1).sum()
    ):
        raise ValueError(f"top: {twice} lists name an item twice")


def _of_positives(propensity, users, items, shape):
    propensity = np.asarray(propensity)
    if propensity.shape not in (shape, shape[1:]):
        raise ValueError(
            f"propensity has shape {propensity.shape}; {shape} or {shape[1:]} is needed"
        )
    found = propensity[items] if propensity.ndim == 1 else propensity[users, items]
    return check_propensity(found, name="propensity of the positives")


def _ratio(part, whole):
    """(users,) values with mean Σ part / Σ whole and the standard deviation of this ratio.

    The mean is over the users with a positive.
    """
    found = part.sum() / whole.sum()
    return found + (part - found * whole) / whole[whole > 0].mean()


def _novelty(top, popularity, n_items):
    """Mean of -log2 of the share of the listed items; one count is added to each item."""
    popularity = np.asarray(popularity, dtype=float)
    if popularity.shape != (n_items,):
        raise ValueError(
            f"popularity has shape {popularity.shape}; ({n_items},) is needed, one count an item"
        )
    if bad := int((~(np.isfinite(popularity) & (popularity >= 0))).sum()):
        raise ValueError(
            f"popularity: {bad} of {n_items} counts are missing, infinite or negative; 0 where "
            "there is none"
        )
    own = -np.log2((popularity + 1) / (popularity + 1).sum())
    listed = top >= 0
    return np.where(listed, own[top], 0).sum(axis=1) / np.maximum(listed.sum(axis=1), 1)


def _gini(counts):
    """0 where all items are listed equally often, towards 1 where one item has all."""
    ordered = np.sort(counts)
    rank = np.arange(1, len(ordered) + 1)
    return float(((2 * rank - len(ordered) - 1) * ordered).sum() / (len(ordered) * ordered.sum()))
