import json
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery.bootstrap import edge_stability
from causal_lib.discovery.stability import (
    Stability,
    calibration,
    calibration_error,
    reliability_table,
)
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge


def _statistics(signs):
    """Two variables; the mean of the first is the sign that `_by_sign` reads, one draw each."""
    draws = (
        np.full(len(signs), 10.0),
        np.column_stack([signs, np.zeros(len(signs))]),
        np.tile(np.eye(2), (len(signs), 1, 1)),
    )
    return Statistics(("a", "b"), (None, None), 10, np.zeros(2), np.eye(2), draws=draws)


def _by_sign(sample):
    sign = {1: ["a -> b"], -1: ["b -> a"], 0: ["a -- b"], 2: [], 3: ["a <-> b"]}
    # in another order than the data's
    return CausalGraph.from_edges(["b", "a"], sign[int(sample.mean[0])])


def test_shares_are_counted():
    stable = edge_stability(_statistics([1, 1, 1, -1, 0, 0, 2, 2, 3, 1]), search=_by_sign)
    assert stable.directed.tolist() == [[0, 0.4], [0.1, 0]]
    assert stable.undirected.tolist() == [[0, 0.2], [0.2, 0]]
    assert stable.none.tolist() == [[1, 0.2], [0.2, 1]]
    assert stable.to_frame().to_numpy().tolist() == [["a", "b", 0.4, 0.1, 0.2, 0.2]]
    pair = {
        "cause": "a",
        "effect": "b",
        "P(i->j)": 0.4,
        "P(j->i)": 0.1,
        "P(i-j)": 0.2,
        "P(none)": 0.2,
    }
    assert json.loads(json.dumps(stable.to_dict())) == {"draws": 10, "pairs": [pair]}
    assert repr(stable) == (
        "Stability of 2 variables over 10 draws, 1 pair adjacent in at least half of them"
    )
    assert edge_stability(_statistics([-1, -1, 1]), n_boot=2, search=_by_sign).directed[1, 0] == 1


def test_other_processes_find_the_same():
    data = _statistics([1, 1, -1, 0])
    here = edge_stability(data, search=_by_sign)
    with joblib.parallel_config("threading"):
        there = edge_stability(data, search=_by_sign, n_jobs=2)
    assert (here.directed == there.directed).all()


@pytest.mark.parametrize("done", [0, 2])
def test_an_interrupted_call_goes_on(done, tmp_path):
    data = _statistics([1, -1, 0, 2, 1])
    calls = []
    folder = tmp_path / "draws"

    def search(sample):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(int(sample.mean[0]))
        return _by_sign(sample)

    stop = done
    with pytest.raises(KeyboardInterrupt):
        edge_stability(data, search=search, resume=folder)
    assert len(list(folder.glob("*"))) == len(calls) == done
    stop = None
    calls[:] = []
    stable = edge_stability(data, search=search, resume=folder)
    assert calls == [1, -1, 0, 2][done:]  # the last draw is the first again
    assert stable.directed.tolist() == [[0, 0.4], [0.2, 0]]
    for options, again in (
        ({}, 0),
        ({"seed": 1}, 4),
        ({"knowledge": Knowledge(forbidden=[("a", "b")])}, 4),
    ):
        calls.clear()
        edge_stability(data, search=search, resume=folder, **options)  # other inputs, other files
        assert len(calls) == again


def _linear(n, seed=0):
    rng = np.random.default_rng(seed)
    x, y, u = rng.normal(size=(3, n))
    return pd.DataFrame({"x": x, "y": y, "z": x + y + u})


