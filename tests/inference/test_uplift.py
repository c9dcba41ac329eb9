"""Uplift models against effects that are known: ranking, calibration, intervals, choices under k
and budget.
"""

import re
import warnings
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.model_selection import GroupKFold

from causal_lib.experiments.inference.uplift import COLUMNS, campaign, shoppers
from causal_lib.inference import (
    UpliftModel,
    effect,
    incremental_outcomes,
    models,
    nuisances,
    uplift,
)
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.learners import (
    CANDIDATES,
    FINE_CANDIDATES,
    LEARNERS,
    Learned,
    Rows,
    final_model,
)
from causal_lib.inference.models import Fitting
from causal_lib.inference.uplift import stack_weights
from causal_lib.ordering import canonical_order


@pytest.fixture(scope="module")
def model():
    """A stack, trained on 8,000 rows."""
    return UpliftModel.train(shoppers(8000, 0), "t", "y", ["need", "loyal"], cluster="user_id")


@pytest.fixture(scope="module")
def new():
    """Rows that were not trained on."""
    return shoppers(4000, 1)


def test_predictions_rank_the_effect_not_the_outcome(model, new):
    assert np.corrcoef(model.predict(new), new["effect"])[0, 1] > 0.75
    assert np.corrcoef(model.predict(new), new["loyal"])[0, 1] < -0.3
    assert np.corrcoef(model.relevance(new), new["loyal"])[0, 1] > 0.3


def test_relevance_is_the_outcome_of_the_treated(model, new):
    columns = list(model.x)
    treated = shoppers(8000, 0).query("t == 1").sort_values(columns[-1])
    users = treated["user_id"].to_numpy()
    found = models.fit(treated["y"].to_numpy(), treated[columns], 0, groups=users)
    assert model.relevance(new) == pytest.approx(found(new[columns]))


def test_calibration_groups_and_qini_see_what_is_there(model):
    found = model.calibration()
    assert (
        found.loc["average", "low"]
        < shoppers(8000, 0)["effect"].mean()
        < found.loc["average", "high"]
    )
    assert found.loc["slope", "low"] > 0.3
    assert found.loc["slope", "value"] == pytest.approx(1, abs=0.5)
    groups = model.grouped()
    truth = shoppers(8000, 0)["effect"].groupby(pd.qcut(model.predicted, 5, labels=False)).mean()
    assert ((groups["low"] <= truth) & (truth <= groups["high"])).sum() >= 4
    value, low, high = model.qini()
    assert 0 < low < value < high
    assert "slope of effects on predictions" in repr(model)


def test_without_differences_nothing_is_claimed():
    slopes = []
    for seed in range(4):
        frame = shoppers(1500, seed)
        rng = np.random.default_rng(seed)
        frame["y"] = (rng.random(1500) < 0.3 + 0.2 * frame["t"]).astype(int)
        found = UpliftModel.train(frame, "t", "y", ["need", "loyal"], cluster="user_id", seed=seed)
        slopes.append(found.calibration().loc["slope", "low"] > 0 or found.qini()[1] > 0)
    assert sum(slopes) <= 1


