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

from causal_lib.policy.columns import as_numbers, listed

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
    lacking = np.zeros(k, dtype=bool)
    wrong = {}
    surplus = 0.0
    rows = {}
    cells = _cells(context)
    step = max(1, -(-policy.size * len(cells) // _MOST))
    compared = [
        (one, _compare(policy, codes, w, propensity, one.of, thin, absent, inflation))
        for one, thin in (
            (_Cells(np.zeros(n, dtype=np.intp), ("",)), 1),
            *((c, step) for c in cells),
        )
    ]
    limit = norm.isf(FALSE_ALARM / max(1, sum((found.z != 0).sum() for _, found in compared)))
    for cell, found in compared:
        low = found.z > limit
        for a in np.flatnonzero(low.any(axis=0)):
            rows[a] = rows.get(a, False) | low[cell.of, a]
            nothing = np.flatnonzero(low[:, a] & (found.got[:, a] == 0))
            if len(nothing):
                where = " or ".join(cell.names[one] for one in nothing[:2])
                never.setdefault(labels[a], f" where {where}" if where else "")
            else:
                lacking[a] = True
        if len(cell.names) == 1 and (high := found.z[0] < -limit).any():
            wrong |= {labels[a]: found.got[0, a] / found.wanted[0, a] for a in np.flatnonzero(high)}
            surplus = float((found.got - found.wanted)[0, high].sum() / n)
    for a, inside in rows.items():
        missing += inside * (policy[..., a] - (codes == a) * w)
    mean = float(w.mean())
    whole = compared[0][1]
    wrong |= {
        labels[a]: whole.got[0, a] / whole.wanted[0, a]
        for a in np.flatnonzero(lacking)
        if labels[a] not in never
    }
    off = 1 - missing.mean() - mean
    if not rows and not wrong and abs(off) > max(limit * error, 1e-9):
        wrong["together"] = mean
        missing = missing if off < 0 else 1 - w
        surplus = max(0.0, -off)
    return Support(missing, surplus, _listed(never), _shares(wrong), mean, error)


@dataclass(frozen=True)
class _Compared:
    """Sums over the rounds of each cell, (cells, K): the policy's probabilities, the weights, and
    their difference in standard errors.
    """

    wanted: np.ndarray
    got: np.ndarray
    z: np.ndarray


def _compare(policy, codes, w, propensity, of, step, absent, inflation):
    """The weights of every action and cell against the policy; ``of`` the cell of each round (n,),
    every ``step``-th of which is looked at.
    """
    k = policy.shape[-1]
    cell = of[::step]
    n_cells = int(of.max()) + 1
    w = w[::step]
    place = cell * k + codes[::step]
    wanted, wanted_squares = _sums(policy, cell, n_cells, step)
    wanted = np.where(absent, 0, wanted)

    def sums(values):
        return np.bincount(place, values, n_cells * k).reshape(n_cells, k)

    got = sums(w)
    squares = sums(w**2)
    # Of one round: E[w² 1(a)] / E[π(a)]. Where the policy never meets the action, by propensities.
    overall = _over(squares.sum(axis=0), got.sum(axis=0))
    inverse = 1 / propensity[::step]
    unmet = _over(sums(inverse**2).sum(axis=0), sums(inverse).sum(axis=0)) * _over(
        wanted_squares.sum(axis=0), wanted.sum(axis=0)
    )
    unit = np.maximum(np.where(overall > 0, overall, unmet), _over(squares, got))
    spread = np.sqrt(np.maximum(wanted, got) * unit) * inflation
    return _Compared(wanted, got, _over(wanted - got, spread))


def _sums(policy, cell, n_cells, step):
    """Sums of the policy's probabilities and of their squares over the rounds of each cell."""
    if policy.ndim == 1:
        counts = np.bincount(cell, minlength=n_cells)[:, None]
        return counts * policy, counts * policy**2
    thinned = policy[::step]
    if n_cells == 1:
        return thinned.sum(axis=0, dtype=float)[None], np.einsum("nk,nk->k", thinned, thinned)[None]
    n = len(cell)
    member = csr_matrix((np.ones(n), (cell, np.arange(n))), shape=(n_cells, n))
    return member @ thinned, member @ thinned**2


@dataclass(frozen=True)
class _Cells:
    """A column of the context cut into cells: the cell of each round ``of`` (n,), their names."""

    of: np.ndarray
    names: tuple[str, ...]


def _cells(context):
    """The cells of each column: levels, or of many numbers ranges between quantiles; none of many
    levels that are no numbers.
    """
    found = []
    for name in context if context is not None else ():
        column = context[name]
        values = as_numbers(column)
        of, levels = pd.factorize(column if values is None else values, sort=values is not None)
        if len(levels) <= 2 * _CELLS:
            names = tuple(f"{name} is {listed([level])}" for level in levels)
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
