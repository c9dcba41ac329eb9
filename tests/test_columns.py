"""What a column is, of every dtype that pandas and pyarrow bring."""

import datetime
import decimal
import fractions

import numpy as np
import pandas as pd
import pytest

from causal_lib.columns import (
    as_dates,
    as_days,
    as_labels,
    as_numbers,
    as_times,
    column_kind,
    far_from_others,
    far_limits,
    missing_codes,
    number_of,
    numbers_or_none,
)

NUMBERS = [1, 0, 3]


@pytest.mark.parametrize(
    "dtype",
    [
        *("int8", "uint8", "int64", "uint64", "float16", "float32", "float64", object),
        *("Int8", "UInt32", "Int64", "Float32", "Float64"),
        *("int32[pyarrow]", "double[pyarrow]", "Sparse[int64]", "Sparse[float64]"),
    ],
)
def test_numbers_of_every_dtype(dtype):
    values = pd.Series(NUMBERS, name="x").astype(dtype)
    assert column_kind(values) == "number"
    found = as_numbers(values)
    assert found.dtype == np.float64
    assert found.tolist() == NUMBERS


@pytest.mark.parametrize(
    "values",
    [
        [decimal.Decimal("1"), decimal.Decimal("0"), decimal.Decimal("3.0")],
        [fractions.Fraction(1), fractions.Fraction(0), fractions.Fraction(3)],
        [np.int8(1), 0.0, decimal.Decimal(3)],
        [True, 0, 3.0],
    ],
)
def test_numbers_of_python_among_objects(values):
    values = pd.Series(values, dtype=object)
    assert column_kind(values) == "number"
    assert as_numbers(values).tolist() == NUMBERS


@pytest.mark.parametrize("dtype", [bool, "boolean", "bool[pyarrow]", object, "Sparse[bool]"])
def test_booleans_are_numbers(dtype):
    values = pd.Series([True, False]).astype(dtype)
    assert column_kind(values) == "number"
    assert as_numbers(values).tolist() == [1, 0]


def test_arrow_decimals_are_numbers():
    pyarrow = pytest.importorskip("pyarrow")
    cents = [decimal.Decimal("1.50"), decimal.Decimal("-2.25")]
    values = pd.Series(cents, dtype=pd.ArrowDtype(pyarrow.decimal128(5, 2)))
    assert column_kind(values) == "number"
    assert as_numbers(values).tolist() == [1.5, -2.25]


def test_missing_numbers_are_nan_of_every_dtype():
    for dtype in ("float64", "Int64", "Float64", "double[pyarrow]", object):
        values = pd.Series([1, None, 3], dtype=object).astype(dtype)
        assert column_kind(values) == "number"
        assert as_numbers(values) == pytest.approx([1, np.nan, 3], nan_ok=True)


def test_infinite_numbers_are_refused_in_every_dtype():
    for dtype in ("float32", "float64", "Float64", "double[pyarrow]", object):
        values = pd.Series([1.0, np.inf, -np.inf], name="x").astype(dtype)
        with pytest.raises(ValueError, match="logs: column 'x' has 2 infinite values"):
            as_numbers(values, name="logs")


def test_integers_that_a_float_cannot_hold():
    huge = pd.Series([10**400, 1], dtype=object, name="x")
    with pytest.raises(ValueError, match="column 'x' has 1 infinite value"):
        as_numbers(huge)


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([10, 9, 11]),
        pd.Series([10.5, 9.5, 30.0]),
        pd.Series(pd.to_datetime(["2024-03-02", "2024-03-01", "2024-04-01"])),
        pd.Series(["2024-03-02", "2024-03-01", "2024-04-01"]),
    ],
)
def test_times_of_dtype_category_are_ordered_by_their_values(times):
    for categories in (times.unique(), times.unique()[::-1]):
        as_category = pd.Series(pd.Categorical(times, categories=categories))
        assert np.array_equal(as_times(as_category), as_times(times))


@pytest.mark.parametrize("dtype", [object, "string", "str", "string[pyarrow]", "category"])
def test_text_is_a_category(dtype):
    values = pd.Series(["b", None, "a"], name="x").astype(dtype)
    assert column_kind(values) == "category"
    assert as_labels(values).tolist() == ["b", None, "a"]


