"""Settings and worlds that several tests share."""

import os

os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from hypothesis import settings

from causal_lib.data.worlds import shop

# Derandomised, so that a red run is red again; no deadline, since the machine may be busy.
settings.register_profile("house", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("house")


@pytest.fixture(scope="session")
def world():
    """A small shop, about 16,000 candidates."""
    return shop(n_users=500, n_items=100, days=7, seed=1)


@pytest.fixture(scope="session")
def log(world):
    return world.log()
