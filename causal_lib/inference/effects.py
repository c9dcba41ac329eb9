"""Average effect of a treatment: one call, several estimators, an interval and the reasons to doubt it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.checks import check_binary, check_frame, check_numeric, check_outcome
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import why_no_adjustment_set
from causal_lib.inference.equivalence import identify_class
from causal_lib.inference.estimators import PLAIN, design, front_door, slope, standard_error, wald
from causal_lib.inference.identification import Estimand, identify
from causal_lib.inference.learners import causal_forest, dr_learner, linear_dml, orthogonal_iv
from causal_lib.inference.pags import why_no_common_adjustment_set
from causal_lib.resampling import cluster_codes

ESTIMATORS = {**PLAIN, "linear_dml": linear_dml, "causal_forest": causal_forest, "dr_learner": dr_learner}
"""Estimator name -> function as in `estimators.PLAIN`, of a treatment of 0 and 1 and a back-door set."""
CONTRASTS = ("aipw", "ipw", "regression", "difference", "dr_learner")
"""Those that compare two of more levels."""
PER_UNIT = {
    "linear_dml": partial(linear_dml, arms=False),
    "causal_forest": partial(causal_forest, arms=False),
    "regression": slope,
}
"""Those of one unit of a treatment that is a number."""
_FEW = 10  # levels up to which a number is taken for a name


@dataclass(frozen=True)
class Effect:
    """An average effect with its interval and diagnostics; prints as a sentence.

    Attributes
    ----------
    value, standard_error : in units of the outcome.
    low, high : the 95% interval.
    effective_sample_size : (Σw)²/Σw² of the rows' weights (all rows for estimators without weights).
    diagnostics : rows, clusters, smallest and largest propensity, largest standardised mean difference before and after
        weighting; treatment_left, the share of a numeric treatment's variance that the adjustment leaves.
    contrast : control and treated level, where they were named.
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
        names = ("treatment", "outcome", "estimator", "adjustment", "value", "low", "high", "effective_sample_size")
        named = {} if self.contrast is None else {"contrast": list(self.contrast)}
        return {name: getattr(self, name) for name in names} | {"diagnostics": self.diagnostics} | named

    def __repr__(self):
        given = f" given {', '.join(self.adjustment)}" if self.adjustment else ""
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        return (
            f"effect of {self.treatment}{levels} on {self.outcome}{given} ({self.estimator}): {self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}], effective sample size {self.effective_sample_size:,.0f}"
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
    """E[outcome | do(treatment=1)] - E[outcome | do(treatment=0)], averaged over the rows of ``frame``.

    Of a treatment with other levels, E[outcome | do(treated)] - E[outcome | do(control)] for the two of ``contrast``, averaged
    over all rows, those of further levels too. Of a treatment that is a number, the effect of one unit: the average over the
    rows of a slope τ(x), if the outcome is g(x) + τ(x) treatment + noise (`dose.dose_response` draws what bends).

    By an ``adjustment`` set it assumes that this closes every back-door path and that each row could have had either
    treatment; by an estimand, what its graph says. Rows (or clusters of rows) are independent.

    Parameters
    ----------
    frame : one row a unit; treatment 0/1 (levels or numbers for a back-door set; a number for an instrument), outcome numeric
        or 0/1, adjustment columns numbers or categories, no holes.
    graph : what is assumed: the effect is identified by it (a CPDAG's or PAG's, if all its members agree), columns that ``frame``
        lacks taken as hidden; or, with ``adjustment``, that set is checked against it.
    estimand : from `identify`: back-door, front-door or instrument. Or ``adjustment``: a back-door set (give one of the three).
    estimator : for a back-door set, with errors by influence: 'difference' (of means, ignores the adjustment: the naive
        answer), 'regression' (least squares of each arm on the adjustment columns), 'matching' (nearest row of the other
        arm, corrected by regression), 'ipw' (inverse propensity weighting), 'aipw' (augmented, doubly robust, the default;
        it and ipw by 5-fold cross-fitted gradient boosting), 'linear_dml' (EconML's LinearDML, effect quadratic in the
        numeric adjustment columns), 'causal_forest' (doubly robust scores around EconML's causal forest), 'dr_learner'
        (the average of the scores of EconML's DRLearner: 'aipw' with one outcome model for all arms, and so hardly
        another answer).
        With ``contrast`` among more than two levels: aipw, ipw (multinomial propensities), regression, difference,
        dr_learner. Of one unit: linear_dml (the default), causal_forest, regression (least squares with the products of
        treatment and columns; the default without columns).
        Else 'front_door' (levels of the mediators are counted: categories or few numbers) and, by an instrument, 'wald'
        (two-stage least squares: the effect of one unit, if it is linear and the same for everybody; of those whom the
        instrument moves, if it is binary and moves nobody the other way) or 'orthogonal_iv' (EconML's OrthoIV: the same
        with boosted, cross-fitted controls).
    contrast : (control, treated), two levels of the treatment. A number with at most 10 levels is taken for levels, unless an
        estimator of one unit alone is named ('linear_dml', 'causal_forest', 'regression').
    cluster : column whose groups are kept together in folds and standard errors (a user's rows resemble each other).

    Raises
    ------
    NoOverlapError
        when over 1% of the rows have an estimated propensity outside [0.01, 0.99] (with more levels: of control or treated
        below 0.01), or the adjustment leaves under 1% of a numeric treatment's variance.
    ValueError
        for a treatment with one level or with levels and no ``contrast``, a constant outcome, missing or infinite values, an
        unknown estimator or one that does not fit the estimand or the treatment, an adjustment set that holds treatment or
        outcome or (with ``graph``) does not identify the effect, an estimand without an estimator ('no effect',
        'do-calculus'), a weak instrument, too few rows or clusters.

    Source: Lin 2013 (regression); Abadie and Imbens 2006, 2011 (matching); Robins, Rotnitzky and Zhao 1994; Chernozhukov and
    others 2018; Athey and Wager 2019 (causal_forest); Cattaneo 2010 (more levels).
    """
    if graph is not None and estimand is None:
        why_not = why_no_common_adjustment_set if graph.kind == "PAG" else why_no_adjustment_set
        if adjustment is None:
            hidden = [name for name in graph.names if name not in frame.columns]
            if graph.kind in ("CPDAG", "PAG"):
                estimand = identify_class(graph, treatment, outcome, hidden=hidden).estimand
            else:
                estimand = identify(graph, treatment, outcome, hidden=hidden)
        elif reason := why_not(graph, treatment, outcome, adjustment):
            raise ValueError(f"adjustment {list(adjustment)} does not identify the effect under the graph: {reason}")
    if (estimand is None) == (adjustment is None):
        raise ValueError(
            "give a graph, an estimand (from identify) or an adjustment set (a list of columns, [] for none), and only one of the latter"
        )
    strategy, adjustment = "back-door", () if adjustment is None else tuple(adjustment)
    if estimand is not None:
        if (estimand.treatment, estimand.outcome) != (treatment, outcome):
            raise ValueError(
                f"the estimand is of {estimand.treatment} on {estimand.outcome}, not of {treatment} on {outcome}"
            )
        strategy, adjustment = estimand.strategy, estimand.adjustment or estimand.given or ()
        if strategy not in _BY_STRATEGY:
            raise ValueError(f"strategy {strategy!r} has no estimator; those that have: {', '.join(_BY_STRATEGY)}")
    if estimator is not None:
        _check_estimator(estimator, strategy)
    if contrast is not None and strategy != "back-door":
        raise ValueError(f"contrast is for back-door sets; the estimand's strategy is {strategy}")
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    if {treatment, outcome} & set(adjustment):
        raise ValueError(f"adjustment holds {', '.join(sorted({treatment, outcome} & set(adjustment)))} itself")
    through = [] if estimand is None else [*(estimand.mediators or ()), *filter(None, [estimand.instrument])]
    check_frame(frame, [treatment, outcome, *adjustment, *through, *filter(None, [cluster])], complete=True)
    y, x = check_outcome(frame[outcome]), design(frame, adjustment)
    groups = cluster_codes(frame, cluster)
    if strategy == "instrument":
        name, counts = estimator or "wald", {}
        t, z = (check_numeric(frame[column], column) for column in (treatment, estimand.instrument))
        answer = wald(y, t, z, x) if name == "wald" else orthogonal_iv(y, t, z, x, groups, seed)
    elif strategy == "front-door":
        name, t = "front_door", check_binary(frame[treatment], name=f"treatment {treatment!r}")
        answer, counts = front_door(y, t, frame[through]), {"treated": int(t.sum())}
    else:
        t, counts, fitting = _coded(frame[treatment], contrast, estimator)
        name = estimator or ("regression" if fitting is PER_UNIT and not adjustment else next(iter(fitting)))
        answer = (PER_UNIT if fitting is PER_UNIT else ESTIMATORS)[name](y, t, x, groups, seed)
    value, influence, weights, diagnostics = answer
    error, size = standard_error(influence, groups), float(weights.sum() ** 2 / (weights**2).sum())
    found = {"rows": len(y), "clusters": int(groups.max()) + 1} | counts | diagnostics
    named = None if contrast is None else tuple(contrast)
    return Effect(treatment, outcome, name, adjustment, float(value), error, size, found, named)


def _check_estimator(name, strategy):
    if name in _BY_STRATEGY[strategy]:
        return
    every = [other for others in _BY_STRATEGY.values() for other in others]
    if name not in every:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(every)}")
    fitting = ", ".join(_BY_STRATEGY[strategy])
    raise ValueError(f"estimator {name!r} does not fit the estimand's strategy, {strategy}; those that do: {fitting}")


