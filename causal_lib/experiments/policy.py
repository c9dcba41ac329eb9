"""How long valuing a policy takes and in how much memory; whether values are those of the package obp on the same arrays."""

import importlib
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.experiments.bench import claim, peak_mb
from causal_lib.inference.estimators import design
from causal_lib.policy.reward_model import fit_additive
from causal_lib.policy.value import ESTIMATORS, policy_values

THRESHOLD = 2.0
OBP = {
    "dm": ("DirectMethod", {}), "ips": ("InverseProbabilityWeighting", {}),
    "snips": ("SelfNormalizedInverseProbabilityWeighting", {}), "dr": ("DoublyRobust", {}),
    "sndr": ("SelfNormalizedDoublyRobust", {}), "switch-dr": ("SwitchDoublyRobust", {"tau": THRESHOLD}),
    "dros": ("DoublyRobustWithShrinkage", {"lambda_": THRESHOLD**2}),
}  # fmt: skip
"""Our estimator -> obp's class and its settings for the same weights."""


def off_policy(*, n: int = 1_000_000, k: int = 100, repeats: int = 3) -> dict:
    """All estimators together on ``n`` rounds of ``k`` actions, five columns of context, one row of probabilities a round."""
    rng = np.random.default_rng(0)
    context = rng.standard_normal((n, 5)).astype(np.float32)
    taste = rng.standard_normal((5, k)).astype(np.float32)
    policy = np.exp(0.3 * (context @ taste))
    policy /= policy.sum(axis=1, keepdims=True)
    logging = np.full(k, 1 / k)
    action = rng.integers(k, size=n)
    level = 1 / (1 + np.exp(2 - 0.3 * (context * taste[:, action].T).sum(axis=1)))
    logs = pd.DataFrame(context, columns=list("abcde")).assign(
        item_id=action, click=(rng.random(n) < level).astype(int)
    )
    logs["propensity_score"] = logging[action]
    how = {"context": list("abcde"), "logging": logging, "embedding": np.arange(k) % 10}
    policy_values(logs[:1000], policy[:1000], **how)
    rows = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = policy_values(logs, policy, **how)
        rows.append({"seconds": time.perf_counter() - start})
    peak = peak_mb()
    claims = [
        claim(
            f"{len(ESTIMATORS)} estimators, {n} rounds, {k} actions: seconds",
            [row["seconds"] for row in rows],
            "at most 10",
            statistic="median",
        ),
        claim("most memory of the process, the logs and the policy's probabilities too, MB", [peak], "at most 3000"),
    ]
    return {"claims": claims, "rows": rows, "values": [value.to_dict() for value in found.values()]}


def open_bandit(*, n: int = 10_000, k: int = 10, tables: int = 5, folder: Path | None = None) -> dict:
    """Each estimator beside that of obp (Open Bandit Pipeline 0.4.1), given the same logs, policy and reward model."""
    folder = Path(folder or paths.ROOT / ".peers" / "obp")
    if not (folder / "obp").exists():
        return {"claims": [], "skipped": "no package obp among the peers; fetch it with `make peers`"}
    theirs, apart = _obp(folder), {name: [] for name in OBP}
    for seed in range(tables):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3))
        logging, policy = (_softmax(x @ rng.normal(size=(3, k)) / 2) for _ in range(2))
        action = (rng.random(n)[:, None] > logging.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
        logs = pd.DataFrame(x, columns=list("abc")).assign(
            item_id=action, propensity_score=logging[np.arange(n), action]
        )
        logs["click"] = (rng.random(n) < 0.1 + 0.5 * (action % 2)).astype(int)
        own = policy_values(logs, policy, estimators=tuple(OBP), context=list("abc"), threshold=THRESHOLD, seed=seed)
        wide = design(logs, list("abc")).to_numpy()
        model = fit_additive(wide, action, logs["click"].to_numpy(dtype=float), k, seed=seed)
        given = {
            "reward": logs["click"].to_numpy(),
            "action": action,
            "pscore": logs["propensity_score"].to_numpy(),
            "action_dist": policy[:, :, None],
            "estimated_rewards_by_reg_model": model.of(slice(None))[:, :, None],
        }
        for name, (kind, settings) in OBP.items():
            value = getattr(theirs, kind)(**settings).estimate_policy_value(**given)
            apart[name].append(abs(value - own[name].value))
    claims = [
        claim(f"{name}: largest distance from obp", [max(found)], "at most 1e-9") for name, found in apart.items()
    ]
    return {"claims": claims, "tables": tables, "n": n, "k": k}


def _softmax(values):
    values = np.exp(values)
    return values / values.sum(axis=1, keepdims=True)


def _obp(folder):
    """obp's estimators alone: its own __init__ asks for packages that nothing here needs."""
    sys.path.insert(0, str(folder))
    for name in ("obp", "obp.ope"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return importlib.import_module("obp.ope.estimators")
