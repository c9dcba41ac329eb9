from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import mutual_info_score, roc_auc_score

from causal_lib import features
from causal_lib.data import schema
from causal_lib.features import (
    causal_roles,
    combine,
    importance,
    importance_table,
    log_mel,
    purchase_history,
    select_features,
    sequences,
)
from causal_lib.graph import CausalGraph
from causal_lib.worlds.online_shop import shop


@pytest.fixture(scope="module")
def world():
    return shop(n_users=300, n_items=60, days=7, seed=0)


def history_by_loop(log):
    rows = []
    for _, row in log.iterrows():
        past = log[
            (log["user_id"] == row["user_id"]) & (log["day"] < row["day"]) & (log["purchased"] == 1)
        ]
        in_category = (past["category"] == row["category"]).sum()
        rows.append(
            (len(past), in_category, row["day"] - past["day"].max() if len(past) else np.nan)
        )
    columns = ["user_purchases", "category_purchases", "days_since_purchase"]
    return pd.DataFrame(rows, columns=columns, index=log.index)


@pytest.mark.parametrize("seed", range(5))
def test_history_equals_the_loop(seed):
    rng = np.random.default_rng(seed)
    keys = [(u, i, d) for u in range(4) for i in range(5) for d in range(8)]
    # not sorted: rows may stand in any order
    chosen = rng.choice(len(keys), size=60, replace=False)
    log = pd.DataFrame([keys[c] for c in chosen], columns=schema.KEY)
    log["category"] = np.array(["a", "b"])[log["item_id"] % 2]
    log["purchased"] = (rng.random(60) < 0.4).astype("int8")
    log.index = rng.permutation(60) * 7
    expected = history_by_loop(log)
    pd.testing.assert_frame_equal(purchase_history(log), expected, check_dtype=False)
    as_category = log.assign(
        category=log["category"].astype("category"), day=log["day"].astype("int16")
    )
    pd.testing.assert_frame_equal(purchase_history(as_category), expected, check_dtype=False)


def test_history_never_looks_at_the_same_or_later_days(world):
    log = world.log()
    history = purchase_history(log)
    later = log["day"] >= 3
    flipped = log.assign(purchased=log["purchased"].where(~later, 1 - log["purchased"]))
    upto = log["day"] <= 3
    pd.testing.assert_frame_equal(purchase_history(flipped)[upto], history[upto])
    assert not purchase_history(flipped)[~upto].equals(history[~upto])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="category"), "log: no column 'category'"),
        (lambda f: pd.concat([f, f.head(1)]), "1 row repeat the key"),
        (lambda f: f.assign(purchased=2), "'purchased': .* outside"),
        (
            lambda f: f.assign(category=f["category"].where(f.index != 0)),
            "'category' has 1 missing value",
        ),
    ],
)
def test_bad_logs_are_refused(world, spoil, message):
    with pytest.raises(ValueError, match=message):
        purchase_history(spoil(world.log()))


def test_crosses():
    frame = pd.DataFrame(
        {
            "n": [1.0, 2.0, np.nan],
            "m": [3, 4, 5],
            "c": ["x", "y", None],
            "d": pd.Categorical(["p", "q", "q"]),
        }
    )
    crosses = combine(frame, [("n", "m"), ("c", "m"), ("n", "d"), ("c", "d")])
    expected = pd.DataFrame(
        {
            "n x m": [3, 8, np.nan],
            "m x c=x": [3, 0, np.nan],
            "m x c=y": [0, 4, np.nan],
            "n x d=p": [1, 0, np.nan],
            "n x d=q": [0, 2, np.nan],
            "c x d": ["x x p", "y x q", None],
        }
    )
    pd.testing.assert_frame_equal(crosses, expected, check_dtype=False)
    with pytest.raises(ValueError, match="no column 'z'"):
        combine(frame, [("n", "z")])


