"""Estimators of the average effect of a binary treatment: each gives its value and the influence of every row on it."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import PolynomialFeatures

_FOLDS = 5
_MIN_OVERLAP = 0.01  # a propensity beyond [0.01, 0.99] asks one row to speak for a hundred
_MAX_OUTSIDE = 0.01
_WEAK = 10


class NoOverlapError(ValueError):
    """Treated and untreated rows cannot be compared: too many have a propensity near 0 or 1."""


def design(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """``columns`` of ``frame`` as floats, categories as indicators less one (an (n, k) frame)."""
    if not len(columns):
        return pd.DataFrame(index=frame.index)
    return pd.get_dummies(frame[list(columns)], drop_first=True, dtype=float).astype(float)


def cross_fit(
    y: np.ndarray, t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-of-fold propensity, E[y | x, 0] and E[y | x, 1], each (n,), by gradient boosting in 5 folds.

    Raises NoOverlapError, see `effects.effect`.
    """
    propensity = _propensities(t, x, groups, seed)
    without, treated = np.empty(len(y)), np.empty(len(y))
    for train, test in folds(groups, seed):
        if x.shape[1] == 0:
            without[test], treated[test] = (y[train][t[train] == arm].mean() for arm in (0, 1))
            continue
        for arm, out in ((0, without), (1, treated)):
            rows = train[t[train] == arm]
            out[test] = fit(y[rows], x.iloc[rows], seed)(x.iloc[test])
    return propensity, without, treated


def _propensities(t, x, groups, seed):
    """(n,) out-of-fold propensities; NoOverlapError where too many lie near 0 or 1."""
    propensity = np.empty(len(t))
    for train, test in folds(groups, seed):
        propensity[test] = fit(t[train], x.iloc[train], seed)(x.iloc[test]) if x.shape[1] else t[train].mean()
    outside = (propensity < _MIN_OVERLAP) | (propensity > 1 - _MIN_OVERLAP)
    if outside.mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: {outside.sum()} of {len(t)} rows have an estimated propensity outside "
            f"[{_MIN_OVERLAP}, {1 - _MIN_OVERLAP}]; restrict the question to rows that could have had either treatment"
        )
    return propensity


def _difference(y, t, x, groups, seed):
    mean = [y[t == arm].mean() for arm in (0, 1)]
    share = t.mean()
    influence = t * (y - mean[1]) / share - (1 - t) * (y - mean[0]) / (1 - share)
    return mean[1] - mean[0], influence, np.ones(len(y)), {}


def _regression(y, t, x, groups, seed):
    means, left = _lines(y, t, x)
    varies = means[1] - means[0]  # each row's effect
    weights = np.ones(len(y))
    centred = np.column_stack([np.ones(len(y)), x.to_numpy() - x.to_numpy().mean(axis=0)])
    influence = varies - varies.mean()
    for arm, sign in ((0, -1), (1, 1)):
        rows = t == arm
        bread = np.linalg.pinv(centred[rows].T @ centred[rows] / len(y))
        influence[rows] += sign * (centred[rows] @ bread[:, 0]) * left[rows]
    return varies.mean(), influence, weights, {}


def _matching(y, t, x, groups, seed):
    if x.shape[1] == 0:
        return _difference(y, t, x, groups, seed)
    means, left = _lines(y, t, x)
    scaled = x.to_numpy() / x.std(ddof=0).replace(0, 1).to_numpy()
    used, other = np.zeros(len(y)), np.empty(len(y))
    for arm in (0, 1):
        near, far = np.flatnonzero(t == arm), np.flatnonzero(t != arm)
        match = near[
            NearestNeighbors(n_neighbors=1).fit(scaled[near]).kneighbors(scaled[far], return_distance=False)[:, 0]
        ]
        other[far] = y[match] + means[arm][far] - means[arm][match]
        np.add.at(used, match, 1)
    sign = 2 * t - 1
    value = (sign * (y - other)).mean()
    influence = means[1] - means[0] - (means[1] - means[0]).mean() + sign * (1 + used) * left
    return value, influence, 1 + used, _balance(x, t, 1 + used)


