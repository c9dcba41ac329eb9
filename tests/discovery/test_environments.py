"""`discover` on rows of several environments: what it finds, what changes nothing, what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.discovery.search import discover
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge


def weeks(n=400, seed=0):
    """price -> shown -> sold and price -> sold, a chain with a category; in week two what is shown
    follows the price the other way round.
    """
    rng = np.random.default_rng(seed)
    week = np.repeat(["one", "two"], n)
    price = rng.normal(size=2 * n)
    shown = np.where(week == "two", -0.7, 0.7) * price + rng.normal(size=2 * n)
    sold = shown + 0.5 * price + rng.normal(size=2 * n)
    city = np.where(
        sold + rng.normal(size=2 * n) > 0, "north", rng.choice(["south", "west"], 2 * n)
    )
    return pd.DataFrame(
        {"price": price, "shown": shown, "sold": sold, "city": city, "week": week}
    ).sample(frac=1, random_state=seed, ignore_index=True)


DATA = weeks()


def test_a_changed_slope_tells_the_direction():
    one = DATA[DATA["week"] == "one"].drop(columns="week")
    assert discover(one).adjacency.sum() == 0
    found = discover(DATA, environments="week")
    assert {"price -> shown", "shown -> sold"} <= set(found.edges)
    assert found.info["targets"] == {"one": [], "two": ["shown"]}
    assert found.info["environments"] == {"one": 400, "two": 400}
    assert found.info["encoding"] == {"city": "2 indicators"}
    known = discover(DATA, environments="week", targets={"one": [], "two": ["shown"]})
    assert known == found


def test_the_level_without_targets_is_what_others_changed_from():
    found = discover(DATA, environments="week", targets={"two": []})
    assert found.info["targets"] == {"two": [], "one": ["shown"]}


@pytest.mark.parametrize("targets", [None, {"one": []}, {"one": ["price"]}])
def test_one_level_is_no_environment(targets):
    one = DATA[DATA["week"] == "one"]
    found = discover(one, environments="week", targets=targets)
    wanted = discover(one.drop(columns="week"))
    assert found == wanted
    assert found.info["score"] == wanted.info["score"]
    assert (found.info["environments"], found.info["targets"]) == ({"one": 400}, {"one": []})


def test_levels_without_targets_are_no_environments():
    found = discover(DATA, environments="week", targets={"one": [], "two": []})
    assert found == discover(DATA.drop(columns="week"))


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**6),
    columns=st.permutations(list(DATA.columns)),
    levels=st.permutations(["a", "b"]),
)
def test_order_of_rows_and_columns_and_names_of_levels_change_nothing(seed, columns, levels):
    data = weeks(n=100, seed=seed)
    names = dict(zip(["one", "two"], levels, strict=True))
    turned = data.sample(frac=1, random_state=seed)[columns]
    turned["week"] = turned["week"].map(names).astype("category")
    targets = {"one": []}
    how = {"environments": "week", "restarts": 5}
    first = discover(data, targets=targets, **how)
    second = discover(turned, targets={names["one"]: []}, **how)
    assert first == second
    renamed = {names[level]: set(own) for level, own in first.info["targets"].items()}
    assert renamed == {level: set(own) for level, own in second.info["targets"].items()}


@settings(max_examples=15)
@given(st.data())
def test_knowledge_is_never_violated(data):
    names = list(DATA.columns.drop("week"))
    order = data.draw(st.permutations(names))
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    tiers = data.draw(st.sampled_from([[], [order[:2], order[2:]], [order[:1], order[2:3]]]))
    required = data.draw(st.sets(st.sampled_from(pairs), max_size=2))
    forbidden = data.draw(st.sets(st.sampled_from(pairs), max_size=3)) - required
    known = Knowledge(tiers, forbidden, required)
    found = discover(weeks(n=60, seed=1), environments="week", knowledge=known, restarts=0)
    assert known.violations(found) == []
    assert found.info["overruled"] == []


def test_a_level_that_a_week_lacks_changes_no_column():
    data = DATA.assign(city=DATA["city"].where(DATA["week"] == "one", "north"))
    data.loc[data.index[:3], "city"] = "abroad"
    found = discover(data, environments="week", restarts=0)
    assert found.names == ("price", "shown", "sold", "city")


def test_the_data_stay_as_they_were():
    before = DATA.copy()
    discover(DATA, environments="week", restarts=0)
    pd.testing.assert_frame_equal(DATA, before)


def _copy(data):
    return data.assign(banner=(data["week"] == "two").astype(int))


BAD = {
    "no such column": (
        lambda d: d,
        {"environments": "arm"},
        "environments='arm': there is no such column; columns: price, shown, sold, city, week",
    ),
    "missing": (
        lambda d: d.assign(week=d["week"].mask(d.index < 2)),
        {},
        "column 'week' has 2 missing values; fill in where these rows come from",
    ),
    "one row": (
        lambda d: d.assign(week=d["week"].mask(d.index == 0, "three")),
        {},
        "level 'three' of column 'week' has 1 row, at least 10 are needed; merge",
    ),
    "two small levels": (
        lambda d: d.assign(week=d["week"].mask(d.index == 0, "x").mask(d.index == 1, "y")),
        {},
        r"level 'x' of column 'week' has 1 row \(and 1 other levels\)",
    ),
    "too many levels": (
        lambda d: d.assign(week=np.arange(len(d))),
        {},
        "column 'week' has 800 levels, at most 100 are taken; merge levels",
    ),
    "a level without rows": (
        lambda d: d,
        {"targets": {"three": []}},
        "column 'week' has no row of level 'three'; its levels: 'one', 'two'",
    ),
    "a category without rows": (
        lambda d: d.assign(week=pd.Categorical(d["week"], ["one", "two", "three"])),
        {"targets": {"three": ["price"]}},
        "column 'week' has no row of level 'three'; its levels: 'one', 'two'",
    ),
    "no such variable": (
        lambda d: d,
        {"targets": {"two": ["prize"]}},
        "targets of level 'two': there is no variable 'prize'; variables: price, shown, sold, city",
    ),
    "the column as a target": (
        lambda d: d,
        {"targets": {"two": ["week"]}},
        "'week' is the column of the environments, which is no variable",
    ),
    "the column in the knowledge": (
        lambda d: d,
        {"knowledge": Knowledge(tiers=[["week"]])},
        "knowledge names week, which the data lack",
    ),
    "a variable that the level determines": (
        _copy,
        {},
        "column 'banner' has one value in each of the 2 levels of 'week'",
    ),
    "the only column": (
        lambda d: d[["week"]],
        {},
        "'week' is the only column; there is no variable",
    ),
    "targets alone": (
        lambda d: d.drop(columns="week"),
        {"environments": None, "targets": {"two": ["price"]}},
        "targets are those of environments: name the column",
    ),
    "another method": (
        lambda d: d,
        {"method": "pc"},
        "method 'pc' takes no environments; methods that do: order",
    ),
    "statistics": (Statistics.from_frame, {}, "environments needs rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
    spoil, how, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        discover(spoil(DATA), **{"environments": "week", **how})


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["price"], r"targets: \['price'\] is no mapping; write"),
        ({"two": "price"}, "targets of level 'two': 'price' is no list; write"),
    ],
)
def test_refuses_types(targets, message):
    with pytest.raises(TypeError, match=message):
        discover(DATA, environments="week", targets=targets)


def test_an_unused_category_is_no_level():
    data = DATA.assign(week=pd.Categorical(DATA["week"], ["one", "two", "three"]))
    found = discover(data, environments="week", restarts=0)
    assert list(found.info["environments"]) == ["one", "two"]
    assert isinstance(found, CausalGraph)
