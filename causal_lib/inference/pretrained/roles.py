"""Roles of columns under a graph: which models of the pretrained learner need which columns.

With t the treatment, y the outcome and x the columns that are adjusted for:

- confounder: says something of t given the other columns, and of y given t and the others;
- instrument: of t alone; modifier: of y alone, so that the effect may vary with it;
- precision: of y alone, and the effect does not vary with it (no graph says this; a user may);
- neither: of none of them; unknown: whatever of these.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from causal_lib.graph import CausalGraph
from causal_lib.inference.equivalence import members

ROLES = ("unknown", "confounder", "instrument", "modifier", "precision", "neither")
PURPOSES = {
    "outcome": ("unknown", "confounder", "modifier", "precision"),
    "chance": ("unknown", "confounder"),
    "effect": ("unknown", "confounder", "modifier"),
}
"""Model -> roles of the columns that it is given."""
MOST_MEMBERS = 500
MOST_ROLES = 6


def columns_for(purpose: str, roles: Sequence[str]) -> np.ndarray:
    """Positions of the columns that the models of ``purpose`` are given.

    >>> columns_for("chance", ["confounder", "instrument", "modifier"]).tolist()
    [0]
    """
    return np.flatnonzero(np.isin(roles, PURPOSES[purpose]))


def roles_of(
    graph: CausalGraph, treatment: str, outcome: str, columns: Sequence[str]
) -> list[tuple[tuple[str, ...], float]]:
    """The roles of ``columns`` in the DAGs that ``graph`` stands for, each with its share of them.

    Of a class of more than 500 DAGs the first 500 count, and the six most frequent answers are
    kept. A column that the graph lacks is 'unknown'.

    Raises ValueError for a graph that is neither a DAG nor a CPDAG, or lacks treatment or outcome.

    >>> graph = CausalGraph.from_edges("ztxy", ["z -> t", "x -> t", "x -> y", "t -> y"])
    >>> roles_of(graph, "t", "y", ["x", "z"])
    [(('confounder', 'instrument'), 1.0)]
    """
    if graph.kind not in ("DAG", "CPDAG"):
        raise ValueError(
            f"graph: roles are read from a DAG or a CPDAG, not from a {graph.kind}; leave it out, "
            "and all columns count as 'unknown'"
        )
    for name in (treatment, outcome):
        graph.index(name)
    counts = Counter(
        tuple(_role(dag, treatment, outcome, columns, name) for name in columns)
        for dag in islice(members(graph), MOST_MEMBERS)
    )
    kept = counts.most_common(MOST_ROLES)
    whole = sum(count for _, count in kept)
    return [(roles, count / whole) for roles, count in kept]


def roles_of_encoded(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    owners: Mapping[str, str],
    names: Sequence[str],
) -> list[tuple[tuple[str, ...], float]]:
    """`roles_of` for encoded columns ``names``, each with the role of its owner.

    ``owners`` : encoded column -> the column that is adjusted for, as of `Covariates.owners`.
    """
    columns = sorted(set(owners.values()))
    return [
        (tuple(found[columns.index(owners[name])] for name in names), share)
        for found, share in roles_of(graph, treatment, outcome, columns)
    ]


def _role(dag, treatment, outcome, columns, name):
    if name not in dag.names:
        return "unknown"
    others = {column for column in columns if column != name and column in dag.names}
    of_treatment = not dag.d_separated(name, treatment, others)
    of_outcome = not dag.d_separated(name, outcome, others | {treatment})
    if of_treatment:
        return "confounder" if of_outcome else "instrument"
    return "modifier" if of_outcome else "neither"
