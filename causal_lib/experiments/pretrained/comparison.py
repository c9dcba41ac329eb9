"""The pretrained discoverer beside its peers, on data it never saw: fresh seeds, held-out families,
networks, real cells.

Directed F1 counts an edge as right when its direction is. A class of graphs (PC, FLOP, order
search) is scored by the mean over random members, so that what no method can know costs both sides
the same. Seeds differ from the training's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import gadjid
import numpy as np
import pandas as pd

from causal_lib.data.sources import bayes_net, load
from causal_lib.discovery.auditing import audit
from causal_lib.discovery.distances import directed_f1, precision_recall_f1, random_members
from causal_lib.discovery.encoding import encode
from causal_lib.discovery.engines.pretrained.discoverer import edge_probabilities
from causal_lib.discovery.search import discover
from causal_lib.discovery.stability import calibration_error, reliability_table
from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, Measurements, prediction, report
from causal_lib.experiments.discovery.search import Case, package
from causal_lib.experiments.peers import PeerError
from causal_lib.experiments.programs.measuring import peak_mb
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.progress import progress_bar
from causal_lib.worlds.random_models import random_dag, sample_network, simulate
from causal_lib.worlds.random_tables import FAMILIES, HELD_OUT, draw

SEED = 10**6  # the benchmark's root; the training's are small
_GAINING = (
    "linear non-Gaussian",
    "additive nonlinear",
    "post-nonlinear",
    "heteroscedastic",
    "discrete",
    "mixed",
)
GAINS = {"linear Gaussian": "at least 0"}
GAINS |= dict.fromkeys(_GAINING, "at least 0.1") | dict.fromkeys(HELD_OUT, "at least 0.05")
"""Family -> claim about the difference of directed F1 to the better of FLOP and PC."""
FRESH = ("linear non-Gaussian", "additive nonlinear", "discrete", "interactions")
"""Families of `fresh`; the last was held out of the training."""
NETWORKS = ("asia", "child", "insurance", "alarm", "sachs")


def parent_aid(graph: CausalGraph, truth: CausalGraph, seed: int = 0) -> float:
    """Parent adjustment distance to the true DAG, the mean over those `random_members` that are
    acyclic (nan if none is).
    """
    true = truth.subgraph(graph.names).adjacency.astype(np.int8)
    found = []
    for one in random_members(graph, seed):
        if CausalGraph.from_adjacency(one, graph.names).kind == "DAG":
            found.append(
                gadjid.parent_aid(true, one.astype(np.int8), edge_direction="from row to column")[0]
            )
    return float(np.mean(found)) if found else float("nan")


def jittered(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Categories as scores, with noise of a tenth of their deviation: FLOP refuses variables that
    are functions of others.
    """
    values = encode(frame)[0] + 0.1 * np.random.default_rng(seed).standard_normal(frame.shape)
    return pd.DataFrame(values, columns=frame.columns)


CLASSICAL = ("flop", "order", "pc", "additive", "lingam")
Search = Callable[[pd.DataFrame, int], CausalGraph]


def peers(frame: pd.DataFrame) -> dict[str, Search]:
    """Name -> (frame, seed) -> graph, of the methods that take such columns.

    Where one is a function of others, FLOP and additive models get `jittered` scores, order search
    and PC shrunk covariances.
    """
    numeric = bool(frame.dtypes.eq(float).all())
    functions = any(finding.severity == "error" for finding in audit(frame).findings)
    scores = jittered if functions else lambda frame, seed: frame
    blocks = (
        (lambda frame: Statistics.from_frame(frame).shrunk(0.001))
        if functions
        else lambda frame: frame
    )
    test = "fisherz" if numeric else "mixed"
    found = {
        "flop": lambda frame, seed: discover(
            scores(frame, seed), method="flop", seed=seed, restarts=50
        ),
        "order": lambda frame, seed: discover(
            blocks(frame), method="order", seed=seed, restarts=20
        ),
        "pc": lambda frame, seed: discover(blocks(frame), method="pc", test=test),
        "additive": lambda frame, seed: discover(scores(frame, seed), method="additive"),
    }
    return found | (
        {"lingam": lambda frame, seed: discover(frame, method="lingam")} if numeric else {}
    )


