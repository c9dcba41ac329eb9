"""Folds that keep clusters together and spread arms; models that see no row that they predict;
weights of a stack, calibration and encoded labels by hand.
"""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from causal_lib.inference import models
from causal_lib.inference.models import Fitting, arm_folds, fit, folds, held_out

# ---- what a user gives ---------------------------------------------------------------------------


def test_learners_are_names_estimators_several_or_one_for_each_model():
    ridge = Ridge()
    logistic = LogisticRegression()
    assert Fitting.of(None) == Fitting((), (), 5, 0)
    assert Fitting.of("linear", seed=3) == Fitting(("linear",), ("linear",), 5, 3)
    assert Fitting.of(["linear", ridge]).outcome == ("linear", ridge)
    assert Fitting.of(("splines", "forest")).propensity == ("splines", "forest")
    both = Fitting.of({"outcome": ridge, "propensity": [logistic, "boosted"]}, folds=3)
    assert both == Fitting((ridge,), (logistic, "boosted"), 3, 0)
    assert Fitting.of({"propensity": logistic}) == Fitting((), (logistic,), 5, 0)


def _labelled(n=200):
    """Columns with labels, a number, 0 and 1, three codes and weights."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=n), "shop": pd.Categorical(np.arange(n) % 40)})
    y = x["a"].to_numpy() + (np.arange(n) % 40) / 10 + 0.1 * rng.normal(size=n)
    return x, {"number": y, "event": (y > 2).astype(int), "codes": np.arange(n) % 3}, 1 + y % 1


@pytest.mark.parametrize(
    ("learner", "values", "weighted", "message"),
    [
        (LogisticRegression(), "number", False, "is a classifier, and what .* 200 values, no prob"),
        (LinearSVC(), "event", False, "LinearSVC has no predict_proba"),
        (Ridge(), "codes", False, "Ridge is a regressor, and the treatment has 3 levels"),
        (KNeighborsRegressor(), "number", True, "KNeighborsRegressor takes no weights of rows"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()), "number", True, "KNeighborsReg"),
    ],
)
def test_estimators_that_cannot_do_what_is_asked(learner, values, weighted, message):
    x, all_values, w = _labelled()
    given = all_values[values]
    splits = folds(np.arange(200), 0)
    how = {"seed": 0, "weights": w if weighted else None, "classes": values != "number"}
    with pytest.raises(ValueError, match=f"learners: .*{message}"):
        held_out(given, x[["a"]], splits, [learner], **how)


def test_an_estimator_of_the_user_gets_numbers_for_labels():
    """Target-encoded; a pipeline that encodes columns itself gets them as they are."""
    x, values, w = _labelled()
    y = values["number"]
    own = make_pipeline(
        ColumnTransformer([("shop", OneHotEncoder(), ["shop"])], remainder="passthrough"),
        Ridge(),
    )
    for learner in (Ridge(), make_pipeline(StandardScaler(), Ridge()), own):
        found = held_out(y, x, folds(np.arange(200), 0), [learner], seed=0, weights=w)
        assert np.corrcoef(found, y)[0, 1] > 0.9  # .65 by the number alone


@pytest.mark.parametrize(
    ("learners", "error", "message"),
    [
        ("magic", ValueError, "unknown name 'magic'; known: linear, splines, boosted, forest"),
        (["linear", "magic"], ValueError, "unknown name 'magic'"),
        ({"outcomes": "linear"}, ValueError, "no model is called 'outcomes'; those that are fitt"),
        ({"outcome": "trees"}, ValueError, "unknown name 'trees'"),
        (3, TypeError, "3 is no scikit-learn estimator; give one, or a name of linear, splines"),
        (StandardScaler(), TypeError, r"StandardScaler\(\) is no scikit-learn estimator"),
    ],
)
def test_learners_that_are_none(learners, error, message):
    with pytest.raises(error, match=f"learners: .*{message}"):
        Fitting.of(learners)


@pytest.mark.parametrize("count", [1, 0, -2, 2.0, True, "5", None])
def test_folds_are_whole_numbers_from_two(count):
    with pytest.raises(ValueError, match=re.escape(f"folds={count!r}: a whole number of at least")):
        Fitting.of(None, count)
    assert Fitting.of(None, np.int64(2)).folds == 2


# ---- folds ---------------------------------------------------------------------------------------


def test_folds_are_those_of_scikit_learn_by_seed():
    alone = np.arange(40)
    groups = np.repeat(np.arange(20), 2)
    for seed in (0, 3):
        for found, expected in (
            (folds(alone, seed), KFold(5, shuffle=True, random_state=seed).split(alone)),
            (folds(alone, seed, 3), KFold(3, shuffle=True, random_state=seed).split(alone)),
            (
                folds(groups, seed),
                GroupKFold(5, shuffle=True, random_state=seed).split(groups, groups=groups),
            ),
        ):
            for (train, test), (theirs, others) in zip(found, expected, strict=True):
                assert train.tolist() == theirs.tolist()
                assert test.tolist() == others.tolist()
    parts = [[test.tolist() for _, test in folds(groups, seed)] for seed in (0, 3)]
    assert parts[0] != parts[1]


def test_fewer_rows_or_clusters_than_folds_are_refused():
    with pytest.raises(ValueError, match="4 rows or clusters are too few for 5 folds"):
        folds(np.arange(4), 0)
    assert len(list(folds(np.arange(5), 0))) == 5
    clusters = np.repeat(np.arange(4), 10)
    with pytest.raises(ValueError, match="4 rows or clusters are too few for 5 folds"):
        list(arm_folds(np.arange(40) % 2, clusters, 0))
    assert len(list(arm_folds(np.arange(40) % 2, clusters, 0, 4))) == 4


@given(
    t=st.lists(st.integers(0, 2), min_size=12, max_size=60),
    size=st.integers(1, 3),
    seed=st.integers(0, 5),
    count=st.integers(2, 4),
)
def test_arms_are_spread_over_folds_that_keep_clusters_together(t, size, seed, count):
    t = np.array([0, 1] * count * size + t)
    groups = np.arange(len(t)) // size
    parts = list(arm_folds(t, groups, seed, count))
    tests = [test for _, test in parts]
    assert sorted(np.concatenate(tests).tolist()) == list(range(len(t)))
    for train, test in parts:
        assert sorted([*train, *test]) == list(range(len(t)))
        assert not set(groups[train]) & set(groups[test])
    # clusters with treated rows are dealt out one by one; of single rows, every arm is
    arms = (0, 1, 2) if size == 1 else (1,)
    for arm in arms:
        sizes = [len(np.unique(groups[test[t[test] == arm]])) for test in tests]
        assert max(sizes) - min(sizes) <= 1


def test_folds_of_arms_follow_the_seed():
    t = np.arange(50) % 2
    dealt = [[test.tolist() for _, test in arm_folds(t, np.arange(50), seed)] for seed in (0, 0, 1)]
    assert dealt[0] == dealt[1]
    assert dealt[0] != dealt[2]
    assert dealt[0] != [list(range(k, 50, 5)) for k in range(5)]  # in random order


def test_both_arms_must_be_among_the_rows_to_train_on():
    t = np.array([0, 0, 0, 0, 0, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 5, 5])
    with pytest.raises(
        ValueError,
        match="all 2 rows of the treated fall into one of 5 folds: too few rows or clusters",
    ):
        list(arm_folds(t, groups, 0))
    with pytest.raises(ValueError, match="all 2 rows of the control fall into one of 5 folds"):
        list(arm_folds(1 - t, groups, 0))


# ---- predictions out of fold ---------------------------------------------------------------------


class Memory(RegressorMixin, BaseEstimator):
    """Knows the rows that it was fitted on by their first column; says 1 of them and 0 of others.

    Its class keeps which rows each clone was fitted on, and which it was asked about.
    """

    fits: list = []  # noqa: RUF012
    asked: list = []  # noqa: RUF012

    def fit(self, x, y, sample_weight=None):
        self.rows_ = set(x.iloc[:, 0].tolist())
        self.is_fitted_ = True
        Memory.fits.append((self.rows_, np.asarray(y).tolist(), sample_weight))
        return self

    def predict(self, x):
        own = x.iloc[:, 0].tolist()
        Memory.asked.append((self.rows_, set(own)))
        return np.array([float(row in self.rows_) for row in own])


class Guess(ClassifierMixin, BaseEstimator):
    """Says the shares of the classes that it was fitted on."""

    def fit(self, x, y, sample_weight=None):
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.share_ = np.bincount(codes, sample_weight) / np.bincount(codes, sample_weight).sum()
        return self

    def predict(self, x):
        return np.full(len(x), self.classes_[self.share_.argmax()])

    def predict_proba(self, x):
        return np.tile(self.share_, (len(x), 1))


@pytest.fixture(autouse=True)
def _forgotten():
    Memory.fits.clear()
    Memory.asked.clear()


def _lines(n=300, seed=0, k=2):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, k)), columns=[f"x{j}" for j in range(k)])
    x.insert(0, "row", np.arange(n) / 7.0)
    y = x["x0"].to_numpy() + np.abs(x["x1"].to_numpy()) + rng.normal(size=n)
    return x, y, list(KFold(5, shuffle=True, random_state=seed).split(y))


def test_no_row_is_predicted_by_a_model_that_saw_it():
    x, y, splits = _lines()
    rows = np.arange(300) % 3 > 0
    found = held_out(y, x, splits, [Memory()], seed=0, rows=rows)
    assert found.tolist() == [0.0] * 300
    assert len(Memory.fits) == 5
    for (seen, values, weights), (train, _) in zip(Memory.fits, splits, strict=True):
        own = train[rows[train]]
        assert seen == set(x["row"].iloc[own])
        assert values == y[own].tolist()
        assert weights is None


def test_a_stack_and_its_choice_of_learners_see_no_row_that_they_predict():
    x, y, splits = _lines()
    held_out(y, x, splits, [Memory(), LinearRegression(), DummyRegressor()], seed=0)
    fit(y, x, 0, learners=[Memory(), LinearRegression()])
    assert len(Memory.asked) >= 4
    assert not any(seen & asked for seen, asked in Memory.asked)


def test_a_learner_of_no_use_is_dropped_after_two_folds():
    x, y, splits = _lines()
    held_out(y, x, splits, [Memory(), LinearRegression()], seed=0)
    assert len(Memory.fits) == 2
    Memory.fits.clear()
    held_out(y, x, splits, [Memory()], seed=0)
    assert len(Memory.fits) == 5
    Memory.fits.clear()
    # both are of no use: one is kept
    held_out(np.ones(300) * 1e6 + y, x, splits, [Memory(), Memory()], seed=0)
    assert len(Memory.fits) in (7, 10)


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_two_learners_by_hand(weighted):
    """Of a line and a small tree, weights by least squares: its formula for two."""
    x, y, splits = _lines()
    weights = 1.0 + np.arange(300) % 4 if weighted else None
    learners = [LinearRegression(), DecisionTreeRegressor(max_leaf_nodes=6, random_state=0)]
    found = held_out(y, x, splits, learners, seed=0, weights=weights)
    w = np.ones(300) if weights is None else weights
    first, second = (
        cross_val_predict(one, x, y, cv=splits, params={"sample_weight": w}) for one in learners
    )
    gap = first - second
    share = (w * gap) @ (y - second) / ((w * gap) @ gap)
    assert 0.15 < share < 0.85
    assert found == pytest.approx(share * first + (1 - share) * second, abs=1e-5)
    if weighted:
        blind = gap @ (y - second) / (gap @ gap)
        assert abs(blind - share) > 1e-3


def test_weights_of_a_stack_are_on_the_simplex_and_for_the_rows_that_count():
    """Three learners of an arm against a general optimiser; predictions are for the others too."""
    x, y, splits = _lines(400, 1)
    rows = np.arange(400) % 2 == 0
    learners = [
        LinearRegression(),
        DecisionTreeRegressor(max_leaf_nodes=4, random_state=0),
        DecisionTreeRegressor(max_leaf_nodes=12, min_samples_leaf=5, random_state=0),
    ]
    found = held_out(y, x, splits, learners, seed=0, rows=rows)
    parts = np.empty((3, 400))
    for train, test in splits:
        own = train[rows[train]]
        for k, one in enumerate(learners):
            parts[k, test] = one.fit(x.iloc[own], y[own]).predict(x.iloc[test])
    best = minimize(
        lambda share: np.mean((y[rows] - share @ parts[:, rows]) ** 2),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda share: share.sum() - 1},
        options={"ftol": 1e-14},
    ).x
    assert best.min() > 0.05
    assert found == pytest.approx(best @ parts, abs=1e-4)


def test_a_stack_does_not_depend_on_units():
    x, y, splits = _lines()
    learners = [LinearRegression(), make_pipeline(SplineTransformer(), LinearRegression())]
    plain = held_out(y, x, splits, learners, seed=0)
    assert plain.tolist() != held_out(y, x, splits, learners[1:], seed=0).tolist()
    for unit, level in ((1e9, 1e12), (1e-9, 0.0)):
        moved = held_out(level + unit * y, x, splits, learners, seed=0)
        assert (moved - level) / unit == pytest.approx(plain, abs=1e-2 if level else 1e-6)


def test_weights_reach_the_last_step_of_a_pipeline():
    x, y, splits = _lines()
    weights = 1.0 + np.arange(300) % 4
    line = make_pipeline(StandardScaler(), LinearRegression())
    found = held_out(y, x, splits, [line], seed=0, weights=weights)
    for train, test in splits:
        fitted = sm.WLS(y[train], sm.add_constant(x.iloc[train]), weights=weights[train]).fit()
        assert found[test] == pytest.approx(fitted.predict(sm.add_constant(x.iloc[test])))


def test_without_columns_the_means_and_shares_are_those_of_the_other_folds():
    rng = np.random.default_rng(1)
    none = pd.DataFrame(index=range(60))
    weights = 1.0 + np.arange(60) % 3
    codes = rng.integers(3, size=60)
    y = rng.normal(size=60)
    splits = list(KFold(4, shuffle=True, random_state=0).split(y))
    for w in (None, weights):
        own = np.ones(60) if w is None else w
        means = held_out(y, none, splits, (), seed=0, weights=w)
        shares = held_out(codes, none, splits, (), seed=0, weights=w, classes=True)
        assert shares.shape == (60, 3)
        for train, test in splits:
            assert means[test] == pytest.approx(np.average(y[train], weights=own[train]))
            for level in range(3):
                part = np.average(codes[train] == level, weights=own[train])
                assert shares[test, level] == pytest.approx(part)


def test_values_of_one_level_are_predicted_as_that():
    x, _, splits = _lines()
    assert held_out(np.full(300, 3.5), x, splits, (), seed=0).tolist() == [3.5] * 300
    assert held_out(np.zeros(300), x, splits, ["forest"], seed=0).tolist() == [0.0] * 300
    assert fit(np.full(300, 3.5), x, 0)(x[:2]).tolist() == [3.5, 3.5]


def test_a_class_that_a_fold_lacks_has_probability_zero_there():
    """Two rows of class 0 in the first fold; the others see both, the first sees none."""
    x, _, _ = _lines(60)
    codes = 1 + np.arange(60) % 2
    codes[:2] = 0
    splits = [(np.delete(np.arange(60), part), part) for part in np.arange(60).reshape(3, 20)]
    found = held_out(codes, x, splits, [Guess()], seed=0, classes=True)
    for train, test in splits:
        for level in range(3):
            assert found[test, level] == pytest.approx((codes[train] == level).mean())
    assert found[0, 0] == 0.0
    # of two classes, a fold that has one alone says that one
    rare = np.r_[np.ones(20), np.zeros(40)]
    found = held_out(rare, x, splits, [Guess()], seed=0)
    assert found.tolist() == pytest.approx([0.0] * 20 + [0.5] * 40)


def test_a_regressor_may_predict_events_and_events_are_probabilities():
    x, y, splits = _lines()
    event = (y > 1).astype(float)
    found = held_out(event, x, splits, [LinearRegression()], seed=0)
    assert found == pytest.approx(cross_val_predict(LinearRegression(), x, event, cv=splits))
    found = held_out(event, x, splits, [LogisticRegression()], seed=0)
    assert found == pytest.approx(
        cross_val_predict(LogisticRegression(), x, event, cv=splits, method="predict_proba")[:, 1]
    )
    twice = held_out(1 + event, x, splits, [LinearRegression()], seed=0)  # 1 and 2 are numbers
    assert twice == pytest.approx(cross_val_predict(LinearRegression(), x, 1 + event, cv=splits))


# ---- calibration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_is_a_logistic_regression_on_log_odds(weighted):
    rng = np.random.default_rng(0)
    truth = 1 / (1 + np.exp(-rng.normal(size=600)))
    t = (rng.random(600) < truth).astype(int)
    sharp = 1 / (1 + np.exp(-3 * np.log(truth / (1 - truth)) - 1))  # too sure, and too high
    weights = 1.0 + np.arange(600) % 4 if weighted else None
    found = models.calibrated(sharp, t, weights)
    odds = sm.add_constant(np.log(sharp / (1 - sharp)))
    line = sm.GLM(t, odds, family=sm.families.Binomial(), freq_weights=weights).fit(tol=1e-12)
    assert found == pytest.approx(line.predict(odds), abs=1e-4)
    assert np.average(found, weights=weights) == pytest.approx(
        np.average(t, weights=weights), abs=1e-4
    )


def test_probabilities_stay_as_they_are_where_there_is_no_line():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.1, 0.9, 1000)
    t = (rng.random(1000) < chance).astype(int)
    few = np.r_[np.ones(99, dtype=int), np.zeros(901, dtype=int)]
    for values, rows in (
        (chance, few),
        (chance, 1 - few),
        (1 - chance, t),
        (np.full(1000, 0.3), t),
    ):
        assert models.calibrated(values, rows).tolist() == values.tolist()
    few[99] = 1
    few = few[np.argsort(-chance, kind="stable").argsort()]
    assert models.calibrated(chance, few).tolist() != chance.tolist()
    ends = chance.copy()
    ends[:3] = 0.0
    ends[3:6] = 1.0
    assert np.isfinite(models.calibrated(ends, t)).all()


# ---- learners ------------------------------------------------------------------------------------


def _kinds(values, x, classes):
    """Short names of the learners that are tried."""
    found = []
    for one in models._that_fit(values, x, classes, 0):
        text = one.__repr__(N_CHAR_MAX=100_000)
        marks = {"HistGradient": "boosted", "RandomForest": "forest", "SplineTrans": "splines"}
        found.append(next((name for mark, name in marks.items() if mark in text), "linear"))
    return found


def test_learners_are_tried_from_the_rows_on_that_pay_for_their_terms():
    rng = np.random.default_rng(0)
    most = models._MOST_ROWS_OF_FOREST
    x = pd.DataFrame({"a": rng.normal(size=most + 1), "b": np.arange(most + 1) % 2})
    numbers = x["a"].to_numpy()
    splines = models._ROWS_OF_SPLINES
    trees = models._ROWS_OF_TREES
    for rows, expected in (
        (splines[False] - 1, ["linear"]),
        (splines[False], ["linear", "splines"]),
        (trees[False] - 1, ["linear", "splines"]),
        (trees[False], ["linear", "splines", "boosted", "forest"]),
        (most, ["linear", "splines", "boosted", "forest"]),
        (most + 1, ["linear", "splines", "boosted"]),
    ):
        assert _kinds(numbers[:rows], x[:rows], False) == expected
    # events: twice those of the rarer level
    for rarer, expected in (
        (splines[True] // 2 - 1, ["linear"]),
        (splines[True] // 2, ["linear", "splines"]),
        (trees[True] // 2, ["linear", "splines", "boosted", "forest"]),
    ):
        for level in (0, 1):
            events = np.full(20_000, 1 - level)
            events[:rarer] = level
            assert _kinds(events, x[:20_000], True) == expected
    # one column of few values has no curve, and no product
    assert "splines" not in _kinds(numbers[:5000], x[["b"]][:5000], False)


def _steps(rows, noise, seed=0):
    """Slopes that other columns turn on or off, eight columns, plus noise, and folds."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(rows, 8)), columns=[f"x{k}" for k in range(8)])
    z = x.to_numpy()
    signal = sum(z[:, k] * (z[:, (3 * k + 1) % 8] > 0.3 * k - 1) for k in range(8))
    signal = (signal - signal.mean()) / signal.std()
    y = signal + noise * rng.normal(size=rows)
    return x, y, list(KFold(5, shuffle=True, random_state=0).split(y))


