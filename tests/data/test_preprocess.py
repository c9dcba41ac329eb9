from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from causal_lib.data import schema
from causal_lib.data.preprocess import CATEGORICAL, NUMERIC, preprocess_data
from causal_lib.worlds.online_shop import shop


@pytest.fixture(scope="module")
def world():
    return shop(n_users=120, n_items=30, days=6, seed=3)


@pytest.fixture(scope="module")
def raw(world):
    return world.raw(seed=1)


@pytest.fixture
def log(world):
    """The clean log; each test may spoil its own copy."""
    return world.log()


def small(**columns):
    """Three days, two users, two items, one numeric feature."""
    frame = pd.DataFrame(
        [(u, i, d) for d in range(10) for u in (1, 2) for i in (5, 6)], columns=schema.KEY
    )
    frame["x"] = np.arange(40.0)
    frame["purchased"] = np.arange(40) % 3 == 0
    return frame.assign(**columns)


def run_small(frame, **arguments):
    return preprocess_data(frame, numeric=["x"], categorical=[], **arguments)


def test_duplicates_and_holes_are_counted_and_input_is_unchanged(raw):
    before = raw.copy(deep=True)
    prepared = preprocess_data(raw)
    pd.testing.assert_frame_equal(raw, before)
    distinct = raw.drop_duplicates()
    assert prepared.report["duplicates_removed"] == len(raw) - len(distinct) > 0
    assert prepared.report["rows_read"] == len(raw)
    assert sum(prepared.report["rows"].values()) == len(distinct)
    holes = {
        c: int(distinct[c].isna().sum())
        for c in (*NUMERIC, *CATEGORICAL)
        if distinct[c].isna().any()
    }
    assert prepared.report["imputed"] == holes
    assert set(holes) == {"age_band", "price", "stock", "price_sensitivity"}


@pytest.mark.parametrize("impute", ["median", "ffill"])
@pytest.mark.parametrize("split", ["time", "user"])
def test_features_are_complete_numbers_and_pieces_share_their_index(raw, split, impute):
    prepared = preprocess_data(raw, split=split, impute=impute)
    X, y = prepared
    assert X.notna().all(axis=None)
    assert set(X.dtypes) == {np.dtype(float)}
    assert X.columns.is_unique
    for part in ("train", "val", "test"):
        index = getattr(prepared, f"X_{part}").index
        assert index.equals(getattr(prepared, f"y_{part}").index)
        rows = getattr(prepared, f"rows_{part}")
        assert index.equals(rows.index)
        assert (rows["purchased"] == getattr(prepared, f"y_{part}")).all()
        assert {"propensity", "user_id"} <= set(rows.columns)
    assert len(X) == len(y) == len(raw.drop_duplicates())


def test_no_day_is_in_two_parts_and_time_runs_forward(raw):
    p = preprocess_data(raw)
    assert p.rows_train["day"].max() < p.rows_val["day"].min()
    assert p.rows_val["day"].max() < p.rows_test["day"].min()


def test_days_are_cut_by_shares_of_rows():
    """36 of 72 rows fall on the first of ten days: 44 rows to the third are nearest to 60%, 56 to
    the sixth to 80%.
    """
    day = np.repeat(np.arange(10), [36] + [4] * 9)
    frame = pd.DataFrame({"user_id": np.arange(72), "item_id": 0, "day": day, "x": np.arange(72.0)})
    prepared = run_small(frame.assign(purchased=np.arange(72) % 3 == 0))
    assert [rows["day"].unique().tolist() for rows in _rows(prepared)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8, 9],
    ]
    assert prepared.report["rows"] == {"train": 44, "validation": 12, "test": 16}


def test_no_user_is_in_two_parts_and_seed_draws_them(raw):
    users = [set(r["user_id"]) for r in _rows(preprocess_data(raw, split="user", seed=0))]
    n = sum(map(len, users))
    assert len(set.union(*users)) == n
    assert [len(u) for u in users[1:]] == [round(0.2 * n)] * 2
    again = [set(r["user_id"]) for r in _rows(preprocess_data(raw, split="user", seed=0))]
    other = [set(r["user_id"]) for r in _rows(preprocess_data(raw, split="user", seed=1))]
    assert users == again != other


def _rows(prepared):
    return prepared.rows_train, prepared.rows_val, prepared.rows_test


def test_statistics_are_those_of_the_training_part(log):
    prepared = preprocess_data(log)
    train = prepared.rows_train
    for part, X in ((train, prepared.X_train), (prepared.rows_test, prepared.X_test)):
        by_hand = (part["price"] - train["price"].mean()) / train["price"].std(ddof=0)
        np.testing.assert_allclose(X["price"], by_hand, rtol=1e-9)  # two orders of summation


