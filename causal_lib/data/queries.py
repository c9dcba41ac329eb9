"""`Query`: a query whose sums the database computes, so that its rows stay where they are.

The SQL is built with SQLAlchemy Core. SQLite, MySQL and MariaDB are reached through an SQLAlchemy
engine or connection; a connection of DuckDB gets SQLAlchemy's standard SQL.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import and_, mul

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import quoted_name

_MYSQL = ("mysql", "mariadb")
DIALECTS = ("sqlite", *_MYSQL, "duckdb")
"""Names of the dialects whose sums are tested."""
_EXPRESSIONS = 900  # of one statement: SQLite takes 2,000 columns
_LARGEST = float(np.finfo(float).max)
_VECTOR = 2048  # rows of the unit in which DuckDB gives its frames
_NUMBERS = re.compile(
    r'(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN|"?NULL"?)'
)
_TEXTS = re.compile(r"(VARCHAR|ENUM).*", re.DOTALL)
# types of columns by their numbers in MySQL's protocol
_MYSQL_NUMBERS = {0, 1, 2, 3, 4, 5, 6, 8, 9, 13, 246}
_MYSQL_TEXTS = {15, 247, 248, 249, 250, 251, 252, 253, 254}
_MYSQL_OTHERS = {7: "TIMESTAMP", 10: "DATE", 11: "TIME", 12: "DATETIME", 16: "BIT", 245: "JSON"}


@dataclass(frozen=True)
class Found:
    """What a column holds.

    kind : 'number', 'text', or else the database's name of its type.
    filled : values that are not missing.
    infinite : of them, infinite numbers.
    """

    kind: str
    filled: int
    infinite: int


class _DuckDB(DefaultDialect):
    """SQLAlchemy's standard SQL for DuckDB."""

    default_paramstyle = "qmark"
    # else a divisor is cast to NUMERIC, which is rounded to three digits
    div_is_floordiv = False


