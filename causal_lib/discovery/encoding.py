"""A frame as numbers, one column a variable: what methods for numbers see of booleans and
categories.
"""

import numpy as np
import pandas as pd


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