def made(n=4000, seed=0):
    """`strong` and `label` drive y, `weak` a little, `noise` not."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["strong", "weak", "noise"])
    X["label"] = rng.choice(["a", "b", "c"], size=n)
    logit = 1.5 * X["strong"] + 0.5 * X["weak"] + (X["label"] == "a") - 1
    return X, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)


@pytest.mark.parametrize("method", ["permutation", "mutual_info"])
def test_importance_ranks_by_what_drives_the_outcome(method):
    X, y = made()
    table = importance(X, y, method=method)
    assert table.index[0] == "strong"
    assert table.loc["strong", "low"] > table.loc["weak", "high"]
    assert table.loc["noise", "low"] < 0.01  # AUC or nats; `strong` has ten times as much
    assert table.loc["strong", "importance"] > 0.1
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()
    pd.testing.assert_frame_equal(table, importance(X, y, method=method))
    assert not table.equals(importance(X, y, method=method, seed=1))


def test_permutation_importance_agrees_with_scikit_learn():
    X, y = made()
    X = X[["strong", "weak", "noise"]]
    table = importance(X, y, n_repeats=20)
    cut = 2800
    model = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False
    ).fit(X[:cut], y[:cut])
    theirs = permutation_importance(
        model, X[cut:], y[cut:], scoring="roc_auc", n_repeats=20, random_state=5
    )
    # Another draw of held-out rows: an AUC of 1200 rows has a standard error of about 0.013.
    np.testing.assert_allclose(
        table.loc[X.columns, "importance"], theirs.importances_mean, atol=3 * 0.013
    )


def test_mutual_information_of_categories_is_the_plug_in_value():
    X, y = made()
    table = importance(X.assign(two=X["label"] == "a"), y, method="mutual_info", n_repeats=10)
    assert table.loc["two", "importance"] == pytest.approx(
        mutual_info_score(X["label"] == "a", y), abs=0.005
    )
    # `two` is a function of it
    assert table.loc["label", "importance"] >= table.loc["two", "importance"] - 0.005


def test_no_group_is_both_fitted_and_held_out(monkeypatch):
    """The outcome is the user's, so that his number tells it of his other rows, and nothing of
    other users.
    """
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 10)
    X = pd.DataFrame(
        {"user": rng.permutation(200)[user].astype(float), "noise": rng.normal(size=2000)}
    )
    y = rng.integers(2, size=200)[user]
    fitted = []
    scored = []

    class Recorded(HistGradientBoostingClassifier):
        def fit(self, X, y):
            fitted.append(set(X[:, 0]))
            return super().fit(X, y)

        def predict_proba(self, X):
            scored.append(set(X[:, 0]))
            return super().predict_proba(X)

    monkeypatch.setattr(features, "HistGradientBoostingClassifier", Recorded)
    by_row = importance(X, y)
    assert fitted[0] & scored[0]
    fitted.clear()
    scored.clear()
    by_user = importance(X, y, groups=user)
    assert len(fitted[0]) == 140
    assert all(one == set(range(200)) - fitted[0] for one in scored)
    # The model knows nothing of the 60 held-out users: its AUC is one half, with the standard error
    # of 30 of each outcome.
    assert (
        by_user.loc["user", "importance"]
        < 3.5 * np.sqrt(61 / (12 * 30 * 30))
        < by_row.loc["user", "low"]
    )


def test_the_interval_of_an_importance_by_hand(monkeypatch):
    """Student's t of three repeats: 4.302653 at two degrees of freedom."""
    X, y = made(1000)
    monkeypatch.setattr(
        features, "auc_falls", lambda *_: np.array([[0.1, 0.5], [0.2, 0.5], [0.6, 0.5]])
    )
    table = importance(X, y, columns=["noise", "weak"], n_repeats=3)
    half = 4.302653 * np.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2) / np.sqrt(3)
    assert table.loc["noise"].tolist() == pytest.approx([0.3, 0.3 - half, 0.3 + half], abs=1e-6)
    assert table.loc["weak"].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert table.index.tolist() == ["weak", "noise"]


def test_importance_of_named_columns_only():
    X, y = made(1000)
    assert importance(X, y, columns=["weak"]).index.tolist() == ["weak"]


def test_a_missing_value_may_inform_the_permutation():
    X, y = made(2000)
    X["told"] = X["noise"].where(y == 1)
    assert importance(X, y).index[0] == "told"
    with pytest.raises(ValueError, match=r"'told' has \d+ missing values"):
        importance(X, y, method="mutual_info")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "shap"}, "method='shap' is unknown"),
        ({"n_repeats": 1}, "n_repeats=1 gives no interval"),
        ({"columns": ["zzz"]}, "no column 'zzz'"),
        ({"groups": [1, 2]}, "groups 2; they must agree"),
        ({"y": np.zeros(1000)}, "y: only the value 0"),
        ({"y": np.arange(1000) % 3}, "y: must be 0 or 1"),
    ],
)
def test_importance_refuses(arguments, message):
    X, y = made(1000)
    with pytest.raises(ValueError, match=message):
        importance(**({"X": X, "y": y} | arguments))
    with pytest.raises(ValueError, match="'weak' is constant"):
        importance(X.assign(weak=0.0), y)


