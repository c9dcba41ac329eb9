import gc
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from causal_lib import paths
from causal_lib.data import store as store_module
from causal_lib.data.store import Store, StoreError, frame_checksum, metadata

TABLES = ["users", "items", "impressions", "purchases", "ratings"]


def make_tables(n=3_000, n_users=100, n_items=50, seed=0):
    """Consistent frames with `n` impressions in random order; half of them bought, a quarter rated."""
    rng = np.random.default_rng(seed)
    users = pd.DataFrame({"user_id": np.arange(n_users) + 7})
    users["age_band"] = rng.choice(["18-24", "25-34", "35-49", "50+"], n_users)
    users["city_tier"] = rng.integers(1, 5, n_users)
    users[["activity", "price_sensitivity"]] = rng.normal(size=(n_users, 2))
    items = pd.DataFrame({"item_id": np.arange(n_items) * 3})
    items["category"] = rng.choice(["toys", "图书", "naïve 🎁 'quoted' %s \\"], n_items)
    items["price"] = rng.lognormal(size=n_items)
    items["stock"] = rng.integers(0, 9, n_items)
    items[["quality", "popularity"]] = rng.normal(size=(n_items, 2))
    cell = rng.choice(n_users * n_items * 2, n, replace=False)
    key = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[cell // 2 // n_items],
            "item_id": items["item_id"].to_numpy()[cell // 2 % n_items],
            "day": cell % 2,
        }
    )
    impressions = key.assign(
        propensity=1 - rng.random(n),
        position=pd.array(rng.integers(1, 11, n), dtype="Int64"),
        clicked=rng.integers(0, 2, n),
    )
    purchases = key[: n // 2].assign(price=rng.lognormal(size=n // 2), exposed=1)
    ratings = key[: n // 4].assign(rating=pd.array(rng.integers(1, 6, n // 4), dtype="Int64"))
    return dict(zip(TABLES, (users, items, impressions, purchases, ratings), strict=True))


def state(store):
    """Counts and checksums: what must not change when a load fails."""
    return store.counts(), [store.checksum(name) for name in TABLES]


def assert_holds(store, tables):
    assert store.counts() == {name: len(frame) for name, frame in tables.items()}
    assert [store.checksum(name) for name in tables] == [
        frame_checksum(frame) for frame in tables.values()
    ]


@pytest.fixture
def store(url):
    with Store(url).create() as store:
        yield store


# --- the same contract on SQLite and on MySQL
# -----------------------------------------------------------------------


def test_a_new_store_has_five_empty_tables_with_typed_columns(store):
    assert store.counts() == dict.fromkeys(TABLES, 0)
    assert list(store.read("ratings")) == []
    empty = store.frame("users")
    assert len(empty) == 0
    assert empty.dtypes.astype(str).tolist() == ["int64", "str", "int64", "float64", "float64"]


def test_what_is_loaded_comes_back_exactly_and_in_the_order_of_the_key(store):
    tables = make_tables()
    before = {name: frame.copy(deep=True) for name, frame in tables.items()}
    store.load(tables)
    assert_holds(store, tables)
    for name, frame in tables.items():
        assert_frame_equal(frame, before[name])  # inputs are never modified
        key = metadata.tables[name].primary_key.columns.keys()
        expected = frame.sort_values(key, ignore_index=True)
        # equal to the last bit: floats travel as text in MySQL's protocol, but as the shortest text
        # that is exact
        assert_frame_equal(store.frame(name), expected, check_dtype=False, check_exact=True)


def test_load_appends_in_order_of_parents_and_create_keeps_what_is_there(store):
    tables = make_tables()
    store.load({"items": tables["items"], "users": tables["users"]})
    halves = np.array_split(np.arange(len(tables["impressions"])), 2)
    for half in halves:
        store.load({"impressions": tables["impressions"].iloc[half]})
    # children named first
    store.load({"ratings": tables["ratings"], "purchases": tables["purchases"]})
    store.create()
    assert_holds(store, tables)


def test_replace_empties_all_tables_first(store):
    store.load(make_tables(seed=1))
    other = make_tables(n=50, seed=2)
    store.load(other, replace=True)
    assert_holds(store, other)
    store.load({"users": other["users"]}, replace=True)
    assert sum(store.counts().values()) == len(other["users"])


def test_load_world_leaves_out_tables_without_rows(store):
    tables = make_tables()
    tables["ratings"] = tables["ratings"][:0]
    store.load_world(SimpleNamespace(tables=lambda: tables))
    assert store.counts()["purchases"] == len(tables["purchases"])
    assert store.counts()["ratings"] == 0


def test_a_written_table_comes_back_with_its_duplicates_and_missing_values(store):
    frame = pd.DataFrame(
        {
            "user_id": [3, 3, 1],
            "label": ["图书", "图书", None],
            "price": [2.5, 2.5, np.nan],
            "stock": pd.array([4, 4, None], dtype="Int64"),
            "kind": pd.Categorical(["a", "a", None]),
            "seen": [True, True, False],
        }
    )
    store.write_table("raw_log", frame)
    back = store.query("SELECT * FROM raw_log ORDER BY user_id DESC")
    assert frame_checksum(back) == frame_checksum(frame)
    assert back.isna().sum().to_dict() == frame.isna().sum().to_dict()
    assert store.counts() == dict.fromkeys(TABLES, 0)  # the five tables are left alone


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_and_arrow_columns_are_loaded_as_plain_ones(sqlite_url, backend):
    tables = make_tables(n=200)
    converted = {
        name: frame.convert_dtypes(dtype_backend=backend) for name, frame in tables.items()
    }
    with Store(sqlite_url).create() as store:
        store.load(converted)
        assert_holds(store, tables)


def test_a_query_joins_groups_and_takes_values_as_values(store):
    store.load(make_tables(n=400))
    tables = {name: store.frame(name) for name in ("items", "impressions")}
    joined = tables["impressions"].merge(tables["items"], on="item_id")
    expected = joined[joined["day"] == 1].groupby("category")["clicked"].mean()
    found = store.query(
        "SELECT category, AVG(clicked) AS rate FROM impressions "
        "JOIN items ON items.item_id = impressions.item_id WHERE day = :day GROUP BY category",
        day=1,
    )
    found = found.set_index("category")["rate"]
    # MySQL's AVG of integers has four more digits than they
    assert found.to_dict() == pytest.approx(expected.to_dict(), abs=1e-4)
    assert store.query("SELECT * FROM items WHERE category = :c", c="x' OR '1' = '1").empty


def test_a_table_that_is_there_is_replaced_only_if_asked(store):
    first = pd.DataFrame({"day": [1, 2]})
    store.write_table("raw_log", first)
    with pytest.raises(ValueError, match=r"'raw_log' is there; .*replace=True"):
        store.write_table("raw_log", first * 2)
    assert store.query("SELECT day FROM raw_log ORDER BY day")["day"].tolist() == [1, 2]
    store.write_table("raw_log", first * 2, replace=True)
    assert store.query("SELECT day FROM raw_log ORDER BY day")["day"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("name", "frame", "message"),
    [
        ("items", pd.DataFrame({"a": [1]}), "'items' has a fixed schema; use load"),
        ("a; DROP TABLE items", pd.DataFrame({"a": [1]}), "letters, digits and underscores"),
        ("t" * 64, pd.DataFrame({"a": [1]}), "at most 63"),
        ("raw_log", pd.DataFrame({"a": []}), "raw_log: has no rows"),
        ("raw_log", pd.DataFrame({"a": [1], "A": [1]}), "columns 'a' and 'A' differ in case alone"),
        ("raw_log", pd.DataFrame({" ": [1]}), "a column has the blank name ' '"),
        (
            "raw_log",
            pd.DataFrame({"a": np.array([2**63], np.uint64)}),
            "'a' has whole numbers of 2",
        ),
    ],
)
def test_a_table_that_cannot_be_written_is_refused(sqlite_url, name, frame, message):
    with Store(sqlite_url) as store, pytest.raises(ValueError, match=message):
        store.write_table(name, frame)


def test_a_query_that_the_database_refuses_is_a_store_error(store):
    with pytest.raises(StoreError, match="call create"):
        store.query("SELECT * FROM nothing_here")
    with pytest.raises(StoreError):
        store.query("SELEKT 1")


def test_extreme_numbers_survive(store):
    users = make_tables()["users"][:4].assign(
        activity=[5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2]
    )
    users["user_id"] = [-(2**53), 0, 2**53 - 1, 2**53]
    store.load({"users": users})
    assert_holds(store, {"users": users, **{name: store.frame(name) for name in TABLES[1:]}})


@pytest.mark.parametrize("chunk_rows", [1, 7, 3_000, 10_000])
def test_read_streams_chunks_of_at_most_the_size_asked_for(store, chunk_rows):
    impressions = (
        make_tables(n=100)["impressions"] if chunk_rows == 1 else make_tables()["impressions"]
    )
    tables = make_tables() | {"impressions": impressions}
    store.load({name: tables[name] for name in TABLES[:3]})
    parts = list(store.read("impressions", ["clicked", "day"], chunk_rows=chunk_rows))
    assert {len(part) for part in parts[:-1]} <= {chunk_rows}
    assert 1 <= len(parts[-1]) <= chunk_rows
    expected = impressions.sort_values(["user_id", "item_id", "day"], ignore_index=True)[
        ["clicked", "day"]
    ]
    assert_frame_equal(pd.concat(parts, ignore_index=True), expected)


def test_a_read_that_is_given_up_leaves_the_store_usable(store):
    store.load(make_tables())
    reader = store.read("impressions", chunk_rows=10)
    next(reader)
    reader.close()
    assert store.counts()["impressions"] == 3_000


BAD = [  # table, change to its good frame, exception, message
    ("users", lambda f: None, TypeError, "users: a pandas DataFrame is needed, not NoneType"),
    ("users", lambda f: f[:0], ValueError, "users: has no rows"),
    ("users", lambda f: f.drop(columns="activity"), ValueError, "users: no column 'activity'"),
    ("users", lambda f: f.assign(colour=1), ValueError, "users: the table has no column 'colour'"),
    (
        "users",
        lambda f: pd.concat([f, f[:3]]),
        ValueError,
        r"users: 3 rows repeat the key \(user_id\)",
    ),
    (
        "users",
        lambda f: f.assign(activity=np.nan),
        ValueError,
        "users: column 'activity' holds only missing values",
    ),
    (
        "users",
        lambda f: f.assign(activity=np.inf),
        ValueError,
        "users: column 'activity' has 100 infinite values",
    ),
    (
        "users",
        lambda f: f.assign(age_band=3),
        ValueError,
        "users: column 'age_band' has 100 values that are not text",
    ),
    (
        "users",
        lambda f: f.assign(age_band="x" * 65),
        ValueError,
        "'age_band' has 100 values .* at most 64 characters",
    ),
    (
        "users",
        lambda f: f.assign(city_tier="2"),
        ValueError,
        "users: column 'city_tier' must hold numbers",
    ),
    (
        "users",
        lambda f: f.assign(activity=f["activity"] + 1j),
        ValueError,
        "users: column 'activity' must hold numbers, not complex128",
    ),
    (
        "users",
        lambda f: f.assign(age_band=pd.Series(["\ud800"] * len(f), dtype=object)),
        ValueError,
        "users: column 'age_band' has 100 values that are not text",
    ),
    (
        "users",
        lambda f: f.assign(city_tier=1.5),
        ValueError,
        "'city_tier' has 100 values that are not whole numbers",
    ),
    (
        "users",
        lambda f: f.assign(city_tier=5),
        ValueError,
        r"'city_tier': 100 values outside \[1, 4\], first 5",
    ),
    (
        "items",
        lambda f: f.assign(price=-f["price"]),
        ValueError,
        r"items: column 'price': 50 values outside \(0, inf\]",
    ),
    (
        "items",
        lambda f: f.assign(price=0.0),
        ValueError,
        r"items: column 'price': 50 values outside \(0, inf\]",
    ),
    ("items", lambda f: f.assign(stock=-1), ValueError, "items: column 'stock': 50 values outside"),
    (
        "items",
        lambda f: f.assign(stock=2**31),
        ValueError,
        "items: column 'stock': 50 values outside",
    ),
    (
        "impressions",
        lambda f: f.assign(propensity=0.0),
        ValueError,
        r"'propensity': 3000 values outside \(0, 1\], first 0",
    ),
    (
        "impressions",
        lambda f: f.assign(propensity=1.01),
        ValueError,
        "'propensity': 3000 values outside",
    ),
    (
        "impressions",
        lambda f: f.assign(propensity=f["propensity"].where(f.index > 1)),
        ValueError,
        "2 missing values",
    ),
    (
        "impressions",
        lambda f: f.assign(position=0),
        ValueError,
        "impressions: column 'position': 3000 values outside",
    ),
    (
        "impressions",
        lambda f: f.assign(clicked=2),
        ValueError,
        r"'clicked': 3000 values outside \[0, 1\]",
    ),
    (
        "impressions",
        lambda f: pd.concat([f, f[:1]]),
        ValueError,
        "1 row.* repeat the key .user_id, item_id, day.",
    ),
    (
        "impressions",
        lambda f: f.assign(user_id=f["user_id"].where(f.index > 1, -5)),
        ValueError,
        "'user_id' has 2 keys",
    ),
    (
        "impressions",
        lambda f: f.assign(item_id=f["item_id"] + 1),
        ValueError,
        "'item_id' has 3000 keys that items does",
    ),
    (
        "purchases",
        lambda f: f.assign(price=-1.0),
        ValueError,
        "purchases: column 'price': 1500 values outside",
    ),
    (
        "purchases",
        lambda f: f.assign(exposed=2),
        ValueError,
        "purchases: column 'exposed': 1500 values outside",
    ),
    (
        "ratings",
        lambda f: f.assign(rating=6),
        ValueError,
        r"ratings: column 'rating': 750 values outside \[1, 5\]",
    ),
    (
        "ratings",
        lambda f: f.assign(day=f["day"] + 9),
        ValueError,
        "'user_id', 'item_id', 'day' has 750 keys that purchases does",
    ),
    (
        "clicks",
        lambda f: pd.DataFrame({"a": [1]}),
        ValueError,
        "no table 'clicks'; tables there: users, items",
    ),
]


@pytest.mark.parametrize(("name", "change", "exception", "message"), BAD)
@pytest.mark.parametrize("replace", [False, True])
def test_a_bad_frame_is_refused_and_nothing_is_written(
    sqlite_url, name, change, exception, message, replace
):
    tables = make_tables()
    with Store(sqlite_url).create() as store:
        store.load({"users": make_tables()["users"][:5]})
        before = state(store)
        tables[name] = change(tables.get(name))
        with pytest.raises(exception, match=message):
            store.load(tables, replace=replace)
        assert state(store) == before


@pytest.mark.parametrize(("replace", "known"), [(False, True), (True, False)])
def test_parents_in_the_store_count_only_where_they_stay(store, replace, known):
    tables = make_tables()
    store.load({name: tables[name] for name in ("users", "items")})
    before = state(store)
    if known:
        store.load({"impressions": tables["impressions"]}, replace=replace)
        assert store.counts()["impressions"] == 3_000
    else:
        with pytest.raises(ValueError, match="3000 keys that items does not hold"):
            store.load({"impressions": tables["impressions"]}, replace=replace)
        assert state(store) == before


def test_keys_already_there_are_refused_and_the_whole_load_rolled_back(store):
    tables = make_tables()
    store.load(
        {
            "users": tables["users"],
            "items": tables["items"],
            "impressions": tables["impressions"][:1],
        }
    )
    before = state(store)
    load = {"impressions": tables["impressions"], "purchases": tables["purchases"]}
    with pytest.raises(StoreError, match=r"refused the rows, nothing was written; .*replace=True"):
        store.load(load)
    assert state(store) == before


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("users", "city_tier", 5),
        ("items", "price", 0),
        ("items", "stock", -1),
        ("impressions", "propensity", 0),
        ("impressions", "propensity", 1.5),
        ("impressions", "position", 0),
        ("impressions", "clicked", 2),
        ("impressions", "user_id", -1),
        ("impressions", "item_id", -1),
        ("purchases", "price", -1),
        ("purchases", "user_id", -1),
        ("ratings", "rating", 0),
        ("ratings", "rating", 6),
        ("ratings", "day", 99),
        ("users", "age_band", None),
    ],
)
def test_the_database_itself_refuses_what_the_checks_refuse(url, name, column, value):
    """Rows written by other programs, past `load`, meet the same rules."""
    tables = make_tables(n=10)
    table = metadata.tables[name]
    row = dict(tables[name].astype(object).iloc[0])
    with Store(url).create() as store:
        store.load({parent: tables[parent] for parent in TABLES[: TABLES.index(name)]})
        with pytest.raises(
            (sa.exc.IntegrityError, sa.exc.OperationalError), match=r"(?i)constraint|null"
        ):
            insert(store, table, row | {column: value})
        insert(store, table, row)  # only that value was at fault


