"""Training of the pair network on `examples`."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from causal_lib.discovery.engines.pretrained.network import (
    PairNetwork,
    log_probabilities,
    reverse,
    triangles,
)
from causal_lib.experiments.pretrained.examples import Examples
from causal_lib.progress import progress_bar

PAIRS = 4000  # ordered pairs in a batch, about
TRIANGLES = 400_000  # and triangles at most, unless one data set alone has more
LEARNING_RATE = 1.5e-3
DECAY = 0.05
WARM_UP = 1 / 20  # of the steps, in which the rate grows
AVERAGE = 1 / 8  # of the steps, which the averaged weights remember


class Batches:
    """Examples cut into batches of about equal work."""

    def __init__(self, examples: Examples):
        self.examples = examples
        self.first_node = np.concatenate([[0], np.cumsum(examples.variables)])
        self.first_pair = np.concatenate([[0], np.cumsum(examples.edges)])

    def split(self, rng: np.random.Generator | None = None) -> list[np.ndarray]:
        """Numbers of the data sets of each batch, shuffled by ``rng``."""
        order = (
            np.arange(len(self.examples)) if rng is None else rng.permutation(len(self.examples))
        )
        batches = []
        current = []
        pairs = 0
        cubes = 0
        for k in order:
            e = int(self.examples.edges[k])
            t = int(self.examples.variables[k]) ** 3
            if current and (pairs + e > PAIRS or cubes + t > TRIANGLES):
                batches.append(np.array(current))
                current = []
                pairs = 0
                cubes = 0
            current.append(k)
            pairs = pairs + e
            cubes = cubes + t
        return [*batches, np.array(current)] if current else batches

    def take(self, sets: Sequence[int]) -> dict[str, torch.Tensor]:
        """The data sets ``sets`` as one graph."""
        nodes = []
        pairs = []
        index = []
        back = []
        three = []
        label = []
        owner = []
        of_node = []
        at_node = at_pair = 0
        for place, k in enumerate(sets):
            a = self.first_pair[k]
            b = self.first_pair[k + 1]
            d = int(self.examples.variables[k])
            nodes.append(self.examples.nodes[self.first_node[k] : self.first_node[k + 1]])
            pairs.append(self.examples.pairs[a:b])
            index.append(torch.from_numpy(self.examples.index[:, a:b].astype(np.int64)) + at_node)
            turned, around = _complete(d)
            back.append(turned + at_pair)
            three.append(around + at_pair)
            label.append(self.examples.label[a:b])
            owner.append(torch.full((b - a,), place))
            of_node.append(torch.full((d,), place))
            at_node = at_node + d
            at_pair = at_pair + int(b - a)
        return {
            "nodes": torch.from_numpy(np.concatenate(nodes).astype(np.float32)),
            "pairs": torch.from_numpy(np.concatenate(pairs).astype(np.float32)),
            "index": torch.cat(index, 1),
            "back": torch.cat(back),
            "triangles": torch.cat(three, 1),
            "label": torch.from_numpy(np.concatenate(label)),
            "owner": torch.cat(owner),
            "of_node": torch.cat(of_node),
        }


@lru_cache(maxsize=100)
def _complete(d):
    """Reverse pairs and triangles of the complete graph, its pairs in the order of `np.nonzero`."""
    index = torch.from_numpy(np.stack((~np.eye(d, dtype=bool)).nonzero()))
    return reverse(index), triangles(index)


def loss_of(
    network: PairNetwork, batch: dict[str, torch.Tensor], keep: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of the three answers of every pair, each data set weighing as its number of
    variables.
    """
    forth = network(*(batch[k] for k in ("nodes", "pairs", "index", "back", "triangles")), keep)
    logs = log_probabilities(forth, batch["back"])
    answer = torch.where(batch["label"], 1, torch.where(batch["label"][batch["back"]], 2, 0))
    each = -logs.gather(1, answer[:, None])[:, 0]
    count = torch.bincount(batch["of_node"]).float()
    weight = (1 / (count - 1))[batch["owner"]]  # pairs of d variables: d (d - 1)
    return (each * weight).sum() / count.sum()


def train(
    examples: Examples,
    validation: Examples,
    odd: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    steps: int,
    used: np.ndarray | None = None,
    progress: bool = True,
    **options,
) -> tuple[PairNetwork, list[tuple[int, float]]]:
    """A trained network (averaged weights) and its validation loss on the way.

    Parameters
    ----------
    odd : which node features (f,) change sign with their variable; which pair features (2, g) with
        the first, the second.
    used : (g,) bool, pair features that are shown (ablations); all by default.
    options : of `PairNetwork`.
    """
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PairNetwork(examples.nodes.shape[1], examples.pairs.shape[1], **options)
        _scale(network, examples)
        used = (
            torch.ones(examples.pairs.shape[1])
            if used is None
            else torch.from_numpy(used.astype(np.float32))
        )
        odd_node, odd_pair = (torch.from_numpy(part.astype(np.float32)) for part in odd)
        average = torch.optim.swa_utils.AveragedModel(
            network,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                1 - 1 / max(1.0, AVERAGE * steps)
            ),
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda k: (
                min((k + 1) / (WARM_UP * steps), 1)
                * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * k / steps)))
            ),
        )
        batches = Batches(examples)
        history = []
        queue = []
        bar = progress_bar(range(steps), show=progress, desc="training", unit="step")
        for step in bar:
            if not queue:
                queue = batches.split(rng)
                rng.shuffle(queue)
            batch = batches.take(queue.pop())
            sets = int(batch["owner"][-1]) + 1
            flip = torch.from_numpy(
                rng.choice([-1.0, 1.0], len(batch["nodes"])).astype(np.float32)
            )[:, None]
            batch["nodes"] = batch["nodes"] * torch.where(odd_node > 0, flip, 1)
            first = flip[batch["index"][0]]
            second = flip[batch["index"][1]]
            batch["pairs"] = (
                batch["pairs"]
                * torch.where(odd_pair[0] > 0, first, 1)
                * torch.where(odd_pair[1] > 0, second, 1)
            )
            forgot = torch.from_numpy(
                (rng.random((sets, len(used))) > network.forget).astype(np.float32)
            )
            network.train()
            optimizer.zero_grad()
            loss = loss_of(network, batch, forgot[batch["owner"]] * used)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            if (step + 1) % 500 == 0 or step + 1 == steps:
                history.append((step + 1, validate(average.module, validation, used)))
                bar.set_postfix(loss=f"{loss.item():.4f}", validation=f"{history[-1][1]:.4f}")
    return average.module.eval(), history


def validate(network: PairNetwork, examples: Examples, used: torch.Tensor | None = None) -> float:
    """Mean loss on ``examples``."""
    network.eval()
    batches = Batches(examples)
    total = 0.0
    count = 0
    with torch.no_grad():
        for sets in batches.split():
            batch = batches.take(sets)
            total += loss_of(network, batch, used).item() * len(batch["nodes"])
            count += len(batch["nodes"])
    return total / count


def _scale(network, examples):
    """Feature means and deviations of the examples, of the pairs by a part of them."""
    with torch.no_grad():
        for buffer, values in (
            (network.node_scale, examples.nodes),
            (network.pair_scale, examples.pairs),
        ):
            some = values[:: max(1, len(values) // 300_000)].astype(np.float64)
            buffer[0] = torch.from_numpy(some.mean(axis=0))
            buffer[1] = torch.from_numpy(np.maximum(some.std(axis=0), 1e-3))
