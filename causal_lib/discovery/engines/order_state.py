"""The state of `order_search`: an order, and the parents of each variable among its predecessors.

Notation. S is the (D, D) correlation matrix of all columns. A variable z has parents P with K
columns in total, and L L' = S[P, P] is a Cholesky factorisation. For each variable the state holds

    C = S[z, :] - S[z, P] inv(S[P, P]) S[P, :]   covariances of z's columns with all, given P
    V = the diagonal blocks, one for each variable, of S - S[:, P] inv(S[P, P]) S[P, :]
    G = inv(L) S[P, :]   (K, D), so that G'G is the part of S that P explains
    R = inv(L')          (K, K) upper triangular, so that R R' = inv(S[P, P])

What they are for:

- Growing: with c = C[r] and v = V[r], adding the column r lowers the BIC if
  c²/v > (1 - n^(-penalty/n)) var(z | P).
- A new parent appends one row to G for each of its columns. A parent that leaves is first rotated
  to the last rows by Givens rotations, then these rows are cut off. No matrix is factorised again.
- Shrinking: R follows the same steps, and the t-value of each parent is one short sum over a row of
  R and a column of G.

Source: the updates of FLOP, arXiv 2510.04970.
"""

from typing import NamedTuple

import numpy as np

from causal_lib.discovery.compiled import njit

TINY = 1e-9  # a column with less variance given the parents is a function of them: never added
MORE = 1 + 1e-9  # an improvement must exceed rounding, or adding and removing could alternate

FORBIDDEN, OPTIONAL, REQUIRED = range(3)  # what Problem.edges says of a parent
PARENTS, COLUMNS = range(2)  # entries of Family.count


class Problem(NamedTuple):
    """The data and the constraints of one search over d variables with D columns."""

    S: np.ndarray  # (D, D) correlations of the columns
    first: np.ndarray  # (d + 1,) first column of each variable
    packed: np.ndarray  # (d + 1,) first entry of each variable's block in V
    # (d, d) int8, [z, r]: whether r as a parent of z is FORBIDDEN, OPTIONAL or REQUIRED
    edges: np.ndarray
    precedes: np.ndarray  # (d, d) bool, [a, b]: a stands before b in every order
    # [m] = exp(-price · m / n): m parameters must lower det var(z | P) to less than this share
    keep: np.ndarray
    n: float  # rows of the data
    price: float  # of one parameter, in units of the score: penalty · ln n
    tolerance: float  # differences of the score below this count as zero
    max_columns: int  # largest number of columns K of all parents of one variable


class Family(NamedTuple):
    """One variable z with its parents: views of the arrays of one slot of `State`."""

    count: np.ndarray  # (2,) number of PARENTS, and number K of their COLUMNS
    parents: np.ndarray  # (max_columns,) in the order in which they were added
    columns: np.ndarray  # (max_columns,) columns of the parents, one for each row of G
    C: np.ndarray  # (widest variable, D)
    V: np.ndarray  # (packed[d],) the lower triangle of each variable's block
    G: np.ndarray  # (max_columns, D), K rows in use
    R: np.ndarray  # (max_columns, max_columns), K rows and columns in use, zero below the diagonal


class State(NamedTuple):
    """The order, and for each variable its parents with the arrays that follow from them.

    A variable z owns the three slots 3z, 3z + 1 and 3z + 2. One is in use, one holds its parents in
    the best order so far, and one is free for the next change. So undoing a walk or returning to
    the best order copies no numbers.
    """

    order: np.ndarray  # (d,) variables from first to last
    position: np.ndarray  # (d,) of each variable in the order
    slot: np.ndarray  # (d,) slot in use
    best_slot: np.ndarray  # (d,) slot of the best order
    past_slot: np.ndarray  # (d,) slot that was in use before the current walk
    changed: np.ndarray  # (d,) bool, whether the current walk has changed the variable's parents
    pending: np.ndarray  # (d,) bool, whether the variable is to be moved again
    score: np.ndarray  # (3d,) of each slot: n ln det var(z | P) + price · parameters
    count: np.ndarray  # (3d, 2) this and the following: the arrays of Family for each slot
    parents: np.ndarray  # (3d, max_columns)
    columns: np.ndarray  # (3d, max_columns)
    C: np.ndarray  # (3d, widest variable, D)
    V: np.ndarray  # (3d, packed[d])
    G: np.ndarray  # (3d, max_columns, D)
    R: np.ndarray  # (3d, max_columns, max_columns)


