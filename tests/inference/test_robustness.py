"""Sensitivity against published numbers and against a hidden cause that is simulated, then
revealed.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import t as student

from causal_lib.inference import robustness
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.effects import effect
from causal_lib.inference.estimators import ESTIMATORS, Sample
from causal_lib.inference.robustness import (
    CHECKS,
    Noise,
    Sensitivity,
    _bound_by_column,
    e_value,
    refute,
    sensitivity,
)


def test_the_numbers_of_the_paper():
    """Darfur: coefficient .0973, standard error .0232, 783 degrees of freedom (Cinelli and Hazlett
    2020, table 1).
    """
    found = Sensitivity("harm", "peace", 0.09731582, 0.02325654, 783, 1.0, 0.05, pd.DataFrame())
    assert found.partial_r2 == pytest.approx(0.0219, abs=1e-4)
    assert found.robustness == pytest.approx(0.139, abs=5e-4)
    assert found.robustness_of_sign == pytest.approx(0.076, abs=5e-4)


LINE = {"estimator": "regression", "target": "overlap"}  # one coefficient


@pytest.fixture(scope="module")
def hidden():
    """u causes t and y; x does too; the effect of t is 1."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 4000))
    t = 0.5 * x + 0.5 * u + rng.normal(size=4000)
    return pd.DataFrame(
        {
            "x": x,
            "u": u,
            "t": t,
            "y": t + x + 0.8 * u + rng.normal(size=4000),
            "other": x + u + rng.normal(size=4000),
        }
    )


def _binary(frame, control, treated):
    """The frame's treatment above 0 or not, in the words of two levels."""
    return frame.head(600).assign(t=np.where(frame["t"].head(600) > 0, treated, control))


def rest(values, *columns):
    x = np.column_stack([np.ones(len(values)), *columns])
    return values - x @ np.linalg.lstsq(x, values, rcond=None)[0]


def test_the_bias_of_a_cause_of_known_strength_is_exact(hidden):
    x, u, t, y = (hidden[name].to_numpy() for name in ("x", "u", "t", "y"))
    found = sensitivity(hidden, "t", "y", ["x"], **LINE)
    long = np.linalg.lstsq(np.column_stack([np.ones(4000), t, x, u]), y, rcond=None)[0][1]
    with_treatment = np.corrcoef(rest(t, x), rest(u, x))[0, 1] ** 2
    with_outcome = np.corrcoef(rest(y, x, t), rest(u, x, t))[0, 1] ** 2
    value, low, high = found.under(with_treatment, with_outcome)
    assert value == pytest.approx(long)
    error = np.sqrt((rest(y, x, t, u) ** 2).sum() / (4000 - 4) / (rest(t, x, u) ** 2).sum())
    assert (high - low) / 2 / 1.9606 == pytest.approx(error, rel=1e-3)


def test_value_error_and_freedom_are_those_of_least_squares(hidden):
    frame = hidden.head(30)
    found = sensitivity(frame, "t", "y", ["x", "u"], **LINE)
    fitted = sm.OLS(frame["y"], sm.add_constant(frame[["t", "x", "u"]])).fit()
    assert found.value == pytest.approx(fitted.params["t"])
    assert found.standard_error == pytest.approx(fitted.bse["t"])
    assert found.freedom == fitted.df_resid == 26
    assert found.partial_r2 == pytest.approx(
        fitted.tvalues["t"] ** 2 / (fitted.tvalues["t"] ** 2 + 26)
    )


def test_the_robustness_value_brings_the_effect_to_what_it_says(hidden):
    found = sensitivity(hidden, "t", "y", ["x"], **LINE)
    assert found.under(found.robustness, found.robustness)[0] == pytest.approx(0, abs=1e-9)
    low = found.under(found.robustness_of_sign, found.robustness_of_sign)[1]
    assert low == pytest.approx(0, abs=2e-3)
    half = sensitivity(hidden, "t", "y", ["x"], **LINE, q=0.5)
    assert half.under(half.robustness, half.robustness)[0] == pytest.approx(found.value / 2)
    assert found.under(found.partial_r2, 1.0)[0] == pytest.approx(0, abs=1e-9)
    assert "would reduce it to zero" in repr(found)


def test_a_cause_as_strong_as_a_column_is_bounded_by_it(hidden):
    """u and x are equally strong with the treatment: the bound by x has that strength, and covers
    what u does.
    """
    found = sensitivity(hidden, "t", "y", ["x"], **LINE, multiples=(1,))
    bound = found.bounds.iloc[0]
    x, u, t = (hidden[name].to_numpy() for name in ("x", "u", "t"))
    assert bound["with_treatment"] == pytest.approx(
        np.corrcoef(rest(t, x), rest(u, x))[0, 1] ** 2, rel=0.15
    )
    assert bound["value"] < 1.0 < found.value  # u is a little weaker with the outcome than x
    assert bound["value"] == pytest.approx(
        found.under(bound["with_treatment"], bound["with_outcome"])[0]
    )
    assert (
        sensitivity(hidden, "t", "y", ["x"], **LINE, multiples=(50,)).bounds["value"].isna().all()
    )


