"""How often an edge is found again when the rows are drawn anew, and whether such frequencies can
be believed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import joblib
import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from causal_lib.checks import check_range
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import ARROW, NONE, TAIL, CausalGraph
from causal_lib.paths import write_text
from causal_lib.progress import progress_bar, without_bars
from causal_lib.resampling import resampled_indices, subsampled_indices

SAMPLINGS = ("bootstrap", "effective", "subsample")


@dataclass(frozen=True, eq=False, repr=False)
class Stability:
    """Shares of the draws in which each pair of variables had each edge.

    Parameters
    ----------
    names : the d variables.
    directed : (d, d), [i, j] the share of draws with i → j.
    undirected : (d, d), symmetric, the share with i — j.
    none : (d, d), symmetric, the share without an edge. What is left to 1 are ↔ and edges with
        circles.
    draws : their number.
    info : method, settings, sampling, seed.
    """

    names: tuple[str, ...]
    directed: np.ndarray
    undirected: np.ndarray
    none: np.ndarray
    draws: int
    info: Mapping[str, object] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row for each pair, the more frequent first, cause and effect in the more frequent
        direction.
        """
        rows = []
        for i, j in np.argwhere(np.triu(np.ones_like(self.none), 1)):
            i, j = (j, i) if self.directed[j, i] > self.directed[i, j] else (i, j)
            shares = (
                self.directed[i, j],
                self.directed[j, i],
                self.undirected[i, j],
                self.none[i, j],
            )
            rows.append((self.names[i], self.names[j], *shares))
        table = pd.DataFrame(
            rows, columns=["cause", "effect", "P(i->j)", "P(j->i)", "P(i-j)", "P(none)"]
        )
        return table.sort_values("P(none)", kind="stable", ignore_index=True)

    def graph(self, threshold: float = 0.5) -> CausalGraph:
        """The pairs that are adjacent in at least ``threshold`` of the draws, without a directed
        cycle.

        An edge is directed where more than half of the draws that have the edge direct it so.
        Directions are given in the order of their frequency; one that would close a directed cycle
        is left open (i — j). The result is a summary: it need not be the CPDAG of any DAG. Its
        ``info`` holds edge_probabilities, the share of draws of each edge as it is drawn (of
        adjacency, where it is undirected).
        """
        check_range([threshold], 0, 1, name="threshold", open_low=True)
        adjacent = np.triu(1 - self.none >= threshold - 1e-12, 1)
        marks = np.where(adjacent | adjacent.T, TAIL, NONE).astype(np.int8)
        clear = (self.directed > (1 - self.none) / 2 + 1e-12) & (marks == TAIL)
        order = nx.DiGraph()
        order.add_nodes_from(range(len(self.names)))
        for i, j in sorted(np.argwhere(clear).tolist(), key=lambda edge: -self.directed[*edge]):
            if not nx.has_path(order, j, i):
                order.add_edge(i, j)
                marks[i, j] = ARROW
        pairs = [(j, i) if marks[j, i] == ARROW else (i, j) for i, j in np.argwhere(np.triu(marks))]
        shares = [
            float(self.directed[i, j] if marks[i, j] == ARROW else 1 - self.none[i, j])
            for i, j in pairs
        ]
        edges = CausalGraph(self.names, marks).edges  # in the order of the pairs
        info = {
            "draws": self.draws,
            "threshold": threshold,
            "edge_probabilities": dict(zip(edges, shares, strict=True)),
        }
        return CausalGraph(self.names, marks, {**self.info, **info})

    def to_dict(self) -> dict:
        """Number of draws and the pairs that had an edge in some draw, as JSON types."""
        table = self.to_frame()
        return {"draws": self.draws, "pairs": table[table["P(none)"] < 1].to_dict("records")}

    def __repr__(self):
        found = int(np.triu(self.none <= 0.5, 1).sum())
        text = (
            f"Stability of {len(self.names)} variables over {self.draws} draws, {found} "
            f"pair{'s' * (found != 1)}"
        )
        return f"{text} adjacent in at least half of them"


def frequencies(
    data: pd.DataFrame | Statistics,
    names: Sequence[str],
    draws: int,
    search: Callable[[Statistics | pd.DataFrame], CausalGraph],
    *,
    sampling: str = "bootstrap",
    seed: int = 0,
    n_jobs: int = 1,
    resume: str | Path | None = None,
    key: str = "",
    progress: bool = True,
    info: Mapping[str, object] | None = None,
) -> Stability:
    """Shares of ``draws`` in which ``search`` finds each edge among the d variables ``names``.

    ``data`` are `Statistics` with that many draws, or rows that are drawn here from ``seed``.
    ``key`` stands for all that a graph depends on beside the draw: graphs in the folder ``resume``
    are kept under it. See `edge_stability`.
    """
    rows = not isinstance(data, Statistics)
    tasks = (
        joblib.delayed(_marks)(
            data if rows else data.draw(b), names, b, sampling, seed, search, key, resume
        )
        for b in progress_bar(range(draws), show=progress, desc="draws", unit="graph")
    )
    marks = np.array(joblib.Parallel(n_jobs)(tasks))
    arrow = marks == ARROW
    tail = marks == TAIL
    directed = (arrow & tail.swapaxes(1, 2)).mean(axis=0)
    undirected = (tail & tail.swapaxes(1, 2)).mean(axis=0)
    none = (marks == NONE).mean(axis=0)
    return Stability(tuple(names), directed, undirected, none, draws, dict(info or {}))


