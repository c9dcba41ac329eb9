"""SQL store of the shop's tables: SQLite by default, MySQL through ``CAUSAL_LIB_DB``, one schema.

A load is checked first, then written in one transaction: all of it or nothing. Reads stream. The
URL's password appears in no message, repr or traceback.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from urllib.parse import quote

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from causal_lib import paths
from causal_lib.checks import check_frame, check_range
from causal_lib.data.schema import KEY
from causal_lib.progress import progress_bar

CHUNK_ROWS = 20_000  # of one INSERT; the driver cuts it to fit the server's packets

# Largest values: of MySQL's INTEGER (SQLite would take more, the two must agree), and of whole
# numbers that float64 holds exactly.
_LIMITS = {sa.Integer: 2**31 - 1, sa.BigInteger: 2**53, sa.Double: np.inf}

_ADVICE = {  # parts of the drivers' texts, and what to do
    (
        "(1044",
        "(1045",
        "(1049",
        "(1142",
        "(1698",
    ): "user, password or database refused; check the URL",
    ("(2002", "(2003"): "the server cannot be reached; start it, or check host and port",
    ("(1146", "no such table"): "a table is missing; call create() first",
    (
        "(1205",
        "(1213",
        "is locked",
    ): "another session holds the tables; run it again when that ends",
    (
        "open database file",
        "not a database",
    ): "no SQLite file there; make its folder or name another",
}

_WAITS = {"connect_timeout": 10, "read_timeout": 300, "write_timeout": 300}
"""Seconds that MySQL's driver waits for the server, which may hang; a URL may say
``?read_timeout=3600`` for statements that take longer.
"""

_FORM = (
    "write mysql+pymysql://user:password@host:port/database or sqlite:///file, special "
    "characters percent-encoded"
)


class StoreError(RuntimeError):
    """The database cannot be used or refused the work; the message never holds the password."""


# ---- the schema ---------------------------------------------------------------------------------

metadata = sa.MetaData()


def _number(name, kind, low=-np.inf, high=np.inf, open_low=False, **options):
    """A column with its range, for the CHECK constraint of the database and the check of frames."""
    low = max(low, -_LIMITS[kind])
    high = min(high, _LIMITS[kind])
    bounds = {">" if open_low else ">=": low, "<=": high}
    rules = [f"{name} {sign} {bound}" for sign, bound in bounds.items() if np.isfinite(bound)]
    checks = [sa.CheckConstraint(" AND ".join(rules))] if rules else []
    info = {"low": low, "high": high, "open_low": open_low}
    return sa.Column(name, kind, *checks, nullable=False, info=info, **options)


def _id(name):
    return _number(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _table(name, *columns):
    # Without a row id SQLite keeps rows in the order of the key, as InnoDB does.
    options = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_with_rowid": False}
    return sa.Table(name, metadata, *columns, **options)


def _event(name, parents, *columns):
    """A table keyed by user, item and day, with an index for look-ups by item and one by day."""
    key = [_id("user_id"), _id("item_id"), _number("day", sa.Integer, primary_key=True)]
    links = [
        sa.ForeignKeyConstraint(ids, [f"{parent}.{column}" for column in ids])
        for parent, ids in parents.items()
    ]
    indexes = [sa.Index(f"{name}_{column}", column) for column in ("item_id", "day")]
    return _table(name, *key, *columns, *links, *indexes)


_SHOP = {"users": ["user_id"], "items": ["item_id"]}

_table(
    "users",
    _id("user_id"),
    sa.Column("age_band", sa.String(64), nullable=False),
    _number("city_tier", sa.Integer, 1, 4),
    _number("activity", sa.Double),
    _number("price_sensitivity", sa.Double),
)
_table(
    "items",
    _id("item_id"),
    sa.Column("category", sa.String(64), nullable=False),
    _number("price", sa.Double, 0, open_low=True),
    _number("stock", sa.Integer, 0),
    _number("quality", sa.Double),
    _number("popularity", sa.Double),
)
_event(
    "impressions",
    _SHOP,
    _number("propensity", sa.Double, 0, 1, open_low=True),
    _number("position", sa.Integer, 1),
    _number("clicked", sa.Integer, 0, 1),
)
_event(
    "purchases",
    _SHOP,
    _number("price", sa.Double, 0, open_low=True),
    _number("exposed", sa.Integer, 0, 1),
)
_event("ratings", {"purchases": KEY}, _number("rating", sa.Integer, 1, 5))  # of what was bought


# ---- the store ----------------------------------------------------------------------------------


class Store:
    """The tables ``users``, ``items``, ``impressions``, ``purchases``, ``ratings`` in a database.

    `load` checks rows against the schema of these five; `write_table` keeps any frame as it is.

    Parameters
    ----------
    url : SQLAlchemy URL, e.g. ``mysql+pymysql://user:password@host/database`` or
        ``sqlite:///file``. Default: the environment variable ``CAUSAL_LIB_DB`` (a URL with a
        password belongs there), else ``data/shop.sqlite``.

    Every method raises StoreError when the database is out of reach, refuses the password, or the
    connection is lost.

    >>> users = pd.DataFrame({"user_id": [1], "age_band": ["25-34"], "city_tier": [2],
    ...                       "activity": [0.5], "price_sensitivity": [1.0]})
    >>> with Store("sqlite://").create() as store:
    ...     store.load({"users": users})
    ...     store.counts()["users"], store.checksum("users") == frame_checksum(users)
    (1, True)
    """

    def __init__(self, url: str | None = None):
        self._engine = _engine(url or os.environ.get("CAUSAL_LIB_DB") or _own_file())

    def __repr__(self):
        return f"Store({_shown(self._engine.url)})"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._engine.dispose()

    def create(self) -> "Store":
        """The store itself, its tables made where they are missing; existing rows stay."""
        with self._explained():
            metadata.create_all(self._engine)
        return self

    def load(self, tables: Mapping[str, pd.DataFrame], *, replace: bool = False) -> None:
        """Add the rows of ``tables`` (name to frame) in one transaction: all, or on an error none.

        Parameters
        ----------
        tables : frames with exactly the columns of their tables, in any order, without missing
            values.
        replace : empty all five tables first, in the same transaction.

        Raises
        ------
        ValueError
            before anything is written, for rows that break the schema: columns, types, ranges,
            keys, references.
        StoreError
            if the database cannot be reached, or refuses rows (a key that is already there). A
            connection that is cut during the final COMMIT may have gone either way (never half):
            compare `counts`.
        """
        for name in tables:
            _known(name)
        order = [table for table in metadata.sorted_tables if table.name in tables]  # parents first
        for table in order:
            _check_values(tables[table.name], table)
            self._check_references(tables, table, replace)
        bar = progress_bar(total=sum(map(len, tables.values())), unit="row", desc="load")
        with self._explained(), bar, self._engine.begin() as connection:
            if replace:
                for table in reversed(metadata.sorted_tables):
                    connection.execute(table.delete())
            for table in order:
                # In the order of the key the database appends, which is faster.
                rows = tables[table.name].sort_values(table.primary_key.columns.keys())
                rows = _typed(rows, table.columns)
                for inserted in self._insert(connection, table, rows):
                    bar.update(inserted)

    def load_world(self, world, *, replace: bool = False) -> None:
        """`load` the tables of a simulated shop, without those that have no row (no rating yet)."""
        tables = {name: frame for name, frame in world.tables().items() if len(frame)}
        self.load(tables, replace=replace)

    def read(self, table: str, columns=None, *, chunk_rows: int = 50_000) -> Iterator[pd.DataFrame]:
        """The table's rows in the order of the key, as frames of at most ``chunk_rows`` rows.

        One frame is held at a time. Raises ValueError for an unknown table, an unknown one of
        ``columns``, or ``chunk_rows`` below 1.
        """
        source = _known(table)
        there = source.columns.keys()
        unknown = [column for column in columns or () if column not in there]
        if unknown:
            raise ValueError(
                f"{table}: no column {', '.join(map(repr, unknown))}; columns there: "
                f"{', '.join(there)}"
            )
        if chunk_rows < 1:
            raise ValueError(f"chunk_rows: {chunk_rows} is below 1")
        selected = [source.columns[column] for column in columns or there]
        query = sa.select(*selected).order_by(*source.primary_key)
        with self._explained(), self._engine.connect() as connection:
            # yield_per asks for a server-side cursor: MySQL's driver would fetch the whole result.
            streaming = connection.execution_options(yield_per=chunk_rows)
            for rows in streaming.execute(query).partitions():
                yield _typed(rows, selected)

    def frame(self, table: str) -> pd.DataFrame:
        """The whole table as one frame, in the order of the key."""
        empty = _typed([], _known(table).columns)
        return pd.concat([empty, *self.read(table)], ignore_index=True)

    def write_table(self, name: str, frame: pd.DataFrame, *, replace: bool = False) -> None:
        """Write ``frame`` as it is, duplicates and missing values too, to a table of its own.

        Whole numbers, other numbers and text keep their kind; anything else (dates) becomes text.

        Raises
        ------
        ValueError
            for the name of one of the five tables (use `load`), a name that is not letters, digits
            and underscores, a frame without columns, names of columns that are blank or differ in
            case alone, whole numbers of 2**63 and more, and a table that is there already unless
            ``replace`` drops it first. MySQL cannot take back a table that it has dropped.
        """
        if name in metadata.tables:
            raise ValueError(f"table {name!r} has a fixed schema; use load, which checks the rows")
        if not re.fullmatch(r"[A-Za-z_]\w{0,62}", name, re.ASCII):
            raise ValueError(f"table name {name!r}: use at most 63 letters, digits and underscores")
        check_frame(frame, name=name)
        table = _table_like(frame, name)
        text = [column.name for column in table.columns if isinstance(column.type, sa.Text)]
        rows = frame.astype(dict.fromkeys(text, "string")).astype(object)
        rows = rows.where(frame.notna(), None)
        with self._explained(), self._engine.begin() as connection:
            if sa.inspect(connection).has_table(name):
                if not replace:
                    raise ValueError(f"table {name!r} is there; name another or replace=True")
                table.drop(connection)
            table.create(connection)
            for _ in self._insert(connection, table, rows):
                pass

    def query(self, sql: str, **values) -> pd.DataFrame:
        """The rows that the SQL statement ``sql`` selects, as one frame.

        ``values`` fill its ``:name`` places, so that no text of a user becomes a part of the
        statement. A database keeps no order of rows: say ORDER BY where it matters. Raises
        StoreError for a statement that the database refuses.

        >>> with Store("sqlite://") as store:
        ...     store.write_table("seen", pd.DataFrame({"item": ["a", "a", "b"], "day": [0, 1, 1]}))
        ...     store.query("SELECT item, COUNT(*) AS n FROM seen WHERE day >= :day "
        ...                 "GROUP BY item ORDER BY item", day=1)
          item  n
        0    a     1
        1    b     1
        """
        with self._explained(), self._engine.connect() as connection:
            found = connection.execute(sa.text(sql), values)
            names = list(found.keys())
            # MySQL's averages and sums are Decimals
            return pd.DataFrame.from_records(found.all(), columns=names, coerce_float=True)

    def counts(self) -> dict[str, int]:
        """Number of rows of each table."""
        count = sa.select(sa.func.count())
        with self._explained(), self._engine.connect() as connection:
            return {
                name: connection.scalar(count.select_from(table))
                for name, table in metadata.tables.items()
            }

    def checksum(self, table: str) -> str:
        """`frame_checksum` of the table's content, computed in one streaming pass."""
        return f"{sum(_row_sum(part) for part in self.read(table)) % 2**64:016x}"

    def _insert(self, connection, table, rows):
        """Insert the frame ``rows``; yields the number of rows of each statement."""
        insert = str(table.insert().compile(dialect=self._engine.dialect))
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows.iloc[start : start + CHUNK_ROWS]
            # Tuples: with a dict per row SQLAlchemy itself would take most of the time.
            columns = [part[column].tolist() for column in part]
            connection.exec_driver_sql(insert, list(zip(*columns, strict=True)))
            yield len(part)

    def _check_references(self, tables, table, replace):
        links = sorted(table.foreign_key_constraints, key=lambda link: link.column_keys)  # a set
        for link in links:
            columns = link.column_keys
            parent = link.referred_table.name
            rows = tables[table.name][columns]
            loaded = [tables[parent]] if parent in tables else []
            stored = () if replace else self.read(parent, columns)
            for known in chain(loaded, stored):
                keys = pd.MultiIndex.from_frame(known[columns])
                rows = rows[~pd.MultiIndex.from_frame(rows).isin(keys)]
                if rows.empty:
                    break
            if len(rows):
                raise ValueError(
                    f"{table.name}: column {', '.join(map(repr, columns))} has {len(rows)} keys "
                    f"that {parent} does not hold, first {', '.join(map(str, rows.iloc[0]))}; "
                    f"add them to {parent} or drop the rows"
                )

    def _explained(self):
        return _explained(self._engine)


