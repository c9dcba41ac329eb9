"""Identification against brute force: the formula on the observational joint equals the truncated
factorisation.
"""

import itertools
import json

import networkx as nx
import numpy as np
import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference import NotIdentifiableError, identify
from causal_lib.worlds.random_models import random_dag

BINARY = (0, 1)


def _random_dag(rng, d):
    order = rng.permutation(d)
    upper = np.triu(rng.random((d, d)) < 0.5, 1)
    adjacency = np.zeros((d, d), dtype=bool)
    adjacency[np.ix_(order, order)] = upper
    return CausalGraph.from_adjacency(adjacency, [f"v{i}" for i in range(d)])


def _random_model(rng, graph):
    """Name -> {parents' values -> P(name = 1)}, away from 0 and 1."""
    return {
        n: {
            v: rng.uniform(0.1, 0.9)
            for v in itertools.product(BINARY, repeat=len(graph.parents(n)))
        }
        for n in graph.names
    }


def _joint(graph, model, do=None):
    """All assignments with their probability, by the (truncated) factorisation."""
    do = do or {}
    parents = {n: sorted(graph.parents(n)) for n in graph.names}
    table = []
    for values in itertools.product(BINARY, repeat=len(graph.names)):
        row = dict(zip(graph.names, values, strict=True))
        probability = 1.0
        for n in graph.names:
            one = model[n][tuple(row[p] for p in parents[n])]
            chance = float(do[n] == row[n]) if n in do else (one if row[n] else 1 - one)
            probability *= chance
        table.append((row, probability))
    return table


def _p(table, event):
    return sum(p for row, p in table if all(row[n] == v for n, v in event.items()))


def _evaluate(formula, env, table):
    """A pyAgrum formula (its dict form) at the values ``env``, from the observational ``table``
    alone.
    """
    op = formula["op"]
    if op == "sum":
        names = [formula["var"]] if isinstance(formula["var"], str) else formula["var"]
        return sum(
            _evaluate(formula["term"], env | dict(zip(names, v, strict=True)), table)
            for v in itertools.product(BINARY, repeat=len(names))
        )
    if op == "P":
        given = {n: env[n] for n in formula.get("knowing", [])}
        return _p(table, given | {n: env[n] for n in formula["vars"]}) / _p(table, given)
    first, second = (_evaluate(formula[k], env, table) for k in ("op1", "op2"))
    return {
        "*": first * second,
        "/": first / second if op == "/" else 0,
        "-": first - second,
        "+": first + second,
    }[op]


@pytest.mark.parametrize("n_hidden", [0, 1, 2, 3])
def test_formula_equals_truncated_factorisation(n_hidden):
    rng = np.random.default_rng(n_hidden)
    strategies = {}
    for _ in range(125):
        graph = _random_dag(rng, int(rng.integers(max(3, 2 + n_hidden), 8)))
        model = _random_model(rng, graph)
        x, y = (
            graph.order()[k] for k in sorted(rng.choice(len(graph.names), size=2, replace=False))
        )
        rest = rng.permutation([name for name in graph.names if name not in (x, y)]).tolist()
        try:
            estimand = identify(graph, x, y, hidden=rest[:n_hidden])
        except NotIdentifiableError as refusal:
            strategies["refused"] = strategies.get("refused", 0) + 1
            assert "hedge" in refusal.witness  # noqa: PT017 - the refusal is one of two proper outcomes
            continue
        strategies[estimand.strategy] = strategies.get(estimand.strategy, 0) + 1
        table = _joint(graph, model)
        for value in BINARY:
            truth = _p(_joint(graph, model, {x: value}), {y: 1})
            found = _evaluate(estimand.formula.to_dict(), {x: value, y: 1}, table)
            assert found == pytest.approx(truth, abs=1e-12)
            if estimand.adjustment is not None:
                z = estimand.optimal if value else estimand.adjustment
                assert not set(z) & set(rest[:n_hidden])
                by_hand = sum(
                    _p(table, {x: value, y: 1} | s) / _p(table, {x: value} | s) * _p(table, s)
                    for s in (
                        dict(zip(z, v, strict=True))
                        for v in itertools.product(BINARY, repeat=len(z))
                    )
                )
                assert by_hand == pytest.approx(truth, abs=1e-12)
    assert strategies["back-door"] >= 10
    assert ("refused" in strategies) == (n_hidden > 0)