def hash_of(*parts):
    """The same for equal parts in every process; joblib's hash also sees which equal parts are one
    object.
    """
    parts = (
        part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode() for part in parts
    )
    return sha256(b"\0".join(parts)).hexdigest()


def _marks(sample, names, b, sampling, seed, search, common, folder):
    """(d, d) marks of the graph of one draw, of the folder where it is there already."""
    if isinstance(sample, Statistics):
        key = hash_of(common, sample.levels, sample.count, sample.mean, sample.cov)
        sample = replace(sample, count=sample.count / 2) if sampling == "effective" else sample
        varying = [name for name in names if sample.subset([name]).cov.any()]
    else:
        key = hash_of(common, b)
        n = len(sample)
        rng = np.random.default_rng([seed, b])
        drawn = (subsampled_indices if sampling == "subsample" else resampled_indices)(n, rng)
        sample = sample.set_axis(names, axis=1).iloc[drawn].reset_index(drop=True)
        varying = [name for name in names if (sample[name] != sample[name].iloc[0]).any()]
    path = folder and Path(folder) / f"{key}.json"
    if path and path.exists():
        return np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.int8)
    with without_bars():  # of the single draw: the one of `edge_stability` counts the draws
        found = search(
            sample.subset(varying) if isinstance(sample, Statistics) else sample[varying]
        )
    at = [names.index(name) for name in found.names]
    marks = np.zeros((len(names), len(names)), dtype=np.int8)
    marks[np.ix_(at, at)] = found.marks
    if path:
        write_text(path, json.dumps(marks.tolist()))
    return marks


def calibration(
    stabilities: Sequence[Stability], truths: Sequence[CausalGraph], bins: int = 10
) -> pd.DataFrame:
    """How often claims of a given frequency are true: one row for each of ``bins`` ranges of
    frequency that has claims.

    A claim is i → j, or i — j, of a pair; it is true when ``truths``, the CPDAGs that belong to
    ``stabilities``, have just that edge. Claims that no draw made are left out: they are many, and
    trivially right in sparse graphs.

    Returns
    ------- columns low, high (the range, high included), predicted (mean frequency), true (share),
    count, and the 95% Wilson interval ci_low, ci_high of the share. Claims of one graph depend on
    each other, so the interval is rather narrow. Raises ValueError when variables differ or no draw
    made any claim.
    """
    check_range([bins], 1, np.inf, name="bins")
    claims = []
    for stability, truth in zip(stabilities, truths, strict=True):
        if set(truth.names) != set(stability.names):
            different = ", ".join(sorted(set(truth.names) ^ set(stability.names)))
            raise ValueError(f"the variables of truth and stability differ: {different}")
        truth = truth.subgraph(stability.names)
        for shares, there in [
            (stability.directed, truth.adjacency),
            (np.triu(stability.undirected), truth.undirected),
        ]:
            claims.append(np.column_stack([shares[shares > 0], there[shares > 0]]))
    frequency, true = np.concatenate(claims).T
    if not len(frequency):
        raise ValueError("no draw found any edge, so there is nothing to calibrate")
    place = np.ceil(frequency * bins - 1e-9).astype(int)
    rows = []
    for k in np.unique(place):
        hit = int(true[place == k].sum())
        count = int((place == k).sum())
        interval = binomtest(hit, count).proportion_ci(method="wilson")
        rows.append(
            ((k - 1) / bins, k / bins, frequency[place == k].mean(), hit / count, count, *interval)
        )
    return pd.DataFrame(
        rows, columns=["low", "high", "predicted", "true", "count", "ci_low", "ci_high"]
    )


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of a `calibration` table: the mean of abs(predicted - true),
    weighted by count.
    """
    return float(np.average((table["predicted"] - table["true"]).abs(), weights=table["count"]))


def reliability_table(probability: np.ndarray, true: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Mean ``probability``, share ``true`` and count of claims (n,) in each of ``bins`` equal
    ranges of probability.
    """
    claims = pd.DataFrame({"predicted": np.asarray(probability), "true": np.asarray(true)})
    place = np.minimum((claims["predicted"] * bins).astype(int), bins - 1)
    return claims.groupby(place).mean().assign(count=claims.groupby(place).size())
