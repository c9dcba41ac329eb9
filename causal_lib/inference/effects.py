"""Average effect of a treatment: one call, several estimators, an interval and diagnostics."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.checks import (
    check_binary,
    check_columns,
    check_frame,
    check_names,
    check_numeric,
    check_outcome,
)
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import why_no_adjustment_set
from causal_lib.inference.equivalence import identify_class
from causal_lib.inference.estimators import (
    ESTIMATORS,
    Sample,
    comparing_levels,
    estimators_table,
    of_one_unit,
    serving,
)
from causal_lib.inference.identification import Estimand, identify
from causal_lib.inference.nuisances import design, standard_error
from causal_lib.inference.pags import why_no_common_adjustment_set
from causal_lib.resampling import cluster_codes

_MOST_LEVELS = 10  # a number with at most so many values is taken for levels


@dataclass(frozen=True)
class Effect:
    """An average effect with its interval and diagnostics; prints as a sentence.

    Attributes
    ----------
    value, standard_error : in units of the outcome.
    low, high : the 95% interval.
    effective_sample_size : (Σw)²/Σw² of the rows' weights (all rows for estimators without
        weights).
    diagnostics : rows, clusters, smallest and largest propensity, largest standardised mean
        difference before and after weighting; treatment_left, the share of a numeric treatment's
        variance that the adjustment leaves.
    contrast : control and treated level, if given.
    """

    treatment: str
    outcome: str
    estimator: str
    adjustment: tuple[str, ...]
    value: float
    standard_error: float
    effective_sample_size: float
    diagnostics: dict = field(default_factory=dict)
    contrast: tuple | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The normal interval of ``level`` in (0, 1)."""
        half = norm.ppf(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.interval()[1]

    def covers(self, truth: float, level: float = 0.95) -> bool:
        """Whether the interval of ``level`` holds ``truth``."""
        low, high = self.interval(level)
        return bool(low <= truth <= high)

    def to_dict(self) -> dict:
        """The effect as JSON types."""
        names = ["treatment", "outcome", "estimator", "adjustment", "value", "low", "high"]
        found = {name: getattr(self, name) for name in [*names, "effective_sample_size"]}
        found["diagnostics"] = self.diagnostics
        if self.contrast is not None:
            found["contrast"] = list(self.contrast)
        return found

    def __repr__(self):
        given = f" given {', '.join(self.adjustment)}" if self.adjustment else ""
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        return (
            f"effect of {self.treatment}{levels} on {self.outcome}{given} ({self.estimator}): "
            f"{self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}], effective sample size "
            f"{self.effective_sample_size:,.0f}"
        )


def effect(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    *,
    graph: CausalGraph | None = None,
    estimand: Estimand | None = None,
    adjustment: Sequence[str] | None = None,
    estimator: str | None = None,
    contrast: tuple | None = None,
    cluster: str | None = None,
    seed: int = 0,
) -> Effect:
    """Average effect E[outcome | do(treatment=1)] - E[outcome | do(treatment=0)] over the rows.

    Of a treatment with other levels: E[outcome | do(treated)] - E[outcome | do(control)] for the
    two of ``contrast``, averaged over all rows, those of further levels too. Of a treatment that is
    a number: the effect of one unit, the average over the rows of a slope τ(x), if the outcome is
    g(x) + τ(x) treatment + noise. `dose.dose_response` estimates a curve that is not straight.

    An ``adjustment`` set assumes that it closes every back-door path and that each row could have
    had either treatment. An estimand assumes what its graph says. Rows, or clusters of rows, are
    independent.

    ESTIMATORS_TABLE

    e and μ are gradient boosting in 5 folds; errors come from influences, summed within clusters.

    Parameters
    ----------
    frame : one row per unit; treatment 0/1 (levels or numbers for a back-door set; a number for an
        instrument), outcome numeric or 0/1, adjustment columns numbers or categories, no missing
        values. Mediators of a front-door set are counted by level: categories or few numbers.
    graph : what is assumed. The effect is identified by it (by a CPDAG or PAG, if all its members
        agree); columns that ``frame`` lacks are hidden. With ``adjustment``, that set is checked
        against the graph.
    estimand : from `identify`: back-door, front-door or instrument.
    adjustment : a back-door set, [] for none. Give one of graph, estimand and adjustment.
    estimator : a name of the table whose assumptions fit the estimand; by default the first that
        fits.
    contrast : (control, treated), two levels of the treatment. A number with at most 10 levels is
        taken for levels, unless an estimator of the effect of one unit is named.
    cluster : column whose groups are kept together in folds and standard errors (a user's rows are
        alike).

    Raises
    ------
    NoOverlapError
        when over 1% of the rows have an estimated propensity outside [0.01, 0.99] (with more
        levels: of control or treated below 0.01), or the adjustment leaves under 1% of a numeric
        treatment's variance.
    ValueError
        for a treatment with one level or with levels and no ``contrast``, a constant outcome,
        missing or infinite values, an unknown estimator or one that does not fit the estimand or
        the treatment, an adjustment set that holds treatment or outcome or (with ``graph``) does
        not identify the effect, an estimand without an estimator ('no effect', 'do-calculus'), a
        weak instrument, too few rows or clusters.

    Source: see each estimator in `estimators`.
    """
    check_names(frame)
    if adjustment is not None:
        adjustment = check_columns(adjustment, name="adjustment")
    route = _route(frame, treatment, outcome, graph, estimand, adjustment)
    if estimator is not None:
        _check_estimator(estimator, route.strategy)
    if contrast is not None and route.strategy != "back-door":
        raise ValueError(
            f"contrast is for back-door sets; the estimand's strategy is {route.strategy}"
        )
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    if own := sorted({treatment, outcome} & set(route.adjustment)):
        raise ValueError(f"adjustment holds {', '.join(own)} itself")
    others = [column for column in (route.instrument, cluster) if column]
    columns = [treatment, outcome, *route.adjustment, *route.mediators, *others]
    check_frame(frame, columns, complete=True)
    y = check_outcome(frame[outcome])
    x = design(frame, route.adjustment)
    groups = cluster_codes(frame, cluster)
    sample = Sample(y, np.zeros(0), x, groups, seed)
    if route.strategy == "instrument":
        t = check_numeric(frame[treatment], treatment)
        z = check_numeric(frame[route.instrument], route.instrument)
        question = _Treatment(t, {}, serving("instrument"))
        sample = replace(sample, z=z)
    elif route.strategy == "front-door":
        t = check_binary(frame[treatment], name=f"treatment {treatment!r}")
        question = _Treatment(t, {"treated": int(t.sum())}, serving("front-door"))
        sample = replace(sample, mediators=frame[list(route.mediators)])
    else:
        question = _coded(frame[treatment], contrast, estimator)
    name = estimator or question.default(has_columns=x.shape[1] > 0)
    chosen = ESTIMATORS[name].of_one_unit if question.one_unit else ESTIMATORS[name].estimate
    found = chosen(replace(sample, t=question.codes))
    sizes = {"rows": len(y), "clusters": int(groups.max()) + 1}
    return Effect(
        treatment=treatment,
        outcome=outcome,
        estimator=name,
        adjustment=route.adjustment,
        value=float(found.value),
        standard_error=standard_error(found.influence, groups),
        effective_sample_size=float(found.weights.sum() ** 2 / (found.weights**2).sum()),
        diagnostics=sizes | question.counts | found.diagnostics,
        contrast=None if contrast is None else tuple(contrast),
    )


effect.__doc__ = effect.__doc__.replace(
    "ESTIMATORS_TABLE", estimators_table().replace("\n", "\n    ")
)


@dataclass(frozen=True)
class _Route:
    """The strategy by which an effect is estimated, and its columns.

    ``adjustment`` are the columns to adjust for, or those an instrument is conditioned on.
    """

    strategy: str
    adjustment: tuple[str, ...]
    mediators: tuple[str, ...] = ()
    instrument: str | None = None


def _route(frame, treatment, outcome, graph, estimand, adjustment):
    """The `_Route` of what the caller gave: a graph, an estimand or an adjustment set."""
    if graph is not None and estimand is None:
        if adjustment is None:
            estimand = _identified(frame, treatment, outcome, graph)
        else:
            of_kind = {"PAG": why_no_common_adjustment_set}.get(graph.kind, why_no_adjustment_set)
            if reason := of_kind(graph, treatment, outcome, adjustment):
                raise ValueError(
                    f"adjustment {list(adjustment)} does not identify the effect under the graph: "
                    f"{reason}"
                )
    if (estimand is None) == (adjustment is None):
        raise ValueError(
            "give a graph, an estimand (from identify) or an adjustment set (a list of columns, "
            "[] for none), and only one of the latter"
        )
    if estimand is None:
        return _Route("back-door", tuple(adjustment))
    if (estimand.treatment, estimand.outcome) != (treatment, outcome):
        raise ValueError(
            f"the estimand is of {estimand.treatment} on {estimand.outcome}, not of {treatment} "
            f"on {outcome}"
        )
    if not serving(estimand.strategy):
        known = dict.fromkeys(one.strategy for one in ESTIMATORS.values())
        raise ValueError(
            f"strategy {estimand.strategy!r} has no estimator; those that have: {', '.join(known)}"
        )
    columns = estimand.adjustment or estimand.given or ()
    return _Route(estimand.strategy, columns, estimand.mediators or (), estimand.instrument)


def _identified(frame, treatment, outcome, graph):
    """The estimand under ``graph``, its variables that ``frame`` lacks being hidden."""
    hidden = [name for name in graph.names if name not in frame.columns]
    if graph.kind in ("CPDAG", "PAG"):
        return identify_class(graph, treatment, outcome, hidden=hidden).estimand
    return identify(graph, treatment, outcome, hidden=hidden)


def _check_estimator(name, strategy):
    """Raise ValueError for a name that is unknown or serves another strategy."""
    fitting = serving(strategy)
    if name in fitting:
        return
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")
    raise ValueError(
        f"estimator {name!r} does not fit the estimand's strategy, {strategy}; those that do: "
        f"{', '.join(fitting)}"
    )


@dataclass(frozen=True)
class _Treatment:
    """A treatment as estimators take it.

    Attributes
    ----------
    codes : (n,) 0 control, 1 treated, 2 other levels; or the treatment as a number.
    counts : rows of each arm, for the diagnostics.
    fitting : names of the estimators that fit, the default first.
    one_unit : whether the effect of one unit is asked for.
    """

    codes: np.ndarray
    counts: dict
    fitting: list[str]
    one_unit: bool = False

    def default(self, *, has_columns):
        """The first estimator that fits, with columns to adjust for or without."""
        return next(
            name for name in self.fitting if has_columns or not ESTIMATORS[name].needs_columns
        )


def _coded(values, contrast, estimator):
    """The `_Treatment` of a back-door set's treatment column."""
    label = f"treatment {values.name!r}"
    is_number = pd.api.types.is_numeric_dtype(values)
    levels = sorted(values.drop_duplicates().tolist(), key=None if is_number else str)
    shown = ", ".join(map(str, levels[:_MOST_LEVELS]))
    if len(levels) > _MOST_LEVELS:
        shown += ", ..."
    if len(levels) == 1:
        raise ValueError(
            f"{label}: only the value {levels[0]} occurs in {len(values)} rows; an "
            "effect compares two"
        )
    if contrast is None:
        if set(levels) != {0, 1}:
            _check_one_unit(label, levels, shown, is_number, estimator)
            return _Treatment(values.to_numpy(dtype=float), {}, of_one_unit(), one_unit=True)
        contrast = (0, 1)
    else:
        _check_contrast(contrast, levels, label, shown)
    fitting = comparing_levels() if len(levels) > 2 else serving("back-door")
    if estimator is not None and estimator not in fitting:
        raise ValueError(
            f"estimator {estimator!r} cannot compare two of {len(levels)} levels of {label}; "
            f"those that can: {', '.join(fitting)}"
        )
    arms = [(values == level).to_numpy() for level in contrast]
    for rows, level in zip(arms, contrast, strict=True):
        if rows.sum() < 2:
            raise ValueError(
                f"{label}: only {int(rows.sum())} row of level {level!r}; at least 2 are needed"
            )
    counts = {"treated": int(arms[1].sum())}
    if len(levels) > 2:
        counts["control"] = int(arms[0].sum())
    return _Treatment(np.select(arms, [0, 1], 2).astype(np.int8), counts, fitting)


def _check_one_unit(label, levels, shown, is_number, estimator):
    """Raise ValueError where a treatment without ``contrast`` is not one of units."""
    able = of_one_unit()
    if not is_number or (len(levels) <= _MOST_LEVELS and estimator not in able):
        way_out = (
            f", or an estimator of the effect of one unit: {', '.join(able)}" if is_number else ""
        )
        raise ValueError(
            f"{label} has {len(levels)} levels ({shown}): give contrast=(control, treated){way_out}"
        )
    if estimator is not None and estimator not in able:
        raise ValueError(
            f"estimator {estimator!r} compares two levels and {label} is a number with "
            f"{len(levels)} ({shown}): give "
            "contrast=(control, treated), or an estimator of the effect of one unit: "
            f"{', '.join(able)}"
        )


def _check_contrast(contrast, levels, label, shown):
    """Raise ValueError for a contrast that is not of two levels of the treatment."""
    if len(contrast) != 2 or contrast[0] == contrast[1]:
        raise ValueError(f"{contrast=}: two different levels are needed, (control, treated)")
    if strange := [level for level in contrast if level not in levels]:
        raise ValueError(f"contrast: {strange[0]!r} is no level of {label}; its levels: {shown}")
