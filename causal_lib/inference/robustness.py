"""How wrong an effect may be: sensitivity to a hidden common cause, E-values, refutations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from causal_lib.checks import check_columns, check_whole
from causal_lib.inference.effects import question_of, shown, value_of
from causal_lib.inference.estimators import WITHOUT_COLUMNS, Estimate
from causal_lib.inference.least_squares import LeastSquares
from causal_lib.inference.nuisances import clustered_covariance

CHECKS = ("placebo treatment", "random cause", "subset")


class Noise(NamedTuple):
    """What a hidden cause can draw on: S = √(E[(y - g)²] E[α²]), in units of the effect.

    Attributes
    ----------
    scale : S.
    covariance : (2, 2) of the value and S.
    """

    scale: float
    covariance: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """An effect, and how a hidden common cause would change it.

    The effect is a mean of outcomes, θ = E[α g]: g is the outcome's regression on treatment and
    adjustment, α the Riesz representer of θ, such as (t - e) / (e (1 - e)). A hidden cause moves
    the value by at most S √(r_y r_t / (1 - r_t)), where S² = E[(y - g)²] E[α²].

    Strengths are shares in [0, 1] of what is left unexplained. With the outcome, r_y: what the
    hidden cause explains of y - g. With the treatment, r_t: what it explains of the variance of the
    complete α. Of one coefficient (target 'overlap') that is the partial R² with the treatment, for
    'all' of a 0/1 treatment its share of the mean of 1 / (e (1 - e)).

    Attributes
    ----------
    value, standard_error : of the effect, as of `effects.effect` with the same arguments. Of least
        squares with one coefficient, the error is that of rows with equal variances.
    freedom : degrees of freedom of the intervals' t distribution.
    partial_r2 : an extreme hidden cause, which explains all that is left of the outcome, must have
        this strength with the treatment to bring the effect to 0.
    robustness : the strength that takes away ``q`` of the effect, if it is the same with treatment
        and outcome.
    robustness_of_sign : the same for an interval of level 1 - ``alpha`` that holds the rest.
    bounds : one row for each adjustment column and multiple: with_treatment, with_outcome
        (strengths of a hidden cause that is so many times as strong as the column), value, low,
        high (the effect then; nan where no cause is so strong with the treatment).
    estimator, target, contrast : of the effect.
    noise : see `Noise`; None for least squares with one coefficient, whose S is
        standard_error √freedom.
    """

    treatment: str
    outcome: str
    value: float
    standard_error: float
    freedom: float
    q: float
    alpha: float
    bounds: pd.DataFrame
    estimator: str = "regression"
    target: str = "overlap"
    contrast: tuple | None = None
    noise: Noise | None = None

    @property
    def partial_r2(self) -> float:
        """See the class."""
        found = self._strength(1.0)
        return float(found**2 / (1 + found**2)) if np.isfinite(found) else 1.0

    @property
    def robustness(self) -> float:
        """See the class."""
        return _robustness(self._strength(self.q))

    @property
    def robustness_of_sign(self) -> float:
        """See the class."""
        if self.noise is not None:
            return _robustness(self._largest_bias())
        f = self._strength(self.q)
        f_critical = abs(student.ppf(self.alpha / 2, self.freedom - 1)) / np.sqrt(self.freedom - 1)
        if f <= f_critical:
            return 0.0
        if not np.isfinite(f):
            return 1.0
        # the extreme cause binds (Cinelli and Hazlett 2022)
        if f_critical > 0 and f > 1 / f_critical:
            return float((f**2 - f_critical**2) / (1 + f**2))
        return _robustness(f - f_critical)

    def under(self, with_treatment: float, with_outcome: float) -> tuple[float, float, float]:
        """Value and interval, moved towards 0; strengths in [0, 1) and [0, 1]."""
        if not (0 <= with_treatment < 1 and 0 <= with_outcome <= 1):
            raise ValueError(
                f"strengths must lie in [0, 1) with the treatment and in [0, 1] with the outcome, "
                f"not {with_treatment} and {with_outcome}"
            )
        factor = np.sqrt(with_outcome * with_treatment / (1 - with_treatment))
        value = self.value - np.sign(self.value) * self._scale * factor
        freedom = self.freedom
        if self.noise is None:
            freedom = self.freedom - 1  # the hidden cause takes one
            error = self.standard_error * np.sqrt(
                (1 - with_outcome) / (1 - with_treatment) * self.freedom / freedom
            )
        else:
            direction = np.array([1.0, -np.sign(self.value) * factor])
            error = np.sqrt(max(direction @ self.noise.covariance @ direction, 0.0))
        half = abs(student.ppf(self.alpha / 2, freedom)) * error
        return float(value), float(value - half), float(value + half)

    @property
    def _scale(self):
        if self.noise is not None:
            return self.noise.scale
        return self.standard_error * np.sqrt(self.freedom)

    def _strength(self, q):
        """``q`` of the effect in units of S; infinite where nothing is left of the outcome."""
        value = q * abs(self.value)
        return float(value / self._scale) if self._scale > 0 else np.inf if value else 0.0

    def _largest_bias(self):
        """The least bias, in units of S, that brings an end of the interval to what q leaves."""
        (a, b), (_, c) = self.noise.covariance
        b = b * np.sign(self.value)
        critical = student.ppf(self.alpha / 2, self.freedom) ** 2
        aim = self.q * abs(self.value)
        scale = self.noise.scale
        # (aim - S C)² = critical (a - 2 b C + c C²)
        rest = aim**2 - critical * a
        if rest <= 0:
            return 0.0
        if scale == 0:
            return np.inf
        roots = np.roots([scale**2 - critical * c, 2 * (critical * b - aim * scale), rest])
        real = roots[np.abs(roots.imag) < 1e-9 * np.abs(roots)].real
        return float(real[real > 0].min())

    def __repr__(self):
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        head = (
            f"effect of {self.treatment}{levels} on {self.outcome} ({self.estimator}, target "
            f"{self.target}): {shown(self.value)} (standard error {shown(self.standard_error)}); "
        )
        if self._scale < 1e-9 * abs(self.value):
            return f"{head}nothing is left of the outcome that a hidden cause could explain"
        return (
            f"{head}a hidden cause that explains {self.robustness:.1%} of what is left of both "
            f"would reduce it to zero; {self.robustness_of_sign:.1%} would remove its significance "
            f"at {self.alpha:g}"
        )


def _robustness(f):
    """The strength r, r² / (1 - r) = f²."""
    return float(2 / (1 + np.sqrt(1 + 4 / f**2))) if f else 0.0


def sensitivity(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    estimator: str | None = None,
    target: str = "all",
    multiples: Sequence[float] = (1, 2, 3),
    q: float = 1.0,
    alpha: float = 0.05,
    **how,
) -> Sensitivity:
    """How a hidden common cause would change the effect that `effect` gives with these arguments.

    For least squares with one coefficient (estimator 'regression', target 'overlap'), errors and
    bounds are those of Cinelli and Hazlett 2020, which hold in samples of any size. For the other
    estimators they hold in large samples.

    Parameters
    ----------
    frame, treatment, outcome, adjustment, estimator, target, how : as of `effects.effect`; the
        estimators are those with a model of the outcome: 'aipw', 'linear_dml', 'causal_forest',
        'dr_learner' and 'regression'.
    multiples : how many times as strong as each adjustment column the hidden cause is, in
        ``bounds``. The estimator is fitted once more without each column; () leaves that out.
    q : share of the effect that counts as undone; ``alpha`` : 1 - level of the intervals.

    Raises
    ------
    ValueError
        for an estimator without a model of the outcome, fewer rows than columns need, and whatever
        `effects.effect` refuses.

    Source: Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022; Cinelli and Hazlett 2020.
    """
    adjustment = check_columns(adjustment, name="adjustment")
    if not q > 0 or not 0 < alpha < 1:
        raise ValueError(f"q must be above 0 and alpha in (0, 1), not {q} and {alpha}")
    multiples = np.atleast_1d(multiples).tolist()
    if not all(multiple >= 0 for multiple in multiples):
        raise ValueError(f"multiples must be at least 0, not {multiples}")
    how |= {"target": target}
    question = question_of(
        frame, treatment, outcome, adjustment=adjustment, estimator=estimator, **how
    )
    name = question.estimator
    linear = name == "regression" and target == "overlap" and not {"cluster", "weights"} & {*how}
    found = question.estimate()
    unexplained, norm = _left_of_both(found, question.sample, name)
    if linear:
        freedom = _freedom(question.sample)
        error = float(np.sqrt(unexplained * norm / freedom))
        noise = None
    else:
        error, freedom = question.error(found)
        noise = _noise(found, question.sample, unexplained, norm)
    value = float(found.value)
    about = (name, target, question.contrast, noise)
    start = Sensitivity(treatment, outcome, value, error, freedom, q, alpha, pd.DataFrame(), *about)
    rows = []
    for column in dict.fromkeys(adjustment) if len(multiples) else ():
        others = [other for other in adjustment if other != column]
        fitting = name if others else WITHOUT_COLUMNS.get(name, name)
        short = question_of(frame, treatment, outcome, adjustment=others, estimator=fitting, **how)
        of_y, of_t = _left_of_both(short.estimate(), short.sample, fitting)
        gain_t = max(norm / of_t - 1, 0.0)
        gain_y = max(of_y / max(unexplained, np.finfo(float).tiny) - 1, 0.0)
        for multiple in multiples:
            strengths = multiple * gain_t, multiple * gain_y
            if linear:
                strengths = _bound_by_column(gain_t, gain_y, multiple)
            with_treatment, with_outcome = map(float, strengths)
            ends = (np.nan,) * 3
            if with_treatment < 1:
                ends = start.under(with_treatment, min(with_outcome, 1))
            rows.append((column, multiple, with_treatment, with_outcome, *ends))
    columns = ["as strong as", "times", "with_treatment", "with_outcome", "value", "low", "high"]
    bounds = pd.DataFrame(rows, columns=columns)
    return Sensitivity(treatment, outcome, value, error, freedom, q, alpha, bounds, *about)


def _freedom(sample):
    """Degrees of freedom of least squares on the treatment and columns."""
    t = sample.t.astype(float)
    terms = LeastSquares.of(sample.beside_level, t, within=sample.level).rank + 1
    if len(sample.t) < terms + 2:
        raise ValueError(f"{len(sample.t)} rows are too few for {terms} columns and a hidden cause")
    return len(sample.t) - terms


def _left_of_both(found: Estimate, sample, name):
    """E[(y - g)²] and E[α²]."""
    if found.representer is None:
        raise ValueError(
            f"estimator {name!r} has no model of the outcome, so that nothing is known of what a "
            "hidden cause could explain; use 'aipw', 'linear_dml', 'causal_forest', 'dr_learner' "
            "or 'regression'"
        )
    weights, left, applied = found.representer
    unexplained = float(np.mean(sample.weights * left**2))
    squares = _alpha(weights, sample) * weights
    norm = float(np.mean(2 * sample.weights * applied - squares))
    # an estimate of a square that is below 0 says that propensities are far off: the plain one
    return unexplained, norm if norm > 0 else float(np.mean(squares))


def _alpha(weights, sample):
    return np.divide(weights, sample.weights, out=np.zeros(len(weights)), where=sample.weights > 0)


def _noise(found, sample, unexplained, norm):
    """The `Noise`, by the influences of both factors of S."""
    scale = float(np.sqrt(unexplained * norm))
    weights, left, applied = found.representer
    own = np.zeros(len(left))
    if scale > 0:
        of_left = sample.weights * (left**2 - unexplained)
        of_alpha = sample.weights * (2 * applied - _alpha(weights, sample) ** 2 - norm)
        own = (norm * of_left + unexplained * of_alpha) / (2 * scale)
    both = np.column_stack([found.influence, own])
    return Noise(scale, clustered_covariance(both, sample.groups))


def _bound_by_column(gain_t, gain_y, k):
    """Strengths of a hidden cause ``k`` times as strong as a column that is linear in all.

    ``gain_t`` and ``gain_y`` are R² / (1 - R²) of the column's partial R² with treatment and
    outcome. Source: Cinelli and Hazlett 2020, section 4.4.
    """
    of_t = gain_t / (1 + gain_t)
    if k * of_t >= 1:
        return np.inf, np.inf
    shared = k * of_t**2 / ((1 - k * of_t) * (1 - of_t))
    if shared >= 1:
        return k * gain_t, np.inf
    return k * gain_t, ((np.sqrt(k) + np.sqrt(shared)) / np.sqrt(1 - shared)) ** 2 * gain_y


def e_value(ratio: float) -> float:
    """E-value: the least risk ratio, with treatment and outcome, that explains ``ratio`` away.

    Give the end of an interval that is nearer to 1 for the strength that takes away its
    significance (1 where it holds 1).

    Source: VanderWeele and Ding 2017.

    >>> round(e_value(3.9), 2), round(e_value(0.8), 2)
    (7.26, 1.81)
    """
    if not ratio > 0:
        raise ValueError(f"a risk ratio is above 0, not {ratio}")
    ratio = max(ratio, 1 / ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def refute(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    checks: Sequence[str] = CHECKS,
    negative_control: str | None = None,
    repeats: int = 20,
    seed: int = 0,
    **how,
) -> pd.DataFrame:
    """Refutations: estimates whose true value is known, or that should not change.

    'placebo treatment': the treatment shuffled among the rows, whose effect is 0. 'random cause': a
    column of noise added to the adjustment, which should change nothing. 'subset': four fifths of
    the rows. ``negative_control``: an outcome that the treatment cannot move but its hidden causes
    would, whose effect is 0. Passing proves nothing: only a negative control shows hidden causes.

    Parameters
    ----------
    frame, treatment, outcome, adjustment, seed, how : as of `effects.effect`: the estimates are of
        its effect. A shuffled treatment has no known propensity: there it is estimated.
    repeats : estimates of each check.

    Returns
    -------
    One row for each check: expected value, mean and standard deviation of the estimates, z (how
    many standard errors of one estimate the mean lies from what is expected) and passed (abs(z) <
    2).

    Raises ValueError where the rows of a check do not do for an estimate, as few events or treated.

    Source: Sharma and Kıcıman 2020 (DoWhy's refuters); Lipsitch, Tchetgen Tchetgen and Cohen 2010
    (negative controls).
    """
    checks = check_columns(checks, name="checks")
    if strange := [name for name in checks if name not in CHECKS]:
        raise ValueError(f"unknown check {strange[0]!r}; known: {', '.join(CHECKS)}")
    check_whole(repeats, name="repeats")
    adjustment = check_columns(adjustment, name="adjustment")
    rng = np.random.default_rng(seed)
    expected = value_of(frame, treatment, outcome, adjustment=adjustment, seed=seed, **how)[0]
    how.pop("graph", None)  # it has been checked, and knows no added column

    def once(check):
        columns = adjustment
        given = dict(how)
        if check == "placebo treatment":
            mixed = frame[treatment].take(rng.permutation(len(frame)))
            part = frame.copy()
            part[treatment] = mixed.array
            given.pop("propensity", None)
        elif check == "random cause":
            name = "random cause"
            while name in frame.columns:
                name += " "
            part = frame.assign(**{name: rng.standard_normal(len(frame))})
            columns = [*adjustment, name]
        else:
            rows = rng.choice(len(frame), size=int(0.8 * len(frame)), replace=False)
            part = frame.iloc[np.sort(rows)]
        try:
            return value_of(part, treatment, outcome, adjustment=columns, seed=seed, **given)
        except ValueError as error:
            others = [name for name in checks if name != check]
            raise ValueError(
                f"refute: the effect of all rows can be estimated, that of check {check!r} cannot "
                f"({error}); leave it out by checks={others}"
            ) from error

    rows = []
    for check in checks:
        aim = 0.0 if check == "placebo treatment" else expected
        rows.append((check, aim, [once(check) for _ in range(repeats)]))
    if negative_control is not None:
        control = value_of(
            frame, treatment, negative_control, adjustment=adjustment, seed=seed, **how
        )
        rows.append((f"negative control {negative_control}", 0.0, [control]))
    made = []
    for check, aim, found in rows:
        values, errors = np.array(found).T
        mean = values.mean()
        deviation = values.std(ddof=1) if len(values) > 1 else np.nan
        z = (mean - aim) / errors.mean() if errors.mean() > 0 else np.nan
        made.append((check, aim, mean, deviation, z, bool(abs(z) < 2)))
    return pd.DataFrame(made, columns=["check", "expected", "mean", "deviation", "z", "passed"])
