"""The messages against dense sums over all variables, and the whole network under a renumbering of the variables."""

import numpy as np
import pytest
import torch

from causal_lib.discovery.engines.pretrained.network import (
    PairNetwork,
    PairsToPairs,
    PairsToVariables,
    log_probabilities,
    reverse,
    triangles,
)


def complete(d):
    return torch.from_numpy(np.stack((~np.eye(d, dtype=bool)).nonzero()))


def some_pairs(d, seed):
    """A graph that holds each of its pairs in both directions."""
    near = np.random.default_rng(seed).random((d, d)) < 0.5
    near = near | near.T
    np.fill_diagonal(near, False)
    return torch.from_numpy(np.stack(near.nonzero()))


@pytest.mark.parametrize("index", [complete(5), some_pairs(7, 0), some_pairs(9, 1)])
def test_reverse_and_triangles_are_those_found_by_looking(index):
    pairs = {tuple(pair): k for k, pair in enumerate(index.T.tolist())}
    assert reverse(index).tolist() == [pairs[j, i] for i, j in index.T.tolist()]
    size = int(index.max()) + 1
    expected = {
        (pairs[i, j], pairs[i, k], pairs[k, j])
        for i, j in pairs
        for k in range(size)
        if (i, k) in pairs and (k, j) in pairs
    }
    found = [tuple(t) for t in triangles(index).T.tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_two_variables_have_no_triangle():
    assert triangles(complete(2)).shape == (3, 0)


def test_pairs_hear_the_mean_of_products_over_the_third_variable():
    torch.manual_seed(0)
    d, layer, index = 5, PairsToPairs(8, 3), complete(5)
    states = torch.randn(20, 8)
    left, right = layer.say(states).chunk(2, dim=1)
    dense = torch.zeros(2, d, d, 3)
    dense[0, index[0], index[1]], dense[1, index[0], index[1]] = left, right
    product = torch.einsum("ikc,kjc->ijc", dense[0], dense[1])[index[0], index[1]] / (d - 2)
    assert torch.allclose(layer(states, triangles(index)), layer.change(product), atol=1e-6)


def test_variables_hear_the_mean_and_the_largest_of_their_pairs():
    torch.manual_seed(1)
    d, layer, index = 4, PairsToVariables(6, 0.0), complete(4)
    nodes, states = torch.randn(d, 6), torch.randn(12, 6)
    first, second = layer.say(torch.cat([states, nodes[index[0]]], 1)).chunk(2, dim=1)
    heard = []
    for v in range(d):
        into, out = first[index[1] == v], second[index[0] == v]
        heard.append(torch.cat([into.mean(0), into.max(0)[0], out.mean(0), out.max(0)[0]]))
    expected = nodes + layer.change(torch.cat([layer.norm(nodes), torch.stack(heard)], 1))
    assert torch.allclose(layer(nodes, states, index), expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"messages": False}, {"triangles": False}])
def test_renumbered_variables_get_the_same_answers(options):
    torch.manual_seed(2)
    d, index = 6, complete(6)
    network = PairNetwork(3, 4, hidden=8, layers=2, width=4, **options).eval()
    nodes, pairs = torch.randn(d, 3), torch.randn(30, 4)
    answer = torch.zeros(d, d)
    answer[index[0], index[1]] = network(nodes, pairs, index, reverse(index), triangles(index)).detach()
    to = torch.randperm(d)
    table = torch.zeros(d, d, 4)
    table[index[0], index[1]] = pairs
    renumbered = network(nodes[to], table[to[index[0]], to[index[1]]], index, reverse(index), triangles(index)).detach()
    assert torch.allclose(renumbered, answer[to[index[0]], to[index[1]]], atol=1e-5)


def test_one_table_does_not_hear_another_in_its_batch():
    torch.manual_seed(3)
    network = PairNetwork(3, 4, hidden=8, layers=2, width=4).eval()
    parts = [(torch.randn(d, 3), torch.randn(d * (d - 1), 4), complete(d)) for d in (3, 5)]
    alone = [network(n, p, i, reverse(i), triangles(i)) for n, p, i in parts]
    nodes, pairs = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    index = torch.cat([parts[0][2], parts[1][2] + 3], 1)
    together = network(nodes, pairs, index, reverse(index), triangles(index))
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_three_probabilities_add_up_and_a_pair_agrees_with_its_reverse():
    index = complete(4)
    logs = log_probabilities(torch.randn(12), reverse(index)).exp()
    assert torch.allclose(logs.sum(1), torch.ones(12))
    assert torch.allclose(logs[:, 1], logs[reverse(index), 2])
