"""Recommenders on the graph of users and items (article 3.1.2, 5.3.4): LightGCN, GCN and GAT.

Nodes are the users, then the items. Each node has factors of its own, which PyTorch Geometric's
layers mix with those of its neighbours. Scores are inner products of the mixed factors; training
and ranking are those of the other recommenders.
"""

import warnings
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu, logsigmoid
from torch_geometric.nn import GATv2Conv, GCNConv, LGConv

from causal_lib.models import debiased  # noqa: F401  its methods come first in the registry
from causal_lib.models.factors import Negatives
from causal_lib.models.interactions import Interactions
from causal_lib.models.methods import Given, Parts, recommender_method

CONVOLUTIONS = ("lightgcn", "gcn", "gat")


class _Product(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one.

    The gradient needs no transposed matrix, which torch would build anew in every step.
    """

    @staticmethod
    def forward(ctx, adjacency, x):
        ctx.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(ctx, gradient):
        return None, ctx.adjacency @ gradient


class _Symmetric:
    """Gives a layer of PyTorch Geometric its sum over neighbours by `_Product`, which is faster."""

    def message_and_aggregate(self, adj_t, x):
        return _Product.apply(adj_t, x)


class _LGConv(_Symmetric, LGConv):
    pass


class _GCNConv(_Symmetric, GCNConv):
    pass


class GraphFactors(nn.Module):
    """Factors of users and items: the mean over ``layers`` rounds of messages along the pairs.

    'lightgcn' sums the neighbours' factors, divided by the roots of both degrees (He and others
    2020). 'gcn' (Kipf and Welling 2017: the same sum, with the node itself) and 'gat' (attention,
    Brody and others 2022) add the leaky ReLU of a learnt layer to what came in.

    Raises ValueError for an unknown ``kind``.
    """

    def __init__(self, data: Interactions, dim: int, *, kind: str = "lightgcn", layers: int = 2):
        super().__init__()
        if kind not in CONVOLUTIONS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(CONVOLUTIONS)}")
        self.shape = data.shape
        self.kind = kind
        n = sum(data.shape)
        self.node = nn.Embedding(n, dim)
        nn.init.normal_(self.node.weight, std=0.1)
        make = {
            "lightgcn": partial(_LGConv, normalize=False),
            "gcn": partial(_GCNConv, dim, dim, normalize=False),
            "gat": partial(GATv2Conv, dim, dim, add_self_loops=False),
        }[kind]
        self.layers = nn.ModuleList(make() for _ in range(layers))
        edges, degree = _edges(data, loops=kind != "lightgcn")
        self.along = edges if kind == "gat" else _normalised(edges, degree)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, dim) and (items, dim) after the messages."""
        x = self.node.weight
        rounds = [x]
        for layer in self.layers:
            mixed = layer(x, self.along)
            x = mixed if self.kind == "lightgcn" else x + leaky_relu(mixed)
            rounds.append(x)
        return torch.stack(rounds).mean(dim=0).split(self.shape)


def _edges(data, *, loops):
    """Edges (2, n), from and to, sorted by the node that receives, and the degrees (nodes,)."""
    n_users, n_items = data.shape
    n = n_users + n_items
    users = torch.from_numpy(data.users.astype(np.int64))
    items = torch.from_numpy(data.items.astype(np.int64)) + n_users
    edges = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
    if loops:
        edges = torch.cat([edges, torch.arange(n).expand(2, -1)], dim=1)
    edges = edges[:, torch.argsort(edges[1] * n + edges[0])]
    return edges, torch.bincount(edges[1], minlength=n)


def _normalised(edges, degree):
    """The adjacency matrix, each entry divided by the roots of both degrees, in CSR format."""
    start = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(degree, 0)])
    root = degree.float() ** -0.5
    weight = root[edges[0]] * root[edges[1]]
    n = len(degree)
    # on the first use torch warns that its CSR support is in beta state
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return torch.sparse_csr_tensor(start, edges[0], weight, (n, n), check_invariants=True)


def _graph_factors(kind: str, given: Given) -> Parts:
    """BPR on `GraphFactors`; the penalty is on the nodes' own factors."""
    model = GraphFactors(
        given.data, int(given.option("dim")), kind=kind, layers=int(given.option("layers"))
    )
    draw = Negatives(given.data).draw
    l2 = given.option("l2")
    n_users = given.data.shape[0]

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        nodes = torch.cat([users, items + n_users, draw(users, generator) + n_users])
        user, item, other = torch.cat(model.factors())[nodes].chunk(3)
        gap = (user * (item - other)).sum(dim=1)
        penalty = (model.node(nodes) ** 2).sum(dim=1).mean()
        return -logsigmoid(gap).mean() + l2 * penalty

    def ranked(users):
        of_users, of_items = model.factors()
        return of_users[users] @ of_items.T

    return Parts(model, loss, ranked)


for _kind, _messages, _source in (
    ("lightgcn", "the neighbours' factors", "He and others 2020"),
    ("gcn", "a graph convolution", "Kipf and Welling 2017"),
    ("gat", "attention", "Brody and others 2022"),
):
    recommender_method(
        _kind,
        "clicks",
        f"BPR on factors mixed by {_messages}",
        _source,
        options={"dim": 32, "l2": 0.01, "layers": 2},
    )(partial(_graph_factors, _kind))
