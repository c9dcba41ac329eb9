"""How far an estimated graph is from the truth: edges and, since it is what matters, adjustment
sets.
"""

import gadjid
import numpy as np
import pandas as pd

from causal_lib.graph import ARROW, CausalGraph

MEMBERS = 10  # random DAGs that stand for a class of graphs


def shd(estimate: CausalGraph, truth: CausalGraph) -> int:
    """Structural Hamming distance: pairs of variables whose edge differs; a reversal, like any
    other change, counts once.

    Compare like with like: a CPDAG with ``truth.cpdag(knowledge)``.
    """
    estimate = _aligned(estimate, truth)
    differs = (estimate.marks != truth.marks) | (estimate.marks.T != truth.marks.T)
    return int(np.triu(differs).sum())


def edge_status(estimate: CausalGraph, truth: CausalGraph) -> pd.DataFrame:
    """Every edge of either graph with its status: 'right', 'reversed', 'direction open', 'missing'
    or 'extra'.

    Columns cause, effect, status: cause and effect as in the estimate, or as in the truth where it
    is missing. An edge that is undirected in both is 'right'; undirected in the estimate only,
    'direction open'; directed in the estimate only, 'reversed' is not said of it: the class allows
    it, so it counts as 'direction open' too.
    """
    estimate = _aligned(estimate, truth)
    rows = []
    for i, j in np.argwhere(np.triu(estimate.skeleton | truth.skeleton)):
        if not estimate.skeleton[i, j]:
            source = truth
            status = "missing"
        elif not truth.skeleton[i, j]:
            source = estimate
            status = "extra"
        elif (
            estimate.marks[i, j] == truth.marks[i, j] and estimate.marks[j, i] == truth.marks[j, i]
        ):
            source = estimate
            status = "right"
        elif estimate.undirected[i, j] or truth.undirected[i, j]:
            source = estimate
            status = "direction open"
        else:
            source = estimate
            status = "reversed"
        i, j = (j, i) if source.adjacency[j, i] else (i, j)
        rows.append((truth.names[i], truth.names[j], status))
    return pd.DataFrame(rows, columns=["cause", "effect", "status"])


def compare_graphs(estimate: CausalGraph, truth: CausalGraph) -> dict[str, float]:
    """Distances of ``estimate`` from ``truth``: a dict of

    - ``shd``: see `shd`;
    - ``skeleton_precision``, ``skeleton_recall``, ``skeleton_f1``: adjacencies, whatever their
      direction;
    - ``direction_accuracy``: share right among the adjacencies that both have (nan when there are
      none);
    - ``arrowhead_precision``, ``arrowhead_recall``, ``arrowhead_f1``: arrowheads, that is ordered
      pairs (i, j) with an arrow at j. A reversed edge is one wrong and one missing, an undirected
      edge has none;
    - ``aid``: parent adjustment identification distance, the share of ordered pairs of variables
      for which adjusting for the parents that the estimate names does not give the effect that the
      truth has (0 best, 1 worst); nan unless both are DAGs or CPDAGs;
    - ``sid``: structural intervention distance as such a share. It is defined between DAGs, where
      it equals ``aid``, which extends it to classes; nan when one of the graphs is a CPDAG.

    A precision without anything found, and a recall without anything to find, is 1. A DAG is scored
    as it stands: compare CPDAGs (``truth.cpdag(knowledge)``) where only the class can be known.

    Raises
    ------
    ValueError
        when the variables differ or a graph has a directed cycle.

    Source: Henckel, Würtzen and Weichwald 2024 (gadjid), arXiv 2402.08616; Peters and Bühlmann 2015
    (SID).

    >>> truth = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    >>> scores = compare_graphs(CausalGraph.from_edges("abc", ["b -> a", "b -> c"]), truth)
    >>> scores["shd"], scores["skeleton_f1"], scores["direction_accuracy"]
    (1, 1.0, 0.5)
    """
    estimate = _aligned(estimate, truth)
    status = edge_status(estimate, truth)["status"]
    common = int(status.isin(["right", "reversed", "direction open"]).sum())
    kinds = {truth.kind, estimate.kind}
    if "cyclic" in kinds:
        raise ValueError("a graph has a directed cycle; compare acyclic graphs")
    matrices = (_gadjid(truth), _gadjid(estimate))
    by_rows = {"edge_direction": "from row to column"}
    return {
        "shd": shd(estimate, truth),
        **_named("skeleton", np.triu(estimate.skeleton), np.triu(truth.skeleton)),
        "direction_accuracy": float((status == "right").sum() / common) if common else float("nan"),
        **_named("arrowhead", estimate.marks == ARROW, truth.marks == ARROW),
        "aid": gadjid.parent_aid(*matrices, **by_rows)[0]
        if kinds <= {"DAG", "CPDAG"}
        else float("nan"),
        "sid": gadjid.sid(*matrices, **by_rows)[0] if kinds == {"DAG"} else float("nan"),
    }


def random_members(graph: CausalGraph, seed: int, count: int = MEMBERS) -> list[np.ndarray]:
    """(d, d) adjacencies of random DAGs that ``graph`` stands for; what no DAG fits gets its open
    edges by a random order.
    """
    rng = np.random.default_rng(seed)
    names = list(graph.names)
    found = []
    for _ in range(count if graph.kind != "DAG" else 1):
        order = [names[k] for k in rng.permutation(len(names))]
        try:
            found.append(graph.subgraph(order).extension().subgraph(names).adjacency)
        except ValueError:
            before = np.empty(len(names))
            before[[names.index(name) for name in order]] = np.arange(len(names))
            found.append(graph.adjacency | (graph.undirected & (before[:, None] < before)))
    return found


def directed_f1(graph: CausalGraph, truth: CausalGraph, seed: int = 0) -> float:
    """F1 of the edges with their directions, the mean over `random_members`."""
    true = truth.subgraph(graph.names).adjacency
    return float(
        np.mean([precision_recall_f1(one, true)[2] for one in random_members(graph, seed)])
    )


def precision_recall_f1(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 of the (d, d) bool ``found`` against ``true``; 1 where there is
    nothing to be wrong about.
    """
    both = int((found & true).sum())
    n_found = int(found.sum())
    n_true = int(true.sum())
    precision = both / n_found if n_found else 1.0
    recall = both / n_true if n_true else 1.0
    return (
        precision,
        recall,
        2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    )


def _named(what, found, true):
    precision, recall, f1 = precision_recall_f1(found, true)
    return {f"{what}_precision": precision, f"{what}_recall": recall, f"{what}_f1": f1}


def _gadjid(graph):
    """gadjid's matrix: 1 in [i, j] for i → j, 2 in one of [i, j], [j, i] for i — j."""
    return graph.adjacency.astype(np.int8) + 2 * np.triu(graph.undirected).astype(np.int8)


def _aligned(estimate, truth):
    different = sorted(set(estimate.names) ^ set(truth.names))
    if different:
        raise ValueError(
            f"the graphs' variables differ: {', '.join(different)} only in one of them"
        )
    return estimate.subgraph(truth.names)
