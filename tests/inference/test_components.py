"""c-components against pyAgrum (which effects are identifiable) and brute force (the formulas)."""

import itertools

import networkx as nx
import numpy as np
import pyagrum as gum
import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference.components import HedgeError, Observed
from causal_lib.inference.identification import NotIdentifiableError, identify

BINARY = (0, 1)


def random_causes(rng, names, share):
    """Pairs of names with a hidden cause."""
    return tuple(
        frozenset(pair) for pair in itertools.combinations(names, 2) if rng.random() < share
    )


def observed_graph(rng, d, share):
    names = [f"v{i}" for i in range(d)]
    directed = nx.DiGraph()
    directed.add_nodes_from(names)
    directed.add_edges_from(
        (a, b) for a, b in itertools.combinations(names, 2) if rng.random() < 0.5
    )
    return Observed(directed, random_causes(rng, names, share))


def identified_by_pyagrum(graph, treatment, outcome):
    """Whether pyAgrum has a formula, and a front-door set."""
    net = gum.BayesNet()
    for name in graph.directed:
        net.add(gum.RangeVariable(name, name, 0, 1))
    for cause, effect in graph.directed.edges:
        net.addArc(cause, effect)
    for node in net.nodes():
        net.cpt(node).fillWith(1).normalizeAsCPT()
    latents = [(f"u{k}", sorted(pair)) for k, pair in enumerate(graph.causes)]
    model = gum.CausalModel(net, latents, True)
    impact, tensor, _ = gum.causalImpact(model, on=outcome, doing=treatment)
    # its wrapper has no destructor
    impact.thisown = False
    if tensor is not None:
        tensor.thisown = False
    return impact.isIdentified(), model.frontDoor(treatment, outcome) is not None


def distributions(rng, graph, treatment):
    """The observational joint and, for each value of the treatment, the interventional one.

    Arrays with an axis for each observed variable; the hidden causes are summed out.
    """
    names = list(graph.directed)
    tables = {}
    for name in names:
        own = [k for k, pair in enumerate(graph.causes) if name in pair]
        parents = list(graph.directed.predecessors(name))
        tables[name] = (parents, own, rng.uniform(0.1, 0.9, (2,) * (len(parents) + len(own))))
    weights = rng.uniform(0.2, 0.8, len(graph.causes))
    found = [np.zeros((2,) * len(names)) for _ in range(3)]
    for values in itertools.product(BINARY, repeat=len(names)):
        row = dict(zip(names, values, strict=True))
        for hidden in itertools.product(BINARY, repeat=len(graph.causes)):
            chance = np.prod([w if h else 1 - w for h, w in zip(hidden, weights, strict=True)])
            with_treatment = 1.0
            for name in names:
                parents, own, table = tables[name]
                one = table[tuple([row[p] for p in parents] + [hidden[k] for k in own])]
                own_chance = one if row[name] else 1 - one
                if name == treatment:
                    with_treatment = own_chance
                else:
                    chance *= own_chance
            found[2][values] += chance * with_treatment
            found[row[treatment]][values] += chance
    return names, found[2], found[:2]