class Table(Measurements):
    """Rows of scores; also the edges that the networks believe in (probability, whether true), for
    calibration.
    """

    def __init__(self):
        super().__init__("number")
        self.sure = []

    def score(
        self,
        setting: str,
        number: int,
        frame: pd.DataFrame,
        truth: CausalGraph,
        others: dict[str, Search],
    ):
        """Score the pretrained discoverer and ``others`` on one table."""
        found = discover(frame, method="pretrained", seed=number)
        graphs = {"pretrained": found}
        for name, search in others.items():
            graphs[name] = search(frame, number)
        for name, graph in graphs.items():
            self.add(
                setting,
                number,
                name,
                f1=directed_f1(graph, truth, number),
                aid=parent_aid(graph, truth, number),
                seconds=graph.info["seconds"],
                familiar=float(found.info["familiar"]),
            )
        believed = edge_probabilities(frame, seed=number)
        i, j = (~np.eye(len(truth.names), dtype=bool)).nonzero()
        true = truth.subgraph(believed.names).adjacency
        pairs = pd.DataFrame({"p": believed.directed[i, j], "true": true[i, j]})
        self.sure.append(
            pairs[pairs["p"] > 0.05].assign(setting=setting, familiar=believed.info["familiar"])
        )

    def gain_claim(
        self, setting: str, first: str, second: str, target: str, label: str | None = None
    ) -> Claim:
        """The claim about directed F1, first - second."""
        sentence = f"{setting}: directed F1, {label or first} - {second}"
        return Claim.of(sentence, self.difference(setting, "f1", first, second), target)

    def report(self, claims: list[Claim], **more: object) -> dict:
        """All of it as JSON types."""
        means, rows = self.tables(4, "list")
        return report(claims, means=means, **more, rows=rows)


def sure_edges(sure: pd.DataFrame, settings: Sequence[str]) -> list[Claim]:
    """The claims that four in five of the edges with a probability above .9 are right, on tables
    that are not flagged.
    """
    claims = []
    for setting in settings:
        part = sure[(sure["setting"] == setting) & sure["familiar"] & (sure["p"] > 0.9)]
        if len(part):
            claims.append(
                Claim.of(
                    f"{setting}: share right of edges with p > .9", part["true"], "at least 0.8"
                )
            )
    return claims


@benchmark(
    "pretrained.families",
    peer="FLOP, PC, order search, additive models, DirectLiNGAM on the same standardised tables",
)
def families(
    *,
    d: int = 20,
    n: int = 1000,
    degree: float = 2.0,
    tables: int = 20,
    names: Sequence[str] | None = None,
) -> dict:
    """Directed F1 on 20 tables of each family of random models, 20 variables, 1,000 rows; trained
    on or held out.

    Claims are about the better of FLOP and PC; ``best classical`` is the best of all for each
    family, chosen with the truth.
    """
    table = Table()
    claims = []
    best_of_all = []
    everything = [*FAMILIES, *HELD_OUT]
    names = list(names or everything)
    for name in progress_bar(names, delay=0, unit="family"):
        for number in range(tables):
            sample = draw(name, [SEED, everything.index(name), number], d=d, n=n, degree=degree)
            table.score(name, number, sample.frame, sample.graph, peers(sample.frame))

        def mean_f1(method, name=name):
            return table.of(name, method, "f1").mean()

        if name in GAINS:
            claims.append(
                table.gain_claim(name, "pretrained", max(("flop", "pc"), key=mean_f1), GAINS[name])
            )
        best = max(
            (method for method in CLASSICAL if len(table.of(name, method, "f1"))), key=mean_f1
        )
        gain = table.gain_claim(name, "pretrained", best, "above 0")
        about = {"setting": name, "method": best, "f1": mean_f1(best)}
        best_of_all.append(about | {"pretrained - it": gain.value, "interval": gain.interval})
    sure = pd.concat(table.sure)
    claims += sure_edges(sure, names)
    for what, group, limit in (
        ("in distribution", FAMILIES, "below 0.05"),
        ("held out", HELD_OUT, "below 0.08"),
    ):
        part = sure[sure["setting"].isin(list(group))]
        if len(part):
            error = calibration_error(reliability_table(part["p"], part["true"]))
            claims.append(Claim.of(f"{what}: expected calibration error", [error], limit))
    return table.report(claims, **{"best classical": best_of_all})


