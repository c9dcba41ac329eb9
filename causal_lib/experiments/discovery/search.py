"""The discovery benchmark: order search beside its peers on the same simulated data, in one process.

Packages of another environment run in a process of their own that reads the same rows and tells its own CPU seconds.

Each part (`speed`, `tiers`, `peers`, `mixed`, `stability`, `settings`, `networks`) returns what `causal-lib bench discovery.PART`
writes: ``claims`` (`bench.claim`), ``means``, and ``rows``, one for each graph and method. Seeds are 0, 1, 2, ... as they
come; numeric columns are standardised. ``seconds`` are the CPU's on one thread (wall time would count what else the machine
does) from the frame to the graph; ``search_seconds`` leave the pass over the rows out. Graphs are compared as CPDAGs.
"""

import itertools
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causal_lib import paths, plots
from causal_lib.data.sources import bayes_net, load
from causal_lib.discovery.auditing import audit
from causal_lib.discovery.bootstrap import edge_stability
from causal_lib.discovery.distances import precision_recall_f1, shd
from causal_lib.discovery.engines.order_search import order_search
from causal_lib.discovery.score import bic
from causal_lib.discovery.search import discover
from causal_lib.discovery.sortability import r2_sortability, sort_and_regress, varsortability
from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.bench import claim
from causal_lib.graph import ARROW, CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.progress import progress_bar
from causal_lib.worlds.random_models import random_dag, sample_network, simulate

PACKAGES = {
    "notears (gcastle)": "from castle.algorithms import Notears\nmodel = Notears()",
    "dagma (package)": "from dagma.linear import DagmaLinear\nmodel = DagmaLinear(loss_type='l2')",
}
"""Method -> code that makes its ``model`` with the package's defaults, run by the interpreter of `make peers`."""

_PACKAGE = """
import json, time
import numpy as np
rows = np.load("rows.npy")
{code}
start = time.process_time()
found = model.learn(rows) if hasattr(model, "learn") else model.fit(rows)
seconds = time.process_time() - start
np.save("adjacency.npy", np.asarray(model.causal_matrix if found is None else found))
print(json.dumps(seconds))
"""
_VERSIONS = ("numpy", "numba", "flopsearch", "causal-learn", "pyagrum", "pyarrow")
_SIZES = ((20, 2, 100), (20, 4, 100), (50, 2, 40), (50, 4, 40), (100, 2, 10), (100, 4, 10), (200, 2, 10), (200, 4, 5))


class Skipped(Exception):
    """A method that cannot be had here, and why."""


@dataclass(frozen=True)
class Case:
    """What a method sees: the standardised ``frame``, the ``raw`` one, what is known; and the true ``graph``."""

    frame: pd.DataFrame
    raw: pd.DataFrame
    seed: int
    knowledge: Knowledge | None
    graph: CausalGraph


def speed(
    sizes: Sequence[tuple[int, int, int]] = _SIZES,
    large: tuple[int, int, int] = (500, 2, 5),
    n: int = 1000,
    *,
    restarts: int = 20,
) -> dict:
    """Order search against flopsearch on (variables, degree, graphs), ``restarts`` each; ``large``: both without restarts."""
    rows, claims = _Rows(), []
    for d, degree, graphs in sizes:
        setting, limit = f"ER{degree}, d={d}", "at most 0.35" if d <= 20 else "at most 0.25"
        searches = {"order": _order(restarts), "flop": _flop(restarts)}
        rows.compare(setting, graphs, searches, d=d, degree=degree, n=n, scored=True)
        claims += rows.ratios(setting, "order", "flop", limit, "search_seconds")
        claims.append(rows.difference(setting, "bic", "order", "flop", "at most 0.5"))
        claims.append(rows.difference(setting, "shd", "order", "flop", "at most 1"))
    d, degree, graphs = large
    setting = f"ER{degree}, d={d}, no restarts"
    rows.compare(setting, graphs, {"order": _order(0), "flop": _flop(0)}, d=d, degree=degree, n=n, scored=True)
    claims += rows.ratios(setting, "order", "flop", "below 1", "search_seconds")
    return rows.report([*claims, rows.difference(setting, "bic", "order", "flop", "below 0")])


