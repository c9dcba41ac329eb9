"""Average effect of a treatment: one call, several estimators, an interval and diagnostics."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from causal_lib.cards import card
from causal_lib.checks import (
    check_binary,
    check_column_names,
    check_columns,
    check_contrast,
    check_frame,
    check_names,
    check_no_copy,
    check_outcome,
    check_range,
)
from causal_lib.columns import as_labels, as_numbers, column_kind, number_of
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import why_no_adjustment_set
from causal_lib.inference.covariates import Covariates, wide_names
from causal_lib.inference.equivalence import identify_class
from causal_lib.inference.estimators import (
    ESTIMATORS,
    Estimate,
    Sample,
    arm_weights,
    comparing_levels,
    estimators_table,
    of_one_unit,
    serving,
)
from causal_lib.inference.identification import Estimand, identify
from causal_lib.inference.models import FOLDS, Fitting
from causal_lib.inference.nuisances import (
    TARGETS,
    NoOverlapError,
    is_reversed,
    standard_error,
    turned,
)
from causal_lib.inference.pags import why_no_common_adjustment_set
from causal_lib.inference.pretrained.roles import roles_of_encoded
from causal_lib.inference.support import (
    Judgement,
    bounds_of,
    doubts_of,
    judge_arms,
    judge_instrument,
    judge_slope,
    rule_of,
    thin_labels,
)
from causal_lib.ordering import canonical_columns, canonical_order
from causal_lib.reasons import Reason
from causal_lib.resampling import cluster_codes

_MOST_LEVELS = 10  # a number with at most so many values is taken for levels


@dataclass(frozen=True, eq=False)
class Support:
    """The rows for whom a question is supported, and the effect among them.

    Attributes
    ----------
    members : (n,) bool, in the order of the frame.
    rule : what marks them, in the columns adjusted for; '' where nothing short does.
    value, low, high : the effect among them with its 95% interval.
    """

    members: np.ndarray
    rule: str
    value: float
    low: float
    high: float

    @property
    def share(self) -> float:
        """Of the rows."""
        return float(self.members.mean())

    def __repr__(self):
        marks = f": {self.rule}" if self.rule else ""
        return (
            f"supported for {int(self.members.sum()):,} of {len(self.members):,} rows{marks}; "
            f"among them {shown(self.value)} [{shown(self.low)}, {shown(self.high)}]"
        )


@dataclass(frozen=True, eq=False)
class Effect:
    """An average effect with its interval and what the data can say of it; prints as a sentence.

    Attributes
    ----------
    value, standard_error : in units of the outcome.
    low, high : the 95% interval.
    effective_sample_size : (Σw)²/Σw² of the weights that make each arm like the target; all rows
        where no arms are compared.
    diagnostics : rows, clusters, rows of each arm; smallest and largest propensity, effective rows
        of each arm, largest share of one row, largest standardised mean difference before and after
        weighting, share of the target without a counterpart; treatment_left, the share of a numeric
        treatment's variance that the adjustment leaves.
    contrast : control and treated level, if given.
    target : the population of the average.
    verdict : 'supported'; 'weak' (the answer rests on few rows, or some of the target has no
        counterpart); 'extrapolated' (over a tenth has none: a model speaks for them).
    reasons : why it is not supported.
    support : for whom it would be, with the effect among them; None if it is supported, or for
        nobody.
    notes : how columns were encoded, where that is worth knowing.
    freedom : degrees of freedom of the interval's t distribution.
    bounds : (low, high) that hold the value, with the confidence of the interval, whatever the rows
        without a counterpart would have had, within the range of the outcomes seen. Of an
        'extrapolated' comparison of two arms, whose interval trusts a model for these rows; else
        None.
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
    target: str = "all"
    verdict: str = "supported"
    reasons: tuple[str, ...] = ()
    support: Support | None = None
    notes: tuple[str, ...] = ()
    freedom: float = np.inf
    bounds: tuple[float, float] | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of ``level`` in (0, 1), by Student's t distribution."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie in (0, 1), not {level}")
        half = student.ppf(0.5 + level / 2, self.freedom) * self.standard_error
        return float(self.value - half), float(self.value + half)

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
        names += ["effective_sample_size", "target", "verdict", "reasons", "notes"]
        found = {name: getattr(self, name) for name in names}
        found["diagnostics"] = self.diagnostics
        if self.contrast is not None:
            found["contrast"] = [_as_json(level) for level in self.contrast]
        if self.bounds is not None:
            found["bounds"] = list(self.bounds)
        if self.support is not None:
            found["support"] = {
                name: getattr(self.support, name)
                for name in ("share", "rule", "value", "low", "high")
            }
        return found

    def __repr__(self):
        given = f" given {', '.join(map(str, self.adjustment))}" if self.adjustment else ""
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        among = "" if self.target == "all" else f" ({_AMONG[self.target]})"
        text = (
            f"effect of {self.treatment}{levels} on {self.outcome}{among}{given} "
            f"({self.estimator}): {shown(self.value)} [{shown(self.low)}, {shown(self.high)}], "
            f"effective sample size {self.effective_sample_size:,.0f}"
        )
        if self.verdict == "supported":
            return text
        text += f"; {self.verdict}: {', '.join(self.reasons)}"
        if self.bounds is not None:
            low, high = self.bounds
            text += f"; without trust in a model for these rows, [{shown(low)}, {shown(high)}]"
        return text if self.support is None else f"{text}; {self.support!r}"

    def _repr_html_(self):
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        among = "" if self.target == "all" else f", {_AMONG[self.target]}"
        return card(
            f"Effect of {self.treatment}{levels} on {self.outcome}{among}",
            f"{shown(self.value)} [{shown(self.low)}, {shown(self.high)}]",
            verdict=self.verdict,
            reasons=self.reasons,
            interval=(self.value, self.low, self.high),
            facts=[
                ("estimator", self.estimator),
                ("adjusted for", ", ".join(map(str, self.adjustment))),
                ("effective sample size", f"{self.effective_sample_size:,.0f}"),
                ("bounds without a model", self.bounds and " to ".join(map(shown, self.bounds))),
                ("support", self.support and repr(self.support)),
            ],
        )


