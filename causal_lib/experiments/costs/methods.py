"""The methods whose cost `causal_lib.experiments.costs.report` measures: the data of each, the call
that is timed, the sizes.

Heavy packages are imported in the calls, so that a process imports no more than it measures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.peers import LENSKIT

_EPOCHS = 3  # of everything trained by gradients: the cost of an epoch is what grows


@dataclass(frozen=True)
class MeasuredMethod:
    """How a method is measured.

    Attributes
    ----------
    stage : the heading under which it stands.
    make : data from ``seed`` and the sizes as keywords.
    work : what is timed, data in and answer out; for a peer of another environment the name of a
        function that `peers.run` takes.
    base : axis -> size, where another axis varies.
    grids : axis -> sizes, the other axes at ``base``.
    python : a peer's interpreter.
    forked : whether the process may fork once it has run: threads of OpenMP, PyTorch or TensorFlow
        do not survive that.
    small : axis -> the smallest size.
    """

    stage: str
    make: Callable
    work: Callable | str
    base: Mapping[str, int]
    grids: Mapping[str, Sequence[int]]
    python: Path | None = None
    forked: bool = False
    small: Mapping[str, int] = field(init=False)

    def __post_init__(self):
        object.__setattr__(
            self, "small", dict(self.base) | {axis: min(grid) for axis, grid in self.grids.items()}
        )


# ---- discovery: standardised linear Gaussian data -----------------------------------------------


def _graph_data(*, seed, rows, variables, form=None):
    from causal_lib.worlds.random_models import random_dag, simulate

    frame = simulate(random_dag(variables, seed=seed), rows, seed=seed).frame
    frame = (frame - frame.mean()) / frame.std(ddof=0)
    return frame if form is None else form(frame)


def _discover(data, *, method):
    from causal_lib.discovery import discover

    return discover(data, method=method)


def _causallearn_pc(array):
    from causallearn.search.ConstraintBased.PC import pc

    return pc(array, alpha=0.01, show_progress=False).G.graph


# ---- effects: one confounder, a treatment with overlap, a numeric outcome -----------------------


def _effect_data(*, seed, rows, columns):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        rng.standard_normal((rows, columns)), columns=[f"x{i}" for i in range(columns)]
    )
    t = (rng.random(rows) < 1 / (1 + np.exp(-0.5 * frame["x0"]))).astype(int)
    return frame.assign(t=t, y=frame["x0"] + t * (1 + frame["x1"]) + rng.standard_normal(rows))


def _effect(frame, *, estimator):
    from causal_lib.inference import effect

    return effect(
        frame, "t", "y", adjustment=[*frame.columns.drop(["t", "y"])], estimator=estimator
    )


def _uplift(frame):
    from causal_lib.inference import UpliftModel

    return UpliftModel.train(frame, "t", "y", [*frame.columns.drop(["t", "y"])])


def _econml(frame, *, kind):
    """EconML called directly, with the boosted models that `effect` gives it."""
    from econml.dml import CausalForestDML, LinearDML
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    from causal_lib.inference.learners import BOOST

    x = frame.drop(columns=["t", "y"]).to_numpy()
    how = {"discrete_treatment": True, "cv": 5, "random_state": 0}
    how |= {
        "model_y": HistGradientBoostingRegressor(**BOOST),
        "model_t": HistGradientBoostingClassifier(**BOOST),
    }
    model = CausalForestDML(n_estimators=100, **how) if kind == "forest" else LinearDML(**how)
    return model.fit(frame["y"], frame["t"], X=x)


# ---- recommenders: pairs with a taste of 8 dimensions -------------------------------------------


def _pairs(*, seed, interactions, users, items):
    rng = np.random.default_rng(seed)
    pairs = rng.choice(users * items, size=interactions, replace=False)
    user_taste = rng.normal(size=(users, 8))
    item_taste = rng.normal(size=(items, 8))
    user = pairs // items
    item = pairs % items
    score = (user_taste[user] * item_taste[item]).sum(axis=1) / 3 + 0.5 * rng.normal(
        size=interactions
    )
    return user, item, np.clip(np.rint(3 + score), 1, 5), (users, items)


def _triples(**sizes):
    user, item, value, _ = _pairs(**sizes)
    return np.column_stack([user, item, value])


def _recommender(data, *, method):
    import torch

    from causal_lib.models.interactions import Interactions
    from causal_lib.models.recommender import train_recommender

    torch.set_num_threads(1)
    user, item, value, (users, items) = data
    given = (
        {"propensity": np.clip(0.02 * 2.0 ** (value - 1), 0.01, 1)} if method == "ips-mf" else {}
    )
    value = value if method in ("mf", "ips-mf") else np.ones(len(value))
    train = Interactions(user, item, value, pd.RangeIndex(users), pd.RangeIndex(items))
    return train_recommender(
        train, None, method, epochs=_EPOCHS, batch_size=4096, progress=False, **given
    )


def _factors(*, seed, users, items):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(users, 32)), rng.normal(size=(items, 32))


def _rank(data):
    from causal_lib.evaluation.rankings import top_items

    user, item = data
    return top_items(lambda codes: user[codes] @ item.T, np.arange(len(user)), 10)


# ---- predictions --------------------------------------------------------------------------------


def _labelled(*, seed, rows, columns):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns))
    return x, (rng.random(rows) < 1 / (1 + np.exp(1 - x[:, 0] - x[:, 1] * x[:, 2]))).astype(int)


def _logistic(data):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(*data)


def _boosting(data):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0).fit(*data)


def _network(data):
    return [weight.numpy() for weight in _trained(*data, *data, epochs=_EPOCHS).weights]


def _trained(x, y, x_val, y_val, **how):
    """The article's network; one thread, if TensorFlow has not started yet."""
    import tensorflow as tf

    from causal_lib.models.dnn import build_model, train_model

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    model = build_model((x.shape[1],))
    train_model(model, x, y, x_val, y_val, verbose=False, **how)
    return model


