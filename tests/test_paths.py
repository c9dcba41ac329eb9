import os
from pathlib import Path

import pytest

from causal_lib import paths


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as if installed in site-packages, with no variable set; the folder that holds it,
    a home and a working folder.
    """
    for name in ("site", "home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site" / "causal_lib" / "paths.py"))
    for name in ("CAUSAL_LIB_ROOT", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def make_checkout(folder):
    (folder / "notebooks").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder


def test_the_tests_run_in_a_checkout():
    assert paths.is_checkout()
    assert Path(paths.__file__).resolve().parents[1] == paths.ROOT


def test_without_a_checkout_the_root_is_in_the_user_s_home(installed):
    assert installed / "home" in paths._root().parents
    assert paths._root().name == "causal-lib"


@pytest.mark.parametrize("lacking", ["notebooks", "pyproject.toml"])
def test_a_folder_that_lacks_notebooks_or_project_is_no_checkout(installed, lacking):
    make_checkout(installed / "site")
    assert paths._root() == installed / "site"
    (installed / "site" / lacking).rename(installed / "gone")
    assert installed / "home" in paths._root().parents


def test_the_variable_wins_over_the_checkout(installed, monkeypatch):
    make_checkout(installed / "site")
    monkeypatch.setenv("CAUSAL_LIB_ROOT", str(installed / "elsewhere"))
    assert paths._root() == installed / "elsewhere"
    monkeypatch.setenv("CAUSAL_LIB_ROOT", "here")  # a change of the working folder must not move it
    assert paths._root() == installed / "work" / "here"


def test_a_user_without_a_home_gets_a_folder_in_the_working_folder(installed, monkeypatch):
    def no_entry(*uid):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    pwd = pytest.importorskip("pwd")  # a system without it always knows the home
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert paths._root() == installed / "work" / "causal-lib"


def test_the_user_s_sources_lie_in_the_checkout_or_under_the_variable_else_in_the_working_folder(
    installed, monkeypatch
):
    monkeypatch.setattr(paths, "ROOT", installed / "root")
    assert paths.own_sources() == installed / "work" / "data" / "sources.toml"
    monkeypatch.setenv("CAUSAL_LIB_ROOT", str(installed / "root"))
    assert paths.own_sources() == installed / "root" / "data" / "sources.toml"
    monkeypatch.delenv("CAUSAL_LIB_ROOT")
    make_checkout(installed / "root")
    assert paths.own_sources() == installed / "root" / "data" / "sources.toml"


def test_the_code_is_that_of_all_files_that_decide(tmp_path):
    code = paths.code_digest.__wrapped__
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.py").write_text("x = 1")
    (tmp_path / "texts.toml").write_text("x = 1")
    first = code(tmp_path)
    (tmp_path / "a" / "one.pyc").write_text("x")
    assert code(tmp_path) == first
    (tmp_path / "texts.toml").write_text("x = 2")
    second = code(tmp_path)
    (tmp_path / "a" / "one.py").rename(tmp_path / "a" / "two.py")
    assert len({first, second, code(tmp_path)}) == 3


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_written_file_has_the_rights_that_the_user_s_mask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = paths.write_text(tmp_path / "a" / "one.json", "1")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch):
    path = paths.write_text(tmp_path / "one.json", "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        paths.write_text(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["one.json"]
