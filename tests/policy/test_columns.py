"""Columns of logs as numbers and codes of actions, tables by label; and the errors that say how."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.policy.columns import (
    by_label,
    check_labels,
    groups_of,
    listed,
    propensities,
    read_actions,
)


def test_percentages_are_told():
    with pytest.raises(
        ValueError,
        match=r"'p': 2 values outside \(0, 1\], first 25; if these are percentages, divide them by",
    ):
        propensities(pd.DataFrame({"p": [25.0, 50.0, 0.5]}), "p")
    with pytest.raises(ValueError, match=r"1 value outside \(0, 1\], first 101$"):
        propensities(pd.DataFrame({"p": [101.0, 0.5]}), "p")
    with pytest.raises(ValueError, match=r"1 value outside \(0, 1\], first 0$"):
        propensities(pd.DataFrame({"p": [0.0, 0.5]}), "p")


@pytest.mark.parametrize(
    "kind",
    ["float64", "Int64", "int64[pyarrow]", "category", object, "str", "string[pyarrow]"],
)
def test_actions_that_are_whole_numbers_are_places(kind):
    column = pd.Series([0, 2, 1]).astype(kind)
    codes, labels = read_actions(column, 4)
    assert codes.tolist() == [0, 2, 1]
    assert labels.tolist() == [0, 1, 2, 3]
    assert read_actions(column)[1].tolist() == [0, 1, 2]


def test_actions_in_words_count_through_their_levels():
    column = pd.Series(["pear", "fig", "pear"], name="item")
    codes, labels = read_actions(column, 2)
    assert (codes.tolist(), labels.tolist()) == ([1, 0, 1], ["fig", "pear"])
    kinds = ["pear", "plum", "fig"]
    codes, labels = read_actions(pd.Series(pd.Categorical(column, categories=kinds)))
    assert (codes.tolist(), labels.tolist()) == ([0, 2, 0], kinds)
    codes, labels = read_actions(pd.Series([True, True]))
    assert (codes.tolist(), labels.tolist()) == ([1, 1], [False, True])
    days = pd.Series(pd.to_datetime(["2024-01-02", "2024-01-01"]))
    assert read_actions(days)[0].tolist() == [1, 0]


def test_labels_are_matched_whatever_their_type_of_number():
    for labels in ([2, 0, 1], [2.0, 0.0, 1.0], pd.Index([2, 0, 1]), pd.Series([2, 0, 1])):
        for kind in ("int64", "float64", "Int64", "category", object):
            codes, found = read_actions(pd.Series([0, 2, 1, 1]).astype(kind), 3, labels)
            assert codes.tolist() == [1, 0, 2, 2]
            assert found.tolist() == [2, 0, 1]
    assert read_actions(pd.Series([True, False]), 2, [0, 1])[0].tolist() == [1, 0]
    assert read_actions(pd.Series([0.5, 1.5]), 2, [1.5, 0.5])[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("column", "k", "labels", "message"),
    [
        (
            [0.5, 2, 1.9],
            None,
            None,
            r"'item': 2 values are no whole numbers, first 0\.5; code .* or",
        ),
        ([0, 2], 2, None, r"'item': 1 value outside \[0, 1\], first 2; .* else give actions="),
        ([0, -1], None, None, r"'item': 1 value outside \[0, inf\], first -1"),
        (
            ["a", "b"],
            3,
            None,
            "'item' holds 2 levels, 'a', 'b'; the policy has 3 columns: give act",
        ),
        ([True, False], 3, None, "'item' holds 2 levels, False, True; the policy has 3 columns"),
        (pd.Series([1, "a"], dtype=object), None, None, "'item' mixes int and str; give the act"),
        ([0, 7, 8], 2, [0, 1], "'item': 2 values are not among the labels 0, 1, first 7; give all"),
        (["0"], 2, [0, 1], "'item': 1 values are not among the labels 0, 1, first '0'; give all"),
        ([0], 3, [0, 1], "actions has 2 labels; the policy has 3 columns"),
    ],
)
def test_bad_actions(column, k, labels, message):
    with pytest.raises(ValueError, match=message):
        read_actions(pd.Series(column, name="item"), k, labels)


def test_bad_labels():
    for labels, message in (
        ("ab", "actions must be a list of labels, not the text 'ab'"),
        (["a", "a"], "actions: label 'a' stands twice"),
        (["a", None], "actions: 1 labels are missing"),
    ):
        with pytest.raises(ValueError, match=message):
            check_labels(labels)


def test_tables_by_label():
    index = pd.Index([7, 7, 3])
    table = pd.DataFrame([[0.1, 0.9]] * 3, index=index, columns=["b", "a"])
    found, labels = by_label(table, pd.Index(["a", "b"]), index, "policy")
    assert found.tolist() == [[0.9, 0.1]] * 3
    assert labels.tolist() == ["a", "b"]
    assert by_label(table, None, index, "policy")[1].tolist() == ["b", "a"]
    found, _ = by_label(pd.Series({"b": 0.1, "a": 0.9}), pd.Index(["a", "b"]), index, "policy")
    assert found.tolist() == [0.9, 0.1]
    plain = np.ones((3, 2))
    assert by_label(plain, pd.Index(["a", "b"]), index, "policy") == (plain, None)
    one = table.head(1).reset_index(drop=True)
    assert by_label(one, pd.Index(["a", "b"]), index, "policy")[0].tolist() == [[0.9, 0.1]]
    nullable = table.astype("Float64").mask(table > 0.5)
    assert np.isnan(by_label(nullable, None, index, "policy")[0]).sum() == 3


def test_tables_that_do_not_match_are_refused():
    index = pd.RangeIndex(3)
    table = pd.DataFrame([[0.1, 0.9]] * 3, columns=["b", "a"])
    for given, labels, message in (
        (
            table.iloc[::-1],
            None,
            "policy: its rows have another index than those of the logs; give",
        ),
        (table, ["a", "c"], "policy: its labels are 'b', 'a', those .* 'a', 'c'; .* differ in 'c'"),
        (table, ["a"], "those of the actions 'a'; they differ in 'b'"),
        (table.set_axis(["a", "a"], axis=1), None, "policy: label 'a' stands twice"),
    ):
        with pytest.raises(ValueError, match=message):
            by_label(given, None if labels is None else pd.Index(labels), index, "policy")


def test_embeddings_by_label():
    labels = pd.Index(["a", "b"])
    assert groups_of({"b": 1, "a": 0, "c": 2}, labels) == [0, 1]
    assert groups_of(pd.Series({"b": 1, "a": 0}), labels) == [0, 1]
    assert groups_of([5, 6], labels) == [5, 6]
    with pytest.raises(ValueError, match="embedding: no entry for actions 'b'"):
        groups_of({"a": 1}, labels)


def test_labels_in_words():
    assert listed(["a", 1, 2.0]) == "'a', 1, 2.0"
    assert listed(list(range(9)), most=2) == "0, 1, ... (9)"


def test_a_mapping_is_a_table_by_label():
    found, labels = by_label({"b": 0.1, "a": 0.9}, None, pd.RangeIndex(3), "policy")
    assert found.tolist() == [0.1, 0.9]
    assert labels.tolist() == ["b", "a"]
