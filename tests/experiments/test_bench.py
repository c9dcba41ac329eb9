import json
import sys
from types import SimpleNamespace

import pytest

from causal_lib.experiments import bench


@pytest.mark.parametrize(
    ("values", "target", "statistic", "value", "held"),
    [
        ([0.2, 0.25, 9.0], "at most 0.25", "median", 0.25, True),
        ([0.2, 0.26, 9.0], "at most 0.25", "median", 0.26, False),
        ([120, 80, 100], "at least 100", "median", 100.0, True),
        ([1.0, -1.0], "at most 0", "mean", 0.0, True),
        ([1.0, -1.0], "below 0", "mean", 0.0, False),
        ([1.0, -1.0], "above 0", "mean", 0.0, False),
        ([-3], "below 0", "mean", -3.0, True),
        ([0.1, 0.3], "above 0.5", "mean", 0.2, False),
    ],
)
def test_a_claim_is_held_by_its_numbers_alone(values, target, statistic, value, held):
    found = bench.claim("it", values, target, statistic=statistic)
    assert found["value"] == pytest.approx(value)
    assert found["held"] is held
    assert found["pairs"] == len(values)
    assert ("interval" in found) == (statistic == "mean" and len(values) > 1)
    low, high = found.get("interval") or found["range"]
    assert low <= found["value"] <= high
    json.dumps(found, allow_nan=False)


def test_a_mean_has_the_t_interval():
    low, high = bench.claim("it", [1, 2, 3], "at most 2")["interval"]  # 2 ± 4.3027 / √3
    assert (low, high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_a_name_stands_for_itself_or_for_its_parts():
    assert bench.known("shop_world") == ["shop_world"]
    assert bench.known("discovery.speed") == ["discovery.speed"]
    parts = bench.known("discovery")
    assert "discovery.speed" in parts
    assert all(part.startswith("discovery.") for part in parts)
    assert bench.known("disc") == bench.known("discovery.sp") == []


def test_code_is_measured_where_it_was_prepared_and_held_to_its_targets(tmp_path, monkeypatch):
    code = {"imports": "from pathlib import Path", "work": "rows = len(Path('made.txt').read_text())"}
    entry = {"description": "d", "peer": "p", "own_code": code, "peer_code": code}
    entry |= {
        "prepare": "print('ab', file=open('made.txt', 'w'))",
        "targets": {"own peak_mb": 1e6, "ratio of peak_mb": 1e-6},
    }
    monkeypatch.setitem(bench.BENCHMARKS, "tiny", entry)
    content = json.loads(bench.write("tiny", pairs=2, reports=tmp_path).read_text())
    assert [side["rows"] for pair in content["pairs"] for side in pair.values()] == [3] * 4
    assert {claim["claim"]: claim["held"] for claim in content["claims"]} == {
        "own peak_mb": True,
        "ratio of peak_mb": False,
    }
    assert content["claims"][0]["value"] == content["own"]["peak_mb"]
    assert {"seconds", "cpu_seconds", "peak_mb"} == content["ratio"].keys()


def test_a_report_is_what_the_function_returns_in_a_fresh_process_that_may_print(tmp_path, monkeypatch):
    code = "import os\nprint('chatter')\nprint('{{\"claims\": [], \"at\": \"' + os.environ['CAUSAL_LIB_REPORTS'] + '\"}}')  # {function}"
    monkeypatch.setattr(bench, "_REPORT", code)
    monkeypatch.setitem(bench.BENCHMARKS, "tiny", {"description": "d", "peer": "p", "report": "module:tiny"})
    content = json.loads(bench.write("tiny", reports=tmp_path).read_text())
    assert content["at"] == str(tmp_path)
    assert content["machine"]["cores"] >= 1
    monkeypatch.setattr(bench, "_REPORT", "raise SystemExit(3)  # {function}")
    with pytest.raises(RuntimeError, match="status 3"):
        bench.write("tiny", reports=tmp_path)


@pytest.mark.parametrize(("platform", "counted"), [("freebsd14", 3 * 2**10), ("darwin", 3 * 2**20)])
def test_peak_memory_is_in_mb_whatever_the_system_counts(monkeypatch, platform, counted):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=counted))
    assert bench.peak_mb() == 3


def test_peak_memory_counts_what_was_held():
    held = b"1" * int(2**20 * (bench.peak_mb() + 50))  # more than this process ever had
    assert bench.peak_mb() > len(held) / 2**20


def test_where_peak_memory_cannot_be_measured_the_error_says_where_it_can(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(RuntimeError, match="run the benchmark on Linux or macOS"):
        bench.peak_mb()