def tiers(degrees: Sequence[int] = (2, 4), *, d: int = 50, n: int = 1000, graphs: int = 20, k: int = 4) -> dict:
    """Order search with ``k`` tiers of the true order against FLOP, and against itself without them."""
    rows, claims = _Rows(), []
    own, without, flop, after = "order, tiers", "order, no tiers", "flop, no tiers", "flop, tiers after"
    searches = {
        own: _order(20),
        without: _order(20, informed=False),
        flop: _flop(20),
        after: _discover("flop", restarts=20),
    }
    for degree in degrees:
        setting = f"ER{degree}, d={d}, {k} tiers"
        rows.compare(setting, graphs, searches, d=d, degree=degree, n=n, tiers=k)
        less = rows.of(setting, own, "shd") - rows.of(setting, flop, "shd") / 2
        claims.append(claim(f"{setting}: shd, {own} - half of {flop}", less, "at most 0"))
        claims.append(rows.difference(setting, "shd", own, after, "at most 0"))
        claims += rows.ratios(setting, own, without, "at most 0.5", "search_seconds")
    return rows.report(claims)


def peers(*, d: int = 50, n: int = 1000, graphs: int = 5, python: Path | None = None) -> dict:
    """Order search against causal-learn's BOSS and PC (their defaults), NOTEARS, DAGMA and sorting."""
    rows, setting, named = _Rows(), f"ER2, d={d}", ("boss (causal-learn)", "pc (causal-learn)", "notears (gcastle)")
    own = {"order": _order(20), "order, 5 restarts": _order(5)}
    searches = own | {named[0]: _boss, named[1]: _pc, "dagma": _discover("dagma")} | _packages(python) | _BASELINES
    rows.compare(setting, graphs, searches, d=d, n=n)
    claims = []
    for peer, method in itertools.product(named, own):
        if peer not in rows.skipped:
            claims += rows.ratios(setting, peer, method, "at least 100")
            claims.append(rows.difference(setting, "shd", method, peer, "below 0"))
    return rows.report(claims)


def mixed(*, d: int = 30, n: int = 2000, graphs: int = 10, bins: Sequence[int] = (3, 4)) -> dict:
    """Order search on blocks against PC with each of its tests and pyAgrum on numbers cut into quantile ``bins``."""
    rows, setting, claims = _Rows(), f"mixed ER2, d={d}", []
    tests = {f"pc, {test}": _discover("pc", test=test) for test in ("fisherz", "mixed")}
    tests |= {f"pc, chisq, {b} bins": _discover("pc", test="chisq", bins=b) for b in bins}
    discrete = {f"{method}, {b} bins": _discover(method, bins=b) for method in ("greedy", "miic") for b in bins}
    rows.compare(setting, graphs, {"order": _order(20)} | tests | discrete, d=d, n=n, kinds="mixed")
    for what in ("skeleton_f1", "arrowhead_f1"):
        for others in (tests, discrete):  # the best of them, chosen with hindsight
            best = max(others, key=lambda method: rows.of(setting, method, what).mean())
            claims.append(rows.difference(setting, what, "order", best, "above 0"))
    return rows.report(claims)


def stability(*, d: int = 50, n: int = 100_000, draws: int = 100, cores: int = 2) -> dict:
    """Wall seconds of ``draws`` bootstrap graphs from the frame, in ``cores`` processes."""
    rows, setting = _Rows(), f"ER2, d={d}, {n:,} rows, {draws} draws, {cores} processes"

    def search(case):
        edge_stability(case.frame[:500], n_boot=cores, n_jobs=cores, restarts=0)  # starts the processes
        start = time.perf_counter()
        found = edge_stability(case.frame, n_boot=draws, n_jobs=cores, seed=case.seed).graph()
        return _with(found, seconds=time.perf_counter() - start)

    rows.compare(setting, 1, {"order": search}, d=d, n=n)
    return rows.report([claim(f"{setting}: wall seconds", rows.of(setting, "order", "seconds"), "at most 60")])


