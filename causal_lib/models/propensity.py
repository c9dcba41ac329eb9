"""The chance that a rating or click was seen: estimates of it, and whether they can be believed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from causal_lib.checks import check_propensity
from causal_lib.models.interactions import Interactions

Propensity = Callable[[Interactions], np.ndarray]
"""From pairs, seen ones with their value, to their (n,) chance to be seen, in (0, 1]."""
_PAIRS = 2_000_000  # most pairs that a logistic regression is fitted to


def by_popularity(train: Interactions, power: float = 0.5) -> Propensity:
    """((clicks of the item + 1) / (most clicks + 1)) to the ``power``.

    For data without other knowledge of the exposure. It is relative to the most popular item, so
    that its level has no meaning. Source: Saito and others 2020.
    """
    if power <= 0:
        raise ValueError(f"{power=} must be above 0")
    counts = np.bincount(train.items, minlength=train.shape[1]) + 1.0
    return lambda pairs: (counts / counts.max())[pairs.items] ** power


def by_value(train: Interactions, randomised: Interactions) -> Propensity:
    """Chance to be seen given the rating r, by Bayes' rule: P(r | seen) P(seen) / P(r).

    P(r) is that of pairs ``randomised`` at random; a few hundred of them suffice. Right where the
    rating alone decides whether it is seen (naive Bayes).

    Raises ValueError for data without rows, and for a rating of ``train`` that is not among
    ``randomised``, whose propensity would be 0. The returned function raises it for a rating that
    was not in ``train``.

    Source: Schnabel and others 2016, section 5.1.
    """
    for name, rows in (("train", train), ("randomised", randomised)):
        if not len(rows):
            raise ValueError(f"{name} has no rows")
    levels, counts = np.unique(train.value, return_counts=True)
    at_random = np.array([(randomised.value == level).mean() for level in levels])
    if absent := [
        f"{level:g}" for level, share in zip(levels, at_random, strict=True) if share == 0
    ]:
        raise ValueError(
            f"randomised: none of {len(randomised)} values is {', '.join(absent)}; give more, or "
            "join levels"
        )
    found = np.minimum(counts / (train.shape[0] * train.shape[1]) / at_random, 1)

    def of(pairs):
        place = np.searchsorted(levels, pairs.value).clip(max=len(levels) - 1)
        if strange := int((levels[place] != pairs.value).sum()):
            raise ValueError(
                f"pairs: {strange} of {len(pairs)} values were not in train; their propensity is "
                "not known"
            )
        return found[place]

    return of


def by_features(
    train: Interactions,
    *,
    users: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    c: float = 1.0,
    seed: int = 0,
) -> Propensity:
    """Logistic regression of being seen on attributes of the user and of the item.

    Right where nothing else influences both being seen and the value. It is fitted to all pairs; of
    more than 2 million, to the seen pairs and a sample of the others, with a corrected intercept.

    Parameters
    ----------
    users, items : numeric attributes, one row for each id in the order of the codes. None: an
        indicator for each id.
    c : inverse strength of the penalty, as scikit-learn's.

    Raises ValueError where all pairs are seen or none is, and for attributes of another number of
    rows or with values that are not finite.

    Source: Schnabel and others 2016, section 5.2; King and Zeng 2001 (the intercept).
    """
    parts = [
        _features(table, n, name)
        for table, n, name in ((users, train.shape[0], "users"), (items, train.shape[1], "items"))
    ]
    rng = np.random.default_rng(seed)
    whole = train.shape[0] * train.shape[1]
    if whole <= _PAIRS:
        user, item = (axis.ravel() for axis in np.indices(train.shape))
        y = np.zeros(whole, dtype=bool)
        y[train.users * train.shape[1] + train.items] = True
    else:
        drawn = np.unique(rng.integers(whole, size=_PAIRS))
        drawn = drawn[~np.isin(drawn, train.users.astype(np.int64) * train.shape[1] + train.items)]
        user = np.concatenate([train.users, drawn // train.shape[1]])
        item = np.concatenate([train.items, drawn % train.shape[1]])
        y = np.arange(len(user)) < len(train)
    if y.all() or not y.any():
        raise ValueError(
            f"train: {int(y.sum()):,} of {len(y):,} pairs looked at are seen; both seen pairs and "
            "others are needed"
        )
    model = LogisticRegression(C=c, max_iter=1000).fit(
        sparse.hstack([parts[0][user], parts[1][item]], format="csr"), y
    )
    share = len(train) / whole  # of all pairs; among those fitted it is another
    shift = np.log(share / (1 - share)) - np.log(y.mean() / (1 - y.mean()))

    def of(pairs):
        x = sparse.hstack([parts[0][pairs.users], parts[1][pairs.items]], format="csr")
        return np.clip(1 / (1 + np.exp(-(model.decision_function(x) + shift))), 1e-6, 1)

    return of


def effective_sample_size(propensity: np.ndarray, clip: float = 0.0) -> float:
    """(Σw)² / Σw² of w = 1 / max(propensity, clip): how many equal weights these are worth.

    Raises ValueError for no propensities, missing ones, and ones outside (0, 1] after clipping.
    """
    w = 1 / check_propensity(np.maximum(propensity, clip), name=f"propensity, clipped at {clip:g}")
    return float(w.sum() ** 2 / (w**2).sum())


def calibration(estimate: Propensity, seen: Interactions, bins: int = 10) -> pd.DataFrame:
    """Estimated and observed share of seen pairs, in ``bins`` groups of all pairs.

    Columns pairs, estimated, observed, low, high, the last two Wilson's 95% interval. For estimates
    that need no value: `by_features`, and `by_popularity` up to its level.
    """
    user, item = (axis.ravel() for axis in np.indices(seen.shape))
    pairs = Interactions(user, item, np.zeros(len(user)), seen.user_ids, seen.item_ids)
    estimated = estimate(pairs)
    observed = np.zeros(len(user), dtype=int)
    observed[seen.users * seen.shape[1] + seen.items] = 1
    edges = np.unique(np.quantile(estimated, np.linspace(0, 1, bins + 1)[1:-1]))
    groups = pd.DataFrame({"estimated": estimated, "observed": observed}).groupby(
        np.searchsorted(edges, estimated, side="right")
    )
    table = groups.mean()
    table.insert(0, "pairs", groups.size())
    intervals = [
        binomtest(int(k), int(n)).proportion_ci(method="wilson")
        for k, n in zip(groups["observed"].sum(), groups.size(), strict=True)
    ]
    table[["low", "high"]] = [[interval.low, interval.high] for interval in intervals]
    return table.rename_axis("bin")


def _features(table, n, name):
    if table is None:
        return sparse.csr_array(sparse.eye_array(n))
    if len(table) != n:
        raise ValueError(
            f"{name}: {len(table)} rows for {n} {name}; one row for each id, in the "
            "order of the codes"
        )
    values = table.to_numpy(dtype=float)
    if bad := int((~np.isfinite(values)).sum()):
        column = table.columns[(~np.isfinite(values)).any(axis=0)][0]
        raise ValueError(
            f"{name}: {bad} values are missing or infinite, first in column "
            f"{column!r}; impute them first"
        )
    return sparse.csr_array(StandardScaler().fit_transform(values))
