"""The two sides of the benchmark worlds.shop."""

from collections.abc import Callable


def impressions(n_users: int, n_items: int, days: int) -> Callable[[], dict]:
    """The simulated shop of these sizes."""
    from causal_lib.worlds.online_shop import shop

    return lambda: {
        "rows": len(shop(n_users=n_users, n_items=n_items, days=days, seed=0).impressions)
    }


def random_numbers(drawn: int) -> Callable[[], dict]:
    """The random numbers of a log with ``drawn`` candidates, of which a third are exposed."""
    import numpy as np

    def draw():
        rng = np.random.default_rng(0)
        # exposed, clicked, bought without a click, bought after a click, rated
        columns = [rng.random(drawn) for _ in range(5)]
        columns += [rng.gumbel(size=drawn), rng.standard_normal(drawn)]
        columns.append(rng.integers(1_000, size=drawn, dtype=np.int32))
        return {"rows": len(columns[0])}

    return draw