def test_roles_from_a_graph():
    # W -> T, Y: confounder. I -> T: instrument. T -> M -> Y. P -> Y. G -> P. Y -> R. T -> E. W ->
    # X: proxy.
    edges = [
        "W -> T",
        "W -> Y",
        "I -> T",
        "T -> M",
        "M -> Y",
        "P -> Y",
        "G -> P",
        "Y -> R",
        "T -> E",
        "W -> X",
    ]
    graph = CausalGraph.from_edges(["W", "I", "T", "M", "Y", "P", "G", "R", "E", "X"], edges)
    assert causal_roles(graph, "T", "Y") == {
        "W": "confounder",
        "I": "instrument",
        "T": "treatment",
        "M": "mediator",
        "Y": "outcome",
        "P": "parent of the outcome",
        "G": "ancestor of the outcome",
        "R": "descendant of the outcome",
        "E": "descendant of the treatment",
        "X": "proxy: no ancestor of the outcome",
    }
    with pytest.raises(ValueError, match="no variable 'Z' in the graph"):
        causal_roles(graph, "Z", "Y")


def test_a_cause_of_the_treatment_that_reaches_the_outcome_around_it_is_a_confounder():
    graph = CausalGraph.from_edges(["A", "B", "T", "Y"], ["A -> T", "A -> B", "B -> Y", "T -> Y"])
    assert causal_roles(graph, "T", "Y")["A"] == "confounder"


@pytest.mark.parametrize("with_graph", [False, True])
def test_selection_contrasts_prediction_and_cause(world, with_graph):
    table = select_features(world.log(), graph=world.graph if with_graph else None)
    assert not {"user_id", "item_id", "day", "purchased"} & set(table.index)
    assert table["importance"].is_monotonic_decreasing
    told = ["clicked", "position", "rating", "exposed", "propensity"]
    assert not table.loc[told, "selected"].any()
    assert (table.loc[["clicked", "rating"], "low"] > 0).all()  # predictive all the same
    eligible = table.drop(index=told)
    assert (eligible["selected"] == (eligible["low"] > 0)).all()
    assert {"popularity", "activity", "stock"} <= set(table.index[table["selected"]])
    assert table.loc[["popularity", "activity", "stock"], "role"].str.startswith("confounder").all()
    assert table.loc["clicked", "role"].startswith("mediator")


def test_k_selects_the_best_eligible(world):
    log = world.log()[["user_id", "price", "stock", "popularity", "clicked", "purchased"]]
    table = select_features(log, k=2)
    eligible = table.drop(index="clicked")
    assert table.index[table["selected"]].tolist() == eligible.index[:2].tolist()
    with pytest.raises(ValueError, match="k=9 must lie between 1 and 3"):
        select_features(log, k=9)
    with pytest.raises(ValueError, match="no column of frame is fixed before 'exposed'"):
        select_features(log[["user_id", "clicked", "purchased"]])


def test_selected_is_what_has_its_whole_interval_above_0(monkeypatch):
    known = pd.DataFrame(
        {"importance": [0.3, 0.2, -0.1], "low": [0.1, -0.01, -0.3], "high": [0.5, 0.41, 0.1]},
        index=["a", "b", "c"],
    )
    monkeypatch.setattr(features, "importance", lambda frame, outcome, **how: known)
    frame = pd.DataFrame({"a": [0, 1], "b": [0, 1], "c": [0, 1], "purchased": [0, 1]})
    assert select_features(frame)["selected"].to_dict() == {"a": True, "b": False, "c": False}
    assert select_features(frame, k=2)["selected"].to_dict() == {"a": True, "b": True, "c": False}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 25), st.integers(1, 12))
def test_sequences_are_the_last_events_before_the_day(seed, length, n_events, n_rows):
    rng = np.random.default_rng(seed)

    def drawn(n):
        return pd.DataFrame({"user_id": rng.integers(4, size=n), "day": rng.integers(6, size=n)})

    events = drawn(n_events).assign(
        price=rng.normal(size=n_events), kind=rng.integers(9, size=n_events)
    )
    rows = drawn(n_rows)
    if not n_events:
        with pytest.raises(ValueError, match="events: has no rows"):
            sequences(rows, events, ["price", "kind"], length=length)
        return
    found = sequences(rows, events, ["price", "kind"], length=length, dtype="float64")
    assert found.shape == (n_rows, length, 3)
    for row, one in zip(rows.itertuples(), found, strict=True):
        own = events[(events["user_id"] == row.user_id) & (events["day"] < row.day)].sort_values(
            "day", kind="stable"
        )
        last = own[["price", "kind"]].to_numpy()[-length:]
        expected = np.zeros((length, 3))
        if len(last):
            expected[-len(last) :] = np.column_stack([np.ones(len(last)), last])
        assert (one == expected).all()


