"""Benchmark of personalised and debiased recommenders in the shop with each of its two tastes.

With taste "by_age" popular items are good and users differ little: the hard case. With taste
"learnable" popularity is mostly bought and users differ. The truth is the gain@10 of the clicks
that would come if everything were shown first. The coefficients of the learnable shop were chosen
by a look at BPR and popularity in the shop of seed 100; the benchmark has seeds from 0.
"""

from collections.abc import Mapping

import joblib
import numpy as np
import pandas as pd
import torch

from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, Measurements, report
from causal_lib.experiments.models.debiased import (
    TRIALS,
    best_setting,
    click_if_first,
    settings,
    true_gain,
)
from causal_lib.models.interactions import Interactions, clicks_of
from causal_lib.worlds.online_shop import ATTENTION, shop

METHODS = {
    "popular": "most clicks",
    "bpr": "clicks as they are",
    "relevance-mf": "clicks, one over (propensity times attention) each",
    "mf": "shown pairs, clicked or not, as they are",
    "looks-mf": "shown pairs, corrected for attention, weighted by it",
    "ips-mf": "shown pairs, corrected for attention, one over the propensity each",
    "dr-mf": "the same, with imputed errors of all pairs",
}
"""Method -> what it learns from."""
_CLIPS = [{"l2": l2, "clip": clip} for l2 in (0.003, 0.03) for clip in (0.03, 0.1, 0.3)]
_ON_PAIRS = {"batch_size": 1024, "learning_rate": 0.02, "patience": 20}


@benchmark("models.learnable", peer="the items clicked most, and BPR, six trials each")
def study(
    seeds: int = 5,
    *,
    size: Mapping[str, int] | None = None,
    trials: int = TRIALS,
    n_jobs: int = 1,
) -> dict:
    """Recommenders in the shop with a taste that can be learnt, and without: gain by truth.

    Each method gets the same number of trials, chosen by its own validation error; what is
    recommended was not clicked before. Columns: truth (gain@10 if everything were shown first),
    naive (of the logged clicks), taste (correlation of the scores with the true taste, both
    without the means of users and items), popularity (mean percentile of the lists).
    """
    size = {"n_users": 500, "n_items": 200, "days": 40} | dict(size or {})
    jobs = [
        joblib.delayed(_run)(taste, seed, size, trials)
        for taste in ("learnable", "by_age")
        for seed in range(seeds)
    ]
    found = Measurements()
    for row in (row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows):
        found.add(**row)
    claims = []
    for first, second in (
        ("bpr", "popular"),
        ("relevance-mf", "popular"),
        ("mf", "popular"),
        ("ips-mf", "popular"),
        ("dr-mf", "popular"),
        ("relevance-mf", "bpr"),
        ("ips-mf", "mf"),
        ("dr-mf", "mf"),
    ):
        claims.append(_gain(found, "learnable", first, second, "low", "above 0"))
    claims += [
        _gain(found, "by_age", method, "popular", "low", "at most 0")
        for method in METHODS
        if method not in ("popular", "looks-mf")
    ]
    # added after the others had been measured, and claimed before it was
    claims.append(_gain(found, "learnable", "looks-mf", "mf", "low", "above 0"))
    claims += [
        Claim.of("learnable: bpr, taste", found.of("learnable", "bpr", "taste"), "above 0.3"),
        Claim.of("by_age: bpr, taste", found.of("by_age", "bpr", "taste"), "below 0.1"),
    ]
    means, rows = found.tables(4, "records")
    return report(claims, means=means, rows=rows)


def _gain(found, setting, first, second, end, target):
    """The claim about an end of the interval of the mean paired difference of the true gains."""
    difference = found.difference(setting, "truth", first, second)
    whole = Claim.of("", difference, target)
    sentence = f"{setting}: {first} instead of {second}, {end} end of the 95% interval"
    return Claim.of(sentence, [getattr(whole, end)], target)


