"""Evaluation (article 3.2.4, 4.3.5): classification, calibration and ranking metrics with intervals by user.

Each metric is given naively and, with propensities, inverse-propensity weighted and self-normalised: rows that were
exposed with probability e stand for 1/e candidate rows, so exposed rows can speak for all of them.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.data import schema

_BINS = 10


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics with 95% intervals; prints as a table.

    ``table`` is indexed by (weighting, metric), weighting "naive" or "ips", with the columns value, low, high and
    replicates (bootstrap replicates in which the metric was defined). ``effective_sample_size`` is
    (sum w)^2 / sum w^2 and ``largest_weight`` the greatest share of one row in all weight.
    """

    table: pd.DataFrame
    rows: int
    positives: int
    users: int | None
    effective_sample_size: float
    largest_weight: float

    def to_frame(self) -> pd.DataFrame:
        """A copy of the table."""
        return self.table.copy()

    def to_dict(self) -> dict:
        """Plain numbers for JSON; an undefined metric is None."""
        metrics: dict = {}
        for (weighting, metric), row in self.table.iterrows():
            numbers = {c: None if math.isnan(row[c]) else float(row[c]) for c in ("value", "low", "high")}
            metrics.setdefault(weighting, {})[metric] = numbers
        return {
            "rows": self.rows,
            "positives": self.positives,
            "users": self.users,
            "effective_sample_size": self.effective_sample_size,
            "largest_weight": self.largest_weight,
            "metrics": metrics,
        }

    def _headline(self):
        users = "" if self.users is None else f" of {self.users:,} users"
        return (
            f"{self.rows:,} rows{users}, {self.positives:,} positive; effective sample size "
            f"{self.effective_sample_size:,.0f}, largest weight {self.largest_weight:.2%} of all"
        )

    def _shown(self):
        text = self.table.map("{:.4f}".format, na_action="ignore").fillna("undefined")
        interval = ("[" + text["low"] + ", " + text["high"] + "]").where(self.table["low"].notna(), "")
        shown = pd.DataFrame({"value": text["value"], "95% interval": interval})
        return pd.concat({name: shown.loc[name] for name in self.table.index.unique("weighting")}, axis=1)

    def __repr__(self):
        return f"{self._headline()}\n{self._shown()}"

    def _repr_html_(self):
        return f"<p>{self._headline()}</p>{self._shown().to_html()}"


