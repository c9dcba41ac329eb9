"""The training sets of the pretrained discoverer: random data of every family, described and
labelled, kept on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import joblib
import numpy as np

from causal_lib import paths
from causal_lib.discovery.engines import additive
from causal_lib.discovery.engines.pretrained import features, pair_moments, table_form
from causal_lib.progress import progress_bar
from causal_lib.worlds import mechanisms, random_models, random_tables
from causal_lib.worlds.random_tables import FAMILIES, TROUBLES, draw, some_knowledge

SHARD = 50  # examples in a file
# of families that need more; 1 for the others
_SHARES = {"tables": 2.0, "mixed": 1.5, "additive nonlinear": 1.3}


@dataclass(frozen=True)
class Examples:
    """Some data sets, one after the other.

    nodes, pairs, index : as in `features.Features`, ``index`` counted within each data set.
    label : (pairs,) bool, whether i → j.
    variables, edges : (sets,) number of rows of ``nodes`` and ``pairs`` of each set.
    family : (sets,) number of the family in the order of `FAMILIES`, 100 more where something
        spoils it.
    """

    nodes: np.ndarray
    pairs: np.ndarray
    index: np.ndarray
    label: np.ndarray
    variables: np.ndarray
    edges: np.ndarray
    family: np.ndarray

    def __len__(self):
        return len(self.variables)

    def hash(self) -> str:
        """SHA-256 of everything."""
        return sha256(
            b"".join(np.ascontiguousarray(part).tobytes() for part in vars(self).values())
        ).hexdigest()


def example(seed: int | Sequence[int]):
    """One data set of a random family, size, trouble and knowledge: (features, label, family
    number).
    """
    rng = np.random.default_rng(seed)
    share = np.array([_SHARES.get(name, 1.0) for name in FAMILIES])
    number = int(rng.choice(len(share), p=share / share.sum()))
    low, high = (3, 31) if rng.random() < 0.85 else (30, 51)
    d = int(np.exp(rng.uniform(np.log(low), np.log(high))))
    troubles = (
        rng.choice(TROUBLES, size=1 + (rng.random() < 0.3), replace=False)
        if rng.random() < 0.45
        else []
    )
    sample = draw(list(FAMILIES)[number], rng, d=d, troubles=tuple(map(str, troubles)))
    knowledge = some_knowledge(sample, rng) if rng.random() < 0.35 else None
    found = features.describe(sample.frame, knowledge, seed=int(rng.integers(2**31)))
    true = sample.graph.adjacency[np.ix_(found.order, found.order)]
    return found, true[found.index[0], found.index[1]], number + 100 * (len(troubles) > 0)


def collect(seeds: Sequence[Sequence[int]]) -> Examples:
    """The examples of ``seeds``, in half precision."""
    made = [example(seed) for seed in seeds]
    return Examples(
        np.concatenate([one.nodes for one, _, _ in made]).astype(np.float16),
        np.concatenate([one.pairs for one, _, _ in made]).astype(np.float16),
        np.concatenate([one.index for one, _, _ in made], axis=1).astype(np.int16),
        np.concatenate([label for _, label, _ in made]),
        np.array([len(one.nodes) for one, _, _ in made], dtype=np.int32),
        np.array([len(one.pairs) for one, _, _ in made], dtype=np.int32),
        np.array([family for _, _, family in made], dtype=np.int16),
    )


def join(parts: Sequence[Examples]) -> Examples:
    """All ``parts`` as one."""
    fields = {
        k: np.concatenate([getattr(p, k) for p in parts], axis=int(k == "index"))
        for k in Examples.__dataclass_fields__
    }
    return Examples(**fields)


def make(
    count: int, seed: int, *, n_jobs: int = 2, folder: Path | None = None, progress: bool = True
) -> Examples:
    """``count`` examples (whole files of `SHARD`); those in ``folder`` already are read, the others
    made and kept there.
    """
    folder = Path(folder or paths.ROOT / "data" / "cache" / "pretrain" / _recipe())
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-count // SHARD))
    tasks = [joblib.delayed(_shard)(folder, seed, number) for number in numbers]
    done = joblib.Parallel(n_jobs, return_as="generator")(tasks)
    files = list(progress_bar(done, show=progress, desc="examples", total=len(tasks), unit="file"))
    return join([_load(path) for path in files])


def _shard(folder, seed, number):
    path = folder / f"{seed}-{number:05d}.npz"
    if not path.exists():
        found = collect([[seed, number, k] for k in range(SHARD)])
        part = path.with_suffix(f".{joblib.hash(found.label)[:8]}.part")
        with part.open("wb") as file:
            np.savez(file, **vars(found))
        part.replace(path)
    return path


def _load(path):
    with np.load(path) as file:
        return Examples(**{name: file[name] for name in file.files})


def _recipe():
    """Changes with the code that the examples come from."""
    text = b"".join(
        Path(module.__file__).read_bytes()
        for module in (
            random_tables,
            mechanisms,
            random_models,
            additive,
            table_form,
            pair_moments,
            features,
        )
    )
    return sha256(text + repr((SHARD, _SHARES)).encode() + Path(__file__).read_bytes()).hexdigest()[
        :12
    ]
