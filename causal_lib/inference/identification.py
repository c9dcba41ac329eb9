"""Identification of an effect under a graph: an `Estimand`, or a refusal with its witness."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import networkx as nx

from causal_lib.cards import card
from causal_lib.checks import check_columns
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import MOST
from causal_lib.inference.components import HedgeError, Observed
from causal_lib.inference.formulas import Formula, Probability, adjusted, label, mediated
from causal_lib.inference.queries import Query


class NotIdentifiableError(ValueError):
    """The graph does not let observational data give the effect; ``witness`` says why."""

    def __init__(self, message: str, witness: str):
        super().__init__(f"{message}: {witness}")
        self.witness = witness


@dataclass(frozen=True)
class Estimand:
    """What to compute from observational data to get the effect of ``treatment`` on ``outcome``.

    Attributes
    ----------
    strategy : 'no effect', 'back-door', 'front-door', 'do-calculus' or 'instrument'.
    adjustment : the smallest set to adjust for; None for another strategy than back-door, as the
        next two.
    adjustments : all sets from which nothing can be left out, see `minimal_adjustment_sets`.
    optimal : the set of least asymptotic variance, often larger, see `optimal_adjustment_set`.
    mediators : the front-door set; None for another strategy than front-door.
    instrument, given : given ``given``, the instrument moves the treatment, and the outcome through
        it alone; None for another strategy.
    formula : P(outcome | do(treatment)) in observational probabilities; None for an instrument. The
        value of a variable other than these two may be any: the formula does not depend on it.
    hidden : variables taken as not observed.
    """

    treatment: str
    outcome: str
    strategy: str
    adjustment: tuple[str, ...] | None = None
    adjustments: tuple[tuple[str, ...], ...] | None = None
    optimal: tuple[str, ...] | None = None
    mediators: tuple[str, ...] | None = None
    instrument: str | None = None
    given: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    formula: Formula | None = None

    def __repr__(self):
        through = self.adjustment if self.adjustment is not None else self.mediators
        how = f" through {', '.join(through) or 'the empty set'}" if through is not None else ""
        if self.instrument is not None:
            given = f" given {', '.join(self.given)}" if self.given else ""
            how = f" {self.instrument}{given}"
        return f"effect of {self.treatment} on {self.outcome}: identified by {self.strategy}{how}"

    def by(self, adjustment: Iterable[str]) -> "Estimand":
        """The same effect by another set, such as ``optimal``; the set is not checked."""
        adjustment = tuple(adjustment)
        formula = adjusted(self.treatment, self.outcome, adjustment)
        return replace(self, adjustment=adjustment, formula=formula)

    @property
    def latex(self) -> str:
        """P(outcome | do(treatment)) in LaTeX; of an instrument, the effect of one unit."""
        treatment = label(self.treatment)
        outcome = label(self.outcome)
        if self.formula is None:
            return _ratio(treatment, outcome, label(self.instrument), [*map(label, self.given)])
        left = rf"P\left({outcome} \mid \text{{do}}({treatment})\right)"
        return f"{left} = {self.formula.latex()}"

    def _repr_latex_(self):
        return f"${self.latex}$"

    def _repr_html_(self):
        def told(names):
            return None if names is None else ", ".join(names) or "nothing"

        return card(
            f"Effect of {self.treatment} on {self.outcome}",
            f"identified by {self.strategy}" if self.strategy != "no effect" else "no effect",
            facts=[
                ("adjust for", told(self.adjustment)),
                ("most precise set", told(self.optimal)),
                ("mediators", told(self.mediators)),
                ("instrument", self.instrument),
                ("given", told(self.given or None)),
                ("hidden", told(self.hidden or None)),
            ],
            formula=self.latex,
        )

    def to_dict(self) -> dict:
        """The estimand as JSON types."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {
            "formula": self.formula and self.formula.to_dict(),
            "latex": self.latex,
        }


