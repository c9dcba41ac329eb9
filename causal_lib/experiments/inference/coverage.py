"""Coverage of 95% intervals, and the bias of doubly robust values when one of two models is wrong.

All by simulation: data sets whose true value is known, one estimate and interval each. `study` asks
of all estimators in one world; `designs` asks of the default and of weighting over sizes, shares
treated, overlap and outcomes, and judges each interval by the population that its verdict names.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.neighbors import KNeighborsRegressor

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.inference.effects import effect
from causal_lib.inference.nuisances import dr_scores, standard_error
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


# ---- designs: sizes, shares, overlap, outcomes ---------------------------------------------------


@dataclass(frozen=True)
class Design:
    """A population to draw rows from.

    ``n`` rows, ``share`` of them treated; ``overlap`` good, weak or bad: the log odds of the
    treatment have a standard deviation of 0.6, 1.5 or 4. ``outcome``: "linear"; "curved", with an
    absolute value and a product; "200 levels", a text column of as many levels confounds; "heavy",
    noise of Student's t with 3 degrees of freedom; "rare", 0/1 of 2%. ``clusters``: groups of 10
    rows that share part of a confounder and of the noise.
    """

    n: int
    outcome: str = "linear"
    share: float = 0.5
    overlap: str = "good"
    clusters: bool = False

    @property
    def name(self) -> str:
        """The design in words."""
        parts = [self.outcome, f"{self.n:,} rows", f"{self.share:.1%} treated"]
        parts.append(f"{self.overlap} overlap")
        return ", ".join(parts + ["clusters"] * self.clusters)

    @property
    def columns(self) -> list[str]:
        """The columns to adjust for."""
        return [*"abcd", *(["level"] if self.outcome == "200 levels" else [])]


DESIGNS = {
    design.name: design
    for design in (
        *(Design(n, outcome) for n in (100, 300, 1000, 10_000) for outcome in ("linear", "curved")),
        *(Design(n, "curved", overlap="weak") for n in (300, 1000, 10_000)),
        *(Design(n, "curved", overlap="bad") for n in (300, 1000, 10_000)),
        *(Design(n, "linear", 0.05) for n in (300, 1000, 10_000)),
        Design(10_000, "curved", 0.05, "weak"),
        Design(10_000, "curved", 0.05, "bad"),
        Design(10_000, "linear", 0.005),
        Design(1000, "200 levels"),
        Design(10_000, "200 levels"),
        Design(10_000, "200 levels", overlap="weak"),
        *(Design(n, "heavy") for n in (100, 1000, 10_000)),
        Design(1000, "rare"),
        Design(10_000, "rare"),
        Design(10_000, "rare", 0.05),
        *(Design(n, "linear", clusters=True) for n in (300, 1000, 10_000)),
        Design(1000, "curved", overlap="weak", clusters=True),
    )
}
"""Name -> `Design`."""
_SPREAD = {"good": 0.6, "weak": 1.5, "bad": 4.0}
_LEVELS = 200
_METHODS = ("default", "ipw", "known models")
_POPULATION = 200_000
_NEIGHBOURS = 15


def population(design: Design, n: int, rng: np.random.Generator) -> dict:
    """``n`` rows of a design: frame (columns a to d, level, group, t, y), propensity, base and
    gain: the expected outcome of each row without treatment, and the expected effect.
    """
    x = rng.standard_normal((n, 4))
    group = np.arange(n) // 10
    if design.clusters:
        x[:, 0] = np.sqrt(0.5) * (x[:, 0] + rng.standard_normal(group[-1] + 1)[group])
    frame = pd.DataFrame(x, columns=list("abcd")).assign(group=group)
    # the population's, whatever the rows
    level_effects = np.random.default_rng(_LEVELS).standard_normal(_LEVELS)
    level_effects = (level_effects - level_effects.mean()) / level_effects.std()
    if design.outcome == "200 levels":
        code = rng.integers(_LEVELS, size=n)
        pull = level_effects[code]
        frame["level"] = np.char.add("level ", code.astype(str))
        index = (x[:, 0] + pull) / np.sqrt(2)
        base = x[:, 0] + 1.5 * pull
    else:
        index = (x[:, 0] + 0.7 * x[:, 1] - 0.4 * x[:, 2]) / np.sqrt(1 + 0.7**2 + 0.4**2)
        base = x[:, 0] + x[:, 1] + 0.5 * x[:, 2]
        if design.outcome == "curved":
            base = 1.5 * np.abs(x[:, 0]) + x[:, 0] + x[:, 1] + 0.5 * x[:, 0] * x[:, 1]
    spread = _SPREAD[design.overlap]
    propensity = expit(_log_odds(design.share, spread) + spread * index)
    t = (rng.random(n) < propensity).astype(int)
    if design.outcome == "rare":
        chance = 0.02 * (1 + 0.5 * np.tanh(x[:, 0]))
        base = chance
        gain = chance
        y = (rng.random(n) < chance + gain * t).astype(int)
    else:
        gain = _TRUTH + 0.5 * x[:, 0]
        noise = rng.standard_normal(n)
        if design.outcome == "heavy":
            noise = rng.standard_t(3, n) / np.sqrt(3)
        if design.clusters:
            noise = noise + 0.7 * rng.standard_normal(group[-1] + 1)[group]
        y = base + gain * t + noise
    frame = frame.assign(t=t, y=y)
    return {"frame": frame, "propensity": propensity, "base": base, "gain": gain}


@cache
def _log_odds(share, spread):
    """The constant with which E expit(constant + spread Z) = share, Z standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    return float(brentq(lambda a: weights @ expit(a + spread * nodes) - share, -40, 40))


