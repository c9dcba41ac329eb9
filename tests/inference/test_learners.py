"""The projection of effects and its two kinds of interval against the truth; packages that load late and keep quiet."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from causal_lib.inference.effects import effect
from causal_lib.inference.estimators import BOOST, PLAIN, slope
from causal_lib.inference.learners import LEARNERS, Projection, final_model, linear_dml


def _scores(n, seed):
    """Noisy scores of the effect 1 + a - b² + a b, two rows a cluster that share half of the noise."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"]).assign(c=rng.integers(2, size=n))
    groups = np.arange(n) // 2
    noise = rng.standard_normal(n) * (1 + np.abs(x["a"])) + 2 * rng.standard_normal(n)[groups]
    return x, (1 + x["a"] - x["b"] ** 2 + x["a"] * x["b"]).to_numpy(), noise.to_numpy(), groups


def test_projection_is_least_squares():
    x, effect, noise, groups = _scores(600, 0)
    found = Projection.of(effect + noise, x, groups).interval(x, 0.95)
    wide = np.column_stack(
        [np.ones(600), x, x["a"] ** 2, x["b"] ** 2, x["a"] * x["b"], x["a"] * x["c"], x["b"] * x["c"]]
    )
    coefficients = np.linalg.lstsq(wide, effect + noise, rcond=None)[0]
    assert found["value"].to_numpy() == pytest.approx(wide @ coefficients)
    bread = np.linalg.inv(wide.T @ wide)
    meat = np.zeros((300, wide.shape[1]))
    np.add.at(meat, groups, wide * (effect + noise - wide @ coefficients)[:, None])
    error = np.sqrt(np.diag(wide @ bread @ meat.T @ meat @ bread @ wide.T) * 300 / 299)
    assert (found["high"] - found["low"]).to_numpy() == pytest.approx(2 * 1.959964 * error, rel=1e-5)


def test_pointwise_and_simultaneous_intervals_cover_as_announced():
    runs, level, at = 200, 0.9, _scores(150, 99)
    single, all_at_once, single_all = [], 0, 0
    for seed in range(runs):
        x, effect, noise, groups = _scores(1200, seed)
        projection = Projection.of(effect + noise, x, groups)
        for simultaneous in (False, True):
            ends = projection.interval(at[0], level, simultaneous=simultaneous, seed=seed)
            inside = (ends["low"] <= at[1]) & (at[1] <= ends["high"])
            if simultaneous:
                all_at_once += inside.all()
            else:
                single.append(inside.mean())
                single_all += inside.all()
    # A clustered sandwich with 9 terms and 600 clusters is some 2 points short.
    assert np.mean(single) == pytest.approx(level, abs=0.03)
    assert binom.ppf(1e-4, runs, level - 0.03) <= all_at_once <= binom.ppf(1 - 1e-4, runs, level + 0.02)
    assert single_all < runs / 2  # what pointwise intervals do not promise


@pytest.mark.parametrize(("count", "level"), [(1, 0.95), (2, 0.9), (20, 0.9), (20, 0.95)])
def test_a_simultaneous_interval_of_independent_estimates_is_sidak_s(count, level):
    """All of ``count`` hold with chance ``level`` if each does with its root; 2,000 draws know the width within 3%."""
    rows, error = pd.DataFrame(np.eye(count)), np.arange(1.0, count + 1)
    projection = Projection(lambda at: at, np.zeros(count), np.diag(error**2))
    single, both = (projection.interval(rows, level, simultaneous=s) for s in (False, True))
    assert single["high"].to_numpy() == pytest.approx(norm.ppf(0.5 + level / 2) * error)
    width = norm.ppf(0.5 + level ** (1 / count) / 2)
    assert both["high"].to_numpy() / error == pytest.approx(np.full(count, width), abs=0.1)
    assert both["low"].to_numpy() == pytest.approx(-both["high"].to_numpy())


