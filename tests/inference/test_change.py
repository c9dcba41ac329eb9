"""A change split over mechanisms, against brute force, empirical tables and the bootstrap."""

import json
from decimal import Decimal
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from causal_lib.graph import CausalGraph
from causal_lib.inference import attribute_change
from causal_lib.inference.change import holm, shapley

NODES = ["a", "b", "c", "y"]
COMPLETE = CausalGraph.from_edges(
    NODES, [f"{one} -> {other}" for i, one in enumerate(NODES) for other in NODES[i + 1 :]]
)
# one leaf for each cell of the binary parents
SATURATED = {
    "outcome": DecisionTreeRegressor(min_samples_leaf=10),
    "propensity": DecisionTreeClassifier(min_samples_leaf=10),
}
SHOP = CausalGraph.from_edges(
    ["who", "price", "place", "sold"],
    ["who -> place", "price -> place", "who -> sold", "price -> sold", "place -> sold"],
)


def over_orders(value, players):
    """Shapley values as the mean marginal contribution over all orders."""
    found = dict.fromkeys(players, 0.0)
    orders = list(permutations(players))
    for order in orders:
        for place, player in enumerate(order):
            later = value(frozenset(order[: place + 1]))
            found[player] += (later - value(frozenset(order[:place]))) / len(orders)
    return found


def mixed(tables, outcome=lambda cell: cell[-1]):
    """Coalition -> E of ``outcome`` of the cell when nodes in it have the tables of period 1.

    ``tables``: for each period, node -> P(node = 1) for each value of the nodes before it.
    """

    def value(coalition):
        total = 0.0
        for cell in product((0, 1), repeat=len(NODES)):
            chance = 1.0
            for place, node in enumerate(NODES):
                one = tables[int(node in coalition)][node][cell[:place]]
                chance *= one if cell[place] else 1 - one
            total += chance * outcome(cell)
        return total

    return value


def tables_of(frame):
    """Node -> P(node = 1) for each value of the nodes before it, by the rows."""
    found = {}
    for place, node in enumerate(NODES):
        found[node] = {
            before: float(
                frame.loc[(frame[NODES[:place]] == list(before)).all(axis=1), node].mean()
            )
            for before in product((0, 1), repeat=place)
        }
    return found


def drawn(tables, n, rng):
    """n rows of the binary model."""
    found = np.empty((n, 0), dtype=int)
    for node in NODES:
        chance = np.array([tables[node][tuple(row)] for row in found.tolist()])
        found = np.column_stack([found, rng.random(n) < chance])
    return pd.DataFrame(found, columns=NODES)


def random_tables(rng):
    return {
        node: {cell: rng.uniform(0.25, 0.75) for cell in product((0, 1), repeat=place)}
        for place, node in enumerate(NODES)
    }


@pytest.fixture(scope="module")
def binary():
    """Two periods of a binary model whose mechanisms all differ, and the answer."""
    rng = np.random.default_rng(3)
    frames = [drawn(random_tables(rng), 2000, rng) for _ in range(2)]
    return frames, attribute_change(*frames, "y", COMPLETE, learners=SATURATED, by="a")


def visits(n, seed, *, price=0.0, place=0.0, taste=0.0):
    """Rows of a shop, with what its mechanisms are shifted by."""
    rng = np.random.default_rng(seed)
    who = rng.choice(["new", "old", "vip"], n)
    cost = rng.normal(size=n) + price
    slot = 0.5 * (who == "vip") - 0.4 * cost + rng.normal(size=n) + place
    odds = 0.6 * (who == "vip") - 0.8 * cost - 0.7 * slot + taste
    sold = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(int)
    return pd.DataFrame({"who": who, "price": cost, "place": slot, "sold": sold})


def change(before, after, graph=SHOP, outcome="sold", **how):
    return attribute_change(before, after, outcome, graph, **{"learners": "linear", **how})


# ---- Shapley values ------------------------------------------------------------------------------


def test_shapley_values_are_the_mean_over_all_orders():
    rng = np.random.default_rng(0)
    value = mixed([random_tables(rng) for _ in range(2)])
    found = shapley(value, NODES)
    expected = over_orders(value, NODES)
    assert all(abs(found[node] - expected[node]) < 1e-12 for node in NODES)
    whole = value(frozenset(NODES)) - value(frozenset())
    assert abs(sum(found.values()) - whole) < 1e-12


