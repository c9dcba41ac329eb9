"""Bad input of the command: one clear error with the way out, status 2, nothing written."""

import sqlite3

import numpy as np
import pandas as pd
import pytest

from causal_lib.cli import main
from causal_lib.studies import LogError, Roles, read_log
from tests.studies.conftest import ROLES, make_log

LOG = make_log()


def csv(path, frame=LOG, **how):
    frame.to_csv(path / "log.csv", index=False, **how)
    return "log.csv"


def changed(**columns):
    """Writes the log with some columns changed."""

    def write(path):
        frame = LOG.copy()
        for name, make in columns.items():
            frame[name] = make(frame)
        return csv(path, frame)

    return write


def renamed(**names):
    return lambda path: csv(path, LOG.rename(columns=names))


def text(content, name="log.csv"):
    def write(path):
        data = content if isinstance(content, bytes) else content.encode()
        (path / name).write_bytes(data)
        return name

    return write


def one_value(column, value, row=3):
    """A changed column: ``value`` in one row."""

    def make(frame):
        values = frame[column].astype(object)
        values[row] = value
        return values

    return {column: make}


def plain(path):
    return csv(path)


def candidates_twice(path):
    frame = pd.concat([LOG, LOG[:5].assign(shown=1 - LOG["shown"][:5])])
    return csv(path, frame)


