"""Ranges of effects: shares by counting members, values by the estimator, samples of large classes."""

import itertools

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery.stability import Stability
from causal_lib.graph import CausalGraph
from causal_lib.inference import best_treatments, effect, effect_range, members
from causal_lib.inference.ranges import EffectRange
from causal_lib.knowledge import Knowledge


@pytest.fixture(scope="module")
def frame():
    """z -> t, z -> y, t -> y and w -> y: the effect of t is 1, the difference of means is larger."""
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(2, 3000))
    t = (rng.random(3000) < 1 / (1 + np.exp(-z))).astype(int)
    return pd.DataFrame({"z": z, "w": w, "t": t, "y": t + 2 * z + w + rng.normal(size=3000)})


def test_shares_and_values_are_those_of_the_members(frame):
    truth = CausalGraph.from_edges("zwty", ["z -> t", "z -> y", "t -> y", "w -> y"])
    found = effect_range(frame, "t", "y", truth.cpdag(), estimator="regression")
    dags = list(members(truth.cpdag()))
    assert found.graphs == len(dags) == 2
    assert found.exact
    table = found.table.set_index("adjustment")
    assert table["share"].to_dict() == {("z", "w"): 0.5, ("w",): 0.5}
    for adjustment in table.index:
        one = effect(frame, "t", "y", adjustment=adjustment, estimator="regression")
        assert table["value"].loc[[adjustment]].item() == one.value
    assert found.low == pytest.approx(1, abs=0.15)
    assert found.high > 2
    assert found.decided
    assert "over 2 graphs" in repr(found)
    assert "above 0 in 100%" in repr(found)


def test_a_sign_may_depend_on_the_graph(frame):
    found = effect_range(
        frame, "t", "y", CausalGraph.from_edges("zty", ["z -> t", "t -- y", "z -- y"]), estimator="regression"
    )
    assert not found.decided
    assert found.low == 0
    none = found.table[found.table["why"] == "no effect"]
    assert none["value"].tolist() == [0.0]
    assert 0 < found.positive < 1


def test_several_graphs_count_the_same_and_what_is_hidden_is_refused(frame):
    direct = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"])
    chain = CausalGraph.from_edges("zty", ["z -> t", "t -> y"])
    found = effect_range(frame, "t", "y", [direct, direct, chain, chain.cpdag()], estimator="regression")
    assert found.table["share"].sum() == pytest.approx(1)
    assert found.table.set_index("adjustment").loc[[("z",)], "share"].item() == pytest.approx(0.5)
    refused = effect_range(frame, "t", "y", [direct, chain], hidden=["z"], estimator="regression")
    assert refused.table.set_index("why").loc["not identifiable", "share"] == 0.5
    assert np.isnan(refused.table.set_index("why").loc["not identifiable", "value"])


def test_large_classes_are_sampled_evenly():
    names = [f"v{k}" for k in range(7)]
    complete = CausalGraph.from_edges(names, [f"{a} -- {b}" for a, b in itertools.combinations(names, 2)])
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(500, 7)), columns=names).assign(v0=rng.integers(2, size=500))
    found = effect_range(frame, "v0", "v1", complete, estimator="regression", limit=300)
    assert (found.graphs, found.exact) == (300, False)
    none = found.table.loc[found.table["why"] == "no effect", "share"].sum()
    assert none == pytest.approx(0.5, abs=0.15)  # v1 stands before v0 in half of the orders
    told = complete.extension().cpdag(Knowledge(required=[("v1", "v0")]))
    with pytest.raises(ValueError, match="with directions from knowledge it cannot be sampled"):
        effect_range(frame, "v0", "v1", told, limit=100)


def test_no_graph_is_refused(frame):
    with pytest.raises(ValueError, match="graph: give at least one"):
        effect_range(frame, "t", "y", [])
    with pytest.raises(ValueError, match="stands for no class of DAGs"):
        effect_range(frame, "t", "y", CausalGraph.from_edges("ty", ["t <-> y"]))


