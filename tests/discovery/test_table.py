"""One table a call: every view is made once, whatever the method asks for."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from causal_lib.discovery import Statistics, audit, discover
from causal_lib.discovery import table as module
from causal_lib.discovery.encoding import encode, plain
from causal_lib.discovery.table import Table
from causal_lib.knowledge import Knowledge


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300))
    return pd.DataFrame({"1": x, "y": x + y, "city": rng.choice(list("abc"), 300)})


def test_views_are_those_of_the_frame(frame):
    table = Table(frame)
    assert table.names == ("1", "y", "city")
    assert table.numeric == [True, True, False]
    assert table.rows == 300
    assert table.frame is frame
    own = Statistics.from_frame(frame)
    assert np.array_equal(table.statistics.cov, own.cov)
    for standardise in (True, False):
        values, how = table.encoded(standardise)
        expected, told = encode(frame, standardise=standardise)
        assert np.array_equal(values, expected)
        assert how == told


def test_statistics_are_a_table_without_rows(frame):
    statistics = Statistics.from_frame(frame)
    table = Table(statistics)
    assert table.frame is None
    assert table.statistics is statistics
    assert (table.names, table.rows) == (statistics.names, 300)


@pytest.mark.parametrize(
    ("method", "encoded", "counted"),
    [("order", 0, 1), ("pc", 1, 1), ("dagma", 1, 1), ("additive", 1, 1), ("miic", 0, 1)],
)
@pytest.mark.parametrize("knowledge", [None, Knowledge([["1"], ["y"]])])
def test_discover_passes_over_the_rows_once_for_each_view(
    method, encoded, counted, knowledge, frame, monkeypatch
):
    passes = {"encoded": 0, "counted": 0}

    def counting(name, function):
        def counted(*arguments, **options):
            passes[name] += 1
            return function(*arguments, **options)

        return counted

    monkeypatch.setattr(module, "encode", counting("encoded", encode))
    monkeypatch.setattr(Statistics, "from_frame", counting("counted", Statistics.from_frame))
    settings = {"bins": 3} if method == "miic" else {}
    discover(frame, method=method, knowledge=knowledge, **settings)
    assert passes == {"encoded": encoded, "counted": counted}


@pytest.mark.parametrize(
    "spoil",
    [lambda f: f.assign(z=1.0), lambda f: f.where(f["y"] < 1), lambda f: f.assign(k=f["1"])],
)
def test_the_audit_of_a_table_is_that_of_its_frame(spoil, frame):
    spoilt = spoil(frame)
    assert audit(Table(spoilt)) == audit(spoilt)
    assert audit(spoilt).findings


def test_a_table_needs_a_frame_with_rows_and_different_names(frame):
    with pytest.raises(TypeError, match="a pandas DataFrame is needed, not list"):
        Table([1, 2])
    with pytest.raises(ValueError, match="has no rows"):
        Table(frame.iloc[:0])
    with pytest.raises(ValueError, match="column 'y' stands 2 times"):
        Table(frame[["y", "y"]])


COLUMNS = {
    "object": lambda x: x.astype(object),
    "Decimal": lambda x: x.map(lambda v: Decimal(str(v))).astype(object),
    "Float64": lambda x: x.astype("Float64"),
    "Arrow": lambda x: x.astype(pd.ArrowDtype(pa.float64())),
    "Arrow decimal": lambda x: x.map(lambda v: Decimal(str(v))).astype(
        pd.ArrowDtype(pa.decimal128(24, 18))
    ),
    "sparse": lambda x: x.astype(pd.SparseDtype("float")),
}
LEVELS = {
    "object": lambda x: x.astype(object),
    "Arrow": lambda x: x.astype(pd.ArrowDtype(pa.string())),
    "Arrow levels": lambda x: x.astype("category").astype(
        pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    ),
}


@pytest.fixture
def plain_frame():
    """Columns that all kinds of methods can take: x with few digits, so that decimals are exact."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=400).round(6)
    city = rng.choice(list("abc"), 400)
    y = 2 * x + (city == "a") + rng.uniform(size=400)
    return pd.DataFrame({"x": x, "y": y, "city": pd.Series(city, dtype="str")})


@pytest.mark.parametrize("method", ["order", "flop", "pc", "ges", "dagma", "additive"])
def test_a_number_is_a_number_for_all_methods(plain_frame, method):
    frame = plain_frame[["x", "y"]].assign(z=plain_frame["y"] ** 2)
    right = discover(frame, method=method).edges
    for kind, change in COLUMNS.items():
        found = discover(frame.assign(x=change(frame["x"])), method=method)
        assert found.edges == right, kind
        assert found.info["encoding"] == {}


@pytest.mark.parametrize("method", ["order", "pc", "ges", "additive"])
def test_text_is_a_category_for_all_methods(plain_frame, method):
    right = discover(plain_frame, method=method).edges
    for kind, change in LEVELS.items():
        frame = plain_frame.assign(city=change(plain_frame["city"]))
        assert discover(frame, method=method).edges == right, kind


def test_statistics_are_of_the_values_whatever_the_dtype(plain_frame):
    right = Statistics.from_frame(plain_frame)
    for change in COLUMNS.values():
        for text in LEVELS.values():
            frame = plain_frame.assign(x=change(plain_frame["x"]), city=text(plain_frame["city"]))
            found = Statistics.from_frame(frame)
            assert np.array_equal(found.cov, right.cov)
            assert found.levels == right.levels


def test_booleans_and_whole_numbers_in_objects():
    frame = pd.DataFrame(
        {"k": [1, 2, None], "n": [1, 2, 3], "b": [True, None, False], "t": [True, False, True]},
        dtype=object,
    )
    dtypes = plain(frame).dtypes.astype(str).to_dict()
    assert dtypes == {"k": "float64", "n": "int64", "b": "boolean", "t": "bool"}
    assert frame.dtypes.eq(object).all()


def test_text_that_is_numeric_is_refused(plain_frame):
    frame = plain_frame.assign(x=plain_frame["x"].astype(str))
    with pytest.raises(ValueError, match=r"column 'x' (has a different|is text that reads as num)"):
        discover(frame)
    codes = plain_frame.assign(city=plain_frame["city"].map({"a": "1", "b": "2", "c": "3"}))
    with pytest.raises(ValueError, match=r"column 'city' is text that reads as numbers; pd.to_num"):
        discover(codes)
    assert discover(codes.astype({"city": "category"})).names == ("x", "y", "city")
