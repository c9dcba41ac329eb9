"""Entries of a manifest: what is read from them; `test_packages` has the refusals before a fetch."""

import pytest

from causal_lib.data.manifest import Member, Source, read_entries

MEMBER = '{ sha256 = "00", bytes = 3, shape = [1, 2] }'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "sources.toml"
        path.write_text(text, encoding="utf-8")
        return read_entries(path, ["table", "network"])

    return read


def packaged(*paths):
    members = "\n".join(f'"{path}" = {MEMBER}' for path in paths)
    return (
        f'[toy]\nkind = "table"\npackage = "toy-x"\nversion = "1.0+a"\n[toy.members]\n{members}\n'
    )


def test_local_names_start_below_the_folder_that_all_members_share(read):
    files = read(packaged("a/b/c.csv", "a/d.csv"))["toy"].files
    assert files == {
        "b/c.csv": Member("a/b/c.csv", "00", 3, [1, 2]),
        "d.csv": Member("a/d.csv", "00", 3, [1, 2]),
    }
    assert list(read(packaged("a/b/c.csv"))["toy"].files) == ["c.csv"]


def test_origin_is_the_package_or_a_file_of_one_s_own(read, tmp_path):
    assert read(packaged("a.csv"))["toy"].origin == "toy-x 1.0+a"
    [own] = read('[mine]\nkind = "network"\npath = "sub/x.bif"\n').values()
    assert own == Source("mine", "network", path=tmp_path / "sub" / "x.bif")
    assert own.origin == "own file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[a]\nkind = "tables"\npath = "x"\n',
            "^entry 'a': kind 'tables' is unknown; known: table, network$",
        ),
        (
            '[a]\nkind = "table"\npath = "x"\nversion = "1"\n',
            "^entry 'a': give kind, and either path or package",
        ),
        (
            '[a]\nkind = "table"\npackage = "-r"\n',
            "^entry 'a': package '-r' is refused: pip might read an option",
        ),
        (
            '[a]\nkind = "table"\npackage = "p"\nversion = "1"\nmembers = ["a.csv"]\n',
            "^entry 'a': members is no table of paths",
        ),
        (packaged("a/./b.csv"), r"^entry 'toy': member 'a/\./b\.csv' is refused"),
    ],
)
def test_wrong_entries_are_named(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)
