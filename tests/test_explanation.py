"""Explanations: they add up to what they explain, and find a truth that was put in."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from causal_lib.data import schema
from causal_lib.explanation import (
    edge_importance,
    explain,
    integrated_gradients,
    layer_table,
    permutation_importance,
    without_edges,
)
from causal_lib.graph import CausalGraph
from causal_lib.models.dnn import build_embedding_model, build_model, build_sequence_model, predict
from causal_lib.models.gnn import EdgePredictor, convert_to_graph, predict_edges
from causal_lib.models.interactions import Interactions
from causal_lib.models.recommender import Recommender
from causal_lib.worlds.online_shop import shop


def log_odds(p):
    return np.log(p / (1 - p))


# ---- inputs


@pytest.mark.parametrize("kind", ["array", "mapping", "codes"])
def test_gradients_add_up_to_the_difference_of_log_odds(kind):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 3))
    if kind == "array":
        model = build_model((3,), dtype="float64", seed=1)
        X = features
    elif kind == "mapping":
        model = build_sequence_model(5, 2, 3, filters=4, dtype="float64", seed=1)
        X = {"history": rng.normal(size=(20, 5, 2)), "features": features}
    else:
        model = build_embedding_model(4, 6, 3, dim=2, dtype="float64", seed=1)
        X = {
            "user": rng.integers(5, size=20),
            "item": rng.integers(7, size=20),
            "features": features,
        }
    real = [name for name in ("history", "features") if kind != "array" and name in X]
    start = (
        {name: rng.normal(size=X[name].shape[1:]) for name in real} if real else rng.normal(size=3)
    )
    at_start = (
        X | {n: np.broadcast_to(start[n], X[n].shape) for n in real}
        if real
        else np.broadcast_to(start, X.shape)
    )
    gap = log_odds(predict(model, X)) - log_odds(predict(model, at_start))
    found = integrated_gradients(model, X, start, steps=300)
    parts = [found] if kind == "array" else list(found.values())
    assert kind == "array" or list(found) == real
    whole = sum(part.reshape(20, -1).sum(axis=1) for part in parts)
    # the midpoint rule over the kinks of ReLUs: errors of the order of a step
    np.testing.assert_allclose(whole, gap, atol=1e-2 * np.abs(gap).max())
    few = integrated_gradients(model, X, start, steps=10)
    parts = [few] if kind == "array" else list(few.values())
    assert (
        np.abs(sum(p.reshape(20, -1).sum(axis=1) for p in parts) - gap).max()
        > np.abs(whole - gap).max()
    )


def test_gradients_of_a_linear_model_are_weights_times_inputs():
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((3,), dtype="float64"),
            keras.layers.Dense(1, "sigmoid", dtype="float64"),
        ]
    )
    X = np.random.default_rng(0).normal(size=(10, 3))
    weight = model.get_weights()[0][:, 0]
    np.testing.assert_allclose(integrated_gradients(model, X, steps=3), X * weight, atol=1e-12)


def test_shuffled_groups_are_those_that_matter():
    rng = np.random.default_rng(0)
    level = rng.integers(3, size=4000)
    X = np.column_stack([np.eye(3)[level], rng.normal(size=(4000, 2))])
    score = 2.0 * (level == 1) + 0.5 * X[:, 3]
    y = (rng.random(4000) < 1 / (1 + np.exp(-score))).astype(int)
    weight = np.array([0, 2.0, 0, 0.5, 0])
    groups = {"level": [0, 1, 2], "number": [3], "nothing": [4]}
    table = permutation_importance(lambda X: X @ weight, X, y, groups, seed=1)
    assert table.index.tolist() == ["level", "number", "nothing"]
    assert table.loc["nothing"].tolist() == [0, 0, 0]
    whole = roc_auc_score(y, score)
    alone = np.array(
        [
            whole
            - roc_auc_score(y, score - 2.0 * (level == 1) + 2.0 * (rng.permutation(level) == 1))
            for _ in range(40)
        ]
    )
    # one of the mean of 10 shuffles, one of 40
    error = alone.std(ddof=1) * np.sqrt(1 / 10 + 1 / 40)
    assert table.loc["level", "importance"] == pytest.approx(alone.mean(), abs=4 * error)
    assert 4 * error < 0.1 * alone.mean()


def test_shuffled_groups_fall_alike_whatever_the_order_of_rows_and_columns():
    """Rows of few values, some missing, for a model that takes them by column."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(4, size=(500, 3)), rng.normal(size=500)]).astype(float)
    X[rng.random(500) < 0.1, 1] = np.nan
    y = (rng.random(500) < 0.2 + 0.15 * X[:, 0]).astype(int)
    weight = np.array([1.0, 0.3, -0.2, 0.1])

    def falls(X, y, columns, names):
        def predict(rows):
            return np.nan_to_num(rows) @ weight[columns]

        return permutation_importance(predict, X, y, {name: groups[name] for name in names})

    groups = {"one": [0], "two": [1, 2], "last": [3]}
    right = falls(X, y, [0, 1, 2, 3], ["one", "two", "last"])
    rows = rng.permutation(500)
    found = falls(X[rows], y[rows], [0, 1, 2, 3], ["last", "one", "two"])
    assert found.loc[right.index].to_numpy() == pytest.approx(right.to_numpy(), abs=1e-12)
    columns = [2, 0, 3, 1]
    groups = {"one": [1], "two": [3, 0], "last": [2]}
    found = falls(X[:, columns], y, columns, ["one", "two", "last"])
    assert found.loc[right.index].to_numpy() == pytest.approx(right.to_numpy(), abs=1e-12)


