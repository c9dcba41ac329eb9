"""A small log with every kind of column, and the roles of its columns."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.studies import Roles

ROLES = {
    "treatment": "shown",
    "outcome": "bought",
    "unit": "user",
    "item": "item",
    "time": "time",
    "before": [["age", "device", "joined"], ["cost"]],
    "after": ["clicked"],
}


def make_log(n=600, seed=0, effect=0.3):
    """``n`` rows of text ids, times with a zone, missing values; the true effect is ``effect``."""
    rng = np.random.default_rng(seed)
    users = n // 4
    user = rng.permutation(np.arange(n) % users)
    age = np.round(rng.normal(40, 10, users)[user], 1)
    device = np.array(["phone", "tablet", "desk"])[rng.integers(0, 3, users)[user]]
    cost = np.round(np.exp(rng.normal(3, 0.5, n)), 2)
    z = (age - 40) / 10
    shown = rng.random(n) < 1 / (1 + np.exp(-z))
    clicked = shown & (rng.random(n) < 0.3)
    bought = rng.random(n) < np.clip(0.3 + 0.1 * z + effect * shown, 0, 1)
    day = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.arange(n), unit="h")
    return pd.DataFrame(
        {
            "user": [f"u{one}" for one in user],
            "item": [f"i{one}" for one in rng.integers(0, 30, n)],
            "time": [f"{one:%Y-%m-%dT%H:%M:%S}+08:00" for one in day],
            "age": pd.Series(age).mask(rng.random(n) < 0.05),
            "device": pd.Series(device, dtype=object).mask(rng.random(n) < 0.05),
            "joined": [f"2023-0{1 + one % 9}-11" for one in user],
            "cost": cost,
            "shown": shown.astype(int),
            "clicked": clicked.astype(int),
            "bought": bought.astype(int),
        }
    )


@pytest.fixture(scope="session")
def own_log():
    return make_log()


@pytest.fixture(scope="session")
def roles():
    return Roles.from_dict(ROLES)
