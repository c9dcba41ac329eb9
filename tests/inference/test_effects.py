"""Estimators against the known truth: distances from it over seeds, manual derivations, EconML's
own answer, refusals.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from causal_lib.checks import check_binary
from causal_lib.graph import CausalGraph
from causal_lib.inference import (
    Effect,
    NoOverlapError,
    NotIdentifiableError,
    effect,
    effects,
    identify,
)
from causal_lib.inference.estimators import ESTIMATORS, Estimate


def _confounded(n, seed, strength=1.0):
    """z confounds t and y; the effect of t is 0.5 + 0.3 z, so 0.5 on average (z has mean 0)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-strength * z))).astype(int)
    y = z + (0.5 + 0.3 * z) * t + rng.normal(size=n)
    return pd.DataFrame(
        {"z": z, "t": t, "y": y, "user": np.arange(n) // 2, "sample_truth": 0.5 + 0.3 * z}
    )


def test_an_interval_is_the_value_and_quantiles_of_the_normal_distribution():
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


@pytest.mark.parametrize(("estimator", "n"), [("regression", 500), ("matching", 200)])
def test_distances_from_the_truth_are_standard_normal(estimator, n, draws, check_pivot):
    distances = []
    for seed in range(draws):
        found = effect(_confounded(n, seed), "t", "y", adjustment=["z"], estimator=estimator)
        distances.append((found.value - 0.5) / found.standard_error)
    check_pivot(distances)


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
    # n/(n-1) instead of each arm's own
    assert found.standard_error == pytest.approx(welch, rel=2e-3)


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
    # the effect's own spread: another sample has another mean of z
    own = slope[3] ** 2 * z.var() / 900
    assert found.standard_error == pytest.approx(np.sqrt(robust + own), rel=0.01)


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
    found = effect(frame, "t", "y", adjustment=["x"], estimator="matching")
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
    assert found.standard_error == pytest.approx(np.sqrt((influence**2).sum() * 7 / 6) / 7)
    assert found.effective_sample_size == pytest.approx(
        (1 + used).sum() ** 2 / ((1 + used) ** 2).sum()
    )


def test_matching_measures_columns_in_their_standard_deviations():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"a": rng.normal(size=80), "b": 1000 * rng.normal(size=80), "t": np.arange(80) % 2}
    )
    frame["y"] = frame["a"] ** 2 + frame["t"] + rng.normal(size=80)
    found = effect(frame, "t", "y", adjustment=["a", "b"], estimator="matching")
    x = np.column_stack([np.ones(80), frame[["a", "b"]]])
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    lines = [np.linalg.lstsq(x[t == arm], y[t == arm], rcond=None)[0] for arm in (0, 1)]
    scaled = frame[["a", "b"]].to_numpy() / frame[["a", "b"]].std(ddof=0).to_numpy()
    gains = []
    for row in range(80):
        others = np.flatnonzero(t != t[row])
        match = others[((scaled[others] - scaled[row]) ** 2).sum(axis=1).argmin()]
        imputed = y[match] + (x[row] - x[match]) @ lines[1 - t[row]]
        gains.append((y[row] - imputed) * (2 * t[row] - 1))
    assert found.value == pytest.approx(np.mean(gains))


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
def test_boosted_estimators_are_near_the_truth_and_the_naive_ones_are_not(
    make, truth, arguments, naive
):
    runs = 3
    distances = []
    for seed in range(runs):
        frame = make(700, seed)
        how = {"adjustment": ["z"]} | arguments
        found = effect(frame, "t", "y", **how)
        distances.append((found.value - truth) / found.standard_error)
        blind = effect(frame, "t", "y", **how | {"estimator": naive})
        assert not blind.covers(truth, level=0.999), blind
    # Of three standard normal distances the largest exceeds 3.5, and the mean 1.9, less than once
    # in 700.
    assert np.abs(distances).max() < 3.5
    assert abs(np.mean(distances)) < 1.9


