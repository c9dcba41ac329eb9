"""From files to validated frames: one loader for each kind of data, and the registry of kinds."""

from collections.abc import Callable
from itertools import product
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from pandas.api.types import is_float_dtype

from causal_lib.checks import check_frame, check_range
from causal_lib.data.manifest import SourceError
from causal_lib.data.networks import read_gaussian_network, read_network
from causal_lib.data.ratings_files import coat, yahoo_r3

_SACHS_COLUMNS = "praf pmek plcg PIP2 PIP3 p44/42 pakts473 PKA PKC P38 pjnk"
_SACHS_NODES = "Raf Mek Plcg PIP2 PIP3 Erk Akt PKA PKC P38 Jnk"
SACHS_NAMES = dict(zip(_SACHS_COLUMNS.split(), _SACHS_NODES.split(), strict=True))
"""Column of the Sachs file to node of ``network-sachs``: data and graph share their variables."""

SACHS_CONDITIONS = {
    "anti-CD3/CD28": 853,
    "anti-CD3/CD28 + ICAM-2": 902,
    "Akt inhibitor": 911,
    "G06976": 723,
    "psitectorigenin": 810,
    "U0126": 799,
    "LY294002": 848,
    "PMA": 913,
    "b2cAMP": 707,
}
"""Condition of the Sachs file -> its number of cells, in the order of the rows; the file does not
name them. Only the first is observational.
"""


# ---- reading and checking a table ---------------------------------------------------------------


def _atomic(path):
    """A RecBole atomic file: tab-separated, header ``name:type``; no quotes, no missing values."""
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


def file_path(source, root, local=""):
    """Path of ``local``, by default the only file, under ``root``, which may be a file."""
    if not root.is_dir():
        return root
    return root / (local or next(iter(source.files), ""))


def _read(source, root, rules=None, local="", key=()):
    """The file as a frame; with ``rules`` the columns named there, complete and converted.

    ``rules`` maps a column to ``str`` (the column stays as it is), ``"time"``, or (int or float,
    lowest, highest), with "open" at the end where the lowest itself is refused.
    """
    path = file_path(source, root, local)
    name = f"{source.name}: {path.relative_to(root) if root.is_dir() else path.name}"
    if not path.is_file():
        raise SourceError(
            f"{name} is not there; `path =` must name a file of kind {source.kind!r} or its "
            f"folder, which needs {KINDS[source.kind].needs}"
        )
    if path.suffix not in _READERS:
        raise SourceError(
            f"{name}: cannot read {path.suffix!r} files; known: {', '.join(_READERS)}"
        )
    try:
        frame = _READERS[path.suffix](path)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{name} cannot be read as {path.suffix}: {error}") from error
    check_frame(frame, rules or (), name=name, complete=True)
    if rules:
        frame = pd.DataFrame(
            {c: _converted(frame[c], rule, f"{name}: column {c!r}") for c, rule in rules.items()}
        )
        check_frame(frame, key=key, name=name)
    return frame


def _converted(values, rule, name):
    if rule is str:
        return values
    if rule == "time":
        times = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
        return _complete(times, f"{name} has %d values that are not times")
    kind, low, high, *open_low = rule
    numbers = pd.to_numeric(values, errors="coerce")
    if kind is int:
        # float64 skips whole numbers from 2**53 on; 2**63 would wrap to a negative one
        high = min(high, 2**53 if is_float_dtype(numbers) else 2**63 - 1024)
        numbers = numbers.where(numbers % 1 == 0)
    noun = "whole numbers" if kind is int else "numbers"
    converted = _complete(numbers, f"{name} has %d values that are not {noun}")
    check_range(converted, low, high, name=name, open_low=bool(open_low))
    # also widens the one-byte integers of Stata files, in which squares overflow
    return converted.astype(kind)


def _complete(values, message):
    if bad := int(values.isna().sum()):
        raise ValueError(message % bad)
    return values


