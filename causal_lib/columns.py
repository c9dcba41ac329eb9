"""What a column of a table is, whatever its dtype: a number, a category or a date."""

import datetime
import decimal
import numbers
from collections.abc import Sequence

import numpy as np
import pandas as pd

_SHOWN = 3
_LARGEST = 1e100  # larger numbers, and those below its inverse, overflow when they are squared
_FEW_NUMBERS = 20  # a category of more fractions than this is a number that was binned by nobody
# Codes for missing are written with sevens, eights or nines, or are the ends of an integer type.
# They are taken for codes beyond so many ranges of the other values, other values only beyond more.
_SPELLED = {int(d * k) for d in "789" for k in range(2, 10)}
_SPELLED |= {10**k - less for k in range(2, 10) for less in (2, 3)}
_SPELLED |= {2**bits - 1 for bits in (15, 16, 31, 32, 63)} | {2**bits for bits in (15, 31, 63)}
_CODES = np.array(sorted({sign * code for code in _SPELLED for sign in (-1, 1)}), dtype=float)
_RANGES_OF_CODE = 3
_RANGES_IN_OUTCOME = 10
_RANGES_OF_OTHERS = 5
_SHARE_OF_OTHERS = 0.01  # counts have far values in a few rows
# of a few values that may differ: heavy tails have nearer ones, those of outcomes are the heaviest
_RANGES_OF_FAR = 20
_RANGES_OF_FAR_OUTCOME = 100
_FEWEST_FOR_FAR = 20  # rows that show a range


def column_kind(values: pd.Series, *, name: str = "frame") -> str:
    """'number', 'category' or 'date': what ``values`` mean, whatever dtype holds them.

    Booleans and timedeltas are numbers. Integers of dtype category are categories: a code.

    Raises ValueError that names the column for text that is numeric, numbers mixed with text,
    complex numbers, a category of more than 20 fractions, and what can be none of the three
    (lists, dictionaries).
    """
    where = f"{name}: column {values.name!r}"
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = pd.Series(dtype.categories)
        if _is_whole_or_text(levels) or values.nunique() <= _FEW_NUMBERS:
            return "category"
        raise ValueError(
            f"{where} is a category of {values.nunique()} numbers ({_first(values)}); convert it "
            "by astype(float), or to few bins (pandas.cut)"
        )
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"{where} holds complex numbers; take .real and .imag as two columns")
    if isinstance(dtype, pd.SparseDtype):
        return column_kind(pd.Series(np.asarray(values[:1]), name=values.name), name=name)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return "number"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "date"
    present = values.dropna()
    kinds = {_kind_of_object(value) for value in _each_type(present)}
    if kinds == {"text"}:
        return _checked_text(present, where)
    if kinds == {"duration"}:
        return "number"
    if len(kinds) == 1 and kinds <= {"number", "date"}:
        return kinds.pop()
    if not kinds:
        return "category"
    types = sorted({type(value).__name__ for value in _each_type(present)})
    if kinds <= {"number", "text", "date"}:
        raise ValueError(
            f"{where} mixes {' and '.join(types)} ({_first(present)}); convert it to one type: "
            "pandas.to_numeric for numbers, astype(str) for labels"
        )
    raise ValueError(
        f"{where} holds {types[0]} ({_first(present)}); give numbers, text, categories or dates"
    )


def as_numbers(values: pd.Series, *, name: str = "frame") -> np.ndarray:
    """A column of kind 'number' as floats (n,); missing values as nan, timedeltas in days.

    Raises ValueError for numbers that a float cannot hold, and for columns whose squares it cannot.
    """
    if {_kind_of_object(value) for value in values.dropna()[:1]} == {"duration"}:
        durations = pd.to_timedelta(values.astype(object))
        return (durations / pd.Timedelta(days=1)).to_numpy(dtype=float)
    if values.dtype == object:
        missing = values.isna().to_numpy()
        found = np.full(len(values), np.nan)
        found[~missing] = [_as_float(value) for value in values.to_numpy()[~missing]]
    else:
        found = values.to_numpy(dtype=float, na_value=np.nan)
    if infinite := int(np.isinf(found).sum()):
        noun = "value" if infinite == 1 else "values"
        raise ValueError(
            f"{name}: column {values.name!r} has {infinite} infinite {noun}; replace them first"
        )
    largest = float(np.nanmax(np.abs(found), initial=0.0))
    if not (largest == 0 or 1 / _LARGEST < largest < _LARGEST):
        raise ValueError(
            f"{name}: column {values.name!r} has values up to {largest:.3g}; divide it by its scale"
        )
    return found


