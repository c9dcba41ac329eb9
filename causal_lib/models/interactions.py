"""Pairs of users and items that recommenders learn from, and their splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from causal_lib.checks import check_codes, check_frame, check_ids, check_number
from causal_lib.columns import as_times, number_of, without_categories
from causal_lib.worlds.online_shop import ATTENTION, Shop


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Pairs of a user and an item, each once, with a value: a rating, or 1.

    Attributes
    ----------
    users, items : (n,) codes from 0; value : (n,) floats.
    user_ids, item_ids : all ids, in the order of the codes, also those without a pair.

    Raises ValueError for arrays of different lengths, codes without an id, a pair that occurs
    twice, and values that are no numbers, missing or infinite.
    """

    users: np.ndarray
    items: np.ndarray
    value: np.ndarray
    user_ids: pd.Index
    item_ids: pd.Index

    def __post_init__(self):
        shapes = [np.shape(part) for part in (self.users, self.items, self.value)]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1:
            raise ValueError(
                f"users, items and value have shapes {', '.join(map(str, shapes))}; one of each a "
                "pair is needed"
            )
        check_codes(self.users, self.shape[0], name="users", of="user")
        check_codes(self.items, self.shape[1], name="items", of="item")
        pairs = np.asarray(self.users, dtype=np.int64) * self.shape[1] + self.items
        if twice := len(pairs) - len(np.unique(pairs)):
            raise ValueError(
                f"users and items: {twice} rows repeat a pair of user and item; keep one for each"
            )
        if np.asarray(self.value).dtype.kind not in "biuf":
            raise ValueError(f"value: numbers are needed, not {np.asarray(self.value).dtype}")
        if bad := int((~np.isfinite(self.value)).sum()):
            raise ValueError(
                f"value: {bad} of {len(self)} are missing or infinite; leave those pairs out"
            )

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        *,
        value: str | None = "rating",
        user_ids: Sequence | None = None,
        item_ids: Sequence | None = None,
        name: str = "ratings",
    ) -> "Interactions":
        """From rows with user_id, item_id and ``value`` (None: every pair has 1).

        Parameters
        ----------
        user_ids, item_ids : all ids that may occur; by default those of ``frame``, sorted. Give the
            test rows those of the training rows.

        Raises
        ------
        ValueError
            for missing columns or values, values that are no numbers, a pair that occurs twice, ids
            of mixed types, and ids that are not among those given: a model cannot rank what it was
            not trained on.

        >>> frame = pd.DataFrame({"user_id": [7, 7], "item_id": ["a", "b"], "rating": [5, 3]})
        >>> Interactions.of(frame)
        2 values of 1 users and 2 items (100.00% of all pairs)
        """
        check_frame(frame, ["user_id", "item_id", *filter(None, [value])], complete=True, name=name)
        kinds = {column: check_ids(frame[column], name=name) for column in ("user_id", "item_id")}
        if twice := int(frame.duplicated(["user_id", "item_id"]).sum()):
            raise ValueError(
                f"{name}: {twice} rows repeat a pair of user and item; keep one row for each"
            )
        codes = []
        known = []
        for column, ids in (("user_id", user_ids), ("item_id", item_ids)):
            index = pd.Index(np.sort(frame[column].unique()) if ids is None else ids)
            if not index.is_unique:
                raise ValueError(f"{column}s: {int(index.duplicated().sum())} are given twice")
            code = index.get_indexer(frame[column])
            if (code < 0).any():
                strange = frame[column][code < 0]
                of_index = check_ids(index.to_series(name=column), name=f"{column}s")
                if of_index != kinds[column]:
                    raise ValueError(
                        f"{name}: {column} holds ids of type {kinds[column]}, first "
                        f"{strange.iloc[0]!r}, and training ids of type {of_index}, first "
                        f"{index[:1].tolist()[0]!r}; convert one of them by astype"
                    )
                raise ValueError(
                    f"{name}: {len(strange)} rows are of {strange.nunique()} values of {column} "
                    f"that do not occur in training, first {strange.iloc[0]}; "
                    "leave them out, or train with them"
                )
            codes.append(code)
            known.append(index)
        return cls(
            *codes, np.ones(len(frame)) if value is None else _numbers(frame[value], name), *known
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.user_ids), len(self.item_ids)

    def __len__(self):
        return len(self.value)

    def at_least(self, value: float) -> "Interactions":
        """The pairs with ``value`` or more, as 1: ratings turned into implicit feedback."""
        rows = self.value >= value
        return Interactions(
            self.users[rows],
            self.items[rows],
            np.ones(int(rows.sum())),
            self.user_ids,
            self.item_ids,
        )

    def matrix(self) -> sparse.csr_array:
        """(users, items) with the values."""
        return sparse.csr_array((self.value, (self.users, self.items)), shape=self.shape)

    def __repr__(self):
        share = len(self) / max(1, self.shape[0] * self.shape[1])
        return (
            f"{len(self):,} values of {self.shape[0]:,} users and {self.shape[1]:,} items "
            f"({share:.2%} of all pairs)"
        )