@cache
def _everybody(design):
    """Log odds of the treatment and gains, (population,) each, and the average effect."""
    found = population(design, _POPULATION, np.random.default_rng([1, 2]))
    average = 0.02 if design.outcome == "rare" else _TRUTH
    return _overlap_and_gain(found), average


def _overlap_and_gain(found):
    return np.column_stack([logit(found["propensity"]), found["gain"]])


def truth_among(design: Design, drawn: dict, members: np.ndarray) -> float:
    """The average effect in the population among those like the ``members`` of the drawn rows.

    The members' own mean gain is no truth for an interval: it moves with the rows that happened to
    be drawn, as the estimate does, so that an interval for the population would hold it too often,
    and one that leaves out the drawing of rows would look right. So membership is carried over to
    200,000 other rows: of each, the share of members among the 15 drawn rows nearest to it in log
    odds of the treatment and in gain, which weighs its gain. These two are enough: who has a
    counterpart goes by the propensity, and what is averaged is the gain.
    """
    members = np.asarray(members, dtype=float)
    if members.mean() in (0.0, 1.0):
        return _everybody(design)[1]
    everybody, _ = _everybody(design)
    own = _overlap_and_gain(drawn)
    scale = everybody.std(axis=0)
    near = KNeighborsRegressor(min(_NEIGHBOURS, len(members))).fit(own / scale, members)
    share = near.predict(everybody / scale)
    return float(share @ everybody[:, 1] / share.sum())


def _answers(name, number, methods):
    """A row for each method on data set ``number`` of a design."""
    design = DESIGNS[name]
    # of its own for each design: with shared draws one unlucky set would count in all of them
    rng = np.random.default_rng([number, zlib.crc32(name.encode())])
    drawn = population(design, design.n, rng)
    _, average = _everybody(design)
    cluster = {"cluster": "group"} if design.clusters else {}
    rows = []
    for method in methods:
        row = {"design": name, "number": number, "method": method, "truth": average}
        if method == "known models":
            rows.append(row | _by_known_models(design, drawn, average))
            continue
        try:
            found = effect(
                drawn["frame"],
                "t",
                "y",
                adjustment=design.columns,
                estimator=None if method == "default" else method,
                seed=number,
                **cluster,
            )
        except ValueError as error:
            reason = f"{type(error).__name__}: {str(error)[:120]}"
            rows.append(row | {"verdict": "refused", "reason": reason})
            continue
        row |= {
            "verdict": found.verdict,
            "reason": next(iter(found.reasons), ""),
            "value": float(found.value),
            "low": float(found.low),
            "high": float(found.high),
            "sd": float(drawn["frame"]["y"].std()),
        }
        asked = found
        judged = average
        if found.support is not None:
            asked = found.support
            judged = truth_among(design, drawn, found.support.members)
            row |= {"share": float(asked.share), "named_truth": judged}
        row["covers"] = bool(asked.low <= judged <= asked.high)
        if "uncorrected" in found.diagnostics:
            row["uncorrected"] = float(found.diagnostics["uncorrected"])
        rows.append(row)
    return rows