def evaluate(
    y,
    score,
    *,
    groups=None,
    propensity=None,
    weights=None,
    threshold: float = 0.5,
    k: int = 10,
    n_boot: int = 200,
    seed: int = 0,
) -> Evaluation:
    """Accuracy, precision, recall, F1, ROC AUC, log loss, calibration error, recall@k and NDCG@k as `Evaluation`.

    Intervals are 95% percentile intervals of a bootstrap that draws whole users (rows without ``groups``). The
    calibration error rises with any noise, so its replicates are centred on the value before the ends are taken.

    Weighted metrics are the same averages with weight w = 1/propensity per row, divided by the sum of the weights
    (self-normalised). Ranking metrics are averages over the users who have a positive row. With d(r) = 1 / log2(1 + r)
    for ranks r <= k, else 0, a user's recall@k is sum(w y [r <= k]) / sum(w y) and his NDCG@k is sum(w y d(r)) /
    sum(w y d(r+)), where r+ is the rank among his positive rows: the place the row would hold were no negative above
    it. With equal weights this is the usual NDCG; a perfect ranking has 1 whatever the weights. Rows with equal scores
    share the mean over their ranks. Ranks are those among the rows given.

    Parameters
    ----------
    y : (n,) zeros and ones, both present.
    score : (n,) predicted probabilities in [0, 1]. The predicted class is 1 where score >= ``threshold``.
    groups : (n,) user ids; without them there are no ranking metrics.
    propensity : (n,) in (0, 1], probability with which the row was exposed.
    weights : (n,) finite, not negative; instead of ``propensity``.
    k : length of the recommended list.
    n_boot : bootstrap replicates, at least 20.

    A metric without a defined value is NaN (precision when no score reaches ``threshold``).

    References
    ----------
    Schnabel et al. (2016), Recommendations as Treatments; Guo et al. (2017), On Calibration (calibration error, here
    with bins of equal mass because purchases are rare).

    >>> evaluate([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]).to_frame().loc[("naive", "ROC AUC"), "value"]
    np.float64(0.75)
    """
    y, score, weights = _checked(y, score, weights, propensity)
    if n_boot < 20 or k < 1 or not 0 <= threshold <= 1:
        raise ValueError(
            f"evaluate: n_boot={n_boot}, k={k}, threshold={threshold}: need n_boot >= 20, k >= 1, 0 <= threshold <= 1"
        )
    unit, n_units = _units(groups, len(y))
    ones = np.ones(len(y))
    schemes = {"naive": ones} if weights is None else {"naive": ones, "ips": weights}
    ranked = None if groups is None else (unit, n_units, k)
    measures = {name: _Measures(y, score, w, threshold, ranked) for name, w in schemes.items()}
    totals = {name: m.per_unit(unit, n_units) for name, m in measures.items()}

    def all_metrics(count):
        return np.concatenate([m.metrics(count @ totals[name], count[unit]) for name, m in measures.items()])

    value = all_metrics(np.ones(n_units))
    replicates = np.array([all_metrics(count) for count in _draws(n_units, n_boot, seed)])
    index = pd.MultiIndex.from_tuples(
        [(name, metric) for name, m in measures.items() for metric in m.names], names=["weighting", "metric"]
    )
    used = ones if weights is None else weights
    return Evaluation(
        table=_intervals(value, replicates, index),
        rows=len(y),
        positives=int(y.sum()),
        users=None if groups is None else n_units,
        effective_sample_size=float(used.sum() ** 2 / (used**2).sum()),
        largest_weight=float(used.max() / used.sum()),
    )


