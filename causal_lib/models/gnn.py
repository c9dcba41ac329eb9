"""Graph neural network (article 3.1.2, 5.3.4, 5.3.5): a GCN or GAT that predicts purchases on the user-item graph.

The article calls `convert_to_graph` without defining it, and compares predictions for the training graph with
validation labels. Here the graph is built from the days before those learnt from, which come before those scored:

    history days -> edges that carry messages | training days -> rows learnt from | later days -> rows scored

A row's own purchase is therefore never among the edges its score is computed from. It is a predictive model: that a
network fits well says nothing about causes (the article's heading promises more).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.linalg import block_diag
from torch_geometric.data import Data
from torch_geometric.nn import GAT, GCN
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from causal_lib.checks import check_binary, check_frame, check_range
from causal_lib.data import schema
from causal_lib.models.neighbours import Neighbours

KINDS = ("gcn", "gat")
WHOLE = 2_000_000  # edges up to which every step passes messages along all of them


def convert_to_graph(
    interactions: pd.DataFrame,
    users: pd.DataFrame,
    items: pd.DataFrame,
    *,
    edge: str = "purchased",
    nodes: Sequence[str] = (),
    dtype: str = "float32",
) -> Data:
    """The graph of users and items linked by the rows with ``edge`` = 1, as a `torch_geometric.data.Data`.

    Nodes are the users, then the items, in the order of their tables, then the values of the attributes in ``nodes``, each linked
    to the users or items that have it. ``x`` (nodes, features) holds the other attributes, numbers standardised and text one-hot;
    each type of node has zeros in the columns of the others, and all but users a column that is 1 for them. ``edge_index`` has
    each pair once in both directions. ``user_ids``, ``item_ids``, ``node_names`` ("user 3", "genres Comedy") and ``last_day`` (of
    ``interactions``) go along. The model takes over ``dtype``, ``"float32"`` or ``"float64"``.

    Parameters
    ----------
    interactions : rows of the history days with `schema.KEY` and ``edge`` (0/1): ``"purchased"`` or ``"clicked"``.
    users, items : ``user_id`` / ``item_id`` and attributes, each id once, without missing values.
    nodes : attributes of users or items that become nodes: text, or lists of text where there may be several values.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"convert_to_graph: dtype={dtype!r} is unknown; choose 'float32' or 'float64'")
    check_frame(interactions, [*schema.KEY, edge], name="interactions", complete=True)
    check_range(interactions[edge], 0, 1, name=f"interactions: column {edge!r}")
    tables = {"user": users, "item": items}
    for name, table in tables.items():
        check_frame(table, table.columns, name=f"{name}s", key=[f"{name}_id"], complete=True)
    owner = {column: [name for name, table in tables.items() if column in table] for column in nodes}
    for column, names in owner.items():
        if len(names) != 1:
            raise ValueError(
                f"nodes: {column!r} must be a column of users or of items; it is one of {names or 'neither'}"
            )
    of_users, of_items = (_features(table, name, nodes) for name, table in tables.items())
    blocks = [of_users, np.column_stack([of_items, np.ones(len(items))])]
    names = [f"{name} {value}" for name, table in tables.items() for value in table[f"{name}_id"]]
    links = []
    for column in nodes:
        first = len(users) if owner[column] == ["item"] else 0
        values = tables[owner[column][0]][column].reset_index(drop=True).explode().dropna()
        code, levels = pd.factorize(values, sort=True)
        links.append(np.stack([values.index.to_numpy() + first, code + len(names)]))
        names += [f"{column} {level}" for level in levels]
        blocks.append(np.ones((len(levels), 1)))
    graph = Data(
        x=torch.tensor(block_diag(*blocks), dtype=getattr(torch, dtype)),
        user_ids=torch.tensor(users["user_id"].to_numpy()),
        item_ids=torch.tensor(items["item_id"].to_numpy()),
        node_names=names,
        last_day=int(interactions["day"].max()),
    )
    pairs = interactions.loc[interactions[edge] == 1, ["user_id", "item_id"]].drop_duplicates()
    if len(pairs) == 0:
        raise ValueError(f"interactions: no row has {edge} = 1, so the graph would have no edge; give more days")
    one, other = torch.cat(
        [torch.stack(node_numbers(graph, pairs["user_id"], pairs["item_id"])), *map(torch.from_numpy, links)], dim=1
    )
    graph.edge_index = torch.stack([torch.cat([one, other]), torch.cat([other, one])])
    return graph


