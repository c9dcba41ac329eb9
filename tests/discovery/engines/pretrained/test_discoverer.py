"""The pretrained discoverer as users call it: what it may not do with any weights, and what the
package's own can do.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery import METHODS, discover, edge_stability
from causal_lib.discovery.distances import precision_recall_f1
from causal_lib.discovery.engines.pretrained import discoverer, familiarity
from causal_lib.discovery.engines.pretrained.discoverer import EdgeProbabilities, edge_probabilities
from causal_lib.discovery.engines.pretrained.features import SHRINK, describe
from causal_lib.discovery.engines.pretrained.weights import PATH, load, of_names
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_tables import draw, some_knowledge


def with_limits(weights, factor):
    """The same weights, their limits of familiarity multiplied."""
    limits = {name: value * factor for name, value in weights.about["limits"].items()}
    return dataclasses.replace(weights, about=weights.about | {"limits": limits})


@pytest.fixture
def trusting(tiny, monkeypatch):
    """`discover` with the weights of the fixture, every table familiar."""
    monkeypatch.setattr(discoverer, "load", lambda: with_limits(tiny, 1e9))


@pytest.fixture
def untrusting(tiny, monkeypatch):
    """`discover` with the weights of the fixture, no table familiar."""
    monkeypatch.setattr(discoverer, "load", lambda: with_limits(tiny, 1e-9))


def test_probabilities_add_up_whatever_the_weights(tiny, mixed):
    found = edge_probabilities(mixed.frame, weights=tiny)
    off = ~np.eye(6, dtype=bool)
    assert np.allclose((found.directed + found.directed.T + found.none)[off], 1)
    assert not found.directed.diagonal().any()
    assert np.array_equal(found.none, found.none.T)
    table = found.to_frame()
    assert len(table) == 15
    assert (table["P(i->j)"] >= table["P(j->i)"]).all()
    row = table.iloc[4]
    i = found.names.index(row["cause"])
    j = found.names.index(row["effect"])
    assert row["P(i->j)"] == found.directed[i, j]
    assert row["P(none)"] == pytest.approx(found.none[i, j])


def test_same_seed_same_bytes_and_no_random_state_is_touched(trusting, mixed):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = (
        discover(mixed.frame, method="pretrained", seed=3, threshold=0.3) for _ in range(2)
    )
    assert one.info["edge_probabilities"] == other.info["edge_probabilities"]
    assert one.marks.tobytes() == other.marks.tobytes()
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_permuted_flipped_rescaled_and_renamed_columns_give_the_same_graph_to_the_last_bit(
    tiny, mixed
):
    found = edge_probabilities(mixed.frame, weights=tiny)
    turned = mixed.frame[list(mixed.frame.columns[::-1])].copy()
    for name, column in turned.items():
        if column.dtype.kind == "f":
            turned[name] = 5 - column * 1000
    other = edge_probabilities(turned.rename(columns=str.upper), weights=tiny)
    at = [other.names.index(name.upper()) for name in found.names]
    assert np.array_equal(found.directed, other.directed[np.ix_(at, at)])


@pytest.mark.parametrize("seed", range(4))
def test_knowledge_is_never_violated_and_the_graph_is_acyclic(trusting, seed):
    sample = draw("mixed", [12, seed], d=6, n=200)
    rng = np.random.default_rng(seed)
    true = some_knowledge(sample, rng)
    false = Knowledge(
        tiers=[[name] for name in sample.order[::-1]],
        required=[(sample.order[-1], sample.order[0])],
    )
    for knowledge in (None, true, false):
        for threshold in (0.05, 0.5):
            found = discover(
                sample.frame, method="pretrained", knowledge=knowledge, threshold=threshold
            )
            assert found.kind == "DAG"
            assert not (knowledge and knowledge.violations(found))
            assert not found.info["overruled"]
    told = edge_probabilities(sample.frame, knowledge=false, weights=discoverer.load())
    i = told.names.index(sample.order[-1])
    j = told.names.index(sample.order[0])
    assert told.directed[i, j] == pytest.approx(1, abs=1e-9)
    assert not told.directed[~false.allowed(told.names)].any()


def test_an_unfamiliar_table_is_answered_by_the_order_search_and_says_so(untrusting, mixed):
    found = discover(mixed.frame, method="pretrained")
    assert found.info["familiar"] is False
    assert found.info["distance"] > 1
    assert "order search with stability instead: unfamiliar table" in repr(found)
    assert found.skeleton.sum() <= discover(mixed.frame, method="order").skeleton.sum() + 4
    trusted = discover(mixed.frame, method="pretrained", unfamiliar="trust", threshold=0.3)
    assert trusted.kind == "DAG"
    assert "instead" not in repr(trusted)
    knowledge = Knowledge(required=[(mixed.order[0], mixed.order[1])])
    assert not knowledge.violations(discover(mixed.frame, method="pretrained", knowledge=knowledge))


def test_missing_values_are_filled_also_where_the_order_search_answers(
    trusting, mixed, monkeypatch
):
    frame = mixed.frame.copy()
    for k, name in enumerate(frame):
        frame[name] = frame[name].mask(np.arange(300) % 6 == k)  # no row is complete
    assert frame.isna().any(axis=1).all()
    found = discover(frame, method="pretrained", threshold=0.2)
    assert found.kind == "DAG"
    weights = with_limits(discoverer.load(), 1e-18)
    monkeypatch.setattr(discoverer, "load", lambda: weights)
    answered = discover(frame, method="pretrained")
    assert "fallback" in answered.info
    with pytest.raises(ValueError, match="missing"):
        discover(frame, method="order")
    frame.iloc[:, 0] = None
    with pytest.raises(ValueError, match="holds only missing values"):
        discover(frame, method="pretrained")


def test_two_variables_and_few_rows_and_many_variables_work(trusting):
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    two = pd.DataFrame({"x": x, "y": x + rng.normal(size=30)})
    assert discover(two, method="pretrained", threshold=0.01).names == ("x", "y")
    apart = pd.DataFrame(rng.normal(size=(400, 55)), columns=[f"v{k}" for k in range(55)])
    found = edge_probabilities(apart, weights=discoverer.load())
    assert found.directed.shape == (55, 55)


def test_settings_are_checked(trusting, mixed):
    with pytest.raises(ValueError, match="unfamiliar='ask': choose one of 'order', 'trust'"):
        discover(mixed.frame, method="pretrained", unfamiliar="ask")
    with pytest.raises(ValueError, match="threshold=-1 must be a number from 0"):
        discover(mixed.frame, method="pretrained", threshold=-1)


def test_weights_of_other_features_are_refused(tiny, mixed):
    other = dataclasses.replace(tiny, about=tiny.about | {"features": "0" * 16})
    with pytest.raises(
        ValueError,
        match="trained on other features than this version makes; run `causal-lib pretrain`",
    ):
        edge_probabilities(mixed.frame, weights=other)


def test_edges_that_would_close_a_circle_go_from_the_least_likely():
    likely = np.array([[0, 0.9, 0.1], [0.05, 0, 0.8], [0.6, 0.1, 0]])
    graph = EdgeProbabilities(("a", "b", "c"), likely).graph()
    assert graph.edges == CausalGraph.from_edges("abc", ["a -> b", "b -> c"]).edges
    assert graph.info["edge_probabilities"] == {"a -> b": 0.9, "b -> c": 0.8}


def test_distance_is_that_of_the_nearest_training_tables(rng):
    summaries = rng.normal(size=(300, 40))
    few = np.repeat([5, 20], 150)
    summaries[:150] *= 2
    shuffled = rng.permutation(300)
    summaries = summaries[shuffled]
    few = few[shuffled]
    reference = familiarity.fit(summaries, few, kept=200)
    near, far = familiarity.distance(
        reference, np.vstack([summaries[-1], summaries[-1] + 8]), few[[-1, -1]]
    )
    assert far > 3 * near
    own = familiarity.distance(reference, summaries[-200:], few[-200:], leave_out=True)
    assert own[-1] > near  # a table is its own nearest neighbour
    assert np.median(own[few[-200:] == 5]) == pytest.approx(
        np.median(own[few[-200:] == 20]), rel=0.1
    )


def test_networks_that_say_the_same_do_not_disagree():
    logs = np.array([[2.0, -3, 0], [2.0, -3, 0]])
    assert familiarity.disagreement(logs) == 0
    assert familiarity.disagreement(logs * [[1], [-1]]) > 0.5


# ---- the package's own weights -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "least", "tables"),
    [("linear non-Gaussian", 0.93, 3), ("additive nonlinear", 0.93, 3), ("steep", 0.85, 3), ("post-nonlinear", 0.92, 3),
     ("heteroscedastic", 0.86, 3), ("discrete", 0.83, 3), ("mixed", 0.84, 3), ("quadratic", 0.8, 12), ("interactions", 0.8, 12),
     ("tanh-GP", 0.88, 3), ("unseen noises", 0.9, 3)],
)  # fmt: skip
def test_the_weights_of_the_package_find_the_directions(family, least, tables):
    """Bounds some .03 below what these tables give: other processors round otherwise.

    Scores of quadratic tables and of interactions vary by .2 from table to table.
    """
    scores = []
    for seed in range(tables):
        sample = draw(family, [13, seed], d=10, n=1000, degree=1.5)
        found = discover(sample.frame, method="pretrained", unfamiliar="trust")
        scores.append(precision_recall_f1(found.adjacency, sample.graph.adjacency)[2])
    assert np.mean(scores) >= least


def test_they_are_small_and_made_by_the_recipe_they_tell_of():
    weights = load()
    assert PATH.stat().st_size < 5e6
    assert weights.about["recipe"]["examples"] == weights.about["examples"]["sets"]
    assert weights.about["features"] == of_names(
        describe(draw("linear Gaussian", 0, d=3, n=100).frame).names
    )
    assert 0.5 < weights.about["temperature"] < 3
    assert METHODS["pretrained"].defaults["threshold"] == discoverer.THRESHOLD
    assert METHODS["pretrained"].settings["threshold"].default == discoverer.THRESHOLD


# ---- by hand -------------------------------------------------------------------------------------


def test_disagreement_by_hand():
    """Shares of .9, .5 and .2 against .6, .5 and .4: gaps of .3, 0 and .2 of 1.8 edges at most."""
    shares = np.array([[0.9, 0.5, 0.2], [0.6, 0.5, 0.4]])
    logs = np.log(shares / (1 - shares))
    assert familiarity.disagreement(logs) == pytest.approx(0.5 / 1.8)
    third = np.vstack([logs, [0.0, 0.0, 0.0]])
    assert familiarity.disagreement(third) == pytest.approx((0.4 + 0 + 0.3) / 1.9)
    assert familiarity.disagreement(logs[:1]) == 0.0


def test_the_summary_of_a_table_by_hand():
    nodes = np.array([[1.0, 2], [3, 6]])
    pairs = np.array([[1.0], [-2], [4]])
    expected = [2, 4, 1, 2, 1, np.sqrt(6), 7 / 3, np.sqrt(14 / 9)]
    assert familiarity.summary(nodes, pairs).tolist() == pytest.approx(expected)


def test_distances_by_hand():
    """Two directions, six training tables on a grid: the mean of the five nearest, beside what is
    usual of so many variables.
    """
    points = np.array([[0.0, 0], [1, 0], [0, 2], [3, 0], [0, 4], [9, 9]])
    reference = {
        "mean": np.array([1.0, 2.0]), "scale": np.array([2.0, 0.5]), "basis": np.array([[1.0, 0], [0, 2.0]]),
        "points": points, "usual": np.array([0.5, 0.1]),
    }  # fmt: skip
    summary = np.array(
        [[1.0, 2.0], [1.0 + 2 * 0.5, 2.0], [1e9, 2.0]]
    )  # at 0, 0; at .5, 0; and clipped at 10
    usual = np.exp(0.5 * np.log(7) + 0.1)
    found = familiarity.distance(reference, summary, np.array([7, 7, 7]))
    for value, place in zip(found, ([0, 0], [0.5, 0], [10, 0]), strict=True):
        gaps = np.sort(np.sqrt(np.square(points - place).mean(axis=1)))
        assert value == pytest.approx(gaps[:5].mean() / usual)
    own = familiarity.distance(reference, summary[:1], np.array([7]), leave_out=True)
    assert own.item() == pytest.approx(
        np.sort(np.sqrt(np.square(points).mean(axis=1)))[1:6].mean() / usual
    )


@pytest.mark.parametrize(
    ("distance", "disagreement", "familiar"),
    [(2.0, 0.3, True), (1.9, 0.3, False), (2.0, 0.29, False)],
)
def test_a_table_is_familiar_up_to_both_limits(distance, disagreement, familiar, monkeypatch):
    monkeypatch.setattr(familiarity, "distance", lambda *_: np.array([2.0]))
    monkeypatch.setattr(familiarity, "disagreement", lambda _: 0.3)

    class Given:
        about = {"limits": {"distance": distance, "disagreement": disagreement}}  # noqa: RUF012
        reference = None
        nodes = np.ones((2, 1))
        pairs = np.ones((2, 1))

    found = familiarity.judge(Given, Given, np.zeros((2, 2)))
    assert found["familiar"] == familiar
    assert (found["distance"], found["disagreement"]) == pytest.approx(
        (2 / distance, 0.3 / disagreement)
    )


def test_the_table_and_the_graph_of_probabilities_by_hand():
    likely = np.array([[0, 0.1, 0.41], [0.7, 0, 0.2], [0.3, 0.39, 0]])
    found = EdgeProbabilities(("a", "b", "c"), likely, {"familiar": False, "distance": 3.0})
    assert found.none == pytest.approx(np.array([[1, 0.2, 0.29], [0.2, 1, 0.41], [0.29, 0.41, 1]]))
    table = found.to_frame()
    assert table[["cause", "effect"]].to_numpy().tolist() == [["b", "a"], ["a", "c"], ["c", "b"]]
    assert table["P(i->j)"].tolist() == [0.7, 0.41, 0.39]
    assert table["P(j->i)"].tolist() == [0.1, 0.3, 0.2]
    assert table["P(none)"].tolist() == pytest.approx([0.2, 0.29, 0.41])
    assert found.graph().edges == ["b -> a", "a -> c"]  # at least 0.4
    assert found.graph().info["distance"] == 3.0
    assert found.graph(0.39).edges == ["b -> a", "a -> c"]  # c -> b would close a circle
    assert found.graph(0.5).edges == ["b -> a"]
    must = np.zeros((3, 3), dtype=bool)
    must[2, 0] = True
    assert found.graph(0.4, must).edges == ["b -> a", "c -> a"]
    assert repr(found) == (
        "EdgeProbabilities of 3 variables, 3 pairs more likely adjacent than not; the table is "
        "unlike those of the training"
    )


def test_probabilities_are_the_mean_over_the_networks(tiny, mixed):
    """By hand from the log-odds: softmax of no edge, forth and back in each network, then their
    mean.
    """
    features = describe(mixed.frame, None, 5)
    logs = discoverer.log_odds(tiny, features)
    assert logs.shape == (2, 30)
    found = edge_probabilities(mixed.frame, seed=5, repeats=1, weights=tiny)
    assert found.error is None
    assert found.undecided() == []
    pairs = {tuple(pair): k for k, pair in enumerate(features.index.T.tolist())}
    for (i, j), k in pairs.items():
        forth = logs[:, k]
        back = logs[:, pairs[j, i]]
        expected = (np.exp(forth) / (1 + np.exp(forth) + np.exp(back))).mean()
        assert found.directed[features.order[i], features.order[j]] == pytest.approx(
            expected, rel=1e-6
        )
    warmer = dataclasses.replace(
        tiny, about=tiny.about | {"temperature": 2 * tiny.about["temperature"]}
    )
    assert discoverer.log_odds(warmer, features) == pytest.approx(logs / 2)


def test_how_an_unfamiliar_table_is_searched(untrusting, mixed, monkeypatch):
    """20 draws under the seed, covariances shrunk, the order search with 20 restarts on each, and
    what half of them have.
    """
    calls = []
    whole = discoverer.frequencies

    def recorded(statistics, *given, **how):
        calls.append(statistics)
        return whole(statistics, *given, **how)

    monkeypatch.setattr(discoverer, "frequencies", recorded)
    frame = mixed.frame.iloc[:120, :3]
    knowledge = Knowledge(forbidden=[tuple(frame.columns[:2])])
    found = discover(frame, method="pretrained", knowledge=knowledge, seed=6)
    (statistics,) = calls
    expected = Statistics.from_frame(frame, missing="em", n_boot=20, seed=6).shrunk(SHRINK)
    np.testing.assert_array_equal(statistics.draws[2], expected.draws[2])
    np.testing.assert_array_equal(statistics.cov, expected.cov)
    how = {"method": "order", "knowledge": knowledge, "seed": 6, "restarts": 20, "progress": False}
    graph = edge_stability(expected, **how).graph()
    assert found == graph
    assert found.info["edge_probabilities"] == graph.info["edge_probabilities"]
    assert found.info["fallback"] == "order search with stability"


def test_thresholds_and_required_edges_reach_the_graph(trusting, mixed):
    names = list(mixed.frame.columns)
    knowledge = Knowledge(required=[(names[0], names[3])])
    told = edge_probabilities(mixed.frame, knowledge=knowledge, seed=2, weights=discoverer.load())
    must = np.zeros((6, 6), dtype=bool)
    must[0, 3] = True
    for threshold in (0.2, 0.9):
        found = discover(
            mixed.frame, method="pretrained", knowledge=knowledge, seed=2, threshold=threshold
        )
        assert found.edges == told.graph(threshold, must).edges
        assert f"{names[0]} -> {names[3]}" in found.edges


def test_probabilities_are_the_mean_over_draws_with_their_error(tiny, mixed):
    seeds = [5, *np.random.SeedSequence(5).generate_state(2).tolist()]
    single = [edge_probabilities(mixed.frame, seed=seed, repeats=1, weights=tiny) for seed in seeds]
    found = edge_probabilities(mixed.frame, seed=5, repeats=3, weights=tiny)
    directed = np.array([one.directed for one in single])
    assert np.ptp(directed, axis=0).max() > 0
    assert found.directed == pytest.approx(directed.mean(axis=0))
    assert found.error == pytest.approx(directed.std(axis=0, ddof=1) / np.sqrt(3))
    for name in ("distance", "disagreement"):
        assert found.info[name] == pytest.approx(np.mean([one.info[name] for one in single]))
    with pytest.raises(ValueError, match="repeats: a whole number of at least 1 is needed"):
        edge_probabilities(mixed.frame, repeats=0, weights=tiny)


def test_what_another_seed_may_decide_otherwise():
    directed = np.array([[0, 0.41, 0.6], [0.3, 0, 0.5], [0.2, 0.45, 0]])
    error = np.full((3, 3), 0.01)
    found = discoverer.EdgeProbabilities(tuple("abc"), directed, {}, error)
    # near the threshold; clear; near the other direction, by four errors or less
    assert found.undecided(0.4) == ["a -- b"]
    assert found.undecided(0.7) == []
    error[1, 2] = 0.02
    assert found.undecided(0.4) == ["a -- b", "b -- c"]
    assert found.graph(0.4).info["undecided"] == ["a -- b", "b -- c"]


def test_the_seed_moves_probabilities_less_by_the_mean_of_draws(mixed):
    """With the weights of the package, as `discover` has them."""
    frame = mixed.frame

    def spread(repeats):
        found = [edge_probabilities(frame, seed=k, repeats=repeats).directed for k in range(8)]
        return np.std(found, axis=0).mean()

    assert spread(4) < 0.8 * spread(1)
