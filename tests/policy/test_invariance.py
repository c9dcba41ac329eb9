"""How a log is written changes no value, verdict or learnt policy: the order of its rows and columns,
its index, the units of the context, and the order of the actions.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.policy import learn_policy, policy_values, slate_value

CONTEXT = ["age", "city", "visits"]
LABELS = ["a", "b", "c"]


def logs_and_policy(seed, n=240):
    """Rounds with tied rows (few ages, cities and visits), users of several rounds, and a policy
    that differs between rounds; rewards of 0 and 1.
    """
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 24, n),
            "city": rng.choice(["x", "y", "z"], n),
            "visits": rng.integers(0, 3, n),
            "user": rng.integers(0, n // 3, n),
        }
    )
    logging = np.where(frame["visits"].to_numpy()[:, None] > 0, [0.5, 0.3, 0.2], [0.2, 0.4, 0.4])
    action = (rng.random(n)[:, None] > logging.cumsum(axis=1)).sum(axis=1)
    rate = 0.2 + 0.1 * action + 0.2 * (frame["city"] == "x") * (action == 2)
    frame = frame.assign(
        item_id=np.array(LABELS)[action],
        propensity_score=logging[np.arange(n), action],
        click=(rng.random(n) < rate).astype(int),
    )
    policy = rng.dirichlet([1.0, 2.0, 3.0], 4)[rng.integers(4, size=n)]
    return frame, pd.DataFrame(policy, columns=LABELS)


def rows_shuffled(frame, policy, rng):
    places = rng.permutation(len(frame))
    return frame.iloc[places], policy.iloc[places]


def rows_reversed(frame, policy, rng):
    return frame.iloc[::-1], policy.iloc[::-1]


def columns_shuffled(frame, policy, rng):
    return frame[rng.permutation(frame.columns)], policy


def other_index(frame, policy, rng):
    index = pd.Index([f"round {k % 7}" for k in range(len(frame))])
    return frame.set_axis(index), policy.set_axis(index)


def other_units(frame, policy, rng):
    return frame.assign(age=frame["age"] * 365.25 + 1e6, visits=frame["visits"] * 1e-9), policy


def actions_shuffled(frame, policy, rng):
    return frame, policy[rng.permutation(LABELS)]


WRITINGS = [
    rows_shuffled,
    rows_reversed,
    columns_shuffled,
    other_index,
    other_units,
    actions_shuffled,
]


def shuffled_context(rng):
    return list(rng.permutation(CONTEXT))


def numbers(found):
    """Value, ends and bounds, nan for those that there are not."""
    return np.array([found.value, found.low, found.high, *(found.bounds or (None,))], dtype=float)


@pytest.mark.parametrize("how", [{}, {"cluster": "user"}, {"interval": "bootstrap"}])
@pytest.mark.parametrize("writing", WRITINGS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_values_of_the_same_log_written_otherwise(writing, how, seed):
    frame, policy = logs_and_policy(seed)
    rng = np.random.default_rng(seed)
    right = policy_values(frame, policy, context=CONTEXT, **how)
    frame, policy = writing(frame, policy, rng)
    found = policy_values(frame, policy, context=shuffled_context(rng), **how)
    for name, one in right.items():
        other = found[name]
        assert numbers(other) == pytest.approx(numbers(one), rel=1e-9, nan_ok=True), name
        assert other.verdict == one.verdict
        assert other.effective_sample_size == pytest.approx(one.effective_sample_size)


def test_a_log_without_a_context_read_from_its_end():
    """Without a context most rounds are the same, and which of them are in a fold is all there is."""
    frame, policy = logs_and_policy(3)
    right = policy_values(frame, policy)
    found = policy_values(frame.iloc[::-1], policy.iloc[::-1])
    for name, one in right.items():
        assert numbers(found[name]) == pytest.approx(numbers(one), rel=1e-12, nan_ok=True), name


def test_cells_of_a_large_log_are_thinned_whatever_the_order_of_its_rows(monkeypatch):
    """In every fourth round, and only there, visits are 3 and c is never shown. One round in four is
    compared.
    """
    monkeypatch.setattr("causal_lib.policy.support._MOST", 3000)
    frame, policy = logs_and_policy(5, 4000)
    there = np.arange(4000) % 4 == 1
    frame.loc[there, "visits"] = 3
    frame.loc[there, "item_id"] = np.random.default_rng(0).choice(["a", "b"], there.sum())
    frame.loc[there, "propensity_score"] = 0.5
    how = {"estimators": ["ips"], "context": ["visits"]}
    found = [
        policy_values(*writing(frame, policy, np.random.default_rng(1)), **how)["ips"]
        for writing in (lambda *given: given[:2], rows_reversed, rows_shuffled)
    ]
    assert "'c' where visits is 3" in found[0].verdict
    assert found[0].verdict == found[1].verdict == found[2].verdict
    for other in found[1:]:
        assert numbers(other) == pytest.approx(numbers(found[0]), nan_ok=True)


@pytest.mark.parametrize("depth", [None, 2])
@pytest.mark.parametrize("loss", ["dr", "ips"])
@pytest.mark.parametrize("writing", WRITINGS[:-1])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_policies_learnt_from_the_same_log_written_otherwise(writing, loss, depth, seed):
    frame, _ = logs_and_policy(seed)
    rng = np.random.default_rng(seed)
    right = learn_policy(frame, CONTEXT, loss=loss, depth=depth).probabilities(frame)
    order = pd.Series(np.arange(len(frame)))
    written, places = writing(frame, order.to_frame(), rng)
    found = learn_policy(written, shuffled_context(rng), loss=loss, depth=depth)
    assert found.probabilities(written) == pytest.approx(
        right[places.iloc[:, 0].to_numpy()], abs=1e-6
    )


def test_rules_of_a_tree_are_in_the_units_of_its_columns():
    frame, _ = logs_and_policy(8, 2000)
    frame["click"] = (frame["item_id"] == np.where(frame["age"] < 21, "a", "c")).astype(int)
    assert "age <= 20.5" in learn_policy(frame, ["age"], depth=1).rules()
    small = learn_policy(frame.assign(age=frame["age"] * 1e-9), ["age"], depth=1)
    assert "age <= 2.05e-08" in small.rules()


@pytest.mark.parametrize("interval", ["auto", "bootstrap"])
@pytest.mark.parametrize("estimator", ["cascade", "slate", "independent"])
def test_slates_of_the_same_log_written_otherwise(estimator, interval):
    rng = np.random.default_rng(0)
    n = 1500
    frame = pd.DataFrame({"round_id": np.repeat(np.arange(n // 3), 3), "position": [0, 1, 2] * 500})
    ratios = [[0.2, 0.3], [0.4, 0.3], [0.4, 0.4]]
    frame[["propensity_score", "target"]] = rng.choice(ratios, size=n)
    frame["click"] = (rng.random(n) < 0.3).astype(int)
    how = {"estimator": estimator, "interval": interval}
    right = slate_value(frame, **how)
    for other in (
        frame.iloc[::-1],
        frame.sample(frac=1, random_state=2),
        frame.set_axis(np.arange(n) % 7),
        frame[frame.columns[::-1]],
        frame.assign(round_id=-frame["round_id"]),
    ):
        found = slate_value(other, **how)
        assert numbers(found) == pytest.approx(numbers(right), nan_ok=True)
        assert found.verdict == right.verdict