def settings(*, d: int = 20, n: int = 1000, graphs: int = 3, python: Path | None = None) -> dict:
    """All methods on simulations of every kind, and the figure ``bench_discovery``: SHD against seconds."""
    rows, size = _Rows(), {"d": d, "n": n}
    numeric = {"order": _order(20), "flop": _discover("flop", restarts=20)}
    numeric |= {method: _discover(method) for method in ("boss", "grasp", "ges", "pc", "lingam", "dagma")}
    informed = {method: numeric[method] for method in ("order", "flop", "pc", "lingam", "dagma")}
    levels = {"greedy": _discover("greedy", bins=4), "miic": _discover("miic", bins=4)}
    blocks = {"order": _order(20), "flop": numeric["flop"], "pc": _discover("pc", test="mixed"), **levels}
    rows.compare("linear Gaussian", graphs, numeric | _packages(python) | _BASELINES, **size)
    rows.compare("tiered, tiers given", graphs, informed, **size, kind="tiered", tiers=4)
    rows.compare("scale-free", graphs, numeric | _BASELINES, **size, kind="scale-free")
    rows.compare("exponential noise", graphs, numeric | _BASELINES, **size, noise="exponential")
    rows.compare("nonlinear", graphs, numeric | _BASELINES, **size, mechanism="nonlinear")
    rows.compare("mixed", graphs, blocks, **size, kinds="mixed")
    rows.compare("3 hidden confounders", graphs, numeric | {"fci": _discover("fci")}, **size, hidden=3)
    picture = figure(pd.DataFrame(rows.rows))
    plots.save(picture, "bench_discovery")
    plt.close(picture)
    return rows.report([])


def networks(*, n: int = 2000, samples: int = 4) -> dict:
    """The methods of notebook 05 on samples of known networks of categories, and on Sachs' cells; FLOP too."""
    rows = _Rows()
    tables = {"pc, chisq": _discover("pc", test="chisq"), "miic": _discover("miic"), "greedy": _discover("greedy")}
    blocks = {"order": {"method": "order"}, "pc, mixed": {"method": "pc", "test": "mixed"}}
    blocks |= {"fci, mixed": {"method": "fci", "test": "mixed"}}
    blocks = {name: _discover(shrunk=0.001, **call) for name, call in blocks.items()}
    scored = {name: _discover(name) for name in ("flop", "ges", "boss", "grasp", "dagma")}
    for network in ("asia", "child", "insurance", "alarm"):
        net = bayes_net(f"network-{network}")
        graph, cases = CausalGraph.from_pyagrum(net), []
        for seed in range(samples):
            frame = sample_network(net, n, seed=seed + 1)
            cases.append(Case(frame, frame, seed, None, graph.cpdag().subgraph(frame.columns)))
        broken = any(f.severity == "error" for case in cases for f in audit(case.frame).findings)
        rows.measure(network, cases, tables | blocks | ({} if broken else scored))
    cells, network = np.log(load("sachs") + 1), load("network-sachs")
    numeric = {name: _discover(name) for name in ("order", "pc", "fci", *scored, "lingam")}
    numeric |= {name: _discover(name, bins=3) for name in ("miic", "greedy")}
    true = CausalGraph.from_edges(network.nodes, network.edges).cpdag()
    rows.measure("sachs", [Case(cells, cells, 0, None, true.subgraph(cells.columns))], numeric)
    return rows.report([])


def figure(table: pd.DataFrame) -> plt.Figure:
    """A panel for each setting of ``table`` (setting, method, seconds, shd, skeleton_shd): mean SHD against median seconds.

    Where the truth has hidden confounders, which no CPDAG shows, only adjacencies count.
    """
    kinds, methods = table["setting"].unique(), table["method"].unique()
    picture, panels = plt.subplots(2, len(kinds) // 2 + 1, figsize=(11, 5.2), layout="constrained", squeeze=False)
    looks = {m: {"marker": f"${i + 1}$", "c": "black", "ms": 8, "ls": ""} for i, m in enumerate(_BASELINES)}
    for i, method in enumerate(m for m in methods if m not in looks):
        looks[method] = {"marker": "osD^vXP*<>hpd8"[i % 14], "c": f"C{i % 10}", "ms": 8, "ls": ""}
    limits = table["seconds"].min() / 2, table["seconds"].max() * 2
    for axes, setting in zip(panels.flat, kinds, strict=False):
        what = "skeleton_shd" if "hidden" in setting else "shd"
        for method, group in table[table["setting"] == setting].groupby("method", sort=False):
            own = {"mec": "black", "ms": 11} if method == "order" else {}
            axes.plot(group["seconds"].median(), group[what].mean(), **looks[method] | own)
        axes.set(
            title=setting, xscale="log", xlim=limits, xlabel="CPU seconds", ylim=(min(0, axes.get_ylim()[0]), None)
        )
        axes.set_ylabel("SHD" if what == "shd" else "SHD of the skeleton")
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(kinds) :]:
        axes.axis("off")
    lines = [plt.Line2D([], [], **looks[method]) for method in methods]
    axes.legend(lines, methods, loc="center", frameon=False, ncols=2, fontsize=9)
    return picture


