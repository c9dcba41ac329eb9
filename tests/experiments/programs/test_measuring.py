"""Memory and seconds are those of the call."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from causal_lib.experiments.programs.measuring import cost_of_call, peak_mb


@pytest.mark.parametrize(("platform", "counted"), [("freebsd14", 3 * 2**10), ("darwin", 3 * 2**20)])
def test_peak_memory_is_in_mb_whatever_the_system_counts(monkeypatch, platform, counted):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=counted))
    assert peak_mb() == 3


def test_peak_memory_counts_what_was_held():
    held = b"1" * int(2**20 * (peak_mb() + 50))  # more than this process ever had
    assert peak_mb() > len(held) / 2**20


def test_where_peak_memory_cannot_be_measured_the_error_says_where_it_can(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(RuntimeError, match="run the benchmark on Linux or macOS"):
        peak_mb()


def test_memory_and_seconds_are_those_of_the_call():
    megabytes = 512
    seen = []

    def work(size):
        seen.append(size)
        return float(np.ones(size * 2**17).sum())

    start = time.process_time()
    found, data, answer = cost_of_call(work, 1, lambda: megabytes)
    whole = time.process_time() - start
    assert seen == [1, megabytes]  # once on the small problem, then measured
    assert (data, answer) == (megabytes, megabytes * 2**17)
    # the system may give or take some pages of the process
    assert found["peak_mb"] == pytest.approx(megabytes, rel=0.1)
    assert 0 < found["cpu_seconds"] < whole