@contextmanager
def _explained(engine):
    """Turn the database's errors into a StoreError that says what to do."""
    try:
        yield
    except (SQLAlchemyError, RuntimeError) as error:  # PyMySQL raises bare RuntimeErrors too
        url = engine.url
        said = _said(error)
        if "timed out" in said:
            advice = (
                "the server did not answer in time, what was being written is rolled back; see "
                "whether it hangs, or let it take longer by ?read_timeout=3600 in the URL"
            )
        elif isinstance(error, DBAPIError) and error.connection_invalidated:
            advice = "the connection was lost, what was being written is rolled back: run it again"
        elif isinstance(error, IntegrityError):
            advice = "it refused the rows, nothing was written; drop them or use replace=True"
        else:
            known = (way for signs, way in _ADVICE.items() if any(s in said for s in signs))
            advice = next(known, "the database refuses")
        raise StoreError(f"{_shown(url)}: {advice} ({_redacted(error, url)})") from None


def read_query(
    url: str,
    query: str = "",
    *,
    table: str = "",
    columns: Sequence[str] | None = None,
    chunk_rows: int = 50_000,
) -> Iterator[pd.DataFrame]:
    """The rows of a ``query`` or a whole ``table`` of any database, as frames of ``chunk_rows``.

    The frames hold only ``columns`` where the answer has them all. One frame is held at a time; a
    query without rows gives one frame without rows. Raises StoreError as `Store` does.
    """
    engine = _engine(url)
    if table:
        query = f"SELECT * FROM {engine.dialect.identifier_preparer.quote_identifier(table)}"
    try:
        with _explained(engine), engine.connect() as connection:
            # no parameters: a colon or a percent sign in the query is itself
            options = {"yield_per": chunk_rows, "no_parameters": True}
            found = connection.execution_options(**options).exec_driver_sql(query)
            names = list(found.keys())
            narrow = columns is not None and set(columns) <= set(names)
            kept = [not narrow or name in columns for name in names]
            empty = True
            for rows in found.partitions(chunk_rows):  # else of one row: it is no compiled query
                empty = False
                yield pd.DataFrame(rows, columns=names).loc[:, kept]
            if empty:
                yield pd.DataFrame(columns=names)
    finally:
        engine.dispose()


