"""Sensitivity against published numbers and against a hidden cause that is simulated, then revealed."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from causal_lib.inference.robustness import Sensitivity, e_value, refute, sensitivity


def test_the_numbers_of_the_paper():
    """Darfur: coefficient .0973, standard error .0232, 783 degrees of freedom (Cinelli and Hazlett 2020, table 1)."""
    found = Sensitivity("harm", "peace", 0.09731582, 0.02325654, 783, 1.0, 0.05, pd.DataFrame())
    assert found.partial_r2 == pytest.approx(0.0219, abs=1e-4)
    assert found.robustness == pytest.approx(0.139, abs=5e-4)
    assert found.robustness_of_sign == pytest.approx(0.076, abs=5e-4)


@pytest.fixture(scope="module")
def hidden():
    """u causes t and y; x does too; the effect of t is 1."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 4000))
    t = 0.5 * x + 0.5 * u + rng.normal(size=4000)
    return pd.DataFrame(
        {"x": x, "u": u, "t": t, "y": t + x + 0.8 * u + rng.normal(size=4000), "other": x + u + rng.normal(size=4000)}
    )


def rest(values, *columns):
    x = np.column_stack([np.ones(len(values)), *columns])
    return values - x @ np.linalg.lstsq(x, values, rcond=None)[0]


def test_the_bias_of_a_cause_of_known_strength_is_exact(hidden):
    x, u, t, y = (hidden[name].to_numpy() for name in ("x", "u", "t", "y"))
    found = sensitivity(hidden, "t", "y", ["x"])
    long = np.linalg.lstsq(np.column_stack([np.ones(4000), t, x, u]), y, rcond=None)[0][1]
    with_treatment = np.corrcoef(rest(t, x), rest(u, x))[0, 1] ** 2
    with_outcome = np.corrcoef(rest(y, x, t), rest(u, x, t))[0, 1] ** 2
    value, low, high = found.under(with_treatment, with_outcome)
    assert value == pytest.approx(long)
    error = np.sqrt((rest(y, x, t, u) ** 2).sum() / (4000 - 4) / (rest(t, x, u) ** 2).sum())
    assert (high - low) / 2 / 1.9606 == pytest.approx(error, rel=1e-3)


def test_value_error_and_freedom_are_those_of_least_squares(hidden):
    frame = hidden.head(30)
    found = sensitivity(frame, "t", "y", ["x", "u"])
    fitted = sm.OLS(frame["y"], sm.add_constant(frame[["t", "x", "u"]])).fit()
    assert found.value == pytest.approx(fitted.params["t"])
    assert found.standard_error == pytest.approx(fitted.bse["t"])
    assert found.freedom == fitted.df_resid == 26
    assert found.partial_r2 == pytest.approx(fitted.tvalues["t"] ** 2 / (fitted.tvalues["t"] ** 2 + 26))


def test_the_robustness_value_brings_the_effect_to_what_it_says(hidden):
    found = sensitivity(hidden, "t", "y", ["x"])
    assert found.under(found.robustness, found.robustness)[0] == pytest.approx(0, abs=1e-9)
    low = found.under(found.robustness_of_sign, found.robustness_of_sign)[1]
    assert low == pytest.approx(0, abs=2e-3)
    half = sensitivity(hidden, "t", "y", ["x"], q=0.5)
    assert half.under(half.robustness, half.robustness)[0] == pytest.approx(found.value / 2)
    assert found.under(found.partial_r2, 1.0)[0] == pytest.approx(0, abs=1e-9)
    assert "takes it away" in repr(found)


def test_a_cause_as_strong_as_a_column_is_bounded_by_it(hidden):
    """u and x are equally strong with the treatment: the bound by x has that strength, and covers what u does."""
    found = sensitivity(hidden, "t", "y", ["x"], multiples=(1,))
    bound = found.bounds.iloc[0]
    x, u, t = (hidden[name].to_numpy() for name in ("x", "u", "t"))
    assert bound["with_treatment"] == pytest.approx(np.corrcoef(rest(t, x), rest(u, x))[0, 1] ** 2, rel=0.15)
    assert bound["value"] < 1.0 < found.value  # u is a little weaker with the outcome than x
    assert bound["value"] == pytest.approx(found.under(bound["with_treatment"], bound["with_outcome"])[0])
    assert sensitivity(hidden, "t", "y", ["x"], multiples=(50,)).bounds["value"].isna().all()


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
    assert wrong["passed"].tolist() == [True, True, True, False]  # only the negative control sees the hidden cause


def test_the_random_cause_is_adjusted_for_and_the_subset_is_one(hidden):
    frame = hidden.head(500).assign(t=lambda f: (f["t"] > 0).astype(int))
    how = {"estimator": "regression", "repeats": 6, "seed": 3}
    found = refute(frame, "t", "y", ["x"], checks=["random cause"], **how).iloc[0]
    rng = np.random.default_rng(3)

    def by_hand(t, y, *columns):
        x = np.column_stack(columns)
        x = x - x.mean(axis=0)
        return np.linalg.lstsq(np.column_stack([t, np.ones(len(t)), x, x * t[:, None]]), y, rcond=None)[0][0]

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
    """Differences of means of four fifths of the rows, whose errors are Welch's but for n - 1 in place of n."""
    frame = hidden.head(500).assign(t=lambda f: (f["t"] > 0).astype(int))
    found = refute(frame, "t", "y", [], checks=["subset"], estimator="difference", repeats=5, seed=3).iloc[0]
    rng, values, errors = np.random.default_rng(3), [], []
    for _ in range(5):
        part = frame.iloc[rng.choice(500, size=400, replace=False)]
        one, none = (part.loc[part["t"] == arm, "y"] for arm in (1, 0))
        values.append(one.mean() - none.mean())
        errors.append(np.sqrt((one.var(ddof=0) / len(one) + none.var(ddof=0) / len(none)) * 400 / 399))
    whole = frame.groupby("t")["y"].mean()
    assert found["z"] == pytest.approx((np.mean(values) - (whole[1] - whole[0])) / np.mean(errors))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: sensitivity(f, "t", "y", ["q"]), "no column 'q'"),
        (lambda f: sensitivity(f, "t", "y", ["x"], alpha=5), "q must be above 0 and alpha in"),
        (lambda f: sensitivity(f[:3], "t", "y", ["x", "u"]), "3 rows are too few for 3 columns"),
        (lambda f: sensitivity(f.assign(t=2 * f["x"]), "t", "y", ["x"]), "'t' is a function of the adjustment columns"),
        (lambda f: sensitivity(f, "t", "y", ["x"]).under(1, 0.5), r"strengths must lie in \[0, 1\), not 1 and 0.5"),
        (lambda f: refute(f, "t", "y", ["x"], checks=["luck"]), "unknown check 'luck'; known: placebo treatment"),
        (lambda f: refute(f, "t", "y", ["x"], repeats=0), "repeats=0: at least 1 is needed"),
    ],
)
def test_bad_input(hidden, call, message):
    with pytest.raises(ValueError, match=message):
        call(hidden)
