"""`prepare`: a log and its roles become one table without missing values, and what was found there.

What makes an answer impossible or silently wrong is a `LogError`; what weakens it is a finding.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from causal_lib.checks import check_whole
from causal_lib.inference.nuisances import standard_error
from causal_lib.reasons import Reason
from causal_lib.studies import columns as reading
from causal_lib.studies.columns import Reading
from causal_lib.studies.errors import LogError
from causal_lib.studies.reading import Log
from causal_lib.studies.roles import Roles
from causal_lib.studies.step import Step, worst

_TELLS = 0.95  # share of the outcome's variance in one column from which it is the outcome itself
_CLOSE = 0.5  # the share from which it is named
_DUE = 10  # rows that were due to differ where none does
_FEWEST_ROWS = 100
_FEWEST_UNITS = 5  # the folds keep units whole
_FEW_UNITS = 30
_RARE = 0.01
_OFF = 0.2  # of the smaller chance, how far shares of treated rows may be from propensities
_SURELY = 5  # standard errors
_LATER = re.compile(
    r"(?<![a-z])(click|purchas|order|buy|bought|revenue|gmv|conver|dwell|watch_time|rating|refund)|"
    r"点击|购买|下单|订单|收入|转化|成交|评分",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"(?<![a-z])(last|past|prev(ious)?|prior|hist(ory|orical)?|before|since|ago|\d+ ?(d|days?))"
    r"(?![a-z])|历史|过去|上次|此前|近\d",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The table of a study.

    Attributes
    ----------
    frame : (n, columns) treatment 0/1, outcome, columns known before; unit, item and time as codes
        and times; no missing values; categories with all of their levels.
    roles : the roles of its columns, those left out taken away.
    readings : how each column of ``before`` was read.
    audit : the `Step` of what was found.
    """

    frame: pd.DataFrame
    roles: Roles
    readings: Mapping[str, Reading]
    audit: Step

    @cached_property
    def grouped(self) -> pd.DataFrame:
        """`frame` with rare levels of each category put together, for the graph and for rules."""
        levels = {
            name: reading.grouped(self.frame[name], read.levels)
            for name, read in self.readings.items()
            if read.kind in ("category", "moment")
        }
        return self.frame.assign(**levels)

    @property
    def cluster(self) -> str | None:
        """The column whose rows are alike, if one is named."""
        return self.roles.unit or None


def prepare(
    log: Log | pd.DataFrame, roles: Roles, *, rows: int = 200_000, seed: int = 0
) -> Prepared:
    """The table of a study, and the audit of the log that it was made from.

    Parameters
    ----------
    log : from `read_log`, or a frame.
    rows : at most so many are analysed; of a longer log whole units are drawn at random by
        ``seed``, and this is said.

    Raises
    ------
    LogError
        for values that cannot be read, one arm, a constant outcome, rows that repeat a key with
        another treatment, a column of ``before`` that is known only afterwards (it tells the
        outcome, it exists only where treated, it is later than the row), or under 100 rows.
    """
    check_whole(rows, name="rows", low=_FEWEST_ROWS)
    log = log if isinstance(log, Log) else Log(log, "a frame")
    frame = log.frame
    if absent := [name for name in roles.columns if name not in frame.columns]:
        raise LogError(
            f"log: no column {', '.join(map(repr, absent))}, which the roles name; columns there: "
            f"{', '.join(map(repr, frame.columns))}"
        )
    found = _Findings(len(frame))
    found.notes += log.notes
    frame = frame[list(roles.columns)]
    _check_values(frame)
    frame = _without_repeats(frame, roles, found)
    frame = _without_unknown(frame, roles, found)
    table = {roles.treatment: _treatment(frame[roles.treatment], roles)}
    outcome = reading.number(frame[roles.outcome], "outcome")
    table[roles.outcome] = outcome
    time = None
    if roles.time:
        time, notes = reading.times(frame[roles.time], roles.time_unit)
        found.notes += notes
        table[roles.time] = time.to_numpy()
    for role in ("unit", "item"):
        if column := getattr(roles, role):
            table[column] = reading.ids(frame[column], role).to_numpy()
    for role in ("propensity", "price", "negative_control"):
        if column := getattr(roles, role):
            table[column] = _complete_number(frame[column], role)
    _check_variation(table, roles)
    if roles.propensity:
        _check_propensity(table, roles)
    tiers, covariates, readings = _before(frame, roles, time, found)
    table |= covariates
    made = pd.DataFrame({name: pd.Series(values) for name, values in table.items()})
    roles = replace(
        roles,
        before=tiers,
        known=_edges_among(roles, roles.known, tiers, readings),
        impossible=_edges_among(roles, roles.impossible, tiers, readings),
    )
    _check_leaks(made, roles, found)
    _check_copies(made, roles)
    if len(made) < _FEWEST_ROWS:
        raise LogError(f"log: {len(made)} rows are left; at least {_FEWEST_ROWS} are needed")
    made = _drawn(made, roles, rows, seed, found)
    _judge(made, roles, found)
    return Prepared(made, roles, readings, _step(log, made, roles, readings, found))


