"""How the weights of the package were made: tables, networks, calibration, limits of familiarity;
`causal-lib pretrain effects`.
"""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import torch

from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.experiments.pretrained.effects.examples import Examples, make
from causal_lib.experiments.pretrained.effects.tables import HELD_OUT
from causal_lib.experiments.pretrained.effects.training import answers, tensors, train
from causal_lib.inference.pretrained.features import OF_TABLE, Table
from causal_lib.inference.pretrained.learner import disagreement, joint_width, summary
from causal_lib.inference.pretrained.network import EffectNetwork
from causal_lib.inference.pretrained.weights import FEATURES, FORMAT, PATH, Weights, save

LEVELS = np.arange(1, 100) / 100
"""Of the intervals that are calibrated."""
EXAMPLES_SEED = 1
"""Added to the recipe's: of the tables that are trained on."""
HELD_OUT_SEED = 2
"""The same of the tables of held-out families that set the limits of familiarity."""


@dataclass(frozen=True)
class Recipe:
    """What the weights depend on: numbers of tables, networks and steps, and the seed of all of
    them. The defaults are those of the weights in the package.

    Attributes
    ----------
    examples, validation : tables of the trained families: to train on, and to calibrate on.
    familiar : tables of held-out families, for the limits of familiarity only.
    """

    examples: int = 5500
    validation: int = 100
    familiar: int = 150
    networks: int = 4
    steps: int = 4000
    seed: int = 0


QUICK = Recipe(examples=50, validation=50, familiar=50, networks=2, steps=20)
"""For the tests: all of the code, in less than two minutes, and weights that are of no use."""


def pretrain(
    recipe: Recipe | None = None,
    path: Path = PATH,
    *,
    folder: Path | None = None,
    n_jobs: int = 2,
    progress: bool = True,
) -> Weights:
    """Make the tables (kept in ``folder``), train, calibrate, and write the weights to ``path``.

    The same recipe gives the same weights on the same machine and versions; other processors round
    otherwise.
    """
    recipe = recipe or Recipe()
    start = time.perf_counter()
    how = {"n_jobs": n_jobs, "folder": folder, "progress": progress}
    examples = make(recipe.examples, recipe.seed + EXAMPLES_SEED, **how)
    validation = make(recipe.validation, recipe.seed, **how)
    unseen = make(recipe.familiar, recipe.seed + HELD_OUT_SEED, names=tuple(HELD_OUT), **how)
    jobs = (
        joblib.delayed(_train)(examples, validation, recipe.seed + k, recipe.steps, progress)
        for k in range(recipe.networks)
    )
    trained = joblib.Parallel(n_jobs)(jobs)
    networks = tuple(network for network, _ in trained)
    summaries = all_summaries(examples)
    reference = familiarity.fit(summaries, rows_of(examples))
    each, widths = all_answers(networks, validation)
    reference |= {"levels": LEVELS, "quantiles": width_quantiles(each, widths, validation)}
    about = {
        "format": FORMAT,
        "features": FEATURES,
        "options": {},
        "networks": len(networks),
        "recipe": asdict(recipe),
        "examples": {"tables": len(examples), "hash": examples.hash()},
        "validation": {
            "tables": len(validation),
            "hash": validation.hash(),
            "error": [history[-1][1] for _, history in trained],
        },
        "limits": limits(networks, reference, validation, unseen),
        "versions": {
            name: version(name) for name in ("numpy", "torch", "lightgbm", "scikit-learn", "scipy")
        },
    }
    save(Weights(networks, reference, about), path)
    minutes = round(
        (time.perf_counter() - start) / 60, 1
    )  # not in the file: its bytes are the same
    return Weights(networks, reference, about | {"minutes": minutes})


def _train(examples, validation, seed, steps, progress):
    torch.set_num_threads(1)
    return train(examples, validation, seed=seed, steps=steps, progress=progress)


def all_answers(
    networks: tuple[EffectNetwork, ...], examples: Examples
) -> tuple[np.ndarray, np.ndarray]:
    """δ and log b of every network, (networks, tables, queries) each."""
    batch = tensors(examples)
    found = [answers(network, batch) for network in networks]
    return (
        torch.stack([one.effects for one in found]).double().numpy(),
        torch.stack([one.widths for one in found]).double().numpy(),
    )


def width_quantiles(each: np.ndarray, widths: np.ndarray, examples: Examples) -> np.ndarray:
    """(levels,) quantiles of the absolute error in half-widths over the rows of all tables."""
    off = np.abs(each.mean(axis=0) - examples.target)
    return np.quantile(off / joint_width(each, widths), LEVELS)


def rows_of(examples: Examples) -> np.ndarray:
    """(tables,) numbers of rows."""
    return np.exp(examples.table[:, OF_TABLE.index("log rows")].astype(float)).round()


def all_summaries(examples: Examples) -> np.ndarray:
    """(tables, k) of `learner.summary`."""
    return np.array(
        [
            summary(Table(of_candidates, of_table, 1.0))
            for of_candidates, of_table in zip(examples.candidates, examples.table, strict=True)
        ]
    )


def limits(
    networks: tuple[EffectNetwork, ...],
    reference: dict[str, np.ndarray],
    validation: Examples,
    unseen: Examples,
) -> dict[str, float]:
    """From where on a table is unfamiliar: beyond 99% of the validation tables and 90% of each
    held-out family's.
    """
    found = {"distance": [], "disagreement": []}
    families = [unseen.take(unseen.family == number) for number in np.unique(unseen.family)]
    for share, examples in ((0.99, validation), *((0.9, family) for family in families)):
        far = familiarity.distance(reference, all_summaries(examples), rows_of(examples))
        each = all_answers(networks, examples)[0]
        apart = [disagreement(each[:, k]) for k in range(len(examples))]
        found["distance"].append(np.quantile(far, share))
        found["disagreement"].append(np.quantile(apart, share))
    return {name: float(max(values)) for name, values in found.items()}
