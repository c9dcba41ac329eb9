"""A study of a log that lies in a database: the whole chain, and a server that goes away."""

import gc
import json
import sys

import pandas as pd
import pytest
import sqlalchemy as sa
from pymysql.cursors import SSCursor

from causal_lib.cli import main
from causal_lib.data import store
from causal_lib.data.store import Store
from causal_lib.studies import Roles, study
from tests.studies.conftest import ROLES, make_log

pytestmark = [pytest.mark.mysql, pytest.mark.xdist_group("mysql")]
ODD = {"cost": "价格 `<b>`"}  # a name that needs quotes in SQL and is markup on the page


@pytest.fixture
def at_work(tmp_path, monkeypatch, mysql_url):
    """An empty folder to work in, beside a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAUSAL_LIB_DB", mysql_url)
    Roles.from_dict(ROLES | {"before": [["age", "device", "joined"], [ODD["cost"]]]}).write(
        "roles.toml"
    )
    return tmp_path


def test_from_a_log_over_the_store_to_the_report(at_work, monkeypatch, capsys):
    log = make_log(600, seed=5).rename(columns=ODD)
    with Store() as there:
        there.write_table("own_log", log)
    parts = []
    streamed = []

    def small(*given, read=store.read_query, **how):
        for part in read(*given, **how, chunk_rows=250):
            parts.append(len(part))
            yield part

    fetch = SSCursor.fetchmany
    monkeypatch.setattr(
        SSCursor, "fetchmany", lambda cursor, size: streamed.append(size) or fetch(cursor, size)
    )
    monkeypatch.setattr(store, "read_query", small)
    assert main(["study", "table:own_log", "-p", "draws=2", "--out", "found"]) == 0
    assert parts == [250, 250, 100]
    assert streamed  # the server keeps what has not been read
    assert "found/report.html" in capsys.readouterr().out.replace("\\", "/")
    found = json.loads((at_work / "found" / "results.json").read_text(encoding="utf-8"))
    same = study(log, "roles.toml", draws=2, progress=False).to_dict()
    assert found["source"] == "table:own_log"
    for name, step in same["steps"].items():
        if name != "audit":  # its sentence names the source
            assert found["steps"][name] == json.loads(json.dumps(step)), name
    page = (at_work / "found" / "report.html").read_text(encoding="utf-8")
    assert "价格 `&lt;b&gt;`" in page
    assert "<b>`" not in page


def test_a_server_that_goes_away_in_the_middle_is_one_error(
    at_work, kill_connection, monkeypatch, capsys
):
    wide = make_log(600).rename(columns=ODD)
    wide = pd.concat([wide] * 100).assign(device="🎁" * 60)  # 15 MB, more than sockets buffer
    with Store() as there:
        there.write_table("own_log", wide)
    seen = []

    def note(dbapi, *rest):
        seen.append(dbapi.thread_id())

    def cut(cursor, size, fetch=SSCursor.fetchmany):
        rows = fetch(cursor, size)
        kill_connection(seen.pop())
        monkeypatch.setattr(SSCursor, "fetchmany", fetch)
        return rows

    sa.event.listen(sa.pool.Pool, "checkout", note)
    monkeypatch.setattr(SSCursor, "fetchmany", cut)
    try:
        status = main(["study", "SELECT * FROM own_log"])
    finally:
        sa.event.remove(sa.pool.Pool, "checkout", note)
    error = capsys.readouterr().err
    assert status == 2
    assert "the connection was lost" in error
    assert error.count("\n") == 1
    assert [path.name for path in at_work.iterdir()] == ["roles.toml"]
    # PyMySQL's cursor, when it is thrown away, stumbles over its dead connection once more
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    gc.collect()
    assert {type(report.exc_value) for report in ignored} <= {AttributeError}
    ignored.clear()
