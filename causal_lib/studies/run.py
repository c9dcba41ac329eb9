"""`study`: all steps in their order, each kept in a folder as soon as it is done."""

import hashlib
import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.checks import check_number, check_whole
from causal_lib.progress import progress_bar
from causal_lib.reasons import Reason
from causal_lib.studies.advice import advise
from causal_lib.studies.audit import Prepared, prepare
from causal_lib.studies.effects import estimate_effect, probe
from causal_lib.studies.errors import LogError
from causal_lib.studies.gains import Scores, find_gains
from causal_lib.studies.graphs import (
    DRAWS,
    GivenGraph,
    find_graph,
    identify_effect,
    is_edited,
    read_graph,
    take_graph,
    write_graph,
)
from causal_lib.studies.reading import Log, read_log
from causal_lib.studies.report import write_report
from causal_lib.studies.roles import Roles
from causal_lib.studies.rules import DEPTH, choose_rule
from causal_lib.studies.step import Step, worst
from causal_lib.studies.templates import LANGUAGES, say

STEPS = ("audit", "graph", "identify", "effect", "sensitivity", "gains", "rule", "next")


@dataclass(frozen=True)
class Settings:
    """What may be set in a study.

    Attributes
    ----------
    budget : share of rows that the rule may treat; None: as many as today.
    cost : of one treated row, in outcomes, or in money where the roles name a price.
    depth : of the rule's tree.
    draws : of the graph's stability, at least 2.
    rows : at most so many are analysed.
    seed : of everything that is drawn.
    """

    budget: float | None = None
    cost: float = 0.0
    depth: int = DEPTH
    draws: int = DRAWS
    rows: int = 200_000
    seed: int = 0

    def __post_init__(self):
        try:
            if self.budget is not None and not 0 < check_number(self.budget, name="budget") <= 1:
                raise ValueError(f"budget: a share in (0, 1] is needed, not {self.budget!r}")
            check_number(self.cost, name="cost")
            check_whole(self.rows, name="rows", low=100)
            check_whole(self.seed, name="seed", low=0)
            check_whole(self.depth, name="depth")
            check_whole(self.draws, name="draws", low=2)
        except ValueError as error:
            raise LogError(str(error)) from None

    @classmethod
    def from_text(cls, given: Mapping[str, str]) -> "Settings":
        """Settings from texts, as the command line gives them; LogError for a strange one."""
        known = cls.__dataclass_fields__
        found = {}
        for name, text in given.items():
            if name not in known:
                raise LogError(f"unknown parameter {name!r}; known: {', '.join(known)}")
            kind = float if name in ("budget", "cost") else int
            try:
                found[name] = kind(text)
            except ValueError:
                noun = "number" if kind is float else "whole number"
                raise LogError(f"parameter {name}: {text!r} is no {noun}") from None
        return cls(**found)


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """What a log says about an effect; prints as its conclusion.

    Attributes
    ----------
    roles : as they were used.
    steps : step by name, in the order of `STEPS`.
    source : of the log.
    settings : of the study.
    """

    roles: Roles
    steps: Mapping[str, Step]
    source: str
    settings: Settings

    @property
    def verdict(self) -> str:
        """The worst verdict of the steps that carry the effect."""
        return worst(
            *(self.steps[name].verdict for name in ("audit", "identify", "effect", "sensitivity"))
        )

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the verdict is not 'supported'."""
        carrying = ("identify", "effect", "sensitivity", "audit")
        found = [why for name in carrying for why in self.steps[name].reasons]
        return tuple(dict.fromkeys(found))

    def conclusion(self, language: str = "en") -> list[str]:
        """The answer in three sentences: the effect, how sure it is, what to do."""
        reason = self.reasons[0].in_language(language).rstrip(".。") if self.reasons else ""
        effect = self.steps["effect"].sentences(language)[0]
        sure = say(f"conclusion_{self.verdict}", language, reason=reason)
        against = self.steps["sensitivity"].sentences(language)[:1]
        if self.steps["effect"].verdict == "refused":
            return [sure, self.steps["rule"].sentences(language)[0]]
        return [effect, " ".join([sure, *against]), self.steps["rule"].sentences(language)[0]]

    def to_dict(self) -> dict:
        """The study as JSON types."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "conclusion": self.conclusion(),
            "conclusion_zh": self.conclusion("zh"),
            "roles": self.roles.to_dict(),
            "settings": vars(self.settings),
            "steps": {name: step.to_dict() for name, step in self.steps.items()},
        }

    def write(self, folder: str | Path, language: str = "en") -> Path:
        """Write report.html, report.md, results.json, graph.toml and the rule as code.

        A ``graph.toml`` that somebody changed is left as it is.
        """
        folder = Path(folder)
        if not is_edited(folder / "graph.toml"):
            write_graph(self.steps["graph"], folder / "graph.toml")
        return write_report(self, folder, language)

    def __repr__(self):
        return " ".join(self.conclusion())

    def _repr_html_(self):
        from causal_lib.studies.report import html

        return html(self, whole=False)


