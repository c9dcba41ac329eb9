"""Benchmark of ranking metrics of clicks: naive, weighted, over sampled items, beside the truth."""

import numpy as np
import pandas as pd

from causal_lib.evaluation.rankings import compare, evaluate_ranking, top_items
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.metric import Metric
from causal_lib.models.interactions import clicks_of
from causal_lib.models.recommender import train_recommender
from causal_lib.worlds.online_shop import shop

MODELS = ("popularity", "BPR", "true preference")
"""Rankings by clicks so far, by a factorisation and by the true probability of a click."""

MARGIN = 0.2
"""A weighted metric agrees with its truth within this share of the truth."""

_OVERSTATES = (
    "The naive gain of ranking by popularity overstates its true gain: the clicks come from where "
    "the recommender shows, and that is where popular items are."
)
_AGREES = "The self-normalised weighted gain of every model agrees with its truth"
_BEATS = "By naive NDCG popularity beats the users' true preferences"
_BEATEN = "by weighted gain the true preferences beat popularity"
_SAMPLED = (
    "Among 100 sampled negatives recall of every model is more than 1.5 times the one of the full "
    "ranking"
)


@benchmark("models.rankings", peer="the truth: the clicks to expect were everything shown first")
def rankings(
    seeds: int = 5,
    *,
    n_users: int = 1000,
    n_items: int = 300,
    days: int = 40,
    k: int = 10,
    n_boot: int = 500,
) -> dict:
    """Metrics of lists of ten from the whole catalogue of a shop, judged by logged clicks and by
    the truth.

    Positives are pairs clicked in the last fifth of the days and never before; their propensity is
    the chance of being shown and looked at. ``weighted by user`` is the average of the users'
    weighted recalls (Yang and others 2018), ``weighted, pooled`` the ratio of sums over all users.
    ``sampled`` ranks each positive among 100 items drawn at random.

    The sentences are those of notebook 04, which judged them by seed 0 (``first``); the two on
    recall averaged by user are new.
    """
    runs = [_run(seed, n_users, n_items, days, k, n_boot) for seed in range(seeds)]
    table = pd.DataFrame([run["numbers"] for run in runs])

    def ends(values):
        found = Metric.mean_of("", "", values) if seeds > 1 else None
        return (found.low, found.high) if found else (values.iloc[0],) * 2

    def further(one, truth):
        """The end of the relative distance that lies furthest from 0, over all models."""
        gaps = [ends(table[f"{name}, {one}"] / table[f"{name}, {truth}"] - 1) for name in MODELS]
        return max(abs(end) for pair in gaps for end in pair)

    least = min(
        ends(table[f"{name}, recall, sampled"] / table[f"{name}, recall, naive"])[0]
        for name in MODELS
    )
    naive = table["popularity, gain, naive"] - table["popularity, gain, true"]
    by_user = (
        table["popularity, recall, weighted by user"] - table["popularity, recall, true by user"]
    )
    weighted = table["true preference, gain, weighted"] - table["popularity, gain, weighted"]
    ndcg = table["popularity, NDCG, naive"] - table["true preference, NDCG, naive"]
    claims = [
        Claim.of(f"{_OVERSTATES} (low end)", [ends(naive)[0]], "above 0"),
        Claim.of(
            f"{_AGREES}. (further end, share of the truth)",
            [further("gain, weighted", "gain, true")],
            f"at most {MARGIN}",
        ),
        Claim.of(f"{_BEATS}. (low end)", [ends(ndcg)[0]], "above 0"),
        Claim.of(f"B{_BEATEN[1:]}. (low end)", [ends(weighted)[0]], "above 0"),
        Claim.of(f"{_SAMPLED}. (least ratio, low end)", [least], "above 1.5"),
        Claim.of(
            "The average of users' weighted recalls of popularity stays above its truth, for users "
            "have few clicks. (low end)",
            [ends(by_user)[0]],
            "above 0",
        ),
        Claim.of(
            "The pooled weighted recall of every model agrees with its truth. (further end, share "
            "of the truth)",
            [further("recall, weighted pooled", "recall, true pooled")],
            f"at most {MARGIN}",
        ),
    ]
    return report(
        claims,
        means=table.mean().to_dict(),
        intervals={name: [float(end) for end in ends(table[name])] for name in table},
        rows=table.to_dict("records"),
        first=runs[0]["first"],
    )


