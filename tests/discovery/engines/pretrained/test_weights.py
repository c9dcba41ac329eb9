"""A file of weights that is not what it should be is refused; no network ever starts from random
numbers instead.
"""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from causal_lib.discovery.engines.pretrained import weights as module
from causal_lib.discovery.engines.pretrained.weights import load, of_names, save


def altered(path, where, *, tensors=None, about=None):
    """A copy of the file of ``path`` at ``where`` with some of it replaced (None takes a tensor
    away).
    """
    with safe_open(path, framework="pt") as file:
        content = {name: file.get_tensor(name) for name in file.keys()} | (tensors or {})  # noqa: SIM118
        known = json.loads(file.metadata()["about"]) | (about or {})
    content = {name: value for name, value in content.items() if value is not None}
    save_file(content, where, metadata={"about": json.dumps(known)})
    return where


def test_what_is_written_is_read(tiny, trained, tmp_path):
    again = load(save(tiny, tmp_path / "again.safetensors"))
    assert again.about == tiny.about
    for one, other in zip(tiny.networks, again.networks, strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert {k: v.tolist() for k, v in again.reference.items()} == {
        k: v.tolist() for k, v in tiny.reference.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]


def test_a_file_tells_how_it_was_made(tiny):
    about = tiny.about
    assert about["recipe"]["seed"] == 0
    assert about["examples"]["sets"] == 50
    assert len(about["examples"]["hash"]) == 64
    assert {"torch", "torch-geometric", "numpy"} <= about["versions"].keys()
    assert about["limits"].keys() == {"distance", "disagreement"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7, 0.999])
def test_a_file_cut_short_is_refused(trained, tmp_path, share):
    content = trained.read_bytes()
    path = tmp_path / "short.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError,
        match=r"short.safetensors cannot be used .*; install the package again, or .*pretrain",
    ):
        load(path)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors cannot be used"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.*causal-lib pretrain"):
        load(tmp_path / "absent")


def test_a_tensor_that_lacks_or_has_another_shape_or_no_number_is_named(trained, tmp_path):
    name = "0.layers.0.norm.weight"
    with pytest.raises(ValueError, match=r"layers\.0\.norm\.weight"):
        load(altered(trained, tmp_path / "lacks", tensors={name: None}))
    with pytest.raises(ValueError, match=r"layers\.0\.norm\.weight"):
        load(altered(trained, tmp_path / "shape", tensors={name: torch.zeros(3)}))
    with pytest.raises(ValueError, match="1 tensors are not finite"):
        load(altered(trained, tmp_path / "nan", tensors={name: torch.full((64,), torch.nan)}))


def test_another_format_or_another_network_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="format 2, this version of the package reads 1"):
        load(altered(trained, tmp_path / "format", about={"format": 2}))
    with pytest.raises(ValueError, match="size mismatch"):
        load(altered(trained, tmp_path / "features", about={"pair_features": 7}))
    with pytest.raises(ValueError, match="Missing key"):
        load(altered(trained, tmp_path / "more", about={"networks": 3}))


def test_names_of_features_are_told_apart_in_any_order():
    assert of_names(("a", "b")) != of_names(("b", "a"))
    assert module.PATH.name == "weights.safetensors"
