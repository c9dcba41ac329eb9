"""Times given as numbers: taken with their unit said, or refused with the way out."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.cli import main
from causal_lib.studies import LogError, Roles, open_log
from causal_lib.studies import columns as reading
from tests.studies.conftest import ROLES, make_log

MOMENTS = pd.to_datetime(["2024-03-01T00:00:30", "2024-03-01T12:00:00", "2025-01-15T23:59:59"])
DAY = pd.Timedelta(days=1)
EXCEL = pd.Timestamp("1899-12-30")


def counted(unit):
    """The moments in whole units since 1970, by integers of Python."""
    seconds = [int(one.timestamp()) for one in MOMENTS]
    return [one * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit] for one in seconds]


TAKEN = {
    "seconds": (counted("s"), MOMENTS, "seconds since 1970"),
    "milliseconds": (counted("ms"), MOMENTS, "milliseconds since 1970"),
    "microseconds": (counted("us"), MOMENTS, "microseconds since 1970"),
    "nanoseconds": (counted("ns"), MOMENTS, "nanoseconds since 1970"),
    "floats of seconds": (
        [one + 0.25 for one in counted("s")],
        MOMENTS + pd.Timedelta("250ms"),
        "seconds since 1970",
    ),
    "floats of milliseconds": (np.array(counted("ms"), float), MOMENTS, "milliseconds since 1970"),
    "text of seconds": ([str(one) for one in counted("s")], MOMENTS, "seconds since 1970"),
    "text of floats": ([f"{one}.0" for one in counted("ms")], MOMENTS, "milliseconds since 1970"),
    "calendar": ([20240301, 20240301, 20250115], MOMENTS.normalize(), "dates as 20240301"),
    "calendar as text": (["20240301", "20240301", "20250115"], MOMENTS.normalize(), "20240301"),
    "calendar and time": ([int(f"{one:%Y%m%d%H%M%S}") for one in MOMENTS], MOMENTS, "20240301"),
    "calendar and minutes": (
        [int(f"{one:%Y%m%d%H%M}") for one in MOMENTS],
        MOMENTS.floor("min"),
        "20240301",
    ),
}


@pytest.mark.parametrize("case", TAKEN)
def test_numbers_that_are_plainly_times(case):
    given, moments, said = TAKEN[case]
    found, notes = reading.times(pd.Series(given, name="when"))
    assert found.tolist() == list(moments)
    [note] = notes
    assert said in note
    assert f"{moments.min():%Y-%m-%d %H:%M} " in note
    assert "数字" in note.in_language("zh")


NAMED = {
    "days": ([(one.normalize() - pd.Timestamp(0)) / DAY for one in MOMENTS], "days"),
    "parts of days": ([(one - pd.Timestamp(0)) / DAY for one in MOMENTS], "days"),
    "Excel": ([(one - EXCEL) / DAY for one in MOMENTS], "excel_days"),
    "seconds": (counted("s"), "seconds"),
    "calendar with hours": ([int(f"{one:%Y%m%d%H}") for one in MOMENTS], "calendar"),
}
EXACT = {
    "days": MOMENTS.normalize(),
    "calendar with hours": MOMENTS.floor("h"),
}


@pytest.mark.parametrize("case", NAMED)
def test_numbers_whose_unit_is_named(case):
    given, unit = NAMED[case]
    found, notes = reading.times(pd.Series(given, name="when"), unit)
    apart = pd.Series(found) - pd.Series(EXACT.get(case, MOMENTS))
    assert apart.abs().max() < pd.Timedelta("1ms")
    assert len(notes) == 1


ORDERS = {
    "days from 0": [0, 1, 5],
    "rows": [0, 30_000, 60_000],
    "years": [2019, 2024, 2025],
    "years and months": [201912, 202401, 202412],
    "seconds of a video": [0.5, 90.0, 4_000.0],
    "negative": [-3, 0, 2],
    "one moment": [7, 7, 7],
    "digits that are no dates": [20_000_000, 23_999_999, 20_991_399],
}


@pytest.mark.parametrize("case", ORDERS)
def test_other_numbers_are_an_order_and_this_is_said(case):
    given = ORDERS[case]
    found, notes = reading.times(pd.Series(given, name="when"))
    assert found.tolist() == given
    assert "only order the rows" in notes[0]


REFUSED = {
    "seconds and milliseconds": ([*counted("s"), *counted("ms")], "", "3 look like seconds since"),
    "a zero among seconds": ([*counted("s"), 0], "", "1 do not, first 0"),
    "-1 among milliseconds": ([*counted("ms"), -1], "", "1 do not, first -1"),
    "days since 1970": ([19_783, 19_800], "", 'time_unit = "days" or "order"'),
    "days of Excel": ([45_352, 45_360.5], "", "(2024-03-01 to 2024-03-09)"),
    "hours of the calendar, or seconds": ([2024030112, 2024030123], "", 'or "calendar"'),
    "a date that is none": ([20240301, 20240231], "", "1 numbers that are no dates"),
    "milliseconds called seconds": (counted("ms"), "seconds", "no seconds between 1900 and 2200"),
    "nanoseconds called days": (counted("ns"), "days", "no days between 1900 and 2200"),
    "seconds called milliseconds": ([1.0e14], "seconds", "no seconds between 1900 and 2200"),
    "an order called calendar": ([1, 2, 3], "calendar", "3 numbers that are no dates"),
    "infinite": ([1.0, float("inf")], "", "1 infinite value"),
    "missing": ([float(counted("s")[0]), None], "", "missing in 1 rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_two_things_is_refused(case):
    given, unit, message = REFUSED[case]
    with pytest.raises(LogError) as caught:
        reading.times(pd.Series(given, name="when"), unit)
    assert message in str(caught.value)
    assert "'when'" in str(caught.value)


def test_the_refused_order_can_be_named_one():
    found, _ = reading.times(pd.Series([19_783, 19_800], name="when"), "order")
    assert found.tolist() == [19_783, 19_800]


def test_an_unknown_unit_is_refused():
    with pytest.raises(LogError, match="unknown time_unit 'fortnights'; known: seconds,"):
        Roles.from_dict(ROLES | {"time_unit": "fortnights"})


# ---- in a log ------------------------------------------------------------------------------------

LOG = make_log(200, seed=3)
STAMPS = pd.to_datetime(LOG["time"], utc=True).astype("int64") // 10**6


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6)])
def test_a_log_with_numbers_for_times_is_the_same_log(unit, factor, tmp_path):
    LOG.assign(time=STAMPS * factor).to_csv(tmp_path / "log.csv", index=False)
    found = open_log(tmp_path / "log.csv", ROLES)
    own = open_log(LOG, ROLES)
    assert found.readings["joined"].kind == "age"
    for column in own.frame:
        assert (found.frame[column] == own.frame[column]).all(), column


def test_a_date_after_a_row_is_found_with_numbers_too():
    with pytest.raises(LogError, match="later than the row's time in 200 rows"):
        open_log(LOG.assign(time=STAMPS, joined="2025-01-01"), ROLES)


def test_the_unit_stands_in_the_audit_and_in_a_guess(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    LOG.assign(time=STAMPS * 1000).to_csv("log.csv", index=False)
    notes = [row["note"] for row in open_log("log.csv", ROLES).audit.tables["notes"]]
    assert any("time: numbers, read as milliseconds since 1970 in UTC" in note for note in notes)
    assert main(["study", "log.csv", "--guess"]) == 0
    assert "time: numbers, read as milliseconds" in (tmp_path / "roles.toml").read_text()


def test_a_guess_asks_for_the_unit_that_it_cannot_tell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOG.assign(time=STAMPS // 86_400).to_csv("log.csv", index=False)
    assert main(["study", "log.csv", "--guess"]) == 0
    assert "to be answered: log: time" in (tmp_path / "roles.toml").read_text()
    assert main(["study", "log.csv", "-p", "draws=2"]) == 2
    roles = Roles.from_dict(ROLES | {"time_unit": "days"})
    assert Roles.read(roles.write(tmp_path / "mine.toml")) == roles
    assert open_log("log.csv", roles).readings["joined"].kind == "age"
