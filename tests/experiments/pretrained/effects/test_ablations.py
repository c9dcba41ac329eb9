"""Ablations: what is left out is left out."""

import numpy as np
import pytest

from causal_lib.experiments.pretrained.effects import examples
from causal_lib.experiments.pretrained.effects.ablations import (
    VARIANTS,
    effect_ablations,
    errors_of,
)
from causal_lib.experiments.pretrained.effects.examples import make
from causal_lib.experiments.pretrained.effects.recipe import Recipe
from causal_lib.experiments.pretrained.effects.training import tensors, validate
from causal_lib.inference.pretrained.features import OF_CANDIDATES
from causal_lib.inference.pretrained.weights import load


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(examples, "SHARD", 8)


def test_features_that_are_left_out():
    assert VARIANTS["all parts"].used["candidates"].all()
    assert VARIANTS["all parts"].used["table"].all()
    shown = VARIANTS["no R-loss and DR-loss"].used["candidates"]
    left = [name for name, used in zip(OF_CANDIDATES, shown, strict=True) if used]
    assert left == [
        "offset",
        "offset, absolute",
        "offset in errors",
        "deviation",
        "correlation with the median",
    ]
    assert not VARIANTS["no features of the table"].used["table"].any()
    assert (~VARIANTS["no roles of columns"].used["table"]).sum() == 4


def test_every_variant_is_trained_and_compared(few_tables):
    recipe = Recipe(examples=8, validation=8, familiar=6, networks=1, steps=3)
    report = effect_ablations(recipe, folder=few_tables, n_jobs=1)
    assert [row["network"] for row in report["means"]] == list(VARIANTS)
    errors = [row["validation"] for row in report["means"]]
    assert len(set(errors)) == len(errors)
    assert len(report["claims"]) == 2 * (len(VARIANTS) - 1)
    assert report["claims"][0]["value"] == pytest.approx(errors[1] - errors[0])


def test_errors_are_those_of_the_validation_while_training(few_tables, trained_on_effects):
    tables = make(8, 1, folder=few_tables, n_jobs=1, progress=False)
    network = load(trained_on_effects).networks[0]
    found = errors_of(network, tables)
    assert found.shape == (8,)
    assert np.mean(found) == pytest.approx(validate(network, tensors(tables)), rel=1e-6)