def allocate_state(problem: Problem) -> State:
    """Memory for the state of all variables; `remove_all_parents` fills it."""
    d = len(problem.first) - 1
    D = len(problem.S)
    m = problem.max_columns
    return State(
        order=np.zeros(d, dtype=np.int64),
        position=np.zeros(d, dtype=np.int64),
        slot=3 * np.arange(d),
        best_slot=3 * np.arange(d),
        past_slot=np.zeros(d, dtype=np.int64),
        changed=np.zeros(d, dtype=bool),
        pending=np.ones(d, dtype=bool),
        score=np.zeros(3 * d),
        count=np.zeros((3 * d, 2), dtype=np.int64),
        parents=np.zeros((3 * d, m), dtype=np.int64),
        columns=np.zeros((3 * d, m), dtype=np.int64),
        C=np.empty((3 * d, np.diff(problem.first).max(), D)),
        V=np.empty((3 * d, problem.packed[-1])),
        G=np.empty((3 * d, m, D)),
        R=np.empty((3 * d, m, m)),
    )


@njit()
def get_family(state, z):
    """The family of z in the slot in use."""
    t = state.slot[z]
    return Family(
        state.count[t],
        state.parents[t],
        state.columns[t],
        state.C[t],
        state.V[t],
        state.G[t],
        state.R[t],
    )


@njit()
def get_predecessors(state, z):
    """The variables before z in the order."""
    return state.order[: state.position[z]]


@njit()
def remove_all_parents(problem, family, z):
    """Set z to no parents: C and V are parts of S."""
    S = problem.S
    first = problem.first
    C = family.C
    V = family.V
    family.count[PARENTS] = 0
    family.count[COLUMNS] = 0
    for a in range(first[z + 1] - first[z]):
        for j in range(len(S)):
            C[a, j] = S[first[z] + a, j]
    e = 0
    for r in range(len(first) - 1):
        for a in range(first[r], first[r + 1]):
            for b in range(first[r], a + 1):
                V[e] = S[a, b]
                e += 1


@njit()
def prepare_change(first, state, z):
    """The family of z to change, a copy in its free slot, so that the current walk can be undone.

    Later calls in the same walk return the same copy.
    """
    if state.changed[z]:
        return get_family(state, z)
    old_slot = state.slot[z]
    new_slot = 3 * z
    while new_slot == old_slot or new_slot == state.best_slot[z]:
        new_slot += 1
    old = get_family(state, z)
    state.score[new_slot] = state.score[old_slot]
    state.past_slot[z] = old_slot
    state.slot[z] = new_slot
    state.changed[z] = True
    new = get_family(state, z)
    _copy_family(old, new, first[z + 1] - first[z])
    return new


@njit()
def _copy_family(source, target, q):
    """Copy the parts in use; the variable has q columns."""
    K = source.count[COLUMNS]
    target.count[PARENTS] = source.count[PARENTS]
    target.count[COLUMNS] = K
    parents = source.parents
    columns = source.columns
    new_parents = target.parents
    new_columns = target.columns
    for i in range(source.count[PARENTS]):
        new_parents[i] = parents[i]
    for i in range(K):
        new_columns[i] = columns[i]
    C = source.C
    V = source.V
    G = source.G
    R = source.R
    new_C = target.C
    new_V = target.V
    new_G = target.G
    new_R = target.R
    D = C.shape[1]
    for a in range(q):
        for j in range(D):
            new_C[a, j] = C[a, j]
    for e in range(len(V)):
        new_V[e] = V[e]
    for i in range(K):
        for j in range(D):
            new_G[i, j] = G[i, j]
    for i in range(K):
        for j in range(i, K):
            new_R[i, j] = R[i, j]


