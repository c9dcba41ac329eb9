"""Explanations (article Q5, 9.3): the parts of a score by inputs, edges, taste and popularity.

They describe the model, not the world: a feature with a large share in a score may have no effect.
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

from causal_lib.checks import check_binary, check_same_order
from causal_lib.features import auc_falls, importance_table
from causal_lib.graph import CausalGraph
from causal_lib.models.gnn import EdgePredictor, node_numbers
from causal_lib.models.interactions import Interactions
from causal_lib.models.recommender import Recommender
from causal_lib.ordering import canonical_places

_USERS = 2_000  # most users that the average over users is taken from


# ---- inputs --------------------------------------------------------------------------------------


def permutation_importance(
    predict: Callable[[np.ndarray], np.ndarray],
    X,
    y,
    groups: Mapping[str, Sequence[int]],
    *,
    n_repeats: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Fall of a fitted model's ROC AUC when columns of ``X`` are shuffled together, largest first.

    Columns importance, low, high: the mean over the repeats and its 95% interval (Student's t). It
    covers the randomness of shuffling, not of the fit. The order of rows changes nothing, nor does
    that of columns where ``predict`` takes the same numbers in another order.

    Parameters
    ----------
    predict : (n, columns) to (n,) scores.
    X, y : rows that the model was not fitted to; zeros and ones.
    groups : name -> column numbers that are shuffled as one, such as the indicators of a category.

    Raises ValueError for fewer than 2 repeats, columns that are not there, and ``y`` of another
    length or without both 0 and 1.

    Source: Breiman 2001.
    """
    check_same_order(X=X, y=y)
    X = np.asarray(X)
    y = check_binary(y, name="y")
    if n_repeats < 2:
        raise ValueError(f"{n_repeats=} gives no interval; at least 2 are needed")
    if len(X) != len(y):
        raise ValueError(f"X has {len(X)} rows, y {len(y)}; they must agree")
    for name, columns in groups.items():
        if len(columns) == 0 or min(columns) < 0 or max(columns) >= X.shape[1]:
            raise ValueError(
                f"groups: {name!r} names columns {list(columns)}; X has columns 0..{X.shape[1] - 1}"
            )
    order, _ = canonical_places(X, y, y)
    rng = np.random.default_rng(seed)
    falls = auc_falls(predict, X[order], y[order], list(groups.values()), n_repeats, rng)
    return importance_table(falls, list(groups))


def integrated_gradients(model, X, baseline=None, *, steps: int = 100):
    """Share of each input in the log-odds of each row, shaped as ``X``.

    The shares add up to log-odds(X) - log-odds(baseline). A share is (x - b) times the mean
    gradient on the straight line from b to x, by the midpoint rule.

    Parameters
    ----------
    model : a Keras model with one sigmoid output, in double precision if the sum is to be exact.
    X : (n, ...) array, or a mapping of arrays. Whole numbers (codes) stay as they are and have no
        share.
    baseline : one row, or a mapping of them. Zeros by default, the average of standardised
        features.

    Raises ValueError for ``steps`` below 1, inputs without real numbers and a baseline of another
    shape.

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
    shapes = {name: values.shape[1:] for name, values in numbers.items()}
    given_shapes = {name: np.shape(values) for name, values in start.items()}
    strange = {name: one for name, one in given_shapes.items() if shapes.get(name) != one}
    if strange:
        raise ValueError(f"baseline: {strange} do not fit rows of {shapes}")
    total = {name: np.zeros(values.shape) for name, values in numbers.items()}
    fixed = {name: tf.constant(values) for name, values in given.items() if name not in numbers}
    dtype = model.outputs[0].dtype
    for step in range(steps):
        share = (step + 0.5) / steps
        point = {
            name: tf.constant(start[name] + share * (values - start[name]), dtype)
            for name, values in numbers.items()
        }
        with tf.GradientTape() as tape:
            tape.watch(point)
            both = fixed | point
            p = model(both if mapped else both[""], training=False)
            score = tf.math.log(p) - tf.math.log1p(-p)
        for name, gradient in tape.gradient(score, point).items():
            total[name] += gradient.numpy() / steps
    found = {name: (values - start[name]) * total[name] for name, values in numbers.items()}
    return found if mapped else found[""]


# ---- edges ---------------------------------------------------------------------------------------


def edge_importance(
    model: EdgePredictor, graph: Data, user, item, *, steps: int = 50
) -> pd.DataFrame:
    """Share of each edge in the log-odds that ``user`` buys ``item`` (ids), largest in size first.

    Columns one, other, importance: integrated gradients from no messages to all messages, summed
    over both directions of an edge. Rows with one = other are a node's message to itself. The
    shares add up to the log-odds minus those without messages, but for the error of the midpoint
    rule. Messages keep the weights of the whole graph. Edges without a share are left out.

    Source: Sundararajan, Taly and Yan 2017; Ying and others 2019 (the edge mask of GNNExplainer).
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
    low = edges.min(dim=0).values.numpy()
    high = edges.max(dim=0).values.numpy()
    table = pd.DataFrame({"one": low, "other": high, "importance": total.numpy()})
    table = table.groupby(["one", "other"], as_index=False)["importance"].sum()
    table = table[table["importance"] != 0]
    table = table.sort_values("importance", key=np.abs, ascending=False, kind="stable")
    names = np.asarray(graph.node_names, dtype=object)
    return table.assign(one=names[table["one"]], other=names[table["other"]]).reset_index(drop=True)


