"""The transitive closure of a directed graph."""

import numpy as np


def close_transitively(adjacency: np.ndarray) -> np.ndarray:
    """(d, d) bool: [i, j] is true where a directed path of at least one edge leads from i to j.

    Source: Warshall, Journal of the ACM 9 (1962).

    >>> chain = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    >>> close_transitively(chain).astype(int).tolist()
    [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    """
    reachable = adjacency.copy()
    for through in range(len(reachable)):
        reachable |= np.outer(reachable[:, through], reachable[through])
    return reachable
