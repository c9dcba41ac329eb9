"""Benchmarks of policy values: their time and memory, whether they are those of the package obp on
the same arrays, what they say of logs that lack actions, and how often intervals of rare clicks
hold the truth.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from causal_lib import paths
from causal_lib.data import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, prediction, report
from causal_lib.experiments.peers import folder_with, run
from causal_lib.experiments.programs.measuring import peak_mb
from causal_lib.inference.covariates import design
from causal_lib.policy.learning import learn_policy
from causal_lib.policy.reward_model import fit_additive
from causal_lib.policy.value import ESTIMATORS, policy_value, policy_values

THRESHOLD = 2.0
OBP = {
    "dm": ("DirectMethod", {}),
    "ips": ("InverseProbabilityWeighting", {}),
    "snips": ("SelfNormalizedInverseProbabilityWeighting", {}),
    "dr": ("DoublyRobust", {}),
    "sndr": ("SelfNormalizedDoublyRobust", {}),
    "switch-dr": ("SwitchDoublyRobust", {"tau": THRESHOLD}),
    "dros": ("DoublyRobustWithShrinkage", {"lambda_": THRESHOLD**2}),
}
"""Our estimator -> obp's class and its settings for the same weights."""
SEGMENTS = ("new", "back", "loyal")
HOLES = ("never", "segment", "old", "deterministic", "none")
"""Actions that logs lack: the last everywhere, the last in a segment, the second above an age, all
but one in every context, and none.
"""
RARE = ("ips", "snips", "dr", "sndr")


@benchmark("policy.off_policy", peer="an absolute limit")
def off_policy(*, n: int = 1_000_000, k: int = 100, repeats: int = 3) -> dict:
    """The value of a policy by all estimators together, 10^6 logged rounds of 100 actions, one
    thread.

    Five columns of context; a row of probabilities per round.
    """
    rng = np.random.default_rng(0)
    context = rng.standard_normal((n, 5)).astype(np.float32)
    taste = rng.standard_normal((5, k)).astype(np.float32)
    policy = np.exp(0.3 * (context @ taste))
    policy /= policy.sum(axis=1, keepdims=True)
    logging = np.full(k, 1 / k)
    action = rng.integers(k, size=n)
    level = 1 / (1 + np.exp(2 - 0.3 * (context * taste[:, action].T).sum(axis=1)))
    logs = pd.DataFrame(context, columns=list("abcde"))
    logs = logs.assign(item_id=action, click=(rng.random(n) < level).astype(int))
    logs["propensity_score"] = logging[action]
    how = {"context": list("abcde"), "logging": logging, "embedding": np.arange(k) % 10}
    policy_values(logs[:1000], policy[:1000], **how)
    rows = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = policy_values(logs, policy, **how)
        rows.append({"seconds": time.perf_counter() - start})
    peak = peak_mb()
    what = f"{len(ESTIMATORS)} estimators, {n} rounds, {k} actions: seconds"
    memory = "most memory of the process, the logs and the policy's probabilities too, MB"
    claims = [
        Claim.of(what, [row["seconds"] for row in rows], "at most 10", statistic="median"),
        Claim.of(memory, [peak], "at most 3000"),
    ]
    return report(claims, rows=rows, values=[value.to_dict() for value in found.values()])


