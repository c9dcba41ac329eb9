"""`discover`: data and what is known beforehand in, a `CausalGraph` out, whatever the method."""

import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import networkx as nx
import numpy as np
import pandas as pd

from causal_lib.discovery.auditing import audit
from causal_lib.discovery.environments import read_environments
from causal_lib.discovery.methods import METHODS, method_names, methods_table, need_rows
from causal_lib.discovery.statistics import Statistics
from causal_lib.discovery.table import Table
from causal_lib.extras import naming_extra
from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph, meek
from causal_lib.knowledge import Knowledge


def discover(
    data: pd.DataFrame | Statistics,
    *,
    method: str = "order",
    knowledge: Knowledge | None = None,
    environments: str | None = None,
    targets: Mapping[object, Sequence[str]] | None = None,
    seed: int = 0,
    **settings,
) -> CausalGraph:
    """The causal graph of ``data``'s columns that ``method`` finds, with every orientation that
    ``knowledge`` implies.

    METHODS_TABLE

    A column that is a function of others is refused by all but chisq, gsq, miic, greedy,
    order-counts and pretrained; order, order-fci, pc and fci (these two with test='mixed') run on
    ``Statistics.from_frame(frame).shrunk(0.001)`` there. Columns are standardised; `encode` says
    how flop, ges, boss, grasp, dagma and Fisher's z read categories. ``bins=k`` cuts numbers into k
    quantile bins where levels are needed (chisq, gsq, miic, greedy, order-counts; cdnod: the
    context, whose influence is seen in means only). Equal variances hold on a raw scale if at all,
    so standardised DAGMA turns edges.

    Parameters
    ----------
    data : rows are observations, columns variables (numbers, booleans, categories or text), nothing
        missing (but for pretrained); or `Statistics`, for all but lingam, additive, graph_network,
        pretrained, miic, greedy, order-counts, model='mlp', chisq, gsq.
    method : a key of `METHODS`.
    knowledge : honoured exactly in the result: edges that contradict it are turned or removed,
        required ones are added. FLOP cannot use it while it searches, the others do. ges, boss and
        grasp refuse it, and fci forbidden edges; order-fci reads a forbidden edge as no cause at
        all, direct or through others.
    environments : a column that tells from which experiment, campaign or week a row comes; it is no
        variable. Each level may have changed the mechanisms of some variables, its targets, and
        shares the others: this directs edges that one environment leaves open. order alone takes
        it; see its twin `environment_search` for the score and the class.
    targets : level of ``environments`` -> variables that it may have changed, [] for an
        observational level. The targets of a level that is left out are searched.
    seed : of boss, grasp, order, order-counts, order-fci, greedy, graph_network, pretrained,
        dagma's mlp; the others draw nothing, but flopsearch draws from the system's entropy: it
        gives the same graph again because it restarts until it finds the same best score (checked
        up to 12 columns); for many more columns raise ``restarts``.

    Statistics of many rows and the graph network show a progress bar; TQDM_DISABLE=1 in the
    environment hides it.

    Returns
    ------- `CausalGraph` with ``info``: method, settings, rows, seed, seconds, encoding, score (the
    method's own, smaller is better; None where it tells none), and overruled: what had to be
    changed in the method's own answer, against ``knowledge`` or because its directions ran in a
    circle (PC on finite data); of 'pretrained' also undecided: pairs on which another seed may
    decide otherwise. With ``environments`` also environments (level -> rows) and targets (level ->
    variables that it was found to have changed).

    Raises
    ------
    ValueError
        for an unknown method, setting or choice, a setting out of range, data that `audit` finds an
        error in (missing, infinite, constant, collinear, identifiers, too few rows, ...), columns
        of a kind that the method does not take, rows or knowledge that it needs or cannot honour;
        the message names what can. For ``environments`` and ``targets`` see `read_environments`.

    Source: the order search and its twin for counts, see their modules; FLOP, arXiv 2510.04970; PC,
    Spirtes, Glymour and Scheines 2000, order-independent by Colombo and Maathuis 2014; FCI, Zhang
    2008; order-fci, see its module; CD-NOD, Huang and others 2020; GES, Chickering 2002; BOSS,
    arXiv 2310.17679; GRaSP, Lam and others 2022; DirectLiNGAM, Shimizu and others 2011; DAGMA,
    arXiv 2209.08037; MIIC, Verny and others 2017; the graph network, after DAG-GNN, arXiv
    1904.10098, see its module.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500))
    >>> discover(pd.DataFrame({"x": x, "y": y, "z": x + y + rng.normal(size=500)})).edges
    ['x -> z', 'y -> z']
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    chosen = METHODS[method]
    settings = _settings(method, settings)
    if chosen.rows and isinstance(data, Statistics):
        need_rows(Table(data), f"method {method!r}")
    groups = _environments(data, method, environments, targets)
    table = Table(data) if groups is None else groups.table
    _check_table(table, chosen, method, settings, knowledge)
    start = time.perf_counter()
    found = CausalGraph.from_edges(table.names)
    if groups is not None and groups.free.any() and len(groups.levels) > 1:
        found = chosen.environments(groups, knowledge, seed, **settings)
    elif len(table.names) > 1:
        with naming_extra():
            found = chosen.search(table, knowledge, seed, **settings)
    seconds = time.perf_counter() - start
    graph, overruled = impose(found, knowledge) if knowledge is not None else (found, [])
    graph, dropped = without_cycles(graph, knowledge, CIRCLE if found.kind == "PAG" else TAIL)
    info = {
        **found.info,
        "method": method,
        "settings": settings,
        "rows": table.rows,
        "seed": seed,
        "seconds": seconds,
    }
    info |= {"encoding": found.info.get("encoding", {}), "score": found.info.get("score")}
    if groups is not None:
        info |= {"environments": groups.rows(), "targets": info.get("targets", groups.no_targets())}
    info["overruled"] = [*found.info.get("overruled", []), *overruled, *dropped]
    return replace(graph, info=info)


def impose(graph: CausalGraph, knowledge: Knowledge) -> tuple[CausalGraph, list[str]]:
    """``graph`` made to agree with ``knowledge`` and closed under Meek's rules, and the edges that
    had to change.

    Orienting an undirected edge is not a change; turning or removing an edge, or adding a required
    one, is.
    """
    marks = graph.marks.copy()
    names = graph.names
    allowed = knowledge.allowed(names)
    overruled = []
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
        i = names.index(cause)
        j = names.index(effect)
        if not (marks[i, j] == ARROW and marks[j, i] == TAIL):
            overruled += (
                [] if marks[i, j] == marks[j, i] == TAIL else [f"{cause} -> {effect} added"]
            )
            marks[i, j] = ARROW
            marks[j, i] = TAIL
    return CausalGraph(names, meek(marks), kind=_pag(graph)), overruled


def without_cycles(
    graph: CausalGraph, knowledge: Knowledge | None = None, mark: int = TAIL
) -> tuple[CausalGraph, list[str]]:
    """``graph`` with a ``mark`` at both ends of the edges inside a directed cycle, but for those
    ``knowledge`` directs.
    """
    marks = graph.marks.copy()
    dropped = []
    known = (
        knowledge.orientations(graph.names)
        if knowledge is not None
        else np.zeros(marks.shape, dtype=bool)
    )
    for component in nx.strongly_connected_components(graph.directed_part()):
        for cause, effect in itertools.permutations(sorted(component), 2):
            i = graph.index(cause)
            j = graph.index(effect)
            if graph.adjacency[i, j] and not known[i, j]:
                dropped.append(f"{cause} -> {effect} undirected, it stood in a cycle")
                marks[i, j] = marks[j, i] = mark
    return CausalGraph(graph.names, marks, graph.info, _pag(graph)), dropped


def _pag(graph):
    """The kind to give to a graph that is made of ``graph`` with other marks."""
    return "PAG" if graph.kind == "PAG" else None


def _check_table(table, chosen, method, settings, knowledge):
    """Raise ValueError where ``chosen``, named ``method``, cannot run on ``table``."""
    able = (
        chosen.functions
        or chosen.variables == "discrete"
        or settings.get("test") in ("chisq", "gsq")
    )
    allow = ("function", "collinear") if able else ()
    if chosen.missing and table.frame is not None and table.frame.isna().any(axis=None):
        allow = (*allow, "missing", "too-few-rows")  # that count complete rows
    found = audit(table, knowledge=knowledge, moments=not chosen.counts).raise_errors(allow=allow)
    for finding in found.findings:
        if finding.code == "far-value":
            warnings.warn(f"frame: {finding.message}", stacklevel=3)
    if not table.names:
        raise ValueError("frame: has no columns")
    if chosen.variables == "numeric" and not all(table.numeric):
        name = table.names[table.numeric.index(False)]
        able = method_names(lambda other: other.variables != "numeric")
        raise ValueError(
            f"method {method!r} takes numbers, column {name!r} is a category; others "
            f"take it: {able}"
        )
    if knowledge is not None and chosen.knowledge == "none":
        able = method_names(lambda other: other.knowledge != "none")
        raise ValueError(f"method {method!r} cannot honour knowledge; methods that can: {able}")


def _environments(data, method, environments, targets):
    """The `Environments` of ``data``; None where no column of them is named."""
    if environments is None:
        if targets is not None:
            raise ValueError(
                "targets are those of environments: name the column that holds the levels, "
                "environments='...'"
            )
        return None
    if METHODS[method].environments is None:
        able = method_names(lambda other: other.environments is not None)
        raise ValueError(f"method {method!r} takes no environments; methods that do: {able}")
    return read_environments(need_rows(Table(data), "environments"), environments, targets)


def _settings(method, given):
    """All settings of ``method``, those ``given`` checked."""
    known = METHODS[method].settings
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise ValueError(
            f"method {method!r} has no setting {unknown[0]!r}; settings: {', '.join(known)}"
        )
    checked = {name: known[name].checked(name, value) for name, value in given.items()}
    return METHODS[method].defaults | checked


discover.__doc__ = discover.__doc__.replace(
    "METHODS_TABLE", methods_table().replace("\n", "\n    ")
)
