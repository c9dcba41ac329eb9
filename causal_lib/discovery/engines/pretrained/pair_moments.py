"""Moments of pairs of variables, and of one variable with the residual of another, as features.

If x causes y, the residual of y given its causes is independent of x. In the other direction it is
not, unless everything is linear and Gaussian. So functions of both whose correlation is 0 under
independence distinguish the directions.
"""

import numpy as np

FLAT = 1e-3  # a residual with a smaller deviation is rounding: the variable is a function of others


class PairFeatures:
    """The features of pairs (i, j), collected one after the other.

    i, j : (pairs,) the variables of each pair; n : rows of the table, which give the standard error
        of a moment.
    columns, names : of the features so far.
    parity : for each, whether it changes sign when i does, and when j does.
    """

    def __init__(self, i, j, n):
        self.i = i
        self.j = j
        self.n = n
        self.columns = []
        self.names = []
        self.parity = []

    def add(self, name, matrix, odd_i, odd_j):
        """Add one feature: a (d, d) matrix, or a (pairs,) vector."""
        matrix = np.asarray(matrix, dtype=np.float32)
        self.columns.append(matrix[self.i, self.j] if matrix.ndim == 2 else matrix)
        self.names.append(name)
        self.parity.append((odd_i, odd_j))

    def moment(self, name, matrix, odd_i, odd_j):
        """Add a moment with standard error of order 1/√n: as it is, and as log standard errors."""
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
    """(n, d) float32, each column with mean 0 and variance 1, less if it deviates below `FLAT`."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    values = values - values.mean(axis=0)
    return values / np.maximum(values.std(axis=0), FLAT)


def _functions(x):
    """(name, whether odd) -> (n, d), a centred function of standardised values clipped at ±4."""
    clipped = np.clip(x, -4, 4)
    made = {
        ("x", 1): x,
        ("square", 0): clipped**2,
        ("size", 0): np.abs(clipped),
        ("tanh", 1): np.tanh(1.5 * clipped),
        ("cube", 1): clipped**3 / 3,
    }
    return {key: value - value.mean(axis=0) for key, value in made.items()}


_COMBINED = (
    ("square", "x"),
    ("x", "square"),
    ("size", "size"),
    ("x", "size"),
    ("size", "x"),
    ("tanh", "x"),
    ("x", "tanh"),
    ("cube", "x"),
    ("x", "cube"),
    ("square", "square"),
)


def cross(out, x):
    """Add E[f(x_i) g(x_j)] for some f and g, and contrasts of directions times correlation."""
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
        (odd_f, left) = made[f]
        (odd_g, right) = made[g]
        out.moment(f"cross {f} {g}", left.T @ right / len(x), odd_f, odd_g)
    correlation = x.T @ x / len(x)
    contrast = made["tanh"][1].T @ x / len(x)
    out.moment("tanh contrast", correlation * (contrast.T - contrast), 0, 0)
    cubes = made["cube"][1].T @ x / len(x)
    out.moment("cube contrast", correlation * (cubes - cubes.T), 0, 0)
    squares = made["square"][1].T @ x / len(x)
    skew = np.tanh((made["square"][1] * x).mean(axis=0))
    out.moment(
        "skew contrast", correlation * (squares * skew[:, None] - squares.T * skew[None, :]), 0, 0
    )


def with_residuals(out, x, residual, name):
    """Add moments of each x_i with the (n, d) residual of each j."""
    e = rescaled(residual)
    left = {key[0]: (key[1], value) for key, value in _functions(x).items()}
    right = {key[0]: (key[1], value) for key, value in _functions(e).items()}
    for f, g in (("x", "x"), *_COMBINED):
        out.moment(f"{name} {f} {g}", left[f][1].T @ right[g][1] / len(x), left[f][0], right[g][0])
    log_square = np.log(np.square(e) + 0.03)  # its regression on x_i is heteroscedasticity
    log_square = log_square - log_square.mean(axis=0)
    out.moment(f"{name} x loud", left["x"][1].T @ log_square / len(x), 1, 0)


def _add_pairwise_moments(out, x, residual, name):
    """Add moments of x_i with the (n, pairs) residual of j on i; the rescaled residual."""
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
    """(d,) approximate entropy of standardised columns less that of a normal variable.

    Source: Hyvärinen, New approximations of differential entropy, NIPS 1997.
    """
    size = np.abs(u)
    cosh = (size + np.log1p(np.exp(-2 * size))).mean(axis=0) - np.log(2)
    bump = (u * np.exp(-0.5 * u * u)).mean(axis=0)
    return -79.047 * (cosh - 0.37457) ** 2 - 7.4129 * bump**2


def lines(out, x):
    """Add features of the linear regression within each pair.

    They are moments of the residual and the difference of entropies of pairwise LiNGAM.

    The difference is H(x_i) + H(residual of j on i) - H(x_j) - H(residual of i on j), below 0 if i
    causes j.
    """
    correlation = x.T @ x / len(x)
    i = out.i
    j = out.j
    e = _add_pairwise_moments(out, x, x[:, j] - correlation[i, j] * x[:, i], "line")
    alone = entropy(x)
    left = entropy(e)
    reverse = reverse_pairs(i, j)
    out.moment("line entropy", alone[i] + left - alone[j] - left[reverse], 0, 0)


def reverse_pairs(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(pairs,) the position of (j, i) for each pair (i, j); both directions must be there.

    >>> reverse_pairs(np.array([0, 2, 1, 0]), np.array([1, 0, 0, 2]))
    array([2, 3, 0, 1])
    """
    size = int(max(i.max(initial=0), j.max(initial=0))) + 1
    forward = i * size + j
    order = np.argsort(forward)
    return order[np.searchsorted(forward, j * size + i, sorter=order)]


def curves(out, x, functions, name):
    """Add features of the homo- and heteroscedastic regression of j on a curve of i.

    The scale is exp(volume / 2), where volume is the regression of the log squared residual on the
    curve's basis.
    """
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
    e = _add_pairwise_moments(out, x, residual, name)
    reverse = reverse_pairs(out.i, out.j)
    alone = entropy(x)
    whole = alone[out.i] + entropy(e) + 0.5 * np.log(np.maximum(1 - share, 1e-4))
    out.moment(f"{name} entropy", whole - whole[reverse], 0, 0)
    log_square = np.log(np.square(e) + 0.03)  # its regression on x_i is heteroscedasticity
    log_square = log_square - log_square.mean(axis=0)
    volume = np.empty_like(fitted)
    for k in range(d):
        mine = np.flatnonzero(out.i == k)
        basis = functions.of(k)
        volume[:, mine] = basis @ (basis.T @ log_square[:, mine] / n)
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
    out.moment(f"{name} scaled entropy", whole - whole[reverse], 0, 0)