def test_front_door_and_instrument_are_right_where_the_confounder_is_hidden(draws, check_pivot):
    distances = {"front_door": [], "wald": [], "naive": []}
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
            ("naive", 1.0, effect(frame, "t", "y", adjustment=[], estimator="difference")),
        ):
            distances[name].append((found.value - truth) / found.standard_error)
    check_pivot(distances["front_door"])
    check_pivot(distances["wald"])
    assert min(distances["naive"]) > 1.96


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
    binary = effect(frame, "t", "y", adjustment=["z"], estimator=estimator, cluster="user")
    named = frame.assign(t=frame["t"].map({0: "shown", 1: "hidden"}))
    both = [
        effect(
            named,
            "t",
            "y",
            adjustment=["z"],
            estimator=estimator,
            cluster="user",
            contrast=contrast,
        )
        for contrast in (("shown", "hidden"), ("hidden", "shown"))
    ]
    assert both[0].value == binary.value
    assert both[0].standard_error == binary.standard_error
    assert both[0].diagnostics == binary.diagnostics
    assert both[1].value == pytest.approx(-binary.value, abs=1e-6 * binary.standard_error)
    assert "effect of t (shown -> hidden) on y given z" in repr(both[0])
    assert both[0].to_dict()["contrast"] == ["shown", "hidden"]


def test_a_contrast_of_three_levels_by_hand():
    frame = _levels(600, 8)
    boost = {"max_iter": 100, "max_leaf_nodes": 15, "min_samples_leaf": 50, "random_state": 0}
    found = {
        name: effect(frame, "t", "y", adjustment=["z"], contrast=("c", "a"), estimator=name)
        for name in ("aipw", "dr_learner", "regression", "ipw")
    }
    x = frame[["z"]]
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    apart = np.empty((2, 600))
    joint = np.empty((2, 600))
    weights = np.empty((2, 600))
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        chance = (
            HistGradientBoostingClassifier(**boost)
            .fit(x.iloc[train], t[train])
            .predict_proba(x.iloc[test])
        )
        indicators = np.column_stack([x, t == "a", t == "b"])
        of_all = HistGradientBoostingRegressor(**boost).fit(indicators[train], y[train])
        for arm, level in enumerate("ca"):
            own = train[t[train] == level]
            mean = (
                HistGradientBoostingRegressor(**boost)
                .fit(x.iloc[own], y[own])
                .predict(x.iloc[test])
            )
            weight = (t[test] == level) / chance[:, "abc".index(level)]
            apart[arm, test] = mean + weight * (y[test] - mean)
            weights[arm, test] = weight
            everyone = np.column_stack(
                [x.iloc[test], np.tile([level == "a", level == "b"], (len(test), 1))]
            )
            mean = of_all.predict(everyone)
            joint[arm, test] = mean + weight * (y[test] - mean)
    for name, scores in (("aipw", apart), ("dr_learner", joint)):
        gain = scores[1] - scores[0]
        assert found[name].value == pytest.approx(gain.mean())
        assert found[name].standard_error == pytest.approx(gain.std(ddof=1) / np.sqrt(600))
    means = weights @ y / weights.sum(axis=1)
    influence = [weights[arm] / weights[arm].mean() * (y - means[arm]) for arm in (0, 1)]
    assert found["ipw"].value == pytest.approx(means[1] - means[0])
    assert found["ipw"].standard_error == pytest.approx(
        (influence[1] - influence[0]).std(ddof=1) / np.sqrt(600)
    )
    lines = [np.polyfit(x["z"][t == level], y[t == level], 1) for level in "ca"]
    assert found["regression"].value == pytest.approx(
        (np.polyval(lines[1], x["z"]) - np.polyval(lines[0], x["z"])).mean()
    )


def _split(frame, cluster, seed):
    if cluster is None:
        return list(KFold(5, shuffle=True, random_state=seed).split(frame))
    return list(GroupKFold(5, shuffle=True, random_state=seed).split(frame, groups=frame[cluster]))


def _boosted(kind, seed, **how):
    return kind(max_iter=100, max_leaf_nodes=15, min_samples_leaf=50, random_state=seed, **how)