def test_the_interval_of_an_importance_by_hand(monkeypatch):
    """Student's t of three repeats: 4.302653 at two degrees of freedom."""
    monkeypatch.setattr(
        "causal_lib.explanation.auc_falls",
        lambda *_: np.array([[0.1, 0.5], [0.2, 0.5], [0.6, 0.5]]),
    )
    table = permutation_importance(
        lambda X: X[:, 0], np.eye(2), [0, 1], {"a": [0], "b": [1]}, n_repeats=3
    )
    half = 4.302653 * np.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2) / np.sqrt(3)
    assert table.loc["a"].tolist() == pytest.approx([0.3, 0.3 - half, 0.3 + half], abs=1e-6)
    assert table.loc["b"].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert table.index.tolist() == ["b", "a"]


# ---- edges


def tiny():
    users = pd.DataFrame({"user_id": range(4), "age": [1.0, 2.0, 6.0, 3.0]})
    items = pd.DataFrame({"item_id": range(3), "price": [2.0, 4.0, 3.0]})
    bought = [(0, 0), (0, 1), (1, 0), (2, 1), (2, 2)]  # user 3 is alone
    rows = pd.DataFrame(bought, columns=["user_id", "item_id"]).assign(day=0, purchased=1)
    return convert_to_graph(rows, users, items, dtype="float64")


def made(kind, graph, seed=0):
    torch.manual_seed(seed)
    return EdgePredictor(graph.num_features, 5, kind).double()


@pytest.mark.parametrize("kind", ["gcn", "gat"])
def test_edges_add_up_to_the_log_odds_without_messages(kind):
    graph = tiny()
    model = made(kind, graph)
    before = predict_edges(model, graph, [0], [2])
    table = edge_importance(model, graph, 0, 2, steps=500)
    assert predict_edges(model, graph, [0], [2]) == before  # the masks are gone
    # without messages a layer gives its bias
    with torch.no_grad():
        z = model.encoder.convs[1].bias
        nothing = float(z @ z + model.linear(z).sum())
    assert table["importance"].sum() == pytest.approx(
        float(log_odds(before)[0]) - nothing, abs=1e-2
    )
    pairs = set(map(tuple, table[["one", "other"]].to_numpy()))
    assert ("user 2", "item 2") in pairs
    assert ("user 0", "user 0") in pairs
    assert not any("user 3" in pair for pair in pairs)  # no way leads from there
    assert table["importance"].abs().is_monotonic_decreasing