def study(
    log: pd.DataFrame | Log | str | Path,
    roles: Roles | Mapping | str | Path,
    *,
    graph: GivenGraph | str | Path | None = None,
    folder: str | Path | None = None,
    language: str = "en",
    progress: bool = True,
    **settings,
) -> Study:
    """What a log says about the effect of its treatment: audit, graph, effect, uplift, a rule.

    Parameters
    ----------
    log : see `reading.read_log`.
    roles : `Roles`, a mapping of the same names, or a ``roles.toml``.
    graph : a ``graph.toml`` of an earlier run, edited or not, in place of a search. Without it, a
        ``graph.toml`` in ``folder`` that somebody changed since it was written.
    folder : where steps are kept as they are done and the report is written; the same call with
        the same log goes on after the last step that was done. Steps that another version of the
        library made are made anew, and this is said. None: nothing is written.
    language : of the report, 'en' or 'zh'.
    settings : of `Settings`: budget, cost, depth, draws, rows, seed.

    Raises
    ------
    LogError
        for a log, roles or settings that cannot be used; nothing is written then. What the log
        cannot answer is no error: it is a verdict, with its reason.

    >>> from causal_lib.worlds import shop
    >>> log = shop(n_users=200, n_items=50, days=3, seed=0).log()
    >>> found = study(log, {"treatment": "exposed", "outcome": "purchased", "unit": "user_id",
    ...                     "before": [["activity", "popularity", "stock"]]}, draws=2)
    >>> list(found.steps)
    ['audit', 'graph', 'identify', 'effect', 'sensitivity', 'gains', 'rule', 'next']
    """
    if language not in LANGUAGES:
        raise LogError(f"language: {language!r} is not one of {', '.join(LANGUAGES)}")
    roles = _roles(roles)
    strange = [name for name in settings if name not in Settings.__dataclass_fields__]
    if strange:
        known = ", ".join(Settings.__dataclass_fields__)
        raise LogError(f"unknown setting {strange[0]!r}; known: {known}")
    chosen = Settings(**settings)
    if graph is None and folder is not None and is_edited(Path(folder) / "graph.toml"):
        graph = Path(folder) / "graph.toml"
    given = read_graph(graph) if isinstance(graph, (str, Path)) else graph
    read = _read(log, roles)
    prepared = prepare(read, roles, rows=chosen.rows, seed=chosen.seed)
    if given is not None:
        take_graph(prepared, given)  # what is wrong with it is said before anything is written
    key = _hash(prepared, roles, given, chosen)
    with _alone_in(folder):
        found = _steps(prepared, given, chosen, _Kept(folder, key), progress)
        answer = Study(prepared.roles, found, read.source, chosen)
        if folder is not None:
            with _writing(folder):
                answer.write(folder, language)
    return answer


def _steps(prepared, given, chosen, kept, progress):
    """Step by name, each made or taken from what is ``kept``."""
    found = {"audit": kept.audit(prepared.audit)}
    scores = Scores.none()

    def gains():
        nonlocal scores
        step, scores = find_gains(prepared, found["identify"], found["effect"], seed=chosen.seed)
        kept.keep_scores(scores)
        return step

    def rule():
        own = scores if len(scores.score) else kept.scores()
        return choose_rule(
            prepared, found["identify"], found["effect"], found["gains"], own,
            budget=chosen.budget, cost=chosen.cost, depth=chosen.depth, seed=chosen.seed,
        )  # fmt: skip

    seed = chosen.seed
    made = {
        "graph": lambda: (
            find_graph(prepared, draws=chosen.draws, seed=seed)
            if given is None
            else take_graph(prepared, given)
        ),
        "identify": lambda: identify_effect(prepared, found["graph"]),
        "effect": lambda: estimate_effect(prepared, found["graph"], found["identify"], seed=seed),
        "sensitivity": lambda: probe(prepared, found["identify"], found["effect"], seed=seed),
        "gains": gains,
        "rule": rule,
        "next": lambda: advise(
            prepared, found["identify"], found["effect"], found["sensitivity"], found["rule"]
        ),
    }
    bar = progress_bar(made.items(), show=progress, desc="study", unit="step", total=len(made))
    for name, make in bar:
        bar.set_description(f"study, {name}")
        if kept.drop_outdated(name) and not bar.disable:
            text = f"study: another version of causal_lib made the step {name}; it is made anew"
            bar.write(text, file=sys.stderr)
        found[name] = kept.step(name, make)
    return found


@contextmanager
def _alone_in(folder) -> Iterator[None]:
    """Within it no other study writes into ``folder``; LogError where one does.

    The lock is SQLite's on a file: every system has it, and takes it away when a process is killed.
    """
    if folder is None:
        yield
        return
    file = Path(folder) / "steps" / "lock"
    lock = None
    try:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
            lock.execute("BEGIN EXCLUSIVE")
        except (OSError, sqlite3.Error) as error:
            problem = f"the folder {str(folder)!r} cannot be written: {error}"
            if "is locked" in str(error):
                problem = f"another study is writing into {str(folder)!r}; wait for it"
            raise LogError(f"{problem}; or name another folder (--out)") from None
        yield
    finally:
        if lock is not None:
            lock.close()


