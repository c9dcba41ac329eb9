import gzip
import sqlite3

import pandas as pd
import pyarrow as pa
import pytest

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
