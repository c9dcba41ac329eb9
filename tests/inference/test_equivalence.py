"""Classes of DAGs: members against brute force, verdicts against amenability, and what decides."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.graph import CausalGraph
from causal_lib.inference import NotIdentifiableError, identify
from causal_lib.inference import equivalence as classes
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.inference.equivalence import identify_class, members
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_models import random_dag


def every_dag(skeleton, names):
    """All DAGs with these adjacencies, by turning every edge either way."""
    pairs = np.argwhere(np.triu(skeleton))
    for ways in itertools.product((0, 1), repeat=len(pairs)):
        edges = [
            (names[i], names[j])[:: 1 - 2 * way] for (i, j), way in zip(pairs, ways, strict=True)
        ]
        graph = CausalGraph.from_edges(names, edges)
        if graph.kind == "DAG":
            yield graph


dags = st.builds(
    lambda seed, d, degree: random_dag(d, degree=degree, seed=seed),
    st.integers(0, 10**6),
    st.integers(3, 6),
    st.sampled_from([0.8, 1.0]),
)


@given(dags)
@settings(max_examples=30, deadline=None)
def test_members_are_all_dags_of_the_class_once(graph):
    found = list(members(graph.cpdag()))
    expected = [
        one for one in every_dag(graph.skeleton, graph.names) if one.cpdag() == graph.cpdag()
    ]
    assert len(found) == len(expected)
    assert {one.marks.tobytes() for one in found} == {one.marks.tobytes() for one in expected}


@given(dags, st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_members_under_knowledge_are_those_that_keep_it(graph, seed):
    first = [
        name
        for name in graph.order()
        if np.random.default_rng(seed).random() < 0.5 and not graph.parents(name)
    ]
    if not first:
        return
    knowledge = Knowledge(tiers=[first, [name for name in graph.names if name not in first]])
    found = {one.marks.tobytes() for one in members(graph.cpdag(knowledge))}
    kept = [one for one in members(graph.cpdag()) if not knowledge.violations(one)]
    assert found == {one.marks.tobytes() for one in kept}


def amenable(graph, x, y):
    """Whether every path that may lead from x to y causally starts with an arrow (Perković and
    others 2018).
    """
    against = graph.adjacency.T
    skeleton = nx.Graph(
        [(graph.names[i], graph.names[j]) for i, j in np.argwhere(np.triu(graph.skeleton))]
    )
    skeleton.add_nodes_from(graph.names)
    for path in nx.all_simple_paths(skeleton, x, y):
        at = [graph.index(name) for name in path]
        if any(against[a, b] for k, a in enumerate(at) for b in at[k + 1 :]):
            continue
        if graph.undirected[at[0], at[1]]:
            return False
    return True


@given(dags, st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_members_agree_if_and_only_if_the_class_is_amenable(graph, seed):
    x, y = np.random.default_rng(seed).choice(graph.names, size=2, replace=False)
    cpdag = graph.cpdag()
    found = identify_class(cpdag, x, y)
    assert (found.verdict == "identified") == amenable(cpdag, x, y)
    for case in found.cases:
        assert case.refusal is None
    if found.verdict == "identified" and found.estimand.strategy == "back-door":
        assert all(
            is_adjustment_set(dag, x, y, found.estimand.adjustment) for dag in members(cpdag)
        )
    assert sum(case.count for case in found.cases) == len(list(members(cpdag)))
    if found.verdict == "depends":
        assert found.deciding
        with pytest.raises(NotIdentifiableError, match="not the same in all members"):
            _ = found.estimand


def test_the_edge_that_decides_is_named():
    found = identify_class(CausalGraph.from_edges("xy", ["x -- y"]), "x", "y")
    assert found.verdict == "depends"
    assert found.deciding == {"x -- y": 1.0}
    assert "1 of 2: effect of x on y: identified by no effect" in repr(found)
    assert repr(found).endswith("; x -- y decides")
    triangle = CausalGraph.from_edges("zxy", ["z -- x", "x -- y", "z -- y"])
    found = identify_class(triangle, "x", "y")
    assert sorted(case.count for case in found.cases) == [1, 2, 3]
    assert "decides, though not alone" in repr(found)
    known = triangle.extension()
    assert identify_class(known, "x", "y").cases[0].count == 1


def test_the_share_of_the_doubt_that_an_edge_ends_by_hand():
    """Of a -- b -- c, b moves c in two members of three: a -> b leaves one of them, b -> a one of
    each kind.
    """
    found = identify_class(CausalGraph.from_edges("abc", ["a -- b", "b -- c"]), "b", "c")
    whole = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert list(found.deciding) == ["b -- c", "a -- b"]
    assert found.deciding == pytest.approx({"b -- c": 1.0, "a -- b": 1 - 2 / 3 * np.log(2) / whole})


def test_what_is_hidden_may_be_refused_in_some_members_only():
    graph = CausalGraph.from_edges("uxy", ["u -- x", "x -> y", "u -> y"])
    found = identify_class(graph, "x", "y", hidden=["u"])
    assert found.verdict == "depends"
    assert found.deciding == {"u -- x": 1.0}
    refused = next(case for case in found.cases if case.estimand is None)
    assert "hedge" in refused.refusal
    assert refused.example.parents("x") == {"u"}
    with pytest.raises(NotIdentifiableError):
        identify(refused.example, "x", "y", hidden=["u"])
    bow = CausalGraph.from_edges("uxy", ["u -> x", "x -> y", "u -> y"])
    assert identify_class(bow, "x", "y", hidden=["u"]).verdict == "refused"
    with pytest.raises(NotIdentifiableError, match="identifiable in no member of the class: hedge"):
        _ = identify_class(bow, "x", "y", hidden=["u"]).estimand


def test_classes_that_are_too_large_or_none_are_refused():
    names = [f"v{k}" for k in range(7)]
    complete = CausalGraph.from_edges(
        names, [f"{a} -- {b}" for a, b in itertools.combinations(names, 2)]
    )
    with pytest.raises(
        ValueError,
        match="more than 100 members; direct some of its 21 undirected edges by knowledge",
    ):
        identify_class(complete, "v0", "v1", limit=100)
    with pytest.raises(ValueError, match="stands for no class of DAGs"):
        list(members(CausalGraph.from_edges("ab", ["a <-> b"])))


@pytest.mark.parametrize(
    ("edges", "treatment", "outcome", "hidden", "strategy", "cases"),
    [
        (
            ["a -- b", "a -> f", "b -> c", "b -- d", "b -> f", "e -> c", "c -> f", "d -- e", "d "
                                                                                             "-> f"],
            "e", "f", ["d"], "do-calculus", 3,
        ),
        (
            ["a -> b", "a -- c", "a -> e", "c -> b", "b -> e", "f -> b", "c -- d", "d -- f", "f "
                                                                                             "-> e"],
            "b", "e", ["f"], "instrument", 1,
        ),
        (
            ["b -> a", "c -> a", "d -> a", "e -> a", "d -> b", "e -> b", "c -- d", "c -- e", "c "
                                                                                             "-- f", "e -- f"],
            "c", "b", ["d"], "front-door", 1,
        ),
    ],
)  # fmt: skip
def test_members_are_of_one_case_if_their_formula_is_one(
    edges, treatment, outcome, hidden, strategy, cases
):
    """Of strategies without a set to adjust for; every member is asked by itself."""
    graph = CausalGraph.from_edges("abcdef", edges)
    by_hand = {}
    for dag in members(graph):
        try:
            found = identify(dag, treatment, outcome, hidden=hidden, instruments=True)
        except NotIdentifiableError:
            continue
        if found.strategy == strategy:
            by_hand[found.latex] = by_hand.get(found.latex, 0) + 1
    told = identify_class(graph, treatment, outcome, hidden=hidden, instruments=True)
    own = [case for case in told.cases if case.estimand and case.estimand.strategy == strategy]
    assert len(own) == cases
    assert {case.estimand.latex: case.count for case in own} == by_hand
    assert sum(by_hand.values()) > 1
    counts = [case.count for case in told.cases]
    assert counts == sorted(counts, reverse=True)
    assert all(case.estimand.hidden == tuple(hidden) for case in own)


def test_instruments_are_taken_when_asked_for():
    graph = CausalGraph.from_edges("zxyupq", ["z -> x", "x -> y", "u -> x", "u -> y", "p -- q"])
    taken = identify_class(graph, "x", "y", hidden=["u"], instruments=True)
    assert (taken.verdict, taken.estimand.strategy, taken.cases[0].count) == (
        "identified",
        "instrument",
        2,
    )
    left = identify_class(graph, "x", "y", hidden=["u"])
    assert left.verdict == "refused"
    assert (left.deciding, left.among) == ({}, "DAGs")
    assert repr(left) == "refused over 2 DAGs: 2 of 2: not identifiable"


def test_a_case_is_told_by_a_set_that_is_right_in_all_of_it():
    dag = CausalGraph.from_edges("xyab", ["a -> x", "a -> b", "b -> y", "x -> y"])
    estimand = identify(dag, "x", "y")
    case = classes._OpenCase(estimand, None, dag, [("a",), ("b",)]).frozen(7)
    assert (case.estimand is estimand, case.count, case.example) == (True, 7, dag)
    other = classes._OpenCase(estimand, None, dag, [("b",)]).frozen(1).estimand
    assert other.adjustment == ("b",)
    assert other.latex == estimand.by(["b"]).latex


def test_a_member_joins_a_case_whose_set_is_right_in_it_and_narrows_its_sets():
    both = CausalGraph.from_edges("xyab", ["a -> x", "a -> b", "b -> y", "x -> y"])
    only_b = CausalGraph.from_edges("xyab", ["b -> x", "b -> y", "x -> y", "x <-> a", "a <-> y"])
    neither = CausalGraph.from_edges("xyab", ["x -> y", "x -> b", "b -> y", "a -> x", "a -> y"])
    found = []

    def place(dag):
        return classes._case_of(found, dag, "x", "y", lambda one: identify(one, "x", "y"))

    assert [place(dag) for dag in (both, both, only_b, both, neither, only_b)] == [0, 0, 0, 0, 1, 0]
    assert found[0].sets == [("b",)]
    assert found[1].sets == [("a",)]


def test_a_class_of_just_as_many_members_as_the_limit_is_listed():
    triangle = CausalGraph.from_edges("zxy", ["z -- x", "x -- y", "z -- y"])
    found = identify_class(triangle, "x", "y", limit=6)
    assert sum(case.count for case in found.cases) == 6
    with pytest.raises(
        ValueError, match="more than 5 members; direct some of its 3 undirected edges"
    ):
        identify_class(triangle, "x", "y", limit=5)


def test_what_is_shared_out_among_several_edges():
    """Against the entropy of every edge's ways, over the six orders of a triangle."""
    found = identify_class(CausalGraph.from_edges("zxy", ["z -- x", "x -- y", "z -- y"]), "x", "y")

    def label(order):
        if order.index("y") < order.index("x"):
            return "none"
        return "z" if order.index("z") < order.index("x") else "alone"

    def entropy(labels):
        shares = np.array([labels.count(one) / len(labels) for one in set(labels)])
        return -(shares * np.log(shares)).sum()

    orders = ["".join(order) for order in itertools.permutations("zxy")]
    expected = {}
    whole = entropy([label(order) for order in orders])
    for a, b in ("zx", "zy", "xy"):
        parts = [
            [label(o) for o in orders if (o.index(a) < o.index(b)) == way] for way in (True, False)
        ]
        expected[f"{a} -- {b}"] = 1 - sum(len(part) / 6 * entropy(part) for part in parts) / whole
    expected = {edge: share for edge, share in expected.items() if share > 1e-9}
    assert found.deciding == pytest.approx(expected)
    assert list(found.deciding.values()) == sorted(found.deciding.values(), reverse=True)
    assert str(found).startswith("3 of 6: effect of x on y: identified by no effect; 2 of 6: ")