class Query:
    """The rows that ``query`` selects, for sums over them.

    The query runs once for each pass of sums, so it must give the same rows each time. On MySQL all
    passes see the data as they were at the first.

    Parameters
    ----------
    connection : SQLAlchemy engine or connection, or a connection of DuckDB.
    query : text, in which a colon is a colon, or an SQLAlchemy select or text.
    """

    def __init__(self, connection, query):
        self._duckdb = type(connection).__module__.partition(".")[0] in ("duckdb", "_duckdb")
        if not self._duckdb and not isinstance(connection, sa.Engine | sa.Connection):
            raise ValueError(
                "connection: an SQLAlchemy engine or connection, or a connection of DuckDB, is "
                f"needed, not {type(connection).__name__}; make an engine by sqlalchemy."
                "create_engine(url)"
            )
        self._connection = connection
        self._dialect = _DuckDB() if self._duckdb else connection.dialect
        self.dialect = "duckdb" if self._duckdb else self._dialect.name
        if isinstance(query, str):
            query = sa.text(re.sub(r"(?<!\\):", r"\:", re.sub(r"[;\s]*$", "\n", query)))
        self.statement = query
        self._declared = None

    @contextmanager
    def reading(self) -> Iterator["Query"]:
        """The query on one connection, in one transaction, with the names and types of its
        columns.
        """
        opened = isinstance(self._connection, sa.Engine)
        within = Query(self._connection.connect() if opened else self._connection, self.statement)
        try:
            within._describe()
            yield within
        finally:
            if opened:
                within._connection.close()

    def _describe(self):
        text = isinstance(self.statement, sa.TextClause)
        self.table = (self.statement.columns() if text else self.statement).subquery("t")
        head = sa.select(sa.literal_column("*")).select_from(self.table).limit(0)
        if self._duckdb:
            described = self._execute(head).description
        else:
            with self._execute(head) as found:
                described = found.cursor.description
        self._declared = {str(column[0]): column[1] for column in described}

    @property
    def names(self) -> list[str]:
        """The columns, in their order."""
        return list(self._declared)

    def frames(self, rows: int) -> Iterator[pd.DataFrame]:
        """All rows, about ``rows`` at a time."""
        if self._duckdb:
            result = self._execute(self.statement)
            part = result.fetch_df_chunk(max(1, rows // _VECTOR))
            while len(part):
                yield part
                part = result.fetch_df_chunk(max(1, rows // _VECTOR))
            return
        # stream_results asks for a server-side cursor, else the MySQL driver would fetch the whole
        # result first
        statement = self.statement.execution_options(stream_results=True)
        yield from pd.read_sql(statement, self._connection, chunksize=rows)

    # ---- expressions -----------------------------------------------------------------------------

    def column(self, name: str):
        """The column as it stands."""
        return sa.column(quoted_name(name, quote=True))

    def number(self, name: str):
        """A column of numbers as float64; NaN, which DuckDB knows, counts as missing."""
        column = self.column(name)
        if self.dialect in _MYSQL:
            return column * sa.literal_column("1e0")  # not every version can CAST AS DOUBLE
        value = sa.cast(column, sa.Double)
        floating = str(self._declared[name]) in ("FLOAT", "DOUBLE")
        return sa.func.nullif(value, sa.literal(np.nan)) if floating else value

    def key(self, column):
        """A column of text to group by: letters of another case or blanks at the end make another
        level, whatever the database's collation.
        """
        if self.dialect in _MYSQL:
            utf8 = sa.func.convert(column.op("USING")(sa.literal_column("utf8mb4")))
            return sa.cast(utf8, sa.LargeBinary)
        if self.dialect == "duckdb":
            column = sa.cast(column, sa.String)
        return sa.collate(column, "binary")

    def count(self, condition):
        """The number of rows in which ``condition`` holds."""
        return sa.func.count(sa.case((condition, 1)))

    def total(self, *factors):
        """The sum of the product of the ``factors``, numbers; of none, the number of rows.

        DuckDB adds by Kahan's rule. A plain sum of 10^8 equal values is off by 1e-9.
        """
        if not factors:
            return sa.func.count()
        add = sa.func.kahan_sum if self.dialect == "duckdb" else sa.func.sum
        return add(reduce(mul, factors))

    # ---- answers ---------------------------------------------------------------------------------

    def inspect(self, names: Sequence[str]) -> tuple[int, dict[str, Found]]:
        """The number of rows, and what each of the columns ``names`` holds.

        Raises ValueError for a column that SQLite types row by row, where it holds both numbers and
        text.
        """
        asked = []
        for name in names:
            column = self.column(name)
            kind = self._kind(self._declared[name])
            number = kind == "number" or self.dialect == "sqlite"
            none = sa.literal(0)
            types = [none, none, none]  # rows of numbers, of text, of bytes
            if self.dialect == "sqlite":
                stored = sa.func.typeof(column)
                types = [
                    self.count(stored.in_(kinds))
                    for kinds in (["integer", "real"], ["text"], ["blob"])
                ]
            elif self.dialect in _MYSQL and kind == "text":
                types = [none, none, self.count(sa.func.charset(column) == "binary")]
            value = self.number(name) if number else column
            far = self.count(sa.func.abs(value) > _LARGEST) if number else none
            asked += [sa.func.count(value), far, *types]
        rows, *answers = self.sums(self.table, [sa.func.count(), *asked])
        answers = np.array(answers, dtype=int).reshape(-1, 5).tolist()
        found = {}
        for name, (filled, infinite, *types) in zip(names, answers, strict=True):
            kind = self._kind(self._declared[name])
            if self.dialect == "sqlite":
                kind = self._sqlite_kind(name, *types)
            elif types[-1]:
                kind = "BLOB"
            found[name] = Found(kind, filled, infinite)
        return int(rows), found

    def _kind(self, declared):
        if self.dialect == "duckdb":
            declared = str(declared)
            kinds = {"number": _NUMBERS.fullmatch(declared), "text": _TEXTS.fullmatch(declared)}
        else:
            kinds = {"number": declared in _MYSQL_NUMBERS, "text": declared in _MYSQL_TEXTS}
            declared = _MYSQL_OTHERS.get(declared, f"number {declared} of the protocol")
        return next((kind for kind, fits in kinds.items() if fits), declared)

    @staticmethod
    def _sqlite_kind(name, numbers, texts, blobs):
        kinds = {"numbers": numbers, "texts": texts, "blobs": blobs}
        kinds = {kind: count for kind, count in kinds.items() if count}
        if len(kinds) > 1:
            counts = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
            raise ValueError(
                f"column {name!r} holds {counts}; make it one type in the query, as by CAST, or "
                "leave those rows out"
            )
        return "text" if texts else "BLOB" if blobs else "number"

    def sums(self, table, expressions: Sequence, *, where=None) -> list:
        """One row of aggregates of ``table``, in as many statements as the database needs."""
        where = sa.true() if where is None else where
        found = []
        for start in range(0, len(expressions), _EXPRESSIONS):
            asked = [
                expression.label(f"s{k}")
                for k, expression in enumerate(expressions[start : start + _EXPRESSIONS])
            ]
            found += self.rows(sa.select(*asked).select_from(table).where(where))[0]
        return found

    def rows(self, select) -> list[tuple]:
        """All rows of ``select``, as tuples; ValueError where a sum overflows."""
        try:
            found = self._execute(select)
            return found.fetchall() if self._duckdb else [tuple(row) for row in found]
        except Exception as error:
            known = isinstance(error, DBAPIError) or "duckdb" in type(error).__module__
            said = str(getattr(error, "orig", None) or error).splitlines()[0]
            if known and re.search("out of range", said, re.IGNORECASE):
                raise ValueError(
                    f"query: a sum or product is not finite ({said[:200]}); rescale the largest "
                    "column in the query"
                ) from None
            raise

    def _execute(self, select):
        if not self._duckdb:
            return self._connection.execute(select)
        compiled = select.compile(dialect=self._dialect)
        values = compiled.construct_params()
        given = [values[name] for name in compiled.positiontup or ()]
        return self._connection.execute(str(compiled), given)


def all_of(conditions: Sequence):
    """Whether all ``conditions`` hold."""
    return reduce(and_, conditions) if conditions else sa.true()


def check_query_columns(wanted: Mapping[str, str | None], names: Sequence[str]) -> None:
    """Raise ValueError unless the columns ``wanted``, by argument, are among ``names``."""
    for argument, name in wanted.items():
        if name is not None and name not in names:
            raise ValueError(
                f"{argument}: no column {name!r}; columns there: {', '.join(map(str, names))}"
            )
