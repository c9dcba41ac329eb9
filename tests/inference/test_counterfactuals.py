"""Probabilities of causation: bounds hold the truth of random mechanisms, and are reached; monotone
closes them.
"""

import numpy as np
import pandas as pd
import pytest

from causal_lib.inference import NoOverlapError
from causal_lib.inference import counterfactuals as causation
from causal_lib.inference.counterfactuals import probabilities_of_causation


def people(n, seed, shares=None):
    """Two strata of never, always, helped and hurt users, treated by stratum; with the true
    probabilities.
    """
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(4), size=2) if shares is None else np.array(shares)
    z = rng.integers(2, size=n)
    kind = (rng.random(n)[:, None] > shares[z].cumsum(axis=1)).sum(axis=1)
    t = (rng.random(n) < np.array([0.3, 0.7])[z]).astype(int)
    without = (kind == 1) | (kind == 3)
    treated = (kind == 1) | (kind == 2)
    frame = pd.DataFrame({"z": z, "t": t, "y": np.where(t == 1, treated, without).astype(int)})
    helped = treated & ~without
    hit = (t == 1) & (frame["y"] == 1)
    miss = (t == 0) & (frame["y"] == 0)
    return frame, {
        "necessity": helped[hit].mean(),
        "sufficiency": helped[miss].mean(),
        "both": helped.mean(),
    }


@pytest.fixture
def known(monkeypatch):
    """Call it with the shares of `people`: their true propensities and means take the place of
    fitted ones.
    """

    def know(shares):
        def true(y, t, x, groups, seed):
            of = np.asarray(shares)[x.iloc[:, 0].to_numpy().astype(int)]
            share = np.array([0.3, 0.7])[x.iloc[:, 0].to_numpy().astype(int)]
            return np.column_stack([1 - share, share]), np.column_stack(
                [of[:, 1] + of[:, 3], of[:, 1] + of[:, 2]]
            )

        monkeypatch.setattr(causation, "cross_fit", true)

    return know


def test_bounds_hold_the_truth_whatever_the_mechanism(known, monkeypatch):
    held = 0
    runs = 200
    for seed in range(runs):
        shares = np.random.default_rng([seed, 1]).dirichlet(np.ones(4), size=2)
        known(shares)
        frame, truth = people(1000, seed, shares)
        found = probabilities_of_causation(frame, "t", "y", ["z"], n_boot=60, seed=seed)
        assert (found["lower"] <= found["upper"] + 1e-12).all()
        assert (found["low"] <= found["lower"] + 1e-9).all()
        held += all(
            found.loc[name, "low"] <= value <= found.loc[name, "high"]
            for name, value in truth.items()
        )
    assert held >= 0.95 * runs  # mostly more often: the truth is seldom at a bound
    monkeypatch.undo()
    for seed in range(2):  # with fitted models
        frame, truth = people(2000, seed)
        found = probabilities_of_causation(frame, "t", "y", ["z"], n_boot=60, seed=seed)
        assert all(
            found.loc[name, "low"] <= value <= found.loc[name, "high"]
            for name, value in truth.items()
        )


@pytest.mark.parametrize(("hurt", "end"), [(0.0, "lower"), (0.3, "upper")])
def test_bounds_are_reached(hurt, end):
    """Nobody hurt: the lower bound is the truth. As many hurt as can be: the upper one is."""
    both = [[0.4, 0.3 - hurt, 0.3, hurt]] * 2 if not hurt else [[0.3, 0.0, 0.4, 0.3]] * 2
    frame, truth = people(60_000, 0, both)
    found = probabilities_of_causation(frame, "t", "y", ["z"], n_boot=0)
    assert found[end].to_dict() == pytest.approx(truth, abs=0.02)


def test_monotone_closes_the_bounds_unless_the_data_speak_against_it():
    frame, truth = people(60_000, 1, [[0.4, 0.3, 0.3, 0.0], [0.2, 0.7, 0.1, 0.0]])
    found = probabilities_of_causation(frame, "t", "y", ["z"], monotone=True, n_boot=50)
    assert found["lower"].equals(found["upper"])
    assert found["lower"].to_dict() == pytest.approx(truth, abs=0.02)
    assert ((found["high"] - found["low"]) > 0).all()
    hurt, _ = people(5000, 1, [[0.4, 0.3, 0.3, 0.0], [0.2, 0.4, 0.0, 0.4]])
    with pytest.raises(ValueError, match=r"monotone: in \d+ of \d+ strata 't' lowers the outcome"):
        probabilities_of_causation(hurt, "t", "y", ["z"], monotone=True)


