"""Speed, memory and accuracy of the library against its peers, measured side by side; never part of the results.

Two kinds of benchmark, one report: code against a peer's code in pairs of fresh processes (`measure`), or a function of
`discovery.benchmark` that compares methods on the same data in one process. Either way one thread, compiling and imports
apart, and claims whose truth is computed (`claim`).
"""

import inspect
import json
import operator
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from causal_lib import paths
from causal_lib.metric import Metric
from causal_lib.paths import write_text

_MEASURE = """
import json, sys, time
{imports}
start, cpu = time.perf_counter(), time.process_time()
{work}
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
{peak_mb}
print(json.dumps({{"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak_mb()}}))
"""
_REPORT = """
import json
from causal_lib.experiments.{module} import {function}
print(json.dumps({function}(), allow_nan=False))
"""
_TABLE = """
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq
rng, writer = np.random.default_rng(0), None
levels = np.array([f"level {i}" for i in range(20)])
for part in range(parts):
    table = {f"number{i}": rng.standard_normal(rows) for i in range(25)}
    table |= {f"count{i}": rng.poisson(3, rows) for i in range(5)}
    table |= {f"flag{i}": rng.random(rows) < 0.3 for i in range(8)}
    table |= {f"text{i}": levels[rng.integers(3 + i, size=rows)] for i in range(12)}
    table = pa.table(table)
    writer = writer or pq.ParquetWriter("table.parquet", table.schema)
    writer.write_table(table)
writer.close()
"""
_STATISTICS = {
    "description": "count, mean and covariance of 10^7 rows of 50 mixed columns (12 of them text) in a Parquet file",
    "sizes": {"parts": 10, "rows": 1_000_000},
    "prepare": _TABLE,
    "own_code": {
        "imports": "from causal_lib.discovery.statistics import Statistics",
        "work": "rows = Statistics.from_parquet('table.parquet').rows",
    },
    "targets": {"ratio of cpu_seconds": 1.5, "own peak_mb": 1000},
    "pairs": 5,
}
_READ = "import pyarrow.parquet as pq"
BENCHMARKS = {
    "shop_world": {
        "description": "1 million impressions of worlds.shop",
        "peer": "numpy: only the random numbers that a log of as many candidates needs, held in memory",
        "sizes": {"n_users": 27_000, "n_items": 1_000, "days": 30, "drawn": 3_240_000},
        "own_code": {
            "imports": "from causal_lib.worlds.online_shop import shop",
            "work": "rows = len(shop(n_users=n_users, n_items=n_items, days=days, seed=0).impressions)",
        },
        "peer_code": {
            "imports": "import numpy as np",
            "work": """rng = np.random.default_rng(0)
rows = drawn  # a third of the candidates are exposed
kept = [rng.random(rows) for _ in range(5)]  # exposed, clicked, bought organically, bought after a click, rated
kept += [rng.gumbel(size=rows), rng.standard_normal(rows), rng.integers(1_000, size=rows, dtype=np.int32)]""",
        },
    },
    "discovery.statistics": _STATISTICS
    | {
        "peer": "pyarrow reading the same columns in batches, its defaults",
        "peer_code": {
            "imports": _READ,
            "work": "rows = sum(batch.num_rows for batch in pq.ParquetFile('table.parquet').iter_batches())",
        },
    },
    "discovery.statistics_reader": _STATISTICS
    | {
        "peer": "pyarrow reading the same columns in batches, by the options that Statistics.from_parquet uses",
        "peer_code": {
            "imports": _READ + "\ntext = [f'text{i}' for i in range(12)]",
            "work": """file = pq.ParquetFile("table.parquet", read_dictionary=text, pre_buffer=False, buffer_size=1 << 20)
rows = sum(batch.num_rows for batch in file.iter_batches(131_072))""",
        },
    },
    "discovery.speed": {
        "description": "order search without knowledge, standardised linear Gaussian data of 1,000 rows, 20 restarts each",
        "peer": "flopsearch, called on the same array",
        "report": "discovery.search:speed",
    },
    "discovery.tiers": {
        "description": "order search with 4 tiers of the true order, 50 variables, 1,000 rows, 20 restarts each",
        "peer": "flopsearch without the tiers, and with the tiers imposed on its answer",
        "report": "discovery.search:tiers",
    },
    "discovery.peers": {
        "description": "order search on standardised linear Gaussian data, ER2, 50 variables, 1,000 rows",
        "peer": "causal-learn's BOSS and PC, gCastle's NOTEARS, the package dagma, our own dagma, baselines that sort",
        "report": "discovery.search:peers",
    },
    "discovery.mixed": {
        "description": "a third each binary, categorical with 3-6 levels, numeric; ER2, 30 variables, 2,000 rows",
        "peer": "PC with each test, greedy search and MIIC of pyAgrum on quantile bins",
        "report": "discovery.search:mixed",
    },
    "discovery.stability": {
        "description": "order search on 100 bootstrap draws of 100,000 rows of 50 variables, 2 processes, wall time",
        "peer": "an absolute limit",
        "report": "discovery.search:stability",
    },
    "discovery.settings": {
        "description": "every method on small simulations of each kind: 20 variables, 1,000 rows, standardised",
        "peer": "each other; also drawn in figures/bench_discovery.png",
        "report": "discovery.search:settings",
    },
    "discovery.networks": {
        "description": "every method on 4 samples of 2,000 rows of each of four networks of categories, and on Sachs' cells",
        "peer": "each other; the graphs are scored in notebook 05 too, all but those of FLOP, which cannot be seeded",
        "report": "discovery.search:networks",
    },
    "discovery.proposals": {
        "description": "directions that a language model proposes from names, four networks; and as a soft prior, 5 samples of 2,000 rows",
        "peer": "coins, neutral names, no prior, a prior of true directions",
        "report": "discovery.proposals:study",
    },
    "inference.off_policy": {
        "description": "the value of a policy by all estimators together, 10^6 logged rounds of 100 actions, one thread",
        "peer": "an absolute limit",
        "report": "policy:off_policy",
    },
    "inference.open_bandit": {
        "description": "values by each estimator on the same logs, policy and reward model, 5 tables of 10,000 rounds",
        "peer": "the package obp (Open Bandit Pipeline 0.4.1)",
        "report": "policy:open_bandit",
    },
    "inference.coverage": {
        "description": "how often 95% intervals hold the truth, 400 data sets; double robustness; a quarter of an hour on 2 cores",
        "peer": "the nominal level; and with a wrong adjustment set, or both models wrong, where it must fail",
        "report": "inference.coverage:study",
    },
    "inference.acic": {
        "description": "errors of effects on the ten outcome sets of ACIC 2016, in standard deviations of the outcome",
        "peer": "EconML's and CausalML's defaults on the same rows",
        "report": "reproductions.effects:acic_report",
    },
    "pretrained.families": {
        "description": "directed F1 on 20 tables of each family of random models, 20 variables, 1,000 rows; trained on or held out",
        "peer": "FLOP, PC, order search, additive models, DirectLiNGAM on the same standardised tables",
        "report": "pretrained.comparison:families",
    },
    "pretrained.networks": {
        "description": "directed F1 and parent adjustment distance on 5 samples of 1,000 rows of each of five networks, and Sachs' cells",
        "peer": "FLOP on scores of the categories, jittered; on the cells all that families compares",
        "report": "pretrained.comparison:networks",
    },
    "pretrained.fitted": {
        "description": "the graph network fitted to each table, on 8 models of simulate of each kind, 20 variables, 1,000 rows",
        "peer": "the pretrained one, order search, additive models, DAGMA's mlp; gCastle's DAG-GNN for two minutes",
        "report": "pretrained.comparison:fitted",
    },
    "pretrained.knowledge": {
        "description": "directed F1 within tiers, when the tiers are told and when not; 60 tables of each of four families",
        "peer": "itself without knowledge",
        "report": "pretrained.comparison:knowledge",
    },
    "pretrained.ablations": {
        "description": "networks trained anew without one part each, equal steps, on the validation tables; a quarter of an hour",
        "peer": "a network with all parts",
        "report": "pretrained.ablations:ablations",
    },
    "pretrained.speed": {
        "description": "seconds from the frame to the graph on one thread, 20 and 50 variables, 1,000 rows",
        "peer": "an absolute limit",
        "report": "pretrained.comparison:speed",
    },
    "models.debiased": {
        "description": "errors on ml-100k made missing not at random, gain of clicks in the shop: naive, weighted, true; 5 seeds",
        "peer": "plain factorisation and BPR, six trials each like the others",
        "report": "models.debiased:study",
    },
    "models.dnn": {
        "description": "training the article's network on 63,700 rows of worlds.shop, 100 epochs, one thread: CPU seconds; losses",
        "peer": "the article's loop as printed (5.3.3): all rows in one step an epoch, GradientTape without tf.function",
        "report": "models.recommenders:dnn",
    },
    "models.metrics": {
        "description": "metrics of random lists of 1 to 10 items, some cut short, for users with few positives, many or none",
        "peer": "lenskit's metrics, DCG by 1 / log2(1 + r), precision by the length asked for",
        "report": "models.recommenders:metrics",
    },
    "models.lightgcn": {
        "description": "NDCG@10 and seconds on ml-100k, ratings of 4 and more, each user's last 20% held out, full ranking; one thread",
        "peer": "lenskit's implicit ALS and LightGCN, 64 factors, with all rows to train on",
        "report": "models.recommenders:lightgcn",
    },
    "models.size": {
        "description": "factorisation weighted by propensities on 10^6 ratings, full ranking of 10,000 users by 5,000 items; two threads",
        "peer": "an absolute limit",
        "report": "models.recommenders:size",
    },
    "costs": {
        "description": "CPU seconds, peak memory and stored bytes of each method against rows, variables, users and items; exponents",
        "peer": "causal-learn's PC, EconML called directly, lenskit's ALS; cheap methods beside dear ones on the same log",
        "report": "costs.report:report",
    },
}
"""Name -> what is measured and against what.

Either ``own_code`` and ``peer_code`` set ``rows``, run in fresh processes in a folder where ``prepare`` has run, with
``targets`` for what comes out, or ``report`` names the module and the function that measures in one process. ``sizes`` are
the variables that the codes and ``prepare`` may use.
"""


