"""The effect for all, the treated and the overlap by two estimators; how wrong it could be."""

import math

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.effects import effect, effects_by
from causal_lib.inference.estimators import ESTIMATORS, Sample
from causal_lib.inference.identification import identify
from causal_lib.inference.nuisances import NoOverlapError, standard_error
from causal_lib.inference.robustness import sensitivity
from causal_lib.inference.support import thin_labels
from causal_lib.progress import without_bars
from causal_lib.reasons import Reason
from causal_lib.resampling import cluster_codes
from causal_lib.studies.audit import Prepared
from causal_lib.studies.columns import grouped
from causal_lib.studies.step import Step, worst

TARGETS = ("all", "treated", "overlap")
_PAIR = ("aipw", "ipw")
_FEWEST = 10  # rows of an arm: the spread of fewer outcomes is not known
_PLACEBO_LEVEL = 0.99
_RANDOM_LEVEL = 0.99999  # of many columns and levels, some differ by chance
_LEVELS = 5  # of a category that are compared, the commonest
_MOST_CELLS = 20_000_000  # of indicators in a least squares: a second and 160 MB
_PLACEBO_ROWS = 500
_STRENGTHS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)


def estimate_effect(prepared: Prepared, graph: Step, identified: Step, *, seed: int = 0) -> Step:
    """The effect by AIPW and by weighting, for all rows, the treated and the overlap.

    The verdict is that of the question (see `effects.effect`); it is lowered to 'weak' where the
    two estimators differ by more than chance. Beside them stands the naive difference of the arms.
    """
    roles = prepared.roles
    if identified.verdict == "refused":
        return Step("effect", "refused", (("effect_refused", {}),), identified.reasons)
    treated = int(prepared.frame[roles.treatment].sum())
    smaller = min(treated, len(prepared.frame) - treated)
    if smaller < _FEWEST:
        why = Reason("small_arm", rows=smaller, fewest=_FEWEST)
        return Step("effect", "refused", (("effect_refused", {}),), (why,))
    how = {"cluster": prepared.cluster, "seed": seed}
    adjustment = list(identified.facts["adjustment"])
    if identified.facts["strategy"] == "front-door":
        found = CausalGraph.from_dict(graph.facts["graph"])
        how["estimand"] = identify(
            found, roles.treatment, roles.outcome, hidden=graph.facts.get("hidden", [])
        )
        asked = [("front_door", "all")]
    else:
        how["adjustment"] = adjustment
        if roles.propensity:
            how["propensity"] = roles.propensity
        asked = _asked(prepared, adjustment)
    columns = [roles.treatment, roles.outcome, *roles.columns_before]
    columns += [name for name in (roles.propensity, roles.unit) if name]
    frame = prepared.frame[columns]
    try:
        with without_bars():
            answers = [
                one.to_dict() | {"standard_error": one.standard_error, "reasons": one.reasons}
                for one in effects_by(frame, roles.treatment, roles.outcome, asked, **how)
            ]
    except (NoOverlapError, ValueError) as error:
        return Step("effect", "refused", (("effect_refused", {}),), (Reason.of(error),))
    naive = effect(
        frame, roles.treatment, roles.outcome, adjustment=[], estimator="difference",
        cluster=prepared.cluster,
    )  # fmt: skip
    return _step(prepared, answers, naive)


