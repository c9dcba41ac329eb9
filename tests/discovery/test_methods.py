import inspect
import itertools
import os
import random
import tempfile

import numpy as np
import pandas as pd
import pyagrum  # its import warns, which is not the methods' chatter
import pytest
import torch_geometric.nn  # noqa: F401  the same
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery import METHODS, compare_graphs, discover
from causal_lib.discovery.encoding import encode
from causal_lib.discovery.methods import _few_rows, discretise
from causal_lib.discovery.score import bic, gaussian_bic
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

TRUTH = CausalGraph.from_edges("wxyz", ["x -> z", "y -> z", "z -> w"])
DISCRETE = [name for name, method in METHODS.items() if method.variables == "discrete"]
ON_STATISTICS = [name for name, method in METHODS.items() if not method.rows]
SCORED = (
    "flop",
    "order",
    "ges",
    "boss",
    "grasp",
    "dagma",
    "additive",
    "graph_network",
    "greedy",
    "order-counts",
)
TOLD = {
    "graph_network": {"l1", "strengths"},
    "pretrained": {"edge_probabilities", "familiar", "distance", "disagreement", "undecided"},
}
"""What the methods tell beyond the keys that all have."""
ABLE = [name for name, method in METHODS.items() if method.knowledge != "none"]
SETTINGS = {
    "cdnod": {"context": "x"},
    "dagma": {"standardise": False},
    "graph_network": {"steps": 150},
}
"""What `TRUTH` needs: a context for CD-NOD, the raw scale (equal noise) for DAGMA, and little work
of the graph network.
"""


def linear(graph, n, seed, noise="normal"):
    """Raw draws of a linear model over a DAG: coefficients 1, noise of variance 1."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(index=range(n), columns=graph.names, dtype=float)
    for name in graph.order():
        error = rng.normal(size=n) if noise == "normal" else rng.uniform(-(3**0.5), 3**0.5, size=n)
        data[name] = data[sorted(graph.parents(name))].sum(axis=1) + error
    return data


def binary(n, seed):
    """Draws of `TRUTH` over yes and no: z is a noisy or of x and y, w a noisy copy of z."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, n)) < 0.5
    z = rng.random(n) < np.array([0.1, 0.5, 0.9])[x + y.astype(int)]
    w = rng.random(n) < np.where(z, 0.85, 0.15)
    return pd.DataFrame({"w": w, "x": x, "y": y, "z": z})


def curved(n, seed):
    """Draws of `TRUTH` whose equations are curves."""
    x, y, u, v = np.random.default_rng(seed).normal(size=(4, n))
    z = np.sin(2 * x) + np.abs(y) + 0.4 * u
    return pd.DataFrame({"w": np.abs(z - 1) + 0.3 * v, "x": x, "y": y, "z": z})


def data_for(method, seed=0):
    if method in DISCRETE:
        return binary(4000, seed)
    if method in ("additive", "pretrained"):
        return curved(2000, seed)
    return linear(TRUTH, 2000, seed, "uniform" if method == "lingam" else "normal")


def run(method, data=None, **changes):
    return discover(
        data_for(method) if data is None else data,
        method=method,
        **SETTINGS.get(method, {}) | changes,
    )


# ---- every method --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(2))
def test_an_asymmetric_graph_with_every_direction_identified(method, seed):
    hidden = METHODS[method].graph == "PAG"
    marks = ["x o-> z", "y o-> z", "z -> w"] if hidden else ["x -> z", "y -> z", "z -> w"]
    assert run(method, data_for(method, seed)) == CausalGraph.from_edges("wxyz", marks)


@pytest.mark.parametrize("method", METHODS)
def test_permuted_and_renamed_columns_give_the_permuted_graph(method):
    data = data_for(method)
    names = {"w": "b, c", "x": "x", "y": "=", "z": "a"}
    found = run(method, data)
    other = run(method, data.rename(columns=names)[["a", "=", "b, c", "x"]])
    assert CausalGraph([names[n] for n in found.names], found.marks) == other


@pytest.mark.parametrize("method", METHODS)
def test_repeatable_silent_and_without_traces(method, recwarn, capfd, bars_at_once):
    data = data_for(method)
    states = (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    before = data.copy()
    first = run(method, data, seed=7)
    assert all(run(method, data, seed=7) == first for _ in range(2))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    pd.testing.assert_frame_equal(data, before)
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn] == []


