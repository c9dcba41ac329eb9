"""Parts of the benchmark of ranking metrics by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from causal_lib.experiments.models import rankings as study


def interactions(users, items, shape):
    """Pairs as the benchmark reads them."""
    return SimpleNamespace(
        users=np.array(users),
        items=np.array(items),
        matrix=lambda: sparse.csr_array((np.ones(len(users)), (users, items)), shape=shape),
        __len__=lambda: len(users),
    )


def test_recall_by_user_weighs_the_clicks_of_each_user():
    test = interactions([0, 0, 1], [1, 2, 0], (3, 4))
    top = np.array([[2, 3], [1, 2], [0, 1]])  # user 2 has no click and is left out
    found = study._recall_by_user(top, test, weight=np.array([1.0, 3.0, 5.0]))
    assert found == pytest.approx((3 / 4 + 0) / 2)


def test_expected_clicks_are_those_of_the_last_days_on_what_was_not_seen():
    rows = pd.DataFrame({"user_id": [0, 0, 1, 1], "item_id": [0, 1, 1, 1], "day": [0, 8, 9, 8]})
    world = SimpleNamespace(candidates=rows)
    preference = np.array([[0.1, 0.2], [0.3, 0.4]])
    seen = sparse.csr_array(np.array([[0, 1], [0, 0]]))
    found = study._expected_clicks(world, preference, seen)
    assert found == pytest.approx(np.array([[0, 0], [0, 0.8]]))