_GRAPH = {"rows": 1000, "variables": 20}
_ROWS = (2000, 16_000, 128_000)
_VARIABLES = (8, 16, 32)
_SEEN = {"rows": 2000, "columns": 10}
_CASES = (1000, 3000, 9000)
_COLUMNS = (5, 15, 45)
_MET = {"interactions": 50_000, "users": 2000, "items": 1000}
_METS = {
    "interactions": (25_000, 70_000, 200_000),
    "users": (1000, 3000, 9000),
    "items": (500, 1500, 4500),
}
_MORE = {"interactions": _METS["interactions"]}
_WIDE = {"rows": _ROWS, "columns": _COLUMNS}


def _of_graph(work, *axes, form=None, forked=True):
    grids = {axis: {"rows": _ROWS, "variables": _VARIABLES}[axis] for axis in axes}
    return MeasuredMethod(
        "discovery", partial(_graph_data, form=form), work, _GRAPH, grids, forked=forked
    )


def _of_effect(work, **grids):
    return MeasuredMethod("effects", _effect_data, work, _SEEN, {"rows": _CASES, **grids})


def _of_recommender(method, grids):
    return MeasuredMethod("recommenders", _pairs, partial(_recommender, method=method), _MET, grids)


def _of_prediction(work):
    return MeasuredMethod("prediction", _labelled, work, {"rows": 8000, "columns": 10}, _WIDE)