def _numbers(column, name):
    """A column as floats of an own array: pandas' may be read-only, which torch does not like.

    Text of digits is read here, unlike in a covariate: a value cannot be a label.
    """
    column = without_categories(column)
    if not any(isinstance(value, str) for value in column):
        return np.array(number_of(column.to_frame(), column.name, name=name))
    read = pd.to_numeric(column, errors="coerce")
    if read.isna().any():
        strange = column[read.isna().to_numpy()]
        raise ValueError(
            f"{name}: column {column.name!r} has {len(strange)} values that are no numbers, "
            f"first {strange.iloc[0]!r}; replace them, or drop the rows"
        )
    return read.to_numpy(dtype=float, copy=True)


def hold_out(
    frame: pd.DataFrame, share: float = 0.2, *, by: str | None = "timestamp", seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, and the last ``share`` of each user's rows, rounded down, as held-out rows.

    ``by`` is the column that orders the rows; None holds out at random. A user with few rows may
    have none among the held-out rows, but always has one in training. Equal times keep their order.

    Raises ValueError for a share outside (0, 1), text that is no time (ISO 8601 is one), user ids
    of mixed types, and where no user has enough rows.
    """
    if not 0 < check_number(share, name="share") < 1:
        raise ValueError(f"share must lie in (0, 1), not {share}")
    check_frame(frame, ["user_id", *filter(None, [by])], complete=True, name="frame")
    check_ids(frame["user_id"])
    key = np.random.default_rng(seed).random(len(frame)) if by is None else as_times(frame[by])
    position = np.lexsort((np.arange(len(frame)), key, pd.factorize(frame["user_id"])[0]))
    place = np.empty(len(frame), dtype=int)
    place[position] = np.arange(len(frame))
    rank = (
        pd.Series(place, frame.index)
        .groupby(frame["user_id"].to_numpy())
        .rank(method="first")
        .to_numpy()
    )
    size = frame.groupby("user_id")["user_id"].transform("size").to_numpy()
    last = rank > size - np.floor(share * size)
    if not last.any():
        raise ValueError(
            f"frame: none of {frame['user_id'].nunique()} users has the rows to hold "
            f"out {share:.0%} of"
        )
    return frame[~last], frame[last]


def clicks_of(world: Shop) -> tuple[Interactions, Interactions, Interactions, list[np.ndarray]]:
    """Clicked pairs of the first 70% of the days, the next 10% and the last 20%.

    Each pair is there once, where it was clicked first. The list holds, for the second and third
    part, the chance of each pair to be seen and looked at: one over the sum, over its clicks, of
    1 / (propensity times attention).
    """
    clicks = world.candidates[world.candidates["clicked"] == 1]
    days = world.candidates["day"].max() + 1
    part = np.searchsorted([0.7 * days, 0.8 * days], clicks["day"].to_numpy(), side="right")
    weight = 1 / (clicks["propensity"] * clicks["position"].astype(float) ** ATTENTION)
    clicks = clicks.assign(part=part, weight=weight)
    first = clicks.groupby(["user_id", "item_id"])["part"].transform("min")
    pairs = (
        clicks[clicks["part"] == first]
        .groupby(["user_id", "item_id"], as_index=False)
        .agg({"part": "first", "weight": "sum"})
    )
    ids = {"user_ids": world.users["user_id"], "item_ids": world.items["item_id"]}
    found = [Interactions.of(pairs[pairs["part"] == k], value=None, **ids) for k in range(3)]
    return *found, [1 / pairs.loc[pairs["part"] == k, "weight"].to_numpy() for k in (1, 2)]
