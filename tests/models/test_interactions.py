"""Codes and splits of interactions."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.models.interactions import Interactions, clicks_of, hold_out
from causal_lib.worlds import shop

FRAME = pd.DataFrame(
    {"user_id": [5, 5, 2, 9], "item_id": ["b", "a", "b", "c"], "rating": [4, 2, 5, 1]}
)


def test_codes_stand_for_ids():
    one = Interactions.of(FRAME)
    assert one.shape == (3, 3)
    assert one.user_ids[one.users].tolist() == [5, 5, 2, 9]
    assert one.item_ids[one.items].tolist() == ["b", "a", "b", "c"]
    assert one.matrix().toarray().tolist() == [[0, 5, 0], [2, 4, 0], [0, 0, 1]]
    liked = one.at_least(4)
    assert liked.matrix().toarray().tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert Interactions.of(FRAME, value=None).value.tolist() == [1, 1, 1, 1]
    test = Interactions.of(FRAME[1:2], user_ids=one.user_ids, item_ids=one.item_ids)
    assert (test.users.tolist(), test.items.tolist()) == ([1], [0])
    assert "4 values of 3 users and 3 items (44.44% of all pairs)" in repr(one)


@pytest.mark.parametrize(
    ("frame", "how", "message"),
    [
        (FRAME.drop(columns="rating"), {}, "rating"),
        (FRAME.assign(rating=[1, 2, np.nan, 4]), {}, "rating"),
        (FRAME.assign(user_id=5, item_id="a"), {}, "ratings: 3 rows repeat a pair"),
        (
            FRAME,
            {"user_ids": [5, 2]},
            "ratings: 1 rows are of 1 values of user_id that do not occur in training, first 9",
        ),
        (FRAME, {"item_ids": ["a", "b", "b", "c"]}, "item_ids: 1 are given twice"),
        (
            FRAME.assign(rating=["4", "good", "5", "bad"]),
            {},
            "ratings: column 'rating' has 2 values that are no numbers, first 'good'; replace "
            "them, or drop the rows",
        ),
    ],
)
def test_bad_frames(frame, how, message):
    with pytest.raises(ValueError, match=message):
        Interactions.of(frame, **how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"value": np.array([1, np.nan, np.inf])},
            "value: 2 of 3 are missing or infinite; leave those pairs out",
        ),
        (
            {"value": np.ones(2)},
            r"users, items and value have shapes \(3,\), \(3,\), \(2,\); one of each a pair",
        ),
        (
            {"users": np.array([0, 1, 2])},
            "users: 1 codes are of no user; there are 2, coded from 0; first 2",
        ),
        (
            {"items": np.array([0, -1, 0])},
            "items: 1 codes are of no item; there are 2, coded from 0; first -1",
        ),
        ({"items": np.array([0.0, 1, 0])}, "items: codes are whole numbers, not float64"),
    ],
)
def test_bad_pairs_made_by_hand(change, message):
    given = {
        "users": np.array([0, 0, 1]),
        "items": np.array([0, 1, 0]),
        "value": np.ones(3),
    } | change
    with pytest.raises(ValueError, match=message):
        Interactions(**given, user_ids=pd.RangeIndex(2), item_ids=pd.RangeIndex(2))


def test_values_are_a_copy_that_torch_may_write_to():
    frame = FRAME.astype({"rating": float})
    one = Interactions.of(frame)
    assert one.value.flags.writeable
    assert not np.shares_memory(one.value, frame["rating"].to_numpy())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.1, 0.2, 0.5, 0.9]),
    st.sampled_from(["timestamp", None]),
)
def test_the_last_share_of_each_user_is_held_out(seed, share, by):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"user_id": rng.integers(6, size=40), "timestamp": rng.integers(15, size=40)}
    )
    frame["row"] = range(40)
    if (frame["user_id"].value_counts() * share < 1).all():
        return
    train, rest = hold_out(frame, share, by=by, seed=seed)
    assert sorted([*train["row"], *rest["row"]]) == list(range(40))
    for user, part in frame.groupby("user_id"):
        first, last = (one[one["user_id"] == user] for one in (train, rest))
        assert len(last) == int(np.floor(share * len(part)))
        if by and len(last):
            ordered = part.sort_values("timestamp", kind="stable")["row"].tolist()
            assert sorted(last["row"]) == sorted(ordered[len(first) :])


def test_bad_splits():
    with pytest.raises(ValueError, match="share: a number of at least 0 is needed"):
        hold_out(FRAME, "0.2")
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), not 1"):
        hold_out(FRAME, 1, by=None)
    with pytest.raises(ValueError, match="none of 3 users has the rows to hold out 20%"):
        hold_out(FRAME, by=None)
    with pytest.raises(ValueError, match="timestamp"):
        hold_out(FRAME)


def test_pairs_of_clicks_are_counted_once_where_they_were_first():
    world = shop(n_users=150, n_items=40, days=30, seed=3)
    train, validation, test, shares = clicks_of(world)
    keys = [
        set(zip(one.users.tolist(), one.items.tolist(), strict=True))
        for one in (train, validation, test)
    ]
    assert not keys[0] & keys[1]
    assert not (keys[0] | keys[1]) & keys[2]
    clicks = world.candidates[world.candidates["clicked"] == 1]
    assert set.union(*keys) == set(zip(clicks["user_id"], clicks["item_id"], strict=True))
    assert keys[0] == set(
        clicks.loc[clicks["day"] < 21, ["user_id", "item_id"]].itertuples(index=False, name=None)
    )
    assert [len(one) for one in shares] == [len(validation), len(test)]
    for k in range(5):
        own = clicks[(clicks["user_id"] == test.users[k]) & (clicks["item_id"] == test.items[k])]
        chance = own["propensity"] * own["position"].astype(float) ** -0.7
        assert shares[1][k] == pytest.approx(1 / (1 / chance).sum())


def test_the_default_is_the_last_fifth_by_time():
    """Ten rows of one user, eleven of another, four of a third, who has none to spare; equal times
    keep their order.
    """
    frame = pd.DataFrame({"user_id": [1] * 10 + [2] * 11 + [3] * 4, "timestamp": 0})
    frame.loc[[3, 7], "timestamp"] = 5
    frame.loc[20, "timestamp"] = -1
    train, last = hold_out(frame)
    assert last.index.tolist() == [3, 7, 18, 19]
    assert train.index.tolist() == [k for k in range(25) if k not in (3, 7, 18, 19)]
    drawn = [hold_out(frame, 0.5, by=None, seed=seed)[1].index.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert hold_out(frame, 0.5, by=None)[1].index.tolist() == drawn[0]
    assert [
        sum(k < 10 for k in drawn[0]),
        sum(10 <= k < 21 for k in drawn[0]),
        sum(k > 20 for k in drawn[0]),
    ] == [
        5,
        5,
        2,
    ]


def test_values_at_the_limit_are_kept():
    one = Interactions.of(FRAME).at_least(2)
    assert one.matrix().toarray().tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert one.shape == (3, 3)
    assert (
        repr(Interactions.of(FRAME, user_ids=[2, 5, 9, 11])) == "4 values of 4 users and 3 items "
        "(33.33% of all pairs)"
    )
    named = Interactions.of(
        FRAME.rename(columns={"rating": "stars"}), value="stars", name="stars of shops"
    )
    assert named.value.tolist() == [4, 2, 5, 1]


def test_what_is_held_out_is_last_in_time():
    """By days of every kind: text is read as a time, or refused with the column's name."""
    days = np.array([2, 9, 10, 11, 100] * 3)
    users = np.repeat([1, 2, 3], 5)
    stamps = pd.Series(pd.Timestamp("2024-03-01") + pd.to_timedelta(days, unit="D"))
    for column in (days, days.astype(object), stamps, stamps.dt.date, stamps.dt.strftime("%F")):
        _, last = hold_out(pd.DataFrame({"user_id": users, "timestamp": column}))
        assert last.index.tolist() == [4, 9, 14]
    for column in (days.astype(str), stamps.dt.strftime("%-m/%-d/%Y")):
        with pytest.raises(ValueError, match="column 'timestamp' "):
            hold_out(pd.DataFrame({"user_id": users, "timestamp": column}))
    with pytest.raises(ValueError, match="column 'user_id' mixes ids"):
        hold_out(pd.DataFrame({"user_id": [1, "1"] * 5, "timestamp": range(10)}))


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_ids_are_of_one_type(column):
    frame = pd.DataFrame({"user_id": [1, 2, 3], "item_id": [4, 5, 6], "rating": 1.0})
    mixed = frame.assign(**{column: pd.Series([1, "1", 2], dtype=object)})
    with pytest.raises(ValueError, match=f"column '{column}' mixes ids of types"):
        Interactions.of(mixed)
    known = Interactions.of(frame)
    test = frame.astype({column: str})
    with pytest.raises(ValueError, match=f"{column} holds ids of type text, first '.', and train"):
        Interactions.of(test, user_ids=known.user_ids, item_ids=known.item_ids)