def evaluate(formula, joint, names):
    """The values of a formula on the joint distribution, an axis for each name."""
    if formula["op"] == "P":
        given = formula.get("knowing", [])
        kept = [names.index(name) for name in (*formula["vars"], *given)]
        out = tuple(k for k in range(len(names)) if k not in kept)
        above = joint.sum(axis=out, keepdims=True)
        own = tuple(names.index(name) for name in formula["vars"])
        return above / above.sum(axis=own, keepdims=True) if given else above
    if formula["op"] == "sum":
        axis = names.index(formula["var"])
        term = evaluate(formula["term"], joint, names)
        assert term.shape[axis] == 2
        return term.sum(axis=axis, keepdims=True)
    one = evaluate(formula["op1"], joint, names)
    other = evaluate(formula["op2"], joint, names)
    return one * other if formula["op"] == "*" else one / other


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_an_effect_is_refused_where_pyagrum_refuses_it(share):
    rng = np.random.default_rng(int(100 * share))
    refused = 0
    for _ in range(150):
        graph = observed_graph(rng, int(rng.integers(3, 8)), share)
        treatment, outcome = rng.choice(list(graph.directed), 2, replace=False)
        right, _ = identified_by_pyagrum(graph, treatment, outcome)
        try:
            graph.effect(treatment, outcome)
        except HedgeError as found:
            hedge = found
        else:
            assert right
            continue
        refused += 1
        assert not right
        assert treatment in hedge.outer - hedge.inner
        assert hedge.inner < hedge.outer
        assert graph.component(treatment, hedge.outer) == hedge.outer
        assert graph.above(hedge.inner, hedge.outer) == hedge.outer
    assert 5 <= refused <= 145


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_the_formula_gives_the_interventional_distribution(share):
    rng = np.random.default_rng(int(1000 * share))
    kinds = {"sum": 0, "/": 0, "P": 0, "*": 0}
    for _ in range(60):
        graph = observed_graph(rng, 5, share)
        treatment, outcome = sorted(rng.choice(list(graph.directed), 2, replace=False))
        try:
            formula = graph.effect(treatment, outcome).to_dict()
        except HedgeError:
            continue
        kinds[formula["op"]] += 1
        names, joint, under = distributions(rng, graph, treatment)
        found = evaluate(formula, joint, names)
        axes = [names.index(treatment), names.index(outcome)]
        everywhere = np.moveaxis(np.broadcast_to(found, joint.shape), axes, [0, 1])
        for value in BINARY:
            others = tuple(k for k in range(len(names)) if k != axes[1])
            truth = under[value].sum(axis=others)
            shape = (2,) + (1,) * (len(names) - 2)
            # the same at every value of the other variables
            assert np.abs(everywhere[value] - truth.reshape(shape)).max() < 1e-12
    assert sum(kinds.values()) >= 20


def napkin():
    edges = [("w", "z"), ("z", "x"), ("x", "y")]
    return Observed(nx.DiGraph(edges), (frozenset("wx"), frozenset("wy")))


def test_the_napkin_by_hand():
    """Pearl and Mackenzie 2018, chapter 7: no door is open, and a quotient is needed."""
    formula = napkin().effect("x", "y")
    assert formula.latex() == (
        r"\frac{\sum_{w}{P\left(y \mid w, z, x\right) P\left(x \mid w, z\right) P\left(w\right)}}"
        r"{\sum_{w}{P\left(x \mid w, z\right) P\left(w\right)}}"
    )
    assert formula.free == {"x", "y", "z"}
    with pytest.raises(HedgeError):
        Observed(nx.DiGraph([("x", "y")]), (frozenset("xy"),)).effect("x", "y")


def test_components_of_a_part():
    graph = Observed(
        nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d")]), (frozenset("abc"), frozenset("cd"))
    )
    assert graph.components("abcd") == [frozenset("abcd")]
    assert graph.components("abd") == [frozenset("ab"), frozenset("d")]
    assert graph.above("c", "bcd") == frozenset("bc")


def test_all_strategies_together_are_complete():
    """Back doors, front doors and c-components refuse what pyAgrum refuses, and nothing else."""
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(400):
        names = [f"v{i}" for i in range(int(rng.integers(3, 8)))]
        edges = []
        for pair in itertools.combinations(names, 2):
            sign = rng.choice(["->", "<->", ""], p=[0.35, 0.25, 0.4])
            edges += [f"{pair[0]} {sign} {pair[1]}"] if sign else []
        graph = CausalGraph.from_edges(names, edges)
        causes = [frozenset(edge.split(" <-> ")) for edge in edges if "<" in edge]
        treatment, outcome = sorted(rng.choice(names, 2, replace=False))
        right, front_door = identified_by_pyagrum(
            Observed(graph.directed_part(), tuple(causes)), treatment, outcome
        )
        try:
            strategy = identify(graph, treatment, outcome).strategy
        except NotIdentifiableError:
            strategy = "refused"
        found.add(strategy)
        assert (strategy != "refused") == right
        if strategy not in ("no effect", "back-door"):
            assert (strategy == "front-door") == front_door
    assert found == {"no effect", "back-door", "front-door", "do-calculus", "refused"}
