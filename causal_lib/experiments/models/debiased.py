"""Benchmark of debiased recommenders on data whose truth is known: by the truth, by weighted and by
naive metrics.

Ratings: ml-100k completed and made missing not at random, with known propensities. Clicks: the
shop, whose recommender shows popular items to active users and first. Every method gets the same
number of trials; options are chosen on validation data, weighted by known propensities, and the
test data are looked at once.
"""

from collections.abc import Mapping, Sequence

import joblib
import numpy as np
import pandas as pd
import torch

from causal_lib.data.sources import load, load_or_skip
from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.metric import Metric
from causal_lib.models.interactions import Interactions, clicks_of
from causal_lib.models.methods import names_learning
from causal_lib.models.propensity import by_value
from causal_lib.models.recommender import train_recommender
from causal_lib.worlds.online_shop import shop
from causal_lib.worlds.ratings import semi_synthetic

TRIALS = 6
"""Settings tried of each method."""
_PENALTIES = (0.03, 0.3)
_ON_RATINGS = {"batch_size": 8192, "learning_rate": 0.05, "patience": 20}
_OWN: dict[str, Sequence[dict]] = {
    "relevance-mf": [{"power": 0.25}, {"power": 0.5}, {"power": 1.0}],
    "pda": [{"gamma": 0.05}, {"gamma": 0.2}, {"gamma": 0.5}],
    "macr": [{"c": 0.0}, {"c": 2.0}, {"c": 10.0}],
    "dice": [{}, {"interest_only": 1}, {"interest": 0.5}],
    "cause": [{"near": 0.01}, {"near": 0.1}, {"near": 1.0}],
    "ips-mf": [{}, {"clip": 0.02}, {"clip": 0.1}],
    "snips-mf": [{}, {"clip": 0.02}, {"clip": 0.1}],
    "dr-mf": [{}, {"clip": 0.02}, {"clip": 0.1}],
}


def settings(method: str, trials: int = TRIALS) -> list[dict]:
    """The `TRIALS` settings of a method: two penalties, and three of its own option or, without
    one, of the penalty itself.

    Fewer ``trials`` are spread evenly over them.
    """
    own = _OWN.get(method)
    if own is None:
        found = [{"l2": l2} for l2 in np.geomspace(0.003, 0.3, TRIALS).tolist()]
    else:
        found = [{"l2": l2, **one} for l2 in _PENALTIES for one in own]
    if not 1 <= trials <= TRIALS:
        raise ValueError(f"{trials=} must lie between 1 and {TRIALS}")
    return [found[k] for k in np.linspace(0, TRIALS - 1, trials).round().astype(int)]


def ratings_study(
    seeds: int = 5,
    *,
    methods: Sequence[str] = names_learning("ratings"),
    trials: int = TRIALS,
    first: int = 0,
    size: Mapping[str, int] | None = None,
    n_jobs: int = 2,
    **training,
) -> pd.DataFrame:
    """Mean squared errors on ml-100k made missing not at random, a row for each seed and method.

    naive: of held-out ratings as they are; ips, snips: the same weighted by one over the
    propensity, over all pairs or self-normalised; truth: of all pairs that were not trained on.
    Chosen: the setting of least weighted validation error (plain 'mf': unweighted, since who uses
    it knows of no weights). ``size``: only so many users and items, ``n_users`` and ``n_items``,
    those with the most ratings.
    """
    ratings = load("ml-100k")["ratings"]
    for column, n in (size or {}).items():
        one = column.removeprefix("n_").removesuffix("s") + "_id"
        ratings = ratings[ratings[one].isin(ratings[one].value_counts().index[:n])]
    jobs = (
        joblib.delayed(_ratings_run)(ratings, first + k, methods, trials, training)
        for k in range(seeds)
    )
    return pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])


def clicks_study(
    seeds: int = 5,
    *,
    methods: Sequence[str] = names_learning("clicks"),
    trials: int = TRIALS,
    first: int = 0,
    size: Mapping[str, int] | None = None,
    n_jobs: int = 2,
    **training,
) -> pd.DataFrame:
    """Pooled gain@10 in the shop, a row for each seed and method: of clicks in the last days, on
    items not clicked before.

    naive: of the clicks as they are; snips: each weighted by one over propensity and attention to
    its position; truth: of the clicks that would come if everything were shown first. Beside them
    the mean popularity of the lists (percentile). Chosen: the setting of greatest weighted
    validation gain. 'popular' ranks by clicks.
    """
    size = {"n_users": 1000, "n_items": 200, "days": 40} | dict(size or {})
    jobs = (
        joblib.delayed(_clicks_run)(first + k, size, ("popular", *methods), trials, training)
        for k in range(seeds)
    )
    return pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])


