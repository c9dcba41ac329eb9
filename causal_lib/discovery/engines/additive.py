"""Additive models: each variable is a sum of curves of its causes, found greedily as in CAM.

    x_j = Σ_{i in parents(j)} f_ij(x_i) + noise

The greedy search adds the edge with the largest gain in log-likelihood until no gain exceeds its
BIC price. A curve is a regression on a few functions of one variable (`bases`): a piecewise linear
function with knots at quantiles, or one step for each level. All regressions are solved from the
Gram matrix of all functions of all variables; a chosen parent is swept out of it.

Source: Bühlmann, Peters and Ernest 2014, arXiv 1310.1533. Their separate pruning is replaced by the
BIC price.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from causal_lib.discovery.compiled import njit

RIDGE = 0.003
_KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
_FEW = 6  # a number of at most so many values is treated by its levels
_LEVELS = 12
_MOST = 12  # largest number of parents whose curves `residuals` fits together


@dataclass(frozen=True)
class Bases:
    """Functions of d variables.

    blocks : (n, columns) float32, orthonormal within each variable: mean 0, mean square 1.
    starts : (d + 1,) first column of each variable.
    """

    blocks: np.ndarray
    starts: np.ndarray

    def of(self, k: int) -> np.ndarray:
        """(n, columns) of variable ``k``."""
        return self.blocks[:, self.starts[k] : self.starts[k + 1]]

    def gram(self) -> np.ndarray:
        """(columns, columns) mean products."""
        return (self.blocks.T @ self.blocks / len(self.blocks)).astype(float)

    def products(self, x: np.ndarray) -> np.ndarray:
        """(columns, d) mean products with ``x``."""
        return (self.blocks.T @ x / len(x)).astype(float)


def bases(x: np.ndarray, by_levels: np.ndarray) -> Bases:
    """Functions of the standardised columns of ``x`` (n, d).

    One step for each level where ``by_levels`` (d,) is true or a column has at most `_FEW` values.
    """
    parts = []
    for k in range(x.shape[1]):
        column = x[:, k].astype(float)
        levels = np.unique(column)
        if len(levels) <= _FEW or by_levels[k]:
            steps = (column[:, None] == levels[None, :_LEVELS]).astype(float)
            raw = np.column_stack([column, steps[:, 1:-1]]) if len(levels) > 2 else column[:, None]
        else:
            knots = np.unique(np.quantile(column, _KNOTS))
            raw = np.column_stack([column, np.maximum(column[:, None] - knots, 0)])
        q, r = np.linalg.qr(raw - raw.mean(axis=0))
        keep = np.abs(np.diagonal(r)) > 1e-3 * np.abs(r[0, 0])
        parts.append(q[:, keep] * np.sqrt(len(x)))
    starts = np.concatenate([[0], np.cumsum([part.shape[1] for part in parts])])
    return Bases(np.concatenate(parts, axis=1).astype(np.float32), starts)


def residuals(x: np.ndarray, functions: Bases, parents: np.ndarray) -> np.ndarray:
    """(n, d) residuals of each column of ``x`` given the curves of its ``parents`` (d, d).

    Of more than `_MOST` parents only the strongest are used.
    """
    residual = x.copy()
    gram = functions.gram()
    target = functions.products(x)
    starts = functions.starts
    for j in range(x.shape[1]):
        chosen = np.flatnonzero(parents[:, j])
        if len(chosen) > _MOST:
            strength = [np.square(target[starts[k] : starts[k + 1], j]).sum() for k in chosen]
            chosen = np.sort(chosen[np.argsort(strength)[::-1][:_MOST]])
        if len(chosen):
            columns = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in chosen])
            block = gram[np.ix_(columns, columns)] + RIDGE * np.eye(len(columns))
            weights = cho_solve(cho_factor(block), target[columns, j])
            residual[:, j] -= functions.blocks[:, columns] @ weights.astype(x.dtype)
    return residual


def search(
    x: np.ndarray,
    functions: Bases,
    allowed: np.ndarray,
    required: np.ndarray,
    penalty: float = 2.0,
    rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Parents of every variable in the greedy additive model.

    Parameters
    ----------
    x : (n, d) standardised columns; ``functions`` of them.
    allowed, required : (d, d) bool, [i, j]: whether i → j may be an edge, and whether it must.
    penalty : of one parameter, in ln(rows).
    rows : the number for the penalty; None for n. More than n if x is a sample of a larger table.

    Returns
    -------
    parents : (d, d) bool, [i, j]: i is a parent of j; a DAG.
    gain : (d, d), the gain of each edge alone in log-variance, minus its price.
    score : Σ rows · ln variance + penalty · ln rows · parameters.
    """
    rows = rows or len(x)
    price = penalty * np.log(rows) / rows
    gain, parents, variance = _grow(
        functions.gram(), functions.products(x), functions.starts, allowed, required, price
    )
    widths = np.diff(functions.starts)
    return (
        parents,
        gain,
        float(rows * (np.log(variance).sum() + price * (parents * widths[:, None]).sum())),
    )


@njit()
def _grow(gram, target, starts, allowed, required, price):
    """The gain of each edge alone, the parents and the residual variances.

    The edge with the largest gain is added first; an edge that would close a cycle is skipped.
    """
    d = len(starts) - 1
    columns = len(gram)
    # Gram matrix of the bases given the parents of each variable
    part = np.empty((d, columns, columns))
    left = np.empty((d, columns))  # their covariance with it
    variance = np.ones(d)
    gain = np.full((d, d), -np.inf)
    first = np.zeros((d, d))
    parents = np.zeros((d, d), np.bool_)
    reach = np.eye(d) > 0
    stale = np.ones((d, d), np.bool_)
    for j in range(d):
        part[j] = gram
        left[j] = target[:, j]
    count = 0
    while count < 6 * d:
        best = -np.inf
        bi = -1
        bj = -1
        for j in range(d):
            for i in range(d):
                if i == j or parents[i, j] or not allowed[i, j] or reach[j, i]:
                    continue
                if stale[i, j]:
                    a = starts[i]
                    b = starts[i + 1]
                    block = part[j, a:b, a:b].copy()
                    for k in range(b - a):
                        block[k, k] += RIDGE
                    solved = np.linalg.solve(block, left[j, a:b])
                    explained = 0.0
                    for k in range(b - a):
                        explained += solved[k] * left[j, a + k]
                    ratio = min(max(explained / variance[j], 0.0), 0.9999)
                    gain[i, j] = -np.log(1 - ratio) - price * (b - a)
                    stale[i, j] = False
                    if count == 0:
                        first[i, j] = gain[i, j]
                value = gain[i, j] + (1e6 if required[i, j] else 0.0)
                if value > best:
                    best = value
                    bi = i
                    bj = j
        if best <= 0:
            break
        a = starts[bi]
        b = starts[bi + 1]
        block = part[bj, a:b, a:b].copy()
        for k in range(b - a):
            block[k, k] += RIDGE
        rows = part[bj, a:b].copy()
        solved = np.linalg.solve(block, rows)
        weights = np.linalg.solve(block, left[bj, a:b].copy())
        variance[bj] = max(variance[bj] - (weights * left[bj, a:b]).sum(), 1e-4)
        left[bj] = left[bj] - rows.T @ weights
        part[bj] = part[bj] - rows.T @ solved
        parents[bi, bj] = True
        for u in range(d):
            if reach[u, bi]:
                for v in range(d):
                    if reach[bj, v]:
                        reach[u, v] = True
        stale[:, bj] = True
        count += 1
    return first, parents, variance
