"""Checks of arguments that every verb shares."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from causal_lib.checks import (
    check_columns,
    check_draws,
    check_frame,
    check_ids,
    check_number,
    check_same_order,
    check_whole,
)
from causal_lib.data.preprocess import preprocess_data
from causal_lib.discovery import Statistics, discover, lagged
from causal_lib.evaluation.predictions import calibration_table
from causal_lib.evaluation.rankings import evaluate_ranking
from causal_lib.inference import (
    UpliftModel,
    dose_response,
    effect,
    incremental_outcomes,
    probabilities_of_causation,
    refute,
    sensitivity,
)
from causal_lib.models.interactions import Interactions
from causal_lib.models.recommender import train_recommender
from causal_lib.policy import learn_policy, policy_values, slate_value
from causal_lib.resampling import cluster_codes


def rows(n=60):
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    t = (rng.random(n) < 0.5).astype(int)
    return pd.DataFrame({"age": z, "t": t, "y": z + t + rng.normal(size=n)})


NUMBERED = rows().set_axis([0, 1, 2], axis=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: check_frame(f),
        lambda f: discover(f),
        lambda f: effect(f, "t", "y", adjustment=["age"]),
        lambda f: refute(f, "t", "y", ["age"]),
        lambda f: sensitivity(f, "t", "y", ["age"]),
        lambda f: dose_response(f, "t", "y", adjustment=["age"]),
        lambda f: UpliftModel.train(f, "t", "y", ["age"]),
        lambda f: probabilities_of_causation(f, "t", "y", ["age"]),
    ],
)
def test_names_of_columns_are_text(call):
    for frame, found in (
        (NUMBERED, "3 of 3 are not, first 0 "),
        (rows().rename(columns={"age": 7}), "1 of 3 are not, first 7 "),
        (rows().rename(columns={"age": pd.Timestamp("2024-01-01")}), "1 of 3 are not"),
    ):
        with pytest.raises(ValueError, match=f"names of columns must be text; {found}"):
            call(frame)
    wide = pd.concat({"a": rows()}, axis=1)
    with pytest.raises(ValueError, match="columns have 2 levels of names"):
        call(wide)


LOGS = pd.DataFrame({"a": [0, 1] * 20, "r": [1, 0] * 20, "p": 0.5, "age": np.arange(40.0)})
PLAYED = {"action": "a", "reward": "r", "propensity": "p"}


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("adjustment", lambda c: effect(rows(), "t", "y", adjustment=c)),
        ("adjustment", lambda c: UpliftModel.train(rows(), "t", "y", c)),
        ("adjustment", lambda c: sensitivity(rows(), "t", "y", c)),
        ("adjustment", lambda c: refute(rows(), "t", "y", c)),
        ("adjustment", lambda c: dose_response(rows(), "t", "y", adjustment=c)),
        ("adjustment", lambda c: probabilities_of_causation(rows(), "t", "y", c)),
        ("context", lambda c: learn_policy(LOGS, c, **PLAYED)),
        ("context", lambda c: policy_values(LOGS, np.full((40, 2), 0.5), context=c, **PLAYED)),
        ("columns", lambda c: Statistics.from_parquet("none.parquet", c)),
        ("categories", lambda c: Statistics.from_parquet("none.parquet", categories=c)),
        ("numeric", lambda c: preprocess_data(rows(), numeric=c)),
        ("categorical", lambda c: preprocess_data(rows(), categorical=c)),
    ],
)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("age", "a list of columns is needed, not the text 'age'; write ..age"),
        ([0], r"names of columns are text, not 0 \(int\)"),
        (["age", "age"], "column 'age' is given 2 times"),
        (7, r"a list of columns is needed, not 7 \(int\)"),
    ],
)
def test_columns_are_a_list_of_names(argument, call, columns, message):
    with pytest.raises(ValueError, match=f"^{argument}: {message}"):
        call(columns)


def test_a_list_of_columns_is_any_iterable():
    assert check_columns(iter(["a", "b"]), name="x") == ["a", "b"]
    assert check_columns(pd.Index(["a"]), name="x") == ["a"]
    assert check_columns((), name="x") == []


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, True, "3", None, np.nan])
def test_what_is_no_whole_number(value):
    with pytest.raises(ValueError, match="k: a whole number of at least 1 is needed, not"):
        check_whole(value, name="k")


@pytest.mark.parametrize("value", [-1, -1e-9, np.nan, np.inf, True, "3", None, 1j])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="k: a number of at least 0 is needed, not"):
        check_number(value, name="k")


def test_numbers_that_pass():
    assert check_whole(np.int64(3), name="k", low=3) == 3
    assert check_number(np.float32(0), name="k") == 0.0
    check_draws(0)
    check_draws(2)
    with pytest.raises(ValueError, match="at least 2 is needed, not 1"):
        check_draws(1)


TOP = np.array([[0], [1]])
POSITIVES = np.eye(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda b: evaluate_ranking(TOP, POSITIVES, n_boot=b),
        lambda b: calibration_table([0, 1] * 9, np.linspace(0, 1, 18), n_boot=b),
        lambda b: incremental_outcomes(np.arange(9.0), np.ones(9), np.arange(9), n_boot=b),
        lambda b: probabilities_of_causation(
            rows().assign(y=[0, 1] * 30), "t", "y", ["age"], n_boot=b
        ),
    ],
)
@pytest.mark.parametrize("draws", [1, -3, 2.5])
def test_one_draw_is_no_interval(call, draws):
    with pytest.raises(ValueError, match=r"n_boot.*: a whole number of at least 2 is needed"):
        call(draws)


PAIRS = Interactions.of(
    pd.DataFrame({"user_id": [0, 0, 1, 1], "item_id": [0, 1, 1, 2], "rating": [1, 2, 3, 4.0]})
)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("dim", 0, "a whole number of at least 1"),
        ("dim", 2.5, "a whole number of at least 1"),
        ("l2", -1, "a number of at least 0"),
        ("l2", np.nan, "a number of at least 0"),
    ],
)
def test_options_of_recommenders(option, value, message):
    with pytest.raises(ValueError, match=f"option '{option}' of method 'mf': {message} is needed"):
        train_recommender(PAIRS, None, "mf", options={option: value}, epochs=1, progress=False)


@pytest.mark.parametrize("penalty", [np.nan, -1, np.inf])
def test_a_penalty_is_a_number(penalty):
    with pytest.raises(ValueError, match="penalty: a number of at least 0 is needed"):
        learn_policy(LOGS, ["age"], penalty=penalty, **PLAYED)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        (pd.Series([1, None], dtype="Int64"), "number"),
        (pd.Series([1, 2.5, Decimal(3), True], dtype=object), "number"),
        (["a", None], "text"),
        (pd.Series(["a"], dtype="string"), "text"),
        (pd.Categorical(["a", "b"]), "text"),
        (pd.Categorical([1], categories=[1, "unused"]), "number"),
        ([(1, 2), (1, 3)], "tuple"),
        ([b"a"], "bytes"),
    ],
)
def test_kinds_of_ids(values, kind):
    assert check_ids(pd.Series(values)) == kind


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda f: effect(f, f["t"], "y", adjustment=["age"]), "treatment"),
        (lambda f: effect(f, "t", f["y"], adjustment=["age"]), "outcome"),
        (lambda f: effect(f, "t", "y", adjustment=["age"], weights=np.ones(60)), "weights"),
        (lambda f: effect(f, "t", "y", adjustment=["age"], propensity=np.ones(60)), "propensity"),
        (lambda f: effect(f, "t", "y", adjustment=["age"], cluster=[1] * 60), "cluster"),
        (lambda f: effect(f, ["t"], "y", adjustment=["age"]), "treatment"),
        (lambda f: refute(f, f["t"], "y", ["age"]), "treatment"),
        (lambda f: sensitivity(f, "t", f["y"], ["age"]), "outcome"),
        (lambda f: dose_response(f, "age", f["y"], adjustment=[]), "outcome"),
        (lambda f: probabilities_of_causation(f, f["t"], "y", []), "treatment"),
        (lambda f: learn_policy(f, ["age"], reward=f["y"]), "reward"),
        (lambda f: policy_values(f, [0.5, 0.5], action=f["t"]), "action"),
        (lambda f: slate_value(f, round_id=range(60)), "round_id"),
    ],
)
def test_a_column_is_named_not_given(call, argument):
    with pytest.raises(ValueError, match=f"{argument}: the name of a column is needed, not "):
        call(rows())


@pytest.mark.parametrize("copy", [lambda y: y, lambda y: 3 - 2e6 * y, lambda y: y.astype(object)])
def test_nothing_has_an_effect_given_a_copy_of_the_outcome(copy):
    frame = rows().assign(bought=lambda f: copy(f["y"]))
    for call in (
        lambda: effect(frame, "t", "y", adjustment=["age", "bought"], estimator="regression"),
        lambda: refute(frame, "t", "y", ["age", "bought"]),
        lambda: sensitivity(frame, "t", "y", ["age", "bought"]),
        lambda: dose_response(frame, "age", "y", adjustment=["bought"]),
    ):
        with pytest.raises(ValueError, match="adjustment: column 'bought' is a linear function of"):
            call()
    binary = frame.assign(y=frame["y"] > 0, bought=frame["y"] > 0)
    with pytest.raises(ValueError, match="adjustment: column 'bought' is a linear function of"):
        probabilities_of_causation(binary, "t", "y", ["bought"])


def test_values_that_cannot_be_compared_are_no_ids():
    ids = pd.Series([[1], [2]], name="user")
    with pytest.raises(
        ValueError, match=r"column 'user' holds list values, as \[1\]; give numbers"
    ):
        cluster_codes(ids.to_frame(), "user")


def test_pairs_of_rows_by_place():
    X = pd.DataFrame({"x": range(3)}, [5, 6, 7])
    y = pd.Series([0, 1, 0], [7, 6, 5])
    with pytest.raises(ValueError, match=r"y: has the index labels of X .* give y.loc\[X.index\]"):
        check_same_order(X=X, y=y)
    # by place is what is meant where labels say nothing: other ones, repeated ones, no pandas object
    check_same_order(X=X, y=y.loc[X.index], groups=None)
    check_same_order(X=X, y=y.reset_index(drop=True))
    check_same_order(X=X.set_axis([0, 0, 1]), y=y.set_axis([0, 1, 0]))
    check_same_order(X=X, y=y.to_numpy())


def test_a_table_of_another_package_is_converted_first():
    table = pa.table({"x": [1, 2]})
    with pytest.raises(TypeError, match=r"not Table; convert it by .to_pandas\(\)"):
        check_frame(table)


@pytest.mark.parametrize(
    "values", [[1, "1"], ["a", 2.0, None], [(1,), "a"], pd.Categorical([1, "1"])]
)
def test_ids_of_mixed_types(values):
    ids = pd.Series(
        values, name="user", dtype=None if isinstance(values, pd.Categorical) else object
    )
    with pytest.raises(ValueError, match=r"column .user. mixes ids of types .* and "):
        check_ids(ids)
    frame = ids.to_frame()
    with pytest.raises(ValueError, match="column 'user' mixes ids of types"):
        cluster_codes(frame, "user")
    with pytest.raises(ValueError, match=r"column 'user' (mixes ids of types|has 1 missing value)"):
        lagged(frame.assign(x=1.0), 1, group="user")