def test_categories_of_codes_booleans_and_few_fractions_are_categories():
    for levels in ([1, 2], [1.0, 2.0], [True, False], [0.5, 1.5]):
        values = pd.Series(levels * 3).astype("category")
        assert column_kind(values) == "category"
        assert as_labels(values).tolist() == levels * 3


def test_a_category_of_many_fractions_is_refused():
    values = pd.Series(np.arange(22) / 8, name="x").astype("category")
    with pytest.raises(ValueError, match=r"'x' is a category of 22 numbers .*astype\(float\)"):
        column_kind(values)
    assert column_kind(values[:20]) == "category"


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_numbers_as_text(dtype):
    values = pd.Series(["1.5", "-2", "3e4"], name="price").astype(dtype)
    if dtype == "category":  # its maker has said that these are codes
        assert column_kind(values) == "category"
        return
    with pytest.raises(ValueError, match=r"logs: column 'price' holds numbers as text \('1.5', "):
        column_kind(values, name="logs")
    assert column_kind(pd.Series(["1.5", "x"], dtype=dtype)) == "category"


DATES = [pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-11")]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(DATES),
        pd.Series(DATES).astype("datetime64[s]"),
        pd.Series(DATES).dt.tz_localize("UTC"),
        pd.Series(DATES).dt.date,
        pd.Series(DATES).astype(object),
        pd.Series(DATES).dt.to_period("D"),
        pd.Series(DATES).astype("timestamp[ns][pyarrow]"),
        pd.Series(DATES).astype("date32[pyarrow]"),
        pd.Series([value.to_pydatetime() for value in DATES], dtype=object),
        pd.Series([value.to_datetime64() for value in DATES], dtype=object),
    ],
    ids=["ns", "s", "zone", "date", "stamps", "period", "arrow", "arrow date", "python", "numpy"],
)
def test_dates_of_every_kind_are_days(values):
    assert column_kind(values) == "date"
    assert as_dates(values).tolist() == DATES
    assert as_days(values, pd.Timestamp("2024-02-28")).tolist() == [2, 12]


def test_a_time_zone_is_kept_to():
    values = pd.Series(DATES).dt.tz_localize("Asia/Shanghai")  # eight hours ahead
    assert as_days(values, DATES[0]) == pytest.approx([-1 / 3, 10 - 1 / 3])


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([pd.Timedelta(days=2), pd.Timedelta(hours=12)]),
        pd.Series([pd.Timedelta(days=2), pd.Timedelta(hours=12)]).astype("timedelta64[s]"),
        pd.Series([pd.Timedelta(days=2), pd.Timedelta(hours=12)]).astype("duration[ns][pyarrow]"),
        pd.Series([datetime.timedelta(2), datetime.timedelta(0.5)], dtype=object),
    ],
    ids=["ns", "s", "arrow", "python"],
)
def test_durations_are_days(values):
    assert column_kind(values) == "number"
    assert as_numbers(values).tolist() == [2, 0.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", 1], r"'x' mixes int and str \('a', 1\); convert it to one type: pandas.to_numeric"),
        ([1.5, "a", None], "'x' mixes float and str"),
        ([pd.Timestamp("2024-01-01"), 3], "'x' mixes Timestamp and int"),
        ([[1], [2]], "'x' holds list"),
        ([{"a": 1}], "'x' holds dict"),
        ([(1, 2)], "'x' holds tuple"),
        ([1 + 2j, 3j], r"'x' holds complex numbers; take .real and .imag"),
    ],
)
def test_what_is_none_of_the_three_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        column_kind(pd.Series(values, name="x"))


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_numbers_whose_squares_overflow_are_refused(scale):
    with pytest.raises(ValueError, match=r"column 'x' has values up to .*; divide it by its scale"):
        as_numbers(pd.Series([1.0, 2.0], name="x") * scale)
    assert as_numbers(pd.Series([0.0, 0.0])).tolist() == [0, 0]
    assert as_numbers(pd.Series([], dtype=float)).tolist() == []


def test_periods_as_objects_are_dates():
    periods = pd.period_range("2020-01", periods=3, freq="M")
    column = pd.Series(list(periods), dtype=object)
    assert column_kind(column) == "date"
    assert as_dates(column).tolist() == list(periods.to_timestamp())


