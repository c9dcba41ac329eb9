import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from causal_lib import paths
from causal_lib.tooling import runner
from causal_lib.tooling.notebooks import (
    UsageError,
    defaults,
    find,
    hygiene,
    limits,
    notebook_html,
    opening,
    plan,
    with_outputs,
)
from causal_lib.tooling.runner import _open, headline, lock_folder, run, summary

# What the library's results.write does, without the seconds that importing it takes in every
# kernel.
WRITE = """import json, os, pathlib
folder = pathlib.Path(os.environ["CAUSAL_LIB_REPORTS"])
for sub in ("results", "figures"):
    (folder / sub).mkdir(parents=True, exist_ok=True)
metric = dict(stage="{number} stage", name="days", value=days, low=None, high=None, truth=None, unit="")
content = dict(metrics=[metric], headline=["days"], seen=len(os.listdir(folder / "results")))
(folder / "results" / "{number}.json").write_text(json.dumps(content))
(folder / "figures" / "{number}_plot.txt").write_text(str(days))
print("days", days)"""
PARAMETERS = "days = 3  # length\nrate: float = 0.5\nfast = True\nlabel = 'a'\nsizes = [1, 2]"


@pytest.fixture
def house(tmp_path):
    """Folder with empty notebooks/ and reports/."""
    for name in ("notebooks", "reports"):
        (tmp_path / name).mkdir()
    return tmp_path


def add(house, name, *code, parameters=PARAMETERS, needs=(), before=()):
    cells = [
        new_markdown_cell(f"# {name[:2]} Title · 标题"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, [*before, WRITE.replace("{number}", name[:2]), *code]),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    if needs:
        metadata["causal_lib"] = {"needs": list(needs)}
    path = house / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def start(house, *arguments, **options):
    return run(*arguments, notebooks=house / "notebooks", reports=house / "reports", **options)


def statuses(folder):
    entries = json.loads((folder / "run.json").read_text())["notebooks"]
    return {number: entry["status"] for number, entry in sorted(entries.items())}


def reopened(house, numbers=(), given=None):
    """The folder that a resumed run would take; it executes nothing."""
    folder, _, lock = _open(
        plan(numbers, given, notebooks=house / "notebooks"),
        "quick",
        True,
        house / "reports" / "runs",
    )
    lock.release()
    return folder


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_defaults_reads_literals_and_find_reads_the_folder(house):
    path = add(house, "01_a")
    (house / "notebooks" / "draft.ipynb").write_text("not one of them")
    assert defaults(path) == {"days": 3, "rate": 0.5, "fast": True, "label": "a", "sizes": [1, 2]}
    assert find(house / "notebooks") == {"01": path}


@pytest.mark.parametrize(
    ("numbers", "given", "message"),
    [
        (["09"], {}, r"unknown notebook '09'; known: 01_a, 02_b"),
        (
            [],
            {"dayz": "4"},
            r"unknown parameter 'dayz'; known: days \(01 02\), fast \(01\), label \(01\)",
        ),
        (["02"], {"rate": "1"}, r"unknown parameter 'rate'; known: days \(02\)$"),
        ([], {"days": "1.5"}, r"'days' of 01_a.ipynb must be int \(default 3\), not '1.5'"),
        ([], {"days": "many"}, "must be int"),
        ([], {"days": True}, "must be int .* not True"),
        ([], {"days": "true"}, "must be int .* not 'true'"),
        ([], {"fast": "1"}, "must be bool"),
        ([], {"rate": "fast"}, "must be float"),
        ([], {"rate": "[0.5]"}, "must be float"),
        ([], {"label": 5}, "must be str"),
        ([], {"sizes": "7"}, "must be list"),
        ([], {"label": "mysql://root:hunter2@host"}, "'label' holds a URL"),
    ],
)
def test_a_bad_request_is_refused_before_anything_runs(house, numbers, given, message):
    add(house, "01_a")
    add(house, "02_b", parameters="days = 3")
    with pytest.raises(UsageError, match=message) as caught:
        start(house, numbers, given)
    assert "hunter2" not in str(caught.value)
    assert tree(house / "reports") == []


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("'01': {dayz: 4}", "unknown parameter of notebook 01 in full.yaml 'dayz'; known: days"),
        ("'07': {days: 4}", "unknown notebook in full.yaml '07'; known: 01"),
        ("'01': {days: long}", "must be int"),
    ],
)
def test_bad_overrides_of_the_full_profile_are_refused(house, yaml, message):
    add(house, "01_a")
    (house / "notebooks" / "full.yaml").write_text(yaml)
    with pytest.raises(UsageError, match=message):
        start(house, profile="full")
    # the quick profile does not look at it
    assert plan(notebooks=house / "notebooks")[0].changed == {}