def _by_known_models(design, drawn, average):
    """AIPW with the true propensities and expected outcomes: what luck leaves on these draws."""
    frame = drawn["frame"]
    chances = np.column_stack([1 - drawn["propensity"], drawn["propensity"]])
    means = np.column_stack([drawn["base"], drawn["base"] + drawn["gain"]])
    scores, _ = dr_scores(frame["y"].to_numpy(), frame["t"].to_numpy(), chances, means)
    value = float(scores.mean())
    groups = frame["group"].to_numpy() if design.clusters else np.arange(len(frame))
    half = 1.96 * standard_error(scores - value, groups)
    return {
        "verdict": "known",
        "reason": "",
        "value": value,
        "low": value - half,
        "high": value + half,
        "sd": float(frame["y"].std()),
        "covers": bool(abs(value - average) <= half),
    }


def design_answers(
    designs: Iterable[str] | None = None,
    runs: int | range = 400,
    *,
    methods: tuple[str, ...] = _METHODS,
    cache_file: str | Path | None = None,
    n_jobs: int = 2,
) -> pd.DataFrame:
    """One row for each design, data set and method.

    Columns: design, number, method; verdict ("refused" for a ValueError) and its first reason;
    value, low, high; truth, the average effect in the population; sd of the outcome; share and
    named_truth of the support, where the verdict comes with one; covers: whether the interval that
    the verdict stands for holds its truth, that of the target where there is no support, otherwise
    that of the support (`truth_among`); uncorrected: the average of the networks' own predictions,
    for the estimator 'pretrained'.

    Parameters
    ----------
    designs : names of `DESIGNS`; all by default.
    runs : data sets of each design, or their numbers, so that a study can be made in slices.
    methods : "default", names of estimators, or "known models": AIPW with the true propensities
        and expected outcomes, whose misses are those of the draws.
    cache_file : a file of JSON lines that finished data sets are appended to and read from. It
        knows nothing of the code: remove it when that changes.
    """
    designs = list(designs or DESIGNS)
    numbers = range(runs) if isinstance(runs, int) else runs
    wanted = {(name, number) for name in designs for number in numbers}
    rows = []
    if cache_file is not None and Path(cache_file).exists():
        rows = _read_lines(Path(cache_file))
    done = {(row["design"], row["number"], row["method"]) for row in rows}
    open_jobs = []
    for name in designs:
        for number in numbers:
            left = tuple(method for method in methods if (name, number, method) not in done)
            if left:
                open_jobs.append(joblib.delayed(_answers)(name, number, left))
    for found in joblib.Parallel(n_jobs, return_as="generator")(open_jobs):
        if cache_file is not None:
            with Path(cache_file).open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in found))
        rows += found
    table = pd.DataFrame([row for row in rows if (row["design"], row["number"]) in wanted])
    table = table[table["method"].isin(methods)].reset_index(drop=True)
    columns = ["value", "low", "high", "sd", "share", "named_truth", "covers"]
    return table.reindex(columns=[*table.columns, *(c for c in columns if c not in table)])


def _read_lines(path):
    """Rows of a file of JSON lines; a last line that a stopped run cut short is left out of the
    file.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def design_summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each design, method and verdict: questions, mean share of the support, coverage
    of the interval that the verdict stands for with its 95% Wilson interval (low, high), and the
    bias of the value in standard deviations of the outcome with its standard error.
    """
    rows = []
    for names, part in table.groupby(["design", "method", "verdict"], sort=False):
        row = dict(zip(("design", "method", "verdict"), names, strict=True))
        row["questions"] = len(part)
        covers = part["covers"].dropna().astype(float)
        if len(covers):
            wilson = binomtest(int(covers.sum()), len(covers)).proportion_ci(method="wilson")
            errors = ((part["value"] - part["truth"]) / part["sd"]).astype(float)
            row |= {
                "share": part["share"].astype(float).mean(),
                "coverage": covers.mean(),
                "low": wilson.low,
                "high": wilson.high,
                "bias": errors.mean(),
                "bias_error": errors.std(ddof=1) / np.sqrt(len(errors)),
            }
        rows.append(row)
    return pd.DataFrame(rows)


@benchmark(
    "inference.designs",
    peer="the nominal level, among those whom the verdict names",
)
def designs(
    runs: int | range = 400,
    *,
    designs: Iterable[str] | None = None,
    cache_file: str | Path | None = None,
    n_jobs: int = 2,
) -> dict:
    """How often 95% intervals of effects hold the truth by size, share treated, overlap and
    outcome, and what the verdicts say.

    Hours on 2 cores: give a ``cache_file`` and slices of ``designs`` and ``runs`` first.
    """
    return designs_report(design_answers(designs, runs, cache_file=cache_file, n_jobs=n_jobs))


