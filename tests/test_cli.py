import subprocess
import sys
from importlib import metadata

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causal_lib import cli, paths
from causal_lib.data import sources
from causal_lib.experiments import bench
from causal_lib.tooling import sweep as sweeping

FIRST = """# 01 Effects · 因果推断

**Question.** What does exposing an item do to purchases?

Runtime: quick 1 s, full 2 s.

**摘要。** 曝光的效应。更多。"""


@pytest.fixture
def house(tmp_path):
    cells = [new_markdown_cell(FIRST), new_code_cell("days = 3", metadata={"tags": ["parameters"]})]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "01_effects.ipynb")
    return tmp_path


def test_help_is_quick_because_heavy_modules_are_imported_late():
    code = (
        "import sys\nfrom causal_lib.cli import main\ntry:\n    main(['run', '--help'])\nexcept "
        "SystemExit:\n    pass\n"
    )
    code += (
        "print([m for m in ('numpy', 'pandas', 'nbformat', 'papermill', 'tensorflow', 'torch') if "
        "m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=paths.ROOT
    ).stdout
    assert out.startswith("usage: causal-lib run")
    assert out.endswith("[]\n")


def test_the_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"causal-lib {metadata.version('causal-lib')}\n"


def test_the_module_runs_as_a_program_and_without_a_command_shows_its_help():
    done = subprocess.run(
        [sys.executable, "-m", "causal_lib.cli"],
        capture_output=True,
        text=True,
        check=False,
        cwd=paths.ROOT,
    )
    assert done.returncode == 2
    for command in ("run", "data", "report", "bench"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "77"], "unknown notebook '77'; known: "),
        (["run", "-p", "hunter2"], "-p takes name=value\n"),
        (["run", "-p", "a=1", "-p", "a=2"], "parameter 'a' is given twice"),
        (["run", "--jobs", "0"], "jobs is 0; at least 1"),
        (
            ["bench", "nothing"],
            "unknown benchmark nothing; known: costs, discovery.hidden, discovery.interventions, ",
        ),
    ],
)
def test_a_wrong_request_exits_with_2_and_says_why(arguments, message, house, monkeypatch, capsys):
    from causal_lib.tooling import runner

    real = runner.run
    monkeypatch.setattr(
        runner,
        "run",
        lambda *a, **k: real(*a, notebooks=house / "notebooks", reports=house / "reports", **k),
    )
    assert cli.main(arguments) == 2
    assert f"causal-lib: {message}" in capsys.readouterr().err
    assert not (house / "reports").exists()


@pytest.mark.parametrize("arguments", [["run", "--profile", "slow"], ["data", "burn"], ["fly"]])
def test_argparse_refuses_what_it_knows_nothing_of(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_run_passes_its_options_on_and_exits_with_1_when_a_notebook_failed(
    monkeypatch, capsys, tmp_path
):
    from causal_lib.tooling import runner

    seen = []
    monkeypatch.setattr(runner, "run", lambda *a, **k: seen.append((a, k)) or tmp_path)
    for good in (True, False):
        monkeypatch.setattr(
            runner, "summary", lambda folder, good=good: (f"look at {folder}", good)
        )
        assert cli.main(["run", "01", "02", "-p", "a=b=c", "--jobs", "2", "--resume"]) == (
            0 if good else 1
        )
    options = {"profile": "quick", "jobs": 2, "resume": True, "in_place": False}
    assert seen[0] == ((["01", "02"], {"a": "b=c"}), options)
    assert capsys.readouterr().out == f"look at {tmp_path}\n" * 2

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", interrupted)
    assert cli.main(["run"]) == 130
    assert "--resume" in capsys.readouterr().err


def test_data_lists_fetches_and_checks(monkeypatch, capsys):
    import pandas as pd

    states = pd.DataFrame({"state": ["ok", "absent"]}, index=["obd", "nsw"])
    monkeypatch.setattr(sources, "listing", lambda: states)
    monkeypatch.setattr(sources, "check", lambda names: states.loc[names or states.index])
    monkeypatch.setattr(sources, "fetch", lambda names: list(names or []))
    assert cli.main(["data", "list"]) == 0
    assert cli.main(["data", "check"]) == 1
    assert cli.main(["data", "check", "obd"]) == 0
    assert cli.main(["data", "fetch", "nsw"]) == 0
    assert "fetched: nsw" in capsys.readouterr().out

    def fails(names):
        raise sources.SourceError("package obp could not be had")

    monkeypatch.setattr(sources, "fetch", fails)
    assert cli.main(["data", "fetch"]) == 1
    assert "causal-lib: package obp could not be had" in capsys.readouterr().err


def test_sweep_says_what_failed_and_where_to_look(tmp_path, monkeypatch, capsys):
    points = pd.DataFrame(
        {"days": [2, 7], "status": ["ok", "failed"], "error": ["", "no week"], "folder": ["a", "b"]}
    )
    asked = []

    def stand_in(*given, **options):
        asked.append((given, options))
        return sweeping.Sweep(tmp_path, points, pd.DataFrame())

    monkeypatch.setattr(sweeping, "sweep", stand_in)
    assert cli.main(["sweep", "01", "-p", "days=2,7", "--jobs", "3"]) == 1
    assert asked == [(("01", {"days": "2,7"}), {"jobs": 3, "out": None})]
    said = capsys.readouterr().out
    assert "1 of 2 points ended well" in said
    assert "failed: days=7: no week (b)" in said
    assert cli.main(["sweep", "01", "-p", "days"]) == 2
    assert "-p takes name=value" in capsys.readouterr().err


def test_bench_writes_the_benchmarks_that_a_name_stands_for(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        bench, "write", lambda name: asked.append(name) or tmp_path / f"{name}.json"
    )
    assert cli.main(["bench", "worlds", "policy"]) == 0
    assert asked == ["worlds.shop", *(name for name in bench.known() if name.startswith("policy."))]
    assert [line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()] == [
        f"{one}.json" for one in asked
    ]
    assert cli.main(["bench", "--all"]) == 0
    assert asked[-len(bench.known()) :] == bench.known()


def test_bench_without_a_name_lists_them_and_runs_none(monkeypatch, capsys):
    monkeypatch.setattr(bench, "write", lambda name: pytest.fail(f"{name} was run"))
    assert cli.main(["bench"]) == 2
    told = capsys.readouterr()
    assert told.out.splitlines() == bench.known()
    assert "or --all for all of them, which takes hours" in told.err
    assert cli.main(["bench", "--all", "policy"]) == 2
    assert "bench takes names or --all, not both" in capsys.readouterr().err
