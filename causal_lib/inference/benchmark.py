"""How long valuing a policy takes, and in how much memory."""

import resource
import time

import numpy as np
import pandas as pd

from causal_lib.bench import claim
from causal_lib.inference.off_policy import ESTIMATORS, policy_values


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
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
