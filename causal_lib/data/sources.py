"""Real data as validated frames: one loader for each kind of the manifest.

`fetch`, `check`, `listing`, `read_manifest` and `SourceError` of `causal_lib.data.manifest` are offered here too.
"""

import gzip
import math
import os
import re
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from causal_lib import paths
from causal_lib.data.manifest import MANIFEST, SourceError, check, fetch, listing, locate, read_manifest
from causal_lib.data.schema import check_frame, check_range

__all__ = [
    "SACHS_NAMES",
    "Network",
    "SourceError",
    "bayes_net",
    "check",
    "fetch",
    "listing",
    "load",
    "load_or_skip",
    "read_manifest",
]

SACHS_NAMES = {
    "praf": "Raf",
    "pmek": "Mek",
    "plcg": "Plcg",
    "PIP2": "PIP2",
    "PIP3": "PIP3",
    "p44/42": "Erk",
    "pakts473": "Akt",
    "PKA": "PKA",
    "PKC": "PKC",
    "P38": "P38",
    "pjnk": "Jnk",
}
"""Column of the Sachs file -> node of ``network-sachs``, so that data and graph speak of the same variables."""

_SACHS_OBSERVATIONAL = 853  # the rows after these were measured under interventions
_POLICIES, _CAMPAIGNS = ("random", "bts"), ("all", "men", "women")
_INF = math.inf


