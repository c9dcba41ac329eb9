"""Sweeps: one notebook at many parameters, its results in one table and one figure.

Every point runs in a folder of its own and is kept there. The same command goes on with the points
that are missing or failed, or whose notebook or library was changed since.
"""

import hashlib
import io
import itertools
import json
import re
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causal_lib import paths, plots
from causal_lib.metric import Metric
from causal_lib.progress import progress_bar
from causal_lib.tooling.notebooks import UsageError, plan
from causal_lib.tooling.runner import (
    copy_whole,
    execute,
    lock_folder,
    naming_a_full_disk,
    notebook_pool,
)

_MOST_POINTS = 10_000
_MOST_PANELS = 6
_MOST_LINES = 6
_REPEATED = "seed"  # what is averaged over, where something else varies


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep.

    Attributes
    ----------
    folder : holds ``points.csv``, ``metrics.csv``, ``metrics.parquet``, ``sweep.png`` and a folder
        for each point.
    points : a row for each point: its parameters, status ("ok" or "failed"), seconds, error.
    metrics : a row for each metric of each point that ended well: the parameters, stage, name,
        value, low, high, truth, unit, and headline: whether it is one of the notebook's.
    """

    folder: Path
    points: pd.DataFrame
    metrics: pd.DataFrame


def grid(given: Mapping[str, str]) -> list[dict[str, str]]:
    """The points of a grid, each name -> text, the last name varying first.

    Of a text ``a,b`` the values are a and b (commas in brackets do not count), of ``0:4`` the whole
    numbers 0, 1, 2, 3, of ``0:20:5`` 0, 5, 10, 15. Raises UsageError for a value that stands twice,
    a range without numbers, and more than 10,000 points.

    >>> grid({"days": "5,9", "seed": "0:2"})
    [{'days': '5', 'seed': '0'}, {'days': '5', 'seed': '1'}, {'days': '9', 'seed': '0'}, \
{'days': '9', 'seed': '1'}]
    """
    values = {name: _values(name, text) for name, text in given.items()}
    count = int(np.prod([len(one) for one in values.values()], dtype=float))
    if count > _MOST_POINTS:
        raise UsageError(f"the grid has {count:,} points; at most {_MOST_POINTS:,}")
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def _values(name, text):
    if re.fullmatch(r"-?\d+:-?\d+(:-?[1-9]\d*)?", text):
        found = [str(one) for one in range(*map(int, text.split(":")))]
        if not found:
            raise UsageError(f"parameter {name!r}: the range {text} holds no number")
        return found
    found = [one.strip() for one in re.split(r",(?![^\[]*\])", text)]
    if twice := sorted({one for one in found if found.count(one) > 1}):
        raise UsageError(f"parameter {name!r}: the value {twice[0]!r} stands twice")
    return found


def sweep(
    number: str,
    given: Mapping[str, str],
    *,
    jobs: int = 1,
    out: Path | None = None,
    notebooks: Path = paths.NOTEBOOKS,
    reports: Path | None = None,
) -> Sweep:
    """Execute notebook ``number`` at every point of the `grid` of ``given``.

    A point that fails is kept with its error and stops no other. The committed results and figures
    are left alone.

    Parameters
    ----------
    number : of the notebook, two digits.
    given : parameter -> text of its values, as in `grid`.
    jobs : points executed at a time.
    out : folder to write into, by default one in ``reports/runs`` named after notebook and grid.
    reports : folder with the results of the notebooks that it needs; `paths.COMMITTED` when left
        out.

    Raises UsageError before anything runs: for a parameter or value that the notebook does not
    take, a grid that cannot be read, and a folder that another sweep is using.
    """
    reports = Path(reports or paths.COMMITTED).resolve()
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; at least 1")
    if not given:
        raise UsageError(f"a sweep of notebook {number} needs values of a parameter (-p name=a,b)")
    points = grid(given)
    planned = [
        plan([number], point, notebooks=notebooks, results=reports / "results")[0]
        for point in points
    ]
    names = sorted(given)
    asked = json.dumps([planned[0].number, given], sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    folder = Path(out or reports / "runs" / f"sweep-{planned[0].number}-{digest}").resolve()
    with naming_a_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder)
        if lock is None:
            raise UsageError(f"{folder} is in use by another sweep")
        try:
            kept = _execute_all(planned, jobs, folder, reports)
            return _written(folder, names, planned, kept)
        finally:
            lock.release()


def _execute_all(planned, jobs, folder, reports):
    """What is kept of every point: status, seconds, error, source and parameters."""

    def settle(place, job):
        kept = _kept(place, job)
        if kept is not None:
            return kept
        for sub in ("results", "figures"):
            (place / sub).mkdir(exist_ok=True)
        for needed in job.needs:
            copy_whole(reports / "results" / f"{needed}.json", place / "results", place)
        (place / "results" / f"{job.number}.json").unlink(missing_ok=True)
        about = {"source": job.source, "parameters": job.parameters}
        kept = execute(job, place, jobs, lifeline) | about
        paths.write_text(place / "point.json", json.dumps(kept, indent=1) + "\n")
        return kept

    with notebook_pool(jobs) as (pool, lifeline):
        places = [folder / f"point-{_name(job)}" for job in planned]
        for place in places:
            place.mkdir(exist_ok=True)
        futures = [pool.submit(settle, *pair) for pair in zip(places, planned, strict=True)]
        bar = progress_bar(
            as_completed(futures), delay=0, total=len(futures), unit="point", desc="points"
        )
        for future in bar:
            future.result()
        return [future.result() for future in futures]


def _name(job):
    text = json.dumps(job.parameters, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _kept(place, job):
    """What is there of a point that ended well with this notebook and this library."""
    try:
        kept = json.loads((place / "point.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = (place / "results" / f"{job.number}.json").exists()
    return kept if whole and (kept["status"], kept["source"]) == ("ok", job.source) else None


def _written(folder, names, planned, kept):
    """The `Sweep`, its tables and its figure in ``folder``."""
    points = []
    rows = []
    for job, one in zip(planned, kept, strict=True):
        at = {name: _plain(job.parameters[name]) for name in names}
        place = folder / f"point-{_name(job)}"
        error = one.get("error", {}).get("message", "")
        status = {"status": one["status"], "seconds": one["seconds"], "error": error}
        points.append(at | status | {"folder": place.name})
        if one["status"] != "ok":
            continue
        content = json.loads((place / "results" / f"{job.number}.json").read_text(encoding="utf-8"))
        for metric in content["metrics"]:
            rows.append(at | metric | {"headline": metric["name"] in content["headline"]})
    metrics = pd.DataFrame(rows)
    if rows:
        metrics = metrics.astype(dict.fromkeys(("value", "low", "high", "truth"), float))
    found = Sweep(folder, pd.DataFrame(points), metrics)
    paths.write_text(folder / "points.csv", found.points.to_csv(index=False))
    if rows:
        paths.write_text(folder / "metrics.csv", found.metrics.to_csv(index=False))
        parquet = io.BytesIO()
        found.metrics.to_parquet(parquet, index=False)
        paths.write_bytes(folder / "metrics.parquet", parquet.getvalue())
        picture = io.BytesIO()
        figure = draw(found.metrics, names)
        figure.savefig(picture, format="png", metadata={"Software": None})
        plt.close(figure)
        paths.write_bytes(folder / "sweep.png", picture.getvalue())
    return found


def _plain(value):
    """A parameter as a table holds it: lists as text."""
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)


def draw(metrics: pd.DataFrame, names: list[str]) -> plt.Figure:
    """A panel for each headline metric, at most six: its values over the first parameter that
    varies, a line for each value of the second.

    What else varies, and a seed where something else does, is averaged over: the bar is then the
    95% t-interval of the mean, otherwise the metric's own.
    """
    varying = [name for name in names if len(set(metrics[name])) > 1]
    axes_of = [name for name in varying if name != _REPEATED] or varying or names[:1]
    shown = metrics[metrics["headline"]] if metrics["headline"].any() else metrics
    panels = list(dict.fromkeys(shown["name"]))[:_MOST_PANELS]
    with plt.style.context(plots.STYLE):
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(7, 2.6 * len(panels)), squeeze=False, layout="constrained"
        )
        for ax, panel in zip(axes[:, 0], panels, strict=True):
            _draw_panel(ax, shown[shown["name"] == panel], axes_of)
        axes[-1, 0].set_xlabel(axes_of[0])
    return figure


def _draw_panel(ax, rows, axes_of):
    first, *others = axes_of
    split = others[0] if others and rows[others[0]].nunique() <= _MOST_LINES else None
    levels = sorted(rows[split].unique()) if split else [None]
    places = sorted(rows[first].unique())
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in places)
    colours = [plots.ESTIMATE, *plots.OTHERS, plots.REFERENCE]
    for k, level in enumerate(levels):
        of_level = rows if split is None else rows[rows[split] == level]
        at = []
        ends = []
        for place in places:
            here = of_level[of_level[first] == place]
            if len(here):
                at.append(place if numbers else places.index(place))
                ends.append(_mean(here))
        value, low, high = np.array(ends).T
        ax.errorbar(
            at,
            value,
            yerr=np.clip([value - low, high - value], 0, None),
            fmt="o-" if numbers and first != _REPEATED else "o",
            color=colours[k % len(colours)],
            label=None if split is None else f"{split} = {level}",
        )
    if rows["truth"].notna().any():
        at = places if numbers else range(len(places))
        truth = [rows.loc[rows[first] == place, "truth"].mean() for place in places]
        ax.plot(at, truth, "_", ms=16, color=plots.TRUTH, label="truth")
    if not numbers:
        ax.set_xticks(range(len(places)), [str(place) for place in places])
    unit = rows["unit"].iloc[0]
    ax.set(title=rows["name"].iloc[0], ylabel=unit)
    if ax.get_legend_handles_labels()[1]:
        ax.legend()


def _mean(rows):
    """Value, low and high: the mean over rows with its t-interval, or the one row's own."""
    if len(rows) > 1:
        mean = Metric.mean_of("", "mean", rows["value"])
        return mean.value, mean.low, mean.high
    [value], [low], [high] = (rows[name] for name in ("value", "low", "high"))
    return value, value if np.isnan(low) else low, value if np.isnan(high) else high
