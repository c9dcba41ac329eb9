"""Estimators of an average effect: one function each, and their registry.

A function takes a `Sample` and gives an `Estimate`: the value and the influence of every row on it,
from which `effects.effect` takes errors that know clusters. To add an estimator, write the function
here and register it: the checks, the error texts and the table in `effect` follow.

Notation: y the outcome, t the treatment, x the adjustment columns, z the instrument, m the
mediators; e(x) = P(t = 1 | x) the propensity, μ_a(x) = E[y | x, t = a] the outcome of an arm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import PolynomialFeatures

from causal_lib.inference.nuisances import (
    BOOST,
    NoOverlapError,
    arm_folds,
    balance,
    boosted,
    check_moves,
    check_overlap,
    cross_fit,
    dr_scores,
    folds,
    held_out,
    inverse_propensities,
    is_zero_one,
    overlap,
    propensities,
)
from causal_lib.inference.nuisances import design as design  # its former place

_WEAK = 10  # F of the first stage below which an instrument is refused
_FOREST_TREES = 100
ROWS_PER_TERM = 20  # fewer rows for each term of a quadratic make it linear


@dataclass(frozen=True)
class Sample:
    """What estimators see of n rows.

    Attributes
    ----------
    y : (n,) outcome.
    t : (n,) treatment: 0 the control, 1 the treated, 2 other levels; or a number.
    x : (n, k) adjustment columns as floats; for an instrument, the columns it is conditioned on.
    groups : (n,) cluster of each row, codes from 0; None for estimators without cross-fitting.
    seed : of folds and boosted models.
    z : (n,) instrument; None where there is none.
    mediators : (n, m) front-door set; None where there is none.
    """

    y: np.ndarray
    t: np.ndarray
    x: pd.DataFrame
    groups: np.ndarray | None = None
    seed: int = 0
    z: np.ndarray | None = None
    mediators: pd.DataFrame | None = None


class Estimate(NamedTuple):
    """A value, the influence (n,) of every row on it, the weight (n,) of every row, diagnostics."""

    value: float
    influence: np.ndarray
    weights: np.ndarray
    diagnostics: dict


@dataclass(frozen=True)
class Estimator:
    """An estimator of an average effect and what it needs.

    Attributes
    ----------
    name : as in ``effect(estimator=)``.
    estimate : the effect of treatment 1 against 0.
    strategy : of the estimands that it serves: 'back-door', 'front-door' or 'instrument'.
    formula, right_when, prefer_when : a row of the table in `effect`.
    of_two_levels : whether it compares two of more than two levels.
    of_one_unit : the same estimator of the effect of one unit of a numeric treatment, or None.
    needs_columns : whether it needs at least one column to adjust for.
    """

    name: str
    estimate: Callable[[Sample], Estimate]
    strategy: str
    formula: str
    right_when: str
    prefer_when: str
    of_two_levels: bool = False
    of_one_unit: Callable[[Sample], Estimate] | None = None
    needs_columns: bool = False

    def __call__(self, sample: Sample) -> Estimate:
        """The estimate of the effect of 1 against 0. Raises as `effect` does."""
        return self.estimate(sample)


ESTIMATORS: dict[str, Estimator] = {}
"""Name -> `Estimator`. Among those that fit a question, the first is the default."""


def _estimator(name, strategy, formula, right_when, prefer_when, **about):
    def register(estimate):
        entry = Estimator(name, estimate, strategy, formula, right_when, prefer_when, **about)
        ESTIMATORS[name] = entry
        return estimate

    return register


def serving(strategy: str) -> list[str]:
    """Names of the estimators that serve a ``strategy``, the default first."""
    return [name for name, one in ESTIMATORS.items() if one.strategy == strategy]


def comparing_levels() -> list[str]:
    """Names of the estimators that compare two of more than two levels, the default first."""
    return [name for name, one in ESTIMATORS.items() if one.of_two_levels]


def of_one_unit() -> list[str]:
    """Names of the estimators of the effect of one unit, the default first."""
    return [name for name, one in ESTIMATORS.items() if one.of_one_unit]


def estimators_table() -> str:
    """The estimators as a Markdown table."""
    head = ["estimator", "estimates", "right when", "prefer it", "two of more levels", "one unit"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, one in ESTIMATORS.items():
        marks = ["yes" if one.of_two_levels else "", "yes" if one.of_one_unit else ""]
        cells = [name, one.formula, one.right_when, one.prefer_when, *marks]
        escaped = [cell.replace("|", r"\|") for cell in cells]
        lines.append("| " + " | ".join(escaped) + " |")
    return "\n".join(lines)


# ---- a back-door set -----------------------------------------------------------------------------


@_estimator(
    "aipw",
    "back-door",
    "mean of μ₁ - μ₀ + (t - e) / (e (1 - e)) (y - μ_t)",
    "e or μ is right",
    "by default",
    of_two_levels=True,
)
def augmented_inverse_propensity(sample: Sample) -> Estimate:
    """Augmented inverse propensity weighting (doubly robust), e and μ boosted and cross-fitted.

    The mean of μ₁(x) - μ₀(x) + t (y - μ₁(x)) / e(x) - (1 - t) (y - μ₀(x)) / (1 - e(x)). Consistent
    when the propensity or the outcome model is. When both are, no estimator has a smaller error in
    large samples. Prefer it unless there is a reason for another.
    Source: Robins, Rotnitzky and Zhao 1994; Chernozhukov and others 2018; levels, Cattaneo 2010.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    chances, means = cross_fit(y, t, x, sample.groups, sample.seed)
    score, weights = dr_scores(y, t, chances, means)
    diagnostics = overlap(chances, x, t, weights)
    return Estimate(score.mean(), score - score.mean(), weights, diagnostics)


