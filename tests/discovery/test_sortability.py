import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LassoLarsIC

from causal_lib.discovery import compare_graphs
from causal_lib.discovery.sortability import r2_sortability, sort_and_regress, varsortability
from causal_lib.graph import CausalGraph
from causal_lib.worlds.random_models import random_dag, simulate

UNIT = np.array([-1.0, 0.0, 1.0])


def _paths_oracle(graph, criterion):
    """Every directed path of networkx, those of one length between the same two counted once; ties
    count half.
    """
    net = graph.to_networkx()
    found = {
        (a, b, len(path))
        for a in graph.names
        for b in graph.names
        if a != b
        for path in nx.all_simple_paths(net, a, b)
    }
    if not found:
        return float("nan")
    score = [
        0.5 if np.isclose(criterion[a], criterion[b], rtol=1e-9) else criterion[a] < criterion[b]
        for a, b, _ in found
    ]
    return np.mean(score)


@pytest.mark.parametrize(
    ("edges", "scales", "expected"),
    [
        (["a -> b", "b -> c"], (1, 2, 3), 1.0),
        (["a -> b", "b -> c"], (3, 2, 1), 0.0),
        (["a -> b", "b -> c"], (2, 1, 3), 2 / 3),  # a -> b wrong; b -> c and a -> b -> c right
        # a to c counts for each of its two lengths
        (["a -> b", "b -> c", "a -> c"], (2, 1, 3), 3 / 4),
        (["a -> b", "b -> c"], (1, 1, 3), 2.5 / 3),  # a tie is half
        (["a -> c", "b -> c"], (1, 3, 2), 1 / 2),
    ],
)
def test_varsortability_by_hand(edges, scales, expected):
    frame = pd.DataFrame({name: s * UNIT for name, s in zip("abc", scales, strict=True)})
    assert varsortability(frame, CausalGraph.from_edges("abc", edges)) == pytest.approx(expected)


