"""Graph neural network (article 3.1.2, 5.3.4, 5.3.5): a GCN or GAT that predicts purchases.

The article calls `convert_to_graph` without defining it, and compares predictions for the training
graph with validation labels. Here the days of the log are divided in three:

    history days -> edges of the graph | later days -> training rows | last days -> scored rows

A row's own purchase is therefore never among the edges that its score is computed from. The model
is predictive: a good fit says nothing about causes, although the article's heading promises it.
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
from causal_lib.columns import number_of
from causal_lib.data import schema
from causal_lib.models.neighbours import Neighbours
from causal_lib.models.training import fit

ENCODERS = ("gcn", "gat")
WHOLE = 2_000_000  # most edges along which all messages are sent in every step


def convert_to_graph(
    interactions: pd.DataFrame,
    users: pd.DataFrame,
    items: pd.DataFrame,
    *,
    edge: str = "purchased",
    nodes: Sequence[str] = (),
    dtype: str = "float32",
) -> Data:
    """The graph of users and items with an edge for each row with ``edge`` = 1.

    Nodes are the users and the items, in the order of their tables, then the values of the
    attributes in ``nodes``, each linked to the users or items that have it. Every edge is there
    once in both directions.

    Parameters
    ----------
    interactions : rows of the history days with `schema.KEY` and ``edge`` (0/1): ``"purchased"`` or
        ``"clicked"``.
    users, items : ``user_id`` / ``item_id`` and attributes, each id once, no missing values.
    nodes : attributes of users or items that become nodes: text, or lists of text where there may
        be several values.
    dtype : ``"float32"`` or ``"float64"``, also of the model.

    Returns
    -------
    A `torch_geometric.data.Data` with ``edge_index`` and

    x : (nodes, features) the other attributes, numbers standardised and text one-hot. Each type of
        node has zeros in the columns of the others; all but users have a column that is 1.
    user_ids, item_ids, node_names : ids, and names such as "user 3" and "genres Comedy".
    last_day : of ``interactions``.

    Raises ValueError for an unknown ``dtype`` or attribute, for tables with missing values, missing
    columns or repeated keys, for ``edge`` other than 0/1, and where no row has ``edge`` = 1.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(
            f"convert_to_graph: dtype={dtype!r} is unknown; choose 'float32' or 'float64'"
        )
    check_frame(interactions, [*schema.KEY, edge], name="interactions", complete=True)
    check_range(interactions[edge], 0, 1, name=f"interactions: column {edge!r}")
    number_of(interactions, "day", name="interactions")
    tables = {"user": users, "item": items}
    for name, table in tables.items():
        check_frame(table, table.columns, name=f"{name}s", key=[f"{name}_id"], complete=True)
        number_of(table, f"{name}_id", name=f"{name}s")
    owners = {
        column: [name for name, table in tables.items() if column in table] for column in nodes
    }
    for column, names in owners.items():
        if len(names) != 1:
            raise ValueError(
                f"nodes: {column!r} must be a column of users or of items; it is one of "
                f"{names or 'neither'}"
            )
    of_users = _features(users, "user", nodes)
    of_items = _features(items, "item", nodes)
    blocks = [of_users, np.column_stack([of_items, np.ones(len(items))])]
    node_names = [
        f"{name} {value}" for name, table in tables.items() for value in table[f"{name}_id"]
    ]
    links = []
    for column in nodes:
        owner = owners[column][0]
        first = len(users) if owner == "item" else 0
        values = tables[owner][column].reset_index(drop=True).explode().dropna()
        codes, levels = pd.factorize(values, sort=True)
        links.append(np.stack([values.index.to_numpy() + first, codes + len(node_names)]))
        node_names += [f"{column} {level}" for level in levels]
        blocks.append(np.ones((len(levels), 1)))
    graph = Data(
        x=torch.tensor(block_diag(*blocks), dtype=getattr(torch, dtype)),
        user_ids=torch.tensor(users["user_id"].to_numpy()),
        item_ids=torch.tensor(items["item_id"].to_numpy()),
        node_names=node_names,
        last_day=int(interactions["day"].max()),
    )
    linked = interactions[edge] == 1
    pairs = interactions.loc[linked, ["user_id", "item_id"]].drop_duplicates()
    if len(pairs) == 0:
        raise ValueError(
            f"interactions: no row has {edge} = 1, so the graph would have no edge; give more days"
        )
    pairs = torch.stack(node_numbers(graph, pairs["user_id"], pairs["item_id"]))
    one_way = torch.cat([pairs, *map(torch.from_numpy, links)], dim=1)
    graph.edge_index = torch.cat([one_way, one_way.flip(0)], dim=1)
    return graph


