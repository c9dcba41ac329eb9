"""Seconds and memory of a call. The standard library alone, so that memory is that of the call and
peers can use it too.
"""

import ctypes
import gc
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path


def peak_mb() -> float:
    """The most memory that this process has held so far, MB.

    Raises RuntimeError where the system does not count it (Windows).
    """
    # whose getrusage begins with the peak of the process that started this one
    if sys.platform == "linux":
        return _memory_mb("VmHWM:")
    try:
        import resource  # not on Windows
    except ImportError as error:
        raise RuntimeError(
            "peak memory cannot be measured here: run the benchmark on Linux or macOS"
        ) from error
    # macOS counts bytes, other systems kilobytes
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _memory_mb(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 2**10 for line in status if line.startswith(field))


def measure(function: str, sizes: dict) -> dict:
    """Seconds (wall and CPU) and peak memory (MB) of a call without arguments, beside what it
    returns, a dict.

    ``function``, named as MODULE.FUNCTION, does the imports, which are not timed, and returns the
    call for ``sizes``.
    """
    module, name = function.rsplit(".", 1)
    work = getattr(importlib.import_module(module), name)(**sizes)
    cpu_start = time.process_time()
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - cpu_start
    return {**found, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb()}


def cost_of_call(
    work: Callable, small: object, make: Callable
) -> tuple[dict[str, float], object, object]:
    """CPU seconds of ``work(data)`` and its peak memory (MB) above what was held before ``data =
    make()``; data; answer.

    ``work(small)`` runs before, so that compiling and late imports are not measured. Raises
    RuntimeError where the system has no /proc, from which memory is read.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise RuntimeError(
            "memory is read from /proc, which this system lacks: run the benchmark "
            "of costs on Linux"
        )
    work(small)
    gc.collect()
    # free memory goes back to the system: the data must not be put there unseen
    ctypes.CDLL(None).malloc_trim(0)
    before = _memory_mb("VmRSS:")
    data = make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.process_time()
    answer = work(data)
    seconds = time.process_time() - start
    return {"cpu_seconds": seconds, "peak_mb": _memory_mb("VmHWM:") - before}, data, answer
