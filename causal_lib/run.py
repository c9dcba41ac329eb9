"""Runs the notebooks through papermill: checked before it starts, several at a time, and able to be finished after a kill.

Every run writes into its own folder ``reports/runs/<run-id>``. Only a notebook that ran at its default parameters, on
results that came from default parameters, is copied on to the committed ``reports/results`` and ``reports/figures``.
"""

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pandas as pd
from tqdm.auto import tqdm

from causal_lib import paths
from causal_lib.notebooks import UsageError, hygiene, notebook_html, plan, with_outputs
from causal_lib.results import Metric, table, write_text

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_INDEX = """<!DOCTYPE html><meta charset="utf-8"><title>run {{ name }}</title>
<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}</style>
<h1>Run {{ name }}</h1><p>Profile {{ request.profile }}.</p>
<table><tr><th>notebook<th>status<th>seconds<th>parameters (changed ones in bold)</tr>
{% for number, e in entries|dictsort %}<tr><td>
{%- if e.status in ("ok", "failed") %}<a href="{{ e.name }}.html">{{ e.name }}</a>{% else %}{{ e.name }}{% endif -%}
<td>{{ e.status }}<td>{{ e.seconds }}<td>
{%- for k, v in request.parameters[number].items() -%}
{% if k in e.changed %}<b>{{ k }}={{ v }}</b>{% else %}{{ k }}={{ v }}{% endif %} {% endfor -%}
</tr>{% endfor %}</table>
<h2>Headline</h2>{{ rows|safe }}
"""
_CHILD = "from causal_lib.run import _child; _child()"


def run(
    numbers: Iterable[str] = (),
    given: Mapping[str, object] | None = None,
    *,
    profile: str = "quick",
    jobs: int = 1,
    resume: bool = False,
    in_place: bool = False,
    notebooks: Path = paths.NOTEBOOKS,
    reports: Path | None = None,
) -> Path:
    """Execute notebooks and return the run's folder, whose ``run.json`` says how each of them ended.

    Parameters
    ----------
    numbers, given, profile, notebooks : as in `plan`.
    jobs : notebooks executed at a time, at least 1.
    resume : finish the newest unfinished run of the same request; where there is none, start a new one.
    in_place : write the outputs back into the notebooks (default parameters only).
    reports : folder of results, figures and runs; `paths.reports` when left out.

    Raises
    ------
    UsageError
        before anything runs, see `plan`; also for ``in_place`` with changed parameters. A notebook that fails does
        not raise: see `summary`.
    """
    reports = Path(reports or paths.reports()).resolve()
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; at least 1")
    planned = plan(numbers, given, profile=profile, notebooks=notebooks, results=reports / "results")
    dirty = [job.path.name for job in planned if job.changed]
    if in_place and dirty:
        raise UsageError(f"--in-place needs default parameters; changed in {', '.join(dirty)}")
    folder, state, lock = _open(planned, profile, resume, reports / "runs")
    with lock:
        _prepare(planned, folder, reports)
        _schedule(planned, jobs, folder, state, reports)
        if in_place:
            for job in planned:
                _write_back(job, folder, state)
        _save(folder, state)
    return folder


def _open(planned, profile, resume, runs):
    """The run's folder, its state and a lock on it, which the system lets go of when the process is killed."""
    request = json.loads(json.dumps({"profile": profile, "parameters": {j.number: j.parameters for j in planned}}))
    old = sorted(runs.glob("*/run.json"), reverse=True) if resume else []
    for path in old:
        state = json.loads(path.read_text(encoding="utf-8"))
        unfinished = any(entry["status"] != "ok" for entry in state["notebooks"].values())
        if state["request"] == request and unfinished and (lock := _lock(path.parent)):
            break
    else:
        folder = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        state, path, lock = {"request": request, "notebooks": {}}, folder / "run.json", _lock(folder)
        if resume:
            print("nothing to resume: no unfinished run with these parameters, so a new one starts", file=sys.stderr)
    done = set()
    for job in planned:  # finished means: with this code, and on results that did not have to be made again
        entry = state["notebooks"].get(job.number, {})
        again = any(k in state["notebooks"] and k not in done for k in job.needs)
        if entry.get("status") == "ok" and entry["source"] == job.source and not again:
            done.add(job.number)
        else:
            fresh = {"name": job.path.stem, "status": "pending", "source": job.source}
            state["notebooks"][job.number] = fresh | {"changed": job.changed, "copied": False}
    return path.parent, state, lock