@benchmark("pretrained.fresh", peer="order search and PC on the same tables")
def fresh(
    *,
    d: int = 20,
    n: int = 1000,
    degree: float = 2.0,
    tables: int = 4,
    names: Sequence[str] = FRESH,
) -> dict:
    """Directed F1 and calibration on 4 fresh tables of each of three families that the networks
    were trained on and of one that was held out, 20 variables, 1,000 rows.
    """
    table = Table()
    claims = []
    gains = {}
    for number, name in enumerate(progress_bar(names, delay=0, unit="family")):
        for k in range(tables):
            sample = draw(name, [2 * SEED, number, k], d=d, n=n, degree=degree)
            others = peers(sample.frame)
            table.score(
                name, k, sample.frame, sample.graph, {key: others[key] for key in ("order", "pc")}
            )
        made = [
            table.gain_claim(name, "pretrained", one, "at least 0.1") for one in ("order", "pc")
        ]
        gains[name] = min(claim.value for claim in made)
        claims += made
    believed = pd.concat(table.sure)
    error = calibration_error(reliability_table(believed["p"], believed["true"]))
    sure = believed.loc[believed["p"] > 0.9, "true"]
    calibrated = [
        Claim.of("expected calibration error", [error], "below 0.08"),
        Claim.of("share right of edges with p > .9", sure, "at least 0.8"),
    ]
    listed = ", ".join(f"{gain:+.3f} on {name}" for name, gain in gains.items())
    predictions = [
        prediction(
            "A network trained beforehand on thousands of random models finds more directions than "
            "the order search and PC: its mean directed F1 is higher by at least 0.1 on fresh "
            "tables of each of three families that it was trained on and of one whose mechanism it "
            "has never seen.",
            claims,
            "failed",
            f"The lead over the better of the two is {listed}.",
        ),
        prediction(
            "Its probabilities mean what they say: expected calibration error below 0.08, and of "
            "the edges with p > 0.9 at least 80% are true.",
            calibrated,
            "changed",
            "Written after the first run of the benchmark of families, on other seeds.",
        ),
    ]
    return table.report([*claims, *calibrated], predictions=predictions)


@benchmark(
    "pretrained.networks",
    peer="FLOP on scores of the categories, jittered; on the cells all that families compares",
)
def networks(*, n: int = 1000, samples: int = 5, names: Sequence[str] = NETWORKS) -> dict:
    """Directed F1 and parent adjustment distance on 5 samples of 1,000 rows of each of five
    networks, and Sachs' cells.
    """
    table = Table()
    claims = []
    others = {
        "flop": lambda frame, seed: discover(
            jittered(frame, seed), method="flop", seed=seed, restarts=50
        )
    }
    for name in names:
        net = bayes_net(f"network-{name}")
        truth = CausalGraph.from_pyagrum(net)
        for number in range(samples):
            frame = sample_network(net, n, seed=SEED + number)
            table.score(name, number, frame, truth.subgraph(frame.columns), others)
        claims.append(table.gain_claim(name, "pretrained", "flop", "at least -0.05"))
        nearer = table.difference(name, "aid", "pretrained", "flop")
        claims.append(Claim.of(f"{name}: parent AID, pretrained - flop", nearer, "at most 0.05"))
    every = np.concatenate([table.difference(name, "f1", "pretrained", "flop") for name in names])
    claims.append(Claim.of("all networks: directed F1, pretrained - flop", every, "at least 0"))
    cells = load("sachs")
    consensus = load("network-sachs")
    truth = CausalGraph.from_edges(consensus.nodes, consensus.edges).subgraph(cells.columns)
    for scale, frame in (("raw", cells), ("log", np.log(cells + 1))):
        setting = f"sachs' cells, {scale}"
        table.score(setting, 0, frame, truth, peers(frame))
        label = "pretrained (or its fallback)"
        claims.append(table.gain_claim(setting, "pretrained", "flop", "at least 0", label))
    settings = list(dict.fromkeys(row["setting"] for row in table.rows))
    return table.report([*claims, *sure_edges(pd.concat(table.sure), settings)])


