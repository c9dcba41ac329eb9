import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from causal_lib import paths
from causal_lib.extras import EXTRAS
from causal_lib.tooling.notebooks import plan

PYPROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LOCK = [
    line
    for line in (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
PINNED = {
    canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LOCK)
}
# it is for one thing, which says itself what to install
UNLOCKED = {"language"}
LOCKED = [extra for name, extra in PROJECT["optional-dependencies"].items() if name not in UNLOCKED]
REQUIREMENTS = PROJECT["dependencies"] + [
    one for extra in LOCKED for one in extra if not one.startswith("causal-lib[")
]


def test_the_lock_pins_every_package_once_to_a_release_that_any_index_has():
    wrong = [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)]
    assert wrong == []  # a URL, an editable path, a local version such as +cpu, a range
    assert len(PINNED) == len(LOCK)
    assert canonicalize_name(PROJECT["name"]) not in PINNED


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_the_lock_satisfies_pyproject(requirement):
    wanted = Requirement(requirement)
    version = PINNED.get(canonicalize_name(wanted.name))
    assert version is not None, f"{wanted.name} is not in requirements.lock: make lock"
    assert wanted.specifier.contains(version, prereleases=True)


def test_torch_is_pinned_exactly_on_both_sides():
    # a range would let pip take a release that pulls gigabytes of CUDA
    assert PINNED["torch"] == "2.13.0"
    assert "torch==2.13.0" in PROJECT["optional-dependencies"]["networks"]