_AMONG = {
    "treated": "among the treated",
    "untreated": "among the untreated",
    "overlap": "where either was likely",
}


def _as_json(level):
    """A level of a treatment as a JSON type; text where there is none, as for a date."""
    level = level.item() if isinstance(level, np.generic) else level
    return level if isinstance(level, (bool, int, float, str)) else str(level)


def shown(value: float) -> str:
    """A number with four decimals, or four digits where these would show too little."""
    return f"{value:.4f}" if 1e-2 <= abs(value) < 1e6 or value == 0 else f"{value:.4g}"


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
    target: str = "all",
    cluster: str | None = None,
    weights: str | None = None,
    propensity: str | None = None,
    learners=None,
    folds: int = FOLDS,
    strict: bool = False,
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

    e and μ are predicted out of fold by a stack of models sized to the table: linear, splines,
    boosted trees, a forest (see `models.held_out`). Errors come from influences, summed within
    clusters. Whatever the estimator, the verdict says whether the data can answer the question (see
    `Effect`): it is answered even where it is weak. The order of rows and columns, and
    units, change nothing.

    Parameters
    ----------
    frame : one row per unit; treatment 0/1 (levels or numbers for a back-door set; a number for an
        instrument), outcome numeric or 0/1, adjustment columns numbers, categories or dates, no
        missing values (see `covariates.Covariates`). Mediators of a front-door set are counted by
        level: categories or few numbers.
    graph : what is assumed. The effect is identified by it (by a CPDAG or PAG, if all its members
        agree); columns that ``frame`` lacks are hidden. With ``adjustment``, that set is checked
        against the graph.
    estimand : from `identify`: back-door, front-door or instrument.
    adjustment : a back-door set, [] for none. Give one of graph, estimand and adjustment.
    estimator : a name of the table whose assumptions fit the estimand; by default the first that
        fits.
    contrast : (control, treated), two levels of the treatment. A number with at most 10 levels is
        taken for levels, unless an estimator of the effect of one unit is named.
    target : over whom the effect is averaged: 'all' rows, the 'treated', the 'untreated', or
        'overlap': rows weighted by e (1 - e), those for whom either treatment was likely. Of a
        numeric treatment, 'all', or 'overlap': rows weighted by Var(treatment | columns), as by one
        coefficient for all.
    cluster : column whose groups are kept together in folds and standard errors (a user's rows are
        alike).
    weights : column of the rows' weights, for a population in which each row stands for so many;
        rows of weight 0 are left out.
    propensity : column of the known probability of treatment, as a randomised log has it.
    learners : names of `models.NAMES` or scikit-learn estimators for e and μ, one or several; or
        {'outcome': ..., 'propensity': ...}.
    folds : of the cross-fitting.
    strict : refuse what is not supported.

    Raises
    ------
    NoOverlapError
        where nothing can be compared: the adjustment determines the treatment, or every row's known
        propensity is 0 or 1; with ``strict``, where the verdict is not 'supported'.
    ValueError
        for a treatment with one level or with levels and no ``contrast``, a constant outcome,
        missing or infinite values, columns that are no numbers, categories or dates, an unknown
        estimator or one that does not fit the estimand, the treatment or the target, an adjustment
        set that holds treatment or outcome or (with ``graph``) does not identify the effect, an
        estimand without an estimator ('no effect', 'do-calculus'), a weak instrument, too few rows
        or clusters.

    Source: see each estimator in `estimators`.
    """
    question = _asked(
        frame,
        treatment,
        outcome,
        graph=graph,
        estimand=estimand,
        adjustment=adjustment,
        estimator=estimator,
        contrast=contrast,
        target=target,
        cluster=cluster,
        weights=weights,
        propensity=propensity,
        how=Fitting.of(learners, folds, seed),
    )
    found = question.answer()
    judged = question.judgement(found.estimate)
    if strict and judged.verdict != "supported":
        raise NoOverlapError(f"{judged.verdict}: {'; '.join(judged.reasons)}")
    return question.effect(found, judged)


def effects_by(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    asked: Sequence[tuple[str, str]],
    **how,
) -> list[Effect]:
    """`effect` by each (estimator, target) of ``asked``, of two arms.

    The propensities and outcomes of all rows depend on neither, so their models are fitted once.
    ``how`` and the errors are those of `effect`.
    """
    found = []
    sample = None
    for estimator, target in asked:
        question = question_of(frame, treatment, outcome, estimator=estimator, target=target, **how)
        if sample is not None:
            question = replace(question, sample=sample.towards(target))
        sample = question.sample
        answer = question.answer()
        found.append(question.effect(answer, question.judgement(answer.estimate)))
    return found


effect.__doc__ = effect.__doc__.replace(
    "ESTIMATORS_TABLE", estimators_table().replace("\n", "\n    ")
)


@dataclass(frozen=True, eq=False)
class _Answer:
    """An `Estimate` with its error."""

    estimate: Estimate
    standard_error: float
    freedom: float


@dataclass(frozen=True, eq=False)
class _Question:
    """A question with its sample, whose rows are in canonical order.

    Attributes
    ----------
    order : (n,) position in the frame of each row of the sample.
    rows : of the frame, those of weight 0 too.
    unknown : (n,) rows of the sample in which a column adjusted for holds a code for missing.
    doubts : what codes for missing take from the answer.
    """

    treatment: str
    outcome: str
    estimator: str
    route: "_Route"
    sample: Sample
    coded: "_Treatment"
    order: np.ndarray
    rows: int
    contrast: tuple | None
    notes: tuple[str, ...]
    unknown: np.ndarray
    doubts: tuple[Reason, ...] = ()

    @property
    def of_arms(self):
        """Whether two arms are compared, adjusted for columns."""
        return self.route.strategy == "back-door" and not self.coded.one_unit

    def answer(self, rows: np.ndarray | None = None) -> _Answer:
        """The estimate, of all rows or of some (n,) bool."""
        sample = self.sample if rows is None else self.sample.take(rows)
        name = self.estimator
        if rows is not None and self.of_arms and thin_labels(sample.x):
            name = "regression"
            sample = replace(sample, target="overlap")
        found = self.estimate(sample, name)
        return _Answer(found, *self.error(found, sample))

    def estimate(self, sample: Sample | None = None, name: str | None = None) -> Estimate:
        """The estimate alone; of another sample or by another estimator if they are given."""
        one = ESTIMATORS[name or self.estimator]
        return (one.of_one_unit if self.coded.one_unit else one.estimate)(sample or self.sample)

    def error(self, found: Estimate, sample: Sample | None = None) -> tuple[float, float]:
        """Standard error and degrees of freedom of an estimate."""
        sample = sample or self.sample
        return standard_error(found.influence, sample.groups), self._freedom(sample, found)

    def _freedom(self, sample, found):
        """Degrees of freedom of the error: of two arms, Welch's of their effective sizes."""
        if not self.of_arms:
            return float(sample.groups.max())
        weights = arm_weights(sample)
        rows_of = [sample.t == arm for arm in (0, 1)]
        sizes = []
        for rows in rows_of:
            own = weights[rows]
            clusters = len(np.unique(sample.groups[rows]))
            size = own.sum() ** 2 / (own**2).sum()
            sizes.append(max(min(size, clusters) - 1, 1.0))
        found_by = []
        # of rows and of clusters: the smaller, since few clusters say little of how they vary
        for codes in (np.arange(len(weights)), sample.groups):
            parts = [
                (np.bincount(codes[rows], found.influence[rows]) ** 2).sum() for rows in rows_of
            ]
            spread = sum(part**2 / size for part, size in zip(parts, sizes, strict=True))
            found_by.append(sum(parts) ** 2 / spread if spread else np.inf)
        return float(min(found_by))

    def judgement(self, found: Estimate) -> Judgement:
        """What the data can say of the question."""
        known = ~self.unknown if self.unknown.any() and self.of_arms else None
        return self._judged(found).doubted(self.doubts, known)

    def _judged(self, found):
        if self.of_arms:
            return judge_arms(self.sample)
        if self.coded.one_unit:
            return judge_slope(self.sample)
        if self.route.strategy == "instrument":
            return judge_instrument(found.diagnostics["first_stage_f"])
        return Judgement("supported")

    def effect(self, found: _Answer, judged: Judgement) -> Effect:
        """The answer as an `Effect`."""
        sample = self.sample
        size = float(len(sample.y))
        if self.of_arms:
            weights = arm_weights(sample)
            size = float(weights.sum() ** 2 / (weights**2).sum())
        sizes = {"rows": len(sample.y), "clusters": int(sample.groups.max()) + 1}
        return Effect(
            treatment=self.treatment,
            outcome=self.outcome,
            estimator=self.estimator,
            adjustment=self.route.adjustment,
            value=float(found.estimate.value),
            standard_error=found.standard_error,
            effective_sample_size=size,
            diagnostics=sizes
            | self.coded.counts
            | dict(judged.diagnostics)
            | found.estimate.diagnostics,
            contrast=None if self.contrast is None else tuple(self.contrast),
            target=sample.target,
            verdict=judged.verdict,
            reasons=judged.reasons,
            support=self._support(judged.members),
            notes=self.notes,
            freedom=found.freedom,
            bounds=self._bounds(judged),
        )

    def _bounds(self, judged):
        """Ends that trust no model for rows without a counterpart; None if they are few."""
        if not self.of_arms or judged.verdict != "extrapolated":
            return None
        return bounds_of(self.sample, judged.lacking)

    def _support(self, members):
        """The `Support` of ``members`` (n,) of the sample, None if they are too few."""
        if members is None:
            return None
        try:
            found = self.answer(members)
        except ValueError:  # the estimator needs more rows than are left
            return None
        half = student.ppf(0.975, found.freedom) * found.standard_error
        value = float(found.estimate.value)
        inside = np.zeros(self.rows, dtype=bool)
        inside[self.order[members]] = True
        rule = rule_of(members, self.sample.x)
        return Support(inside, rule, value, float(value - half), float(value + half))


