"""Influences against numerical derivatives, clusters that no model sees both sides of, the
registry.
"""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from econml.grf import CausalForest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from causal_lib.graph import CausalGraph
from causal_lib.inference import UpliftModel, dose_response, effect, identify
from causal_lib.inference import estimators as e
from causal_lib.inference import nuisances as n
from causal_lib.inference.counterfactuals import probabilities_of_causation

COPIES = 2000


def small(seed=0, n=24):
    """Few rows in which every term of every influence matters: t moves m, whose effect depends on
    t.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = np.arange(n) % 2
    m = np.empty(n, dtype=int)
    m[t == 0] = np.repeat([0, 1, 2], [n // 4, n // 6, n // 12])
    m[t == 1] = np.repeat([0, 1, 2], [n // 12, n // 6, n // 4])
    z = t + rng.normal(size=n)
    y = x + t * (1 + x) + m * (1 + 2 * t) + rng.normal(size=n)
    return pd.DataFrame(
        {"x": x, "t": t, "m": m, "z": z, "y": y, "dose": t + x + rng.normal(size=n)}
    )


def _known(x):
    chance = 1 / (1 + np.exp(-0.5 * x["x"].to_numpy()))
    return np.column_stack([1 - chance, chance])


def _plain(name, treatment):
    return lambda f: e.ESTIMATORS[name](_sample(f, treatment))


def _sample(f, treatment, **more):
    return e.Sample(f["y"].to_numpy(), f[treatment].to_numpy(), f[["x"]], **more)


SMOOTH = {
    **{name: _plain(name, "t") for name in ("difference", "regression", "ipw")},
    **{
        f"{name} of three levels": _plain(name, "m") for name in ("difference", "regression", "ipw")
    },
    "slope": lambda f: e.regression_slope(_sample(f, "dose")),
    "front_door": lambda f: e.front_door(_sample(f, "t", mediators=f[["m"]])),
    "wald": lambda f: e.wald(_sample(f, "dose", z=f["z"].to_numpy())),
}
"""Estimators without neighbours or boosting, whose answer is a smooth function of the rows'
weights.
"""


@pytest.mark.parametrize("name", SMOOTH)
def test_the_influence_of_a_row_is_the_derivative_in_its_weight(name, monkeypatch):
    """A table of many copies, then one copy of a row less: what the answer moves by, times the
    number of rows.
    """
    # known, as its influence takes them
    monkeypatch.setattr(e, "propensities", lambda t, x, groups, seed: _known(x))
    monkeypatch.setattr(e, "_WEAK", 0)
    frame = small()
    value, influence, *_ = SMOOTH[name](frame)
    copies = frame.loc[np.repeat(frame.index, COPIES)].reset_index(drop=True)
    whole = SMOOTH[name](copies)[0]
    assert whole == pytest.approx(value, rel=1e-9)
    moved = [whole - SMOOTH[name](copies.drop(index=COPIES * row))[0] for row in range(len(frame))]
    assert influence == pytest.approx(
        (len(copies) - 1) * np.array(moved), abs=1e-3 * np.abs(influence).max()
    )
    assert np.mean(influence) == pytest.approx(0, abs=1e-9)


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
            ValueError, match=f"the instrument is weak: first-stage F {strength:.1f}, below 10"
        ):
            e.wald(e.Sample(y, moved(strength), none, z=z))
    for strength in (10.1, 15.0):
        found = e.wald(e.Sample(y, moved(strength), none, z=z))[3]["first_stage_f"]
        fitted = sm.OLS(moved(strength), sm.add_constant(z)).fit(cov_type="HC0")
        assert found == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-9)
        assert found == pytest.approx(strength, rel=1e-9)


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


CROSS_FITTED = {
    **{
        f"effect {name}": lambda f, name=name: effect(
            f, "t", "y", adjustment=["who"], estimator=name, cluster="who"
        )
        for name in ("aipw", "ipw", "linear_dml", "causal_forest", "dr_learner")
    },
    **{
        f"unit {name}": lambda f, name=name: effect(
            f, "dose", "y", adjustment=["who"], estimator=name, cluster="who"
        )
        for name in ("linear_dml", "causal_forest")
    },
    "several levels": lambda f: effect(
        f.assign(t=np.where(f["z"] > 1, 2, f["t"])),
        "t",
        "y",
        adjustment=["who"],
        contrast=(0, 1),
        cluster="who",
    ),
    "orthogonal_iv": lambda f: effect(
        f, "dose", "y", estimand=_moved(), estimator="orthogonal_iv", cluster="who"
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

    def watch(kind, asked):
        fit = kind.fit
        predict = getattr(kind, asked)

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
    assert max(seen) == 0, (
        f"{np.count_nonzero(seen)} of {len(seen)} predictions are for clusters trained on"
    )


def test_front_doors_of_two_mediators_by_hand():
    """Levels of both together, treated rows and levels of unequal number."""
    rng = np.random.default_rng(3)
    t = (rng.random(300) < 0.3).astype(int)
    m = (rng.random(300) < 0.3 + 0.3 * t).astype(int)
    k = rng.choice(3, p=[0.5, 0.3, 0.2], size=300)
    y = m * (1 + t) + k * m + 0.5 * t + rng.normal(size=300)
    frame = pd.DataFrame({"t": t, "m": m, "k": k, "y": y})
    value, _, weights, diagnostics = e.front_door(
        e.Sample(y, t, frame[[]], mediators=frame[["m", "k"]])
    )
    by_hand = 0.0
    for _, part in frame.groupby(["m", "k"]):
        shares = [(part["t"] == arm).sum() / (t == arm).sum() for arm in (0, 1)]
        mean = sum((t == arm).mean() * part.loc[part["t"] == arm, "y"].mean() for arm in (0, 1))
        by_hand += (shares[1] - shares[0]) * mean
    assert value == pytest.approx(by_hand)
    assert diagnostics == {"mediator_levels": 6}
    assert weights.tolist() == [1.0] * 300
    keep = (m != 1) | (k != 2) | (t == 1)
    with pytest.raises(
        n.NoOverlapError,
        match="mediators m, k: 1 of 6 levels are seen in one arm only; merge levels",
    ):
        e.front_door(
            e.Sample(y[keep], t[keep], frame[[]][keep], mediators=frame.loc[keep, ["m", "k"]])
        )


def test_arms_and_tables_that_are_just_large_enough():
    rng = np.random.default_rng(4)
    x = pd.DataFrame(rng.normal(size=(9, 2)), columns=["a", "b"])
    y = rng.normal(size=9)
    t = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert np.isfinite(e.ESTIMATORS["regression"](e.Sample(y, t, x))[0])
    with pytest.raises(
        ValueError, match="an arm of 2 rows is too small for 3 columns of adjustment and constant"
    ):
        e.ESTIMATORS["regression"](e.Sample(y[1:], t[1:], x[1:]))
    dose = rng.normal(size=9)
    assert np.isfinite(e.regression_slope(e.Sample(y[:7], dose[:7], x[:7]))[0])
    with pytest.raises(
        ValueError, match="6 rows are too few for 6 columns of treatment, adjustment and products"
    ):
        e.regression_slope(e.Sample(y[:6], dose[:6], x[:6]))
    controls = np.column_stack([np.ones(9), x - x.mean()])
    left = dose - controls @ np.linalg.lstsq(controls, dose, rcond=None)[0]
    assert e.regression_slope(e.Sample(y, dose, x))[3]["treatment_left"] == pytest.approx(
        left.var() / dose.var()
    )


def test_matching_without_columns_is_the_difference_and_a_constant_column_does_not_count():
    frame = small(1)
    y = frame["y"].to_numpy()
    t = frame["t"].to_numpy()
    none = e.ESTIMATORS["matching"](e.Sample(y, t, frame[[]]))
    assert none[0] == pytest.approx(y[t == 1].mean() - y[t == 0].mean())
    plain, more = (
        e.ESTIMATORS["matching"](e.Sample(y, t, x))
        for x in (frame[["x"]], frame[["x"]].assign(c=5.0))
    )
    assert more[0] == pytest.approx(plain[0])
    used = plain[2]
    assert used.sum() == 2 * len(y)
    assert plain[3]["imbalance_after"] == pytest.approx(n._imbalance(frame[["x"]], t, used))


def test_what_is_left_of_a_treatment_is_measured_in_its_own_units():
    """A treatment of variance 25: a row's own variance must be a hundredth of that; one row in a
    hundred may lack it.
    """
    t = np.tile([-5.0, 5.0], 500)
    rest = np.full(1000, 25.0)
    rest[:10], rest[10:20] = 0.249, 0.251
    assert n.check_moves(0.5 * t, t, rest) == {"treatment_left": pytest.approx(0.25)}
    rest[20] = 0.249
    with pytest.raises(
        n.NoOverlapError,
        match=r"for 11 of 1000 rows .* under 1% of its variance; restrict the question",
    ):
        n.check_moves(0.5 * t, t, rest)
    assert n.check_moves(0.1 * t, t)["treatment_left"] == pytest.approx(0.01)
    with pytest.raises(
        n.NoOverlapError,
        match=r"explain 99\.1% of the treatment; restrict the question to rows whose tre",
    ):
        n.check_moves(0.0949 * t, t)


def test_overlap_is_asked_of_both_levels_and_of_both_ends():
    """Beyond 0.01 and 0.99; of more levels the lower end alone, the control first."""
    chance = np.full(200, 0.5)
    chance[:2] = 0.001
    n.check_overlap(np.column_stack([1 - chance, chance]))
    for beyond in (0.001, 0.999):
        chance[2] = beyond
        with pytest.raises(
            n.NoOverlapError,
            match=r"3 of 200 rows have an estimated propensity outside \[0.01, 0.99\]; re",
        ):
            n.check_overlap(np.column_stack([1 - chance, chance]))
    for arm, name in enumerate(("control", "treated")):
        three = np.full((200, 2), 0.3)
        three[:3, arm] = 0.001
        with pytest.raises(
            n.NoOverlapError,
            match=rf"3 of 200 rows .* of the {name} below 0\.01; restrict the question",
        ):
            n.check_overlap(three, others=True)


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
    sample = e.Sample(
        frame["y"].to_numpy(), frame["t"].to_numpy(), frame[[]], z=frame["z"].to_numpy()
    )
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
        lambda sample: e.Estimate(
            3.0, np.tile([-1.0, 1.0], len(sample.y) // 2), np.ones(len(sample.y)), {}
        ),
        "back-door",
        "3",
        "never",
        "never",
    )
    monkeypatch.setitem(e.ESTIMATORS, "constant", entry)
    found = effect(small(), "t", "y", adjustment=["x"], estimator="constant")
    assert (found.value, found.estimator, found.effective_sample_size) == (3.0, "constant", 24)
    with pytest.raises(ValueError, match=r"known: .*, constant"):
        effect(small(), "t", "y", adjustment=["x"], estimator="magic")
    with pytest.raises(
        ValueError, match="'constant' cannot compare two of 3 levels of treatment 'm'"
    ):
        effect(small(), "m", "y", adjustment=[], contrast=(0, 1), estimator="constant")
