"""The parents of each variable among its predecessors in an order, kept as the order changes: the kernel of `order_search`.

For a variable z with parents P, whose columns are the K rows of G = inv(L) S[P, :], L L' = S[P, P]:

- C = cov(z, all | P) and V = var(each | P) are at hand, so "does r improve z" is c²/v > (1 - n^(-penalty/n)) var(z | P);
- a parent that comes adds a row to G; one that goes is rotated (Givens) to the last row, which is cut off;
- R = inv(L') follows the same steps, so that each parent's t-value costs one short sum when parents are to shrink.
"""

from typing import NamedTuple

import numpy as np

from causal_lib.discovery.compiled import njit

TINY = 1e-9  # a column with less of its variance left, given the parents, is their function: never a parent
MORE = (
    1 + 1e-9
)  # an improvement is more than rounding, so that adding and removing never alternate for ever


class Problem(NamedTuple):
    """What the search is told. Few arrays, since numba passes every field of every array with every call."""

    S: np.ndarray  # (D, D) correlations of the columns
    first: np.ndarray  # (d + 1,) first column of each variable
    packed: np.ndarray  # (d + 1,) first entry of each variable's block in V
    may: np.ndarray  # (3, d, d) bool: ALLOWED [z, r], r may be a parent of z; REQUIRED, it is; BEFORE [a, b], in order
    n: float  # rows
    price: float  # of a parameter, in units of the score: penalty · ln n
    keep: np.ndarray  # [m] = exp(-price · m / n): a parent of m parameters must cut det var(z | P) to less than this
    tolerance: float  # differences of the score that count as none
    max_rows: int  # columns of all parents of a variable, at most
    start_V: int  # where V, G, R and the score start in a row of State.f
    start_G: int
    start_R: int
    score: int


class State(NamedTuple):
    """Every variable's parents and what follows from them.

    A variable z has three slots 3z, 3z + 1, 3z + 2: one in use, one of the best order so far, one to change, so that
    neither a step back nor a return to the best order copies a number.
    """

    # v (7, d): ORDER first to last; per variable POSITION in it, SLOT in use, BEST slot, PAST slot (before the walk that
    # goes on), MARKED (changed in that walk), DIRTY (to be moved again)
    v: np.ndarray
    # w (3d, _): number of parents, number K of their columns, the parents as they came, their columns
    w: np.ndarray
    # f (3d, _): C (q, D), covariances of the variable's own columns with all, given P; V, those inside each variable's
    # block, given P, lower triangles packed; G (max_rows, D), K rows in use; R (max_rows, max_rows), upper triangular; the score
    f: np.ndarray


ALLOWED, REQUIRED, BEFORE = range(3)
ORDER, POSITION, SLOT, BEST, PAST, MARKED, DIRTY = range(7)
PARENTS, ROWS = range(2)


@njit()
def new_state(p):
    """Memory for the state of all variables, not yet filled (`clear`)."""
    d, width = len(p.first) - 1, 2 + 2 * p.max_rows
    s = State(
        np.zeros((7, d), np.int64),
        np.zeros((3 * d, width), np.int64),
        np.empty((3 * d, p.score + 1)),
    )
    s.v[SLOT] = s.v[BEST] = 3 * np.arange(d)
    s.v[DIRTY] = 1
    return s


@njit()
def clear(p, s, z):
    """No parents."""
    t, D = s.v[SLOT, z], len(p.S)
    f, s.w[t, :2] = s.f[t], 0
    for a in range(p.first[z + 1] - p.first[z]):
        for j in range(D):
            f[a * D + j] = p.S[p.first[z] + a, j]
    e = p.start_V
    for r in range(len(s.v[0])):
        for a in range(p.first[r], p.first[r + 1]):
            for b in range(p.first[r], a + 1):
                f[e] = p.S[a, b]
                e += 1


