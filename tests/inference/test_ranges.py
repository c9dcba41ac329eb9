"""Ranges of effects: shares by counting members, values by the estimator, samples of large classes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery.stability import Stability
from causal_lib.graph import CausalGraph
from causal_lib.inference import best_treatments, effect, effect_range, members, ranges
from causal_lib.inference.effects import Effect
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
        frame,
        "t",
        "y",
        CausalGraph.from_edges("zty", ["z -> t", "t -- y", "z -- y"]),
        estimator="regression",
    )
    assert not found.decided
    assert found.low == 0
    none = found.table[found.table["why"] == "no effect"]
    assert none["value"].tolist() == [0.0]
    assert 0 < found.positive < 1


def test_several_graphs_count_the_same_and_what_is_hidden_is_refused(frame):
    direct = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"])
    chain = CausalGraph.from_edges("zty", ["z -> t", "t -> y"])
    found = effect_range(
        frame, "t", "y", [direct, direct, chain, chain.cpdag()], estimator="regression"
    )
    assert found.table["share"].sum() == pytest.approx(1)
    assert found.table.set_index("adjustment").loc[[("z",)], "share"].item() == pytest.approx(0.5)
    refused = effect_range(frame, "t", "y", [direct, chain], hidden=["z"], estimator="regression")
    assert refused.table.set_index("why").loc["not identifiable", "share"] == 0.5
    assert np.isnan(refused.table.set_index("why").loc["not identifiable", "value"])


def test_large_classes_are_sampled_evenly():
    names = [f"v{k}" for k in range(7)]
    complete = CausalGraph.from_edges(
        names, [f"{a} -- {b}" for a, b in itertools.combinations(names, 2)]
    )
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(500, 7)), columns=names).assign(
        v0=rng.integers(2, size=500)
    )
    found = effect_range(frame, "v0", "v1", complete, estimator="regression", limit=300)
    assert (found.graphs, found.exact) == (300, False)
    none = found.table.loc[found.table["why"] == "no effect", "share"].sum()
    assert none == pytest.approx(0.5, abs=0.15)  # v1 stands before v0 in half of the orders
    told = complete.extension().cpdag(Knowledge(required=[("v1", "v0")]))
    with pytest.raises(ValueError, match="with directions from knowledge it cannot be sampled"):
        effect_range(frame, "v0", "v1", told, limit=100)


def test_no_graph_is_refused(frame):
    with pytest.raises(ValueError, match="graph: a CausalGraph is needed, not 'z'"):
        effect_range(pd.DataFrame(), "t", "y", "z -> t")
    with pytest.raises(ValueError, match="graph: give at least one"):
        effect_range(frame, "t", "y", [])
    with pytest.raises(ValueError, match="stands for no class of DAGs"):
        effect_range(frame, "t", "y", CausalGraph.from_edges("ty", ["t <-> y"]))


def test_shares_of_signs_by_hand():
    table = pd.DataFrame(
        {"adjustment": [(), ("a",), None], "share": [0.5, 0.3, 0.2], "value": [1, -2, np.nan]}
    )
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
    return Stability(
        tuple(names), directed, np.zeros_like(directed), 1 - directed - directed.T, draws
    )


def test_members_weigh_as_often_as_their_directions_were_found(frame):
    # complete: six orders
    chain = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"]).cpdag()
    found = effect_range(
        frame,
        "t",
        "y",
        chain,
        directions=stability("zty", z_t=0.9, z_y=0.8, t_y=0.7),
        estimator="regression",
    )
    weights = {}
    for order in itertools.permutations("zty"):
        before = {pair: order.index(pair[0]) < order.index(pair[1]) for pair in ("zt", "zy", "ty")}
        shares = {"zt": 0.9, "zy": 0.8, "ty": 0.7}
        weights[order] = np.prod([shares[p] if before[p] else 1 - shares[p] for p in shares])
    total = sum(weights.values())
    none = sum(w for o, w in weights.items() if o.index("y") < o.index("t"))
    assert found.table.set_index("why").loc[["no effect"], "share"].item() == pytest.approx(
        none / total, abs=0.02
    )
    even = effect_range(
        frame,
        "t",
        "y",
        chain,
        directions=stability("zty", z_t=0.5, z_y=0.5, t_y=0.5),
        estimator="regression",
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
    # with z -> a the effect of a is .3, that of b is 1; with a -> z what z brings is part of a's:
    # more than b's
    found = best_treatments(frame, ["a", "b"], "y", graph, estimator="regression")
    assert found["chosen"].to_dict() == {"a": 0.5, "b": 0.5}
    assert found.loc["a", "low"] < found.loc["b", "low"] < found.loc["a", "high"]
    sure = best_treatments(
        frame,
        ["a", "b"],
        "y",
        graph,
        directions=stability("zaby", z_a=0.99),
        estimator="regression",
    )
    assert sure.index[0] == "b"
    assert sure.loc["b", "chosen"] == pytest.approx(0.985, abs=0.01)
    refused = best_treatments(frame, ["a", "b"], "y", graph, hidden=["z"], estimator="regression")
    assert refused.loc["a", "refused"] == 0.5
    with pytest.raises(ValueError, match="k must lie between 1 and 1"):
        best_treatments(frame, ["a", "b"], "y", graph, 2)


CHAIN = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"]).cpdag()


def test_weights_of_directions_by_hand(frame):
    """Of unlike shares, of names in another order, with half a draw added to both ways; 100 draws
    where none are told.
    """
    given = stability("ytz", draws=10, z_t=0.9, z_y=0.8, t_y=0.3)
    for draws in (10, None):
        told = given if draws else SimpleNamespace(names=given.names, directed=given.directed)
        found = effect_range(frame, "t", "y", CHAIN, directions=told, estimator="regression")
        extra = 0.5 / (draws or 100)
        weights = {}
        for order in itertools.permutations("zty"):
            chance = 1.0
            for pair, share in {"zt": 0.9, "zy": 0.8, "ty": 0.3}.items():
                own = share if order.index(pair[0]) < order.index(pair[1]) else 1 - share
                chance *= (own + extra) / (1 + 2 * extra)
            late = order.index("y") < order.index("t")
            answer = None if late else ("z",) if order.index("z") < order.index("t") else ()
            weights[answer] = weights.get(answer, 0) + chance
        total = sum(weights.values())
        assert dict(
            zip(found.table["adjustment"], found.table["share"], strict=True)
        ) == pytest.approx({answer: chance / total for answer, chance in weights.items()})
        assert found.table["share"].tolist() == sorted(found.table["share"], reverse=True)
    # What the class directs by itself is no matter of the draws.
    collider = CausalGraph.from_edges("ztyw", ["z -> y", "t -> y", "w -- t"])
    told = effect_range(
        frame,
        "t",
        "w",
        collider,
        directions=stability("ztyw", z_y=0.01, t_y=0.9, w_t=0.5),
        estimator="difference",
    )
    assert told.table["share"].tolist() == [0.5, 0.5]


def test_several_graphs_weigh_the_same_however_many_members_they_have(frame):
    single = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"])
    found = effect_range(frame, "t", "y", [CHAIN, single], estimator="regression")
    table = found.table.set_index("adjustment")["share"]
    assert (found.graphs, found.exact) == (7, True)
    assert table.to_dict() == pytest.approx(
        {("z",): 0.5 + 0.5 / 6, (): 0.5 * 2 / 6, None: 0.5 * 3 / 6}
    )


def test_options_reach_the_estimator(frame, monkeypatch):
    seen = []

    def fake(frame, treatment, outcome, *, adjustment, estimator, **how):
        seen.append((treatment, adjustment, estimator, how))
        return Effect(treatment, outcome, estimator, adjustment, 1.0, 0.25, 1.0)

    monkeypatch.setattr(ranges, "effect", fake)
    found = effect_range(frame, "t", "y", CHAIN, cluster="w", seed=3)
    best_treatments(frame, ["t", "z"], "y", CHAIN, estimator="ipw", cluster="w")
    how = {"cluster": "w", "seed": 3}
    assert seen[:2] == [("t", (), None, how), ("t", ("z",), None, how)]
    assert {one[2] for one in seen[2:]} == {"ipw"}
    assert len(seen) == 6  # each answer of each treatment once
    table = found.table.set_index("why")
    assert table.loc["back-door", "low"].tolist() == pytest.approx([1 - 1.959964 * 0.25] * 2)
    assert table.loc["back-door", "high"].tolist() == pytest.approx([1 + 1.959964 * 0.25] * 2)
    assert table.loc["no effect", ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert found.positive == pytest.approx(0.5)
    assert found.negative == 0


def test_the_size_of_a_class_that_is_looked_at_whole(frame):
    assert effect_range(frame, "t", "y", CHAIN, estimator="regression", limit=6).exact
    sample = effect_range(frame, "t", "y", CHAIN, estimator="regression", limit=5)
    assert (sample.graphs, sample.exact) == (5, False)
    both = effect_range(
        frame, "t", "y", [CHAIN, CHAIN.extension()], estimator="regression", limit=5
    )
    assert (both.graphs, both.exact) == (6, False)
    both = effect_range(
        frame, "t", "y", [CHAIN.extension(), CHAIN], estimator="regression", limit=5
    )
    assert (both.graphs, both.exact) == (6, False)


def test_choices_of_the_best_by_hand(monkeypatch):
    """Values by treatment, without and with z among the adjustment; the largest two of three, none
    that is refused.
    """
    values = {"a": (1.0, 5.0), "b": (2.0, 2.0), "c": (3.0, 3.0)}
    monkeypatch.setattr(
        ranges,
        "effect",
        lambda frame, t, y, *, adjustment, **how: Effect(
            t, y, "x", (), values[t]["z" in adjustment], 0.1, 1.0
        ),
    )
    frame = pd.DataFrame({name: [0.0] for name in "zabcy"})
    graph = CausalGraph.from_edges("zabcy", ["z -- a", "z -> y", "a -> y", "b -> y", "c -> y"])
    weigh = {"directions": stability("zabcy", draws=10**9, z_a=0.75)}
    found = best_treatments(frame, ["a", "b", "c"], "y", graph, 2, **weigh)
    assert found.index.tolist() == ["c", "a", "b"]
    assert found.index.name == "treatment"
    assert found["chosen"].tolist() == pytest.approx([1.0, 0.75, 0.25])
    assert found.loc["a", ["low", "high", "refused"]].tolist() == pytest.approx([1.0, 5.0, 0.0])
    one = best_treatments(frame, ["a", "b", "c"], "y", graph, **weigh)
    assert one["chosen"].to_dict() == pytest.approx({"a": 0.75, "c": 0.25, "b": 0.0})
    refused = best_treatments(frame, ["a", "b", "c"], "y", graph, 2, hidden=["z"], **weigh)
    assert refused.loc["a", ["refused", "chosen", "low", "high"]].tolist() == pytest.approx(
        [0.75, 0, 1.0, 1.0]
    )
    assert refused.loc[["b", "c"], "chosen"].tolist() == pytest.approx([1.0, 1.0])
    never = CausalGraph.from_edges("zabcy", ["z -> a", "z -> y", "a -> y", "b -> y", "c -> y"])
    all_of_it = best_treatments(frame, ["a", "c"], "y", never, hidden=["z"]).loc["a"]
    assert np.isnan(all_of_it["low"])
    assert (all_of_it["refused"], all_of_it["chosen"]) == (1, 0)
    for k in (0, 3):
        with pytest.raises(
            ValueError, match=f"k must lie between 1 and 2, one less than the treatments, not {k}"
        ):
            best_treatments(frame, ["a", "b", "c"], "y", graph, k)


def test_shares_of_signs_and_words():
    table = pd.DataFrame(
        {"adjustment": [("a",), ("b",), ()], "share": [0.5, 0.25, 0.25], "why": "back-door"}
    ).assign(verdict="supported")
    table = table.assign(value=[-1.0, 2.0, 0.5], low=[-2.0, 1.0, 0.0], high=[0.0, 3.0, 1.0])
    found = EffectRange("t", "y", table, 1, False)
    # an end at 0 is no sign
    assert (found.positive, found.negative, found.decided) == (0.25, 0.0, False)
    assert repr(found) == (
        "effect of t on y over 1 graph (a sample): -1.0000 to 2.0000; above 0 in 25%, below 0 in "
        "0% of them"
    )
    below = EffectRange("t", "y", table.assign(high=-0.1, low=-3.0), 3, True)
    assert (below.positive, below.negative, below.decided) == (0.0, 1.0, True)
    assert "over 3 graphs: " in repr(below)
    weak = table.assign(verdict=["weak", "extrapolated", "weak"])
    assert repr(EffectRange("t", "y", weak, 1, True)).endswith("; weak in 75%; extrapolated in 25%")


def test_a_member_without_adjustment_is_estimated_without_columns():
    """By the estimator that the named one becomes; by default the one that fits the treatment."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=400)
    t = z + rng.normal(size=400)
    frame = pd.DataFrame({"z": z, "t": t, "y": t + 2 * z + rng.normal(size=400)})
    for estimator in (None, "linear_dml", "causal_forest"):
        how = {"estimator": estimator, "learners": "linear"}
        found = effect_range(frame, "t", "y", CHAIN, **how).table
        values = found.set_index("adjustment")["value"]
        whole = effect(frame, "t", "y", adjustment=[], estimator="regression")
        assert values.loc[[()]].item() == whole.value
        within = effect(frame, "t", "y", adjustment=["z"], **how)
        assert values.loc[[("z",)]].item() == within.value
    binary = frame.assign(t=np.where(t > 0, "yes", "no"))
    how = {"contrast": ("no", "yes"), "learners": "linear"}
    found = effect_range(binary, "t", "y", CHAIN, estimator="dr_learner", **how).table
    whole = effect(binary, "t", "y", adjustment=[], **how)
    assert found.set_index("adjustment").loc[[()], "value"].item() == whole.value
    best = best_treatments(frame, ["t", "z"], "y", CHAIN, learners="linear")
    assert best["verdict"].tolist() == ["supported", "supported"]


def test_verdicts_of_the_members_are_told():
    """Nobody of the upper half of z is treated: given z, a model speaks for them."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=600)
    t = ((rng.random(600) < 0.5) & (z < 0)).astype(int)
    frame = pd.DataFrame({"z": z, "t": t, "y": t + z + rng.normal(size=600)})
    found = effect_range(frame, "t", "y", CHAIN, estimator="regression")
    verdicts = found.table.set_index("adjustment")["verdict"]
    assert verdicts.loc[[("z",)]].item() == "extrapolated"
    assert verdicts.loc[[()]].item() == "supported"
    assert found.table.loc[found.table["why"] == "no effect", "verdict"].item() == ""
    assert repr(found).endswith("; extrapolated in 17%")  # one of six orders
    graph = CausalGraph.from_edges("zty", ["z -> t", "z -> y", "t -> y"])
    best = best_treatments(frame, ["t", "z"], "y", [CHAIN, graph], estimator="regression")
    assert best.loc["t", "verdict"] == "extrapolated"
