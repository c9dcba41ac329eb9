"""The encoder by itself, and over `effect` with every estimator: what is the same table in other
dress gives the same answer, and what cannot be encoded is named.
"""

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.inference import effect
from causal_lib.inference.covariates import (
    POOLED,
    Covariates,
    IdentifierError,
    design,
    label_columns,
    wide,
    wide_names,
)
from causal_lib.inference.support import rule_of

ESTIMATORS = ("regression", "aipw", "ipw", "matching", "linear_dml", "dr_learner", "difference")
EXAMPLES = settings(max_examples=6)
SMALL = 2.0**-30  # about 1e-9; a power of 2 rounds nothing, so that ties of trees stay ties


def _table(n=150, seed=0):
    """A number in hundredths, a city, a day and a flag confound t and y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(2)
    city = rng.choice(list("abc"), n)
    days = rng.integers(0, 365, n)
    flag = rng.integers(0, 2, n)
    lean = 0.7 * x + (city == "b") + days / 365 - 1 + 0.5 * flag
    t = (rng.random(n) < 1 / (1 + np.exp(-lean))).astype(int)
    y = t + x + 2 * (city == "c") + days / 200 - flag + rng.normal(size=n)
    since = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
    return pd.DataFrame({"x": x, "city": city, "since": since, "flag": flag, "t": t, "y": y})


FRAME = _table()
COLUMNS = ("x", "city", "since", "flag")


def _answer(frame, estimator, columns=COLUMNS):
    found = effect(
        frame, "t", "y", adjustment=list(columns), estimator=estimator, learners="linear"
    )
    return found.value, found.standard_error


@pytest.fixture(scope="module")
def plain():
    return {estimator: _answer(FRAME, estimator) for estimator in ESTIMATORS}


# ---- the same table in other dress ---------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@EXAMPLES
@given(power=st.integers(-9, 9), shift=st.sampled_from([0.0, 1e3, 1e9]))
def test_units_of_a_column(plain, estimator, power, shift):
    """A shift of 1e9 standard deviations leaves seven digits, which move a fitted model as little."""
    moved = FRAME.assign(x=10.0**power * (FRAME["x"] + shift))
    near = 2e-3 if shift > 1e6 else 1e-4
    assert _answer(moved, estimator) == pytest.approx(plain[estimator], rel=near)


@pytest.mark.parametrize("learner", ["linear", "splines", "boosted", "forest"])
@pytest.mark.parametrize(
    ("of_x", "of_y"), [(SMALL, 1), (1 / SMALL, 1), (1, SMALL), (1, 1 / SMALL), (SMALL, SMALL)]
)
def test_units_under_every_learner(learner, of_x, of_y):
    """Trees are apt to take small spreads for none: of columns, outcomes and gains."""
    frame = _table(400, 1)
    moved = frame.assign(x=of_x * frame["x"], y=of_y * frame["y"])
    how = {"adjustment": ["x", "city"], "learners": learner, "folds": 2}
    plain = effect(frame, "t", "y", **how)
    found = effect(moved, "t", "y", **how)
    assert found.value / of_y == pytest.approx(plain.value, rel=1e-5)
    assert found.standard_error / of_y == pytest.approx(plain.standard_error, rel=1e-5)


def test_boosting_that_stops_early_stops_at_the_same_tree_in_every_unit():
    """Over 2,000 rows in a fold: gains are compared with those before, in units of the outcome."""
    frame = _table(4200, 2)
    how = {"adjustment": ["x"], "learners": "boosted", "folds": 2}
    plain = effect(frame, "t", "y", **how)
    found = effect(frame.assign(y=SMALL * frame["y"]), "t", "y", **how)
    assert found.value / SMALL == pytest.approx(plain.value)


@pytest.mark.parametrize("factor", [SMALL, 1 / SMALL])
def test_units_under_a_causal_forest_and_in_rules(factor):
    frame = FRAME.assign(x=factor * FRAME["x"])
    how = {"adjustment": ["x"], "learners": "linear", "estimator": "causal_forest"}
    assert effect(frame, "t", "y", **how).value == pytest.approx(
        effect(FRAME, "t", "y", **how).value
    )
    rule = rule_of(frame["x"].to_numpy() > 0.6 * factor, frame[["x"]])
    name, sign, cut = rule.split()
    above = FRAME["x"][FRAME["x"] > 0.6].min()
    assert (name, sign) == ("x", ">")
    assert 0.599 * factor < float(cut) < 1.001 * above * factor  # four digits are shown


@pytest.mark.parametrize("estimator", ESTIMATORS)
@EXAMPLES
@given(seed=st.integers(0, 99), index=st.sampled_from(["range", "repeated", "text", "shuffled"]))
def test_rows_columns_and_index_in_any_order(plain, estimator, seed, index):
    rng = np.random.default_rng(seed)
    mixed = FRAME.iloc[rng.permutation(len(FRAME))]
    mixed = mixed[list(rng.permutation(mixed.columns))]
    if index == "range":
        mixed = mixed.reset_index(drop=True)
    elif index == "repeated":
        mixed = mixed.set_index(np.arange(len(mixed)) // 7)
    elif index == "text":
        mixed = mixed.set_index(mixed.index.astype(str) + "é")
    columns = list(rng.permutation(COLUMNS))
    assert _answer(mixed, estimator, columns) == pytest.approx(plain[estimator], rel=1e-9)


DRESSES = {
    "Float64": lambda f: f.astype({"x": "Float64", "y": "Float64", "flag": "Int64", "t": "Int8"}),
    "objects": lambda f: f.astype({"x": object, "flag": object, "t": object, "y": object}),
    "arrow": lambda f: f.astype(
        {
            "x": "double[pyarrow]",
            "flag": "int32[pyarrow]",
            "city": "string[pyarrow]",
            "since": "timestamp[us][pyarrow]",
            "t": "bool[pyarrow]",
            "y": "double[pyarrow]",
        }
    ),
    "decimals": lambda f: f.assign(x=[decimal.Decimal(f"{value:.2f}") for value in f["x"]]),
    "booleans": lambda f: f.astype({"flag": bool, "t": "boolean"}),
    "unused levels": lambda f: f.assign(
        city=pd.Categorical(f["city"], categories=["z", "c", "a", "b"], ordered=True)
    ),
    "text dtype": lambda f: f.astype({"city": "string"}),
    "zone": lambda f: f.assign(since=f["since"].dt.tz_localize("UTC")),
    "date": lambda f: f.assign(since=f["since"].dt.date),
    "period": lambda f: f.assign(since=f["since"].dt.to_period("D")),
    "duration": lambda f: f.assign(since=f["since"] - f["since"].min()),
    "days": lambda f: f.assign(since=(f["since"] - f["since"].min()).dt.days),
    "numpy text": lambda f: f.assign(city=f["city"].to_numpy(dtype="U1").astype(object)),
    "sparse": lambda f: f.astype({"flag": "Sparse[int64]"}),
}


@pytest.mark.parametrize("estimator", ["regression", "aipw", "matching"])
@pytest.mark.parametrize("dress", list(DRESSES))
def test_dtypes(plain, estimator, dress):
    assert _answer(DRESSES[dress](FRAME), estimator) == pytest.approx(plain[estimator], rel=1e-9)


def test_single_precision_and_its_double_are_the_same():
    single = FRAME.astype({"x": "float32", "y": "float32"})
    double = single.astype({"x": "float64", "y": "float64"})
    for estimator in ("regression", "aipw"):
        assert _answer(single, estimator) == _answer(double, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("names", [("city_b", "city", "since", "")])
def test_names_are_names(estimator, names):
    """A number called as a level of a category, no name: against plain names that sort alike."""
    sorted_names = sorted(names, key=str)
    plain = ["abcd"[sorted_names.index(name)] for name in names]
    found, expected = (
        _answer(FRAME.rename(columns=dict(zip(COLUMNS, own, strict=True))), estimator, own)
        for own in (names, plain)
    )
    assert found == pytest.approx(expected, rel=1e-9)


# ---- the encoder ---------------------------------------------------------------------------------


def test_columns_are_encoded_by_hand():
    table = Covariates.fit(FRAME, COLUMNS).table(FRAME)
    assert table.columns.tolist() == ["x", "city_b", "city_c", "since", "flag"]
    assert table["city_b"].tolist() == (FRAME["city"] == "b").astype(float).tolist()
    assert table["since"].tolist() == [(day - FRAME["since"].min()).days for day in FRAME["since"]]
    assert table["x"].tolist() == FRAME["x"].tolist()
    assert table.dtypes.eq(float).all()
    first = FRAME["since"].min()
    assert Covariates.fit(FRAME, COLUMNS).notes == (f"since: days since {first:%Y-%m-%d}",)


@EXAMPLES
@given(rows=st.lists(st.integers(0, 149), min_size=1, max_size=8))
def test_new_rows_are_encoded_as_the_old_ones_were(rows):
    """One row, or rows without the first level: by the levels and the origin that were fitted."""
    fitted = Covariates.fit(FRAME, COLUMNS)
    found = fitted.table(FRAME.iloc[rows])
    pd.testing.assert_frame_equal(found, fitted.table(FRAME).iloc[rows])


def test_new_rows_that_cannot_be_encoded_are_named():
    fitted = Covariates.fit(FRAME, COLUMNS)
    new = FRAME.head(5)
    odd = new.assign(city=["a", "e", "d", "d", "b"])
    with pytest.raises(
        ValueError,
        match=r"new: column 'city' has 3 rows of a level that the model was not fitted on \('e', 'd'",
    ):
        fitted.table(odd, name="new")
    for column, values, kind, wanted in (
        ("x", list("abcde"), "category", "number"),
        ("x", new["since"], "date", "number"),
        ("city", range(5), "number", "category"),
        ("since", range(5), "number", "date"),
    ):
        with pytest.raises(
            ValueError, match=f"column '{column}' holds a {kind}, and a {wanted} in the rows that"
        ):
            fitted.table(new.assign(**{column: values}))
    with pytest.raises(ValueError, match="column 'x' has 1 missing value"):
        fitted.table(new.assign(x=[1, 2, None, 4, 5]))
    with pytest.raises(ValueError, match="no column 'city'"):
        fitted.table(new.drop(columns="city"))
    missing = new.assign(city=["a", None, "b", "a", "c"])
    with pytest.raises(ValueError, match="column 'city' has 1 missing value"):
        fitted.table(missing)


def _labels(n, levels, seed=0):
    """``levels`` labels, each of at least two rows but the last, which has one."""
    codes = np.r_[np.arange(n - 1) % (levels - 1), levels - 1]
    return pd.Series([f"s{code:03d}" for code in np.random.default_rng(seed).permutation(codes)])


def test_many_levels_are_labels_and_rare_ones_are_put_together():
    frame = pd.DataFrame({"shop": _labels(120, 40), "x": np.arange(120.0)})
    fitted = Covariates.fit(frame, ["shop", "x"])
    assert fitted.notes == ("shop: 39 levels, as labels, and 1 levels of one row, put together",)
    table = fitted.table(frame)
    assert label_columns(table) == ["shop"]
    assert (table["shop"] == POOLED).sum() == 1
    assert fitted.table(pd.DataFrame({"shop": ["s999"], "x": [0.0]}))["shop"].item() == POOLED
    columns = wide(table)
    assert columns.shape == (120, 1 + 39)
    assert wide_names(table) == ["x", *[f"shop_s{k:03d}" for k in range(1, 39)], f"shop_{POOLED}"]
    by_hand = pd.get_dummies(frame["shop"], dtype=float).iloc[:, 1:]
    assert columns[:, 1:].sum(axis=0).tolist() == by_hand.sum().tolist()
    assert (columns[:, 1:] == by_hand.to_numpy()).all()
    thirty = pd.DataFrame({"shop": [f"s{k % 30}" for k in range(90)]})
    assert Covariates.fit(thirty, ["shop"]).table(thirty).shape == (90, 29)


def test_what_identifies_rows_is_refused_by_every_estimator():
    frame = FRAME.assign(user=[f"u{k}" for k in range(150)])
    for estimator in ESTIMATORS:
        with pytest.raises(
            IdentifierError,
            match=r"column 'user' has 150 levels in 150 rows: it identifies rows, .*cluster=",
        ):
            _answer(frame, estimator, ["user", "x"])
    with pytest.warns(UserWarning, match="column 'user' has 150 levels"):
        assert design(frame, ["user", "x"]).columns.tolist() == ["x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([f"{k / 100:.2f}" for k in range(150)], "column 'x' holds numbers as text"),
        ([1, "a"] * 75, "column 'x' mixes int and str"),
        ([[1]] * 150, "column 'x' holds list"),
        ([None, *range(149)], "column 'x' has 1 missing value"),
        ([np.inf, *range(149)], "column 'x' has 1 infinite value"),
        ([decimal.Decimal("Infinity"), *range(149)], "column 'x' has 1 infinite value"),
        (pd.Series([pd.NaT, *FRAME["since"][1:]]), "column 'x' has 1 missing value"),
        (pd.Series([None, *range(149)], dtype="Int64"), "column 'x' has 1 missing value"),
        (pd.Categorical([None, *"ab" * 74, "a"]), "column 'x' has 1 missing value"),
        (1j * np.arange(150), "column 'x' holds complex numbers"),
        (pd.Categorical(np.arange(150) / 8), "column 'x' is a category of 150 numbers"),
    ],
)
def test_what_cannot_be_encoded_is_named_by_every_estimator(values, message):
    frame = FRAME.assign(x=values)
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match=message):
            _answer(frame, estimator)


def test_the_order_of_levels_and_labels_of_several_types():
    """Codes 9 and 10 are in the order of numbers; booleans beside text are two levels."""
    frame = pd.DataFrame(
        {"code": pd.Categorical([10, 9, 9, 10]), "kind": [True, False, True, True]}
    )
    table = Covariates.fit(frame, ["code", "kind"]).table(frame)
    assert table.columns.tolist() == ["code_10", "kind"]
    assert table["code_10"].tolist() == [1, 0, 0, 1]


@EXAMPLES
@given(n=st.integers(2, 400), levels=st.integers(1, 60), seed=st.integers(0, 9))
def test_indicators_of_any_category_span_its_means(n, levels, seed):
    """A constant and the columns of `wide` tell every level that is not put together apart."""
    values = pd.Series(np.random.default_rng(seed).integers(levels, size=n)).map("s{}".format)
    frame = pd.DataFrame({"shop": values})
    try:
        table = Covariates.fit(frame, ["shop"]).table(frame)
    except IdentifierError:
        assert values.nunique() > max(30, n / 2)
        return
    columns = np.column_stack([np.ones(n), wide(table)])
    kept = values.nunique()
    if values.nunique() > 30:
        alone = int((values.value_counts() == 1).sum())
        kept += (alone > 0) - alone
    assert np.linalg.matrix_rank(columns) == columns.shape[1] == kept


def test_categories_of_new_rows_are_coded_as_those_of_training():
    old = pd.DataFrame({"n": [1, 2, 3, 4], "kind": list("abca"), "flag": [True, False, True, True]})
    found = Covariates.fit(old, ["n", "kind", "flag"])
    table = found.table(old)
    assert sorted(table.columns) == ["flag", "kind_b", "kind_c", "n"]
    assert table["kind_b"].tolist() == [0, 1, 0, 0]
    assert table["flag"].tolist() == [1, 0, 1, 1]
    new = pd.DataFrame({"kind": list("cc"), "flag": False, "n": [7, 8]}, index=["p", "q"])
    assert found.table(new)[["flag", "kind_b", "kind_c", "n"]].to_numpy().tolist() == [
        [0, 0, 1, 7], [0, 0, 1, 8],
    ]  # fmt: skip
    assert found.table(new).index.tolist() == ["p", "q"]
    with pytest.raises(ValueError, match=r"new: column 'kind' has 1 rows of a level .*'d'"):
        found.table(new.assign(kind=list("cd")), name="new")
    with pytest.raises(ValueError, match="new: column 'n' holds a category, and a number in the"):
        found.table(new.assign(n=list("xy")), name="new")
    assert design(old, []).shape == (4, 0)
    assert sorted(design(old, ["n", "kind"]).columns) == ["kind_b", "kind_c", "n"]


def test_dates_are_days_since_the_earliest_training_row():
    old = pd.DataFrame({"when": pd.to_datetime(["2024-03-02 00:00", "2024-03-01 12:00"])})
    found = Covariates.fit(old, ["when"])
    assert found.table(old)["when"].tolist() == [1.0, 0.5]
    assert found.notes == ("when: days since 2024-03-01",)
    new = pd.DataFrame({"when": pd.to_datetime(["2024-02-29", "2024-03-11"])})
    assert found.table(new)["when"].tolist() == [-1.0, 10.0]


def test_many_levels_are_one_column_of_labels_whose_lone_ones_are_put_together():
    names = [f"u{k:02d}" for k in range(40)]
    old = pd.DataFrame({"who": [*np.repeat(names, 3), "alone", "single"]})
    found = Covariates.fit(old, ["who"])
    table = found.table(old)
    assert table["who"].cat.categories.tolist() == [*names, "(rare)"]
    assert table["who"].tolist()[-3:] == ["u39", "(rare)", "(rare)"]
    assert found.table(pd.DataFrame({"who": ["new", "u00"]}))["who"].tolist() == ["(rare)", "u00"]
    assert found.notes == ("who: 40 levels, as labels, and 2 levels of one row, put together",)
    assert wide(table).shape == (122, 40)
    assert wide(table).sum() == 39 * 3 + 2
    assert wide_names(table) == [f"who_{name}" for name in [*names[1:], "(rare)"]]
    few = pd.DataFrame({"who": np.repeat(names[:30], 2)})
    assert Covariates.fit(few, ["who"]).table(few).shape == (60, 29)


def test_labels_that_identify_the_rows_are_refused():
    frame = pd.DataFrame({"who": [f"u{k}" for k in range(40)] * 2 + ["v"], "y": np.arange(81.0)})
    assert Covariates.fit(frame[:80], ["who"]).names == ("who",)
    with pytest.raises(IdentifierError, match="column 'who' has 41 levels in 81 rows: it identif"):
        Covariates.fit(frame, ["who"])
    with pytest.warns(UserWarning, match="identifies rows"):
        assert design(frame, ["who", "y"]).columns.tolist() == ["y"]


# ---- codes for missing values, and slips ---------------------------------------------------------


def _coded(values, n=1500, seed=0):
    """z confounds t and y, whose effect is 1; its first rows hold ``values``."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    y = t + 2 * z + rng.normal(size=n)
    z[: len(values)] = values
    return pd.DataFrame({"z": z, "t": t, "y": y})


