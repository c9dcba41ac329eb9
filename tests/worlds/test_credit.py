"""The loans' truth against what was logged; bounds are 4 standard errors of the simulated means."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.inference import NotIdentifiableError, find_instrument, identify
from causal_lib.worlds import credit as module
from causal_lib.worlds.credit import FEATURES, HIGH, LOANS_EDGES, LOW, loans


@pytest.fixture(scope="module")
def world():
    return loans(30_000, seed=3)


def _close(draws, probabilities):
    draws = np.asarray(draws, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    error = np.sqrt((probabilities * (1 - probabilities)).sum()) / len(draws)
    assert abs(draws.mean() - probabilities.mean()) < 4 * error


def _digest(world):
    return [pd.util.hash_pandas_object(f, index=False).sum() for f in (world.frame, world.truth)]


def _kept(world):
    return (world.frame["approved"] == 1).to_numpy()


# ---- bytes and sizes -----------------------------------------------------------------------------


def test_same_seed_same_bytes():
    assert _digest(loans(200, 5)) == _digest(loans(200, 5))
    assert all(a != b for a, b in zip(_digest(loans(200, 5)), _digest(loans(200, 6)), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, not 0"),
        ({"n": 5, "n_officers": 0}, "n_officers must be at least 1, not 0"),
        ({"n": 5, "appetite": np.nan}, "appetite must be finite, not nan"),
        ({"n": 5, "appetite": np.inf}, "appetite must be finite, not inf"),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        loans(**arguments)


def test_one_applicant():
    assert loans(1, n_officers=1).frame.shape == (1, 14)


# ---- what was logged and what would have happened ------------------------------------------------


def test_only_approved_loans_show_limit_and_default(world):
    f = world.frame
    kept = _kept(world)
    assert f.loc[~kept, ["high", "default"]].isna().all(axis=None)
    assert f.loc[kept, ["high", "default"]].notna().all(axis=None)
    assert (f.loc[~kept, ["limit", "profit"]] == 0).all(axis=None)
    assert set(f.loc[kept, "limit"]) == {LOW, HIGH}
    assert not f.drop(columns=["high", "default"]).isna().any(axis=None)
    assert "appetite" not in f


def test_propensities_are_positive_and_calibrated(world):
    f = world.frame
    kept = _kept(world)
    assert f["propensity"].between(0.03, 0.97).all()
    assert world.truth["high_propensity"].between(0.03, 0.97).all()
    for _, part in f.groupby(pd.qcut(f["propensity"], 5)):
        _close(part["approved"], part["propensity"])
    chance = world.truth["high_propensity"][kept]
    for _, part in chance.groupby(pd.qcut(chance, 5)):
        _close(f.loc[part.index, "high"], part)


def test_what_was_logged_is_the_potential_outcome_of_what_was_done(world):
    f = world.frame
    t = world.truth
    for limit, level in ((LOW, "low"), (HIGH, "high")):
        rows = f["limit"] == limit
        assert (f.loc[rows, "default"] == t.loc[rows, f"default_if_{level}"]).all()
        assert (f.loc[rows, "profit"] == t.loc[rows, f"profit_if_{level}"]).all()
        _close(t[f"default_if_{level}"], t[f"risk_if_{level}"])
        gap = t[f"profit_if_{level}"] - t[f"gain_if_{level}"]
        assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    assert (t["default_if_high"] >= t["default_if_low"]).all()  # nobody is saved by a higher limit
    assert (t["risk_if_high"] > t["risk_if_low"]).all()


def test_selection_is_favourable_and_weighting_by_the_propensity_undoes_it(world):
    f = world.frame
    kept = _kept(world)
    truth = world.if_approved().mean()
    score = np.zeros(len(f))
    score[kept] = world.approved["default"] / f.loc[kept, "propensity"]
    error = score.std() / np.sqrt(len(f))
    assert abs(score.mean() - truth) < 4 * error
    assert truth - world.approved["default"].mean() > 4 * error


def test_the_mean_over_limits_lies_between_both(world):
    for outcome in ("risk", "gain"):
        ends = world.truth[[f"{outcome}_if_low", f"{outcome}_if_high"]]
        found = world.if_approved(outcome)
        assert ((found >= ends.min(axis=1)) & (found <= ends.max(axis=1))).all()


# ---- graph ---------------------------------------------------------------------------------------


def test_the_graph_matches_the_equations(world):
    """Each equation is solved again with one variable shifted: what changes at once are the
    children in the graph.
    """
    noise = world.noise
    group = world.noise["group"]
    base = module._solve(noise, group, group, 1.0)[0]
    shifted = {  # how to move a root, and the columns that may move in turn
        "leniency": module._solve({**noise, "leniency": noise["leniency"] + 1}, group, group, 1.0)[
            0
        ],
        "appetite": module._solve({**noise, "appetite": noise["appetite"] + 1}, group, group, 1.0)[
            0
        ],
        "age": module._solve({**noise, "age": noise["age"] + 10}, group, group, 1.0)[0],
        "group": module._solve(noise, 1 - group, 1 - group, 1.0)[0],
    }
    columns = [c for c in LOANS_EDGES if c in base]
    for root, other in shifted.items():
        moved = {c for c in columns if not base[c].equals(other[c])}
        assert moved == world.graph.descendants(root) & set(columns), root
    assert (
        world.knowledge.violations(
            world.graph.subgraph([n for n in world.graph.names if n != "appetite"])
        )
        == []
    )


def test_chances_read_their_parents_only(world):
    """Moving one argument of the equations moves exactly the chances whose parents hold it."""
    names = {
        "seen": "group",
        "employed": "employed",
        "wealth": "income",
        "history": "history",
        "demand": "asked",
    }
    size = 50
    rng = np.random.default_rng(0)
    start = {name: rng.standard_normal(size) for name in names}
    noise = {name: rng.standard_normal(size) for name in ("leniency", "appetite")}
    base = module._chances(noise, **start, appetite=1.0)
    for name, node in [*names.items(), ("leniency", "leniency"), ("appetite", "appetite")]:
        other_noise = dict(noise)
        other = dict(start)
        (other_noise if name in noise else other)[name] = rng.standard_normal(size)
        found = module._chances(other_noise, **other, appetite=1.0)
        for decision, child in (("approve", "approved"), ("high", "high")):
            changed = bool((getattr(base, decision) != getattr(found, decision)).any())
            assert changed == (node in world.graph.parents(child)), (node, child)
        assert bool((base.default[0] != found.default[0]).any()) == (
            node in world.graph.parents("default")
        ), node
        assert bool((base.use != found.use).any()) == (node in world.graph.parents("profit")), node


def test_the_limit_s_effect_is_refused_without_the_appetite_and_leniency_is_its_instrument(world):
    with pytest.raises(NotIdentifiableError, match="appetite"):
        identify(world.graph, "high", "default", hidden=world.hidden)
    name, given = find_instrument(world.graph, "high", "default", hidden=world.hidden)
    assert (name, set(given)) == (
        "leniency",
        {"approved", "employed", "income", "history", "asked"},
    )
    assert identify(world.graph, "approved", "profit", hidden=world.hidden).strategy == "back-door"
    with pytest.raises(ValueError, match="both a direct effect and a hidden common cause"):
        world.graph.latent_projection(world.hidden)


def test_leniency_moves_the_decisions_and_nothing_else(world):
    f = world.frame
    t = world.truth
    bound = 4 / np.sqrt(len(f))
    for column in (*FEATURES, "group"):
        assert abs(np.corrcoef(f["leniency"], f[column])[0, 1]) < bound
    for column in ("appetite", "default_if_low", "default_if_high", "profit_if_low"):
        assert abs(np.corrcoef(f["leniency"], t[column])[0, 1]) < bound
    assert np.corrcoef(f["leniency"], f["approved"])[0, 1] > 0.1
    assert np.corrcoef(f["leniency"], t["high_propensity"])[0, 1] > 0.1
    assert f.groupby("officer")["leniency"].nunique().max() == 1


def test_the_strength_of_the_appetite_changes_the_limit_alone():
    none, strong = (loans(5_000, 1, appetite=a) for a in (0.0, 2.0))
    same = ["group", *FEATURES, "approved", "propensity"]
    pd.testing.assert_frame_equal(none.frame[same], strong.frame[same])
    same = [c for c in none.truth if c != "high_propensity"]
    pd.testing.assert_frame_equal(none.truth[same], strong.truth[same])
    # without it the limit says nothing of the hidden variable beyond what is logged
    x = np.column_stack([np.ones(5_000), none.frame[[*FEATURES, "leniency"]].to_numpy(dtype=float)])
    links = []
    for world in (none, strong):
        left = [
            v - x @ np.linalg.lstsq(x, v, rcond=None)[0]
            for v in (world.truth["appetite"], world.truth["high_propensity"])
        ]
        links.append(np.corrcoef(*left)[0, 1])
    assert links[1] > 0.5 > 0.2 > abs(links[0])


# ---- the other group -----------------------------------------------------------------------------


def test_no_flip_gives_the_log_back(world):
    pd.testing.assert_frame_equal(world.counterfactual(), world.frame)


def test_the_direct_path_moves_what_the_officer_does_and_nothing_before(world):
    other = world.counterfactual(seen=True)
    pd.testing.assert_frame_equal(other[FEATURES], world.frame[FEATURES])
    assert (other["group"] == 1 - world.frame["group"]).all()
    first = world.frame["group"] == 1
    # officers are harder on group 1
    assert (other["approved"] >= world.frame["approved"])[first].all()
    assert (other["approved"] <= world.frame["approved"])[~first].all()
    assert (other["approved"] != world.frame["approved"]).mean() > 0.05


def test_the_path_through_income_leaves_age_and_makes_group_1_poorer(world):
    other = world.counterfactual(lived=True)
    f = world.frame
    first = world.frame["group"] == 1
    assert other["group"].equals(f["group"])
    assert other["age"].equals(f["age"])
    assert (other["income"] > f["income"])[first].all()
    assert (other["income"] < f["income"])[~first].all()
    assert (other["employed"] >= f["employed"])[first].all()


def test_a_flip_of_both_gives_one_group_the_other_s_approvals(world):
    total = world.counterfactual(seen=True, lived=True)
    step = world.counterfactual(seen=True)
    assert (total["approved"] != world.frame["approved"]).mean() > (
        step["approved"] != world.frame["approved"]
    ).mean()
    # the counterfactual population of group 0 made group 1 has group 1's approval rate: the group
    # is drawn at random
    as_one = np.where(world.frame["group"] == 1, world.frame["propensity"], total["propensity"])
    first = (world.frame["group"] == 1).to_numpy()
    error = as_one.std() * np.sqrt(1 / first.sum() + 1 / (~first).sum())
    assert abs(as_one[first].mean() - as_one[~first].mean()) < 4 * error


# ---- by hand -------------------------------------------------------------------------------------


def test_the_world_stays_the_same(fingerprint):
    """Computed once: what changes a number changes every result that was made with the world."""
    small = loans(300, 4, n_officers=7, appetite=1.5)
    found = [
        fingerprint(small.frame), fingerprint(small.truth), fingerprint(small.counterfactual(seen=True)),
        fingerprint(small.counterfactual(lived=True)), fingerprint(loans(200).frame),
    ]  # fmt: skip
    expected = [
        93.3916638113026,
        0.4844052121373499,
        93.23773340516337,
        88.6160901313796,
        111.3163437108973,
    ]
    assert found == pytest.approx(expected, rel=1e-8)


def test_expectations_over_limits_by_hand(world):
    t = world.truth.head(3)
    for outcome, name in (("risk", "risk"), ("gain", "gain")):
        high = t["high_propensity"]
        expected = (1 - high) * t[f"{name}_if_low"] + high * t[f"{name}_if_high"]
        assert world.if_approved(outcome)[:3].tolist() == pytest.approx(expected.tolist())
    assert world.if_approved().tolist() == world.if_approved("risk").tolist()


def test_the_equations_by_hand():
    """Two applicants: the chances, the use of a limit and the profits, written out with numbers."""
    noise = {"leniency": np.array([0.3, -1.0]), "appetite": np.array([0.5, -2.0])}
    found = module._chances(
        noise,
        np.array([1, 0]),
        np.array([1, 0]),
        np.array([0.4, -0.6]),
        np.array([-0.5, 1.0]),
        np.array([0.2, 0.7]),
        1.5,
    )
    s = lambda x: 1 / (1 + np.exp(-np.array(x)))  # noqa: E731
    approve = s([0.5 - 0.55 + 0.16 + 0.1 - 0.08 - 0.8 + 0.3, 0.5 + 1.1 - 0.24 - 0.4 - 0.28 - 1.0])
    high = s([-0.3 - 0.35 + 0.16 + 0.06 + 0.75 + 0.3, -0.3 + 0.7 - 0.24 + 0.21 - 3.0 - 1.0])
    risk = np.array([-1.9 + 0.35 - 0.16 - 0.1 + 0.04 + 0.45, -1.9 - 0.7 + 0.24 + 0.4 + 0.14 - 1.8])
    assert found.approve == pytest.approx(0.03 + 0.94 * approve)
    assert found.high == pytest.approx(0.03 + 0.94 * high)
    assert found.default[0] == pytest.approx(s(risk))
    assert found.default[1] == pytest.approx(s(risk + 0.3))
    assert found.use == pytest.approx(s([0.2 + 0.16 - 0.32, 0.2 + 0.56 + 0.48]))
    assert module._profit(15.0, 0.4, np.array([0, 1])).tolist() == pytest.approx(
        [6 * 0.15 - 0.05, -6 * 0.45 - 0.05]
    )