def _predicted(columns, values, splits, seed, **how):
    """Cross-fitted by scikit-learn: probabilities of 1 where ``values`` are 0 and 1."""
    if set(np.unique(values)) == {0, 1}:
        model = _boosted(HistGradientBoostingClassifier, seed)
        return cross_val_predict(model, columns, values, cv=splits, method="predict_proba")[:, 1]
    return cross_val_predict(
        _boosted(HistGradientBoostingRegressor, seed, **how), columns, values, cv=splits
    )


def _error(influence, who):
    """Standard error of the mean of ``influence`` (n,), summed within the clusters ``who``."""
    sums = pd.Series(influence).groupby(np.asarray(who)).sum()
    return np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence)


@pytest.mark.parametrize(("cluster", "seed"), [(None, 3), ("user", 1)])
def test_weighted_and_augmented_averages_by_hand(cluster, seed):
    frame = _confounded(500, 12)
    how = {"adjustment": ["z"], "cluster": cluster, "seed": seed}
    x = frame[["z"]]
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    who = frame["user"] if cluster else frame.index
    splits = _split(frame, cluster, seed)
    share = _predicted(x, t, splits, seed)
    weight = np.where(t == 1, 1 / share, 1 / (1 - share))

    found = effect(frame, "t", "y", estimator="ipw", **how)
    fitted = sm.WLS(y, sm.add_constant(t), weights=weight).fit(
        cov_type="cluster", cov_kwds={"groups": np.asarray(who), "use_correction": False}
    )
    groups = who.nunique() if cluster else len(frame)
    assert found.value == pytest.approx(fitted.params[1])
    assert found.standard_error == pytest.approx(fitted.bse[1] * np.sqrt(groups / (groups - 1)))

    means = np.empty((2, len(frame)))
    for train, test in splits:
        for arm in (0, 1):
            own = train[t[train] == arm]
            model = _boosted(HistGradientBoostingRegressor, seed).fit(x.iloc[own], y[own])
            means[arm, test] = model.predict(x.iloc[test])
    score = means[1] - means[0] + (2 * t - 1) * weight * (y - np.where(t == 1, means[1], means[0]))
    found = effect(frame, "t", "y", estimator="aipw", **how)
    assert found.value == pytest.approx(score.mean())
    assert found.standard_error == pytest.approx(_error(score - score.mean(), who))
    assert found.effective_sample_size == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    other = effect(frame, "t", "y", estimator="aipw", **how | {"seed": seed + 1})
    assert other.value != found.value  # other folds


@pytest.mark.parametrize("kind", ["arms", "unit"])
def test_the_error_of_linear_dml_is_that_of_fits_without_a_row(kind):
    """The rows' effects differ much, so that their own spread is a large part of the error."""
    frame = _confounded(300, 13) if kind == "arms" else _priced(300, 13)
    frame["y"] += 2 * frame["z"] * frame["t"]
    found = effect(frame, "t", "y", adjustment=["z"], estimator="linear_dml", seed=2)
    splits = _split(frame, None, 2)
    t, y = (
        frame[name].to_numpy() - _predicted(frame[["z"]], frame[name].to_numpy(), splits, 2)
        for name in "ty"
    )
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
    found = effect(
        frame, "t", "y", adjustment=["z"], estimator="causal_forest", cluster="user", seed=1
    )
    x = frame[["z"]]
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    splits = _split(frame, "user", 1)
    t_left = t - _predicted(x, t, splits, 1)
    y_left = y - _predicted(x, y, splits, 1)
    gain = np.empty(400)
    for train, test in splits:
        forest = CausalForest(n_estimators=100, inference=False, random_state=1)
        gain[test] = forest.fit(x.to_numpy()[train], t_left[train], y_left[train]).predict(
            x.to_numpy()[test]
        )[:, 0]
    share = t - t_left
    variance = (
        share * (1 - share)
        if kind == "arms"
        else _predicted(x, t_left**2, splits, 1, loss="poisson")
    )
    score = gain + t_left / variance * (y_left - t_left * gain)
    assert found.value == pytest.approx(score.mean())
    assert found.standard_error == pytest.approx(_error(score - score.mean(), frame["user"]))