def test_a_group_is_one_player():
    value = mixed([random_tables(np.random.default_rng(seed)) for seed in (1, 2)])
    members = {"who": ["a", "c"], "b": ["b"], "y": ["y"]}
    found = shapley(value, list(members), members)
    expected = over_orders(
        lambda names: value(frozenset(node for name in names for node in members[name])),
        list(members),
    )
    assert found == pytest.approx(expected, abs=1e-12)


@given(
    st.integers(1, 5).flatmap(lambda m: st.lists(st.floats(-9, 9), min_size=2**m, max_size=2**m))
)
def test_shares_sum_to_the_whole_and_a_player_who_adds_nothing_has_none(worths):
    players = range(len(worths).bit_length() - 1)

    def value(coalition):
        return worths[sum(2**player for player in coalition)]

    found = shapley(value, players)
    assert sum(found.values()) == pytest.approx(worths[-1] - worths[0], abs=1e-9)
    with_idle = shapley(lambda coalition: value(coalition - {"idle"}), [*players, "idle"])
    assert with_idle["idle"] == pytest.approx(0, abs=1e-9)
    for player in players:
        assert with_idle[player] == pytest.approx(found[player], abs=1e-9)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


# ---- estimates -----------------------------------------------------------------------------------


def test_it_is_what_the_empirical_tables_give(binary):
    """With a leaf for each cell the doubly robust estimate is that of the cells, but for folds."""
    frames, found = binary
    tables = list(map(tables_of, frames))
    expected = over_orders(mixed(tables), NODES)
    parts = found.parts.set_index("mechanism")
    for node in NODES:
        row = parts.loc[node]
        assert abs(row["value"] - expected[node]) < 0.15 * row["standard_error"]
    assert parts["standard_error"].max() < 0.02
    start = frames[0]["y"].mean()
    for level in (0, 1):
        value = mixed(tables, lambda cell, level=level: (cell[3] - start) * (cell[0] == level))
        expected = over_orders(value, NODES)
        rows = found.buckets[found.buckets["bucket"] == level].set_index("mechanism")
        for node in NODES:
            row = rows.loc[node]
            assert abs(row["value"] - expected[node]) < 0.15 * row["standard_error"] + 1e-12


def test_a_group_between_whose_nodes_another_stands(binary):
    frames, _ = binary
    groups = {"a and c": ["a", "c"]}
    found = attribute_change(*frames, "y", COMPLETE, learners=SATURATED, mechanisms=groups)
    assert found.parts["nodes"].tolist() == ["a, c", "b", "y"]
    members = {"a and c": ["a", "c"], "b": ["b"], "y": ["y"]}
    expected = shapley(mixed(list(map(tables_of, frames))), list(members), members)
    for row in found.parts.itertuples():
        assert abs(row.value - expected[row.mechanism]) < 0.15 * row.standard_error


def test_either_model_may_be_wrong(binary):
    """A model that knows no columns does no harm where the other is right."""
    frames, _ = binary
    expected = over_orders(mixed(list(map(tables_of, frames))), NODES)

    def errors(**wrong):
        found = attribute_change(*frames, "y", COMPLETE, learners=SATURATED | wrong)
        away = found.parts["value"] - [expected[node] for node in NODES]
        return np.abs(away / found.parts["standard_error"])

    assert errors(outcome=DummyRegressor()).max() < 0.4
    assert errors(propensity=DummyClassifier()).max() < 0.4
    assert errors(outcome=DummyRegressor(), propensity=DummyClassifier()).max() > 2


def test_its_errors_are_those_of_the_bootstrap(binary):
    frames, found = binary
    rng = np.random.default_rng(0)
    cells = list(product((0, 1), repeat=len(NODES)))
    draws = []
    for _ in range(150):
        tables = []
        for frame in frames:
            codes = frame.to_numpy() @ [8, 4, 2, 1]
            seen = np.bincount(rng.choice(codes, len(codes)), minlength=16)
            again = pd.DataFrame(np.repeat(cells, seen, axis=0), columns=NODES)
            tables.append(fast_tables(again))
        start = tables[0]["mean"]
        whole = shapley(mixed(tables), NODES)
        one = shapley(mixed(tables, lambda c, m=start: (c[3] - m) * (c[0] == 1)), NODES)
        draws.append([*(whole[node] for node in NODES), *(one[node] for node in NODES)])
    spread = np.std(draws, axis=0, ddof=1)
    rows = found.buckets[found.buckets["bucket"] == 1]
    errors = [*found.parts["standard_error"], *rows["standard_error"]]
    # 150 draws know a standard deviation to 6%
    assert errors == pytest.approx(spread, rel=0.2)


