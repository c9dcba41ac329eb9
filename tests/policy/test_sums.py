"""Policy values of sums: those of the estimators on rows, and those of three databases."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_lib.policy import policy_value, policy_values

ESTIMATORS = ("ips", "snips")
QUERY = "SELECT * FROM log"


def _logs(n, seed, *, rewards="clicks", shift=0.0):
    """Rounds of three actions, the policy's probabilities of all of them, and of the logged one as
    the column ``target``.
    """
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet([4.0, 3.0, 2.0], n)
    policy = rng.dirichlet([2.0, 3.0, 4.0], n)
    action = (rng.random(n)[:, None] > logging[:, :2].cumsum(axis=1)).sum(axis=1)
    rows = np.arange(n)
    reward = rng.random(n) < (0.02 if rewards == "rare" else 0.6)
    if rewards == "money":
        reward = shift + rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "item_id": action,
            "click": reward.astype(float),
            "propensity_score": logging[rows, action],
            "target": policy[rows, action],
            "user": rng.integers(0, max(2, n // 5), n),
        }
    )
    frame["name"] = "u" + frame["user"].astype(str)
    return frame, policy


def _same(found, expected, tolerance=1e-9):
    assert found.keys() == expected.keys()
    for name, own in expected.items():
        for field in fields(own):
            value = getattr(found[name], field.name)
            known = getattr(own, field.name)
            if isinstance(known, float | tuple):
                # a mean less another is as exact as its parts
                assert value == pytest.approx(known, rel=tolerance, abs=1e-11), field.name
            else:
                assert value == known, field.name


@pytest.mark.parametrize("cluster", [None, "user", "name"])
@pytest.mark.parametrize("interval", ["auto", "normal"])
@pytest.mark.parametrize("rewards", ["clicks", "rare", "money"])
def test_a_column_gives_the_values_of_the_table(rewards, interval, cluster):
    logs, policy = _logs(3000, 1, rewards=rewards)
    how = {"interval": interval, "cluster": cluster, "level": 0.9}
    found = policy_values(logs, "target", **how)
    _same(found, policy_values(logs, policy, estimators=ESTIMATORS, **how))
    assert {one.verdict for one in found.values()} == {"ok"}
    assert policy_value(logs, "target", estimator="snips", **how) == found["snips"]


def test_rewards_far_from_nought_lose_no_digits():
    near, _ = _logs(2000, 2, rewards="money")
    far = near.assign(click=near["click"] + 1e9)
    own = policy_value(near, "target", estimator="snips")
    found = policy_value(far, "target", estimator="snips")
    assert found.high - found.low == pytest.approx(own.high - own.low, rel=1e-6)


def test_the_interval_by_hand():
    """Two users of two rounds each; weights 2, 1, 1, 0."""
    rounds = {"click": [1, 0, 1, 1], "target": [1.0, 0.5, 0.5, 0.0], "propensity_score": 0.5}
    logs = pd.DataFrame(rounds | {"user": [0, 0, 1, 1]})
    logs = pd.concat([logs.assign(user=logs["user"] + 2 * k) for k in range(100)])
    how = {"interval": "normal", "cluster": "user"}
    found = policy_values(logs, "target", **how)
    ips = np.array([2.0, 1.0] * 100)  # a user's sum of w r
    half = 1.959963984540054 * np.sqrt(((ips - 1.5) ** 2).sum() * 200 / 199) / 400
    assert found["ips"].value == pytest.approx(0.75)
    assert (found["ips"].low, found["ips"].high) == pytest.approx((0.75 - half, 0.75 + half))
    # the same m = 3/4, and sums of w (r - m): 2/4 - 3/4 and 1/4
    snips = np.array([-0.25, 0.25] * 100)
    half = 1.959963984540054 * np.sqrt((snips**2).sum() * 200 / 199) / 400
    assert found["snips"].value == pytest.approx(0.75)
    assert (found["snips"].low, found["snips"].high) == pytest.approx((0.75 - half, 0.75 + half))
    assert found["ips"].effective_sample_size == pytest.approx(400**2 / 600)
    assert found["ips"].largest_share == pytest.approx(2 / 400)


@pytest.mark.parametrize("factor", [0.7, 1.4])
@pytest.mark.parametrize("rewards", ["rare", "money"])
def test_weights_that_do_not_average_one(factor, rewards):
    logs, _ = _logs(4000, 3, rewards=rewards)
    logs["target"] = logs["target"].clip(upper=0.7) * factor
    w = (logs["target"] / logs["propensity_score"]).to_numpy()
    r = logs["click"].to_numpy()
    m = w @ r / w.sum()
    for found in policy_values(logs, "target", interval="normal").values():
        assert found.verdict.startswith(
            f"the weights do not fit the policy: they average {w.mean():.3g}, not 1; propensities"
        )
        assert found.unsupported == pytest.approx(max(0.0, 1 - w.mean()))
        if factor > 1:
            assert found.bounds is None
            continue
        ends = []
        for reward in (r.min(), r.max()):  # of what the logs lack
            score = w * r + (1 - w) * reward
            half = 1.959963984540054 * score.std(ddof=1) / np.sqrt(4000)
            ends += [score.mean() - half, score.mean() + half]
        assert found.bounds == pytest.approx(np.clip([ends[0], ends[3]], r.min(), r.max()))
        expected = m if found.estimator == "snips" else w @ r / 4000
        assert found.value == pytest.approx(expected)


# ---- databases -------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    n=st.integers(2, 400),
    seed=st.integers(0, 10_000),
    rewards=st.sampled_from(["clicks", "rare", "money"]),
    cluster=st.sampled_from([None, "user", "name"]),
    interval=st.sampled_from(["auto", "normal"]),
    factor=st.sampled_from([1.0, 0.8, 0.0]),
)
def test_a_database_gives_the_values_of_memory(
    database, n, seed, rewards, cluster, interval, factor
):
    logs, _ = _logs(n, seed, rewards=rewards)
    logs["target"] *= factor
    database.put(logs)
    how = {"cluster": cluster, "interval": interval}
    if rewards == "money":
        how["reward_range"] = (-9.0, 9.0)
    try:
        expected = policy_values(logs, "target", **how)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            policy_values(QUERY, "target", connection=database.connection, **how)
        return
    _same(policy_values(QUERY, "target", connection=database.connection, **how), expected)


def test_digits_of_rewards_far_from_nought_in_a_database(database):
    logs, _ = _logs(2000, 2, rewards="money", shift=1e6)
    database.put(logs)
    how = {"reward_range": (0, 2e6)}
    found = policy_values(QUERY, "target", connection=database.connection, **how)
    _same(found, policy_values(logs, "target", **how))


def test_names_and_a_select(database):
    logs, _ = _logs(300, 4)
    names = {"click": '点击 "x"', "propensity_score": "p %s", "target": "select", "user": "a:b"}
    database.put(logs.rename(columns=names))
    columns = {"reward": names["click"], "propensity": names["propensity_score"], "cluster": "a:b"}
    query = sa.select(sa.text("*")).select_from(sa.text("log"))
    found = policy_values(query, "select", connection=database.connection, **columns)
    _same(found, policy_values(logs, "target", cluster="user"))


BAD = [
    (QUERY, "q", {}, "policy: no column 'q'; columns there: item_id, click"),
    (QUERY, "target", {"cluster": "q"}, "cluster: no column 'q'"),
    (QUERY, "name", {}, "policy: column 'name' is of type text; make it a number in the query"),
    (QUERY, "gap", {}, "policy: column 'gap' has 2 missing values in 300 rows; leave those"),
    (QUERY, "target", {"cluster": "gap"}, "cluster: column 'gap' has 2 missing values"),
    (QUERY, "target", {"propensity": "percent"},
     "propensity: column 'percent' has 300 values that are no probability .*divide them by 100"),
    (QUERY, "wrong", {}, r"policy: column 'wrong' has 300 values that are no probability \(least -"),
    (QUERY + " WHERE click > 5", "target", {}, "logs: the query gives no rows"),
    (QUERY, "none", {}, "the policy gives every logged action probability 0"),
    (QUERY, "target", {"reward": "item_id"},
     "reward_range: rewards other than 0 and 1 need it .* column 'item_id' holds numbers from 0 to 2"),
    (QUERY, "target", {"reward": "item_id", "reward_range": (0, 1)},
     r"reward_range \(0, 1\): column 'item_id' holds numbers from 0 to 2; widen it"),
    (QUERY, "target", {"cluster": "one"}, "1 row or cluster is too few for a standard error"),
    (QUERY, np.ones(3) / 3, {}, "policy: with a connection, the name of the query's column"),
    (QUERY, "target", {"estimators": ("ips", "dr")}, "leave out estimator 'dr', or give"),
    (QUERY, "target", {"interval": "bootstrap", "actions": [1]},
     "leave out actions, interval='bootstrap', or give"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "policy", "options", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named(database, query, policy, options, message):
    logs, _ = _logs(300, 5)
    more = {"percent": 50.0, "wrong": -0.5, "none": 0.0, "one": 1, "gap": 0.5}
    logs = logs.assign(**more)
    logs.loc[:1, "gap"] = np.nan
    database.put(logs)
    with pytest.raises(ValueError, match=message):
        policy_values(query, policy, connection=database.connection, **options)


def test_a_query_needs_a_connection_to_a_database_that_is_known(monkeypatch):
    with pytest.raises(ValueError, match="logs: a frame is needed, or a query with connection=, n"):
        policy_values(QUERY, "target")
    engine = sa.create_engine("sqlite://")
    monkeypatch.setattr(engine.dialect, "name", "oracle")
    with pytest.raises(
        ValueError, match=r"connection: sums are computed by sqlite, .*, not by ora"
    ):
        policy_values(QUERY, "target", connection=engine)
