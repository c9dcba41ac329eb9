"""Average effect of a binary treatment: one call, several estimators, an interval and the reasons to doubt it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import PolynomialFeatures

from causal_lib.data.schema import check_binary, check_frame
from causal_lib.inference.identification import Estimand

_FOLDS = 5
_MIN_OVERLAP = 0.01  # a propensity beyond [0.01, 0.99] asks one row to speak for a hundred
_MAX_OUTSIDE = 0.01


class NoOverlapError(ValueError):
    """Treated and untreated rows cannot be compared: too many have a propensity near 0 or 1."""


@dataclass(frozen=True)
class Effect:
    """An average effect with its interval and diagnostics; prints as a sentence.

    Attributes
    ----------
    value, standard_error : in units of the outcome.
    low, high : the 95% interval.
    effective_sample_size : (Σw)²/Σw² of the rows' weights (all rows for estimators without weights).
    diagnostics : rows, clusters, smallest and largest propensity, largest standardised mean difference before and after
        weighting.
    """

    treatment: str
    outcome: str
    estimator: str
    adjustment: tuple[str, ...]
    value: float
    standard_error: float
    effective_sample_size: float
    diagnostics: dict = field(default_factory=dict)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The normal interval of ``level`` in (0, 1)."""
        half = norm.ppf(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.interval()[1]

    def covers(self, truth: float, level: float = 0.95) -> bool:
        """Whether the interval of ``level`` holds ``truth``."""
        low, high = self.interval(level)
        return bool(low <= truth <= high)

    def to_dict(self) -> dict:
        """The effect as JSON types."""
        names = ("treatment", "outcome", "estimator", "adjustment", "value", "low", "high", "effective_sample_size")
        return {name: getattr(self, name) for name in names} | {"diagnostics": self.diagnostics}

    def __repr__(self):
        given = f" given {', '.join(self.adjustment)}" if self.adjustment else ""
        return (
            f"effect of {self.treatment} on {self.outcome}{given} ({self.estimator}): {self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}], effective sample size {self.effective_sample_size:,.0f}"
        )


def effect(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    *,
    estimand: Estimand | None = None,
    adjustment: Sequence[str] | None = None,
    estimator: str = "aipw",
    cluster: str | None = None,
    seed: int = 0,
) -> Effect:
    """E[outcome | do(treatment=1)] - E[outcome | do(treatment=0)], averaged over the rows of ``frame``.

    Assumes that ``adjustment`` closes every back-door path, that each row could have had either treatment, and that
    rows (or clusters of rows) are independent.

    Parameters
    ----------
    frame : one row a unit; treatment 0/1, outcome numeric or 0/1, adjustment columns numbers or categories, no holes.
    estimand : from `identify`; its back-door set is adjusted for. Or ``adjustment``: the set itself (give one of both).
    estimator : 'difference' (of means, ignores the adjustment: the naive answer), 'aipw' (augmented inverse propensity
        weighting, 5-fold cross-fitted gradient boosting) or 'linear_dml' (EconML's LinearDML, effect quadratic in
        the numeric adjustment columns).
    cluster : column whose groups are kept together in folds and standard errors (a user's rows resemble each other).

    Raises
    ------
    NoOverlapError
        when over 1% of the rows have an estimated propensity outside [0.01, 0.99].
    ValueError
        for a treatment that is not binary, missing or infinite values, an unknown estimator, or an estimand that is not
        back-door.

    Source: Robins, Rotnitzky and Zhao 1994; Chernozhukov and others 2018.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    if (estimand is None) == (adjustment is None):
        raise ValueError(
            "give either an estimand (from identify) or an adjustment set (a list of columns, [] for none)"
        )
    if estimand is not None:
        if (estimand.treatment, estimand.outcome) != (treatment, outcome):
            raise ValueError(
                f"the estimand is of {estimand.treatment} on {estimand.outcome}, not of {treatment} on {outcome}"
            )
        if estimand.adjustment is None:
            raise ValueError(
                f"estimator {estimator!r} needs a back-door set; the estimand's strategy is {estimand.strategy}"
            )
        adjustment = estimand.adjustment
    adjustment = tuple(adjustment)
    if {treatment, outcome} & set(adjustment):
        raise ValueError(f"adjustment holds {', '.join(sorted({treatment, outcome} & set(adjustment)))} itself")
    columns = [treatment, outcome, *adjustment] + ([cluster] if cluster else [])
    check_frame(frame, columns, complete=True)
    t = check_binary(frame[treatment], name=f"treatment {treatment!r}")
    y = frame[outcome].to_numpy(dtype=float)
    x = design(frame, adjustment)
    groups = pd.factorize(frame[cluster])[0] if cluster else np.arange(len(frame))
    value, influence, weights, diagnostics = ESTIMATORS[estimator](y, t, x, groups, seed)
    sums = np.bincount(groups, influence)
    error = float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / len(y))
    size = float(weights.sum() ** 2 / (weights**2).sum())
    counts = {"rows": len(y), "clusters": len(sums), "treated": int(t.sum())}
    return Effect(treatment, outcome, estimator, adjustment, float(value), error, size, counts | diagnostics)


def design(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """``columns`` of ``frame`` as floats, categories as indicators less one (an (n, k) frame)."""
    if not len(columns):
        return pd.DataFrame(index=frame.index)
    return pd.get_dummies(frame[list(columns)], drop_first=True, dtype=float).astype(float)


def cross_fit(
    y: np.ndarray, t: np.ndarray, x: pd.DataFrame, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-of-fold propensity, E[y | x, 0] and E[y | x, 1], each (n,), by gradient boosting in 5 folds.

    Raises NoOverlapError, see `effect`.
    """
    propensity, without, treated = (np.empty(len(y)) for _ in range(3))
    for train, test in _folds(groups, seed):
        if x.shape[1] == 0:
            propensity[test] = t[train].mean()
            without[test], treated[test] = (y[train][t[train] == arm].mean() for arm in (0, 1))
            continue
        propensity[test] = _fit(t[train], x.iloc[train], seed)(x.iloc[test])
        for arm, out in ((0, without), (1, treated)):
            rows = train[t[train] == arm]
            out[test] = _fit(y[rows], x.iloc[rows], seed)(x.iloc[test])
    outside = (propensity < _MIN_OVERLAP) | (propensity > 1 - _MIN_OVERLAP)
    if outside.mean() > _MAX_OUTSIDE:
        raise NoOverlapError(
            f"no overlap: {outside.sum()} of {len(y)} rows have an estimated propensity outside "
            f"[{_MIN_OVERLAP}, {1 - _MIN_OVERLAP}]; restrict the question to rows that could have had either treatment"
        )
    return propensity, without, treated


def _difference(y, t, x, groups, seed):
    mean = [y[t == arm].mean() for arm in (0, 1)]
    share = t.mean()
    influence = t * (y - mean[1]) / share - (1 - t) * (y - mean[0]) / (1 - share)
    return mean[1] - mean[0], influence, np.ones(len(y)), {}


def _aipw(y, t, x, groups, seed):
    propensity, without, treated = cross_fit(y, t, x, groups, seed)
    weights = t / propensity + (1 - t) / (1 - propensity)
    score = treated - without + (2 * t - 1) * weights * (y - np.where(t == 1, treated, without))
    diagnostics = {
        "propensity_min": float(propensity.min()),
        "propensity_max": float(propensity.max()),
        "imbalance_before": _imbalance(x, t, np.ones(len(y))),
        "imbalance_after": _imbalance(x, t, weights),
    }
    return score.mean(), score - score.mean(), weights, diagnostics


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
        cv=list(_folds(groups, seed)),
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


ESTIMATORS: dict[str, Callable] = {"difference": _difference, "aipw": _aipw, "linear_dml": _linear_dml}
"""Estimator name -> function of y, t, x, groups, seed that gives value, influence (n,), weights (n,), diagnostics."""

_BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}


def _fit(y, x, seed):
    """A boosted regression of ``y`` on ``x`` as a prediction function; probabilities when ``y`` is 0/1."""
    levels = np.unique(y)
    if len(levels) == 1:
        return lambda rows: np.full(len(rows), levels[0], dtype=float)
    if set(levels) <= {0, 1}:
        model = HistGradientBoostingClassifier(**_BOOST, random_state=seed).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]
    return HistGradientBoostingRegressor(**_BOOST, random_state=seed).fit(x, y).predict


def _folds(groups, seed):
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