def _check_known(frame, key, table, name):
    unknown = int((~frame[key].isin(table[key])).sum())
    if unknown:
        raise ValueError(f"{name}: {unknown} rows have a {key} that the table of attributes lacks")


# ---- loaders: (source, root) -> frames ----------------------------------------------------------

_ID = (int, 0, inf)
_YEAR_2100 = 4_102_444_800  # in seconds; milliseconds would lie beyond it


def _bandit(source, root):
    frames = {}
    for campaign, policy in product(("all", "men", "women"), ("random", "bts")):
        folder = f"{policy}/{campaign}"
        local = f"{folder}/{campaign}.csv"
        if not (root / local).exists():
            continue  # a user's own folder may hold some of the six logs only
        rules = {
            "item_id": _ID,
            "item_feature_0": (float, -inf, inf),
            **{f"item_feature_{k}": str for k in (1, 2, 3)},
        }
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
        # The hashes of item attributes are salted differently in the two policies' files but split
        # the items alike, so one table serves both logs.
        frames.setdefault(("items", campaign), items)
    if not frames:
        raise SourceError(
            f"{source.name}: no POLICY/CAMPAIGN/CAMPAIGN.csv under the folder named by `path =`"
        )
    return frames


def _prior(source, root):
    path = file_path(source, root)
    if not path.is_file():
        raise SourceError(f"{source.name}: `path =` must name a file of kind {source.kind!r}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        frames = {
            name: pd.DataFrame(part, columns=["alpha", "beta"], dtype=float)
            for name, part in content.items()
        }
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{source.name}: {path.name} does not hold alpha and beta of each campaign: {error}"
        ) from error
    for name, frame in frames.items():
        if frame.empty or not (frame > 0).all(axis=None):
            raise ValueError(
                f"{source.name}: campaign {name!r}: a Beta prior needs alpha and beta above 0"
            )
    return frames


def _ratings(source, root):
    stem = next(iter(sorted(root.glob("*.inter"))), Path("ratings")).stem
    rules = {
        "user_id": _ID,
        "item_id": _ID,
        "rating": (int, 1, 5),
        "timestamp": (float, 0, _YEAR_2100),
    }
    ratings = _read(source, root, rules, f"{stem}.inter", key=["user_id", "item_id"])
    ratings["timestamp"] = pd.to_datetime(ratings["timestamp"], unit="s", utc=True)
    if root.is_file():  # a user's own ratings without attributes
        return {"ratings": ratings}
    rules = {
        "user_id": _ID,
        "age": (int, 0, 120),
        **dict.fromkeys(("gender", "occupation", "zip_code"), str),
    }
    users = _read(source, root, rules, f"{stem}.user", key=["user_id"])
    rules = {"item_id": _ID, "movie_title": str, "release_year": str, "class": str}
    items = _read(source, root, rules, f"{stem}.item", key=["item_id"])
    items = items.rename(columns={"movie_title": "title", "class": "genres"})
    # Two of the 1,682 years are none ('unkonwn' and 'V', slips of the package): missing values.
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


def _experiment(source, root):
    return _read(source, root, _EXPERIMENT)


def _cytometry(source, root):
    frame = _read(source, root, dict.fromkeys(SACHS_NAMES, (float, 0, inf)))
    # the rows after these were measured under interventions
    return frame.iloc[:853].rename(columns=SACHS_NAMES)


def _cytometry_conditions(source, root):
    frame = _read(source, root, dict.fromkeys(SACHS_NAMES, (float, 0, inf)))
    cells = sum(SACHS_CONDITIONS.values())
    if len(frame) != cells:
        raise ValueError(
            f"{source.name}: {len(frame):,} rows, the nine conditions have {cells:,}; of other "
            "tables the conditions are not known: load them with kind 'table'"
        )
    condition = np.repeat(list(SACHS_CONDITIONS), list(SACHS_CONDITIONS.values()))
    return frame.rename(columns=SACHS_NAMES).assign(
        condition=pd.Categorical(condition, list(SACHS_CONDITIONS))
    )


