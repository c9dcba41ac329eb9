"""Estimators of an effect against EconML's, fitted with the same folds and models."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causal_lib.inference.estimators import (
    Sample,
    _terms_of_effect,
    linear_dml_slope,
    orthogonal_iv,
    regression,
    regression_slope,
)
from causal_lib.inference.models import Fitting, folds

STUB = Fitting((LinearRegression(),), seed=3)


def _sample(y, t, x, groups=None, **more):
    groups = np.arange(len(y)) if groups is None else groups
    return Sample(y, t, x, groups, np.ones(len(y)), how=STUB, **more)


@pytest.fixture(scope="module")
def rows():
    """x (400, 2), an instrument, a dose that x and the instrument move, an outcome; 100 clusters."""
    rng = np.random.default_rng(8)
    x = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"]) * [1, 9] + 4
    z = 0.5 * x["a"].to_numpy() + rng.normal(size=400)
    t = z + 0.1 * x["b"].to_numpy() + rng.normal(size=400)
    y = t * (1 + x["a"].to_numpy()) + x["b"].to_numpy() + rng.normal(size=400)
    return x, z, t, y, np.repeat(np.arange(100), 4)


def test_the_slope_of_linear_dml_is_econmls(rows):
    from econml.dml import LinearDML

    x, _, t, y, groups = rows
    dml = LinearDML(
        model_y=LinearRegression(),
        model_t=LinearRegression(),
        featurizer=PolynomialFeatures(2, include_bias=False),
        cv=list(folds(groups, 3)),
        random_state=3,
    )
    scaled = StandardScaler().fit_transform(x)
    expected = dml.fit(y, t, X=scaled).const_marginal_effect(scaled).mean()
    assert linear_dml_slope(_sample(y, t, x, groups)).value == pytest.approx(expected)


def test_the_ratio_of_orthogonal_iv_is_econmls(rows):
    from econml.iv.dml import OrthoIV

    x, z, t, y, groups = rows
    peer = OrthoIV(
        model_y_xw=LinearRegression(),
        model_t_xw=LinearRegression(),
        model_z_xw=LinearRegression(),
        cv=list(folds(groups, 3)),
        random_state=3,
    )
    expected = float(np.ravel(peer.fit(y, t, Z=z, W=x.to_numpy()).effect())[0])
    assert orthogonal_iv(_sample(y, t, x, groups, z=z)).value == pytest.approx(expected)


@pytest.mark.parametrize(("n", "terms"), [(99, 3), (100, 6)])
def test_effects_are_quadratic_from_20_rows_a_term_on(n, terms):
    """Two numbers make five terms and the constant; a constant column and an indicator make none."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    t = np.arange(n) % 2
    y = rng.normal(size=n)
    assert _terms_of_effect(_sample(y, t, x)).shape == (n, terms)
    more = x.assign(flag=np.arange(n) // 2 % 2 * 1.0, same=2.0)
    assert _terms_of_effect(_sample(y, t, more)).shape == (n, terms)
    flag = _terms_of_effect(_sample(y, t, more[["flag", "same"]]))
    assert flag[:, 1] == pytest.approx(
        (more["flag"] - more["flag"].mean()) / more["flag"].std(ddof=0)
    )


def test_slope_of_a_binary_treatment_is_the_regression_of_each_arm():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    t = (rng.random(300) < 0.4).astype(float)
    y = x["a"].to_numpy() * t + rng.normal(size=300)
    of_unit, of_arms = (how(_sample(y, t, x)) for how in (regression_slope, regression))
    assert of_unit.value == pytest.approx(of_arms.value)
    assert of_unit.influence == pytest.approx(of_arms.influence, rel=1e-6)