def probe(prepared: Prepared, identified: Step, estimated: Step, *, seed: int = 0) -> Step:
    """How strong a hidden cause must be to undo the effect, and outcomes that must show none.

    The strength is compared with that of the strongest column that was measured (by least squares
    with one coefficient). A negative control, where the roles name one, and the unit's outcome in
    its previous row are outcomes that the treatment cannot move.
    """
    adjustment = list(identified.facts.get("adjustment", []))
    if estimated.verdict == "refused":
        return Step("sensitivity", "refused", (("sensitivity_refused", {}),), estimated.reasons)
    random = bool(identified.facts.get("random"))
    says = []
    reasons = []
    facts = {"random": random}
    tables = {}
    if random:
        says.append(("sensitivity_random", {}))
        if not prepared.roles.propensity:
            reasons += [Reason("not_random", column=name) for name in _unequal(prepared)]
    elif identified.facts["strategy"] == "front-door" or not adjustment:
        says.append(("sensitivity_none", {}))
        reasons.append(Reason("strength_unknown"))
    else:
        facts |= _hidden_cause(prepared, adjustment, tables)
        says.append(("sensitivity", {key: facts[key] for key in _TOLD}))
        if facts["undone"] and facts["value"] * facts["value_if"] <= 0:
            says.append(("sensitivity_undone", {"column": facts["column"]}))
        excluded = estimated.facts["low"] > 0 or estimated.facts["high"] < 0
        if excluded and facts["undone"]:
            reasons.append(Reason("undone", column=facts["column"]))
        for further in _further(prepared, adjustment):
            reasons.append(Reason("adjusted_for_more", **further))
    checks = _controls(prepared, adjustment, seed)
    for check in checks:
        previous = check["name"] == _previous_name(prepared)
        told = check | {"outcome": prepared.roles.outcome} if previous else check
        says.append(("control_previous" if previous else "control", told))
        if not check["low"] <= 0 <= check["high"]:
            reasons.append(Reason("moves", outcome=check["name"]))
    tables["controls"] = checks
    verdict = "weak" if reasons else "supported"
    return Step("sensitivity", verdict, tuple(says), tuple(reasons), facts, tables)


def _asked(prepared, adjustment):
    """(estimator, target) of each answer; those of all rows come first."""
    if not adjustment:
        return [("ipw" if prepared.roles.propensity else "difference", "all")]
    chosen = dict.fromkeys(TARGETS, _PAIR)
    if thin_labels(Covariates.fit(prepared.frame, adjustment).table(prepared.frame)):
        # a model of each level is drawn to the others: rows of a level are compared with each other
        chosen |= {"all": ("regression", "aipw"), "overlap": ("regression", "aipw")}
    return [(name, target) for target, names in chosen.items() for name in names]


_TOLD = ("robustness", "of_sign", "column", "with_treatment", "with_outcome")


def _step(prepared, answers, naive):
    main = answers[0]
    reasons = list(main["reasons"])
    verdict = main["verdict"]
    for first, second in zip(answers[::2], answers[1::2], strict=False):
        apart = abs(first["value"] - second["value"])
        error = max(first["standard_error"], second["standard_error"])
        if first["target"] == second["target"] == "all" and apart > 3 * error:
            names = {"first": first["estimator"], "second": second["estimator"]}
            reasons.append(Reason("estimators_differ", **names, apart=apart))
            verdict = worst(verdict, "weak")
    y = prepared.frame[prepared.roles.outcome]
    events = bool(y.isin([0, 1]).all())
    scale = 1000.0 if events else 1.0
    facts = {name: main[name] for name in ("value", "low", "high", "effective_sample_size")}
    facts |= {
        "standard_error": main["standard_error"],
        "naive": naive.value,
        "naive_low": naive.low,
        "naive_high": naive.high,
        "events": events,
        "scale": scale,
        "clear": main["low"] > 0 or main["high"] < 0,
    }
    told = {
        "value": scale * main["value"],
        "low": scale * main["low"],
        "high": scale * main["high"],
        "naive": scale * naive.value,
        "treatment": prepared.roles.treatment,
        "outcome": prepared.roles.outcome,
    }
    says = [("effect_events" if events else "effect_number", told)]
    says.append(("effect_naive", told))
    if not facts["clear"]:
        says.append(("effect_none", told))
    if support := main.get("support"):
        facts["support"] = support
        says.append(("effect_support", {"share": support["share"], "rule": support["rule"] or "-"}))
    rows = [
        {
            "for": one["target"],
            "estimator": one["estimator"],
            "value": one["value"],
            "low": one["low"],
            "high": one["high"],
            "verdict": one["verdict"],
        }
        for one in answers
    ]
    return Step("effect", verdict, tuple(says), tuple(reasons), facts, {"effects": rows})


