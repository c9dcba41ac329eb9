"""The search methods behind `discover`: each converts at its own border and is described by a
`Method`.

Kinds of variables: 'numeric' methods take numbers and booleans; 'scored' ones also categories,
turned into one column each by optimal scaling (`encode`); 'mixed' ones take categories as blocks of
indicators; 'discrete' ones take levels, and numbers only cut into quantile bins. Gaussian methods
see the data through count and correlations alone, so that `Statistics` are enough. A ``score`` is
smaller for a better graph.
"""

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
from scipy.linalg import cholesky, qr

from causal_lib.discovery.engines import constraint
from causal_lib.discovery.engines.count_score import MAX_LEVELS, SCORES, make_table
from causal_lib.discovery.engines.count_search import search_counts
from causal_lib.discovery.engines.environment_search import search_environments
from causal_lib.discovery.engines.order_fci import CovarianceSeparation, order_fci
from causal_lib.discovery.engines.order_search import search_orders
from causal_lib.discovery.environments import Environments
from causal_lib.discovery.score import gaussian_bic
from causal_lib.discovery.table import Table
from causal_lib.graph import ARROW, NONE, TAIL, CausalGraph
from causal_lib.knowledge import Knowledge


@dataclass(frozen=True)
class Setting:
    """An option of a method: its default and the values it may have.

    choices : what may be chosen, the default first; empty where any number from ``low`` to ``high``
        will do (a whole one where ``low`` is an int), or, without these, anything.
    """

    default: object = None
    low: float | None = None
    high: float | None = None
    choices: tuple = ()

    def checked(self, name: str, value):
        """``value`` as the method takes it; ValueError where it may not be chosen."""
        if self.choices and value not in self.choices:
            raise ValueError(
                f"{name}={value!r}: choose one of {', '.join(map(repr, self.choices))}"
            )
        if self.low is None or value is None:
            return value
        kind = type(self.low)
        if not self.low <= value <= self.high or kind(value) != value:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"{name}={value!r} must be {what} from {self.low} to {self.high}")
        return kind(value)


def _choice(*choices):
    return Setting(choices[0], choices=choices)


@dataclass(frozen=True)
class Method:
    """A search method and what it asks for.

    search : (table, knowledge, seed, **settings) -> `CausalGraph` whose marks say what the method
        claims, neither more nor less; its ``info`` may hold encoding, score and overruled.
    graph : what it finds: 'CPDAG', 'DAG' or 'PAG'.
    assumes : one line: what must hold beside independent rows.
    settings : name -> `Setting`.
    knowledge : 'search' (used while searching), 'after' (imposed on the answer) or 'none'
        (refused).
    rows : whether the rows are needed; else `Statistics` are enough, at least under the default
        settings.
    variables : 'numeric', 'scored', 'mixed' or 'discrete', as in the module's first lines.
    functions : whether columns may be functions of others; discrete methods and tests on tables
        take them anyway.
    missing : whether values may be missing.
    counts : whether it counts levels and nothing else. Then `audit` looks at each column alone, and
        columns may be functions or copies of each other.
    environments : the search of rows from several environments, (environments, knowledge, seed,
        **settings); None where there is none.
    """

    search: Callable[..., CausalGraph]
    graph: str
    assumes: str
    settings: Mapping[str, Setting]
    knowledge: str = "search"
    rows: bool = False
    variables: str = "scored"
    functions: bool = False
    missing: bool = False
    counts: bool = False
    environments: Callable[..., CausalGraph] | None = None

    @property
    def defaults(self) -> dict[str, object]:
        """Setting -> its value where none is given."""
        return {name: setting.default for name, setting in self.settings.items()}


# ---- what a method sees of the data --------------------------------------------------------------


