import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery import discover
from causal_lib.discovery.time_series import lagged


def _log(n_groups=3, n_steps=6, seed=0):
    """A shuffled log of users by days with a number, a category and a boolean."""
    rng = np.random.default_rng(seed)
    n = n_groups * n_steps
    frame = pd.DataFrame(
        {
            "user": np.repeat([f"u{i}" for i in range(n_groups)], n_steps),
            "day": np.tile(np.arange(n_steps), n_groups),
            "x": rng.normal(size=n),
            "c": pd.Categorical(rng.choice(list("pq"), n), categories=list("pqr")),
            "b": rng.random(n) < 0.5,
        }
    )
    return frame.sample(frac=1, random_state=seed)


@given(
    st.integers(1, 4), st.integers(5, 7), st.sets(st.integers(1, 4), min_size=1), st.integers(0, 99)
)
def test_lags_are_pandas_shifts_within_the_group(n_groups, n_steps, lags, seed):
    frame = _log(n_groups, n_steps, seed)
    rows, _ = lagged(frame, lags, group="user", time="day")
    ordered = frame.sort_values(["user", "day"])
    expected = {}
    for k in sorted(lags, reverse=True):
        shifted = ordered.groupby("user")[["x", "c", "b"]].shift(k)
        expected |= {f"{c}[t-{k}]": shifted[c] for c in shifted}
    expected |= {f"{c}[t]": ordered[c] for c in ("x", "c", "b")}
    expected = pd.DataFrame(expected).dropna()
    pd.testing.assert_frame_equal(rows, expected.astype({c: frame[c[0]].dtype for c in expected}))
    assert rows.attrs["lagged"] == {
        "lags": sorted(lags),
        "rows_read": n_groups * n_steps,
        "rows_dropped": n_groups * max(lags),
    }


@given(
    st.sets(st.integers(0, 12), min_size=4), st.sets(st.integers(1, 3), min_size=1), st.booleans()
)
def test_a_lag_is_exactly_k_steps_whatever_is_missing(days, lags, dates):
    frame = pd.DataFrame({"day": sorted(days), "x": [10.0 * d for d in sorted(days)]})
    complete = [d for d in sorted(days) if all(d - k in days for k in lags)]
    if dates:
        if frame["day"].diff().min() > 1:
            return  # the step of dates is the shortest gap, which is no day here
        frame["day"] = pd.Timestamp("2024-02-27", tz="Asia/Shanghai") + pd.to_timedelta(
            frame["day"], unit="D"
        )
    if not complete:
        with pytest.raises(ValueError, match="1 of 1 groups have no row with all its past"):
            lagged(frame, lags, time="day")
        return
    rows, _ = lagged(frame, lags, time="day")
    assert (rows["x[t]"] / 10).tolist() == complete
    for k in lags:
        assert (rows["x[t]"] - rows[f"x[t-{k}]"] == 10 * k).all()
    assert rows.attrs["lagged"]["rows_dropped"] == len(days) - len(complete)


def test_without_time_rows_stand_in_order():
    frame = pd.DataFrame({"x": [3, 1, 4, 1, 5]}, index=list("vwxyz"))
    rows, knowledge = lagged(frame, 2)
    expected = pd.DataFrame(
        {"x[t-2]": [3, 1, 4], "x[t-1]": [1, 4, 1], "x[t]": [4, 1, 5]}, index=list("xyz")
    )
    pd.testing.assert_frame_equal(rows, expected)
    assert knowledge.tiers == (("x[t-2]",), ("x[t-1]",), ("x[t]",))
    interleaved = pd.DataFrame({"g": list("abab"), "x": [1, 10, 2, 20]})
    assert lagged(interleaved, 1, group="g")[0].to_numpy().tolist() == [[1, 2], [10, 20]]


def test_groups_may_start_at_different_hours():
    times = pd.to_datetime(
        ["2024-01-01 08:00", "2024-01-02 08:00", "2024-01-01 11:30", "2024-01-02 11:30"]
    )
    frame = pd.DataFrame({"g": list("aabb"), "when": times, "x": [1, 2, 3, 4]})
    assert lagged(frame, 1, group="g", time="when")[0].to_numpy().tolist() == [[1, 2], [3, 4]]


def test_the_input_is_left_alone():
    frame = _log()
    frame.attrs["source"] = "test"
    before = frame.copy(deep=True)
    lagged(frame, 2, group="user", time="day")
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == {"source": "test"}


