"""Speed, memory and accuracy of the models beside the article's training loop and lenskit (apart, `make peers`)."""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from causal_lib import paths
from causal_lib.data.preprocess import preprocess_data
from causal_lib.data.sources import load
from causal_lib.evaluation.rankings import evaluate_ranking, mean_ranking, top_items
from causal_lib.experiments.bench import claim, measure, peak_mb
from causal_lib.models.interactions import Interactions, hold_out
from causal_lib.models.recommender import train_recommender
from causal_lib.worlds.online_shop import shop

DIM = 64
_TOP = """
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
# Recall without n divides by all positives, as ours; with n by at most n. offset=1 is 1 / log2(1 + r): without it ranks 1 and 2
# count alike. Precision divides by the items listed, ours by k: an empty place is no hit.
_METRICS = """
import json
import numpy as np, pandas as pd
from lenskit.data import ItemList
from lenskit.metrics import DCG, NDCG, ListGini, Precision, Recall, RecipRank
from lenskit.metrics.ranking import LogRankWeight
cases, told, weight = pd.read_csv("cases.csv"), [], LogRankWeight(offset=1)
lists, truth = (dict(list(pd.read_csv(f"{name}.csv").groupby(["case", "user"]))) for name in ("lists", "truth"))
def items(part, key):
    found = part[key]["item"].to_numpy() if key in part else np.empty(0, dtype=np.int64)
    return ItemList(item_ids=found, ordered=True)
for case, n_users, n_items, k in cases.itertuples(index=False):
    metrics = {
        "recall": Recall(), "precision": Precision(k), "NDCG": NDCG(k, weight=weight), "DCG": DCG(k, weight=weight),
        "MRR": RecipRank(k),
    }
    pairs = [(items(lists, (case, user)), items(truth, (case, user))) for user in range(n_users)]
    values = {
        name: [float(metric.measure_list(*pair)) if len(pair[1]) else None for pair in pairs]
        for name, metric in metrics.items()
    }
    values["precision"] = [
        None if value is None else value * len(one) / k if len(one) else 0.0
        for value, (one, _) in zip(values["precision"], pairs)
    ]
    gini = ListGini(k, items=n_items)
    listed = [gini.compute_list_data(*pair) for pair in pairs if len(pair[0])]
    told.append({"users": values, "Gini": float(gini.global_aggregate(listed))})
print(json.dumps(told, allow_nan=False))
"""
_ONE_THREAD = """
import numpy as np
from causal_lib.models.dnn import build_model, train_model
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx({dtype!r})
with np.load("data.npz") as data:
    data = [data[name] for name in ("X_train", "y_train", "X_val", "y_val")]
