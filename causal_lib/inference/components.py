"""Identification by c-components: the formula of an effect, or the hedge that refuses it.

Variables are in one c-component where a chain of hidden common causes joins them.

Notation
--------
``Q[C]``: P(C | do(all other variables)), of a set ``C`` of variables.
``D``: the ancestors of the outcome, once the treatment is set by intervention.

Source: Tian and Pearl 2002 and 2003; complete by Huang and Valtorta 2006. Every step is polynomial
in the number of variables.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from causal_lib.inference.formulas import Formula, Probability, Quotient, add_up, times


class HedgeError(Exception):
    """An effect is not identifiable: two sets of variables that prove it.

    Attributes
    ----------
    outer : a c-component with the treatment, all of it ancestors of ``inner`` within it.
    inner : a c-component without the treatment, a part of ``outer``.

    Source: Shpitser and Pearl 2006.
    """

    def __init__(self, outer: frozenset[str], inner: frozenset[str]):
        super().__init__(outer, inner)
        self.outer = outer
        self.inner = inner


@dataclass(frozen=True, eq=False)
class Observed:
    """The observed variables of a causal graph and the hidden causes that they share.

    Attributes
    ----------
    directed : a DAG over the observed variables.
    causes : for each hidden cause, its observed effects; no hidden cause has a cause itself.
    """

    directed: nx.DiGraph
    causes: tuple[frozenset[str], ...]

    def component(self, name: str, among: Iterable[str]) -> frozenset[str]:
        """The c-component of ``name`` in the graph on the variables ``among``."""
        among = set(among)
        found = {name}
        new = {name}
        while new:
            near = [cause & among for cause in self.causes if cause & new]
            new = set().union(*near) - found
            found |= new
        return frozenset(found)

    def components(self, among: Iterable[str]) -> list[frozenset[str]]:
        """All c-components of the graph on ``among``, in the order of their first variables."""
        found = []
        for name in among:
            if not any(name in component for component in found):
                found.append(self.component(name, among))
        return found

    def above(self, names: Iterable[str], among: Iterable[str]) -> frozenset[str]:
        """``names`` and their ancestors in the graph on ``among``."""
        graph = self.directed.subgraph(among)
        return frozenset(names).union(*(nx.ancestors(graph, name) for name in names))

    def effect(self, treatment: str, outcome: str) -> Formula:
        """P(outcome | do(treatment)) in observational probabilities; HedgeError without a formula.

        A variable in it beside the two has a value that does not matter.
        """
        above = self.above([outcome], self.directed)
        position = {name: number for number, name in enumerate(self.directed)}
        order = nx.lexicographical_topological_sort(self.directed, key=position.get)
        order = [name for name in order if name in above]
        others = [name for name in order if name != treatment]
        members = self.above([outcome], others)
        ordered = [name for name in others if name in members]
        factors = []
        for part in self.components(ordered):
            whole = self.component(next(iter(part)), order)
            factors.append(self._reduced(part, whole, self._factorised(whole, order), order))
        return add_up([name for name in ordered if name != outcome], times(factors))

    def _factorised(self, component, order):
        """Q[component] of a c-component of the graph on ``order``, as conditional probabilities."""
        factors = []
        for position, name in enumerate(order):
            if name in component:
                joined = self.component(name, order[: position + 1])
                given = joined.union(*(self.directed.predecessors(one) for one in joined)) - {name}
                factors.append(Probability((name,), tuple(one for one in order if one in given)))
        return times(reversed(factors))

    def _reduced(self, part, whole, formula, order):
        """Q[part] from ``formula``, which is Q[whole]; HedgeError where it does not follow."""
        while True:
            above = self.above(part, whole)
            formula = add_up([name for name in order if name in whole - above], formula)
            if above == part:
                return formula
            if above == whole:
                raise HedgeError(whole, part)
            inside = [name for name in order if name in above]
            whole = self.component(next(iter(part)), inside)
            formula = _of_component(formula, whole, inside)


def _of_component(formula, component, order):
    """Q[component] from ``formula``, which is Q[order], ``component`` one of its c-components."""
    factors = []
    for position, name in enumerate(order):
        if name not in component:
            continue
        follows = position and order[position - 1] in component
        precedes = position + 1 < len(order) and order[position + 1] in component
        # of neighbours in the order, the quotient of one is the numerator of the next
        if not follows:
            below = add_up(order[position:], formula) if position else None
        if not precedes:
            above = add_up(order[position + 1 :], formula)
            factors.append(above if below is None else Quotient(above, below))
    return times(factors)
