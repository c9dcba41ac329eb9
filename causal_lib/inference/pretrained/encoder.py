"""Columns as the candidates see them: standardised, with products, as waves, as codes.

Everything is the same in another unit of a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from causal_lib.inference.pretrained.roles import PURPOSES, columns_for

_WAVES = 100
_BINS = 63
_FURTHEST = 4.0  # deviations at which a standardised column is cut
_PRODUCTS_OF = 8  # columns of which all products of two are terms


@dataclass(frozen=True, eq=False)
class Encoder:
    """What is remembered of the rows that models are fitted to.

    Attributes
    ----------
    used : (k,) positions of the columns that vary.
    mean, scale : (k,) of these.
    edges : of each of these, between which values its code changes: at most 62.
    squared : (s,) which have more than two values.
    pairs : (2, q) columns whose product is a term.
    rates, shifts : (k, 100) and (100,) of the waves.
    """

    used: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    edges: tuple[np.ndarray, ...]
    squared: np.ndarray
    pairs: np.ndarray
    rates: np.ndarray
    shifts: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, t: np.ndarray, seed: int) -> "Encoder":
        """Of columns (n, p); outcome and treatment (n,) say which columns have products."""
        spread = x.std(axis=0)
        used = np.flatnonzero(spread > 1e-12 * np.maximum(np.abs(x).max(axis=0), 1e-300))
        used = used if len(used) else np.zeros(1, dtype=int)  # all constant: terms of 0
        x = x[:, used]
        mean = x.mean(axis=0)
        scale = np.where(spread[used] > 0, spread[used], 1.0)
        z = (x - mean) / scale
        edges = tuple(_edges(column) for column in x.T)
        squared = np.array([j for j, cuts in enumerate(edges) if len(cuts) > 1], dtype=int)
        related = np.zeros(len(used))
        for arm in (0, 1):
            of_arm = t == arm
            left = y[of_arm] - y[of_arm].mean()
            related = np.maximum(related, np.abs(left @ z[of_arm]) / of_arm.sum())
        # rounded, so that rounding errors do not decide between equals
        first = np.sort(np.argsort(-related.round(9), kind="stable")[:_PRODUCTS_OF])
        pairs = first[np.array(np.triu_indices(len(first), 1))]
        rng = np.random.default_rng([seed, 1])
        rates = rng.standard_normal((len(used), _WAVES)) / np.sqrt(max(len(used), 1))
        shifts = rng.uniform(0, 2 * np.pi, _WAVES)
        return cls(used, mean, scale, edges, squared, pairs, rates, shifts)

    def linear(self, x: np.ndarray) -> np.ndarray:
        """(m, k) standardised columns."""
        return np.clip((x[:, self.used] - self.mean) / self.scale, -_FURTHEST, _FURTHEST)

    def terms(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """'linear', 'quadratic' and 'waves': the terms (m, ...) of regressions."""
        z = self.linear(x)
        products = z[:, self.pairs[0]] * z[:, self.pairs[1]]
        return {
            "linear": z,
            "quadratic": np.column_stack([z, z[:, self.squared] ** 2, products]),
            "waves": np.cos(z @ self.rates + self.shifts),
        }

    def codes(self, x: np.ndarray) -> np.ndarray:
        """(m, k) numbers of the bins that values lie in, for trees."""
        columns = [
            np.searchsorted(cuts, x[:, j], side="right")
            for j, cuts in zip(self.used, self.edges, strict=True)
        ]
        return np.column_stack(columns).astype(float)


class Seen(NamedTuple):
    """Rows as models of one purpose see them: terms of regressions, codes for trees."""

    terms: dict[str, np.ndarray]
    codes: np.ndarray

    def take(self, rows: np.ndarray) -> "Seen":
        """The rows at these positions."""
        return Seen({name: part[rows] for name, part in self.terms.items()}, self.codes[rows])


@dataclass(frozen=True, eq=False)
class Encoders:
    """An `Encoder` for each purpose of `roles.PURPOSES`, of the columns that its models are given.

    Attributes
    ----------
    columns : purpose -> positions of these columns.
    distinct : positions -> encoder.
    """

    columns: dict[str, tuple[int, ...]]
    distinct: dict[tuple[int, ...], Encoder]

    @classmethod
    def fit(
        cls, x: np.ndarray, y: np.ndarray, t: np.ndarray, seed: int, roles: Sequence[str]
    ) -> "Encoders":
        """As `Encoder.fit`, of columns (n, p) with these p roles."""
        columns = {purpose: tuple(columns_for(purpose, roles).tolist()) for purpose in PURPOSES}
        distinct = {
            chosen: Encoder.fit(_chosen(x, chosen), y, t, seed)
            for chosen in dict.fromkeys(columns.values())
        }
        return cls(columns, distinct)

    def of(self, purpose: str) -> Encoder:
        """The encoder of a purpose."""
        return self.distinct[self.columns[purpose]]

    def see(self, x: np.ndarray) -> dict[str, Seen]:
        """Rows (m, p) for each purpose."""
        once = {}
        for chosen, encoder in self.distinct.items():
            own = _chosen(x, chosen)
            once[chosen] = Seen(encoder.terms(own), encoder.codes(own))
        return {purpose: once[chosen] for purpose, chosen in self.columns.items()}

    def linear(self, x: np.ndarray) -> np.ndarray:
        """(m, k) standardised columns of the outcome's models."""
        return self.of("outcome").linear(_chosen(x, self.columns["outcome"]))


def _chosen(x, columns):
    """Columns (n, k) of these positions; one of zeros where there are none."""
    return x[:, list(columns)] if columns else np.zeros((len(x), 1))


def _edges(column):
    """Midpoints between neighbouring values, those nearest to equal shares of the rows."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) > _BINS:
        below = np.cumsum(counts)[:-1]
        wanted = np.arange(1, _BINS) * len(column) / _BINS
        at = np.unique(np.minimum(np.searchsorted(below, wanted), len(values) - 2))
    else:
        at = np.arange(len(values) - 1)
    return (values[at] + values[at + 1]) / 2
