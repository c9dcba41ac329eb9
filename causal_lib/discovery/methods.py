"""The search methods behind `discover`: each converts at its own border and is described by a `Method`.

Kinds of variables: 'numeric' methods take numbers and booleans; 'scored' ones also categories, turned into one column
each by optimal scaling (`encode`); 'mixed' ones take categories as blocks of indicators; 'discrete' ones take levels, and
numbers only cut into quantile bins. Gaussian methods see the data through count and correlations alone, so that
`Statistics` are enough. A ``score`` is smaller for a better graph.
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

from causal_lib.discovery.encoding import encode
from causal_lib.discovery.engines import constraint
from causal_lib.discovery.engines.order_search import order_search
from causal_lib.discovery.score import gaussian_bic
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import ARROW, NONE, TAIL, CausalGraph
from causal_lib.knowledge import Knowledge


@dataclass(frozen=True)
class Method:
    """A search method and what it asks for.

    search : (data, knowledge, seed, **settings) -> `CausalGraph` whose marks say what the method claims, neither more
        nor less; its ``info`` may hold encoding, score and overruled.
    settings : name -> default; a tuple lists the choices, the default first.
    knowledge : 'search' (used while searching), 'after' (imposed on the answer) or 'none' (refused).
    rows : whether the rows are needed; else `Statistics` are enough, at least under the default settings.
    variables : 'numeric', 'scored', 'mixed' or 'discrete', as in the module's first lines.
    functions : whether columns may be functions of others; discrete methods and tests on tables take them anyway.
    missing : whether values may be missing.
    """

    search: Callable[..., CausalGraph]
    settings: Mapping[str, object]
    knowledge: str = "search"
    rows: bool = False
    variables: str = "scored"
    functions: bool = False
    missing: bool = False


# ---- what a method sees of the data -------------------------------------------------------------------------


def discretise(frame: pd.DataFrame, bins: int | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """``frame`` as integer codes of levels, and how each number was cut; numbers of over two values need ``bins``."""
    codes, encoding = {}, {}
    for name, column in frame.items():
        distinct = column.nunique()
        if pd.api.types.is_numeric_dtype(column.dtype) and distinct > max(2, bins or 2):
            if bins is None:
                raise ValueError(
                    f"column {name!r} is a number of {distinct} values; set bins=k to cut it into k quantile bins, make it a "
                    f"category (astype('category')), or use a method for numbers: {those(lambda m: m.variables != 'discrete')}"
                )
            column = pd.qcut(column.astype(float), bins, labels=False, duplicates="drop")
            encoding[str(name)] = f"{column.nunique()} quantile bins"
            if column.nunique() < 2:
                raise ValueError(
                    f"column {name!r}: {bins} quantile bins fall into one; raise bins, or cut it with pd.cut"
                )
        codes[name] = pd.factorize(column, sort=True)[0]
    return pd.DataFrame(codes), encoding


def _correlations(data, standardise=True):
    """(d, d) correlations (or covariances) of one column a variable, the count of rows, names, encoding."""
    if not isinstance(data, Statistics):
        values, encoding = encode(data, standardise=standardise)
        return values.T @ values / len(values), len(values), tuple(data.columns), encoding
    for name, levels, width in zip(data.names, data.levels, data.widths, strict=True):
        if width > 1:
            raise ValueError(
                f"variable {name!r} has {len(levels)} levels in these Statistics and one column is needed; pass the rows, or "
                f"use a method for mixed data: {those(lambda m: m.variables == 'mixed' and not m.rows)} (PC and FCI with "
                "test='mixed')"
            )
    return (data.correlation if standardise else data.cov), data.count, data.names, {}


def _blocks(data):
    """`Statistics` of ``data`` and the encoding of its categories."""
    data = data if isinstance(data, Statistics) else Statistics.from_frame(data)
    levels = zip(data.names, data.levels, strict=True)
    return data, {n: f"{len(v) - 1} indicators" for n, v in levels if v is not None}


def _with(graph, encoding, **info):
    return replace(graph, info={**graph.info, "encoding": encoding, **info})


def need_rows(data, what):
    """``data``, unless it has no rows."""
    if isinstance(data, Statistics):
        raise ValueError(f"{what} needs rows; Statistics are enough for: {those(lambda m: not m.rows)}")
    return data


def those(which: Callable[[Method], bool]) -> str:
    """Names of the methods that are such, for messages."""
    return ", ".join(name for name, method in METHODS.items() if which(method))


# ---- scores over Gaussian correlations ----------------------------------------------------------------------


def _few_rows(correlation, count, penalty):
    """A few rows with these correlations, and the penalty that gives the same search at a cost that n does not change.

    For engines that read rows although their score sees nothing but covariances.
    """
    d = len(correlation)
    few = int(min(count, max(2 * d, 50)))
    waves = np.cos(np.outer(np.arange(few) + 0.5, np.arange(1, d + 1)) * np.pi / few)  # mean 0, orthogonal
    rows = np.sqrt(few) * qr(waves, mode="economic")[0] @ cholesky(correlation)
    return rows, penalty * few / count * np.log(count) / np.log(few)


def _flop(data, knowledge, seed, *, penalty, restarts):
    from flopsearch import flop

    correlation, count, names, encoding = _correlations(data)
    theirs = np.asarray(flop(*_few_rows(correlation, count, penalty), restarts=restarts))  # [i, j]: 1 i -> j, 2 i - j
    graph = CausalGraph(names, np.select([theirs == 1, theirs.T == 1, theirs == 2], [ARROW, TAIL, TAIL], NONE))
    return _with(graph, encoding, score=gaussian_bic(graph, correlation, count, penalty))


def _ges(data, knowledge, seed, *, penalty):
    from causallearn.search.ScoreBased.GES import ges

    correlation, count, names, encoding = _correlations(data)
    found = ges(cov=correlation, n=count, lambda_value=penalty / 2, node_names=list(names))
    # theirs is Σ -n/2 (1 + ln var) - penalty/2 ln n (parents + 1)
    score = float(-2 * found["score"] - len(names) * (count + penalty * np.log(count)))
    return CausalGraph.from_causallearn(found["G"], names, encoding=encoding, score=score)


def _permutations(data, knowledge, seed, *, penalty, restarts, **settings):
    """BOSS or GRaSP from the columns' order and from random ones; causal-learn's BOSS lacks the backward step.

    From the given order alone it would miss a collider and its effect in 10 of the 24 orders of the four columns.
    """
    from causallearn.search.PermutationBased import BOSS, GRaSP

    correlation, count, names, encoding = _correlations(data)
    rows, weight = _few_rows(correlation, count, penalty)
    engine, settings = GRaSP.grasp if settings else BOSS.boss, {"verbose": False, **settings}
    best, state, rng = (np.inf, None), random.getstate(), np.random.default_rng(seed)
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
    return _with(best[1], encoding, score=best[0])


def _order(data, knowledge, seed, **settings):
    statistics, encoding = _blocks(data)
    found = order_search(statistics, knowledge=knowledge, seed=seed, **settings)
    return _with(found, encoding)


# ---- conditional independence -------------------------------------------------------------------------------


def _constraint(data, knowledge, seed, *, test, bins, alpha, max_condition, search=constraint.pc):
    if bins is not None and test not in ("chisq", "gsq"):
        raise ValueError(
            f"bins has no use with test={test!r}, which takes numbers as they are; choose 'chisq' or 'gsq'"
        )
    if test in ("chisq", "gsq"):
        codes, encoding = discretise(need_rows(data, f"test={test!r}"), bins)
        names, how = tuple(codes.columns), (codes.to_numpy(), test, {})
    elif test == "mixed":
        blocks, encoding = _blocks(data)
        names, how = blocks.names, constraint.covariance_test(blocks.correlation, blocks.widths, blocks.count, False)
    else:
        correlation, count, names, encoding = _correlations(data)
        how = constraint.covariance_test(correlation, np.ones(len(names), dtype=int), count, True)
    return _with(search(names, how, knowledge, alpha, max_condition), encoding)


def _fci(data, knowledge, seed, **settings):
    return _constraint(data, knowledge, seed, search=constraint.fci, **settings)


def _cdnod(data, knowledge, seed, *, context, test, bins, **settings):
    """PC on the table with ``context`` as a root: its neighbours are the variables whose mechanism changes with it."""
    names = data.names if isinstance(data, Statistics) else tuple(data.columns)
    if context not in names:
        raise ValueError(f"context={context!r}: name the column that tells time or domain; columns: {', '.join(names)}")
    known, cut = knowledge or Knowledge(), {}
    if known.tier(context):
        raise ValueError(f"context {context!r} stands in tier {known.tier(context)}; nothing causes it: put it first")
    into = {(name, context) for name in names if name != context}
    known = Knowledge(known.tiers, known.forbidden | into, known.required, known.within_tiers)
    if bins is not None and test in ("mixed", "fisherz"):
        codes, cut = discretise(need_rows(data, "bins")[[context]], bins)
        data, bins = data.assign(**{context: pd.Categorical(codes[context])}), None
    found = _constraint(data, known, seed, test=test, bins=bins, **settings)
    return _with(found, {**found.info["encoding"], **cut})


# ---- functional models --------------------------------------------------------------------------------------


def _lingam(data, knowledge, seed):
    from causallearn.search.FCMBased.lingam import DirectLiNGAM
    from causallearn.search.FCMBased.lingam.utils import predict_adaptive_lasso

    (values, _), names = encode(data), tuple(data.columns)
    if np.abs(values).max() > 700:  # the entropy approximation overflows, and the order would be arbitrary
        worst = names[np.abs(values).max(axis=0).argmax()]
        raise ValueError(f"column {worst!r} has a value over 700 standard deviations off; check or transform it")
    allowed, required = _pairs(knowledge, names)
    never = constraint.never_causes(knowledge, names)
    before = (never.T & ~never) | required
    if not nx.is_directed_acyclic_graph(nx.DiGraph(before)):
        raise ValueError("knowledge: the required edges lead from a later tier back into an earlier one")
    # theirs[i, j] is about a path from j to i, whatever their docstring says: 1 puts j before i, -1 is unknown
    order = DirectLiNGAM(prior_knowledge=np.where(before.T, 1, -1)).fit(values).causal_order_
    adjacency = required.copy()
    for k, target in enumerate(order):
        # their own regressions know paths only, so they are run again on the predecessors that may be parents
        if candidates := [cause for cause in order[:k] if allowed[cause, target]]:
            adjacency[candidates, target] |= predict_adaptive_lasso(values, candidates, target) != 0
    return CausalGraph.from_adjacency(adjacency, names)


def _dagma(data, knowledge, seed, *, model, standardise, threshold, hidden, **settings):
    from causal_lib.discovery.engines.dagma import fit_linear, fit_mlp, keep_acyclic

    if model == "linear":
        covariance, _, names, encoding = _correlations(data, standardise)
        allowed, required = _pairs(knowledge, names)
        strength, objective = fit_linear(covariance, allowed, required, **settings)
    else:
        values, encoding = encode(need_rows(data, "model='mlp'"), standardise=standardise)
        names = tuple(data.columns)
        allowed, required = _pairs(knowledge, names)
        strength, objective = fit_mlp(values, allowed, required, hidden=hidden, seed=seed, **settings)
    adjacency = keep_acyclic(strength, threshold, required)
    return CausalGraph.from_adjacency(adjacency, names, encoding=encoding, score=objective)


def _graph_network(data, knowledge, seed, **settings):
    from causal_lib.discovery.engines.graph_network import fit

    names = tuple(data.columns)
    found = fit(data, *_pairs(knowledge, names), seed=seed, **settings)
    encoding = {name: "levels" for name in names if not pd.api.types.is_numeric_dtype(data[name].dtype)}
    edges = np.argwhere(found.adjacency)
    strengths = {f"{names[i]} -> {names[j]}": float(found.strength[i, j]) for i, j in edges}
    told = {"encoding": encoding, "score": found.loss, "l1": found.l1, "strengths": strengths}
    return CausalGraph.from_adjacency(found.adjacency, names, **told)


def _pairs(knowledge, names):
    """Where an edge may be and where one must be, (d, d) bool each."""
    known, required = knowledge or Knowledge(), np.zeros((len(names), len(names)), dtype=bool)
    for cause, effect in known.required:
        required[names.index(cause), names.index(effect)] = True
    return known.allowed(names), required


def _additive(data, knowledge, seed, *, penalty):
    from causal_lib.discovery.engines import additive

    values, encoding = encode(need_rows(data, "method 'additive'"))
    nominal = [not pd.api.types.is_numeric_dtype(dtype) for dtype in data.dtypes]
    found, _, score = additive.search(
        values, additive.bases(values, np.array(nominal)), *_pairs(knowledge, list(data)), penalty
    )
    return CausalGraph.from_adjacency(found, data.columns, encoding=encoding, score=score)


def _pretrained(data, knowledge, seed, **settings):
    from causal_lib.discovery.engines.pretrained.discoverer import search

    return search(data, knowledge, seed, **settings)


# ---- discrete data ------------------------------------------------------------------------------------------


def _learner(data, knowledge, bins):
    """pyAgrum's learner on codes, under names that its files take, with the knowledge; names and encoding."""
    import pyagrum as gum

    codes, encoding = discretise(data, bins)
    names = tuple(codes.columns)
    # given a frame it would write the table to a file that nobody removes; it reads the file at once and whole
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "codes.csv")
        codes.set_axis([f"v{i}" for i in range(len(names))], axis=1).to_csv(path, index=False)
        learner = gum.BNLearner(str(path))
    learner.setNumberOfThreads(1)  # more wait for each other at every score: slower on a few cores, worse on busy ones
    allowed, required = _pairs(knowledge, names)
    for i, j in np.argwhere(~(allowed | required.T | np.eye(len(names), dtype=bool))):  # no reverse of a required arc
        learner.addForbiddenArc(int(i), int(j))
    for i, j in np.argwhere(required):
        learner.addMandatoryArc(int(i), int(j))
    return learner, names, encoding


