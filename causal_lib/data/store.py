"""SQL store of the shop tables: one schema, a SQLite file by default, MySQL through ``CAUSAL_LIB_DB``.

A load is checked first, then written in one transaction: all of it or nothing. Reads stream. The URL's password
appears in no message, repr or traceback.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from tqdm.auto import tqdm

from causal_lib import paths
from causal_lib.data.schema import KEY, check_frame, check_range

CHUNK_ROWS = 20_000  # rows of one INSERT call; the driver cuts it into statements that fit the server's packet size

_LIMITS = {sa.Integer: 2**31 - 1, sa.BigInteger: 2**53, sa.Double: np.inf}
"""Largest values: of MySQL's INTEGER (SQLite would take more, the two must agree), of whole numbers exact in float64."""


class StoreError(RuntimeError):
    """The database cannot be used or refused the work; the message says why and what to do, never the password."""


def _number(name, kind, low=None, high=None, open_low=False, **options):
    """A column whose range stands once: the CHECK constraint and the check of frames are both made from it."""
    rules = [] if low is None else [f"{name} {'>' if open_low else '>='} {low}"]
    rules += [] if high is None else [f"{name} <= {high}"]
    checks = [sa.CheckConstraint(" AND ".join(rules))] if rules else []
    most = _LIMITS[kind]
    bounds = (-most if low is None else low, most if high is None else high, open_low)
    return sa.Column(name, kind, *checks, nullable=False, info={"range": bounds}, **options)


def _table(name, *columns):
    # without a row id SQLite keeps rows in the order of the key, as InnoDB does
    options = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_with_rowid": False}
    return sa.Table(name, metadata, *columns, **options)


def _event(name, *columns):
    """A table keyed by user, item and day; the key serves look-ups by user, the indexes those by item and day."""
    key = [_number(column, sa.Integer if column == "day" else sa.BigInteger, primary_key=True) for column in KEY]
    indexes = [sa.Index(f"{name}_{column}", column) for column in ("item_id", "day")]
    return _table(name, *key, *columns, *indexes)


metadata = sa.MetaData()

