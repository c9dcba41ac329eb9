"""Scale audit: how far the true order can be read off variances or R², and the baselines that read
nothing else.

Raw simulated data often give their causal order away by their scale, and standardised ones by their
R². A method is worth something on a benchmark by what it does beyond `sort_and_regress`.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LassoLarsIC, LinearRegression

from causal_lib.checks import check_frame
from causal_lib.discovery.auditing import audit
from causal_lib.graph import CausalGraph


def varsortability(frame: pd.DataFrame, graph: CausalGraph) -> float:
    """Share of the directed paths of the true ``graph`` that start at a variable of smaller
    variance than they end at.

    1: sorting by variance gives the causal order; 0.5: variance tells nothing. Paths of one length
    between the same two variables count once, equal variances (to 1e-9) count half, as in the
    source; nan for a graph without edges.

    Parameters
    ----------
    frame : numeric or boolean columns that have the graph's names; others are not looked at.

    Raises
    ------
    ValueError
        for a graph that is no DAG, a missing, constant or non-numeric column, or missing values.

    Source: Reisach, Seiler and Weichwald 2021, arXiv 2102.13647, section 3.1.

    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> varsortability(pd.DataFrame({"a": x, "b": 2 * x}), CausalGraph.from_edges("ab", ["a -> b"]))
    1.0
    """
    return _order_agreement(graph, _values(frame, graph.names).var(axis=0))


def r2_sortability(frame: pd.DataFrame, graph: CausalGraph) -> float:
    """As `varsortability`, of the R² of each variable regressed on all others, which no rescaling
    changes.

    Raises ValueError, beside that, for columns that determine each other and for too few rows (see
    `audit`).

    Source: Reisach and others 2023, arXiv 2303.18211, equation 3.
    """
    values = _values(frame, graph.names)
    audit(frame[list(graph.names)]).raise_errors()
    return _order_agreement(graph, _r2(values))


def sort_and_regress(frame: pd.DataFrame, by: str = "r2", *, seed: int = 0) -> CausalGraph:
    """The DAG of the baseline "sortnregress": sort the columns, then regress each on those before
    it.

    The regression is an adaptive lasso whose penalty the BIC picks (`LassoLarsIC` on columns scaled
    by their ordinary least-squares coefficients). It knows nothing of causes: a method has to beat
    it.

    Parameters
    ----------
    frame : numeric or boolean columns.
    by : 'variance' (wins on raw simulations, arbitrary on standardised data), 'r2' or 'random' (an
        order by ``seed``).

    Returns
    -------
    A DAG with ``info``: method, order (names) and weights ((d, d), [i, j] of i on j).

    Raises
    ------
    ValueError
        for an unknown ``by``, a column that is not numeric, and what `audit` calls an error.

    Source: as `varsortability` and `r2_sortability`.
    """
    names = tuple(frame.columns)
    criteria = {"variance": lambda x: x.var(axis=0), "r2": _r2}
    criteria["random"] = lambda x: np.random.default_rng(seed).random(x.shape[1])
    if by not in criteria:
        raise ValueError(f"by={by!r} is unknown; choose from {', '.join(criteria)}")
    values = _values(frame, frame.columns)
    audit(frame).raise_errors()
    order = np.argsort(criteria[by](values), kind="stable")
    values = values - values.mean(axis=0)
    weights = np.zeros((len(names), len(names)))
    for k in range(1, len(order)):
        before = order[:k]
        target = order[k]
        scale = np.abs(LinearRegression().fit(values[:, before], values[:, target]).coef_)
        sparse = LassoLarsIC(criterion="bic").fit(values[:, before] * scale, values[:, target])
        weights[before, target] = sparse.coef_ * scale
    info = {
        "method": f"sort-and-regress by {by}",
        "order": [names[i] for i in order],
        "weights": weights,
    }
    return CausalGraph.from_adjacency(weights, names, **info)


def _values(frame, names):
    """The columns ``names`` as an (n, d) float array, or a ValueError that names the first that
    will not do.
    """
    check_frame(frame, names, complete=True, varying=True)
    for name in names:
        dtype = frame[name].dtype
        if not (pd.api.types.is_any_real_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)):
            raise ValueError(
                f"frame: column {name!r} is {dtype}; sorting needs numbers, leave it "
                "out or encode it"
            )
    return frame[list(names)].to_numpy(dtype=float)


def _r2(values):
    return 1 - 1 / np.linalg.inv(np.corrcoef(values.T)).diagonal()


def _order_agreement(graph, criterion):
    """Share of (pair, path length) joined by a directed path whose end has the larger criterion;
    ties count half.
    """
    edges = graph.require_dag("sortability").adjacency.astype(float)
    rise = criterion[None, :] - criterion[:, None]
    tie = np.abs(rise) <= 1e-9 * np.maximum(np.abs(criterion[None, :]), np.abs(criterion[:, None]))
    score = np.where(tie, 0.5, rise > 0)
    paths = 0
    right = 0.0
    reach = edges
    while reach.any():
        paths = paths + int(reach.sum())
        right = right + float((score * reach).sum())
        reach = (reach @ edges > 0).astype(float)
    return right / paths if paths else float("nan")
