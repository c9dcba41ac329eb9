"""Effects of a change in a panel: interrupted time series, difference in differences, synthetic
control and synthetic difference in differences.
"""

import dataclasses
import datetime
import itertools
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import norm
from scipy.stats import t as student

from causal_lib.checks import check_binary, check_frame, check_ids, check_outcome
from causal_lib.columns import number_of
from causal_lib.inference.far_values import far_among
from causal_lib.inference.nuisances import NoOverlapError

_Z = norm.ppf(0.975)
_FEW_TIMES = 5


@dataclass(frozen=True, repr=False)
class PanelEffect:
    """Average effect of a change on the treated units since it happened, with its 95% interval.

    Attributes
    ----------
    value, low, high : in units of the outcome. p_value : of no effect at all.
    path : by time, the mean ``observed`` of the treated units and their ``counterfactual`` mean
        without the change, both less what ``adjustment`` explains where it is given.
    diagnostics : numbers of times and units; checks of the assumptions (listed by each estimator).
    verdict : whether the outcomes before the change speak for the comparison: "supported", "weak"
        (the interval may be too narrow) or "extrapolated" (the others do not resemble the treated
        units; the value rests on the model). None where nothing is checked.
    reasons : why it is not supported, one sentence each.
    weights : of the donors, which add up to 1 (by unit). time_weights : of the times before the
        change, which add up to 1.
    """

    outcome: str
    estimator: str
    value: float
    low: float
    high: float
    p_value: float
    path: pd.DataFrame
    diagnostics: dict = field(default_factory=dict)
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    weights: pd.Series | None = None
    time_weights: pd.Series | None = None

    def covers(self, truth: float) -> bool:
        """Whether the 95% interval holds ``truth``."""
        return bool(self.low <= truth <= self.high)

    def to_dict(self) -> dict:
        """The effect as JSON types, without path and weights."""
        names = ("outcome", "estimator", "value", "low", "high", "p_value", "verdict")
        found = {name: getattr(self, name) for name in names}
        return found | {"reasons": list(self.reasons), "diagnostics": self.diagnostics}

    def __repr__(self):
        text = (
            f"effect of the change on {self.outcome} ({self.estimator}): {self.value:.4g} "
            f"[{self.low:.4g}, {self.high:.4g}], p = {self.p_value:.3f}"
        )
        if self.reasons:
            text += f"; {self.verdict}: {'; '.join(self.reasons)}"
        return text


def interrupted_time_series(
    frame: pd.DataFrame,
    outcome: str,
    *,
    time: str,
    start: float | datetime.date,
    lags: int | None = None,
) -> PanelEffect:
    """The mean gap, since ``start``, between a broken line and the continuation of its first part.

    Model: y_t = a + b t + [t >= start] (c + d (t - start)) + noise; the effect is the mean of c + d
    (t - start) over the times since ``start``, with errors robust to autocorrelation (Newey and
    West, by statsmodels). Assumes that without the change the line would have continued: nothing
    else happened near ``start``, and there is no season or drift.

    Parameters
    ----------
    frame : one row per time (of many units: their mean). time : column of numbers or of dates,
        which count in days. start : the first time of the change, a number or a date.
    lags : over which the noise is correlated; None: the whole part of 4 (n / 100)^(2/9).

    Raises
    ------
    ValueError
        for missing values, times that repeat or are text, fewer than 4 before or since ``start``,
        or lags out of range.

    Diagnostics: lags; level and slope (c, d); autocorrelation of the residuals at one step.

    Source: Wagner and others 2002; Bernal, Cummins and Gasparrini 2017; Newey and West 1987.

    >>> days = pd.DataFrame({"day": range(8), "tone": [0, 1, 2, 3, 14, 15, 16, 17]})
    >>> round(interrupted_time_series(days, "tone", time="day", start=4).value, 6)
    10.0
    """
    check_frame(frame, [time, outcome], key=[time], complete=True)
    order = np.argsort(_moments(frame[time], time), kind="stable")
    ordered = frame.iloc[order]
    when = _moments(ordered[time], time)
    begin = _start(start, ordered[time], time)
    y = _finite_outcome(ordered[outcome])
    n = len(y)
    since = when >= begin
    shown = f"{start:g}" if isinstance(start, numbers.Real) else start
    _enough(int((~since).sum()), int(since.sum()), 4, f"times before and since start={shown}")
    lags = int(4 * (n / 100) ** (2 / 9)) if lags is None else lags
    if not 0 <= lags < n:
        raise ValueError(f"lags={lags}: must be from 0 to {n - 1}, below the number of times")
    # in spans of the whole series, so that least squares loses no column to another's unit
    span = when[-1] - when[0]
    after = (when - begin) / span
    x = np.column_stack([np.ones(n), after, since, since * after])
    # slow to import, and needed here alone
    from statsmodels.regression.linear_model import OLS

    newey_west = {"maxlags": lags, "use_correction": True}
    line = OLS(y, x).fit(cov_type="HAC", cov_kwds=newey_west)
    residuals = line.resid
    change = np.array([0, 0, 1, after[since].mean()])
    value = float(change @ line.params)
    error = float(np.sqrt(max(change @ line.cov_params() @ change, 0.0)))
    without = x[:, :2] @ line.params[:2]
    path = pd.DataFrame({"observed": y, "counterfactual": without}, index=ordered[time])
    variation = residuals @ residuals
    found = {
        "times before": int((~since).sum()),
        "times since": int(since.sum()),
        "lags": int(lags),
        "level": float(line.params[2]),
        "slope": float(line.params[3] / span),
        "autocorrelation": float(residuals[1:] @ residuals[:-1] / variation) if variation else 0.0,
    }
    p = float(2 * norm.sf(abs(value) / error)) if error else float(value == 0)
    half = _Z * error
    reasons = tuple(far_among(y, outcome, "outcome"))
    return PanelEffect(
        outcome,
        "interrupted time series",
        value,
        value - half,
        value + half,
        p,
        path,
        found,
        "weak" if reasons else None,
        reasons,
    )