def as_dates(values: pd.Series) -> pd.Series:
    """A column of kind 'date' as time stamps in UTC without zone; periods at their start."""
    if values.dtype == object and isinstance(next(iter(values.dropna()), None), pd.Period):
        values = pd.Series(pd.PeriodIndex(values), index=values.index)
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    found = pd.to_datetime(values, utc=True)
    return found.dt.tz_localize(None)


def as_days(values: pd.Series, origin: pd.Timestamp) -> np.ndarray:
    """A column of kind 'date' as days (n,) since ``origin``."""
    return ((as_dates(values) - origin) / pd.Timedelta(days=1)).to_numpy(dtype=float)


def as_labels(values: pd.Series) -> pd.Series:
    """A column of kind 'category' as plain labels of dtype object, missing as None."""
    return values.astype(object).where(values.notna(), None)


def number_of(frame: pd.DataFrame, column: str, *, name: str = "frame") -> np.ndarray:
    """The column as floats (n,); ValueError where it is no number.

    A category of numbers counts as numbers here, where nothing else has a meaning.
    """
    values = without_categories(frame[column])
    kind = column_kind(values, name=name)
    if kind != "number":
        way_out = "code its levels first" if kind == "category" else "give days since a date"
        raise ValueError(
            f"{name}: column {column!r} must hold numbers, not {frame[column].dtype}; {way_out}"
        )
    return as_numbers(values, name=name)


def numbers_or_none(values: pd.Series) -> np.ndarray | None:
    """``values`` as floats (n,); None where `number_of` would refuse them."""
    try:
        return number_of(values.to_frame("values"), "values")
    except ValueError:
        return None


def missing_codes(values: np.ndarray, *, of_outcome: bool = False) -> dict[float, int]:
    """Code -> rows, of the values (n,) that look like codes for a missing value, such as -999.

    A code lies away from all other values by over three times their range. A number that is not
    written like one (999999, -99, 9998, 32767) must be in 1% of the rows and lie away by five
    times. None where codes would be over half of the rows, or leave fewer than two values. Outcomes
    may be sums of money, as 99 beside 0 and 9: there only a number written like a code is one, and
    beyond ten ranges.

    >>> missing_codes(np.array([31.0, 64, 999, 18, 999]))
    {999.0: 2}
    """
    low, high = far_limits(values)
    ends = (values.min(), values.max()) if len(values) else ()
    if np.isinf([low, high]).all() and not np.isin(ends, _CODES).any():
        spelled = np.zeros(len(values), dtype=bool)  # a code would be an end
    else:
        spelled = np.isin(values, _CODES)
        low, high = far_limits(values[~spelled])
    near = (values >= low) & (values <= high)  # a slip far away would hide codes
    ranges = _RANGES_IN_OUTCOME if of_outcome else _RANGES_OF_CODE
    found = _far(values[spelled], values[~spelled & near], ranges)
    others = values[~np.isin(values, list(found)) & near]
    ends = (others.min(), others.max()) if len(others) and not of_outcome else ()
    for end in ends:
        at_end = others == end
        if end and at_end.mean() >= _SHARE_OF_OTHERS and at_end.sum() > 1:
            found |= _far(others[at_end], others[~at_end], _RANGES_OF_OTHERS)
    left = values[~np.isin(values, list(found))]
    if 2 * len(left) < len(values) or len(left) < 2 or np.ptp(left) == 0:
        return {}
    return dict(sorted(found.items()))


def _far(values, others, ranges):
    """Value -> rows, of the ``values`` over so many ``ranges`` of ``others`` away from them."""
    if not len(values) or not len(others):
        return {}
    low = others.min()
    high = others.max()
    reach = ranges * (high - low)
    found, rows = np.unique(
        values[(values > high + reach) | (values < low - reach)], return_counts=True
    )
    return dict(zip(found.tolist(), rows.tolist(), strict=True)) if reach else {}


