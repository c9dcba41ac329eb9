"""Benchmarks of policy values: their time and memory, and whether they are those of the package obp
on the same arrays.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from causal_lib import paths
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.peers import folder_with, run
from causal_lib.experiments.programs.measuring import peak_mb
from causal_lib.inference.covariates import design
from causal_lib.policy.reward_model import fit_additive
from causal_lib.policy.value import ESTIMATORS, policy_values

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
