"""One table of wrong inputs across the package: a clear error that names the culprit, and nothing
written.
"""

import dataclasses
import hashlib
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_frame
from causal_lib.data import packages as manifest
from causal_lib.data import sources
from causal_lib.data.preprocess import preprocess_data
from causal_lib.data.store import Store, StoreError
from causal_lib.discovery import compare_graphs, discover
from causal_lib.evaluation.predictions import evaluate
from causal_lib.evaluation.rankings import evaluate_ranking, top_items
from causal_lib.features import select_features
from causal_lib.graph import CausalGraph
from causal_lib.inference import (
    NoOverlapError,
    NotIdentifiableError,
    UpliftModel,
    dose_response,
    effect,
    identify,
)
from causal_lib.knowledge import Knowledge
from causal_lib.metric import Metric
from causal_lib.models.dnn import build_model, predict, train_model
from causal_lib.models.interactions import Interactions, hold_out
from causal_lib.models.recommender import train_recommender
from causal_lib.policy import learn_policy, policy_value
from causal_lib.tooling import results
from causal_lib.tooling.notebooks import UsageError, plan
from causal_lib.worlds.online_shop import shop

CONTENT = b"x\n1\n"
TWO_SIDED = CausalGraph.from_edges(
    "ztdyabc", ["z -> t", "z -> y", "t -> d", "d -> y", "a -> t", "a -> c", "b -> c", "b -> y"]
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty reports folder; a test that leaves a file in it has written something."""
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path / "reports"))
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


def rows(**columns):
    """60 rows in which z confounds t and y, with ``columns`` replaced or added."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=60)
    t = (rng.random(60) < 1 / (1 + np.exp(-z))).astype(int)
    return pd.DataFrame({"z": z, "t": t, "y": z + t + rng.normal(size=60)}).assign(**columns)


def holes(n, value=np.nan):
    return [value] * n + [0.0] * (60 - n)


def raw_log(**columns):
    log = shop(30, 20, 5, seed=0).log()
    return log.assign(
        **{name: change(log) if callable(change) else change for name, change in columns.items()}
    )


def logs(**columns):
    base = {"item_id": [0, 1] * 30, "click": [0, 1, 1, 0] * 15, "propensity_score": 0.5}
    return pd.DataFrame(base | columns)


def store_with(place, table, **columns):
    tables = shop(20, 15, 3, seed=0).tables()
    tables[table] = tables[table].assign(**columns)
    with Store("sqlite://").create() as store:
        try:
            store.load(tables)
        finally:
            assert set(store.counts().values()) == {0}


def fetch(place, monkeypatch, *, member="toy/a.csv", digest=None, keep=None, offline=False):
    """Fetch ``member`` of a wheel made here, its download replaced by a copy (or by what pip says
    without a network).
    """
    wheel = place.parent / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.writestr("toy/a.csv", CONTENT)
    if keep:
        wheel.write_bytes(wheel.read_bytes()[:keep])
    digest = digest or hashlib.sha256(CONTENT).hexdigest()
    listed = place.parent / "sources.toml"
    listed.write_text(
        f'[toy]\nkind = "table"\npackage = "toy"\nversion = "1.0"\n[toy.members]\n'
        f'"{member}" = {{ sha256 = "{digest}", bytes = {len(CONTENT)}, shape = [1, 1] }}\n'
    )

    def download(package, version, artifact, folder):
        if offline:
            raise manifest.SourceError(f"package {package} {version} could not be had: no network")
        return shutil.copy(wheel, folder) and folder / wheel.name

    monkeypatch.setattr(manifest, "_download", download)
    manifest.fetch(manifest=listed, raw=place, progress=False)


def ratings(**columns):
    """Eight ratings of four users and three items; item c is rated once."""
    base = {
        "user_id": [5, 5, 2, 9, 9, 2, 7, 7],
        "item_id": list("abbabacb"),
        "rating": [4.0, 2, 5, 1, 3, 2, 4, 5],
    }
    return pd.DataFrame(base).assign(**columns)


def recommend(method="mf", *, value=None, **given):
    """Train for two epochs on all `ratings`, or on their pairs with ``value``."""
    train = Interactions.of(ratings() if value is None else ratings(rating=value))
    return train_recommender(
        train, given.pop("validation", None), method, epochs=2, progress=False, **given
    )


def network(y=(0, 1)):
    """Train the article's network on two rows for one epoch; the same rows validate."""
    model = build_model((2,))
    train_model(model, np.eye(2), np.array(y), np.eye(2), np.arange(2), epochs=1, verbose=False)
    return model


CASES = {
    # frames
    "missing column": (
        lambda p, m: effect(rows(), "t", "y", adjustment=["q"]),
        ValueError,
        "no column 'q'; columns there: z, t, y",
    ),
    "not a frame": (
        lambda p, m: check_frame([1, 2]),
        TypeError,
        "a pandas DataFrame is needed, not list",
    ),
    "empty frame": (lambda p, m: discover(rows().head(0)), ValueError, "has no rows"),
    "all-NaN column": (
        lambda p, m: discover(rows(z=np.nan)),
        ValueError,
        "'z' holds only missing values",
    ),
    "missing values": (
        lambda p, m: discover(rows(z=holes(3))),
        ValueError,
        "'z' has 3 missing values",
    ),
    "infinite value": (
        lambda p, m: discover(rows(z=holes(1, np.inf))),
        ValueError,
        "'z' has 1 infinite value",
    ),
    "constant column": (
        lambda p, m: discover(rows(z=1.0)),
        ValueError,
        r"'z' is constant \(1.0 in 60 rows\)",
    ),
    "duplicate column": (
        lambda p, m: discover(rows(z2=rows()["z"])),
        ValueError,
        "is a linear function of",
    ),
    "negative price": (lambda p, m: preprocess_data(raw_log(price=-1.0)), ValueError, "price"),
    "duplicate keys": (
        lambda p, m: preprocess_data(
            pd.concat([raw_log(), raw_log(price=lambda f: f["price"] + 1)])
        ),
        ValueError,
        "rows repeat a key .* with different content",
    ),
    "post-outcome feature": (
        lambda p, m: preprocess_data(raw_log(), numeric=["rating"]),
        ValueError,
        "rating",
    ),
    "no eligible feature": (
        lambda p, m: select_features(raw_log()[["clicked", "purchased"]]),
        ValueError,
        "no column of frame is fixed before 'exposed'",
    ),
    # worlds
    "world without users": (
        lambda p, m: shop(n_users=0),
        ValueError,
        "n_users must be at least 1, not 0",
    ),
    # graphs and knowledge
    "cyclic graph": (
        lambda p, m: identify(
            CausalGraph.from_edges("xyz", ["x -> y", "y -> z", "z -> x"]), "x", "y"
        ),
        ValueError,
        "cycle: x -> y -> z -> x",
    ),
    "unknown variable": (
        lambda p, m: CausalGraph.from_edges("xy", ["x -> q"]),
        ValueError,
        "no variable 'q'",
    ),
    "other variables": (
        lambda p, m: compare_graphs(CausalGraph.from_edges("xy"), CausalGraph.from_edges("xz")),
        ValueError,
        "variables differ: y, z",
    ),
    "tier against required edge": (
        lambda p, m: Knowledge(tiers=[["a"], ["b"]], required=[("b", "a")]),
        ValueError,
        "b -> a runs against the tiers",
    ),
    "knowledge about an absent column": (
        lambda p, m: discover(rows(), knowledge=Knowledge(tiers=[["q"]])),
        ValueError,
        "knowledge names q",
    ),
    "unknown method": (
        lambda p, m: discover(rows(), method="magic"),
        ValueError,
        "'magic'; known: order, flop, pc",
    ),
    # inference
    "treatment not binary": (
        lambda p, m: effect(rows(t=2.5), "t", "y", adjustment=["z"]),
        ValueError,
        "treatment 't': only the value 2.5 occurs in 60 rows",
    ),
    "levels without a contrast": (
        lambda p, m: effect(rows(t=list("abc") * 20), "t", "y", adjustment=["z"]),
        ValueError,
        r"treatment 't' has 3 levels \(a, b, c\): give contrast=\(control, treated\)",
    ),
    "treatment among its own adjustment": (
        lambda p, m: effect(rows(), "t", "y", adjustment=["z", "t"]),
        ValueError,
        "adjustment holds t itself",
    ),
    "outcome among its own adjustment": (
        lambda p, m: dose_response(rows(), "z", "y", adjustment=["y"]),
        ValueError,
        "adjustment holds y itself",
    ),
    "collider adjusted for": (
        lambda p, m: effect(rows(c=0.0), "t", "y", graph=TWO_SIDED, adjustment=["z", "c"]),
        ValueError,
        r"does not identify the effect under the graph: t <- a -> \[c\] <- b -> y is open, since c is adjusted for",
    ),
    "mediator adjusted for": (
        lambda p, m: effect(rows(d=0.0), "t", "y", graph=TWO_SIDED, adjustment=["z", "d"]),
        ValueError,
        r"d is an effect of t on its way to y, or an effect of one \(t -> d\)",
    ),
    "constant outcome": (
        lambda p, m: effect(rows(y=1.0), "t", "y", adjustment=["z"]),
        ValueError,
        r"outcome 'y' is constant \(1 in 60 rows\)",
    ),
    "missing treatment": (
        lambda p, m: UpliftModel.train(rows(t=holes(2)), "t", "y", ["z"]),
        ValueError,
        "column 't' has 2 missing values",
    ),
    "effect without rows": (
        lambda p, m: effect(rows().head(0), "t", "y", adjustment=["z"]),
        ValueError,
        "has no rows",
    ),
    "few clusters": (
        lambda p, m: effect(rows(u=[0, 1, 2] * 20), "t", "y", adjustment=["z"], cluster="u"),
        ValueError,
        "3 rows or clusters are too few for 5 folds",
    ),
    "one arm only": (
        lambda p, m: effect(rows(t=1), "t", "y", adjustment=["z"]),
        ValueError,
        "only the value 1 occurs in 60",
    ),
    "no overlap": (
        lambda p, m: effect(
            pd.concat([rows(z=lambda f: f["t"] * 9.0 + f["z"])] * 9), "t", "y", adjustment=["z"]
        ),
        NoOverlapError,
        "nothing can be compared: 100% of the rows have no counterpart; ask about those that have",
    ),
    "hidden confounder": (
        lambda p, m: identify(
            CausalGraph.from_edges("uxy", ["u -> x", "u -> y", "x -> y"]), "x", "y", hidden=["u"]
        ),
        NotIdentifiableError,
        "open back-door path x <- u -> y",
    ),
    "propensity of 0": (
        lambda p, m: policy_value(logs(propensity_score=0.0), [0.5, 0.5]),
        ValueError,
        r"outside \(0, 1\], first 0",
    ),
    "propensity above 1": (
        lambda p, m: policy_value(logs(propensity_score=2.0), [0.5, 0.5]),
        ValueError,
        "first 2",
    ),
    "policy that does not sum to 1": (
        lambda p, m: policy_value(logs(), [0.5, 0.4]),
        ValueError,
        "do not sum to 1, first 0.9",
    ),
    "policy with missing probabilities": (
        lambda p, m: policy_value(logs(), np.r_[[[np.nan, 0.5]], np.full((59, 2), 0.5)]),
        ValueError,
        r"policy: 1 probabilities in 1 of 60 rows are missing; fill them \(0 for an action that is never taken\), or leave",
    ),
    "fractional actions to value a policy by": (
        lambda p, m: policy_value(logs(item_id=[0, 1.9] * 30), [0.5, 0.5]),
        ValueError,
        "action column 'item_id': 30 values are no whole numbers, first 1.9; code the actions "
        "from 0 on first",
    ),
    "fractional actions to learn a policy from": (
        lambda p, m: learn_policy(logs(item_id=[0, 1.9] * 30, x=0.0), ["x"]),
        ValueError,
        "action column 'item_id': 30 values are no whole numbers, first 1.9; code the actions "
        "from 0 on first",
    ),
    "policy with every action at probability 0 where logged": (
        lambda p, m: policy_value(logs(item_id=0), [0.0, 1.0]),
        ValueError,
        "gives every logged action probability 0: the logs say nothing",
    ),
    "a dense table of 10^6 rounds and 10^4 actions": (
        lambda p, m: policy_value(logs(), np.broadcast_to(1e-4, (10**6, 10**4))),
        ValueError,
        "policy asks for a dense table of 1,000,000 rounds x 10,000 actions, over 1,000,000,000 "
        "entries; give",
    ),
    "as large a table of expected rewards": (
        lambda p, m: policy_value(
            logs(), [0.5, 0.5], expected=np.broadcast_to(0.1, (10**6, 10**4))
        ),
        ValueError,
        "expected asks for a dense table of 1,000,000 rounds x 10,000 actions",
    ),
    "NaN scores": (lambda p, m: evaluate([0, 1, 0], [0.1, np.nan, 0.2]), ValueError, "score"),
    "one class": (lambda p, m: evaluate([1, 1], [0.5, 0.6]), ValueError, "only the value 1 occurs"),
    # recommenders and networks; what one module alone refuses stands in its own tests
    "item that training has not": (
        lambda p, m: Interactions.of(ratings(), item_ids=["a", "b"]),
        ValueError,
        "ratings: 1 rows are of 1 values of item_id that do not occur in training, first c; leave "
        "them out, or train with them",
    ),
    "user without an id": (
        lambda p, m: Interactions.of(ratings(user_id=[5, 5, 2, 9, 9, 2, 7, np.nan])),
        ValueError,
        "ratings: column 'user_id' has 1 missing value; .* or drop the rows",
    ),
    "infinite rating": (
        lambda p, m: Interactions.of(ratings(rating=[np.inf, np.inf, 5, 1, 3, 2, 4, 5])),
        ValueError,
        "ratings: column 'rating' has 2 infinite values; replace them",
    ),
    "ratings in words": (
        lambda p, m: Interactions.of(ratings(rating=list("45") * 3 + ["good", "bad"])),
        ValueError,
        "ratings: column 'rating' has 2 values that are no numbers, first 'good'; replace them, "
        "or drop the rows",
    ),
    "NaN rating made by hand": (
        lambda p, m: dataclasses.replace(
            Interactions.of(ratings()), value=np.r_[np.nan, np.ones(7)]
        ),
        ValueError,
        "value: 1 of 8 are missing or infinite; leave those pairs out",
    ),
    "no ratings": (
        lambda p, m: Interactions.of(ratings().head(0)),
        ValueError,
        "ratings: has no rows",
    ),
    "no ratings to hold out": (
        lambda p, m: hold_out(ratings().head(0), by=None),
        ValueError,
        "frame: has no rows",
    ),
    "ratings for a graph": (
        lambda p, m: recommend("lightgcn"),
        ValueError,
        "train: 7 values are not 1; method 'lightgcn' takes positives only, see "
        "Interactions.at_least",
    ),
    "validation of propensity 0": (
        lambda p, m: recommend(
            validation=Interactions.of(ratings()),
            validation_propensity=np.r_[0.0, 0, np.full(6, 0.5)],
        ),
        ValueError,
        r"validation_propensity: 2 values outside \(0, 1\], first 0",
    ),
    "propensity of no validation": (
        lambda p, m: recommend(validation_propensity=np.full(8, 0.5)),
        ValueError,
        "validation_propensity is given without validation data",
    ),
    "propensity above 1, recommender": (
        lambda p, m: recommend("relevance-mf", value=1.0, propensity=np.r_[1.5, np.full(7, 0.5)]),
        ValueError,
        r"propensity: 1 value outside \(0, 1\], first 1.5",
    ),
    "propensity that the method does not use": (
        lambda p, m: recommend("mf", propensity=np.full(8, 0.5)),
        ValueError,
        "'mf' does not use propensity; leave it out. Used by: ips-mf, snips-mf, dr-mf, "
        "relevance-mf",
    ),
    "clicks validated by ratings": (
        lambda p, m: recommend("bpr", value=1.0, validation=Interactions.of(ratings())),
        ValueError,
        "validation: 7 values are not 1; method 'bpr' takes positives only, see "
        "Interactions.at_least",
    ),
    "validation without rows": (
        lambda p, m: recommend(validation=Interactions.of(ratings()).at_least(9)),
        ValueError,
        "validation has no rows; give some, or None",
    ),
    "scores of no user": (
        lambda p, m: recommend("lightgcn", value=1.0).scores([-1]),
        ValueError,
        "users: 1 codes are of no user; there are 4, coded from 0; first -1",
    ),
    "ranking of no user": (
        lambda p, m: evaluate_ranking(
            np.zeros((1, 1), dtype=int), Interactions.of(ratings()).matrix(), [4]
        ),
        ValueError,
        "users: 1 codes are of no user; there are 4, coded from 0; first 4",
    ),
    "randomised clicks on other items": (
        lambda p, m: recommend(
            "cause", value=1.0, randomised=Interactions.of(ratings().query("item_id != 'c'"))
        ),
        ValueError,
        r"randomised is of other users or items than train; make it with Interactions.of\(..., user_ids=, item_ids=\)",
    ),
    "labels of one kind": (
        lambda p, m: network(y=(1, 1)),
        ValueError,
        "train_model: y_train: only the value 1 occurs in 2 rows; both 0 and 1 are needed",
    ),
    "NaN feature to predict by": (
        lambda p, m: predict(network(), np.array([[0.0, np.nan], [np.inf, 0.0]])),
        ValueError,
        r"predict: X has 2 missing or infinite values; impute \(preprocess_data\) first",
    ),
    "nothing to predict": (
        lambda p, m: predict(network(), np.empty((0, 2))),
        ValueError,
        r"predict: X has shape \(0, 2\), the model takes rows of shape \(2,\)",
    ),
    # database
    "negative price, database": (
        lambda p, m: store_with(p, "items", price=-1.0),
        ValueError,
        "price",
    ),
    "propensity outside (0, 1], database": (
        lambda p, m: store_with(p, "impressions", propensity=0.0),
        ValueError,
        "propensity",
    ),
    "duplicate keys, database": (
        lambda p, m: store_with(p, "users", user_id=1),
        ValueError,
        "user_id",
    ),
    "unknown key, database": (
        lambda p, m: store_with(p, "impressions", item_id=999),
        ValueError,
        "item_id",
    ),
    "unreachable database": (
        lambda p, m: Store("mysql+pymysql://shop:hunter2@127.0.0.1:1/shop").create(),
        StoreError,
        r"shop:\*\*\*@127.0.0.1:1",
    ),
    "unreadable URL": (lambda p, m: Store("not a url"), StoreError, "URL"),
    # real data
    "unknown data set": (
        lambda p, m: sources.load("nope"),
        manifest.SourceError,
        "no data set 'nope' in the manifest; known: obd",
    ),
    "wrong checksum": (
        lambda p, m: fetch(p, m, digest="0" * 64),
        manifest.SourceError,
        "toy/a.csv of toy 1.0 has the wrong checksum",
    ),
    "truncated wheel": (
        lambda p, m: fetch(p, m, keep=60),
        manifest.SourceError,
        "archive of toy 1.0 is truncated or damaged",
    ),
    "member outside": (
        lambda p, m: fetch(p, m, member="../a.csv"),
        manifest.SourceError,
        r"member '../a.csv' is refused",
    ),
    "member not there": (
        lambda p, m: fetch(p, m, member="toy/b.csv"),
        manifest.SourceError,
        "does not hold what the manifest names",
    ),
    "no network": (
        lambda p, m: fetch(p, m, offline=True),
        manifest.SourceError,
        r"(?s)toy 1.0 could not be had.*`path =`",
    ),
    # runs and results
    "unknown notebook": (lambda p, m: plan(["99"]), UsageError, "99"),
    "unknown parameter": (lambda p, m: plan(["05"], {"n_user": "5"}), UsageError, "n_user"),
    "parameter of a wrong type": (
        lambda p, m: plan(["05"], {"n_users": "many"}),
        UsageError,
        "n_users",
    ),
    "result that is not finite": (
        lambda p, m: Metric("05", "shd", np.nan),
        ValueError,
        "'shd': value is nan",
    ),
    "URL among the parameters": (
        lambda p, m: results.write("05", [], seed=0, parameters={"db": "mysql://a:b@c"}),
        ValueError,
        "'db' holds a URL",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_and_nothing_is_written(case, place, monkeypatch):
    call, error, message = CASES[case]
    with pytest.raises(error, match=message) as caught:
        call(place, monkeypatch)
    assert "hunter2" not in str(caught.value)
    left = [path.name for path in place.rglob("*")]
    assert left == [], f"left behind: {left}"


@pytest.mark.filterwarnings("error")
def test_float_ratings_train_without_a_warning():
    """Also of an array that may not be written to, which torch warns of."""
    data = Interactions.of(ratings())
    value = data.value.copy()
    value.flags.writeable = False
    for one in (data, dataclasses.replace(data, value=value)):
        assert train_recommender(one, None, "mf", epochs=1, progress=False).epoch == 1


def test_users_without_a_positive_and_items_that_are_not_there_have_their_answers():
    """What is no mistake is answered as the docstrings say: left out and counted, or -1."""
    train = Interactions.of(ratings())
    clicks = ratings().iloc[[0, 3, 6]].assign(item_id=["c", "c", "a"])
    ids = {"user_ids": train.user_ids, "item_ids": train.item_ids}
    test = Interactions.of(clicks, value=None, **ids)
    top = top_items(recommend().scores, np.arange(4), 3, train.matrix())
    # of three items each user has rated two
    assert [int((row >= 0).sum()) for row in top] == [1, 1, 1, 1]
    found = evaluate_ranking(top, test.matrix())
    assert (found.users, found.left_out) == (3, 1)
    assert train.user_ids[0] == 2  # the user without a click
    assert found.per_user.index.tolist() == [1, 2, 3]
    assert (found.per_user["naive"][["recall", "NDCG", "MRR"]] == 1).all(axis=None)
    others = evaluate_ranking(top[1:], test.matrix(), np.arange(1, 4))
    pd.testing.assert_series_equal(
        found.table.loc["naive", "value"], others.table.loc["naive", "value"]
    )
