"""Influences against numerical derivatives and draws; every target by its formula; clusters that
no model sees both sides of; the registry.
"""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from econml.grf import CausalForest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression

from causal_lib.graph import CausalGraph
from causal_lib.inference import UpliftModel, dose_response, effect, identify, models
from causal_lib.inference import estimators as e
from causal_lib.inference import nuisances as n
from causal_lib.inference.counterfactuals import probabilities_of_causation
from causal_lib.inference.models import Fitting, arm_folds, folds

COPIES = 1000
STUB = Fitting((LinearRegression(),), (LogisticRegression(),))
"""Models that can be fitted again in a line."""


def _plain_sample(y, t, x, **more):
    """Rows that are alone in their cluster and weigh the same."""
    size = len(x)
    return e.Sample(np.asarray(y), np.asarray(t), x, np.arange(size), np.ones(size), **more)


# ---- influences ----------------------------------------------------------------------------------


def small(seed=0, n=24):
    """Few rows in which every term of every influence matters: t moves m, whose effect depends on
    t; w are weights.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = np.arange(n) % 2
    m = np.empty(n, dtype=int)
    m[t == 0] = np.repeat([0, 1, 2], [n // 4, n // 6, n // 12])
    m[t == 1] = np.repeat([0, 1, 2], [n // 12, n // 6, n // 4])
    z = t + rng.normal(size=n)
    y = x + t * (1 + x) + m * (1 + 2 * t) + rng.normal(size=n)
    dose = t + x + rng.normal(size=n)
    w = 1 + np.arange(n) % 3
    return pd.DataFrame({"x": x, "t": t, "m": m, "z": z, "y": y, "dose": dose, "w": w})


def _known(f, treatment):
    """Propensities of both arms, of two levels or of three."""
    chance = 1 / (1 + np.exp(-0.5 * f["x"].to_numpy()))
    return np.column_stack([1 - chance, chance]) * (1 if treatment == "t" else 0.7)


def _weighted(f, treatment, target="all"):
    w = f["w"].to_numpy(dtype=float)
    known = None if treatment == "dose" else _known(f, treatment)
    rows = (f["y"].to_numpy(), f[treatment].to_numpy(), f[["x"]], np.arange(len(f)))
    return e.Sample(*rows, w / w.mean(), target, known=known)


def _smooth(name, treatment="t", target="all"):
    return lambda f: e.ESTIMATORS[name](_weighted(f, treatment, target))


SMOOTH = {
    **{
        f"{name} {target}": _smooth(name, "t", target)
        for name in ("aipw", "ipw", "regression", "linear_dml")
        for target in n.TARGETS
    },
    **{
        f"{name} of three levels {target}": _smooth(name, "m", target)
        for name in ("aipw", "ipw", "regression")
        for target in ("all", "treated", "untreated")
    },
    "difference": _smooth("difference"),
    "difference of three levels": _smooth("difference", "m"),
    "slope": lambda f: e.regression_slope(_weighted(f, "dose")),
    "slope linear_dml": lambda f: e.linear_dml_slope(_weighted(f, "dose")),
    "front_door": lambda f: e.front_door(
        _plain_sample(f["y"], f["t"], f[["x"]], mediators=f[["m"]])
    ),
    "wald": lambda f: e.wald(_plain_sample(f["y"], f["dose"], f[["x"]], z=f["z"].to_numpy())),
}
"""Estimators without neighbours, whose answer is a smooth function of the rows' weights; what
models say is held fixed, as their influences hold it.
"""


@pytest.mark.parametrize("name", SMOOTH)
def test_the_influence_of_a_row_is_the_derivative_in_its_weight(name, monkeypatch):
    """A table of many copies, then one copy of a row less: what the answer moves by, times the
    weight of all rows over its own.
    """

    def means(sample, *, joint=None):
        x = sample.x["x"].to_numpy()
        return np.column_stack([0.5 * x, 1 + x**2])

    monkeypatch.setattr(e.Sample, "outcomes", means)
    monkeypatch.setattr(e.Sample, "mean", lambda sample, values: 0.3 * sample.x["x"].to_numpy())
    monkeypatch.setattr(e, "_WEAK", 0)
    copies = small().loc[np.repeat(np.arange(24), COPIES)].reset_index(drop=True)
    whole, influence, *_ = SMOOTH[name](copies)
    moved = [whole - SMOOTH[name](copies.drop(index=COPIES * row))[0] for row in range(24)]
    of_rows = influence[::COPIES]
    assert of_rows == pytest.approx(
        (len(copies) - 1) * np.array(moved), abs=2e-3 * np.abs(of_rows).max()
    )
    # not quite 0 where residuals are divided by what their leverage leaves
    assert np.mean(influence) == pytest.approx(0, abs=1e-4 * np.abs(of_rows).max())


class Line(RegressorMixin, BaseEstimator):
    """Least squares, quicker than scikit-learn's checks of its arguments."""

    def fit(self, x, y):
        self.beta_ = np.linalg.lstsq(self._wide(x), y, rcond=None)[0]
        return self

    def predict(self, x):
        return self._wide(x) @ self.beta_

    def _wide(self, x):
        return np.column_stack([np.ones(len(x)), x.to_numpy()])


