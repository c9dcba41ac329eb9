"""Errors on ACIC 2016 by a second computation, and claims by hand."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.data.sources import load
from causal_lib.experiments.inference import acic as benchmark


def test_errors_on_acic_are_those_of_a_second_computation(real):
    real("acic2016")
    found = benchmark.acic(2, methods=("difference of means", "DR-learner"), n_jobs=1)
    assert found.set_index(["set", "method"])["refused"].to_dict() == {
        # half of the rows of set 1 are never treated
        (1, "difference of means"): False, (1, "DR-learner"): True,
        (2, "difference of means"): False, (2, "DR-learner"): False,
    }  # fmt: skip
    found = found[found["set"] == 2].set_index("method")
    truth = load("acic2016")[2]
    y = np.where(truth["z"] == 1, truth["y1"], truth["y0"])
    naive = y[truth["z"] == 1].mean() - y[truth["z"] == 0].mean()
    off = abs(naive - (truth["mu1"] - truth["mu0"]).mean()) / y.std()
    assert found.loc["difference of means", "average"] == pytest.approx(off)
    assert np.isnan(found.loc["difference of means", "individual"])
    assert found.loc["DR-learner", "average"] < off
    assert (
        found.loc["DR-learner", "individual"] > found.loc["DR-learner", "average"]
    )  # a mean square lies above a squared mean


def test_claims_are_about_the_sets_that_aipw_answers(monkeypatch):
    """Of set 2 AIPW gives no answer, so what the others make of it does not count."""
    average = {"AIPW": (0.01, np.nan, 0.05), "difference of means": (0.2, 0.0, 0.04)}
    individual = {
        "DR-learner": (0.3, np.nan, 0.5),
        "DRLearner()": (0.4, 0.0, 0.6),
        "XGBTRegressor()": (0.2, 9.0, 0.9),
    }
    packages = {name: package for name, (package, _) in benchmark.COMPARED.items()}
    rows = [
        {
            "set": k + 1,
            "method": name,
            "package": packages[name],
            "refused": False,
            "average": nan,
            "individual": nan,
        }
        | {what: values[k]}
        for what, table in (("average", average), ("individual", individual))
        for name, values in table.items()
        for k in range(3)
        for nan in [np.nan]
    ]
    rows += [
        rows[0] | {"set": k + 1, "method": name, "package": "EconML", "individual": 1.0}
        for k in range(3)
        for name in packages
        if packages[name] != "ours" and name not in individual
    ]
    monkeypatch.setattr(benchmark, "acic", lambda sets, **how: pd.DataFrame(rows))
    values = {one["claim"]: (one["value"], one["pairs"]) for one in benchmark.study(3)["claims"]}
    assert values == {
        "AIPW: error of the average - difference of means'": (
            pytest.approx((0.01 - 0.2 + 0.05 - 0.04) / 2),
            2,
        ),
        "AIPW: error of the average, standard deviations": (pytest.approx(0.03), 2),
        "DR-learner: RMSE of individual effects - the best peer's": (
            pytest.approx((0.3 - 0.2 + 0.5 - 0.6) / 2),
            2,
        ),
    }
