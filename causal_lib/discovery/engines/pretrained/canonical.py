"""The canonical form of a table, and what is known about it as matrices: where the features start from."""

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.impute import KNNImputer

from causal_lib.knowledge import Knowledge

DONORS = 2000


def canonical(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """``frame`` in canonical form under the names c0, c1, ...; of each column its position in ``frame``, kind, share missing.

    Numbers are standardised, rounded to six digits so that other units give the same bits, and turned so that they are
    skewed to the right; of two levels the rarer is 1; unordered levels are numbered by frequency. Kinds: 0 number, 1 two
    levels, 2 ordered levels, 3 unordered. What is missing is taken from the nearest row that has it (a hot deck).
    """
    columns, kinds = [], []
    for name in frame.columns:
        column, kind, missing = frame[name], 0, frame[name].isna().to_numpy()
        if not pd.api.types.is_numeric_dtype(column.dtype):
            category = column.astype("category").cat.remove_unused_categories()
            kind, values = (
                (2 if category.cat.ordered else 3),
                category.cat.codes.to_numpy(dtype=float),
            )
        else:
            values = column.to_numpy(dtype=float, na_value=np.nan)
        values = values[~missing]
        levels, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(levels) == 2:
            kind, values = 1, codes.astype(float)
        elif kind == 3:
            first = np.array([np.argmax(codes == k) for k in range(len(levels))])
            rank = np.empty(len(levels))
            rank[np.lexsort((first, -counts))] = np.arange(len(levels))
            values = rank[codes]
        values = np.round((values - values.mean()) / values.std(), 6)
        skew = (values**3).mean()
        if kind != 3 and (
            skew < -1e-6 or (abs(skew) <= 1e-6 and values[np.argmax(np.abs(values) > 1e-6)] < 0)
        ):
            values = -values
        columns.append(np.full(len(column), np.nan))
        columns[-1][~missing] = values + 0.0  # no negative zero
        kinds.append(kind)
    order = np.array(
        sorted(range(len(columns)), key=lambda k: (kinds[k], columns[k].tobytes())), dtype=int
    )
    values, kinds = np.column_stack([columns[k] for k in order]), np.array(kinds)[order]
    missing = np.isnan(values).mean(axis=0)
    values = _hot_deck(values, kinds) if missing.any() else values
    made = {
        f"c{k}": pd.Series(v).astype("category") if kinds[k] == 3 else v
        for k, v in enumerate(values.T)
    }
    return pd.DataFrame(made), order, kinds, missing


def _hot_deck(values, kinds):
    """``values`` with each missing one as in the nearest of at most `DONORS` rows, distances over what both rows have."""
    parts = []
    for k, column in enumerate(values.T):
        hot = (
            column[:, None] == np.unique(column[~np.isnan(column)])
            if kinds[k] == 3
            else column[:, None]
        )
        parts.append(np.where(np.isnan(column)[:, None], np.nan, hot))
    some = np.unique(np.linspace(0, len(values) - 1, DONORS).astype(int))
    wide = np.hstack(parts)
    deck = KNNImputer(n_neighbors=1, keep_empty_features=True).fit(wide[some])
    holes = np.isnan(wide).any(axis=1)
    wide[holes] = deck.transform(wide[holes])
    ends = np.cumsum([part.shape[1] for part in parts])
    for k, part in enumerate(np.split(wide, ends[:-1], axis=1)):
        if kinds[k] == 3:
            part = np.unique(values[~np.isnan(values[:, k]), k])[part.argmax(axis=1)]
        else:
            part = (part[:, 0] - part.mean()) / part.std()
        values[:, k] = (
            np.where(np.isnan(values[:, k]), part, values[:, k]) if kinds[k] == 3 else part
        )
    return values


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
        self.tier = np.array(
            [-1 if knowledge is None or (t := knowledge.tier(k)) is None else t for k in names]
        )
        self.allowed = (
            ~np.eye(self.d, dtype=bool) if knowledge is None else knowledge.allowed(names)
        )
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
        return {
            "allowed": self.allowed,
            "required": self.required,
            "before": self.before,
            "same tier": same,
        }
