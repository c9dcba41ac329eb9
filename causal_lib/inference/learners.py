"""Learners of effects that vary between rows: those of CausalML and EconML, with boosted outcomes.

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
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causal_lib.extras import naming_extra
from causal_lib.inference.estimators import ROWS_PER_TERM
from causal_lib.inference.models import Fitting, arm_folds, fit, is_zero_one
from causal_lib.inference.nuisances import clustered_covariance, propensities

_TREES = 200
BOOST = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}
_FINAL = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 200}


@dataclass(frozen=True)
class Learned:
    """A fitted model of effects.

    Attributes
    ----------
    predict : x -> (n,) effects.
    interval : (x, level) -> pointwise ends (n,) and (n,); None where the model has none.
    """

    predict: Callable[[pd.DataFrame], np.ndarray]
    interval: Callable[[pd.DataFrame, float], tuple[np.ndarray, np.ndarray]] | None = None


@dataclass(frozen=True, eq=False)
class Projection:
    """The best quadratic approximation of effects, by least squares on doubly robust scores.

    It is linear where there are under 20 clusters for each quadratic term.

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
        """Fitted to ``score`` (n,) at ``x`` (n, columns), clustered by ``groups`` (n,).

        Raises ValueError for under 20 clusters a term of the linear approximation.
        """
        scaler = StandardScaler().fit(x.to_numpy())
        clusters = int(groups.max()) + 1
        square = PolynomialFeatures(2).fit(np.zeros((1, x.shape[1])))
        linear = PolynomialFeatures(1).fit(np.zeros((1, x.shape[1])))
        if clusters < ROWS_PER_TERM * linear.n_output_features_:
            raise ValueError(
                f"{clusters} rows or clusters are too few to project effects on "
                f"{x.shape[1]} columns"
            )
        terms = square if clusters >= ROWS_PER_TERM * square.n_output_features_ else linear

        def expand(rows):
            return terms.transform(scaler.transform(rows))

        basis = expand(x.to_numpy())
        # no plain inverse: the square of an indicator repeats it
        bread = np.linalg.pinv(basis.T @ basis / len(basis))
        found = bread @ basis.T @ score / len(basis)
        influence = (basis * (score - basis @ found)[:, None]) @ bread
        return cls(expand, found, clustered_covariance(influence, groups))

    def interval(self, x: pd.DataFrame, level: float) -> pd.DataFrame:
        """Value, low and high of each row of ``x``, each row by itself."""
        basis = self.expand(x.to_numpy())
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


def _meta(kind, y, t, x, groups, seed):
    """CausalML's S-, T-, X- or R-learner, boosted; X and R get our propensities, R out of fold."""
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
    chances = propensities(t, x, groups, Fitting(seed=seed))[:, 1] if kind in "XR" else None
    with parallel_config(backend="sequential"):  # the R-learner would start a process for each core
        model = learner(**parts).fit(X=x.to_numpy(), treatment=t, y=y, p=chances)
    if kind != "X":
        return Learned(lambda rows: model.predict(rows.to_numpy())[:, 0])
    propensity = fit(t, x, seed)
    return Learned(lambda rows: model.predict(rows.to_numpy(), p=propensity(rows))[:, 0])


def _uplift_trees(forest, y, t, x, groups, seed):
    """CausalML's honest uplift tree or forest, split by the arms' Kullback-Leibler divergence."""
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
        "random_state": seed,
        "max_depth": 5,
    }
    named = np.where(t == 1, "treated", "control")
    if forest:
        many = tree.UpliftRandomForestClassifier(n_estimators=_TREES // 2, max_features=None, **how)
        many.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
        return Learned(lambda rows: np.asarray(many.predict(rows.to_numpy()))[:, 0])
    one = tree.UpliftTreeClassifier(**how)
    one.fit(X=x.to_numpy(), treatment=named, y=y.astype(int))
    # its predictions have two columns: control, treated
    return Learned(lambda rows: np.diff(one.predict(rows.to_numpy()))[:, 0])


def _forest(y, t, x, groups, seed):
    from econml.dml import CausalForestDML

    model = CausalForestDML(
        model_y=boosted(seed, classes=is_zero_one(y)),
        model_t=boosted(seed, classes=True),
        discrete_treatment=True,
        discrete_outcome=is_zero_one(y),
        cv=list(arm_folds(t, groups, seed)),
        n_estimators=_TREES,
        random_state=seed,
    ).fit(y, t, X=x.to_numpy())

    def interval(rows, level):
        return tuple(
            np.ravel(end) for end in model.effect_interval(rows.to_numpy(), alpha=1 - level)
        )

    return Learned(lambda rows: np.ravel(model.effect(rows.to_numpy())), interval)


LEARNERS: dict[str, Callable] = {
    **{kind.lower(): partial(_meta, kind) for kind in "STXR"},
    "uplift_tree": partial(_uplift_trees, False),
    "uplift_forest": partial(_uplift_trees, True),
    "causal_forest": _forest,
}
"""Learner name -> function of y, t, x, groups, seed that gives a `Learned`; 'dr' is `UpliftModel`'s
own.
"""


def causalml_part(name: str) -> ModuleType:
    """The module ``causalml.inference.<name>``, without its effects on matplotlib and logging."""
    # One part logs the absence of an optional citation package as an error; another sets
    # matplotlib's style globally.
    logging.getLogger("duecredit").addHandler(logging.NullHandler())
    with rc_context(), naming_extra():
        return import_module(f"causalml.inference.{name}")