def _fitted(monkeypatch, *args, **options):
    """The names of the learners that are fitted, in order, and the predictions."""
    names = []
    named = models._named

    def spy(learner, *rest):
        names.append(learner)
        return named(learner, *rest)

    monkeypatch.setattr(models, "_named", spy)
    return names, held_out(*args, **options)


def test_trees_with_small_leaves_are_tried_where_much_is_explained(monkeypatch):
    x, y, splits = _steps(1500, 0.2)
    names, found = _fitted(monkeypatch, y, x, splits, [], seed=0)
    assert names == ["linear", "splines", "boosted", "forest", "fine"]
    others = held_out(y, x, splits, ["linear", "splines", "boosted", "forest"], seed=0)
    assert ((y - found) ** 2).mean() < 0.85 * ((y - others) ** 2).mean()


@pytest.mark.parametrize(
    ("rows", "noise", "learners", "classes"),
    [
        (1500, 3.0, [], False),  # little is explained
        (300, 0.2, [], False),  # too few rows for trees
        (1500, 0.2, ["boosted", "linear"], False),  # somebody chose
        (3000, 0.2, [], True),
    ],
)
def test_trees_with_small_leaves_are_not_tried_elsewhere(
    rows, noise, learners, classes, monkeypatch
):
    x, y, splits = _steps(rows, noise)
    y = (y > 0).astype(float) if classes else y
    names, _ = _fitted(monkeypatch, y, x, splits, learners, seed=0)
    assert "fine" not in names


