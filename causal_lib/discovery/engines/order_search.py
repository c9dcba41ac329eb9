"""`order_search`: score-based search over orders of the variables, from their covariance matrix.

An order of the variables determines a graph: each variable takes as parents those predecessors that
a greedy grow and shrink of the BIC leaves. The search moves one variable at a time to its best
place in the order until no move improves the score. Then it swaps a few pairs in the best order and
starts again (iterated local search), as BOSS and FLOP do.

Why it is quick:

- Each variable z keeps the covariances of all columns given its parents P. So testing whether r
  improves z costs a few multiplications: with c = cov(z, r | P) and v = var(r | P), adding r lowers
  the BIC if c²/v > (1 - n^(-penalty/n)) var(z | P).
- Adding or removing a parent costs one row of length D, or a few that Givens rotations change
  (`order_state`).
- One step of a variable through the order swaps two neighbours, and only these two can change their
  parents.

A categorical variable is a block of indicator columns with the likelihood of a degenerate Gaussian
vector: ln det replaces ln var, and every pair of columns costs one parameter.

Sources: BOSS, Andrews and others, arXiv 2310.17679; FLOP, arXiv 2510.04970; degenerate Gaussian
score, Andrews and others, PMLR 104 (2019).
"""

import itertools

import numpy as np

from causal_lib.discovery.auditing import audit
from causal_lib.discovery.compiled import njit
from causal_lib.discovery.engines.borrowed import borrow_arrays
from causal_lib.discovery.engines.order_state import (
    COLUMNS,
    FORBIDDEN,
    OPTIONAL,
    PARENTS,
    REQUIRED,
    TINY,
    Problem,
    add_parent,
    allocate_state,
    get_family,
    get_predecessors,
    grow_and_shrink,
    improves_as_parent,
    is_parent,
    prepare_change,
    remove_all_parents,
    shrink_parents,
    update_after_swap,
)
from causal_lib.discovery.engines.reachability import close_transitively
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

MAX_COLUMNS = 64  # largest number of columns of all parents of a variable
MAX_SWEEPS = 100
# A walk stops once it has worsened the score by the price of so many parameters, of twice as many
# in the first descent.
PATIENCE = 6


