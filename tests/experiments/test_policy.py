"""Benchmarks of inference at a small size."""

import sys

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments import policy as benchmark


def test_off_policy_is_timed_on_all_estimators():
    report = benchmark.off_policy(n=3000, k=5, repeats=1)
    assert len(report["values"]) == len(benchmark.ESTIMATORS)
    assert report["claims"][0]["value"] > 0


def test_without_the_package_obp_it_is_told(tmp_path):
    assert "make peers" in benchmark.open_bandit(folder=tmp_path)["skipped"]


def test_values_are_compared_with_the_peer_s(tmp_path):
    """A peer whose estimators are all inverse propensity weighting: only that one agrees."""
    package = tmp_path / "obp" / "ope"
    package.mkdir(parents=True)
    kinds = "\n".join(f"class {kind}(Ips): pass" for kind, _ in benchmark.OBP.values())
    (package / "estimators.py").write_text(
        "import numpy as np\n\n\nclass Ips:\n    def __init__(self, **settings): pass\n\n"
        "    def estimate_policy_value(self, reward, action, pscore, action_dist, **rest):\n"
        "        return (action_dist[np.arange(len(action)), action, 0] / pscore * "
        "reward).mean()\n\n\n" + kinds
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "modules", dict(sys.modules))
        report = benchmark.open_bandit(n=3000, k=3, tables=2, folder=tmp_path)
    held = {claim["claim"].split(":")[0]: claim["held"] for claim in report["claims"]}
    assert held.pop("ips")
    assert not any(held.values())
    assert np.isfinite([claim["value"] for claim in report["claims"]]).all()


def test_settings_of_the_peer_are_those_of_the_same_weights():
    assert benchmark.THRESHOLD == 2.0
    assert benchmark.OBP["switch-dr"] == ("SwitchDoublyRobust", {"tau": 2.0})
    assert benchmark.OBP["dros"] == ("DoublyRobustWithShrinkage", {"lambda_": 4.0})


def test_claims_of_time_and_memory(monkeypatch):
    """The median of the repeats against 10 seconds, the peak against 3,000 MB."""
    clock = iter([0.0, 9.0, 100.0, 111.0, 200.0, 209.5])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(benchmark, "peak_mb", lambda: 3001.0)
    report = benchmark.off_policy(n=2500, k=4, repeats=3)
    assert [row["seconds"] for row in report["rows"]] == [9.0, 11.0, 9.5]
    assert [(one["value"], one["held"]) for one in report["claims"]] == [
        (9.5, True),
        (3001.0, False),
    ]
    assert report["claims"][0]["claim"] == (
        f"{len(benchmark.ESTIMATORS)} estimators, 2500 rounds, 4 actions: seconds"
    )
    assert {value["rounds"] for value in report["values"]} == {2500}


def test_verdicts_and_bounds_in_small():
    """Ten logs of each kind; of them no value with a hole is called ok where the hole is told."""
    report = benchmark.support(logs=10, n=5000)
    rows = report["rows"]
    assert len(rows) == len(benchmark.HOLES) * 3 * 3
    for row in rows:
        if row["hole"] == "none":
            assert row["ok"] >= 0.8
            assert row["width"] < 0.2
        elif row["told"] != "nothing":
            assert row["ok"] == 0
            assert row["held"] >= 0.7
            assert not row["untold"]
    assert len(report["claims"]) == 2 * len(benchmark.HOLES) * 3


def test_coverage_of_rare_clicks_in_small():
    rows = benchmark._coverage(0.003, 1500, 30)
    assert [(row["estimator"], row["interval"]) for row in rows] == [
        (name, interval) for interval in ("auto", "normal") for name in benchmark.RARE
    ]
    for auto, normal in zip(rows[:4], rows[4:], strict=True):
        assert auto["coverage"] >= normal["coverage"]
        assert auto["width"] > normal["width"]
        assert auto["logs"] == normal["logs"] <= 30


def test_claims_of_rare_clicks(monkeypatch):
    def rows(rate, n, logs):
        auto = {"coverage": 0.93 if rate == 0.1 else 0.96, "width": 1, "inside": 1.0, "logs": logs}
        return [
            {"estimator": name, "interval": interval, **auto}
            for name in benchmark.RARE
            for interval in ("auto", "normal")
        ]

    monkeypatch.setattr(benchmark, "_coverage", rows)
    report = benchmark.rare_clicks(logs=7, rounds=(1000,))
    held = {claim["claim"]: claim["held"] for claim in report["claims"]}
    assert held.pop("normal, rate 0.001: least coverage") is False
    assert all(held.values())
    assert len(held) == 9
    assert len(report["rows"]) == 5 * 8


def test_a_policy_learnt_from_chance_looks_good_on_its_own_half_only():
    """No action is better than another, so every gain is one of the sample."""
    rng = np.random.default_rng(0)
    n = 8000
    logs = pd.DataFrame(
        {
            "x": rng.choice(["a", "b", "c"], n, p=[0.6, 0.397, 0.003]),
            "item_id": rng.integers(10, size=n),
            "click": (rng.random(n) < 0.05).astype(int),
            "propensity_score": 1 / 10,
        }
    )
    found = benchmark.learnt_on_halves(logs, ["x"], splits=6)
    assert (found["own half"] - found["random policy"]).mean() > 0.01
    assert abs(found["other half"].mean() - 0.05) < 0.02
    assert found["random policy"].between(found["low"], found["high"]).all()
    again = benchmark.learnt_on_halves(logs[logs["x"] != "c"], ["x"], splits=6)
    pd.testing.assert_frame_equal(found, again)  # 'c' is too rare to be learnt from
