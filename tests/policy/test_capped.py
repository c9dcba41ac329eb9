"""Choices under a budget and a cap on risk, against brute force."""

from itertools import product

import numpy as np
import pytest

from causal_lib.policy import CappedRule


def test_choices_keep_the_budget_and_the_cap():
    rng = np.random.default_rng(0)
    for _ in range(20):
        aim = rng.normal(0.5, 1, 200)
        risk = rng.uniform(0, 0.4, 200)
        chosen = CappedRule.best(aim, risk, budget=0.3, cap=0.1).chooses(aim, risk)
        assert chosen.sum() <= 60
        assert risk[chosen].mean() <= 0.1
        assert chosen.any()


def test_choices_are_nearly_the_best_of_all_sets():
    rng = np.random.default_rng(1)
    for _ in range(10):
        aim = rng.uniform(0, 1, 12)
        risk = rng.uniform(0, 0.4, 12)
        chosen = CappedRule.best(aim, risk, budget=0.5, cap=0.15).chooses(aim, risk)
        sets = np.array(list(product([False, True], repeat=12)))
        allowed = sets[(sets.sum(axis=1) <= 6) & (sets @ (risk - 0.15) <= 0)]
        best = (allowed @ aim).max()
        # the optimum of the priced problem lacks at most one applicant of the best set
        assert best - aim.max() <= aim[chosen].sum() <= best + 1e-12


def test_nobody_is_chosen_where_the_cap_is_out_of_reach():
    risk = np.full(50, 0.2)
    rule = CappedRule.best(np.ones(50), risk, budget=0.5, cap=0.1)
    assert not rule.chooses(np.ones(50), risk).any()


def test_a_budget_for_all_takes_all_who_gain():
    aim = np.array([1.0, -1.0, 2.0])
    rule = CappedRule.best(aim, np.zeros(3), budget=1, cap=0.5)
    assert rule.chooses(aim, np.zeros(3)).tolist() == [True, False, True]
    strict = CappedRule.best(aim, np.full(3, 0.5), budget=1, cap=0.5)
    assert strict.chooses(aim, np.full(3, 0.5)).tolist() == [True, False, True]
    hundred = np.arange(1.0, 101)
    rule = CappedRule.best(hundred, np.zeros(100), budget=0.29, cap=0.5)
    assert rule.chooses(hundred, np.zeros(100)).sum() == 29


@pytest.mark.parametrize(
    ("aim", "risk", "budget", "message"),
    [
        ([1, 2], [0.1], 0.5, r"aim has shape \(2,\), risk \(1,\)"),
        ([1, np.nan], [0.1, 0.2], 0.5, "1 of 2 rows are missing"),
        ([1, 2], [0.1, 0.2], 0, "budget"),
        ([1, 2], [0.1, 0.2], 40, "budget"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(aim, risk, budget, message):
    with pytest.raises(ValueError, match=message):
        CappedRule.best(aim, risk, budget=budget, cap=0.1)
