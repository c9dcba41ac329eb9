"""`discover`: data and what is known beforehand in, a `CausalGraph` out, whatever the method."""

import itertools
import time
from dataclasses import replace

import networkx as nx
import numpy as np
import pandas as pd

from causal_lib.discovery.auditing import audit
from causal_lib.discovery.methods import METHODS, need_rows, those
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph, meek
from causal_lib.knowledge import Knowledge

_LIMITS = {
    "alpha": (1e-12, 0.5), "penalty": (0.0, np.inf), "l1": (0.0, np.inf), "threshold": (0.0, np.inf), "restarts": (0, 10**9),
    "bins": (2, 10**6), "max_condition": (0, 10**6), "depth": (1, 100), "hidden": (1, 10**4), "steps": (1, 10**9),
    "gain": (0.0, np.inf),
}  # fmt: skip
"""Setting -> smallest and largest value, whole numbers where these are."""


def discover(
    data: pd.DataFrame | Statistics,
    *,
    method: str = "order",
    knowledge: Knowledge | None = None,
    seed: int = 0,
    **settings,
) -> CausalGraph:
    """The causal graph of ``data``'s columns that ``method`` finds, with every orientation that ``knowledge`` implies.

    | method | graph | assumes, beside independent rows | settings and defaults |
    |---|---|---|---|
    | order | CPDAG | linear Gaussian, categories as blocks; no hidden cause | penalty=2 (textbook BIC: 1), restarts=50 |
    | flop, ges | CPDAG | linear Gaussian, no hidden cause | penalty=2; flop: restarts=200 |
    | boss, grasp | CPDAG | the same | penalty=2, restarts=5 (causal-learn's own: 0); grasp: depth=3 |
    | pc | CPDAG | faithful, no hidden cause | test='fisherz', 'chisq', 'gsq' or 'mixed', alpha=0.01, max_condition, bins |
    | fci | PAG | faithful, no selection | as pc |
    | cdnod | CPDAG | as pc, mechanisms change with ``context`` | context=, else as pc with test='mixed' |
    | lingam | DAG | linear, non-Gaussian noise, no hidden cause | |
    | dagma | DAG | additive noise of equal variance | model='linear' or 'mlp', l1=0.01, threshold=0.2, hidden=10, steps=500, standardise |
    | additive | DAG | sums of curves, Gaussian noise, no hidden cause | penalty=2 |
    | graph_network | DAG | noise added to any function; no hidden cause | l1 (by held-out rows), hidden=6, steps=1000, gain=8 |
    | pretrained | DAG | a table like one of its training's; else the order search answers | threshold=0.4, unfamiliar='order' or 'trust' |
    | miic | CPDAG, also ↔ | levels | correction='nml', 'mdl' or 'none', bins |
    | greedy | CPDAG | levels, no hidden cause | score='bic' or 'bdeu', restarts=10, bins |

    A column that is a function of others is refused by all but chisq, gsq, miic, greedy and pretrained; order, pc and fci (both with
    test='mixed') run on ``Statistics.from_frame(frame).shrunk(0.001)`` there. Columns are standardised; `encode` says how
    flop, ges, boss, grasp, dagma and Fisher's z read categories. ``bins=k`` cuts numbers into k quantile bins where levels
    are needed (chisq, gsq, miic, greedy; cdnod: the context, whose influence is seen in means only). Equal variances hold
    on a raw scale if at all, so standardised DAGMA turns edges.

    Parameters
    ----------
    data : rows are observations, columns variables (numbers, booleans, categories or text), nothing missing (but for
        pretrained); or `Statistics`, for all but lingam, additive, graph_network, pretrained, miic, greedy, model='mlp', chisq, gsq.
    method : a key of `METHODS`.
    knowledge : honoured exactly in the result: edges that contradict it are turned or removed, required ones are added.
        FLOP cannot use it while it searches, the others do. ges, boss and grasp refuse it, and fci forbidden edges.
    seed : of boss, grasp, order, greedy, graph_network, pretrained, dagma's mlp; the others draw nothing, but flopsearch
        draws from the system's entropy: it gives the same graph again because it restarts until it finds the same best
        score (checked up to 12 columns); for many more columns raise ``restarts``.

    Statistics of many rows and the graph network show a progress bar; TQDM_DISABLE=1 in the environment hides it.

    Returns
    -------
    `CausalGraph` with ``info``: method, settings, rows, seed, seconds, encoding, score (the method's own, smaller is
    better; None where it tells none), and overruled: what had to be changed in the method's own answer, against
    ``knowledge`` or because its directions ran in a circle (PC on finite data).

    Raises
    ------
    ValueError
        for an unknown method, setting or choice, a setting out of range, data that `audit` finds an error in (missing,
        infinite, constant, collinear, identifiers, too few rows, ...), columns of a kind that the method does not take,
        rows or knowledge that it needs or cannot honour; the message names what can.

    Source: the order search, see its module; FLOP, arXiv 2510.04970; PC, Spirtes, Glymour and Scheines 2000,
    order-independent by Colombo and Maathuis 2014; FCI, Zhang 2008; CD-NOD, Huang and others 2020; GES, Chickering 2002;
    BOSS, arXiv 2310.17679; GRaSP, Lam and others 2022; DirectLiNGAM, Shimizu and others 2011; DAGMA, arXiv 2209.08037;
    MIIC, Verny and others 2017; the graph network, after DAG-GNN, arXiv 1904.10098, see its module.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500))
    >>> discover(pd.DataFrame({"x": x, "y": y, "z": x + y + rng.normal(size=500)})).edges
    ['x -> z', 'y -> z']
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    chosen, settings = METHODS[method], _settings(method, settings)
    if chosen.rows:
        need_rows(data, f"method {method!r}")
    if isinstance(data, pd.DataFrame):
        data = data.set_axis(data.columns.map(str), axis=1)
    able = chosen.functions or chosen.variables == "discrete" or settings.get("test") in ("chisq", "gsq")
    allow = ("function", "collinear") if able else ()
    if chosen.missing and isinstance(data, pd.DataFrame) and data.isna().any(axis=None):
        allow = (*allow, "missing", "too-few-rows")  # that count complete rows
    audit(data, knowledge=knowledge).raise_errors(allow=allow)
    names = tuple(data.names if isinstance(data, Statistics) else data.columns)
    if not names:
        raise ValueError("frame: has no columns")
    for name, column in data.items() if chosen.variables == "numeric" else ():
        if not pd.api.types.is_numeric_dtype(column.dtype):
            able = those(lambda other: other.variables != "numeric")
            raise ValueError(f"method {method!r} takes numbers, column {name!r} is a category; others take it: {able}")
    if knowledge is not None and chosen.knowledge == "none":
        able = those(lambda other: other.knowledge != "none")
        raise ValueError(f"method {method!r} cannot honour knowledge; methods that can: {able}")
    start = time.perf_counter()
    found = chosen.search(data, knowledge, seed, **settings) if len(names) > 1 else CausalGraph.from_edges(names)
    seconds = time.perf_counter() - start
    graph, overruled = impose(found, knowledge) if knowledge is not None else (found, [])
    graph, dropped = without_cycles(graph, knowledge, CIRCLE if found.kind == "PAG" else TAIL)
    info = {
        **found.info,
        "method": method,
        "settings": settings,
        "rows": data.rows if isinstance(data, Statistics) else len(data),
        "seed": seed,
        "seconds": seconds,
    }
    info |= {"encoding": found.info.get("encoding", {}), "score": found.info.get("score")}
    info["overruled"] = [*found.info.get("overruled", []), *overruled, *dropped]
    return replace(graph, info=info)


def impose(graph: CausalGraph, knowledge: Knowledge) -> tuple[CausalGraph, list[str]]:
    """``graph`` made to agree with ``knowledge`` and closed under Meek's rules, and the edges that had to change.

    Orienting an undirected edge is not a change; turning or removing an edge, or adding a required one, is.
    """
    marks, names = graph.marks.copy(), graph.names
    allowed, overruled = knowledge.allowed(names), []
    for i, j in np.argwhere(np.triu(graph.adjacency | graph.adjacency.T | graph.undirected)):
        if graph.adjacency[j, i]:
            i, j = j, i
        if allowed[i, j]:
            continue
        if graph.adjacency[i, j]:
            overruled.append(f"{names[i]} -> {names[j]} {'turned' if allowed[j, i] else 'removed'}")
        elif not allowed[j, i]:
            overruled.append(f"{names[i]} -- {names[j]} removed")
        marks[i, j], marks[j, i] = (TAIL, ARROW) if allowed[j, i] else (NONE, NONE)
    for i, j in np.argwhere((marks == TAIL) & (marks.T == TAIL) & ~allowed.T):
        marks[i, j] = ARROW
    for cause, effect in sorted(knowledge.required):
        i, j = names.index(cause), names.index(effect)
        if not (marks[i, j] == ARROW and marks[j, i] == TAIL):
            overruled += [] if marks[i, j] == marks[j, i] == TAIL else [f"{cause} -> {effect} added"]
            marks[i, j], marks[j, i] = ARROW, TAIL
    return CausalGraph(names, meek(marks), kind=_pag(graph)), overruled


def without_cycles(
    graph: CausalGraph, knowledge: Knowledge | None = None, mark: int = TAIL
) -> tuple[CausalGraph, list[str]]:
    """``graph`` with a ``mark`` at both ends of the edges inside a directed cycle, but for those ``knowledge`` directs."""
    marks, dropped = graph.marks.copy(), []
    known = knowledge.orientations(graph.names) if knowledge is not None else np.zeros(marks.shape, dtype=bool)
    for component in nx.strongly_connected_components(graph.directed_part()):
        for cause, effect in itertools.permutations(sorted(component), 2):
            i, j = graph.index(cause), graph.index(effect)
            if graph.adjacency[i, j] and not known[i, j]:
                dropped.append(f"{cause} -> {effect} undirected, it stood in a cycle")
                marks[i, j] = marks[j, i] = mark
    return CausalGraph(graph.names, marks, graph.info, _pag(graph)), dropped


def _pag(graph):
    """The kind to give to a graph that is made of ``graph`` with other marks."""
    return "PAG" if graph.kind == "PAG" else None


def _settings(method, given):
    """All settings of ``method``, those ``given`` checked against its choices and the limits of their kind."""
    defaults = METHODS[method].settings
    unknown = sorted(given.keys() - defaults.keys())
    if unknown:
        raise ValueError(f"method {method!r} has no setting {unknown[0]!r}; settings: {', '.join(defaults)}")
    for name, value in given.items():
        if isinstance(defaults[name], tuple) and value not in defaults[name]:
            raise ValueError(f"{name}={value!r}: choose one of {', '.join(map(repr, defaults[name]))}")
        if name in _LIMITS and value is not None:
            low, high = _LIMITS[name]
            if not low <= value <= high or type(low)(value) != value:
                kind = "a whole number" if isinstance(low, int) else "a number"
                raise ValueError(f"{name}={value!r} must be {kind} from {low} to {high}")
            given = given | {name: type(low)(value)}
    return {name: value[0] if isinstance(value, tuple) else value for name, value in defaults.items()} | given
