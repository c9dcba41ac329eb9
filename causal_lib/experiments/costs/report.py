"""Costs of methods: CPU seconds, memory and stored bytes against sizes, and the exponents by which
they grow.

The report has ``rows``, one per measurement; ``fits``, exponents of the growth (`exponent`);
``efficiency``, what cheap and expensive methods gain from the same log; ``claims``, ``skipped``.
Each measurement has a process of its own, forked from one that has done the imports; there the
method runs once on a small problem (compiling, late imports) before it is measured. CPU seconds are
of all threads, of which one is asked for. Memory is the peak above what the process held before it
made its data. Bytes are those of the pickled answer. Linux only: memory is read from /proc.
"""

import json
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version

import joblib
import numpy as np
import pandas as pd
from scipy import stats

from causal_lib.experiments import peers
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim
from causal_lib.experiments.claims import report as report_of
from causal_lib.experiments.costs.methods import (
    MEASURED,
    RANKINGS,
    SKIPPED,
    MeasuredMethod,
    shop_rows,
)
from causal_lib.experiments.programs.measuring import cost_of_call
from causal_lib.progress import progress_bar

_IMPORTS = (
    "tensorflow",
    "econml.dml",
    "econml.grf",
    "causallearn.search.ConstraintBased.PC",
    "causal_lib.discovery.engines.pretrained.discoverer",
    "causal_lib.inference",
    "causal_lib.models.recommender",
    "causal_lib.models.dnn",
    "causal_lib.experiments.costs.report",
)
_WHAT = ("cpu_seconds", "peak_mb", "bytes")
# less is the clock's and the allocator's noise
_LEAST = {"cpu_seconds": 1e-3, "peak_mb": 1.0, "bytes": 1.0}
_SHARE = 0.1


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """The p of cost = c · size^p: slope of log cost on log size by least squares, with its 95%
    t-interval (value, low, high).

    The interval is widened by the scatter of repeats and by costs that follow no power law.

    Raises ValueError for lengths that differ, fewer than 3 points, a single size, and sizes or
    costs that are not positive numbers.

    >>> round(exponent([1, 2, 4], [3, 12, 48])["value"], 6)
    2.0
    """
    sizes, costs = (np.asarray(values, dtype=float) for values in (sizes, costs))
    if sizes.shape != costs.shape or sizes.ndim != 1:
        raise ValueError(
            f"sizes and costs have shapes {sizes.shape} and {costs.shape}; one cost "
            "a size is needed"
        )
    for name, values in (("sizes", sizes), ("costs", costs)):
        if bad := int((~(np.isfinite(values) & (values > 0))).sum()):
            raise ValueError(
                f"{name}: {bad} of {len(values)} are not positive numbers; a power law has none"
            )
    if len(sizes) < 3 or np.ptp(sizes) == 0:
        raise ValueError(
            f"{len(sizes)} points of {len(np.unique(sizes))} sizes; at least 3 points, not all of "
            "one size, are needed"
        )
    x, y = (np.log(values) - np.log(values).mean() for values in (sizes, costs))
    slope = x @ y / (x @ x)
    half = stats.t.ppf(0.975, len(x) - 2) * np.sqrt(
        ((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x)
    )
    return {"value": float(slope), "low": float(slope - half), "high": float(slope + half)}


@benchmark(
    "costs",
    peer="causal-learn's PC, EconML called directly, lenskit's ALS; cheap methods beside dear "
    "ones on the same log",
)
def report(
    repeats: int = 2,
    *,
    worlds: int = 3,
    users: int = 1000,
    methods: Mapping[str, MeasuredMethod] = MEASURED,
) -> dict:
    """CPU seconds, peak memory and stored bytes of each method against rows, variables, users and
    items; exponents.

    Every method at every size, ``repeats`` times on other data, and `RANKINGS` in ``worlds`` of
    ``users``. The claims were written when single trial runs had been seen, but no grid.
    """
    rows = []
    skipped = dict(SKIPPED)
    rankings = pd.DataFrame([row for seed in range(worlds) for row in _ranking_costs(seed, users)])
    for name, method in progress_bar(methods.items(), delay=0, unit="method"):
        plan = [
            (axis, size, seed)
            for axis, grid in method.grids.items()
            for size in grid
            for seed in range(repeats)
        ]
        if method.python and not method.python.exists():
            skipped[name] = peers.NO_ENVIRONMENT
            continue
        sized = [(dict(method.base) | {axis: size}, seed) for axis, size, seed in plan]
        found = (
            _costs_at_peer(method, sized)
            if method.python
            else peers.forked(_costs, method, sized, imports=_IMPORTS)
        )
        for (axis, size, seed), one in zip(plan, found, strict=True):
            rows.append(
                {
                    "method": name,
                    "stage": method.stage,
                    "axis": axis,
                    "size": size,
                    "repeat": seed,
                    **one,
                }
            )
    table = pd.DataFrame(rows)
    fits = [
        {
            "method": name,
            "stage": part["stage"].iloc[0],
            "axis": axis,
            "what": what,
            **_growth(part, what),
        }
        for (name, axis), part in table.groupby(["method", "axis"], sort=False)
        for what in _WHAT
    ]
    packages = ("numpy", "scikit-learn", "torch", "tensorflow", "econml", "causal-learn")
    return report_of(
        [*_growth_claims(table), *_ranking_claims(rankings)],
        skipped=skipped,
        fits=fits,
        efficiency=json.loads(rankings.to_json(orient="records", double_precision=6)),
        rows=table.round({"cpu_seconds": 5, "peak_mb": 2}).to_dict("records"),
        versions={name: version(name) for name in packages},
    )


def _growth(part, what):
    """The exponent, and the growth of the last step of the grid; None where costs cannot be
    distinguished from noise.
    """
    part = part[part[what] >= _LEAST[what]]
    if part["size"].nunique() < 3:
        return {"value": None, "low": None, "high": None, "last": None}
    middle = np.log(part.groupby("size")[what].median())
    last = middle.iloc[-1] - middle.iloc[-2]
    return exponent(part["size"], part[what]) | {
        "last": float(last / np.log(middle.index[-1] / middle.index[-2]))
    }


# ---- processes ----------------------------------------------------------------------------------


def _costs(method, sized):
    """Costs of each of ``sized`` in a process forked from this one, in which compiling is done if
    that is possible.
    """
    if method.forked:
        method.work(method.make(seed=0, **method.small))
    return [peers.forked(_cost, method, *one) for one in sized]


def _cost(method, sizes, seed):
    small = method.make(seed=seed, **method.small)
    found, _, answer = cost_of_call(method.work, small, partial(method.make, seed=seed, **sizes))
    # closures too
    return found | {"bytes": len(pickle.dumps(joblib.wrap_non_picklable_objects(answer)))}


def _costs_at_peer(method, sized):
    found = []
    for sizes, seed in sized:
        small = method.make(seed=seed, **method.small)
        with peers.folder_with(small=small, data=method.make(seed=seed, **sizes)) as folder:
            found.append(peers.run(method.work, python=method.python, folder=folder))
    return found


def _ranking_costs(seed, users):
    return [
        {
            "ranking": name,
            "repeat": seed,
            **peers.forked(_ranking_cost, name, seed, users, imports=_IMPORTS),
        }
        for name in RANKINGS
    ]


def _ranking_cost(name, seed, users):
    from sklearn.metrics import roc_auc_score

    from causal_lib.inference import incremental_outcomes

    small = shop_rows(seed=0, users=min(400, users))
    found, data, score = cost_of_call(
        RANKINGS[name], small, partial(shop_rows, seed=seed, users=users)
    )
    test = ~data["teach"]
    groups = data["log"]["user_id"].to_numpy()[test]
    added = incremental_outcomes(score, data["uplift"][test], groups, share=_SHARE, n_boot=2)[0]
    auc = float(roc_auc_score(data["y"][test], score)) if name.startswith("purchase") else None
    return found | {"auc": auc, "added": added}


# ---- claims, written when single trial runs had been seen, but no grid --------------------------


def _growth_claims(table):
    """Exponents are fitted to each repeat, ratios taken at the largest size."""

    def slopes(method, axis, what="cpu_seconds"):
        part = table[(table["method"] == method) & (table["axis"] == axis)]
        return np.array(
            [exponent(one["size"], one[what])["value"] for _, one in part.groupby("repeat")]
        )

    def most(method, axis, what="cpu_seconds"):
        part = table[(table["method"] == method) & (table["axis"] == axis)]
        return (
            part[part["size"] == part["size"].max()]
            .sort_values("repeat")[what]
            .to_numpy(dtype=float)
        )

    limits = {
        ("order search, from statistics", "rows"): 0.1,
        ("causal forest", "rows"): 1.2,
        ("uplift model", "rows"): 1.2,
    }
    limits |= {
        (name, "rows"): 1.1
        for name in ("order search", "PC", "GES", "pretrained network", "AIPW", "LinearDML")
    }
    limits |= {(name, "variables"): 3 for name in ("order search", "pretrained network")}
    limits |= {(name, "interactions"): 1.1 for name in ("mf", "bpr", "ips-mf", "lightgcn")}
    limits |= {("ranking the catalogue", axis): 1.1 for axis in ("users", "items")}
    limits |= {
        (name, "rows"): 1.1 for name in ("logistic regression", "boosted trees", "dense network")
    }
    claims = [
        Claim.of(
            f"{method}: exponent of CPU seconds in {axis}", slopes(method, axis), f"at most {limit}"
        )
        for (method, axis), limit in limits.items()
    ]
    for other in ("PC", "GES"):
        gap = slopes("order search", "variables") - slopes(other, "variables")
        claims.append(
            Claim.of(
                f"exponent of CPU seconds in variables, order search - {other}", gap, "below 0"
            )
        )
    for name, first, second, axis, target in (
        ("ours / EconML's", "LinearDML", "LinearDML (EconML)", "rows", "at most 1.5"),
        ("ours / EconML's", "causal forest", "causal forest (EconML)", "rows", "at most 1.5"),
        ("ours / causal-learn's", "PC", "PC (causal-learn)", "variables", "at most 1.1"),
        ("ips-mf / mf", "ips-mf", "mf", "interactions", "at most 1.25"),
        ("lightgcn / bpr", "lightgcn", "bpr", "interactions", "at least 3"),
    ):
        ratio = most(first, axis) / most(second, axis)
        text = (
            f"{first}: CPU seconds, {name}" if name.startswith("ours") else (f"CPU seconds, {name}")
        )
        claims.append(Claim.of(text, ratio, target, statistic="median"))
    for axis, target in (("interactions", "at most 0.01"), ("users", "at most 1")):
        claims.append(
            Claim.of(f"mf: exponent of bytes in {axis}", slopes("mf", axis, "bytes"), target)
        )
    ranked = most("ranking the catalogue", "items", "peak_mb") / (8 * 4000 * 9000 / 2**20)
    claims.append(
        Claim.of(
            "ranking: peak memory, share of all scores at once",
            ranked,
            "at most 0.5",
            statistic="median",
        )
    )
    claims.append(
        Claim.of("most memory of any measurement, MB", [table["peak_mb"].max()], "at most 1000")
    )
    return claims


def _ranking_claims(rankings):
    cpu, auc, added = (
        rankings.pivot_table(index="repeat", columns="ranking", values=what)
        for what in ("cpu_seconds", "auc", "added")
    )
    network = "purchase, dense network"
    plain = "uplift, two logistic regressions"
    simple = "purchase, logistic regression"
    trees = "purchase, boosted trees"
    best = "uplift, doubly robust"
    differences = {
        "AUC, logistic regression - dense network": (auc[simple] - auc[network], "below 0"),
        "AUC, boosted trees - dense network": (auc[trees] - auc[network], "at least -0.01"),
    }
    ratios = {
        "CPU seconds, logistic regression / dense network": (
            cpu[simple] / cpu[network],
            "at most 0.01",
        ),
        "CPU seconds, boosted trees / dense network": (cpu[trees] / cpu[network], "at most 0.1"),
        "CPU seconds, two logistic regressions / dense network": (
            cpu[plain] / cpu[network],
            "at most 0.01",
        ),
    }
    gains = {
        "two logistic regressions - dense network": added[plain] - added[network],
        "doubly robust - two logistic regressions": added[best] - added[plain],
    }
    return [
        *(Claim.of(name, values, target) for name, (values, target) in differences.items()),
        *(
            Claim.of(name, values, target, statistic="median")
            for name, (values, target) in ratios.items()
        ),
        *(
            Claim.of(f"purchases added per 1,000, {name}", values, "above 0")
            for name, values in gains.items()
        ),
    ]
