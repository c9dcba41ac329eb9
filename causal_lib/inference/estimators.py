"""Estimators of an average effect: one function each, and their registry.

A function takes a `Sample` and gives an `Estimate`: the value and the influence of every row on it,
from which `effects.effect` takes errors that know clusters. To add an estimator, write the function
here and register it: the checks, the error texts and the table in `effect` follow.

Notation: y the outcome, t the treatment, x the adjustment columns, z the instrument, m the
mediators; e(x) = P(t = 1 | x) the propensity, μ_a(x) = E[y | x, t = a] the outcome of an arm.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import qr
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import PolynomialFeatures, StandardScaler, TargetEncoder

from causal_lib.extras import naming_extra
from causal_lib.inference.covariates import design as design  # its former place
from causal_lib.inference.covariates import label_columns, wide
from causal_lib.inference.least_squares import LeastSquares, residuals
from causal_lib.inference.models import FOLDS, Fitting, folds
from causal_lib.inference.nuisances import (
    TARGETS,
    NoOverlapError,
    held_out_mean,
    outcomes,
    propensities,
    tilt,
    turned,
)
from causal_lib.reasons import Reason

_WEAK = 10  # F of the first stage below which an instrument is refused
_FOREST_TREES = 100
_RAKINGS = 10  # rounds over columns of labels
ROWS_PER_TERM = 20  # fewer rows for each term of a quadratic make it linear


@dataclass(frozen=True, eq=False)
class Sample:
    """What estimators see of n rows.

    Attributes
    ----------
    y : (n,) outcome.
    t : (n,) treatment: 0 the control, 1 the treated, 2 other levels; or a number.
    x : (n, k) adjustment columns of `Covariates.table`; for an instrument, the columns it is
        conditioned on.
    groups : (n,) cluster of each row, codes from 0.
    weights : (n,) of rows, with mean 1.
    target : the population of the average, one of `TARGETS`.
    how : learners and folds.
    known : (n, 2) propensities of control and treated where they are known, else None.
    z : (n,) instrument; None where there is none.
    mediators : (n, m) front-door set; None where there is none.
    reverse : whether models are fitted with control and treated exchanged, see `is_reversed`.
    roles : of the k columns of `numbers`, with shares, as of `pretrained.roles.roles_of`; None
        without a graph.
    """

    y: np.ndarray
    t: np.ndarray
    x: pd.DataFrame
    groups: np.ndarray
    weights: np.ndarray
    target: str = "all"
    how: Fitting = field(default_factory=Fitting)
    known: np.ndarray | None = None
    z: np.ndarray | None = None
    mediators: pd.DataFrame | None = None
    reverse: bool = False
    roles: list[tuple[tuple[str, ...], float]] | None = None

    @cached_property
    def chances(self) -> np.ndarray:
        """(n, 2) propensities of control and treated, known or estimated out of fold."""
        if self.known is not None:
            return self.known
        found = propensities(self._in_order, self.x, self.groups, self.how, self._unequal)
        return found[:, ::-1] if self.reverse else found

    @property
    def _in_order(self):
        """The treatment as models see it."""
        return turned(self.t) if self.reverse else self.t

    @cached_property
    def means(self) -> np.ndarray:
        """(n, 2) `outcomes` by a model for each arm, unless one has few rows."""
        return self.outcomes()

    @cached_property
    def numbers(self) -> np.ndarray:
        """(n, k) the columns as floats, each label but the first an indicator."""
        return wide(self.x)

    @cached_property
    def _finest(self):
        """The column of labels that has the most levels, in a list; [] where there is none."""
        return sorted(label_columns(self.x), key=lambda name: -self.x[name].nunique())[:1]

    @cached_property
    def level(self) -> np.ndarray | None:
        """(n,) codes of the levels of that column; None where there is none."""
        return self.x[self._finest[0]].cat.codes.to_numpy() if self._finest else None

    @cached_property
    def beside_level(self) -> np.ndarray:
        """(n, k) `numbers` without that column: least squares need no indicator of its levels."""
        return wide(self.x.drop(columns=self._finest))

    @property
    def _unequal(self):
        """The weights, None where all are 1: models without weights are quicker."""
        return None if (self.weights == 1).all() else self.weights

    def outcomes(self, *, joint: bool | None = None) -> np.ndarray:
        """(n, 2) E[y | x, arm] out of fold: see `nuisances.outcomes`."""
        parts = (self.y, self._in_order, self.x, self.groups, self.how, self._unequal)
        found = outcomes(*parts, joint=joint)
        return found[:, ::-1] if self.reverse else found

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(n,) E[values | x], out of fold."""
        return held_out_mean(values, self.x, self.groups, self.how, self._unequal)

    def members(self) -> np.ndarray:
        """(n,) weight of each row in the target population, with mean 1."""
        if self.target == "all":
            return self.weights
        own = self.weights * tilt(self.target, self.t, self.chances)[1]
        return own / own.mean()

    def towards(self, target: str) -> "Sample":
        """The sample for another ``target``, with what was already predicted for its rows."""
        other = replace(self, target=target)
        kept = {name: self.__dict__[name] for name in _PREDICTED if name in self.__dict__}
        other.__dict__.update(kept)  # where `cached_property` keeps them
        return other

    def take(self, rows: np.ndarray) -> "Sample":
        """The sample of some rows (n,) bool."""
        parts = {name: getattr(self, name) for name in ("known", "z", "mediators")}
        return replace(
            self,
            y=self.y[rows],
            t=self.t[rows],
            x=self.x[rows],
            groups=pd.factorize(self.groups[rows])[0],
            weights=self.weights[rows] / self.weights[rows].mean(),
            **{name: None if part is None else part[rows] for name, part in parts.items()},
        )


