"""`Roles`: what each column of a log is in the question, as ``roles.toml`` says it."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from causal_lib import paths
from causal_lib.studies.columns import TIME_UNITS
from causal_lib.studies.errors import LogError
from causal_lib.studies.templates import render

_ONE = ("unit", "item", "time", "propensity", "price", "position", "negative_control")
_COLUMNS = ("treatment", "outcome", *_ONE)
_LISTS = ("after", "unused")
_BOTH = ({"position", "after"}, *({role, "before"} for role in ("price", "item", "time")))


@dataclass(frozen=True)
class Roles:
    """The roles of a log's columns. A column has one role; columns without any are not used.

    Attributes
    ----------
    treatment : what was done: 0 and 1, or two labels named by ``control`` and ``treated``.
    outcome : what came of it: a number, or 0 and 1.
    unit : whose rows are alike, as a user: rows of a unit are never taken for independent.
    item : what was shown; it may stand in ``before`` as well, where rows of one item are to be
        compared with each other.
    time : when, a date or a number that orders the rows; where it stands in ``before`` as well, a
        date is adjusted for by its day and hour.
    time_unit : of a time in numbers, where it is not plain: seconds, milliseconds, microseconds or
        nanoseconds since 1970; days since then, or excel_days; calendar (20240301); order.
    before : tiers of the columns that were known before the treatment, earliest first; a column of
        a later tier causes none of an earlier one.
    after : columns that the treatment may have moved. They are never adjusted for.
    propensity : the probability of treatment 1 that the system logged, in (0, 1].
    randomised : whether the treatment was drawn at random, alike for all rows.
    price : what one outcome earns; it may stand in ``before`` as well.
    position : place on the page; it belongs to what comes after.
    negative_control : an outcome that the treatment cannot move, but its hidden causes would.
    unused : columns to leave alone.
    known, impossible : edges (cause, effect) that are there, or cannot be.
    control, treated : labels of a treatment that is not 0 and 1.
    missing : further spellings of a missing value, as "n/a".
    candidates : a second file, of rows that could have been treated and were not.
    encoding, separator : of a CSV file, where they are guessed wrongly.

    Raises
    ------
    LogError
        for a role that is missing or no text, a column with two roles, edges between columns that
        are not compared.
    """

    treatment: str
    outcome: str
    before: tuple[tuple[str, ...], ...]
    unit: str = ""
    item: str = ""
    time: str = ""
    after: tuple[str, ...] = ()
    propensity: str = ""
    randomised: bool = False
    price: str = ""
    position: str = ""
    negative_control: str = ""
    unused: tuple[str, ...] = ()
    known: tuple[tuple[str, str], ...] = ()
    impossible: tuple[tuple[str, str], ...] = ()
    control: str | float = ""
    treated: str | float = ""
    missing: tuple[str, ...] = ()
    candidates: str = ""
    encoding: str = ""
    separator: str = ""
    time_unit: str = ""

    def __post_init__(self):
        for name in (*_COLUMNS, "candidates", "encoding", "separator", "time_unit"):
            if not isinstance(getattr(self, name), str):
                raise LogError(
                    f'roles: {name} is one text, not {getattr(self, name)!r}; write {name} = "..."'
                )
        if self.time_unit not in ("", *TIME_UNITS):
            raise LogError(
                f"roles: unknown time_unit {self.time_unit!r}; known: {', '.join(TIME_UNITS)}"
            )
        if not isinstance(self.randomised, bool):
            raise LogError(f"roles: randomised is true or false, not {self.randomised!r}")
        for name in ("treatment", "outcome"):
            if not getattr(self, name):
                raise LogError(f'roles: {name} is not named; write {name} = "<column>"')
        for name in (*_LISTS, "missing"):
            object.__setattr__(self, name, _texts(getattr(self, name), name))
        object.__setattr__(self, "before", _tiers(self.before))
        for name in ("known", "impossible"):
            object.__setattr__(self, name, _edges(getattr(self, name), name))
        if (self.control == "") != (self.treated == ""):
            raise LogError("roles: control and treated go together; name both or neither")
        if self.control != "" and self.control == self.treated:
            raise LogError(f"roles: control and treated are both {self.control!r}")
        self._check_once()
        self._check_edges()

    @classmethod
    def from_dict(cls, found: Mapping) -> "Roles":
        """Roles from the mapping of a ``roles.toml``; LogError for a name it does not know."""
        if not isinstance(found, Mapping):
            raise LogError(f"roles: a table of roles is needed, not {type(found).__name__}")
        names = [field.name for field in fields(cls)]
        for name in found:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise LogError(f"roles: unknown role {name!r}{hint} (roles: {', '.join(names)})")
        return cls(**{"treatment": "", "outcome": "", "before": ()} | dict(found))

    @classmethod
    def read(cls, path: str | Path) -> "Roles":
        """Roles from a TOML file; LogError where it is absent or cannot be read."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise LogError(
                f"roles: no file {str(path)!r}; `causal-lib study LOG --guess` writes a first one"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise LogError(
                f"roles: {str(path)!r} cannot be read: {error}; save it as UTF-8"
            ) from None
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise LogError(f"roles: {str(path)!r} is no TOML: {error}") from None
        return cls.from_dict(found)

    @property
    def columns_before(self) -> tuple[str, ...]:
        """The columns of all tiers, in their order."""
        return tuple(column for tier in self.before for column in tier)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has a role and is read."""
        named = [getattr(self, name) for name in _COLUMNS]
        named = [name for name in named if name]
        return tuple(dict.fromkeys([*named, *self.columns_before, *self.after]))

    def to_dict(self) -> dict:
        """The roles as JSON types, empty ones left out."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: _plain(value) for name, value in found.items() if value not in ("", (), False)
        }

    def write(self, path: str | Path, notes: Sequence[str] = ()) -> Path:
        """Write the roles as a commented TOML file; ``notes`` say what was guessed and why."""
        return paths.write_text(Path(path), self.to_toml(notes))

    def to_toml(self, notes: Sequence[str] = ()) -> str:
        """The text of ``roles.toml``."""
        return render("roles.toml.j2", roles=self, notes=notes, quoted=quoted, comment=_comment)

    def _check_once(self):
        given = {name: [getattr(self, name)] for name in _COLUMNS if getattr(self, name)}
        given |= {"before": self.columns_before, "after": self.after, "unused": self.unused}
        seen = {}
        for role, columns in given.items():
            for column in columns:
                if column in seen:
                    other = seen[column]
                    if {role, other} in _BOTH:
                        continue
                    raise LogError(
                        f"roles: column {column!r} is named twice ({other}, {role}); a column has "
                        "one role"
                    )
                seen[column] = role

    def _check_edges(self):
        able = {self.treatment, self.outcome, *self.columns_before}
        for name in ("known", "impossible"):
            for edge in getattr(self, name):
                if strange := [column for column in edge if column not in able]:
                    raise LogError(
                        f"roles: {name} names {strange[0]!r}, which is neither treatment, outcome "
                        "nor in before"
                    )
        if both := sorted(set(self.known) & set(self.impossible)):
            raise LogError(f"roles: edge {' -> '.join(both[0])} is both known and impossible")