def test_full_profile_and_given_parameters_are_merged(house):
    add(house, "01_a")
    add(house, "02_b")
    (house / "notebooks" / "full.yaml").write_text("01: {days: 30, rate: 2}\n'02':\n")
    first, second = plan([], {"days": "40"}, profile="full", notebooks=house / "notebooks")
    assert first.changed == {"days": 40, "rate": 2.0}
    assert isinstance(first.changed["rate"], float)
    assert second.changed == {"days": 40}
    with pytest.raises(UsageError, match="unknown profile 'slow'; known: quick, full"):
        start(house, profile="slow")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            "days = 3\nrate = days / 2",
            "01_a.ipynb: line 2 of the parameters cell is not `name = literal`",
        ),
        ("days, rate = 1, 2", "line 1"),
        ("days = {1, 2}", "JSON"),
        ("print(3)", "line 1"),
    ],
)
def test_parameters_must_be_literals(house, parameters, message):
    with pytest.raises(UsageError, match=message):
        defaults(add(house, "01_a", parameters=parameters))


LIMITED = """days = 3  # length, at least 2 and at most 30
share: float = 0.1  # of rows, above 0, below 1; at most, where it matters, a half
caps = [0.12, 0.06]  # rates, at least 1 value, each at least 0.05
widths = [4, 1]  # exactly 2 values
source = "made"  # or one of coat, yahoo-r3: files of your own
free = -5  # anything; at least a number
slope = 1  # other than 0
span = (
    7  # of a window, at least 1
)
seed = 0  # of the world"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"days": "1"}, "parameter 'days' of 01_a.ipynb is 1; it must be at least 2"),
        ({"days": 31}, "parameter 'days' of 01_a.ipynb is 31; it must be at most 30"),
        ({"share": "0"}, "parameter 'share' of 01_a.ipynb is 0.0; it must be above 0"),
        ({"share": "1"}, "parameter 'share' of 01_a.ipynb is 1.0; it must be below 1"),
        (
            {"caps": "[]"},
            "parameter 'caps' of 01_a.ipynb has 0 values; it must have at least 1 value",
        ),
        (
            {"caps": "[0.1, 0.04]"},
            "parameter 'caps' of 01_a.ipynb is [0.1, 0.04]; each value must be at least 0.05",
        ),
        (
            {"widths": "[4, 2, 1]"},
            "parameter 'widths' of 01_a.ipynb has 3 values; it must have exactly 2 values",
        ),
        (
            {"source": "bogus"},
            "parameter 'source' of 01_a.ipynb is 'bogus'; it must be one of made, coat, yahoo-r3",
        ),
        (
            {"source": "files"},
            "parameter 'source' of 01_a.ipynb is 'files'; it must be one of made, coat, yahoo-r3",
        ),
        ({"slope": "0"}, "parameter 'slope' of 01_a.ipynb is 0; it must be other than 0"),
        ({"span": 0}, "parameter 'span' of 01_a.ipynb is 0; it must be at least 1"),
        ({"seed": "-1"}, "parameter 'seed' of 01_a.ipynb is -1; it must be at least 0"),
        (
            {"share": "1e999"},
            "parameter 'share' of 01_a.ipynb must be float (default 0.1), not '1e999'",
        ),
        (
            {"caps": "[0.1, 'x']"},
            "parameter 'caps' of 01_a.ipynb must be list (default [0.12, 0.06]), not ",
        ),
        ({"caps": "[0.1, {2}]"}, "parameter 'caps' of 01_a.ipynb must be list"),
        ({"caps": "[0.1, True]"}, "parameter 'caps' of 01_a.ipynb must be list"),
        ({"caps": "[0.1, 1e999]"}, "parameter 'caps' of 01_a.ipynb must be list"),
        ({"widths": "[4, 1.5]"}, "parameter 'widths' of 01_a.ipynb must be list"),
        ({"days": "-" * 100_000 + "1"}, "parameter 'days' of 01_a.ipynb must be int"),
    ],
)
def test_a_limit_that_a_comment_states_is_checked_before_anything_runs(house, given, message):
    add(house, "01_a", parameters=LIMITED)
    with pytest.raises(UsageError) as caught:
        start(house, ["01"], given)
    assert str(caught.value).startswith(message)
    assert tree(house / "reports") == []


def test_the_ends_of_limits_are_allowed_and_what_states_none_is_free(house):
    add(house, "01_a", parameters=LIMITED)
    for given in (
        {"days": 2, "share": 1e-9, "caps": [0.05], "source": "coat", "span": 1},
        {"days": 30, "share": "0.999", "caps": "[1, 2, 3]", "source": "yahoo-r3", "free": -(10**6)},
        {"source": "made"},
    ):
        plan(["01"], given, notebooks=house / "notebooks")
    stated = {
        name: [limit.words for limit in found]
        for name, found in limits(house / "notebooks" / "01_a.ipynb").items()
    }
    assert stated == {
        "days": ["at least 2", "at most 30"],
        "share": ["above 0", "below 1"],
        "caps": ["at least 1 value", "at least 0.05"],
        "widths": ["exactly 2 values"],
        "source": ["one of made, coat, yahoo-r3"],
        "free": [],
        "slope": ["other than 0"],
        "span": ["at least 1"],
        "seed": ["at least 0"],
    }


def test_overrides_of_the_full_profile_keep_the_limits_too(house):
    add(house, "01_a", parameters=LIMITED)
    (house / "notebooks" / "full.yaml").write_text("'01': {days: 40}")
    with pytest.raises(UsageError, match=r"'days' of 01_a\.ipynb is 40; it must be at most 30"):
        start(house, profile="full")


def test_a_notebook_that_is_not_selected_checks_nothing(house):
    add(house, "01_a", parameters=LIMITED)
    add(house, "02_b", parameters="days = 3")
    assert [job.changed for job in plan(["02"], {"days": 1}, notebooks=house / "notebooks")] == [
        {"days": 1}
    ]
    with pytest.raises(UsageError, match="at least 2"):
        plan([], {"days": 1}, notebooks=house / "notebooks")


def test_needs_must_be_had_and_make_no_circle(house):
    add(house, "01_a", needs=["02"])
    add(house, "02_b", needs=["01"])
    with pytest.raises(ValueError, match="cycle"):
        start(house)
    with pytest.raises(
        UsageError, match=r"01_a.ipynb needs the results of notebook 02: run 02 too"
    ):
        start(house, ["01"])
    with pytest.raises(UsageError, match="no notebook"):
        find(house / "reports")
    with pytest.raises(UsageError, match="jobs is 0"):
        start(house, jobs=0)


def test_long_notebooks_start_first_and_none_before_what_it_needs(house):
    announced = {
        "01_a": "quick 1 s",
        "02_b": "about 20 seconds",
        "03_c": "about 4 minutes",
        "04_d": "1 hour",
    }
    for name, runtime in announced.items():
        path = add(house, name, needs=["02"] if name == "04_d" else [])
        book = nbformat.read(path, as_version=4)
        book.cells[0].source += f"\n\nRuntime: {runtime} quick, 2 hours full."
        nbformat.write(book, path)
    assert [job.number for job in plan(notebooks=house / "notebooks")] == ["03", "02", "01", "04"]


def test_default_run_updates_the_committed_results_and_a_changed_one_leaves_them_alone(house):
    add(house, "01_a", "import sys, threading\nprint(sys.executable, os.getcwd())")
    add(house, "02_b", needs=["01"])
    folder = start(house, jobs=2)
    assert statuses(folder) == {"01": "ok", "02": "ok"}
    committed = {
        p: (house / "reports" / p).read_text() for p in ("results/01.json", "figures/01_plot.txt")
    }
    assert json.loads(committed["results/01.json"])["metrics"][0]["value"] == 3
    executed = nbformat.read(folder / "01_a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == f"{sys.executable} {house / 'notebooks'}\n"
    assert tree(folder) == sorted(
        [f"{n}.{kind}" for n in ("01_a", "02_b") for kind in ("html", "ipynb")]
        + [f"results/{n}.json" for n in ("01", "02")]
        + [f"figures/{n}_plot.txt" for n in ("01", "02")]
        + [".lock", "index.html", "run.json"]
    )
    index = (folder / "index.html").read_text()
    assert 'href="02_b.html"' in index
    assert "01 stage" in index
    text, good = summary(folder)
    assert good
    assert "updated from 01 02 (default parameters)" in text
    assert "left alone" not in text
    assert headline(house / "reports").to_numpy()[:, 0].tolist() == ["01 stage", "02 stage"]

    changed = start(house, ["01"], {"days": "4"})
    assert json.loads((changed / "results" / "01.json").read_text())["metrics"][0]["value"] == 4
    assert {p: (house / "reports" / p).read_text() for p in committed} == committed
    text, good = summary(changed)
    assert good
    assert "left alone by 01 (changed parameters)" in text
    assert "updated" not in text
    parameters = json.loads((changed / "run.json").read_text())["request"]["parameters"]
    assert parameters["01"] == {"days": 4, "rate": 0.5, "fast": True, "label": "a", "sizes": [1, 2]}


def test_results_made_from_changed_ones_are_not_copied_and_needed_ones_are_brought(house):
    add(house, "01_a")
    add(
        house,
        "02_b",
        parameters="hours = 1\ndays_here = 2",
        before=["days = days_here"],
        needs=["01"],
    )
    jobs = plan([], {"days": 9}, notebooks=house / "notebooks")
    assert [(job.number, job.changed, job.clean) for job in jobs] == [
        ("01", {"days": 9}, False),
        ("02", {}, False),
    ]
    start(house, ["01"])
    folder = start(house, ["02"])
    # the results of 01 were there
    assert json.loads((folder / "results" / "02.json").read_text())["seen"] == 1
    assert (folder / "results" / "01.json").read_text() == (
        house / "reports" / "results" / "01.json"
    ).read_text()
    assert "updated from 02 " in summary(folder)[0]
    assert "01 stage" not in summary(folder)[0]


def test_results_without_what_was_skipped_do_not_replace_whole_ones(house):
    skips = (
        "path = folder / 'results' / '01.json'\n"
        "content = json.loads(path.read_text()) | {'skipped': ['ratings: no network'] * LESS}\n"
        "path.write_text(json.dumps(content))"
    )
    add(house, "01_a", skips.replace("LESS", "0"))
    start(house)
    before = {path: (house / "reports" / path).read_bytes() for path in tree(house / "reports")}
    less = "(folder / 'figures' / '01_plot.txt').write_text('less')"
    book = add(house, "01_a", less, skips.replace("LESS", "1"))
    written = book.read_bytes()
    folder = start(house)
    assert json.loads((folder / "results" / "01.json").read_text())["skipped"]
    text, good = summary(folder)
    assert good
    assert "left alone by 01, which skipped what they have: ratings: no network" in text
    assert "updated" not in text
    for path, content in before.items():
        assert (house / "reports" / path).read_bytes() == content
    folder = start(house, in_place=True)
    assert "not written back: it skipped ratings: no network" in summary(folder)[0]
    assert book.read_bytes() == written


def test_the_files_of_other_runs_and_people_are_left_alone(house, monkeypatch):
    add(house, "01_a")
    others = [
        house / "reports" / name for name in ("results/.05.json.0a1b2c3d", "figures/.05-mine")
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    monkeypatch.setattr(runner, "execute", lambda *given: {"status": "failed"})
    start(house)
    assert [path.read_text() for path in others] == ["half", "half"]


def test_a_damaged_run_is_passed_over(house, capsys, monkeypatch):
    add(house, "01_a")
    monkeypatch.setattr(runner, "execute", lambda *given: {"status": "failed"})
    folder = start(house)
    damaged = house / "reports" / "runs" / "99990101T000000Z-0000" / "run.json"
    damaged.parent.mkdir()
    damaged.write_text("")
    assert start(house, resume=True) == folder
    assert f"{damaged} is damaged: that run cannot be resumed" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_named(house, monkeypatch, number):
    add(house, "01_a")
    monkeypatch.setattr(runner, "execute", lambda *given: {"status": "ok"})

    def full(path, text):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(runner, "write_text", full)
    with pytest.raises(UsageError, match=r"run\.json cannot be written: .*with --resume"):
        start(house)


def test_a_cut_copy_of_a_notebook_is_a_failure(house, monkeypatch):
    add(house, "01_a")

    def cut(command, **options):
        Path(command[4]).write_text('{"cells": [')
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(runner.subprocess, "run", cut)
    folder = start(house)
    assert statuses(folder) == {"01": "failed"}
    assert "is cut off; is the disk full?" in summary(folder)[0]


def test_a_failure_blocks_its_dependents_only_and_resume_runs_what_is_left(house):
    add(house, "01_a", "assert days == 4, 'a claim'")
    add(house, "02_b", needs=["01"])
    add(house, "03_c", needs=["02"])
    add(house, "04_d")
    folder = start(house, jobs=2)
    assert statuses(folder) == {"01": "failed", "02": "blocked", "03": "blocked", "04": "ok"}
    executed = nbformat.read(folder / "01_a.ipynb", as_version=4)
    assert any(output.output_type == "error" for output in executed.cells[-1].outputs)
    assert (folder / "01_a.html").exists()
    text, good = summary(folder)
    assert not good
    assert "    | assert days == 4, 'a claim'\n    AssertionError: a claim" in text
    assert "02 blocked" in text
    assert "01 stage" not in text  # what a failed notebook wrote is no result
    assert sorted(p.name for p in (house / "reports" / "results").iterdir()) == ["04.json"]

    add(house, "01_a", "assert days == 3")
    before = (folder / "04_d.ipynb").stat().st_mtime_ns
    assert start(house, resume=True) == folder
    assert statuses(folder) == dict.fromkeys(["01", "02", "03", "04"], "ok")
    assert (folder / "04_d.ipynb").stat().st_mtime_ns == before
    assert len(list((house / "reports" / "results").iterdir())) == 4
    assert summary(folder)[1]


def test_a_finished_notebook_is_run_again_after_an_edit_or_when_what_it_needs_is(house):
    for name, needs in (("01_a", []), ("02_b", ["01"]), ("03_c", [])):
        add(house, name, needs=needs)
    jobs = plan(notebooks=house / "notebooks")
    runs = house / "reports" / "runs"
    folder, state, lock = _open(jobs, "quick", False, runs)
    lock.release()
    for number in ("01", "02"):
        state["notebooks"][number]["status"] = "ok"
    (folder / "run.json").write_text(json.dumps(state))
    for edited, expected in (
        ((), ["ok", "ok"]),
        (["02_b"], ["ok", "pending"]),
        (["01_a"], ["pending", "pending"]),
    ):
        add(house, "01_a")
        add(house, "02_b", needs=["01"])
        for name in edited:
            add(house, name, "print('edited')", needs=["01"] if name == "02_b" else [])
        again, resumed, lock = _open(plan(notebooks=house / "notebooks"), "quick", True, runs)
        lock.release()
        assert again == folder
        assert [resumed["notebooks"][n]["status"] for n in ("01", "02", "03")] == [
            *expected,
            "pending",
        ]


def test_a_finished_notebook_is_run_again_after_a_change_of_the_library(house, monkeypatch):
    add(house, "01_a")
    [job] = plan(notebooks=house / "notebooks")
    monkeypatch.setattr(paths, "code_digest", lambda: "another")
    [other] = plan(notebooks=house / "notebooks")
    assert job.source != other.source


def test_a_dead_kernel_is_a_failure_that_says_so(house):
    add(house, "01_a", "os._exit(9)")
    folder = start(house)
    assert statuses(folder) == {"01": "failed"}
    assert "Kernel died" in summary(folder)[0]
    assert (folder / "01_a.ipynb").exists()


@pytest.mark.parametrize(
    "how", ["died before replying to kernel_info", "didn't respond in 60 seconds"]
)
@pytest.mark.parametrize(("deaths", "status"), [(1, "ok"), (3, "failed")])
def test_a_kernel_that_never_answered_is_started_again_twice(
    house, monkeypatch, how, deaths, status
):
    add(house, "01_a")
    started = []
    real = subprocess.run

    def dying(command, **options):
        started.append(command)
        if len(started) <= deaths:
            return subprocess.CompletedProcess(command, 1, "", f"RuntimeError: Kernel {how}")
        return real(command, **options)

    monkeypatch.setattr("causal_lib.tooling.runner.subprocess.run", dying)
    assert statuses(start(house)) == {"01": status}
    assert len(started) == min(deaths + 1, 3)


def test_a_killed_run_leaves_nothing_half_written_and_is_resumed(house):
    add(house, "01_a")
    slow = add(
        house,
        "02_b",
        before=[
            "import pathlib, time\ngate = pathlib.Path('gate')\nwhile not gate.exists():\n    "
            "time.sleep(0.05)"
        ],
    )
    code = (
        "from pathlib import Path; from causal_lib.tooling.runner import run; import sys; h "
        "= Path(sys.argv[1]); "
    )
    code += "run(notebooks=h / 'notebooks', reports=h / 'reports', jobs=2)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(house)],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        folder = None
        # ends a run that hangs; a busy machine needs a minute or two
        hung = time.monotonic() + 1800
        while time.monotonic() < hung and process.poll() is None:
            folder = next((house / "reports" / "runs").glob("*/run.json"), house / "x").parent
            if (folder / "run.json").exists() and statuses(folder) == {"01": "ok", "02": "running"}:
                break
            time.sleep(0.05)
        assert statuses(folder) == {"01": "ok", "02": "running"}
        assert reopened(house) != folder  # still going: it holds its lock
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert [p.name for p in (house / "reports" / "results").iterdir()] == ["01.json"]
    assert not (folder / "02_b.ipynb").exists()
    for path in [
        *folder.glob("*.json"),
        *folder.glob("results/*"),
        *(house / "reports" / "results").iterdir(),
    ]:
        json.loads(path.read_text())
    # as a kernel killed while it writes leaves it
    (folder / "results" / ".02.json.half").write_text("{")
    before = (folder / "01_a.ipynb").stat().st_mtime_ns
    assert reopened(house, ["01"]) != folder  # another selection is another run
    assert reopened(house, given={"days": 4}) != folder
    assert reopened(house) == folder
    (slow.parent / "gate").touch()
    assert start(house, resume=True) == folder
    assert statuses(folder) == {"01": "ok", "02": "ok"}
    assert (folder / "01_a.ipynb").stat().st_mtime_ns == before
    assert not list(folder.rglob(".0*"))
    assert sorted(p.name for p in (house / "reports" / "results").iterdir()) == [
        "01.json",
        "02.json",
    ]
    assert reopened(house) != folder  # nothing is left to resume


def is_alive(process):
    """Whether a process still runs; one that has ended may wait for its parent to notice."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_run_takes_its_notebooks_with_it(house, sent):
    """Whatever ends the runner alone ends papermill, the kernel and what the kernel has started."""
    code = (
        "import os, pathlib, subprocess, time\n"
        "other = subprocess.Popen(['sleep', '3600'])\n"
        "numbers = f'{os.getppid()} {os.getpid()} {other.pid}'\n"
        "pathlib.Path('begun').write_text(numbers)\n"
        "pathlib.Path('begun').rename('asleep')\n"
        "time.sleep(3600)"
    )
    add(house, "01_a", before=[code])
    program = (  # a shell's background job ignores SIGINT, and so would what it starts
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from causal_lib.tooling.runner import run; import sys; h "
        "= Path(sys.argv[1]); run(notebooks=h / 'notebooks', reports=h / 'reports')"
    )
    runner_process = subprocess.Popen(
        [sys.executable, "-c", program, str(house)],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stderr=subprocess.DEVNULL,
    )
    asleep = house / "notebooks" / "asleep"
    started = []
    try:
        # ends a run that hangs; a busy machine needs a minute or two
        hung = time.monotonic() + 1800
        while time.monotonic() < hung and not asleep.exists() and runner_process.poll() is None:
            time.sleep(0.05)
        started = [psutil.Process(int(number)) for number in asleep.read_text().split()]
        runner_process.send_signal(sent)
        assert runner_process.wait(1800) != 0
        while time.monotonic() < hung and any(map(is_alive, started)):
            time.sleep(0.05)
        assert not any(map(is_alive, started))
    finally:
        runner_process.kill()
        runner_process.wait()
        for process in filter(is_alive, started):
            process.kill()
    folder = next((house / "reports" / "runs").glob("*/run.json")).parent
    assert statuses(folder)["01"] != "ok"
    assert reopened(house) == folder  # it is free, and can be finished


