"""Every check of an argument, and the one wording of its error."""

import numbers
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd


def check_frame(
    frame: pd.DataFrame,
    columns: Iterable[str] = (),
    *,
    name: str = "frame",
    key: Iterable[str] = (),
    complete: bool = False,
    varying: bool = False,
) -> None:
    """Raise ValueError (TypeError for a non-frame) that names ``name``, the column, the count and
    the way out.

    Parameters
    ----------
    frame : the table; never modified.
    columns : columns that must be there.
    key : columns that must identify a row.
    complete : also refuse missing and infinite values in ``columns``.
    varying : also refuse constant columns among ``columns``.

    >>> check_frame(pd.DataFrame({"a": [1, None]}), ["a"], complete=True)
    Traceback (most recent call last):
    ValueError: frame: column 'a' has 1 missing value; impute (preprocess_data) or drop ...
    """
    if not isinstance(frame, pd.DataFrame):
        way_out = "; convert it by .to_pandas()" if hasattr(frame, "to_pandas") else ""
        raise TypeError(
            f"{name}: a pandas DataFrame is needed, not {type(frame).__name__}{way_out}"
        )
    check_names(frame, name=name)
    columns = list(columns)
    key = list(key)
    missing = [c for c in columns + key if c not in frame.columns]
    if missing:
        raise ValueError(
            f"{name}: no column {', '.join(map(repr, missing))}; columns there: "
            f"{', '.join(map(str, frame.columns))}"
        )
    if len(frame) == 0:
        raise ValueError(f"{name}: has no rows")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(
            f"{name}: column {repeated[0]!r} stands {int((frame.columns == repeated[0]).sum())} "
            "times; rename one"
        )
    for column in columns:
        values = frame[column]
        missing = int(values.isna().sum())
        if missing == len(values) and (complete or varying):
            raise ValueError(
                f"{name}: column {column!r} holds only missing values ({missing} "
                "rows); leave it out"
            )
        if complete and missing:
            raise ValueError(
                f"{name}: column {column!r} has {_count(missing, 'missing value')}; impute "
                "(preprocess_data) or drop the rows first"
            )
        if pd.api.types.is_float_dtype(values.dtype):
            infinite = int(np.isinf(values.to_numpy(dtype=float, na_value=np.nan)).sum())
            if infinite:
                raise ValueError(
                    f"{name}: column {column!r} has {_count(infinite, 'infinite value')}; replace "
                    "them first"
                )
        if varying and values.nunique(dropna=True) < 2:
            raise ValueError(
                f"{name}: column {column!r} is constant ({values.dropna().iloc[0]} in "
                f"{len(values)} rows); leave it out"
            )
    if key:
        duplicated = int(frame.duplicated(key).sum())
        if duplicated:
            raise ValueError(
                f"{name}: {_count(duplicated, 'row')} repeat the key ({', '.join(key)}); drop the "
                "duplicates first"
            )


def check_names(frame: pd.DataFrame, *, name: str = "frame") -> None:
    """Raise ValueError unless every column's name is text: graphs and formulas are made of text.

    >>> check_names(pd.DataFrame([[1, 2]]))
    Traceback (most recent call last):
    ValueError: frame: names of columns must be text; 2 of 2 are not, first 0 (int); rename them ...
    """
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"{name}: columns have {frame.columns.nlevels} levels of names; give each column one "
            'name, as by frame.columns = frame.columns.map("_".join)'
        )
    strange = [column for column in frame.columns if not isinstance(column, str)]
    if strange:
        raise ValueError(
            f"{name}: names of columns must be text; {len(strange)} of {frame.shape[1]} are not, "
            f"first {strange[0]!r} ({type(strange[0]).__name__}); rename them by "
            "frame.rename(columns=str)"
        )


def check_columns(columns: Iterable[str], *, name: str) -> list[str]:
    """``columns`` as a list; a ValueError for a single name, one that is no text, or one twice.

    >>> check_columns("age", name="adjustment")
    Traceback (most recent call last):
    ValueError: adjustment: a list of columns is needed, not the text 'age'; write ['age']
    """
    if isinstance(columns, str):
        raise ValueError(
            f"{name}: a list of columns is needed, not the text {columns!r}; write [{columns!r}]"
        )
    if not isinstance(columns, Iterable):
        raise ValueError(
            f"{name}: a list of columns is needed, not {columns!r} ({type(columns).__name__})"
        )
    found = list(columns)
    for column in found:
        if not isinstance(column, str):
            raise ValueError(
                f"{name}: names of columns are text, not {column!r} ({type(column).__name__}); "
                "rename them by frame.rename(columns=str)"
            )
        if found.count(column) > 1:
            raise ValueError(f"{name}: column {column!r} is given {found.count(column)} times")
    return found