def _coded(values, contrast, estimator):
    """Codes (or numbers) of the treatment, the rows of each arm for the diagnostics, and the estimators that fit, the default first."""
    label, levels = f"treatment {values.name!r}", values.drop_duplicates().tolist()
    levels = sorted(levels, key=None if pd.api.types.is_numeric_dtype(values) else str)
    shown = ", ".join(map(str, levels[:_FEW])) + (", ..." if len(levels) > _FEW else "")
    if len(levels) == 1:
        raise ValueError(f"{label}: only the value {levels[0]} occurs in {len(values)} rows; an effect compares two")
    if contrast is None and set(levels) == {0, 1}:
        contrast, fitting = (0, 1), _BY_STRATEGY["back-door"]
    elif contrast is None:
        number = pd.api.types.is_numeric_dtype(values)
        if not number or (len(levels) <= _FEW and estimator not in PER_UNIT):
            unit = f", or an estimator of the effect of one unit: {', '.join(PER_UNIT)}" if number else ""
            raise ValueError(f"{label} has {len(levels)} levels ({shown}): give contrast=(control, treated){unit}")
        if estimator is not None and estimator not in PER_UNIT:
            raise ValueError(
                f"estimator {estimator!r} compares two levels and {label} is a number with {len(levels)} ({shown}): give "
                f"contrast=(control, treated), or an estimator of the effect of one unit: {', '.join(PER_UNIT)}"
            )
        return values.to_numpy(dtype=float), {}, PER_UNIT
    else:
        if len(contrast) != 2 or contrast[0] == contrast[1]:
            raise ValueError(f"{contrast=}: two different levels are needed, (control, treated)")
        if strange := [level for level in contrast if level not in levels]:
            raise ValueError(f"contrast: {strange[0]!r} is no level of {label}; its levels: {shown}")
        fitting = CONTRASTS if len(levels) > 2 else _BY_STRATEGY["back-door"]
        if estimator is not None and estimator not in fitting:
            raise ValueError(
                f"estimator {estimator!r} cannot compare two of {len(levels)} levels of {label}; those that can: {', '.join(fitting)}"
            )
    of = [(values == level).to_numpy() for level in contrast]
    for rows, level in zip(of, contrast, strict=True):
        if rows.sum() < 2:
            raise ValueError(f"{label}: only {int(rows.sum())} row of level {level!r}; at least 2 are needed")
    codes = np.select(of, [0, 1], 2).astype(np.int8)
    counts = {"treated": int(of[1].sum())} | ({"control": int(of[0].sum())} if len(levels) > 2 else {})
    return codes, counts, fitting


_BY_STRATEGY = {
    "back-door": ("aipw", *(name for name in ESTIMATORS if name != "aipw")),
    "front-door": ("front_door",),
    "instrument": ("wald", "orthogonal_iv"),
}
"""Strategy of an estimand -> its estimators, the default first."""
