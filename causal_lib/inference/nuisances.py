"""What estimators share: designs, folds, cross-fitted models, overlap, standard errors.

Treatments are codes: 0 the control, 1 the treated, 2 any other level of a treatment with more than
two. Rows of other levels are compared with nothing, but the average is over them too.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold

_FOLDS = 5
_MIN_OVERLAP = 0.01  # a propensity outside [0.01, 0.99] gives one row the weight of a hundred
_MAX_OUTSIDE = 0.01
ARMS = ("control", "treated")
BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}


class NoOverlapError(ValueError):
    """Treated and untreated rows cannot be compared: too many have a propensity near 0 or 1."""


def design(
    frame: pd.DataFrame, columns: Sequence[str], *, like: pd.Index | None = None
) -> pd.DataFrame:
    """``columns`` of ``frame`` as floats, categories as indicators less one (an (n, k) frame).

    ``like`` : the columns of the design that a model was trained on. New rows, which may lack some
    levels, get the same columns; a level that training lacked is coded as the one without an
    indicator.
    """
    if not len(columns):
        return pd.DataFrame(index=frame.index)
    if like is None:
        return pd.get_dummies(frame[list(columns)], drop_first=True, dtype=float).astype(float)
    return (
        pd.get_dummies(frame[list(columns)], dtype=float)
        .reindex(columns=like, fill_value=0.0)
        .astype(float)
    )


def standard_error(influence: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of an average with this ``influence`` (n,), clustered by ``groups`` (from 0).

    √(G/(G-1) Σ_g (Σ_{i in g} influence_i)²) / n for G groups.

    Raises ValueError for fewer than two groups.

    >>> standard_error(np.array([-1.0, 1.0]), np.array([0, 1]))
    1.0
    """
    sums = np.bincount(groups, influence)
    if len(sums) < 2:
        raise ValueError(
            f"{len(sums)} row or cluster is too few for a standard error; at least 2 are needed"
        )
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence))


