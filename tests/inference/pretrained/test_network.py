"""The network: its answers move with the rows, tables do not see each other, signs are exact."""

import numpy as np
import pytest
import torch

from causal_lib.inference.pretrained import network as network_module
from causal_lib.inference.pretrained.network import EffectNetwork, signs_of
from causal_lib.inference.pretrained.weights import SIZES

ODD = signs_of(-1.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = EffectNetwork(*SIZES)
    with torch.no_grad():
        for part in net.parameters():
            part += 0.1 * torch.randn_like(part)
    return net.double().eval()


def _features(tables=2, rows=7):
    torch.manual_seed(1)
    k, cell, row, candidate, table = SIZES
    shapes = [(tables, rows, k, cell), (tables, rows, row), (tables, k, candidate), (tables, table)]
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


def test_it_is_small(network):
    assert 10_000 < sum(part.numel() for part in network.parameters()) < 25_000


def test_it_begins_as_a_shrunk_mean_of_the_candidates():
    torch.manual_seed(2)
    cells, rows, candidates, table = (part.float() for part in _features())
    said = EffectNetwork(*SIZES)(cells, rows, candidates, table)
    found, width = said.effects, said.widths
    mean = cells[..., 0].mean(2)
    level = candidates[:, None, :, 0].mean(2)
    assert torch.allclose(found, 0.75 * mean + 0.5 * level, atol=1e-5)
    assert torch.equal(width, torch.zeros_like(width))
    gate = 1 / (1 + np.exp(3))  # the average is hardly corrected
    assert torch.allclose(said.averages, gate * candidates[..., 0].mean(1), atol=1e-5)
    shares = table[:, network_module._SHARES].clamp(0, 1) + 0.02
    shares = shares / shares.sum(1, keepdim=True)
    assert torch.allclose(said.shares, shares[:, None].expand(-1, 2, -1), atol=1e-5)


def test_rows_are_answered_one_by_one(network):
    cells, rows, candidates, table = _features()
    found, width, average, shares = network(cells, rows, candidates, table)
    order = torch.randperm(7)
    again, other, *of_table = network(cells[:, order], rows[:, order], candidates, table)
    assert torch.allclose(again, found[:, order])
    assert torch.allclose(other, width[:, order])
    assert torch.equal(of_table[0], average)
    assert torch.equal(of_table[1], shares)
    one = network(cells[:, :1], rows[:, :1], candidates, table).effects
    assert torch.allclose(one, found[:, :1])


def test_tables_of_a_batch_do_not_see_each_other(network):
    parts = _features()
    whole = network(*parts)
    alone = network(*(part[1:] for part in parts))
    for one, other in zip(alone, whole, strict=True):
        assert torch.allclose(one, other[1:])


def test_an_outcome_of_the_other_sign_has_exactly_the_other_effects(network):
    cells, rows, candidates, table = _features()
    turned = cells * ODD["cells"], rows * ODD["rows"], candidates * ODD["candidates"], table
    found = network.both_signs(cells, rows, candidates, table)
    back = network.both_signs(*turned)
    assert torch.equal(back.effects, -found.effects)
    assert torch.equal(back.averages, -found.averages)
    assert torch.equal(back.widths, found.widths)
    assert torch.equal(back.shares, found.shares)
    assert not torch.allclose(network(*turned)[0], -network(cells, rows, candidates, table)[0])


def test_without_weights_beyond_the_hull_it_stays_within(network):
    torch.manual_seed(3)
    inside = EffectNetwork(*SIZES, residual=False).double()
    inside.load_state_dict(network.state_dict())
    cells, rows, candidates, table = _features()
    candidates[..., 0] = 0.0
    found = inside(cells, rows, candidates, table).effects
    low = 1.5 * cells[..., 0].amin(2)
    high = 1.5 * cells[..., 0].amax(2)
    assert (found >= torch.minimum(low, torch.zeros(()))).all()
    assert (found <= torch.maximum(high, torch.zeros(()))).all()
    assert not torch.allclose(found, network(cells, rows, candidates, table)[0])


def test_a_feature_that_is_far_out_is_cut(network):
    cells, rows, candidates, table = _features()
    far = table.clone()
    far[:, 0] = 1e6
    further = table.clone()
    further[:, 0] = 1e9
    assert torch.equal(
        network(cells, rows, candidates, far)[0], network(cells, rows, candidates, further)[0]
    )


def test_signs():
    assert np.array_equal(ODD["cells"].numpy(), [-1, -1, 1])
    assert signs_of(1.0)["rows"].unique().tolist() == [1.0]