@pytest.mark.parametrize("values", [[999999] * 8, [-999] * 20, [99] * 9 + [98] * 9, [1e6], [-3e5]])
@pytest.mark.parametrize("estimator", ["regression", "ipw", "aipw"])
def test_far_values_do_not_undo_the_adjustment(values, estimator):
    """The other rows show that the effect is 1; unadjusted it is about 2.4."""
    frame = _coded(values)
    how = {"adjustment": ["z"], "estimator": estimator, "learners": "linear"}
    with pytest.warns(UserWarning, match="frame: column 'z' holds .* far from all its other"):
        found = effect(frame, "t", "y", **how)
    without = effect(frame.iloc[len(values) :], "t", "y", **how)
    assert found.value == pytest.approx(without.value, abs=0.5 * without.standard_error)
    assert found.standard_error == pytest.approx(without.standard_error, rel=0.15)
    assert found.value == pytest.approx(1, abs=4 * without.standard_error)
    assert "column 'z' holds" in found.notes[0]


def test_the_encoder_of_far_values():
    frame = pd.DataFrame({"a": [*range(60), -999.0, -999.0, 1e6]})
    with pytest.warns(UserWarning, match=r"'a' holds -999 in 2 rows.*") as warned:
        found = Covariates.fit(frame, ["a"])
    assert "'a' holds 1e+06 in 1 rows" in str(warned[1].message)
    table = found.table(frame)
    assert list(table) == ["a", "a_-999", "a_far"]
    assert table["a"].tolist() == [*range(60), 29.5, 29.5, 29.5]
    assert table["a_-999"].tolist() == [0] * 60 + [1, 1, 0]
    assert table["a_far"].tolist() == [0] * 62 + [1]
    assert found.unknown(frame).tolist() == [False] * 60 + [True] * 3
    new = pd.DataFrame({"a": [5, 1e9, -98, -999]})
    # what training rows showed is far, or a code, is so in new rows; what they did not is a number
    assert found.table(new).to_numpy().tolist() == [
        [5, 0, 0],
        [29.5, 0, 1],
        [-98, 0, 0],
        [29.5, 1, 0],
    ]


