"""What logs can tell of a policy: the part of it on actions that they never show, and whether its
weights sum to what they should.

Let π be the policy, μ the one that made the logs and w = π / μ of the logged action. In contexts
c, the weights of action a have the mean E[w 1(a) | c] = E[π(a) | c] where μ(a) > 0, and 0 where the
action is never shown. So Σw over the rounds of a cell of contexts that show a is compared with
Σπ(a) over all rounds of the cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import norm

from causal_lib.columns import numbers_or_none
from causal_lib.policy.columns import listed
from causal_lib.policy.reward_model import row_digest

FALSE_ALARM = 0.01  # of all comparisons together, were the logs complete
_CELLS = 8  # of a column of numbers
_MOST = 20_000_000  # entries of (rounds, actions) that are compared by cells; more are thinned


@dataclass(frozen=True)
class Support:
    """What the logs lack of a policy.

    Attributes
    ----------
    missing : (n,) share of the policy in a round that the logs lack. Its mean is that of the
        policy; a single one, where it is known by weights alone, may lie outside [0, 1].
    surplus : by how much the weights sum to more than the policy, a round; 0 where by chance.
    never : what is never shown, in words; empty where nothing is.
    misfit : the weights that do not sum to what they should, in words; empty where all do.
    mean_weight, error : mean of the weights and its standard error.
    """

    missing: np.ndarray
    surplus: float
    never: str
    misfit: str
    mean_weight: float
    error: float

    @property
    def mass(self) -> float:
        """Share of the policy that the logs lack."""
        return float(np.clip(self.missing.mean(), 0, 1))


def find_support(
    policy: np.ndarray,
    codes: np.ndarray,
    w: np.ndarray,
    labels: pd.Index,
    error: float,
    *,
    propensity: np.ndarray | None = None,
    logging: np.ndarray | None = None,
    context: pd.DataFrame | None = None,
) -> Support:
    """The support of ``policy`` (n, K) or (K,) in logs of the actions ``codes`` (n,) with weights
    ``w`` (n,).

    Parameters
    ----------
    error : standard error of the mean of ``w``, of clusters where rounds depend on each other.
    logging : (n, K) or (K,) probabilities of the policy that made the logs, where they are known.
    context : columns that are cut into cells.
    """
    n = len(codes)
    k = policy.shape[-1]
    absent = np.bincount(codes, minlength=k) == 0
    never = {labels[a]: "" for a in np.flatnonzero(absent & _any(policy > 0))}
    missing = np.zeros(n) + policy[..., absent].sum(axis=-1)
    if logging is not None and (zero := (logging <= 0) & (policy > 0) & ~absent).any():
        never |= {labels[a]: " where logging gives it 0" for a in np.flatnonzero(_any(zero))}
        missing += (policy * zero).sum(axis=-1)
        policy = np.where(zero, 0, policy)
    inflation = max(1.0, error * np.sqrt(n) / max(w.std(), 1e-12))
    cells = _cells(context)
    step = max(1, -(-policy.size * len(cells) // _MOST))
    thinned = slice(None)
    if step > 1:
        digest = [row_digest(policy, np.arange(k))] if policy.ndim == 2 else []
        order = np.lexsort([*digest, *(cell.of for cell in cells), propensity, codes, w])
        thinned = order[::step]
    compared = [
        _compare(policy, codes, w, propensity, cell, rows, absent, inflation)
        for cell, rows in (
            (_Cells(np.zeros(n, dtype=np.intp), ("",)), slice(None)),
            *((c, thinned) for c in cells),
        )
    ]
    limit = norm.isf(FALSE_ALARM / max(1, sum((one.wanted > 0).sum() for one in compared)))
    # First what no round of a cell shows; then, the policy without it, what too few rounds show.
    nothing = [(one.z > limit) & (one.got == 0) for one in compared]
    for a in np.flatnonzero(np.any([mask.any(axis=0) for mask in nothing], axis=0)):
        inside = np.any(
            [mask[one.cell.of, a] for one, mask in zip(compared, nothing, strict=True)], axis=0
        )
        names = [
            one.cell.names[place]
            for one, mask in zip(compared, nothing, strict=True)
            for place in np.flatnonzero(mask[:, a])
        ]
        never[labels[a]] = " where " + " or ".join(names[:2]) if all(names) else ""
        gone = inside * policy[..., a]
        missing += gone
        for one in compared:
            one.leave_out(a, gone)
    wrong = {}
    for a in np.flatnonzero(np.any([(one.z > limit).any(axis=0) for one in compared], axis=0)):
        inside = np.any([(one.z > limit)[one.cell.of, a] for one in compared], axis=0)
        missing += inside * (policy[..., a] - (codes == a) * w)
        wrong[labels[a]] = compared[0].share(a)
    high = compared[0].z[0] < -limit
    surplus = float((compared[0].got - compared[0].wanted)[0, high].sum() / n)
    wrong |= {labels[a]: compared[0].share(a) for a in np.flatnonzero(high)}
    mean = float(w.mean())
    off = 1 - missing.mean() - mean
    if not wrong and abs(off) > max(limit * error, 1e-9):
        wrong["together"] = mean
        missing = missing if off < 0 else 1 - w
        surplus = max(0.0, -off)
    return Support(missing, surplus, _listed(never), _shares(wrong), mean, error)


@dataclass(frozen=True)
class _Cells:
    """A column of the context cut into cells: the cell of each round ``of`` (n,), their names."""

    of: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Compared:
    """Sums over the rounds ``rows`` of each cell, (cells, K): of the policy's probabilities and of
    the weights; ``unit`` squared is their variance, a unit of the sum.
    """

    cell: _Cells
    rows: slice | np.ndarray
    wanted: np.ndarray
    got: np.ndarray
    unit: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """What the weights lack, in standard errors."""
        spread = np.sqrt(np.maximum(self.wanted, self.got)) * self.unit
        return _over(self.wanted - self.got, spread)

    def leave_out(self, action: int, gone: np.ndarray) -> None:
        """Take the part ``gone`` (n,) of an action away from the policy."""
        n_cells = len(self.cell.names)
        self.wanted[:, action] -= np.bincount(self.cell.of[self.rows], gone[self.rows], n_cells)

    def share(self, action: int) -> float:
        """Weights of an action over the policy's probabilities, of all rounds."""
        return float(self.got[:, action].sum() / self.wanted[:, action].sum())


