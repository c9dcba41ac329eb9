import numba
import pytest
from numba.core import caching

from causal_lib.discovery.compiled import njit


def double(x):
    return 2 * x


def test_the_machine_code_is_kept_on_disk_where_that_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert njit()(double)(4) == 8
    assert {path.suffix for path in tmp_path.rglob("*.nb*")} == {".nbi", ".nbc"}


def test_without_a_place_for_it_the_function_compiles_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(double)
    compiled = njit(nogil=True)(double)
    assert compiled(4) == 8
    assert compiled.targetoptions["nogil"]
    assert compiled.signatures  # by numba, not by Python


def test_another_fault_of_the_cache_is_not_hidden(monkeypatch):
    class Faulty:
        @classmethod
        def from_function(cls, *arguments):
            raise RuntimeError("something else")

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [Faulty])
    with pytest.raises(RuntimeError, match="something else"):
        njit()(double)