def test_scores_of_the_untreated_in_a_trial():
    """They have the mean of the control arm, in the outcome's own units, and with the scores of the
    effect that of the other arm.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    t = rng.integers(0, 2, 2000)
    y = 1e6 + 1e3 * (x + t * (1 + x) + rng.normal(size=2000))
    frame = pd.DataFrame({"x": x, "t": t, "y": y})
    found = UpliftModel.train(frame, "t", "y", ["x"], learner="dr", seed=0)
    slope, level = np.polyfit(x[t == 0], y[t == 0], 1)
    assert found.untreated.mean() == pytest.approx(level + slope * x.mean(), abs=60)
    slope, level = np.polyfit(x[t == 1], y[t == 1], 1)
    both = found.untreated + found.score
    assert both.mean() == pytest.approx(level + slope * x.mean(), abs=60)


def test_a_copy_of_the_outcome_and_a_column_that_is_not_named_are_refused():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "t": rng.integers(0, 2, 200)})
    frame = frame.assign(y=frame["x"] + rng.normal(size=200)).assign(paid=lambda f: 3 - 2 * f["y"])
    with pytest.raises(ValueError, match="'paid' is a linear function of the outcome 'y'"):
        UpliftModel.train(frame, "t", "y", ["x", "paid"])
    with pytest.raises((TypeError, ValueError), match="propensity"):
        UpliftModel.train(frame, "t", "y", ["x"], propensity=frame["x"])


def test_qini_and_slope_by_hand():
    score = np.array([1.0, 0.0, 3.0, 2.0])
    predicted = np.array([0.1, 0.0, 0.3, 0.2])
    tiny = UpliftModel(
        "t", "y", (), score, predicted, np.arange(4), pd.DataFrame(), "dr", None, None
    )
    assert tiny.auuc()[0] == pytest.approx(np.mean(score * (1 - np.array([3, 4, 1, 2]) / 5)))
    assert tiny.auuc()[0] - tiny.qini()[0] == pytest.approx(score.mean() / 2)
    parts = score * (1 - np.array([3, 4, 1, 2]) / 5)
    assert tiny.auuc()[2] - tiny.auuc()[1] == pytest.approx(
        2 * norm.ppf(0.975) * parts.std(ddof=1) / 2
    )
    assert tiny.qini()[0] == pytest.approx(np.mean(score * (0.5 - np.array([3, 4, 1, 2]) / 5)))
    assert tiny.calibration()["value"].tolist() == pytest.approx(
        [1.5, np.polyfit(predicted, score, 1)[0]]
    )
    assert tiny.grouped(2)["value"].tolist() == pytest.approx([0.5, 2.5])


def test_intervals_by_hand_with_clusters(model):
    """Errors sum within users: scores of pairs of rows that share half of their noise, as no user's
    rows here do.
    """
    rng = np.random.default_rng(1)
    shared = model.score + 2 * rng.normal(size=len(model.score) // 2)[model.groups]
    model = replace(model, score=shared)
    count = model.groups.max() + 1
    n = len(model.score)

    def ends(value, influence, rows=n):
        sums = pd.Series(influence).groupby(model.groups).sum()
        half = 1.959964 * np.sqrt((sums**2).sum() * count / (count - 1)) / rows
        return pytest.approx((value, value - half, value + half), rel=1e-6)

    params, covariance = _line(model)
    found = model.calibration()
    for number, name in enumerate(("average", "slope")):
        half = 1.959964 * np.sqrt(covariance[number, number])
        ends_by_hand = (params[number], params[number] - half, params[number] + half)
        assert tuple(found.loc[name]) == pytest.approx(ends_by_hand, rel=1e-6)
    place = np.digitize(model.predicted, np.quantile(model.predicted, [0.2, 0.4, 0.6, 0.8]))
    for number, row in model.grouped().iterrows():
        inside = place == number
        mean = shared[inside].mean()
        assert tuple(row[["value", "low", "high"]]) == ends(
            mean, inside * (shared - mean), inside.sum()
        )
    ranks = pd.Series(-model.predicted).rank().to_numpy() / (n + 1)
    for found, gain in (
        (model.qini(), shared * (0.5 - ranks)),
        (model.auuc(), shared * (1 - ranks)),
    ):
        assert found == ends(gain.mean(), gain - gain.mean())


def test_copies_of_a_cluster_count_once(model):
    rows = np.arange(400)
    once = replace(model, score=model.score[:400], predicted=model.predicted[:400], groups=rows)
    both = np.r_[rows, rows]
    twice = replace(once, score=model.score[both], predicted=model.predicted[both], groups=both)
    blind = replace(twice, groups=np.arange(800))

    def width(of):
        ends = np.vstack(
            [
                of.calibration().to_numpy(),
                of.grouped()[["value", "low", "high"]],
                of.qini(),
                of.auuc(),
            ]
        )
        return ends[:, 2] - ends[:, 1]

    # the places of copies differ a little
    assert width(twice) == pytest.approx(width(once), rel=5e-3)
    assert width(blind) == pytest.approx(width(once) / np.sqrt(2), rel=1e-2)


def test_another_learner_is_judged_by_the_same_scores():
    frame = shoppers(1500, 2)
    found, default = (
        UpliftModel.train(frame, "t", "y", ["need", "loyal"], learner=learner)
        for learner in ("uplift_tree", "dr")
    )
    assert found.score.tolist() == default.score.tolist()
    assert np.corrcoef(found.predicted, frame["effect"])[0, 1] > 0.2
    assert (found.learner, default.learner) == ("uplift_tree", "dr")
    assert found.chosen.index.tolist() == ["average", "uplift_tree"]
    assert found.chosen["weight"].tolist() == [0, 1]
    with pytest.raises(
        ValueError,
        match="'uplift_tree' has no intervals; train with the default learner, 'dr', 'causal_f",
    ):
        found.intervals(frame)


def test_predictions_do_not_know_the_row():
    """A learner that overfits is seen through: on noise its in-sample predictions agree with the
    scores, ours do not.
    """
    frame = shoppers(1000, 5).assign(y=np.random.default_rng(5).integers(2, size=1000))
    found = UpliftModel.train(frame, "t", "y", ["need", "loyal"], learner="t", cluster="user_id")
    assert np.corrcoef(found.predict(frame), found.score)[0, 1] > 0.2
    assert found.calibration().loc["slope", "low"] < 0.1
    assert found.qini()[1] < 0


def test_intervals_of_the_projection(model, new):
    ends = model.intervals(new)
    assert ends.index.equals(new.index)
    inside = (ends["low"] <= new["effect"]) & (new["effect"] <= ends["high"])
    assert inside.mean() > 0.8  # the effect is clipped, which a quadratic is not
    terms = [
        np.column_stack([np.ones(len(x)), x, x**2, x.prod(axis=1)])
        for x in (model.x, new[list(model.x)])
    ]
    params, covariance = _fitted(model, terms[0])
    error = np.sqrt(np.einsum("ij,jk,ik->i", terms[1], covariance, terms[1]))
    assert ends["value"].to_numpy() == pytest.approx(terms[1] @ params)
    assert ((ends["high"] - ends["low"]) / 2).to_numpy() == pytest.approx(
        1.959964 * error, rel=1e-6
    )
    assert np.corrcoef(ends["value"], new["effect"])[0, 1] > 0.75


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"learner": "magic"},
            "unknown learner 'magic'; known: dr, dr_linear, dr_coarse, t_linear, t_coarse, x_fine, "
            "s, t, x, r, uplift_tree, uplift_forest, causal_forest, pretrained",
        ),
        (
            {"learner": "uplift_tree", "outcome": "price"},
            "need an outcome of 0 and 1; take another learner",
        ),
        ({"adjustment": []}, "adjustment is empty: effects can vary only with columns"),
        ({"adjustment": ["need", "t"]}, "adjustment holds t itself"),
        ({"adjustment": ["need", "y"]}, "adjustment holds y itself"),
        (
            {"treatment": "price"},
            r"treatment 'price': must be 0 or 1 in every row, or give contrast=\(control, "
            r"treated\); it has \d+ levels \(1.0",
        ),
        ({"learner": []}, "learner is empty; known: dr, "),
        ({"learner": ["dr", "magic"]}, "unknown learner 'magic'"),
        ({"adjustment": "need"}, r"adjustment: a list of columns is needed, .* write \['need'\]"),
        ({"outcome": "t"}, "treatment and outcome are both 't'"),
        ({"contrast": (0, 2)}, "contrast: 2 is no level of treatment 't'; its levels: 0, 1"),
        ({"contrast": (1, 1)}, r"contrast=\(1, 1\): two different levels are needed"),
        ({"contrast": "ab"}, "contrast='ab': two different levels are needed"),
        ({"propensity": "need"}, r"propensity 'need': \d+ of 200 values are not between 0 and 1"),
        ({"propensity": "chance"}, "train: no column 'chance'"),
    ],
)
def test_bad_training(how, message):
    arguments = {"treatment": "t", "outcome": "y", "adjustment": ["need"]} | how
    with pytest.raises(ValueError, match=message):
        UpliftModel.train(shoppers(200, 0), **arguments)


def test_bad_intervals(model, new):
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\), not 95"):
        model.intervals(new, 95)
    forest = replace(model, learner="causal_forest")
    with pytest.raises(
        ValueError,
        match="no intervals with clusters, which its trees ignore; use the default learner",
    ):
        forest.intervals(new)
    few = replace(model, score=model.score[:50], x=model.x[:50], groups=np.arange(50))
    with pytest.raises(
        ValueError, match="50 rows or clusters are too few to project effects on 2 columns"
    ):
        few.intervals(new)


def test_choices_keep_k_budget_and_sign(model, new):
    chosen, (total, low, high) = model.recommend(new, k=1)
    assert chosen.groupby("user_id").size().max() == 1
    assert (chosen["uplift"] > 0).all()
    better = new.assign(uplift=model.predict(new)).groupby("user_id")["uplift"].max()
    assert chosen.set_index("user_id")["uplift"].to_dict() == better[better > 0].to_dict()
    assert low < total < high
    assert low < chosen["effect"].sum() < high
    assert chosen["why"].str.fullmatch(r"y: [\d.]+% when shown, [\d.]+% anyway").all()
    assert chosen["expected"].sum() == pytest.approx(total)
    one, (alone, below, above) = model.recommend(new.iloc[[3]], objective="relevance")
    assert one[["expected", "low", "high"]].iloc[0].tolist() == pytest.approx([alone, below, above])
    spent, _ = model.recommend(new, objective="revenue", price="price", budget=50.0, cost="price")
    assert spent["price"].sum() <= 50
    worth = spent["uplift"] * spent["price"]
    assert worth.to_numpy() == pytest.approx(spent["objective"].to_numpy())
    cheap, (added, _, _) = model.recommend(new, budget=100)
    assert len(cheap) == 100
    relevant, (other, _, _) = model.recommend(new, objective="relevance", budget=100)
    assert cheap["effect"].sum() > 1.3 * relevant["effect"].sum()
    assert added > other


def _terms(model, at):
    """The constant, the centred prediction, and how far it is above the median and the highest fifth."""
    bends = [np.maximum(at - np.quantile(model.aligned, share), 0) for share in (0.5, 0.8)]
    return np.column_stack([np.ones(len(at)), at - model.aligned.mean(), *bends])


def _fitted(model, terms):
    """Scores on terms of the held-out predictions by statsmodels; the covariance clustered by user,
    residuals divided by the root of 1 - leverage.
    """
    fitted = sm.OLS(model.score, terms).fit()
    left = fitted.resid / np.sqrt(1 - fitted.get_influence().hat_matrix_diag)
    sums = pd.DataFrame(terms * left[:, None]).groupby(model.groups).sum().to_numpy()
    count = len(sums)
    bread = np.linalg.inv(terms.T @ terms)
    return fitted.params, bread @ sums.T @ sums @ bread * count / (count - 1)


def _line(model):
    """The line of scores on centred predictions."""
    return _fitted(model, sm.add_constant(model.predicted - model.predicted.mean()))


def test_the_intervals_of_a_choice_are_those_of_the_bent_line(model, new):
    chosen, (total, low, high) = model.recommend(
        new, objective="revenue", price="price", budget=200, cost=2.0
    )
    params, covariance = _fitted(model, _terms(model, model.aligned))
    terms = _terms(model, chosen["uplift"].to_numpy())
    errors = np.sqrt(np.einsum("ij,jk,ik->i", terms, covariance, terms))
    assert chosen["expected"].to_numpy() == pytest.approx(terms @ params)
    assert (chosen["high"] - chosen["expected"]).to_numpy() == pytest.approx(
        1.959964 * errors, rel=1e-6
    )
    assert (chosen["expected"] - chosen["low"]).to_numpy() == pytest.approx(
        1.959964 * errors, rel=1e-6
    )
    whole = chosen["price"].to_numpy() @ terms
    assert len(chosen) == 100
    assert total == pytest.approx(whole @ params)
    half = 1.959964 * np.sqrt(whole @ covariance @ whole)
    assert (low, high) == pytest.approx((total - half, total + half), rel=1e-6)


def test_the_line_s_predictions_have_the_spread_of_the_model_in_every_fold(model):
    found = uplift._aligned(
        np.array([1.0, 3.0, 0.0, 4.0, 2.0, 2.0]), np.array([0, 0, 1, 1, 2, 2]), 5.0
    )
    assert found == pytest.approx([-3.0, 7.0, -3.0, 7.0, 2.0, 2.0])
    # folds have the same mean, so that equal spreads in them are that of all rows
    assert model.aligned.std() == pytest.approx(model.predict(model.x).std())
    assert model.aligned.mean() == pytest.approx(model.predicted.mean())


def test_totals_are_unbiased():
    """Distances from the truth average 0 within 3 of their errors."""
    runs = 40
    distances = []
    for seed in range(runs):
        trained = UpliftModel.train(
            shoppers(600, 100 + seed), "t", "y", ["need", "loyal"], cluster="user_id", seed=seed
        )
        chosen, (total, low, high) = trained.recommend(shoppers(2000, 5000 + seed), budget=400)
        distances.append((total - chosen["effect"].sum()) / (high - low) * 2 * 1.959964)
    assert abs(np.mean(distances)) < 3 / np.sqrt(runs)


class _Column:
    """A model that predicts a column of its rows."""

    def __init__(self, name):
        self.name = name

    def predict(self, rows):
        return rows[self.name].to_numpy()


def _told(uplift):
    """A model whose predictions are the column ``gain``, trained on some rows."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"gain": rng.random(60)})
    score = x["gain"].to_numpy() + rng.normal(size=60)
    parts = (
        score,
        x["gain"].to_numpy(),
        np.arange(60),
        x,
        "dr",
        _Column("gain"),
        _Column("gain").predict,
    )
    encoder = Covariates.fit(x, ["gain"])
    model = UpliftModel("t", "y", ("gain",), *parts, covariates=encoder)
    return model, pd.DataFrame({"gain": uplift})