def claim(name: str, values: Iterable[float], target: str, *, statistic: str = "mean") -> dict:
    """Whether the mean or median of ``values``, one for each pair, meets ``target``, as JSON types.

    ``target`` is a comparison and a number: 'at most', 'at least', 'below' or 'above'. A mean has its 95% t-interval, a
    median, for times that are skewed by whatever else the machine does, the range of the values.

    >>> claim("time", [0.2, 0.1, 0.5], "at most 0.25", statistic="median")["held"]
    True
    """
    comparison, number = target.rsplit(" ", 1)
    compare = {"at most": operator.le, "at least": operator.ge, "below": operator.lt, "above": operator.gt}[comparison]
    values = [float(value) for value in values]
    value, interval = getattr(statistics, statistic)(values), {"range": [min(values), max(values)]}
    if statistic == "mean" and len(values) > 1:
        mean = Metric.mean_of("", name, values)
        interval = {"interval": [mean.low, mean.high]}
    held = compare(value, float(number))
    return {
        "claim": name,
        "statistic": statistic,
        "value": value,
        **interval,
        "pairs": len(values),
        "target": target,
        "held": held,
    }


def peak_mb() -> float:
    """The most memory that this process has held so far, MB; RuntimeError where the system does not count it (Windows)."""
    if sys.platform == "linux":  # whose getrusage begins with the peak of the process that started this one
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 2**10 for line in status if line.startswith("VmHWM:"))
    try:
        import resource  # not on Windows
    except ImportError as error:
        raise RuntimeError("peak memory cannot be measured here: run the benchmark on Linux or macOS") from error
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, other systems kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def known(name: str) -> list[str]:
    """The benchmarks that ``name`` stands for: itself, or all its parts (discovery: discovery.speed, ...)."""
    return [other for other in BENCHMARKS if other == name or other.startswith(f"{name}.")]


