import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from causal_lib import paths

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    line
    for line in (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
PINNED = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LOCK)}
# the extra `language` is for one class, which says itself what to install
LOCKED = [extra for name, extra in PROJECT["optional-dependencies"].items() if name != "language"]
REQUIREMENTS = PROJECT["dependencies"] + [requirement for extra in LOCKED for requirement in extra]


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
    assert "torch==2.13.0" in PROJECT["dependencies"]


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
    workflow = yaml.safe_load((paths.ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert [step["with"]["python-version"] for step in steps if "with" in step] == ["3.11"]
