"""Estimators against the known truth: coverage over seeds, a manual derivation, EconML's own answer, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from causal_lib.data.schema import check_binary
from causal_lib.graph import CausalGraph
from causal_lib.inference import NoOverlapError, effect, identify


def _confounded(n, seed, strength=1.0):
    """z confounds t and y; the effect of t is 0.5 + 0.3 z, so 0.5 on average (z has mean 0)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-strength * z))).astype(int)
    y = z + (0.5 + 0.3 * z) * t + rng.normal(size=n)
    return pd.DataFrame({"z": z, "t": t, "y": y, "user": np.arange(n) // 2, "sample_truth": 0.5 + 0.3 * z})


@pytest.mark.parametrize("estimator", ["aipw", "linear_dml"])
def test_intervals_cover_as_announced(estimator):
    runs, covered = 25, 0
    for seed in range(runs):
        frame = _confounded(1000, seed)
        covered += effect(frame, "t", "y", adjustment=["z"], estimator=estimator).covers(0.5)
    # A true coverage of 95% gives fewer than 18 of 25 less than once in 10,000; a naive estimator covers none.
    assert covered >= binom.ppf(1e-4, runs, 0.95)


def test_the_naive_difference_does_not_cover():
    frame = _confounded(1500, 0)
    naive = effect(frame, "t", "y", adjustment=[], estimator="difference")
    assert not naive.covers(0.5, level=0.999)


def test_difference_is_welch():
    frame = _confounded(600, 1)
    found = effect(frame, "t", "y", adjustment=[], estimator="difference")
    arms = [frame.loc[frame["t"] == a, "y"] for a in (0, 1)]
    assert found.value == pytest.approx(arms[1].mean() - arms[0].mean())
    welch = np.sqrt(sum(a.var(ddof=0) / len(a) for a in arms))
    assert found.standard_error == pytest.approx(welch, rel=2e-3)  # n/(n-1) instead of each arm's own


def test_clusters_of_copies_count_once():
    frame = _confounded(800, 2)
    copies = pd.concat([frame, frame], ignore_index=True).assign(who=np.tile(np.arange(800), 2))
    single = effect(frame, "t", "y", adjustment=[], estimator="difference")
    double = effect(copies, "t", "y", adjustment=[], estimator="difference", cluster="who")
    assert double.standard_error == pytest.approx(single.standard_error, rel=1e-9)
    blind = effect(copies, "t", "y", adjustment=[], estimator="difference")
    assert blind.standard_error == pytest.approx(single.standard_error / np.sqrt(2), rel=2e-3)


def test_dml_interval_agrees_with_econml_without_clusters():
    from econml.dml import LinearDML
    from sklearn.linear_model import LinearRegression, LogisticRegression

    frame = _confounded(4000, 3)
    ours = effect(frame, "t", "y", adjustment=["z"], estimator="linear_dml")
    x = np.column_stack([frame["z"], frame["z"] ** 2])
    theirs = LinearDML(
        model_y=LinearRegression(), model_t=LogisticRegression(), discrete_treatment=True, cv=5, random_state=0
    )
    theirs.fit(frame["y"].to_numpy(), frame["t"].to_numpy(), X=x)
    low, high = (float(np.ravel(v)[0]) for v in theirs.ate_interval(x, alpha=0.05))
    assert ours.value == pytest.approx((low + high) / 2, abs=0.02)  # other first-stage models: a third of an error
    assert ours.high - ours.low == pytest.approx(high - low, rel=0.15)


def test_world_effect_is_covered_by_aipw_only(world, log):
    estimand = identify(world.graph, "exposed", "purchased")
    naive = effect(log, "exposed", "purchased", adjustment=[], estimator="difference", cluster="user_id")
    assert not naive.covers(world.ate, level=0.999)
    found = effect(log, "exposed", "purchased", estimand=estimand, cluster="user_id")
    assert found.covers(world.ate, level=0.999)
    assert found.diagnostics["imbalance_after"] < 0.1 < found.diagnostics["imbalance_before"]
    assert found.diagnostics["clusters"] == log["user_id"].nunique()


def test_no_overlap_is_refused():
    with pytest.raises(NoOverlapError, match=r"no overlap: \d+ of 1500 rows .* restrict the question"):
        effect(_confounded(1500, 0, strength=8.0), "t", "y", adjustment=["z"])


def _with(**columns):
    return _confounded(60, 0).assign(**columns)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (_with(t=2), {}, "treatment 't': must be 0 or 1"),
        (_with(t=1), {}, "treatment 't': only the value 1 occurs in 60 rows"),
        (_with(y=np.nan), {}, "column 'y' holds only missing values"),
        (_with(z=[np.nan] + [0.0] * 59), {}, "column 'z' has 1 missing value"),
        (_with(z=[np.inf] + [0.0] * 59), {}, "column 'z' has 1 infinite value"),
        (_with(), {"adjustment": ["q"]}, "no column 'q'; columns there: z, t, y"),
        (_with(), {"adjustment": ["t"]}, "adjustment holds t itself"),
        (_with(), {"estimator": "magic"}, "unknown estimator 'magic'; known: difference, aipw, linear_dml"),
        (_with(), {"adjustment": None}, "give either an estimand"),
        (_with(user=0), {"cluster": "user"}, "1 rows or clusters are too few for 5 folds"),
        (_with(), {"adjustment": [], "estimator": "linear_dml"}, "needs at least one adjustment column"),
    ],
)
def test_bad_input(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        effect(frame, "t", "y", **({"adjustment": ["z"]} | arguments))


def test_estimands_that_do_not_fit():
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    with pytest.raises(ValueError, match="needs a back-door set; the estimand's strategy is front-door"):
        effect(_with(m=0), "t", "y", estimand=front)
    with pytest.raises(ValueError, match="the estimand is of t on y, not of z on y"):
        effect(_with(), "z", "y", estimand=front)


def test_binary_check_accepts_booleans():
    assert check_binary([True, False], name="t").tolist() == [1, 0]
