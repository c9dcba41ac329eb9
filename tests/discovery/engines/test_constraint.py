import contextlib
import io
import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from causal_lib.discovery import Statistics, discover
from causal_lib.discovery.engines import constraint
from causal_lib.discovery.engines.constraint import covariance_test, fci
from causal_lib.graph import ARROW, TAIL, CausalGraph
from causal_lib.knowledge import Knowledge


def linear(graph, n, seed):
    """Raw draws of a linear Gaussian model over a DAG: coefficients 1, noise of variance 1."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(index=range(n), columns=graph.names, dtype=float)
    for name in graph.order():
        data[name] = data[sorted(graph.parents(name))].sum(axis=1) + rng.normal(size=n)
    return data


# ---- conditional independence --------------------------------------------------------------------


def _mixed(rng, n):
    """x and y depend on z alone: a category of 3 levels, a number, and a category of 4 levels that
    moves both.
    """
    z = rng.integers(4, size=n)
    x = (
        rng.random(n)[:, None]
        > np.cumsum([[0.6, 0.3], [0.2, 0.3], [0.1, 0.1], [0.3, 0.4]], axis=1)[z]
    ).sum(axis=1)
    y = np.array([0.0, 1.0, -1.0, 2.0])[z] + rng.normal(size=n)
    return pd.DataFrame({"x": x.astype(str), "y": y, "z": z.astype(str)})


def _p_value(frame, x, y, given=(), fisher=False):
    from causallearn.utils.cit import CIT

    stats = Statistics.from_frame(frame)
    rows, name, how = covariance_test(stats.correlation, stats.widths, stats.count, fisher)
    return CIT(rows, name, **how)(
        *(stats.names.index(v) for v in (x, y)), [stats.names.index(v) for v in given]
    )


def _uniform_cases():
    def categories(rng):
        return pd.DataFrame(rng.integers([3, 4], size=(150, 2)).astype(str), columns=["x", "y"]), ()

    def given_category(rng):
        return _mixed(rng, 200), ("z",)

    def many_given(
        rng,
    ):  # small n against the columns: without Bartlett's factor the p-values crowd at 0
        frame = pd.DataFrame(rng.normal(size=(40, 8)), columns=["y", *"abcdefg"])
        return frame.assign(x=rng.integers(4, size=40).astype(str)), tuple("abcdefg")

    return {f.__name__: f for f in (categories, given_category, many_given)}


@pytest.mark.parametrize("case", _uniform_cases())
def test_p_values_of_the_mixed_test_are_uniform_under_independence(case):
    draws = (_uniform_cases()[case](np.random.default_rng([seed, 11])) for seed in range(300))
    values = [_p_value(frame, "x", "y", given) for frame, given in draws]
    assert kstest(values, "uniform").pvalue > 0.01


def test_the_mixed_test_sees_what_the_conditioning_explains():
    frame = _mixed(np.random.default_rng(0), 500)
    assert _p_value(frame, "x", "y") < 1e-3
    assert _p_value(frame, "y", "z", ["x"]) < 1e-4
    assert _p_value(frame, "x", "z", ["y"]) < 1e-4


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
@settings(max_examples=20)
def test_fisher_z_is_causal_learns_and_the_mixed_test_nearly(seed, size):
    from causallearn.utils.cit import CIT

    rng = np.random.default_rng(seed)
    values = rng.normal(size=(400, 6)) @ (np.eye(6) + 0.2 * rng.normal(size=(6, 6)))
    given = list(rng.permutation(np.arange(2, 6))[:size])
    frame = pd.DataFrame(values, columns=list("abcdef"))
    names = [frame.columns[k] for k in given]
    theirs = CIT(values, "fisherz")(0, 1, given)
    assert _p_value(frame, "a", "b", names, fisher=True) == pytest.approx(theirs, abs=1e-12)
    assert _p_value(frame, "a", "b", names) == pytest.approx(theirs, abs=0.01)


def test_blocks_give_the_graph_that_scores_of_levels_cannot():
    # no one order of the four regions tells what they do to both x and y, so scores leave x and y
    # dependent
    rng = np.random.default_rng(0)
    region = rng.integers(4, size=4000)
    x, y = np.array([[0.0, 1, 2, 3], [0, 3, 1, 2]])[:, region] + rng.normal(size=(2, 4000))
    data = pd.DataFrame({"y": y, "region": "no. " + region.astype(str).astype(object), "x": x})
    truth = CausalGraph.from_edges(data.columns, ["y -- region", "region -- x"])
    found = discover(data, method="pc", test="mixed")
    assert found == truth == discover(Statistics.from_frame(data), method="pc", test="mixed")
    assert found.info["encoding"] == {"region": "3 indicators"}
    assert discover(data, method="order") == truth
    for method in ("pc", "flop"):
        scored = discover(data, method=method)
        assert scored.info["encoding"] == {"region": "optimal scaling"}
        assert scored.skeleton[0, 2]


# ---- FCI -----------------------------------------------------------------------------------------


def test_fci_marks_a_hidden_common_cause_and_what_stays_open():
    full = CausalGraph.from_edges("abhxy", ["a -> x", "h -> x", "h -> y", "b -> y"])
    data = linear(full, 5000, 0).drop(columns="h")
    found = discover(data, method="fci")
    assert found == CausalGraph.from_edges("abxy", ["a o-> x", "x <-> y", "b o-> y"])
    assert (
        "x -> y" in discover(data, method="pc").edges
        or "y -> x" in discover(data, method="pc").edges
    )  # not so PC


def test_fci_takes_tiers_as_arrowheads_not_as_causes():
    full = CausalGraph.from_edges("hxy", ["h -> x", "h -> y"])
    data = linear(full, 3000, 0).drop(columns="h")
    assert discover(data, method="fci").edges == ["x o-o y"]
    assert discover(data, method="fci", knowledge=Knowledge([["x"], ["y"]])).edges == ["x o-> y"]
    assert discover(
        data, method="fci", knowledge=Knowledge([["x", "y"]], within_tiers=False)
    ).edges == ["x <-> y"]
    forced = discover(data, method="fci", knowledge=Knowledge(required=[("y", "x")]))
    assert (forced.edges, forced.info["overruled"]) == (["y -> x"], [])


def _told_all(graph, names, knowledge=None):
    """FCI on the first variables of a DAG, told every independence by d-separation."""
    test = np.zeros((len(names), len(names))), "d_separation", {"true_dag": graph}
    return fci(names, test, knowledge, 0.5, None)


@pytest.mark.parametrize(
    ("seen", "edges", "pag"),
    [
        # rule 4: the path d, a, b, c discriminates whether b is a collider
        ("abcd", ["d a", "h a", "h b", "a c", "b c"], ["d o-> a", "b o-> a", "a -> c", "b -> c"]),
        (
            "abcd",
            ["d a", "h a", "h b", "a c", "g b", "g c"],
            ["d o-> a", "a <-> b", "b <-> c", "a -> c"],
        ),
        # b and f are separated by {a, c, d}, which neither's neighbours contain: possible-d-sep
        (
            "abcdef",
            ["a f", "c a", "c e", "d b", "e d", "h a", "h b", "g d", "g f"],
            ["a <-> b", "c o-> a", "a -> f", "d -> b", "c o-o e", "e o-> d", "d <-> f"],
        ),
    ],
    ids=["discriminated non-collider", "discriminated collider", "possible-d-sep"],
)
def test_fci_rules_beyond_pc(seen, edges, pag):
    hidden = sorted({n for edge in edges for n in edge.split()} - set(seen))
    for order in (seen, seen[::-1]):
        names = [*order, *hidden]
        graph = nx.DiGraph([[names.index(n) for n in edge.split()] for edge in edges])
        assert _told_all(graph, list(order)) == CausalGraph.from_edges(seen, pag)


@pytest.mark.parametrize("seed", [403, 1054])
def test_fci_knows_a_late_separation_from_both_ends(seed):
    # possible-d-sep takes an edge away here; causal-learn notes the separator under (x, y) only, by
    # the columns' order
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.random((9, 9)) < 0.45, 1) * rng.uniform(0.5, 1.5, (9, 9))
    order = rng.permutation(9)[:7]
    values = (rng.normal(size=(150, 9)) @ np.linalg.inv(np.eye(9) - weights))[:, order]
    data = pd.DataFrame(values, columns=[f"v{i}" for i in range(7)])
    assert discover(data, method="fci", alpha=0.05) == discover(
        data.iloc[:, ::-1], method="fci", alpha=0.05
    )


@pytest.mark.parametrize("seed", [32, 77, 130])
def test_fci_leaves_the_ends_open_where_few_rows_send_it_round_in_a_circle(seed):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.random((7, 7)) < 0.5, 1) * rng.normal(size=(7, 7))
    values = rng.normal(size=(60, 7)) @ np.linalg.inv(np.eye(7) - weights)
    data = pd.DataFrame(values[:, :6], columns=[f"v{i}" for i in range(6)])
    knowledge = Knowledge([["v5", "v0"], ["v3", "v1"]], required=[("v2", "v4")])
    found = discover(data, method="fci", knowledge=knowledge, alpha=0.1)
    assert any("stood in a cycle" in change for change in found.info["overruled"])
    assert found.kind == "PAG"
    assert nx.is_directed_acyclic_graph(found.directed_part())
    assert not found.undirected.any()


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60)
def test_fci_claims_nothing_false_when_told_all_independences(seed, tiers):
    """Against d-separation in a DAG with two hidden variables: adjacencies exact, every tail and
    arrowhead true.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(7)
    seen = range(5)
    graph = nx.DiGraph(np.triu(rng.random((7, 7)) < 0.4, 1)[np.ix_(order, order)])
    names = [f"v{i}" for i in seen]
    halves = [[names[i] for i in seen if (order[i] < 4) == early] for early in (True, False)]
    found = _told_all(graph, names, Knowledge(halves) if tiers else None)
    for i, j in itertools.permutations(seen, 2):
        others = [k for k in seen if k not in (i, j)]
        given_sets = itertools.chain(*(itertools.combinations(others, size) for size in range(4)))
        assert found.skeleton[i, j] != any(
            nx.is_d_separator(graph, {i}, {j}, set(s)) for s in given_sets
        )
        assert found.marks[j, i] != TAIL or nx.has_path(graph, i, j)
        assert found.marks[j, i] != ARROW or not nx.has_path(graph, i, j)


