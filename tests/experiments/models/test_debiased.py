"""The study in small: its truths by a second computation, its unbiased columns right on average,
its claims as its tables say.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.experiments.models import debiased as study
from causal_lib.models.interactions import clicks_of
from causal_lib.models.methods import names_learning
from causal_lib.models.recommender import RECOMMENDERS
from causal_lib.worlds.online_shop import shop

SMALL = {"n_users": 150, "n_items": 40, "days": 30}


@pytest.mark.parametrize("method", RECOMMENDERS)
def test_every_method_has_as_many_different_trials(method):
    tried = study.settings(method)
    assert len(tried) == study.TRIALS == len({str(sorted(one.items())) for one in tried})
    few = study.settings(method, 3)
    assert few == [tried[k] for k in (0, 2, 5)]
    with pytest.raises(ValueError, match="trials=7 must lie between 1 and 6"):
        study.settings(method, 7)


def test_weighted_clicks_tell_the_truth_and_plain_ones_do_not():
    """Of one fixed ranking by popularity, over many worlds' last days."""
    off = {"naive": [], "snips": []}
    for seed in range(25):
        world = shop(**SMALL, seed=seed)
        train, _, test, shares = clicks_of(world)
        rank = world.items["popularity"].to_numpy()
        top = top_items(
            lambda users, rank=rank: np.broadcast_to(rank, (len(users), 40)),
            np.arange(150),
            10,
            train.matrix(),
        )
        share = np.ones(train.shape)
        share[test.users, test.items] = shares[1]
        found = evaluate_ranking(top, test.matrix(), propensity=share, n_boot=2).table["value"]
        active = (
            world.candidates.groupby("user_id").size().reindex(range(150), fill_value=0).to_numpy()
        )
        truth = study.true_gain(top, study.click_if_first(world) * active[:, None], train.matrix())
        for name in off:
            off[name].append(found[name, "pooled gain"] - truth)
    z = {name: np.mean(gaps) / (np.std(gaps, ddof=1) / 5) for name, gaps in off.items()}
    assert z["naive"] > 10
    assert abs(z["snips"]) < 4


def test_true_gain_by_hand():
    mass = np.array([[0.5, 0.2, 0.3], [1.0, 1.0, 2.0]])
    seen = np.array([[1.0, 0, 0], [0, 0, 0]])
    from scipy import sparse

    found = study.true_gain(np.array([[2, 1], [1, -1]]), mass, sparse.csr_array(seen))
    assert found == pytest.approx((0.3 + 0.2 / np.log2(3) + 1.0) / (0.5 + 4.0))


@pytest.mark.parametrize("best", range(3))
def test_the_setting_of_the_least_validation_error_is_chosen(best, monkeypatch):
    """Whichever place it has among those tried, and though another ends lower: the weights are
    those of the best epoch.
    """
    histories = [[0.8, 0.7, 0.6], [0.9, 0.8, 0.7], [0.7, 0.9, 1.0]]
    histories[best] = [0.9, 0.5, 1.1]
    asked = []

    def trained(train, validation, method, *, options, seed, progress, **training):
        asked.append((train, validation, method, seed, training, options["l2"]))
        history = pd.DataFrame({"loss": [0.5, 0.4, 0.3], "validation": histories[options["l2"]]})
        return SimpleNamespace(history=history, settings=options)

    monkeypatch.setattr(study, "train_recommender", trained)
    found = study.best_setting(
        "train", "validation", "mf", [{"l2": k} for k in range(3)], 7, {"epochs": 3}
    )
    assert found.settings == {"l2": best}
    assert asked == [("train", "validation", "mf", 7, {"epochs": 3}, k) for k in range(3)]


def test_clicks_of_two_methods(monkeypatch):
    table = study.clicks_study(
        2, methods=["bpr", "cause"], trials=2, size=SMALL, n_jobs=1, epochs=3
    )
    assert table.groupby("method").size().to_dict() == {"bpr": 2, "cause": 2, "popular": 2}
    assert (
        table[["naive", "snips", "truth", "popularity"]]
        .apply(lambda column: column.between(0, 1))
        .all(axis=None)
    )
    again = study.clicks_study(
        2, methods=["bpr", "cause"], trials=2, size=SMALL, n_jobs=1, epochs=3
    )
    pd.testing.assert_frame_equal(table, again)


