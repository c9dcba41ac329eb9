"""Benchmark of debiased factorisation and full ranking at the size of a small shop."""

import time

import numpy as np
import pandas as pd
import torch

from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.programs.measuring import peak_mb
from causal_lib.models.interactions import Interactions
from causal_lib.models.recommender import train_recommender


@benchmark("models.size", peer="an absolute limit")
def size(rows: int = 1_000_000, *, n_users: int = 10_000, n_items: int = 5_000) -> dict:
    """Factorisation weighted by propensities on 10^6 ratings, full ranking of 10,000 users by 5,000
    items; two threads.
    """
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    user_factors = rng.normal(size=(n_users, 8)).astype(np.float32)
    item_factors = rng.normal(size=(n_items, 8)).astype(np.float32)
    pairs = np.unique(rng.integers(n_users * n_items, size=int(1.05 * rows)))
    pairs = rng.permutation(pairs)[:rows]
    users = pairs // n_items
    items = pairs % n_items
    score = (user_factors[users] * item_factors[items]).sum(axis=1) / 3
    value = np.clip(np.rint(3 + score + 0.5 * rng.normal(size=len(pairs))), 1, 5)
    propensity = np.clip(0.02 * 2.0 ** (value - 1), 0.01, 1)
    held_out = rng.random(len(pairs)) < 0.1
    ids = (pd.RangeIndex(n_users), pd.RangeIndex(n_items))
    train, validation = (
        Interactions(users[part], items[part], value[part], *ids) for part in (~held_out, held_out)
    )
    start = time.perf_counter()
    found = train_recommender(
        train,
        validation,
        "ips-mf",
        propensity=propensity[~held_out],
        validation_propensity=propensity[held_out],
        batch_size=16_384,
        patience=3,
        options={"dim": 16},
        progress=False,
    )
    training = time.perf_counter() - start
    start = time.perf_counter()
    top = top_items(found.scores, np.arange(n_users), 10, train.matrix())
    evaluate_ranking(
        top, validation.matrix(), popularity=np.bincount(train.items, minlength=n_items)
    )
    ranking = time.perf_counter() - start
    peak = peak_mb()
    claims = [
        Claim.of(
            f"{rows:,} interactions: seconds of debiased factorisation", [training], "at most 60"
        ),
        Claim.of(
            f"{n_users:,} users, {n_items:,} items: seconds of full ranking",
            [ranking],
            "at most 10",
        ),
        Claim.of("most memory of the process, MB", [peak], "at most 1000"),
    ]
    seconds = {"training": training, "ranking": ranking}
    return report(claims, epochs=len(found.history), seconds=seconds, peak_mb=peak)