class Odds(ClassifierMixin, Line):
    """Logistic regression of 0 and 1 by Newton's steps."""

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        wide = self._wide(x)
        self.beta_ = np.zeros(wide.shape[1])
        for _ in range(6):
            share = self.predict_proba(x)[:, 1]
            bread = (wide * (share * (1 - share))[:, None]).T @ wide
            self.beta_ += np.linalg.solve(bread, wide.T @ (y - share))
        return self

    def predict_proba(self, x):
        share = 1 / (1 + np.exp(-self._wide(x) @ self.beta_))
        return np.column_stack([1 - share, share])


def _truths():
    """The average of 1 + z over each target, z standard normal and e the logistic of 0.7 z."""
    z = np.linspace(-8, 8, 20_001)
    density = np.exp(-(z**2) / 2)
    share = 1 / (1 + np.exp(-0.7 * z))
    tilts = {"all": 1, "treated": share, "untreated": 1 - share, "overlap": share * (1 - share)}
    return {name: np.average(1 + z, weights=density * h) for name, h in tilts.items()}


def test_errors_are_those_of_draws(monkeypatch):
    """Of each estimator and target over 300 draws: distances have mean 0 and deviation 1, up to
    what chance does to these once in ten thousand.
    """
    truths = _truths()
    assert len({round(value, 2) for value in truths.values()}) >= 3
    distances = {}
    asked = dict.fromkeys(("aipw", "ipw", "linear_dml"), n.TARGETS)
    asked |= dict.fromkeys(("regression", "matching"), n.TARGETS[:3])
    outcomes = e.Sample.outcomes
    mean = e.Sample.mean
    for seed in range(300):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=300)
        share = 1 / (1 + np.exp(-0.7 * z))
        t = (rng.random(300) < share).astype(int)
        y = z + (1 + z) * t + rng.normal(size=300)
        sample = _plain_sample(y, t, pd.DataFrame({"z": z}), how=Fitting((Line(),), (Odds(),)))
        # what models say is the same for all targets
        chances = sample.chances
        both = outcomes(sample)
        of_all = mean(sample, y)
        monkeypatch.setattr(e.Sample, "outcomes", lambda sample, both=both: both)
        monkeypatch.setattr(e.Sample, "mean", lambda sample, values, found=of_all: found)
        for name, targets in asked.items():
            # weights alone: their error takes the propensities as known
            known = np.column_stack([1 - share, share]) if name == "ipw" else chances
            for target in targets:
                one = replace(sample, target=target, known=known)
                found = e.ESTIMATORS[name](one)
                error = n.standard_error(found.influence, one.groups)
                distances.setdefault((name, target), []).append(
                    (found.value - truths[target]) / error
                )
    # 18 pairs, two sides: 4.5 and 4.5 deviations of the mean and of the deviation
    for pair, values in distances.items():
        assert abs(np.mean(values)) < 4.5 / np.sqrt(300), pair
        assert abs(np.std(values) - 1) < 4.5 / np.sqrt(600), (pair, np.std(values))


