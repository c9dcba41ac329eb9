"""`order_fci`: from the graph of the order search to a PAG, which allows for hidden common causes.

The order search assumes that no cause is hidden. Its DAG still implies no independence that the
data lack, so every edge of the PAG is one of its edges, and two variables without an edge are
independent given the parents of the later one. What is left to do is FCI's work on few edges:

1. Remove edges between variables that some set of neighbours separates. Only an edge that stands in
   a triangle can be one too many.
2. Orient colliders, and remove edges by sets of further variables (possible d-separating sets).
3. Orient colliders on what is left, and apply the rules of Zhang (`pag_rules`).

A weak edge that was missed makes colliders that are none. So a mark that rests on two variables
without an edge needs both: that they are independent given a set, and that they clearly depend once
the middle variable enters or leaves this set. Otherwise it stays a circle.

Sources: Ogarrio, Spirtes and Ramsey, PGM 2016 (GFCI: a score, then FCI); Spirtes, Glymour and
Scheines 2000 (FCI); Zhang, Artificial Intelligence 172 (2008) (the rules and their completeness).
"""

from collections import deque
from typing import Protocol

import numpy as np
from scipy.stats import chi2

from causal_lib.discovery.compiled import njit
from causal_lib.discovery.engines.constraint import never_causes
from causal_lib.discovery.engines.pag_rules import Marks
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import ARROW, CausalGraph
from causal_lib.knowledge import Knowledge


class Separation(Protocol):
    """What `order_fci` asks of the data."""

    def find(self, x: int, y: int, pool: list[int], size: int) -> tuple[int, ...] | None:
        """A set of ``size`` variables of ``pool`` given which x and y are independent, or None."""

    def depend(self, x: int, y: int, given: list[int]) -> bool:
        """Whether x and y clearly depend given some others; neither this nor independence where the
        data do not decide.
        """


class CovarianceSeparation:
    """Independence of blocks of columns by the likelihood ratio of a degenerate Gaussian.

        -m ln(det var(X, Y | Z) / (det var(X | Z) det var(Y | Z))) < χ² quantile of 1 - alpha,
        m = n - q_Z - (q_X + q_Y + 3) / 2,

    with q_X q_Y degrees of freedom, as in `constraint.covariance_test`. They clearly depend where
    the left side is above penalty q_X q_Y ln n, the score's price of an edge, and that quantile.
    """

    def __init__(self, statistics: Statistics, alpha: float, penalty: float = 0.0):
        widths = statistics.widths
        self.correlation = np.ascontiguousarray(statistics.correlation)
        self.first = np.concatenate([[0], np.cumsum(widths)])
        self.count = float(statistics.count)
        freedom = np.arange(widths.max() ** 2 + 1)
        self.limits = chi2.isf(alpha, np.maximum(freedom, 1))
        self.prices = np.maximum(penalty * np.log(self.count) * freedom, self.limits)

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

    def depend(self, x: int, y: int, given: list[int]) -> bool:
        """See `Separation`."""
        given = np.array(given, dtype=np.int64)
        shape = (self.correlation, self.first, self.count, self.prices)
        return bool(_dependence(*shape, x, y, given) > 1)


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
    search.found.orient_colliders()
    search.found.apply_rules()
    return CausalGraph(dag.names, search.found.marks, kind="PAG")


class _Search:
    def __init__(self, dag, separation, knowledge, max_condition):
        d = len(dag.names)
        self.separation = separation
        self.limit = d if max_condition is None else max_condition
        position = {name: i for i, name in enumerate(dag.order())}
        self.position = [position[name] for name in dag.names]
        self.parents = [set(np.flatnonzero(dag.adjacency[:, j]).tolist()) for j in range(d)]
        self.separators = {}  # of pairs whose edge of the DAG was removed
        self.decided = {}  # (b, x, y): see `_separates`
        known = knowledge or Knowledge()
        self.not_ancestor = never_causes(knowledge, dag.names)  # for sure: by the tiers
        not_cause = ~known.allowed(dag.names) & ~np.eye(d, dtype=bool)
        self.required = known.required_matrix(dag.names)
        self.found = Marks(dag.skeleton, self._separates, not_cause, self.required)
        self.near = self.found.near

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
        self.found.orient_colliders()
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
                self.found.remove(x, y)
                return

    def _possible_d_separators(self, x):
        """Variables at the end of a path from x on which each inner one is a collider or stands in
        a triangle with its neighbours on the path.
        """
        marks = self.found.marks
        found = set()
        seen = {(x, y) for y in self.near[x]}
        todo = deque(seen)
        while todo:
            a, b = todo.popleft()
            found.add(b)
            for c in self.near[b]:
                if c in (a, x) or (b, c) in seen:
                    continue
                collider = marks[a, b] == ARROW and marks[c, b] == ARROW
                if collider or c in self.near[a]:
                    seen.add((b, c))
                    todo.append((b, c))
        return found

    def _separates(self, b, x, y):
        """Whether b stands in the sets that separate x and y, which have no edge.

        Where the data are those of a PAG, the set that was found separates them with b and not
        without it, or the other way round. None where the data do not say so clearly: where weak
        edges were missed, x and y are nearly independent with b and without it.

        Source: after Ramsey, Spirtes and Zhang, UAI 2006 (conservative PC).
        """
        key = (b, min(x, y), max(x, y))
        if key not in self.decided:
            found = self.separators.get(key[1:])
            if found is None:
                later = x if self.position[x] > self.position[y] else y
                found = self.parents[later]
            within = sorted(found | {b})
            without = sorted(found - {b})
            self.decided[key] = None
            for inside, one, other in ((True, within, without), (False, without, within)):
                independent = self.separation.find(x, y, one, len(one)) is not None
                if independent and self.separation.depend(x, y, other):
                    self.decided[key] = inside
        return self.decided[key]
