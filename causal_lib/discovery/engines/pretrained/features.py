"""Features of variables and of ordered pairs: the input of the pretrained discoverer.

They are computed on a canonical form of the table (`table_form`): standardised columns whose signs
and order follow from their content. So units, signs, names and the order of columns cannot change
the answer, to the last bit.

Every feature is a moment (`pair_moments`), a regression or the answer of a cheap solver.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from causal_lib.discovery.encoding import encode
from causal_lib.discovery.engines import additive
from causal_lib.discovery.engines.additive import RIDGE
from causal_lib.discovery.engines.order_search import search_orders
from causal_lib.discovery.engines.pretrained import pair_moments
from causal_lib.discovery.engines.pretrained.pair_moments import (
    FLAT,
    PairFeatures,
    entropy,
    rescaled,
)
from causal_lib.discovery.engines.pretrained.table_form import (
    KnowledgeMatrices,
    normal_scores,
    to_canonical,
)
from causal_lib.discovery.engines.reachability import close_transitively
from causal_lib.discovery.statistics import Statistics
from causal_lib.knowledge import Knowledge

ROWS = 2000  # rows in the sample for the expensive features; correlations use all rows
DRAWS = 8
ODD_NODES = 2
SHRINK = 0.001
_BINS = 4
_FEW = 6  # a number of at most so many values is cut by its levels
_ALL_PAIRS = 50  # with at most so many variables, every pair is considered


@dataclass(frozen=True)
class Features:
    """The features of a table of d variables, in canonical order.

    order : (d,) positions of the canonical variables among the table's columns.
    nodes : (d, f) float32.
    pairs : (e, g) float32, one row for each ordered pair (i, j) of ``index``.
    index : (2, e) int64; with every pair its reverse.
    allowed, required : (e,) bool, whether i → j may be an edge, and whether it must.
    names : of the g features of pairs.
    odd : (2, g) bool, whether a feature changes sign with i, with j; the first `ODD_NODES` features
        of nodes do with theirs.
    """

    order: np.ndarray
    nodes: np.ndarray
    pairs: np.ndarray
    index: np.ndarray
    allowed: np.ndarray
    required: np.ndarray
    names: tuple[str, ...]
    odd: np.ndarray


def describe(frame: pd.DataFrame, knowledge: Knowledge | None = None, seed: int = 0) -> Features:
    """The features of ``frame``, which has no constant column, and of ``knowledge`` about it."""
    names = [str(name) for name in frame.columns]
    table, order, kinds, missing = to_canonical(frame)
    known = KnowledgeMatrices([names[k] for k in order], knowledge)
    nodes, out = of_canonical(table, kinds, known, seed)
    nodes = np.column_stack([nodes, missing.astype(np.float32)])
    return Features(
        order=order,
        nodes=nodes,
        pairs=out.matrix(),
        index=np.stack([out.i, out.j]),
        allowed=known.allowed[out.i, out.j],
        required=known.required[out.i, out.j],
        names=tuple(out.names),
        odd=np.array(out.parity, dtype=bool).T,
    )


def of_canonical(
    table: pd.DataFrame, kinds: np.ndarray, known: KnowledgeMatrices, seed: int
) -> tuple[np.ndarray, PairFeatures]:
    """The features of the variables and of the pairs of a table in canonical form."""
    d = len(kinds)
    n = len(table)
    values = encode(table)[0]
    rng = np.random.default_rng(seed)
    scores = normal_scores(values, kinds)
    solved = _solve(table, values, scores, kinds, known, seed)
    sample = np.sort(rng.choice(n, ROWS, replace=False)) if n > ROWS else np.arange(n)
    out = PairFeatures(*_pairs(d, solved), n)
    _linear(out, values, "value")
    _linear(out, scores, "score")
    for name, (adjacency, undirected) in solved.items():
        out.add(f"solver {name} directed", adjacency, 0, 0)
        out.add(f"solver {name} open", undirected, 0, 0)
    x = rescaled(values[sample])
    s = rescaled(scores[sample])
    pair_moments.cross(out, x)
    _information(out, x)
    ancestors = []
    for name, data in (("value", x), ("score", s)):
        functions = additive.bases(data, kinds == 3)
        parents, gain, _ = additive.search(data, functions, known.allowed, known.required, rows=n)
        ancestors.append(close_transitively(parents))
        out.add(f"additive {name} parent", parents, 0, 0)
        out.add(f"additive {name} ancestor", ancestors[-1], 0, 0)
        out.add(f"additive {name} gain", np.log1p(np.sqrt(n) * np.maximum(gain, 0)), 0, 0)
        pair_moments.curves(out, data, functions, f"curve {name}")
        neighbours = parents | parents.T
        for adjacency, undirected in solved.values():
            neighbours = neighbours | (adjacency + adjacency.T + undirected > 0.3)
        pair_moments.with_residuals(
            out, data, additive.residuals(data, functions, neighbours), f"near {name}"
        )
        pair_moments.with_residuals(
            out, data, additive.residuals(data, functions, parents), f"parents {name}"
        )
    pair_moments.lines(out, x)
    place = _lingam_order(x[:1000], known)
    pair_moments.with_residuals(out, x, _on_predecessors(x, place), "lingam")
    out.add("lingam before", np.sign(place[None, :] - place[:, None]) * 1.0, 0, 0)
    out.add("lingam distance", (place[None, :] - place[:, None]) / d, 0, 0)
    for name, matrix in known.features().items():
        out.add(f"known {name}", matrix, 0, 0)
    return _nodes(x, values, kinds, known, place / d, ancestors, n), out


def _pairs(d, solved):
    """(i, j) of all ordered pairs, or with many variables of those that a solver joins."""
    joined = np.ones((d, d), dtype=bool)
    if d > _ALL_PAIRS:
        joined = np.zeros((d, d), dtype=bool)
        for adjacency, undirected in solved.values():
            joined |= (adjacency > 0) | (undirected > 0)
        joined |= joined.T
    np.fill_diagonal(joined, False)
    return joined.nonzero()


# ---- solvers ------------------------------------------------------------------------------------


def _solve(table, values, scores, kinds, known, seed):
    """Solver -> (directed, undirected), (d, d) each.

    The solvers are order searches, and their frequencies over bootstrap draws.
    """
    knowledge = known.renamed()
    answers = {}

    names = list(table.columns)

    def search(statistics, restarts):
        known = knowledge and knowledge.restrict(statistics.names)
        found = search_orders(
            statistics.shrunk(SHRINK), knowledge=known, seed=seed, restarts=restarts
        )
        at = [names.index(name) for name in found.names]
        answer = np.zeros((2, len(names), len(names)))
        answer[np.ix_([0, 1], at, at)] = found.adjacency, found.undirected
        return answer[0], answer[1]

    statistics = Statistics.from_frame(table, n_boot=DRAWS, seed=seed)
    answers["blocks"] = search(statistics, 5)
    nominal = (kinds == 3).any()
    answers["values"] = (
        search(Statistics.from_frame(pd.DataFrame(values, columns=names)), 5)
        if nominal
        else answers["blocks"]
    )
    of_scores = Statistics.from_frame(
        pd.DataFrame(scores, columns=names), n_boot=DRAWS // 2, seed=seed
    )
    answers["scores"] = search(of_scores, 5)
    for name, source, draws in (("blocks", statistics, DRAWS), ("scores", of_scores, DRAWS // 2)):
        found = [search(_varying(source.draw(b)), 1) for b in range(draws)]
        answers[f"drawn {name}"] = tuple(np.mean([one[k] for one in found], axis=0) for k in (0, 1))
    return answers


def _varying(statistics):
    """``statistics`` of a draw without the variables that are constant in it, or nearly so."""
    names = [k for k in statistics.names if (np.diagonal(statistics.subset([k]).cov) > 1e-6).any()]
    return statistics.subset(names)


# ---- linear -------------------------------------------------------------------------------------


def _linear(out, values, name):
    """Add correlations, partial correlations given all others, and extremes given one other."""
    d = values.shape[1]
    n = len(values)
    correlation = values.T @ values / n
    inverse = np.linalg.inv(correlation + RIDGE * np.eye(d))
    scale = np.sqrt(np.diagonal(inverse))
    partial = -inverse / np.outer(scale, scale)
    out.moment(f"correlation {name}", correlation, 1, 1)
    out.moment(f"partial {name}", partial, 1, 1)
    off = np.clip(correlation - np.diag(np.diagonal(correlation)), -0.9999, 0.9999)
    root = np.sqrt(1 - off**2)
    first = (off[:, :, None] - off[:, None, :] * off[None, :, :]) / (
        root[:, None, :] * root[None, :, :]
    )
    size = np.abs(first)
    hidden = np.eye(d, dtype=bool)
    size = np.where(hidden[:, None, :] | hidden[None, :, :], np.nan, size)
    if d > 2:
        size[np.arange(d), np.arange(d)] = 0
        out.moment(f"least given one {name}", np.nanmin(size, axis=2), 0, 0)
        out.moment(f"most given one {name}", np.nanmax(size, axis=2), 0, 0)
    else:
        for what in ("least", "most"):
            out.moment(f"{what} given one {name}", np.abs(off), 0, 0)
    r2 = 1 - 1 / np.maximum(np.diagonal(inverse), 1)
    out.add(f"r2 difference {name}", r2[None, :] - r2[:, None], 0, 0)


# ---- orders -------------------------------------------------------------------------------------


def _lingam_order(x, known):
    """(d,) place of each variable in the order of DirectLiNGAM, given tiers and required edges.

    Source: Shimizu and others, Journal of Machine Learning Research 12 (2011).
    """
    d = x.shape[1]
    x = x.copy()
    left = list(range(d))
    place = np.zeros(d)
    after = known.before | known.required
    for turn in range(d):
        free = [k for k in left if not after[left, k].any()]
        free = free or left
        if len(left) > 1 and len(free) > 1:
            rest = rescaled(x[:, left])
            correlation = np.clip(rest.T @ rest / len(rest), -0.999, 0.999)
            root = np.sqrt(1 - correlation**2)
            m = len(left)
            alone = entropy(rest)
            given = np.empty((m, m))
            for a in range(m):  # residual of every b on a
                given[a] = entropy((rest - rest[:, a, None] * correlation[a]) / root[a])
            contrast = alone[:, None] + given - alone[None, :] - given.T  # below 0 where a -> b
            np.fill_diagonal(contrast, 0)
            cost = np.square(np.maximum(contrast, 0)).sum(axis=1)
            chosen = min(free, key=lambda k: cost[left.index(k)])
        else:
            chosen = free[0]
        place[chosen] = turn
        root = x[:, chosen] / max(x[:, chosen].std(), FLAT)
        left.remove(chosen)
        x[:, left] -= np.outer(root, root @ x[:, left] / max(root @ root, 1e-3 * len(x)))
    return place


def _on_predecessors(x, place):
    """(n, d) residuals of the linear regression of each variable on all that stand before it."""
    order = np.argsort(place)
    covariance = (x.T @ x / len(x)).astype(float) + RIDGE * np.eye(x.shape[1])
    factor = np.linalg.cholesky(covariance[np.ix_(order, order)])
    residual = np.empty_like(x)
    residual[:, order] = solve_triangular(factor, x[:, order].T.astype(float), lower=True).T
    return residual


# ---- information and nodes ----------------------------------------------------------------------


def _information(out, x):
    """Add mutual information of variables cut into four bins, and measures of prediction."""
    n, d = x.shape
    codes = np.zeros((n, d), dtype=int)
    for k in range(d):
        levels, inverse, counts = np.unique(x[:, k], return_inverse=True, return_counts=True)
        if len(levels) <= _BINS:
            codes[:, k] = inverse
        elif len(levels) <= _FEW:
            rank = np.empty(len(levels), dtype=int)
            rank[np.argsort(-counts, kind="stable")] = np.arange(len(levels))
            codes[:, k] = np.minimum(rank[inverse], _BINS - 1)
        else:
            codes[:, k] = np.searchsorted(
                np.quantile(x[:, k], (0.25, 0.5, 0.75)), x[:, k], side="right"
            )
    hot = np.zeros((n, d * _BINS), dtype=np.float32)
    for b in range(_BINS):
        hot[:, b::_BINS] = codes == b
    joint = (hot.T @ hot / n).reshape(d, _BINS, d, _BINS)
    joint = joint.transpose(0, 2, 1, 3)  # (d, d, bin of i, bin of j)
    margin = np.stack([(codes == b).mean(axis=0) for b in range(_BINS)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / (margin[:, None, :, None] * margin[None, :, None, :]))
    information = np.nan_to_num(terms).sum(axis=(2, 3))
    entropy = -np.nan_to_num(margin * np.log(np.maximum(margin, 1e-12))).sum(axis=1)
    freedom = np.maximum(np.outer((margin > 0).sum(axis=1) - 1, (margin > 0).sum(axis=1) - 1), 1)
    out.add("information", np.sqrt(np.maximum(information, 0)), 0, 0)
    out.add("information, log", np.log1p(2 * n * np.maximum(information, 0) / freedom), 0, 0)
    out.add("uncertainty left", information / np.maximum(entropy, 1e-6)[None, :], 0, 0)
    out.add("mode kept", joint.max(axis=3).sum(axis=2), 0, 0)


def _nodes(x, values, kinds, known, place, ancestors, n):
    """(d, f) features of the variables; the first `ODD_NODES` change sign with the variable."""
    d = x.shape[1]
    clipped = np.clip(x, -6, 6)
    skew = (clipped**3).mean(axis=0)
    kurtosis = (clipped**4).mean(axis=0) - 3
    levels = np.array([len(np.unique(x[:, k])) for k in range(d)])
    most = np.array([np.unique(x[:, k], return_counts=True)[1].max() / len(x) for k in range(d)])
    correlation = values.T @ values / len(values)
    r2 = 1 - 1 / np.maximum(np.diagonal(np.linalg.inv(correlation + RIDGE * np.eye(d))), 1)
    tier = np.where(known.tier >= 0, (known.tier + 1) / max(known.tier.max() + 1, 1), 0)
    columns = [
        np.sign(skew) * np.log1p(np.abs(skew)),
        np.tanh((clipped**3).mean(axis=0)),
        np.sign(kurtosis) * np.log1p(np.abs(kurtosis)),
        np.log(np.minimum(levels, 100)) / 4,
        most,
        *(kinds == k for k in range(4)),
        levels <= 12,
        entropy(rescaled(x)).clip(-2, 2),
        r2,
        place,
        tier,
        known.tier >= 0,
        *(reach.sum(axis=axis) / d for reach in ancestors for axis in (0, 1)),
        np.square(correlation).mean(axis=0),
        np.full(d, np.log(n) / 8),
        np.full(d, np.log(d) / 4),
    ]
    return np.column_stack(columns).astype(np.float32)