@njit()
def touch(p, s, z):
    """z is about to change in the walk that goes on: from now on in a free slot, so that the old one can come back."""
    if s.v[MARKED, z]:
        return
    old = s.v[SLOT, z]
    new = 3 * z
    while new == old or new == s.v[BEST, z]:
        new += 1
    source, target, k = s.f[old], s.f[new], s.w[old, ROWS]
    for i in range(2 + s.w[old, PARENTS]):
        s.w[new, i] = s.w[old, i]
    for i in range(2 + p.max_rows, 2 + p.max_rows + k):
        s.w[new, i] = s.w[old, i]
    for i in range(p.start_G + k * len(p.S)):
        target[i] = source[i]
    for i in range(k):
        for j in range(p.start_R + i * p.max_rows + i, p.start_R + i * p.max_rows + k):
            target[j] = source[j]
    target[p.score] = source[p.score]
    s.v[PAST, z], s.v[SLOT, z], s.v[MARKED, z] = old, new, 1


@njit()
def _det(A, q):
    """Determinant of a symmetric positive matrix from its lower triangle (q, q), which is overwritten; 0 if singular."""
    det = 1.0
    for j in range(q):
        for k in range(j):
            A[j, j] -= A[j, k] * A[j, k]
        if A[j, j] <= 1e-14:
            return 0.0
        det *= A[j, j]
        A[j, j] = np.sqrt(A[j, j])
        for i in range(j + 1, q):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
    return det


@njit()
def _det_given(p, s, z):
    """det var(z | P)."""
    f, jz, D = s.f[s.v[SLOT, z]], p.first[z], len(p.S)
    q = p.first[z + 1] - jz
    if q == 1:
        return f[jz]
    A = np.empty((q, q))
    for a in range(q):
        A[a] = f[a * D + jz : a * D + jz + q]
    return _det(A, q)


@njit()
def set_score(p, s, z):
    """Note the score of z with its parents."""
    t, q = s.v[SLOT, z], p.first[z + 1] - p.first[z]
    s.f[t, p.score] = p.n * np.log(max(_det_given(p, s, z), 1e-300)) + p.price * q * s.w[t, ROWS]


@njit()
def _ratio_added(p, s, z, r):
    """det var(z | P, r) / det var(z | P); 1 where r adds nothing because it is a function of P."""
    f, D, jz, jr = s.f[s.v[SLOT, z]], len(p.S), p.first[z], p.first[r]
    qz, qr = p.first[z + 1] - jz, p.first[r + 1] - jr
    e = p.start_V + p.packed[r]
    if qz == 1 and qr == 1:
        return 1.0 - f[jr] * f[jr] / (f[e] * f[jz]) if f[e] > TINY else 1.0
    # det var(z, r | P) / (det var(r | P) det var(z | P)), by one Cholesky with r first
    A = np.empty((qr + qz, qr + qz))
    for a in range(qr):
        for b in range(a + 1):
            A[a, b] = f[e]
            e += 1
        if A[a, a] < TINY:
            return 1.0
    for a in range(qz):
        A[qr + a, :qr] = f[a * D + jr : a * D + jr + qr]
        A[qr + a, qr:] = f[a * D + jz : a * D + jz + qz]
    if _det(A, qr + qz) == 0.0:
        return 1.0
    det = 1.0
    for a in range(qz):
        det *= A[qr + a, qr + a] * A[qr + a, qr + a]
    return det / _det_given(p, s, z)


@njit()
def add(p, s, z, r):
    """r becomes a parent of z: a row for each of its columns."""
    t, D = s.v[SLOT, z], len(p.S)
    f, m = s.f[t], p.max_rows
    for column in range(p.first[r], p.first[r + 1]):
        k = s.w[t, ROWS]
        g = f[p.start_G + k * D : p.start_G + (k + 1) * D]
        for j in range(D):
            g[j] = p.S[column, j]
        for i in range(k):
            row = f[p.start_G + i * D : p.start_G + (i + 1) * D]
            w = row[column]
            for j in range(D):
                g[j] -= w * row[j]
        if g[column] < TINY:  # inside a block only: this column is a function of what is there
            continue
        scale = 1 / np.sqrt(g[column])
        for j in range(D):
            g[j] *= scale
        for i in range(k):
            total = 0.0
            for j in range(i, k):
                total += f[p.start_R + i * m + j] * f[p.start_G + j * D + column]
            f[p.start_R + i * m + k] = -total * scale
        f[p.start_R + k * m + k] = scale
        s.w[t, 2 + p.max_rows + k] = column
        s.w[t, ROWS] = k + 1
        _shift(p, f, g, p.first[z], p.first[z + 1], -1.0)
    s.w[t, 2 + s.w[t, PARENTS]] = r
    s.w[t, PARENTS] += 1