# ---- every target by its formula -----------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    """Two columns, known propensities, rows of weight 1 to 3, pairs of rows in a cluster."""
    rng = np.random.default_rng(7)
    x = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    share = 1 / (1 + np.exp(-0.6 * x["a"].to_numpy()))
    t = (rng.random(300) < share).astype(int)
    y = (x["a"] + x["b"] + t * (1 + x["a"] ** 2) + rng.normal(size=300)).to_numpy()
    return x, t, y, share, 1.0 + np.arange(300) % 3, np.arange(300) // 2


def _of(table, target="all", weighted=True, **more):
    x, t, y, share, w, groups = table
    w = w / w.mean() if weighted else np.ones(300)
    how = {"known": np.column_stack([1 - share, share]), "how": STUB} | more
    return e.Sample(y, t, x, groups, w, target, **how)


def _lines(table, weights, joint=False):
    """(300,) outcomes of control and treated out of fold, by weighted least squares."""
    x, t, y, _, _, groups = table
    found = np.empty((2, 300))
    for train, test in arm_folds(t, groups, 0):
        for arm in (0, 1):
            own = train if joint else train[t[train] == arm]
            columns = x.assign(t=t) if joint else x
            asked = x.assign(t=arm) if joint else x
            fitted = sm.WLS(y[own], sm.add_constant(columns.iloc[own]), weights=weights[own]).fit()
            found[arm, test] = fitted.predict(sm.add_constant(asked.iloc[test], has_constant="add"))
    return found


def _error(influence, groups):
    """Standard error of the mean of ``influence`` (n,), summed within clusters."""
    sums = pd.Series(influence).groupby(groups).sum()
    return np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", n.TARGETS)
@pytest.mark.parametrize("name", ["aipw", "dr_learner"])
def test_doubly_robust_averages_by_hand(name, target, weighted, table):
    """Written out for each target: of the treated, y - μ₀ and controls that stand for them."""
    _x, t, y, share, w, groups = table
    w = w if weighted else np.ones(300)
    m0, m1 = _lines(table, w, joint=name == "dr_learner")
    odds = share / (1 - share)
    gain, size = {
        "all": (m1 - m0 + t * (y - m1) / share - (1 - t) * (y - m0) / (1 - share), np.ones(300)),
        "treated": ((t - (1 - t) * odds) * (y - m0), t),
        "untreated": (((1 - t) - t / odds) * (m1 - y), 1 - t),
        "overlap": (
            (t - share) ** 2 * (m1 - m0) + t * (1 - share) * (y - m1) - (1 - t) * share * (y - m0),
            (t - share) ** 2,
        ),
    }[target]
    value = (w * gain).sum() / (w * size).sum()
    found = e.ESTIMATORS[name](_of(table, target, weighted))
    assert found.value == pytest.approx(value)
    influence = w * (gain - value * size) / (w * size).mean()
    assert n.standard_error(found.influence, groups) == pytest.approx(_error(influence, groups))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", n.TARGETS)
def test_weighted_averages_are_weighted_least_squares(target, weighted, table):
    _, t, y, share, w, groups = table
    w = w if weighted else np.ones(300)
    own = (
        w
        * {
            "all": t / share + (1 - t) / (1 - share),
            "treated": t + (1 - t) * share / (1 - share),
            "untreated": t * (1 - share) / share + 1 - t,
            "overlap": t * (1 - share) + (1 - t) * share,
        }[target]
    )
    fitted = sm.WLS(y, sm.add_constant(t), weights=own).fit(cov_type="HC2")
    found = e.ESTIMATORS["ipw"](_of(table, target, weighted))
    assert found.value == pytest.approx(fitted.params[1])
    assert n.standard_error(found.influence, np.arange(300)) == pytest.approx(
        fitted.bse[1] * np.sqrt(300 / 299)
    )
    influence = np.zeros(300)
    for arm, sign in ((0, -1), (1, 1)):
        part = own * (t == arm)
        left = (y - np.average(y, weights=part)) / np.sqrt(1 - part / part.sum())
        influence += sign * part / part.mean() * left
    assert n.standard_error(found.influence, groups) == pytest.approx(_error(influence, groups))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", n.TARGETS)