def measure(imports: str, work: str, *, folder: str | Path = ".") -> dict[str, float]:
    """Rows, seconds (wall, CPU) and peak memory (MB) of ``work`` in a fresh process on one thread, imports not timed."""
    code = _MEASURE.format(imports=imports, work=work, peak_mb=inspect.getsource(peak_mb))
    return json.loads(_fresh(code, stderr=subprocess.PIPE, cwd=folder))


def write(name: str, *, pairs: int | None = None, reports: Path | None = None) -> Path:
    """Measure one of `BENCHMARKS` and return the path of its JSON report.

    Code against code is run in ``pairs`` (own, peer), by default the benchmark's own number or 3. The ratio is taken
    within a pair, whose two runs follow each other and so meet the same load of the machine.
    """
    benchmark, reports = BENCHMARKS[name], Path(reports or paths.COMMITTED).resolve()
    if "report" in benchmark:
        environment = {"CAUSAL_LIB_REPORTS": str(reports)}
        module, function = benchmark["report"].split(":")
        measured = json.loads(_fresh(_REPORT.format(module=module, function=function), **environment).splitlines()[-1])
    else:
        measured = _pairs(benchmark, pairs or benchmark.get("pairs", 3))
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    content = {
        "benchmark": name,
        "description": benchmark["description"],
        "peer": benchmark["peer"],
        **measured,
        "machine": {
            "processor": models[0] if models else platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    }
    path = reports / "benchmarks" / f"{name}.json"
    return write_text(path, json.dumps(content, indent=1) + "\n")


def _pairs(benchmark, pairs):
    given = "".join(f"{name} = {value!r}\n" for name, value in benchmark.get("sizes", {}).items())
    with tempfile.TemporaryDirectory() as folder:
        if "prepare" in benchmark:
            _fresh(given + benchmark["prepare"], stderr=subprocess.PIPE, cwd=folder)
        sides = benchmark["own_code"], benchmark["peer_code"]
        sides = [side | {"imports": given + side["imports"]} for side in sides]
        runs = [[measure(**side, folder=folder) for side in sides] for _ in range(pairs)]
    keys = [key for key in runs[0][0] if key != "rows"]
    values = {f"ratio of {key}": [own[key] / peer[key] for own, peer in runs] for key in keys}
    values |= {f"own {key}": [own[key] for own, _ in runs] for key in keys}
    targets = benchmark.get("targets", {}).items()
    return {
        "claims": [claim(what, values[what], f"at most {most}", statistic="median") for what, most in targets],
        "pairs": [{"own": own, "peer": peer} for own, peer in runs],
        "own": {key: statistics.median(own[key] for own, _ in runs) for key in runs[0][0]},
        "ratio": {key: statistics.median(values[f"ratio of {key}"]) for key in keys},
    }


def _fresh(code, *, stderr=None, cwd=".", **environment):
    """What ``code`` prints in a process of its own on one thread; its progress bars are seen unless ``stderr`` is kept."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", code]
    child = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=cwd, check=False
    )
    if child.returncode:
        raise RuntimeError(f"the benchmark ended with status {child.returncode}:\n{(child.stderr or '')[-2000:]}")
    return child.stdout