def _compare(policy, codes, w, propensity, cell, rows, absent, inflation):
    """The weights of every action and cell against the policy."""
    k = policy.shape[-1]
    of = cell.of[rows]
    n_cells = len(cell.names)
    w = w[rows]
    place = of * k + codes[rows]
    wanted, wanted_squares = _sums(policy, of, n_cells, rows)
    wanted = np.where(absent, 0.0, wanted)

    def sums(values):
        return np.bincount(place, values, n_cells * k).reshape(n_cells, k)

    got = sums(w)
    squares = sums(w**2)
    # Of one round: E[w² 1(a)] / E[π(a)]. Where the policy never meets the action, by propensities.
    overall = _over(squares.sum(axis=0), got.sum(axis=0))
    inverse = 1 / propensity[rows]
    unmet = _over(sums(inverse**2).sum(axis=0), sums(inverse).sum(axis=0)) * _over(
        wanted_squares.sum(axis=0), wanted.sum(axis=0)
    )
    unit = np.sqrt(np.maximum(np.where(overall > 0, overall, unmet), _over(squares, got)))
    unit *= inflation
    # Without a round of the action in the cell, the rounds that its share elsewhere makes expected
    # tell more than weights, which may be uneven.
    rounds = sums(None)
    expected = rounds.sum(axis=1)[:, None] * rounds.sum(axis=0) / len(w)
    by_rounds = np.sqrt(_over(wanted, expected))
    unit = np.where((rounds == 0) & (by_rounds > 0), np.minimum(unit, by_rounds), unit)
    return _Compared(cell, rows, wanted, got, unit)


def _sums(policy, cell, n_cells, rows):
    """Sums of the policy's probabilities and of their squares over the rounds of each cell."""
    if policy.ndim == 1:
        counts = np.bincount(cell, minlength=n_cells)[:, None]
        return counts * policy, counts * policy**2
    thinned = policy[rows]
    if n_cells == 1:
        return thinned.sum(axis=0, dtype=float)[None], np.einsum("nk,nk->k", thinned, thinned)[None]
    n = len(cell)
    member = csr_matrix((np.ones(n), (cell, np.arange(n))), shape=(n_cells, n))
    return member @ thinned, member @ thinned**2


def _cells(context):
    """The cells of each column: levels, or of many numbers ranges between quantiles; none of many
    levels that are no numbers.
    """
    found = []
    for name in context if context is not None else ():
        column = context[name]
        values = numbers_or_none(column)
        try:
            of, levels = pd.factorize(column if values is None else values, sort=values is not None)
        except TypeError:  # lists and the like have no levels
            continue
        if len(levels) <= 2 * _CELLS:
            if values is None:  # in the order of their labels, whatever that of the rows
                order = sorted(
                    range(len(levels)), key=lambda one: (str(type(levels[one])), str(levels[one]))
                )
                levels = levels[order]
                of = np.argsort(order)[of]
            shown = levels if values is None else [f"{level:g}" for level in levels]
            names = tuple(f"{name} is {level}" for level in shown)
        elif values is None:
            continue
        else:
            ends = np.quantile(values, np.arange(1, _CELLS) / _CELLS)
            used, of = np.unique(np.searchsorted(ends, values), return_inverse=True)
            ends = [f"{end:.3g}" for end in ends]
            names = tuple(
                f"{name} <= {ends[0]}"
                if cell == 0
                else f"{name} > {ends[-1]}"
                if cell == len(ends)
                else f"{ends[cell - 1]} < {name} <= {ends[cell]}"
                for cell in used
            )
        if len(names) > 1:
            found.append(_Cells(of, names))
    return found


def _any(table):
    return table.any(axis=0) if table.ndim == 2 else table


def _over(top, bottom):
    return np.divide(top, bottom, out=np.zeros(np.shape(bottom)), where=np.asarray(bottom) > 0)


def _listed(never: Mapping) -> str:
    plain = [label for label, where in never.items() if not where]
    parts = [listed(plain)] if plain else []
    parts += [f"{listed([label])}{where}" for label, where in never.items() if where][:5]
    return "; ".join(parts)


def _shares(wrong: Mapping) -> str:
    if "together" in wrong:
        return f"they average {wrong['together']:.3g}, not 1"
    return ", ".join(
        f"those of action {listed([label])} sum to {share:.0%} of its probabilities"
        for label, share in list(wrong.items())[:5]
    )
