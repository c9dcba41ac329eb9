from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.layout import Link, columns, layered


@st.composite
def drawings(draw):
    """Boxes of several sizes and edges among them, as (names, edges, size)."""
    names = [f"v{i}" for i in range(draw(st.integers(2, 8)))]
    pairs = list(combinations(names, 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=16))
    edges = [(a, b, draw(st.booleans())) for a, b in chosen]
    size = {name: (draw(st.floats(0.2, 2)), draw(st.floats(0.1, 1))) for name in names}
    return names, edges, size


def points_of(piece):
    """(60, 2) points along a piece: its straight parts and its Bézier curve."""
    t = np.linspace(0, 1, 20)[:, None]
    start, end, bend = np.array(piece.start), np.array(piece.end), np.array(piece.bend)
    powers = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    curve = sum(power * point for power, point in zip(powers, bend, strict=True))
    before = start + t * (bend[0] - start)
    after = bend[3] + t * (end - bend[3])
    return np.vstack([before, curve, after])


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_no_line_enters_a_box_and_no_two_boxes_meet(drawing):
    names, edges, size = drawing
    column = columns(names, edges, [])
    links = [Link(*sorted((a, b), key=column.get), trunk=(a, b)) for a, b, _ in edges]
    found = layered(column, links, size)
    half = {name: np.array(size[name]) / 2 for name in names}
    for one, other in combinations(names, 2):
        apart = np.abs(np.subtract(found.centre[one], found.centre[other]))
        assert (apart >= half[one] + half[other] - 1e-9).any()
    for link, pieces in zip(links, found.lines, strict=True):
        points = np.vstack([points_of(piece) for piece in pieces])
        for name in names:
            away = np.abs(points - found.centre[name])
            assert not (away < half[name] - 1e-9).all(axis=1).any(), (link, name)
        for name, end, side in ((link.left, points[0], 1), (link.right, points[-1], -1)):
            x, y = found.centre[name]
            assert end[0] == pytest.approx(x + side * half[name][0])
            assert abs(end[1] - y) < half[name][1]


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_a_directed_edge_without_a_cycle_leads_to_the_right(drawing):
    names, edges, _ = drawing
    column = columns(names, edges, [])  # edges go from a name to a later one: there is no cycle
    for a, b, directed in edges:
        assert column[a] != column[b]
        assert not directed or column[a] < column[b]


def test_tiers_follow_each_other_and_names_without_one_come_first():
    edges = [("c", "b", True), ("b", "a", False), ("a", "free", True)]
    found = columns(["a", "b", "c", "free"], edges, [["a", "c"], ["b"]])
    assert found == {"free": 0, "a": 1, "c": 1, "b": 2}


def test_a_cycle_is_drawn_in_the_order_of_the_names():
    edges = [("a", "b", True), ("b", "c", True), ("c", "a", True)]
    assert columns(["a", "b", "c"], edges, []) == {"a": 0, "b": 1, "c": 2}


def test_lines_of_one_trunk_run_together_until_they_part():
    size = dict.fromkeys("abcd", (1.0, 0.4))
    column = {"a": 0, "b": 1, "c": 2, "d": 3}
    chain = [Link(*pair, trunk=pair) for pair in ("ab", "bc", "cd")]
    found = layered(column, [*chain, Link("a", "c", "t"), Link("a", "d", "t")], size)
    *_, shorter, longer = found.lines
    assert shorter[0] == longer[0]
    assert shorter[1] != longer[1]
    apart = layered(column, [*chain, Link("a", "c", "t"), Link("a", "d", "u")], size)
    assert apart.lines[-2][0] != apart.lines[-1][0]


def test_two_crossing_lines_are_uncrossed():
    """a -> d and b -> c cross where the columns keep the order of the names."""
    column = {"a": 0, "b": 0, "c": 1, "d": 1}
    links = [Link("a", "d", 0), Link("b", "c", 1)]
    place = layered(column, links, dict.fromkeys("abcd", (1.0, 0.4))).centre
    assert (place["a"][1] < place["b"][1]) == (place["d"][1] < place["c"][1])
