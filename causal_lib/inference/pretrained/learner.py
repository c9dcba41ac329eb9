"""Effects of new rows by the trained networks, with intervals, or by the R-stack where a table is
unlike those of the training.
"""

from dataclasses import dataclass

import numpy as np
import torch

from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.inference.nuisances import is_reversed, turned
from causal_lib.inference.pretrained import candidates
from causal_lib.inference.pretrained.candidates import NAMES, Candidates
from causal_lib.inference.pretrained.features import Cells, Table, describe_rows, describe_table
from causal_lib.inference.pretrained.weights import Weights, load

MOST_ROWS = 5000  # candidates of a larger table are fitted to so many of its rows
_CHUNK = 5000  # rows that are answered at once
_JUDGED = 500  # rows by which the disagreement of the networks is judged
_STACK = NAMES.index("r_stack")


@dataclass(frozen=True, eq=False)
class Answer:
    """Effects of m rows in units of the outcome.

    Attributes
    ----------
    effects : (m,).
    widths : (m,) of their error, of which intervals are multiples.
    """

    effects: np.ndarray
    widths: np.ndarray


@dataclass(frozen=True, eq=False)
class FittedLearner:
    """The trained networks on one table.

    Attributes
    ----------
    familiar : whether the table resembles those of the training.
    distance, disagreement : out-of-distribution scores as shares of their limits; beyond 1 the
        table is unfamiliar.
    average, error : of the doubly robust scores, in units of the outcome.
    candidates, table : what the networks see, of the standardised outcome.
    weights : of the networks.
    unit : of the standardised outcome, negative where the arms are exchanged for the fit.
    """

    familiar: bool
    distance: float
    disagreement: float
    average: float
    error: float
    candidates: Candidates
    table: Table
    weights: Weights
    unit: float

    def answer(self, x: np.ndarray) -> Answer:
        """Effects and widths of rows (m, columns)."""
        parts = [
            self._some(x[first : first + _CHUNK]) for first in range(0, max(len(x), 1), _CHUNK)
        ]
        effects = np.concatenate([part[0] for part in parts])
        widths = np.concatenate([part[1] for part in parts])
        scale = self.table.scale
        return Answer(self.average + self.unit * scale * effects, abs(self.unit) * scale * widths)

    def _some(self, x):
        cells = describe_rows(self.table, self.candidates, x)
        found, widths, _ = combined(self.weights, self.table, cells)
        if not self.familiar:
            offset = self.table.candidates[_STACK, 0]
            found = cells.cells[:, _STACK, 0] + offset
        return found, widths

    def interval(self, x: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends (m,) and (m,) that hold the effect of a row in ``level`` of the rows of tables such
        as those of the training, on average over tables.

        Raises ValueError for an unfamiliar table, and for a level beyond those calibrated.
        """
        if not self.familiar:
            raise ValueError(
                "the table is unlike those that the pretrained learner was trained on, so that its "
                "intervals mean nothing here; use the default learner"
            )
        levels = self.weights.reference["levels"]
        if level > levels[-1]:
            raise ValueError(
                f"{level=}: the intervals of the pretrained learner are calibrated up to "
                f"{levels[-1]:.2f}"
            )
        found = self.answer(x)
        times = np.interp(level, np.append(0, levels),
                          np.append(0, self.weights.reference["quantiles"]))  # fmt: skip
        return found.effects - times * found.widths, found.effects + times * found.widths

    @property
    def note(self) -> str:
        """What a reader should know of an unfamiliar table; empty for a familiar one."""
        if self.familiar:
            return ""
        return (
            "unlike the tables that the pretrained learner was trained on (distance "
            f"{self.distance:.1f}, disagreement {self.disagreement:.1f}; the limit is 1): effects "
            "are those of its candidates stacked by the R-loss"
        )


def combined(
    weights: Weights, table: Table, cells: Cells
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The networks' mean δ (m,), its half-width (m,), and all δ (networks, m), in scales."""
    parts = [
        torch.from_numpy(part[None].astype(np.float32))
        for part in (cells.cells, cells.rows, table.candidates, table.table)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that sums are taken in the same order everywhere
    try:
        with torch.no_grad():
            answers = [network.both_signs(*parts) for network in weights.networks]
    finally:
        torch.set_num_threads(threads)
    each = np.array([found[0].double().numpy() for found, _ in answers])
    widths = np.array([width[0].double().numpy() for _, width in answers])
    return each.mean(axis=0), joint_width(each, widths), each


def joint_width(each: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(m,) half-widths of a mean of networks: their own, log b (networks, m), and how far the
    networks' answers (networks, m) differ.
    """
    return np.sqrt((np.exp(widths) ** 2).mean(axis=0) + each.var(axis=0))


def summary(table: Table) -> np.ndarray:
    """(k,) what is compared with the tables of the training."""
    return np.concatenate([table.table, np.abs(table.candidates).mean(axis=0),
                           table.candidates[:, 1:].std(axis=0)]).astype(float)  # fmt: skip


def disagreement(each: np.ndarray) -> float:
    """How far the networks' answers (networks, m) differ, in scales: a root mean square."""
    return float(np.sqrt(each.var(axis=0).mean()))


def fit(
    y: np.ndarray,
    t: np.ndarray,
    x: np.ndarray,
    groups: np.ndarray,
    seed: int,
    known: np.ndarray | None = None,
    *,
    weights: Weights | None = None,
) -> FittedLearner:
    """The networks on n rows.

    Parameters
    ----------
    y : (n,) outcome; t : (n,) treatment, 0 or 1; x : (n, p) columns; groups : (n,) clusters.
    seed : of folds and models. It chooses the rows, too, of a table of more than 5,000.
    known : (n,) probabilities of treatment, where they are known.
    weights : of `load`; by default those of the package.

    Raises
    ------
    FileNotFoundError, ValueError
        for weights that are missing or cannot be used; ValueError where an arm has too few rows for
        three folds, or clusters are too few.
    """
    weights = weights or load()
    if len(y) > MOST_ROWS:
        kept = _some_rows(t, groups, seed)
        y = y[kept]
        t = t[kept]
        x = x[kept]
        groups = np.unique(groups[kept], return_inverse=True)[1]
        known = None if known is None else known[kept]
    unit = float(y.std())
    if is_reversed(t, y):
        t = turned(t)
        known = None if known is None else 1 - known
        unit = -unit
    found = candidates.fit(y, t, x, groups, seed, known)
    table = describe_table(found)
    limits = weights.about["limits"]
    far = familiarity.distance(weights.reference, summary(table)[None], np.array([len(y)]))[0]
    each = combined(weights, table, describe_rows(table, found, x[:_JUDGED]))[2]
    distance = float(far / limits["distance"])
    apart = disagreement(each) / limits["disagreement"]
    return FittedLearner(
        familiar=max(distance, apart) <= 1,
        distance=distance,
        disagreement=apart,
        average=unit * found.average,
        error=abs(unit) * found.error,
        candidates=found,
        table=table,
        weights=weights,
        unit=unit,
    )


def _some_rows(t, groups, seed):
    """Positions of about `MOST_ROWS` rows, whole clusters, in order."""
    clusters = int(groups.max()) + 1
    order = np.random.default_rng([seed, 2]).permutation(clusters)
    sizes = np.bincount(groups)[order]
    chosen = order[: np.searchsorted(np.cumsum(sizes), MOST_ROWS) + 1]
    return np.flatnonzero(np.isin(groups, chosen))
