"""Estimators of an average effect without a further package: each gives its value and the influence of every row on it.

Treatments are codes: 0 the control, 1 the treated, 2 any other level of a treatment with more than two. Rows of other levels
are compared with nothing, but the average is over them too.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import NearestNeighbors

_FOLDS = 5
_MIN_OVERLAP = 0.01  # a propensity beyond [0.01, 0.99] asks one row to speak for a hundred
_MAX_OUTSIDE = 0.01
_WEAK = 10
ARMS = ("control", "treated")
BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}


class NoOverlapError(ValueError):
    """Treated and untreated rows cannot be compared: too many have a propensity near 0 or 1."""


def design(frame: pd.DataFrame, columns: Sequence[str], *, like: pd.Index | None = None) -> pd.DataFrame:
    """``columns`` of ``frame`` as floats, categories as indicators less one (an (n, k) frame).

    ``like`` : the columns of the design that a model was trained on: new rows, which may lack some levels, are coded as those were.
    A level that they did not have is coded as the one without an indicator.
    """
    if not len(columns):
        return pd.DataFrame(index=frame.index)
    if like is None:
        return pd.get_dummies(frame[list(columns)], drop_first=True, dtype=float).astype(float)
    return pd.get_dummies(frame[list(columns)], dtype=float).reindex(columns=like, fill_value=0.0).astype(float)


def standard_error(influence: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of a mean whose rows have this ``influence`` (n,), summed within ``groups`` (codes from 0).

    √(G/(G-1) Σ_g (Σ_{i in g} influence_i)²) / n for G groups.

    Raises ValueError for fewer than two groups.

    >>> standard_error(np.array([-1.0, 1.0]), np.array([0, 1]))
    1.0
    """
    sums = np.bincount(groups, influence)
    if len(sums) < 2:
        raise ValueError(f"{len(sums)} row or cluster is too few for a standard error; at least 2 are needed")
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence))


