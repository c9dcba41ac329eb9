"""What the benchmark counts, by hand; and each of its parts at a small size."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery.distances import directed_f1
from causal_lib.discovery.engines.pretrained import discoverer
from causal_lib.experiments.pretrained import comparison as benchmark
from causal_lib.experiments.pretrained.comparison import Table, parent_aid, sure_edges
from causal_lib.graph import CausalGraph


@pytest.fixture
def quick(tiny, monkeypatch):
    """The weights of no use, every table familiar."""
    limits = {"distance": 1e9, "disagreement": 1e9}
    monkeypatch.setattr(
        discoverer, "load", lambda: dataclasses.replace(tiny, about=tiny.about | {"limits": limits})
    )


def test_scores_of_a_class_are_the_mean_over_members():
    truth = CausalGraph.from_edges("ab", ["a -> b"])
    shares = [directed_f1(truth.cpdag(), truth, seed) for seed in range(60)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)
    assert directed_f1(truth, truth) == 1
    assert directed_f1(CausalGraph.from_edges("ba", ["b -> a"]), truth) == 0
    assert parent_aid(truth, truth) == 0
    assert parent_aid(CausalGraph.from_edges("ba", ["b -> a"]), truth) == 1


def test_sure_edges_by_hand():
    sure = pd.DataFrame(
        {
            "p": [0.95, 0.95, 0.95, 0.95, 0.35, 0.35],
            "true": [1, 1, 1, 0, 1, 0],
            "setting": "s",
            "familiar": True,
        }
    )
    (one,) = sure_edges(sure, ["s", "no such"])
    assert one.value == 0.75
    assert not one.held
    assert sure_edges(sure.assign(familiar=False), ["s"]) == []


def test_families_compare_all_methods_on_the_same_tables(quick):
    report = benchmark.families(
        d=6, n=200, degree=1.0, tables=2, names=["linear Gaussian", "mixed", "quadratic"]
    )
    means = pd.DataFrame(report["means"]).set_index(["setting", "method"])
    assert {"flop", "pc", "order", "pretrained"} <= set(means.loc["mixed"].index)
    assert "lingam" in means.loc["quadratic"].index
    assert means["f1"].between(0, 1).all()
    gains = {
        claim["claim"].split(":")[0]: claim
        for claim in report["claims"]
        if "directed F1" in claim["claim"]
    }
    assert gains.keys() == {"linear Gaussian", "mixed", "quadratic"}
    table = pd.DataFrame(report["rows"]).set_index(["setting", "method"])
    for entry in report["best classical"]:
        others = means.loc[entry["setting"], "f1"].drop("pretrained")
        assert entry["method"] == others.idxmax()
        assert entry["f1"] == pytest.approx(others.max(), abs=1e-4)
    best = gains["mixed"]["claim"].rsplit("- ", 1)[1]
    difference = (
        table.loc[("mixed", "pretrained"), "f1"].to_numpy()
        - table.loc[("mixed", best), "f1"].to_numpy()
    )
    assert gains["mixed"]["value"] == pytest.approx(difference.mean(), abs=1e-3)


def test_networks_and_cells_are_scored_against_flop(quick):
    report = benchmark.networks(n=300, samples=1, names=["asia"])
    assert [claim["claim"].split(":")[0] for claim in report["claims"]][:4] == [
        "asia",
        "asia",
        "all networks",
        "sachs' cells, raw",
    ]
    rows = pd.DataFrame(report["rows"])
    assert set(rows.loc[rows["setting"] == "asia", "method"]) == {"flop", "pretrained"}
    assert set(rows.loc[rows["setting"] == "sachs' cells, log", "method"]) == {
        "pretrained",
        *benchmark.CLASSICAL,
    }


def test_speed_times_the_whole_answer(quick):
    report = benchmark.speed(sizes=((5, "at most 100"),), n=200, tables=2)
    assert [row["n"] for row in report["rows"]] == [200, 200, 20_000]
    assert report["claims"][0]["value"] > 0


def test_fitted_networks_are_compared_and_a_peer_that_does_not_end_is_told(quick, monkeypatch):
    report = benchmark.fitted(d=5, n=200, tables=1, python="no such python")
    means = pd.DataFrame(report["means"]).set_index(["setting", "method"])
    assert {"graph network", "order", "additive", "pretrained"} <= set(
        means.loc["mixed nonlinear"].index
    )
    assert "dagma mlp" in means.loc["nonlinear"].index
    assert report["gCastle's DAG-GNN on the first nonlinear table"] == {
        "skipped": "no environment of peers; build it with `make peers`"
    }
    assert sum("seconds" in claim["claim"] for claim in report["claims"]) == 3


def test_knowledge_is_worth_what_it_adds_within_tiers(quick):
    report = benchmark.knowledge(d=6, n=200, tables=2, names=["linear Gaussian", "mixed"])
    rows = pd.DataFrame(report["rows"])
    assert len(rows) == 4
    assert report["claims"][0]["value"] == pytest.approx(
        (rows["with tiers"] - rows["without"]).mean()
    )


def test_peers_run_where_columns_are_functions_of_others():
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=(300, 2))
    frame = pd.DataFrame(
        {"a": codes[:, 0], "b": codes[:, 1], "c": (codes[:, 0] > 1), "d": rng.integers(2, size=300)}
    )
    frame = frame.apply(
        lambda column: column.map(lambda level: f"v{int(level)}").astype("category")
    )
    for name, search in benchmark.peers(frame).items():
        graph = search(frame, 0)
        assert graph.skeleton[graph.index("a"), graph.index("c")], name
    assert "lingam" not in benchmark.peers(frame)


def test_a_report_is_json_where_no_member_is_acyclic():
    table = Table()
    row = {
        "setting": "s",
        "number": 0,
        "method": "pc",
        "f1": 0.123456,
        "aid": float("nan"),
        "seconds": 1.0,
        "familiar": 1.0,
    }
    table.rows += [row, row | {"method": "flop", "aid": 0.5}]
    report = json.loads(json.dumps(table.report([]), allow_nan=False))
    assert report["means"][0] == {
        "setting": "s",
        "method": "pc",
        "f1": 0.1235,
        "aid": None,
        "seconds": 1.0,
        "familiar": 1.0,
    }
    assert report["rows"]["aid"] == [None, 0.5]
