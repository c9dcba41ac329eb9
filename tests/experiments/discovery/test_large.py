"""The benchmark of large networks: scores on all variables, limits, the cache, the slices."""

import json

import matplotlib
import pytest

from causal_lib.experiments.discovery import large
from causal_lib.experiments.peers import PeerError
from causal_lib.graph import CausalGraph


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
    matplotlib.use("agg")
    monkeypatch.setattr(large.plots, "save", lambda picture, name: None)


TRUTH = CausalGraph.from_edges("abcd", ["a -> c", "b -> c", "c -> d"])


def test_edges_of_constant_columns_count_as_missing():
    found = TRUTH.subgraph("abc").cpdag()
    told = large.scores(found, TRUTH)
    # by hand: both edges there are right, one of three is missing
    assert told["skeleton_precision"] == 1
    assert told["skeleton_recall"] == pytest.approx(2 / 3)
    assert told["directed_f1"] == pytest.approx(4 / 5)
    assert told["constant_columns"] == 1
    assert large.scores(TRUTH.cpdag(), TRUTH)["aid"] == 0


def test_the_cells_of_the_claims_come_first_and_each_once():
    found = list(large.cells(large.NETWORKS, (10_000, 1_000), tuple(large.METHODS), 2))
    assert [one["network"] for one in found[:8]] == [n for n in large.AIMS for _ in range(2)]
    assert {(one["n"], one["method"]) for one in found[:8]} == {(10_000, "order-counts")}
    keys = [json.dumps(one) for one in found]
    assert len(set(keys)) == len(keys)
    assert not any(one["network"] == "pigs" and one["method"] == "pretrained" for one in found)
    assert not any(one["network"] == "ecoli70" and one["method"] == "miic" for one in found)
    assert any(one["network"] == "asia" and one["method"] == "pretrained" for one in found)


def test_what_is_measured_is_kept_and_what_is_not_is_counted(tmp_path, monkeypatch):
    calls = []

    def run(function, arguments, **how):
        calls.append(arguments)
        if arguments["method"] == "ges":
            raise PeerError("large.cell ended with status -24:", "large.cell ended with status -24")
        if arguments["method"] == "flop":
            raise PeerError("x", "ValueError: 'w' is constant")
        made = {"skeleton_f1": 0.5 + arguments["seed"] / 10, "seconds": 3.0, "peak_mb": 100.0}
        return made | {"directed_f1": 0.4, "aid": 0.1}

    monkeypatch.setattr(large, "run", run)
    how = {"sizes": [10_000], "methods": ["order-counts", "ges", "flop"], "seeds": 2}
    first = large.large(["sachs"], **how, cache=tmp_path / "cells.jsonl")
    assert len(calls) == 6
    assert first["measured"] == 6
    status = {row["method"]: row["status"] for row in first["rows"]}
    assert status == {
        "order-counts": "measured",
        "ges": "timed out",
        "flop": "ValueError: 'w' is constant",
    }
    f1 = first["claims"][0]
    assert (f1["claim"], f1["value"], f1["held"]) == ("sachs: skeleton_f1", 0.55, False)
    assert [c["held"] for c in first["claims"][1:]] == [True, True]
    json.dumps(first, allow_nan=False)
    again = large.large(["sachs", "asia"], **how, cache=tmp_path / "cells.jsonl", minutes=0)
    assert len(calls) == 6  # no time, and nothing measured twice
    assert again["measured"] == 6
    assert again["not_measured"] == [
        {"search": name, "rows": 10_000, "cells": 2} for name in how["methods"]
    ]


def spend() -> None:
    """For the test below, in a process of its own: computes until it is ended."""
    with large.limited(1, 8):
        while True:
            sum(range(1000))


def test_a_cell_that_exceeds_its_seconds_is_ended():
    with pytest.raises(PeerError) as caught:
        large.run("tests.experiments.discovery.test_large.spend", limit=100)
    assert large.status(caught.value) == "timed out"


@pytest.mark.network
def test_a_cell_of_real_rows():
    found = large.cell("asia", 500, 0, "order-counts", 60, 8)
    assert found["skeleton_f1"] > 0.6
    assert 0 <= found["aid"] <= 1