@_estimator(
    "ipw",
    "back-door",
    "Σ w t y / Σ w t - Σ w (1 - t) y / Σ w (1 - t), w = 1 / P(t | x)",
    "e is right",
    "when the outcome is hard to model, or to see the weights at work",
    of_two_levels=True,
)
def inverse_propensity(sample: Sample) -> Estimate:
    """Inverse propensity weighting, weights of each arm divided by their sum (Hájek).

    Consistent when the propensity is. It uses no model of the outcome, and pays for it in variance.
    Its error takes the propensities as known. Source: Hirano, Imbens and Ridder 2003.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    chances = propensities(t, x, sample.groups, sample.seed)
    weights = inverse_propensities(t, chances)
    value = 0.0
    influence = np.zeros(len(y))
    for arm, sign in ((0, -1), (1, 1)):
        own = weights * (t == arm)
        mean = own @ y / own.sum()
        value += sign * mean
        influence += sign * own / own.mean() * (y - mean)
    return Estimate(value, influence, weights, overlap(chances, x, t, weights))


def linear_dml_slope(sample: Sample) -> Estimate:
    """`linear_dml` of a treatment that is a number: the average slope τ(x)."""
    return _linear_dml(sample, arms=False)


@_estimator(
    "linear_dml",
    "back-door",
    "mean of τ(x), least squares of y - E[y | x] on τ(x) (t - E[t | x]); EconML's LinearDML",
    "E[y | x], E[t | x] and the quadratic τ are right",
    "by default for one unit; when the effect varies smoothly with numeric columns",
    of_one_unit=linear_dml_slope,
    needs_columns=True,
)
def linear_dml(sample: Sample) -> Estimate:
    """EconML's LinearDML: double machine learning with a parametric effect.

    y - E[y | x] = τ(x) (t - E[t | x]) + noise, τ quadratic in the numeric columns (linear where
    there are fewer than 20 rows for each term). Errors of the boosted E[y | x] and E[t | x] cancel
    to first order. Where τ is not quadratic, the average is that of its best approximation, rows
    weighted by Var(t | x). Source: Robinson 1988; Chernozhukov and others 2018.
    """
    return _linear_dml(sample, arms=True)


def causal_forest_slope(sample: Sample) -> Estimate:
    """`causal_forest` of a treatment that is a number: the average slope τ(x).

    Scores τ(x) + (t - E[t | x]) (y - E[y | x] - τ(x) (t - E[t | x])) / Var(t | x); the variance is
    boosted with a log link, since it is positive.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    groups = sample.groups
    seed = sample.seed
    _need_columns(sample, "causal_forest", "regression")
    t_left = t - held_out(t, x, groups, seed)
    y_left = y - held_out(y, x, groups, seed)
    tau = _forest_effects(x.to_numpy(), t_left, y_left, groups, seed)
    wide = x.to_numpy()
    variance = np.empty(len(y))
    for train, test in folds(groups, seed):
        model = HistGradientBoostingRegressor(**BOOST, loss="poisson", random_state=seed)
        variance[test] = model.fit(wide[train], t_left[train] ** 2).predict(wide[test])
    diagnostics = check_moves(t_left, t, variance)
    score = tau + t_left / variance * (y_left - tau * t_left)
    return Estimate(score.mean(), score - score.mean(), np.ones(len(y)), diagnostics)


