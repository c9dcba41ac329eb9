"""Benchmark of two ways to choose how much propensities are clipped."""

import numpy as np
import pandas as pd

from causal_lib.data.sources import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.metric import Metric
from causal_lib.models.interactions import Interactions
from causal_lib.models.propensity import effective_sample_size
from causal_lib.models.recommender import train_recommender
from causal_lib.worlds.ratings import semi_synthetic

CLIPS = (0.0, 0.02, 0.1, 1.0)
"""Propensities below a clip are raised to it; at 1 all weights are equal."""


@benchmark("models.clipping", peer="the clip with the least plain validation error")
def clipping(seeds: int = 5, *, n_users: int | None = None, epochs: int = 100) -> dict:
    """Clip of the propensities of a factorisation, chosen by the plain and by the weighted
    validation error.

    ml-100k completed and made missing not at random with known propensities (`semi_synthetic`); 15%
    of the seen ratings are validation data. ``ips-mf`` learns with each clip of `CLIPS` and stops
    by the weighted validation error. The true error is the mean over users of the squared error on
    all pairs that are not in the training data. ``seeds`` draw what is seen, the validation data
    and the initial weights anew; ``n_users`` keeps that many users. ``first`` is the interval over
    the users of seed 0, by which notebook 04 judged the sentence.
    """
    ratings = load("ml-100k")["ratings"]
    if n_users is not None:
        ratings = ratings[ratings["user_id"].isin(np.unique(ratings["user_id"])[:n_users])]
    tables = []
    costs = []
    for seed in range(seeds):
        table, errors = _tried(ratings, seed, epochs)
        plain, weighted = (table[f"{how} validation"].idxmin() for how in ("plain", "weighted"))
        gap = errors[plain] - errors[weighted]
        if seed == 0:
            by_user = Metric.mean_of("", "", gap)
            first = [by_user.value, by_user.low, by_user.high]
        costs.append({"seed": seed, "plain": plain, "weighted": weighted, "cost": gap.mean()})
        tables.append(table)
    found = pd.DataFrame(costs)
    low = Metric.mean_of("", "", found["cost"]).low if seeds > 1 else found["cost"][0]
    claims = [
        Claim.of(
            "The clip chosen by the plain validation error has a larger true error than the one "
            "chosen by the weighted validation error. (low end)",
            [low],
            "above 0",
        )
    ]
    means = sum(tables) / seeds
    return report(
        claims,
        means=means.round(6).reset_index().to_dict("records"),
        chosen=found.round(6).to_dict("records"),
        first=[float(end) for end in first],
    )


def _tried(ratings, seed, epochs):
    """Errors by clip, and the true error of each user by clip."""
    masked = semi_synthetic(ratings, seed=seed)
    ids = {"user_ids": masked.user_ids, "item_ids": masked.item_ids}
    fitted = np.random.default_rng([seed, 8]).random(len(masked.train)) < 0.85
    learn = Interactions.of(masked.train[fitted], **ids)
    check = Interactions.of(masked.train[~fitted], **ids)
    propensity = masked.train["propensity"].to_numpy()
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
