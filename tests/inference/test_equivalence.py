"""Classes of DAGs: members against brute force, verdicts against amenability, and what decides."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.graph import CausalGraph
from causal_lib.inference import NotIdentifiableError, identify
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.inference.equivalence import identify_class, members
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_models import random_dag


def every_dag(skeleton, names):
    """All DAGs with these adjacencies, by turning every edge either way."""
    pairs = np.argwhere(np.triu(skeleton))
    for ways in itertools.product((0, 1), repeat=len(pairs)):
        edges = [(names[i], names[j])[:: 1 - 2 * way] for (i, j), way in zip(pairs, ways, strict=True)]
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
    expected = [one for one in every_dag(graph.skeleton, graph.names) if one.cpdag() == graph.cpdag()]
    assert len(found) == len(expected)
    assert {one.marks.tobytes() for one in found} == {one.marks.tobytes() for one in expected}


@given(dags, st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_members_under_knowledge_are_those_that_keep_it(graph, seed):
    first = [name for name in graph.order() if np.random.default_rng(seed).random() < 0.5 and not graph.parents(name)]
    if not first:
        return
    knowledge = Knowledge(tiers=[first, [name for name in graph.names if name not in first]])
    found = {one.marks.tobytes() for one in members(graph.cpdag(knowledge))}
    kept = [one for one in members(graph.cpdag()) if not knowledge.violations(one)]
    assert found == {one.marks.tobytes() for one in kept}


def amenable(graph, x, y):
    """Whether every path that may lead from x to y causally starts with an arrow (Perković and others 2018)."""
    against = graph.adjacency.T
    skeleton = nx.Graph([(graph.names[i], graph.names[j]) for i, j in np.argwhere(np.triu(graph.skeleton))])
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
        assert all(is_adjustment_set(dag, x, y, found.estimand.adjustment) for dag in members(cpdag))
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
    """Of a -- b -- c, b moves c in two members of three: a -> b leaves one of them, b -> a one of each kind."""
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
    complete = CausalGraph.from_edges(names, [f"{a} -- {b}" for a, b in itertools.combinations(names, 2)])
    with pytest.raises(ValueError, match="more than 100 members; direct some of its 21 undirected edges by knowledge"):
        identify_class(complete, "v0", "v1", limit=100)
    with pytest.raises(ValueError, match="stands for no class of DAGs"):
        list(members(CausalGraph.from_edges("ab", ["a <-> b"])))
