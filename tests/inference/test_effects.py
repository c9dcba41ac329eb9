"""Effects against the known truth: distances from it over seeds, manual derivations, EconML's own
answer; what changes nothing; refusals.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict

from causal_lib.checks import check_binary
from causal_lib.graph import CausalGraph
from causal_lib.inference import (
    Effect,
    NoOverlapError,
    NotIdentifiableError,
    effect,
    effects,
    estimators,
    identify,
)
from causal_lib.inference.effects import Support, value_of
from causal_lib.inference.estimators import ESTIMATORS, Estimate, Sample
from causal_lib.inference.models import Fitting, arm_folds, folds
from causal_lib.inference.nuisances import standard_error

STUB = {"outcome": LinearRegression(), "propensity": LogisticRegression()}
"""Models that can be fitted again in a line."""


def _confounded(n, seed, strength=1.0):
    """z confounds t and y; the effect of t is 0.5 + 0.3 z, so 0.5 on average (z has mean 0).

    p is the propensity, w are weights, a user has two rows.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    p = 1 / (1 + np.exp(-strength * z))
    t = (rng.random(n) < p).astype(int)
    y = z + (0.5 + 0.3 * z) * t + rng.normal(size=n)
    user = np.arange(n) // 2
    return pd.DataFrame({"z": z, "t": t, "y": y, "user": user, "p": p, "w": 1 + np.arange(n) % 3})


def test_an_interval_is_the_value_and_quantiles_of_a_distribution():
    found = Effect("t", "y", "difference", (), 2.0, 0.5, 100.0)
    assert (found.low, found.high) == pytest.approx(
        (2 - 0.5 * 1.959964, 2 + 0.5 * 1.959964), abs=1e-6
    )
    assert found.interval(0.95) == (found.low, found.high)
    assert found.interval(0.8) == pytest.approx((2 - 0.5 * 1.281552, 2 + 0.5 * 1.281552), abs=1e-6)
    assert found.interval(0.99) == pytest.approx((2 - 0.5 * 2.575829, 2 + 0.5 * 2.575829), abs=1e-6)
    assert found.covers(2.9799)
    assert not found.covers(2.9801)
    assert not found.covers(2.65, level=0.8)
    few = replace(found, freedom=3)  # Student's with three degrees
    assert (few.low, few.high) == pytest.approx((2 - 0.5 * 3.182446, 2 + 0.5 * 3.182446), abs=1e-6)
    assert few.covers(3.5)
    assert few.interval(0.8) == pytest.approx((2 - 0.5 * 1.637744, 2 + 0.5 * 1.637744), abs=1e-6)


@pytest.mark.parametrize(("estimator", "n"), [("regression", 500), ("matching", 200)])
def test_distances_from_the_truth_are_standard_normal(estimator, n, draws, check_pivot):
    distances = []
    for seed in range(draws):
        frame = _confounded(n, seed)
        how = {"adjustment": ["z"], "propensity": "p", "estimator": estimator}
        value, error = value_of(frame, "t", "y", **how)
        distances.append((value - 0.5) / error)
    check_pivot(distances)


def test_the_naive_difference_does_not_cover():
    frame = _confounded(1500, 0)
    naive = effect(frame, "t", "y", adjustment=[], estimator="difference")
    assert not naive.covers(0.5, level=0.999)


def test_difference_is_welch():
    """With five treated rows, too: their error and their degrees of freedom."""
    for treated in (5, 250):
        frame = _confounded(600, 1)
        frame["t"] = (np.arange(600) < treated).astype(int)
        found = effect(frame, "t", "y", adjustment=[], estimator="difference")
        arms = [frame.loc[frame["t"] == a, "y"] for a in (1, 0)]
        welch = scipy.stats.ttest_ind(*arms, equal_var=False)
        assert found.value == pytest.approx(arms[0].mean() - arms[1].mean())
        assert found.freedom == pytest.approx(welch.df)
        # √(n/(n - 1)) more, as between n clusters
        more = np.sqrt(600 / 599)
        assert found.standard_error == pytest.approx(more * found.value / welch.statistic)
        low, high = welch.confidence_interval(0.9)
        assert np.ptp(found.interval(0.9)) == pytest.approx(more * (high - low))


def test_an_experiment_of_few_rows_needs_no_folds():
    frame = pd.DataFrame({"t": [0, 1, 0, 1], "y": [1.0, 2.0, 2.0, 4.0]})
    found = effect(frame, "t", "y", adjustment=[], estimator="difference")
    welch = scipy.stats.ttest_ind([2, 4], [1, 2], equal_var=False)
    assert found.value == 1.5
    assert found.freedom == pytest.approx(welch.df)
    assert found.verdict == "weak"


