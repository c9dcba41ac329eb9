"""Learnt policies against the best that there is, and against the one that made the logs."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from causal_lib.policy import learning as policy_learning
from causal_lib.policy import policy_value
from causal_lib.policy.learning import learn_policy
from causal_lib.policy.reward_model import fit_additive, order_of_rounds


def rounds(n, seed):
    """Three actions: the best is 0 where x < -0.5, 2 where x > 0.5, else 1; logged at random,
    mostly action 0.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.5, 1.5, n)
    z = rng.normal(size=n)
    best = np.digitize(x, [-0.5, 0.5])
    rates = np.where(np.arange(3) == best[:, None], 0.5, 0.2)
    logging = np.array([0.5, 0.3, 0.2])
    action = rng.choice(3, p=logging, size=n)
    click = (rng.random(n) < rates[np.arange(n), action]).astype(int)
    logs = pd.DataFrame(
        {"x": x, "z": z, "item_id": action, "click": click, "propensity_score": logging[action]}
    )
    return logs, rates


@pytest.mark.parametrize("loss", ["dr", "ips"])
@pytest.mark.parametrize("depth", [None, 2])
def test_a_learnt_policy_is_nearly_the_best(loss, depth):
    policy = learn_policy(rounds(6000, 0)[0], ["x", "z"], loss=loss, depth=depth)
    logs, rates = rounds(4000, 1)
    shares = policy.probabilities(logs)
    assert shares.sum(axis=1) == pytest.approx(1)
    value = (shares * rates).sum(axis=1).mean()
    assert value > 0.42  # the best has 0.5, the logging policy 0.3
    found = policy_value(logs, shares, estimator="dr", context=["x"])
    assert found.low <= value <= found.high


def test_rules_of_a_tree_say_what_it_does():
    policy = learn_policy(rounds(6000, 2)[0], ["x", "z"], depth=2)
    rules = policy.rules().split("\n")
    assert 3 <= len(rules) <= 4
    assert all(": action " in rule for rule in rules)
    frame = pd.DataFrame({"x": [-1.2, 0.0, 1.2], "z": 0.0})
    assert policy.probabilities(frame).argmax(axis=1).tolist() == [0, 1, 2]
    assert repr(policy) == "Policy (tree) of 3 actions by x, z"
    for row, action in zip(frame.itertuples(), [0, 1, 2], strict=True):
        fitting = [r for r in rules if eval(r.split(":")[0], {"x": row.x, "z": row.z})]
        assert fitting
        assert fitting[0].endswith(str(action))


def test_splits_that_change_no_action_are_left_out_of_the_rules():
    """Only x decides; a tree of depth 4 cuts on where nothing changes."""
    logs, _ = rounds(6000, 0)
    policy = learn_policy(logs, ["x", "z"], depth=4)
    rules = [rule.split(": action ") for rule in policy.rules().split("\n")]
    leaves = int((policy.model.tree_.children_left < 0).sum())
    assert len(rules) < leaves
    taken = policy.probabilities(logs).argmax(axis=1)
    told = np.full(len(logs), -1)
    for condition, action in rules:
        rows = logs.eval(condition).to_numpy()
        assert (told[rows] == -1).all()
        told[rows] = int(action)
    # conditions are rounded to four digits, so a row at a cut may be told on its other side
    assert (told != taken).mean() < 0.001


def test_scores_by_hand(monkeypatch):
    """Of ips: r / propensity for the action shown; of dr: the model, and for that action what it
    leaves / propensity.
    """
    seen = []
    monkeypatch.setattr(
        policy_learning,
        "_softmax",
        lambda x, scores, penalty: seen.append(scores) or np.zeros((3, 3)),
    )
    logs, _ = rounds(60, 3)
    for loss in ("ips", "dr"):
        learn_policy(logs, ["x", "z"], loss=loss)
    action, r, chance = (logs[name].to_numpy() for name in ("item_id", "click", "propensity_score"))
    x = logs[["x", "z"]].to_numpy()
    model = fit_additive(x, action, r.astype(float), 3, seed=0).of(slice(None))
    order, _ = order_of_rounds(x, action, r, 3)
    for found, q in zip(seen, (np.zeros((60, 3)), model), strict=True):
        by_hand = q.copy()
        for i in range(60):
            by_hand[i, action[i]] += (r[i] - q[i, action[i]]) / chance[i]
        assert found == pytest.approx(by_hand[order])