def check_column_names(**given) -> None:
    """Raise ValueError where an argument is to name one column and is given its values, or a list.

    >>> check_column_names(treatment="t", cluster=None, weights=np.ones(3))
    Traceback (most recent call last):
    ValueError: weights: the name of a column is needed, not ndarray; put the values into the ...
    """
    for name, column in given.items():
        if column is not None and not isinstance(column, str):
            shown = f"{column!r} " if isinstance(column, numbers.Number) else ""
            raise ValueError(
                f"{name}: the name of a column is needed, not {shown}{type(column).__name__}; put "
                "the values into the frame, and name their column by text"
            )


def check_contrast(contrast) -> None:
    """Raise ValueError unless ``contrast`` is a pair of different levels.

    >>> check_contrast("no")
    Traceback (most recent call last):
    ValueError: contrast='no': two different levels are needed, (control, treated)
    """
    pair = isinstance(contrast, Sequence | np.ndarray) and not isinstance(contrast, str | bytes)
    if not pair or len(contrast) != 2 or contrast[0] == contrast[1]:
        raise ValueError(f"{contrast=}: two different levels are needed, (control, treated)")


def check_whole(value, *, name: str, low: int = 1) -> int:
    """``value`` as an int; a ValueError unless it is a whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name}: a whole number of at least {low} is needed, not {value!r}")
    return int(value)


def check_number(value, *, name: str, low: float = 0.0) -> float:
    """``value`` as a float; a ValueError unless it is a finite number of at least ``low``."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= value < np.inf:
        raise ValueError(f"{name}: a number of at least {low:g} is needed, not {value!r}")
    return float(value)


def check_draws(n_boot) -> None:
    """Raise ValueError unless ``n_boot`` is 0, for no interval, or a whole number from 2."""
    if n_boot != 0:
        check_whole(n_boot, name="n_boot (0 for no interval)", low=2)


def check_ids(values: pd.Series, *, name: str = "frame", noun: str = "ids") -> str:
    """What kind of ids a column holds: 'number', 'text' or the name of another type.

    Raises ValueError where types are mixed (1 and '1' would be two ids), and for values that cannot
    be compared, as lists. ``noun``: what the message calls the values.

    >>> check_ids(pd.Series(["i1", "i2"], name="item_id"))
    'text'
    >>> check_ids(pd.Series([1, "1"], name="item_id"), name="ratings")
    Traceback (most recent call last):
    ValueError: ratings: column 'item_id' mixes ids of types int and str, as 1 and '1'; convert ...
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(values.cat.remove_unused_categories().cat.categories, name=values.name)
    if isinstance(values.dtype, pd.StringDtype):
        return "text"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return "number"
    seen = {}
    for value in values.dropna():
        seen.setdefault(type(value), value)
    for one, value in seen.items():
        if not isinstance(value, Hashable):
            raise ValueError(
                f"{name}: column {values.name!r} holds {one.__name__} values, as {value!r}; give "
                "numbers or text"
            )
    kinds = {_id_kind(one): value for one, value in seen.items()}
    if len(kinds) > 1:
        types = sorted(type(value).__name__ for value in kinds.values())
        raise ValueError(
            f"{name}: column {values.name!r} mixes {noun} of types {' and '.join(types)}, as "
            f"{' and '.join(map(repr, kinds.values()))}; convert it to one type, by astype(str)"
        )
    return next(iter(kinds), "text")


def _id_kind(one):
    if issubclass(one, str):
        return "text"
    return "number" if issubclass(one, (numbers.Number, np.bool_)) else one.__name__


def check_same_order(**given) -> None:
    """Raise ValueError where two of ``given`` hold the same index labels in another order.

    Their rows are paired by place, so that each would meet another row's value. What is no pandas
    object, and an index of other labels, is let through.

    >>> y = pd.Series([0, 1], [5, 6])
    >>> check_same_order(X=pd.DataFrame({"x": [1, 2]}, [6, 5]), y=y)
    Traceback (most recent call last):
    ValueError: y: has the index labels of X in another order; rows are paired by place, so give ...
    """
    indexed = {
        name: values.index
        for name, values in given.items()
        if isinstance(values, pd.Series | pd.DataFrame) and values.index.is_unique
    }
    if len(indexed) < 2:
        return
    first, *others = indexed
    index = indexed[first]
    for other in others:
        same_labels = len(indexed[other]) == len(index) and indexed[other].isin(index).all()
        if same_labels and not indexed[other].equals(index):
            raise ValueError(
                f"{other}: has the index labels of {first} in another order; rows are paired by "
                f"place, so give {other}.loc[{first}.index]"
            )


def check_range(values, low: float, high: float, *, name: str, open_low: bool = False) -> None:
    """Raise ValueError unless all ``values`` lie in [low, high] (or (low, high]); missing values
    are let through.
    """
    values = np.asarray(values, dtype=float)
    bad = (values <= low if open_low else values < low) | (values > high)
    if bad.any():
        bracket = "(" if open_low else "["
        raise ValueError(
            f"{name}: {_count(int(bad.sum()), 'value')} outside {bracket}{low:g}, {high:g}], "
            f"first {values[bad][0]:g}"
        )


def check_binary(values, *, name: str) -> np.ndarray:
    """``values`` as int8 zeros and ones of both kinds, or a ValueError that says what else is
    there.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: one value per row is needed, not an array of {array.shape}")
    levels = pd.unique(pd.Series(array).dropna())
    if pd.isna(array).any() or not set(levels.tolist()) <= {0, 1}:
        shown = ", ".join(map(repr, levels[:5].tolist()))
        text = any(isinstance(level, str) for level in levels)
        way_out = "; code text as numbers first, as by (y == 'yes').astype(int)" if text else ""
        raise ValueError(
            f"{name}: must be 0 or 1 in every row; found {len(levels)} levels ({shown}) and "
            f"{int(pd.isna(array).sum())} missing{way_out}"
        )
    if len(levels) < 2:
        raise ValueError(
            f"{name}: only the value {levels[0]} occurs in {len(array)} rows; both 0 "
            "and 1 are needed"
        )
    return array.astype(np.int8)


