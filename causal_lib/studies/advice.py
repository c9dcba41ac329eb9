"""What would make the answer surer: rows, a random bucket, a column, a fact about the graph."""

import math

from causal_lib.studies.audit import Prepared
from causal_lib.studies.effects import half_width
from causal_lib.studies.step import Step

_BOTH = (1.959964 + 0.841621) ** 2  # a test of level 5% with power 80%
_TOLD = 0.01  # of the treatment by a column: less is no reason to look for its like
_SMALL = 0.2  # standard deviations of the outcome: an effect that a bucket should show


def advise(
    prepared: Prepared, identified: Step, estimated: Step, sensitive: Step, rule: Step
) -> Step:
    """What to collect or to find out next, the most useful first."""
    says = []
    facts = {}
    if estimated.verdict != "refused":
        clear = estimated.facts["clear"]
        facts |= _sizes(prepared, estimated)
        if facts["rows_needed"] > len(prepared.frame):
            key = "advice_rows" if clear else "advice_more_rows"
            says.append((key, {"rows": facts["rows_needed"]}))
        if not identified.facts.get("random"):
            key = "advice_bucket" if clear else "advice_bucket_small"
            says.append((key, {"rows": facts["bucket"], "share": _SMALL}))
    else:
        says.append(("advice_arms", {"treatment": prepared.roles.treatment}))
    told = sensitive.facts.get("with_treatment", 0.0) > _TOLD
    if sensitive.verdict != "supported" and told:
        says.append(("advice_column", {"column": sensitive.facts["column"]}))
    for row in identified.tables.get("deciding", ())[:1]:
        says.append(("advice_edge", {"edge": row["edge"]}))
    if estimated.facts.get("support"):
        says.append(("advice_overlap", {"rule": estimated.facts["support"]["rule"] or "-"}))
    for role in ("unit", "time", "negative_control"):
        known = role == "negative_control" and identified.facts.get("random")
        if not getattr(prepared.roles, role) and not known:
            says.append((f"advice_{role}", {}))
    if not says:
        says.append(("advice_nothing", {}))
    facts["suggestions"] = len(says)
    return Step("next", says=tuple(says), facts=facts)


def _sizes(prepared, estimated):
    """Rows that halve the interval against the effect, and rows of a random bucket.

    What cannot be told from no effect has no size: rows halve its interval then, and the bucket is
    one that shows a small effect.
    """
    n = len(prepared.frame)
    half = half_width(estimated)
    value = abs(estimated.facts["value"])
    y = prepared.frame[prepared.roles.outcome].to_numpy(dtype=float)
    if estimated.facts["clear"]:
        rows = math.ceil(n * (2 * half / value) ** 2)
        size = value / float(y.std())
    else:
        rows = 4 * n
        size = _SMALL
    # two arms of equal size, a difference of the size of the effect
    return {"rows_needed": rows, "bucket": 2 * math.ceil(2 * _BOTH / size**2)}
