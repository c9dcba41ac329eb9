"""Uplift models against effects that are known: ranking, calibration, intervals, choices under k and budget."""

from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier

from causal_lib.inference import UpliftModel, estimators, incremental_outcomes


def shoppers(n, seed):
    """The loyal buy anyway, those in need when shown; two rows a user."""
    rng = np.random.default_rng(seed)
    need, loyal = rng.normal(size=(2, n))
    chance = 1 / (1 + np.exp(-0.5 * loyal))
    t = (rng.random(n) < chance).astype(int)
    effect = np.clip(0.15 + 0.1 * (need - loyal), 0, 0.5)
    y = (rng.random(n) < np.clip(0.25 + 0.2 * loyal, 0, 0.5) + effect * t).astype(int)
    frame = pd.DataFrame({"user_id": np.arange(n) // 2, "need": need, "loyal": loyal, "t": t, "y": y, "effect": effect})
    return frame.assign(price=rng.uniform(1, 10, n).round(2))


@pytest.fixture(scope="module")
def model():
    """Trained on 8,000 rows."""
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
    treated, columns = shoppers(8000, 0).query("t == 1"), ["need", "loyal"]
    boosted = HistGradientBoostingClassifier(**estimators.BOOST, random_state=0).fit(treated[columns], treated["y"])
    assert model.relevance(new) == pytest.approx(boosted.predict_proba(new[columns])[:, 1])


def test_calibration_groups_and_qini_see_what_is_there(model):
    found = model.calibration()
    assert found.loc["average", "low"] < shoppers(8000, 0)["effect"].mean() < found.loc["average", "high"]
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


def test_qini_and_slope_by_hand():
    score, predicted = np.array([1.0, 0.0, 3.0, 2.0]), np.array([0.1, 0.0, 0.3, 0.2])
    tiny = UpliftModel("t", "y", (), score, predicted, np.arange(4), pd.DataFrame(), "dr", None, None)
    assert tiny.auuc()[0] == pytest.approx(np.mean(score * (1 - np.array([3, 4, 1, 2]) / 5)))
    assert tiny.auuc()[0] - tiny.qini()[0] == pytest.approx(score.mean() / 2)
    parts = score * (1 - np.array([3, 4, 1, 2]) / 5)
    assert tiny.auuc()[2] - tiny.auuc()[1] == pytest.approx(2 * norm.ppf(0.975) * parts.std(ddof=1) / 2)
    assert tiny.qini()[0] == pytest.approx(np.mean(score * (0.5 - np.array([3, 4, 1, 2]) / 5)))
    assert tiny.calibration()["value"].tolist() == pytest.approx([1.5, np.polyfit(predicted, score, 1)[0]])
    assert tiny.grouped(2)["value"].tolist() == pytest.approx([0.5, 2.5])


def test_intervals_by_hand_with_clusters(model):
    """Errors sum within users: scores of pairs of rows that share half of their noise, as no user's rows here do."""
    rng = np.random.default_rng(1)
    shared = model.score + 2 * rng.normal(size=len(model.score) // 2)[model.groups]
    model = replace(model, score=shared)
    count, n = model.groups.max() + 1, len(model.score)

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
        assert tuple(row[["value", "low", "high"]]) == ends(mean, inside * (shared - mean), inside.sum())
    ranks = pd.Series(-model.predicted).rank().to_numpy() / (n + 1)
    for found, gain in ((model.qini(), shared * (0.5 - ranks)), (model.auuc(), shared * (1 - ranks))):
        assert found == ends(gain.mean(), gain - gain.mean())


def test_copies_of_a_cluster_count_once(model):
    rows = np.arange(400)
    once = replace(model, score=model.score[:400], predicted=model.predicted[:400], groups=rows)
    both = np.r_[rows, rows]
    twice = replace(once, score=model.score[both], predicted=model.predicted[both], groups=both)
    blind = replace(twice, groups=np.arange(800))

    def width(of):
        ends = np.vstack([of.calibration().to_numpy(), of.grouped()[["value", "low", "high"]], of.qini(), of.auuc()])
        return ends[:, 2] - ends[:, 1]

    assert width(twice) == pytest.approx(width(once), rel=5e-3)  # the places of copies differ a little
    assert width(blind) == pytest.approx(width(once) / np.sqrt(2), rel=1e-2)


def test_another_learner_is_judged_by_the_same_scores():
    frame = shoppers(1500, 2)
    found, default = (
        UpliftModel.train(frame, "t", "y", ["need", "loyal"], learner=learner) for learner in ("uplift_tree", "dr")
    )
    assert found.score.tolist() == default.score.tolist()
    assert np.corrcoef(found.predicted, frame["effect"])[0, 1] > 0.2
    assert (found.learner, default.learner) == ("uplift_tree", "dr")
    with pytest.raises(
        ValueError, match="learner 'uplift_tree' has no intervals; train with learner 'dr' or 'causal_f"
    ):
        found.intervals(frame)


def test_predictions_do_not_know_the_row():
    """A learner that overfits is seen through: on noise its in-sample predictions agree with the scores, ours do not."""
    frame = shoppers(1000, 5).assign(y=np.random.default_rng(5).integers(2, size=1000))
    found = UpliftModel.train(frame, "t", "y", ["need", "loyal"], learner="t", cluster="user_id")
    assert np.corrcoef(found.predict(frame), found.score)[0, 1] > 0.2
    assert found.calibration().loc["slope", "low"] < 0.1
    assert found.qini()[1] < 0


def test_intervals_of_the_projection(model, new):
    ends, at_once = model.intervals(new), model.intervals(new, simultaneous=True)
    assert ends.index.equals(new.index)
    inside = (ends["low"] <= new["effect"]) & (new["effect"] <= ends["high"])
    assert inside.mean() > 0.8  # the effect is clipped, which a quadratic is not
    terms = [np.column_stack([np.ones(len(x)), x, x**2, x.prod(axis=1)]) for x in (model.x, new[["need", "loyal"]])]
    fitted = sm.OLS(model.score, terms[0]).fit(
        cov_type="cluster", cov_kwds={"groups": model.groups, "use_correction": False}
    )
    error = np.sqrt(np.einsum("ij,jk,ik->i", terms[1], fitted.cov_params(), terms[1]) * 4000 / 3999)
    assert ends["value"].to_numpy() == pytest.approx(terms[1] @ fitted.params)
    assert ((ends["high"] - ends["low"]) / 2).to_numpy() == pytest.approx(1.959964 * error, rel=1e-6)
    ratio = (at_once["high"] - at_once["low"]) / (ends["high"] - ends["low"])
    assert ratio.min() == pytest.approx(ratio.max())
    assert 1.2 < ratio.min() < 3
    assert np.corrcoef(ends["value"], new["effect"])[0, 1] > 0.75


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"learner": "magic"},
            "unknown learner 'magic'; known: dr, s, t, x, r, uplift_tree, uplift_forest, causal_forest",
        ),
        ({"learner": "uplift_tree", "outcome": "price"}, "need an outcome of 0 and 1; take another learner"),
        ({"adjustment": []}, "adjustment is empty: effects can vary only with columns"),
        ({"adjustment": ["need", "t"]}, "adjustment holds t itself"),
        ({"adjustment": ["need", "y"]}, "adjustment holds y itself"),
        ({"treatment": "price"}, "treatment 'price': must be 0 or 1"),
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
    with pytest.raises(ValueError, match="intervals for single rows only; simultaneous needs 'dr'"):
        forest.intervals(new, simultaneous=True)
    with pytest.raises(ValueError, match="no intervals with clusters, which its trees ignore; use 'dr'"):
        forest.intervals(new)
    few = replace(model, score=model.score[:50], x=model.x[:50], groups=np.arange(50))
    with pytest.raises(ValueError, match="50 rows or clusters are too few to project effects on 2 columns"):
        few.intervals(new)


def test_choices_keep_k_budget_and_sign(model, new):
    chosen, (total, low, high) = model.recommend(new, k=1)
    assert chosen.groupby("user_id").size().max() == 1
    assert (chosen["uplift"] > 0).all()
    better = new.assign(uplift=model.predict(new)).groupby("user_id")["uplift"].max()
    assert chosen.set_index("user_id")["uplift"].to_dict() == better[better > 0].to_dict()
    assert low < total < high
    assert low < chosen["effect"].sum() < high
    assert chosen["why"].str.fullmatch(r"y: \d+% when shown, \d+% anyway").all()
    assert chosen["expected"].sum() == pytest.approx(total)
    line = model.calibration()["value"]  # the expected effect is a point of its line
    point = line["average"] + line["slope"] * (chosen["uplift"] - model.predicted.mean())
    assert chosen["expected"].to_numpy() == pytest.approx(point.to_numpy())
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


def _line(model):
    """By statsmodels: the line of scores on centred predictions, and its covariance clustered by user."""
    centred = model.predicted - model.predicted.mean()
    fitted = sm.OLS(model.score, sm.add_constant(centred)).fit(
        cov_type="cluster", cov_kwds={"groups": model.groups, "use_correction": False}
    )
    count = len(np.unique(model.groups))
    return fitted.params, fitted.cov_params() * count / (count - 1)


def test_the_intervals_of_a_choice_are_those_of_the_line(model, new):
    chosen, (total, low, high) = model.recommend(new, objective="revenue", price="price", budget=200, cost=2.0)
    params, covariance = _line(model)
    terms = np.column_stack([np.ones(len(chosen)), chosen["uplift"] - model.predicted.mean()])
    errors = np.sqrt(np.einsum("ij,jk,ik->i", terms, covariance, terms))
    assert chosen["expected"].to_numpy() == pytest.approx(terms @ params)
    assert (chosen["high"] - chosen["expected"]).to_numpy() == pytest.approx(1.959964 * errors, rel=1e-6)
    assert (chosen["expected"] - chosen["low"]).to_numpy() == pytest.approx(1.959964 * errors, rel=1e-6)
    whole = chosen["price"].to_numpy() @ terms
    assert len(chosen) == 100
    assert total == pytest.approx(whole @ params)
    half = 1.959964 * np.sqrt(whole @ covariance @ whole)
    assert (low, high) == pytest.approx((total - half, total + half), rel=1e-6)


# On 80 data sets of 2,000 rows and as many new ones 68 of the intervals held the truth (85%), and all 12 others lay below it.
# About half of the bias is that effects are no line in the predictions: the straight line of `calibration` lies below the
# effects of the largest. The other half is that the slope and the average of the scores come out a little too small.
@pytest.mark.xfail(strict=True, reason="recommend's total is too low: its interval covers about 85%, see its docstring")
def test_totals_are_unbiased(monkeypatch):
    """Distances from the truth average 0 within 3 of their errors; today the mean is about -0.9."""
    monkeypatch.setitem(estimators.BOOST, "max_iter", 20)  # cheap draws, whose bias is that of full ones
    runs, distances = 40, []
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
    parts = score, x["gain"].to_numpy(), np.arange(60), x, "dr", _Column("gain"), _Column("gain").predict
    return UpliftModel("t", "y", ("gain",), *parts), pd.DataFrame({"gain": uplift})


@pytest.mark.parametrize("objective", ["uplift", "revenue"])
def test_a_budget_buys_most_by_gain_a_unit_of_cost(objective):
    """Two cheap rows together beat the best one; what is taken is the best of all sets of rows that fit."""
    model, rows = _told([0.5, 0.3, 0.3, -0.2, 0.1])
    rows = rows.assign(cost=[10.0, 4.0, 5.0, 1.0, 8.0], price=[1.0, 2.0, 2.0, 3.0, 1.0], item=list("abcde"))
    chosen, _ = model.recommend(rows, objective=objective, price="price", budget=10.0, cost="cost")
    worth = rows["gain"] * (rows["price"] if objective == "revenue" else 1)
    sets = chain.from_iterable(combinations(range(5), count) for count in range(6))
    best = max((one for one in map(list, sets) if rows["cost"][one].sum() <= 10), key=lambda one: worth[one].sum())
    assert sorted(chosen["item"]) == rows["item"][best].tolist() == ["b", "c"]
    assert chosen["cost"].sum() <= 10
    one, _ = model.recommend(rows, objective=objective, price="price", budget=4.5, cost="cost")
    assert one["item"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"objective": "clicks"}, "unknown objective 'clicks'; known: uplift, relevance, revenue"),
        ({"objective": "revenue"}, "needs price"),
        ({"k": 0}, "k=0: at least 1 is needed"),
        ({"budget": 0}, "budget=0 must be above 0"),
        ({"budget": 5, "cost": 0}, "cost: 4000 rows cost nothing or less"),
        ({"k": 1, "per": "who"}, "no column 'who'"),
    ],
)
def test_bad_choices(model, new, how, message):
    with pytest.raises(ValueError, match=message):
        model.recommend(new, **how)


