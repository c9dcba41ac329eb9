"""Bars appear when they should, and not where they are switched off, by a clock of the test's own."""

import ast
from pathlib import Path

import pandas as pd
import pytest
import tqdm.std

import causal_lib
from causal_lib.discovery import discover, edge_stability
from causal_lib.discovery.statistics import Statistics
from causal_lib.progress import progress_bar, without_bars


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so; bars are not switched off by the environment."""
    seconds = [1000.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: seconds[0])
    monkeypatch.delenv("TQDM_DISABLE")
    return seconds


def walked(clock, steps, **how):
    """A bar of 10 steps that take ``steps`` seconds each."""
    for _ in progress_bar(range(10), desc="walk", **how):
        clock[0] += steps


def test_a_bar_appears_after_its_delay_and_only_then(clock, capfd):
    walked(clock, 0.1)
    walked(clock, 0.5, delay=10)
    assert capfd.readouterr() == ("", "")
    walked(clock, 0.5)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "walk" in shown.err
    assert "10/10" in shown.err


@pytest.mark.parametrize("value", ["1", "true"])
def test_the_environment_hides_every_bar(bars_at_once, clock, value, capfd, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", value)
    walked(clock, 5)
    walked(clock, 5, show=True)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("TQDM_DISABLE", "0")
    walked(clock, 5)
    assert "walk" in capfd.readouterr().err


def test_arguments_and_the_caller_hide_bars(bars_at_once, clock, capfd):
    walked(clock, 5, show=False)
    with without_bars():
        walked(clock, 5)
        with without_bars(False):  # whoever is called inside does not bring them back
            walked(clock, 5)
    assert capfd.readouterr() == ("", "")
    with without_bars(False):
        walked(clock, 5)
    assert "walk" in capfd.readouterr().err
    with pytest.raises(RuntimeError), without_bars():
        raise RuntimeError
    walked(clock, 5)
    assert "walk" in capfd.readouterr().err


def rows():
    t = pd.RangeIndex(60).to_series()
    return pd.DataFrame({"a": t % 7, "b": t % 7 + (t * 11 % 13) / 4, "c": t * 5 % 17})


def test_calls_show_the_bars_that_are_asked_for(bars_at_once, clock, capfd):
    Statistics.from_frame(rows())
    assert "statistics" in capfd.readouterr().err
    discover(rows(), method="graph_network", steps=5)
    shown = capfd.readouterr().err
    assert "all edges" in shown
    assert "climbs" in shown
    edge_stability(rows(), method="graph_network", n_boot=2, steps=5)
    shown = capfd.readouterr().err
    assert "draws" in shown
    assert "climbs" not in shown


@pytest.mark.parametrize("method", ["order", "graph_network"])
def test_stability_without_progress_is_silent(method, bars_at_once, clock, capfd):
    how = {"steps": 5} if method == "graph_network" else {}
    edge_stability(rows(), method=method, n_boot=2, progress=False, **how)
    assert capfd.readouterr() == ("", "")


def test_every_bar_of_the_library_has_the_switch():
    """No other module makes a bar of its own."""
    package = Path(causal_lib.__file__).parent
    makers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.split(".")[0] == "tqdm" for name in names):
                makers.add(path.relative_to(package).as_posix())
    assert makers == {"progress.py"}
