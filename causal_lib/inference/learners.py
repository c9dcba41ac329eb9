"""Learners of effects that vary between rows, our own and those of CausalML and EconML.

Both packages load slowly and are imported where they are used. `uplift.UpliftModel` trains and
judges the learners.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType

import numpy as np
import pandas as pd
from joblib import parallel_config
from matplotlib import rc_context
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causal_lib.extras import naming_extra
from causal_lib.inference.estimators import ROWS_PER_TERM
from causal_lib.inference.least_squares import LeastSquares
from causal_lib.inference.models import (
    FINE,
    FINE_TREES,
    Fitting,
    arm_folds,
    fit,
    is_zero_one,
)
from causal_lib.inference.nuisances import clustered_covariance, propensities

_TREES = 200
BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}
_FINAL = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 200}
_COARSE = {
    "max_iter": 100,
    "learning_rate": 0.05,
    "max_leaf_nodes": 4,
    "early_stopping": False,  # the tenth of the rows that it watches is too noisy to stop by
}
_TREES_OF_EFFECT = 100  # with small leaves, for what an arm's outcome model imputes
_LEAVES = 20  # of a coarse tree every leaf holds at least one in so many rows
_PENALTIES = np.logspace(-5, 2, 15)  # of a ridge regression on standardised columns, per row


@dataclass(frozen=True, eq=False)
class Rows:
    """What learners see of n rows.

    Attributes
    ----------
    y : (n,) outcome.
    t : (n,) treatment: 0 the control, 1 the treated, 2 other levels.
    x : (n, k) adjustment columns as floats.
    groups : (n,) cluster of each row, codes from 0.
    seed : of folds and models.
    score : (n,) doubly robust scores, for the learners that begin with 'dr'.
    chances : (n, 2) known propensities of control and treated; None where they are estimated.
    roles : of the k columns, with shares, as of `pretrained.roles.roles_of`; None without a graph.
    """

    y: np.ndarray
    t: np.ndarray
    x: pd.DataFrame
    groups: np.ndarray
    seed: int
    score: np.ndarray | None = None
    chances: np.ndarray | None = None
    roles: list[tuple[tuple[str, ...], float]] | None = None

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows at these positions, their clusters coded anew."""
        return Rows(
            self.y[rows],
            self.t[rows],
            self.x.iloc[rows],
            pd.factorize(self.groups[rows])[0],
            self.seed,
            None if self.score is None else self.score[rows],
            None if self.chances is None else self.chances[rows],
            self.roles,
        )

    def of_two_arms(self) -> "Rows":
        """The rows of control and treated."""
        return self if self.t.max() < 2 else self.take(np.flatnonzero(self.t < 2))


@dataclass(frozen=True)
class Learned:
    """A fitted model of effects.

    Attributes
    ----------
    predict : x -> (n,) effects.
    interval : (x, level) -> pointwise ends (n,) and (n,); None where the model has none.
    note : what a reader should know of these predictions.
    outcomes : x -> (n, 2) expected outcomes without and with treatment; None where the model has
        none of its own.
    """

    predict: Callable[[pd.DataFrame], np.ndarray]
    interval: Callable[[pd.DataFrame, float], tuple[np.ndarray, np.ndarray]] | None = None
    note: str = ""
    outcomes: Callable[[pd.DataFrame], np.ndarray] | None = None

    def times(self, unit: float) -> "Learned":
        """The same effects in other units of the outcome."""

        def interval(x, level):
            low, high = self.interval(x, level)
            return unit * low, unit * high

        return Learned(
            lambda x: unit * self.predict(x),
            None if self.interval is None else interval,
            self.note,
            None if self.outcomes is None else lambda x: unit * self.outcomes(x),
        )


