"""A file of weights that is not what it should be is refused."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from causal_lib.inference.pretrained.weights import load, save


def altered(path, where, *, tensors=None, about=None):
    """A copy of ``path`` with some of it replaced (None takes a tensor away)."""
    with safe_open(path, framework="pt") as file:
        content = {name: file.get_tensor(name) for name in file.keys()} | (tensors or {})  # noqa: SIM118
        known = json.loads(file.metadata()["about"]) | (about or {})
    content = {name: value for name, value in content.items() if value is not None}
    save_file(content, where, metadata={"about": json.dumps(known)})
    return where


def test_what_is_written_is_read(trained_on_effects, tmp_path):
    first = load(trained_on_effects)
    again = load(save(first, tmp_path / "again.safetensors"))
    assert again.about == first.about
    for one, other in zip(first.networks, again.networks, strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert {k: v.tolist() for k, v in again.reference.items()} == {
        k: v.tolist() for k, v in first.reference.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]


def test_a_file_tells_how_it_was_made(trained_on_effects):
    about = load(trained_on_effects).about
    assert about["recipe"]["examples"] == 8
    assert about["examples"]["tables"] == 8
    assert len(about["examples"]["hash"]) == 64
    assert {"torch", "lightgbm", "numpy"} <= about["versions"].keys()
    assert about["limits"].keys() == {"distance", "disagreement"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7, 0.999])
def test_a_file_cut_short_is_refused(trained_on_effects, tmp_path, share):
    content = trained_on_effects.read_bytes()
    path = tmp_path / "short.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError,
        match=r"short.safetensors cannot be used .*; install the package again, or .*pretrain effects",
    ):
        load(path)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors cannot be used"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.*causal-lib pretrain effects"):
        load(tmp_path / "absent")


def test_a_tensor_that_lacks_or_has_another_shape_or_no_number_is_named(
    trained_on_effects, tmp_path
):
    name = "0.norm.weight"
    with pytest.raises(ValueError, match=r"norm\.weight"):
        load(altered(trained_on_effects, tmp_path / "lacks", tensors={name: None}))
    with pytest.raises(ValueError, match=r"norm\.weight"):
        load(altered(trained_on_effects, tmp_path / "shape", tensors={name: torch.zeros(3)}))
    with pytest.raises(ValueError, match="1 tensors are not finite"):
        load(
            altered(
                trained_on_effects, tmp_path / "nan", tensors={name: torch.full((32,), torch.nan)}
            )
        )
    with pytest.raises(ValueError, match="it lacks quantiles"):
        load(altered(trained_on_effects, tmp_path / "none", tensors={"reference.quantiles": None}))


def test_another_format_or_other_features_are_refused(trained_on_effects, tmp_path):
    with pytest.raises(ValueError, match="format 3, this version of the package reads 2"):
        load(altered(trained_on_effects, tmp_path / "format", about={"format": 3}))
    with pytest.raises(ValueError, match="trained on other features than this version makes"):
        load(altered(trained_on_effects, tmp_path / "features", about={"features": "0"}))
    with pytest.raises(ValueError, match="Missing key"):
        load(altered(trained_on_effects, tmp_path / "more", about={"networks": 3}))
    with pytest.raises(ValueError, match="it lacks networks"):
        load(altered(trained_on_effects, tmp_path / "fewer", about={"networks": 0}))