def difference_in_differences(
    frame: pd.DataFrame,
    outcome: str,
    *,
    treated: str,
    unit: str,
    time: str,
    adjustment: Sequence[str] = (),
    strict: bool = False,
) -> PanelEffect:
    """The mean change of the treated units less that of the others: (ȳ11 - ȳ10) - (ȳ01 - ȳ00).

    In a balanced panel with one date of change this is the coefficient of ``treated`` in the
    regression on units and times (two-way fixed effects). Assumes parallel trends: without the
    change the treated would have moved like the others. Errors are clustered by unit: each unit's
    times give one change (mean since less mean before), so autocorrelation is allowed for. The two
    groups may have different variances (Welch's t, by scipy).

    Parameters
    ----------
    frame : one row per unit and time, every unit at every time. treated : 0/1, 1 for the units that
        met the change from one common time on. unit, time : columns; time of numbers or of dates,
        which count in days.
    adjustment : numeric columns that vary over time and that the change does not affect. A column
        that differs between units has one slope, by regression on units and times among the units
        that were never treated. A column that all units share, such as news, has a slope for each
        unit, fitted before the change. The outcome is taken less slope times column.
    strict : refuse instead of answering with a verdict other than "supported".

    Raises
    ------
    ValueError
        for missing values, a unit that lacks a time, times of text, a treatment that ends or starts
        at different times, fewer than 2 treated units, 2 others or 2 times before, or a column of
        ``adjustment`` whose slope the data do not show.
    NoOverlapError
        with ``strict``, where the verdict is not "supported".

    Diagnostics: pre_trend, the difference of the mean slopes before the change (treated less
    others, by step of time), and pre_trend_p; the verdict is "weak" where it is below 0.05. A test
    that finds no slope does not prove parallel trends: it has little power (Roth 2022).

    Source: Card and Krueger 1994; Bertrand, Duflo and Mullainathan 2004.

    >>> panel = pd.DataFrame({"shop": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], "day": [0, 1, 2] * 4})
    >>> panel["new"] = ((panel["shop"] < 2) & (panel["day"] == 2)).astype(int)
    >>> panel["sales"] = panel["shop"] + panel["day"] + 5.0 * panel["new"]
    >>> columns = {"treated": "new", "unit": "shop", "time": "day"}
    >>> round(difference_in_differences(panel, "sales", **columns).value, 6)
    5.0
    """
    panel = _panel(frame, outcome, treated, unit, time, adjustment)
    since = panel.since
    _enough(len(panel.treated), len(panel.donors), 2, "treated units and others")
    y = panel.y
    change = y[:, since].mean(axis=1) - y[:, ~since].mean(axis=1)
    value, low, high, p_of = _welch(change[panel.treated], change[panel.donors])
    before = panel.when[~since] - panel.when[~since].mean()
    slopes = y[:, ~since] @ before / (before @ before)
    trend, _, _, trend_p_of = _welch(slopes[panel.treated], slopes[panel.donors])
    trend_p = trend_p_of(0.0)
    of_change = y[panel.treated].mean(axis=0)
    of_others = y[panel.donors].mean(axis=0)
    uniform = np.full(len(panel.donors), 1 / len(panel.donors))
    fit = _Fit(value, 0.0, uniform, np.full(int((~since).sum()), 1 / (~since).sum()))
    low, high, p = _widened(value, low, high, p_of, _Z * panel.slope_error(fit))
    shifted = of_others + (of_change - of_others)[~since].mean()
    verdict = "weak" if panel.reasons else "supported"
    reasons = panel.reasons
    if trend_p < 0.05:
        verdict = "weak"
        reasons += (
            f"before the change the treated units moved by {trend:.3g} per step of {time!r} more "
            f"than the others (p = {trend_p:.3f}): parallel trends are in doubt",
        )
    _refuse(strict, verdict, reasons)
    return PanelEffect(
        outcome,
        "difference in differences",
        value,
        low,
        high,
        p,
        panel.path(of_change, shifted),
        panel.sizes() | {"pre_trend": trend, "pre_trend_p": trend_p} | panel.slopes,
        verdict,
        reasons,
    )


