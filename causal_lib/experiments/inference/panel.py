"""Coverage of intervals in panels: synthetic control and its relatives on factor models.

The outcome of unit i at time t is level_i + loadings_i' factors_t + trend_t + noise_it, and the
effect on the treated units since the change is 0. Some kinds of panels break what the intervals
assume, so that the verdicts have something to find.
"""

import joblib
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.inference.panel import (
    difference_in_differences,
    synthetic_control,
    synthetic_difference_in_differences,
)

SIZES = {
    "1 of 21, 10 + 5 times": (1, 20, 10, 5),
    "1 of 41, 40 + 10 times": (1, 40, 40, 10),
    "5 of 25, 10 + 5 times": (5, 20, 10, 5),
    "5 of 45, 20 + 10 times": (5, 40, 20, 10),
    "20 of 40, 20 + 10 times": (20, 20, 20, 10),
    "20 of 80, 40 + 10 times": (20, 60, 40, 10),
}
"""Name -> treated units, donors, times before and since the change."""
KINDS = {
    "alike": {},
    "serial": {"serial": 0.7},
    "unequal": {"unequal": 0.5},
    "selected": {"shift": 1.0},
    "far": {"shift": 2.0},
    "selected, wandering": {"shift": 1.0, "memory": 0.99},
}
"""Name -> arguments of `panel`. Of the first three the treated units are drawn like the donors."""
ALIKE = ("alike", "serial", "unequal")
_PLACEBOS = 99
_FEW_PLACEBOS = 19
"""Of intervals that are made without them: their verdict alone needs some."""


def panel(
    treated: int,
    donors: int,
    before: int,
    since: int,
    seed: int,
    *,
    shift: float = 0.0,
    serial: float = 0.0,
    unequal: float = 0.0,
    memory: float = 0.7,
) -> pd.DataFrame:
    """A long frame with columns unit, day, on (treated since the change) and y.

    Levels and the loadings on two factors are standard normal, of the treated units about ``shift``
    in place of 0. Factors are autoregressive with ``memory`` and variance 1, the noise with
    ``serial`` and standard deviation 0.7, times exp(``unequal`` z), z standard normal by unit. All
    units share a random walk.
    """
    rng = np.random.default_rng([seed, treated, donors, before])
    n = treated + donors
    times = before + since
    factors = _autoregression(rng, 2, times, memory)
    loadings = rng.standard_normal((n, 2))
    levels = rng.standard_normal((n, 1))
    loadings[:treated] += shift
    levels[:treated] += shift
    size = 0.7 * np.exp(unequal * rng.standard_normal((n, 1)))
    noise = size * _autoregression(rng, n, times, serial)
    y = levels + loadings @ factors + 0.3 * rng.standard_normal(times).cumsum() + noise
    unit, day = np.indices(y.shape)
    on = (unit < treated) & (day >= before)
    columns = {"unit": unit, "day": day, "on": on.astype(int), "y": y}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def _autoregression(rng, n, times, memory):
    """(n, times) standard normal values whose neighbours correlate by ``memory``."""
    found = rng.standard_normal((n, times))
    for t in range(1, times):
        found[:, t] = memory * found[:, t - 1] + np.sqrt(1 - memory**2) * found[:, t]
    return found


def _methods(treated, times):
    """Name -> estimator of a frame, of those that answer for so many treated units and times."""
    how = {"treated": "on", "unit": "unit", "time": "day"}

    def control(placebos=_PLACEBOS, **given):
        return lambda frame: synthetic_control(frame, "y", placebos=placebos, **how, **given)

    def both(placebos=_PLACEBOS, **given):
        return lambda frame: synthetic_difference_in_differences(
            frame, "y", placebos=placebos, **how, **given
        )

    found = {
        "synthetic control": control(interval="placebo"),
        "synthetic control, demeaned": control(interval="placebo", demeaned=True),
        "synthetic difference in differences": both(),
    }
    if times >= 20:
        found["synthetic control, conformal"] = control(_FEW_PLACEBOS, interval="conformal")
    if treated > 1:
        found["synthetic difference in differences, jackknife"] = both(
            _FEW_PLACEBOS, interval="jackknife"
        )
        found["difference in differences"] = lambda frame: difference_in_differences(
            frame, "y", **how
        )
    return found


def _run(size, kind, seed):
    numbers = SIZES[size]
    frame = panel(*numbers, seed, **KINDS[kind])
    rows = []
    for method, estimate in _methods(numbers[0], numbers[2] + numbers[3]).items():
        found = estimate(frame)
        rows.append(
            {
                "size": size,
                "kind": kind,
                "method": method,
                "panel": seed,
                "error": found.value,
                "width": found.high - found.low,
                "covers": found.covers(0.0),
                "verdict": found.verdict,
            }
        )
    return rows


