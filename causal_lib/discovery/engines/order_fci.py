"""`order_fci`: from the graph of the order search to a PAG, which allows for hidden common causes.

The order search assumes that no cause is hidden. Its DAG still implies no independence that the
data lack, so every edge of the PAG is one of its edges, and two variables without an edge are
independent given the parents of the later one. What is left to do is FCI's work on few edges:

1. Remove edges between variables that some set of neighbours separates. Only an edge that stands in
   a triangle can be one too many.
2. Orient colliders, and remove edges by sets of further variables (possible d-separating sets).
3. Orient colliders on what is left, and apply the rules 1-4 and 8-10 of Zhang; 5-7 are for
   selection.

Sources: Ogarrio, Spirtes and Ramsey, PGM 2016 (GFCI: a score, then FCI); Spirtes, Glymour and
Scheines 2000 (FCI); Zhang, Artificial Intelligence 172 (2008) (the rules and their completeness).
"""

import itertools
from collections import deque
from typing import Protocol

import numpy as np
from scipy.stats import chi2

from causal_lib.discovery.compiled import njit
from causal_lib.discovery.engines.constraint import never_causes
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph
from causal_lib.knowledge import Knowledge


class Separation(Protocol):
    """What `order_fci` asks of the data."""

    def find(self, x: int, y: int, pool: list[int], size: int) -> tuple[int, ...] | None:
        """A set of ``size`` variables of ``pool`` given which x and y are independent, or None."""


class CovarianceSeparation:
    """Independence of blocks of columns by the likelihood ratio of a degenerate Gaussian.

        -m ln(det var(X, Y | Z) / (det var(X | Z) det var(Y | Z))) < χ² quantile of 1 - alpha,
        m = n - q_Z - (q_X + q_Y + 3) / 2,

    with q_X q_Y degrees of freedom, as in `constraint.covariance_test`.
    """

    def __init__(self, statistics: Statistics, alpha: float):
        widths = statistics.widths
        self.correlation = np.ascontiguousarray(statistics.correlation)
        self.first = np.concatenate([[0], np.cumsum(widths)])
        self.count = float(statistics.count)
        freedom = np.arange(widths.max() ** 2 + 1)
        self.limits = chi2.isf(alpha, np.maximum(freedom, 1))

    def find(self, x: int, y: int, pool: list[int], size: int) -> tuple[int, ...] | None:
        """Of all sets of ``size`` that make x and y independent, the one under which they depend
        least.
        """
        found = _find_separator(
            self.correlation,
            self.first,
            self.count,
            self.limits,
            x,
            y,
            np.array(pool, dtype=np.int64),
            size,
        )
        return None if found[0] == -2 else tuple(found[found >= 0].tolist())


@njit()
def _find_separator(S, first, n, limits, x, y, pool, size):
    """``size`` members of ``pool``, [-1] for the empty set; [-2] where none separates."""
    chosen = np.arange(size)
    best = 1.0
    found = np.full(1, -2)
    given = np.empty(size, np.int64)
    while size <= len(pool):
        for i in range(size):
            given[i] = pool[chosen[i]]
        ratio = _dependence(S, first, n, limits, x, y, given)
        if ratio < best:
            best = ratio
            found = given.copy() if size else np.full(1, -1)
        i = size - 1
        while i >= 0 and chosen[i] == len(pool) - size + i:
            i -= 1
        if i < 0:
            break
        chosen[i] += 1
        for k in range(i + 1, size):
            chosen[k] = chosen[k - 1] + 1
    return found