# ---- CD-NOD --------------------------------------------------------------------------------------


def _changing(n, seed):
    """x → y → z, the mean of y changes with the month."""
    rng = np.random.default_rng(seed)
    month = rng.integers(6, size=n)
    x = rng.normal(size=n)
    y = x + np.array([0.0, 2, -1, 0, 3, 1])[month] + rng.normal(size=n)
    return pd.DataFrame({"z": y + rng.normal(size=n), "month": month, "x": x, "y": y})


@pytest.mark.parametrize("bins", [None, 6])
def test_cdnod_finds_whose_mechanism_changes_and_orients_by_it(bins):
    data = _changing(3000, 0)
    data = data.astype({"month": "category"}) if bins is None else data
    truth = CausalGraph.from_edges(data.columns, ["month -> y", "x -> y", "y -> z"])
    found = discover(data, method="cdnod", context="month", bins=bins)
    assert found == truth
    without = discover(data[["x", "y", "z"]], method="pc")
    assert without == truth.subgraph(["x", "y", "z"]).cpdag()  # a chain, undirected


@pytest.mark.parametrize("seed", range(4))
def test_cdnod_is_causal_learns(seed):
    from causallearn.search.ConstraintBased.CDNOD import cdnod

    data = linear(
        CausalGraph.from_edges("cabde", ["c -> a", "a -> b", "d -> b", "b -> e", "c -> e"]),
        1000,
        seed,
    )
    values = data.to_numpy()
    with contextlib.redirect_stderr(io.StringIO()):
        theirs = cdnod(values[:, 1:], values[:, :1], 0.01, "fisherz")
    found = discover(data, method="cdnod", context="c", test="fisherz")
    assert found == CausalGraph.from_causallearn(theirs.G, ["a", "b", "d", "e", "c"])
    assert found.parents("c") == set()


