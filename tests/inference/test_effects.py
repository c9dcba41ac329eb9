"""Estimators against the known truth: coverage over seeds, a manual derivation, EconML's own answer, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from causal_lib.data.schema import check_binary
from causal_lib.graph import CausalGraph
from causal_lib.inference import NoOverlapError, NotIdentifiableError, effect, identify


def _confounded(n, seed, strength=1.0):
    """z confounds t and y; the effect of t is 0.5 + 0.3 z, so 0.5 on average (z has mean 0)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-strength * z))).astype(int)
    y = z + (0.5 + 0.3 * z) * t + rng.normal(size=n)
    return pd.DataFrame({"z": z, "t": t, "y": y, "user": np.arange(n) // 2, "sample_truth": 0.5 + 0.3 * z})


@pytest.mark.parametrize("estimator", ["regression", "matching", "ipw", "aipw", "linear_dml"])
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


def test_regression_is_least_squares_with_interactions():
    frame = _confounded(900, 4)
    found = effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    z, t, y = (frame[name].to_numpy(dtype=float) for name in ("z", "t", "y"))
    wide = np.column_stack([np.ones(900), t, z - z.mean(), t * (z - z.mean())])
    slope = np.linalg.lstsq(wide, y, rcond=None)[0]
    assert found.value == pytest.approx(slope[1])
    bread = np.linalg.inv(wide.T @ wide)
    meat = wide * (y - wide @ slope)[:, None]
    robust = (bread @ meat.T @ meat @ bread)[1, 1]
    own = slope[3] ** 2 * z.var() / 900  # the effect's own spread: another sample has another mean of z
    assert found.standard_error == pytest.approx(np.sqrt(robust + own), rel=0.01)


def test_matching_by_hand():
    frame = pd.DataFrame(
        {"x": [0.0, 1.0, 2.0, 0.2, 1.1, 2.5], "t": [0, 0, 0, 1, 1, 1], "y": [1.0, 2.0, 4.0, 3.0, 4.0, 9.0]}
    )
    found = effect(frame, "t", "y", adjustment=["x"], estimator="matching")
    lines = [np.polyfit(part["x"], part["y"], 1) for _, part in frame.groupby("t")]
    gains = []
    for row in frame.itertuples():
        other = frame[frame["t"] != row.t]
        match = other.loc[(other["x"] - row.x).abs().idxmin()]
        line = lines[1 - row.t]
        imputed = match["y"] + np.polyval(line, row.x) - np.polyval(line, match["x"])
        gains.append((row.y - imputed) * (1 if row.t else -1))
    assert found.value == pytest.approx(np.mean(gains))


INSTRUMENT = ["z -> t", "t -> y", "u -> t", "u -> y"]


def test_front_door_and_instrument_cover_where_the_confounder_is_hidden():
    runs, covered = 60, {"front_door": 0, "wald": 0, "naive": 0}
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    moved = identify(CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        n = 1500
        u, z = rng.normal(size=n), rng.integers(2, size=n)
        t = (rng.random(n) < 1 / (1 + np.exp(-(u + 2 * z - 1)))).astype(int)
        m = (rng.random(n) < 0.2 + 0.5 * t).astype(int) + (rng.random(n) < 0.3)
        frame = pd.DataFrame(
            {"z": z, "t": t, "m": m, "y": 2 * m + u + rng.normal(size=n), "w": 1.5 * t + u + rng.normal(size=n)}
        )
        covered["front_door"] += effect(frame, "t", "y", estimand=front).covers(2 * 0.5)
        covered["wald"] += effect(frame.assign(y=frame["w"]), "t", "y", estimand=moved).covers(1.5)
        covered["naive"] += effect(frame, "t", "y", adjustment=[], estimator="difference").covers(1.0)
    assert min(covered["front_door"], covered["wald"]) >= binom.ppf(1e-4, runs, 0.95)
    assert covered["naive"] == 0


def test_front_door_and_instrument_by_hand():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"t": rng.integers(2, size=400), "x": rng.normal(size=400)})
    frame["z"] = frame["t"] + frame["x"] + rng.normal(size=400)
    frame["m"] = rng.integers(3, size=400)
    frame["y"] = rng.normal(size=400) + frame["m"] + frame["t"]
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    by_hand = sum(
        ((frame.loc[frame["t"] == 1, "m"] == m).mean() - (frame.loc[frame["t"] == 0, "m"] == m).mean())
        * sum((frame["t"] == t).mean() * frame.loc[(frame["m"] == m) & (frame["t"] == t), "y"].mean() for t in (0, 1))
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


def test_weights_balance_and_bias_goes():
    frame = _confounded(3000, 5, strength=0.7)
    for estimator in ("ipw", "matching"):
        found = effect(frame, "t", "y", adjustment=["z"], estimator=estimator)
        assert found.diagnostics["imbalance_after"] < 0.3 * found.diagnostics["imbalance_before"]
        assert found.effective_sample_size < 3000


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
        (
            _with(),
            {"estimator": "magic"},
            "unknown estimator 'magic'; known: aipw, difference, regression, matching, ipw, linear_dml, front_door, wald",
        ),
        (_with(), {"adjustment": None}, "give a graph, an estimand"),
        (_with(user=0), {"cluster": "user"}, "1 rows or clusters are too few for 5 folds"),
        (_with(), {"adjustment": [], "estimator": "linear_dml"}, "needs at least one adjustment column"),
    ],
)
def test_bad_input(frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        effect(frame, "t", "y", **({"adjustment": ["z"]} | arguments))


def test_estimands_that_do_not_fit():
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    with pytest.raises(
        ValueError, match="'aipw' does not fit the estimand's strategy, front-door; those that do: front_door"
    ):
        effect(_with(m=0), "t", "y", estimand=front, estimator="aipw")
    with pytest.raises(ValueError, match="mediators m: 1 of 2 levels are seen in one arm only; merge levels"):
        effect(_with(m=[0, 1] + [0] * 58), "t", "y", estimand=front)
    none = identify(CausalGraph.from_edges("ty", ["y -> t"]), "t", "y")
    with pytest.raises(
        ValueError, match="strategy 'no effect' has no estimator; those that have: back-door, front-door"
    ):
        effect(_with(), "t", "y", estimand=none)
    moved = identify(CausalGraph.from_edges("zuty", INSTRUMENT), "t", "y", hidden=["u"], instruments=True)
    with pytest.raises(ValueError, match="the instrument is weak: first-stage F"):
        effect(_with(z=np.tile([0.0, 1.0, 1.0, 0.0], 15)), "t", "y", estimand=moved)
    with pytest.raises(ValueError, match="the estimand is of t on y, not of z on y"):
        effect(_with(), "z", "y", estimand=front)


def test_binary_check_accepts_booleans():
    assert check_binary([True, False], name="t").tolist() == [1, 0]


def test_a_graph_identifies_or_checks():
    frame = _confounded(800, 6).assign(c=lambda f: f["t"] + f["y"])
    graph = CausalGraph.from_edges("ztyc", ["z -> t", "z -> y", "t -> y", "t -> c", "y -> c"])
    by_graph = effect(frame, "t", "y", graph=graph, estimator="regression")
    assert by_graph == effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    assert effect(frame, "t", "y", graph=graph, adjustment=["z"], estimator="regression") == by_graph
    with pytest.raises(ValueError, match=r"\['z', 'c'\] does not identify .*: c is an effect of t .*\(t -> c\)"):
        effect(frame, "t", "y", graph=graph, adjustment=["z", "c"])
    with pytest.raises(ValueError, match="t <- z -> y is open"):
        effect(frame, "t", "y", graph=graph, adjustment=[])
    with pytest.raises(NotIdentifiableError, match="open back-door path t <- z -> y"):
        effect(frame.drop(columns="z"), "t", "y", graph=graph)
    with pytest.raises(NotIdentifiableError, match="t -- y decides, though not alone"):
        effect(frame, "t", "y", graph=CausalGraph.from_edges("zty", ["z -- t", "t -- y", "z -- y"]))
