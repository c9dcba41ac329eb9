"""What tests of several experiments share."""

import os

import pytest

from causal_lib import paths


@pytest.fixture
def real():
    """`load`, its test skipped where the data were never fetched; in CI nothing is."""

    def check(*names):
        if os.environ.get("CI") != "true" and not all(
            (paths.RAW / name).exists() for name in names
        ):
            pytest.skip(f"{', '.join(names)}: run causal-lib data fetch")

    return check