def test_regressions_by_least_squares(target, weighted, table):
    x, t, y, _share, w, _ = table
    w = w if weighted else np.ones(300)
    found = e.ESTIMATORS["regression"](_of(table, target, weighted)).value
    if target == "overlap":
        fitted = sm.WLS(y, sm.add_constant(x.assign(t=t)), weights=w).fit()
        assert found == pytest.approx(fitted.params["t"])
        return
    wide = sm.add_constant(x)
    lines = [sm.WLS(y[t == arm], wide[t == arm], weights=w[t == arm]).fit() for arm in (0, 1)]
    gain = (lines[1].predict(wide) - lines[0].predict(wide)).to_numpy()
    members = {"all": np.ones(300), "treated": t, "untreated": 1 - t}[target]
    assert found == pytest.approx(np.average(gain, weights=w * members))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", n.TARGETS)
def test_linear_dml_by_least_squares(target, weighted, table):
    x, t, y, share, w, groups = table
    w = w if weighted else np.ones(300)
    y_left = np.empty(300)
    for train, test in folds(groups, 0):
        fitted = sm.WLS(y[train], sm.add_constant(x.iloc[train]), weights=w[train]).fit()
        y_left[test] = y[test] - fitted.predict(sm.add_constant(x.iloc[test]))
    t_left = t - share
    a, b = x.to_numpy().T
    one = np.ones(300)
    basis = np.column_stack([one] if target == "overlap" else [one, a, b, a * a, a * b, b * b])
    slopes = sm.WLS(y_left, basis * t_left[:, None], weights=w).fit().params
    members = {"all": one, "treated": t, "untreated": 1 - t, "overlap": one}[target]
    found = e.ESTIMATORS["linear_dml"](_of(table, target, weighted)).value
    assert found == pytest.approx(np.average(basis @ slopes, weights=w * members))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["all", "treated", "untreated"])
def test_matching_by_hand(target, weighted, table):
    x, t, y, _, w, _ = table
    w = w if weighted else np.ones(300)
    wide = sm.add_constant(x)
    lines = [
        sm.WLS(y[t == arm], wide[t == arm], weights=w[t == arm]).fit().predict(wide).to_numpy()
        for arm in (0, 1)
    ]
    scaled = (x / x.std(ddof=0)).to_numpy()
    members = w * {"all": np.ones(300), "treated": t, "untreated": 1 - t}[target]
    members = members / members.mean()
    gains = np.empty(300)
    used = np.zeros(300)
    for row in range(300):
        others = np.flatnonzero(t != t[row])
        match = others[((scaled[others] - scaled[row]) ** 2).sum(axis=1).argmin()]
        line = lines[1 - t[row]]
        gains[row] = (y[row] - y[match] - line[row] + line[match]) * (2 * t[row] - 1)
        used[match] += members[row]
    found = e.ESTIMATORS["matching"](_of(table, target, weighted))
    assert found.value == pytest.approx(np.average(gains, weights=members))
    assert found.diagnostics == {"largest_use": pytest.approx(used.max())}
    left = y - np.where(t == 1, lines[1], lines[0])
    spread = members * (lines[1] - lines[0] - found.value)
    influence = spread + (2 * t - 1) * (members + used) * left
    assert found.influence == pytest.approx(influence - influence.mean())


def test_the_forests_scores_have_the_target_that_is_asked_for(table, monkeypatch):
    """With effects 1 + a instead of a forest's: μ₁ = E[y | x] + (1 - e) τ, μ₀ = E[y | x] - e τ."""
    x, t, y, share, _, groups = table
    tau = 1 + x["a"].to_numpy()
    monkeypatch.setattr(e, "_forest_effects", lambda sample, t_left, y_left: tau)
    level = n.held_out_mean(y, x, groups, STUB)
    found = e.ESTIMATORS["causal_forest"](_of(table, "treated", weighted=False)).value
    m0 = level - share * tau
    gain = (t - (1 - t) * share / (1 - share)) * (y - m0)
    assert found == pytest.approx(gain.sum() / t.sum())