def order_search(
    statistics: Statistics,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    penalty: float = 2.0,
    restarts: int = 50,
) -> CausalGraph:
    """The CPDAG of the best-scoring order found, with every orientation that ``knowledge`` implies.

    Assumes linear relations between the encoded columns, independent rows and no hidden common
    cause.

    Parameters
    ----------
    statistics : of the d variables; no column may be constant or a function of others (`audit`
        names them).
    knowledge : tiers limit the moves (a variable in no tier may stand anywhere), forbidden edges
        are never added, and required edges are present from the start and never removed.
    seed : of the restarts. Variables are sorted by name first, so the order of the columns has no
        influence.
    penalty : of one parameter, in ln(rows). 1 is the textbook BIC; 2 is twice that and finds fewer
        false edges.
    restarts : searches from the best order so far, with round(ln d), twice or three times as many
        pairs swapped.

    Returns
    -------
    `CausalGraph` with ``info["score"]``: the sum over the variables of n ln det var(z | parents) +
    penalty · ln n · parameters, minus the same sum for the graph without edges. Lower is better.

    Raises
    ------
    ValueError
        for a constant or linearly dependent column (named), fewer rows than columns, knowledge
        about absent variables, contradictory knowledge, a penalty that is not positive, or restarts
        below 0.

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
    """`order_search` of statistics in which `audit` has found no error."""
    names = sorted(statistics.names)
    sorted_statistics = statistics.subset(names)
    problem = make_problem(sorted_statistics, knowledge, penalty)
    rng = np.random.default_rng(seed)
    parents, score = _iterate_local_search(problem, allocate_state(problem), rng, restarts)
    S = problem.S
    blocks = [slice(a, b) for a, b in itertools.pairwise(problem.first) if b > a + 1]
    # the score without edges; a single column adds ln 1 = 0
    empty = sum(sorted_statistics.count * np.linalg.slogdet(S[block, block])[1] for block in blocks)
    dag = CausalGraph.from_adjacency(parents.T, names).subgraph(statistics.names)
    return CausalGraph(dag.names, dag.cpdag(knowledge).marks, {"score": float(score - empty)})


def make_problem(statistics: Statistics, knowledge: Knowledge | None, penalty: float) -> Problem:
    """The search problem over the variables of ``statistics`` in their order."""
    names = list(statistics.names)
    widths = statistics.widths
    n = statistics.count
    d = len(names)
    D = len(statistics.columns)
    edges = np.where(np.eye(d, dtype=bool), FORBIDDEN, OPTIONAL).astype(np.int8)
    required = np.zeros((d, d), dtype=bool)
    precedes = np.zeros((d, d), dtype=bool)
    if knowledge is not None:
        required = knowledge.required_matrix(names).T
        edges[~knowledge.allowed(names).T] = FORBIDDEN
        edges[required] = REQUIRED
        precedes = find_precedences(knowledge, names)
    price = penalty * np.log(n)
    largest_block = widths.max() ** 2
    max_columns = max(min(D - 1, MAX_COLUMNS, n // 4), (required @ widths).max(), 1)
    return Problem(
        S=np.ascontiguousarray(statistics.correlation),
        first=np.concatenate([[0], np.cumsum(widths)]),
        packed=np.concatenate([[0], np.cumsum(widths * (widths + 1) // 2)]),
        edges=edges,
        precedes=precedes,
        n=float(n),
        price=float(price),
        keep=np.exp(-price / n * np.arange(largest_block + 1)),
        tolerance=1e-10 * n * d,
        max_columns=int(max_columns),
    )


def find_precedences(knowledge, names):
    """[a, b]: tiers and required edges put a before b, directly or through other variables."""
    tiers = np.array([-1 if (tier := knowledge.tier(name)) is None else tier for name in names])
    precedes = (tiers[:, None] < tiers) & (tiers[:, None] >= 0)
    precedes = close_transitively(precedes | knowledge.required_matrix(names))
    in_cycle = [name for name, itself in zip(names, precedes.diagonal(), strict=True) if itself]
    if in_cycle:
        raise ValueError(
            "knowledge: required edges and tiers contradict each other around "
            f"{', '.join(in_cycle)}"
        )
    return precedes


@njit()
def _walk(problem, state, v, step, max_places, give_up):
    """Move v through the order, one place at a time in the direction ``step`` (1 or -1).

    The walk ends after ``max_places`` places (-1: no limit), where v may go no further, or where
    the score has changed by more than ``give_up``. Returns the best change of the score on the way,
    and after how many places it was reached.
    """
    first = problem.first
    packed = problem.packed
    keep = problem.keep
    edges = problem.edges
    precedes = problem.precedes
    max_columns = problem.max_columns
    order = state.order
    position = state.position
    slot = state.slot
    count = state.count
    parents = state.parents
    C = state.C
    V = state.V
    change = 0.0
    best = np.inf
    best_places = 0
    places = 0
    i = position[v]
    while places != max_places:
        j = i + step
        if j < 0 or j >= len(order):
            break
        u = order[j]
        if (precedes[v, u] and step > 0) or (precedes[u, v] and step < 0):
            break
        order[i] = u
        order[j] = v
        position[u] = i
        position[v] = j
        earlier = u if step > 0 else v
        later = v if step > 0 else u
        t = slot[earlier]
        loses = is_parent(parents, count, t, later)
        t = slot[later]
        width = first[earlier + 1] - first[earlier]
        gains = edges[later, earlier] != FORBIDDEN and count[t, COLUMNS] + width <= max_columns
        gains = gains and improves_as_parent(first, packed, keep, C, V, t, later, earlier)
        if loses or gains:
            change += update_after_swap(problem, state, earlier, later, loses, gains)
        i = j
        places += 1
        # of equal places the farthest is taken, so that a walk may cross a plateau to its edge
        if change <= best + problem.tolerance:
            best = min(best, change)
            best_places = places
        if change > give_up:
            break
    return best, best_places


@njit()
def _undo_walk(state, v, home):
    """Move v back to its place ``home`` and restore the parents from before the walk."""
    order = state.order
    position = state.position
    i = position[v]
    step = 1 if home > i else -1
    while i != home:
        u = order[i + step]
        order[i] = u
        position[u] = i
        i += step
    order[home] = v
    position[v] = home
    changed = state.changed
    slot = state.slot
    past_slot = state.past_slot
    for z in range(len(order)):
        if changed[z]:
            slot[z] = past_slot[z]
            changed[z] = False


@njit()
def _accept_walk(state):
    """Keep the walk; mark variables that lost or gained a parent, and these parents, as pending."""
    changed = state.changed
    for z in range(len(changed)):
        if changed[z]:
            changed[z] = False
            _mark_lost_parents(state, z, state.past_slot[z], state.slot[z])
            _mark_lost_parents(state, z, state.slot[z], state.past_slot[z])


@njit()
def _mark_lost_parents(state, z, before, after):
    """Mark z and each of its parents in slot ``before`` that slot ``after`` lacks as pending."""
    for i in range(state.count[before, PARENTS]):
        r = state.parents[before, i]
        if not is_parent(state.parents, state.count, after, r):
            state.pending[z] = True
            state.pending[r] = True


@njit()
def _descend(problem, state, patience, goal):
    """Move each variable to its best place until no move improves the score; the score.

    At first only the pending variables move. If the score has then come down to ``goal``, all
    variables are tried once more. Moves that leave the score unchanged are made as well.
    """
    checked = False
    total = 0.0
    for _ in range(MAX_SWEEPS):
        improved = False
        for v in state.order.copy():
            if not state.pending[v]:
                continue
            state.pending[v] = False
            home = state.position[v]
            right, right_places = _walk(problem, state, v, 1, -1, patience)
            _undo_walk(state, v, home)
            left, left_places = _walk(problem, state, v, -1, -1, patience)
            _undo_walk(state, v, home)
            best = min(left, right)
            if best > problem.tolerance:
                continue
            if right <= left + problem.tolerance:  # rounding must not decide the direction
                _walk(problem, state, v, 1, right_places, np.inf)
            else:
                _walk(problem, state, v, -1, left_places, np.inf)
            if best < -problem.tolerance:
                _accept_walk(state)
                improved = True
            else:
                state.changed[:] = False
        if not improved:
            total = 0.0
            for z in range(len(state.order)):
                total += state.score[state.slot[z]]
            if checked or total > goal:
                break
            state.pending[:] = True
            checked = True
    return total


@njit()
def _regress_on_predecessors(problem, order):
    """(D, D) W, the inverse of the Cholesky factor of the correlations of all columns in ``order``.

    Row i is the regression of the i-th column on the columns before it, divided by the deviation of
    its residual.
    """
    S = problem.S
    first = problem.first
    D = len(S)
    column = np.empty(D, np.int64)
    i = 0
    for z in order:
        for j in range(first[z], first[z + 1]):
            column[i] = j
            i += 1
    ordered = np.empty((D, D))
    for i in range(D):
        for j in range(D):
            ordered[i, j] = S[column[i], column[j]]
        ordered[i, i] += TINY
    return np.linalg.inv(np.linalg.cholesky(ordered))


@njit()
def _retry_parents(problem, state):
    """Retry every variable with other parents; whether one improved.

    The other parents are the significant terms of its regression on all predecessors.

    Growing alone fails where two parents cancel, because neither helps without the other.
    """
    first = problem.first
    d = len(state.order)
    W = _regress_on_predecessors(problem, state.order)
    inverse = np.zeros(len(problem.S))  # diagonal of the inverse of the predecessors' correlations
    significant = np.zeros(d, np.bool_)
    limit = problem.price / problem.n
    edges = problem.edges
    order = state.order
    improved = False
    start = 0  # the columns of z are start to end, in the order
    for i in range(d):
        z = order[i]
        family = get_family(state, z)
        end = start + first[z + 1] - first[z]
        start_r = 0
        n_new = 0
        for k in range(i):
            r = order[k]
            end_r = start_r + first[r + 1] - first[r]
            significant[r] = edges[z, r] == REQUIRED
            for a in range(start_r, end_r):
                for b in range(start, end):
                    significant[r] |= W[b, a] * W[b, a] > limit * inverse[a]
            significant[r] &= edges[z, r] != FORBIDDEN
            n_new += significant[r]
            start_r = end_r
        for k in range(family.count[PARENTS]):
            n_new -= significant[family.parents[k]]
        if n_new:
            family = prepare_change(first, state, z)
            remove_all_parents(problem, family, z)
            for k in range(i):
                r = order[k]
                room = problem.max_columns - family.count[COLUMNS]
                has_room = first[r + 1] - first[r] <= room
                if significant[r] and has_room and family.V[problem.packed[r]] > TINY:
                    add_parent(problem.S, first, family, z, r)
            shrink_parents(problem, family, z)
            score = grow_and_shrink(problem, family, z, get_predecessors(state, z))
            if score < state.score[state.past_slot[z]] - problem.tolerance:
                state.score[state.slot[z]] = score
                improved = True
            else:
                state.slot[z] = state.past_slot[z]
                state.changed[z] = False
        for b in range(start, end):
            for a in range(b + 1):
                inverse[a] += W[b, a] * W[b, a]
        start = end
    _accept_walk(state)
    return improved


@njit()
def _set_first_order(problem, state):
    """Set the first order by pivoted Cholesky, least remaining variance first, and the parents.

    A variable is only chosen once all that must precede it have been.
    """
    first = problem.first
    d = len(state.order)
    D = len(problem.S)
    precedes = problem.precedes
    left = np.ones(d, np.bool_)
    S = problem.S.copy()  # given the variables chosen so far
    for i in range(d):
        least = np.inf
        chosen = -1
        for z in range(d):
            if not left[z]:
                continue
            free = True
            variance = 0.0
            for a in range(d):
                free &= not (left[a] and precedes[a, z])
            for j in range(first[z], first[z + 1]):
                variance += S[j, j] / (first[z + 1] - first[z])
            if free and variance < least - TINY:
                least = variance
                chosen = z
        state.order[i] = chosen
        state.position[chosen] = i
        left[chosen] = False
        for j in range(first[chosen], first[chosen + 1]):
            if S[j, j] > TINY:
                g = S[j] / np.sqrt(S[j, j])
                for a in range(D):
                    S[a] -= g[a] * g
    for z in range(d):
        family = get_family(state, z)
        remove_all_parents(problem, family, z)
        for r in range(d):
            if problem.edges[z, r] == REQUIRED:
                add_parent(problem.S, first, family, z, r)
        score = grow_and_shrink(problem, family, z, get_predecessors(state, z))
        state.score[state.slot[z]] = score


@njit()
def _swap_random_pairs(problem, state, pairs, rng):
    """Swap ``pairs`` random pairs of variables, each of which may stand in the other's place."""
    d = len(state.order)
    tries = 0
    while pairs and tries < 1000:
        tries += 1
        i = int(rng.random() * d)
        j = int(rng.random() * d)
        if i > j:
            i, j = j, i
        a = state.order[i]
        b = state.order[j]
        free = i != j
        for k in range(i, j + 1):
            between = state.order[k]
            free &= not problem.precedes[a, between] and not problem.precedes[between, b]
        if free:
            _walk(problem, state, a, 1, j - i, np.inf)
            _accept_walk(state)
            _walk(problem, state, b, -1, j - 1 - i, np.inf)
            _accept_walk(state)
            pairs -= 1


