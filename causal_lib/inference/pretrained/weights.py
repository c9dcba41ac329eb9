"""The file of the trained networks: written atomically and checked when read."""

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.features import (
    CELLS,
    NAMES_OF_FEATURES,
    OF_CANDIDATES,
    OF_TABLE,
    ROWS,
)
from causal_lib.inference.pretrained.network import EffectNetwork

PATH = Path(__file__).with_name("weights.safetensors")
FORMAT = 2
SIZES = (len(NAMES), len(CELLS), len(ROWS), len(OF_CANDIDATES), len(OF_TABLE))
FEATURES = sha256("\n".join(NAMES_OF_FEATURES).encode()).hexdigest()[:16]
"""By which a file says which candidates and features it was trained on."""
_WHAT = "weights of the pretrained learner"
_REMEDY = "install the package again, or make it anew by `causal-lib pretrain effects`"


@dataclass(frozen=True)
class Weights:
    """Trained networks, what `familiarity` and intervals need, and how they were made.

    Attributes
    ----------
    reference : of `familiarity.fit`; also levels and quantiles (q,): of the error in half-widths.
    about : format, features, options, limits, recipe, ...
    """

    networks: tuple[EffectNetwork, ...]
    reference: dict[str, np.ndarray]
    about: dict


def save(weights: Weights, path: Path = PATH) -> Path:
    """Write all of it through a temporary file."""
    tensors = {
        f"reference.{name}": torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        for name, value in weights.reference.items()
    }
    for number, network in enumerate(weights.networks):
        for name, value in network.state_dict().items():
            tensors[f"{number}.{name}"] = value.contiguous()
    part = Path(path).with_suffix(".part")
    save_file(tensors, part, metadata={"about": json.dumps(weights.about)})
    part.replace(path)
    return Path(path)


@lru_cache(maxsize=2)
def load(path: Path = PATH) -> Weights:
    """The networks of ``path``, ready to be used.

    Raises
    ------
    FileNotFoundError
        without the file.
    ValueError
        for a file that is cut short, altered, of another format, made for other features, or that
        lacks a tensor or has one of another shape.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{_WHAT}: no file {path}; {_REMEDY}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise ValueError(
                f"format {about['format']}, this version of the package reads {FORMAT}"
            )
        if about["features"] != FEATURES:
            raise ValueError("it was trained on other features than this version makes")
        networks = []
        for number in range(about["networks"]):
            network = EffectNetwork(*SIZES, **about["options"])
            state = {
                k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}.")
            }
            network.load_state_dict(state, strict=True)
            networks.append(network.eval())
        reference = {
            k.split(".", 1)[1]: v.double().numpy()
            for k, v in tensors.items()
            if k.startswith("reference.")
        }
        missing = {"levels", "quantiles", "points"} - set(reference)
        if missing or not networks:
            raise ValueError("it lacks " + ", ".join(sorted(missing) or ["networks"]))
    except (
        SafetensorError,
        KeyError,
        ValueError,
        RuntimeError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(f"{_WHAT}: {path} cannot be used ({error}); {_REMEDY}") from error
    bad = sorted(name for name, value in tensors.items() if not torch.isfinite(value).all())
    if bad:
        raise ValueError(f"{_WHAT}: {path}: {len(bad)} tensors are not finite; {_REMEDY}")
    return Weights(tuple(networks), reference, about)
