"""What logs lack of a policy, by hand and in simulated logs with holes at known places."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.policy import policy_value, policy_values, slate_value
from causal_lib.policy.support import find_support

RATES = np.array([0.1, 0.2, 0.3, 0.9])


def holes(seed, where="never", n=4000):
    """Logs of four actions in three segments; the best one is never logged, or not in a segment."""
    rng = np.random.default_rng(seed)
    segment = rng.integers(3, size=n)
    age = rng.normal(size=n)
    logging = np.exp(0.5 * np.outer(age, [-1, 0, 1, 1]))
    if where == "never":
        logging[:, 3] = 0
    elif where == "segment":
        logging[segment == 1, 3] = 0
    elif where == "age":
        logging[age > 1, 3] = 0
    elif where == "deterministic":
        logging = np.eye(4)[np.where(age > 0, 3, 1)]
    logging /= logging.sum(axis=1, keepdims=True)
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=3)
    logs = pd.DataFrame(
        {
            "segment": np.array(["a", "b", "c"])[segment],
            "age": age,
            "item_id": action,
            "click": (rng.random(n) < RATES[action]).astype(int),
            "propensity_score": logging[np.arange(n), action],
        }
    )
    return logs, logging


POLICIES = {"uniform": np.full(4, 0.25), "greedy": np.array([0.1, 0.1, 0.1, 0.7])}


def test_bounds_by_hand():
    """Action 2 is never logged: 30% of the policy. The rest earns 0.2 x 1/4 + 0.5 x 3/4."""
    logs = pd.DataFrame({"item_id": [0, 1] * 400, "propensity_score": 0.5})
    logs["click"] = ([1, 1] + [0, 1] * 3) * 100
    policy = [0.2, 0.5, 0.3]
    found = policy_value(logs, policy, estimator="ips", interval="normal")
    told = 0.2 * 0.25 + 0.5 * 1.0
    w = np.array([0.4, 1.0] * 400)
    middle = told / 0.7
    half = 1.959964 * np.std(w * (logs["click"] - middle), ddof=1) / np.sqrt(800)
    assert found.bounds == pytest.approx((told - half, told + 0.3 + half))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.verdict == (
        "the logs cannot tell: 30.0% of the policy is on actions never logged (2)"
    )
    assert (found.unsupported, found.mean_weight) == pytest.approx((0.3, 0.7))
    assert found.mean_weight_error == pytest.approx(0.3 / np.sqrt(799), rel=1e-6)
    assert "no value, the logs cannot tell: 30.0% of the policy" in repr(found)
    assert f"; bounds [{found.bounds[0]:.5f}, {found.bounds[1]:.5f}]" in repr(found)
    wider = policy_value(
        logs, policy, estimator="ips", interval="normal", reward_range=(-1, 2)
    ).bounds
    assert wider == pytest.approx((told - 0.3 - half, told + 0.6 + half))
    with pytest.raises(
        ValueError, match=r"rewards, by reward_range: 500 values outside \[0, 0.5\]"
    ):
        policy_value(logs, policy, reward_range=(0, 0.5))
    with pytest.raises(ValueError, match=r"reward_range must be \(lowest, highest\), not \(1, 0\)"):
        policy_value(logs, policy, reward_range=(1, 0))


@pytest.mark.parametrize("where", ["never", "segment", "age", "deterministic"])
@pytest.mark.parametrize("name", POLICIES)
def test_holes_in_the_logs_are_never_ok_and_their_bounds_hold(where, name):
    policy = POLICIES[name]
    truth = RATES @ policy
    context = [] if where in ("never", "deterministic") else ["segment", "age"]
    held = 0
    for seed in range(40):
        logs, logging = holes(seed, where)
        for how in ({"context": context}, {"logging": logging}):
            found = policy_values(logs, policy, estimators=("ips", "dr", "dm"), **how)
            for value in found.values():
                assert value.verdict.startswith("the logs cannot tell: ")
                assert "on actions never logged" in value.verdict
                assert value.value is None
            assert len({value.verdict for value in found.values()}) == 1
        held += found["dr"].bounds[0] <= truth <= found["dr"].bounds[1]
    assert held >= 40 - 5  # of a share of 0.95, fewer come once in 300


def test_complete_logs_are_ok():
    refused = 0
    for seed in range(100):
        logs, logging = holes(seed, "nowhere")
        for name, policy in POLICIES.items():
            how = {"context": ["segment", "age"], "logging": logging, "estimators": ("snips",)}
            found = policy_values(logs, policy, **how)["snips"]
            refused += found.verdict != "ok"
            if found.verdict == "ok":
                assert found.bounds == (found.low, found.high)
                assert found.unsupported == 0, name
    assert refused <= 8  # 2 are expected


def test_where_the_hole_is():
    policy = POLICIES["uniform"]
    for where, context, told in (
        ("segment", ["segment"], r"\(3 where segment is b\)"),
        ("age", ["age"], r"\(3 where age > 1\.\d+\)"),
    ):
        logs, logging = holes(0, where)
        found = policy_value(logs, policy, estimator="ips", context=context)
        assert found.verdict.startswith("the logs cannot tell")

        assert re.search(told, found.verdict)
        by_logging = policy_value(logs, policy, estimator="ips", logging=logging)
        assert "(3 where logging gives it 0)" in by_logging.verdict
        hidden = policy_value(logs, policy, estimator="ips")
        assert "those of action 3 sum to" in hidden.verdict
        assert hidden.value is not None
        assert hidden.bounds[0] <= RATES @ policy <= hidden.bounds[1]
        assert hidden.verdict in repr(hidden)


def test_wrong_propensities_are_told():
    logs, _ = holes(1, "nowhere")
    small = logs.assign(propensity_score=logs["propensity_score"] / 2)
    found = policy_value(small, POLICIES["uniform"], estimator="ips")
    assert re.match(
        r"the weights do not fit the policy: those of action 0 sum to (19|20)\d%", found.verdict
    )
    assert found.bounds is None
    assert found.value is not None


def test_a_negligible_mass_is_ok():
    logs, _ = holes(2, "never")
    for mass, ok in ((1e-9, True), (1e-4, True), (0.05, False)):
        policy = np.array([*np.full(3, (1 - mass) / 3), mass])
        found = policy_value(logs, policy, estimator="snips")
        assert (found.verdict == "ok") == ok
        assert found.unsupported == pytest.approx(mass)


def test_groups_of_actions_support_what_single_actions_do_not():
    logs, logging = holes(3, "never")
    how = {"logging": logging, "embedding": [0, 0, 1, 1]}
    found = policy_values(logs, POLICIES["uniform"], estimators=("ips", "mips"), **how)
    assert found["ips"].value is None
    assert found["mips"].verdict == "ok"
    alone = policy_values(
        logs, POLICIES["uniform"], estimators=("mips",), logging=logging, embedding=list("aabc")
    )["mips"]
    assert alone.verdict.endswith("is on actions never logged ('c')")


def test_support_by_hand():
    """Two segments of 100 rounds; action 1 is never shown in the second."""
    codes = np.r_[np.tile([0, 1], 50), np.zeros(100, dtype=int)]
    propensity = np.r_[np.full(100, 0.5), np.ones(100)]
    policy = np.tile([0.25, 0.75], (200, 1))
    w = policy[np.arange(200), codes] / propensity
    context = pd.DataFrame({"segment": np.repeat([5, 8], 100)})
    error = w.std(ddof=1) / np.sqrt(200)
    labels = pd.Index(["a", "b"])
    found = find_support(policy, codes, w, labels, error, propensity=propensity, context=context)
    assert found.missing.tolist() == [0.0] * 100 + [0.75] * 100
    assert found.never == "'b' where segment is 8"
    assert (found.mass, found.surplus, found.misfit) == (0.375, 0.0, "")
    known = np.repeat([[0.5, 0.5], [1.0, 0.0]], 100, axis=0)
    found = find_support(policy, codes, w, labels, error, propensity=propensity, logging=known)
    assert found.missing.tolist() == [0.0] * 100 + [0.75] * 100
    assert found.never == "'b' where logging gives it 0"


def test_cells_are_compared_on_every_so_many_rounds_of_large_tables(monkeypatch):
    logs, _ = holes(4, "segment", n=8000)
    policy = np.tile(POLICIES["greedy"], (8000, 1))
    how = {"estimator": "ips", "context": ["segment"]}
    whole = policy_value(logs, policy, **how)
    monkeypatch.setattr("causal_lib.policy.support._MOST", 8000)
    thinned = policy_value(logs, policy, **how)
    assert thinned.verdict == whole.verdict
    assert thinned.bounds == whole.bounds


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["auto", "normal", "bootstrap"]),
    st.floats(0.0, 1.0),
)
def test_values_of_rewards_of_0_and_1_stay_in_their_range(seed, kind, rate):
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet(np.full(3, 3.0)).clip(0.02)
    logging /= logging.sum()
    action = rng.choice(3, p=logging, size=400)
    logs = pd.DataFrame({"item_id": action, "click": (rng.random(400) < rate).astype(int)})
    logs["propensity_score"] = logging[action]
    policy = np.r_[rng.dirichlet(np.full(3, 2.0)) * 0.8, 0.2]
    for table in (policy, np.r_[policy[:3] / 0.8, 0.0]):
        found = policy_value(logs, table, estimator="snips", interval=kind, seed=seed)
        if found.value is not None:
            assert 0 <= found.low <= found.value <= found.high <= 1
        if found.bounds is not None:
            assert 0 <= found.bounds[0] <= found.bounds[1] <= 1


def _short_slates(seed, lacking):
    """Two positions; the log never shows item 2 at the second where the first shows item 0."""
    rng = np.random.default_rng(seed)
    n = 3000
    first = rng.integers(2, size=n)
    below = np.where((first == 0)[:, None] & lacking, [0.5, 0.5, 0.0], [0.4, 0.4, 0.2])
    second = (rng.random((n, 1)) > below.cumsum(axis=1)).sum(axis=1).clip(max=2)
    rates = np.array([0.1, 0.2, 0.8])
    logs = pd.DataFrame({"round_id": np.repeat(np.arange(n), 2), "position": np.tile([1, 2], n)})
    items = np.column_stack([first, second])
    logs["click"] = (rng.random((n, 2)) < rates[items]).astype(int).ravel()
    logs["propensity_score"] = np.column_stack(
        [np.full(n, 0.5), below[np.arange(n), second]]
    ).ravel()
    logs["target"] = np.column_stack([np.full(n, 0.5), np.array([0.3, 0.3, 0.4])[second]]).ravel()
    return logs, 0.15 + (0.3 * 0.1 + 0.3 * 0.2 + 0.4 * 0.8)


@pytest.mark.parametrize("name", ["cascade", "slate", "independent"])
def test_slates_that_are_never_shown_are_not_ok(name):
    held = 0
    for seed in range(30):
        logs, truth = _short_slates(seed, lacking=True)
        found = slate_value(logs, estimator=name)
        assert re.match(
            r"the weights do not fit: at a position they average 0\.(7[6-9]|8)", found.verdict
        )
        held += found.bounds[0] <= truth <= found.bounds[1]
        assert not found.low <= truth <= found.high
    assert held >= 26
    logs, _ = _short_slates(0, lacking=False)
    assert slate_value(logs, estimator=name).verdict == "ok"
    twice = slate_value(logs.assign(propensity_score=logs["propensity_score"] / 2), estimator=name)
    assert twice.verdict.startswith("the weights do not fit")
    assert twice.bounds is None
