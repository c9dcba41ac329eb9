"""The curve over a continuous treatment against a known one, a manual derivation, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde, norm

from causal_lib.inference import NoOverlapError, dose, dose_response


def _bent(n, seed, pull=0.6):
    """x raises t and y; the curve is sin(1.5 t) + 0.5."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = pull * x + rng.normal(size=n)
    y = np.sin(1.5 * t) + x + 0.5 * x**2 + 0.7 * rng.normal(size=n)
    return pd.DataFrame({"x": x, "t": t, "y": y, "user": np.arange(n) // 2})


def test_the_curve_is_covered_and_the_naive_one_is_not():
    shares = []
    naive = []
    bias = []
    for seed in range(5):
        frame = _bent(1500, seed)
        for adjustment, covered in ((["x"], shares), ([], naive)):
            found = dose_response(frame, "t", "y", adjustment=adjustment)
            truth = np.sin(1.5 * found["level"]) + 0.5
            covered.append(((found["low"] <= truth) & (truth <= found["high"])).mean())
            if adjustment:
                bias.append((found["value"] - truth) / (found["high"] - found["low"]) * 3.92)
    assert found.columns.tolist() == ["level", "value", "low", "high"]
    assert len(found) == 20
    assert np.mean(shares) >= 0.9
    assert np.mean(naive) < 0.5
    assert abs(np.mean(bias)) < 0.5  # standard errors, over 100 levels of 5 samples


def test_without_columns_it_is_a_local_quadratic():
    frame = _bent(400, 1)
    found = dose_response(frame, "t", "y", adjustment=[], at=[-1.0, 0.3], bandwidth=0.4)
    for row in found.itertuples():
        t = frame["t"].to_numpy() - row.level
        y = frame["y"].to_numpy()
        kernel = np.exp(-((t / 0.4) ** 2) / 2)
        assert row.value == pytest.approx(np.polyfit(t, y, 2, w=np.sqrt(kernel))[2])
        wide = np.vander(t, 3)[:, ::-1] * np.sqrt(kernel)[:, None]
        bread = np.linalg.inv(wide.T @ wide)
        left = (np.sqrt(kernel) * y - wide @ bread @ wide.T @ (np.sqrt(kernel) * y)) / (
            1 - np.einsum("ij,jk,ik->i", wide, bread, wide)
        )
        error = np.sqrt((((wide @ bread[0]) * left) ** 2).sum() * 400 / 399)
        assert row.high - row.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_the_bandwidth_is_the_least_within_an_error_of_the_least_loss_without_the_row():
    """Row by row: a line through the others, weighted by the kernel, and how far the row lies from
    it.
    """
    rng = np.random.default_rng(6)
    t = np.sort(rng.uniform(-2, 2, 200))
    y = np.sin(t) + 0.5 * rng.normal(size=200)
    low, high = np.quantile(t, [0.05, 0.95])
    inside = np.flatnonzero((low <= t) & (t <= high))
    losses = {}
    for width in np.geomspace(0.1, 2.0, 15) * t.std():
        roots = np.exp(-(((t - t[inside, None]) / width) ** 2) / 4)
        if (((roots**2).sum(axis=1) ** 2 / (roots**4).sum(axis=1)) < 20).any():
            continue
        others = [np.arange(200) != i for i in inside]
        lines = [
            np.polyfit(t[rest], y[rest], 1, w=root[rest])
            for rest, root in zip(others, roots, strict=True)
        ]
        losses[width] = np.array(
            [(y[i] - np.polyval(line, t[i])) ** 2 for i, line in zip(inside, lines, strict=True)]
        )
    best = min(losses.values(), key=np.mean)
    more = {width: loss - best for width, loss in losses.items()}
    by_hand = min(
        width for width, one in more.items() if one.mean() <= one.std() / np.sqrt(len(one))
    )
    assert min(losses) < by_hand < max(losses)
    assert dose._cross_validated(y, t, t) == pytest.approx(by_hand)


class _Unit:
    """In place of the boosted spread: 1 everywhere."""

    def __init__(self, **settings):
        pass

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.ones(len(x))


def _curved(n, seed, pull=0.3):
    """x raises t and y; the curve is 0.5 + t - 0.3 t², which a local quadratic follows without
    bias.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = pull * x + rng.normal(size=n)
    y = 0.5 + t - 0.3 * t**2 + x * (1 + 0.5 * t) + 0.7 * rng.normal(size=n)
    return pd.DataFrame({"x": x, "t": t, "y": y, "user": np.arange(n) // 2})


def _mean_outcome(rows):
    x, t = rows.T
    return 0.5 + t - 0.3 * t**2 + x * (1 + 0.5 * t)


@pytest.fixture
def known(monkeypatch):
    """Call it with the functions that take the place of the fitted mean of t given x and of y given
    x and t.
    """

    def know(centre, outcome):
        monkeypatch.setattr(
            dose, "held_out", lambda t, x, splits, learners, *, seed: centre(x.to_numpy())
        )
        monkeypatch.setattr(
            dose,
            "fit",
            lambda y, x, seed, groups: lambda new: outcome(new.to_numpy()),
        )
        monkeypatch.setattr(dose, "HistGradientBoostingRegressor", _Unit)

    return know


def _flat(rows):
    return np.zeros(len(rows))


def _line(rows):
    return 0.3 * rows[:, 0]


def test_distances_from_the_curve_are_standard_normal(known, draws, check_pivot, monkeypatch):
    known(_line, _mean_outcome)
    monkeypatch.setattr(dose, "gaussian_kde", lambda standard: norm.pdf)
    monkeypatch.setattr(dose, "_GRID", 20)
    distances = []
    for seed in range(draws):
        found = dose_response(
            _curved(200, seed), "t", "y", adjustment=["x"], at=[0.0, 1.0], bandwidth=0.6
        )
        distances.append(
            (found["value"] - [0.5, 1.2]) / (found["high"] - found["low"]) * 2 * 1.959964
        )
    for at in (0, 1):
        check_pivot([one[at] for one in distances])


def test_one_of_two_models_may_be_wrong(known):
    """A density that ignores x with the right outcome model; the right density with an outcome
    model of 0; both wrong.
    """
    bias = []
    for centre, outcome in ((_flat, _mean_outcome), (_line, _flat), (_flat, _flat)):
        known(centre, outcome)
        found = [
            dose_response(
                _curved(250, seed), "t", "y", adjustment=["x"], at=[1.0], bandwidth=0.6
            ).loc[0]
            for seed in range(100)
        ]
        bias.append(
            np.mean([(one["value"] - 1.2) / (one["high"] - one["low"]) * 3.92 for one in found])
        )
    assert abs(bias[0]) < 4 / np.sqrt(100)
    # weights end at 20, and the kernel density is smooth: a little of the bias is left
    assert abs(bias[1]) < 0.7
    assert bias[2] > 1.8


@pytest.mark.parametrize("cluster", [None, "user"])
def test_pseudo_outcomes_and_their_error_by_hand(cluster, known):
    """With models that are a little wrong, so that every term counts; by exact sums instead of the
    library's grids.
    """

    def outcome(rows):
        return _mean_outcome(rows) + 0.4 * rows[:, 0] - 0.2

    known(lambda rows: 0.7 * rows[:, 0], outcome)
    frame = _curved(300, 5, pull=0.8)
    found = dose_response(
        frame, "t", "y", adjustment=["x"], at=[-0.5, 1.0], bandwidth=0.5, cluster=cluster
    )
    x, t, y = (frame[name].to_numpy() for name in "xty")
    kernel_density = gaussian_kde(t - 0.7 * x)
    # of level i given the x of row j
    density = kernel_density((t[:, None] - 0.7 * x).ravel()).reshape(300, 300)
    usual = density.mean(axis=1)
    # level i, row j
    predicted = outcome(np.column_stack([np.tile(x, 300), np.repeat(t, 300)])).reshape(300, 300)
    weight = usual / np.maximum(np.diag(density), usual / 20)
    pseudo = (y - np.diag(predicted)) * weight + predicted.mean(axis=1)
    assert weight.max() > 3
    groups = frame["user"] if cluster else frame.index
    for row in found.itertuples():
        kernel = np.exp(-(((t - row.level) / 0.5) ** 2) / 2)
        wide = np.vander(t - row.level, 3)[:, ::-1]
        bread = np.linalg.inv(wide.T @ (wide * kernel[:, None]))
        share = (wide * kernel[:, None]) @ bread[0]  # of each pseudo-outcome in the value
        fitted = wide @ bread @ wide.T @ (kernel * pseudo)
        leverage = kernel * np.einsum("ij,jk,ik->i", wide, bread, wide)
        own = share * (pseudo - fitted) / (1 - leverage)
        others = share @ (predicted - predicted.mean(axis=1)[:, None]) / 300
        sums = pd.Series(own + others).groupby(groups).sum()
        error = np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))
        assert row.value == pytest.approx(share @ pseudo, abs=0.02 * error)
        assert row.high - row.low == pytest.approx(2 * 1.959964 * error, rel=0.01)
        for alone in (own, others):  # neither term is small against the tolerance
            part = pd.Series(alone).groupby(groups).sum()
            assert np.sqrt((part**2).sum()) < 0.95 * error


def test_clusters_of_copies_count_once():
    frame = _bent(300, 2)
    copies = pd.concat([frame, frame], ignore_index=True).assign(who=np.tile(np.arange(300), 2))
    how = {"adjustment": [], "at": [0.0], "bandwidth": 0.5}
    width = [
        (ends["high"] - ends["low"]).item()
        for ends in (
            dose_response(frame, "t", "y", **how),
            dose_response(copies, "t", "y", cluster="who", **how),
            dose_response(copies, "t", "y", **how),
        )
    ]
    assert width[1] == pytest.approx(width[0], rel=0.03)  # a copy halves the leverage of a row
    assert width[2] == pytest.approx(width[0] / np.sqrt(2), rel=0.03)


def _with(**columns):
    return _bent(300, 3).assign(**columns)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (
            _with(t=[0, 1] * 150),
            {},
            r"treatment 't' has 2 levels of type int64: a curve needs a number with over 10; .*contrast",
        ),
        (_with(t="a"), {}, "treatment 't' has 1 levels of type str"),
        (
            _with(),
            {"at": [0.0, 9.0]},
            r"at: levels must lie within those seen, \[.*\]; found \[0.0, 9.0\]",
        ),
        (_with(), {"at": []}, "at: levels must lie within"),
        (_with(), {"at": [np.nan]}, "at: levels must lie within"),
        (_with(), {"bandwidth": 0.0}, "bandwidth=0.0 must be above 0"),
        (
            _with(),
            {"bandwidth": 1e-4, "at": [0.0], "adjustment": []},
            r"level 0: \d rows near it are too few \(bandwidth 0.0001",
        ),
        (_with(), {"adjustment": ["x", "t"]}, "adjustment holds t itself"),
        (_with(), {"adjustment": ["y"]}, "adjustment holds y itself"),
        (_with(), {"adjustment": ["x", "z"]}, "no column 'z'"),
        (_with(), {"adjustment": "user z"}, "write \\['user z'\\]"),
        (
            _with(t=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(300), unit="D")),
            {},
            "treatment 't' has 300 levels of type datetime64.*a curve needs a number",
        ),
        (_with(x=[str(k) for k in range(300)]), {}, "column 'x' holds numbers as text"),
        (_with(y=["a", "b"] * 150), {}, "column 'y' must hold numbers"),
        (_with(y=1.0), {}, "outcome 'y' is constant"),
        (_with(x=np.nan), {}, "column 'x' holds only missing values"),
        (_with().head(0), {}, "has no rows"),
        (_with(user=0), {"cluster": "user"}, "1 rows or clusters are too few for 5 folds"),
        (
            _with().head(12),
            {"adjustment": []},
            "12 rows are too few or too uneven to choose a bandwidth; give bandwidth",
        ),
    ],
)
def test_bad_input(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        dose_response(frame, "t", "y", **({"adjustment": ["x"]} | arguments))


def test_a_tenth_of_the_rows_may_be_out_of_reach():
    """Out of reach is a density under 1% of the average row's."""

    def reach(out, height):
        low = (
            height * (100 - out) / (100 - height * out)
        )  # so that these rows have ``height`` times the average density
        density = np.r_[np.full(out, low), np.ones(100 - out)]
        assert low / density.mean() == pytest.approx(height)
        dose._check_reach(np.array([0.5]), lambda level: density, np.zeros(100))

    reach(10, 0.0099)
    reach(50, 0.0101)
    with pytest.raises(
        NoOverlapError,
        match=r"no overlap: 11% of 100 rows are out of reach of level 0.5 .*10% are allo",
    ):
        reach(11, 0.0099)


def test_levels_out_of_reach_are_refused():
    frame = _bent(900, 4, pull=2.0)
    with pytest.raises(
        NoOverlapError,
        match=r"no overlap: \d+% of 900 rows are out of reach of level .*; leave out of at: ",
    ):
        dose_response(frame, "t", "y", adjustment=["x"])
    with pytest.raises(
        NoOverlapError,
        match=r"no overlap: the adjustment columns explain 100.0% of the treatment; restrict",
    ):
        dose_response(frame.assign(t=frame["x"] + 0.01 * frame["t"]), "t", "y", adjustment=["x"])


def test_weights_are_of_a_spread_that_differs_between_rows_and_end_at_twenty(monkeypatch):
    """Half of the rows spread three times as far; a row far from its mean would weigh hundreds."""
    told = []
    unit = []  # of the squares that the model of the spread is fitted to

    class Spread(_Unit):
        def __init__(self, **settings):
            told.append(settings)

        def fit(self, x, y):
            assert (y >= 0).all()
            return self

        def predict(self, x):
            return np.where(x[:, 0] > 0, 9.0, 1.0) / unit[0] ** 2

    def mean(t, x, splits, learners, *, seed):
        told.append(seed)
        return 0.5 * x["x"].to_numpy()

    def outcome(y, x, seed, groups):
        told.append(seed)
        return lambda new: new["x"].to_numpy() * new[dose._TREATMENT].to_numpy()

    monkeypatch.setattr(dose, "held_out", mean)
    monkeypatch.setattr(dose, "fit", outcome)
    monkeypatch.setattr(dose, "HistGradientBoostingRegressor", Spread)
    rng = np.random.default_rng(8)
    x = rng.normal(size=400)
    spread = np.where(x > 0, 3.0, 1.0)
    t = 0.5 * x + spread * rng.normal(size=400)
    far = np.flatnonzero(x < 0)[:3]
    x[far] = -16.0
    t[far] = 0.1, 0.0, -0.1  # eight of their own deviations away, where most of the others are
    y = t + x + rng.normal(size=400)
    unit.append((t - 0.5 * x).std())
    grid = np.quantile(t, np.linspace(0, 1, 60))
    pseudo, apart = dose._pseudo_outcomes(
        y, t, pd.DataFrame({"x": x}), np.arange(400), 5, grid, np.array([0.0])
    )
    of_one = gaussian_kde((t - 0.5 * x) / spread)

    def density(levels):  # levels in rows, the rows' x in columns
        return (
            of_one(((levels[:, None] - 0.5 * x) / spread).ravel()).reshape(len(levels), 400)
            / spread
        )

    usual = np.interp(t, grid, density(grid).mean(axis=1))
    own = of_one((t - 0.5 * x) / spread) / spread
    weight = usual / np.maximum(own, 0.05 * usual)
    assert (weight > 19.9).sum() >= 2
    curve = (x[:, None] * grid).mean(axis=0)
    by_hand = (y - x * t) * weight + np.interp(t, grid, curve)
    assert pseudo == pytest.approx(by_hand, rel=0.02, abs=0.02)
    assert apart == pytest.approx(x[:, None] * grid - curve)
    settings = {
        "loss": "poisson",
        "max_iter": 50,
        "learning_rate": 0.05,
        "max_leaf_nodes": 7,
        "min_samples_leaf": 100,
    }
    assert [one for one in told if isinstance(one, dict)] == [settings | {"random_state": 5}] * 5
    assert [one for one in told if not isinstance(one, dict)] == [5] * 6


def test_rows_whose_treatment_is_fixed_are_seen_in_the_spread(known, monkeypatch):
    known(_line, _mean_outcome)
    frame = _curved(300, 7)
    monkeypatch.setattr(
        _Unit,
        "predict",
        lambda self, rows: np.where(rows[:, 0] > np.quantile(frame["x"], 0.97), 1e-6, 1),
    )
    with pytest.raises(
        NoOverlapError,
        match="for 9 of 300 rows the adjustment columns leave the treatment under 1%",
    ):
        dose_response(frame, "t", "y", adjustment=["x"], at=[0.0], bandwidth=0.6)


def test_shares_are_dealt_to_the_grid_by_interpolation():
    rng = np.random.default_rng(0)
    t = rng.uniform(1, 4, 50)
    grid = np.array([t.min(), 1.5, 2.2, 3.9, t.max()])
    share = rng.normal(size=50)
    heights = rng.normal(size=5)
    found = dose._on_grid(share, t, grid) @ heights
    assert found == pytest.approx(share @ np.interp(t, grid, heights))


def test_levels_by_default_are_twenty_steps_within_the_middle_nine_tenths():
    frame = _bent(300, 11)
    found = dose_response(frame, "t", "y", adjustment=[], bandwidth=0.5)
    assert found["level"].to_numpy() == pytest.approx(
        np.linspace(*np.quantile(frame["t"], [0.05, 0.95]), 20)
    )
    ends = [frame["t"].min(), frame["t"].max()]
    assert (
        dose_response(frame, "t", "y", adjustment=[], at=ends, bandwidth=5)["level"].tolist()
        == ends
    )
    assert dose_response(frame, "t", "y", adjustment=[], at=0, bandwidth=5)["level"].tolist() == [
        0.0
    ]
    for out in (ends[0] - 0.01, ends[1] + 0.01):
        with pytest.raises(ValueError, match="at: levels must lie within those seen"):
            dose_response(frame, "t", "y", adjustment=[], at=[0.0, out], bandwidth=5)


def test_the_bandwidth_that_is_taken_is_the_chosen_one():
    frame = _bent(300, 12)
    y = frame["y"].to_numpy()
    t = frame["t"].to_numpy()
    width = dose._cross_validated(y, t, np.unique(np.quantile(t, np.linspace(0, 1, 60))))
    chosen, told = (
        dose_response(frame, "t", "y", adjustment=[], at=[0.2], **how)
        for how in ({}, {"bandwidth": width})
    )
    pd.testing.assert_frame_equal(chosen, told)
    other = dose_response(frame, "t", "y", adjustment=[], at=[0.2], bandwidth=2 * width)
    assert other["value"].item() != told["value"].item()


def test_twenty_rows_must_be_near():
    """Rows at one distance count in full: 19 are too few, 20 enough; ten levels are too few, eleven
    enough.
    """
    rng = np.random.default_rng(13)
    for near in (19, 20):
        t = np.r_[np.zeros(near), 50 + np.arange(20.0)] + 1e-9 * rng.random(near + 20)
        y = rng.normal(size=near + 20)
        grid = np.array([0.0, 70.0])
        ask = (y, t, 0.0, 1.0, grid, np.zeros((near + 20, 2)))
        if near == 20:
            assert np.isfinite(dose._local_quadratic(*ask)[0])
        else:
            with pytest.raises(
                ValueError, match=r"level 0: 19 rows near it are too few \(bandwidth 1\)"
            ):
                dose._local_quadratic(*ask)
    frame = _bent(300, 14)
    dose_response(frame.assign(t=np.arange(300) % 11), "t", "y", adjustment=[], at=[5], bandwidth=3)
    with pytest.raises(ValueError, match="treatment 't' has 10 levels of type int64"):
        dose_response(
            frame.assign(t=np.arange(300) % 10), "t", "y", adjustment=[], at=[5], bandwidth=3
        )


def test_levels_that_are_out_of_reach_are_named():
    """Of three levels the second lacks 30% of the rows, the third 20%, the first 10%."""
    out = {0.5: 10, 1.5: 30, 2.5: 20}
    with pytest.raises(
        NoOverlapError,
        match=r"30% of 100 rows are out of reach of level 1\.5 .*; leave out of at: 1\.5, 2\.5$",
    ):
        dose._check_reach(
            np.array(list(out)),
            lambda level: np.r_[np.zeros(out[level]), np.ones(100 - out[level])],
            np.zeros(100),
        )


def test_rows_that_are_less_near_count_less():
    """Ten rows at the level and ten of half the weight are 18 rows; fourteen and ten are 21.9."""
    half = np.sqrt(2 * np.log(2))
    for at_level, enough in ((10, False), (14, True)):
        t = np.r_[np.zeros(at_level), np.linspace(0, 1e-9, 10) + half]
        t[1 : at_level // 2] = -1e-9
        ask = (
            t**2,
            t,
            0.0,
            1.0,
            np.array([0.0, half]),
            np.zeros((len(t), 2)),
        )
        if enough:
            assert np.isfinite(dose._local_quadratic(*ask)[0])
        else:
            with pytest.raises(ValueError, match="level 0: 18 rows near it are too few"):
                dose._local_quadratic(*ask)


@pytest.fixture(scope="module")
def plain():
    """A small table and its curve at two levels."""
    frame = _bent(240, 15)
    return frame, dose_response(frame, "t", "y", adjustment=["x"], at=[-0.5, 0.5])


def test_units_change_nothing_but_the_units(plain):
    """A price in rupiah, revenue in billions, a column of nanoseconds since 1970."""
    frame, found = plain
    for of_t, of_y, of_x in ((1e9, 1e-9, 1e-9), (1e-9, 1e9, 1e9)):
        moved = pd.DataFrame(
            {"t": of_t * frame["t"], "y": of_y * frame["y"], "x": of_x * (frame["x"] + 1e3)}
        )
        again = dose_response(moved, "t", "y", adjustment=["x"], at=of_t * found["level"])
        assert again[["value", "low", "high"]].to_numpy() == pytest.approx(
            of_y * found[["value", "low", "high"]].to_numpy(), rel=1e-3, abs=1e-3 * of_y
        )


def test_rows_index_and_dtypes_change_nothing(plain):
    frame, found = plain
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = frame.iloc[order].set_index(np.zeros(len(frame), dtype=int))
    others = {
        "shuffled": mixed,
        "objects": frame.astype({"t": object, "y": object, "x": object}),
        "arrow": frame.astype(dict.fromkeys("txy", "float64[pyarrow]")),
        "nullable": frame.astype(dict.fromkeys("txy", "Float64")),
    }
    for name, other in others.items():
        again = dose_response(other, "t", "y", adjustment=["x"], at=[-0.5, 0.5])
        pd.testing.assert_frame_equal(again, found, rtol=1e-9, obj=name)


def test_a_treatment_that_is_called_as_a_level_is_not_mistaken_for_it():
    """The indicator of city b is called city_b beside the columns, as the treatment is here."""
    frame = _bent(240, 16).rename(columns={"t": "city_b"})
    frame["city"] = np.where(frame["x"] > 0, "b", "a")
    other = frame.rename(columns={"city_b": "price"})
    how = {"adjustment": ["city", "x"], "at": [0.0, 0.5]}
    found = dose_response(frame, "city_b", "y", **how)
    pd.testing.assert_frame_equal(found, dose_response(other, "price", "y", **how))


def test_between_two_levels_it_is_the_line_between_them():
    """Of 30 rows at 0 and 30 at 1, a parabola is not told from a line: half-way it is their mean,
    wherever the outcome's zero is.
    """
    t = np.repeat([0.0, 1.0], 30)
    rng = np.random.default_rng(17)
    for offset in (0.0, 1e4):
        y = offset + t + rng.normal(size=60)
        value, influence = dose._local_quadratic(
            y, t, 0.5, 0.2, np.array([0.0, 1.0]), np.zeros((60, 2))
        )
        assert value == pytest.approx(y.mean())
        assert influence.mean() == pytest.approx(0, abs=1e-6)


def test_a_far_row_does_not_take_the_curve_away():
    """Next to a treatment of 1e7 standard deviations the local parabola is that of the near rows."""
    rng = np.random.default_rng(18)
    t = rng.normal(size=200)
    y = t**2 + 0.1 * rng.normal(size=200)
    grid = np.linspace(-2, 2, 5)
    near = dose._local_quadratic(y, t, 0.3, 0.5, grid, np.zeros((200, 5)))[0]
    t[0] = 1e7
    rest = dose._local_quadratic(y[1:], t[1:], 0.3, 0.5, grid, np.zeros((199, 5)))[0]
    far = dose._local_quadratic(y, t, 0.3, 0.5, np.append(grid, 1e7), np.zeros((200, 6)))[0]
    assert far == pytest.approx(rest)
    assert far == pytest.approx(near, abs=0.05)


def test_a_contrast_is_the_difference_of_two_levels_with_the_error_of_the_difference():
    """Of a straight line: the bandwidth moves both levels alike, so that the difference is sure."""
    rng = np.random.default_rng(3)
    t = rng.uniform(0, 10, 400)
    frame = pd.DataFrame({"t": t, "y": 2 * t + rng.normal(size=400), "user": np.arange(400) // 2})
    how = {"adjustment": [], "bandwidth": 3.0, "cluster": "user"}
    curve = dose_response(frame, "t", "y", at=[4.0, 6.0], **how)
    found = dose_response(frame, "t", "y", contrast=(4.0, 6.0), **how)
    assert list(found) == ["control", "treated", "value", "low", "high"]
    (row,) = found.to_dict("records")
    assert (row["control"], row["treated"]) == (4.0, 6.0)
    assert row["value"] == pytest.approx(curve["value"].diff().iloc[1])
    assert row["low"] < 4 < row["high"]
    (back,) = dose_response(frame, "t", "y", contrast=(6.0, 4.0), **how).to_dict("records")
    assert (back["value"], back["low"]) == pytest.approx((-row["value"], -row["high"]))
    # levels near each other share their rows: less noise than of two far apart
    near = dose_response(frame, "t", "y", contrast=(4.0, 4.1), **how)
    assert (near["high"] - near["low"]).item() < 0.2 * (row["high"] - row["low"])
    for contrast, message in (
        ((4.0, 4.0), "two different levels are needed"),
        ((4.0,), "two different levels are needed"),
        ((4.0, 99.0), "contrast: levels must lie within those seen"),
    ):
        with pytest.raises(ValueError, match=message):
            dose_response(frame, "t", "y", contrast=contrast, **how)
    with pytest.raises(ValueError, match="give contrast= or at=, not both"):
        dose_response(frame, "t", "y", contrast=(4.0, 6.0), at=[1.0], **how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"at": ["a"]}, r"at: levels are numbers, not \['a'\]"),
        ({"bandwidth": "wide"}, "bandwidth: a number of at least 0 is needed, not 'wide'"),
        ({"contrast": 1}, "contrast=1: two different levels are needed"),
    ],
)
def test_words_where_numbers_are_needed(how, message):
    frame = pd.DataFrame({"t": np.arange(50.0), "y": np.arange(50.0) % 7})
    with pytest.raises(ValueError, match=message):
        dose_response(frame, "t", "y", adjustment=[], **how)


def test_codes_for_missing_in_dose_and_outcome_are_named():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"dose": rng.normal(size=400)})
    frame["y"] = frame["dose"] + rng.normal(size=400)
    for column, role in (("dose", "treatment"), ("y", "outcome")):
        coded = frame.assign(**{column: frame[column].where(frame.index > 3, -999)})
        with pytest.warns(UserWarning, match=f"{role} '{column}' holds -999 in 4 rows, far from"):
            dose_response(coded, "dose", "y", adjustment=[], at=[0.0])
