"""Identification by do-calculus (pyAgrum): an `Estimand` with its formula, or a refusal with its witness."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import pyagrum as gum

from causal_lib.graph import CausalGraph


class NotIdentifiableError(ValueError):
    """The effect cannot be computed from observational data under the graph; ``witness`` says why."""

    def __init__(self, message: str, witness: str):
        super().__init__(f"{message}: {witness}")
        self.witness = witness


@dataclass(frozen=True)
class Estimand:
    """What to compute from observational data to get the effect of ``treatment`` on ``outcome``.

    Attributes
    ----------
    strategy : 'no effect', 'back-door', 'front-door' or 'do-calculus'.
    adjustment : the back-door set; None for another strategy than back-door.
    mediators : the front-door set; None for another strategy than front-door.
    latex : P(outcome | do(treatment)) as a formula of observational probabilities.
    hidden : variables taken as not observed.
    """

    treatment: str
    outcome: str
    strategy: str
    latex: str
    adjustment: tuple[str, ...] | None = None
    mediators: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    impact: object = field(default=None, repr=False, compare=False)

    def __repr__(self):
        through = self.adjustment if self.adjustment is not None else self.mediators
        how = f" through {', '.join(through) or 'the empty set'}" if through is not None else ""
        return f"effect of {self.treatment} on {self.outcome}: identified by {self.strategy}{how}"

    def _repr_latex_(self):
        return f"${self.latex}$"

    def to_dict(self) -> dict:
        """The estimand as JSON types."""
        names = ("treatment", "outcome", "strategy", "latex", "adjustment", "mediators", "hidden")
        return {name: getattr(self, name) for name in names}


def identify(graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = ()) -> Estimand:
    """The estimand of P(outcome | do(treatment)) under ``graph``, complete: what is refused cannot be identified.

    Parameters
    ----------
    graph : a DAG, or a graph with ``↔`` edges for hidden common causes.
    hidden : variables of ``graph`` that the data lack.

    Raises
    ------
    NotIdentifiableError
        with the hedge that proves it and an open back-door path.
    ValueError
        for an absent or hidden treatment or outcome, or a graph with cycles or undirected edges.

    Source: Shpitser and Pearl 2006 (completeness), by pyAgrum; hidden variables are made exogenous first (Evans 2016).

    >>> graph = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])
    >>> identify(graph, "x", "y")
    effect of x on y: identified by back-door through z
    >>> identify(graph, "x", "y", hidden=["z"])
    Traceback (most recent call last):
    causal_lib.inference.identification.NotIdentifiableError: the effect of x on y is not identifiable: ...
    """
    hidden = tuple(hidden)
    for name in (treatment, outcome, *hidden):
        graph.index(name)
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    for name in (treatment, outcome):
        if name in hidden:
            raise ValueError(f"{name!r} is hidden: an effect needs its treatment and outcome observed")
    directed = _directed(graph)
    observed, latents = _exogenous(graph, directed, hidden)
    net = CausalGraph.from_networkx(observed).to_pyagrum()
    for node in net.nodes():
        net.cpt(node).fillWith(1).normalizeAsCPT()  # only the formula counts, but pyAgrum also evaluates it
    model = gum.CausalModel(net, latents, True)
    impact, tensor, explanation = gum.causalImpact(model, on=outcome, doing=treatment)
    impact.thisown = False  # its wrapper has no destructor and would print so; a few bytes stay until the end
    if tensor is not None:
        tensor.thisown = False
    if not impact.isIdentified():
        hedge = explanation.split("Witness:")[-1].split(" Interpretation:")[0].strip(" .")
        path = _open_back_door(directed, treatment, outcome, hidden)
        witness = f"hedge: {hedge}" + (f"; open back-door path {path} through what is hidden" if path else "")
        raise NotIdentifiableError(f"the effect of {treatment} on {outcome} is not identifiable", witness)
    found = {"treatment": treatment, "outcome": outcome, "hidden": hidden, "latex": impact.toLatex(), "impact": impact}
    if treatment not in nx.ancestors(observed, outcome):
        return Estimand(strategy="no effect", **found)
    back = model.backDoor(treatment, outcome)
    if back is not None:
        names = {model.observationalBN().variable(n).name() if isinstance(n, int) else n for n in back}
        return Estimand(strategy="back-door", adjustment=tuple(n for n in graph.names if n in names), **found)
    front = model.frontDoor(treatment, outcome)
    if front is not None:
        names = {model.observationalBN().variable(n).name() if isinstance(n, int) else n for n in front}
        return Estimand(strategy="front-door", mediators=tuple(n for n in graph.names if n in names), **found)
    return Estimand(strategy="do-calculus", **found)


def _directed(graph):
    """The graph's DAG over all variables, each ``↔`` replaced by a hidden common cause named ``(a, b)``."""
    if graph.kind not in ("DAG", "ADMG"):
        graph.require_dag("identification")
    directed = graph.to_networkx()
    for i, j in np.argwhere(np.triu(graph.bidirected)):
        pair = (graph.names[i], graph.names[j])
        directed.add_edges_from((pair, end) for end in pair)
    return directed


def _exogenous(graph, directed, hidden):
    """The DAG over observed variables and the hidden common causes as (name, children) for pyAgrum."""
    directed = directed.copy()
    unseen = [n for n in nx.topological_sort(directed) if n in hidden or isinstance(n, tuple)]
    for cause in unseen:
        for parent in list(directed.predecessors(cause)):
            directed.add_edges_from((parent, child) for child in list(directed.successors(cause)))
            directed.remove_edge(parent, cause)
    latents = []
    for number, cause in enumerate(unseen):
        children = sorted(c for c in directed.successors(cause) if c not in hidden)
        if len(children) > 1:
            latents.append((f"hidden_{number}", children))
    observed = nx.DiGraph()
    observed.add_nodes_from(n for n in graph.names if n not in hidden)
    observed.add_edges_from(e for e in directed.edges if not set(e) & set(unseen))
    return observed, latents


def _open_back_door(directed, treatment, outcome, hidden):
    """A shortest path treatment ← … ← hidden → … → outcome whose inner variables are hidden or not conditioned on."""
    without = directed.copy()
    without.remove_edges_from(list(without.out_edges(treatment)))
    for cause in nx.topological_sort(without):
        reaches = nx.descendants(without, cause)
        if (cause in hidden or isinstance(cause, tuple)) and {treatment, outcome} <= reaches:
            left = nx.shortest_path(without, cause, treatment)[::-1]
            right = nx.shortest_path(without, cause, outcome)[1:]
            label = [n if isinstance(n, str) else "(hidden)" for n in left]
            return " <- ".join(label) + " -> " + " -> ".join(right)
    return None