@pytest.mark.parametrize("objective", ["uplift", "revenue"])
def test_a_budget_buys_most_by_gain_a_unit_of_cost(objective):
    """Two cheap rows together beat the best one; what is taken is the best of all sets of rows that
    fit.
    """
    model, rows = _told([0.5, 0.3, 0.3, -0.2, 0.1])
    rows = rows.assign(
        cost=[10.0, 4.0, 5.0, 1.0, 8.0], price=[1.0, 2.0, 2.0, 3.0, 1.0], item=list("abcde")
    )
    chosen, _ = model.recommend(rows, objective=objective, price="price", budget=10.0, cost="cost")
    worth = rows["gain"] * (rows["price"] if objective == "revenue" else 1)
    sets = chain.from_iterable(combinations(range(5), count) for count in range(6))
    best = max(
        (one for one in map(list, sets) if rows["cost"][one].sum() <= 10),
        key=lambda one: worth[one].sum(),
    )
    assert sorted(chosen["item"]) == rows["item"][best].tolist() == ["b", "c"]
    assert chosen["cost"].sum() <= 10
    one, _ = model.recommend(rows, objective=objective, price="price", budget=4.5, cost="cost")
    assert one["item"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"objective": "clicks"}, "unknown objective 'clicks'; known: uplift, relevance, revenue"),
        ({"objective": "revenue"}, "needs price"),
        ({"k": 0}, "k: a whole number of at least 1 is needed, not 0"),
        ({"k": 1.5}, "k: a whole number of at least 1 is needed, not 1.5"),
        ({"budget": "3"}, "budget: a number of at least 0 is needed, not '3'"),
        ({"cost": np.nan}, "cost: a number of at least 0 is needed, not nan"),
        ({"cost": "name"}, "candidates: column 'name' must hold numbers"),
        ({"k": 1, "per": "mixed"}, "candidates: column 'mixed' mixes ids of types"),
        ({"budget": 0}, "budget=0 must be above 0"),
        ({"budget": 5, "cost": 0}, "cost: 4000 rows cost nothing or less"),
        ({"k": 1, "per": "who"}, "no column 'who'"),
    ],
)
def test_bad_choices(model, new, how, message):
    mixed = pd.Series([1, "1"] * 2000, dtype=object, index=new.index)
    with pytest.raises(ValueError, match=message):
        model.recommend(new.assign(name="cheap", mixed=mixed), **how)


def test_groups_of_effects_hold_two_clusters_at_least(model):
    clusters = model.groups.max() + 1
    with pytest.raises(ValueError, match=f"count={clusters}: {clusters} rows or clusters are"):
        model.grouped(int(clusters))
    with pytest.raises(ValueError, match="count: a whole number of at least 1 is needed, not 0"):
        model.grouped(0)


def test_predictions_that_differ_by_rounding_have_no_slope(model):
    rounding = np.spacing(0.2) * (np.arange(len(model.predicted)) % 3 - 1)
    flat = replace(model, predicted=0.2 + rounding)
    assert np.isnan(flat.calibration().loc["slope"]).all()
    assert flat.calibration().loc["average", "value"] == pytest.approx(model.score.mean())


def test_incremental_outcomes_by_hand():
    score = np.array([3, 1, 2, 0])
    uplift = np.array([0.3, 0.1, 0.2, 0.0])
    users = np.array([1, 1, 2, 2])
    value, low, high = incremental_outcomes(score, uplift, users, share=0.5)
    assert value == pytest.approx(250)
    assert (low, high) == pytest.approx((200, 300))  # a draw holds one of the two users, or both
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        incremental_outcomes(score, uplift, users, share=0)


