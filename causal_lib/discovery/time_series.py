"""`lagged`: a table over time turned into one row per moment with its past beside it, so that any
engine discovers across time.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame, check_ids
from causal_lib.knowledge import Knowledge


def lagged(
    frame: pd.DataFrame,
    lags: int | Iterable[int],
    *,
    group: str | None = None,
    time: str | None = None,
) -> tuple[pd.DataFrame, Knowledge]:
    """``frame`` with each variable's past beside it, and the tiers that time implies: the past
    causes the present.

    Assumes, for discovery, that nothing older than the largest lag has an effect of its own. A lag
    of k means exactly k steps of time within the group: a moment whose past is not all there (the
    first ones, those after a gap) is dropped and counted. Rows of the result overlap in time, so
    they are not independent: p-values and penalties are optimistic.

    Parameters
    ----------
    frame : one row per moment, or per (group, moment), in any order if ``time`` is given; never
        modified.
    lags : the largest lag, from 1, or the lags themselves, e.g. ``[1, 7]``.
    group : column that says whose row it is (a user); None: one series.
    time : column of whole numbers (a step is 1) or dates (a step is the shortest time between two
        of a group's rows, of which all others must be multiples). None: rows stand in the order of
        time without gaps.

    Returns
    ------- (rows, knowledge): columns ``"clicks[t-7]"``, ``"clicks[t-1]"``, ``"clicks[t]"``, dtypes
    kept, index that of the row at t, sorted by group and time; ``rows.attrs["lagged"]`` holds lags,
    rows read and rows dropped. The tiers are the lags, oldest first.

    Raises
    ------
    ValueError
        for an unknown column, lags that are not positive whole numbers, times that are missing,
        repeat within a group or are no multiples of a step, no variable, or groups without one
        complete row.

    >>> days = pd.DataFrame({"day": [1, 2, 3], "shown": [5, 6, 7], "clicks": [0, 1, 1]})
    >>> rows, knowledge = lagged(days, 1, time="day")
    >>> rows.to_dict("list")
    {'shown[t-1]': [5, 6], 'clicks[t-1]': [0, 1], 'shown[t]': [6, 7], 'clicks[t]': [1, 1]}
    >>> knowledge.tiers
    (('shown[t-1]', 'clicks[t-1]'), ('shown[t]', 'clicks[t]'))
    """
    lags = list(range(1, lags + 1) if isinstance(lags, int | np.integer) else lags)
    if (
        not lags
        or len(set(lags)) < len(lags)
        or not all(isinstance(k, int | np.integer) and k > 0 for k in lags)
    ):
        raise ValueError(f"lags={lags}: give the largest lag, or different whole numbers from 1")
    keys = [c for c in (group, time) if c is not None]
    check_frame(frame, keys, complete=True)
    check_frame(frame, key=keys if time is not None else ())
    if group is not None:
        check_ids(frame[group])
    variables = [c for c in frame.columns if c not in keys]
    if not variables:
        raise ValueError(f"frame: no variable beside {', '.join(map(repr, keys))}; nothing to lag")
    whose = (
        frame.groupby(group, sort=True).ngroup().to_numpy()
        if group is not None
        else np.zeros(len(frame), int)
    )
    steps = (
        pd.Series(whose).groupby(whose).cumcount().to_numpy()
        if time is None
        else _steps(frame[time], whose)
    )
    # One number per (group, step), the groups so far apart that a lag never reaches into another
    # one.
    lags = sorted(map(int, lags), reverse=True)
    place = whose * (steps.max() + lags[0] + 1) + steps
    order = np.argsort(place, kind="stable")
    past = pd.Index(place[order]).get_indexer(np.concatenate([place[order] - k for k in lags]))
    past = np.vstack([past.reshape(len(lags), -1), np.arange(len(order))])
    complete = (past >= 0).all(axis=0)
    short = np.setdiff1d(whose, whose[order][complete])
    if len(short):
        first = (
            ""
            if group is None
            else (f" of {group!r}, first {frame[group].to_numpy()[whose == short[0]][0]!r}")
        )
        raise ValueError(
            f"lags={lags}: {len(short)} of {len(np.unique(whose))} groups{first} have no row with "
            "all its past; "
            "drop such groups first or use fewer lags"
        )
    tiers = [[f"{c}[t-{k}]" for c in variables] for k in lags] + [[f"{c}[t]" for c in variables]]
    parts = [frame[variables].take(order[rows[complete]]) for rows in past]
    index = parts[-1].index
    rows = pd.concat(
        [p.set_axis(t, axis=1).set_axis(index) for p, t in zip(parts, tiers, strict=True)], axis=1
    )
    rows.attrs["lagged"] = {
        "lags": lags[::-1],
        "rows_read": len(frame),
        "rows_dropped": int((~complete).sum()),
    }
    return rows, Knowledge(tiers=tiers)


def _steps(times, whose):
    """Number of steps (int64) since the group's first moment."""
    dates = pd.api.types.is_datetime64_any_dtype(times.dtype)
    numbers = pd.api.types.is_numeric_dtype(times.dtype)
    if not (dates or numbers) or pd.api.types.is_bool_dtype(times.dtype):
        raise ValueError(
            f"time: column {times.name!r} is {times.dtype}; give whole numbers or "
            "dates (pd.to_datetime)"
        )
    moments = times.astype("int64" if dates else float).to_numpy()
    length = 1
    moments = moments - pd.Series(moments).groupby(whose).transform("min").to_numpy()
    if dates:
        gaps = np.diff(moments[np.lexsort((moments, whose))])[np.diff(np.sort(whose)) == 0]
        length = gaps.min() if len(gaps) else 1
    odd = int((moments % length != 0).sum())
    if odd:
        raise ValueError(
            f"time: {odd} values of {times.name!r} are no whole number of steps after the group's "
            "first; "
            "number the periods (0, 1, 2, ...) instead"
        )
    return (moments // length).astype("int64")