def _hidden_cause(prepared, adjustment, tables):
    """Strengths by least squares with one coefficient; the strongest measured column."""
    roles = prepared.roles
    found = sensitivity(
        _with_indicators(prepared.frame, adjustment),
        roles.treatment,
        roles.outcome,
        adjustment,
        estimator="regression",
        target="overlap",
        cluster=prepared.cluster,
        multiples=(1,),
    )
    bounds = found.bounds.fillna({"value": 0.0, "low": -math.inf, "high": math.inf})
    pull = (bounds["value"] - found.value).abs()
    strongest = bounds.loc[pull.idxmax()]
    keys = ["as strong as", "with_treatment", "with_outcome", "value", "low", "high"]
    capped = found.bounds[keys].assign(with_outcome=found.bounds["with_outcome"].clip(upper=1.0))
    tables["hidden"] = capped.to_dict("records")
    column = (
        float(min(strongest["with_treatment"], 1.0)),
        float(min(strongest["with_outcome"], 1.0)),
    )
    # of a hidden cause with the treatment, below 1, and with the outcome: those of the column too
    with_treatment = sorted({*_STRENGTHS, column[0]} - {1.0})
    with_outcome = sorted({*_STRENGTHS, column[1]})
    return {
        "value": found.value,
        "robustness": found.robustness,
        "of_sign": found.robustness_of_sign,
        "column": str(strongest["as strong as"]),
        "with_treatment": column[0],
        "with_outcome": column[1],
        "value_if": float(strongest["value"]),
        # nothing of the effect's own sign is left, be it nothing at all or the other sign
        "undone": bool(strongest["low"] <= 0 if found.value > 0 else strongest["high"] >= 0),
        "strengths": [with_treatment, with_outcome],
        "under": [[found.under(t, y) for y in with_outcome] for t in with_treatment],
    }


def _further(prepared, adjustment):
    """What else the log knows of a row, its item and its time, where this moves the effect: names,
    and the effect ``without`` and adjusted for that (``value``), by least squares with one
    coefficient.

    Of a nested pair of estimates the difference has about the difference of the variances
    (Hausman 1978). Less than a standard error of the effect does no harm.
    """
    besides = list(_known_besides(prepared, adjustment))
    if not besides:
        return []
    without = _slope(prepared, prepared.frame, adjustment)
    found = []
    for names, columns in besides:
        frame = prepared.frame.assign(**columns)
        try:
            more = _slope(prepared, frame, [*adjustment, *columns])
        except (NoOverlapError, ValueError):  # it decides the treatment, or has too many levels
            continue
        apart = abs(more[0] - without[0])
        chance = math.sqrt(abs(more[1] ** 2 - without[1] ** 2))
        if apart > max(without[1], more[1], 3 * chance):
            found.append({"names": names, "without": without[0], "value": more[0]})
    return found


def _slope(prepared, frame, columns):
    """The effect by least squares with one coefficient, and its standard error."""
    roles = prepared.roles
    few = _with_indicators(frame, columns)
    sample = Sample(
        frame[roles.outcome].to_numpy(dtype=float),
        frame[roles.treatment].to_numpy(),
        Covariates.fit(few, sorted(columns)).table(few),
        cluster_codes(frame, prepared.cluster),
        np.ones(len(frame)),
        target="overlap",
    )
    found = ESTIMATORS["regression"].estimate(sample)
    return found.value, standard_error(found.influence, sample.groups)