@njit()
def _shift(p, f, g, first, end, sign):
    """C and V after the direction g came (sign -1) or went (1)."""
    D, d = len(g), len(p.first) - 1
    for a in range(end - first):
        w, row = sign * g[first + a], f[a * D : (a + 1) * D]
        for j in range(D):
            row[j] += w * g[j]
    if d == D:  # every block is one column
        v = f[p.start_V : p.start_V + D]
        for j in range(D):
            v[j] += sign * g[j] * g[j]
        return
    e = p.start_V
    for r in range(d):
        for a in range(p.first[r], p.first[r + 1]):
            for b in range(p.first[r], a + 1):
                f[e] += sign * g[a] * g[b]
                e += 1


@njit()
def _remove(p, s, z, r):
    t, D, m = s.v[SLOT, z], len(p.S), p.max_rows
    f, parents, columns = s.f[t], s.w[t, 2 : 2 + m], s.w[t, 2 + m :]
    i, last = 0, s.w[t, PARENTS] - 1
    while parents[i] != r:
        i += 1
    for j in range(i, last):
        parents[j] = parents[j + 1]
    s.w[t, PARENTS] = last
    row = s.w[t, ROWS] - 1
    while row >= 0:
        if p.first[r] <= columns[row] < p.first[r + 1]:
            k = s.w[t, ROWS] - 1
            for i in range(row, k):  # rotate the row that leaves down to the last place
                columns[i] = columns[i + 1]
                upper = f[p.start_G + i * D : p.start_G + (i + 1) * D]
                lower = f[p.start_G + (i + 1) * D : p.start_G + (i + 2) * D]
                a, b = upper[columns[i]], lower[columns[i]]
                length = np.sqrt(a * a + b * b)
                a, b = a / length, b / length
                for j in range(D):
                    x, y = upper[j], lower[j]
                    upper[j] = a * x + b * y
                    lower[j] = a * y - b * x
                f[p.start_R + (i + 1) * m + i] = 0.0
                for j in range(i + 2):
                    e = p.start_R + j * m + i
                    x, y = f[e], f[e + 1]
                    f[e] = a * x + b * y
                    f[e + 1] = a * y - b * x
            for i in range(row, k):
                for j in range(i, k):
                    f[p.start_R + i * m + j] = f[p.start_R + (i + 1) * m + j]
            s.w[t, ROWS] = k
            _shift(
                p,
                f,
                f[p.start_G + k * D : p.start_G + (k + 1) * D],
                p.first[z],
                p.first[z + 1],
                1.0,
            )
        row -= 1


@njit()
def _ratio_removed(p, s, z, first, width):
    """det var(z | P without the parent whose rows of R start at ``first``) / det var(z | P)."""
    t, D, jz = s.v[SLOT, z], len(p.S), p.first[z]
    f, k, qz = s.f[t], s.w[t, ROWS], p.first[z + 1] - jz
    # det(var(z | P) + B' inv(Q) B) with B = R_t G_z, Q = R_t R_t'
    Q, B = np.zeros((width, width)), np.zeros((width, qz))
    for a in range(width):
        for j in range(first + a, k):
            w = f[p.start_R + (first + a) * p.max_rows + j]
            for b in range(a + 1):
                Q[a, b] += w * f[p.start_R + (first + b) * p.max_rows + j]
            B[a] += w * f[p.start_G + j * D + jz : p.start_G + j * D + jz + qz]
    if _det(Q, width) == 0.0:
        return np.inf
    for a in range(width):  # B <- inv(chol(Q)) B
        for j in range(a):
            B[a] -= Q[a, j] * B[j]
        B[a] /= Q[a, a]
    A = np.empty((qz, qz))
    for a in range(qz):
        A[a] = f[a * D + jz : a * D + jz + qz]
        for j in range(width):
            A[a] += B[j, a] * B[j]
    return _det(A, qz) / _det_given(p, s, z)