@pytest.mark.parametrize("name", ["difference", "regression", "ipw", "matching"])
@pytest.mark.parametrize("target", ["all", "treated"])
def test_a_row_of_weight_three_is_three_rows(name, target, table):
    x, t, y, _share, w, _ = table
    single = replace(_of(table, target), groups=np.arange(300))
    rows = np.repeat(np.arange(300), w.astype(int))
    copies = e.Sample(
        y[rows], t[rows], x.iloc[rows], rows, np.ones(len(rows)), target, known=single.known[rows]
    )
    if name == "matching":  # the spread of columns is of rows; of one column, it does not matter
        single = replace(single, x=x[["a"]])
        copies = replace(copies, x=x[["a"]].iloc[rows])
    one = e.ESTIMATORS[name](single)
    many = e.ESTIMATORS[name](copies)
    assert many.value == pytest.approx(one.value, rel=1e-9)
    errors = [
        n.standard_error(each.influence, groups)
        for each, groups in ((one, single.groups), (many, rows))
    ]
    # all divide by 1 - leverage, and a row of weight 3 has thrice the leverage
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


def test_labels_are_raked_to_the_shares_of_the_target():
    """Each arm has, after weighting, the target's share of every level."""
    rng = np.random.default_rng(0)
    code = rng.integers(6, size=(2, 600))
    share = 0.2 + 0.1 * code[0]
    t = (rng.random(600) < share).astype(int)
    labels = [f"u{k}" for k in range(6)]
    x = pd.DataFrame(
        {name: pd.Categorical.from_codes(c, labels) for name, c in zip("pq", code, strict=True)}
    )
    known = np.full((600, 2), 0.5)  # wrong: raking mends it
    w = 1.0 + np.arange(600) % 2
    for target in ("all", "treated"):
        members = w * (1.0 if target == "all" else 0.5)
        for names in (["p"], ["p", "q"]):
            sample = e.Sample(share, t, x[names], np.arange(600), w, target, known=known)
            weights = e.arm_weights(sample)
            for name in names:
                for arm in (0, 1):
                    for level in labels:
                        rows = (x[name] == level).to_numpy()
                        assert weights[rows & (t == arm)].sum() == pytest.approx(
                            members[rows].sum(), rel=1e-3 if len(names) == 2 else 1e-9
                        )


def test_a_sample_of_some_rows():
    frame = small()
    sample = e.Sample(
        frame["y"].to_numpy(), frame["t"].to_numpy(), frame[["x"]], np.arange(24) // 2,
        frame["w"] / frame["w"].mean(), "treated", STUB, _known(frame, "t"), frame["z"].to_numpy(),
        frame[["m"]],
    )  # fmt: skip
    rows = np.arange(24) >= 5
    part = sample.take(rows)
    assert part.y.tolist() == frame["y"][5:].tolist()
    assert part.groups.tolist() == (np.arange(5, 24) // 2 - 2).tolist()
    assert part.weights.tolist() == pytest.approx((frame["w"][5:] / frame["w"][5:].mean()).tolist())
    assert part.known.tolist() == sample.known[5:].tolist()
    assert part.z.tolist() == sample.z[5:].tolist()
    assert part.mediators["m"].tolist() == frame["m"][5:].tolist()
    assert (part.target, part.how) == ("treated", STUB)


# ---- weak instruments ----------------------------------------------------------------------------


def test_an_instrument_is_weak_below_an_f_of_ten():
    """The first-stage F is the squared t of a regression with errors that allow for unequal
    variance.
    """
    rng = np.random.default_rng(0)
    left = rng.normal(size=100)
    left = np.repeat(left - left.mean(), 2)
    # the residuals are equal in pairs, so z is orthogonal to them and the F is exact
    z = np.tile([-1.0, 1.0], 100)
    y = rng.normal(size=200)
    none = pd.DataFrame(index=range(200))

    def moved(strength):
        return z * np.sqrt(strength * (left @ left)) / 200 + left

    for strength in (5.0, 9.9):
        with pytest.raises(
            ValueError,
            match=f"the instrument is weak: first-stage F {strength:.1f}, below 10; it hardly moves",
        ):
            e.wald(_plain_sample(y, moved(strength), none, z=z))
    for strength in (10.1, 15.0):
        found = e.wald(_plain_sample(y, moved(strength), none, z=z)).diagnostics["first_stage_f"]
        fitted = sm.OLS(moved(strength), sm.add_constant(z)).fit(cov_type="HC0")
        assert found == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-9)
        assert found == pytest.approx(strength, rel=1e-9)


# ---- clusters ------------------------------------------------------------------------------------


