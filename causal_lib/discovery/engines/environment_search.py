"""`search_environments`: order search over rows of several environments, each of which may change
the mechanisms of some variables.

The mechanism of z is its regression on its parents. In each environment e it is the shared one, or
z is a *target* of e and has a mechanism of its own there. Nothing is assumed about the change: the
parents may act as before, act otherwise, or not at all (an experiment that sets z). With T the
environments that share the mechanism, P the k parents of z, R the sums of squares and products of
the residuals and N all rows, the score of a family is

    n_T ln det(R_T(P) / n_T) + price · k
    + Σ over the others: the smaller of n_e ln det(R_e / n_e)              + price · 2
                                and     n_e ln det(R_e(P) / n_e)           + price · (2 + k)

with price = penalty · ln N: an own mechanism costs its mean, its variance and its slopes. Booleans
and categories have no variance of their own, it follows from the mean: there all R are added up,
and ln det is taken of the sum. Where it is not known whether z is a target of e, the score decides:
from all environments in T, the one whose removal improves the score most is taken out, time and
again. The choice is made anew for every set of parents. Otherwise an edge into a target could not
be told from one out of it: given a wrong parent both of its ends change, given the right one only
the target does.

The class. Two DAGs with the same edges and v-structures are told apart by an edge a - b if between
two environments the mechanism of exactly one of its ends changes (Yang and others 2018; where one
environment has no targets, this is the essential graph of Hauser and Bühlmann 2012). This is what
context variables do that are exogenous and point at their targets (joint causal inference, Mooij
and others 2020); but as columns of a linear model they would see changes of the mean only, not a
cut parent. These edges are handed on as forbidden reversals, and Meek's rules give the rest.

Sources: the score, Hauser and Bühlmann, JMLR 13 (2012), for targets whose parents are cut; targets
that the score finds, Gamella and others, arXiv 2211.14897; Yang, Katcoff and Uhler, ICML 2018;
Mooij, Magliacane and Claassen, JMLR 21 (2020).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import networkx as nx
import numpy as np

from causal_lib.discovery.compiled import njit
from causal_lib.discovery.engines.count_search import OrderSearch, ParentTree
from causal_lib.discovery.engines.order_search import find_precedences, search_orders
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

TINY = 1e-9  # share of a column's variance below which it counts as a function of others
_BETWEEN = 1e-3  # share of the covariance between environments in that of the first graph
_TOLERANCE = 1e-7  # differences of the score below this count as zero


class Problem(NamedTuple):
    """The data of d variables with D columns in K environments, and how they are scored."""

    # (K + 1, D + 1, D + 1) sums of products of the columns, scaled to mean 0 and variance 1 over
    # all rows, in each environment and in all; column 0 is the constant 1
    M: np.ndarray
    n: np.ndarray  # (K + 1,) rows
    first: np.ndarray  # (d + 1,) first column of each variable
    free: np.ndarray  # (d, K) bool, whether z may be a target of e
    scaled: np.ndarray  # (d,) bool, whether an own mechanism has a variance of its own
    price: float  # of one parameter


def make_problem(
    parts: Sequence[Statistics], free: np.ndarray, scaled: np.ndarray, penalty: float
) -> Problem:
    """The `Problem` of the statistics of each environment, which have the same columns."""
    whole = Statistics.merge(parts)
    scale = np.sqrt(whole.cov.diagonal())
    moments = []
    for part in parts:
        mean = np.append(1.0, (part.mean - whole.mean) / scale)
        cov = np.zeros((len(mean), len(mean)))
        cov[1:, 1:] = part.cov / scale / scale[:, None]
        moments.append(part.count * (cov + mean * mean[:, None]))
    counts = [part.count for part in parts]
    return Problem(
        M=np.array([*moments, sum(moments)]),
        n=np.array([*counts, sum(counts)]),
        first=1 + np.concatenate([[0], np.cumsum(whole.widths)]),
        free=np.ascontiguousarray(free),
        scaled=np.ascontiguousarray(scaled),
        price=float(penalty * np.log(sum(counts))),
    )


@njit()
def _residuals(A, w, q):
    """(q, q) sums of products of the last q of w columns given the others; overwrites A, their
    (w, w) sums of products.
    """
    n = A[0, 0]
    for j in range(w - q):
        if A[j, j] <= TINY * n:
            continue
        for a in range(j + 1, w):
            weight = A[a, j] / A[j, j]
            if weight != 0.0:
                for b in range(j + 1, w):
                    A[a, b] -= weight * A[j, b]
    return A[w - q : w, w - q : w].copy()


@njit()
def _log_det(R, n):
    """n ln det(R / n), each pivot at least `TINY`; overwrites R."""
    total = 0.0
    q = len(R)
    for j in range(q):
        pivot = R[j, j] / n
        total += np.log(max(pivot, TINY))
        if pivot > TINY:
            for a in range(j + 1, q):
                weight = R[a, j] / R[j, j]
                for b in range(j + 1, q):
                    R[a, b] -= weight * R[j, b]
    return n * total


@njit()
def _take(M, columns, w):
    """(w, w) the part of M for the first w ``columns``."""
    A = np.empty((w, w))
    for a in range(w):
        for b in range(w):
            A[a, b] = M[columns[a], columns[b]]
    return A


@njit()
def _score_family(problem, z, columns, w, own):
    """The score of z given the parents with ``columns[1 : w - q]``; ``own`` (K,) bool becomes
    whether z has a mechanism of its own in each environment.

    ``columns`` are 0, those of the parents, and the q of z.
    """
    K = len(own)
    q = problem.first[z + 1] - problem.first[z]
    price = problem.price
    slopes = price * q * (w - 1 - q)
    scaled = problem.scaled[z]
    level = price * (q + (q * (q + 1) / 2 if scaled else 0.0))
    n = problem.n
    n_all = n[K]
    shared = _take(problem.M[K], columns, w)
    n_shared = n_all
    R = _residuals(shared.copy(), w, q)
    best = _log_det(R.copy(), n_all)
    # of the environments outside T: the score, or the sums of products of the residuals, of each;
    # with its own slopes and without
    part = np.zeros((K, 2))
    R_own = np.zeros((K, 2, q, q))
    A = np.empty((K, w, w))
    ends = np.append(columns[:1], columns[w - q : w])
    for e in range(K):
        own[e] = False
        if not problem.free[z, e]:
            continue
        A[e] = _take(problem.M[e], columns, w)
        R_own[e, 0] = _residuals(_take(problem.M[e], ends, q + 1), q + 1, q)
        R_own[e, 1] = R_own[e, 0]
        if w > q + 1 and n[e] > 2 * w:
            R_own[e, 1] = _residuals(A[e].copy(), w, q)
        if scaled:
            part[e, 0] = _log_det(R_own[e, 0].copy(), n[e])
            part[e, 1] = _log_det(R_own[e, 1].copy(), n[e])
    R_out = np.zeros((q, q))
    out = 0.0  # what the environments outside T add to the score
    while True:
        chosen = -1
        with_slopes = 0
        least = best - _TOLERANCE
        for e in range(K - 1, -1, -1):  # of equals the last is a target
            if own[e] or not problem.free[z, e] or n_shared - n[e] <= 2 * w:
                continue
            R = _residuals(shared - A[e], w, q)
            for k in range(2 if w > q + 1 else 1):
                trial = out + level + k * slopes
                if scaled:
                    trial += _log_det(R.copy(), n_shared - n[e]) + part[e, k]
                else:
                    trial += _log_det(R + R_out + R_own[e, k], n_all)
                if trial < least:
                    least = trial
                    chosen = e
                    with_slopes = k
        if chosen < 0:
            return best + slopes
        best = least
        own[chosen] = True
        shared -= A[chosen]
        n_shared -= n[chosen]
        out += level + with_slopes * slopes + part[chosen, with_slopes]
        R_out += R_own[chosen, with_slopes]


@njit()
def _columns_of(first, z, parents, more, columns):
    """Fill ``columns`` with the constant, those of the parents, of ``more`` (-1: none) and of z;
    how many there are.
    """
    columns[0] = 0
    w = 1
    for i in range(len(parents) + 2):
        v = parents[i] if i < len(parents) else more if i == len(parents) else z
        if v >= 0:
            for column in range(first[v], first[v + 1]):
                columns[w] = column
                w += 1
    return w


@njit()
def score_parents(problem: Problem, z: int, parents: np.ndarray, more: np.ndarray) -> np.ndarray:
    """The score of z given ``parents`` and one of ``more`` each; -1 stands for none."""
    columns = np.empty(problem.first[-1], np.int64)
    own = np.zeros(problem.free.shape[1], np.bool_)
    scores = np.empty(len(more))
    for i in range(len(more)):
        w = _columns_of(problem.first, z, parents, more[i], columns)
        scores[i] = _score_family(problem, z, columns, w, own)
    return scores


@njit()
def find_changes(problem: Problem, z: int, parents: np.ndarray) -> np.ndarray:
    """(K,) bool: whether z, given its ``parents``, is a target of each environment."""
    columns = np.empty(problem.first[-1], np.int64)
    own = np.zeros(problem.free.shape[1], np.bool_)
    w = _columns_of(problem.first, z, parents, -1, columns)
    _score_family(problem, z, columns, w, own)
    return own


class _Tree(ParentTree):
    def _score(self, parents, more):
        return _scores(self.table, self.z, sorted(parents), more)


class _Search(OrderSearch):
    """`OrderSearch` by the score of this module."""

    def __init__(self, problem, allowed, required, precedes, first, near, rng):
        d = len(problem.free)
        self.order = _order_of(first, precedes)
        self.precedes = precedes
        self.rng = rng
        self.trees = []
        self.children = [[] for _ in range(d)]
        self.empty = 0.0
        for z in range(d):
            self.empty += _scores(problem, z, [], [-1])[0]
            may = np.flatnonzero(allowed[:, z] & ~precedes[z] & near[z]).tolist()
            self.trees.append(_Tree(problem, z, may, np.flatnonzero(required[:, z]).tolist()))
            for c in self.trees[z].candidates:
                self.children[c].append(z)


def _scores(problem, z, parents, more):
    arrays = (np.array(variables, dtype=np.int64) for variables in (parents, more))
    return score_parents(problem, z, *arrays).tolist()


def search_environments(
    parts: Sequence[Statistics],
    free: np.ndarray,
    scaled: np.ndarray,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    penalty: float = 2.0,
    restarts: int = 50,
) -> CausalGraph:
    """The interventional class of the best-scoring order found, with every orientation that
    ``knowledge`` implies.

    Parameters
    ----------
    parts : statistics of each of the K environments, over the same d variables and levels.
    free : (d, K) bool, whether a variable may be a target of an environment.
    scaled : (d,) bool, whether an own mechanism has a variance of its own: not that of booleans and
        categories, whose variance follows from the mean.
    knowledge, penalty, seed : as in `order_search`.
    restarts : of the search for a first graph, from the covariances within environments. The search
        itself starts there, has a fifth of these restarts, and takes as parents of a variable only
        those within two edges of it in the first graph or in that of a single environment.

    Returns
    -------
    `CausalGraph` with ``info``: score, less that of the graph without edges (lower is better), and
    changed, (d, K) bool, whether a variable was found to be a target of an environment.
    """
    names = parts[0].names
    at = sorted(range(len(names)), key=lambda i: names[i])
    ordered = [names[i] for i in at]
    parts = [part.subset(ordered) for part in parts]
    problem = make_problem(parts, free[at], scaled[at], penalty)
    known = knowledge or Knowledge()
    precedes = find_precedences(known, ordered)
    whole = Statistics.merge(parts)
    how = {"knowledge": knowledge, "seed": seed, "penalty": penalty}
    within = sum(part.count * part.cov for part in parts) / whole.count
    first = _search_covariance(whole, within, whole.count, restarts=restarts, **how)
    edges = first.skeleton
    for part in parts:  # slopes may cancel in all rows together
        edges = edges | _search_covariance(whole, part.cov, part.count, restarts=0, **how).skeleton
    search = _Search(
        problem,
        known.allowed(ordered),
        known.required_matrix(ordered),
        precedes,
        first,
        edges | (edges.astype(int) @ edges > 0),
        np.random.default_rng(seed),
    )
    parents, best = search.restart(-(-restarts // 5))
    adjacency = np.zeros((len(names), len(names)), dtype=bool)
    changed = np.zeros((len(names), len(parts)), dtype=bool)
    for z, family in enumerate(parents):
        adjacency[sorted(family), z] = True
        changed[at[z]] = find_changes(problem, z, np.array(sorted(family), dtype=np.int64))
    dag = CausalGraph.from_adjacency(adjacency, ordered).subgraph(names)
    graph = interventional_class(dag, changed, knowledge)
    return CausalGraph(names, graph.marks, {"score": best - search.empty, "changed": changed})


def _search_covariance(whole, cov, count, **how):
    """A DAG of the class that covariances within environments give, as if of one environment."""
    # the means of the environments only so far that no column is constant or a function of others
    mixed = (1 - _BETWEEN) * cov + _BETWEEN * whole.cov
    return search_orders(replace(whole, cov=mixed, count=count), **how).extension()


def _order_of(dag, precedes):
    """An order of the variables of ``dag`` in which a stands before b where a precedes b."""
    graph = nx.from_numpy_array(dag.adjacency | precedes, create_using=nx.DiGraph)
    if not nx.is_directed_acyclic_graph(graph):  # a path through variables of no tier runs back
        graph = nx.from_numpy_array(precedes, create_using=nx.DiGraph)
    return list(nx.lexicographical_topological_sort(graph))


def interventional_class(
    dag: CausalGraph, changed: np.ndarray, knowledge: Knowledge | None = None
) -> CausalGraph:
    """The class of ``dag`` where environments change the mechanisms of their targets, with every
    orientation that ``knowledge`` implies.

    changed : (d, K) bool, whether a variable is a target of an environment.

    An edge is directed if between two environments the mechanism of exactly one of its ends
    changes: one is a target of e, the other is neither one of e nor of a further environment.

    >>> dag = CausalGraph.from_edges("xyz", ["x -> y", "y -> z"])
    >>> interventional_class(dag, np.array([[0, 0], [0, 0], [0, 1]], dtype=bool)).edges
    ['x -- y', 'y -> z']
    >>> interventional_class(dag, np.array([[0, 0], [0, 1], [0, 0]], dtype=bool)).edges
    ['x -> y', 'y -> z']
    """
    known = knowledge or Knowledge()
    several = (~changed).sum(axis=1) >= 2
    alone = changed.astype(int) @ ~changed.T > 0  # [a, b]: a is a target where b is none
    apart = alone & several
    reversals = {
        (dag.names[j], dag.names[i]) for i, j in np.argwhere(dag.adjacency & (apart | apart.T))
    }
    return dag.cpdag(
        Knowledge(known.tiers, known.forbidden | reversals, known.required, known.within_tiers)
    )
