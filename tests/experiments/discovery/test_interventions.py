"""Simulated environments do to their targets what they say, and the tables of conditions fit."""

import numpy as np
import pytest

from causal_lib.data.sources import SACHS_CONDITIONS, SACHS_NAMES
from causal_lib.experiments.discovery import interventions as benchmark
from causal_lib.graph import CausalGraph


def test_published_targets_are_proteins_of_the_nine_conditions():
    assert list(benchmark.SACHS_TARGETS) == list(SACHS_CONDITIONS)
    named = {name for own in benchmark.SACHS_TARGETS.values() for name in own}
    assert named <= set(SACHS_NAMES.values())


@pytest.mark.parametrize("kind", ["set", "changed"])
def test_an_environment_changes_its_targets_alone(kind):
    dag = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    frame = benchmark.sample(dag, [[], [1], []], [20_000, 20_000, 20_000], kind, 0)
    assert frame["environment"].value_counts().to_dict() == {0: 20_000, 1: 20_000, 2: 20_000}
    lines = {}
    for environment, rows in frame.groupby("environment"):
        lines[environment] = [
            np.polyfit(rows[cause], rows[effect], 1) for cause, effect in ("ab", "bc")
        ]
    # standard errors are below .01
    np.testing.assert_allclose(lines[0][0], lines[2][0], atol=0.05)
    np.testing.assert_allclose(lines[0][1], lines[1][1], atol=0.05)
    slope, level = lines[1][0]
    if kind == "set":
        assert (slope, level) == pytest.approx((0, 2), abs=0.05)
    else:
        assert level == pytest.approx(1, abs=0.05)
        assert abs(slope) < abs(lines[0][0][0]) + 0.05