def test_few_rows_are_projected_linearly():
    x, effect, noise, _ = _scores(120, 1)
    assert len(Projection.of(effect + noise, x[["a"]], np.arange(120)).coefficients) == 3
    assert len(Projection.of(effect + noise, x[["a"]], np.arange(120) // 3).coefficients) == 2


def test_slope_of_a_binary_treatment_is_the_regression_of_each_arm():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    t = (rng.random(300) < 0.4).astype(float)
    y = x["a"].to_numpy() * t + rng.normal(size=300)
    of_unit, of_arms = (how(y, t, x, np.arange(300), 0) for how in (slope, PLAIN["regression"]))
    assert of_unit[0] == pytest.approx(of_arms[0])
    assert of_unit[1] == pytest.approx(of_arms[1])


def _effects(n, seed):
    """Effects 0.15 + 0.1 (a - b) of a confounded treatment on y, 0/1, and on 5 y + a."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x["b"]))).to_numpy().astype(int)
    effect = np.clip(0.15 + 0.1 * (x["a"] - x["b"]), 0, 0.5).to_numpy()
    y = (rng.random(n) < np.clip(0.25 + 0.2 * x["b"], 0, 0.5) + effect * t).astype(float).to_numpy()
    return y, t, x, effect


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("s", 0.5),
        ("t", 0.3),
        ("x", 0.6),
        ("r", 0.5),
        ("uplift_tree", 0.2),
        ("uplift_forest", 0.5),
        ("causal_forest", 0.5),
    ],
)
def test_every_learner_ranks_the_effect_and_says_nothing(name, least, capfd):
    y, t, x, _ = _effects(1500, 2)
    _, _, fresh, effect = _effects(1500, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        learned = LEARNERS[name](y, t, x, np.arange(1500), 0)
        found = learned.predict(fresh)
        if "uplift" not in name:
            of_numbers = LEARNERS[name](5 * y + x["a"].to_numpy(), t, x, np.arange(1500), 0).predict(fresh)
            assert np.corrcoef(of_numbers, effect)[0, 1] > least - 0.2
            assert of_numbers.mean() == pytest.approx(5 * effect.mean(), abs=0.5)
    assert np.corrcoef(found, effect)[0, 1] > least
    assert found.mean() == pytest.approx(effect.mean(), abs=0.1)
    assert (learned.interval is None) == (name != "causal_forest")
    if learned.interval:
        low, high = learned.interval(fresh, 0.95)
        assert ((low <= effect) & (effect <= high)).mean() > 0.85
        narrow = learned.interval(fresh, 0.5)
        assert (high - low) / (narrow[1] - narrow[0]) == pytest.approx(np.full(1500, 1.959964 / 0.6744898), rel=1e-6)
    assert capfd.readouterr() == ("", "")


def test_the_x_learner_weighs_the_arms_by_the_propensity():
    """Künzel and others 2019, equation 9: g(x) τ₀(x) + (1 - g(x)) τ₁(x), g the propensity of the treated."""
    y, t, x, _ = _effects(600, 4)
    y = 5 * y + x["a"].to_numpy()
    found = LEARNERS["x"](y, t, x, np.arange(600), 0).predict(x)
    outcome = [
        HistGradientBoostingRegressor(**BOOST, random_state=0).fit(x[t == a].to_numpy(), y[t == a]) for a in (0, 1)
    ]
    wide = x.to_numpy()
    gain = [outcome[1].predict(wide[t == 0]) - y[t == 0], y[t == 1] - outcome[0].predict(wide[t == 1])]
    of_arm = [final_model(0).fit(wide[t == a], gain[a]).predict(wide) for a in (0, 1)]
    g = HistGradientBoostingClassifier(**BOOST, random_state=0).fit(x, t).predict_proba(x)[:, 1]
    assert found == pytest.approx(g * of_arm[0] + (1 - g) * of_arm[1])


def test_uplift_trees_need_events():
    y, t, x, _ = _effects(60, 2)
    with pytest.raises(ValueError, match="need an outcome of 0 and 1; take another learner"):
        LEARNERS["uplift_tree"](y + x["a"].to_numpy(), t, x, np.arange(60), 0)


@pytest.mark.parametrize(("n", "quadratic"), [(99, False), (100, True)])
def test_dml_is_quadratic_from_20_rows_a_term_on(n, quadratic):
    # Two columns make five terms.
    from econml.dml import LinearDML

    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    t = np.arange(n) % 2
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        fit = LinearDML.fit
        patch.setattr(LinearDML, "fit", lambda self, *a, **how: seen.append(self.featurizer) or fit(self, *a, **how))
        linear_dml(rng.normal(size=n), t, x, np.arange(n), 0)
    assert [one and one.degree for one in seen] == [2 if quadratic else None]


LATE = """
import sys
import causal_lib.inference.uplift
assert not {"causalml", "econml", "shap", "xgboost"} & set(sys.modules)
import matplotlib
style = dict(matplotlib.rcParams)
import numpy as np, pandas as pd
x = pd.DataFrame({"a": np.arange(200.0)})
learner = causal_lib.inference.learners.LEARNERS["s"]
learner(np.arange(200) % 2, np.arange(200) // 2 % 2, x, np.arange(200), 0).predict(x)
assert "causalml" in sys.modules
assert dict(matplotlib.rcParams) == style
"""


def test_causalml_loads_late_and_says_nothing():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["linear_dml", "causal_forest", "dr_learner"])
def test_averages_of_events_say_nothing(name, capfd):
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    t = (rng.random(400) < 1 / (1 + np.exp(-a))).astype(int)
    frame = pd.DataFrame({"a": a, "t": t, "y": (rng.random(400) < 0.3 + 0.2 * t).astype(int)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert abs(effect(frame, "t", "y", adjustment=["a"], estimator=name).value - 0.2) < 0.2
    assert capfd.readouterr() == ("", "")
