"""Text files as spreadsheets and databases write them: read as what they mean, or refused."""

import gzip

import numpy as np
import pandas as pd
import pytest

from causal_lib.cli import main
from causal_lib.studies import LogError, Roles, open_log
from causal_lib.studies import columns as reading
from tests.studies.conftest import ROLES, make_log

LOG = make_log(200, seed=3).assign(joined=lambda log: log["joined"].str.replace("-11", "-23"))
LOG["time"] = LOG["time"].str.removesuffix("+08:00")
JOINED = pd.to_datetime(LOG["joined"])
TIME = pd.to_datetime(LOG["time"])


def text(log=LOG, **how):
    return log.to_csv(index=False, **how)


def with_commas():
    found = LOG.copy()
    for name in ("age", "cost"):
        found[name] = [str(one).replace(".", ",") if one == one else "" for one in LOG[name]]
    return found


def dates(joined, time):
    return LOG.assign(
        joined=[joined.format(d=one) for one in JOINED], time=[time.format(d=one) for one in TIME]
    )


SAME = {
    "mark.csv": text().encode("utf-8-sig"),
    "mark.csv.gz": gzip.compress(text().encode("utf-8-sig")),
    "not_packed.csv.gz": text().encode(),
    "packed.csv": gzip.compress(text().encode()),
    "UPPER.CSV": text().encode(),
    "comma.csv": text(with_commas(), sep=";").encode("cp1252"),
    "comma.tsv": text(with_commas(), sep="\t").encode(),
    "comma_in_quotes.csv": text(with_commas()).encode(),
    "excel_separator.csv": ("sep=;\r\n" + text(sep=";")).encode(),
    "excel_unicode.txt": text(sep="\t").encode("utf-16"),
    "utf16_without_mark.csv": text().encode("utf-16-be"),
    "day_first.csv": text(dates("{d:%d.%m.%Y}", "{d:%d.%m.%Y %H:%M}")).encode(),
    "day_first_slash.csv": text(dates("{d:%d/%m/%Y}", "{d:%Y-%m-%d %H:%M}")).encode(),
    "month_first.csv": text(dates("{d:%m/%d/%Y}", "{d:%Y/%m/%d %I:%M %p}")).encode(),
    "short.csv": text(dates("{d.year}/{d.month}/{d.day}", "{d.year}-{d.month}-{d.day} {d.hour}:00")),
    "chinese.csv": text(dates("{d.year}年{d.month}月{d.day}日", "{d:%Y年%m月%d日 %H:%M}")).encode(
        "gb18030"
    ),
    "true_false.csv": text(LOG.assign(bought=LOG["bought"] == 1, shown=LOG["shown"] == 1)).encode(),
    "trailing_separator.csv": text().replace("\n", ",\n").encode(),
    "pandas_index.csv": LOG.to_csv().encode(),
    "blank_lines.csv": ("\n\n" + text() + "\n\n").encode(),
    "carriage_returns.csv": text().replace("\n", "\r").encode(),
    "windows.csv": text().replace("\n", "\r\n").encode(),
    "mysql.csv": text(na_rep="\\N").encode(),
    "thousands.csv": text(LOG.assign(cost=[f"{one:,.2f}" for one in 1e4 * LOG["cost"]])).encode(),
}  # fmt: skip


@pytest.fixture(scope="module")
def clean():
    return open_log(LOG, ROLES).frame


@pytest.mark.parametrize("name", SAME)
def test_the_same_log_in_another_spelling(name, clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = SAME[name]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    found = open_log(name, ROLES).frame
    if name == "thousands.csv":
        found["cost"] = (found["cost"] / 1e4).round(2)
    assert list(found) == list(clean)
    for column in clean:
        assert (found[column] == clean[column]).all(), column
    assert main(["study", name, "--guess"]) == 0
    guessed = Roles.read("roles.toml")
    assert (guessed.treatment, guessed.outcome, guessed.unit) == ("shown", "bought", "user")


REFUSED = {
    "a day or a month": (
        text(dates("{d:%m/%m/%Y}", "{d:%Y-%m-%d}")),
        "'joined' holds dates that can be read in two ways",
    ),
    "years of two digits": (text(dates("{d:%d.%m.%y}", "{d:%Y-%m-%d}")), "read in two ways"),
    "thousands or decimals": (
        text(LOG.assign(cost=[f"{int(one)},{int(1e4 * one) % 900 + 100}" for one in LOG["cost"]])),
        "'cost' holds numbers that can be read in two ways",
    ),
    "money": (text(LOG.assign(cost=[f"¥{one}" for one in LOG["cost"]])), "numbers with signs"),
    "dollars": (text(LOG.assign(cost=[f"{one} USD" for one in LOG["cost"]])), "numbers with signs"),
    "shares": (text(LOG.assign(cost=[f"{one:.1f}%" for one in LOG["cost"]])), "numbers with signs"),
    "a title above": ("Export of the shop, 2024\n" + text(), "is the first line the header"),
    "a zip archive": (b"PK\x03\x04" + b"0" * 100, "is a zip archive (or a workbook)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(case, tmp_path):
    content, message = REFUSED[case]
    path = tmp_path / "log.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LogError) as caught:
        open_log(path, ROLES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "iso"),
    [
        ("2024/3/1", "2024-03-01T00:00"),
        ("2024-3-1 8:05", "2024-03-01T08:05"),
        ("2024年3月1日 23:05:06", "2024-03-01T23:05:06"),
        ("3/31/2024 12:30 AM", "2024-03-31T00:30"),
        ("3/31/2024 12:30 PM", "2024-03-31T12:30"),
        ("31.3.2024 1:00", "2024-03-31T01:00"),
        ("31-03-2024", "2024-03-31T00:00"),
        ("2024/03/01 08:00+08:00", "2024-03-01T00:00"),
    ],
)
def test_dates_as_they_are_written(given, iso):
    found, notes = reading.times(pd.Series([given] * 2, name="when"))
    assert notes == []
    assert found.tolist() == [pd.Timestamp(iso)] * 2


def test_levels_that_hold_digits_stay_labels():
    for levels in (["1,2,3", "4,5,6"], ["a 1", "b 2"], ["10-12", "13-15"], ["A1", "B2"]):
        values = pd.Series(levels * 40, name="size")
        assert reading.covariate(values, None)[1].kind == "category", levels


def test_separator_and_encoding_for_a_guess(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_bytes(text(sep="~").encode())
    assert main(["study", "log.csv", "--guess"]) == 2
    assert "-p separator=" in capsys.readouterr().err
    assert main(["study", "log.csv", "--guess", "-p", "colour=1"]) == 2
    assert main(["study", "log.csv", "--guess", "-p", "separator=~", "-p", "encoding=utf-8"]) == 0
    roles = Roles.read("roles.toml")
    assert (roles.separator, roles.encoding) == ("~", "utf-8")
    assert len(open_log("log.csv", roles).frame) == len(LOG)


def test_a_guess_says_what_stands_in_the_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = LOG.assign(bought=np.where(np.arange(len(LOG)) % 2, "是", "否"))
    words.to_csv("log.csv", index=False)
    assert main(["study", "log.csv", "--guess"]) == 2
    assert "'bought' has the name of the outcome and holds '否', '是'" in capsys.readouterr().err
