"""The projection of effects and its intervals against the truth; packages that load late and keep
quiet.
"""

import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold

from causal_lib.inference import learners
from causal_lib.inference.effects import effect
from causal_lib.inference.learners import (
    BOOST,
    LEARNERS,
    Projection,
    Rows,
    explained,
    final_model,
)
from causal_lib.inference.models import Fitting, arm_folds, fit
from causal_lib.inference.nuisances import propensities


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
        [
            np.ones(600),
            x,
            x["a"] ** 2,
            x["b"] ** 2,
            x["a"] * x["b"],
            x["a"] * x["c"],
            x["b"] * x["c"],
        ]
    )
    coefficients = np.linalg.lstsq(wide, effect + noise, rcond=None)[0]
    assert found["value"].to_numpy() == pytest.approx(wide @ coefficients)
    bread = np.linalg.inv(wide.T @ wide)
    meat = np.zeros((300, wide.shape[1]))
    leverage = np.einsum("ij,jk,ik->i", wide, bread, wide)
    left = (effect + noise - wide @ coefficients) / np.sqrt(1 - leverage)
    np.add.at(meat, groups, wide * left[:, None])
    error = np.sqrt(np.diag(wide @ bread @ meat.T @ meat @ bread @ wide.T) * 300 / 299)
    assert (found["high"] - found["low"]).to_numpy() == pytest.approx(
        2 * 1.959964 * error, rel=1e-5
    )


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_projections_in_other_units(unit):
    """Of the outcome and of a column; the square of an indicator adds no rank."""
    x, effect, noise, groups = _scores(400, 17)
    plain = Projection.of(effect + noise, x, groups)
    assert plain.rank == len(plain.coefficients) - 1
    other = x.assign(a=unit * x["a"] + 3 * unit)
    found = Projection.of(unit * (effect + noise), other, groups)
    assert found.rank == plain.rank
    ends = [one.interval(of, 0.95).to_numpy() for one, of in ((plain, x), (found, other))]
    assert ends[1] == pytest.approx(unit * ends[0], rel=1e-6, abs=1e-9 * unit)


def test_pointwise_intervals_cover_as_announced():
    runs = 200
    level = 0.9
    at = _scores(150, 99)
    single = []
    for seed in range(runs):
        x, effect, noise, groups = _scores(1200, seed)
        ends = Projection.of(effect + noise, x, groups).interval(at[0], level)
        single.append(((ends["low"] <= at[1]) & (at[1] <= ends["high"])).mean())
    # A clustered sandwich with 9 terms and 600 clusters is some 2 points short.
    assert np.mean(single) == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_an_interval_reaches_as_far_as_its_error(level):
    error = np.arange(1.0, 4)
    covariance = np.diag(np.append(0.0, error**2))  # of the constant first
    projection = Projection(lambda at: at, np.zeros(4), covariance, 4)
    ends = projection.interval(pd.DataFrame(np.eye(3)), level)
    assert ends["high"].to_numpy() == pytest.approx(norm.ppf(0.5 + level / 2) * error)
    assert ends["low"].to_numpy() == pytest.approx(-ends["high"].to_numpy())


