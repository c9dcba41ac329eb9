"""Benchmark of estimated propensities of ratings, and of two ways to choose a clip."""

import numpy as np
import pandas as pd

from causal_lib.data.sources import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.metric import Metric
from causal_lib.models.interactions import Interactions
from causal_lib.models.propensity import (
    by_features,
    by_popularity,
    by_value,
    calibration,
    effective_sample_size,
)
from causal_lib.models.recommender import train_recommender
from causal_lib.worlds.ratings import semi_synthetic

CLIPS = (0.0, 0.02, 0.1, 1.0)
"""Propensities below a clip are raised to it; at 1 all weights are equal."""

MARGIN = 0.1
"""A mean rating is called right within this distance of the truth, on a scale from 1 to 5."""


@benchmark("models.propensities", peer="the known propensities; the plain validation error")
def propensities(seeds: int = 5, *, n_users: int | None = None, epochs: int = 100) -> dict:
    """Estimated propensities of ratings missing not at random: their calibration, the mean rating
    weighted by them, and the clip chosen by the plain and by the weighted validation error.

    ml-100k completed and made missing with known propensities (`semi_synthetic`), drawn anew for
    each of ``seeds``; ``n_users`` keeps that many users. ``calibration`` has the ratio of estimated
    to observed share of seen pairs, by tenths. ``by value`` knows the distribution of ratings that
    were asked for at random. Clips: 15% of the seen ratings are validation data. ``ips-mf`` learns
    with each of `CLIPS` and stops by the weighted validation error. The true error is the mean over
    users of the squared error on all pairs that are not in the training data.

    The sentences are those of notebook 04, which judged them by seed 0; ``first`` has what they
    were judged by.
    """
    ratings = load("ml-100k")["ratings"]
    if n_users is not None:
        ratings = ratings[ratings["user_id"].isin(np.unique(ratings["user_id"])[:n_users])]
    runs = [_run(ratings, seed, epochs) for seed in range(seeds)]
    found = pd.DataFrame([run["numbers"] for run in runs])
    ends = {}
    for name in found:
        metric = Metric.mean_of("", name, found[name]) if seeds > 1 else None
        ends[name] = (metric.low, metric.high) if metric else (found[name][0],) * 2
    claims = [
        Claim.of(
            "Propensities by features pass the calibration plot, every tenth within a quarter "
            "of the share seen. (largest distance of a ratio from 1, high end)",
            [ends["by features, off"][1]],
            "at most 0.25",
        ),
        Claim.of(
            "Those by popularity to the power of one half, put to the right level, do not: pairs "
            "of the top tenth are seen more often than they say. (ratio of the top tenth, high "
            "end)",
            [ends["by popularity, top tenth"][1]],
            "below 1",
        ),
        Claim.of(
            "Weighted by features the mean rating misses the truth, since the rating itself "
            "decides what is seen. (distance, low end)",
            [ends["mean by features"][0]],
            f"above {MARGIN}",
        ),
        Claim.of(
            "Weighted by the known propensities it agrees. (further end of the distance)",
            [max(map(abs, ends["mean known"]))],
            f"at most {MARGIN}",
        ),
        Claim.of(
            "The clip chosen by the plain validation error has a larger true error than the one "
            "chosen by the weighted validation error. (low end)",
            [ends["cost of the plain clip"][0]],
            "above 0",
        ),
    ]
    means = sum(run["clips"] for run in runs) / seeds
    return report(
        claims,
        clips=means.round(6).reset_index().to_dict("records"),
        means=found.mean().to_dict(),
        intervals={name: [float(end) for end in pair] for name, pair in ends.items()},
        rows=found.to_dict("records"),
        first=runs[0]["first"],
    )


def _run(ratings, seed, epochs):
    """Everything measured on one draw of the data."""
    masked = semi_synthetic(ratings, seed=seed)
    ids = {"user_ids": masked.user_ids, "item_ids": masked.item_ids}
    given = Interactions.of(masked.train, **ids)
    features = by_features(given, seed=seed)
    ratios = {
        "by features": _ratios(features, given),
        "by popularity": _ratios(by_popularity(given), given),
    }
    asked = by_value(given, Interactions.of(masked.test, **ids))
    known = masked.train["propensity"].to_numpy()
    truth = float(masked.rating.mean())
    numbers = {
        "by features, off": float(np.abs(ratios["by features"]["ratio"] - 1).max()),
        "by popularity, top tenth": float(ratios["by popularity"]["ratio"].iloc[-1]),
    }
    opinions = {}
    for name, share in (
        ("by features", features(given)),
        ("by value", asked(given)),
        ("known", known),
    ):
        mean, error = _weighted_mean(given, share)
        numbers[f"mean {name}"] = mean - truth
        opinions[name] = {"mean": mean, "error": error, "truth": truth}
    clips, errors = _tried(masked, ids, known, seed, epochs)
    plain, weighted = (clips[f"{how} validation"].idxmin() for how in ("plain", "weighted"))
    by_user = Metric.mean_of("", "", errors[plain] - errors[weighted])
    numbers["cost of the plain clip"] = by_user.value
    first = _first(ratios, opinions, by_user)
    return {"numbers": numbers, "clips": clips, "first": first}


