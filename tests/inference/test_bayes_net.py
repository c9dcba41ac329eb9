"""Causal Bayesian networks against the truncated factorisation summed by hand, and against the
world's truth.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference.bayes_net import CausalNetwork, cut
from causal_lib.worlds.random_models import random_dag


def by_hand(net, outcome, do, given):
    """The truncated factorisation, all assignments summed."""
    names = net.graph.names
    sizes = [len(net.levels[name]) for name in net.graph.names]
    found = np.zeros(len(net.levels[outcome]))
    for values in itertools.product(*map(range, sizes)):
        row = dict(zip(names, values, strict=True))
        if any(row[k] != v for k, v in (do | given).items()):
            continue
        chance = 1.0
        for name in names:
            if name not in do:
                cpt = net.nets[0].cpt(name)
                chance *= cpt[{other: row[other] for other in cpt.names}]
        found[row[outcome]] += chance
    return found / found.sum()


@pytest.mark.parametrize("seed", range(5))
def test_queries_are_the_truncated_factorisation(seed):
    rng = np.random.default_rng(seed)
    graph = random_dag(5, degree=1.0, seed=rng)
    frame = pd.DataFrame(
        {name: rng.integers(2 + k % 2, size=400) for k, name in enumerate(graph.names)}
    )
    net = CausalNetwork.fit(frame, graph, n_boot=0)
    for outcome in graph.names:
        others = [name for name in graph.names if name != outcome]
        cause, seen = rng.choice(others, size=2, replace=False)
        do = {cause: 1}
        given = {seen: 0}
        assert net.query(outcome, do=do)["probability"].to_numpy() == pytest.approx(
            by_hand(net, outcome, do, {})
        )
        assert net.query(outcome, do=do, given=given)["probability"].to_numpy() == pytest.approx(
            by_hand(net, outcome, do, given)
        )


def test_tables_are_shares_with_a_prior():
    frame = pd.DataFrame({"z": [0, 0, 0, 1], "x": list("aabb"), "y": [True, False, True, True]})
    graph = CausalGraph.from_edges("xzy", ["z -> y", "x -> y", "z -> x"])
    net = CausalNetwork.fit(frame, graph, prior=2.0, n_boot=0)
    assert net.query("z")["probability"].tolist() == pytest.approx([4 / 6, 2 / 6])
    assert net.query("y", given={"x": "a", "z": 0})["probability"].tolist() == pytest.approx(
        [2 / 4, 2 / 4]
    )
    assert net.query("y", given={"x": "b", "z": 1}).loc[True, "probability"] == pytest.approx(2 / 3)
    assert net.query("y", given={"x": "a", "z": 1}).loc[True, "probability"] == pytest.approx(
        0.5
    )  # never seen: the prior


def test_seeing_is_not_doing():
    """z causes x and y, x does nothing: half of all rows have y, whatever x is set to."""
    graph = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])
    done = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=1500)
        frame = pd.DataFrame(
            {"z": z, "x": (z + rng.normal(size=1500) > 0), "y": (z + rng.normal(size=1500) > 0)}
        )
        net = CausalNetwork.fit(frame, graph, bins=8, n_boot=60 if seed == 19 else 0, seed=seed)
        done.append(net.query("y", do={"x": True}).loc[True, "probability"])
    # What is left of the confounder within 8 bins adds up to 0.02; the mean of 20 has an error of
    # 0.004.
    assert -0.016 < np.mean(done) - 0.5 < 0.02 + 0.016
    assert net.query("y", given={"x": True}).loc[True, "low"] > 0.6
    assert net.query("y", given={"z": 1.7}).loc[True, "probability"] > 0.8
    assert "60 bootstrap draws" in repr(net)


def _pairs(n, seed):
    """Two rows a user, who share z and half of what moves y; z causes x, z and x cause y."""
    rng = np.random.default_rng(seed)
    who = np.arange(n) // 2
    z = rng.integers(2, size=n // 2)[who]
    luck = rng.random(n // 2)[who]
    x = (rng.random(n) < 0.3 + 0.4 * z).astype(int)
    luck = np.where(rng.random(n) < 0.5, luck, rng.random(n))
    return pd.DataFrame(
        {"who": who, "z": z, "x": x, "y": (luck < 0.2 + 0.3 * z + 0.2 * x).astype(int)}
    )


@pytest.mark.parametrize("cluster", [None, "who"])
def test_intervals_are_as_wide_as_standard_errors_by_hand(cluster):
    """A width of 3,000 draws is known within 1.8%; an error 15% too small is eight times as far
    away.
    """
    frame = _pairs(1200, 0)
    graph = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])
    net = CausalNetwork.fit(frame, graph, prior=1e-6, n_boot=3000, cluster=cluster, seed=1)
    z, x, y = (frame[name].to_numpy() for name in "zxy")
    groups = frame["who"] if cluster else frame.index

    def width(influence):
        return (
            2
            * 1.959964
            * np.sqrt((pd.Series(influence).groupby(groups).sum() ** 2).sum())
            / len(frame)
        )

    root = net.query("z").loc[1]
    if cluster is None:
        assert root["high"] - root["low"] == pytest.approx(
            3.919928 * np.sqrt(z.mean() * (1 - z.mean()) / 1200), rel=0.07
        )
    assert root["high"] - root["low"] == pytest.approx(width(z - z.mean()), rel=0.07)
    # By hand: P(y | do(x = 1)) is the mean over z of the rate of y where x is 1, and its influence
    # that of weighting.
    rate = frame[frame["x"] == 1].groupby("z")["y"].mean()[z].to_numpy()
    share = frame.groupby("z")["x"].mean()[z].to_numpy()
    influence = x / share * (y - rate) + rate - rate.mean()
    done = net.query("y", do={"x": 1}).loc[1]
    assert done["probability"] == pytest.approx(rate.mean(), abs=1e-6)
    assert done["high"] - done["low"] == pytest.approx(width(influence), rel=0.07)
    assert done["low"] < done["probability"] < done["high"]


def test_copies_of_a_cluster_count_once():
    frame = _pairs(300, 1).drop(columns="who")
    graph = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])
    copies = pd.concat([frame, frame], ignore_index=True).assign(who=np.tile(np.arange(300), 2))
    once = CausalNetwork.fit(frame, graph, n_boot=200).query("y", do={"x": 1})
    twice = CausalNetwork.fit(copies, graph, prior=2.0, n_boot=200, cluster="who").query(
        "y", do={"x": 1}
    )
    pd.testing.assert_frame_equal(once, twice)
    blind = CausalNetwork.fit(copies, graph, prior=2.0, n_boot=200).query("y", do={"x": 1})
    assert (blind["high"] - blind["low"]).max() < 0.85 * (once["high"] - once["low"]).min()


def test_the_shop(world):
    names = ["activity", "popularity", "stock", "exposed", "purchased"]
    edges = [
        "popularity -> stock",
        *(f"{a} -> {b}" for a in names[:3] for b in names[3:]),
        "exposed -> purchased",
    ]
    net = CausalNetwork.fit(
        world.log(), CausalGraph.from_edges(names, edges), bins=6, n_boot=20, cluster="user_id"
    )
    rates = [net.query("purchased", do={"exposed": e}).loc[1, "probability"] for e in (0, 1)]
    naive = [net.query("purchased", given={"exposed": e}).loc[1, "probability"] for e in (0, 1)]
    bias = naive[1] - naive[0] - world.ate
    left = rates[1] - rates[0] - world.ate
    assert 0 < left < 0.5 * bias  # what bins of the confounders hide is left
    log = world.log()
    user, item, stock = (
        pd.Series(cut(log[name], 6)[0], index=log.index, name=name) for name in names[:3]
    )
    by_stratum = log.pivot_table("purchased", [user, item, stock], "exposed")
    shares = (
        user.value_counts(normalize=True),
        pd.concat([item, stock], axis=1).value_counts(normalize=True),
    )
    at = by_stratum.index
    size = pd.Series(
        shares[0].loc[at.get_level_values(0)].to_numpy()
        * shares[1].loc[at.droplevel(0)].to_numpy(),
        index=at,
    )
    both = by_stratum.notna().all(axis=1)
    exact = CausalNetwork.fit(
        log, CausalGraph.from_edges(names, edges), bins=6, prior=1e-9, n_boot=0
    )
    rates = [exact.query("purchased", do={"exposed": e}).loc[1, "probability"] for e in (0, 1)]
    lone = 1 - size[both].sum()  # strata with one arm only get a half from the prior
    for rate, by_hand in zip(rates, by_stratum[both].mul(size[both], axis=0).sum(), strict=True):
        assert by_hand - 1e-6 <= rate <= by_hand + lone + 1e-6
    assert lone < 0.02


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"outcome": "q"}, "no variable 'q'"),
        ({"outcome": "y", "do": {"y": 1}}, "'y' is named twice"),
        ({"outcome": "y", "do": {"x": 1}, "given": {"x": 0}}, "'x' is named twice"),
        ({"outcome": "y", "do": {"x": 7}}, "'x' has no level 7; levels: 0, 1"),
    ],
)
def test_bad_queries(ask, message):
    frame = pd.DataFrame({"x": [0, 1, 0, 1], "z": [0, 0, 1, 0], "y": [0, 1, 1, 0]})
    net = CausalNetwork.fit(frame, CausalGraph.from_edges("xzy", ["z -> x", "x -> y"]), n_boot=0)
    with pytest.raises(ValueError, match=message):
        net.query(**ask)


def test_bad_fits():
    frame = pd.DataFrame({"x": [0, 1], "y": [0, None]})
    graph = CausalGraph.from_edges("xy", ["x -> y"])
    with pytest.raises(ValueError, match="column 'y' has 1 missing value"):
        CausalNetwork.fit(frame, graph)
    with pytest.raises(ValueError, match="no column 'y'"):
        CausalNetwork.fit(frame[["x"]], graph)
    with pytest.raises(ValueError, match="has no direction"):
        CausalNetwork.fit(frame.fillna(0), CausalGraph.from_edges("xy", ["x -- y"]))
    with pytest.raises(ValueError, match="prior must be above 0, not 0"):
        CausalNetwork.fit(frame.fillna(0), graph, prior=0)
    many = [f"v{k}" for k in range(12)]
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 13)), columns=[*many, "y"])
    with pytest.raises(
        ValueError, match="'y' has 12 parents with 2e\\+07 combinations; lower bins"
    ):
        CausalNetwork.fit(
            wide, CausalGraph.from_edges([*many, "y"], [f"{name} -> y" for name in many])
        )


def test_levels_of_a_column_by_hand():
    # as many values as bins: each is a level
    codes, levels = cut(pd.Series([3.0, 1.0, 2.0, 4.0]), 4)
    assert codes.tolist() == [2, 0, 1, 3]
    assert levels.tolist() == [1.0, 2.0, 3.0, 4.0]
    codes, levels = cut(pd.Series([3.0, 1.0, 2.0, 4.0, 5.0, 6.0]), 3)
    assert codes.tolist() == [1, 0, 0, 1, 2, 2]
    assert len(levels) == 3
    assert cut(pd.Series([True, False, True]), 1)[0].tolist() == [1, 0, 1]
    assert cut(pd.Series(list("bca")), 2)[0].tolist() == [1, 2, 0]


def test_numbers_find_their_interval_and_intervals_their_level():
    frame = pd.DataFrame({"x": [1.0, 2, 3, 4, 5, 6, 7, 8], "y": [0, 1, 1, 1, 0, 0, 0, 1]})
    net = CausalNetwork.fit(
        frame, CausalGraph.from_edges("xy", ["x -> y"]), bins=2, n_boot=0, prior=1e-9
    )
    edge = net.levels["x"][0].right
    assert edge == 4.5
    for value, rate in (
        (-99, 0.75),
        (4.5, 0.75),
        (4.51, 0.25),
        (99, 0.25),
        (net.levels["x"][1], 0.25),
    ):
        assert net.query("y", do={"x": value}).loc[1, "probability"] == pytest.approx(rate)
    with pytest.raises(ValueError, match="'x' has no level"):
        net.query("y", do={"x": pd.Interval(0, 1)})


def test_draws_are_of_clusters_of_unequal_size_and_of_the_seed():
    frame = pd.DataFrame({"z": [0, 1, 1, 0, 1, 2, 2, 1, 0, 0], "who": list("aabcccddde")})
    graph = CausalGraph.from_edges("zy", ["z -> y"])
    frame["y"] = [0, 1, 0, 1, 1, 0, 1, 1, 0, 0]
    for cluster in (None, "who"):
        net = CausalNetwork.fit(frame, graph, prior=3.0, n_boot=30, cluster=cluster, seed=4)
        groups = pd.factorize(frame["who"])[0] if cluster else np.arange(10)
        rng = np.random.default_rng(4)
        draws = []
        for _ in range(30):
            weight = rng.poisson(1, groups.max() + 1)[groups]
            counts = np.bincount(frame["z"], weight, minlength=3) + 1.0
            draws.append(counts / counts.sum())
        found = net.query("z")
        assert found["probability"].tolist() == pytest.approx([5 / 13, 5 / 13, 3 / 13])
        assert found["low"].to_numpy() == pytest.approx(np.quantile(draws, 0.025, axis=0))
        assert found["high"].to_numpy() == pytest.approx(np.quantile(draws, 0.975, axis=0))
        assert found.index.name == "z"
        assert repr(net) == "CausalNetwork of 2 variables from 10 rows, 30 bootstrap draws"
    with pytest.raises(ValueError, match="no column 'whom'"):
        CausalNetwork.fit(frame, graph, cluster="whom")


def test_what_a_fit_takes_by_default():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"x": rng.normal(size=60)})
    frame["y"] = (frame["x"] + rng.normal(size=60) > 0).astype(int)
    graph = CausalGraph.from_edges("xy", ["x -> y"])
    told = CausalNetwork.fit(frame, graph, bins=4, prior=1.0, n_boot=100, seed=0).query(
        "y", given={"x": 0.1}
    )
    default = CausalNetwork.fit(frame, graph)
    pd.testing.assert_frame_equal(default.query("y", given={"x": 0.1}), told)
    assert (len(default.levels["x"]), len(default.nets)) == (4, 101)


def test_parents_of_unequal_numbers_of_levels_keep_their_places():
    """Three parents of 2, 3 and 4 levels: every probability of the child is its own."""
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(
        {
            "a": rng.integers(2, size=900),
            "b": rng.integers(3, size=900),
            "c": rng.integers(4, size=900),
        }
    )
    frame["y"] = (rng.random(900) < (1 + frame["a"] + 2 * frame["b"] + 6 * frame["c"]) / 30).astype(
        int
    )
    for names in ("abcy", "ycba", "bacy"):
        net = CausalNetwork.fit(
            frame,
            CausalGraph.from_edges(names, ["a -> y", "b -> y", "c -> y"]),
            prior=2.0,
            n_boot=0,
        )
        for (a, b, c), part in frame.groupby(["a", "b", "c"]):
            found = net.query("y", given={"a": a, "b": b, "c": c}).loc[1, "probability"]
            assert found == pytest.approx((part["y"].sum() + 1) / (len(part) + 2))


def test_a_million_combinations_of_parents_are_the_most():
    n = 2000
    names = list("abcdef")
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({name: rng.integers(10, size=n) for name in names}).assign(
        y=rng.integers(2, size=n), g=0
    )
    edges = [f"{name} -> y" for name in names]
    frame.loc[:9, names] = np.tile(np.arange(10), (6, 1)).T
    CausalNetwork.fit(frame, CausalGraph.from_edges([*names, "y"], edges), bins=10, n_boot=0)
    frame["g"] = np.arange(n) % 2
    with pytest.raises(ValueError, match=r"'y' has 7 parents with 2e\+06 combinations; lower bins"):
        CausalNetwork.fit(
            frame, CausalGraph.from_edges([*names, "g", "y"], [*edges, "g -> y"]), bins=10, n_boot=0
        )