def insert(store, table, row):
    with store._engine.begin() as connection:
        connection.execute(table.insert(), row)


# --- cut in the middle
# ----------------------------------------------------------------------------------------------


def on_insert(store, number, action):
    """Call `action(dbapi connection)` after the `number`-th INSERT of the store."""
    seen = []

    @sa.event.listens_for(store._engine, "after_cursor_execute")
    def _(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("INSERT"):
            seen.append(statement)
            if len(seen) == number:
                action(connection.connection.driver_connection)

    return seen


@pytest.mark.mysql
@pytest.mark.xdist_group("mysql")
@pytest.mark.parametrize("replace", [False, True])
def test_a_connection_killed_in_the_middle_leaves_mysql_as_it_was(
    mysql_url, kill_connection, monkeypatch, replace
):
    monkeypatch.setattr(store_module, "CHUNK_ROWS", 500)
    with Store(mysql_url).create() as store:
        store.load(make_tables(n=40, seed=3))
        before = state(store)
        tables = make_tables()
        if not replace:  # new keys, so that only the cut can stop the load
            tables["users"]["user_id"] += 10_000
            tables["items"]["item_id"] += 10_000
            for name in TABLES[2:]:
                tables[name][["user_id", "item_id"]] += 10_000
        seen = on_insert(store, 5, lambda connection: kill_connection(connection.thread_id()))
        with pytest.raises(StoreError, match="connection was lost") as caught:
            store.load(tables, replace=replace)
        assert len(seen) == 5  # users, items and three parts of the impressions had been sent
        assert_no_password(caught.value, mysql_url)
        assert state(store) == before
        store.load(tables, replace=replace)  # and the same store goes on
        assert store.counts()["impressions"] == 3_000 + (0 if replace else 40)


@pytest.mark.mysql
@pytest.mark.xdist_group("mysql")
def test_a_connection_killed_while_reading_is_a_store_error(
    mysql_url, kill_connection, monkeypatch
):
    # 11 MB, more than sockets buffer
    users = make_tables(n=1, n_users=40_000)["users"].assign(age_band="🎁" * 64)
    with Store(mysql_url).create() as store:
        store.load({"users": users})
        found = []
        sa.event.listen(
            store._engine, "checkout", lambda dbapi, *rest: found.append(dbapi.thread_id())
        )
        reader = store.read("users", chunk_rows=10)
        next(reader)
        kill_connection(found[-1])
        with pytest.raises(StoreError, match="connection was lost"):
            list(reader)
    # PyMySQL's cursor, when it is thrown away, stumbles over its dead connection once more
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    del reader
    gc.collect()
    assert {type(report.exc_value) for report in ignored} <= {AttributeError}
    ignored.clear()


def test_an_exception_in_the_middle_rolls_back(store, monkeypatch):
    monkeypatch.setattr(store_module, "CHUNK_ROWS", 500)

    def interrupt(connection):
        raise KeyboardInterrupt

    on_insert(store, 4, interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.load(make_tables())
    assert store.counts() == dict.fromkeys(TABLES, 0)


def test_a_process_killed_in_the_middle_leaves_sqlite_as_it_was(tmp_path, sqlite_url):
    with Store(sqlite_url).create() as store:
        store.load(make_tables(n=40, seed=3))
        before = state(store)
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_store import Store, make_tables, on_insert
        store = Store({sqlite_url!r})
        on_insert(store, 8, lambda connection: os.kill(os.getpid(), signal.SIGKILL))
        store.load(make_tables(n=200_000, n_users=1_000, n_items=200), replace=True)
    """
    environment = dict(os.environ, PYTHONPATH=str(paths.ROOT))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    # the load had reached the file when it was killed: a journal is left, without which the file is
    # not sound
    file = tmp_path / "shop.sqlite"
    journal = tmp_path / "shop.sqlite-journal"
    assert journal.stat().st_size > 0
    assert file.stat().st_size > 1_000_000
    with Store(sqlite_url) as store:
        assert state(store) == before
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


# --- errors, and the password in none of them
# -----------------------------------------------------------------------


def password_of(url):
    return unquote(url.split("://")[1].rsplit("@", 1)[0].split(":", 1)[1])


def assert_no_password(error, url):
    password = password_of(url)
    text = "".join(traceback.format_exception(error)) + repr(error)
    while error is not None:  # also what `from None` hides from a printed traceback
        text += f"{error!r} {error} {getattr(error, 'orig', '')!r}"
        error = error.__cause__ or error.__context__
    for spelling in (password, quote(password), quote(password, safe="")):
        assert spelling not in text


@pytest.fixture
def closed_port():
    """A port of this machine that refuses connections: it is taken, so that no server can start
    there, and nobody listens.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


SECRET = quote("hunter2/@:%", safe="")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+pymysql//shop:hunter2@host/db", "URL cannot be read .*write mysql"),
        ("mysql+pymysql://shop:x@host:hunter2/db", "URL cannot be read .*write mysql"),
        ("hunter2", "URL cannot be read"),
        (
            f"mysql://shop:{SECRET}@host/db",
            r"mysql://shop:\*\*\*@host/db: driver 'MySQLdb' is not installed",
        ),
        (
            f"nosql+pymysql://shop:{SECRET}@host/db",
            r"shop:\*\*\*@host/db: Can't load plugin: .*nosql",
        ),
        (
            "mysql+pymysql://shop@127.0.0.1:PORT/db?password=hunter2",
            r"shop@127.0.0.1:\d+/db: the server cannot be reached",
        ),
        ("mysql+pymysql://shop:hunter2密@host/db", "characters beyond Latin-1"),
        ("mysql+pymysql://shop:x@hunter2@host/db", "has two '@' .*write the password's as %40"),
        ("sqlite:///no/such/folder/shop.sqlite", "no SQLite file there; make its folder"),
    ],
)
def test_a_url_that_cannot_work_says_so_without_its_password(url, message, closed_port):
    with pytest.raises(StoreError, match=message) as caught:
        Store(url.replace("PORT", str(closed_port))).create()
    text = "".join(traceback.format_exception(caught.value)).split("raise StoreError")[-1]
    assert "hunter2" not in text
    assert SECRET not in text
    assert caught.value.__cause__ is None