@pytest.mark.parametrize("sampling", ["bootstrap", "effective", "subsample"])
@pytest.mark.parametrize("given_as", ["frame", "statistics"])
def test_a_clear_collider_is_stable(sampling, given_as):
    frame = _linear(400)
    data = frame if given_as == "frame" else Statistics.from_frame(frame, n_boot=8)
    if given_as == "statistics" and sampling == "subsample":
        with pytest.raises(ValueError, match="needs a frame"):
            edge_stability(data, method="pc", sampling=sampling)
        return
    stable = edge_stability(data, method="pc", n_boot=8, sampling=sampling, alpha=0.001)
    assert stable.directed[0, 2] == stable.directed[1, 2] == 1
    graph = stable.graph(0.9)
    assert graph == CausalGraph.from_edges("xyz", ["x -> z", "y -> z"])
    assert graph.info["edge_probabilities"] == {"x -> z": 1.0, "y -> z": 1.0}
    assert graph.info["settings"] == {"alpha": 0.001}


@pytest.mark.parametrize(
    ("sampling", "rows"), [("bootstrap", 400), ("effective", 200), ("subsample", 200)]
)
def test_what_a_draw_holds(sampling, rows):
    samples = []

    def search(sample):
        samples.append(sample)
        return CausalGraph.from_edges("xyz")

    edge_stability(_linear(400), search=search, n_boot=40, sampling=sampling)
    if sampling == "subsample":
        assert all(len(sample) == rows and not sample.duplicated().any() for sample in samples)
    else:
        counts = np.array([sample.count for sample in samples])
        assert abs(counts.mean() / rows - 1) < 4 / np.sqrt(40 * 400)
        assert len(set(counts)) > 10


def test_the_bootstrap_finds_too_many_edges_and_its_effective_count_fewer():
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 8)), columns=list("abcdefgh"))
    options = {"method": "flop", "penalty": 1.0, "restarts": 1, "n_boot": 25}
    found = {
        s: np.triu(1 - edge_stability(noise, sampling=s, **options).none, 1).sum()
        for s in ("bootstrap", "effective")
    }
    # Expected over such tables: 28 pairs times P(2χ² > ln 500) = 0.078, and times P(χ² > ln 250) =
    # 0.019.
    assert found["bootstrap"] > 1 > found["effective"]


def test_a_method_that_needs_rows_gets_them():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=500)
    frame = pd.DataFrame({"x": x, "y": x + rng.exponential(size=500)})
    stable = edge_stability(frame, method="lingam", n_boot=4)
    assert stable.directed[0, 1] == 1


def test_a_variable_that_is_constant_in_a_draw_has_no_edge_there():
    frame = _linear(300).assign(
        rare=np.arange(300) == 7, city=np.where(np.arange(300) == 9, "b", "a")
    )
    stats = Statistics.from_frame(frame, n_boot=20)
    there = [
        {"rare", "city"} & {n for n in draw.names if draw.subset([n]).cov.any()}
        for draw in map(stats.draw, range(20))
    ]
    assert {0, 1, 2} == {len(names) for names in there}
    seen = []

    def search(sample):
        seen.append(set(sample.names) & {"rare", "city"})
        return CausalGraph.from_edges(
            sample.names, [(sample.names[0], name) for name in sample.names[1:]]
        )

    stable = edge_stability(stats, search=search)
    assert seen == there
    assert stable.directed[0].tolist() == [
        0,
        1,
        1,
        *(sum(n in names for names in there) / 20 for n in ("rare", "city")),
    ]


def test_knowledge_is_kept_in_every_draw():
    knowledge = Knowledge(tiers=[["z"], ["x", "y"]])
    stable = edge_stability(_linear(300), method="pc", knowledge=knowledge, n_boot=5)
    assert stable.directed[:, 2].sum() == stable.undirected[2].sum() == 0
    assert knowledge.violations(stable.graph()) == []


# ---- the majority graph --------------------------------------------------------------------------


@st.composite
def _stabilities(draw):
    d = draw(st.integers(2, 6))
    b = draw(st.integers(1, 5))
    votes = np.zeros((3, d, d))
    for _ in range(b):
        for i in range(d):
            for j in range(i):
                kind = draw(st.sampled_from(["->", "<-", "--", ""]))
                votes[0][(i, j) if kind == "->" else (j, i)] += kind in ("->", "<-")
                votes[1, i, j] += kind == "--"
                votes[2, i, j] += kind == ""
    votes[1:] += votes[1:].swapaxes(1, 2)
    return Stability(tuple("abcdef"[:d]), *(votes / b), b)