_table(
    "users",
    _number("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("age_band", sa.String(64), nullable=False),
    _number("city_tier", sa.Integer, 1, 4),
    _number("activity", sa.Double),
    _number("price_sensitivity", sa.Double),
)
_table(
    "items",
    _number("item_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("category", sa.String(64), nullable=False),
    _number("price", sa.Double, 0, open_low=True),
    _number("stock", sa.Integer, 0),
    _number("quality", sa.Double),
    _number("popularity", sa.Double),
)
_event(
    "impressions",
    _number("propensity", sa.Double, 0, 1, open_low=True),
    _number("position", sa.Integer, 1),
    _number("clicked", sa.Integer, 0, 1),
    sa.ForeignKeyConstraint(["user_id"], ["users.user_id"]),
    sa.ForeignKeyConstraint(["item_id"], ["items.item_id"]),
)
_event(
    "purchases",
    _number("price", sa.Double, 0, open_low=True),
    _number("exposed", sa.Integer, 0, 1),
    sa.ForeignKeyConstraint(["user_id"], ["users.user_id"]),
    sa.ForeignKeyConstraint(["item_id"], ["items.item_id"]),
)
_event(
    "ratings",
    _number("rating", sa.Integer, 1, 5),
    sa.ForeignKeyConstraint(KEY, [f"purchases.{column}" for column in KEY]),  # only what was bought is rated
)


class Store:
    """The shop's tables ``users``, ``items``, ``impressions``, ``purchases``, ``ratings`` in a database.

    Parameters
    ----------
    url : SQLAlchemy URL, e.g. ``mysql+pymysql://user:password@host/database`` or ``sqlite:///file``. Default: the
        environment variable ``CAUSAL_LIB_DB`` (a URL with a password belongs there), else ``data/shop.sqlite``.

    Raises
    ------
    StoreError
        if the URL cannot be read or its driver is missing; every other method raises it when the database is out of
        reach, refuses the password, or the connection is lost.

    >>> users = pd.DataFrame({"user_id": [1], "age_band": ["25-34"], "city_tier": [2], "activity": [0.5],
    ...                       "price_sensitivity": [1.0]})
    >>> with Store("sqlite://").create() as store:
    ...     store.load({"users": users})
    ...     store.counts()["users"], store.checksum("users") == frame_checksum(users)
    (1, True)
    """

    def __init__(self, url: str | None = None):
        url = url or os.environ.get("CAUSAL_LIB_DB") or f"sqlite:///{paths.DATA / 'shop.sqlite'}"
        self._engine, problem = _engine(url)
        if problem:  # raised here, outside the handler: the original exceptions quote parts of the URL
            raise StoreError(problem)

    def __repr__(self):
        return f"Store({_shown(self._engine.url)})"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        """Close the database's connections."""
        self._engine.dispose()

    def create(self) -> "Store":
        """The store itself, its tables made where they are missing (existing tables and rows stay)."""
        if self._engine.url.database == str(paths.DATA / "shop.sqlite"):
            paths.DATA.mkdir(parents=True, exist_ok=True)
        with self._explained():
            metadata.create_all(self._engine)
        return self

    def load(self, tables: Mapping[str, pd.DataFrame], *, replace: bool = False) -> None:
        """Add the rows of ``tables`` (name -> frame) in one transaction: all of them or, on any error, none.

        A connection that is cut during the final COMMIT may have gone either way (never half): compare `counts`.

        Parameters
        ----------
        tables : frames with exactly the columns of their tables, in any order, without missing values.
        replace : empty all five tables first, in the same transaction.

        Raises
        ------
        ValueError
            before anything is written: unknown table or column, missing column or value, repeated key, value of the
            wrong type or out of range, key that its parent table does not hold.
        StoreError
            if the database cannot be reached, or refuses rows (a key that is already there).
        """
        for name in tables:
            _known(name)
        order = [table for table in metadata.sorted_tables if table.name in tables]  # parents before children
        for table in order:
            _check_values(tables[table.name], table)
            self._check_references(tables, table, replace)
        total = sum(len(tables[table.name]) for table in order)
        bar = tqdm(total=total, unit="row", desc="load", delay=2)  # a load that is over at once shows none
        with self._explained(), bar, self._engine.begin() as connection:
            if replace:
                for table in reversed(metadata.sorted_tables):
                    connection.execute(table.delete())
            for table in order:
                insert = str(table.insert().compile(dialect=self._engine.dialect))
                for rows in _rows(tables[table.name], table):
                    # plain tuples: with one dict a row SQLAlchemy itself would take most of the time
                    connection.exec_driver_sql(insert, rows)
                    bar.update(len(rows))

    def load_world(self, world, *, replace: bool = False) -> None:
        """`load` the tables of a simulated world; a table in which nothing happened (no rating yet) is left out."""
        self.load({name: frame for name, frame in world.tables().items() if len(frame)}, replace=replace)

    def read(self, table: str, columns=None, *, chunk_rows: int = 50_000) -> Iterator[pd.DataFrame]:
        """The table's rows in the order of the key, as frames of at most ``chunk_rows`` rows, held one at a time.

        ``columns`` are the names to read, by default all. Raises ValueError for an unknown table or column, or
        ``chunk_rows`` below 1.
        """
        source = _known(table)
        there = source.columns.keys()
        columns = list(there if columns is None else columns)
        unknown = [column for column in columns if column not in there]
        if unknown or not columns:
            raise ValueError(f"{table}: no column {', '.join(map(repr, unknown))}; columns there: {', '.join(there)}")
        if chunk_rows < 1:
            raise ValueError(f"chunk_rows: {chunk_rows} is below 1")
        return self._stream(source, columns, chunk_rows)

    def frame(self, table: str) -> pd.DataFrame:
        """The whole table as one frame, in the order of the key."""
        parts = list(self.read(table))
        return pd.concat(parts, ignore_index=True) if parts else _frame([], _known(table).columns)

    def counts(self) -> dict[str, int]:
        """Number of rows of each table."""
        with self._explained(), self._engine.connect() as connection:
            count = sa.select(sa.func.count())
            return {name: connection.scalar(count.select_from(table)) for name, table in metadata.tables.items()}

    def checksum(self, table: str) -> str:
        """`frame_checksum` of the table's content, computed in one streaming pass."""
        return f"{sum(_row_sum(part) for part in self.read(table)) % 2**64:016x}"

    def _stream(self, source, columns, chunk_rows):
        selected = [source.columns[column] for column in columns]
        query = sa.select(*selected).order_by(*source.primary_key)
        with self._explained(), self._engine.connect() as connection:
            # yield_per asks for a server-side cursor, else the MySQL driver would fetch the whole result first
            for rows in connection.execution_options(yield_per=chunk_rows).execute(query).partitions():
                yield _frame(rows, selected)

    def _check_references(self, tables, table, replace):
        for constraint in sorted(table.foreign_key_constraints, key=lambda c: c.column_keys):  # a set: no order
            columns, parent = constraint.column_keys, constraint.referred_table.name
            rows = tables[table.name][columns]
            if parent in tables:
                rows = _without(rows, tables[parent])
            if len(rows) and not replace:
                for part in self.read(parent, columns):
                    rows = _without(rows, part)
            if len(rows):
                raise ValueError(
                    f"{table.name}: column {', '.join(map(repr, columns))} has {len(rows)} keys that {parent} does not "
                    f"hold, first {', '.join(map(str, rows.iloc[0]))}; add them to {parent} or drop the rows"
                )

    @contextmanager
    def _explained(self):
        """Turn the database's errors into a StoreError that says what to do and holds no password."""
        try:
            yield
        except (SQLAlchemyError, RuntimeError) as error:
            # PyMySQL asks for the package that MySQL 8's password exchange needs with a bare RuntimeError
            if isinstance(error, RuntimeError) and "cryptography" not in str(error):
                raise
            raise StoreError(f"{_shown(self._engine.url)}: {_explain(error, self._engine.url)}") from None


def frame_checksum(frame: pd.DataFrame) -> str:
    """Checksum of the frame's content: 16 hexadecimal digits that row order, column order and number types leave alone.

    The sum modulo 2**64 of a hash of each row, so a row that is there twice counts twice; it finds accidents, not
    an attacker. Numbers are compared as float64 (ids up to 2**53), booleans as 0 and 1.

    >>> frame = pd.DataFrame({"item_id": [1, 2], "price": [3.5, 4.0]})
    >>> frame_checksum(frame) == frame_checksum(frame.iloc[::-1][["price", "item_id"]])
    True
    >>> frame_checksum(frame) == frame_checksum(frame.assign(price=[4.0, 3.5]))
    False
    """
    return f"{_row_sum(frame):016x}"


def _row_sum(frame):
    plain = {}
    for name in sorted(frame.columns):
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values.dtype):
            numbers = values.to_numpy(dtype=float, na_value=np.nan) + 0.0  # -0.0 and 0.0 are one number
            plain[name] = np.where(np.isnan(numbers), np.nan, numbers)  # and so are all kinds of NaN
        else:
            plain[name] = values.astype(object).to_numpy()
    return int(pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy().sum(dtype=np.uint64))


def _known(name):
    if name not in metadata.tables:
        raise ValueError(f"no table {name!r}; tables there: {', '.join(metadata.tables)}")
    return metadata.tables[name]


def _check_values(frame, table):
    """Raise ValueError unless every row of ``frame`` fits ``table`` by itself."""
    name = table.name
    check_frame(frame, table.columns.keys(), name=name, key=table.primary_key.columns.keys(), complete=True)
    more = [column for column in frame.columns if column not in table.columns]
    if more:
        raise ValueError(f"{name}: the table has no column {', '.join(map(repr, more))}; drop it from the frame")
    for column in table.columns:
        values, label = frame[column.name], f"{name}: column {column.name!r}"
        if isinstance(column.type, sa.String):
            longest = column.type.length
            wrong = sum(not isinstance(value, str) or len(value) > longest for value in values)
            if wrong:
                raise ValueError(f"{label} has {wrong} values that are not text of at most {longest} characters")
            continue
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise ValueError(f"{label} must hold numbers, not {values.dtype}; convert it first")
        broken = int((values.astype(float) % 1 != 0).sum()) if isinstance(column.type, sa.Integer) else 0
        if broken:
            raise ValueError(f"{label} has {broken} values that are not whole numbers; round or drop them first")
        low, high, open_low = column.info["range"]
        check_range(values, low, high, name=label, open_low=open_low)


def _without(rows, known):
    """The rows of ``rows`` (key columns) that ``known`` does not hold."""
    return rows[~pd.MultiIndex.from_frame(rows).isin(pd.MultiIndex.from_frame(known[rows.columns]))]


def _rows(frame, table):
    """The frame's rows in the order of the key (the database appends, which is faster), as lists of plain tuples."""
    frame = frame[table.columns.keys()].sort_values(table.primary_key.columns.keys())
    kinds = {column.name: _dtype(column) for column in table.columns}
    for start in range(0, len(frame), CHUNK_ROWS):
        part = frame.iloc[start : start + CHUNK_ROWS]
        yield list(zip(*(part[name].astype(kind).tolist() for name, kind in kinds.items()), strict=True))


def _frame(rows, columns):
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    parts = zip(columns, values, strict=True)
    return pd.DataFrame({column.name: pd.Series(part, dtype=_dtype(column)) for column, part in parts})


def _dtype(column):
    return {sa.String: "str", sa.Double: "float64"}.get(type(column.type), "int64")


_FORM = "write mysql+pymysql://user:password@host:port/database or sqlite:///file, special characters percent-encoded"


def _engine(url):
    """(engine, None), or (None, what is wrong with the URL)."""
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError, TypeError):
        return None, f"the database URL cannot be read (it is not shown: it may hold a password); {_FORM}"
    if {"password", "passwd"} & set(parsed.query):
        return (
            None,
            f"{_shown(parsed)}: the password stands after the '?', where it cannot be kept out of logs; {_FORM}",
        )
    if max(map(ord, str(parsed.password or " "))) > 255:  # the driver's own error would quote the whole password
        return None, f"{_shown(parsed)}: the password holds characters beyond Latin-1, which cannot be sent; use others"
    try:
        # pre-ping: a connection that the server dropped while a notebook lay idle is replaced instead of failing;
        # paramstyle: `load` sends tuples
        style = "qmark" if parsed.get_backend_name() == "sqlite" else "format"
        engine = sa.create_engine(parsed, pool_pre_ping=True, paramstyle=style)
    except ImportError as error:
        return None, f"{_shown(parsed)}: driver {error.name!r} is not installed; install it, or {_FORM}"
    except (SQLAlchemyError, ValueError, TypeError) as error:  # no such dialect, an option that it does not know
        return None, f"{_shown(parsed)}: {_redacted(error, parsed)}; {_FORM}"
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _(connection, record):  # SQLite checks foreign keys only when asked to, connection by connection
            connection.execute("PRAGMA foreign_keys = ON")

    return engine, None