def test_discovery_across_time_finds_the_process():
    rng = np.random.default_rng(0)
    n = 3000
    x = np.zeros(n)
    y = np.zeros(n)
    for t in range(1, n):
        x[t] = 0.6 * x[t - 1] + rng.normal()
        y[t] = 0.7 * x[t - 1] + 0.4 * y[t - 1] + rng.normal()
    rows, knowledge = lagged(pd.DataFrame({"x": x, "y": y}), 1)
    found = discover(rows, knowledge=knowledge)
    assert found.parents("y[t]") == {"x[t-1]", "y[t-1]"}
    assert found.parents("x[t]") == {"x[t-1]"}


def _with(**columns):
    return pd.DataFrame({"u": list("aaabbb"), "day": [0, 1, 2] * 2, "x": np.arange(6.0)} | columns)


CASES = {
    "unknown column": (_with(), {"group": "q"}, "no column 'q'; columns there: u, day, x"),
    "unknown time": (_with(), {"time": "hour"}, "no column 'hour'"),
    "lag of 0": (
        _with(),
        {"lags": [0, 1]},
        r"lags=\[0, 1\]: give the largest lag, or different whole numbers from 1",
    ),
    "negative lag": (_with(), {"lags": -1}, r"lags=\[\]: give the largest lag"),
    "half a lag": (_with(), {"lags": [0.5]}, r"lags=\[0.5\]"),
    "lag given twice": (_with(), {"lags": [1, 1]}, r"lags=\[1, 1\]"),
    "moment given twice": (
        _with(day=[0, 1, 1] * 2),
        {},
        r"2 rows repeat the key \(u, day\); drop the duplicates",
    ),
    "no group said": (_with(), {"group": None}, r"3 rows repeat the key \(day\)"),
    "short groups": (
        _with(),
        {"lags": 3},
        "2 of 2 groups of 'u', first 'a' have no row with all its past",
    ),
    "one short group": (
        _with(u=list("aaaabb"), day=[0, 1, 2, 3, 0, 1]),
        {"lags": 2},
        "1 of 2 groups of 'u', first 'b'",
    ),
    "missing time": (_with(day=[0, 1, np.nan] * 2), {}, "'day' has 2 missing values"),
    "missing group": (_with(u=[None, *"aabbb"]), {}, "'u' has 1 missing value"),
    "text time": (
        _with(day=list("pqr") * 2),
        {},
        "time: column 'day' is str; give whole numbers or dates",
    ),
    "half steps": (
        _with(day=[0, 1, 1.5] * 2),
        {},
        "2 values of 'day' are no whole number of steps",
    ),
    "months": (
        _with(day=list(pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"])) * 2),
        {},
        "4 values of 'day' are no whole number of steps .* number the periods",
    ),
    "no variable": (_with()[["u", "day"]], {}, "no variable beside 'u', 'day'"),
    "no rows": (_with().head(0), {}, "has no rows"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    frame, settings, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        lagged(frame, **{"lags": 1, "group": "u", "time": "day"} | settings)


def test_the_step_of_dates_is_the_shortest_gap_of_all_groups():
    """Group a has steps of two days, group b of one: a lag of one day is never there in a, one of
    two days is.
    """
    days = pd.to_datetime(
        ["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-01", "2024-01-02", "2024-01-03"]
    )
    frame = pd.DataFrame({"g": list("aaabbb"), "when": days, "x": [1, 2, 3, 10, 20, 30]})
    rows, knowledge = lagged(frame, [2], group="g", time="when")
    assert rows.to_dict("list") == {"x[t-2]": [1, 2, 10], "x[t]": [2, 3, 30]}
    assert rows.index.tolist() == [1, 2, 5]
    assert rows.attrs["lagged"] == {"lags": [2], "rows_read": 6, "rows_dropped": 3}
    assert knowledge.tiers == (("x[t-2]",), ("x[t]",))
    assert knowledge.within_tiers
    with pytest.raises(ValueError, match="1 of 2 groups of 'g', first 'a' have no row"):
        lagged(frame, 1, group="g", time="when")


def test_times_may_start_anywhere_and_stand_in_any_order():
    frame = pd.DataFrame({"g": list("babab"), "t": [7, 102, 5, 101, 6], "x": [3, 20, 1, 10, 2]})
    rows, _ = lagged(frame, 1, group="g", time="t")
    assert rows.to_numpy().tolist() == [[10, 20], [1, 2], [2, 3]]
    assert rows.index.tolist() == [1, 4, 0]
