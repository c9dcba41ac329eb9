"""Former names lead to the same objects, with a warning that says where they are now."""

import importlib
import sys

import pytest

from causal_lib import _former


@pytest.mark.parametrize("name", _former.MODULES)
def test_a_former_module_is_the_module_of_today(name, monkeypatch):
    monkeypatch.delitem(sys.modules, name, raising=False)
    now = importlib.import_module(_former.MODULES[name])
    with pytest.warns(DeprecationWarning, match=f"{name} is now {now.__name__}"):
        found = importlib.import_module(name)
    assert found is now
    assert now.__spec__.name == now.__name__


@pytest.mark.parametrize("room", _former.NAMES)
def test_a_former_name_is_the_object_of_today(room):
    for name, place in _former.NAMES[room].items():
        with pytest.warns(DeprecationWarning, match=f"{room}.{name} is now {place}.{name}"):
            found = getattr(importlib.import_module(room), name)
        assert found is getattr(importlib.import_module(place), name)
