"""Adjustment sets against brute force over all subsets, and against variances computed by hand."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import (
    find_instrument,
    is_adjustment_set,
    minimal_adjustment_sets,
    optimal_adjustment_set,
    why_no_adjustment_set,
)
from causal_lib.inference.queries import with_causes
from causal_lib.worlds.random_models import random_dag


@st.composite
def queries(draw):
    """A random DAG or ADMG of up to 7 variables, treatment, outcome and hidden variables."""
    d = draw(st.integers(3, 7))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    graph = random_dag(d, degree=float(rng.uniform(0.8, 2.5)) if d > 5 else 1.0, seed=rng)
    names = list(graph.names)
    both = draw(st.booleans())
    edges = list(graph.edges)
    if both:
        free = np.argwhere(np.triu(~graph.skeleton, 1))
        for i, j in rng.permutation(free)[: rng.integers(0, 3)]:
            edges.append(f"{names[i]} <-> {names[j]}")
    x, y, *rest = rng.permutation(names).tolist()
    return CausalGraph.from_edges(names, edges), x, y, rest[: int(rng.integers(0, 2))]


def subsets(names):
    return itertools.chain.from_iterable(
        itertools.combinations(names, k) for k in range(len(names) + 1)
    )


def closes(graph, x, y, z):
    """The criterion path by path: every path that is not causal is blocked, and nothing on or below
    a causal one is held.
    """
    directed = with_causes(graph)
    below = nx.descendants(directed, x) & (nx.ancestors(directed, y) | {y})
    if any(node in z for start in below for node in {start} | nx.descendants(directed, start)):
        return False
    for path in nx.all_simple_paths(directed.to_undirected(), x, y):
        steps = list(itertools.pairwise(path))
        if all(directed.has_edge(a, b) for a, b in steps):
            continue
        blocked = False
        for (a, b), (_, c) in itertools.pairwise(steps):
            if directed.has_edge(a, b) and directed.has_edge(c, b):
                blocked |= not ({b} | nx.descendants(directed, b)) & set(z)
            else:
                blocked |= b in z
        if not blocked:
            return False
    return True


@given(queries())
@settings(max_examples=80, deadline=None)
def test_sets_are_those_that_brute_force_finds(query):
    graph, x, y, hidden = query
    rest = [name for name in graph.names if name not in (x, y)]
    valid = {z: closes(graph, x, y, z) for z in subsets(rest)}
    assert all(is_adjustment_set(graph, x, y, z) == expected for z, expected in valid.items())
    for z, good in valid.items():
        reason = why_no_adjustment_set(graph, x, y, z)
        assert (reason is None) == good
        assert reason is None or "is open" in reason or "is an effect of" in reason
    seen = [z for z, good in valid.items() if good and not set(z) & set(hidden)]
    minimal = {z for z in seen if not any(set(other) < set(z) for other in seen)}
    found = minimal_adjustment_sets(graph, x, y, hidden=hidden)
    assert set(found) == minimal
    assert len(found) == len(minimal)
    assert [len(z) for z in found] == sorted(len(z) for z in found)
    best = optimal_adjustment_set(graph, x, y, hidden=hidden)
    assert (best is None) == (not seen)
    assert best is None or best in seen


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_best_set_has_the_least_variance_in_a_linear_model(seed, some_hidden):
    rng = np.random.default_rng(seed)
    graph = random_dag(6, degree=1.2, seed=rng)
    order = graph.order()
    x, y = (order[k] for k in sorted(rng.choice(6, size=2, replace=False)))
    rest = [name for name in graph.names if name not in (x, y)]
    hidden = [str(rng.choice(rest))] if some_hidden else []
    weights = graph.adjacency * rng.uniform(0.5, 1.5, (6, 6)) * rng.choice([-1, 1], (6, 6))
    mix = np.linalg.inv(np.eye(6) - weights.T)
    cov = mix @ np.diag(rng.uniform(0.5, 2, 6)) @ mix.T

    def left(of, given):
        i = graph.index(of)
        at = [graph.index(name) for name in given]
        return (
            cov[i, i] - cov[i, at] @ np.linalg.solve(cov[np.ix_(at, at)], cov[at, i])
            if at
            else cov[i, i]
        )

    def variance(z):
        return left(y, (x, *z)) / left(x, z)

    best = optimal_adjustment_set(graph, x, y, hidden=hidden)
    if best is None or y not in graph.descendants(x):
        return
    at_best = set(best)
    wanted = {
        p
        for child in (graph.descendants(x) & (graph.ancestors(y) | {y}))
        for p in graph.parents(child)
    }
    others = minimal_adjustment_sets(graph, x, y, hidden=hidden)
    if not wanted & set(hidden):  # then best among all sets, not among the minimal ones only
        others = [
            z
            for z in subsets(rest)
            if is_adjustment_set(graph, x, y, z) and not set(z) & set(hidden)
        ]
    assert all(variance(tuple(at_best)) <= variance(z) * (1 + 1e-9) for z in others)


def covariance(graph, rng):
    """Covariances and total effects of a random linear model of a DAG or ADMG, over
    ``graph.names``.
    """
    directed = with_causes(graph)
    names = [*graph.names, *(name for name in directed if isinstance(name, tuple))]
    weights = nx.to_numpy_array(directed, nodelist=names) * rng.uniform(0.5, 1.5, (len(names),) * 2)
    total = np.linalg.inv(np.eye(len(names)) - weights.T)
    seen = slice(0, len(graph.names))
    return (total @ np.diag(rng.uniform(0.5, 2, len(names))) @ total.T)[seen, seen], total[
        seen, seen
    ]


def conditional(cov, graph, a, b, given):
    i = graph.index(a)
    j = graph.index(b)
    at = [graph.index(name) for name in given]
    return (
        cov[i, j] - cov[i, at] @ np.linalg.solve(cov[np.ix_(at, at)], cov[at, j])
        if at
        else cov[i, j]
    )


def test_an_instrument_s_ratio_is_the_effect_in_linear_models():
    conditions = []
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        dag = random_dag(5, degree=1.0, seed=rng)
        x, y = (dag.order()[k] for k in sorted(rng.choice(np.arange(1, 5), size=2, replace=False)))
        if dag.skeleton[dag.index(x), dag.index(y)]:
            continue
        graph = CausalGraph.from_edges(dag.names, [*dag.edges, f"{x} <-> {y}"])
        found = find_instrument(graph, x, y)
        if found is None:
            continue
        instrument, among = found
        conditions.append(len(among))
        assert not {instrument, *among} & {x, y}
        cov, total = covariance(graph, rng)
        ratio = conditional(cov, graph, y, instrument, among) / conditional(
            cov, graph, x, instrument, among
        )
        assert ratio == pytest.approx(total[graph.index(y), graph.index(x)], abs=1e-8)
    assert conditions.count(0) > 50
    assert sum(map(bool, conditions)) > 20


def test_the_shop_needs_what_exposes_and_sells(world):
    sets = minimal_adjustment_sets(world.graph, "exposed", "purchased")
    assert all(is_adjustment_set(world.graph, "exposed", "purchased", z) for z in sets)
    best = optimal_adjustment_set(world.graph, "exposed", "purchased")
    assert is_adjustment_set(world.graph, "exposed", "purchased", best)


def test_there_are_at_most_as_many_as_wanted():
    names = ["x", "y", *(f"{side}{k}" for k in range(6) for side in "ab")]
    edges = [edge for k in range(6) for edge in (f"a{k} -> x", f"a{k} -> b{k}", f"b{k} -> y")]
    graph = CausalGraph.from_edges(names, [*edges, "x -> y"])
    assert len(minimal_adjustment_sets(graph, "x", "y")) == 2**6
    assert len(minimal_adjustment_sets(graph, "x", "y", limit=10)) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "q"), "no variable 'q' in the graph"),
        (("x", "x"), "treatment and outcome are both 'x'"),
    ],
)
def test_bad_queries(arguments, message):
    graph = CausalGraph.from_edges("xyz", ["x -> y"])
    with pytest.raises(ValueError, match=message):
        is_adjustment_set(graph, *arguments)
    with pytest.raises(ValueError, match=message):
        minimal_adjustment_sets(graph, *arguments)
    with pytest.raises(
        ValueError, match="'x' is the treatment or the outcome: it cannot be adjusted for"
    ):
        is_adjustment_set(graph, "x", "y", ["x"])
    with pytest.raises(
        ValueError, match="'y' is hidden: an effect needs its treatment and outcome obs"
    ):
        minimal_adjustment_sets(graph, "x", "y", hidden=["y"])
    with pytest.raises(ValueError, match="edge 'x -- y' of this CPDAG has no direction"):
        is_adjustment_set(CausalGraph.from_edges("xy", ["x -- y"]), "x", "y")


def test_words_of_a_path_that_is_open():
    """Two of what is adjusted for open two colliders, one from below; a hidden common cause is
    named as such.
    """
    edges = [
        "a -> x",
        "a -> c",
        "b -> c",
        "b -> k",
        "e -> k",
        "e -> y",
        "k -> d",
        "x -> y",
        "x -> m",
        "m -> y",
        "m -> n",
    ]
    graph = CausalGraph.from_edges("xyabcekdmn", edges)
    assert why_no_adjustment_set(graph, "x", "y", ["d", "c"]) == (
        "x <- a -> [c] <- b -> [k] <- e -> y is open, since c, d is adjusted for"
    )
    assert why_no_adjustment_set(graph, "x", "y", ["c"]) is None
    assert why_no_adjustment_set(graph, "x", "y", ["n", "m"]) == (
        "m is an effect of x on its way to y, or an effect of one (x -> m)"
    )
    assert why_no_adjustment_set(graph, "x", "y", ["n"]).endswith(
        "or an effect of one (x -> m -> n)"
    )
    hidden = CausalGraph.from_edges("xyc", ["x <-> c", "c <-> y", "x -> y"])
    assert why_no_adjustment_set(hidden, "x", "y") is None
    assert why_no_adjustment_set(hidden, "x", "y", ["c"]) == (
        "x <- (hidden) -> [c] <- (hidden) -> y is open, since c is adjusted for"
    )
    back = CausalGraph.from_edges("xyq", ["y -> q", "q -> x"])
    assert why_no_adjustment_set(back, "x", "y") == "x <- q <- y is open"


def test_the_trail_is_a_shortest_of_those_that_are_open():
    """Against all paths of random graphs: as many variables as the shortest that brute force leaves
    open.
    """
    checked = {True: 0, False: 0}
    for seed in range(120):
        rng = np.random.default_rng(seed)
        dag = random_dag(6, degree=1.2, seed=rng)
        x, y, *rest = rng.permutation(dag.names).tolist()
        given = rest[: int(rng.integers(0, 3))]
        directed = dag.to_networkx()
        below = nx.descendants(directed, x) & (nx.ancestors(directed, y) | {y})
        if any(
            node in given for start in below for node in {start} | nx.descendants(directed, start)
        ):
            continue
        lengths = []
        for path in nx.all_simple_paths(directed.to_undirected(), x, y):
            if all(directed.has_edge(a, b) for a, b in itertools.pairwise(path)):
                continue
            blocked = False
            for a, b, c in zip(path, path[1:], path[2:], strict=False):
                into = directed.has_edge(a, b) and directed.has_edge(c, b)
                blocked |= (
                    not ({b} | nx.descendants(directed, b)) & set(given) if into else b in given
                )
            if not blocked:
                lengths.append(len(path))
        reason = why_no_adjustment_set(dag, x, y, given)
        checked[bool(lengths)] += 1
        assert (reason is None) == (not lengths)
        if lengths:
            words = reason.split(" is open")[0].replace("[", "").replace("]", "").split()
            # a trail may turn back below a collider, where a path may not
            assert len(words[::2]) <= min(lengths)
            for before, sign, after in zip(words[::2], words[1::2], words[2::2], strict=False):
                assert directed.has_edge(*((before, after) if sign == "->" else (after, before)))
    assert min(checked.values()) > 20


def test_the_best_set_where_some_are_hidden_is_the_minimal_one_nearest_to_the_outcome():
    edges = ["a -> x", "a -> b", "b -> c", "c -> h", "h -> y", "w -> y", "x -> y"]
    graph = CausalGraph.from_edges("xyabchw", edges)
    assert optimal_adjustment_set(graph, "x", "y") == ("h", "w")
    assert optimal_adjustment_set(graph, "x", "y", hidden=["h"]) == ("c",)
    assert optimal_adjustment_set(graph, "x", "y", hidden=["h", "c"]) == ("b",)
    assert minimal_adjustment_sets(graph, "x", "y", hidden=["h", "c"]) == [("a",), ("b",)]
    # A hidden common cause of the outcome and of one of its own causes: b is no longer enough by
    # itself.
    bow = CausalGraph.from_edges("xyab", ["a -> x", "a -> b", "b -> y", "a <-> y", "x -> y"])
    assert optimal_adjustment_set(bow, "x", "y") == ("a",)
    # Without an effect nothing lies on a causal path.
    none = CausalGraph.from_edges("xyab", ["a -> x", "a -> b", "b -> y"])
    assert optimal_adjustment_set(none, "x", "y") == ("b",)
    assert optimal_adjustment_set(CausalGraph.from_edges("xya", ["a -> y"]), "x", "y") == ()


def test_an_instrument_with_the_fewest_to_condition_on():
    edges = ["w -> z", "w -> y", "z -> x", "x -> y", "u -> x", "u -> y", "x -> d"]
    graph = CausalGraph.from_edges("zwxyud", edges)
    assert find_instrument(graph, "x", "y", hidden=["u"]) == ("z", ("w",))
    assert find_instrument(graph, "x", "y", hidden=["u", "w"]) is None
    assert find_instrument(graph, "x", "y", hidden=["u", "z"]) is None
    free = CausalGraph.from_edges("zwtxyud", [*edges, "t -> x"])
    assert find_instrument(free, "x", "y", hidden=["u"]) == ("t", ())
    two = CausalGraph.from_edges("tsxyu", ["t -> x", "s -> x", "x -> y", "u -> x", "u -> y"])
    assert find_instrument(two, "x", "y", hidden=["u"]) == ("t", ())
    assert (
        find_instrument(
            CausalGraph.from_edges("sxyu", ["s -> y", "x -> y", "u -> x", "u -> y"]), "x", "y"
        )
        is None
    )


def test_sets_come_the_smaller_first_and_in_the_order_of_the_graph():
    edges = [
        "b -> x",
        "b -> y",
        "q -> x",
        "q -> r",
        "r -> y",
        "p -> x",
        "p -> s",
        "s -> y",
        "x -> y",
    ]
    graph = CausalGraph.from_edges("sxyrqpb", edges)
    assert minimal_adjustment_sets(graph, "x", "y") == [
        ("s", "r", "b"), ("s", "q", "b"), ("r", "p", "b"), ("q", "p", "b"),
    ]  # fmt: skip
    wide = CausalGraph.from_edges(
        "xyabc", ["a -> x", "a -> b", "a -> c", "b -> y", "c -> y", "x -> y"]
    )
    assert minimal_adjustment_sets(wide, "x", "y") == [("a",), ("b", "c")]
    assert minimal_adjustment_sets(wide, "x", "y", hidden=["a"]) == [("b", "c")]
    assert minimal_adjustment_sets(wide, "x", "y", hidden=["a", "b"]) == []
