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
from causal_lib.inference import nuisances as n
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
    return lambda f: e.ESTIMATORS[name](_sample(f, treatment))


def _sample(f, treatment, **more):
    return e.Sample(f["y"].to_numpy(), f[treatment].to_numpy(), f[["x"]], **more)


SMOOTH = {
    **{name: _plain(name, "t") for name in ("difference", "regression", "ipw")},
    **{f"{name} of three levels": _plain(name, "m") for name in ("difference", "regression", "ipw")},
    "slope": lambda f: e.regression_slope(_sample(f, "dose")),
    "front_door": lambda f: e.front_door(_sample(f, "t", mediators=f[["m"]])),
    "wald": lambda f: e.wald(_sample(f, "dose", z=f["z"].to_numpy())),
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
            e.wald(e.Sample(y, moved(strength), none, z=z))
    for strength in (10.1, 15.0):
        found = e.wald(e.Sample(y, moved(strength), none, z=z))[3]["first_stage_f"]
        fitted = sm.OLS(moved(strength), sm.add_constant(z)).fit(cov_type="HC0")
        assert found == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-9)
        assert found == pytest.approx(strength, rel=1e-9)


def test_one_row_in_a_hundred_may_lie_outside_one_to_99_percent():
    share = np.full(1000, 0.5)
    share[:6], share[6:10], share[10:30] = 0.0099, 0.9901, 0.0101
    n.check_overlap(np.column_stack([1 - share, share]))
    share[30] = 0.9901
    with pytest.raises(
        n.NoOverlapError,
        match=r"no overlap: 11 of 1000 rows have an estimated propensity outside \[0.01",
    ):
        n.check_overlap(np.column_stack([1 - share, share]))
    # With further levels each of the two must be possible; neither need be unlikely.
    three = np.column_stack([np.full(1000, 0.995), np.full(1000, 0.5)])
    three[:10, 1] = 0.0099
    n.check_overlap(three, others=True)
    three[10, 1] = 0.0099
    with pytest.raises(
        n.NoOverlapError,
        match=r"11 of 1000 rows have an estimated propensity of the treated below 0\.01",
    ):
        n.check_overlap(three, others=True)


def test_a_hundredth_of_the_variance_of_a_numeric_treatment_must_be_left():
    t, rest = np.tile([-1.0, 1.0], 500), np.full(1000, 1.0)
    assert n.check_moves(0.11 * t, t)["treatment_left"] == pytest.approx(0.0121)
    with pytest.raises(
        n.NoOverlapError,
        match=r"no overlap: the adjustment columns explain 99\.2% of the treatment",
    ):
        n.check_moves(0.09 * t, t)
    rest[:10] = 0.0099
    n.check_moves(t, t, rest)
    rest[10] = 0.0099
    with pytest.raises(
        n.NoOverlapError,
        match="for 11 of 1000 rows the adjustment columns leave the treatment under 1%",
    ):
        n.check_moves(t, t, rest)


def test_imbalance_is_in_units_of_the_arms_mean_deviation():
    """Arms of variance 2 and 8: a deviation of the root of 5. The means 1 and 3, or 1 and 2 with weights 3 and 1."""
    x, t = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0], "same": 1.0}), np.array([0, 0, 1, 1])
    found = n.overlap(np.full((4, 2), 0.5), x, t, np.array([1.0, 1.0, 3.0, 1.0]))
    assert found["imbalance_before"] == pytest.approx(2 / np.sqrt(5))
    assert found["imbalance_after"] == pytest.approx(1 / np.sqrt(5))