def without_edges(graph: Data, edges: pd.DataFrame) -> Data:
    """A copy of ``graph`` without ``edges`` (both directions of each), to see whether a score moves
    without them.

    ``edges`` has the columns one and other, names of nodes, as `edge_importance` gives them. Raises
    ValueError for edges that are not in the graph; a node's message to itself is none.
    """
    number = {name: k for k, name in enumerate(graph.node_names)}
    pairs = map(tuple, edges[["one", "other"]].to_numpy())
    named = {frozenset(map(number.get, pair)): pair for pair in pairs}
    there = [frozenset(edge) for edge in graph.edge_index.T.tolist()]
    if missing := [named[edge] for edge in named.keys() - set(there)]:
        raise ValueError(
            f"edges: {len(missing)} of {len(named)} are not in the graph, such as "
            f"{' - '.join(min(missing))}; leave them out"
        )
    cut = graph.clone()
    cut.edge_index = graph.edge_index[:, [edge not in named for edge in there]]
    return cut


# ---- taste and popularity ------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a recommender ranks an item where it does; prints as sentences.

    Attributes
    ----------
    user, item : ids; method : of the recommender.
    parts : popularity, appeal, taste, in standard deviations of the user's scores. They add up to
        the item's lead over the average item.
    rank, of : rank among the ``of`` items that the user has not met.
    rank_without : the rank once the part of popularity is subtracted from every item, as a debiased
        model aims to do.
    because : items that the user has met, with the correlation of the tastes for them and for this
        item over users, the highest first.
    paths : part -> paths of the causal graph that it stands for: 'popularity', 'appeal' and
        'taste', or 'popularity' and 'appeal or taste'.
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
        lead = self.parts.sum()
        popularity, appeal, taste = self.parts
        lines = [
            f"{self.method} ranks item {self.item} {self.rank} of {self.of} "
            f"for user {self.user}, {lead:+.2f} standard deviations from the average item: "
            f"{popularity:+.2f} since it is popular, "
            f"{appeal:+.2f} since all users score it more or less than items as popular, "
            f"{taste:+.2f} by this user's taste. "
            f"Without what is due to popularity it would rank {self.rank_without}."
        ]
        if self.because:
            items = [f"item {item} ({r:+.2f})" for item, r in self.because.items()]
            lines.append(f"Taste goes with {', '.join(items)}.")
        for part, paths in self.paths.items():
            if paths:
                lines.append(f"{part.capitalize()}: {'; '.join(paths)}.")
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
    of_items: Sequence[str] = (),
    like: int = 3,
    seed: int = 0,
) -> Explanation:
    """The parts of a score that are due to popularity and to the user's taste.

    From the scores s_ui the user's mean is subtracted; m_i is the mean over users. Popularity is
    the regression line of m_i on log(1 + clicks in training), appeal is m_i minus the line, taste
    is s_ui - m_i. The line also takes in what goes along with popularity, such as quality: it is
    the part that popularity may explain, not the part that it causes. Means are over at most 2,000
    users, drawn by ``seed``.

    Parameters
    ----------
    user, item : ids of ``train``, which the recommender was trained on.
    graph : the causal graph with ``exposure`` and ``outcome``, for the paths.
    of_items : the variables of the graph that are attributes of an item. Those that act on the
        outcome other than through the exposure make appeal, since they are the same for all users;
        the others, such as a user's age, make taste where they act together with an item's.
        Without them the paths are those of appeal or taste.
    like : length of ``because``.

    Raises
    ------
    ValueError
        for ids that are not in ``train``, data of another shape, an item that the user has met in
        training, items that are all equally popular, scores that are all equal, and a graph without
        a path from ``exposure`` to ``outcome``.
    """
    if recommender.shape != train.shape:
        raise ValueError(
            f"the recommender knows {recommender.shape} users and items, train has {train.shape}"
        )
    u = train.user_ids.get_indexer([user])[0]
    i = train.item_ids.get_indexer([item])[0]
    for name, code, one in (("user", u, user), ("item", i, item)):
        if code < 0:
            raise ValueError(f"{name}: {one!r} is not among the {name}_ids of train")
    met = train.items[train.users == u]
    if i in met:
        raise ValueError(
            f"item: user {user!r} has met {item!r} in training; it is not recommended again"
        )
    counts = np.bincount(train.items, minlength=train.shape[1])
    if counts.min() == counts.max():
        raise ValueError(
            f"train: all {len(counts)} items were met {counts[0]} times; no part is "
            "due to popularity"
        )
    rows = np.random.default_rng(seed).permutation(train.shape[0])[:_USERS]
    rows = np.append(rows[rows != u], u)
    scores = recommender.scores(rows).astype(float)
    spread = scores[-1].std()
    if spread == 0:
        raise ValueError(
            f"recommender: all items have the same score for user {user!r}; there is "
            "nothing to explain"
        )
    popularity, appeal, taste = score_parts(scores, counts)
    parts = {"popularity": popularity[i], "appeal": appeal[i], "taste": taste[-1, i]}
    parts = pd.Series(parts) / spread
    new = np.setdiff1d(np.arange(len(counts)), met)
    own = popularity + appeal + taste[-1]
    ranks = [1 + int((one[new] > one[i]).sum()) for one in (own, own - popularity)]
    because = _alike(taste, i, met, train.item_ids, like)
    paths = {} if graph is None else _paths(graph, exposure, outcome, of_items)
    return Explanation(user, item, recommender.method, parts, *ranks, len(new), because, paths)