@_estimator(
    "causal_forest",
    "back-door",
    "mean of doubly robust scores around the τ(x) of EconML's causal forest",
    "e is right, or E[y | x] and τ are",
    "when the effect varies in ways that no formula gives",
    of_one_unit=causal_forest_slope,
    needs_columns=True,
)
def causal_forest(sample: Sample) -> Estimate:
    """Average of doubly robust scores around the effects τ(x) that a causal forest predicts.

    The forest (honest trees on cross-fitted residuals) is grown once without each fold and predicts
    the rows of that fold: its own out-of-bag predictions ignore clusters. The scores are those of
    'aipw' with μ₁ = E[y | x] + (1 - e) τ and μ₀ = E[y | x] - e τ.
    Source: Athey, Tibshirani and Wager 2019; Athey and Wager 2019 (scores).
    """
    y = sample.y
    t = sample.t
    x = sample.x
    groups = sample.groups
    seed = sample.seed
    _need_columns(sample, "causal_forest", "difference")
    chances = propensities(t, x, groups, seed)
    expected = held_out(y, x, groups, seed)
    tau = _forest_effects(x.to_numpy(), t - chances[:, 1], y - expected, groups, seed)
    means = np.column_stack([expected - chances[:, 1] * tau, expected + chances[:, 0] * tau])
    score, weights = dr_scores(y, t, chances, means)
    diagnostics = overlap(chances, x, t, weights)
    return Estimate(score.mean(), score - score.mean(), weights, diagnostics)


@_estimator(
    "dr_learner",
    "back-door",
    "as aipw, one outcome model of x and t; EconML's DRLearner",
    "as aipw",
    "rarely; one outcome model helps when an arm is small",
    of_two_levels=True,
    needs_columns=True,
)
def dr_learner(sample: Sample) -> Estimate:
    """Average of the scores that EconML's DRLearner regresses on the columns.

    'aipw' with one boosted outcome model of the columns and the treatment instead of one for each
    arm. The propensities are the same, so the two differ little. Source: Kennedy 2023.
    """
    from econml.dr import DRLearner

    y = sample.y
    t = sample.t
    x = sample.x
    _need_columns(sample, "dr_learner", "difference")
    wide = x.to_numpy()
    splits = list(arm_folds(t, sample.groups, sample.seed))
    model = DRLearner(
        model_propensity=boosted(sample.seed, classes=True),
        model_regression=boosted(sample.seed, classes=is_zero_one(y)),
        model_final=_KeptScores(),
        discrete_outcome=is_zero_one(y),
        cv=splits,
        random_state=sample.seed,
    )
    kept = model.fit(y, t, X=wide).model_cate(T=1)
    _check_order(kept.rows_, wide)
    chances = np.empty((len(y), 2))
    for (_, test), fitted in zip(splits, model.models_propensity[0], strict=True):
        chances[test] = fitted.predict_proba(wide[test])[:, :2]
    check_overlap(chances, others=t.max() > 1)
    weights = inverse_propensities(t, chances)
    score = np.ravel(kept.scores_)
    diagnostics = overlap(chances, x, t, weights)
    return Estimate(score.mean(), score - score.mean(), weights, diagnostics)


