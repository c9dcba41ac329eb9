"""Published networks with up to a thousand variables: every method on samples of each, with a limit
of time and memory.

A cell is a network, a number of rows, a seed and a method; it runs in a process of its own. Its
limit is of CPU seconds, so that what else the machine does has no influence. Results are kept in
``data/cache/discovery.large.jsonl`` with a checksum of the code that made them: a run continues
where the last one stopped, and cells that are not measured are listed.

Graphs are scored on all variables of the network. A variable that is constant in a sample cannot be
seen there, and its edges count as missing.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causal_lib import discovery, paths, plots
from causal_lib.data.sources import bayes_net, load, read_manifest
from causal_lib.discovery.distances import (
    compare_graphs,
    precision_recall_f1,
    random_members,
)
from causal_lib.discovery.search import discover
from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, prediction, report
from causal_lib.experiments.peers import PeerError, folder_with, run
from causal_lib.experiments.programs.measuring import peak_mb
from causal_lib.graph import NONE, CausalGraph
from causal_lib.progress import progress_bar
from causal_lib.worlds.random_models import sample_gaussian_network, sample_network

GAUSSIAN = ("ecoli70", "magic-niab", "magic-irri", "arth150")
AIMS = {"sachs": 0.72, "pathfinder": 0.79, "diabetes": 0.79, "pigs": 0.94}
"""Network -> the skeleton F1 that is aimed at with 10,000 rows."""
CHOSEN_ON = ("alarm", "insurance", "hailfinder", "win95pts", "water", "hepar2", "munin1")
"""The networks on which the score of order-counts was chosen, by one sample of 10,000 rows each."""
NETWORKS = (
    *AIMS,
    *("asia", "child", *CHOSEN_ON, "andes", "mildew", "barley", "link"),
    *("munin", "munin2", "munin3", "munin4", *GAUSSIAN),
)
METHODS = {
    "order-counts": {"method": "order-counts"},
    "order": {"method": "order"},
    "miic": {"method": "miic"},
    "flop": {"method": "flop"},
    "ges": {"method": "ges"},
    "pc": {"method": "pc", "test": "chisq"},
    "pretrained": {"method": "pretrained", "unfamiliar": "trust"},
}
"""Label -> the call of `discover` on categories; on numbers PC takes Fisher's z."""
WIDEST = {"pretrained": 60}
"""Label -> the most variables that it is tried on."""
LIMIT = 600
"""CPU seconds of a cell."""
MEMORY = 8
"""GB that a cell may hold."""
_TIMED_OUT = "ended with status -24"  # SIGXCPU


def draw(network: str, n: int, seed: int) -> tuple[pd.DataFrame, CausalGraph]:
    """``n`` rows of a published network without constant columns, and its DAG."""
    if network in GAUSSIAN:
        found = load(f"network-{network}")
        graph = CausalGraph.from_edges(found.nodes, found.edges)
        return sample_gaussian_network(found, n, seed=seed + 1), graph
    net = bayes_net(f"network-{network}")
    return sample_network(net, n, seed=seed + 1), CausalGraph.from_pyagrum(net)


def cell(network: str, n: int, seed: int, method: str, limit: int, memory: int) -> dict:
    """The scores, CPU seconds and peak memory of one cell; the process ends where its limit is
    exceeded.
    """
    frame, truth = draw(network, n, seed)
    small, _ = draw("ecoli70" if network in GAUSSIAN else "asia", 500, 0)
    search(small, method, seed)  # compiling and imports are not measured
    with limited(limit, memory):
        start = time.process_time()
        found = search(frame, method, seed)
        seconds = time.process_time() - start
    return {**scores(found, truth), "seconds": seconds, "peak_mb": peak_mb()}


@contextmanager
def limited(seconds: int, gigabytes: int) -> Iterator[None]:
    """End this process, by the system's signal, where what is inside takes more CPU seconds; a
    MemoryError where it holds more memory.
    """
    import resource  # not on Windows

    free = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_DATA, (gigabytes * 2**30, free))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), free))
    yield
    resource.setrlimit(resource.RLIMIT_CPU, (free, free))
    resource.setrlimit(resource.RLIMIT_DATA, (free, free))


def search(frame: pd.DataFrame, method: str, seed: int) -> CausalGraph:
    """The graph of ``frame`` by a method of `METHODS`."""
    call = dict(METHODS[method])
    if frame.select_dtypes("category").empty:
        call.pop("test", None)
    # statistics are shrunken where categories are functions of others
    data = Statistics.from_frame(frame).shrunk(0.001) if method == "order" else frame
    return discover(data, seed=seed, **call)