def synthetic_control(
    frame: pd.DataFrame,
    outcome: str,
    *,
    treated: str,
    unit: str,
    time: str,
    demeaned: bool = False,
    adjustment: Sequence[str] = (),
    interval: str | None = None,
    placebos: int = 999,
    seed: int = 0,
    strict: bool = False,
) -> PanelEffect:
    """The mean gap, since the change, of the treated units to a mixture that matched them before.

    The weights w >= 0 with sum 1 of the other units (donors) minimise the squared distance of their
    mixture to the mean of the treated units before the change. Assumes that few common factors move
    the outcomes, that a mixture which matches before the change would match after it, and that the
    change did not affect the donors.

    Parameters
    ----------
    frame, treated, unit, time, adjustment, strict : as of `difference_in_differences`.
    demeaned : match the outcomes about each unit's own mean before the change, so that levels need
        not be reached (Ferman and Pinto 2021).
    interval : "placebo": groups of donors are taken for treated in turn, with the rest as their
        donors; it assumes that the treated units were drawn like the donors. "conformal": effects
        are tested by moving the gaps in time; it assumes that gaps without an effect are stationary
        and an effect that does not change much over time, and asks nothing of the donors. None:
        conformal for one treated unit with 20 times or more, half of them before the change;
        otherwise placebo.
    placebos : groups that are drawn with ``seed``, 19 or more; all groups where there are no more.

    Raises
    ------
    ValueError
        as `difference_in_differences`, but one treated unit is enough; for fewer than 2 donors; of
        placebos for fewer than 19 donors of one treated unit, 5 of more, or 19 placebos; of
        conformal for fewer than 20 times.
    NoOverlapError
        with ``strict``, where the verdict is not "supported".

    Placebo intervals: with e_g the placebo effect of group g and s_g its distance before the change
    in medians of all groups, at least 1, they are the value +- s q, where q is the 95% quantile of
    |e_g| / s_g and s that of the treated units. Treated units that fit badly get wider intervals. A
    group has as many units as are treated, or half of the donors if that is fewer; then the
    intervals err to the safe side.

    Conformal intervals: all effects b of which p(b) > 0.05. The weights are fitted to all times
    with b taken from the treated units, and p(b) is the share of shifts of the gaps, from 0 to all
    times less 1, around a circle, whose sum over the times since the change is as large.

    The verdict compares pre_error, the root mean squared gap before the change, to that of the
    placebos. It is "weak" where it exceeds their 95% quantile, where the treated mean lies above or
    below every donor at more than a quarter of the times before, where there are fewer than 5 times
    before, or where a column of ``adjustment`` leaves the range that shows its slope. It is
    "extrapolated" where pre_error exceeds twice this quantile, or where, beyond this quantile, it
    exceeds the donors' own spread or the treated mean lies outside at more than half of the times.

    Diagnostics: interval; pre_error; placebo_pre_error, the median of the placebos (in units of the
    outcome); outside, the share of the times before at which the treated mean lies above or below
    all donors; donors, how many have positive weight; placebo groups.

    Source: Abadie, Diamond and Hainmueller 2010; groups and verdict follow Arkhangelsky and others
    2021, algorithm 4, and the ratio of Abadie and others; conformal, Chernozhukov, Wüthrich and Zhu
    2021.
    """
    panel = _panel(frame, outcome, treated, unit, time, adjustment)
    k = len(panel.treated)
    n_times = len(panel.since)
    if interval is None:
        long_enough = n_times >= 20 and 2 * int((~panel.since).sum()) >= n_times
        interval = "conformal" if k == 1 and long_enough else "placebo"
    _known(interval, ("placebo", "conformal"))
    if interval == "placebo":
        _enough_placebos(panel, placebos)
    elif n_times < 20:
        raise ValueError(
            f"interval='conformal': {n_times} times; an interval of 95% needs 20 or more"
        )
    _enough(k, len(panel.donors), 1, "treated units and donors", since=2)

    def fitted(group, donors):
        return _control(panel.y, group, donors, panel.since, demeaned)

    fit = fitted(panel.treated, panel.donors)
    placebo = _placebos(panel, fitted, placebos, seed)
    if interval == "placebo":
        spread = _by_placebos(fit, placebo)
    else:
        spread = _by_conformal(panel, fit, demeaned)
    name = "synthetic control, demeaned" if demeaned else "synthetic control"
    return _synthetic(panel, outcome, name, fit, placebo, interval, spread, demeaned, strict)