@pytest.mark.parametrize(("strata", "limit"), [(1, 2.4477), (4, 2.9603)])
def test_monotone_is_given_up_where_chance_would_go_so_far_once_in_twenty(strata, limit):
    """Of many strata one is below - sqrt(2 log(20 strata)) by chance less than once in twenty
    calls.
    """
    stratum = np.repeat(np.arange(strata), 100)
    groups = np.arange(100 * strata)
    spread = np.tile([-1.0, 1.0], 50 * strata)
    for distance, refused in ((limit - 0.01, False), (limit + 0.01, True)):
        # Scores of mean -distance standard errors, 10 being the error of a stratum's sum, in the
        # first stratum only.
        score = spread - np.where(stratum == 0, distance * 10 / 100, 0)
        parts = np.zeros((len(score), 6))
        parts[:, 1] = score
        if refused:
            with pytest.raises(
                ValueError, match=f"monotone: in 1 of {strata} strata 't' lowers the outcome"
            ):
                causation._check_monotone(parts, stratum, groups, "t")
        else:
            causation._check_monotone(parts, stratum, groups, "t")


def test_necessity_without_strata_is_the_formula_of_the_book():
    """With an unconfounded treatment: lower bound (P(y1) - P(y0)) / P(y1), upper min(1, (1 - P(y0))
    / P(y1)).
    """
    frame = pd.DataFrame(
        {"t": [1] * 100 + [0] * 100, "y": [1] * 60 + [0] * 40 + [1] * 45 + [0] * 55}
    )
    frame = pd.concat([frame] * 50, ignore_index=True)
    found = probabilities_of_causation(frame, "t", "y", [], strata=1, n_boot=0)
    assert found.loc["necessity"].tolist() == pytest.approx([0.15 / 0.6, 0.55 / 0.6], abs=1e-3)
    assert found.loc["sufficiency"].tolist() == pytest.approx([0.15 / 0.55, 1.0], abs=1e-3)
    assert found.loc["both"].tolist() == pytest.approx([0.15, 0.55], abs=1e-3)


SHARES = np.array([[0.15, 0.3, 0.45, 0.1], [0.1, 0.35, 0.4, 0.15]])


def test_copies_of_a_cluster_count_once(known):
    known(SHARES)
    frame = people(400, 2, SHARES)[0]
    copies = pd.concat([frame, frame], ignore_index=True).assign(who=np.tile(np.arange(400), 2))
    once = probabilities_of_causation(frame, "t", "y", ["z"], n_boot=200)
    twice = probabilities_of_causation(copies, "t", "y", ["z"], n_boot=200, cluster="who")
    pd.testing.assert_frame_equal(once, twice)
    blind = probabilities_of_causation(copies, "t", "y", ["z"], n_boot=200)
    assert ((blind["lower"] - blind["low"]) < 0.85 * (once["lower"] - once["low"])).all()


@pytest.mark.parametrize("cluster", [None, "who"])
def test_intervals_reach_two_standard_errors_by_hand_beyond_the_bounds(cluster, known):
    """An end of 4,000 draws is known within 2.2% of the reach; an error 15% too small is seven
    times as far away.
    """
    known(SHARES)
    frame = people(1500, 3, SHARES)[0]
    frame = pd.concat([frame, frame.head(750)], ignore_index=True).assign(
        who=np.r_[np.arange(1500), np.arange(750)]
    )
    found = probabilities_of_causation(
        frame, "t", "y", ["z"], strata=1, n_boot=4000, cluster=cluster
    )
    t, y, z = (frame[name].to_numpy() for name in "tyz")
    without = SHARES[z][:, 1] + SHARES[z][:, 3]
    treated = SHARES[z][:, 1] + SHARES[z][:, 2]
    odds = np.array([0.3 / 0.7, 0.7 / 0.3])[z]
    # Doubly robust counts: the treated who would have it without, the untreated who would have it
    # with treatment.
    spared = t * without + (1 - t) * odds * (y - without)
    gained = (1 - t) * treated + t / odds * (y - treated)
    hit = t * y
    miss = (1 - t) * (1 - y)
    own = (1 - t) * y
    ends = {
        ("necessity", "lower"): (hit - spared, hit),
        ("sufficiency", "lower"): (gained - own, miss),
        ("both", "lower"): (hit - spared + gained - own, np.ones(len(t))),
        ("necessity", "upper"): (t - spared, hit),
        ("sufficiency", "upper"): (miss, miss),  # so many would gain that all of these may
        ("both", "upper"): (t - spared + miss, np.ones(len(t))),
    }
    groups = frame["who"] if cluster else frame.index
    for (name, end), (part, whole) in ends.items():
        ratio = part.sum() / whole.sum()
        sums = pd.Series(part - ratio * whole).groupby(groups).sum()
        assert found.loc[name, end] == pytest.approx(ratio)
        reach = 1.959964 * np.sqrt((sums**2).sum()) / whole.sum()
        far = (
            found.loc[name, "lower"] - found.loc[name, "low"]
            if end == "lower"
            else found.loc[name, "high"] - ratio
        )
        assert far == pytest.approx(reach, rel=0.09), (name, end)


