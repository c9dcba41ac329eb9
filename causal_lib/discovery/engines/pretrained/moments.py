"""Features of pairs that are moments: of two variables, or of one and what it leaves of the other.

Where x causes y, the residual of y on its causes is independent of x, and the other way round it is not, unless all is
linear and Gaussian. Functions of both that have no correlation where there is independence tell the two apart.
"""

import numpy as np

FLAT = 1e-3  # a residual of a smaller deviation is rounding: the variable is a function of others


class PairFeatures:
    """Features of the pairs; each with its parities: does its sign change when that of i, of j changes?"""

    def __init__(self, i, j, n):
        self.i, self.j, self.n, self.columns, self.names, self.parity = i, j, n, [], [], []

    def add(self, name, matrix, odd_i, odd_j):
        """One feature: a (d, d) matrix, or a value for each pair."""
        matrix = np.asarray(matrix, dtype=np.float32)
        self.columns.append(matrix[self.i, self.j] if matrix.ndim == 2 else matrix)
        self.names.append(name)
        self.parity.append((odd_i, odd_j))

    def moment(self, name, matrix, odd_i, odd_j):
        """A moment that is of order 1/√n where there is nothing, as it is and on a log scale of standard errors."""
        self.add(name, np.clip(matrix, -3, 3), odd_i, odd_j)
        self.add(
            f"{name}, log",
            np.sign(matrix) * np.log1p(np.sqrt(self.n) * np.abs(matrix)),
            odd_i,
            odd_j,
        )

    def matrix(self):
        """(pairs, features), all finite."""
        return np.nan_to_num(np.column_stack(self.columns), nan=0.0, posinf=10.0, neginf=-10.0)


def rescaled(values):
    """(n, d) float32 of mean 0 and variance 1 in each column, but for one that is hardly more than rounding."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    values = values - values.mean(axis=0)
    return values / np.maximum(values.std(axis=0), FLAT)


def _functions(x):
    """Functions of standardised values, clipped at 4, by (name, odd): centred, of unit variance but for the cube."""
    clipped = np.clip(x, -4, 4)
    made = {("x", 1): x, ("square", 0): clipped**2, ("size", 0): np.abs(clipped), ("tanh", 1): np.tanh(1.5 * clipped),
            ("cube", 1): clipped**3 / 3}  # fmt: skip
    return {key: value - value.mean(axis=0) for key, value in made.items()}


_COMBINED = (
    ("square", "x"), ("x", "square"), ("size", "size"), ("x", "size"), ("size", "x"), ("tanh", "x"), ("x", "tanh"),
    ("cube", "x"), ("x", "cube"), ("square", "square"),
)  # fmt: skip


def cross(out, x):
    """E[f(x_i) g(x_j)] of some functions, and of how much they tell beyond the correlation."""
    made = {name: (odd, value) for (name, odd), value in _functions(x).items()}
    for f, g in (
        ("square", "x"),
        ("x", "square"),
        ("size", "size"),
        ("tanh", "x"),
        ("x", "tanh"),
        ("cube", "x"),
        ("x", "cube"),
    ):
        (odd_f, left), (odd_g, right) = made[f], made[g]
        out.moment(f"cross {f} {g}", left.T @ right / len(x), odd_f, odd_g)
    correlation = x.T @ x / len(x)
    contrast = made["tanh"][1].T @ x / len(x)
    out.moment("tanh contrast", correlation * (contrast.T - contrast), 0, 0)
    cubes = made["cube"][1].T @ x / len(x)
    out.moment("cube contrast", correlation * (cubes - cubes.T), 0, 0)
    squares, skew = made["square"][1].T @ x / len(x), np.tanh((made["square"][1] * x).mean(axis=0))
    out.moment(
        "skew contrast", correlation * (squares * skew[:, None] - squares.T * skew[None, :]), 0, 0
    )


def with_residuals(out, x, residual, name):
    """Moments of each x_i with the residual of each j, (n, d)."""
    e = rescaled(residual)
    left = {key[0]: (key[1], value) for key, value in _functions(x).items()}
    right = {key[0]: (key[1], value) for key, value in _functions(e).items()}
    for f, g in (("x", "x"), *_COMBINED):
        out.moment(f"{name} {f} {g}", left[f][1].T @ right[g][1] / len(x), left[f][0], right[g][0])
    loud = np.log(np.square(e) + 0.03)
    loud = loud - loud.mean(axis=0)
    out.moment(f"{name} x loud", left["x"][1].T @ loud / len(x), 1, 0)


def _each(out, x, residual, name):
    """Moments of x_i with the residual of j on i, (n, pairs)."""
    e = rescaled(residual)
    left = {key[0]: (key[1], value) for key, value in _functions(x).items()}
    right = {key[0]: (key[1], value) for key, value in _functions(e).items()}
    for f, g in _COMBINED:
        out.moment(
            f"{name} {f} {g}",
            np.einsum("np,np->p", left[f][1][:, out.i], right[g][1]) / len(x),
            left[f][0],
            right[g][0],
        )
    return e


def entropy(u):
    """Entropy of standardised columns beside that of a normal one (Hyvärinen 1998), per column."""
    size = np.abs(u)
    cosh = (size + np.log1p(np.exp(-2 * size))).mean(axis=0) - np.log(2)
    bump = (u * np.exp(-0.5 * u * u)).mean(axis=0)
    return -79.047 * (cosh - 0.37457) ** 2 - 7.4129 * bump**2


def lines(out, x):
    """Linear regression within each pair: moments of the residual, and LiNGAM's difference of entropies."""
    correlation = x.T @ x / len(x)
    i, j = out.i, out.j
    e = _each(out, x, x[:, j] - correlation[i, j] * x[:, i], "line")
    alone, left = entropy(x), entropy(e)
    back = _back(i, j)
    out.moment("line entropy", alone[i] + left - alone[j] - left[back], 0, 0)


