"""Readers of two data sets of ratings that come with a random test: Coat and Yahoo! R3, from files that a user has obtained.

In both, users chose what they rated for the training set (missing not at random), and rated items drawn uniformly at random for
the test set, so the test tells what a model trained on the choices is worth. Called by `causal_lib.data.sources.load`.
"""

import re
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib.checks import check_frame, check_range
from causal_lib.data.packages import Source, SourceError

_COLUMNS = ["user_id", "item_id", "rating"]
_NO_INTEGER = re.compile(r"(?<!\S)(?!-?[0-9]{1,18}(?!\S))\S+")


def coat(source: Source, root: Path) -> dict[str, pd.DataFrame]:
    """``"train"``, ``"test"``: user_id, item_id, rating (1 ... 5); ``"users"``, ``"items"``: id and feature_0 ... (0 or 1).

    Ids are the numbers of rows and columns of the matrices, from 0. A frame of attributes is there where its file is. An item
    may stand in both train and test of a user: nothing is checked across the two.

    Parameters
    ----------
    root : folder with ``train.ascii`` and ``test.ascii``, a row a user, a column an item, 0 where there is no rating; optional
        ``user_item_features/user_features.ascii`` and ``item_features.ascii``, a row a user or item.

    Raises
    ------
    SourceError
        for a matrix of ratings that is not there.
    ValueError
        for a row of another length, a text that is no integer, a value outside 0 ... 5 (features: 0, 1), a matrix without a
        rating, and matrices that do not agree in the number of users or items.

    Source: Schnabel and others 2016, Recommendations as Treatments.
    """
    ratings = {part: _integers(source, root, f"{part}.ascii") for part in ("train", "test")}
    frames = {}
    for part, matrix in ratings.items():
        name = f"{source.name}: {part}.ascii"
        check_range(matrix, 0, 5, name=name)
        if matrix.shape != ratings["train"].shape:
            shapes = [" x ".join(map(str, m.shape)) for m in ratings.values()]
            raise ValueError(
                f"{source.name}: train.ascii is {shapes[0]}, test.ascii {shapes[1]}; both are users x items"
            )
        users, items = matrix.nonzero()
        frames[part] = pd.DataFrame({"user_id": users, "item_id": items, "rating": matrix[users, items]})
        check_frame(frames[part], name=name)
    for axis, one in enumerate(("user", "item")):
        local = f"user_item_features/{one}_features.ascii"
        if not (root / local).is_file():
            continue
        features, n = _integers(source, root, local), ratings["train"].shape[axis]
        check_range(features, 0, 1, name=f"{source.name}: {local}")
        if len(features) != n:
            raise ValueError(
                f"{source.name}: {local} has {len(features)} rows, the matrices of ratings have {n} {one}s"
            )
        frame = pd.DataFrame(features, columns=[f"feature_{k}" for k in range(features.shape[1])])
        frame.insert(0, f"{one}_id", np.arange(n))
        frames[f"{one}s"] = frame
    return frames


def yahoo_r3(source: Source, root: Path) -> dict[str, pd.DataFrame]:
    """``"train"``, ``"test"``: user_id, item_id (a song), rating (1 ... 5), the ids as in the files.

    Parameters
    ----------
    root : folder with ``ydata-ymusic-rating-study-v1_0-train.txt`` and ``...-test.txt``, lines of user, song and rating.

    Raises
    ------
    SourceError
        for a file that is not there.
    ValueError
        for a line without just three columns, a text that is no integer, a rating outside 1 ... 5, a negative id, and a user and
        a song that stand twice in a file.

    Source: Marlin and Zemel 2009, Collaborative Prediction and Ranking with Non-Random Missing Data.
    """
    frames = {}
    for part in ("train", "test"):
        local = f"ydata-ymusic-rating-study-v1_0-{part}.txt"
        frame = pd.DataFrame(_integers(source, root, local, width=3), columns=_COLUMNS)
        name = f"{source.name}: {local}"
        for column, low, high in zip(_COLUMNS, (0, 0, 1), (inf, inf, 5), strict=True):
            check_range(frame[column], low, high, name=f"{name}: column {column!r}")
        check_frame(frame, key=_COLUMNS[:2], name=name)
        frames[part] = frame
    return frames


def _integers(source, root, local, width=None):
    """(lines, columns) integers of a file of blanks and digits; ``width`` columns, by default those of the first line."""
    name, path = f"{source.name}: {local}", root / local
    if not path.is_file():
        raise SourceError(f"{name} is not there; `path =` must name the folder of kind {source.kind!r} that holds it")
    # A byte that is not ASCII becomes a character that is no digit, so it is refused below, where its line can be told.
    text = path.read_text(encoding="ascii", errors="replace").rstrip()
    if not text:
        raise ValueError(f"{name} is empty")
    if strange := list(_NO_INTEGER.finditer(text)):
        line = text.count("\n", 0, strange[0].start()) + 1
        raise ValueError(
            f"{name}: line {line}: {strange[0][0]!r} is no integer of 18 digits at most ({len(strange)} such)"
        )
    rows = [line.split() for line in text.split("\n")]
    width = width or len(rows[0])
    if odd := [k for k, row in enumerate(rows) if len(row) != width]:
        raise ValueError(
            f"{name}: line {odd[0] + 1} has {len(rows[odd[0]])} columns where {width} are needed ({len(odd)} such in {len(rows)} lines)"
        )
    return np.array(rows).astype(np.int64)
