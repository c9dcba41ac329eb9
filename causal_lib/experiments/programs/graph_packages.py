"""Graphs by packages that live in the environment of `make peers`, each at its defaults."""

import time


def _notears():
    from castle.algorithms import Notears

    return Notears()


def _dag_gnn():
    from castle.algorithms import DAG_GNN

    return DAG_GNN()


def _dagma():
    from dagma.linear import DagmaLinear

    return DagmaLinear(loss_type="l2")


MODELS = {"notears (gcastle)": _notears, "dag-gnn (gcastle)": _dag_gnn, "dagma (package)": _dagma}


def learn(method: str) -> dict:
    """The graph that a method of `MODELS` finds in ``rows.npy``: CPU seconds and adjacency, [i][j]
    not 0 for i -> j.
    """
    import numpy as np

    model = MODELS[method]()
    rows = np.load("rows.npy")
    start = time.process_time()
    found = model.learn(rows) if hasattr(model, "learn") else model.fit(rows)
    seconds = time.process_time() - start
    found = np.asarray(model.causal_matrix if found is None else found)
    return {"seconds": seconds, "adjacency": found.tolist()}


def learn_class(targets: list[list[int]]) -> dict:
    """The class that GIES finds in ``rows.npy``, whose environments stand in ``environment.npy`` as
    numbers into ``targets``: CPU seconds and adjacency, [i][j] and [j][i] for i - j.
    """
    import gies
    import numpy as np

    rows = np.load("rows.npy")
    environment = np.load("environment.npy")
    parts = [rows[environment == number] for number in range(len(targets))]
    start = time.process_time()
    found, _ = gies.fit_bic(parts, targets)
    seconds = time.process_time() - start
    return {"seconds": seconds, "adjacency": np.asarray(found).tolist()}