def scores(found: CausalGraph, truth: CausalGraph) -> dict:
    """Distances of ``found`` from the true DAG, on all variables of the truth."""
    missing = [name for name in truth.names if name not in found.names]
    marks = np.full(truth.marks.shape, NONE, dtype=np.int8)
    at = np.ix_(*[[truth.index(name) for name in found.names]] * 2)
    marks[at] = found.marks
    whole = CausalGraph(truth.names, marks, kind=found.kind if found.kind == "PAG" else None)
    told = compare_graphs(whole, truth) if whole.kind in ("DAG", "CPDAG") else {}
    directed = [precision_recall_f1(one, truth.adjacency)[2] for one in random_members(whole, 0, 3)]
    precision, recall, f1 = precision_recall_f1(whole.skeleton, truth.skeleton)
    return {
        "skeleton_precision": precision,
        "skeleton_recall": recall,
        "skeleton_f1": f1,
        "directed_f1": float(np.mean(directed)),
        "aid": told.get("aid"),
        "constant_columns": len(missing),
    }


@benchmark(
    "discovery.large",
    peer="order search on blocks, MIIC of pyAgrum, FLOP, GES and PC, each with the same limits",
)
def large(
    networks: Sequence[str] = NETWORKS,
    sizes: Sequence[int] = (10_000, 5_000, 1_000),
    methods: Sequence[str] = tuple(METHODS),
    *,
    seeds: int = 3,
    limit: int = LIMIT,
    minutes: float = 60.0,
    cache: Path | None = None,
) -> dict:
    """Skeletons, directions and parent-adjustment distances of published networks: 10,000, 5,000
    and 1,000 rows, 3 samples, 600 CPU seconds and 8 GB a search.

    Cells are measured in the order of `cells` until ``minutes`` of wall time have passed; those in
    ``cache`` cost none. The others are counted in ``not_measured``.
    """
    path = cache or paths.DATA / "cache" / "discovery.large.jsonl"
    known = _read(path)
    rows = []
    waiting = []
    end = time.monotonic() + 60 * minutes
    wanted = list(cells(networks, sizes, methods, seeds))
    for one in progress_bar(wanted, delay=0, desc="cells", unit="cell"):
        key = json.dumps({**one, "limit": limit, "code": _code(one["method"])}, sort_keys=True)
        if key not in known and time.monotonic() > end:
            waiting.append(one)
            continue
        if key not in known:
            known[key] = _measure(one, limit)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "found": known[key]}) + "\n")
        rows.append({**one, **known[key]})
    table = pd.DataFrame(rows)
    claims = _claims(table)
    if len(table):
        picture = figure(table)
        plots.save(picture, "bench_discovery_large")
        plt.close(picture)
    left = pd.DataFrame(waiting, columns=["network", "n", "seed", "method"])
    left = left.groupby(["method", "n"], sort=False).size()
    return report(
        claims,
        predictions=_predictions(claims),
        measured=len(rows),
        not_measured=[
            {"search": method, "rows": int(n), "cells": int(k)} for (method, n), k in left.items()
        ],
        means=_means(table),
        rows=table.astype(object).where(table.notna(), None).to_dict("records"),
    )


def cells(
    networks: Iterable[str], sizes: Iterable[int], methods: Sequence[str], seeds: int
) -> Iterable[dict]:
    """The cells, those that the claims need first: our method on the networks of `AIMS`, then on
    the others, then the peers, whose first sample comes before their other ones.
    """
    networks = sorted(networks, key=lambda name: name not in AIMS)
    jobs = []
    for number, n in enumerate(sizes):
        for network in networks:
            for seed in range(seeds):
                for method in methods:
                    if not _applies(method, network):
                        continue
                    own = method == "order-counts"
                    jobs.append(
                        (
                            (not own, 0 if own else seed, number, network not in AIMS),
                            {"network": network, "n": n, "seed": seed, "method": method},
                        )
                    )
    jobs.sort(key=lambda job: job[0])
    return [job for _, job in jobs]


def _applies(method, network):
    if network in GAUSSIAN:
        return method not in ("order-counts", "miic")
    [member] = read_manifest()[f"network-{network}"].files.values()
    return member.shape[0] <= WIDEST.get(method, math.inf)


def _measure(one, limit):
    """What `cell` gives, or why it gave nothing."""
    arguments = {**one, "limit": limit, "memory": MEMORY}
    try:
        with folder_with() as folder:
            found = run(f"{__name__}.cell", arguments, folder=folder, limit=6 * limit)
    except PeerError as error:
        return {"status": status(error)}
    return {"status": "measured", **found}


def status(error: PeerError) -> str:
    """Why a cell gave nothing: 'timed out', or the last line of its error."""
    late = _TIMED_OUT in str(error) or "had not ended" in str(error)
    return "timed out" if late else error.reason[:200]


