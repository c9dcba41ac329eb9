"""The study in small: its truths by a second computation, its unbiased columns right on average, its claims as its tables say.

And the benchmarks of training and metrics: the article's loop is ours of all rows, reports say what was measured.
"""

import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.experiments.models import debiased as study
from causal_lib.experiments.models import recommenders as benchmark
from causal_lib.models.debiased import RATINGS
from causal_lib.models.dnn import build_model, train_model
from causal_lib.models.interactions import clicks_of
from causal_lib.models.recommender import METHODS
from causal_lib.worlds.online_shop import shop

SMALL = {"n_users": 150, "n_items": 40, "days": 30}


@pytest.mark.parametrize("method", METHODS)
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
            lambda users, rank=rank: np.broadcast_to(rank, (len(users), 40)), np.arange(150), 10, train.matrix()
        )
        share = np.ones(train.shape)
        share[test.users, test.items] = shares[1]
        found = evaluate_ranking(top, test.matrix(), propensity=share, n_boot=2).table["value"]
        active = world.candidates.groupby("user_id").size().reindex(range(150), fill_value=0).to_numpy()
        truth = study._true_gain(top, study._truth(world) * active[:, None], train.matrix())
        for name in off:
            off[name].append(found[name, "pooled gain"] - truth)
    z = {name: np.mean(gaps) / (np.std(gaps, ddof=1) / 5) for name, gaps in off.items()}
    assert z["naive"] > 10
    assert abs(z["snips"]) < 4


def test_true_gain_by_hand():
    mass, seen = np.array([[0.5, 0.2, 0.3], [1.0, 1.0, 2.0]]), np.array([[1.0, 0, 0], [0, 0, 0]])
    from scipy import sparse

    found = study._true_gain(np.array([[2, 1], [1, -1]]), mass, sparse.csr_array(seen))
    assert found == pytest.approx((0.3 + 0.2 / np.log2(3) + 1.0) / (0.5 + 4.0))


@pytest.mark.parametrize("best", range(3))
def test_the_setting_of_the_least_validation_error_is_chosen(best, monkeypatch):
    """Whichever place it has among those tried, and though another ends lower: the weights are those of the best epoch."""
    histories = [[0.8, 0.7, 0.6], [0.9, 0.8, 0.7], [0.7, 0.9, 1.0]]
    histories[best] = [0.9, 0.5, 1.1]
    asked = []

    def trained(train, validation, method, *, options, seed, progress, **training):
        asked.append((train, validation, method, seed, training, options["l2"]))
        history = pd.DataFrame({"loss": [0.5, 0.4, 0.3], "validation": histories[options["l2"]]})
        return SimpleNamespace(history=history, settings=options)

    monkeypatch.setattr(study, "train_recommender", trained)
    found = study._best("train", "validation", "mf", [{"l2": k} for k in range(3)], 7, {"epochs": 3})
    assert found.settings == {"l2": best}
    assert asked == [("train", "validation", "mf", 7, {"epochs": 3}, k) for k in range(3)]


def test_clicks_of_two_methods(monkeypatch):
    table = study.clicks_study(2, methods=["bpr", "cause"], trials=2, size=SMALL, n_jobs=1, epochs=3)
    assert table.groupby("method").size().to_dict() == {"bpr": 2, "cause": 2, "popular": 2}
    assert table[["naive", "snips", "truth", "popularity"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    again = study.clicks_study(2, methods=["bpr", "cause"], trials=2, size=SMALL, n_jobs=1, epochs=3)
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
    assert list(table["method"]) == list(RATINGS)
    assert (table[["naive", "ips", "snips", "truth"]] > 0).all(axis=None)
    shapes = []
    monkeypatch.setattr(
        study, "semi_synthetic", lambda part, seed: shapes.append(part.nunique().tolist()) or made(part, seed=seed)
    )
    study.ratings_study(1, methods=["mf"], trials=1, n_jobs=1, epochs=1, size={"n_users": 40, "n_items": 30})
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
        monkeypatch.setattr(study, "ratings_study", lambda seeds, **how: table("mf", "ips-mf", [-g for g in gains]))
        monkeypatch.setattr(study, "clicks_study", lambda seeds, **how: table("bpr", "macr", gains))
        return [one["held"] for one in study.study(3)["claims"]]

    assert held(0.1, 0.1, 0.1) == [True, True, True] * 2  # by truth, weighted, and the naive metric does not show it
    assert held(-0.1, -0.1, -0.1) == [False, False, True] * 2
    assert held(0.1, -0.05, 0.1) == [False, False, True] * 2  # better on average, but not beyond its error
    names = [one["claim"] for one in study.study(3)["claims"]]
    assert names[0] == "ratings, ips-mf instead of mf: gain by truth, low end of the 95% interval"
    assert names[5] == "clicks, macr instead of bpr: gain by naive, high end of the 95% interval"


def test_our_steps_of_all_rows_are_those_of_the_article_s_loop():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 3)), rng.integers(2, size=500)
    rows = X[:400], y[:400], X[400:], y[400:]
    article, said = {"tf": tf, "num_epochs": 7}, io.StringIO()
    before = tf.keras.backend.floatx()
    try:
        tf.keras.backend.set_floatx("float64")  # else its loss is computed in single precision
        exec(benchmark._ARTICLE, article)
        with redirect_stdout(said):
            article["train_model"](build_model((3,), dtype="float64"), *rows)
        how = {"epochs": 7, "patience": 7, "batch_size": 400, "verbose": False}
        history = train_model(build_model((3,), dtype="float64"), *rows, **how)
    finally:
        tf.keras.backend.set_floatx(before)
    losses = benchmark._printed(said.getvalue())
    assert losses == pytest.approx(history[["loss", "val_loss"]].to_numpy(), abs=1e-12)
    assert np.ptp(losses[:, 0]) > 0.01