def test_front_door_and_its_mediator():
    graph = CausalGraph.from_edges("uxmy", ["u -> x", "u -> y", "x -> m", "m -> y"])
    estimand = identify(graph, "x", "y", hidden=["u"])
    assert (estimand.strategy, estimand.mediators, estimand.adjustment) == (
        "front-door",
        ("m",),
        None,
    )
    assert identify(
        CausalGraph.from_edges("xmy", ["x <-> y", "x -> m", "m -> y"]), "x", "y"
    ).mediators == ("m",)


def test_no_path_no_effect():
    assert (
        identify(CausalGraph.from_edges("xyz", ["z -> x", "z -> y"]), "x", "y").strategy
        == "no effect"
    )


@pytest.mark.parametrize(
    ("edges", "hidden"),
    [
        (["x -> y", "u -> x", "u -> y"], ["u"]),  # the bow
        # adjusting for w opens u, v
        (["x -> y", "u -> x", "u -> w", "v -> w", "v -> y", "w -> x"], ["u", "v"]),
        # a mediator that shares a cause with the treatment
        (["x -> m", "m -> y", "u -> x", "u -> m"], ["u"]),
        # an instrument alone identifies no effect
        (["z -> x", "x -> y", "u -> x", "u -> y"], ["u"]),
    ],
)
def test_known_hedges_are_refused(edges, hidden):
    names = sorted({n for e in edges for n in e.split()[::2]})
    with pytest.raises(NotIdentifiableError, match="hedge") as refusal:
        identify(CausalGraph.from_edges(names, edges), "x", "y", hidden=hidden)
    assert "open back-door path x <-" in refusal.value.witness


def test_an_instrument_is_taken_when_asked_for_and_named_when_not():
    graph = CausalGraph.from_edges(
        "zwxyu", ["z -> x", "w -> z", "w -> y", "x -> y", "u -> x", "u -> y"]
    )
    with pytest.raises(NotIdentifiableError, match="z is an instrument given w: instruments=True"):
        identify(graph, "x", "y", hidden=["u"])
    estimand = identify(graph, "x", "y", hidden=["u"], instruments=True)
    assert (estimand.strategy, estimand.instrument, estimand.given) == ("instrument", "z", ("w",))
    assert repr(estimand) == "effect of x on y: identified by instrument z given w"
    assert (
        r"\frac{\text{Cov}\left(y, z \mid w\right)}{\text{Cov}\left(x, z \mid w\right)}"
        in estimand.latex
    )
    assert identify(graph, "x", "y", instruments=True).strategy == "back-door"
    with pytest.raises(NotIdentifiableError, match=r"hidden$"):
        identify(graph, "x", "y", hidden=["u", "w"], instruments=True)


def test_all_minimal_sets_and_the_best_are_told():
    graph = CausalGraph.from_edges("xyabw", ["a -> x", "a -> b", "b -> y", "w -> y", "x -> y"])
    estimand = identify(graph, "x", "y")
    assert estimand.adjustments == (("a",), ("b",))
    assert estimand.adjustment == ("a",)
    assert estimand.optimal == ("b", "w")
    assert estimand.latex.endswith(r"= \sum_{a}{P\left(y \mid x, a\right) P\left(a\right)}")
    assert estimand.to_dict()["optimal"] == ("b", "w")


