import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pyagrum as gum
import pytest

from causal_lib.experiments.discovery import search as benchmark
from causal_lib.experiments.discovery.search import Case
from causal_lib.experiments.peers import PeerError
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

SCORES = {
    "setting",
    "seed",
    "method",
    "shd",
    "skeleton_shd",
    "skeleton_f1",
    "arrowhead_f1",
    "seconds",
}


@pytest.fixture(scope="module", autouse=True)
def _no_window():
    matplotlib.use("agg")


@pytest.fixture
def quick_engines(monkeypatch):
    """What `discover` is asked for is found by FLOP: the report's structure does not depend on it."""
    real = benchmark.discover
    quick = {"method": "flop", "restarts": 1, "seed": 0}
    monkeypatch.setattr(benchmark, "discover", lambda frame, method, **given: real(frame, **quick))


def value_of(report, setting, what, first, second):
    """The statistic again, from the rows."""
    table = pd.DataFrame(report["rows"]).set_index(["setting", "method", "seed"]).sort_index()
    return table.loc[(setting, first), what], table.loc[(setting, second), what]


@pytest.mark.parametrize(
    ("part", "sizes", "claims", "rows"),
    [
        ("speed", {"sizes": [(8, 1, 2)], "large": (9, 1, 2), "n": 300}, 7, 8),
        ("tiers", {"degrees": [1], "d": 8, "n": 300, "graphs": 2, "k": 2}, 4, 8),
        ("mixed", {"d": 6, "n": 300, "graphs": 2, "bins": [3]}, 4, 12),
        ("stability", {"d": 5, "n": 500, "draws": 3, "cores": 1}, 1, 1),
    ],
)
def test_a_part_reports_rows_and_claims_as_json(part, sizes, claims, rows):
    report = getattr(benchmark, part)(**sizes)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (len(report["claims"]), len(report["rows"])) == (claims, rows)
    table = pd.DataFrame(report["rows"])
    assert set(table.columns) >= SCORES
    assert not table.duplicated(["setting", "method", "seed"]).any()
    assert (table["seconds"] > 0).all()
    assert (
        (table[["skeleton_f1", "arrowhead_f1"]] >= 0)
        & (table[["skeleton_f1", "arrowhead_f1"]] <= 1)
    ).all(axis=None)
    for claim in report["claims"]:
        comparison, number = claim["target"].rsplit(" ", 1)
        value = claim["value"]
        limit = float(number)
        truth = {"at most": value <= limit, "below": value < limit, "above": value > limit}[
            comparison
        ]
        assert claim["held"] == truth


def test_claims_say_what_the_rows_say():
    report = benchmark.speed(sizes=[(8, 1, 3)], large=(9, 1, 2), n=300)
    claims = {claim["claim"]: claim["value"] for claim in report["claims"]}
    own, flop = value_of(report, "ER1, d=8", "seconds", "order", "flop")
    off = 0.5e-6  # rows are rounded to microseconds
    low = np.median((own - off) / (flop + off))
    high = np.median((own + off) / (flop - off))
    assert low <= claims["ER1, d=8: seconds, order / flop"] <= high
    own, flop = value_of(report, "ER1, d=8", "bic", "order", "flop")
    assert claims["ER1, d=8: bic, order - flop"] == pytest.approx((own - flop).mean(), abs=1e-5)
    searched, _ = value_of(report, "ER1, d=8", "search_seconds", "order", "flop")
    assert (searched <= value_of(report, "ER1, d=8", "seconds", "order", "flop")[0]).all()


def test_without_their_environment_peers_are_skipped_with_the_reason(tmp_path, quick_engines):
    report = benchmark.peers(d=6, n=300, graphs=2, python=tmp_path / "python")
    assert list(report["skipped"]) == list(benchmark.PACKAGES)
    assert "make peers" in report["skipped"]["notears (gcastle)"]
    assert not {row["method"] for row in report["rows"]} & set(benchmark.PACKAGES)
    assert {claim["claim"].split()[-1] for claim in report["claims"]} <= {
        "order",
        "restarts",
        "(causal-learn)",
    }
    assert len(report["claims"]) == 8
    assert {entry["seed"] for entry in report["sortability"]} == {0, 1}


def test_a_peer_runs_by_another_interpreter_and_its_failure_is_told(case, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "fake_peers"))
    for method in benchmark.PACKAGES:
        start = time.perf_counter()
        found = benchmark.package(method, sys.executable)(case)
        elapsed = time.perf_counter() - start
        assert found.edges == ["x -> y", "y -> z", "z -> w"]
        # the learner's, without starting its interpreter
        assert 0 <= found.info["measured"]["seconds"] < elapsed
    with pytest.raises(PeerError, match="had not ended after 1 seconds"):
        benchmark.package("dag-gnn (gcastle)", sys.executable, limit=1)(case)
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(PeerError) as caught:
        benchmark.package("dagma (package)", sys.executable)(case)
    assert caught.value.reason == "ModuleNotFoundError: No module named 'dagma'"


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400))
    z = x + y + rng.normal(size=400)
    frame = pd.DataFrame({"x": x, "y": y, "z": z, "w": z + rng.normal(size=400)})
    frame = (frame - frame.mean()) / frame.std()
    return Case(
        frame, frame, 0, None, CausalGraph.from_edges("xyzw", ["x -> z", "y -> z", "z -> w"])
    )


