"""Recommenders on the graph of users and items (article 3.1.2, 5.3.4): LightGCN, GCN and GAT, by PyTorch Geometric's layers.

Nodes are the users, then the items; each has factors of its own that the layers mix with those of its neighbours. What is left
is a product of factors, as in `factors`, trained and ranked by like any other.
"""

import warnings
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu, logsigmoid
from torch_geometric.nn import GATv2Conv, GCNConv, LGConv

from causal_lib.models.factors import Given, Negatives, Parts
from causal_lib.models.interactions import Interactions

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
    """

    def __init__(self, data: Interactions, dim: int, *, kind: str = "lightgcn", layers: int = 2, sample: int = 0):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
        self.n_users, self.n_items, self.kind, self.sample = *data.shape, kind, sample
        self.node = nn.Embedding(sum(data.shape), dim)
        nn.init.normal_(self.node.weight, std=0.1)
        make = {
            "lightgcn": partial(_LGConv, normalize=False),
            "gcn": partial(_GCNConv, dim, dim, normalize=False),
            "gat": partial(GATv2Conv, dim, dim, add_self_loops=False),
        }[kind]
        self.layers = nn.ModuleList(make() for _ in range(layers))
        users, items = data.users.astype(np.int64), data.items.astype(np.int64) + self.n_users
        loops = np.arange(len(self.node.weight)) if kind != "lightgcn" else np.empty(0, dtype=np.int64)
        to, by = np.concatenate([users, items, loops]), np.concatenate([items, users, loops])
        order = np.lexsort((by, to))
        to, by = to[order], by[order]
        degree = np.bincount(to, minlength=len(self.node.weight))
        self.start = torch.from_numpy(np.concatenate([[0], np.cumsum(degree)]))
        self.by, self.edges = torch.from_numpy(by), torch.from_numpy(np.stack([by, to]))
        self.degree = torch.from_numpy(degree).float()
        self.adjacency = None
        if kind != "gat":
            # torch tells on its first use that this format is young
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                weight = (self.degree[self.edges[0]] * self.degree[self.edges[1]]) ** -0.5
                shape = (len(degree), len(degree))
                self.adjacency = torch.sparse_csr_tensor(self.start, self.by, weight, shape, check_invariants=True)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, dim) and (items, dim) after the messages along all edges."""
        along = self.edges if self.adjacency is None else self.adjacency
        return self._rounds(self.node.weight, along).split([self.n_users, self.n_items])

    def of(self, nodes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n, dim) of node numbers; by sampled messages where ``sample`` says so."""
        if not self.sample:
            return torch.cat(self.factors())[nodes]
        # A tree of draws below every node: its edges lead from a draw to the node that it was drawn for.
        tree, level, first, edges, weights = [nodes], nodes, 0, [], []
        for _ in self.layers:
            degree = self.degree[level].long()
            pick = (torch.rand((self.sample, len(level)), generator=generator) * degree).long()
            drawn = self.by[(self.start[level] + pick).clamp(max=len(self.by) - 1)]
            parent = torch.arange(len(level)).expand_as(drawn)
            has = degree.expand_as(drawn) > 0  # a node without a neighbour gets no message
            child = torch.arange(int(has.sum())) + first + len(level)
            edges.append(torch.stack([child, parent[has] + first]))
            # the mean over the draws, times the degree, stands for the sum over all neighbours
            weights.append((self.degree[level].expand_as(drawn) ** 0.5 * self.degree[drawn] ** -0.5)[has] / self.sample)
            first, level = first + len(level), drawn[has]
            tree.append(level)
        x = self.node(torch.cat(tree))
        return self._rounds(x, torch.cat(edges, dim=1), torch.cat(weights))[: len(nodes)]

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
        given.data, int(given.option("dim", 32)), kind=kind, layers=int(given.option("layers", 2)), sample=sample
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