# ---- sound ---------------------------------------------------------------------------------------

RATE = 4000.0


def tone(hertz, *, loud=1.0, samples=1000):
    return loud * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE + 0.3)


def centres(bands):
    """Hertz of the bands' centres: equal steps in mel, written anew."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    return 700 * (10 ** (np.arange(1, bands + 1) * top / (bands + 1) / 2595) - 1)


@pytest.mark.parametrize("band", [2, 5, 11, 18])
def test_a_pure_tone_peaks_in_the_band_of_its_frequency(band):
    found = log_mel(tone(centres(20)[band])[None], RATE, bands=20)
    assert found.shape == (1, 6, 20)  # frames start at 0, 128, ..., 640
    assert (found[0].argmax(axis=1) == band).all()


@pytest.mark.parametrize(("window", "hop"), [(256, 128), (128, 100)])
def test_the_bands_of_a_frame_add_up_to_its_energy(window, hop):
    """Parseval: the sum over frequencies is the sum of squares under the window, taken in time."""
    wave = tone(500.0) + tone(900.0, loud=0.3)
    found = np.exp(log_mel(wave[None], RATE, window=window, hop=hop, floor=1e-12))[0]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    for frame, bands in enumerate(found):
        piece = wave[frame * hop : frame * hop + window]
        energy = (hann**2 * piece**2).sum() / (hann**2).sum()
        # a Hann window leaks so little below the first centre
        assert bands.sum() == pytest.approx(energy, rel=1e-6)


def test_ten_times_the_amplitude_is_a_hundred_times_the_power():
    soft, loud = (log_mel(tone(700.0, loud=size)[None], RATE, floor=1e-300) for size in (0.1, 1.0))
    np.testing.assert_allclose(loud - soft, np.log(100), rtol=1e-6)


def test_silence_is_the_floor_and_waves_do_not_mix():
    pair = log_mel(np.stack([np.zeros(1000), tone(440.0)]), RATE, floor=1e-6)
    np.testing.assert_allclose(pair[0], np.log(1e-6), rtol=1e-12)
    np.testing.assert_array_equal(pair[1], log_mel(tone(440.0)[None], RATE)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"waves": np.zeros(1000)},
            r"waves has shape \(1000,\); \(n, samples\) with at least window=256",
        ),
        ({"waves": np.zeros((1, 255))}, r"waves has shape \(1, 255\)"),
        ({"waves": np.full((1, 300), np.nan)}, "waves has 300 missing or infinite samples"),
        ({"rate": 0}, "rate=0 must be positive"),
        ({"hop": -1}, "hop=-1 must be positive"),
        ({"floor": 0.0}, "floor=0.0 must be positive"),
        ({"bands": 200}, "of 200 bands hold no frequency of a window of 256; take fewer bands"),
        ({"window": 255}, "window=255 must be even"),
    ],
)
def test_wrong_sounds_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        log_mel(**({"waves": np.zeros((1, 300)), "rate": RATE} | change))


# ---- what importance is measured on --------------------------------------------------------------


def test_falls_of_the_auc_by_hand():
    """Each column is shuffled by itself, several of them as one; all in the same orders."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = rng.integers(2, size=40)
    weight = np.array([1.0, -2.0, 0.0])
    found = features.auc_falls(
        lambda X: X @ weight, X, y, [1, [0, 2], [2]], 3, np.random.default_rng(5)
    )
    same = np.random.default_rng(5)
    orders = [same.permutation(40) for _ in range(3)]
    expected = np.empty((3, 3))
    for column, own in enumerate(([1], [0, 2], [2])):
        for repeat in range(3):
            shuffled = X.copy()
            shuffled[:, own] = X[orders[repeat]][:, own]
            expected[repeat, column] = roc_auc_score(y, X @ weight) - roc_auc_score(
                y, shuffled @ weight
            )
    assert found == pytest.approx(expected)
    assert (found[:, 2] == 0).all()


