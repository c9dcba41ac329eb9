"""Effects by machine learning of other packages: averages by EconML, effects of single rows by CausalML and EconML.

Nuisances are boosted (`estimators.fit`) and cross-fitted in folds that keep clusters together; every average has an influence
for each row, so that its error can be clustered, which the packages' own errors cannot. Both packages load slowly
and are imported where they are used.
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
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causal_lib.extras import naming_extra
from causal_lib.inference.estimators import (
    BOOST,
    arm_folds,
    check_moves,
    check_overlap,
    clustered_covariance,
    dr_scores,
    fit,
    folds,
    instrumented,
    overlap,
    propensities,
)

_TREES = 200
_DRAWS = 2000
_ROWS_A_TERM = 20
_FINAL = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 200}


def linear_dml(y, t, x, groups, seed, *, arms=True) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Average of EconML's LinearDML, its effect quadratic in the numeric columns; arguments and value as in `estimators.PLAIN`.

    Where there are fewer than 20 rows for each term of the quadratic, the effect is linear in the columns. Without ``arms`` the
    treatment is a number, and the effect that of one unit.
    """
    from econml.dml import LinearDML

    _need_columns(x, "linear_dml", "'difference'" if arms else "'regression'")
    # The effect may bend with numbers; indicators (whose squares say nothing new) are controls only, if there are numbers.
    number = (x.nunique() > 2).to_numpy()
    varies = number if number.any() else ~number
    vary = x.loc[:, varies]
    vary = ((vary - vary.mean()) / vary.std().replace(0, 1)).to_numpy()
    square = PolynomialFeatures(2, include_bias=False)
    bends = number.any() and len(y) >= _ROWS_A_TERM * square.fit(vary[:1]).n_output_features_
    model = LinearDML(
        model_y=_boosted(seed, classes=_zero_one(y)),
        model_t=_boosted(seed, classes=arms),
        featurizer=square if bends else None,  # of the effect alone: the boosted models see every column once
        discrete_treatment=arms,
        discrete_outcome=_zero_one(y),
        cv=list(arm_folds(t, groups, seed) if arms else folds(groups, seed)),
        random_state=seed,
    )
    model.fit(y, t, X=vary, W=x.loc[:, ~varies].to_numpy() if not varies.all() else None, cache_values=True)
    values = np.ravel(model.effect(vary))
    # Influence of the average: that of the final regression's coefficients at the mean row, plus the rows' own spread.
    # EconML's own interval knows no clusters.
    y_left, t_left, rows, _ = model.residuals_
    _same_order(rows, vary)
    y_left, t_left = np.ravel(y_left), np.ravel(t_left)
    moves = {} if arms else check_moves(t_left, t)
    basis = np.column_stack([np.ones(len(y)), square.fit_transform(vary) if bends else vary])
    bread = np.linalg.pinv((basis * t_left[:, None] ** 2).T @ basis / len(y))
    # What the regression leaves is too small where it is led by few rows: divided by 1 - leverage, as HC3 does.
    leverage = ((basis @ bread) * basis).sum(axis=1) * t_left**2 / len(y)
    influence = (
        (basis @ bread @ basis.mean(axis=0)) * t_left * (y_left - t_left * values) / np.maximum(1 - leverage, 1e-6)
    )
    return values.mean(), influence + values - values.mean(), np.ones(len(y)), moves


