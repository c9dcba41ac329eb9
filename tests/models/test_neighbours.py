"""Draws against the sum over all neighbours; order and weights by hand."""

import numpy as np
import torch

from causal_lib.models.neighbours import Neighbours

EDGES = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]])  # 0 - 1 - 2, and 3 alone


def weights(near):
    """One over the roots of both ends' degrees, as a GCN weights its messages."""
    root = near.degree.float() ** -0.5
    return root[near.edges[0]] * root[near.edges[1]]


def test_edges_are_sorted_by_the_receiver_and_weighed_by_degrees():
    near = Neighbours(EDGES, 4, loops=False)
    assert near.edges.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert near.degree.tolist() == [1, 2, 1, 0]
    assert near.start.tolist() == [0, 1, 3, 4, 4]
    assert weights(near).tolist() == [np.float32(0.5**0.5)] * 4
    assert Neighbours(EDGES, 4, loops=True).degree.tolist() == [2, 3, 2, 1]


def test_draws_estimate_two_rounds_of_weighted_sums():
    for loops in (False, True):
        near = Neighbours(EDGES, 4, loops=loops)
        x = torch.tensor([1.0, -2.0, 5.0, 7.0])
        dense = torch.zeros(4, 4)
        dense[near.edges[1], near.edges[0]] = weights(near)
        expected = dense @ dense @ x
        nodes = torch.arange(4).repeat(20_000)
        tree, edges, weight = near.draw(nodes, 2, 2, torch.Generator().manual_seed(0))
        assert tree[: len(nodes)].equal(nodes)
        value = x[tree]
        for _ in range(2):
            value = torch.zeros_like(value).index_add(0, edges[1], weight * value[edges[0]])
        found = value[: len(nodes)].reshape(20_000, 4)
        error = found.std(dim=0) / 20_000**0.5
        assert ((found.mean(dim=0) - expected).abs() <= 4.5 * error + 1e-5).all()