def test_the_bootstrap_of_incremental_outcomes_draws_users():
    """A width of 4,000 draws is known within 1.5%; by hand it is that of a ratio of sums over
    users.
    """
    rng = np.random.default_rng(2)
    users = rng.integers(150, size=1200)
    uplift = 0.2 + 0.1 * rng.normal(size=150)[users] + 0.05 * rng.normal(size=1200)
    score = rng.normal(size=1200)
    value, low, high = incremental_outcomes(score, uplift, users, share=0.5, n_boot=4000)
    top = np.argsort(-score)[:600]
    left = pd.Series(uplift[top] - uplift[top].mean()).groupby(users[top]).sum()
    assert value == pytest.approx(1000 * uplift[top].mean())
    assert high - low == pytest.approx(
        1000 * 2 * 1.959964 * np.sqrt((left**2).sum()) / 600, rel=0.06
    )
    blind = incremental_outcomes(score, uplift, np.arange(1200), share=0.5, n_boot=4000)
    assert blind[2] - blind[1] < 0.7 * (high - low)
    twice = incremental_outcomes(
        np.r_[score, score], np.r_[uplift, uplift], np.r_[users, users], share=0.5, n_boot=4000
    )
    assert twice == pytest.approx((value, low, high))


def _tiny(score, predicted, groups=None, **columns):
    """A model of these scores and predictions; of new rows it predicts their column ``gain``,
    relevance ``seen``.
    """
    n = len(score)
    x = pd.DataFrame({"gain": predicted, "seen": 0.0})
    groups = np.arange(n) if groups is None else np.asarray(groups)
    parts = np.asarray(score, dtype=float), np.asarray(predicted, dtype=float), groups, x
    learned = ("dr", _Column("gain"), _Column("seen").predict)
    encoder = Covariates.fit(x, ["gain", "seen"])
    return UpliftModel("t", "bought", ("gain", "seen"), *parts, *learned, covariates=encoder)


def test_groups_ranks_and_ties_by_hand():
    """Ties get their mean rank; a prediction at an edge belongs to the group above."""
    predicted = [0.1, 0.3, 0.3, 0.2, 0.5, 0.4, 0.7]
    tiny = _tiny([1.0, 0.0, 2.0, 4.0, -1.0, 3.0, 5.0], predicted, [0, 0, 1, 2, 3, 4, 5])
    ranks = np.array([7, 4.5, 4.5, 6, 2, 3, 1]) / 8
    assert tiny.qini()[0] == pytest.approx((tiny.score * (0.5 - ranks)).mean())
    assert tiny.auuc()[0] == pytest.approx((tiny.score * (1 - ranks)).mean())
    table = tiny.grouped(3)  # edges at 0.3 and 0.4
    assert table.index.name == "group"
    assert table["predicted"].tolist() == pytest.approx([0.15, 0.3, 1.6 / 3])
    assert table["value"].tolist() == pytest.approx([2.5, 1.0, 7 / 3])
    left = [1.0 - 2.5, 4.0 - 2.5]  # of the first group, in clusters 0 and 2
    error = np.sqrt((left[0] ** 2 + left[1] ** 2) * 6 / 5) / 2
    assert table.loc[0, "high"] - table.loc[0, "value"] == pytest.approx(1.959964 * error)
    assert len(_tiny(np.arange(20.0), np.arange(20.0)).grouped()) == 5
    # nobody has a prediction below the upper edge: the groups 0 to 1 have no rows
    with warnings.catch_warnings(action="error"):
        same = _tiny(np.arange(20.0), np.r_[np.full(18, 0.1), 0.2, 0.3]).grouped(3)
    assert same.index.tolist() == [2]
    assert same["value"].tolist() == [9.5]
    line = tiny.calibration().loc["slope"]
    assert repr(tiny) == (
        "UpliftModel of t on bought from 7 rows; slope of effects on predictions "
        f"{line['value']:.2f} [{line['low']:.2f}, {line['high']:.2f}]"
    )


def _offers():
    """What is predicted, seen, earned and spent of seven offers to two users."""
    return pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 2, 2, 2],
            "gain": [0.3, 0.2, 0.4, 0.1, -0.2, 0.0, 0.25],
            "seen": [0.5, 0.9, 0.1, -0.1, 0.7, 0.3, 0.6],
            "earns": [1.0, 4.0, 1.0, 20.0, 9.0, 1.0, 2.0],
            "costs": [3.0, 1.0, 4.0, 2.0, 1.0, 1.0, 2.5],
        },
        index=list("abcdefg"),
    )


@pytest.mark.parametrize(
    ("how", "taken"),
    [
        ({}, "cagbd"),  # nothing of 0 or less
        ({"k": 1}, "cg"),
        ({"k": 2}, "cagd"),
        ({"k": 2, "per": "costs"}, "cagbd"),
        ({"objective": "relevance"}, "begafc"),
        ({"objective": "relevance", "k": 1}, "be"),
        ({"objective": "revenue", "price": "earns"}, "dbgca"),
        ({"objective": "revenue", "price": "earns", "k": 1}, "db"),
        ({"objective": "uplift", "price": "earns"}, "cagbd"),  # a price is no matter of uplift
        ({"budget": 3}, "cag"),  # a cost of 1 a row
        ({"budget": 2.9}, "ca"),
        ({"budget": 10, "cost": 5.0}, "ca"),
        # then c, which is too dear: nothing cheaper is taken in its place
        ({"budget": 3.5, "cost": "costs"}, "b"),
        ({"budget": 7.5, "cost": "costs"}, "bcg"),
        ({"budget": 8.0, "cost": "costs", "k": 1}, "cg"),
        ({"budget": 3.0, "cost": "costs", "objective": "revenue", "price": "earns"}, "db"),
    ],
)  # fmt: skip
def test_what_is_taken_by_hand(how, taken):
    rows = _offers()
    chosen, _ = _tiny(np.arange(9.0), np.linspace(0, 1, 9)).recommend(rows, **how)
    assert "".join(chosen.index) == taken


def test_what_is_told_of_a_choice_by_hand():
    tiny = _tiny([0.0, 0.4, 0.2, 0.8], [0.1, 0.2, 0.3, 0.8])
    slope, level = np.polyfit(tiny.predicted, tiny.score, 1)
    rows = _offers()
    chosen, (total, _, _) = tiny.recommend(
        rows, objective="revenue", price="earns", budget=9, cost="costs"
    )
    assert total == pytest.approx((chosen["earns"] * (level + slope * chosen["gain"])).sum())
    assert chosen["expected"].to_numpy() == pytest.approx(
        (level + slope * chosen["gain"]).to_numpy()
    )
    assert chosen["objective"].tolist() == (chosen["gain"] * chosen["earns"]).tolist()
    assert chosen["uplift"].tolist() == chosen["gain"].tolist()
    assert chosen["relevance"].tolist() == chosen["seen"].tolist()
    assert "cost_of_row" not in chosen
    for name, row in chosen.iterrows():
        gain = level + slope * row["gain"]
        shown, anyway = (
            float(part.split("%")[0]) / 100
            for part in (row["why"].removeprefix("bought: "), row["why"].split(", ")[1])
        )
        assert 0 <= anyway <= shown <= 1
        assert shown - anyway == pytest.approx(gain, abs=0.1 * gain)
        assert shown == pytest.approx(max(row["seen"], gain), abs=0.1 * gain), name
    relevant, (other, _, _) = tiny.recommend(rows, objective="relevance", price="earns", k=1)
    assert relevant["objective"].tolist() == relevant["seen"].tolist()
    assert other == pytest.approx((level + slope * relevant["gain"]).sum())
    assert chosen.index.tolist()[0] == "d"