def test_folds_are_those_of_scikit_learn_by_seed():
    alone, groups = np.arange(40), np.repeat(np.arange(20), 2)
    for seed in (0, 3):
        for found, expected in (
            (n.folds(alone, seed), KFold(5, shuffle=True, random_state=seed).split(alone)),
            (
                n.folds(groups, seed),
                GroupKFold(5, shuffle=True, random_state=seed).split(groups, groups=groups),
            ),
        ):
            for (train, test), (theirs, others) in zip(found, expected, strict=True):
                assert train.tolist() == theirs.tolist()
                assert test.tolist() == others.tolist()
    parts = [[test.tolist() for _, test in n.folds(groups, seed)] for seed in (0, 3)]
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
        f.assign(t=np.where(f["z"] > 1, 2, f["t"])),
        "t",
        "y",
        adjustment=["who"],
        contrast=(0, 1),
        cluster="who",
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


def test_categories_of_new_rows_are_coded_as_those_of_training():
    old = pd.DataFrame({"n": [1, 2, 3, 4], "kind": list("abca"), "flag": [True, False, True, True]})
    wide = n.design(old, ["n", "kind", "flag"])
    assert wide.columns.tolist() == ["n", "flag", "kind_b", "kind_c"]
    assert wide["kind_b"].tolist() == [0, 1, 0, 0]
    new = pd.DataFrame({"n": [7, 8, 9], "kind": list("ccd"), "flag": False})  # no a, and a level that is new
    found = n.design(new, ["n", "kind", "flag"], like=wide.columns)
    assert found.columns.tolist() == wide.columns.tolist()
    assert found.to_numpy().tolist() == [[7, 0, 0, 1], [8, 0, 0, 1], [9, 0, 0, 0]]
    assert n.design(old, ["n", "kind", "flag"], like=wide.columns).equals(wide)
    assert n.design(old, []).shape == (4, 0)


def test_errors_and_covariances_of_unequal_clusters_by_hand():
    influence, groups = (
        np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 0.0], [4.0, -5.0], [-4.0, 2.0]]),
        np.array([0, 0, 0, 1, 2]),
    )
    sums = np.array([[0.0, 3.0], [4.0, -5.0], [-4.0, 2.0]])
    by_hand = sums.T @ sums * 3 / 2 / 25
    assert n.clustered_covariance(influence, groups) == pytest.approx(by_hand)
    for column in (0, 1):
        assert n.standard_error(influence[:, column], groups) == pytest.approx(np.sqrt(by_hand[column, column]))
    assert n.standard_error(np.array([3.0, -1.0]), np.array([0, 1])) == pytest.approx(np.sqrt(10 * 2) / 2)
    with pytest.raises(ValueError, match="1 row or cluster is too few for a standard error; at least 2 are needed"):
        n.standard_error(np.array([1.0, 2.0]), np.array([0, 0]))


def test_scores_by_hand():
    y, t = np.array([3.0, 1.0, 2.0, 5.0]), np.array([1, 0, 2, 1])
    chances = np.array([[0.3, 0.5], [0.2, 0.4], [0.1, 0.6], [0.4, 0.25]])
    means = np.array([[1.0, 2.0], [0.5, 4.0], [1.0, 1.5], [2.0, 3.0]])
    score, weights = n.dr_scores(y, t, chances, means)
    assert weights.tolist() == pytest.approx([2.0, 5.0, 0.0, 4.0])
    assert score.tolist() == pytest.approx([1 + 2 * (3 - 2), 3.5 - 5 * (1 - 0.5), 0.5, 1 + 4 * (5 - 3)])


def test_diagnostics_of_arms_by_hand():
    x = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0, 9.0], "b": [3.0, 1.0, 0.0, -2.0, 9.0]})
    t, weights = np.array([0, 0, 1, 1, 2]), np.array([1.0, 3.0, 1.0, 1.0, 0.0])
    chances = np.array([[0.2, 0.3], [0.4, 0.5], [0.1, 0.7], [0.3, 0.6], [0.5, 0.25]])
    found = n.overlap(chances, x, t, weights)
    # Arms of b: 3, 1 and 0, -2: means 2 and -1, variances 2 and 2; with the weights 1.5 and -1.
    assert found == pytest.approx(
        {
            "propensity_min": 0.25,
            "propensity_max": 0.7,
            "control_propensity_min": 0.1,
            "imbalance_before": 3 / np.sqrt(2),
            "imbalance_after": 2.5 / np.sqrt(2),
        }
    )
    assert list(n.overlap(chances[:4], x[:4], t[:4], weights[:4])) == [
        "propensity_min", "propensity_max", "imbalance_before", "imbalance_after",
    ]  # fmt: skip
    none = n.overlap(chances, x[[]], t, weights)
    assert (none["imbalance_before"], none["imbalance_after"]) == (0.0, 0.0)


