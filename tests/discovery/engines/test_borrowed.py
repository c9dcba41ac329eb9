from typing import NamedTuple

import numba
import numpy as np

from causal_lib.discovery.engines.borrowed import borrow_arrays


class Pieces(NamedTuple):
    matrix: np.ndarray
    flags: np.ndarray
    number: float


@numba.njit
def write(pieces):
    borrowed = borrow_arrays(pieces)
    borrowed.matrix[1, 2] = borrowed.number
    borrowed.flags[0] = True
    row = borrowed.matrix[1]
    return row.sum()


def test_borrowed_arrays_are_the_same_arrays():
    pieces = Pieces(np.arange(6.0).reshape(2, 3), np.zeros(2, dtype=bool), 10.5)
    assert write(pieces) == 3 + 4 + 10.5
    assert pieces.matrix.tolist() == [[0, 1, 2], [3, 4, 10.5]]
    assert pieces.flags.tolist() == [True, False]


def test_no_reference_is_lost_or_left():
    pieces = Pieces(np.ones((2, 3)), np.zeros(2, dtype=bool), 2.0)
    for _ in range(1000):
        write(pieces)
    assert pieces.matrix.tolist() == [[1, 1, 1], [1, 1, 2]]  # still alive
