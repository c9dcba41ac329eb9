"""Benchmark of effects on the data of the ACIC 2016 competition, scored by their true values."""

import joblib
import numpy as np
import pandas as pd

from causal_lib.data.sources import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.inference.covariates import design
from causal_lib.inference.effects import effect
from causal_lib.inference.learners import causalml_part
from causal_lib.inference.nuisances import NoOverlapError
from causal_lib.inference.uplift import UpliftModel


def acic(
    sets: int = 10, *, methods: tuple[str, ...] | None = None, n: int | None = None, n_jobs: int = 2
) -> pd.DataFrame:
    """Errors on the first ``sets`` of ACIC 2016's outcome sets, of their first ``n`` rows: one row
    for each set and method.

    Columns set, method, package; refused: whether our check of overlap gives no answer, in which
    case nothing is scored; average: the absolute error of the average effect over these rows;
    individual: the root mean squared error of the expected effect of each row, nan for a method
    that gives only the average. Errors are in standard deviations of the outcome. The peers run at
    their defaults, and answer whatever the overlap.
    """
    data = load("acic2016")
    jobs = (
        joblib.delayed(_score)(data["covariates"][:n], data[k][:n], k, name)
        for k in range(1, sets + 1)
        for name in methods or COMPARED
    )
    return pd.DataFrame(joblib.Parallel(n_jobs)(jobs))


@benchmark("inference.acic", peer="EconML's and CausalML's defaults on the same rows")
def study(sets: int = 10, *, n: int | None = None, n_jobs: int = 2) -> dict:
    """Errors of effects on the ten outcome sets of ACIC 2016, in standard deviations of the
    outcome.
    """
    table = acic(sets, n=n, n_jobs=n_jobs)
    average, individual = (
        table.pivot_table(index="set", columns="method", values=what)
        for what in ("average", "individual")
    )
    answered = average["AIPW"].dropna().index
    average = average.loc[answered]
    individual = individual.loc[answered]
    best = individual[[name for name, (package, _) in COMPARED.items() if package != "ours"]].min(
        axis=1
    )
    naive = "difference of means"
    claims = [
        Claim.of(
            f"AIPW: error of the average - {naive}'", average["AIPW"] - average[naive], "below 0"
        ),
        Claim.of(
            "AIPW: error of the average, standard deviations", average["AIPW"], "at most 0.05"
        ),
        Claim.of(
            "DR-learner: RMSE of individual effects - the best peer's",
            individual["DR-learner"] - best,
            "at most 0",
        ),
    ]
    return report(claims, rows=table.astype(object).where(table.notna(), None).to_dict("records"))


def _score(covariates, truth, number, name):
    package, method = COMPARED[name]
    t = truth["z"].to_numpy()
    y = np.where(truth["z"] == 1, truth["y1"], truth["y0"])
    row = {"set": number, "method": name, "package": package}
    try:
        average, individual = method(covariates.assign(z=t, y=y), list(covariates))
    except NoOverlapError:
        return row | {"refused": True, "average": np.nan, "individual": np.nan}
    effects = (truth["mu1"] - truth["mu0"]).to_numpy()
    unit = y.std()
    error = (
        np.nan
        if individual is None
        else float(np.sqrt(((individual - effects) ** 2).mean())) / unit
    )
    return row | {
        "refused": False,
        "average": abs(average - effects.mean()) / unit,
        "individual": error,
    }


def _average(estimator):
    return lambda frame, columns: (
        effect(frame, "z", "y", adjustment=columns, estimator=estimator).value,
        None,
    )


def _uplift(learner):
    def run(frame, columns):
        found = UpliftModel.train(frame, "z", "y", columns, learner=learner).predict(frame)
        return found.mean(), found

    return run


def _econml(name):
    def run(frame, columns):
        from econml.dml import CausalForestDML
        from econml.dr import DRLearner

        x = design(frame, columns).to_numpy()
        forest = CausalForestDML(discrete_treatment=True, random_state=0)
        model = DRLearner(random_state=0) if name == "DRLearner" else forest
        found = np.ravel(model.fit(frame["y"].to_numpy(), frame["z"].to_numpy(), X=x).effect(x))
        return found.mean(), found

    return run


def _causalml(name):
    def run(frame, columns):
        from xgboost import XGBRegressor

        meta = causalml_part("meta")
        x = design(frame, columns).to_numpy()
        t = frame["z"].to_numpy()
        y = frame["y"].to_numpy()
        model = (
            meta.XGBTRegressor(random_state=0)
            if name == "T"
            else meta.BaseXRegressor(XGBRegressor(random_state=0))
        )
        found = np.ravel(model.fit_predict(X=x, treatment=t, y=y))
        return found.mean(), found

    return run


COMPARED = {
    "difference of means": ("ours", _average("difference")),
    "regression": ("ours", _average("regression")),
    "matching": ("ours", _average("matching")),
    "AIPW": ("ours", _average("aipw")),
    "LinearDML": ("ours", _average("linear_dml")),
    "DR-learner": ("ours", _uplift("dr")),
    "causal forest": ("ours", _uplift("causal_forest")),
    "X-learner": ("ours", _uplift("x")),
    "CausalForestDML()": ("EconML", _econml("CausalForestDML")),
    "DRLearner()": ("EconML", _econml("DRLearner")),
    "XGBTRegressor()": ("CausalML", _causalml("T")),
    "BaseXRegressor(XGBRegressor())": ("CausalML", _causalml("X")),
}
"""Name -> package and function of a frame with treatment z and outcome y and the names of the
covariates.
"""
