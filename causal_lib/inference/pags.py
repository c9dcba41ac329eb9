"""Covariate adjustment under a maximal ancestral graph (MAG) or a class of them (PAG).

In both an edge says which variable is an ancestor of which, perhaps through others, and a hidden
common cause may lie behind it. Selection on a common effect is excluded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np

from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph
from causal_lib.inference.adjustment import MOST, why_no_adjustment_set
from causal_lib.inference.formulas import Probability
from causal_lib.inference.identification import Estimand, NotIdentifiableError
from causal_lib.inference.queries import Query, QueryNames, with_causes

LIMIT = 2000


def is_visible(graph: CausalGraph, cause: str, effect: str) -> bool:
    """Whether ``cause -> effect`` is an edge behind which no hidden common cause of the two can be.

    A third variable shows it, one not adjacent to the effect: it has an edge into the cause, or a
    path into the cause whose inner variables are all colliders and parents of the effect.

    Source: Zhang 2008 (JMLR 9), definition 8.

    >>> graphs = [CausalGraph.from_edges("zxy", e) for e in (["x -> y"], ["z o-> x", "x -> y"])]
    >>> [is_visible(graph, "x", "y") for graph in graphs]
    [False, True]
    """
    i = graph.index(cause)
    j = graph.index(effect)
    return bool(graph.adjacency[i, j]) and _has_arrow_from_outside(graph.marks, [i], j)


def possible_steps(graph: CausalGraph) -> nx.DiGraph:
    """a → b wherever their edge has no arrowhead at a: paths of such steps may be causal.

    >>> sorted(possible_steps(CausalGraph.from_edges("abc", ["a o-o b", "b o-> c"])).edges)
    [('a', 'b'), ('b', 'a'), ('b', 'c')]
    """
    steps = nx.DiGraph()
    steps.add_nodes_from(graph.names)
    steps.add_edges_from(
        (graph.names[i], graph.names[j])
        for i, j in np.argwhere(graph.skeleton & (graph.marks.T != ARROW))
    )
    return steps


def some_mag(graph: CausalGraph) -> CausalGraph:
    """A MAG of the PAG's class: ``o->`` becomes ``->``, ``o-o`` gets no new collider.

    Raises
    ------
    ValueError
        for an edge that says selection, and where the marks are no PAG's: tests on few rows may
        contradict each other, or knowledge may have been added without the marks that follow from
        it. Not all of this shows: an answer is then that of the MAG's own class.

    Source: Zhang 2008 (Artificial Intelligence 172), theorem 2.
    """
    marks = graph.marks
    for edge, (i, j) in zip(graph.edges, np.argwhere(np.triu(graph.skeleton)), strict=True):
        if marks[i, j] != ARROW and marks[j, i] != ARROW and TAIL in (marks[i, j], marks[j, i]):
            raise ValueError(
                f"edge {edge!r} says selection on a common effect, which adjustment "
                "does not correct"
            )
    both_open = (marks == CIRCLE) & (marks.T == CIRCLE)
    try:
        directed = CausalGraph(graph.names, np.where(both_open, TAIL, NONE)).extension()
    except ValueError as error:
        raise ValueError(
            f"the marks are not those of a PAG: its o-o edges have no directions ({error})"
        ) from error
    half_open_settled = np.where(marks == CIRCLE, TAIL, marks)
    mag = CausalGraph(graph.names, np.where(both_open, directed.marks, half_open_settled))
    if problem := _no_mag(mag) or _new_collider(graph, mag):
        raise ValueError(f"the marks are not those of a PAG: {problem}")
    return mag


def mags(graph: CausalGraph, limit: int = LIMIT) -> Iterator[CausalGraph]:
    """Every MAG of the PAG's class, once; those with the marks that knowledge added.

    From one to the next a single mark changes, between ``a -> b`` and ``a <-> b``, in the ways that
    keep the class.

    Raises
    ------
    ValueError
        once there are more than ``limit`` in the class, knowledge left aside, and as `some_mag`.

    Source: Zhang and Spirtes 2005, theorem 3: these changes lead to every member.

    >>> [mag.edges for mag in mags(CausalGraph.from_edges("ab", ["a o-o b"]))]
    [['b -> a'], ['a <-> b'], ['a -> b']]
    """
    first = some_mag(graph).marks
    fixed = graph.marks != CIRCLE
    if fixed.all():
        yield graph
        return
    seen = {first.tobytes()}
    queue = [first]
    for marks in queue:
        if len(seen) > limit:
            raise ValueError(
                f"graph: its class has more than {limit} members; settle some of its "
                f"{int((~fixed).sum())} circles by "
                "knowledge, or raise limit"
            )
        if (marks == graph.marks)[fixed].all():
            yield CausalGraph(graph.names, marks)
        for i, j in np.argwhere(marks == ARROW):
            other = marks.copy()
            other[j, i] = ARROW if marks[j, i] == TAIL else TAIL
            if other.tobytes() not in seen and _may_be_both(
                marks if marks[j, i] == TAIL else other, i, j
            ):
                seen.add(other.tobytes())
                queue.append(other)


def why_no_common_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, given: Iterable[str] = ()
) -> str | None:
    """Why adjusting for ``given`` is wrong in some member; None where it is right in all.

    The generalised adjustment criterion: every path that may be causal starts with a visible edge;
    ``given`` has no variable that may lie on or below such a path; and it closes the other paths.
    The last is tested in one member, since all members then agree.

    Source: Perković, Textor, Kalisch and Maathuis 2018; van der Zander, Liśkiewicz and Textor 2019.

    >>> graph = CausalGraph.from_edges("azxy", ["a o-> x", "z o-> x", "z -> y", "x -> y"])
    >>> why_no_common_adjustment_set(graph, "x", "y", ["z"])
    >>> why_no_common_adjustment_set(graph, "x", "y")
    'x <- z -> y is open in a member of the class'
    """
    given = set(given)
    query = _PossiblePaths(graph, treatment, outcome)
    if reason := query.invisible_path():
        return reason
    for name in sorted(query.forbidden & given, key=graph.index):
        path = _path_in_words(graph, nx.shortest_path(query.steps, treatment, name))
        return (
            f"{name} may be an effect of {treatment} on its way to {outcome}, or an effect "
            f"of one ({path})"
        )
    trail = why_no_adjustment_set(some_mag(graph), treatment, outcome, given)
    return trail and trail.replace(" is open", " is open in a member of the class")


def identify_by_adjustment(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    *,
    hidden: Iterable[str] = (),
    member: CausalGraph | None = None,
) -> Estimand:
    """The estimand by adjustment that holds in every MAG of a PAG, or under one MAG.

    Complete for adjustment: where it refuses, no set identifies the effect, though another formula
    may.

    Parameters
    ----------
    graph : a PAG, or a MAG (``→`` and ``↔``); every edge may hide a common cause unless it is
        visible.
    hidden : variables of ``graph`` that the data lack.
    member : a MAG of the class, if one is known; else `some_mag`.

    Raises
    ------
    NotIdentifiableError
        with the path that may be causal or not, or the one that stays open.
    ValueError
        for an absent or hidden treatment or outcome, or as `some_mag`.

    Source: as `why_no_common_adjustment_set`; ``optimal`` is best among the sets that serve all
    members, by the argument of Henckel, Perković and Maathuis 2022, which needs separations only.

    >>> graph = CausalGraph.from_edges("azxy", ["a o-> x", "z o-> x", "z -> y", "x -> y"])
    >>> identify_by_adjustment(graph, "x", "y")
    effect of x on y: identified by back-door through z
    """
    hidden = tuple(hidden)
    query = _PossiblePaths(graph, treatment, outcome, frozenset(hidden))
    mag = member or some_mag(graph)
    if not nx.has_path(query.steps, treatment, outcome):
        formula = Probability((outcome,))
        return Estimand(treatment, outcome, "no effect", formula=formula, hidden=hidden)
    refused = f"the effect of {treatment} on {outcome} is not identifiable by adjustment"
    if reason := query.invisible_path():
        raise NotIdentifiableError(refused, reason)
    ends = {treatment, outcome}
    unusable = query.forbidden.union(hidden) - ends
    in_mag = Query(mag, treatment, outcome, frozenset(unusable))
    sets = in_mag.minimal_sets(MOST)
    if not sets:
        # if any set serves, then so do all ancestors of both that may be adjusted for
        largest = (mag.ancestors(treatment) | mag.ancestors(outcome)) - unusable - ends
        trail = in_mag.why_not(largest)
        within = "" if (graph.marks != CIRCLE).all() else " (in a member of the class)"
        raise NotIdentifiableError(
            refused, f"no set closes every path that is not causal: {trail}{within}"
        )
    best = in_mag.optimal_set()
    found = Estimand(
        treatment, outcome, "back-door", adjustments=tuple(sets), optimal=best, hidden=hidden
    )
    return found.by(sets[0])


@dataclass(frozen=True, eq=False)
class _PossiblePaths(QueryNames):
    """The paths of a PAG or MAG from treatment to outcome that may be causal."""

    @cached_property
    def steps(self):
        """See `possible_steps`."""
        return possible_steps(self.graph)

    @cached_property
    def forbidden(self):
        """What no set may hold: what may lie on a causal path, and its possible effects."""
        # A walk that returns to a variable has a loop there, and that variable may have an effect
        # on all of the loop: walks give the same set as paths, and need no search.
        steps = self.steps
        onwards = steps.subgraph(set(steps) - {self.treatment})
        above = nx.ancestors(onwards, self.outcome) | {self.outcome}
        causal = nx.descendants(steps, self.treatment) & above
        return causal.union(*(nx.descendants(steps, node) for node in causal))

    def invisible_path(self):
        """A shortest path that may be causal but starts with an edge that is not visible, in words.

        None if there is none.
        """
        graph = self.graph
        treatment = self.treatment
        steps = self.steps.copy()
        visible = [
            (treatment, n) for n in list(steps[treatment]) if is_visible(graph, treatment, n)
        ]
        steps.remove_edges_from(visible)
        if not nx.has_path(steps, treatment, self.outcome):
            return None
        path = nx.shortest_path(steps, treatment, self.outcome)
        text = _path_in_words(graph, path)
        if graph.marks[graph.index(path[1]), graph.index(treatment)] == CIRCLE:
            return f"{text} may be causal or not: the mark of its first edge at {treatment} is open"
        behind = f"a hidden common cause of {path[0]} and {path[1]} may be behind it"
        return f"{text} may be causal, but its first edge is not visible: {behind}"


def _path_in_words(graph, path):
    """A path along possible steps, with its marks."""
    text = path[0]
    for pair in pairwise(path):
        _, sign, name = graph.subgraph(pair).triples[0]
        text += f" {sign} {name}"
    return text


def _no_mag(graph):
    """What keeps ``graph`` from being a MAG, in words; None where it is one."""
    if graph.kind not in ("DAG", "ADMG"):
        return "settling its circles gives a cycle"
    above = {name: graph.ancestors(name) for name in graph.names}
    for i, j in np.argwhere(graph.bidirected):
        if graph.names[i] in above[graph.names[j]]:
            return (
                f"{graph.names[i]} <-> {graph.names[j]}, but {graph.names[i]} is an ancestor "
                f"of {graph.names[j]}"
            )
    directed = with_causes(graph)
    for i, j in np.argwhere(np.triu(~graph.skeleton, 1)):
        one = graph.names[i]
        two = graph.names[j]
        ancestors = (above[one] | above[two]) - {one, two}
        if not nx.is_d_separator(directed, {one}, {two}, ancestors):
            return f"no set separates {one} and {two}, which are not adjacent"
    return None


def _new_collider(graph, mag):
    """The variable at which ``mag`` has an unshielded collider that ``graph`` lacks, in words."""
    apart = ~graph.skeleton & ~np.eye(len(graph.names), dtype=bool)
    for k, name in enumerate(graph.names):
        before = graph.marks[:, k] == ARROW
        after = mag.marks[:, k] == ARROW
        if (np.outer(after, after) & ~np.outer(before, before) & apart).any():
            return f"settling its circles makes a new collider at {name}"
    return None


def _has_arrow_from_outside(marks, starts, end):
    """Whether a node not adjacent to ``end`` has an arrow into one of ``starts``.

    The arrow may also lead through colliders that are parents of ``end``.
    """
    queue = list(starts)
    for node in queue:
        for before in (marks[:, node] == ARROW).nonzero()[0]:
            if before != end and marks[before, end] == NONE:
                return True
            parent = marks[before, end] == ARROW and marks[end, before] == TAIL
            if parent and marks[node, before] == ARROW and before not in queue:
                queue.append(before)
    return False


def _may_be_both(marks, i, j):
    """Whether i → j, as in ``marks``, and i ↔ j are Markov equivalent.

    Source: Zhang and Spirtes 2005, lemma 1.
    """
    directed = (marks == ARROW) & (marks.T == TAIL)
    parents = directed[:, i]
    spouses = (marks[:, i] == ARROW) & (marks[i] == ARROW)
    if (parents & ~directed[:, j]).any() or (spouses & (marks[:, j] != ARROW)).any():
        return False
    discriminated = directed[:, j] & (marks[i] == ARROW)
    if _has_arrow_from_outside(marks, discriminated.nonzero()[0], j):
        return False
    reached = np.zeros(len(marks), dtype=bool)
    now = directed[i].copy()
    now[j] = False
    while now.any():  # another directed path from i to j would make i ↔ j no ancestral graph
        reached |= now
        now = directed[now].any(axis=0) & ~reached
    return not reached[j]
