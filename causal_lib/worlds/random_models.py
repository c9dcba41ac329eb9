"""Random models with a known graph: DAGs, and linear, nonlinear and mixed data drawn from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd

from causal_lib.graph import ARROW, CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.base import simulates

NOISES = {
    "gaussian": lambda rng, n: rng.standard_normal(n),
    "exponential": lambda rng, n: rng.standard_exponential(n) - 1,
    "uniform": lambda rng, n: rng.uniform(-np.sqrt(3), np.sqrt(3), n),
    "laplace": lambda rng, n: rng.laplace(0, np.sqrt(0.5), n),
    "gumbel": lambda rng, n: (rng.gumbel(size=n) - np.euler_gamma) * np.sqrt(6) / np.pi,
    "student": lambda rng, n: rng.standard_t(5, n) * np.sqrt(0.6),
}
"""Name to function of (rng, n) that draws n values of mean 0, variance 1 ('student': 5 degrees)."""

_KINDS = ("numeric", "binary", "categorical")
_HIDDEN_UNITS = 16  # enough for curves and interactions, few enough to show in 1,000 rows


@dataclass(frozen=True, repr=False)
class Simulation:
    """Simulated data with their truth.

    It is no `World`: its variables are anonymous, so there is no treatment whose effect is the
    truth.

    Attributes
    ----------
    frame : n rows of the observed variables: float64, bool (binary) or unordered ``category``.
    graph : the true `CausalGraph` over the observed variables, ↔ where a hidden variable confounds
        a pair.
    full_graph : the DAG that generated the data, hidden variables included.
    columns : the D encoded columns over ``full_graph.names``: a numeric or binary variable is one
        column; one with k levels is k - 1 indicators "name=level" against the first level.
    weights : (D, D) float: [i, j] is the direct effect of column i on the mean of column j
        (numeric) or on its log-odds against False or the first level (binary, categorical); None
        for a nonlinear mechanism.
    intercepts : (D,) added to the weighted sum in each column's mean or log-odds; None if
        nonlinear.
    variances : (D,) noise variance of numeric columns, nan for the others.
    """

    frame: pd.DataFrame
    graph: CausalGraph
    full_graph: CausalGraph
    columns: tuple[str, ...]
    weights: np.ndarray | None
    intercepts: np.ndarray | None
    variances: np.ndarray

    def knowledge_of_tiers(self, k: int | None = None) -> Knowledge:
        """The observed variables in ``k`` tiers of nearly equal size, cut from the causal order.

        Without ``k``, the tiers of a graph of ``random_dag(kind="tiered")``; ValueError when it has
        none.
        """
        if k is None:
            if "tiers" not in self.graph.info:
                raise ValueError("the graph has no tiers of its own; give k, the number of tiers")
            return Knowledge(tiers=self.graph.info["tiers"])
        order = [name for name in self.full_graph.order() if name in self.graph.names]
        if not 1 <= k <= len(order):
            raise ValueError(f"k={k} tiers: give 1 to {len(order)}, the number of variables")
        return Knowledge(tiers=[part.tolist() for part in np.array_split(order, k)])

    def __repr__(self):
        hidden = len(self.full_graph.names) - len(self.graph.names)
        also_hidden = f", {hidden} hidden" if hidden else ""
        return (
            f"{len(self.frame):,} simulated rows of {len(self.graph.names)} variables"
            f"{also_hidden}, {len(self.graph.edges)} edges"
        )


@simulates("4.3")
def random_dag(
    d: int, *, kind: str = "er", degree: float = 2.0, tiers: int = 4, seed: int = 0
) -> CausalGraph:
    """A random DAG over x0 ... x(d-1), whose causal order is a random permutation of the names.

    Parameters
    ----------
    d : number of variables, at least 2.
    kind : 'er' (Erdős-Rényi: each pair is an edge with the same probability, ``degree * d`` edges
        expected, so that "ER2" is ``degree=2``); 'scale-free' (Barabási-Albert: each variable takes
        ``degree`` earlier ones as parents, with probability proportional to their edges: degree *
        (d - degree) edges, hubs are causes); 'tiered' (Erdős-Rényi, its order cut in ``tiers``
        consecutive groups of nearly equal size).
    degree : edges per variable, above 0.
    seed : an integer or a numpy ``Generator``.

    Returns
    -------
    A DAG with ``info``: kind, degree and, if tiered, tiers (tuples of names, earliest first).

    Raises
    ------
    ValueError
        for an unknown kind, or a degree or number of tiers that d variables cannot have.

    >>> random_dag(4, degree=1, seed=0).edges
    ['x1 -> x0', 'x0 -> x3', 'x1 -> x2', 'x1 -> x3', 'x3 -> x2']
    """
    if kind not in ("er", "scale-free", "tiered"):
        raise ValueError(f"unknown kind {kind!r} of graph; known: er, scale-free, tiered")
    if d < 2 or not 0 < degree <= (d - 1) / (1 if kind == "scale-free" else 2):
        raise ValueError(
            f"{d=} variables cannot have {degree=} edges each; raise d or lower degree"
        )
    if kind == "scale-free" and degree != int(degree):
        raise ValueError(f"{degree=}: a scale-free graph needs a whole number of parents")
    if kind == "tiered" and not 1 <= tiers <= d:
        raise ValueError(f"{tiers=}: give 1 to {d}, the number of variables")
    rng = np.random.default_rng(seed)
    if kind == "scale-free":
        grown = nx.barabasi_albert_graph(d, int(degree), seed=int(rng.integers(2**32)))
        upper = np.triu(nx.to_numpy_array(grown, nodelist=range(d)), 1)
    else:
        upper = np.triu(rng.random((d, d)) < 2 * degree / (d - 1), 1)
    order = rng.permutation(d)
    adjacency = np.zeros((d, d), dtype=bool)
    adjacency[np.ix_(order, order)] = upper
    info = {"kind": kind, "degree": degree}
    if kind == "tiered":
        parts = np.array_split(order, tiers)
        info["tiers"] = tuple(tuple(f"x{i}" for i in part) for part in parts)
    return CausalGraph.from_adjacency(adjacency, **info)


@simulates("4.3")
def simulate(
    graph: CausalGraph,
    n: int,
    *,
    mechanism: str = "linear",
    noise: str = "gaussian",
    kinds: str | Mapping[str, str] | None = None,
    hidden: int = 0,
    weights: tuple[float, float] = (0.5, 2.0),
    variances: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> Simulation:
    """Rows of a linear, nonlinear or mixed structural model over a DAG.

    All numeric and linear: x_j = Σ_i w_ij x_i + e_j on the raw scale, |w| uniform in ``weights``
    with a random sign. With other kinds, each parent of a variable adds a term of standard
    deviation |w| (over the sample): its value times a coefficient, or one random effect per level.
    The sum is the mean (numeric), the log-odds of True (binary) or, with terms of its own for every
    level, the logit of each level (categorical; reported against the first one). Nonlinear: such
    sums enter 16 tanh units with random offsets, whose random combination, of standard deviation
    |w| times the square root of the number of parents, replaces the sum.

    Parameters
    ----------
    n : rows, at least 1.
    mechanism : 'linear' or 'nonlinear'.
    noise : of numeric variables, one of `NOISES`.
    kinds : None (all numeric), 'mixed' (a third each binary, categorical with 3 to 6 levels,
        numeric, at random) or a mapping name to 'numeric', 'binary' or 'categorical' (names left
        out are numeric).
    hidden : number of numeric confounders that are simulated and then dropped; each causes two
        variables that no edge and no other confounder joins, so that the truth is a graph with one
        more ↔.
    weights : range of |w|.
    variances : range from which each numeric variable's noise variance is drawn uniformly.
    seed : an integer or a numpy ``Generator``.

    Raises
    ------
    ValueError
        for a graph that is no DAG, an unknown mechanism, noise, kind or variable, a range out of
        order, or more confounders than pairs that can take one.

    Source: mixed scheme after Andrews, Ramsey and Cooper 2019 (degenerate Gaussian score), linear
    one as in NOTEARS (arXiv 1803.01422).

    >>> simulate(random_dag(5, seed=1), 100, kinds="mixed", seed=2)
    100 simulated rows of 5 variables, 10 edges
    """
    graph.require_dag("a simulation")
    choices = {"mechanism": (mechanism, ("linear", "nonlinear")), "noise": (noise, NOISES)}
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    for name, (low, high) in (("weights", weights), ("variances", variances)):
        if not 0 < low <= high:
            raise ValueError(f"{name}={(low, high)}: give (low, high) with 0 < low <= high")
    if n < 1:
        raise ValueError(f"{n=} rows; at least 1 is needed")
    rng = np.random.default_rng(seed)
    full, confounded = _with_hidden(graph, hidden, rng)
    levels = _levels(graph.names, kinds, rng) + [0] * hidden
    widths = [1 if k < 3 else k - 1 for k in levels]
    offsets = np.concatenate([[0], np.cumsum(widths)])
    blocks = [np.arange(offsets[j], offsets[j + 1]) for j in range(len(levels))]
    adjacency = full.adjacency
    raw = mechanism == "linear" and not any(levels)
    effects = np.zeros((offsets[-1], offsets[-1]))
    intercepts = np.zeros(offsets[-1])
    encoded = np.zeros((n, offsets[-1]), order="F")
    columns = {}
    numeric = [k == 0 for k in levels]
    spread = np.where(numeric, rng.uniform(*variances, len(levels)), np.nan)
    for j in map(full.names.index, full.order()):
        parents = [blocks[i] for i in adjacency[:, j].nonzero()[0]]
        outputs = levels[j] if levels[j] > 2 else 1
        if mechanism == "nonlinear" and parents:
            score = _nonlinear(encoded, parents, outputs, rng, weights)
        else:
            inside = np.concatenate(parents, dtype=int) if parents else np.zeros(0, dtype=int)
            coefficients, offset = _terms(encoded, parents, outputs, rng, weights, raw)
            score = encoded[:, inside] @ coefficients + offset
            if outputs > 1:  # against the first level
                coefficients = coefficients[:, 1:] - coefficients[:, :1]
                offset = offset[1:] - offset[0]
            effects[np.ix_(inside, blocks[j])] = coefficients
            intercepts[blocks[j]] = offset
        if levels[j] == 0:
            column = score[:, 0] + np.sqrt(spread[j]) * NOISES[noise](rng, n)
            encoded[:, blocks[j][0]] = column
        elif levels[j] == 2:
            column = rng.logistic(size=n) < score[:, 0]
            encoded[:, blocks[j][0]] = column
        else:
            # a draw from the softmax of the scores
            codes = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
            column = pd.Categorical.from_codes(codes, list("abcdef"[: levels[j]]))
            encoded[:, blocks[j]] = codes[:, None] == np.arange(1, levels[j])
        columns[full.names[j]] = column
    names = []
    for name, k in zip(full.names, levels, strict=True):
        names += [name] if k < 3 else [f"{name}={level}" for level in "bcdef"[: k - 1]]
    return Simulation(
        frame=pd.DataFrame({name: columns[name] for name in graph.names}),
        graph=confounded,
        full_graph=full,
        columns=tuple(names),
        weights=effects if mechanism == "linear" else None,
        intercepts=intercepts if mechanism == "linear" else None,
        variances=np.repeat(spread, widths),
    )


def _nonlinear(encoded, parents, outputs, rng, weights):
    """(n, outputs) random combinations of tanh units of the parents."""
    coefficients, offset = _terms(encoded, parents, _HIDDEN_UNITS, rng, weights, raw=False)
    entering = encoded[:, np.concatenate(parents)] @ coefficients + offset
    units = np.tanh(entering + rng.uniform(-1, 1, _HIDDEN_UNITS))
    score = units @ rng.standard_normal((_HIDDEN_UNITS, outputs))
    score -= score.mean(axis=0)
    size = rng.uniform(*weights, outputs) * np.sqrt(len(parents))
    return score * (size / _positive(score.std(axis=0)))


def _with_hidden(graph, hidden, rng):
    """The DAG with ``hidden`` confounders, and the graph over the observed variables with ↔."""
    free = np.argwhere(np.triu(~graph.skeleton, 1))
    if not 0 <= hidden <= len(free):
        raise ValueError(
            f"{hidden=}: only {len(free)} pairs of variables are without an edge; "
            f"give 0 to {len(free)}"
        )
    d = len(graph.names)
    full = np.zeros((d + hidden, d + hidden), dtype=bool)
    full[:d, :d] = graph.adjacency
    marks = graph.marks.copy()
    for number, (a, b) in enumerate(free[rng.permutation(len(free))[:hidden]]):
        full[d + number, [a, b]] = True
        marks[[a, b], [b, a]] = ARROW
    names = (*graph.names, *(f"hidden{i}" for i in range(hidden)))
    with_hidden = CausalGraph.from_adjacency(full, names, **graph.info)
    return with_hidden, CausalGraph(graph.names, marks, graph.info)


def _levels(names, kinds, rng):
    """Number of levels per variable: 0 for a numeric one."""
    if isinstance(kinds, str) and kinds != "mixed":
        raise ValueError(f"unknown {kinds=}; give None, 'mixed' or a mapping of names")
    if kinds == "mixed":
        drawn = rng.permutation(np.resize(_KINDS, len(names))).tolist()
        kinds = dict(zip(names, drawn, strict=True))
    kinds = dict(kinds or {})
    for name, kind in kinds.items():
        if name not in names or kind not in _KINDS:
            known_name = name in names
            problem = (
                f"unknown kind {kind!r} of {name!r}" if known_name else (f"no variable {name!r}")
            )
            raise ValueError(
                f"kinds: {problem}; variables: {', '.join(names)}; kinds: {', '.join(_KINDS)}"
            )
    sizes = []
    for name, drawn in zip(names, rng.integers(3, 7, len(names)), strict=True):
        size = {"numeric": 0, "binary": 2, "categorical": int(drawn)}
        sizes.append(size[kinds.get(name, "numeric")])
    return sizes


def _terms(encoded, parents, outputs, rng, weights, raw):
    """Coefficients (columns of all parents, outputs) and offsets (outputs,).

    Each parent's term is centred and of standard deviation |w|, unless ``raw``.
    """
    coefficients = []
    offset = np.zeros(outputs)
    for block in parents:
        weight = rng.uniform(*weights, outputs) * rng.choice([-1, 1], outputs)
        direction = np.ones((1, outputs))
        if len(block) > 1:  # one effect per level, against the first level's
            direction = rng.standard_normal((len(block), outputs))
        if not raw:
            term = encoded[:, block] @ direction
            direction = direction / _positive(term.std(axis=0))
            offset -= (encoded[:, block] @ direction).mean(axis=0) * weight
        coefficients.append(direction * weight)
    if not coefficients:
        return np.zeros((0, outputs)), offset
    return np.concatenate(coefficients), offset


def _positive(deviation):
    """``deviation`` with 1 where it is 0: a parent that is constant in few rows adds nothing."""
    return np.where(deviation > 0, deviation, 1.0)


@simulates("4.3")
def sample_network(net, n: int, *, seed: int = 0) -> pd.DataFrame:
    """Rows of a pyAgrum Bayesian network as categories, without variables that are constant."""
    import pyagrum as gum

    gum.initRandom(seed)
    sampler = gum.BNDatabaseGenerator(net)
    sampler.drawSamples(n)
    names = [net.variable(node).name() for node in net.nodes()]
    frame = sampler.to_pandas()[names].astype("category")
    return frame.loc[:, [frame[name].cat.categories.size > 1 for name in frame]]


@simulates("4.3")
def sample_gaussian_network(network, n: int, *, seed: int = 0) -> pd.DataFrame:
    """Rows (float64) of a linear Gaussian network, columns in the order of its nodes.

    Needs no data package: ``network`` is anything with nodes, edges, weights (d, d), intercepts and
    variances (d,).
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, len(network.nodes))) * np.sqrt(network.variances)
    values = network.intercepts + noise
    graph = CausalGraph.from_edges(network.nodes, network.edges)
    for name in graph.order():
        j = graph.index(name)
        parents = graph.adjacency[:, j]
        values[:, j] += values[:, parents] @ network.weights[parents, j]
    return pd.DataFrame(values, columns=network.nodes)
