"""Speed, memory and accuracy of the recommenders beside lenskit's (in an environment of its own, `make peers`)."""

import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from causal_lib import paths
from causal_lib.bench import claim
from causal_lib.data.sources import load
from causal_lib.models.interactions import Interactions, hold_out
from causal_lib.models.recommender import train_recommender
from causal_lib.ranking import evaluate_ranking, top_items

DIM = 64
_LENSKIT = """
import json, time
import numpy as np, pandas as pd
from lenskit.data import ItemListCollection, from_interactions_df
from lenskit.pipeline import topn_pipeline
from lenskit.batch import recommend
import torch
torch.set_num_threads(1)
train, users = pd.read_csv("train.csv"), pd.read_csv("users.csv")["user_id"].tolist()
data = from_interactions_df(train)
{model}
start = time.perf_counter()
pipeline = topn_pipeline(model)
pipeline.train(data)
trained = time.perf_counter()
found = recommend(pipeline, users, 10, n_jobs=1)
done = time.perf_counter()
lists = [found.lookup(user_id=user).ids().tolist() for user in users]
print(json.dumps({{"lists": lists, "train": trained - start, "recommend": done - trained}}, default=int))
"""
_PEERS = {
    "lenskit ALS": "from lenskit.als import ImplicitMFScorer\nmodel = ImplicitMFScorer(features=64)",
    "lenskit LightGCN": "from lenskit.graphs.lightgcn import LightGCNScorer\n"
    "model = LightGCNScorer(embedding_size=64, epochs=50)",
}


def lightgcn(seeds: int = 5, *, python: Path | None = None, peers: dict[str, str] | None = None) -> dict:
    """NDCG@10, seconds of training and of recommending on ml-100k: ratings of 4 and more, each user's last 20% held out.

    Ours chooses the number of epochs on a tenth of the training rows, then learns from all of them; both trainings are timed.
    Its penalty, step and number of layers were the best of seven on that tenth, over three seeds.
    """
    torch.set_num_threads(1)
    liked = load("ml-100k")["ratings"].query("rating >= 4")
    train, test = hold_out(liked, 0.2)
    test = test[test["item_id"].isin(train["item_id"])]
    ids = {"user_ids": np.sort(train["user_id"].unique()), "item_ids": np.sort(train["item_id"].unique())}
    whole, rest = (Interactions.of(part, value=None, **ids) for part in (train, test))
    everyone, rows = np.arange(whole.shape[0]), []

    def judged(method, seed, top, train_seconds, seconds):
        value = evaluate_ranking(top, rest.matrix(), everyone, n_boot=2).table.loc[("naive", "NDCG"), "value"]
        rows.append({"method": method, "seed": seed, "ndcg": value, "train": train_seconds, "recommend": seconds})

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
        tried = train_recommender(first, later, "lightgcn", seed=seed, epochs=100, **how)
        found = train_recommender(whole, None, "lightgcn", seed=seed, epochs=tried.epoch, **how)
        trained = time.perf_counter()
        top = top_items(found.scores, everyone, 10, whole.matrix())
        judged("ours", seed, top, trained - start, time.perf_counter() - trained)
    for name, model in (_PEERS if peers is None else peers).items():
        told = _lenskit(model, train, ids, python)
        place = pd.Index(ids["item_ids"])
        top = np.array(
            [np.pad(place.get_indexer(one), (0, 10 - len(one)), constant_values=-1) for one in told["lists"]]
        )
        judged(name, 0, top, told["train"], told["recommend"])
    table = pd.DataFrame(rows)
    claims, ours = [], table[table["method"] == "ours"]
    for name, target in (("lenskit ALS", "at least 0"), ("lenskit LightGCN", "above 0")):
        for _, peer in table[table["method"] == name].iterrows():
            claims.append(claim(f"NDCG@10, ours - {name}", ours["ndcg"] - peer["ndcg"], target))
            if name == "lenskit LightGCN":
                ratio = ours["train"] / peer["train"]
                claims.append(claim(f"seconds of training, ratio to {name}", ratio, "at most 0.5", statistic="median"))
            ratio = ours["recommend"] / peer["recommend"]
            claims.append(claim(f"seconds of recommending, ratio to {name}", ratio, "at most 0.1", statistic="median"))
    return {"claims": claims, "rows": table.round(4).to_dict("records")}


def size(rows: int = 1_000_000, *, n_users: int = 10_000, n_items: int = 5_000) -> dict:
    """Seconds and memory of debiased factorisation on many interactions, and of ranking the whole catalogue for everybody."""
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    level = rng.normal(size=(n_users, 8)).astype(np.float32), rng.normal(size=(n_items, 8)).astype(np.float32)
    pairs = np.unique(rng.integers(n_users * n_items, size=int(1.05 * rows)))
    pairs = rng.permutation(pairs)[:rows]
    users, items = pairs // n_items, pairs % n_items
    score = (level[0][users] * level[1][items]).sum(axis=1) / 3
    value = np.clip(np.rint(3 + score + 0.5 * rng.normal(size=len(pairs))), 1, 5)
    share = np.clip(0.02 * 2.0 ** (value - 1), 0.01, 1)
    last = rng.random(len(pairs)) < 0.1
    ids = pd.RangeIndex(n_users), pd.RangeIndex(n_items)
    parts = [Interactions(users[k], items[k], value[k], *ids) for k in (~last, last)]
    start, claims = time.perf_counter(), []
    found = train_recommender(
        *parts, "ips-mf", propensity=share[~last], validation_propensity=share[last], batch_size=16_384, patience=3,
        options={"dim": 16}, progress=False,
    )  # fmt: skip
    trained = time.perf_counter() - start
    claims.append(claim(f"{rows:,} interactions: seconds of debiased factorisation", [trained], "at most 60"))
    start = time.perf_counter()
    top = top_items(found.scores, np.arange(n_users), 10, parts[0].matrix())
    evaluate_ranking(top, parts[1].matrix(), popularity=np.bincount(parts[0].items, minlength=n_items))
    ranked = time.perf_counter() - start
    claims.append(claim(f"{n_users:,} users, {n_items:,} items: seconds of full ranking", [ranked], "at most 10"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    claims.append(claim("most memory of the process, MB", [peak], "at most 1000"))
    return {
        "claims": claims,
        "epochs": len(found.history),
        "seconds": {"training": trained, "ranking": ranked},
        "peak_mb": peak,
    }


def _lenskit(model, train, ids, python):
    python = python or paths.ROOT / ".peers" / "lenskit" / "bin" / "python"
    if not Path(python).exists():
        raise FileNotFoundError("no environment of lenskit; build it with `make peers`")
    with tempfile.TemporaryDirectory() as folder:
        train[["user_id", "item_id"]].to_csv(Path(folder) / "train.csv", index=False)
        pd.DataFrame({"user_id": ids["user_ids"]}).to_csv(Path(folder) / "users.csv", index=False)
        command = [python, "-c", _LENSKIT.format(model=model)]
        child = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if child.returncode:
            raise RuntimeError(f"lenskit ended with status {child.returncode}:\n{child.stderr[-2000:]}")
        return json.loads(child.stdout.splitlines()[-1])