@pytest.mark.parametrize("method", ["miic", "greedy"])
def test_no_file_is_left_by_what_reads_files(method, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    learner = pyagrum.BNLearner
    seen = []

    def watched(source, *rest):
        seen.append(os.listdir(tmp_path))
        return learner(source, *rest)

    monkeypatch.setattr(pyagrum, "BNLearner", watched)
    run(method)
    assert [len(files) for files in seen] == [1]  # the table was in this folder
    assert os.listdir(tmp_path) == []

    def refused(source, *rest):
        watched(source, *rest)
        raise pyagrum.GumException("no such table")

    monkeypatch.setattr(pyagrum, "BNLearner", refused)
    with pytest.raises(pyagrum.GumException):
        run(method)
    assert len(seen) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("method", METHODS)
def test_info_tells_how_the_graph_came_about(method):
    found = run(method, seed=3)
    info = found.info
    common = {"method", "settings", "rows", "seed", "seconds", "encoding", "overruled", "score"}
    assert info.keys() == common | TOLD.get(method, set())
    assert (info["method"], info["rows"], info["seed"]) == (method, len(data_for(method)), 3)
    chosen = METHODS[method].defaults | SETTINGS.get(method, {})
    assert info["settings"] == chosen
    assert (info["score"] is not None) == (method in SCORED)


KNOWN = {
    "tiers turned round": Knowledge(tiers=[["w"], ["z"], ["x", "y"]]),
    "one tier, nothing within": Knowledge(tiers=[["x", "z"], ["w"]], within_tiers=False),
    "a required edge that is none": Knowledge(required=[("w", "x")]),
    "an edge between independent columns": Knowledge(required=[("x", "y")]),
    "a strong edge forbidden": Knowledge(forbidden=[("z", "w"), ("w", "z")]),
    "forbidden in a circle": Knowledge(forbidden=[("x", "z"), ("z", "w"), ("w", "x")]),
}


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("method", METHODS)
def test_knowledge_is_honoured_exactly_or_refused(method, known):
    knowledge = KNOWN[known]
    if method not in ABLE:
        with pytest.raises(
            ValueError,
            match="cannot honour knowledge; methods that can: order, flop, pc, fci, order-fci, cdnod",
        ):
            run(method, knowledge=knowledge)
    elif method == "fci" and knowledge.forbidden:
        with pytest.raises(ValueError, match="'fci' cannot honour forbidden edges"):
            run(method, knowledge=knowledge)
    elif method == "cdnod" and ("w", "x") in knowledge.required:
        with pytest.raises(ValueError, match="w -> x is both required and forbidden"):
            run(method, knowledge=knowledge)
    else:
        context = {"context": "w"} if method == "cdnod" and known == "tiers turned round" else {}
        found = run(method, knowledge=knowledge, **context)
        assert knowledge.violations(found) == []
        # the searches themselves keep to it, so that nothing is left to impose; PC forgets required
        # edges, FLOP all
        assert found.info["overruled"] == [] or method in ("flop", "pc", "cdnod", "fci")
        assert found.kind in ("DAG", "CPDAG", "PAG", "ADMG")


@pytest.mark.parametrize("method", [name for name in ABLE if METHODS[name].knowledge == "search"])
def test_right_tiers_orient_a_chain(method):
    chain = CausalGraph.from_edges(["c", "a", "b"], ["a -> b", "b -> c"])
    rng = np.random.default_rng(0)
    a = rng.random(3000) < 0.5
    noise = rng.random((2, 3000)) < 0.1
    discrete = pd.DataFrame({"c": a ^ noise[0] ^ noise[1], "a": a, "b": a ^ noise[0]})
    data = (
        discrete
        if method in DISCRETE
        else linear(chain, 3000, 0, "uniform" if method == "lingam" else "normal")
    )
    changes = {"context": "a"} if method == "cdnod" else {}
    found = run(method, data, knowledge=Knowledge(tiers=[["a"], ["b"], ["c"]]), **changes)
    if METHODS[method].graph == "PAG":
        assert found == CausalGraph.from_edges("abc", ["a o-> b", "b -> c"])
    else:
        assert found == chain
    assert found.info["overruled"] == []


@pytest.mark.parametrize("method", ON_STATISTICS)
def test_statistics_are_as_good_as_rows(method):
    data = data_for(method)
    found = run(method, data)
    same = run(method, Statistics.from_frame(data))
    assert same == found
    assert same.info["rows"] == len(data)
    assert (same.info["score"] is None) or same.info["score"] == pytest.approx(
        found.info["score"], rel=1e-5
    )


@pytest.mark.parametrize(
    ("method", "changes"),
    [("lingam", {}), ("miic", {}), ("greedy", {}), ("graph_network", {}), ("dagma", {"model": "mlp"}), ("pc", {"test": "chisq"}),
     ("fci", {"test": "gsq"})],
    ids=["lingam", "miic", "greedy", "graph-network", "dagma-mlp", "pc-chisq", "fci-gsq"],
)  # fmt: skip
def test_what_needs_rows_says_what_does_not(method, changes):
    message = f"needs rows; Statistics are enough for: {', '.join(ON_STATISTICS)}$"
    with pytest.raises(ValueError, match=message):
        run(method, Statistics.from_frame(binary(100, 0)), **changes)


def _dtypes(data):
    """The same values in other clothes."""
    text = data.astype(int).astype(str)
    return {
        "bool": data, "float32": data.astype("float32"), "int8": data.astype("int8"), "Int64": data.astype("Int64"),
        "boolean": data.astype("boolean"), "object": data.astype(object), "text": text, "category": text.astype("category"),
        "repeated index": data.set_axis(np.zeros(len(data)), axis=0),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", _dtypes(binary(2, 0)))
@pytest.mark.parametrize("method", METHODS)
def test_two_valued_columns_mean_the_same_whatever_their_type(method, dtype):
    data = binary(1500, 0)
    other = _dtypes(data)[dtype]
    if method == "lingam" and dtype in ("text", "category"):
        with pytest.raises(
            ValueError,
            match="'lingam' takes numbers, column 'w' is a category; others take it: order, flop",
        ):
            run(method, other)
    else:
        changes = (
            {"steps": 50} if method == "dagma" else {"restarts": 2} if method == "greedy" else {}
        )
        changes |= {"standardise": True} if method == "dagma" else {}
        assert run(method, other, **changes) == run(method, data, **changes)


def _bad(n=60):
    data = linear(TRUTH, n, 0).round(3)
    return {
        "missing": (data.assign(w=data["w"].mask(data.index < 3)), "'w' has 3 missing values"),
        "infinite": (
            data.assign(x=data["x"].mask(data.index < 1, np.inf)),
            "'x' has 1 infinite value",
        ),
        "constant": (data.assign(k=3.0), "'k' is constant"),
        "duplicate": (data.assign(k=2 * data["x"] + 1), "'[kx]' is a linear function of '[kx]'"),
        "collinear": (
            data.assign(k=data["x"] - data["y"]),
            "is a linear function of '[kxy]', '[kxy]'",
        ),
        "n < d": (data.head(3), "3 rows are too few for 4 columns"),
        "two identical rows": (pd.concat([data.head(1)] * 2), "is constant"),
        "no rows": (data.head(0), "no rows"),
        "no columns": (data[[]], "no columns"),
        "identifier": (
            data.assign(k=[f"u{i}" for i in range(n)]),
            "'k' has a different level in each",
        ),
        "mixed": (data.assign(k=[1, "one"] * (n // 2)), "'k' mixes"),
        "dates": (data.assign(k=pd.date_range("2024", periods=n)), "'k' is a date"),
        "lists": (data.assign(k=[[1], [2, 3]] * (n // 2)), "'k' holds list"),
        "complex": (data.assign(k=1j * data["x"]), "'k' holds complex"),
        "same name": (data.set_axis(["x", "x", "y", "z"], axis=1), "'x' stands 2 times"),
        "name that is no text": (data.set_axis([1, "1", "y", "x"], axis=1), "must be text; 1 of 4"),
        "too large to square": (data * 1e200, "not finite"),
    }


@pytest.mark.parametrize("case", _bad())
@pytest.mark.parametrize("method", METHODS)
def test_bad_tables_are_refused_before_any_search(method, case):
    data, message = _bad()[case]
    # for tables of levels no matter; these numbers are none
    blind = ("duplicate", "n < d", "too large to square") if METHODS[method].counts else ()
    if case in blind or (case == "collinear" and method in DISCRETE):
        message = r"'w' is a number of \d+ values; set bins=k"
    if (case == "collinear" and METHODS[method].functions) or (
        case == "missing" and METHODS[method].missing
    ):
        assert run(method, data).names == tuple(data.columns)
        return
    with pytest.raises(ValueError, match=message):
        run(method, data)


@pytest.mark.parametrize("method", METHODS)
def test_one_column_has_no_edges(method):
    assert run(method, binary(50, 0)[["x"]]).edges == []


@pytest.mark.parametrize("method", METHODS)
def test_few_and_repeated_rows_are_no_trouble(method):
    few = binary(40, 1) if method in DISCRETE else linear(TRUTH, 8, 1)
    for data in (few, pd.concat([few] * 2)):
        assert run(method, data).kind in ("DAG", "CPDAG", "PAG")


def _spike(n):
    return pd.DataFrame({"x": np.arange(n) == 0, "y": np.random.default_rng(0).random(n)}).astype(
        float
    )


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("pc", {"test": "kci"}, "test='kci': choose one of 'fisherz', 'chisq', 'gsq', 'mixed'"),
        ("pc", {"alpha": 0}, "alpha=0 must be a number from 1e-12 to 0.5"),
        ("pc", {"alpha": float("nan")}, "alpha=nan must be a number"),
        ("pc", {"bins": 3}, "bins has no use with test='fisherz'"),
        ("pc", {"test": "chisq"}, "'w' is a number of 2000 values; set bins=k"),
        ("fci", {"max_condition": -1}, "max_condition=-1 must be a whole number from 0"),
        ("ges", {"penalty": -1.0}, "penalty=-1.0 must be a number from 0.0"),
        ("grasp", {"depth": 0}, "depth=0 must be a whole number from 1"),
        ("flop", {"restarts": 2.5}, "restarts=2.5 must be a whole number"),
        ("ges", {"restarts": 2}, "'ges' has no setting 'restarts'; settings: penalty"),
        ("cdnod", {"context": "day"}, "context='day': name the column that tells time or domain; "
                                      "columns: w, x, y, z"),
        ("cdnod", {"knowledge": Knowledge(tiers=[["y"], ["x"]])}, "context 'x' stands in tier 1"),
        ("miic", {"data": linear(TRUTH, 50, 0)}, "'w' is a number of 50 values; set bins=k .* a "
                                                 "method for numbers: order, flop"),
        ("greedy", {"bins": 1}, "bins=1 must be a whole number from 2"),
        ("lingam", {"data": _spike(600_000)}, "'x' has a value over 700 standard deviations off"),
        ("lingam", {"knowledge": Knowledge([["x"], ["y"]], required=[("y", "w"), ("w", "x")])}, "lead from a later tier back"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(method, changes, message):
    data = changes.pop("data") if "data" in changes else linear(TRUTH, 2000, 0)
    with pytest.raises(ValueError, match=message):
        run(method, data, **changes)


# ---- Gaussian scores -----------------------------------------------------------------------------


def _bic(graph, data, penalty):
    """By regression on the rows."""
    total = 0.0
    for name in graph.names:
        parents = np.column_stack([np.ones(len(data)), *(data[p] for p in graph.parents(name))])
        residual = data[name] - parents @ np.linalg.lstsq(parents, data[name], rcond=None)[0]
        total += len(data) * np.log(residual.var(ddof=0)) + penalty * np.log(len(data)) * len(
            graph.parents(name)
        )
    return total


@pytest.mark.parametrize("method", ["flop", "order", "ges", "boss", "grasp"])
def test_scores_are_the_bic_of_standardised_data(method):
    data = linear(TRUTH, 300, 0)
    found = run(method, data, penalty=1.5)
    assert found.info["score"] == pytest.approx(
        _bic(TRUTH, (data - data.mean()) / data.std(ddof=0), 1.5), rel=1e-9
    )


@pytest.mark.parametrize("method", ["boss", "grasp"])
def test_few_rows_of_the_same_covariance_give_the_search_on_all(method):
    from causallearn.search.PermutationBased import BOSS, GRaSP

    rng = np.random.default_rng(5)
    values = rng.normal(size=(400, 6)) @ (np.eye(6) + np.triu(rng.uniform(-1, 1, size=(6, 6)), 1))
    data = pd.DataFrame(values / values.std(axis=0), columns=list("abcdef"))
    random.seed(0)
    engine = {"boss": BOSS.boss, "grasp": GRaSP.grasp}[method]
    theirs = engine(
        data.to_numpy(), parameters={"lambda_value": 1.0}, verbose=False, node_names=list("abcdef")
    )
    assert run(method, data, penalty=2.0, restarts=0) == CausalGraph.from_causallearn(theirs)


def test_boss_does_not_depend_on_the_order_of_the_columns():
    data = linear(TRUTH, 1000, 1)
    assert all(
        run("boss", data[list(order)]) == TRUTH for order in itertools.permutations(TRUTH.names)
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_class_scores_as_its_members_do(seed, d):
    rng = np.random.default_rng(seed)
    order = rng.permutation(d)
    dag = CausalGraph.from_adjacency(np.triu(rng.random((d, d)) < 0.5, 1)[np.ix_(order, order)])
    data = pd.DataFrame(rng.normal(size=(50, d)) @ rng.normal(size=(d, d)), columns=dag.names)
    score = gaussian_bic(dag.cpdag(), data.corr().to_numpy(), 50, 1.3)
    assert score == pytest.approx(_bic(dag, (data - data.mean()) / data.std(ddof=0), 1.3), rel=1e-6)


def test_no_dag_no_score():
    square = CausalGraph.from_edges("abcd", ["a -- b", "b -- c", "c -- d", "d -- a"])
    with pytest.raises(ValueError, match="no DAG has the directions and v-structures"):
        gaussian_bic(square, np.eye(4), 10)


@pytest.mark.parametrize("method", ["flop", "pc", "ges", "dagma"])
def test_one_column_methods_refuse_blocks_of_statistics(method):
    columns = np.random.default_rng(0).integers([3, 2], size=(100, 2)).astype(str)
    stats = Statistics.from_frame(pd.DataFrame(columns, columns=["x", "y"]))
    with pytest.raises(
        ValueError,
        match=r"variable 'x' has 3 levels .* method for mixed data: order, pc, fci, order-fci, cdnod",
    ):
        run(method, stats)


# ---- LiNGAM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["a -> b", "b -> a"])
def test_lingam_tells_cause_from_effect_where_noise_is_not_gaussian(edge):
    data = linear(CausalGraph.from_edges("ab", [edge]), 1000, 0, "uniform")
    assert discover(data, method="lingam").edges == [edge]
    assert discover(data, method="flop").edges == ["a -- b"]


def test_lingam_takes_a_forbidden_edge_for_no_edge_not_for_no_path():
    truth = CausalGraph.from_edges("cba", ["a -> b", "b -> c"])
    data = linear(truth, 1000, 0, "uniform")
    assert discover(data, method="lingam", knowledge=Knowledge(forbidden=[("a", "c")])) == truth


# ---- discrete data -------------------------------------------------------------------------------

CLINIC = CausalGraph.from_edges(
    ["xray", "smoke", "tub", "lung", "either", "bronc", "dysp"],
    ["smoke -> lung", "smoke -> bronc", "lung -> either", "tub -> either", "either -> xray", "either -> dysp", "bronc -> dysp"],
)  # fmt: skip


def _clinic(n, seed):
    """Draws like those of the network 'asia' (Lauritzen and Spiegelhalter 1988), its deterministic
    'or' made noisy.
    """
    rng = np.random.default_rng(seed)

    def draw(*probabilities, by=()):
        return (
            rng.random(n)
            < np.array(probabilities)[sum(2**k * v.astype(int) for k, v in enumerate(by))]
        ).astype(bool)

    smoke, tub = rng.random((2, n)) < [[0.5], [0.2]]
    lung = draw(0.05, 0.4, by=[smoke])
    bronc = draw(0.3, 0.6, by=[smoke])
    either = draw(0.02, 0.9, 0.9, 0.98, by=[lung, tub])
    columns = {
        "xray": draw(0.05, 0.95, by=[either]),
        "dysp": draw(0.1, 0.7, 0.8, 0.9, by=[either, bronc]),
    }
    return pd.DataFrame(
        {"smoke": smoke, "tub": tub, "lung": lung, "either": either, "bronc": bronc} | columns
    )[list(CLINIC.names)].replace({True: "yes", False: "no"})


@pytest.mark.parametrize(
    ("method", "changes"),
    [("miic", {}), ("miic", {"correction": "mdl"}), ("greedy", {}), ("greedy", {"score": "bdeu"}), ("pc", {"test": "chisq"}),
     ("pc", {"test": "gsq"}), ("pc", {"test": "mixed"}), ("order", {})],
    ids=["miic", "miic-mdl", "greedy", "greedy-bdeu", "chisq", "gsq", "mixed", "order"],
)  # fmt: skip
def test_a_clinic_of_yes_and_no(method, changes):
    distances = compare_graphs(
        discover(_clinic(10_000, 0), method=method, **changes), CLINIC.cpdag()
    )
    assert distances["skeleton_f1"] >= 0.92  # one edge of seven missing or added
    assert distances["shd"] <= 2


def test_miic_marks_a_hidden_common_cause():
    rng = np.random.default_rng(1)
    a, b, hidden = rng.random((3, 20_000)) < 0.5
    x, y = (
        rng.random(20_000) < np.array([0.05, 0.5, 0.95])[hidden + own.astype(int)] for own in (a, b)
    )
    found = discover(pd.DataFrame({"a": a, "x": x, "y": y, "b": b}), method="miic")
    assert found == CausalGraph.from_edges("axyb", ["a -> x", "x <-> y", "b -> y"])
    with_tiers = discover(
        pd.DataFrame({"x": x, "y": y, "a": a}),
        method="miic",
        knowledge=Knowledge([["a"], ["x"], ["y"]]),
    )
    assert with_tiers.edges == ["x -> y", "a -> x"]


def test_fci_on_levels():
    found = discover(
        _clinic(10_000, 0)[["tub", "lung", "either", "xray"]], method="fci", test="gsq"
    )
    assert set(found.edges) == {"tub o-> either", "lung o-> either", "either -> xray"}


def test_the_greedy_score_is_the_bic_counted_by_hand():
    data = binary(2000, 0)
    total = 0.0
    for name in data:
        parents = sorted(TRUTH.parents(name))
        groups = data.groupby([*parents, name]).size() if parents else data[name].value_counts()
        whole = groups.groupby(level=parents).transform("sum") if parents else len(data)
        total += -2 * (groups * np.log(groups / whole)).sum() + np.log(len(data)) * 2 ** len(
            parents
        )
    found = discover(data, method="greedy")
    assert found == TRUTH
    assert found.info["score"] == pytest.approx(total, rel=1e-9)


def test_restarts_free_the_greedy_search():
    once = [discover(binary(3000, seed), method="greedy", restarts=0) for seed in range(6)]
    more = [discover(binary(3000, seed), method="greedy") for seed in range(6)]
    assert all(b.info["score"] <= a.info["score"] for a, b in zip(once, more, strict=True))
    assert sum(g == TRUTH for g in more) > sum(g == TRUTH for g in once)


@pytest.mark.parametrize(
    ("method", "changes"),
    [("miic", {}), ("greedy", {}), ("pc", {"test": "gsq"})],
    ids=lambda v: str(v),
)
def test_tables_of_levels_take_a_category_that_is_a_function_of_another(method, changes):
    rng = np.random.default_rng(0)
    region, other = rng.integers([4, 2], size=(1000, 2)).T
    data = (
        pd.DataFrame({"land": region // 2, "region": region, "other": other})
        .astype(str)
        .radd("no. ")
    )
    assert "region -- land" in [
        e.replace("land -- region", "region -- land") for e in run(method, data, **changes).edges
    ]
    with pytest.raises(ValueError, match="'land' is a function of 'region'"):
        run("flop", data)


def test_numbers_are_cut_into_quantile_bins_only_when_asked():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": rng.normal(size=900), "b": rng.random(900) < 0.5, "k": rng.integers(3, size=900) * 10}
    )
    codes, encoding = discretise(frame, 3)
    assert encoding == {"x": "3 quantile bins"}
    assert codes["x"].value_counts().to_dict() == {0: 300, 1: 300, 2: 300}
    assert (
        frame.groupby(codes["x"])["x"].max().iloc[:-1].to_numpy()
        < frame.groupby(codes["x"])["x"].min().iloc[1:]
    ).all()
    assert codes["k"].tolist() == (frame["k"] // 10).tolist()
    with pytest.raises(ValueError, match="'k' is a number of 3 values; set bins=k"):
        discretise(frame[["b", "k"]], None)
    with pytest.raises(ValueError, match="'r': 3 quantile bins fall into one"):
        discretise(pd.DataFrame({"r": [0.0] * 97 + [1.0, 2.0, 3.0]}), 3)


@pytest.mark.parametrize("method", ["miic", "greedy", "pc"])
def test_binned_numbers_find_the_collider(method):
    changes = {"test": "gsq"} if method == "pc" else {}
    found = discover(linear(TRUTH, 4000, 0)[["x", "y", "z"]], method=method, bins=3, **changes)
    assert found.edges == ["x -> z", "y -> z"]
    assert found.info["encoding"]["x"] == "3 quantile bins"


# ---- encoding ------------------------------------------------------------------------------------


def test_encode_keeps_the_scale_of_numbers_where_asked():
    frame = pd.DataFrame(
        {"x": [0.0, 4.0, 0.0, 4.0], "c": list("abab"), "b": [True, False, False, True]}
    )
    raw = encode(frame, standardise=False)[0]
    standard = encode(frame)[0]
    np.testing.assert_allclose(raw.std(axis=0), [2, 1, 0.5])
    np.testing.assert_allclose(raw, standard * [2, 1, 0.5])


def test_every_method_is_described():
    for name, method in METHODS.items():
        assert method.knowledge in ("search", "after", "none")
        assert method.variables in ("numeric", "scored", "mixed", "discrete")
        assert name in inspect.getdoc(discover)
        assert all(setting in inspect.getdoc(discover) for setting in method.settings)


DEFAULTS = {
    "order": {"penalty": 2.0, "restarts": 50},
    "flop": {"penalty": 2.0, "restarts": 200},
    "pc": {"test": "fisherz", "alpha": 0.01, "max_condition": None, "bins": None},
    "fci": {"test": "fisherz", "alpha": 0.01, "max_condition": None, "bins": None},
    "cdnod": {"context": None, "test": "mixed", "alpha": 0.01, "max_condition": None, "bins": None},
    "ges": {"penalty": 2.0},
    "boss": {"penalty": 2.0, "restarts": 5},
    "grasp": {"penalty": 2.0, "restarts": 5, "depth": 3},
    "lingam": {},
    "dagma": {
        "model": "linear",
        "l1": 0.01,
        "threshold": 0.2,
        "hidden": 10,
        "steps": 500,
        "standardise": True,
    },
    "additive": {"penalty": 2.0},
    "graph_network": {"l1": None, "hidden": 6, "steps": 1000, "gain": 8.0},
    "pretrained": {"threshold": 0.4, "unfamiliar": "order"},
    "miic": {"correction": "nml", "bins": None},
    "greedy": {"score": "bic", "restarts": 10, "bins": None},
    "order-fci": {"penalty": 2.0, "restarts": 50, "alpha": 0.01, "max_condition": 3},
    "order-counts": {"score": "nml", "restarts": 5, "candidates": 30, "bins": None},
}
"""As the table in the docstring of `discover` says."""


def test_the_defaults_of_every_method():
    assert {name: method.defaults for name, method in METHODS.items()} == DEFAULTS


def test_numbers_are_encoded_by_hand():
    """Of two levels no scaling is needed; ordered ones go by rank; scores of a nominal one are
    those of its level means.
    """
    frame = pd.DataFrame(
        {
            "x": [1.0, 2.0, 4.0, 9.0],
            "grade": pd.Categorical(
                list("hlml"), categories=["l", "m", "h", "unused"], ordered=True
            ),
            "sex": list("mffm"),
        }
    )
    values, encoding = encode(frame)
    for column, raw in zip(values.T, ([1, 2, 4, 9], [2, 0, 1, 0], [1, 0, 0, 1]), strict=True):
        raw = np.array(raw, dtype=float)
        np.testing.assert_allclose(column, (raw - raw.mean()) / raw.std())
    assert encoding == {"grade": "ordered levels", "sex": "optimal scaling"}


def test_the_scores_of_levels_correlate_most_with_the_other_columns():
    """Levels of 10, 30 and 60 rows: no scores have a larger sum of squared correlations with two
    columns.
    """
    rng = np.random.default_rng(0)
    level = np.repeat([0, 1, 2], [10, 30, 60])
    frame = pd.DataFrame({"c": np.array(list("pqr"))[level]})
    frame["x"] = np.array([2.0, 0, 1])[level] + rng.normal(size=100)
    frame["y"] = np.array([-1.0, 1, 0])[level] + rng.normal(size=100)

    def sum_of_squares(scores):
        return sum(np.corrcoef(scores[level], frame[k])[0, 1] ** 2 for k in "xy")

    values, _ = encode(frame)
    scores = np.array([values[level == k, 0].mean() for k in range(3)])
    angles = np.linspace(0, np.pi, 2001)
    others = max(sum_of_squares(np.array([0, np.cos(a), np.sin(a)])) for a in angles)
    assert sum_of_squares(scores) == pytest.approx(others, abs=1e-5)
    assert scores[np.abs(scores).argmax()] > 0


def test_levels_are_cut_by_hand():
    frame = pd.DataFrame(
        {
            "x": [1.0, 2, 3, 4, 5, 6, 7, 8],
            "k": [5, 5, 7, 7, 5, 7, 5, 5],
            "c": list("ccaabbca"),
            "three": [0, 1, 2, 0, 1, 2, 0, 1],
        }
    )
    codes, encoding = discretise(frame, 4)
    assert codes["x"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert codes["k"].tolist() == [0, 0, 1, 1, 0, 1, 0, 0]
    assert codes["c"].tolist() == [2, 2, 0, 0, 1, 1, 2, 0]
    assert codes["three"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]  # not more values than bins
    assert encoding == {"x": "4 quantile bins"}
    assert discretise(frame[["k", "c"]], None)[1] == {}
    with pytest.raises(ValueError, match="column 'three' is a number of 3 values; set bins=k"):
        discretise(frame[["k", "three"]], None)
    with pytest.raises(
        ValueError, match="column 'three': 2 quantile bins fall into one; raise bins"
    ):
        discretise(pd.DataFrame({"three": [0, 0, 0, 0, 0, 0, 1, 2]}), 2)


@pytest.mark.parametrize("penalty", [1.0, 2.0, 3.0])
def test_the_bic_of_blocks_by_hand(penalty):
    """x -> c -> y with a category of three levels: 1 x 2 and 2 x 1 parameters, log-determinants by
    regression residuals.
    """
    rng = np.random.default_rng(1)
    level = np.arange(90) % 3
    frame = pd.DataFrame({"x": level + rng.normal(size=90), "c": np.array(list("pqr"))[level]})
    frame["y"] = np.array([0.0, 2, 1])[level] + rng.normal(size=90)
    stats = Statistics.from_frame(frame)
    graph = CausalGraph.from_edges("xcy", ["x -> c", "c -> y"])
    dummies = pd.get_dummies(frame["c"], drop_first=True, dtype=float).to_numpy()

    def left(target, given):
        design = np.column_stack([np.ones(90), given])
        rest = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        return np.linalg.det(np.atleast_2d(rest.T @ rest / 90))

    y = frame["y"].to_numpy()[:, None]
    x = frame["x"].to_numpy()[:, None]
    fit = np.log(left(dummies, x) / left(dummies, np.zeros((90, 0)))) + np.log(
        left(y, dummies) / left(y, np.zeros((90, 0)))
    )
    assert bic(stats, graph, penalty=penalty) == pytest.approx(90 * fit + penalty * np.log(90) * 4)
    if penalty == 2:
        assert bic(stats, graph) == pytest.approx(90 * fit + 2 * np.log(90) * 4)


def test_what_each_method_asks_for():
    """Knowledge used while searching but for one that imposes it and three that refuse it; rows,
    kinds of variables, exceptions.
    """
    assert {n: m.knowledge for n, m in METHODS.items() if m.knowledge != "search"} == {
        "flop": "after", "ges": "none", "boss": "none", "grasp": "none",
    }  # fmt: skip
    counting = {"miic", "greedy", "order-counts"}
    rows = {name for name, method in METHODS.items() if method.rows}
    assert rows == {"lingam", "additive", "graph_network", "pretrained", *counting}
    kinds = {name: method.variables for name, method in METHODS.items()}
    mixed = ["order", "order-fci", "pc", "fci", "cdnod", "graph_network", "pretrained"]
    mixed = dict.fromkeys(mixed, "mixed")
    scored = dict.fromkeys(["flop", "ges", "boss", "grasp", "dagma", "additive"], "scored")
    assert kinds == mixed | scored | dict.fromkeys(counting, "discrete") | {"lingam": "numeric"}
    assert {name for name, method in METHODS.items() if method.counts} == {"order-counts"}
    assert {name for name, method in METHODS.items() if method.functions or method.missing} == {
        "pretrained"
    }
    choices = {
        name: {key: one.choices for key, one in method.settings.items() if one.choices}
        for name, method in METHODS.items()
    }
    tests = ("fisherz", "chisq", "gsq", "mixed")
    assert {name: told for name, told in choices.items() if told} == {
        "pc": {"test": tests}, "fci": {"test": tests}, "cdnod": {"test": ("mixed", *tests[:3])},
        "dagma": {"model": ("linear", "mlp")}, "pretrained": {"unfamiliar": ("order", "trust")},
        "miic": {"correction": ("nml", "mdl", "none")}, "greedy": {"score": ("bic", "bdeu")},
        "order-counts": {"score": ("nml", "bic", "bdeu")},
    }  # fmt: skip


def test_few_rows_have_the_correlations_and_a_penalty_of_the_same_weight():
    """Fisher's information goes with the rows: 50 of them at n / 50 of the weight, so penalty · ln
    n · 50 / (n ln 50).
    """
    correlation = np.array([[1, 0.6, -0.2], [0.6, 1, 0.1], [-0.2, 0.1, 1]])
    rows, weight = _few_rows(correlation, 4000, 1.5)
    assert rows.shape == (50, 3)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.T @ rows / 50, correlation, atol=1e-12)
    assert weight == pytest.approx(1.5 * 50 / 4000 * np.log(4000) / np.log(50))
    assert _few_rows(np.eye(40), 4000, 1)[0].shape == (80, 40)
    few, same = _few_rows(correlation, 30, 1.5)
    assert few.shape == (30, 3)
    assert same == pytest.approx(1.5)


def test_the_score_of_boss_is_the_bic_of_its_graph():
    data = linear(TRUTH, 300, 4)
    stats = Statistics.from_frame(data)
    for method in ("boss", "grasp", "flop", "ges"):
        for penalty in (1.0, 3.0):
            found = discover(data, method=method, penalty=penalty)
            assert found.info["score"] == pytest.approx(
                bic(stats, found, penalty=penalty), abs=1e-6
            )


# ---- counts --------------------------------------------------------------------------------------


def test_counts_take_copies_functions_and_a_state_seen_once():
    data = binary(2000, 0)
    data["copy"] = np.where(data["x"], "yes", "no")
    data["both"] = np.where(data["w"] & data["z"], "b", "n")
    data["rare"] = pd.Categorical(["once", *["ever"] * 1999], categories=["ever", "never", "once"])
    found = discover(data, method="order-counts")
    assert found.skeleton[found.index("x"), found.index("copy")]
    assert {"w", "z"} <= {
        n for n in found.names if found.skeleton[found.index("both"), found.index(n)]
    }
    assert not found.skeleton[found.index("rare")].any()
    assert found.info["score"] < 0
    with pytest.raises(ValueError, match="'x' is a linear function of 'copy'"):
        discover(data, method="greedy")


def test_counts_refuse_what_is_an_identifier_by_its_levels():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": rng.random(4000) < 0.5, "b": rng.normal(size=4000)})
    with pytest.raises(ValueError, match=r"'b' has 2000 levels, and a variable may have 1000"):
        discover(data, method="order-counts", bins=2000)
    data["b"] = pd.Series(rng.integers(3000, size=4000)).astype(str) + "x"
    with pytest.raises(ValueError, match=r"column 'b' has [\d,]+ levels; merge"):
        discover(data, method="order-counts")


def test_counts_of_hundreds_of_variables_need_no_covariances(monkeypatch):
    """A hundred columns of twenty levels would be a matrix of 1,900 indicators."""
    monkeypatch.setattr(Statistics, "from_frame", None)
    rng = np.random.default_rng(0)
    codes = rng.integers(20, size=(500, 12))
    for z in range(1, 12):
        kept = rng.random(500) < 0.9
        codes[kept, z] = codes[kept, z - 1]
    frame = pd.DataFrame(codes, columns=[f"v{i:02}" for i in range(12)]).astype("category")
    found = discover(frame, method="order-counts", restarts=0)
    chain = [f"v{i:02} -- v{i + 1:02}" for i in range(11)]
    assert found.edges == chain
