import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery import discover
from causal_lib.discovery.engines.dagma import acyclicity, fit_linear, fit_mlp, keep_acyclic
from causal_lib.knowledge import Knowledge

ANY = ~np.eye(3, dtype=bool)
NO = np.zeros((3, 3), dtype=bool)


def _h(weights, s=1.0):
    return acyclicity(torch.tensor(np.square(weights)), s).item()


def _chain(n, seed, noise=(1.0, 1.5, 2.0)):
    """a → b → c with coefficients 1.5 and -1, noise of different standard deviations, raw."""
    rng = np.random.default_rng(seed)
    a, b, c = np.array(noise)[:, None] * rng.normal(size=(3, n))
    b += 1.5 * a
    c -= b
    return pd.DataFrame({"c": c, "a": a, "b": b})


@given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.sampled_from([0.5, 1.0, 3.0]))
def test_acyclicity_is_zero_on_dags_whatever_their_weights(seed, d, s):
    rng = np.random.default_rng(seed)
    order = rng.permutation(d)
    weights = np.triu(rng.normal(scale=5, size=(d, d)), 1)[np.ix_(order, order)]
    assert _h(weights, s) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[0.0, 0.8], [0.5, 0.0]], -np.log(1 - 0.64 * 0.25)),  # det [[1, -p], [-q, 1]] = 1 - pq
        ([[0.0, 0.9, 0.0], [0.0, 0.0, -0.8], [0.7, 0.0, 0.0]], -np.log(1 - (0.9 * 0.8 * 0.7) ** 2)),
        ([[0.0, 1.0], [1.0, 0.0]], np.inf),
        ([[0.0, 2.0], [2.0, 0.0]], np.inf),  # its determinant is negative
        (
            np.kron(np.eye(2), [[0.0, 2.0], [2.0, 0.0]]),
            np.inf,
        ),  # two such cycles: the determinant is positive again
    ],
    ids=["two", "three", "on the edge", "outside", "outside twice"],
)
def test_acyclicity_of_cycles_by_hand(weights, expected):
    assert _h(np.array(weights)) == pytest.approx(expected, rel=1e-12)


def test_gradient_of_acyclicity_by_finite_differences():
    weights = np.random.default_rng(0).uniform(-0.4, 0.4, size=(4, 4))
    np.fill_diagonal(weights, 0)
    leaf = torch.tensor(weights, requires_grad=True)
    acyclicity(leaf.square(), 1.2).backward()
    for i, j in np.ndindex(4, 4):
        step = np.zeros((4, 4))
        step[i, j] = 1e-6
        slope = (_h(weights + step, 1.2) - _h(weights - step, 1.2)) / 2e-6
        assert leaf.grad[i, j].item() == pytest.approx(slope, abs=1e-7)


def test_weights_under_a_fixed_order_are_least_squares():
    data = _chain(500, seed=1).to_numpy()
    data = data - data.mean(axis=0)
    allowed = np.triu(np.ones((3, 3), dtype=bool), 1)
    strength, objective = fit_linear(data.T @ data / 500, allowed, NO, l1=0.0, steps=500)
    expected = np.zeros((3, 3))
    residual = data.copy()
    for j in (1, 2):
        expected[:j, j] = np.linalg.lstsq(data[:, :j], data[:, j], rcond=None)[0]
        residual[:, j] -= data[:, :j] @ expected[:j, j]
    np.testing.assert_allclose(strength, np.abs(expected), atol=1e-3)
    assert objective == pytest.approx(0.5 * np.square(residual).mean(axis=0).sum(), rel=1e-5)


@pytest.mark.parametrize("required", [False, True])
def test_the_l1_penalty_soft_thresholds_and_spares_required_edges(required):
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    allowed = np.array([[False, True], [False, False]])
    strength, _ = fit_linear(covariance, allowed, allowed & required, l1=0.1, steps=500)
    assert strength[0, 1] == pytest.approx(0.6 / 2 if required else (0.6 - 0.1) / 2, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_raw_scales_that_grow_along_the_edges_give_the_chain(seed):
    data = _chain(1000, seed)
    assert set(discover(data, method="dagma", standardise=False).edges) == {"a -> b", "b -> c"}


def test_the_scale_decides_not_the_causes():
    # the same chain with its columns rescaled so that the variance falls along the edges: every
    # direction turns round
    data = _chain(1000, seed=0)
    turned = data / data.std() * [0.3, 3.0, 1.0]
    assert set(discover(turned, method="dagma", standardise=False, threshold=0.5).edges) == {
        "b -> a",
        "c -> b",
    }
    scaled = discover(turned, method="dagma")
    plain = discover(data, method="dagma")
    assert scaled == plain  # standardised data know nothing of scales


def test_mlp_finds_a_collider_that_correlations_do_not_show():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 500))
    z = 2 * np.sin(1.5 * x) + y**2 + 0.3 * rng.normal(size=500)
    data = pd.DataFrame({"z": z - z.mean(), "x": x, "y": y})
    assert abs(data.corr().loc["y", "z"]) < 0.1
    found = discover(
        data, method="dagma", model="mlp", standardise=False, threshold=0.5, hidden=8, steps=300
    )
    assert set(found.edges) == {"x -> z", "y -> z"}


def test_mlp_depends_on_its_seed_only():
    rows = _chain(200, seed=0).to_numpy()
    first, second, other = (
        fit_mlp(rows, ANY, NO, l1=0.01, hidden=3, steps=20, seed=s)[0] for s in (0, 0, 1)
    )
    assert (first == second).all()
    assert (first != other).any()


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_forbidden_edges_stay_away_and_required_ones_stay(model):
    knowledge = Knowledge(forbidden=[("a", "b"), ("b", "a")], required=[("c", "a")])
    found = discover(
        _chain(300, seed=0), method="dagma", knowledge=knowledge, model=model, threshold=5, steps=50
    )
    assert found.edges == ["c -> a"]


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([0.0, 0.3]))
def test_thresholding_gives_a_maximal_dag(seed, d, threshold):
    rng = np.random.default_rng(seed)
    strength = rng.random((d, d)) * (1 - np.eye(d))
    order = rng.permutation(d)
    required = (np.triu(rng.random((d, d)) < 0.2, 1))[np.ix_(order, order)]
    kept = keep_acyclic(strength, threshold, required)

    def acyclic(edges):
        return not np.linalg.matrix_power(edges.astype(int), d).any()  # no walk of d steps

    assert acyclic(kept)
    assert kept[required].all()
    assert (strength[kept & ~required] >= threshold).all()
    for i, j in np.argwhere(~kept & (strength >= threshold) & ~np.eye(d, dtype=bool)):
        more = kept.copy()
        more[i, j] = True
        assert not acyclic(more)


@pytest.mark.parametrize("method", ["dagma", "graph_network", "pretrained"])
def test_the_number_of_threads_changes_nothing(method):
    """Sums in another order would differ in the last digits, and graphs by what they decide."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300))
    frame = pd.DataFrame({"x": x, "y": y, "z": x + y + rng.normal(size=300)})
    few = {"steps": 100} if method == "graph_network" else {}
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            graph = discover(frame, method=method, **few)
            assert torch.get_num_threads() == threads
            found.append((graph.edges, graph.info["score"]))
    finally:
        torch.set_num_threads(before)
    assert found[1:] == found[:1] * 2