def clustered_covariance(influence: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(k, k) covariance of k estimates whose rows have these influences (n, k); its diagonal is that of `standard_error`."""
    sums = np.column_stack([np.bincount(groups, part) for part in influence.T])
    return sums.T @ sums * len(sums) / (len(sums) - 1) / len(influence) ** 2


def cross_fit(
    y: np.ndarray, t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold propensities of control and treated (n, 2) and E[y | x, arm] (n, 2), by gradient boosting in 5 folds.

    Raises NoOverlapError, see `effects.effect`.
    """
    chances = propensities(t, x, groups, seed)
    means = np.empty((len(y), 2))
    for train, test in folds(groups, seed):
        for arm in (0, 1):
            rows = train[t[train] == arm]
            means[test, arm] = fit(y[rows], x.iloc[rows], seed)(x.iloc[test]) if x.shape[1] else y[rows].mean()
    return chances, means


def propensities(t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold propensities of control and treated, (n, 2); multinomial where there are other levels.

    Raises NoOverlapError where too many lie near 0 or 1, ValueError where a fold has too few rows of a level.
    """
    chances, others = np.empty((len(t), 2)), t.max() > 1
    for train, test in arm_folds(t, groups, seed):
        if x.shape[1] == 0:
            chances[test] = [(t[train] == arm).mean() for arm in (0, 1)]
        elif others:
            model = HistGradientBoostingClassifier(**BOOST, random_state=seed).fit(x.iloc[train], t[train])
            chances[test] = model.predict_proba(x.iloc[test])[:, :2]
        else:
            treated = fit(t[train], x.iloc[train], seed)(x.iloc[test])
            chances[test] = np.column_stack([1 - treated, treated])
    check_overlap(chances, others=others)
    return chances


def check_overlap(chances: np.ndarray, *, others: bool = False) -> None:
    """Raise NoOverlapError where over 1% of the rows have a propensity (n, 2) near 0; near 1 too, without ``others``."""
    outside = (chances < _MIN_OVERLAP) | ((chances > 1 - _MIN_OVERLAP) & (not others))
    way_out = "restrict the question to rows that could have had either treatment"
    if not others and outside[:, 1].mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: {outside[:, 1].sum()} of {len(chances)} rows have an estimated propensity outside "
            f"[{_MIN_OVERLAP}, {1 - _MIN_OVERLAP}]; {way_out}"
        )
    for arm, rows in enumerate(outside.T if others else ()):
        if rows.mean() > _MAX_OUTSIDE:
            raise NoOverlapError(
                f"no overlap: {rows.sum()} of {len(rows)} rows have an estimated propensity of the {ARMS[arm]} below "
                f"{_MIN_OVERLAP}; {way_out}"
            )


def check_moves(left: np.ndarray, t: np.ndarray, spread: np.ndarray | None = None) -> dict:
    """The share of a numeric treatment's variance that the adjustment columns leave, as diagnostics.

    Raises NoOverlapError where it is below 1%, or where ``spread`` (n,), each row's own variance, is so for over 1% of the rows:
    at the same adjustment columns there is then next to nothing to compare.
    """
    share, way_out = (
        float(left.var() / t.var()),
        "restrict the question to rows whose treatment could have been another",
    )
    if share < _MIN_OVERLAP:
        raise NoOverlapError(f"no overlap: the adjustment columns explain {1 - share:.1%} of the treatment; {way_out}")
    fixed = spread < _MIN_OVERLAP * t.var() if spread is not None else np.zeros(1, dtype=bool)
    if fixed.mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: for {fixed.sum()} of {len(t)} rows the adjustment columns leave the treatment under "
            f"{_MIN_OVERLAP:.0%} of its variance; {way_out}"
        )
    return {"treatment_left": share}


def dr_scores(y: np.ndarray, t: np.ndarray, chances: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Doubly robust scores (n,), whose mean is the average effect, and weights (n,) of one over the propensity of the own arm."""
    weights = (t == 1) / chances[:, 1] + (t == 0) / chances[:, 0]
    sign = (t == 1).astype(int) - (t == 0)
    return means[:, 1] - means[:, 0] + sign * weights * (y - np.where(t == 1, means[:, 1], means[:, 0])), weights


def _difference(y, t, x, groups, seed):
    mean = [y[t == arm].mean() for arm in (0, 1)]
    share = [(t == arm).mean() for arm in (0, 1)]
    influence = (t == 1) * (y - mean[1]) / share[1] - (t == 0) * (y - mean[0]) / share[0]
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
    fewest = min((t == arm).sum() for arm in (0, 1))
    if fewest < wide.shape[1]:
        raise ValueError(f"an arm of {fewest} rows is too small for {wide.shape[1]} columns of adjustment and constant")
    slopes = [np.linalg.lstsq(wide[t == arm], y[t == arm], rcond=None)[0] for arm in (0, 1)]
    means = [wide @ slope for slope in slopes]
    return means, y - np.where(t == 1, means[1], means[0])


def _ipw(y, t, x, groups, seed):
    chances = propensities(t, x, groups, seed)
    weights = (t == 1) / chances[:, 1] + (t == 0) / chances[:, 0]
    value, influence = 0.0, np.zeros(len(y))
    for arm, sign in ((0, -1), (1, 1)):
        own = weights * (t == arm)
        mean = own @ y / own.sum()
        value += sign * mean
        influence += sign * own / own.mean() * (y - mean)
    return value, influence, weights, overlap(chances, x, t, weights)


def _aipw(y, t, x, groups, seed):
    chances, means = cross_fit(y, t, x, groups, seed)
    score, weights = dr_scores(y, t, chances, means)
    return score.mean(), score - score.mean(), weights, overlap(chances, x, t, weights)


def overlap(chances: np.ndarray, x: pd.DataFrame, t: np.ndarray, weights: np.ndarray) -> dict:
    """Diagnostics of weighting: the smallest and largest propensity, and the imbalance before and after."""
    ends = {"propensity_min": float(chances[:, 1].min()), "propensity_max": float(chances[:, 1].max())}
    control = {"control_propensity_min": float(chances[:, 0].min())} if t.max() > 1 else {}
    return ends | control | _balance(x, t, weights)


def _balance(x, t, weights):
    return {
        "imbalance_before": _imbalance(x, t, np.ones(len(t))),
        "imbalance_after": _imbalance(x, t, weights),
    }


PLAIN: dict[str, Callable] = {
    "difference": _difference, "regression": _regression, "matching": _matching, "ipw": _ipw, "aipw": _aipw,
}  # fmt: skip
"""Estimator name -> function of y, t, x, groups, seed that gives value, influence (n,), weights (n,), diagnostics."""


def slope(
    y: np.ndarray, t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int
) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Average derivative in a numeric ``t`` by least squares on t, the centred columns and their products with t.

    The coefficient of t; at a treatment of 0 and 1 the same as the regression of each arm. Arguments and value as in `PLAIN`.
    """
    centred = x.to_numpy() - x.to_numpy().mean(axis=0)
    wide = np.column_stack([np.ones(len(y)), t, centred, centred * t[:, None]])
    if len(y) <= wide.shape[1]:
        raise ValueError(f"{len(y)} rows are too few for {wide.shape[1]} columns of treatment, adjustment and products")
    controls = wide[:, [0, *range(2, 2 + x.shape[1])]]
    moves = check_moves(t - controls @ np.linalg.lstsq(controls, t, rcond=None)[0], t)
    found = np.linalg.lstsq(wide, y, rcond=None)[0]
    varies = centred @ found[2 + x.shape[1] :]  # each row's derivative less the average
    bread = np.linalg.pinv(wide.T @ wide / len(y))
    influence = (wide @ bread[:, 1]) * (y - wide @ found) + varies
    return found[1], influence, np.ones(len(y)), moves


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
    return instrumented(outcome, treatment, instrument)


def instrumented(
    outcome: np.ndarray, treatment: np.ndarray, instrument: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Σ instrument outcome / Σ instrument treatment of what is left (n,) of the three after their controls, see `wald`."""
    moved = instrument @ treatment
    first = moved / (instrument @ instrument)
    left = treatment - first * instrument
    strength = first**2 * (instrument @ instrument) ** 2 / max(float((instrument * left) @ (instrument * left)), 1e-300)
    if not strength >= _WEAK:
        raise ValueError(
            f"the instrument is weak: first-stage F {strength:.1f}, below {_WEAK}; a ratio to nothing says nothing"
        )
    value = (instrument @ outcome) / moved
    influence = instrument * (outcome - value * treatment) / (moved / len(outcome))
    return value, influence, np.ones(len(outcome)), {"first_stage_f": float(strength)}


def fit(y: np.ndarray, x: pd.DataFrame, seed: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """A boosted regression of ``y`` on ``x`` as a prediction function; probabilities when ``y`` is 0/1."""
    levels = np.unique(y)
    if len(levels) == 1:
        return lambda rows: np.full(len(rows), levels[0], dtype=float)
    if set(levels) <= {0, 1}:
        model = HistGradientBoostingClassifier(**BOOST, random_state=seed).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]
    return HistGradientBoostingRegressor(**BOOST, random_state=seed).fit(x, y).predict


def folds(groups: np.ndarray, seed: int):
    """Pairs (training rows, test rows) of a cross-fit that keeps ``groups`` (codes from 0) together."""
    clusters = int(groups.max()) + 1
    if clusters < _FOLDS:
        raise ValueError(f"{clusters} rows or clusters are too few for {_FOLDS} folds")
    if clusters == len(groups):
        return KFold(_FOLDS, shuffle=True, random_state=seed).split(groups)
    return GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(groups, groups=groups)


def arm_folds(t: np.ndarray, groups: np.ndarray, seed: int):
    """As `folds`; ValueError where control or treated is missing among the rows to train on."""
    for train, test in folds(groups, seed):
        for arm in (0, 1):
            if not (t[train] == arm).any():
                raise ValueError(
                    f"all {int((t == arm).sum())} rows of the {ARMS[arm]} fall into one of {_FOLDS} folds: too few rows or clusters"
                )
        yield train, test


def _imbalance(x, t, weights):
    """Largest absolute standardised mean difference over the columns, with ``weights``."""
    if x.shape[1] == 0:
        return 0.0
    arms = [np.average(x[t == arm], axis=0, weights=weights[t == arm]) for arm in (0, 1)]
    scale = np.sqrt((x[t == 1].var() + x[t == 0].var()) / 2).replace(0, 1).to_numpy()
    return float(np.abs((arms[1] - arms[0]) / scale).max())