@given(_stabilities(), st.sampled_from([0.2, 0.5, 0.7, 1.0]))
def test_the_majority_graph_is_acyclic_and_holds_the_majority(stability, threshold):
    graph = stability.graph(threshold)
    assert graph.kind in ("DAG", "CPDAG")
    adjacent = 1 - stability.none
    assert (
        graph.skeleton == (adjacent >= threshold - 1e-9) & ~np.eye(len(adjacent), dtype=bool)
    ).all()
    directed = stability.directed
    assert (directed[graph.adjacency] > adjacent[graph.adjacency] / 2 + 1e-9).all()
    # left open only for want of a majority or because of a cycle
    for i, j in np.argwhere(graph.undirected):
        if directed[i, j] > adjacent[i, j] / 2 + 1e-9:
            marks = graph.marks.copy()
            marks[i, j] = 2
            assert CausalGraph(graph.names, marks).kind == "cyclic"
    shown = graph.info["edge_probabilities"]
    assert list(shown) == graph.edges
    assert all(threshold - 1e-9 <= adjacent[i, j] for i, j in np.argwhere(graph.skeleton))


def test_the_rarest_edge_of_a_cycle_is_left_open():
    directed = np.zeros((3, 3))
    directed[0, 1], directed[1, 2], directed[2, 0] = 0.9, 0.6, 0.8
    stability = Stability(tuple("abc"), directed, np.zeros((3, 3)), 1 - directed - directed.T, 10)
    graph = stability.graph()
    assert graph == CausalGraph.from_edges("abc", ["a -> b", "c -> a", "b -- c"])
    assert graph.info["edge_probabilities"] == {
        "a -> b": 0.9,
        "c -> a": 0.8,
        "b -- c": pytest.approx(0.6),
    }
    assert stability.graph(0.7).edges == ["a -> b", "c -> a"]


# ---- calibration ---------------------------------------------------------------------------------


def test_calibration_counts_claims():
    directed = np.array([[0, 0.2, 1.0], [0.3, 0, 0], [0, 0, 0]])
    undirected = np.array([[0, 0.3, 0], [0.3, 0, 0.25], [0, 0.25, 0]])
    stability = Stability(tuple("abc"), directed, undirected, np.eye(3), 20)
    truth = CausalGraph.from_edges("cba", ["a -> c", "b -- a"])
    table = calibration(
        [stability] * 2, [truth, CausalGraph.from_edges("abc", ["b -> a"])], bins=10
    )
    # 0.2 a->b false twice; 0.25 b--c false twice; 0.3 b->a false, true; 0.3 a--b true, false; 1
    # a->c true, false
    assert table["count"].tolist() == [2, 6, 2]
    assert table["high"].tolist() == pytest.approx([0.2, 0.3, 1.0])
    assert table["true"].tolist() == pytest.approx([0, 2 / 6, 0.5])
    assert table["predicted"].tolist() == pytest.approx([0.2, 1.7 / 6, 1.0])
    z = 1.959964
    n = 6
    p = 2 / 6  # Wilson 1927
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert table.loc[1, ["ci_low", "ci_high"]].tolist() == pytest.approx(expected, rel=1e-5)
    assert calibration_error(table) == pytest.approx(
        (2 * 0.2 + 6 * (2 / 6 - 1.7 / 6) + 2 * 0.5) / 10
    )


def test_frequencies_that_are_probabilities_are_calibrated():
    # Truths drawn from the frequencies themselves: the error is that of counting, below 3 standard
    # errors a bin.
    rng = np.random.default_rng(0)
    stabilities = []
    truths = []
    for _ in range(400):
        p = rng.random()
        directed = np.array([[0, p], [0, 0]])
        stabilities.append(
            Stability(("a", "b"), directed, np.zeros((2, 2)), 1 - directed - directed.T, 100)
        )
        truths.append(CausalGraph.from_edges("ab", ["a -> b"] if rng.random() < p else []))
    table = calibration(stabilities, truths, bins=5)
    assert table["count"].sum() == 400
    assert ((table["predicted"] - table["true"]).abs() < 3 * np.sqrt(0.25 / table["count"])).all()
    wrong = [replace(s, directed=s.directed**4) for s in stabilities]
    assert calibration_error(calibration(wrong, truths)) > 0.2 > 0.1 > calibration_error(table)


