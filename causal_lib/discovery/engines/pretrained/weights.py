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

from causal_lib.discovery.engines.pretrained.network import PairNetwork

PATH = Path(__file__).with_name("weights.safetensors")
FORMAT = 1


@dataclass(frozen=True)
class Weights:
    """Trained networks, the reference of `familiarity`, and how they were made.

    about : format, features (hash of their names), node_features, pair_features, options,
        temperature, recipe, ...
    """

    networks: tuple[PairNetwork, ...]
    reference: dict[str, np.ndarray]
    about: dict


def of_names(names: tuple[str, ...]) -> str:
    """The hash by which a file says which features it was trained on."""
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def save(weights: Weights, path: Path = PATH) -> Path:
    """Write all of it, in half precision where that is enough, through a temporary file."""
    tensors = {
        f"reference.{name}": torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        for name, value in weights.reference.items()
    }
    for number, network in enumerate(weights.networks):
        for name, value in network.state_dict().items():
            tensors[f"{number}.{name}"] = value if name.endswith("_scale") else value.half()
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
        for a file that is cut short, altered, of another format, or that lacks a tensor or has one
        of another shape.
    """
    remedy = "install the package again, or make it anew by `causal-lib pretrain`"
    if not Path(path).exists():
        raise FileNotFoundError(f"weights of the pretrained discoverer: no file {path}; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise ValueError(
                f"format {about['format']}, this version of the package reads {FORMAT}"
            )
        networks = []
        for number in range(about["networks"]):
            network = PairNetwork(
                about["node_features"], about["pair_features"], **about["options"]
            )
            state = {
                k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}.")
            }
            network.load_state_dict(state, strict=True)
            networks.append(network.eval())
        reference = {
            k.split(".", 1)[1]: v.numpy() for k, v in tensors.items() if k.startswith("reference.")
        }
    except (
        SafetensorError,
        KeyError,
        ValueError,
        RuntimeError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(
            f"weights of the pretrained discoverer: {path} cannot be used ({error}); {remedy}"
        ) from error
    bad = sorted(name for name, value in tensors.items() if not torch.isfinite(value).all())
    if bad:
        raise ValueError(
            f"weights of the pretrained discoverer: {path}: {len(bad)} tensors are not finite; "
            f"{remedy}"
        )
    return Weights(tuple(networks), reference, about)