def _back(i, j):
    """Position of (j, i) among the pairs."""
    width = int(max(i.max(initial=0), j.max(initial=0))) + 1
    place = np.empty((width, width), dtype=int)
    place[i, j] = np.arange(len(i))
    return place[j, i]


def curves(out, x, functions, name):
    """Regression on a curve within each pair, and on a curve of the residual's size (location and scale)."""
    n, d = x.shape
    target = functions.blocks.T @ x / n  # (columns, d)
    fitted = np.empty((n, len(out.i)), dtype=np.float32)
    for k in range(d):
        mine = np.flatnonzero(out.i == k)
        fitted[:, mine] = (
            functions.of(k) @ target[functions.starts[k] : functions.starts[k + 1], out.j[mine]]
        )
    residual = x[:, out.j] - fitted
    share = 1 - residual.var(axis=0)
    correlation = (x.T @ x / n)[out.i, out.j]
    out.moment(f"{name} share", share, 0, 0)
    out.moment(f"{name} share beyond a line", share - correlation**2, 0, 0)
    e = _each(out, x, residual, name)
    back, alone = _back(out.i, out.j), entropy(x)
    whole = alone[out.i] + entropy(e) + 0.5 * np.log(np.maximum(1 - share, 1e-4))
    out.moment(f"{name} entropy", whole - whole[back], 0, 0)
    loud = np.log(np.square(e) + 0.03)
    loud = loud - loud.mean(axis=0)
    volume = np.empty_like(fitted)
    for k in range(d):
        mine, basis = np.flatnonzero(out.i == k), functions.of(k)
        volume[:, mine] = basis @ (basis.T @ loud[:, mine] / n)
    out.moment(f"{name} loudness", volume.std(axis=0), 0, 0)
    scale = np.exp(0.5 * volume)
    u = e / scale
    deviation = np.maximum(u.std(axis=0), 1e-3)
    u = (u - u.mean(axis=0)) / deviation
    whole = (
        alone[out.i]
        + entropy(u)
        + np.log(deviation)
        + 0.5 * volume.mean(axis=0)
        + 0.5 * np.log(np.maximum(1 - share, 1e-4))
    )
    out.moment(f"{name} scaled entropy", whole - whole[back], 0, 0)