_CLEAR = Stability(("a", "b"), np.zeros((2, 2)), np.zeros((2, 2)), np.ones((2, 2)), 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: edge_stability(_linear(50), sampling="half"),
            "sampling: 'half' is not one of bootstrap, effective",
        ),
        (
            lambda: edge_stability(_statistics([1]), method="lingam"),
            "'lingam' needs a frame; methods for Statistics",
        ),
        (
            lambda: edge_stability(_linear(50), method="lingam", sampling="effective"),
            "'lingam' needs no rows; methods",
        ),
        (
            lambda: edge_stability(_statistics([1, 1]), n_boot=3),
            "n_boot: 3 draws wanted, at least 2 are needed for a frequency and these statistics hold 2",
        ),
        (lambda: edge_stability(_statistics([])), "0 draws wanted"),
        (lambda: edge_stability(_linear(50), n_boot=0), "0 draws wanted"),
        (lambda: edge_stability(_linear(50), n_boot=1), "1 draws wanted, at least 2 are needed"),
        (lambda: edge_stability(_linear(50), method="magic", n_boot=2), "unknown method 'magic'"),
        (
            lambda: edge_stability(_linear(50), method="pc", n_boot=2, magic=1),
            "has no setting 'magic'",
        ),
        (
            lambda: edge_stability(_linear(50), knowledge=Knowledge(tiers=[["q"]])),
            "knowledge names q",
        ),
        (lambda: _CLEAR.graph(0), r"threshold: 1 value outside \(0, 1\]"),
        (lambda: calibration([_CLEAR], [CausalGraph.from_edges("ab")]), "no draw found any edge"),
        (
            lambda: calibration([_CLEAR], [CausalGraph.from_edges("abc")]),
            "truth and stability differ: c",
        ),
        (
            lambda: calibration([_CLEAR], [CausalGraph.from_edges("ab")], bins=0),
            "bins: 1 value outside",
        ),
        (lambda: calibration([_CLEAR], []), "shorter"),
    ],
    ids=range(15),
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_reliability_of_probabilities_by_hand():
    table = reliability_table([0.95, 0.95, 0.95, 0.95, 0.35, 0.35, 1.0], [1, 1, 1, 0, 1, 0, 1])
    assert table["count"].tolist() == [2, 5]
    assert table["predicted"].tolist() == pytest.approx([0.35, 0.96])
    assert table["true"].tolist() == pytest.approx([0.5, 0.8])
    assert calibration_error(table) == pytest.approx((2 * 0.15 + 5 * 0.16) / 7)


# ---- the draws -----------------------------------------------------------------------------------


def test_half_of_the_rows_without_repetition_by_the_seed():
    frame = _linear(41)
    samples = []

    def search(sample):
        samples.append(sample)
        return CausalGraph.from_edges("xyz")

    edge_stability(frame, search=search, n_boot=3, sampling="subsample", seed=8)
    for b, sample in enumerate(samples):
        rows = np.random.default_rng([8, b]).permutation(41)[:20]
        assert sorted(sample["x"]) == sorted(frame["x"].iloc[rows])


