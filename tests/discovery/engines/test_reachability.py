import networkx as nx
import numpy as np
import pytest

from causal_lib.discovery.engines.reachability import close_transitively


@pytest.mark.parametrize("seed", range(6))
def test_the_closure_is_that_of_networkx(seed):
    adjacency = np.random.default_rng(seed).random((8, 8)) < 0.15
    expected = nx.transitive_closure(nx.from_numpy_array(adjacency, create_using=nx.DiGraph))
    given = adjacency.copy()
    assert (close_transitively(adjacency) == (nx.to_numpy_array(expected) > 0)).all()
    assert (adjacency == given).all()  # the argument is not changed


def test_no_variables_and_no_edges():
    assert close_transitively(np.zeros((0, 0), dtype=bool)).shape == (0, 0)
    assert not close_transitively(np.zeros((3, 3), dtype=bool)).any()