def test_the_effect_of_a_unit_by_least_squares():
    frame = _priced(800, 9).assign(w=lambda f: (f["z"] > 1).astype(float))
    found = effect(frame, "t", "y", adjustment=["z", "w"], estimator="regression")
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
    frame = _moved(400, 10)
    found = effect(frame, "t", "y", **_moving(), estimator="orthogonal_iv")
    boost = HistGradientBoostingRegressor(
        max_iter=100, max_leaf_nodes=15, min_samples_leaf=50, random_state=0
    )
    folds = KFold(5, shuffle=True, random_state=0)
    y, t, z = (
        frame[name] - cross_val_predict(boost, frame[["x"]], frame[name], cv=folds)
        for name in "ytz"
    )
    assert found.value == pytest.approx((z @ y) / (z @ t))
    left = z * (y - found.value * t)
    assert found.standard_error == pytest.approx(np.sqrt((left**2).sum() * 400 / 399) / abs(z @ t))
    assert found.diagnostics["first_stage_f"] > 100
    with pytest.raises(ValueError, match="the instrument is weak: first-stage F"):
        effect(
            frame.assign(z=np.tile([0, 1], 200)), "t", "y", **_moving(), estimator="orthogonal_iv"
        )


def test_new_errors_are_clustered():
    frame = _confounded(300, 11)
    moved = _moved(300, 11)
    for one, how in (
        (frame, {"adjustment": ["z"], "estimator": "dr_learner"}),
        (frame, {"adjustment": ["z"], "estimator": "causal_forest"}),
        (moved, _moving() | {"estimator": "orthogonal_iv"}),
    ):
        copies = pd.concat([one, one], ignore_index=True).assign(who=np.tile(np.arange(300), 2))
        clustered = effect(copies, "t", "y", cluster="who", **how)
        assert clustered.diagnostics["clusters"] == 300
        # what it says of copies: half the variance, in folds that know them
        blind = effect(copies, "t", "y", **how)
        assert clustered.standard_error > 1.25 * blind.standard_error


def test_weights_balance_and_bias_goes():
    frame = _confounded(3000, 5, strength=0.7)
    for estimator in ("ipw", "matching"):
        found = effect(frame, "t", "y", adjustment=["z"], estimator=estimator)
        assert found.diagnostics["imbalance_after"] < 0.3 * found.diagnostics["imbalance_before"]
        assert found.effective_sample_size < 3000


def test_dml_is_that_of_econml_where_there_are_no_clusters():
    from econml.dml import LinearDML
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.preprocessing import PolynomialFeatures

    from causal_lib.inference.nuisances import BOOST, arm_folds

    frame = _confounded(4000, 3).assign(flag=lambda f: (f["z"] > 0.3).astype(int))
    ours = effect(frame, "t", "y", adjustment=["z", "flag"], estimator="linear_dml")
    theirs = LinearDML(
        model_y=HistGradientBoostingRegressor(**BOOST, random_state=0),
        model_t=HistGradientBoostingClassifier(**BOOST, random_state=0),
        featurizer=PolynomialFeatures(2, include_bias=False),
        discrete_treatment=True,
        cv=list(arm_folds(frame["t"].to_numpy(), np.arange(4000), 0)),
        random_state=0,
    )
    z = frame[["z"]].to_numpy()
    theirs.fit(frame["y"].to_numpy(), frame["t"].to_numpy(), X=z, W=frame[["flag"]].to_numpy())
    low, high = (float(np.ravel(v)[0]) for v in theirs.ate_interval(z, alpha=0.05))
    assert ours.value == pytest.approx(float(theirs.ate(z)), abs=1e-9)
    # theirs knows no spread of the rows' effects
    assert ours.high - ours.low == pytest.approx(high - low, rel=0.15)