@dataclass(frozen=True, eq=False)
class Projection:
    """The best quadratic approximation of effects, by least squares on doubly robust scores.

    It is linear where there are under 20 clusters for each quadratic term.

    Attributes
    ----------
    expand : from rows (m, columns) to terms (m, k).
    coefficients (k + 1,), covariance (k + 1, k + 1) : of the regression, the constant first,
        clustered.
    rank : terms that are linearly independent on the training rows; those beyond it, such as the
        square of an indicator, change no value.

    Source: Semenova and Chernozhukov 2021.
    """

    expand: Callable[[np.ndarray], np.ndarray]
    coefficients: np.ndarray
    covariance: np.ndarray
    rank: int

    @classmethod
    def of(cls, score: np.ndarray, x: pd.DataFrame, groups: np.ndarray) -> "Projection":
        """Fitted to ``score`` (n,) at ``x`` (n, columns), clustered by ``groups`` (n,).

        Raises ValueError for under 20 clusters a term of the linear approximation.
        """
        scaler = StandardScaler().fit(x.to_numpy())
        clusters = int(groups.max()) + 1
        square = PolynomialFeatures(2, include_bias=False).fit(np.zeros((1, x.shape[1])))
        linear = PolynomialFeatures(1, include_bias=False).fit(np.zeros((1, x.shape[1])))
        if clusters < ROWS_PER_TERM * (linear.n_output_features_ + 1):
            raise ValueError(
                f"{clusters} rows or clusters are too few to project effects on "
                f"{x.shape[1]} columns"
            )
        enough = clusters >= ROWS_PER_TERM * (square.n_output_features_ + 1)
        terms = square if enough else linear

        def expand(rows):
            return terms.transform(scaler.transform(rows))

        line = LeastSquares.of(expand(x.to_numpy()), score)
        covariance = clustered_covariance(line.influences, groups)
        return cls(expand, line.all_coefficients, covariance, line.rank)

    def interval(self, x: pd.DataFrame, level: float) -> pd.DataFrame:
        """Value, low and high of each row of ``x``, each row by itself."""
        basis = np.column_stack([np.ones(len(x)), self.expand(x.to_numpy())])
        value = basis @ self.coefficients
        error = np.sqrt(((basis @ self.covariance) * basis).sum(axis=1))
        half = norm.ppf(0.5 + level / 2) * error
        ends = {"value": value, "low": value - half, "high": value + half}
        return pd.DataFrame(ends, index=x.index)


class _ColumnClassifier(HistGradientBoostingClassifier):
    """Takes events as a column too, as EconML gives them; scikit-learn would warn."""

    def fit(self, x, y, **how):
        return super().fit(x, np.ravel(y), **how)


def boosted(
    seed: int, *, classes: bool
) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    """Boosted trees, not yet fitted: for packages that fit their models themselves."""
    kind = _ColumnClassifier if classes else HistGradientBoostingRegressor
    return kind(**BOOST, random_state=seed)


def final_model(seed: int) -> HistGradientBoostingRegressor:
    """The regression of noisy scores: smaller steps and larger leaves than for outcomes."""
    return HistGradientBoostingRegressor(**_FINAL, random_state=seed)


def _dr(rows):
    """Boosted regression of the scores, for effects that differ much."""
    return Learned(final_model(rows.seed).fit(rows.x, rows.score).predict)


def _dr_coarse(rows):
    """Boosted regression of the scores by small trees, for effects that differ little."""
    model = HistGradientBoostingRegressor(**_coarse(rows, least=200))
    return Learned(model.fit(rows.x, rows.score).predict)


def _dr_linear(rows):
    """Ridge regression of the scores."""
    return Learned(_ridge(len(rows.score)).fit(rows.x, rows.score).predict)


def _t_linear(rows):
    """Difference of two regressions, one for each arm: logistic for events, else ridge."""

    def regression(of_arm):
        if is_zero_one(of_arm.y):
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(of_arm.x, of_arm.y)
            return lambda x: model.predict_proba(x)[:, 1]
        return _ridge(len(of_arm.y)).fit(of_arm.x, of_arm.y).predict

    return Learned(_difference(rows, regression))


def _t_coarse(rows):
    """Difference of two boosted regressions by small trees, one for each arm."""

    def regression(of_arm):
        how = _coarse(of_arm, least=50)
        if is_zero_one(of_arm.y):
            model = HistGradientBoostingClassifier(**how).fit(of_arm.x, of_arm.y)
            return lambda x: model.predict_proba(x)[:, 1]
        return HistGradientBoostingRegressor(**how).fit(of_arm.x, of_arm.y).predict

    return Learned(_difference(rows, regression))