def test_a_server_that_does_not_answer_is_not_waited_for_without_end():
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"mysql+pymysql://shop:{SECRET}@127.0.0.1:{port}/db?read_timeout=1"
        with pytest.raises(
            StoreError, match=r"did not answer in time.*read_timeout=3600"
        ) as caught:
            Store(url).counts()
    assert_no_password(caught.value, url)
    given = Store("mysql+pymysql://shop@host/db?write_timeout=7")._engine
    _, options = given.dialect.create_connect_args(given.url)
    assert options["write_timeout"] == 7


def test_a_password_of_two_letters_is_not_betrayed_by_what_replaces_it(closed_port):
    store = Store(f"mysql+pymysql://shop:on@127.0.0.1:{closed_port}/db")
    with pytest.raises(StoreError, match=r"cannot be reached.*password this short") as caught:
        store.counts()
    assert "C***nect" not in str(caught.value)


def test_an_unreachable_server_says_so_without_the_password(closed_port):
    url = f"mysql+pymysql://shop:{SECRET}@127.0.0.1:{closed_port}/db"
    store = Store(url)
    assert repr(store) == f"Store({url.replace(SECRET, '***')})"
    for action in (
        store.create,
        store.counts,
        lambda: store.load({"users": make_tables()["users"]}),
    ):
        with pytest.raises(
            StoreError, match="server cannot be reached; start it, or check host and port"
        ) as caught:
            action()
        assert_no_password(caught.value, url)


