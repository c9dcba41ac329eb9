"""The moments of a query's rows, of sums that the database computes."""

from decimal import Decimal
from itertools import combinations

import numpy as np
import sqlalchemy as sa

from causal_lib.data.queries import Query, all_of, check_query_columns
from causal_lib.discovery.moments import MAX_LEVELS, by_variable, of_sums

_ROUNDING = 1e-6  # by how much two sums over the same rows may differ, relative to their size


@np.errstate(over="ignore", invalid="ignore")  # an overflow is found in the result
def query_moments(query: Query, categories, weights, missing):
    """Names, levels, stack (without draws), rows used and rows left out of ``query``.

    The database sums three times: what the columns hold; means of the complete rows; products of
    the numbers less these means, so that large ones lose no digits. Then it counts the levels of
    each category and of each pair of them.
    """
    with query.reading() as table:
        for name in categories:
            check_query_columns({"categories": name}, table.names)
        check_query_columns({"weights": weights}, table.names)
        seen, found = table.inspect(table.names)
        names = [name for name in table.names if name != weights]
        for name in names:
            _check_column(name, found[name])
        kinds = {name: found[name].kind for name in names}
        w = []
        if weights is not None:
            w = [_checked_weights(table, weights, found[weights], seen)]
        holes = {name: seen - found[name].filled for name in names if found[name].filled < seen}
        if missing == "raise" and holes:
            worst = max(holes, key=holes.get)
            raise ValueError(
                f"column {worst!r} has {holes[worst]} missing values in {seen} rows; fill them in, "
                "or leave such rows out (missing='complete')"
            )
        numbers = [name for name in names if kinds[name] == "number" and name not in categories]
        coded = [name for name in names if name not in numbers]
        complete = [
            (table.number(name) if kinds[name] == "number" else table.column(name)).isnot(None)
            for name in holes
        ]
        positive = [one > 0 for one in w]
        values = [table.number(name) for name in numbers]
        kept, rows, count, *means = table.sums(
            table.table,
            [
                sa.func.count(),
                table.count(all_of(positive)),
                table.total(*w),
                *(table.total(*w, value) for value in values),
                *(ends(value) for value in values for ends in (sa.func.min, sa.func.max)),
            ],
            where=all_of(complete),
        )
        if not rows:
            raise ValueError(none_left(seen, holes))
        p = len(numbers)
        ends = means[p:]
        # a constant is its own mean, to the last digit; the sum of infinite ones is none
        centre = [
            low if low == high else np.nan if mean is None else mean / count
            for mean, low, high in zip(means[:p], ends[::2], ends[1::2], strict=True)
        ]
        deviations = [
            (value - sa.literal(float(middle))).label(f"d{j}")
            for j, (value, middle) in enumerate(zip(values, centre, strict=True))
        ]
        raw = [table.column(name).label(f"k{j}") for j, name in enumerate(coded)]
        used = (
            sa.select(*deviations, *raw, *(one.label("w") for one in w))
            .select_from(table.table)
            .where(all_of([*complete, *positive]))
            .subquery("d")
        )
        stack, levels = _moments(
            table,
            used,
            p,
            [kinds[name] == "text" for name in coded],
            coded,
            [used.c.w] if w else [],
        )
    stack[1][0, :p] += np.array(centre, dtype=float)
    own = dict(zip(coded, levels, strict=True))
    kept_levels, stack = by_variable(names, [own.get(name) for name in names], stack)
    return names, kept_levels, stack, int(rows), seen - int(kept)


def none_left(seen: int, holes) -> str:
    """Why no row of ``seen`` rows is left, with the ``holes`` (column -> missing values)."""
    worst = max(holes, key=holes.get) if holes else None
    more = f"; column {worst!r} misses {holes[worst]} values" if worst is not None else ""
    return f"none of {seen} rows is complete and of positive weight{more}"


