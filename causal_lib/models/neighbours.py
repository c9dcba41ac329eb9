"""Samples of the neighbours of a graph's nodes, for graphs too large for messages along all edges.

PyTorch Geometric's own samplers need a further compiled package.
"""

import torch


class Neighbours:
    """Edges sorted by the node that receives.

    Attributes
    ----------
    edges : (2, edges) node numbers, from and to.
    degree : (nodes,) number of edges into each node.
    start : (nodes + 1,) first edge into each node.
    """

    def __init__(self, edge_index: torch.Tensor, n_nodes: int, *, loops: bool):
        if loops:  # every node sends a message to itself too
            edge_index = torch.cat([edge_index, torch.arange(n_nodes).expand(2, -1)], dim=1)
        order = torch.argsort(edge_index[1] * n_nodes + edge_index[0])
        self.edges = edge_index[:, order]
        self.degree = torch.bincount(self.edges[1], minlength=n_nodes)
        self.start = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(self.degree, 0)])

    def draw(
        self, nodes: torch.Tensor, count: int, rounds: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Trees of drawn neighbours below ``nodes``: node of each place, edges between places, and
        their weights.

        ``count`` neighbours, with replacement, are drawn below every place, ``rounds`` times. The
        weights make the sum over the draws an unbiased estimate of the sum over all neighbours that
        a GCN weights by degrees. The first places are ``nodes``.
        """
        tree = [nodes]
        level = nodes
        first = 0
        edges = []
        weights = []
        for _ in range(rounds):
            degree = self.degree[level]
            pick = (torch.rand((count, len(level)), generator=generator) * degree).long()
            drawn = self.edges[0][(self.start[level] + pick).clamp(max=self.edges.shape[1] - 1)]
            parent = torch.arange(len(level)).expand_as(drawn)
            has = degree.expand_as(drawn) > 0  # a node without a neighbour gets no message
            child = torch.arange(int(has.sum())) + first + len(level)
            edges.append(torch.stack([child, parent[has] + first]))
            # the mean over the draws, times the degree, stands for the sum over all neighbours
            weights.append(
                (degree.expand_as(drawn) ** 0.5 * self.degree[drawn] ** -0.5)[has] / count
            )
            first += len(level)
            level = drawn[has]
            tree.append(level)
        return torch.cat(tree), torch.cat(edges, dim=1), torch.cat(weights)
