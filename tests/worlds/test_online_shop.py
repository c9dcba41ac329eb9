"""The shop's truth against what it realised; bounds are 4 standard errors of the simulated means."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_frame
from causal_lib.data import schema
from causal_lib.worlds.online_shop import _distinct, shop


def _close(draws, probabilities):
    draws, probabilities = np.asarray(draws, dtype=float), np.asarray(probabilities, dtype=float)
    error = np.sqrt((probabilities * (1 - probabilities)).sum()) / len(draws)
    assert abs(draws.mean() - probabilities.mean()) < 4 * error


def _digest(world):
    frames = (world.users, world.items, world.candidates, world.truth)
    return [pd.util.hash_pandas_object(f, index=False).sum() for f in frames]


def test_same_seed_same_bytes():
    small = {"n_users": 60, "n_items": 20, "days": 3}
    assert _digest(shop(**small, seed=5)) == _digest(shop(**small, seed=5))
    assert all(a != b for a, b in zip(_digest(shop(**small, seed=5)), _digest(shop(**small, seed=6)), strict=True))


def test_rows_are_distinct_candidates(world):
    check_frame(world.candidates, key=schema.KEY)
    visits = world.candidates.groupby(["user_id", "day"]).size()
    assert (visits == 10).all()


def test_exposure_follows_its_propensity(world):
    c = world.candidates
    _close(c["exposed"], c["propensity"])
    for _, part in c.groupby(pd.qcut(c["propensity"], 5)):
        _close(part["exposed"], part["propensity"])
    assert c["propensity"].between(0.03, 0.95).all()


def test_propensity_depends_on_the_graphs_parents_only(world, log):
    parents = log[["activity", "popularity"]].assign(in_stock=log["stock"] > 0)
    assert world.graph.parents("exposed") == {"activity", "popularity", "stock"}
    spread = log["propensity"].groupby([parents[c] for c in parents]).agg(["min", "max"])
    assert (spread["min"] == spread["max"]).all()


def test_realised_outcomes_follow_the_potential_ones(world):
    c, t = world.candidates, world.truth
    shown = c["exposed"] == 1
    _close(c["purchased"][shown], t["purchase_if_exposed"][shown])
    _close(c["purchased"][~shown], t["purchase_if_not"][~shown])
    _close(c["clicked"][shown], t["click_if_exposed"][shown])
    assert not c["clicked"][~shown].any()
    assert c["position"][~shown].isna().all()
    assert (c["position"][shown] == t["position_if_exposed"][shown]).all()


def test_positions_of_a_visit_are_one_to_the_number_shown(world):
    shown = world.impressions
    ranks = shown.groupby(["user_id", "day"])["position"].agg(["min", "max", "nunique", "size"])
    assert (ranks["min"] == 1).all()
    assert (ranks["max"] == ranks["size"]).all()
    assert (ranks["nunique"] == ranks["size"]).all()


def test_weighting_by_the_logged_propensity_gives_the_true_effect_and_the_naive_difference_does_not(world):
    c = world.candidates
    weight = np.where(c["exposed"] == 1, 1 / c["propensity"], -1 / (1 - c["propensity"]))
    score = weight * c["purchased"]
    error = score.std() / np.sqrt(len(score))
    assert abs(score.mean() - world.ate) < 4 * error
    naive = c.groupby("exposed")["purchased"].mean()
    assert naive[1] - naive[0] - world.ate > 4 * error


def test_potential_outcomes_of_pairs_agree_with_the_rows(world):
    first = world.truth["position_if_exposed"] == 1
    rows = world.candidates[first]
    pairs = world.potential_outcomes(rows["user_id"].to_numpy(), rows["item_id"].to_numpy())
    for column in ("click_if_exposed", "purchase_if_exposed", "purchase_if_not", "uplift"):
        np.testing.assert_allclose(pairs[column], world.truth.loc[first, column], rtol=1e-12)
    grid = world.potential_outcomes(np.arange(3)[:, None], np.arange(4)[None, :])
    assert grid["user_id"].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_out_of_stock_is_never_bought(world, log):
    assert (world.items["stock"] == 0).any()
    assert not log.loc[log["stock"] == 0, "purchased"].any()


def test_ratings_are_missing_not_at_random(world):
    c, t = world.candidates, world.truth
    bought = c["purchased"] == 1
    _close(c["rating"][bought].notna(), t["rating_propensity"][bought])
    assert c["rating"][~bought].isna().all()
    given = c["rating"].dropna().astype(float).mean()
    weights = 1 / t.loc[c["rating"].notna(), "rating_propensity"]
    weighted = np.average(c["rating"].dropna().astype(float), weights=weights)
    held = t.loc[bought, "opinion"].mean()
    assert abs(weighted - held) < abs(given - held)


def test_raw_has_the_announced_dirt(world, log):
    raw = world.raw(duplicates=0.02, missing=0.1)
    assert len(raw) == len(log) + int(0.02 * len(log))
    assert raw.duplicated().sum() == int(0.02 * len(log))
    for column in ("age_band", "price", "stock", "price_sensitivity"):
        _close(raw[column].isna(), np.full(len(raw), 0.1))
    assert raw["day"].is_monotonic_increasing
    assert world.log()["price"].notna().all()
    holes = raw["price_sensitivity"].isna()
    assert raw["activity"][holes].mean() < raw["activity"][~holes].mean()


def test_tables_hold_the_log(world):
    tables, c = world.tables(), world.candidates
    assert len(tables["impressions"]) == c["exposed"].sum()
    assert len(tables["purchases"]) == c["purchased"].sum()
    assert len(tables["ratings"]) == c["rating"].notna().sum()
    for name in ("impressions", "purchases", "ratings"):
        check_frame(tables[name], key=schema.KEY, name=name)


def test_graph_and_knowledge_agree(world):
    assert world.knowledge.violations(world.graph) == []


def test_floyd_draws_every_subset_equally_often():
    draws = np.sort(_distinct(60_000, 5, 3, np.random.default_rng(0)), axis=1)
    counts = pd.Series(map(tuple, draws.tolist())).value_counts()
    assert len(counts) == 10  # 5 choose 3
    assert abs(counts - 6000).max() < 4 * np.sqrt(6000 * 0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 0}, "n_users must be at least 1"),
        ({"n_items": 5}, "n_items must be at least 10"),
        ({"days": 0}, "days must be at least 1"),
        ({"n_items": 200, "slate": 101}, "slate must be at most 100"),
    ],
)
def test_sizes_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        shop(**arguments)


def test_unknown_pairs(world):
    with pytest.raises(ValueError, match=r"item_id: 1 ids outside 0\.\.99"):
        world.potential_outcomes(0, 100)