def _network(source, root):
    return read_network(file_path(source, root))


def _gaussian_network(source, root):
    return read_gaussian_network(file_path(source, root))


def _potential_outcomes(source, root):
    covariates = _read(source, root, None, "x.csv")
    levels = covariates.select_dtypes(exclude="number").columns
    frames = {"covariates": covariates.astype(dict.fromkeys(levels, "category"))}
    rules = {"z": (int, 0, 1), **dict.fromkeys(("y0", "y1", "mu0", "mu1"), (float, -inf, inf))}
    for number in range(1, 1 + len(list(root.glob("zymu_*.csv")))):
        frame = _read(source, root, rules, f"zymu_{number}.csv")
        if len(frame) != len(covariates):
            raise ValueError(
                f"{source.name}: zymu_{number}.csv has {len(frame)} rows, x.csv has "
                f"{len(covariates)}"
            )
        frames[number] = frame
    return frames


class Kind(NamedTuple):
    """One kind of data: its loader, the files that it needs, and what it gives."""

    load: Callable
    needs: str
    gives: str


KINDS = {
    "bandit": Kind(
        _bandit,
        needs="POLICY/CAMPAIGN/CAMPAIGN.csv (random, bts; all, men, women) and item_context.csv",
        gives="dict, (policy, campaign) to its log, ('items', campaign) to the items' attributes",
    ),
    "prior": Kind(
        _prior,
        needs="a .yaml file with alpha and beta of each campaign",
        gives="dict, campaign to a frame of alpha and beta, one row per item",
    ),
    "ratings": Kind(
        _ratings,
        needs="NAME.inter, NAME.user, NAME.item (RecBole's form), or one table of ratings alone",
        gives="dict, 'ratings', 'users' and 'items' to their frames",
    ),
    "coat": Kind(
        coat,
        needs="train.ascii and test.ascii; optional user_item_features/*_features.ascii",
        gives="dict, 'train' and 'test' (items at random) to ratings, 'users', 'items' to features",
    ),
    "yahoo-r3": Kind(
        yahoo_r3,
        needs="ydata-ymusic-rating-study-v1_0-train.txt and -test.txt",
        gives="dict, 'train' and 'test' (items at random) to frames of user_id, item_id, rating",
    ),
    "experiment": Kind(
        _experiment,
        needs="a table with treat, age, educ, black, hisp, marr, nodegree, re74, re75, re78",
        gives="frame of these columns",
    ),
    "cytometry": Kind(
        _cytometry,
        needs="a table of the 11 proteins of Sachs and others",
        gives="frame of the 853 observational rows, columns named like nodes of network-sachs",
    ),
    "cytometry-conditions": Kind(
        _cytometry_conditions,
        needs="the table of all 7,466 cells of Sachs and others",
        gives="frame of all rows, columns as for cytometry and condition, a category",
    ),
    "network": Kind(_network, needs="a .bif or .bif.gz file", gives="`Network`"),
    "gaussian-network": Kind(
        _gaussian_network,
        needs="a .json file with nodes, arcs and cpds",
        gives="`GaussianNetwork`",
    ),
    "potential-outcomes": Kind(
        _potential_outcomes,
        needs="x.csv and zymu_1.csv, zymu_2.csv, ...",
        gives="dict, 'covariates' to a frame; 1, 2, ... to frames of z (treatment), y0, y1 "
        "(potential outcomes), mu0, mu1 (their expectations) of the same rows",
    ),
    "table": Kind(
        _read,
        needs="one file: " + ", ".join(_READERS),
        gives="frame as it stands in the file",
    ),
}
"""Name of a kind to its `Kind`: manifest, errors and the docstring of `load` are made from it."""
