"""The PAG that a DAG with hidden variables implies: by brute force over the separations of all
ancestral graphs of four variables.
"""

import itertools

import networkx as nx
import numpy as np
import pytest

from causal_lib.discovery.engines.order_fci import order_fci
from causal_lib.discovery.engines.pag_rules import Marks, pag_of
from causal_lib.graph import CIRCLE, CausalGraph
from causal_lib.worlds.random_models import random_dag
from tests.discovery.engines.test_order_fci import (
    NAMES,
    Oracle,
    canonical,
    classes,
    independence_map,
)


def shared_marks(members):
    """The PAG of a class: the marks that all its members share, circles elsewhere."""
    true = members[0].copy()
    true[(np.array(members) != true).any(axis=0)] = CIRCLE
    return CausalGraph(NAMES[: len(true)], true, kind="PAG")


def named(directed):
    """A networkx DAG as `CausalGraph`: 0, 1, ... are a, b, ..., and the other nodes are hidden."""
    label = {node: NAMES[node] if isinstance(node, int) else f"h{node}" for node in directed}
    edges = [(label[a], label[b]) for a, b in directed.edges]
    hidden = [label[node] for node in directed if not isinstance(node, int)]
    return CausalGraph.from_edges(list(label.values()), edges), hidden


def test_every_ancestral_graph_of_four_variables_has_the_pag_of_its_class():
    for members in classes().values():
        true = shared_marks(members)
        for marks in members:
            dag, hidden = named(canonical(marks))
            assert pag_of(dag, hidden) == true, dag


def d_separations(directed, kept):
    """(i, j, given) of all pairs and sets of the kept variables that a DAG separates."""
    return frozenset(
        (i, j, frozenset(given))
        for i, j in itertools.combinations(range(len(kept)), 2)
        for size in range(len(kept) - 1)
        for given in itertools.combinations([k for k in range(len(kept)) if k not in (i, j)], size)
        if nx.is_d_separator(directed, {kept[i]}, {kept[j]}, {kept[k] for k in given})
    )


@pytest.mark.parametrize("seed", range(60))
def test_hidden_variables_that_have_causes_and_stand_in_chains(seed):
    """Four of eight variables: the class is the one of their separations."""
    rng = np.random.default_rng(seed)
    dag = random_dag(8, degree=float(rng.choice([1, 1.5, 2, 2.5])), seed=seed)
    kept = rng.permutation(dag.names)[:4].tolist()
    true = shared_marks(classes()[d_separations(dag.directed_part(), kept)])
    found = pag_of(dag, set(dag.names) - set(kept)).subgraph(kept)
    assert (found.marks == true.marks).all()


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_the_search_finds_without_error(seed):
    """Six of nine variables, longer discriminating paths among them."""
    rng = np.random.default_rng(seed)
    dag = random_dag(9, degree=1.5, seed=100 + seed)
    kept = rng.permutation(dag.names)[:6].tolist()
    oracle = Oracle(d_separations(dag.directed_part(), kept))
    found = order_fci(independence_map(oracle, rng.permutation(6).tolist(), "abcdef"), oracle)
    found = found.subgraph("abcdef")
    assert (pag_of(dag, set(dag.names) - set(kept)).subgraph(kept).marks == found.marks).all()


def test_nothing_hidden_leaves_the_class_of_the_dag():
    """Its arrowheads are those of the CPDAG, since a v-structure has no other reading."""
    dag = random_dag(12, degree=2, seed=3)
    assert (pag_of(dag).skeleton == dag.skeleton).all()
    arrows = dag.cpdag().adjacency
    assert ((pag_of(dag).marks == 2)[arrows]).all()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="the PAG of a DAG needs a DAG"):
        pag_of(CausalGraph.from_edges("ab", ["a -- b"]))
    with pytest.raises(ValueError, match="no variable 'z'"):
        pag_of(CausalGraph.from_edges("ab", ["a -> b"]), ["z"])


@pytest.mark.parametrize(
    ("inside", "edges"),
    [
        (True, ["a o-> b", "b -> c"]),
        (False, ["a o-> b", "b <-o c"]),
        (None, ["a o-> b", "b o-o c"]),
    ],
)
def test_what_the_data_do_not_decide_stays_open(inside, edges):
    """a - b - c, where b is known to be no cause of a: rule 1, a collider, or neither."""
    skeleton = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    known = np.zeros((3, 3), dtype=bool)
    known[1, 0] = True
    marks = Marks(skeleton, lambda b, x, y: inside, not_cause=known)
    marks.orient_colliders()
    marks.apply_rules()
    found = CausalGraph("abc", marks.marks, kind="PAG")
    wanted = CausalGraph.from_edges("abc", edges).as_pag()
    assert found == wanted
