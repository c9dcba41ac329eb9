"""Graph neural network (article 3.1.2, 5.3.4, 5.3.5): a GCN that predicts purchases on the user-item graph.

The article calls `convert_to_graph` without defining it, and compares predictions for the training graph with
validation labels. Here the graph is built from the days before those learnt from, which come before those scored:

    history days -> edges that carry messages | training days -> rows learnt from | later days -> rows scored

A row's own purchase is therefore never among the edges its score is computed from. It is a predictive model: that a
GCN fits well says nothing about causes (the article's heading promises more).
"""

import numpy as np
import pandas as pd
import torch
from scipy.linalg import block_diag
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from causal_lib.data import schema


def convert_to_graph(
    interactions: pd.DataFrame,
    users: pd.DataFrame,
    items: pd.DataFrame,
    *,
    edge: str = "purchased",
    dtype: str = "float32",
) -> Data:
    """The bipartite user-item graph of the rows with ``edge`` = 1, as a `torch_geometric.data.Data`.

    Nodes are the users, then the items, in the order of their tables. ``x`` (nodes, features) holds the standardised
    numeric and one-hot text attributes, a user's zero in the items' columns and the other way round, and a column
    that is 1 for items. ``edge_index`` has each pair once in both directions. ``user_ids``, ``item_ids`` and
    ``last_day`` (of ``interactions``) go along. The model takes over ``dtype``, ``"float32"`` or ``"float64"``.

    Parameters
    ----------
    interactions : rows of the history days with `schema.KEY` and ``edge`` (0/1): ``"purchased"`` or ``"clicked"``.
    users, items : ``user_id`` / ``item_id`` and attributes, each id once, without missing values.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"convert_to_graph: dtype={dtype!r} is unknown; choose 'float32' or 'float64'")
    schema.check_frame(interactions, [*schema.KEY, edge], name="interactions", complete=True)
    schema.check_range(interactions[edge], 0, 1, name=f"interactions: column {edge!r}")
    of_users, of_items = _features(users, "user_id", "users"), _features(items, "item_id", "items")
    x = block_diag(of_users, np.column_stack([of_items, np.ones(len(items))]))
    graph = Data(
        x=torch.tensor(x, dtype=getattr(torch, dtype)),
        user_ids=torch.tensor(users["user_id"].to_numpy()),
        item_ids=torch.tensor(items["item_id"].to_numpy()),
        last_day=int(interactions["day"].max()),
    )
    pairs = interactions.loc[interactions[edge] == 1, ["user_id", "item_id"]].drop_duplicates()
    if len(pairs) == 0:
        raise ValueError(f"interactions: no row has {edge} = 1, so the graph would have no edge; give more days")
    u, i = _nodes(graph, pairs["user_id"], pairs["item_id"])
    graph.edge_index = torch.stack([torch.cat([u, i]), torch.cat([i, u])])
    return graph


class EdgePredictor(torch.nn.Module):
    """Two graph convolutions (`torch_geometric.nn.GCN`) give each node z; a pair's logit is z_u'z_i + a(z_u) + b(z_i).

    The linear terms a, b are the user's and the item's general demand, the product is their match. Everything but the
    product is computed per node, so that a hundred thousand pairs cost little.
    """

    def __init__(self, in_channels: int, hidden: int):
        super().__init__()
        self.encoder = GCN(in_channels, hidden, num_layers=2)
        self.linear = torch.nn.Linear(hidden, 2)

    def forward(self, graph: Data, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(n,) logits of a purchase for pairs of node numbers."""
        z = self.encoder(graph.x, graph.edge_index)
        own = self.linear(z)
        match = (z.index_select(0, users) * z.index_select(0, items)).sum(dim=1)
        return match + own[:, 0].index_select(0, users) + own[:, 1].index_select(0, items)


