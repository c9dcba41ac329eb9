"""Exponents, what is measured of a call, and that the committed report is of the methods and claims
of today.
"""

import json

import numpy as np
import pandas as pd
import pytest

from causal_lib import paths
from causal_lib.experiments import peers
from causal_lib.experiments.costs import report as costs
from causal_lib.experiments.costs.methods import MEASURED, RANKINGS
from causal_lib.experiments.costs.report import exponent

SIZES = np.array([1000, 2000, 4000, 8000, 16_000])


@pytest.mark.parametrize("power", [0, 0.5, 1, 2, 3])
@pytest.mark.parametrize("factor", [1e-6, 7])
def test_the_exponent_of_a_power_law_is_its_own(power, factor):
    found = exponent(SIZES, factor * SIZES**power)
    assert found == pytest.approx({"value": power, "low": power, "high": power}, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    draws = 2000
    for _ in range(draws):
        found = exponent(SIZES, SIZES**1.5 * np.exp(0.2 * rng.standard_normal(len(SIZES))))
        inside += found["low"] <= 1.5 <= found["high"]
    assert abs(inside / draws - 0.95) < 4 * np.sqrt(0.95 * 0.05 / draws)


def test_a_constant_part_bends_the_line_and_widens_the_interval():
    bent = exponent(SIZES, 5000 + SIZES)
    assert 0 < bent["low"] < bent["value"] < bent["high"] < 1


@pytest.mark.parametrize(
    ("sizes", "spent_on", "message"),
    [
        ([1, 2, 4], [1, 2], r"shapes \(3,\) and \(2,\)"),
        ([[1, 2, 4]], [[1, 2, 4]], r"shapes \(1, 3\)"),
        ([1, 2], [1, 2], "2 points of 2 sizes"),
        ([4, 4, 4], [1, 2, 3], "3 points of 1 sizes"),
        ([1, 2, 4], [1, 0, 4], "costs: 1 of 3 are not positive"),
        ([1, -2, 4], [1, 2, 4], "sizes: 1 of 3 are not positive"),
        ([1, 2, 4], [1, np.nan, np.inf], "costs: 2 of 3 are not positive"),
    ],
)
def test_what_has_no_exponent_is_refused(sizes, spent_on, message):
    with pytest.raises(ValueError, match=message):
        exponent(sizes, spent_on)


def test_growth_is_told_only_where_something_was_spent():
    part = pd.DataFrame({"size": [1, 2, 4, 8], "peak_mb": [0.1, 0.2, 1.5, 3.0]})
    assert costs._growth(part, "peak_mb")["value"] is None
    found = costs._growth(part.assign(peak_mb=part["size"] * 2.0), "peak_mb")
    assert (found["value"], found["last"]) == pytest.approx((1, 1))


@pytest.fixture
def linear():
    """All costs equal to the size, whatever the method."""
    rows = [
        {
            "method": name,
            "axis": axis,
            "size": size,
            "repeat": repeat,
            **dict.fromkeys(costs._WHAT, float(size)),
        }
        for name, method in MEASURED.items()
        for axis, grid in method.grids.items()
        for size in grid
        for repeat in range(2)
    ]
    return pd.DataFrame(rows)


def test_claims_say_what_the_table_says(linear):
    claims = {one.name: one for one in costs._growth_claims(linear)}
    rows = claims["order search: exponent of CPU seconds in rows"]
    assert rows.held
    assert rows.value == pytest.approx(1)
    assert not claims["order search, from statistics: exponent of CPU seconds in rows"].held
    gap = claims["exponent of CPU seconds in variables, order search - PC"]
    assert not gap.held
    assert gap.value == pytest.approx(0, abs=1e-9)
    assert claims["LinearDML: CPU seconds, ours / EconML's"].value == pytest.approx(1)
    squared = linear.assign(cpu_seconds=linear["size"] ** 2.0)
    claims = {one.name: one for one in costs._growth_claims(squared)}
    assert not claims["order search: exponent of CPU seconds in rows"].held


@pytest.mark.parametrize(
    "name",
    ["order search", "regression", "mf", "lightgcn", "ranking the catalogue", "boosted trees"],
)
def test_a_method_takes_the_data_that_is_made_for_it(name):
    method = MEASURED[name]
    method.work(method.make(seed=0, **method.small))


def test_the_report_is_json_whatever_cannot_be_fitted(monkeypatch):
    def forked(job, *arguments, imports):
        if job is costs._ranking_cost:
            auc = 0.7 if arguments[0].startswith("purchase") else None
            return {"cpu_seconds": 1.0, "peak_mb": 1.0, "auc": auc, "added": float(arguments[1])}
        return [
            {
                "cpu_seconds": 1.0 + sizes["rows"] if "rows" in sizes else 1.0,
                "peak_mb": 0.1,
                "bytes": 500,
            }
            for sizes, _ in arguments[1]
        ]

    monkeypatch.setattr(peers, "forked", forked)
    monkeypatch.setattr(costs, "_growth_claims", lambda table: [])
    told = json.loads(json.dumps(costs.report(), allow_nan=False))
    fitted = {(one["method"], one["axis"], one["what"]): one["value"] for one in told["fits"]}
    assert fitted["mf", "users", "peak_mb"] is None
    assert fitted["mf", "users", "bytes"] == pytest.approx(0, abs=1e-9)
    assert len(told["efficiency"]) == 3 * len(RANKINGS)


def test_the_committed_report_is_of_todays_methods():
    told = json.loads(
        (paths.ROOT / "reports" / "benchmarks" / "costs.json").read_text(encoding="utf-8")
    )
    measured = {(row["method"], row["axis"], row["size"]) for row in told["rows"]}
    planned = {
        (name, axis, size)
        for name, method in MEASURED.items()
        if name not in told["skipped"]
        for axis, grid in method.grids.items()
        for size in grid
    }
    assert measured == planned
    assert {row["ranking"] for row in told["efficiency"]} == set(RANKINGS)
    for one in told["fits"]:
        if one["value"] is not None:
            assert one["low"] <= one["value"] <= one["high"]
    table = pd.DataFrame(told["rows"])
    for one in costs._growth_claims(table) + costs._ranking_claims(
        pd.DataFrame(told["efficiency"])
    ):
        there = next(other for other in told["claims"] if other["claim"] == one.name)
        assert (there["target"], there["held"]) == (one.target, one.held)