def value_of(frame: pd.DataFrame, treatment: str, outcome: str, **how) -> tuple[float, float]:
    """Value and standard error alone, as of `effect` with ``how``, without judging support."""
    question = question_of(frame, treatment, outcome, **how)
    found = question.estimate()
    return float(found.value), standard_error(found.influence, question.sample.groups)


def question_of(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    *,
    learners=None,
    folds: int = FOLDS,
    seed: int = 0,
    **how,
) -> _Question:
    """The question that `effect` answers with the same arguments: its sample and estimator."""
    return _asked(frame, treatment, outcome, how=Fitting.of(learners, folds, seed), **how)


def _asked(
    frame,
    treatment,
    outcome,
    *,
    how,
    graph=None,
    estimand=None,
    adjustment=None,
    estimator=None,
    contrast=None,
    target="all",
    cluster=None,
    weights=None,
    propensity=None,
):
    """The `_Question` of the arguments of `effect`, checked."""
    check_names(frame)
    check_column_names(
        treatment=treatment,
        outcome=outcome,
        cluster=cluster,
        weights=weights,
        propensity=propensity,
    )
    if adjustment is not None:
        adjustment = check_columns(adjustment, name="adjustment")
    route = _route(frame, treatment, outcome, graph, estimand, adjustment)
    if estimator is not None:
        _check_estimator(estimator, route.strategy)
    _check_back_door_only(
        route, contrast=contrast, target=target, propensity=propensity, weights=weights
    )
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    if own := sorted({treatment, outcome} & set(route.adjustment), key=str):
        raise ValueError(f"adjustment holds {', '.join(map(str, own))} itself")
    others = [name for name in (route.instrument, cluster, weights, propensity) if name is not None]
    columns = [treatment, outcome, *route.adjustment, *route.mediators, *others]
    check_frame(frame, columns, complete=True)
    rows = len(frame)
    if contrast is not None:
        check_contrast(contrast)
    row_weights, kept = _row_weights(frame, weights, treatment, contrast)
    frame = frame.iloc[kept]
    y = check_outcome(number_of(frame, outcome), outcome)
    covariates = Covariates.fit(frame, sorted(route.adjustment))
    x = covariates.table(frame)
    check_no_copy(x, y, outcome)
    if route.strategy == "instrument":
        coded = _Treatment(number_of(frame, treatment), {}, serving("instrument"))
    elif route.strategy == "front-door":
        t = check_binary(frame[treatment], name=f"treatment {treatment!r}")
        coded = _Treatment(t, {"treated": int(t.sum())}, serving("front-door"))
    else:
        coded = _coded(frame[treatment], contrast, estimator)
    name = estimator or coded.default(target, x)
    _check_target(name, coded, target)
    arms = route.strategy == "back-door" and not coded.one_unit
    reverse = arms and is_reversed(coded.codes, y)
    codes = turned(coded.codes) if reverse else coded.codes
    x = x[canonical_columns(x, y, codes)]
    told = [number_of(frame, name) for name in (route.instrument, propensity) if name is not None]
    groups = cluster_codes(frame, cluster)
    order = canonical_order(x, *told, row_weights, y, codes, clusters=groups)
    sample = Sample(
        y[order],
        coded.codes[order],
        x.iloc[order].reset_index(drop=True),
        pd.factorize(groups[order])[0],
        row_weights[order],
        target,
        how,
        z=number_of(frame, route.instrument)[order] if route.instrument else None,
        mediators=_levels_of(frame, route.mediators, order),
        reverse=reverse,
    )
    if propensity is not None:
        sample = replace(sample, known=_known(frame, propensity, coded)[order])
    if name == "pretrained" and graph is not None and graph.kind in ("DAG", "CPDAG"):
        owners = covariates.owners(frame)
        roles = roles_of_encoded(graph, treatment, outcome, owners, wide_names(x))
        sample = replace(sample, roles=roles)
    notes = covariates.notes
    if len(kept) < rows:
        notes = (*notes, f"{weights}: 0 in {rows - len(kept)} of {rows} rows, which are left out")
    numbers = {"outcome": outcome}
    if coded.one_unit or route.strategy == "instrument":
        numbers["treatment"] = treatment
    return _Question(
        treatment,
        outcome,
        name,
        route,
        sample,
        coded,
        kept[order],
        rows,
        contrast,
        notes,
        covariates.unknown(frame)[order],
        tuple(doubts_of(covariates, frame, row_weights, **numbers)),
    )