def score_parts(
    scores: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Popularity (items,), appeal (items,) and taste (users, items) of ``scores`` (users, items).

    They are defined in `explain` and add up to the scores minus each user's mean. ``counts``
    (items,) says how often each item was met; they may not be all equal.
    """
    scores = scores - scores.mean(axis=1, keepdims=True)
    mean = scores.mean(axis=0)
    log = np.log1p(counts) - np.log1p(counts).mean()
    popularity = log * (log @ mean) / (log @ log)
    return popularity, mean - popularity, scores - mean


def _alike(taste, item, met, ids, count):
    """The ``count`` items in ``met`` with the taste most like that for ``item``.

    Id -> correlation over users, if it is above 0.
    """
    own = taste[:, item]
    others = taste[:, met]
    length = np.linalg.norm(own) * np.linalg.norm(others, axis=0)
    r = np.divide(own @ others, length, out=np.zeros(len(met)), where=length > 0)
    best = np.argsort(-r, kind="stable")[:count]
    return {ids[met[k]]: round(float(r[k]), 6) for k in best if r[k] > 0}


def _paths(graph, exposure, outcome, of_items):
    """Paths to ``outcome``: through ``exposure`` from each of its causes, and without it."""
    directed = graph.require_dag("explain").to_networkx()
    for name in (exposure, outcome, *of_items):
        if name not in directed:
            raise ValueError(f"graph: no variable {name!r}; it has {', '.join(graph.names)}")
    shown = nx.descendants(directed, exposure) | {exposure}
    if outcome not in shown:
        raise ValueError(
            f"graph: {exposure!r} is no cause of {outcome!r}; name the exposure that "
            "the data came by"
        )
    through = " → ".join(nx.shortest_path(directed, exposure, outcome))
    of_exposure = [f"{cause} → {through}" for cause in directed.predecessors(exposure)]
    direct = [cause for cause in directed.predecessors(outcome) if cause not in shown]
    paths = {"popularity": of_exposure or [through]}
    for cause in direct:
        part = "appeal or taste"
        if of_items:
            part = "appeal" if cause in of_items else "taste"
        paths.setdefault(part, []).append(f"{cause} → {outcome}")
    return paths


# ---- pictures ------------------------------------------------------------------------------------


def layer_table(model) -> pd.DataFrame:
    """The layers of a Keras or torch model, for `plots.layers`.

    Columns layer, kind, shape (of the output, Keras only), parameters, after. ``after`` lists the
    layers that feed it. A torch model shows its order only when it runs; there it is the layer that
    is named before.
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
        modules = dict(model.named_modules())
        own = [name for name, one in modules.items() if list(one.parameters(recurse=False))]
        outer = [name for name in own if not any(name.startswith(f"{other}.") for other in own)]
        rows = []
        before = []
        for name in outer:
            size = sum(part.numel() for part in modules[name].parameters())
            rows.append((name, type(modules[name]).__name__, "", size, before))
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