def _read(path):
    """Key to what was found, of the lines of ``path``."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line["key"]: line["found"] for line in map(json.loads, lines)}


_FILES = {
    "order-counts": ("count_score.py", "count_search.py"),
    "order": ("order_search.py", "order_state.py"),
}


def _code(method):
    """A checksum of the files of our own searches; nothing for the others."""
    folder = Path(discovery.__file__).parent / "engines"
    content = b"".join((folder / file).read_bytes() for file in _FILES.get(method, ()))
    return hashlib.sha256(content).hexdigest()[:12] if content else ""


def _claims(table):
    """The claims about the networks of `AIMS` that are measured."""
    claims = []
    if table.empty:
        return claims
    own = table[(table["method"] == "order-counts") & (table["n"] == table["n"].max())]
    for network, aim in AIMS.items():
        of = own[own["network"] == network]
        if of.empty:
            continue
        f1 = of.get("skeleton_f1", pd.Series(0.0, of.index)).fillna(0.0)  # 0 where it timed out
        claims.append(Claim.of(f"{network}: skeleton_f1", f1, f"at least {aim}"))
        done = of.dropna(subset="seconds") if "seconds" in of else of.iloc[:0]
        if len(done):
            what = f"{network}: CPU seconds"
            claims.append(Claim.of(what, done["seconds"], "at most 600", statistic="median"))
            what = f"{network}: peak MB"
            claims.append(Claim.of(what, done["peak_mb"], "at most 8192", statistic="median"))
    return claims


def _predictions(claims):
    """The predictions, as they were written before anything but the note's look was measured."""
    of = {network: [c for c in claims if c.name.startswith(f"{network}:")] for network in AIMS}
    looked = (
        "The score was chosen on one sample of each of seven other networks, without a look at "
        "this one."
    )
    texts = {
        "sachs": "On 10,000 rows of the network sachs the search over counts has a skeleton F1 of "
        "at least .72.",
        "pathfinder": "On 10,000 rows of pathfinder, with up to 63 states, it has a skeleton F1 of "
        "at least .79.",
        "diabetes": "On 10,000 rows of diabetes, 413 variables, it has a skeleton F1 of at least "
        ".79.",
        "pigs": "On 10,000 rows of pigs, 441 variables, it has a skeleton F1 of at least .94.",
    }
    notes = {"sachs": "One sample was seen before: its skeleton was found without an error."}
    return [
        prediction(
            f"{text} It takes at most 600 CPU seconds and 8 GB.",
            of[network],
            "changed" if network in notes and all(c.held for c in of[network]) else "",
            notes.get(network, looked),
        )
        for network, text in texts.items()
        if of[network]
    ]


def _means(table):
    """Means over the samples; how many of them were measured and timed out."""
    if table.empty:
        return []
    keys = ["network", "n", "method"]
    numbers = table.select_dtypes("number").drop(columns=["n", "seed"]).columns
    grouped = table.groupby(keys, sort=False)
    means = grouped[list(numbers)].mean().round(4)
    means["samples"] = grouped.size()
    for status in ("measured", "timed out"):
        means[status] = grouped["status"].agg(lambda of, status=status: int((of == status).sum()))
    means = means.reset_index()
    return means.astype(object).where(means.notna(), None).to_dict("records")


def figure(table: pd.DataFrame) -> plt.Figure:
    """Mean skeleton F1 of each network (rows) and method with the most rows measured; a cross at
    0 where the limit was exceeded.
    """
    most = table[table["n"] == table["n"].max()]
    networks = list(dict.fromkeys(most["network"]))
    picture, axes = plt.subplots(figsize=(7, 1.2 + 0.3 * len(networks)), layout="constrained")
    for i, (method, of) in enumerate(most.groupby("method", sort=False)):
        if "skeleton_f1" in of:
            means = of.groupby("network")["skeleton_f1"].mean().dropna()
            at = [networks.index(name) for name in means.index]
            axes.plot(means, at, "osD^vXP"[i % 7], c=f"C{i % 10}", label=method)
        late = of.loc[of["status"] == "timed out", "network"].unique()
        at = [networks.index(name) + 0.08 * i for name in late]
        axes.plot(np.zeros(len(at)), at, "x", c=f"C{i % 10}")
    for network, aim in AIMS.items():
        if network in networks:
            at = networks.index(network)
            axes.plot([aim, aim], [at - 0.4, at + 0.4], c="black", lw=1)
    axes.set_yticks(range(len(networks)), networks)
    axes.invert_yaxis()
    axes.set(xlim=(-0.03, 1.03), xlabel=f"skeleton F1, {table['n'].max():,} rows (x: timed out)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return picture