def test_few_clusters_of_an_arm_count_in_its_freedom():
    """Of 40 clusters 4 are treated, wholly: the interval is that of 4 numbers, not of 80 rows."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 20)
    frame = pd.DataFrame({"who": who, "t": (who < 4).astype(int)})
    frame["y"] = rng.normal(size=40)[who] + rng.normal(size=800)
    found = effect(frame, "t", "y", adjustment=[], estimator="difference", cluster="who")
    assert 3 <= found.freedom < 6
    assert found.verdict == "weak"
    blind = effect(frame, "t", "y", adjustment=[], estimator="difference")
    assert blind.freedom > 79
    half = scipy.stats.t.ppf(0.975, found.freedom) * found.standard_error
    assert found.high - found.low == pytest.approx(2 * half)
    assert half > 2.4 * found.standard_error


def test_clusters_of_copies_count_once():
    frame = _confounded(800, 2)
    copies = pd.concat([frame, frame], ignore_index=True).assign(who=np.tile(np.arange(800), 2))
    single = effect(frame, "t", "y", adjustment=[], estimator="difference")
    double = effect(copies, "t", "y", adjustment=[], estimator="difference", cluster="who")
    assert double.standard_error == pytest.approx(single.standard_error, rel=2e-3)
    blind = effect(copies, "t", "y", adjustment=[], estimator="difference")
    assert blind.standard_error == pytest.approx(single.standard_error / np.sqrt(2), rel=2e-3)


def test_regression_is_least_squares_of_each_arm():
    frame = _confounded(300, 4)
    found = effect(frame, "t", "y", adjustment=["z"], estimator="regression", propensity="p")
    variance = 0.0
    gain = 0.0
    level = 0.0
    for arm, sign in ((0, -1), (1, 1)):
        part = frame[frame["t"] == arm]
        line = sm.OLS(part["y"], sm.add_constant(part["z"])).fit(cov_type="HC2")
        there = np.array([1.0, frame["z"].mean()])
        level += sign * there @ line.params.to_numpy()
        variance += there @ line.cov_params().to_numpy() @ there
        gain += sign * (line.params["const"] + line.params["z"] * frame["z"])
    assert found.value == pytest.approx(level)
    assert found.value == pytest.approx(gain.mean())
    # the effect's own spread: another sample has another mean of z
    assert found.standard_error == pytest.approx(np.sqrt(variance + gain.var() / 300), rel=0.01)


def test_several_effects_are_those_of_single_calls_with_models_fitted_once(monkeypatch):
    frame = _confounded(400, 3, strength=0.3)
    asked = [(name, target) for target in ("all", "treated") for name in ("aipw", "ipw")]
    how = {"adjustment": ["z"], "cluster": "user", "learners": STUB}
    singly = [
        effect(frame, "t", "y", estimator=name, target=target, **how) for name, target in asked
    ]
    fits = []
    for name in ("outcomes", "propensities"):
        own = getattr(estimators, name)
        monkeypatch.setattr(
            estimators, name, lambda *parts, name=name, own=own, **given: (
                fits.append(name) or own(*parts, **given)
            ),
        )  # fmt: skip
    together = effects.effects_by(frame, "t", "y", asked, **how)
    assert [one.to_dict() for one in together] == [one.to_dict() for one in singly]
    assert all(one.support is None for one in together)  # which is fitted to rows of its own
    assert sorted(fits) == ["outcomes", "propensities"]


def test_matching_by_hand():
    frame = pd.DataFrame(
        {
            "x": [0.0, 1.0, 2.0, 0.2, 1.1, 2.5],
            "t": [0, 0, 0, 1, 1, 1],
            "y": [1.0, 2.0, 4.0, 3.0, 4.0, 9.0],
        }
    )
    # The last row by itself in a place that only the second arm reaches: row 2 is used by it and by
    # one more.
    frame = pd.concat([frame, pd.DataFrame({"x": [1.9], "t": [1], "y": [5.0]})], ignore_index=True)
    frame["p"] = 0.5
    found = effect(frame, "t", "y", adjustment=["x"], estimator="matching", propensity="p")
    lines = [np.polyfit(part["x"], part["y"], 1) for _, part in frame.groupby("t")]
    gains = []
    used = np.zeros(len(frame))
    for row in frame.itertuples():
        other = frame[frame["t"] != row.t]
        match = other.loc[(other["x"] - row.x).abs().idxmin()]
        used[match.name] += 1
        line = lines[1 - row.t]
        imputed = match["y"] + np.polyval(line, row.x) - np.polyval(line, match["x"])
        gains.append((row.y - imputed) * (1 if row.t else -1))
    assert found.value == pytest.approx(np.mean(gains))
    assert used.max() == 2
    assert used.min() == 0
    # Abadie and Imbens: a row speaks for itself and for those that it is matched to; the effect's
    # own spread is added.
    gain = np.polyval(lines[1], frame["x"]) - np.polyval(lines[0], frame["x"])
    left = [row.y - np.polyval(lines[row.t], row.x) for row in frame.itertuples()]
    influence = gain - gain.mean() + np.where(frame["t"] == 1, 1, -1) * (1 + used) * left
    assert found.standard_error == pytest.approx(_error(influence - influence.mean(), range(7)))
    # of the weights that make the arms alike, whatever the estimator
    assert found.effective_sample_size == pytest.approx(7)
    assert found.diagnostics["largest_use"] == 2


INSTRUMENT = ["z -> t", "t -> y", "u -> t", "u -> y"]


def _levels(n, seed):
    """z confounds t in a, b, c; the effect of c against b is 0.7 - 0.4 z, 0.7 on average."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    odds = np.exp(np.column_stack([0 * z, 0.5 * z, -0.5 * z]))
    code = (rng.random((n, 1)) > (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(
        axis=1
    )
    y = z + np.array([0, 0.5, 1.2])[code] + 0.4 * z * (code == 1) + rng.normal(size=n)
    return pd.DataFrame({"z": z, "t": np.array(list("abc"))[code], "y": y})


def _priced(n, seed):
    """z confounds t, a number, and y, both times bent; the effect of a unit is 0.5 + 0.3 z, 0.5 on
    average.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = np.sin(2 * z) + rng.normal(size=n)
    return pd.DataFrame(
        {"z": z, "t": t, "y": 2 * np.sin(2 * z) + (0.5 + 0.3 * z) * t + rng.normal(size=n)}
    )


def _moved(n, seed):
    """z moves t, which a hidden u confounds with y; x confounds z and y, both times bent. The
    effect of a unit is 1.5.
    """
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(2, n))
    z = np.sin(2 * x) + rng.normal(size=n)
    t = z + u + rng.normal(size=n)
    return pd.DataFrame(
        {"x": x, "z": z, "t": t, "y": 1.5 * t + u + 2 * np.sin(2 * x) + rng.normal(size=n)}
    )


def _moving():
    graph = CausalGraph.from_edges("zxuty", [*INSTRUMENT, "x -> z", "x -> y"])
    return {"estimand": identify(graph, "t", "y", hidden=["u"], instruments=True)}


@pytest.mark.parametrize(
    ("make", "truth", "arguments", "naive"),
    [
        (_confounded, 0.5, {"learners": None}, "difference"),
        (_confounded, 0.5, {"estimator": "aipw"}, "difference"),
        (_confounded, 0.5, {"estimator": "ipw"}, "difference"),
        (_confounded, 0.5, {"estimator": "linear_dml"}, "difference"),
        (_confounded, 0.5, {"estimator": "dr_learner"}, "difference"),
        (_confounded, 0.5, {"estimator": "causal_forest"}, "difference"),
        (_levels, 0.7, {"contrast": ("b", "c")}, "difference"),
        (_levels, 0.7, {"contrast": ("b", "c"), "estimator": "regression"}, "difference"),
        (_priced, 0.5, {}, "regression"),
        (_priced, 0.5, {"estimator": "causal_forest"}, "regression"),
        (_moved, 1.5, {"adjustment": None, **_moving(), "estimator": "orthogonal_iv"}, "wald"),
    ],
)
def test_estimators_are_near_the_truth_and_the_naive_ones_are_not(make, truth, arguments, naive):
    runs = 3
    distances = []
    for seed in range(runs):
        frame = make(700, seed)
        how = {"adjustment": ["z"], "learners": "splines"} | arguments
        found = effect(frame, "t", "y", **how)
        distances.append((found.value - truth) / found.standard_error)
        blind = effect(frame, "t", "y", **how | {"estimator": naive, "learners": "linear"})
        assert not blind.covers(truth, level=0.999), blind
    # Of three standard normal distances the largest exceeds 3.5, and the mean 1.9, less than once
    # in 700.
    assert np.abs(distances).max() < 3.5
    assert abs(np.mean(distances)) < 1.9


def test_front_door_and_instrument_are_right_where_the_confounder_is_hidden(draws, check_pivot):
    distances = {"front_door": [], "wald": []}
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    moved = identify(
        CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True
    )
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        n = 800
        u = rng.normal(size=n)
        z = rng.integers(2, size=n)
        t = (rng.random(n) < 1 / (1 + np.exp(-(u + 2 * z - 1)))).astype(int)
        m = (rng.random(n) < 0.2 + 0.5 * t).astype(int) + (rng.random(n) < 0.3)
        frame = pd.DataFrame(
            {
                "z": z,
                "t": t,
                "m": m,
                "y": 2 * m + u + rng.normal(size=n),
                "w": 1.5 * t + u + rng.normal(size=n),
            }
        )
        for name, truth, found in (
            ("front_door", 2 * 0.5, effect(frame, "t", "y", estimand=front)),
            ("wald", 1.5, effect(frame, "t", "w", estimand=replace(moved, outcome="w"))),
        ):
            distances[name].append((found.value - truth) / found.standard_error)
        if seed < 30:
            naive = effect(frame, "t", "y", adjustment=[], estimator="difference")
            assert naive.low > 1.0
    check_pivot(distances["front_door"])
    check_pivot(distances["wald"])


def test_front_door_and_instrument_by_hand():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"t": rng.integers(2, size=400), "x": rng.normal(size=400)})
    frame["z"] = frame["t"] + frame["x"] + rng.normal(size=400)
    frame["m"] = rng.integers(3, size=400)
    frame["y"] = rng.normal(size=400) + frame["m"] + frame["t"]
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    by_hand = sum(
        (
            (frame.loc[frame["t"] == 1, "m"] == m).mean()
            - (frame.loc[frame["t"] == 0, "m"] == m).mean()
        )
        * sum(
            (frame["t"] == t).mean() * frame.loc[(frame["m"] == m) & (frame["t"] == t), "y"].mean()
            for t in (0, 1)
        )
        for m in range(3)
    )
    assert effect(frame, "t", "y", estimand=front).value == pytest.approx(by_hand)
    graph = CausalGraph.from_edges("zxuty", [*INSTRUMENT, "x -> z", "x -> y"])
    moved = identify(graph, "t", "y", hidden=["u"], instruments=True)
    wide = np.column_stack([np.ones(400), frame["x"]])
    first = np.column_stack([wide, frame["z"]])
    fitted = first @ np.linalg.lstsq(first, frame["t"].to_numpy(float), rcond=None)[0]
    second = np.linalg.lstsq(np.column_stack([wide, fitted]), frame["y"].to_numpy(), rcond=None)[0]
    assert effect(frame, "t", "y", estimand=moved).value == pytest.approx(second[2])


@pytest.mark.parametrize("estimator", ["aipw", "ipw", "regression", "difference", "dr_learner"])
def test_a_contrast_of_two_levels_is_the_binary_effect(estimator):
    frame = _confounded(600, 7)
    how = {"cluster": "user", "learners": "linear"}
    binary = effect(frame, "t", "y", adjustment=["z"], estimator=estimator, **how)
    named = frame.assign(t=frame["t"].map({0: "shown", 1: "hidden"}))
    both = [
        effect(
            named,
            "t",
            "y",
            adjustment=["z"],
            estimator=estimator,
            contrast=contrast,
            **how,
        )
        for contrast in (("shown", "hidden"), ("hidden", "shown"))
    ]
    assert both[0].value == binary.value
    assert both[0].standard_error == binary.standard_error
    assert both[0].diagnostics == binary.diagnostics
    assert both[1].value == pytest.approx(-binary.value, rel=1e-12)
    assert both[1].standard_error == pytest.approx(binary.standard_error, rel=1e-12)
    assert "effect of t (shown -> hidden) on y given z" in repr(both[0])
    assert both[0].to_dict()["contrast"] == ["shown", "hidden"]


def _tied(n, seed):
    """As `_confounded` with few values, so that rows tie, a third arm and clusters of five rows."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n).round(1)
    t = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    y = (z + t + rng.normal(size=n)).round()
    arm = np.where(rng.random(n) < 0.2, "c", np.where(t == 1, "a", "b"))
    user = [f"u{k}" for k in rng.integers(0, n // 5, n)]
    town = rng.choice(list("pqr"), n)
    about = {"z": z, "w": z**2, "town": town, "t": t, "arm": arm, "y": y, "user": user}
    return pd.DataFrame(about)


@pytest.mark.parametrize("target", ["all", "treated"])
@pytest.mark.parametrize("estimator", ["aipw", "ipw", "dr_learner"])
def test_a_contrast_turned_round_has_the_other_sign(estimator, target):
    frame = _tied(400, 12)
    how = {"adjustment": ["z", "town"], "estimator": estimator, "cluster": "user"}
    found = effect(frame, "arm", "y", contrast=("a", "b"), target=target, **how)
    back = {"treated": "untreated"}.get(target, target)
    other = effect(frame, "arm", "y", contrast=("b", "a"), target=back, **how)
    assert other.value == pytest.approx(-found.value, rel=1e-12)
    assert other.standard_error == pytest.approx(found.standard_error, rel=1e-12)
    assert other.verdict == found.verdict


def test_names_of_columns_and_clusters_change_nothing():
    frame = _tied(600, 13)
    rng = np.random.default_rng(14)
    other = frame.rename(columns={"z": "m", "w": "a", "town": "zz"})
    new = dict(zip(frame["user"].unique(), rng.permutation(600), strict=False))
    other = other.assign(user=frame["user"].map(new)).sample(frac=1, random_state=0)
    for how in ({"learners": "boosted"}, {"learners": "forest"}, {"estimator": "causal_forest"}):
        found = effect(frame, "t", "y", adjustment=["z", "w", "town"], cluster="user", **how)
        again = effect(other, "t", "y", adjustment=["zz", "m", "a"], cluster="user", **how)
        assert (again.value, again.standard_error) == (found.value, found.standard_error)


@pytest.mark.parametrize("target", ["all", "treated"])
@pytest.mark.parametrize("estimator", ["aipw", "regression", "matching"])
def test_rows_of_weight_0_count_as_if_they_were_not_there(estimator, target):
    frame = _confounded(500, 15)
    frame["w"] = np.arange(500) % 3
    how = {"adjustment": ["z"], "weights": "w", "estimator": estimator, "target": target}
    found = effect(frame, "t", "y", learners="linear", **how)
    kept = effect(frame[frame["w"] > 0], "t", "y", learners="linear", **how)
    assert (found.value, found.standard_error) == (kept.value, kept.standard_error)
    assert found.notes == ("w: 0 in 167 of 500 rows, which are left out",)
    if found.support is not None:
        assert len(found.support.members) == 500


def test_one_row_with_nearly_all_weight_is_refused():
    frame = _confounded(100, 17)
    frame["w"] = np.where(np.arange(100) == 0, 1e9, 1.0)
    with pytest.raises(ValueError, match="one row has 100% of the sum of column 'w'"):
        effect(frame, "t", "y", adjustment=["z"], weights="w")


@pytest.mark.parametrize("contrast", [1, "ab", (0,), (0, 0), {0, 1}])
def test_a_contrast_is_a_pair(contrast):
    frame = _confounded(50, 18)
    with pytest.raises(ValueError, match=r"two different levels are needed, \(control, treated\)"):
        effect(frame, "t", "y", adjustment=["z"], contrast=contrast)


def test_an_arm_of_weight_0_is_named():
    frame = _confounded(100, 16)
    frame["w"] = frame["t"]
    message = (
        f"weights: column 'w' is 0 in all {(frame['t'] == 0).sum()} rows with treatment 't' = 0"
    )
    with pytest.raises(ValueError, match=message):
        effect(frame, "t", "y", adjustment=["z"], weights="w")
    three = frame.assign(t=np.arange(100) % 3, w=np.arange(100) % 3 < 2)
    assert effect(three, "t", "y", adjustment=[], contrast=(0, 1), weights="w").diagnostics["rows"]


def test_bounds_of_an_extrapolated_effect_hold_what_its_interval_misses():
    """Beyond |z| = 1 there is one arm, and what the other would have had bends there."""
    missed = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=800)
        t = (rng.random(800) < np.where(z > 1, 1.0, np.where(z < -1, 0.0, 0.5))).astype(int)
        tau = 1 + 2 * np.maximum(z - 1, 0)
        y = z + 3 * np.maximum(z - 1, 0) + tau * t + rng.normal(size=800)
        frame = pd.DataFrame({"z": z, "t": t, "y": y})
        found = effect(frame, "t", "y", adjustment=["z"], target="treated", learners="linear")
        truth = tau[t == 1].mean()
        assert found.verdict == "extrapolated"
        assert found.bounds[0] < truth < found.bounds[1]
        assert "without trust in a model for these rows, [" in repr(found)
        assert found.to_dict()["bounds"] == list(found.bounds)
        missed += not found.covers(truth)
    assert missed >= 6
    assert effect(_confounded(300, 0, 0.5), "t", "y", adjustment=["z"]).bounds is None


def test_a_contrast_of_three_levels_by_hand():
    frame = _levels(600, 8).sort_values("z")  # the order in which folds are dealt out
    found = {
        name: effect(
            frame, "t", "y", adjustment=["z"], contrast=("c", "a"), estimator=name, learners=STUB
        )
        for name in ("aipw", "dr_learner", "regression", "ipw")
    }
    x = frame[["z"]]
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    codes = np.select([t == "c", t == "a"], [0, 1], 2)
    apart = np.empty((2, 600))
    joint = np.empty((2, 600))
    weights = np.empty((2, 600))
    for train, test in arm_folds(codes, np.arange(600), 0):
        chance = LogisticRegression().fit(x.iloc[train], codes[train]).predict_proba(x.iloc[test])
        compared = train[codes[train] < 2]
        of_both = LinearRegression().fit(np.column_stack([x, codes])[compared], y[compared])
        for arm in (0, 1):
            own = train[codes[train] == arm]
            mean = LinearRegression().fit(x.iloc[own], y[own]).predict(x.iloc[test])
            weight = (codes[test] == arm) / chance[:, arm]
            apart[arm, test] = mean + weight * (y[test] - mean)
            weights[arm, test] = weight
            mean = of_both.predict(np.column_stack([x.iloc[test], np.full(len(test), arm)]))
            joint[arm, test] = mean + weight * (y[test] - mean)
    for name, scores in (("aipw", apart), ("dr_learner", joint)):
        gain = scores[1] - scores[0]
        assert found[name].value == pytest.approx(gain.mean())
        assert found[name].standard_error == pytest.approx(gain.std(ddof=1) / np.sqrt(600))
    means = weights @ y / weights.sum(axis=1)
    assert found["ipw"].value == pytest.approx(means[1] - means[0])
    assert found["ipw"].effective_sample_size == pytest.approx(
        weights.sum() ** 2 / (weights**2).sum()
    )
    lines = [np.polyfit(x["z"][codes == arm], y[codes == arm], 1) for arm in (0, 1)]
    assert found["regression"].value == pytest.approx(
        (np.polyval(lines[1], x["z"]) - np.polyval(lines[0], x["z"])).mean()
    )


def _error(influence, who):
    """Standard error of the mean of ``influence`` (n,), summed within the clusters ``who``."""
    sums = pd.Series(influence).groupby(np.asarray(who)).sum()
    return np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence)


@pytest.mark.parametrize("target", ["all", "treated"])
@pytest.mark.parametrize("name", ["aipw", "ipw", "linear_dml", "dr_learner", "regression"])
def test_an_effect_is_the_estimate_of_its_sample(name, target):
    """Rows in the order of z, their weights divided by the mean, clusters, folds and seed as asked
    for.
    """
    frame = _confounded(240, 12)
    found = effect(
        frame, "t", "y", adjustment=["z"], estimator=name, target=target, cluster="user",
        weights="w", learners=STUB, folds=4, seed=3,
    )  # fmt: skip
    rows = frame.sort_values("z")
    groups = pd.factorize(rows["user"])[0]
    how = Fitting((LinearRegression(),), (LogisticRegression(),), 4, 3)
    sample = Sample(
        rows["y"].to_numpy(), rows["t"].to_numpy(), rows[["z"]], groups,
        (rows["w"] / rows["w"].mean()).to_numpy(), target, how,
    )  # fmt: skip
    estimate = ESTIMATORS[name](sample)
    assert found.value == pytest.approx(estimate.value)
    assert found.standard_error == pytest.approx(standard_error(estimate.influence, groups))
    assert found.diagnostics["clusters"] == 120
    assert found.target == target


@pytest.mark.parametrize("kind", ["arms", "unit"])
def test_the_error_of_linear_dml_is_that_of_fits_without_a_row(kind):
    """The rows' effects differ much, so that their own spread is a large part of the error."""
    frame = (_confounded if kind == "arms" else _priced)(300, 13).sort_values("z")
    frame["y"] += 2 * frame["z"] * frame["t"]
    known = {"propensity": "p"} if kind == "arms" else {}
    found = effect(
        frame, "t", "y", adjustment=["z"], estimator="linear_dml", learners=STUB, seed=2, **known
    )
    splits = list(folds(np.arange(300), 2))

    def left(name):
        model = cross_val_predict(LinearRegression(), frame[["z"]], frame[name], cv=splits)
        return (frame[name] - model).to_numpy()

    y = left("y")
    t = (frame["t"] - frame["p"]).to_numpy() if kind == "arms" else left("t")
    basis = np.vander(frame["z"], 3)

    def effects(rows):
        return basis @ np.linalg.lstsq(basis[rows] * t[rows, None], y[rows], rcond=None)[0]

    everyone = np.arange(300)
    gain = effects(everyone)
    without = np.array([effects(np.delete(everyone, row)).mean() for row in everyone])
    fitted = 300 * (gain.mean() - without)
    spread = gain - gain.mean()
    assert found.value == pytest.approx(gain.mean())
    assert found.standard_error == pytest.approx(_error(fitted + spread, everyone))
    # the data can tell whether the spread is in it
    assert found.standard_error > 1.1 * _error(fitted, everyone)


@pytest.mark.parametrize("kind", ["arms", "unit"])
def test_the_scores_of_the_causal_forest_by_hand(kind):
    from econml.grf import CausalForest

    frame = (_confounded if kind == "arms" else _priced)(400, 14).assign(user=np.arange(400) // 2)
    frame = frame.sort_values("z")
    known = {"propensity": "p"} if kind == "arms" else {}
    found = effect(
        frame, "t", "y", adjustment=["z"], estimator="causal_forest", cluster="user", seed=1,
        learners=STUB, **known,
    )  # fmt: skip
    x = frame[["z"]]
    splits = list(folds(pd.factorize(frame["user"])[0], 1))

    def left(values):
        return values - cross_val_predict(LinearRegression(), x, values, cv=splits)

    y_left = left(frame["y"].to_numpy())
    t = frame["t"].to_numpy()
    t_left = t - frame["p"].to_numpy() if kind == "arms" else left(t)
    gain = np.empty(400)
    for train, test in splits:
        forest = CausalForest(n_estimators=100, inference=False, random_state=1)
        gain[test] = forest.fit(x.to_numpy()[train], t_left[train], y_left[train]).predict(
            x.to_numpy()[test]
        )[:, 0]
    if kind == "arms":
        share = frame["p"].to_numpy()
        variance = share * (1 - share)
    else:
        least = 0.01 * (t_left**2).mean()
        variance = np.maximum(t_left**2 - left(t_left**2), least)
    score = gain + t_left / variance * (y_left - t_left * gain)
    assert found.value == pytest.approx(score.mean())
    assert found.standard_error == pytest.approx(_error(score - score.mean(), frame["user"]))


def test_the_effect_of_a_unit_by_least_squares():
    frame = _priced(800, 9).assign(w=lambda f: (f["z"] > 1).astype(float))
    found = effect(
        frame, "t", "y", adjustment=["z", "w"], estimator="regression", learners="linear"
    )
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    x = frame[["z", "w"]].to_numpy()
    x = x - x.mean(axis=0)
    wide = np.column_stack([t, np.ones(800), x, x * t[:, None]])
    slope = np.linalg.lstsq(wide, y, rcond=None)[0]
    assert found.value == pytest.approx(slope[0])
    meat = wide * (y - wide @ slope)[:, None]
    bread = np.linalg.inv(wide.T @ wide)
    spread = (x @ slope[-2:]).var() / 800
    assert found.standard_error == pytest.approx(
        np.sqrt((bread @ meat.T @ meat @ bread)[0, 0] + spread), rel=0.02
    )
    assert effect(frame, "t", "y", adjustment=[]).estimator == "regression"
    assert effect(frame, "t", "y", adjustment=[]).value == pytest.approx(np.polyfit(t, y, 1)[0])
    few = frame.assign(t=np.digitize(t, [-0.5, 0.5]))
    assert effect(few, "t", "y", adjustment=[], estimator="regression").value == pytest.approx(
        np.polyfit(few["t"], y, 1)[0]
    )


def test_orthogonal_iv_by_hand():
    frame = _moved(400, 10).sort_values("x")
    how = {**_moving(), "estimator": "orthogonal_iv", "learners": LinearRegression()}
    found = effect(frame, "t", "y", **how)
    splits = list(KFold(5, shuffle=True, random_state=0).split(frame))
    y, t, z = (
        frame[name] - cross_val_predict(LinearRegression(), frame[["x"]], frame[name], cv=splits)
        for name in "ytz"
    )
    assert found.value == pytest.approx((z @ y) / (z @ t))
    left = z * (y - found.value * t)
    assert found.standard_error == pytest.approx(np.sqrt((left**2).sum() * 400 / 399) / abs(z @ t))
    assert found.diagnostics["first_stage_f"] > 100
    with pytest.raises(ValueError, match="the instrument is weak: first-stage F"):
        effect(frame.assign(z=np.tile([0, 1], 200)), "t", "y", **how)


def test_new_errors_are_clustered():
    frame = _confounded(300, 11)
    moved = _moved(300, 11)
    for one, how in (
        (frame, {"adjustment": ["z"], "estimator": "dr_learner"}),
        (frame, {"adjustment": ["z"], "estimator": "causal_forest"}),
        (moved, _moving() | {"estimator": "orthogonal_iv"}),
    ):
        copies = pd.concat([one, one], ignore_index=True).assign(who=np.tile(np.arange(300), 2))
        clustered = effect(copies, "t", "y", cluster="who", learners="linear", **how)
        assert clustered.diagnostics["clusters"] == 300
        # what it says of copies: half the variance, in folds that know them
        blind = effect(copies, "t", "y", learners="linear", **how)
        assert clustered.standard_error > 1.25 * blind.standard_error


def test_weights_balance_and_bias_goes():
    frame = _confounded(3000, 5, strength=0.7)
    for estimator in ("ipw", "matching"):
        found = effect(frame, "t", "y", adjustment=["z"], estimator=estimator, learners="linear")
        assert found.diagnostics["imbalance_after"] < 0.3 * found.diagnostics["imbalance_before"]
        assert found.effective_sample_size < 3000


def test_dml_is_that_of_econml_where_there_are_no_clusters():
    """With the same learners and folds; of under 100 rows of an arm, propensities are as the model
    says.
    """
    from econml.dml import LinearDML
    from sklearn.preprocessing import PolynomialFeatures

    frame = _confounded(180, 3).assign(zz=lambda f: (f["z"] > 0.3).astype(int)).sort_values("z")
    # ours are the folds of arms for the treatment, of rows for the outcome; theirs, one of both
    splits = list(arm_folds(frame["t"].to_numpy(), np.arange(180), 0))
    z = frame[["z"]].to_numpy()
    chance = cross_val_predict(
        LogisticRegression(), frame[["z", "zz"]], frame["t"], cv=splits, method="predict_proba"
    )[:, 1]
    found = effect(
        frame.assign(p=chance), "t", "y", adjustment=["z", "zz"], estimator="linear_dml",
        learners=STUB, propensity="p",
    )  # fmt: skip
    ours = effect(frame, "t", "y", adjustment=["z", "zz"], estimator="linear_dml", learners=STUB)
    assert ours.value == pytest.approx(found.value)
    theirs = LinearDML(
        model_y=LinearRegression(),
        model_t=LogisticRegression(),
        featurizer=PolynomialFeatures(2, include_bias=False),
        discrete_treatment=True,
        cv=splits,
        random_state=0,
    )
    theirs.fit(frame["y"].to_numpy(), frame["t"].to_numpy(), X=z, W=frame[["zz"]].to_numpy())
    low, high = (float(np.ravel(v)[0]) for v in theirs.ate_interval(z, alpha=0.05))
    assert ours.value == pytest.approx(float(theirs.ate(z)), abs=0.2 * ours.standard_error)
    # theirs knows no spread of the rows' effects
    assert ours.high - ours.low == pytest.approx(high - low, rel=0.15)


def test_world_effect_is_covered_by_aipw_only(world, log):
    estimand = identify(world.graph, "exposed", "purchased")
    naive = effect(
        log, "exposed", "purchased", adjustment=[], estimator="difference", cluster="user_id"
    )
    assert not naive.covers(world.ate, level=0.999)
    found = effect(
        log, "exposed", "purchased", estimand=estimand, cluster="user_id", learners="boosted"
    )
    assert found.covers(world.ate, level=0.999)
    assert found.diagnostics["imbalance_after"] < 0.1 < found.diagnostics["imbalance_before"]
    assert found.diagnostics["clusters"] == log["user_id"].nunique()


# ---- what the data cannot answer -----------------------------------------------------------------


def test_no_overlap_is_named_and_refused_on_demand():
    frame = _confounded(1500, 0, strength=8.0)
    found = effect(frame, "t", "y", adjustment=["z"], learners="linear")
    assert found.verdict == "extrapolated"
    assert found.reasons[0].endswith(
        "of the rows seem to have no counterpart among the control or treated"
    )
    assert "; extrapolated: " in repr(found)
    with pytest.raises(NoOverlapError, match=r"extrapolated: \d+\.\d% of the rows seem to have no"):
        effect(frame, "t", "y", adjustment=["z"], learners="linear", strict=True)
    fine = _confounded(1500, 0, strength=0.5)
    assert effect(fine, "t", "y", adjustment=["z"], learners="linear", strict=True).reasons == ()


def test_no_overlap_of_the_levels_compared_and_of_a_numeric_treatment():
    frame = _levels(900, 0)
    frame["t"] = np.where(frame["z"] > 1, "c", frame["t"])
    how = {"adjustment": ["z"], "learners": "splines"}
    found = effect(frame, "t", "y", contrast=("a", "c"), **how)
    assert found.verdict == "extrapolated"
    assert found.diagnostics["control_propensity_min"] < 0.02
    cut = found.support.rule.split("z <= ")[1].split()[0]  # above z = 1 there is one arm
    assert float(cut) == pytest.approx(1, abs=0.1)
    fixed = _priced(900, 0).assign(t=lambda f: np.where(f["z"] > 0, f["t"], f["z"]))
    found = effect(fixed, "t", "y", estimator="causal_forest", **how | {"learners": "boosted"})
    assert found.verdict == "extrapolated"
    assert (
        "of the rows the adjustment columns leave the treatment under 1% of its variance"
        in (found.reasons[-1])
    )


def test_an_instrument_between_ten_and_23_is_weak():
    frame = _moved(300, 5)
    rng = np.random.default_rng(0)
    frame["z"] += 5.2 * rng.normal(size=300)
    found = effect(frame, "t", "y", **_moving())
    assert 10 < found.diagnostics["first_stage_f"] < 23.1
    assert found.verdict == "weak"
    with pytest.raises(NoOverlapError, match="weak: the first-stage F is"):
        effect(frame, "t", "y", strict=True, **_moving())


# ---- known propensities --------------------------------------------------------------------------


def test_known_propensities_are_used_as_they_are():
    frame = _confounded(300, 2)
    found = effect(frame, "t", "y", adjustment=["z"], propensity="p", estimator="ipw")
    own = np.where(frame["t"] == 1, 1 / frame["p"], 1 / (1 - frame["p"]))
    means = [
        np.average(frame["y"][frame["t"] == arm], weights=own[frame["t"] == arm]) for arm in (0, 1)
    ]
    assert found.value == pytest.approx(means[1] - means[0])
    assert found.diagnostics["propensity_min"] == frame["p"].min()
    assert found.diagnostics["propensity_max"] == frame["p"].max()
    assert found.effective_sample_size == pytest.approx(own.sum() ** 2 / (own**2).sum())
    # of the level that is named as treated
    turned = frame.assign(q=1 - frame["p"])
    other = effect(
        turned, "t", "y", adjustment=["z"], propensity="q", estimator="ipw", contrast=(1, 0)
    )
    assert other.value == pytest.approx(-found.value)


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (
            {"p": 1.5},
            {},
            ValueError,
            r"propensity column 'p': 60 values outside \[0, 1\], first 1.5",
        ),
        ({"p": lambda f: 1 - f["t"] * 1.0}, {}, NoOverlapError, "'p' is 0 or 1 in every row"),
        (
            {"p": lambda f: np.where(f.index < 9, 1 - f["t"], 0.5)},
            {},
            ValueError,
            "'p': 9 rows got what had probability 0; it is to be the probability of the treated le",
        ),
        ({"p": "half"}, {}, ValueError, "column 'p' must hold numbers"),
        ({"p": np.nan}, {}, ValueError, "column 'p' holds only missing values"),
        (
            {"t": np.tile([0, 1, 2], 20)},
            {"contrast": (0, 1)},
            ValueError,
            "probability of one of tw",
        ),
        ({"t": np.arange(60.0)}, {}, ValueError, "'p' is the probability of one of two levels"),
        ({}, {"propensity": "q"}, ValueError, "no column 'q'"),
    ],
)
def test_impossible_propensities(change, arguments, error, message):
    frame = _confounded(60, 0).assign(**change)
    with pytest.raises(error, match=message):
        effect(frame, "t", "y", **{"adjustment": ["z"], "propensity": "p"} | arguments)


# ---- what changes nothing, and weights, which do -------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    """A table with ties in every column, and its effect by the models that its rows allow."""
    frame = _confounded(300, 20).assign(k=lambda f: np.where(f["z"] > 0.5, "a", "b"))
    frame[["z", "y"]] = frame[["z", "y"]].round(1)
    return frame, effect(frame, "t", "y", **_MANY)


_MANY = {"adjustment": ["z", "k"], "cluster": "user", "weights": "w"}


def _same(found, other, unit=1.0):
    scale = abs(other.standard_error)
    assert found.value == pytest.approx(unit * other.value, abs=1e-9 * scale * unit)
    assert found.standard_error == pytest.approx(unit * other.standard_error, rel=1e-9)
    assert found.freedom == pytest.approx(other.freedom, rel=1e-9)


def test_the_order_of_rows_and_columns_changes_nothing(plain):
    frame, found = plain
    shuffled = frame.sample(frac=1, random_state=3)
    other = effect(shuffled, "t", "y", **_MANY)
    assert other.value == pytest.approx(found.value, abs=1e-12)
    assert other.standard_error == pytest.approx(found.standard_error, abs=1e-12)
    assert other.diagnostics == pytest.approx(found.diagnostics, rel=1e-9)
    turned = effect(frame[frame.columns[::-1]], "t", "y", **_MANY | {"adjustment": ["k", "z"]})
    assert turned.value == pytest.approx(found.value, abs=1e-12)
    assert turned.standard_error == pytest.approx(found.standard_error, abs=1e-12)


def test_rows_that_only_a_propensity_tells_apart_have_an_order_too():
    frame = _confounded(200, 21).round({"z": 0, "y": 0})
    how = {"adjustment": ["z"], "propensity": "p", "learners": STUB}
    found = effect(frame, "t", "y", **how)
    for seed in range(3):
        other = effect(frame.sample(frac=1, random_state=seed), "t", "y", **how)
        assert other.value == pytest.approx(found.value, abs=1e-12)


def test_names_units_and_types_change_nothing(plain):
    frame, found = plain
    _same(effect(frame.assign(y=1e6 * frame["y"] + 5), "t", "y", **_MANY), found, 1e6)
    _same(effect(frame.assign(w=7 * frame["w"]), "t", "y", **_MANY), found)
    _same(effect(frame.assign(t=frame["t"] == 1), "t", "y", **_MANY), found)
    _same(effect(frame.set_index("user", drop=False), "t", "y", **_MANY), found)
    _same(effect(frame.assign(y=frame["y"].astype(object)), "t", "y", **_MANY), found)
    coarse = effect(frame.assign(z=1e6 * frame["z"]), "t", "y", **_MANY)
    assert coarse.value == pytest.approx(found.value, abs=1e-3 * found.standard_error)


def test_weights_folds_and_seeds_change_something(plain):
    frame, found = plain
    assert effect(frame, "t", "y", **_MANY).value == found.value
    for change in ({"weights": None}, {"seed": 1}, {"folds": 3}, {"learners": "forest"}):
        assert effect(frame, "t", "y", **_MANY | change).value != found.value
    assert effect(frame, "t", "y", **_MANY | {"cluster": None}).diagnostics["clusters"] == 300


def test_a_value_alone_is_that_of_the_effect(plain):
    frame, found = plain
    assert value_of(frame, "t", "y", **_MANY) == (found.value, found.standard_error)
    value, _ = value_of(frame, "t", "y", **_MANY, seed=1, learners="linear", folds=3)
    assert value == effect(frame, "t", "y", **_MANY, seed=1, learners="linear", folds=3).value


@pytest.mark.parametrize("name", ["difference", "regression", "ipw"])
def test_a_row_of_weight_three_is_three_rows(name):
    frame = _confounded(200, 22).assign(row=np.arange(200))
    how = {"adjustment": ["z"], "propensity": "p", "estimator": name}
    single = effect(frame, "t", "y", weights="w", **how)
    copies = frame.loc[np.repeat(frame.index, frame["w"])]
    many = effect(copies, "t", "y", cluster="row", **how)
    assert many.value == pytest.approx(single.value, rel=1e-9)
    assert many.standard_error == pytest.approx(single.standard_error, rel=0.02)
    assert single.value != pytest.approx(effect(frame, "t", "y", **how).value, rel=1e-3)


# ---- refusals ------------------------------------------------------------------------------------


def _with(**columns):
    return _confounded(60, 0).assign(**columns)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (_with(t=2), {}, "treatment 't': only the value 2 occurs in 60 rows"),
        (_with(t=1), {}, "treatment 't': only the value 1 occurs in 60 rows"),
        (_with(y=np.nan), {}, "column 'y' holds only missing values"),
        (_with(z=[np.nan] + [0.0] * 59), {}, "column 'z' has 1 missing value"),
        (_with(z=[np.inf] + [0.0] * 59), {}, "column 'z' has 1 infinite value"),
        (_with(), {"adjustment": ["q"]}, "no column 'q'; columns there: z, t, y"),
        (_with(), {"adjustment": ["t"]}, "adjustment holds t itself"),
        (
            _with(),
            {"estimator": "magic"},
            r"unknown estimator 'magic'; known: aipw, ipw, linear_dml, .*, difference, front_door, wald, orth",
        ),
        (_with(), {"adjustment": None}, "give a graph, an estimand"),
        (_with(user=0), {"cluster": "user"}, "1 rows or clusters are too few for 5 folds"),
        (
            _with(),
            {"adjustment": [], "estimator": "linear_dml"},
            "needs at least one adjustment column; use 'regression'",
        ),
        (
            _with(),
            {"adjustment": [], "estimator": "causal_forest"},
            "needs at least one adjustment column",
        ),
        (
            _with(),
            {"adjustment": [], "estimator": "dr_learner"},
            "needs at least one adjustment column",
        ),
        (_with(), {"adjustment": ["y"]}, "adjustment holds y itself"),
        (_with(t=[np.nan] + [0, 1] * 29 + [1]), {}, "column 't' has 1 missing value"),
        (_with().head(0), {}, "has no rows"),
        (_with(y=3.0), {}, r"outcome 'y' is constant \(3 in 60 rows\): no effect can be seen"),
        (_with(y="no"), {}, "column 'y' must hold numbers, not str"),
        (_with(t=[0, 1] * 30).head(4), {}, "4 rows or clusters are too few for 5 folds"),
        (
            _with(t=[1, 1] + [0] * 58, user=[0] * 20 + list(range(1, 41))),
            {"cluster": "user"},
            "rows of the treated fall into one",
        ),
        (
            _with(t=[1] + [0] * 59),
            {},
            "treatment 't': only 1 row of level 1; at least 2 are needed",
        ),
        (
            _with(user=0),
            {"cluster": "user", "estimator": "difference"},
            "1 row or cluster is too few for a standard error",
        ),
        (
            _with(t=[1, 1] + [0] * 58, w=0.0),
            {"adjustment": ["z", "w"], "estimator": "regression"},
            "an arm of 2 rows is too small for 2 columns of adjustment and constant",
        ),
        (
            _with(t=list("abc") * 20),
            {},
            r"treatment 't' has 3 levels \(a, b, c\): give contrast=\(control, treated\)$",
        ),
        (
            _with(t=[0, 1, 2] * 20),
            {},
            r"3 levels \(0, 1, 2\): give contrast=.*, or an estimator of the effect of one unit: lin",
        ),
        (
            _with(t=list("ab") * 30),
            {"contrast": ("a", "q")},
            "contrast: 'q' is no level of treatment 't'; its levels: a, b",
        ),
        (
            _with(t=list("ab") * 30),
            {"contrast": ("a", "a")},
            r"contrast=\('a', 'a'\): two different levels are needed",
        ),
        (
            _with(t=list("abc") * 20),
            {"contrast": ("a", "b"), "estimator": "matching"},
            "'matching' cannot compare two of 3 levels of treatment 't'; those that can: aipw, "
            "ipw, dr_learner, regression, difference",
        ),
        (
            _with(t=np.arange(60.0)),
            {"estimator": "aipw"},
            r"'aipw' compares two levels and treatment 't' is a number with 60 \(0, 1, .*\): give contrast=",
        ),
        (
            _with(t=lambda f: 2 * f["z"] + 1),
            {"estimator": "regression"},
            "the treatment is a function of the adjustment columns",
        ),
        (
            _with(t=["yes", "no"] * 30),
            {},
            r"2 levels \(no, yes\): give contrast=\(control, treated\)$",
        ),
        (_with(t=["1", "0"] * 30), {}, "column 't' holds numbers as text"),
        (_with(z=["1", "0"] * 30), {}, "column 'z' holds numbers as text"),
        (_with(z=[1, "x"] * 30), {}, "column 'z' mixes int and str"),
        (_with(z=[f"u{k}" for k in range(60)]), {}, "column 'z' has 60 levels in 60 rows"),
        (_with(), {"target": "everyone"}, "unknown target 'everyone'; known: all, treated, untre"),
        (
            _with(t=np.arange(60.0)),
            {"target": "treated"},
            "target='treated' compares arms, and the treatment is a number; give contrast=",
        ),
        (
            _with(t=list("abc") * 20),
            {"target": "overlap", "contrast": ("a", "b")},
            "target='overlap' is of two levels; keep the rows of the two of contrast first",
        ),
        (
            _with(),
            {"target": "overlap", "estimator": "matching"},
            "'matching' cannot average over target='overlap'; those that can: aipw, ipw, linear_",
        ),
        (_with(w=[-1] + [1] * 59), {"weights": "w"}, "'w' has 1 values below 0 and 59 above"),
        (_with(w=0), {"weights": "w"}, "'w' has 0 values below 0 and 0 above; each row stands"),
        (_with(w="a"), {"weights": "w"}, "column 'w' must hold numbers"),
        (_with(w=[np.nan] + [1.0] * 59), {"weights": "w"}, "column 'w' has 1 missing value"),
        (_with(), {"learners": "magic"}, "learners: unknown name 'magic'; known: linear, splines"),
        (_with(), {"learners": {"effect": "linear"}}, "no model is called 'effect'"),
        (_with(), {"folds": 1}, "folds=1: a whole number of at least 2 is needed"),
        (_with(), {"folds": 61}, "60 rows or clusters are too few for 61 folds"),
    ],
)
def test_bad_input(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        effect(frame, "t", "y", **({"adjustment": ["z"]} | arguments))


def test_estimands_that_do_not_fit():
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    with pytest.raises(
        ValueError,
        match="'aipw' does not fit the estimand's strategy, front-door; those that do: front_door",
    ):
        effect(_with(m=0), "t", "y", estimand=front, estimator="aipw")
    with pytest.raises(
        ValueError, match="mediators m: 1 of 2 levels are seen in one arm only; merge levels"
    ):
        effect(_with(m=[0, 1] + [0] * 58), "t", "y", estimand=front)
    none = identify(CausalGraph.from_edges("ty", ["y -> t"]), "t", "y")
    with pytest.raises(ValueError, match="by the graph 't' has no effect on 'y': it is 0"):
        effect(_with(), "t", "y", estimand=none)
    moved = identify(
        CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True
    )
    with pytest.raises(ValueError, match="the instrument is weak: first-stage F"):
        effect(_with(z=np.tile([0.0, 1.0, 1.0, 0.0], 15)), "t", "y", estimand=moved)
    with pytest.raises(
        ValueError, match="'orthogonal_iv' needs at least one conditioning column; use 'wald'"
    ):
        effect(_with(), "t", "y", estimand=moved, estimator="orthogonal_iv")
    with pytest.raises(
        ValueError, match="contrast is for back-door sets; the estimand's strategy is instrument"
    ):
        effect(_with(), "t", "y", estimand=moved, contrast=(0, 1))
    with pytest.raises(ValueError, match="the estimand is of t on y, not of z on y"):
        effect(_with(), "z", "y", estimand=front)


def test_only_a_back_door_set_has_weights_a_target_and_propensities():
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    moved = identify(
        CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True
    )
    for estimand in (front, moved):
        for name, value in (("weights", "w"), ("target", "treated"), ("propensity", "p")):
            with pytest.raises(
                ValueError, match=f"{name} is for back-door sets; the estimand's st"
            ):
                effect(_with(m=[0, 1] * 30), "t", "y", estimand=estimand, **{name: value})


def test_binary_check_accepts_booleans():
    assert check_binary([True, False], name="t").tolist() == [1, 0]


# ---- what is told --------------------------------------------------------------------------------


def test_a_graph_identifies_or_checks():
    frame = _confounded(800, 6).assign(c=lambda f: f["t"] + f["y"])
    graph = CausalGraph.from_edges("ztyc", ["z -> t", "z -> y", "t -> y", "t -> c", "y -> c"])
    how = {"estimator": "regression", "propensity": "p"}
    by_graph = effect(frame, "t", "y", graph=graph, **how)
    assert by_graph.adjustment == ("z",)
    for given in ({"adjustment": ["z"]}, {"adjustment": ["z"], "graph": graph}):
        assert effect(frame, "t", "y", **given, **how).to_dict() == by_graph.to_dict()
    with pytest.raises(
        ValueError, match=r"\['z', 'c'\] does not identify .*: c is an effect of t .*\(t -> c\)"
    ):
        effect(frame, "t", "y", graph=graph, adjustment=["z", "c"])
    with pytest.raises(ValueError, match="t <- z -> y is open"):
        effect(frame, "t", "y", graph=graph, adjustment=[])
    with pytest.raises(NotIdentifiableError, match="open back-door path t <- z -> y"):
        effect(frame.drop(columns="z"), "t", "y", graph=graph)
    with pytest.raises(NotIdentifiableError, match="t -- y decides, though not alone"):
        effect(frame, "t", "y", graph=CausalGraph.from_edges("zty", ["z -- t", "t -- y", "z -- y"]))


def test_an_effect_as_a_dictionary_and_in_print():
    found = Effect("t", "y", "ipw", ("a", "b"), 1.5, 0.5, 1234.4, {"rows": 3}, ("u", "v"))
    low = 1.5 - 0.5 * 1.959964
    high = 1.5 + 0.5 * 1.959964
    told = found.to_dict()
    assert (told.pop("low"), told.pop("high")) == pytest.approx((low, high))
    assert told == {
        "treatment": "t", "outcome": "y", "estimator": "ipw", "adjustment": ("a", "b"), "value": 1.5,
        "effective_sample_size": 1234.4, "diagnostics": {"rows": 3}, "contrast": ["u", "v"],
        "target": "all", "verdict": "supported", "reasons": (), "notes": (),
    }  # fmt: skip
    assert repr(found) == (
        f"effect of t (u -> v) on y given a, b (ipw): 1.5000 [{low:.4f}, {high:.4f}], effective "
        "sample size 1,234"
    )
    plain = Effect("t", "y", "difference", (), 1.5, 0.5, 10.0)
    assert repr(plain).startswith("effect of t on y (difference): 1.5000 [")
    assert "contrast" not in plain.to_dict()
    for end in (plain.low, plain.high):
        assert plain.covers(end)
    assert not plain.covers(plain.low - 1e-9)


def test_an_effect_of_a_part_in_print_and_as_a_dictionary():
    members = np.array([True, True, False, True])
    part = Support(members, "z > 1", 1.0, 0.5, 1.5)
    found = Effect(
        "t", "y", "aipw", ("z",), 1.5, 0.5, 4.0, target="treated", verdict="weak",
        reasons=("few", "odd"), support=part,
    )  # fmt: skip
    assert repr(found) == (
        f"effect of t on y (among the treated) given z (aipw): 1.5000 [{found.low:.4f}, "
        f"{found.high:.4f}], effective sample size 4; weak: few, odd; supported for 3 of 4 rows: "
        "z > 1; among them 1.0000 [0.5000, 1.5000]"
    )
    assert found.to_dict()["support"] == {
        "share": 0.75, "rule": "z > 1", "value": 1.0, "low": 0.5, "high": 1.5,
    }  # fmt: skip
    assert "rows; among them" in repr(replace(part, rule=""))
    for target, words in (
        ("untreated", "among the untreated"),
        ("overlap", "where either was lik"),
    ):
        assert f"on y ({words}" in repr(replace(found, target=target))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (0.01, "0.0100"),
        (-0.01, "-0.0100"),
        (0.00999, "0.00999"),
        (1.23456e-12, "1.235e-12"),
        (-3.21e-300, "-3.21e-300"),
        (999999.0, "999999.0000"),
        (1e6, "1e+06"),
        (-123456789.0, "-1.235e+08"),
    ],
)
def test_tiny_and_huge_numbers_are_shown_with_their_digits(value, shown):
    assert f"(difference): {shown} [" in repr(Effect("t", "y", "difference", (), value, 1.0, 10.0))


