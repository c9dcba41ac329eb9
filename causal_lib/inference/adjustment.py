"""Covariate adjustment: sets that close all paths that are not causal; the minimal and the best.

The criterion is complete: a set that it refuses does not identify the effect by adjustment in every
model of the graph.
"""

from collections.abc import Iterable

from causal_lib.graph import CausalGraph
from causal_lib.inference.queries import Query

MOST = 1000


def is_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, given: Iterable[str] = ()
) -> bool:
    """Whether adjusting for ``given`` identifies the effect in all models of the graph.

    That is, whether P(outcome | do(treatment)) is the mean over ``given`` of P(outcome | treatment,
    given).

    Source: Shpitser, VanderWeele and Robins 2010; in the form of van der Zander, Liśkiewicz and
    Textor 2014.

    >>> graph = CausalGraph.from_edges("xmyz", ["z -> x", "z -> y", "x -> m", "m -> y"])
    >>> [is_adjustment_set(graph, "x", "y", given) for given in ("z", "", "zm")]
    [True, False, False]
    """
    return Query.of(graph, treatment, outcome).is_adjustment_set(given)


def why_no_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, given: Iterable[str] = ()
) -> str | None:
    """Why ``given`` is no adjustment set: a forbidden variable, or a path that stays open.

    None where it is an adjustment set.

    >>> graph = CausalGraph.from_edges("xyabc", ["a -> x", "a -> c", "b -> c", "b -> y", "x -> y"])
    >>> why_no_adjustment_set(graph, "x", "y", ["c"])
    'x <- a -> [c] <- b -> y is open, since c is adjusted for'
    """
    return Query.of(graph, treatment, outcome).why_not(given)


def minimal_adjustment_sets(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    *,
    hidden: Iterable[str] = (),
    limit: int = MOST,
) -> list[tuple[str, ...]]:
    """All adjustment sets of observed variables from which none can be left out, the smaller first.

    Empty where there is none; ``[()]`` where nothing need be adjusted for.

    Parameters
    ----------
    graph : a DAG, or one with ``↔`` edges for hidden common causes.
    hidden : variables that the data lack.
    limit : sets at most (there may be exponentially many).

    Source: separators of the moral graph of ancestors (van der Zander, Liśkiewicz and Textor 2014),
    enumerated after Kloks and Kratsch 1998.

    >>> edges = ["a -> x", "a -> b", "b -> y", "c -> x", "c -> y", "x -> y"]
    >>> graph = CausalGraph.from_edges("xyabc", edges)
    >>> minimal_adjustment_sets(graph, "x", "y")
    [('a', 'c'), ('b', 'c')]
    """
    return Query.of(graph, treatment, outcome, hidden).minimal_sets(limit)


def optimal_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = ()
) -> tuple[str, ...] | None:
    """The adjustment set of least asymptotic variance; None where no set is one.

    With all of them observed these are the parents of what lies on a causal path: best among all
    adjustment sets, for linear regression and for semi-parametric estimators alike. Where some are
    hidden there may be no best; then the minimal set nearest to the outcome, the best among the
    minimal ones.

    Source: Henckel, Perković and Maathuis 2022; Rotnitzky and Smucler 2020; Smucler, Sapienza and
    Rotnitzky 2022.

    >>> graph = CausalGraph.from_edges("xyabw", ["a -> x", "a -> b", "b -> y", "w -> y", "x -> y"])
    >>> optimal_adjustment_set(graph, "x", "y")
    ('b', 'w')
    >>> optimal_adjustment_set(graph, "x", "y", hidden=["w"])
    ('b',)
    """
    return Query.of(graph, treatment, outcome, hidden).optimal_set()


def find_instrument(
    graph: CausalGraph, treatment: str, outcome: str, *, hidden: Iterable[str] = ()
) -> tuple[str, tuple[str, ...]] | None:
    """An instrument and what to condition on: it moves the outcome through the treatment alone.

    The one that needs the fewest variables conditioned on; None where there is none (among sets of
    ancestors of it and the outcome, which is enough in all but contrived graphs).

    Source: Brito and Pearl 2002; van der Zander, Textor and Liśkiewicz 2015.

    >>> graph = CausalGraph.from_edges("zxyu", ["z -> x", "x -> y", "u -> x", "u -> y"])
    >>> find_instrument(graph, "x", "y", hidden=["u"])
    ('z', ())
    """
    return Query.of(graph, treatment, outcome, hidden).instrument()
