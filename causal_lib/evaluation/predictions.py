"""Evaluation (article 3.2.4, 4.3.5): metrics of predictions, with intervals by user.

Each metric is given naively and, with propensities, inverse-propensity weighted and
self-normalised: a row that was exposed with probability e stands for 1/e candidate rows.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.checks import (
    check_binary,
    check_frame,
    check_range,
    check_same_order,
    check_whole,
)
from causal_lib.evaluation.gains import discounts, recall_and_ndcg
from causal_lib.resampling import group_codes, index_counts, percentile_ends

_BINS = 10


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics with 95% intervals; prints as a table.

    ``table`` is indexed by (weighting, metric), weighting "naive" or "ips", with the columns value,
    low, high and replicates (bootstrap replicates in which the metric was defined).
    ``effective_sample_size`` is (sum w)^2 / sum w^2 and ``largest_weight`` the largest share of one
    row in all weight. ``draws`` holds the bootstrap replicates (rows) of each (weighting, metric).
    Two models evaluated on the same rows, ``groups`` and ``seed`` have the same draws of users, so
    that their difference has an interval of its own.
    """

    table: pd.DataFrame
    draws: pd.DataFrame
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
        metrics: dict = {way: {} for way in self.table.index.unique("weighting")}
        for (way, metric), row in self.table[["value", "low", "high"]].iterrows():
            metrics[way][metric] = {
                name: None if math.isnan(x) else float(x) for name, x in row.items()
            }
        return {name: x for name, x in vars(self).items() if name not in ("table", "draws")} | {
            "metrics": metrics
        }

    def _headline(self):
        users = "" if self.users is None else f" of {self.users:,} users"
        return (
            f"{self.rows:,} rows{users}, {self.positives:,} positive; effective sample size "
            f"{self.effective_sample_size:,.0f}, largest weight {self.largest_weight:.2%} of all"
        )

    def _shown(self):
        text = self.table.map("{:.4f}".format, na_action="ignore").fillna("undefined")
        interval = ("[" + text["low"] + ", " + text["high"] + "]").where(
            self.table["low"].notna(), ""
        )
        shown = pd.DataFrame({"value": text["value"], "95% interval": interval})
        return pd.concat(
            {name: shown.loc[name] for name in self.table.index.unique("weighting")}, axis=1
        )

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
    threshold: float = 0.5,
    k: int = 10,
    n_boot: int = 200,
    seed: int = 0,
) -> Evaluation:
    """Accuracy, precision, recall, F1, ROC AUC, log loss, calibration error, recall@k and NDCG@k as
    `Evaluation`.

    Intervals are 95% percentile intervals of a bootstrap that draws whole users (rows without
    ``groups``). Noise can only increase the calibration error, so its replicates are centred on the
    value before the ends are taken.

    Weighted metrics are the same averages with weight w = 1/propensity per row, divided by the sum
    of the weights (self-normalised). Ranking metrics are averages over the users who have a
    positive row. With d(r) = 1 / log2(1 + r) for ranks r <= k, else 0, a user's recall@k is
    sum(w y [r <= k]) / sum(w y), and the NDCG@k is sum(w y d(r)) / sum(w y d(r+)), where r+ is the
    rank among the user's positive rows. With equal weights this is the usual NDCG; a perfect
    ranking has 1 whatever the weights. Rows with equal scores share the mean over their ranks.
    Ranks are those among the rows given. A metric without a defined value is NaN (precision when no
    score reaches ``threshold``).

    Parameters
    ----------
    y : (n,) zeros and ones, both present.
    score : (n,) predicted probabilities in [0, 1]. The predicted class is 1 where score >=
        ``threshold``.
    groups : (n,) user ids; without them there are no ranking metrics.
    propensity : (n,) in (0, 1], probability with which the row was exposed.
    n_boot : bootstrap replicates, at least 20.

    References
    ----------
    Schnabel et al. (2016), Recommendations as Treatments; Guo et al. (2017), On Calibration
    (calibration error, here with bins of equal mass because purchases are rare).

    >>> evaluate([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]).to_frame().loc[("naive", "ROC AUC"), "value"]
    np.float64(0.75)
    """
    y, score, w, unit = _checked(y, score, propensity, groups)
    check_whole(n_boot, name="n_boot", low=20)
    check_whole(k, name="k")
    if not 0 <= threshold <= 1:
        raise ValueError(f"{threshold=}: a number in [0, 1] is needed")
    ways = {"naive": np.ones(len(y))} | ({} if propensity is None else {"ips": w})
    tables = {}
    draws = {}
    for way, weight in ways.items():
        names, metrics = _metrics(y, score, weight, unit, threshold, None if groups is None else k)
        value = metrics(np.ones(unit.max() + 1))
        replicates = pd.DataFrame(
            [metrics(count) for count in _draws(unit, n_boot, seed)], columns=names
        )
        noisy = replicates["calibration error"]
        replicates["calibration error"] = (
            noisy - noisy.mean() + value[names.index("calibration error")]
        ).clip(lower=0)
        tables[way] = _intervals(value, replicates)
        draws[way] = replicates
    return Evaluation(
        table=pd.concat(tables, names=["weighting", "metric"]),
        draws=pd.concat(draws, axis=1, names=["weighting", "metric"]),
        rows=len(y),
        positives=int(y.sum()),
        users=None if groups is None else int(unit.max()) + 1,
        effective_sample_size=float(w.sum() ** 2 / (w**2).sum()),
        largest_weight=float(w.max() / w.sum()),
    )