def frame_checksum(frame: pd.DataFrame) -> str:
    """Checksum of the frame's content: 16 hexadecimal digits.

    Row order, column order and number types leave it alone: it is the sum modulo 2**64 of a hash of
    each row, so a row that is there twice counts twice. It finds accidents, not an attacker.
    Numbers are compared as float64 (ids up to 2**53), booleans as 0 and 1.
    """
    return f"{_row_sum(frame):016x}"


def _row_sum(frame):
    plain = {}
    for name in sorted(frame.columns):
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values.dtype):
            numbers = values.to_numpy(dtype=float, na_value=np.nan)
            numbers = numbers + 0.0  # -0.0 and 0.0 are one number
            # and so are all kinds of NaN
            plain[name] = np.where(np.isnan(numbers), np.nan, numbers)
        else:
            plain[name] = values.astype(object).to_numpy()
    hashes = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False)
    return int(hashes.to_numpy().sum(dtype=np.uint64))


def _table_like(frame, name):
    """A table without keys for the columns of any frame."""
    columns = []
    folded = {}
    for column in frame:
        if not column.strip():
            raise ValueError(f"{name}: a column has the blank name {column!r}; rename it")
        if (other := folded.setdefault(column.casefold(), column)) != column:
            raise ValueError(
                f"{name}: columns {other!r} and {column!r} differ in case alone, which a database "
                "does not see; rename one"
            )
        dtype = frame[column].dtype
        if pd.api.types.is_unsigned_integer_dtype(dtype) and (frame[column] >= 2**63).any():
            raise ValueError(
                f"{name}: column {column!r} has whole numbers of 2**63 and more; convert it by "
                "astype(str)"
            )
        if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_integer_dtype(dtype):
            kind = sa.BigInteger
        else:
            kind = sa.Double if pd.api.types.is_float_dtype(dtype) else sa.Text
        columns.append(sa.Column(str(column), kind))
    options = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
    return sa.Table(name, sa.MetaData(), *columns, **options)


