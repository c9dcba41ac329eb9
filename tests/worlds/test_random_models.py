import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pyagrum as gum
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from causal_lib.graph import CausalGraph
from causal_lib.worlds.random_models import NOISES, random_dag, sample_network, simulate

DIAMOND = CausalGraph.from_edges("abcd", ["a -> b", "a -> c", "b -> d", "c -> d"])


# ---- graphs --------------------------------------------------------------------------------------


@given(
    st.integers(5, 25),
    st.sampled_from(["er", "scale-free", "tiered"]),
    st.integers(1, 2),
    st.integers(0, 99),
)
def test_random_graphs_are_dags_and_seeded(d, kind, degree, seed):
    graph = random_dag(d, kind=kind, degree=degree, seed=seed)
    assert graph.kind == "DAG"
    assert graph.names == tuple(f"x{i}" for i in range(d))
    assert graph == random_dag(d, kind=kind, degree=degree, seed=seed)
    # small graphs may coincide
    assert graph != random_dag(d, kind=kind, degree=degree, seed=seed + 1) or d < 7


@pytest.mark.parametrize(("kind", "degree"), [("er", 2), ("er", 3.5), ("tiered", 2)])
def test_degree_is_the_expected_number_of_edges_per_variable(kind, degree):
    d = 40
    graphs = 60
    edges = np.array(
        [len(random_dag(d, kind=kind, degree=degree, seed=s).edges) for s in range(graphs)]
    )
    pairs = d * (d - 1) / 2
    chance = degree * d / pairs
    error = np.sqrt(pairs * chance * (1 - chance) / graphs)
    assert abs(edges.mean() - degree * d) < 4 * error


def test_the_causal_order_is_no_order_of_the_names():
    forward = [np.triu(random_dag(30, seed=s).adjacency).sum() / 60 for s in range(40)]
    assert abs(np.mean(forward) - 0.5) < 4 * np.std(forward) / np.sqrt(40)


def test_scale_free_graphs_have_bounded_parents_and_hubs():
    graphs = [random_dag(100, kind="scale-free", degree=2, seed=s) for s in range(10)]
    assert all(len(g.edges) == 2 * 98 for g in graphs)
    assert all(g.adjacency.sum(axis=0).max() == 2 for g in graphs)
    largest = [[g.skeleton.sum(axis=0).max() for g in graphs], []]
    largest[1] = [
        random_dag(100, degree=1.96, seed=s).skeleton.sum(axis=0).max() for s in range(10)
    ]
    assert min(largest[0]) > max(largest[1])  # no Erdős-Rényi graph of as many edges has such a hub


def test_tiers_follow_the_causal_order():
    graph = random_dag(22, kind="tiered", tiers=4, seed=3)
    tiers = graph.info["tiers"]
    assert sorted(len(t) for t in tiers) == [5, 5, 6, 6]
    assert sorted(itertools.chain(*tiers)) == sorted(graph.names)
    simulation = simulate(graph, 10, seed=0)
    for knowledge in (
        simulation.knowledge_of_tiers(),
        *map(simulation.knowledge_of_tiers, (1, 3, 22)),
    ):
        assert knowledge.violations(graph) == []
    assert simulation.knowledge_of_tiers().tiers == tiers
    assert [len(t) for t in simulation.knowledge_of_tiers(3).tiers] == [8, 7, 7]


# ---- data ----------------------------------------------------------------------------------------


def test_linear_gaussian_data_have_the_implied_covariance():
    n = 100_000
    simulation = simulate(random_dag(8, seed=1), 100_000, variances=(0.5, 2.0), seed=2)
    total = np.linalg.inv(np.eye(8) - simulation.weights)
    implied = total.T @ np.diag(simulation.variances) @ total
    found = np.cov(simulation.frame.to_numpy().T)
    deviation = np.sqrt((np.outer(implied.diagonal(), implied.diagonal()) + implied**2) / n)
    assert np.abs((found - implied) / deviation).max() < 4.5
    assert (simulation.weights != 0).tolist() == simulation.graph.adjacency.tolist()
    sizes = np.abs(simulation.weights[simulation.weights != 0])
    assert 0.5 <= sizes.min() <= sizes.max() <= 2.0
    assert 0.5 <= simulation.variances.min() < simulation.variances.max() <= 2.0


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_mean_nought_and_the_named_variance(noise):
    n = 200_000
    draws = (
        simulate(CausalGraph.from_edges("a"), n, noise=noise, variances=(4.0, 4.0), seed=5)
        .frame["a"]
        .to_numpy()
    )
    error = (draws**2).std() / np.sqrt(n)
    assert abs(draws.mean()) < 4 * 2 / np.sqrt(n)
    assert abs((draws**2).mean() - 4) < 4 * error
    shape = stats.normaltest(draws).pvalue
    assert shape > 1e-3 if noise == "gaussian" else shape < 1e-6


