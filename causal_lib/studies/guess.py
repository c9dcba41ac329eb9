"""`guess_roles`: a first ``roles.toml`` from names, types and counts, with what to check."""

import re

import numpy as np
import pandas as pd

from causal_lib.studies import columns as reading
from causal_lib.studies.errors import LogError
from causal_lib.studies.reading import Log
from causal_lib.studies.roles import Roles

# What names usually mean, the first that fits; each pattern is looked for in the whole name.
_NAMES = {
    "propensity": r"propens|^ps$|prob(ability)?_(shown|exposed|treat)|倾向",
    "treatment": r"^(is_)?(shown|exposed|exposure|treat(ed|ment)?|recommended|displayed)"
    r"|曝光|展示|推荐|处理",
    "outcome": r"purchas|bought|^buy|convert|conversion|order(ed)?$|^sale|^y$|outcome"
    r"|购买|下单|转化",
    "position": r"^(position|rank|slot)$|位置|排名",
    "after": r"click|dwell|watch|rating|revenue|gmv|refund|cart|点击|收入|评分|停留|加购",
    "unit": r"^(user|uid|customer|visitor|member|session|account)(_?id)?$|用户|会员",
    "item": r"^(item|product|sku|goods|video|article|ad)(_?id)?$|商品|物品",
    "time": r"^(time|timestamp|ts|date|day|dt|datetime|event_time|created(_at)?)$|时间|日期",
}
_FEW = 50  # values, from which a table that has fewer distinct ones may be levels


def guess_roles(log: Log | pd.DataFrame, **how: str) -> tuple[Roles, list[str]]:
    """First roles of a log's columns, and what a person has to check in them.

    Guessed from names (English and Chinese) and values: a treatment has two values, an id many.
    All that is left counts as known before: the guess that most needs a second look. ``how`` are
    roles that are known: encoding, separator.

    Raises LogError where no column can be the treatment or the outcome: they have to be named.
    """
    frame = log.frame if isinstance(log, Log) else log
    found = {}
    after = []
    notes = ["Guessed from names and values. Check every line; lines below say what was guessed."]
    for column in frame.columns:
        role = _by_name(frame[column])
        if role == "after" or (role in found and role in ("outcome", "position")):
            after.append(column)
            notes.append(f"{column}: after the treatment, by its name")
        elif role and role not in found:
            found[role] = column
            notes.append(f"{column}: {role}, by its name")
    for role, hint in (("treatment", "what was done (0 and 1)"), ("outcome", "what came of it")):
        if role not in found:
            binary = [name for name in frame.columns if _is_binary(frame[name])]
            named = [
                name for name in frame.columns if re.search(_NAMES[role], name.strip().lower())
            ]
            if named:
                shown = reading.levels_shown(frame[named[0]].dropna().unique().tolist(), 3)
                needed = "two values" if role == "treatment" else "numbers, or 0 and 1"
                raise LogError(
                    f"guess: {named[0]!r} has the name of the {role} and holds {shown}; "
                    f"{needed} are needed: change the values, or write the roles by hand"
                )
            raise LogError(
                f"guess: no column can be told to be the {role}, {hint}; rename it, or write the "
                f"roles by hand (columns of two values: {', '.join(map(repr, binary)) or 'none'})"
            )
    control = ""
    treated = ""
    levels = frame[found["treatment"]].dropna().unique().tolist()
    numbers = reading.number_or_nothing(pd.Series(levels, name="level"))
    if not set(numbers) <= {0, 1} and len(levels) == 2:
        control, treated = sorted(levels, key=str)
        notes.append(
            f"{found['treatment']}: {treated!r} was taken for treated and {control!r} for control, "
            "in the order of the alphabet"
        )
    named = {*found.values(), *after}
    rest = [name for name in frame.columns if name not in named]
    before = []
    unused = []
    for name in rest:
        if _is_identifier(frame[name]):
            unused.append(name)
            notes.append(f"{name}: unused, its values identify rows")
        else:
            before.append(name)
    if before:
        notes.append(
            "before holds all other columns in one tier: move what the treatment may have changed "
            "to after, and split the tier where one column is fixed before another"
        )
    if "time" in found:
        try:
            notes += reading.times(frame[found["time"]])[1]
        except LogError as error:
            notes.append(f"to be answered: {error}")
    for role in ("unit", "item", "time", "propensity"):
        if role not in found:
            notes.append(f"{role}: no column was found; name it if there is one")
    texts = {"control": str(control), "treated": str(treated)} if control != "" else {}
    roles = Roles(
        **found,
        before=(tuple(before),),
        after=tuple(after),
        unused=tuple(unused),
        **texts,
        **how,
    )
    return roles, notes


def _by_name(values):
    """The role that a column's name suggests, if its values allow it."""
    name = str(values.name).strip().lower()
    for role, pattern in _NAMES.items():
        if not re.search(pattern, name):
            continue
        if role == "treatment" and values.dropna().nunique() != 2:
            continue
        if role == "outcome" and not _is_numeric(values):
            continue
        if role == "propensity" and not _is_share(values):
            continue
        return role
    return None


def _is_numeric(values):
    return not np.isnan(reading.number_or_nothing(values)).all()


def _is_share(values):
    numbers = reading.number_or_nothing(values.dropna())
    return bool(len(numbers)) and bool(((numbers > 0) & (numbers <= 1)).all())


def _is_binary(values):
    return values.dropna().nunique() == 2


def _is_identifier(values):
    present = values.dropna()
    distinct = present.nunique()
    if distinct <= _FEW or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return False
    numbers = reading.number_or_nothing(present)
    if not np.isnan(numbers).all():
        return distinct == len(present) and bool(np.all(np.diff(np.sort(numbers)) == 1))
    try:
        read = reading.covariate(values, None)[1]
    except LogError:
        return False
    return read.kind == "category" and distinct > 0.5 * len(present)
