"""Causal models of binary variables, enumerated (4.1.3): the truncated factorisation, the formulas
of `identify`, and the three rules of do-calculus.

A model is a dictionary: variable -> (the letters of its parents and its own, an array of
probabilities with these axes). A variable is one letter, except where names are given as a list.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import sympy as sp

from causal_lib.graph import CausalGraph
from causal_lib.inference.bayes_net import CausalNetwork
from causal_lib.inference.identification import NotIdentifiableError, identify

Tables = Mapping[str, tuple[str, np.ndarray]]


def truncated(tables: Tables, do: str = "") -> np.ndarray:
    """P(all others | do), the product of all tables but those of the variables in ``do``.

    An axis for every variable; the axis of one in ``do`` says what it is set to.
    """
    terms = [
        (name, np.ones(table.shape[-1], dtype=int)) if name in do else (axes, table)
        for name, (axes, table) in tables.items()
    ]
    axes = ",".join(one for one, _ in terms)
    return np.einsum(f"{axes}->{''.join(tables)}", *(table for _, table in terms))


def conditional(
    joint: np.ndarray, names: Sequence[str], of: Sequence[str], given: Sequence[str] = ()
) -> np.ndarray:
    """P(of | given) with all axes; those of variables that are neither have length 1.

    What was set by intervention has to be in ``given``.
    """
    rest = tuple(i for i, name in enumerate(names) if name not in {*of, *given})
    kept = joint.sum(axis=rest, keepdims=True)
    return kept / kept.sum(axis=tuple(names.index(name) for name in of), keepdims=True)


def draw(rng: np.random.Generator, names: str, edges: Sequence[str]) -> tuple[CausalGraph, dict]:
    """The graph and random tables of binary variables, every probability between .1 and .9."""
    graph = CausalGraph.from_edges(names, edges)
    tables = {}
    for name in names:
        parents = "".join(sorted(graph.parents(name), key=names.index))
        one = rng.uniform(0.1, 0.9, size=(2,) * len(parents))
        tables[name] = parents + name, np.stack([1 - one, one], axis=-1)
    return graph, tables


def one_joint_three_models(rng: np.random.Generator) -> tuple[pd.DataFrame, bool]:
    """Three models with the same p(x, y) and their p(y = 1 | do(x = 1)); whether `identify` refuses
    the graph of which the first and the third are models.
    """
    _, forwards = draw(rng, "xy", ["x -> y"])
    joint = truncated(forwards)
    of_y = joint.sum(axis=0)
    models = {
        "x -> y": forwards,
        "x <- y": {"x": ("yx", (joint / of_y).T), "y": ("y", of_y)},
        "x <- u -> y": {  # u has four levels, one for each pair of values
            "u": ("u", joint.ravel()),
            "x": ("ux", np.eye(2)[[0, 0, 1, 1]]),
            "y": ("uy", np.eye(2)[[0, 1, 0, 1]]),
        },
    }
    rows = []
    for name, tables in models.items():
        both = truncated(tables).sum(axis=tuple(range(len(tables) - 2)))
        done = conditional(truncated(tables, "x"), "".join(tables), "y", "x").reshape(2, 2)
        same = bool(np.abs(both - joint).max() < 1e-12)
        rows.append({"model": name, "same p(x, y)": same, "p(y=1 | do(x=1))": done[1, 1]})
    bow = CausalGraph.from_edges("uxy", ["u -> x", "u -> y", "x -> y"])
    try:
        identify(bow, "x", "y", hidden=["u"])
    except NotIdentifiableError:
        return pd.DataFrame(rows), True
    return pd.DataFrame(rows), False


def value(formula: Mapping, joint: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The distribution that a formula of `identify` (`Formula.to_dict`) gives on a joint
    distribution, all axes kept.
    """
    if formula["op"] == "P":
        return conditional(joint, names, formula["vars"], formula.get("knowing", ()))
    if formula["op"] == "sum":
        term = value(formula["term"], joint, names)
        return term.sum(axis=names.index(formula["var"]), keepdims=True)
    first = value(formula["op1"], joint, names)
    second = value(formula["op2"], joint, names)
    return first * second if formula["op"] == "*" else first / second


def network(graph: CausalGraph, tables: Tables) -> CausalNetwork:
    """The model as a `CausalNetwork`."""
    net = graph.to_pyagrum(2)
    for letter, (axes, table) in tables.items():
        order = [*reversed(net.cpt(letter).names[1:]), letter]  # pyAgrum's axes
        swapped = table.transpose([axes.index(other) for other in order])
        net.cpt(letter)[:] = np.ascontiguousarray(swapped)
    return CausalNetwork(graph, dict.fromkeys(graph.names, pd.Index([0, 1])), (net,), 0)


