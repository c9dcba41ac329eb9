"""`discover`: a frame and what is known beforehand in, a `CausalGraph` out, whatever the engine."""

import itertools
import time
from collections.abc import Callable

import networkx as nx
import numpy as np
import pandas as pd
from scipy.linalg import cholesky, qr

from causal_lib.data.schema import check_frame
from causal_lib.graph import ARROW, NONE, TAIL, CausalGraph, meek
from causal_lib.knowledge import Knowledge


def discover(
    frame: pd.DataFrame,
    *,
    method: str = "flop",
    knowledge: Knowledge | None = None,
    seed: int = 0,
    **settings,
) -> CausalGraph:
    """The CPDAG of ``frame``'s columns that ``method`` finds, with every orientation that ``knowledge`` implies.

    Assumes that no common cause is hidden, that rows are independent, and that dependence shows in correlations of
    the encoded, standardised columns (linear Gaussian score or test). Encoding: numbers as they are; ordered
    categories by rank; unordered ones by the scores of their levels that correlate most with the other columns
    (optimal scaling), which loses whatever is not along those scores.

    Parameters
    ----------
    frame : rows are observations, columns variables (numbers, booleans or categories), nothing missing.
    method : 'flop' (score search, flopsearch) or 'pc' (conditional independence tests, causal-learn).
    knowledge : honoured exactly in the result: edges that contradict it are turned or removed, required ones are
        added. PC also uses it while it searches; FLOP cannot.
    seed : for engines that can be seeded. PC draws nothing. flopsearch draws from the system's entropy: it gives the same
        graph again because it restarts until it finds the same best score (checked up to 12 columns); for many more
        columns raise ``restarts``.
    settings : FLOP: ``penalty`` (BIC weight, 2.0), ``restarts`` (200). PC: ``alpha`` (0.01), ``max_condition`` (all).

    Returns
    -------
    `CausalGraph` with ``info``: method, settings, rows, seed, seconds, encoding, and overruled: what had to be changed
    in the engine's own answer, against ``knowledge`` or because its directions ran in a circle (PC on finite data).

    Raises
    ------
    ValueError
        for an unknown method or setting, missing or infinite values, a constant column, columns that determine each
        other (named), fewer rows than columns, or knowledge about absent columns.

    Source: FLOP, arXiv 2510.04970; PC, Spirtes, Glymour and Scheines 2000; order-independent, Colombo and Maathuis 2014.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500))
    >>> discover(pd.DataFrame({"x": x, "y": y, "z": x + y + rng.normal(size=500)})).edges
    ['x -> z', 'y -> z']
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    search, defaults = METHODS[method]
    unknown = sorted(settings.keys() - defaults.keys())
    if unknown:
        raise ValueError(f"method {method!r} has no setting {unknown[0]!r}; settings: {', '.join(defaults)}")
    settings = defaults | settings
    check_frame(frame, frame.columns, complete=True, varying=True)
    names = tuple(map(str, frame.columns))
    if knowledge is not None:
        knowledge.allowed(names)  # says at once which variable is absent
    values, encoding = encode(frame)
    _check_rank(values, names)
    start = time.perf_counter()
    found = CausalGraph(names, search(values, names, knowledge, **settings))
    seconds = time.perf_counter() - start
    graph, overruled = impose(found, knowledge) if knowledge is not None else (found, [])
    graph, dropped = without_cycles(graph, knowledge)
    info = {"method": method, "settings": settings, "rows": len(frame), "seed": seed, "seconds": seconds}
    return CausalGraph(names, graph.marks, info | {"encoding": encoding, "overruled": overruled + dropped})


def encode(frame: pd.DataFrame) -> tuple[np.ndarray, dict[str, str]]:
    """``frame`` as an (n, d) float matrix of standardised columns, and how each category was turned into numbers."""
    columns, nominal, encoding = [], [], {}
    for position, name in enumerate(frame.columns):
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):  # booleans too
            columns.append(column.to_numpy(dtype=float))
            continue
        category = column.astype("category").cat.remove_unused_categories()
        columns.append(category.cat.codes.to_numpy(dtype=float))
        encoding[str(name)] = "ordered levels" if category.cat.ordered else "optimal scaling"
        if not category.cat.ordered and len(category.cat.categories) > 2:
            nominal.append(position)
    values = _standardise(np.column_stack(columns))
    others = np.delete(values, nominal, axis=1)
    for position in nominal if others.shape[1] else ():
        codes = values[:, position]
        levels, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
        sums = np.zeros((len(levels), others.shape[1]))
        np.add.at(sums, inverse, others)
        # Leading left singular vector of the weighted level means: the scores of largest squared correlation in sum.
        scores = np.linalg.svd(sums / np.sqrt(counts)[:, None], full_matrices=False)[0][:, 0] / np.sqrt(counts)
        scores *= np.sign(scores[np.abs(scores).argmax()])
        values[:, position] = scores[inverse]
    return _standardise(values), encoding


def impose(graph: CausalGraph, knowledge: Knowledge) -> tuple[CausalGraph, list[str]]:
    """``graph`` made to agree with ``knowledge`` and closed under Meek's rules, and the edges that had to change.

    Orienting an undirected edge is not a change; turning or removing an edge, or adding a required one, is.
    """
    marks, names = graph.marks.copy(), graph.names
    allowed, overruled = knowledge.allowed(names), []
    for i, j in np.argwhere(np.triu(graph.skeleton)):
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
    return CausalGraph(names, meek(marks)), overruled


def without_cycles(graph: CausalGraph, knowledge: Knowledge | None = None) -> tuple[CausalGraph, list[str]]:
    """``graph`` with the edges inside a directed cycle left undirected, but for those that ``knowledge`` directs."""
    marks, dropped = graph.marks.copy(), []
    known = knowledge.orientations(graph.names) if knowledge is not None else np.zeros(marks.shape, dtype=bool)
    for component in nx.strongly_connected_components(graph.to_networkx()):
        for cause, effect in itertools.permutations(sorted(component), 2):
            i, j = graph.index(cause), graph.index(effect)
            if graph.adjacency[i, j] and not known[i, j]:
                dropped.append(f"{cause} -> {effect} undirected, it stood in a cycle")
                marks[i, j] = TAIL
    return CausalGraph(graph.names, marks, graph.info), dropped


def _flop(values, names, knowledge, penalty, restarts):
    from flopsearch import flop

    # FLOP sees the data through their covariance only. A few rows with the same covariance, and the penalty per row
    # kept, give the same search at a cost that does not grow with the log.
    n, d = values.shape
    few = min(n, max(2 * d, 50))
    waves = np.cos(np.outer(np.arange(few) + 0.5, np.arange(1, d + 1)) * np.pi / few)  # mean 0, orthogonal
    rows = np.sqrt(few) * qr(waves, mode="economic")[0] @ cholesky(values.T @ values / n)
    penalty *= few / n * np.log(n) / np.log(few)
    theirs = np.asarray(flop(rows, penalty, restarts=restarts))  # [i, j]: 1 for i -> j, 2 on both sides for i - j
    return np.select([theirs == 1, theirs.T == 1, theirs == 2], [ARROW, TAIL, TAIL], NONE)


def _pc(values, names, knowledge, alpha, max_condition):
    from causallearn.search.ConstraintBased.PC import pc

    background = knowledge.to_causallearn(names) if knowledge is not None else None
    found = pc(
        values, alpha, "fisherz", stable=True, background_knowledge=background, node_names=list(names),
        max_k=max_condition, show_progress=False,
    )  # fmt: skip
    return CausalGraph.from_causallearn(found.G, names).marks


METHODS: dict[str, tuple[Callable, dict[str, object]]] = {
    "flop": (_flop, {"penalty": 2.0, "restarts": 200}),
    "pc": (_pc, {"alpha": 0.01, "max_condition": None}),
}
"""Engine name -> (function of values, names, knowledge and settings that gives marks; its settings with defaults)."""


def _standardise(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _check_rank(values, names):
    n, d = values.shape
    if n <= d + 3:
        raise ValueError(f"{n} rows are too few for {d} columns: at least {d + 4} are needed")
    _, r, order = qr(values / np.sqrt(n), mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(r))
    if diagonal[-1] < 1e-6:
        rank = int((diagonal >= 1e-6).sum())
        dependent, basis = order[rank], order[:rank]
        weights = np.linalg.lstsq(values[:, basis], values[:, dependent], rcond=None)[0]
        culprits = [names[k] for k, w in zip(basis, weights, strict=True) if abs(w) > 1e-6]
        raise ValueError(
            f"column {names[dependent]!r} is a linear function of {', '.join(map(repr, culprits))}; leave one of them out"
        )
