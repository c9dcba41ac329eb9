"""Ablations of the pretrained discoverer: networks trained anew without one part, from the same
seed, as long.
"""

from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import torch

from causal_lib.discovery.engines.pretrained.features import ODD_NODES, describe
from causal_lib.discovery.engines.pretrained.network import PairNetwork, log_probabilities
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.pretrained.examples import Examples, make
from causal_lib.experiments.pretrained.recipe import Recipe
from causal_lib.experiments.pretrained.training import Batches, train
from causal_lib.worlds.random_tables import draw

_SECOND_ORDER = (
    "correlation",
    "partial",
    "least given",
    "most given",
    "information",
    "solver",
    "known",
)
VARIANTS = {
    "all parts": {},
    "no message passing": {"messages": False},
    "no triangles": {"triangles": False},
    "no asymmetry features of pairs": {"without": lambda name: not name.startswith(_SECOND_ORDER)},
    "no order-search features": {"without": lambda name: name.startswith("solver")},
}
"""Name -> options of `PairNetwork`, or which pair features are left out.

What second moments, mutual information, the order search and knowledge tell is the same for both
directions of a pair, or known from a class of graphs; everything else is there to tell the
directions apart. The variables' own features stay: skewness, and the places that LiNGAM and
additive models give them, so a variant without the pairs' still sees some asymmetry.
"""


STEPS = 1500  # so that all take a quarter of an hour; the package's networks have more


@benchmark("pretrained.ablations", peer="a network with all parts")
def ablations(recipe: Recipe | None = None, *, n_jobs: int = 2) -> dict:
    """Networks trained anew without one part each, equal steps, on the validation tables; a quarter
    of an hour.

    One network for each of `VARIANTS`: loss and directed F1.
    """
    recipe = recipe or replace(Recipe(), steps=STEPS)
    examples = make(recipe.examples, recipe.seed, n_jobs=n_jobs)
    validation = make(recipe.validation, recipe.seed + 1, n_jobs=n_jobs)
    pattern = describe(draw("linear Gaussian", 0, d=3, n=100).frame)
    odd = (np.arange(examples.nodes.shape[1]) < ODD_NODES, pattern.odd)

    def one(options):
        torch.set_num_threads(1)
        options = dict(options)
        without = options.pop("without", lambda name: False)
        used = np.array([not without(name) for name in pattern.names])
        network, _ = train(
            examples, validation, odd, seed=recipe.seed, steps=recipe.steps, used=used, **options
        )
        return used.sum(), score(network, used, validation)

    found = joblib.Parallel(n_jobs)(joblib.delayed(one)(options) for options in VARIANTS.values())
    whole = found[0][1]
    claims = []
    rows = []
    for name, (features, scores) in zip(VARIANTS, found, strict=True):
        means = {key: round(float(value), 4) for key, value in scores.mean().items()}
        rows.append({"network": name, "pair features": int(features), **means})
        if scores is not whole:
            loss = scores["loss"] - whole["loss"]
            f1 = scores["f1"] - whole["f1"]
            claims.append(Claim.of(f"{name}: loss - that of all parts", loss, "above 0"))
            claims.append(Claim.of(f"{name}: directed F1 - that of all parts", f1, "below 0"))
    return report(claims, steps=recipe.steps, seed=recipe.seed, tables=len(validation), means=rows)


def score(network: PairNetwork, used: np.ndarray, validation: Examples) -> pd.DataFrame:
    """Loss of a pair (nats) and F1 of the edges with p > 1/2, one row for each data set."""
    batches = Batches(validation)
    keep = torch.from_numpy(used.astype(np.float32))
    rows = []
    for number in range(len(validation)):
        batch = batches.take([number])
        with torch.no_grad():
            shown = keep.expand(len(batch["pairs"]), -1)
            forth = network(
                *(batch[k] for k in ("nodes", "pairs", "index", "back", "triangles")), shown
            )
        logs = log_probabilities(forth, batch["back"])
        label = batch["label"]
        answer = torch.where(label, 1, torch.where(label[batch["back"]], 2, 0))
        found = logs[:, 1] > np.log(0.5)
        both = (found & label).sum().item()
        f1 = 2 * both / max(1, found.sum().item() + label.sum().item())
        rows.append({"loss": -logs.gather(1, answer[:, None]).mean().item(), "f1": f1})
    return pd.DataFrame(rows)
