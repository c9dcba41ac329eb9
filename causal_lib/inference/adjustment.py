"""Covariate adjustment: which sets close every open path that is not causal, which of them are minimal, and which is best.

The criterion is complete: a set that it refuses does not identify the effect by adjustment in every model of the graph.
"""

from collections.abc import Iterable, Iterator

import networkx as nx
import numpy as np

from causal_lib.graph import CausalGraph

MOST = 1000


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


def is_adjustment_set(graph: CausalGraph, treatment: str, outcome: str, given: Iterable[str] = ()) -> bool:
    """Whether P(outcome | do(treatment)) is the mean over ``given`` of P(outcome | treatment, given), in all models.

    Source: Shpitser, VanderWeele and Robins 2010; in the form of van der Zander, Liśkiewicz and Textor 2014.

    >>> graph = CausalGraph.from_edges("xmyz", ["z -> x", "z -> y", "x -> m", "m -> y"])
    >>> [is_adjustment_set(graph, "x", "y", given) for given in ("z", "", "zm")]
    [True, False, False]
    """
    given = _known(graph, treatment, outcome, given)
    back, forbidden = _back_door(with_causes(graph), treatment, outcome)
    return not forbidden & given and nx.is_d_separator(back, {treatment}, {outcome}, given)


def why_no_adjustment_set(graph: CausalGraph, treatment: str, outcome: str, given: Iterable[str] = ()) -> str | None:
    """What is wrong with adjusting for ``given``: the variable that must not be in it, or a path that it leaves open or opens.

    None where it is an adjustment set.

    >>> graph = CausalGraph.from_edges("xyabc", ["a -> x", "a -> c", "b -> c", "b -> y", "x -> y"])
    >>> why_no_adjustment_set(graph, "x", "y", ["c"])
    'x <- a -> [c] <- b -> y is open, since c is adjusted for'
    """
    given = _known(graph, treatment, outcome, given)
    directed = with_causes(graph)
    back, forbidden = _back_door(directed, treatment, outcome)
    for name in sorted(forbidden & given, key=graph.index):
        path = " -> ".join(nx.shortest_path(directed, treatment, name))
        return f"{name} is an effect of {treatment} on its way to {outcome}, or an effect of one ({path})"
    trail = _open_trail(back, treatment, outcome, given)
    if trail is None:
        return None
    ancestors = given.union(*(nx.ancestors(back, name) for name in given)) if given else set()
    text, opened = str(trail[0]), []
    for before, node, after in zip(trail, trail[1:], [*trail[2:], None], strict=False):
        text += " -> " if back.has_edge(before, node) else " <- "
        collider = after is not None and back.has_edge(before, node) and back.has_edge(after, node)
        text += f"[{node}]" if collider else "(hidden)" if isinstance(node, tuple) else str(node)
        if collider and node in ancestors:
            opened += sorted(name for name in given if name == node or node in nx.ancestors(back, name))
    return f"{text} is open" + (f", since {', '.join(dict.fromkeys(opened))} is adjusted for" if opened else "")


def minimal_adjustment_sets(
    graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = (), limit: int = MOST
) -> list[tuple[str, ...]]:
    """All adjustment sets of observed variables from which none can be left out, the smaller first.

    Empty where there is none; ``[()]`` where nothing need be adjusted for.

    Parameters
    ----------
    graph : a DAG, or one with ``↔`` edges for hidden common causes.
    hidden : variables that the data lack.
    limit : sets at most (there may be exponentially many).

    Source: separators of the moral graph of ancestors (van der Zander, Liśkiewicz and Textor 2014), enumerated after
    Kloks and Kratsch 1998.

    >>> graph = CausalGraph.from_edges("xyabc", ["a -> x", "a -> b", "b -> y", "c -> x", "c -> y", "x -> y"])
    >>> minimal_adjustment_sets(graph, "x", "y")
    [('a', 'c'), ('b', 'c')]
    """
    moral = _moral(graph, treatment, outcome, hidden)
    if moral is None:
        return []
    found = []
    for separator in _separators(moral, treatment, outcome):
        found.append(tuple(name for name in graph.names if name in separator))
        if len(found) == limit:
            break
    return sorted(found, key=lambda names: (len(names), [graph.index(name) for name in names]))


def optimal_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = ()
) -> tuple[str, ...] | None:
    """The adjustment set of least asymptotic variance; None where no set is one.

    With all of them observed these are the parents of what lies on a causal path: best among all adjustment sets, for linear
    regression and for semi-parametric estimators alike. Where some are hidden there may be no best; then the minimal set
    nearest to the outcome, the best among the minimal ones.

    Source: Henckel, Perković and Maathuis 2022; Rotnitzky and Smucler 2020; Smucler, Sapienza and Rotnitzky 2022.

    >>> graph = CausalGraph.from_edges("xyabw", ["a -> x", "a -> b", "b -> y", "w -> y", "x -> y"])
    >>> optimal_adjustment_set(graph, "x", "y")
    ('b', 'w')
    >>> optimal_adjustment_set(graph, "x", "y", hidden=["w"])
    ('b',)
    """
    hidden = set(hidden)
    moral = _moral(graph, treatment, outcome, hidden)
    if moral is None:
        return None
    directed = with_causes(graph)
    causal = _causal(directed, treatment, outcome)
    best = {cause for node in causal for cause in directed.predecessors(node)} - causal - {treatment}
    if causal and not best & hidden and not any(isinstance(name, tuple) for name in best):
        back, forbidden = _back_door(directed, treatment, outcome)
        if not best & forbidden and nx.is_d_separator(back, {treatment}, {outcome}, best):
            return tuple(name for name in graph.names if name in best)
    nearest = _close(moral, outcome, treatment)
    return tuple(name for name in graph.names if name in nearest)