def test_a_date_long_ago_is_a_code():
    days = pd.Series(pd.Timestamp("2023-03-01") + pd.to_timedelta(np.arange(200), unit="D"))
    days[:20] = pd.Timestamp("1900-01-01")
    frame = pd.DataFrame({"since": days})
    with pytest.warns(UserWarning, match="'since' holds 1900-01-01 in 20 rows"):
        found = Covariates.fit(frame, ["since"])
    table = found.table(frame)
    assert table["since"].tolist() == [89.5] * 20 + list(range(180))
    assert table.iloc[:, 1].tolist() == [1] * 20 + [0] * 180
    assert found.notes[1] == "since: days since 2023-03-21"
    for kind in (days.dt.tz_localize("UTC"), days.dt.date, days.dt.to_period("D")):
        with pytest.warns(UserWarning, match="1900-01-01"):
            other = Covariates.fit(frame.assign(since=kind), ["since"])
        pd.testing.assert_frame_equal(other.table(frame.assign(since=kind)), table)


def test_few_levels_are_the_commonest_ones_and_the_rest():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": np.repeat(np.arange(100), np.arange(1, 101)), "age": 1.0})
    frame["age"] = rng.normal(size=len(frame))
    frame["shop"] = "s" + frame["shop"].astype(str)
    few = Covariates.fit(frame, ["shop", "age"]).with_few_levels(frame)
    x = few.table(frame)
    assert list(x)[:3] == ["shop_s98", "shop_s97", "shop_s96"]  # the commonest is the reference
    assert list(x)[28:] == ["shop_(rare)", "age"]
    counts = x.drop(columns="age").sum()
    assert counts["shop_s98"] == 99
    assert counts["shop_(rare)"] == np.arange(1, 72).sum()
    unseen = few.table(pd.DataFrame({"shop": ["new"], "age": [0.0]}))
    assert unseen["shop_(rare)"].item() == 1