@pytest.mark.parametrize("name", models.NAMES)
@pytest.mark.parametrize("classes", [False, True])
def test_a_column_of_many_labels_is_used_by_every_learner(name, classes):
    """Twenty levels, whose means differ, 40 rows each: half of the variance can be predicted."""
    rng = np.random.default_rng(0)
    code = rng.integers(20, size=800)
    level = rng.normal(size=20)
    x = pd.DataFrame({"a": rng.normal(size=800)})
    x["who"] = pd.Categorical.from_codes(code, [f"u{k}" for k in range(20)])
    y = level[code] + 0.5 * x["a"].to_numpy() + 0.5 * rng.normal(size=800)
    if classes:
        y = (y > y.mean()).astype(float)
    splits = list(KFold(5, shuffle=True, random_state=0).split(y))
    found = held_out(y, x, splits, [name], seed=0)
    blind = held_out(y, x[["a"]], splits, [name], seed=0)
    left = ((y - found) ** 2).mean()
    assert left < 0.75 * ((y - blind) ** 2).mean()
    # nor is a row's own value told by its level: labels that mean nothing are of no use
    noise = rng.permutation(y)
    told = held_out(noise, x[["who"]], splits, [name], seed=0)
    assert ((noise - told) ** 2).mean() > 0.97 * noise.var()


