import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.studies import LogError, Roles
from causal_lib.studies.roles import quoted


def test_a_file_of_roles_comes_back_as_it_was(roles, tmp_path):
    roles.write(tmp_path / "roles.toml", ["a note\nover two lines = 1"])
    assert Roles.read(tmp_path / "roles.toml") == roles


@given(st.text())
def test_any_name_of_a_column_survives_the_file(name):
    assert tomllib.loads(f"x = {quoted([name])}")["x"] == [name]


@given(st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6))
def test_roles_of_any_names_survive_the_file(first, second):
    if first != second:
        roles = Roles(treatment=first, outcome=second, before=())
        assert Roles.from_dict(tomllib.loads(roles.to_toml([first]))) == roles


def test_a_flat_list_is_one_tier():
    assert Roles("t", "y", ["a", "b"]).before == (("a", "b"),)


def test_the_price_may_also_be_known_before():
    assert Roles("t", "y", [["p"]], price="p").columns == ("t", "y", "p")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "treatment is not named"),
        ({"treatment": "t"}, "outcome is not named"),
        ({"treatment": "t", "outcome": "t"}, "'t' is named twice (treatment, outcome)"),
        ({"treatment": "t", "outcome": "y", "before": [["a"], ["a"]]}, "'a' is named twice"),
        ({"treatment": "t", "outcome": "y", "before": ["a"], "after": ["a"]}, "(before, after)"),
        ({"treatment": "t", "outcome": "y", "befor": ["a"]}, "did you mean 'before'?"),
        ({"treatment": "t", "outcome": "y", "before": "a"}, "before is a list of tiers"),
        ({"treatment": "t", "outcome": "y", "before": [[1]]}, "names of columns, not 1"),
        ({"treatment": "t", "outcome": "y", "after": "a"}, "after is a list"),
        ({"treatment": 1, "outcome": "y"}, "treatment is one text, not 1"),
        ({"treatment": "t", "outcome": "y", "control": "a"}, "go together"),
        ({"treatment": "t", "outcome": "y", "control": "a", "treated": "a"}, "are both 'a'"),
        ({"treatment": "t", "outcome": "y", "known": [["a"]]}, "is no edge"),
        ({"treatment": "t", "outcome": "y", "known": [["a", "y"]]}, "nor in before"),
        ({"treatment": "t", "outcome": "y", "randomised": "yes"}, "is true or false"),
    ],
)
def test_what_is_wrong_with_roles_is_said(given_, message):
    with pytest.raises(LogError) as caught:
        Roles.from_dict(given_)
    assert message in str(caught.value)


def test_an_edge_both_known_and_impossible_is_refused():
    with pytest.raises(LogError, match="both known and impossible"):
        Roles("t", "y", ["a"], known=[["a", "y"]], impossible=[["a", "y"]])