def test_later_days_do_not_change_what_was_learnt(raw):
    last = raw["day"].max()
    spoilt = raw.assign(price=raw["price"].where(raw["day"] < last, raw["price"] * 1000))
    a = preprocess_data(raw)
    b = preprocess_data(spoilt)
    pd.testing.assert_frame_equal(a.X_train, b.X_train)
    assert not a.X_test["price"].equals(b.X_test["price"])


@pytest.mark.parametrize("impute", ["median", "ffill"])
def test_the_pipeline_does_the_same_to_new_data(raw, impute):
    prepared = preprocess_data(raw, impute=impute)
    clean = raw.drop_duplicates()
    X, _ = prepared
    pd.testing.assert_frame_equal(prepared.pipeline.transform(clean).loc[X.index], X)


def test_an_unknown_category_has_no_indicator(log):
    prepared = preprocess_data(log)
    row = log.head(1).astype({"category": str}).assign(category="garden")
    columns = [c for c in prepared.X_train if c.startswith("category_")]
    assert len(columns) == log["category"].nunique()
    assert (prepared.pipeline.transform(row)[columns] == 0).all(axis=None)


def test_median_imputation_marks_what_was_missing():
    frame = small()
    frame.loc[[3, 39], "x"] = np.nan
    prepared = run_small(frame)
    train = frame.loc[prepared.X_train.index, "x"]
    at = (train.median() - train.fillna(train.median()).mean()) / train.fillna(train.median()).std(
        ddof=0
    )
    X, _ = prepared
    assert X.loc[3, "x"] == pytest.approx(at)
    assert X.loc[39, "x"] == pytest.approx(at)  # a row of the test part gets the training median
    indicator = X["missingindicator_x"]
    assert indicator[indicator == 1].index.tolist() == [3, 39]


def test_forward_fill_stays_inside_the_users_past():
    # user 1 stands in rows 0, 1, 4, 5, ...; user 2 in rows 2, 3, 6, 7, ...
    frame = small()
    # 0: no past; 5 <- 4; 6 <- 3; 36, 37 (last day) <- 33
    frame.loc[[0, 5, 6, 36, 37], "x"] = np.nan
    shuffled = frame.sample(frac=1, random_state=0)
    # rows of one day are filled in the order they stand
    days = shuffled["day"].sort_values(kind="stable").index
    filled = {}
    for user in (1, 2):
        value = np.nan
        for i in [i for i in days if frame.loc[i, "user_id"] == user]:
            value = frame.loc[i, "x"] if pd.notna(frame.loc[i, "x"]) else value
            filled[i] = value
    prepared = run_small(shuffled, impute="ffill")
    X, _ = prepared
    assert list(X.columns) == ["x"]
    expected = pd.Series(filled)
    train = expected[prepared.X_train.index]
    expected = expected.fillna(train.median())
    train = train.fillna(train.median())
    by_hand = (expected[X.index] - train.mean()) / train.std(ddof=0)
    np.testing.assert_allclose(X["x"], by_hand, rtol=1e-9)


def test_forward_fill_looks_back_from_a_later_part():
    frame = small()
    # validation and test know nothing but the training days
    frame.loc[frame["day"] >= 6, "x"] = np.nan
    prepared = run_small(frame, impute="ffill")
    scaler = prepared.pipeline.named_steps["encode"].named_transformers_["numeric"][-1]
    value = prepared.X_test["x"] * scaler.scale_[0] + scaler.mean_[0]
    last = frame[frame["day"] < 6].groupby("user_id")["x"].last()
    np.testing.assert_allclose(value, last[prepared.rows_test["user_id"]], rtol=1e-9)


def test_the_users_of_one_part_are_not_filled_from_another_user():
    frame = small()
    frame.loc[frame["user_id"] == 2, "x"] = np.nan
    prepared = run_small(frame, impute="ffill")
    own = frame.loc[prepared.X_train.index, "x"]
    X, _ = prepared
    values = X.loc[frame["user_id"].reindex(X.index) == 2, "x"].unique()
    assert len(values) == 1  # the training median, in every row
    full = own.fillna(own.median())
    assert values[0] == pytest.approx((own.median() - full.mean()) / full.std(ddof=0))


def test_shares_decide_the_days():
    prepared = run_small(small(), validation=0.1, test=0.3)
    assert [sorted(set(r["day"])) for r in _rows(prepared)] == [list(range(6)), [6], [7, 8, 9]]


def test_repr_says_what_was_done(raw):
    text = repr(preprocess_data(raw))
    assert "exact duplicates (removed)" in text
    assert "missing values imputed" in text


def _one(frame, column, value):
    frame[column] = frame[column].astype(float)
    frame.loc[frame.index[0], column] = value
    return frame


def _repeated(frame):
    return pd.concat([frame, frame.head(2).assign(price=1.25)])


