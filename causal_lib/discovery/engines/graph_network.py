"""A graph network fitted to one table: DAG-GNN with the likelihood of `graph_likelihood`.

1. All allowed edges at once: Adam on mini-batches of the negative log-likelihood + l1 · Σ strength
+ ρ · h, where h is the
   log-det term `dagma.acyclicity` and ρ grows from 0. Each l1 of an increasing path starts from the
   last solution and gives one DAG.
2. The equations of each DAG are refitted without penalty. The held-out likelihood chooses the DAG.
3. From there edges are added, removed and reversed as long as the held-out likelihood improves. The
penalised weights find
   the neighbours, but shrinkage and late acyclicity leave superfluous and reversed edges among
   them.

The likelihood identifies directions of nonlinear equations with additive noise and of categories.
Linear Gaussian data identify only the Markov class: the DAG is at best one of its members. From the
wrong order that steps 1 and 2 often find there, the search of step 3 may keep superfluous edges.

Sources: Yu and others 2019 (DAG-GNN, arXiv 1904.10098); Lachapelle and others 2020 (Gran-DAG, arXiv
1906.02226); Bello and others 2022 (DAGMA, arXiv 2209.08037); Bühlmann, Peters and Ernest 2014 (CAM,
arXiv 1310.1533).
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
_BATCH = 256  # rows of a mini-batch
_HELD_OUT = (0.25, 2000)  # share and largest number of held-out rows
_RHO = (0.01, 100.0)  # first and last ρ of a geometric path; the last leaves no cycle
_REFIT_STEPS = 150
_REFIT_RATE = 0.05  # largest learning rate of a refit
_CHECKS = 8  # evaluations of the held-out rows during a refit
_THRESHOLD = 0.15  # least strength of an edge of the first DAG
_NEIGHBOUR = 0.05  # least strength of a pair that the search may join
_RESTARTS = 6  # of the search
_NEARLY_FREE = 5.0  # nats that a reversal before a restart may cost
_MAX_FITS = 20  # fitted families per variable at which the search ends
_ROUNDS = 30  # of one climb
_FITTED_TOGETHER = 512  # families fitted in one pass


@dataclass(frozen=True)
class Network:
    """The result of `fit`.

    adjacency : (d, d) bool, a DAG; strength : (d, d) of its refitted edges.
    l1 : the chosen penalty; loss : held-out negative log-likelihood in nats per row.
    """

    adjacency: np.ndarray
    strength: np.ndarray
    l1: float
    loss: float


def fit(
    frame: pd.DataFrame,
    allowed: np.ndarray,
    required: np.ndarray,
    *,
    l1: float | None = None,
    hidden: int = 6,
    steps: int = 1000,
    gain: float = 8.0,
    seed: int = 0,
) -> Network:
    """The DAG of the columns of ``frame``, by the three steps described at the top of this module.

    Parameters
    ----------
    frame : n rows without missing values, d columns: numbers, booleans, categories or text.
    allowed, required : (d, d) bool, [i, j]: whether i → j may be an edge, and whether it must.
    l1 : the penalty, or None for the best of `LEVELS` on held-out rows.
    hidden : tanh units per equation.
    steps : mini-batches of 256 rows in the penalised fit.
    gain : least gain of an edge, in nats of the log-likelihood of all held-out rows.
    seed : of the held-out rows (a quarter, at most 2000), initial weights and mini-batches. Global
        random states are neither read nor changed.

    Raises
    ------
    ValueError
        for fewer than `LEAST_ROWS` rows.
    """
    if len(frame) < LEAST_ROWS:
        raise ValueError(
            f"frame: {len(frame)} rows; a graph network needs {LEAST_ROWS}, "
            "a quarter of them held out"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums do not depend on the machine; small matrices lose little speed
    try:
        columns = Columns(frame)
        families = Families(columns, hidden, seed)
        levels = LEVELS if l1 is None else (l1,)
        paths = _penalised(columns, families.train, allowed, required, levels, hidden, steps, seed)
        starts = [keep_acyclic(strength, _THRESHOLD, required) for strength in paths]
        families.add(family for start in starts for family in _families(start))
        costs = [
            sum(families.losses[f] for f in _families(start)) + gain * start.sum()
            for start in starts
        ]
        best = int(np.argmin(costs))
        neighbours = np.maximum(paths[0], paths[0].T) > _NEIGHBOUR
        adjacency = _search(starts[best], allowed & neighbours, required, families, gain, seed)
        final = _families(adjacency)
        strength = np.zeros(allowed.shape)
        for family in final:
            strength[list(family[1]), family[0]] = families.strengths[family]
        loss = sum(families.losses[family] for family in final) / len(families.held)
        return Network(adjacency, strength, levels[best], loss)
    finally:
        torch.set_num_threads(threads)


def _batches(rows, count, seed):
    """``count`` mini-batches of ``rows``, shuffled again whenever all have been used."""
    draw = torch.Generator().manual_seed(seed)
    left = []
    for _ in range(count):
        left = left or list(rows[torch.randperm(len(rows), generator=draw)].split(_BATCH))
        yield left.pop()


def _penalised(columns, train, allowed, required, levels, hidden, steps, seed):
    """(d, d) strengths for each l1 of ``levels``, each fit starting from the last."""
    d = len(columns.x)
    targets, sources = allowed.T.nonzero()
    edge_index = torch.tensor(np.stack([sources, targets]))
    model = Equations(columns, torch.arange(d), edge_index, hidden, seed)
    price = torch.tensor(~required[sources, targets], dtype=torch.float32)
    found = []
    counts = [steps, *[steps // 6] * (len(levels) - 1)]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batches = _batches(train, sum(counts), seed)
    bar = progress_bar(
        total=sum(counts), delay=5, desc="all edges", unit="step", mininterval=1, leave=False
    )
    for l1, count in zip(levels, counts, strict=True):
        for step in range(count):
            rho = _RHO[1]
            if (
                not found
            ):  # a fifth of the steps with ρ = 0, then its path, and a tenth with the last ρ
                along = (step / count - 0.2) / 0.7
                rho = _RHO[0] * (_RHO[1] / _RHO[0]) ** min(along, 1) if along > 0 else 0
            penalty = l1 * (price * model.strength()).sum() + rho * _cycles(model, d)
            model.train_on(next(batches), penalty, optimizer)
            bar.update()
        strength = np.zeros((d, d))
        strength[sources, targets] = model.strength().detach().numpy()
        found.append(strength)
    bar.close()
    return found


def _cycles(model, d):
    """h of the strengths, finite because s is at least 1 and above the spectral radius."""
    squares = (
        torch.zeros(d, d).index_put(tuple(model.edge_index), model.strength().square()).double()
    )
    # the largest row sum and the largest column sum both bound the spectral radius
    bound = min(squares.detach().sum(0).max(), squares.detach().sum(1).max()).item()
    return acyclicity(squares, max(1.0, 1.05 * bound))


# ---- search by held-out likelihood --------------------------------------------------------------


class Families:
    """Families (a variable and the tuple of its parents), each fitted once without penalty.

    Attributes
    ----------
    held, train : held-out rows, and rows for training.
    losses : family -> least loss over all held-out rows during its fit, in nats.
    strengths : family -> (parents,) norms of the weights at that point.
    """

    def __init__(self, columns: Columns, hidden: int, seed: int):
        n = columns.x.shape[1]
        rows = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        held = max(2, min(int(_HELD_OUT[0] * n), _HELD_OUT[1]))
        self.columns = columns
        self.hidden = hidden
        self.seed = seed
        self.held = rows[:held]
        self.train = rows[held:]
        self.losses = {}
        self.strengths = {}

    def add(self, families: Iterable[tuple[int, tuple[int, ...]]]) -> None:
        """Fit the new ones of ``families``, and keep each at its best held-out loss.

        Adam with a one-cycle learning rate.
        """
        new = sorted(set(families) - self.losses.keys())
        for start in range(0, len(new), _FITTED_TOGETHER):
            self._fit(new[start : start + _FITTED_TOGETHER])

    def _fit(self, families):
        edges = [
            (parent, number) for number, (_, parents) in enumerate(families) for parent in parents
        ]
        edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
        targets = torch.tensor([f[0] for f in families])
        model = Equations(self.columns, targets, edge_index, self.hidden, self.seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=_REFIT_RATE)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _REFIT_RATE, total_steps=_REFIT_STEPS, pct_start=0.1
        )
        best = torch.full((len(families),), torch.inf)
        strength = torch.zeros(len(edges))
        for step, batch in enumerate(_batches(self.train, _REFIT_STEPS, self.seed), 1):
            model.train_on(batch, 0.0, optimizer)
            cycle.step()
            if step % (_REFIT_STEPS // _CHECKS) and step < _REFIT_STEPS:
                continue
            with torch.no_grad():
                loss = model.loss(self.held).sum(dim=1)
                better = loss < best
                best = torch.minimum(loss, best)
                strength = torch.where(better[edge_index[1]], model.strength(), strength)
        self.losses |= zip(families, best.tolist(), strict=True)
        split = np.split(
            strength.numpy(), np.cumsum([len(parents) for _, parents in families])[:-1]
        )
        self.strengths |= zip(families, split, strict=True)


def _families(adjacency):
    return [(j, tuple(parents.nonzero()[0].tolist())) for j, parents in enumerate(adjacency.T)]


def _search(adjacency, may_add, required, families, gain, seed):
    """The best of several local optima of the held-out loss + ``gain`` per edge.

    The first climb starts from ``adjacency``, the second from the required edges alone. Each later
    one starts after all reversals that cost little. Where directions are not identified, these move
    within the Markov class, from where other moves are possible.
    """
    rng = np.random.default_rng(seed)
    best = (np.inf, adjacency)
    current = adjacency
    for attempt in progress_bar(
        range(_RESTARTS + 1), delay=5, desc="climbs", mininterval=1, leave=False
    ):
        if attempt == 1:
            current = required.copy()
        elif attempt:
            moves = _moves(current, may_add, required, families, gain)
            free = [after for value, after in moves if len(after) == 2 and value > -_NEARLY_FREE]
            current = _make(current, [free[k] for k in rng.permutation(len(free))], required)
        for _ in range(_ROUNDS):
            moves = _moves(current, may_add, required, families, gain)
            before = current
            current = _make(current, [after for value, after in moves if value > 1e-6], required)
            if (before == current).all():
                break
        score = sum(families.losses[family] for family in _families(current)) + gain * current.sum()
        if score < best[0] - 1e-6:
            best = score, current
        elif score > best[0] + _NEARLY_FREE:
            current = best[1]
        if len(families.losses) > _MAX_FITS * len(adjacency):
            break
    return best[1]


def _make(adjacency, moves, required):
    """``adjacency`` after ``moves`` in their order.

    Moves that close a cycle or change a variable again are left out.
    """
    changed = set()
    for after in moves:
        moved = adjacency.copy()
        for child, parents in after:
            moved[:, child] = np.isin(np.arange(len(moved)), parents)
        if (
            not changed & {child for child, _ in after}
            and keep_acyclic(moved, 0.5, required).sum() == moved.sum()
        ):
            adjacency = moved
            changed = changed | {child for child, _ in after}
    return adjacency


def _moves(adjacency, may_add, required, families, gain):
    """(gain in nats, new families) of every possible move, best first."""
    now = _families(adjacency)
    moves = list(_changes(adjacency, now, may_add, required))
    families.add([*now, *(family for after in moves for family in after)])

    def evaluate(after):
        pairs = [(now[child], (child, parents)) for child, parents in after]
        return sum(
            families.losses[a] - families.losses[b] + gain * (len(a[1]) - len(b[1]))
            for a, b in pairs
        )

    return sorted(((evaluate(after), after) for after in moves), reverse=True)


def _changes(adjacency, now, may_add, required):
    """The new families of every move.

    A move adds, removes or reverses an edge, or reverses it and removes one from a common parent.

    The combined move is needed because y → z → x ← y, the collider x → z ← y with one edge too
    many, becomes the collider only through a reversal that gains nothing by itself.
    """
    for i, j in np.argwhere(
        (adjacency & ~required) | (may_add & ~adjacency & ~adjacency.T)
    ).tolist():
        yield (_flip(now[j], i),)
        if adjacency[i, j] and may_add[j, i]:
            child = _flip(now[j], i)
            parent = _flip(now[i], j)
            yield child, parent
            for k in (adjacency[:, i] & adjacency[:, j]).nonzero()[0].tolist():
                if not required[k, j]:
                    yield _flip(child, k), parent
                if not required[k, i]:
                    yield child, _flip(parent, k)


def _flip(family, parent):
    """The family with ``parent`` added if it is missing, removed otherwise."""
    return family[0], tuple(sorted(set(family[1]) ^ {parent}))
