"""Benchmark of the study: five logs with known truth, and twenty that no study may call supported.

Claims and logs were written before the first measurement.
"""

from dataclasses import dataclass

import joblib
import numpy as np
import pandas as pd
from scipy.special import expit

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.graph import CausalGraph
from causal_lib.studies import LogError, Rule, study
from causal_lib.studies.graphs import GivenGraph

SEEDS = tuple(range(20))
KINDS = ("confounded", "rare", "hidden", "none", "positions")
ROLES = {
    "treatment": "shown",
    "outcome": "bought",
    "unit": "user",
    "item": "item",
    "time": "day",
    "before": [["age", "device", "activity"], ["quality", "price"]],
}


@dataclass(frozen=True, eq=False)
class KnownLog:
    """A log with its ``roles`` and the true ``effect`` (n,) of each row."""

    frame: pd.DataFrame
    roles: dict
    effect: np.ndarray


def known_log(kind: str, seed: int, n: int = 6_000) -> KnownLog:
    """A log of one of `KINDS`.

    'confounded': activity and quality move both exposure and purchase. 'rare': 0.3% are shown, at
    random, of ten times as many rows. 'hidden': as confounded, and a mood that is not logged moves
    both. 'none': as confounded, no effect. 'positions': who is shown depends on the place, which
    the logged propensity knows.
    """
    n = 10 * n if kind == "rare" else n
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    users = n // 10
    user = np.arange(n) % users
    age = rng.normal(40, 12, users).round()[user]
    device = rng.integers(0, 3, users)[user]
    activity = rng.normal(size=users)[user]
    quality = rng.normal(size=80)
    price = np.exp(3 + 0.3 * quality + rng.normal(0, 0.4, 80)).round(2)
    item = rng.integers(0, 80, n)
    mood = rng.normal(size=n) if kind == "hidden" else np.zeros(n)
    place = rng.integers(1, 6, n)
    drive = 0.8 * activity + 0.6 * quality[item]
    chance = expit(-0.7 + drive + 1.5 * mood)
    roles = dict(ROLES)
    if kind == "rare":
        chance = np.full(n, 0.003)
        roles["randomised"] = True
    if kind == "positions":
        chance = np.clip(expit(1 - 0.6 * place + 0.5 * drive), 0.02, 0.98)
        roles |= {"propensity": "chance", "position": "place"}
    shown = (rng.random(n) < chance).astype(int)
    gain = 0.9 + 0.9 * (device == 0) - 0.5 * (age > 50)
    gain = np.zeros(n) if kind == "none" else gain
    gain = 2 * gain if kind == "rare" else gain
    base = -1.8 + 0.6 * activity + 0.5 * quality[item] + 1.2 * mood
    without = expit(base)
    shown_rate = expit(base + gain)
    bought = (rng.random(n) < np.where(shown == 1, shown_rate, without)).astype(int)
    frame = pd.DataFrame(
        {
            "user": [f"u{one}" for one in user],
            "item": [f"i{one}" for one in item],
            "day": np.arange(n) // users,
            "age": age,
            "device": np.array(["phone", "tablet", "desk"])[device],
            "activity": activity,
            "quality": quality[item],
            "price": price[item],
            "place": place,
            "chance": chance,
            "shown": shown,
            "bought": bought,
        }
    )
    return KnownLog(frame, roles, shown_rate - without)


def _changed(log: KnownLog, roles: dict | None = None, graph=None, **columns):
    return log.frame.assign(**columns), log.roles | (roles or {}), graph


def refused_logs(seed: int = 0, n: int = 3_000) -> dict[str, tuple]:
    """Twenty logs that must be refused or graded down: name -> frame, roles, graph."""
    log = known_log("confounded", seed, n)
    frame = log.frame
    rng = np.random.default_rng([seed, 99])
    noise = rng.normal(size=n)
    steep = expit(8 * frame["activity"])
    hidden = known_log("hidden", seed, n)
    before = ROLES["before"]
    city = rng.permutation(np.arange(n) % 12)
    given = GivenGraph(
        CausalGraph.from_edges(
            ["mood", "shown", "bought"],
            [("mood", "shown"), ("mood", "bought"), ("shown", "bought")],
        ),
        ("mood",),
    )
    few = np.zeros(n, dtype=int)
    few[:8] = 1
    lost = frame["bought"].astype(float).mask((rng.random(n) < 0.3) & (frame["shown"] == 1))
    return {
        "a number decides": _changed(log, shown=(frame["activity"] > 0).astype(int)),
        "a category decides": _changed(log, shown=(frame["device"] == "phone").astype(int)),
        "nothing known before": _changed(log, {"before": []}),
        "a click among the controls": _changed(
            log,
            {"before": [*before, ["clicked"]]},
            clicked=frame["shown"] * (rng.random(n) < 0.4),
        ),
        "revenue among the controls": _changed(
            log, {"before": [*before, ["income"]]}, income=frame["bought"] * (9 + noise)
        ),
        "one arm": _changed(log, shown=1),
        "no outcome": _changed(log, bought=0),
        "a date after the row": _changed(
            log,
            {"before": [*before, ["joined"]], "time": "moment"},
            moment=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), unit="min"),
            joined=pd.Timestamp("2024-05-01"),
        ),
        "the device for a unit": _changed(
            log,
            {"unit": "device", "time": "", "before": [["age", "activity"], ["quality", "price"]]},
        ),
        "treated by city": _changed(log, {"unit": "city"}, city=city, shown=city % 2),
        "both arms of a candidate": (
            pd.concat([frame, frame[:50].assign(shown=1 - frame["shown"][:50])]),
            log.roles,
            None,
        ),
        "a negative control that moves": _changed(
            log, {"negative_control": "control"}, control=noise + frame["shown"]
        ),
        "outcomes lost where treated": _changed(log, bought=lost),
        "a hidden cause in the graph": _changed(log, graph=given),
        "another propensity": _changed(log, {"propensity": "wrong"}, wrong=0.02),
        "eight treated rows": _changed(log, shown=few),
        "almost no overlap": _changed(log, shown=(rng.random(n) < steep).astype(int)),
        "an outcome of text": _changed(log, bought=frame["bought"].map({0: "no", 1: "yes"})),
        "a strong hidden cause": (hidden.frame, hidden.roles | {"before": [["age"]]}, None),
        "an effect as weak as a column": _changed(
            log,
            bought=(rng.random(n) < expit(-1 + frame["activity"] + 0.25 * frame["shown"])),
        ),
    }


