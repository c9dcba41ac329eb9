"""The BIC of a graph from moments alone: what the score-based methods report, and an oracle for the
order search.
"""

import itertools

import numpy as np

from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph


def gaussian_bic(
    graph: CausalGraph, correlation: np.ndarray, count: float, penalty: float = 2.0, widths=None
) -> float:
    """Σ n ln det var(z | parents) + penalty · ln n · parameters of a DAG or of any member of a
    CPDAG, less that of no edges.

    ``correlation`` is that of the columns, ``widths`` (d,) how many each variable has (default: one
    each). The textbook BIC has ``penalty`` 1. Raises ValueError for a graph without a member.
    """
    parents = graph.extension().adjacency.T
    widths = np.ones(len(parents), dtype=int) if widths is None else np.asarray(widths)
    first = np.concatenate([[0], np.cumsum(widths)])
    blocks = [np.arange(a, b) for a, b in itertools.pairwise(first)]

    def log_det(variables):
        columns = (
            np.concatenate([blocks[v] for v in variables])
            if len(variables)
            else np.zeros(0, dtype=int)
        )
        return np.linalg.slogdet(correlation[np.ix_(columns, columns)])[1]

    total = 0.0
    for z, row in enumerate(parents):
        of_z = row.nonzero()[0]
        total += count * (log_det([z, *of_z]) - log_det(of_z) - log_det([z]))
        total += penalty * np.log(count) * widths[z] * widths[of_z].sum()
    return float(total)


def bic(statistics: Statistics, graph: CausalGraph, *, penalty: float = 2.0) -> float:
    """The `gaussian_bic` of ``graph`` over variables of ``statistics``; categories count as blocks,
    as in `order_search`.
    """
    stats = statistics.subset(graph.names)
    return gaussian_bic(graph, stats.correlation, stats.count, penalty, stats.widths)
