"""Runs notebooks through papermill: checked before it starts, several at a time, and able to be
finished after a kill.

Every run writes into its own folder ``reports/runs/<run-id>``. Only a notebook that ran at its
default parameters, on results that came from default parameters, and skipped no part that the
committed results have, is copied on to the committed ``reports/results`` and ``reports/figures``.
"""

import errno
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import jinja2
import nbformat
import pandas as pd
import yaml
from filelock import FileLock, Timeout

from causal_lib import paths
from causal_lib.metric import Metric
from causal_lib.paths import write_text
from causal_lib.progress import progress_bar
from causal_lib.tooling.notebooks import (
    Job,
    UsageError,
    hygiene,
    notebook_html,
    plan,
    with_dependents,
    with_outputs,
)
from causal_lib.tooling.results import table

_INDEX = """<!DOCTYPE html><meta charset="utf-8"><title>run {{ name }}</title>
<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}</style>
<h1>Run {{ name }}</h1><p>Profile {{ request.profile }}.</p>
<table><tr><th>notebook<th>status<th>seconds<th>parameters (changed ones in bold)</tr>
{% for number, e in entries|dictsort %}<tr><td>
{% if e.seconds %}<a href="{{ e.name }}.html">{{ e.name }}</a>{% else %}{{ e.name }}{% endif %}
<td>{{ e.status }}<td>{{ e.seconds }}<td>{% for k, v in request.parameters[number].items() -%}
{% if k in e.changed %}<b>{{ k }}={{ v }}</b>{% else %}{{ k }}={{ v }}{% endif %} {% endfor %}</tr>
{% endfor %}</table><h2>Headline</h2>{{ headline|safe }}
"""
# Every processor with AVX2 then adds in the same order. Otherwise numbers differ in their last
# digits from one processor to another, and where a method compares numbers that are equal but for
# rounding, its result differs too.
_SAME_DIGITS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "512",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
}
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",  # how far a bar got by the time of saving is not a result
    # the `python3` kernel of this environment, not one of the user's
    "JUPYTER_PREFER_ENV_PATH": "1",
} | (_SAME_DIGITS if platform.machine() in ("x86_64", "AMD64") else {})
"""Environment variables of a notebook's kernel, in a run and in the notebooks' checks."""
_LOST_PORT = re.compile(
    r"Kernel died before replying to kernel_info|Kernel didn't respond in \d+ seconds"
)
_DISK = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG)
_DRAWING = Lock()  # matplotlib, which draws a page's formulas, is not made for threads


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
    """Execute notebooks and return the run's folder, whose ``run.json`` says how each of them ended
    (see `summary`).

    Parameters
    ----------
    numbers, given, profile, notebooks : as in `plan`, whose UsageError comes before anything runs.
    jobs : notebooks executed at a time.
    resume : finish the newest unfinished run of the same request; where there is none, start a new
        one.
    in_place : write the outputs back into the notebooks (default parameters only), and into those
        that read their results, which therefore run too.
    reports : folder of results, figures and runs; the committed `paths.COMMITTED` when left out.

    Raises UsageError, too, where ``reports`` cannot be written (a full or read-only disk).
    """
    reports = Path(reports or paths.COMMITTED).resolve()
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; at least 1")
    numbers = with_dependents(numbers, notebooks) if in_place else numbers
    planned = plan(
        numbers, given, profile=profile, notebooks=notebooks, results=reports / "results"
    )
    dirty = [job.path.name for job in planned if job.changed]
    if in_place and dirty:
        raise UsageError(f"--in-place needs default parameters; changed in {', '.join(dirty)}")
    with naming_a_full_disk(reports):
        return _run(planned, profile, resume, reports, jobs, in_place)