def test_the_model_behind_a_permutation(monkeypatch):
    """Of 1,000 rows 700 are fitted; text is a category; of more rows than wished for a part is
    drawn by the seed.
    """
    X, y = made(1000)
    given = []
    fitted = []
    scored = []

    class Recorded:
        def __init__(self, **options):
            given.append(options)

        def fit(self, X, y):
            fitted.append(X)

        def predict_proba(self, X):
            scored.append(len(X))
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    monkeypatch.setattr(features, "HistGradientBoostingClassifier", Recorded)
    importance(X, y, columns=["weak", "label"], n_repeats=4, seed=9)
    mask = given[0].pop("categorical_features")
    label = int(np.flatnonzero(mask)[0])
    assert mask.sum() == 1
    assert given[0] == {
        "max_iter": 50,
        "max_leaf_nodes": 15,
        "early_stopping": False,
        "random_state": 9,
    }
    assert fitted[0].shape == (700, 4)
    assert scored == [300] * (1 + 2 * 4)
    codes = {"a": 0.0, "b": 1.0, "c": 2.0}
    at = dict(zip(X["strong"], X["label"].map(codes), strict=True))
    strong = next(place for place in range(4) if fitted[0][0][place] in at)
    assert all(at[row[strong]] == row[label] for row in fitted[0])
    scored.clear()
    importance(X, y, n_repeats=2, max_rows=200)
    assert (len(fitted[1]), set(scored)) == (140, {60})
    importance(X, y, n_repeats=2, max_rows=200, seed=1)
    assert not np.array_equal(fitted[1], fitted[2])


def test_the_rows_behind_a_mutual_information(monkeypatch):
    X, y = made(1000)
    X = X.assign(count=np.arange(1000) % 7, flag=X["noise"] > 0)
    calls = []

    def recorded(codes, y, discrete_features, random_state):
        assert not discrete_features
        calls.append((codes.shape, random_state, codes[:, 0]))
        return np.arange(codes.shape[1], dtype=float)

    monkeypatch.setattr(features, "mutual_info_classif", recorded)
    table = importance(
        X, y, method="mutual_info", columns=["weak", "label", "count", "flag"], n_repeats=3, seed=2
    )
    # of the columns, only one has more than a few values
    assert [call[:2] for call in calls] == [((500, 1), 2)] * 3
    assert not np.array_equal(calls[0][2], calls[1][2])
    assert set(calls[0][2]) <= set(X["weak"])
    assert set(table.index) == {"flag", "count", "label", "weak"}
    importance(X, y, method="mutual_info", n_repeats=2, max_rows=120)
    monkeypatch.setattr(features, "_MI_ROWS", 300)
    importance(X, y, method="mutual_info", n_repeats=2)
    assert [call[0][0] for call in calls[3:]] == [120, 120, 300, 300]


def test_what_is_selected_from_and_how_it_is_measured(monkeypatch):
    """Eligible columns together, each other one in a model of its own; roles by the graph first, by
    the table else.
    """
    calls = []

    def recorded(frame, y, *, columns=None, groups, seed):
        calls.append((list(frame.columns), columns, groups.tolist(), seed))
        names = list(frame.columns) if columns is None else columns
        value = [{"price": 0.3, "stock": 0.2, "later": 0.4, "seen": 0.1}[name] for name in names]
        return pd.DataFrame(
            {"importance": value, "low": value, "high": value},
            index=pd.Index(names, name="feature"),
        )

    monkeypatch.setattr(features, "importance", recorded)
    frame = pd.DataFrame(
        {name: [0, 1] for name in ("user_id", "price", "later", "stock", "seen", "bought")}
    )
    graph = CausalGraph.from_edges(
        ["price", "seen", "later", "bought"],
        ["price -> seen", "seen -> later", "seen -> bought", "price -> bought"],
    )
    roles = {
        "user_id": "key",
        "price": "mediator",
        "stock": "pre-treatment: item",
        "seen": "outcome",
    }
    table = select_features(frame, "bought", graph=graph, treatment="seen", roles=roles, seed=6)
    assert calls == [
        (["price", "stock"], None, [0, 1], 6),
        (["price", "stock", "later"], ["later"], [0, 1], 6),
        (["price", "stock", "seen"], ["seen"], [0, 1], 6),
    ]
    assert table.index.tolist() == ["later", "price", "stock", "seen"]
    assert table["role"].tolist() == [
        "descendant of the treatment",
        "confounder",
        "pre-treatment: item",
        "treatment",
    ]
    assert table["selected"].tolist() == [False, True, True, False]
    calls.clear()
    table = select_features(frame, "bought", k=1, roles={"user_id": "key", "later": "mediator"})
    assert table.index[table["selected"]].tolist() == ["price"]
    assert table["role"].to_dict() == {
        "later": "mediator",
        "price": "unknown",
        "stock": "unknown",
        "seen": "unknown",
    }


def test_sound_has_its_defaults_and_a_floor():
    wave = tone(700.0)[None]
    np.testing.assert_array_equal(
        log_mel(wave, RATE), log_mel(wave, RATE, bands=20, window=256, hop=128, floor=1e-6)
    )
    quiet = np.exp(log_mel(wave, RATE, floor=1e-9)) - 1e-9
    np.testing.assert_allclose(np.exp(log_mel(wave, RATE, floor=0.5)) - 0.5, quiet, atol=1e-9)