def designs_report(table: pd.DataFrame) -> dict:
    """The report on `design_answers`, of which designs may have different numbers of data sets.

    ``runs`` in it are the fewest and the most data sets of a design.
    """
    rows = design_summary(table)
    rows = rows.astype(object).where(rows.notna(), None)
    sets = table.groupby("design")["number"].nunique()
    fewest = min(50, max(1, int(sets.max()) // 8))
    return report(
        _design_claims(table, fewest),
        runs={"fewest": int(sets.min()), "most": int(sets.max())},
        rows=rows.to_dict("records"),
    )


def _design_claims(table, fewest):
    """The predictions, made before the verdicts existed. A design counts from ``fewest`` answers
    of the verdict on: of fewer, a share says little.
    """
    claims = []
    for method, low, high in (("default", 0.92, 0.98), ("ipw", 0.90, 0.98)):
        part = table[table["method"] == method]
        supported = part[part["verdict"] == "supported"]
        shares = _shares_by_design(supported, fewest)
        name = f"{method}, supported: coverage"
        if len(shares):
            claims += [
                Claim.of(f"{name}, least of any design", [min(shares)], f"at least {low}"),
                Claim.of(f"{name}, most of any design", [max(shares)], f"at most {high}"),
                Claim.of(
                    f"{name}, all designs", supported["covers"].astype(float), "at least 0.93"
                ),
            ]
        named = part[part["verdict"].isin(["weak", "extrapolated"])]
        shares = _shares_by_design(named, fewest)
        name = f"{method}, weak or extrapolated: coverage of the population named"
        if len(shares):
            claims.append(Claim.of(f"{name}, least of any design", [min(shares)], "at least 0.9"))
    # added before the rule of rows that seem to have no counterpart went by what they can do
    plain = table[(table["method"] == "default") & table["design"].map(_is_plain)]
    calm = [
        (part["verdict"] == "supported").mean()
        for _, part in plain.groupby("design")
        if len(part) >= fewest
    ]
    if calm:
        name = "default, good overlap and enough rows: called supported, least of any design"
        claims.append(Claim.of(name, [min(calm)], "at least 0.9"))
    exact = table[
        (table["method"] == "default")
        & (table["verdict"] == "supported")
        & (table["design"].map(lambda name: DESIGNS[name].n) == 1000)
    ]
    biases = [
        abs(((part["value"] - part["truth"]) / part["sd"]).mean())
        for _, part in exact.groupby("design")
        if len(part) >= fewest
    ]
    if biases:
        name = "default, supported, 1,000 rows: largest bias of any design, sd of the outcome"
        claims.append(Claim.of(name, [max(biases)], "below 0.01"))
    return claims + _against_known_models(table)


def _against_known_models(table):
    """Predictions on the sets that the default calls supported, beside the known models on them.

    Added when each design got draws of its own, before these were measured.
    """
    keys = ["design", "number"]
    columns = [*keys, "value", "truth", "covers"]
    asked = (table["method"] == "default") & (table["verdict"] == "supported")
    known = table.loc[table["method"] == "known models", columns]
    pairs = table.loc[asked, columns].merge(known, on=keys, suffixes=("", "_known"))
    if pairs.empty:
        return []
    less = pairs["covers"].astype(float) - pairs["covers_known"].astype(float)
    errors = pairs.assign(
        own=(pairs["value"] - pairs["truth"]) ** 2,
        known=(pairs["value_known"] - pairs["truth"]) ** 2,
    )
    mean = errors.groupby("design")[["own", "known"]].mean()
    ratios = np.sqrt(mean["own"] / mean["known"])
    name = "default, supported"
    beside = "of the known models on the same sets"
    return [
        Claim.of(f"{name}: coverage less that {beside}", less, "at least -0.02"),
        Claim.of(f"{name}: error over that {beside}, mean of designs", ratios, "at most 1.1"),
    ]


def _is_plain(name):
    """Whether all rows of a design have counterparts, and enough of them."""
    design = DESIGNS[name]
    levels = _LEVELS if design.outcome == "200 levels" else 1
    rows_of_arm = design.n * min(design.share, 1 - design.share)
    return design.overlap == "good" and rows_of_arm >= 20 * levels


def _shares_by_design(part, fewest):
    grouped = part.groupby("design")["covers"]
    return [covers.astype(float).mean() for _, covers in grouped if len(covers) >= fewest]