def test_softmax_gradient_is_that_of_finite_differences():
    from scipy.optimize import approx_fprime

    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    scores = rng.normal(size=(50, 3))
    seen = {}
    original = policy_learning.minimize
    policy_learning.minimize = lambda lost, start, **how: (
        seen.update(lost=lost) or original(lost, start, **how)
    )
    policy_learning._softmax(x, scores, 0.01)
    policy_learning.minimize = original
    point = rng.normal(size=6)
    assert seen["lost"](point)[1] == pytest.approx(
        approx_fprime(point, lambda w: seen["lost"](w)[0], 1e-7), abs=1e-5
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"loss": "dm"}, "unknown loss 'dm'; known: dr, ips"),
        ({"depth": 0}, "depth: a whole number of at least 1 is needed, not 0"),
        ({"depth": 2.5}, "depth: a whole number of at least 1 is needed, not 2.5"),
        ({"actions": 2}, r"action column 'item_id': \d+ values outside \[0, 1\]"),
        (
            {"action": "x"},
            r"action column 'x': \d+ values are no whole numbers, first .*; code the actions from 0 on first",
        ),
        (
            {"action": "word"},
            "action column 'word': only action 'a' was logged; a policy needs at least 2 to choose",
        ),
        ({"action": "minus"}, r"action column 'minus': 200 values outside \[0, inf\], first -1"),
        ({"actions": 10**7}, "200 rounds x 10,000,000 actions are over"),
        ({"context": ["w"]}, "no column 'w'"),
    ],
)
def test_bad_input(how, message):
    with pytest.raises(ValueError, match=message):
        learn_policy(rounds(200, 0)[0].assign(word="a", minus=-1), **({"context": ["x"]} | how))
    with pytest.raises(ValueError, match="a softmax has no rules"):
        learn_policy(rounds(200, 0)[0], ["x"]).rules()


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_the_softmax_is_the_penalised_optimum_by_another_search(penalty):
    """Shares of a policy that is fitted again without a gradient, on columns of unlike size, one of
    them constant.
    """
    logs, _ = rounds(150, 5)
    logs = logs.assign(x=40 + 7 * logs["x"], one=3.0)
    how = {} if penalty is None else {"penalty": penalty}
    policy = learn_policy(logs, ["x", "one"], loss="ips", **how)
    x = np.column_stack(
        [np.ones(150), (logs["x"] - logs["x"].mean()) / logs["x"].std(ddof=0), np.zeros(150)]
    )
    scores = np.zeros((150, 3))
    scores[np.arange(150), logs["item_id"]] = logs["click"] / logs["propensity_score"]

    def shares(flat, rows):
        odds = np.exp(rows @ flat.reshape(3, 3))
        return odds / odds.sum(axis=1, keepdims=True)

    def lost(flat):
        return (penalty or 1e-3) * (flat**2).sum() - (shares(flat, x) * scores).sum(axis=1).mean()

    ours = policy.model[[0, *(1 + np.argsort(policy.places))]].ravel()
    better = minimize(lost, ours + 0.01, method="BFGS", options={"gtol": 1e-7}).x
    assert lost(ours) == pytest.approx(lost(better), abs=1e-5)
    assert policy.probabilities(logs) == pytest.approx(shares(better, x), abs=0.02)
    assert policy.probabilities(logs) == pytest.approx(shares(ours, x))
    fresh = logs.head(4).assign(x=[20.0, 30.0, 50.0, 60.0])
    wide = np.column_stack(
        [np.ones(4), (fresh["x"] - logs["x"].mean()) / logs["x"].std(ddof=0), np.zeros(4)]
    )
    assert policy.probabilities(fresh) == pytest.approx(shares(ours, wide))


