"""Benchmark of the simulated worlds."""

from causal_lib.experiments.bench import benchmark, compare


@benchmark(
    "worlds.shop",
    peer="numpy: only the random numbers that a log of as many candidates needs, held in memory",
)
def shop(
    *,
    n_users: int = 27_000,
    n_items: int = 1_000,
    days: int = 30,
    drawn: int = 3_240_000,
    pairs: int = 3,
) -> dict:
    """1 million impressions of worlds.shop."""
    sizes = {"n_users": n_users, "n_items": n_items, "days": days}
    return compare(
        "shop_log.impressions", "shop_log.random_numbers", sizes, {"drawn": drawn}, pairs=pairs
    )
