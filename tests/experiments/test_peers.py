"""Calls in other processes and by other interpreters: what comes back, and what is said when
nothing does.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments import peers
from causal_lib.experiments.peers import PeerError


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A module of functions that a process can import."""
    (tmp_path / "own_programs.py").write_text(
        "import os, sys, time\n"
        "def chatter(value):\n    print('chatter')\n    print('to stderr', file=sys.stderr)\n    "
        "return [value, {'at': os.getcwd()}]\n"
        "def fails():\n    raise ZeroDivisionError('by\\nzero')\n"
        "def sleeps():\n    time.sleep(60)\n"
        "def work(n, seconds):\n    time.sleep(0.3)\n    def call():\n        time.sleep(seconds)\n"
        "        return {'rows': len(bytearray(n))}\n    return call\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_the_result_comes_back_whatever_was_printed_before(programs, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    assert peers.run("own_programs.chatter", {"value": None}, folder=folder) == [
        None,
        {"at": str(folder)},
    ]


def test_ours_imports_this_checkout_and_a_peer_nothing_of_it(programs):
    known = "causal_lib.paths.is_checkout"
    assert peers.run(known, environment={"CAUSAL_LIB_ROOT": str(programs)}) is False
    with pytest.raises(PeerError, match="No module named 'own_programs'") as caught:
        peers.run("own_programs.chatter", python=sys.executable, environment={"PYTHONPATH": ""})
    assert caught.value.reason == "ModuleNotFoundError: No module named 'own_programs'"
    assert peers.run("os.getenv", {"key": "OMP_NUM_THREADS"}) == "1"
    assert peers.run("os.getenv", {"key": "SAID"}, environment={"SAID": "so"}) == "so"


def test_failures_say_why(programs, tmp_path):
    with pytest.raises(
        PeerError, match=r"own_programs.fails ended with status 1:(.|\n)*own_programs.py"
    ) as caught:
        peers.run("own_programs.fails")
    assert caught.value.reason == "zero"
    with pytest.raises(PeerError, match="ended with status 1") as caught:
        peers.run("own_programs.fails", show_progress=True)
    assert caught.value.reason == "own_programs.fails ended with status 1"
    with pytest.raises(PeerError, match="had not ended after 1 seconds"):
        peers.run("own_programs.sleeps", limit=1)
    with pytest.raises(PeerError, match="build it with `make peers`"):
        peers.run("own_programs.chatter", python=tmp_path / "python")


def test_measure_runs_in_a_fresh_process(programs):
    start = time.perf_counter()
    found = peers.measure("own_programs.work", {"n": 200_000_000, "seconds": 0.2})
    elapsed = time.perf_counter() - start
    assert found["rows"] == 200_000_000
    # neither the imports nor the interpreter's start is counted
    assert 0.2 <= found["seconds"] <= elapsed - 0.3
    assert 0 < found["cpu_seconds"] < found["seconds"]  # a sleep takes no CPU
    held = b"1" * 400_000_000  # what the process that asks has held is no part of it
    small = peers.measure("own_programs.work", {"n": len(held) // 10**8, "seconds": 0})
    assert 180 < found["peak_mb"] - small["peak_mb"] < 200  # the array has 190.7 binary megabytes


def test_a_folder_holds_frames_and_arrays():
    with peers.folder_with(table=pd.DataFrame({"a": [1, 2]}), values=np.eye(2)) as folder:
        assert (folder / "table.csv").read_text() == "a\n1\n2\n"
        assert (np.load(folder / "values.npy") == np.eye(2)).all()
    assert not Path(folder).exists()


@pytest.mark.parametrize("imports", [None, ("json",)])
def test_a_forked_call_has_a_process_of_its_own(imports):
    assert peers.forked(os.getpid, imports=imports) != os.getpid()
    assert peers.forked(divmod, 7, 2, imports=imports) == (3, 1)
