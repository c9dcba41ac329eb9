"""The discovery benchmark: order search beside its peers on the same simulated data, in one
process.

Packages of another environment run in a process of their own that reads the same rows and reports
its own CPU seconds.

Each part returns ``claims``, ``means``, and ``rows``, one for each graph and method. Seeds are 0,
1, 2, ... as they come; numeric columns are standardised. ``seconds`` are the CPU's on one thread
from the frame to the graph, since wall time would count what else the machine does;
``search_seconds`` leave the pass over the rows out. Graphs are compared as CPDAGs.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causal_lib import plots
from causal_lib.data.sources import bayes_net, load
from causal_lib.discovery.auditing import audit
from causal_lib.discovery.bootstrap import edge_stability
from causal_lib.discovery.distances import precision_recall_f1, shd
from causal_lib.discovery.engines.order_search import order_search
from causal_lib.discovery.score import bic
from causal_lib.discovery.search import discover
from causal_lib.discovery.sortability import r2_sortability, sort_and_regress, varsortability
from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, Measurements, prediction, report
from causal_lib.experiments.peers import PEERS, PeerError, folder_with, run
from causal_lib.graph import ARROW, CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.progress import progress_bar
from causal_lib.resampling import resampled_indices
from causal_lib.worlds.random_models import random_dag, sample_network, simulate

PACKAGES = ("notears (gcastle)", "dagma (package)")
"""Methods of `programs.graph_packages` that the parts compare."""
_VERSIONS = ("numpy", "numba", "flopsearch", "causal-learn", "pyagrum", "pyarrow")
_SIZES = (
    (20, 2, 100),
    (20, 4, 100),
    (50, 2, 40),
    (50, 4, 40),
    (100, 2, 10),
    (100, 4, 10),
    (200, 2, 10),
    (200, 4, 5),
)


@dataclass(frozen=True)
class Case:
    """What a method sees: the standardised ``frame``, the ``raw`` one, the knowledge; and the true
    ``graph``.
    """

    frame: pd.DataFrame
    raw: pd.DataFrame
    seed: int
    knowledge: Knowledge | None
    graph: CausalGraph


@benchmark("discovery.speed", peer="flopsearch, called on the same array")
def speed(
    sizes: Sequence[tuple[int, int, int]] = _SIZES,
    large: tuple[int, int, int] = (500, 2, 5),
    n: int = 1000,
    *,
    restarts: int = 20,
) -> dict:
    """Order search without knowledge, standardised linear Gaussian data of 1,000 rows, 20 restarts
    each.

    ``sizes`` are (variables, degree, graphs); on ``large`` both run without restarts.
    """
    rows = Comparison()
    claims = []
    for d, degree, graphs in sizes:
        setting = f"ER{degree}, d={d}"
        limit = "at most 0.35" if d <= 20 else "at most 0.25"
        searches = {"order": _order(restarts), "flop": _flop(restarts)}
        rows.compare(setting, graphs, searches, d=d, degree=degree, n=n, scored=True)
        claims += rows.ratio_claims(setting, "order", "flop", limit, "search_seconds")
        claims.append(rows.difference_claim(setting, "bic", "order", "flop", "at most 0.5"))
        claims.append(rows.difference_claim(setting, "shd", "order", "flop", "at most 1"))
    d, degree, graphs = large
    setting = f"ER{degree}, d={d}, no restarts"
    rows.compare(
        setting,
        graphs,
        {"order": _order(0), "flop": _flop(0)},
        d=d,
        degree=degree,
        n=n,
        scored=True,
    )
    claims += rows.ratio_claims(setting, "order", "flop", "below 1", "search_seconds")
    claims.append(rows.difference_claim(setting, "bic", "order", "flop", "below 0"))
    return rows.report(claims)


@benchmark(
    "discovery.tiers", peer="flopsearch without the tiers, and with the tiers imposed on its answer"
)
def tiers(
    degrees: Sequence[int] = (2, 4), *, d: int = 50, n: int = 1000, graphs: int = 20, k: int = 4
) -> dict:
    """Order search with 4 tiers of the true order, 50 variables, 1,000 rows, 20 restarts each.

    ``k`` is the number of tiers.
    """
    rows = Comparison()
    claims = []
    own = "order, tiers"
    without = "order, no tiers"
    flop = "flop, no tiers"
    after = "flop, tiers after"
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
        claims.append(Claim.of(f"{setting}: shd, {own} - half of {flop}", less, "at most 0"))
        claims.append(rows.difference_claim(setting, "shd", own, after, "at most 0"))
        claims += rows.ratio_claims(setting, own, without, "at most 0.5", "search_seconds")
    return rows.report(claims)


@benchmark("discovery.scale", peer="itself on standardised columns; order search")
def scale(*, d: int = 15, n: int = 1000, graphs: int = 5) -> dict:
    """What the raw scale of a simulation gives away: DAGMA and sorting by variance on raw and on
    standardised columns, 5 random linear models of 15 variables, 1,000 rows.

    ER2. Sorting by variance knows nothing but the variances.
    """
    rows = Comparison()
    setting = f"ER2, d={d}"
    searches = {}
    for scale, standardise in (("raw", False), ("standardised", True)):
        searches |= {
            f"sort by variance, {scale}": _on(
                scale, lambda frame, seed: sort_and_regress(frame, "variance")
            ),
            f"dagma, {scale}": _on(
                scale,
                lambda frame, seed, on=standardise: discover(frame, method="dagma", standardise=on),
            ),
            f"order, {scale}": _on(scale, lambda frame, seed: discover(frame, seed=0)),
        }
    rows.compare(setting, graphs, searches, d=d, n=n)
    raw = rows.of(setting, "dagma, raw", "shd")
    standard = rows.of(setting, "dagma, standardised", "shd")
    order = rows.of(setting, "order, standardised", "shd")
    claims = [
        Claim.of(
            f"{setting}: shd, dagma, standardised - twice that of dagma, raw",
            standard - 2 * raw,
            "at least 0",
        ),
        Claim.of(f"{setting}: shd, order - dagma, raw", order - raw, "below 0"),
        Claim.of(f"{setting}: shd, order - dagma, standardised", order - standard, "below 0"),
    ]
    predicted = prediction(
        "On raw simulated data DAGMA looks good only because the simulation writes the causal "
        "order into the variances: standardised, its SHD is at least twice as large. The order "
        "search, which sees correlations only, is better than both.",
        claims,
        "held",
    )
    return rows.report(claims, [predicted])


def _on(scale, search):
    """``search`` (frame, seed) on the raw or on the standardised columns of a case."""
    return lambda case: search(case.raw if scale == "raw" else case.frame, case.seed)


@benchmark(
    "discovery.peers",
    peer="causal-learn's BOSS and PC, gCastle's NOTEARS, the package dagma, our own dagma, "
    "baselines that sort",
)
def peers(*, d: int = 50, n: int = 1000, graphs: int = 5, python: Path | None = None) -> dict:
    """Order search on standardised linear Gaussian data, ER2, 50 variables, 1,000 rows.

    Peers run at their defaults.
    """
    rows = Comparison()
    setting = f"ER2, d={d}"
    own = {"order": _order(20), "order, 5 restarts": _order(5)}
    others = {"boss (causal-learn)": _boss, "pc (causal-learn)": _pc, "dagma": _discover("dagma")}
    rows.compare(setting, graphs, own | others | _packages(python) | _BASELINES, d=d, n=n)
    claims = []
    for peer, method in itertools.product(
        ("boss (causal-learn)", "pc (causal-learn)", "notears (gcastle)"), own
    ):
        if peer not in rows.skipped:
            claims += rows.ratio_claims(setting, peer, method, "at least 100")
            claims.append(rows.difference_claim(setting, "shd", method, peer, "below 0"))
    return rows.report(claims)


@benchmark(
    "discovery.mixed", peer="PC with each test, greedy search and MIIC of pyAgrum on quantile bins"
)
def mixed(*, d: int = 30, n: int = 2000, graphs: int = 10, bins: Sequence[int] = (3, 4)) -> dict:
    """A third each binary, categorical with 3-6 levels, numeric; ER2, 30 variables, 2,000 rows.

    Order search on blocks against methods that see numbers cut into quantile ``bins``.
    """
    rows = Comparison()
    claims = []
    setting = f"mixed ER2, d={d}"
    tests = {f"pc, {test}": _discover("pc", test=test) for test in ("fisherz", "mixed")}
    tests |= {f"pc, chisq, {b} bins": _discover("pc", test="chisq", bins=b) for b in bins}
    discrete = {
        f"{method}, {b} bins": _discover(method, bins=b)
        for method in ("greedy", "miic")
        for b in bins
    }
    rows.compare(setting, graphs, {"order": _order(20)} | tests | discrete, d=d, n=n, kinds="mixed")
    for what in ("skeleton_f1", "arrowhead_f1"):
        for others in (tests, discrete):  # the best of them, chosen with hindsight
            best = max(others, key=lambda method: rows.of(setting, method, what).mean())
            claims.append(rows.difference_claim(setting, what, "order", best, "above 0"))
    return rows.report(claims)


@benchmark("discovery.stability", peer="an absolute limit")
def stability(*, d: int = 50, n: int = 100_000, draws: int = 100, cores: int = 2) -> dict:
    """Order search on 100 bootstrap draws of 100,000 rows of 50 variables, 2 processes, wall
    time.
    """
    rows = Comparison()
    setting = f"ER2, d={d}, {n:,} rows, {draws} draws, {cores} processes"

    def search(case):
        # starts the processes
        edge_stability(case.frame[:500], n_boot=max(2, cores), n_jobs=cores, restarts=0)
        start = time.perf_counter()
        found = edge_stability(case.frame, n_boot=draws, n_jobs=cores, seed=case.seed).graph()
        return _with(found, seconds=time.perf_counter() - start)

    rows.compare(setting, 1, {"order": search}, d=d, n=n)
    seconds = rows.of(setting, "order", "seconds")
    return rows.report([Claim.of(f"{setting}: wall seconds", seconds, "at most 60")])


@benchmark("discovery.settings", peer="each other; also drawn in figures/bench_discovery.png")
def settings(*, d: int = 20, n: int = 1000, graphs: int = 3, python: Path | None = None) -> dict:
    """Every method on small simulations of each kind: 20 variables, 1,000 rows, standardised.

    Draws the figure ``bench_discovery``: SHD against seconds.
    """
    rows = Comparison()
    size = {"d": d, "n": n}
    numeric = {"order": _order(20), "flop": _discover("flop", restarts=20)}
    numeric |= {
        method: _discover(method) for method in ("boss", "grasp", "ges", "pc", "lingam", "dagma")
    }
    informed = {method: numeric[method] for method in ("order", "flop", "pc", "lingam", "dagma")}
    levels = {"greedy": _discover("greedy", bins=4), "miic": _discover("miic", bins=4)}
    blocks = {
        "order": _order(20),
        "flop": numeric["flop"],
        "pc": _discover("pc", test="mixed"),
        **levels,
    }
    rows.compare("linear Gaussian", graphs, numeric | _packages(python) | _BASELINES, **size)
    rows.compare("tiered, tiers given", graphs, informed, **size, kind="tiered", tiers=4)
    rows.compare("scale-free", graphs, numeric | _BASELINES, **size, kind="scale-free")
    rows.compare("exponential noise", graphs, numeric | _BASELINES, **size, noise="exponential")
    rows.compare("nonlinear", graphs, numeric | _BASELINES, **size, mechanism="nonlinear")
    rows.compare("mixed", graphs, blocks, **size, kinds="mixed")
    rows.compare(
        "3 hidden confounders", graphs, numeric | {"fci": _discover("fci")}, **size, hidden=3
    )
    picture = figure(pd.DataFrame(rows.rows))
    plots.save(picture, "bench_discovery")
    plt.close(picture)
    return rows.report([])


@benchmark("discovery.networks", peer="each other")
def networks(*, n: int = 2000, samples: int = 4, draws: int = 10) -> dict:
    """Every method on 4 samples of 2,000 rows of each of four networks of categories, on Sachs'
    cells, and on 10 bootstrap samples of the cells.
    """
    rows = Comparison()
    names = ("asia", "child", "insurance", "alarm")
    tables = {
        "pc, chisq": _discover("pc", test="chisq"),
        "miic": _discover("miic"),
        "greedy": _discover("greedy"),
    }
    blocks = {"order": {"method": "order"}, "pc, mixed": {"method": "pc", "test": "mixed"}}
    blocks |= {"fci, mixed": {"method": "fci", "test": "mixed"}}
    blocks = {name: _discover(shrunk=0.001, **call) for name, call in blocks.items()}
    scored = {name: _discover(name) for name in ("flop", "ges", "boss", "grasp", "dagma")}
    for network in names:
        net = bayes_net(f"network-{network}")
        graph = CausalGraph.from_pyagrum(net)
        cases = []
        for seed in range(samples):
            frame = sample_network(net, n, seed=seed + 1)
            cases.append(Case(frame, frame, seed, None, graph.cpdag().subgraph(frame.columns)))
        broken = any(f.severity == "error" for case in cases for f in audit(case.frame).findings)
        rows.measure(network, cases, tables | blocks | ({} if broken else scored))
    cells = np.log(load("sachs") + 1)
    network = load("network-sachs")
    numeric = ("order", "pc", "fci", *scored, "lingam", "pretrained")
    numeric = {name: _discover(name) for name in numeric}
    numeric |= {name: _discover(name, bins=3) for name in ("miic", "greedy")}
    true = CausalGraph.from_edges(network.nodes, network.edges).cpdag().subgraph(cells.columns)
    rows.measure("sachs", [Case(cells, cells, 0, None, true)], numeric)
    rng = np.random.default_rng(0)
    drawn = [cells.iloc[resampled_indices(len(cells), rng)] for _ in range(draws)]
    cases = [Case(frame, frame, seed, None, true) for seed, frame in enumerate(drawn)]
    rows.measure("sachs, bootstrap", cases, numeric)
    return rows.report(*_network_predictions(rows, names, numeric))


def _network_predictions(rows, networks, methods):
    """The claims about the networks and the cells, and the predictions that they decide."""
    look = "Written after a look at one sample."
    leads = {
        one: rows.difference(one, "skeleton_f1", "order", "pc, chisq").mean() for one in networks
    }
    lead = Claim.of(
        "mean over the networks: skeleton_f1, order - pc, chisq", leads.values(), "above 0"
    )
    found = {name: rows.of("sachs, bootstrap", name, "skeleton_f1") for name in methods}
    best = max(found, key=lambda name: found[name].mean())
    nearest = Claim.of("sachs, bootstrap: skeleton_f1 of the best method", found[best], "below 0.7")
    listed = ", ".join(f"{value:+.3f} on {one}" for one, value in leads.items())
    predictions = [
        prediction(
            "On samples of categorical networks with known truth the order search on blocks finds "
            "a better skeleton than PC with the χ² test does.",
            [lead],
            "changed",
            f"{look} The lead is {listed}.",
        ),
        prediction(
            "On the real cell data of Sachs and others no method reaches a skeleton F1 of 0.7 "
            "against the consensus network.",
            [nearest],
            "changed",
            f"{look} {best} comes nearest, with a mean of {found[best].mean():.2f}.",
        ),
    ]
    return [lead, nearest], predictions


def figure(table: pd.DataFrame) -> plt.Figure:
    """A panel for each setting of ``table`` (setting, method, seconds, shd, skeleton_shd): mean SHD
    against median seconds.

    Where the truth has hidden confounders, which no CPDAG shows, only adjacencies count.
    """
    settings = table["setting"].unique()
    methods = table["method"].unique()
    picture, panels = plt.subplots(
        2, len(settings) // 2 + 1, figsize=(11, 5.2), layout="constrained", squeeze=False
    )
    looks = {
        m: {"marker": f"${i + 1}$", "c": "black", "ms": 8, "ls": ""}
        for i, m in enumerate(_BASELINES)
    }
    for i, method in enumerate(m for m in methods if m not in looks):
        looks[method] = {"marker": "osD^vXP*<>hpd8"[i % 14], "c": f"C{i % 10}", "ms": 8, "ls": ""}
    limits = (table["seconds"].min() / 2, table["seconds"].max() * 2)
    for axes, setting in zip(panels.flat, settings, strict=False):
        what = "skeleton_shd" if "hidden" in setting else "shd"
        for method, group in table[table["setting"] == setting].groupby("method", sort=False):
            own = {"mec": "black", "ms": 11} if method == "order" else {}
            axes.plot(group["seconds"].median(), group[what].mean(), **looks[method] | own)
        axes.set(title=setting, xscale="log", xlim=limits, xlabel="CPU seconds")
        axes.set_ylim(min(0, axes.get_ylim()[0]), None)
        axes.set_ylabel("SHD" if what == "shd" else "SHD of the skeleton")
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(settings) :]:
        axes.axis("off")
    lines = [plt.Line2D([], [], **looks[method]) for method in methods]
    axes.legend(lines, methods, loc="center", frameon=False, ncols=2, fontsize=9)
    return picture


# ---- methods: a case in, a graph out, whose info may hold what it measured itself ---------------


def _discover(method, shrunk=0.0, **given):
    def search(case):
        # statistics are shrunken where categories are functions of others
        data = Statistics.from_frame(case.frame).shrunk(shrunk) if shrunk else case.frame
        return discover(data, method=method, seed=case.seed, knowledge=case.knowledge, **given)

    return search


def _order(restarts, informed=True):
    def search(case):
        statistics = Statistics.from_frame(case.frame)
        knowledge = case.knowledge if informed else None
        start = time.process_time()
        found = order_search(statistics, knowledge=knowledge, seed=case.seed, restarts=restarts)
        return _with(found, search_seconds=time.process_time() - start)

    return search


def _flop(restarts):
    """flopsearch alone, without the checks of `discover`; it cannot be seeded."""
    from flopsearch import flop

    def search(case):
        # [i, j] is 1 for i -> j, 2 like [j, i] for i -- j
        found = flop(case.frame.to_numpy(), 2.0, restarts=restarts)
        return CausalGraph.from_adjacency(found, case.frame.columns)

    return search


def _boss(case):
    from causallearn.search.PermutationBased.BOSS import boss

    random.seed(case.seed)  # it draws from Python's global random numbers
    return CausalGraph.from_causallearn(
        boss(case.frame.to_numpy(), verbose=False), list(case.frame.columns)
    )


def _pc(case):
    from causallearn.search.ConstraintBased.PC import pc

    return CausalGraph.from_causallearn(
        pc(case.frame.to_numpy(), show_progress=False).G, list(case.frame.columns)
    )


def _packages(python):
    return {method: package(method, python) for method in PACKAGES}


def package(
    method: str, python: Path | None = None, limit: float | None = None
) -> Callable[[Case], CausalGraph]:
    """The search of a method of `programs.graph_packages` by the interpreter of `make peers`.

    It raises `PeerError` where that cannot be had, fails, or takes longer than ``limit`` seconds.
    """

    def search(case):
        with folder_with(rows=case.frame.to_numpy()) as folder:
            found = run(
                "graph_packages.learn",
                {"method": method},
                python=python or PEERS,
                folder=folder,
                limit=limit,
            )
        adjacency = np.array(found["adjacency"])
        return CausalGraph.from_adjacency(
            adjacency, case.frame.columns, measured={"seconds": found["seconds"]}
        )

    return search


def _with(graph, **measured):
    return CausalGraph(graph.names, graph.marks, {"measured": measured})


_BASELINES = {
    "sort by R²": lambda case: sort_and_regress(case.frame, "r2"),
    "sort by raw variance": lambda case: sort_and_regress(case.raw, "variance"),
    "random order": lambda case: sort_and_regress(case.frame, "random", seed=case.seed),
}


# ---- rows and claims ----------------------------------------------------------------------------


class Comparison(Measurements):
    """Rows of scores and seconds; also how well each data set can be sorted, and which methods were
    skipped and why.
    """

    def __init__(self):
        super().__init__()
        self.sortability = []
        self.skipped = {}
        self.warm = set(PACKAGES)

    def compare(
        self,
        setting: str,
        graphs: int,
        searches: Mapping[str, Callable[[Case], CausalGraph]],
        *,
        d: int,
        n: int,
        kind: str = "er",
        degree: float = 2,
        tiers: int | None = None,
        scored: bool = False,
        **how,
    ) -> None:
        """Run every search on the simulations of seeds 0 to ``graphs`` - 1; new searches on a small
        one before.
        """
        small = _simulation(0, 6, 300, kind, 1, tiers, how)
        cases = [_simulation(seed, d, n, kind, degree, tiers, how) for seed in range(graphs)]
        self.measure(setting, cases, searches, small=small, scored=scored)
        for case in cases if searches.keys() >= _BASELINES.keys() else ():
            self.sortability.append(
                {
                    "setting": setting,
                    "seed": case.seed,
                    "raw varsortability": varsortability(case.raw, case.graph),
                    "r2_sortability": r2_sortability(case.frame, case.graph),
                }
            )

    def measure(
        self,
        setting: str,
        cases: Sequence[Case],
        searches: Mapping[str, Callable[[Case], CausalGraph]],
        *,
        small: Case | None = None,
        scored: bool = False,
    ) -> None:
        """Run every search on every case.

        New searches run on ``small`` (or the first case) before, so that compiling and imports are
        not measured.
        """
        for number, case in enumerate(
            progress_bar([small or cases[0], *cases], delay=0, desc=setting, unit="graph")
        ):
            for method, search in searches.items():
                if method in self.skipped or (number == 0 and method in self.warm):
                    continue
                try:
                    start = time.process_time()
                    found = search(case)
                    seconds = time.process_time() - start
                except PeerError as error:  # not tried again
                    self.skipped[method] = error.reason
                    continue
                self.warm.add(method)
                if number:
                    measured = {"seconds": seconds, **found.info.get("measured", {})}
                    if scored:
                        measured["bic"] = bic(Statistics.from_frame(case.frame), found)
                    self.add(setting, case.seed, method, **_scores(found, case), **measured)

    def ratio_claims(
        self, setting: str, first: str, second: str, target: str, *also: str
    ) -> list[Claim]:
        """Claims about the median of the times' ratio: all seconds and, ``also``, those of the
        search alone.
        """
        claims = []
        for what in ("seconds", *also):
            measured = any(
                what in row and (row["setting"], row["method"]) == (setting, second)
                for row in self.rows
            )
            ratio = self.of(setting, first, what) / self.of(
                setting, second, what if measured else "seconds"
            )
            claims.append(
                Claim.of(
                    f"{setting}: {what}, {first} / {second}", ratio, target, statistic="median"
                )
            )
        return claims

    def difference_claim(
        self, setting: str, what: str, first: str, second: str, target: str
    ) -> Claim:
        """The claim about the mean of first - second."""
        return Claim.of(
            f"{setting}: {what}, {first} - {second}",
            self.difference(setting, what, first, second),
            target,
        )

    def report(self, claims: Iterable[Claim], predictions: Iterable[Mapping] = ()) -> dict:
        """All of it as JSON types; a value that a method does not report is None."""
        means, rows = self.tables(6, "records")
        told = {"predictions": list(predictions)} if predictions else {}
        return report(
            claims,
            **told,
            skipped=self.skipped,
            sortability=self.sortability,
            means=means,
            rows=rows,
            versions={package: version(package) for package in _VERSIONS},
        )


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
    return {
        "shd": shd(found, true),
        "skeleton_shd": int((found.skeleton ^ true.skeleton).sum()) // 2,
        "skeleton_f1": precision_recall_f1(found.skeleton, true.skeleton)[2],
        "arrowhead_f1": precision_recall_f1(found.marks == ARROW, true.marks == ARROW)[2],
    }