def identify(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    *,
    hidden: Iterable[str] = (),
    instruments: bool = False,
) -> Estimand:
    """The estimand of P(outcome | do(treatment)) under ``graph``.

    Complete: what is refused is not identifiable.

    Parameters
    ----------
    graph : a DAG, or a graph with ``↔`` edges for hidden common causes.
    hidden : variables of ``graph`` that the data lack.
    instruments : where the graph alone does not identify the effect, use an instrument if there is
        one. This assumes more than the graph: an effect that is linear and the same for everybody;
        or, for a binary instrument that moves nobody away from the treatment, that the effect on
        the units it moves is wanted.

    Raises
    ------
    NotIdentifiableError
        with the hedge that proves it and an open back-door path; with the instrument, if there is
        one.
    ValueError
        for an absent or hidden treatment or outcome, or a graph with cycles or undirected edges.

    Source: Tian and Pearl 2002; Huang and Valtorta 2006 and Shpitser and Pearl 2006 (completeness);
    hidden variables are made exogenous first (Evans 2016). The time is polynomial in the number of
    variables.

    >>> graph = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])
    >>> identify(graph, "x", "y")
    effect of x on y: identified by back-door through z
    >>> identify(graph, "x", "y", hidden=["z"])
    Traceback (most recent call last):
    causal_lib.inference.identification.NotIdentifiableError: the effect of x on y is not ...
    """
    hidden = tuple(check_columns(hidden, name="hidden"))
    query = Query.of(graph, treatment, outcome, hidden)
    found = {"treatment": treatment, "outcome": outcome, "hidden": hidden}
    if outcome not in query.descendants:
        return Estimand(strategy="no effect", formula=Probability((outcome,)), **found)
    minimal = query.minimal_sets(MOST)
    if minimal:
        return Estimand(
            strategy="back-door",
            adjustment=minimal[0],
            adjustments=tuple(minimal),
            optimal=query.optimal_set(),
            formula=adjusted(treatment, outcome, minimal[0]),
            **found,
        )
    mediators = query.front_door()
    if mediators is not None:
        formula = mediated(treatment, outcome, mediators)
        return Estimand(strategy="front-door", mediators=mediators, formula=formula, **found)
    try:
        formula = _observed(query).effect(treatment, outcome)
    except HedgeError as hedge:
        instrument = query.instrument()
        if not instrument or not instruments:
            raise _refusal(query, hedge, instrument) from None
        name, given = instrument
        return Estimand(strategy="instrument", instrument=name, given=given, **found)
    return Estimand(strategy="do-calculus", formula=formula, **found)


def _refusal(query, hedge, instrument):
    """The error for an effect that is not identifiable: hedge, open path, instrument."""
    outer = ", ".join(query.in_order(hedge.outer))
    inner = ", ".join(query.in_order(hedge.inner))
    witness = (
        f"hedge: hidden common causes join {{{outer}}}, all of it causes of {{{inner}}} or part of "
        f"it, and {{{inner}}} is without {query.treatment}"
    )
    if path := _open_back_door(query):
        witness += f"; open back-door path {path} through what is hidden"
    if instrument:
        name, given = instrument
        condition = f" given {', '.join(given)}" if given else ""
        witness += f"; {name} is an instrument{condition}: instruments=True accepts what it assumes"
    message = f"the effect of {query.treatment} on {query.outcome} is not identifiable"
    return NotIdentifiableError(message, witness)


def _ratio(treatment, outcome, instrument, given):
    """Wald's ratio in LaTeX."""
    given = rf" \mid {', '.join(given)}" if given else ""
    above = rf"\text{{Cov}}\left({outcome}, {instrument}{given}\right)"
    below = rf"\text{{Cov}}\left({treatment}, {instrument}{given}\right)"
    mean = rf"E\left[{outcome} \mid \text{{do}}({treatment})\right]"
    return rf"\frac{{\partial}}{{\partial {treatment}}} {mean} = \frac{{{above}}}{{{below}}}"


def _observed(query):
    """The observed variables and their hidden causes, which are made exogenous."""
    hidden = query.hidden
    directed = query.directed.copy()
    unseen = [n for n in nx.topological_sort(directed) if n in hidden or isinstance(n, tuple)]
    for cause in unseen:
        for parent in list(directed.predecessors(cause)):
            children = list(directed.successors(cause))
            directed.add_edges_from((parent, child) for child in children)
            directed.remove_edge(parent, cause)
    shared = [frozenset(directed.successors(cause)) - hidden for cause in unseen]
    observed = nx.DiGraph()
    observed.add_nodes_from(n for n in query.graph.names if n not in hidden)
    observed.add_edges_from(e for e in directed.edges if not set(e) & set(unseen))
    return Observed(observed, tuple(effects for effects in shared if len(effects) > 1))


def _open_back_door(query):
    """A shortest path treatment ← … ← hidden → … → outcome, in words; None without one."""
    treatment = query.treatment
    outcome = query.outcome
    without = query.directed.copy()
    without.remove_edges_from(list(without.out_edges(treatment)))
    for cause in nx.topological_sort(without):
        is_hidden = cause in query.hidden or isinstance(cause, tuple)
        if is_hidden and {treatment, outcome} <= nx.descendants(without, cause):
            left = nx.shortest_path(without, cause, treatment)[::-1]
            right = nx.shortest_path(without, cause, outcome)[1:]
            label = [n if isinstance(n, str) else "(hidden)" for n in left]
            return " <- ".join(label) + " -> " + " -> ".join(right)
    return None
