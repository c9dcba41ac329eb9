"""The study of loans: its rule of approval against brute force, its rows against the world's truth."""

from itertools import product

import numpy as np
import pytest

from causal_lib.experiments.inference import loans as study
from causal_lib.worlds import loans


@pytest.fixture(scope="module")
def world():
    return loans(2000, 0)


def test_approvals_keep_the_budget_and_the_cap():
    rng = np.random.default_rng(0)
    for _ in range(20):
        aim = rng.normal(0.5, 1, 200)
        risk = rng.uniform(0, 0.4, 200)
        chosen = study.Rule.best(aim, risk, budget=0.3, cap=0.1).approves(aim, risk)
        assert chosen.sum() <= 60
        assert risk[chosen].mean() <= 0.1
        assert chosen.any()


def test_approvals_are_nearly_the_best_of_all_sets():
    rng = np.random.default_rng(1)
    for _ in range(10):
        aim = rng.uniform(0, 1, 12)
        risk = rng.uniform(0, 0.4, 12)
        chosen = study.Rule.best(aim, risk, budget=0.5, cap=0.15).approves(aim, risk)
        sets = np.array(list(product([False, True], repeat=12)))
        allowed = sets[(sets.sum(axis=1) <= 6) & (sets @ (risk - 0.15) <= 0)]
        best = (allowed @ aim).max()
        # the optimum of the priced problem lacks at most one applicant of the best set
        assert best - aim.max() <= aim[chosen].sum() <= best + 1e-12


def test_nobody_is_approved_where_the_cap_is_out_of_reach():
    risk = np.full(50, 0.2)
    rule = study.Rule.best(np.ones(50), risk, budget=0.5, cap=0.1)
    assert not rule.approves(np.ones(50), risk).any()


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