@benchmark("policy.open_bandit", peer="the package obp (Open Bandit Pipeline 0.4.1)")
def open_bandit(
    *, n: int = 10_000, k: int = 10, tables: int = 5, folder: Path | None = None
) -> dict:
    """Values by each estimator on the same logs, policy and reward model, 5 tables of 10,000
    rounds.

    ``folder`` holds the package obp; by default, among the peers.
    """
    package = Path(folder or paths.ROOT / ".peers" / "obp").resolve()
    if not (package / "obp").exists():
        return report([], skipped="no package obp among the peers; fetch it with `make peers`")
    distances = {name: [] for name in OBP}
    for seed in range(tables):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3))
        logging, policy = (softmax(x @ rng.normal(size=(3, k)) / 2, axis=1) for _ in range(2))
        action = (rng.random(n)[:, None] > logging.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
        logs = pd.DataFrame(x, columns=list("abc"))
        logs = logs.assign(item_id=action, propensity_score=logging[np.arange(n), action])
        logs["click"] = (rng.random(n) < 0.1 + 0.5 * (action % 2)).astype(int)
        own = policy_values(
            logs, policy, estimators=tuple(OBP), context=list("abc"), threshold=THRESHOLD, seed=seed
        )
        wide = design(logs, list("abc")).to_numpy()
        model = fit_additive(wide, action, logs["click"].to_numpy(dtype=float), k, seed=seed)
        given = {
            "reward": logs["click"].to_numpy(),
            "action": action,
            "pscore": logs["propensity_score"].to_numpy(),
            "action_dist": policy[:, :, None],
            "estimated_rewards_by_reg_model": model.of(slice(None))[:, :, None],
        }
        with folder_with(**given) as arrays:
            arguments = {"package_folder": str(package), "estimators": OBP}
            theirs = run("obp_values.policy_values", arguments, folder=arrays)
        for name, value in theirs.items():
            distances[name].append(abs(value - own[name].value))
    claims = [
        Claim.of(f"{name}: largest distance from obp", [max(found)], "at most 1e-9")
        for name, found in distances.items()
    ]
    return report(claims, tables=tables, n=n, k=k)


@benchmark("policy.support", peer="the true values in simulated logs, with and without holes")
def support(*, logs: int = 200, n: int = 5000) -> dict:
    """Verdicts and bounds of values of three policies, in 200 logs of 5,000 rounds for each kind of
    hole.

    The context is given where the hole depends on it; once more without it, and once by the
    logging policy's probabilities.
    """
    rows = []
    for hole in HOLES:
        for told in ("context", "logging", "nothing"):
            found = pd.DataFrame(
                [row for seed in range(logs) for row in _judged(hole, told, seed, n)]
            )
            by_policy = found.groupby("policy").mean().reset_index()
            rows += by_policy.assign(hole=hole, told=told).to_dict("records")
    table = pd.DataFrame(rows)
    claims = []
    for (hole, told), part in table.groupby(["hole", "told"], sort=False):
        what = f"hole {hole}, told by {told}"
        least = part["held"].min()
        if hole == "none":
            claims.append(Claim.of(f"{what}: least called ok", [part["ok"].min()], "at least 0.95"))
        else:
            most = "at most 0.05" if (hole, told) == ("old", "nothing") else "at most 0"
            claims.append(Claim.of(f"{what}: most called ok", [part["ok"].max()], most))
        claims.append(Claim.of(f"{what}: least share of bounds", [least], "at least 0.95"))
    return report(claims, logs=logs, n=n, rows=rows)


def _judged(hole, told, seed, n, k=6):
    """Verdict and bounds of each policy in one log."""
    rng = np.random.default_rng([seed, 5])
    segment = rng.integers(len(SEGMENTS), size=n)
    age = rng.normal(40, 12, size=n).round()
    rates = np.linspace(0.05, 0.3, k)
    rates[[1, -1]] = (0.7, 0.9)  # what the logs may lack earns most
    rates = np.clip(rates + 0.05 * (segment[:, None] - 1), 0.01, 0.99)
    logging = softmax(np.outer((age - 40) / 12, np.linspace(-0.6, 0.6, k)), axis=1)
    if hole == "never":
        logging[:, -1] = 0
    elif hole == "segment":
        logging[segment == 1, -1] = 0
    elif hole == "old":
        logging[age > 52, 1] = 0
    elif hole == "deterministic":
        logging = np.eye(k)[np.where(age > 40, k - 1, segment)]
    logging /= logging.sum(axis=1, keepdims=True)
    policies = {
        "uniform": np.full((n, k), 1 / k),
        "mostly what pays": np.tile([0.02, 0.45, 0.02, 0.02, 0.02, 0.47], (n, 1)),
        "by age": softmax(np.outer((age - 40) / 12, np.linspace(0.8, -0.4, k)), axis=1),
    }
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    row = np.arange(n)
    frame = pd.DataFrame(
        {
            "segment": np.array(SEGMENTS)[segment],
            "age": age,
            "item_id": action,
            "click": (rng.random(n) < rates[row, action]).astype(int),
            "propensity_score": logging[row, action],
        }
    )
    how = {"context": {"context": ["segment", "age"]}, "logging": {"logging": logging}}
    for name, policy in policies.items():
        found = policy_values(frame, policy, estimators=("dr",), seed=seed, **how.get(told, {}))[
            "dr"
        ]
        truth = (policy * rates).sum(axis=1).mean()
        low, high = found.bounds or (-np.inf, np.inf)
        yield {
            "policy": name,
            "ok": found.verdict == "ok",
            "held": low <= truth <= high,
            "width": min(high - low, 1.0),
            "untold": found.bounds is None,
        }


@benchmark("policy.two_policies", peer="what each policy earned online")
def two_policies() -> dict:
    """Open Bandit Data: the value of each of two policies by the other's log, against what it
    earned online; three campaigns, both directions, three estimators.

    Bernoulli Thompson sampling (bts) changed over the week: its average shares by position stand
    for it.
    """
    logs = load("obd")
    rows = []
    for campaign in ("all", "men", "women"):
        random, bts = (
            logs[policy, campaign].reset_index(drop=True) for policy in ("random", "bts")
        )
        k = int(max(random["item_id"].max(), bts["item_id"].max())) + 1
        shares = pd.crosstab(bts["position"], bts["item_id"], normalize="index")
        shares = shares.reindex(columns=range(k), fill_value=0.0).loc[random["position"]].to_numpy()
        for direction, seen, policy, online in (
            ("random to bts", random, shares, bts["click"]),
            ("bts to uniform", bts, np.full(k, 1 / k), random["click"]),
        ):
            context = ["position", "user_feature_0", "user_feature_1"]
            found = policy_values(seen, policy, estimators=("ips", "snips", "dr"), context=context)
            about = {
                "campaign": campaign,
                "direction": direction,
                "clicks": int(seen["click"].sum()),
            }
            about |= {
                "online": float(online.mean()),
                "half width online": 1.96 * float(online.sem()),
            }
            rows += [about | _told(one) for one in found.values()]
    agreeing = [_agrees(row) for row in rows if row["direction"] == "random to bts"]
    claims = [
        Claim.of("random to bts: share that agrees with online", [np.mean(agreeing)], "at least 1")
    ]
    agreed = prediction(
        "From the logs of the random policy, the value of the bts policy agrees with what bts "
        "earned online, in all three campaigns.",
        claims,
        "held",
        "By all three estimators; with so few clicks a gap as large as the value counts as "
        "agreement.",
    )
    hopeless = [
        row["value"] is None
        for row in rows
        if (row["campaign"], row["direction"]) == ("women", "bts to uniform")
    ]
    claims.append(
        Claim.of("women, bts to uniform: share without value", [np.mean(hopeless)], "at least 1")
    )
    refused = prediction(
        "In the hopeless direction (women's campaign, from bts to uniform) no value is reported.",
        claims[1:],
        "held",
    )
    return report(claims, predictions=[agreed, refused], rows=rows)


def _told(found):
    """What a value says, as JSON types."""
    names = ("estimator", "value", "low", "high", "effective_sample_size", "verdict")
    return {name: getattr(found, name) for name in names}


def _agrees(row):
    """Whether the value differs from what was earned online by no more than both errors allow."""
    if row["value"] is None:
        return False
    joint = np.hypot(row["high"] - row["value"], row["half width online"])
    return abs(row["value"] - row["online"]) <= joint


@benchmark("policy.rare_clicks", peer="the nominal level, and normal intervals")
def rare_clicks(*, logs: int = 500, rounds: tuple[int, ...] = (1000, 3000, 10_000)) -> dict:
    """How often 95% intervals hold the truth where clicks are rare: rates of .1% to 10%, 500 logs
    for each number of rounds, 1,000 to 10,000.

    The logging policy and the one to value are softmax policies of three columns of the context, 8
    actions; of logs of too few effective rounds nothing is counted.
    """
    rows = [
        {"rate": rate, "rounds": n, **row}
        for rate in (0.001, 0.003, 0.01, 0.03, 0.1)
        for n in rounds
        for row in _coverage(rate, n, logs)
    ]
    table = pd.DataFrame(rows)
    claims = []
    for name, part in table[table["interval"] == "auto"].groupby("estimator", sort=False):
        claims.append(
            Claim.of(f"{name}: least coverage", [part["coverage"].min()], "at least 0.92")
        )
        mean = np.average(part["coverage"], weights=part["logs"])
        claims.append(Claim.of(f"{name}: mean coverage", [mean], "at least 0.95"))
    inside = table[table["estimator"] == "snips"]["inside"].min()
    claims.append(Claim.of("snips: share of intervals in [0, 1]", [inside], "at least 1"))
    normal = table[(table["interval"] == "normal") & (table["rate"] == 0.001)]["coverage"].min()
    claims.append(Claim.of("normal, rate 0.001: least coverage", [normal], "below 0.9"))
    return report(claims, logs=logs, rows=rows)


def learnt_on_halves(
    logs: pd.DataFrame, context: Sequence[str], *, splits: int, seed: int = 0
) -> pd.DataFrame:
    """Click rates of policies that are learnt on a random half of uniformly random logs.

    ``logs`` are rounds as `learn_policy` takes them; those with a level of the context that fewer
    than 30 have are left out, since a half may lack it. One row per split: 'own half' and 'other
    half', the SNIPS value there; low, high and 'effective rows' of the other half; 'random policy',
    the click rate of the other half.
    """
    for name in context:
        logs = logs[logs.groupby(name)[name].transform("size") >= 30]
    actions = int(logs["item_id"].max()) + 1
    rows = []
    for split in range(splits):
        half = np.random.default_rng([seed, split]).random(len(logs)) < 0.5
        policy = learn_policy(logs[half], context, actions=actions, seed=seed)
        own, other = (
            policy_value(
                part,
                policy.probabilities(part),
                estimator="snips",
                context=context,
                seed=seed,
            )
            for part in (logs[half], logs[~half])
        )
        rows.append(
            {
                "own half": own.value,
                "other half": other.value,
                "low": other.low,
                "high": other.high,
                "effective rows": other.effective_sample_size,
                "random policy": logs["click"][~half].mean(),
            }
        )
    return pd.DataFrame(rows)


def _coverage(rate, n, logs, k=8):
    """Rows of estimator and interval: coverage, mean width and number of logs that carry a
    value.
    """
    rng = np.random.default_rng([n, int(rate * 1000)])
    tastes = [0.6 * rng.normal(size=(3, k)) for _ in range(3)]
    x = rng.normal(size=(400_000, 3))
    lift = np.exp(x @ tastes[0])
    scale = rate / lift.mean()
    policy = softmax(x @ tastes[1], axis=1)
    truth = (policy * np.minimum(scale * lift, 1)).sum(axis=1).mean()
    found = []
    for _ in range(logs):
        x = rng.normal(size=(n, 3))
        logging = softmax(x @ tastes[2], axis=1)
        action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
        row = np.arange(n)
        chance = np.minimum(scale * np.exp(x @ tastes[0])[row, action], 1)
        frame = pd.DataFrame(x, columns=list("abc")).assign(
            item_id=action,
            click=(rng.random(n) < chance).astype(int),
            propensity_score=logging[row, action],
        )
        policy = softmax(x @ tastes[1], axis=1)
        for interval in ("auto", "normal"):
            values = policy_values(
                frame, policy, estimators=RARE, context=list("abc"), interval=interval
            )
            found += [
                {
                    "estimator": name,
                    "interval": interval,
                    "held": value.low <= truth <= value.high,
                    "width": value.high - value.low,
                    "inside": 0 <= value.low <= value.high <= 1,
                }
                for name, value in values.items()
                if value.value is not None
            ]
    table = pd.DataFrame(found).groupby(["estimator", "interval"], sort=False)
    return (
        table.agg(
            coverage=("held", "mean"),
            width=("width", "mean"),
            inside=("inside", "mean"),
            logs=("held", "size"),
        )
        .reset_index()
        .to_dict("records")
    )
