"""The marks of a PAG, once its edges and separating sets are known; the PAG that a DAG with hidden
variables implies.

Sources: Zhang, Artificial Intelligence 172 (2008) (the rules and their completeness); Richardson
and Spirtes, Annals of Statistics 30 (2002) (the ancestral graph of a DAG with hidden variables).
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable

import networkx as nx
import numpy as np

from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph


def pag_of(dag: CausalGraph, hidden: Iterable[str] = ()) -> CausalGraph:
    """The PAG that independences among the other variables tell where ``hidden`` are not observed:
    what a search for hidden causes finds from rows without end.

    Two variables have an edge unless their observed ancestors separate them.

    Raises ValueError for a graph that is no DAG, and for a hidden variable that it lacks.

    >>> dag = CausalGraph.from_edges("axhyb", ["a -> x", "h -> x", "h -> y", "b -> y"])
    >>> pag_of(dag, ["h"]).edges
    ['a o-> x', 'x <-> y', 'y <-o b']
    """
    dag.require_dag("the PAG of a DAG")
    hidden = frozenset(hidden)
    for name in sorted(hidden):
        dag.index(name)
    directed = dag.directed_part()
    names = [name for name in dag.names if name not in hidden]
    above = {name: nx.ancestors(directed, name) | {name} for name in dag.names}
    skeleton = np.zeros((len(names), len(names)), dtype=bool)
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        skeleton[i, j] = skeleton[j, i] = _joined(directed, a, b, hidden, above[a] | above[b])

    def separates(k, i, j):
        return names[k] in above[names[i]] or names[k] in above[names[j]]

    marks = Marks(skeleton, separates)
    marks.orient_colliders()
    marks.apply_rules()
    return CausalGraph(names, marks.marks, kind="PAG")


def _joined(directed, a, b, hidden, ancestors):
    """Whether the observed ``ancestors`` of a and b do not separate them: whether a path over
    hidden variables joins the two where parents of a common child are married.
    """
    seen = {a}
    todo = [a]
    while todo:
        node = todo.pop()
        children = [child for child in directed.successors(node) if child in ancestors]
        near = {*children, *directed.predecessors(node)}
        near.update(*(directed.predecessors(child) for child in children))
        if b in near:
            return True
        todo += (near & hidden) - seen
        seen |= near
    return False


class Marks:
    """Edges and their marks: colliders, then the rules 1-4 and 8-10 of Zhang; 5-7 are for
    selection.

    Parameters
    ----------
    skeleton : (d, d) bool, the edges.
    separates : of (b, x, y), where x and y have no edge: whether b stands in every set that
        separates them (True) or in none (False); None where the data do not decide, and b then is
        taken neither for a collider nor for a non-collider between x and y.
    not_cause : (d, d) bool; an edge between i and j has an arrowhead at i where [i, j] is true.
    required : (d, d) bool; an edge between i and j is i -> j where [i, j] is true.

    Attributes
    ----------
    marks : (d, d) int8 as in `CausalGraph`.
    near : the neighbours of each variable.
    """

    def __init__(
        self,
        skeleton: np.ndarray,
        separates: Callable[[int, int, int], bool | None],
        not_cause: np.ndarray | None = None,
        required: np.ndarray | None = None,
    ):
        none = np.zeros(skeleton.shape, dtype=bool)
        self.marks = np.where(skeleton, CIRCLE, NONE).astype(np.int8)
        self.near = [set(np.flatnonzero(row).tolist()) for row in skeleton]
        self.separates = separates
        self.not_cause = none if not_cause is None else not_cause
        self.required = none if required is None else required

    def remove(self, x: int, y: int) -> None:
        """Remove the edge between x and y."""
        self.near[x].discard(y)
        self.near[y].discard(x)
        self.marks[x, y] = self.marks[y, x] = NONE

    def orient_colliders(self):
        """Circles everywhere; then the marks that are known, and arrowheads at colliders."""
        marks = self.marks
        marks[marks != NONE] = CIRCLE
        edges = marks != NONE
        marks.T[edges & self.not_cause] = ARROW
        for i, j in np.argwhere(self.required & edges):
            marks[i, j] = ARROW
            marks[j, i] = TAIL
        for b, near in enumerate(self.near):
            for x, y in itertools.combinations(sorted(near), 2):
                if y not in self.near[x] and self.separates(b, x, y) is False:
                    for a in (x, y):
                        self._arrow(a, b)

    def _arrow(self, a, b):
        """An arrowhead at b on the edge from a, unless a tail is known there."""
        if self.marks[a, b] == CIRCLE:
            self.marks[a, b] = ARROW
            return True
        return False

    def _tail(self, a, b):
        """A tail at b on the edge from a, unless an arrowhead is known there."""
        if self.marks[a, b] == CIRCLE:
            self.marks[a, b] = TAIL
            return True
        return False

    def apply_rules(self):
        """Zhang's rules until none changes a mark; those that search paths where no other does."""
        while True:
            if self._rules_1_to_3() or self._rule_8():
                continue
            if not (self._rule_4() or self._rules_9_and_10()):
                break

    def _rules_1_to_3(self):
        marks = self.marks
        near = self.near
        changed = False
        for b in range(len(near)):
            for a in near[b]:
                if marks[a, b] != ARROW:
                    continue
                for c in near[b]:
                    if c == a:
                        continue
                    if c not in near[a]:
                        # 1: a *-> b o-* c, a and c apart
                        if marks[c, b] == CIRCLE:
                            if self.separates(b, a, c):
                                changed |= self._tail(c, b) | self._arrow(b, c)
                        # 3: a *-> b <-* c, a *-o t o-* c, t *-o b
                        elif marks[c, b] == ARROW:
                            for t in near[a] & near[b] & near[c]:
                                circles = marks[a, t] == CIRCLE and marks[c, t] == CIRCLE
                                if circles and self.separates(t, a, c):
                                    changed |= self._arrow(t, b)
                    # 2: a -> b *-> c or a *-> b -> c, and a *-o c
                    elif marks[b, c] == ARROW and TAIL in (marks[b, a], marks[c, b]):
                        changed |= self._arrow(a, c)
        return changed

    def _rule_8(self):
        """a -> b -> c and a o-> c: a -> c."""
        marks = self.marks
        changed = False
        for a, near in enumerate(self.near):
            for c in near:
                if marks[a, c] != ARROW or marks[c, a] != CIRCLE:
                    continue
                for b in near & self.near[c]:
                    if self._directed(a, b) and self._directed(b, c):
                        changed |= self._tail(c, a)
        return changed

    def _directed(self, a, b):
        return self.marks[a, b] == ARROW and self.marks[b, a] == TAIL

    def _rule_4(self):
        """A path that discriminates b between t and c: t, ..., a, b, c, where every variable
        between t and b is a collider and a parent of c, and t and c are apart. Then b is a collider
        unless it separates t and c.
        """
        marks = self.marks
        for b, near in enumerate(self.near):
            for c in near:
                if marks[c, b] != CIRCLE:
                    continue
                for a in near & self.near[c]:
                    if not (self._directed(a, c) and marks[b, a] == ARROW):
                        continue
                    t = self._discriminating_start(a, b, c)
                    inside = None if t is None else self.separates(b, t, c)
                    if inside is None:
                        continue
                    if inside:
                        self._tail(c, b)
                        self._arrow(b, c)
                    else:
                        self._arrow(a, b)
                        self._arrow(c, b)
                        self._arrow(b, c)
                    return True
        return False

    def _discriminating_start(self, a, b, c):
        """The start t of the shortest discriminating path that ends in a, b, c, or None."""
        seen = {a, b, c}
        todo = deque([a])
        while todo:
            v = todo.popleft()
            for t in sorted(self.near[v]):
                if t in seen or self.marks[t, v] != ARROW:
                    continue
                if t not in self.near[c]:
                    return t
                if self._directed(t, c) and self.marks[v, t] == ARROW:
                    seen.add(t)
                    todo.append(t)
        return None

    def _rules_9_and_10(self):
        marks = self.marks
        changed = False
        for a, near in enumerate(self.near):
            for c in sorted(near):
                if marks[a, c] != ARROW or marks[c, a] != CIRCLE:
                    continue
                # 9: an uncovered path from a, that may be directed, over a b apart from c
                firsts = [b for b in sorted(near) if b != c and self._may_lead(a, b)]
                if any(self._part(b, a, c) and self._path(a, b, c) for b in firsts):
                    changed |= self._tail(c, a)
                    continue
                # 10: b -> c <- t, and such paths from a to b and to t that begin apart
                causes = [b for b in sorted(self.near[c]) if b != a and self._directed(b, c)]
                starts = {b: [m for m in firsts if m == b or self._path(a, m, b)] for b in causes}
                for b, t in itertools.combinations(causes, 2):
                    if any(self._part(m, a, o) for m in starts[b] for o in starts[t]):
                        changed |= self._tail(c, a)
                        break
        return changed

    def _part(self, x, b, y):
        """Whether b, a neighbour of both, separates x and y, which have no edge: no collider."""
        return x != y and y not in self.near[x] and bool(self.separates(b, x, y))

    def _may_lead(self, a, b):
        """Whether the edge between a and b may be a -> b."""
        return self.marks[a, b] != TAIL and self.marks[b, a] != ARROW

    def _path(self, a, b, end):
        """Whether an uncovered path a, b, ..., end may be directed: of three variables in a row
        the middle one separates the outer ones.
        """
        todo = deque([(a, b)])
        before = {(a, b): None}
        while todo:
            edge = todo.popleft()
            u, v = edge
            on_path = {u, v}
            step = before[edge]
            while step is not None:
                on_path.add(step[0])
                step = before[step]
            for w in sorted(self.near[v]):
                if w in on_path or not self._may_lead(v, w) or not self._part(u, v, w):
                    continue
                if w == end:
                    return True
                if (v, w) not in before:
                    before[v, w] = edge
                    todo.append((v, w))
        return False
