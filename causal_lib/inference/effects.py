"""Average effect of a binary treatment: one call, several estimators, an interval and the reasons to doubt it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.data.schema import check_binary, check_frame
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import why_no_adjustment_set
from causal_lib.inference.classes import identify_class
from causal_lib.inference.estimators import ESTIMATORS, design, front_door, wald
from causal_lib.inference.identification import Estimand, identify


@dataclass(frozen=True)
class Effect:
    """An average effect with its interval and diagnostics; prints as a sentence.

    Attributes
    ----------
    value, standard_error : in units of the outcome.
    low, high : the 95% interval.
    effective_sample_size : (Σw)²/Σw² of the rows' weights (all rows for estimators without weights).
    diagnostics : rows, clusters, smallest and largest propensity, largest standardised mean difference before and after
        weighting.
    """

    treatment: str
    outcome: str
    estimator: str
    adjustment: tuple[str, ...]
    value: float
    standard_error: float
    effective_sample_size: float
    diagnostics: dict = field(default_factory=dict)

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
        return {name: getattr(self, name) for name in names} | {"diagnostics": self.diagnostics}

    def __repr__(self):
        given = f" given {', '.join(self.adjustment)}" if self.adjustment else ""
        return (
            f"effect of {self.treatment} on {self.outcome}{given} ({self.estimator}): {self.value:.4f} "
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
    cluster: str | None = None,
    seed: int = 0,
) -> Effect:
    """E[outcome | do(treatment=1)] - E[outcome | do(treatment=0)], averaged over the rows of ``frame``.

    By an ``adjustment`` set it assumes that this closes every back-door path and that each row could have had either
    treatment; by an estimand, what its graph says. Rows (or clusters of rows) are independent.

    Parameters
    ----------
    frame : one row a unit; treatment 0/1 (a number for an instrument), outcome numeric or 0/1, adjustment columns numbers or
        categories, no holes.
    graph : what is assumed: the effect is identified by it (a CPDAG's, if all its members agree), columns that ``frame`` lacks
        taken as hidden; or, with ``adjustment``, that set is checked against it.
    estimand : from `identify`: back-door, front-door or instrument. Or ``adjustment``: a back-door set (give one of the three).
    estimator : by default 'aipw' for a back-door set, 'front_door' (levels of the mediators are counted: categories or few
        numbers) and 'wald' (two-stage least squares: the effect of one unit, if it is linear and the same for everybody; of
        those whom the instrument moves, if it is binary and moves nobody the other way). For a back-door set also
        'difference' (of means, ignores the adjustment: the naive answer), 'regression' (least squares of each arm on
        the adjustment columns), 'matching' (nearest row of the other arm, corrected by regression), 'ipw' (inverse
        propensity weighting), 'aipw' (augmented, doubly robust; it and ipw by 5-fold cross-fitted gradient boosting),
        'linear_dml' (EconML's LinearDML, effect quadratic in the numeric adjustment columns).
    cluster : column whose groups are kept together in folds and standard errors (a user's rows resemble each other).

    Raises
    ------
    NoOverlapError
        when over 1% of the rows have an estimated propensity outside [0.01, 0.99].
    ValueError
        for a treatment that is not binary, missing or infinite values, an unknown estimator or one that does not fit the
        estimand, an estimand without an estimator ('no effect', 'do-calculus'), a weak instrument.

    Source: Lin 2013 (regression); Abadie and Imbens 2006, 2011 (matching); Robins, Rotnitzky and Zhao 1994; Chernozhukov and
    others 2018.
    """
    if graph is not None and estimand is None:
        if adjustment is None:
            hidden = [name for name in graph.names if name not in frame.columns]
            if graph.kind == "CPDAG":
                estimand = identify_class(graph, treatment, outcome, hidden=hidden).estimand
            else:
                estimand = identify(graph, treatment, outcome, hidden=hidden)
        elif reason := why_no_adjustment_set(graph, treatment, outcome, adjustment):
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
    name = estimator or _BY_STRATEGY[strategy][0]
    if name not in _BY_STRATEGY[strategy]:
        every = [other for others in _BY_STRATEGY.values() for other in others]
        if name not in every:
            raise ValueError(f"unknown estimator {name!r}; known: {', '.join(every)}")
        fitting = ", ".join(_BY_STRATEGY[strategy])
        raise ValueError(
            f"estimator {name!r} does not fit the estimand's strategy, {strategy}; those that do: {fitting}"
        )
    if {treatment, outcome} & set(adjustment):
        raise ValueError(f"adjustment holds {', '.join(sorted({treatment, outcome} & set(adjustment)))} itself")
    through = [] if estimand is None else [*(estimand.mediators or ()), *filter(None, [estimand.instrument])]
    check_frame(frame, [treatment, outcome, *adjustment, *through, *filter(None, [cluster])], complete=True)
    y, x = frame[outcome].to_numpy(dtype=float), design(frame, adjustment)
    groups = pd.factorize(frame[cluster])[0] if cluster else np.arange(len(frame))
    if strategy == "instrument":
        t = frame[treatment].to_numpy(dtype=float)
        answer = wald(y, t, frame[estimand.instrument].to_numpy(dtype=float), x)
    else:
        t = check_binary(frame[treatment], name=f"treatment {treatment!r}")
        answer = front_door(y, t, frame[through]) if through else ESTIMATORS[name](y, t, x, groups, seed)
    value, influence, weights, diagnostics = answer
    sums = np.bincount(groups, influence)
    error = float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / len(y))
    size = float(weights.sum() ** 2 / (weights**2).sum())
    counts = {"rows": len(y), "clusters": len(sums)} | ({} if strategy == "instrument" else {"treated": int(t.sum())})
    return Effect(treatment, outcome, name, adjustment, float(value), error, size, counts | diagnostics)


_BY_STRATEGY = {
    "back-door": ("aipw", *(name for name in ESTIMATORS if name != "aipw")),
    "front-door": ("front_door",),
    "instrument": ("wald",),
}
"""Strategy of an estimand -> its estimators, the default first."""
