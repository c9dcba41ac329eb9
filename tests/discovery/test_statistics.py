import pickle
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery.moments import chunk_moments, read_column
from causal_lib.discovery.statistics import Statistics


def _frame(n, seed=0):
    """Numbers of three types, a boolean, and five categories: two-valued, of 70 levels, rare, text,
    of numbers.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "x": x,
            "city": rng.choice(["b", "a", "c", "d"], n),
            "flag": rng.random(n) < 0.3,
            "count": rng.poisson(5, n),
            "sex": pd.Categorical(np.where(x + rng.normal(size=n) > 0, "m", "f")),
            "item": pd.Categorical(
                rng.integers(70, size=n).astype(str), categories=[str(k) for k in range(200)]
            ),
            "rare": np.where(np.arange(n) == 2, "once", "always"),
            "grade": pd.Categorical(rng.integers(3, size=n), categories=[2, 0, 1], ordered=True),
            "small": (x + rng.normal(size=n)).astype(np.float32),
        }
    )


def _oracle(frame, w=None):
    """Mean and covariance of the encoded frame by pandas and numpy, all levels but the first, in
    the frame's order.
    """
    parts = []
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype) or frame[name].dtype in (
            "object",
            "str",
        ):
            values = frame[name].astype(frame[name].dropna().unique().dtype)  # unused levels gone
            levels = sorted(frame[name].dropna().unique())
            parts.append(
                pd.DataFrame({f"{name}={v}": (values == v).astype(float) for v in levels[1:]})
            )
        else:
            parts.append(frame[[name]].astype(float))
    table = pd.concat(parts, axis=1)
    mean = np.average(table, axis=0, weights=w)
    return tuple(table.columns), mean, np.cov(table.T, ddof=0, aweights=w)


def _same(first, second, tolerance=1e-10):
    assert (first.names, first.levels, first.columns) == (
        second.names,
        second.levels,
        second.columns,
    )
    assert (first.rows, first.dropped, first.n_draws) == (
        second.rows,
        second.dropped,
        second.n_draws,
    )
    assert first.count == pytest.approx(second.count, rel=1e-12)
    np.testing.assert_allclose(first.mean, second.mean, rtol=0, atol=tolerance)
    np.testing.assert_allclose(first.cov, second.cov, rtol=0, atol=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_pandas(weighted):
    frame = _frame(5000)
    w = np.random.default_rng(1).exponential(size=5000) if weighted else None
    stats = Statistics.from_frame(frame, weights=w)
    columns, mean, cov = _oracle(frame, w)
    assert stats.columns == columns
    assert stats.widths.tolist() == [1, 3, 1, 1, 1, 69, 1, 2, 1]
    assert stats.levels[1] == ("a", "b", "c", "d")
    assert stats.levels[7] == (0, 1, 2)
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(stats.cov, cov, rtol=1e-10, atol=1e-13)
    assert (stats.cov == stats.cov.T).all()
    assert (stats.rows, stats.count) == (5000, pytest.approx(5000 if w is None else w.sum()))


@pytest.mark.parametrize("part", ["numbers", "categories"])
def test_one_kind_alone(part):
    frame = _frame(300)
    frame = frame[["x", "count"]] if part == "numbers" else frame[["city", "sex", "grade"]]
    np.testing.assert_allclose(Statistics.from_frame(frame).cov, _oracle(frame)[2], atol=1e-13)


@pytest.mark.parametrize("batch_rows", [97, 100_000])
@pytest.mark.parametrize("shape", ["offset", "clock"])
def test_large_offsets_lose_no_digits(shape, batch_rows, tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_000)
    # a clock: later chunks lie far from the first
    x = 1e9 + z if shape == "offset" else 1.7e9 + np.arange(20_000) + z
    pq.write_table(pa.table({"x": x, "y": z, "b": z > 0}), tmp_path / "f.parquet")
    stats = Statistics.from_parquet(tmp_path / "f.parquet", batch_rows=batch_rows)
    exact = np.array([x - 1e9, z, z > 0], dtype=np.longdouble)  # x - 1e9 is exact in float64
    exact -= exact.mean(axis=1, keepdims=True)
    cov = (exact @ exact.T / 20_000).astype(float)
    scale = np.sqrt(np.outer(cov.diagonal(), cov.diagonal()))
    np.testing.assert_allclose(stats.cov / scale, cov / scale, rtol=0, atol=1e-12)


@given(
    cuts=st.lists(st.integers(1, 399), max_size=6, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_merged_chunks_equal_the_whole(cuts, order):
    frame = _frame(400)
    w = np.random.default_rng(2).exponential(size=400)
    bounds = [0, *sorted(cuts), 400]
    pieces = [slice(a, b) for a, b in pairwise(bounds)]
    # 'once' is in one of them only
    parts = [Statistics.from_frame(frame[piece], weights=w[piece]) for piece in pieces]
    order.shuffle(parts)
    _same(Statistics.merge(parts), Statistics.from_frame(frame, weights=w))


@pytest.mark.parametrize("options", [{}, {"missing": "em"}], ids=str)
def test_rows_twice_with_half_weights_change_nothing(options):
    frame = _frame(200)[["x", "city", "flag", "count"]]
    if options.get("missing"):
        frame.loc[:40, "x"] = np.nan
        frame.loc[30:60, "city"] = None
    once = Statistics.from_frame(frame, **options)
    twice = Statistics.from_frame(pd.concat([frame, frame]), weights=np.full(400, 0.5), **options)
    assert (twice.rows, twice.count) == (400, pytest.approx(200))
    np.testing.assert_allclose(
        twice.mean, once.mean, atol=1e-7 if options.get("missing") else 1e-12
    )
    np.testing.assert_allclose(twice.cov, once.cov, atol=1e-7 if options.get("missing") else 1e-12)


def test_a_weight_of_nought_is_a_row_left_out():
    frame = _frame(100)
    w = np.ones(100)
    w[2] = 0  # the only row with rare == 'once'
    stats = Statistics.from_frame(frame.assign(w=w), weights="w")
    _same(stats, Statistics.from_frame(frame.drop(index=2)))
    assert stats.levels[stats.names.index("rare")] == ("always",)
    assert stats.subset(["rare"]).cov.shape == (0, 0)


# ---- streams -------------------------------------------------------------------------------------


def _holes(frame, seed=3):
    frame = frame.copy()
    rng = np.random.default_rng(seed)
    for name in ("x", "city", "sex", "small"):
        frame.loc[rng.random(len(frame)) < 0.1, name] = None
    return frame


@pytest.mark.parametrize("batch_rows", [7, 150, 100_000])
@pytest.mark.parametrize("coding", ["text", "dictionary"])
def test_parquet_files_equal_the_frame(batch_rows, coding, tmp_path):
    frame = _holes(_frame(600))
    if coding == "text":
        frame = frame.astype({"sex": "str", "item": "str"})
    frame["w"] = np.random.default_rng(4).integers(0, 3, size=600)
    for k, part in enumerate((frame[:350], frame[350:])):
        part.to_parquet(tmp_path / f"{k}.parquet", index=False, row_group_size=100)
    whole = Statistics.from_frame(frame, weights="w", missing="complete")
    assert whole.dropped == frame.isna().any(axis=1).sum() > 0
    options = {"weights": "w", "missing": "complete", "categories": ["grade"]}
    streamed = Statistics.from_parquet(tmp_path, **options, batch_rows=batch_rows)
    _same(streamed, whole)
    some = Statistics.from_parquet(
        [tmp_path / "1.parquet", str(tmp_path / "0.parquet")],
        ["item", "flag"],
        batch_rows=batch_rows,
    )
    _same(some, Statistics.from_frame(frame[["item", "flag"]]))


def test_arrow_types_that_pandas_lacks(tmp_path):
    levels = pa.array(["b", None, "a", "b"])  # a null and a level twice among the levels
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 2, 3, 2, 0], pa.int8()), levels)
    table = pa.table(
        {
            "money": pa.array([Decimal(k) for k in range(1, 6)], pa.decimal128(10, 2)),
            "half": pa.array(np.arange(5), pa.float16()),
            "large": pa.array([2**60, 0, 0, 0, 2**60]),
            "code": coded,
        }
    )
    pq.write_table(table.drop_columns("code"), tmp_path / "f.parquet")
    stats = Statistics.from_parquet(tmp_path / "f.parquet")
    np.testing.assert_allclose(stats.mean, [3, 2, 0.4 * 2**60])
    kept, stack = chunk_moments(["code"], [read_column("code", coded)], None, 0, None, [0.0])
    assert kept == [("a", "b")]
    assert stack[1].tolist() == [[0.6]]


@pytest.mark.parametrize("opened", ["engine", "connection"])
def test_sql_equals_the_frame(opened, tmp_path):
    frame = _holes(_frame(500)).astype({"sex": "str", "item": "str"})[
        ["x", "city", "count", "sex", "item"]
    ]
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'f.sqlite'}")
    frame.assign(w=np.arange(500) % 3).to_sql("log", engine, index=False)
    link = engine if opened == "engine" else engine.connect()
    stats = Statistics.from_sql(
        link, "select * from log", weights="w", missing="complete", chunk_rows=60
    )
    _same(stats, Statistics.from_frame(frame, weights=np.arange(500) % 3, missing="complete"))
    one = Statistics.from_sql(link, sa.text("select count, city from log where city is not null"))
    _same(one, Statistics.from_frame(frame.dropna(subset="city")[["count", "city"]]))
    if opened == "connection":
        link.close()


# ---- bootstrap -----------------------------------------------------------------------------------


def test_a_draw_is_the_statistics_under_whole_weights():
    # A category that names the row gives each draw's weights away.
    frame = _frame(300)[["x", "city", "flag"]].assign(
        row=pd.Categorical([f"{k:03d}" for k in range(300)])
    )
    outer = np.random.default_rng(5).exponential(size=300)
    for weights in (None, outer):
        stats = Statistics.from_frame(frame, weights=weights, n_boot=4, seed=9)
        for b in range(4):
            w = stats.draws[0][b] * stats.draws[1][b, -299:]
            w = np.concatenate([[stats.draws[0][b] - w.sum()], w])
            times = w / (1 if weights is None else weights)
            np.testing.assert_allclose(times, times.round(), atol=1e-9)
            # Poisson(1): 110 of 300 expected, standard deviation 8
            assert 85 < (times.round() == 0).sum() < 135
            alone = Statistics.from_frame(
                frame, weights=times.round() * (1 if weights is None else weights)
            )
            draw = stats.draw(b)
            # rows not drawn are no levels, whether 000, the reference, is or not
            assert draw.levels == alone.levels
            np.testing.assert_allclose(draw.mean, alone.mean, atol=1e-11)
            np.testing.assert_allclose(draw.cov, alone.cov, atol=1e-11)


def test_draws_vary_like_the_estimates():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 2)), columns=["a", "b"])
    stats = Statistics.from_frame(frame, n_boot=2000)
    spread = stats.draws[1].var(axis=0) / (stats.cov.diagonal() / 400)
    np.testing.assert_allclose(spread, 1, atol=4 * np.sqrt(2 / 2000))


def test_seeds_and_chunks_decide_the_draws(tmp_path):
    frame = _frame(300)[["x", "city"]]
    frame.to_parquet(tmp_path / "f.parquet", index=False)

    def drawn(seed, rows):
        return Statistics.from_parquet(
            tmp_path / "f.parquet", n_boot=3, seed=seed, batch_rows=rows
        ).draws[2]

    assert (drawn(1, 100) == drawn(1, 100)).all()
    assert (drawn(1, 100) != drawn(2, 100)).any()
    assert (drawn(1, 1000) == Statistics.from_frame(frame, n_boot=3, seed=1).draws[2]).all()


def test_draws_are_merged_and_survive_pickling():
    frame = _frame(300)[["x", "rare", "city"]]
    parts = [
        Statistics.from_frame(part, n_boot=5, seed=k)
        for k, part in enumerate((frame[:2], frame[2:]))
    ]
    whole = pickle.loads(pickle.dumps(Statistics.merge(parts)))
    assert (whole.n_draws, whole.seeds) == (5, (0, 1))
    for b in range(5):  # parts[0] has two rows, so a draw may have none of it
        counts = [part.draws[0][b] for part in parts]
        assert whole.draws[0][b] == sum(counts)
        means = [part.draws[1][b, 0] for part in parts]
        assert whole.draw(b).mean[0] == pytest.approx(np.average(means, weights=counts))
    assert Statistics.merge(parts[1:]) is parts[1]


# ---- missing values ------------------------------------------------------------------------------


def test_em_of_one_incomplete_column_is_the_closed_form():
    # y missing in some rows: regression of y on x where both are seen, applied to all x (Anderson
    # 1957).
    rng = np.random.default_rng(0)
    x = rng.normal(size=200) * 3 + 100
    y = 2 * x + rng.normal(size=200)
    seen = rng.random(200) < 1 / (1 + np.exp(100 - x))
    frame = pd.DataFrame({"x": x, "y": np.where(seen, y, np.nan)})
    stats = Statistics.from_frame(frame, missing="em")
    slope = np.cov(x[seen], y[seen], ddof=0)[0, 1] / x[seen].var()
    residual = y[seen].var() - slope**2 * x[seen].var()
    mean_y = y[seen].mean() + slope * (x.mean() - x[seen].mean())
    np.testing.assert_allclose(stats.mean, [x.mean(), mean_y], rtol=1e-8)
    expected = [[x.var(), slope * x.var()], [slope * x.var(), residual + slope**2 * x.var()]]
    np.testing.assert_allclose(stats.cov, expected, rtol=1e-6)


def _em_by_rows(x, steps=3000):
    """EM written row by row, from the textbook."""
    mean = np.nanmean(x, axis=0)
    cov = np.diag(np.nanvar(x, axis=0))
    for _ in range(steps):
        total = 0
        squares = 0
        for row in x:
            o = ~np.isnan(row)
            m = np.isnan(row)
            guess = row.copy()
            extra = np.zeros_like(cov)
            gain = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
            guess[m] = mean[m] + gain @ (row[o] - mean[o])
            extra[np.ix_(m, m)] = cov[np.ix_(m, m)] - gain @ cov[np.ix_(o, m)]
            total = total + guess
            squares = squares + np.outer(guess, guess) + extra
        mean = total / len(x)
        cov = squares / len(x) - np.outer(total, total) / len(x) ** 2
    return mean, cov


def test_em_agrees_with_em_row_by_row():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3))
    x[rng.random(x.shape) < 0.2] = np.nan
    x = x[~np.isnan(x).all(axis=1)]
    stats = Statistics.from_frame(pd.DataFrame(x, columns=list("abc")), missing="em")
    mean, cov = _em_by_rows(x, 300)
    np.testing.assert_allclose(stats.mean, mean, atol=1e-6)
    np.testing.assert_allclose(stats.cov, cov, atol=1e-6)


def test_em_is_right_where_complete_rows_mislead():
    # Missing at random: z and the category are lost where x is high. Bounds: 4 standard errors.
    rng = np.random.default_rng(2)
    n = 20_000
    x = rng.normal(size=n)
    z = x + rng.normal(size=n)
    city = np.where(x + rng.normal(size=n) > 0, "b", "a").astype(object)
    gone = rng.random(n) < 1 / (1 + np.exp(-2 * x))
    frame = pd.DataFrame(
        {"x": x, "z": np.where(gone, np.nan, z), "city": np.where(gone, None, city)}
    )
    em = Statistics.from_frame(frame, missing="em", n_boot=2)
    complete = Statistics.from_frame(frame, missing="complete")
    assert abs(em.mean[1]) < 4 * np.sqrt(4 / n) < abs(complete.mean[1])
    assert abs(em.cov[1, 1] - 2) < 4 * np.sqrt(4 * 4 / n) < abs(complete.cov[1, 1] - 2)
    assert em.rows == n
    assert complete.rows + complete.dropped == n
    assert abs(em.draw(0).mean[1] - em.mean[1]) < 4 * np.sqrt(4 / n)
    assert (em.draw(0).cov != em.cov).any()
    _same(Statistics.from_frame(frame[["x"]], missing="em"), Statistics.from_frame(frame[["x"]]), 0)


# ---- the object ----------------------------------------------------------------------------------


def test_subset_correlation_and_text():
    frame = _frame(300).assign(still=1.0)
    stats = Statistics.from_frame(frame, n_boot=2)
    names = ["small", "city", "x"]
    some = stats.subset(names)
    _same(some, Statistics.from_frame(frame[names], n_boot=2))
    np.testing.assert_allclose(
        some.draw(1).cov, Statistics.from_frame(frame[names], n_boot=2).draw(1).cov, atol=1e-12
    )
    np.testing.assert_allclose(some.correlation, np.corrcoef(_encoded(frame[names]).T), atol=1e-12)
    assert np.isnan(stats.correlation[-1]).all()
    assert repr(some) == (
        "Statistics of 3 variables in 5 columns (1 category), 300 rows, 2 bootstrap draws"
    )
    with pytest.raises(ValueError, match="read-only"):
        stats.cov[0, 0] = 1


def test_shrunk_covariances_in_the_data_and_in_the_draws():
    stats = Statistics.from_frame(_frame(300)[["x", "city"]], n_boot=3)
    less = stats.shrunk(0.2)
    for own, other in ((stats, less), *((stats.draw(b), less.draw(b)) for b in range(3))):
        expected = 0.8 * own.cov
        np.fill_diagonal(expected, own.cov.diagonal())
        np.testing.assert_allclose(other.cov, expected, rtol=1e-14)
        np.testing.assert_array_equal(other.mean, own.mean)
        assert other.count == own.count
    with pytest.raises(ValueError, match="share is 1: it must be"):
        stats.shrunk(1)


def _encoded(frame):
    return pd.get_dummies(frame, columns=["city"], drop_first=True)[
        ["small", "city_b", "city_c", "city_d", "x"]
    ].astype(float)


def test_the_frame_is_left_alone():
    frame = _holes(_frame(100))
    before = frame.copy(deep=True)
    for options in ({"missing": "em"}, {"missing": "complete"}):
        Statistics.from_frame(frame, weights=np.ones(100), n_boot=1, **options)
    pd.testing.assert_frame_equal(frame, before)


def _bad(**columns):
    return pd.DataFrame({"a": np.arange(6.0), "c": list("uvwuvw")}).assign(**columns)


def _stats(**options):
    return Statistics.from_frame(_bad(), **options)


_OWN = ("a",), (None,), 3.0, [0.0], [[1.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Statistics.from_frame(_bad(d=[np.nan] * 2 + [1.0] * 4)),
            "column 'd' has 2 missing values",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=[None] * 2 + ["x"] * 4)),
            "column 'd' has 2 missing values",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=[np.inf] + [1.0] * 5)),
            "column 'd' has 1 infinite value",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=np.nan), missing="complete"),
            "none of 6 rows .* 'd' misses 6 values",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=np.nan), missing="em"),
            "column 'd' holds only missing values",
        ),
        (
            lambda: Statistics.from_frame(
                _bad(a=[np.nan] * 3 + [1.0] * 3, d=[1.0] * 3 + [np.nan] * 3), missing="em"
            ),
            "'a' and 'd' are never observed in the same row",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=pd.Timestamp("2020-01-01"))),
            "column 'd' is of type timestamp",
        ),
        (
            lambda: Statistics.from_frame(pd.DataFrame({1: [1.0, 2.0], "1": [3.0, 5.0]})),
            "names of columns must be text; 1 of 2",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=[1, "x", 2, "y", 3, "z"])),
            "column 'd': .* text or a category",
        ),
        (
            lambda: Statistics.from_frame(_bad(d=[[1]] * 6)),
            r"column 'd' is of type list.* make it a number or a category",
        ),
        (lambda: Statistics.from_frame(_bad().head(0)), "has no rows"),
        (
            lambda: Statistics.from_frame(_bad(a=[1e200, -1e200] * 3)),
            "column 'a': moments are not finite; rescale",
        ),
        (lambda: _stats(weights=[1.0] * 5), "weights: 5 for 6 rows"),
        (
            lambda: _stats(weights=[-1.0, np.nan, np.inf, 1, 1, 1]),
            "3 of them negative, missing or infinite",
        ),
        (lambda: _stats(weights=np.zeros(6)), "none of 6 rows is complete and of positive weight"),
        (lambda: _stats(weights="w"), "no column 'w'"),
        (lambda: _stats(missing="drop"), "missing: 'drop' is not 'raise', 'complete' or 'em'"),
        (lambda: _stats(n_boot=-1), "n_boot -1"),
        (lambda: _stats().draw(0), "draw 0: there are 0 draws"),
        (lambda: _stats().subset(["a", "q"]), "no variable 'q'; variables: a, c"),
        (lambda: Statistics.merge([]), "no parts"),
        (
            lambda: Statistics.merge([_stats(), _stats().subset(["a"])]),
            "c not in both part 0 and part 1",
        ),
        (lambda: Statistics.merge([_stats(), _stats(n_boot=2)]), "part 1 has 2 draws, part 0 0"),
        (
            lambda: Statistics.merge([_stats(n_boot=2)] * 2),
            "part 1 was drawn with the seed of another part",
        ),
        (
            lambda: Statistics.merge([_stats(), Statistics.from_frame(_bad(c=1.0))]),
            "variable 'c' is a category in one part",
        ),
        (
            lambda: Statistics.merge(
                [_stats(), Statistics.from_frame(_bad(c=pd.Categorical(range(6))))]
            ),
            "column 'c' has levels of several types",
        ),
        (
            lambda: Statistics(("a", "a"), (None, None), 1, [0, 0], np.eye(2)),
            r"2 names \(1 different\)",
        ),
        (
            lambda: Statistics(*_OWN[:3], [0.0, 1.0], [[1.0]]),
            r"shape \(2,\) where 1 columns need \(1,\)",
        ),
        (lambda: Statistics(*_OWN[:2], 0, *_OWN[3:]), "count is 0.0"),
        (lambda: Statistics(*_OWN[:3], [np.nan], [[1.0]]), "column 'a': moments are not finite"),
    ],
    ids=range(30),
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "column 'x' has 2 missing values in rows 50 to 99"),
        (
            {"missing": "em"},
            "missing='em' needs all rows at once: read a sample of the rows and use "
            "Statistics.from_frame",
        ),
        ({"columns": ["q"]}, "f.parquet: no column 'q'; columns there: x, id, w"),
        ({"weights": "q"}, "no column 'q'"),
        ({"categories": ["q"]}, "no column 'q'"),
        ({"weights": "w", "missing": "complete"}, "weights: 50 for 50 rows, 1 of them negative"),
        (
            {"columns": ["id"], "batch_rows": 2000},
            "column 'id' has 1500 levels; leave an identifier out",
        ),
        ({"batch_rows": 0}, "rows of a chunk 0"),
    ],
    ids=["missing", "em", "column", "weights", "categories", "negative", "identifier", "rows"],
)
def test_bad_streams_are_named(options, message, tmp_path):
    frame = pd.DataFrame({"x": np.arange(1500.0), "id": [f"u{k}" for k in range(1500)], "w": 1.0})
    frame.loc[[60, 70], "x"] = np.nan
    frame.loc[55, "w"] = -1
    frame.to_parquet(tmp_path / "f.parquet", index=False)
    with pytest.raises(ValueError, match=message):
        Statistics.from_parquet(tmp_path / "f.parquet", **{"batch_rows": 50, **options})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"y": [1.0]}, "^1.parquet: no column 'x'; columns there: y"),
        (
            {"x": ["one"]},
            "^1.parquet: column 'x' is of type .*string, in 0.parquet of type int64; write both",
        ),
    ],
    ids=["names", "types"],
)
def test_a_part_of_another_schema_is_named(other, message, tmp_path):
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "0.parquet", index=False)
    pd.DataFrame(other).to_parquet(tmp_path / "1.parquet", index=False)
    with pytest.raises(ValueError, match=message):
        Statistics.from_parquet(tmp_path)


def test_parts_of_whole_numbers_and_of_fractions_are_numbers(tmp_path):
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "0.parquet", index=False)
    pd.DataFrame({"x": [1.5]}).to_parquet(tmp_path / "1.parquet", index=False)
    assert Statistics.from_parquet(tmp_path).mean.tolist() == [1.5]


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        Statistics.from_parquet(tmp_path)


# ---- counts, draws and weights by hand -----------------------------------------------------------


def test_draws_of_incomplete_rows_are_em_under_poisson_weights():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3))
    x[rng.random(x.shape) < 0.15] = np.nan
    frame = pd.DataFrame(x[~np.isnan(x).all(axis=1)], columns=list("abc"))
    outer = rng.exponential(size=len(frame))
    for weights in (None, outer):
        stats = Statistics.from_frame(frame, missing="em", weights=weights, n_boot=2, seed=4)
        assert stats.seeds == (4,)
        same = np.random.default_rng([4, 0])
        for b in range(2):
            times = same.poisson(1.0, len(frame)) * (1 if weights is None else weights)
            alone = Statistics.from_frame(frame, missing="em", weights=times)
            assert stats.draws[0][b] == pytest.approx(times.sum())
            np.testing.assert_allclose(stats.draws[1][b], alone.mean, atol=1e-6)
            np.testing.assert_allclose(stats.draws[2][b], alone.cov, atol=1e-6)


def test_rows_used_and_dropped_by_hand():
    frame = pd.DataFrame(
        {
            "x": [1.0, np.nan, 3.0, 4.0, 8.0],
            "c": ["a", "b", None, "b", "a"],
            "w": [2.0, 1, 1, 0, 0.5],
        }
    )
    stats = Statistics.from_frame(frame, weights="w", missing="complete")
    # the only complete b weighs nothing
    assert (stats.names, stats.levels) == (("x", "c"), (None, ("a",)))
    assert (stats.rows, stats.count) == (2, pytest.approx(2.5))
    assert stats.mean.tolist() == pytest.approx([(2 * 1 + 0.5 * 8) / 2.5])
    assert stats.cov.item() == pytest.approx((2 * 1 + 0.5 * 64) / 2.5 - 2.4**2)
    em = Statistics.from_frame(frame, weights="w", missing="em")
    assert (em.rows, em.dropped, em.count) == (4, 0, pytest.approx(4.5))
    plain = Statistics.from_frame(frame[["x", "c"]], missing="complete")
    assert (plain.rows, plain.dropped, plain.count, plain.seeds, plain.n_draws) == (3, 2, 3, (), 0)


def test_what_is_made_by_hand_and_what_a_draw_keeps():
    made = Statistics(("x", "c"), (None, ("p", "q", "r")), 9.6, [1.0, 0.25, 0.5], np.eye(3))
    assert made.rows == 10
    assert made.columns == ("x", "c=q", "c=r")
    assert made.widths.tolist() == [1, 2]
    assert made.draws[2].shape == (0, 3, 3)
    frame = _frame(50)[["x", "city"]]
    stats = Statistics.from_frame(frame, n_boot=2, seed=3)
    assert stats.seeds == (3,)
    draw = stats.draw(0)
    assert (draw.rows, draw.dropped, draw.seeds, draw.n_draws) == (50, 0, (), 0)
    assert draw.count == stats.draws[0][0]
    assert stats.subset(["city"]).seeds == (3,)
    assert stats.subset(["x", "city"]) is stats
    with pytest.raises(ValueError, match="draw 2: there are 2 draws"):
        stats.draw(2)
    with pytest.raises(ValueError, match="draw -1"):
        stats.draw(-1)


def test_correlations_of_unequal_variances_by_hand():
    made = Statistics(
        ("a", "b", "c"), (None,) * 3, 5, [0.0] * 3, [[4.0, 3, 0], [3, 9, 0], [0, 0, 0]]
    )
    expected = [[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(made.correlation, expected)


def test_pooled_moments_by_hand():
    """Two values of mean 1 and three of mean 6, and draws in which one part has no rows."""
    first = Statistics.from_frame(pd.DataFrame({"x": [0.0, 2.0]}), n_boot=3, seed=0)
    second = Statistics.from_frame(pd.DataFrame({"x": [3.0, 6.0, 9.0]}), n_boot=3, seed=1)
    whole = Statistics.merge([first, second])
    assert (whole.rows, whole.count, whole.mean.item()) == (5, 5, 4)
    assert whole.cov.item() == pytest.approx(np.var([0, 2, 3, 6, 9]))
    for b in range(3):
        counts, means, covs = (
            [part.draws[k][b].item() for part in (first, second)] for k in range(3)
        )
        mean = np.average(means, weights=counts)
        between = np.average((np.array(means) - mean) ** 2, weights=counts)
        assert whole.draws[1][b].item() == pytest.approx(mean)
        assert whole.draws[2][b].item() == pytest.approx(np.average(covs, weights=counts) + between)


def test_with_levels_has_a_column_for_each_level():
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 3.0], "city": ["c", "b", "c", "b"]})
    stats = Statistics.from_frame(frame).with_levels([None, ("a", "b", "c", "d")])
    wide = pd.DataFrame({"x": frame["x"], "b": [0, 1, 0, 1], "c": [1, 0, 1, 0], "d": 0.0})
    assert stats.columns == ("x", "city=b", "city=c", "city=d")
    np.testing.assert_allclose(stats.mean, wide.mean())
    np.testing.assert_allclose(stats.cov, np.cov(wide.T, bias=True), atol=1e-12)