def test_e_values_of_the_paper():
    assert e_value(3.9) == pytest.approx(7.26, abs=0.005)
    assert e_value(1.8) == pytest.approx(3.0, abs=0.005)
    assert e_value(1 / 3.9) == pytest.approx(e_value(3.9))
    assert e_value(1) == 1
    with pytest.raises(ValueError, match="a risk ratio is above 0, not 0"):
        e_value(0)


def test_refutations_pass_for_a_right_method_and_fail_for_a_wrong_one(hidden):
    frame = hidden.assign(t=(hidden["t"] > 0).astype(int))
    how = {"estimator": "regression", "repeats": 10, "negative_control": "other"}
    right = refute(frame, "t", "y", ["x", "u"], **how).set_index("check")
    assert right["passed"].all()
    assert right.loc["placebo treatment", "expected"] == 0
    assert right.loc["placebo treatment", "deviation"] > 0
    wrong = refute(frame, "t", "y", ["x"], **how).set_index("check")
    assert wrong["passed"].tolist() == [
        True,
        True,
        True,
        False,
    ]  # only the negative control sees the hidden cause


def test_the_random_cause_is_adjusted_for_and_the_subset_is_one(hidden):
    frame = hidden.head(500).assign(t=lambda f: (f["t"] > 0).astype(int))
    how = {"estimator": "regression", "repeats": 6, "seed": 3}
    found = refute(frame, "t", "y", ["x"], checks=["random cause"], **how).iloc[0]
    rng = np.random.default_rng(3)

    def by_hand(t, y, *columns):
        x = np.column_stack(columns)
        x = x - x.mean(axis=0)
        return np.linalg.lstsq(
            np.column_stack([t, np.ones(len(t)), x, x * t[:, None]]), y, rcond=None
        )[0][0]

    x, t, y = (frame[name].to_numpy() for name in "xty")
    values = [by_hand(t, y, x, rng.standard_normal(500)) for _ in range(6)]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert found["expected"] == pytest.approx(by_hand(t, y, x))
    assert found["deviation"] > 0
    rng = np.random.default_rng(3)
    parts = [np.sort(rng.choice(500, size=400, replace=False)) for _ in range(6)]
    values = [by_hand(t[rows], y[rows], x[rows]) for rows in parts]
    found = refute(frame, "t", "y", ["x"], checks=["subset"], **how).iloc[0]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))


def test_z_is_in_standard_errors_of_one_estimate(hidden):
    """Differences of means of four fifths of the rows, whose errors are Welch's but for n - 1 in
    place of n.
    """
    frame = hidden.head(500).assign(t=lambda f: (f["t"] > 0).astype(int))
    found = refute(
        frame, "t", "y", [], checks=["subset"], estimator="difference", repeats=5, seed=3
    ).iloc[0]
    rng = np.random.default_rng(3)
    values = []
    errors = []
    for _ in range(5):
        part = frame.iloc[rng.choice(500, size=400, replace=False)]
        one, none = (part.loc[part["t"] == arm, "y"] for arm in (1, 0))
        values.append(one.mean() - none.mean())
        errors.append(
            np.sqrt((one.var(ddof=1) / len(one) + none.var(ddof=1) / len(none)) * 400 / 399)
        )
    whole = frame.groupby("t")["y"].mean()
    assert found["z"] == pytest.approx((np.mean(values) - (whole[1] - whole[0])) / np.mean(errors))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: sensitivity(f, "t", "y", ["q"]), "no column 'q'"),
        (lambda f: sensitivity(f, "t", "y", "other x"), "write \\['other x'\\]"),
        (lambda f: sensitivity(f, "t", "y", ["x"], alpha=5), "q must be above 0 and alpha in"),
        (lambda f: sensitivity(f, "t", "y", ["x"], multiples=(1, -2)), "multiples must be at"),
        (
            lambda f: sensitivity(f[:3], "t", "y", ["x", "u"], **LINE),
            "3 rows are too few for 4 columns",
        ),
        (
            lambda f: sensitivity(f.assign(t=2 * f["x"]), "t", "y", ["x"], **LINE),
            "the treatment is a function of the adjustment columns",
        ),
        (
            lambda f: sensitivity(f, "t", "y", ["x"], **LINE).under(1, 0.5),
            r"strengths must lie in \[0, 1\) with the treatment .*, not 1 and 0.5",
        ),
        (lambda f: sensitivity(f, "t", "y", ["x", "y"], **LINE), "adjustment holds y itself"),
        (lambda f: sensitivity(f, "t", "y", ["t"]), "adjustment holds t itself"),
        (
            lambda f: sensitivity(_binary(f, "no", "yes"), "t", "y", ["x"]),
            r"treatment 't' has 2 levels \(no, yes\): give contrast=\(control, treated\)",
        ),
        (
            lambda f: sensitivity(_binary(f, 0, 1), "t", "y", ["x"], estimator="ipw"),
            "estimator 'ipw' has no model of the outcome, .*use 'aipw'",
        ),
        (
            lambda f: sensitivity(f, "t", "y", ["x"], target="treated"),
            "target='treated' compares arms, and the treatment is a number",
        ),
        (
            lambda f: refute(f, "t", "y", ["x"], checks=["luck"]),
            "unknown check 'luck'; known: placebo treatment",
        ),
        (lambda f: refute(f, "t", "y", ["x"], repeats=0), "repeats: a whole number of at least 1"),
        (lambda f: refute(f, "t", "y", ["x"], repeats=1.5), "repeats: a whole number of at least"),
        (lambda f: refute(f, "t", "y", ["x"], checks="subset"), r"checks: .* write \['subset'\]"),
    ],
)
def test_bad_input(hidden, call, message):
    with pytest.raises(ValueError, match=message):
        call(hidden)


