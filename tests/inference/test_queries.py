"""One query: names checked at once, graphs derived once, the same answers as the functions of one
question.
"""

import networkx as nx
import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference import adjustment, identify
from causal_lib.inference.queries import Query, with_causes

EDGES = ["a -> x", "a -> b", "b -> y", "x -> m", "m -> y", "m -> d", "x <-> c", "c -> y", "z -> a"]
GRAPH = CausalGraph.from_edges("xyabcdmz", EDGES)


def test_derived_sets_by_hand():
    query = Query.of(GRAPH, "x", "y", ["c"])
    assert query.on_causal_paths == {"m", "y"}
    assert query.forbidden == {"x", "y", "m", "d"}
    assert query.descendants == {"m", "y", "d"}
    assert set(query.directed.edges) - set(query.back_door.edges) == {("x", "m")}
    assert query.moral is None  # the path by c stays open
    assert set(Query.of(GRAPH, "x", "y").moral) == {"x", "y", "a", "b", "c", "z"}
    assert query.in_order(["z", "y", "a"]) == ("y", "a", "z")


def test_the_graphs_of_a_query_are_made_once(monkeypatch):
    made = []

    def counted(graph):
        made.append(graph)
        return with_causes(graph)

    monkeypatch.setattr("causal_lib.inference.queries.with_causes", counted)
    identify(CausalGraph.from_edges("xyz", ["z -> x", "z -> y", "x -> y"]), "x", "y")
    assert len(made) == 1


def test_answers_are_those_of_the_functions():
    query = Query.of(GRAPH, "x", "y")
    assert query.minimal_sets(10) == adjustment.minimal_adjustment_sets(GRAPH, "x", "y", limit=10)
    assert query.optimal_set() == adjustment.optimal_adjustment_set(GRAPH, "x", "y") == ("b", "c")
    assert query.is_adjustment_set("ac")
    assert not query.is_adjustment_set("a")
    assert query.why_not("a") == "x <- (hidden) -> c -> y is open"
    assert query.why_not("acd") == adjustment.why_no_adjustment_set(GRAPH, "x", "y", "acd")


def test_moral_graphs_join_what_a_hidden_variable_connects():
    query = Query.of(
        CausalGraph.from_edges("xyuvw", ["u -> v", "v -> w", "u -> x", "w -> y"]), "x", "y", "v"
    )
    assert nx.utils.graphs_equal(query.moral, nx.Graph(["xu", "uw", "wy"]))


def test_two_instruments_conditions_that_tie_are_taken_near_the_outcome_first():
    """Whatever the order of sets in this process."""
    edges = ["z -> x", "a -> z", "a -> b", "b -> y", "x -> y", "u -> x", "u -> y"]
    graph = CausalGraph.from_edges("xyzabu", edges)
    assert adjustment.find_instrument(graph, "x", "y", hidden=["u"]) == ("z", ("b",))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "q"), "no variable 'q' in the graph"),
        (("x", "y", ["q"]), "no variable 'q' in the graph"),
        (("x", "x"), "treatment and outcome are both 'x'"),
        (("x", "y", ["y"]), "'y' is hidden: an effect needs its treatment and outcome observed"),
    ],
)
def test_bad_names_are_refused_before_anything_is_computed(names, message):
    with pytest.raises(ValueError, match=message):
        Query.of(GRAPH, *names)


def test_what_cannot_be_adjusted_for_is_refused():
    with pytest.raises(
        ValueError, match="'x' is the treatment or the outcome: it cannot be adjusted"
    ):
        Query.of(GRAPH, "x", "y").why_not(["x"])
    with pytest.raises(ValueError, match="no variable 'q'"):
        Query.of(GRAPH, "x", "y").is_adjustment_set(["q"])