@pytest.mark.parametrize(
    "method",
    [benchmark._flop(200), benchmark._boss, benchmark._pc, benchmark._order(5)],
    ids=["flop", "boss", "pc", "order"],
)
def test_every_engine_called_directly_comes_out_in_our_convention(method, case):
    found = method(case)
    assert sorted(found.edges) == ["x -> z", "y -> z", "z -> w"]
    chain = Case(case.frame[["z", "w"]], case.frame[["z", "w"]], 0, None, case.graph.subgraph("zw"))
    assert method(chain).edges == ["z -- w"]


def test_scores_compare_classes_and_count_hidden_confounders(case):
    # another class: no collider
    turned = CausalGraph.from_edges("xyzw", ["z -> x", "y -> z", "z -> w"])
    assert benchmark._scores(case.graph, case) == {
        "shd": 0,
        "skeleton_shd": 0,
        "skeleton_f1": 1.0,
        "arrowhead_f1": 1.0,
    }
    assert benchmark._scores(turned, case) == {
        "shd": 3,
        "skeleton_shd": 0,
        "skeleton_f1": 1.0,
        "arrowhead_f1": 0.0,
    }
    confounded = CausalGraph.from_edges("ab", ["a <-> b"])
    scores = benchmark._scores(
        CausalGraph.from_edges("ab"), Case(case.frame, case.raw, 0, None, confounded)
    )
    assert scores == {"shd": 1, "skeleton_shd": 1, "skeleton_f1": 0.0, "arrowhead_f1": 0.0}


def test_an_answer_against_the_tiers_is_scored_as_it_stands(case):
    true, found = (
        CausalGraph.from_edges("xyz", edges)
        for edges in (["x -> z", "z -> y"], ["x -> z", "y -> z"])
    )
    known = replace(case, graph=true, knowledge=Knowledge([["x"], ["z"], ["y"]]))
    assert benchmark._scores(true, known)["arrowhead_f1"] == 1
    assert benchmark._scores(found, known) == {
        "shd": 1,
        "skeleton_shd": 0,
        "skeleton_f1": 1.0,
        "arrowhead_f1": 0.5,
    }


def test_settings_draw_a_panel_for_each_setting(tmp_path, monkeypatch, quick_engines):
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path))
    drawn = []
    monkeypatch.setattr(
        benchmark,
        "figure",
        lambda table, real=benchmark.figure: drawn.append(real(table)) or drawn[0],
    )
    report = benchmark.settings(d=6, n=300, graphs=1, python=tmp_path / "python")
    assert (tmp_path / "figures" / "bench_discovery.png").stat().st_size > 10_000
    table = pd.DataFrame(report["rows"])
    panels = [axes for axes in drawn[0].axes if axes.axison]
    assert [axes.get_title() for axes in panels] == list(table["setting"].unique())
    for axes in panels:
        rows = table[table["setting"] == axes.get_title()]
        assert len(axes.lines) == len(rows)
        what = "skeleton_shd" if "hidden" in axes.get_title() else "shd"
        assert [line.get_ydata()[0] for line in axes.lines] == list(rows[what])
        assert axes.get_xscale() == "log"
        assert axes.get_xlim()[0] < min(rows["seconds"])
        assert axes.get_xlim()[1] > max(rows["seconds"])
    assert [text.get_text() for text in drawn[0].axes[-1].get_legend().get_texts()] == list(
        table["method"].unique()
    )


def test_networks_are_scored_by_every_method_that_can(monkeypatch):
    gum.initRandom(0)
    nets = {name: gum.fastBN("a{x|y|z}->b{x|y|z}<-c") for name in ("child", "insurance", "alarm")}
    nets["asia"] = gum.fastBN("a{x|y|z}->b->c")
    nets["asia"].cpt("b").fillWith([1.0, 0.0, 0.0, 1.0, 0.0, 1.0])  # a function of a
    cells = pd.DataFrame(np.random.default_rng(0).exponential(size=(300, 3)), columns=list("xyz"))
    network = SimpleNamespace(nodes=list("xyz"), edges=[("x", "y")])
    monkeypatch.setattr(benchmark, "bayes_net", lambda name: nets[name.removeprefix("network-")])
    monkeypatch.setattr(benchmark, "load", {"sachs": cells, "network-sachs": network}.get)
    table = pd.DataFrame(benchmark.networks(n=300, samples=2, draws=2)["rows"])
    assert not table.duplicated(["setting", "method", "seed"]).any()
    methods = table.groupby("setting")["method"].agg(set)
    by_levels = {"pc, chisq", "miic", "greedy", "order", "pc, mixed", "fci, mixed"}
    assert methods["asia"] == by_levels
    assert methods["child"] == by_levels | {"flop", "ges", "boss", "grasp", "dagma"}
    assert methods["sachs"] >= {"order", "flop", "pc", "fci", "lingam", "miic"}
    assert (table["seconds"] > 0).all()