@_estimator(
    "matching",
    "back-door",
    "mean of y less the y of the nearest row of the other arm, corrected by regression",
    "near rows are alike; the lines correct what is left",
    "with few columns, when each comparison should be one that can be looked at",
)
def matching(sample: Sample) -> Estimate:
    """One nearest neighbour of the other arm (columns in standard deviations), bias-corrected.

    What a row would have had is y_j + μ_a(x_i) - μ_a(x_j) of its match j, μ_a the line of that arm.
    Consistent with a few continuous columns; in many dimensions the nearest row is far. A row used
    k times has the weight 1 + k. Source: Abadie and Imbens 2006, 2011.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    if x.shape[1] == 0:
        return difference_of_means(sample)
    means, left = _arm_lines(y, t, x)
    scaled = x.to_numpy() / x.std(ddof=0).replace(0, 1).to_numpy()
    used = np.zeros(len(y))
    other = np.empty(len(y))
    for arm in (0, 1):
        near = np.flatnonzero(t == arm)
        far = np.flatnonzero(t != arm)
        index = NearestNeighbors(n_neighbors=1).fit(scaled[near])
        match = near[index.kneighbors(scaled[far], return_distance=False)[:, 0]]
        other[far] = y[match] + means[arm][far] - means[arm][match]
        np.add.at(used, match, 1)
    sign = 2 * t - 1
    value = (sign * (y - other)).mean()
    tau = means[1] - means[0]
    influence = tau - tau.mean() + sign * (1 + used) * left
    return Estimate(value, influence, 1 + used, balance(x, t, 1 + used))


def regression_slope(sample: Sample) -> Estimate:
    """Average derivative in a numeric t: least squares on t, the centred x and their products.

    The coefficient of t. At a treatment of 0 and 1 it is the same as `regression`.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    centred = x.to_numpy() - x.to_numpy().mean(axis=0)
    wide = np.column_stack([np.ones(len(y)), t, centred, centred * t[:, None]])
    k = x.shape[1]
    if len(y) <= wide.shape[1]:
        raise ValueError(
            f"{len(y)} rows are too few for {wide.shape[1]} columns of treatment, "
            "adjustment and products"
        )
    controls = wide[:, [0, *range(2, 2 + k)]]
    diagnostics = check_moves(t - controls @ np.linalg.lstsq(controls, t, rcond=None)[0], t)
    coefficients = np.linalg.lstsq(wide, y, rcond=None)[0]
    beyond_average = centred @ coefficients[2 + k :]  # each row's derivative less the average
    bread = np.linalg.pinv(wide.T @ wide / len(y))
    influence = (wide @ bread[:, 1]) * (y - wide @ coefficients) + beyond_average
    return Estimate(coefficients[1], influence, np.ones(len(y)), diagnostics)


