"""Writes ``data/sample``: a small log of the simulated shop as it would leave a platform.

``python -m causal_lib.experiments.study.sample`` makes the same files again.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.studies.roles import Roles
from causal_lib.worlds import shop

FOLDER = paths.DATA / "sample"
ROWS = 5_000
ROLES = Roles(
    treatment="shown",
    outcome="purchased",
    unit="user",
    item="item",
    time="time",
    before=(
        ("age_band", "city_tier", "activity", "price_sensitivity"),
        ("category", "quality", "price", "popularity", "stock"),
    ),
    after=("clicked", "rating"),
    position="position",
)


def sample(seed: int = 18) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The log with text ids, times with a zone, missing values and repeated rows; and its truth,
    one row for each user, item and time: the true effect of showing and the true propensity.
    """
    world = shop(n_users=700, n_items=60, days=3, seed=seed, slate=6)
    frame = world.raw(seed=seed)
    keys = world.log()[["user_id", "item_id", "day"]]
    truth = keys.assign(
        uplift=world.truth["uplift"].round(5), propensity=world.frame["propensity"].round(5)
    )
    users = pd.unique(frame["user_id"])
    sizes = frame.groupby("user_id", sort=False).size()
    kept = users[np.cumsum(sizes.loc[users].to_numpy()) <= ROWS]
    return _as_logged(frame[frame["user_id"].isin(kept)]), _named(
        truth[truth["user_id"].isin(kept)]
    )


def _as_logged(frame):
    named = _named(frame).rename(columns={"exposed": "shown"})
    columns = ["user", "item", "time", *ROLES.columns_before, "shown"]
    named = named[[*columns, "position", "clicked", "purchased", "rating"]]
    numbers = ["activity", "price_sensitivity", "price", "quality", "popularity"]
    return named.round(dict.fromkeys(numbers, 3)).reset_index(drop=True)


def _named(frame):
    day = pd.Timestamp("2024-03-01", tz="Asia/Shanghai")
    times = [f"{day + pd.Timedelta(days=int(one)):%Y-%m-%dT%H:%M:%S}+08:00" for one in frame["day"]]
    return frame.assign(
        user=[f"u{int(one):04d}" for one in frame["user_id"]],
        item=[f"i{int(one):03d}" for one in frame["item_id"]],
        time=times,
    ).drop(columns=["user_id", "item_id", "day"])


def write(folder: Path = FOLDER) -> Path:
    """Write log, roles and truth into ``folder``."""
    log, truth = sample()
    paths.write_text(folder / "own_log.csv", log.to_csv(index=False))
    paths.write_text(folder / "own_log_truth.csv", truth.to_csv(index=False))
    ROLES.write(
        folder / "own_log_roles.toml", ["Roles of own_log.csv, a log of the simulated shop."]
    )
    return folder


if __name__ == "__main__":
    print(write())
