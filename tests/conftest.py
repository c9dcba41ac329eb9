"""Settings and worlds that several tests share."""

import os

os.environ.setdefault("MPLBACKEND", "agg")
os.environ["TQDM_DISABLE"] = "1"  # a bar appears after some seconds, so only on a busy machine: see causal_lib.progress

import pytest
from hypothesis import HealthCheck, settings

from causal_lib import progress
from causal_lib.worlds.online_shop import shop

# Derandomised, so that a red run is red again. Neither a deadline nor a check of how long drawing takes: the machine may be busy.
settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.fixture
def bars_at_once(monkeypatch):
    """A bar that is not hidden appears with the first step, not after seconds: who is silent now is so on a busy machine, too."""
    shown = progress.tqdm
    monkeypatch.setattr(progress, "tqdm", lambda *given, **options: shown(*given, **options | {"delay": 0}))


@pytest.fixture(scope="session")
def world():
    """A small shop, about 16,000 candidates."""
    return shop(n_users=500, n_items=100, days=7, seed=1)


@pytest.fixture(scope="session")
def log(world):
    return world.log()