@_estimator(
    "regression",
    "back-door",
    "mean of μ₁(x) - μ₀(x), both linear",
    "the outcome is linear in x in each arm",
    "in an experiment, to use x for precision; when rows are few",
    of_two_levels=True,
    of_one_unit=regression_slope,
)
def regression(sample: Sample) -> Estimate:
    """Least squares of each arm on the centred columns: the difference of the two constants.

    Unbiased when each arm's outcome is linear in the columns; in a randomised experiment,
    consistent whether it is or not, and no less precise than the difference of means.
    Source: Lin 2013.
    """
    y = sample.y
    t = sample.t
    x = sample.x
    means, left = _arm_lines(y, t, x)
    tau = means[1] - means[0]  # each row's effect
    centred = np.column_stack([np.ones(len(y)), x.to_numpy() - x.to_numpy().mean(axis=0)])
    influence = tau - tau.mean()
    for arm, sign in ((0, -1), (1, 1)):
        rows = t == arm
        bread = np.linalg.pinv(centred[rows].T @ centred[rows] / len(y))
        influence[rows] += sign * (centred[rows] @ bread[:, 0]) * left[rows]
    return Estimate(tau.mean(), influence, np.ones(len(y)), {})


@_estimator(
    "difference",
    "back-door",
    "mean of y with t = 1 less mean of y with t = 0",
    "the treatment was randomised",
    "as the naive answer, or in an experiment without columns",
    of_two_levels=True,
)
def difference_of_means(sample: Sample) -> Estimate:
    """The difference of the two arms' mean outcomes; it ignores the adjustment columns.

    Unbiased when the treatment was given at random. Anywhere else it is the naive answer, to set
    beside the others. Source: Neyman 1923.
    """
    y = sample.y
    t = sample.t
    mean = [y[t == arm].mean() for arm in (0, 1)]
    share = [(t == arm).mean() for arm in (0, 1)]
    influence = (t == 1) * (y - mean[1]) / share[1] - (t == 0) * (y - mean[0]) / share[0]
    return Estimate(mean[1] - mean[0], influence, np.ones(len(y)), {})


# ---- a front-door set ----------------------------------------------------------------------------


@_estimator(
    "front_door",
    "front-door",
    "Σ_m (P(m | 1) - P(m | 0)) Σ_t P(t) E[y | m, t]",
    "the mediators carry the whole effect and nothing confounds them",
    "when the treatment is confounded and its whole effect passes through the mediators",
)
def front_door(sample: Sample) -> Estimate:
    """The front-door formula over the levels m of the mediators together, counted.

    Unbiased under the estimand's graph; every level must occur in both arms.
    Raises NoOverlapError where some level is seen in one arm only.
    Source: Pearl 1995; Fulcher and others 2020 (influence).
    """
    y = sample.y
    t = sample.t
    mediators = sample.mediators
    several = mediators.shape[1] > 1
    levels = pd.MultiIndex.from_frame(mediators) if several else mediators.iloc[:, 0]
    codes = pd.factorize(levels)[0]
    size = codes.max() + 1
    counts = np.array([np.bincount(codes[t == arm], minlength=size) for arm in (0, 1)])
    in_one_arm = (counts == 0).any(axis=0)
    if in_one_arm.any():
        raise NoOverlapError(
            f"mediators {', '.join(mediators.columns)}: {int(in_one_arm.sum())} of {size} levels "
            "are seen in one arm only; "
            "merge levels (bins for numbers)"
        )
    chance = counts / counts.sum(axis=1, keepdims=True)  # (2, levels)
    share = np.array([1 - t.mean(), t.mean()])
    sums = [np.bincount(codes[t == arm], y[t == arm], minlength=size) for arm in (0, 1)]
    mean = np.array(sums) / counts
    of_level = share @ mean  # E[y | do(m)]
    value = 0.0
    influence = np.zeros(len(y))
    for arm, sign in ((0, -1), (1, 1)):
        own = float(chance[arm] @ of_level)
        value += sign * own
        by_outcome = chance[arm][codes] / chance[t, codes] * (y - mean[t, codes])
        by_mediator = (t == arm) / share[arm] * (of_level[codes] - own)
        by_treatment = (mean @ chance[arm])[t] - own
        influence += sign * (by_outcome + by_mediator + by_treatment)
    return Estimate(value, influence, np.ones(len(y)), {"mediator_levels": int(size)})


# ---- an instrument -------------------------------------------------------------------------------