def _check_back_door_only(route, **given):
    """Raise ValueError for an argument that only a back-door set has a meaning for."""
    if route.strategy == "back-door":
        return
    for name, value in given.items():
        if value not in (None, "all"):
            raise ValueError(
                f"{name} is for back-door sets; the estimand's strategy is {route.strategy}"
            )


def _check_target(name, coded, target):
    """Raise ValueError where the estimator cannot average over the target."""
    if target == "all":
        return
    if coded.one_unit:
        able = ("linear_dml", "regression")
        if target == "overlap" and name in able:
            return
        raise ValueError(
            f"target={target!r} compares arms, and the treatment is a number; give contrast= for "
            "two of its levels, or target='overlap' with one of the estimators "
            f"{', '.join(able)} for one effect of a unit, rows weighted by Var(treatment | columns)"
        )
    if target == "overlap" and coded.codes.max() > 1:
        raise ValueError(
            "target='overlap' is of two levels; keep the rows of the two of contrast first"
        )
    if target not in ESTIMATORS[name].targets:
        able = [other for other in coded.fitting if target in ESTIMATORS[other].targets]
        raise ValueError(
            f"estimator {name!r} cannot average over target={target!r}; those that can: "
            f"{', '.join(able)}"
        )


def _row_weights(frame, column, treatment, contrast):
    """Weights with mean 1 of the rows that have one above 0, and the positions of these rows.

    ValueError where none of the rows with a level of ``contrast`` has one.
    """
    if column is None:
        return np.ones(len(frame)), np.arange(len(frame))
    found = number_of(frame, column)
    if (found < 0).any() or not found.any():
        raise ValueError(
            f"weights: column {column!r} has {int((found < 0).sum())} values below 0 and "
            f"{int((found > 0).sum())} above; each row stands for so many, some for more than 0"
        )
    if found.max() > 0.5 * found.sum() and len(found) > 2:
        raise ValueError(
            f"weights: one row has {found.max() / found.sum():.0%} of the sum of column "
            f"{column!r}: it alone decides the answer, and no error can be told; bound the weights"
        )
    kept = np.flatnonzero(found)
    levels = as_labels(frame[treatment])
    arms = [0, 1] if contrast is None else list(contrast)
    lost = levels[levels.isin(arms) & ~levels.isin(levels.iloc[kept].unique())]
    if len(lost):
        raise ValueError(
            f"weights: column {column!r} is 0 in all {int((levels == lost.iloc[0]).sum())} rows "
            f"with treatment {treatment!r} = {lost.iloc[0]!r}; leave these rows out, or give them "
            "a weight above 0"
        )
    return found[kept] / found[kept].mean(), kept