def calibration_table(
    y, score, *, groups=None, propensity=None, weights=None, bins: int = _BINS, n_boot: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Predicted against observed rate in ``bins`` bins of equal mass: columns rows, predicted, observed, low, high.

    The interval of the observed rate is a 95% bootstrap interval by group; the arguments are those of `evaluate`.
    Bins that ties make equal are merged. Made for plots.
    """
    y, score, weights = _checked(y, score, weights, propensity)
    unit, n_units = _units(groups, len(y))
    weights = np.ones(len(y)) if weights is None else weights
    bin_of, n_bins = _bin(score, bins)
    columns = [_sum_by(unit * n_bins + bin_of, v, n_units * n_bins) for v in (weights, weights * y)]
    mass, positive = (c.reshape(n_units, n_bins) for c in columns)
    total = mass.sum(axis=0)
    replicates = np.array([_ratio(c @ positive, c @ mass) for c in _draws(n_units, n_boot, seed)])
    observed = _ratio(positive.sum(axis=0), total)
    table = _intervals(observed, replicates, pd.RangeIndex(n_bins, name="bin"))
    return pd.DataFrame(
        {
            "rows": np.bincount(bin_of, minlength=n_bins),
            "predicted": _ratio(_sum_by(bin_of, weights * score, n_bins), total),
            "observed": observed,
            "low": table["low"],
            "high": table["high"],
        }
    )


class _Measures:
    """All metrics of one weighting, as functions of sums per user, so that a bootstrap replicate costs little."""

    def __init__(self, y, score, w, threshold, ranked):
        chosen = score >= threshold
        # as scikit-learn does: a score of exactly 0 or 1 that is wrong costs much, not infinitely much
        p = np.clip(score, np.finfo(float).eps, 1 - np.finfo(float).eps)
        loss = -np.where(y == 1, np.log(p), np.log1p(-p))
        hit, alarm, miss = chosen & (y == 1), chosen & (y == 0), ~chosen & (y == 1)
        self.bin_of, self.n_bins = _bin(score, _BINS)
        self.columns = [w, w * hit, w * alarm, w * miss, w * loss]
        self.gap = w * (score - y)
        self.by_unit = []  # of users, not rows: recall, NDCG, whether they are defined
        self.names = ["accuracy", "precision", "recall", "F1", "ROC AUC", "log loss", "calibration error"]
        if ranked:
            unit, n_units, k = ranked
            self.by_unit = _ranking(w * y, score, unit, n_units, k)
            self.names += [f"recall@{k}", f"NDCG@{k}"]
        self.order = np.argsort(score, kind="stable")
        self.starts = np.flatnonzero(np.r_[True, np.diff(score[self.order]) > 0])  # first row of each tied score
        self.positive, self.negative = (w * y)[self.order], (w * (1 - y))[self.order]

    def per_unit(self, unit, n_units):
        """(n_units, m) sums whose totals, weighted by a replicate's counts, are all that `metrics` needs."""
        columns = [_sum_by(unit, c, n_units) for c in self.columns]
        gaps = _sum_by(unit * self.n_bins + self.bin_of, self.gap, n_units * self.n_bins).reshape(n_units, self.n_bins)
        return np.column_stack([*columns, gaps, *self.by_unit])

    def metrics(self, total, row_count):
        """The metrics from the ``total`` of `per_unit` and the number of times each row was drawn."""
        mass, hit, alarm, miss, loss = total[:5]
        gaps = total[5 : 5 + self.n_bins]
        values = [
            1 - (alarm + miss) / mass,
            _ratio(hit, hit + alarm),
            _ratio(hit, hit + miss),
            _ratio(2 * hit, 2 * hit + alarm + miss),
            self.auc(row_count[self.order]),
            loss / mass,
            np.abs(gaps).sum() / mass,
        ]
        if self.by_unit:
            recall, ndcg, defined = total[-3:]
            values += [_ratio(recall, defined), _ratio(ndcg, defined)]
        return np.array(values, dtype=float)

    def auc(self, count):
        """Weighted share of (positive, negative) pairs in the right order, ties counting half."""
        positive = np.add.reduceat(self.positive * count, self.starts)
        negative = np.add.reduceat(self.negative * count, self.starts)
        below = np.cumsum(negative) - negative / 2
        return _ratio(positive @ below, positive.sum() * negative.sum())


def _ranking(gain, score, unit, n_units, k):
    """Per user: recall@k, NDCG@k, and 1 where the user has a gain (0 and zeros elsewhere)."""
    seen = np.minimum(np.arange(len(gain) + 1), k)  # how many of the first 0, 1, 2, ... ranks count
    discount = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2)))][seen]
    bought = gain > 0
    unit_bought, gain, score_bought = unit[bought], gain[bought], score[bought]
    total = _sum_by(unit_bought, gain, n_units)
    found = _sum_by(unit_bought, gain * _at_rank(unit, score, seen)[bought], n_units)
    actual = _sum_by(unit_bought, gain * _at_rank(unit, score, discount)[bought], n_units)
    ideal = _sum_by(unit_bought, gain * _at_rank(unit_bought, score_bought, discount), n_units)
    # 0 / 0 for users without gain, whom the last array leaves out of the average
    return [np.nan_to_num(_ratio(found, total)), np.nan_to_num(_ratio(actual, ideal)), (total > 0).astype(float)]


def _at_rank(unit, score, cumulative):
    """What each row's rank in its user's list is worth, by the worth of all ranks up to 0, 1, 2, ... (``cumulative``).

    Rows of one user with one score share the mean over their ranks, as if ties were broken at random.
    """
    order = np.lexsort((-score, unit))
    new_unit = np.r_[True, np.diff(unit[order]) > 0]
    starts = np.flatnonzero(new_unit | np.r_[True, np.diff(score[order]) != 0])
    size = np.diff(np.r_[starts, len(order)])
    above = starts - np.maximum.accumulate(np.where(new_unit, np.arange(len(order)), 0))[starts]
    worth = np.empty(len(order))
    worth[order] = np.repeat((cumulative[above + size] - cumulative[above]) / size, size)
    return worth


