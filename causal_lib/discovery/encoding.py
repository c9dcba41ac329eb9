"""A frame as numbers, one column a variable: what methods for numbers see of booleans and
categories.
"""

import decimal
import numbers

import numpy as np
import pandas as pd
import pyarrow as pa

from causal_lib.columns import as_numbers


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with each column in the dtype that its values have, so that all methods see one.

    Numbers and booleans in an object column (Decimal too), in a sparse or in an Arrow column become
    numbers and booleans; text of Arrow becomes text. What is none of these stays, for `audit` to
    name. The same frame where nothing changes.
    """
    changed = {}
    for name, column in frame.items():
        values = _plain(column)
        if values is not column:
            changed[name] = values
    return frame.assign(**changed) if changed else frame


def _plain(values):
    """One column of `plain`."""
    dtype = values.dtype
    if isinstance(dtype, pd.SparseDtype):
        return values.sparse.to_dense()
    if isinstance(dtype, pd.ArrowDtype):
        return _from_arrow(values, dtype.pyarrow_dtype)
    if not pd.api.types.is_object_dtype(dtype):
        return values
    present = values.dropna()
    if not len(present):
        return values
    sorts = set(map(type, present))
    if all(issubclass(one, (bool, np.bool_)) for one in sorts):
        return values.astype("boolean" if values.isna().any() else bool)
    if all(issubclass(one, (numbers.Real, decimal.Decimal, np.bool_)) for one in sorts):
        whole = all(issubclass(one, numbers.Integral) for one in sorts) and not values.isna().any()
        found = pd.Series(as_numbers(values), values.index, name=values.name)
        return found.astype("int64") if whole and found.abs().max() < 2**53 else found
    return values


def _from_arrow(values, kind):
    """A column of an Arrow dtype as one of numpy's or pandas' own."""
    missing = values.isna().any()
    if pa.types.is_boolean(kind):
        return values.astype("boolean" if missing else bool)
    if pa.types.is_integer(kind) and not missing:
        return values.astype("int64")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pd.Series(as_numbers(values), values.index, name=values.name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.astype(pd.StringDtype())
    if pa.types.is_dictionary(kind):
        return values.astype(object).astype("category")
    return values


def encode(frame: pd.DataFrame, *, standardise: bool = True) -> tuple[np.ndarray, dict[str, str]]:
    """``frame`` as (n, d) centred columns, one a variable, and how each category was turned into
    numbers.

    Ordered categories enter by rank; unordered ones by the scores of their levels that correlate
    most with the other columns (optimal scaling). Every column has unit variance, or numbers keep
    their own where ``standardise`` is false.
    """
    columns = []
    nominal = []
    encoding = {}
    scale = np.ones(frame.shape[1])
    for position, name in enumerate(frame.columns):
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):  # booleans too
            columns.append(column.to_numpy(dtype=float))
            scale[position] = 1 if standardise else columns[-1].std()
            continue
        category = column.astype("category").cat.remove_unused_categories()
        columns.append(category.cat.codes.to_numpy(dtype=float))
        encoding[str(name)] = "ordered levels" if category.cat.ordered else "optimal scaling"
        if not category.cat.ordered and len(category.cat.categories) > 2:
            nominal.append(position)
    values = _standardise(np.column_stack(columns))
    others = np.delete(values, nominal, axis=1)
    for position in nominal if others.shape[1] else ():
        levels, inverse, counts = np.unique(
            values[:, position], return_inverse=True, return_counts=True
        )
        sums = np.zeros((len(levels), others.shape[1]))
        np.add.at(sums, inverse, others)
        # Leading left singular vector of the weighted level means: the scores of largest squared
        # correlation in sum.
        scores = np.linalg.svd(sums / np.sqrt(counts)[:, None], full_matrices=False)[0][
            :, 0
        ] / np.sqrt(counts)
        scores *= np.sign(scores[np.abs(scores).argmax()])
        values[:, position] = scores[inverse]
    return _standardise(values) * scale, encoding


def _standardise(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)