@benchmark("study.logs", peer="the truth of the simulation, and today's policy")
def logs(
    *, seeds: int = len(SEEDS), n: int = 6_000, n_refused: int = 3_000, n_jobs: int = 2
) -> dict:
    """Studies of five kinds of log whose truth is known, and of twenty that must not be supported.

    Of each log: the verdict, whether the effect's interval covers the truth, whether the strength
    against hidden causes stands beside it, the rule, and what it truly adds to today's policy.
    """
    tasks = [(kind, seed) for kind in KINDS for seed in range(seeds)]
    rows = joblib.Parallel(n_jobs)(joblib.delayed(_judged)(*task, n) for task in tasks)
    table = pd.DataFrame(rows)
    graded = joblib.Parallel(n_jobs)(
        joblib.delayed(_graded)(name, n_refused) for name in refused_logs(0, 500)
    )
    supported = table[(table["verdict"] == "supported") & (table["kind"] != "hidden")]
    hidden = table[table["kind"] == "hidden"]
    none = table[table["kind"] == "none"]
    ruled = table[table["recommended"]]
    claims = [
        Claim.of("intervals that cover where supported", supported["covered"], "at least 0.92"),
        Claim.of("the same, not too wide", supported["covered"], "at most 0.98"),
        Claim.of(
            "hidden cause: conclusions with its strength beside", hidden["told"], "at least 1"
        ),
        Claim.of("no effect: rules recommended", none["recommended"], "at most 0.05"),
        # without any rule nothing is gained, and no interval shows that it covers
        Claim.of(
            "true gain of recommended rules over today",
            ruled["true_gain"] if len(ruled) else [0.0],
            "above 0",
        ),
        Claim.of(
            "its interval covers", ruled["gain_covered"] if len(ruled) else [0.0], "at least 0.9"
        ),
        Claim.of("refused or graded down, of twenty", [g["held"] for g in graded], "at least 1"),
    ]
    summary = table.groupby("kind")[["covered", "recommended", "width"]].mean().reset_index()
    verdicts = table.groupby(["kind", "verdict"]).size().rename("logs").reset_index()
    return report(
        claims,
        kinds=summary.to_dict("records"),
        verdicts=verdicts.to_dict("records"),
        refused=graded,
        rows=table.astype(object).where(table.notna(), None).to_dict("records"),
    )


def _judged(kind, seed, n):
    log = known_log(kind, seed, n)
    found = study(log.frame, log.roles, draws=5, progress=False, seed=seed)
    effect = found.steps["effect"].facts
    rule = found.steps["rule"].facts
    truth = float(log.effect.mean())
    row = {
        "kind": kind,
        "seed": seed,
        "verdict": found.verdict,
        "truth": truth,
        "covered": None,
        "width": None,
        "told": "hidden cause" in " ".join(found.conclusion()),
        "recommended": bool(rule.get("recommended", False)),
        "true_gain": None,
        "gain_covered": None,
    }
    if effect:
        row["covered"] = effect["low"] <= truth <= effect["high"]
        row["width"] = effect["high"] - effect["low"]
    if row["recommended"]:
        shown = Rule.from_dict(rule["rule"]).applies(log.frame)
        gain = float(((shown - log.frame["shown"]) * log.effect).mean())
        row["true_gain"] = gain
        row["gain_covered"] = (
            rule["over"]["as today"]["low"] <= gain <= rule["over"]["as today"]["high"]
        )
    return row


def _graded(name, n):
    frame, roles, graph = refused_logs(0, n)[name]
    try:
        found = study(frame, roles, graph=graph, draws=2, progress=False)
    except LogError as error:
        return {"log": name, "answer": "error", "why": str(error), "held": True}
    return {
        "log": name,
        "answer": found.verdict,
        "why": "; ".join(found.reasons),
        "held": found.verdict != "supported",
    }