def fast_tables(frame):
    """As `tables_of`, with the mean of the outcome."""
    values = frame.to_numpy()
    found = {"mean": values[:, -1].mean()}
    for place, node in enumerate(NODES):
        codes = (
            values[:, :place] @ (2 ** np.arange(place)[::-1]) if place else np.zeros(len(values))
        )
        codes = codes.astype(int)
        share = np.bincount(codes, values[:, place], 2**place) / np.bincount(codes, None, 2**place)
        found[node] = dict(zip(product((0, 1), repeat=place), share, strict=True))
    return found


def test_a_bucket_that_grows_is_compared_with_the_mean_before():
    """φ of the bucket's mechanism is (q1 - q0) ((m0 + m1) / 2 - mean before), for the shares q of
    the bucket and its means m, and its error that of 2,000 resamples.
    """
    rng = np.random.default_rng(0)
    frames = []
    for share, rates in ((0.1, [0.5, 0.9]), (0.9, [0.4, 0.8])):
        bucket = (rng.random(800) < share).astype(int)
        y = (rng.random(800) < np.array(rates)[bucket]).astype(int)
        frames.append(pd.DataFrame({"bucket": bucket, "y": y}))
    graph = CausalGraph.from_edges(["bucket", "y"], ["bucket -> y"])
    found = attribute_change(*frames, "y", graph, by="bucket", learners=SATURATED).buckets

    def share(of_before, of_after):
        """Of bucket 1, from the shares of the cells (..., bucket, y) in each period."""
        in_bucket = [cells[..., 1, :].sum(axis=-1) for cells in (of_before, of_after)]
        means = [of_before[..., 1, 1] / in_bucket[0], of_after[..., 1, 1] / in_bucket[1]]
        start = of_before[..., 1].sum(axis=-1)
        return (in_bucket[1] - in_bucket[0]) * (np.mean(means, axis=0) - start)

    cells = [pd.crosstab(frame["bucket"], frame["y"]).to_numpy() / 800 for frame in frames]
    drawn = [rng.multinomial(800, one.ravel(), 2000).reshape(-1, 2, 2) / 800 for one in cells]
    row = found[(found["mechanism"] == "bucket") & (found["bucket"] == 1)].iloc[0]
    assert abs(row["value"] - share(*cells)) < 0.2 * row["standard_error"]
    assert row["standard_error"] == pytest.approx(share(*drawn).std(), rel=0.08)


def test_the_shares_sum_to_the_change_and_those_of_buckets_to_the_shares(binary):
    frames, found = binary
    whole = frames[1]["y"].mean() - frames[0]["y"].mean()
    assert found.parts["value"].sum() == pytest.approx(whole, abs=1e-12)
    assert found.value == pytest.approx(whole, abs=1e-12)
    assert found.after - found.before == pytest.approx(whole, abs=1e-15)
    sums = found.buckets.groupby("mechanism", sort=False)["value"].sum()
    assert sums.to_numpy() == pytest.approx(found.parts["value"].to_numpy(), abs=1e-12)


def test_the_change_of_two_means_has_their_error(binary):
    (before, after), found = binary
    error = np.sqrt(before["y"].var(ddof=0) / 2000 + after["y"].var(ddof=0) / 2000)
    assert (found.high - found.low) / 2 == pytest.approx(1.9606 * error, rel=1e-3)


