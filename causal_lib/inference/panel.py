"""Effects of a change: interrupted time series, difference in differences, synthetic control."""

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import norm, ttest_ind

from causal_lib.checks import check_binary, check_frame, check_outcome

_Z = norm.ppf(0.975)


@dataclass(frozen=True, repr=False)
class PanelEffect:
    """Average effect of a change on the treated units since it happened, with its 95% interval.

    Attributes
    ----------
    value, low, high : in units of the outcome. p_value : of no effect at all.
    path : by time, the mean ``observed`` of the treated units and their ``counterfactual`` mean
        without the change.
    diagnostics : numbers of times and units; checks of the assumptions (listed by each estimator).
    weights : of synthetic control, (treated units, donors), rows add up to 1.
    """

    outcome: str
    estimator: str
    value: float
    low: float
    high: float
    p_value: float
    path: pd.DataFrame
    diagnostics: dict = field(default_factory=dict)
    weights: pd.DataFrame | None = None

    def covers(self, truth: float) -> bool:
        """Whether the 95% interval holds ``truth``."""
        return bool(self.low <= truth <= self.high)

    def to_dict(self) -> dict:
        """The effect as JSON types, without path and weights."""
        names = ("outcome", "estimator", "value", "low", "high", "p_value")
        return {name: getattr(self, name) for name in names} | {"diagnostics": self.diagnostics}

    def __repr__(self):
        return (
            f"effect of the change on {self.outcome} ({self.estimator}): {self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}], "
            f"p = {self.p_value:.3f}"
        )


def interrupted_time_series(
    frame: pd.DataFrame, outcome: str, *, time: str, start: float, lags: int | None = None
) -> PanelEffect:
    """The mean gap, since ``start``, between a broken line and the continuation of its first part.

    Model: y_t = a + b t + [t >= start] (c + d (t - start)) + noise; the effect is the mean of c + d
    (t - start) over the times since ``start``, with errors robust to autocorrelation (Newey and
    West, by statsmodels). Assumes that without the change the line would have continued: nothing
    else happened near ``start``, and there is no season or drift.

    Parameters
    ----------
    frame : one row per time (of many units: their mean). time : column of numbers. start : the
        first time of the change.
    lags : over which the noise is correlated; None: the whole part of 4 (n / 100)^(2/9).

    Raises
    ------
    ValueError
        for missing values, times that repeat, fewer than 4 before or since ``start``, or lags out
        of range.

    Diagnostics: lags; level and slope (c, d); autocorrelation of the residuals at one step.

    Source: Wagner and others 2002; Bernal, Cummins and Gasparrini 2017; Newey and West 1987.

    >>> days = pd.DataFrame({"day": range(8), "tone": [0, 1, 2, 3, 14, 15, 16, 17]})
    >>> round(interrupted_time_series(days, "tone", time="day", start=4).value, 6)
    10.0
    """
    check_frame(frame, [time, outcome], key=[time], complete=True)
    ordered = frame.sort_values(time)
    y = check_outcome(ordered[outcome])
    when = ordered[time].to_numpy(dtype=float)
    n = len(y)
    since = when >= start
    _enough(int((~since).sum()), int(since.sum()), 4, f"times before and since start={start:g}")
    lags = int(4 * (n / 100) ** (2 / 9)) if lags is None else lags
    if not 0 <= lags < n:
        raise ValueError(f"lags={lags}: must be from 0 to {n - 1}, below the number of times")
    x = np.column_stack([np.ones(n), when - start, since, since * (when - start)])
    # slow to import, and needed here alone
    from statsmodels.regression.linear_model import OLS

    newey_west = {"maxlags": lags, "use_correction": True}
    line = OLS(y, x).fit(cov_type="HAC", cov_kwds=newey_west)
    residuals = line.resid
    change = np.array([0, 0, 1, (when - start)[since].mean()])
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
        "slope": float(line.params[3]),
        "autocorrelation": float(residuals[1:] @ residuals[:-1] / variation) if variation else 0.0,
    }
    p = float(2 * norm.sf(abs(value) / error)) if error else float(value == 0)
    half = _Z * error
    return PanelEffect(
        outcome, "interrupted time series", value, value - half, value + half, p, path, found
    )