_PREDICTED = ("chances", "means", "numbers")  # of a sample, whatever its target


class Representer(NamedTuple):
    """A value as a mean of outcomes: θ = E[α g], where g is the regression of the outcome.

    The value θ = E[m(g)] is linear in g, and α is its Riesz representer.

    Attributes
    ----------
    weights : (n,) α of each row times the row's weight; 0 for rows of other levels.
    left : (n,) outcome less g.
    applied : (n,) m(α) of each row, less E[m(α)] for what the row adds to the population's size.
    """

    weights: np.ndarray
    left: np.ndarray
    applied: np.ndarray


class Estimate(NamedTuple):
    """A value, the influence (n,) of every row on it, diagnostics and the value's `Representer`."""

    value: float
    influence: np.ndarray
    diagnostics: dict
    representer: Representer | None = None


@dataclass(frozen=True)
class Estimator:
    """An estimator of an average effect and what it needs.

    Attributes
    ----------
    name : as in ``effect(estimator=)``.
    estimate : the effect of treatment 1 against 0.
    strategy : of the estimands that it serves: 'back-door', 'front-door' or 'instrument'.
    formula, right_when, prefer_when : a row of the table in `effect`.
    targets : the populations over which it can average.
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
    targets: tuple[str, ...] = TARGETS
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


def _doubly_robust(sample, means, chances=None):
    """The `Estimate` of the target by doubly robust scores, with outcomes ``means`` (n, 2)."""
    y = sample.y
    t = sample.t
    raked = chances is None and bool(label_columns(sample.x))
    chances = sample.chances if chances is None else chances
    h, g = tilt(sample.target, t, chances)
    # by the propensity of the row's own arm: that of the other may be known to be 0
    own = np.where(t == 1, chances[:, 1], chances[:, 0])
    size_of_weight = h / own
    if raked:  # what the models miss of a level's mean then cancels between the arms
        counted = sample.weights > 0
        size_of_weight[counted] = arm_weights(sample)[counted] / sample.weights[counted]
    weight = size_of_weight * ((t == 1) * 1.0 - (t == 0))
    left = np.where(t < 2, y - np.where(t == 1, means[:, 1], means[:, 0]), 0.0)
    score = g * (means[:, 1] - means[:, 0]) + weight * left
    size = np.mean(sample.weights * g)
    value = np.mean(sample.weights * score) / size
    influence = sample.weights * (score - g * value) / size
    alpha = weight / size
    possible = (chances > 0).all(axis=1)  # elsewhere α has no finite square
    inverse = np.zeros(len(y))
    inverse[possible] = (1 / chances[possible]).sum(axis=1)
    applied = g * h * inverse / size**2
    norm = np.mean(sample.weights * (2 * applied - alpha**2))
    parts = Representer(sample.weights * alpha, left, applied - norm * (g / size - 1))
    return Estimate(value, influence, {}, parts)


@_estimator(
    "aipw",
    "back-door",
    "mean of μ₁ - μ₀ + (t - e) / (e (1 - e)) (y - μ_t)",
    "e or μ is right",
    "by default",
    of_two_levels=True,
)
def augmented_inverse_propensity(sample: Sample) -> Estimate:
    """Augmented inverse propensity weighting (doubly robust), e and μ cross-fitted.

    The mean of μ₁(x) - μ₀(x) + t (y - μ₁(x)) / e(x) - (1 - t) (y - μ₀(x)) / (1 - e(x)); for another
    target, rows and residuals are weighted as `tilt` says. Consistent when the propensity or the
    outcome model is. When both are, no estimator has a smaller error in large samples. Prefer it
    unless there is a reason for another.
    Source: Robins, Rotnitzky and Zhao 1994; Chernozhukov and others 2018; levels, Cattaneo 2010;
    targets, Hahn 1998 (treated), Mao, Li and Greene 2019 (overlap).
    """
    return _doubly_robust(sample, sample.means)


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
    weights = arm_weights(sample)
    return _difference(y, t, weights)


def arm_weights(sample: Sample) -> np.ndarray:
    """(n,) weights that make each arm like the target population; 0 for rows of other levels.

    They are raked to the target's share of every level of a column of labels, whose propensities
    are drawn together by the models' penalties. Source: Deville and Särndal 1992 (raking).
    """
    chances = sample.chances
    t = sample.t
    h, _ = tilt(sample.target, t, chances)
    own = np.where(t == 1, chances[:, 1], chances[:, 0])
    target = sample.weights * h
    weights = target / own * (t < 2)
    labels = [sample.x[name].cat.codes.to_numpy() for name in label_columns(sample.x)]
    for codes in labels * (_RAKINGS if len(labels) > 1 else 1):
        wanted = np.bincount(codes, target)
        for arm in (0, 1):
            rows = t == arm
            sums = np.bincount(codes[rows], weights[rows], minlength=len(wanted))
            factor = np.divide(wanted, sums, out=np.ones_like(wanted), where=sums > 0)
            weights[rows] *= factor[codes[rows]]
    return weights


def linear_dml_slope(sample: Sample) -> Estimate:
    """`linear_dml` of a treatment that is a number: the average slope τ(x)."""
    members = sample.weights if sample.target == "all" else None
    return _linear_dml(sample, sample.t - sample.mean(sample.t), members)


@_estimator(
    "linear_dml",
    "back-door",
    "mean of τ(x), least squares of y - E[y | x] on τ(x) (t - E[t | x])",
    "E[y | x], E[t | x] and the quadratic τ are right",
    "by default for one unit; when the effect varies smoothly with numeric columns",
    of_one_unit=linear_dml_slope,
    needs_columns=True,
)
def linear_dml(sample: Sample) -> Estimate:
    """Double machine learning with a parametric effect, as EconML's LinearDML.

    y - E[y | x] = τ(x) (t - E[t | x]) + noise, τ quadratic in the numeric columns (linear where
    there are fewer than 20 rows for each term, one number for the target 'overlap'). Errors of the
    cross-fitted E[y | x] and E[t | x] cancel to first order. Where τ is not quadratic, the average
    is that of its best approximation, rows weighted by Var(t | x).
    Source: Robinson 1988; Chernozhukov and others 2018.
    """
    left = sample.t - sample.chances[:, 1]
    members = sample.members() if sample.target != "overlap" else None
    return _linear_dml(sample, left, members)


def _linear_dml(sample, t_left, members):
    """Least squares of what is left of the outcome on what is left of the treatment.

    ``members`` (n,) weigh the rows over which τ is averaged; None for one τ.
    """
    n = len(sample.y)
    _need_columns(sample, "linear_dml")
    y_left = sample.y - sample.mean(sample.y)
    basis = np.ones((n, 1)) if members is None else _terms_of_effect(sample)
    columns = basis * t_left[:, None]
    root = np.sqrt(sample.weights)
    basis_q, upper = np.linalg.qr(columns * root[:, None])
    if np.abs(np.diag(upper)).min() < 1e-10 * np.abs(np.diag(upper)).max():
        return _linear_dml(sample, t_left, None)
    inverse = np.linalg.inv(upper)
    coefficients = inverse @ (basis_q.T @ (y_left * root))
    tau = basis @ coefficients
    members = np.ones(n) if members is None else members
    mean = members @ basis / members.sum()
    # Residuals are too small where few rows decide the fit: divided by 1 - leverage, as HC3 does.
    scale = np.maximum(1 - (basis_q**2).sum(axis=1), 1e-6)
    direction = n * (basis_q @ (inverse.T @ mean)) * root
    value = mean @ coefficients
    left = y_left - t_left * tau
    influence = direction * left / scale
    influence += members / members.mean() * (tau - value)
    slope = n * (basis @ (inverse @ (inverse.T @ mean)))  # of α in what is left of the treatment
    norm = mean @ inverse @ (inverse.T @ mean) * n
    applied = members / members.mean() * (slope - norm) + norm
    return Estimate(value, influence, {}, Representer(direction, left, applied))


def _terms_of_effect(sample):
    """(n, k) terms of τ(x), centred at the target: quadratic in numbers where rows allow it.

    Indicators, whose squares say nothing new, are controls only, unless there are no numbers; so
    are labels.
    """
    x = sample.x.drop(columns=label_columns(sample.x))
    number = (x.nunique() > 2).to_numpy()
    columns = x.loc[:, number if number.any() else ~number].to_numpy()
    columns = columns[:, columns.std(axis=0) > 1e-13 * np.abs(columns.mean(axis=0))]
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    columns = columns[:, _independent(columns)]
    square = PolynomialFeatures(2, include_bias=False)
    if number.any() and columns.shape[1]:
        terms = square.fit(columns[:1]).n_output_features_
        if len(columns) >= ROWS_PER_TERM * terms:
            columns = square.transform(columns)
            columns = columns[:, _independent(columns)]
    if len(columns) < ROWS_PER_TERM * columns.shape[1]:
        columns = columns[:, :0]
    return np.column_stack([np.ones(len(columns)), columns])


def _independent(columns):
    """Positions of columns (n, k) that are no linear functions of the constant and others."""
    if not columns.shape[1]:
        return np.zeros(0, dtype=int)
    scaled = columns - columns.mean(axis=0)
    spread = scaled.std(axis=0)
    scaled = scaled / np.where(spread > 1e-10, spread, 1.0)
    _, upper, order = qr(scaled, mode="economic", pivoting=True)
    ends = np.abs(np.diag(upper))
    return np.sort(order[: int((ends > 1e-8 * ends[0]).sum())])


def causal_forest_slope(sample: Sample) -> Estimate:
    """`causal_forest` of a treatment that is a number: the average slope τ(x).

    Scores τ(x) + (t - E[t | x]) (y - E[y | x] - τ(x) (t - E[t | x])) / Var(t | x); the variance is
    predicted out of fold.
    """
    _need_columns(sample, "causal_forest")
    t_left = sample.t - sample.mean(sample.t)
    y_left = sample.y - sample.mean(sample.y)
    tau = _forest_effects(sample, t_left, y_left)
    variance = np.maximum(sample.mean(t_left**2), 0.01 * np.mean(t_left**2))
    left = y_left - tau * t_left
    score = tau + t_left / variance * left
    value = np.average(score, weights=sample.weights)
    parts = Representer(sample.weights * t_left / variance, left, 1 / variance)
    return Estimate(value, sample.weights * (score - value), {}, parts)


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
    _need_columns(sample, "causal_forest")
    chances = sample.chances
    expected = sample.mean(sample.y)
    tau = _forest_effects(sample, sample.t - chances[:, 1], sample.y - expected)
    means = np.column_stack([expected - chances[:, 1] * tau, expected + chances[:, 0] * tau])
    return _doubly_robust(sample, means)


@_estimator(
    "pretrained",
    "back-door",
    "as causal_forest, τ(x) of networks trained on random tables",
    "as causal_forest",
    "with some hundred to some thousand rows, when no formula for the effect is at hand",
    needs_columns=True,
)
def pretrained(sample: Sample) -> Estimate:
    """Average of doubly robust scores around the effects τ(x) that pretrained networks predict.

    The scores are those of 'causal_forest'. The networks see the rows outside of a fold and predict
    those of the fold, so that the average of the scores corrects the networks' own average to first
    order, and its interval owes nothing to how they were trained. Weights of rows enter the scores,
    not the networks. Under a DAG or a CPDAG each column has a role; models are given the columns
    that they need (see `pretrained.roles`). The diagnostics tell the average of their predictions
    without that correction, and for how many of the folds the rows were unlike the tables of the
    training.
    Source: Kennedy 2023 (scores); see `causal_lib.inference.pretrained`.
    """
    _need_columns(sample, "pretrained")
    with naming_extra():
        learner = import_module("causal_lib.inference.pretrained.learner")
    columns = sample.numbers
    tau = np.empty(len(sample.y))
    unlike = 0
    for train, test in folds(sample.groups, sample.how.seed, sample.how.folds):
        known = None if sample.known is None else sample.known[train, 1]
        groups = np.unique(sample.groups[train], return_inverse=True)[1]
        rows = (sample.y[train], sample.t[train], columns[train], groups)
        fitted = learner.fit(*rows, sample.how.seed, known, roles=sample.roles)
        tau[test] = fitted.answer(columns[test]).effects
        unlike += not fitted.familiar
    chances = sample.chances
    expected = sample.mean(sample.y)
    means = np.column_stack([expected - chances[:, 1] * tau, expected + chances[:, 0] * tau])
    found = _doubly_robust(sample, means)
    more = {
        "uncorrected": float(np.average(tau, weights=sample.members())),
        "unlike training": unlike,
    }
    return found._replace(diagnostics=found.diagnostics | more)


@_estimator(
    "dr_learner",
    "back-door",
    "as aipw, one outcome model of x and t",
    "as aipw",
    "when an arm is small: one outcome model learns from both",
    of_two_levels=True,
    needs_columns=True,
)
def dr_learner(sample: Sample) -> Estimate:
    """Average of the scores that EconML's DRLearner regresses on the columns.

    'aipw' with one outcome model of the columns and the treatment instead of one for each arm. The
    propensities are the same, so the two differ little. Source: Kennedy 2023.
    """
    _need_columns(sample, "dr_learner")
    return _doubly_robust(sample, sample.outcomes(joint=True))


@_estimator(
    "matching",
    "back-door",
    "mean of y less the y of the nearest row of the other arm, corrected by regression",
    "near rows are alike; the lines correct what is left",
    "with few columns, when each comparison should be one that can be looked at",
    targets=("all", "treated", "untreated"),
)
def matching(sample: Sample) -> Estimate:
    """One nearest neighbour of the other arm (columns in standard deviations), bias-corrected.

    What a row would have had is y_j + μ_a(x_i) - μ_a(x_j) of its match j, μ_a the line of that arm.
    Consistent with a few continuous columns; in many dimensions the nearest row is far. A row used
    k times has the weight 1 + k. Source: Abadie and Imbens 2006, 2011.
    """
    y = sample.y
    t = sample.t
    if sample.x.shape[1] == 0:
        return difference_of_means(sample)
    if labels := label_columns(sample.x):
        raise ValueError(
            f"estimator 'matching' cannot compare rows by {', '.join(map(repr, labels))}, a column "
            "of many levels; put levels together, or use estimator 'aipw'"
        )
    columns = sample.numbers
    spread = columns.std(axis=0)
    live = spread > 1e-13 * np.abs(columns.mean(axis=0))
    if not live.any():
        return difference_of_means(sample)
    scaled = (columns - columns.mean(axis=0))[:, live] / spread[live]
    means, left, _ = _arm_lines(sample)
    members = sample.members()
    used = np.zeros(len(y))
    other = np.empty(len(y))
    for arm in (0, 1):
        near = np.flatnonzero(t == arm)
        far = np.flatnonzero(t != arm)
        index = NearestNeighbors(n_neighbors=1).fit(scaled[near])
        match = near[index.kneighbors(scaled[far], return_distance=False)[:, 0]]
        other[far] = y[match] + means[far, arm] - means[match, arm]
        np.add.at(used, match, members[far])
    sign = 2 * t - 1
    value = (members * sign * (y - other)).mean()
    tau = means[:, 1] - means[:, 0]
    influence = members * (tau - value) + sign * (members + used) * left
    influence -= influence.mean()
    return Estimate(value, influence, {"largest_use": float(used.max())})


def regression_slope(sample: Sample) -> Estimate:
    """Average derivative in a numeric t: least squares on t, the centred x and their products.

    The coefficient of t. At a treatment of 0 and 1 it is the same as `regression`.
    """
    return _regression(sample, sample.weights if sample.target == "all" else None)


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
    consistent whether it is or not, and no less precise than the difference of means. With a column
    of labels, or for the target 'overlap', both arms have the same coefficients: that of the
    treatment then weighs rows by the variance of the treatment given the columns.
    Source: Lin 2013; Angrist 1998 (overlap).
    """
    labels = label_columns(sample.x)
    if labels and sample.target in ("treated", "untreated"):
        raise ValueError(
            f"estimator 'regression' compares within the levels of {', '.join(map(repr, labels))} "
            f"and cannot average over target={sample.target!r}; take target='overlap', or "
            "estimator 'aipw'"
        )
    if sample.target == "overlap" or labels:
        rows = sample.t < 2
        found = _regression(sample.take(rows), None)
        influence = np.zeros(len(rows))
        influence[rows] = found.influence / rows.mean()
        parts = found.representer if rows.all() else None
        return Estimate(found.value, influence, {}, parts)
    means, left, lines = _arm_lines(sample)
    return _average_of_lines(sample, means[:, 1] - means[:, 0], left, lines)