def _miic(data, knowledge, seed, *, correction, bins):
    learner, names, encoding = _learner(data, knowledge, bins)
    learner.useMIIC()
    {"nml": learner.useNMLCorrection, "mdl": learner.useMDLCorrection, "none": learner.useNoCorrection}[correction]()
    found, marks = learner.learnPDAG(), np.zeros((len(names), len(names)), dtype=np.int8)
    for i, j in found.edges():
        marks[i, j] = marks[j, i] = TAIL
    for i, j in found.arcs():
        marks[i, j], marks[j, i] = ARROW, TAIL
    for i, j in learner.latentVariables():  # these arcs came out with an arrowhead at both ends
        if marks[i, j]:
            marks[i, j] = marks[j, i] = ARROW
    return CausalGraph(names, marks, {"encoding": encoding})


def _greedy(data, knowledge, seed, *, score, restarts, bins):
    """Hill climbing from the empty graph and from ``restarts`` random ones: one start often ends at a shielded collider."""
    import pyagrum as gum

    learner, names, encoding = _learner(data, knowledge, bins)
    learner.useGreedyHillClimbing()
    {"bic": learner.useScoreBIC, "bdeu": learner.useScoreBDeu}[score]()
    (allowed, required), rng, best = _pairs(knowledge, names), np.random.default_rng(seed), (np.inf, None)
    for attempt in range(restarts + 1):
        start, drawn = gum.DAG(), rng.permutation(np.argwhere(allowed & ~required))[: len(names) if attempt else 0]
        start.addNodes(len(names))
        for i, j in [*np.argwhere(required), *drawn]:
            if not start.hasDirectedPath(int(j), int(i)):
                start.addArc(int(i), int(j))
        learner.setInitialDAG(start)
        dag = learner.learnDAG()
        bits = sum(learner.score(f"v{i}", [f"v{p}" for p in dag.parents(i)]) for i in dag.nodes())
        best = min(best, (-2 * np.log(2) * bits, sorted(dag.arcs())))
    graph = CausalGraph.from_edges(names, [(names[i], names[j]) for i, j in best[1]])
    return _with(graph.cpdag(knowledge), encoding, score=float(best[0]))


