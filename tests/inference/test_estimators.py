"""Influences against numerical derivatives, folds against scikit-learn's, clusters that no model sees both sides of."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from econml.grf import CausalForest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold

from causal_lib.graph import CausalGraph
from causal_lib.inference import UpliftModel, dose_response, effect, identify
from causal_lib.inference import estimators as e
from causal_lib.inference.counterfactuals import probabilities_of_causation

COPIES = 2000


def small(seed=0, n=24):
    """Few rows in which every term of every influence matters: t moves m, whose effect depends on t."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = np.arange(n) % 2
    m = np.empty(n, dtype=int)
    m[t == 0] = np.repeat([0, 1, 2], [n // 4, n // 6, n // 12])
    m[t == 1] = np.repeat([0, 1, 2], [n // 12, n // 6, n // 4])
    z = t + rng.normal(size=n)
    y = x + t * (1 + x) + m * (1 + 2 * t) + rng.normal(size=n)
    return pd.DataFrame({"x": x, "t": t, "m": m, "z": z, "y": y, "dose": t + x + rng.normal(size=n)})


def _known(x):
    chance = 1 / (1 + np.exp(-0.5 * x["x"].to_numpy()))
    return np.column_stack([1 - chance, chance])


def _plain(name, treatment):
    return lambda f: e.PLAIN[name](f["y"].to_numpy(), f[treatment].to_numpy(), f[["x"]], None, 0)


SMOOTH = {
    **{name: _plain(name, "t") for name in ("difference", "regression", "ipw")},
    **{f"{name} of three levels": _plain(name, "m") for name in ("difference", "regression", "ipw")},
    "slope": lambda f: e.slope(f["y"].to_numpy(), f["dose"].to_numpy(), f[["x"]], None, 0),
    "front_door": lambda f: e.front_door(f["y"].to_numpy(), f["t"].to_numpy(), f[["m"]]),
    "wald": lambda f: e.wald(f["y"].to_numpy(), f["dose"].to_numpy(), f["z"].to_numpy(), f[["x"]]),
}
"""Estimators without neighbours or boosting, whose answer is a smooth function of the rows' weights."""


@pytest.mark.parametrize("name", SMOOTH)
def test_the_influence_of_a_row_is_the_derivative_in_its_weight(name, monkeypatch):
    """A table of many copies, then one copy of a row less: what the answer moves by, times the number of rows."""
    monkeypatch.setattr(e, "propensities", lambda t, x, groups, seed: _known(x))  # known, as its influence takes them
    monkeypatch.setattr(e, "_WEAK", 0)
    frame = small()
    value, influence, *_ = SMOOTH[name](frame)
    copies = frame.loc[np.repeat(frame.index, COPIES)].reset_index(drop=True)
    whole = SMOOTH[name](copies)[0]
    assert whole == pytest.approx(value, rel=1e-9)
    moved = [whole - SMOOTH[name](copies.drop(index=COPIES * row))[0] for row in range(len(frame))]
    assert influence == pytest.approx((len(copies) - 1) * np.array(moved), abs=1e-3 * np.abs(influence).max())
    assert np.mean(influence) == pytest.approx(0, abs=1e-9)


def test_an_instrument_is_weak_below_an_f_of_ten():
    """The first-stage F is the squared t of a regression with errors that allow for unequal variance."""
    rng = np.random.default_rng(0)
    left = rng.normal(size=100)
    left = np.repeat(left - left.mean(), 2)
    z = np.tile([-1.0, 1.0], 100)  # the residuals are equal in pairs, so z is orthogonal to them and the F is exact
    y = rng.normal(size=200)
    none = pd.DataFrame(index=range(200))

    def moved(strength):
        return z * np.sqrt(strength * (left @ left)) / 200 + left

    for strength in (5.0, 9.9):
        with pytest.raises(ValueError, match=f"the instrument is weak: first-stage F {strength:.1f}, below 10"):
            e.wald(y, moved(strength), z, none)
    for strength in (10.1, 15.0):
        found = e.wald(y, moved(strength), z, none)[3]["first_stage_f"]
        fitted = sm.OLS(moved(strength), sm.add_constant(z)).fit(cov_type="HC0")
        assert found == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-9)
        assert found == pytest.approx(strength, rel=1e-9)


def test_one_row_in_a_hundred_may_lie_outside_one_to_99_percent():
    share = np.full(1000, 0.5)
    share[:6], share[6:10], share[10:30] = 0.0099, 0.9901, 0.0101
    e.check_overlap(np.column_stack([1 - share, share]))
    share[30] = 0.9901
    with pytest.raises(
        e.NoOverlapError, match=r"no overlap: 11 of 1000 rows have an estimated propensity outside \[0.01"
    ):
        e.check_overlap(np.column_stack([1 - share, share]))
    # With further levels each of the two must be possible; neither need be unlikely.
    three = np.column_stack([np.full(1000, 0.995), np.full(1000, 0.5)])
    three[:10, 1] = 0.0099
    e.check_overlap(three, others=True)
    three[10, 1] = 0.0099
    with pytest.raises(
        e.NoOverlapError, match=r"11 of 1000 rows have an estimated propensity of the treated below 0\.01"
    ):
        e.check_overlap(three, others=True)


def test_a_hundredth_of_the_variance_of_a_numeric_treatment_must_be_left():
    t, rest = np.tile([-1.0, 1.0], 500), np.full(1000, 1.0)
    assert e.check_moves(0.11 * t, t)["treatment_left"] == pytest.approx(0.0121)
    with pytest.raises(e.NoOverlapError, match=r"no overlap: the adjustment columns explain 99\.2% of the treatment"):
        e.check_moves(0.09 * t, t)
    rest[:10] = 0.0099
    e.check_moves(t, t, rest)
    rest[10] = 0.0099
    with pytest.raises(
        e.NoOverlapError, match="for 11 of 1000 rows the adjustment columns leave the treatment under 1%"
    ):
        e.check_moves(t, t, rest)


def test_imbalance_is_in_units_of_the_arms_mean_deviation():
    """Arms of variance 2 and 8: a deviation of the root of 5. The means 1 and 3, or 1 and 2 with weights 3 and 1."""
    x, t = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0], "same": 1.0}), np.array([0, 0, 1, 1])
    found = e.overlap(np.full((4, 2), 0.5), x, t, np.array([1.0, 1.0, 3.0, 1.0]))
    assert found["imbalance_before"] == pytest.approx(2 / np.sqrt(5))
    assert found["imbalance_after"] == pytest.approx(1 / np.sqrt(5))