def formulas(cases: Mapping[str, tuple]) -> pd.DataFrame:
    """A row per effect: the largest error of the formula of `identify`, of the network's answer and
    of conditioning, against the truncated factorisation of the whole model.

    ``cases``: name -> graph, tables, hidden variables. Of "drawn", every ordered pair of observed
    variables is asked for; of the others, x and y.
    """
    rows = []
    for name, (graph, tables, hidden) in cases.items():
        names = "".join(graph.names)
        asked = [("x", "y")]
        if name == "drawn":
            seen = [one for one in names if one not in hidden]
            asked = [(one, other) for one in seen for other in seen if one != other]
        net = network(graph, tables)
        joint = truncated(tables)
        for treatment, outcome in asked:
            truth = conditional(truncated(tables, treatment), names, outcome, treatment)
            estimand = identify(graph, treatment, outcome, hidden=list(hidden))
            answers = [net.query(outcome, do={treatment: level})["probability"] for level in (0, 1)]
            axes = [names.index(treatment), names.index(outcome)]
            plain = np.moveaxis(truth, axes, [0, 1]).reshape(2, 2)
            by_formula = value(estimand.formula.to_dict(), joint, names)
            naive = conditional(joint, names, outcome, treatment)
            rows.append(
                {
                    "graph": name,
                    "effect": f"{treatment} on {outcome}",
                    "by": estimand.strategy,
                    "formula": np.abs(by_formula - truth).max(),
                    "network": np.abs(np.array(answers) - plain).max(),
                    "conditioning": np.abs(naive - truth).max(),
                }
            )
    return pd.DataFrame(rows)


def front_door_symbols() -> list[bool]:
    """Whether the front-door formula is the truncated factorisation, with a symbol for every
    probability; an entry per value of x and y.
    """
    graph = CausalGraph.from_edges("uxmy", ["u -> x", "u -> y", "x -> m", "m -> y"])
    tables = {}
    for name, axes in {"u": "u", "x": "ux", "m": "xm", "y": "umy"}.items():
        shape = (2,) * (len(axes) - 1)
        one = np.array(sp.symbols(f"p_{name}_:{2 ** len(shape)}")).reshape(shape)
        tables[name] = axes, np.stack([1 - one, one], axis=-1)
    formula = identify(graph, "x", "y", hidden=["u"]).formula.to_dict()
    truth = truncated(tables, "x").sum(axis=(0, 2), keepdims=True)
    gaps = value(formula, truncated(tables), "uxmy") - truth
    return [sp.cancel(sp.together(gap)) == 0 for gap in gaps.ravel()]


def without(graph: CausalGraph, into: str = "", out_of: str = "") -> CausalGraph:
    """The graph without the edges into some variables and out of others."""
    kept = [
        (cause, effect)
        for cause, _, effect in graph.triples
        if effect not in into and cause not in out_of
    ]
    return CausalGraph.from_edges(graph.names, kept)


def conditions(graph: CausalGraph, y: str, x: str, z: str, w: str) -> list[bool]:
    """Whether the condition of each rule holds: d-separation in the graph with edges removed
    (Pearl 1995). ``y`` and ``z`` are one variable each, ``x`` and ``w`` any number.
    """
    cut = without(graph, into=x)
    ancestors = set().union(*(cut.ancestors(name) for name in w))
    still = "" if z in ancestors else z
    graphs = cut, without(graph, into=x, out_of=z), without(graph, into=x + still)
    return [one.d_separated(y, z, x + w) for one in graphs]


def gaps(tables: Tables, y: str, x: str, z: str, w: str) -> list[float]:
    """The largest difference between the two sides of each rule."""
    names = "".join(tables)
    before = truncated(tables, x)
    plain = conditional(before, names, y, x + w)
    seen = conditional(before, names, y, x + z + w)
    done = conditional(truncated(tables, x + z), names, y, x + z + w)
    sides = (seen, plain), (done, seen), (done, plain)
    return [float(np.abs(one - other).max()) for one, other in sides]


def rules(graph: CausalGraph, tables: Tables) -> pd.DataFrame:
    """Every query of the three rules with at most one variable set beforehand: whether the
    condition of the rule holds, the gap between its sides, and whether the two agree.

    They agree where the sides are equal to 1e-12 if the condition holds, and more than 1e-6 apart
    if it fails.
    """
    names = "".join(tables)
    rows = []
    for y in names:
        for z in names.replace(y, ""):
            rest = [name for name in names if name not in (y, z)]
            for x in ["", *rest]:
                free = [name for name in rest if name != x]
                for size in range(len(free) + 1):
                    for chosen in combinations(free, size):
                        w = "".join(chosen)
                        holds = conditions(graph, y, x, z, w)
                        apart = gaps(tables, y, x, z, w)
                        rows += [
                            (rule, y, x, z, w, holds[rule - 1], apart[rule - 1])
                            for rule in (1, 2, 3)
                        ]
    table = pd.DataFrame(rows, columns=["rule", "y", "x", "z", "w", "condition", "gap"])
    table["agrees"] = np.where(table["condition"], table["gap"] < 1e-12, table["gap"] > 1e-6)
    return table
