import gzip
import sqlite3
import sys

import pandas as pd
import pyarrow as pa
import pytest

from causal_lib.data import store
from causal_lib.studies import LogError, read_log
from causal_lib.studies.reading import guess_encoding, guess_separator

ROWS = pd.DataFrame({"城市": ["上海", "北京", "广州"], "x": [1, 2, 3], "y": [0.5, None, 1.5]})


def check(found):
    frame = found.frame[["城市", "x", "y"]]
    assert frame["城市"].tolist() == ["上海", "北京", "广州"]
    assert frame["x"].astype(int).tolist() == [1, 2, 3]
    assert frame["y"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_a_text_in_any_usual_encoding(encoding, tmp_path):
    path = tmp_path / "log.csv"
    ROWS.to_csv(path, index=False, encoding=encoding)
    check(read_log(path))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_text_with_any_usual_separator(separator, tmp_path):
    path = tmp_path / "log.csv"
    ROWS.to_csv(path, index=False, sep=separator)
    check(read_log(path))


def test_a_guess_is_said(tmp_path):
    path = tmp_path / "log.csv"
    ROWS.to_csv(path, index=False, encoding="gb18030", sep=";")
    notes = " ".join(read_log(path).notes)
    assert "gb18030" in notes
    assert "';'" in notes


def test_western_text_is_not_taken_for_chinese():
    assert guess_encoding("âge;Größe;café\n1;2;naïve".encode("cp1252")) == "cp1252"


def test_a_decimal_comma_is_no_separator():
    assert guess_separator("a;b\n1,5;2,5\n2,5;3,5\n") == ";"


def test_packed_text_parquet_folder_arrow_and_database(tmp_path):
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(ROWS.to_csv(index=False).encode()))
    folder = tmp_path / "parts"
    (folder / "day=1").mkdir(parents=True)
    ROWS[:2].to_parquet(folder / "day=1" / "a.parquet")
    ROWS[2:].to_parquet(folder / "b.parquet")
    ROWS.to_parquet(tmp_path / "log.parquet")
    ROWS.to_feather(tmp_path / "log.feather")
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        ROWS.to_sql("a log", connection, index=False)
    connection.close()
    for source in (packed, tmp_path / "log.parquet", tmp_path / "log.feather"):
        check(read_log(source))
    check(read_log(f"{tmp_path / 'shop.sqlite'}#a log"))
    check(read_log(pa.Table.from_pandas(ROWS)))
    check(read_log(ROWS))
    parts = read_log(folder).frame.sort_values("x", ignore_index=True)
    pd.testing.assert_frame_equal(parts[["x"]], ROWS[["x"]])