# ---- methods: a case in, a graph out, whose info may hold what it measured itself -----------------------


def _discover(method, shrunk=0.0, **given):
    def search(case):  # shrunken statistics, where categories are functions of others
        data = Statistics.from_frame(case.frame).shrunk(shrunk) if shrunk else case.frame
        return discover(data, method=method, seed=case.seed, knowledge=case.knowledge, **given)

    return search


def _order(restarts, informed=True):
    def search(case):
        statistics, start = Statistics.from_frame(case.frame), time.process_time()
        found = order_search(
            statistics, knowledge=case.knowledge if informed else None, seed=case.seed, restarts=restarts
        )
        return _with(found, search_seconds=time.process_time() - start)

    return search


def _flop(restarts):
    """flopsearch itself, spared what `discover` does beside; it cannot be seeded."""
    from flopsearch import flop

    def search(case):
        found = flop(case.frame.to_numpy(), 2.0, restarts=restarts)  # [i, j] is 1 for i -> j, 2 like [j, i] for i -- j
        return CausalGraph.from_adjacency(found, case.frame.columns)

    return search


def _boss(case):
    from causallearn.search.PermutationBased.BOSS import boss

    random.seed(case.seed)  # it draws from Python's global random numbers
    return CausalGraph.from_causallearn(boss(case.frame.to_numpy(), verbose=False), list(case.frame.columns))


def _pc(case):
    from causallearn.search.ConstraintBased.PC import pc

    return CausalGraph.from_causallearn(pc(case.frame.to_numpy(), show_progress=False).G, list(case.frame.columns))


def _packages(python):
    return {method: package(code, python) for method, code in PACKAGES.items()}


def package(code: str, python: Path | None = None, limit: float | None = None) -> Callable[[Case], CausalGraph]:
    """The search of ``code``'s ``model`` by the interpreter of `make peers`; `Skipped` beyond ``limit`` seconds."""
    python = python or paths.ROOT / ".peers" / "bin" / "python"

    def search(case):
        if not Path(python).exists():
            raise Skipped("no environment of peers; build it with `make peers`")
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "rows.npy", case.frame.to_numpy())
            command, how = [python, "-c", _PACKAGE.format(code=code)], {"capture_output": True, "text": True}
            try:
                child = subprocess.run(command, cwd=folder, check=False, timeout=limit, **how)
            except subprocess.TimeoutExpired:
                raise Skipped(f"had not ended after {limit:.0f} seconds") from None
            if child.returncode:
                why = [f"ended with status {child.returncode}", *child.stderr.strip().splitlines()][-1]
                raise Skipped(why.replace(str(paths.ROOT), ".").replace(folder, "."))
            found, seconds = np.load(Path(folder) / "adjacency.npy"), json.loads(child.stdout.splitlines()[-1])
        return CausalGraph.from_adjacency(found, case.frame.columns, measured={"seconds": seconds})

    return search


def _with(graph, **measured):
    return CausalGraph(graph.names, graph.marks, {"measured": measured})


_BASELINES = {
    "sort by R²": lambda case: sort_and_regress(case.frame, "r2"),
    "sort by raw variance": lambda case: sort_and_regress(case.raw, "variance"),
    "random order": lambda case: sort_and_regress(case.frame, "random", seed=case.seed),
}


# ---- rows and claims ----------------------------------------------------------------------------------------