def test_a_run_s_folder_is_locked_while_it_goes_and_free_when_it_ends(house, monkeypatch):
    add(house, "01_a")
    locks = []
    seen = []
    monkeypatch.setattr(
        runner, "lock_folder", lambda folder: locks.append(lock_folder(folder)) or locks[-1]
    )
    monkeypatch.setattr(
        runner,
        "execute",
        lambda job, folder, jobs, lifeline: (
            seen.append(lock_folder(folder)) or {"status": "failed"}
        ),
    )
    folder = start(house)
    assert seen == [None]  # a second one is refused
    assert not locks[0].is_locked
    again = lock_folder(folder)
    assert again is not None
    assert lock_folder(folder) is None
    again.release()

    def breaks(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(runner, "_execute_all", breaks)
    with pytest.raises(OSError, match="no space left"):
        start(house)
    assert not locks[-1].is_locked


def test_in_place_writes_outputs_and_nothing_else(house):
    path = add(house, "01_a", "import sys\nprint('a')\nsys.stdout.flush()\nprint('b')")
    book = nbformat.read(path, as_version=4)
    book.cells[-1].metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    nbformat.write(book, path)
    with pytest.raises(
        UsageError, match=r"--in-place needs default parameters; changed in 01_a.ipynb"
    ):
        start(house, given={"days": "4"}, in_place=True)
    folder = start(house, in_place=True)
    assert summary(folder)[1]
    written = nbformat.read(path, as_version=4)
    nbformat.validate(written)
    assert [c.id for c in written.cells] == [c.id for c in book.cells]
    assert [c.source for c in written.cells] == [c.source for c in book.cells]
    assert [c.execution_count for c in written.cells[1:]] == [1, 2, 3]
    assert written.cells[-1].outputs == [new_output("stream", name="stdout", text="a\nb\n")]
    text = path.read_text()
    assert "papermill" not in text
    assert "iopub" not in text
    assert written.metadata.language_info == {"name": "python"}
    start(house, in_place=True)
    assert path.read_text() == text


def test_in_place_also_runs_those_that_read_the_results(house):
    for number, needs in (("00", ["01", "02"]), ("01", []), ("02", []), ("03", ["00"])):
        add(house, f"{number}_a", needs=needs)
    start(house)
    assert sorted(statuses(start(house, ["01"], in_place=True))) == ["00", "01", "03"]
    assert sorted(statuses(start(house, ["1"]))) == ["01"]


def test_in_place_refuses_outputs_that_are_not_fit_to_commit(house):
    path = add(
        house,
        "01_a",
        "print(os.getcwd())\nprint('warned', file=__import__('sys').stderr)\nobject()",
    )
    before = path.read_text()
    folder = start(house, in_place=True)
    text, good = summary(folder)
    assert not good
    for problem in ("local path", "stderr output ('warned')", "memory address"):
        assert problem in text
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (new_output("stream", name="stdout", text="fine"), None),
        (new_output("stream", name="stderr", text="careful"), "stderr"),
        (new_output("error", ename="ValueError", evalue="no"), "error"),
        (
            new_output("display_data", data={"image/png": "A" * 140_000}),
            "picture has 105,000 bytes",
        ),
        (new_output("display_data", data={"image/png": "A" * 130_000}), None),
        (new_output("stream", name="stdout", text=f"{paths.ROOT}/x"), "local path"),
        (new_output("stream", name="stdout", text="/home/" + "ann/x"), "local path"),
        (
            new_output("display_data", data={"text/html": "<Thing at 0x7f0012345678>"}),
            "memory address",
        ),
    ],
)
def test_hygiene(output, problem):
    found = hygiene(new_notebook(cells=[new_code_cell("1", outputs=[output])]))
    assert (problem is None and found == []) or (len(found) == 1 and problem in found[0])