MEASURED = {
    "order search": _of_graph(partial(_discover, method="order"), "rows", "variables"),
    "order search, from statistics": _of_graph(
        partial(_discover, method="order"), "rows", form=Statistics.from_frame
    ),
    "PC": _of_graph(partial(_discover, method="pc"), "rows", "variables"),
    "PC (causal-learn)": _of_graph(
        _causallearn_pc, "rows", "variables", form=pd.DataFrame.to_numpy
    ),
    "GES": _of_graph(partial(_discover, method="ges"), "rows", "variables"),
    "pretrained network": _of_graph(
        partial(_discover, method="pretrained"), "rows", "variables", forked=False
    ),
    "regression": _of_effect(partial(_effect, estimator="regression"), columns=_COLUMNS),
    "AIPW": _of_effect(partial(_effect, estimator="aipw"), columns=_COLUMNS),
    "LinearDML": _of_effect(partial(_effect, estimator="linear_dml")),
    "LinearDML (EconML)": _of_effect(partial(_econml, kind="linear")),
    "causal forest": _of_effect(partial(_effect, estimator="causal_forest")),
    "causal forest (EconML)": _of_effect(partial(_econml, kind="forest")),
    "uplift model": _of_effect(_uplift),
    "mf": _of_recommender("mf", _METS),
    "lightgcn": _of_recommender("lightgcn", _METS),
    "bpr": _of_recommender("bpr", _MORE),
    "ips-mf": _of_recommender("ips-mf", _MORE),
    "ALS (lenskit)": MeasuredMethod(
        "recommenders", _triples, "lenskit_calls.als_cost", _MET, _MORE, LENSKIT
    ),
    "ranking the catalogue": MeasuredMethod(
        "recommenders",
        _factors,
        _rank,
        {"users": 4000, "items": 2000},
        {"users": (2000, 6000, 18_000), "items": (1000, 3000, 9000)},
    ),
    "logistic regression": _of_prediction(_logistic),
    "boosted trees": _of_prediction(_boosting),
    "dense network": _of_prediction(_network),
}
"""Name -> how it is measured. Peers carry their package in brackets."""


SKIPPED = {
    "NOTEARS (gCastle)": "up to half a minute a run at 8 variables when tried: beyond the minutes "
    "of this "
    "benchmark; see discovery.peers"
}


# ---- accuracy per cost: the same log, cheap methods and expensive ones --------------------------


def shop_rows(*, seed, users):
    """The shop's log; half of the users are for training ("teach"), a fifth of those for early
    stopping, the others for testing.
    """
    from causal_lib.data import schema
    from causal_lib.inference.covariates import design
    from causal_lib.worlds.online_shop import shop

    world = shop(users, 200, 14, seed)
    log = world.log()
    # tenths of the users
    part = np.random.default_rng([seed, 5]).permutation(users)[log["user_id"]] * 10 // users
    x = design(log, schema.ATTRIBUTES)
    teach = part < 5
    x = (x - x[teach].mean()) / x[teach].std()
    return {
        "log": log,
        "x": x.to_numpy(),
        "y": log["purchased"].to_numpy(),
        "t": log["exposed"].to_numpy(),
        "teach": teach,
        "stop": part == 4,
        "uplift": world.truth["uplift"].to_numpy(),
    }


def _predicted(data, *, fit):
    teach = data["teach"]
    return fit((data["x"][teach], data["y"][teach])).predict_proba(data["x"][~teach])[:, 1]


def _predicted_by_network(data):
    from causal_lib.models.dnn import predict

    x = data["x"]
    y = data["y"]
    stop = data["stop"]
    teach = data["teach"] & ~stop
    return predict(_trained(x[teach], y[teach], x[stop], y[stop]), x[~data["teach"]])


def _two_models(data, *, fit):
    teach = data["teach"]
    t = data["t"]
    x = data["x"]
    arms = [fit((x[teach & (t == arm)], data["y"][teach & (t == arm)])) for arm in (0, 1)]
    chances = [model.predict_proba(x[~teach])[:, 1] for model in arms]
    return chances[1] - chances[0]


def _uplift_model(data):
    from causal_lib.data import schema
    from causal_lib.inference import UpliftModel

    log = data["log"]
    teach = data["teach"]
    model = UpliftModel.train(
        log[teach], "exposed", "purchased", schema.ATTRIBUTES, cluster="user_id"
    )
    return model.predict(log[~teach])


RANKINGS = {
    "purchase, logistic regression": partial(_predicted, fit=_logistic),
    "purchase, boosted trees": partial(_predicted, fit=_boosting),
    "purchase, dense network": _predicted_by_network,
    "uplift, two logistic regressions": partial(_two_models, fit=_logistic),
    "uplift, two boosted trees": partial(_two_models, fit=_boosting),
    "uplift, doubly robust": _uplift_model,
}
"""What candidates are ranked by -> scores of the rows of the testing half."""
