"""The canonical form of a table, and knowledge about it as matrices: the input of the features."""

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.impute import KNNImputer

from causal_lib.knowledge import Knowledge

DONORS = 2000


def to_canonical(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """``frame`` in a form that does not depend on units, signs, names or the order of columns.

    Numbers are standardised, rounded to six digits so that other units give the same bits, and
    given the sign that makes them skewed to the right. Of two levels the rarer is 1. Unordered
    levels are numbered by frequency. A missing value is replaced by that of the nearest row that
    has one (hot deck). Columns are sorted by kind and content.

    Returns
    -------
    table (n, d) with columns c0, c1, ...; order (d,), the position of each in ``frame``; kinds
    (d,): 0 number, 1 two levels, 2 ordered levels, 3 unordered levels; missing (d,), the share of
    missing values.
    """
    columns = []
    kinds = []
    for name in frame.columns:
        column = frame[name]
        kind = 0
        missing = frame[name].isna().to_numpy()
        if not pd.api.types.is_numeric_dtype(column.dtype):
            category = column.astype("category").cat.remove_unused_categories()
            kind = 2 if category.cat.ordered else 3
            values = category.cat.codes.to_numpy(dtype=float)
        else:
            values = column.to_numpy(dtype=float, na_value=np.nan)
        values = values[~missing]
        levels, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(levels) == 2:
            kind = 1
            values = codes.astype(float)
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
    values = np.column_stack([columns[k] for k in order])
    kinds = np.array(kinds)[order]
    missing = np.isnan(values).mean(axis=0)
    values = _hot_deck(values, kinds) if missing.any() else values
    made = {
        f"c{k}": pd.Series(v).astype("category") if kinds[k] == 3 else v
        for k, v in enumerate(values.T)
    }
    return pd.DataFrame(made), order, kinds, missing


def _hot_deck(values, kinds):
    """``values`` (n, d) with each missing value taken from the nearest of at most `DONORS` rows.

    Distances between rows are taken over the columns that both have.
    """
    parts = []
    for k, column in enumerate(values.T):
        hot = (
            column[:, None] == np.unique(column[~np.isnan(column)])
            if kinds[k] == 3
            else column[:, None]
        )
        parts.append(np.where(np.isnan(column)[:, None], np.nan, hot))
    donors = np.unique(np.linspace(0, len(values) - 1, DONORS).astype(int))
    wide = np.hstack(parts)
    deck = KNNImputer(n_neighbors=1, keep_empty_features=True).fit(wide[donors])
    incomplete = np.isnan(wide).any(axis=1)
    wide[incomplete] = deck.transform(wide[incomplete])
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
    """(n, d) standardised columns, after replacing numbers by the normal quantile of their rank."""
    scores = values.copy()
    for k in range(values.shape[1]):
        if kinds[k] == 0:
            scores[:, k] = ndtri((rankdata(values[:, k]) - 0.5) / len(values))
    scores = scores - scores.mean(axis=0)
    return scores / scores.std(axis=0)


class KnowledgeMatrices:
    """Knowledge as matrices over variables in canonical order.

    Attributes
    ----------
    tier : (d,) number of each variable's tier, -1 for none.
    allowed, required : (d, d) bool, where an edge i → j may be and where one must be.
    before : (d, d) bool, whether i stands in an earlier tier than j.
    """

    def __init__(self, names, knowledge):
        self.names = names
        self.knowledge = knowledge
        self.d = len(names)
        self.tier = np.array(
            [-1 if knowledge is None or (t := knowledge.tier(k)) is None else t for k in names]
        )
        self.allowed = (
            ~np.eye(self.d, dtype=bool) if knowledge is None else knowledge.allowed(names)
        )
        self.required = (knowledge or Knowledge()).required_matrix(names)
        self.before = (self.tier[:, None] < self.tier) & (self.tier[:, None] >= 0)

    def renamed(self):
        """The same knowledge about variables named c0, c1, ..., or None."""
        if self.knowledge is None:
            return None
        new = {name: f"c{place}" for place, name in enumerate(self.names)}
        known = self.knowledge
        return Knowledge(
            [[new[name] for name in tier] for tier in known.tiers],
            [(new[a], new[b]) for a, b in known.forbidden],
            [(new[a], new[b]) for a, b in known.required],
            known.within_tiers,
        )

    def features(self):
        """Feature name -> (d, d) bool."""
        same = (self.tier[:, None] == self.tier) & (self.tier >= 0)
        return {
            "allowed": self.allowed,
            "required": self.required,
            "before": self.before,
            "same tier": same,
        }