def test_the_power_of_a_band_by_hand():
    """Of 8 samples at 8 hertz, in three bands: the spectrum by the definition, triangles between
    their centres in mel.
    """
    wave = np.array([0.3, -1.2, 0.7, 2.0, -0.4, 0.1, 1.1, -0.9])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(8) / 8)
    framed = wave * hann / np.sqrt((hann**2).sum())
    turns = np.exp(-2j * np.pi * np.outer(np.arange(5), np.arange(8)) / 8)
    power = np.abs(turns @ framed) ** 2 / 8 * np.array([1, 2, 2, 2, 1])
    mel = 2595 * np.log10(1 + np.arange(5) / 700)
    step = mel[4] / 4
    triangles = np.maximum(0, 1 - np.abs(mel[:, None] - step * np.arange(1, 4)) / step)
    expected = np.log(power @ triangles + 0.01)
    np.testing.assert_allclose(
        log_mel(wave[None], 8, bands=3, window=8, hop=8, floor=0.01)[0, 0], expected, rtol=1e-10
    )


def test_the_table_of_repeats_by_hand():
    """Mean and Student's t over three repeats: 4.303 standard errors to each side."""
    table = importance_table(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 8.0]]), ["a", "b"])
    assert table.index.tolist() == ["b", "a"]
    assert table.loc["a"].tolist() == pytest.approx(
        [2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5], rel=1e-6
    )
    assert table.loc["b"].tolist() == pytest.approx([6, 6 - 4.302653, 6 + 4.302653], rel=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "float64", "object", "Int64", "str", "category"])
