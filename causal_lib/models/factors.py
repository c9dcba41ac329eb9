"""Matrix factorisation, and random negatives for its pairwise losses."""

import numpy as np
import torch
from torch import nn

from causal_lib.models.interactions import Interactions


class Factors(nn.Module):
    """Score of a pair: mean + user's bias + item's bias + inner product of their ``dim`` factors.

    ``shape`` is (users, items); with ``levels=False`` there are no biases.
    """

    def __init__(self, shape: tuple[int, int], dim: int, *, mean: float = 0.0, levels: bool = True):
        super().__init__()
        self.user, self.item = (nn.Embedding(n, dim) for n in shape)
        for part in (self.user, self.item):
            nn.init.normal_(part.weight, std=0.1)
        self.mean = mean
        self.levels = nn.ModuleList(nn.Embedding(n, 1) for n in shape) if levels else None
        for part in self.levels or ():
            nn.init.zeros_(part.weight)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(n,) scores of pairs of codes."""
        score = (self.user(users) * self.item(items)).sum(dim=1) + self.mean
        if self.levels is not None:
            score = score + self.levels[0](users)[:, 0] + self.levels[1](items)[:, 0]
        return score

    def all_items(self, users: torch.Tensor) -> torch.Tensor:
        """(b, items) scores of all items for ``users``."""
        score = self.user(users) @ self.item.weight.T + self.mean
        if self.levels is not None:
            score = score + self.levels[0](users) + self.levels[1].weight[:, 0]
        return score

    def size(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Mean squared length of the parameters that the pairs use: the L2 penalty."""
        parts = [self.user(users), self.item(items)]
        if self.levels is not None:
            parts += [self.levels[0](users), self.levels[1](items)]
        return sum((part**2).sum(dim=1).mean() for part in parts)


class Negatives:
    """Draws items uniformly among those that a user has no positive for.

    A positive is drawn again, three times at most, so that a few negatives may be positives.
    """

    def __init__(self, data: Interactions):
        self.n_items = data.shape[1]
        keys = data.users.astype(np.int64) * self.n_items + data.items
        self.keys = torch.from_numpy(np.sort(keys))

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n,) item codes for ``users`` (n,)."""
        items = torch.randint(self.n_items, users.shape, generator=generator)
        for _ in range(3):
            key = users * self.n_items + items
            place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
            taken = self.keys[place] == key
            if not taken.any():
                break
            again = torch.randint(self.n_items, users.shape, generator=generator)
            items = torch.where(taken, again, items)
        return items