@_estimator(
    "wald",
    "instrument",
    "Cov(y, z | x) / Cov(t, z | x), x linear",
    "z moves y through t alone, given x; the effect is linear and the same for everybody",
    "by default for an instrument",
)
def wald(sample: Sample) -> Estimate:
    """Two-stage least squares: Cov(y, z | x) / Cov(t, z | x), x partialled out by least squares.

    The effect of one unit, if it is linear and the same for everybody; with a binary instrument
    that moves nobody the other way, the mean effect on those whom it moves.
    Raises ValueError for an instrument whose first-stage F is below 10.
    Source: Angrist and Imbens 1994; Stock, Wright and Yogo 2002 (the limit).
    """
    wide = np.column_stack([np.ones(len(sample.y)), sample.x.to_numpy()])

    def residual(values):
        return values - wide @ np.linalg.lstsq(wide, values, rcond=None)[0]

    return _ratio_of_residuals(residual(sample.y), residual(sample.t), residual(sample.z))


@_estimator(
    "orthogonal_iv",
    "instrument",
    "as wald, E[y | x], E[t | x], E[z | x] boosted; EconML's OrthoIV",
    "as wald, and the three means are right",
    "when the columns that the instrument is conditioned on act in curves",
    needs_columns=True,
)
def orthogonal_iv(sample: Sample) -> Estimate:
    """EconML's OrthoIV with a constant effect: `wald` with boosted, cross-fitted controls.

    Raises ValueError for a weak instrument, as `wald` does, and without a column to control for.
    Source: Chernozhukov and others 2018, section 4.2.
    """
    from econml.iv.dml import OrthoIV

    y = sample.y
    t = sample.t
    z = sample.z
    wide = sample.x.to_numpy()
    _need_columns(sample, "orthogonal_iv", "wald", kind="conditioning")
    model = OrthoIV(
        model_y_xw=boosted(sample.seed, classes=is_zero_one(y)),
        model_t_xw=boosted(sample.seed, classes=is_zero_one(t)),
        model_z_xw=boosted(sample.seed, classes=is_zero_one(z)),
        discrete_outcome=is_zero_one(y),
        discrete_treatment=is_zero_one(t),
        discrete_instrument=is_zero_one(z),
        cv=list(folds(sample.groups, sample.seed)),
        random_state=sample.seed,
    )
    model.fit(y, t, Z=z, X=None, W=wide, cache_values=True)
    y_left, t_left, z_left, _, rows, _ = model.residuals_
    _check_order(rows, wide)
    return _ratio_of_residuals(np.ravel(y_left), np.ravel(t_left), np.ravel(z_left))


# ---- parts ---------------------------------------------------------------------------------------


def _ratio_of_residuals(y, t, z):
    """Σ z y / Σ z t of what the controls leave (n,) of outcome, treatment and instrument."""
    moved = z @ t
    first = moved / (z @ z)
    left = t - first * z
    noise = max(float((z * left) @ (z * left)), 1e-300)
    strength = first**2 * (z @ z) ** 2 / noise
    if not strength >= _WEAK:
        raise ValueError(
            f"the instrument is weak: first-stage F {strength:.1f}, below {_WEAK}; a ratio to "
            "nothing says nothing"
        )
    value = (z @ y) / moved
    influence = z * (y - value * t) / (moved / len(y))
    return Estimate(value, influence, np.ones(len(y)), {"first_stage_f": float(strength)})


def _arm_lines(y, t, x):
    """Least-squares outcomes (n,) without and with treatment, and (n,) what they leave of y."""
    wide = np.column_stack([np.ones(len(y)), x.to_numpy() - x.to_numpy().mean(axis=0)])
    fewest = min((t == arm).sum() for arm in (0, 1))
    if fewest < wide.shape[1]:
        raise ValueError(
            f"an arm of {fewest} rows is too small for {wide.shape[1]} columns of "
            "adjustment and constant"
        )
    lines = [np.linalg.lstsq(wide[t == arm], y[t == arm], rcond=None)[0] for arm in (0, 1)]
    means = [wide @ line for line in lines]
    return means, y - np.where(t == 1, means[1], means[0])


