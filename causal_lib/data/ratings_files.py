"""Readers of Coat and Yahoo! R3, two data sets of ratings with a random test, from a user's files.

In both, users chose what they rated for the training set (missing not at random), and rated items
drawn uniformly at random for the test set, so the test measures what training on choices is worth.
"""

import re
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame, check_range
from causal_lib.data.manifest import Source, SourceError

_NO_INTEGER = re.compile(r"(?<!\S)(?!-?[0-9]{1,18}(?!\S))\S+")


def coat(source: Source, root: Path) -> dict[str, pd.DataFrame]:
    """``"train"``, ``"test"``: user_id, item_id, rating (1 ... 5); ``"users"``, ``"items"``.

    Ids are the numbers of rows and columns of the matrices, from 0. The frames of attributes (id
    and feature_0 ..., 0 or 1) are there where their files are. An item may stand in both train and
    test of a user: nothing is checked across the two.

    Parameters
    ----------
    root : folder with ``train.ascii`` and ``test.ascii``, one row per user, one column per item, 0
        where there is no rating; optional ``user_item_features/user_features.ascii`` and
        ``item_features.ascii``, one row per user or item.

    Raises
    ------
    SourceError
        for a matrix of ratings that is not there.
    ValueError
        for a row of another length, a text that is no integer, a value outside 0 ... 5 (features:
        0, 1), a matrix without a rating, and matrices that differ in the number of users or items.

    Source: Schnabel and others 2016, Recommendations as Treatments.
    """
    train = _integers(source, root, "train.ascii")
    test = _integers(source, root, "test.ascii")
    if train.shape != test.shape:
        sizes = [" x ".join(map(str, matrix.shape)) for matrix in (train, test)]
        raise ValueError(
            f"{source.name}: train.ascii is {sizes[0]}, test.ascii {sizes[1]}; both "
            "are users x items"
        )
    frames = {}
    for part, matrix in (("train", train), ("test", test)):
        name = f"{source.name}: {part}.ascii"
        check_range(matrix, 0, 5, name=name)
        users, items = matrix.nonzero()
        ratings = {"user_id": users, "item_id": items, "rating": matrix[users, items]}
        frames[part] = pd.DataFrame(ratings)
        check_frame(frames[part], name=name)
    for one, n in zip(("user", "item"), train.shape, strict=True):
        local = f"user_item_features/{one}_features.ascii"
        if (root / local).is_file():
            frames[f"{one}s"] = _features(source, root, local, one, n)
    return frames


def yahoo_r3(source: Source, root: Path) -> dict[str, pd.DataFrame]:
    """``"train"``, ``"test"``: user_id, item_id (a song), rating (1 ... 5), ids as in the files.

    Parameters
    ----------
    root : folder with ``ydata-ymusic-rating-study-v1_0-train.txt`` and ``...-test.txt``, lines of
        user, song and rating.

    Raises
    ------
    SourceError
        for a file that is not there.
    ValueError
        for a line without just three columns, a text that is no integer, a rating outside 1 ... 5,
        a negative id, and a pair of user and song that occurs twice in a file.

    Source: Marlin and Zemel 2009, Collaborative Prediction and Ranking with Non-Random Missing
    Data.
    """
    lowest = {"user_id": 0, "item_id": 0, "rating": 1}
    frames = {}
    for part in ("train", "test"):
        local = f"ydata-ymusic-rating-study-v1_0-{part}.txt"
        name = f"{source.name}: {local}"
        frame = pd.DataFrame(_integers(source, root, local, width=3), columns=list(lowest))
        for column, low in lowest.items():
            high = 5 if column == "rating" else inf
            check_range(frame[column], low, high, name=f"{name}: column {column!r}")
        check_frame(frame, key=["user_id", "item_id"], name=name)
        frames[part] = frame
    return frames


def _features(source, root, local, one, n):
    """The 0/1 attributes of ``n`` users or items."""
    features = _integers(source, root, local)
    name = f"{source.name}: {local}"
    check_range(features, 0, 1, name=name)
    if len(features) != n:
        raise ValueError(
            f"{name} has {len(features)} rows, the matrices of ratings have {n} {one}s"
        )
    frame = pd.DataFrame(features).add_prefix("feature_")
    frame.insert(0, f"{one}_id", np.arange(n))
    return frame


def _integers(source, root, local, width=None):
    """(lines, columns) integers of a file; ``width`` columns, by default as in the first line."""
    name = f"{source.name}: {local}"
    path = root / local
    if not path.is_file():
        raise SourceError(
            f"{name} is not there; `path =` must name the folder of kind "
            f"{source.kind!r} that holds it"
        )
    # A byte that is not ASCII becomes a character that is no digit: it is refused below.
    text = path.read_text(encoding="ascii", errors="replace").rstrip()
    if not text:
        raise ValueError(f"{name} is empty")
    if wrong := list(_NO_INTEGER.finditer(text)):
        line = text.count("\n", 0, wrong[0].start()) + 1
        raise ValueError(
            f"{name}: line {line}: {wrong[0][0]!r} is no integer of 18 digits at "
            f"most ({len(wrong)} such)"
        )
    rows = [line.split() for line in text.split("\n")]
    width = width or len(rows[0])
    if odd := [k for k, row in enumerate(rows) if len(row) != width]:
        raise ValueError(
            f"{name}: line {odd[0] + 1} has {len(rows[odd[0]])} columns where {width} are needed "
            f"({len(odd)} such in {len(rows)} lines)"
        )
    return np.array(rows).astype(np.int64)