def _known_besides(prepared, adjustment):
    """(column, or what of it in words, what to adjust for): the rows' item, their day and hour, and
    the day of the week of dates.
    """
    roles = prepared.roles
    taken = set(prepared.frame.columns)

    def free(name):
        while name in taken:
            name += "'"
        return name

    n = len(prepared.frame)
    if roles.item and roles.item not in (*adjustment, *roles.columns_before):
        items = prepared.frame[roles.item]
        if 2 <= items.nunique() <= n // 2:
            yield roles.item, {free("item"): items.astype("category")}
    moments = [name for name, read in prepared.readings.items() if read.kind == "moment"]
    if roles.time and prepared.frame[roles.time].dtype.kind == "M" and not moments:
        time = prepared.frame[roles.time]
        parts = {"day": time.dt.floor("D").rank(method="dense"), "hour": time.dt.hour}
        used = {
            free(name): part.astype("category")
            for name, part in parts.items()
            if 2 <= part.nunique() <= n // 2
        }
        if used:
            yield roles.time, used
    for name, read in prepared.readings.items():
        if read.kind == "date":
            days = prepared.frame[name] + pd.Timestamp(read.origin).weekday()
            week = (days // 1 % 7).astype(int).astype("category")
            yield Reason("weekday", column=name), {free("weekday"): week}


def _unequal(prepared):
    """Columns known before that differ between the arms beyond chance, though the treatment is said
    to have been drawn at random.
    """
    roles = prepared.roles
    found = []
    for name in roles.columns_before:
        values = prepared.frame[name]
        parts = {name: values}
        if values.dtype.kind not in "fiub":
            levels = values.value_counts().index[:_LEVELS]
            parts = {level: (values == level).astype(float) for level in levels}
        for part in parts.values():
            one = effect(
                prepared.frame.assign(**{name: part}),
                roles.treatment,
                name,
                adjustment=[],
                estimator="difference",
                cluster=prepared.cluster,
            )
            low, high = one.interval(_RANDOM_LEVEL)
            if not low <= 0 <= high and name not in found:
                found.append(name)
    return found


def _with_indicators(frame, columns):
    """``frame`` with so many levels of each category as least squares can carry, the commonest.

    The category of most levels keeps all: least squares within its levels need no indicators.
    """
    most = max(_MOST_CELLS // len(frame), 1)
    categories = [name for name in columns if frame[name].dtype.kind not in "fiub"]
    categories.sort(key=lambda name: -frame[name].nunique())
    few = {}
    for name in categories[1:]:
        counts = frame[name].value_counts()
        if len(counts) > most:
            few[name] = grouped(frame[name], counts.index[:most])
    return frame.assign(**few)


def _controls(prepared, adjustment, seed):
    """Effects on outcomes that the treatment cannot move, with 99% intervals."""
    roles = prepared.roles
    asked = []
    if roles.negative_control:
        asked.append((roles.negative_control, prepared.frame, roles.negative_control, adjustment))
    earlier = _previous(prepared)
    if earlier is not None:
        frame, column, treated = earlier
        # a hidden cause shows in both treatments; one drawn at random may repeat for no cause
        random = roles.randomised or roles.propensity
        used = [*adjustment, treated] if random else adjustment
        asked.append((_previous_name(prepared), frame, column, used))
    found = []
    for name, frame, column, used in asked:
        try:
            one = effect(
                _with_indicators(frame, used),
                roles.treatment,
                column,
                adjustment=used,
                estimator="regression" if used else "difference",
                target="all",
                cluster=prepared.cluster,
                seed=seed,
            )
        except (NoOverlapError, ValueError):
            continue
        low, high = one.interval(_PLACEBO_LEVEL)
        found.append({"name": name, "value": one.value, "low": low, "high": high})
    return found


def _previous_name(prepared):
    return Reason("previous", outcome=prepared.roles.outcome)


def _previous(prepared):
    """Rows with the outcome and the treatment of their unit's previous row, and the names of these
    columns; None where there are too few. None, too, where the previous treatment decides this one,
    as where a unit is always treated alike: the previous outcome then shows the effect itself.
    """
    roles = prepared.roles
    if not (roles.unit and roles.time):
        return None
    order = prepared.frame.sort_values([roles.unit, roles.time], kind="stable")
    before = order.groupby(roles.unit, sort=False)
    earlier = before[roles.outcome].shift()
    # rows of one moment are one page: none of them comes before another
    later = order[roles.time] > before[roles.time].shift()
    name = "previous outcome"
    treated = "previous treatment"
    while {name, treated} & set(order.columns):
        name += "'"
        treated += "'"
    earlier_treatment = before[roles.treatment].shift()
    kept = order.assign(**{name: earlier, treated: earlier_treatment})[later & earlier.notna()]
    if len(kept) < _PLACEBO_ROWS or kept[name].nunique() < 2:
        return None
    if kept[roles.treatment].nunique() < 2:
        return None
    if kept.groupby(treated)[roles.treatment].nunique().max() < 2:
        return None
    return kept.reset_index(drop=True), name, treated


def half_width(step: Step) -> float:
    """Half of the width of the effect's interval."""
    return (step.facts["high"] - step.facts["low"]) / 2