def _regression(sample, members):
    """Least squares on t, x and, unless ``members`` is None, products centred at the members."""
    t = sample.t.astype(float)
    columns = sample.beside_level
    products = np.zeros((len(t), 0))
    if members is not None:
        plain = sample.x.drop(columns=label_columns(sample.x)).to_numpy(dtype=float)
        centred = plain - members @ plain / members.sum()
        products = centred * t[:, None]
    terms = 2 + columns.shape[1] + products.shape[1]
    if sample.level is not None:
        terms += len(np.unique(sample.level)) - 1
    if len(t) <= terms:
        raise ValueError(
            f"{len(t)} rows are too few for {terms} columns of treatment, adjustment and products"
        )
    how = sample.weights, sample.level
    _check_left(residuals(columns, t, *how), t)
    line = LeastSquares.of(np.column_stack([t, columns, products]), sample.y, *how)
    value = line.coefficients[0]
    influence = line.influence(0)
    alpha = line.representer(0)
    applied = np.full(len(t), alpha[0])
    if products.shape[1]:
        of_products = line.coefficients[1 + columns.shape[1] :]
        share = members / members.mean()
        influence = influence + share * (centred @ of_products)
        applied += share * (centred @ alpha[1 + columns.shape[1] :])
    parts = Representer(len(t) * line.direction(0), line.left, applied)
    return Estimate(value, influence, {}, parts)


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
    return _difference(sample.y, sample.t, sample.weights)


