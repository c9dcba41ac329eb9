"""Coverage of 95% intervals, and the bias of doubly robust values when one of two models is wrong.

Both by simulation: data sets whose true value is known, one estimate and interval each.
"""

from functools import cache

import joblib
import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.inference.effects import effect
from causal_lib.inference.nuisances import dr_scores
from causal_lib.policy.value import policy_values

EFFECTS = ("aipw", "linear_dml", "dr_learner", "regression", "matching", "ipw")
VALUES = ("ips", "snips", "dr", "sndr")
CLAIMED = ("aipw", "linear_dml", "dr_learner", "ips", "snips", "dr", "sndr")
"""Estimators of which 92% to 98% is claimed beforehand; the others stand beside them."""
_TRUTH = 1.0
_VALUE_ROUNDS = 2000


def interval_coverage(
    runs: int = 400,
    *,
    seed: int = 0,
    effects: tuple[str, ...] = EFFECTS,
    n: int = 1000,
    wrong: int | None = None,
    n_jobs: int = 2,
) -> pd.DataFrame:
    """How often 95% intervals contain the true value, by estimator, over ``runs`` data sets, their
    first seed given.

    The effect: ``n`` rows, four causes of the treatment. Two of them also cause the outcome,
    nonlinearly and with a product. The effect differs between rows, 1 on average. 'wrong set' is
    AIPW without one of the two, on the first ``wrong`` data sets (all by default). The value: 2,000
    rounds of 10 actions.

    Returns ------- One row per estimator: runs, refused (no interval), bias and its standard error,
    coverage with its 95% Wilson interval (low, high), width (mean of the intervals).
    """
    jobs = (
        joblib.delayed(_run)(seed + k, n, effects, k < (runs if wrong is None else wrong))
        for k in range(runs)
    )
    table = pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])
    rows = []
    for (what, name), part in table.groupby(["what", "estimator"], sort=False):
        given = part.dropna()
        hits = int(((given["low"] <= given["truth"]) & (given["truth"] <= given["high"])).sum())
        low, high = binomtest(hits, len(given)).proportion_ci(method="wilson")
        errors = given["value"] - given["truth"]
        rows.append(
            {
                "what": what,
                "estimator": name,
                "runs": len(given),
                "refused": len(part) - len(given),
                "bias": errors.mean(),
                "bias_error": errors.std(ddof=1) / np.sqrt(len(given)),
                "coverage": hits / len(given),
                "low": low,
                "high": high,
                "width": (given["high"] - given["low"]).mean(),
            }
        )
    return pd.DataFrame(rows)


def double_robustness(runs: int = 400, *, seed: int = 0, n: int = 1000) -> pd.DataFrame:
    """Bias of AIPW and of the value by DR, with right and with wrong models: one row for each of
    the four.

    A wrong model ignores the covariates. Columns what, propensity, outcome, bias, bias_error.
    """
    rows = []
    for number in range(seed, seed + runs):
        world = _world(number, n)
        y = world["y"]
        t = world["t"]
        none = np.ones(n)
        for first, share in (("right", world["share"]), ("wrong", none * t.mean())):
            for second, means in (
                ("right", world["means"]),
                ("wrong", [none * y[t == arm].mean() for arm in (0, 1)]),
            ):
                scores, _ = dr_scores(
                    y, t, np.column_stack([1 - share, share]), np.column_stack(means)
                )
                rows.append(("effect", first, second, scores.mean() - _TRUTH))
        log, policy, mean, truth = _rounds(number)
        flat = np.full(mean.shape, log["click"].mean())
        for first, propensity in (("right", log["propensity_score"]), ("wrong", 1 / mean.shape[1])):
            for second, expected in (("right", mean), ("wrong", flat)):
                found = policy_values(
                    log.assign(propensity_score=propensity),
                    policy,
                    estimators=("dr",),
                    expected=expected,
                )["dr"]
                rows.append(("policy value", first, second, found.value - truth))
    table = pd.DataFrame(rows, columns=["what", "propensity", "outcome", "bias"])
    grouped = table.groupby(["what", "propensity", "outcome"], sort=False)["bias"]
    return grouped.agg(
        bias="mean", bias_error=lambda x: x.std(ddof=1) / np.sqrt(len(x))
    ).reset_index()


