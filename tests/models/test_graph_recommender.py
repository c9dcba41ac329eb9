"""Messages on the graph against dense matrices written out by hand; gradients by differences, and
PyTorch Geometric's LightGCN.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.nn import LightGCN

from causal_lib.models.factors import Negatives
from causal_lib.models.graph_recommender import CONVOLUTIONS, GraphFactors
from causal_lib.models.interactions import Interactions
from causal_lib.models.methods import RECOMMENDERS, Given
from causal_lib.models.recommender import train_recommender

# three users, three items; user 2 and item 2 have one neighbour each, user 1 all
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]


def _data(pairs=PAIRS, shape=(3, 3)):
    users, items = np.array(pairs).T
    return Interactions(
        users, items, np.ones(len(pairs)), pd.RangeIndex(shape[0]), pd.RangeIndex(shape[1])
    )


def _model(kind, data=None, **how):
    torch.manual_seed(0)
    model = GraphFactors(data or _data(), 4, kind=kind, **how).double()
    if kind != "gat":
        model.along = model.along.double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def _adjacency(loops):
    a = np.zeros((6, 6))
    for user, item in PAIRS:
        a[user, 3 + item] = a[3 + item, user] = 1
    a += loops * np.eye(6)
    d = a.sum(axis=1)
    return a / np.sqrt(d[:, None] * d)


@pytest.mark.parametrize("kind", ["lightgcn", "gcn"])
def test_rounds_are_products_with_the_normalised_matrix(kind):
    model = _model(kind, layers=3)
    x = model.node.weight.detach().numpy()
    a = _adjacency(loops=kind == "gcn")
    rounds = [x]
    for layer in model.layers:
        if kind == "gcn":
            z = a @ x @ layer.lin.weight.detach().numpy().T + layer.bias.detach().numpy()
            x = x + np.where(z > 0, z, 0.01 * z)
        else:
            x = a @ x
        rounds.append(x)
    users, items = model.factors()
    assert torch.cat([users, items]).detach().numpy() == pytest.approx(
        np.mean(rounds, axis=0), abs=1e-6
    )


def test_attention_is_a_weighted_mean_of_the_neighbours():
    model = _model("gat", layers=1)
    layer = model.layers[0]
    x = model.node.weight.detach().numpy()
    left = x @ layer.lin_l.weight.detach().numpy().T + layer.lin_l.bias.detach().numpy()
    right = x @ layer.lin_r.weight.detach().numpy().T + layer.lin_r.bias.detach().numpy()
    att = layer.att.detach().numpy()[0, 0]
    z = np.zeros((6, 4))
    for node in range(6):
        near = [
            node,
            *(3 + i for u, i in PAIRS if u == node),
            *(u for u, i in PAIRS if 3 + i == node),
        ]
        score = []
        for other in near:
            s = left[other] + right[node]
            score.append(att @ np.where(s > 0, s, 0.2 * s))
        weight = np.exp(score) / np.exp(score).sum()
        z[node] = weight @ left[near] + layer.bias.detach().numpy()
    found = torch.cat(model.factors()).detach().numpy()
    assert found == pytest.approx((x + x + np.where(z > 0, z, 0.01 * z)) / 2)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_gradients_are_those_of_differences(kind):
    model = _model(kind)
    weight = torch.randn(6, 4, dtype=torch.double, generator=torch.Generator().manual_seed(1))

    def value():
        return (torch.cat(model.factors()) * weight).sum()

    value().backward()
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        flat = parameter.data.view(-1)
        gradient = parameter.grad.view(-1)
        for k in range(0, len(flat), 3):
            old = float(flat[k])
            ends = []
            for step in (1e-6, -1e-6):
                flat[k] = old + step
                ends.append(float(value().detach()))
            flat[k] = old
            assert float(gradient[k]) == pytest.approx(
                (ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7
            )
    assert model.node.weight.grad.abs().sum() > 0


def test_a_node_without_a_neighbour_keeps_its_own_factors():
    data = _data([(0, 0), (1, 0)], (3, 2))
    model = _model("lightgcn", data, layers=2)
    assert torch.allclose(torch.cat(model.factors())[[2, 4]], model.node.weight[[2, 4]] / 3)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_every_kind_learns_taste(kind):
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 50))
    users, items = (rng.random(taste.shape) < 0.4 / (1 + np.exp(-2 * taste))).nonzero()
    ids = (pd.RangeIndex(120), pd.RangeIndex(50))
    last = rng.random(len(users)) < 0.2
    parts = [Interactions(users[k], items[k], np.ones(k.sum()), *ids) for k in (~last, last)]
    how = {"options": {"dim": 8}, "batch_size": 512, "epochs": 40, "seed": 1, "progress": False}
    found = train_recommender(*parts, kind, **how)
    scores = found.scores(np.arange(120))
    assert (
        np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(scores, taste, strict=True)])
        > 0.35
    )
    assert (train_recommender(*parts, kind, **how).scores(np.arange(120)) == scores).all()


def test_lightgcn_is_that_of_pytorch_geometric():
    model = _model("lightgcn", layers=3)
    peer = LightGCN(6, 4, 3).double()
    peer.embedding.weight.data.copy_(model.node.weight.data)
    one, other = torch.tensor(PAIRS).T
    edges = torch.stack([torch.cat([one, other + 3]), torch.cat([other + 3, one])])
    found = torch.cat(model.factors())
    expected = peer.get_embedding(edges)
    # weights of single precision
    assert found.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)
    found.sum().backward()
    expected.sum().backward()
    assert model.node.weight.grad.numpy() == pytest.approx(
        peer.embedding.weight.grad.numpy(), abs=1e-6
    )


def test_building_the_graph_says_nothing(capfd, recwarn):
    _model("lightgcn")
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind 'sage'; known: lightgcn, gcn, gat"):
        GraphFactors(_data(), 4, kind="sage")


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_the_loss_and_the_scores_by_hand(kind, monkeypatch):
    """BPR of products of the factors after two rounds, and the squared lengths of the nodes' own
    factors.
    """
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 2) % 3)
    data = _data()
    users = torch.from_numpy(data.users)
    items = torch.from_numpy(data.items)
    losses = {}
    for l2 in (0.0, 0.5, None):
        options = {"dim": 4} | ({} if l2 is None else {"l2": l2})
        given = Given(data, users, items, torch.ones(6), None, torch.ones(3), None, options)
        torch.manual_seed(1)
        parts = RECOMMENDERS[kind].parts(given)
        rows = torch.tensor([0, 2, 3, 5])
        with torch.no_grad():
            for parameter in parts.module.parameters():
                torch.nn.init.normal_(parameter, std=0.6)
            losses[l2] = parts.loss(rows, torch.Generator()).item()
    model = parts.module
    assert (len(model.layers), model.node.weight.shape[1]) == (2, 4)
    with torch.no_grad():
        of_users, of_items = (part.numpy() for part in model.factors())
        assert parts.ranked(torch.tensor([2, 0])).numpy() == pytest.approx(
            (of_users @ of_items.T)[[2, 0]], rel=1e-4
        )
    u = data.users[rows]
    i = data.items[rows]
    j = (u + 2) % 3
    gap = (of_users[u] * (of_items[i] - of_items[j])).sum(axis=1)
    assert losses[0.0] == pytest.approx(np.log1p(np.exp(-gap)).mean(), rel=1e-4)
    length = (model.node.weight.detach().numpy() ** 2).sum(axis=1)
    penalty = np.concatenate([length[u], length[3 + i], length[3 + j]]).mean()
    assert losses[0.5] - losses[0.0] == pytest.approx(0.5 * penalty, rel=1e-4)
    assert losses[None] - losses[0.0] == pytest.approx(0.01 * penalty, rel=1e-2)