model, num_epochs = build_model(data[0].shape[1:], dtype={dtype!r}), {epochs}
"""
_OURS = """rows = len(data[1]) * num_epochs
how = {{"epochs": num_epochs, "patience": num_epochs, "batch_size": {batch_size} or len(data[1]), "verbose": False}}
train_model(model, *data, **how).to_csv("history.csv")"""
# The article's 5.3.3 as printed; it does not say num_epochs.
_ARTICLE = """
from contextlib import redirect_stdout
from tensorflow.keras.optimizers import Adam
def train_model(model, X_train, y_train, X_val, y_val):
    loss_fn = tf.keras.losses.BinaryCrossentropy()
    optimizer = Adam(learning_rate=0.001)

    for epoch in range(num_epochs):
        with tf.GradientTape() as tape:
            predictions = model(X_train, training=True)
            loss = loss_fn(y_train, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

        val_predictions = model(X_val, training=False)
        val_loss = loss_fn(y_val, val_predictions)

        print(f"Epoch {epoch+1}, Loss: {loss}, Val Loss: {val_loss}")
"""
_THEIRS = """rows = len(data[1]) * num_epochs
with open("said.txt", "w") as said, redirect_stdout(said):
    train_model(model, *data)"""
# The matrix products that no training can spare: both passes of the training rows, one of the validation rows.
_PRODUCTS = """rows, batches = len(data[1]) * num_epochs, [part[start : start + 1024].astype({dtype!r})
    for part in data[::2] for start in range(0, len(part), 1024)]
weights = [weight.numpy() for weight in model.trainable_variables if weight.ndim == 2]
for _ in range(num_epochs):
    for number, batch in enumerate(batches):
        steps = [batch]
        for weight in weights:
            steps.append(steps[-1] @ weight)
        if number * 1024 < len(data[1]):
            back = steps.pop()
            for weight in reversed(weights):
                steps.pop().T @ back
                back = back @ weight.T if steps else None"""


def lightgcn(
    seeds: int = 5, *, epochs: int = 100, python: Path | None = None, peers: dict[str, str] | None = None
) -> dict:
    """NDCG@10, seconds of training and of recommending on ml-100k: ratings of 4 and more, each user's last 20% held out.

    Ours chooses the number of epochs (at most ``epochs``) on a tenth of the training rows, then learns from all of them; both
    trainings are timed.
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
        value = mean_ranking(top, rest.matrix(), everyone, metric=("naive", "NDCG"))
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
        tried = train_recommender(first, later, "lightgcn", seed=seed, epochs=epochs, **how)
        found = train_recommender(whole, None, "lightgcn", seed=seed, epochs=tried.epoch, **how)
        trained = time.perf_counter()
        top = top_items(found.scores, everyone, 10, whole.matrix())
        judged("ours", seed, top, trained - start, time.perf_counter() - trained)
    for name, model in (_PEERS if peers is None else peers).items():
        tables = {"train": train[["user_id", "item_id"]], "users": pd.DataFrame({"user_id": ids["user_ids"]})}
        told = _lenskit(_TOP.format(model=model), tables, python)
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
    peak = peak_mb()
    claims.append(claim("most memory of the process, MB", [peak], "at most 1000"))
    return {
        "claims": claims,
        "epochs": len(found.history),
        "seconds": {"training": trained, "ranking": ranked},
        "peak_mb": peak,
    }


def dnn(pairs: int = 3, *, epochs: int = 100, users: int = 2000, items: int = 500, days: int = 14) -> dict:
    """Training rows a CPU second of `dnn.train_model` beside the article's loop as printed, and CPU seconds to the same loss.

    Both train the network of `build_model` on the same rows of the shop, as notebook 03, in fresh processes on one thread, and
    compute the validation loss every epoch. The tracing of our functions is included. By 'all rows' ours takes steps of the
    article's size; by 'mini-batches' those of its default, 1,024 rows. CPU seconds, for they do not count what else the machine does.
    Beside them stand those of the bare matrix products, by numpy: what no training of this network is much faster than.
    """
    data = preprocess_data(shop(users, items, days, 0).log(), split="time", seed=0)
    runs, apart, worse = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = ("X_train", "y_train", "X_val", "y_val")
        np.savez(folder / "data.npz", **{name: getattr(data, name).to_numpy() for name in names})

        def own(dtype, batch_size, epochs):
            work = _OURS.format(batch_size=batch_size)
            found = measure(_ONE_THREAD.format(dtype=dtype, epochs=epochs), work, folder=folder)
            return found, pd.read_csv(folder / "history.csv")[["loss", "val_loss"]].to_numpy()

        def article(dtype):
            imports = _ONE_THREAD.format(dtype=dtype, epochs=epochs) + _ARTICLE
            found = measure(imports, _THEIRS, folder=folder)
            return found, _printed((folder / "said.txt").read_text())

        for _ in range(pairs):
            for dtype in ("float64", "float32"):
                peer, losses = article(dtype)
                same, own_losses = own(dtype, 0, epochs)
                small, later = own(dtype, 1024, epochs)
                enough = int(np.argmax(later[:, 1] <= losses[-1, 1])) + 1
                until, reached = own(dtype, 1024, enough)
                imports = _ONE_THREAD.format(dtype=dtype, epochs=epochs)
                products = measure(imports, _PRODUCTS.format(dtype=dtype), folder=folder)
                found = {
                    "article": peer,
                    "all rows": same,
                    "mini-batches": small,
                    "until then": until,
                    "products": products,
                }
                runs.append(
                    {
                        "dtype": dtype,
                        "article's last validation loss": losses[-1, 1],
                        "our first as low": reached[-1, 1],
                        "our epochs until then": enough,
                        "CPU seconds": {name: one["cpu_seconds"] for name, one in found.items()},
                        "seconds": {name: one["seconds"] for name, one in found.items()},
                    }
                )
                if dtype == "float64":
                    apart.append(np.abs(own_losses - losses).max())
                worse.append(reached[-1, 1] - losses[-1, 1])
    cpu = pd.DataFrame([run["CPU seconds"] for run in runs], index=[run["dtype"] for run in runs])
    claims = [
        claim("float64, all rows: largest distance of a loss from the article's", [max(apart)], "at most 1e-6"),
        claim("mini-batches: our validation loss where we stop less the article's last", [max(worse)], "at most 0"),
    ]
    for what, name, target in (
        ("all rows: rows a CPU second, ours / the article's", "all rows", "at least 1"),
        ("mini-batches: rows a CPU second, ours / the article's", "mini-batches", "at least 3"),
        ("CPU seconds to the same validation loss, the article's / ours", "until then", "at least 3"),
    ):
        for dtype in ("float64", "float32"):
            ratio = (cpu["article"] / cpu[name])[[dtype]]
            claims.append(claim(f"{dtype}, {what}", ratio, target, statistic="median"))
    rows = len(data.y_train)
    speed = (rows * epochs / cpu.drop(columns="until then")).groupby(level=0).median().round().to_dict("index")
    return {"claims": claims, "rows": rows, "epochs": epochs, "rows a CPU second": speed, "runs": runs}


def _printed(said):
    """(epochs, 2) losses and validation losses of the lines that the article's loop prints."""
    return np.array(re.findall(r"Loss: ([\d.e+-]+)", said), dtype=float).reshape(-1, 2)


def metrics(seeds: int = 20, *, python: Path | None = None) -> dict:
    """Largest distance between `ranking.evaluate_ranking` and lenskit's metrics on random lists, user by user.

    Some lists end early or are empty, many users have one positive or none, some more than the list is long.
    """
    cases, lists, truth, ours = [], [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        n_users, n_items, k = int(rng.integers(5, 60)), int(rng.integers(10, 80)), int(rng.integers(1, 11))
        top = rng.random((n_users, n_items)).argsort(axis=1)[:, :k]
        top[1:][np.arange(k) >= rng.integers(k + 1, size=(n_users - 1, 1))] = -1
        likes = rng.random((n_users, n_items)) < rng.choice([0.01, 0.05, 0.4], size=(n_users, 1))
        likes[0] = np.arange(n_items) > 0  # somebody always has a whole list and a positive
        cases.append({"case": seed, "users": n_users, "items": n_items, "k": k})
        for found, (user, place) in ((lists, (top >= 0).nonzero()), (truth, likes.nonzero())):
            item = top[user, place] if found is lists else place
            found.append(pd.DataFrame({"case": seed, "user": user, "item": item}))
        ours.append(evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=2))
    told = _lenskit(
        _METRICS, {"cases": pd.DataFrame(cases), "lists": pd.concat(lists), "truth": pd.concat(truth)}, python
    )
    apart, users = {}, 0
    for own, peer in zip(ours, told, strict=True):
        table = pd.DataFrame(peer["users"]).dropna()
        users += len(table)
        if not table.index.equals(pd.Index(own.per_user.index)):
            raise RuntimeError(f"lenskit averages over {len(table)} users, we over {own.users}")
        for name in table:
            apart.setdefault(name, []).append(np.abs(table[name] - own.per_user[("naive", name)]).max())
        apart.setdefault("Gini", []).append(abs(peer["Gini"] - own.table.loc[("lists", "Gini"), "value"]))
    claims = [
        claim(f"{name}: largest distance from lenskit", [max(found)], "at most 1e-9") for name, found in apart.items()
    ]
    return {"claims": claims, "cases": cases, "users": users}


def _lenskit(code, tables, python):
    """What ``code``, which reads ``tables`` as files, prints as JSON in lenskit's own environment."""
    python = python or paths.ROOT / ".peers" / "lenskit" / "bin" / "python"
    if not Path(python).exists():
        raise FileNotFoundError("no environment of lenskit; build it with `make peers`")
    with tempfile.TemporaryDirectory() as folder:
        for name, table in tables.items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False)
        child = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        if child.returncode:
            raise RuntimeError(f"lenskit ended with status {child.returncode}:\n{child.stderr[-2000:]}")
        return json.loads(child.stdout.splitlines()[-1])