def test_the_shop_knows_who_would_have_bought_anyway(world):
    """There showing an item prevents no purchase, so that the truth can be told from the
    probabilities of both outcomes.
    """
    log = world.log()
    truth = world.truth
    shown = log["exposed"] == 1
    needed = truth["uplift"][shown].sum() / truth["purchase_if_exposed"][shown].sum()
    adjustment = ["activity", "popularity", "stock"]
    for monotone in (False, True):
        found = probabilities_of_causation(
            log,
            "exposed",
            "purchased",
            adjustment,
            monotone=monotone,
            n_boot=100,
            cluster="user_id",
        )
        assert found.loc["necessity", "low"] <= needed <= found.loc["necessity", "high"]
    assert found.loc["necessity", "lower"] == found.loc["necessity", "upper"]


def test_bad_input():
    frame, _ = people(200, 0)
    with pytest.raises(NoOverlapError, match=r"no overlap: 5\d\.\d% of the rows seem to have no"):
        probabilities_of_causation(
            frame.assign(t=np.where(frame["z"] == 1, 1, frame["t"])), "t", "y", ["z"]
        )
    with pytest.raises(ValueError, match="strata=0: at least 1"):
        probabilities_of_causation(frame, "t", "y", ["z"], strata=0)
    with pytest.raises(ValueError, match="outcome 'y': must be 0 or 1"):
        probabilities_of_causation(frame.assign(y=frame["y"] * 2), "t", "y", ["z"])
    words = frame["t"].map({0: "no", 1: "yes"})
    with pytest.raises(ValueError, match="column 't' must hold numbers"):
        probabilities_of_causation(frame.assign(t=words), "t", "y", ["z"])
    with pytest.raises(ValueError, match="adjustment holds y itself"):
        probabilities_of_causation(frame, "t", "y", ["z", "y"])


def test_rows_index_and_dtypes_change_nothing():
    frame, _ = people(300, 5)
    found = probabilities_of_causation(frame, "t", "y", ["z"], n_boot=0)
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = frame.iloc[order].set_index(np.zeros(len(frame), dtype=int))
    others = [mixed, frame.astype({"t": object, "y": "Int64", "z": "int8"}), frame == 1]
    for other in others:
        again = probabilities_of_causation(other, "t", "y", ["z"], n_boot=0)
        pd.testing.assert_frame_equal(again, found)