def test_edges_are_deleted_in_both_directions_and_others_stay():
    graph = tiny()
    before = graph.edge_index.clone()
    some = pd.DataFrame({"one": ["user 0", "item 2"], "other": ["item 1", "user 2"]})
    cut = without_edges(graph, some)
    left = set(map(tuple, cut.edge_index.T.tolist()))
    gone = set(map(tuple, before.T.tolist())) - left
    assert gone == {(0, 5), (5, 0), (2, 6), (6, 2)}
    assert len(left) == before.shape[1] - 4
    assert torch.equal(graph.edge_index, before)  # the argument is not changed
    assert torch.equal(without_edges(graph, some[:0]).edge_index, before)


@pytest.mark.parametrize("pair", [("user 0", "item 2"), ("user 0", "user 0"), ("user 9", "item 0")])
def test_an_edge_that_is_not_there_is_not_deleted_silently(pair):
    table = pd.DataFrame([("user 0", "item 1"), pair], columns=["one", "other"])
    message = f"edges: 1 of 2 are not in the graph, such as {pair[0]} - {pair[1]}; leave them out"
    with pytest.raises(ValueError, match=re.escape(message)):
        without_edges(tiny(), table)


def test_the_edge_that_counts_is_found():
    """A linear network on one feature: an edge's share is what goes along it, worked out by hand."""
    graph = tiny()
    model = made("gcn", graph)
    with torch.no_grad():
        for conv in model.encoder.convs:
            conv.lin.weight.zero_()
            conv.bias.zero_()
            conv.lin.weight[0, 0] = 1.0
        model.linear.weight.zero_()
        model.linear.bias.zero_()
        model.linear.weight[0, 0] = 1.0  # the logit is the user's z, plus the product z_u z_i
        graph.x.zero_()
        graph.x[5, 0] = (
            # item 1, which user 0 bought; nothing reaches user 1 in two rounds but by item 0 and
            # user 0
            1.0
        )
    table = edge_importance(model, graph, 0, 0, steps=500).set_index(["one", "other"])["importance"]
    a = np.eye(7)
    for user, item in [(0, 0), (0, 1), (1, 0), (2, 1), (2, 2)]:
        a[user, 4 + item] = a[4 + item, user] = 1
    a /= np.sqrt(np.outer(a.sum(axis=0), a.sum(axis=0)))
    z = a @ a @ graph.x[:, 0].numpy()
    assert table.sum() == pytest.approx(z[0] + z[0] * z[4], rel=1e-5)
    # to z_0 lead item 1 - item 1 - user 0 and item 1 - user 0 - user 0, to z_4 item 1 - user 0 -
    # item 0; a share halves at each edge
    first = a[0, 5] * a[5, 5]
    second = a[0, 0] * a[0, 5]
    third = a[4, 0] * a[0, 5]
    product = (first + second) * third  # four edges, each a quarter of it
    by_hand = {
        ("item 1", "item 1"): first / 2 + first * third / 4,
        ("user 0", "item 1"): (first + second) / 2 + product / 2,
        ("user 0", "user 0"): second / 2 + second * third / 4,
        ("user 0", "item 0"): product / 4,
    }
    by_hand = {tuple(sorted(k)): v for k, v in by_hand.items()}
    found = {tuple(sorted(k)): v for k, v in table.items()}
    assert found == pytest.approx(by_hand, abs=1e-4)


# ---- taste and popularity


