"""Least squares against statsmodels, numpy and exact fractions; units, offsets, idle columns."""

from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.inference.least_squares import LeastSquares, residuals


@pytest.fixture(scope="module")
def table():
    """Columns (60, 3), an outcome and weights."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(60, 3)) * [1, 5, 0.1] + [0, 3, -1]
    y = columns @ [1, -2, 4] + rng.normal(size=60) * (1 + columns[:, 0] ** 2)
    return columns, y, rng.uniform(0.2, 3, 60)


@pytest.mark.parametrize("weighted", [False, True])
def test_all_parts_are_those_of_statsmodels(table, weighted):
    columns, y, weights = table
    weights = weights if weighted else None
    found = LeastSquares.of(columns, y, weights)
    model = sm.WLS(y, sm.add_constant(columns), weights=1.0 if weights is None else weights)
    fitted = model.fit()
    assert found.coefficients == pytest.approx(fitted.params[1:])
    assert found.fitted == pytest.approx(fitted.fittedvalues)
    assert found.left == pytest.approx(y - fitted.fittedvalues)
    assert found.rank == 4
    whitened = model.wexog
    hat = np.einsum("ij,ji->i", whitened, np.linalg.pinv(whitened))
    assert found.leverage == pytest.approx(hat)
    new = np.random.default_rng(1).normal(size=(5, 3))
    assert found.predict(new) == pytest.approx(fitted.predict(sm.add_constant(new)))
    assert residuals(columns, y, weights) == pytest.approx(found.left)


def test_errors_of_the_influence_are_hc2(table):
    columns, y, _ = table
    found = LeastSquares.of(columns, y)
    fitted = sm.OLS(y, sm.add_constant(columns)).fit()
    errors = [np.sqrt((found.influence(k) ** 2).sum()) / 60 for k in range(3)]
    assert errors == pytest.approx(fitted.HC2_se[1:])
    assert errors != pytest.approx(fitted.HC1_se[1:], rel=0.01)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_influences_on_all_coefficients_in_any_unit(table, unit):
    """By the normal equations; a repeated column adds no rank."""
    columns, y, _ = table
    wide = sm.add_constant(columns)
    bread = np.linalg.inv(wide.T @ wide)
    by_hand = bread @ wide.T @ y
    scale = np.array([1, unit, 1 / unit, 1])
    found = LeastSquares.of(columns * scale[1:], unit * y)
    assert found.all_coefficients * scale / unit == pytest.approx(by_hand)
    leverage = np.einsum("ij,jk,ik->i", wide, bread, wide)
    left = (y - wide @ by_hand) / np.sqrt(1 - leverage)
    expected = 60 * wide * left[:, None] @ bread
    assert found.influences * scale / unit == pytest.approx(expected, abs=1e-9)
    for k in range(3):
        assert found.influences[:, k + 1] == pytest.approx(found.influence(k))
    twice = LeastSquares.of(np.column_stack([columns, 3 * columns[:, 2]]) * unit, y)
    assert twice.rank == 4
    assert twice.fitted == pytest.approx(wide @ by_hand)


def test_weighted_errors_are_those_of_rows_that_stand_for_others(table):
    """Sandwich with each row's weight in the score: HC2 of the weighted columns."""
    columns, y, weights = table
    found = LeastSquares.of(columns, y, weights)
    wide = sm.add_constant(columns)
    bread = np.linalg.inv(wide.T @ (wide * weights[:, None]))
    left = y - wide @ bread @ (wide.T @ (weights * y))
    leverage = weights * np.einsum("ij,jk,ik->i", wide, bread, wide)
    meat = wide.T @ (wide * (weights**2 * left**2 / (1 - leverage))[:, None])
    for k in range(3):
        error = np.sqrt((found.influence(k) ** 2).sum()) / 60
        assert error == pytest.approx(np.sqrt((bread @ meat @ bread)[k + 1, k + 1]))


@pytest.mark.parametrize("weighted", [False, True])
def test_directions_give_coefficients_and_predictions(table, weighted):
    columns, y, weights = table
    weights = weights if weighted else np.ones(60)
    found = LeastSquares.of(columns, y, weights)
    row = np.array([0.3, -2.0, 1.0])
    assert found.prediction(row) @ y == pytest.approx(found.predict(row[None])[0])
    for k in range(3):
        direction = found.direction(k)
        assert direction @ y == pytest.approx(found.coefficients[k])
        assert direction @ columns == pytest.approx(np.eye(3)[k], abs=1e-12)
        line = found.representer(k)
        values = 60 * direction / weights
        assert values == pytest.approx(columns @ line + values.mean() - (columns @ line).mean())


def test_weights_of_0_leave_rows_out_and_copies_count_as_weights(table):
    columns, y, _ = table
    counts = np.arange(60) % 3
    found = LeastSquares.of(columns, y, counts)
    again = LeastSquares.of(np.repeat(columns, counts, axis=0), np.repeat(y, counts))
    assert found.coefficients == pytest.approx(again.coefficients)
    assert found.rank == again.rank
    assert found.predict(columns) == pytest.approx(again.predict(columns))


