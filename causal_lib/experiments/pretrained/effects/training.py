"""Training of the network of effects on `examples`."""

import numpy as np
import torch

from causal_lib.experiments.pretrained.effects.examples import Examples
from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.network import Answers, EffectNetwork, signs_of
from causal_lib.inference.pretrained.weights import SIZES
from causal_lib.progress import progress_bar

TABLES = 16  # in a batch
ROWS = 32  # of a table's queries that a step sees
LEARNING_RATE = 2e-3
DECAY = 0.02
WARM_UP = 1 / 20  # of the steps, in which the rate grows
AVERAGE = 1 / 8  # of the steps, which the averaged weights remember
FORGET = 0.15  # share of the features of a table and of its candidates that a step does not see
_OF_WIDTH = 0.1  # weights in the loss: of the half-widths,
_OF_AVERAGE = 0.05  # of the average effect,
_OF_OUTCOMES = 0.1  # of the expected outcomes
_MOST = 4.0  # error of a table, in those of its median candidate, from which it counts by its root
_FITTED = NAMES.index("constant")
PARTS = ("cells", "rows", "candidates", "table")


def candidate_errors(examples: Examples) -> np.ndarray:
    """(tables, candidates) mean squared errors of the candidates, in squared scales."""
    values = examples.cells[..., 0].astype(np.float32) + examples.candidates[:, None, :, 0]
    return ((values - examples.target[:, :, None]) ** 2).mean(axis=1)


def usual_errors(examples: Examples) -> np.ndarray:
    """(tables,) the median candidate's mean squared error: by it a table's loss is divided."""
    return np.median(candidate_errors(examples)[:, :_FITTED], axis=1)


def outcome_errors(examples: Examples) -> np.ndarray:
    """(tables, kinds) mean squared errors of the regressions of the outcome, over both arms."""
    off = examples.outcomes.astype(np.float32) - examples.truths[..., None]
    return (off**2).mean(axis=(1, 2))


def tensors(examples: Examples) -> dict[str, torch.Tensor]:
    """The examples as tensors, with `usual_errors` as 'usual', and the median of `outcome_errors`
    as 'usual outcome'.
    """
    found = {
        name: torch.from_numpy(getattr(examples, name).astype(np.float32))
        for name in (*PARTS, "target", "outcomes", "truths", "mean", "error")
    }
    usual = {
        "usual": usual_errors(examples),
        "usual outcome": np.median(outcome_errors(examples), axis=1) + 1e-6,
    }
    return found | {name: torch.from_numpy(x.astype(np.float32)) for name, x in usual.items()}