def crowd(n=600):
    """Six rows a user; the first column of every adjustment is the user, so that a model tells whom
    it has seen.
    """
    rng = np.random.default_rng(0)
    who = np.arange(n) // 6
    level = rng.normal(size=n // 6)[who]
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * level))).astype(int)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {"who": who / 7.0, "z": z, "t": t, "dose": 0.5 * level + z + rng.normal(size=n)}
    )
    return frame.assign(
        y=level + t + rng.normal(size=n), bought=(rng.random(n) < 0.3 + 0.3 * t).astype(int)
    )


def _moved():
    graph = CausalGraph.from_edges(["z", "who", "u", "dose", "y"], ["z -> dose", "dose -> y", "u "
                                                                                              "-> "
                                                                                              "dose", "u -> y",
                                                                     "who -> z", "who -> y"])  # fmt: skip
    return identify(graph, "dose", "y", hidden=["u"], instruments=True)


LINEAR = {"learners": "linear", "cluster": "who"}
CROSS_FITTED = {
    **{
        f"effect {name}": lambda f, name=name: effect(
            f, "t", "y", adjustment=["who"], estimator=name, **LINEAR
        )
        for name in ("aipw", "ipw", "linear_dml", "causal_forest", "dr_learner")
    },
    **{
        f"unit {name}": lambda f, name=name: effect(
            f, "dose", "y", adjustment=["who"], estimator=name, **LINEAR
        )
        for name in ("linear_dml", "causal_forest")
    },
    "a stack": lambda f: effect(f, "t", "y", adjustment=["who"], cluster="who"),
    "several levels": lambda f: effect(
        f.assign(t=np.where(f["z"] > 1, 2, f["t"])),
        "t",
        "y",
        adjustment=["who"],
        contrast=(0, 1),
        **LINEAR,
    ),
    "orthogonal_iv": lambda f: effect(
        f, "dose", "y", estimand=_moved(), estimator="orthogonal_iv", **LINEAR
    ),
    "uplift": lambda f: UpliftModel.train(f, "t", "y", ["who"], cluster="who"),
    "uplift of events": lambda f: UpliftModel.train(f, "t", "bought", ["who"], cluster="who"),
    "causation": lambda f: probabilities_of_causation(
        f, "t", "bought", ["who"], n_boot=2, cluster="who"
    ),
    "dose": lambda f: dose_response(f, "dose", "y", adjustment=["who"], at=[0.0], cluster="who"),
}


@pytest.mark.parametrize("name", CROSS_FITTED)
def test_no_model_predicts_for_a_cluster_that_it_was_trained_on(name, monkeypatch):
    frame = crowd()
    seen = []

    def users(rows):
        first = rows.iloc[:, 0] if isinstance(rows, pd.DataFrame) else np.asarray(rows)[:, 0]
        return set(np.round(np.asarray(first, dtype=float), 9).tolist())

    predicted = models._predicted
    fit = CausalForest.fit
    predict = CausalForest.predict

    def watched(model, values, x, new, *rest):
        seen.append(len(users(x) & users(new)))
        return predicted(model, values, x, new, *rest)

    def fitted(self, rows, *rest, **how):
        known = users(rows)
        answer = fit(self, rows, *rest, **how)
        self.users_ = known
        return answer

    def asked(self, rows, *rest, **how):
        seen.append(len(self.users_ & users(rows)))
        return predict(self, rows, *rest, **how)

    monkeypatch.setattr(models, "_predicted", watched)
    monkeypatch.setattr(CausalForest, "fit", fitted)
    monkeypatch.setattr(CausalForest, "predict", asked)
    CROSS_FITTED[name](frame)
    assert len(seen) >= 5
    assert max(seen) == 0, (
        f"{np.count_nonzero(seen)} of {len(seen)} predictions are for clusters trained on"
    )


# ---- limits --------------------------------------------------------------------------------------