@pytest.mark.parametrize("propensity", ["splines", DummyClassifier()])
def test_a_known_model_that_is_not_straight(propensity):
    """E[y] = E[price² x stock]; who is priced and what is in stock both change."""
    graph = CausalGraph.from_edges(["price", "stock", "y"], ["price -> y", "stock -> y"])

    def week(seed, spread, rate):
        rng = np.random.default_rng(seed)
        price = spread * rng.normal(size=3000)
        stock = (rng.random(3000) < rate).astype(int)
        y = price**2 * stock + rng.normal(size=3000)
        return pd.DataFrame({"price": price, "stock": stock, "y": y})

    learners = {"outcome": "splines", "propensity": propensity}
    found = change(week(1, 1.0, 0.5), week(2, 1.2, 0.8), graph, "y", learners=learners)
    squares = np.array([1.0, 1.44])
    rates = np.array([0.5, 0.8])
    truth = [np.diff(squares)[0] * rates.mean(), np.diff(rates)[0] * squares.mean(), 0.0]
    parts = found.parts
    assert (np.abs(parts["value"] - truth) < 3 * parts["standard_error"]).all()
    assert parts["standard_error"].max() < 0.07
    assert set(found.moved) == {"price", "stock"}


@pytest.mark.parametrize("name", ["price", "place", "sold"])
def test_the_mechanism_that_changed_comes_first(name):
    how = {"taste" if name == "sold" else name: 0.8}
    found = change(visits(1000, 1), visits(1000, 2, **how))
    assert found.moved[0] == name
    assert found.verdict == "supported"
    row = found.parts.set_index("mechanism").loc[name]
    assert max(row["low"], -row["high"]) > 0


def test_where_nothing_changed_no_mechanism_is_named():
    answers = [change(visits(400, seed), visits(400, seed + 100)) for seed in range(10)]
    assert sum(bool(found.moved) for found in answers) <= 1
    # weights that only follow noise would leave fewer effective rows
    assert np.median([found.diagnostics["effective_sample_size"] for found in answers]) > 399
    quiet = next(found for found in answers if not found.moved)
    assert "no mechanism is seen to have moved it" in repr(quiet)


def test_the_same_rows_twice_have_no_change():
    frame = visits(300, 5)
    found = change(frame, frame.copy(), cluster=None)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.moved == ()


def test_units_shift_order_and_names_change_nothing():
    before = visits(300, 1)
    after = visits(300, 2, price=0.5)
    rng = np.random.default_rng(0)
    for frame in (before, after):
        frame["spent"] = 3 * frame["sold"] + frame["price"] + rng.normal(size=300)
    graph = CausalGraph.from_edges(
        ["who", "price", "place", "spent"], [e.replace("sold", "spent") for e in SHOP.edges]
    )
    plain = change(before, after, graph, "spent")

    def other(frame):
        frame = frame.sample(frac=1, random_state=3).iloc[:, ::-1]
        return frame.assign(
            spent=frame["spent"] * 1000 + 1e6,
            price=frame["price"] / 100 - 7,
            who=frame["who"].astype("category"),
        )

    found = change(other(before), other(after), graph, "spent")
    numbers = ["value", "standard_error", "low", "high"]
    assert found.parts[numbers].to_numpy() / 1000 == pytest.approx(
        plain.parts[numbers].to_numpy(), rel=1e-4, abs=1e-6
    )
    assert found.moved == plain.moved
    two = [frame.assign(sold=frame["sold"] * 20 + 5) for frame in (before, after)]
    once = change(before, after)
    assert change(*two).parts["value"].to_numpy() / 20 == pytest.approx(
        once.parts["value"].to_numpy(), abs=1e-9
    )


@pytest.mark.parametrize(
    "other",
    [
        lambda f: f.convert_dtypes(),
        lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
        lambda f: f.assign(price=[Decimal(repr(x)) for x in f["price"]]),
        lambda f: f.assign(sold=f["sold"].astype(bool), who=f["who"].astype("category")),
        lambda f: f.set_index(pd.date_range("2026-01-01", periods=len(f))),
        lambda f: f.assign(price=pd.Timestamp("2026-01-01") + pd.to_timedelta(f["price"], "D")),
    ],
    ids=["nullable", "arrow", "decimal", "boolean and category", "index", "dates"],
)
def test_what_columns_mean_counts_and_not_their_dtypes(other):
    frames = visits(80, 1), visits(80, 2)
    plain = change(*frames).parts["value"].to_numpy()
    assert change(*map(other, frames)).parts["value"].to_numpy() == pytest.approx(plain, abs=1e-8)


