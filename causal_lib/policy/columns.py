"""What logs and tables of probabilities hold: propensities, codes of actions, columns matched by
their labels.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd

from causal_lib.checks import check_range
from causal_lib.columns import number_of, numbers_or_none, without_categories

_WAY_OUT = (
    "actions=, the labels of the policy's columns in their order, or a policy whose columns are "
    "labelled (a DataFrame, or a Series for all rounds)"
)


def propensities(logs: pd.DataFrame, column) -> np.ndarray:
    """``column`` as floats (n,) in (0, 1]; a ValueError says where it looks like percentages."""
    found = number_of(logs, column, name="logs")
    try:
        check_range(found, 0, 1, name=f"propensity column {column!r}", open_low=True)
    except ValueError as error:
        if found.min() > 0 and 1 < found.max() <= 100:
            raise ValueError(f"{error}; if these are percentages, divide them by 100") from None
        raise
    return found


def read_actions(
    column: pd.Series, k: int | None = None, labels: Sequence | None = None
) -> tuple[np.ndarray, pd.Index]:
    """Code of each logged action (n,), and the labels (K,) of the codes.

    With ``labels`` a code is a label's place among them. Without them, whole numbers (digits as
    text too) are the codes, 0..K-1; the codes of text, dates and the like count through their
    sorted levels, those of a category through its categories.

    Parameters
    ----------
    k : K where it is known; None: one more than the largest number, or the number of levels.

    Raises ValueError that names the column, how many values are wrong and the way out.
    """
    name = f"action column {column.name!r}"
    if labels is not None:
        labels = check_labels(labels, k)
        plain = without_categories(column)
        if pd.api.types.is_bool_dtype(plain) and not pd.api.types.is_bool_dtype(labels):
            plain = plain.astype(int)
        codes = labels.get_indexer(pd.Index(plain))
        if (off := codes < 0).any():
            first = listed(column[off].tolist()[:1])
            raise ValueError(
                f"{name}: {int(off.sum())} values are not among the labels {listed(labels)}, first "
                f"{first}; give all labels, of the same type as the column"
            )
        return codes, labels
    values = None
    if not pd.api.types.is_bool_dtype(without_categories(column)):
        values = numbers_or_none(column)
    if values is None:
        values = _numbers_in_text(column)
    if values is None:
        return _levels(column, k, name)
    whole = values == np.floor(values)
    if not whole.all():
        raise ValueError(
            f"{name}: {int((~whole).sum())} values are no whole numbers, first "
            f"{values[~whole][0]:g}; code the actions from 0 on first (pandas.factorize), or give "
            f"{_WAY_OUT}"
        )
    try:
        check_range(values, 0, np.inf if k is None else k - 1, name=name)
    except ValueError as error:
        raise ValueError(f"{error}; actions are counted from 0: else give {_WAY_OUT}") from None
    codes = values.astype(np.intp)
    return codes, pd.RangeIndex(int(codes.max()) + 1 if k is None else k)


def check_labels(labels: Sequence, k: int | None = None) -> pd.Index:
    """``labels`` of actions as an index; ValueError unless they are K different ones."""
    if isinstance(labels, str):
        raise ValueError(f"actions must be a list of labels, not the text {labels!r}")
    labels = pd.Index(list(labels))
    if labels.hasnans:
        raise ValueError(f"actions: {int(labels.isna().sum())} labels are missing")
    if not labels.is_unique:
        twice = labels[labels.duplicated()]
        raise ValueError(f"actions: label {twice[0]!r} stands twice; give each action once")
    if k is not None and len(labels) != k:
        raise ValueError(f"actions has {len(labels)} labels; the policy has {k} columns")
    return labels


def by_label(table, labels: pd.Index | None, index: pd.Index, name: str):
    """(table as an array, its labels): of a DataFrame (n, K), a Series or mapping (K,) by the
    order of ``labels`` where they are given; anything else as it stands, its labels None.

    Raises ValueError where rows have another index than the logs, or labels differ.
    """
    if isinstance(table, Mapping):
        table = pd.Series(table)
    if isinstance(table, pd.DataFrame):
        if len(table) > 1 and not table.index.equals(index):
            raise ValueError(
                f"{name}: its rows have another index than those of the logs; give "
                f"{name}.loc[logs.index] to match rows by index, or {name}.set_axis(logs.index) "
                "where they stand in the order of the logs"
            )
        own = table.columns
    elif isinstance(table, pd.Series):
        own = table.index
    else:
        return table, None
    if not own.is_unique:
        raise ValueError(f"{name}: label {own[own.duplicated()][0]!r} stands twice")
    if labels is not None:
        places = own.get_indexer(labels)
        if (places < 0).any() or len(own) != len(labels):
            strange = labels[places < 0] if (places < 0).any() else own.difference(labels)
            raise ValueError(
                f"{name}: its labels are {listed(own)}, those of the actions {listed(labels)}; "
                f"they differ in {listed(strange)}; give the same ones (0 for an action that is "
                "never taken)"
            )
        table = table.iloc[:, places] if isinstance(table, pd.DataFrame) else table.iloc[places]
        own = labels
    try:
        return table.to_numpy(dtype=float, na_value=np.nan), own
    except (TypeError, ValueError):
        return table.to_numpy(), own


def groups_of(embedding: Sequence | Mapping, labels: pd.Index) -> list:
    """The embedding of each of the ``labels``: by label of a mapping or a labelled Series, else in
    order.
    """
    if isinstance(embedding, pd.Series) and set(embedding.index) == set(labels):
        return embedding.loc[labels].tolist()
    if isinstance(embedding, Mapping):
        lacking = [one for one in labels if one not in embedding]
        if lacking:
            raise ValueError(f"embedding: no entry for actions {listed(lacking)}")
        return [embedding[one] for one in labels]
    return list(embedding)


def listed(labels: Sequence, most: int = 5) -> str:
    """The first labels in words.

    >>> listed([0, 1, 2], most=2)
    '0, 1, ... (3)'
    """
    shown = ", ".join(str(one) if isinstance(one, Real) else repr(one) for one in labels[:most])
    return shown + (f", ... ({len(labels)})" if len(labels) > most else "")


def _numbers_in_text(column):
    column = without_categories(column)
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return None
    if not column.map(lambda one: isinstance(one, str)).all():
        return None
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    return None if np.isnan(found).any() else found


def _levels(column, k, name):
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        codes = column.cat.codes.to_numpy().astype(np.intp)
    elif pd.api.types.is_bool_dtype(column):
        levels = pd.Index([False, True])
        codes = column.to_numpy(dtype=bool).astype(np.intp)
    else:
        if column.dtype == object and len(set(map(type, column))) > 1:
            raise ValueError(
                f"{name} mixes {_kind(column)}; give the actions one type, such as text"
            )
        codes, levels = pd.factorize(column, sort=True)
        levels = pd.Index(levels)
    if k is not None and len(levels) != k:
        raise ValueError(
            f"{name} holds {len(levels)} levels, {listed(levels)}; the policy has {k} columns: "
            f"give {_WAY_OUT}"
        )
    return codes, levels


def _kind(column):
    if column.dtype != object:
        return str(column.dtype)
    return " and ".join(sorted({type(one).__name__ for one in column})[:3])