@pytest.mark.mysql
@pytest.mark.xdist_group("mysql")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda url: url.replace("shop:", "shop:not", 1),
            "user, password or database refused; check the URL .*1045",
        ),
        (
            lambda url: url.replace("shop_", "shop_no", 1),
            "user, password or database refused; check the URL .*Unknown database",
        ),
        (
            lambda url: url.rsplit("/", 1)[0] + "/mysql",
            "password or database refused; check the URL .*denied for user .* to database",
        ),
    ],
)
def test_a_refused_connection_says_why_without_the_password(mysql_url, change, message):
    url = change(mysql_url)
    with pytest.raises(StoreError, match=message) as caught:
        Store(url).create()
    assert_no_password(caught.value, url)


def test_the_password_is_in_no_log_and_no_repr(url, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "pymysql"):
        caplog.set_level(logging.DEBUG, logger=name)
    with Store(url).create() as store:
        store.load(make_tables(n=10))
        shown = caplog.text + repr(store) + str(store) + str(vars(store))
    assert "sqlalchemy" in caplog.text  # the loggers did speak
    if url.startswith("mysql"):
        assert "shop:***@127.0.0.1" in repr(store)
        assert password_of(url) not in shown
        assert quote(password_of(url), safe="") not in shown


def test_missing_tables_point_to_create(url):
    with (
        Store(url) as store,
        pytest.raises(StoreError, match=r"a table is missing; call create\(\) first"),
    ):
        store.load({"users": make_tables()["users"]})


