"""The benchmark of hidden causes: its scores by hand, what is hidden, and FCI that exceeds its
limit.
"""

from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from causal_lib.discovery.engines.pag_rules import pag_of
from causal_lib.experiments.claims import Measurements
from causal_lib.experiments.discovery import hidden
from causal_lib.graph import CausalGraph
from causal_lib.worlds.random_models import random_dag

DAG = CausalGraph.from_edges("axhybc", ["a -> x", "h -> x", "h -> y", "b -> y", "y -> c"])


def test_scores_by_hand():
    """The truth is a o-> x <-> y <-o b, y -> c: five arrowheads, four edges."""
    truth = pag_of(DAG, ["h"])
    assert set(truth.edges) == {"a o-> x", "x <-> y", "y <-o b", "y -> c"}
    perfect = hidden.scores(truth, truth, DAG)
    assert perfect == dict.fromkeys(hidden.SCORES, 1.0)
    # x -> y lacks one head; x o-> c is no edge, but x is no effect of c; c -> b is wrong altogether
    found = ["a o-> x", "x -> y", "y -> c", "x o-> c", "c -> b"]
    told = hidden.scores(CausalGraph.from_edges("axybc", found).as_pag(), truth, DAG)
    assert told["adjacency_precision"] == pytest.approx(3 / 5)
    assert told["adjacency_recall"] == pytest.approx(3 / 4)
    assert told["arrowhead_precision"] == pytest.approx(3 / 5)
    assert told["arrowhead_recall"] == pytest.approx(3 / 5)
    # b is an ancestor of c, every other arrowhead is true of the DAG
    assert told["not_causes"] == pytest.approx(4 / 5)


def test_what_is_hidden_has_two_effects():
    dag = random_dag(40, degree=2, seed=1)
    found = hidden._hide(dag, 0.15, 0)
    assert len(found) == 6
    assert all(len(dag.children(name)) > 1 for name in found)
    assert found != hidden._hide(dag, 0.15, 1)
    few = CausalGraph.from_edges("abcde", ["a -> b", "a -> c", "d -> e"])
    assert hidden._hide(few, 0.9, 0) == {"a"}


def ended(job, *arguments):
    raise BrokenProcessPool("a process was ended abruptly")


@pytest.fixture(scope="module")
def measured():
    """Rows of 12 mixed variables with time enough for FCI, and of 15 numbers without."""
    table = Measurements()
    frame, dag, names = hidden._simulated(12, 1.5, "mixed", 1000, 0)
    hidden._measure(table, "d=12", 0, frame, dag, names, 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hidden, "forked", ended)
        frame, dag, names = hidden._simulated(15, 1.5, None, 1000, 0)
        hidden._measure(table, "d=15", 0, frame, dag, names, 7)
    return table


def test_fci_that_exceeds_its_limit_is_shown_and_not_scored(measured):
    assert measured.of("d=12", hidden.FCI, "timed_out").tolist() == [0.0]
    assert 0 < measured.of("d=12", hidden.FCI, "adjacency_f1")[0] <= 1
    assert measured.of("d=15", hidden.FCI, "timed_out").tolist() == [1.0]
    assert np.isnan(measured.of("d=15", hidden.FCI, "adjacency_f1")).all()
    assert measured.of("d=15", hidden.FCI, "seconds").tolist() == [7.0]
    assert measured.of("d=15", hidden.OWN, "timed_out").tolist() == [0.0]


def test_the_claims_leave_out_what_was_not_measured(measured):
    groups = {"networks": ["d=12"], "simulations": ["d=15"]}
    claims, predictions = hidden._claims(measured, groups, "d=15", "d=15")
    names = [claim.name for claim in claims]
    assert "networks: adjacency F1 less that of FCI" in names
    assert "simulations: adjacency F1 less that of FCI" not in names
    assert len(predictions) == 5
    picture = hidden.figure(measured, ["d=12", "d=15"])
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == ["d=12", "d=15"]