@pytest.mark.parametrize(
    ("t", "freedom", "q", "alpha"),
    [
        (2.9, 12, 1.0, 0.05),
        (-2.9, 12, 0.8, 0.2),
        (4.5, 5, 1.0, 0.05),
        (-4.0, 5, 0.9, 0.1),
        (6.0, 40, 0.5, 0.01),
    ],
)
def test_the_robustness_of_the_sign_is_the_least_that_some_cause_of_this_strength_needs(
    t, freedom, q, alpha
):
    """Against every strength with the outcome up to it: the end of the interval comes to what ``q``
    leaves, not beyond.
    """
    found = Sensitivity("a", "b", t * 0.3, 0.3, freedom, q, alpha, pd.DataFrame())
    strength = found.robustness_of_sign
    assert 0.03 < strength < 1
    nearer = 1 if t > 0 else 2
    for factor in (1.0, 0.98):
        with_outcome = np.linspace(0, factor * strength, 4001)
        ends = [np.sign(t) * found.under(factor * strength, one)[nearer] for one in with_outcome]
        rest_of_it = (1 - q) * abs(found.value)
        if factor == 1.0:
            assert min(ends) == pytest.approx(rest_of_it, abs=1e-6)
        else:
            assert min(ends) > rest_of_it + 1e-4
    assert abs(found.under(found.robustness, found.robustness)[0]) == pytest.approx(
        (1 - q) * abs(found.value)
    )


def test_an_effect_that_is_not_significant_has_no_robustness_of_sign():
    # of a t with 12 degrees, one lost to the cause
    critical = student.ppf(0.975, 11) / np.sqrt(11) * np.sqrt(12)
    below, above = (
        Sensitivity("a", "b", factor * critical, 1.0, 12, 1.0, 0.05, pd.DataFrame())
        for factor in (0.999, 1.02)
    )
    assert below.robustness_of_sign == 0.0
    assert 0 < above.robustness_of_sign < 0.03
    assert below.robustness > 0.3


def test_a_negative_effect_is_moved_up_and_strengths_have_ends():
    found = Sensitivity("a", "b", -1.0, 0.2, 30, 1.0, 0.1, pd.DataFrame())
    bias = 0.2 * np.sqrt(30 * 0.2 * 0.1 / 0.9)
    error = 0.2 * np.sqrt(0.8 / 0.9 * 30 / 29)
    half = student.ppf(0.95, 29) * error
    assert found.under(0.1, 0.2) == pytest.approx((-1 + bias, -1 + bias - half, -1 + bias + half))
    assert found.under(0, 0)[0] == -1
    assert found.under(0.3, 1)[1] == found.under(0.3, 1)[2]
    for strengths in ((-0.1, 0), (0, -0.1), (1, 0), (0, 1.01)):
        with pytest.raises(ValueError, match="strengths must lie in"):
            found.under(*strengths)
    assert repr(found) == (
        "effect of a on b (regression, target overlap): -1.0000 (standard error 0.2000); a hidden "
        "cause that explains "
        f"{found.robustness:.1%} of what is left of both would reduce it to zero; "
        f"{found.robustness_of_sign:.1%} would remove its significance at 0.1"
    )