@benchmark(
    "inference.coverage",
    peer="the nominal level; and with a wrong adjustment set, or both models wrong, where it must "
    "fail",
)
def study(runs: int = 400, *, n: int = 1000, n_jobs: int = 2) -> dict:
    """How often 95% intervals hold the truth, 400 data sets; double robustness; a quarter of an
    hour on 2 cores.

    ``n`` is the number of rows of each data set.
    """
    covered = interval_coverage(runs, n=n, n_jobs=n_jobs)
    robust = double_robustness(runs, n=n)
    at = covered.set_index("estimator")["coverage"]
    claims = []
    for name in CLAIMED:
        claims.append(Claim.of(f"{name}: coverage", [at[name]], "at least 0.92"))
        claims.append(Claim.of(f"{name}: coverage", [at[name]], "at most 0.98"))
    claims.append(Claim.of("AIPW by a wrong set: coverage", [at["aipw, wrong set"]], "below 0.5"))
    for row in robust.itertuples():
        both = row.propensity == row.outcome == "wrong"
        name = (
            f"{row.what}, propensity {row.propensity}, outcome {row.outcome}: bias in "
            "standard errors"
        )
        claims.append(
            Claim.of(name, [abs(row.bias) / row.bias_error], "above 4" if both else "at most 3")
        )
    tables = {
        "coverage": covered.to_dict("records"),
        "double robustness": robust.to_dict("records"),
    }
    return report(claims, runs=runs, tables=tables)


def _world(seed, n):
    rng = np.random.default_rng([seed, 0])
    x = rng.standard_normal((n, 4))
    share = 0.1 + 0.8 * expit(x[:, 0] + 0.7 * x[:, 1] - 0.4 * x[:, 2] + 0.3 * x[:, 3])
    base = 1.5 * np.abs(x[:, 0]) + x[:, 0] + x[:, 1] + 0.5 * x[:, 0] * x[:, 1]
    gain = _TRUTH + 0.5 * x[:, 0]
    t = (rng.random(n) < share).astype(int)
    y = base + gain * t + rng.standard_normal(n)
    frame = pd.DataFrame(x, columns=list("abcd")).assign(t=t, y=y)
    return {"frame": frame, "t": t, "y": y, "share": share, "means": (base, base + gain)}


@cache
def _policies(k=10):
    """Tastes that make rewards and policies, (3, k) each, and the true value of the policy: over
    contexts, not over some rows.
    """
    rng = np.random.default_rng(0)
    tastes = (rng.normal(size=(3, k)), rng.normal(size=(3, k)))
    mean, policy, _ = _shares(rng.normal(size=(200_000, 3)), *tastes)
    return *tastes, float((mean * policy).sum(axis=1).mean())


def _shares(x, taste, other):
    """Mean rewards, the policy to value, the logging policy: (n, k) each."""
    parts = expit(x @ taste - 1), np.exp(0.5 * x @ other), np.exp(0.5 * x @ taste)
    return parts[0], *(part / part.sum(axis=1, keepdims=True) for part in parts[1:])


def _rounds(seed, n=_VALUE_ROUNDS):
    """Logs, the policy to value, the true means of the rewards, and its true value."""
    *tastes, truth = _policies()
    rng = np.random.default_rng([seed, 1])
    x = rng.normal(size=(n, 3))
    mean, policy, logging = _shares(x, *tastes)
    action = (
        (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=logging.shape[1] - 1)
    )
    log = pd.DataFrame(x, columns=list("abc")).assign(
        item_id=action,
        click=(rng.random(n) < mean[np.arange(n), action]).astype(int),
        propensity_score=logging[np.arange(n), action],
    )
    return log, policy, mean, truth


def _run(seed, n, effects, wrong):
    frame = _world(seed, n)["frame"]
    rows = []
    for name in effects:
        found = effect(frame, "t", "y", adjustment=list("abcd"), estimator=name, seed=seed)
        rows.append(("effect", name, found.value, found.low, found.high, _TRUTH))
    if wrong:
        found = effect(frame, "t", "y", adjustment=list("bcd"), seed=seed)
        rows.append(("effect", "aipw, wrong set", found.value, found.low, found.high, _TRUTH))
    log, policy, _, truth = _rounds(seed)
    for name, found in policy_values(
        log, policy, estimators=VALUES, context=list("abc"), seed=seed
    ).items():
        rows.append(("policy value", name, found.value, found.low, found.high, truth))
    columns = ("what", "estimator", "value", "low", "high", "truth")
    return [dict(zip(columns, row, strict=True)) for row in rows]
