"""Settings and worlds that several tests share."""

import os

os.environ.setdefault("MPLBACKEND", "agg")
# a bar appears after some seconds, so only on a busy machine: see causal_lib.progress
os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from scipy.stats import chi2

from causal_lib import progress
from causal_lib.worlds.online_shop import shop
from tests.databases import database
from tests.mysql import kill_connection, mariadb, mysql_url

__all__ = ["database", "kill_connection", "mariadb", "mysql_url"]  # fixtures, for whoever asks

# Derandomised, so that a red run is red again. Neither a deadline nor a check of how long drawing
# takes: the machine may be busy.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture
def bars_at_once(monkeypatch):
    """A bar that is not hidden appears with the first step, not after seconds: who is silent now is
    so on a busy machine, too.
    """
    shown = progress.tqdm
    monkeypatch.setattr(
        progress, "tqdm", lambda *given, **options: shown(*given, **options | {"delay": 0})
    )


@pytest.fixture(scope="session")
def world():
    """A small shop, about 16,000 candidates."""
    return shop(n_users=500, n_items=100, days=7, seed=1)


@pytest.fixture(scope="session")
def log(world):
    return world.log()


# ---- standard errors -----------------------------------------------------------------------------

DRAWS = 1000
_MISSED = 2e-4  # chance that right standard errors are called wrong, on either side


def check_pivot(z):
    """Fail unless the distances ``z`` = (estimate - truth) / standard error of independent draws
    are standard normal.

    The mean may be 4 of its standard errors from 0. The standard deviation must lie between two
    quantiles of its sampling distribution, which are so close together that errors 15% too small
    cannot pass where right ones do.
    """
    z = np.asarray(z, dtype=float)
    low, high = np.sqrt(chi2.ppf([_MISSED, 1 - _MISSED], len(z) - 1) / (len(z) - 1))
    assert low / 0.85 > high, f"{len(z)} draws are too few to tell an error that is 15% too small"
    assert abs(z.mean()) < 4 / np.sqrt(len(z)), (
        f"mean distance {z.mean():.3f}: the estimates are biased"
    )
    assert low < z.std(ddof=1) < high, (
        f"distances have the deviation {z.std(ddof=1):.3f}: the errors are wrong"
    )


@pytest.fixture(name="check_pivot", scope="session")
def _check_pivot():
    return check_pivot


@pytest.fixture(scope="session")
def draws():
    """How many draws `check_pivot` needs."""
    return DRAWS


@pytest.fixture(scope="session")
def fingerprint():
    """One number of tables or arrays, in which every value has a weight of its own: equal tables
    have equal ones.
    """

    def weighed(values, k):
        values = np.asarray(values)
        there = ~pd.isna(values)
        codes = (
            pd.factorize(values, sort=True)[0]
            if values.dtype == object
            else np.where(there, values, 0).astype(float)
        )
        weight = 1 + np.sin((k + 1) * (1 + np.arange(len(values))))
        return float((weight * (codes + 0.37 * ~there)).sum() / len(values))

    def of(*tables):
        columns = []
        for table in tables:
            table = (
                pd.DataFrame(np.reshape(table, (len(table), -1)))
                if isinstance(table, np.ndarray)
                else table
            )
            for name in table:
                column = table[name]
                column = (
                    column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
                )
                columns.append(
                    column.to_numpy(
                        dtype=object if column.dtype == "str" else float, na_value=np.nan
                    )
                )
        return sum(weighed(values, k) for k, values in enumerate(columns))

    return of


# ---- the pretrained discoverer ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A folder of examples that stays for the session."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, kept):
    """The path of weights of a recipe so small that they are of no use, made once for all tests."""
    from causal_lib.experiments.pretrained import recipe as recipes
    from causal_lib.experiments.pretrained.examples import make

    recipe = recipes.Recipe(examples=50, validation=50, familiar=2, networks=2, steps=20)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    patch = pytest.MonkeyPatch()
    patch.setattr(
        recipes,
        "make",
        lambda count, seed, **how: make(count, seed, folder=kept, n_jobs=1, progress=False),
    )
    recipes.pretrain(recipe, path, n_jobs=1, progress=False)
    patch.undo()
    return path


@pytest.fixture(scope="session")
def tiny(trained):
    """Those weights."""
    from causal_lib.discovery.engines.pretrained.weights import load

    return load(trained)


# ---- the pretrained learner of effects --------------------------------------------------------------


@pytest.fixture(scope="session")
def few_tables(tmp_path_factory):
    """A folder of described tables, eight a file, that stays for the session."""
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="session")
def trained_on_effects(tmp_path_factory, few_tables):
    """The path of weights of effects of a recipe so small that they are of no use."""
    from causal_lib.experiments.pretrained.effects import examples
    from causal_lib.experiments.pretrained.effects.recipe import Recipe, pretrain

    recipe = Recipe(examples=8, validation=8, familiar=6, networks=2, steps=5)
    path = tmp_path_factory.mktemp("weights") / "effects.safetensors"
    patch = pytest.MonkeyPatch()
    patch.setattr(examples, "SHARD", 8)
    pretrain(recipe, path, folder=few_tables, n_jobs=1, progress=False)
    patch.undo()
    return path


@pytest.fixture
def tiny_effects(trained_on_effects, monkeypatch):
    """Those weights, in the place of the package's."""
    from causal_lib.inference.pretrained import learner
    from causal_lib.inference.pretrained.weights import load

    weights = load(trained_on_effects)
    monkeypatch.setattr(learner, "load", lambda: weights)
    return weights


@pytest.fixture(scope="session")
def mixed():
    """A small table of every kind of column and its graph."""
    from causal_lib.worlds.random_tables import draw

    return draw("mixed", [11, 5], d=6, n=300)


@pytest.fixture
def rng():
    """Random numbers."""
    return np.random.default_rng(0)
