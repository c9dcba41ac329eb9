"""The same prediction task in TensorFlow, PyTorch and PyTorch Geometric, each in its own way of
writing it.
"""

from copy import deepcopy
from functools import partial
from itertools import permutations

import numpy as np
import pandas as pd
import torch

from causal_lib.data.preprocess import preprocess_data
from causal_lib.evaluation import evaluate
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.metric import Metric
from causal_lib.models.gnn import EdgePredictor, convert_to_graph, node_numbers
from causal_lib.worlds import shop

WITHIN = (
    "TensorFlow, PyTorch and PyTorch Geometric: on the same test rows the AUC of each lies within "
    "the 95% interval of each other."
)
SAME = (
    "TensorFlow and PyTorch train the same network by the same recipe and differ only in what is "
    "drawn: the 95% interval of the difference in AUC (same bootstrap users) lies within ±0.01."
)


def by_keras(X, y, X_val, y_val, X_test, *, epochs, batch_size, seed):
    """Scores of a dense network: Keras names layers, a loss and an optimiser, and has the loop."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    dense = partial(tf.keras.layers.Dense, dtype="float64")
    model = tf.keras.Sequential(
        [
            dense(128, activation="relu"),
            dense(64, activation="relu"),
            dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=tf.keras.optimizers.Adam(0.001),
        loss="binary_crossentropy",
        steps_per_execution=30,
    )
    stop = tf.keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    how = {"epochs": epochs, "batch_size": batch_size, "callbacks": [stop], "verbose": 0}
    model.fit(X, y, validation_data=(X_val, y_val), **how)
    return model.predict(X_test, verbose=0).ravel()


def _fit(model, forward, X, y, X_val, y_val, *, epochs, batch_size, rate, patience, seed):
    """Train by binary cross-entropy until the validation loss no longer falls; ``forward`` gives
    the logits of rows, ``X`` is a list of tensors that are cut alike.
    """
    entropy = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    least = np.inf
    for epoch in range(epochs):
        for rows in torch.randperm(len(y), generator=generator).split(batch_size):
            optimizer.zero_grad()
            entropy(forward(*(part[rows] for part in X)), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = entropy(forward(*X_val), y_val).item()
        if loss < least:
            least = loss
            best = epoch
            weights = deepcopy(model.state_dict())
        elif epoch - best >= patience:
            break
    model.load_state_dict(weights)


def by_torch(X, y, X_val, y_val, X_test, *, epochs, batch_size, seed):
    """Scores of the same dense network; in PyTorch the loop is the user's."""
    torch.manual_seed(seed)
    linear = partial(torch.nn.Linear, dtype=torch.float64)
    relu = torch.nn.ReLU()
    model = torch.nn.Sequential(
        linear(X.shape[1], 128), relu, linear(128, 64), relu, linear(64, 1), torch.nn.Flatten(0)
    )
    X, y, X_val, y_val, X_test = map(torch.tensor, (X, y, X_val, y_val, X_test))
    how = {"epochs": epochs, "batch_size": batch_size, "rate": 0.001, "patience": 10, "seed": seed}
    _fit(model, model, [X], y, [X_val], y_val, **how)
    with torch.no_grad():
        return torch.sigmoid(model(X_test)).numpy()


def by_torch_geometric(log, users, items, last_train, last_val, *, epochs, seed):
    """Scores of a graph network: messages along purchases before the rows that are learnt from; the
    whole graph is one step.
    """
    first = (last_train + 1) // 2
    graph, later = (
        convert_to_graph(log[log["day"] < day], users, items, dtype="float64")
        for day in (first, last_val + 1)
    )
    train = log[log["day"].between(first, last_train)]
    val = log[log["day"].between(last_train + 1, last_val)]
    test = log[log["day"] > last_val]
    pairs = [node_numbers(graph, part["user_id"], part["item_id"]) for part in (train, val, test)]
    y, y_val = (torch.tensor(part["purchased"].to_numpy(dtype=float)) for part in (train, val))
    torch.manual_seed(seed)
    model = EdgePredictor(graph.num_features, hidden=32).double()
    how = {"epochs": epochs, "batch_size": len(y), "rate": 0.03, "patience": 20, "seed": seed}
    _fit(model, partial(model, graph), pairs[0], y, pairs[1], y_val, **how)
    with torch.no_grad():
        return torch.sigmoid(model(later, *pairs[2])).numpy()


