"""Benchmark of LightGCN on ml-100k beside lenskit's recommenders (in an environment of their own,
`make peers`).
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from causal_lib.data.sources import load
from causal_lib.evaluation.rankings import mean_ranking, top_items
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.peers import LENSKIT, folder_with, run
from causal_lib.models.interactions import Interactions, hold_out
from causal_lib.models.recommender import train_recommender

DIM = 64
_TARGETS = {"lenskit ALS": "at least 0", "lenskit LightGCN": "above 0"}
"""Peer -> claim about the difference of NDCG@10."""


@benchmark(
    "models.lightgcn",
    peer="lenskit's implicit ALS and LightGCN, 64 factors, with all rows to train on",
)
def lightgcn(seeds: int = 5, *, epochs: int = 100, python: Path | None = None) -> dict:
    """NDCG@10 and seconds on ml-100k, ratings of 4 and more, each user's last 20% held out, full
    ranking; one thread.

    Ours chooses the number of epochs (at most ``epochs``) on a tenth of the training rows, then
    learns from all of them; both trainings are timed. Its penalty, step and number of layers were
    the best of seven on that tenth, over three seeds.
    """
    torch.set_num_threads(1)
    liked = load("ml-100k")["ratings"].query("rating >= 4")
    train, test = hold_out(liked, 0.2)
    test = test[test["item_id"].isin(train["item_id"])]
    ids = {
        "user_ids": np.sort(train["user_id"].unique()),
        "item_ids": np.sort(train["item_id"].unique()),
    }
    whole, rest = (Interactions.of(part, value=None, **ids) for part in (train, test))
    everyone = np.arange(whole.shape[0])
    rows = []

    def add_row(method, seed, top, train_seconds, seconds):
        value = mean_ranking(top, rest.matrix(), everyone, metric=("naive", "NDCG"))
        rows.append(
            {
                "method": method,
                "seed": seed,
                "ndcg": value,
                "train": train_seconds,
                "recommend": seconds,
            }
        )

    first, later = (Interactions.of(part, value=None, **ids) for part in hold_out(train, 0.1))
    how = {
        "options": {"dim": DIM, "l2": 0.003},
        "learning_rate": 0.02,
        "batch_size": 4096,
        "patience": 10,
        "progress": False,
    }
    for seed in range(seeds):
        start = time.perf_counter()
        tried = train_recommender(first, later, "lightgcn", seed=seed, epochs=epochs, **how)
        found = train_recommender(whole, None, "lightgcn", seed=seed, epochs=tried.epoch, **how)
        trained = time.perf_counter()
        top = top_items(found.scores, everyone, 10, whole.matrix())
        add_row("ours", seed, top, trained - start, time.perf_counter() - trained)
    place = pd.Index(ids["item_ids"])
    users = pd.DataFrame({"user_id": ids["user_ids"]})
    for name in _TARGETS:
        with folder_with(train=train[["user_id", "item_id"]], users=users) as folder:
            found = run(
                "lenskit_calls.recommend_lists",
                {"scorer": name},
                python=python or LENSKIT,
                folder=folder,
            )
        lists = [
            np.pad(place.get_indexer(one), (0, 10 - len(one)), constant_values=-1)
            for one in found["lists"]
        ]
        add_row(name, 0, np.array(lists), found["train"], found["recommend"])
    table = pd.DataFrame(rows).set_index("method")
    ours = table.loc[["ours"]]
    claims = []
    for name, target in _TARGETS.items():
        peer = table.loc[name]
        claims.append(Claim.of(f"NDCG@10, ours - {name}", ours["ndcg"] - peer["ndcg"], target))
        for what, word, limit in (("train", "training", 0.5), ("recommend", "recommending", 0.1)):
            if what == "recommend" or name == "lenskit LightGCN":
                sentence = f"seconds of {word}, ratio to {name}"
                claims.append(
                    Claim.of(
                        sentence, ours[what] / peer[what], f"at most {limit}", statistic="median"
                    )
                )
    return report(claims, rows=table.reset_index().round(4).to_dict("records"))
