"""The registry of estimators: each by hand on three rounds, and described in one place."""

import inspect

import numpy as np
import pytest

from causal_lib.policy import policy_values
from causal_lib.policy.estimators import ESTIMATORS, Rounds

ROUNDS = Rounds(
    w=np.array([0.5, 1.0, 4.0]),
    r=np.array([1.0, 0.0, 2.0]),
    policy_mean=np.array([0.6, 0.4, 1.0]),
    shown_mean=np.array([0.5, 0.2, 1.5]),
    group_w=np.array([2.0, 0.5, 1.0]),
)
LEFT = ROUNDS.r - ROUNDS.shown_mean  # 0.5, -0.2, 0.5
VALUES = {
    "dm": (0.6 + 0.4 + 1.0) / 3,
    "ips": (0.5 + 0 + 8) / 3,
    "snips": 8.5 / 5.5,
    "dr": 2 / 3 + (0.25 - 0.2 + 2.0) / 3,
    "sndr": 2 / 3 + (0.25 - 0.2 + 2.0) / 5.5,
    "mips": (2 + 0 + 2) / 3,
    "clipped-ips": (0.5 + 0 + 4) / 3,  # at 2
    "switch-dr": 2 / 3 + (0.25 - 0.2) / 3,
    "dros": 2 / 3 + (0.25 * 4 / 4.25 - 0.2 * 4 / 5 + 2.0 * 4 / 20) / 3,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_mean_of_the_scores_by_hand(name):
    estimator = ESTIMATORS[name]
    score, weight = estimator.scores(ROUNDS, 2.0 if estimator.free else None)
    assert score.mean() == pytest.approx(VALUES[name])
    assert score.shape == weight.shape == (3,)


def test_a_threshold_without_effect_gives_the_estimator_without_one():
    for name, estimator in ESTIMATORS.items():
        if estimator.free and name != "dros":
            score, weight = estimator.scores(ROUNDS, 4.0)
            free, free_weight = ESTIMATORS[estimator.free].scores(ROUNDS, None)
            assert score == pytest.approx(free)
            assert weight == pytest.approx(free_weight)
            assert estimator.modelled == ESTIMATORS[estimator.free].modelled


def test_every_estimator_is_described_where_users_look():
    for name, estimator in ESTIMATORS.items():
        row = f"| {name} | {estimator.formula} | {estimator.right_when} |"
        assert row in inspect.getdoc(policy_values)
        assert inspect.getdoc(estimator.scores).endswith((".", "2020, arXiv 1907.09623."))