@benchmark(
    "pretrained.fitted",
    peer="the pretrained one, order search, additive models, DAGMA's mlp; gCastle's DAG-GNN for "
    "two minutes",
)
def fitted(
    *, d: int = 20, n: int = 1000, tables: int = 8, limit: float = 120, python: Path | None = None
) -> dict:
    """The graph network fitted to each table, on 8 models of simulate of each kind, 20 variables,
    1,000 rows.
    """
    settings = {
        "nonlinear": {"mechanism": "nonlinear"},
        "mixed nonlinear": {"mechanism": "nonlinear", "kinds": "mixed"},
        "linear Gaussian": {},
    }
    table = Table()
    claims = []
    for setting, how in settings.items():
        others = {
            "graph network": lambda frame, seed: discover(frame, method="graph_network", seed=seed),
            "order": lambda frame, seed: discover(frame, method="order", seed=seed, restarts=20),
            "additive": lambda frame, seed: discover(frame, method="additive"),
        }
        if "kinds" not in how:
            others["dagma mlp"] = lambda frame, seed: discover(
                frame, method="dagma", model="mlp", seed=seed
            )
        for number in range(tables):
            model = simulate(
                random_dag(d, degree=2.0, seed=SEED + number), n, seed=SEED + number, **how
            )
            table.score(setting, number, standardised(model.frame), model.graph, others)
        if how:
            claims.append(table.gain_claim(setting, "graph network", "order", "at least 0.05"))
        seconds = table.of(setting, "graph network", "seconds")
        claims.append(
            Claim.of(
                f"{setting}: seconds of the graph network",
                seconds,
                "at most 20",
                statistic="median",
            )
        )
    model = simulate(random_dag(d, degree=2.0, seed=SEED), n, seed=SEED, mechanism="nonlinear")
    case = Case(standardised(model.frame), model.frame, SEED, None, model.graph)
    try:
        found = package("dag-gnn (gcastle)", python, limit)(case)
        result = {"f1": directed_f1(found, model.graph), **found.info["measured"]}
    except PeerError as error:
        result = {"skipped": error.reason}
    return table.report(claims, **{"gCastle's DAG-GNN on the first nonlinear table": result})


def standardised(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers with mean 0 and variance 1."""
    return frame.apply(lambda c: (c - c.mean()) / c.std() if c.dtype == float else c)


@benchmark("pretrained.knowledge", peer="itself without knowledge")
def knowledge(
    *,
    d: int = 20,
    n: int = 1000,
    tables: int = 60,
    names: Sequence[str] = ("linear Gaussian", "mixed", "tables", "recommender"),
) -> dict:
    """Directed F1 within tiers, when the tiers are told and when not; 60 tables of each of four
    families.

    Three true tiers neither forbid nor order the pairs within one tier.
    """
    rows = []
    gains = []
    for name in progress_bar(names, delay=0, unit="family"):
        for number in range(tables):
            sample = draw(name, [SEED, 97, number], d=d, n=n, degree=2.0)
            tiers = [
                part.tolist() for part in np.array_split(np.array(sample.order, dtype=object), 3)
            ]
            tier = np.array(
                [
                    next(k for k, part in enumerate(tiers) if name in part)
                    for name in sample.graph.names
                ]
            )
            within = tier[:, None] == tier
            scores = {}
            for what, known in (("without", None), ("with tiers", Knowledge(tiers))):
                found = (
                    edge_probabilities(sample.frame, knowledge=known, seed=number).graph().adjacency
                )
                scores[what] = precision_recall_f1(found & within, sample.graph.adjacency & within)[
                    2
                ]
            rows.append({"setting": name, "number": number, **scores})
            gains.append(scores["with tiers"] - scores["without"])
    text = "directed F1 of the pairs within a tier, with tiers - without"
    means = (
        pd.DataFrame(rows)
        .drop(columns="number")
        .groupby("setting", sort=False)
        .mean()
        .round(4)
        .reset_index()
    )
    return report([Claim.of(text, gains, "above 0")], means=means.to_dict("records"), rows=rows)


@benchmark("pretrained.speed", peer="an absolute limit")
def speed(
    sizes: Sequence[tuple[int, str]] = ((20, "at most 1"), (50, "at most 5")),
    *,
    n: int = 1000,
    tables: int = 5,
) -> dict:
    """Seconds from the frame to the graph on one thread, 20 and 50 variables, 1,000 rows.

    Features and networks together; also the most memory taken.
    """
    claims = []
    rows = []
    warm = draw("mixed", [SEED, 99], d=6, n=200).frame
    discover(warm, method="pretrained")
    for d, limit in sizes:
        seconds = []
        for number in range(tables):
            family = "mixed" if number % 2 else "linear Gaussian"
            frame = draw(family, [SEED, 98, number], d=d, n=n, degree=2.0).frame
            seconds.append(discover(frame, method="pretrained").info["seconds"])
            rows.append({"d": d, "n": n, "seconds": round(seconds[-1], 3)})
        claims.append(Claim.of(f"d={d}, n={n}: seconds", seconds, limit, statistic="median"))
    drawn = draw("mixed", [SEED, 98, 0], d=20, n=100 * n, degree=2.0)
    seconds = discover(drawn.frame, method="pretrained").info["seconds"]
    rows.append({"d": 20, "n": 100 * n, "seconds": round(seconds, 3)})
    peak = peak_mb()
    claims.append(Claim.of("most memory of the process, MB", [peak], "at most 1000"))
    return report(claims, rows=rows)
