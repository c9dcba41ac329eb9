"""Benchmark of sums that a database computes, against rows x columns."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np

from causal_lib.experiments import peers
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.costs.report import exponent

WHAT = {"statistics": "database_sums.statistics", "policy values": "database_sums.values"}
_EXACT = 1e-9


@benchmark("scale", peer="the same sums of a frame in memory, and of rows fetched from SQLite")
def scale(
    *,
    rows: Sequence[int] = (10_000, 100_000, 1_000_000, 100_000_000),
    columns: Sequence[int] = (10, 20, 40),
    at_rows: int = 100_000,
    most_in_tables: int = 1_000_000,
    threads: int = 2,
) -> dict:
    """Statistics of the order search and off-policy values of a log: sums in memory, by DuckDB over
    Parquet parts, by SQLite, and by MySQL where ``CAUSAL_LIB_DB`` names a server.

    Rows grow at the least number of ``columns``, columns at ``at_rows`` rows. DuckDB uses
    ``threads``, all others one. Tables of over ``most_in_tables`` rows are measured by DuckDB and
    pyarrow only. CPU seconds are of the client's process, in which SQLite and DuckDB run and the
    MySQL server does not. ``difference`` is the largest from memory, in units of the standard
    deviations of the columns; of more rows than memory is asked for, from pyarrow's sums.
    """
    sizes = [(n, columns[0]) for n in rows] + [(at_rows, c) for c in columns[1:]]
    measured = []
    for n, c in sizes:
        measured += _measure(n, c, most_in_tables, threads)
    fits = _fits(measured, columns[0], at_rows)
    largest = [one for one in measured if one["rows"] == max(rows) and one["engine"] == "DuckDB"]
    off = [one["difference"] for one in measured if one["difference"] is not None]
    claims = [
        Claim.of("largest difference from memory, of any engine", [max(off)], f"at most {_EXACT}")
    ]
    for one in largest:
        what = f"DuckDB, most rows, {one['what']}"
        claims += [
            Claim.of(f"{what}: CPU seconds", [one["cpu_seconds"]], "at most 120"),
            Claim.of(f"{what}: peak MB", [one["peak_mb"]], "at most 2000"),
        ]
    targets = {
        ("DuckDB", "rows", "cpu_seconds"): "at most 1.1",
        ("DuckDB", "rows", "peak_mb"): "at most 0.2",
        ("SQLite", "rows", "cpu_seconds"): "at most 1.1",
        ("SQLite", "rows", "peak_mb"): "at most 0.1",
        ("DuckDB", "columns", "cpu_seconds"): "at most 1.7",
        ("SQLite", "columns", "cpu_seconds"): "at most 2",
    }
    for fit in fits:
        target = targets.get((fit["engine"], fit["axis"], fit["cost"]))
        if target and fit["what"] == "statistics":
            name = f"{fit['engine']}, statistics: exponent of {fit['cost']} in {fit['axis']}"
            claims.append(Claim.of(name, [fit["value"]], target))
    for what, target in (("statistics", "at most 3"), ("policy values", "at most 1")):
        ratio = _ratio(measured, what, columns[0], "SQLite", "rows fetched")
        name = f"SQLite, {what}: CPU seconds over those of fetching the rows"
        claims.append(Claim.of(name, ratio, target, statistic="median"))
    return report(claims, fits=fits, measured=measured)


def _measure(n, c, most_in_tables, threads):
    """A measurement of each engine and what is asked of it, at ``n`` rows and ``c`` columns."""
    with tempfile.TemporaryDirectory() as folder:
        peers.run("database_sums.write_parts", {"rows": n, "columns": c}, folder=folder)
        sources = {"Parquet by pyarrow": "", "DuckDB": ""}
        if n <= most_in_tables:
            sources = {"memory": ""} | sources
            sources |= dict.fromkeys(("SQLite", "rows fetched"), "sqlite:///log.sqlite")
            own = os.environ.get("CAUSAL_LIB_DB", "")
            if own.startswith(("mysql", "mariadb")):
                sources["MySQL"] = own
        for url in sorted({url for url in sources.values() if url}):
            peers.run("database_sums.load_table", {"url": url}, folder=folder)
        found = []
        for what, function in WHAT.items():
            known = None
            for engine, url in sources.items():
                if (what, engine) == ("policy values", "Parquet by pyarrow"):
                    continue
                given = {"engine": engine, "url": url, "threads": threads}
                one = peers.measure(function, given, folder=folder)
                assert one.pop("rows") == n
                answer = np.array(one.pop("answer"))
                difference = None if known is None else float(np.abs(answer - known).max())
                known = answer if known is None else known
                about = {"what": what, "engine": engine, "rows": n, "columns": c}
                found.append(about | one | {"difference": difference})
        if "MySQL" in sources:
            peers.run("database_sums.drop_table", {"url": sources["MySQL"]}, folder=folder)
    return found


def _fits(measured, narrow, at_rows):
    """Exponents of each cost in rows and in columns."""
    found = []
    keys = dict.fromkeys((one["what"], one["engine"]) for one in measured)
    for what, engine in keys:
        own = [one for one in measured if (one["what"], one["engine"]) == (what, engine)]
        axes = {
            "rows": [one for one in own if one["columns"] == narrow],
            "columns": [one for one in own if one["rows"] == at_rows],
        }
        for axis, points in axes.items():
            if len(points) < 3:
                continue
            for cost in ("cpu_seconds", "peak_mb"):
                fit = exponent([one[axis] for one in points], [one[cost] for one in points])
                found.append({"what": what, "engine": engine, "axis": axis, "cost": cost, **fit})
    return found


def _ratio(measured, what, columns, engine, other):
    """CPU seconds of an engine over those of another, at each number of rows that both have."""
    seconds = {
        name: {
            one["rows"]: one["cpu_seconds"]
            for one in measured
            if (one["what"], one["engine"], one["columns"]) == (what, name, columns)
        }
        for name in (engine, other)
    }
    return [seconds[engine][n] / seconds[other][n] for n in seconds[engine] if n in seconds[other]]