def test_bounds_of_every_column_and_multiple_by_hand(hidden):
    """Cinelli and Hazlett 2020, section 4.4, of a number and of a column of three levels."""
    frame = hidden.head(200).assign(kind=np.tile(["a", "b", "c", "a"], 50))
    frame["t"] += (frame["kind"] == "b") * 0.7
    found = sensitivity(
        frame, "t", "y", ["x", "kind"], **LINE, multiples=(1, 0.5), q=0.6, alpha=0.2
    )
    assert (found.q, found.alpha) == (0.6, 0.2)
    x, t, y = (frame[name].to_numpy() for name in "xty")
    kinds = [(frame["kind"] == level).to_numpy(dtype=float) for level in "bc"]
    rows = found.bounds.set_index(["as strong as", "times"])
    assert rows.index.tolist() == [("x", 1), ("x", 0.5), ("kind", 1), ("kind", 0.5)]
    for name, others in (("x", kinds), ("kind", [x])):
        of_t = 1 - (rest(t, x, *kinds) ** 2).sum() / (rest(t, *others) ** 2).sum()
        of_y = 1 - (rest(y, t, x, *kinds) ** 2).sum() / (rest(y, t, *others) ** 2).sum()
        for k in (1, 0.5):
            one = rows.loc[(name, k)]
            rho = np.sqrt(k) * of_t / np.sqrt((1 - k * of_t) * (1 - of_t))
            assert one["with_treatment"] == pytest.approx(k * of_t / (1 - of_t))
            eta = (np.sqrt(k) + rho) / np.sqrt(1 - rho**2)
            assert one["with_outcome"] == pytest.approx(eta**2 * of_y / (1 - of_y))
            ends = found.under(one["with_treatment"], min(one["with_outcome"], 1))
            assert (one["value"], one["low"], one["high"]) == pytest.approx(ends)
    default = sensitivity(frame, "t", "y", ["x"], **LINE)
    assert default.bounds["times"].tolist() == [1, 2, 3]
    assert (default.q, default.alpha) == (1.0, 0.05)
    assert default.bounds["with_outcome"].max() > 1  # more than there is: taken for all of it
    assert (
        default.bounds["low"].iloc[2]
        == default.under(default.bounds["with_treatment"].iloc[2], 1)[1]
    )


def test_causes_stronger_than_can_be_have_no_bound_by_column():
    # 4 times 0.3 of the treatment
    assert _bound_by_column(0.3 / 0.7, 0.2 / 0.8, 4) == (np.inf, np.inf)
    # 2 * 0.45² > (1 - 0.9) (1 - 0.45)
    with_treatment, with_outcome = _bound_by_column(0.45 / 0.55, 0.2 / 0.8, 2)
    assert with_treatment == pytest.approx(0.9 / 0.55)
    assert with_outcome == np.inf


def test_how_few_rows_are_enough(hidden):
    assert sensitivity(hidden.head(5), "t", "y", ["x"], **LINE).freedom == 2
    with pytest.raises(ValueError, match="4 rows are too few for 3 columns"):
        sensitivity(hidden.head(4), "t", "y", ["x"], **LINE)
    for how in ({"q": 0}, {"q": -1}, {"alpha": 0}, {"alpha": 1}):
        with pytest.raises(ValueError, match="q must be above 0 and alpha in"):
            sensitivity(hidden, "t", "y", ["x"], **LINE, **how)


def test_all_refutations_by_hand(hidden):
    """Differences of means: shuffled, with a cause that they ignore, of four fifths, and of another
    outcome.
    """
    frame = hidden.head(301).assign(t=lambda f: (f["t"] > 0.4).astype(int))

    def difference(t, y):
        one = y[t == 1]
        none = y[t == 0]
        variance = one.var(ddof=1) / len(one) + none.var(ddof=1) / len(none)
        error = np.sqrt(variance * len(y) / (len(y) - 1))
        return one.mean() - none.mean(), error

    found = refute(
        frame, "t", "y", [], estimator="difference", repeats=4, seed=7, negative_control="other"
    )
    t, y, other = (frame[name].to_numpy() for name in ("t", "y", "other"))
    rng = np.random.default_rng(7)
    made = {}
    made["placebo treatment"] = 0.0, [difference(rng.permutation(t), y) for _ in range(4)]
    made["random cause"] = (
        difference(t, y)[0],
        [(rng.standard_normal(301), difference(t, y))[1] for _ in range(4)],
    )
    parts = [np.sort(rng.choice(301, size=240, replace=False)) for _ in range(4)]
    made["subset"] = difference(t, y)[0], [difference(t[part], y[part]) for part in parts]
    made["negative control other"] = 0.0, [difference(t, other)]
    assert found["check"].tolist() == list(made)
    for row in found.itertuples():
        expected, pairs = made[row.check]
        values, errors = np.array(pairs).T
        assert row.expected == pytest.approx(expected)
        assert row.mean == pytest.approx(values.mean())
        assert row.z == pytest.approx((values.mean() - expected) / errors.mean(), abs=1e-9)
        if len(values) > 1:
            assert row.deviation == pytest.approx(values.std(ddof=1), abs=1e-12)
        assert row.passed == (abs(row.z) < 2)
    assert found["z"].iloc[3] > 2
    assert np.isnan(found["deviation"].iloc[3])
    once = refute(
        frame, "t", "y", [], estimator="difference", repeats=1, checks=["placebo treatment"]
    )
    assert np.isnan(once["deviation"].item())