@njit()
def _grow(p, s, z):
    """Add the best predecessor until none improves the score; whether one did."""
    t, D, jz = s.v[SLOT, z], len(p.S), p.first[z]
    qz = p.first[z + 1] - jz
    f, grown = s.f[t], False
    while True:
        which = -1
        if len(s.v[0]) == D:
            best = (1.0 - p.keep[1]) * f[jz] * MORE
            for i in range(s.v[POSITION, z]):
                r = s.v[ORDER, i]
                c, v = f[r], f[D + r]
                if c * c > best * v and v > TINY and p.may[ALLOWED, z, r]:
                    best, which = c * c / v, r
        else:
            best = 1.0 / MORE
            for i in range(s.v[POSITION, z]):
                r = s.v[ORDER, i]
                if p.may[ALLOWED, z, r]:
                    ratio = _ratio_added(p, s, z, r) / p.keep[qz * (p.first[r + 1] - p.first[r])]
                    if ratio < best:
                        best, which = ratio, r
        if which < 0 or s.w[t, ROWS] + p.first[which + 1] - p.first[which] > p.max_rows:
            return grown
        add(p, s, z, which)
        grown = True


@njit()
def shrink(p, s, z):
    """Remove the worst parent until none improves the score by going; required ones stay. Whether one went."""
    t, D, m, jz = s.v[SLOT, z], len(p.S), p.max_rows, p.first[z]
    f, qz, shrunk = s.f[t], p.first[z + 1] - jz, False
    while True:
        which, k = -1, s.w[t, ROWS]
        if len(s.v[0]) == D:
            best = (
                (1.0 / p.keep[1] - 1.0) * f[jz] / MORE
            )  # what var(z | P) grows by may be beta² / size
            for i in range(k):
                beta, size = 0.0, 0.0
                for j in range(i, k):
                    w = f[p.start_R + i * m + j]
                    beta += w * f[p.start_G + j * D + jz]
                    size += w * w
                if beta * beta < best * size and not p.may[REQUIRED, z, s.w[t, 2 + i]]:
                    best, which = beta * beta / size, s.w[t, 2 + i]
        else:
            best, row = 1.0 / MORE, 0
            for i in range(s.w[t, PARENTS]):
                r, width = s.w[t, 2 + i], 0
                while (
                    row + width < k and p.first[r] <= s.w[t, 2 + m + row + width] < p.first[r + 1]
                ):
                    width += 1
                if not p.may[REQUIRED, z, r]:
                    ratio = (
                        _ratio_removed(p, s, z, row, width) * p.keep[qz * width] if width else 0.0
                    )
                    if ratio < best:
                        best, which = ratio, r
                row += width
        if which < 0:
            return shrunk
        _remove(p, s, z, which)
        shrunk = True


@njit()
def settle(p, s, z):
    """Grow and shrink to the end, after a parent went."""
    _grow(p, s, z)
    while shrink(p, s, z) and _grow(p, s, z):
        pass
    set_score(p, s, z)


@njit()
def exchange(p, s, loser, gainer):
    """``loser`` has come to stand before ``gainer``, which it stood behind: what the score changes.

    It may not have ``gainer`` as a parent any longer; ``gainer`` may now have it.
    """
    change = 0.0
    t = s.v[SLOT, loser]
    for i in range(s.w[t, PARENTS]):
        if s.w[t, 2 + i] == gainer:
            touch(p, s, loser)
            t = s.v[SLOT, loser]
            change -= s.f[t, p.score]
            _remove(p, s, loser, gainer)
            settle(p, s, loser)
            change += s.f[t, p.score]
            break
    t, D, z, r = s.v[SLOT, gainer], len(p.S), gainer, loser
    qr = p.first[r + 1] - p.first[r]
    if not p.may[ALLOWED, z, r] or s.w[t, ROWS] + qr > p.max_rows:
        return change
    if len(s.v[0]) == D:
        c, v = s.f[t, r], s.f[t, D + r]
        if v <= TINY or c * c <= (1.0 - p.keep[1]) * v * s.f[t, z] * MORE:
            return change
    elif _ratio_added(p, s, z, r) * MORE >= p.keep[(p.first[z + 1] - p.first[z]) * qr]:
        return change
    touch(p, s, z)
    t = s.v[SLOT, z]
    change -= s.f[t, p.score]
    add(p, s, z, r)
    shrink(p, s, z)
    while _grow(p, s, z) and shrink(p, s, z):
        pass
    set_score(p, s, z)
    return change + s.f[t, p.score]