def test_p_values_by_hand():
    """Of 60 rows: a pair given one column by Fisher's z and by Bartlett's likelihood ratio, and
    blocks of two and one.
    """
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)), columns=list("abc"))
    r = frame.corr().to_numpy()
    partial = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    z = np.arctanh(partial) * np.sqrt(60 - 1 - 3)
    assert _p_value(frame, "a", "b", ["c"], fisher=True) == pytest.approx(2 * norm.sf(abs(z)))
    assert _p_value(frame, "a", "b", fisher=True) == pytest.approx(
        2 * norm.sf(abs(np.arctanh(r[0, 1])) * np.sqrt(57))
    )
    ratio = -np.log(1 - partial**2)
    assert _p_value(frame, "a", "b", ["c"]) == pytest.approx(chi2.sf((60 - 1 - 5 / 2) * ratio, 1))
    assert _p_value(frame, "a", "b") == pytest.approx(
        chi2.sf((60 - 5 / 2) * -np.log(1 - r[0, 1] ** 2), 1)
    )
    frame["level"] = np.array(list("pqr"))[np.arange(60) % 3]
    dummies = pd.get_dummies(frame["level"], drop_first=True, dtype=float).to_numpy()
    x = np.column_stack([np.ones(60), dummies])
    left = frame["a"] - x @ np.linalg.lstsq(x, frame["a"], rcond=None)[0]
    ratio = -np.log((left**2).sum() / ((frame["a"] - frame["a"].mean()) ** 2).sum())
    assert _p_value(frame, "a", "level") == pytest.approx(chi2.sf((60 - 6 / 2) * ratio, 2))
    x = np.column_stack([np.ones(60), dummies])
    a, b = (frame[k] - x @ np.linalg.lstsq(x, frame[k], rcond=None)[0] for k in "ab")
    given = (a @ b) ** 2 / ((a @ a) * (b @ b))
    assert _p_value(frame, "a", "b", ["level"]) == pytest.approx(
        chi2.sf((60 - 2 - 5 / 2) * -np.log(1 - given), 1)
    )


def test_tiers_forbid_causes_and_pairs_only_edges():
    knowledge = Knowledge([["a"], ["b", "c"]], forbidden=[("a", "b")], within_tiers=False)
    never = constraint.never_causes(knowledge, ("a", "b", "c", "d"))
    assert set(map(tuple, np.argwhere(never).tolist())) == {(1, 0), (2, 0), (1, 2), (2, 1)}
    assert not constraint.never_causes(None, ("a", "b")).any()