def test_front_doors_of_two_mediators_by_hand():
    """Levels of both together, treated rows and levels of unequal number."""
    rng = np.random.default_rng(3)
    t = (rng.random(300) < 0.3).astype(int)
    m = (rng.random(300) < 0.3 + 0.3 * t).astype(int)
    k = rng.choice(3, p=[0.5, 0.3, 0.2], size=300)
    y = m * (1 + t) + k * m + 0.5 * t + rng.normal(size=300)
    frame = pd.DataFrame({"t": t, "m": m, "k": k, "y": y})
    value, _, diagnostics, _ = e.front_door(
        _plain_sample(y, t, frame[[]], mediators=frame[["m", "k"]])
    )
    by_hand = 0.0
    for _, part in frame.groupby(["m", "k"]):
        shares = [(part["t"] == arm).sum() / (t == arm).sum() for arm in (0, 1)]
        mean = sum((t == arm).mean() * part.loc[part["t"] == arm, "y"].mean() for arm in (0, 1))
        by_hand += (shares[1] - shares[0]) * mean
    assert value == pytest.approx(by_hand)
    assert diagnostics == {"mediator_levels": 6}
    keep = (m != 1) | (k != 2) | (t == 1)
    with pytest.raises(
        n.NoOverlapError,
        match="mediators m, k: 1 of 6 levels are seen in one arm only; merge levels",
    ):
        e.front_door(
            _plain_sample(y[keep], t[keep], frame[[]][keep], mediators=frame.loc[keep, ["m", "k"]])
        )


def test_arms_and_tables_that_are_just_large_enough():
    rng = np.random.default_rng(4)
    x = pd.DataFrame(rng.normal(size=(9, 2)), columns=["a", "b"])
    y = rng.normal(size=9)
    t = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert np.isfinite(e.ESTIMATORS["regression"](_plain_sample(y, t, x)).value)
    for name in ("regression", "matching"):
        for arms in (t, 1 - t):
            with pytest.raises(
                ValueError,
                match="an arm of 3 rows is too small for 3 columns of adjustment and constant",
            ):
                e.ESTIMATORS[name](_plain_sample(y[1:], arms[1:], x[1:]))
    dose = rng.normal(size=9)
    assert np.isfinite(e.regression_slope(_plain_sample(y[:7], dose[:7], x[:7])).value)
    with pytest.raises(
        ValueError, match="6 rows are too few for 6 columns of treatment, adjustment and products"
    ):
        e.regression_slope(_plain_sample(y[:6], dose[:6], x[:6]))


def test_a_treatment_that_the_columns_determine_has_no_effect_to_be_seen():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    y = rng.normal(size=60)
    for unit in (1.0, 1e9):
        with pytest.raises(n.NoOverlapError, match="the treatment is a function of the adjustment"):
            e.regression_slope(_plain_sample(y, unit * (2 * x["a"] - x["b"] + 3), x))
        with pytest.raises(n.NoOverlapError, match="the instrument is a function of the adjustme"):
            e.wald(_plain_sample(y, y, x, z=(unit * x["a"]).to_numpy()))


def test_matching_without_columns_is_the_difference_and_a_constant_column_does_not_count():
    frame = small(1)
    y = frame["y"].to_numpy()
    t = frame["t"].to_numpy()
    for none in (frame[[]], frame[[]].assign(c=5.0)):
        found = e.ESTIMATORS["matching"](_plain_sample(y, t, none))
        assert found.value == pytest.approx(y[t == 1].mean() - y[t == 0].mean())
    plain, more = (
        e.ESTIMATORS["matching"](_plain_sample(y, t, x))
        for x in (frame[["x"]], frame[["x"]].assign(c=5.0))
    )
    assert more.value == pytest.approx(plain.value)
    assert more.influence == pytest.approx(plain.influence)


def test_matching_refuses_columns_of_labels():
    labels = pd.Categorical.from_codes(np.arange(24) % 3, list("pqr"))
    frame = small().assign(who=labels)
    with pytest.raises(ValueError, match="'matching' cannot compare rows by 'who', a column of m"):
        e.ESTIMATORS["matching"](_plain_sample(frame["y"], frame["t"], frame[["who", "x"]]))


# ---- the registry --------------------------------------------------------------------------------


def test_what_serves_what_with_the_default_first():
    assert e.serving("back-door")[0] == "aipw"
    assert e.serving("front-door") == ["front_door"]
    assert e.serving("instrument") == ["wald", "orthogonal_iv"]
    assert e.serving("no effect") == []
    assert e.comparing_levels() == ["aipw", "ipw", "dr_learner", "regression", "difference"]
    assert e.of_one_unit() == ["linear_dml", "causal_forest", "regression"]


