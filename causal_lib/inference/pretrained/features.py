"""What the network sees of a table: statistics of its candidates, not its rows.

Effects are described by their distance from the average effect in units of the median deviation of
the candidates, so that the network does not see units. Of each row it sees what the candidates say
of it, of each candidate how well it fits the held-out scores, of the table its size, overlap, noise
and outcome.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from scipy.stats import kurtosis, rankdata

from causal_lib.inference.pretrained.candidates import NAMES, OUTCOMES, Candidates
from causal_lib.inference.pretrained.roles import PURPOSES

CELLS = ("difference", "from the median", "deviation between folds")
ROWS = ("median", "range", "log odds", "distance", "outcome")
OF_CANDIDATES = (
    "offset",
    "offset, absolute",
    "offset in errors",
    "deviation",
    "R-loss explained",
    "R-loss z",
    "R-loss rank",
    "R-loss slope",
    "DR-loss explained",
    "DR-loss z",
    "DR-loss rank",
    "correlation with the median",
    "distance from R-stack",
    "weight in DR-stack",
    "weight in R-stack",
)
OF_TABLE = (
    "log rows",
    "log columns of the outcome",
    "log columns of the propensity",
    "log columns of effects",
    "share of columns of unknown role",
    "log rows per cluster",
    "share treated",
    "log rows of the rarer arm",
    "AUC of propensity",
    "deviation of log odds",
    "least propensities",
    "greatest propensities",
    *(f"explained by {kind}, arm {arm}" for arm in (0, 1) for kind in OUTCOMES),
    *(f"share of {kind}" for kind in OUTCOMES),
    "explained, control",
    "explained, treated",
    "log scale",
    "log error",
    "average in errors",
    "event",
    "log share of the commonest outcome",
    "log kurtosis of the outcome",
    "log kurtosis of what is left",
    "log ratio of noise of the arms",
)
ODD = {
    "cells": np.array([True, True, False]),
    "rows": np.array([True, False, False, False, True]),
    "candidates": np.arange(len(OF_CANDIDATES)) == 0,
}
"""Which features change their sign with the outcome; those of the table do not."""
NAMES_OF_FEATURES = (*NAMES, *CELLS, *ROWS, *OF_CANDIDATES, *OF_TABLE)
_LEAST_SCALE = 1e-3  # of the outcome's deviation
_MOST = 50.0


@dataclass(frozen=True, eq=False)
class Table:
    """What is described once a table.

    Attributes
    ----------
    candidates : (candidates, features), see `OF_CANDIDATES`; the first is (level - average)/scale.
    table : (features,), see `OF_TABLE`.
    scale : median deviation of the candidates' effects.
    """

    candidates: np.ndarray
    table: np.ndarray
    scale: float


@dataclass(frozen=True, eq=False)
class Cells:
    """What is described for each of m rows.

    Attributes
    ----------
    cells : (m, candidates, features), see `CELLS`; the first is (effect - its level)/scale.
    rows : (m, features), see `ROWS`.
    chances : (m,) propensities.
    outcomes : (m, 2, kinds) expected outcomes of each arm by the regressions of the outcome.
    """

    cells: np.ndarray
    rows: np.ndarray
    chances: np.ndarray
    outcomes: np.ndarray


def describe_table(found: Candidates) -> Table:
    """The statistics of a table's candidates."""
    constant = NAMES.index("constant")
    fitted = slice(0, constant)
    differences = found.effects - found.levels
    deviations = differences.std(axis=0)
    scale = max(float(np.median(deviations[fitted])), _LEAST_SCALE)
    d = differences / scale
    offset = (found.levels - found.average) / scale
    error = found.error / scale
    left = (found.left - found.residual * found.average) / scale
    pull = found.residual[:, None] * d
    score = (found.scores - found.scores.mean()) / scale
    r = _losses(left, pull)
    dr = _losses(score, d)
    products = (pull**2).sum(axis=0)
    slope = np.divide(left @ pull, products, out=np.zeros(len(NAMES)), where=products > 0)
    middle = np.median(d[:, fitted], axis=1)
    stack = d[:, NAMES.index("r_stack")]
    candidates = np.column_stack(
        [
            offset,
            np.abs(offset),
            np.abs(offset) / max(error, 1e-9),
            np.log(deviations / scale + 0.01),
            r[0],
            r[1],
            r[2],
            np.clip(slope, -2, 3),
            dr[0],
            dr[1],
            dr[2],
            _correlations(d, middle),
            np.sqrt(((d - stack[:, None]) ** 2).mean(axis=0)),
            found.weights[0],
            found.weights[1],
        ]
    )
    return Table(_bounded(candidates), _bounded(_of_table(found, scale)), scale)


