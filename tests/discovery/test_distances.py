import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery import compare_graphs, shd
from causal_lib.discovery.distances import MEMBERS, _gadjid, precision_recall_f1, random_members
from causal_lib.graph import CausalGraph

NAMES = "abcd"


@st.composite
def dags(draw):
    order = draw(st.permutations(range(4)))
    upper = np.triu(
        np.array(draw(st.lists(st.booleans(), min_size=16, max_size=16))).reshape(4, 4), 1
    )
    return CausalGraph.from_adjacency(upper[np.ix_(order, order)], NAMES)


@given(dags(), dags())
def test_shd_counts_pairs(first, second):
    pairs = itertools.combinations(range(4), 2)
    different = sum(
        (first.marks[i, j], first.marks[j, i]) != (second.marks[i, j], second.marks[j, i])
        for i, j in pairs
    )
    assert shd(first, second) == shd(second, first) == different


@given(dags())
def test_distance_to_itself_is_nought(graph):
    scores = compare_graphs(graph.cpdag(), graph.cpdag())
    assert (scores["shd"], scores["skeleton_f1"], scores["aid"]) == (0, 1.0, 0.0)


def test_gadjid_reads_rows_as_causes():
    # x -> y -> z, x -> z against its transpose: parents swapped, so adjusting by the estimate is
    # wrong.
    truth = CausalGraph.from_edges("xyz", ["x -> y", "y -> z", "x -> z"])
    assert _gadjid(truth).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    missing = CausalGraph.from_edges("xyz", ["x -> y", "y -> z"])
    # Without x -> z, the only wrong claim by parent adjustment is y on z, which needs x: 1 of 6
    # ordered pairs.
    assert compare_graphs(missing, truth)["aid"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("estimate", "truth", "expected"),
    [
        # right, reversed, open, extra, missing: arrowheads at b, b, e found, at b, c, d, e true,
        # one of them the same
        (
            ["a -> b", "c -> b", "c -- d", "d -> e"],
            ["a -> b", "b -> c", "c -> d", "a -> e"],
            (1 / 3, 1 / 4),
        ),
        (["a -> b", "b -> c"], ["a -> b", "b -- c"], (1 / 2, 1.0)),
        (["a -- b"], ["a -> b"], (1.0, 0.0)),
        (["a -> b"], [], (0.0, 1.0)),
        ([], [], (1.0, 1.0)),
        (["a -> b", "c -> b"], ["c -> b", "a -> b"], (1.0, 1.0)),
    ],
)
def test_arrowheads_counted_by_hand(estimate, truth, expected):
    scores = compare_graphs(
        CausalGraph.from_edges("abcde", estimate), CausalGraph.from_edges("abcde", truth)
    )
    precision, recall = expected
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert [scores[f"arrowhead_{s}"] for s in ("precision", "recall", "f1")] == pytest.approx(
        [precision, recall, f1]
    )


@given(dags(), dags())
def test_skeleton_and_arrowhead_scores_are_those_of_edge_sets(first, second):
    first = first.cpdag()
    second = second.cpdag()
    scores = compare_graphs(first, second)
    for what, edges in (
        (
            "skeleton",
            lambda g: {
                frozenset((a, b))
                for a in NAMES
                for b in NAMES
                if g.skeleton[g.index(a), g.index(b)]
            },
        ),
        ("arrowhead", lambda g: {(a, b) for b in NAMES for a in g.parents(b)}),
    ):
        found = edges(first)
        true = edges(second)
        assert scores[f"{what}_precision"] == (len(found & true) / len(found) if found else 1.0)
        assert scores[f"{what}_recall"] == (len(found & true) / len(true) if true else 1.0)


@given(dags(), dags())
def test_aid_and_sid_are_the_share_of_wrong_effects_in_a_linear_model(estimate, truth):
    # With weights in general position, an adjustment is valid exactly when the population
    # regression gives the effect.
    weights = truth.adjacency * np.random.default_rng(0).uniform(0.5, 1.5, (4, 4))
    total = np.linalg.inv(np.eye(4) - weights)
    covariance = total.T @ total
    wrong = 0
    for i, j in itertools.permutations(range(4), 2):
        parents = [NAMES.index(p) for p in estimate.parents(NAMES[i])]
        given_ = [i, *parents]
        adjusted = 0.0  # a parent is no effect
        if j not in parents:
            adjusted = np.linalg.solve(covariance[np.ix_(given_, given_)], covariance[given_, j])[0]
        wrong += abs(adjusted - total[i, j]) > 1e-9
    scores = compare_graphs(estimate, truth)
    assert scores["aid"] == scores["sid"] == pytest.approx(wrong / 12)


