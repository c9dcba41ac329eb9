"""`order_search`: score-based search over orders of the variables, on a covariance matrix alone.

An order decides a graph: each variable takes those of its predecessors as parents that a greedy grow and shrink of the
BIC leaves. The search moves one variable at a time to its best place in the order until no move helps, then starts
again from the best order with a few pairs swapped (iterated local search), as BOSS and FLOP do. What makes it quick:

- Every variable z keeps the covariances of all columns given its parents, so that "does r improve z" costs a handful of
  multiplications: with c = cov(z, r | P), v = var(r | P), adding r lowers the BIC if c²/v > (1 - n^(-penalty/n)) var(z | P).
- A parent comes or goes at the cost of one (or a few, Givens-rotated) rows of length d; nothing is factorised anew.
- A step of a walk through the order swaps two neighbours, so it can only change the parents of these two.

Categorical variables enter as blocks of indicator columns with the likelihood of a (degenerate) Gaussian vector:
ln det instead of ln var, and a penalty for every pair of columns.

Sources: BOSS, Andrews and others, arXiv 2310.17679; FLOP, arXiv 2510.04970; degenerate Gaussian, Andrews and others,
PMLR 104 (2019).
"""

import itertools

import numpy as np

from causal_lib.discovery.auditing import audit
from causal_lib.discovery.compiled import njit
from causal_lib.discovery.engines.order_state import (
    ALLOWED,
    BEFORE,
    BEST,
    DIRTY,
    MARKED,
    ORDER,
    PARENTS,
    PAST,
    POSITION,
    REQUIRED,
    ROWS,
    SLOT,
    TINY,
    Problem,
    add,
    clear,
    exchange,
    new_state,
    settle,
    shrink,
    touch,
)
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

MAX_ROWS = 64  # columns of all parents of a variable, at most
MAX_SWEEPS = 100
PATIENCE = 6  # a walk ends where it has cost more than so many parameters; twice as many in the first descent


def order_search(
    statistics: Statistics,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    penalty: float = 2.0,
    restarts: int = 50,
) -> CausalGraph:
    """The CPDAG of the best-scoring order found, with every orientation that ``knowledge`` implies.

    Assumes linear relations between the encoded columns, independent rows and no hidden common cause.

    Parameters
    ----------
    statistics : of the d variables; no column may be constant or a function of others (`audit` names them).
    knowledge : honoured exactly: tiers limit the moves (a variable in no tier may stand anywhere), forbidden edges never
        enter, required ones are there from the start and always stay.
    seed : of the restarts. Variables are searched in the order of their names: the columns' own order plays no part.
    penalty : of a parameter, in ln(rows): 1 is the textbook BIC, 2, which finds fewer false edges, twice that.
    restarts : searches from the best order so far with round(ln d) (or two, three times as many) pairs swapped.

    Returns
    -------
    `CausalGraph` with ``info["score"]``: n ln det var(z | parents) + penalty ln n · parameters, summed over the variables,
    less that of the graph without edges. Lower is better.

    Raises
    ------
    ValueError
        for a constant or linearly dependent column (named), fewer rows than columns, knowledge about absent variables or
        in contradiction with itself, a penalty that is not positive or restarts below 0.

    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500))
    >>> frame = pd.DataFrame({"x": x, "y": y, "z": x + y + rng.normal(size=500)})
    >>> order_search(Statistics.from_frame(frame)).edges
    ['x -> z', 'y -> z']
    """
    if not penalty > 0 or restarts < 0:
        raise ValueError(
            f"order_search: penalty={penalty} must be positive and restarts={restarts} not negative"
        )
    audit(statistics, knowledge=knowledge).raise_errors("statistics")
    return search_orders(
        statistics, knowledge=knowledge, seed=seed, penalty=penalty, restarts=restarts
    )