def _difference(y, t, weights):
    """The `Estimate` of the difference of the arms' weighted means.

    Residuals are divided by the root of what a row's share of its arm leaves of 1, so that of equal
    weights the error is Neyman's.
    """
    influence = np.zeros(len(y))
    value = 0.0
    for arm, sign in ((0, -1), (1, 1)):
        own = weights * (t == arm)
        mean = own @ y / own.sum()
        value += sign * mean
        left = (y - mean) / np.sqrt(np.maximum(1 - own / own.sum(), 1e-6))
        influence += sign * own / own.mean() * left
    return Estimate(value, influence, {})


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
    return Estimate(value, influence, {"mediator_levels": int(size)})


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
    columns = sample.beside_level
    parts = [
        residuals(columns, values, None, sample.level) for values in (sample.y, sample.t, sample.z)
    ]
    _check_left(parts[2], sample.z, "instrument")
    return _ratio_of_residuals(*parts)


@_estimator(
    "orthogonal_iv",
    "instrument",
    "as wald, E[y | x], E[t | x], E[z | x] cross-fitted",
    "as wald, and the three means are right",
    "when the columns that the instrument is conditioned on act in curves",
    needs_columns=True,
)
def orthogonal_iv(sample: Sample) -> Estimate:
    """`wald` with cross-fitted controls, as EconML's OrthoIV with a constant effect.

    Raises ValueError for a weak instrument, as `wald` does, and without a column to control for.
    Source: Chernozhukov and others 2018, section 4.2.
    """
    _need_columns(sample, "orthogonal_iv", kind="conditioning")
    parts = [values - sample.mean(values) for values in (sample.y, sample.t, sample.z)]
    return _ratio_of_residuals(*parts)


