import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

pairs = st.sampled_from([(a, b) for a in "abcde" for b in "abcde" if a != b])


def test_allowed_follows_tiers_and_pairs():
    k = Knowledge(tiers=[["a", "b"], ["c"]], forbidden=[("a", "c")], required=[("b", "a")])
    # a -> b falls to the required b -> a
    expected = np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    assert (k.allowed(("a", "b", "c")) == expected).all()
    assert (k.orientations(("a", "b", "c")) == expected).all()


@given(
    st.permutations("abcde"),
    st.integers(0, 5),
    st.integers(0, 5),
    st.booleans(),
    st.sets(pairs),
    st.sets(pairs),
)
def test_allowed_is_allows_less_the_reverses_of_required_edges(
    order, first, second, within, forbidden, wanted
):
    low, high = sorted((first, second))
    tiers = [order[:low], order[low:high]]  # the rest stands in no tier
    known = Knowledge(tiers, forbidden, within_tiers=within)
    at = order.index
    required = {(a, b) for a, b in wanted if known.allows(a, b) and at(a) < at(b)}
    known = Knowledge(tiers, forbidden, required, within)
    expected = [
        [a != b and known.allows(a, b) and (b, a) not in required for b in "abcde"] for a in "abcde"
    ]
    assert known.allowed("abcde").tolist() == expected


@given(
    st.permutations("abcde"),
    st.integers(0, 5),
    st.booleans(),
    st.sets(pairs),
    st.sets(st.sampled_from("abcde")),
)
def test_restricted_knowledge_says_the_same_of_what_is_left(order, size, within, forbidden, left):
    known = Knowledge([order[:size], order[size:]], forbidden, within_tiers=within)
    required = {(a, b) for a, b in itertools.pairwise(order) if known.allows(a, b)}
    known = Knowledge(known.tiers, forbidden, required, within)
    names = sorted(left)
    at = ["abcde".index(name) for name in names]
    assert (known.restrict(names).allowed(names) == known.allowed("abcde")[np.ix_(at, at)]).all()
    assert known.restrict(names).required == {edge for edge in required if set(edge) <= left}


def test_tiers_can_forbid_edges_inside():
    assert not Knowledge(tiers=[["a", "b"]], within_tiers=False).allows("a", "b")


def test_fixing_a_graph_leaves_no_other_edge_inside():
    k = Knowledge(tiers=[["a", "b", "c"], ["y"]]).fixing(
        CausalGraph.from_edges("abc", ["a -> b", "b -- c"])
    )
    assert k.required == {("a", "b")}
    assert not k.allows("a", "c")
    assert not k.allows("c", "a")
    assert k.allows("b", "c")
    assert k.allows("c", "b")
    assert k.allows("c", "y")


def test_fixing_a_graph_keeps_what_was_known():
    known = Knowledge(
        [["a", "b"], ["y"]], [("a", "y"), ("b", "z")], [("b", "y")], within_tiers=False
    )
    k = known.fixing(CausalGraph.from_edges("cd", []))
    assert k.forbidden == {("a", "y"), ("b", "z"), ("c", "d"), ("d", "c")}
    assert k.required == {("b", "y")}
    assert (k.tiers, k.within_tiers) == (known.tiers, False)


def test_violations_name_the_edges():
    k = Knowledge(tiers=[["a"], ["b"]], required=[("a", "b")])
    assert k.violations(CausalGraph.from_edges("ab", ["b -> a"])) == ["b -> a", "a -> b (required)"]
    assert k.violations(CausalGraph.from_edges("ab", ["a -> b"])) == []


def test_causallearn_gets_the_same_directions():
    names = ("x", "y", "z")
    k = Knowledge(tiers=[["x"], ["y"]], required=[("x", "z")])
    background = k.to_causallearn(names)
    from causallearn.graph.GraphNode import GraphNode

    nodes = {n: GraphNode(n) for n in names}
    allowed = k.allowed(names)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if i != j:
                assert background.is_forbidden(nodes[a], nodes[b]) == (not allowed[i, j])
    assert background.is_required(nodes["x"], nodes["z"])
    assert not background.is_required(nodes["z"], nodes["x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tiers": [["a"], ["a"]]}, "'a' stands in two tiers"),
        (
            {"tiers": [["a"], ["b"]], "required": [("b", "a")]},
            r"b -> a runs against the tiers \(1 -> 0\)",
        ),
        (
            {"required": [("a", "b")], "forbidden": [("a", "b")]},
            "a -> b is both required and forbidden",
        ),
        ({"required": [("a", "b"), ("b", "a")]}, "given twice|cycle"),
        ({"required": [("a", "b"), ("b", "c"), ("c", "a")]}, "cycle: a -> b -> c -> a"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Knowledge(**arguments)


def test_unknown_variables_are_named():
    with pytest.raises(ValueError, match="knowledge names q, which the data lack"):
        Knowledge(tiers=[["a"], ["q"]]).allowed(("a", "b"))
    with pytest.raises(TypeError, match="lists of variable names"):
        Knowledge(tiers=["ab"])


def test_pieces_given_as_lists_are_kept_as_tuples_and_sets():
    k = Knowledge([["a"], ["b", "c"]], [["c", "a"]], [["a", "b"]])
    assert k.tiers == (("a",), ("b", "c"))
    assert k.forbidden == {("c", "a")}
    assert k.required == {("a", "b")}
    assert (k.tier("a"), k.tier("c"), k.tier("z")) == (0, 1, None)
    assert k == Knowledge((("a",), ("b", "c")), {("c", "a")}, {("a", "b")}, within_tiers=True)


@pytest.mark.parametrize(
    "known",
    [
        {"tiers": [["q"]]},
        {"forbidden": [("q", "a")]},
        {"forbidden": [("a", "q")]},
        {"required": [("q", "a")]},
        {"required": [("a", "q")]},
    ],
)
def test_every_piece_may_name_an_unknown_variable(known):
    with pytest.raises(ValueError, match="knowledge names q, which the data lack; columns: a, b"):
        Knowledge(**known).allowed(("a", "b"))


def test_violations_of_tiers_of_pairs_and_of_what_is_required():
    k = Knowledge(
        tiers=[["a"], ["b", "c"]], forbidden=[("b", "c")], required=[("a", "c")], within_tiers=True
    )
    graph = CausalGraph.from_edges("abc", ["b -> a", "b -> c", "a -- c"])
    assert k.violations(graph) == ["b -> a", "b -> c", "a -> c (required)"]
    within = Knowledge(tiers=[["a"], ["b", "c"]], within_tiers=False)
    assert within.violations(CausalGraph.from_edges("abc", ["a -> b", "c -> b"])) == ["c -> b"]


def test_required_edges_as_a_matrix():
    knowledge = Knowledge(required=[("price", "clicked"), ("age", "price")])
    names = ["clicked", "age", "price"]
    assert knowledge.required_matrix(names).tolist() == [
        [False, False, False],
        [False, False, True],
        [True, False, False],
    ]
    assert not Knowledge(forbidden=[("age", "price")]).required_matrix(names).any()
    with pytest.raises(
        ValueError, match="knowledge names age, which the data lack; columns: price, clicked"
    ):
        knowledge.required_matrix(["price", "clicked"])


@pytest.mark.parametrize("field", ["forbidden", "required"])
@pytest.mark.parametrize("edge", ["a -> b", "ab", ("a", "->", "b"), (0, 1), ("a",)])
def test_an_edge_is_a_pair_of_names(field, edge):
    with pytest.raises(ValueError, match=f"{field}: .* is no pair of names; write"):
        Knowledge(**{field: [edge]})
