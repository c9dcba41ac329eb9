"""The effects that a class of graphs leaves possible, and whether a decision depends on it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph, check_graph
from causal_lib.inference.effects import effect, shown
from causal_lib.inference.equivalence import members
from causal_lib.inference.estimators import WITHOUT_COLUMNS
from causal_lib.inference.identification import NotIdentifiableError, identify
from causal_lib.inference.support import VERDICTS

LIMIT = 1000


class Directions(Protocol):
    """How sure each direction is: `discovery.Stability`, or the probabilities of a discoverer."""

    names: tuple[str, ...]
    directed: np.ndarray  # (d, d), [i, j] the share or probability of i → j


@dataclass(frozen=True, repr=False)
class EffectRange:
    """Possible effects of ``treatment`` on ``outcome``.

    Attributes
    ----------
    table : a row for each different answer, the most frequent first: adjustment (None: no effect,
        or refused), share of the graphs, value, low, high (nan where refused), why (the strategy,
        or the refusal), verdict (of `effects.Effect`: what the data can say of the answer; '' where
        none is estimated).
    graphs : number of members examined.
    exact : whether these were all members of the class, not a sample of them.
    """

    treatment: str
    outcome: str
    table: pd.DataFrame
    graphs: int
    exact: bool

    @property
    def low(self) -> float:
        """The smallest value over the graphs that identify one."""
        return float(self.table["value"].min())

    @property
    def high(self) -> float:
        """The largest value."""
        return float(self.table["value"].max())

    @property
    def positive(self) -> float:
        """Share of the graphs under which the whole interval lies above 0."""
        return float(self.table.loc[self.table["low"] > 0, "share"].sum())

    @property
    def negative(self) -> float:
        """Share of the graphs under which the whole interval lies below 0."""
        return float(self.table.loc[self.table["high"] < 0, "share"].sum())

    @property
    def decided(self) -> bool:
        """Whether under every graph the interval excludes 0 on the same side."""
        return bool(np.isclose(max(self.positive, self.negative), 1))

    def __repr__(self):
        what = f"{self.graphs} graph{'s' * (self.graphs != 1)}" + (
            "" if self.exact else " (a sample)"
        )
        text = (
            f"effect of {self.treatment} on {self.outcome} over {what}: {shown(self.low)} to "
            f"{shown(self.high)}; above 0 in "
            f"{self.positive:.0%}, below 0 in {self.negative:.0%} of them"
        )
        for verdict in VERDICTS[1:]:
            if share := self.table.loc[self.table["verdict"] == verdict, "share"].sum():
                text += f"; {verdict} in {share:.0%}"
        return text


def effect_range(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    graph: CausalGraph | Sequence[CausalGraph],
    *,
    directions: Directions | None = None,
    hidden: Iterable[str] = (),
    estimator: str | None = None,
    limit: int = LIMIT,
    **how,
) -> EffectRange:
    """The effect under every DAG that ``graph`` stands for.

    Up to ``limit`` members are all examined. Of a larger class, the package cliquepicking draws a
    uniform sample of ``limit`` from the system's entropy. Members with the same adjustment set
    share one estimate.

    Parameters
    ----------
    frame, estimator, how : as of `effect`, by default its estimator for the treatment. Where a
        member has nothing to adjust for and the estimator needs columns, the one that it becomes
        without them is taken: 'regression' or 'aipw'.
    graph : a CPDAG; or several, for instance those of bootstrap draws: each then counts the same.
    directions : weights the members by how often each direction was found. The weight of a DAG is
        the product, over the open edges, of the share of its direction among the draws that direct
        the edge: edges are taken as independent. Without it all members count the same.
    hidden : as of `identify`.

    Raises
    ------
    ValueError
        for no graph, one that stands for no class of DAGs, a class larger than ``limit`` whose
        directions come from knowledge (it cannot be sampled), directions of other variables, and
        for whatever `effect` refuses.

    Source: Maathuis, Kalisch and Bühlmann 2009; Wienöbst, Bannach and Liśkiewicz 2023 (sampling);
    adjusting by the set of least variance, Henckel, Perković and Maathuis 2022.
    """
    dags, weights, exact = _weighted_members(graph, directions, limit)
    shares = Counter()
    hidden = tuple(hidden)
    for dag, weight in zip(dags, weights, strict=True):
        shares[_strategy_and_set(dag, treatment, outcome, hidden)] += weight
    rows = [
        (
            adjustment,
            share,
            *_answer(frame, treatment, outcome, strategy, adjustment, estimator, how),
        )
        for (strategy, adjustment), share in shares.most_common()
    ]
    columns = ["adjustment", "share", "value", "low", "high", "why", "verdict"]
    table = pd.DataFrame(rows, columns=columns)
    return EffectRange(treatment, outcome, table, len(dags), exact)


def best_treatments(
    frame: pd.DataFrame,
    treatments: Sequence[str],
    outcome: str,
    graph: CausalGraph | Sequence[CausalGraph],
    k: int = 1,
    *,
    directions: Directions | None = None,
    hidden: Iterable[str] = (),
    estimator: str | None = None,
    limit: int = LIMIT,
    **how,
) -> pd.DataFrame:
    """Which ``k`` treatments have the largest effects, and whether that depends on the graph.

    As `effect_range` of each treatment, over the same members. A treatment whose effect is not
    identified in a member is not chosen there.

    Returns
    -------
    One row per treatment, the most often chosen first: low and high (smallest and largest value
    over the members), chosen (share of the members, weighted, in which it is among the k largest
    values), refused (share in which it is not identified), verdict (the worst of the members'
    estimates, as of `effects.Effect`; '' where there is none). The choice does not depend on the
    graph when ``chosen`` holds only 0 and 1.
    """
    if not 1 <= k < len(treatments):
        raise ValueError(
            f"k must lie between 1 and {len(treatments) - 1}, one less than the treatments, not {k}"
        )
    dags, weights, _ = _weighted_members(graph, directions, limit)
    hidden = tuple(hidden)
    known = {}
    values = np.empty((len(dags), len(treatments)))
    for row, dag in enumerate(dags):
        for column, name in enumerate(treatments):
            key = (name, *_strategy_and_set(dag, name, outcome, hidden))
            if key not in known:
                known[key] = _answer(frame, name, outcome, *key[1:], estimator, how)
            values[row, column] = known[key][0]
    verdicts = {name: {""} for name in treatments}
    for (name, *_), answer in known.items():
        verdicts[name].add(answer[-1])
    refused = np.isnan(values)
    order = np.argsort(np.where(refused, np.inf, -values), axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    # unlike numpy's, its min is nan without a warning where all members refuse
    by_treatment = pd.DataFrame(values)
    table = pd.DataFrame(
        {
            "low": by_treatment.min().to_numpy(),
            "high": by_treatment.max().to_numpy(),
            "chosen": weights @ ((rank < k) & ~refused),
            "refused": weights @ refused,
            "verdict": [max(verdicts[name], key=("", *VERDICTS).index) for name in treatments],
        },
        index=pd.Index(treatments, name="treatment"),
    )
    return table.sort_values("chosen", ascending=False, kind="stable")


def _answer(frame, treatment, outcome, strategy, adjustment, estimator, how):
    """Value, low, high (0 where there is no effect, nan where it is refused), why and verdict."""
    if adjustment is None:
        return (*(0.0 if strategy == "no effect" else np.nan,) * 3, strategy, "")
    if not adjustment:
        estimator = WITHOUT_COLUMNS.get(estimator, estimator)
    found = effect(frame, treatment, outcome, adjustment=adjustment, estimator=estimator, **how)
    return found.value, found.low, found.high, strategy, found.verdict


def _weighted_members(graph, directions, limit):
    """Member DAGs, their weights (which sum to 1), and whether they are all."""
    graphs = [graph] if isinstance(graph, CausalGraph) else list(graph)
    for one in graphs:
        check_graph(one)
    exact = True
    if not graphs:
        raise ValueError("graph: give at least one")
    every = []
    weights = []
    for one in graphs:
        dags, whole = _members_or_sample(one, limit)
        exact = exact and whole
        every = every + dags
        own = np.ones(len(dags))
        if directions is not None:
            own = _likelihood_of_directions(one, dags, directions)
        weights.append(own / own.sum() / len(graphs))
    return every, np.concatenate(weights), exact


def _likelihood_of_directions(graph, dags, directions):
    """(members,) products of the shares of their directions.

    Half a draw is added to both directions of an edge, so that none is impossible.
    """
    if strange := sorted(set(graph.names) - set(directions.names)):
        raise ValueError(
            f"directions lack {', '.join(strange)}: they must be of the graph's variables"
        )
    at = [list(directions.names).index(name) for name in graph.names]
    half_a_draw = 0.5 / getattr(directions, "draws", 100)
    found = np.asarray(directions.directed, dtype=float)[np.ix_(at, at)] + half_a_draw
    share = np.log(found / (found + found.T))
    open_edges = graph.undirected
    logs = np.array([share[dag.adjacency & open_edges].sum() for dag in dags])
    return np.exp(logs - logs.max())


def _strategy_and_set(dag, treatment, outcome, hidden):
    try:
        estimand = identify(dag, treatment, outcome, hidden=hidden)
    except NotIdentifiableError:
        return "not identifiable", None
    return estimand.strategy, estimand.optimal


def _members_or_sample(graph, limit):
    """At most ``limit`` members, and whether they are all."""
    found = list(islice(members(graph), limit + 1))
    if len(found) <= limit:
        return found, True
    if graph.extension().cpdag() != graph:
        raise ValueError(
            f"graph: its class has more than {limit} members, and with directions from knowledge "
            "it cannot be sampled; "
            "raise limit, or direct more edges"
        )
    from cliquepicking import MecSampler

    edges = [(int(i), int(j)) for i, j in np.argwhere(graph.adjacency | graph.undirected)]
    sampler = MecSampler(edges)
    drawn = []
    for _ in range(limit):
        adjacency = np.zeros(graph.marks.shape, dtype=bool)
        adjacency[tuple(np.array(sampler.sample_dag()).T)] = True
        drawn.append(CausalGraph.from_adjacency(adjacency, graph.names))
    return drawn, False
