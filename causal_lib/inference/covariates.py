"""The columns that are adjusted for: one check and one encoder, fitted once and remembered."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame
from causal_lib.columns import (
    as_dates,
    as_days,
    as_labels,
    as_numbers,
    column_kind,
    far_from_others,
    far_limits,
    missing_codes,
)
from causal_lib.reasons import Reason

FEW = 30  # levels that get an indicator each; more are one column of labels
_RAREST = 2  # rows of a level of such a column; rarer levels are one level together
_ALIKE = 0.5  # levels over rows from which on a column of labels identifies rows
POOLED = "(rare)"
_MOST_CELLS = 500_000_000  # of indicators, 4 GB


class IdentifierError(ValueError):
    """A column has so many levels that it identifies the rows."""


@dataclass(frozen=True)
class Column:
    """How one column is encoded.

    Attributes
    ----------
    name, kind : of the column: 'number', 'date', 'indicators' or 'labels'.
    levels : of a category, in the order of their labels; the first has no indicator.
    origin : of a date: the day that counts as 0, the earliest of the training rows.
    pooled : whether rare levels are the last of ``levels``.
    codes : of a number or date: values that stand for a missing one, each a level of its own.
    limits : of a number: values beyond them are far from all others, a level of their own.
    middle : the median of the other values, which takes the place of both.
    """

    name: str
    kind: str
    levels: tuple = ()
    origin: pd.Timestamp | None = None
    pooled: bool = False
    codes: tuple[float, ...] = ()
    limits: tuple[float, float] = (-np.inf, np.inf)
    middle: float = 0.0

    def table(self, values: pd.Series, where: str) -> dict:
        """Name -> values of the columns that ``values`` become."""
        kind = column_kind(values, name=where)
        wanted = {"indicators": "category", "labels": "category"}.get(self.kind, self.kind)
        if kind != wanted:
            raise ValueError(
                f"{where}: column {self.name!r} holds a {kind}, and a {wanted} in the rows that "
                "the model was fitted on"
            )
        if self.kind == "number":
            return self._without_far(as_numbers(values, name=where))
        if self.kind == "date":
            return self._without_far(as_days(values, self.origin))
        codes = self._codes(values, where)
        if self.kind == "labels":
            labels = [str(level) for level in self.levels]
            return {str(self.name): pd.Categorical.from_codes(codes, labels)}
        return {
            f"{self.name}_{level}": (codes == code).astype(float)
            for code, level in enumerate(self.levels)
            if code
        }

    def _without_far(self, numbers):
        low, high = self.limits
        coded = np.isin(numbers, self.codes)
        far = ((numbers < low) | (numbers > high)) & ~coded
        parts = {str(self.name): np.where(coded | far, self.middle, numbers)}
        for code in self.codes:
            parts[f"{self.name}_{code:.16g}"] = (numbers == code).astype(float)
        if np.isfinite(self.limits).any():
            parts[f"{self.name}_far"] = far.astype(float)
        return parts

    def _codes(self, values, where):
        codes = pd.Index(self.levels, dtype=object).get_indexer(as_labels(values))
        unseen = codes < 0
        if unseen.any() and self.pooled:
            codes[unseen] = len(self.levels) - 1
        elif unseen.any():
            strange = as_labels(values)[unseen].unique()
            raise ValueError(
                f"{where}: column {self.name!r} has {int(unseen.sum())} rows of a level that the "
                f"model was not fitted on ({', '.join(map(repr, strange[:3]))}); leave them out, "
                "or fit with rows of that level"
            )
        return codes


@dataclass(frozen=True)
class Covariates:
    """An encoder of columns that was fitted on some rows and is applied to others.

    Attributes
    ----------
    columns : how each column is encoded.
    notes : what a reader of the numbers should know: days since when, levels that were put
        together, values far from all others.
    """

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: Sequence[str], *, name: str = "frame"
    ) -> "Covariates":
        """The encoder of ``columns`` of ``frame``.

        Numbers stay numbers, whatever their dtype. Dates become days since the earliest. Values of
        either that look like codes for a missing one, and numbers far from all others (see
        `columns.missing_codes` and `far_limits`), become levels with an indicator each, and the
        median of the others takes their place; a warning names them. A category of at most 30
        levels becomes an indicator for each level but the first; one of more stays a column of
        labels, its levels of one row put together: a row that is alone in its level can be compared
        with none.

        Raises
        ------
        ValueError
            for missing or infinite values, text that is numeric, mixed types, and labels that
            identify the rows: more levels than half of the rows.
        """
        check_frame(frame, columns, complete=True, name=name)
        found = []
        notes = []
        for column in dict.fromkeys(columns):
            values = frame[column]
            kind = column_kind(values, name=name)
            if kind == "number":
                encoded, note = _number(column, as_numbers(values, name=name))
            elif kind == "date":
                encoded, note = _date(column, values)
            else:
                encoded, note = _category(column, as_labels(values), name)
            found.append(encoded)
            notes += note
            for reason in note:
                if isinstance(reason, Reason):
                    warnings.warn(f"{name}: {reason}", stacklevel=2)
        return cls(tuple(found), tuple(notes))

    def with_few_levels(self, frame: pd.DataFrame) -> "Covariates":
        """The encoder with an indicator for each of the commonest levels in ``frame``, at most 29,
        of a column of labels, its other levels put together: for models in which thousands of
        indicators would only be noise.
        """
        found = []
        for column in self.columns:
            if column.kind != "labels":
                found.append(column)
                continue
            counts = as_labels(frame[column.name]).value_counts().drop(POOLED, errors="ignore")
            common = sorted(counts.index, key=lambda level: (-counts[level], str(level)))
            levels = (*common[: FEW - 1], POOLED)
            found.append(replace(column, kind="indicators", levels=levels, pooled=True))
        return replace(self, columns=tuple(found))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, before encoding."""
        return tuple(column.name for column in self.columns)

    def owners(self, frame: pd.DataFrame) -> dict[str, str]:
        """Column of `table`, expanded by `expanded` -> the column of ``frame`` that it is of."""
        found = {}
        table = self.table(frame)
        titles = iter(table.columns)
        for column in self.columns:
            for _ in column.table(frame[column.name], "frame"):
                title = next(titles)
                found |= dict.fromkeys(wide_names(table[[title]]), column.name)
        return found

    def unknown(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) rows of ``frame`` in which a column holds a code for missing or a far value."""
        found = np.zeros(len(frame), dtype=bool)
        for column in self.columns:
            if column.codes or np.isfinite(column.limits).any():
                _, *levels = column.table(frame[column.name], "frame").values()
                found |= np.any(levels, axis=0)
        return found

    def table(self, frame: pd.DataFrame, *, name: str = "frame") -> pd.DataFrame:
        """The columns of ``frame`` encoded: (n, k) floats, and labels of dtype category.

        The index is that of ``frame``. Names are text, and each stands once. Raises ValueError as
        `fit` does, and for a level that the encoder was not fitted on, unless rare levels are put
        together: it counts as one of them.
        """
        check_frame(frame, self.names, complete=True, name=name)
        parts = {}
        for column in self.columns:
            for title, values in column.table(frame[column.name], name).items():
                title = title or "(no name)"
                while title in parts:  # a number "city_b" beside level b of "city"
                    title += "'"
                parts[title] = values
        return pd.DataFrame(parts, index=frame.index)


def _number(column, numbers):
    """The `Column` of a number and its notes."""
    codes = tuple(missing_codes(numbers))
    left = numbers[~np.isin(numbers, codes)]
    limits = far_limits(left)
    if not codes and limits == (-np.inf, np.inf):
        return Column(column, "number"), []
    low, high = limits
    middle = float(np.median(left[(left >= low) & (left <= high)]))
    notes = [
        Reason("far_value", column=column, value=value, rows=rows)
        for value, rows in far_from_others(numbers)
    ]
    return Column(column, "number", codes=codes, limits=limits, middle=middle), notes


def _date(column, values):
    """The `Column` of a date and its notes."""
    dates = as_dates(values)
    last = dates.max() + pd.Timedelta(days=1)  # no day is 0 then, which is no code
    codes = missing_codes(as_days(values, last))
    coded = dates.isin([last + pd.Timedelta(days=day) for day in codes])
    origin = dates[~coded].min().normalize()
    found = Column(column, "date", origin=origin)
    notes = []
    if codes:
        days = as_days(values, origin)
        middle = float(np.median(days[~coded]))
        found = replace(found, codes=tuple(np.unique(days[coded])), middle=middle)
        notes += [
            Reason("far_value", column=column, value=f"{day:%Y-%m-%d}", rows=int(rows))
            for day, rows in dates[coded].value_counts().sort_index().items()
        ]
    return found, [*notes, f"{column}: days since {origin:%Y-%m-%d}"]


def _category(column, labels, name):
    """The `Column` of a category and its notes."""
    counts = labels.value_counts()
    levels = sorted(counts.index, key=lambda level: (str(type(level)), level))
    if len(levels) <= FEW:
        return Column(column, "indicators", tuple(levels)), []
    if len(levels) > _ALIKE * len(labels):
        raise IdentifierError(
            f"{name}: column {column!r} has {len(levels)} levels in {len(labels)} rows: it "
            "identifies rows, and rows of different levels cannot be compared; leave it out, or "
            "give cluster= if rows of a level belong together"
        )
    kept = tuple(level for level in levels if counts[level] >= _RAREST)
    rare = len(levels) - len(kept)
    if not rare:
        return Column(column, "labels", kept), [f"{column}: {len(kept)} levels, as labels"]
    note = f"{column}: {len(kept)} levels, as labels, and {rare} levels of one row, put together"
    return Column(column, "labels", (*kept, POOLED), pooled=True), [note]


def label_columns(x: pd.DataFrame) -> list[str]:
    """Names of the columns of labels of a `Covariates.table`."""
    return [name for name in x.columns if isinstance(x[name].dtype, pd.CategoricalDtype)]


def wide(x: pd.DataFrame) -> np.ndarray:
    """A `Covariates.table` as floats (n, k), each label but the first an indicator.

    Raises ValueError where that would not fit in memory.
    """
    labels = label_columns(x)
    if not labels:
        return x.to_numpy(dtype=float)
    cells = len(x) * sum(len(x[name].cat.categories) for name in labels)
    if cells > _MOST_CELLS:
        raise ValueError(
            f"{', '.join(map(repr, labels))}: an indicator for each level would take {cells:,} "
            "numbers; put levels together, or use estimator 'aipw'"
        )
    parts = [x.drop(columns=labels).to_numpy(dtype=float)]
    for name in labels:
        codes = x[name].cat.codes.to_numpy()
        parts.append((codes[:, None] == np.arange(1, len(x[name].cat.categories))).astype(float))
    return np.column_stack(parts)


def wide_names(x: pd.DataFrame) -> list[str]:
    """Names of the columns of `wide`."""
    labels = label_columns(x)
    names = [name for name in x.columns if name not in labels]
    return names + [f"{name}_{level}" for name in labels for level in x[name].cat.categories[1:]]


def with_common_levels(x: pd.DataFrame) -> pd.DataFrame:
    """A `Covariates.table` with an indicator for each of the 30 commonest levels of a column of
    labels: what is said in words needs no rare ones.
    """
    parts = []
    for name in x.columns:
        if name not in label_columns(x):
            parts.append(x[name])
            continue
        counts = x[name].value_counts(sort=False)
        for level in counts.sort_values(ascending=False, kind="stable").index[:FEW]:
            parts.append((x[name] == level).astype(float).rename(f"{name}_{level}"))
    return pd.concat(parts, axis=1)


def expanded(x: pd.DataFrame) -> pd.DataFrame:
    """`wide` with its names and the index of ``x``."""
    return pd.DataFrame(wide(x), index=x.index, columns=wide_names(x)) if label_columns(x) else x


def design(frame: pd.DataFrame, columns: Sequence[str], *, name: str = "frame") -> pd.DataFrame:
    """``columns`` of ``frame`` as floats, each category as indicators less one: (n, k).

    A column that identifies the rows is left out, with a warning.
    """
    used = []
    for column in columns:
        try:
            Covariates.fit(frame, [column], name=name)
        except IdentifierError as error:
            warnings.warn(str(error), stacklevel=2)
        else:
            used.append(column)
    x = Covariates.fit(frame, used, name=name).table(frame, name=name)
    return expanded(x)