def synthetic_difference_in_differences(
    frame: pd.DataFrame,
    outcome: str,
    *,
    treated: str,
    unit: str,
    time: str,
    adjustment: Sequence[str] = (),
    interval: str = "placebo",
    placebos: int = 999,
    seed: int = 0,
    strict: bool = False,
) -> PanelEffect:
    """The difference in differences of the treated units to a mixture of the others, of a mixture
    of times.

    tau = sum_t m_t d_t - sum_s l_s d_s, where d_t is the treated mean less the mixture of donors at
    time t, m_t averages the times since the change and l_s weighs those before. With T0 times
    before, T1 since, k treated units and sigma the standard deviation of the donors' changes from
    one time to the next before the change,

    * the weights w of donors minimise sum_t (w0 + sum_i w_i y_it - treated mean_t)^2 + zeta^2 T0
      ||w||^2 over t before the change, zeta = (k T1)^(1/4) sigma;
    * the weights l of times minimise sum_i (l0 + sum_s l_s y_is - y_i since the change)^2 + (1e-6
      sigma)^2 n ||l||^2 over the n donors i;

    both >= 0 with sum 1. Levels of units and of times need not match. Assumes what
    `synthetic_control` assumes about each unit's own level, or parallel trends: either is enough
    where the other holds roughly.

    Parameters
    ----------
    frame, treated, unit, time, adjustment, strict, placebos, seed : as of `synthetic_control`.
    interval : "placebo", as of `synthetic_control`, or "jackknife", which leaves out one unit at a
        time with the weights kept (algorithm 3). The jackknife needs 2 treated units. It allows
        them to vary more or less than the donors, and its t has one degree of freedom less than
        there are treated units.

    Raises
    ------
    ValueError, NoOverlapError
        as `synthetic_control`; for a jackknife of one treated unit, or of one donor with all the
        weight.

    Verdict and diagnostics: as of `synthetic_control` with ``demeaned``; also zeta.

    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021.
    """
    panel = _panel(frame, outcome, treated, unit, time, adjustment)
    _known(interval, ("placebo", "jackknife"))
    if interval == "placebo":
        _enough_placebos(panel, placebos)
    k = len(panel.treated)
    _enough(k, len(panel.donors), 1, "treated units and donors", since=2)
    if interval == "jackknife" and k < 2:
        raise ValueError("interval='jackknife': 1 treated unit; 2 or more are needed, or 'placebo'")

    def fitted(group, donors):
        return _synthetic_did(panel.y, group, donors, panel.since)

    fit = fitted(panel.treated, panel.donors)
    placebo = _placebos(panel, fitted, placebos, seed)
    spread = _by_placebos(fit, placebo) if interval == "placebo" else _by_jackknife(panel, fit)
    name = "synthetic difference in differences"
    return _synthetic(panel, outcome, name, fit, placebo, interval, spread, True, strict)


def _synthetic(panel, outcome, name, fit, placebo, interval, spread, demeaned, strict):
    """The `PanelEffect` of a fit, its placebos, its interval and what that is called."""
    low, high, p = _widened(fit.value, *spread, _Z * panel.slope_error(fit))
    verdict, reasons, found = _judge(panel, fit, placebo, demeaned)
    if interval == "placebo" and len(placebo.values) < 19:
        verdict = "weak" if verdict == "supported" else verdict
        reasons += (
            f"{len(panel.donors)} donors make only {len(placebo.values)} different placebo groups: "
            "an interval of 95% needs 19",
        )
    _refuse(strict, verdict, reasons)
    before = ~panel.since
    observed = panel.y[panel.treated].mean(axis=0)
    without = fit.weights @ panel.y[panel.donors]
    level = fit.time_weights
    if level is None:
        level = np.full(int(before.sum()), demeaned / before.sum())
    without = without + level @ (observed - without)[before]
    weights = pd.Series(fit.weights, index=panel.units[panel.donors], name="weight")
    time_weights = None
    if fit.time_weights is not None:
        time_weights = pd.Series(fit.time_weights, index=panel.times[before], name="weight")
        found["zeta"] = fit.zeta
    return PanelEffect(
        outcome,
        name,
        fit.value,
        low,
        high,
        p,
        panel.path(observed, without),
        panel.sizes() | {"interval": interval} | found | panel.slopes,
        verdict,
        reasons,
        weights,
        time_weights,
    )