@njit()
def _factorise(A, q):
    """The determinant of a symmetric positive (q, q) matrix, 0 if it is singular.

    Overwrites its lower triangle by its Cholesky factor.
    """
    determinant = 1.0
    for j in range(q):
        for k in range(j):
            A[j, j] -= A[j, k] * A[j, k]
        if A[j, j] <= 1e-14:
            return 0.0
        determinant *= A[j, j]
        A[j, j] = np.sqrt(A[j, j])
        for i in range(j + 1, q):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
    return determinant


@njit()
def _residual_determinant(first, C, z):
    """det var(z | P) from the C of z."""
    start = first[z]
    q = first[z + 1] - start
    if q == 1:
        return C[0, start]
    A = np.empty((q, q))
    for a in range(q):
        A[a] = C[a, start : start + q]
    return _factorise(A, q)


@njit()
def compute_score(problem, family, z):
    """n ln det var(z | P) + price · q K."""
    q = problem.first[z + 1] - problem.first[z]
    fit = problem.n * np.log(max(_residual_determinant(problem.first, family.C, z), 1e-300))
    return fit + problem.price * q * family.count[COLUMNS]


@njit()
def ratio_with_parent(first, packed, C, V, z, r):
    """det var(z | P, r) / det var(z | P) from the C and V of z; 1 where r is a function of P."""
    start_z = first[z]
    start_r = first[r]
    qz = first[z + 1] - start_z
    qr = first[r + 1] - start_r
    e = packed[r]
    if qz == 1 and qr == 1:
        if V[e] <= TINY:
            return 1.0
        return 1.0 - C[0, start_r] * C[0, start_r] / (V[e] * C[0, start_z])
    # det var(z, r | P) / (det var(r | P) det var(z | P)), by one Cholesky with r first
    A = np.empty((qr + qz, qr + qz))
    for a in range(qr):
        for b in range(a + 1):
            A[a, b] = V[e]
            e += 1
        if A[a, a] < TINY:
            return 1.0
    for a in range(qz):
        A[qr + a, :qr] = C[a, start_r : start_r + qr]
        A[qr + a, qr:] = C[a, start_z : start_z + qz]
    if _factorise(A, qr + qz) == 0.0:
        return 1.0
    determinant = 1.0
    for a in range(qz):
        determinant *= A[qr + a, qr + a] * A[qr + a, qr + a]
    return determinant / _residual_determinant(first, C, z)


@njit()
def improves_as_parent(first, packed, keep, C, V, t, z, r):
    """Whether adding r to the parents of z in slot t would improve the score.

    C and V are those of all slots.
    """
    if len(first) - 1 == C.shape[2]:  # every variable is one column
        c = C[t, 0, r]
        v = V[t, r]
        return v > TINY and c * c > (1.0 - keep[1]) * v * C[t, 0, z] * MORE
    share = keep[(first[z + 1] - first[z]) * (first[r + 1] - first[r])]
    return ratio_with_parent(first, packed, C[t], V[t], z, r) * MORE < share


@njit()
def is_parent(parents, count, t, r):
    """Whether r is a parent in slot t; ``parents`` and ``count`` are those of all slots."""
    found = False
    for i in range(count[t, PARENTS]):
        found |= parents[t, i] == r
    return found


@njit()
def add_parent(S, first, family, z, r):
    """Make r a parent of z: for each column of r, append a row to G and a row and column to R."""
    D = len(S)
    count = family.count
    columns = family.columns
    G = family.G
    R = family.R
    for column in range(first[r], first[r + 1]):
        K = count[COLUMNS]
        for j in range(D):
            G[K, j] = S[column, j]
        for i in range(K):
            weight = G[i, column]
            for j in range(D):
                G[K, j] -= weight * G[i, j]
        if G[K, column] < TINY:  # within a block: this column is a function of those there
            continue
        scale = 1 / np.sqrt(G[K, column])
        for j in range(D):
            G[K, j] *= scale
        for i in range(K):
            total = 0.0
            for j in range(i, K):
                total += R[i, j] * G[j, column]
            R[i, K] = -total * scale
        R[K, K] = scale
        columns[K] = column
        count[COLUMNS] = K + 1
        _update_covariances(first, family.C, family.V, z, G[K], -1.0)
    family.parents[count[PARENTS]] = r
    count[PARENTS] += 1


