"""What orders rows in time."""

import datetime

import numpy as np
import pandas as pd
import pytest

from causal_lib.columns import as_times

SECONDS = np.array([900_000, 20, 3_000, 70_000])
STAMPS = pd.Series(pd.Timestamp("2024-03-01") + pd.to_timedelta(SECONDS, unit="s"), name="when")


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(SECONDS),
        pd.Series(SECONDS, dtype=object),
        pd.Series(SECONDS, dtype="Int64"),
        STAMPS,
        STAMPS.astype(object),
        STAMPS.dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai"),
        STAMPS.dt.to_period("s"),
        STAMPS.dt.strftime("%Y-%m-%d %H:%M:%S"),
        STAMPS.dt.strftime("%Y-%m-%dT%H:%M:%S+02:00").astype("category"),
        STAMPS - STAMPS.min(),
    ],
)
def test_times_of_every_kind_have_one_order(values):
    assert np.argsort(as_times(values)).tolist() == np.argsort(SECONDS).tolist()


def test_dates_without_a_time():
    days = pd.Series([datetime.date(2024, 3, 2), datetime.date(2023, 12, 31)])
    assert np.argsort(as_times(days)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (STAMPS.dt.strftime("%-m/%-d/%Y"), "is text whose order is not that of time .'3/11/2024'"),
        (pd.Series(SECONDS).astype(str), "holds numbers as text"),
        (pd.Series([1, "2"], dtype=object), "mixes int and str"),
        (pd.Series(["2024-03-01", "soon"]), "is text whose order is not that of time .'soon'"),
    ],
)
def test_what_is_no_time(values, message):
    with pytest.raises(ValueError, match=f"log: column 'when' {message}"):
        as_times(values.rename("when"), name="log")
