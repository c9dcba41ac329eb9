"""The fixture ``database``: SQLite, DuckDB and MySQL, each with one table of a test's rows."""

import pyarrow as pa
import pytest
import sqlalchemy as sa

from causal_lib.data.store import Store

MYSQL = pytest.param("mysql", marks=[pytest.mark.mysql, pytest.mark.xdist_group("mysql")])


class Database:
    """A database that takes any frame as the table ``log``."""

    def __init__(self, kind, url):
        self.kind = kind
        self._url = url
        if kind == "duckdb":
            self.connection = pytest.importorskip("duckdb").connect()
        else:
            self.connection = sa.create_engine(url)

    def put(self, frame):
        if self.kind == "duckdb":
            self.connection.register("given", pa.Table.from_pandas(frame, preserve_index=False))
            self.connection.execute("CREATE OR REPLACE TABLE log AS SELECT * FROM given")
            return
        with Store(self._url) as store:
            store.write_table("log", frame, replace=True)

    def run(self, sql):
        if self.kind == "duckdb":
            self.connection.execute(sql)
        else:
            with self.connection.begin() as connection:
                connection.exec_driver_sql(sql)


@pytest.fixture(params=["sqlite", "duckdb", MYSQL])
def database(request, tmp_path):
    kind = request.param
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    found = Database(kind, request.getfixturevalue("mysql_url") if kind == "mysql" else url)
    yield found
    found.connection.close() if kind == "duckdb" else found.connection.dispose()