def test_without_columns_shares_and_means_are_those_of_the_other_folds():
    rng = np.random.default_rng(1)
    t, y, groups = rng.integers(3, size=60), rng.normal(size=60), np.repeat(np.arange(20), 3)
    chances, means = n.cross_fit(y, t, pd.DataFrame(index=range(60)), groups, 4)
    for train, test in GroupKFold(5, shuffle=True, random_state=4).split(groups, groups=groups):
        for arm in (0, 1):
            assert chances[test, arm] == pytest.approx(np.full(len(test), (t[train] == arm).mean()))
            assert means[test, arm] == pytest.approx(np.full(len(test), y[train][t[train] == arm].mean()))


def test_a_model_of_one_level_says_that_level():
    x = pd.DataFrame({"a": np.arange(80.0)})
    assert n.fit(np.full(80, 3.5), x, 0)(x[:2]).tolist() == [3.5, 3.5]
    two = n.fit(np.arange(80) // 40, x, 5)(x)
    assert two == pytest.approx(
        HistGradientBoostingClassifier(**n.BOOST, random_state=5).fit(x, np.arange(80) // 40).predict_proba(x)[:, 1]
    )
    numbers = n.fit(1 + np.arange(80) // 40, x, 5)(x)  # 1 and 2 are numbers
    assert numbers == pytest.approx(
        HistGradientBoostingRegressor(**n.BOOST, random_state=5).fit(x, 1 + np.arange(80) // 40).predict(x)
    )


def test_the_settings_of_the_boosted_models():
    assert n.BOOST == {
        "max_iter": 100,
        "learning_rate": 0.1,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 50,
    }
    with pytest.raises(ValueError, match="4 rows or clusters are too few for 5 folds"):
        n.folds(np.arange(4), 0)
    assert len(list(n.folds(np.arange(5), 0))) == 5


def test_both_arms_must_be_among_the_rows_to_train_on():
    t, groups = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4, 5, 5])
    with pytest.raises(
        ValueError,
        match="all 2 rows of the treated fall into one of 5 folds: too few rows or clusters",
    ):
        list(n.arm_folds(t, groups, 0))
    with pytest.raises(ValueError, match="all 2 rows of the control fall into one of 5 folds"):
        list(n.arm_folds(1 - t, groups, 0))


def test_front_doors_of_two_mediators_by_hand():
    """Levels of both together, treated rows and levels of unequal number."""
    rng = np.random.default_rng(3)
    t = (rng.random(300) < 0.3).astype(int)
    m = (rng.random(300) < 0.3 + 0.3 * t).astype(int)
    k = rng.choice(3, p=[0.5, 0.3, 0.2], size=300)
    y = m * (1 + t) + k * m + 0.5 * t + rng.normal(size=300)
    frame = pd.DataFrame({"t": t, "m": m, "k": k, "y": y})
    value, _, weights, diagnostics = e.front_door(e.Sample(y, t, frame[[]], mediators=frame[["m", "k"]]))
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
        e.front_door(e.Sample(y[keep], t[keep], frame[[]][keep], mediators=frame.loc[keep, ["m", "k"]]))


def test_arms_and_tables_that_are_just_large_enough():
    rng = np.random.default_rng(4)
    x, y = pd.DataFrame(rng.normal(size=(9, 2)), columns=["a", "b"]), rng.normal(size=9)
    t = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert np.isfinite(e.ESTIMATORS["regression"](e.Sample(y, t, x))[0])
    with pytest.raises(ValueError, match="an arm of 2 rows is too small for 3 columns of adjustment and constant"):
        e.ESTIMATORS["regression"](e.Sample(y[1:], t[1:], x[1:]))
    dose = rng.normal(size=9)
    assert np.isfinite(e.regression_slope(e.Sample(y[:7], dose[:7], x[:7]))[0])
    with pytest.raises(ValueError, match="6 rows are too few for 6 columns of treatment, adjustment and products"):
        e.regression_slope(e.Sample(y[:6], dose[:6], x[:6]))
    controls = np.column_stack([np.ones(9), x - x.mean()])
    left = dose - controls @ np.linalg.lstsq(controls, dose, rcond=None)[0]
    assert e.regression_slope(e.Sample(y, dose, x))[3]["treatment_left"] == pytest.approx(left.var() / dose.var())


def test_matching_without_columns_is_the_difference_and_a_constant_column_does_not_count():
    frame = small(1)
    y, t = frame["y"].to_numpy(), frame["t"].to_numpy()
    none = e.ESTIMATORS["matching"](e.Sample(y, t, frame[[]]))
    assert none[0] == pytest.approx(y[t == 1].mean() - y[t == 0].mean())
    plain, more = (e.ESTIMATORS["matching"](e.Sample(y, t, x)) for x in (frame[["x"]], frame[["x"]].assign(c=5.0)))
    assert more[0] == pytest.approx(plain[0])
    used = plain[2]
    assert used.sum() == 2 * len(y)
    assert plain[3]["imbalance_after"] == pytest.approx(n._imbalance(frame[["x"]], t, used))


def test_what_is_left_of_a_treatment_is_measured_in_its_own_units():
    """A treatment of variance 25: a row's own variance must be a hundredth of that; one row in a hundred may lack it."""
    t = np.tile([-5.0, 5.0], 500)
    rest = np.full(1000, 25.0)
    rest[:10], rest[10:20] = 0.249, 0.251
    assert n.check_moves(0.5 * t, t, rest) == {"treatment_left": pytest.approx(0.25)}
    rest[20] = 0.249
    with pytest.raises(
        n.NoOverlapError, match=r"for 11 of 1000 rows .* under 1% of its variance; restrict the question"
    ):
        n.check_moves(0.5 * t, t, rest)
    assert n.check_moves(0.1 * t, t)["treatment_left"] == pytest.approx(0.01)
    with pytest.raises(
        n.NoOverlapError, match=r"explain 99\.1% of the treatment; restrict the question to rows whose tre"
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
            n.NoOverlapError, match=r"3 of 200 rows have an estimated propensity outside \[0.01, 0.99\]; re"
        ):
            n.check_overlap(np.column_stack([1 - chance, chance]))
    for arm, name in enumerate(("control", "treated")):
        three = np.full((200, 2), 0.3)
        three[:3, arm] = 0.001
        with pytest.raises(
            n.NoOverlapError, match=rf"3 of 200 rows .* of the {name} below 0\.01; restrict the question"
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
    assert f"| {name} | {entry.formula} | " in e.estimators_table()
    assert f"| {name} | {entry.formula} | " in effect.__doc__


@pytest.mark.parametrize("name", [name for name, one in e.ESTIMATORS.items() if one.needs_columns])
def test_what_needs_columns_says_what_to_use_without(name):
    frame = small(2)
    sample = e.Sample(frame["y"].to_numpy(), frame["t"].to_numpy(), frame[[]], z=frame["z"].to_numpy())
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
        lambda sample: e.Estimate(3.0, np.tile([-1.0, 1.0], len(sample.y) // 2), np.ones(len(sample.y))),
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
    with pytest.raises(ValueError, match="'constant' cannot compare two of 3 levels of treatment 'm'"):
        effect(small(), "m", "y", adjustment=[], contrast=(0, 1), estimator="constant")
