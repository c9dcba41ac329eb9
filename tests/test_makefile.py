"""The Makefile's own environment: made once, and again in a copy of the folder."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def _planned(folder):
    """What `make lint` would do."""
    found = subprocess.run(
        ["make", "-n", "lint"], cwd=folder, capture_output=True, text=True, check=True
    )
    return found.stdout


@pytest.mark.skipif(not (HERE / "Makefile").exists(), reason="no checkout")
@pytest.mark.parametrize("name", ["first", "with a blank"])
def test_the_environment_of_a_copied_folder_is_made_anew(tmp_path, name):
    first = tmp_path / name
    first.mkdir()
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(HERE / file, first)
    assert "-m venv .venv" in _planned(first)
    stamp = _planned(first).split("touch ")[1].splitlines()[0]
    (first / ".venv").mkdir()
    (first / stamp).touch()
    assert "venv .venv" not in _planned(first)
    shutil.copytree(first, tmp_path / "copy")
    again = _planned(tmp_path / "copy")
    assert "rm -rf .venv" in again
    assert "-m venv .venv" in again
