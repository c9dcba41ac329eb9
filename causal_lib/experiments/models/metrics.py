"""Benchmark of ranking metrics beside lenskit's (in an environment of its own, `make peers`)."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from causal_lib.evaluation.rankings import evaluate_ranking
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.peers import LENSKIT, folder_with, run


@benchmark(
    "models.metrics",
    peer="lenskit's metrics, DCG by 1 / log2(1 + r), precision by the length asked for",
)
def metrics(seeds: int = 20, *, python: Path | None = None) -> dict:
    """Metrics of random lists of 1 to 10 items, some cut short, for users with few positives, many
    or none.

    Claims are about the largest distance from lenskit, user by user. Some lists are empty, some
    users have more positives than the list is long.
    """
    cases = []
    lists = []
    truth = []
    ours = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        n_users = int(rng.integers(5, 60))
        n_items = int(rng.integers(10, 80))
        k = int(rng.integers(1, 11))
        top = rng.random((n_users, n_items)).argsort(axis=1)[:, :k]
        top[1:][np.arange(k) >= rng.integers(k + 1, size=(n_users - 1, 1))] = -1
        likes = rng.random((n_users, n_items)) < rng.choice([0.01, 0.05, 0.4], size=(n_users, 1))
        likes[0] = np.arange(n_items) > 0  # somebody always has a whole list and a positive
        cases.append({"case": seed, "users": n_users, "items": n_items, "k": k})
        user, rank = (top >= 0).nonzero()
        lists.append(pd.DataFrame({"case": seed, "user": user, "item": top[user, rank]}))
        user, item = likes.nonzero()
        truth.append(pd.DataFrame({"case": seed, "user": user, "item": item}))
        ours.append(evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=2))
    tables = {"cases": pd.DataFrame(cases), "lists": pd.concat(lists), "truth": pd.concat(truth)}
    with folder_with(**tables) as folder:
        theirs = run("lenskit_calls.metrics", python=python or LENSKIT, folder=folder)
    distances = {}
    users = 0
    for own, peer in zip(ours, theirs, strict=True):
        table = pd.DataFrame(peer["users"]).dropna()
        users += len(table)
        if not table.index.equals(pd.Index(own.per_user.index)):
            raise RuntimeError(f"lenskit averages over {len(table)} users, we over {own.users}")
        for name in table:
            distances.setdefault(name, []).append(
                np.abs(table[name] - own.per_user[("naive", name)]).max()
            )
        distances.setdefault("Gini", []).append(
            abs(peer["Gini"] - own.table.loc[("lists", "Gini"), "value"])
        )
    claims = [
        Claim.of(f"{name}: largest distance from lenskit", [max(found)], "at most 1e-9")
        for name, found in distances.items()
    ]
    return report(claims, cases=cases, users=users)