def test_a_label_that_the_training_rows_lack_is_no_error():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"who": pd.Categorical.from_codes(np.arange(120) // 3, list(map(str, range(40))))}
    )
    splits = [(np.arange(60), np.arange(60, 120)), (np.arange(60, 120), np.arange(60))]
    for name in models.NAMES:
        assert np.isfinite(held_out(rng.normal(size=120), x, splits, [name], seed=0)).all()


def test_models_are_the_same_again_by_seed():
    x, y, splits = _lines(200)
    for name in models.NAMES:
        first, second = (held_out(y, x, splits, [name], seed=4) for _ in range(2))
        assert first.tolist() == second.tolist()


# ---- one model for new rows ----------------------------------------------------------------------


def test_one_model_of_all_rows():
    x, y, _ = _lines()
    new = x[:7] + 0.1
    weights = 1.0 + np.arange(300) % 4
    one = fit(y, x, 0, learners=[LinearRegression()], weights=weights)
    fitted = sm.WLS(y, sm.add_constant(x), weights=weights).fit()
    assert one(new) == pytest.approx(fitted.predict(sm.add_constant(new, has_constant="add")))
    event = (y > 1).astype(int)
    chances = fit(event, x, 0, learners=[LogisticRegression()])
    assert chances(new) == pytest.approx(
        LogisticRegression().fit(x, event).predict_proba(new)[:, 1]
    )
    none = fit(y, x[[]], 0, weights=weights)
    assert none(new[[]]) == pytest.approx([np.average(y, weights=weights)] * 7)