def table_errors(found: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(tables,) mean squared errors of ``found`` (tables, m) over those of the median candidate."""
    return ((found - batch["target"]) ** 2).mean(1) / batch["usual"]


def loss_of(network: EffectNetwork, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean of `table_errors`, of a great one its root, and a share of the losses of other answers.

    A tenth of the half-widths' surprise: the half-width b is that of a Laplace distribution about
    the answer, log b + |error|/b. A twentieth of the squared error of the average, over the square
    of the doubly robust one's standard error. A tenth of the mean squared error of the expected
    outcomes, over that of the median regression.
    """
    found = network(*(batch[name] for name in PARTS))
    errors = _cut(table_errors(found.effects, batch))
    off = (found.effects - batch["target"]).abs().detach()
    surprise = found.widths + off * torch.exp(-found.widths)
    averages = _cut(((found.averages - batch["mean"]) / batch["error"].clamp(min=1e-3)) ** 2)
    outcomes = _cut(arm_errors(found.shares, batch))
    return (
        errors.mean()
        + _OF_WIDTH * surprise.mean()
        + _OF_AVERAGE * averages.mean()
        + _OF_OUTCOMES * outcomes.mean()
    )


def arm_errors(shares: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(tables,) mean squared errors of expected outcomes mixed by ``shares`` (tables, 2, kinds),
    over those of the median regression.
    """
    off = (batch["outcomes"] * shares[:, None]).sum(3) - batch["truths"]
    return (off**2).mean((1, 2)) / batch["usual outcome"]


def _cut(errors):
    """Beyond `_MOST` an error counts by its root."""
    return torch.where(errors > _MOST, 2 * torch.sqrt(_MOST * errors) - _MOST, errors)


def train(
    examples: Examples,
    validation: Examples,
    *,
    seed: int,
    steps: int,
    used: dict[str, np.ndarray] | None = None,
    progress: bool = True,
    **options,
) -> tuple[EffectNetwork, list[tuple[int, float]]]:
    """A trained network (averaged weights) and its validation error on the way.

    Parameters
    ----------
    used : kind of features -> (features,) bool, which are shown (ablations); all by default.
    options : of `EffectNetwork`.
    """
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EffectNetwork(*SIZES, **options)
        _scale(network, examples, used)
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
        everything = tensors(examples)
        check = tensors(validation)
        history = []
        queue = []
        bar = progress_bar(range(steps), show=progress, desc="training", unit="step")
        for step in bar:
            if len(queue) < min(TABLES, len(examples)):
                queue = rng.permutation(len(examples)).tolist()
            which = [queue.pop() for _ in range(min(TABLES, len(examples)))]
            batch = {name: part[which] for name, part in everything.items()}
            batch = _forgetful(_some_rows(batch, rng), network, rng)
            network.train()
            optimizer.zero_grad()
            loss = loss_of(network, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            if (step + 1) % 1000 == 0 or step + 1 == steps:
                history.append((step + 1, validate(average.module, check)))
                bar.set_postfix(loss=f"{loss.item():.4f}", validation=f"{history[-1][1]:.4f}")
    return average.module.eval(), history


def _some_rows(batch, rng):
    """Some rows of each table, and half of the outcomes turned round."""
    count = batch["target"].shape[1]
    kept = rng.permutation(count)[:ROWS]
    turned = torch.from_numpy(rng.choice([-1.0, 1.0], len(batch["target"])).astype(np.float32))
    for name in ("cells", "rows", "target", "outcomes", "truths"):
        batch[name] = batch[name][:, kept]
    back = signs_of(-1.0)
    for name, signs in back.items():
        shape = (-1, *[1] * (batch[name].dim() - 1))
        sign = torch.where(turned.reshape(shape) < 0, signs, torch.ones_like(signs))
        batch[name] = batch[name] * sign
    for name in ("target", "outcomes", "truths", "mean"):
        batch[name] = batch[name] * turned.reshape(-1, *[1] * (batch[name].dim() - 1))
    return batch


def _forgetful(batch, network, rng):
    """Some features of each table, and of all its candidates, are replaced by their usual value.

    The candidates' first one is not, as answers are made of it.
    """
    for name in ("candidates", "table"):
        usual = getattr(network, f"{name}_scale")[0]
        lost = rng.random((len(batch["table"]), usual.shape[-1])) < FORGET
        lost = torch.from_numpy(lost)
        if name == "candidates":
            lost[:, 0] = False
            lost = lost[:, None]
        batch[name] = torch.where(lost, usual, batch[name])
    return batch


def answers(network: EffectNetwork, batch: dict[str, torch.Tensor], at_once: int = 50) -> Answers:
    """`EffectNetwork.both_signs` of all tables."""
    network.eval()
    with torch.no_grad():
        parts = [
            network.both_signs(*(batch[name][k : k + at_once] for name in PARTS))
            for k in range(0, len(batch["target"]), at_once)
        ]
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


def validate(network: EffectNetwork, batch: dict[str, torch.Tensor]) -> float:
    """Mean of `table_errors`."""
    return float(table_errors(answers(network, batch).effects, batch).mean())


def _scale(network, examples, used):
    """Feature means and deviations of the examples; a feature that is not shown is always 0."""
    with torch.no_grad():
        for name in PARTS:
            buffer = getattr(network, f"{name}_scale")
            values = getattr(examples, name)[: 2 * 10**3].astype(np.float64)
            values = values.reshape(-1, *buffer.shape[1:])
            spread = np.maximum(values.std(axis=0), 1e-3)
            if used is not None and name in used:
                spread = np.where(used[name], spread, 1e12)
            buffer[0] = torch.from_numpy(values.mean(axis=0))
            buffer[1] = torch.from_numpy(spread)