# ---- parts ---------------------------------------------------------------------------------------


def _ratio_of_residuals(y, t, z):
    """Σ z y / Σ z t of what the controls leave (n,) of outcome, treatment and instrument."""
    _check_left(z, z, "instrument")
    unit_t = t.std()
    moved = (z / z.std()) @ (t / unit_t)
    first = moved / len(z)
    left = t / unit_t - first * z / z.std()
    noise = max(float((z / z.std() * left) @ (z / z.std() * left)), 1e-300)
    strength = first**2 * len(z) ** 2 / noise
    if not strength >= _WEAK:
        raise ValueError(
            f"the instrument is weak: first-stage F {strength:.1f}, below {_WEAK}; it hardly moves "
            "the treatment, so an estimate by it would be unreliable"
        )
    value = (z @ y) / (z @ t)
    influence = z * (y - value * t) / ((z @ t) / len(y))
    return Estimate(value, influence, {"first_stage_f": float(strength)})


def _arm_lines(sample):
    """Least-squares outcomes (n, 2) of the arms, what they leave (n,) of y, the lines."""
    columns = sample.numbers
    means = np.empty((len(sample.y), 2))
    left = np.zeros(len(sample.y))
    lines = []
    for arm in (0, 1):
        rows = sample.t == arm
        line = LeastSquares.of(columns[rows], sample.y[rows], sample.weights[rows])
        if line.rank >= rows.sum():
            raise ValueError(
                f"an arm of {int(rows.sum())} rows is too small for {line.rank} columns of "
                "adjustment and constant"
            )
        means[:, arm] = line.predict(columns)
        left[rows] = line.left
        lines.append(line)
    return means, left, lines


