"""The registry of benchmarks, pairs of processes, and the reports that are written."""

import json
import subprocess
import sys

from causal_lib import paths
from causal_lib.experiments import bench, peers


def test_a_name_tells_where_the_benchmark_is_defined():
    """First the folder or file of experiments, then the function or the file."""
    for name in bench.known():
        function = bench.find(name).function
        places = function.__module__.removeprefix("causal_lib.experiments.").split(".")
        first, *rest = name.split(".")
        assert first == places[0], name
        assert rest in ([], [function.__name__], [places[-1]]), name


def test_a_name_stands_for_itself_or_for_its_parts():
    assert bench.known("worlds.shop") == bench.known("worlds") == ["worlds.shop"]
    assert bench.known("discovery.speed") == ["discovery.speed"]
    parts = bench.known("discovery")
    assert "discovery.speed" in parts
    assert all(part.startswith("discovery.") for part in parts)
    assert bench.known("disc") == bench.known("discovery.sp") == bench.known("nothing") == []
    assert set(parts) < set(bench.known())


def test_only_the_folder_that_a_name_begins_with_is_imported():
    code = (
        "import sys\nfrom causal_lib.experiments.bench import "
        "known\nprint(known('discovery.speed'))\n"
    )
    code += (
        "print([m for m in sys.modules if m.startswith(('tensorflow', 'torch', "
        "'causal_lib.experiments.models'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=paths.ROOT
    )
    assert done.stdout.splitlines() == ["['discovery.speed']", "[]"]


def test_the_description_is_the_first_paragraph_of_the_docstring():
    def function():
        """Gains of ours over
        two lines.

        More.
        """

    assert bench.Benchmark("a.b", "p", function).description == "gains of ours over two lines"
    function.__doc__ = "NDCG of ours."
    assert bench.Benchmark("a.b", "p", function).description == "NDCG of ours"


def test_the_ratio_is_taken_within_each_pair(monkeypatch):
    numbers = iter([8.0, 2.0, 30.0, 3.0, 5.0, 1.0])
    asked = []

    def measure(function, sizes, *, folder):
        asked.append((function, sizes))
        return {"rows": 5, "seconds": next(numbers), "peak_mb": 7.0}

    monkeypatch.setattr(peers, "measure", measure)
    content = bench.find("worlds.shop").function(drawn=7, days=2)
    assert content["ratio"] == {"seconds": 5.0, "peak_mb": 1.0}  # of 4, 10 and 5
    assert content["own"]["seconds"] == 8.0
    assert asked[1] == ("shop_log.random_numbers", {"drawn": 7})
    assert asked[0][1]["days"] == 2


def test_code_is_measured_where_it_was_prepared_and_held_to_its_targets(tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text(
        "from pathlib import Path\n"
        "def prepare(text):\n    Path('made.txt').write_text(text)\n"
        "def work():\n    return lambda: {'rows': len(Path('made.txt').read_text())}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    targets = {"own peak_mb": 1e6, "ratio of peak_mb": 1e-6}
    content = bench.compare(
        "tiny.work",
        "tiny.work",
        prepare=("tiny.prepare", {"text": "abc"}),
        targets=targets,
        pairs=2,
    )
    assert [side["rows"] for pair in content["pairs"] for side in pair.values()] == [3] * 4
    assert {claim["claim"]: claim["held"] for claim in content["claims"]} == {
        "own peak_mb": True,
        "ratio of peak_mb": False,
    }
    assert content["claims"][0]["value"] == content["own"]["peak_mb"]
    assert {"seconds", "cpu_seconds", "peak_mb"} == content["ratio"].keys()


def test_a_report_is_what_the_function_returns_in_a_process_of_its_own(tmp_path, monkeypatch):
    asked = []

    def run(function, arguments, *, environment, show_progress):
        asked.append((function, arguments, environment, show_progress))
        return {"claims": [], "at": 1}

    monkeypatch.setattr(peers, "run", run)
    path = bench.write("worlds.shop", reports=tmp_path)
    assert path == tmp_path / "benchmarks" / "worlds.shop.json"
    content = json.loads(path.read_text())
    assert list(content) == ["benchmark", "description", "peer", "claims", "at", "machine"]
    assert content["machine"]["cores"] >= 1
    arguments = ("causal_lib.experiments.bench.measured", {"name": "worlds.shop"})
    assert asked == [(*arguments, {"CAUSAL_LIB_REPORTS": str(tmp_path)}, True)]


def test_a_benchmark_can_be_measured_by_name_in_another_process(tmp_path):
    measured = peers.run("causal_lib.experiments.bench.known", {"name": "worlds"}, folder=tmp_path)
    assert measured == ["worlds.shop"]
