"""Sums that databases compute, against those of the same rows in memory."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_lib.data.queries import Query
from causal_lib.discovery.statistics import Statistics
from tests.databases import Database


def _statistics(database, query="SELECT * FROM log", **options):
    return Statistics.from_sql(database.connection, query, **options)


def _same(found, expected, tolerance=1e-9):
    assert (found.names, found.levels, found.columns) == (
        expected.names,
        expected.levels,
        expected.columns,
    )
    assert (found.rows, found.dropped) == (expected.rows, expected.dropped)
    assert found.count == pytest.approx(expected.count, rel=1e-12)
    sizes = np.abs(expected.mean) + np.sqrt(expected.cov.diagonal())
    spreads = np.sqrt(expected.cov.diagonal()) + 1e-14 * sizes  # a constant's is rounding
    assert (np.abs(found.mean - expected.mean) <= tolerance * sizes + 1e-300).all()
    off = np.abs(found.cov - expected.cov)
    rounding = 1e-15 * np.outer(sizes, sizes) + 1e-300  # of a constant, as MySQL divides by weights
    assert (off <= tolerance * np.outer(spreads, spreads) + rounding).all()


# ---- equal to memory -----------------------------------------------------------------------------

LEVELS = ["a", "A", "a ", "", "é", "e", "it's", '"', "猫", "%s", ":x", "\\"]
_GAPS = st.lists(st.booleans(), min_size=5, max_size=5)


@st.composite
def frames(draw):
    """A frame with missing values in some columns, and its weights or None."""
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, 1e6]))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e4]))
    frame = pd.DataFrame(
        {
            "x": offset + scale * rng.normal(size=n),
            "n": pd.array(rng.integers(-3, 4, size=n), dtype="Int64"),
            "flag": rng.random(n) < 0.5,
            "city": rng.choice(draw(st.lists(st.sampled_from(LEVELS), min_size=1)), n),
            "sort": rng.choice(["p", "q"], n),
            "grade": pd.array(rng.integers(0, 3, size=n), dtype="Int64"),
        }
    ).astype({"city": object, "sort": object})
    for name, holes in zip(["x", "n", "city", "sort", "grade"], draw(_GAPS), strict=True):
        if holes:
            frame.loc[rng.random(n) < 0.2, name] = None
    weights = draw(st.sampled_from([None, "whole", "any"]))
    w = {None: None, "whole": rng.integers(0, 3, n).astype(float), "any": rng.exponential(size=n)}
    return frame, w[weights]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_frame=frames())
def test_any_frame_equals_memory(database, given_frame):
    frame, w = given_frame
    options = {"missing": "complete", "weights": None if w is None else "w"}
    database.put(frame if w is None else frame.assign(w=w))
    known = frame.astype({"grade": pd.CategoricalDtype(sorted(frame["grade"].dropna().unique()))})
    try:
        expected = Statistics.from_frame(known, missing="complete", weights=w)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            _statistics(database, categories=["grade"], **options)
    else:
        _same(_statistics(database, categories=["grade"], **options), expected)


def test_only_sums_leave_the_database(database, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=3000), "city": rng.choice(list("abc"), 3000)})
    database.put(frame)
    found = []
    query = "causal_lib.data.queries.Query"
    monkeypatch.setattr(f"{query}.frames", lambda *given: pytest.fail("rows were read"))
    rows = Query.rows

    def counted(self, select):
        answer = rows(self, select)
        found.append(len(answer))
        return answer

    monkeypatch.setattr(f"{query}.rows", counted)
    _same(_statistics(database), Statistics.from_frame(frame))
    assert max(found) == 3


def test_large_offsets_lose_no_digits(database):
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000)
    frame = pd.DataFrame({"far": 1e9 + z, "clock": 1.7e9 + np.arange(4000) + z, "z": z, "c": 0.1})
    frame["rare"] = np.where(np.arange(4000) == 7, "once", "always")
    database.put(frame)
    stats = _statistics(database)
    _same(stats, Statistics.from_frame(frame))
    constant = stats.columns.index("c")
    assert (stats.cov[constant] == 0).all()  # so that a search can tell that it is constant
    assert stats.mean[constant] == 0.1


def test_more_sums_than_one_statement_takes(database):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(60, 45)), columns=[f"x{k}" for k in range(45)])
    database.put(frame)
    _same(_statistics(database), Statistics.from_frame(frame))


NAMES = ["a b", 'say "x"', "it's", "价格", "a%b", "a:b", "select", "`", "X", "[1]"]


def test_any_name_of_a_column(database):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(30, len(NAMES))), columns=NAMES)
    frame["性别 %(x)s"] = rng.choice(["男", "女"], 30)
    database.put(frame)
    weights = np.abs(frame["a b"])
    expected = Statistics.from_frame(frame.drop(columns="a b"), weights=weights)
    quoted = "`a b`" if database.kind == "mysql" else '"a b"'
    rest = f"SELECT log.*, ABS({quoted}) AS w FROM log"
    found = _statistics(database, rest, weights="w")
    _same(found.subset(expected.names), expected)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_collation_joins_no_levels(kind, tmp_path):
    database = Database(kind, f"sqlite:///{tmp_path / 'log.sqlite'}")
    database.run("CREATE TABLE log (s VARCHAR COLLATE NOCASE)")
    database.run("INSERT INTO log VALUES ('a'), ('A'), ('a'), ('b')")
    stats = _statistics(database)
    assert stats.levels == (("A", "a", "b"),)
    assert stats.mean.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("form", ["text", "semicolon", "comment", "percent", "values", "select"])
def test_every_form_of_a_query(form, database):
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 9.0], "c": ["u", "v", "u", "12:30"]})
    database.put(frame)
    query = {
        "text": "SELECT * FROM log WHERE c <> '12:30'",
        "semicolon": "SELECT * FROM log WHERE c <> '12:30' ;\n ",
        "comment": "SELECT * FROM log WHERE c <> '12:30' -- all but one",
        "percent": "SELECT * FROM log WHERE c NOT LIKE '%:3%'",
        "values": sa.text("SELECT * FROM log WHERE c <> :c").bindparams(c="12:30"),
        "select": sa.select(sa.text("x, c")).select_from(sa.text("log")).where(sa.text("x < 9")),
    }[form]
    _same(_statistics(database, query), Statistics.from_frame(frame[:3]))


def test_draws_read_the_rows(database):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.normal(size=300), "city": rng.choice(list("abc"), 300)})
    frame["place"] = np.arange(300)
    database.put(frame)
    found = _statistics(database, "SELECT x, city FROM log ORDER BY place", n_boot=3, seed=4)
    expected = Statistics.from_frame(frame[["x", "city"]], n_boot=3, seed=4)
    _same(found, expected)
    np.testing.assert_allclose(found.draws[2], expected.draws[2], atol=1e-12)


def test_a_connection_that_is_given_stays_open(database):
    database.put(pd.DataFrame({"x": [1.0, 2.0]}))
    link = database.connection
    if database.kind != "duckdb":
        link = link.connect()
    assert Statistics.from_sql(link, "SELECT * FROM log").mean.tolist() == [1.5]
    assert Statistics.from_sql(link, "SELECT * FROM log").mean.tolist() == [1.5]
    if database.kind != "duckdb":
        link.close()


# ---- types -----------------------------------------------------------------------------------------


def test_types_of_duckdb():
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE log AS SELECT i::DECIMAL(10, 2) / 4 AS money, i::HUGEINT AS huge, "
            "i > 2 AS flag, i::UTINYINT AS small, "
            "CASE i WHEN 3 THEN 'nan'::FLOAT ELSE i END AS half, "
            "(CASE i % 2 WHEN 0 THEN 'u' ELSE 'v' END)::ENUM ('v', 'u', 'w') AS kind "
            "FROM range(6) AS r(i)"
        )
        stats = Statistics.from_sql(connection, "FROM log", missing="complete")
        with pytest.raises(ValueError, match="column 'half' has 1 missing values in 6 rows"):
            Statistics.from_sql(connection, "FROM log")
    i = np.array([0.0, 1, 2, 4, 5])
    assert (stats.rows, stats.dropped) == (5, 1)
    assert stats.levels[-1] == ("u", "v")
    np.testing.assert_allclose(stats.mean, [0.6, 2.4, 0.4, 2.4, 2.4, 0.4], rtol=1e-15)
    np.testing.assert_allclose(
        stats.cov[0],
        np.cov(i / 4, i, ddof=0)[0, 1] * np.array([0.25, 1, 0, 1, 1, 0])
        + np.array(
            [0, 0, np.cov(i / 4, i > 2, ddof=0)[0, 1], 0, 0, np.cov(i / 4, i % 2, ddof=0)[0, 1]]
        ),
        atol=1e-14,
    )


def test_parts_of_parquet_by_duckdb(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.5, 7.0], "c": list("uvuw")})
    frame[:2].astype({"x": int}).to_parquet(tmp_path / "0.parquet", index=False)
    frame[2:].to_parquet(tmp_path / "1.parquet", index=False)
    query = f"SELECT * FROM read_parquet('{tmp_path}/*.parquet', union_by_name = true)"
    with duckdb.connect() as connection:
        _same(Statistics.from_sql(connection, query), Statistics.from_parquet(tmp_path))


@pytest.mark.mysql
@pytest.mark.xdist_group("mysql")
def test_types_of_mysql(mysql_url):
    engine = sa.create_engine(mysql_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE log (money DECIMAL(12, 2), big BIGINT, small TINYINT(1), half FLOAT, "
            "kind ENUM ('v', 'u', 'w'), name VARCHAR(9) CHARACTER SET latin1, day DATE)"
        )
        connection.exec_driver_sql(
            "INSERT INTO log VALUES (1.25, 4000000000000000000, 1, 0.5, 'u', 'é', NULL), "
            "(2.75, 2000000000000000000, 0, 1.5, 'v', 'e', NULL)"
        )
    stats = Statistics.from_sql(
        engine, "SELECT money, big, small, half, kind, name FROM log", categories=["small"]
    )
    engine.dispose()
    assert stats.levels == (None, None, (0, 1), None, ("u", "v"), ("e", "é"))
    np.testing.assert_allclose(stats.mean, [2, 3e18, 0.5, 1, 0.5, 0.5])
    np.testing.assert_allclose(stats.cov.diagonal(), [0.5625, 1e36, 0.25, 0.25, 0.25, 0.25])


# ---- bad input -------------------------------------------------------------------------------------

BAD = [
    ("SELECT x, gap FROM log", {}, "column 'gap' has 2 missing values in 6 rows; fill them in"),
    ("SELECT gap FROM log WHERE gap IS NULL", {"missing": "complete"},
     "none of 2 rows is complete and of positive weight; column 'gap' misses 2 values"),
    ("SELECT x FROM log WHERE x > 99", {}, "none of 0 rows is complete"),
    ("SELECT x FROM log", {"missing": "em"}, "missing='em' needs all rows at once"),
    ("SELECT x FROM log", {"weights": "q"}, "weights: no column 'q'; columns there: x"),
    ("SELECT x FROM log", {"weights": ["x"]}, "weights: the name of a column is needed"),
    ("SELECT x FROM log", {"categories": ["q"]}, "categories: no column 'q'; columns there: x"),
    ("SELECT x FROM log", {"categories": "x"}, "categories: a list of columns is needed"),
    ("SELECT x, w FROM log", {"weights": "w"},
     "weights: 2 of 6 in column 'w' are negative, missing or infinite"),
    ("SELECT x, c FROM log", {"weights": "c"},
     "weights: column 'c' is of type text; make it a number in the query"),
    ("SELECT x, x - x AS nought FROM log", {"weights": "nought"},
     "none of 6 rows is complete and of positive weight"),
    ("SELECT x * 1e160 AS x, c FROM log", {}, "not finite.*; rescale"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "options", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named(database, query, options, message):
    database.put(
        pd.DataFrame(
            {
                "x": np.arange(6.0),
                "gap": [1.0, None, 2.0, None, 3.0, 4.0],
                "w": [1.0, -1.0, None, 0.0, 2.0, 1.0],
                "c": list("uvwuvw"),
            }
        )
    )
    with pytest.raises(ValueError, match=message):
        _statistics(database, query, **options)


def test_sums_beyond_the_largest_number(database):
    database.put(pd.DataFrame({"x": [1.7e308, 1.6e308, -1.7e308, -1.6e308], "c": list("uvuv")}))
    with pytest.raises(ValueError, match=r"not finite.*; rescale"):
        _statistics(database)


def test_one_row(database):
    database.put(pd.DataFrame({"x": [3.0], "c": ["u"]}))
    stats = _statistics(database)
    _same(stats, Statistics.from_frame(pd.DataFrame({"x": [3.0], "c": ["u"]})))


def test_an_identifier_is_no_category(database):
    database.put(pd.DataFrame({"id": [f"u{k}" for k in range(1001)]}))
    with pytest.raises(ValueError, match="column 'id' has over 1000 levels; leave an identifier"):
        _statistics(database)


def test_numbers_and_text_in_one_column_of_sqlite(tmp_path):
    database = Database("sqlite", f"sqlite:///{tmp_path / 'log.sqlite'}")
    database.run("CREATE TABLE log (x, y)")
    database.run("INSERT INTO log VALUES (1, 1.0), (2.5, 2), ('three', 5), (9e999, 2), (x'00', 1)")
    with pytest.raises(ValueError, match="'x' holds 3 numbers and 1 texts and 1 blobs; make"):
        _statistics(database)
    with pytest.raises(ValueError, match="column 'x' has 1 infinite values; replace them"):
        _statistics(database, "SELECT * FROM log WHERE typeof(x) IN ('integer', 'real')")
    with pytest.raises(ValueError, match="column 'x' is of type BLOB; make it a number or a cat"):
        _statistics(database, "SELECT * FROM log WHERE typeof(x) = 'blob'")
    stats = _statistics(database, "SELECT CAST(x AS TEXT) AS x, y FROM log WHERE y > 1")
    assert stats.levels[0] == ("2.5", "Inf", "three")


def test_types_that_are_no_variables():
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        for value, kind in {
            "DATE '2020-01-01'": "DATE",
            "[1, 2]": r"INTEGER\[\]",
            "'a'::BLOB": "BLOB",
            "INTERVAL 1 DAY": "INTERVAL",
        }.items():
            with pytest.raises(ValueError, match=rf"column 'd' is of type {kind}; make it"):
                Statistics.from_sql(connection, f"SELECT 1 AS x, {value} AS d")
        with pytest.raises(ValueError, match="column 'x' has 2 infinite values"):
            Statistics.from_sql(
                connection, "SELECT x::DOUBLE AS x FROM (VALUES ('inf'), ('-inf'), ('1')) AS t(x)"
            )


@pytest.mark.mysql
@pytest.mark.xdist_group("mysql")
def test_types_of_mysql_that_are_no_variables(mysql_url):
    engine = sa.create_engine(mysql_url)
    for value, kind in {
        "CAST('2020-01-01' AS DATE)": "DATE",
        "CAST('2020-01-01' AS DATETIME)": "DATETIME",
        "x'ff'": "BLOB",
    }.items():
        with pytest.raises(ValueError, match=rf"column 'd' is of type {kind}; make it"):
            Statistics.from_sql(engine, f"SELECT 1 AS x, {value} AS d")
    engine.dispose()


def test_random_rows_are_noticed(database):
    rng = np.random.default_rng(5)
    database.put(pd.DataFrame({"x": rng.normal(size=200), "c": rng.choice(list("abcd"), 200)}))
    draw = "RAND()" if database.kind == "mysql" else "RANDOM()"
    with pytest.raises(ValueError, match=r"its rows changed while .* of column 'c'; it must give"):
        _statistics(database, f"SELECT * FROM log ORDER BY {draw} LIMIT 100")


def test_what_is_no_connection():
    with pytest.raises(ValueError, match=r"connection: an SQLAlchemy engine .*, not str; make an"):
        Statistics.from_sql("sqlite://", "SELECT 1 AS x")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(cuts=st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True))
def test_parts_of_a_query_merge_to_the_whole(database, cuts):
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"x": 1e5 + rng.normal(size=100), "c": rng.choice(list("abcdef"), 100)})
    frame["place"] = np.arange(100)
    database.put(frame)
    ends = [0, *sorted(cuts), 100]
    parts = [
        _statistics(database, f"SELECT x, c FROM log WHERE place >= {low} AND place < {high}")
        for low, high in pairwise(ends)
    ]
    # a part's mean is a float64, which costs digits between parts
    _same(Statistics.merge(parts), Statistics.from_frame(frame[["x", "c"]]))