def _lock(folder):
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # that run is still going
        file.close()
        return None
    return file


def _prepare(planned, folder, reports):
    """Make the run's folders, remove what a kill left half-written, bring the results of notebooks not selected."""
    for sub in ("results", "figures"):
        (folder / sub).mkdir(exist_ok=True)
        for place in (folder / sub, reports / sub):
            for leftover in place.glob(".[0-9][0-9]*"):
                leftover.unlink()
    for leftover in folder.glob(".*"):
        if leftover.name != ".lock":
            leftover.unlink()
    selected = {job.number for job in planned}
    for number in {k for job in planned for k in job.needs} - selected:
        _copy(reports / "results" / f"{number}.json", folder / "results")


def _copy(path, folder):
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{path.name}.{secrets.token_hex(4)}"
    shutil.copyfile(path, temporary)
    os.replace(temporary, folder / path.name)


def _schedule(planned, jobs, folder, state, reports):
    entries = state["notebooks"]
    waiting = [job for job in planned if entries[job.number]["status"] != "ok"]
    active = {}
    pool = ThreadPoolExecutor(jobs)
    bar = tqdm(total=len(planned), initial=len(planned) - len(waiting), unit="notebook", desc="notebooks")
    try:
        while waiting or active:
            for job in list(waiting):
                before = [entries[k]["status"] for k in job.needs if k in entries]
                if "failed" in before or "blocked" in before:
                    entries[job.number]["status"] = "blocked"
                    bar.update()
                elif len(active) < jobs and all(status == "ok" for status in before):
                    entries[job.number]["status"] = "running"
                    active[pool.submit(_execute, job, folder, jobs)] = job
                else:
                    continue
                waiting.remove(job)
            _save(folder, state)
            bar.set_postfix_str(" ".join(job.number for job in active.values()))
            for future in wait(active, return_when=FIRST_COMPLETED).done:
                job = active.pop(future)
                outcome = future.result()
                if outcome["status"] == "ok" and job.clean:
                    for path in sorted((folder / "figures").glob(f"{job.number}_*")):
                        _copy(path, reports / "figures")
                    if (folder / "results" / f"{job.number}.json").exists():
                        _copy(folder / "results" / f"{job.number}.json", reports / "results")
                    outcome["copied"] = True
                entries[job.number].update(outcome)
                bar.update()
                _save(folder, state)
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def _execute(job, folder, jobs):
    """Run one notebook in a process of its own, so that a dead kernel or a full memory takes only this one down."""
    environment = {
        **os.environ,
        "CAUSAL_LIB_REPORTS": str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",  # the `python3` kernel of this environment, not one of the user's
    }
    if jobs > 1:  # each notebook would start a thread a core, and together they would be slower than one by one
        environment |= dict.fromkeys(_ONE_THREAD, "1")
    task = {"input": str(job.path.resolve()), "folder": str(folder), "changed": job.changed}
    started = time.monotonic()
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(task),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    outcome = {"status": "ok" if child.returncode == 0 else "failed", "seconds": round(time.monotonic() - started, 1)}
    if child.returncode:
        lines = child.stdout.splitlines()
        stderr = "\n".join(child.stderr.splitlines()[-8:])
        silent = {"cell": "", "message": f"the process ended with status {child.returncode}\n{stderr}"}
        outcome["error"] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else silent
    return outcome


