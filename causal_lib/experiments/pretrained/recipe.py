"""How the weights of the package were made: examples, networks, temperature, limits of familiarity;
`causal-lib pretrain`.
"""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.discovery.engines.pretrained.features import ODD_NODES, Features, describe
from causal_lib.discovery.engines.pretrained.network import PairNetwork, reverse
from causal_lib.discovery.engines.pretrained.weights import FORMAT, PATH, Weights, of_names, save
from causal_lib.experiments.pretrained.examples import Examples, make
from causal_lib.experiments.pretrained.training import Batches, train
from causal_lib.worlds.random_tables import HELD_OUT, draw


@dataclass(frozen=True)
class Recipe:
    """What the weights depend on: numbers of examples, networks and steps, and the seed of all of
    them.
    """

    examples: int = 6000
    validation: int = 300
    familiar: int = 25  # tables of each held-out family, for the limits of familiarity only
    networks: int = 4
    steps: int = 4000
    seed: int = 0


QUICK = Recipe(examples=100, validation=50, familiar=2, networks=2, steps=30)
"""For the tests: all of the code, in less than two minutes, and weights that are of no use."""


def pretrain(
    recipe: Recipe | None = None, path: Path = PATH, *, n_jobs: int = 2, progress: bool = True
) -> Weights:
    """Make the examples (kept under data/cache), train, calibrate, and write the weights to
    ``path``.

    The same recipe gives the same weights on the same machine and versions; other processors round
    otherwise.
    """
    recipe = recipe or Recipe()
    start = time.perf_counter()
    examples = make(recipe.examples, recipe.seed, n_jobs=n_jobs, progress=progress)
    validation = make(recipe.validation, recipe.seed + 1, n_jobs=n_jobs, progress=progress)
    pattern = describe(draw("linear Gaussian", 0, d=3, n=100).frame)
    odd = np.arange(examples.nodes.shape[1]) < ODD_NODES, pattern.odd
    jobs = (
        joblib.delayed(_train)(examples, validation, odd, recipe.seed + k, recipe.steps, progress)
        for k in range(recipe.networks)
    )
    trained = joblib.Parallel(n_jobs)(jobs)
    networks = tuple(network for network, _ in trained)
    odds = [set_odds(networks, validation, k) for k in range(len(validation))]
    reference = familiarity.fit(summaries(examples), examples.variables)
    about = {
        "format": FORMAT,
        "features": of_names(pattern.names),
        "node_features": int(examples.nodes.shape[1]),
        "pair_features": int(examples.pairs.shape[1]),
        "options": {},
        "networks": len(networks),
        "temperature": temperature(odds, validation),
        "recipe": asdict(recipe),
        "examples": {"sets": len(examples), "pairs": len(examples.label), "hash": examples.hash()},
        "validation": {
            "sets": len(validation),
            "hash": validation.hash(),
            "loss": [h[-1][1] for _, h in trained],
        },
        "versions": {
            name: version(name) for name in ("numpy", "torch", "torch-geometric", "scipy", "pandas")
        },
    }
    weights = Weights(networks, reference, about)
    about["limits"] = limits(weights, validation, odds, recipe)
    about["minutes"] = round((time.perf_counter() - start) / 60, 1)
    save(weights, path)
    return weights


def _train(examples, validation, odd, seed, steps, progress):
    torch.set_num_threads(1)
    return train(examples, validation, odd, seed=seed, steps=steps, progress=progress)


def set_odds(networks: tuple[PairNetwork, ...], examples: Examples, number: int) -> np.ndarray:
    """(networks, pairs) log-odds of one data set."""
    batch = Batches(examples).take([number])
    with torch.no_grad():
        found = [
            net(*(batch[k] for k in ("nodes", "pairs", "index", "back", "triangles")))
            for net in networks
        ]
    return torch.stack(found).double().numpy()


def temperature(odds: list[np.ndarray], examples: Examples) -> float:
    """The temperature at which the mean of the networks' probabilities is likeliest, on tables that
    they never saw.
    """
    first = np.concatenate([[0], np.cumsum(examples.edges)])
    answers = []
    for k, logs in enumerate(odds):
        a = first[k]
        b = first[k + 1]
        back = reverse(torch.from_numpy(examples.index[:, a:b].astype(np.int64))).numpy()
        label = examples.label[a:b]
        answers.append(
            (logs, back, np.where(label, 1, np.where(label[back], 2, 0)), 1 / examples.variables[k])
        )

    def loss(t):
        total = 0.0
        for logs, back, answer, weight in answers:
            three = np.stack([np.zeros_like(logs), logs, logs[:, back]], axis=2) / t
            mean = np.exp(log_softmax(three, axis=2)).mean(axis=0)
            total -= weight * np.log(mean[np.arange(len(answer)), answer]).sum()
        return total

    return float(minimize_scalar(loss, bounds=(0.5, 3), method="bounded").x)


def summaries(examples: Examples) -> np.ndarray:
    """(sets, m) of `familiarity.summary`."""
    nodes = np.split(examples.nodes, np.cumsum(examples.variables)[:-1])
    pairs = np.split(examples.pairs, np.cumsum(examples.edges)[:-1])
    return np.array([familiarity.summary(*both) for both in zip(nodes, pairs, strict=True)])


def limits(
    weights: Weights, validation: Examples, odds: list[np.ndarray], recipe: Recipe
) -> dict[str, float]:
    """From where on a table is unfamiliar: beyond 99% of the validation tables and 90% of each
    held-out family's.
    """
    from causal_lib.discovery.engines.pretrained.discoverer import log_odds

    far = [
        np.quantile(
            familiarity.distance(weights.reference, summaries(validation), validation.variables),
            0.99,
        )
    ]
    apart = [
        np.quantile(
            [familiarity.disagreement(logs / weights.about["temperature"]) for logs in odds], 0.99
        )
    ]
    for number, family in enumerate(HELD_OUT):
        tables: list[Features] = []
        for k in range(recipe.familiar):
            rng = np.random.default_rng([recipe.seed + 2, number, k])
            tables.append(describe(draw(family, rng, d=int(rng.integers(5, 31))).frame))
        found = np.array([familiarity.summary(one.nodes, one.pairs) for one in tables])
        sizes = np.array([len(one.nodes) for one in tables])
        far.append(np.quantile(familiarity.distance(weights.reference, found, sizes), 0.9))
        apart.append(
            np.quantile([familiarity.disagreement(log_odds(weights, one)) for one in tables], 0.9)
        )
    return {"distance": float(max(far)), "disagreement": float(max(apart))}