def test_rows_of_a_unit_count_once():
    before = visits(600, 1)
    after = visits(600, 2, price=0.5)
    twice = [
        pd.concat([frame, frame], ignore_index=True).assign(unit=[*range(600)] * 2)
        for frame in (before, after)
    ]
    twice[1]["unit"] += 600
    single = change(before, after).parts["standard_error"]
    clustered = change(*twice, cluster="unit").parts["standard_error"]
    assert clustered.to_numpy() == pytest.approx(single.to_numpy(), rel=0.1)


def test_units_of_both_periods_are_compared_with_themselves():
    """Each unit's own level cancels where it is in both periods."""
    rng = np.random.default_rng(0)
    graph = CausalGraph.from_edges(["x", "y"], ["x -> y"])
    level = 5 * rng.normal(size=300)
    frames = [
        pd.DataFrame(
            {"x": rng.normal(size=300), "y": level + rng.normal(size=300), "unit": range(300)}
        )
        for _ in range(2)
    ]
    apart = change(*frames, graph, "y")
    paired = change(*frames, graph, "y", cluster="unit")
    assert paired.high - paired.low < 0.4 * (apart.high - apart.low)


# ---- overlap -------------------------------------------------------------------------------------


def test_a_new_value_of_a_mechanism_is_extrapolated():
    def week(seed, ranker):
        frame = visits(500, seed)
        return frame.assign(ranker=ranker)

    graph = CausalGraph.from_edges([*SHOP.names, "ranker"], [*SHOP.edges, "ranker -> place"])
    found = change(week(1, "old"), week(2, "new"), graph)
    verdicts = found.parts.set_index("mechanism")["verdict"]
    assert verdicts["ranker"] == "extrapolated"
    assert verdicts["place"] == "extrapolated"
    assert verdicts["who"] == verdicts["price"] == "supported"
    assert found.verdict == "extrapolated"
    assert "ranker: 100.0% of the rows" in repr(found)
    together = change(
        week(1, "old"), week(2, "new"), graph, mechanisms={"ranking": ["ranker", "place"]}
    )
    assert together.parts["mechanism"].tolist() == ["who", "price", "ranking", "sold"]


def test_prices_far_from_those_before_are_extrapolated():
    found = change(visits(500, 1), visits(500, 2, price=6.0))
    verdicts = found.parts.set_index("mechanism")["verdict"]
    assert verdicts["price"] == "extrapolated"
    assert verdicts["who"] == "supported"


def test_few_clusters_are_weak():
    frames = [visits(60, seed).assign(unit=np.arange(60) % 8 + 8 * seed) for seed in (0, 1)]
    found = change(*frames, cluster="unit")
    assert found.verdict != "supported"
    assert any("8 clusters" in reason for reason in found.reasons)


# ---- what it shows -------------------------------------------------------------------------------


def test_it_tells_itself():
    found = change(visits(400, 1), visits(400, 2, price=1.0), by="who")
    assert repr(found).startswith("sold: 0.")
    assert "moved by price by -0." in repr(found)
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["moved"][0] == "price"
    assert len(kept["parts"]) == 4
    assert len(kept["buckets"]) == 12
    assert "price" in found._repr_html_()
    frame = found.to_frame()
    assert frame.columns.tolist()[:3] == ["mechanism", "bucket", "value"]
    frame["value"] = 0
    assert found.to_frame()["value"].abs().sum() > 0


# ---- bad input -----------------------------------------------------------------------------------


