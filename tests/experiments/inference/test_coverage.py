"""The coverage study in small: its truths are right, and it tells a right estimator from a wrong
one.
"""

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import coverage as study
from causal_lib.inference import effect
from causal_lib.policy import policy_values


def test_the_effect_of_the_simulated_rows_is_what_is_called_true():
    worlds = [study._world(seed, 4000) for seed in range(25)]
    gains = [(one["means"][1] - one["means"][0]).mean() for one in worlds]
    assert np.mean(gains) == pytest.approx(1, abs=4 * np.std(gains, ddof=1) / 5)
    shares = np.concatenate([one["share"] for one in worlds])
    assert 0.1 <= shares.min() < shares.max() <= 0.9
    assert np.mean([one["t"].mean() for one in worlds]) == pytest.approx(shares.mean(), abs=0.01)


def test_the_value_of_the_policy_is_the_mean_over_other_rounds():
    found = []
    for seed in range(50):
        log, policy, mean, truth = study._rounds(seed)
        found.append((policy * mean).sum(axis=1).mean() - truth)
        assert log["click"].mean() == pytest.approx(
            mean[np.arange(len(log)), log["item_id"]].mean(), abs=0.05
        )
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found, ddof=1) / np.sqrt(50) + 1e-3)


def test_doubly_robust_values_need_one_right_model():
    table = study.double_robustness(60, seed=10)
    off = table["bias"].abs() / table["bias_error"]
    both = (table["propensity"] == "wrong") & (table["outcome"] == "wrong")
    assert (off[~both] < 4).all()
    assert (off[both] > 10).all()


def test_a_row_for_each_estimator_counts_what_its_intervals_hold():
    """The table against one run after the other, counted by hand."""
    table = study.interval_coverage(
        8, effects=("regression", "matching"), n=300, wrong=6, n_jobs=1
    ).set_index("estimator")
    assert list(table.index) == ["regression", "matching", "aipw, wrong set", *study.VALUES]
    tried = table["runs"] + table["refused"]
    assert (tried == np.where(table.index == "aipw, wrong set", 6, 8)).all()
    assert table.loc["aipw, wrong set", "coverage"] < 0.5
    for name in ("regression", "matching"):
        errors = []
        widths = []
        held = 0
        for seed in range(8):
            frame = study._world(seed, 300)["frame"]
            found = effect(frame, "t", "y", adjustment=list("abcd"), estimator=name, seed=seed)
            errors.append(found.value - 1)
            widths.append(found.high - found.low)
            held += abs(found.value - 1) <= 1.959964 * found.standard_error
        row = table.loc[name]
        assert row["coverage"] == held / 8
        assert row["bias"] == pytest.approx(np.mean(errors))
        assert row["bias_error"] == pytest.approx(np.std(errors, ddof=1) / np.sqrt(8))
        assert row["width"] == pytest.approx(np.mean(widths))
        # Wilson: the shares from which as many as these are at most 1.96 errors away.
        centre = (held / 8 + 1.959964**2 / 16) / (1 + 1.959964**2 / 8)
        square = held / 8 * (1 - held / 8) / 8
        half = 1.959964 * np.sqrt(square + 1.959964**2 / 4 / 64) / (1 + 1.959964**2 / 8)
        assert (row["low"], row["high"]) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_the_claims_follow_the_tables(monkeypatch):
    names = [*study.CLAIMED, "aipw, wrong set"]
    covered = pd.DataFrame({"estimator": names, "coverage": [0.95] * len(study.CLAIMED) + [0.2]})
    robust = pd.DataFrame(
        [
            ("effect", p, o, 0.1 if p == o == "wrong" else 0.01, 0.01)
            for p in ("right", "wrong")
            for o in ("right", "wrong")
        ],
        columns=["what", "propensity", "outcome", "bias", "bias_error"],
    )
    monkeypatch.setattr(study, "interval_coverage", lambda runs, **how: covered)
    monkeypatch.setattr(study, "double_robustness", lambda runs, **how: robust)
    assert all(one["held"] for one in study.study(5)["claims"])
    covered.loc[0, "coverage"] = 0.91
    robust.loc[3, "bias"] = 0.02
    missed = [one["claim"] for one in study.study(5)["claims"] if not one["held"]]
    assert missed == [
        "aipw: coverage",
        "effect, propensity wrong, outcome wrong: bias in standard errors",
    ]