def causal_forest(y, t, x, groups, seed, *, arms=True) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Average of doubly robust scores around the effects that EconML's causal forest predicts for rows it did not see.

    The forest of CausalForestDML (honest trees on cross-fitted residuals), grown once without each fold: its own out-of-bag
    predictions know no clusters. Without ``arms`` the treatment is a number whose effect is linear in it, the scores
    τ(x) + (t - E[t | x]) (y - E[y | x] - τ(x) (t - E[t | x])) / Var(t | x), and the effect that of one unit.

    Source: Athey, Tibshirani and Wager 2019; Athey and Wager 2019 (scores).
    """
    from econml.grf import CausalForest

    _need_columns(x, "causal_forest", "'difference'" if arms else "'regression'")
    chances = propensities(t, x, groups, seed) if arms else None
    t_left = t - (chances[:, 1] if arms else _held_out(t, x, groups, seed))
    expected = _held_out(y, x, groups, seed)
    y_left, varies = y - expected, np.empty(len(y))
    wide = x.to_numpy()
    for train, test in folds(groups, seed):
        forest = CausalForest(n_estimators=_TREES // 2, inference=False, random_state=seed)
        varies[test] = np.ravel(forest.fit(wide[train], t_left[train], y_left[train]).predict(wide[test]))
    if arms:
        means = np.column_stack([expected - chances[:, 1] * varies, expected + chances[:, 0] * varies])
        score, weights = dr_scores(y, t, chances, means)
        return score.mean(), score - score.mean(), weights, overlap(chances, x, t, weights)
    spread = np.empty(len(y))
    for train, test in folds(groups, seed):  # log link: a variance is positive
        model = HistGradientBoostingRegressor(**BOOST, loss="poisson", random_state=seed)
        spread[test] = model.fit(wide[train], t_left[train] ** 2).predict(wide[test])
    moves = check_moves(t_left, t, spread)
    score = varies + t_left / spread * (y_left - varies * t_left)
    return score.mean(), score - score.mean(), np.ones(len(y)), moves


def dr_learner(y, t, x, groups, seed) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """Average of the scores that EconML's DRLearner regresses; arguments and value as in `estimators.PLAIN`.

    'aipw' with one boosted outcome model of the columns and the treatment instead of one for each arm; the propensities are
    the same, so that the two differ little. Source: Kennedy 2023.
    """
    from econml.dr import DRLearner

    _need_columns(x, "dr_learner", "'difference'")
    wide, splits = x.to_numpy(), list(arm_folds(t, groups, seed))
    model = DRLearner(
        model_propensity=_boosted(seed, classes=True),
        model_regression=_boosted(seed, classes=_zero_one(y)),
        model_final=_Kept(),
        discrete_outcome=_zero_one(y),
        cv=splits,
        random_state=seed,
    )
    kept = model.fit(y, t, X=wide).model_cate(T=1)
    _same_order(kept.rows_, wide)
    chances = np.empty((len(y), 2))
    for (_, test), fitted in zip(splits, model.models_propensity[0], strict=True):
        chances[test] = fitted.predict_proba(wide[test])[:, :2]
    check_overlap(chances, others=t.max() > 1)
    weights = (t == 1) / chances[:, 1] + (t == 0) / chances[:, 0]
    score = np.ravel(kept.scores_)
    return score.mean(), score - score.mean(), weights, overlap(chances, x, t, weights)


def orthogonal_iv(y, t, z, x, groups, seed) -> tuple[float, np.ndarray, np.ndarray, dict]:
    """EconML's OrthoIV with a constant effect of one unit: `wald` after boosted instead of linear controls.

    Raises ValueError for a weak instrument, as `wald` does, and without a column to control for.

    Source: Chernozhukov and others 2018, section 4.2.
    """
    from econml.iv.dml import OrthoIV

    _need_columns(x, "orthogonal_iv", "'wald'", kind="conditioning")
    named = {"discrete_outcome": y, "discrete_treatment": t, "discrete_instrument": z}
    model = OrthoIV(
        model_y_xw=_boosted(seed, classes=_zero_one(y)),
        model_t_xw=_boosted(seed, classes=_zero_one(t)),
        model_z_xw=_boosted(seed, classes=_zero_one(z)),
        cv=list(folds(groups, seed)),
        random_state=seed,
        **{name: _zero_one(values) for name, values in named.items()},
    )
    model.fit(y, t, Z=z, X=None, W=x.to_numpy(), cache_values=True)
    y_left, t_left, z_left, _, rows, _ = model.residuals_
    _same_order(rows, x.to_numpy())
    return instrumented(*(np.ravel(left) for left in (y_left, t_left, z_left)))


@dataclass(frozen=True)
class Learned:
    """A fitted model of effects: ``predict(x)`` gives (n,), ``interval(x, level)`` pointwise ends (n,) and (n,) where it has them."""

    predict: Callable[[pd.DataFrame], np.ndarray]
    interval: Callable[[pd.DataFrame, float], tuple[np.ndarray, np.ndarray]] | None = None


@dataclass(frozen=True, eq=False)
class Projection:
    """The best approximation of effects by a quadratic in the columns (linear where rows are few), by least squares on DR scores.

    Attributes
    ----------
    expand : from rows (m, columns) to terms (m, k), the constant first.
    coefficients (k,), covariance (k, k) : of the regression, clustered.

    Source: Semenova and Chernozhukov 2021.
    """

    expand: Callable[[np.ndarray], np.ndarray]
    coefficients: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, score: np.ndarray, x: pd.DataFrame, groups: np.ndarray) -> "Projection":
        """Fitted to ``score`` (n,) at ``x`` (n, columns), the clusters of the rows in ``groups`` (n,).

        Raises ValueError for under 20 clusters a term of the linear approximation.
        """
        scaler, clusters = StandardScaler().fit(x.to_numpy()), int(groups.max()) + 1
        square = PolynomialFeatures(2).fit(np.zeros((1, x.shape[1])))
        linear = PolynomialFeatures(1).fit(np.zeros((1, x.shape[1])))
        if clusters < _ROWS_A_TERM * linear.n_output_features_:
            raise ValueError(f"{clusters} rows or clusters are too few to project effects on {x.shape[1]} columns")
        terms = square if clusters >= _ROWS_A_TERM * square.n_output_features_ else linear

        def expand(rows):
            return terms.transform(scaler.transform(rows))

        basis = expand(x.to_numpy())
        bread = np.linalg.pinv(basis.T @ basis / len(basis))  # the square of an indicator repeats it
        found = bread @ basis.T @ score / len(basis)
        influence = (basis * (score - basis @ found)[:, None]) @ bread
        return cls(expand, found, clustered_covariance(influence, groups))

    def interval(self, x: pd.DataFrame, level: float, *, simultaneous: bool = False, seed: int = 0) -> pd.DataFrame:
        """Value, low and high of each row of ``x``; ``simultaneous``: all of them hold at once with chance ``level``.

        Simultaneous by the Gaussian multiplier bootstrap of the largest deviation among the rows, whose draws, given the data,
        are normal with the clustered covariance and are drawn so.
        """
        basis = self.expand(x.to_numpy())
        value, error = basis @ self.coefficients, np.sqrt(((basis @ self.covariance) * basis).sum(axis=1))
        width = norm.ppf(0.5 + level / 2)
        if simultaneous:
            size, turn = np.linalg.eigh(self.covariance)  # it may be singular: no Cholesky factor
            root = turn * np.sqrt(np.maximum(size, 0))
            normal = np.random.default_rng(seed).standard_normal((_DRAWS, len(size)))
            reach, scaled = np.zeros(_DRAWS), basis @ root / error[:, None]
            for start in range(0, len(basis), 1000):
                reach = np.maximum(reach, np.abs(normal @ scaled[start : start + 1000].T).max(axis=1))
            width = np.quantile(reach, level)
        return pd.DataFrame(
            {"value": value, "low": value - width * error, "high": value + width * error}, index=x.index
        )


def final_model(seed: int) -> HistGradientBoostingRegressor:
    """The regression of noisy scores of effects on the columns: slower and coarser than that of outcomes."""
    return HistGradientBoostingRegressor(**_FINAL, random_state=seed)


def _meta(kind, y, t, x, groups, seed):
    """CausalML's S-, T-, X- or R-learner, boosted; X and R with our propensities, R's cross-fitted."""
    meta = causalml_part("meta")
    outcome, effect = _boosted(seed, classes=_zero_one(y)), final_model(seed)
    learner = getattr(meta, f"Base{kind}{'Classifier' if _zero_one(y) else 'Regressor'}")
    parts = {"learner": outcome} if kind in "ST" else {"outcome_learner": outcome, "effect_learner": effect}
    if kind == "X" and not _zero_one(y):
        names = ("control_outcome", "treatment_outcome", "control_effect", "treatment_effect")
        parts = {f"{name}_learner": outcome if "outcome" in name else effect for name in names}
    if kind == "R":
        parts["random_state"] = seed
    chances = propensities(t, x, groups, seed)[:, 1] if kind in "XR" else None
    with parallel_config(backend="sequential"):  # the R-learner would start a process for each core
        model = learner(**parts).fit(X=x.to_numpy(), treatment=t, y=y, p=chances)
    if kind != "X":
        return Learned(lambda rows: model.predict(rows.to_numpy())[:, 0])
    propensity = fit(t, x, seed)
    return Learned(lambda rows: model.predict(rows.to_numpy(), p=propensity(rows))[:, 0])


def _uplift_trees(forest, y, t, x, groups, seed):
    """CausalML's uplift tree or forest, split by the Kullback-Leibler divergence of the arms, honest."""
    if not _zero_one(y):
        raise ValueError("learners 'uplift_tree' and 'uplift_forest' need an outcome of 0 and 1; take another learner")
    tree = causalml_part("tree")
    how = {"control_name": "control", "min_samples_leaf": 50, "honesty": True, "random_state": seed, "max_depth": 5}
    named = np.where(t == 1, "treated", "control")
    if forest:
        many = tree.UpliftRandomForestClassifier(n_estimators=_TREES // 2, max_features=None, **how)
        many.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
        return Learned(lambda rows: np.asarray(many.predict(rows.to_numpy()))[:, 0])
    one = tree.UpliftTreeClassifier(**how)
    one.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
    return Learned(lambda rows: np.diff(one.predict(rows.to_numpy()))[:, 0])  # of control, of treated


def _forest(y, t, x, groups, seed):
    from econml.dml import CausalForestDML

    model = CausalForestDML(
        model_y=_boosted(seed, classes=_zero_one(y)),
        model_t=_boosted(seed, classes=True),
        discrete_treatment=True,
        discrete_outcome=_zero_one(y),
        cv=list(arm_folds(t, groups, seed)),
        n_estimators=_TREES,
        random_state=seed,
    ).fit(y, t, X=x.to_numpy())

    def interval(rows, level):
        return tuple(np.ravel(end) for end in model.effect_interval(rows.to_numpy(), alpha=1 - level))

    return Learned(lambda rows: np.ravel(model.effect(rows.to_numpy())), interval)


LEARNERS: dict[str, Callable] = {
    **{kind.lower(): partial(_meta, kind) for kind in "STXR"},
    "uplift_tree": partial(_uplift_trees, False),
    "uplift_forest": partial(_uplift_trees, True),
    "causal_forest": _forest,
}
"""Learner name -> function of y, t, x, groups, seed that gives a `Learned`; 'dr' is `UpliftModel`'s own."""


class _Kept(BaseEstimator):
    """What DRLearner hands to its last regression."""

    def fit(self, rows, scores):
        self.rows_, self.scores_ = rows, scores
        return self

    def predict(self, rows):
        return np.full(len(rows), np.mean(self.scores_))


class _Classifier(HistGradientBoostingClassifier):
    """Takes events as a column too: EconML's DRLearner hands them over so, which scikit-learn warns of."""

    def fit(self, x, y, **how):
        return super().fit(x, np.ravel(y), **how)


def _boosted(seed, *, classes):
    return (_Classifier if classes else HistGradientBoostingRegressor)(**BOOST, random_state=seed)


def _zero_one(values):
    return set(np.unique(values)) <= {0, 1}


def _held_out(values, x, groups, seed):
    """(n,) prediction of ``values`` from ``x``, by models that did not see the row's fold."""
    found = np.empty(len(values))
    for train, test in folds(groups, seed):
        found[test] = fit(values[train], x.iloc[train], seed)(x.iloc[test])
    return found


def _need_columns(x, name, other, kind="adjustment"):
    if x.shape[1] == 0:
        raise ValueError(f"estimator {name!r} needs at least one {kind} column; use {other} without any")


def _same_order(rows, wide):
    if not np.array_equal(rows, wide):
        raise RuntimeError("EconML returned its residuals in another order than the rows")


def causalml_part(name: str) -> ModuleType:
    """The module ``causalml.inference.<name>``; importing it changes neither the style of figures nor what is on the screen."""
    # A part of it looks for an optional citation package and calls its absence an error, on the screen of whoever asked;
    # another sets matplotlib's style for everybody.
    logging.getLogger("duecredit").addHandler(logging.NullHandler())
    with rc_context(), naming_extra():
        return import_module(f"causalml.inference.{name}")