class _Findings:
    """What was done to the log and what weakens an answer, as it is found."""

    def __init__(self, rows):
        self.read = rows
        self.notes = []
        self.reasons = []
        self.verdict = "supported"

    def weaken(self, verdict, reason):
        self.verdict = worst(self.verdict, verdict)
        self.reasons.append(reason)


def _check_values(frame):
    """LogError for a column of lists or mappings, which can be no role."""
    for name in frame.columns:
        for one in frame[name].array if frame[name].dtype == object else ():
            if not isinstance(one, Hashable):
                raise LogError(
                    f"log: column {name!r} holds {type(one).__name__}s, as {one!r}; make a column "
                    "of each part, or leave it out of the roles"
                )


def _without_repeats(frame, roles, found):
    """``frame`` without exact repeats of a key; LogError where they disagree on the treatment."""
    key = [column for column in (roles.unit, roles.item, roles.time) if column]
    if not (roles.unit and roles.time):
        return frame
    exact = frame.duplicated()
    if exact.any():
        found.notes.append(Reason("duplicates", rows=int(exact.sum())))
        frame = frame[~exact]
    again = frame.duplicated(key, keep=False)
    if not again.any():
        return frame
    arms = frame[again].groupby(key, sort=False)[roles.treatment].nunique()
    if both := int((arms > 1).sum()):
        raise LogError(
            f"log: {both:,} candidates ({', '.join(key)}) are both treated and untreated; keep one "
            "row of each"
        )
    found.notes.append(Reason("shared_key", rows=int(again.sum()), key=", ".join(key)))
    return frame


def _without_unknown(frame, roles, found):
    """``frame`` without rows that lack treatment or outcome, which is said."""
    for role in ("treatment", "outcome"):
        column = getattr(roles, role)
        lost = frame[column].isna()
        if lost.all():
            raise LogError(f"log: {role} {column!r} holds only missing values")
        if not lost.any():
            continue
        share = float(lost.mean())
        rows = int(lost.sum())
        found.notes.append(Reason("rows_lost", rows=rows, column=column))
        if share > 0.01:
            reason = Reason("rows_lost_many", rows=rows, column=column, share=share)
            found.weaken("weak", reason)
        frame = frame[~lost]
    return frame.reset_index(drop=True)


def _treatment(values, roles):
    """(n,) 0 and 1; LogError where that is not clear."""
    name = roles.treatment
    if roles.control != "":
        arms = values.isin([roles.control, roles.treated])
        text = values.astype(str)
        if not arms.all():
            arms = text.isin([str(roles.control), str(roles.treated)])
        if not arms.all():
            raise LogError(
                f"log: treatment {name!r} has {int((~arms).sum()):,} rows that are neither "
                f"{roles.control!r} nor {roles.treated!r}, as {values[~arms].iloc[0]!r}; leave "
                "these rows out"
            )
        return (text == str(roles.treated)).to_numpy().astype(int)
    if heads := int((values == name).sum()):
        raise LogError(
            f"log: {heads:,} rows repeat the header ({name!r} stands in the column of that name), "
            "as where files were put together; leave these rows out"
        )
    levels = sorted(values.unique().tolist(), key=str)
    shown = reading.levels_shown(levels)
    numeric = reading.number_or_nothing(values)
    if np.isnan(numeric).any() or not set(np.unique(numeric)) <= {0, 1}:
        raise LogError(
            f"log: treatment {name!r} is not 0 and 1; it has {len(levels)} levels ({shown}); name "
            "the two to compare by control = and treated ="
        )
    return numeric.astype(int)


def _complete_number(values, role):
    found = reading.number(values, role)
    if missing := int(np.isnan(found).sum()):
        raise LogError(
            f"log: {role} {values.name!r} is missing in {missing:,} rows; fill it in, or leave the "
            "role out"
        )
    return found