def test_a_locked_file_is_a_store_error(tmp_path, sqlite_url):
    with Store(sqlite_url + "?timeout=0.1").create() as store:
        other = sqlite3.connect(tmp_path / "shop.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="another session holds the tables"):
            store.load({"users": make_tables()["users"]})
        other.close()


def test_a_file_of_another_kind_is_a_store_error(tmp_path, sqlite_url):
    (tmp_path / "shop.sqlite").write_text("user_id,item_id\n" * 100)
    with pytest.raises(
        StoreError, match=r"no SQLite file there; .*name another .file is not a database"
    ):
        Store(sqlite_url).create()


@pytest.mark.parametrize(
    ("table", "columns", "chunk_rows", "message"),
    [
        ("clicks", None, 10, "no table 'clicks'; tables there: users, items"),
        ("users", ["age"], 10, "users: no column 'age'; columns there: user_id, age_band"),
        ("users", None, 0, "chunk_rows: 0 is below 1"),
    ],
)
def test_a_bad_read_is_refused(sqlite_url, table, columns, chunk_rows, message):
    with pytest.raises(ValueError, match=message):
        next(Store(sqlite_url).read(table, columns, chunk_rows=chunk_rows))


# --- where the database is
# --------------------------------------------------------------------------------------------


def test_the_url_comes_from_the_environment_else_a_file_under_data(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.delenv("CAUSAL_LIB_DB", raising=False)
    (tmp_path / "data").mkdir()
    with Store().create() as store:
        # no absolute path in a notebook's output
        assert repr(store) == "Store(sqlite:///data/shop.sqlite)"
    assert (tmp_path / "data" / "shop.sqlite").exists()
    monkeypatch.setenv("CAUSAL_LIB_DB", f"sqlite:///{tmp_path / 'other.sqlite'}")
    with Store().create():
        assert (tmp_path / "other.sqlite").exists()
    with Store("sqlite://") as store:
        assert repr(store) == "Store(sqlite://)"


# --- checksum
# ---------------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=True, allow_infinity=False),
        st.text(max_size=5) | st.none(),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_checksum_forgets_order_and_types_and_nothing_else(rows, random):
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).astype({"c": object})
    shuffled = random.sample(rows, len(rows))
    same = pd.DataFrame(shuffled, columns=["a", "b", "c"]).astype(
        {"a": "Int64", "b": "Float64", "c": "str"}
    )
    assert frame_checksum(same[["c", "a", "b"]]) == frame_checksum(frame)
    assert frame_checksum(frame.assign(b=frame["b"].mask(frame["b"] == 0, -0.0))) == frame_checksum(
        frame
    )
    # a row that is there twice
    assert frame_checksum(pd.concat([frame, frame[:1]])) != frame_checksum(frame)
    row = random.randrange(len(rows))
    other = frame.copy()
    other.loc[row, "a"] = 2**53 - 1 if frame.loc[row, "a"] != 2**53 - 1 else 0
    assert frame_checksum(other) != frame_checksum(frame)
    other = frame.copy()
    other.loc[row, "c"] = f"{frame.loc[row, 'c']}x"
    assert frame_checksum(other) != frame_checksum(frame)


def test_checksum_is_the_same_in_another_process_and_release():
    """A value written down once: were it to change, checksums kept from earlier would no longer
    compare.
    """
    frame = pd.DataFrame({"item_id": [1, 2], "price": [3.5, 4.0], "category": ["toys", "图书"]})
    assert frame_checksum(frame) == "9f4dee6aee3fb625"


# --- size
# -------------------------------------------------------------------------------------------------------------


def test_a_million_impressions_load_and_compare_equal(store):
    tables = make_tables(n=1_000_000, n_users=10_000, n_items=200)
    tables = {name: tables[name] for name in TABLES[:3]}
    store.load(tables)
    assert store.counts() == {name: len(tables.get(name, ())) for name in TABLES}
    assert store.checksum("impressions") == frame_checksum(tables["impressions"])


def test_ranges_of_all_numbers():
    """What may stand in each column, by hand: ids exact in float64, whole numbers of MySQL, and the
    meaning of the column.
    """
    whole = 2**31 - 1
    exact = 2**53
    any_number = np.inf
    key = {
        "user_id": (-exact, exact, False),
        "item_id": (-exact, exact, False),
        "day": (-whole, whole, False),
    }
    real = (-any_number, any_number, False)
    zero_or_one = (0, 1, False)
    expected = {
        "users": {"user_id": key["user_id"], "city_tier": (1, 4, False), "activity": real, "price_sensitivity": real},
        "items": {
            "item_id": key["item_id"], "price": (0, any_number, True), "stock": (0, whole, False), "quality": real,
            "popularity": real,
        },
        "impressions": key | {"propensity": (0, 1, True), "position": (1, whole, False), "clicked": zero_or_one},
        "purchases": key | {"price": (0, any_number, True), "exposed": zero_or_one},
        "ratings": key | {"rating": (1, 5, False)},
    }  # fmt: skip
    found = {
        name: {
            c.name: (c.info["low"], c.info["high"], c.info["open_low"])
            for c in table.columns
            if c.info
        }
        for name, table in metadata.tables.items()
    }
    assert found == expected
    parents = {
        name: {key.column.table.name for key in table.foreign_keys}
        for name, table in metadata.tables.items()
    }
    assert parents == {
        "users": set(), "items": set(), "impressions": {"users", "items"}, "purchases": {"users", "items"},
        "ratings": {"purchases"},
    }  # fmt: skip
    keys = {name: table.primary_key.columns.keys() for name, table in metadata.tables.items()}
    assert keys.pop("users") == ["user_id"]
    assert keys.pop("items") == ["item_id"]
    assert all(columns == ["user_id", "item_id", "day"] for columns in keys.values())
