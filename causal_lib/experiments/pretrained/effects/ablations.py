"""Ablations of the pretrained learner of effects: networks trained anew without one part, or on
fewer tables, from the same seed and as long.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import torch

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.pretrained.effects.examples import Examples, make
from causal_lib.experiments.pretrained.effects.recipe import EXAMPLES_SEED, HELD_OUT_SEED, Recipe
from causal_lib.experiments.pretrained.effects.tables import HELD_OUT
from causal_lib.experiments.pretrained.effects.training import (
    answers,
    table_errors,
    tensors,
    train,
)
from causal_lib.inference.pretrained.features import OF_CANDIDATES, OF_TABLE


@dataclass(frozen=True)
class Variant:
    """What is left out.

    Attributes
    ----------
    without : features of a candidate whose names begin so are not shown.
    table : whether the features of the table are shown.
    roles : whether those are that tell how many columns have which role. The candidates know the
        roles all the same; what they are worth to these is measured by pretrained.effects.
    residual : whether weights reach beyond the candidates' hull.
    share : of the training tables that are used.
    """

    without: tuple[str, ...] = ()
    table: bool = True
    roles: bool = True
    residual: bool = True
    share: float = 1.0

    @property
    def used(self) -> dict[str, np.ndarray]:
        """As `train` takes it."""
        shown = np.array([not name.startswith(self.without) for name in OF_CANDIDATES])
        if not self.without:
            shown = np.ones(len(OF_CANDIDATES), dtype=bool)
        of_roles = np.isin(OF_TABLE, _OF_ROLES)
        return {"candidates": shown, "table": self.table & (self.roles | ~of_roles)}


_OF_ROLES = (
    "log columns of the outcome",
    "log columns of the propensity",
    "log columns of effects",
    "share of columns of unknown role",
)
VARIANTS = {
    "all parts": Variant(),
    "no R-loss and DR-loss": Variant(
        without=("R-loss", "DR-loss", "weight in", "distance from R-stack")
    ),
    "no features of the table": Variant(table=False),
    "no roles of columns": Variant(roles=False),
    "no weights beyond the hull": Variant(residual=False),
    "half of the tables": Variant(share=0.5),
    "a tenth of the tables": Variant(share=0.1),
}


@benchmark("pretrained.effect_ablations", peer="a network with all parts")
def effect_ablations(
    recipe: Recipe | None = None, *, folder: Path | None = None, n_jobs: int = 2
) -> dict:
    """Networks of effects trained anew without one part, or on fewer tables, equal steps: errors on
    validation tables and on held-out families.
    """
    recipe = recipe or replace(Recipe(), networks=1)
    how = {"n_jobs": n_jobs, "folder": folder, "progress": False}
    examples = make(recipe.examples, recipe.seed + EXAMPLES_SEED, **how)
    tested = {
        "validation": make(recipe.validation, recipe.seed, **how),
        "held out": make(
            recipe.familiar, recipe.seed + HELD_OUT_SEED, names=tuple(HELD_OUT), **how
        ),
    }

    def one(variant):
        torch.set_num_threads(1)
        network, _ = train(
            examples.take(np.arange(max(1, int(variant.share * len(examples))))),
            tested["validation"],
            seed=recipe.seed,
            steps=recipe.steps,
            used=variant.used,
            residual=variant.residual,
            progress=False,
        )
        return {name: errors_of(network, tables) for name, tables in tested.items()}

    found = joblib.Parallel(n_jobs)(joblib.delayed(one)(part) for part in VARIANTS.values())
    claims = []
    means = []
    for name, errors in zip(VARIANTS, found, strict=True):
        means.append({"network": name, **{k: float(v.mean()) for k, v in errors.items()}})
        if name != "all parts":
            claims += [
                Claim.of(
                    f"{name}, {on}: error - that of all parts", errors[on] - found[0][on], "above 0"
                )
                for on in tested
            ]
    return report(claims, steps=recipe.steps, tables=len(examples), means=means)


def errors_of(network: torch.nn.Module, examples: Examples) -> np.ndarray:
    """(tables,) mean squared errors over those of the median candidate."""
    batch = tensors(examples)
    return table_errors(answers(network, batch).effects, batch).double().numpy()