@given(st.integers(0, 500), st.sampled_from([1, 2, 3]), st.booleans())
def test_sortability_counts_paths(seed, degree, ties):
    graph = random_dag(8, degree=degree, seed=seed)
    values = np.random.default_rng(seed).normal(size=(40, 8)) @ np.random.default_rng(
        seed + 1
    ).normal(size=(8, 8))
    if ties:
        values = values / values.std(axis=0) * (np.arange(8) % 3 + 1)
    frame = pd.DataFrame(values, columns=graph.names)
    expected = _paths_oracle(graph, dict(zip(graph.names, values.var(axis=0), strict=True)))
    assert varsortability(frame, graph) == pytest.approx(expected, nan_ok=True)
    r2 = {}
    for name in graph.names:
        y = frame[name]
        X = np.column_stack([np.ones(40), frame.drop(columns=name)])
        r2[name] = 1 - np.sum((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2) / np.sum(
            (y - y.mean()) ** 2
        )
    assert r2_sortability(frame, graph) == pytest.approx(_paths_oracle(graph, r2), nan_ok=True)


def test_a_graph_without_edges_has_none():
    assert np.isnan(
        varsortability(pd.DataFrame({"a": UNIT, "b": 2 * UNIT}), CausalGraph.from_edges("ab"))
    )


@pytest.mark.parametrize("seed", range(5))
def test_raw_linear_data_give_their_order_away_and_standardised_ones_do_not(seed):
    tree = random_dag(
        20, kind="scale-free", degree=1, seed=seed
    )  # one parent each: the variance rises by w² >= 1 and noise
    frame = simulate(tree, 2000, weights=(1.0, 2.0), seed=seed).frame
    standardised = (frame - frame.mean()) / frame.std()
    assert varsortability(frame, tree) == 1.0
    assert varsortability(standardised, tree) == 0.5
    assert r2_sortability(standardised, tree) == pytest.approx(r2_sortability(frame, tree))


def test_random_scales_carry_no_order():
    values = []
    for seed in range(40):
        graph = random_dag(12, seed=seed)
        frame = simulate(graph, 100, seed=seed).frame
        scales = np.exp(np.random.default_rng(seed).normal(size=12))
        values.append(varsortability(frame / frame.std() * scales, graph))
    assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(40)


def test_r2_rises_along_the_order_of_dense_linear_data():
    values = []
    for seed in range(10):
        graph = random_dag(20, degree=4, seed=seed)
        values.append(r2_sortability(simulate(graph, 1000, seed=seed).frame, graph))
    assert np.mean(values) - 4 * np.std(values) / np.sqrt(10) > 0.5


def test_sorting_by_variance_solves_raw_data_only():
    raw = []
    scaled = []
    for seed in range(5):
        graph = random_dag(15, seed=seed)
        frame = simulate(graph, 2000, weights=(1.0, 2.0), seed=seed).frame
        found = sort_and_regress(frame, "variance")
        raw.append(compare_graphs(found, graph)["arrowhead_f1"])
        scaled.append(
            compare_graphs(sort_and_regress((frame - frame.mean()) / frame.std(), "random"), graph)[
                "arrowhead_f1"
            ]
        )
        assert found.kind == "DAG"
        assert found.info["method"] == "sort-and-regress by variance"
        assert frame[found.info["order"]].var().is_monotonic_increasing
    assert np.mean(raw) > 0.85
    assert np.mean(scaled) < np.mean(raw) - 0.3


def test_weights_and_arrows_agree_and_are_not_turned():
    rng = np.random.default_rng(0)
    a, e, f = rng.normal(size=(3, 5000))
    frame = pd.DataFrame({"c": 2 * (1.5 * a + e) + f, "a": a, "b": 1.5 * a + e})
    found = sort_and_regress(frame, "variance")
    assert found.edges == ["b -> c", "a -> b"]
    weights = pd.DataFrame(found.info["weights"], index=found.names, columns=found.names)
    assert weights.loc["a", "b"] == pytest.approx(1.5, abs=0.1)
    assert weights.loc["b", "c"] == pytest.approx(2, abs=0.1)
    assert ((weights.to_numpy() != 0) == found.adjacency).all()


def test_by_r2_is_blind_to_scale_and_by_random_follows_the_seed():
    frame = simulate(random_dag(10, seed=2), 500, seed=2).frame
    scaled = frame * np.linspace(1, 50, 10)
    assert sort_and_regress(scaled, "r2") == sort_and_regress(frame)
    assert sort_and_regress(frame, "random", seed=3) == sort_and_regress(frame, "random", seed=3)
    orders = {tuple(sort_and_regress(frame, "random", seed=s).info["order"]) for s in range(4)}
    assert len(orders) == 4


GRAPH = CausalGraph.from_edges("ab", ["a -> b"])
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=list("ab"))
CASES = {
    "absent column": (lambda: varsortability(FRAME[["a"]], GRAPH), "no column 'b'"),
    "missing value": (lambda: varsortability(FRAME.mask(FRAME > 1), GRAPH), "has . missing values"),
    "constant": (lambda: r2_sortability(FRAME.assign(b=1), GRAPH), "'b' is constant"),
    "text": (
        lambda: varsortability(FRAME.assign(b=list("pq") * 15), GRAPH),
        "column 'b' is str; sorting needs numbers",
    ),
    "copy": (
        lambda: r2_sortability(FRAME.assign(b=FRAME["a"]), GRAPH),
        "'b' is a linear function of 'a'",
    ),
    "undirected": (
        lambda: varsortability(FRAME, CausalGraph.from_edges("ab", ["a -- b"])),
        "sortability needs a DAG; edge 'a -- b'",
    ),
    "criterion": (
        lambda: sort_and_regress(FRAME, "beauty"),
        "by='beauty' is unknown; choose from variance, r2, random",
    ),
    "collinear": (
        lambda: sort_and_regress(FRAME.assign(c=FRAME["a"] + FRAME["b"])),
        "is a linear function of",
    ),
    "few rows": (lambda: sort_and_regress(FRAME.head(5)), "5 rows are too few for 2 columns"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    call, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_regressions_on_what_stands_before_are_adaptive_lassos():
    """By hand: each column on those of smaller variance, scaled by the sizes of its least-squares
    coefficients.
    """
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 400))
    frame = pd.DataFrame(
        {"late": 3 * a - 2 * b + rng.normal(size=400), "b": 0.9 * b, "a": 1.4 * a + 0.5 * b}
    )
    found = sort_and_regress(frame, "variance")
    assert found.info["order"] == ["b", "a", "late"]
    values = (frame - frame.mean()).to_numpy()
    for target, before in ((2, [1]), (0, [1, 2])):
        scale = np.abs(np.linalg.lstsq(values[:, before], values[:, target], rcond=None)[0])
        lasso = LassoLarsIC(criterion="bic").fit(values[:, before] * scale, values[:, target])
        np.testing.assert_allclose(
            found.info["weights"][before, target], lasso.coef_ * scale, rtol=1e-8
        )
    assert not found.info["weights"][0].any()
    with_default = sort_and_regress(frame, "random")
    assert with_default.info["order"] == [
        frame.columns[k] for k in np.argsort(np.random.default_rng(0).random(3))
    ]