def _child():
    import papermill  # here: the parent does without
    from papermill.exceptions import PapermillExecutionError

    task = json.load(sys.stdin)
    source, folder = Path(task["input"]), Path(task["folder"])
    copy, partial = folder / source.name, folder / f".{source.stem}.{os.getpid()}.ipynb"
    try:
        papermill.execute_notebook(source, partial, parameters=task["changed"], cwd=source.parent, progress_bar=False)
    except PapermillExecutionError as error:
        print(json.dumps({"cell": error.source, "message": f"{error.ename}: {error.evalue}"}))
        raise SystemExit(1) from None
    finally:
        if partial.exists():
            os.replace(partial, copy)
            write_text(copy.with_suffix(".html"), notebook_html(nbformat.read(copy, as_version=4), source.stem))


def _save(folder, state):
    import jinja2

    write_text(folder / "run.json", json.dumps(state, indent=1, ensure_ascii=False) + "\n")
    page = jinja2.Environment(autoescape=True).from_string(_INDEX)
    rows = headline(folder, _ended_well(state["notebooks"]))
    write_text(
        folder / "index.html",
        page.render(
            name=folder.name, request=state["request"], entries=state["notebooks"], rows=rows.to_html(index=False)
        ),
    )


def _ended_well(entries):
    return [number for number, entry in entries.items() if entry["status"] == "ok"]


def _write_back(job, folder, state):
    """Put the outputs of the executed copy into the notebook itself, unless they would not be fit to commit."""
    entry = state["notebooks"][job.number]
    if entry["status"] != "ok":
        return
    notebook = with_outputs(nbformat.read(job.path, as_version=4), nbformat.read(folder / job.path.name, as_version=4))
    problems = hygiene(notebook)
    if problems:
        entry |= {"status": "failed", "error": {"cell": "", "message": "not written back: " + "; ".join(problems)}}
    else:
        write_text(job.path, nbformat.writes(notebook).rstrip("\n") + "\n")


def headline(reports: Path, numbers: Iterable[str] | None = None) -> pd.DataFrame:
    """The headline table of the results in a folder, of all notebooks or of those with these ``numbers``."""
    files = sorted((Path(reports) / "results").glob("[0-9][0-9].json"))
    wanted = [path for path in files if numbers is None or path.stem in numbers]
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in wanted]
    return table(Metric(**row) for c in contents for row in c["metrics"] if row["name"] in c["headline"])


def summary(folder: Path) -> tuple[str, bool]:
    """The closing words of a run (failures, headline table, where to look) and whether every notebook ended well."""
    entries = json.loads((folder / "run.json").read_text(encoding="utf-8"))["notebooks"]
    lines = []
    for number, entry in sorted(entries.items()):
        if entry["status"] == "blocked":
            lines.append(f"{number} blocked: a notebook that it needs failed")
        elif entry["status"] != "ok":
            error = entry.get("error", {"cell": "", "message": "was not finished"})
            lines += [
                f"{number} {entry['status']} in {entry['name']}:",
                *(f"    | {x}" for x in error["cell"].splitlines()),
            ]
            lines.append(f"    {error['message']}")
    rows = headline(folder, _ended_well(entries))
    lines += ["", rows.to_string(index=False) if len(rows) else "(no results were written)", ""]
    copied = " ".join(sorted(number for number, entry in entries.items() if entry["copied"]))
    alone = " ".join(sorted(number for number in _ended_well(entries) if not entries[number]["copied"]))
    if copied:
        lines.append(f"reports/results and reports/figures: updated from {copied} (default parameters)")
    if alone:
        lines.append(f"reports/results and reports/figures: left alone by {alone} (changed parameters)")
    good = len(_ended_well(entries)) == len(entries)
    if not good:
        lines.append("finish it with the same command and --resume")
    return "\n".join([*lines, f"look at {os.path.relpath(folder / 'index.html')}"]), good