def describe_rows(table: Table, found: Candidates, x: np.ndarray) -> Cells:
    """What the candidates say of new rows (m, p)."""
    predicted = found.predict(x)
    chances = predicted.chances
    mixed = (found.shares[:, :, None] * predicted.outcomes).sum(axis=1)
    means = chances * mixed[1] + (1 - chances) * mixed[0]
    d = (predicted.effects - found.levels) / table.scale
    middle = np.median(d, axis=1)
    z = found.encoders.linear(x)
    cells = np.stack([d, d - middle[:, None], predicted.deviations / table.scale], axis=2)
    low, high = np.quantile(d, [0.25, 0.75], axis=1)
    rows = np.column_stack(
        [
            middle,
            high - low,
            logit(chances),
            np.log((z**2).mean(axis=1) + 0.1) if z.shape[1] else np.zeros(len(z)),
            means,
        ]
    )
    return Cells(_bounded(cells), _bounded(rows), chances, predicted.outcomes.transpose(2, 0, 1))


def _bounded(values):
    return np.clip(values, -_MOST, _MOST)


def _losses(target, predictions):
    """Share explained as a signed root, its z, its rank from 0 to 1; each (candidates,)."""
    base = target**2
    gained = base[:, None] - (target[:, None] - predictions) ** 2
    mean = gained.mean(axis=0)
    error = gained.std(axis=0) / np.sqrt(len(target))
    share = mean / max(base.mean(), 1e-12)
    varies = error > 1e-9 * max(base.mean(), 1e-12)  # not so the average, but for rounding
    z = np.divide(mean, error, out=np.zeros_like(mean), where=varies)
    share = np.where(varies, share, 0.0)
    # rounded, so that rounding errors do not order equals
    rank = (rankdata(-share.round(9)) - 1) / (len(share) - 1)
    return np.sign(share) * np.sqrt(np.abs(share)), z, rank


def _correlations(d, middle):
    own = d.std(axis=0) * middle.std()
    both = ((middle - middle.mean())[:, None] * d).mean(axis=0)
    return np.divide(both, own, out=np.zeros_like(own), where=own > 1e-12)


def _of_table(found, scale):
    y = found.y
    t = found.t
    n = len(y)
    odds = logit(found.chances)
    ranks = rankdata(found.chances)
    treated = t.sum()
    area = (ranks[t == 1].sum() - treated * (treated + 1) / 2) / (treated * (n - treated))
    explained = []
    of_mixture = []
    noise = []
    for arm in (0, 1):
        own = t == arm
        spread = y[own].var() + 1e-12
        left = y[own] - found.outcomes[arm][:, own]
        explained += np.maximum(1 - (left**2).mean(axis=1) / spread, -1).tolist()
        rest = ((y[own] - found.means[own, arm]) ** 2).mean()
        of_mixture.append(max(1 - rest / spread, -1))
        noise.append(rest + 1e-6)
    left = y - found.means[np.arange(n), t]
    commonest = np.unique(y.round(9), return_counts=True)[1].max() / n
    return np.array(
        [
            np.log(n),
            *(np.log1p(len(found.encoders.of(purpose).used)) for purpose in PURPOSES),
            np.mean([role == "unknown" for role in found.roles]),
            np.log(found.rows_per_cluster),
            t.mean(),
            np.log(min(treated, n - treated)),
            area,
            odds.std(),
            *np.quantile(found.chances, [0.05, 0.95]),
            *explained,
            *found.shares.mean(axis=0),
            *of_mixture,
            np.log(scale),
            np.log(max(found.error / scale, 1e-9)),
            np.abs(found.average) / max(found.error, 1e-9),
            float(found.events),
            np.log(commonest),
            np.log(kurtosis(y, fisher=False) + 0.1),
            np.log(kurtosis(left, fisher=False) + 0.1),
            np.log(noise[1] / noise[0]),
        ]
    )