@njit()
def _dependence(S, first, n, limits, x, y, given):
    """The statistic of the test as a share of its limit; 1 where there are too few rows."""
    K = 0
    for z in given:
        K += first[z + 1] - first[z]
    qx = first[x + 1] - first[x]
    qy = first[y + 1] - first[y]
    m = n - K - (qx + qy + 3) / 2
    if m <= 0:
        return 1.0
    q = qx + qy
    columns = np.empty(K + q, np.int64)
    i = 0
    for z in given:
        for c in range(first[z], first[z + 1]):
            columns[i] = c
            i += 1
    for c in range(first[x], first[x + 1]):
        columns[i] = c
        i += 1
    for c in range(first[y], first[y + 1]):
        columns[i] = c
        i += 1
    # rows of the Cholesky factor: first of Z, then of X and Y given Z
    L = np.zeros((K + q, K))
    for a in range(K + q):
        for b in range(min(a + 1, K)):
            value = S[columns[a], columns[b]]
            for k in range(b):
                value -= L[a, k] * L[b, k]
            if a == b:
                L[a, b] = np.sqrt(value) if value > 1e-9 else 0.0
            elif L[b, b] > 0.0:  # a column that is a function of those before it says nothing more
                L[a, b] = value / L[b, b]
    M = np.empty((q, q))
    for a in range(q):
        for b in range(q):
            value = S[columns[K + a], columns[K + b]]
            for k in range(K):
                value -= L[K + a, k] * L[K + b, k]
            M[a, b] = value
    if q == 2:
        product = M[0, 0] * M[1, 1]
        share = 1.0 - M[0, 1] * M[0, 1] / product if product > 1e-18 else 1.0
    else:
        own = np.linalg.det(M[:qx, :qx]) * np.linalg.det(M[qx:, qx:])
        share = np.linalg.det(M) / own if own > 1e-300 else 1.0
    return -m * np.log(min(max(share, 1e-300), 1.0)) / limits[qx * qy]


def order_fci(
    dag: CausalGraph,
    separation: Separation,
    *,
    knowledge: Knowledge | None = None,
    max_condition: int | None = None,
) -> CausalGraph:
    """The PAG of the observed variables.

    Assumes that the distribution has no other independences than the causal graph with its hidden
    variables implies (faithfulness), and no selection.

    Parameters
    ----------
    dag : a DAG of the observed variables in which no edge is missing that the data ask for, such as
        a member of the class that the order search finds.
    separation : which sets separate two variables.
    knowledge : honoured exactly. Where tiers or forbidden edges say that a does not cause b, an
        edge between them has an arrowhead at a. A forbidden edge is so read as: a is no cause of b,
        neither directly nor through others. Required edges stay and have both marks.
    max_condition : the most variables of a separating set; None for no limit.

    Returns
    -------
    `CausalGraph` of kind 'PAG', variables as in ``dag``.
    """
    search = _Search(dag, separation, knowledge, max_condition)
    search.remove_by_neighbours()
    search.remove_by_possible_d_separators()
    search.orient_colliders()
    search.apply_rules()
    return CausalGraph(dag.names, search.marks, kind="PAG")