def _check_column(name, found):
    if found.kind not in ("number", "text"):
        raise ValueError(
            f"column {name!r} is of type {found.kind}; make it a number or a category in the "
            "query, as by CAST, or leave it out"
        )
    if found.infinite:
        raise ValueError(
            f"column {name!r} has {found.infinite} infinite values; replace them first"
        )


def _checked_weights(table, name, found, seen):
    """The column of weights, non-negative and finite."""
    if found.kind != "number":
        raise ValueError(
            f"weights: column {name!r} is of type {found.kind}; make it a number in the query, as "
            "by CAST"
        )
    w = table.number(name)
    [good] = table.sums(table.table, [table.count(w >= 0)])
    if bad := seen - good + found.infinite:
        raise ValueError(
            f"weights: {bad} of {seen} in column {name!r} are negative, missing or infinite"
        )
    return w


def _moments(table, used, p, texts, coded, w):
    """Stack of the numbers ``used.c.d0`` ... and of the levels of ``used.c.k0`` ..., and these."""
    numbers = [used.c[f"d{j}"] for j in range(p)]
    ones = [*numbers, None]  # the last is 1
    pairs = [(i, j) for i in range(p + 1) for j in range(i + 1)]
    of_pairs = table.sums(
        used,
        [table.total(*w, *(ones[one] for one in pair if ones[one] is not None)) for pair in pairs],
    )
    square = np.zeros((p + 1, p + 1))
    for (i, j), found in zip(pairs, of_pairs, strict=True):
        square[i, j] = square[j, i] = np.nan if found is None else found
    size = np.sqrt(square.diagonal() * square[p, p])
    keys = []
    levels = []
    sums = []
    for k, (name, text) in enumerate(zip(coded, texts, strict=True)):
        key = table.key(used.c[f"k{k}"]) if text else used.c[f"k{k}"]
        asked = [key, *(table.total(*w, number) for number in numbers), table.total(*w)]
        rows = table.rows(sa.select(*asked).group_by(key).limit(MAX_LEVELS + 1))
        if len(rows) > MAX_LEVELS:
            raise ValueError(
                f"column {name!r} has over {MAX_LEVELS} levels; leave an identifier out, group "
                "other levels"
            )
        keys.append(key)
        levels.append([_level(row[0]) for row in rows])
        sums.append(np.array([row[1:] for row in rows], dtype=float).reshape(-1, p + 1))
        _check_same(sums[-1].sum(axis=0), square[p], size, name)
    ends = np.cumsum([0, *map(len, levels)])
    counts = np.zeros((ends[-1], ends[-1]))
    places = [{level: at for at, level in enumerate(own, ends[k])} for k, own in enumerate(levels)]
    for k, own in enumerate(sums):
        block = np.arange(ends[k], ends[k + 1])
        counts[block, block] = own[:, p]
    for k, m in combinations(range(len(coded)), 2):
        rows = table.rows(sa.select(keys[k], keys[m], table.total(*w)).group_by(keys[k], keys[m]))
        for first, second, count in rows:
            i = places[k].get(_level(first))
            j = places[m].get(_level(second))
            if i is None or j is None:
                raise _changed(coded[k])
            counts[i, j] = counts[j, i] = count
        both = counts[ends[k] : ends[k + 1], ends[m] : ends[m + 1]]
        _check_same(both.sum(axis=1), sums[k][:, p], square[p, p], coded[k])
    stack = of_sums(square, np.vstack([np.zeros((0, p + 1)), *sums]), counts)
    return tuple(np.array([moment]) for moment in stack), levels


def _level(key):
    """A level as Python's type."""
    if isinstance(key, bytes):
        return key.decode()
    return float(key) if isinstance(key, Decimal) else key


def _check_same(sums, others, size, name):
    """Raise ValueError where the rows of a pass were not those of the one before."""
    if (np.abs(sums - others) > _ROUNDING * np.maximum(size, 1e-300)).any():
        raise _changed(name)


def _changed(name):
    return ValueError(
        f"query: its rows changed while the database counted the levels of column {name!r}; it "
        "must give the same rows each time, so store a random or limited choice of rows in a table "
        "first"
    )
