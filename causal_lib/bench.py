"""Speed and memory of the library against a plain peer, as medians of paired ratios; never part of the results."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

from causal_lib import paths
from causal_lib.results import write_text

_MEASURE = """
import json, resource, time
{imports}
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
print(json.dumps({{"rows": rows, "seconds": seconds, "peak_mb": peak}}))
"""
BENCHMARKS = {
    "shop_world": {
        "description": "1 million impressions of worlds.shop",
        "peer": "numpy: only the random numbers that a log of as many candidates needs, held in memory",
        "own_code": {
            "imports": "from causal_lib.data.worlds import shop",
            "work": "rows = len(shop(n_users=27_000, n_items=1_000, days=30, seed=0).impressions)",
        },
        "peer_code": {
            "imports": "import numpy as np",
            "work": """rng = np.random.default_rng(0)
rows = 3_240_000  # a third of the candidates are exposed
kept = [rng.random(rows) for _ in range(5)]  # exposed, clicked, bought organically, bought after a click, rated
kept += [rng.gumbel(size=rows), rng.standard_normal(rows), rng.integers(1_000, size=rows, dtype=np.int32)]""",
        },
    }
}
"""Name -> what is measured and against what; both sides are code that sets ``rows``, run in fresh processes."""


def measure(imports: str, work: str) -> dict[str, float]:
    """Rows, seconds and peak memory (MB) of ``work`` in a fresh process on one thread, imports not timed."""
    command = [sys.executable, "-c", _MEASURE.format(imports=imports, work=work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the benchmark ended with status {child.returncode}:\n{child.stderr[-2000:]}")
    return json.loads(child.stdout)


def write(name: str, *, pairs: int = 3, reports: Path | None = None) -> Path:
    """Measure one of `BENCHMARKS` in ``pairs`` of runs (own, peer) and return the path of its JSON report.

    The ratio is taken within a pair, whose two runs follow each other and so meet the same load of the machine.
    """
    benchmark = BENCHMARKS[name]
    runs = [(measure(**benchmark["own_code"]), measure(**benchmark["peer_code"])) for _ in range(pairs)]
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    content = {
        "benchmark": name,
        "description": benchmark["description"],
        "peer": benchmark["peer"],
        "pairs": [{"own": own, "peer": peer} for own, peer in runs],
        "own": {key: statistics.median(own[key] for own, _ in runs) for key in runs[0][0]},
        "ratio": {key: statistics.median(own[key] / peer[key] for own, peer in runs) for key in ("seconds", "peak_mb")},
        "machine": {
            "processor": models[0] if models else platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    }
    path = Path(reports or paths.reports()) / "benchmarks" / f"{name}.json"
    return write_text(path, json.dumps(content, indent=1) + "\n")