def test_noise_of_many_values_has_no_information_in_any_dtype(dtype):
    """Levels are not counted for numbers, and chance is taken off where they are."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    noise = pd.Series(rng.integers(0, 1000, 4000))
    if dtype == "str":
        noise = "i" + noise.astype(str)
    X = pd.DataFrame({"noise": noise.astype(dtype), "cause": y ^ (rng.random(4000) < 0.3)})
    table = importance(X, y, method="mutual_info")
    assert abs(table.loc["noise", "importance"]) < 0.015
    # log 2 less the entropy of a coin of 0.3
    assert table.loc["cause", "importance"] == pytest.approx(0.0823, abs=0.02)
    assert table.index[0] == "cause"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": pd.Series([0, 1] * 20)[::-1]}, "y: has the index labels of X in another order"),
        (
            {"y": pd.DataFrame({"y": [0, 1] * 20})},
            r"y: one value per row is needed, not .*\(40, 1\)",
        ),
        ({"y": ["no", "yes"] * 20}, r"y: .* found 2 levels \('no', 'yes'\).* \(y == 'yes'\)"),
        ({"groups": [1, "1"] * 20}, "groups: column 'groups' mixes ids of types int and str"),
        ({"groups": [1, None] * 20}, "groups: 20 of 40 ids are missing"),
        ({"groups": [[1]] * 40}, "groups: column 'groups' holds list values"),
        ({"groups": pd.Series(range(40))[::-1]}, "groups: has the index labels of X in another"),
    ],
)
def test_rows_of_an_importance_are_paired_as_they_were_meant(arguments, message):
    X = pd.DataFrame({"x": range(40)})
    with pytest.raises(ValueError, match=message):
        importance(**({"X": X, "y": [0, 1] * 20} | arguments))
    with pytest.raises(TypeError, match="X: a pandas DataFrame is needed, not ndarray"):
        importance(X.to_numpy(), [0, 1] * 20)


@pytest.mark.parametrize("convert", ["bool", "boolean", "category", "Int64", "int64[pyarrow]"])
def test_a_purchase_counts_in_any_dtype(convert):
    log = pd.DataFrame({"user_id": 1, "item_id": range(4), "day": range(4), "category": "a"})
    right = purchase_history(log.assign(purchased=[1, 0, 1, 0]))
    found = purchase_history(log.assign(purchased=pd.Series([1, 0, 1, 0]).astype(convert)))
    pd.testing.assert_frame_equal(found, right)
    with pytest.raises(ValueError, match="column 'purchased' holds numbers as text"):
        purchase_history(log.assign(purchased=["1", "0"] * 2))


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_crosses_of_nullable_and_arrow_columns(backend):
    frame = pd.DataFrame({"a": [2.0, 3.0, 4.0], "b": [5, 7, 9], "c": ["u", "v", None]})
    pairs = [("a", "b"), ("c", "a")]
    right = combine(frame, pairs)
    assert right["a x c=u"].tolist()[:2] == [2, 0]
    assert np.isnan(right["a x c=u"].iloc[2])
    found = combine(frame.convert_dtypes(dtype_backend=backend), pairs)
    pd.testing.assert_frame_equal(found, right)


@pytest.mark.parametrize("kind", ["text", "category", "int", "float", "date"])
def test_the_identity_of_an_item_looks_no_more_important_than_it_is(kind):
    """500 items that are all alike, and items that differ by their price alone."""
    rng = np.random.default_rng(4)
    item = rng.integers(0, 500, 6000)
    price = rng.normal(size=500)[item]
    cause = rng.normal(size=6000)
    code = rng.permutation(500)[item]
    origin = pd.Timestamp("2024-03-01")
    identity = {
        "text": lambda: pd.Series(code).map("i{}".format),
        "category": lambda: pd.Series(code).astype("category"),
        "int": lambda: code,
        "float": lambda: rng.normal(size=500)[item],
        "date": lambda: origin + pd.to_timedelta(code, unit="D"),
    }[kind]()
    X = pd.DataFrame({"identity": identity, "cause": cause, "price": price})

    def measured(logit):
        y = (rng.random(6000) < 1 / (1 + np.exp(-logit))).astype(int)
        return importance(X, y, method="mutual_info", n_repeats=5)["importance"]

    found = measured(cause)
    assert found.index[0] == "cause"
    assert abs(found["identity"]) < 0.01 < found["cause"] / 5
    found = measured(cause + price)
    if kind in ("text", "category"):  # an identity holds the price, and no more
        assert found["identity"] == pytest.approx(found["price"], abs=0.02)
    else:  # a number in an order of its own says nothing of it
        assert abs(found["identity"]) < found["price"] / 5


@pytest.mark.parametrize("zeros", [0.95, 0.5])
def test_a_number_that_is_mostly_zero_keeps_its_information(zeros):
    rng = np.random.default_rng(0)
    count = np.where(rng.random(8000) < zeros, 0, rng.integers(1, 100, 8000))
    y = (rng.random(8000) < np.where(count > 0, 0.8, 0.2)).astype(int)
    found = importance(pd.DataFrame({"count": count}), y, method="mutual_info")
    assert found.loc["count", "importance"] == pytest.approx(
        mutual_info_score(count > 0, y), rel=0.1
    )


def test_what_a_column_is_does_not_depend_on_its_dtype():
    rng = np.random.default_rng(1)
    day = rng.integers(0, 400, 1500)
    many = rng.integers(0, 600, 1500)
    y = (rng.random(1500) < 1 / (1 + np.exp(-(day - 200) / 60))).astype(int)
    plain = pd.DataFrame({"day": day.astype(float), "many": [f"i{k:03d}" for k in many]})
    first = importance(plain, y, n_repeats=3)
    assert first.index[0] == "day"
    for column in (
        pd.Series(day).astype(object),
        pd.Series([Decimal(int(k)) for k in day]),
        pd.to_timedelta(day, unit="D").to_series(index=range(1500)),
        pd.Timestamp("2024-03-01") + pd.to_timedelta(pd.Series(day), unit="D"),
        (pd.Timestamp("2024-03-01") + pd.to_timedelta(pd.Series(day), unit="D")).dt.date,
    ):
        found = importance(plain.assign(day=column), y, n_repeats=3)
        pd.testing.assert_frame_equal(found, first)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1, 2]] * 40, r"X: column 'z' holds list"),
        ([1, "a"] * 20, r"X: column 'z' mixes int and str"),
        ([str(k) for k in range(40)], r"X: column 'z' holds numbers as text"),
        ([1j] * 40, r"X: column 'z' holds complex"),
    ],
)
@pytest.mark.parametrize("method", ["permutation", "mutual_info"])
def test_columns_that_are_no_features_are_named(column, message, method):
    y = [0, 1] * 20
    X = pd.DataFrame({"x": range(40), "z": pd.Series(column)})
    with pytest.raises(ValueError, match=message):
        importance(X, y, method=method)


def test_crosses_of_numbers_in_any_dtype():
    frame = pd.DataFrame(
        {"a": [Decimal(2), Decimal(3)], "b": pd.Series([5, 7], dtype=object), "c": ["u", "v"]}
    )
    found = combine(frame, [("a", "b"), ("c", "a")])
    assert found["a x b"].tolist() == [10, 21]
    assert found["a x c=v"].tolist() == [0, 3]
    dated = frame.assign(c=pd.Timestamp("2024-03-01"))
    with pytest.raises(ValueError, match="column 'c' is a date"):
        combine(dated, [("a", "c")])


def test_sequences_by_times_of_any_kind():
    """Days as text are ordered as times or refused; ids of different types never match."""
    done = pd.DataFrame({"user_id": 1, "day": [9, 10, 11], "price": [5.0, 7.0, 9.0]})
    rows = pd.DataFrame({"user_id": [1], "day": [11]})
    right = sequences(rows, done, ["price"], length=2)
    assert right[0, :, 1].tolist() == [5, 7]
    dates = {k: pd.Timestamp("2024-03-01") + pd.Timedelta(days=k) for k in (9, 10, 11)}
    for write in (dates.get, lambda k: dates[k].date(), lambda k: f"{dates[k]:%Y-%m-%d}"):
        found = sequences(
            rows.assign(day=rows["day"].map(write)), done.assign(day=done["day"].map(write)),
            ["price"], length=2,
        )  # fmt: skip
        assert np.array_equal(found, right)
    with pytest.raises(ValueError, match="column 'day' holds numbers as text"):
        sequences(rows.astype({"day": str}), done.astype({"day": str}), ["price"])
    with pytest.raises(ValueError, match="user_id is a text in rows and a number in events"):
        sequences(rows.astype({"user_id": str}), done, ["price"])
    with pytest.raises(ValueError, match=r"channels: a list .* write \['price'\]"):
        sequences(rows, done, "price")


def test_history_needs_days_that_are_numbers():
    log = pd.DataFrame(
        {"user_id": 1, "item_id": [7, 8], "day": ["9", "10"], "category": "a", "purchased": [1, 0]}
    )
    with pytest.raises(ValueError, match="log: column 'day' holds numbers as text"):
        purchase_history(log)
    found = purchase_history(log.assign(day=pd.Series([9, 10], dtype=object)))
    assert found["user_purchases"].tolist() == [0, 1]


def _tied(seed, n=400):
    """Rows of few values, many of them the same, some missing, and two columns that are alike but
    for their name.
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.integers(5, size=n) * 1.0,
            "city": rng.choice(list("pqr"), n),
            "bought": rng.integers(2, size=n),
            "seen": rng.integers(3, size=n),
        }
    )
    X["copy"] = X["age"]
    y = (rng.random(n) < 0.2 + 0.15 * X["age"] * X["bought"]).astype(int)
    return X, y, pd.Series(rng.integers(n // 4, size=n))


@pytest.mark.parametrize("method", ["permutation", "mutual_info"])
@pytest.mark.parametrize("grouped", [False, True])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_an_importance_depends_on_no_order_index_or_unit(method, grouped, seed):
    X, y, users = _tied(seed)
    rng = np.random.default_rng(seed)
    if method == "permutation":
        X["seen"] = X["seen"].where(rng.random(len(X)) < 0.9)

    def measured(X, y, users, **how):
        groups = users if grouped else None
        return importance(X, y, method=method, groups=groups, n_repeats=3, **how)

    right = measured(X, y, users)
    rows = rng.permutation(len(X))
    columns = list(rng.permutation(X.columns))
    index = np.arange(len(X)) % 9
    for found in (
        measured(X.iloc[rows], y.iloc[rows], users.iloc[rows]),
        measured(X.iloc[::-1], y.iloc[::-1], users.iloc[::-1]),
        measured(X[columns], y, users),
        measured(X, y, users, columns=columns),
        measured(X.set_axis(index), y.set_axis(index), users.set_axis(index)),
        measured(X.assign(age=X["age"] * 365.25 + 1e6), y, users),
    ):
        assert found.index.tolist() == right.index.tolist()
        assert found.to_numpy() == pytest.approx(right.to_numpy(), abs=1e-9)


def test_an_importance_does_not_depend_on_what_else_is_measured():
    X, y, _ = _tied(1)
    right = importance(X, y, n_repeats=3)
    alone = importance(X, y, columns=["bought"], n_repeats=3)
    assert alone.loc["bought"].tolist() == pytest.approx(right.loc["bought"].tolist())


def test_levels_beyond_those_that_trees_take_count_as_one():
    """Of 300 levels the 254 most frequent are kept; the one that decides is among them."""
    rng = np.random.default_rng(0)
    level = np.concatenate([np.arange(300), np.zeros(900, dtype=int), rng.integers(300, size=300)])
    X = pd.DataFrame({"label": [f"l{k}" for k in level], "noise": rng.normal(size=1500)})
    y = np.where(level == 0, 1, rng.integers(2, size=1500))
    table = importance(X, y, n_repeats=3)
    assert table.index[0] == "label"
    assert table.loc["label", "low"] > 0.1
