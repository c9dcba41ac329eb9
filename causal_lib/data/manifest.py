"""What a manifest of real data says: one entry per data set, in TOML, checked before it is used."""

import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_NAME = r"[A-Za-z0-9][\w.-]*"
_PLAIN = r"[A-Za-z0-9][\w.+!-]*"  # anything else pip might read as an option or an address
_UNSAFE_PATH = r"(^|/)\.{0,2}(/|$)|[\\:]"  # absolute, with '..', or of another system


class SourceError(RuntimeError):
    """A data set is unknown, not fetched, not downloadable, damaged, or wrongly described."""


@dataclass(frozen=True)
class Member:
    """One file inside a package; ``shape`` is of rows and columns, of a network nodes and edges."""

    path: str
    sha256: str
    bytes: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """One entry: ``files`` (local name to `Member`) of a ``package``, or a user's own ``path``."""

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


def read_entries(manifest: Path, kinds: Iterable[str]) -> dict[str, Source]:
    """The entries of one file by name; ValueError or OSError names the entry and the wrong key."""
    content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    return {name: _entry(name, table, manifest.parent, kinds) for name, table in content.items()}


def _entry(name, table, folder, kinds):
    if not re.fullmatch(_NAME, name) or not isinstance(table, dict):
        raise ValueError(
            f"entry {name!r}: must be a table, its name made of letters, digits, '-', '_' and '.'"
        )
    try:
        return _source(name, table, folder, kinds)
    except ValueError as error:
        raise ValueError(f"entry {name!r}: {error}") from error


def _source(name, table, folder, kinds):
    texts = {key: value for key, value in table.items() if key != "members"}
    known = [key for key in Source.__dataclass_fields__ if key not in ("name", "files")]
    for key, value in texts.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(known)}, members")
        if not isinstance(value, str) or not value:
            raise ValueError(f"{key} {value!r} is no text")
    for key, choices in (("kind", kinds), ("artifact", ("wheel", "sdist"))):
        if key in texts and texts[key] not in choices:
            raise ValueError(f"{key} {texts[key]!r} is unknown; known: {', '.join(choices)}")
    for key in ("package", "version"):
        if key in texts and not re.fullmatch(_PLAIN, texts[key]):
            raise ValueError(
                f"{key} {texts[key]!r} is refused: pip might read an option or address"
            )
    given = {key for key in ("kind", "path", "package", "version", "members") if table.get(key)}
    if given == {"kind", "path"}:  # relative to the manifest
        try:
            path = Path(table["path"]).expanduser()
        except RuntimeError:  # no such user
            raise ValueError(f"path {table['path']!r} names the home of nobody here") from None
        return Source(name, **texts | {"path": folder / path})
    if given != {"kind", "package", "version", "members"}:
        raise ValueError("give kind, and either path or package, version and members")
    if not isinstance(table["members"], dict):
        raise ValueError("members is no table of paths with sha256, bytes and shape")
    members = [_member(path, about) for path, about in table["members"].items()]
    parent = os.path.commonpath([PurePosixPath(member.path).parent for member in members])
    files = {os.path.relpath(member.path, parent): member for member in members}
    return Source(name, **texts, files=files)


def _member(path, about):
    if re.search(_UNSAFE_PATH, path):
        raise ValueError(
            f"member {path!r} is refused: write a path inside the package, without '..'"
        )
    try:
        return Member(path, **about)
    except TypeError as error:
        raise ValueError(f"member {path!r} needs sha256, bytes and shape") from error
