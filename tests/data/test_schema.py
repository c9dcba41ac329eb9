import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_binary, check_frame, check_range
from causal_lib.data import schema

FRAME = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": [1, 1, 1], "c": ["x", "y", "x"]})


def test_what_is_not_asked_for_is_let_through():
    before = FRAME.copy()
    check_frame(FRAME, ["a", "b", "c"])
    pd.testing.assert_frame_equal(FRAME, before)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (FRAME, {"columns": ["q"]}, "frame: no column 'q'; columns there: a, b, c"),
        (FRAME, {"columns": ["a"], "complete": True}, "'a' has 1 missing value; impute"),
        (FRAME, {"columns": ["b"], "varying": True}, r"'b' is constant \(1 in 3 rows\)"),
        (FRAME, {"key": ["b", "c"], "name": "log"}, r"log: 1 row repeat the key \(b, c\)"),
        (
            FRAME.assign(a=np.nan),
            {"columns": ["a"], "varying": True},
            r"'a' holds only missing values \(3 rows\)",
        ),
        (FRAME.assign(a=[np.inf, -np.inf, 0]), {"columns": ["a"]}, "'a' has 2 infinite values"),
        (FRAME.iloc[:0], {}, "frame: has no rows"),
        (FRAME[["a", "a"]], {"columns": ["a"]}, "column 'a' stands 2 times"),
    ],
)
def test_each_check_names_the_culprit(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        check_frame(frame, **arguments)


def test_ranges_are_closed_unless_said_otherwise():
    check_range([0, 1, np.nan], 0, 1, name="share")
    with pytest.raises(ValueError, match=r"share: 1 value outside \(0, 1\], first 0"):
        check_range([0, 1], 0, 1, name="share", open_low=True)
    with pytest.raises(ValueError, match=r"share: 2 values outside \[0, 1\], first -1"):
        check_range([-1, 0.5, 2], 0, 1, name="share")


@pytest.mark.parametrize(
    "values", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], pd.array([0, 1, 1], dtype="Int8")]
)
def test_binary_values_come_back_as_small_integers(values):
    found = check_binary(values, name="t")
    assert found.dtype == np.int8
    assert found.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 2], r"t: must be 0 or 1 in every row; found 3 levels \(0, 1, 2\) and 0 missing"),
        ([0, 1, np.nan], "and 1 missing"),
        (["a", "b"], "found 2 levels"),
        ([1, 1], "t: only the value 1 occurs in 2 rows"),
    ],
)
def test_other_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check_binary(values, name="t")


def test_every_attribute_has_a_role():
    assert set(schema.ATTRIBUTES) <= set(schema.ROLES)


def test_what_is_asked_for_one_at_a_time():
    """Missing values are no concern of a varying column, nor is constancy of a complete one; keys
    may be the columns asked for.
    """
    check_frame(FRAME, ["a"], varying=True)
    check_frame(FRAME, ["b"], complete=True)
    check_frame(FRAME, key=["a", "c"])
    check_frame(FRAME.assign(a=[1.0, np.nan, np.nan]), ["c"], key=["b", "a", "c"])
    with pytest.raises(ValueError, match="'a' is constant"):
        check_frame(FRAME.assign(a=[1.0, 1.0, np.nan]), ["a"], varying=True)
    with pytest.raises(ValueError, match="log: 2 rows repeat the key"):
        check_frame(FRAME, key=["b"], name="log")
    with pytest.raises(ValueError, match="no column 'k'"):
        check_frame(FRAME, ["a"], key=["k"])
    with pytest.raises(ValueError, match="'a' holds only missing values"):
        check_frame(FRAME.assign(a=np.nan), ["a"], complete=True)
    check_frame(FRAME.assign(a=np.nan), ["a"])
    check_range([0.5, 1.0], 0, 1, name="share", open_low=True)
    with pytest.raises(ValueError, match=r"share: 1 value outside \(0, 1\], first 1.5"):
        check_range([1.5, 1.0], 0, 1, name="share", open_low=True)
    assert check_binary(np.array([True, False]), name="t").tolist() == [1, 0]