def _check_variation(table, roles):
    t = table[roles.treatment]
    if t.min() == t.max():
        arm = "treated" if t[0] else "untreated"
        raise LogError(
            f"log: all {len(t):,} rows are {arm} ({roles.treatment!r} is {t[0]}): an effect "
            "compares two arms; add rows of the other by candidates ="
        )
    y = table[roles.outcome]
    if y.min() == y.max():
        raise LogError(
            f"log: outcome {roles.outcome!r} is {y[0]:g} in all {len(y):,} rows: no effect can be "
            "seen in it"
        )

    for role in ("price", "negative_control"):
        if (column := getattr(roles, role)) and np.ptp(table[column]) == 0:
            value = table[column][0]
            if role == "negative_control" or value == 0:
                raise LogError(
                    f"log: {role} {column!r} is {value:g} in all {len(t):,} rows, which tells "
                    "nothing; leave the role out"
                )
    if roles.unit and (units := len(np.unique(table[roles.unit]))) < _FEWEST_UNITS:
        raise LogError(
            f"log: the {len(t):,} rows are of {units} {'unit' if units == 1 else 'units'} "
            f"({roles.unit!r}); at least {_FEWEST_UNITS} show how far units differ by chance; name "
            "the column whose rows are alike, or leave the role out"
        )


def _check_propensity(table, roles):
    chance = table[roles.propensity]
    outside = (chance <= 0) | (chance > 1)
    if outside.any():
        raise LogError(
            f"log: propensity {roles.propensity!r} has {int(outside.sum()):,} values outside "
            f"(0, 1], first {chance[outside][0]:g}; it is the probability of the treatment, not a "
            "percentage or a score"
        )
    treated = table[roles.treatment] == 1
    due = float(chance.sum())
    error = float(np.sqrt((chance * (1 - chance)).sum())) or 1.0
    if abs(treated.sum() - due) > 10 * error and abs(treated.sum() / due - 1) > 0.2:
        raise LogError(
            f"log: propensity {roles.propensity!r} adds up to {due:,.0f} treated rows, and there "
            f"are {int(treated.sum()):,}: it is not the probability that {roles.treatment!r} is 1; "
            "leave the role out, or give the probability of treatment in every row"
        )
    _check_fit(table, roles, chance, treated)


def _check_fit(table, roles, chance, treated):
    """LogError where rows of a high propensity are not treated as often as it says.

    In tenths of the rows by propensity. Units are the chance: their rows may be treated alike.
    """
    tenths = np.unique(np.quantile(chance, np.linspace(0.1, 0.9, 9)))
    bins = np.unique(np.searchsorted(tenths, chance), return_inverse=True)[1]
    rows = np.bincount(bins)
    share = np.bincount(bins, treated) / rows
    due = np.bincount(bins, chance) / rows
    units = table[roles.unit] if roles.unit else np.arange(len(chance))
    apart = (np.abs(share - due) * rows).sum() / len(chance)
    error = standard_error((treated - chance) * np.sign(share - due)[bins], units)
    room = np.minimum(chance, 1 - chance).mean()
    if apart > _OFF * room and apart > _SURELY * error + np.sqrt(len(rows)) * error:
        worst = int(np.argmax(np.abs(share - due)))
        raise LogError(
            f"log: propensity {roles.propensity!r} does not fit {roles.treatment!r}: of the "
            f"{rows[worst]:,} rows where it is about {due[worst]:.2g}, {share[worst]:.2g} are "
            "treated; leave the role out, or give the probability of treatment in every row"
        )


def _before(frame, roles, time, found):
    """Tiers, covariates by name and their `Reading`s; what tells nothing is left out and said."""
    tiers = []
    covariates = {}
    readings = {}
    for tier in roles.before:
        kept = []
        for column in tier:
            if column == roles.time and time.dtype.kind == "M":
                for made, read in reading.moments(time):
                    name = _free(read.name, [*frame.columns, *covariates])
                    kept.append(name)
                    covariates[name] = made
                    readings[name] = replace(read, name=name)
                continue
            values = frame[column]
            if values.nunique(dropna=True) == 0:
                found.notes.append(Reason("only_missing", column=column))
                continue
            made, read, notes = reading.covariate(values, time, of_ids=column == roles.item)
            distinct = made.nunique()
            if distinct < 2:
                found.notes.append(Reason("constant", column=column))
                continue
            original = values.nunique(dropna=True)
            text = read.kind == "category"
            if text and original > 0.5 * len(values) and original > 50:
                found.notes.append(Reason("identifier", column=column, levels=original))
                continue
            found.notes += notes
            kept.append(column)
            covariates[column] = made
            readings[column] = read
            if read.missing and not text:
                name = _free(f"{column} missing", [*frame.columns, *covariates])
                lost = values.isna().to_numpy().astype(float)
                if 0 < lost.sum() < len(lost):
                    kept.append(name)
                    covariates[name] = lost
        if kept:
            tiers.append(tuple(kept))
    return tuple(tiers), covariates, readings