def test_with_outputs_leaves_its_inputs_alone():
    source, ran = (new_notebook(cells=[new_code_cell("1")]) for _ in range(2))
    ran.cells[0].outputs = [new_output("stream", name="stdout", text=t) for t in "ab"]
    assert with_outputs(source, ran).cells[0].outputs[0].text == "ab"
    assert source.cells[0].outputs == []
    assert [o.text for o in ran.cells[0].outputs] == ["a", "b"]
    with pytest.raises(ValueError, match="zip"):
        with_outputs(source, new_notebook())


def test_progress_bars_are_not_kept():
    source, ran = (new_notebook(cells=[new_code_cell("1")]) for _ in range(2))
    bar = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "a"},
        "text/plain": "statistics: 100% 13306row/s",
    }
    ran.cells[0].outputs = [
        new_output("display_data", data=bar),
        new_output("display_data", data={"text/plain": "kept"}),
    ]
    assert [o.data for o in with_outputs(source, ran).cells[0].outputs] == [{"text/plain": "kept"}]


def test_the_page_needs_no_network_and_draws_formulas():
    cells = [
        new_markdown_cell(
            "# T\n\n$P(y\\mid x)$ costs \\$5 and\n\n$$\\begin{aligned}a\\end{aligned}$$ `$x$`"
        ),
        new_markdown_cell("```mermaid\ngraph LR; a-->b\n```"),
        new_code_cell(
            "1",
            outputs=[new_output("display_data", data={"text/latex": "$\\displaystyle \\sum_z p$"})],
        ),
    ]
    page = notebook_html(new_notebook(cells=cells), "01_t")
    assert "<script" not in page or "src=" not in page.split("<script", 1)[1].split(">", 1)[0]
    for loaded in (
        'src="http',
        "src='http",
        'href="http',
        "@import",
        "url(http",
        "import(",
        "import mermaid",
    ):
        assert loaded not in page
    assert 'alt="P(y\\mid x)"' in page
    assert 'alt="\\sum_z p"' in page
    assert page.count('src="data:image/svg+xml;base64') == 2
    assert "$$\\begin{aligned}a\\end{aligned}$$" in page
    assert "$x$" in page
    assert "graph LR; a--&gt;b" in page