def difference_in_differences(
    frame: pd.DataFrame, outcome: str, *, treated: str, unit: str, time: str
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
        met the change from one common time on. unit, time : columns; time of numbers.

    Raises
    ------
    ValueError
        for missing values, a unit that lacks a time, a treatment that ends or starts at different
        times, fewer than 2 treated units, 2 others or 2 times before.

    Diagnostics: pre_trend, the difference of the mean slopes before the change (treated less
    others, by step of time), and pre_trend_p. A test that finds no slope does not prove parallel
    trends: it has little power (Roth 2022).

    Source: Card and Krueger 1994; Bertrand, Duflo and Mullainathan 2004.

    >>> panel = pd.DataFrame({"shop": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], "day": [0, 1, 2] * 4})
    >>> panel["new"] = ((panel["shop"] < 2) & (panel["day"] == 2)).astype(int)
    >>> panel["sales"] = panel["shop"] + panel["day"] + 5.0 * panel["new"]
    >>> columns = {"treated": "new", "unit": "shop", "time": "day"}
    >>> round(difference_in_differences(panel, "sales", **columns).value, 6)
    5.0
    """
    wide, of_treated, since = _panel(frame, outcome, treated, unit, time)
    _enough(int(of_treated.sum()), int((~of_treated).sum()), 2, "treated units and others")
    _enough(int((~since).sum()), int(since.sum()), 2, "times before and since the change", since=1)
    y = wide.to_numpy()
    when = wide.columns.to_numpy(dtype=float)
    change = y[:, since].mean(axis=1) - y[:, ~since].mean(axis=1)
    value, low, high, p = _welch(change[of_treated], change[~of_treated])
    before = when[~since] - when[~since].mean()
    slopes = y[:, ~since] @ before / (before @ before)
    trend, _, _, trend_p = _welch(slopes[of_treated], slopes[~of_treated])
    of_change = y[of_treated].mean(axis=0)
    of_others = y[~of_treated].mean(axis=0)
    shifted = of_others + (of_change - of_others)[~since].mean()
    path = pd.DataFrame({"observed": of_change, "counterfactual": shifted}, index=wide.columns)
    found = _sizes(of_treated, since) | {"pre_trend": trend, "pre_trend_p": trend_p}
    return PanelEffect(outcome, "difference in differences", value, low, high, p, path, found)


def synthetic_control(
    frame: pd.DataFrame,
    outcome: str,
    *,
    treated: str,
    unit: str,
    time: str,
    demeaned: bool = False,
    placebos: int = 999,
    seed: int = 0,
) -> PanelEffect:
    """The mean gap, since the change, of treated units to mixtures that matched them before.

    Of each treated unit the weights w >= 0 with sum 1 of the others (donors) minimise the squared
    distance to its outcomes before the change. Assumes that few common factors move the outcomes,
    that a mixture which matches before the change would match after it, and that the change did not
    affect the donors.

    Placebos in space: every donor is taken for treated in turn, with the other donors as its own.
    The p-value is the share of averages, over as many placebo gaps as there are treated units, that
    are as large as the effect; the interval is the effect and the 95% quantile of their size to
    both sides. Both assume that the treated units were drawn like the donors.

    Parameters
    ----------
    frame, treated, unit, time : as of `difference_in_differences`.
    demeaned : match the outcomes about each unit's own mean before the change, so that levels need
        not be reached (Ferman and Pinto 2021).
    placebos : averages that are drawn with ``seed``, 19 or more; of one treated unit, every donor
        instead.

    Raises
    ------
    ValueError
        as `difference_in_differences`, but one treated unit is enough; for fewer than 19 donors of
        one treated unit, 5 of more, or 19 placebos.

    Diagnostics: pre_error, root mean squared distance of the treated units to their mixtures before
    the change; placebo_pre_error, the same of the placebos (both in units of the outcome); donors,
    how many have positive weight on average.

    Source: Abadie, Diamond and Hainmueller 2010; several treated units, Cavallo and others 2013.
    """
    wide, of_treated, since = _panel(frame, outcome, treated, unit, time)
    k = int(of_treated.sum())
    n_donors = int((~of_treated).sum())
    _enough(int((~since).sum()), int(since.sum()), 2, "times before and since the change", since=1)
    _enough(
        k,
        n_donors,
        1,
        "treated units and donors (19 donors of one treated unit, 5 of more)",
        since=19 if k == 1 else 5,
    )
    if placebos < 19:
        raise ValueError(f"placebos={placebos}: an interval of 95% needs 19 or more")
    y = wide.to_numpy()
    level = y[:, ~since].mean(axis=1, keepdims=True) if demeaned else np.zeros((len(y), 1))
    moved = y - level
    donors = np.flatnonzero(~of_treated)
    weights = np.array(
        [_mixture(moved[i, ~since], moved[donors][:, ~since]) for i in np.flatnonzero(of_treated)]
    )
    without = weights @ moved[donors] + level[of_treated]
    gap = y[of_treated] - without
    placebo = np.array(
        [moved[i] - _counterfactual(moved, i, donors[donors != i], since) for i in donors]
    )
    value = float(gap[:, since].mean())
    rng = np.random.default_rng(seed)
    of_donor = placebo[:, since].mean(axis=1)
    # One treated unit: each donor once. More: drawn with replacement, since an average of many of
    # few distinct donors would vary less than that of as many units drawn from the donors'
    # population.
    groups = np.arange(n_donors)[:, None] if k == 1 else rng.integers(n_donors, size=(placebos, k))
    sizes = np.sort(np.abs(of_donor[groups].mean(axis=1)))
    # of the sizes and the effect's own, 95% are not above it
    half = float(sizes[int(np.ceil(0.95 * (len(sizes) + 1))) - 1])
    p = float((1 + (sizes >= abs(value)).sum()) / (1 + len(sizes)))
    path = pd.DataFrame(
        {"observed": y[of_treated].mean(axis=0), "counterfactual": without.mean(axis=0)},
        index=wide.columns,
    )
    found = _sizes(of_treated, since) | {
        "pre_error": float(np.sqrt((gap[:, ~since] ** 2).mean())),
        "placebo_pre_error": float(np.sqrt((placebo[:, ~since] ** 2).mean())),
        "donors": float((weights > 1e-6).sum(axis=1).mean()),
    }
    name = "synthetic control, demeaned" if demeaned else "synthetic control"
    table = pd.DataFrame(weights, index=wide.index[of_treated], columns=wide.index[donors])
    return PanelEffect(outcome, name, value, value - half, value + half, p, path, found, table)


def _counterfactual(moved, i, others, since):
    """(times,) outcomes of the mixture of ``others`` nearest to unit ``i`` before the change."""
    return _mixture(moved[i, ~since], moved[others][:, ~since]) @ moved[others]


def _mixture(target, donors):
    """Weights >= 0 with sum 1 of the ``donors`` (rows) nearest to ``target``, exactly."""
    # With sum 1 the distance is ||D w||, the columns of D being donor - target. One more row asks
    # for a sum of 1: the answer is s v with v on the simplex, and ||D s v||^2 + m^2 (s - 1)^2 is
    # least at the same v whatever s and m.
    distances = (donors - target).T
    size = np.sqrt((distances**2).mean()) or 1.0
    stacked = np.vstack([distances / size, np.ones(len(donors))])
    w, _ = nnls(stacked, np.append(np.zeros(len(target)), 1.0))
    return w / w.sum()


def _welch(first, second):
    """Difference of the means, its 95% interval and p-value, by Welch's t."""
    value = float(first.mean() - second.mean())
    if first.var() == 0 and second.var() == 0:
        return value, value, value, float(value == 0)
    with warnings.catch_warnings():
        # scipy warns where the values of a group are all alike; the other group's variance remains
        warnings.simplefilter("ignore", RuntimeWarning)
        test = ttest_ind(first, second, equal_var=False)
        low, high = test.confidence_interval()
    return value, float(low), float(high), float(test.pvalue)