def test_refusals_of_choices_by_hand():
    tiny = _tiny(np.arange(9.0), np.linspace(0, 1, 9))
    rows = _offers()
    with pytest.raises(ValueError, match="cost: 2 rows cost nothing or less"):
        tiny.recommend(rows.assign(costs=[0.0, -1, 1, 1, 1, 1, 1]), budget=3, cost="costs")
    for how, name in (({"cost": "fee"}, "fee"), ({"objective": "revenue", "price": "fee"}, "fee")):
        with pytest.raises(ValueError, match=f"no column '{name}'"):
            tiny.recommend(rows, budget=3, **how)
    with pytest.raises(ValueError, match="column 'earns' has 1 missing value"):
        tiny.recommend(rows.assign(earns=[np.nan, *[1.0] * 6]), objective="revenue", price="earns")
    tiny.recommend(rows.drop(columns="user_id"), budget=3)  # without k nobody asks whose row it is


def test_categories_of_new_rows_are_those_of_training():
    frame = shoppers(1500, 9)
    frame["kind"] = np.array(list("abc"))[np.arange(1500) % 3]
    frame["y"] = (
        np.random.default_rng(0).random(1500) < 0.2 + 0.5 * frame["t"] * (frame["kind"] == "c")
    ).astype(int)
    model = UpliftModel.train(frame, "t", "y", ["loyal", "kind"])
    rows = frame[frame["kind"] == "c"].head(20)
    alone = model.predict(rows)
    among = model.predict(frame)[rows.index]
    assert alone == pytest.approx(among)
    assert alone.mean() > 0.3
    assert model.relevance(rows) == pytest.approx(model.relevance(frame)[rows.index])


@pytest.mark.parametrize("never", [False, True])
def test_the_verdict_is_that_of_the_average_effect(never):
    """Of a fifth of the rows, whose loyalty is highest, nobody is treated in one of the two."""
    frame = shoppers(2000, 11)
    if never:
        loyal = frame["loyal"] > frame["loyal"].quantile(0.8)
        frame["t"] = frame["t"].where(~loyal, 0)
    columns = ["need", "loyal"]
    found = UpliftModel.train(frame, "t", "y", columns, learner="dr_linear", cluster="user_id")
    average = effect(frame, "t", "y", adjustment=columns, cluster="user_id")
    assert (found.verdict, found.reasons) == (average.verdict, average.reasons)
    assert (found.verdict == "supported") != never
    assert bool(found.reasons) == never
    assert found.score.mean() == pytest.approx(average.value)


def _fitted_by_the_rarer_arm(y, t, x, groups, how):
    """Propensities and outcomes of both arms, by models that see the rarer one as treated."""
    if t.mean() <= 0.5:
        return nuisances.cross_fit(y, t, x, groups, how)
    return [part[:, ::-1] for part in nuisances.cross_fit(y, 1 - t, x, groups, how)]