def quoted(value) -> str:
    """``value`` as a TOML basic string, number or list.

    >>> quoted('a "b"'), quoted(["x"]), quoted(1)
    ('"a \\\\"b\\\\""', '["x"]', '1')
    """
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(quoted(one) for one in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    plain = (char if char >= " " and char != "\x7f" else f"\\u{ord(char):04X}" for char in text)
    return '"' + "".join(plain) + '"'


def _comment(text):
    """``text`` on one line, without signs that a comment in TOML cannot hold."""
    return "".join(char if char.isprintable() else " " for char in text)


def _plain(value):
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _is_list(value):
    return isinstance(value, Iterable) and not isinstance(value, (str, Mapping))


def _texts(values, name):
    """``values`` as a tuple of texts."""
    if not _is_list(values):
        raise LogError(f"roles: {name} is a list, not {values!r}; write {name} = [...]")
    values = tuple(values)
    for value in values:
        if not isinstance(value, str):
            raise LogError(f"roles: {name} holds names of columns, not {value!r}; write texts")
    if repeated := [value for value in values if values.count(value) > 1]:
        raise LogError(f"roles: {name} names {repeated[0]!r} {values.count(repeated[0])} times")
    return values


def _tiers(before):
    """``before`` as tiers; a flat list of names is one tier."""
    if not _is_list(before):
        raise LogError(f"roles: before is a list of tiers, not {before!r}; write [[...], [...]]")
    before = list(before)
    if before and all(isinstance(one, str) for one in before):
        before = [before]
    tiers = tuple(_texts(tier, "a tier of before") for tier in before)
    named = [column for tier in tiers for column in tier]
    if repeated := [column for column in named if named.count(column) > 1]:
        raise LogError(f"roles: column {repeated[0]!r} is named twice in before")
    return tuple(tier for tier in tiers if tier)


def _edges(edges, name):
    if not _is_list(edges):
        raise LogError(f"roles: {name} is a list of edges, not {edges!r}; write [[cause, effect]]")
    found = []
    for edge in edges:
        pair = () if isinstance(edge, str) or not isinstance(edge, Iterable) else tuple(edge)
        if len(pair) != 2 or not all(isinstance(one, str) for one in pair) or pair[0] == pair[1]:
            raise LogError(f'roles: {name}: {edge!r} is no edge; write ["cause", "effect"]')
        found.append(pair)
    return tuple(found)