def far_limits(values: np.ndarray, *, of_outcome: bool = False) -> tuple[float, float]:
    """The limits beyond which values (n,) lie away from all others by over 20 times their range.

    Of outcomes, 100 times. -inf and inf where none do, and for fewer than 20 rows. Those beyond a
    limit are at most 1% of the rows, or one.

    >>> far_limits(np.append(np.arange(18.0, 65), 1e6))
    (-inf, 64.0)
    """
    ranges = _RANGES_OF_FAR_OUTCOME if of_outcome else _RANGES_OF_FAR
    return -_far_end(-values, ranges), _far_end(values, ranges)


def _far_end(values, ranges):
    """The largest of ``values`` (n,) but for those that are far; inf where none are."""
    n = len(values)
    few = max(1, n // 100)
    if n < _FEWEST_FOR_FAR:
        return np.inf
    parts = np.partition(values, [few, n - 1 - few])
    ordered = np.sort(parts[n - 1 - few :])
    span = ordered[:-1] - parts[few]  # those at the other end may be far too
    far = (np.diff(ordered) > ranges * span) & (span > 0)
    return float(ordered[far.argmax()]) if far.any() else np.inf


def far_from_others(values: np.ndarray, *, of_outcome: bool = False) -> list[tuple[str, int]]:
    """What `missing_codes` and `far_limits` find among ``values`` (n,), in words, with its rows."""
    codes = missing_codes(values, of_outcome=of_outcome)
    found = [(f"{code:.16g}", rows) for code, rows in codes.items()]
    left = values[~np.isin(values, list(codes))]
    low, high = far_limits(left, of_outcome=of_outcome)
    for far in (left[left < low], left[left > high]):
        if len(far):
            ends = {f"{far.min():g}": None, f"{far.max():g}": None}
            found.append((" to ".join(ends), len(far)))
    return found


def without_categories(values: pd.Series) -> pd.Series:
    """``values`` of dtype category with the dtype of their categories, others as they are."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(values.cat.categories.dtype)
    return values


def _each_type(values: pd.Series) -> Sequence:
    """One value of each Python type in ``values``."""
    seen = {}
    for value in values.array if values.dtype != object else values.to_numpy():
        seen.setdefault(type(value), value)
    return list(seen.values())


def _kind_of_object(value):
    if isinstance(value, (bool, np.bool_, decimal.Decimal)):
        return "number"
    if isinstance(value, numbers.Real):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (datetime.date, datetime.datetime, np.datetime64, pd.Period)):
        return "date"
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return "duration"
    return "other"


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _checked_text(present, where):
    """'category'; ValueError where every value of the text is a number."""
    levels = pd.Series(present.unique()).astype(object)
    if pd.to_numeric(levels, errors="coerce").notna().all():
        raise ValueError(
            f"{where} holds numbers as text ({_first(present)}); convert it by astype(float), or "
            "by astype('category') if they are codes"
        )
    return "category"


def _is_whole_or_text(levels):
    if pd.api.types.is_float_dtype(levels.dtype):
        return bool((levels == levels.round()).all())
    if levels.dtype == object:
        return not any(isinstance(level, (float, decimal.Decimal)) for level in levels)
    return True


def _first(values):
    shown = {}
    for value in values.dropna().astype(object):
        shown[repr(value)] = None
        if len(shown) == _SHOWN:
            break
    return ", ".join(shown)


def as_times(values: pd.Series, *, name: str = "frame") -> np.ndarray:
    """A column that orders rows in time (n,): floats, or time stamps in UTC for dates.

    Text in ISO 8601 is read. Raises ValueError for other text, whose order is not one of times.
    Of a category only its values count.
    """
    values = without_categories(values)
    kind = column_kind(values, name=name)
    if kind == "number":
        return as_numbers(values, name=name)
    if kind == "category":
        read = pd.to_datetime(values.astype(str), utc=True, errors="coerce", format="ISO8601")
        unread = (read.isna() & values.notna()).to_numpy()
        if unread.any():
            raise ValueError(
                f"{name}: column {values.name!r} is text whose order is not that of time "
                f"({_first(values[unread])}); convert it by pandas.to_datetime(..., format=...)"
            )
        values = read.where(values.notna())
    return as_dates(values).to_numpy()