def test_world_effect_is_covered_by_aipw_only(world, log):
    estimand = identify(world.graph, "exposed", "purchased")
    naive = effect(
        log, "exposed", "purchased", adjustment=[], estimator="difference", cluster="user_id"
    )
    assert not naive.covers(world.ate, level=0.999)
    found = effect(log, "exposed", "purchased", estimand=estimand, cluster="user_id")
    assert found.covers(world.ate, level=0.999)
    assert found.diagnostics["imbalance_after"] < 0.1 < found.diagnostics["imbalance_before"]
    assert found.diagnostics["clusters"] == log["user_id"].nunique()


def test_no_overlap_is_refused():
    with pytest.raises(
        NoOverlapError, match=r"no overlap: \d+ of 1500 rows .* restrict the question"
    ):
        effect(_confounded(1500, 0, strength=8.0), "t", "y", adjustment=["z"])


def test_no_overlap_is_refused_for_the_level_that_lacks_it():
    frame = _levels(900, 0)
    frame["t"] = np.where(frame["z"] > 1, "c", frame["t"])
    with pytest.raises(
        NoOverlapError,
        match=r"\d+ of 900 rows have an estimated propensity of the control below 0.01",
    ):
        effect(frame, "t", "y", adjustment=["z"], contrast=("a", "c"))
    fixed = _priced(900, 0).assign(t=lambda f: np.where(f["z"] > 0, f["t"], f["z"]))
    with pytest.raises(
        NoOverlapError,
        match=r"for \d+ of 900 rows the adjustment columns leave the treatment under 1%",
    ):
        effect(fixed, "t", "y", adjustment=["z"], estimator="causal_forest")


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
            "needs at least one adjustment column; use 'difference'",
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
            "an arm of 2 rows is too",
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
            r"'aipw' compares two levels and treatment 't' is a number with 60 \(0.0, .*\): give contrast=",
        ),
        (
            _with(t=lambda f: 2 * f["z"] + 1),
            {"estimator": "regression"},
            "the adjustment columns explain 100.0% of the tre",
        ),
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
    with pytest.raises(
        ValueError,
        match="strategy 'no effect' has no estimator; those that have: back-door, front-door",
    ):
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


def test_binary_check_accepts_booleans():
    assert check_binary([True, False], name="t").tolist() == [1, 0]


def test_a_graph_identifies_or_checks():
    frame = _confounded(800, 6).assign(c=lambda f: f["t"] + f["y"])
    graph = CausalGraph.from_edges("ztyc", ["z -> t", "z -> y", "t -> y", "t -> c", "y -> c"])
    by_graph = effect(frame, "t", "y", graph=graph, estimator="regression")
    assert by_graph == effect(frame, "t", "y", adjustment=["z"], estimator="regression")
    assert (
        effect(frame, "t", "y", graph=graph, adjustment=["z"], estimator="regression") == by_graph
    )
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


def test_sizes_that_are_told_by_hand():
    """Rows, clusters of unequal size, treated and, of more levels, control rows."""
    frame = _levels(200, 3).assign(who=np.repeat(np.arange(40), np.tile([2, 8], 20)))
    counts = frame["t"].value_counts()
    for contrast in (("b", "c"), ("a", "b")):
        found = effect(
            frame, "t", "y", adjustment=[], estimator="difference", contrast=contrast, cluster="who"
        )
        assert found.diagnostics == {
            "rows": 200, "clusters": 40, "treated": counts[contrast[1]], "control": counts[contrast[0]],
        }  # fmt: skip
        assert found.contrast == contrast
        assert found.effective_sample_size == 200
        arms = [(frame["t"] == level).to_numpy() for level in contrast]
        means = [frame.loc[arm, "y"].mean() for arm in arms]
        left = sum(
            sign * arm * (frame["y"] - mean) / arm.mean()
            for sign, arm, mean in zip((-1, 1), arms, means, strict=True)
        )
        assert found.value == pytest.approx(means[1] - means[0])
        assert found.standard_error == pytest.approx(_error(left, frame["who"]))
    binary = effect(_confounded(90, 0), "t", "y", adjustment=[], estimator="difference")
    assert binary.diagnostics == {
        "rows": 90,
        "clusters": 90,
        "treated": int(_confounded(90, 0)["t"].sum()),
    }
    front = identify(CausalGraph.from_edges("tmy", ["t -> m", "m -> y", "t <-> y"]), "t", "y")
    passed = effect(_with(m=[0, 0, 1] * 20), "t", "y", estimand=front, cluster="user")
    assert passed.diagnostics == {
        "rows": 60,
        "clusters": 30,
        "treated": int(_with()["t"].sum()),
        "mediator_levels": 2,
    }
    assert (passed.estimator, passed.adjustment, passed.contrast) == ("front_door", (), None)