_TESTS = ("fisherz", "chisq", "gsq", "mixed")
_TESTING = {"test": _TESTS, "alpha": 0.01, "max_condition": None, "bins": None}
_CHANGING = {"context": None, **_TESTING, "test": ("mixed", *_TESTS[:3])}
_WEIGHTS = {"model": ("linear", "mlp"), "l1": 0.01, "threshold": 0.2, "hidden": 10, "steps": 500, "standardise": True}
_MESSAGES = {"l1": None, "hidden": 6, "steps": 1000, "gain": 8.0}
_MIIC = {"correction": ("nml", "mdl", "none"), "bins": None}
_GREEDY = {"score": ("bic", "bdeu"), "restarts": 10, "bins": None}

METHODS: dict[str, Method] = {
    "order": Method(_order, {"penalty": 2.0, "restarts": 50}, variables="mixed"),
    "flop": Method(_flop, {"penalty": 2.0, "restarts": 200}, knowledge="after"),
    "pc": Method(_constraint, _TESTING, variables="mixed"),
    "fci": Method(_fci, _TESTING, variables="mixed"),
    "cdnod": Method(_cdnod, _CHANGING, variables="mixed"),
    "ges": Method(_ges, {"penalty": 2.0}, knowledge="none"),
    "boss": Method(_permutations, {"penalty": 2.0, "restarts": 5}, knowledge="none"),
    "grasp": Method(_permutations, {"penalty": 2.0, "restarts": 5, "depth": 3}, knowledge="none"),
    "lingam": Method(_lingam, {}, rows=True, variables="numeric"),
    "dagma": Method(_dagma, _WEIGHTS),
    "additive": Method(_additive, {"penalty": 2.0}, rows=True),
    "graph_network": Method(_graph_network, _MESSAGES, rows=True, variables="mixed"),
    "pretrained": Method(
        _pretrained,
        {"threshold": 0.4, "unfamiliar": ("order", "trust")},
        rows=True,
        variables="mixed",
        functions=True,
        missing=True,
    ),
    "miic": Method(_miic, _MIIC, rows=True, variables="discrete"),
    "greedy": Method(_greedy, _GREEDY, rows=True, variables="discrete"),
}
"""Method name -> how it is run and what it asks for."""