class EdgePredictor(torch.nn.Module):
    """Logit of a purchase, z_u'z_i + a(z_u) + b(z_i), with z from two graph layers.

    The layers are `torch_geometric.nn.GCN` or `GAT`. The linear terms a and b are the general
    demand of the user and of the item; the product is their match. All but the product is computed
    once for each node, so that many pairs cost little. 'gcn' weights messages by the nodes' degrees
    (Kipf and Welling 2017), 'gat' by attention (Brody and others 2022). Every node sends a message
    to itself too.

    Raises ValueError for an unknown ``kind``.
    """

    def __init__(self, in_channels: int, hidden: int, kind: str = "gcn"):
        super().__init__()
        if kind not in ENCODERS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(ENCODERS)}")
        self.kind = kind
        if kind == "gcn":
            self.encoder = GCN(in_channels, hidden, num_layers=2, normalize=False)
        else:
            self.encoder = GAT(in_channels, hidden, num_layers=2, v2=True, add_self_loops=False)
        self.linear = torch.nn.Linear(hidden, 2)

    def forward(self, graph: Data, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(n,) logits of a purchase for pairs of node numbers, by messages along all edges."""
        return self._logits(self.vectors(graph), users, items)

    def vectors(self, graph: Data) -> torch.Tensor:
        """(nodes, hidden) z, in the order of the graph's nodes, by messages along all edges."""
        along = gcn_norm(graph.edge_index, num_nodes=graph.num_nodes, dtype=graph.x.dtype)
        return self._encode(graph.x, *along)

    def sampled(
        self,
        graph: Data,
        near: Neighbours,
        users: torch.Tensor,
        items: torch.Tensor,
        count: int,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """The same by messages from ``count`` neighbours drawn for each node and layer."""
        tree, edges, weight = near.draw(torch.cat([users, items]), count, 2, generator)
        z = self._encode(graph.x[tree], edges, weight.to(graph.x.dtype))
        place = torch.arange(len(users))
        return self._logits(z, place, place + len(users))

    def _encode(self, x, edges, weight):
        weights = {"edge_weight": weight} if self.kind == "gcn" else {}
        return self.encoder(x, edges, **weights)

    def _logits(self, z, users, items):
        demand = self.linear(z)
        match = (z.index_select(0, users) * z.index_select(0, items)).sum(dim=1)
        of_users = demand[:, 0].index_select(0, users)
        of_items = demand[:, 1].index_select(0, items)
        return match + of_users + of_items


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

    Each epoch is one step of Adam on the binary cross-entropy of all training rows, by messages
    along all edges. On graphs of more than 2 million edges it is a step for each batch of rows, by
    messages from sampled neighbours. Training stops
    early on the loss of the validation rows; the weights of the best epoch are restored. Every 10
    epochs a line is printed. The negatives are the candidate rows that were not bought. Random
    pairs, the usual choice, were mostly never candidates: whether they would have been bought is
    unknown. A model that separates them from purchases learns what the platform considers, not
    what users buy.

    Parameters
    ----------
    train, validation : candidate rows (`schema.KEY`, ``outcome``). The days of ``train`` must
        follow those of the graph, and the days of ``validation`` those of ``train``.
    kind : of `EdgePredictor`; hidden : width of both layers.
    neighbours : drawn for each node and layer; 0 for all edges. None: 10 on graphs of more than 2
        million edges, else 0.
    batch_size : rows of a step with sampled neighbours.
    seed : of the initial weights and of what is drawn. The same seed gives the same weights on the
        same machine.

    Raises ValueError for days in another order, ids that are no nodes, an ``outcome`` without both
    0 and 1, numbers that are not positive, and a loss that is not finite.
    """
    if min(epochs, patience, hidden, batch_size) < 1 or not learning_rate > 0:
        raise ValueError(
            "train_gnn: epochs, patience, hidden, batch_size and learning_rate must be positive"
        )
    after = graph.last_day
    data = []
    for name, rows in (("train", train), ("validation", validation)):
        check_frame(rows, [*schema.KEY, outcome], name=name, complete=True)
        if early := int((number_of(rows, "day", name=name) <= after).sum()):
            raise ValueError(
                f"{name}: {early} rows lie on or before day {after}, already learnt "
                "from; cut by day"
            )
        after = int(rows["day"].max())
        y = check_binary(rows[outcome], name=f"{name}: column {outcome!r}")
        users, items = node_numbers(graph, rows["user_id"], rows["item_id"])
        data.append((users, items, torch.tensor(y, dtype=graph.x.dtype)))

    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        model = EdgePredictor(graph.num_features, hidden, kind).to(graph.x.dtype)
    cross_entropy = torch.nn.BCEWithLogitsLoss()
    if neighbours is None:
        neighbours = 10 if graph.num_edges > WHOLE else 0
    near = Neighbours(graph.edge_index, graph.num_nodes, loops=True) if neighbours else None

    def loss(rows, generator):
        users, items, y = data[0]
        pairs = users[rows], items[rows]
        if near is None:
            return cross_entropy(model(graph, *pairs), y[rows])
        return cross_entropy(model.sampled(graph, near, *pairs, neighbours, generator), y[rows])

    def validate():
        users, items, y = data[1]
        return cross_entropy(model(graph, users, items), y).item()

    history = fit(
        model,
        loss,
        len(train),
        validate,
        epochs=epochs,
        batch_size=batch_size if near else None,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        progress=False,
        verbose=verbose,
    )
    return model, history.rename(columns={"validation": "val_loss"})


def predict_edges(model: EdgePredictor, graph: Data, users, items) -> np.ndarray:
    """(n,) probability that each of ``users`` buys the item beside it in ``items`` (ids).

    ``graph`` may be newer than that of the training (same attributes, more days), as long as its
    days lie before those predicted.
    """
    of_users, of_items = node_numbers(graph, users, items)
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(graph, of_users, of_items)).numpy().astype(float)


def node_numbers(graph: Data, users, items) -> tuple[torch.Tensor, torch.Tensor]:
    """Node numbers of (n,) user and item ids; ValueError for an id that is no node."""
    if np.shape(users) != np.shape(items):
        raise ValueError(
            f"users and items must be of one length, got shapes {np.shape(users)} "
            f"and {np.shape(items)}"
        )
    nodes = []
    for name, known, ids in (
        ("user", graph.user_ids, users),
        ("item", graph.item_ids, items),
    ):
        position = pd.Index(known.numpy()).get_indexer(ids)
        unknown = np.unique(np.asarray(ids)[position < 0])
        if len(unknown):
            raise ValueError(
                f"{name}_id: {len(unknown)} ids are not nodes of the graph, first {unknown[0]}"
            )
        nodes.append(torch.tensor(position))
    return nodes[0], nodes[1] + len(graph.user_ids)


def _features(table, name, nodes):
    """(rows, features) standardised numbers and one-hot text, without the columns ``nodes``."""
    attributes = table.drop(columns=[f"{name}_id", *(c for c in nodes if c in table)])
    numbers = attributes.select_dtypes(["number", "bool"]).astype(float)
    check_frame(table, numbers, name=f"{name}s", varying=True)
    for column in attributes.columns.difference(numbers.columns):
        if lists := int(attributes[column].map(pd.api.types.is_list_like).sum()):
            raise ValueError(
                f"{name}s: column {column!r} holds lists in {lists} rows; name it in nodes, or "
                "leave it out"
            )
    scaled = (numbers - numbers.mean()) / numbers.std(ddof=0)
    return pd.get_dummies(attributes.assign(**scaled), dtype=float).to_numpy(dtype=float)
