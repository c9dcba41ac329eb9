"""Roles of columns: by hand on small graphs, over the members of a class."""

import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference.pretrained.roles import PURPOSES, ROLES, columns_for, roles_of

NAMES = ["t", "y", "a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("edges", "role"),
    [
        (["a -> t", "a -> y"], "confounder"),
        (["a -> t"], "instrument"),
        (["a -> y"], "modifier"),
        ([], "neither"),
        (["a -> b", "b -> t"], "neither"),  # b says all of it
        (["a -> b", "a -> t"], "instrument"),
        (["d -> a", "d -> t", "a -> y"], "confounder"),  # d is hidden
        (["d -> a", "d -> y"], "modifier"),
    ],
)
def test_roles_by_hand(edges, role):
    graph = CausalGraph.from_edges(NAMES, [*edges, "t -> y", "b -> y"])
    found = roles_of(graph, "t", "y", ["a", "b"])
    assert [share for _, share in found] == [1.0]
    assert found[0][0][0] == role


def test_a_class_gives_the_roles_of_its_members():
    """Of a - b one member makes a the cause of b; whichever, a says of y only what b does."""
    graph = CausalGraph.from_edges(NAMES, ["a -- b", "b -> y", "a -> y", "t -> y", "b -> t"])
    found = roles_of(graph, "t", "y", ["a", "b"])
    assert sum(share for _, share in found) == pytest.approx(1)
    assert {roles for roles, _ in found} == {("modifier", "confounder")}
    open_class = CausalGraph.from_edges(["t", "y", "a"], ["a -- t", "t -- y"])
    shares = dict(roles_of(open_class, "t", "y", ["a"]))
    assert shares == {("instrument",): 1.0}
    chain = CausalGraph.from_edges(["t", "y", "a"], ["a -> y", "t -> y"])
    assert dict(roles_of(chain, "t", "y", ["a"])) == {("modifier",): 1.0}


def test_columns_that_the_graph_lacks_are_unknown():
    graph = CausalGraph.from_edges(["t", "y"], ["t -> y"])
    assert roles_of(graph, "t", "y", ["new"]) == [(("unknown",), 1.0)]
    with pytest.raises(ValueError, match="'z'"):
        roles_of(graph, "z", "y", [])


def test_a_graph_with_hidden_causes_is_refused():
    graph = CausalGraph.from_edges(["t", "y", "a"], ["t -> y", "a <-> y"])
    with pytest.raises(ValueError, match="roles are read from a DAG or a CPDAG"):
        roles_of(graph, "t", "y", ["a"])


def test_unknown_columns_go_everywhere_and_instruments_nowhere():
    for purpose in PURPOSES:
        assert 0 in columns_for(purpose, ROLES)
        assert ROLES.index("instrument") not in columns_for(purpose, ROLES)
        assert ROLES.index("neither") not in columns_for(purpose, ROLES)
