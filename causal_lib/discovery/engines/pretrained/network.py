"""The network: messages between variables and between pairs, on PyTorch Geometric.

A table of d variables is a graph. Its nodes are the variables, its edges the ordered pairs, and
each has a state. A layer sends messages from pairs to their two variables, from variables to their
pairs, and from (i, k) and (k, j) to (i, j), which shows colliders and paths. The network depends
neither on the number of variables nor on their order.
"""

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

from causal_lib.discovery.engines.pretrained.pair_moments import reverse_pairs


def _mlp(inside: int, hidden: int, outside: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outside)
    )


class PairsToVariables(MessagePassing):
    """Each variable gets the mean and the maximum of the messages of its pairs.

    Pairs in which it is the first variable and pairs in which it is the second are aggregated
    apart.
    """

    def __init__(self, hidden: int, dropout: float):
        super().__init__(aggr=["mean", "max"])
        self.say = nn.Linear(2 * hidden, 2 * hidden)
        self.change = _mlp(5 * hidden, 2 * hidden, hidden, dropout)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, nodes: Tensor, pairs: Tensor, index: Tensor) -> Tensor:
        """(d, hidden) new states of the variables."""
        first, second = self.say(torch.cat([pairs, nodes.index_select(0, index[0])], 1)).chunk(
            2, dim=1
        )
        size = (len(nodes), len(nodes))
        into = self.propagate(index, pair=first, size=size)
        out = self.propagate(index.flip(0), pair=second, size=size)
        return nodes + self.change(torch.cat([self.norm(nodes), into, out], 1))

    def message(self, pair: Tensor) -> Tensor:
        """The message of a pair to its variable."""
        return pair


class PairsToPairs(MessagePassing):
    """Each pair (i, j) gets the mean over k of the product of the messages of (i, k) and (k, j)."""

    def __init__(self, hidden: int, width: int):
        super().__init__(aggr="mean")
        self.say = nn.Linear(hidden, 2 * width)
        self.change = nn.Linear(width, hidden)

    def forward(self, pairs: Tensor, triangles: Tensor) -> Tensor:
        """(pairs, hidden) change of their states.

        ``triangles`` (3, t) holds the positions of (i, j), (i, k) and (k, j).
        """
        left, right = self.say(pairs).chunk(2, dim=1)
        index = torch.stack([triangles[1], triangles[0]])
        product = left.index_select(0, triangles[1]) * right.index_select(0, triangles[2])
        return self.change(self.propagate(index, product=product, size=(len(pairs), len(pairs))))

    def message(self, product: Tensor) -> Tensor:
        """The message of two sides of a triangle to the third."""
        return product


class Layer(nn.Module):
    """Pairs to variables, then variables, the reverse pair and triangles to pairs."""

    def __init__(self, hidden: int, width: int, dropout: float, messages: bool, triangles: bool):
        super().__init__()
        self.up = PairsToVariables(hidden, dropout) if messages else None
        self.across = PairsToPairs(hidden, width) if messages and triangles else None
        self.norm = nn.LayerNorm(hidden)
        self.change = _mlp((4 if messages else 2) * hidden, 2 * hidden, hidden, dropout)

    def forward(self, nodes, pairs, index, back, triangles):
        """New states of the variables and the pairs."""
        own = self.norm(pairs)
        parts = [own, own.index_select(0, back)]
        if self.up is not None:
            nodes = self.up(nodes, own, index)
            parts += [nodes.index_select(0, index[0]), nodes.index_select(0, index[1])]
        pairs = pairs + self.change(torch.cat(parts, 1))
        if self.across is not None:
            pairs = pairs + self.across(own, triangles)
        return nodes, pairs


class PairNetwork(nn.Module):
    """The log-odds of i → j against no edge for each ordered pair (i, j), from features of a table.

    Parameters
    ----------
    node_features, pair_features : the number of features.
    hidden, layers, width : size of the states, number of layers, size of a triangle's messages.
    dropout, forget : share of the units, and of the pair features of a data set, that are left out
        while training.
    messages, triangles : whether those messages are sent (for ablations).
    """

    def __init__(
        self,
        node_features: int,
        pair_features: int,
        *,
        hidden: int = 64,
        layers: int = 4,
        width: int = 16,
        dropout: float = 0.05,
        forget: float = 0.1,
        messages: bool = True,
        triangles: bool = True,
    ):
        super().__init__()
        self.register_buffer(
            "node_scale", torch.stack([torch.zeros(node_features), torch.ones(node_features)])
        )
        self.register_buffer(
            "pair_scale", torch.stack([torch.zeros(pair_features), torch.ones(pair_features)])
        )
        self.forget = forget
        self.read_nodes = nn.Linear(node_features, hidden)
        self.read_pairs = _mlp(pair_features + 2 * node_features, 2 * hidden, hidden, dropout)
        self.layers = nn.ModuleList(
            Layer(hidden, width, dropout, messages, triangles) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.answer = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(
        self,
        nodes: Tensor,
        pairs: Tensor,
        index: Tensor,
        back: Tensor,
        triangles: Tensor,
        keep: Tensor | None = None,
    ) -> Tensor:
        """(pairs,) log-odds of i → j against no edge.

        Parameters
        ----------
        nodes, pairs, index : as in `features.Features`, several tables one after the other.
        back : (pairs,) position of the reverse pair.
        triangles : (3, t), see `triangles`.
        keep : (pairs, features) of 0 and 1: features left out while training.
        """
        nodes = (nodes - self.node_scale[0]) / self.node_scale[1]
        pairs = (pairs - self.pair_scale[0]) / self.pair_scale[1]
        pairs = pairs if keep is None else pairs * keep
        pairs = self.read_pairs(
            torch.cat([pairs, nodes.index_select(0, index[0]), nodes.index_select(0, index[1])], 1)
        )
        nodes = self.read_nodes(nodes)
        for layer in self.layers:
            nodes, pairs = layer(nodes, pairs, index, back, triangles)
        own = self.norm(pairs)
        return self.answer(torch.cat([own, own.index_select(0, back)], 1))[:, 0]


def reverse(index: Tensor) -> Tensor:
    """(pairs,) position of (j, i) for each pair (i, j) of ``index`` (2, pairs)."""
    return torch.from_numpy(reverse_pairs(*index.numpy()))


def triangles(index: Tensor) -> Tensor:
    """(3, t) positions of (i, j), (i, k) and (k, j), for all that ``index`` holds."""
    order = torch.argsort(index[0], stable=True)
    count = scatter(torch.ones_like(index[0]), index[0], dim_size=int(index.max()) + 1)
    start = torch.cumsum(count, 0) - count
    many = count[index[1]]  # pairs (k, j) that go on from (i, k)
    first = torch.repeat_interleave(torch.arange(len(many)), many)
    place = torch.arange(len(first)) - torch.repeat_interleave(torch.cumsum(many, 0) - many, many)
    second = order[start[index[1][first]] + place]
    i = index[0][first]
    j = index[1][second]
    size = int(index.max()) + 1
    forth = index[0] * size + index[1]
    sort = torch.argsort(forth)
    at = torch.searchsorted(forth[sort], i * size + j).clamp(max=len(forth) - 1)
    whole = (i != j) & (forth[sort][at] == i * size + j)
    return torch.stack([sort[at], first, second])[:, whole]


def log_probabilities(forth: Tensor, back: Tensor) -> Tensor:
    """(pairs, 3) log-probabilities of no edge, i → j and j → i, from log-odds."""
    return torch.log_softmax(torch.stack([torch.zeros_like(forth), forth, forth[back]], 1), 1)