def search_orders(
    statistics: Statistics,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    penalty: float = 2.0,
    restarts: int = 50,
) -> CausalGraph:
    """`order_search` of statistics that `audit` has found no error in."""
    names = sorted(statistics.names)
    stats = statistics.subset(names)
    d, D, n, correlation = len(names), len(stats.columns), stats.count, stats.correlation
    may = np.zeros((3, d, d), dtype=bool)
    may[ALLOWED] = ~np.eye(d, dtype=bool)
    if knowledge is not None:
        may[ALLOWED] = knowledge.allowed(names).T
        for cause, effect in knowledge.required:
            may[REQUIRED, names.index(effect), names.index(cause)] = True
        may[BEFORE] = _before(knowledge, names)
    first = np.concatenate([[0], np.cumsum(stats.widths)])
    packed = np.concatenate([[0], np.cumsum(stats.widths * (stats.widths + 1) // 2)])
    rows = int(max(min(D - 1, MAX_ROWS, n // 4), (may[REQUIRED] @ stats.widths).max(), 1))
    widest, price = stats.widths.max(), penalty * np.log(n)
    start_V = widest * D
    start_G = start_V + packed[-1]
    start_R = start_G + rows * D
    keep = np.exp(-price / n * np.arange(widest**2 + 1))
    problem = Problem(
        np.ascontiguousarray(correlation), first, packed, may, float(n), float(price), keep, 1e-10 * n * d, rows,
        int(start_V), int(start_G), int(start_R), int(start_R + rows * rows),
    )  # fmt: skip
    parents, score = _search(problem, np.random.default_rng(seed), restarts)
    blocks = [slice(a, b) for a, b in itertools.pairwise(first) if b > a + 1]
    alone = sum(
        n * np.linalg.slogdet(correlation[block, block])[1] for block in blocks
    )  # ln 1 = 0 for the others
    dag = CausalGraph.from_adjacency(parents.T, names).subgraph(statistics.names)
    return CausalGraph(dag.names, dag.cpdag(knowledge).marks, {"score": float(score - alone)})


def _before(knowledge, names):
    """[a, b]: a must precede b in any order, by tiers and required edges, also through others."""
    tiers = np.array([-1 if (t := knowledge.tier(name)) is None else t for name in names])
    before = (tiers[:, None] < tiers) & (tiers[:, None] >= 0)
    for cause, effect in knowledge.required:
        before[names.index(cause), names.index(effect)] = True
    for through in range(len(names)):  # Warshall's transitive closure
        before |= before[:, through, None] & before[through]
    around = [name for name, itself in zip(names, before.diagonal(), strict=True) if itself]
    if around:
        raise ValueError(
            f"knowledge: required edges and tiers contradict each other around {', '.join(around)}"
        )
    return before


@njit()
def _walk(p, s, v, step, stop, give_up):
    """Move v through the order, a place at a time in the direction ``step``, ``stop`` places or as far as it may go.

    The best change of the score on the way, and after how many places.
    """
    delta, best, where, places = 0.0, np.inf, 0, 0
    i = s.v[POSITION, v]
    while places != stop:
        j = i + step
        if j < 0 or j >= len(s.v[0]):
            break
        u = s.v[ORDER, j]
        if (p.may[BEFORE, v, u] and step > 0) or (p.may[BEFORE, u, v] and step < 0):
            break
        s.v[ORDER, i], s.v[ORDER, j] = u, v
        s.v[POSITION, u], s.v[POSITION, v] = i, j
        delta += exchange(p, s, u, v) if step > 0 else exchange(p, s, v, u)
        i = j
        places += 1
        if (
            delta <= best + p.tolerance
        ):  # the farthest of equal places: a walk on a plateau may lead to its edge
            best, where = min(best, delta), places
        if delta > give_up:
            break
    return best, where


@njit()
def _back(s, v, home):
    """Undo the walk."""
    i = s.v[POSITION, v]
    step = 1 if home > i else -1
    while i != home:
        u = s.v[ORDER, i + step]
        s.v[ORDER, i] = u
        s.v[POSITION, u] = i
        i += step
    s.v[ORDER, home], s.v[POSITION, v] = v, home
    for z in range(len(s.v[0])):
        if s.v[MARKED, z]:
            s.v[SLOT, z] = s.v[PAST, z]
            s.v[MARKED, z] = 0


@njit()
def _accept(s):
    """Keep the walk; who stands next to what changed is to be moved again."""
    for z in range(len(s.v[0])):
        if s.v[MARKED, z]:
            s.v[MARKED, z] = 0
            for t, other in ((s.v[PAST, z], s.v[SLOT, z]), (s.v[SLOT, z], s.v[PAST, z])):
                for i in range(s.w[t, PARENTS]):
                    r = s.w[t, 2 + i]
                    kept = False
                    for j in range(s.w[other, PARENTS]):
                        kept |= s.w[other, 2 + j] == r
                    if not kept:
                        s.v[DIRTY, z] = s.v[DIRTY, r] = 1


@njit()
def _descend(p, s, patience, goal):
    """Move each variable to its best place until no move improves anything; the score.

    First only those near a change, then, if the score has come to ``goal``, all of them once more. Moves that change nothing
    are made as well.
    """
    checked, total = False, 0.0
    for _ in range(MAX_SWEEPS):
        again = False
        for v in s.v[ORDER].copy():
            if not s.v[DIRTY, v]:
                continue
            s.v[DIRTY, v] = 0
            home = s.v[POSITION, v]
            right, right_places = _walk(p, s, v, 1, -1, patience)
            _back(s, v, home)
            left, left_places = _walk(p, s, v, -1, -1, patience)
            _back(s, v, home)
            best = min(left, right)
            if best > p.tolerance:
                continue
            if right <= left + p.tolerance:  # not by rounding
                _walk(p, s, v, 1, right_places, np.inf)
            else:
                _walk(p, s, v, -1, left_places, np.inf)
            if best < -p.tolerance:
                _accept(s)
                again = True
            else:
                s.v[MARKED] = 0
        if not again:
            total = 0.0
            for z in range(len(s.v[0])):
                total += s.f[s.v[SLOT, z], p.score]
            if checked or total > goal:
                break
            s.v[DIRTY] = 1
            checked = True
    return total


@njit()
def _polish(p, s):
    """Retry each variable's parents from the significant terms of its regression on all predecessors.

    Growing alone sticks where two parents cancel: neither helps without the other.
    """
    d, D = len(s.v[0]), len(p.S)
    column = np.empty(D, np.int64)
    at = 0
    for z in s.v[ORDER]:
        for j in range(p.first[z], p.first[z + 1]):
            column[at] = j
            at += 1
    S = np.empty((D, D))
    for i in range(D):
        for j in range(D):
            S[i, j] = p.S[column[i], column[j]]
        S[i, i] += TINY
    W = np.linalg.inv(
        np.linalg.cholesky(S)
    )  # row i: the regression of column i on those before, by its residual's sd
    inverse = np.zeros(D)  # diagonal of the inverse of the predecessors' correlations
    strong, limit = np.zeros(d, np.bool_), p.price / p.n
    changed, at = False, 0
    for i in range(d):
        z = s.v[ORDER, i]
        t, end = s.v[SLOT, z], at + p.first[z + 1] - p.first[z]
        before, new = 0, 0
        for k in range(i):
            r = s.v[ORDER, k]
            strong[r] = p.may[REQUIRED, z, r]
            for a in range(before, before + p.first[r + 1] - p.first[r]):
                for b in range(at, end):
                    strong[r] |= W[b, a] * W[b, a] > limit * inverse[a]
            strong[r] &= p.may[ALLOWED, z, r]
            new += strong[r]
            before += p.first[r + 1] - p.first[r]
        for k in range(s.w[t, PARENTS]):
            new -= strong[s.w[t, 2 + k]]
        if new:
            old = s.f[t, p.score]
            touch(p, s, z)
            clear(p, s, z)
            t = s.v[SLOT, z]
            for k in range(i):
                r = s.v[ORDER, k]
                room = s.w[t, ROWS] + p.first[r + 1] - p.first[r] <= p.max_rows
                if strong[r] and room and s.f[t, p.start_V + p.packed[r]] > TINY:
                    add(p, s, z, r)
            shrink(p, s, z)
            settle(p, s, z)
            if s.f[t, p.score] < old - p.tolerance:
                changed = True
            else:
                s.v[SLOT, z], s.v[MARKED, z] = s.v[PAST, z], 0
        for b in range(at, end):
            for a in range(b + 1):
                inverse[a] += W[b, a] * W[b, a]
        at = end
    _accept(s)
    return changed


@njit()
def _start(p, s):
    """First order: pivoted Cholesky, the least variance left first, as far as ``before`` allows; its parents."""
    d, D = len(s.v[0]), len(p.S)
    left, S = np.ones(d, np.bool_), p.S.copy()
    for i in range(d):
        best, which = np.inf, -1
        for z in range(d):
            if not left[z]:
                continue
            free, size = True, 0.0
            for a in range(d):
                free &= not (left[a] and p.may[BEFORE, a, z])
            for j in range(p.first[z], p.first[z + 1]):
                size += S[j, j] / (p.first[z + 1] - p.first[z])
            if free and size < best - TINY:
                best, which = size, z
        s.v[ORDER, i], s.v[POSITION, which] = which, i
        left[which] = False
        for j in range(p.first[which], p.first[which + 1]):
            if S[j, j] > TINY:
                g = S[j] / np.sqrt(S[j, j])
                for a in range(D):
                    S[a] -= g[a] * g
    for z in range(d):
        clear(p, s, z)
        for r in range(d):
            if p.may[REQUIRED, z, r]:
                add(p, s, z, r)
        settle(p, s, z)


@njit()
def _perturb(p, s, pairs, rng):
    """Swap pairs of variables that may stand in each other's place."""
    d = len(s.v[0])
    tries = 0
    while pairs and tries < 1000:
        tries += 1
        i, j = int(rng.random() * d), int(rng.random() * d)
        if i > j:
            i, j = j, i
        a, b = s.v[ORDER, i], s.v[ORDER, j]
        good = i != j
        for k in range(i, j + 1):
            good &= not p.may[BEFORE, a, s.v[ORDER, k]] and not p.may[BEFORE, s.v[ORDER, k], b]
        if good:
            _walk(p, s, a, 1, j - i, np.inf)
            _accept(s)
            _walk(p, s, b, -1, j - 1 - i, np.inf)
            _accept(s)
            pairs -= 1


@njit()
def _search(p, rng, restarts):
    """(d, d) parents of each variable in the best order found ([z, r]: r is a parent of z), and its score."""
    d = len(p.first) - 1
    s = new_state(p)
    _start(p, s)
    order, best = s.v[ORDER].copy(), np.inf
    for attempt in range(restarts + 1):
        patience = (PATIENCE if attempt else 2 * PATIENCE) * p.price
        if attempt:
            s.v[ORDER] = order
            for i in range(d):
                s.v[POSITION, order[i]] = i
            s.v[SLOT] = s.v[BEST]
            s.v[DIRTY] = 0
            pairs = (1 + attempt % 3) * max(
                1, int(np.rint(np.log(d)))
            )  # one distance alone gets stuck more often
            _perturb(p, s, pairs, rng)
        goal = best + 2 * p.price
        score = _descend(p, s, patience, goal)
        while _polish(p, s):
            score = _descend(p, s, patience, goal)
        if score <= best + p.tolerance:
            best = score
            order[:] = s.v[ORDER]
            s.v[BEST] = s.v[SLOT]
    parents = np.zeros((d, d), np.bool_)
    for z in range(d):
        t = s.v[BEST, z]
        for i in range(s.w[t, PARENTS]):
            parents[z, s.w[t, 2 + i]] = True
    return parents, best