def _free(name, taken):
    """``name``, with marks behind it where it is taken."""
    while name in taken:
        name += "'"
    return name


def _edges_among(roles, edges, tiers, readings):
    able = {roles.treatment, roles.outcome, *(name for tier in tiers for name in tier)}
    # an edge of the time is one of each of its parts
    parts = {roles.time: [name for name, read in readings.items() if read.kind == "moment"]}
    pairs = [
        (cause, effect)
        for a, b in edges
        for cause in parts.get(a, [a])
        for effect in parts.get(b, [b])
    ]
    return tuple(pair for pair in pairs if set(pair) <= able)


def _check_leaks(made, roles, found):
    """LogError for a column of ``before`` that shows what came after the treatment."""
    t = made[roles.treatment].to_numpy()
    y = made[roles.outcome].to_numpy(dtype=float)
    binary = len(np.unique(y)) == 2
    for column in roles.columns_before:
        values = made[column]
        coded = coded_column(values)
        if _only_where_treated(coded, t, *_ids(made, roles)):
            raise LogError(
                f"log: column {column!r} is 0 in every row with "
                f"{roles.treatment} = 0 and varies in the others: it is written when the treatment "
                "happens; move it to after"
            )
        share = told(coded, y)
        if share > _TELLS:
            raise LogError(
                f"log: column {column!r} tells {share:.1%} of the outcome {roles.outcome!r} on its "
                "own: it is known only afterwards; move it to after"
            )
        if binary and share > _CLOSE:
            found.weaken("weak", Reason("tells_outcome", column=column, share=share))
        elif _LATER.search(column) and not _PAST.search(column):
            found.weaken("weak", Reason("name_of_later", column=column))


def _check_copies(made, roles):
    """LogError where each row stands in a log without units equally often, more than once."""
    if roles.unit:
        return
    _, counts = np.unique(pd.util.hash_pandas_object(made, index=False), return_counts=True)
    times = int(np.gcd.reduce(counts))
    if times > 1 and len(counts) >= _FEWEST_ROWS:
        raise LogError(
            f"log: each of its {len(counts):,} rows stands {times} times, as where a file is put "
            "together with itself: intervals would be too narrow; leave the copies out, or name "
            "the unit whose rows are alike"
        )


def coded_column(values: pd.Series) -> np.ndarray:
    """(n,) numbers as they are, labels by codes in order of appearance."""
    if values.dtype.kind in "fiub":
        return values.to_numpy(dtype=float)
    return pd.factorize(values)[0].astype(float)


def _ids(made, roles):
    """Codes (n,) of the units and of the items, where they are named."""
    return [pd.factorize(made[name])[0] for name in (roles.unit, roles.item) if name]


def _only_where_treated(values, t, *ids):
    """Whether ``values`` are one number where untreated, though others were due there: units or
    items (``ids``, codes of each) whose rows have others are few where they are so by chance.
    """
    untreated = values[t == 0]
    treated = values[t == 1]
    usual = untreated[0]
    if not (untreated == usual).all() or usual != 0:
        return False
    share = float((treated != usual).mean())
    if share * len(untreated) < _DUE or (treated != usual).sum() < _DUE:
        return False
    return all(len(np.unique(codes[t == 1][treated != usual])) >= _DUE for codes in ids)


