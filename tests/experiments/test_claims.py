"""Claims by hand: what a target asks, intervals, the JSON of a report; rows and their means."""

import json

import numpy as np
import pytest

from causal_lib.experiments.claims import (
    Claim,
    Measurements,
    is_target,
    meets,
    prediction,
    report,
)


@pytest.mark.parametrize(
    ("target", "held"),
    [
        ("at most 0.25", [True, True, False]),
        ("below 0.25", [True, False, False]),
        ("at least 0.25", [False, True, True]),
        ("above 0.25", [False, False, True]),
        ("above -1e-3", [True, True, True]),
        ("at most 2.5e-1", [True, True, False]),
    ],
)
def test_targets_compare_with_their_number(target, held):
    assert is_target(target)
    assert [meets(value, target) for value in (0.2, 0.25, 0.3)] == held


@pytest.mark.parametrize(
    "text", ["about 3", "above zero", "above", "at most 1 or 2", "3", "at  most 3"]
)
def test_what_is_no_target_is_refused(text):
    assert not is_target(text)
    with pytest.raises(ValueError, match="no comparison like 'above 0'"):
        meets(1.0, text)


@pytest.mark.parametrize(
    ("values", "target", "statistic", "value", "held"),
    [
        ([0.2, 0.25, 9.0], "at most 0.25", "median", 0.25, True),
        ([0.2, 0.26, 9.0], "at most 0.25", "median", 0.26, False),
        ([120, 80, 100], "at least 100", "median", 100.0, True),
        ([1.0, -1.0], "at most 0", "mean", 0.0, True),
        ([1.0, -1.0], "below 0", "mean", 0.0, False),
        ([1.0, -1.0], "above 0", "mean", 0.0, False),
        ([-3], "below 0", "mean", -3.0, True),
        ([0.1, 0.3], "above 0.5", "mean", 0.2, False),
    ],
)
def test_a_claim_is_held_by_its_numbers_alone(values, target, statistic, value, held):
    found = Claim.of("it", values, target, statistic=statistic).to_json()
    assert found["value"] == pytest.approx(value)
    assert found["held"] is held
    assert found["pairs"] == len(values)
    assert ("interval" in found) == (statistic == "mean" and len(values) > 1)
    low, high = found.get("interval") or found["range"]
    assert low <= found["value"] <= high
    json.dumps(found, allow_nan=False)


def test_a_claim_without_values_names_itself():
    with pytest.raises(ValueError, match="claim 'gain': there is no value to decide it"):
        Claim.of("gain", [], "above 0")


def test_a_mean_has_the_t_interval():
    low, high = Claim.of("it", [1, 2, 3], "at most 2").interval  # 2 ± 4.3027 / √3
    assert (low, high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_a_report_has_its_claims_first_and_as_they_were_always_written():
    told = report([Claim.of("time", [0.5, 0.1, 0.2], "at most 0.25", statistic="median")], rows=[1])
    assert json.dumps(told) == (
        '{"claims": [{"claim": "time", "statistic": "median", "value": 0.2, "range": [0.1, 0.5], '
        '"pairs": 3, '
        '"target": "at most 0.25", "held": true}], "rows": [1]}'
    )


def test_measurements_by_hand():
    rows = Measurements("table")
    for number, (a, b) in enumerate([(3, 1.0), (5, 1.25)]):
        rows.add("s", number, "a", shd=a, f1=0.123456)
        rows.add("s", number, "b", shd=b, f1=float("nan"))
    rows.add("other", 0, "a", shd=9, f1=0.5)
    np.testing.assert_array_equal(rows.of("s", "a", "shd"), [3, 5])
    np.testing.assert_array_equal(rows.difference("s", "shd", "a", "b"), [2, 3.75])
    means, table = rows.tables(4, "list")
    assert means == [
        {"setting": "s", "method": "a", "shd": 4.0, "f1": 0.1235},
        {"setting": "s", "method": "b", "shd": 1.125, "f1": None},
        {"setting": "other", "method": "a", "shd": 9.0, "f1": 0.5},
    ]
    assert table["table"] == [0, 0, 1, 1, 0]
    assert table["f1"] == [0.1235, None, 0.1235, None, 0.5]
    assert rows.tables(6, "records")[1][1] == {
        "setting": "s",
        "table": 0,
        "method": "b",
        "shd": 1.0,
        "f1": None,
    }
    json.dumps(rows.tables(6, "records"), allow_nan=False)


def test_a_prediction_is_true_where_all_its_claims_are_held():
    held = Claim.of("a", [1.0], "above 0")
    lost = Claim.of("b", [-1.0], "above 0")
    assert prediction("It rises.", [held, held], "held")["outcome"] == "held"
    assert prediction("It rises.", [held, lost], "held")["outcome"] == "failed"
    changed = prediction("It rises.", [held], "changed", "After a look.")
    assert changed == {"sentence": "It rises.", "outcome": "changed", "note": "After a look."}
    with pytest.raises(ValueError, match="a changed one needs a note"):
        prediction("It rises.", [held], "changed")
