"""The study of loans: its rows against the world's truth."""

import numpy as np
import pytest

from causal_lib.experiments.inference import loans as study
from causal_lib.worlds import loans


@pytest.fixture(scope="module")
def world():
    return loans(2000, 0)


def test_rows_of_the_decisions_are_those_of_the_half_that_was_not_learnt_from(world):
    rows, chosen = study.decisions(world, (0.12,), seed=3)
    other = ~study.halves(2000, 3)
    gain = world.if_approved("gain")[other]
    risk = world.if_approved("risk")[other]
    for row in rows:
        taken = chosen[row["method"], 0.12]
        assert row["true profit"] == pytest.approx(gain[taken].sum() / 1000)
        assert row["true default"] == pytest.approx(risk[taken].mean())
        assert row["default promised"] <= 0.12
    profits = {row["method"]: row["true profit"] for row in rows}
    assert max(profits, key=profits.get) == "true profit, knowing the appetite"


def test_limits_of_everybody_and_of_nobody(world):
    other = ~study.halves(2000, 0)
    truth = world.truth[other]
    everybody = {
        row["method"]: row["truth"] for row in study.limits(world, np.ones(1000, dtype=bool))
    }
    assert everybody["low limit for the approved"] == pytest.approx(truth["gain_if_low"].mean())
    assert everybody["high limit for the approved"] == pytest.approx(truth["gain_if_high"].mean())
    nobody = study.limits(world, np.zeros(1000, dtype=bool))
    assert [row["truth"] for row in nobody[:4]] == [0, 0, 0, 0]


def test_without_appetite_the_log_is_right_about_the_limit():
    [calm, strong] = study.sweep(20_000, 0, (0.0, 2.0))
    assert abs(calm["value"] - calm["truth"]) < 3.29 / 1.96 * (calm["high"] - calm["value"])
    assert calm["covers"]
    assert strong["high"] < strong["truth"]


def test_a_weighted_scorecard_errs_less_among_the_refused(world):
    few, weighted, full = study.scorecards(world)
    assert few["high"] < 0  # too little risk
    assert abs(weighted["error"]) < abs(few["error"])
    assert abs(full["error"]) < abs(few["error"])


def test_what_the_group_changes(world):
    refused = study.good_payers_refused(world)
    assert all(abs(row["rate"] - row["truth"]) < 4 * row["standard error"] for row in refused)
    direct, lived, both = study.had_the_group_been_the_other(world, cap=0.12)
    other = world.counterfactual(seen=True)
    changed = other["approved"] != world.frame["approved"]
    assert direct["officers"] == pytest.approx(changed.mean())
    assert direct["estimated profit"] == 0  # the rule does not see the group
    assert lived["estimated profit"] == both["estimated profit"] > 0
