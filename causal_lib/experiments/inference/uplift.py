"""Benchmark of uplift: simulated campaigns with a rare outcome, judged by their true effects.

Claims and campaigns were written before the first measurement. The seeds 0 to 9 are those of the
report; the default learner was tuned on campaigns of other seeds, from 100 on.
"""

import joblib
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.uplift import UpliftModel

COLUMNS = ["recency", "frequency", "spend", "age", "visits", "app", "member", "segment"]
SEEDS = tuple(range(10))
_DRAWN = 100_000  # rows on which a campaign's constants are set
_HETEROGENEITY = 0.4  # standard deviation of the effect on the log odds


def campaign(seed: int, n: int = 20_000, *, part: int = 0) -> pd.DataFrame:
    """Customers of campaign ``seed``: COLUMNS, treatment t, outcome y, true effect ``effect``.

    Without treatment 1% (seed 0) to 11% (seed 9) buy. Treatment adds 0.25 to the log odds on
    average, with a standard deviation of 0.4 between customers: linear in the columns for even
    seeds, where two logistic regressions are the right model; thresholds, products and a bend for
    odd ones, where the purchases without treatment bend, too. From seed 5 on the treatment is
    targeted by two columns, below that it is drawn by a coin. Different ``part`` are different
    customers of the same campaign.
    """
    number = seed % 10
    constants = np.random.default_rng([seed, 0])
    weights = constants.normal(0, 0.35, size=11)
    slopes = constants.normal(size=11)
    many = _numbers(_customers(constants, _DRAWN))
    rate = 0.01 + 0.1 * number / 9
    linear = number % 2 == 0

    def base(z):
        bend = 0 if linear else 0.3 * (z[:, 2] ** 2 - 1) + 0.3 * z[:, 0] * z[:, 1]
        return z @ weights + bend

    def surface(z):
        if linear:
            return z @ slopes
        both = (z[:, 0] > 0) & (z[:, 1] > 0)
        return 2.0 * both + np.abs(z[:, 2]) + 0.8 * np.sign(z[:, 3] * z[:, 4]) + 0.7 * z[:, 5]

    middle = surface(many).mean()
    unit = surface(many).std()
    level = brentq(lambda a: expit(a + base(many)).mean() - rate, -20, 20)

    rng = np.random.default_rng([seed, 1 + part])
    frame = _customers(rng, n)
    z = _numbers(frame)
    without = level + base(z)
    lift = 0.25 + _HETEROGENEITY * (surface(z) - middle) / unit
    chance = expit(0.6 * z[:, 0] - 0.4 * z[:, 3]) if number >= 5 else np.full(n, 0.5)
    t = (rng.random(n) < chance).astype(int)
    y = (rng.random(n) < expit(without + lift * t)).astype(int)
    return frame.assign(t=t, y=y, effect=expit(without + lift) - expit(without))


def shoppers(n: int, seed: int) -> pd.DataFrame:
    """The loyal buy anyway, those in need when shown: need, loyal, t, y, effect, price; two rows
    per user_id.
    """
    rng = np.random.default_rng(seed)
    need, loyal = rng.normal(size=(2, n))
    chance = expit(0.5 * loyal)
    t = (rng.random(n) < chance).astype(int)
    effect = np.clip(0.15 + 0.1 * (need - loyal), 0, 0.5)
    y = (rng.random(n) < np.clip(0.25 + 0.2 * loyal, 0, 0.5) + effect * t).astype(int)
    frame = pd.DataFrame(
        {
            "user_id": np.arange(n) // 2,
            "need": need,
            "loyal": loyal,
            "t": t,
            "y": y,
            "effect": effect,
        }
    )
    return frame.assign(price=rng.uniform(1, 10, n).round(2))


def campaigns(seeds: tuple[int, ...] = SEEDS, *, n: int = 20_000, n_jobs: int = 2) -> pd.DataFrame:
    """One row per campaign and method, by the true effects of ``n`` fresh customers.

    Columns seed, surface, rate (bought without treatment), method; qini and qini_error (area
    between the curve of gains and a random order, in outcomes per customer, and its standard
    error); slope of true effects on predictions (nan where the predictions are all the same);
    rmse; weights (of the candidates, for the default).
    """
    jobs = (joblib.delayed(_judged)(seed, n) for seed in seeds)
    return pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])


def totals(runs: int = 200, *, n: int = 2000, seed: int = 1000, n_jobs: int = 2) -> pd.DataFrame:
    """The total of `UpliftModel.recommend` against the sum of true effects, one row per data set.

    Each data set has ``n`` rows of `shoppers` to train on and as many candidates, with a budget for
    a fifth of them. Columns value, low, high, truth.
    """
    jobs = (joblib.delayed(_total)(seed + k, n) for k in range(runs))
    return pd.DataFrame(joblib.Parallel(n_jobs)(jobs))