@njit()
def _return_to_best(state, best_order):
    """Set the order to ``best_order`` and every variable to the parents it had there."""
    state.order[:] = best_order
    for i in range(len(best_order)):
        state.position[best_order[i]] = i
    state.slot[:] = state.best_slot
    state.pending[:] = False


@njit()
def _iterate_local_search(problem, state, rng, restarts):
    """The parents of each variable in the best order found, and its score.

    The parents are (d, d) bool, [z, r]: r is a parent of z.
    """
    problem = borrow_arrays(problem)
    state = borrow_arrays(state)
    d = len(problem.first) - 1
    _set_first_order(problem, state)
    best_order = state.order.copy()
    best = np.inf
    for attempt in range(restarts + 1):
        patience = 2 * PATIENCE * problem.price
        if attempt:
            patience = PATIENCE * problem.price
            _return_to_best(state, best_order)
            # the number of pairs varies, because one number alone gets stuck more often
            pairs = (1 + attempt % 3) * max(1, int(np.rint(np.log(d))))
            _swap_random_pairs(problem, state, pairs, rng)
        goal = best + 2 * problem.price
        score = _descend(problem, state, patience, goal)
        while _retry_parents(problem, state):
            score = _descend(problem, state, patience, goal)
        if score <= best + problem.tolerance:
            best = score
            best_order[:] = state.order
            state.best_slot[:] = state.slot
    parents = np.zeros((d, d), np.bool_)
    for z in range(d):
        t = state.best_slot[z]
        for i in range(state.count[t, PARENTS]):
            parents[z, state.parents[t, i]] = True
    return parents, best