def _x_fine(rows):
    """X-learner of trees with small leaves, for outcomes that the columns explain well.

    Each arm's outcome model tells the other arm what it missed; what was observed less that is a
    row's imputed effect. Künzel and others 2019.
    """
    rows = rows.of_two_arms()
    arms = [rows.take(np.flatnonzero(rows.t == arm)) for arm in (0, 1)]

    def fitted(trees, x, values):
        model = HistGradientBoostingRegressor(max_iter=trees, **FINE, random_state=rows.seed)
        return model.fit(x, values).predict

    control, treated = (fitted(FINE_TREES, arm.x, arm.y) for arm in arms)
    of_control = fitted(_TREES_OF_EFFECT, arms[0].x, treated(arms[0].x) - arms[0].y)
    of_treated = fitted(_TREES_OF_EFFECT, arms[1].x, arms[1].y - control(arms[1].x))
    propensity = fit(rows.t, rows.x, rows.seed, groups=rows.groups)

    def predict(x):
        chance = propensity(x)
        return chance * of_control(x) + (1 - chance) * of_treated(x)

    return Learned(predict)


def _difference(rows, regression):
    """x -> (m,) prediction of the treated less that of the control, each by its own model."""
    models = []
    for arm in (1, 0):
        of_arm = rows.take(np.flatnonzero(rows.t == arm))
        level = of_arm.y[0]
        constant = (of_arm.y == level).all()
        models.append((lambda x, level=level: level) if constant else regression(of_arm))
    treated, control = models
    return lambda x: treated(x) - control(x) + np.zeros(len(x))


def _ridge(n):
    """Ridge regression on standardised columns, its penalty by leave-one-out errors."""
    return make_pipeline(StandardScaler(), RidgeCV(n * _PENALTIES))


def _coarse(rows, least):
    """Settings of boosting by small trees, sized by the rows."""
    share = len(rows.y) // _LEAVES
    return _COARSE | {"min_samples_leaf": max(least, share), "random_state": rows.seed}


def _meta(kind, rows):
    """CausalML's S-, T-, X- or R-learner, boosted; X and R get our propensities, R out of fold."""
    rows = rows.of_two_arms()
    y = rows.y
    t = rows.t
    x = rows.x
    seed = rows.seed
    meta = causalml_part("meta")
    outcome = boosted(seed, classes=is_zero_one(y))
    effect = final_model(seed)
    learner = getattr(meta, f"Base{kind}{'Classifier' if is_zero_one(y) else 'Regressor'}")
    parts = {"learner": outcome}
    if kind in "XR":
        parts = {"outcome_learner": outcome, "effect_learner": effect}
    if kind == "X" and not is_zero_one(y):
        names = ("control_outcome", "treatment_outcome", "control_effect", "treatment_effect")
        parts = {f"{name}_learner": outcome if "outcome" in name else effect for name in names}
    if kind == "R":
        parts["random_state"] = seed
    chances = None
    if kind in "XR":
        known = rows.chances
        chances = (propensities(t, x, rows.groups, Fitting(seed=seed)) if known is None else known)[
            :, 1
        ]
    with parallel_config(backend="sequential"):  # the R-learner would start a process for each core
        model = learner(**parts).fit(X=x.to_numpy(), treatment=t, y=y, p=chances)
    if kind != "X":
        return Learned(lambda new: model.predict(new.to_numpy())[:, 0])
    propensity = fit(t, x, seed)
    return Learned(lambda new: model.predict(new.to_numpy(), p=_inside(propensity(new)))[:, 0])


def _inside(chances):
    """Propensities of new rows, 0 and 1 moved inside by 1e-6: CausalML refuses the ends. The
    X-learner weighs two predictions by them and divides by none, so this changes nothing visible.
    """
    return np.clip(chances, 1e-6, 1 - 1e-6)