WEEK = visits(60, 0)
WEEK2 = visits(60, 1)
BAD = {
    "an outcome that is not in the graph": (
        {"outcome": "bought"},
        "no variable 'bought' in the graph",
    ),
    "no graph": ({"graph": [("price", "sold")]}, "graph: a CausalGraph is needed, not list"),
    "a cycle": (
        {"graph": CausalGraph.from_edges("abs", ["a -> b", "b -> s", "s -> a"]), "outcome": "s"},
        "needs an acyclic graph; cycle: ",
    ),
    "a hidden cause": (
        {"graph": CausalGraph.from_edges(["price", "sold"], ["price <-> sold"])},
        "needs a DAG; edge 'price <-> sold'",
    ),
    "no causes": (
        {"graph": CausalGraph.from_edges(["price", "sold"], [])},
        "the outcome 'sold' has no causes there",
    ),
    "a period without a column": (
        {"after": WEEK2.drop(columns="price")},
        "after: no column 'price'",
    ),
    "missing values": (
        {"before": WEEK.assign(price=[None, *WEEK["price"][1:]])},
        "before: column 'price' has 1 missing value; impute",
    ),
    "one row": ({"after": WEEK2[:1]}, "after: has 1 row; at least 20 are needed"),
    "no rows": ({"before": WEEK[:0]}, "before: has no rows"),
    "an outcome that is constant": (
        {"before": WEEK.assign(sold=1), "after": WEEK2.assign(sold=1)},
        "column 'sold' is constant (1 in 120 rows)",
    ),
    "a column that is constant": (
        {"before": WEEK.assign(price=2.0), "after": WEEK2.assign(price=2.0)},
        "before and after: column 'price' is constant (2.0 in 120 rows)",
    ),
    "another kind of column": (
        {"after": WEEK2.assign(price="dear")},
        "after: column 'price' holds a category, and a number in before",
    ),
    "an outcome of text": (
        {"before": WEEK.assign(sold="no"), "after": WEEK2.assign(sold="yes")},
        "column 'sold' must hold numbers",
    ),
    "a group with a stranger": (
        {"mechanisms": {"who came": ["who", "age"]}},
        "mechanisms: 'age' of 'who came' is neither 'sold' nor an ancestor",
    ),
    "a group without nodes": (
        {"mechanisms": {"who came": []}},
        "mechanisms: 'who came' has no nodes",
    ),
    "a node in two groups": (
        {"mechanisms": {"one": ["who", "price"], "two": ["price"]}},
        "mechanisms: 'price' is in 'one' and in 'two'",
    ),
    "a group called like a node": (
        {"mechanisms": {"price": ["who"]}},
        "mechanisms: 'price' is the name of a group and of a node outside of it",
    ),
    "a group that is a text": (
        {"mechanisms": {"who came": "who"}},
        r"mechanisms['who came']: a list of columns is needed, not the text 'who'",
    ),
    "groups in a list": ({"mechanisms": [["who"]]}, "mechanisms: a dict of name -> nodes"),
    "buckets of a node with parents": (
        {"by": "place"},
        "by: 'place' must be an ancestor of 'sold' without parents in the graph; those: who, price",
    ),
    "buckets of many levels": (
        {"by": "price"},
        "by: column 'price' has 120 levels; at most 30 are taken",
    ),
    "an empty bucket": (
        {"by": "who", "after": WEEK2.replace({"who": {"vip": "old"}})},
        "by: level 'vip' of column 'who' has no rows in after (1 of 3 levels)",
    ),
    "missing clusters": (
        {"before": WEEK.assign(u=np.nan), "after": WEEK2.assign(u=1.0), "cluster": "u"},
        "before: column 'u' holds only missing values",
    ),
    "no frame": ({"before": "week.csv"}, "before: a pandas DataFrame is needed, not str"),
    "an unknown learner": ({"learners": "magic"}, "learners: unknown name 'magic'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    given, message = BAD[case]
    asked = {"before": WEEK, "after": WEEK2, "outcome": "sold", "graph": SHOP, **given}
    with pytest.raises((ValueError, TypeError)) as error:
        attribute_change(**asked)
    assert message in str(error.value)


def test_too_many_mechanisms_are_to_be_grouped():
    names = [f"x{i}" for i in range(9)]
    graph = CausalGraph.from_edges([*names, "y"], [f"{name} -> y" for name in names])
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame(rng.normal(size=(50, 10)), columns=graph.names) for _ in range(2)]
    with pytest.raises(ValueError, match=r"10 mechanisms \(x0, .*\) need 1,024 coalitions"):
        change(*frames, graph, "y")
    found = change(*frames, graph, "y", mechanisms={"all x": names})
    assert found.parts["mechanism"].tolist() == ["all x", "y"]


def test_inputs_are_left_as_they_are():
    before = visits(60, 1)
    after = visits(60, 2)
    copies = before.copy(), after.copy()
    change(before, after, by="who")
    pd.testing.assert_frame_equal(before, copies[0])
    pd.testing.assert_frame_equal(after, copies[1])
