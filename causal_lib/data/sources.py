"""Real data as validated frames: one loader for each kind of the manifest.

`fetch`, `check`, `listing`, `read_manifest` and `SourceError` of `causal_lib.data.packages` are offered here too.
"""

import gzip
import os
import re
import tempfile
import zlib
from itertools import product
from math import inf
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

from causal_lib import paths
from causal_lib.checks import check_frame, check_range
from causal_lib.data import ratings_files
from causal_lib.data.packages import SourceError, check, fetch, listing, locate, read_manifest

__all__ = ["Network", "SourceError", "bayes_net", "check", "fetch", "listing", "load", "load_or_skip", "read_manifest"]

_SACHS_COLUMNS = "praf pmek plcg PIP2 PIP3 p44/42 pakts473 PKA PKC P38 pjnk"
_SACHS_NODES = "Raf Mek Plcg PIP2 PIP3 Erk Akt PKA PKC P38 Jnk"
SACHS_NAMES = dict(zip(_SACHS_COLUMNS.split(), _SACHS_NODES.split(), strict=True))
"""Column of the Sachs file -> node of ``network-sachs``, so that data and graph speak of the same variables."""


class Network(NamedTuple):
    """A discrete Bayesian network's ``nodes``, ``edges`` (parent, child) and the ``path`` of its .bif or .bif.gz file."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    path: Path


def load(name: str, *, manifest: Path | None = None, raw: Path = paths.RAW):
    """The data set ``name`` as validated frames; see data/README.md for every column.

    - bandit: dict, ``("random", "women")`` -> log, ``("items", "women")`` -> item attributes
    - prior: dict, ``"women"`` -> frame of alpha and beta, one row an item
    - ratings: dict, ``"ratings"``, ``"users"``, ``"items"`` -> frame
    - coat, yahoo-r3: dict, ``"train"``, ``"test"`` (items drawn at random) -> frame of user_id, item_id, rating; of coat also
      ``"users"``, ``"items"`` -> attributes, where their files are there. Files of the user's own only
    - experiment, cytometry (the 853 observational rows, columns named like the nodes of ``network-sachs``), table: frame
    - network: `Network`
    - potential-outcomes: dict, ``"covariates"`` -> frame, 1, 2, ... -> frame of z (treatment), y0, y1 (potential outcomes), mu0,
      mu1 (their expectations) of the same rows

    Nothing is downloaded here: call `fetch` first. Raises SourceError for an unknown name and for files that are
    absent or of another checksum, ValueError for content that is not what the kind promises.
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


def bayes_net(name: str, *, manifest: Path | None = None, raw: Path = paths.RAW):
    """The network ``name`` as a ``pyagrum.BayesNet``, with its conditional probability tables and state labels.

    pyAgrum reads the probabilities of a .bif file in single precision: they are right to 6e-8. Raises as `load`.
    """
    source, root = locate(name, manifest=manifest, raw=raw)
    if source.kind != "network":
        raise SourceError(f"{name} is of kind {source.kind!r}, not a network")
    return _read_bif(_file(source, root))


# ---- reading and checking a table ---------------------------------------------------------------------------------


def _atomic(path):
    """A RecBole atomic file: tab-separated, header ``name:type``, quotes are plain characters, no word means missing."""
    frame = pd.read_csv(path, sep="\t", quoting=3, dtype=str, keep_default_na=False)
    return frame.rename(columns=lambda c: c.partition(":")[0])


_READERS = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".dta": pd.read_stata,
    ".bz2": pd.read_csv,
    ".brotli": pd.read_parquet,
    **dict.fromkeys((".inter", ".user", ".item"), _atomic),
}


def _file(source, root, local=""):
    """Path of ``local`` (of the only file where it is left out) under ``root``, or ``root`` itself if that is a file."""
    return root / (local or next(iter(source.files), "")) if root.is_dir() else root