def _of_many(monkeypatch, n=240):
    """Rows whose means differ from row to row; the fitted parts are given, so that all the rest is
    arithmetic. Models see the rows in the order of z.
    """
    rng = np.random.default_rng(4)
    share = rng.uniform(0.2, 0.8, n)
    low = rng.uniform(0.05, 0.6, n)
    high = rng.uniform(0.3, 0.9, n)
    seen = []

    def given(y, t, x, groups, seed):
        seen.append((x.columns.tolist(), groups.tolist(), seed.seed))
        return np.column_stack([1 - share, share]), np.column_stack([low, high])

    monkeypatch.setattr(causation, "cross_fit", given)
    t = (rng.random(n) < share).astype(int)
    frame = pd.DataFrame(
        {"z": np.arange(n), "t": t, "y": (rng.random(n) < np.where(t == 1, high, low)).astype(int)}
    )
    frame["who"] = np.repeat(np.arange(n // 4), [1, 2, 5, 8] * (n // 16))
    t = frame["t"].to_numpy()
    y = frame["y"].to_numpy()
    parts = pd.DataFrame(
        {
            "treated": t,
            "hit": t * y,
            "spared": t * low + (1 - t) * share / (1 - share) * (y - low),
            "miss": (1 - t) * (1 - y),
            "gained": (1 - t) * high + t * (1 - share) / share * (y - high),
            "own": (1 - t) * y,
        }
    )
    return frame, parts, high - low, seen


def _ends(sums, rows, monotone):
    """Lower and upper bounds of necessity, sufficiency and both, from sums by stratum."""
    if monotone:
        needed = [(sums["hit"] - sums["spared"]).sum()] * 2
        enough = [(sums["gained"] - sums["own"]).sum()] * 2
    else:
        needed = [
            np.maximum(0, sums["hit"] - sums["spared"]).sum(),
            np.minimum(sums["hit"], sums["treated"] - sums["spared"]).sum(),
        ]
        enough = [
            np.maximum(0, sums["gained"] - sums["own"]).sum(),
            np.minimum(sums["miss"], sums["gained"]).sum(),
        ]
    table = [
        [
            needed[k] / sums["hit"].sum(),
            enough[k] / sums["miss"].sum(),
            (needed[k] + enough[k]) / rows,
        ]
        for k in (0, 1)
    ]
    return np.clip(table, 0, 1)


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("cluster", [None, "who"])
def test_strata_bounds_and_draws_by_hand(monotone, cluster, monkeypatch):
    frame, parts, predicted, seen = _of_many(monkeypatch)
    monkeypatch.setattr(causation, "_check_monotone", lambda *given: None)
    how = {"monotone": monotone, "cluster": cluster}
    found = probabilities_of_causation(frame, "t", "y", ["z"], strata=3, n_boot=40, seed=6, **how)
    groups = frame["who"].to_numpy() if cluster else np.arange(240)
    assert seen[-1] == (["z"], groups.tolist(), 6)
    stratum = np.digitize(predicted, np.quantile(predicted, [1 / 3, 2 / 3]))
    bounds = _ends(parts.groupby(stratum).sum(), 240, monotone)
    assert found["lower"].to_numpy() == pytest.approx(bounds[0])
    assert found["upper"].to_numpy() == pytest.approx(bounds[1])
    assert found.index.tolist() == ["necessity", "sufficiency", "both"]
    rng = np.random.default_rng(6)
    draws = []
    for _ in range(40):
        weight = rng.poisson(1, groups.max() + 1)[groups]
        sums = parts.mul(weight, axis=0).groupby(stratum).sum()
        draws.append(_ends(sums, sums[["treated", "miss", "own"]].to_numpy().sum(), monotone))
    low = np.quantile(np.array(draws)[:, 0], 0.025, axis=0)
    high = np.quantile(np.array(draws)[:, 1], 0.975, axis=0)
    assert found["low"].to_numpy() == pytest.approx(low)
    assert found["high"].to_numpy() == pytest.approx(high)
    default = probabilities_of_causation(frame, "t", "y", ["z"], **how)
    assert default.equals(
        probabilities_of_causation(frame, "t", "y", ["z"], strata=10, n_boot=500, seed=0, **how)
    )
    assert not default["lower"].equals(found["lower"]) or monotone
    assert list(probabilities_of_causation(frame, "t", "y", ["z"], n_boot=0, **how)) == [
        "lower",
        "upper",
    ]


def test_what_speaks_against_monotone_by_hand(monkeypatch):
    """The doubly robust effect of a stratum over its error, summed within clusters of unequal size."""
    frame, parts, predicted, _ = _of_many(monkeypatch)
    # one less of every row, as if treatment took the outcome from everybody
    score = parts["hit"] - parts["spared"] + parts["gained"] - parts["own"] - 1.0
    groups = frame["who"].to_numpy()
    stratum = np.digitize(predicted, np.quantile(predicted, [0.5]))
    z = []
    for number in (0, 1):
        inside = stratum == number
        left = pd.Series(np.where(inside, score - score[inside].mean(), 0)).groupby(groups).sum()
        z.append(score[inside].sum() / np.sqrt((left**2).sum()))
    assert max(z) < -np.sqrt(2 * np.log(40))
    given = parts.assign(hit=parts["hit"] - 1.0).to_numpy()
    with pytest.raises(
        ValueError,
        match=rf"in 2 of 2 strata 't' lowers the outcome \(z = {min(z):.1f}\); give mono",
    ):
        causation._check_monotone(given, stratum, groups, "t")