def _lines(y, t, x):
    """((n,), (n,)) least-squares outcome without and with treatment, and (n,) what it leaves of the outcome."""
    wide = np.column_stack([np.ones(len(y)), x.to_numpy() - x.to_numpy().mean(axis=0)])
    slopes = [np.linalg.lstsq(wide[t == arm], y[t == arm], rcond=None)[0] for arm in (0, 1)]
    means = [wide @ slope for slope in slopes]
    return means, y - np.where(t == 1, means[1], means[0])


def _ipw(y, t, x, groups, seed):
    propensity = _propensities(t, x, groups, seed)
    weights = t / propensity + (1 - t) / (1 - propensity)
    value, influence = 0.0, np.zeros(len(y))
    for arm, sign in ((0, -1), (1, 1)):
        own = weights * (t == arm)
        mean = own @ y / own.sum()
        value += sign * mean
        influence += sign * own / own.mean() * (y - mean)
    return value, influence, weights, _overlap(propensity, x, t, weights)


def _aipw(y, t, x, groups, seed):
    propensity, without, treated = cross_fit(y, t, x, groups, seed)
    weights = t / propensity + (1 - t) / (1 - propensity)
    score = treated - without + (2 * t - 1) * weights * (y - np.where(t == 1, treated, without))
    return score.mean(), score - score.mean(), weights, _overlap(propensity, x, t, weights)


def _overlap(propensity, x, t, weights):
    ends = {"propensity_min": float(propensity.min()), "propensity_max": float(propensity.max())}
    return ends | _balance(x, t, weights)


def _balance(x, t, weights):
    return {
        "imbalance_before": _imbalance(x, t, np.ones(len(t))),
        "imbalance_after": _imbalance(x, t, weights),
    }


def _linear_dml(y, t, x, groups, seed):
    from econml.dml import LinearDML

    if x.shape[1] == 0:
        raise ValueError("estimator 'linear_dml' needs at least one adjustment column; use 'difference' without any")
    binary = set(np.unique(y)) <= {0.0, 1.0}
    outcome_model = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    # The effect may bend with numbers; indicators (whose squares say nothing new) are controls only, if there are numbers.
    number = (x.nunique() > 2).to_numpy()
    vary = x.loc[:, number if number.any() else ~number]
    vary = ((vary - vary.mean()) / vary.std().replace(0, 1)).to_numpy()
    if number.any():
        vary = PolynomialFeatures(2, include_bias=False).fit_transform(vary)
    model = LinearDML(
        model_y=outcome_model(**_BOOST, random_state=seed),
        model_t=HistGradientBoostingClassifier(**_BOOST, random_state=seed),
        discrete_treatment=True,
        discrete_outcome=binary,
        cv=list(folds(groups, seed)),
        random_state=seed,
    )
    model.fit(y, t, X=vary, W=x.to_numpy(), cache_values=True)
    values = np.ravel(model.effect(vary))
    # Influence of the average: that of the final regression's coefficients at the mean row, plus the rows' own spread.
    # EconML's own interval knows no clusters.
    y_left, t_left, rows, _ = model.residuals_
    if not np.array_equal(rows, vary):
        raise RuntimeError("EconML returned its residuals in another order than the rows")
    y_left, t_left = np.ravel(y_left), np.ravel(t_left)
    basis = np.column_stack([np.ones(len(y)), vary])
    bread = np.linalg.pinv((basis * t_left[:, None] ** 2).T @ basis / len(y))
    influence = (basis * (t_left * (y_left - t_left * values))[:, None]) @ bread @ basis.mean(axis=0)
    return values.mean(), influence + values - values.mean(), np.ones(len(y)), {}


ESTIMATORS: dict[str, Callable] = {
    "difference": _difference, "regression": _regression, "matching": _matching, "ipw": _ipw, "aipw": _aipw,
    "linear_dml": _linear_dml,
}  # fmt: skip
"""Estimator name -> function of y, t, x, groups, seed that gives value, influence (n,), weights (n,), diagnostics."""