def test_a_dictionary_is_json_whatever_the_types_of_levels_and_columns():
    frame = _confounded(200, 23).assign(
        day=lambda f: pd.Timestamp("2024-01-01") + pd.to_timedelta(f["t"], unit="D"),
        when=lambda f: (
            pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(len(f)) % 9, unit="D")
        ),
        flag=lambda f: f["t"] == 1,
    )
    for treatment, contrast, expected in (
        ("t", tuple(np.unique(frame["t"])), [0, 1]),
        ("flag", (np.False_, np.True_), [False, True]),
        ("day", (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")), None),
    ):
        found = effect(
            frame, treatment, "y", adjustment=["z", "when"], contrast=contrast, estimator="regression",
            propensity="p",
        )  # fmt: skip
        told = json.loads(json.dumps(found.to_dict()))
        assert told["value"] == found.value
        assert told["notes"] == ["when: days since 2023-01-01"]
        assert told["contrast"] == (expected or ["2024-01-01 00:00:00", "2024-01-02 00:00:00"])
    weak = frame.assign(t=lambda f: np.where(f["z"] > 0.5, 0, f["t"]))
    found = effect(weak, "t", "y", adjustment=["z"], learners="linear")
    told = json.loads(json.dumps(found.to_dict()))
    assert told["verdict"] in ("weak", "extrapolated")
    assert told["reasons"] == list(found.reasons)


def test_sizes_that_are_told_by_hand():
    """Rows, clusters of unequal size, treated and, of more levels, control rows."""
    frame = _levels(200, 3).assign(who=np.repeat(np.arange(40), np.tile([2, 8], 20)))
    counts = frame["t"].value_counts()
    for contrast in (("b", "c"), ("a", "b")):
        found = effect(
            frame, "t", "y", adjustment=[], estimator="difference", contrast=contrast, cluster="who"
        )
        sizes = {
            "rows": 200, "clusters": 40, "treated": counts[contrast[1]], "control": counts[contrast[0]],
        }  # fmt: skip
        assert found.diagnostics.items() >= sizes.items()
        assert found.contrast == contrast
        arms = [(frame["t"] == level).to_numpy() for level in contrast]
        means = [frame.loc[arm, "y"].mean() for arm in arms]
        left = sum(
            sign * arm * (frame["y"] - mean) / arm.mean() / np.sqrt(1 - 1 / arm.sum())
            for sign, arm, mean in zip((-1, 1), arms, means, strict=True)
        )
        assert found.value == pytest.approx(means[1] - means[0])
        assert found.standard_error == pytest.approx(_error(left, frame["who"]))
        weights = sum(arm / arm.mean() for arm in arms)
        assert found.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    binary = effect(_confounded(90, 0), "t", "y", adjustment=[], estimator="difference")
    treated = int(_confounded(90, 0)["t"].sum())
    assert binary.diagnostics.items() >= {"rows": 90, "clusters": 90, "treated": treated}.items()
    assert "control" not in binary.diagnostics
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    passed = effect(_with(m=[0, 0, 1] * 20), "t", "y", estimand=front, cluster="user")
    assert passed.diagnostics == {
        "rows": 60,
        "clusters": 30,
        "treated": int(_with()["t"].sum()),
        "mediator_levels": 2,
    }
    assert (passed.estimator, passed.adjustment, passed.contrast) == ("front_door", (), None)


@pytest.mark.parametrize(
    ("levels", "how", "estimator"),
    [
        (11, {}, "linear_dml"),
        (11, {"adjustment": []}, "regression"),
        (11, {"estimator": "causal_forest"}, "causal_forest"),
        (10, {"estimator": "linear_dml"}, "linear_dml"),
        (2, {}, "aipw"),
        (2, {"adjustment": []}, "aipw"),
        (3, {"contrast": (0, 2)}, "aipw"),
        (11, {"contrast": (0, 2)}, "aipw"),
        (2, {"contrast": (1, 0), "estimator": "matching"}, "matching"),
        (2, {"target": "overlap"}, "aipw"),
        (2, {"adjustment": ["who"]}, "regression"),  # few rows a label: within labels
    ],
)
def test_the_default_by_kind_of_treatment(levels, how, estimator, monkeypatch):
    """And which family of functions the named one is of."""
    asked = []

    def fake(name, per_unit):
        def one(sample):
            asked.append((name, per_unit, sorted(set(sample.t.tolist())), sample.how.seed))
            return Estimate(1.0, np.tile([-1.0, 1.0], len(sample.y) // 2), {})

        return one

    for name, entry in ESTIMATORS.items():
        of_unit = entry.of_one_unit and fake(name, True)
        monkeypatch.setitem(
            ESTIMATORS, name, replace(entry, estimate=fake(name, False), of_one_unit=of_unit)
        )
    frame = pd.DataFrame({"t": np.arange(220) % levels, "z": np.arange(220.0)})
    frame = frame.assign(y=frame["z"] % 7, who=[f"u{k // 2 % 40}" for k in range(220)])
    found = effect(frame, "t", "y", **{"adjustment": ["z"], "seed": 3, "learners": "linear"} | how)
    per_unit = levels > 2 and "contrast" not in how
    codes = list(range(levels)) if per_unit else [0, 1] if levels == 2 else [0, 1, 2]
    # once more where only a part of the rows is supported
    assert asked in ([(estimator, per_unit, codes, 3)], 2 * [(estimator, per_unit, codes, 3)])
    assert found.estimator == estimator
    assert found.standard_error == pytest.approx(np.sqrt(220 * 220 / 219) / 220)


def test_ten_levels_are_names_and_eleven_a_number():
    frame = pd.DataFrame({"t": np.arange(60) % 10, "z": 0.0, "y": np.arange(60.0)})
    with pytest.raises(
        ValueError,
        match=r"has 10 levels \(0, 1, 2, 3, 4, 5, 6, 7, 8, 9\): give contrast=\(control, tr",
    ):
        effect(frame, "t", "y", adjustment=["z"])
    with pytest.raises(ValueError, match=r"number with 11 \(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...\)"):
        effect(frame.assign(t=np.arange(60) % 11), "t", "y", adjustment=["z"], estimator="ipw")
    named = frame.assign(t=[f"v{2 + k % 11}" for k in range(60)])
    with pytest.raises(
        ValueError,
        match=r"has 11 levels \(v10, v11, v12, v2, v3, v4, v5, v6, v7, v8, ...\): give contrast=[^,]*, treated\)$",
    ):
        effect(named, "t", "y", adjustment=["z"])


def test_codes_of_a_contrast_by_hand():
    values = pd.Series(list("cabcbca"), name="t")
    coded = effects._coded(values, ("b", "c"), None)
    assert coded.codes.tolist() == [1, 2, 0, 1, 0, 1, 2]
    assert coded.counts == {"treated": 3, "control": 2}
    assert coded.fitting == ["aipw", "ipw", "dr_learner", "regression", "difference"]
    coded = effects._coded(pd.Series([True, False, True, False], name="t"), None, None)
    assert (coded.codes.tolist(), coded.counts) == ([1, 0, 1, 0], {"treated": 2})
    assert "matching" in coded.fitting
    for contrast in (("a",), ("a", "b", "c")):
        with pytest.raises(ValueError, match="two different levels are needed"):
            effects._coded(values, contrast, None)
    with pytest.raises(ValueError, match="only 1 row of level 'q'; at least 2 are needed"):
        effects._coded(pd.Series([*"cabcbca", "q"], name="t"), ("a", "q"), None)


def test_instruments_are_conditioned_on_what_is_given_and_clustered():
    frame = _moved(300, 5).assign(who=np.repeat(np.arange(60), 5))
    graph = CausalGraph.from_edges("zxuty", [*INSTRUMENT, "x -> z", "x -> y"])
    moved = identify(graph, "t", "y", hidden=["u"], instruments=True)
    found = effect(frame, "t", "y", estimand=moved, cluster="who")
    y, t, z = (
        frame[name] - np.polyval(np.polyfit(frame["x"], frame[name], 1), frame["x"])
        for name in "ytz"
    )
    value = (z @ y) / (z @ t)
    assert (found.estimator, found.adjustment) == ("wald", ("x",))
    assert found.value == pytest.approx(value)
    assert found.standard_error == pytest.approx(
        _error(z * (y - value * t) / (z @ t) * 300, frame["who"])
    )
    first = (z @ t) / (z @ z)
    strength = first**2 * (z @ z) ** 2 / ((z * (t - first * z)) ** 2).sum()
    assert found.diagnostics == pytest.approx(
        {"rows": 300, "clusters": 60, "first_stage_f": strength}
    )


def test_refusals_before_anything_is_computed():
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    with pytest.raises(ValueError, match="and only one of the latter"):
        effect(_with(m=0), "t", "y", estimand=front, adjustment=["z"])
    with pytest.raises(ValueError, match="treatment and outcome are both 't'"):
        effect(_with(), "t", "t", adjustment=["z"])
    with pytest.raises(ValueError, match="no column 'm'"):
        effect(_with(), "t", "y", estimand=front)
    with pytest.raises(ValueError, match="no column 'who'"):
        effect(_with(), "t", "y", adjustment=["z"], cluster="who")
    with pytest.raises(ValueError, match="adjustment holds t, y itself"):
        effect(_with(), "t", "y", adjustment=["y", "t"])
    with pytest.raises(
        ValueError,
        match="'wald' does not fit the estimand's strategy, back-door; those that do: aipw, ipw",
    ):
        effect(_with(), "t", "y", adjustment=["z"], estimator="wald")
    moved = identify(
        CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True
    )
    with pytest.raises(
        ValueError, match="column 't' must hold numbers, not str; code its levels first"
    ):
        effect(_with(t="a"), "t", "y", estimand=moved)


# ---- codes for missing values --------------------------------------------------------------------


@pytest.mark.filterwarnings("default:frame. column 'z' holds")
def test_rows_with_codes_for_missing_make_an_answer_weak():
    """What a code hides is not adjusted for; the rows without one show the effect, which is 0.5."""
    frame = _confounded(3000, seed=2, strength=0.4)
    frame.loc[frame.index[:300], "z"] = -999
    found = effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    assert found.verdict == "weak"
    assert found.reasons == (
        "10.0% of the rows hold a code for missing in z: what it hides is not adjusted for",
    )
    assert found.reasons[0].in_language("zh").startswith("10.0% 的行在 z 中")
    np.testing.assert_array_equal(found.support.members, frame["z"] != -999)
    assert found.support.rule == "z_-999 = 0"
    known = effect(frame[frame["z"] != -999], "t", "y", adjustment=["z"], estimator="regression")
    assert found.support.value == pytest.approx(known.value, abs=1e-9)
    frame.loc[frame.index[40:300], "z"] = 0.0  # under 2%: a level of its own, and a note
    found = effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    assert found.verdict == "supported"
    assert "'z' holds -999 in 40 rows" in found.notes[0]


def test_codes_for_missing_in_outcome_and_dose_are_named():
    frame = _confounded(600, seed=3)
    frame["dose"] = frame["z"] + np.random.default_rng(0).normal(size=len(frame))
    plain = effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    assert plain.verdict == "supported"
    coded = frame.assign(y=frame["y"].where(frame.index >= 6, -999))
    found = effect(coded, "t", "y", adjustment=["z"], estimator="regression")
    assert found.verdict == "weak"
    assert found.reasons[0].startswith("outcome 'y' holds -999 in 6 rows, far from all its other")
    assert found.support is None
    coded = frame.assign(dose=frame["dose"].where(frame.index >= 1, 1e6))
    found = effect(coded, "dose", "y", adjustment=["z"], estimator="regression")
    assert found.reasons[-1].startswith("treatment 'dose' holds 1e+06 in 1 rows, far from all its")
    with pytest.raises(NoOverlapError, match="treatment 'dose' holds 1e"):
        effect(coded, "dose", "y", adjustment=["z"], estimator="regression", strict=True)
