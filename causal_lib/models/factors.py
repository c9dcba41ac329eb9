"""Matrix factorisation, and the one trainer of all recommenders that are learnt by gradients on pairs.

A recommender is a `torch.nn.Module` that scores pairs, a loss of a batch of training pairs, and the scores of all items that it
ranks by: see `debiased` for the losses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from causal_lib.checks import check_codes
from causal_lib.models.interactions import Interactions
from causal_lib.progress import progress_bar


class Factors(nn.Module):
    """The score of a pair: mean + user's level + item's level + product of their ``dim`` factors."""

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
        """Mean squared length of the parameters that the pairs use: what a penalty keeps small."""
        parts = [self.user(users), self.item(items)]
        if self.levels is not None:
            parts += [self.levels[0](users), self.levels[1](items)]
        return sum((part**2).sum(dim=1).mean() for part in parts)


@dataclass(frozen=True)
class Given:
    """What a method may use: training pairs as tensors, propensities (n,), item popularity in (0, 1], a random sample, tags."""

    data: Interactions
    users: torch.Tensor
    items: torch.Tensor
    value: torch.Tensor
    propensity: torch.Tensor | None
    popularity: torch.Tensor
    randomised: Interactions | None
    options: Mapping[str, float]
    tags: sparse.coo_array | None = None
    asked: set[str] = field(default_factory=set)

    def option(self, name: str, default: float) -> float:
        """The option ``name``, remembered as one that the method has."""
        self.asked.add(name)
        return float(self.options.get(name, default))


@dataclass(frozen=True)
class Parts:
    """A method on given data: what is trained, the loss of a batch of rows, and what items are ranked by."""

    module: nn.Module
    loss: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
    ranked: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Recommender:
    """A trained model: scores, and how it came about.

    Attributes
    ----------
    method, settings : name and arguments.
    shape : users and items.
    history : one row an epoch: epoch, loss, validation (smaller is better; the weights are those of the best).
    """

    method: str
    shape: tuple[int, int]
    ranked: Callable[[torch.Tensor], torch.Tensor]
    history: pd.DataFrame
    settings: dict = field(default_factory=dict)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(b, items) of user codes (b,): what `ranking.top_items` takes. Raises ValueError for codes of no user."""
        users = check_codes(users, self.shape[0], name="users", of="user")
        with torch.no_grad():
            return self.ranked(torch.as_tensor(users)).numpy()

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) scores of pairs of codes; of a model of ratings, the ratings expected.

        Raises ValueError for codes of no user or item, and for another number of items than users.
        """
        users, items = (
            check_codes(codes, n, name=f"{of}s", of=of)
            for codes, n, of in zip((users, items), self.shape, ("user", "item"), strict=True)
        )
        if users.ndim != 1 or users.shape != items.shape:
            raise ValueError(
                f"users and items have shapes {users.shape} and {items.shape}; one of each a pair is needed"
            )
        found = np.empty(len(users), dtype=np.float32)
        different, place = np.unique(users, return_inverse=True)
        size = max(1, 4_000_000 // self.shape[1])
        for start in range(0, len(different), size):
            rows = np.flatnonzero((place >= start) & (place < start + size))
            found[rows] = self.scores(different[start : start + size])[place[rows] - start, items[rows]]
        return found

    def __repr__(self):
        return f"{self.method} of {self.shape[0]:,} users and {self.shape[1]:,} items, epoch {self.epoch} of {len(self.history)}"

    @property
    def epoch(self) -> int:
        """The epoch whose weights these are: the best one, the last one without validation."""
        loss = self.history["validation"]
        return int(self.history["epoch"].iloc[-1 if loss.isna().all() else loss.argmin()])


def fit(
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
    n: int,
    validate: Callable[[], float] | None,
    *,
    epochs: int = 100,
    batch_size: int = 2048,
    learning_rate: float = 0.02,
    patience: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Train ``model`` in place by Adam on mini-batches of ``n`` rows; the weights of the best epoch are left in it.

    Parameters
    ----------
    loss : of row numbers (b,) and a generator for whatever is drawn.
    validate : called after every epoch; smaller is better. Stops once it has not fallen for ``patience`` epochs. None: all epochs
        are run and the last weights stay.

    Returns
    -------
    History: columns epoch, loss (mean over the batches), validation.

    Raises ValueError for numbers that are not positive, and a loss or validation that is not finite.
    """
    if min(n, epochs, batch_size, patience) < 1 or not learning_rate > 0:
        raise ValueError(f"{n=}, {epochs=}, {batch_size=}, {patience=}, {learning_rate=} must be positive")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history, best, kept = [], np.inf, None
    for epoch in progress_bar(range(1, epochs + 1), show=progress, desc="training", unit="epoch"):
        model.train()
        order, total = torch.randperm(n, generator=generator), 0.0
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            value = loss(rows, generator)
            value.backward()
            optimizer.step()
            total += float(value.detach()) * len(rows)
        model.eval()
        now = float(validate()) if validate else np.nan
        if not np.isfinite(total) or np.isinf(now) or (validate and np.isnan(now)):
            raise ValueError(f"loss {total / n} and validation {now} in epoch {epoch}; lower learning_rate")
        history.append((epoch, total / n, now))
        if not validate:
            continue
        if now < best:
            best, since = now, epoch
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - since >= patience:
            break
    if validate:
        model.load_state_dict(kept)
    return pd.DataFrame(history, columns=["epoch", "loss", "validation"])


class Negatives:
    """Draws items that a user has no positive for, uniformly; within three tries almost surely."""

    def __init__(self, data: Interactions):
        self.n_items = data.shape[1]
        self.keys = torch.from_numpy(np.sort(data.users.astype(np.int64) * self.n_items + data.items))

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n,) item codes for ``users`` (n,)."""
        items = torch.randint(self.n_items, users.shape, generator=generator)
        for _ in range(3):
            key = users * self.n_items + items
            place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
            taken = self.keys[place] == key
            if not taken.any():
                break
            items = torch.where(taken, torch.randint(self.n_items, users.shape, generator=generator), items)
        return items
