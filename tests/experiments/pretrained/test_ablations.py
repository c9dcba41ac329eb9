"""Ablations: what is left out is left out, and scores are those of the probabilities."""

from functools import partial

import numpy as np
import pytest

from causal_lib.experiments.pretrained import ablations
from causal_lib.experiments.pretrained.ablations import VARIANTS, score
from causal_lib.experiments.pretrained.examples import make
from causal_lib.experiments.pretrained.recipe import Recipe
from causal_lib.experiments.pretrained.training import validate


def test_every_variant_is_trained_and_compared_with_all_parts(tiny, kept, monkeypatch):
    monkeypatch.setattr(ablations, "make", partial(make, folder=kept, progress=False))
    report = ablations.ablations(Recipe(**tiny.about["recipe"]), n_jobs=1)
    assert [row["network"] for row in report["means"]] == list(VARIANTS)
    features = {row["network"]: row["pair features"] for row in report["means"]}
    assert (
        features["no triangles"]
        == features["all parts"]
        > features["no order-search features"]
        == features["all parts"] - 10
    )
    assert 20 < features["no asymmetry features of pairs"] < 60
    losses = [row["loss"] for row in report["means"]]
    assert len(set(losses)) == len(losses)
    assert len(report["claims"]) == 2 * (len(VARIANTS) - 1)
    assert report["claims"][0]["value"] == pytest.approx(losses[1] - losses[0], abs=2e-4)


def test_scores_are_those_of_the_validation_while_training(tiny, kept):
    validation = make(50, tiny.about["recipe"]["seed"] + 1, folder=kept, n_jobs=1, progress=False)
    network = tiny.networks[0]
    found = score(network, np.ones(validation.pairs.shape[1], dtype=bool), validation)
    weight = validation.variables / validation.variables.sum()
    assert (found["loss"] * weight).sum() == pytest.approx(validate(network, validation), rel=1e-3)
    assert found["f1"].between(0, 1).all()
