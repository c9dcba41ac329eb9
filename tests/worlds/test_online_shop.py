"""The shop's truth against what it realised; bounds are 4 standard errors of the simulated means."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_frame
from causal_lib.data import schema
from causal_lib.models import clicks_of, train_recommender
from causal_lib.worlds.online_shop import _TASTE, PRICE_ON_POPULARITY, _distinct, shop


def _close(draws, probabilities):
    draws = np.asarray(draws, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    error = np.sqrt((probabilities * (1 - probabilities)).sum()) / len(draws)
    assert abs(draws.mean() - probabilities.mean()) < 4 * error


def _digest(world):
    frames = (world.users, world.items, world.candidates, world.truth)
    return [pd.util.hash_pandas_object(f, index=False).sum() for f in frames]


def test_same_seed_same_bytes():
    small = {"n_users": 60, "n_items": 20, "days": 3}
    assert _digest(shop(**small, seed=5)) == _digest(shop(**small, seed=5))
    assert all(
        a != b
        for a, b in zip(_digest(shop(**small, seed=5)), _digest(shop(**small, seed=6)), strict=True)
    )


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
    c = world.candidates
    t = world.truth
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


def test_weighting_by_the_logged_propensity_gives_the_true_effect_and_the_naive_difference_does_not(
    world,
):
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
    c = world.candidates
    t = world.truth
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
    tables = world.tables()
    c = world.candidates
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
        ({"taste": "bought"}, "taste must be one of by_age, learnable, not 'bought'"),
        ({"price_factor": 0.0}, "price_factor must be above 0 and finite, not 0.0"),
        ({"price_factor": float("nan")}, "price_factor must be above 0 and finite, not nan"),
    ],
)
def test_sizes_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        shop(**arguments)


def test_potential_outcomes_at_the_places_of_the_log_are_those_of_the_log(world):
    rows = world.candidates
    found = world.potential_outcomes(
        rows["user_id"], rows["item_id"], world.truth["position_if_exposed"]
    )
    for column in ("click_if_exposed", "purchase_if_exposed", "purchase_if_not", "uplift"):
        np.testing.assert_allclose(found[column], world.truth[column], rtol=1e-12)
    with pytest.raises(ValueError, match="position must be 1 or more, not 0"):
        world.potential_outcomes(0, [0, 1, 2], [1, 0, -1])


def test_unknown_pairs(world):
    with pytest.raises(ValueError, match=r"item_id: 1 ids outside 0\.\.99"):
        world.potential_outcomes(0, 100)


def test_the_world_stays_the_same(fingerprint):
    """Computed once: what changes a number changes every result that was made with the world."""
    small = shop(80, 30, 4, seed=3)
    found = [
        fingerprint(small.users, small.items), fingerprint(small.candidates), fingerprint(small.truth), fingerprint(small.raw()),
        fingerprint(small.raw(seed=5, duplicates=0.05, missing=0.2)), fingerprint(*small.tables().values()),
    ]  # fmt: skip
    expected = [
        101.41307980229823,
        56.681944096825,
        6.704570699474983,
        105.78469700702229,
        98.27661062369945,
        308.5412405484806,
    ]
    assert found == pytest.approx(expected, rel=1e-8)
    few = shop(50, 12, 3, seed=4, slate=6)
    assert fingerprint(few.candidates, few.truth) == pytest.approx(38.2641567108785, rel=1e-8)
    assert (few.candidates.groupby(["user_id", "day"]).size() == 6).all()


def test_the_equations_of_click_and_purchase_by_hand(world):
    """One user aged 25-34 and three items of the home, the second without stock, the third dearer
    and of less quality.
    """
    users = world.users.iloc[:1].assign(
        age_band=pd.Categorical(["25-34"], world.users["age_band"].cat.categories, ordered=True),
        activity=0.5,
        price_sensitivity=2.0,
    )
    items = world.items.iloc[:3].assign(
        category=pd.Categorical(["home"] * 3, world.items["category"].cat.categories),
        price=np.exp([3.2 + 0.35, 3.2 + 0.35, 3.2 + 0.7]),
        stock=[3, 0, 1],
        quality=[1.0, 1.0, -0.5],
        popularity=[0.2, 0.2, -1.0],
    )
    found = replace(world, users=users, items=items).potential_outcomes(0, np.arange(3), position=4)
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    # burden: 0.4 * 2 + 0.3 * 0.5 + 0.5 * 2 * 0.5 for a price of half a unit, 0.8 + 0.3 + 1 for one;
    # no taste for the home at 25-34
    clicks = [
        s(-0.7 + 0.7 - 1.45) * 4**-0.7,
        s(-0.7 + 0.7 - 1.45) * 4**-0.7,
        s(-0.7 - 0.35 - 2.1) * 4**-0.7,
    ]
    buys = [s(-1.5 + 0.5 - 1.45), 0, s(-1.5 - 0.25 - 2.1)]
    organic = [s(-3.4 + 0.5 + 0.26 - 0.15), 0, s(-3.4 + 0.5 - 1.3 - 0.3)]
    for row, (click, buy, alone) in enumerate(zip(clicks, buys, organic, strict=True)):
        whole = alone + (1 - alone) * click * buy
        expected = [click, whole, alone, whole - alone]
        columns = ["click_if_exposed", "purchase_if_exposed", "purchase_if_not", "uplift"]
        assert found.loc[row, columns].tolist() == pytest.approx(expected)


def test_tables_hold_prices_and_positions_by_hand(world):
    tables = world.tables()
    c = world.candidates
    bought = c[c["purchased"] == 1]
    assert (
        tables["purchases"]["price"].tolist()
        == world.items["price"].iloc[bought["item_id"]].tolist()
    )
    assert tables["purchases"]["exposed"].tolist() == bought["exposed"].tolist()
    shown = c[c["exposed"] == 1]
    for column in ("propensity", "position", "clicked"):
        assert tables["impressions"][column].tolist() == shown[column].tolist()
    assert tables["ratings"]["rating"].tolist() == c["rating"].dropna().tolist()
    assert world.ate == pytest.approx(
        (world.truth["purchase_if_exposed"] - world.truth["purchase_if_not"]).mean()
    )


# ---- a taste that can be learnt ------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnable():
    return shop(300, 80, 40, seed=1, taste="learnable")


def test_the_learnable_shop_keeps_the_promises_of_the_other(learnable):
    test_exposure_follows_its_propensity(learnable)
    test_realised_outcomes_follow_the_potential_ones(learnable)
    test_positions_of_a_visit_are_one_to_the_number_shown(learnable)
    test_propensity_depends_on_the_graphs_parents_only(learnable, learnable.log())
    test_weighting_by_the_logged_propensity_gives_the_true_effect_and_the_naive_difference_does_not(
        learnable
    )


def test_either_taste_has_the_same_users_and_graph(learnable):
    other = shop(300, 80, 40, seed=1)
    pd.testing.assert_frame_equal(learnable.users, other.users)
    assert learnable.graph == other.graph
    assert other.user_taste.shape == (300, 0)
    assert learnable.items["popularity"].corr(learnable.items["quality"]) < 0.4


def test_true_taste_is_what_no_mean_explains(learnable):
    """By the equation of a click: price sensitivity times price, age and category, and factors."""
    users = learnable.users
    items = learnable.items
    sensitivity = users["price_sensitivity"].to_numpy()[:, None]
    price_level = (np.log(items["price"].to_numpy()) - 3.2) / 0.7
    table = _TASTE[users["age_band"].cat.codes][:, items["category"].cat.codes]
    pairs = table + learnable.user_taste @ learnable.item_taste.T - 0.5 * sensitivity * price_level
    pairs -= pairs.mean(axis=0)
    pairs -= pairs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(learnable.true_taste(), pairs, atol=1e-9)
    assert np.linalg.matrix_rank(learnable.user_taste @ learnable.item_taste.T) == 3


def test_taste_is_recovered_where_it_can_be_learnt_and_not_in_the_other_shop(learnable):
    found = {}
    for world in (learnable, shop(300, 80, 40, seed=1)):
        train, validation, _, _ = clicks_of(world)
        model = train_recommender(
            train, validation, "bpr", options={"dim": 16, "l2": 0.03}, progress=False
        )
        scores = model.scores(np.arange(300)).astype(float)
        scores = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True)
        found[world.taste] = np.corrcoef(scores.ravel(), world.true_taste().ravel())[0, 1]
    assert found["learnable"] > 0.3
    assert abs(found["by_age"]) < 0.15


# ---- other policies and prices -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["world", "learnable"])
def test_truth_of_an_exposed_row_by_resimulation(name, request):
    """One candidate of each visit is exposed, the others as they were; the noise that ranks them is
    drawn anew.
    """
    world = request.getfixturevalue(name)
    first = ~world.frame.duplicated(["user_id", "day"]).to_numpy()
    show = np.where(first, 1.0, world.frame["exposed"])
    drawn = [world.resimulate(show, seed=k)["purchase"][first].mean() for k in range(20)]
    hidden = world.resimulate(np.where(first, 0.0, show))["purchase"][first]
    expected = world.truth[first]
    error = np.std(drawn, ddof=1)  # of one draw, as the truth is one
    assert abs(np.mean(drawn) - expected["purchase_if_exposed"].mean()) < 4 * error
    np.testing.assert_array_equal(hidden, expected["purchase_if_not"])


def test_resimulating_the_log_gives_the_log(world):
    c = world.candidates
    again = world.resimulate(c["propensity"], seed=7)
    _close(again["exposed"], c["propensity"])
    shown = again["exposed"] == 1
    assert again["position"][~shown].isna().all()
    places = [p.dropna().astype(int).value_counts(normalize=True) for p in (again["position"], c["position"])]  # fmt: skip
    assert abs(places[0] - places[1]).max() < 0.02
    drawn = [world.resimulate(c["propensity"], seed=k)["purchase"].mean() for k in range(10)]
    error = np.sqrt(c["purchased"].var() / len(c))
    assert abs(np.mean(drawn) - c["purchased"].mean()) < 4 * error


def test_a_policy_that_shows_everything_fills_each_slate(world):
    c = world.candidates
    everything = world.resimulate(np.ones(len(c)))
    places = everything["position"].groupby([c["user_id"], c["day"]]).agg(lambda p: sorted(p))
    assert places.map(lambda p: p == list(range(1, 11))).all()
    nothing = world.resimulate(np.zeros(len(c)))
    np.testing.assert_array_equal(nothing["purchase"], world.truth["purchase_if_not"])
    # rows moved down by their rivals are clicked less: the effect under the log's slates is larger
    gain = everything["purchase"] - nothing["purchase"]
    assert 0 < gain.mean() < 0.8 * world.ate


@pytest.mark.parametrize(
    ("show", "message"),
    [
        (np.ones(3), r"show has shape \(3,\)"),
        (None, r"show: 1 value outside \[0, 1\], first 1.5"),
    ],
)
def test_a_policy_that_is_none(world, show, message):
    if show is None:
        show = np.zeros(len(world.frame))
        show[5] = 1.5
    with pytest.raises(ValueError, match=message):
        world.resimulate(show)


def test_prices_set_by_intervention_move_what_they_cause_and_nothing_else():
    now = shop(200, 60, 5, seed=2)
    cut = shop(200, 60, 5, seed=2, price_factor=0.8)
    pd.testing.assert_frame_equal(now.users, cut.users)
    for column in ("category", "quality"):
        assert (now.items[column] == cut.items[column]).all()
    np.testing.assert_allclose(cut.items["price"], 0.8 * now.items["price"], atol=0.011)
    np.testing.assert_allclose(
        cut.items["popularity"], now.items["popularity"] + PRICE_ON_POPULARITY * np.log(0.8)
    )
    # the stock falls with popularity, whose part of the mean is exp(-0.6 popularity)
    stock = [
        np.mean([shop(1, 60, 1, seed=k, price_factor=f).items["stock"].mean() for k in range(150)])
        for f in (1.0, 0.5)
    ]
    ratio = np.exp(-0.6 * PRICE_ON_POPULARITY * np.log(0.5))
    assert stock[1] / stock[0] == pytest.approx(ratio, abs=0.05)


def test_two_rankings_change_what_is_shown_and_nothing_before_it():
    world = shop(n_users=300, n_items=60, days=6, seed=2)
    log = world.two_rankings(seed=1)
    assert log.equals(world.two_rankings(seed=1))
    attributes = ["price", "quality", "popularity", "stock"]
    pd.testing.assert_frame_equal(log[attributes], world.log()[attributes])
    assert log["week"].eq("by price").equals(world.frame["day"] >= 3)
    slopes = {}
    for week, rows in log.groupby("week"):
        z = rows[["price", "popularity"]]
        z = np.column_stack([(z - z.mean()) / z.std(), np.ones(len(z))])
        exposed = rows["exposed"].to_numpy(dtype=float)
        fit, (rss,), *_ = np.linalg.lstsq(z, exposed, rcond=None)
        # errors of a slope are at most those of uncorrelated columns times two
        slopes[week] = fit[:2] / (2 * np.sqrt(rss) / len(z))
    # in a week one of the two decides, in standard errors
    assert abs(slopes["by popularity"][0]) < 4
    assert slopes["by popularity"][1] > 10
    assert slopes["by price"][0] < -10
    assert abs(slopes["by price"][1]) < 4