def _read(source, root, rules=None, local="", key=()):
    """The file as a frame; with ``rules`` (column -> rule) the columns named there, complete and converted.

    A rule is ``str`` (the column stays as it is), ``"time"``, or (int or float, lowest, highest), with "open" at the
    end where the lowest itself is refused.
    """
    path = _file(source, root, local)
    name = f"{source.name}: {path.relative_to(root) if root.is_dir() else path.name}"
    if not path.is_file():
        raise SourceError(f"{name} is not there; `path =` must name a file of kind {source.kind!r} or its folder")
    if path.suffix not in _READERS:
        raise SourceError(f"{name}: cannot read {path.suffix!r} files; known: {', '.join(_READERS)}")
    try:
        frame = _READERS[path.suffix](path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{name} cannot be read as {path.suffix}: {error}") from error
    check_frame(frame, rules or (), name=name, complete=True)
    if rules:
        frame = pd.DataFrame({c: _converted(frame[c], rule, f"{name}: column {c!r}") for c, rule in rules.items()})
        check_frame(frame, key=key, name=name)
    return frame


def _converted(values, rule, name):
    if rule is str:
        return values
    if rule == "time":
        converted, noun = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601"), "times"
    else:
        converted, noun = pd.to_numeric(values, errors="coerce"), "numbers"
        if rule[0] is int:
            converted, noun = converted.where(converted % 1 == 0), "whole numbers"
    bad = int(converted.isna().sum())
    if bad:
        raise ValueError(f"{name} has {bad} values that are not {noun}")
    if rule == "time":
        return converted
    kind, low, high, *open_low = rule
    check_range(converted, low, high, name=name, open_low=bool(open_low))
    return converted.astype(kind)  # also widens the one-byte integers of Stata files, in which squares overflow


def _check_known(frame, key, table, name):
    unknown = int((~frame[key].isin(table[key])).sum())
    if unknown:
        raise ValueError(f"{name}: {unknown} rows have a {key} that the table of attributes lacks")


# ---- loaders: (source, root) -> frames ----------------------------------------------------------------------------

_ID = (int, 0, inf)


def _bandit(source, root):
    frames = {}
    for campaign, policy in product(("all", "men", "women"), ("random", "bts")):
        folder = f"{policy}/{campaign}"
        local = f"{folder}/{campaign}.csv"
        if not (root / local).exists():
            continue  # a user's own folder may hold some of the six logs only
        rules = {"item_id": _ID, "item_feature_0": (float, -inf, inf), **{f"item_feature_{k}": str for k in (1, 2, 3)}}
        items = _read(source, root, rules, f"{folder}/item_context.csv", key=["item_id"])
        rules = {
            "timestamp": "time",
            "item_id": _ID,
            "position": (int, 1, 3),
            "click": (int, 0, 1),
            "propensity_score": (float, 0, 1, "open"),
            **{f"user_feature_{k}": str for k in range(4)},
            **{f"user-item_affinity_{k}": (float, 0, inf) for k in items["item_id"]},
        }
        log = _read(source, root, rules, local)
        _check_known(log, "item_id", items, f"{source.name}: {local}")
        frames[policy, campaign] = log.rename(columns=lambda c: c.replace("-", "_"))
        # The hashes of item attributes are salted differently in the two policies' files but split the items
        # alike, so one table serves both logs.
        frames.setdefault(("items", campaign), items)
    if not frames:
        raise SourceError(f"{source.name}: no POLICY/CAMPAIGN/CAMPAIGN.csv under the folder named by `path =`")
    return frames


def _prior(source, root):
    path = _file(source, root)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        frames = {name: pd.DataFrame(part, columns=["alpha", "beta"], dtype=float) for name, part in content.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{source.name}: {path.name} does not hold alpha and beta of each campaign: {error}"
        ) from error
    for name, frame in frames.items():
        if frame.empty or not (frame > 0).all(axis=None):
            raise ValueError(f"{source.name}: campaign {name!r}: a Beta prior needs numbers above 0 for alpha and beta")
    return frames


def _ratings(source, root):
    stem = next(iter(sorted(root.glob("*.inter"))), Path("ratings")).stem
    rules = {"user_id": _ID, "item_id": _ID, "rating": (int, 1, 5), "timestamp": (float, 0, inf)}
    ratings = _read(source, root, rules, f"{stem}.inter", key=["user_id", "item_id"])
    ratings["timestamp"] = pd.to_datetime(ratings["timestamp"], unit="s", utc=True)
    if root.is_file():  # a user's own ratings without attributes
        return {"ratings": ratings}
    rules = {"user_id": _ID, "age": (int, 0, 120), "gender": str, "occupation": str, "zip_code": str}
    users = _read(source, root, rules, f"{stem}.user", key=["user_id"])
    rules = {"item_id": _ID, "movie_title": str, "release_year": str, "class": str}
    items = _read(source, root, rules, f"{stem}.item", key=["item_id"])
    items = items.rename(columns={"movie_title": "title", "class": "genres"})
    # Two of the 1,682 years are no years ('unkonwn' and 'V', slips of the package): they are missing values.
    items["release_year"] = pd.to_numeric(items["release_year"], errors="coerce").astype("Int64")
    _check_known(ratings, "user_id", users, f"{source.name}: {stem}.inter")
    _check_known(ratings, "item_id", items, f"{source.name}: {stem}.inter")
    return {"ratings": ratings, "users": users, "items": items}


_EXPERIMENT = {
    "treat": (int, 0, 1),
    "age": (int, 0, 120),
    "educ": (int, 0, 30),
    **dict.fromkeys(("black", "hisp", "marr", "nodegree"), (int, 0, 1)),
    **dict.fromkeys(("re74", "re75", "re78"), (float, 0, inf)),
}


def _cytometry(source, root):
    frame = _read(source, root, dict.fromkeys(SACHS_NAMES, (float, 0, inf)))
    return frame.iloc[:853].rename(columns=SACHS_NAMES)  # the rows after these were measured under interventions


def _network(source, root):
    path = _file(source, root)
    net = _read_bif(path)
    nodes = tuple(net.variable(i).name() for i in sorted(net.nodes()))
    edges = tuple(sorted((net.variable(i).name(), net.variable(j).name()) for i, j in net.arcs()))
    return Network(nodes, edges, path)


def _potential_outcomes(source, root):
    covariates = _read(source, root, None, "x.csv")
    levels = covariates.select_dtypes(exclude="number").columns
    frames = {"covariates": covariates.astype(dict.fromkeys(levels, "category"))}
    rules = {"z": (int, 0, 1), **dict.fromkeys(("y0", "y1", "mu0", "mu1"), (float, -inf, inf))}
    for number in range(1, 1 + len(list(root.glob("zymu_*.csv")))):
        frame = _read(source, root, rules, f"zymu_{number}.csv")
        if len(frame) != len(covariates):
            raise ValueError(f"{source.name}: zymu_{number}.csv has {len(frame)} rows, x.csv has {len(covariates)}")
        frames[number] = frame
    return frames


_KINDS = {
    "bandit": _bandit,
    "prior": _prior,
    "ratings": _ratings,
    "coat": ratings_files.coat,
    "yahoo-r3": ratings_files.yahoo_r3,
    "experiment": lambda source, root: _read(source, root, _EXPERIMENT),
    "cytometry": _cytometry,
    "network": _network,
    "potential-outcomes": _potential_outcomes,
    "table": _read,
}


def _read_bif(path):
    import pyagrum  # here, so that tables load without it

    # pyAgrum refuses states such as '<5' or '0-3_days': it reads stand-ins, which then get their names back.
    def stand_in(token):
        plain = re.fullmatch(r"(?!hex_)[A-Za-z_][\w.]*|\d+", token[0])
        return token[0] if plain else f"hex_{token[0].encode().hex()}"

    states = re.compile(r"(?<=\] )\{[^{}]*\}|\([^()]*\)")  # lists of states: '] { a, b }' and '(a, b)'
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
            text = states.sub(lambda found: re.sub(r"[^\s,(){}|]+", stand_in, found[0]), file.read())
            plain = Path(folder, "network.bif")
            plain.write_text(text, encoding="utf-8")
            net = pyagrum.loadBN(str(plain))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, pyagrum.GumException) as error:
        reason = re.sub(r"^.*network\.bif:", "line ", str(error).partition("\n")[0])
        raise ValueError(f"{path.name} cannot be read as a network: {reason}") from error
    for node in net.names():
        for label in net.variable(node).labels():
            if label.startswith("hex_"):
                net.changeVariableLabel(node, label, bytes.fromhex(label[4:]).decode())
    problems = net.check()
    if problems:
        raise ValueError(f"{path.name}: {problems[0]}")
    return net
