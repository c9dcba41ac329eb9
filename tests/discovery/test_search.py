import numpy as np
import pandas as pd
import pytest

from causal_lib.data import schema
from causal_lib.discovery import compare_graphs, discover, edge_status
from causal_lib.discovery.encoding import encode
from causal_lib.discovery.search import _settings, impose, without_cycles
from causal_lib.graph import CIRCLE, CausalGraph
from causal_lib.knowledge import Knowledge

GAUSSIAN = ["flop", "pc", "order"]  # every method: test_engines.py


def _linear(graph, n, seed):
    """Standardised draws of a linear Gaussian model over a DAG, coefficients away from zero."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(index=range(n), columns=graph.names, dtype=float)
    for name in graph.order():
        signal = sum(
            rng.choice([-1, 1]) * rng.uniform(0.7, 1.2) * data[p]
            for p in sorted(graph.parents(name))
        )
        data[name] = signal + rng.normal(size=n)
    return (data - data.mean()) / data.std()


@pytest.mark.parametrize("method", GAUSSIAN)
def test_engines_keep_directions_on_an_asymmetric_collider(method):
    # x -> z <- y, z -> w: every direction is identified, and no two variables play the same part
    # after renaming.
    truth = CausalGraph.from_edges(["w", "x", "y", "z"], ["x -> z", "y -> z", "z -> w"])
    found = discover(_linear(truth, 2000, seed=3), method=method)
    assert found == truth
    assert found.info["method"] == method


@pytest.mark.parametrize("method", GAUSSIAN)
def test_three_variables_in_three_tiers(method):
    truth = CausalGraph.from_edges(["y", "x", "m"], ["x -> m", "m -> y"])
    data = _linear(truth, 2000, seed=4)
    assert discover(data, method=method).edges == ["y -- m", "x -- m"]  # a chain has no v-structure
    found = discover(data, method=method, knowledge=Knowledge(tiers=[["x"], ["m"], ["y"]]))
    assert found == truth
    assert found.info["overruled"] == []


@pytest.mark.parametrize("method", GAUSSIAN)
def test_knowledge_is_honoured_exactly(method, log):
    columns = [*schema.ATTRIBUTES, "exposed", "clicked", "purchased"]
    knowledge = Knowledge(
        tiers=[schema.ATTRIBUTES, ["exposed"], ["clicked"], ["purchased"]],
        forbidden=[("exposed", "purchased")],
        required=[("quality", "clicked")],
    )
    found = discover(log[columns], method=method, knowledge=knowledge)
    assert knowledge.violations(found) == []
    assert found.kind in ("DAG", "CPDAG")


def test_same_data_same_graph_whatever_the_scale_and_order(log):
    data = log[["activity", "price_sensitivity", "price", "quality", "popularity"]]
    found = discover(data)
    scaled = (data * [1000, 0.001, 5, 1, 3])[data.columns[::-1]]
    assert discover(scaled) == found


def test_flop_on_few_rows_of_the_same_covariance_is_flop_on_all(log):
    from flopsearch import flop

    names = [
        "activity",
        "price",
        "quality",
        "popularity",
        "stock",
        "exposed",
        "clicked",
        "purchased",
    ]
    theirs = np.asarray(flop(encode(log[names])[0], 2.0, restarts=200))
    ours = discover(log[names], method="flop")
    assert (ours.adjacency == (theirs == 1)).all()
    assert (ours.undirected == (theirs == 2)).all()


def test_the_same_call_gives_the_same_graph(log):
    columns = [*schema.ATTRIBUTES, "exposed", "clicked", "purchased"]
    first = discover(log[columns])
    assert all(discover(log[columns]) == first for _ in range(5))


def test_users_table_gives_the_worlds_edges(world):
    truth = world.graph.subgraph(schema.USER_ATTRIBUTES).cpdag()
    found = discover(world.users[schema.USER_ATTRIBUTES])
    assert compare_graphs(found, truth)["skeleton_f1"] == 1.0


def test_encode_orders_nominal_levels_by_what_they_predict():
    rng = np.random.default_rng(0)
    level = rng.integers(4, size=2000)
    effect = np.array([3.0, -1.0, 2.0, 0.0])
    frame = pd.DataFrame(
        {"c": np.array(list("pqrs"))[level], "x": effect[level] + 0.1 * rng.normal(size=2000)}
    )
    values, encoding = encode(frame)
    assert encoding == {"c": "optimal scaling"}
    assert abs(np.corrcoef(values.T)[0, 1]) > 0.99  # codes in alphabetical order would give 0.33
    np.testing.assert_allclose(
        [values.mean(axis=0), values.std(axis=0)], [[0, 0], [1, 1]], atol=1e-12
    )


def test_impose_reports_what_it_changed():
    found = CausalGraph.from_edges("abcd", ["b -> a", "a -- c", "c -> d"])
    knowledge = Knowledge(
        tiers=[["a"], ["b", "c"]], forbidden=[("c", "d"), ("d", "c")], required=[("b", "d")]
    )
    graph, overruled = impose(found, knowledge)
    assert set(graph.edges) == {"a -> b", "a -> c", "b -> d"}
    assert sorted(overruled) == ["b -> a turned", "b -> d added", "c -> d removed"]


def test_cycles_are_undone_but_not_what_is_known():
    found = CausalGraph.from_edges("abcd", ["a -> b", "b -> c", "c -> a", "c -> d"])
    graph, dropped = without_cycles(found, Knowledge(required=[("a", "b")]))
    assert graph.edges == ["a -> b", "a -- c", "b -- c", "c -> d"]
    assert dropped == [
        "b -> c undirected, it stood in a cycle",
        "c -> a undirected, it stood in a cycle",
    ]


def test_what_a_pag_leaves_open_is_not_undirected():
    found = CausalGraph.from_edges("abcd", ["a -> b", "b -> c", "c -> a", "c <-> d"])
    assert without_cycles(found, mark=CIRCLE)[0].edges == [
        "a o-o b",
        "a o-o c",
        "b o-o c",
        "c <-> d",
    ]
    tiers = Knowledge(tiers=[["d"], ["c"]])
    open_ = CausalGraph.from_edges("abcd", ["a o-> b", "c <-> d", "b o-o c"])
    assert impose(open_, tiers) == (open_, [])


def test_edge_status_names_each_case():
    truth = CausalGraph.from_edges("abcde", ["a -> b", "b -> c", "c -> d", "a -> e"])
    found = CausalGraph.from_edges("abcde", ["a -> b", "c -> b", "c -- d", "d -> e"])
    status = edge_status(found, truth).set_index(["cause", "effect"])["status"].to_dict()
    assert status == {
        ("a", "b"): "right",
        ("c", "b"): "reversed",
        ("c", "d"): "direction open",
        ("d", "e"): "extra",
        ("a", "e"): "missing",
    }


def _frame(**columns):
    rng = np.random.default_rng(0)
    base = pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "b", "c"])
    return base.assign(**columns)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: discover(_frame(), method="magic"),
            "unknown method 'magic'; known: order, flop, pc",
        ),
        (
            lambda: discover(_frame(), alpha=0.1),
            "method 'order' has no setting 'alpha'; settings: penalty, restarts",
        ),
        (lambda: discover(_frame(d=np.nan)), "column 'd' holds only missing values"),
        (lambda: discover(_frame(d=[np.nan] * 3 + [1.0] * 47)), "column 'd' has 3 missing values"),
        (lambda: discover(_frame(d=[np.inf] + [1.0] * 49)), "column 'd' has 1 infinite value"),
        (lambda: discover(_frame(d=7)), "column 'd' is constant"),
        (
            lambda: discover(_frame(d=lambda f: f["a"] * 2)),
            "column '[ad]' is a linear function of '[ad]'",
        ),
        (
            lambda: discover(_frame(d=lambda f: f["a"] - f["b"])),
            "is a linear function of '[abd]', '[abd]'",
        ),
        (lambda: discover(_frame().head(5)), "5 rows are too few for 3 columns"),
        (lambda: discover(_frame().head(0)), "has no rows"),
        (lambda: discover(_frame(), knowledge=Knowledge(tiers=[["q"]])), "knowledge names q"),
        (
            lambda: compare_graphs(CausalGraph.from_edges("ab"), CausalGraph.from_edges("ac")),
            "variables differ: b, c",
        ),
        (
            lambda: compare_graphs(
                CausalGraph.from_edges("abc", ["a -> b", "b -> c", "c -> a"]),
                CausalGraph.from_edges("abc"),
            ),
            "cyclic graph|directed cycle",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("edges", "knowledge", "expected", "overruled"),
    [
        (["a -> b"], {"forbidden": [("a", "b")]}, ["b -> a"], ["a -> b turned"]),
        (["a -> b"], {"forbidden": [("a", "b"), ("b", "a")]}, [], ["a -> b removed"]),
        (["a -- b"], {"forbidden": [("a", "b")]}, ["b -> a"], []),
        (["a -- b"], {"forbidden": [("b", "a")]}, ["a -> b"], []),
        (["a -- b"], {"forbidden": [("a", "b"), ("b", "a")]}, [], ["a -- b removed"]),
        (["a -- b"], {"required": [("b", "a")]}, ["b -> a"], []),
        ([], {"required": [("b", "a")]}, ["b -> a"], ["b -> a added"]),
        (["a <-> b"], {"required": [("b", "a")]}, ["b -> a"], ["b -> a added"]),
        (["a -> b"], {"required": [("b", "a")]}, ["b -> a"], ["a -> b turned"]),
        (["a -- b", "b -- c"], {"required": [("a", "b")]}, ["a -> b", "b -> c"], []),
        (
            ["b -> a", "b -- c"],
            {"tiers": [["a"], ["b", "c"]]},
            ["a -> b", "b -> c"],
            ["b -> a turned"],
        ),
    ],
)
def test_knowledge_is_imposed_on_every_kind_of_edge(edges, knowledge, expected, overruled):
    graph, told = impose(CausalGraph.from_edges("abc", edges), Knowledge(**knowledge))
    assert graph.edges == expected
    assert told == overruled


LIMITS = [
    ("pc", "alpha", (1e-12, 0.5), (1e-13, 0.51)),
    ("order", "penalty", (0.5, 1e6), (-0.1,)),
    ("order", "restarts", (0, 7), (-1, 0.5)),
    ("pc", "max_condition", (0, 3), (-1, 1.5)),
    ("grasp", "depth", (1, 100), (0, 101)),
    ("greedy", "bins", (2, 10), (1, 2.5)),
    ("dagma", "hidden", (1, 10_000), (0, 10_001)),
    ("dagma", "steps", (1, 10**9), (0,)),
    ("dagma", "l1", (0.0, 5.0), (-0.01,)),
    ("dagma", "threshold", (0.0, 5.0), (-0.01,)),
    ("graph_network", "gain", (0.0, 5.0), (-1.0,)),
]


@pytest.mark.parametrize(("method", "name", "inside", "outside"), LIMITS)
def test_limits_of_settings(method, name, inside, outside):
    for value in inside:
        assert _settings(method, {name: value})[name] == value
    for value in outside:
        with pytest.raises(ValueError, match=f"{name}={value} must be a"):
            _settings(method, {name: value})
    assert _settings("pc", {"bins": None, "max_condition": 2.0}) == {
        "test": "fisherz", "alpha": 0.01, "max_condition": 2, "bins": None,
    }  # fmt: skip


def test_what_is_told_of_an_answer():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["3", "4"])
    found = discover(frame, method="ges", seed=7, penalty=1)
    assert found.names == ("3", "4")
    assert (found.info["rows"], found.info["seed"], found.info["settings"]) == (
        40,
        7,
        {"penalty": 1.0},
    )
    assert found.info["overruled"] == []
    known = Knowledge(required=[("3", "4")])
    told = discover(
        frame, method="pc", knowledge=Knowledge(tiers=[["4"], ["3"]], required=[("4", "3")])
    )
    assert told.edges == ["4 -> 3"]
    assert discover(frame, method="pc", knowledge=known).edges == ["3 -> 4"]


def test_a_code_for_missing_is_named_before_it_decides_the_graph():
    """In 8 of 1,500 rows -999 hides both edges of the chain."""
    truth = CausalGraph.from_edges(["a", "b", "c"], ["a -> b", "b -> c"])
    frame = _linear(truth, 1500, seed=0)
    frame.loc[:7, "b"] = -999
    with pytest.warns(UserWarning, match="column 'b' holds -999 in 8 rows, far from all its other"):
        discover(frame)
