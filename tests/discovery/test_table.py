"""One table a call: every view is made once, whatever the method asks for."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery import Statistics, audit, discover
from causal_lib.discovery import table as module
from causal_lib.discovery.encoding import encode
from causal_lib.discovery.table import Table
from causal_lib.knowledge import Knowledge


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300))
    return pd.DataFrame({1: x, "y": x + y, "city": rng.choice(list("abc"), 300)})


def test_views_are_those_of_the_frame_with_names_of_text(frame):
    table = Table(frame)
    named = frame.rename(columns=str)
    assert table.names == ("1", "y", "city")
    assert table.numeric == [True, True, False]
    assert table.rows == 300
    assert table.frame.equals(named)
    assert list(frame.columns) == [1, "y", "city"]
    own = Statistics.from_frame(named)
    assert np.array_equal(table.statistics.cov, own.cov)
    for standardise in (True, False):
        values, how = table.encoded(standardise)
        expected, told = encode(named, standardise=standardise)
        assert np.array_equal(values, expected)
        assert how == told


def test_statistics_are_a_table_without_rows(frame):
    statistics = Statistics.from_frame(frame)
    table = Table(statistics)
    assert table.frame is None
    assert table.statistics is statistics
    assert (table.names, table.rows) == (statistics.names, 300)


@pytest.mark.parametrize(
    ("method", "encoded", "counted"),
    [("order", 0, 1), ("pc", 1, 1), ("dagma", 1, 1), ("additive", 1, 1), ("miic", 0, 1)],
)
@pytest.mark.parametrize("knowledge", [None, Knowledge([["1"], ["y"]])])
def test_discover_passes_over_the_rows_once_for_each_view(
    method, encoded, counted, knowledge, frame, monkeypatch
):
    passes = {"encoded": 0, "counted": 0}

    def counting(name, function):
        def counted(*arguments, **options):
            passes[name] += 1
            return function(*arguments, **options)

        return counted

    monkeypatch.setattr(module, "encode", counting("encoded", encode))
    monkeypatch.setattr(Statistics, "from_frame", counting("counted", Statistics.from_frame))
    settings = {"bins": 3} if method == "miic" else {}
    discover(frame, method=method, knowledge=knowledge, **settings)
    assert passes == {"encoded": encoded, "counted": counted}


@pytest.mark.parametrize(
    "spoil", [lambda f: f.assign(z=1.0), lambda f: f.where(f["y"] < 1), lambda f: f.assign(k=f[1])]
)
def test_the_audit_of_a_table_is_that_of_its_frame(spoil, frame):
    spoilt = spoil(frame)
    assert audit(Table(spoilt)) == audit(spoilt)
    assert audit(spoilt).findings


def test_a_table_needs_a_frame_with_rows_and_different_names(frame):
    with pytest.raises(TypeError, match="a pandas DataFrame is needed, not list"):
        Table([1, 2])
    with pytest.raises(ValueError, match="has no rows"):
        Table(frame.iloc[:0])
    with pytest.raises(ValueError, match="column 'y' stands 2 times"):
        Table(frame[["y", "y"]])
