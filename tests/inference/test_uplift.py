"""Uplift models against effects that are known: ranking, calibration, intervals, choices under k and budget."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.inference import UpliftModel, incremental_outcomes


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
    tiny = UpliftModel("t", "y", (), score, predicted, np.arange(4), pd.Index([]), None, None)
    assert tiny.qini()[0] == pytest.approx(np.mean(score * (0.5 - np.array([3, 4, 1, 2]) / 5)))
    assert tiny.calibration()["value"].tolist() == pytest.approx([1.5, np.polyfit(predicted, score, 1)[0]])
    assert tiny.grouped(2)["value"].tolist() == pytest.approx([0.5, 2.5])


def test_choices_keep_k_budget_and_sign(model, new):
    chosen, (total, low, high) = model.recommend(new, k=1)
    assert chosen.groupby("user_id").size().max() == 1
    assert (chosen["uplift"] > 0).all()
    better = new.assign(uplift=model.predict(new)).groupby("user_id")["uplift"].max()
    assert chosen.set_index("user_id")["uplift"].to_dict() == better[better > 0].to_dict()
    assert low < total < high
    assert low < chosen["effect"].sum() < high
    assert chosen["why"].str.contains("would anyway").all()
    spent, _ = model.recommend(new, objective="revenue", price="price", budget=50.0, cost="price")
    assert spent["price"].sum() <= 50
    worth = spent["uplift"] * spent["price"]
    assert worth.to_numpy() == pytest.approx(spent["objective"].to_numpy())
    cheap, (added, _, _) = model.recommend(new, budget=100)
    assert len(cheap) == 100
    relevant, (other, _, _) = model.recommend(new, objective="relevance", budget=100)
    assert cheap["effect"].sum() > 1.3 * relevant["effect"].sum()
    assert added > other


def test_totals_cover_the_truth():
    covered = 0
    for seed in range(6):
        trained = UpliftModel.train(
            shoppers(2000, 100 + seed), "t", "y", ["need", "loyal"], cluster="user_id", seed=seed
        )
        fresh = shoppers(2000, 500 + seed)
        chosen, (_, low, high) = trained.recommend(fresh, budget=400)
        covered += low <= chosen["effect"].sum() <= high
    assert covered >= 4  # 95% each: three misses in six come once in 500


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
    assert 200 <= low <= value <= high <= 300
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        incremental_outcomes(score, uplift, users, share=0)