def _mixed(values):
    """Every other value as text, as where a file is read in parts."""
    found = [value if k % 2 else str(value) for k, value in enumerate(values)]
    return pd.Series(found, values.index, dtype=object)


BAD_DATA = [
    (lambda f: f.iloc[:0], "data: has no rows"),
    (lambda f: f.drop(columns="price"), "data: no column 'price'"),
    (lambda f: f.drop(columns="user_id"), "data: no column 'user_id'"),
    (lambda f: f.assign(price=np.nan), "'price' holds only missing values"),
    (lambda f: _one(f, "price", np.inf), "'price' has 1 infinite value"),
    (lambda f: f.assign(quality=1.5), "'quality' is constant"),
    (
        lambda f: f.assign(quality=np.where(f["day"] < 5, 0.0, 1.0)),
        "training part of data: column 'quality' is constant",
    ),
    (lambda f: _one(f, "price", -3.0), r"'price': 1 value outside \(0, inf\], first -3"),
    (lambda f: _one(f, "stock", -1), r"'stock': 1 value outside \[0, inf\]"),
    (lambda f: f.assign(price=f["price"].astype(str)), "'price' holds numbers as text"),
    (lambda f: f.assign(price=f["category"]), "'price' must hold numbers, not .*; code its levels"),
    (lambda f: f.assign(price=pd.Timestamp("2024-03-01")), "'price' is constant"),
    (lambda f: f.assign(price=f["price"] + 1j), "'price' holds complex numbers"),
    (lambda f: f.assign(price=f["price"] * 1e300), "'price' has values up to .*divide it by its"),
    (lambda f: f.assign(quality=f["quality"] * 1e-300), "'quality' has values up to"),
    (lambda f: f.assign(city_tier=_mixed(f["city_tier"])), "'city_tier' mixes labels of types int"),
    (lambda f: f.assign(category=[f"i{k}" for k in range(len(f))]), "'category' has a different"),
    (lambda f: f.assign(category=f["quality"]), "'category' is a category of .* numbers"),
    (lambda f: f.assign(category=[(k % 3, 1) for k in range(len(f))]), "'category' holds tuples"),
    (lambda f: f.assign(tags=[[1, 2]] * len(f)), "'tags' holds list values"),
    (_repeated, r"4 rows repeat a key \(user_id, item_id, day\) with different content"),
    (lambda f: _one(f, "day", np.nan), "'day' has 1 missing value"),
    (lambda f: _one(f, "purchased", 2), "'purchased': must be 0 or 1"),
    (lambda f: f.assign(purchased=0), "'purchased': only the value 0"),
    (
        lambda f: f.assign(purchased=(f["day"] < 4).astype(int)),
        "in the train part: only the value 1",
    ),
    (lambda f: f[f["day"] < 2], "leaves the (validation|test) part empty"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_DATA)
def test_bad_data_is_refused(log, spoil, message):
    with pytest.raises(ValueError, match=message):
        preprocess_data(spoil(log))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"numeric": ["price", "position"]}, r"'position' \(mediator.*would leak"),
        ({"numeric": ["clicked"]}, "'clicked'.*leave it out"),
        ({"numeric": ["rating"]}, "'rating' .*leak"),
        ({"numeric": ["purchased"]}, "'purchased'"),
        ({"outcome": "exposed", "numeric": ["exposed"]}, "'exposed'"),
        ({"numeric": ["price"], "categorical": ["price"]}, "column 'price' is given 2 times"),
        ({"numeric": [], "categorical": []}, "name no column"),
        ({"split": "random"}, "split='random' is unknown; choose from 'time', 'user'"),
        ({"impute": "zero"}, "impute='zero' is unknown"),
        ({"validation": 0.0}, "above 0"),
        ({"validation": 0.6, "test": 0.4}, "together below 1"),
    ],
)
def test_bad_arguments_are_refused(log, arguments, message):
    with pytest.raises(ValueError, match=message):
        preprocess_data(log, **arguments)


@pytest.mark.parametrize(
    "convert",
    [
        lambda v: v.astype(object),
        lambda v: v.map(lambda number: Decimal(repr(float(number)))),
        lambda v: v.astype("Float64"),
        lambda v: v.astype("double[pyarrow]"),
        lambda v: v.astype(pd.SparseDtype(float)),
        lambda v: pd.to_timedelta(v, unit="D"),
    ],
)
def test_numbers_are_the_same_features_in_any_dtype(log, convert):
    right = preprocess_data(log, numeric=["price", "quality"], categorical=["category"])
    changed = log.assign(quality=convert(log["quality"]))
    found = preprocess_data(changed, numeric=["price", "quality"], categorical=["category"])
    for name in ("X_train", "X_val", "X_test"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(right, name))
    new = changed.drop(columns=["purchased"]).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        right.pipeline.transform(new), right.pipeline.transform(log.loc[new.index])
    )