def test_numbers_that_are_asked_for():
    frame = pd.DataFrame({"x": ["a"], "since": [DATES[0]], "y": [2]})
    assert number_of(frame, "y").tolist() == [2]
    for kind in ("Int64", "int64[pyarrow]", "category", object, "boolean", "float32"):
        assert number_of(pd.DataFrame({"y": pd.Series([0, 1]).astype(kind)}), "y").tolist() == [
            0,
            1,
        ]
    assert numbers_or_none(pd.Series([decimal.Decimal("0.5"), 2])).tolist() == [0.5, 2]
    for values in (["a", "b"], ["0", "1"], ["0", 1], [1j, 2], DATES):
        assert numbers_or_none(pd.Series(values)) is None
    with pytest.raises(ValueError, match=r"column 'x' must hold numbers, not .*; code its levels"):
        number_of(frame, "x")
    with pytest.raises(ValueError, match=r"column 'since' must hold numbers, .*; give days since"):
        number_of(frame, "since")


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


# ---- values far from all others ------------------------------------------------------------------

AGES = np.arange(18.0, 91)


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (np.append(AGES, [-999, -999, 999]), {-999: 2, 999: 1}),
        (np.append(AGES, np.full(70, 9998)), {9998: 70}),
        (np.append(AGES / 100, [-99, 32767]), {-99: 1, 32767: 1}),
        (np.append(AGES, np.full(10, -5000)), {-5000: 10}),  # not written like a code, but repeated
        (np.repeat([1.0, 2, 9], [50, 40, 10]), {9: 10}),  # a question with two answers
        (np.append(AGES, [99, 97, 88]), {}),  # people of that age
        (np.append(AGES, [-5000]), {}),  # once, and not written like a code
        (np.append(AGES, np.full(80, -999)), {}),  # over half
        (np.repeat([0.0, 99], 50), {}),  # two levels: nothing shows a range
        (np.repeat([0.0, 20, 21, 22], [60, 20, 20, 20]), {}),  # a price, or nothing bought
        (np.append(np.zeros(500), [*range(9), 60, 60]), {}),  # counts
    ],
)
def test_codes_for_missing_among_numbers(values, codes):
    assert missing_codes(values) == codes
    assert missing_codes(values[::-1]) == codes


def test_codes_for_missing_among_outcomes():
    """Sums of money are written like codes, and few products have few prices."""
    for money in ([0, 9, 99], [0, 10, 20, 99], [0, 1, 2, 3, 50]):
        values = np.repeat(np.array(money, dtype=float), [900, *[40] * (len(money) - 1)])
        assert missing_codes(values, of_outcome=True) == {}
    assert missing_codes(np.append(AGES, [-999, 9999]), of_outcome=True) == {-999: 1, 9999: 1}


def test_limits_of_what_is_not_far():
    assert far_limits(np.append(AGES, [1e6])) == (-np.inf, 90)
    assert far_limits(np.append(AGES, [-1e6, 1e6])) == (18, 90)
    many = np.tile(AGES, 3)
    assert far_limits(np.append(many, [3e5, 1e6])) == (-np.inf, 90)
    assert far_limits(np.append(many, [3e5] * 9)) == (-np.inf, np.inf)  # over 1%
    assert far_limits(np.append(AGES, [1500])) == (-np.inf, np.inf)  # 19 ranges
    assert far_limits(np.append(AGES, [7000])) == (-np.inf, 90)
    assert far_limits(np.append(AGES, [7000]), of_outcome=True) == (-np.inf, np.inf)
    assert far_limits(np.append(np.zeros(400), [3.0])) == (-np.inf, np.inf)
    assert far_limits(np.array([1.0, 2, 3, 4, 1e6])) == (-np.inf, np.inf)  # too few rows
    for seed in range(20):  # heavy tails are no slips
        heavy = np.random.default_rng(seed).lognormal(sigma=1.5, size=1000)
        assert far_limits(heavy) == (-np.inf, np.inf)


def test_far_values_in_words():
    assert far_from_others(np.append(np.tile(AGES, 3), [-999, -999, 3e5, 1e6])) == [
        ("-999", 2),
        ("300000 to 1e+06", 2),
    ]
    assert far_from_others(AGES) == []
