"""A file of one's own to load, and an empty database on each kind of server for the store."""

import pytest

from causal_lib.data import sources


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'shop.sqlite'}"


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mysql", marks=[pytest.mark.mysql, pytest.mark.xdist_group("mysql")]),
    ]
)
def url(request):
    """URL of an empty database, once on SQLite and once on MySQL."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def own(tmp_path):
    """Write a manifest entry for a file of one's own and load it."""

    def load(kind, path, call=sources.load):
        manifest = tmp_path / "sources.toml"
        manifest.write_text(f"[own]\nkind = '{kind}'\npath = '{path}'\n", encoding="utf-8")
        return call("own", manifest=manifest, raw=tmp_path / "raw")

    return load
