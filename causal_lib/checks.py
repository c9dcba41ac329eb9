"""Every check of an argument, and the one wording of its error."""

from collections.abc import Iterable

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
        raise TypeError(f"{name}: a pandas DataFrame is needed, not {type(frame).__name__}")
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
    levels = pd.unique(pd.Series(array).dropna())
    if pd.isna(array).any() or not set(levels.tolist()) <= {0, 1}:
        shown = ", ".join(map(str, levels[:5]))
        raise ValueError(
            f"{name}: must be 0 or 1 in every row; found {len(levels)} levels ({shown}) and "
            f"{int(pd.isna(array).sum())} missing"
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


def check_numeric(values: pd.Series, name) -> np.ndarray:
    """``values`` as floats (n,); ValueError that names the column where they are not numbers."""
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(
            f"column {name!r} must hold numbers, not {values.dtype}; code its levels first"
        )
    return values.to_numpy(dtype=float)


def check_outcome(values: np.ndarray, name) -> np.ndarray:
    """``values`` (n,); ValueError where they are all the same."""
    if values.min() == values.max():
        raise ValueError(
            f"outcome {name!r} is constant ({values[0]:g} in {len(values)} rows): no effect can be "
            "seen in it"
        )
    return values