def test_sid_is_of_dags_only():
    chain = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    assert np.isnan(compare_graphs(chain.cpdag(), chain)["sid"])
    assert np.isnan(compare_graphs(chain, chain.cpdag())["sid"])
    assert compare_graphs(chain, chain)["sid"] == 0


def test_members_are_dags_of_the_class_and_differ():
    truth = CausalGraph.from_edges("abcd", ["a -> b", "b -> c", "c -> d"])
    found = random_members(truth.cpdag(), seed=0)
    assert len(found) == MEMBERS
    assert all(CausalGraph.from_adjacency(one, "abcd").cpdag() == truth.cpdag() for one in found)
    assert len({one.tobytes() for one in found}) > 1
    assert len(random_members(truth, seed=0)) == 1


def test_a_graph_that_is_no_class_still_gets_all_its_edges_directed():
    circle = CausalGraph.from_edges("abcd", ["a -- b", "b -- c", "c -- d", "d -- a"])
    for one in random_members(circle, seed=1):
        assert np.array_equal(one | one.T, circle.skeleton)
        assert not (one & one.T).any()


def test_directions_among_common_edges_by_hand():
    """Right a -> b, reversed b - c, open c - d, missing a - e, extra d - e: a third of the common
    directions.
    """
    truth = CausalGraph.from_edges("abcde", ["a -> b", "b -> c", "c -> d", "a -> e"])
    estimate = CausalGraph.from_edges("edcba", ["a -> b", "c -> b", "c -- d", "d -> e"])
    scores = compare_graphs(estimate, truth)
    assert scores["shd"] == 4
    assert scores["direction_accuracy"] == pytest.approx(1 / 3)
    assert (scores["skeleton_precision"], scores["skeleton_recall"], scores["skeleton_f1"]) == (
        3 / 4,
        3 / 4,
        3 / 4,
    )
    nothing = compare_graphs(CausalGraph.from_edges("ab"), CausalGraph.from_edges("ab", ["a -> b"]))
    assert np.isnan(nothing["direction_accuracy"])
    assert (nothing["skeleton_precision"], nothing["skeleton_recall"], nothing["skeleton_f1"]) == (
        1,
        0,
        0,
    )
    mixed = compare_graphs(
        CausalGraph.from_edges("ab", ["a <-> b"]), CausalGraph.from_edges("ab", ["a -> b"])
    )
    assert np.isnan(mixed["aid"])
    assert mixed["shd"] == 1
    classes = compare_graphs(
        truth.cpdag(),
        CausalGraph.from_edges("abcde", ["b -> a", "b -> c", "c -> d", "a -> e"]).cpdag(),
    )
    assert (classes["shd"], classes["aid"], classes["direction_accuracy"]) == (0, 0, 1)
    cycle = CausalGraph.from_edges("abc", ["a -> b", "b -> c", "c -> a"])
    with pytest.raises(ValueError, match="a graph has a directed cycle"):
        compare_graphs(cycle, CausalGraph.from_edges("abc"))
    with pytest.raises(ValueError, match="the graphs' variables differ: c only in one of them"):
        shd(CausalGraph.from_edges("abc"), CausalGraph.from_edges("ab"))


def test_precision_recall_and_f1_by_hand():
    found = np.zeros((3, 3), dtype=bool)
    true = np.zeros((3, 3), dtype=bool)
    assert precision_recall_f1(found, true) == (1, 1, 1)
    found[[0, 0, 1, 2], [1, 2, 2, 0]] = True
    true[[0, 1], [1, 2]] = True
    assert precision_recall_f1(found, true) == pytest.approx((1 / 2, 1, 2 / 3))
    assert precision_recall_f1(true, found) == pytest.approx((1, 1 / 2, 2 / 3))
    assert precision_recall_f1(true, ~true) == (0, 0, 0)