def test_new_rows_hold_labels_of_the_type_of_training(log):
    """Text for a number would be a label that training lacks, in every row."""
    pipeline = preprocess_data(log, numeric=["price"], categorical=["city_tier"]).pipeline
    right = pipeline.transform(log)
    for same in (float, "category", "Int64", object):
        found = pipeline.transform(log.astype({"city_tier": same}))
        pd.testing.assert_frame_equal(found, right)
    with pytest.raises(ValueError, match=r"'city_tier' holds labels of type text, .* type number"):
        pipeline.transform(log.astype({"city_tier": str}))
    unseen = pipeline.transform(log.head(2).assign(city_tier=99))
    assert (unseen.filter(like="city_tier_") == 0).all(axis=None)
    # a single row without a value has no type
    missing = pipeline.transform(log.head(1).assign(price=None, city_tier=None))
    assert missing.notna().all(axis=None)


def test_new_rows_without_a_column_are_refused(log):
    prepared = preprocess_data(log)
    with pytest.raises(ValueError, match="rows to transform: no column 'price'"):
        prepared.pipeline.transform(log.drop(columns="price"))


def test_not_a_frame():
    with pytest.raises(TypeError, match="DataFrame"):
        preprocess_data([1, 2])


def test_the_most_frequent_category_fills_and_holes_of_both_kinds_are_marked():
    """Three of five labels are b; x has holes in training, later has holes in the test part only."""
    frame = small(label=np.array(list("abbcb"))[np.arange(40) % 5], later=np.arange(40.0) ** 2)
    frame.loc[[1, 38], "label"] = None
    frame.loc[[2], "x"] = np.nan
    frame.loc[[39], "later"] = np.nan
    prepared = preprocess_data(frame, numeric=["x", "later"], categorical=["label"])
    train = frame.loc[prepared.X_train.index]
    assert train["label"].mode().item() == "b"
    X, y = prepared
    marks = [name for name in X if name.startswith("missingindicator_")]
    assert marks == ["missingindicator_x", "missingindicator_label"]
    assert X.index[X["missingindicator_label"] == 1].tolist() == [1, 38]
    assert X.loc[[1, 38], ["label_a", "label_b", "label_c"]].to_numpy().tolist() == [[0, 1, 0]] * 2
    scale = train["later"].std(ddof=0)
    assert X.loc[39, "later"] == pytest.approx(
        (train["later"].median() - train["later"].mean()) / scale
    )
    assert prepared.report == {
        "rows_read": 40, "duplicates_removed": 0, "imputed": {"x": 1, "later": 1, "label": 2},
        "rows": {"train": 24, "validation": 8, "test": 8},
    }  # fmt: skip
    assert y.dtype == np.int8
    assert y.sort_index().tolist() == [int(k % 3 == 0) for k in range(40)]
    text = repr(prepared)
    assert text.startswith(
        "24 train, 8 validation, 8 test rows with 7 features; of 40 rows read 0 were exact "
        "duplicates"
    )
    assert text.endswith("4 missing values imputed")


def test_what_is_preprocessed_when_nothing_is_said(log):
    prepared = preprocess_data(log)
    assert set(NUMERIC) == {
        "activity",
        "price_sensitivity",
        "price",
        "stock",
        "quality",
        "popularity",
    }
    said = {
        "outcome": "purchased",
        "split": "time",
        "validation": 0.2,
        "test": 0.2,
        "impute": "median",
        "seed": 0,
    }
    same = preprocess_data(log, numeric=NUMERIC, categorical=CATEGORICAL, **said)
    pd.testing.assert_frame_equal(prepared.X_test, same.X_test)
    clicked = preprocess_data(log, outcome="clicked")
    assert clicked.y_train.tolist() == clicked.rows_train["clicked"].tolist()


def test_days_are_split_in_their_order():
    log = shop(60, 30, 14, seed=0).log()
    dates = pd.Timestamp("2024-03-25") + pd.to_timedelta(log["day"], unit="D")
    right = preprocess_data(log).rows_test.index
    for column in (log["day"].astype(object), dates, dates.dt.date, dates.dt.strftime("%F")):
        for impute in ("median", "ffill"):
            found = preprocess_data(log.assign(day=column), impute=impute)
            assert found.rows_test.index.equals(right)
    for column in (log["day"].astype(str), dates.dt.strftime("%-m/%-d/%Y")):
        with pytest.raises(ValueError, match="data: column 'day' "):
            preprocess_data(log.assign(day=column))
    mixed = log["user_id"].astype(object).where(log.index % 2 == 0, log["user_id"].astype(str))
    with pytest.raises(ValueError, match="data: column 'user_id' mixes ids of types"):
        preprocess_data(log.assign(user_id=mixed), split="user")