def test_frames_types_and_shares():
    graph = random_dag(9, seed=4)
    frame = simulate(graph, 500, kinds="mixed", seed=4).frame
    assert frame.shape == (500, 9)
    assert tuple(frame.columns) == graph.names
    kinds = frame.dtypes.map(str).value_counts().to_dict()
    assert kinds == {"float64": 3, "bool": 3, "category": 3}
    assert all(3 <= frame[c].cat.categories.size <= 6 for c in frame.select_dtypes("category"))
    assert not frame.isna().any(axis=None)
    assert (simulate(graph, 500, seed=4).frame.dtypes == "float64").all()


@pytest.mark.parametrize("mechanism", ["linear", "nonlinear"])
@pytest.mark.parametrize("kinds", [None, "mixed"])
def test_same_seed_same_frame(mechanism, kinds):
    def frame(seed):
        return simulate(
            random_dag(9, seed=0), 50, mechanism=mechanism, kinds=kinds, hidden=2, seed=seed
        ).frame

    pd.testing.assert_frame_equal(frame(1), frame(1))
    assert not frame(1).equals(frame(2))


def test_mixed_data_have_the_reported_conditional_probabilities():
    # Discrete parents, so every cell of (parents, child) has a probability that weights and
    # intercepts state.
    kinds = {"a": "categorical", "b": "binary", "c": "categorical", "d": "binary"}
    simulation = simulate(DIAMOND, 100_000, kinds=kinds, seed=3)
    frame = simulation.frame
    columns = simulation.columns
    encoded = pd.get_dummies(frame, columns=["a", "c"], prefix_sep="=", dtype=float)[
        list(columns)
    ].astype(float)
    for child in ("b", "c", "d"):
        block = [i for i, c in enumerate(columns) if c.split("=")[0] == child]
        logits = encoded.to_numpy() @ simulation.weights[:, block] + simulation.intercepts[block]
        odds = np.column_stack([np.ones(len(frame)), np.exp(logits)])
        expected = odds / odds.sum(axis=1, keepdims=True)
        levels = frame[child].cat.codes if child == "c" else frame[child].astype(int)
        parents = sorted(DIAMOND.parents(child))
        statistic = 0.0
        freedom = 0
        for _, rows in frame.groupby(parents, observed=True).indices.items():
            counts = np.bincount(levels.to_numpy()[rows], minlength=expected.shape[1])
            hoped = expected[rows].sum(axis=0)
            statistic += ((counts - hoped) ** 2 / hoped).sum()
            freedom += len(hoped) - 1
        assert stats.chi2.sf(statistic, freedom) > 1e-3, child


def test_mixed_data_with_numeric_parents_match_a_logistic_fit():
    graph = CausalGraph.from_edges("xyz", ["x -> z", "y -> z"])
    simulation = simulate(graph, 50_000, kinds={"z": "binary"}, seed=1)
    fit = sm.Logit(
        simulation.frame["z"].astype(int), sm.add_constant(simulation.frame[["x", "y"]])
    ).fit(disp=0)
    stated = np.array([simulation.intercepts[2], *simulation.weights[:2, 2]])
    assert np.abs((fit.params.to_numpy() - stated) / fit.bse.to_numpy()).max() < 4