def _run(seed, n_users, n_items, days, k, n_boot):
    """The metrics of one shop, and what the sentences were judged by."""
    world = shop(n_users, n_items, days, seed)
    train, validation, test, chances = clicks_of(world)
    users = np.arange(n_users)
    seen = train.matrix() + validation.matrix()
    counts = np.bincount(train.items, minlength=n_items)
    bpr = train_recommender(
        train,
        validation,
        "bpr",
        options={"dim": 16, "l2": 0.03},
        validation_propensity=chances[0],
        seed=seed,
        progress=False,
    )
    outcomes = world.potential_outcomes(users[:, None], np.arange(n_items))
    preference = outcomes["click_if_exposed"].to_numpy().reshape(train.shape)
    scored = dict(
        zip(
            MODELS,
            (np.broadcast_to(counts, train.shape), bpr.scores(users), preference),
            strict=True,
        )
    )
    mass = _expected_clicks(world, preference, seen)
    chance = np.ones(train.shape)
    chance[test.users, test.items] = chances[1]
    found = {}
    numbers = {}
    intervals = {}
    excess = {}
    for name, score in scored.items():
        top = top_items(lambda part, score=score: score[part], users, k, seen)
        found[name] = evaluate_ranking(
            top, test.matrix(), users, propensity=chance, n_boot=n_boot, seed=seed
        )
        table = found[name].table
        hits = np.take_along_axis(mass, top, axis=1)
        sampled = _sampled_recall(score, seen, test, k, seed)
        full = found[name].per_user["naive", "recall"]
        excess[name] = Metric.mean_of("", "", sampled.reindex(full.index) - 1.5 * full).low
        numbers |= {
            f"{name}, NDCG, naive": table.loc[("naive", "NDCG"), "value"],
            f"{name}, gain, naive": table.loc[("naive", "pooled gain"), "value"],
            f"{name}, gain, weighted": table.loc[("snips", "pooled gain"), "value"],
            f"{name}, gain, true": (hits / np.log2(np.arange(2, k + 2))).sum() / mass.sum(),
            f"{name}, recall, naive": full.mean(),
            f"{name}, recall, weighted by user": _recall_by_user(top, test, 1 / chances[1]),
            f"{name}, recall, true by user": _mean_ratio(hits.sum(axis=1), mass.sum(axis=1)),
            f"{name}, recall, weighted pooled": table.loc[("snips", "pooled recall"), "value"],
            f"{name}, recall, true pooled": hits.sum() / mass.sum(),
            f"{name}, recall, sampled": sampled.mean(),
        }
        for way in ("naive", "snips"):
            intervals[name, way] = table.loc[(way, "pooled gain"), ["value", "low", "high"]]
    contest = compare(found["popularity"], found["true preference"], seed=seed)
    return {
        "numbers": {name: float(value) for name, value in numbers.items()},
        "first": _first(numbers, intervals, contest, excess),
    }


def _first(numbers, intervals, contest, excess):
    """The sentences of notebook 04 and whether they are true of this shop."""
    standard_errors = {}
    for name in MODELS:
        value, low, high = intervals[name, "snips"]
        distance = abs(value - numbers[f"{name}, gain, true"])
        standard_errors[name] = distance / ((high - low) / (2 * 1.96))
    ndcg = contest.loc[("naive", "NDCG")]
    gain = contest.loc[("snips", "pooled gain")]
    overstates = intervals["popularity", "naive"]["low"] > numbers["popularity, gain, true"]
    beats = ndcg["difference"] > 0 and ndcg["p"] < 0.05 and gain["high"] < 0
    true = {
        _OVERSTATES: overstates,
        f"{_AGREES} (3.3 standard errors).": max(standard_errors.values()) < 3.3,
        f"{_BEATS} (p < 0.05); {_BEATEN} (interval).": beats,
        f"{_SAMPLED} (interval).": min(excess.values()) > 0,
    }
    return [{"sentence": sentence, "true": bool(held)} for sentence, held in true.items()]


def _expected_clicks(world, preference, seen):
    """(users, items) clicks to expect on the last fifth of the days, were all shown first."""
    rows = world.candidates[world.candidates["day"] >= 0.8 * (world.candidates["day"].max() + 1)]
    times = np.zeros(preference.shape)
    np.add.at(times, (rows["user_id"], rows["item_id"]), 1)
    return np.where(seen.toarray() > 0, 0, times * preference)


def _recall_by_user(top, test, weight):
    """Average over users of the weighted share of their positives that is listed."""
    listed = (top[test.users] == test.items[:, None]).any(axis=1)
    return _mean_ratio(
        np.bincount(test.users, weight * listed, minlength=len(top)),
        np.bincount(test.users, weight, minlength=len(top)),
    )


def _mean_ratio(part, whole):
    return (part[whole > 0] / whole[whole > 0]).mean()


def _sampled_recall(score, seen, test, k, seed):
    """Recall of each user when a positive is ranked among 100 items drawn at random."""
    rng = np.random.default_rng([seed, 7])
    free = rng.random((len(test), score.shape[1]))
    free[(seen + test.matrix()).toarray()[test.users] > 0] = 2  # never drawn
    n_drawn = min(100, score.shape[1])
    drawn = np.argpartition(free, n_drawn - 1, axis=1)[:, :n_drawn]
    own = score[test.users, test.items][:, None]
    above = (score[test.users[:, None], drawn] > own).sum(axis=1)
    return pd.Series((above < k).astype(float)).groupby(test.users).mean()