def test_the_shop(world):
    estimand = identify(world.graph, "exposed", "purchased")
    assert set(estimand.adjustment) == {"activity", "popularity", "stock"}
    assert estimand.latex.startswith(r"P\left(purchased \mid \text{do}(exposed)\right)")
    with pytest.raises(NotIdentifiableError, match="exposed <- activity -> purchased"):
        identify(world.graph, "exposed", "purchased", hidden=["activity"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "q"), "no variable 'q' in the graph"),
        (("x", "x"), "treatment and outcome are both 'x'"),
    ],
)
def test_bad_queries(arguments, message):
    with pytest.raises(ValueError, match=message):
        identify(CausalGraph.from_edges("xy", ["x -> y"]), *arguments)


def test_graphs_that_cannot_be_asked():
    with pytest.raises(ValueError, match="'x' is hidden"):
        identify(CausalGraph.from_edges("xy", ["x -> y"]), "x", "y", hidden=["x"])
    with pytest.raises(ValueError, match="edge 'x -- y' of this CPDAG has no direction"):
        identify(CausalGraph.from_edges("xy", ["x -- y"]), "x", "y")
    with pytest.raises(ValueError, match="cycle: x -> y -> z -> x"):
        identify(CausalGraph.from_edges("xyz", ["x -> y", "y -> z", "z -> x"]), "x", "y")


@pytest.mark.parametrize(
    ("edges", "hidden", "path"),
    [
        (["u -> h", "h -> x", "u -> y", "x -> y"], ["u", "h"], "x <- h <- u -> y"),
        (["u -> x", "u -> g", "g -> y", "x -> y", "h -> x"], ["u", "g", "h"], "x <- u -> g -> y"),
        (["x -> y", "x <-> m", "m -> y"], ["m"], "x <- (hidden) -> m -> y"),
    ],
)
def test_the_open_path_goes_through_every_hidden_variable(edges, hidden, path):
    names = sorted({n for e in edges for n in e.split()[::2]})
    with pytest.raises(NotIdentifiableError) as refusal:
        identify(CausalGraph.from_edges(names, edges), "x", "y", hidden=hidden)
    assert str(refusal.value) == (
        f"the effect of x on y is not identifiable: {refusal.value.witness}"
    )
    assert refusal.value.witness.startswith("hedge: ")
    assert "Interpretation" not in refusal.value.witness
    assert f"; open back-door path {path} through what is hidden" in refusal.value.witness
    assert "instrument" in refusal.value.witness or refusal.value.witness.endswith(
        "through what is hidden"
    )


def test_estimands_in_print_and_as_dictionaries():
    graph = CausalGraph.from_edges("xy", ["x -> y"])
    found = identify(graph, "x", "y")
    assert repr(found) == "effect of x on y: identified by back-door through the empty set"
    assert found.latex == r"P\left(y \mid \text{do}(x)\right) = P\left(y \mid x\right)"
    assert found._repr_latex_() == f"${found.latex}$"
    assert set(found.to_dict()) == {*vars(found), "latex"}
    assert json.loads(json.dumps(found.to_dict()))["formula"] == {
        "op": "P",
        "vars": ["y"],
        "knowing": ["x"],
    }
    assert found.to_dict()["adjustments"] == ((),)
    front = identify(
        CausalGraph.from_edges("uxmy", ["u -> x", "u -> y", "x -> m", "m -> y"]),
        "x",
        "y",
        hidden=["u"],
    )
    assert repr(front) == "effect of x on y: identified by front-door through m"
    assert front.hidden == ("u",)
    moved = identify(
        CausalGraph.from_edges("zxyu", ["z -> x", "x -> y", "u -> x", "u -> y"]),
        "x",
        "y",
        hidden=["u"],
        instruments=True,
    )
    assert repr(moved) == "effect of x on y: identified by instrument z"
    assert moved.latex == (
        r"\frac{\partial}{\partial x} E\left[y \mid \text{do}(x)\right] = "
        r"\frac{\text{Cov}\left(y, z\right)}{\text{Cov}\left(x, z\right)}"
    )
    none = identify(CausalGraph.from_edges("xyz", ["z -> x", "z -> y"]), "x", "y")
    assert repr(none) == "effect of x on y: identified by no effect"
    two = identify(
        CausalGraph.from_edges("xyab", ["a -> x", "b -> x", "a -> y", "b -> y", "x -> y"]), "x", "y"
    )
    assert two.by(["b", "a"]).latex.endswith(
        r"\sum_{b, a}{P\left(y \mid x, b, a\right) P\left(b, a\right)}"
    )
    assert two.by(["b"]).adjustment == ("b",)
    assert two.by(["b"]).adjustments == two.adjustments