@dataclass(frozen=True)
class Network:
    """A discrete Bayesian network's ``nodes``, ``edges`` (parent, child) and the ``path`` of its .bif or .bif.gz file."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    path: Path


def load(name: str, *, manifest: Path = MANIFEST, raw: Path = paths.RAW):
    """The data set ``name`` as validated frames; see data/README.md for every column.

    ========== ======================================================================================
    kind       what is returned
    ========== ======================================================================================
    bandit     dict: ``("random", "women")`` -> log, ``("items", "women")`` -> item attributes
    ratings    dict: ``"ratings"``, ``"users"``, ``"items"`` -> frame
    experiment frame: treat, age, educ, black, hisp, marr, nodegree, re74, re75, re78
    cytometry  frame of the 853 observational rows, columns named like the nodes of ``network-sachs``
    network    `Network`
    table      frame as it stands in the user's own file (csv, parquet or Stata)
    ========== ======================================================================================

    Nothing is downloaded here: call `fetch` first.

    Raises
    ------
    SourceError
        for an unknown name, and for files that are absent, of another checksum or of another shape.
    ValueError
        for content that is not what the kind promises (column, count and range are named).
    """
    source, root = locate(name, manifest=manifest, raw=raw)
    return _KINDS[source.kind](source, root)


def load_or_skip(name: str, skipped: list[str], **where):
    """What `load` gives, or None with a printed sentence, also added to ``skipped``, where the files cannot be had.

    With the environment variable CI set to 'true' nothing may be skipped: the error is raised.
    """
    try:
        return load(name, **where)
    except SourceError as error:
        if os.environ.get("CI") == "true":
            raise
        skipped.append(f"real data {name!r}: {str(error).splitlines()[0]}")
        print(f"SKIPPED {skipped[-1]}")
        return None


def bayes_net(name: str, *, manifest: Path = MANIFEST, raw: Path = paths.RAW):
    """The network ``name`` as a ``pyagrum.BayesNet``, with its conditional probability tables and state labels.

    pyAgrum reads the probabilities of a .bif file in single precision: they are right to 6e-8.

    Raises
    ------
    SourceError
        as `load`, and for a data set of another kind.
    ValueError
        for a file that pyAgrum cannot read, or whose probabilities do not add up.
    """
    source, root = locate(name, manifest=manifest, raw=raw)
    if source.kind != "network":
        raise SourceError(f"{name} is of kind {source.kind!r}, not a network")
    return _read_bif(_file(source, root))


# ---- loaders: (source, root) -> frames ----------------------------------------------------------------------------


def _file(source, root, local=""):
    """Path of ``local`` (of the only file where it is left out) under ``root``, or ``root`` itself if that is a file."""
    return root / (local or next(iter(source.files), "")) if root.is_dir() else root


def _read(source, root, local=""):
    path = _file(source, root, local)
    name = f"{source.name}: {path.name}"
    if not path.is_file():
        raise SourceError(f"{name} is not there; `path =` must name a file of kind {source.kind!r} or its folder")
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise SourceError(f"{name}: cannot read {path.suffix!r} files; known: {', '.join(_READERS)}")
    try:
        frame = reader(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{name} cannot be read as {path.suffix}: {error}") from error
    member = source.files.get(local or path.name)
    if member and frame.shape != member.shape:
        raise SourceError(f"{name} has {frame.shape} rows and columns, the manifest says {member.shape}")
    return frame


def _atomic(path):
    """A RecBole atomic file: tab-separated, header ``name:type``, quotes are plain characters, no word means missing."""
    frame = pd.read_csv(path, sep="\t", quoting=3, dtype=str, keep_default_na=False)
    return frame.rename(columns=lambda c: c.partition(":")[0])


_READERS = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".dta": pd.read_stata,
    ".inter": _atomic,
    ".user": _atomic,
    ".item": _atomic,
}


def _numbers(frame, ranges, name):
    """``frame`` with the columns of ``ranges`` (column -> type, low, high) as checked numbers."""
    check_frame(frame, ranges, name=name, complete=True)
    columns = {}
    for column, (kind, low, high) in ranges.items():
        values = pd.to_numeric(frame[column], errors="coerce")
        bad = int((values.isna() | ((values % 1 != 0) & (kind is int))).sum())
        if bad:
            noun = "whole numbers" if kind is int else "numbers"
            raise ValueError(f"{name}: column {column!r} has {bad} values that are not {noun}")
        check_range(values, low, high, name=f"{name}: column {column!r}")
        columns[column] = values.astype("int64" if kind is int else "float64")
    return frame.assign(**columns)


def _times(values, name, **options):
    times = pd.to_datetime(values, utc=True, errors="coerce", **options)
    if times.isna().any():
        raise ValueError(f"{name}: column {values.name!r} has {int(times.isna().sum())} values that are not times")
    return times


def _bandit(source, root):
    frames = {}
    for campaign in _CAMPAIGNS:
        for policy in _POLICIES:
            local = f"{policy}/{campaign}/{campaign}.csv"
            if not (root / local).exists() and not source.files:
                continue  # a user's own folder may hold some of the six logs only
            log, context = _bandit_log(source, root, local), _bandit_items(source, root, f"{policy}/{campaign}/")
            unknown = int((~log["item_id"].isin(context["item_id"])).sum())
            if unknown:
                raise ValueError(f"{source.name}: {unknown} rows of {local} show items that item_context.csv lacks")
            frames[policy, campaign] = log
            # The hashes of item attributes are salted differently in the two policies' files but split the items
            # alike, so one table serves both logs.
            frames.setdefault(("items", campaign), context)
    if not frames:
        raise SourceError(f"{source.name}: no POLICY/CAMPAIGN/CAMPAIGN.csv under the folder named by `path =`")
    return frames


def _bandit_log(source, root, local):
    name = f"{source.name}: {local}"
    log = _read(source, root, local)
    log = log.rename(columns=lambda c: c.replace("user-item", "user_item")).drop(columns="Unnamed: 0", errors="ignore")
    features = [f"user_feature_{k}" for k in range(4)]
    affinities = [c for c in log.columns if c.startswith("user_item_affinity_")]
    ranges = {
        "item_id": (int, 0, _INF),
        "position": (int, 1, 3),
        "click": (int, 0, 1),
        "propensity_score": (float, 0, 1),
    }
    log = _numbers(log, ranges | dict.fromkeys(affinities, (float, 0, _INF)), name)
    check_range(log["propensity_score"], 0, 1, name=f"{name}: column 'propensity_score'", open_low=True)
    check_frame(log, ["timestamp", *features], name=name, complete=True)
    log["timestamp"] = _times(log["timestamp"], name, format="ISO8601")
    return log[["timestamp", *ranges, *features, *affinities]]


def _bandit_items(source, root, folder):
    name = f"{source.name}: {folder}item_context.csv"
    columns = ["item_id", *(f"item_feature_{k}" for k in range(4))]
    context = _read(source, root, f"{folder}item_context.csv")
    context = _numbers(context, {"item_id": (int, 0, _INF), "item_feature_0": (float, -_INF, _INF)}, name)
    check_frame(context, columns, key=["item_id"], name=name, complete=True)
    return context[columns]


def _ratings(source, root):
    stem = next(iter(sorted(root.glob("*.inter"))), root / "ratings.inter").stem
    name = f"{source.name}: {root.name if root.is_file() else stem}"
    user, item = {"user_id": (int, 0, _INF)}, {"item_id": (int, 0, _INF)}
    ratings = _read(source, root, f"{stem}.inter")
    ratings = _numbers(ratings, user | item | {"rating": (int, 1, 5), "timestamp": (float, 0, _INF)}, name)
    check_frame(ratings, key=["user_id", "item_id"], name=name)
    ratings["timestamp"] = _times(ratings["timestamp"], name, unit="s")
    frames = {"ratings": ratings[["user_id", "item_id", "rating", "timestamp"]]}
    if root.is_file():  # a user's own ratings without attributes
        return frames
    users = _numbers(_read(source, root, f"{stem}.user"), user | {"age": (int, 0, 120)}, f"{name}.user")
    check_frame(users, ["gender", "occupation", "zip_code"], key=["user_id"], name=f"{name}.user")
    items = _numbers(_read(source, root, f"{stem}.item"), item, f"{name}.item")
    items = items.rename(columns={"movie_title": "title", "class": "genres"})
    check_frame(items, ["title", "release_year", "genres"], key=["item_id"], name=f"{name}.item")
    # Two of the 1,682 years are no years ('unkonwn' and 'V', slips of the package): they are missing values.
    items["release_year"] = pd.to_numeric(items["release_year"], errors="coerce").astype("Int64")
    for key, table in (("user_id", users), ("item_id", items)):
        unknown = int((~ratings[key].isin(table[key])).sum())
        if unknown:
            raise ValueError(f"{name}: {unknown} ratings have a {key} that the table of attributes lacks")
    return frames | {"users": users, "items": items}


_EXPERIMENT = {
    "treat": (int, 0, 1),
    "age": (int, 0, 120),
    "educ": (int, 0, 30),
    **dict.fromkeys(("black", "hisp", "marr", "nodegree"), (int, 0, 1)),
    **dict.fromkeys(("re74", "re75", "re78"), (float, 0, _INF)),
}


def _experiment(source, root):
    # The file stores one-byte integers, in which age squared overflows; _numbers widens them.
    return _numbers(_read(source, root), _EXPERIMENT, source.name)[list(_EXPERIMENT)]


def _cytometry(source, root):
    frame = _read(source, root).iloc[:_SACHS_OBSERVATIONAL]
    frame = _numbers(frame, dict.fromkeys(SACHS_NAMES, (float, 0, _INF)), source.name)
    return frame[list(SACHS_NAMES)].rename(columns=SACHS_NAMES)


def _table(source, root):
    frame = _read(source, root)
    check_frame(frame, name=source.name)
    return frame


def _network(source, root):
    path = _file(source, root)
    net = _read_bif(path)
    nodes = tuple(net.variable(i).name() for i in sorted(net.nodes()))
    edges = tuple(sorted((net.variable(i).name(), net.variable(j).name()) for i, j in net.arcs()))
    for member in source.files.values():
        if (len(nodes), len(edges)) != member.shape:
            raise SourceError(
                f"{source.name} has {len(nodes)} nodes and {len(edges)} edges, the manifest {member.shape}"
            )
    return Network(nodes, edges, path)


def _read_bif(path):
    import pyagrum  # here, so that tables load without it

    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            text = file.read()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path.name} cannot be read as a network: {error}") from error
    # pyAgrum refuses states such as '<5' or '0-3_days': it reads stand-ins, which then get their names back.
    stand_ins: dict[str, str] = {}

    def rename(token):
        word = token[0]
        if word == "|" or re.fullmatch(r"[A-Za-z_][\w.]*|\d+", word):
            return word
        return stand_ins.setdefault(word, f"stand_in_{len(stand_ins)}")

    states = re.compile(r"(?<=\] )\{[^{}]*\}|\([^()]*\)")  # lists of states: '] { a, b }' and '(a, b)'
    text = states.sub(lambda found: re.sub(r"[^\s,(){}]+", rename, found[0]), text)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "network.bif"
        plain.write_text(text, encoding="utf-8")
        try:
            net = pyagrum.loadBN(str(plain))
        except pyagrum.GumException as error:
            lines = str(error).splitlines()
            reason = re.sub(r"^.*network\.bif:", "line ", lines[0]) if lines else type(error).__name__
            raise ValueError(f"{path.name} cannot be read as a network: {reason}") from error
    names = {stand_in: word for word, stand_in in stand_ins.items()}
    for node in net.names():
        for label in net.variable(node).labels():
            if label in names:
                net.changeVariableLabel(node, label, names[label])
    problems = net.check()
    if problems:
        raise ValueError(f"{path.name}: {problems[0]}")
    return net


_KINDS = {
    "bandit": _bandit,
    "ratings": _ratings,
    "experiment": _experiment,
    "cytometry": _cytometry,
    "network": _network,
    "table": _table,
}