def _first(ratios, opinions, cost):
    """The sentences of notebook 04 and whether they are true of this draw."""
    off = {name: (np.abs(table["ratio"] - 1) > 0.25).any() for name, table in ratios.items()}
    top_tenth = ratios["by popularity"]["low over estimate"].iloc[-1]
    errors = {
        name: abs(one["mean"] - one["truth"]) / one["error"] for name, one in opinions.items()
    }
    passes = not off["by features"]
    least = ratios["by features"]["ratio"].min()
    most = ratios["by features"]["ratio"].max()
    true = {
        "Propensities by features pass the calibration plot, every tenth within a quarter of the "
        "share seen;": passes,
        "those by popularity to the power of one half, put to the right level, do not: pairs of "
        "the top tenth are seen more often than they say.": off["by popularity"] and top_tenth > 1,
        "Passing that plot is not enough:": passes and errors["by features"] > 3.3,
        "weighted by features the mean rating misses the truth (99.9%), since the rating itself "
        "decides what is seen; weighted by the known propensities it agrees (3.3 standard "
        "errors).": errors["by features"] > 3.3 and errors["known"] < 3.3,
        "The clip chosen by the plain validation error has a larger true error than the one "
        "chosen by the weighted validation error (interval by user).": cost.low > 0,
    }
    notes = (
        f"What they say is {least:.1f} to {most:.1f} times the share seen, by tenths.",
        "",
        f"The mean misses by {errors['by features']:.0f} standard errors, but these propensities "
        "do not pass the plot.",
        "",
        "",
    )
    return [
        {"sentence": sentence, "true": bool(held), "note": "" if held else note}
        for (sentence, held), note in zip(true.items(), notes, strict=True)
    ]


def _ratios(propensity, given):
    """Estimated over observed share by tenths, and the observed share's low end over the estimate.

    Popularity knows no level, so all estimates are put to the right mean first.
    """
    table = calibration(propensity, given)
    level = (table["pairs"] * table["observed"]).sum() / (table["pairs"] * table["estimated"]).sum()
    estimated = table["estimated"] * level
    return pd.DataFrame(
        {"ratio": estimated / table["observed"], "low over estimate": table["low"] / estimated}
    )


def _weighted_mean(given, share):
    """Self-normalised weighted mean of the ratings, and its standard error clustered by user."""
    weight = 1 / share
    mean = np.average(given.value, weights=weight)
    influence = np.bincount(given.users, weight * (given.value - mean) / weight.mean())
    return float(mean), float(np.sqrt((influence**2).sum()) / len(given.value))


def _tried(masked, ids, propensity, seed, epochs):
    """Errors by clip, and the true error of each user by clip."""
    fitted = np.random.default_rng([seed, 8]).random(len(masked.train)) < 0.85
    learn = Interactions.of(masked.train[fitted], **ids)
    check = Interactions.of(masked.train[~fitted], **ids)
    hidden = learn.matrix().toarray() == 0
    rows = {}
    errors = {}
    for clip in CLIPS:
        model = train_recommender(
            learn,
            check,
            "ips-mf",
            propensity=propensity[fitted],
            validation_propensity=propensity[~fitted],
            options={"dim": 16, "l2": 0.03, "clip": clip},
            epochs=epochs,
            batch_size=8192,
            learning_rate=0.05,
            seed=seed,
            progress=False,
        )
        off = (check.value - model.predict(check.users, check.items)) ** 2
        everywhere = (model.scores(np.arange(learn.shape[0])) - masked.rating) ** 2
        errors[clip] = np.nanmean(np.where(hidden, everywhere, np.nan), axis=1)
        rows[clip] = {
            "effective rows": effective_sample_size(propensity[fitted], clip),
            "plain validation": off.mean(),
            "weighted validation": np.average(off, weights=1 / propensity[~fitted]),
            "truth": errors[clip].mean(),
        }
    return pd.DataFrame(rows).T.rename_axis("clip"), errors
