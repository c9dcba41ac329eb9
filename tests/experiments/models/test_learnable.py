"""What the recommenders of the learnable shop learn from, by hand."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.models import learnable as study
from causal_lib.models.interactions import clicks_of
from causal_lib.worlds.online_shop import ATTENTION, shop


def test_pairs_that_were_shown_by_hand():
    """A pair shown twice and once not, one shown once, one never."""
    log = pd.DataFrame(
        {
            "user_id": [0, 0, 0, 0, 1],
            "item_id": [5, 5, 5, 6, 5],
            "exposed": [1, 0, 1, 1, 0],
            "position": pd.array([1, None, 4, 2, None], dtype="Int64"),
            "clicked": [1, 0, 0, 0, 0],
            "propensity": [0.5, 0.2, 0.4, 0.3, 0.9],
        }
    )
    found = study.shown_pairs(log)
    assert found[["user_id", "item_id"]].to_numpy().tolist() == [[0, 5], [0, 6]]
    looks = 1 + 4**ATTENTION
    assert found["clicked"].tolist() == [0.5, 0.0]
    assert found["looks"].tolist() == pytest.approx([looks, 2**ATTENTION])
    assert found["rating"].tolist() == pytest.approx([1 / looks, 0.0])
    assert found["propensity"].tolist() == pytest.approx([1 - 0.5 * 0.8 * 0.6, 0.3])


def test_clicks_per_look_are_the_chance_of_a_click_at_the_top_and_clicks_per_time_shown_are_not():
    world = shop(300, 40, 30, seed=3, taste="learnable")
    pairs = study.shown_pairs(world.candidates)
    top = world.potential_outcomes(pairs["user_id"].to_numpy(), pairs["item_id"].to_numpy())
    true = top["click_if_exposed"].to_numpy()
    looks = pairs["looks"].to_numpy()
    gap = looks * (pairs["rating"].to_numpy() - true)
    error = gap.std() / np.sqrt(len(gap))
    assert abs(gap.mean()) < 4 * error
    plain = looks * (pairs["clicked"].to_numpy() - true)
    assert plain.mean() < -10 * error


def test_every_method_ranks_for_everybody():
    size = {"n_users": 80, "n_items": 40, "days": 20}
    rows = pd.DataFrame(study._run("learnable", 0, size, 1))
    assert rows["method"].tolist() == list(study.METHODS)
    assert rows[["truth", "naive"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    assert rows.loc[rows["method"] == "popular", "taste"].tolist() == [0.0]


def test_weights_of_clicks_by_hand():
    world = shop(60, 40, 10, seed=1)
    train, _, _, _ = clicks_of(world)
    chances = study._chance_of_clicks(world.candidates, train)
    c = world.candidates[world.candidates["clicked"] == 1]
    first = c[(c["user_id"] == train.users[0]) & (c["item_id"] == train.items[0])]
    weight = 1 / (first["propensity"] * first["position"].astype(float) ** ATTENTION)
    assert chances[0] == pytest.approx(1 / weight.sum())
