"""Panel estimators: statsmodels and means by hand, exact mixtures, bias and coverage within 4 Monte
Carlo errors, refusals.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.optimize import minimize
from scipy.stats import ttest_ind

from causal_lib.inference import panel as p

HOW = {"treated": "on", "unit": "unit", "time": "day"}


def long(y, treated, start):
    """``y`` (units, times) as a long frame; the first ``treated`` units change at ``start``."""
    unit, day = (a.ravel() for a in np.indices(y.shape))
    on = ((unit < treated) & (day >= start)).astype(int)
    return pd.DataFrame({"unit": unit, "day": day, "on": on, "y": y.ravel()})


def random_panel(rng, units=24, times=20, treated=4, start=12, effect=0.0, autoregression=0.0):
    """Units drawn alike: levels, one common factor with loadings of their own, noise that lasts."""
    noise = rng.normal(size=(units, times))
    for t in range(1, times):
        noise[:, t] += autoregression * noise[:, t - 1]
    y = (
        rng.normal(size=(units, 1))
        + rng.uniform(0.5, 1.5, (units, 1)) * rng.normal(size=times)
        + noise
    )
    y[:treated, start:] += effect
    return long(y, treated, start)


def series(rng, times=200, start=120, level=2.0, slope=0.02, autoregression=0.0):
    noise = rng.normal(size=times)
    for t in range(1, times):
        noise[t] += autoregression * noise[t - 1]
    day = np.arange(times)
    since = np.maximum(day - start, 0)
    return pd.DataFrame(
        {"day": day, "y": 1 + 0.05 * day + (day >= start) * level + slope * since + noise}
    )


def _within_chance(values, truth):
    values = np.asarray(values, dtype=float)
    assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / np.sqrt(len(values))


def _as_often_as_promised(covered):
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(covered))


# ---- interrupted time series ---------------------------------------------------------------------


@pytest.mark.parametrize("lags", [0, 5])
def test_a_broken_line_and_its_errors_are_those_of_statsmodels(lags):
    frame = series(np.random.default_rng(0), times=80, start=50, autoregression=0.4)
    got = p.interrupted_time_series(
        frame.sample(frac=1, random_state=0), "y", time="day", start=50, lags=lags
    )
    columns = frame.assign(since=(frame["day"] >= 50) * 1, after=np.maximum(frame["day"] - 50, 0))
    fitted = smf.ols("y ~ day + since + after", columns).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}
    )
    test = fitted.t_test([0, 0, 1, columns["after"][50:].mean()])
    assert got.value == pytest.approx(test.effect[0], rel=1e-9)
    assert (got.low, got.high) == pytest.approx(tuple(test.conf_int()[0]), rel=1e-9)
    assert got.p_value == pytest.approx(float(test.pvalue), rel=1e-6, abs=1e-12)
    assert got.diagnostics["level"] == pytest.approx(fitted.params["since"], rel=1e-9)
    assert got.diagnostics["slope"] == pytest.approx(fitted.params["after"], rel=1e-9)
    gap = got.path["observed"] - got.path["counterfactual"]
    assert gap[50:].mean() == pytest.approx(got.value, rel=1e-9)


def test_a_broken_line_is_unbiased_and_covers_and_an_event_beside_the_change_is_taken_for_it():
    rng = np.random.default_rng(1)
    truth = 2.0 + 0.02 * 39.5
    found = [p.interrupted_time_series(series(rng), "y", time="day", start=120) for _ in range(400)]
    _within_chance([e.value for e in found], truth)
    _as_often_as_promised([e.covers(truth) for e in found])
    shocked = series(rng, level=0, slope=0)
    shocked.loc[shocked["day"] >= 118, "y"] += 5  # two days before the change, and lasting
    assert p.interrupted_time_series(shocked, "y", time="day", start=120).low > 0


@pytest.mark.parametrize(
    ("change", "how", "message"),
    [
        ({"y": np.nan}, {}, "column 'y' has 20 missing|holds only missing"),
        ({"y": 1.0}, {}, "outcome 'y' is constant"),
        ({"day": 3}, {}, r"19 rows repeat the key \(day\)"),
        ({}, {"start": 2}, r"2 and 18 times before and since start=2: at least 4 and 4 are needed"),
        ({}, {"start": 99}, "20 and 0 times"),
        ({}, {"lags": 20}, "lags=20: must be from 0 to 19"),
        ({}, {"outcome": "z"}, "no column 'z'"),
    ],
)
def test_bad_series(change, how, message):
    frame = series(np.random.default_rng(0), times=20, start=10).assign(**change)
    with pytest.raises(ValueError, match=message):
        p.interrupted_time_series(frame, **{"outcome": "y", "time": "day", "start": 10} | how)


# ---- difference in differences -------------------------------------------------------------------


def test_two_by_two_means_and_the_two_way_regression():
    frame = random_panel(
        np.random.default_rng(2), units=16, treated=8, effect=1.5, autoregression=0.5
    )
    got = p.difference_in_differences(frame.sample(frac=1, random_state=1), "y", **HOW)
    mean = (
        frame.assign(group=frame["unit"] < 8, late=frame["day"] >= 12)
        .groupby(["group", "late"])["y"]
        .mean()
    )
    by_hand = mean[True, True] - mean[True, False] - mean[False, True] + mean[False, False]
    assert got.value == pytest.approx(by_hand, rel=1e-9)
    fitted = smf.ols("y ~ on + C(unit) + C(day)", frame).fit(
        cov_type="cluster", cov_kwds={"groups": frame["unit"], "use_correction": False}
    )
    assert got.value == pytest.approx(fitted.params["on"], rel=1e-9)
    # clustered without a correction for few clusters: smaller by n / (n - 1), n = 8 units a group
    half_variance = fitted.bse["on"] ** 2 * 8 / 7
    early, late = (
        rows.groupby("unit")["y"].mean()
        for rows in (frame[frame["day"] < 12], frame[frame["day"] >= 12])
    )
    change = (late - early).to_numpy()
    assert half_variance == pytest.approx(
        change[:8].var(ddof=1) / 8 + change[8:].var(ddof=1) / 8, rel=1e-8
    )
    # t of 7 to 14 degrees
    assert (got.high - got.low) / 2 / np.sqrt(half_variance) == pytest.approx(2.15, abs=0.06)
    welch = ttest_ind(change[:8], change[8:], equal_var=False)
    assert got.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    assert (got.low, got.high) == pytest.approx(tuple(welch.confidence_interval(0.95)), rel=1e-9)


def test_parallel_trends_give_the_effect_and_its_interval_covers():
    rng = np.random.default_rng(3)
    found = [
        p.difference_in_differences(random_panel(rng, effect=1.0, autoregression=0.6), "y", **HOW)
        for _ in range(400)
    ]
    _within_chance([e.value for e in found], 1.0)
    covered = np.mean([e.covers(1.0) for e in found])
    # 4 treated units: Welch's t errs to the safe side
    assert covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)
    assert np.mean([e.diagnostics["pre_trend_p"] < 0.05 for e in found]) < 0.05 + 4 * np.sqrt(
        0.95 * 0.05 / 400
    )


def test_a_trend_of_the_treated_is_taken_for_an_effect_and_is_seen_beforehand():
    rng = np.random.default_rng(4)
    frame = random_panel(rng)
    frame["y"] += 0.3 * frame["day"] * (frame["unit"] < 4)
    got = p.difference_in_differences(frame, "y", **HOW)
    assert got.low > 0
    assert got.diagnostics["pre_trend"] == pytest.approx(0.3, abs=0.2)
    assert got.diagnostics["pre_trend_p"] < 0.01


# ---- synthetic control ---------------------------------------------------------------------------


def test_a_mixture_of_donors_is_found_exactly():
    rng = np.random.default_rng(5)
    donors = rng.normal(size=(20, 30)).cumsum(axis=1)
    truth = np.zeros(20)
    truth[[2, 7, 11]] = [0.5, 0.3, 0.2]
    y = np.vstack([truth @ donors, donors])
    y[0, 24:] += 3
    got = p.synthetic_control(long(y, 1, 24), "y", **HOW)
    assert got.weights.to_numpy()[0] == pytest.approx(truth, abs=1e-9)
    assert got.value == pytest.approx(3, rel=1e-9)
    assert got.diagnostics["pre_error"] == pytest.approx(0, abs=1e-9)
    assert got.diagnostics["donors"] == 3
    # lifted by 100 no mixture reaches it; about its own mean it is the same
    y[0] += 100
    plain, demeaned = (
        p.synthetic_control(long(y, 1, 24), "y", demeaned=d, **HOW) for d in (False, True)
    )
    assert plain.diagnostics["pre_error"] > 90
    assert demeaned.value == pytest.approx(3, rel=1e-9)
    assert demeaned.path["counterfactual"].to_numpy() == pytest.approx(
        truth @ donors + 100, rel=1e-9
    )


def test_the_weights_are_the_constrained_least_squares():
    rng = np.random.default_rng(6)
    target = rng.normal(size=12)
    donors = rng.normal(size=(6, 12))
    ours = p._mixture(target, donors)
    theirs = minimize(
        lambda w: ((w @ donors - target) ** 2).sum(),
        np.full(6, 1 / 6),
        method="SLSQP",
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    ).x
    assert ours.sum() == pytest.approx(1, rel=1e-12)
    assert (ours >= 0).all()
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert (ours == 0).any()  # a corner, where an unconstrained answer would differ


@pytest.mark.parametrize(("treated", "placebos"), [(1, 999), (4, 99)])
def test_units_drawn_alike_are_covered_and_seldom_significant(treated, placebos):
    rng = np.random.default_rng(7)
    found = [
        p.synthetic_control(
            random_panel(rng, treated=treated, units=19 + treated, effect=1.0),
            "y",
            placebos=placebos,
            **HOW,
        )
        for _ in range(150)
    ]
    _within_chance([e.value for e in found], 1.0)
    assert np.mean([e.covers(1.0) for e in found]) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 150)
    none = [
        p.synthetic_control(
            random_panel(rng, treated=treated, units=19 + treated), "y", placebos=placebos, **HOW
        )
        for _ in range(150)
    ]
    p_values = np.array([e.p_value for e in none])
    # steps of one in 20
    assert abs((p_values <= 0.5).mean() - 0.5) < 4 * np.sqrt(0.25 / 150) + 0.05
    assert p_values.min() >= 1 / 1000 if treated > 1 else p_values.min() >= 0.05


@pytest.mark.parametrize("donors", [19, 20, 30, 39])
def test_the_interval_of_one_unit_is_the_size_that_a_twentieth_of_the_placebos_pass(donors):
    frame = random_panel(np.random.default_rng(9), treated=1, units=1 + donors, effect=1.0)
    got = p.synthetic_control(frame, "y", **HOW)
    y = frame.pivot_table(index="unit", columns="day", values="y").to_numpy()
    sizes = []
    for i in range(1, 1 + donors):
        others = np.delete(y, [0, i], axis=0)
        sizes.append(abs((y[i] - p._mixture(y[i, :12], others[:, :12]) @ others)[12:].mean()))
    # Of n sizes and the effect's own, 95% may be at most the half width: the ceil(.95 (n + 1))-th.
    half = sorted(sizes)[{19: 19, 20: 20, 30: 30, 39: 38}[donors] - 1]
    assert (got.low, got.high) == pytest.approx((got.value - half, got.value + half))
    assert got.p_value == pytest.approx(
        (1 + sum(size >= abs(got.value) for size in sizes)) / (1 + donors)
    )


def test_the_interval_of_several_units_is_that_of_averages_of_placebos():
    frame = random_panel(np.random.default_rng(10), treated=3, units=23, effect=1.0)
    got = p.synthetic_control(frame, "y", placebos=999, seed=4, **HOW)
    y = frame.pivot_table(index="unit", columns="day", values="y").to_numpy()[3:]
    gaps = []
    for i in range(20):
        others = np.delete(y, i, axis=0)
        gaps.append((y[i] - p._mixture(y[i, :12], others[:, :12]) @ others)[12:].mean())
    # By other draws: the 95% point of 999 is known within 3%, an interval 15% too narrow is five
    # times as far away.
    sizes = np.abs(np.random.default_rng(0).choice(gaps, size=(200_000, 3)).mean(axis=1))
    assert (got.high - got.low) / 2 == pytest.approx(np.quantile(sizes, 0.95), rel=0.09)
    assert (got.high + got.low) / 2 == pytest.approx(got.value)
    assert got.p_value == pytest.approx(
        (sizes >= abs(got.value)).mean(), abs=4 * np.sqrt(0.25 / 999)
    )


def test_the_same_seed_gives_the_same_placebos():
    frame = random_panel(np.random.default_rng(8))
    first, second, other = (
        p.synthetic_control(frame, "y", seed=s, placebos=99, **HOW) for s in (1, 1, 2)
    )
    assert first.to_dict() == second.to_dict()
    assert first.high != other.high
    assert first.value == other.value


# ---- refusals of both ----------------------------------------------------------------------------


def _late(frame):
    return frame.assign(on=frame["on"] & ~((frame["unit"] == 0) & (frame["day"] < 14)))


@pytest.mark.parametrize("call", [p.difference_in_differences, p.synthetic_control])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(index=5), "1 of 480 pairs of 'unit' and 'day' have no row"),
        (lambda f: pd.concat([f, f[:1]]), r"1 row repeat the key \(unit, day\)"),
        (lambda f: f.assign(on=0), "only the value 0 occurs"),
        (lambda f: f.assign(on=f["on"] * 2), "must be 0 or 1"),
        (_late, "treated 'on': 1 of 4 treated units start later than the first or stop again"),
        (
            lambda f: f.assign(on=f["on"] & (f["day"] < 15)),
            "4 of 4 treated units start later than the first or stop",
        ),
        (lambda f: f.assign(y=f["y"].where(f.index > 2)), "column 'y' has 3 missing values"),
        (lambda f: f.assign(y=1.0), "outcome 'y' is constant"),
        (lambda f: f[f["day"] > 10], "1 and 8 times before and since the change: at least 2 and 1"),
        (lambda f: f.drop(columns="on"), "no column 'on'"),
    ],
)
def test_bad_panels(call, change, message):
    with pytest.raises(ValueError, match=message):
        call(change(random_panel(np.random.default_rng(0))), "y", **HOW)


def test_too_few_units():
    few = random_panel(np.random.default_rng(0), units=6, treated=1)
    with pytest.raises(
        ValueError, match="1 and 5 treated units and others: at least 2 and 2 are needed"
    ):
        p.difference_in_differences(few, "y", **HOW)
    with pytest.raises(
        ValueError, match=r"1 and 5 treated units and donors .*: at least 1 and 19 are needed"
    ):
        p.synthetic_control(few, "y", **HOW)
    with pytest.raises(ValueError, match="placebos=5"):
        p.synthetic_control(random_panel(np.random.default_rng(0)), "y", placebos=5, **HOW)


def test_it_prints_as_a_sentence_and_the_frame_is_left_alone():
    frame = random_panel(np.random.default_rng(9))
    before = frame.copy()
    got = p.difference_in_differences(frame, "y", **HOW)
    assert repr(got).startswith("effect of the change on y (difference in differences): ")
    assert {"value", "low", "high", "p_value", "diagnostics"} <= got.to_dict().keys()
    pd.testing.assert_frame_equal(frame, before)


# ---- by hand -------------------------------------------------------------------------------------


def test_the_numbers_of_a_broken_line_by_hand():
    rng = np.random.default_rng(20)
    for n, lags in ((30, 3), (80, 3), (120, 4), (300, 5)):  # the whole part of 4 (n / 100)^(2/9)
        assert lags == int(4 * (n / 100) ** (2 / 9))
        frame = series(rng, times=n, start=n - 12)
        got = p.interrupted_time_series(frame, "y", time="day", start=n - 12)
        assert (
            got.to_dict()
            == p.interrupted_time_series(frame, "y", time="day", start=n - 12, lags=lags).to_dict()
        )
        assert got.diagnostics["lags"] == lags
        assert (got.diagnostics["times before"], got.diagnostics["times since"]) == (n - 12, 12)
    # Days that are not evenly far apart, a line of its own on each side.
    day = np.array([0.0, 1, 3, 4, 8, 10, 11, 13, 20])
    y = np.array([1.0, 3, 2, 5, 4, 9, 8, 12, 11])
    got = p.interrupted_time_series(
        pd.DataFrame({"d": day, "v": y}), "v", time="d", start=8.0, lags=0
    )
    before = np.polyfit(day[:4] - 8, y[:4], 1)
    since = np.polyfit(day[4:] - 8, y[4:], 1)
    left = np.r_[y[:4] - np.polyval(before, day[:4] - 8), y[4:] - np.polyval(since, day[4:] - 8)]
    assert got.diagnostics == pytest.approx(
        {
            "times before": 4,
            "times since": 5,
            "lags": 0,
            "level": since[1] - before[1],
            "slope": since[0] - before[0],
            "autocorrelation": (left[1:] * left[:-1]).sum() / (left**2).sum(),
        }
    )
    assert got.value == pytest.approx(
        since[1] - before[1] + (since[0] - before[0]) * (day[4:] - 8).mean()
    )
    assert got.path.index.tolist() == day.tolist()
    assert got.path["observed"].tolist() == y.tolist()
    assert got.path["counterfactual"].to_numpy() == pytest.approx(np.polyval(before, day - 8))
    p.interrupted_time_series(
        pd.DataFrame({"d": day[:8], "v": y[:8]}), "v", time="d", start=8.0, lags=7
    )
    with pytest.raises(ValueError, match="lags=-1: must be from 0 to 7"):
        p.interrupted_time_series(
            pd.DataFrame({"d": day[:8], "v": y[:8]}), "v", time="d", start=8.0, lags=-1
        )
    with pytest.raises(
        ValueError, match="4 and 3 times before and since start=8: at least 4 and 4 are needed"
    ):
        p.interrupted_time_series(
            pd.DataFrame({"d": day[:7], "v": y[:7]}), "v", time="d", start=8.0
        )


def _uneven(rng, treated=3, others=7):
    """Times 0, 1, 4, 6, 7 and 9, the change at 6, of fewer treated units than others; these spread
    less.
    """
    day = np.array([0.0, 1, 4, 6, 7, 9])
    y = (
        rng.normal(size=(treated + others, 6))
        * np.r_[np.full(treated, 3.0), np.ones(others)][:, None]
    )
    frame = long(y, treated, 3)
    return frame.assign(day=day[frame["day"]]).sample(frac=1, random_state=0), y, day


def test_differences_of_unequal_groups_by_hand():
    frame, y, day = _uneven(np.random.default_rng(21))
    got = p.difference_in_differences(frame, "y", **HOW)
    change = y[:, 3:].mean(axis=1) - y[:, :3].mean(axis=1)
    slopes = np.array([np.polyfit(day[:3], one[:3], 1)[0] for one in y])
    welch, trend = (ttest_ind(v[:3], v[3:], equal_var=False) for v in (change, slopes))
    assert got.value == pytest.approx(change[:3].mean() - change[3:].mean())
    assert (got.low, got.high) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert got.p_value == pytest.approx(welch.pvalue)
    assert got.diagnostics == pytest.approx(
        {
            "treated units": 3,
            "other units": 7,
            "times before": 3,
            "times since": 3,
            "pre_trend": slopes[:3].mean() - slopes[3:].mean(),
            "pre_trend_p": trend.pvalue,
        }
    )
    mine = y[:3].mean(axis=0)
    others = y[3:].mean(axis=0)
    assert got.path.index.tolist() == day.tolist()
    assert got.path["observed"].to_numpy() == pytest.approx(mine)
    assert got.path["counterfactual"].to_numpy() == pytest.approx(
        others + mine[:3].mean() - others[:3].mean()
    )
    assert (got.path["observed"] - got.path["counterfactual"])[3:].mean() == pytest.approx(
        got.value
    )


def test_two_units_of_each_kind_and_two_times_before_are_enough():
    y = np.arange(12.0).reshape(4, 3) ** 2
    assert np.isfinite(p.difference_in_differences(long(y, 2, 2), "y", **HOW).value)
    with pytest.raises(
        ValueError, match="3 and 1 treated units and others: at least 2 and 2 are needed"
    ):
        p.difference_in_differences(long(y, 3, 2), "y", **HOW)


def test_differences_without_noise_have_no_width():
    unit, day = np.indices((5, 4))
    for gain, chance in ((5.0, 0.0), (0.0, 1.0)):
        got = p.difference_in_differences(
            long(unit + day + gain * ((unit < 2) & (day > 1)), 2, 2), "y", **HOW
        )
        assert (got.value, got.low, got.high, got.p_value) == (gain, gain, gain, chance)


@pytest.mark.parametrize("demeaned", [False, True])
def test_the_numbers_of_synthetic_control_by_hand(demeaned):
    frame, y, _ = _uneven(np.random.default_rng(22), treated=2, others=6)
    y += 2 * np.arange(8)[:, None]
    frame["y"] += 2 * frame["unit"]
    got = p.synthetic_control(frame, "y", demeaned=demeaned, placebos=19, seed=3, **HOW)
    level = y[:, :3].mean(axis=1, keepdims=True) * demeaned
    moved = y - level
    weights = []
    without = []
    for i in (0, 1):
        weights.append(p._mixture(moved[i, :3], moved[2:, :3]))
        without.append(weights[-1] @ moved[2:] + level[i])
    gap = y[:2] - without
    placebo = []
    for i in range(2, 8):
        others = [j for j in range(2, 8) if j != i]
        placebo.append(moved[i] - p._mixture(moved[i, :3], moved[others, :3]) @ moved[others])
    placebo = np.array(placebo)
    means = (
        placebo[:, 3:].mean(axis=1)[np.random.default_rng(3).integers(6, size=(19, 2))].mean(axis=1)
    )
    sizes = sorted(abs(means))
    assert got.value == pytest.approx(gap[:, 3:].mean())
    # 19 of 20 sizes
    assert (got.low, got.high) == pytest.approx((got.value - sizes[-1], got.value + sizes[-1]))
    assert got.p_value == pytest.approx((1 + sum(size >= abs(got.value) for size in sizes)) / 20)
    assert got.diagnostics == pytest.approx(
        {
            "treated units": 2,
            "other units": 6,
            "times before": 3,
            "times since": 3,
            "pre_error": np.sqrt((gap[:, :3] ** 2).mean()),
            "placebo_pre_error": np.sqrt((placebo[:, :3] ** 2).mean()),
            "donors": np.mean([(w > 1e-6).sum() for w in weights]),
        }
    )
    assert got.weights.index.tolist() == [0, 1]
    assert got.weights.columns.tolist() == [2, 3, 4, 5, 6, 7]
    assert got.weights.to_numpy() == pytest.approx(np.array(weights))
    assert got.path["observed"].to_numpy() == pytest.approx(y[:2].mean(axis=0))
    assert got.path["counterfactual"].to_numpy() == pytest.approx(np.mean(without, axis=0))
    assert got.estimator == ("synthetic control, demeaned" if demeaned else "synthetic control")
    assert got.covers(got.low)
    assert got.covers(got.high)
    assert not got.covers(got.high + 1e-9)
    assert not got.covers(got.low - 1e-9)
    with pytest.raises(ValueError, match="placebos=18: an interval of 95% needs 19 or more"):
        p.synthetic_control(frame, "y", placebos=18, **HOW)


def test_synthetic_control_draws_999_placebos_with_seed_0_of_five_donors_or_more():
    frame, _, _ = _uneven(np.random.default_rng(23), treated=2, others=5)
    assert (
        p.synthetic_control(frame, "y", **HOW).to_dict()
        == p.synthetic_control(frame, "y", placebos=999, seed=0, demeaned=False, **HOW).to_dict()
    )
    with pytest.raises(
        ValueError, match=r"2 and 4 treated units and donors .*: at least 1 and 5 are needed"
    ):
        p.synthetic_control(frame[frame["unit"] < 6], "y", **HOW)


def test_a_mixture_that_is_met_exactly_has_no_size():
    assert p._mixture(np.zeros(3), np.zeros((2, 3))).sum() == pytest.approx(1)
    assert p._mixture(np.array([1.0, 2.0]), np.array([[1.0, 2.0], [5.0, -1.0]])) == pytest.approx(
        [1, 0]
    )


def test_a_panel_effect_as_a_dictionary_and_in_print():
    found = p.PanelEffect("tone", "x", 1.0, 0.5, 1.5, 0.0316, pd.DataFrame(), {"lags": 3})
    assert found.to_dict() == {
        "outcome": "tone", "estimator": "x", "value": 1.0, "low": 0.5, "high": 1.5, "p_value": 0.0316,
        "diagnostics": {"lags": 3},
    }  # fmt: skip
    assert repr(found) == "effect of the change on tone (x): 1.0000 [0.5000, 1.5000], p = 0.032"
