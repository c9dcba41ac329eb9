"""Least squares that units cannot disturb: columns centred and scaled, QR with the rank told."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.optimize import nnls

_RANK = 1e-10  # of the largest diagonal entry of R: below it a column says nothing new


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """Least squares of y on a constant and columns.

    Attributes
    ----------
    coefficients : (k,) of the columns, in their units; 0 of columns that say nothing new.
    fitted, left : (n,) what the columns say of y, and what they leave.
    leverage : (n,) of each row, in [0, 1].
    rank : columns that say something new, the constant among them.
    """

    coefficients: np.ndarray
    fitted: np.ndarray
    left: np.ndarray
    leverage: np.ndarray
    rank: int
    _unscaled: np.ndarray
    _basis: np.ndarray
    _solver: np.ndarray
    _constant: float
    _centre: np.ndarray

    @classmethod
    def of(
        cls,
        columns: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None = None,
        within: np.ndarray | None = None,
    ) -> "LeastSquares":
        """Of ``y`` (n,) on a constant and ``columns`` (n, k), rows weighted by ``weights`` (n,).

        ``within``: (n,) codes of a category, for a constant for each of its levels. Deviations from
        the means of the levels give the same coefficients, in memory that does not grow with the
        levels. Source: Frisch and Waugh 1933.
        """
        if within is not None:
            return cls._within(columns, y, weights, within)
        n, k = columns.shape
        root = np.ones(n) if weights is None else np.sqrt(weights)
        centre = np.average(columns, axis=0, weights=weights) if k else np.zeros(0)
        moved = columns - centre
        unit = np.sqrt(np.average(moved**2, axis=0, weights=weights)) if k else np.zeros(0)
        # what rounding leaves of a constant of large numbers is no column
        live = unit > 1e-13 * np.abs(centre)
        scaled = np.where(live, moved / np.where(live, unit, 1.0), 0.0)
        wide = np.column_stack([np.ones(n), scaled]) * root[:, None]
        basis, upper, order = qr(wide, mode="economic", pivoting=True)
        ends = np.abs(np.diag(upper))
        rank = int((ends > _RANK * ends[0]).sum())
        basis = basis[:, :rank]
        solver = np.zeros((k + 1, rank))
        solver[order[:rank]] = solve_triangular(upper[:rank, :rank], np.eye(rank))
        level = np.average(y, weights=weights)
        found = solver @ (basis.T @ ((y - level) * root))
        fitted = level + np.column_stack([np.ones(n), scaled]) @ found
        unscaled = np.append(1.0, np.where(live, 1 / np.where(live, unit, 1.0), 0.0))
        coefficients = found[1:] * unscaled[1:]
        constant = level + found[0] - coefficients @ centre
        leverage = (basis**2).sum(axis=1)
        return cls(
            coefficients,
            fitted,
            y - fitted,
            leverage,
            rank,
            unscaled,
            basis * root[:, None],
            solver,
            float(constant),
            centre,
        )

    @classmethod
    def _within(cls, columns, y, weights, codes):
        own = np.ones(len(y)) if weights is None else weights
        codes = np.unique(codes, return_inverse=True)[1]
        of_level = np.bincount(codes, own)

        def deviations(values):
            sums = np.bincount(codes, own * values)
            means = np.divide(sums, of_level, out=np.zeros(len(sums)), where=of_level > 0)
            moved = values - means[codes]
            # what rounding leaves of a constant within levels is nothing
            return np.where(np.abs(moved) > 1e-13 * np.abs(values).max(initial=0.0), moved, 0.0)

        parts = [deviations(column) for column in columns.T]
        table = np.column_stack(parts) if parts else np.zeros((len(y), 0))
        line = cls.of(table, deviations(y), weights)
        shares = np.divide(own, of_level[codes], out=np.zeros(len(y)), where=own > 0)
        return replace(
            line,
            fitted=y - line.left,
            leverage=line.leverage - own / own.sum() + shares,
            rank=line.rank - 1 + int((of_level > 0).sum()),
        )

    def predict(self, columns: np.ndarray) -> np.ndarray:
        """(m,) what the line says at ``columns`` (m, k)."""
        return self._constant + columns @ self.coefficients

    def direction(self, column: int) -> np.ndarray:
        """(n,) d such that the coefficient of ``column`` is d @ y."""
        return self._basis @ (self._solver[column + 1] * self._unscaled[column + 1])

    def representer(self, column: int) -> np.ndarray:
        """(k,) coefficients, in the columns, of n d / weights, where d is `direction`."""
        found = self._solver[1:] @ (self._solver[column + 1] * self._unscaled[column + 1])
        return len(self.left) * found * self._unscaled[1:]

    def prediction(self, row: np.ndarray) -> np.ndarray:
        """(n,) d such that what the line says at ``row`` (k,) is d @ y."""
        scaled = np.append(1.0, (row - self._centre) * self._unscaled[1:])
        return self._basis @ (scaled @ self._solver)

    @property
    def all_coefficients(self) -> np.ndarray:
        """(k + 1,) the constant, then `coefficients`."""
        return np.append(self._constant, self.coefficients)

    @property
    def influences(self) -> np.ndarray:
        """(n, k + 1) influence of each row on each of `all_coefficients`, by `spread`."""
        of_scaled = self._basis @ self._solver.T
        found = of_scaled * self._unscaled
        found[:, 0] -= found[:, 1:] @ self._centre
        return len(self.left) * found * self.spread[:, None]

    def influence(self, column: int) -> np.ndarray:
        """(n,) influence of each row on the coefficient of ``column``, by `spread`."""
        return len(self.left) * self.direction(column) * self.spread

    @property
    def spread(self) -> np.ndarray:
        """(n,) what is left of y, divided by the root of 1 - leverage.

        Residuals are too small where few rows decide the fit. Source: MacKinnon and White 1985
        (HC2).
        """
        return self.left / np.sqrt(np.maximum(1 - self.leverage, 1e-6))


def residuals(columns: np.ndarray, values: np.ndarray, *of: np.ndarray | None) -> np.ndarray:
    """(n,) what a constant and ``columns`` (n, k) leave of ``values`` (n,); see `LeastSquares.of`
    for the rest.
    """
    return LeastSquares.of(columns, values, *of).left


def stack_weights(predictions: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(k,) weights w ≥ 0, Σw ≤ 1, that minimise |score - predictions w|².

    ``predictions`` (n, k) and ``score`` (n,) are centred. With a column of zeros for what is left
    of 1, weights sum to 1: the point of a convex hull that is nearest to the scores. Those weights
    are proportional to the u ≥ 0 that minimise |Σ u_k (prediction_k - score)|² + (Σ u_k - 1)².
    """
    size = np.sqrt(score @ score)
    if size == 0:
        return np.zeros(predictions.shape[1])
    distances = np.column_stack([-score, predictions - score[:, None]]) / size
    # the triangular factor has the same inner products as the n rows
    rows = np.vstack([np.linalg.qr(distances, mode="r"), np.ones(distances.shape[1])])
    found = nnls(rows, np.append(np.zeros(len(rows) - 1), 1.0))[0]
    return found[1:] / found.sum()
