"""Causal Bayesian networks of categories: fitted under a known DAG, queried under interventions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyagrum as gum

from causal_lib.checks import check_draws, check_frame
from causal_lib.graph import CausalGraph
from causal_lib.resampling import cluster_codes, percentile_ends, poisson_counts


@dataclass(frozen=True, repr=False)
class CausalNetwork:
    """A DAG with the probabilities of every variable given its parents.

    Attributes
    ----------
    graph : the DAG.
    levels : variable -> its levels in order; of a number that was cut, the intervals.
    nets : pyAgrum networks: that of the rows, then one for each bootstrap draw.
    rows : number of rows.
    """

    graph: CausalGraph
    levels: Mapping[str, pd.Index]
    nets: tuple
    rows: int

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        graph: CausalGraph,
        *,
        bins: int = 4,
        prior: float = 1.0,
        n_boot: int = 100,
        cluster: str | None = None,
        seed: int = 0,
    ) -> "CausalNetwork":
        """Estimate P(variable | parents) by counting the levels of each variable and its parents.

        Parameters
        ----------
        frame : one row per unit with every variable of ``graph``, no missing values.
        graph : a DAG; a hidden common cause would make the answers wrong: ask `identify` first.
        bins : quantile bins of numbers of more distinct values.
        prior : uniform pseudo-count, in rows, for each combination of parents (Dirichlet).
        n_boot, cluster, seed : bootstrap draws for the intervals, of rows or of the groups of a
            column.

        Raises
        ------
        ValueError
            for a graph that is not a DAG, absent or missing values, a prior of 0 or less, parents
            of over 10^6 combinations.
        """
        graph.require_dag("a causal Bayesian network")
        check_draws(n_boot)
        if not prior > 0:
            raise ValueError(
                f"prior must be above 0, not {prior}: what was never seen would have no "
                "probability at all"
            )
        check_frame(frame, [*graph.names, *([cluster] if cluster else [])], complete=True)
        codes = {}
        levels = {}
        for name in graph.names:
            codes[name], levels[name] = cut(frame[name], bins)
        tables = {}
        for name in graph.names:
            parents = sorted(graph.parents(name), key=graph.index)
            sizes = [len(levels[other]) for other in (*parents, name)]
            if np.prod(sizes[:-1], dtype=float) > 1e6:
                raise ValueError(
                    f"{name!r} has {len(parents)} parents with "
                    f"{np.prod(sizes[:-1], dtype=float):.0g} combinations; lower bins"
                )
            tables[name] = (
                parents,
                np.ravel_multi_index([codes[other] for other in (*parents, name)], sizes),
                sizes,
            )
        n = len(frame)
        rng = np.random.default_rng(seed)
        groups = cluster_codes(frame, cluster)
        weights = [
            np.ones(n),
            *(poisson_counts(groups.max() + 1, rng)[groups] for _ in range(n_boot)),
        ]
        return cls(graph, levels, tuple(_net(graph, levels, tables, w, prior) for w in weights), n)

    def query(
        self,
        outcome: str,
        *,
        do: Mapping[str, object] | None = None,
        given: Mapping[str, object] | None = None,
    ) -> pd.DataFrame:
        """P(outcome | do(...), given), a row for each level, with 95% bootstrap intervals.

        Parameters
        ----------
        do : variable -> level that it is set to by intervention, so its parents have no influence.
        given : variable -> level that is observed, after the intervention if it is an effect of it.
            Levels as in `levels`; of a number that was cut, any number.

        Raises
        ------
        ValueError
            for an unknown variable or level, or a variable in both or asked for itself.
        """
        do = dict(do or {})
        given = dict(given or {})
        self.graph.index(outcome)
        if both := (do.keys() & given.keys()) | ({outcome} & (do.keys() | given.keys())):
            raise ValueError(f"{sorted(both)[0]!r} is named twice: as outcome, in do or in given")
        at = {name: self._level(name, value) for name, value in (do | given).items()}
        answers = np.array([_posterior(net, outcome, do, at) for net in self.nets])
        table = pd.DataFrame(
            {"probability": answers[0]}, index=self.levels[outcome].rename(outcome)
        )
        if len(answers) > 1:
            table["low"], table["high"] = percentile_ends(answers[1:])
        return table

    def _level(self, name, value):
        self.graph.index(name)
        levels = self.levels[name]
        if isinstance(levels, pd.IntervalIndex):
            edges = levels.right[:-1]
            if not isinstance(value, pd.Interval):
                return int(np.searchsorted(edges, float(value), side="left"))
        if value not in levels:
            raise ValueError(
                f"{name!r} has no level {value!r}; levels: {', '.join(map(str, levels))}"
            )
        return int(levels.get_loc(value))

    def __repr__(self):
        count = len(self.nets) - 1
        return (
            f"CausalNetwork of {len(self.levels)} variables from {self.rows:,} rows, {count} "
            "bootstrap draws"
        )


def cut(column: pd.Series, bins: int) -> tuple[np.ndarray, pd.Index]:
    """(n,) codes and the levels of a column; numbers of over ``bins`` values in quantile bins."""
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(
        column.dtype
    )
    if numeric and column.nunique() > bins:
        found = pd.qcut(column.astype(float), bins, duplicates="drop")
        return found.cat.codes.to_numpy().astype(np.intp), pd.IntervalIndex(found.cat.categories)
    codes, levels = pd.factorize(column, sort=True)
    return codes, pd.Index(levels)


def _net(graph, levels, tables, weights, prior):
    net = graph.to_pyagrum({name: len(values) for name, values in levels.items()})
    for name, (parents, cell, sizes) in tables.items():
        counts = (
            np.bincount(cell, weights, minlength=int(np.prod(sizes))).reshape(sizes)
            + prior / sizes[-1]
        )
        # pyAgrum's own order of the parents; its arrays have the child last and the first parent
        # next to it
        order = list(net.cpt(name).names[1:])[::-1]
        counts = counts.transpose([*(parents.index(other) for other in order), len(parents)])
        net.cpt(name)[:] = np.ascontiguousarray(counts / counts.sum(axis=-1, keepdims=True))
    return net


def _posterior(net, outcome, do, at):
    """(levels,) probabilities by exact inference, the arcs into intervened variables removed."""
    cut = gum.BayesNet(net)
    for name in do:
        for parent in list(cut.parents(name)):
            cut.eraseArc(parent, cut.idFromName(name))
        cut.cpt(name).fillWith(1).normalizeAsCPT()
    engine = gum.LazyPropagation(cut)
    engine.setEvidence(at)
    engine.setTargets({outcome})
    engine.makeInference()
    return engine.posterior(outcome).toarray()