def _known(name):
    if name not in metadata.tables:
        raise ValueError(f"no table {name!r}; tables there: {', '.join(metadata.tables)}")
    return metadata.tables[name]


def _check_values(frame, table):
    """Raise ValueError unless every row of ``frame`` fits ``table`` by itself."""
    columns = table.columns.keys()
    key = table.primary_key.columns.keys()
    check_frame(frame, columns, name=table.name, key=key, complete=True)
    more = [column for column in frame.columns if column not in columns]
    if more:
        more = ", ".join(map(repr, more))
        raise ValueError(f"{table.name}: the table has no column {more}; drop it from the frame")
    for column in table.columns:
        values = frame[column.name]
        label = f"{table.name}: column {column.name!r}"
        if isinstance(column.type, sa.String):
            longest = column.type.length
            wrong = sum(not _fits_text(value, longest) for value in values)
            problem = f"has {wrong} values that are not text of at most {longest} characters"
        elif not _is_real(values.dtype):
            wrong = len(values)
            problem = f"must hold numbers, not {values.dtype}; convert it first"
        else:
            check_range(values, **column.info, name=label)
            whole = isinstance(column.type, sa.Integer)
            wrong = int((values.to_numpy(dtype=float) % 1 != 0).sum()) if whole else 0
            problem = f"has {wrong} values that are not whole numbers; round or drop them first"
        if wrong:
            raise ValueError(f"{label} {problem}")