def test_each_parents_term_has_the_drawn_size():
    kinds = {"a": "categorical", "b": "binary", "c": "numeric"}
    simulation = simulate(DIAMOND, 2000, kinds=kinds, weights=(0.8, 0.8), seed=6)
    encoded = pd.get_dummies(simulation.frame, columns=["a"], prefix_sep="=", dtype=float)[
        list(simulation.columns)
    ]
    position = simulation.columns.index
    for parent, child in (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")):
        block = [i for i, c in enumerate(simulation.columns) if c.split("=")[0] == parent]
        term = encoded.to_numpy(dtype=float)[:, block] @ simulation.weights[block, position(child)]
        assert term.std() == pytest.approx(0.8, rel=1e-9)


def test_nonlinear_data_bend():
    graph = CausalGraph.from_edges("ab", ["a -> b"])
    better = []
    for seed in range(10):
        simulation = simulate(graph, 2000, mechanism="nonlinear", seed=seed)
        assert simulation.weights is None
        assert simulation.intercepts is None
        a = simulation.frame["a"]
        b = simulation.frame["b"]
        rss = [np.sum((b - np.polyval(np.polyfit(a, b, k), a)) ** 2) for k in (1, 3)]
        better.append(2000 * np.log(rss[0] / rss[1]) > 2 * np.log(2000) * 2)
        mean = np.sum((b - b.mean()) ** 2)
        assert 2000 * np.log(mean / rss[1]) > 2 * np.log(2000) * 3  # the edge can be seen
    assert sum(better) >= 8


@given(st.integers(0, 6), st.integers(0, 50))
def test_hidden_confounders_are_dropped_and_stay_in_the_truth(hidden, seed):
    graph = random_dag(8, degree=1.5, seed=seed)
    simulation = simulate(graph, 5, hidden=hidden, seed=seed)
    assert tuple(simulation.frame.columns) == graph.names
    names = [n for n in simulation.full_graph.names if n not in graph.names]
    assert len(names) == hidden == simulation.graph.bidirected.sum() / 2
    assert simulation.graph == simulation.full_graph.latent_projection(names)
    assert nx.is_directed_acyclic_graph(simulation.full_graph.to_networkx())


def test_a_hidden_confounder_shows_in_the_data():
    simulation = simulate(CausalGraph.from_edges("ab"), 5000, hidden=1, seed=0)
    assert simulation.graph.edges == ["a <-> b"]
    assert stats.pearsonr(simulation.frame["a"], simulation.frame["b"]).pvalue < 1e-10


def test_large_simulations_and_few_rows():
    graph = random_dag(500, seed=0)
    assert simulate(graph, 1000, kinds="mixed", seed=0).frame.shape == (1000, 500)
    few = simulate(random_dag(9, seed=0), 1, kinds="mixed", mechanism="linear", seed=0)
    assert np.isfinite(few.weights).all()
    assert np.abs(few.weights).max() < 100


CASES = {
    "kind of graph": (
        lambda: random_dag(5, kind="tree"),
        "'tree' of graph; known: er, scale-free, tiered",
    ),
    "one variable": (lambda: random_dag(1), "d=1 variables cannot have degree=2.0"),
    "too dense": (
        lambda: random_dag(4, degree=2),
        "d=4 variables cannot have degree=2 edges each; raise d",
    ),
    "no edges": (lambda: random_dag(4, degree=0), "cannot have degree=0"),
    "half a parent": (
        lambda: random_dag(9, kind="scale-free", degree=1.5),
        "whole number of parents",
    ),
    "too many tiers": (lambda: random_dag(6, kind="tiered", tiers=7), "tiers=7: give 1 to 6"),
    "cyclic graph": (
        lambda: simulate(CausalGraph.from_edges("ab", ["a -- b"]), 5),
        "a simulation needs a DAG; edge 'a -- b'",
    ),
    "mechanism": (
        lambda: simulate(DIAMOND, 5, mechanism="cubic"),
        "unknown mechanism 'cubic'; known: linear",
    ),
    "noise": (
        lambda: simulate(DIAMOND, 5, noise="cauchy"),
        "unknown noise 'cauchy'; known: gaussian",
    ),
    "kinds": (
        lambda: simulate(DIAMOND, 5, kinds="discrete"),
        "unknown kinds='discrete'; give None, 'mixed'",
    ),
    "unknown variable": (
        lambda: simulate(DIAMOND, 5, kinds={"q": "binary"}),
        "no variable 'q'; variables: a, b",
    ),
    "unknown kind": (
        lambda: simulate(DIAMOND, 5, kinds={"a": "text"}),
        "unknown kind 'text' of 'a'",
    ),
    "weights": (
        lambda: simulate(DIAMOND, 5, weights=(2, 1)),
        r"weights=\(2, 1\): give \(low, high\)",
    ),
    "variances": (lambda: simulate(DIAMOND, 5, variances=(0, 1)), r"variances=\(0, 1\)"),
    "no rows": (lambda: simulate(DIAMOND, 0), "n=0 rows; at least 1"),
    "too many confounders": (lambda: simulate(DIAMOND, 5, hidden=3), "hidden=3: only 2 pairs"),
    "no tiers": (lambda: simulate(DIAMOND, 5).knowledge_of_tiers(), "no tiers of its own; give k"),
    "tiers of nothing": (
        lambda: simulate(DIAMOND, 5).knowledge_of_tiers(5),
        "k=5 tiers: give 1 to 4",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    call, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_of_a_network_follow_its_tables():
    net = gum.fastBN("b->a->c")
    net.cpt("b").fillWith([0.3, 0.7])
    net.cpt("a").fillWith([0.9, 0.1, 0.2, 0.8])  # of a = 0, 1 where b = 0, then where b = 1
    net.cpt("c").fillWith([1.0, 0.0, 1.0, 0.0])  # constant
    frame = sample_network(net, 20_000, seed=1)
    assert list(frame) == ["b", "a"]
    assert (frame.dtypes == "category").all()
    b, a = (frame[name].astype(int) for name in frame)
    assert b.mean() == pytest.approx(0.7, abs=0.02)
    assert a.groupby(b).mean().tolist() == pytest.approx([0.1, 0.8], abs=0.02)
    assert frame.equals(sample_network(net, 20_000, seed=1))
    assert not frame.equals(sample_network(net, 20_000, seed=2))


# ---- what stays the same -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("er", 9.414255156075113), ("scale-free", 6.837321945832401), ("tiered", 9.414255156075113)],
)
def test_random_graphs_stay_the_same(kind, expected, fingerprint):
    """Computed once: what changes a number changes every result that was made with these graphs."""
    graphs = [
        random_dag(9, kind=kind, degree=2, seed=seed).adjacency.astype(float) for seed in range(5)
    ]
    assert fingerprint(*graphs) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("mechanism", "kinds", "expected", "of_model"),
    [
        ("linear", None, -0.4423991024909269, 0.6792312069339481),
        ("linear", "mixed", 4.127775822743109, -0.1034750669404122),
        ("nonlinear", None, -0.3027895996613837, None),
        ("nonlinear", "mixed", 3.7390257388739423, None),
    ],
)
def test_simulated_rows_stay_the_same(mechanism, kinds, expected, of_model, fingerprint):
    """Computed once, as above."""
    how = {"hidden": 2, "noise": "laplace", "variances": (0.5, 2), "weights": (0.4, 1.3), "seed": 8}
    found = simulate(random_dag(7, degree=1.5, seed=2), 60, mechanism=mechanism, kinds=kinds, **how)
    assert fingerprint(found.frame) == pytest.approx(expected, rel=1e-8)
    if of_model is not None:
        assert fingerprint(found.weights, found.intercepts) == pytest.approx(of_model, rel=1e-8)


def test_the_defaults_of_graphs_and_rows():
    graph = random_dag(12)
    assert graph == random_dag(12, kind="er", degree=2.0, seed=0)
    assert graph.info == {"kind": "er", "degree": 2.0}
    assert len(random_dag(12, kind="tiered").info["tiers"]) == 4
    said = {
        "mechanism": "linear",
        "noise": "gaussian",
        "kinds": None,
        "hidden": 0,
        "weights": (0.5, 2.0),
    }
    one = simulate(graph, 20)
    other = simulate(graph, 20, **said, variances=(1.0, 1.0), seed=0)
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert (one.variances == 1).all()