def find_instrument(
    graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = ()
) -> tuple[str, tuple[str, ...]] | None:
    """An instrument and what to condition on: it moves the treatment, and the outcome through the treatment alone.

    The one that needs the fewest variables conditioned on; None where there is none (among sets of ancestors of it and the
    outcome, which are enough but for odd graphs).

    Source: Brito and Pearl 2002; van der Zander, Textor and Liśkiewicz 2015.

    >>> graph = CausalGraph.from_edges("zxyu", ["z -> x", "x -> y", "u -> x", "u -> y"])
    >>> find_instrument(graph, "x", "y", hidden=["u"])
    ('z', ())
    """
    hidden = _known(graph, treatment, outcome, hidden)
    directed = with_causes(graph)
    back, forbidden = _back_door(directed, treatment, outcome)
    forbidden |= nx.descendants(directed, treatment)
    found = []
    for name in graph.names:
        if name in forbidden | hidden | {treatment}:
            continue
        moral = _moral_of(back, name, outcome, hidden | forbidden | {treatment})
        if moral is None:
            continue
        for given in {_close(moral, outcome, name), _close(moral, name, outcome)}:
            if not nx.is_d_separator(directed, {name}, {treatment}, set(given)):
                found.append((name, tuple(other for other in graph.names if other in given)))
    return min(found, key=lambda one: (len(one[1]), graph.index(one[0])), default=None)


def _known(graph, treatment, outcome, given):
    given = set(given)
    for name in (treatment, outcome, *given):
        graph.index(name)
    if treatment == outcome:
        raise ValueError(f"treatment and outcome are both {treatment!r}")
    if both := {treatment, outcome} & given:
        raise ValueError(f"{sorted(both)[0]!r} is the treatment or the outcome: it cannot be adjusted for or hidden")
    return given


def _open_trail(directed, first, second, given):
    """The nodes of a shortest trail that ``given`` leaves open; None if there is none."""
    above = given.union(*(nx.ancestors(directed, name) for name in given)) if given else set()
    start = (first, True)  # a node, and whether it is left against the arrow that led to it (as if from a child)
    came, queue = {start: None}, [start]
    for state in queue:
        node, up = state
        if node == second:
            trail = []
            while state is not None:
                trail.append(state[0])
                state = came[state]
            return trail[::-1]
        steps = []
        if up and node not in given:
            steps = [(parent, True) for parent in directed.predecessors(node)]
            steps += [(child, False) for child in directed.successors(node)]
        elif not up:
            steps = [(child, False) for child in directed.successors(node)] if node not in given else []
            steps += [(parent, True) for parent in directed.predecessors(node)] if node in above else []
        for step in steps:
            if step not in came:
                came[step] = state
                queue.append(step)
    return None


def _causal(directed, treatment, outcome):
    """What lies on a directed path from the treatment to the outcome, the outcome too but not the treatment."""
    return nx.descendants(directed, treatment) & (nx.ancestors(directed, outcome) | {outcome})


def _back_door(directed, treatment, outcome):
    """The graph without the first edges of causal paths, and the variables that no adjustment set may hold."""
    causal = _causal(directed, treatment, outcome)
    forbidden = {treatment, outcome}.union(causal, *(nx.descendants(directed, node) for node in causal))
    back = directed.copy()
    back.remove_edges_from([(treatment, node) for node in causal])
    return back, forbidden


def _moral(graph, treatment, outcome, hidden):
    """The moral graph of the ancestors over what may be adjusted for; None where treatment and outcome cannot be separated."""
    hidden = _known(graph, treatment, outcome, hidden)
    back, forbidden = _back_door(with_causes(graph), treatment, outcome)
    return _moral_of(back, treatment, outcome, hidden | forbidden)


def _moral_of(directed, first, second, unusable):
    """As `_moral`, of any two variables and what cannot be conditioned on."""
    ends = {first, second}
    moral = nx.moral_graph(directed.subgraph(ends.union(*(nx.ancestors(directed, end) for end in ends))))
    for name in list(moral):
        if name not in ends and (name in unusable or isinstance(name, tuple)):
            near = list(moral[name])  # a path through it stays open: its neighbours are as good as joined
            moral.remove_node(name)
            moral.add_edges_from((a, b) for k, a in enumerate(near) for b in near[:k])
    return None if moral.has_edge(first, second) else moral


def _part(moral, start, without):
    """What can be reached from ``start`` outside of ``without``, ``start`` too."""
    reached, stack = {start}, [start]
    while stack:
        for node in moral[stack.pop()]:
            if node not in reached and node not in without:
                reached.add(node)
                stack.append(node)
    return reached


def _around(moral, nodes):
    return {near for node in nodes for near in moral[node]} - nodes


def _close(moral, first, second):
    """The minimal separator nearest to ``first``."""
    return frozenset(_around(moral, _part(moral, second, set(moral[first]))))


def _separators(moral, first, second) -> Iterator[frozenset]:
    """All minimal separators: from the nearest to ``first``, pushed one vertex at a time towards ``second``."""
    start = _close(moral, first, second)
    seen, queue = {start}, [start]
    while queue:
        separator = queue.pop()
        yield separator
        near = _part(moral, first, separator)
        for node in separator:
            border = _around(moral, near | {node})
            if second not in border:
                pushed = frozenset(_around(moral, _part(moral, second, border)))
                if pushed not in seen:
                    seen.add(pushed)
                    queue.append(pushed)