def _is_real(dtype):
    return pd.api.types.is_any_real_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)


def _fits_text(value, longest):
    """Whether ``value`` is text of at most ``longest`` characters that UTF-8 can say."""
    if not isinstance(value, str) or len(value) > longest:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _typed(rows, columns):
    kinds = {column.name: column.type.python_type for column in columns}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


# ---- the URL, and the password in no message ----------------------------------------------------


def _engine(url):
    # Each `from None` matters: the original exceptions quote parts of the URL.
    try:
        url = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        problem = "the database URL cannot be read (not shown: it may hold a password)"
        raise StoreError(f"{problem}; {_FORM}") from None
    if "@" in str(url.host):  # what stands before it belongs to the password, and would be shown
        problem = "the database URL has two '@' (not shown: it may hold a password)"
        raise StoreError(f"{problem}; write the password's as %40; {_FORM}")
    if max(map(ord, str(url.password or " "))) > 255:  # the driver's error would quote it
        problem = "the password holds characters beyond Latin-1, which cannot be sent"
        raise StoreError(f"{_shown(url)}: {problem}")
    try:
        # pre-ping replaces a connection that the server dropped while a notebook lay idle; the
        # positional styles are what `load` needs to send tuples
        style = "qmark" if url.get_backend_name() == "sqlite" else "format"
        waits = _WAITS if url.get_dialect().driver == "pymysql" else {}
        given = {name: wait for name, wait in waits.items() if name not in url.query}
        engine = sa.create_engine(url, pool_pre_ping=True, paramstyle=style, connect_args=given)
    except ImportError as error:
        problem = f"driver {error.name!r} is not installed; install it, or {_FORM}"
        raise StoreError(f"{_shown(url)}: {problem}") from None
    except (SQLAlchemyError, TypeError) as error:  # no such dialect, an option it does not know
        raise StoreError(f"{_shown(url)}: {_redacted(error, url)}; {_FORM}") from None
    if engine.dialect.name == "sqlite":  # it checks foreign keys only when asked to

        @sa.event.listens_for(engine, "connect")
        def _check_foreign_keys(connection, record):
            connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _own_file():
    paths.DATA.mkdir(parents=True, exist_ok=True)  # the user's data folder may not be there yet
    return f"sqlite:///{paths.DATA / 'shop.sqlite'}"


def _shown(url):
    shown = url.set(query={}).render_as_string(hide_password=True)
    return shown.replace(f"{paths.ROOT}{os.sep}", "")  # a notebook's output holds no absolute path


def _said(error):
    return str(getattr(error, "orig", None) or error)


def _redacted(error, url):
    """The error's own text without any spelling of the password, which drivers may quote."""
    text = _said(error)
    password = str(url.password or "")
    if 0 < len(password) < 3:  # what is taken out of ordinary words would betray it
        return "the driver's words are not shown, since they could show a password this short"
    for spelling in (password, quote(password), quote(password, safe="")):
        if spelling:
            text = text.replace(spelling, "***")
    return text