def _linear_dml(sample, *, arms):
    """`linear_dml`; without ``arms`` the treatment is a number."""
    from econml.dml import LinearDML

    y = sample.y
    t = sample.t
    x = sample.x
    groups = sample.groups
    seed = sample.seed
    _need_columns(sample, "linear_dml", "difference" if arms else "regression")
    # The effect may be quadratic in numbers. Indicators, whose squares say nothing new, are
    # controls only, unless there are no numbers.
    number = (x.nunique() > 2).to_numpy()
    of_effect = number if number.any() else ~number
    columns = x.loc[:, of_effect]
    columns = ((columns - columns.mean()) / columns.std().replace(0, 1)).to_numpy()
    controls = None if of_effect.all() else x.loc[:, ~of_effect].to_numpy()
    square = PolynomialFeatures(2, include_bias=False)
    terms = square.fit(columns[:1]).n_output_features_
    quadratic = number.any() and len(y) >= ROWS_PER_TERM * terms
    model = LinearDML(
        model_y=boosted(seed, classes=is_zero_one(y)),
        model_t=boosted(seed, classes=arms),
        # The terms are those of the effect alone: the boosted models see every column once.
        featurizer=square if quadratic else None,
        discrete_treatment=arms,
        discrete_outcome=is_zero_one(y),
        cv=list(arm_folds(t, groups, seed) if arms else folds(groups, seed)),
        random_state=seed,
    )
    model.fit(y, t, X=columns, W=controls, cache_values=True)
    tau = np.ravel(model.effect(columns))
    # Influence of the average: that of the final regression's coefficients at the mean row, plus
    # the rows' own deviation. EconML's own interval ignores clusters.
    y_left, t_left, rows, _ = model.residuals_
    _check_order(rows, columns)
    y_left = np.ravel(y_left)
    t_left = np.ravel(t_left)
    diagnostics = {} if arms else check_moves(t_left, t)
    basis = np.column_stack(
        [np.ones(len(y)), square.fit_transform(columns) if quadratic else columns]
    )
    bread = np.linalg.pinv((basis * t_left[:, None] ** 2).T @ basis / len(y))
    # Residuals are too small where few rows decide the fit: divided by 1 - leverage, as HC3 does.
    leverage = ((basis @ bread) * basis).sum(axis=1) * t_left**2 / len(y)
    direction = basis @ bread @ basis.mean(axis=0)
    scale = np.maximum(1 - leverage, 1e-6)
    influence = direction * t_left * (y_left - t_left * tau) / scale
    return Estimate(tau.mean(), influence + tau - tau.mean(), np.ones(len(y)), diagnostics)


def _forest_effects(wide, t_left, y_left, groups, seed):
    """(n,) effects by causal forests grown without the row's fold."""
    from econml.grf import CausalForest

    tau = np.empty(len(y_left))
    for train, test in folds(groups, seed):
        forest = CausalForest(n_estimators=_FOREST_TREES, inference=False, random_state=seed)
        forest.fit(wide[train], t_left[train], y_left[train])
        tau[test] = np.ravel(forest.predict(wide[test]))
    return tau


class _KeptScores(BaseEstimator):
    """Keeps what DRLearner gives to its last regression."""

    def fit(self, rows, scores):
        self.rows_ = rows
        self.scores_ = scores
        return self

    def predict(self, rows):
        return np.full(len(rows), np.mean(self.scores_))


def _need_columns(sample, name, other, kind="adjustment"):
    if sample.x.shape[1] == 0:
        raise ValueError(
            f"estimator {name!r} needs at least one {kind} column; use {other!r} without any"
        )


def _check_order(rows, wide):
    if not np.array_equal(rows, wide):
        raise RuntimeError("EconML returned its residuals in another order than the rows")