@contextmanager
def naming_a_full_disk(reports: Path) -> Iterator[None]:
    """UsageError where what is written within it cannot be."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise UsageError(
            f"{error.filename or reports} cannot be written: {error.strerror}; notebooks that "
            "ended well are kept: make room, or name a folder that can be written, and give the "
            "same command with --resume"
        ) from None


def _run(planned, profile, resume, reports, jobs, in_place):
    folder, state, lock = _open(planned, profile, resume, reports / "runs")
    try:
        for leftover in folder.rglob(".*.*"):  # what a kill left half-written
            leftover.unlink()
        for sub in ("results", "figures"):
            (folder / sub).mkdir(exist_ok=True)
        for number in {k for job in planned for k in job.needs} - {job.number for job in planned}:
            copy_whole(reports / "results" / f"{number}.json", folder / "results", folder)
        _execute_all(planned, jobs, folder, state, reports)
        if in_place:
            for job in planned:
                if state["notebooks"][job.number]["status"] == "ok":
                    _write_back(job, folder, state["notebooks"][job.number])
        _save(folder, state)
    finally:
        lock.release()
    return folder


def _open(planned, profile, resume, runs):
    """The run's folder, its state and a lock on it, which the system lets go of when the process is
    killed.
    """
    request = json.loads(
        json.dumps({"profile": profile, "parameters": {j.number: j.parameters for j in planned}})
    )
    for path in sorted(runs.glob("*/run.json"), reverse=True) if resume else ():
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            print(f"{path} is damaged: that run cannot be resumed", file=sys.stderr)
            continue
        unfinished = any(entry["status"] != "ok" for entry in state["notebooks"].values())
        if state["request"] == request and unfinished and (lock := lock_folder(path.parent)):
            folder = path.parent
            break
    else:
        if resume:
            print(
                "nothing to resume: no unfinished run with these parameters, so a new one starts",
                file=sys.stderr,
            )
        folder = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        state = {"request": request, "notebooks": {}}
        lock = lock_folder(folder)
    entries = state["notebooks"]
    # finished means: with this code, and on results that do not have to be made again
    for job in planned:
        entry = entries.get(job.number, {"status": "new"})
        again = any(entries[k]["status"] != "ok" for k in job.needs if k in entries)
        if entry["status"] != "ok" or entry["source"] != job.source or again:
            fresh = {"name": job.path.stem, "status": "pending", "source": job.source}
            entries[job.number] = fresh | {"changed": job.changed, "clean": job.clean}
    return folder, state, lock


def lock_folder(folder: Path) -> FileLock | None:
    """A lock on the folder of a run, held until it is released or this process ends; None where
    another holds it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:  # that run is still going
        return None
    return lock