def given(n_users=60, n_items=30, seed=0):
    """Interactions, a table of scores made of known parts, and the parts."""
    rng = np.random.default_rng(seed)
    clicks = rng.random((n_users, n_items)) < np.linspace(0.05, 0.7, n_items)
    clicks[:, -1] = False
    clicks[0, :] = False
    clicks[0, [2, 7]] = True
    ids = {
        "user_ids": [f"u{k}" for k in range(n_users)],
        "item_ids": list(range(100, 100 + n_items)),
    }
    pairs = np.argwhere(clicks)
    frame = pd.DataFrame({"user_id": [f"u{k}" for k in pairs[:, 0]], "item_id": 100 + pairs[:, 1]})
    train = Interactions.of(frame, value=None, **ids)
    log = np.log1p(clicks.sum(axis=0))
    log -= log.mean()
    appeal = rng.normal(size=n_items)
    appeal -= appeal.mean()
    appeal -= log * (log @ appeal) / (log @ log)
    taste = rng.normal(size=(n_users, n_items))
    taste[:, 3] = taste[:, 7] * 2 + 0.1 * rng.normal(size=n_users)
    taste -= taste.mean(axis=0)
    taste -= taste.mean(axis=1, keepdims=True)
    scores = 5 + rng.normal(size=(n_users, 1)) + 0.8 * log + appeal + taste
    return train, scores, 0.8 * log, appeal, taste


def recommender(scores):
    table = torch.from_numpy(scores)
    return Recommender("made", scores.shape, lambda users: table[users], pd.DataFrame())


def test_the_parts_are_those_put_in():
    train, scores, popularity, appeal, taste = given()
    found = explain(recommender(scores), "u0", 103, train)
    spread = scores[0].std()
    assert found.parts.to_numpy() * spread == pytest.approx(
        np.array([popularity[3], appeal[3], taste[0, 3]]), abs=1e-9
    )
    assert found.parts.sum() * spread == pytest.approx(scores[0, 3] - scores[0].mean())
    new = [i for i in range(30) if i not in (2, 7)]
    assert found.of == 28
    assert found.rank == 1 + sum(scores[0, i] > scores[0, 3] for i in new)
    less = scores[0] - popularity
    assert found.rank_without == 1 + sum(less[i] > less[3] for i in new)
    assert next(iter(found.because)) == 107
    assert found.because[107] > 0.99
    assert "made ranks item 103" in repr(found)
    assert "item 107" in repr(found)
    assert found.to_dict()["parts"]["taste"] == found.parts["taste"]


def test_a_change_of_unit_and_of_the_users_level_changes_nothing():
    train, scores, *_ = given()
    one = explain(recommender(scores), "u0", 105, train)
    other = explain(recommender(3 * scores + np.arange(60)[:, None]), "u0", 105, train)
    assert other.parts.to_numpy() == pytest.approx(one.parts.to_numpy(), abs=1e-9)
    assert (other.rank, other.rank_without, list(other.because)) == (
        one.rank,
        one.rank_without,
        list(one.because),
    )


def test_of_many_users_a_sample_is_averaged(monkeypatch):
    train, scores, *_ = given()
    monkeypatch.setattr("causal_lib.explanation._USERS", 40)
    asked = []
    table = torch.from_numpy(scores)

    def ranked(users):
        asked.append(len(users))
        return table[users]

    found = explain(Recommender("made", scores.shape, ranked, pd.DataFrame()), "u0", 103, train)
    assert asked[0] in (40, 41)
    assert found.parts.sum() * scores[0].std() == pytest.approx(scores[0, 3] - scores[0].mean())


def test_the_paths_are_those_of_the_shop():
    train, scores, *_ = given()
    world = shop(n_users=20, n_items=20, days=2)
    how = {"graph": world.graph, "of_items": schema.ITEM_ATTRIBUTES}
    paths = explain(recommender(scores), "u0", 103, train, **how).paths
    assert "popularity → exposed → clicked" in paths["popularity"]
    assert paths["appeal"] == ["category → clicked", "price → clicked", "quality → clicked"]
    assert paths["taste"] == ["age_band → clicked", "price_sensitivity → clicked"]
    untold = explain(recommender(scores), "u0", 103, train, graph=world.graph).paths
    assert set(untold["appeal or taste"]) == {*paths["appeal"], *paths["taste"]}
    assert not any("position" in way for way in untold["appeal or taste"])
    with pytest.raises(ValueError, match="no variable 'colour'"):
        explain(recommender(scores), "u0", 103, train, graph=world.graph, of_items=["colour"])
    assert explain(recommender(scores), "u0", 103, train).paths == {}