def test_what_a_tree_is_told():
    for n, least in ((600, 5), (2400, 12)):
        tree = learn_policy(rounds(n, 6)[0], ["x", "z"], depth=1, seed=4).model
        assert (tree.max_depth, tree.min_samples_leaf, tree.random_state) == (1, least, 4)
        assert tree.tree_.node_count <= 3


def test_actions_that_were_never_shown_and_levels_that_are_not_there():
    logs, _ = rounds(300, 7)
    logs = logs.assign(kind=np.array(list("abc"))[np.arange(300) % 3])
    policy = learn_policy(logs, ["x", "kind"], actions=5)
    assert (policy.actions, policy.context, policy.model.shape) == (5, ("x", "kind"), (4, 3))
    assert (policy.probabilities(logs)[:, 3:] == 0).all()
    assert policy.columns == ("x", "kind_b", "kind_c")
    rows = logs[logs["kind"] == "c"].head(5)
    assert policy.probabilities(rows) == pytest.approx(policy.probabilities(logs)[rows.index])
    assert learn_policy(logs, ["x"]).actions == 3
    assert repr(policy) == (
        "Policy (softmax) of 5 actions by x, kind; never logged and never chosen: 3, 4"
    )


def test_the_seed_is_that_of_the_model_and_names_of_columns_are_ours():
    logs, _ = rounds(200, 8)
    named = logs.rename(columns={"item_id": "a", "click": "r", "propensity_score": "p"})
    how = {"action": "a", "reward": "r", "propensity": "p"}
    first = learn_policy(logs, ["x"]).model
    assert (learn_policy(named, ["x"], **how).model == first).all()
    assert (
        learn_policy(logs, ["x"], loss="dr", depth=None, actions=3, penalty=1e-3, seed=0).model
        == first
    ).all()
    assert (learn_policy(logs, ["x"], seed=1).model != first).any()


def test_tables_are_not_larger_than_memory(monkeypatch):
    logs, _ = rounds(200, 9)
    monkeypatch.setattr(policy_learning, "_ENTRIES", 600)
    policy = learn_policy(logs, ["x"])
    policy.probabilities(logs)
    with pytest.raises(
        ValueError, match="201 rounds x 3 actions are over 600 numbers; ask for the rows in parts"
    ):
        policy.probabilities(pd.concat([logs, logs[:1]]))
    with pytest.raises(
        ValueError, match="200 rounds x 4 actions are over 600 numbers; learn from a sample"
    ):
        learn_policy(logs, ["x"], actions=4)
    for depth in (1, None):
        learn_policy(logs, ["x"], depth=depth)


def test_a_tree_of_one_leaf_always_does_the_same():
    logs, _ = rounds(400, 10)
    logs = logs.assign(click=(logs["item_id"] == 1).astype(int), flat=1.0)
    policy = learn_policy(logs, ["flat"], loss="ips", depth=2)
    assert policy.rules() == "always: action 1"
    assert policy.probabilities(logs.head(2)).tolist() == [[0, 1, 0]] * 2


