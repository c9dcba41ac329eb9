"""The panel study in small: its panels are what they are said to be, and its tables count right."""

import json

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import panel as study


def test_panels_have_the_size_the_shift_and_the_noise_that_are_asked_for():
    frame = study.panel(5, 20, 10, 4, 0)
    assert frame.shape == (25 * 14, 4)
    assert frame["on"].sum() == 5 * 4
    assert not frame.duplicated(["unit", "day"]).any()
    pd.testing.assert_frame_equal(frame, study.panel(5, 20, 10, 4, 0))
    means = [
        study.panel(5, 20, 10, 4, seed, shift=2.0).groupby(lambda row: row // 14 < 5)["y"].mean()
        for seed in range(100)
    ]
    moved = np.array([mean[True] - mean[False] for mean in means])
    # factors have mean 0, so the levels alone differ on average
    assert moved.mean() == pytest.approx(2, abs=4 * moved.std() / 10)
    noise = study._autoregression(np.random.default_rng(0), 4000, 6, 0.7)
    assert noise.std(axis=0) == pytest.approx(np.ones(6), abs=0.05)
    assert np.corrcoef(noise.T)[0, 2] == pytest.approx(0.49, abs=0.05)


def test_the_table_has_a_row_for_each_panel_and_method_and_its_summary_counts_them():
    table = study.coverage(3, sizes=["5 of 25, 10 + 5 times"], kinds=["alike", "far"], seed=7)
    assert len(table) == 2 * 3 * 5
    assert set(table["panel"]) == {7, 8, 9}
    found = study.summary(table).set_index(["kind", "method"])
    for names, part in table.groupby(["kind", "method"]):
        row = found.loc[names]
        assert row["coverage"] == pytest.approx(part["covers"].mean())
        assert row["rmse"] == pytest.approx(np.sqrt(part["error"].pow(2).mean()))
        assert row["supported"] == pytest.approx((part["verdict"] == "supported").mean())
        assert row["low"] <= row["coverage"] <= row["high"]


def test_a_report_holds_no_number_that_json_lacks(monkeypatch):
    table = study.coverage(1, sizes=["1 of 41, 40 + 10 times"], kinds=["alike", "far"])
    table.loc[0, "width"] = np.inf
    table["verdict"] = "extrapolated"
    monkeypatch.setattr(study, "coverage", lambda runs, n_jobs: table)
    monkeypatch.setattr(study, "_claims", lambda table: [])
    found = json.loads(json.dumps(study.study(1), allow_nan=False))
    assert found["rows"][0]["width"] is None
    assert found["rows"][1]["width"] > 0
    assert found["rows"][0]["coverage where supported"] is None


def test_the_claims_follow_the_table():
    rows = []
    for size in study.SIZES:
        numbers = study.SIZES[size]
        for kind in study.KINDS:
            for method in study._methods(numbers[0], numbers[2] + numbers[3]):
                for number in range(4):
                    rows.append(
                        {
                            "size": size,
                            "kind": kind,
                            "method": method,
                            "panel": number,
                            "error": 1.0 if method == "synthetic control" else 0.5,
                            "width": 1.0,
                            "covers": kind in study.ALIKE or number > 0,
                            "verdict": "extrapolated" if kind == "far" else "supported",
                        }
                    )
    claims = {claim.name: claim for claim in study._claims(pd.DataFrame(rows))}
    name = "synthetic control, supported panels of units alike or selected: coverage"
    assert claims[name].value == pytest.approx((3 + 0.75) / 4)
    assert claims["synthetic control, units alike: share supported"].value == 1
    assert claims["synthetic control, 5 treated units, far from the donors: share supported"].held
    assert not claims["synthetic control, conformal, one treated unit, far: coverage"].held
    assert claims["difference in differences, far from the donors: coverage"].value == 0.75
    last = [claim for name, claim in claims.items() if name.startswith("absolute error")]
    assert last[0].value == -0.5
