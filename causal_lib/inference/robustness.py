"""How wrong an effect may be: sensitivity to a hidden common cause, E-values, refutations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from causal_lib.checks import check_columns, check_frame
from causal_lib.inference.covariates import design
from causal_lib.inference.effects import effect

CHECKS = ("placebo treatment", "random cause", "subset")


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """A regression's effect, and how a hidden common cause would change it.

    Strengths are partial R²: the share of what the adjustment (and, for the outcome, the treatment)
    leaves unexplained that the hidden cause explains.

    Attributes
    ----------
    value, standard_error, freedom : of the treatment's coefficient.
    partial_r2 : of the treatment with the outcome: an extreme hidden cause, which explains all that
        is left of the outcome, must explain this much of the treatment to bring the effect to 0.
    robustness : the strength that takes away ``q`` of the effect, if it is the same with treatment
        and outcome.
    robustness_of_sign : the same for an interval of level 1 - ``alpha`` that holds the rest.
    bounds : one row for each adjustment column and multiple: with_treatment, with_outcome
        (strengths of a hidden cause that is so many times as strong as the column), value, low,
        high (the effect then).
    """

    treatment: str
    outcome: str
    value: float
    standard_error: float
    freedom: int
    q: float
    alpha: float
    bounds: pd.DataFrame

    @property
    def partial_r2(self) -> float:
        """See the class."""
        t2 = (self.value / self.standard_error) ** 2
        return t2 / (t2 + self.freedom)

    @property
    def robustness(self) -> float:
        """See the class."""
        return _robustness(self.q * abs(self.value / self.standard_error) / np.sqrt(self.freedom))

    @property
    def robustness_of_sign(self) -> float:
        """See the class."""
        f = self.q * abs(self.value / self.standard_error) / np.sqrt(self.freedom)
        f_critical = abs(student.ppf(self.alpha / 2, self.freedom - 1)) / np.sqrt(self.freedom - 1)
        if f <= f_critical:
            return 0.0
        # the extreme cause binds (Cinelli and Hazlett 2022)
        if f_critical > 0 and f > 1 / f_critical:
            return float((f**2 - f_critical**2) / (1 + f**2))
        return _robustness(f - f_critical)

    def under(self, with_treatment: float, with_outcome: float) -> tuple[float, float, float]:
        """Value and interval, moved towards 0; strengths in [0, 1) and [0, 1]."""
        if not (0 <= with_treatment < 1 and 0 <= with_outcome <= 1):
            raise ValueError(
                f"strengths must lie in [0, 1), not {with_treatment} and {with_outcome}"
            )
        bias = self.standard_error * np.sqrt(
            self.freedom * with_outcome * with_treatment / (1 - with_treatment)
        )
        error = self.standard_error * np.sqrt(
            (1 - with_outcome) / (1 - with_treatment) * self.freedom / (self.freedom - 1)
        )
        value = self.value - np.sign(self.value) * bias
        half = abs(student.ppf(self.alpha / 2, self.freedom - 1)) * error
        return float(value), float(value - half), float(value + half)

    def __repr__(self):
        return (
            f"effect of {self.treatment} on {self.outcome}: {self.value:.4f} (standard error "
            f"{self.standard_error:.4f}); a hidden "
            f"cause that explains {self.robustness:.1%} of what is left of both takes it away, "
            f"{self.robustness_of_sign:.1%} its "
            f"significance at {self.alpha:g}"
        )


def _robustness(f):
    return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)


def sensitivity(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    multiples: Sequence[float] = (1, 2, 3),
    q: float = 1.0,
    alpha: float = 0.05,
) -> Sensitivity:
    """Sensitivity of the least-squares effect of ``treatment`` to a hidden common cause.

    Parameters
    ----------
    frame : one row per unit, independent; treatment and outcome numbers or 0/1, adjustment columns
        numbers or categories.
    multiples : how many times as strong as each adjustment column the hidden cause is, in
        ``bounds``.
    q : share of the effect that counts as undone; ``alpha`` : 1 - level of the intervals.

    Source: Cinelli and Hazlett 2020.
    """
    adjustment = check_columns(adjustment, name="adjustment")
    check_frame(frame, [treatment, outcome, *adjustment], complete=True)
    if not q > 0 or not 0 < alpha < 1:
        raise ValueError(f"q must be above 0 and alpha in (0, 1), not {q} and {alpha}")
    t = frame[treatment].to_numpy(dtype=float)
    y = frame[outcome].to_numpy(dtype=float)
    blocks = {name: design(frame, [name]).to_numpy() for name in adjustment}
    x = np.column_stack([np.ones(len(frame)), *blocks.values()])
    freedom = len(frame) - np.linalg.matrix_rank(x) - 1
    if freedom < 2:
        raise ValueError(f"{len(frame)} rows are too few for {x.shape[1]} columns")
    t_left = _residual(t, x)
    y_left = _residual(y, x)
    if t_left @ t_left < 1e-12 * max(t @ t, 1e-300):
        raise ValueError(
            f"treatment {treatment!r} is a function of the adjustment columns: nothing of it is "
            "left whose effect could be seen"
        )
    value = float(t_left @ y_left / (t_left @ t_left))
    left = y_left - value * t_left
    error = float(np.sqrt(left @ left / freedom / (t_left @ t_left)))
    found = Sensitivity(treatment, outcome, value, error, freedom, q, alpha, pd.DataFrame())
    rows = []
    for name in adjustment:
        others = np.column_stack(
            [np.ones(len(frame)), *(block for other, block in blocks.items() if other != name)]
        )
        of_t = 1 - (t_left @ t_left) / _sum_of_squares(_residual(t, others))
        of_y = 1 - (left @ left) / _sum_of_squares(_residual(y, np.column_stack([others, t])))
        for multiple in multiples:
            with_treatment, with_outcome = _bound_by_column(of_t, of_y, multiple)
            possible = with_treatment < 1
            ends = found.under(with_treatment, min(with_outcome, 1)) if possible else (np.nan,) * 3
            rows.append((name, multiple, with_treatment, with_outcome, *ends))
    columns = ["as strong as", "times", "with_treatment", "with_outcome", "value", "low", "high"]
    return Sensitivity(
        treatment, outcome, value, error, freedom, q, alpha, pd.DataFrame(rows, columns=columns)
    )


def _residual(values, x):
    return values - x @ np.linalg.lstsq(x, values, rcond=None)[0]


def _sum_of_squares(values):
    return float(values @ values)


def _bound_by_column(of_t, of_y, k):
    """Strengths of a hidden cause ``k`` times as strong as a column with these partial R²."""
    with_treatment = k * of_t / (1 - of_t)
    if k * of_t >= 1:
        return float("inf"), float("inf")
    shared = k * of_t**2 / ((1 - k * of_t) * (1 - of_t))
    if shared >= 1:
        return float(with_treatment), float("inf")
    return float(with_treatment), float(
        ((np.sqrt(k) + np.sqrt(shared)) / np.sqrt(1 - shared)) ** 2 * of_y / (1 - of_y)
    )


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

    Returns
    -------
    One row for each check: expected value, mean and standard deviation of the estimates, z (how
    many standard errors of one estimate the mean lies from what is expected) and passed (abs(z) <
    2).

    Source: Sharma and Kıcıman 2020 (DoWhy's refuters); Lipsitch, Tchetgen Tchetgen and Cohen 2010
    (negative controls).
    """
    if strange := [name for name in checks if name not in CHECKS]:
        raise ValueError(f"unknown check {strange[0]!r}; known: {', '.join(CHECKS)}")
    if repeats < 1:
        raise ValueError(f"{repeats=}: at least 1 is needed")
    adjustment = check_columns(adjustment, name="adjustment")
    rng = np.random.default_rng(seed)
    rows = []
    whole = effect(frame, treatment, outcome, adjustment=adjustment, seed=seed, **how)

    def once(check):
        if check == "placebo treatment":
            shuffled = frame.assign(**{treatment: rng.permutation(frame[treatment].to_numpy())})
            return effect(shuffled, treatment, outcome, adjustment=adjustment, seed=seed, **how)
        if check == "random cause":
            noisy = frame.assign(**{"random cause": rng.standard_normal(len(frame))})
            return effect(
                noisy,
                treatment,
                outcome,
                adjustment=[*adjustment, "random cause"],
                seed=seed,
                **how,
            )
        part = frame.iloc[
            np.sort(rng.choice(len(frame), size=int(0.8 * len(frame)), replace=False))
        ]
        return effect(part, treatment, outcome, adjustment=adjustment, seed=seed, **how)

    for check in checks:
        rows.append(
            (
                check,
                0.0 if check == "placebo treatment" else whole.value,
                [once(check) for _ in range(repeats)],
            )
        )
    if negative_control is not None:
        control = effect(
            frame, treatment, negative_control, adjustment=adjustment, seed=seed, **how
        )
        rows.append((f"negative control {negative_control}", 0.0, [control]))
    made = []
    for check, expected, found in rows:
        values = np.array([one.value for one in found])
        z = (values.mean() - expected) / np.mean([one.standard_error for one in found])
        made.append(
            (
                check,
                expected,
                values.mean(),
                values.std(ddof=1) if len(values) > 1 else np.nan,
                z,
                abs(z) < 2,
            )
        )
    return pd.DataFrame(made, columns=["check", "expected", "mean", "deviation", "z", "passed"])