def shown_pairs(log: pd.DataFrame) -> pd.DataFrame:
    """Every pair of user and item that was shown in the candidates ``log``, once.

    Columns user_id, item_id; clicked (clicks per time shown); looks (sum of the attention to its
    positions); rating (clicks per look); propensity (chance to be shown at least once on the days
    on which it was a candidate).
    """
    exposed = log["exposed"].to_numpy() == 1
    looked_at = log["position"].astype(float).fillna(1.0) ** ATTENTION * exposed
    rows = log.assign(looks=looked_at, missed=np.log1p(-log["propensity"].to_numpy()))
    pairs = rows.groupby(["user_id", "item_id"], as_index=False)[
        ["exposed", "looks", "clicked", "missed"]
    ].sum()
    pairs = pairs[pairs["exposed"] > 0]
    return pairs[["user_id", "item_id"]].assign(
        clicked=pairs["clicked"] / pairs["exposed"],
        looks=pairs["looks"],
        rating=pairs["clicked"] / pairs["looks"],
        propensity=-np.expm1(pairs["missed"]),
    )


def _run(taste, seed, size, trials):
    """The rows of one shop: a method each."""
    torch.set_num_threads(1)
    world = shop(**size, seed=seed, taste=taste)
    train, validation, test, _ = clicks_of(world)
    seen = train.matrix()
    everyone = np.arange(train.shape[0])
    visits = world.candidates.groupby("user_id").size().reindex(everyone, fill_value=0)
    mass = click_if_first(world) * visits.to_numpy()[:, None]
    true_taste = world.true_taste().ravel()
    counts = np.bincount(train.items, minlength=train.shape[1])
    percentile = pd.Series(counts).rank(pct=True).to_numpy()
    rows = []
    for method in METHODS:
        scores = np.broadcast_to(counts, train.shape)
        taste_found = 0.0  # the same list for everybody
        if method != "popular":
            scores = _fit(world, method, train, validation, trials, seed).scores(everyone)
            scores = scores.astype(float)
            own = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True)
            taste_found = np.corrcoef(own.ravel(), true_taste)[0, 1]
        top = top_items(lambda users, scores=scores: scores[users], everyone, 10, seen)
        logged = evaluate_ranking(top, test.matrix(), everyone, n_boot=2).table["value"]
        rows.append(
            {
                "setting": taste,
                "number": seed,
                "method": method,
                "truth": true_gain(top, mass, seen),
                "naive": float(logged["naive", "pooled gain"]),
                "taste": float(taste_found),
                "popularity": float(percentile[top].mean()),
            }
        )
    return rows


def _fit(world, method, train, validation, trials, seed):
    """The recommender of a method, of the setting with the least validation error."""
    log = world.candidates
    day = log["day"] / (log["day"].max() + 1)
    early = log[day < 0.7]
    if method == "bpr":
        return best_setting(train, validation, method, settings(method, trials), seed, {})
    if method == "relevance-mf":
        tried = [_CLIPS[k] for k in np.linspace(0, TRIALS - 1, trials).round().astype(int)]
        chances = {
            "propensity": _chance_of_clicks(early, train),
            "validation_propensity": _chance_of_clicks(log[day < 0.8], validation),
        }
        return best_setting(train, validation, method, tried, seed, chances)
    parts = [shown_pairs(early), shown_pairs(log[(day >= 0.7) & (day < 0.8)])]
    ids = {"user_ids": train.user_ids, "item_ids": train.item_ids}
    value = "clicked" if method == "mf" else "rating"
    pairs = [Interactions.of(part, value=value, **ids) for part in parts]
    if method == "mf":
        return best_setting(*pairs, method, settings(method, trials), seed, _ON_PAIRS)
    if method == "looks-mf":  # a weight is one over a chance, whatever the chance is of
        method = "ips-mf"
        chances = [(part["looks"].min() / part["looks"]).to_numpy() for part in parts]
    else:
        chances = [part["propensity"].to_numpy() for part in parts]
    weighted = {"propensity": chances[0], "validation_propensity": chances[1]}
    return best_setting(*pairs, method, settings(method, trials), seed, _ON_PAIRS | weighted)


def _chance_of_clicks(log, data):
    """(n,) one over the sum, over a pair's clicks, of 1 / (propensity times attention)."""
    clicks = log[log["clicked"] == 1]
    weight = 1 / (clicks["propensity"] * clicks["position"].astype(float) ** ATTENTION)
    total = weight.groupby([clicks["user_id"], clicks["item_id"]]).sum()
    pairs = pd.MultiIndex.from_arrays([data.user_ids[data.users], data.item_ids[data.items]])
    return 1 / total.loc[pairs].to_numpy()
