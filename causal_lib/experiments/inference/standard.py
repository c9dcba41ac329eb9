"""Benchmark of effects on a standard data set, ACIC 2016, scored by their true values."""

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

DEFAULT = "UpliftModel: default"


def acic(
    sets: int = 10, *, methods: tuple[str, ...] | None = None, n: int | None = None, n_jobs: int = 2
) -> pd.DataFrame:
    """Errors on the first ``sets`` of ACIC 2016's outcome sets, of their first ``n`` rows: one row
    for each set and method.

    Columns set, method, package; verdict: what our method says of its answer, "refused" where it
    gives none and nothing is scored, None for a peer, which answers whatever the overlap; average:
    the absolute error of the average effect over these rows; individual: the root mean squared
    error of the expected effect of each row, nan for a method that gives only the average. Errors
    are in standard deviations of the outcome. The peers run at their defaults.
    """
    data = load("acic2016")
    jobs = (
        joblib.delayed(_score)(data["covariates"][:n], data[k][:n], k, name)
        for k in range(1, sets + 1)
        for name in methods or COMPARED
    )
    return pd.DataFrame(joblib.Parallel(n_jobs)(jobs))


@benchmark("inference.standard", peer="EconML's and CausalML's defaults on the same rows")
def study(sets: int = 10, *, n: int | None = None, n_jobs: int = 2) -> dict:
    """Errors of effects on the ten outcome sets of ACIC 2016, in standard deviations of the
    outcome.
    """
    table = acic(sets, n=n, n_jobs=n_jobs)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return report(_claims(table), best_peers=_best_peers(table), rows=rows)


def _claims(table):
    """The predictions, written before any of these methods was run on these sets in this form.

    The best peer is chosen by the true effects: once for each set, and once for all sets together,
    by its mean error. A set that our method does not answer counts against it.
    """
    ours = table[table["package"] == "ours"]
    answered = (ours["verdict"] != "refused").groupby(ours["method"]).mean()
    claims = [Claim.of("sets answered, share: the least of our methods", [answered.min()],
                       "at least 1")]  # fmt: skip
    single = _best_peers(table)
    for own, what, number, factor in (
        ("AIPW", "average", "error of the average", 1.0),
        (DEFAULT, "individual", "RMSE of individual effects", 1.05),
    ):
        errors = table.pivot_table(index="set", columns="method", values=what)
        errors = errors.reindex(columns=list(COMPARED)).reindex(sorted(table["set"].unique()))
        times = "" if factor == 1 else f"{factor} times "
        for best, of_peer in (
            ("the set's best peer's", errors[PEERS].min(axis=1)),
            ("the best single peer's", errors[single[what]]),
        ):
            claims.append(
                Claim.of(
                    f"{own}: share of the sets with an {number} of at most {times}{best}",
                    errors[own] <= factor * of_peer,
                    "at least 0.8",
                )
            )
    return claims


def _best_peers(table):
    """'average' and 'individual' -> the peer with the least mean error over the sets."""
    peers = table[table["package"] != "ours"]
    return {
        what: str(peers.groupby("method")[what].mean().idxmin())
        for what in ("average", "individual")
    }


def _score(covariates, truth, number, name):
    package, method = COMPARED[name]
    t = truth["z"].to_numpy()
    y = np.where(truth["z"] == 1, truth["y1"], truth["y0"])
    row = {"set": number, "method": name, "package": package}
    try:
        average, individual, verdict = method(covariates.assign(z=t, y=y), list(covariates))
    except NoOverlapError:
        return row | {"verdict": "refused", "average": np.nan, "individual": np.nan}
    effects = (truth["mu1"] - truth["mu0"]).to_numpy()
    unit = y.std()
    error = (
        np.nan
        if individual is None
        else float(np.sqrt(((individual - effects) ** 2).mean())) / unit
    )
    return row | {
        "verdict": verdict,
        "average": abs(average - effects.mean()) / unit,
        "individual": error,
    }


def _average(estimator):
    def run(frame, columns):
        found = effect(frame, "z", "y", adjustment=columns, estimator=estimator)
        return found.value, None, found.verdict

    return run


def _uplift(learner):
    def run(frame, columns):
        model = UpliftModel.train(frame, "z", "y", columns, learner=learner)
        found = model.predict(frame)
        return found.mean(), found, model.verdict

    return run


def _econml(name):
    def run(frame, columns):
        from econml.dml import CausalForestDML
        from econml.dr import DRLearner

        x = design(frame, columns).to_numpy()
        forest = CausalForestDML(discrete_treatment=True, random_state=0)
        model = DRLearner(random_state=0) if name == "DRLearner" else forest
        found = np.ravel(model.fit(frame["y"].to_numpy(), frame["z"].to_numpy(), X=x).effect(x))
        return found.mean(), found, None

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
        return found.mean(), found, None

    return run


COMPARED = {
    "difference of means": ("ours", _average("difference")),
    "regression": ("ours", _average("regression")),
    "matching": ("ours", _average("matching")),
    "AIPW": ("ours", _average("aipw")),
    "LinearDML": ("ours", _average("linear_dml")),
    "DR-learner": ("ours", _average("dr_learner")),
    "causal forest": ("ours", _average("causal_forest")),
    DEFAULT: ("ours", _uplift(None)),
    "UpliftModel: dr": ("ours", _uplift("dr")),
    "UpliftModel: causal_forest": ("ours", _uplift("causal_forest")),
    "UpliftModel: x": ("ours", _uplift("x")),
    "CausalForestDML()": ("EconML", _econml("CausalForestDML")),
    "DRLearner()": ("EconML", _econml("DRLearner")),
    "XGBTRegressor()": ("CausalML", _causalml("T")),
    "BaseXRegressor(XGBRegressor())": ("CausalML", _causalml("X")),
}
"""Name -> package and function of a frame with treatment z and outcome y and the names of the
covariates, which gives the average, the effects (n,) of the rows or None, and its verdict or None.
"""
PEERS = [name for name, (package, _) in COMPARED.items() if package != "ours"]