def _panel(frame, outcome, treated, unit, time):
    """Outcomes (units by times, sorted), which units are treated, which times are since."""
    check_frame(frame, [outcome, treated, unit, time], key=[unit, time], complete=True)
    check_outcome(frame[outcome])
    check_binary(frame[treated], name=f"treated {treated!r}")

    def pivoted(column):
        layout = {"index": unit, "columns": time, "aggfunc": "first", "observed": True}
        return frame.pivot_table(values=column, **layout)

    wide = pivoted(outcome)
    missing = int(wide.isna().sum().sum())
    if missing:
        raise ValueError(
            f"frame: {missing} of {wide.size} pairs of {unit!r} and {time!r} have no row; every "
            "unit is needed at every time"
        )
    on = pivoted(treated).to_numpy() == 1
    of_treated = on.any(axis=1)
    since = on[of_treated].any(axis=0)
    late = int((on[of_treated] != np.maximum.accumulate(since)).any(axis=1).sum())
    if late:
        raise ValueError(
            f"treated {treated!r}: {late} of {int(of_treated.sum())} treated units start later "
            "than the first or stop again; "
            "one common start is needed (take the units of one start at a time)"
        )
    return wide.astype(float), of_treated, since


def _enough(first, second, least, what, *, since=None):
    if first < least or second < (since or least):
        raise ValueError(
            f"{first} and {second} {what}: at least {least} and {since or least} are needed"
        )


def _sizes(of_treated, since):
    return {
        "treated units": int(of_treated.sum()),
        "other units": int((~of_treated).sum()),
        "times before": int((~since).sum()),
        "times since": int(since.sum()),
    }