def test_refutations_hand_on_their_seed_and_are_repeated_twenty_times(hidden, monkeypatch):
    seen = []
    frame = _binary(hidden, 0, 1).head(100)
    told = iter([5.0, *[4.0] * 20])

    def fake(frame, treatment, outcome, *, adjustment, seed, **how):
        seen.append((outcome, tuple(adjustment), seed, how))
        return next(told), 0.5

    monkeypatch.setattr(robustness, "value_of", fake)
    found = refute(frame, "t", "y", ["x"], checks=["random cause"], seed=9, cluster="u").iloc[0]
    assert len(seen) == 21
    assert {one[2] for one in seen} == {9}
    assert all(one[3] == {"cluster": "u"} for one in seen)
    assert [one[1] for one in seen] == [("x",)] + [("x", "random cause")] * 20
    assert found["z"] == pytest.approx(-2.0)
    assert not found["passed"]  # 2 standard errors are too many


@pytest.mark.parametrize(
    ("kind", "contrast"),
    [("words", ("no", "yes")), ("category", ("no", "yes")), ("codes", (1, 2)), ("signs", (-1, 1))],
)
def test_a_treatment_in_other_words_is_refuted_and_examined_as_0_and_1(hidden, kind, contrast):
    how = {"estimator": "regression"}
    plain = _binary(hidden, 0, 1)
    other = _binary(hidden, *contrast)
    if kind == "category":
        other["t"] = pd.Categorical(other["t"], categories=["yes", "unused", "no"])
    expected = refute(plain, "t", "y", ["x"], repeats=3, **how)
    found = refute(other, "t", "y", ["x"], repeats=3, contrast=contrast, **how)
    pd.testing.assert_frame_equal(found, expected)
    expected = sensitivity(plain, "t", "y", ["x"], **how)
    found = sensitivity(other, "t", "y", ["x"], contrast=contrast, **how)
    pd.testing.assert_frame_equal(found.bounds, expected.bounds)
    assert found.value == expected.value
    assert f"({contrast[0]} -> {contrast[1]})" in repr(found)


def test_refute_asks_for_the_effect_that_is_examined(hidden):
    """Target, weights and known propensity reach each estimate; a repeated index and a column that
    is called as the added one change nothing.
    """
    frame = _binary(hidden, 0, 1).assign(e=0.5, w=lambda f: 1 + (f["x"] > 0), v="a")
    how = {"estimator": "regression", "target": "treated", "weights": "w"}
    found = refute(frame, "t", "y", ["x"], repeats=3, **how)
    value = effect(frame, "t", "y", adjustment=["x"], **how).value
    assert found["expected"].tolist() == [0.0, value, value]
    odd = frame.set_index(np.zeros(len(frame), dtype=int)).rename(columns={"x": "random cause"})
    again = refute(odd, "t", "y", ["random cause"], repeats=3, **how)
    pd.testing.assert_frame_equal(found, again, rtol=1e-9)
    # a shuffled treatment has lost its propensity: by weights with it, this would be no placebo
    n = len(frame)
    known = 1 / (1 + np.exp(-2 * frame["x"]))
    drawn = frame.assign(e=known, t=(np.random.default_rng(1).random(n) < known).astype(int))
    placebo = refute(
        drawn, "t", "y", ["x"], repeats=8, estimator="ipw", propensity="e", checks=CHECKS[:1]
    )
    assert placebo["passed"].all()


# ---- other estimators: Chernozhukov and others 2022 ----------------------------------------------


@pytest.fixture(scope="module")
def table():
    """Cells of x, u and t with their probability and mean outcome: all that there is to know."""
    rng = np.random.default_rng(3)
    cells = pd.DataFrame(
        [(x, u, t) for x in (0, 1) for u in (0, 1) for t in (0, 1)], columns=[*"xut"]
    )
    chance = 0.15 + 0.3 * cells["x"] + 0.35 * cells["u"]
    cells["p"] = np.where(cells["t"] == 1, chance, 1 - chance) / 4
    cells["mean"] = cells["t"] * (1 + cells["x"]) + 2 * cells["u"] - cells["x"]
    counts = rng.multinomial(4000, cells["p"])
    frame = cells.loc[np.repeat(cells.index, counts), ["x", "u", "t", "mean"]]
    frame["y"] = frame.pop("mean") + rng.normal(size=4000)
    return cells, frame.reset_index(drop=True)