@pytest.mark.parametrize(
    "convert",
    [
        lambda v: v.astype("Int64"),
        lambda v: v.astype("int64[pyarrow]"),
        lambda v: v.astype("category"),
        lambda v: v.map(Decimal),
        lambda v: v.astype(str),
        lambda v: v.astype(str).astype("category"),
        lambda v: v.astype(pd.SparseDtype(int)),
        lambda v: v.astype(object),
    ],
)
def test_a_value_is_a_number_in_any_dtype(convert):
    frame = pd.DataFrame({"user_id": range(3), "item_id": range(3), "rating": [10, 9, 3]})
    found = Interactions.of(frame.assign(rating=convert(frame["rating"])))
    assert found.value.tolist() == [10, 9, 3]
    assert found.value.dtype == float
    assert found.value.flags.writeable


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("rating", pd.Timestamp("2024-03-01"), "'rating' must hold numbers, not datetime64"),
        ("rating", [1j, 2, 3], "'rating' holds complex numbers"),
        ("rating", [1e300, 2, 3], "'rating' has values up to 1e.300; divide it by its scale"),
        ("item_id", [[1], [2], [3]], "'item_id' holds list values"),
    ],
)
def test_what_is_no_value_and_no_id_is_named(column, values, message):
    frame = pd.DataFrame({"user_id": range(3), "item_id": range(3), "rating": 1.0})
    with pytest.raises(ValueError, match=message):
        Interactions.of(frame.assign(**{column: values}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"users": np.array([0, 0]), "items": np.array([1, 1])},
            "1 rows repeat a pair of user and",
        ),
        ({"value": np.array([1, 2], dtype=object)}, "value: numbers are needed, not object"),
        ({"value": np.array(["1", "2"])}, "value: numbers are needed, not <U1"),
    ],
)
def test_pairs_by_hand_are_checked_as_those_of_a_frame(change, message):
    """A repeated pair would count as the sum of its values."""
    given = {"users": np.array([0, 1]), "items": np.array([0, 1]), "value": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        Interactions(**given | change, user_ids=pd.RangeIndex(2), item_ids=pd.RangeIndex(2))