class EdgePredictor(torch.nn.Module):
    """Two graph layers (`torch_geometric.nn.GCN` or `GAT`) give each node z; a pair's logit is z_u'z_i + a(z_u) + b(z_i).

    The linear terms a, b are the user's and the item's general demand, the product is their match. Everything but the
    product is computed per node, so that a hundred thousand pairs cost little. 'gcn' weighs messages by the nodes' degrees
    (Kipf and Welling 2017), 'gat' by attention (Brody and others 2022); every node hears itself too.
    """

    def __init__(self, in_channels: int, hidden: int, kind: str = "gcn"):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
        self.kind = kind
        if kind == "gcn":
            self.encoder = GCN(in_channels, hidden, num_layers=2, normalize=False)
        else:
            self.encoder = GAT(in_channels, hidden, num_layers=2, v2=True, add_self_loops=False)
        self.linear = torch.nn.Linear(hidden, 2)

    def forward(self, graph: Data, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(n,) logits of a purchase for pairs of node numbers, by messages along all edges."""
        along = gcn_norm(graph.edge_index, num_nodes=graph.num_nodes, dtype=graph.x.dtype)
        return self._logits(self._encode(graph.x, *along), users, items)

    def sampled(
        self, graph: Data, near: Neighbours, users: torch.Tensor, items: torch.Tensor, count: int, generator
    ) -> torch.Tensor:
        """The same by messages from ``count`` neighbours drawn for each node and layer."""
        tree, edges, weight = near.draw(torch.cat([users, items]), count, 2, generator)
        z = self._encode(graph.x[tree], edges, weight.to(graph.x.dtype))
        place = torch.arange(len(users))
        return self._logits(z, place, place + len(users))

    def _encode(self, x, edges, weight):
        return self.encoder(x, edges, edge_weight=weight) if self.kind == "gcn" else self.encoder(x, edges)

    def _logits(self, z, users, items):
        own = self.linear(z)
        match = (z.index_select(0, users) * z.index_select(0, items)).sum(dim=1)
        return match + own[:, 0].index_select(0, users) + own[:, 1].index_select(0, items)


def train_gnn(
    graph: Data,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    outcome: str = "purchased",
    kind: str = "gcn",
    hidden: int = 32,
    epochs: int = 300,
    learning_rate: float = 0.01,
    patience: int = 20,
    neighbours: int | None = None,
    batch_size: int = 4096,
    seed: int = 0,
    verbose: bool = True,
) -> tuple[EdgePredictor, pd.DataFrame]:
    """The fitted `EdgePredictor` and its history (columns epoch, loss, val_loss).

    Adam on the binary cross-entropy, of all training rows at once along all edges where the graph has at most 2 million; above, of
    mini-batches with sampled neighbours. Early stopping on the loss of the validation rows, of the whole graph either way, with
    the best weights restored; a line every 10 epochs. The negatives are the candidate rows that were not bought. Pairs drawn
    at random, the usual choice, were mostly never candidates: whether they would have been bought is unknown, and a
    model that tells them from purchases learns what the platform considers, not what users buy.

    Parameters
    ----------
    train, validation : candidate rows (`schema.KEY`, ``outcome``). The days of train must follow the graph's (else
        the outcome would be among the edges) and those of validation train's; ValueError otherwise.
    kind : of `EdgePredictor`; hidden : width of both layers.
    neighbours : drawn for each node and layer, 0 for all; None decides by the number of edges, 0 or 10.
    batch_size : rows of a step with sampled neighbours.
    seed : of the initial weights and what is drawn; the same seed gives the same weights on the same machine.
    """
    if min(epochs, patience, hidden, batch_size) < 1 or not learning_rate > 0:
        raise ValueError("train_gnn: epochs, patience, hidden, batch_size and learning_rate must be positive")
    after = graph.last_day
    data = []
    for name, rows in (("train", train), ("validation", validation)):
        check_frame(rows, [*schema.KEY, outcome], name=name, complete=True)
        early = int((rows["day"] <= after).sum())
        if early:
            raise ValueError(f"{name}: {early} rows lie on or before day {after}, already learnt from; cut by day")
        after = int(rows["day"].max())
        y = check_binary(rows[outcome], name=f"{name}: column {outcome!r}")
        data.append((*node_numbers(graph, rows["user_id"], rows["item_id"]), torch.tensor(y, dtype=graph.x.dtype)))
    (u, i, y), (u_val, i_val, y_val) = data

    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        model = EdgePredictor(graph.num_features, hidden, kind).to(graph.x.dtype)
    if neighbours is None:
        neighbours = 10 if graph.num_edges > WHOLE else 0
    near = Neighbours(graph.edge_index, graph.num_nodes, loops=True) if neighbours else None
    generator, n = torch.Generator().manual_seed(seed), len(y)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    loss_fn = torch.nn.BCEWithLogitsLoss()
    history, best, best_weights = [], np.inf, None
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.randperm(n, generator=generator).split(batch_size) if near else [slice(None)]:
            optimizer.zero_grad()
            logits = model.sampled(graph, near, u[rows], i[rows], neighbours, generator) if near else model(graph, u, i)
            loss = loss_fn(logits, y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(logits) / n
        model.eval()
        with torch.no_grad():
            val_loss = loss_fn(model(graph, u_val, i_val), y_val).item()
        if not np.isfinite(val_loss):
            raise ValueError(f"train_gnn: the validation loss is {val_loss} in epoch {epoch}; lower learning_rate")
        history.append((epoch, total, val_loss))
        if verbose and epoch % 10 == 0:
            print(f"Epoch {epoch}, Loss: {total:.4f}, Val Loss: {val_loss:.4f}")
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
    u, i = node_numbers(graph, users, items)
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(graph, u, i)).numpy().astype(float)


def _features(table, name, nodes):
    """(rows, features) standardised numbers and one-hot categories, without the columns ``nodes``."""
    attributes = table.drop(columns=[f"{name}_id", *(c for c in nodes if c in table)])
    numbers = attributes.select_dtypes(["number", "bool"]).astype(float)
    check_frame(table, numbers, name=f"{name}s", varying=True)
    for column in attributes.columns.difference(numbers.columns):
        if lists := int(attributes[column].map(pd.api.types.is_list_like).sum()):
            raise ValueError(
                f"{name}s: column {column!r} holds lists in {lists} rows; name it in nodes, or leave it out"
            )
    scaled = (numbers - numbers.mean()) / numbers.std(ddof=0)
    return pd.get_dummies(attributes.assign(**scaled), dtype=float).to_numpy(dtype=float)


def node_numbers(graph: Data, users, items) -> tuple[torch.Tensor, torch.Tensor]:
    """Node numbers of (n,) user and item ids; ValueError for an id that is no node."""
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