def discretise(frame: pd.DataFrame, bins: int | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """``frame`` as integer codes of levels, and how each number was cut; numbers of over two values
    need ``bins``.
    """
    codes = {}
    encoding = {}
    for name, column in frame.items():
        distinct = column.nunique()
        if pd.api.types.is_numeric_dtype(column.dtype) and distinct > max(2, bins or 2):
            if bins is None:
                raise ValueError(
                    f"column {name!r} is a number of {distinct} values; set bins=k to cut it into "
                    "k quantile bins, make it a "
                    "category (astype('category')), or use a method for numbers: "
                    f"{method_names(lambda m: m.variables != 'discrete')}"
                )
            column = pd.qcut(column.astype(float), bins, labels=False, duplicates="drop")
            encoding[str(name)] = f"{column.nunique()} quantile bins"
            if column.nunique() < 2:
                raise ValueError(
                    f"column {name!r}: {bins} quantile bins fall into one; raise bins, or cut it "
                    "with pd.cut"
                )
        codes[name] = pd.factorize(column, sort=True)[0]
    return pd.DataFrame(codes), encoding


def _correlations(table, standardise=True):
    """(d, d) correlations (or covariances) of one column a variable, the count of rows, names,
    encoding.
    """
    if table.frame is not None:
        values, encoding = table.encoded(standardise)
        return values.T @ values / len(values), len(values), table.names, encoding
    statistics = table.statistics
    for name, levels, width in zip(
        statistics.names, statistics.levels, statistics.widths, strict=True
    ):
        if width > 1:
            mixed = method_names(lambda m: m.variables == "mixed" and not m.rows)
            raise ValueError(
                f"variable {name!r} has {len(levels)} levels in these Statistics and one column "
                "is needed; pass the rows, or "
                f"use a method for mixed data: {mixed} (PC and FCI with test='mixed')"
            )
    matrix = statistics.correlation if standardise else statistics.cov
    return matrix, statistics.count, table.names, {}


def _blocks(table):
    """`Statistics` of ``table`` and the encoding of its categories."""
    statistics = table.statistics
    levels = zip(statistics.names, statistics.levels, strict=True)
    return statistics, {
        name: f"{len(own) - 1} indicators" for name, own in levels if own is not None
    }


def _with_info(graph, encoding, **info):
    return replace(graph, info={**graph.info, "encoding": encoding, **info})


def need_rows(table: Table, what: str) -> pd.DataFrame:
    """The frame of ``table``; ValueError that names methods for which `Statistics` are enough where
    it has none.
    """
    if table.frame is None:
        raise ValueError(
            f"{what} needs rows; Statistics are enough for: {method_names(lambda m: not m.rows)}"
        )
    return table.frame


def method_names(which: Callable[[Method], bool]) -> str:
    """Names of the methods for which ``which`` holds, for messages."""
    return ", ".join(name for name, method in METHODS.items() if which(method))


# ---- scores over Gaussian correlations -----------------------------------------------------------


def _few_rows(correlation, count, penalty):
    """A few rows with these correlations, and the penalty that gives the same search at a cost that
    n does not change.

    For engines that read rows although their score sees nothing but covariances.
    """
    d = len(correlation)
    few = int(min(count, max(2 * d, 50)))
    # mean 0, orthogonal
    waves = np.cos(np.outer(np.arange(few) + 0.5, np.arange(1, d + 1)) * np.pi / few)
    rows = np.sqrt(few) * qr(waves, mode="economic")[0] @ cholesky(correlation)
    return rows, penalty * few / count * np.log(count) / np.log(few)


def _flop(table, knowledge, seed, *, penalty, restarts):
    from flopsearch import flop

    correlation, count, names, encoding = _correlations(table)
    # [i, j]: 1 i -> j, 2 i - j
    theirs = np.asarray(flop(*_few_rows(correlation, count, penalty), restarts=restarts))
    graph = CausalGraph(
        names, np.select([theirs == 1, theirs.T == 1, theirs == 2], [ARROW, TAIL, TAIL], NONE)
    )
    return _with_info(graph, encoding, score=gaussian_bic(graph, correlation, count, penalty))


def _ges(table, knowledge, seed, *, penalty):
    from causallearn.search.ScoreBased.GES import ges

    correlation, count, names, encoding = _correlations(table)
    found = ges(cov=correlation, n=count, lambda_value=penalty / 2, node_names=list(names))
    # theirs is Σ -n/2 (1 + ln var) - penalty/2 ln n (parents + 1)
    score = float(-2 * found["score"] - len(names) * (count + penalty * np.log(count)))
    return CausalGraph.from_causallearn(found["G"], names, encoding=encoding, score=score)


def _permutations(table, knowledge, seed, *, penalty, restarts, **settings):
    """BOSS or GRaSP from the columns' order and from random ones; causal-learn's BOSS lacks the
    backward step.

    From the given order alone it would miss a collider and its effect in 10 of the 24 orders of the
    four columns.
    """
    from causallearn.search.PermutationBased import BOSS, GRaSP

    correlation, count, names, encoding = _correlations(table)
    rows, weight = _few_rows(correlation, count, penalty)
    engine = GRaSP.grasp if settings else BOSS.boss
    settings = {"verbose": False, **settings}
    best = (np.inf, None)
    state = random.getstate()
    rng = np.random.default_rng(seed)
    random.seed(seed)  # they draw from Python's global random numbers
    try:
        for attempt in range(restarts + 1):
            order = rng.permutation(len(names)) if attempt else np.arange(len(names))
            found = engine(rows[:, order], parameters={"lambda_value": weight / 2}, **settings)
            graph = CausalGraph.from_causallearn(found, [names[k] for k in order]).subgraph(names)
            score = gaussian_bic(graph, correlation, count, penalty)
            best = (score, graph) if score < best[0] else best
    finally:
        random.setstate(state)
    return _with_info(best[1], encoding, score=best[0])


def _order(table, knowledge, seed, **settings):
    statistics, encoding = _blocks(table)
    found = search_orders(statistics, knowledge=knowledge, seed=seed, **settings)
    return _with_info(found, encoding)


def _order_environments(environments: Environments, knowledge, seed, **settings):
    _, encoding = _blocks(environments.table)
    found = search_environments(
        environments.statistics(),
        environments.free,
        environments.scaled(),
        knowledge=knowledge,
        seed=seed,
        **settings,
    )
    changed = found.info["changed"]
    targets = {
        str(level): [name for name, own in zip(found.names, changed[:, k], strict=True) if own]
        for k, level in enumerate(environments.levels)
    }
    info = {"score": found.info["score"], "targets": targets}
    return _with_info(replace(found, info=info), encoding)


def _order_fci(table, knowledge, seed, *, penalty, restarts, alpha, max_condition):
    statistics, encoding = _blocks(table)
    known = knowledge or Knowledge()
    # without a forbidden edge the graph of the search might deny a dependence that a hidden cause
    # makes; it is honoured when the marks are set
    for_search = Knowledge(known.tiers, required=known.required)
    how = {"penalty": penalty, "restarts": restarts, "seed": seed}
    dag = search_orders(statistics, knowledge=for_search, **how).extension()
    separation = CovarianceSeparation(statistics, alpha, penalty)
    found = order_fci(dag, separation, knowledge=knowledge, max_condition=max_condition)
    return _with_info(found, encoding)


# ---- conditional independence --------------------------------------------------------------------


def _constraint(table, knowledge, seed, *, test, bins, alpha, max_condition, search=constraint.pc):
    if bins is not None and test not in ("chisq", "gsq"):
        raise ValueError(
            f"bins has no use with test={test!r}, which takes numbers as they are; choose 'chisq' "
            "or 'gsq'"
        )
    if test in ("chisq", "gsq"):
        codes, encoding = discretise(need_rows(table, f"test={test!r}"), bins)
        names = tuple(codes.columns)
        how = (codes.to_numpy(), test, {})
    elif test == "mixed":
        blocks, encoding = _blocks(table)
        names = blocks.names
        how = constraint.covariance_test(blocks.correlation, blocks.widths, blocks.count, False)
    else:
        correlation, count, names, encoding = _correlations(table)
        how = constraint.covariance_test(correlation, np.ones(len(names), dtype=int), count, True)
    return _with_info(search(names, how, knowledge, alpha, max_condition), encoding)


def _fci(table, knowledge, seed, **settings):
    return _constraint(table, knowledge, seed, search=constraint.fci, **settings)


def _cdnod(table, knowledge, seed, *, context, test, bins, **settings):
    """PC on the table with ``context`` as a root: its neighbours are the variables whose mechanism
    changes with it.
    """
    names = table.names
    if context not in names:
        raise ValueError(
            f"context={context!r}: name the column that tells time or domain; "
            f"columns: {', '.join(names)}"
        )
    known = knowledge or Knowledge()
    cut = {}
    if known.tier(context):
        raise ValueError(
            f"context {context!r} stands in tier {known.tier(context)}; nothing "
            "causes it: put it first"
        )
    into = {(name, context) for name in names if name != context}
    known = Knowledge(known.tiers, known.forbidden | into, known.required, known.within_tiers)
    if bins is not None and test in ("mixed", "fisherz"):
        codes, cut = discretise(need_rows(table, "bins")[[context]], bins)
        table = Table(table.frame.assign(**{context: pd.Categorical(codes[context])}))
        bins = None
    found = _constraint(table, known, seed, test=test, bins=bins, **settings)
    return _with_info(found, {**found.info["encoding"], **cut})


# ---- functional models ---------------------------------------------------------------------------


def _lingam(table, knowledge, seed):
    from causallearn.search.FCMBased.lingam import DirectLiNGAM
    from causallearn.search.FCMBased.lingam.utils import predict_adaptive_lasso

    values, _ = table.encoded()
    names = table.names
    # the entropy approximation overflows, and the order would be arbitrary
    if np.abs(values).max() > 700:
        worst = names[np.abs(values).max(axis=0).argmax()]
        raise ValueError(
            f"column {worst!r} has a value over 700 standard deviations off; check or transform it"
        )
    allowed, required = _pairs(knowledge, names)
    never = constraint.never_causes(knowledge, names)
    before = (never.T & ~never) | required
    if not nx.is_directed_acyclic_graph(nx.DiGraph(before)):
        raise ValueError(
            "knowledge: the required edges lead from a later tier back into an earlier one"
        )
    # theirs[i, j] is about a path from j to i, whatever their docstring says: 1 puts j before i, -1
    # is unknown
    order = DirectLiNGAM(prior_knowledge=np.where(before.T, 1, -1)).fit(values).causal_order_
    adjacency = required.copy()
    for k, target in enumerate(order):
        # their own regressions know paths only, so they are run again on the predecessors that may
        # be parents
        if candidates := [cause for cause in order[:k] if allowed[cause, target]]:
            adjacency[candidates, target] |= predict_adaptive_lasso(values, candidates, target) != 0
    return CausalGraph.from_adjacency(adjacency, names)


def _dagma(table, knowledge, seed, *, model, standardise, threshold, hidden, **settings):
    from causal_lib.discovery.engines.dagma import fit_linear, fit_mlp, keep_acyclic

    if model == "linear":
        covariance, _, names, encoding = _correlations(table, standardise)
        allowed, required = _pairs(knowledge, names)
        strength, objective = fit_linear(covariance, allowed, required, **settings)
    else:
        need_rows(table, "model='mlp'")
        values, encoding = table.encoded(standardise)
        names = table.names
        allowed, required = _pairs(knowledge, names)
        strength, objective = fit_mlp(
            values, allowed, required, hidden=hidden, seed=seed, **settings
        )
    adjacency = keep_acyclic(strength, threshold, required)
    return CausalGraph.from_adjacency(adjacency, names, encoding=encoding, score=objective)


def _graph_network(table, knowledge, seed, **settings):
    from causal_lib.discovery.engines.graph_network import fit

    names = table.names
    found = fit(table.frame, *_pairs(knowledge, names), seed=seed, **settings)
    encoding = {
        name: "levels" for name, numeric in zip(names, table.numeric, strict=True) if not numeric
    }
    edges = np.argwhere(found.adjacency)
    strengths = {f"{names[i]} -> {names[j]}": float(found.strength[i, j]) for i, j in edges}
    told = {"encoding": encoding, "score": found.loss, "l1": found.l1, "strengths": strengths}
    return CausalGraph.from_adjacency(found.adjacency, names, **told)


def _pairs(knowledge, names):
    """Where an edge may be and where one must be, (d, d) bool each."""
    known = knowledge or Knowledge()
    return known.allowed(names), known.required_matrix(names)


def _additive(table, knowledge, seed, *, penalty):
    from causal_lib.discovery.engines import additive

    values, encoding = table.encoded()
    nominal = ~np.array(table.numeric)
    found, _, score = additive.search(
        values, additive.bases(values, nominal), *_pairs(knowledge, table.names), penalty
    )
    return CausalGraph.from_adjacency(found, table.names, encoding=encoding, score=score)


def _pretrained(table, knowledge, seed, **settings):
    from causal_lib.discovery.engines.pretrained.discoverer import search

    return search(table.frame, knowledge, seed, **settings)


# ---- discrete data -------------------------------------------------------------------------------


def _learner(table, knowledge, bins):
    """pyAgrum's learner on codes, under names that its files take, with the knowledge; names and
    encoding.
    """
    import pyagrum as gum

    codes, encoding = discretise(table.frame, bins)
    names = tuple(codes.columns)
    # given a frame it would write the table to a file that nobody removes; it reads the file at
    # once and whole
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "codes.csv")
        codes.set_axis([f"v{i}" for i in range(len(names))], axis=1).to_csv(path, index=False)
        learner = gum.BNLearner(str(path))
    # more wait for each other at every score: slower on a few cores, worse on busy ones
    learner.setNumberOfThreads(1)
    allowed, required = _pairs(knowledge, names)
    # no reverse of a required arc
    for i, j in np.argwhere(~(allowed | required.T | np.eye(len(names), dtype=bool))):
        learner.addForbiddenArc(int(i), int(j))
    for i, j in np.argwhere(required):
        learner.addMandatoryArc(int(i), int(j))
    return learner, names, encoding