def test_of_one_unit_some_estimator_needs_no_columns():
    assert any(not e.ESTIMATORS[name].needs_columns for name in e.of_one_unit())


@pytest.mark.parametrize("name", e.ESTIMATORS)
def test_an_entry_is_whole_and_says_when_it_is_right_and_where_it_comes_from(name):
    entry = e.ESTIMATORS[name]
    assert entry.name == name
    assert all([entry.formula, entry.right_when, entry.prefer_when])
    assert "Source: " in entry.estimate.__doc__


def test_the_table_has_a_row_for_each_and_is_in_the_docstring_of_effect():
    head, rule, *rows = [
        re.split(r"(?<!\\)\|", row)[1:-1] for row in e.estimators_table().split("\n")
    ]
    assert [row[0].strip() for row in rows] == list(e.ESTIMATORS)
    assert {len(row) for row in (head, rule, *rows)} == {6}
    for row, entry in zip(rows, e.ESTIMATORS.values(), strict=True):
        assert row[1].strip().replace(r"\|", "|") == entry.formula
        assert (row[4].strip(), row[5].strip()) == (
            "yes" if entry.of_two_levels else "",
            "yes" if entry.of_one_unit else "",
        )
    assert all(row in effect.__doc__ for row in e.estimators_table().split("\n"))


@pytest.mark.parametrize("name", [name for name, one in e.ESTIMATORS.items() if one.needs_columns])
def test_what_needs_columns_says_what_to_use_without(name):
    frame = small(2)
    sample = _plain_sample(frame["y"], frame["t"], frame[[]], z=frame["z"].to_numpy())
    message = f"estimator '{name}' needs at least one .* column; use '(\\w+)' without any"
    with pytest.raises(ValueError, match=message) as refusal:
        e.ESTIMATORS[name](sample)
    instead = e.ESTIMATORS[str(refusal.value).split("use '")[1].split("'")[0]]
    assert not instead.needs_columns
    assert instead.strategy == e.ESTIMATORS[name].strategy


def test_an_estimator_that_is_registered_is_offered_by_effect(monkeypatch):
    """One entry is all that it takes: the choice, the checks and the error texts follow."""
    entry = e.Estimator(
        "constant",
        lambda sample: e.Estimate(3.0, np.tile([-1.0, 1.0], len(sample.y) // 2), {"of": 1}),
        "back-door",
        "3",
        "never",
        "never",
        targets=("all", "treated"),
    )
    monkeypatch.setitem(e.ESTIMATORS, "constant", entry)
    found = effect(small(), "t", "y", adjustment=["x"], estimator="constant", learners="linear")
    assert (found.value, found.estimator, found.diagnostics["of"]) == (3.0, "constant", 1)
    assert found.standard_error == pytest.approx(np.sqrt(24 * 24 / 23) / 24)
    with pytest.raises(ValueError, match=r"known: .*, constant"):
        effect(small(), "t", "y", adjustment=["x"], estimator="magic")
    with pytest.raises(
        ValueError, match="'constant' cannot compare two of 3 levels of treatment 'm'"
    ):
        effect(small(), "m", "y", adjustment=[], contrast=(0, 1), estimator="constant")
    with pytest.raises(
        ValueError,
        match="'constant' cannot average over target='overlap'; those that can: aipw, ipw, linea",
    ):
        effect(small(), "t", "y", adjustment=["x"], estimator="constant", target="overlap")


def test_aipw_leaves_little_confounding_by_a_column_of_many_levels():
    """Twelve rows a level: models draw the levels together, weights that balance them do not."""
    values = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seller = np.repeat(np.arange(120), 12)
        quality = rng.normal(size=120)[seller]
        t = (rng.random(len(seller)) < 1 / (1 + np.exp(-quality))).astype(int)
        y = t + 2 * quality + rng.normal(size=len(seller))
        frame = pd.DataFrame({"seller": [f"s{k:04d}" for k in seller], "t": t, "y": y})
        how = {"adjustment": ["seller"], "estimator": "aipw", "learners": "linear"}
        values.append(effect(frame, "t", "y", **how).value)
    assert np.mean(values) == pytest.approx(1, abs=0.1)  # the naive difference is above 2.5