@benchmark("inference.uplift", peer="two logistic regressions, one for each arm")
def study(
    seeds: tuple[int, ...] = SEEDS,
    *,
    n: int = 20_000,
    runs: int = 200,
    rows: int = 2000,
    n_jobs: int = 2,
) -> dict:
    """Uplift by the default learner on ten simulated campaigns with a rare outcome; coverage of the
    total of a recommendation.
    """
    table = campaigns(seeds, n=n, n_jobs=n_jobs)
    qini, error, slope = (
        table.pivot_table(index="seed", columns="method", values=what, dropna=False)
        for what in ("qini", "qini_error", "slope")
    )
    ahead = qini["default"] - qini["logistic"]
    bent = ahead[table.groupby("seed")["surface"].first().reindex(ahead.index) == "nonlinear"]
    slopes = slope["default"].dropna()
    total = totals(runs, n=rows, n_jobs=n_jobs)
    inside = (total["low"] <= total["truth"]) & (total["truth"] <= total["high"])
    half = (total["high"] - total["low"]) / 2 / 1.959964
    distance = (total["value"] - total["truth"]) / half
    low, high = binomtest(int(inside.sum()), runs).proportion_ci(method="wilson")
    name = "Qini, default - logistic regressions"
    claims = [
        Claim.of(
            f"{name} + its standard error: the least", [(ahead + error["logistic"]).min()],
            "at least 0",
        ),
        Claim.of(f"{name}, nonlinear: the least", [bent.min()], "above 0"),
        Claim.of(f"{name}, all", ahead, "at least 0"),
        Claim.of(f"{name}, nonlinear", bent, "above 0"),
        Claim.of("slope of true effects on predictions", slopes, "at least 0.8"),
        Claim.of("slope of true effects on predictions", slopes, "at most 1.2"),
        Claim.of("recommend's total: coverage of the 95% interval", [inside.mean()],
                 "at least 0.92"),
        Claim.of("recommend's total: coverage of the 95% interval", [inside.mean()],
                 "at most 0.98"),
        Claim.of("recommend's total: bias in standard errors, absolute", [abs(distance.mean())],
                 "at most 0.25"),
    ]  # fmt: skip
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    coverage = {
        "runs": runs,
        "coverage": inside.mean(),
        "low": low,
        "high": high,
        "missed above": int((total["truth"] > total["high"]).sum()),
        "missed below": int((total["truth"] < total["low"]).sum()),
        "bias in standard errors": distance.mean(),
    }
    return report(claims, rows=records, totals=coverage)


def _customers(rng, n):
    """COLUMNS of ``n`` customers; the numbers share a factor."""
    shared = rng.normal(size=n)
    numbers = 0.5 * shared[:, None] + np.sqrt(0.75) * rng.normal(size=(n, 4))
    frame = pd.DataFrame(numbers, columns=COLUMNS[:4])
    frame["visits"] = rng.poisson(2.0, n)
    frame["app"] = rng.integers(2, size=n)
    frame["member"] = (rng.random(n) < 0.3).astype(int)
    return frame.assign(segment=rng.choice(["new", "regular", "silent", "vip"], n))


def _numbers(frame):
    """(n, 11) the columns as numbers of standard deviations near 1, segments as indicators."""
    parts = [frame[name].to_numpy(dtype=float) for name in COLUMNS[:4]]
    parts.append((frame["visits"].to_numpy() - 2) / np.sqrt(2))
    parts.append((frame["app"].to_numpy() - 0.5) * 2)
    parts.append((frame["member"].to_numpy() - 0.3) * 2)
    parts += [(frame["segment"] == one).to_numpy(dtype=float) for one in
              ("new", "regular", "silent", "vip")]  # fmt: skip
    return np.column_stack(parts)


def _two_logistic_regressions(frame, fresh):
    """Effects of ``fresh`` rows: scikit-learn's default logistic regression of each arm."""
    covariates = Covariates.fit(frame, COLUMNS)
    x = covariates.table(frame)
    at = covariates.table(fresh)
    chances = []
    for arm in (1, 0):
        rows = (frame["t"] == arm).to_numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        chances.append(model.fit(x[rows], frame["y"][rows]).predict_proba(at)[:, 1])
    return chances[0] - chances[1]


def _judged(seed, n):
    frame = campaign(seed, n)
    fresh = campaign(seed, n, part=1)
    default = UpliftModel.train(frame, "t", "y", COLUMNS)
    boosted = UpliftModel.train(frame, "t", "y", COLUMNS, learner="dr")
    predictions = {
        "default": default.predict(fresh),
        "logistic": _two_logistic_regressions(frame, fresh),
        "dr": boosted.predict(fresh),
    }
    effect = fresh["effect"].to_numpy()
    about = {
        "seed": seed,
        "surface": "nonlinear" if seed % 2 else "linear",
        "rate": float(frame.loc[frame["t"] == 0, "y"].mean()),
    }
    rows = []
    for method, predicted in predictions.items():
        parts = effect * (0.5 - pd.Series(-predicted).rank().to_numpy() / (n + 1))
        spread = predicted - predicted.mean()
        flat = np.ptp(predicted) == 0
        weights = default.chosen["weight"].to_dict() if method == "default" else None
        rows.append(
            about
            | {
                "method": method,
                "qini": parts.mean(),
                "qini_error": parts.std(ddof=1) / np.sqrt(n),
                "slope": np.nan if flat else spread @ effect / (spread @ spread),
                "rmse": np.sqrt(((predicted - effect) ** 2).mean()),
                "weights": weights,
            }
        )
    return rows


def _total(seed, n):
    model = UpliftModel.train(
        shoppers(n, seed), "t", "y", ["need", "loyal"], cluster="user_id", seed=seed
    )
    chosen, (value, low, high) = model.recommend(shoppers(n, 100_000 + seed), budget=n // 5)
    return {"value": value, "low": low, "high": high, "truth": chosen["effect"].sum()}