def _known(frame, column, coded):
    """(n, 2) known propensities of control and treated."""
    if coded.one_unit or coded.codes.max() > 1:
        raise ValueError(
            f"propensity={column!r} is the probability of one of two levels; the treatment has more"
        )
    treated = number_of(frame, column)
    check_range(treated, 0, 1, name=f"propensity column {column!r}")
    if np.isin(treated, (0, 1)).all():
        raise NoOverlapError(
            f"propensity column {column!r} is 0 or 1 in every row: no row could have had the other "
            "treatment"
        )
    t = coded.codes
    impossible = ((t == 1) & (treated == 0)) | ((t == 0) & (treated == 1))
    if impossible.any():
        raise ValueError(
            f"propensity column {column!r}: {int(impossible.sum())} rows got what had probability "
            "0; it is to be the probability of the treated level"
        )
    return np.column_stack([1 - treated, treated])


def _levels_of(frame, mediators, order):
    """The mediators' levels as codes, in the order of the sample."""
    if not mediators:
        return None
    return frame[list(mediators)].iloc[order].reset_index(drop=True)


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
        one = isinstance(adjustment, str)
        return _Route("back-door", (adjustment,) if one else tuple(adjustment))
    if (estimand.treatment, estimand.outcome) != (treatment, outcome):
        raise ValueError(
            f"the estimand is of {estimand.treatment} on {estimand.outcome}, not of {treatment} "
            f"on {outcome}"
        )
    if estimand.strategy == "no effect":
        raise ValueError(
            f"by the graph {treatment!r} has no effect on {outcome!r}: it is 0, whatever the data "
            "say; give adjustment= to estimate it without the graph"
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

    def default(self, target, x):
        """The first estimator that fits the target and the columns ``x`` to adjust for.

        Where a column of labels has few rows a level: least squares within levels.
        """
        if thin_labels(x) and target in ("all", "overlap"):
            return "regression"
        has_columns = x.shape[1] > 0
        able = (ESTIMATORS[name] for name in self.fitting)
        return next(
            one.name
            for one in able
            if target in one.targets and (has_columns or not one.needs_columns)
        )


def _coded(values, contrast, estimator):
    """The `_Treatment` of a back-door set's treatment column."""
    label = f"treatment {values.name!r}"
    kind = column_kind(values)
    is_number = kind == "number"
    values = pd.Series(as_numbers(values)) if is_number else as_labels(values)
    levels = sorted(values.drop_duplicates().tolist(), key=None if is_number else str)
    if is_number:
        levels = [int(level) if level.is_integer() else level for level in levels]
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
    """Raise ValueError for a contrast of what is no level of the treatment."""
    check_contrast(contrast)
    if strange := [level for level in contrast if level not in levels]:
        raise ValueError(f"contrast: {strange[0]!r} is no level of {label}; its levels: {shown}")
