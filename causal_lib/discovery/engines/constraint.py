"""PC and FCI by causal-learn, with a test that needs only covariances of mixed columns."""

from functools import cache

import numpy as np
from scipy.stats import chi2, norm

from causal_lib.graph import ARROW, CIRCLE, TAIL, CausalGraph
from causal_lib.knowledge import Knowledge


def pc(names, test, knowledge, alpha: float, max_condition: int | None) -> CausalGraph:
    """The CPDAG by order-independent PC.

    ``test`` is (rows, causal-learn's name of the test, its arguments); ``max_condition`` limits the
    conditioning set.
    """
    from causallearn.search.ConstraintBased.PC import pc as search

    rows, name, how = test
    background = knowledge.to_causallearn(names) if knowledge is not None else None
    found = search(
        rows,
        alpha,
        name,
        stable=True,
        background_knowledge=background,
        node_names=list(names),
        max_k=max_condition,
        show_progress=False,
        **how,
    )
    return CausalGraph.from_causallearn(found.G, names)


def fci(names, test, knowledge, alpha: float, max_condition: int | None) -> CausalGraph:
    """The PAG by FCI without selection bias, with causal-learn's rules 0-4 and 8-10 of Zhang 2008.

    causal-learn's own driver is not used. It turns 'x does not cause y' into 'y causes x', which is
    wrong under a hidden common cause. It skips rule 4 if rules 1-3 change nothing, and it prints.
    Here tiers give arrowheads and required edges give both marks.

    Raises
    ------
    ValueError
        for forbidden edges, because an edge of a PAG may stand for a path through other variables.
    """
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.search.ConstraintBased import FCI
    from causallearn.utils.cit import CIT
    from causallearn.utils.FAS import fas

    if knowledge is not None and knowledge.forbidden:
        raise ValueError(
            "method 'fci' cannot honour forbidden edges: an edge of a PAG says 'ancestor of', "
            "maybe through other variables; give tiers or required edges, or use 'pc' or 'order' "
            "if no common cause is hidden"
        )
    rows, name, how = test
    nodes = [GraphNode(name) for name in names]
    independent = CIT(rows, name, **how)
    depth = -1 if max_condition is None else max_condition
    graph, separators, _ = fas(
        rows, nodes, independent, float(alpha), depth=depth, show_progress=False
    )
    FCI.rule0(graph, nodes, separators, None, False)
    FCI.removeByPossibleDsep(graph, independent, alpha, separators)
    separators |= {
        (b, a): between for (a, b), between in separators.items()
    }  # that step reports one order of each pair only
    FCI.rule0(graph, nodes, separators, None, False)
    found, overruled = _orient(CausalGraph.from_causallearn(graph, names), knowledge)
    graph = found.to_causallearn()
    nodes = graph.get_nodes()
    changed = True
    while changed:
        changed = FCI.rulesR1R2cycle(graph, None, False)
        changed = FCI.ruleR3(graph, separators, None, changed)
        changed = FCI.ruleR4B(graph, -1, rows, independent, alpha, separators, changed, None)
        changed = FCI.rule10(graph, FCI.rule9(graph, nodes, FCI.rule8(graph, nodes, changed)))
    return CausalGraph.from_causallearn(graph, names, kind="PAG", overruled=overruled)


def never_causes(knowledge: Knowledge | None, names) -> np.ndarray:
    """(d, d) bool: the tiers exclude names[i] as a direct or indirect cause of names[j]."""
    known = knowledge or Knowledge()
    return ~Knowledge(known.tiers, within_tiers=known.within_tiers).allowed(names) & ~np.eye(
        len(names), dtype=bool
    )


def _orient(pag, knowledge):
    """``pag`` with the marks that knowledge implies, and the edges that it changed."""
    marks = pag.marks.copy()
    overruled = []
    marks.T[never_causes(knowledge, pag.names) & pag.skeleton] = ARROW
    for cause, effect in sorted(knowledge.required) if knowledge is not None else ():
        i = pag.index(cause)
        j = pag.index(effect)
        if marks[j, i] != CIRCLE:
            overruled.append(f"{cause} -> {effect} {'turned' if marks[j, i] else 'added'}")
        marks[i, j] = ARROW
        marks[j, i] = TAIL
    return CausalGraph(pag.names, marks), overruled


def covariance_test(correlation: np.ndarray, widths: np.ndarray, count: float, fisher: bool):
    """A test of X ⊥ Y | Z for `pc` and `fci`, from the (D, D) ``correlation`` of ``count`` rows.

    Each variable is a block of ``widths`` columns. With ``fisher``, for single columns, the test is
    Fisher's z. Otherwise it is the likelihood ratio of a degenerate Gaussian:

        -m ln(det var(X, Y | Z) / (det var(X | Z) det var(Y | Z))) ~ χ²,
        m = n - q_Z - (q_X + q_Y + 3) / 2,

    with q_X q_Y degrees of freedom.

    Sources: Andrews and others, PMLR 104 (2019); Bartlett 1938.
    """
    how = {"correlation": correlation, "widths": widths, "count": count, "fisher": fisher}
    return np.zeros((len(widths), len(widths))), _register(), how


@cache
def _register():
    from causallearn.utils.cit import CIT_Base, register_ci_test

    class CovarianceTest(CIT_Base):
        def __init__(self, data, correlation, widths, count, fisher):
            super().__init__(data)
            self.method = "covariance"
            self.correlation = correlation
            self.count = count
            self.fisher = fisher
            self.columns = np.split(np.arange(len(correlation)), np.cumsum(widths)[:-1])

        def __call__(self, X, Y, condition_set=None):
            (x,), (y,), given, key = self.get_formatted_XYZ_and_cachekey(X, Y, condition_set)
            if key not in self.pvalue_cache:
                self.pvalue_cache[key] = self.p_value(
                    self.columns[x], self.columns[y], [self.columns[k] for k in given]
                )
            return self.pvalue_cache[key]

        def p_value(self, x, y, given):
            z = np.concatenate([np.zeros(0, dtype=int), *given])
            xy = np.concatenate([x, y])
            q = len(x)
            left = self.correlation[np.ix_(xy, xy)]
            if len(z):
                cross = self.correlation[np.ix_(z, xy)]
                left = left - cross.T @ np.linalg.solve(self.correlation[np.ix_(z, z)], cross)
            if self.fisher:
                r = np.clip(left[0, 1] / np.sqrt(left[0, 0] * left[1, 1]), -1 + 1e-15, 1 - 1e-15)
                return 2 * norm.sf(np.sqrt(self.count - len(z) - 3) * abs(np.arctanh(r)))
            whole, own, other = (
                np.linalg.slogdet(part)[1] for part in (left, left[:q, :q], left[q:, q:])
            )
            return chi2.sf(
                (self.count - len(z) - (len(xy) + 3) / 2) * (own + other - whole), q * len(y)
            )

    register_ci_test("causal_lib covariance", CovarianceTest)
    return "causal_lib covariance"