def calibration_table(
    y, score, *, groups=None, propensity=None, bins: int = _BINS, n_boot: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Predicted and observed rate in ``bins`` bins of equal mass, for plots.

    Columns rows, predicted, observed, low, high; the interval of the observed rate is a 95%
    bootstrap interval by group. The arguments are those of `evaluate`. Bins that ties make equal
    are merged.
    """
    check_whole(bins, name="bins")
    check_whole(n_boot, name="n_boot", low=2)
    y, score, w, unit = _checked(y, score, propensity, groups)
    bin_of, n_bins = _bin(score, bins)
    mass, positive = (_by_unit_and_bin(v, unit, bin_of, n_bins) for v in (w, w * y))
    observed = _ratio(positive.sum(axis=0), mass.sum(axis=0))
    table = _intervals(
        observed, pd.DataFrame([_ratio(c @ positive, c @ mass) for c in _draws(unit, n_boot, seed)])
    )
    table.insert(0, "rows", np.bincount(bin_of))
    table.insert(1, "predicted", _ratio(np.bincount(bin_of, w * score), mass.sum(axis=0)))
    return table.rename(columns={"value": "observed"}).rename_axis("bin").drop(columns="replicates")


def _metrics(y, score, w, unit, threshold, k):
    """Names of the metrics, and a function from how often each user is drawn to their values.

    All but the AUC come from sums per user, taken once, so that a bootstrap replicate costs little.
    """
    names = ["accuracy", "precision", "recall", "F1", "ROC AUC", "log loss", "calibration error"]
    chosen = score >= threshold
    # as scikit-learn does: a score of exactly 0 or 1 that is wrong costs much, not infinitely much
    p = np.clip(score, np.finfo(float).eps, 1 - np.finfo(float).eps)
    loss = -np.where(y == 1, np.log(p), np.log1p(-p))
    parts = [
        w,
        w * (chosen & (y == 1)),
        w * (chosen & (y == 0)),
        w * (~chosen & (y == 1)),
        w * loss,
    ]
    bin_of, n_bins = _bin(score, _BINS)
    sums = [
        *(np.bincount(unit, part) for part in parts),
        _by_unit_and_bin(w * (score - y), unit, bin_of, n_bins),
    ]
    if k is not None:
        names += [f"recall@{k}", f"NDCG@{k}"]
        sums += _ranking(w * y, score, unit, k)
    sums = np.column_stack(sums)
    order = np.argsort(score, kind="stable")
    ties = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])  # first row of each tied score
    positive = (w * y)[order]
    negative = (w * (1 - y))[order]

    def values(count):
        mass, hit, alarm, miss, loss, *rest = count @ sums
        rows = count[unit[order]]
        up = np.add.reduceat(positive * rows, ties)
        down = np.add.reduceat(negative * rows, ties)
        found = [
            1 - _ratio(alarm + miss, mass),
            _ratio(hit, hit + alarm),
            _ratio(hit, hit + miss),
            _ratio(2 * hit, 2 * hit + alarm + miss),
            # pairs in the right order, ties half
            _ratio(up @ (np.cumsum(down) - down / 2), up.sum() * down.sum()),
            _ratio(loss, mass),
            _ratio(np.abs(rest[:n_bins]).sum(), mass),
        ]
        if k is not None:
            recall, ndcg, defined = rest[n_bins:]
            found += [_ratio(recall, defined), _ratio(ndcg, defined)]
        return np.array(found)

    return names, values


def _ranking(gain, score, unit, k):
    """Per user: recall@k, NDCG@k, and 1 where the user has a gain (0 and zeros elsewhere)."""
    place = np.minimum(np.arange(len(gain) + 1), k)
    in_list = place.astype(float)  # how many of the first 0, 1, 2, ... ranks are at most k
    cumulative = np.cumsum(discounts(k))[place]
    positive = gain > 0

    def at_rank(unit, score, cumulative):
        """Mean over the ranks that a row shares with the rows of its user that score the same."""
        ranks = pd.Series(-score).groupby(unit)
        first = ranks.rank(method="min").to_numpy(dtype=int)
        last = ranks.rank(method="max").to_numpy(dtype=int)
        return (cumulative[last] - cumulative[first - 1]) / (last - first + 1)

    owner = unit[positive]
    gain = gain[positive]
    n_users = unit.max() + 1
    best = at_rank(owner, score[positive], cumulative)
    recall, ndcg = recall_and_ndcg(
        owner,
        n_users,
        gain,
        at_rank(unit, score, in_list)[positive],
        at_rank(unit, score, cumulative)[positive],
        np.bincount(owner, gain * best, minlength=n_users),
    )
    # NaN for users without gain, whom the last array leaves out of the average
    return [np.nan_to_num(recall), np.nan_to_num(ndcg), (~np.isnan(recall)).astype(float)]


def _checked(y, score, propensity, groups):
    """Labels, scores, weights (ones without ``propensity``) and the number of each row's user.

    Without ``groups`` each row is a user.
    """
    given = {"y": y, "score": score, "propensity": propensity, "groups": groups}
    check_same_order(**given)
    given = {name: np.asarray(values) for name, values in given.items() if values is not None}
    if given["score"].ndim == 2 and given["score"].shape[1] == 1:
        given["score"] = given["score"][:, 0]  # what a network with one output unit gives
    shapes = {name: values.shape for name, values in given.items()}
    if given["y"].ndim != 1 or len(set(shapes.values())) > 1:
        raise ValueError(f"evaluate: the arguments must be of one length; shapes: {shapes}")
    check_frame(pd.DataFrame(given), given, name="evaluate", complete=True)
    y = check_binary(y, name="y")
    score = given["score"].astype(float)
    check_range(score, 0, 1, name="score (a probability; take the sigmoid of a raw score)")
    propensity = given.get("propensity", np.ones(len(y)))
    check_range(propensity, 0, 1, name="propensity", open_low=True)
    unit = np.arange(len(y)) if groups is None else group_codes(groups)
    if unit.max() < 1:
        raise ValueError("groups: only one user; an interval by user needs at least two")
    return y, score, 1 / propensity.astype(float), unit


def _draws(unit, n_boot, seed):
    """How often each user is drawn, one array per replicate."""
    rng = np.random.default_rng(seed)
    for _ in range(n_boot):
        yield index_counts(unit.max() + 1, rng)


def _intervals(value, replicates):
    """Each value with the percentiles of its column of ``replicates``, undefined ones left out."""
    low, high = percentile_ends(replicates)
    # sums in another order differ in the last digit, which may put a degenerate interval beside its
    # value
    ends = {"low": np.minimum(low, value), "high": np.maximum(high, value)}
    return pd.DataFrame(
        {"value": value, **ends, "replicates": replicates.count()}, index=replicates.columns
    )


def _bin(score, bins):
    """Bin of each row (equal mass, equal scores together) and the number of bins."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))
    bin_of = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))
    used, bin_of = np.unique(bin_of, return_inverse=True)
    return bin_of, len(used)


def _by_unit_and_bin(values, unit, bin_of, n_bins):
    n_units = unit.max() + 1
    return np.bincount(unit * n_bins + bin_of, values, minlength=n_units * n_bins).reshape(
        n_units, n_bins
    )


def _ratio(a, b):
    """a / b, NaN where b is 0."""
    a = np.asarray(a, dtype=float)
    b = np.asarray(b, dtype=float)
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)
