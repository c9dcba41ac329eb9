"""Sweeps on small notebooks: the grid, the tables, going on, failures, and bad requests."""

import json

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causal_lib import paths
from causal_lib.tooling import sweep as sweeping
from causal_lib.tooling.notebooks import UsageError
from causal_lib.tooling.runner import lock_folder
from causal_lib.tooling.sweep import draw, grid, sweep

CODE = """import json, os, pathlib
if days == 7:
    raise RuntimeError("no week")
folder = pathlib.Path(os.environ["CAUSAL_LIB_REPORTS"])
def metric(name, value):
    ends = dict(low=value - 1, high=value + 1)
    return dict(stage="01 stage", name=name, value=value, truth=None, unit="rows", **ends)
content = dict(metrics=[metric("rows", days * 10 + seed), metric("other", 1)], headline=["rows"])
(folder / "results" / "01.json").write_text(json.dumps(content))"""


@pytest.fixture
def house(tmp_path):
    """A folder with one notebook, of days and seed, and empty reports/."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "notebooks").mkdir()
    parameters = new_code_cell("days = 3\nseed = 0\nsizes = [1]", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# 01 Title · 标题"), parameters, new_code_cell(CODE)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(book, tmp_path / "notebooks" / "01_a.ipynb")
    return tmp_path


def start(house, given, **options):
    return sweep("1", given, notebooks=house / "notebooks", reports=house / "reports", **options)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- the grid ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", ["3"]),
        ("a, b", ["a", "b"]),
        ("0:3", ["0", "1", "2"]),
        ("0:20:5", ["0", "5", "10", "15"]),
        ("3:0:-1", ["3", "2", "1"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("12:30", [str(k) for k in range(12, 30)]),
        ("", [""]),
    ],
)
def test_values(text, values):
    assert grid({"x": text}) == [{"x": one} for one in values]


def test_a_grid_has_every_combination_once():
    points = grid({"a": "1,2,3", "b": "0:4", "c": "x"})
    assert len(points) == 12
    assert len({tuple(point.items()) for point in points}) == 12
    assert grid({}) == [{}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "1,2,1"}, "parameter 'a': the value '1' stands twice"),
        ({"a": "3:3"}, "parameter 'a': the range 3:3 holds no number"),
        ({"a": "0:200", "b": "0:51"}, "the grid has 10,200 points; at most 10,000"),
    ],
)
def test_grids_that_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        grid(given)


# ---- running it ----------------------------------------------------------------------------------


def test_a_sweep_its_tables_what_failed_and_going_on(house, monkeypatch):
    found = start(house, {"days": "2,7", "seed": "0:2"}, jobs=2)
    assert found.points["status"].tolist() == ["ok", "ok", "failed", "failed"]
    assert found.points["error"].tolist()[2:] == ["RuntimeError: no week"] * 2
    rows = found.metrics[found.metrics["headline"]]
    assert rows[["days", "seed", "value"]].to_numpy().tolist() == [[2, 0, 20], [2, 1, 21]]
    assert set(found.metrics["name"]) == {"rows", "other"}
    for name, read in (("metrics.csv", pd.read_csv), ("metrics.parquet", pd.read_parquet)):
        pd.testing.assert_frame_equal(read(found.folder / name), found.metrics, check_dtype=False)
    points = pd.read_csv(found.folder / "points.csv", keep_default_na=False)
    assert points["folder"].tolist() == found.points["folder"].tolist()
    assert (found.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    # nothing but the sweep's own folder was written
    assert [path.name for path in (house / "reports").iterdir()] == ["runs"]
    assert [path.name for path in (house / "reports" / "runs").iterdir()] == [found.folder.name]

    # the same command runs what failed only
    executed = []
    run_one = sweeping.execute

    def spy(job, *rest):
        executed.append((job.parameters["days"], job.parameters["seed"]))
        return run_one(job, *rest)

    before = tree(found.folder)
    monkeypatch.setattr(sweeping, "execute", spy)
    path = house / "notebooks" / "01_a.ipynb"
    again = start(house, {"seed": "0:2", "days": "2,7"})
    assert again.folder == found.folder
    assert executed == [(7, 0), (7, 1)]
    pd.testing.assert_frame_equal(again.metrics, found.metrics)
    assert tree(found.folder)["metrics.parquet"] == before["metrics.parquet"]

    # an edit of the notebook makes all of it anew
    executed.clear()
    path.write_text(path.read_text().replace("days == 7", "days == 8"))
    whole = start(house, {"days": "2,7", "seed": "0:2"}, jobs=2)
    assert len(executed) == 4
    assert (whole.points["status"] == "ok").all()


def test_a_change_of_the_library_makes_points_anew(house, monkeypatch):
    done = {"status": "ok", "seconds": 1.0}
    executed = []

    def stand_in(job, place, *rest):
        executed.append(job.parameters["days"])
        (place / "results").mkdir(exist_ok=True)
        row = {"stage": "", "name": "rows", "value": 1, "low": None, "high": None}
        content = {"metrics": [row | {"truth": None, "unit": ""}], "headline": []}
        (place / "results" / "01.json").write_text(json.dumps(content))
        return done

    monkeypatch.setattr(sweeping, "execute", stand_in)
    start(house, {"days": "1,2"})
    start(house, {"days": "1,2"})
    assert executed == [1, 2]
    monkeypatch.setattr(paths, "code_digest", lambda: "another")
    start(house, {"days": "1,2"})
    assert executed == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "a sweep of notebook 1 needs values of a parameter"),
        ({"hours": "1,2"}, {}, "unknown parameter 'hours'"),
        ({"days": "1,two"}, {}, "'days' of 01_a.ipynb must be int .* not 'two'"),
        ({"days": "1,2"}, {"jobs": 0}, "jobs is 0; at least 1"),
    ],
)
def test_requests_that_are_refused_before_anything_runs(house, given, options, message):
    with pytest.raises(UsageError, match=message):
        start(house, given, **options)
    assert not (house / "reports" / "runs").exists()


def test_a_folder_that_is_in_use_is_refused(house, tmp_path):
    (tmp_path / "mine").mkdir()
    lock = lock_folder(tmp_path / "mine")
    with pytest.raises(UsageError, match="mine is in use by another sweep"):
        start(house, {"days": "1"}, out=tmp_path / "mine")
    lock.release()


# ---- the figure ----------------------------------------------------------------------------------


def _metrics(**columns):
    frame = pd.DataFrame(columns)
    rest = {"stage": "", "name": "gain", "truth": 0.5, "unit": "", "headline": True}
    return frame.assign(**{name: value for name, value in rest.items() if name not in frame})


def _bars(ax):
    """Value, low and high of each bar, line by line."""
    found = []
    for container in ax.containers:
        line, _, [bars] = container
        ends = [segment[:, 1] for segment in bars.get_segments()]
        found.append([(y, *end) for y, end in zip(line.get_ydata(), ends, strict=True)])
    return found


def test_seeds_are_averaged_over_with_the_interval_of_their_mean():
    table = _metrics(
        days=[1, 1, 1, 2, 2, 2],
        seed=[0, 1, 2] * 2,
        value=[1.0, 2.0, 3.0, 4.0, 4.0, 4.0],
        low=np.nan,
        high=np.nan,
    )
    [ax] = draw(table, ["days", "seed"]).axes
    # t(.975, 2) s / sqrt(3) of 1, 2, 3 by hand
    half = 4.302653 / np.sqrt(3)
    assert _bars(ax)[0][0] == pytest.approx((2, 2 - half, 2 + half), rel=1e-6)
    assert _bars(ax)[0][1] == pytest.approx((4, 4, 4))
    assert ax.get_xlabel() == "days"
    assert [text.get_text() for text in ax.get_legend().texts] == ["truth"]


def test_single_points_keep_their_own_intervals_and_a_second_parameter_makes_lines():
    table = _metrics(
        how=["a", "b", "a", "b"],
        rate=[0.1, 0.1, 0.2, 0.2],
        value=[1.0, 2.0, 3.0, 4.0],
        low=[0.5, 1.5, 2.5, 3.5],
        high=[1.5, 2.5, 3.5, 4.5],
    )
    [ax] = draw(table, ["how", "rate"]).axes
    assert _bars(ax)[1] == [(3.0, 2.5, 3.5), (4.0, 3.5, 4.5)]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]
    assert {text.get_text() for text in ax.get_legend().texts} == {
        "rate = 0.1", "rate = 0.2", "truth"
    }  # fmt: skip


def test_a_sweep_over_seeds_alone_shows_each():
    table = _metrics(seed=[0, 1], value=[1.0, 2.0], low=[0.0, 1.0], high=[2.0, 3.0])
    [ax] = draw(table, ["seed"]).axes
    assert ax.get_xlabel() == "seed"
    assert _bars(ax)[0] == [(1.0, 0.0, 2.0), (2.0, 1.0, 3.0)]


def test_one_point_is_drawn_too():
    table = _metrics(days=[3], value=[1.0], low=[0.0], high=[2.0])
    [ax] = draw(table, ["days"]).axes
    assert _bars(ax)[0] == [(1.0, 0.0, 2.0)]
