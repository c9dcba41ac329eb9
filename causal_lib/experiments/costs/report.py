"""What methods cost: CPU seconds, memory and stored bytes against sizes, and the exponents by which they grow.

`report` is what `causal-lib bench costs` writes: ``rows``, one a measurement; ``fits``, exponents of the growth (`exponent`);
``efficiency``, what the same log is worth to cheap and dear methods; ``claims`` (`bench.claim`), ``skipped``. Each measurement
has a process of its own, forked from one that has done the imports; there the method runs once on a small problem (compiling,
late imports) before it is measured. CPU seconds are of all threads, of which one is asked for. Memory is the peak above what
the process held before it made its data. Bytes are those of the pickled answer. Linux only: memory is read from /proc.
"""

import inspect
import json
import multiprocessing
import pickle
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from scipy import stats

from causal_lib import paths
from causal_lib.experiments.bench import claim
from causal_lib.experiments.costs.methods import METHODS, RANKINGS, SKIPPED, Method, shop_rows
from causal_lib.progress import progress_bar

_IMPORTS = (
    "tensorflow", "econml.dml", "econml.grf", "causallearn.search.ConstraintBased.PC", "causal_lib.discovery.engines.pretrained.discoverer",
    "causal_lib.inference", "causal_lib.models.recommender", "causal_lib.models.dnn", "causal_lib.experiments.costs.report",
)  # fmt: skip
_WHAT = ("cpu_seconds", "peak_mb", "bytes")
_LEAST = {"cpu_seconds": 1e-3, "peak_mb": 1.0, "bytes": 1.0}  # less is the clock's and the allocator's noise
_SHARE = 0.1


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """The p of cost = c · size^p: slope of log cost on log size by least squares, with its 95% t-interval (value, low, high).

    The interval holds the scatter of repeats and the bend of what is no power law alike.

    Raises ValueError for lengths that differ, fewer than 3 points, a single size, and sizes or costs that are not positive numbers.

    >>> round(exponent([1, 2, 4], [3, 12, 48])["value"], 6)
    2.0
    """
    sizes, costs = (np.asarray(values, dtype=float) for values in (sizes, costs))
    if sizes.shape != costs.shape or sizes.ndim != 1:
        raise ValueError(f"sizes and costs have shapes {sizes.shape} and {costs.shape}; one cost a size is needed")
    for name, values in (("sizes", sizes), ("costs", costs)):
        if bad := int((~(np.isfinite(values) & (values > 0))).sum()):
            raise ValueError(f"{name}: {bad} of {len(values)} are not positive numbers; a power law has none")
    if len(sizes) < 3 or np.ptp(sizes) == 0:
        raise ValueError(
            f"{len(sizes)} points of {len(np.unique(sizes))} sizes; at least 3 points, not all of one size, are needed"
        )
    x, y = (np.log(values) - np.log(values).mean() for values in (sizes, costs))
    slope = x @ y / (x @ x)
    half = stats.t.ppf(0.975, len(x) - 2) * np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x))
    return {"value": float(slope), "low": float(slope - half), "high": float(slope + half)}