def test_training_by_hand():
    """Rows in an order of their values; scores of folds of the seed; predictions of those of the
    next seed, their mean set to that of all folds; clusters together; relevance of the treated.
    """
    frame = shoppers(400, 10)
    columns = ["loyal", "need"]
    seed = 3
    model = UpliftModel.train(frame, "t", "y", columns, cluster="user_id", seed=seed, learner="dr")
    columns = list(model.x)
    order = np.argsort(frame[columns[-1]].to_numpy())  # no two values are alike
    ordered = frame.iloc[order]
    x = ordered[columns]
    t = ordered["t"].to_numpy()
    y = ordered["y"].to_numpy(dtype=float)
    groups = pd.factorize(ordered["user_id"])[0]
    chances, means = _fitted_by_the_rarer_arm(y, t, x, groups, Fitting(seed=seed))
    score = nuisances.dr_scores(y, t, chances, means)[0]
    assert model.score[order] == pytest.approx(score)
    predicted = np.empty(400)
    levels = np.empty(400)
    for train, test in GroupKFold(5, shuffle=True, random_state=seed + 1).split(x, groups=groups):
        predicted[test] = final_model(seed).fit(x.iloc[train], score[train]).predict(x.iloc[test])
        levels[test] = predicted[test].mean()
    assert model.predicted[order] == pytest.approx(predicted - levels + predicted.mean())
    loss = ((score - score.mean() - predicted + levels) ** 2).mean()
    assert model.chosen["loss"].tolist() == pytest.approx([score.var(), loss])
    assert model.chosen["explained"].tolist() == pytest.approx([0, 1 - loss / score.var()])
    assert model.predict(ordered) == pytest.approx(final_model(seed).fit(x, score).predict(x))
    assert model.groups.tolist() == pd.factorize(frame["user_id"])[0].tolist()
    assert (model.treatment, model.outcome, model.adjustment, model.learner) == (
        "t",
        "y",
        ("loyal", "need"),
        "dr",
    )
    assert model.x.equals(frame[columns].astype(float))
    assert sorted(columns) == ["loyal", "need"]
    assert model.events
    apart = UpliftModel.train(frame, "t", "y", columns, seed=seed, learner="dr")
    assert apart.groups.tolist() == list(range(400))
    seen = []

    def fake(rows):
        seen.append(rows)
        return Learned(lambda new: np.zeros(len(new)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LEARNERS, "s", fake)
        UpliftModel.train(frame, "t", "y", columns, cluster="user_id", seed=seed, learner="s")
    assert [len(rows.y) for rows in seen] == [320] * 5 + [400]
    for rows in seen:
        own = frame.loc[rows.x.index]
        assert rows.y.tolist() == own["y"].tolist()
        assert rows.t.tolist() == own["t"].tolist()
        assert rows.groups.tolist() == pd.factorize(own["user_id"])[0].tolist()
        assert rows.seed == seed
        assert rows.chances is None


def test_the_stack_by_hand():
    """Weights by least squares of scores on centred held-out predictions; the rest on the average."""
    frame = campaign(100, 3000)
    model = UpliftModel.train(frame, "t", "y", COLUMNS, learner=["dr_linear", "t_linear"])
    parts = {
        name: UpliftModel.train(frame, "t", "y", COLUMNS, learner=name)
        for name in ("dr_linear", "t_linear")
    }
    held_out = np.column_stack([part.predicted for part in parts.values()])
    levels = held_out.mean(axis=0)
    average = model.score.mean()

    def loss(weights):
        return np.mean((model.score - average - (held_out - levels) @ weights) ** 2)

    unit = loss([0, 0])
    found = minimize(
        lambda w: loss(w) / unit * 1e3,
        [0.1, 0.1],
        bounds=[(0, 1)] * 2,
        constraints={"type": "ineq", "fun": lambda w: 1 - w.sum()},
        tol=1e-12,
    ).x
    table = model.chosen
    assert table.index.tolist() == ["average", "dr_linear", "t_linear"]
    assert table["weight"].tolist() == pytest.approx([1 - found.sum(), *found], abs=1e-3)
    assert table["weight"].sum() == pytest.approx(1)
    assert table["loss"].iloc[1:].tolist() == pytest.approx([loss([1, 0]), loss([0, 1])])
    weights = table["weight"].to_numpy()[1:]
    fresh = campaign(100, 500, part=1)
    new = np.column_stack([part.predict(fresh) for part in parts.values()])
    assert model.predict(fresh) == pytest.approx(average + (new - levels) @ weights)
    # a row's prediction uses no weight that its own score had a part in
    order = canonical_order(model.x, frame["t"].to_numpy(), frame["y"].to_numpy())
    differences = (held_out - levels)[order]
    left = model.score[order] - average
    predicted = np.empty(3000)
    for train, test in models.folds(np.arange(3000), 1):
        own = stack_weights(differences[train], left[train])
        predicted[test] = average + differences[test] @ own
    assert model.predicted[order] == pytest.approx(predicted)
    assert model.learner == "stack"


@given(st.integers(0, 10_000), st.sampled_from([1e-8, 1.0, 1e8]))
@settings(max_examples=30, deadline=None)
def test_weights_are_the_best_of_all(seed, unit):
    """Against a grid of all weights of two candidates, in steps of a hundredth."""
    rng = np.random.default_rng(seed)
    predictions = rng.normal(size=(40, 2)) * rng.uniform(0.1, 3)
    score = predictions @ rng.uniform(-0.5, 1, size=2) + rng.normal(size=40)
    weights = stack_weights(unit * predictions, unit * score)
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-9

    def loss(w):
        return ((score - predictions @ w) ** 2).sum()

    steps = np.arange(101) / 100
    best = min(loss([a, b]) for a in steps for b in steps if a + b <= 1 + 1e-9)
    assert loss(weights) <= best + 1e-9


def test_without_differences_the_weights_go_to_the_average():
    assert stack_weights(np.ones((5, 2)), np.zeros(5)).tolist() == [0, 0]
    score = np.array([1.0, -1, 1, -1])
    assert stack_weights(-score[:, None], score) == pytest.approx([0])  # the wrong way round
    assert stack_weights(score[:, None], score) == pytest.approx([1])
    assert stack_weights(4 * score[:, None], score) == pytest.approx([0.25])
    assert stack_weights(0.5 * score[:, None], score) == pytest.approx([1])  # not 2


def test_the_same_effect_for_all_is_said_so():
    rng = np.random.default_rng(0)
    flat = _tiny(rng.normal(size=30) + 2, np.full(30, 2.0))
    found = flat.calibration()
    assert found.loc["average", "value"] == pytest.approx(flat.score.mean())
    assert found.loc["slope"].isna().all()
    assert repr(flat).endswith("from 30 rows; the same effect predicted for every row")
    chosen, (total, low, high) = flat.recommend(_offers())
    assert total == pytest.approx(len(chosen) * flat.score.mean())
    assert low < total < high


@pytest.fixture(scope="module")
def quick():
    """1,500 rows of a number as outcome, and the stack that was trained on them."""
    frame = shoppers(1500, 21)
    frame["sales"] = frame["y"] * frame["price"] + frame["need"]
    return frame, UpliftModel.train(frame, "t", "sales", ["need", "loyal"])


@pytest.mark.parametrize("unit", [1e-8, -3.0, 1e8])
def test_the_unit_of_an_outcome_scales_all(quick, unit):
    frame, model = quick
    other = UpliftModel.train(
        frame.assign(sales=unit * frame["sales"] + 7 * unit), "t", "sales", ["need", "loyal"]
    )
    new = shoppers(300, 22)
    size = abs(unit)
    near = {"rel": 1e-5, "abs": 1e-6 * size}
    assert other.score == pytest.approx(unit * model.score, **near)
    assert other.predicted == pytest.approx(unit * model.predicted, **near)
    assert other.predict(new) == pytest.approx(unit * model.predict(new), **near)
    assert other.relevance(new) == pytest.approx(
        unit * model.relevance(new) + 7 * unit, rel=1e-5, abs=1e-5 * size
    )
    lines = [one.calibration() for one in (model, other)]
    assert lines[1].loc["slope"].to_numpy() == pytest.approx(
        lines[0].loc["slope"].to_numpy(), rel=1e-5
    )
    assert lines[1].loc["average", "value"] == pytest.approx(
        unit * lines[0].loc["average", "value"], rel=1e-5
    )
    ends = [one.intervals(new) for one in (model, other)]
    assert ends[1]["value"].to_numpy() == pytest.approx(unit * ends[0]["value"].to_numpy(), **near)
    if unit > 0:
        totals = [one.recommend(new, budget=100)[1] for one in (model, other)]
        assert totals[1] == pytest.approx([unit * part for part in totals[0]], rel=1e-5)


def _clear(n, seed):
    """Columns a, b, c, treatment t, outcome y with hardly any noise, its effect on each row."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n))
    t = (rng.random(n) < np.where(a > 0, 0.6, 0.3)).astype(int)
    effect = 1 + 2 * (a > 0) * (b > 0) - (np.abs(c) > 1)
    y = 2 * a + 3 * (c > 0) + effect * t + 0.2 * rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": c, "t": t, "y": y}), effect


@pytest.fixture(scope="module")
def clear():
    frame, _ = _clear(800, 0)
    return frame, UpliftModel.train(frame, "t", "y", ["a", "b", "c"])


def test_fine_trees_are_weighed_where_the_outcome_is_explained(clear):
    """They take a fifth from the error of the best other; with noise they are not tried."""
    frame, model = clear
    assert model.chosen.index.tolist() == ["average", *CANDIDATES, *FINE_CANDIDATES]
    assert model.chosen.loc["x_fine", "weight"] > 0.5
    fresh, effect = _clear(2000, 1)
    rows = Rows(frame["y"].to_numpy(), frame["t"].to_numpy(), model.x, model.groups, 0, model.score)
    others = [LEARNERS[name](rows).predict(fresh[model.x.columns]) for name in CANDIDATES]
    errors = [np.sqrt(((one - effect) ** 2).mean()) for one in others]
    assert np.sqrt(((model.predict(fresh) - effect) ** 2).mean()) < 0.8 * min(errors)
    noise = 5 * np.random.default_rng(2).normal(size=len(frame))
    noisy = UpliftModel.train(frame.assign(y=frame["y"] + noise), "t", "y", ["a", "b", "c"])
    assert noisy.chosen.index.tolist() == ["average", *CANDIDATES]


@pytest.mark.parametrize("unit", [1e-8, -3.0])
def test_units_and_orders_change_nothing_for_fine_trees(clear, unit):
    frame, model = clear
    place = np.random.default_rng(0).permutation(len(frame))
    moved = frame.assign(y=unit * frame["y"] + 7 * unit, a=1e6 * frame["a"] + 1e7)
    other = UpliftModel.train(moved.iloc[place], "t", "y", ["c", "b", "a"])
    near = {"rel": 1e-4, "abs": 1e-4 * abs(unit)}
    assert other.predicted == pytest.approx(unit * model.predicted[place], **near)
    assert other.predict(moved) == pytest.approx(unit * model.predict(frame), **near)


def test_events_may_be_any_two_numbers():
    frame = shoppers(800, 23)
    model = UpliftModel.train(frame, "t", "y", ["need", "loyal"])
    other = UpliftModel.train(frame.assign(y=5e8 * frame["y"] + 1e9), "t", "y", ["need", "loyal"])
    assert other.predicted == pytest.approx(5e8 * model.predicted, rel=1e-6)
    assert other.relevance(frame) == pytest.approx(1e9 + 5e8 * model.relevance(frame))
    assert (model.events, other.events) == (True, False)


@pytest.mark.parametrize(("scale", "shift"), [(1e9, 0.0), (1e-9, 5.0), (86_400e3, 1.7e12)])
def test_the_unit_and_origin_of_a_covariate_change_nothing(quick, scale, shift):
    frame, model = quick

    def moved(of):
        return of.assign(need=scale * of["need"] + shift)

    other = UpliftModel.train(moved(frame), "t", "sales", ["need", "loyal"])
    assert other.predicted == pytest.approx(model.predicted, rel=1e-4, abs=1e-4)
    new = shoppers(300, 22)
    assert other.predict(moved(new)) == pytest.approx(model.predict(new), rel=1e-4, abs=1e-4)
    ends = [one.intervals(of).to_numpy() for one, of in ((model, new), (other, moved(new)))]
    assert ends[1] == pytest.approx(ends[0], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("cluster", [None, "user_id"])
def test_the_order_of_rows_and_columns_changes_nothing(cluster):
    frame = shoppers(700, 24).assign(kind=np.arange(700) % 3)
    columns = ["kind", "need"]
    model = UpliftModel.train(frame, "t", "y", columns, cluster=cluster)
    place = np.random.default_rng(0).permutation(700)
    other = UpliftModel.train(frame.iloc[place], "t", "y", columns, cluster=cluster)
    assert other.score.tolist() == model.score[place].tolist()
    assert other.predicted.tolist() == model.predicted[place].tolist()
    assert other.predict(frame).tolist() == model.predict(frame).tolist()
    assert other.calibration().to_numpy() == pytest.approx(model.calibration().to_numpy())
    turned = UpliftModel.train(frame, "t", "y", columns[::-1], cluster=cluster)
    assert turned.predicted.tolist() == model.predicted.tolist()
    assert turned.predict(frame).tolist() == model.predict(frame).tolist()


def test_canonical_order_sorts_by_values():
    x = pd.DataFrame({"a": [2.0, 1.0, 1.0, 1.0], "b": [0.0, 3.0, 3.0, 2.0]}, index=list("zzyx"))
    assert canonical_order(x, np.array([0, 1, 0, 0])).tolist() == [0, 3, 2, 1]


ARMS = {
    "words": (np.array(["no", "yes"], dtype=object), ("no", "yes")),
    "1/2": (np.array([1, 2]), (1, 2)),
    "-1/1": (np.array([-1, 1]), (-1, 1)),
    "floats": (np.array([0.5, 1.5]), (0.5, 1.5)),
    "bool": (np.array([False, True]), (False, True)),
}


@pytest.mark.parametrize("kind", [*ARMS, "category", "string", "nullable"])
def test_arms_in_words_are_as_arms_in_numbers(kind):
    frame = shoppers(300, 25)
    expected = UpliftModel.train(frame, "t", "y", ["need"], learner="dr_linear")
    levels, contrast = ARMS.get(kind, ARMS["words"])
    arm = pd.Series(levels[frame["t"]], index=frame.index)
    if kind in ("category", "string"):
        arm = arm.astype(kind)
    if kind == "nullable":
        arm = frame["t"].astype("Int64")
        contrast = (0, 1)
    found = UpliftModel.train(
        frame.assign(t=arm), "t", "y", ["need"], learner="dr_linear", contrast=contrast
    )
    assert found.score.tolist() == expected.score.tolist()
    assert found.predicted.tolist() == expected.predicted.tolist()
    assert found.contrast == contrast
    assert f"of t ({contrast[0]} -> {contrast[1]}) on y" in repr(found)
    turned = UpliftModel.train(
        frame.assign(t=arm), "t", "y", ["need"], learner="dr_linear", contrast=contrast[::-1]
    )
    assert turned.score.mean() == pytest.approx(-expected.score.mean(), rel=0.05)
    if kind not in ("bool", "nullable"):
        with pytest.raises(ValueError, match=r"treatment 't': must be 0 or 1 .* give contrast="):
            UpliftModel.train(frame.assign(t=arm), "t", "y", ["need"])


def test_of_several_arms_two_are_compared():
    """The scores are those of the levels' propensities; the third arm's outcomes do not matter."""
    rng = np.random.default_rng(26)
    n = 1200
    x = rng.normal(size=n)
    arm = rng.choice(["none", "mail", "call"], size=n)
    gain = np.where(arm == "mail", 1 + x, np.where(arm == "call", 50.0, 0.0))
    frame = pd.DataFrame({"x": x, "arm": arm, "y": gain + rng.normal(size=n)})
    model = UpliftModel.train(frame, "arm", "y", ["x"], contrast=("none", "mail"))
    _, low, high = model.calibration().loc["average"]
    assert low < 1 < high
    assert high - low < 0.4
    assert model.predict(frame) == pytest.approx(1 + x, abs=0.6)
    other = frame.assign(y=frame["y"] + 9 * (arm == "call") * x)
    again = UpliftModel.train(other, "arm", "y", ["x"], contrast=("none", "mail"))
    assert again.predicted == pytest.approx(model.predicted)
    meta = UpliftModel.train(frame, "arm", "y", ["x"], contrast=("none", "mail"), learner="r")
    assert np.corrcoef(meta.predict(frame), x)[0, 1] > 0.8
    with pytest.raises(ValueError, match="'p' is one of two levels, and the treatment has more"):
        UpliftModel.train(
            frame.assign(p=0.3), "arm", "y", ["x"], contrast=("none", "mail"), propensity="p"
        )


def test_known_propensities_are_used():
    frame = shoppers(600, 27)
    frame["p"] = 1 / (1 + np.exp(-0.5 * frame["loyal"]))
    seen = []

    def fake(rows):
        seen.append(rows.chances[:, 1])
        assert rows.chances[:, 0] == pytest.approx(1 - seen[-1])
        assert seen[-1] == pytest.approx(frame.loc[rows.x.index, "p"].to_numpy())
        return Learned(lambda new: np.zeros(len(new)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LEARNERS, "s", fake)
        model = UpliftModel.train(frame, "t", "y", ["need", "loyal"], propensity="p", learner="s")
    assert len(seen) == 6
    columns = list(model.x)
    order = np.argsort(frame[columns[-1]].to_numpy())
    ordered = frame.iloc[order]
    x = ordered[columns]
    y = ordered["y"].to_numpy(dtype=float)
    t = ordered["t"].to_numpy()
    means = _fitted_by_the_rarer_arm(y, t, x, np.arange(600), Fitting())[1]
    p = ordered["p"].to_numpy()
    by_hand = means[:, 1] - means[:, 0]
    by_hand += t / p * (y - means[:, 1]) - (1 - t) / (1 - p) * (y - means[:, 0])
    assert model.score[order] == pytest.approx(by_hand)


def test_reasons_agree_with_the_gain():
    """Events: both chances lie in [0, 1] and differ by the gain; numbers are no percentages."""
    rng = np.random.default_rng(1)
    gains = rng.uniform(-1, 1, 200)
    events = _tiny(np.arange(9.0), np.arange(9.0))
    numbers = replace(events, events=False)
    sizes = 10.0 ** rng.integers(-4, 1, 200)
    for shown, gain in zip(rng.uniform(-0.2, 1.2, 200), gains * sizes, strict=True):
        text = events._reason(shown, gain)
        seen, anyway = (float(part) / 100 for part in re.findall(r"(-?[\d.]+)%", text))
        assert 0 <= min(seen, anyway) <= max(seen, anyway) <= 1
        assert seen - anyway == pytest.approx(gain, rel=0.11, abs=2e-6)
        if max(gain, 0) <= shown <= min(1, 1 + gain):
            assert seen == pytest.approx(shown, abs=abs(gain) / 9 + 1e-6)
    assert numbers._reason(1234.5, 230.0) == "bought: 1234 when shown, 1004 anyway"
    assert numbers._reason(-0.5, 0.25) == "bought: -0.50 when shown, -0.75 anyway"
    assert events._reason(0.3, 0.353) == "bought: 35% when shown, 0% anyway"
    assert events._reason(0.034, 0.004) == "bought: 3.40% when shown, 3.00% anyway"
    assert events._reason(0.3, 0.0) == "bought: 30% when shown, 30% anyway"


@pytest.mark.parametrize(
    "name", ["uplift", "relevance", "objective", "expected", "low", "high", "why"]
)
def test_columns_of_candidates_are_not_overwritten(name):
    tiny = _tiny(np.arange(9.0), np.linspace(0, 1, 9))
    with pytest.raises(ValueError, match=f"candidates: '{name}' would be overwritten"):
        tiny.recommend(_offers().assign(**{name: 1.0}))


@pytest.mark.parametrize(
    "how",
    [{}, {"k": 1}, {"budget": 5.5, "cost": "costs"}, {"k": 2, "budget": 5.5, "cost": "costs"}],
)
def test_labels_of_candidates_may_repeat_and_equal_rows_keep_their_order(how):
    tiny = _tiny(np.arange(9.0), np.linspace(0, 1, 9))
    rows = pd.concat([_offers(), _offers()]).assign(number=np.arange(14))
    fresh, right = tiny.recommend(rows.reset_index(drop=True), **how)
    found, total = tiny.recommend(rows.set_axis([5] * 14), **how)
    assert found["number"].tolist() == fresh["number"].tolist()
    assert found["number"].is_unique
    assert total == right
    twins = found[found.duplicated(["user_id", "gain"], keep=False)]
    for _, pair in twins.groupby(["user_id", "gain"]):
        assert pair["number"].is_monotonic_increasing


def test_curves_against_causalml():
    """In a trial with an even coin and no columns, AIPW scores are differences of means: the areas
    are CausalML's up to the drift of the shares of the arms along the ranking.
    """
    metrics = pytest.importorskip("causalml.metrics")
    rng = np.random.default_rng(5)
    n = 20_000
    predicted = rng.normal(size=n)
    t = np.tile([0, 1], n // 2)
    y = 1 + predicted * t + rng.normal(size=n)
    score = 2 * (2 * t - 1) * (y - y.mean())
    tiny = _tiny(score, predicted)
    table = pd.DataFrame({"y": y, "w": t, "model": predicted})
    area = metrics.auuc_score(table, normalize=False)["model"] / n
    assert tiny.auuc()[0] == pytest.approx(area, abs=0.02)
    # CausalML's Qini counts treated rows only: outcomes gained among the half that was treated
    qini = metrics.qini_score(table, normalize=False)["model"] / (n / 2)
    assert tiny.qini()[0] == pytest.approx(qini, abs=0.02)
    assert tiny.qini()[0] == pytest.approx(1 / (2 * np.sqrt(np.pi)), abs=0.03)  # E[τ (F(τ) - ½)]


def test_the_default_beats_two_logistic_regressions_on_a_bent_surface():
    """A campaign of another seed than those of the benchmark, with true effects."""
    from causal_lib.experiments.inference import uplift as benchmark

    rows = pd.DataFrame(benchmark._judged(103, 8000)).set_index("method")
    assert rows.loc["default", "qini"] > rows.loc["logistic", "qini"]
    weights = rows.loc["default", "weights"]
    assert sorted(weights) == sorted(["average", *CANDIDATES])
    assert sum(weights.values()) == pytest.approx(1)


def test_intervals_of_a_causal_forest_are_its_own():
    rng = np.random.default_rng(1)
    x = pd.DataFrame({"gain": rng.random(30), "seen": 0.0})
    forest = Learned(
        lambda rows: rows["gain"].to_numpy(),
        lambda rows, level: (rows["gain"] - level, rows["gain"] + 2 * level),
    )
    model = replace(_tiny(np.arange(30.0), x["gain"]), learner="causal_forest", model=forest)
    for level in (0.95, 0.5):
        found = model.intervals(x.tail(4), **({} if level == 0.95 else {"level": level}))
        assert found.index.tolist() == [26, 27, 28, 29]
        assert found["value"].tolist() == x["gain"].tail(4).tolist()
        assert (found["value"] - found["low"]).to_numpy() == pytest.approx(np.full(4, level))
        assert (found["high"] - found["value"]).to_numpy() == pytest.approx(np.full(4, 2 * level))
    for level in (0, 1):
        with pytest.raises(ValueError, match=r"level must lie in \(0, 1\)"):
            model.intervals(x, level)


def test_incremental_outcomes_of_shares_and_draws_by_hand():
    rng = np.random.default_rng(3)
    score = rng.normal(size=47)
    uplift = rng.normal(size=47)
    users = rng.integers(9, size=47)
    for share, count in ((0.1, 5), (0.3, 14), (1.0, 47), (0.001, 1)):
        found = incremental_outcomes(score, uplift, users, share=share, n_boot=50, seed=8)
        top = np.argsort(-score)[:count]
        sums = (
            pd.DataFrame({"sum": uplift[top], "count": 1.0})
            .groupby(users[top], sort=False)
            .sum()
            .to_numpy()
        )
        drawn = (
            np.random.default_rng(8).multinomial(len(sums), [1 / len(sums)] * len(sums), size=50)
            @ sums
        )
        ends = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
        assert found == pytest.approx((1000 * uplift[top].mean(), *(1000 * ends)))
    assert incremental_outcomes(score, uplift, users) == incremental_outcomes(
        score, uplift, users, share=0.1, n_boot=200, seed=0
    )
    tied = incremental_outcomes(np.zeros(4), np.array([1.0, 2, 3, 4]), np.zeros(4), share=0.5)
    assert tied == pytest.approx((2500, 2500, 2500))  # whatever the order of the rows
    some = incremental_outcomes(np.array([3, 1, 1, 1]), np.arange(4.0), np.zeros(4), share=0.5)
    assert some[0] == pytest.approx(1000 * (0 + (1 + 2 + 3) / 3) / 2)
    with pytest.raises(ValueError, match="score: 1 of 2 values are missing"):
        incremental_outcomes(np.array([np.nan, 1]), np.ones(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], not 1.1"):
        incremental_outcomes(score, uplift, users, share=1.1)


@pytest.mark.filterwarnings("default:(train|outcome).* holds")
def test_codes_for_missing_make_a_model_weak():
    """Ten outcomes of -999 make effects of thousands; a column's code hides it in 5% of the rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    t = rng.integers(0, 2, 600)
    frame = pd.DataFrame({"x": x, "t": t, "y": x + t + rng.normal(size=600)})
    how = {"learner": "dr_linear"}
    assert UpliftModel.train(frame, "t", "y", ["x"], **how).verdict == "supported"
    spoilt = frame.assign(y=frame["y"].where(frame.index > 9, -999))
    found = UpliftModel.train(spoilt, "t", "y", ["x"], **how)
    assert found.verdict == "weak"
    assert found.reasons[0].startswith("outcome 'y' holds -999 in 10 rows, far from all its other")
    spoilt = frame.assign(x=frame["x"].where(frame.index > 29, 9999))
    found = UpliftModel.train(spoilt, "t", "y", ["x"], **how)
    assert found.verdict == "weak"
    assert found.reasons[0].startswith("5.0% of the rows hold a code for missing in x")
    # no row's effect is continued from the code: those with it have one of their own
    new = pd.DataFrame({"x": [0.0, 9999.0]})
    assert np.abs(found.predict(new) - 1).max() < 1