def train_gnn(
    graph: Data,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    outcome: str = "purchased",
    hidden: int = 32,
    epochs: int = 300,
    learning_rate: float = 0.01,
    patience: int = 20,
    seed: int = 0,
    verbose: bool = True,
) -> tuple[EdgePredictor, pd.DataFrame]:
    """The fitted `EdgePredictor` and its history (columns epoch, loss, val_loss).

    Adam on the binary cross-entropy of all training rows at once; early stopping on the validation rows with the best
    weights restored; a line every 10 epochs. The negatives are the candidate rows that were not bought. Pairs drawn
    at random, the usual choice, were mostly never candidates: whether they would have been bought is unknown, and a
    model that tells them from purchases learns what the platform considers, not what users buy.

    Parameters
    ----------
    train, validation : candidate rows (`schema.KEY`, ``outcome``). The days of train must follow the graph's (else
        the outcome would be among the edges) and those of validation train's; ValueError otherwise.
    hidden : width of both layers.
    seed : of the initial weights; the same seed gives the same weights on the same machine.
    """
    if min(epochs, patience, hidden) < 1 or not learning_rate > 0:
        raise ValueError("train_gnn: epochs, patience, hidden and learning_rate must be positive")
    after = graph.last_day
    data = []
    for name, rows in (("train", train), ("validation", validation)):
        schema.check_frame(rows, [*schema.KEY, outcome], name=name, complete=True)
        early = int((rows["day"] <= after).sum())
        if early:
            raise ValueError(f"{name}: {early} rows lie on or before day {after}, already learnt from; cut by day")
        after = int(rows["day"].max())
        y = schema.check_binary(rows[outcome], name=f"{name}: column {outcome!r}")
        data.append((*_nodes(graph, rows["user_id"], rows["item_id"]), torch.tensor(y, dtype=graph.x.dtype)))
    (u, i, y), (u_val, i_val, y_val) = data

    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        model = EdgePredictor(graph.num_features, hidden).to(graph.x.dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    loss_fn = torch.nn.BCEWithLogitsLoss()
    history, best, best_weights = [], np.inf, None
    for epoch in range(1, epochs + 1):
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(graph, u, i), y)
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = loss_fn(model(graph, u_val, i_val), y_val).item()
        if not np.isfinite(val_loss):
            raise ValueError(f"train_gnn: the validation loss is {val_loss} in epoch {epoch}; lower learning_rate")
        history.append((epoch, loss.item(), val_loss))
        if verbose and epoch % 10 == 0:
            print(f"Epoch {epoch}, Loss: {loss.item():.4f}, Val Loss: {val_loss:.4f}")
        if val_loss < best:
            best, best_epoch = val_loss, epoch
            best_weights = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= patience:
            break
    model.load_state_dict(best_weights)
    if verbose:
        print(f"Best epoch {best_epoch} of {epoch}, Val Loss: {best:.4f}")
    return model, pd.DataFrame(history, columns=["epoch", "loss", "val_loss"])


def predict_edges(model: EdgePredictor, graph: Data, users, items) -> np.ndarray:
    """(n,) probability that each of ``users`` buys the item beside it in ``items`` (ids).

    ``graph`` may be a newer one than that of the training (same attributes, more days), as long as its days lie
    before those predicted.
    """
    u, i = _nodes(graph, users, items)
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(graph, u, i)).numpy().astype(float)


def _features(table, key, name):
    """(rows, features) standardised numbers and one-hot categories."""
    schema.check_frame(table, table.columns, name=name, key=[key], complete=True)
    attributes = table.drop(columns=key)
    numbers = attributes.select_dtypes(["number", "bool"]).astype(float)
    schema.check_frame(table, numbers, name=name, varying=True)
    scaled = (numbers - numbers.mean()) / numbers.std(ddof=0)
    return pd.get_dummies(attributes.assign(**scaled), dtype=float).to_numpy(dtype=float)


def _nodes(graph, users, items):
    """Node numbers of user and item ids."""
    if np.shape(users) != np.shape(items):
        raise ValueError(f"users and items must be of one length, got shapes {np.shape(users)} and {np.shape(items)}")
    nodes = []
    for name, known, ids in (("user", graph.user_ids, users), ("item", graph.item_ids, items)):
        position = pd.Index(known.numpy()).get_indexer(ids)
        unknown = np.unique(np.asarray(ids)[position < 0])
        if len(unknown):
            raise ValueError(f"{name}_id: {len(unknown)} ids are not nodes of the graph, first {unknown[0]}")
        nodes.append(torch.tensor(position))
    return nodes[0], nodes[1] + len(graph.user_ids)
