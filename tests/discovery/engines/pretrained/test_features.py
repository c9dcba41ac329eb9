"""Features: invariances to the last bit, parities of their signs, and single features against other
ways to compute them.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, rankdata
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mutual_info_score

from causal_lib.discovery import discover
from causal_lib.discovery.engines.pretrained import features
from causal_lib.discovery.engines.pretrained.features import ODD_NODES, describe, of_canonical
from causal_lib.discovery.engines.pretrained.table_form import KnowledgeMatrices, to_canonical
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_tables import draw


def table(found, name):
    """One feature of the pairs as a matrix over the canonical order."""
    made = np.full((len(found.nodes), len(found.nodes)), np.nan)
    made[found.index[0], found.index[1]] = found.pairs[:, found.names.index(name)]
    return made


@pytest.fixture(scope="module")
def chain():
    """x -> y -> z, curved, with skewed noise."""
    rng = np.random.default_rng(0)
    x, u, v = rng.exponential(size=(3, 800)) - 1
    y = np.tanh(2 * x) + 0.5 * u
    return pd.DataFrame({"x": x, "y": y, "z": y**2 - y + 0.5 * v})


@pytest.mark.parametrize(
    "family", ["linear Gaussian", "post-nonlinear", "discrete", "mixed", "tables", "recommender"]
)
def test_order_names_signs_and_units_of_the_columns_change_no_bit(family):
    frame = draw(family, [3, 1], d=7, n=300).frame
    turned = frame[list(np.random.default_rng(1).permutation(frame.columns))].copy()
    for name, column in turned.items():
        if column.dtype == bool:
            turned[name] = ~column
        elif column.dtype.kind in "fi":
            turned[name] = 11 - 3.7 * column
    renamed = {name: f"another {name}" for name in frame}
    one = describe(frame)
    other = describe(turned.rename(columns=renamed))
    assert [renamed[frame.columns[k]] for k in one.order] == [
        renamed[turned.columns[k]] for k in other.order
    ]
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.nodes, other.nodes)


def test_renamed_levels_change_no_bit():
    frame = draw("tables", [3, 4], d=6, n=300).frame
    renamed = pd.DataFrame(
        {
            k: c.cat.rename_categories(lambda level: f"z{9 - int(level[1:])}")
            for k, c in frame.items()
        }
    )
    renamed = renamed.astype(object).astype("category")
    assert np.array_equal(describe(frame).pairs, describe(renamed).pairs)


@pytest.mark.parametrize("family", ["additive nonlinear", "mixed", "tables"])
def test_nor_do_they_where_values_are_missing(family):
    frame = draw(family, [3, 5], d=6, n=300, troubles=("missing values",)).frame
    assert frame.isna().any(axis=None)
    one = describe(frame)
    other = describe(frame[frame.columns[::-1]])
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.nodes, other.nodes)
    assert one.nodes[:, -1] == pytest.approx(frame.isna().mean().to_numpy()[one.order])


def test_what_is_missing_is_taken_from_the_nearest_row_that_has_it(rng):
    a = rng.permutation(100).astype(float)
    frame = pd.DataFrame(
        {
            "a": a,
            "b": 3 * a + rng.normal(size=100),
            "kind": pd.Categorical.from_codes((a // 40).astype(int), [*"xyz"]),
        }
    )
    whole = frame.copy()
    frame.loc[[3, 50], "b"] = np.nan
    frame.loc[[7, 60], "kind"] = np.nan
    table, order, _, missing = to_canonical(frame)
    assert missing.tolist() == [{"a": 0, "b": 0.02, "kind": 0.02}[frame.columns[k]] for k in order]
    filled = {frame.columns[k]: table.iloc[:, place] for place, k in enumerate(order)}
    codes = {level: filled["kind"][whole["kind"] == level].mode()[0] for level in "xyz"}
    for row in (7, 60):
        near = frame.index[(frame["a"] - a[row]).abs().argsort()][1:4]
        assert filled["kind"][row] in {codes[whole["kind"][k]] for k in near}
    for row in (3, 50):  # the donor is a neighbour of the same kind
        donor = (filled["b"].drop([3, 50]) - filled["b"][row]).abs().idxmin()
        assert abs(a[donor] - a[row]) <= 2
    assert len(set(filled["b"].round(9))) == 98


@pytest.mark.parametrize("family", ["additive nonlinear", "heteroscedastic", "linear non-Gaussian"])
def test_signs_turn_with_those_of_the_variables_as_the_parities_say(family):
    frame = to_canonical(draw(family, [3, 2], d=6, n=600).frame)[0]
    kinds = np.zeros(6)
    known = KnowledgeMatrices([*"abcdef"], None)
    flip = np.array([1, -1, 1, -1, -1, 1.0])
    (nodes, one), (turned, other) = (
        of_canonical(data, kinds, known, 0) for data in (frame, frame * flip)
    )
    for name, (odd_i, odd_j), value, seen in zip(
        one.names, one.parity, one.columns, other.columns, strict=True
    ):
        expected = value * flip[one.i] ** odd_i * flip[one.j] ** odd_j
        assert np.abs(expected - seen).max() < 0.02, name
    signs = np.where(np.arange(nodes.shape[1]) < ODD_NODES, flip[:, None], 1)
    assert np.allclose(nodes * signs, turned, atol=1e-5)


def test_correlations_are_those_of_numpy_scipy_and_regressions(chain):
    found = describe(chain)
    data = to_canonical(chain)[0].to_numpy()
    assert np.allclose(
        table(found, "correlation value"),
        np.where(np.eye(3), np.nan, np.corrcoef(data.T)),
        atol=1e-5,
        equal_nan=True,
    )
    rest = [
        data[:, k] - LinearRegression().fit(data[:, [2]], data[:, k]).predict(data[:, [2]])
        for k in (0, 1)
    ]
    assert table(found, "partial value")[0, 1] == pytest.approx(
        np.corrcoef(*rest)[0, 1], abs=0.01
    )  # theirs has a ridge
    scores = norm.ppf((rankdata(data, axis=0) - 0.5) / len(data))
    assert np.allclose(
        np.corrcoef(scores.T)[0, 1:], table(found, "correlation score")[0, 1:], atol=1e-4
    )


def test_moments_with_the_residual_of_a_line_are_those_computed_by_hand(chain):
    found = describe(chain)
    data = to_canonical(chain)[0].to_numpy()
    x = data[:, 0]
    y = data[:, 1]
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    residual = residual / residual.std()
    square = np.clip(x, -4, 4) ** 2
    assert table(found, "line square x")[0, 1] == pytest.approx(
        np.mean((square - square.mean()) * residual), abs=1e-4
    )
    size = np.abs(np.clip(x, -4, 4)), np.abs(np.clip(residual, -4, 4))
    assert table(found, "line size size")[0, 1] == pytest.approx(
        np.cov(*size, ddof=0)[0, 1], abs=1e-4
    )


def test_information_is_that_of_scikit_learn():
    frame = draw("tables", [5, 1], d=4, n=400).frame
    found = describe(frame)
    i, j = found.order[:2]
    codes = [frame.iloc[:, k].cat.codes for k in (i, j)]
    expected = np.sqrt(mutual_info_score(*codes))
    assert table(found, "information")[0, 1] == pytest.approx(expected, abs=1e-3)


def test_solvers_see_what_they_can(chain):
    found = describe(chain)
    place = {chain.columns[k]: number for number, k in enumerate(found.order)}
    x, y, z = (place[name] for name in "xyz")
    parents = table(found, "additive value parent")
    assert parents[x, y] == parents[y, z] == 1
    assert parents[y, x] == parents[z, y] == 0
    blocks = discover(chain, method="order")
    edges = {
        (a, b)
        for a in "xyz"
        for b in "xyz"
        if a != b and table(found, "solver blocks directed")[place[a], place[b]]
    }
    assert edges == {(a, b) for a in blocks.names for b in blocks.children(a)}


def test_lingam_s_order_is_that_of_causal_learn():
    frame = draw("linear non-Gaussian", [7, 1], d=5, n=2000, degree=2.0).frame
    found = describe(frame)
    known = discover(frame, method="lingam")
    truth = [known.names.index(frame.columns[k]) for k in found.order]
    before = table(found, "lingam before") > 0
    reach = np.linalg.matrix_power(np.eye(5) + known.adjacency, 5) > 0
    assert not (reach[np.ix_(truth, truth)].T & before).any()


def test_knowledge_is_among_the_features_and_steers_the_solvers(chain):
    plain = describe(chain)
    told = describe(chain, Knowledge(tiers=[["z"], ["y"], ["x"]], forbidden=[("z", "x")]))
    place = {chain.columns[k]: number for number, k in enumerate(told.order)}
    assert table(told, "known before")[place["z"], place["x"]] == 1
    assert (
        table(told, "known allowed")[place["x"], place["z"]]
        == table(told, "known allowed")[place["z"], place["x"]]
        == 0
    )
    for solver in ("additive value parent", "solver blocks directed"):
        assert not table(told, solver)[place["x"], place["y"]]
    assert table(plain, "known allowed")[0, 1] == 1


def test_many_variables_are_looked_at_along_a_skeleton():
    frame = draw("linear Gaussian", 0, d=60, n=300, degree=1.0).frame
    found = describe(frame)
    assert 60 < found.index.shape[1] < 60 * 59 / 4
    pairs = set(map(tuple, found.index.T.tolist()))
    assert pairs == {(j, i) for i, j in pairs}
    assert np.isfinite(found.pairs).all()


def test_functions_of_others_and_rare_events_give_finite_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    frame = pd.DataFrame(
        {
            "a": x[:, 0],
            "b": 2 * x[:, 0],
            "c": x.sum(axis=1),
            "d": x[:, 1],
            "rare": np.arange(200) == 7,
        }
    )
    found = describe(frame)
    assert np.isfinite(found.pairs).all()
    assert np.isfinite(found.nodes).all()


def test_rows_beyond_the_limit_still_count_for_correlations():
    frame = draw("linear Gaussian", 1, d=3, n=2 * features.ROWS).frame
    found = describe(frame)
    assert np.allclose(
        table(found, "correlation value")[0, 1],
        np.corrcoef(to_canonical(frame)[0].T)[0, 1],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("family", "troubles", "told", "of_nodes", "of_pairs"),
    [
        ("mixed", (), False, 6.133002748315779, 23.01036377676563),
        ("mixed", ("missing values",), True, 7.424687278325119, 16.439168561568106),
        ("additive nonlinear", (), True, 8.014538491693775, 69.25382933041945),
        ("tables", (), False, 6.029553929962385, 34.287551887762255),
    ],
)
def test_features_stay_those_that_the_weights_were_trained_on(
    family, troubles, told, of_nodes, of_pairs
):
    """Computed once; every value has a weight of its own. The names are kept in the weights, the
    values cannot be.
    """
    sample = draw(
        family, [41, 1], d=6, n=200 if family == "additive nonlinear" else 150, troubles=troubles
    )
    a, b, c, d, e, f = sample.order
    knowledge = Knowledge([[a, b], [c, d]], [(a, f)], [(e, f)]) if told else None
    found = describe(sample.frame, knowledge, 3)
    for values, expected in ((found.nodes, of_nodes), (found.pairs, of_pairs)):
        row, column = np.indices(values.shape)
        weighed = (1 + np.sin(1 + row + 7.3 * column)) * values.astype(float)
        assert weighed.sum() / len(values) == pytest.approx(expected, rel=1e-4)