def test_training_is_reported_as_it_was_measured(monkeypatch):
    """Ours of all rows is off by 1e-5 in two losses; the mini-batches are as good after two of the three epochs."""
    losses = np.array([[0.7, 0.6], [0.5, 0.4], [3e-05, 0.25]])
    by_batches = np.array([[0.6, 0.5], [0.3, 0.24], [0.2, 0.3]])

    def measured(imports, work, *, folder):
        double, all_rows = "'float64'" in imports, "0 or len" in work
        if "said.txt" in work:
            seconds = 40.0 if double else 10.0
            lines = [f"Epoch {k}, Loss: {a}, Val Loss: {b}" for k, (a, b) in enumerate(losses, start=1)]
            (folder / "said.txt").write_text("\n".join(lines))
        elif "history.csv" in work:
            found, epochs = losses + 1e-5 * np.eye(3, 2) if all_rows else by_batches, int(imports.split()[-1])
            pd.DataFrame(found[:epochs], columns=["loss", "val_loss"]).to_csv(folder / "history.csv")
            seconds = 20.0 if all_rows else 8.0 if epochs == 3 else 4.0
        else:
            seconds = 1.0
        return {"rows": 1, "seconds": 2 * seconds, "cpu_seconds": seconds, "peak_mb": 1}

    monkeypatch.setattr(benchmark, "measure", measured)
    report = benchmark.dnn(2, epochs=3, users=40, items=15, days=5)
    assert {one["claim"]: (round(one["value"], 6), one["held"]) for one in report["claims"]} == {
        "float64, all rows: largest distance of a loss from the article's": (1e-5, False),
        "mini-batches: our validation loss where we stop less the article's last": (-0.01, True),
        "float64, all rows: rows a CPU second, ours / the article's": (2, True),
        "float32, all rows: rows a CPU second, ours / the article's": (0.5, False),
        "float64, mini-batches: rows a CPU second, ours / the article's": (5, True),
        "float32, mini-batches: rows a CPU second, ours / the article's": (1.25, False),
        "float64, CPU seconds to the same validation loss, the article's / ours": (10, True),
        "float32, CPU seconds to the same validation loss, the article's / ours": (2.5, False),
    }
    assert [one["pairs"] for one in report["claims"]] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert [run["our epochs until then"] for run in report["runs"]] == [2] * 4
    assert report["rows a CPU second"]["float64"]["article"] == round(report["rows"] * 3 / 40)


@pytest.mark.parametrize("wrong", [None, "recall", "precision", "NDCG", "DCG", "MRR", "Gini"])
def test_metrics_are_compared_one_by_one(wrong, monkeypatch):
    """A peer that computes them plainly, all right or one of them off by 1e-8 for one user."""

    def plain(code, tables, python):
        told = []
        for case, users, items, k in tables["cases"].itertuples(index=False):
            lists, truth = (tables[name][tables[name]["case"] == case] for name in ("lists", "truth"))
            values = {name: [None] * users for name in ("recall", "precision", "NDCG", "DCG", "MRR")}
            for user, own in truth.groupby("user")["item"]:
                listed = lists.loc[lists["user"] == user, "item"]
                ranks = [rank for rank, item in enumerate(listed, start=1) if item in set(own)]
                gain = sum(1 / np.log2(1 + rank) for rank in ranks)
                best = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, len(own)) + 1))
                one = [len(ranks) / len(own), len(ranks) / k, gain / best, gain, 1 / ranks[0] if ranks else 0]
                for name, value in zip(values, one, strict=True):
                    values[name][user] = value + 1e-8 * (name == wrong and user == case == 0)
            counts = np.bincount(lists["item"], minlength=items)
            gini = np.abs(counts[:, None] - counts).sum() / (2 * items * counts.sum())
            told.append({"users": values, "Gini": gini + 1e-8 * (wrong == "Gini" and case == 0)})
        return told

    monkeypatch.setattr(benchmark, "_lenskit", plain)
    report = benchmark.metrics(3)
    failed = [one["claim"].split(":")[0] for one in report["claims"] if not one["held"]]
    assert failed == ([wrong] if wrong else [])
    assert len(report["claims"]) == 6


def test_without_lenskit_it_is_said_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="no environment of lenskit; build it with `make peers`"):
        benchmark.metrics(1, python=tmp_path / "python")
