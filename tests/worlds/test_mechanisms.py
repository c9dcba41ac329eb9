"""Mechanisms by hand, and all of them as they were when the published weights were trained."""

import numpy as np
import pytest
from scipy.special import expit

from causal_lib.worlds.mechanisms import _INCREASING, MECHANISMS, UNSEEN_NOISES, scaled, transformed

STAYS = {
    "linear": -0.23513821794313575,
    "fourier": 0.10652013563761002,
    "piecewise": -0.7278573358996495,
    "sigmoid": 0.005945348112936344,
    "mlp": -3.1765735892508435,
    "tree": 0.7809399942053528,
    "steep": 0.3805208071201212,
    "quadratic": -1.1189033140501292,
    "interactions": 0.05360941872497995,
    "tanh-gp": -0.017474619289726535,
}
NOISES = {
    "two peaks": -0.11264854695254886,
    "arcsine": -0.38401633111804934,
    "triangular": -0.05782351513868338,
    "lognormal": -0.1092932795417259,
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanisms_stay_the_same(name, fingerprint):
    """Computed once: what changes a number changes what the published weights were trained and
    tested on.
    """
    signal = MECHANISMS[name](
        np.random.default_rng(1), np.random.default_rng(0).normal(size=(40, 3))
    )
    assert signal.shape == (40,)
    assert fingerprint(signal) == pytest.approx(STAYS[name], rel=1e-8)


@pytest.mark.parametrize("name", UNSEEN_NOISES)
def test_noises_are_scaled_and_stay_the_same(name, fingerprint):
    draws = UNSEEN_NOISES[name](np.random.default_rng(1), 50)
    assert (draws.mean(), draws.std()) == pytest.approx((0, 1), abs=1e-12)
    assert fingerprint(draws) == pytest.approx(NOISES[name], rel=1e-8)


def test_a_constant_is_scaled_to_0_and_columns_by_themselves():
    found = scaled(np.array([[1.0, 7], [3, 7], [8, 7]]))
    assert found[:, 1].tolist() == [0, 0, 0]
    assert found[:, 0] == pytest.approx(np.array([-3, -1, 4]) / np.sqrt(26 / 3))


def test_bends_by_hand():
    u = np.array([-2.0, -0.5, 0.3, 1.5])
    size = np.abs(u)
    sign = np.sign(u)
    expected = [
        sign * size**1.8,
        np.exp(0.7 * u),
        (np.exp(u) - np.exp(-u)) / 2,
        1 / (1 + np.exp(-2 * u)),
        sign * np.log(1 + 2 * size),
        u + 0.7 * np.tanh(3 * u),
    ]
    for bend, values in zip(_INCREASING, expected, strict=True):
        assert bend(u) == pytest.approx(values)
        assert (np.diff(bend(np.sort(u))) > 0).all()


def test_what_is_bent_is_scaled_and_clipped_before():
    # the last stands 9.95 deviations above the mean
    values = np.concatenate([np.zeros(99), [100.0]])
    for seed in range(8):
        bend = _INCREASING[np.random.default_rng(seed).integers(6)]
        found = transformed(values, np.random.default_rng(seed))
        assert found[-1] == pytest.approx(bend(np.array([5.0]))[0])
        assert found[0] == pytest.approx(bend(np.array([-1 / np.sqrt(99)]))[0])


def test_simple_mechanisms_by_hand():
    x = np.random.default_rng(0).normal(size=(30, 2))

    def weights(rng):
        return rng.uniform(0.5, 1.5, 2) * rng.choice([-1, 1], 2)

    rng = np.random.default_rng(5)
    assert MECHANISMS["linear"](np.random.default_rng(5), x) == pytest.approx(x @ weights(rng))
    rng = np.random.default_rng(5)
    shift = rng.uniform(-0.6, 0.6, 2)
    assert MECHANISMS["quadratic"](np.random.default_rng(5), x) == pytest.approx(
        (x + shift) ** 2 @ weights(rng)
    )
    rng = np.random.default_rng(5)
    steep = rng.uniform(0.8, 3, 2)
    shift = rng.uniform(-1, 1, 2)
    curves = expit(steep * (x - shift))
    curves = (curves - curves.mean(axis=0)) / curves.std(axis=0)
    assert MECHANISMS["sigmoid"](np.random.default_rng(5), x) == pytest.approx(
        curves @ weights(rng)
    )


def test_an_interaction_needs_two_parents():
    x = np.random.default_rng(0).normal(size=(30, 1))
    found = MECHANISMS["interactions"](np.random.default_rng(5), x)
    rng = np.random.default_rng(5)
    sign = np.sign(rng.uniform(0.5, 1.5, 1) * rng.choice([-1, 1], 1))
    assert found == pytest.approx(
        sign * (x[:, 0] - x[:, 0].mean()) / x[:, 0].std() + 0.7 * x[:, 0] ** 2
    )
