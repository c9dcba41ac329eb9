"""The additive model against scikit-learn's regressions, all orders of few variables, and known truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from causal_lib.discovery import discover
from causal_lib.discovery.distances import precision_recall_f1
from causal_lib.discovery.engines.additive import bases, residuals, search
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_tables import draw

EVERYWHERE = ~np.eye(3, dtype=bool)
NOWHERE = np.zeros((3, 3), dtype=bool)


@pytest.fixture(scope="module")
def curved():
    """x -> y, x -> z <- y, standardised."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    y = np.abs(x) + 0.4 * rng.normal(size=1500)
    z = np.sin(2 * y) + x**2 / 2 + 0.4 * rng.normal(size=1500)
    values = np.column_stack([x, y, z])
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_functions_are_orthonormal_and_span_the_variable(curved):
    functions = bases(curved, np.zeros(3, dtype=bool))
    for k in range(3):
        own = functions.of(k).astype(float)
        assert np.allclose(own.T @ own / len(own), np.eye(own.shape[1]), atol=1e-5)
        assert LinearRegression().fit(own, curved[:, k]).score(own, curved[:, k]) == pytest.approx(1, abs=1e-6)


def test_levels_get_a_mean_each():
    rng = np.random.default_rng(1)
    level = rng.integers(5, size=400).astype(float)
    own = bases(level[:, None], np.array([True])).of(0)
    y = np.array([3.0, -1, 2, 0, 5])[level.astype(int)]
    assert own.shape[1] == 4
    assert LinearRegression().fit(own, y).score(own, y) == pytest.approx(1, abs=1e-6)


def test_residuals_are_those_of_a_regression_on_all_functions_of_the_parents(curved):
    functions = bases(curved, np.zeros(3, dtype=bool))
    parents = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    left = residuals(curved, functions, parents)
    both = np.column_stack([functions.of(0), functions.of(1)]).astype(float)
    expected = curved[:, 2] - LinearRegression().fit(both, curved[:, 2]).predict(both)
    assert np.corrcoef(left[:, 2], expected)[0, 1] > 0.999
    assert np.array_equal(left[:, :2], curved[:, :2])


def test_the_greedy_model_is_the_best_of_all_orders(curved):
    functions = bases(curved, np.zeros(3, dtype=bool))
    found, _, score = search(curved, functions, EVERYWHERE, NOWHERE)
    assert found.tolist() == [[False, True, True], [False, False, True], [False, False, False]]
    n, scores = len(curved), {}
    for order in itertools.permutations(range(3)):
        total = 0.0
        for place, k in enumerate(order):
            options = []
            for size in range(place + 1):
                for chosen in itertools.combinations(order[:place], size):
                    columns = [functions.of(c) for c in chosen]
                    width = sum(part.shape[1] for part in columns)
                    rest = curved[:, k]
                    if columns:
                        block = np.column_stack(columns).astype(float)
                        rest = rest - LinearRegression().fit(block, rest).predict(block)
                    options.append(n * np.log(rest.var()) + 2 * np.log(n) * width)
            total += min(options)
        scores[order] = total
    assert min(scores, key=scores.get) == (0, 1, 2)
    assert score == pytest.approx(scores[0, 1, 2], rel=0.01)


def test_a_part_stands_for_all_rows(curved):
    """A table that holds each row twice has the moments of its half, so the half with ``rows`` of the whole gives the same."""
    twice = np.tile(curved, (2, 1))
    whole = search(twice, bases(twice, np.zeros(3, dtype=bool)), EVERYWHERE, NOWHERE)
    part = search(curved, bases(curved, np.zeros(3, dtype=bool)), EVERYWHERE, NOWHERE, rows=len(twice))
    assert (part[0] == whole[0]).all()
    assert part[1][EVERYWHERE] == pytest.approx(whole[1][EVERYWHERE], abs=1e-4)
    assert part[2] == pytest.approx(whole[2], rel=1e-4)


def test_knowledge_is_kept(curved):
    functions = bases(curved, np.zeros(3, dtype=bool))
    allowed = EVERYWHERE.copy()
    allowed[0, 1] = allowed[0, 2] = False
    required = NOWHERE.copy()
    required[2, 1] = True
    found, _, _ = search(curved, functions, allowed, required)
    assert found[2, 1]
    assert not found[0].any()


def test_discover_finds_curves_where_lines_see_little():
    f1 = {"additive": [], "order": []}
    for seed in range(5):
        sample = draw("additive nonlinear", [21, seed], d=10, n=1000, degree=1.5)
        for method in f1:
            found = discover(sample.frame, method=method)
            f1[method].append(precision_recall_f1(found.adjacency, sample.graph.adjacency)[2])
    assert np.mean(f1["additive"]) > 0.7
    assert np.mean(f1["additive"]) > np.mean(f1["order"]) + 0.2


def test_discover_passes_knowledge_and_categories_on():
    sample = draw("mixed", [22, 1], d=6, n=400)
    names = list(sample.frame.columns)
    knowledge = Knowledge(tiers=[names[3:], names[:3]], required=[(names[4], names[1])])
    found = discover(sample.frame, method="additive", knowledge=knowledge)
    assert not knowledge.violations(found)
    assert found.kind == "DAG"
    with pytest.raises(ValueError, match="column 'x0' has 1 missing"):
        discover(pd.DataFrame({"x0": [np.nan, *range(29)], "x1": range(30)}), method="additive")