class _Rows:
    """What was measured: one row for each setting, seed and method."""

    def __init__(self):
        self.rows, self.sortability, self.skipped, self.warm = [], [], {}, set(PACKAGES)

    def compare(
        self, setting: str, graphs: int, searches: dict[str, Callable[[Case], CausalGraph]], *, d, n, kind="er", degree=2,
        tiers=None, scored=False, **how,
    ):  # fmt: skip
        """Run every search on the simulations of seeds 0 to ``graphs`` - 1; new searches on a small one before."""
        small = _simulation(0, 6, 300, kind, 1, tiers, how)
        cases = [_simulation(seed, d, n, kind, degree, tiers, how) for seed in range(graphs)]
        self.measure(setting, cases, searches, small=small, scored=scored)
        for case in cases if searches.keys() >= _BASELINES.keys() else ():
            raw, r2 = varsortability(case.raw, case.graph), r2_sortability(case.frame, case.graph)
            about = {"setting": setting, "seed": case.seed}
            self.sortability.append({**about, "raw varsortability": raw, "r2_sortability": r2})

    def measure(self, setting, cases, searches, *, small=None, scored=False):
        """Run every search on every case, and before that new ones on ``small`` (or the first case): compiling, imports."""
        for number, case in enumerate(progress_bar([small or cases[0], *cases], delay=0, desc=setting, unit="graph")):
            for method, search in searches.items():
                if method in self.skipped or (number == 0 and method in self.warm):
                    continue
                try:
                    start = time.process_time()
                    found = search(case)
                    seconds = time.process_time() - start
                except Skipped as reason:  # not tried again
                    self.skipped[method] = str(reason)
                    continue
                self.warm.add(method)
                if number:
                    measured = {"seconds": seconds, **found.info.get("measured", {})}
                    measured |= {"bic": bic(Statistics.from_frame(case.frame), found)} if scored else {}
                    about = {"setting": setting, "seed": case.seed, "method": method}
                    self.rows.append({**about, **_scores(found, case), **measured})

    def of(self, setting: str, method: str, what: str) -> np.ndarray:
        """The values of one method, in the order of the seeds."""
        return np.array([r[what] for r in self.rows if (r["setting"], r["method"]) == (setting, method)], dtype=float)

    def ratios(self, setting: str, first: str, second: str, target: str, *also: str) -> list[dict]:
        """Claims about the median of the times' ratio: all seconds and, ``also``, those of the search alone."""
        claims = []
        for what in ("seconds", *also):
            there = [r for r in self.rows if what in r and (r["setting"], r["method"]) == (setting, second)]
            ratio = self.of(setting, first, what) / self.of(setting, second, what if there else "seconds")
            claims.append(claim(f"{setting}: {what}, {first} / {second}", ratio, target, statistic="median"))
        return claims

    def difference(self, setting: str, what: str, first: str, second: str, target: str) -> dict:
        """The claim about the mean of first - second."""
        values = self.of(setting, first, what) - self.of(setting, second, what)
        return claim(f"{setting}: {what}, {first} - {second}", values, target)

    def report(self, claims: list[dict]) -> dict:
        """All of it as JSON types; what a method does not tell is null."""
        table = pd.DataFrame(self.rows)
        means = table.drop(columns="seed").groupby(["setting", "method"], sort=False).mean().reset_index()
        plain = [json.loads(part.to_json(orient="records", double_precision=6)) for part in (means, table)]
        about = {"skipped": self.skipped, "sortability": self.sortability}
        versions = {package: version(package) for package in _VERSIONS}
        return {"claims": claims, **about, "means": plain[0], "rows": plain[1], "versions": versions}


def _simulation(seed, d, n, kind, degree, tiers, how):
    sim = simulate(random_dag(d, kind=kind, degree=degree, seed=seed), n, seed=seed, **how)
    numbers = sim.frame.select_dtypes("number")
    frame = sim.frame.assign(**(numbers - numbers.mean()) / numbers.std(ddof=0))
    return Case(frame, sim.frame, seed, sim.knowledge_of_tiers(tiers) if tiers else None, sim.graph)


def _scores(found, case):
    """Distances of the CPDAGs; from the true graph as it is where it has hidden confounders (↔)."""
    honoured = case.knowledge if case.knowledge and not case.knowledge.violations(found) else None
    found = found.cpdag(honoured) if found.kind == "DAG" else found
    true = case.graph.cpdag(case.knowledge) if case.graph.kind == "DAG" else case.graph
    skeletons, arrows = (found.skeleton, true.skeleton), (found.marks == ARROW, true.marks == ARROW)
    scores = {"shd": shd(found, true), "skeleton_shd": int((skeletons[0] ^ skeletons[1]).sum()) // 2}
    return scores | {
        "skeleton_f1": precision_recall_f1(*skeletons)[2],
        "arrowhead_f1": precision_recall_f1(*arrows)[2],
    }
