"""The weights of the package: they are those of the recipe, and they help on tables they never saw."""

from dataclasses import asdict

import numpy as np
import pytest

from causal_lib.experiments.pretrained.effects.examples import collect
from causal_lib.experiments.pretrained.effects.recipe import Recipe, all_answers
from causal_lib.experiments.pretrained.effects.tables import HELD_OUT, draw
from causal_lib.experiments.pretrained.effects.training import candidate_errors, usual_errors
from causal_lib.inference.pretrained import learner
from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.weights import PATH, load

FAMILIES = [name for name in HELD_OUT for _ in range(4)]


@pytest.fixture(scope="module")
def unseen():
    """Four tables of 300 rows of each held-out family."""
    seeds = [[77, k] for k in range(len(FAMILIES))]
    return collect(FAMILIES, seeds, n=300)


def test_they_are_those_of_the_recipe():
    weights = load()
    assert weights.about["recipe"] == asdict(Recipe())
    assert len(weights.networks) == 4
    assert PATH.stat().st_size < 5_000_000


def test_they_are_nearer_than_rules_that_choose_among_the_candidates(unseen):
    """By mean squared errors in those of each table's median candidate."""
    found = all_answers(load().networks, unseen)[0].mean(axis=0)
    usual = usual_errors(unseen)
    errors = ((found - unseen.target) ** 2).mean(axis=1) / usual
    candidates = candidate_errors(unseen) / usual[:, None]
    values = unseen.cells[..., 0].astype(float) + unseen.candidates[:, None, :, 0]
    middle = np.median(values[:, :, : NAMES.index("constant")], axis=2)
    median = ((middle - unseen.target) ** 2).mean(axis=1) / usual
    assert errors.mean() < 0.8 * candidates[:, NAMES.index("r_stack")].mean()
    assert errors.mean() < median.mean()
    assert errors.mean() < candidates.mean(axis=0).min()  # the best single one, by the truth


def test_intervals_hold_about_their_share_of_a_family_that_was_held_out():
    covered = []
    for k in range(12):
        table = draw("corner", [78, k], n=400, queries=200)
        fitted = learner.fit(table.y, table.t, table.x[:400], np.arange(400), 0)
        if fitted.familiar:
            low, high = fitted.interval(table.x[400:], 0.9)
            truth = table.effect[400:]
            covered.append(((low <= truth) & (truth <= high)).mean())
    assert len(covered) >= 6
    assert 0.7 < np.mean(covered) < 0.99