def _roles(roles):
    if isinstance(roles, Roles):
        return roles
    return Roles.read(roles) if isinstance(roles, (str, Path)) else Roles.from_dict(roles)


def _read(log, roles):
    """The log and its candidates as one."""
    if isinstance(log, Log):
        return log
    how = {"missing": roles.missing, "encoding": roles.encoding, "separator": roles.separator}
    found = read_log(log, columns=roles.columns, **how)
    if not roles.candidates:
        return found
    columns = [name for name in roles.columns if name not in (roles.treatment, *roles.after)]
    columns = [name for name in columns if name != roles.position]
    more = read_log(roles.candidates, columns=columns, **how)
    control = roles.control if roles.control != "" else 0
    if pd.api.types.is_string_dtype(found.frame[roles.treatment].dtype):
        control = str(control)
    _check_apart(found, more, roles)
    rows = more.frame.assign(**{roles.treatment: control})
    frame = pd.concat([found.frame, rows], ignore_index=True)
    note = Reason("candidates", rows=len(rows), source=more.source)
    return Log(frame, found.source, (*found.notes, *more.notes, note))


def _check_apart(found, more, roles):
    """LogError for candidates that are rows of the log too, where no time tells them apart."""
    key = [roles.unit, roles.item]
    if roles.time or not all(key):
        return
    both = pd.concat([one.frame[key].astype(str).drop_duplicates() for one in (found, more)])
    if again := int(both.duplicated().sum()):
        raise LogError(
            f"log: {again:,} candidates ({', '.join(key)}) of {more.source} are rows of the log as "
            "well; leave them out of the candidates, or name the time that tells them apart"
        )


def _hash(prepared, roles, given, settings):
    """A text that is the same where the same steps come out."""
    found = hashlib.sha256()
    found.update(pd.util.hash_pandas_object(prepared.frame, index=False).to_numpy().tobytes())
    graph = None if given is None else [given.graph.to_dict(), given.hidden]
    parts = [list(prepared.frame.columns), roles.to_dict(), graph, vars(settings)]
    found.update(json.dumps(parts, sort_keys=True, default=str).encode())
    return found.hexdigest()[:16]


@contextmanager
def _writing(folder) -> Iterator[None]:
    """LogError where what is written within it cannot be, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise LogError(
            f"the folder {str(folder)!r} cannot be written: {error}; the same command goes on "
            "after the last step that was kept"
        ) from None


class _Kept:
    """The steps of one study in its folder; without one, nothing is kept."""

    def __init__(self, folder, key):
        self._folder = None if folder is None else Path(folder) / "steps" / key

    def audit(self, step):
        if self._folder is not None:
            self._write("audit", step)
        return step

    def step(self, name: str, make: Callable[[], Step]) -> Step:
        """The step that is there, or the one that ``make`` gives, kept whole."""
        step = self._restored(name)
        # the rule needs the scores that belong to the gains
        if step is not None and (
            name != "gains" or step.verdict == "refused" or len(self.scores().score)
        ):
            return step
        step = make()
        if self._folder is not None:
            self._write(name, step)
        return step

    def drop_outdated(self, name: str) -> bool:
        """Remove a step that another version made; whether there was one."""
        kept = self._read(name)
        if kept is None or kept.get("made_by") == paths.code_digest():
            return False
        self._path(name).unlink()  # scores of this version must not stand beside it
        return True

    def keep_scores(self, scores: Scores) -> None:
        if self._folder is None:
            return
        content = io.BytesIO()
        parts = [scores.score, scores.untreated, scores.predicted]
        np.save(content, np.vstack(parts), allow_pickle=False)
        with _writing(self._folder):
            paths.write_bytes(self._scores, content.getvalue())

    def scores(self) -> Scores:
        """The scores that are there and whole, or none."""
        if self._folder is None:
            return Scores.none()
        try:
            return Scores(*np.load(self._scores, allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return Scores.none()

    def _read(self, name):
        """The mapping that was kept; None without one, as where a disk was full or lost power."""
        if self._folder is None:
            return None
        try:
            kept = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if isinstance(kept, dict) else None

    def _restored(self, name):
        """The step that is there and whole, else None."""
        kept = self._read(name)
        try:
            return None if kept is None else Step.restored(kept)
        except (KeyError, TypeError, AttributeError):
            return None

    @property
    def _scores(self):
        return self._folder / "scores.npy"

    def _path(self, name):
        return self._folder / f"{STEPS.index(name)}_{name}.json"

    def _write(self, name, step):
        kept = step.stored() | {"made_by": paths.code_digest()}
        with _writing(self._folder):
            paths.write_text(self._path(name), json.dumps(kept, ensure_ascii=False))


def open_log(
    log: pd.DataFrame | Log | str | Path, roles: Roles | Mapping | str | Path, **settings
) -> Prepared:
    """The table that `study` analyses, for calling its steps one by one."""
    roles = _roles(roles)
    chosen = Settings(**settings)
    return prepare(_read(log, roles), roles, rows=chosen.rows, seed=chosen.seed)