# ---- one fit -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """``value``: the effect; ``pre_error``: root mean squared gap before the change; ``weights`` of
    the donors; ``time_weights`` of the times before, None where nothing is taken away.
    """

    value: float
    pre_error: float
    weights: np.ndarray
    time_weights: np.ndarray | None = None
    zeta: float | None = None


def _control(y, group, donors, since, demeaned):
    before = ~since
    target = y[group].mean(axis=0)
    others = y[donors]
    # about 0 rather than a large level, where differences would lose digits
    level = target[before].mean()
    target = target - level
    others = others - (others[:, before].mean(axis=1, keepdims=True) if demeaned else level)
    weights = _simplex((others[:, before] - target[before]).T)
    gap = target - weights @ others
    levels = np.full(int(before.sum()), 1 / before.sum()) if demeaned else None
    return _Fit(float(gap[since].mean()), _size(gap[before]), weights, levels)


def _synthetic_did(y, group, donors, since):
    before = ~since
    target = y[group].mean(axis=0)
    target = target - target[before].mean()
    others = y[donors]
    others = others - others[:, before].mean(axis=1, keepdims=True)
    steps = np.diff(others[:, before], axis=1)
    sigma = float(steps.std(ddof=1)) if steps.size > 1 else 0.0
    zeta = (len(group) * int(since.sum())) ** 0.25 * sigma
    distances = (others[:, before] - target[before]).T
    weights = _simplex(distances, zeta * np.sqrt(before.sum()))
    # the intercept of the time weights is free: about the means over donors
    levels = y[donors] - y[donors][:, before].mean()
    early = levels[:, before] - levels[:, before].mean(axis=0)
    late = levels[:, since].mean(axis=1)
    late = late - late.mean()
    time_weights = _simplex(early - late[:, None], 1e-6 * sigma * np.sqrt(len(donors)))
    gap = target - weights @ others
    value = float(gap[since].mean() - time_weights @ gap[before])
    return _Fit(value, _size(gap[before] - gap[before].mean()), weights, time_weights, zeta)


def _simplex(distances, ridge=0.0):
    """The w >= 0 with sum 1 that minimise ||distances w||^2 + ridge^2 ||w||^2; of mixtures that are
    as near, the most even one.
    """
    # One more row asks for a sum of 1. Any w >= 0 is s v with sum of v 1; ||A s v||^2 + (s - 1)^2
    # is, at its best s, increasing in ||A v||^2. So the minimum has the v that is asked for.
    size = _size(distances) or 1.0
    n = distances.shape[1]
    # without it rounding would decide between mixtures that match exactly
    least = 1e-5
    stacked = np.vstack([np.eye(n) * max(ridge / size, least), distances / size, np.ones((1, n))])
    aim = np.zeros(len(stacked))
    aim[-1] = 1.0
    weights, _ = nnls(stacked, aim)
    return weights / weights.sum()


def _size(values):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


# ---- intervals -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placebos:
    """``values`` and ``pre_errors`` of the placebo groups, (groups,) each."""

    values: np.ndarray
    pre_errors: np.ndarray

    def scale(self, pre_error):
        """``pre_error`` in medians of the placebos, at least 1."""
        typical = np.median(self.pre_errors)
        if typical == 0:
            return np.ones_like(np.asarray(pre_error, dtype=float))
        return np.maximum(1.0, np.asarray(pre_error) / typical)


def _placebos(panel, fitted: Callable, draws, seed):
    """Fits of groups of donors in place of the treated units."""
    donors = panel.donors
    n = len(donors)
    m = max(1, min(len(panel.treated), n // 2))
    if m == 1 or math.comb(n, m) <= draws:
        groups = itertools.combinations(range(n), m)
    else:
        rng = np.random.default_rng(seed)
        groups = (rng.choice(n, m, replace=False) for _ in range(draws))
    fits = []
    for group in groups:
        chosen = np.isin(np.arange(n), group)
        fits.append(fitted(donors[chosen], donors[~chosen]))
    return _Placebos(
        np.array([fit.value for fit in fits]), np.array([fit.pre_error for fit in fits])
    )


def _by_placebos(fit, placebo):
    sizes = np.sort(np.abs(placebo.values) / placebo.scale(placebo.pre_errors))
    scale = float(placebo.scale(fit.pre_error))
    # of the sizes and the effect's own, 95% are not above it
    rank = min(math.ceil(0.95 * (len(sizes) + 1)), len(sizes))
    half = scale * float(sizes[rank - 1])

    def p_of(effect):
        size = abs(fit.value - effect) / scale
        return float((1 + (sizes >= size).sum()) / (1 + len(sizes)))

    return fit.value - half, fit.value + half, p_of


def _by_jackknife(panel, fit):
    if fit.weights.max() > 1 - 1e-9:
        raise ValueError(
            "interval='jackknife': one donor has all the weight and cannot be left out; use "
            "interval='placebo'"
        )
    y = panel.y
    since = panel.since
    # of each unit, the mean since the change less the weighted mean before
    change = y[:, since].mean(axis=1) - y[:, ~since] @ fit.time_weights
    of_treated = change[panel.treated]
    of_donors = change[panel.donors]
    k = len(of_treated)
    mean = of_treated.mean()
    mixture = fit.weights @ of_donors
    without_treated = (of_treated.sum() - of_treated) / (k - 1) - mixture
    without_donor = mean - (mixture - fit.weights * of_donors) / (1 - fit.weights)
    left_out = np.concatenate([without_treated, without_donor])
    n = len(left_out)
    error = float(np.sqrt((n - 1) / n * ((left_out - fit.value) ** 2).sum()))
    half = float(student.ppf(0.975, k - 1)) * error

    def p_of(effect):
        off = abs(fit.value - effect)
        return float(2 * student.sf(off / error, k - 1)) if error else float(off == 0)

    return fit.value - half, fit.value + half, p_of


def _by_conformal(panel, fit, demeaned):
    """Ends of the effects that the shifts of the gaps do not reject, and their p-values."""
    y = panel.y[panel.donors]
    target = panel.y[panel.treated].mean(axis=0)
    level = target.mean()
    target = target - level
    y = y - level
    if demeaned:
        y = y - y.mean(axis=1, keepdims=True)
    n = len(target)
    last = int(panel.since.sum())
    everything = max(np.ptp(target), np.ptp(y))
    # sums of as many times in a row, around the circle; the first is that since the change
    shifts = (np.arange(n)[:, None] + np.arange(n - last, n)) % n

    def p_of(effect):
        without = target - effect * panel.since
        if demeaned:
            without = without - without.mean()
        gaps = without - _simplex((y - without).T) @ y
        sums = np.abs(gaps[shifts].sum(axis=1))
        return float((sums >= sums[0] - 1e-9 * everything).mean())

    def end(sign):
        steps = np.append(0.0, np.geomspace(1e-4, 16, 60)) * everything
        accepted = [p_of(fit.value + sign * step) > 0.05 for step in steps]
        kept = max((i for i, ok in enumerate(accepted) if ok), default=0)
        if kept == len(steps) - 1:
            return sign * np.inf
        low = steps[kept]
        high = steps[kept + 1]
        for _ in range(25):
            middle = (low + high) / 2
            if p_of(fit.value + sign * middle) > 0.05:
                low = middle
            else:
                high = middle
        return float(fit.value + sign * low)

    return end(-1), end(1), p_of


def _widened(value, low, high, p_of, extra):
    """The interval with an independent error of half width ``extra`` added, and the p-value of no
    effect that goes with it.
    """
    if extra == 0:
        return low, high, p_of(0.0)
    side = value - low if value > 0 else high - value
    wider_low = value - math.hypot(value - low, extra)
    wider_high = value + math.hypot(high - value, extra)
    # 0 lies in the wider interval where this point lies in the narrow one
    share = side / math.hypot(side, extra) if np.isfinite(side) else 1.0
    return wider_low, wider_high, p_of(value * (1 - share))


# ---- the verdict ---------------------------------------------------------------------------------


def _judge(panel, fit, placebo, demeaned):
    """Verdict, reasons and diagnostics of the match before the change."""
    before = ~panel.since
    y = panel.y[:, before]
    if demeaned:
        y = y - y.mean(axis=1, keepdims=True)
    target = y[panel.treated].mean(axis=0)
    donors = y[panel.donors]
    outside = float(((target > donors.max(axis=0)) | (target < donors.min(axis=0))).mean())
    spread = float(np.sqrt(donors.var(axis=0, ddof=1).mean())) if len(donors) > 1 else 0.0
    usual = float(np.quantile(placebo.pre_errors, 0.95))
    # rounding is no misfit
    far = fit.pre_error > usual + 1e-9 * _size(donors)
    verdict = "weak" if panel.reasons or far or outside > 0.25 else "supported"
    if far and (fit.pre_error > min(2 * usual, spread) or outside > 0.5):
        verdict = "extrapolated"
    reasons = list(panel.reasons)
    if y.shape[1] < _FEW_TIMES:
        verdict = "weak" if verdict == "supported" else verdict
        reasons.append(f"only {y.shape[1]} times before the change: a match there says little")
    if far:
        reasons.append(
            f"before the change the treated units lie {fit.pre_error:.3g} from their mixture (root "
            f"mean square), 95% of the placebo groups at most {usual:.3g}; the donors' spread is "
            f"{spread:.3g}"
        )
    if outside > 0.25:
        about = " about their own means" if demeaned else ""
        reasons.append(
            f"at {outside:.0%} of the times before the change the treated mean lies{about} above "
            "or below every donor, where no mixture can be"
            + ("" if demeaned else "; demeaned=True compares about each unit's own mean")
        )
    found = {
        "pre_error": fit.pre_error,
        "placebo_pre_error": float(np.median(placebo.pre_errors)),
        "outside": outside,
        "donors": int((fit.weights > 1e-6).sum()),
        "placebo groups": len(placebo.values),
    }
    return verdict, tuple(reasons), found


def _refuse(strict, verdict, reasons):
    if strict and verdict != "supported":
        raise NoOverlapError(f"{verdict}: {'; '.join(reasons)} (strict=False answers nevertheless)")


# ---- the panel -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """``y``: outcomes (units, times) less what ``adjustment`` explains; ``treated``, ``donors``:
    rows of them; ``since``: (times,) bool; ``when``: times as numbers.

    ``slopes``: of the columns that differ between units, as diagnostics; ``covariates``: these
    columns (columns, units, times), and ``slope_variance`` of their slopes.
    """

    y: np.ndarray
    treated: np.ndarray
    donors: np.ndarray
    since: np.ndarray
    units: pd.Index
    times: pd.Index
    when: np.ndarray
    reasons: tuple[str, ...] = ()
    slopes: dict = field(default_factory=dict)
    covariates: np.ndarray | None = None
    slope_variance: np.ndarray | None = None

    def sizes(self):
        return {
            "treated units": len(self.treated),
            "other units": len(self.donors),
            "times before": int((~self.since).sum()),
            "times since": int(self.since.sum()),
        }

    def path(self, observed, counterfactual):
        return pd.DataFrame(
            {"observed": observed, "counterfactual": counterfactual}, index=self.times
        )

    def slope_error(self, fit):
        """Standard error that the slopes of the adjustment add to the effect."""
        if self.covariates is None:
            return 0.0
        gap = self.covariates[:, self.treated].mean(axis=1) - np.einsum(
            "n,cnt->ct", fit.weights, self.covariates[:, self.donors]
        )
        moved = gap[:, self.since].mean(axis=1)
        if fit.time_weights is not None:
            moved = moved - gap[:, ~self.since] @ fit.time_weights
        return float(np.sqrt(max(moved @ self.slope_variance @ moved, 0.0)))


def _panel(frame, outcome, treated, unit, time, adjustment=()):
    """The checked panel, its units and times sorted."""
    if isinstance(adjustment, str):
        raise ValueError(f"adjustment: a list of columns is needed; write [{adjustment!r}]")
    adjustment = list(adjustment)
    roles = {"outcome": outcome, "treated": treated, "unit": unit, "time": time}
    _distinct(roles, adjustment)
    columns = [*roles.values(), *adjustment]
    check_frame(frame, columns, key=[unit, time], complete=True)
    values = _finite_outcome(frame[outcome])
    on = check_binary(frame[treated], name=f"treated {treated!r}")
    check_ids(frame[unit])
    row, units = pd.factorize(frame[unit], sort=True)
    moments = _moments(frame[time], time)
    when, first, column = np.unique(moments, return_index=True, return_inverse=True)
    cells = len(units) * len(when)
    missing = cells - len(frame)
    if missing:
        raise ValueError(
            f"frame: {missing} of {cells} pairs of {unit!r} and {time!r} have no row; every "
            "unit is needed at every time: fill the cells, or drop the units or times that lack "
            "them"
        )

    def wide(values):
        table = np.empty((len(units), len(when)))
        table[row, column] = values
        return table

    y = wide(values)
    of_treated, since = _block(wide(on) == 1, treated, units, frame[time].iloc[first])
    _enough(int((~since).sum()), int(since.sum()), 2, "times before and since the change", since=1)
    panel = {
        "treated": np.flatnonzero(of_treated),
        "donors": np.flatnonzero(~of_treated),
        "since": since,
        "units": pd.Index(units, name=unit),
        "times": pd.Index(frame[time].iloc[first], name=time),
        "when": when,
    }
    tables = {name: wide(_finite(frame[name], name)) for name in adjustment}
    return _adjusted(
        _Panel(y, reasons=tuple(far_among(values, outcome, "outcome")), **panel), tables
    )


def _distinct(roles, adjustment):
    seen = {}
    for role, name in [*roles.items(), *(("adjustment", name) for name in adjustment)]:
        if name in seen:
            raise ValueError(f"{role} {name!r}: is {seen[name]} already; give each column one role")
        seen[name] = f"the {role}" if role != "adjustment" else "in adjustment"


def _block(on, treated, units, times):
    """Which units are treated (units,) and since when (times,); ValueError unless all start
    together and none stops.
    """
    of_treated = on.any(axis=1)
    stops = (np.diff(on.astype(int), axis=1) < 0).any(axis=1)
    if stops.any():
        raise ValueError(
            f"treated {treated!r}: {int(stops.sum())} of {int(of_treated.sum())} treated units "
            f"stop again, first {units[np.flatnonzero(stops)[0]]}; take the times before the first "
            "stop, since an effect may last"
        )
    always = on.all(axis=1)
    if always.any():
        raise ValueError(
            f"treated {treated!r}: {int(always.sum())} of {int(of_treated.sum())} treated units "
            f"have 1 at every time, first {units[np.flatnonzero(always)[0]]}, and show nothing of "
            "the times before the change; a column that marks a group is to be 1 only since the "
            "change, as by (group == 1) & (time >= start); leave out units that were always treated"
        )
    starts = on[of_treated].argmax(axis=1)
    different = np.unique(starts)
    if len(different) > 1:
        shown = ", ".join(
            f"{times.iloc[start]} ({int((starts == start).sum())} units)" for start in different[:5]
        )
        raise ValueError(
            f"treated {treated!r}: {int(of_treated.sum())} treated units start at "
            f"{len(different)} different times: {shown}; one common start is needed: take the "
            "units of one start at a time, with those that are never treated"
        )
    return of_treated, np.arange(on.shape[1]) >= different[0]


def _adjusted(panel, tables):
    """The panel with what the columns ``tables`` (name -> (units, times)) explain taken away."""
    own = {}
    shared = {}
    for name, table in tables.items():
        if np.ptp(table, axis=1).max() == 0:
            raise ValueError(
                f"adjustment {name!r}: does not vary over time in any unit; leave it out (levels "
                "of units need no adjustment), or adjust by effect() on one row per unit"
            )
        (shared if np.ptp(table, axis=0).max() == 0 else own)[name] = table
    if not tables:
        return panel
    before = ~panel.since
    n_times = len(panel.since)
    common = np.array([table[0] for table in shared.values()]).reshape(len(shared), n_times)
    common = common - common[:, before].mean(axis=1, keepdims=True)
    common = common / (np.abs(common).max(axis=1, keepdims=True) + (common == 0).all(1)[:, None])
    basis = np.vstack([np.ones(n_times), common]).T
    if shared:
        needed = len(shared) + 3
        if before.sum() < needed or np.linalg.matrix_rank(basis[before]) < basis.shape[1]:
            raise ValueError(
                f"adjustment {', '.join(map(repr, shared))}: the same in all units at each time, "
                f"so each unit's slope is fitted before the change; the {int(before.sum())} times "
                f"there do not show it ({needed} or more are needed, in which every column varies "
                "and none is a sum of others)"
            )
    changes = {"reasons": panel.reasons + _beyond(panel, tables)}
    y = panel.y
    if own:
        covariates = np.array(list(own.values()))
        slopes, variance = _slopes(y[panel.donors], covariates[:, panel.donors], basis, list(own))
        y = y - np.einsum("c,cnt->nt", slopes, covariates)
        changes |= {"covariates": covariates, "slope_variance": variance}
        changes["slopes"] = {
            f"slope of {name}": float(slope) for name, slope in zip(own, slopes, strict=True)
        }
    if shared:
        fitted = np.linalg.lstsq(basis[before], y[:, before].T, rcond=None)[0]
        y = y - (basis[:, 1:] @ fitted[1:]).T
    return dataclasses.replace(panel, y=y, **changes)


def _beyond(panel, tables):
    """Reasons for doubt: columns that leave the range which shows their slope."""
    found = []
    for name, table in tables.items():
        if np.ptp(table, axis=0).max() == 0:
            seen = table[0, ~panel.since]
            where = "before the change"
        else:
            seen = table[panel.donors]
            where = "among the donors"
        late = table[panel.treated][:, panel.since]
        low = seen.min()
        high = seen.max()
        margin = 0.25 * (high - low)
        off = float(((late < low - margin) | (late > high + margin)).mean())
        if off > 0.05:
            found.append(
                f"{name!r} of the treated units lies since the change in {off:.0%} of the cells "
                f"outside its values {where} ({low:.3g} to {high:.3g}): its slope is continued as "
                "a straight line"
            )
    return tuple(found)


def _slopes(y, covariates, basis, names):
    """Slopes (columns,) on ``covariates`` (columns, donors, times) and their variance, clustered by
    donor; levels of donors and times, and each donor's slopes on ``basis``, are free.
    """
    q, _ = np.linalg.qr(basis)

    def within(table):
        table = table - (table @ q) @ q.T
        return table - table.mean(axis=0)

    x = np.array([within(table) for table in covariates])
    scale = np.sqrt((x**2).mean(axis=(1, 2)))
    typical = np.array([table.std() for table in covariates])
    for name, inner, outer in zip(names, scale, typical, strict=True):
        if not inner > 1e-9 * outer:
            raise ValueError(
                f"adjustment {name!r}: among the {len(y)} donors it does not vary beyond levels of "
                "units and of times; leave it out"
            )
    x = x / scale[:, None, None]
    flat = x.reshape(len(x), -1).T
    if np.linalg.matrix_rank(flat, tol=1e-9 * np.linalg.norm(flat)) < len(x):
        raise ValueError(
            f"adjustment {', '.join(map(repr, names))}: among the donors one is a sum of others; "
            "leave it out"
        )
    target = within(y)
    slopes = np.linalg.lstsq(flat, target.ravel(), rcond=None)[0]
    residual = target - np.einsum("c,cnt->nt", slopes, x)
    bread = np.linalg.inv(flat.T @ flat)
    scores = np.einsum("cnt,nt->nc", x, residual)
    n = len(y)
    variance = bread @ (scores.T @ scores) @ bread * n / (n - 1)
    return slopes / scale, variance / np.outer(scale, scale)


def _moments(values, name):
    """Times as numbers (n,), in days for dates; ValueError for text."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _days(values)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy(dtype=float)
    kinds = set(map(type, values))
    if all(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        return _days(pd.to_datetime(values))
    if kinds == {pd.Period}:
        return _days(pd.PeriodIndex(values).to_timestamp().to_series())
    if all(issubclass(kind, numbers.Number) for kind in kinds):
        return values.to_numpy(dtype=float)
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(
        f"time {name!r}: holds values of type {shown}; "
        "text has no order in time ('10' comes before '9'): convert it by pd.to_datetime or to "
        "numbers first"
    )


def _days(values):
    stamps = pd.DatetimeIndex(values)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return ((stamps - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(dtype=float)


def _start(start, values, name):
    """``start`` as a number on the scale of `_moments`."""
    number = isinstance(start, numbers.Number)
    dates = not pd.api.types.is_numeric_dtype(values.dtype) and not all(
        isinstance(value, numbers.Number) for value in values
    )
    if dates == number:
        kind = "dates" if dates else "numbers"
        raise ValueError(f"start={start!r}: time {name!r} holds {kind}; give the start as one")
    if number:
        return float(start)
    stamp = pd.Timestamp(start.start_time if isinstance(start, pd.Period) else start)
    zone = getattr(values.dtype, "tz", None)
    if zone is not None and stamp.tz is None:
        stamp = stamp.tz_localize(zone)
    return float(_days(pd.DatetimeIndex([stamp]))[0])


def _finite_outcome(values):
    return check_outcome(_finite(values, values.name), values.name)


def _finite(values, name):
    return number_of(values.to_frame(name), name)


def _welch(first, second):
    """Difference of the means, its 95% interval and the p-value of any other, by Welch's t."""
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    value = float(first.mean() - second.mean())
    if first.var() == 0 and second.var() == 0:
        return value, value, value, lambda other: float(value == other)
    means = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    low, high = means.tconfint_diff(usevar="unequal")
    _, _, df = means.ttest_ind(usevar="unequal")
    error = (high - low) / 2 / student.ppf(0.975, df)

    def p_of(other):
        return float(2 * student.sf(abs(value - other) / error, df))

    return value, float(low), float(high), p_of


def _known(interval, names):
    if interval not in names:
        raise ValueError(f"interval={interval!r}: must be one of {', '.join(map(repr, names))}")


def _enough_placebos(panel, placebos):
    if placebos < 19:
        raise ValueError(f"placebos={placebos}: an interval of 95% needs 19 or more")
    k = len(panel.treated)
    _enough(
        k,
        len(panel.donors),
        1,
        "treated units and donors (19 donors of one treated unit, 5 of more)",
        since=19 if k == 1 else 5,
    )


def _enough(first, second, least, what, *, since=None):
    if first < least or second < (since or least):
        raise ValueError(
            f"{first} and {second} {what}: at least {least} and {since or least} are needed"
        )