def never_logged(n, seed):
    """Actions 1 and 2, each the better one on its side, a level of the reward that is not linear in
    the context, and no action 0.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    action = rng.integers(1, 3, n)
    chance = np.where(np.abs(x) < 0.7, 0.05, 0.6) + np.where((action == 1) == (x > 0), 0.05, 0.0)
    return pd.DataFrame(
        {
            "x": x,
            "item_id": action,
            "click": (rng.random(n) < chance).astype(int),
            "propensity_score": 0.5,
        }
    )


@pytest.mark.parametrize("loss", ["dr", "ips"])
@pytest.mark.parametrize("depth", [None, 3])
def test_an_action_that_was_never_logged_is_never_chosen(loss, depth):
    logs = never_logged(3000, 0)
    policy = learn_policy(logs, ["x"], loss=loss, depth=depth)
    chosen = policy.probabilities(logs)
    assert chosen.shape == (3000, 3)
    assert (chosen[:, 0] == 0).all()
    assert chosen.sum(axis=1) == pytest.approx(1)
    assert policy_value(logs, chosen, estimator="ips").verdict == "ok"
    assert repr(policy).endswith("of 3 actions by x; never logged and never chosen: 0")
    if depth:
        assert {rule.split(": ")[1] for rule in policy.rules().split("\n")} <= {
            "action 1",
            "action 2",
        }
    with pytest.raises(ValueError, match="'item_id': only action 1 was logged; a policy needs at"):
        learn_policy(logs[logs["item_id"] == 1], ["x"], loss=loss, depth=depth)


@pytest.mark.parametrize("depth", [None, 2])
@pytest.mark.parametrize("kind", ["str", "category", "Int64", "float64", "bool"])
def test_actions_of_any_type_are_learnt_as_their_numbers_are(kind, depth):
    logs, _ = rounds(800, 11)
    if kind == "bool":
        logs = logs[logs["item_id"] < 2]
    words = {
        "str": np.array(["fig", "pear", "plum"]),
        "category": np.array(["fig", "pear", "plum"]),
        "bool": np.array([False, True, True]),
    }
    values = logs["item_id"].to_numpy()
    named = logs.assign(
        item_id=pd.Series(
            words[kind][values] if kind in words else values, index=logs.index
        ).astype(kind)
    )
    policy = learn_policy(named, ["x", "z"], depth=depth)
    plain = learn_policy(logs, ["x", "z"], depth=depth)
    assert (policy.probabilities(logs) == plain.probabilities(logs)).all()
    table = policy.table(named.iloc[::-1])
    assert table.index.equals(named.index[::-1])
    assert table.columns.tolist() == policy.labels.tolist()
    found = policy_value(named.iloc[::-1], table.iloc[:, ::-1], estimator="ips")
    assert found.value == policy_value(logs, plain.probabilities(logs), estimator="ips").value
    if depth:
        shown = {rule.rpartition("action ")[2] for rule in policy.rules().split("\n")}
        assert shown <= set(map(str, policy.labels))


def test_labels_may_be_given():
    logs, _ = rounds(400, 12)
    logs = logs.assign(item_id=np.array(["fig", "pear", "plum"])[logs["item_id"]])
    labels = ["plum", "kiwi", "fig", "pear"]
    policy = learn_policy(logs, ["x"], actions=labels)
    plain = learn_policy(logs, ["x"])
    found = policy.table(logs)
    assert found.columns.tolist() == labels
    assert (found["kiwi"] == 0).all()
    for one in ("fig", "pear", "plum"):
        assert found[one].to_numpy() == pytest.approx(plain.table(logs)[one].to_numpy(), abs=1e-3)
    with pytest.raises(ValueError, match="are not among the labels 'plum', 'kiwi', 'fig', first"):
        learn_policy(logs, ["x"], actions=labels[:3])
    assert learn_policy(logs, ["x"], actions=3).actions == 3
    with pytest.raises(ValueError, match=r"holds 3 levels, .*; the policy has 4 columns"):
        learn_policy(logs, ["x"], actions=4)
    for strange in ({*labels}, 2.5, True):
        with pytest.raises(ValueError, match=r"actions \(their number, or a list of labels\): a"):
            learn_policy(logs, ["x"], actions=strange)


def test_one_and_two_rounds():
    logs, _ = rounds(60, 13)
    two = pd.concat([logs[logs["item_id"] == 0].head(1), logs[logs["item_id"] == 1].head(1)])
    with pytest.raises(ValueError, match="2 rounds are too few for the 3 folds of the model"):
        learn_policy(two, ["x"])
    assert learn_policy(two, ["x"], loss="ips").probabilities(two).shape == (2, 2)
    with pytest.raises(ValueError, match="only action"):
        learn_policy(two.head(1), ["x"], loss="ips")
