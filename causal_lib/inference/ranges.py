"""The effects that a class of graphs leaves possible, each with its interval, and whether a decision depends on which it is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph
from causal_lib.inference.classes import members
from causal_lib.inference.effects import Effect, effect
from causal_lib.inference.identification import NotIdentifiableError, identify

LIMIT = 1000


@dataclass(frozen=True, repr=False)
class EffectRange:
    """Possible effects of ``treatment`` on ``outcome``.

    Attributes
    ----------
    table : one row for each different answer, the most frequent first: adjustment (None: no effect, or refused), share of the
        graphs, value, low, high (nan where refused), why (the strategy, or the refusal).
    graphs : members looked at.
    exact : whether these were all members of the class, not a sample of them.
    """

    treatment: str
    outcome: str
    table: pd.DataFrame
    graphs: int
    exact: bool

    @property
    def low(self) -> float:
        """The smallest value, over the graphs that identify one."""
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
        """Whether the sign is the same, and clear of 0, under every graph."""
        return bool(np.isclose(max(self.positive, self.negative), 1))

    def __repr__(self):
        what = f"{self.graphs} graph{'s' * (self.graphs != 1)}" + ("" if self.exact else " (a sample)")
        return (
            f"effect of {self.treatment} on {self.outcome} over {what}: {self.low:.4f} to {self.high:.4f}; above 0 in "
            f"{self.positive:.0%}, below 0 in {self.negative:.0%} of them"
        )


def effect_range(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    graph: CausalGraph | Sequence[CausalGraph],
    *,
    hidden: Iterable[str] = (),
    estimator: str = "aipw",
    limit: int = LIMIT,
    **how,
) -> EffectRange:
    """The effect under every DAG that ``graph`` stands for.

    Up to ``limit`` members are all looked at; of a larger class a uniform sample of ``limit`` is, which the package
    cliquepicking draws from the system's entropy. Members in which the same set is to be adjusted for share one estimate.

    Parameters
    ----------
    frame, estimator, how : as of `effect`.
    graph : a CPDAG; or several, for instance those of bootstrap draws: each then counts the same.
    hidden : as of `identify`.

    Raises
    ------
    ValueError
        for no graph, one that stands for no class of DAGs, a class larger than ``limit`` whose directions come from
        knowledge (it cannot be sampled), and for whatever `effect` refuses.

    Source: Maathuis, Kalisch and Bühlmann 2009; Wienöbst, Bannach and Liśkiewicz 2023 (sampling); adjusting by the set of least
    variance, Henckel, Perković and Maathuis 2022.
    """
    graphs, hidden, exact = [graph] if isinstance(graph, CausalGraph) else list(graph), tuple(hidden), True
    if not graphs:
        raise ValueError("graph: give at least one")
    shares, looked = Counter(), 0
    for one in graphs:
        dags, whole = _some(one, limit)
        exact, looked = exact and whole, looked + len(dags)
        for dag in dags:
            shares[_answer(dag, treatment, outcome, hidden)] += 1 / len(dags) / len(graphs)
    rows = []
    for (strategy, adjustment), share in shares.most_common():
        if adjustment is not None:
            found: Effect = effect(frame, treatment, outcome, adjustment=adjustment, estimator=estimator, **how)
            value, low, high = found.value, found.low, found.high
        else:
            value = low = high = 0.0 if strategy == "no effect" else np.nan
        rows.append((adjustment, share, value, low, high, strategy))
    table = pd.DataFrame(rows, columns=["adjustment", "share", "value", "low", "high", "why"])
    return EffectRange(treatment, outcome, table, looked, exact)


def _answer(dag, treatment, outcome, hidden):
    try:
        estimand = identify(dag, treatment, outcome, hidden=hidden)
    except NotIdentifiableError:
        return "not identifiable", None
    return estimand.strategy, estimand.optimal


def _some(graph, limit):
    """At most ``limit`` members, and whether they are all."""
    found = list(islice(members(graph), limit + 1))
    if len(found) <= limit:
        return found, True
    if graph.extension().cpdag() != graph:
        raise ValueError(
            f"graph: its class has more than {limit} members, and with directions from knowledge it cannot be sampled; "
            "raise limit, or direct more edges"
        )
    from cliquepicking import MecSampler

    edges = [(int(i), int(j)) for i, j in np.argwhere(graph.adjacency | graph.undirected)]
    sampler, drawn = MecSampler(edges), []
    for _ in range(limit):
        adjacency = np.zeros(graph.marks.shape, dtype=bool)
        adjacency[tuple(np.array(sampler.sample_dag()).T)] = True
        drawn.append(CausalGraph.from_adjacency(adjacency, graph.names))
    return drawn, False
