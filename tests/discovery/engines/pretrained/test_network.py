"""The messages against dense sums over all variables, and the whole network under a renumbering of
the variables.
"""

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
    d = 5
    layer = PairsToPairs(8, 3)
    index = complete(5)
    states = torch.randn(20, 8)
    left, right = layer.say(states).chunk(2, dim=1)
    dense = torch.zeros(2, d, d, 3)
    dense[0, index[0], index[1]], dense[1, index[0], index[1]] = left, right
    product = torch.einsum("ikc,kjc->ijc", dense[0], dense[1])[index[0], index[1]] / (d - 2)
    assert torch.allclose(layer(states, triangles(index)), layer.change(product), atol=1e-6)


def test_variables_hear_the_mean_and_the_largest_of_their_pairs():
    torch.manual_seed(1)
    d = 4
    layer = PairsToVariables(6, 0.0)
    index = complete(4)
    nodes = torch.randn(d, 6)
    states = torch.randn(12, 6)
    first, second = layer.say(torch.cat([states, nodes[index[0]]], 1)).chunk(2, dim=1)
    heard = []
    for v in range(d):
        into = first[index[1] == v]
        out = second[index[0] == v]
        heard.append(torch.cat([into.mean(0), into.max(0)[0], out.mean(0), out.max(0)[0]]))
    expected = nodes + layer.change(torch.cat([layer.norm(nodes), torch.stack(heard)], 1))
    assert torch.allclose(layer(nodes, states, index), expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"messages": False}, {"triangles": False}])
def test_renumbered_variables_get_the_same_answers(options):
    torch.manual_seed(2)
    d = 6
    index = complete(6)
    network = PairNetwork(3, 4, hidden=8, layers=2, width=4, **options).eval()
    nodes = torch.randn(d, 3)
    pairs = torch.randn(30, 4)
    answer = torch.zeros(d, d)
    answer[index[0], index[1]] = network(
        nodes, pairs, index, reverse(index), triangles(index)
    ).detach()
    to = torch.randperm(d)
    table = torch.zeros(d, d, 4)
    table[index[0], index[1]] = pairs
    renumbered = network(
        nodes[to], table[to[index[0]], to[index[1]]], index, reverse(index), triangles(index)
    ).detach()
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


def test_log_probabilities_by_hand():
    index = complete(2)
    logs = log_probabilities(torch.tensor([1.0, -2.0]), reverse(index))
    whole = 1 + np.exp(1) + np.exp(-2)
    expected = [
        [1 / whole, np.exp(1) / whole, np.exp(-2) / whole],
        [1 / whole, np.exp(-2) / whole, np.exp(1) / whole],
    ]
    assert logs.exp().numpy() == pytest.approx(np.array(expected), rel=1e-5)


def test_features_are_standardised_and_left_out_as_told():
    torch.manual_seed(4)
    network = PairNetwork(3, 4, hidden=8, layers=1, width=4).eval()
    index = complete(4)
    nodes = torch.randn(4, 3)
    pairs = torch.randn(12, 4)
    rest = index, reverse(index), triangles(index)
    plain = network(nodes, pairs, *rest)
    network.node_scale.copy_(torch.tensor([[1.0, 2, 3], [2.0, 4, 0.5]]))
    network.pair_scale.copy_(torch.tensor([[0.5, -1, 0, 2], [3.0, 1, 2, 0.25]]))
    moved = network(
        nodes * network.node_scale[1] + network.node_scale[0],
        pairs * network.pair_scale[1] + network.pair_scale[0],
        *rest,
    )
    assert torch.allclose(moved, plain, atol=1e-5)
    network.pair_scale.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
    network.node_scale.copy_(torch.tensor([[0.0] * 3, [1.0] * 3]))
    keep = torch.ones(12, 4)
    keep[:, 2] = 0
    without = pairs.clone()
    without[:, 2] = 0
    assert torch.equal(network(nodes, pairs, *rest, keep), network(nodes, without, *rest))


def test_the_defaults_of_the_network():
    network = PairNetwork(3, 4)
    assert (network.read_nodes.out_features, len(network.layers), network.forget) == (64, 4, 0.1)
    assert network.layers[0].across.change.in_features == 16
    assert network.read_pairs[2].p == network.layers[0].change[2].p == 0.05
    assert network.layers[0].up is not None


def test_a_layer_by_hand():
    """Pairs read their own state, the reverse one and both variables; triangles are added beside."""
    torch.manual_seed(5)
    network = PairNetwork(3, 4, hidden=8, layers=1, width=4).eval()
    index = complete(4)
    layer = network.layers[0]
    back = reverse(index)
    corners = triangles(index)
    nodes = torch.randn(4, 8)
    pairs = torch.randn(12, 8)
    own = layer.norm(pairs)
    changed = layer.up(nodes, own, index)
    together = torch.cat([own, own[back], changed[index[0]], changed[index[1]]], 1)
    expected = pairs + layer.change(together) + layer.across(own, corners)
    found_nodes, found_pairs = layer(nodes, pairs, index, back, corners)
    assert torch.allclose(found_nodes, changed)
    assert torch.allclose(found_pairs, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "messages", "across"),
    [({}, True, True), ({"messages": False}, False, False), ({"triangles": False}, True, False)],
)
def test_what_an_ablation_leaves_out(options, messages, across):
    layer = PairNetwork(3, 4, hidden=8, layers=1, width=4, **options).layers[0]
    assert (layer.up is not None, layer.across is not None) == (messages, across)