def test_environment_yml_installs_the_lock_and_the_package_on_a_supported_python():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "causal_lib"
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    assert conda[1:] == ["pip"]
    python = re.fullmatch(r"python=(\d+\.\d+)", conda[0])[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(Version(f"{python}.0"))
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_the_workflow_runs_the_same_check_on_that_python():
    workflow = yaml.safe_load(
        (paths.ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    )
    steps = workflow["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert [step["with"]["python-version"] for step in steps if "with" in step] == ["3.11"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package's wheel, built from a copy, since building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        paths.ROOT / "causal_lib",
        folder / "causal_lib",
        ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, folder)
    [builder] = map(Requirement, PYPROJECT["build-system"]["requires"])
    # else pip fetches it, apart from this environment
    here = builder.specifier.contains(version(builder.name))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(folder),
    ]
    done = subprocess.run(
        [*command, *(["--no-build-isolation"] if here else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not here and os.environ.get("CI") != "true":
        pytest.skip(f"no {builder} here, and it cannot be fetched")
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl")
    return path


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    listed = subprocess.run(
        ["git", "ls-files", "causal_lib"],
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
        check=False,
    ).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    there = {name for name in listed if (paths.ROOT / name).exists()}  # without what is being moved
    expected = {name for name in there if not name.startswith("causal_lib/experiments/")}
    assert {
        "causal_lib/data/sources.toml",
        "causal_lib/discovery/proposals/descriptions.toml",
    } <= expected
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
    assert expected - held == set()
    assert [name for name in held if "experiments" in name] == []


ALONE = """
import sys
from pathlib import Path
import causal_lib
from causal_lib import cli, paths
from causal_lib.data.sources import load
from causal_lib.data.store import Store
from causal_lib.discovery import discover
assert Path(causal_lib.__file__).parents[1] == Path(sys.argv[1]), causal_lib.__file__
assert not paths.is_checkout()
assert cli.main(["data", "fetch", "network-asia"]) == 1  # pip sees no package here
Path("data").mkdir()
Path("data/sources.toml").write_text('[shop]\\nkind = "table"\\npath = "shop.csv"')
Path("data/shop.csv").write_text("shown,bought\\n" + "0,0\\n0,1\\n1,1\\n1,1\\n" * 50)
assert cli.main(["data", "list"]) == 0
Store().create()
print(discover(load("shop"), restarts=0, seed=0).edges)
print([cli.main([command]) for command in ("run", "report", "bench", "reproduce", "pretrain")])
"""


def test_the_wheel_alone_lists_loads_and_discovers_and_says_what_needs_the_checkout(
    wheel, tmp_path
):
    site, home, work = (tmp_path / name for name in ("site", "home", "work"))
    for folder in (home, work):
        folder.mkdir()
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(site)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("CAUSAL_LIB_", "XDG_", "PIP_"))
    }
    environment |= {
        "PYTHONPATH": str(site),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "NUMBA_DISABLE_JIT": "1",
    }
    environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(site)],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    *table, edges, statuses = done.stdout.splitlines()
    assert [line.split()[0] for line in table if line.startswith(("nsw ", "shop "))] == [
        "nsw",
        "shop",
    ]
    assert "shown -- bought" in edges
    assert statuses == "[2, 2, 2, 2, 2]"
    assert len(list(home.rglob("causal-lib/data/shop.sqlite"))) == 1
    # data are kept in the user's folder
    assert "network-asia" not in {path.name for path in work.rglob("*")}
    for command in ("run", "report", "bench", "reproduce", "pretrain"):
        assert f"causal-lib: `{command}` needs a checkout of the repository" in done.stderr
    assert "Traceback" not in done.stderr


# ---- packages ------------------------------------------------------------------------------------

IMPORTED_AS = {
    "beautifulsoup4": "bs4",
    "causal-learn": "causallearn",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
RUN_AS_COMMANDS = {"jupyterlab", "nbval", "pre-commit", "pytest-xdist", "ruff"}
NEEDED_BY_OTHERS = {
    "furo",  # Sphinx loads it by its name: the theme of the book
    "myst-nb",  # Sphinx loads it by its name: notebooks as pages
    "accelerate",  # transformers loads weights by it
    "gguf",  # transformers reads the file by it
    "pymysql",  # SQLAlchemy's driver: mysql+pymysql
    "pydot",  # Keras and networkx draw by it
}


def _imported(folder):
    """Top-level packages that the Python files below ``folder`` import, at the top or within
    functions.
    """
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
    return found


def _declared(extras):
    requirements = [
        *PROJECT["dependencies"],
        *(one for extra in extras for one in PROJECT["optional-dependencies"][extra]),
    ]
    names = {canonicalize_name(Requirement(one).name) for one in requirements} - {"causal-lib"}
    return {IMPORTED_AS.get(name, name.replace("-", "_")): name for name in names}


def test_every_declared_package_is_imported_somewhere():
    notebooks = set()
    for path in (paths.ROOT / "notebooks").glob("*.ipynb"):
        notebooks |= set(re.findall(r'"(?:import|from) (\w+)', path.read_text(encoding="utf-8")))
    used = _imported(paths.ROOT / "causal_lib") | _imported(paths.ROOT / "tests") | notebooks
    declared = _declared(PROJECT["optional-dependencies"])
    idle = {name for module, name in declared.items() if module not in used}
    # papermill runs as python -m papermill
    assert idle <= RUN_AS_COMMANDS | NEEDED_BY_OTHERS | {"papermill"}


def test_every_imported_package_is_declared():
    declared = set(_declared([name for name in PROJECT["optional-dependencies"] if name != "dev"]))
    found = _imported(paths.ROOT / "causal_lib") - set(sys.stdlib_module_names) - {"causal_lib"}
    peers = {
        "castle",
        "dagma",
        "gies",
        "lenskit",
        "obp",
    }  # in an environment of their own: make peers
    # by those declared
    brought = {"keras", "IPython", "PIL", "packaging", "xgboost", "lightgbm", "triton"}
    programs = {path.stem for path in (paths.ROOT / "causal_lib/experiments/programs").glob("*.py")}
    assert found - declared - peers - brought - programs == set()


CORE = """
import sys
import numpy as np, pandas as pd
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import causal_lib as cl
frame = pd.read_csv(sys.argv[1])
graph = cl.discover(frame, restarts=0)
print(graph.edges)
graph = cl.CausalGraph.from_edges(["age", "shown", "bought"], ["age -> shown", "age -> bought", "shown -> bought"])
print(cl.identify(graph, "shown", "bought").adjustment)
print(cl.effect(frame, "shown", "bought", graph=graph, seed=0).value)
logs = pd.DataFrame({"item_id": frame["shown"], "click": frame["bought"], "propensity_score": 0.5})
print(cl.policy_value(logs, np.array([0.0, 1.0]), estimator="ips").value)
for call in (lambda: cl.build_model((3,)), lambda: cl.train_recommender, lambda: cl.discover(frame, method="dagma"),
             lambda: cl.UpliftModel.train(frame, "shown", "bought", ["age"], learner="uplift_tree")):
    try:
        call()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_extras_the_verbs_work_and_the_others_say_which_extra_they_need(tmp_path):
    rng = np.random.default_rng(0)
    age = rng.normal(size=2000)
    shown = rng.random(2000) < 0.5
    bought = rng.random(2000) < 0.3 + 0.2 * shown + 0.1 * (age > 0)
    table = pd.DataFrame({"age": age, "shown": shown * 1, "bought": bought * 1})
    table.to_csv(tmp_path / "log.csv", index=False)
    code = CORE % ([package for packages in EXTRAS.values() for package in packages],)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    edges, adjustment, value, policy, *errors = done.stdout.splitlines()
    assert "shown" in edges
    assert adjustment == "('age',)"
    assert float(value) == pytest.approx(0.2, abs=0.06)
    assert float(policy) == pytest.approx(0.55, abs=0.06)
    wanted = {"tensorflow": "networks", "torch": "networks", "causalml": "uplift"}
    assert len(errors) == 4
    for error in errors:
        package = error.split()[0]
        assert error == (
            f"{package} is not installed: pip install 'causal-lib[{wanted[package]}]' brings it"
        )


ELSEWHERE = """
import importlib, os, pkgutil, sys, sysconfig
sys.modules["fcntl"] = None  # absent
import torch_geometric  # torch imports resource where it is not on Windows
sys.modules["resource"] = None
import causal_lib
opened = []

def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes) and os.fsdecode(arguments[0]).startswith("/proc"):
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith((sysconfig.get_path("stdlib") + os.sep, "<frozen")):
            if "site-packages" in frame.f_code.co_filename:
                break
            frame = frame.f_back
        if "causal_lib" in frame.f_globals["__name__"]:
            opened.append((frame.f_globals["__name__"], arguments[0]))

sys.addaudithook(note)
names = [module.name for module in pkgutil.walk_packages(causal_lib.__path__, "causal_lib.")]
for name in names:
    importlib.import_module(name)
assert sys.modules["fcntl"] is sys.modules["resource"] is None
assert {"causal_lib.tooling.runner", "causal_lib.experiments.costs.report"} < set(names)
assert not opened, opened
"""


def test_every_module_imports_where_there_is_no_fcntl_no_resource_and_no_proc():
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        capture_output=True,
        text=True,
        check=False,
        cwd=paths.ROOT,
    )
    assert done.returncode == 0, done.stderr


def test_the_check_changes_a_parameter_of_every_notebook():
    script = (paths.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    changed = re.search(r'^CHANGED="([^"]+)"', script, flags=re.MULTILINE)[1].split()
    jobs = plan((), dict(one.split("=") for one in changed))
    assert [job.number for job in jobs if not job.changed] == []
    assert "git --no-pager diff --exit-code" in script
