"""`Environments`: rows that come from several experiments, campaigns or weeks, each of which may
have changed some variables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame
from causal_lib.discovery.statistics import Statistics
from causal_lib.discovery.table import Table

MIN_ROWS = 10
"""Rows that a level needs, so that a mechanism of its own can be fitted there."""
MAX_LEVELS = 100


@dataclass(frozen=True, eq=False)
class Environments:
    """The rows of each of K levels of a column, and what is known of their targets.

    Attributes
    ----------
    table : the d variables of all rows, without the column.
    levels : the K levels, sorted by their text, that of the first whose targets are given as none
        before the others.
    column : (n,) the level of each row.
    free : (d, K) bool, whether a variable may be a target of a level.
    """

    table: Table
    levels: tuple
    column: np.ndarray
    free: np.ndarray

    def statistics(self) -> list[Statistics]:
        """The statistics of each level's rows, with the same columns."""
        frame = self.table.frame
        known = self.table.statistics.levels
        parts = []
        for level in self.levels:
            part = Statistics.from_frame(frame[self.column == level])
            parts.append(part.with_levels(known))
        return parts

    def scaled(self) -> np.ndarray:
        """(d,) bool: whether a variable is a number of more than two values."""
        pairs = zip(self.table.names, self.table.numeric, strict=True)
        return np.array([number and self.table.frame[n].nunique() > 2 for n, number in pairs])

    def rows(self) -> dict[str, int]:
        """Level -> its number of rows."""
        return {str(level): int((self.column == level).sum()) for level in self.levels}

    def no_targets(self) -> dict[str, list[str]]:
        """Level -> no variable."""
        return {str(level): [] for level in self.levels}


def read_environments(
    data: pd.DataFrame, environments: str, targets: Mapping[object, Sequence[str]] | None = None
) -> Environments:
    """The rows of ``data`` by their level of the column ``environments``.

    Parameters
    ----------
    targets : level -> the variables whose mechanism it may have changed; () for an observational
        level. A level that is left out may have changed any.

    Raises
    ------
    TypeError
        for targets that are no mapping to lists of names.
    ValueError
        for a column that is not there or has missing values, more than 100 levels, a level of fewer
        than 10 rows, targets of a level without rows or of a variable that is not there, and a
        variable that is constant within each level.
    """
    check_frame(data)
    if environments not in data.columns:
        raise ValueError(
            f"environments={environments!r}: there is no such column; columns: "
            f"{', '.join(map(str, data.columns))}"
        )
    column = data[environments]
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"environments: column {environments!r} has {missing} missing value"
            f"{'s'[: missing > 1]}; fill in where these rows come from, or drop them"
        )
    sizes = column.value_counts()
    sizes = sizes[sizes > 0]  # of a category, levels that no row has are counted too
    if len(sizes) > MAX_LEVELS:
        raise ValueError(
            f"environments: column {environments!r} has {len(sizes):,} levels, at most "
            f"{MAX_LEVELS} are taken; merge levels (days to weeks), or name a column of few"
        )
    targets = _check_targets(targets, environments, list(sizes.index), data.columns)
    small = [level for level in sorted(sizes.index, key=str) if sizes[level] < MIN_ROWS]
    if small:
        several = f" (and {len(small) - 1} other levels)" if len(small) > 1 else ""
        raise ValueError(
            f"environments: level {small[0]!r} of column {environments!r} has {sizes[small[0]]} "
            f"row{'s'[: int(sizes[small[0]]) > 1]}{several}, at least {MIN_ROWS} are needed; "
            "merge it with another level, or drop its rows"
        )
    # of two levels that differ, the observational one is the one that did not change
    levels = tuple(sorted(sizes.index, key=lambda one: (targets.get(one) != (), str(one))))
    table = Table(data.drop(columns=environments))
    if not table.names:
        raise ValueError(f"environments: {environments!r} is the only column; there is no variable")
    if len(levels) > 1:
        _check_copies(table.frame, column, environments)
    names = table.names
    free = np.ones((len(names), len(levels)), dtype=bool)
    for k, level in enumerate(levels):
        if level in targets:
            free[:, k] = [name in targets[level] for name in names]
    return Environments(table, levels, column.to_numpy(), free)


def _check_targets(targets, environments, levels, columns):
    """``targets`` as level -> tuple of names."""
    if targets is None:
        return {}
    example = "write {'level': ['variable', ...]}, [] for an observational level"
    if not isinstance(targets, Mapping):
        raise TypeError(f"targets: {targets!r} is no mapping; {example}")
    known = ", ".join(map(str, columns.drop(environments)))
    for level, names in targets.items():
        if level not in levels:
            there = ", ".join(map(repr, sorted(levels, key=str)))
            raise ValueError(
                f"targets: column {environments!r} has no row of level {level!r}; its levels: "
                f"{there}"
            )
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise TypeError(f"targets of level {level!r}: {names!r} is no list; {example}")
        for name in names:
            if name == environments:
                raise ValueError(
                    f"targets of level {level!r}: {name!r} is the column of the environments, "
                    f"which is no variable; variables: {known}"
                )
            if name not in columns:
                raise ValueError(
                    f"targets of level {level!r}: there is no variable {name!r}; variables: {known}"
                )
    return {level: tuple(names) for level, names in targets.items()}


def _check_copies(frame, column, environments):
    """Raise ValueError for a variable that the level determines."""
    for name in frame.columns:
        within = frame.groupby(column, observed=True)[name].nunique()
        if (within == 1).all() and len(frame[name].unique()) > 1:
            raise ValueError(
                f"column {name!r} has one value in each of the {len(within)} levels of "
                f"{environments!r}: its changes cannot be told from those of the environment; "
                "leave it out"
            )
