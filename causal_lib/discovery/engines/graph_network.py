"""A graph network fitted to one table: DAG-GNN's idea with the likelihood of `equations`.

1. All allowed edges at once: Adam on mini-batches of the negative log-likelihood + l1 · Σ strength + ρ · h, where h is the
   log-det term of `continuous.acyclicity` and ρ grows from 0. Warm starts along growing l1 give one DAG a level.
2. Every DAG's equations are refitted without penalty; the held-out likelihood picks the level.
3. From there edges are added, removed and turned as long as the held-out likelihood gains. The penalised weights find
   the neighbours, but shrinkage and cycles that vanish late leave superfluous and turned edges among them.

Bent equations with additive noise, and categories, show directions that the likelihood sees. Linear Gaussian data show
none beyond the Markov class: the DAG is one of it at best, and from the wrong order that steps 1 and 2 often take there,
the search of step 3 may not find back: it keeps superfluous edges.

Source: Yu and others 2019 (DAG-GNN, arXiv 1904.10098); Lachapelle and others 2020 (Gran-DAG, arXiv 1906.02226);
Bello and others 2022 (DAGMA, arXiv 2209.08037); Bühlmann, Peters and Ernest 2014 (CAM, arXiv 1310.1533).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from causal_lib.discovery.engines.dagma import acyclicity, keep_acyclic
from causal_lib.discovery.engines.graph_likelihood import Columns, Equations
from causal_lib.progress import progress_bar

LEVELS = (0.03, 0.06, 0.12)  # l1, for standardised columns
LEAST_ROWS = 8
_BATCH = 256
_HELD_OUT = (0.25, 2000)  # share and largest number of validation rows
_RHO = (0.01, 100.0)  # from a whisper to where no cycle is left, on a geometric path
_REFIT, _PEAK = 150, 0.05  # steps and largest learning rate of a refit
_LOOKS = 8  # of a refit at the held-out rows
_THRESHOLD, _FAINT = (
    0.15,
    0.05,
)  # strengths: of the first DAG's edges, and of pairs that the search may join
_KICKS, _NEARLY, _FITS = (
    6,
    5.0,
    20,
)  # of the search: starts anew, nats that are nearly free, families fitted a variable
_ROUNDS, _TOGETHER = 30, 512  # of one climb; families fitted in one pass


@dataclass(frozen=True)
class Network:
    """What `fit` found: (d, d) bool DAG, (d, d) strengths of the refitted edges, l1 chosen, held-out loss in nats a row."""

    adjacency: np.ndarray
    strength: np.ndarray
    l1: float
    loss: float


def fit(
    frame: pd.DataFrame, allowed: np.ndarray, required: np.ndarray, *,
    l1: float | None = None, hidden: int = 6, steps: int = 1000, gain: float = 8.0, seed: int = 0,
) -> Network:  # fmt: skip
    """The DAG of ``frame``'s columns by the steps of the module's first lines.

    Parameters
    ----------
    frame : n rows without missing values, d columns: numbers, booleans, categories or text.
    allowed, required : (d, d) bool: where an edge may be, and where one must be.
    l1 : the penalty, or None for the best of `LEVELS` on held-out rows.
    hidden : tanh units an equation.
    steps : mini-batches of the penalised fit, of 256 rows.
    gain : nats of held-out log-likelihood, over all held-out rows, that an edge must be worth.
    seed : of the held-out rows (a quarter, 2000 at most), first weights and mini-batches. The caller's random state is
        neither read nor changed.

    Raises
    ------
    ValueError
        for fewer than `LEAST_ROWS` rows.
    """
    if len(frame) < LEAST_ROWS:
        raise ValueError(
            f"frame: {len(frame)} rows; a graph network needs {LEAST_ROWS}, a quarter of them held out"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # the sums then do not depend on the machine, and matrices this small gain little by more
    try:
        columns = Columns(frame)
        families = Families(columns, hidden, seed)
        levels = LEVELS if l1 is None else (l1,)
        paths = _penalised(columns, families.train, allowed, required, levels, hidden, steps, seed)
        starts = [keep_acyclic(strength, _THRESHOLD, required) for strength in paths]
        families.add(family for start in starts for family in _families(start))
        worth = [
            sum(families.losses[f] for f in _families(start)) + gain * start.sum()
            for start in starts
        ]
        best = int(np.argmin(worth))
        near = np.maximum(paths[0], paths[0].T) > _FAINT
        adjacency = _search(starts[best], allowed & near, required, families, gain, seed)
        final, strength = _families(adjacency), np.zeros(allowed.shape)
        for family in final:
            strength[list(family[1]), family[0]] = families.strengths[family]
        loss = sum(families.losses[family] for family in final) / len(families.held)
        return Network(adjacency, strength, levels[best], loss)
    finally:
        torch.set_num_threads(threads)


def _batches(rows, count, seed):
    """``count`` mini-batches of ``rows``, shuffled anew whenever all have been used."""
    draw, left = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        left = left or list(rows[torch.randperm(len(rows), generator=draw)].split(_BATCH))
        yield left.pop()


def _penalised(columns, train, allowed, required, levels, hidden, steps, seed):
    """(d, d) strengths at the end of the path of each l1 of ``levels``, each a warm start of the next."""
    d = len(columns.x)
    targets, sources = allowed.T.nonzero()
    edge_index = torch.tensor(np.stack([sources, targets]))
    model = Equations(columns, torch.arange(d), edge_index, hidden, seed)
    price, found = torch.tensor(~required[sources, targets], dtype=torch.float32), []
    counts = [steps, *[steps // 6] * (len(levels) - 1)]
    optimizer, batches = (
        torch.optim.Adam(model.parameters(), lr=0.02),
        _batches(train, sum(counts), seed),
    )
    bar = progress_bar(
        total=sum(counts), delay=5, desc="all edges", unit="step", mininterval=1, leave=False
    )
    for l1, count in zip(levels, counts, strict=True):
        for step in range(count):
            rho, along = (
                _RHO[1],
                (step / count - 0.2) / 0.7,
            )  # a fifth of the steps without, a tenth at the end of the path
            if not found:
                rho = _RHO[0] * (_RHO[1] / _RHO[0]) ** min(along, 1) if along > 0 else 0
            model.train_on(
                next(batches),
                l1 * (price * model.strength()).sum() + rho * _cycles(model, d),
                optimizer,
            )
            bar.update()
        strength = np.zeros((d, d))
        strength[sources, targets] = model.strength().detach().numpy()
        found.append(strength)
    bar.close()
    return found


def _cycles(model, d):
    """h of the strengths, at the least s of at least 1 for which it is finite wherever they stand."""
    squares = (
        torch.zeros(d, d).index_put(tuple(model.edge_index), model.strength().square()).double()
    )
    bound = min(
        squares.detach().sum(0).max(), squares.detach().sum(1).max()
    ).item()  # of the spectral radius
    return acyclicity(squares, max(1.0, 1.05 * bound))


# ---- search by held-out likelihood ---------------------------------------------------------------


class Families:
    """Families (a variable and the tuple of its parents), each fitted once without penalty.

    Attributes
    ----------
    held, train : rows that are scored, and rows that are learnt from.
    losses : family -> nats over all held-out rows, where these were fewest.
    strengths : family -> (parents,) norms of the weights there.
    """

    def __init__(self, columns: Columns, hidden: int, seed: int):
        n = columns.x.shape[1]
        rows = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        held = max(2, min(int(_HELD_OUT[0] * n), _HELD_OUT[1]))
        self.columns, self.hidden, self.seed, self.held, self.train = (
            columns,
            hidden,
            seed,
            rows[:held],
            rows[held:],
        )
        self.losses, self.strengths = {}, {}

    def add(self, families: Iterable[tuple[int, tuple[int, ...]]]) -> None:
        """Fit those not met before, by Adam with one cycle of the learning rate, each stopped at its best held-out loss."""
        new = sorted(set(families) - self.losses.keys())
        for start in range(0, len(new), _TOGETHER):
            self._fit(new[start : start + _TOGETHER])

    def _fit(self, families):
        edges = [
            (parent, number) for number, (_, parents) in enumerate(families) for parent in parents
        ]
        edge_index, targets = (
            torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T,
            torch.tensor([f[0] for f in families]),
        )
        model = Equations(self.columns, targets, edge_index, self.hidden, self.seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=_PEAK)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _PEAK, total_steps=_REFIT, pct_start=0.1
        )
        best, strength = torch.full((len(families),), torch.inf), torch.zeros(len(edges))
        for step, batch in enumerate(_batches(self.train, _REFIT, self.seed), 1):
            model.train_on(batch, 0.0, optimizer)
            cycle.step()
            if step % (_REFIT // _LOOKS) and step < _REFIT:
                continue
            with torch.no_grad():
                loss = model.loss(self.held).sum(dim=1)
                better, best = loss < best, torch.minimum(loss, best)
                strength = torch.where(better[edge_index[1]], model.strength(), strength)
        self.losses |= zip(families, best.tolist(), strict=True)
        split = np.split(
            strength.numpy(), np.cumsum([len(parents) for _, parents in families])[:-1]
        )
        self.strengths |= zip(families, split, strict=True)


def _families(adjacency):
    return [(j, tuple(parents.nonzero()[0].tolist())) for j, parents in enumerate(adjacency.T)]


def _search(adjacency, may_add, required, families, gain, seed):
    """Best of several local optima of the held-out loss + ``gain`` an edge.

    It climbs from ``adjacency``, from the required edges alone, and then again and again after turning what can be turned
    nearly free: where directions are not identified, that walks through the Markov class, and other moves open there.
    """
    rng, best, current = np.random.default_rng(seed), (np.inf, adjacency), adjacency
    for kick in progress_bar(range(_KICKS + 1), delay=5, desc="climbs", mininterval=1, leave=False):
        if kick == 1:
            current = required.copy()
        elif kick:
            moves = _moves(current, may_add, required, families, gain)
            free = [after for worth, after in moves if len(after) == 2 and worth > -_NEARLY]
            current = _make(current, [free[k] for k in rng.permutation(len(free))], required)
        for _ in range(_ROUNDS):
            moves = _moves(current, may_add, required, families, gain)
            before, current = (
                current,
                _make(current, [after for worth, after in moves if worth > 1e-6], required),
            )
            if (before == current).all():
                break
        score = sum(families.losses[family] for family in _families(current)) + gain * current.sum()
        if score < best[0] - 1e-6:
            best = score, current
        elif score > best[0] + _NEARLY:
            current = best[1]
        if len(families.losses) > _FITS * len(adjacency):
            break
    return best[1]


def _make(adjacency, moves, required):
    """``adjacency`` after those of ``moves``, in their order, that close no cycle and touch no variable touched before."""
    changed = set()
    for after in moves:
        moved = adjacency.copy()
        for child, parents in after:
            moved[:, child] = np.isin(np.arange(len(moved)), parents)
        if (
            not changed & {child for child, _ in after}
            and keep_acyclic(moved, 0.5, required).sum() == moved.sum()
        ):
            adjacency, changed = moved, changed | {child for child, _ in after}
    return adjacency


def _moves(adjacency, may_add, required, families, gain):
    """(gain in nats, new families) of every move, best first."""
    now = _families(adjacency)
    moves = list(_changes(adjacency, now, may_add, required))
    families.add([*now, *(family for after in moves for family in after)])

    def worth(after):
        pairs = [(now[child], (child, parents)) for child, parents in after]
        return sum(
            families.losses[a] - families.losses[b] + gain * (len(a[1]) - len(b[1]))
            for a, b in pairs
        )

    return sorted(((worth(after), after) for after in moves), reverse=True)


def _changes(adjacency, now, may_add, required):
    """New families of every move: add, remove, turn, and turn and remove an edge from a common parent.

    Between a collider x → z ← y and its equal y → z → x ← y with one more edge lies a turn that gains nothing by itself.
    """
    for i, j in np.argwhere(
        (adjacency & ~required) | (may_add & ~adjacency & ~adjacency.T)
    ).tolist():
        yield (_flip(now[j], i),)
        if adjacency[i, j] and may_add[j, i]:
            child, parent = _flip(now[j], i), _flip(now[i], j)
            yield child, parent
            for k in (adjacency[:, i] & adjacency[:, j]).nonzero()[0].tolist():
                if not required[k, j]:
                    yield _flip(child, k), parent
                if not required[k, i]:
                    yield child, _flip(parent, k)


def _flip(family, parent):
    """The family with ``parent`` if it lacks it, else without."""
    return family[0], tuple(sorted(set(family[1]) ^ {parent}))