def test_a_query_and_a_table_of_the_named_database(tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        ROWS.to_sql("log", connection, index=False)
    connection.close()
    monkeypatch.setenv("CAUSAL_LIB_DB", f"sqlite:///{tmp_path / 'shop.sqlite'}")
    check(read_log("table:log"))
    found = read_log("SELECT x, 'a:b %' AS z FROM log WHERE x > 1")
    assert found.frame.values.tolist() == [[2, "a:b %"], [3, "a:b %"]]


def test_a_query_of_a_file(tmp_path):
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        ROWS.to_sql("log", connection, index=False)
    connection.close()
    found = read_log(f"{tmp_path / 'shop.sqlite'}#select x from log where x > 1")
    assert found.frame["x"].tolist() == [2, 3]


def test_a_table_is_read_in_parts_that_hold_only_the_columns_asked_for(tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        pd.concat([ROWS] * 40).to_sql("log", connection, index=False)
    connection.close()
    parts = []

    def small(*given, read=store.read_query, **how):
        for part in read(*given, **how, chunk_rows=50):
            parts.append(part.shape)
            yield part

    monkeypatch.setattr(store, "read_query", small)
    frame = read_log(f"{tmp_path / 'shop.sqlite'}#log", columns=["y", "x"]).frame
    assert parts == [(50, 2), (50, 2), (20, 2)]
    assert frame["x"].tolist() == [1, 2, 3] * 40


def duckdb_file(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute('CREATE TABLE "a log" (城市 VARCHAR, x INTEGER, y DOUBLE)')
        connection.executemany(
            'INSERT INTO "a log" VALUES (?, ?, ?)',
            [("上海", 1, 0.5), ("北京", 2, None), ("广州", 3, 1.5)],
        )
    return path


def test_a_table_and_a_query_of_duckdb(tmp_path):
    path = duckdb_file(tmp_path / "shop.duckdb")
    check(read_log(f"{path}#a log"))
    query = 'SELECT x, range AS n FROM "a log", range(60000)'  # more than one part
    found = read_log(f"{path}#{query}", columns=["n"]).frame
    assert list(found) == ["n"]
    assert len(found) == 180_000
    assert not len(read_log(f"{path}#{query} LIMIT 1").frame) - 1
    for asked, message in (
        ("nothing", "nothing does not exist"),
        ('SELECT z FROM "a log"', '"z" not found'),
        (f"{query} WHERE x > 3", "it has no rows"),
    ):
        with pytest.raises(LogError, match=message):
            read_log(f"{path}#{asked}")
    with pytest.raises(LogError, match=r"no column 'z'; columns there: '城市', 'x', 'y'"):
        read_log(f"{path}#a log", columns=["z"])


def test_duckdb_that_is_not_installed_is_one_error_that_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "shop.duckdb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(LogError, match=r"pip install 'causal-lib\[duckdb\]' brings it"):
        read_log(f"{tmp_path / 'shop.duckdb'}#log")


def test_parts_below_a_folder_with_a_column_in_its_name(tmp_path):
    for number, name in enumerate(("day=1", "day=2", "_temporary", ".hidden")):
        (tmp_path / name).mkdir()
        ROWS[number : number + 1].to_parquet(tmp_path / name / "part.parquet")
    found = read_log(tmp_path, columns=["x", "day"]).frame
    assert sorted(map(tuple, found.astype(int).values.tolist())) == [(1, 1), (2, 2)]


def test_parts_of_other_columns_are_refused(tmp_path):
    ROWS.to_parquet(tmp_path / "a.parquet")
    ROWS.drop(columns="y").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(LogError, match=r"a.parquet and b.parquet .* 'y' is in one of them only"):
        read_log(tmp_path)


def test_arrow_streams_and_batches(tmp_path):
    table = pa.Table.from_pandas(ROWS)
    with pa.ipc.new_stream(tmp_path / "log.arrow", table.schema) as stream:
        stream.write(table)
    check(read_log(tmp_path / "log.arrow"))
    assert list(read_log(table.to_reader(), columns=["x"]).frame) == ["x"]


def test_a_text_too_long_for_a_path_is_one_error():
    with pytest.raises(LogError, match="a query begins with SELECT"):
        read_log("-- a comment\n" * 400)


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    ROWS.to_parquet(tmp_path / "log.parquet")
    assert list(read_log(tmp_path / "log.parquet", columns=["y", "x"]).frame) == ["y", "x"]


def test_other_spellings_of_missing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,?\n2,3\n", encoding="utf-8")
    assert read_log(path, missing=["?"]).frame["b"].isna().tolist() == [True, False]


def test_the_error_lists_what_is_there(tmp_path):
    ROWS.to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(LogError, match=r"no column 'z'; columns there: '城市', 'x', 'y'"):
        read_log(tmp_path / "log.csv", columns=["z"])


def test_spellings_of_missing_are_those_of_every_source():
    log = pd.DataFrame(
        {
            "id": [2**60 + 1, -999, 3],
            "age": [40.0, -999.0, 30.0],
            "city": ["a", "n/a", "-999.0"],
            "group": pd.Categorical(["u", "n/a", "v"]),
            "joined": pd.to_datetime(["2024-01-01", "1900-01-01", "2024-02-02"], utc=True),
            "small": pd.array([1, -999, 2], dtype="Int64"),
            "seen": [True, False, True],
        }
    )
    found = read_log(log, missing=["n/a", "-999", "1900-01-01"]).frame
    assert found.isna().sum().tolist() == [1, 1, 2, 1, 1, 1, 0]
    assert found["id"][0] == 2**60 + 1
    assert found["id"].isna()[1]
    as_arrow = read_log(pa.Table.from_pandas(log), missing=["n/a", "-999", "1900-01-01"]).frame
    assert as_arrow.isna().sum().tolist() == [1, 1, 2, 1, 1, 1, 0]
    assert read_log(log).frame.equals(log)