def _count(n, noun):
    return f"{n} {noun}" + ("" if n == 1 else "s")


def check_codes(codes, n: int, *, name: str, of: str, low: int = 0) -> np.ndarray:
    """``codes`` as int64; a ValueError unless all are whole numbers from ``low`` to ``n`` - 1.
    ``of``: what they stand for.
    """
    codes = np.asarray(codes)
    if codes.size and codes.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: codes are whole numbers, not {codes.dtype}; see Interactions, or convert by "
            "astype(int)"
        )
    if (off := (codes < low) | (codes >= n)).any():
        raise ValueError(
            f"{name}: {int(off.sum())} codes are of no {of}; there are {n}, coded from 0; first "
            f"{codes[off].flat[0]}"
        )
    return codes.astype(np.int64, copy=False)


def check_propensity(propensity, *, name: str) -> np.ndarray:
    """``propensity`` as floats; a ValueError unless there are some, all of them in (0, 1]."""
    found = np.asarray(propensity, dtype=float)
    if not found.size:
        raise ValueError(f"{name} has no values")
    if missing := int((~np.isfinite(found)).sum()):
        raise ValueError(
            f"{name}: {missing} of {found.size} are missing or infinite; estimate them, or leave "
            "the pairs out"
        )
    check_range(found, 0, 1, name=name, open_low=True)
    return found


def check_no_copy(x: pd.DataFrame, y: np.ndarray, outcome: str) -> None:
    """Raise ValueError where a number among the covariates ``x`` (n, k) is a linear function of the
    outcome ``y`` (n,): given it, nothing else can have an effect.
    """
    numbers_of_x = x.select_dtypes("number")
    values = numbers_of_x.to_numpy(dtype=float)
    deviations = values - values.mean(axis=0)
    of_outcome = y - y.mean()
    lengths = np.linalg.norm(deviations, axis=0) * np.linalg.norm(of_outcome)
    correlation = np.abs(of_outcome @ deviations) / np.where(lengths > 0, lengths, np.inf)
    # two rows always lie on a line
    if len(y) > 2 and (correlation > 1 - 1e-12).any():
        raise ValueError(
            f"adjustment: column {numbers_of_x.columns[correlation.argmax()]!r} is a linear "
            f"function of the outcome {outcome!r}, so that nothing else can be seen to have an "
            "effect; leave it out"
        )


def check_outcome(values: np.ndarray, name) -> np.ndarray:
    """``values`` (n,); ValueError where they are all the same."""
    if values.min() == values.max():
        raise ValueError(
            f"outcome {name!r} is constant ({values[0]:g} in {len(values)} rows): no effect can be "
            "seen in it"
        )
    return values