@njit()
def _update_covariances(first, C, V, z, g, sign):
    """Update C and V of z after the row g was added to G (sign -1) or removed (sign 1)."""
    d = len(first) - 1
    D = len(g)
    for a in range(first[z + 1] - first[z]):
        weight = sign * g[first[z] + a]
        for j in range(D):
            C[a, j] += weight * g[j]
    if d == D:  # every variable is one column
        for j in range(D):
            V[j] += sign * g[j] * g[j]
        return
    e = 0
    for r in range(d):
        for a in range(first[r], first[r + 1]):
            for b in range(first[r], a + 1):
                V[e] += sign * g[a] * g[b]
                e += 1


@njit()
def remove_parent(first, family, z, r):
    """Remove the parent r of z: rotate each of its rows of G to the last place and cut it off."""
    count = family.count
    parents = family.parents
    columns = family.columns
    G = family.G
    R = family.R
    D = G.shape[1]
    i = 0
    last = count[PARENTS] - 1
    while parents[i] != r:
        i += 1
    for j in range(i, last):
        parents[j] = parents[j + 1]
    count[PARENTS] = last
    row = count[COLUMNS] - 1
    while row >= 0:
        if first[r] <= columns[row] < first[r + 1]:
            K = count[COLUMNS] - 1
            for i in range(row, K):
                columns[i] = columns[i + 1]
                cos = G[i, columns[i]]
                sin = G[i + 1, columns[i]]
                length = np.sqrt(cos * cos + sin * sin)
                cos = cos / length
                sin = sin / length
                for j in range(D):
                    x = G[i, j]
                    y = G[i + 1, j]
                    G[i, j] = cos * x + sin * y
                    G[i + 1, j] = cos * y - sin * x
                R[i + 1, i] = 0.0
                for j in range(i + 2):
                    x = R[j, i]
                    y = R[j, i + 1]
                    R[j, i] = cos * x + sin * y
                    R[j, i + 1] = cos * y - sin * x
            for i in range(row, K):
                for j in range(i, K):
                    R[i, j] = R[i + 1, j]
            count[COLUMNS] = K
            _update_covariances(first, family.C, family.V, z, G[K], 1.0)
        row -= 1


@njit()
def ratio_without_parent(first, C, G, R, K, z, row, width):
    """det var(z | P without one parent) / det var(z | P).

    The parent has ``width`` rows of R, from ``row`` on.
    """
    start = first[z]
    q = first[z + 1] - start
    # det(var(z | P) + B' inv(Q) B) with Q = R_r R_r', B = R_r G[:, z], R_r the parent's rows of R
    Q = np.zeros((width, width))
    B = np.zeros((width, q))
    for a in range(width):
        for j in range(row + a, K):
            weight = R[row + a, j]
            for b in range(a + 1):
                Q[a, b] += weight * R[row + b, j]
            B[a] += weight * G[j, start : start + q]
    if _factorise(Q, width) == 0.0:
        return np.inf
    for a in range(width):  # B becomes inv(chol(Q)) B
        for j in range(a):
            B[a] -= Q[a, j] * B[j]
        B[a] /= Q[a, a]
    A = np.empty((q, q))
    for a in range(q):
        A[a] = C[a, start : start + q]
        for j in range(width):
            A[a] += B[j, a] * B[j]
    return _factorise(A, q) / _residual_determinant(first, C, z)


