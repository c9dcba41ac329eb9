"""What would make the answer surer: rows, a random bucket, a column, a fact about the graph."""

import math

from causal_lib.studies.audit import Prepared
from causal_lib.studies.effects import half_width
from causal_lib.studies.step import Step

_BOTH = (1.959964 + 0.841621) ** 2  # a test of level 5% with power 80%


def advise(
    prepared: Prepared, identified: Step, estimated: Step, sensitive: Step, rule: Step
) -> Step:
    """What to collect or to find out next, the most useful first."""
    says = []
    facts = {}
    if estimated.verdict != "refused":
        facts |= _sizes(prepared, estimated)
        if facts["rows_needed"] > len(prepared.frame):
            says.append(("advice_rows", {"rows": facts["rows_needed"]}))
        if not identified.facts.get("random"):
            says.append(("advice_bucket", {"rows": facts["bucket"]}))
    else:
        says.append(("advice_arms", {"treatment": prepared.roles.treatment}))
    if sensitive.verdict != "supported" and sensitive.facts.get("column"):
        says.append(("advice_column", {"column": sensitive.facts["column"]}))
    for row in identified.tables.get("deciding", ())[:1]:
        says.append(("advice_edge", {"edge": row["edge"]}))
    if estimated.facts.get("support"):
        says.append(("advice_overlap", {"rule": estimated.facts["support"]["rule"] or "-"}))
    for role in ("unit", "time", "negative_control"):
        if not getattr(prepared.roles, role):
            says.append((f"advice_{role}", {}))
    if not says:
        says.append(("advice_nothing", {}))
    facts["suggestions"] = len(says)
    return Step("next", says=tuple(says), facts=facts)


def _sizes(prepared, estimated):
    """Rows that halve the interval against the effect, and rows of a random bucket."""
    half = half_width(estimated)
    value = abs(estimated.facts["value"])
    aim = max(value, half) / 2
    rows = math.ceil(len(prepared.frame) * (half / aim) ** 2)
    y = prepared.frame[prepared.roles.outcome].to_numpy(dtype=float)
    # two arms of equal size, a difference of the size of the effect
    arm = math.ceil(2 * _BOTH * float(y.var()) / max(value, half) ** 2)
    return {"rows_needed": rows, "bucket": 2 * arm}