def test_all_diagnostics_of_weighting_by_hand():
    """Of two columns and unequal arms, of two levels and of three."""
    rng = np.random.default_rng(4)
    for levels in (2, 3):
        frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.random(500) ** 2})
        odds = np.exp(
            np.column_stack([0 * frame["a"], 0.4 * frame["a"] - 0.5, 0.3 * frame["b"]])[:, :levels]
        )
        code = (rng.random((500, 1)) > (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(
            axis=1
        )
        frame = frame.assign(
            t=np.array(list("pqr"))[code], y=frame["a"] + code + rng.normal(size=500)
        )
        found = effect(frame, "t", "y", adjustment=["a", "b"], estimator="ipw", contrast=("p", "q"))
        x = frame[["a", "b"]]
        chances = np.empty((500, levels))
        for train, test in KFold(5, shuffle=True, random_state=0).split(x):
            model = _boosted(HistGradientBoostingClassifier, 0).fit(x.iloc[train], code[train])
            chances[test] = model.predict_proba(x.iloc[test])
        weights = np.where(code == 0, 1 / chances[:, 0], np.where(code == 1, 1 / chances[:, 1], 0))
        expected = {"rows": 500, "clusters": 500, "treated": (code == 1).sum()}
        expected |= {"propensity_min": chances[:, 1].min(), "propensity_max": chances[:, 1].max()}
        if levels == 3:
            expected |= {
                "control": (code == 0).sum(),
                "control_propensity_min": chances[:, 0].min(),
            }
        for label, w in (("before", np.ones(500)), ("after", weights)):
            gaps = []
            for column in x:
                none, one = (x.loc[code == arm, column] for arm in (0, 1))
                gap = np.average(one, weights=w[code == 1]) - np.average(none, weights=w[code == 0])
                gaps.append(abs(gap) / np.sqrt((none.var() + one.var()) / 2))
            expected[f"imbalance_{label}"] = max(gaps)
        assert found.diagnostics == pytest.approx(expected)
        assert found.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


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
    ],
)
def test_the_default_by_kind_of_treatment(levels, how, estimator, monkeypatch):
    """And which family of functions the named one is of."""
    asked = []

    def fake(name, per_unit):
        def one(sample):
            asked.append((name, per_unit, sorted(set(sample.t.tolist())), sample.seed))
            n = len(sample.y)
            return Estimate(1.0, np.tile([-1.0, 1.0], n // 2), np.ones(n), {})

        return one

    for name, entry in ESTIMATORS.items():
        of_unit = entry.of_one_unit and fake(name, True)
        monkeypatch.setitem(
            ESTIMATORS, name, replace(entry, estimate=fake(name, False), of_one_unit=of_unit)
        )
    frame = pd.DataFrame({"t": np.arange(220) % levels, "z": np.arange(220.0)}).assign(
        y=lambda f: f["z"]
    )
    found = effect(frame, "t", "y", **{"adjustment": ["z"], "seed": 3} | how)
    per_unit = levels > 2 and "contrast" not in how
    codes = list(range(levels)) if per_unit else [0, 1] if levels == 2 else [0, 1, 2]
    assert asked == [(estimator, per_unit, codes, 3)]
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
    named = frame.assign(t=[str(2 + k % 11) for k in range(60)])
    with pytest.raises(
        ValueError,
        match=r"has 11 levels \(10, 11, 12, 2, 3, 4, 5, 6, 7, 8, ...\): give contrast=[^,]*, treated\)$",
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
