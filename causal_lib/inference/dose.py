"""Dose response: mean outcomes at each level of a continuous treatment, such as a price."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde, norm
from sklearn.ensemble import HistGradientBoostingRegressor

from causal_lib.checks import (
    check_column_names,
    check_columns,
    check_contrast,
    check_frame,
    check_no_copy,
    check_number,
    check_outcome,
)
from causal_lib.columns import as_numbers, column_kind, number_of
from causal_lib.inference.covariates import Covariates, wide
from causal_lib.inference.far_values import warn_of_far
from causal_lib.inference.least_squares import LeastSquares
from causal_lib.inference.models import fit, folds, held_out
from causal_lib.inference.nuisances import (
    NoOverlapError,
    standard_error,
)
from causal_lib.ordering import canonical_columns, canonical_order
from causal_lib.resampling import cluster_codes

_FEW = 10
_GRID = 60  # quantiles of the treatment at which averages over all rows are taken
_LEVELS = 20
_LEAST = 0.01  # of the average density at a level: a row with less could not have had it
_FLOOR = 0.05  # of the average density: no row has a weight over 20
_MOST_OUT = 0.1
_LEFT = 0.01  # of the treatment's variance: less is none
_MOST_FIXED = 0.01
_NEAR = 20
_BANDWIDTHS = np.geomspace(0.1, 2.0, 15)  # in standard deviations of the treatment
_TREATMENT = ""  # its name beside the columns: none of them is called so
_SPREAD = {
    "loss": "poisson",
    "max_iter": 50,
    "learning_rate": 0.05,
    "max_leaf_nodes": 7,
    "min_samples_leaf": 100,
}


def dose_response(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    *,
    adjustment: Sequence[str],
    at: Sequence[float] | None = None,
    contrast: tuple[float, float] | None = None,
    bandwidth: float | None = None,
    cluster: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """E[outcome | do(treatment = a)] at each level a: columns level, value, low, high.

    With ``contrast``, E[outcome | do(treated)] - E[outcome | do(control)] for its two levels: one
    row, with columns control, treated, value, low, high.

    Assumes that ``adjustment`` closes every back-door path and that the curve is smooth. The
    pseudo-outcome ξ = (y - μ(x, t)) ϖ(t) / π(t | x) + m(t), with m(a) and ϖ(a) the means of μ(x, a)
    and π(a | x) over the rows, has the curve as its regression on t if either the outcome model μ
    or the density π is right. μ and the mean of t are stacks of models sized to the table, as of
    `effects.effect`; π has a boosted variance and a kernel density of the residuals. All are fitted
    in 5 folds. Weights ϖ / π are at most 20. The order of rows and columns, and units, change
    nothing.

    Parameters
    ----------
    frame : one row per unit; treatment a number with over 10 values, outcome numeric or 0/1,
        adjustment columns numbers, categories or dates, no missing values.
    adjustment : a back-door set; [] smooths the raw outcome: the naive answer.
    at : levels within the range of the treatment; by default 20 in equal steps from its 5th to its
        95th percentile.
    contrast : (control, treated), two levels of which the difference is asked for, instead of at.
    bandwidth : of the Gaussian kernel, in units of the treatment; by default the least one whose
        leave-one-out loss (of the local-linear fit) is within a standard error of the least loss.
        Value and interval (95%, for each level by itself) are those of the local quadratic at this
        bandwidth, so that bias is small against the error.
    cluster : column whose groups are kept together in folds and standard errors.

    Raises
    ------
    NoOverlapError
        where at some level over 10% of the rows have under 1% of the average density; or where the
        adjustment leaves under 1% of the treatment's variance, overall or in over 1% of the rows.
    ValueError
        for a treatment with 10 values or fewer, levels outside its range or with fewer than 20 rows
        near, a constant outcome, missing or infinite values, an adjustment set that holds treatment
        or outcome, too few rows or clusters.

    Source: Kennedy, Ma, McHugh and Small 2017; Calonico, Cattaneo and Farrell 2018 (bias).
    """
    check_column_names(treatment=treatment, outcome=outcome, cluster=cluster)
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    adjustment = check_columns(adjustment, name="adjustment")
    if own := sorted({treatment, outcome} & set(adjustment)):
        raise ValueError(f"adjustment holds {', '.join(own)} itself")
    others = [] if cluster is None else [cluster]
    check_frame(frame, [treatment, outcome, *adjustment, *others], complete=True)
    t = _continuous(frame[treatment])
    y = check_outcome(number_of(frame, outcome), outcome)
    warn_of_far(y, outcome, "outcome")
    warn_of_far(t, treatment, "treatment")
    x = Covariates.fit(frame, adjustment).table(frame)
    check_no_copy(x, y, outcome)
    x = x[canonical_columns(x, y, t)]
    groups = cluster_codes(frame, cluster)
    order = canonical_order(x, y, t, clusters=groups)
    t = t[order]
    y = y[order]
    x = x.iloc[order].reset_index(drop=True)
    groups = pd.factorize(groups[order])[0]
    if contrast is not None:
        check_contrast(contrast)
        if at is not None:
            raise ValueError("give contrast= or at=, not both")
        at = contrast
    if at is None:
        at = np.linspace(*np.quantile(t, [0.05, 0.95]), _LEVELS)
    try:
        at = np.asarray(at, dtype=float).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"at: levels are numbers, not {at!r}") from None
    if not len(at) or not ((at >= t.min()) & (at <= t.max())).all():
        raise ValueError(
            f"{'at' if contrast is None else 'contrast'}: levels must lie within those seen, "
            f"[{t.min():g}, {t.max():g}]; "
            f"found {at.tolist()}"
        )
    if bandwidth is not None and not check_number(bandwidth, name="bandwidth") > 0:
        raise ValueError(f"{bandwidth=} must be above 0")
    grid = np.unique(np.quantile(t, np.linspace(0, 1, _GRID)))
    if x.shape[1]:
        pseudo, deviation = _pseudo_outcomes(y, t, x, groups, seed, grid, at)
    else:
        pseudo = y
        deviation = np.zeros((len(y), len(grid)))
    width = bandwidth or _cross_validated(pseudo, t, grid)
    points = [_local_quadratic(pseudo, t, level, width, grid, deviation) for level in at]
    if contrast is not None:
        (control, of_control), (treated, of_treated) = points
        value = treated - control
        half = norm.ppf(0.975) * standard_error(of_treated - of_control, groups)
        ends = [(*map(float, at), value, value - half, value + half)]
        return pd.DataFrame(ends, columns=["control", "treated", "value", "low", "high"])
    rows = []
    for level, (value, influence) in zip(at, points, strict=True):
        half = norm.ppf(0.975) * standard_error(influence, groups)
        rows.append((float(level), value, value - half, value + half))
    return pd.DataFrame(rows, columns=["level", "value", "low", "high"])


def _continuous(values):
    distinct = values.nunique()
    if column_kind(values) != "number" or distinct <= _FEW:
        raise ValueError(
            f"treatment {values.name!r} has {distinct} levels of type {values.dtype}: a curve "
            f"needs a number with over {_FEW}; "
            "compare levels by effect with contrast=(control, treated)"
        )
    return as_numbers(values)


def _pseudo_outcomes(y, t, x, groups, seed, grid, at):
    """(n,) pseudo-outcomes, and (n, grid) predicted outcomes less their mean at each level."""
    spread = np.empty(len(t))
    splits = list(folds(groups, seed))
    columns = wide(x)
    centre = held_out(t, x, splits, (), seed=seed)
    left = t - centre
    _check_moves(left, t)
    unit = left.std()  # trees stop at gains of a fixed size
    for train, test in splits:
        model = HistGradientBoostingRegressor(**_SPREAD, random_state=seed).fit(
            columns[train], (left[train] / unit) ** 2
        )
        spread[test] = unit * np.sqrt(model.predict(columns[test]))
    _check_moves(left, t, spread**2)
    # a kernel density in one dimension with n rows needs no folds
    standard = left / spread
    ends = np.linspace(standard.min() - 1, standard.max() + 1, 500)
    heights = gaussian_kde(standard)(ends)

    def density(levels):  # (n,) or (n, 1) levels against the rows
        from_centre = (levels - centre) / spread
        return np.interp(from_centre, ends, heights, left=0, right=0) / spread

    _check_reach(at, density, t)
    usual = np.array([density(level).mean() for level in grid])
    weights = np.interp(t, grid, usual) / np.maximum(density(t), _FLOOR * np.interp(t, grid, usual))
    predicted = np.empty((len(y), len(grid)))
    own = np.empty(len(y))
    for train, test in splits:
        model = fit(y[train], _with(x.iloc[train], t[train]), seed, groups=groups[train])
        own[test] = model(_with(x.iloc[test], t[test]))
        every = x.iloc[np.repeat(test, len(grid))]
        every = _with(every, np.tile(grid, len(test)))
        predicted[test] = model(every).reshape(len(test), len(grid))
    curve = predicted.mean(axis=0)
    return (y - own) * weights + np.interp(t, grid, curve), predicted - curve


def _with(x, t):
    """The columns ``x`` with the treatment ``t`` (n,) beside them."""
    return x.assign(**{_TREATMENT: t})


def _check_moves(left, t, variance=None):
    """Raise NoOverlapError where the adjustment leaves (n,) next to nothing of the treatment.

    Overall, or for over 1% of the rows by ``variance`` (n,), that given the row's columns.
    """
    share = float(left.var() / t.var())
    way_out = "restrict the question to rows whose treatment could have been another"
    if share < _LEFT:
        raise NoOverlapError(
            f"no overlap: the adjustment columns explain {1 - share:.1%} of the "
            f"treatment; {way_out}"
        )
    fixed = np.zeros(1, dtype=bool) if variance is None else variance < _LEFT * t.var()
    if fixed.mean() > _MOST_FIXED:
        raise NoOverlapError(
            f"no overlap: for {fixed.sum()} of {len(t)} rows the adjustment columns leave the "
            f"treatment under {_LEFT:.0%} of its variance; {way_out}"
        )


def _check_reach(at, density, t):
    out = np.array([(near < _LEAST * near.mean()).mean() for near in map(density, at)])
    if (out > _MOST_OUT).any():
        bad = ", ".join(f"{level:.4g}" for level in at[out > _MOST_OUT])
        raise NoOverlapError(
            f"no overlap: {out.max():.0%} of {len(t)} rows are out of reach of level "
            f"{at[out.argmax()]:.4g} (density there under "
            f"{_LEAST:.0%} of the average row's; {_MOST_OUT:.0%} are allowed); leave out of at: "
            f"{bad}"
        )


def _cross_validated(pseudo, t, grid):
    """The least bandwidth whose leave-one-out loss is within one standard error of the least one's.

    The fit is local-linear, interpolated between ``grid``, over the middle nine tenths of the rows.
    Pseudo-outcomes have long tails, so the bandwidth of least loss often flattens the curve.
    """
    low, high = np.quantile(t, [0.05, 0.95])
    grid = grid[(grid >= low) & (grid <= high)]
    inside = (t >= low) & (t <= high)
    losses = {}
    for width in _BANDWIDTHS * t.std():
        steps = (t - grid[:, None]) / width
        kernel = np.exp(-(steps**2) / 2)
        s0 = kernel.sum(axis=1)
        s1 = (kernel * steps).sum(axis=1)
        s2 = (kernel * steps**2).sum(axis=1)
        size = s0 * s2 - s1**2
        if (s0**2 < _NEAR * (kernel**2).sum(axis=1)).any() or (size <= 0).any():
            continue
        fitted = (s2 * (kernel @ pseudo) - s1 * ((kernel * steps) @ pseudo)) / size
        # a row's weight on its own fit: the kernel is 1 at 0
        own = np.interp(t[inside], grid, s2 / size)
        losses[width] = ((pseudo[inside] - np.interp(t[inside], grid, fitted)) / (1 - own)) ** 2
    if not losses:
        raise ValueError(
            f"{len(t)} rows are too few or too uneven to choose a bandwidth; give bandwidth"
        )
    best = min(losses.values(), key=np.mean)
    excess = {width: loss - best for width, loss in losses.items()}
    return float(
        min(
            width
            for width, more in excess.items()
            if more.mean() <= more.std() / np.sqrt(len(more))
        )
    )


def _local_quadratic(pseudo, t, level, width, grid, deviation):
    """Value at ``level`` and each row's influence, by its pseudo-outcome and by the averages."""
    steps = (t - level) / width
    kernel = np.exp(-(steps**2) / 2)
    near = float(kernel.sum() ** 2 / max((kernel**2).sum(), 1e-300))
    if near < _NEAR:
        raise ValueError(
            f"level {level:g}: {near:.0f} rows near it are too few (bandwidth {width:.3g}); give "
            "at, or a wider bandwidth"
        )
    line = LeastSquares.of(np.column_stack([steps, steps**2]), pseudo, kernel)
    share = line.prediction(np.zeros(2))  # of each pseudo-outcome in the value
    # divided by 1 - leverage as HC3 does, since few rows are near
    own = len(t) * share * line.left / np.maximum(1 - line.leverage, 1e-6)
    return float(share @ pseudo), own + deviation @ _on_grid(share, t, grid)


def _on_grid(share, t, grid):
    """(grid,) s, such that s @ f is the sum over rows of share (n,) x f interpolated at t."""
    left = np.clip(np.searchsorted(grid, t, side="right") - 1, 0, len(grid) - 2)
    part = (t - grid[left]) / (grid[left + 1] - grid[left])
    found = np.bincount(left, share * (1 - part), minlength=len(grid))
    return found + np.bincount(left + 1, share * part, minlength=len(grid))
