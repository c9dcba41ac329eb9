"""The coverage study in small: its truths are right, and it tells a right estimator from a wrong one."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import coverage as study
from causal_lib.inference import effect


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
        assert log["click"].mean() == pytest.approx(mean[np.arange(len(log)), log["item_id"]].mean(), abs=0.05)
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found, ddof=1) / np.sqrt(50) + 1e-3)


def test_doubly_robust_values_need_one_right_model():
    table = study.double_robustness(60, seed=10)
    off = table["bias"].abs() / table["bias_error"]
    both = (table["propensity"] == "wrong") & (table["outcome"] == "wrong")
    assert (off[~both] < 4).all()
    assert (off[both] > 10).all()


def test_a_row_for_each_estimator_counts_what_its_intervals_hold():
    """The table against one run after the other, counted by hand."""
    table = study.interval_coverage(8, effects=("regression", "matching"), n=300, wrong=6, n_jobs=1).set_index(
        "estimator"
    )
    assert list(table.index) == ["regression", "matching", "aipw, wrong set", *study.VALUES]
    tried = table["runs"] + table["refused"]
    assert (tried == np.where(table.index == "aipw, wrong set", 6, 8)).all()
    assert table.loc["aipw, wrong set", "coverage"] < 0.5
    for name in ("regression", "matching"):
        errors, widths, held = [], [], 0
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
        centre, square = (held / 8 + 1.959964**2 / 16) / (1 + 1.959964**2 / 8), held / 8 * (1 - held / 8) / 8
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
    covered.loc[0, "coverage"], robust.loc[3, "bias"] = 0.91, 0.02
    missed = [one["claim"] for one in study.study(5)["claims"] if not one["held"]]
    assert missed == ["aipw: coverage", "effect, propensity wrong, outcome wrong: bias in standard errors"]