def _miic(table, knowledge, seed, *, correction, bins):
    learner, names, encoding = _learner(table, knowledge, bins)
    learner.useMIIC()
    {
        "nml": learner.useNMLCorrection,
        "mdl": learner.useMDLCorrection,
        "none": learner.useNoCorrection,
    }[correction]()
    found = learner.learnPDAG()
    marks = np.zeros((len(names), len(names)), dtype=np.int8)
    for i, j in found.edges():
        marks[i, j] = marks[j, i] = TAIL
    for i, j in found.arcs():
        marks[i, j] = ARROW
        marks[j, i] = TAIL
    for i, j in learner.latentVariables():  # these arcs came out with an arrowhead at both ends
        if marks[i, j]:
            marks[i, j] = marks[j, i] = ARROW
    return CausalGraph(names, marks, {"encoding": encoding})


def _greedy(table, knowledge, seed, *, score, restarts, bins):
    """Hill climbing from the empty graph and from ``restarts`` random ones: one start often ends at
    a shielded collider.
    """
    import pyagrum as gum

    learner, names, encoding = _learner(table, knowledge, bins)
    learner.useGreedyHillClimbing()
    {"bic": learner.useScoreBIC, "bdeu": learner.useScoreBDeu}[score]()
    allowed, required = _pairs(knowledge, names)
    rng = np.random.default_rng(seed)
    best = (np.inf, None)
    for attempt in range(restarts + 1):
        start = gum.DAG()
        drawn = rng.permutation(np.argwhere(allowed & ~required))[: len(names) if attempt else 0]
        start.addNodes(len(names))
        for i, j in [*np.argwhere(required), *drawn]:
            if not start.hasDirectedPath(int(j), int(i)):
                start.addArc(int(i), int(j))
        learner.setInitialDAG(start)
        dag = learner.learnDAG()
        bits = sum(learner.score(f"v{i}", [f"v{p}" for p in dag.parents(i)]) for i in dag.nodes())
        best = min(best, (-2 * np.log(2) * bits, sorted(dag.arcs())))
    graph = CausalGraph.from_edges(names, [(names[i], names[j]) for i, j in best[1]])
    return _with_info(graph.cpdag(knowledge), encoding, score=float(best[0]))