def test_ratings_of_all_methods(monkeypatch):
    rng = np.random.default_rng(0)
    users, items = (rng.random((60, 80)) < 0.4).nonzero()
    level = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 80))
    rating = 1 + np.searchsorted([-1, 0, 1, 2], level[users, items])
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": rating})
    monkeypatch.setattr(study, "load", lambda name: {"ratings": frame})
    made = study.semi_synthetic
    table = study.ratings_study(1, trials=1, n_jobs=1, epochs=3)
    assert list(table["method"]) == list(names_learning("ratings"))
    assert (table[["naive", "ips", "snips", "truth"]] > 0).all(axis=None)
    shapes = []
    monkeypatch.setattr(
        study,
        "semi_synthetic",
        lambda part, seed: shapes.append(part.nunique().tolist()) or made(part, seed=seed),
    )
    study.ratings_study(
        1, methods=["mf"], trials=1, n_jobs=1, epochs=1, size={"n_users": 40, "n_items": 30}
    )
    assert shapes[0][:2] == [40, 30]


def test_claims_say_what_the_tables_say(monkeypatch):
    def table(plain, other, gains):
        rows = [
            {"seed": seed, "method": method, "naive": 0.5, "ips": 0.5, "snips": 0.5 + better, "truth": 0.5 + better, "chosen": ""}
            for seed in range(3)
            for method, better in ((plain, 0), (other, gains[seed]))
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def held(*gains):
        monkeypatch.setattr(
            study, "ratings_study", lambda seeds, **how: table("mf", "ips-mf", [-g for g in gains])
        )
        monkeypatch.setattr(study, "clicks_study", lambda seeds, **how: table("bpr", "macr", gains))
        return [one["held"] for one in study.study(3)["claims"]]

    # by truth, weighted, and the naive metric does not show it
    assert held(0.1, 0.1, 0.1) == [True, True, True] * 2
    assert held(-0.1, -0.1, -0.1) == [False, False, True] * 2
    # better on average, but not beyond its error
    assert held(0.1, -0.05, 0.1) == [False, False, True] * 2
    names = [one["claim"] for one in study.study(3)["claims"]]
    assert names[0] == "ratings, ips-mf instead of mf: gain by truth, low end of the 95% interval"
    assert names[5] == "clicks, macr instead of bpr: gain by naive, high end of the 95% interval"


def test_weights_help_on_ratings_asked_at_random_and_not_on_given_ones(monkeypatch):
    """Ratings of 5 are given four times as often as others."""
    rng = np.random.default_rng(1)
    level = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 60))
    rating = 1 + np.searchsorted([-1, -0.3, 0.3, 1], level).astype(float)
    users, items = np.indices(rating.shape).reshape(2, -1)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": rating.ravel()})
    given = rng.random(len(frame)) < np.where(frame["rating"] == 5, 0.4, 0.1)
    asked = ~given & (rng.random(len(frame)) < 0.3)
    errors = study.asked_study(frame[given], frame[asked], methods=("mf", "ips-mf"))
    mean = errors.mean()
    assert list(errors) == [(m, w) for m in ("mf", "ips-mf") for w in ("given", "asked at random")]
    assert len(errors) <= 200
    assert mean["ips-mf", "asked at random"] < mean["mf", "asked at random"]
    monkeypatch.setattr(study, "load_or_skip", lambda name, skipped: skipped.append(name))
    skipped = []
    assert study.asked_ratings("semi-synthetic", skipped) == {}
    assert skipped == ["ml-100k"]
    monkeypatch.setattr(study, "load", lambda name: {"train": frame[given], "test": frame[asked]})
    parts = study.asked_ratings("coat", skipped)
    assert [len(parts[one]) for one in ("given", "asked")] == [given.sum(), asked.sum()]
