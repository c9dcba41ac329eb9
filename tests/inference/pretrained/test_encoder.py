"""Columns as the candidates see them: by hand, and the same in every unit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.inference.pretrained.encoder import Encoder, _edges


def _rows(n=200, p=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    x[:, 1] = rng.integers(2, size=n)
    t = rng.integers(2, size=n)
    return x, x @ np.arange(1, p + 1) + rng.normal(size=n), t


def test_terms_by_hand():
    x = np.array([[1.0, 0.0, 5.0], [3.0, 1.0, 5.0], [5.0, 0.0, 5.0], [7.0, 1.0, 5.0]])
    encoder = Encoder.fit(x, np.array([0.0, 1, 2, 5]), np.array([0, 0, 1, 1]), 0)
    assert encoder.used.tolist() == [0, 1]  # the third is constant
    z = np.column_stack([(x[:, 0] - 4) / np.sqrt(5), 2 * x[:, 1] - 1])
    terms = encoder.terms(x)
    assert terms["linear"] == pytest.approx(z)
    # the square of an indicator says nothing new
    assert terms["quadratic"] == pytest.approx(
        np.column_stack([z, z[:, 0] ** 2, z[:, 0] * z[:, 1]])
    )
    waves = np.cos(z @ encoder.rates + encoder.shifts)
    assert terms["waves"] == pytest.approx(waves)
    assert encoder.codes(x).tolist() == [[0, 0], [1, 1], [2, 0], [3, 1]]


def test_new_rows_are_seen_by_the_scale_and_bins_of_the_old():
    x, y, t = _rows()
    encoder = Encoder.fit(x, y, t, 0)
    assert encoder.linear(x[:1]) == pytest.approx(encoder.linear(x)[:1])
    far = x[:1] + 100
    assert encoder.linear(far).max() == 4.0
    assert encoder.codes(far)[0, 0] == len(encoder.edges[0])


def test_only_the_columns_that_go_with_the_outcome_have_products():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 12))
    y = x[:, 4:] @ np.ones(8) + 0.1 * rng.normal(size=2000)
    encoder = Encoder.fit(x, y, rng.integers(2, size=2000), 0)
    assert set(encoder.pairs.ravel()) == set(range(4, 12))
    assert encoder.pairs.shape == (2, 28)


def test_edges_by_hand():
    assert _edges(np.array([2.0, 2, 3, 7])).tolist() == [2.5, 5.0]
    assert _edges(np.ones(3)).tolist() == []


@pytest.mark.parametrize("n", [100, 640, 6400])
def test_bins_of_many_values_hold_about_as_many_rows(n):
    values = np.random.default_rng(2).normal(size=n)
    cuts = _edges(values)
    assert len(cuts) <= 62
    counts = np.bincount(np.searchsorted(cuts, values, side="right"), minlength=len(cuts) + 1)
    assert counts.max() <= np.ceil(n / 63) + 1
    assert counts.min() >= 1


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(1e-3, 1e3),
    st.floats(-100, 100),
    st.sampled_from([3, 40, 90]),
)
def test_another_unit_changes_nothing(seed, unit, shift, n):
    x, y, t = _rows(n, seed=seed)
    t[:2] = [0, 1]
    one = Encoder.fit(x, y, t, 0)
    other = Encoder.fit(unit * x + shift, y, t, 0)
    assert np.array_equal(one.codes(x), other.codes(unit * x + shift))
    assert np.array_equal(one.pairs, other.pairs)
    for name, values in one.terms(x).items():
        assert other.terms(unit * x + shift)[name] == pytest.approx(values, abs=1e-6)


def test_columns_that_are_all_constant_are_terms_of_0():
    x = np.full((5, 2), 3.0)
    encoder = Encoder.fit(x, np.arange(5.0), np.array([0, 1, 0, 1, 0]), 0)
    assert encoder.terms(x)["linear"].tolist() == [[0.0]] * 5
    assert encoder.codes(x).tolist() == [[0.0]] * 5
