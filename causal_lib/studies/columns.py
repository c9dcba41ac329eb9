"""How each column of a log is read: as a number, a category or a date, with what is missing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib import columns as meaning
from causal_lib.reasons import Reason
from causal_lib.studies.errors import LogError

MISSING = "(missing)"
OTHER = "(other)"
_LEVELS = 30  # of a category; more are put together
_RARE_ROWS = 20  # a level of fewer rows is put together with others
_MOST = 0.5  # share of a text's values that are numbers, or dates, from which the rest is an error
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_DATE = re.compile(r"^\d{4}-\d\d-\d\d(?!\d)|^\d{8}T")
# dates as spreadsheets write them: the year first, or last; in Chinese
_SPELT = re.compile(
    r"^(?:(?P<year>\d{4})(?:[/.-]|年)(?P<month>\d{1,2})(?:[/.-]|月)(?P<day>\d{1,2})日?"
    r"|(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)(?P<last>\d{4}|\d\d))"
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<rest>\d\d(?:\.\d+)?))?"
    r"\s*(?P<half>[AaPp][Mm])?(?P<zone>Z|[+-]\d\d:?\d\d)?)?$"
)
_DECIMAL_COMMA = re.compile(r"^[+-]?(?:\d+|\d{1,3}(?:[. ]\d{3})+)(?:,\d+)?$")
_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(?:,\d{3})*(?:\.\d+)?$")
EPOCHS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
"""Unit of a number since 1970 -> how many of it a second has."""
DAYS = {"days": "1970-01-01", "excel_days": "1899-12-30"}
"""Unit of a number of days -> the day that is 0."""
TIME_UNITS = (*EPOCHS, *DAYS, "calendar", "order")
_SOON = (6.3e8, 4.2e9)  # seconds since 1970 that are taken for times: 1990 to 2103
_NEAR = ("2000-01-01", "2050-01-01")  # numbers of days in between may be dates
_CALENDAR = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_ROUNDED = re.compile(r"\d[.,]\d+E\+\d+")  # a long number as a spreadsheet shows it
_AMOUNT = re.compile(r"^(?=.*[^\d\s.,+-])[^\w.,]?\s?[+-]?\d[\d.,]*\s?(?:%|[^\w.,]|[A-Z]{3})?$")


@dataclass(frozen=True)
class Reading:
    """How a column of the log becomes a column of the table; what a rule as code has to repeat.

    Attributes
    ----------
    name : of the column.
    kind : 'number', 'category', 'age' (a date as days before the row's time), 'date' (days since
        ``origin``) or 'moment' (of the row's own time, its day or hour as a category).
    fill : what stands for a missing number.
    levels : of a category: those of enough rows for the graph and for rules, where the others are
        `OTHER`. The effect is adjusted for each level.
    missing : number of missing values.
    """

    name: str
    kind: str
    fill: float | None = None
    levels: tuple[str, ...] = ()
    origin: str = ""
    missing: int = 0


def number(values: pd.Series, role: str) -> np.ndarray:
    """The column as floats (n,), missing as nan; LogError where it is no number."""
    kind, values = _kind(values)
    if kind != "number":
        shown = ", ".join(repr(one) for one in values.dropna().unique()[:3])
        raise LogError(
            f"log: {role} {values.name!r} holds {'text' if kind == 'category' else 'dates'} "
            f"({shown}); give numbers, or 0 and 1"
        )
    return _numbers(values)


def number_or_nothing(values: pd.Series) -> np.ndarray:
    """The column as floats (n,); nan in every row where it holds anything but numbers."""
    try:
        return number(values, "column")
    except LogError:
        return np.full(len(values), np.nan)


def times(values: pd.Series, unit: str = "") -> tuple[pd.Series, list[Reason]]:
    """A column of times as time stamps in UTC, or as floats that only order the rows; notes.

    Numbers are times where all of them lie between 1990 and 2103 in one ``unit`` of `EPOCHS`, or
    are dates written as 20240301. Other numbers are an order. What may be either, as numbers of
    days, or time stamps beside other numbers, is a LogError, unless ``unit`` (one of `TIME_UNITS`)
    says which.
    """
    name = values.name
    if missing := int(values.isna().sum()):
        raise LogError(f"log: time {name!r} is missing in {missing} rows; leave these rows out")
    if _is_text(values):
        read = pd.to_numeric(values, errors="coerce")
        if read.notna().all():
            return _times_of_numbers(_numbers(read.astype(float)), name, unit)
        return _dates_of_text(values), []
    kind, values = _kind(values)
    if kind == "number":
        return _times_of_numbers(_numbers(values), name, unit)
    if kind == "date":
        return _dates(values), []
    raise LogError(f"log: time {name!r} holds no times; give dates (ISO 8601) or numbers")


def _times_of_numbers(numbers, name, unit):
    unit = unit or _guessed_unit(numbers, name)
    if unit == "order":
        return pd.Series(numbers, name=name), [Reason("order", column=name)]
    if unit == "calendar":
        found = _calendar(numbers)
        if lost := int(found.isna().sum()):
            raise LogError(
                f"log: time {name!r} has {lost} numbers that are no dates as 20240301, as "
                f"{numbers[found.isna()][0]:.15g}; mend them, or write time_unit = "
                '"order" where the numbers only order the rows'
            )
    else:
        found = _since(numbers, unit)
    first = found.min()
    last = found.max()
    if pd.isna(first) or pd.isna(last) or not 1900 <= first.year <= last.year < 2200:
        raise LogError(
            f"log: time {name!r} holds {numbers.min():.15g} to {numbers.max():.15g}, which are no "
            f"{unit} between 1900 and 2200; name another time_unit ({', '.join(TIME_UNITS)})"
        )
    told = {"column": name, "first": f"{first:%Y-%m-%d %H:%M}", "last": f"{last:%Y-%m-%d %H:%M}"}
    if unit == "calendar":
        note = Reason("calendar", **told)
    elif unit in EPOCHS:
        note = Reason("epoch", unit=Reason(unit), **told)
    else:
        note = Reason("day_numbers", unit=Reason(unit), **told)
    return pd.Series(found, name=name), [note]


def _guessed_unit(numbers, name):
    """The unit that all ``numbers`` have; LogError where there are several, or none for some."""
    where = f"log: time {name!r} holds {numbers.min():.15g} to {numbers.max():.15g}"
    low, high = _SOON
    for unit, count in EPOCHS.items():
        inside = (low * count <= numbers) & (numbers <= high * count)
        if not inside.any():
            continue
        if not inside.all():
            raise LogError(
                f"{where}: {int(inside.sum())} look like {unit} since 1970 and "
                f"{int((~inside).sum())} do not, first {numbers[~inside][0]:.15g}; give all the "
                'same unit, or write time_unit = "order" where they only order the rows'
            )
        if not _calendar(numbers).isna().any():
            raise LogError(
                f"{where}, which may be {unit} since 1970 or dates as 2024030123; write "
                f'time_unit = "{unit}" or "calendar"'
            )
        return unit
    if (~_calendar(numbers).isna()).any():
        return "calendar"
    for unit, origin in DAYS.items():
        ends = [(pd.Timestamp(one) - pd.Timestamp(origin)).days for one in _NEAR]
        if ends[0] <= numbers.min() and numbers.max() <= ends[1]:
            first, last = (_since(numbers, unit)[i] for i in (numbers.argmin(), numbers.argmax()))
            raise LogError(
                f"{where}, which may be days since {origin} ({first:%Y-%m-%d} to {last:%Y-%m-%d}) "
                f'or a plain order; write time_unit = "{unit}" or "order"'
            )
    return "order"


def _since(numbers, unit):
    """(n,) time stamps of numbers in ``unit``; NaT beyond what a time stamp can hold."""
    origin = pd.Timestamp(DAYS.get(unit, "1970-01-01"))
    size = 86_400e6 if unit in DAYS else 1e6 / EPOCHS[unit]
    microseconds = np.round(numbers * size)
    held = np.abs(microseconds) < 1e17  # three thousand years
    found = np.where(held, microseconds, 0).astype("int64").astype("timedelta64[us]")
    return (pd.Series(found) + origin).where(held)


def _calendar(numbers):
    """(n,) dates of whole numbers as 20240301 or 202403012359; NaT for others."""
    text = pd.Series(numbers).map("{:.0f}".format)
    form = _CALENDAR.get(len(text[0]))
    none = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
    whole = numbers == np.round(numbers)
    if form is None or not whole.all():
        return none
    if not text.str.fullmatch(rf"(?:19|20)\d{{{len(text[0]) - 2}}}").all():
        return none
    return pd.to_datetime(text, format=form, errors="coerce").astype("datetime64[us]")


def ids(values: pd.Series, role: str) -> pd.Series:
    """A column of ids as codes (n,); LogError for missing ones, mixed types and stray blanks."""
    from causal_lib.checks import check_ids

    name = values.name
    if missing := int(values.isna().sum()):
        raise LogError(f"log: {role} {name!r} is missing in {missing} rows; leave these rows out")
    try:
        kind = check_ids(values, name="log")
    except ValueError as error:
        raise LogError(str(error)) from None
    if kind == "text":
        text = pd.Series(values.unique()).astype(str)
        strays = text[text != text.str.strip()]
        if len(strays):
            raise LogError(
                f"log: {role} {name!r} has {len(strays)} ids with blanks at an end, as "
                f"{strays.iloc[0]!r}, so that one {role} may count as two; strip them first"
            )
        if (text == "").any():
            raise LogError(f"log: {role} {name!r} has empty ids; leave these rows out")
        unseen = text[~text.map(str.isprintable)]
        if len(unseen):
            raise LogError(
                f"log: {role} {name!r} has {len(unseen)} ids with signs that cannot be seen, as "
                f"{unseen.iloc[0]!r}, so that one {role} may count as two; take them out first"
            )
        rounded = text[text.str.fullmatch(_ROUNDED)]
        if len(rounded):
            raise LogError(
                f"log: {role} {name!r} has {len(rounded)} ids as {rounded.iloc[0]!r}: a "
                f"spreadsheet has rounded them, so that several {role} count as one; export them "
                "as text"
            )
    return pd.Series(pd.factorize(values)[0], index=values.index, name=name)


def covariate(
    values: pd.Series, time: pd.Series | None, *, of_ids: bool = False
) -> tuple[pd.Series, Reading, list[Reason]]:
    """The column without missing values, how it was read, and notes on what was done to it.

    Missing numbers are filled by the median and missing labels are a level of their own. A date
    becomes days before the row's ``time``, where there is one. Numbers ``of_ids`` are labels.

    Raises LogError for what cannot be read, and for dates after the row's time.
    """
    name = values.name
    kind, values = ("category", values) if of_ids else _kind(values)
    lost = int(values.isna().sum())
    notes = []
    if kind == "category":
        found, levels, note = _labels(values)
        return found, Reading(name, "category", levels=levels, missing=lost), note
    origin = ""
    if kind == "date":
        dates = _dates(values)
        if time is not None and pd.api.types.is_datetime64_any_dtype(time.dtype):
            numbers = ((time - dates) / pd.Timedelta(days=1)).to_numpy(dtype=float)
            if late := int((numbers < -1).sum()):
                raise LogError(
                    f"log: column {name!r} is later than the row's time in {late} rows: it was not "
                    "known then; move it to after"
                )
            kind = "age"
            notes.append(Reason("age", column=name))
        else:
            start = dates.min().normalize()
            origin = f"{start:%Y-%m-%d}"
            numbers = ((dates - start) / pd.Timedelta(days=1)).to_numpy(dtype=float)
            notes.append(Reason("date", column=name, origin=origin))
    else:
        numbers = _numbers(values)
    fill = float(np.nanmedian(numbers)) if lost < len(numbers) else 0.0
    if lost:
        notes.append(Reason("filled", column=name, rows=lost, fill=fill))
    filled = pd.Series(np.where(np.isnan(numbers), fill, numbers), values.index, name=name)
    return filled, Reading(name, kind, fill, origin=origin, missing=lost), notes


def moments(time: pd.Series) -> list[tuple[pd.Series, Reading]]:
    """The day and the hour of the rows' ``time``, each a category, and how they were read.

    What trends and what goes by the day of the week is told by the day.
    """
    found = []
    for name, values in (("day", time.dt.strftime("%Y-%m-%d")), ("hour", time.dt.strftime("%H"))):
        if values.nunique() >= 2:
            text, levels, _ = _labels(values.rename(f"{time.name} {name}"))
            found.append((text, Reading(text.name, "moment", levels=levels)))
    return found


def grouped(values: pd.Series, levels: Sequence[str]) -> pd.Series:
    """A category with `OTHER` in place of all but ``levels``."""
    text = values.astype(object)
    return text.where(text.isin(levels), OTHER).astype("category")


def _labels(values):
    """A category of texts, its levels that have enough rows, at most 30, and notes."""
    text = values.astype(object).where(values.notna(), MISSING).astype(str)
    counts = text.value_counts()
    common = counts[counts >= min(_RARE_ROWS, max(2, len(text) // 50))]
    kept = common.index[:_LEVELS] if len(common) and len(counts) > 2 else counts.index[:_LEVELS]
    rare = counts.drop(kept)
    notes = []
    if missing := int(values.isna().sum()):
        notes.append(Reason("missing_level", column=values.name, rows=missing))
    if len(rare):
        rows = int(rare.sum())
        notes.append(
            Reason("rare_levels", column=values.name, levels=len(rare), rows=rows, other=OTHER)
        )
    return text.astype("category"), tuple(sorted(kept)), notes  # "007" is no number


def _kind(values):
    """'number', 'category' or 'date', and the values as that; LogError for a mixture."""
    if _is_text(values):
        return _kind_of_text(values)
    try:
        return meaning.column_kind(values, name="log"), values
    except ValueError as error:
        raise LogError(str(error)) from None


def _is_text(values):
    if isinstance(values.dtype, pd.StringDtype):
        return True
    return values.dtype == object and all(isinstance(one, str) for one in values.dropna())


def _kind_of_text(values):
    present = values.dropna().astype(str)
    if not len(present):
        return "category", values
    numbers = pd.to_numeric(values, errors="coerce")
    zeros = present.str.match(r"^0\d").any()
    if numbers.notna().sum() == len(present) and not zeros:
        return "number", numbers
    levels = pd.Series(present.unique(), dtype=object)
    truths = levels.str.lower()
    if set(truths) <= {"true", "false"}:
        return "number", values.str.lower().map({"true": 1.0, "false": 0.0})
    numeric = pd.to_numeric(levels, errors="coerce").notna()
    share = float(present.isin(levels[numeric]).mean())
    if share >= _MOST and not zeros and not numeric.all():
        strange = levels[~numeric]
        raise LogError(
            f"log: column {values.name!r} mixes numbers and text: {len(strange)} values are no "
            f"numbers, as {', '.join(map(repr, strange[:3]))}; mend them, or name them in missing ="
        )
    if max(levels.str.match(one).mean() for one in (_DATE, _SPELT)) >= _MOST:
        return "date", _dates_of_text(values)
    if (plain := _without_commas(values.name, levels)) is not None:
        return "number", values.map(dict(zip(levels, plain, strict=True))).astype(float)
    amounts = levels[levels.str.match(_AMOUNT)]
    if len(amounts) and present.isin(amounts).mean() >= _MOST and not numeric.any():
        raise LogError(
            f"log: column {values.name!r} holds numbers with signs, as {amounts.iloc[0]!r}; write "
            "plain numbers, as 1234.5"
        )
    return "category", values


def _without_commas(name, levels):
    """Numbers (levels,) of texts with decimal commas or commas of thousands; None where some is
    no number. LogError where both would do.
    """
    if not levels.str.contains(",").any():
        return None
    decimal = levels.str.match(_DECIMAL_COMMA).all()
    thousands = levels.str.match(_THOUSANDS).all()
    if decimal and thousands:
        raise LogError(
            f"log: column {name!r} holds numbers that can be read in two ways, as "
            f"{levels[levels.str.contains(',')].iloc[0]!r}; write them as 1234.5"
        )
    if decimal:
        plain = levels.str.replace(r"[. ]", "", regex=True).str.replace(",", ".")
        return pd.to_numeric(plain)
    return pd.to_numeric(levels.str.replace(",", "")) if thousands else None


def _in_iso(present):
    """Texts of dates as ISO 8601 has them; those of another form as they are.

    With slashes or hyphens the day and the month are told apart by a value above 12; with dots the
    day comes first. LogError where that does not tell.
    """
    levels = pd.Series(present.unique())
    if not levels.str.match(_SPELT).any() or levels.str.match(_DATE).all():
        return present
    parts = levels.str.extract(_SPELT)
    known = parts["year"].notna() | parts["last"].notna()
    first = pd.to_numeric(parts["first"])
    second = pd.to_numeric(parts["second"])
    day_first = bool((first > 12).any() or (parts["mark"] == ".").any())
    month_first = bool((second > 12).any())
    if first.notna().any() and (day_first == month_first or (parts["last"].str.len() == 2).any()):
        raise LogError(
            f"log: column {present.name!r} holds dates that can be read in two ways, as "
            f"{levels[first.notna()].iloc[0]!r}; write them as 2024-12-31 (ISO 8601)"
        )
    day = parts["day"].fillna(parts["first" if day_first else "second"])
    month = parts["month"].fillna(parts["second" if day_first else "first"])
    hour = pd.to_numeric(parts["hour"])
    half = parts["half"].str.lower()
    hour = hour.where(half.isna(), hour % 12 + 12 * (half == "pm"))
    time = (
        "T"
        + hour.map("{:02.0f}".format)
        + ":"
        + parts["minute"]
        + ":"
        + parts["rest"].fillna("00")
        + parts["zone"].fillna("")
    )
    iso = parts["year"].fillna(parts["last"]) + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    iso = (iso + time.where(hour.notna(), "")).where(known, levels)
    return present.map(dict(zip(levels, iso, strict=True)))


def _dates_of_text(values):
    given = values.dropna().astype(str)
    present = _in_iso(given)
    read = pd.to_datetime(present, utc=True, errors="coerce", format="ISO8601")
    unread = given[read.isna()]
    if len(unread):
        raise LogError(
            f"log: column {values.name!r} has {len(unread)} values that are no dates, as "
            f"{unread.iloc[0]!r}; write them as 2024-12-31 or 2024-12-31T23:59:00+08:00 (ISO 8601)"
        )
    zoned = present.str.contains(_ZONE) & (present.str.len() > 10)
    if 0 < int(zoned.sum()) < len(zoned):
        raise LogError(
            f"log: column {values.name!r} mixes times with a zone ({int(zoned.sum())} rows) and "
            f"without ({int((~zoned).sum())} rows), which cannot be compared; give all the same"
        )
    return read.dt.tz_localize(None).reindex(values.index)


def _dates(values):
    try:
        return meaning.as_dates(values)
    except (ValueError, TypeError) as error:
        raise LogError(
            f"log: column {values.name!r}: dates cannot be compared ({error}); give all the same "
            "time zone"
        ) from None


def _numbers(values):
    try:
        return meaning.as_numbers(values, name="log")
    except ValueError as error:
        raise LogError(str(error)) from None


def levels_shown(values: Sequence, count: int = 4) -> str:
    """The first levels in words, for an error."""
    shown = ", ".join(repr(one) for one in list(values)[:count])
    return f"{shown}, ..." if len(values) > count else shown