def spent(work: Callable, small: object, make: Callable) -> tuple[dict[str, float], object, object]:
    """CPU seconds of ``work(data)``, peak memory (MB) above that before ``data = make()``; data; answer. Its text runs at peers' too."""
    import ctypes
    import gc
    import time
    from pathlib import Path

    def held(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    if not Path("/proc/self/clear_refs").exists():
        raise RuntimeError("memory is read from /proc, which this system lacks: run the benchmark of costs on Linux")
    work(small)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, lest the data be put there unseen
    before = held("VmRSS")
    data = make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.process_time()
    answer = work(data)
    seconds = time.process_time() - start
    return {"cpu_seconds": seconds, "peak_mb": held("VmHWM") - before}, data, answer


def report(
    repeats: int = 2, *, worlds: int = 3, users: int = 1000, methods: Mapping[str, Method] | None = None
) -> dict:
    """Every method at every size, ``repeats`` times on other data, and `RANKINGS` in ``worlds`` of ``users``; exponents; claims.

    The claims were written when single trial runs had been seen, but no grid.
    """
    methods, rows, skipped = METHODS if methods is None else methods, [], dict(SKIPPED)
    worth = pd.DataFrame([row for seed in range(worlds) for row in _worth(seed, users)])
    for name, method in progress_bar(methods.items(), delay=0, unit="method"):
        plan = [(axis, size, seed) for axis, grid in method.grids.items() for size in grid for seed in range(repeats)]
        python = paths.ROOT / method.python if method.python else None
        if python and not python.exists():
            skipped[name] = "no environment of peers; build it with `make peers`"
            continue
        sized = [(dict(method.base) | {axis: size}, seed) for axis, size, seed in plan]
        found = [_elsewhere(python, method, *one) for one in sized] if python else _alone(_series, method, sized)
        for (axis, size, seed), one in zip(plan, found, strict=True):
            rows.append({"method": name, "stage": method.stage, "axis": axis, "size": size, "repeat": seed, **one})
    table = pd.DataFrame(rows)
    fits = [
        {"method": name, "stage": part["stage"].iloc[0], "axis": axis, "what": what, **_growth(part, what)}
        for (name, axis), part in table.groupby(["method", "axis"], sort=False)
        for what in _WHAT
    ]
    return {
        "claims": [*_growth_claims(table), *_worth_claims(worth)],
        "skipped": skipped,
        "fits": fits,
        "efficiency": json.loads(worth.to_json(orient="records", double_precision=6)),
        "rows": table.round({"cpu_seconds": 5, "peak_mb": 2}).to_dict("records"),
        "versions": {name: version(name) for name in ("numpy", "scikit-learn", "torch", "tensorflow", "econml", "causal-learn")},
    }  # fmt: skip


def _growth(part, what):
    """The exponent, and by how much the last step of the grid grew; None where too little was spent to be told from noise."""
    part = part[part[what] >= _LEAST[what]]
    if part["size"].nunique() < 3:
        return {"value": None, "low": None, "high": None, "last": None}
    middle = np.log(part.groupby("size")[what].median())
    last = middle.iloc[-1] - middle.iloc[-2]
    return exponent(part["size"], part[what]) | {"last": float(last / np.log(middle.index[-1] / middle.index[-2]))}


# ---- processes ---------------------------------------------------------------------------------------------------


def _alone(job, *arguments, how="forkserver"):
    """What ``job(*arguments)`` returns in a process of its own, forked from one that has done the imports (or from this one)."""
    context = multiprocessing.get_context(how)
    if how == "forkserver":
        context.set_forkserver_preload(list(_IMPORTS))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(job, *arguments).result()


def _series(method, sized):
    """Each of ``sized`` in a process forked from this one, where what compiles has compiled already if it may."""
    if method.forked:
        method.work(method.make(seed=0, **method.small))
    return [_alone(_measured, method, *one, how="fork") for one in sized]


def _measured(method, sizes, seed):
    small, make = method.make(seed=seed, **method.small), partial(method.make, seed=seed, **sizes)
    found, _, answer = spent(method.work, small, make)
    return found | {"bytes": len(pickle.dumps(joblib.wrap_non_picklable_objects(answer)))}  # closures too


_ELSEWHERE = """
import json, pickle
import numpy as np
{work}
{spent}
found, _, answer = spent(work, np.load("small.npy"), lambda: np.load("data.npy"))
print(json.dumps(found | {{"bytes": len(pickle.dumps(answer))}}))
"""


def _elsewhere(python, method, sizes, seed):
    with tempfile.TemporaryDirectory() as folder:
        for name, given in (("small", method.small), ("data", sizes)):
            np.save(Path(folder) / f"{name}.npy", method.make(seed=seed, **given))
        text = inspect.getsource(spent).replace("Callable", "object")
        code = _ELSEWHERE.format(work=method.work, spent=text)
        child = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        if child.returncode:
            raise RuntimeError(f"the peer ended with status {child.returncode}:\n{child.stderr[-2000:]}")
        return json.loads(child.stdout.splitlines()[-1])


def _worth(seed, users):
    return [{"ranking": name, "repeat": seed, **_alone(_judged, name, seed, users)} for name in RANKINGS]


def _judged(name, seed, users):
    from sklearn.metrics import roc_auc_score

    from causal_lib.inference import incremental_outcomes

    found, data, score = spent(
        RANKINGS[name], shop_rows(seed=0, users=min(400, users)), partial(shop_rows, seed=seed, users=users)
    )
    judge = ~data["teach"]
    groups = data["log"]["user_id"].to_numpy()[judge]
    added = incremental_outcomes(score, data["uplift"][judge], groups, share=_SHARE, n_boot=2)[0]
    auc = float(roc_auc_score(data["y"][judge], score)) if name.startswith("purchase") else None
    return found | {"auc": auc, "added": added}


# ---- claims, written when single trial runs had been seen, but no grid -----------------------------------------------


def _growth_claims(table):
    """Exponents are fitted to each repeat, ratios taken at the largest size."""

    def slopes(method, axis, what="cpu_seconds"):
        part = table[(table["method"] == method) & (table["axis"] == axis)]
        return np.array([exponent(one["size"], one[what])["value"] for _, one in part.groupby("repeat")])

    def most(method, axis, what="cpu_seconds"):
        part = table[(table["method"] == method) & (table["axis"] == axis)]
        return part[part["size"] == part["size"].max()].sort_values("repeat")[what].to_numpy(dtype=float)

    limits = {
        ("order search, from statistics", "rows"): 0.1,
        ("causal forest", "rows"): 1.2,
        ("uplift model", "rows"): 1.2,
    }
    limits |= {(name, "rows"): 1.1 for name in ("order search", "PC", "GES", "pretrained network", "AIPW", "LinearDML")}
    limits |= {(name, "variables"): 3 for name in ("order search", "pretrained network")}
    limits |= {(name, "interactions"): 1.1 for name in ("mf", "bpr", "ips-mf", "lightgcn")}
    limits |= {("ranking the catalogue", axis): 1.1 for axis in ("users", "items")}
    limits |= {(name, "rows"): 1.1 for name in ("logistic regression", "boosted trees", "dense network")}
    claims = [
        claim(f"{method}: exponent of CPU seconds in {axis}", slopes(method, axis), f"at most {limit}")
        for (method, axis), limit in limits.items()
    ]
    for other in ("PC", "GES"):
        gap = slopes("order search", "variables") - slopes(other, "variables")
        claims.append(claim(f"exponent of CPU seconds in variables, order search - {other}", gap, "below 0"))
    for name, first, second, axis, target in (
        ("ours / EconML's", "LinearDML", "LinearDML (EconML)", "rows", "at most 1.5"),
        ("ours / EconML's", "causal forest", "causal forest (EconML)", "rows", "at most 1.5"),
        ("ours / causal-learn's", "PC", "PC (causal-learn)", "variables", "at most 1.1"),
        ("ips-mf / mf", "ips-mf", "mf", "interactions", "at most 1.25"),
        ("lightgcn / bpr", "lightgcn", "bpr", "interactions", "at least 3"),
    ):
        ratio = most(first, axis) / most(second, axis)
        text = f"{first}: CPU seconds, {name}" if name.startswith("ours") else f"CPU seconds, {name}"
        claims.append(claim(text, ratio, target, statistic="median"))
    claims.append(claim("mf: exponent of bytes in interactions", slopes("mf", "interactions", "bytes"), "at most 0.01"))
    claims.append(claim("mf: exponent of bytes in users", slopes("mf", "users", "bytes"), "at most 1"))
    ranked = most("ranking the catalogue", "items", "peak_mb") / (8 * 4000 * 9000 / 2**20)
    claims.append(claim("ranking: peak memory, share of all scores at once", ranked, "at most 0.5", statistic="median"))
    claims.append(claim("most memory of any measurement, MB", [table["peak_mb"].max()], "at most 1000"))
    return claims


def _worth_claims(worth):
    cpu, auc, added = (
        worth.pivot_table(index="repeat", columns="ranking", values=v) for v in ("cpu_seconds", "auc", "added")
    )
    network, plain = "purchase, dense network", "uplift, two logistic regressions"
    simple, trees, best = "purchase, logistic regression", "purchase, boosted trees", "uplift, doubly robust"
    return [
        claim("AUC, logistic regression - dense network", auc[simple] - auc[network], "below 0"),
        claim("AUC, boosted trees - dense network", auc[trees] - auc[network], "at least -0.01"),
        claim("CPU seconds, logistic regression / dense network", cpu[simple] / cpu[network], "at most 0.01", statistic="median"),
        claim("CPU seconds, boosted trees / dense network", cpu[trees] / cpu[network], "at most 0.1", statistic="median"),
        claim("CPU seconds, two logistic regressions / dense network", cpu[plain] / cpu[network], "at most 0.01", statistic="median"),
        claim("purchases added per 1,000, two logistic regressions - dense network", added[plain] - added[network], "above 0"),
        claim("purchases added per 1,000, doubly robust - two logistic regressions", added[best] - added[plain], "above 0"),
    ]  # fmt: skip
