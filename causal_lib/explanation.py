"""Explanations (article Q5, 9.3): what a model's score is made of, by inputs, by edges of the graph, by taste and popularity.

They describe the model, not the world: a feature that moves a score much may move nothing that happens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from causal_lib.checks import check_binary
from causal_lib.features import auc_falls
from causal_lib.graph import CausalGraph
from causal_lib.models.factors import Recommender
from causal_lib.models.gnn import EdgePredictor, node_numbers
from causal_lib.models.interactions import Interactions
from causal_lib.resampling import mean_with_interval

_USERS = 2_000  # most users that the average over users is taken from


# ---- inputs ----------------------------------------------------------------------------------------------------


def permutation_importance(
    predict: Callable[[np.ndarray], np.ndarray],
    X,
    y,
    groups: Mapping[str, Sequence[int]],
    *,
    n_repeats: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """By how much the ROC AUC of a fitted model falls when columns of ``X`` are shuffled together, largest first.

    Columns importance, low, high: mean and 95% interval (Student's t) over the repeats, of the shuffling, not of the fit.

    Parameters
    ----------
    predict : (n, columns) to (n,) scores. X : rows it was not fitted to; y : zeros and ones.
    groups : name -> column numbers that are shuffled as one, the indicators of a category for instance.

    Source: Breiman 2001.
    """
    X, y = np.asarray(X), check_binary(y, name="y")
    if n_repeats < 2:
        raise ValueError(f"{n_repeats=} gives no interval; at least 2 are needed")
    if len(X) != len(y):
        raise ValueError(f"X has {len(X)} rows, y {len(y)}; they must agree")
    for name, columns in groups.items():
        if len(columns) == 0 or min(columns) < 0 or max(columns) >= X.shape[1]:
            raise ValueError(f"groups: {name!r} names columns {list(columns)}; X has columns 0..{X.shape[1] - 1}")
    falls = auc_falls(predict, X, y, list(groups.values()), n_repeats, np.random.default_rng(seed))
    mean, low, high = mean_with_interval(falls)
    table = pd.DataFrame({"importance": mean, "low": low, "high": high}, index=list(groups))
    return table.rename_axis("feature").sort_values("importance", ascending=False, kind="stable")


def integrated_gradients(model, X, baseline=None, *, steps: int = 100):
    """Share of each input in the log-odds of each row, as `X` is shaped: they add up to log-odds(X) - log-odds(baseline).

    (x - b) times the mean gradient on the straight way from b to x, by the midpoint rule.

    Parameters
    ----------
    model : a Keras model with one sigmoid output, in double precision if the sum is to be exact.
    X : (n, ...) array, or a mapping of them; whole numbers (codes of users and items) stay as they are and have no share.
    baseline : one row, or a mapping of them; zeros by default, the average of standardised features.

    Source: Sundararajan, Taly and Yan 2017.
    """
    import tensorflow as tf  # takes seconds, and only Keras models need it

    if steps < 1:
        raise ValueError(f"{steps=} must be 1 or more")
    mapped = isinstance(X, Mapping)
    given = {name: np.asarray(values) for name, values in (X if mapped else {"": X}).items()}
    numbers = {name: values for name, values in given.items() if values.dtype.kind == "f"}
    if not numbers:
        raise ValueError("X: no input holds real numbers; whole ones (codes) have no gradient")
    start = {name: np.zeros(values.shape[1:]) for name, values in numbers.items()}
    if baseline is not None:
        start |= baseline if mapped else {"": baseline}
    if strange := {n: np.shape(b) for n, b in start.items() if n not in numbers or np.shape(b) != numbers[n].shape[1:]}:
        raise ValueError(f"baseline: {strange} do not fit rows of { ({n: v.shape[1:] for n, v in numbers.items()}) }")
    total = {name: np.zeros(values.shape) for name, values in numbers.items()}
    fixed = {name: tf.constant(values) for name, values in given.items() if name not in numbers}
    dtype = model.outputs[0].dtype
    for step in range(steps):
        share = (step + 0.5) / steps
        point = {n: tf.constant(start[n] + share * (values - start[n]), dtype) for n, values in numbers.items()}
        with tf.GradientTape() as tape:
            tape.watch(point)
            both = fixed | point
            p = model(both if mapped else both[""], training=False)
            score = tf.math.log(p) - tf.math.log1p(-p)
        for name, gradient in tape.gradient(score, point).items():
            total[name] += gradient.numpy() / steps
    found = {name: (values - start[name]) * total[name] for name, values in numbers.items()}
    return found if mapped else found[""]


# ---- edges -----------------------------------------------------------------------------------------------------


def edge_importance(model: EdgePredictor, graph: Data, user, item, *, steps: int = 50) -> pd.DataFrame:
    """Share of each edge of the graph in the log-odds that ``user`` buys ``item`` (ids), largest in size first.

    Columns one, other, importance: integrated gradients from no message at all to all messages, the two directions of an edge added
    up; rows with one = other are what a node tells itself. They add up to the log-odds less those without any message (the error of
    the midpoint rule apart). The degrees that weigh messages stay those of the whole graph. Edges without a share are left out.

    Source: Sundararajan, Taly and Yan 2017, on the edge mask of Ying and others 2019 (GNNExplainer).
    """
    if steps < 1:
        raise ValueError(f"{steps=} must be 1 or more")
    u, i = node_numbers(graph, [user], [item])
    edges, _ = gcn_norm(graph.edge_index, num_nodes=graph.num_nodes, dtype=graph.x.dtype)
    total = torch.zeros(edges.shape[1], dtype=graph.x.dtype)
    model.eval()
    try:
        for step in range(steps):
            mask = torch.nn.Parameter(torch.full_like(total, (step + 0.5) / steps))
            set_masks(model, mask, edges, apply_sigmoid=False)
            total += torch.autograd.grad(model(graph, u, i).sum(), mask)[0] / steps
    finally:
        clear_masks(model)
    low, high = edges.min(dim=0).values.numpy(), edges.max(dim=0).values.numpy()
    table = pd.DataFrame({"one": low, "other": high, "importance": total.numpy()})
    table = table.groupby(["one", "other"], as_index=False)["importance"].sum()
    table = table[table["importance"] != 0].sort_values("importance", key=np.abs, ascending=False, kind="stable")
    names = np.asarray(graph.node_names, dtype=object)
    return table.assign(one=names[table["one"]], other=names[table["other"]]).reset_index(drop=True)


# ---- taste and popularity --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a recommender ranks an item where it does; prints as sentences.

    Attributes
    ----------
    user, item : ids; method : of the recommender.
    parts : popularity, appeal, taste, in standard deviations of the user's scores; they add up to the item's lead over the
        average item. rank : among the ``of`` items that the user has not met; rank_without : the same once popularity's part is
        taken away from every item, which is what a debiased model is after.
    because : items that the user has met whose taste goes with this one's among users, the closest first, with the correlation.
    paths : 'popularity' and 'taste' -> ways through the causal graph that each part stands for.
    """

    user: object
    item: object
    method: str
    parts: pd.Series
    rank: int
    rank_without: int
    of: int
    because: dict
    paths: dict[str, list[str]]

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return vars(self) | {"parts": self.parts.to_dict()}

    def __repr__(self):
        lead, (popularity, appeal, taste) = self.parts.sum(), self.parts
        lines = [
            f"{self.method} ranks item {self.item} {self.rank} of {self.of} for user {self.user}, {lead:+.2f} standard deviations "
            f"from the average item: {popularity:+.2f} since it is popular, {appeal:+.2f} since all users score it more or less than "
            f"items as popular, {taste:+.2f} by this user's taste. Without what is due to popularity it would rank {self.rank_without}."
        ]
        if self.because:
            lines.append("Taste goes with " + ", ".join(f"item {i} ({r:+.2f})" for i, r in self.because.items()) + ".")
        lines += [f"{part.capitalize()}: " + "; ".join(ways) + "." for part, ways in self.paths.items() if ways]
        return "\n".join(lines)


def explain(
    recommender: Recommender,
    user,
    item,
    train: Interactions,
    *,
    graph: CausalGraph | None = None,
    exposure: str = "exposed",
    outcome: str = "clicked",
    like: int = 3,
    seed: int = 0,
) -> Explanation:
    """Which part of a score comes from the user's taste, which from popularity, as an `Explanation`.

    With s_ui less the user's mean, m_i its mean over users: popularity is the line of m_i on log(1 + clicks in training), appeal what
    is left of m_i, taste s_ui - m_i. The line gives popularity whatever goes along with it, quality that made an item popular
    too: it is what could be due to popularity, not what certainly is. Means are over at most 2,000 users, drawn by ``seed``.

    Parameters
    ----------
    user, item : ids of ``train``, which the recommender was trained on.
    graph : the causal graph with ``exposure`` and ``outcome``, for the paths. like : length of ``because``.

    Raises
    ------
    ValueError
        for ids that are not in ``train``, data of another shape, an item that the user has met in training, items that are all
        equally popular, scores that are all equal.
    """
    if recommender.shape != train.shape:
        raise ValueError(f"the recommender knows {recommender.shape} users and items, train has {train.shape}")
    u, i = (ids.get_indexer([one])[0] for ids, one in ((train.user_ids, user), (train.item_ids, item)))
    for name, code, one in (("user", u, user), ("item", i, item)):
        if code < 0:
            raise ValueError(f"{name}: {one!r} is not among the {name}_ids of train")
    met = train.items[train.users == u]
    if i in met:
        raise ValueError(f"item: user {user!r} has met {item!r} in training; it is not recommended again")
    counts = np.bincount(train.items, minlength=train.shape[1])
    if counts.min() == counts.max():
        raise ValueError(f"train: all {len(counts)} items were met {counts[0]} times; no part is due to popularity")
    rows = np.random.default_rng(seed).permutation(train.shape[0])[:_USERS]
    rows = np.append(rows[rows != u], u)
    scores = recommender.scores(rows).astype(float)
    spread = scores[-1].std()
    if spread == 0:
        raise ValueError(f"recommender: all items have the same score for user {user!r}; there is nothing to explain")
    popularity, appeal, taste = score_parts(scores, counts)
    parts = pd.Series([popularity[i], appeal[i], taste[-1, i]], ["popularity", "appeal", "taste"]) / spread
    new = np.setdiff1d(np.arange(len(counts)), met)
    own = popularity + appeal + taste[-1]
    ranks = [1 + int((one[new] > one[i]).sum()) for one in (own, own - popularity)]
    because = _alike(taste, i, met, train.item_ids, like)
    paths = {} if graph is None else _paths(graph, exposure, outcome)
    return Explanation(user, item, recommender.method, parts, *ranks, len(new), because, paths)


def score_parts(scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Popularity (items,), appeal (items,) and taste (users, items) of ``scores`` (users, items), as `explain` tells them.

    They add up to the scores less each user's mean. ``counts`` (items,): how often each item was met, not all equal.
    """
    scores = scores - scores.mean(axis=1, keepdims=True)
    mean = scores.mean(axis=0)
    log = np.log1p(counts) - np.log1p(counts).mean()
    popularity = log * (log @ mean) / (log @ log)
    return popularity, mean - popularity, scores - mean


def _alike(taste, item, met, ids, count):
    """Id -> correlation over users with the taste for ``item``, of the ``count`` items in ``met`` where it is highest."""
    own, others = taste[:, item], taste[:, met]
    length = np.linalg.norm(own) * np.linalg.norm(others, axis=0)
    r = np.divide(own @ others, length, out=np.zeros(len(met)), where=length > 0)
    best = np.argsort(-r, kind="stable")[:count]
    return {ids[met[k]]: round(float(r[k]), 6) for k in best if r[k] > 0}


def _paths(graph, exposure, outcome):
    """The shortest way of each cause of ``exposure`` through it to ``outcome``, and the causes that reach it without."""
    directed = graph.require_dag("explain").to_networkx()
    for name in (exposure, outcome):
        if name not in directed:
            raise ValueError(f"graph: no variable {name!r}; it has {', '.join(graph.names)}")
    shown = nx.descendants(directed, exposure) | {exposure}
    if outcome not in shown:
        raise ValueError(f"graph: {exposure!r} is no cause of {outcome!r}; name the exposure that the data came by")
    through = " → ".join(nx.shortest_path(directed, exposure, outcome))
    return {
        "popularity": [f"{cause} → {through}" for cause in directed.predecessors(exposure)] or [through],
        "taste": [f"{cause} → {outcome}" for cause in directed.predecessors(outcome) if cause not in shown],
    }


# ---- pictures --------------------------------------------------------------------------------------------------


def layer_table(model) -> pd.DataFrame:
    """The layers of a Keras or torch model, for `plots.layers`: layer, kind, shape (of the output, Keras only), parameters, after.

    ``after`` lists the layers that feed it; of a torch model, whose order is only known when it runs, the one named before it.
    """
    if hasattr(model, "layers"):
        fed = {one["name"]: _named(one["inbound_nodes"]) for one in model.get_config()["layers"]}
        rows = [
            (
                one.name,
                type(one).__name__,
                " x ".join(map(str, one.output.shape[1:])),
                one.count_params(),
                fed[one.name],
            )
            for one in model.layers
        ]
    else:
        own = [(name, one) for name, one in model.named_modules() if any(True for _ in one.parameters(recurse=False))]
        outer = [(name, one) for name, one in own if not any(name.startswith(f"{other}.") for other, _ in own)]
        rows, before = [], []
        for name, one in outer:
            rows.append((name, type(one).__name__, "", sum(p.numel() for p in one.parameters()), before))
            before = [name]
    return pd.DataFrame(rows, columns=["layer", "kind", "shape", "parameters", "after"])


def _named(config):
    """Names of the layers that a layer's saved inputs refer to, each once."""
    found = []
    if isinstance(config, Mapping):
        if "keras_history" in config:
            return [config["keras_history"][0]]
        config = list(config.values())
    for one in config if isinstance(config, list | tuple) else ():
        found += [name for name in _named(one) if name not in found]
    return found