def _shown(url):
    shown = url.set(query={}).render_as_string(hide_password=True)
    return shown.replace(f"{paths.ROOT}{os.sep}", "")  # a notebook's output holds no absolute path


def _redacted(error, url):
    """The error's own text, without any spelling of the password (servers and drivers may quote what they got)."""
    text, password = str(getattr(error, "orig", None) or error), str(url.password or "")
    for spelling in filter(None, (password, quote(password), quote(password, safe=""), quote_plus(password))):
        text = text.replace(spelling, "***")
    return text


_ADVICE = {  # parts of the drivers' texts -> what to do
    ("(1045,", "(1698,"): "user or password refused; check the URL in CAUSAL_LIB_DB",
    ("(1044,", "(1142,"): "the user lacks rights on this database; GRANT them, or check the URL",
    ("(1049,",): "no such database; CREATE DATABASE it first, or check the URL",
    ("(2002,", "(2003,"): "the server cannot be reached; start it, or check host and port",
    ("(1146,", "no such table"): "a table is missing; call create() first",
    ("(1205,", "(1213,", "database is locked"): "another session holds the tables; run it again when that has ended",
    ("unable to open database file",): "the file cannot be opened; make its folder, or check the rights",
    ("file is not a database",): "the file holds no SQLite database; name another one",
    ("disk is full",): "the disk is full; make room and run it again",
    ("cryptography",): "this server's way of asking for passwords needs one more package: pip install cryptography",
}


def _explain(error, url):
    text = _redacted(error, url)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return f"the connection was lost; what was being written is rolled back: run it again ({text})"
    if isinstance(error, IntegrityError):
        return f"the database refused the rows, nothing was written ({text}); drop them, or load with replace=True"
    return next((f"{advice} ({text})" for signs, advice in _ADVICE.items() if any(s in text for s in signs)), text)
