"""The additive model of rewards against scikit-learn, and its folds."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold

from causal_lib.policy.reward_model import FOLDS, fit_additive, order_of_rounds


@pytest.fixture
def rounds():
    """Context, action and log-odds of 900 rounds with 6 actions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3)) * [1, 5, 0.1]
    action = rng.integers(6, size=900)
    return x, action, x @ [1, -0.1, 3] + np.linspace(-1, 1, 6)[action], rng


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_fits_are_those_of_scikit_learn(rounds, kind):
    x, action, level, rng = rounds
    reward = (
        (rng.random(900) < 1 / (1 + np.exp(-level))).astype(float)
        if kind == "binary"
        else 40 + 7 * (level + rng.normal(size=900))
    )
    found = fit_additive(x, action, reward, 6, seed=1)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    hot = np.eye(6)
    q = found.of(slice(None))
    order, _ = order_of_rounds(x, action, reward, 6)
    for train, test in KFold(FOLDS, shuffle=True, random_state=1).split(x):
        train = order[train]
        test = order[test]
        model = (
            LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
            if kind == "binary"
            else Ridge(alpha=1.0)
        )
        model.fit(np.hstack([scaled, hot[action]])[train], reward[train])
        for a in range(6):
            rows = np.hstack([scaled[test], np.tile(hot[a], (len(test), 1))])
            expected = model.predict_proba(rows)[:, 1] if kind == "binary" else model.predict(rows)
            assert q[test, a] == pytest.approx(expected, abs=1e-5)


def test_no_context_one_kind_of_reward_and_an_action_never_seen(rounds):
    _, action, _, _ = rounds
    found = fit_additive(np.zeros((900, 0)), action, np.ones(900), 7, seed=0).of(slice(0, 900))
    assert ((found > 0.99) & (found < 1)).all()
    rewards = (action > 2).astype(float)
    found = fit_additive(np.zeros((900, 0)), action, rewards, 7, seed=0).of(slice(0, 10))
    assert (found[:, 0] < 0.1).all()
    assert (found[:, 5] > 0.9).all()
    assert ((found[:, 6] > 0.2) & (found[:, 6] < 0.8)).all()


def test_fewer_rounds_than_folds_are_refused():
    with pytest.raises(
        ValueError,
        match="2 rounds are too few for the 3 folds of the model of the reward; use an estim",
    ):
        fit_additive(np.zeros((2, 0)), np.zeros(2, dtype=int), np.array([0.0, 1.0]), 2, seed=0)


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_the_penalty_and_its_shrinkage_are_those_of_scikit_learn(rounds, kind):
    """Few rounds of unequal actions and a penalty of 6, where every term of the penalty counts."""
    x, action, level, rng = rounds
    x = x[:90]
    action = np.minimum(action[:90], 3)
    level = level[:90]
    reward = (
        (rng.random(90) < 1 / (1 + np.exp(-level))).astype(float) if kind == "binary" else 5 + level
    )
    found = fit_additive(x, action, reward, 4, seed=2, penalty=6.0)
    assert found.logistic == (kind == "binary")
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    hot = np.eye(4)
    assert found.context == pytest.approx(scaled)
    folds = list(KFold(FOLDS, shuffle=True, random_state=2).split(x))
    order, _ = order_of_rounds(x, action, reward, 4)
    for number, (train, test) in enumerate(folds):
        train = order[train]
        test = order[test]
        assert (found.fold[test] == number).all()
        model = (
            LogisticRegression(C=1 / 6, tol=1e-12, max_iter=10_000)
            if kind == "binary"
            else Ridge(alpha=6.0)
        )
        model.fit(np.hstack([scaled, hot[action]])[train], reward[train])
        coefficients = np.ravel(model.coef_)
        assert found.weights[number] == pytest.approx(coefficients[:3], abs=1e-5)
        assert found.effects[number] == pytest.approx(coefficients[3:], abs=1e-5)
        assert found.intercepts[number] == pytest.approx(np.ravel(model.intercept_)[0], abs=1e-5)
    assert found.of(slice(10, 20)) == pytest.approx(found.of(slice(None))[10:20])


def test_rewards_of_one_kind_count_half_a_reward_more_of_either():
    for reward in (0.0, 1.0):
        found = fit_additive(
            np.eye(9)[:, :2], np.zeros(9, dtype=int), np.full(9, reward), 3, seed=0
        )
        share = (6 * reward + 0.5) / 7  # six rounds to learn from in each fold
        assert found.of(slice(None)) == pytest.approx(np.full((9, 3), share))


def test_a_constant_column_and_an_action_that_is_never_seen_change_nothing():
    rng = np.random.default_rng(3)
    action = rng.integers(3, size=60)
    reward = rng.normal(size=60)
    plain = fit_additive(np.zeros((60, 0)), action, reward, 3, seed=0).of(slice(None))
    more = fit_additive(np.full((60, 1), 7.0), action, reward, 4, seed=0)
    assert more.of(slice(None))[:, :3] == pytest.approx(plain)
    assert more.effects[:, 3] == pytest.approx(np.zeros(3))
    fit_additive(np.zeros((3, 0)), np.zeros(3, dtype=int), np.array([0.0, 1.0, 2.0]), 1, seed=0)