def _uplift_trees(forest, rows):
    """CausalML's honest uplift tree or forest, split by the arms' Kullback-Leibler divergence."""
    rows = rows.of_two_arms()
    y = rows.y
    t = rows.t
    x = rows.x
    if not is_zero_one(y):
        raise ValueError(
            "learners 'uplift_tree' and 'uplift_forest' need an outcome of 0 and 1; "
            "take another learner"
        )
    tree = causalml_part("tree")
    how = {
        "control_name": "control",
        "min_samples_leaf": 50,
        "honesty": True,
        "random_state": rows.seed,
        "max_depth": 5,
    }
    named = np.where(t == 1, "treated", "control")
    if forest:
        many = tree.UpliftRandomForestClassifier(n_estimators=_TREES // 2, max_features=None, **how)
        many.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
        return Learned(lambda new: np.asarray(many.predict(new.to_numpy()))[:, 0])
    one = tree.UpliftTreeClassifier(**how)
    one.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
    # its predictions have two columns: control, treated
    return Learned(lambda new: np.diff(one.predict(new.to_numpy()))[:, 0])


def _forest(rows):
    """EconML's causal forest, on one thread: sums over several depend on who finishes first."""
    from econml.dml import CausalForestDML

    rows = rows.of_two_arms()
    y = rows.y
    t = rows.t
    x = rows.x
    seed = rows.seed
    model = CausalForestDML(
        model_y=boosted(seed, classes=is_zero_one(y)),
        model_t=boosted(seed, classes=True),
        discrete_treatment=True,
        discrete_outcome=is_zero_one(y),
        cv=list(arm_folds(t, rows.groups, seed)),
        n_estimators=_TREES,
        random_state=seed,
        n_jobs=1,
    ).fit(y, t, X=x.to_numpy())

    def interval(new, level):
        return tuple(
            np.ravel(end) for end in model.effect_interval(new.to_numpy(), alpha=1 - level)
        )

    return Learned(lambda new: np.ravel(model.effect(new.to_numpy())), interval)


def _pretrained(rows):
    """Small learners weighed by networks that were trained on random tables with known effects."""
    rows = rows.of_two_arms()
    if np.ptp(rows.y) == 0:
        return Learned(lambda new: np.zeros(len(new)))
    with naming_extra():
        learner = import_module("causal_lib.inference.pretrained.learner")
    known = None if rows.chances is None else rows.chances[:, 1]
    fitted = learner.fit(
        rows.y, rows.t, rows.x.to_numpy(), rows.groups, rows.seed, known, roles=rows.roles
    )
    events = is_zero_one(rows.y)

    def outcomes(new):
        found = fitted.answer(new.to_numpy()).outcomes
        return found.clip(0, 1) if events else found

    return Learned(
        lambda new: fitted.answer(new.to_numpy()).effects,
        lambda new, level: fitted.interval(new.to_numpy(), level),
        fitted.note,
        outcomes,
    )


LEARNERS: dict[str, Callable[[Rows], Learned]] = {
    "dr": _dr,
    "dr_linear": _dr_linear,
    "dr_coarse": _dr_coarse,
    "t_linear": _t_linear,
    "t_coarse": _t_coarse,
    "x_fine": _x_fine,
    **{kind.lower(): partial(_meta, kind) for kind in "STXR"},
    "uplift_tree": partial(_uplift_trees, False),
    "uplift_forest": partial(_uplift_trees, True),
    "causal_forest": _forest,
    "pretrained": _pretrained,
}
"""Learner name -> function of `Rows` that gives a `Learned`."""

CANDIDATES = ("dr_linear", "t_linear", "dr_coarse", "t_coarse")
"""The learners that `UpliftModel.train` weighs by default, beside the average effect.

Flexible ones ('dr', those of CausalML) are not among them: on simulated campaigns of weak
differences they made the ranking worse, and an answer should not depend on an optional package.
"""

FINE_CANDIDATES = ("x_fine",)
"""Those that it weighs too where the outcome is explained well (see `explained`)."""


def explained(y: np.ndarray, t: np.ndarray, means: np.ndarray) -> float:
    """Share of the variance of ``y`` (n,) within control and treated that held-out ``means`` (n, 2)
    explain; 0 where there is none.
    """
    whole = 0.0
    left = 0.0
    for arm in (0, 1):
        of_arm = t == arm
        whole += ((y[of_arm] - y[of_arm].mean()) ** 2).sum()
        left += ((y[of_arm] - means[of_arm, arm]) ** 2).sum()
    return float(1 - left / whole) if whole > 0 else 0.0


def causalml_part(name: str) -> ModuleType:
    """The module ``causalml.inference.<name>``, without its effects on matplotlib and logging."""
    # One part logs the absence of an optional citation package as an error; another sets
    # matplotlib's style globally.
    logging.getLogger("duecredit").addHandler(logging.NullHandler())
    with rc_context(), naming_extra():
        return import_module(f"causalml.inference.{name}")