def test_counts_of_a_table_by_hand(monkeypatch):
    """Ends hold the truth, a missing interval is refused; seeds run from the first on."""
    asked = []

    def run(seed, n, effects, wrong):
        asked.append((seed, n, effects, wrong))
        ends = {5: (1.0, 3.0), 6: (-1.0, 1.0), 7: (np.nan, np.nan), 8: (1.1, 2.0)}[seed]
        rows = [("effect", "aipw", 1.5 if seed != 7 else np.nan, *ends, 1.0)]
        return [
            dict(zip(("what", "estimator", "value", "low", "high", "truth"), row, strict=True))
            for row in rows
        ]

    monkeypatch.setattr(study, "_run", run)
    row = study.interval_coverage(4, seed=5, effects=("aipw",), n=77, wrong=2, n_jobs=1).iloc[0]
    assert asked == [
        (5, 77, ("aipw",), True),
        (6, 77, ("aipw",), True),
        (7, 77, ("aipw",), False),
        (8, 77, ("aipw",), False),
    ]
    assert (row["what"], row["runs"], row["refused"], row["bias"]) == ("effect", 3, 1, 0.5)
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["width"] == pytest.approx((2 + 2 + 0.9) / 3)
    asked.clear()
    study.interval_coverage(4, seed=5, n_jobs=1)
    assert asked == [(seed, 1000, study.EFFECTS, True) for seed in (5, 6, 7, 8)]


def test_one_run_by_hand():
    rows = {
        (row["what"], row["estimator"]): row for row in study._run(3, 300, ("regression",), True)
    }
    frame = study._world(3, 300)["frame"]
    wrong = effect(frame, "t", "y", adjustment=list("bcd"), seed=3)
    right = effect(frame, "t", "y", adjustment=list("abcd"), estimator="regression", seed=3)
    log, policy, _, truth = study._rounds(3)
    values = policy_values(log, policy, estimators=study.VALUES, context=list("abc"), seed=3)
    expected = {("effect", "regression"): (right, 1.0), ("effect", "aipw, wrong set"): (wrong, 1.0)}
    expected |= {("policy value", name): (value, truth) for name, value in values.items()}
    assert rows.keys() == expected.keys()
    for key, (found, known) in expected.items():
        assert (rows[key]["value"], rows[key]["low"], rows[key]["high"]) == (
            found.value,
            found.low,
            found.high,
        )
        assert rows[key]["truth"] == known


def test_double_robustness_by_hand():
    """Augmented means and policy values of two data sets with each pair of models."""
    table = study.double_robustness(2, seed=4, n=400).set_index(["what", "propensity", "outcome"])
    found = {}
    for seed in (4, 5):
        world = study._world(seed, 400)
        y = world["y"]
        t = world["t"]
        log, policy, mean, truth = study._rounds(seed)
        row = np.arange(len(log))
        for p in ("right", "wrong"):
            share = world["share"] if p == "right" else np.full(400, t.mean())
            chance = log["propensity_score"].to_numpy() if p == "right" else np.full(len(log), 0.1)
            for o in ("right", "wrong"):
                none, one = world["means"] if o == "right" else (y[t == 0].mean(), y[t == 1].mean())
                score = one - none + t / share * (y - one) - (1 - t) / (1 - share) * (y - none)
                found.setdefault(("effect", p, o), []).append(score.mean() - 1)
                q = mean if o == "right" else np.full(mean.shape, log["click"].mean())
                w = policy[row, log["item_id"]] / chance
                value = (policy * q).sum(axis=1) + w * (log["click"] - q[row, log["item_id"]])
                found.setdefault(("policy value", p, o), []).append(value.mean() - truth)
    assert set(table.index) == set(found)
    for key, biases in found.items():
        assert table.loc[key, "bias"] == pytest.approx(np.mean(biases), abs=1e-9)
        assert table.loc[key, "bias_error"] == pytest.approx(
            np.std(biases, ddof=1) / np.sqrt(2), abs=1e-9
        )


def test_claims_at_their_limits(monkeypatch):
    names = [*study.CLAIMED, "aipw, wrong set"]
    covered = pd.DataFrame({"estimator": names, "coverage": [0.92, 0.98, 0.981, *[0.95] * 4, 0.5]})
    robust = pd.DataFrame(
        [
            ("effect", "right", "wrong", -0.75, 0.25),
            ("effect", "wrong", "right", 0.76, 0.25),
            ("effect", "wrong", "wrong", 1.0, 0.25),
            ("policy value", "wrong", "wrong", -1.1, 0.25),
        ],
        columns=["what", "propensity", "outcome", "bias", "bias_error"],
    )
    asked = []
    monkeypatch.setattr(
        study, "interval_coverage", lambda runs, **how: asked.append((runs, how)) or covered
    )
    monkeypatch.setattr(
        study, "double_robustness", lambda runs, **how: asked.append((runs, how)) or robust
    )
    report = study.study(9, n=55, n_jobs=1)
    assert asked == [(9, {"n": 55, "n_jobs": 1}), (9, {"n": 55})]
    assert report["runs"] == 9
    assert report["tables"]["coverage"] == covered.to_dict("records")
    assert report["tables"]["double robustness"] == robust.to_dict("records")
    missed = [one["claim"] for one in report["claims"] if not one["held"]]
    assert missed == [
        "dr_learner: coverage",
        "AIPW by a wrong set: coverage",
        "effect, propensity wrong, outcome right: bias in standard errors",
        "effect, propensity wrong, outcome wrong: bias in standard errors",
    ]
