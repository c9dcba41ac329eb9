"""A question about one effect under one graph: names checked once, derived graphs computed once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from causal_lib.graph import CausalGraph, check_graph


def with_causes(graph: CausalGraph) -> nx.DiGraph:
    """The DAG of a DAG or ADMG, each ``a <-> b`` replaced by a hidden cause, the tuple ``(a, b)``.

    Raises
    ------
    ValueError
        for a graph with cycles or undirected edges.
    """
    if graph.kind not in ("DAG", "ADMG"):
        graph.require_dag("identification")
    directed = graph.directed_part()
    for i, j in np.argwhere(np.triu(graph.bidirected)):
        pair = (graph.names[i], graph.names[j])
        directed.add_edges_from((pair, end) for end in pair)
    return directed


@dataclass(frozen=True, eq=False)
class QueryNames:
    """The names of a question: what ``treatment`` does to ``outcome`` under ``graph``.

    Attributes
    ----------
    graph : what is assumed.
    hidden : variables of the graph that the data lack.

    Raises
    ------
    ValueError
        for a variable that the graph lacks, a treatment that is the outcome, or one of them hidden.
    """

    graph: CausalGraph
    treatment: str
    outcome: str
    hidden: frozenset[str] = frozenset()

    def __post_init__(self):
        check_graph(self.graph)
        for name in (self.treatment, self.outcome, *self.hidden):
            self.graph.index(name)
        if self.treatment == self.outcome:
            raise ValueError(f"treatment and outcome are both {self.treatment!r}")
        for name in (self.treatment, self.outcome):
            if name in self.hidden:
                raise ValueError(
                    f"{name!r} is hidden: an effect needs its treatment and outcome observed"
                )


class Query(QueryNames):
    """What separates treatment and outcome in a DAG or ADMG, but for the causal paths.

    Raises ValueError, once a path is asked for, for a graph with cycles or undirected edges.
    """

    @classmethod
    def of(
        cls, graph: CausalGraph, treatment: str, outcome: str, hidden: Iterable[str] = ()
    ) -> "Query":
        """The query, ``hidden`` in any form."""
        return cls(graph, treatment, outcome, frozenset(hidden))

    @cached_property
    def directed(self) -> nx.DiGraph:
        """See `with_causes`."""
        return with_causes(self.graph)

    @cached_property
    def descendants(self) -> frozenset:
        """Effects of the treatment."""
        return frozenset(nx.descendants(self.directed, self.treatment))

    @cached_property
    def on_causal_paths(self) -> frozenset:
        """What lies on a directed path from treatment to outcome, the outcome included."""
        above = nx.ancestors(self.directed, self.outcome) | {self.outcome}
        return frozenset(self.descendants & above)

    @cached_property
    def forbidden(self) -> frozenset:
        """What no adjustment set may hold: both ends, causal paths and their effects."""
        effects = [nx.descendants(self.directed, node) for node in self.on_causal_paths]
        return frozenset({self.treatment, self.outcome}.union(self.on_causal_paths, *effects))

    @cached_property
    def back_door(self) -> nx.DiGraph:
        """The graph without the first edges of causal paths."""
        graph = self.directed.copy()
        graph.remove_edges_from([(self.treatment, node) for node in self.on_causal_paths])
        return graph

    @cached_property
    def moral(self) -> nx.Graph | None:
        """The moral graph of the ancestors over what may be adjusted for.

        None where no such set separates treatment and outcome.
        """
        unusable = self.hidden | self.forbidden
        return self.moral_of(self.back_door, self.treatment, unusable)

    def moral_of(self, directed: nx.DiGraph, first: str, unusable: Iterable) -> nx.Graph | None:
        """As `moral`, for ``first`` and the outcome, not conditioning on what is ``unusable``."""
        ends = {first, self.outcome}
        above = ends.union(*(nx.ancestors(directed, end) for end in ends))
        moral = nx.moral_graph(directed.subgraph(above))
        for name in list(moral):
            if name not in ends and (name in unusable or isinstance(name, tuple)):
                # a path through it stays open, so its neighbours count as joined
                near = list(moral[name])
                moral.remove_node(name)
                moral.add_edges_from((a, b) for k, a in enumerate(near) for b in near[:k])
        return None if moral.has_edge(first, self.outcome) else moral

    def in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """``names`` in the order of the graph."""
        names = set(names)
        return tuple(name for name in self.graph.names if name in names)

    def check_given(self, given: Iterable[str]) -> set[str]:
        """``given`` as a set; ValueError for an unknown name, the treatment or the outcome."""
        given = set(given)
        for name in given:
            self.graph.index(name)
        if both := {self.treatment, self.outcome} & given:
            raise ValueError(
                f"{sorted(both)[0]!r} is the treatment or the outcome: it cannot be adjusted for "
                "or hidden"
            )
        return given

    def is_adjustment_set(self, given: Iterable[str]) -> bool:
        """See `adjustment.is_adjustment_set`."""
        given = self.check_given(given)
        if self.forbidden & given:
            return False
        return nx.is_d_separator(self.back_door, {self.treatment}, {self.outcome}, given)

    def why_not(self, given: Iterable[str]) -> str | None:
        """See `adjustment.why_no_adjustment_set`."""
        given = self.check_given(given)
        for name in self.in_order(self.forbidden & given):
            path = " -> ".join(nx.shortest_path(self.directed, self.treatment, name))
            return (
                f"{name} is an effect of {self.treatment} on its way to {self.outcome}, or "
                f"an effect of one ({path})"
            )
        trail = open_trail(self.back_door, self.treatment, self.outcome, given)
        return None if trail is None else _trail_in_words(self.back_door, trail, given)

    def minimal_sets(self, limit: int) -> list[tuple[str, ...]]:
        """See `adjustment.minimal_adjustment_sets`."""
        if self.moral is None:
            return []
        found = []
        for separator in separators(self.moral, self.treatment, self.outcome):
            found.append(self.in_order(separator))
            if len(found) == limit:
                break
        index = self.graph.index
        return sorted(found, key=lambda names: (len(names), [index(name) for name in names]))

    def optimal_set(self) -> tuple[str, ...] | None:
        """See `adjustment.optimal_adjustment_set`."""
        if self.moral is None:
            return None
        causal = self.on_causal_paths
        parents = {cause for node in causal for cause in self.directed.predecessors(node)}
        best = parents - causal - {self.treatment}
        observed = not best & self.hidden and not any(isinstance(name, tuple) for name in best)
        if causal and observed and not best & self.forbidden:
            ends = {self.treatment}, {self.outcome}
            if nx.is_d_separator(self.back_door, *ends, best):
                return self.in_order(best)
        return self.in_order(nearest_separator(self.moral, self.outcome, self.treatment))

    def front_door(self) -> tuple[str, ...] | None:
        """A front-door set from which no variable can be left out; None where there is none.

        It holds a variable of every causal path, no back-door path from the treatment to it is
        open, and the treatment closes all back-door paths from it to the outcome.

        Source: Pearl 1995; the largest set as by Jeong, Tian and Bareinboim 2022.
        """
        inner = self.on_causal_paths - self.hidden - {self.outcome}
        without_causes = self.directed.copy()
        without_causes.remove_edges_from(list(self.directed.out_edges(self.treatment)))
        first = {self.treatment}
        found = {m for m in inner if nx.is_d_separator(without_causes, first, {m}, set())}
        while open_ones := {m for m in found if not self._is_closed(m, found)}:
            found -= open_ones
        if not self._is_front_door(found):
            return None
        left = list(reversed(self.in_order(found)))
        while droppable := next((m for m in left if self._is_front_door(found - {m})), None):
            found.remove(droppable)
            left.remove(droppable)
        return self.in_order(found)

    def _is_closed(self, mediator, mediators):
        """Whether the treatment closes all back-door paths from ``mediator`` to the outcome."""
        without_effects = self.directed.copy()
        without_effects.remove_edges_from(list(self.directed.out_edges(mediators)))
        return nx.is_d_separator(without_effects, {mediator}, {self.outcome}, {self.treatment})

    def _is_front_door(self, mediators):
        """Whether ``mediators``, a part of the largest set, is a front-door set."""
        others = self.directed.subgraph(set(self.directed) - mediators)
        if nx.has_path(others, self.treatment, self.outcome):
            return False
        return all(self._is_closed(mediator, mediators) for mediator in mediators)

    def instrument(self) -> tuple[str, tuple[str, ...]] | None:
        """See `adjustment.find_instrument`."""
        unusable = self.hidden | self.forbidden | self.descendants | {self.treatment}
        found = []
        for name in self.graph.names:
            if name in unusable:
                continue
            moral = self.moral_of(self.back_door, name, unusable)
            if moral is None:
                continue
            near_outcome = nearest_separator(moral, self.outcome, name)
            near_instrument = nearest_separator(moral, name, self.outcome)
            # in this order, if two tie
            for given in dict.fromkeys((near_outcome, near_instrument)):
                if not nx.is_d_separator(self.directed, {name}, {self.treatment}, set(given)):
                    found.append((name, self.in_order(given)))
        index = self.graph.index
        return min(found, key=lambda one: (len(one[1]), index(one[0])), default=None)


def open_trail(directed: nx.DiGraph, first: str, second: str, given: set) -> list | None:
    """The nodes of a shortest trail that ``given`` leaves open; None if there is none."""
    above = given.union(*(nx.ancestors(directed, name) for name in given)) if given else set()
    # a state is a node, and whether it is left against the arrow that led to it (as if from a
    # child)
    start = (first, True)
    came_from = {start: None}
    queue = [start]
    for state in queue:
        node, upwards = state
        if node == second:
            trail = []
            while state is not None:
                trail.append(state[0])
                state = came_from[state]
            return trail[::-1]
        for step in _open_steps(directed, node, upwards, given, above):
            if step not in came_from:
                came_from[step] = state
                queue.append(step)
    return None


def _open_steps(directed, node, upwards, given, above):
    """States that a trail may go on to from ``node``; ``above`` are ``given`` and its ancestors."""
    to_parents = [(parent, True) for parent in directed.predecessors(node)]
    to_children = [(child, False) for child in directed.successors(node)]
    if upwards:
        return [] if node in given else to_parents + to_children
    return (to_children if node not in given else []) + (to_parents if node in above else [])


def _trail_in_words(directed, trail, given):
    """An open trail with its arrows; colliders in brackets, and what opens them."""
    ancestors = given.union(*(nx.ancestors(directed, name) for name in given)) if given else set()
    text = str(trail[0])
    opened = []
    for before, node, after in zip(trail, trail[1:], [*trail[2:], None], strict=False):
        text += " -> " if directed.has_edge(before, node) else " <- "
        collider = after is not None and directed.has_edge(before, node)
        collider = collider and directed.has_edge(after, node)
        text += f"[{node}]" if collider else "(hidden)" if isinstance(node, tuple) else str(node)
        if collider and node in ancestors:
            below = {name for name in given if node in nx.ancestors(directed, name)}
            opened += sorted(below | ({node} & given))
    if not opened:
        return f"{text} is open"
    return f"{text} is open, since {', '.join(dict.fromkeys(opened))} is adjusted for"


def _reachable(moral, start, without):
    """What can be reached from ``start`` outside of ``without``, ``start`` too."""
    reached = {start}
    stack = [start]
    while stack:
        for node in moral[stack.pop()]:
            if node not in reached and node not in without:
                reached.add(node)
                stack.append(node)
    return reached


def _neighbours(moral, nodes):
    return {near for node in nodes for near in moral[node]} - nodes


def nearest_separator(moral: nx.Graph, first: str, second: str) -> frozenset:
    """The minimal separator of two variables that is nearest to ``first``."""
    return frozenset(_neighbours(moral, _reachable(moral, second, set(moral[first]))))


def separators(moral: nx.Graph, first: str, second: str) -> Iterator[frozenset]:
    """All minimal separators of two variables.

    From the nearest to ``first``, pushed one vertex at a time towards ``second``.
    Source: Kloks and Kratsch 1998.
    """
    start = nearest_separator(moral, first, second)
    seen = {start}
    queue = [start]
    while queue:
        separator = queue.pop()
        yield separator
        near = _reachable(moral, first, separator)
        for node in separator:
            border = _neighbours(moral, near | {node})
            if second not in border:
                pushed = frozenset(_neighbours(moral, _reachable(moral, second, border)))
                if pushed not in seen:
                    seen.add(pushed)
                    queue.append(pushed)
