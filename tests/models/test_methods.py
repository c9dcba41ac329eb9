"""The registry: every entry is complete, and docstring and errors are made from it."""

from causal_lib.models import RECOMMENDERS, train_recommender
from causal_lib.models.methods import ARGUMENTS, methods_table, names_learning, names_using


def test_every_entry_is_complete():
    for name, method in RECOMMENDERS.items():
        assert method.learns in ("ratings", "clicks"), name
        assert method.formula, name
        assert method.source, name
        assert method.options["dim"] == 32, name
        assert method.options["l2"] > 0, name
        assert set(method.needs + method.uses) <= set(ARGUMENTS), name
        assert not set(method.needs) & set(method.uses), name


def test_names_by_what_they_learn_and_use():
    assert names_learning("ratings") == ("mf", "ips-mf", "snips-mf", "dr-mf")
    assert set(names_learning("clicks")) | set(names_learning("ratings")) == set(RECOMMENDERS)
    assert names_using("propensity") == ["ips-mf", "snips-mf", "dr-mf", "relevance-mf"]
    assert names_using("randomised") == ["cause"]


def test_the_docstring_holds_the_table():
    rows = methods_table().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(RECOMMENDERS)
    for row in rows:
        assert row in train_recommender.__doc__
    (row,) = (row for row in rows if "ips-mf" in row.split("|")[1].split())
    assert "| **propensity** | dim 32, l2 0.02, clip 0 |" in row
