"""Models of binary variables beside a table of counts by hand."""

import numpy as np
import pandas as pd
import pytest

from causal_lib import CausalGraph
from causal_lib.experiments.errata import enumeration

# 500 rows with z = 0 and 500 with z = 1; x = 1 in 100 and 400 of them; y = 1 in 40 of 400, 20 of
# 100, 30 of 100 and 160 of 400.
TABLES = {
    "z": ("z", np.array([0.5, 0.5])),
    "x": ("zx", np.array([[0.8, 0.2], [0.2, 0.8]])),
    "y": ("zxy", np.array([[[0.9, 0.1], [0.8, 0.2]], [[0.7, 0.3], [0.6, 0.4]]])),
}
GRAPH = CausalGraph.from_edges("zxy", ["z -> x", "z -> y", "x -> y"])


def test_seeing_and_setting_by_hand():
    joint = enumeration.truncated(TABLES)
    assert 1000 * joint[:, :, 1] == pytest.approx(np.array([[40, 20], [30, 160]]))
    seen = enumeration.conditional(joint, "zxy", "y", "x")
    assert seen[0, :, 1] == pytest.approx([70 / 500, 180 / 500])
    done = enumeration.conditional(enumeration.truncated(TABLES, "x"), "zxy", "y", "x")
    assert done[0, :, 1] == pytest.approx([0.5 * 0.1 + 0.5 * 0.3, 0.5 * 0.2 + 0.5 * 0.4])


def test_names_may_be_words():
    joint = enumeration.truncated(TABLES)
    names = ["activity", "exposed", "purchased"]
    formula = {
        "op": "sum",
        "var": "activity",
        "term": {
            "op": "*",
            "op1": {"op": "P", "vars": ["purchased"], "knowing": ["activity", "exposed"]},
            "op2": {"op": "P", "vars": ["activity"]},
        },
    }
    found = enumeration.value(formula, joint, names)
    assert found.squeeze()[:, 1] == pytest.approx([0.2, 0.3])


def test_a_quotient_is_a_conditional_probability():
    joint = enumeration.truncated(TABLES)
    formula = {"op": "/", "op1": {"op": "P", "vars": ["x", "y"]}, "op2": {"op": "P", "vars": ["x"]}}
    found = enumeration.value(formula, joint, "zxy")
    assert found == pytest.approx(enumeration.conditional(joint, "zxy", "y", "x"))


def test_the_network_of_a_model_answers_with_its_tables():
    answer = enumeration.network(GRAPH, TABLES).query("y", do={"x": 1})["probability"]
    assert list(answer) == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (("y", "", "x", ""), [False, False, False]),
        # given z, setting is as good as seeing; x still has an effect
        (("y", "", "x", "z"), [False, True, False]),
        # x has no effect on z, but tells of it
        (("z", "", "x", ""), [False, False, True]),
        # x is set: z -> y is all that is left
        (("z", "x", "y", ""), [False, False, True]),
    ],
)
def test_conditions_of_the_rules_by_hand(query, expected):
    assert enumeration.conditions(GRAPH, *query) == expected
    agree = np.array(enumeration.gaps(TABLES, *query)) < 1e-12
    assert agree.tolist() == expected


def test_rule_three_asks_for_the_variables_that_are_no_ancestors_of_what_is_given():
    graph = CausalGraph.from_edges("xzwy", ["x -> z", "z -> w", "x -> y"])
    # z is an ancestor of w: its incoming edge stays, and z <- x -> y is open
    assert not enumeration.conditions(graph, "y", "", "z", "w")[2]
    assert enumeration.conditions(graph, "y", "", "z", "")[2]


def test_queries_of_a_wrong_graph_do_not_agree():
    missing = CausalGraph.from_edges("zxy", ["z -> x", "x -> y"])
    assert enumeration.rules(GRAPH, TABLES)["agrees"].all()
    wrong = enumeration.rules(missing, TABLES)
    assert not wrong.loc[wrong["condition"], "agrees"].all()


def test_every_query_of_three_variables_stands_once():
    table = enumeration.rules(GRAPH, TABLES)
    # 6 ordered pairs y, z; the third variable is set, given, or neither
    assert len(table) == 3 * 6 * 3
    assert not table.duplicated(["rule", "y", "x", "z", "w"]).any()


def test_three_models_have_one_joint_and_two_answers():
    models, refused = enumeration.one_joint_three_models(np.random.default_rng(3))
    assert models["same p(x, y)"].all()
    forwards, backwards, cause = models["p(y=1 | do(x=1))"]
    assert backwards == pytest.approx(cause)  # x has no effect in either
    assert abs(forwards - backwards) > 1e-3
    assert refused


def test_without_removes_edges_by_their_ends():
    assert enumeration.without(GRAPH, into="x").edges == ["z -> y", "x -> y"]
    assert enumeration.without(GRAPH, out_of="z").edges == ["x -> y"]


def test_formulas_that_are_wrong_are_seen():
    drawn = (GRAPH, TABLES, "")
    table = enumeration.formulas({"drawn": drawn})
    assert len(table) == 6
    assert (table[["formula", "network"]] < 1e-12).all(axis=None)
    assert isinstance(table, pd.DataFrame)
    assert table.set_index("effect").loc["x on y", "conditioning"] == pytest.approx(0.06)
