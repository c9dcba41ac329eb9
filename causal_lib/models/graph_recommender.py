"""Recommenders on the graph of users and items (article 3.1.2, 5.3.4): LightGCN, GCN and GAT, by PyTorch Geometric's layers.

Nodes are the users, then the items, then the items' tags (categories, genres) where given; each has factors of its own that the
layers mix with those of its neighbours. What is left is a product of factors, as in `factors`, trained and ranked by like any other.
"""

import warnings
from functools import partial

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import leaky_relu, logsigmoid
from torch_geometric.nn import GATv2Conv, GCNConv, LGConv

from causal_lib.models.factors import Given, Negatives, Parts
from causal_lib.models.interactions import Interactions
from causal_lib.models.neighbours import Neighbours

KINDS = ("lightgcn", "gcn", "gat")
WHOLE = 2_000_000  # edges up to which every step passes messages along all of them


class _Product(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one: its gradient needs no transposed matrix, which torch would make anew each time."""

    @staticmethod
    def forward(ctx, adjacency, x):
        ctx.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(ctx, gradient):
        return None, ctx.adjacency @ gradient


class _Symmetric:
    """PyTorch Geometric's layer, its sum over neighbours by `_Product`: five times as fast as by its own on a sparse matrix."""

    def message_and_aggregate(self, adj_t, x):
        return _Product.apply(adj_t, x)


class _LGConv(_Symmetric, LGConv):
    pass


class _GCNConv(_Symmetric, GCNConv):
    pass


class GraphFactors(nn.Module):
    """Factors of users and items after ``layers`` rounds of messages along the training pairs; the mean over the rounds.

    'lightgcn' passes factors on as they are, divided by the roots of both degrees (He and others 2020); 'gcn' (Kipf and Welling
    2017, the same sum with a node's own) and 'gat' (attention, Brody and others 2022) add a learnt layer's leaky ReLU to what
    came in.

    Parameters
    ----------
    sample : neighbours a node and round, drawn with replacement, of the messages in training; 0 for all of them. Ranking uses all.
    tags : (items, tags) nonzero where an item has a tag; tags become nodes, linked to their items.
    """

    def __init__(
        self,
        data: Interactions,
        dim: int,
        *,
        kind: str = "lightgcn",
        layers: int = 2,
        sample: int = 0,
        tags: sparse.coo_array | None = None,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
        tags = sparse.coo_array((data.shape[1], 0)) if tags is None else tags
        self.sizes, self.kind, self.sample = [*data.shape, tags.shape[1]], kind, sample
        n = sum(self.sizes)
        self.node = nn.Embedding(n, dim)
        nn.init.normal_(self.node.weight, std=0.1)
        make = {
            "lightgcn": partial(_LGConv, normalize=False),
            "gcn": partial(_GCNConv, dim, dim, normalize=False),
            "gat": partial(GATv2Conv, dim, dim, add_self_loops=False),
        }[kind]
        self.layers = nn.ModuleList(make() for _ in range(layers))
        one, other = (
            torch.from_numpy(np.concatenate(ends).astype(np.int64))
            for ends in (
                (data.users, data.shape[0] + tags.coords[0]),
                (data.items + data.shape[0], sum(data.shape) + tags.coords[1]),
            )
        )
        both_ways = torch.stack([torch.cat([one, other]), torch.cat([other, one])])
        self.near = Neighbours(both_ways, n, loops=kind != "lightgcn")
        self.adjacency = None
        if kind != "gat":
            # torch tells on its first use that this format is young
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                self.adjacency = torch.sparse_csr_tensor(
                    self.near.start, self.near.edges[0], self.near.weight, (n, n), check_invariants=True
                )

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, dim) and (items, dim) after the messages along all edges."""
        along = self.near.edges if self.adjacency is None else self.adjacency
        return self._rounds(self.node.weight, along).split(self.sizes)[:2]

    def of(self, nodes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n, dim) of node numbers of users and items; by sampled messages where ``sample`` says so."""
        if not self.sample:
            return torch.cat(self.factors())[nodes]
        tree, edges, weights = self.near.draw(nodes, self.sample, len(self.layers), generator)
        return self._rounds(self.node(tree), edges, weights)[: len(nodes)]

    def _rounds(self, x, along, weight=None):
        rounds = [x]
        for layer in self.layers:
            if self.kind == "lightgcn":
                x = layer(x, along, weight)
            else:
                x = x + leaky_relu(layer(x, along) if self.kind == "gat" else layer(x, along, weight))
            rounds.append(x)
        return torch.stack(rounds).mean(dim=0)


def _graph(kind: str, given: Given) -> Parts:
    """BPR on `GraphFactors`; options dim, l2, ``layers`` (2) and ``sample`` (0; 10 where the graph has over 2 million edges)."""
    sample = int(given.option("sample", 10 if 2 * len(given.data) > WHOLE else 0))
    model = GraphFactors(
        given.data,
        int(given.option("dim", 32)),
        kind=kind,
        layers=int(given.option("layers", 2)),
        sample=sample,
        tags=given.tags,
    )
    draw, l2, n_users = Negatives(given.data).draw, given.option("l2", 0.01), given.data.shape[0]

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        nodes = torch.cat([users, items + n_users, draw(users, generator) + n_users])
        user, one, other = model.of(nodes, generator).chunk(3)
        own = model.node(nodes)
        return -logsigmoid((user * (one - other)).sum(dim=1)).mean() + l2 * (own**2).sum(dim=1).mean()

    def ranked(users):
        of_users, of_items = model.factors()
        return of_users[users] @ of_items.T

    return Parts(model, loss, ranked)


GRAPHS = {kind: partial(_graph, kind) for kind in KINDS}
"""Methods of clicks on the graph of users and items."""