def _checked(y, score, weights, propensity):
    """Arrays of one length: int8 labels, float scores, float weights or None."""
    y, score = np.asarray(y), np.asarray(score, dtype=float)
    if score.ndim == 2 and score.shape[1] == 1:
        score = score[:, 0]  # what a network with one output unit gives
    if y.ndim != 1 or score.shape != y.shape:
        raise ValueError(f"y and score must be of one length, got shapes {y.shape} and {score.shape}")
    if len(y) == 0:
        raise ValueError("y: has no rows")
    y = schema.check_binary(y, name="y")
    missing = int(np.isnan(score).sum())
    if missing:
        raise ValueError(f"score: {missing} of {len(score)} are NaN; predict every row or leave the rows out")
    schema.check_range(score, 0, 1, name="score (a probability; take the sigmoid of a raw score)")
    if weights is not None and propensity is not None:
        raise ValueError("give weights or propensity, not both (weights = 1 / propensity)")
    if weights is None and propensity is None:
        return y, score, None
    name = "weights" if propensity is None else "propensity"
    given = np.asarray(weights if propensity is None else propensity, dtype=float)
    if given.shape != y.shape:
        raise ValueError(f"{name}: shape {given.shape}, but y has {y.shape}")
    if not np.isfinite(given).all():
        raise ValueError(f"{name}: {int((~np.isfinite(given)).sum())} values are missing or infinite")
    if propensity is not None:
        schema.check_range(given, 0, 1, name=name, open_low=True)
        return y, score, 1 / given
    schema.check_range(given, 0, np.inf, name=name)
    if not (given[y == 1].any() and given[y == 0].any()):
        raise ValueError("weights: all rows of one class have weight 0")
    return y, score, given


def _units(groups, n):
    if groups is None:
        return np.arange(n), n
    groups = pd.Series(np.asarray(groups))
    if len(groups) != n or groups.isna().any():
        raise ValueError(
            f"groups: {len(groups)} ids, {int(groups.isna().sum())} missing, for {n} rows; one id a row is needed"
        )
    codes, levels = pd.factorize(groups)
    if len(levels) < 2:
        raise ValueError("groups: only one user; an interval by user needs at least two")
    return codes, len(levels)


def _draws(n_units, n_boot, seed):
    """How often each unit is drawn, one array per replicate."""
    rng = np.random.default_rng(seed)
    for _ in range(n_boot):
        yield np.bincount(rng.integers(n_units, size=n_units), minlength=n_units).astype(float)


def _intervals(value, replicates, index):
    defined = np.isfinite(replicates).sum(axis=0)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for j in np.flatnonzero((defined > 0) & np.isfinite(value)):
        draws = replicates[np.isfinite(replicates[:, j]), j]
        if isinstance(index, pd.MultiIndex) and index[j][1] == "calibration error":
            draws = np.maximum(draws - draws.mean() + value[j], 0)
        low[j], high[j] = np.percentile(draws, [2.5, 97.5])
        # sums in another order differ in the last digit, which may put a degenerate interval beside its value
        low[j], high[j] = min(low[j], value[j]), max(high[j], value[j])
    return pd.DataFrame({"value": value, "low": low, "high": high, "replicates": defined}, index=index)


def _bin(score, bins):
    """Bin of each row (equal mass, equal scores together) and the number of bins."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))
    bin_of = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))
    used, bin_of = np.unique(bin_of, return_inverse=True)
    return bin_of, len(used)


def _sum_by(code, values, n):
    return np.bincount(code, weights=values, minlength=n)


def _ratio(a, b):
    """a / b, NaN where b is 0."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)