def test_do_calculus_where_neither_door_is_open():
    graph = CausalGraph.from_edges("xzwy", ["x -> z", "z -> w", "w -> y", "x <-> w", "z <-> y"])
    found = identify(graph, "x", "y")
    assert (found.strategy, found.adjustment, found.mediators, found.instrument) == (
        "do-calculus",
        None,
        None,
        None,
    )
    assert repr(found) == "effect of x on y: identified by do-calculus"


def test_large_graphs_are_decided_at_all():
    """All strategies are polynomial: sixty variables took a search over subsets hours."""
    found = set()
    for seed in range(6):
        dag = random_dag(60, degree=3, seed=seed)
        order = dag.order()
        for hidden in (order[:6], order[:3]):
            try:
                found.add(identify(dag, order[20], order[-1], hidden=hidden).strategy)
            except NotIdentifiableError as refusal:
                found.add("refused")
                assert refusal.witness.startswith("hedge: ")  # noqa: PT017 - one proper outcome
    assert {"back-door", "refused"} <= found


def test_names_in_latex():
    graph = CausalGraph.from_edges(
        ["user age", "50%", "y_1"],
        [("user age", "50%"), ("user age", "y_1"), ("50%", "y_1")],
    )
    assert identify(graph, "50%", "y_1").latex == (
        r"P\left(\mathrm{y\_1} \mid \text{do}(\mathrm{50\%})\right) = "
        r"\sum_{\mathrm{user\ age}}{P\left(\mathrm{y\_1} \mid \mathrm{50\%}, \mathrm{user\ age}\right) "
        r"P\left(\mathrm{user\ age}\right)}"
    )


@pytest.mark.parametrize(
    ("edges", "strategy", "mediators"),
    [
        (["x -> m", "m -> w", "w -> y"], "front-door", ("m",)),
        (["x -> m", "m -> y", "x -> w", "w -> y"], "front-door", ("m", "w")),
        # m and w have back-door paths to y that x does not close
        (["x -> m", "m -> w", "w -> y", "z -> m", "z -> y"], "do-calculus", None),
        # there is a back-door path from x to m
        (["x -> m", "m -> y", "z -> x", "z -> m"], "do-calculus", None),
    ],
)
def test_front_doors(edges, strategy, mediators):
    graph = CausalGraph.from_edges("uxzmwy", ["u -> x", "u -> y", *edges])
    found = identify(graph, "x", "y", hidden=["u"])
    assert (found.strategy, found.mediators) == (strategy, mediators)


def test_instruments_are_not_taken_unless_asked_for_and_named_without_what_is_not_given():
    graph = CausalGraph.from_edges("zxyu", ["z -> x", "x -> y", "u -> x", "u -> y"])
    with pytest.raises(
        NotIdentifiableError,
        match=r"; z is an instrument: instruments=True accepts what it assumes$",
    ):
        identify(graph, "x", "y", hidden=["u"])


@pytest.mark.parametrize(
    ("graph", "hidden", "message"),
    [
        (
            nx.DiGraph([("t", "y")]),
            (),
            r"graph: a CausalGraph is needed, not \(DiGraph\); see .*networkx",
        ),
        (["t -> y"], (), r"graph: .* not \['t -> y'\] \(list\); see CausalGraph.from_edges"),
        (CausalGraph.from_edges("ty", ["t -> y"]), "price", "hidden: a list of columns is needed"),
    ],
)
def test_what_is_no_graph_and_what_is_no_list_is_named(graph, hidden, message):
    with pytest.raises(ValueError, match=message):
        identify(graph, "t", "y", hidden=hidden)
