"""How columns are encoded: numbers, dates, few levels and many, and rows that the encoder has not
seen.
"""

import numpy as np
import pandas as pd
import pytest

from causal_lib.inference.covariates import Covariates, IdentifierError, design, wide, wide_names


def test_categories_of_new_rows_are_coded_as_those_of_training():
    old = pd.DataFrame({"n": [1, 2, 3, 4], "kind": list("abca"), "flag": [True, False, True, True]})
    found = Covariates.fit(old, ["n", "kind", "flag"])
    table = found.table(old)
    assert sorted(table.columns) == ["flag", "kind_b", "kind_c", "n"]
    assert table["kind_b"].tolist() == [0, 1, 0, 0]
    assert table["flag"].tolist() == [1, 0, 1, 1]
    new = pd.DataFrame({"kind": list("cc"), "flag": False, "n": [7, 8]}, index=["p", "q"])
    assert found.table(new)[["flag", "kind_b", "kind_c", "n"]].to_numpy().tolist() == [
        [0, 0, 1, 7], [0, 0, 1, 8],
    ]  # fmt: skip
    assert found.table(new).index.tolist() == ["p", "q"]
    with pytest.raises(ValueError, match=r"new: column 'kind' has 1 rows of a level .*'d'"):
        found.table(new.assign(kind=list("cd")), name="new")
    with pytest.raises(ValueError, match="new: column 'n' holds a category, and a number in the"):
        found.table(new.assign(n=list("xy")), name="new")
    assert design(old, []).shape == (4, 0)
    assert sorted(design(old, ["n", "kind"]).columns) == ["kind_b", "kind_c", "n"]


def test_dates_are_days_since_the_earliest_training_row():
    old = pd.DataFrame({"when": pd.to_datetime(["2024-03-02 00:00", "2024-03-01 12:00"])})
    found = Covariates.fit(old, ["when"])
    assert found.table(old)["when"].tolist() == [1.0, 0.5]
    assert found.notes == ("when: days since 2024-03-01",)
    new = pd.DataFrame({"when": pd.to_datetime(["2024-02-29", "2024-03-11"])})
    assert found.table(new)["when"].tolist() == [-1.0, 10.0]


def test_many_levels_are_one_column_of_labels_whose_lone_ones_are_put_together():
    names = [f"u{k:02d}" for k in range(40)]
    old = pd.DataFrame({"who": [*np.repeat(names, 3), "alone", "single"]})
    found = Covariates.fit(old, ["who"])
    table = found.table(old)
    assert table["who"].cat.categories.tolist() == [*names, "(rare)"]
    assert table["who"].tolist()[-3:] == ["u39", "(rare)", "(rare)"]
    assert found.table(pd.DataFrame({"who": ["new", "u00"]}))["who"].tolist() == ["(rare)", "u00"]
    assert found.notes == ("who: 40 levels, as labels, and 2 levels of one row, put together",)
    assert wide(table).shape == (122, 40)
    assert wide(table).sum() == 39 * 3 + 2
    assert wide_names(table) == [f"who_{name}" for name in [*names[1:], "(rare)"]]
    few = pd.DataFrame({"who": np.repeat(names[:30], 2)})
    assert Covariates.fit(few, ["who"]).table(few).shape == (60, 29)


def test_labels_that_identify_the_rows_are_refused():
    frame = pd.DataFrame({"who": [f"u{k}" for k in range(40)] * 2 + ["v"], "y": np.arange(81.0)})
    assert Covariates.fit(frame[:80], ["who"]).names == ("who",)
    with pytest.raises(IdentifierError, match="column 'who' has 41 levels in 81 rows: it identif"):
        Covariates.fit(frame, ["who"])
    with pytest.warns(UserWarning, match="identifies rows"):
        assert design(frame, ["who", "y"]).columns.tolist() == ["y"]


def test_no_column_takes_the_place_of_another():
    frame = pd.DataFrame({"a": list("xyx"), "a_y": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"column 'a_y' and another one become 'a_y' .*; rename"):
        Covariates.fit(frame, ["a", "a_y"]).table(frame)
    assert Covariates.fit(frame, ["a"]).table(frame)["a_y"].tolist() == [0, 1, 0]