CHAIN = CausalGraph.from_edges(["exposed", "clicked"], [("clicked", "exposed")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "x"}, "user: 'x' is not among the user_ids of train"),
        ({"item": 1}, "item: 1 is not among the item_ids of train"),
        ({"item": 107}, "item: user 'u0' has met 107 in training"),
        (
            {"recommender": recommender(np.zeros((3, 30)))},
            r"knows \(3, 30\) users and items, train has \(60, 30\)",
        ),
        (
            {"recommender": recommender(np.ones((60, 30)))},
            "all items have the same score for user 'u0'",
        ),
        ({"graph": CHAIN}, "'exposed' is no cause of 'clicked'"),
        ({"graph": CHAIN, "exposure": "shown"}, "no variable 'shown'; it has exposed, clicked"),
    ],
)
def test_bad_questions_are_refused(change, message):
    train, scores, *_ = given()
    arguments = {
        "recommender": recommender(scores),
        "user": "u0",
        "item": 103,
        "train": train,
    } | change
    with pytest.raises(ValueError, match=message):
        explain(**arguments)


def test_equally_popular_items_are_refused():
    frame = pd.DataFrame({"user_id": [0, 1], "item_id": [0, 1]})
    train = Interactions.of(frame, value=None)
    with pytest.raises(ValueError, match="all 2 items were met 1 times"):
        explain(recommender(np.eye(2)), 0, 1, train)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: integrated_gradients(m, np.zeros((2, 3), dtype=int)), "no input holds real "
                                                                         "numbers"),
        (lambda m: integrated_gradients(m, np.zeros((2, 3)), np.zeros(4)), r"baseline: .*do not fit rows of"),
        (lambda m: integrated_gradients(m, np.zeros((2, 3)), steps=0), "steps=0 must be 1 or more"),
        (lambda m: permutation_importance(len, np.zeros((2, 3)), [0, 1], {"a": [3]}), r"'a' names columns \[3\]; X has columns 0..2"),
        (lambda m: permutation_importance(len, np.zeros((2, 3)), [0, 1], {"a": [0]}, n_repeats=1), "n_repeats=1 gives no interval"),
        (lambda m: permutation_importance(len, np.zeros((3, 3)), [0, 1], {"a": [0]}), "X has 3 "
                                                                                      "rows, y 2"),
        (lambda m: edge_importance(made("gcn", tiny()), tiny(), 9, 0), "user_id: 1 ids are not "
                                                                       "nodes of the graph, first "
                                                                       "9"),
        (lambda m: edge_importance(made("gcn", tiny()), tiny(), 0, 0, steps=0), "steps=0 must be "
                                                                                "1 or more"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(build_model((3,)))


# ---- pictures


def test_layers_and_what_feeds_them():
    table = layer_table(build_embedding_model(3, 5, 2, dim=2)).set_index("layer")
    joined = table.index[table["kind"] == "Concatenate"][0]
    assert set(table.loc[joined, "after"]) >= {"user_embedding", "item_embedding", "features"}
    assert table.loc["user_embedding", "parameters"] == 4 * 2
    assert table.loc["user_embedding", "after"] == ["user"]
    assert table["parameters"].sum() == build_embedding_model(3, 5, 2, dim=2).count_params()
    chain = layer_table(build_model((4,)))
    assert chain["after"].tolist()[1:] == [[name] for name in chain["layer"][:-1]]
    network = made("gat", tiny())
    found = layer_table(network)
    assert found["parameters"].sum() == sum(p.numel() for p in network.parameters())


# ---- by hand


def curved():
    """Log-odds are Σ w tanh(x), in double precision; and w."""
    import keras

    inputs = keras.layers.Input((2,), dtype="float64")
    bent = keras.layers.Activation("tanh", dtype="float64")(inputs)
    output = keras.layers.Dense(1, "sigmoid", dtype="float64")
    model = keras.Model(inputs, output(bent))
    output.set_weights([np.array([[2.0], [-1.0]]), np.array([0.3])])
    return model, np.array([2.0, -1.0])


def test_gradients_are_taken_at_the_middles_of_the_steps():
    model, weight = curved()
    X = np.array([[1.0, 2.0], [-0.5, 0.2]])
    start = np.array([0.4, -1.0])

    def slope(share):
        return weight / np.cosh(start + share * (X - start)) ** 2

    for steps, shares in ((1, [1 / 2]), (2, [1 / 4, 3 / 4]), (3, [1 / 6, 1 / 2, 5 / 6])):
        expected = (X - start) * np.mean([slope(share) for share in shares], axis=0)
        np.testing.assert_allclose(
            integrated_gradients(model, X, start, steps=steps), expected, rtol=1e-10
        )
    hundred = integrated_gradients(model, X)
    np.testing.assert_array_equal(hundred, integrated_gradients(model, X, np.zeros(2), steps=100))
    assert not np.array_equal(hundred, integrated_gradients(model, X, steps=99))


def test_edges_are_weighed_at_the_middles_of_the_steps():
    """One step is the gradient at half of every message; the default is 50 steps."""
    graph = tiny()
    model = made("gcn", graph)
    once = edge_importance(model, graph, 0, 2, steps=1)
    mean = {}
    names = list(graph.node_names)
    for low, high in ((a, b) for a in range(7) for b in range(a, 7)):
        mean[names[low], names[high]] = _slope(model, graph, 0.5, low, high)
    found = once.set_index(["one", "other"])["importance"].to_dict()
    assert found == pytest.approx(
        {pair: value for pair, value in mean.items() if abs(value) > 1e-12}, rel=1e-5, abs=1e-9
    )
    pd.testing.assert_frame_equal(
        edge_importance(model, graph, 0, 2), edge_importance(model, graph, 0, 2, steps=50)
    )


def _slope(model, graph, share, low, high):
    """By differences: what the log-odds of user 0 and item 2 gain as messages between two nodes
    rise from ``share``.
    """
    a = np.eye(7)
    for user, item in [(0, 0), (0, 1), (1, 0), (2, 1), (2, 2)]:
        a[user, 4 + item] = a[4 + item, user] = 1
    a /= np.sqrt(np.outer(a.sum(axis=0), a.sum(axis=0)))

    def odds(more):
        scale = np.full((7, 7), share)
        scale[low, high] += more
        scale[high, low] = scale[low, high]
        first, second = (
            (conv.lin.weight.detach().numpy(), conv.bias.detach().numpy())
            for conv in model.encoder.convs
        )
        z = np.maximum((a * scale) @ graph.x.numpy() @ first[0].T + first[1], 0)
        z = (a * scale) @ z @ second[0].T + second[1]
        own = z @ model.linear.weight.detach().numpy().T + model.linear.bias.detach().numpy()
        return z[0] @ z[6] + own[0, 0] + own[6, 1]

    return (odds(1e-5) - odds(-1e-5)) / 2e-5


def test_the_parts_of_any_user_and_what_goes_with_them():
    """Of user 4, by numpy: the line of means on log popularity, what is left of them, and
    correlations of tastes.
    """
    train, scores, *_ = given()
    user = 4
    met = train.items[train.users == user]
    item = next(i for i in range(29, -1, -1) if i not in met)
    found = explain(recommender(scores), f"u{user}", 100 + item, train, like=2)
    centred = scores - scores.mean(axis=1, keepdims=True)
    counts = np.log1p(np.bincount(train.items, minlength=30))
    line = np.polynomial.Polynomial.fit(counts, centred.mean(axis=0), 1)
    popularity = line(counts) - line(counts).mean()
    appeal = centred.mean(axis=0) - popularity
    taste = centred - centred.mean(axis=0)
    expected = np.array([popularity[item], appeal[item], taste[user, item]]) / scores[user].std()
    assert found.parts.to_numpy() == pytest.approx(expected)
    new = [i for i in range(30) if i not in met]
    assert (found.of, found.rank) == (
        len(new),
        1 + sum(scores[user, i] > scores[user, item] for i in new),
    )
    r = {100 + i: np.corrcoef(taste[:, item], taste[:, i])[0, 1] for i in met}
    best = sorted((i for i in r if r[i] > 0), key=lambda i: -r[i])[:2]
    assert list(found.because) == best
    assert found.because == pytest.approx({i: r[i] for i in best}, abs=1e-6)
    assert (found.user, found.item, found.method) == ("u4", 100 + item, "made")
    three = explain(recommender(scores), f"u{user}", 100 + item, train)
    assert list(three.because) == sorted((i for i in r if r[i] > 0), key=lambda i: -r[i])[:3]


def test_items_that_nobody_tells_apart_by_taste_have_no_because():
    train, *_ = given()
    scores = np.zeros((60, 30))
    scores[:, 3] = 30.0  # numbers whose means are exact
    found = explain(recommender(scores), "u0", 103, train)
    assert (found.rank, found.of) == (1, 28)
    assert found.because == {}
    assert "Taste goes with" not in repr(found)


def test_the_users_of_the_average_are_drawn_by_the_seed(monkeypatch):
    train, scores, *_ = given()
    monkeypatch.setattr("causal_lib.explanation._USERS", 10)
    for seed in (0, 5):
        drawn = np.random.default_rng(seed).permutation(60)[:10]
        rows = np.append(drawn[drawn != 7], 7)
        centred = scores[rows] - scores[rows].mean(axis=1, keepdims=True)
        item = next(i for i in range(30) if i not in train.items[train.users == 7])
        found = explain(recommender(scores), "u7", 100 + item, train, seed=seed)
        taste = centred[-1, item] - centred[:, item].mean()
        assert found.parts["taste"] == pytest.approx(taste / scores[7].std())
    assert (
        explain(recommender(scores), "u7", 100 + item, train).parts["taste"] != found.parts["taste"]
    )


def test_ways_through_a_graph_by_hand():
    """popularity -> exposed -> position -> clicked -> bought; taste acts beside the exposure, price
    on the position alone.
    """
    edges = [
        "popularity -> exposed",
        "season -> popularity",
        "exposed -> position",
        "price -> position",
        "position -> clicked",
        "taste -> clicked",
        "clicked -> bought",
        "wealth -> bought",
    ]
    names = [
        "popularity",
        "season",
        "exposed",
        "position",
        "price",
        "clicked",
        "taste",
        "bought",
        "wealth",
    ]
    graph = CausalGraph.from_edges(names, edges)
    train, scores, *_ = given()
    how = {"graph": graph, "outcome": "bought"}
    found = explain(recommender(scores), "u0", 103, train, **how)
    through = "exposed → position → clicked → bought"
    assert found.paths == {
        "popularity": [f"popularity → {through}"],
        "appeal or taste": ["wealth → bought"],
    }
    assert f"Popularity: popularity → {through}.\nAppeal or taste: wealth → bought." in repr(found)
    found = explain(
        recommender(scores), "u0", 103, train, graph=graph, exposure="season", outcome="clicked"
    )
    assert found.paths["popularity"] == ["season → popularity → exposed → position → clicked"]
    assert found.paths["appeal or taste"] == ["taste → clicked"]
    default = explain(recommender(scores), "u0", 103, train, graph=graph)
    assert default.paths["popularity"] == ["popularity → exposed → position → clicked"]