class _Search:
    def __init__(self, dag, separation, knowledge, max_condition):
        d = len(dag.names)
        self.separation = separation
        self.limit = d if max_condition is None else max_condition
        self.marks = np.where(dag.skeleton, CIRCLE, NONE).astype(np.int8)
        self.near = [set(np.flatnonzero(row).tolist()) for row in dag.skeleton]
        position = {name: i for i, name in enumerate(dag.order())}
        self.position = [position[name] for name in dag.names]
        self.parents = [set(np.flatnonzero(dag.adjacency[:, j]).tolist()) for j in range(d)]
        self.separators = {}  # of pairs whose edge of the DAG was removed
        known = knowledge or Knowledge()
        self.not_ancestor = never_causes(knowledge, dag.names)  # for sure: by the tiers
        self.not_cause = ~known.allowed(dag.names) & ~np.eye(d, dtype=bool)
        self.required = known.required_matrix(dag.names)

    # ---- which edges stay ------------------------------------------------------------------------

    def remove_by_neighbours(self):
        """Remove edges whose ends are separated by neighbours of one of them, small sets first."""
        for size in range(self.limit + 1):
            before = [frozenset(near) for near in self.near]
            for x, y in self._edges():
                pools = [sorted(before[a] - {b}) for a, b in ((x, y), (y, x))]
                if before[x] & before[y]:
                    self._try(x, y, pools, size)
            if all(len(near) - 1 <= size for near in before):
                break

    def remove_by_possible_d_separators(self):
        """Remove edges whose ends are separated by sets of variables farther away."""
        self.orient_colliders()
        pools = {}
        for x, y in self._edges():
            if self.near[x] & self.near[y]:
                pools[x, y] = [self._possible_d_separators(a) - {x, y} for a in (x, y)]
        before = [frozenset(near) for near in self.near]
        for (x, y), both in pools.items():
            # subsets of the neighbours alone were tried before
            both = [
                sorted(pool) for a, pool in zip((x, y), both, strict=True) if not pool <= before[a]
            ]
            for size in range(1, self.limit + 1):
                if y not in self.near[x] or all(len(pool) < size for pool in both):
                    break
                self._try(x, y, both, size)

    def _edges(self):
        return [(x, y) for x in range(len(self.near)) for y in sorted(self.near[x]) if x < y]

    def _try(self, x, y, pools, size):
        """Remove the edge if a set of ``size`` out of one of the pools separates x and y.

        A separating set among the ancestors of x and y exists if any does.
        """
        if self.required[x, y] or self.required[y, x]:
            return
        for pool in pools:
            pool = [z for z in pool if not (self.not_ancestor[z, x] and self.not_ancestor[z, y])]
            if len(pool) < size:
                continue
            found = self.separation.find(x, y, pool, size)
            if found is not None:
                self.separators[x, y] = set(found)
                self.near[x].discard(y)
                self.near[y].discard(x)
                self.marks[x, y] = self.marks[y, x] = NONE
                return

    def _possible_d_separators(self, x):
        """Variables at the end of a path from x on which each inner one is a collider or stands in
        a triangle with its neighbours on the path.
        """
        found = set()
        seen = {(x, y) for y in self.near[x]}
        todo = deque(seen)
        while todo:
            a, b = todo.popleft()
            found.add(b)
            for c in self.near[b]:
                if c in (a, x) or (b, c) in seen:
                    continue
                collider = self.marks[a, b] == ARROW and self.marks[c, b] == ARROW
                if collider or c in self.near[a]:
                    seen.add((b, c))
                    todo.append((b, c))
        return found

    # ---- which marks they have -------------------------------------------------------------------

    def _separates(self, b, x, y):
        """Whether b stands in the set that separates x and y, which have no edge."""
        found = self.separators.get((min(x, y), max(x, y)))
        if found is None:
            later = x if self.position[x] > self.position[y] else y
            found = self.parents[later]
        return b in found

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
                if y not in self.near[x] and not self._separates(b, x, y):
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
                            changed |= self._tail(c, b) | self._arrow(b, c)
                        # 3: a *-> b <-* c, a *-o t o-* c, t *-o b
                        elif marks[c, b] == ARROW:
                            for t in near[a] & near[b] & near[c]:
                                if marks[a, t] == CIRCLE and marks[c, t] == CIRCLE:
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
                    if t is None:
                        continue
                    if self._separates(b, t, c):
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
                if any(c not in self.near[b] and self._path(a, b, c) for b in firsts):
                    changed |= self._tail(c, a)
                    continue
                # 10: b -> c <- t, and such paths from a to b and to t that begin apart
                causes = [b for b in sorted(self.near[c]) if b != a and self._directed(b, c)]
                starts = {b: [m for m in firsts if m == b or self._path(a, m, b)] for b in causes}
                for b, t in itertools.combinations(causes, 2):
                    if any(m != o and o not in self.near[m] for m in starts[b] for o in starts[t]):
                        changed |= self._tail(c, a)
                        break
        return changed

    def _may_lead(self, a, b):
        """Whether the edge between a and b may be a -> b."""
        return self.marks[a, b] != TAIL and self.marks[b, a] != ARROW

    def _path(self, a, b, end):
        """Whether an uncovered path a, b, ..., end may be directed: of three variables in a row
        the outer ones are apart.
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
                if w in on_path or w in self.near[u] or not self._may_lead(v, w):
                    continue
                if w == end:
                    return True
                if (v, w) not in before:
                    before[v, w] = edge
                    todo.append((v, w))
        return False