def test_rows_are_drawn_with_repetition_and_settings_are_passed_on(monkeypatch):
    frame = _linear(30).assign(rare=np.arange(30) == 4)
    calls = []

    def recorded(sample, *, method, knowledge, seed, **settings):
        calls.append((sample, method, knowledge, seed, settings))
        return CausalGraph.from_edges(map(str, sample.columns), [("x", "z")])

    monkeypatch.setattr("causal_lib.discovery.bootstrap.discover", recorded)
    known = Knowledge(tiers=[["x"], ["z", "rare"]])
    stable = edge_stability(frame, method="lingam", knowledge=known, n_boot=12, seed=5, some=1)
    for b, (sample, method, knowledge, seed, settings) in enumerate(calls):
        rows = frame.iloc[np.random.default_rng([5, b]).integers(30, size=30)]
        there = [name for name in frame if len(set(rows[name])) > 1]
        assert list(sample.columns) == there
        assert sorted(sample["x"]) == sorted(rows["x"])
        assert (method, seed, settings) == ("lingam", 5, {"some": 1})
        assert knowledge == known.restrict(there)
    assert {len(call[0].columns) for call in calls} == {3, 4}
    assert stable.directed[0, 2] == 1
    assert stable.info == {
        "method": "lingam",
        "settings": {"some": 1},
        "sampling": "bootstrap",
        "seed": 5,
    }


def test_a_hundred_draws_of_a_frame_and_all_of_statistics():
    count = []

    def search(sample):
        count.append(sample.count)
        return CausalGraph.from_edges(sample.names)

    assert edge_stability(_linear(20), search=search, progress=False).draws == 100
    assert len(set(count)) > 10
    first = Statistics.from_frame(_linear(20), n_boot=100, seed=0)
    assert count == [first.draw(b).count for b in range(100)]
    assert edge_stability(_statistics([1, 0, 2]), search=_by_sign).draws == 3


def test_the_table_lists_the_more_frequent_first_in_the_more_frequent_direction():
    directed = np.array([[0, 0.1, 0.3], [0.5, 0, 0.0], [0.3, 0.2, 0]])
    undirected = np.array([[0, 0.2, 0], [0.2, 0, 0.1], [0, 0.1, 0]])
    stability = Stability(
        tuple("abc"), directed, undirected, 1 - directed - directed.T - undirected, 10
    )
    table = stability.to_frame()
    assert table[["cause", "effect"]].to_numpy().tolist() == [["b", "a"], ["a", "c"], ["c", "b"]]
    assert table.iloc[0, 2:].tolist() == pytest.approx([0.5, 0.1, 0.2, 0.2])
    assert table.iloc[2, 2:].tolist() == pytest.approx([0.2, 0.0, 0.1, 0.7])
    graph = stability.graph()
    assert graph.edges == ["b -> a", "a -- c"]
    assert graph.info["edge_probabilities"] == pytest.approx({"b -> a": 0.5, "a -- c": 0.6})
    assert (graph.info["draws"], graph.info["threshold"]) == (10, 0.5)
    assert stability.graph(0.25).edges == ["b -> a", "a -- c", "c -> b"]
    assert repr(stability).endswith("2 pairs adjacent in at least half of them")


def test_a_folder_keeps_numbers_and_categories_apart(tmp_path):
    """Codes as integers, as a category and with levels in another order are three tables."""
    rng = np.random.default_rng(0)
    city = rng.integers(0, 4, 300)
    x = np.array([3.0, -3, -3, 3])[city] + rng.normal(size=300)
    tables = [
        pd.DataFrame({"city": city, "x": x}),
        pd.DataFrame({"city": pd.Categorical(city), "x": x}),
        pd.DataFrame({"city": pd.Categorical(city, categories=[3, 2, 1, 0]), "x": x}),
        pd.DataFrame({"city": pd.Categorical(city, ordered=True), "x": x}),
    ]
    how = {"method": "ges", "sampling": "subsample", "n_boot": 3}
    for number, table in enumerate(tables, 1):
        found = edge_stability(table, resume=tmp_path, **how)
        assert len(list(tmp_path.glob("*.json"))) == 3 * number
        fresh = edge_stability(table, **how)
        assert np.array_equal(found.directed, fresh.directed)
        assert np.array_equal(found.none, fresh.none)
    edge_stability(tables[0].astype(object), resume=tmp_path, **how)  # the same numbers
    assert len(list(tmp_path.glob("*.json"))) == 3 * len(tables)