def _by_cells(cells, target, given):
    """θ, E[(y - g)²], E[α²], and g and α of each cell, in the population, given some columns."""
    p = cells["p"]

    def mean(values, by, rows=True):
        part = p * rows
        groups = [cells[name] for name in by]
        return (part * values).groupby(groups).transform("sum") / part.groupby(groups).transform(
            "sum"
        )

    e = mean(cells["t"], given)
    g = mean(cells["mean"], [*given, "t"])
    arms = [mean(cells["mean"], given, cells["t"] == arm) for arm in (0, 1)]
    h = {"all": 1.0, "treated": e, "untreated": 1 - e}[target]
    size = (p * h).sum()
    alpha = h * (cells["t"] / e - (1 - cells["t"]) / (1 - e)) / size
    theta = (p * h * (arms[1] - arms[0])).sum() / size
    unexplained = 1 + (p * (cells["mean"] - g) ** 2).sum()  # noise of variance 1
    return theta, unexplained, (p * alpha**2).sum(), g, alpha


@pytest.mark.parametrize("target", ["all", "treated", "untreated"])
@pytest.mark.parametrize("estimator", ["aipw", "regression", "linear_dml"])
def test_the_scale_is_that_of_the_population_and_the_bound_holds(table, estimator, target):
    """By exact sums over cells: S of the sample is that of the population given x; the bias of
    leaving out u is at most what u's strengths allow, and exactly so much times a correlation.
    """
    cells, frame = table
    short = _by_cells(cells, target, ["x"])
    long = _by_cells(cells, target, ["x", "u"])
    found = sensitivity(
        frame, "t", "y", ["x"], estimator=estimator, target=target, learners="linear", multiples=()
    )
    assert (
        found.value
        == effect(
            frame, "t", "y", adjustment=["x"], estimator=estimator, target=target, learners="linear"
        ).value
    )
    error = np.sqrt(found.noise.covariance[1, 1])
    assert abs(found.noise.scale - np.sqrt(short[1] * short[2])) < 3 * error
    assert error < 0.03 * found.noise.scale
    with_outcome = 1 - long[1] / short[1]
    with_treatment = 1 - short[2] / long[2]
    bias = np.sqrt(short[1] * short[2] * with_outcome * with_treatment / (1 - with_treatment))
    assert 0.3 * bias < short[0] - long[0] <= bias
    moved_together = (cells["p"] * (long[3] - short[3]) * (long[4] - short[4])).sum()
    assert moved_together == pytest.approx(long[0] - short[0])
    moved = found.under(with_treatment, with_outcome)
    assert found.value - moved[0] == pytest.approx(bias, rel=0.05)
    assert moved[1] < long[0]


def test_one_coefficient_by_either_way_is_the_same_but_for_the_error(table):
    """With weights of 1 the general formulas are used: value and S are those of least squares."""
    _, frame = table
    line = sensitivity(frame, "t", "y", ["x"], **LINE)
    general = sensitivity(frame.assign(w=1.0), "t", "y", ["x"], weights="w", **LINE)
    assert line.noise is None
    assert general.value == line.value
    assert general.noise.scale == pytest.approx(line.standard_error * np.sqrt(line.freedom))
    assert general.robustness == pytest.approx(line.robustness)
    assert general.partial_r2 == pytest.approx(line.partial_r2)
    assert general.under(0.1, 0.2)[0] == pytest.approx(line.under(0.1, 0.2)[0])
    assert general.standard_error == pytest.approx(line.standard_error, rel=0.1)


@pytest.mark.parametrize("estimator", ["aipw", "regression", "linear_dml"])
def test_errors_of_the_scale_are_those_of_repeated_samples(table, estimator):
    """The deviation of value and S over 200 samples, and their covariance, against the formula."""
    cells, _ = table
    runs = 200 if estimator == "regression" else 60
    found = []
    told = []
    for seed in range(runs):
        rng = np.random.default_rng([seed, 5])
        rows = cells.iloc[rng.choice(8, 400, p=cells["p"])].reset_index(drop=True)
        y = (rows["mean"] + rng.normal(size=400)).to_numpy()
        x = Covariates.fit(rows, ["x"]).table(rows)
        sample = Sample(y, rows["t"].to_numpy(), x, np.arange(400), np.ones(400))
        one = ESTIMATORS[estimator](sample)
        parts = robustness._left_of_both(one, sample, estimator)
        noise = robustness._noise(one, sample, *parts)
        found.append((one.value, noise.scale))
        told.append(noise.covariance)
    real = np.cov(np.transpose(found))
    told = np.mean(told, axis=0)
    # a deviation over m samples is known within 1 / √(2 m): four of them
    assert np.sqrt(told.diagonal() / real.diagonal()) == pytest.approx(1, abs=4 / np.sqrt(2 * runs))
    correlation = [c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in (told, real)]
    assert correlation[0] == pytest.approx(correlation[1], abs=4 / np.sqrt(runs))


