"""Effects of new rows by the trained networks, with intervals, or by the R-stack where a table is
unlike those of the training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.inference.nuisances import is_reversed, turned
from causal_lib.inference.pretrained import candidates
from causal_lib.inference.pretrained.candidates import NAMES, Candidates
from causal_lib.inference.pretrained.features import Cells, Table, describe_rows, describe_table
from causal_lib.inference.pretrained.weights import Weights, load
from causal_lib.reasons import Reason

MOST_ROWS = 5000  # candidates of a larger table are fitted to so many of its rows
_CHUNK = 5000  # rows that are answered at once
_JUDGED = 500  # rows by which the disagreement of the networks is judged
_STACK = NAMES.index("r_stack")


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of m rows, in units of the outcome.

    Attributes
    ----------
    effects : (m,).
    widths : (m,) of their error, of which intervals are multiples.
    outcomes : (m, 2) expected outcome without and with treatment, which differ by the effect.
    """

    effects: np.ndarray
    widths: np.ndarray
    outcomes: np.ndarray


@dataclass(frozen=True, eq=False)
class FittedLearner:
    """The trained networks on one table, all columns in one role each.

    Attributes
    ----------
    familiar : whether the table resembles those of the training.
    distance, disagreement : out-of-distribution scores as shares of their limits; beyond 1 the
        table is unfamiliar.
    average, error : of the doubly robust scores, in units of the outcome.
    mean : the average effect as the networks see it, without a claim of its coverage.
    candidates, table : what the networks see, of the standardised outcome.
    weights : of the networks.
    unit : of the standardised outcome, negative where the arms are exchanged for the fit.
    origin : outcome that is 0 when standardised.
    """

    familiar: bool
    distance: float
    disagreement: float
    average: float
    error: float
    mean: float
    candidates: Candidates
    table: Table
    weights: Weights
    unit: float
    origin: float

    def answer(self, x: np.ndarray) -> Answer:
        """Of rows (m, columns)."""
        parts = [
            self._some(x[first : first + _CHUNK]) for first in range(0, max(len(x), 1), _CHUNK)
        ]
        return Answer(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _some(self, x):
        cells = describe_rows(self.table, self.candidates, x)
        found = combined(self.weights, self.table, cells)
        effects = found.effects
        shares = found.shares
        if not self.familiar:
            effects = cells.cells[:, _STACK, 0] + self.table.candidates[_STACK, 0]
            shares = self.candidates.shares
        scale = self.table.scale
        effects = self.candidates.average + scale * effects
        arms = (cells.outcomes * shares).sum(axis=2)
        e = cells.chances
        middle = (1 - e) * arms[:, 0] + e * arms[:, 1]
        arms = np.column_stack([middle - e * effects, middle + (1 - e) * effects])
        arms = self.origin + abs(self.unit) * (arms[:, ::-1] if self.unit < 0 else arms)
        return self.unit * effects, abs(self.unit) * scale * found.widths, arms

    def interval(self, x: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends (m,) and (m,) that hold the effect of a row in ``level`` of the rows of tables such
        as those of the training, on average over tables.

        Raises ValueError for an unfamiliar table, and for a level beyond those calibrated.
        """
        return _interval(self, x, level, self.weights)

    @property
    def note(self) -> str:
        """What a reader should know of an unfamiliar table; empty for a familiar one."""
        if self.familiar:
            return ""
        far = {"distance": f"{self.distance:.1f}", "apart": f"{self.disagreement:.1f}"}
        return Reason("unlike_training", **far)


@dataclass(frozen=True, eq=False)
class AveragedLearner:
    """The mean of the answers for several roles of the columns, as the graphs of a class give them.

    Attributes
    ----------
    parts : the learner for each of the roles.
    shares : (parts,) of the class's members.
    """

    parts: tuple[FittedLearner, ...]
    shares: np.ndarray

    @property
    def familiar(self) -> bool:
        """Whether the table is familiar in all roles."""
        return all(part.familiar for part in self.parts)

    @property
    def note(self) -> str:
        """As of the first part that has one."""
        return next((part.note for part in self.parts if part.note), "")

    def answer(self, x: np.ndarray) -> Answer:
        """Of rows (m, columns); widths grow by how far the parts differ."""
        found = [part.answer(x) for part in self.parts]
        effects = np.array([one.effects for one in found])
        widths = np.array([one.widths for one in found])
        mean = self.shares @ effects
        spread = self.shares @ (widths**2 + (effects - mean) ** 2)
        outcomes = np.tensordot(self.shares, [one.outcomes for one in found], 1)
        return Answer(mean, np.sqrt(spread), outcomes)

    def interval(self, x: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """As `FittedLearner.interval`."""
        return _interval(self, x, level, self.parts[0].weights)


def _interval(fitted, x, level, weights):
    if not fitted.familiar:
        raise ValueError(
            "the table is unlike those that the pretrained learner was trained on, so that its "
            "intervals mean nothing here; use the default learner"
        )
    levels = weights.reference["levels"]
    if level > levels[-1]:
        raise ValueError(
            f"{level=}: the intervals of the pretrained learner are calibrated up to "
            f"{levels[-1]:.2f}"
        )
    found = fitted.answer(x)
    quantiles = weights.reference["quantiles"]
    times = np.interp(level, np.append(0, levels), np.append(0, quantiles))
    return found.effects - times * found.widths, found.effects + times * found.widths


@dataclass(frozen=True, eq=False)
class Combined:
    """The networks together, in scales.

    Attributes
    ----------
    effects, widths : (m,) mean δ and its half-width.
    each : (networks, m) δ.
    average : mean A.
    shares : (2, kinds) of the regressions of the outcome.
    """

    effects: np.ndarray
    widths: np.ndarray
    each: np.ndarray
    average: float
    shares: np.ndarray


def combined(weights: Weights, table: Table, cells: Cells) -> Combined:
    """What the networks say of the rows of ``cells``."""
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
    each = np.array([found.effects[0].double().numpy() for found in answers])
    widths = np.array([found.widths[0].double().numpy() for found in answers])
    return Combined(
        each.mean(axis=0),
        joint_width(each, widths),
        each,
        float(np.mean([found.averages[0].item() for found in answers])),
        np.mean([found.shares[0].double().numpy() for found in answers], axis=0),
    )


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
    roles: Sequence[tuple[Sequence[str], float]] | None = None,
    weights: Weights | None = None,
) -> FittedLearner | AveragedLearner:
    """The networks on n rows.

    Parameters
    ----------
    y : (n,) outcome; t : (n,) treatment, 0 or 1; x : (n, p) columns; groups : (n,) clusters.
    seed : of folds and models. It chooses the rows, too, of a table of more than 5,000.
    known : (n,) probabilities of treatment, where they are known.
    roles : of the p columns, with the share of each of several answers, as of `roles.roles_of`; the
        answer is their mean.
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
    parts = [
        _fit(y, t, x, groups, seed, known, one, weights)
        for one, _ in (roles or [(("unknown",) * x.shape[1], 1.0)])
    ]
    if len(parts) == 1:
        return parts[0]
    return AveragedLearner(tuple(parts), np.array([share for _, share in roles]))


def _fit(y, t, x, groups, seed, known, roles, weights):
    unit = float(y.std())
    if is_reversed(t, y):
        t = turned(t)
        known = None if known is None else 1 - known
        unit = -unit
    found = candidates.fit(y, t, x, groups, seed, known, roles)
    table = describe_table(found)
    limits = weights.about["limits"]
    far = familiarity.distance(weights.reference, summary(table)[None], np.array([len(y)]))[0]
    said = combined(weights, table, describe_rows(table, found, x[:_JUDGED]))
    distance = float(far / limits["distance"])
    apart = disagreement(said.each) / limits["disagreement"]
    return FittedLearner(
        familiar=max(distance, apart) <= 1,
        distance=distance,
        disagreement=apart,
        average=unit * found.average,
        error=abs(unit) * found.error,
        mean=unit * (found.average + table.scale * said.average),
        candidates=found,
        table=table,
        weights=weights,
        unit=unit,
        origin=float(y.mean()),
    )


def _some_rows(t, groups, seed):
    """Positions of about `MOST_ROWS` rows, whole clusters, in order."""
    clusters = int(groups.max()) + 1
    order = np.random.default_rng([seed, 2]).permutation(clusters)
    sizes = np.bincount(groups)[order]
    chosen = order[: np.searchsorted(np.cumsum(sizes), MOST_ROWS) + 1]
    return np.flatnonzero(np.isin(groups, chosen))
