"""An order of rows and columns that depends on their values alone.

What deals out folds, draws rows or breaks ties by their order first puts them into this one. Then
the order in which a table stands, its index and the units of its columns change nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def canonical_columns(x: pd.DataFrame, y: np.ndarray, t: np.ndarray) -> list[str]:
    """Names of the columns in an order that does not depend on names, units or the order of rows.

    Trees break ties by the order of columns. It is that of sums of products of ranks with those of
    ``y`` and ``t`` (n,), then of skewness, whatever their signs; only columns that are the same
    otherwise go by name.
    """
    of_y = _places(y)
    of_t = _places(t)

    def key(name):
        if name in _label_columns(x):
            codes = x[name].cat.codes.to_numpy()
            sums = np.zeros(codes.max() + 1, dtype=np.int64)
            np.add.at(sums, codes, of_y)
            return 1, len(sums), int((sums**2).sum()), 0, 0.0, name
        values = x[name].to_numpy()
        places = _places(values)
        spread = values.std()
        skew = ((values - values.mean()) ** 3).mean() / spread**3 if spread > 0 else 0.0
        products = abs(int(places @ of_y)), abs(int(places @ of_t))
        return 0, int(places.max()), *products, round(abs(float(skew)), 6), name

    return sorted(x.columns, key=key)


def _places(values):
    """(n,) twice the place of each value among the different ones, from the middle.

    Of values turned round they have the other sign.
    """
    places = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return 2 * places - places.max()


def canonical_order(
    x: pd.DataFrame, *others: np.ndarray, clusters: np.ndarray | None = None
) -> np.ndarray:
    """(n,) positions that put the rows into an order that depends on their values alone.

    Folds are dealt out in this order, so that shuffled rows give the same answer. Rows of the same
    values go by what else is in their cluster, codes (n,), not by its name.
    """
    keys = [
        x[name].cat.codes.to_numpy() if name in _label_columns(x) else x[name].to_numpy()
        for name in x.columns
    ]
    keys = [*others, *keys]
    order = np.lexsort(keys)
    if clusters is None:
        return order
    differs = np.zeros(len(order), dtype=bool)
    for key in keys:
        differs[1:] |= np.diff(key[order]) != 0
    place = np.empty(len(order), dtype=np.uint64)
    place[order] = np.cumsum(differs)
    contents = np.zeros(int(clusters.max()) + 1, dtype=np.uint64)
    np.add.at(contents, clusters, pd.util.hash_array(place))  # a hash of the rows, in any order
    return np.lexsort([contents[clusters], place])


def canonical_places(
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    *others: np.ndarray,
    names: Sequence = (),
    clusters: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) places of the rows and (k,) of the columns of an array (n, k), missing values last.

    As `canonical_order` and `canonical_columns`: rows that are the same in ``x``, ``y`` and ``t``
    go by ``others`` (n,), columns that are the same otherwise by ``names`` (k,).
    """
    k = x.shape[1]
    titles = [f"{name}\0{place:09d}" for place, name in enumerate(names or [""] * k)]
    table = pd.DataFrame(x, columns=titles)
    if np.isnan(x).any():
        table = table.rank(method="dense", na_option="bottom")
    columns = canonical_columns(table, y, t)
    order = canonical_order(table[columns], *others, y, t, clusters=clusters)
    return order, np.array([titles.index(name) for name in columns], dtype=int)


def _label_columns(x):
    return [name for name in x.columns if isinstance(x[name].dtype, pd.CategoricalDtype)]
