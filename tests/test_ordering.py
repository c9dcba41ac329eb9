"""The order of rows and columns depends on their values alone."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.ordering import canonical_order


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("pqr"), st.integers(0, 2)),
        min_size=2,
        max_size=12,
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_rows_have_an_order_of_their_values_alone(rows, shuffle):
    def table(rows):
        a, b, y = zip(*rows, strict=True)
        x = pd.DataFrame({"a": a, "b": pd.Categorical(b, categories=list("pqr"))})
        return x, np.array(y)

    moved = list(rows)
    shuffle.shuffle(moved)
    orders = []
    for given_rows in (rows, moved):
        order = canonical_order(*table(given_rows))
        assert sorted(order.tolist()) == list(range(len(rows)))
        orders.append([given_rows[k] for k in order])
    assert orders[0] == orders[1]
