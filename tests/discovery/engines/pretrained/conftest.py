"""Weights of a recipe so small that they are of no use, made once for all tests here."""

import numpy as np
import pytest

from causal_lib.discovery.engines.pretrained.weights import load
from causal_lib.experiments.pretrained import recipe as recipes
from causal_lib.experiments.pretrained.examples import make
from causal_lib.worlds.random_tables import draw

TINY = recipes.Recipe(examples=50, validation=50, familiar=2, networks=2, steps=20)


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A folder of examples that stays for the session."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, kept):
    """The path of the weights of `TINY`."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    patch = pytest.MonkeyPatch()
    patch.setattr(
        recipes,
        "make",
        lambda count, seed, **how: make(count, seed, folder=kept, n_jobs=1, progress=False),
    )
    recipes.pretrain(TINY, path, n_jobs=1, progress=False)
    patch.undo()
    return path


@pytest.fixture(scope="session")
def tiny(trained):
    """Those weights."""
    return load(trained)


@pytest.fixture(scope="session")
def mixed():
    """A small table of every kind of column and its graph."""
    return draw("mixed", [11, 5], d=6, n=300)


@pytest.fixture
def rng():
    """Random numbers."""
    return np.random.default_rng(0)
