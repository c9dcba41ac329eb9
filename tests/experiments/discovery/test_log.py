"""The log of a shop in one stage and in two: what is fixed, and what the rows say."""

import numpy as np
import pytest

from causal_lib.data import schema
from causal_lib.discovery.distances import compare_graphs
from causal_lib.discovery.search import discover
from causal_lib.experiments.discovery import log as benchmark
from causal_lib.worlds import shop


@pytest.fixture(scope="module")
def report():
    return benchmark.stages(worlds=2, n_users=200, n_items=50, days=7)


def test_attributes_of_users_and_items_come_from_their_own_tables():
    world = shop(200, 50, 7, 0)
    found = benchmark.attributes(world, "order")
    for table, names in (
        (world.users, schema.USER_ATTRIBUTES),
        (world.items, schema.ITEM_ATTRIBUTES),
    ):
        assert found.subgraph(names) == discover(table[names])
    users = [found.index(name) for name in schema.USER_ATTRIBUTES]
    items = [found.index(name) for name in schema.ITEM_ATTRIBUTES]
    assert not found.skeleton[np.ix_(users, items)].any()


def test_rows_hold_each_stage_of_each_method_and_world(report):
    rows = {(one["setting"], one["world"], one["method"]) for one in report["rows"]}
    stages = ("no knowledge", "tiers", "two stages")
    assert rows == {(s, w, m) for s in stages for w in (0, 1) for m in ("order", "pc")}


def test_scores_are_those_of_the_log_searched_by_hand(report):
    world = shop(200, 50, 7, 0)
    columns = list(benchmark.COLUMNS)
    tiers = world.knowledge.restrict(columns)
    truth = world.graph.subgraph([*columns, "position"]).latent_projection({"position"})
    found = discover(world.log()[columns], knowledge=tiers)
    scores = compare_graphs(found, truth.cpdag(tiers))
    row = next(
        one
        for one in report["rows"]
        if (one["setting"], one["world"], one["method"]) == ("tiers", 0, "order")
    )
    assert row["shd"] == scores["shd"]
    assert row["aid"] == pytest.approx(scores["aid"], abs=1e-6)
