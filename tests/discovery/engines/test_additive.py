"""The additive model against scikit-learn's regressions, all orders of few variables, and known
truth.
"""

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
        assert LinearRegression().fit(own, curved[:, k]).score(own, curved[:, k]) == pytest.approx(
            1, abs=1e-6
        )


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
    n = len(curved)
    scores = {}
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
    """A table that holds each row twice has the moments of its half, so the half with ``rows`` of
    the whole gives the same.
    """
    twice = np.tile(curved, (2, 1))
    whole = search(twice, bases(twice, np.zeros(3, dtype=bool)), EVERYWHERE, NOWHERE)
    part = search(
        curved, bases(curved, np.zeros(3, dtype=bool)), EVERYWHERE, NOWHERE, rows=len(twice)
    )
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


def test_the_gain_of_an_edge_by_hand(curved):
    """-ln of the variance that the ridge regression on the functions of one parent leaves, less the
    price of its columns.
    """
    functions = bases(curved, np.zeros(3, dtype=bool))
    _, gain, _ = search(curved, functions, EVERYWHERE, NOWHERE, penalty=1.5, rows=3000)
    for i, j in np.argwhere(EVERYWHERE):
        own = functions.of(i).astype(float)
        covariance = own.T @ curved[:, j] / 1500
        explained = covariance @ np.linalg.solve(
            own.T @ own / 1500 + 0.003 * np.eye(own.shape[1]), covariance
        )
        price = 1.5 * np.log(3000) / 3000 * own.shape[1]
        assert gain[i, j] == pytest.approx(-np.log(1 - explained) - price, abs=1e-4)


def test_the_score_is_that_of_the_parents_found(curved):
    functions = bases(curved, np.zeros(3, dtype=bool))
    only = np.zeros((3, 3), dtype=bool)
    only[0, 1] = True
    parents, _, score = search(curved, functions, only, NOWHERE, penalty=1.0)
    assert parents.tolist() == only.tolist()
    own = functions.of(0).astype(float)
    covariance = own.T @ curved[:, 1] / 1500
    width = own.shape[1]
    explained = covariance @ np.linalg.solve(own.T @ own / 1500 + 0.003 * np.eye(width), covariance)
    assert score == pytest.approx(1500 * np.log(1 - explained) + np.log(1500) * width, rel=1e-4)
    _, _, default = search(curved, functions, only, NOWHERE)
    assert default - score == pytest.approx(np.log(1500) * width, rel=1e-6)  # a price of 2 ln n
    nothing, _, none = search(curved, functions, NOWHERE, NOWHERE)
    assert not nothing.any()
    assert none == 0


def test_functions_of_numbers_of_levels_and_of_few_values():
    """A line and five knots; levels but the first and last beside the line; at most twelve levels;
    two values are a line.
    """
    rng = np.random.default_rng(2)
    number, six, seven, many = (
        rng.normal(size=600),
        *(rng.permutation(np.arange(600) % k) for k in (6, 7, 20)),
    )
    two = (np.arange(600) % 2).astype(float)
    x = np.column_stack([number, six, seven, many, two]).astype(float)
    widths = np.diff(bases(x, np.zeros(5, dtype=bool)).starts)
    assert widths.tolist() == [6, 5, 4, 6, 1]  # between the knots of seven values lie four
    by_levels = np.diff(bases(x, np.ones(5, dtype=bool)).starts)
    assert by_levels.tolist() == [11, 5, 6, 11, 1]
    assert np.diff(bases(x, np.array([False, False, True, True, False])).starts).tolist() == [
        6,
        5,
        6,
        11,
        1,
    ]
    bent = np.maximum(number - np.quantile(number, 0.3), 0)
    own = bases(x[:, :1], np.array([False])).of(0).astype(float)
    assert LinearRegression().fit(own, bent).score(own, bent) == pytest.approx(1, abs=1e-6)
    of_seven = bases(x[:, 2:3], np.array([True])).of(0).astype(float)
    level = (seven == 3).astype(float)
    assert LinearRegression().fit(of_seven, level).score(of_seven, level) == pytest.approx(
        1, abs=1e-6
    )


def test_residuals_of_many_parents_are_those_of_the_twelve_strongest():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(800, 15))
    strength = np.array([5, 0.01, 4, 3, 6, 0.02, 7, 3.5, 4.5, 5.5, 6.5, 2.5, 8, 9])
    x[:, 14] = x[:, :14] @ strength + rng.normal(size=800)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    functions = bases(x, np.zeros(15, dtype=bool))
    parents = np.zeros((15, 15), dtype=bool)
    parents[:14, 14] = True
    strongest = np.array(
        [np.square(functions.of(k).T @ x[:, 14]).sum() for k in range(14)]
    ).argsort()[::-1][:12]
    fewer = np.zeros((15, 15), dtype=bool)
    fewer[strongest, 14] = True
    assert fewer.sum() == 12
    np.testing.assert_array_equal(residuals(x, functions, parents), residuals(x, functions, fewer))
    alone = np.zeros((15, 15), dtype=bool)
    alone[0, 14] = True
    own = functions.of(0).astype(float)
    weights = np.linalg.solve(
        own.T @ own / 800 + 0.003 * np.eye(own.shape[1]), own.T @ x[:, 14] / 800
    )
    np.testing.assert_allclose(
        residuals(x, functions, alone)[:, 14], x[:, 14] - own @ weights, atol=1e-4
    )