def asked_ratings(name: str, skipped: list[str], *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Ratings that users chose to give, and ratings asked for at random: given, asked.

    ``name`` is a data set that has both (coat, yahoo-r3), or "semi-synthetic": ml-100k completed
    and made missing by `semi_synthetic`. Empty, with a line added to ``skipped``, where the data
    are not there.
    """
    if name != "semi-synthetic":
        loaded = load(name)
        return {"given": loaded["train"], "asked": loaded["test"]}
    table = load_or_skip("ml-100k", skipped)
    if table is None:
        return {}
    made = semi_synthetic(table["ratings"], seed=seed)
    return {"given": made.train, "asked": made.test}


def asked_study(
    given: pd.DataFrame,
    asked: pd.DataFrame,
    *,
    methods: Sequence[str] = ("mf", "ips-mf", "dr-mf"),
    seed: int = 0,
) -> pd.DataFrame:
    """Squared errors on ratings that users chose to give and on ratings asked for at random.

    Of the ``given`` ratings 80% train, 10% choose the epoch, 10% test. A twentieth of the ``asked``
    ratings tells, by Bayes' rule, how likely a rating of each value is given; the rest test.
    Both have the columns user_id, item_id and rating. Returns a frame of mean errors, one row per
    user (codes), columns (method, "given" or "asked at random").
    """
    both = pd.concat([given, asked])
    ids = {f"{name}_ids": np.sort(both[f"{name}_id"].unique()) for name in ("user", "item")}
    rng = np.random.default_rng([seed, 7])
    few = rng.random(len(asked)) < 0.05
    part = rng.choice(3, len(given), p=[0.8, 0.1, 0.1])
    train, validation, held_out = (Interactions.of(given[part == k], **ids) for k in range(3))
    chance = by_value(Interactions.of(given, **ids), Interactions.of(asked[few], **ids))
    tests = {"given": held_out, "asked at random": Interactions.of(asked[~few], **ids)}
    how = {"options": {"dim": 16, "l2": 0.03}, "batch_size": 8192, "learning_rate": 0.05}
    errors = {}
    for method in methods:
        weights = {}
        if method != "mf":
            weights["propensity"] = chance(train)
            weights["validation_propensity"] = chance(validation)
        recommender = train_recommender(
            train, validation, method, **how, **weights, seed=seed, progress=False
        )
        for name, pairs in tests.items():
            error = (pairs.value - recommender.predict(pairs.users, pairs.items)) ** 2
            errors[method, name] = pd.Series(error).groupby(pairs.users).mean()
    return pd.DataFrame(errors)


@benchmark("models.debiased", peer="plain factorisation and BPR, six trials each like the others")
def study(
    seeds: int = 5,
    *,
    ratings_size: Mapping[str, int] | None = None,
    clicks_size: Mapping[str, int] | None = None,
    **how,
) -> dict:
    """Errors on ml-100k made missing not at random, gain of clicks in the shop: naive, weighted,
    true; 5 seeds.

    ``how`` goes to `ratings_study` and `clicks_study` alike.
    """
    ratings = ratings_study(seeds, size=ratings_size, **how)
    clicks = clicks_study(seeds, size=clicks_size, **how)
    claims = []
    for name, table, plain, sign in (("ratings", ratings, "mf", -1), ("clicks", clicks, "bpr", 1)):
        wide = {
            what: table.pivot_table(index="seed", columns="method", values=what)
            for what in ("naive", "snips", "truth")
        }
        for method in wide["truth"].columns.difference([plain, "popular"]):
            for what, end, target in (
                ("truth", "low", "above 0"),
                ("snips", "low", "above 0"),
                ("naive", "high", "at most 0"),
            ):
                gain = Metric.mean_of("", "", sign * (wide[what][method] - wide[what][plain]))
                sentence = (
                    f"{name}, {method} instead of {plain}: gain by {what}, {end} end of "
                    "the 95% interval"
                )
                claims.append(Claim.of(sentence, [getattr(gain, end)], target))
    means = [
        part.drop(columns=["seed", "chosen"])
        .groupby("method", sort=False)
        .agg(["mean", "sem"])
        .round(4)
        for part in (ratings, clicks)
    ]
    tables = {
        name: {f"{column} {what}": values.to_dict() for (column, what), values in part.items()}
        for name, part in zip(("ratings", "clicks"), means, strict=True)
    }
    rows = {"ratings": ratings.to_dict("records"), "clicks": clicks.to_dict("records")}
    return report(claims, means=tables, rows=rows)


def _ratings_run(ratings, seed, methods, trials, training):
    torch.set_num_threads(1)
    world = semi_synthetic(ratings, seed=seed)
    part = np.random.default_rng([seed, 1]).choice(3, len(world.train), p=[0.7, 0.1, 0.2])
    ids = {"user_ids": world.user_ids, "item_ids": world.item_ids}
    train, validation, test = (Interactions.of(world.train[part == k], **ids) for k in range(3))
    shares = [world.train["propensity"].to_numpy()[part == k] for k in range(3)]
    hidden = np.ones(train.shape, dtype=bool)
    hidden[train.users, train.items] = False
    rows = []
    for method in methods:
        weighted = (
            {} if method == "mf" else {"propensity": shares[0], "validation_propensity": shares[1]}
        )
        found = best_setting(
            train,
            validation,
            method,
            settings(method, trials),
            seed,
            _ON_RATINGS | training | weighted,
        )
        scores = found.scores(np.arange(train.shape[0]))
        error = (test.value - scores[test.users, test.items]) ** 2
        weight = 1 / shares[2]
        rows.append(
            {
                "seed": seed,
                "method": method,
                "naive": error.mean(),
                # a fifth of the seen pairs are test pairs, so their probability is a fifth of the
                # propensity
                "ips": (weight * error).sum() / (0.2 * hidden.size),
                "snips": np.average(error, weights=weight),
                "truth": ((scores - world.rating) ** 2)[hidden].mean(),
                "chosen": str(found.settings),
            }
        )
    return rows


def _clicks_run(seed, size, methods, trials, training):
    torch.set_num_threads(1)
    world = shop(**size, seed=seed)
    train, validation, test, shares = clicks_of(world)
    seen = train.matrix()
    truth = click_if_first(world)
    # pairs shown at random and first, from which 'cause' learns
    shown = np.random.default_rng([seed, 2]).random(truth.shape) < 0.01
    clicked = (np.random.default_rng([seed, 3]).random(truth.shape) < truth)[shown].astype(float)
    randomised = Interactions(*shown.nonzero(), clicked, train.user_ids, train.item_ids)
    counts = np.bincount(train.items, minlength=train.shape[1])
    percentile = pd.Series(counts).rank(pct=True).to_numpy()
    active = (
        world.candidates.groupby("user_id")
        .size()
        .reindex(range(size["n_users"]), fill_value=0)
        .to_numpy()
    )
    share = np.ones(train.shape, dtype=np.float32)
    share[test.users, test.items] = shares[1]
    everyone = np.arange(train.shape[0])
    rows = []
    for method in methods:
        chosen = ""
        scores = lambda users: np.broadcast_to(counts, (len(users), len(counts)))  # noqa: E731
        if method != "popular":
            more = {"randomised": randomised} if method == "cause" else {}
            more["validation_propensity"] = shares[0]
            found = best_setting(
                train, validation, method, settings(method, trials), seed, training | more
            )
            chosen = str(found.settings)
            scores = found.scores
        top = top_items(scores, everyone, 10, seen)
        table = evaluate_ranking(top, test.matrix(), everyone, propensity=share, n_boot=2).table[
            "value"
        ]
        facts = {"naive": table["naive", "pooled gain"], "snips": table["snips", "pooled gain"]}
        facts["truth"] = true_gain(top, truth * active[:, None], seen)
        facts["popularity"] = percentile[top].mean()
        rows.append({"seed": seed, "method": method, **facts, "chosen": chosen})
    return rows


def click_if_first(world) -> np.ndarray:
    """(users, items) probability of a click if shown first."""
    users = world.users["user_id"].to_numpy()
    items = world.items["item_id"].to_numpy()
    return (
        world.potential_outcomes(users[:, None], items)["click_if_exposed"]
        .to_numpy()
        .reshape(len(users), -1)
    )


def true_gain(top, mass, seen) -> float:
    """Σ mass d(rank) / Σ mass over the pairs not seen."""
    left = np.where(seen.toarray() > 0, 0.0, mass)
    gain = (
        np.take_along_axis(left, np.maximum(top, 0), axis=1)
        * (top >= 0)
        / np.log2(np.arange(2, top.shape[1] + 2))
    )
    return float(gain.sum() / left.sum())


def best_setting(train, validation, method, tried, seed, training):
    """The recommender of the setting with the least validation error."""
    found = [
        train_recommender(
            train, validation, method, options=options, seed=seed, progress=False, **training
        )
        for options in tried
    ]
    return min(found, key=lambda one: one.history["validation"].min())