def test_several_models_of_all_rows_weighted_by_what_they_say_of_others():
    x, y, _ = _lines()
    learners = [LinearRegression(), DecisionTreeRegressor(max_leaf_nodes=6, random_state=0)]
    found = fit(y, x, 2, learners=learners)(x[:9])
    splits = list(KFold(3, shuffle=True, random_state=2).split(y))
    first, second = (cross_val_predict(one, x, y, cv=splits) for one in learners)
    share = (first - second) @ (y - second) / ((first - second) @ (first - second))
    parts = [one.fit(x, y).predict(x[:9]) for one in learners]
    assert 0.15 < share < 0.85
    assert found == pytest.approx(share * parts[0] + (1 - share) * parts[1], abs=1e-5)
    # what counts for nothing is not fitted to all rows
    fit(y, x, 2, learners=[Memory(), LinearRegression()])
    assert len(Memory.fits) == 3


@pytest.mark.parametrize("name", models.NAMES)
def test_the_unit_and_origin_of_a_column_change_no_prediction(name):
    """A time in milliseconds since 1970, of which 32 bits would leave little."""
    x, y, splits = _lines(300)
    moved = x.assign(x0=86_400e3 * x["x0"] + 1.7e12)
    plain, other = (held_out(y, one, splits, [name], seed=0) for one in (x, moved))
    assert other == pytest.approx(plain, abs=1e-4 * y.std())