def clustered_covariance(influence: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(k, k) covariance of k estimates with influences (n, k), as of `standard_error`."""
    sums = np.column_stack([np.bincount(groups, part) for part in influence.T])
    return sums.T @ sums * len(sums) / (len(sums) - 1) / len(influence) ** 2


def cross_fit(
    y: np.ndarray, t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold propensities of both arms (n, 2) and E[y | x, arm] (n, 2), boosted in 5 folds.

    Raises NoOverlapError, see `effects.effect`.
    """
    chances = propensities(t, x, groups, seed)
    means = np.empty((len(y), 2))
    for train, test in folds(groups, seed):
        for arm in (0, 1):
            rows = train[t[train] == arm]
            means[test, arm] = (
                fit(y[rows], x.iloc[rows], seed)(x.iloc[test]) if x.shape[1] else y[rows].mean()
            )
    return chances, means


def propensities(t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold propensities of control and treated (n, 2); multinomial with other levels.

    Raises NoOverlapError where too many lie near 0 or 1, ValueError where a fold has too few rows
    of a level.
    """
    chances = np.empty((len(t), 2))
    others = t.max() > 1
    for train, test in arm_folds(t, groups, seed):
        if x.shape[1] == 0:
            chances[test] = [(t[train] == arm).mean() for arm in (0, 1)]
        elif others:
            model = HistGradientBoostingClassifier(**BOOST, random_state=seed).fit(
                x.iloc[train], t[train]
            )
            chances[test] = model.predict_proba(x.iloc[test])[:, :2]
        else:
            treated = fit(t[train], x.iloc[train], seed)(x.iloc[test])
            chances[test] = np.column_stack([1 - treated, treated])
    check_overlap(chances, others=others)
    return chances


def check_overlap(chances: np.ndarray, *, others: bool = False) -> None:
    """Raise NoOverlapError for over 1% of propensities (n, 2) near 0; or 1, without ``others``."""
    outside = (chances < _MIN_OVERLAP) | ((chances > 1 - _MIN_OVERLAP) & (not others))
    way_out = "restrict the question to rows that could have had either treatment"
    if not others and outside[:, 1].mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: {outside[:, 1].sum()} of {len(chances)} rows have an estimated "
            "propensity outside "
            f"[{_MIN_OVERLAP}, {1 - _MIN_OVERLAP}]; {way_out}"
        )
    for arm, rows in enumerate(outside.T if others else ()):
        if rows.mean() > _MAX_OUTSIDE:
            raise NoOverlapError(
                f"no overlap: {rows.sum()} of {len(rows)} rows have an estimated propensity of "
                f"the {ARMS[arm]} below "
                f"{_MIN_OVERLAP}; {way_out}"
            )


def check_moves(left: np.ndarray, t: np.ndarray, variance: np.ndarray | None = None) -> dict:
    """Diagnostics: the share of a numeric treatment's variance that the adjustment columns leave.

    Raises NoOverlapError where it is below 1%, or where for over 1% of the rows ``variance`` (n,),
    the variance given the row's columns, is below 1% of the whole: rows alike in the columns are
    then alike in the treatment.
    """
    share = float(left.var() / t.var())
    way_out = "restrict the question to rows whose treatment could have been another"
    if share < _MIN_OVERLAP:
        raise NoOverlapError(
            f"no overlap: the adjustment columns explain {1 - share:.1%} of the "
            f"treatment; {way_out}"
        )
    fixed = np.zeros(1, dtype=bool) if variance is None else variance < _MIN_OVERLAP * t.var()
    if fixed.mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: for {fixed.sum()} of {len(t)} rows the adjustment columns leave the "
            "treatment under "
            f"{_MIN_OVERLAP:.0%} of its variance; {way_out}"
        )
    return {"treatment_left": share}


def inverse_propensities(t: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """(n,) one over the propensity (n, 2) of the row's own arm; 0 for rows of other levels."""
    return (t == 1) / chances[:, 1] + (t == 0) / chances[:, 0]


def dr_scores(
    y: np.ndarray, t: np.ndarray, chances: np.ndarray, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Doubly robust scores (n,), whose mean is the average effect, and weights (n,)."""
    weights = inverse_propensities(t, chances)
    sign = (t == 1).astype(int) - (t == 0)
    return means[:, 1] - means[:, 0] + sign * weights * (
        y - np.where(t == 1, means[:, 1], means[:, 0])
    ), weights


def overlap(chances: np.ndarray, x: pd.DataFrame, t: np.ndarray, weights: np.ndarray) -> dict:
    """Diagnostics: smallest and largest propensity, imbalance before and after weighting."""
    ends = {
        "propensity_min": float(chances[:, 1].min()),
        "propensity_max": float(chances[:, 1].max()),
    }
    control = {"control_propensity_min": float(chances[:, 0].min())} if t.max() > 1 else {}
    return ends | control | balance(x, t, weights)


def fit(y: np.ndarray, x: pd.DataFrame, seed: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """A boosted regression of ``y`` on ``x`` as a function; probabilities when ``y`` is 0/1."""
    levels = np.unique(y)
    if len(levels) == 1:
        return lambda rows: np.full(len(rows), levels[0], dtype=float)
    if is_zero_one(levels):
        model = HistGradientBoostingClassifier(**BOOST, random_state=seed).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]
    return HistGradientBoostingRegressor(**BOOST, random_state=seed).fit(x, y).predict


class _ColumnClassifier(HistGradientBoostingClassifier):
    """Takes events as a column too, as EconML's DRLearner gives them; scikit-learn would warn."""

    def fit(self, x, y, **how):
        return super().fit(x, np.ravel(y), **how)


def boosted(
    seed: int, *, classes: bool
) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    """The model of `fit`, not yet fitted: for packages that fit it themselves."""
    kind = _ColumnClassifier if classes else HistGradientBoostingRegressor
    return kind(**BOOST, random_state=seed)


def held_out(values: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int) -> np.ndarray:
    """(n,) prediction of ``values`` from ``x``, by models that did not see the row's fold."""
    found = np.empty(len(values))
    for train, test in folds(groups, seed):
        found[test] = fit(values[train], x.iloc[train], seed)(x.iloc[test])
    return found


def is_zero_one(values: np.ndarray) -> bool:
    """Whether only 0 and 1 occur."""
    return set(np.unique(values)) <= {0, 1}


def folds(groups: np.ndarray, seed: int):
    """Pairs (training rows, test rows) that keep ``groups`` (codes from 0) together."""
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
                    f"all {int((t == arm).sum())} rows of the {ARMS[arm]} fall into one of "
                    f"{_FOLDS} folds: too few rows or clusters"
                )
        yield train, test


def balance(x: pd.DataFrame, t: np.ndarray, weights: np.ndarray) -> dict:
    """Diagnostics: largest standardised mean difference, without and with ``weights`` (n,)."""
    return {
        "imbalance_before": _imbalance(x, t, np.ones(len(t))),
        "imbalance_after": _imbalance(x, t, weights),
    }


def _imbalance(x, t, weights):
    """Largest absolute standardised mean difference over the columns, with ``weights``."""
    if x.shape[1] == 0:
        return 0.0
    arms = [np.average(x[t == arm], axis=0, weights=weights[t == arm]) for arm in (0, 1)]
    scale = np.sqrt((x[t == 1].var() + x[t == 0].var()) / 2).replace(0, 1).to_numpy()
    return float(np.abs((arms[1] - arms[0]) / scale).max())