def _average_of_lines(sample, tau, left, lines):
    """The `Estimate` of the mean of τ (n,) where rows of other levels are averaged over too."""
    members = sample.members()
    value = (members * tau).mean()
    columns = sample.numbers
    n = len(sample.y)
    mean = members @ columns / members.sum()
    influence = members * (tau - value)
    alpha = np.zeros(n)
    applied = np.zeros(n)
    for arm, sign in ((0, -1), (1, 1)):
        rows = sample.t == arm
        direction = lines[arm].prediction(mean)
        influence[rows] += sign * n * direction * lines[arm].spread
        alpha[rows] = sign * n * direction
        weights = sample.weights[rows]
        whole = np.divide(n * direction, weights, out=np.zeros(len(weights)), where=weights > 0)
        applied += LeastSquares.of(columns[rows], whole, weights).predict(columns)
    applied += (members - 1) * (applied - members @ applied / n)
    return Estimate(value, influence, {}, Representer(alpha, left, applied))


def _forest_effects(sample, t_left, y_left):
    """(n,) effects by causal forests grown without the row's fold."""
    from econml.grf import CausalForest

    columns = sample.x.drop(columns=label_columns(sample.x)).to_numpy(dtype=float)
    if labels := label_columns(sample.x):
        coded = TargetEncoder(
            cv=KFold(FOLDS, shuffle=True, random_state=sample.how.seed)
        ).fit_transform(sample.x[labels], y_left)
        columns = np.column_stack([columns, coded])
    columns = StandardScaler().fit_transform(columns)  # a forest takes spreads under 1e-7 for none
    sign = -1 if sample.reverse else 1
    t_left = sign * t_left
    tau = np.empty(len(y_left))
    for train, test in folds(sample.groups, sample.how.seed, sample.how.folds):
        forest = CausalForest(
            n_estimators=_FOREST_TREES, inference=False, n_jobs=1, random_state=sample.how.seed
        )
        weights = sample.weights[train]
        forest.fit(columns[train], t_left[train], y_left[train], sample_weight=weights)
        tau[test] = sign * np.ravel(forest.predict(columns[test]))
    return tau


def _need_columns(sample, name, kind="adjustment"):
    if sample.x.shape[1] == 0:
        raise ValueError(
            f"estimator {name!r} needs at least one {kind} column; use {WITHOUT_COLUMNS[name]!r} "
            "without any"
        )


WITHOUT_COLUMNS = {
    "linear_dml": "regression",
    "causal_forest": "regression",
    "pretrained": "regression",
    "dr_learner": "aipw",
    "orthogonal_iv": "wald",
}
"""Estimator that needs columns -> the one to take where there are none."""


def _check_left(left, values, what="treatment"):
    """Raise where the adjustment columns leave nothing (n,) of ``values`` (n,)."""
    spread = np.abs(values - values.mean()).max()
    if np.abs(left).max() <= 1e-9 * max(spread, 1e-300) or spread == 0:
        raise NoOverlapError(Reason("determined", what=what))