def test_idle_columns_are_told_by_the_rank(table):
    """A constant of large numbers, a copy, all indicators of a category, more columns than rows."""
    columns, y, _ = table
    found = LeastSquares.of(columns, y)
    kinds = np.eye(3)[np.arange(60) % 3]
    for idle, rank in (
        (np.full((60, 1), 1e15), 4),
        (2 * columns[:, :1] - 7, 4),
        (columns @ [[1.0], [2.0], [-3.0]], 4),
        (np.zeros((60, 2)), 4),
    ):
        again = LeastSquares.of(np.column_stack([columns, idle]), y)
        assert again.rank == rank
        assert again.fitted == pytest.approx(found.fitted)
        assert again.leverage == pytest.approx(found.leverage)
    within = LeastSquares.of(kinds, y)
    assert within.rank == 3
    assert within.fitted[:3] == pytest.approx([y[k::3].mean() for k in range(3)])
    wide = LeastSquares.of(np.random.default_rng(2).normal(size=(5, 9)), y[:5])
    assert wide.rank == 5
    assert wide.left == pytest.approx(np.zeros(5), abs=1e-9)
    assert wide.leverage == pytest.approx(np.ones(5))
    assert np.isfinite(wide.influence(0)).all()


def test_without_columns_it_is_the_mean(table):
    _, y, weights = table
    found = LeastSquares.of(np.zeros((60, 0)), y, weights)
    assert found.fitted == pytest.approx(np.average(y, weights=weights))
    assert (found.rank, found.coefficients.shape) == (1, (0,))
    assert found.prediction(np.zeros(0)) == pytest.approx(weights / weights.sum())


def test_exact_fractions_at_an_offset():
    """Of columns near 2^40, whose spread is 1: by exact arithmetic."""
    x = [2**40 + k for k in (0, 1, 1, 2, 4)]
    y = [3, 1, 4, 1, 5]
    mean_x = Fraction(sum(x), 5)
    mean_y = Fraction(sum(y), 5)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - mean_x) ** 2 for a in x
    )
    found = LeastSquares.of(np.array(x, dtype=float)[:, None], np.array(y, dtype=float))
    assert found.coefficients[0] == pytest.approx(float(slope))
    exact = [float(b - mean_y - slope * (a - mean_x)) for a, b in zip(x, y, strict=True)]
    assert found.left == pytest.approx(exact)


@settings(max_examples=60)
@given(
    power=st.lists(st.integers(-12, 12), min_size=3, max_size=3),
    shift=st.sampled_from([0, 1e3, -1e6, 1e9]),
    of_y=st.integers(-12, 12),
)
def test_units_and_offsets_change_nothing_but_the_units(table, power, shift, of_y):
    """Rounding grows with the offset: 1e9 standard deviations leave seven digits of sixteen."""
    columns, y, _ = table
    plain = LeastSquares.of(columns, y)
    unit = 10.0 ** np.array(power)
    moved = LeastSquares.of((columns + shift * columns.std(axis=0)) * unit, y * 10.0**of_y)
    digits = max(1e-9, 1e-14 * abs(shift) * 10)
    assert moved.rank == plain.rank
    assert moved.coefficients * unit / 10.0**of_y == pytest.approx(plain.coefficients, rel=digits)
    assert moved.left / 10.0**of_y == pytest.approx(plain.left, abs=digits * y.std())
    for k in range(3):
        assert moved.influence(k) * unit[k] / 10.0**of_y == pytest.approx(
            plain.influence(k), rel=digits, abs=digits * abs(plain.influence(k)).max()
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_within_levels_is_least_squares_with_an_indicator_for_each(table, weighted):
    columns, y, weights = table
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 9, len(y)) * 3  # codes need not be dense
    weights = np.where(rng.random(len(y)) < 0.2, 0.0, weights) if weighted else None
    indicators = (codes[:, None] == np.unique(codes)[1:]).astype(float)
    whole = LeastSquares.of(np.column_stack([columns, indicators]), y, weights)
    found = LeastSquares.of(columns, y, weights, codes)
    assert found.rank == whole.rank
    assert found.coefficients == pytest.approx(whole.coefficients[:3], rel=1e-10)
    there = np.ones(len(y), dtype=bool) if weights is None else weights > 0
    for name in ("left", "leverage", "fitted"):
        assert getattr(found, name)[there] == pytest.approx(getattr(whole, name)[there], abs=1e-9)
    for column in range(3):
        assert found.influence(column) == pytest.approx(whole.influence(column), abs=1e-9)
        assert found.direction(column) == pytest.approx(whole.direction(column), abs=1e-12)
        own = whole.representer(column)[:3]
        assert found.representer(column) == pytest.approx(own, abs=1e-9)


def test_a_column_that_is_constant_within_levels_says_nothing_new():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(8), 5)
    columns = np.column_stack([rng.normal(size=40), 1e9 + codes % 3])
    found = LeastSquares.of(columns, rng.normal(size=40), None, codes)
    assert found.rank == 9
    assert found.coefficients[1] == 0