def front_door(y: np.ndarray, t: np.ndarray, mediators: pd.DataFrame) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Σ_m (P(m | 1) - P(m | 0)) Σ_t P(t) E[y | m, t] over the levels m of the mediators together, and its influence.

    Raises ValueError where some level is seen in one arm only. Source: Pearl 1995; Fulcher and others 2020 (influence).
    """
    codes = (
        pd.factorize(pd.MultiIndex.from_frame(mediators))[0]
        if mediators.shape[1] > 1
        else pd.factorize(mediators.iloc[:, 0])[0]
    )
    counts = np.array([np.bincount(codes[t == arm], minlength=codes.max() + 1) for arm in (0, 1)])
    lone = (counts == 0).any(axis=0)
    if lone.any():
        raise NoOverlapError(
            f"mediators {', '.join(mediators.columns)}: {int(lone.sum())} of {len(lone)} levels are seen in one arm only; "
            "merge levels (bins for numbers)"
        )
    chance = counts / counts.sum(axis=1, keepdims=True)  # (2, levels)
    share = np.array([1 - t.mean(), t.mean()])
    mean = np.array([np.bincount(codes[t == arm], y[t == arm], minlength=len(lone)) for arm in (0, 1)]) / counts
    of_level = share @ mean  # what a level brings, whatever the treatment
    value, influence = 0.0, np.zeros(len(y))
    for arm, sign in ((0, -1), (1, 1)):
        own = float(chance[arm] @ of_level)
        value += sign * own
        first = chance[arm][codes] / chance[t, codes] * (y - mean[t, codes])
        second = (t == arm) / share[arm] * (of_level[codes] - own)
        third = (mean @ chance[arm])[t] - own
        influence += sign * (first + second + third)
    return value, influence, np.ones(len(y)), {"mediator_levels": len(lone)}


def wald(y: np.ndarray, t: np.ndarray, z: np.ndarray, x: pd.DataFrame) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Cov(y, z | x) / Cov(t, z | x), x partialled out by least squares (two-stage least squares), and its influence.

    Raises ValueError for an instrument whose first-stage F lies below 10: its interval would be worth nothing.
    Source: Angrist and Imbens 1994; Stock, Wright and Yogo 2002 (the limit).
    """
    wide = np.column_stack([np.ones(len(y)), x.to_numpy()])
    outcome, treatment, instrument = (v - wide @ np.linalg.lstsq(wide, v, rcond=None)[0] for v in (y, t, z))
    moved = instrument @ treatment
    first = moved / (instrument @ instrument)
    left = treatment - first * instrument
    strength = first**2 * (instrument @ instrument) ** 2 / max(float((instrument * left) @ (instrument * left)), 1e-300)
    if not strength >= _WEAK:
        raise ValueError(
            f"the instrument is weak: first-stage F {strength:.1f}, below {_WEAK}; a ratio to nothing says nothing"
        )
    value = (instrument @ outcome) / moved
    influence = instrument * (outcome - value * treatment) / (moved / len(y))
    return value, influence, np.ones(len(y)), {"first_stage_f": float(strength)}


_BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}


def fit(y: np.ndarray, x: pd.DataFrame, seed: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """A boosted regression of ``y`` on ``x`` as a prediction function; probabilities when ``y`` is 0/1."""
    levels = np.unique(y)
    if len(levels) == 1:
        return lambda rows: np.full(len(rows), levels[0], dtype=float)
    if set(levels) <= {0, 1}:
        model = HistGradientBoostingClassifier(**_BOOST, random_state=seed).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]
    return HistGradientBoostingRegressor(**_BOOST, random_state=seed).fit(x, y).predict


def folds(groups: np.ndarray, seed: int):
    """Pairs (training rows, test rows) of a cross-fit that keeps ``groups`` (codes from 0) together."""
    clusters = int(groups.max()) + 1
    if clusters < _FOLDS:
        raise ValueError(f"{clusters} rows or clusters are too few for {_FOLDS} folds")
    if clusters == len(groups):
        return KFold(_FOLDS, shuffle=True, random_state=seed).split(groups)
    return GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(groups, groups=groups)


def _imbalance(x, t, weights):
    """Largest absolute standardised mean difference over the columns, with ``weights``."""
    if x.shape[1] == 0:
        return 0.0
    arms = [np.average(x[t == arm], axis=0, weights=weights[t == arm]) for arm in (0, 1)]
    scale = np.sqrt((x[t == 1].var() + x[t == 0].var()) / 2).replace(0, 1).to_numpy()
    return float(np.abs((arms[1] - arms[0]) / scale).max())
