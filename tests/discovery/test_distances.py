import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery import compare_graphs, shd
from causal_lib.discovery.distances import _gadjid
from causal_lib.graph import CausalGraph

NAMES = "abcd"


@st.composite
def dags(draw):
    order = draw(st.permutations(range(4)))
    upper = np.triu(np.array(draw(st.lists(st.booleans(), min_size=16, max_size=16))).reshape(4, 4), 1)
    return CausalGraph.from_adjacency(upper[np.ix_(order, order)], NAMES)


@given(dags(), dags())
def test_shd_counts_pairs(first, second):
    pairs = itertools.combinations(range(4), 2)
    different = sum(
        (first.marks[i, j], first.marks[j, i]) != (second.marks[i, j], second.marks[j, i]) for i, j in pairs
    )
    assert shd(first, second) == shd(second, first) == different


@given(dags())
def test_distance_to_itself_is_nought(graph):
    scores = compare_graphs(graph.cpdag(), graph.cpdag())
    assert (scores["shd"], scores["skeleton_f1"], scores["aid"]) == (0, 1.0, 0.0)


def test_gadjid_reads_rows_as_causes():
    # x -> y -> z, x -> z against its transpose: parents swapped, so adjusting by the estimate is wrong.
    truth = CausalGraph.from_edges("xyz", ["x -> y", "y -> z", "x -> z"])
    assert _gadjid(truth).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    missing = CausalGraph.from_edges("xyz", ["x -> y", "y -> z"])
    # Without x -> z, the only wrong claim by parent adjustment is y on z, which needs x: 1 of 6 ordered pairs.
    assert compare_graphs(missing, truth)["aid"] == pytest.approx(1 / 6)