@njit()
def grow_parents(problem, family, z, predecessors):
    """Add the best predecessor as a parent of z until none improves the score; whether any did."""
    S = problem.S
    first = problem.first
    packed = problem.packed
    edges = problem.edges
    keep = problem.keep
    count = family.count
    C = family.C
    V = family.V
    qz = first[z + 1] - first[z]
    single_columns = len(first) - 1 == len(S)
    grown = False
    while True:
        chosen = -1
        if single_columns:
            best = (1.0 - keep[1]) * C[0, z] * MORE  # what var(z | P) must fall by
            for r in predecessors:
                c = C[0, r]
                v = V[r]
                if c * c > best * v and v > TINY and edges[z, r] != FORBIDDEN:
                    best = c * c / v
                    chosen = r
        else:
            best = 1.0 / MORE
            for r in predecessors:
                if edges[z, r] != FORBIDDEN:
                    share = keep[qz * (first[r + 1] - first[r])]
                    ratio = ratio_with_parent(first, packed, C, V, z, r) / share
                    if ratio < best:
                        best = ratio
                        chosen = r
        if chosen < 0 or count[COLUMNS] + first[chosen + 1] - first[chosen] > problem.max_columns:
            return grown
        add_parent(S, first, family, z, chosen)
        grown = True


@njit()
def shrink_parents(problem, family, z):
    """Remove the worst parent of z until no removal improves the score; whether one was removed.

    Required parents stay.
    """
    first = problem.first
    edges = problem.edges
    keep = problem.keep
    count = family.count
    parents = family.parents
    columns = family.columns
    C = family.C
    G = family.G
    R = family.R
    qz = first[z + 1] - first[z]
    single_columns = len(first) - 1 == len(problem.S)
    shrunk = False
    while True:
        chosen = -1
        K = count[COLUMNS]
        if single_columns:
            # var(z | P) may grow by this much; without column i of P it grows by beta² / size
            best = (1.0 / keep[1] - 1.0) * C[0, z] / MORE
            for i in range(K):
                beta = 0.0
                size = 0.0
                for j in range(i, K):
                    weight = R[i, j]
                    beta += weight * G[j, z]
                    size += weight * weight
                if beta * beta < best * size and edges[z, parents[i]] != REQUIRED:
                    best = beta * beta / size
                    chosen = parents[i]
        else:
            best = 1.0 / MORE
            row = 0
            for i in range(count[PARENTS]):
                r = parents[i]
                width = 0
                while row + width < K and first[r] <= columns[row + width] < first[r + 1]:
                    width += 1
                if edges[z, r] != REQUIRED:
                    ratio = 0.0
                    if width:
                        ratio = ratio_without_parent(first, C, G, R, K, z, row, width)
                        ratio *= keep[qz * width]
                    if ratio < best:
                        best = ratio
                        chosen = r
                row += width
        if chosen < 0:
            return shrunk
        remove_parent(first, family, z, chosen)
        shrunk = True


@njit()
def grow_and_shrink(problem, family, z, predecessors):
    """Grow and shrink the parents of z in turn, growing first, until neither helps; the score."""
    grow_parents(problem, family, z, predecessors)
    while shrink_parents(problem, family, z) and grow_parents(problem, family, z, predecessors):
        pass
    return compute_score(problem, family, z)


@njit()
def shrink_and_grow(problem, family, z, predecessors):
    """As `grow_and_shrink`, shrinking first."""
    shrink_parents(problem, family, z)
    while grow_parents(problem, family, z, predecessors) and shrink_parents(problem, family, z):
        pass
    return compute_score(problem, family, z)


@njit()
def update_after_swap(problem, state, earlier, later, loses, gains):
    """Update the parents of two neighbours after a swap; the change of the score.

    ``earlier`` has moved in front of ``later``.

    loses : whether ``earlier`` has ``later`` as a parent, which must go.
    gains : whether ``earlier`` improves ``later`` as a parent.
    """
    change = 0.0
    score = state.score
    if loses:
        family = prepare_change(problem.first, state, earlier)
        t = state.slot[earlier]
        change -= score[t]
        remove_parent(problem.first, family, earlier, later)
        score[t] = grow_and_shrink(problem, family, earlier, get_predecessors(state, earlier))
        change += score[t]
    if gains:
        family = prepare_change(problem.first, state, later)
        t = state.slot[later]
        change -= score[t]
        add_parent(problem.S, problem.first, family, later, earlier)
        score[t] = shrink_and_grow(problem, family, later, get_predecessors(state, later))
        change += score[t]
    return change
