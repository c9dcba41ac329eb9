"""The training tables of the pretrained learner of effects: drawn, described, kept on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import joblib
import numpy as np

from causal_lib import paths
from causal_lib.experiments.pretrained.effects import tables
from causal_lib.experiments.pretrained.effects.tables import FAMILIES, HELD_OUT, draw
from causal_lib.inference.nuisances import is_reversed, turned
from causal_lib.inference.pretrained import candidates, encoder, features, roles
from causal_lib.progress import progress_bar

SHARD = 50  # tables in a file
QUERIES = 128
_MOST = 1000.0  # of an expected outcome, in deviations of the outcome
NUMBERS = (*FAMILIES, *HELD_OUT)
"""Families by number."""


@dataclass(frozen=True)
class Examples:
    """Described tables with the truths of their fresh rows.

    cells, rows, candidates, table : of each table, as in `features.Cells` and `features.Table`.
    chances, outcomes : (tables, queries) and (tables, queries, 2, kinds), as in `features.Cells`.
    target : (tables, queries) (τ - average)/scale.
    truths : (tables, queries, 2) μ_0 and μ_1 of the standardised outcome.
    mean : (tables,) (mean of τ over the rows of the table - average)/scale.
    scale, average : (tables,) in deviations of the outcome.
    error : (tables,) standard error of the average, in scales.
    has_roles : (tables,) whether the role of a column is known.
    family : (tables,) position in `NUMBERS`.
    """

    cells: np.ndarray
    rows: np.ndarray
    candidates: np.ndarray
    table: np.ndarray
    chances: np.ndarray
    outcomes: np.ndarray
    target: np.ndarray
    truths: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    average: np.ndarray
    error: np.ndarray
    has_roles: np.ndarray
    family: np.ndarray

    def __len__(self):
        return len(self.family)

    def take(self, which: np.ndarray) -> "Examples":
        """The tables at these positions."""
        return Examples(**{name: part[which] for name, part in vars(self).items()})

    def hash(self) -> str:
        """SHA-256 of everything."""
        return sha256(
            b"".join(np.ascontiguousarray(part).tobytes() for part in vars(self).values())
        ).hexdigest()


def example(family: str, seed: int | Sequence[int], **sizes: int) -> dict[str, np.ndarray]:
    """One table, as the fields of `Examples`; ``sizes`` are those of `tables.draw`."""
    drawn = draw(family, seed, queries=QUERIES, **sizes)
    n = drawn.rows
    reverse = is_reversed(drawn.t, drawn.y)
    t = turned(drawn.t) if reverse else drawn.t
    found = candidates.fit(drawn.y, t, drawn.x[:n], drawn.groups, seed=0, roles=drawn.roles)
    described = features.describe_table(found)
    of_rows = features.describe_rows(described, found, drawn.x[n:])
    unit = drawn.y.std()
    effect = drawn.effect * (-1 if reverse else 1) / unit
    arms = np.column_stack([drawn.control, drawn.control + drawn.effect])[n:]
    arms = (arms[:, ::-1] if reverse else arms) - drawn.y.mean()
    scale = described.scale
    return {
        "cells": of_rows.cells.astype(np.float16),
        "rows": of_rows.rows.astype(np.float16),
        "candidates": described.candidates.astype(np.float32),
        "table": described.table.astype(np.float32),
        "chances": of_rows.chances.astype(np.float32),
        "outcomes": np.clip(of_rows.outcomes, -_MOST, _MOST).astype(np.float16),
        "target": ((effect[n:] - found.average) / scale).astype(np.float32),
        "truths": (arms / unit).astype(np.float32),
        "mean": np.float32((effect[:n].mean() - found.average) / scale),
        "scale": np.float32(scale),
        "average": np.float32(found.average),
        "error": np.float32(found.error / scale),
        "has_roles": np.bool_(set(drawn.roles) != {"unknown"}),
        "family": np.int16(NUMBERS.index(family)),
    }


def collect(names: Sequence[str], seeds: Sequence[Sequence[int]], **sizes: int) -> Examples:
    """The tables of these families and seeds."""
    made = [example(name, seed, **sizes) for name, seed in zip(names, seeds, strict=True)]
    return Examples(**{part: np.array([one[part] for one in made]) for part in made[0]})


def join(parts: Sequence[Examples]) -> Examples:
    """All ``parts`` as one."""
    return Examples(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Examples.__dataclass_fields__
        }
    )


def make(
    count: int,
    seed: int,
    *,
    names: Sequence[str] = tuple(FAMILIES),
    n_jobs: int = 2,
    folder: Path | None = None,
    progress: bool = True,
) -> Examples:
    """``count`` tables (whole files of `SHARD`), their families in turn.

    Those that are in ``folder`` are read, the others made and kept there.
    """
    folder = Path(folder or paths.ROOT / "data" / "cache" / "pretrain_effects" / _recipe())
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        joblib.delayed(_shard)(folder, tuple(names), seed, number)
        for number in range(-(-count // SHARD))
    ]
    done = joblib.Parallel(n_jobs, return_as="generator")(tasks)
    files = progress_bar(done, show=progress, desc="tables", total=len(tasks), unit="file")
    return join([_load(path) for path in list(files)])


def _shard(folder, names, seed, number):
    kind = "" if names == tuple(FAMILIES) else "-" + joblib.hash(names)[:8]
    path = folder / f"{seed}{kind}-{number:05d}.npz"
    if not path.exists():
        numbers = range(number * SHARD, (number + 1) * SHARD)
        found = collect([names[k % len(names)] for k in numbers], [[seed, k] for k in numbers])
        part = path.with_suffix(f".{joblib.hash(found.target)[:8]}.part")
        with part.open("wb") as file:
            np.savez(file, **vars(found))
        part.replace(path)
    return path


def _load(path):
    with np.load(path) as file:
        return Examples(**{name: file[name] for name in file.files})


def _recipe():
    """Changes with the code that the tables come from."""
    text = b"".join(
        Path(module.__file__).read_bytes()
        for module in (tables, roles, encoder, candidates, features)
    )
    return sha256(text + Path(__file__).read_bytes()).hexdigest()[:12]