def test_incremental_outcomes_by_hand():
    score, uplift, users = np.array([3, 1, 2, 0]), np.array([0.3, 0.1, 0.2, 0.0]), np.array([1, 1, 2, 2])
    value, low, high = incremental_outcomes(score, uplift, users, share=0.5)
    assert value == pytest.approx(250)
    assert (low, high) == pytest.approx((200, 300))  # a draw holds one of the two users, or both
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        incremental_outcomes(score, uplift, users, share=0)


def test_the_bootstrap_of_incremental_outcomes_draws_users():
    """A width of 4,000 draws is known within 1.5%; by hand it is that of a ratio of sums over users."""
    rng = np.random.default_rng(2)
    users = rng.integers(150, size=1200)
    uplift = 0.2 + 0.1 * rng.normal(size=150)[users] + 0.05 * rng.normal(size=1200)
    score = rng.normal(size=1200)
    value, low, high = incremental_outcomes(score, uplift, users, share=0.5, n_boot=4000)
    top = np.argsort(-score)[:600]
    left = pd.Series(uplift[top] - uplift[top].mean()).groupby(users[top]).sum()
    assert value == pytest.approx(1000 * uplift[top].mean())
    assert high - low == pytest.approx(1000 * 2 * 1.959964 * np.sqrt((left**2).sum()) / 600, rel=0.06)
    blind = incremental_outcomes(score, uplift, np.arange(1200), share=0.5, n_boot=4000)
    assert blind[2] - blind[1] < 0.7 * (high - low)
    twice = incremental_outcomes(
        np.r_[score, score], np.r_[uplift, uplift], np.r_[users, users], share=0.5, n_boot=4000
    )
    assert twice == pytest.approx((value, low, high))