def truncated_parquet(path):
    LOG.to_parquet(path / "log.parquet")
    whole = (path / "log.parquet").read_bytes()
    (path / "log.parquet").write_bytes(whole[: len(whole) // 2])
    return "log.parquet"


def truncated_gzip(path):
    LOG.to_csv(path / "log.csv.gz", index=False)
    whole = (path / "log.csv.gz").read_bytes()
    (path / "log.csv.gz").write_bytes(whole[: len(whole) // 2])
    return "log.csv.gz"


def empty_folder(path):
    (path / "parts").mkdir()
    return "parts"


def database(path):
    with sqlite3.connect(path / "shop.sqlite") as connection:
        LOG.to_sql("log", connection, index=False)
    connection.close()


def no_table(path):
    database(path)
    return "shop.sqlite#nothing"


def table_not_named(path):
    database(path)
    return "shop.sqlite"


def no_database(path):
    (path / "shop.sqlite").write_text("this is no database, only text that is long enough " * 50)
    return "shop.sqlite#log"


def damaged(path):
    lines = LOG.to_csv(index=False).splitlines()
    lines[50] = lines[50].replace("u", "u\0", 1)
    return text("\n".join(lines))(path)


def quote_left_open(path):
    lines = LOG.to_csv(index=False).splitlines()
    lines[100] = '"' + lines[100]
    return text("\n".join(lines))(path)


def other_encoding_further_down(path):
    content = LOG.assign(joined="").loc[np.arange(3000) % len(LOG)].to_csv(index=False).encode()
    place = content.rfind(b"phone")
    assert place > 2**16  # beyond what the encoding is guessed from
    return text(content[:place] + b"b\xfcro" + content[place + 5 :])(path)


def parquet(**columns):
    def write(path):
        LOG.assign(**columns).to_parquet(path / "log.parquet")
        return "log.parquet"

    return write


def query(asked):
    def write(path):
        database(path)
        return f"shop.sqlite#{asked}"

    return write


def mixed_zones(frame):
    return [one.replace("+08:00", "") if n % 2 else one for n, one in enumerate(frame["time"])]


CASES = {
    # ---- the file
    "no file": (lambda path: "absent.csv", {}, "no file or folder 'absent.csv'"),
    "empty file": (text(""), {}, "is empty"),
    "only a header": (lambda path: csv(path, LOG[:0]), {}, "no rows"),
    "kind of file": (text("x", "log.xlsx"), {}, "files of kind .xlsx are not read"),
    "wrong encoding": (plain, {"encoding": "utf-16"}, "log.csv"),
    "unknown encoding": (plain, {"encoding": "klingon"}, "unknown encoding 'klingon'"),
    "not in the named encoding": (
        lambda path: csv(path, LOG.assign(device="büro"), encoding="cp1252"),
        {"encoding": "utf-8"},
        "is no utf-8; name its encoding",
    ),
    "wrong separator": (plain, {"separator": ";"}, "has one column when read with"),
    "more cells than names": (
        text(LOG.to_csv(index=False).replace("\n", ",7\n").replace("bought,7", "bought")),
        {},
        "Expected 10 columns, got 11",
    ),
    "a line of another length": (
        text(LOG.to_csv(index=False) + "1,0,7,7,1,1,1,1,1,1,1,1,1,1\n"),
        {},
        "log.csv is no table",
    ),
    "broken parquet": (truncated_parquet, {}, "log.parquet cannot be read"),
    "broken gzip": (truncated_gzip, {}, "cannot be read"),
    "no parquet in the folder": (empty_folder, {}, "holds no .parquet files"),
    "table that is not there": (no_table, {}, "no such table"),
    "table that is not named": (table_not_named, {}, "shop.sqlite#table"),
    "a database that is none": (no_database, {}, "not a database"),
    "query without a database": (lambda path: "SELECT * FROM log", {}, "CAUSAL_LIB_DB"),
    # ---- names
    "two columns of one name": (
        text("shown,shown,bought\n1,1,0\n"),
        {},
        "2 columns are named 'shown'",
    ),
    "column that is not there": (renamed(cost="price"), {}, "no column 'cost'"),
    "name with a blank": (renamed(cost="cost "), {}, "no column 'cost'; columns there:"),
    "name that is markup": (renamed(cost="<script>"), {}, "'<script>'"),
    "Chinese name": (renamed(cost="价格"), {}, "'价格'"),
    # ---- roles
    "unknown role": (plain, {"tretment": "shown"}, "did you mean 'treatment'?"),
    "a role named twice": (plain, {"after": ["clicked", "cost"]}, "'cost' is named twice"),
    "treatment is outcome": (plain, {"outcome": "shown"}, "named twice (treatment, outcome)"),
    "no treatment": (plain, {"treatment": ""}, "treatment is not named"),
    "an edge of strangers": (plain, {"known": [["clicked", "bought"]]}, "nor in before"),
    "an edge of one": (plain, {"impossible": [["cost"]]}, "is no edge"),
    # ---- values
    "mixed numbers and text": (changed(**one_value("cost", "n/k")), {}, "mixes numbers and text"),
    "infinite": (changed(**one_value("cost", "inf")), {}, "1 infinite value"),
    "dates that cannot be read": (changed(**one_value("joined", "soon")), {}, "no dates"),
    "dates in two ways": (
        changed(joined=lambda frame: "03/04/2023"),
        {},
        "can be read in two ways, as '03/04/2023'",
    ),
    "times that cannot be read": (changed(**one_value("time", "noon")), {}, "no dates, as 'noon'"),
    "mixed zones": (changed(time=mixed_zones), {}, "mixes times with a zone (300 rows)"),
    "a time that is missing": (changed(**one_value("time", None)), {}, "missing in 1 rows"),
    "ids with blanks": (changed(**one_value("user", " u1")), {}, "blanks at an end, as ' u1'"),
    "an id that is missing": (changed(**one_value("user", None)), {}, "unit 'user' is missing"),
    "one arm": (changed(shown=lambda frame: 1), {}, "all 600 rows are treated"),
    "three arms": (changed(**one_value("shown", 2)), {}, "it has 3 levels ('0', '1', '2')"),
    "arms in words": (
        changed(shown=lambda frame: np.where(frame["shown"], "yes", "no")),
        {},
        "name the two to compare by control",
    ),
    "an arm that is not there": (
        plain,
        {"control": "no", "treated": "yes"},
        "neither 'no' nor 'yes'",
    ),
    "an outcome of text": (
        changed(bought=lambda frame: np.where(frame["bought"], "yes", "no")),
        {},
        "outcome 'bought' holds text",
    ),
    "a constant outcome": (changed(bought=lambda frame: 0), {}, "is 0 in all 600 rows"),
    "only missing outcomes": (changed(bought=lambda frame: None), {}, "only missing values"),
    "propensity of a percentage": (
        changed(chance=lambda frame: 50.0),
        {"propensity": "chance"},
        "600 values outside (0, 1], first 50",
    ),
    "propensity 0": (changed(chance=lambda frame: 0.0), {"propensity": "chance"}, "outside (0, 1]"),
    "propensity of another thing": (
        changed(chance=lambda frame: 0.01),
        {"propensity": "chance"},
        "adds up to 6 treated rows",
    ),
    "propensity that is missing": (
        changed(chance=lambda frame: frame["age"] / 100),
        {"propensity": "chance"},
        "propensity 'chance' is missing in",
    ),
    "candidates twice": (candidates_twice, {}, "5 candidates (user, item, time) are both treated"),
    "the outcome in a column": (
        changed(cost=lambda frame: 3.0 * frame["bought"]),
        {},
        "'cost' tells 100.0% of the outcome",
    ),
    "a column of the treated only": (
        changed(cost=lambda frame: frame["shown"] * (1 + np.arange(len(frame)) % 7)),
        {},
        "it is written when the treatment happens",
    ),
    "a date after the row": (
        changed(joined=lambda frame: "2025-01-01"),
        {},
        "later than the row's time in 600 rows",
    ),
    "too few rows": (lambda path: csv(path, LOG[:40]), {}, "40 rows are left"),
    "candidates that are absent": (plain, {"candidates": "more.csv"}, "'more.csv'"),
    # ---- found by trying odd logs
    "bytes of nothing in an id": (damaged, {}, "1 ids with signs that cannot be seen, as 'u\\x00"),
    "an id with a mark that is not seen": (
        changed(**one_value("user", "u1\u200b")),
        {},
        "1 ids with signs that cannot be seen, as 'u1\\u200b'",
    ),
    "ids that a spreadsheet rounded": (
        changed(user=lambda frame: [f"1.2345{n % 9}E+11" for n in range(len(frame))]),
        {},
        "a spreadsheet has rounded them",
    ),
    "a quote that is left open": (quote_left_open, {}, "stands in quotes"),
    "another encoding further down": (other_encoding_further_down, {}, "is no utf-8; name its"),
    "two files put together": (
        text(2 * LOG.to_csv(index=False)),
        {},
        "1 rows repeat the header",
    ),
    "a column of lists": (parquet(device=[[1], [2]] * 300), {}, "'device' holds ndarrays"),
    "a column of bytes": (parquet(device=[b"a", b"b"] * 300), {}, "'device' holds bytes"),
    "one unit": (changed(user=lambda frame: "u1"), {}, "600 rows are of 1 unit ('user')"),
    "rows that stand twice": (
        lambda path: csv(path, pd.concat([LOG, LOG])),
        {"unit": "", "item": "", "time": "", "before": [["cost"]]},
        "stands 2 times",
    ),
    "a propensity of other rows": (
        changed(chance=lambda frame: np.where(frame["shown"] == 1, 0.3, 0.7)),
        {"propensity": "chance"},
        "propensity 'chance' does not fit 'shown'",
    ),
    "two units": (
        changed(user=lambda frame: np.where(frame.index % 2, "u1", "u2")),
        {},
        "600 rows are of 2 units ('user'); at least 5",
    ),
    "a control that is constant": (
        changed(control=lambda frame: 1),
        {"negative_control": "control"},
        "negative_control 'control' is 1 in all 600 rows",
    ),
    "a price of nothing": (changed(paid=lambda frame: 0), {"price": "paid"}, "'paid' is 0 in all"),
    "a price of text": (
        changed(paid=lambda frame: "free"),
        {"price": "paid"},
        "price 'paid' holds",
    ),
    "outcomes of one arm only": (
        changed(bought=lambda frame: frame["bought"].mask(frame["shown"] == 1)),
        {},
        "rows are untreated",
    ),
    "a query of two columns of one name": (
        query("SELECT *, cost FROM log"),
        {},
        "2 columns are named 'cost'",
    ),
    "a query that is cut": (query("SELECT * FROM log WHERE"), {}, "incomplete input"),
    "two queries": (query("SELECT * FROM log; DROP TABLE log"), {}, "one statement at a time"),
}


def run(capsys, *arguments):
    status = main(["study", *arguments])
    written = capsys.readouterr()
    return status, written.err


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_error_and_leaves_nothing(case, tmp_path, monkeypatch, capsys):
    write, roles, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAUSAL_LIB_DB", raising=False)
    log = write(tmp_path)
    lines = ROLES | roles
    from causal_lib.studies.roles import quoted

    (tmp_path / "roles.toml").write_text(
        "\n".join(f"{name} = {quoted(value)}" for name, value in lines.items()), encoding="utf-8"
    )
    before = sorted(tmp_path.rglob("*"))
    status, error = run(capsys, log)
    assert status == 2
    assert message in error
    assert error.startswith("causal-lib: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "budget=2"], "budget: a share in (0, 1]"),
        (["-p", "budget=much"], "'much' is no number"),
        (["-p", "cost=-1"], "cost"),
        (["-p", "draws=0"], "draws"),
        (["-p", "colour=1"], "unknown parameter 'colour'"),
        (["-p", "seed"], "-p takes name=value"),
        (["-p", "seed=1", "-p", "seed=2"], "given twice"),
        (["--graph", "absent.toml"], "graph: no file 'absent.toml'"),
        (["--roles", "absent.toml"], "--guess"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path, monkeypatch, capsys, roles):
    monkeypatch.chdir(tmp_path)
    log = csv(tmp_path)
    roles.write("roles.toml")
    before = sorted(tmp_path.rglob("*"))
    status, error = run(capsys, log, *arguments)
    assert status == 2
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("edges = [", "cannot be read"),
        ('edges = [["age", "bought"]]', "edges is a list of"),
        ('edges = [["age", "=>", "bought"]]', "sign '=>'"),
        (
            'edges = [["colour", "->", "bought"], ["shown", "->", "bought"]]',
            "'colour' is no column",
        ),
        ('edges = [["age", "->", "bought"]]', "the treatment 'shown' has no edge"),
        ('edges = [["bought", "->", "age"], ["shown", "->", "bought"]]', "against the tiers"),
        ("edge = []", "unknown name 'edge'"),
    ],
)
def test_bad_graphs(content, message, tmp_path, monkeypatch, capsys, roles):
    monkeypatch.chdir(tmp_path)
    log = csv(tmp_path)
    roles.write("roles.toml")
    (tmp_path / "graph.toml").write_text(content, encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    status, error = run(capsys, log, "--graph", "graph.toml")
    assert status == 2
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('treatment = "shown"'.encode("utf-16"), "save it as UTF-8"),
        (b"treatment = shown", "is no TOML"),
        (b"[treatment]\nname = 'shown'", "treatment is one text, not {'name': 'shown'}"),
        (
            b"treatment = 'shown'\noutcome = 'bought'\nbefore = {a = 1}",
            "before is a list of tiers, not",
        ),
        (
            b"treatment = 'shown'\noutcome = 'bought'\nafter = {a = 1}",
            "after is a list, not {'a': 1}",
        ),
        (
            b"treatment = 'shown'\noutcome = 'bought'\nknown = {a = 1}",
            "known is a list of edges, not",
        ),
        (None, "cannot be read"),
    ],
)
def test_bad_files_of_roles(content, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = csv(tmp_path)
    path = tmp_path / "roles.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    status, error = run(capsys, log)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_guess_overwrites_no_roles(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roles.toml").write_text("mine", encoding="utf-8")
    status, error = run(capsys, csv(tmp_path), "--guess")
    assert status == 2
    assert "is there already" in error
    assert (tmp_path / "roles.toml").read_text(encoding="utf-8") == "mine"


def test_a_guess_that_cannot_be_made_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = csv(tmp_path, LOG.rename(columns={"shown": "a", "clicked": "b"}))
    status, error = run(capsys, log, "--guess")
    assert status == 2
    assert "no column can be told to be the treatment" in error
    assert not (tmp_path / "roles.toml").exists()


def test_mixed_ids_in_a_frame():
    log = LOG.assign(user=[1 if n % 2 else "1" for n in range(len(LOG))])
    from causal_lib.studies import prepare

    with pytest.raises(LogError, match="mixes ids of types int and str"):
        prepare(read_log(log), Roles.from_dict(ROLES))


def test_a_database_that_ends_in_the_middle(monkeypatch):
    from causal_lib.data import store

    def broken(*given, **options):
        yield LOG[:100]
        raise store.StoreError("mysql://host/shop: the connection was lost")

    monkeypatch.setattr(store, "read_query", broken)
    monkeypatch.setenv("CAUSAL_LIB_DB", "sqlite://")
    with pytest.raises(LogError, match="the connection was lost"):
        read_log("table:log")