def test_opening_reads_the_first_cell_or_says_what_is_missing(house):
    path = add(house, "01_a")
    book = nbformat.read(path, as_version=4)
    with pytest.raises(
        ValueError, match=r"01_a.ipynb: the first cell gives no .*question, runtime, summary"
    ):
        opening(path)
    book.cells[0].source = (
        "# 01 Data, and cleaning it · 数据预处理\n\n**Question.** What does a leak cost,\nand who "
        "pays? More.\n\n"
        "Covers 3.2.1. Runtime: 20 seconds quick, 5 minutes\nfull.\n\n**摘要。** 本文说明,泄漏的代价。第二句。"
    )
    nbformat.write(book, path)
    assert opening(path) == {
        "title": "01 Data, and cleaning it",
        "chinese": "数据预处理",
        "question": "What does a leak cost, and who pays?",
        "runtime": "20 seconds quick, 5 minutes full",
        "summary": "本文说明,泄漏的代价。",
    }


def test_what_tensorflow_says_at_its_start_is_not_committed():
    cell = new_code_cell("import tensorflow")
    said = (
        "I0000 00:00:1 port.cc:153] oneDNN custom operations are on.\nUserWarning: the rest stays\n"
    )
    start = (
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    )
    cell.outputs = [new_output("stream", name="stderr", text=text) for text in (start, said)]
    book = new_notebook(cells=[cell])
    (kept,) = with_outputs(book, book).cells[0].outputs
    assert kept.text == "UserWarning: the rest stays\n"
    cell.outputs = [new_output("stream", name="stderr", text=start)]
    assert with_outputs(book, book).cells[0].outputs == []