def _order_counts(table, knowledge, seed, *, bins, score, restarts, candidates):
    codes, encoding = discretise(table.frame, bins)
    if (worst := codes.max() + 1).max() > MAX_LEVELS:
        raise ValueError(
            f"column {worst.idxmax()!r} has {worst.max()} levels, and a variable may have "
            f"{MAX_LEVELS}; set bins to fewer"
        )
    # a parent is chosen among d - 1 variables
    counts = make_table(codes.to_numpy(), score, per_parent=2 * np.log(len(table.names)))
    how = {"seed": seed, "restarts": restarts, "candidates": candidates}
    return _with_info(search_counts(counts, table.names, knowledge=knowledge, **how), encoding)


_PENALTY = Setting(2.0, 0.0, np.inf)
_BINS = Setting(None, 2, 10**6)
_ALPHA = Setting(0.01, 1e-12, 0.5)
_CONDITION = Setting(None, 0, 10**6)
_TESTING = {
    "test": _choice("fisherz", "chisq", "gsq", "mixed"),
    "alpha": _ALPHA,
    "max_condition": _CONDITION,
    "bins": _BINS,
}


def _restarts(default):
    return Setting(default, 0, 10**9)


METHODS: dict[str, Method] = {
    "order": Method(
        _order,
        "CPDAG",
        "linear Gaussian relations, categories as blocks of indicators; no hidden cause",
        {"penalty": _PENALTY, "restarts": _restarts(50)},
        variables="mixed",
        environments=_order_environments,
    ),
    "flop": Method(
        _flop,
        "CPDAG",
        "linear Gaussian relations; no hidden cause",
        {"penalty": _PENALTY, "restarts": _restarts(200)},
        knowledge="after",
    ),
    "pc": Method(
        _constraint, "CPDAG", "faithfulness; no hidden cause", _TESTING, variables="mixed"
    ),
    "fci": Method(_fci, "PAG", "faithfulness; no selection", _TESTING, variables="mixed"),
    "order-fci": Method(
        _order_fci,
        "PAG",
        "as order, but causes may be hidden; no selection",
        {
            "penalty": _PENALTY,
            "restarts": _restarts(50),
            "alpha": _ALPHA,
            "max_condition": Setting(3, 0, 10**6),
        },
        variables="mixed",
    ),
    "cdnod": Method(
        _cdnod,
        "CPDAG",
        "as pc, and mechanisms that change with ``context``",
        {"context": Setting(), **_TESTING, "test": _choice("mixed", "fisherz", "chisq", "gsq")},
        variables="mixed",
    ),
    "ges": Method(
        _ges,
        "CPDAG",
        "linear Gaussian relations; no hidden cause",
        {"penalty": _PENALTY},
        knowledge="none",
    ),
    "boss": Method(
        _permutations,
        "CPDAG",
        "linear Gaussian relations; no hidden cause",
        {"penalty": _PENALTY, "restarts": _restarts(5)},
        knowledge="none",
    ),
    "grasp": Method(
        _permutations,
        "CPDAG",
        "linear Gaussian relations; no hidden cause",
        {"penalty": _PENALTY, "restarts": _restarts(5), "depth": Setting(3, 1, 100)},
        knowledge="none",
    ),
    "lingam": Method(
        _lingam,
        "DAG",
        "linear relations, non-Gaussian noise; no hidden cause",
        {},
        rows=True,
        variables="numeric",
    ),
    "dagma": Method(
        _dagma,
        "DAG",
        "additive noise of equal variance; no hidden cause",
        {
            "model": _choice("linear", "mlp"),
            "l1": Setting(0.01, 0.0, np.inf),
            "threshold": Setting(0.2, 0.0, np.inf),
            "hidden": Setting(10, 1, 10**4),
            "steps": Setting(500, 1, 10**9),
            "standardise": Setting(True),
        },
    ),
    "additive": Method(
        _additive,
        "DAG",
        "sums of curves, Gaussian noise; no hidden cause",
        {"penalty": _PENALTY},
        rows=True,
    ),
    "graph_network": Method(
        _graph_network,
        "DAG",
        "noise added to any function; no hidden cause (l1 is chosen by held-out rows)",
        {
            "l1": Setting(None, 0.0, np.inf),
            "hidden": Setting(6, 1, 10**4),
            "steps": Setting(1000, 1, 10**9),
            "gain": Setting(8.0, 0.0, np.inf),
        },
        rows=True,
        variables="mixed",
    ),
    "pretrained": Method(
        _pretrained,
        "DAG",
        "a table like those it was trained on; else the order search answers",
        {"threshold": Setting(0.4, 0.0, np.inf), "unfamiliar": _choice("order", "trust")},
        rows=True,
        variables="mixed",
        functions=True,
        missing=True,
    ),
    "miic": Method(
        _miic,
        "CPDAG, also ↔",
        "levels",
        {"correction": _choice("nml", "mdl", "none"), "bins": _BINS},
        rows=True,
        variables="discrete",
    ),
    "greedy": Method(
        _greedy,
        "CPDAG",
        "levels; no hidden cause",
        {"score": _choice("bic", "bdeu"), "restarts": _restarts(10), "bins": _BINS},
        rows=True,
        variables="discrete",
    ),
    "order-counts": Method(
        _order_counts,
        "CPDAG",
        "levels, hundreds of variables and dozens of levels too; no hidden cause",
        {
            "score": _choice(*SCORES),
            "restarts": _restarts(5),
            "candidates": Setting(30, 1, 10**6),
            "bins": _BINS,
        },
        rows=True,
        variables="discrete",
        counts=True,
    ),
}
"""Method name -> how it is run and what it asks for: the one place to add a method."""


def methods_table() -> str:
    """The methods as a Markdown table: graph, assumptions, settings with their defaults."""
    lines = [
        "| method | graph | assumes, beside independent rows | settings and defaults |",
        "|---|---|---|---|",
    ]
    for name, method in METHODS.items():
        shown = (f"{key}={setting.default!r}" for key, setting in method.settings.items())
        lines.append(f"| {name} | {method.graph} | {method.assumes} | {', '.join(shown)} |")
    return "\n".join(lines)