@pytest.mark.parametrize("value", [2.0, -2.0])
@pytest.mark.parametrize("q", [1.0, 0.4])
def test_robustness_of_the_sign_puts_the_interval_where_it_says(value, q):
    noise = Noise(3.0, np.array([[0.01, 0.004], [0.004, 0.02]]))
    found = Sensitivity(
        "a", "b", value, 0.1, 80.0, q, 0.1, pd.DataFrame(), "aipw", "all", None, noise
    )
    assert found.under(0, 0) == pytest.approx(
        (value, *value + np.array([-1, 1]) * 0.1 * student.ppf(0.95, 80))
    )
    strength = found.robustness_of_sign
    nearer = 1 if value > 0 else 2
    assert np.sign(value) * found.under(strength, strength)[nearer] == pytest.approx(2 * (1 - q))
    for less in np.linspace(0, 0.999 * strength, 50):
        assert np.sign(value) * found.under(less, less)[nearer] > 2 * (1 - q)
    assert strength < found.robustness
    weak = Sensitivity("a", "b", 0.1, 0.1, 80.0, q, 0.1, pd.DataFrame(), "aipw", "all", None, noise)
    assert weak.robustness_of_sign == 0.0


def test_a_cause_as_strong_as_a_column_by_the_fit_without_it(table):
    """x as strong as x: what leaving out x does to E[(y - g)²] and to E[α²]."""
    _, frame = table
    found = sensitivity(frame, "t", "y", ["u", "x"], estimator="regression", multiples=(1, 2))
    assert found.bounds["as strong as"].tolist() == ["u", "u", "x", "x"]
    t, y, x, u = (frame[name].to_numpy(dtype=float) for name in "tyxu")

    def parts(*columns):
        line = np.column_stack([np.ones(4000), t, *columns, *((c - c.mean()) * t for c in columns)])
        bread = np.linalg.inv(line.T @ line)
        left = y - line @ bread @ (line.T @ y)
        return (left**2).mean(), 4000 * bread[1, 1]

    long = parts(x, u)
    for name, others in (("x", [u]), ("u", [x])):
        short = parts(*others)
        rows = found.bounds[found.bounds["as strong as"] == name]
        for row in rows.itertuples():
            assert row.with_treatment == pytest.approx(row.times * (long[1] / short[1] - 1))
            assert row.with_outcome == pytest.approx(row.times * (short[0] / long[0] - 1))
            ends = found.under(row.with_treatment, min(row.with_outcome, 1))
            assert (row.value, row.low, row.high) == pytest.approx(ends)


def test_units_and_idle_columns_change_nothing(hidden):
    frame = hidden.head(400).assign(kind=np.tile(["a", "b", "c", "a"], 100))
    plain = sensitivity(frame, "t", "y", ["x", "kind"], **LINE)
    moved = frame.assign(x=1e12 + 1e9 * frame["x"], same=7.0, copy=3 - 2 * frame["x"])
    found = sensitivity(moved, "t", "y", ["x", "kind", "same", "copy"], **LINE)
    assert (found.value, found.standard_error, found.freedom) == pytest.approx(
        (plain.value, plain.standard_error, plain.freedom), rel=1e-6
    )
    bounds = found.bounds.set_index("as strong as")
    assert (bounds[["with_treatment", "with_outcome"]] >= 0).all(axis=None)
    assert bounds.loc[["x", "same", "copy"], "with_treatment"].to_numpy() == pytest.approx(
        0, abs=1e-9
    )
    kinds = plain.bounds.set_index("as strong as").loc["kind"]
    pd.testing.assert_frame_equal(bounds.loc["kind"], kinds, rtol=1e-5)
    large = sensitivity(
        frame.assign(y=frame["y"] * 1e9, t=frame["t"] * 1e-9), "t", "y", ["x"], **LINE
    )
    small = sensitivity(frame, "t", "y", ["x"], **LINE)
    assert large.value == pytest.approx(1e18 * small.value)
    assert large.robustness == pytest.approx(small.robustness)
    assert large.robustness_of_sign == pytest.approx(small.robustness_of_sign)