def test_few_rows_are_projected_linearly():
    x, effect, noise, _ = _scores(120, 1)
    assert len(Projection.of(effect + noise, x[["a"]], np.arange(120)).coefficients) == 3
    assert len(Projection.of(effect + noise, x[["a"]], np.arange(120) // 3).coefficients) == 2


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
        learned = LEARNERS[name](Rows(y, t, x, np.arange(1500), 0))
        found = learned.predict(fresh)
        if "uplift" not in name:
            of_numbers = LEARNERS[name](
                Rows(5 * y + x["a"].to_numpy(), t, x, np.arange(1500), 0)
            ).predict(fresh)
            assert np.corrcoef(of_numbers, effect)[0, 1] > least - 0.2
            assert of_numbers.mean() == pytest.approx(5 * effect.mean(), abs=0.5)
    assert np.corrcoef(found, effect)[0, 1] > least
    assert found.mean() == pytest.approx(effect.mean(), abs=0.1)
    assert (learned.interval is None) == (name != "causal_forest")
    if learned.interval:
        low, high = learned.interval(fresh, 0.95)
        assert ((low <= effect) & (effect <= high)).mean() > 0.85
        narrow = learned.interval(fresh, 0.5)
        assert (high - low) / (narrow[1] - narrow[0]) == pytest.approx(
            np.full(1500, 1.959964 / 0.6744898), rel=1e-6
        )
    assert capfd.readouterr() == ("", "")


def test_uplift_trees_need_events():
    y, t, x, _ = _effects(60, 2)
    with pytest.raises(ValueError, match="need an outcome of 0 and 1; take another learner"):
        LEARNERS["uplift_tree"](Rows(y + x["a"].to_numpy(), t, x, np.arange(60), 0))


LATE = """
import sys
import causal_lib.inference.uplift
assert not {"causalml", "econml", "shap", "xgboost"} & set(sys.modules)
import matplotlib
style = dict(matplotlib.rcParams)
import numpy as np, pandas as pd
x = pd.DataFrame({"a": np.arange(200.0)})
learners = causal_lib.inference.learners
rows = learners.Rows(np.arange(200) % 2, np.arange(200) // 2 % 2, x, np.arange(200), 0)
learners.LEARNERS["s"](rows).predict(x)
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


def _by_hand(kind, y, t, wide, fresh):
    """Effects of ``fresh`` rows by the S-, T-, X- and R-learner of Künzel and others 2019 and of
    Nie and Wager 2021.
    """
    events = set(np.unique(y)) == {0, 1}

    def outcome(rows, values):
        model = (HistGradientBoostingClassifier if events else HistGradientBoostingRegressor)(
            **BOOST, random_state=3
        )
        model.fit(rows, values)
        return lambda at: model.predict_proba(at)[:, 1] if events else model.predict(at)

    if kind == "s":
        model = outcome(np.column_stack([t, wide]), y)
        return model(np.column_stack([np.ones(len(fresh)), fresh])) - model(
            np.column_stack([0 * fresh[:, 0], fresh])
        )
    if kind in "tx":
        arms = [outcome(wide[t == arm], y[t == arm]) for arm in (0, 1)]
    if kind == "t":
        return arms[1](fresh) - arms[0](fresh)
    if kind == "x":
        gain = [arms[1](wide[t == 0]) - y[t == 0], y[t == 1] - arms[0](wide[t == 1])]
        of_arm = [final_model(3).fit(wide[t == arm], gain[arm]).predict(fresh) for arm in (0, 1)]
        rows, at = (pd.DataFrame(part, columns=["a", "b"]) for part in (wide, fresh))
        share = fit(t, rows, 3)(at)
        return share * of_arm[0] + (1 - share) * of_arm[1]
    expected = np.empty(len(y))
    kind_of_folds = KFold if events else StratifiedKFold  # as CausalML does
    for train, test in kind_of_folds(5, shuffle=True, random_state=3).split(wide, t):
        expected[test] = outcome(wide[train], y[train])(wide[test])
    chances = propensities(
        t, pd.DataFrame(wide, columns=["a", "b"]), np.arange(len(t)), Fitting(seed=3)
    )[:, 1]
    left = t - chances
    return final_model(3).fit(wide, (y - expected) / left, sample_weight=left**2).predict(fresh)


@pytest.mark.parametrize("kind", ["s", "t", "x", "r"])
@pytest.mark.parametrize("events", [True, False])
def test_meta_learners_by_hand(kind, events):
    y, t, x, _ = _effects(500, 6)
    y = y if events else 5 * y + x["a"].to_numpy()
    fresh = _effects(60, 7)[2]
    found = LEARNERS[kind](Rows(y, t, x, np.arange(500), 3))
    assert found.interval is None
    assert found.predict(fresh) == pytest.approx(
        _by_hand(kind, y, t, x.to_numpy(), fresh.to_numpy())
    )


def _standard(wide, at):
    return (at - wide.mean(axis=0)) / wide.std(axis=0)


@pytest.mark.parametrize("events", [True, False])
def test_linear_learners_by_hand(events):
    """Ridge regressions on standardised columns, the penalty that leaves least when each row is
    left out in turn; logistic regressions of penalty 1.
    """
    y, t, x, _ = _effects(120, 18)
    y = y if events else 5 * y + x["a"].to_numpy()
    score = y * 3 + x["b"].to_numpy() * t
    wide = x.to_numpy()
    fresh = _effects(30, 19)[2].to_numpy()
    rows = Rows(y, t, x, np.arange(120), 0, score)
    new = pd.DataFrame(fresh, columns=["a", "b"])

    def ridge(columns, values):
        z = _standard(columns, columns)
        n = len(z)
        errors = {}
        for penalty in n * np.logspace(-5, 2, 15):
            centred = z.T @ z + penalty * np.eye(2)
            hat = np.full((n, n), 1 / n) + z @ np.linalg.solve(centred, z.T)
            left = (values - hat @ values) / (1 - np.diag(hat))
            errors[penalty] = (left**2).mean()
        best = min(errors, key=errors.get)
        model = Ridge(best).fit(z, values)
        return lambda at: model.predict(_standard(columns, at))

    def logistic(columns, values):
        model = LogisticRegression(max_iter=1000).fit(_standard(columns, columns), values)
        return lambda at: model.predict_proba(_standard(columns, at))[:, 1]

    found = LEARNERS["dr_linear"](rows).predict(new)
    assert found == pytest.approx(ridge(wide, score)(fresh))
    regression = logistic if events else ridge
    arms = [regression(wide[t == arm], y[t == arm])(fresh) for arm in (0, 1)]
    assert LEARNERS["t_linear"](rows).predict(new) == pytest.approx(arms[1] - arms[0])


@pytest.mark.parametrize("events", [True, False])
def test_coarse_learners_by_hand(events):
    """Trees of four leaves; a leaf holds a twentieth of the rows, at least 200 (50 of an arm)."""
    y, t, x, _ = _effects(5000, 20)
    y = y if events else 5 * y + x["a"].to_numpy()
    score = y + t
    fresh = x.head(50)
    rows = Rows(y, t, x, np.arange(5000), 3, score)
    how = {
        "max_iter": 100,
        "learning_rate": 0.05,
        "max_leaf_nodes": 4,
        "random_state": 3,
        "early_stopping": False,
    }
    whole = HistGradientBoostingRegressor(**how, min_samples_leaf=250).fit(x, score)
    assert LEARNERS["dr_coarse"](rows).predict(fresh).tolist() == whole.predict(fresh).tolist()
    part = rows.take(np.arange(400))
    small = HistGradientBoostingRegressor(**how, min_samples_leaf=200).fit(x[:400], score[:400])
    assert LEARNERS["dr_coarse"](part).predict(fresh).tolist() == small.predict(fresh).tolist()
    for own in (rows, part):
        arms = []
        for arm in (0, 1):
            of_arm = own.t == arm
            least = max(50, int(of_arm.sum()) // 20)
            kind = HistGradientBoostingClassifier if events else HistGradientBoostingRegressor
            model = kind(**how, min_samples_leaf=least).fit(own.x[of_arm], own.y[of_arm])
            arms.append(model.predict_proba(fresh)[:, 1] if events else model.predict(fresh))
        assert LEARNERS["t_coarse"](own).predict(fresh).tolist() == (arms[1] - arms[0]).tolist()


def test_the_fine_learner_by_hand():
    """Effects imputed by the other arm's model, learned in each arm, weighted by propensity."""
    y, t, x, _ = _effects(500, 22)
    y = 5 * y + x["a"].to_numpy()
    fresh = _effects(60, 23)[2]

    def learned(arm, values, trees):
        return HistGradientBoostingRegressor(
            max_iter=trees,
            max_leaf_nodes=6,
            min_samples_leaf=1,
            l2_regularization=1,
            early_stopping=False,
            random_state=3,
        ).fit(x[t == arm], values)

    without, with_it = (learned(arm, y[t == arm], 300) for arm in (0, 1))
    of_control = learned(0, with_it.predict(x[t == 0]) - y[t == 0], 100).predict(fresh)
    of_treated = learned(1, y[t == 1] - without.predict(x[t == 1]), 100).predict(fresh)
    chance = fit(t, x, 3, groups=np.arange(500))(fresh)
    rows = Rows(y, t, x, np.arange(500), 3)
    found = LEARNERS["x_fine"](rows).predict(fresh)
    assert found == pytest.approx(chance * of_control + (1 - chance) * of_treated)
    others = np.arange(500) % 10 == 0
    more = Rows(
        np.append(y, y[others]),
        np.append(t, np.full(50, 2)),
        pd.concat([x, x[others]]),
        np.arange(550),
        3,
    )
    assert LEARNERS["x_fine"](more).predict(fresh).tolist() == found.tolist()


def test_what_is_explained_by_hand():
    y = np.array([0.0, 2, 4, 1, 5, 9])
    t = np.array([0, 0, 0, 1, 1, 2])
    means = np.array([[0.0, 9], [2, 9], [3, 9], [9, 1], [9, 3], [0, 0]])
    # left over: 1 of the control, 4 of the treated; there was 8 and 8
    assert explained(y, t, means) == pytest.approx(1 - 5 / 16)
    assert explained(np.zeros(6), t, means) == 0


@pytest.mark.parametrize("name", ["t_linear", "t_coarse"])
def test_an_arm_without_differences_is_predicted_by_its_level(name):
    y, t, x, _ = _effects(200, 21)
    y = np.where(t == 0, 0.0, y)
    rows = Rows(y, t, x, np.arange(200), 0)
    assert LEARNERS[name](rows).predict(x).mean() == pytest.approx(y[t == 1].mean(), abs=0.02)
    none = Rows(0 * y, t, x, np.arange(200), 0)
    assert LEARNERS[name](none).predict(x).tolist() == [0.0] * 200


def test_rows_of_two_arms():
    y, t, x, _ = _effects(9, 22)
    t = np.array([0, 1, 2, 2, 0, 1, 2, 0, 1])
    chances = np.full((9, 2), 0.3)
    rows = Rows(y, t, x, np.array([0, 0, 1, 2, 2, 3, 3, 4, 4]), 5, y + 1, chances)
    found = rows.of_two_arms()
    assert found.t.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.x.index.tolist() == [0, 1, 4, 5, 7, 8]
    assert found.y.tolist() == y[[0, 1, 4, 5, 7, 8]].tolist()
    assert found.score.tolist() == (y[[0, 1, 4, 5, 7, 8]] + 1).tolist()
    assert found.groups.tolist() == [0, 0, 1, 2, 3, 3]
    assert found.chances.shape == (6, 2)
    assert found.seed == 5
    assert found.of_two_arms() is found


def test_the_last_regression_is_slow_and_coarse():
    expected = {
        "max_iter": 100,
        "learning_rate": 0.05,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 200,
    }
    model = final_model(7).get_params()
    assert {name: model[name] for name in expected} == expected
    assert model["random_state"] == 7


class _Recorder:
    """In place of a package's model: keeps what it is given, and predicts a number of each row."""

    def __init__(self, **settings):
        self.settings = settings
        type(self).made.append(self)

    def fit(self, *given, **named):
        self.given, self.named = given, named
        return self


@pytest.mark.parametrize("name", ["uplift_tree", "uplift_forest"])
def test_what_uplift_trees_are_told(name, monkeypatch):
    class Tree(_Recorder):
        made: ClassVar[list] = []

        def predict(self, rows):
            # of control, of treated
            return np.column_stack([0.2 * rows[:, 0], 0.5 * rows[:, 0] + 1])

    class Forest(_Recorder):
        made: ClassVar[list] = []

        def predict(self, rows):
            return np.column_stack([3 * rows[:, 0], 9 + 0 * rows[:, 0]])

    part = SimpleNamespace(UpliftTreeClassifier=Tree, UpliftRandomForestClassifier=Forest)
    monkeypatch.setattr(learners, "causalml_part", lambda asked: {"tree": part}[asked])
    y, t, x, _ = _effects(60, 8)
    found = LEARNERS[name](Rows(y, t, x, np.arange(60), 4))
    how = {
        "control_name": "control",
        "min_samples_leaf": 50,
        "honesty": True,
        "random_state": 4,
        "max_depth": 5,
    }
    if name == "uplift_forest":
        made = Forest.made
        gain = 3 * x["a"]
        how |= {"n_estimators": 100, "max_features": None}
    else:
        made = Tree.made
        gain = 0.3 * x["a"] + 1
    assert [one.settings for one in made] == [how]
    assert made[0].named["treatment"].tolist() == [("control", "treated")[one] for one in t]
    assert made[0].named["y"].tolist() == y.tolist()
    assert made[0].named["X"] == pytest.approx(x.to_numpy())
    assert found.predict(x) == pytest.approx(gain.to_numpy())
    assert found.interval is None


@pytest.mark.parametrize("events", [True, False])
def test_what_the_causal_forest_is_told(events, monkeypatch):
    import econml.dml

    class Forest(_Recorder):
        made: ClassVar[list] = []

        def effect(self, rows):
            return rows[:, :1] * 2

        def effect_interval(self, rows, alpha):
            return rows[:, :1] - alpha, rows[:, :1] + alpha

    monkeypatch.setattr(econml.dml, "CausalForestDML", Forest)
    y, t, x, _ = _effects(60, 9)
    y = y if events else y + x["b"].to_numpy()
    groups = np.repeat(np.arange(30), 2)
    found = LEARNERS["causal_forest"](Rows(y, t, x, groups, 5))
    told = dict(Forest.made[0].settings)
    of_y = told.pop("model_y")
    of_t = told.pop("model_t")
    assert isinstance(of_t, HistGradientBoostingClassifier)
    assert isinstance(of_y, HistGradientBoostingClassifier) == events
    for model in (of_y, of_t):
        assert {name: model.get_params()[name] for name in BOOST} == BOOST
        assert model.random_state == 5
    splits = arm_folds(t, groups, 5)
    for (train, test), (theirs, others) in zip(told.pop("cv"), splits, strict=True):
        assert (train.tolist(), test.tolist()) == (theirs.tolist(), others.tolist())
    assert told == {
        "discrete_treatment": True, "discrete_outcome": events, "n_estimators": 200, "random_state": 5,
        "n_jobs": 1,
    }  # fmt: skip
    assert Forest.made[0].given[0].tolist() == y.tolist()
    assert Forest.made[0].given[1].tolist() == t.tolist()
    assert found.predict(x) == pytest.approx(2 * x["a"].to_numpy())
    low, high = found.interval(x, 0.9)
    assert low == pytest.approx(x["a"].to_numpy() - 0.1)
    assert high == pytest.approx(x["a"].to_numpy() + 0.1)


def test_projections_of_20_clusters_a_term():
    """Of two columns three linear terms and six quadratic ones."""
    x, effect, noise, _ = _scores(240, 13)
    x = x[["a", "b"]]
    score = effect + noise
    for clusters, terms in ((60, 3), (119, 3), (120, 6)):
        found = Projection.of(score, x, np.arange(240) % clusters)
        assert len(found.coefficients) == terms
    with pytest.raises(
        ValueError, match="59 rows or clusters are too few to project effects on 2 columns"
    ):
        Projection.of(score, x, np.arange(240) % 59)


def test_causalmls_x_learner_takes_new_rows_whose_propensity_is_an_end():
    """A row far from the others gets a propensity of 0 or 1, which CausalML itself refuses."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=600)})
    t = (rng.random(600) < 1 / (1 + np.exp(-3 * x["a"]))).astype(int).to_numpy()
    y = x["a"].to_numpy() + t + rng.normal(size=600)
    model = LEARNERS["x"](Rows(y, t, x, np.arange(600), 0))
    far = model.predict(pd.DataFrame({"a": [-1e6, 0.0, 1e6]}))
    assert np.isfinite(far).all()
