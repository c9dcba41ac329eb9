"""The canonical form of a table, and what is known about it as matrices: where the features start from."""

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

from causal_lib.knowledge import Knowledge


def canonical(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """``frame`` in canonical form under the names c0, c1, ..., the position of each column in ``frame``, and its kind.

    Numbers are standardised, rounded to six digits so that other units give the same bits, and turned so that they are
    skewed to the right; of two levels the rarer is 1; unordered levels are numbered by frequency. Kinds: 0 number, 1 two
    levels, 2 ordered levels, 3 unordered.
    """
    columns, kinds = [], []
    for name in frame.columns:
        column, kind = frame[name], 0
        if not pd.api.types.is_numeric_dtype(column.dtype):
            category = column.astype("category").cat.remove_unused_categories()
            kind, values = (2 if category.cat.ordered else 3), category.cat.codes.to_numpy(dtype=float)
        else:
            values = column.to_numpy(dtype=float)
        levels, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(levels) == 2:
            kind, values = 1, codes.astype(float)
        elif kind == 3:
            first = np.array([np.argmax(codes == k) for k in range(len(levels))])
            rank = np.empty(len(levels))
            rank[np.lexsort((first, -counts))] = np.arange(len(levels))
            values = rank[codes]
        values = (values - values.mean()) / values.std()
        values = np.round(values, 6)
        skew = (values**3).mean()
        if kind != 3 and (skew < -1e-6 or (abs(skew) <= 1e-6 and values[np.argmax(np.abs(values) > 1e-6)] < 0)):
            values = -values
        columns.append(values + 0.0)  # no negative zero
        kinds.append(kind)
    order = np.array(sorted(range(len(columns)), key=lambda k: (kinds[k], columns[k].tobytes())), dtype=int)
    made = {
        f"c{place}": pd.Series(columns[k]).astype("category") if kinds[k] == 3 else columns[k]
        for place, k in enumerate(order)
    }
    return pd.DataFrame(made), order, np.array(kinds)[order]


def normal_scores(values, kinds):
    """Numbers of many values by the normal quantile of their rank."""
    scores = values.copy()
    for k in range(values.shape[1]):
        if kinds[k] == 0:
            scores[:, k] = ndtri((rankdata(values[:, k]) - 0.5) / len(values))
    scores = scores - scores.mean(axis=0)
    return scores / scores.std(axis=0)


class Known:
    """Knowledge as matrices over the canonical order: allowed, required, before (i stands in an earlier tier)."""

    def __init__(self, names, knowledge):
        self.names, self.knowledge, self.d = names, knowledge, len(names)
        self.tier = np.array([-1 if knowledge is None or (t := knowledge.tier(k)) is None else t for k in names])
        self.allowed = ~np.eye(self.d, dtype=bool) if knowledge is None else knowledge.allowed(names)
        self.required = np.zeros((self.d, self.d), dtype=bool)
        for cause, effect in knowledge.required if knowledge else ():
            self.required[names.index(cause), names.index(effect)] = True
        self.before = (self.tier[:, None] < self.tier) & (self.tier[:, None] >= 0)

    def renamed(self):
        """The same about c0, c1, ..."""
        if self.knowledge is None:
            return None
        to, k = {name: f"c{place}" for place, name in enumerate(self.names)}, self.knowledge
        return Knowledge(
            [[to[name] for name in tier] for tier in k.tiers],
            [(to[a], to[b]) for a, b in k.forbidden],
            [(to[a], to[b]) for a, b in k.required],
            k.within_tiers,
        )

    def features(self):
        """Name -> (d, d) bool."""
        same = (self.tier[:, None] == self.tier) & (self.tier >= 0)
        return {"allowed": self.allowed, "required": self.required, "before": self.before, "same tier": same}