def told(values: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of ``y`` between the leaves of a small tree of one column."""
    leaves = 8 if len(y) < 5_000 else 32
    tree = DecisionTreeRegressor(
        max_leaf_nodes=leaves, min_samples_leaf=max(5, len(y) // 2_000), random_state=0
    )
    return float(tree.fit(values[:, None], y).score(values[:, None], y))


def _drawn(made, roles, rows, seed, found):
    """``made``, or whole units of it drawn at random where it is longer than ``rows``."""
    if len(made) <= rows:
        return made
    rng = np.random.default_rng(seed)
    codes = made[roles.unit].to_numpy() if roles.unit else np.arange(len(made))
    order = rng.permutation(codes.max() + 1)
    sizes = np.bincount(codes)[order]
    chosen = order[np.cumsum(sizes) <= rows]
    kept = np.isin(codes, chosen)
    counts = {"rows": int(kept.sum()), "all": len(made)}
    found.notes.append(
        Reason("drawn_units", **counts, count=len(chosen), unit=roles.unit)
        if roles.unit
        else Reason("drawn_rows", **counts)
    )
    return made[kept].reset_index(drop=True)


def _judge(made, roles, found):
    y = made[roles.outcome].to_numpy(dtype=float)
    t = made[roles.treatment].to_numpy()
    if _only_where_treated(y, t, *_ids(made, roles)):
        reason = Reason("only_treated", outcome=roles.outcome, treatment=roles.treatment)
        found.weaken("weak", reason)
    if not roles.unit:
        found.notes.append(Reason("no_unit"))
        if groups := _treated_alike(made, roles):
            found.weaken("weak", Reason("treated_alike", groups=groups))
        return
    units = made[roles.unit].nunique()
    if units < _FEW_UNITS:
        found.weaken("weak", Reason("few_units", units=units, unit=roles.unit))
    elif units == len(made):
        found.notes.append(Reason("own_unit", unit=roles.unit))


def _treated_alike(made, roles):
    """Groups of rows that are the same in all that was known before, where each is treated alike
    though chance would not do that: such rows are of one unit. 0 where it may be chance.
    """
    if not roles.before:
        return 0
    alike = pd.util.hash_pandas_object(made[list(roles.columns_before)], index=False)
    sums = made[roles.treatment].groupby(alike.to_numpy()).agg(["size", "sum"])
    several = sums[sums["size"] > 1]
    mixed = ((several["sum"] > 0) & (several["sum"] < several["size"])).sum()
    share = made[roles.treatment].mean()
    size = several["size"].to_numpy(dtype=float)
    due = float((1 - share**size - (1 - share) ** size).sum())
    return len(several) if mixed == 0 and due >= _DUE else 0


def _step(log, made, roles, readings, found):
    t = made[roles.treatment].to_numpy()
    y = made[roles.outcome].to_numpy(dtype=float)
    facts = {
        "rows_read": found.read,
        "rows": len(made),
        "units": int(made[roles.unit].nunique()) if roles.unit else len(made),
        "treated": int(t.sum()),
        "share_treated": float(t.mean()),
        "mean_outcome": float(y.mean()),
        "mean_if_treated": float(y[t == 1].mean()),
        "mean_if_untreated": float(y[t == 0].mean()),
    }
    says = [
        (
            "audit",
            {
                "read": found.read,
                "rows": len(made),
                "source": Reason("a_frame") if log.source == "a frame" else log.source,
                "share": float(t.mean()),
                "treatment": roles.treatment,
                "columns": len(readings),
            },
        )
    ]
    if t.mean() < _RARE:
        says.append(("audit_rare", {"treated": int(t.sum())}))
    columns = [
        {
            "column": name,
            "read as": read.kind,
            "missing": read.missing,
            "levels": int(made[name].nunique()),
        }
        for name, read in readings.items()
    ]
    tables = {"columns": columns, "notes": [{"note": note} for note in found.notes]}
    if roles.position and roles.position in log.frame.columns:
        tables["positions"] = _positions(log.frame, roles)
    return Step("audit", found.verdict, tuple(says), tuple(found.reasons), facts, tables)


def _positions(frame, roles):
    """Rows and mean outcome by position, the first ten in the order of numbers, not of letters."""
    known = frame[[roles.position, roles.outcome]].dropna()
    places = known[roles.position]
    labels = places.map(lambda one: f"{one:g}" if isinstance(one, float) else str(one))
    outcome = pd.Series(reading.number_or_nothing(known[roles.outcome]), known.index)
    groups = outcome.groupby(labels).agg(["size", "mean"])
    order = pd.to_numeric(groups.index.to_series(), errors="coerce").sort_values(kind="stable")
    return [
        {"position": place, "rows": int(row["size"]), "mean outcome": float(row["mean"])}
        for place, row in groups.loc[order.index].head(10).iterrows()
    ]