def coverage(
    runs: int = 200, *, seed: int = 0, sizes=tuple(SIZES), kinds=tuple(KINDS), n_jobs: int = 1
) -> pd.DataFrame:
    """One row for each panel and method: size, kind, method, panel, error, width, covers, verdict.

    The truth is 0. Panels are numbered from ``seed``.
    """
    jobs = (
        joblib.delayed(_run)(size, kind, number)
        for size in sizes
        for kind in kinds
        for number in range(seed, seed + runs)
    )
    return pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each size, kind and method: panels, bias, rmse, coverage with its 95% Wilson
    interval (low, high), median width, shares of panels that are supported and extrapolated, and
    the coverage among those supported.
    """
    rows = []
    for names, part in table.groupby(["size", "kind", "method"], sort=False):
        low, high = binomtest(int(part["covers"].sum()), len(part)).proportion_ci(method="wilson")
        supported = part["verdict"] == "supported"
        inside = part.loc[supported, "covers"]
        rows.append(
            dict(zip(("size", "kind", "method"), names, strict=True))
            | {
                "panels": len(part),
                "bias": part["error"].mean(),
                "rmse": float(np.sqrt((part["error"] ** 2).mean())),
                "coverage": part["covers"].mean(),
                "low": low,
                "high": high,
                "width": part["width"].median(),
                "supported": supported.mean(),
                "extrapolated": (part["verdict"] == "extrapolated").mean(),
                "coverage where supported": inside.mean() if len(inside) else None,
            }
        )
    return pd.DataFrame(rows)


@benchmark("inference.panel", peer="the nominal level, and difference in differences")
def study(runs: int = 200, *, n_jobs: int = 1) -> dict:
    """How often 95% intervals of panel methods hold the truth in factor models, and what the
    verdicts find; some minutes on 1 core.
    """
    table = coverage(runs, n_jobs=n_jobs)
    rows = summary(table).replace([np.inf, np.nan], None)
    return report(_claims(table), runs=runs, rows=rows.to_dict("records"))


def _claims(table):
    """The predictions. Placebo and conformal intervals were tried on other panels of a like kind
    while they were written; the jackknife and difference in differences were not.
    """

    def values(what, methods, kinds=None, supported=False, size=None):
        part = table[table["method"].isin([methods] if isinstance(methods, str) else methods)]
        if kinds is not None:
            part = part[part["kind"].isin(kinds)]
        if supported:
            part = part[part["verdict"] == "supported"]
        if size is not None:
            part = part[part["size"].str.startswith(size)]
        return part[what].to_numpy()

    placebo = (
        "synthetic control",
        "synthetic control, demeaned",
        "synthetic difference in differences",
    )
    claims = []
    for method in placebo:
        name = f"{method}, supported panels of units alike or selected: coverage"
        held = values("covers", method, [*ALIKE, "selected"], supported=True)
        claims.append(Claim.of(name, held, "at least 0.93"))
        shares = [
            part["covers"].mean()
            for _, part in table[(table["method"] == method) & table["kind"].isin(ALIKE)].groupby(
                ["size", "kind"]
            )
        ]
        name = f"{method}, units alike: least coverage of any size and kind"
        claims.append(Claim.of(name, [min(shares)], "at least 0.9"))
        verdict = values("verdict", method, ["alike"])
        name = f"{method}, units alike: share supported"
        claims.append(Claim.of(name, verdict == "supported", "at least 0.85"))
        for size, most in (("1 ", 0.4), ("5 ", 0.1), ("20 ", 0.05)):
            verdict = values("verdict", method, ["far"], size=size)
            name = f"{method}, {size.strip()} treated units, far from the donors: share supported"
            claims.append(Claim.of(name, verdict == "supported", f"at most {most}"))
        # factors that hardly move before the change and do so afterwards leave no trace before it
        held = values("covers", method, ["selected, wandering"], supported=True)
        name = f"{method}, supported panels of selected units and wandering factors: coverage"
        claims.append(Claim.of(name, held, "below 0.93"))
    for kind in KINDS:
        held = values("covers", "synthetic control, conformal", [kind], size="1 ")
        name = f"synthetic control, conformal, one treated unit, {kind}: coverage"
        claims.append(Claim.of(name, held, "at least 0.9"))
    method = "synthetic difference in differences, jackknife"
    held = values("covers", method, ALIKE)
    claims.append(Claim.of(f"{method}, units alike: coverage", held, "at least 0.92"))
    held = values("covers", "difference in differences", ["far"])
    claims.append(
        Claim.of("difference in differences, far from the donors: coverage", held, "below 0.8")
    )
    first, second = (
        np.abs(values("error", name, ["selected", "far"]))
        for name in ("synthetic difference in differences", "synthetic control")
    )
    claims.append(
        Claim.of(
            "absolute error of synthetic difference in differences less that of synthetic control, "
            "selected or far",
            first - second,
            "below 0",
        )
    )
    return claims
