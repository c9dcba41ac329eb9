"""Who gains: effects that vary between rows, judged on rows that the models did not see."""

from dataclasses import dataclass

import numpy as np

from causal_lib.inference.covariates import Covariates
from causal_lib.inference.nuisances import NoOverlapError
from causal_lib.inference.support import rule_of
from causal_lib.inference.uplift import UpliftModel
from causal_lib.progress import without_bars
from causal_lib.reasons import Reason
from causal_lib.studies.audit import Prepared
from causal_lib.studies.step import Step

_GROUPS = 5
_FEWEST = 50  # rows of an arm
LEARNERS = ("dr_linear", "dr_coarse", "t_linear", "t_coarse")


@dataclass(frozen=True, eq=False)
class Scores:
    """Of each row of a table: doubly robust scores of its effect, ``score``, and of its outcome
    when ``untreated``, and the effect ``predicted`` by models that did not see the row; empty where
    there are none.
    """

    score: np.ndarray
    untreated: np.ndarray
    predicted: np.ndarray

    @classmethod
    def none(cls) -> "Scores":
        """No scores."""
        return cls(np.zeros(0), np.zeros(0), np.zeros(0))


def find_gains(
    prepared: Prepared, identified: Step, estimated: Step, *, seed: int = 0
) -> tuple[Step, Scores]:
    """Effects for each row, their calibration and Qini on held-out rows, and who gains most.

    The verdict is 'weak' where held-out rows do not show that predictions rank the effects.
    """
    roles = prepared.roles
    adjustment = list(identified.facts.get("adjustment", []))
    t = prepared.frame[roles.treatment]
    why = None
    if estimated.verdict == "refused":
        why = estimated.reasons
    elif identified.facts["strategy"] == "front-door":
        why = (Reason("gains_need_columns"),)
    elif not adjustment:
        why = (Reason("rows_alike"),)
    elif min(t.sum(), (1 - t).sum()) < _FEWEST:
        why = (Reason("small_arm", rows=int(min(t.sum(), (1 - t).sum())), fewest=_FEWEST),)
    if why is not None:
        return Step("gains", "refused", (("gains_refused", {}),), tuple(why)), Scores.none()
    propensity = roles.propensity or None
    if propensity and not prepared.frame[propensity].lt(1).all():
        propensity = None
    try:
        with without_bars():
            model = UpliftModel.train(
                prepared.frame,
                roles.treatment,
                roles.outcome,
                adjustment,
                learner=LEARNERS,
                cluster=prepared.cluster,
                propensity=propensity,
                seed=seed,
            )
    except (NoOverlapError, ValueError) as error:
        return Step(
            "gains", "refused", (("gains_refused", {}),), (Reason.of(error),)
        ), Scores.none()
    scores = Scores(model.score, model.untreated, model.predicted)
    return _step(prepared, model, adjustment, estimated), scores


def _step(prepared, model, adjustment, estimated):
    slope = model.calibration().loc["slope"]
    qini = model.qini()
    # where many predictions are alike, or units are few, there are no fifths of them
    edges = np.quantile(model.predicted, np.linspace(0, 1, _GROUPS + 1))
    able = (np.diff(edges) > 0).all() and model.groups.max() + 1 >= 2 * _GROUPS
    grouped = model.grouped(_GROUPS) if able else None
    scale = estimated.facts["scale"]
    varies = bool(slope["low"] > 0) and qini[1] > 0 and grouped is not None
    facts = {
        "slope": slope["value"],
        "slope_low": slope["low"],
        "slope_high": slope["high"],
        "qini": qini[0],
        "qini_low": qini[1],
        "qini_high": qini[2],
        "varies": varies,
    }
    says = []
    if varies:
        most = model.predicted >= np.quantile(model.predicted, 1 - 1 / _GROUPS)
        x = Covariates.fit(prepared.frame, sorted(adjustment)).table(prepared.frame)
        facts["who"] = rule_of(most, x)
        says.append(
            (
                "gains",
                {
                    "top": scale * grouped["value"].iloc[-1],
                    "low": scale * grouped["low"].iloc[-1],
                    "high": scale * grouped["high"].iloc[-1],
                    "bottom": scale * grouped["value"].iloc[0],
                    "who": facts["who"] or "-",
                },
            )
        )
    else:
        says.append(("gains_alike", {}))
    reasons = () if varies else (Reason("gains_not_shown"),)
    rows = []
    if grouped is not None:
        rows = [{"fifth": number + 1, **row.to_dict()} for number, row in grouped.iterrows()]
    return Step(
        "gains",
        "supported" if varies else "weak",
        tuple(says),
        reasons,
        facts,
        {"fifths": rows},
    )
