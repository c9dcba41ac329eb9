"""Messages on the graph against dense matrices written out by hand; gradients by differences; sampled messages on average."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.metrics import roc_auc_score

from causal_lib.models.factors import Given, Negatives
from causal_lib.models.graph_recommender import GRAPHS, KINDS, GraphFactors
from causal_lib.models.interactions import Interactions
from causal_lib.models.recommender import train_recommender

# three users, three items; user 2 and item 2 have one neighbour each, user 1 all
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]


def _data(pairs=PAIRS, shape=(3, 3)):
    users, items = np.array(pairs).T
    return Interactions(users, items, np.ones(len(pairs)), pd.RangeIndex(shape[0]), pd.RangeIndex(shape[1]))


def _model(kind, data=None, **how):
    torch.manual_seed(0)
    model = GraphFactors(data or _data(), 4, kind=kind, **how).double()
    if model.adjacency is not None:
        model.adjacency = model.adjacency.double()
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
    a, rounds = _adjacency(loops=kind == "gcn"), [x]
    for layer in model.layers:
        if kind == "gcn":
            z = a @ x @ layer.lin.weight.detach().numpy().T + layer.bias.detach().numpy()
            x = x + np.where(z > 0, z, 0.01 * z)
        else:
            x = a @ x
        rounds.append(x)
    users, items = model.factors()
    assert torch.cat([users, items]).detach().numpy() == pytest.approx(np.mean(rounds, axis=0), abs=1e-6)


def test_attention_is_a_weighted_mean_of_the_neighbours():
    model = _model("gat", layers=1)
    layer, x = model.layers[0], model.node.weight.detach().numpy()
    left = x @ layer.lin_l.weight.detach().numpy().T + layer.lin_l.bias.detach().numpy()
    right = x @ layer.lin_r.weight.detach().numpy().T + layer.lin_r.bias.detach().numpy()
    att, z = layer.att.detach().numpy()[0, 0], np.zeros((6, 4))
    for node in range(6):
        near = [node, *(3 + i for u, i in PAIRS if u == node), *(u for u, i in PAIRS if 3 + i == node)]
        score = []
        for other in near:
            s = left[other] + right[node]
            score.append(att @ np.where(s > 0, s, 0.2 * s))
        weight = np.exp(score) / np.exp(score).sum()
        z[node] = weight @ left[near] + layer.bias.detach().numpy()
    found = torch.cat(model.factors()).detach().numpy()
    assert found == pytest.approx((x + x + np.where(z > 0, z, 0.01 * z)) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind):
    model, weight = _model(kind), torch.randn(6, 4, dtype=torch.double, generator=torch.Generator().manual_seed(1))

    def value():
        return (torch.cat(model.factors()) * weight).sum()

    value().backward()
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for k in range(0, len(flat), 3):
            old, ends = float(flat[k]), []
            for step in (1e-6, -1e-6):
                flat[k] = old + step
                ends.append(float(value().detach()))
            flat[k] = old
            assert float(gradient[k]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)
    assert model.node.weight.grad.abs().sum() > 0


def test_sampled_messages_are_right_on_average():
    """The sum over neighbours is linear in LightGCN, so its mean over many draws is the sum over all of them."""
    whole = torch.cat(_model("lightgcn", layers=2).factors()).detach()
    model, generator = _model("lightgcn", layers=2, sample=4), torch.Generator().manual_seed(0)
    nodes = torch.tensor([0, 5, 2, 3, 1, 4]).repeat(1500)
    with torch.no_grad():
        drawn = model.of(nodes, generator).reshape(1500, 6, 4)
    error = drawn.std(dim=0) / 1500**0.5
    off = (drawn.mean(dim=0) - whole[[0, 5, 2, 3, 1, 4]]).abs()
    assert (off <= 4.5 * error + 1e-9).all()
    assert (drawn.std(dim=0).sum(dim=1) > 0).sum() >= 4


def test_a_node_without_a_neighbour_keeps_its_own_factors():
    data = _data([(0, 0), (1, 0)], (3, 2))
    for sample in (0, 3):
        model = _model("lightgcn", data, layers=2, sample=sample)
        found = model.of(torch.tensor([2, 4]), torch.Generator().manual_seed(0))
        assert torch.allclose(found, model.node.weight[[2, 4]] / 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", [0, 5])
def test_every_kind_learns_taste(kind, sample):
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 50))
    users, items = (rng.random(taste.shape) < 0.4 / (1 + np.exp(-2 * taste))).nonzero()
    ids, last = (pd.RangeIndex(120), pd.RangeIndex(50)), rng.random(len(users)) < 0.2
    parts = [Interactions(users[k], items[k], np.ones(k.sum()), *ids) for k in (~last, last)]
    how = {"options": {"dim": 8, "sample": sample}, "batch_size": 512, "epochs": 40, "seed": 1, "progress": False}
    found = train_recommender(*parts, kind, **how)
    scores = found.scores(np.arange(120))
    assert np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(scores, taste, strict=True)]) > 0.35
    if not sample:
        assert (train_recommender(*parts, kind, **how).scores(np.arange(120)) == scores).all()


def test_tags_are_nodes_between_items():
    tags = np.array([[1, 0], [1, 1], [0, 0]])
    model = _model("lightgcn", layers=1, tags=sparse.coo_array(tags))
    a = np.zeros((8, 8))
    for user, item in PAIRS:
        a[user, 3 + item] = 1
    for item, tag in zip(*tags.nonzero(), strict=True):
        a[3 + item, 6 + tag] = 1
    a += a.T
    d = a.sum(axis=1)
    x = model.node.weight.detach().numpy()
    whole = (x + a / np.sqrt(d[:, None] * d) @ x) / 2
    users, items = model.factors()
    assert torch.cat([users, items]).detach().numpy() == pytest.approx(whole[:6], abs=1e-6)


def test_tags_help_where_items_are_new():
    """Half of the items have no click yet; taste is for one of eight groups, which the tags tell."""
    rng = np.random.default_rng(0)
    group, likes = np.arange(80) % 8, rng.integers(8, size=300)
    new = np.arange(80) < 40
    clicks = rng.random((300, 80)) < np.where(likes[:, None] == group, 0.3, 0.02)
    clicks[:, new] = False
    data = _data(np.argwhere(clicks).tolist(), clicks.shape)
    found = {}
    for name, tags in (("without", None), ("with", np.eye(8)[group])):
        how = {"options": {"dim": 8}, "batch_size": 512, "epochs": 30, "seed": 0, "progress": False}
        scores = train_recommender(data, None, "lightgcn", tags=tags, **how).scores(np.arange(300))
        own = likes[:, None] == group[new]
        found[name] = np.mean([roc_auc_score(own[u], scores[u, new]) for u in range(300)])
    assert found["without"] == pytest.approx(
        0.5, abs=0.06
    )  # 40 vectors that nothing taught: the error of a mean over eight groups
    assert found["with"] > 0.8


@pytest.mark.parametrize(
    ("method", "tags", "message"),
    [
        ("bpr", np.ones((3, 1)), "method 'bpr' does not use tags; leave it out. Used by: lightgcn, gcn, gat"),
        ("gcn", np.ones((2, 1)), r"tags has shape \(2, 1\); one row for each of the 3 items"),
    ],
)
def test_bad_tags_are_refused(method, tags, message):
    with pytest.raises(ValueError, match=message):
        train_recommender(_data(), None, method, tags=tags)


def test_building_the_graph_says_nothing(capfd, recwarn):
    _model("lightgcn")
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind 'sage'; known: lightgcn, gcn, gat"):
        GraphFactors(_data(), 4, kind="sage")


@pytest.mark.parametrize("tags", [None, np.array([[1, 0], [1, 1], [0, 1]])])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_the_scores_by_hand(kind, tags, monkeypatch):
    """BPR of products of the factors after two rounds, and the squared lengths of the nodes' own factors."""
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 2) % 3)
    data = _data()
    users, items = torch.from_numpy(data.users), torch.from_numpy(data.items)
    losses = {}
    for l2 in (0.0, 0.5, None):
        options = {"dim": 4} | ({} if l2 is None else {"l2": l2})
        own = None if tags is None else sparse.coo_array(tags)
        given = Given(data, users, items, torch.ones(6), None, torch.ones(3), None, options, own)
        torch.manual_seed(1)
        parts = GRAPHS[kind](given)
        assert given.asked == {"dim", "l2", "layers", "sample"}
        rows = torch.tensor([0, 2, 3, 5])
        with torch.no_grad():
            for parameter in parts.module.parameters():
                torch.nn.init.normal_(parameter, std=0.6)
            losses[l2] = parts.loss(rows, torch.Generator()).item()
    model = parts.module
    assert (len(model.layers), model.sample, model.node.weight.shape[1]) == (2, 0, 4)
    with torch.no_grad():
        of_users, of_items = (part.numpy() for part in model.factors())
        assert parts.ranked(torch.tensor([2, 0])).numpy() == pytest.approx((of_users @ of_items.T)[[2, 0]], rel=1e-4)
    u, i = data.users[rows], data.items[rows]
    j = (u + 2) % 3
    gap = (of_users[u] * (of_items[i] - of_items[j])).sum(axis=1)
    assert losses[0.0] == pytest.approx(np.log1p(np.exp(-gap)).mean(), rel=1e-4)
    length = (model.node.weight.detach().numpy() ** 2).sum(axis=1)
    penalty = np.concatenate([length[u], length[3 + i], length[3 + j]]).mean()
    assert losses[0.5] - losses[0.0] == pytest.approx(0.5 * penalty, rel=1e-4)
    assert losses[None] - losses[0.0] == pytest.approx(0.01 * penalty, rel=1e-2)


def test_large_graphs_are_sampled_by_default(monkeypatch):
    """Six pairs are twelve edges."""
    codes = torch.zeros(6, dtype=torch.int64)
    for whole, expected in ((12, 0), (11, 10)):
        monkeypatch.setattr("causal_lib.models.graph_recommender.WHOLE", whole)
        given = Given(_data(), codes, codes, torch.ones(6), None, torch.ones(3), None, {"dim": 2})
        assert GRAPHS["lightgcn"](given).module.sample == expected