def test_folds_are_those_of_scikit_learn_by_seed():
    alone, groups = np.arange(40), np.repeat(np.arange(20), 2)
    for seed in (0, 3):
        for found, expected in (
            (e.folds(alone, seed), KFold(5, shuffle=True, random_state=seed).split(alone)),
            (e.folds(groups, seed), GroupKFold(5, shuffle=True, random_state=seed).split(groups, groups=groups)),
        ):
            for (train, test), (theirs, others) in zip(found, expected, strict=True):
                assert train.tolist() == theirs.tolist()
                assert test.tolist() == others.tolist()
    parts = [[test.tolist() for _, test in e.folds(groups, seed)] for seed in (0, 3)]
    assert parts[0] != parts[1]


def crowd(n=600):
    """Six rows a user; the first column of every adjustment is the user, so that a model tells whom it has seen."""
    rng = np.random.default_rng(0)
    who = np.arange(n) // 6
    level = rng.normal(size=n // 6)[who]
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * level))).astype(int)
    z = rng.normal(size=n)
    frame = pd.DataFrame({"who": who / 7.0, "z": z, "t": t, "dose": 0.5 * level + z + rng.normal(size=n)})
    return frame.assign(y=level + t + rng.normal(size=n), bought=(rng.random(n) < 0.3 + 0.3 * t).astype(int))


def _moved():
    graph = CausalGraph.from_edges(["z", "who", "u", "dose", "y"], ["z -> dose", "dose -> y", "u -> dose", "u -> y",
                                                                     "who -> z", "who -> y"])  # fmt: skip
    return identify(graph, "dose", "y", hidden=["u"], instruments=True)


CROSS_FITTED = {
    **{
        f"effect {name}": lambda f, name=name: effect(f, "t", "y", adjustment=["who"], estimator=name, cluster="who")
        for name in ("aipw", "ipw", "linear_dml", "causal_forest", "dr_learner")
    },
    **{
        f"unit {name}": lambda f, name=name: effect(f, "dose", "y", adjustment=["who"], estimator=name, cluster="who")
        for name in ("linear_dml", "causal_forest")
    },
    "several levels": lambda f: effect(
        f.assign(t=np.where(f["z"] > 1, 2, f["t"])), "t", "y", adjustment=["who"], contrast=(0, 1), cluster="who"
    ),
    "orthogonal_iv": lambda f: effect(f, "dose", "y", estimand=_moved(), estimator="orthogonal_iv", cluster="who"),
    "uplift": lambda f: UpliftModel.train(f, "t", "y", ["who"], cluster="who"),
    "uplift of events": lambda f: UpliftModel.train(f, "t", "bought", ["who"], cluster="who"),
    "causation": lambda f: probabilities_of_causation(f, "t", "bought", ["who"], n_boot=2, cluster="who"),
    "dose": lambda f: dose_response(f, "dose", "y", adjustment=["who"], at=[0.0], cluster="who"),
}


@pytest.mark.parametrize("name", CROSS_FITTED)
def test_no_model_predicts_for_a_cluster_that_it_was_trained_on(name, monkeypatch):
    frame, seen = crowd(), []

    def users(rows):
        first = rows.iloc[:, 0] if isinstance(rows, pd.DataFrame) else np.asarray(rows)[:, 0]
        return set(np.round(np.asarray(first, dtype=float), 9).tolist())

    def watch(kind, asked):
        fit, predict = kind.fit, getattr(kind, asked)

        def fitted(self, rows, *rest, **how):
            known = users(rows)
            answer = fit(self, rows, *rest, **how)
            self.users_ = known
            return answer

        def predicted(self, rows, *rest, **how):
            seen.append(len(self.users_ & users(rows)))
            return predict(self, rows, *rest, **how)

        monkeypatch.setattr(kind, "fit", fitted)
        monkeypatch.setattr(kind, asked, predicted)

    watch(HistGradientBoostingRegressor, "predict")
    watch(HistGradientBoostingClassifier, "predict_proba")
    watch(CausalForest, "predict")
    CROSS_FITTED[name](frame)
    assert len(seen) >= 5
    assert max(seen) == 0, f"{np.count_nonzero(seen)} of {len(seen)} predictions are for clusters trained on"