def _compared(seed, n_users, n_items, days, epochs, batch_size, n_boot):
    """A row per framework with its AUC and interval; the differences of pairs with theirs."""
    world = shop(n_users, n_items, days, seed)
    log = world.log()
    prepared = preprocess_data(log, split="time", seed=seed)
    parts = [
        np.asarray(part, dtype=float)
        for part in (
            prepared.X_train,
            prepared.y_train,
            prepared.X_val,
            prepared.y_val,
            prepared.X_test,
        )
    ]
    how = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    last_train = int(prepared.rows_train["day"].max())
    last_val = int(prepared.rows_val["day"].max())
    tables = world.users, world.items
    scores = {
        "TensorFlow": by_keras(*parts, **how),
        "PyTorch": by_torch(*parts, **how),
        "PyTorch Geometric": by_torch_geometric(
            log, *tables, last_train, last_val, epochs=4 * epochs, seed=seed
        ),
    }
    users = log.loc[log["day"] > last_val, "user_id"]
    found = {
        name: evaluate(prepared.y_test, score, groups=users, n_boot=n_boot, seed=seed)
        for name, score in scores.items()
    }
    rows = []
    for name, evaluation in found.items():
        auc = evaluation.to_frame().loc[("naive", "ROC AUC")]
        rows.append({"seed": seed, "method": name, **auc[["value", "low", "high"]].to_dict()})
    differences = []
    for first, second in (
        ("TensorFlow", "PyTorch"),
        ("PyTorch Geometric", "TensorFlow"),
        ("PyTorch Geometric", "PyTorch"),
    ):
        draws = [found[name].draws["naive", "ROC AUC"] for name in (first, second)]
        low, high = (draws[0] - draws[1]).quantile([0.025, 0.975])
        values = [row["value"] for name in (first, second) for row in rows if row["method"] == name]
        label = f"{first} minus {second}"
        ends = {"value": values[0] - values[1], "low": low, "high": high}
        differences.append({"seed": seed, "what": label, **ends})
    return rows, differences


@benchmark(
    "models.frameworks", peer="TensorFlow, PyTorch and PyTorch Geometric, each other's peers"
)
def frameworks(
    *,
    seeds: int = 5,
    n_users: int = 1000,
    n_items: int = 300,
    days: int = 14,
    epochs: int = 100,
    batch_size: int = 1024,
    n_boot: int = 500,
) -> dict:
    """Who buys on days not seen: one dense network by two frameworks, and a graph network, over
    five shops.

    A seed makes the shop, the first weights and the order of the rows. The predictions were first
    tested in shop 0 alone; their claims about it keep that outcome, those about all shops say how
    far it carries. ``rows`` have the AUC with a 95% interval over bootstrap users, ``differences``
    the same of pairs, ``means`` the mean over the shops with its t-interval. The graph network has
    another learning rate and more epochs than the dense ones.
    """
    rows = []
    differences = []
    for seed in range(seeds):
        found = _compared(seed, n_users, n_items, days, epochs, batch_size, n_boot)
        rows += found[0]
        differences += found[1]
    inside = []
    ends = []
    for seed in range(seeds):
        own = [row for row in rows if row["seed"] == seed]
        pairs = permutations(own, 2)
        inside.append(np.mean([a["low"] <= b["value"] <= a["high"] for a, b in pairs]))
        [dense] = [
            one
            for one in differences
            if one["seed"] == seed and one["what"] == "TensorFlow minus PyTorch"
        ]
        ends.append(max(-dense["low"], dense["high"]))
    share = "Share of pairs of which it is true"
    end = "The end of the interval that is farther from 0"
    claims = [
        Claim.of(f"{WITHIN} {share}, shop 0", inside[:1], "at least 1"),
        Claim.of(f"{WITHIN} {share}, all shops", inside, "at least 1"),
        Claim.of(f"{SAME} {end}, shop 0", ends[:1], "below 0.01"),
        Claim.of(f"{SAME} {end}, all shops", ends, "below 0.01"),
    ]
    means = []
    for what, some in pd.DataFrame(differences).groupby("what", sort=False):
        mean = Metric.mean_of("", str(what), some["value"])
        means.append({"what": what, "mean": mean.value, "low": mean.low, "high": mean.high})
    return report(claims, rows=rows, differences=differences, means=means)
