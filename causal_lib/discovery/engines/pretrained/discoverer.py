"""The pretrained discoverer: calibrated probabilities of every edge of a table.

For a table unlike the training tables, it can run the order search instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch

from causal_lib.checks import check_frame, check_whole
from causal_lib.discovery.auditing import audit
from causal_lib.discovery.encoding import plain
from causal_lib.discovery.engines.dagma import keep_acyclic
from causal_lib.discovery.engines.order_search import search_orders
from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.discovery.engines.pretrained.features import SHRINK, Features, describe
from causal_lib.discovery.engines.pretrained.network import log_probabilities, reverse, triangles
from causal_lib.discovery.engines.pretrained.weights import Weights, load, of_names
from causal_lib.discovery.stability import frequencies
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

FALLBACK_DRAWS = 20
REPEATS = 4
"""Draws of the features over whose probabilities the mean is taken."""
# of an edge's probability: best F1 on the validation tables, among 0.3, 0.35, ..., 0.55
THRESHOLD = 0.4
_CERTAIN = 30.0  # log-odds of a required edge


@dataclass(frozen=True, eq=False, repr=False)
class EdgeProbabilities:
    """The networks' probabilities of i → j, j → i and no edge, which add up to 1, for every pair.

    Parameters
    ----------
    names : the d variables.
    directed : (d, d), [i, j] the probability of i → j.
    info : familiar (whether the table resembles what was trained on), distance and disagreement
        with their limits.
    error : (d, d) standard error of ``directed`` over the random draws of the features: another
        seed moves a probability by about as much. None where there was one draw.
    """

    names: tuple[str, ...]
    directed: np.ndarray
    info: Mapping[str, object] = field(default_factory=dict)
    error: np.ndarray | None = None

    @property
    def none(self) -> np.ndarray:
        """(d, d) symmetric, the probability that there is no edge."""
        return np.clip(1 - (self.directed + self.directed.T), 0, 1)

    def to_frame(self) -> pd.DataFrame:
        """One row for each pair, the likelier first, cause and effect in the likelier direction."""
        i, j = np.triu_indices(len(self.names), 1)
        turn = self.directed[j, i] > self.directed[i, j]
        cause = np.where(turn, j, i)
        effect = np.where(turn, i, j)
        names = np.array(self.names, dtype=object)
        columns = {
            "cause": names[cause],
            "effect": names[effect],
            "P(i->j)": self.directed[cause, effect],
            "P(j->i)": self.directed[effect, cause],
            "P(none)": self.none[cause, effect],
        }
        table = pd.DataFrame(columns)
        return table.sort_values("P(none)", kind="stable", ignore_index=True)

    def graph(
        self, threshold: float = THRESHOLD, required: np.ndarray | None = None
    ) -> CausalGraph:
        """The DAG of the edges of at least ``threshold``, the likelier first.

        An edge that would close a cycle is left out.
        """
        none = np.zeros(self.directed.shape, dtype=bool) if required is None else required
        adjacency = keep_acyclic(self.directed, threshold, none)
        edges = {
            f"{self.names[i]} -> {self.names[j]}": float(self.directed[i, j])
            for i, j in np.argwhere(adjacency)
        }
        undecided = self.undecided(threshold)
        return CausalGraph.from_adjacency(
            adjacency, self.names, edge_probabilities=edges, undecided=undecided, **self.info
        )

    def undecided(self, threshold: float = THRESHOLD) -> list[str]:
        """The pairs on which another seed may decide otherwise, as "a -- b".

        The likelier direction lies within two errors of the threshold, or reaches it within two
        errors of the other direction.
        """
        if self.error is None:
            return []
        found = []
        for i, j in zip(*np.triu_indices(len(self.names), 1), strict=True):
            likelier = max(self.directed[i, j], self.directed[j, i])
            gap = abs(self.directed[i, j] - self.directed[j, i])
            # the two directions may move against each other
            error = self.error[i, j] + self.error[j, i]
            near = abs(likelier - threshold) < 2 * max(self.error[i, j], self.error[j, i])
            if near or (likelier >= threshold and gap < 2 * error):
                found.append(f"{self.names[i]} -- {self.names[j]}")
        return found

    def __repr__(self):
        likely = int((self.none[np.triu_indices(len(self.names), 1)] < 0.5).sum())
        known = (
            "" if self.info.get("familiar", True) else "; the table is unlike those of the training"
        )
        return (
            f"EdgeProbabilities of {len(self.names)} variables, {likely} pairs more likely "
            f"adjacent than not{known}"
        )


def search(
    frame: pd.DataFrame,
    knowledge: Knowledge | None,
    seed: int,
    *,
    threshold: float,
    unfamiliar: str,
) -> CausalGraph:
    """The graph of `edge_probabilities`.

    For an unfamiliar table and ``unfamiliar='order'``, the graph of the order search.

    The order search is then run on `FALLBACK_DRAWS` bootstrap draws, and edges that half of them
    have are kept.
    """
    found = edge_probabilities(frame, knowledge=knowledge, seed=seed)
    if found.info["familiar"] or unfamiliar == "trust":
        required = (knowledge or Knowledge()).required_matrix(found.names)
        return found.graph(threshold, required)
    statistics = Statistics.from_frame(
        frame, missing="em", n_boot=FALLBACK_DRAWS, seed=seed
    ).shrunk(SHRINK)
    audit(statistics, knowledge=knowledge).raise_errors()
    search_draw = partial(_search_draw, knowledge=knowledge, seed=seed)
    stability = frequencies(
        statistics, statistics.names, FALLBACK_DRAWS, search_draw, progress=False
    )
    graph = stability.graph()
    info = {
        **found.info,
        "edge_probabilities": graph.info["edge_probabilities"],
        "undecided": [],
        "fallback": "order search with stability",
    }
    return CausalGraph(graph.names, graph.marks, info)


def _search_draw(draw, *, knowledge, seed):
    restricted = knowledge and knowledge.restrict(draw.names)
    return search_orders(draw, knowledge=restricted, seed=seed, restarts=20)


def edge_probabilities(
    frame: pd.DataFrame,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    weights: Weights | None = None,
) -> EdgeProbabilities:
    """Probabilities of edges between the columns of ``frame`` given ``knowledge``.

    They are the mean of the networks' probabilities, over ``repeats`` draws of the features: some
    features are answers on bootstrap draws, and one draw of them decides close calls by its seed.

    A forbidden edge has probability 0, a required edge 1. With more than 50 variables, only pairs
    that a solver of the features joins are considered; the others have probability 0.

    Parameters
    ----------
    frame : numbers, booleans, categories or text, no column constant; a missing value is taken from
        the nearest row.
    seed : of the bootstrap draws among the features, and of the sample of rows for expensive
        features.
    repeats : draws of the features; the time grows with them.
    weights : of `load`; by default those of the package.

    Raises
    ------
    ValueError
        for weights that cannot be used or were trained on other features.
    """
    weights = weights or load()
    check_frame(frame)
    frame = plain(frame)
    check_whole(repeats, name="repeats")
    seeds = [seed, *np.random.SeedSequence(seed).generate_state(repeats - 1).tolist()]
    draws = [_one_draw(frame, knowledge, one, weights) for one in seeds]
    directed = np.array([one for one, _ in draws])
    info = {
        name: float(np.mean([told[name] for _, told in draws]))
        for name in ("distance", "disagreement")
    }
    info = {"familiar": max(info.values()) <= 1} | info
    error = directed.std(axis=0, ddof=1) / np.sqrt(repeats) if repeats > 1 else None
    return EdgeProbabilities(tuple(frame.columns), directed.mean(axis=0), info, error)


def _one_draw(frame, knowledge, seed, weights):
    """(d, d) probabilities of i → j by one draw of the features, and how familiar they are."""
    features = describe(frame, knowledge, seed)
    if of_names(features.names) != weights.about["features"]:
        raise ValueError(
            "the weights were trained on other features than this version makes; "
            "run `causal-lib pretrain`"
        )
    directed = np.zeros((frame.shape[1], frame.shape[1]))
    if not features.index.size:  # many variables, and no solver joins any
        return directed, {"distance": 0.0, "disagreement": 0.0}
    logs = log_odds(weights, features)
    info = familiarity.judge(weights, features, logs)
    i, j = features.order[features.index]
    back = reverse(torch.from_numpy(features.index))
    forth = torch.from_numpy(logs)
    required = torch.from_numpy(features.required)
    possible = torch.from_numpy(features.allowed) & ~required[back]
    forth = torch.where(required, _CERTAIN, torch.where(possible, forth, -torch.inf))
    probabilities = torch.stack([log_probabilities(one, back)[:, 1].exp() for one in forth])
    directed[i, j] = probabilities.mean(0).numpy()
    return directed, info


def log_odds(weights: Weights, features: Features) -> np.ndarray:
    """(networks, pairs) log-odds of i → j against no edge, divided by the temperature."""
    index = torch.from_numpy(features.index)
    nodes = torch.from_numpy(features.nodes)
    pairs = torch.from_numpy(features.pairs)
    batch = (nodes, pairs, index, reverse(index), triangles(index))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that sums are taken in the same order everywhere
    try:
        with torch.no_grad():
            found = torch.stack([network(*batch) for network in weights.networks])
    finally:
        torch.set_num_threads(threads)
    return found.double().numpy() / weights.about["temperature"]