def copy_whole(path: Path, folder: Path, own: Path) -> None:
    """Copy ``path`` into ``folder``, whole or not at all, by way of the run's ``own`` folder, in
    which no other run removes what is half-written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = own / f".{path.name}.{secrets.token_hex(4)}"
    shutil.copyfile(path, temporary)
    os.replace(temporary, folder / path.name)


def _lost(new, old):
    """Parts that the results ``new`` skipped and the file ``old`` has."""
    if not old.exists():
        return []
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in (new, old)]
    now, before = (content.get("skipped", ()) for content in contents)
    return [part for part in now if part not in before]


def _execute_all(planned, jobs, folder, state, reports):
    entries = state["notebooks"]
    futures = {}
    one_at_a_time = Lock()

    def note(job, **outcome):
        with one_at_a_time:
            entries[job.number].update(outcome)
            _save(folder, state)
        return outcome["status"] == "ok"

    def settle(job):
        # What a job needs stands before it in the plan and so started before it: waiting here
        # always ends.
        if not all(futures[k].result() for k in job.needs if k in futures):
            return note(job, status="blocked")
        if entries[job.number]["status"] == "ok":  # of a resumed run
            return True
        note(job, status="running")
        outcome = execute(job, folder, jobs, lifeline)
        if outcome["status"] == "ok" and job.clean:
            found = [*(folder / "results").glob(f"{job.number}.json")]
            if lost := [
                part for path in found for part in _lost(path, reports / "results" / path.name)
            ]:
                return note(job, **outcome, lost=lost)
            for path in sorted((folder / "figures").glob(f"{job.number}_*")):
                copy_whole(path, reports / "figures", folder)
            for path in found:
                copy_whole(path, reports / "results", folder)
        return note(job, **outcome)

    with notebook_pool(jobs) as (pool, lifeline):
        for job in planned:
            futures[job.number] = pool.submit(settle, job)
        for future in progress_bar(
            as_completed(futures.values()),
            delay=0,
            total=len(futures),
            unit="notebook",
            desc="notebooks",
        ):
            future.result()


@contextmanager
def notebook_pool(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """``jobs`` threads and a pipe for `execute`, from which every notebook's process reads.

    The pipe ends when the block does or this process dies, and with it what still runs.
    """
    lifeline, held = os.pipe()
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool, lifeline
    finally:
        os.close(held)  # first: what still runs ends, else the next line would wait for it
        pool.shutdown(cancel_futures=True)
        os.close(lifeline)


def execute(job: Job, folder: Path, jobs: int, lifeline: int) -> dict:
    """Run one notebook in a process of its own and keep what came of it in ``folder``, copy and
    page, also when it failed.

    The process ends when the pipe ``lifeline`` does; with more than one of ``jobs`` at a time it
    uses one thread. Returns status, "ok" or "failed", seconds, and of a failed one the error, with
    cell and message.
    """
    environment = {**os.environ, **ENVIRONMENT, "CAUSAL_LIB_REPORTS": str(folder)}
    # each notebook would start a thread a core, and together they would be slower than one by one
    if jobs > 1:
        environment |= {
            f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
        }
    copy = folder / job.path.name
    partial = folder / f".{job.path.name}"
    command = [
        sys.executable,
        "-P",
        Path(__file__).with_name("notebook_process.py"),
        job.path.resolve(),
        partial,
        "--cwd",
        job.path.resolve().parent,
    ]
    command += [
        "--no-progress-bar",
        "--log-level",
        "ERROR",
        "--parameters_yaml",
        yaml.safe_dump(job.changed),
    ]
    started = time.monotonic()
    for _ in range(3):
        child = subprocess.run(
            command,
            env=environment,
            stdin=lifeline,
            capture_output=True,
            text=True,
            check=False,
        )
        # Two kernels that start at once may choose the same free port; the one that lost has run
        # nothing yet.
        if not child.returncode or not _LOST_PORT.search(child.stderr):
            break
    outcome = {
        "status": "failed" if child.returncode else "ok",
        "seconds": round(time.monotonic() - started, 1),
    }
    errors = []
    if partial.exists():
        os.replace(partial, copy)
        try:
            book = nbformat.read(copy, as_version=4)
        except (ValueError, nbformat.reader.NotJSONError):
            message = f"the executed copy {copy} is cut off; is the disk full?"
            return outcome | {"status": "failed", "error": {"cell": "", "message": message}}
        with _DRAWING:
            write_text(copy.with_suffix(".html"), notebook_html(book, copy.stem))
        errors = [
            (c.source, o)
            for c in book.cells
            for o in c.get("outputs", ())
            if o.output_type == "error"
        ]
    if child.returncode and errors:
        cell, output = errors[0]
        outcome["error"] = {"cell": cell, "message": f"{output.ename}: {output.evalue}"}
    elif child.returncode:
        stderr = "\n".join(child.stderr.splitlines()[-8:])
        outcome["error"] = {
            "cell": "",
            "message": f"the process ended with status {child.returncode}\n{stderr}",
        }
    return outcome


def _write_back(job, folder, entry):
    """Put the outputs of the executed copy into the notebook itself, unless they would not be fit
    to commit.
    """
    notebook = with_outputs(
        nbformat.read(job.path, as_version=4), nbformat.read(folder / job.path.name, as_version=4)
    )
    problems = hygiene(notebook)
    if entry.get("lost"):
        problems = [*problems, f"it skipped {'; '.join(entry['lost'])}"]
    if problems:
        entry |= {
            "status": "failed",
            "error": {"cell": "", "message": "not written back: " + "; ".join(problems)},
        }
    else:
        write_text(job.path, nbformat.writes(notebook).rstrip("\n") + "\n")


def _save(folder, state):
    write_text(folder / "run.json", json.dumps(state, indent=1, ensure_ascii=False) + "\n")
    entries = state["notebooks"]
    rows = headline(folder, _with_status(entries, "ok")).to_html(index=False)
    page = jinja2.Environment(autoescape=True).from_string(_INDEX)
    text = page.render(name=folder.name, request=state["request"], entries=entries, headline=rows)
    write_text(folder / "index.html", text)


def headline(reports: Path, numbers: Iterable[str] | None = None) -> pd.DataFrame:
    """The headline table of the results in a folder, of all notebooks or of those with these
    ``numbers``.
    """
    files = sorted((Path(reports) / "results").glob("[0-9][0-9].json"))
    contents = [
        json.loads(p.read_text(encoding="utf-8"))
        for p in files
        if numbers is None or p.stem in numbers
    ]
    return table(
        Metric(**row) for c in contents for row in c["metrics"] if row["name"] in c["headline"]
    )


def summary(folder: Path) -> tuple[str, bool]:
    """The closing words of a run (failures, headline table, where to look) and whether every
    notebook ended well.
    """
    entries = dict(
        sorted(json.loads((folder / "run.json").read_text(encoding="utf-8"))["notebooks"].items())
    )
    well = _with_status(entries, "ok")
    lines = [
        f"{number} blocked: a notebook that it needs failed"
        for number in _with_status(entries, "blocked")
    ]
    for number in _with_status(entries, "failed"):
        error = entries[number]["error"]
        lines += [f"{number} failed in {entries[number]['name']}:"]
        lines += [
            *(f"    | {line}" for line in error["cell"].splitlines()),
            f"    {error['message']}",
        ]
    rows = headline(folder, well)
    lines += ["", rows.to_string(index=False) if len(rows) else "(no results were written)", ""]
    lost = [number for number in well if entries[number].get("lost")]
    copied = [number for number in well if entries[number]["clean"] and number not in lost]
    alone = [number for number in well if not entries[number]["clean"]]
    if copied:
        lines.append(
            f"reports/results and reports/figures: updated from {' '.join(copied)} "
            "(default parameters)"
        )
    if alone:
        lines.append(
            f"reports/results and reports/figures: left alone by {' '.join(alone)} "
            "(changed parameters)"
        )
    lines += [
        f"reports/results and reports/figures: left alone by {number}, which skipped what they "
        f"have: {'; '.join(entries[number]['lost'])}"
        for number in lost
    ]
    if len(well) < len(entries):
        lines.append("finish it with the same command and --resume")
    lines.append(f"look at {os.path.relpath(folder / 'index.html')}")
    return "\n".join(lines), len(well) == len(entries)


def _with_status(entries, status):
    return [number for number, entry in entries.items() if entry["status"] == status]