def test_shares_of_signs_by_hand():
    table = pd.DataFrame({"adjustment": [(), ("a",), None], "share": [0.5, 0.3, 0.2], "value": [1, -2, np.nan]})
    table = table.assign(low=table["value"] - 0.5, high=table["value"] + 0.5, why="")
    found = EffectRange("t", "y", table, 10, True)
    assert (found.low, found.high, found.positive, found.negative) == (-2, 1, 0.5, 0.3)
    assert not found.decided


def stability(names, draws=100, **shares):
    """Of `a_b=.9`: a → b in nine draws of ten, b → a in the tenth."""
    directed = np.zeros((len(names), len(names)))
    for pair, share in shares.items():
        i, j = (names.index(name) for name in pair.split("_"))
        directed[i, j], directed[j, i] = share, 1 - share
    return Stability(tuple(names), directed, np.zeros_like(directed), 1 - directed - directed.T, draws)


def test_members_weigh_as_often_as_their_directions_were_found(frame):
    chain = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"]).cpdag()  # complete: six orders
    found = effect_range(
        frame, "t", "y", chain, directions=stability("zty", z_t=0.9, z_y=0.8, t_y=0.7), estimator="regression"
    )
    weights = {}
    for order in itertools.permutations("zty"):
        before = {pair: order.index(pair[0]) < order.index(pair[1]) for pair in ("zt", "zy", "ty")}
        shares = {"zt": 0.9, "zy": 0.8, "ty": 0.7}
        weights[order] = np.prod([shares[p] if before[p] else 1 - shares[p] for p in shares])
    total, none = sum(weights.values()), sum(w for o, w in weights.items() if o.index("y") < o.index("t"))
    assert found.table.set_index("why").loc[["no effect"], "share"].item() == pytest.approx(none / total, abs=0.02)
    even = effect_range(
        frame, "t", "y", chain, directions=stability("zty", z_t=0.5, z_y=0.5, t_y=0.5), estimator="regression"
    )
    plain = effect_range(frame, "t", "y", chain, estimator="regression")
    pd.testing.assert_frame_equal(even.table, plain.table)
    with pytest.raises(ValueError, match="directions lack y"):
        effect_range(frame, "t", "y", chain, directions=stability("zt", z_t=0.9))


def test_the_best_treatment_may_depend_on_the_graph():
    rng = np.random.default_rng(1)
    z = rng.normal(size=4000)
    a, b = ((rng.random(4000) < 1 / (1 + np.exp(-shift * z))).astype(int) for shift in (2, 0))
    frame = pd.DataFrame({"z": z, "a": a, "b": b, "y": 0.3 * a + b + 2 * z + rng.normal(size=4000)})
    graph = CausalGraph.from_edges("zaby", ["z -- a", "z -> y", "a -> y", "b -> y"])
    # with z -> a the effect of a is .3, that of b is 1; with a -> z what z brings is part of a's: more than b's
    found = best_treatments(frame, ["a", "b"], "y", graph, estimator="regression")
    assert found["chosen"].to_dict() == {"a": 0.5, "b": 0.5}
    assert found.loc["a", "low"] < found.loc["b", "low"] < found.loc["a", "high"]
    sure = best_treatments(
        frame, ["a", "b"], "y", graph, directions=stability("zaby", z_a=0.99), estimator="regression"
    )
    assert sure.index[0] == "b"
    assert sure.loc["b", "chosen"] == pytest.approx(0.985, abs=0.01)
    refused = best_treatments(frame, ["a", "b"], "y", graph, hidden=["z"], estimator="regression")
    assert refused.loc["a", "refused"] == 0.5
    with pytest.raises(ValueError, match="k must lie between 1 and 1"):
        best_treatments(frame, ["a", "b"], "y", graph, 2)