def test_many_levels_dates_and_numbers_of_any_dtype_are_adjusted_for(hidden):
    frame = hidden.head(1200).assign(
        shop=[f"s{k}" for k in np.arange(1200) % 40],
        day=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(1200) % 90, unit="D"),
        x=lambda f: f["x"].astype("float64[pyarrow]"),
    )
    found = sensitivity(frame, "t", "y", ["x", "shop", "day"], multiples=(1,), **LINE)
    columns = pd.get_dummies(frame["shop"], drop_first=True, dtype=float)
    columns["day"] = np.arange(1200) % 90
    columns["x"] = hidden["x"].head(1200)
    fitted = sm.OLS(frame["y"], sm.add_constant(columns.assign(t=frame["t"]))).fit()
    assert found.value == pytest.approx(fitted.params["t"])
    assert found.standard_error == pytest.approx(fitted.bse["t"])
    assert found.freedom == fitted.df_resid
    without = sm.OLS(frame["t"], sm.add_constant(columns[["day", "x"]])).fit()
    within = sm.OLS(frame["t"], sm.add_constant(columns)).fit()
    strength = found.bounds.set_index("as strong as").loc["shop", "with_treatment"]
    assert strength == pytest.approx(without.ssr / within.ssr - 1)


def test_nothing_is_left_of_an_outcome_that_is_fitted_exactly(hidden):
    frame = hidden.head(50).assign(y=lambda f: 2 * f["t"] + f["x"])
    found = sensitivity(frame, "t", "y", ["x"], **LINE)
    assert repr(found).endswith("nothing is left of the outcome that a hidden cause could explain")
    assert found.robustness == pytest.approx(1)
    assert found.robustness_of_sign == pytest.approx(1)
    assert found.under(0.5, 1)[0] == pytest.approx(2)
    none = Sensitivity("a", "b", 1.0, 0.0, 10, 1.0, 0.05, pd.DataFrame())
    assert (none.partial_r2, none.robustness, none.robustness_of_sign) == (1, 1, 1)
    assert none.under(0.5, 0.5) == (1, 1, 1)
    nil = Sensitivity("a", "b", 0.0, 0.0, 10, 1.0, 0.05, pd.DataFrame())
    assert (nil.partial_r2, nil.robustness, nil.robustness_of_sign) == (0, 0, 0)


def test_the_effect_that_is_examined_is_the_one_that_is_printed(hidden):
    """By default, of every target, of levels and of a number."""
    frame = _binary(hidden, 0, 1).assign(
        three=np.tile(["a", "b", "c"], 200), d=hidden["t"].head(600)
    )
    cases = [
        ("t", {}),
        ("t", {"target": "treated"}),
        ("t", {"target": "overlap", "cluster": "three"}),
        ("three", {"contrast": ("a", "c")}),
        ("three", {"contrast": ("a", "c"), "estimator": "regression"}),
        ("d", {}),
        ("d", {"target": "overlap", "estimator": "linear_dml"}),
        ("d", {"target": "overlap", "estimator": "regression"}),
    ]
    for treatment, how in cases:
        if "cluster" in how:
            frame["three"] = np.arange(600) // 3
        whole = effect(frame, treatment, "y", adjustment=["x"], learners="linear", **how)
        found = sensitivity(frame, treatment, "y", ["x"], learners="linear", multiples=(1,), **how)
        assert (found.value, found.estimator, found.target) == (
            whole.value,
            whole.estimator,
            whole.target,
        )
        if found.noise is not None:
            assert found.under(0, 0) == pytest.approx((whole.value, whole.low, whole.high))
        assert np.isfinite(found.bounds.to_numpy()[:, 1:].astype(float)).all()
        if "cluster" in how:
            frame["three"] = np.tile(["a", "b", "c"], 200)


def test_a_check_that_the_rows_do_not_do_for_is_named():
    """Of 600 outcomes one is an event: the row of it is not in every subset."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=600), "t": np.arange(600) % 2, "y": 0.0})
    frame.loc[7, "y"] = 1.0
    how = {"estimator": "regression", "repeats": 20}
    with pytest.raises(
        ValueError, match=r"check 'subset' cannot \(outcome 'y' is constant .*\['pl"
    ):
        refute(frame, "t", "y", ["x"], **how)
    found = refute(frame, "t", "y", ["x"], checks=["placebo treatment", "random cause"], **how)
    assert found["passed"].all()


@pytest.mark.filterwarnings("default:frame. column 'x' holds")
@pytest.mark.parametrize("far", [[1e6], [999999] * 8])
def test_a_far_value_of_a_column_leaves_its_strength_as_it_is(hidden, far):
    """One slip made the column look 200,000 times as strong with the treatment, or not at all."""
    frame = hidden[["x", "y"]].assign(t=(hidden["t"] > 0).astype(int))
    how = {"estimator": "regression", "multiples": (1,)}
    plain = sensitivity(frame, "t", "y", ["x"], **how).bounds
    frame.loc[: len(far) - 1, "x"] = far
    found = sensitivity(frame, "t", "y", ["x"], **how).bounds
    for strength in ("with_treatment", "with_outcome", "value"):
        assert found[strength].item() == pytest.approx(plain[strength].item(), rel=0.1, abs=0.02)
