"""Where the boxes and lines of a drawn graph go: columns from left to right, no line behind a box.

A line that passes a column gets a place of its own there, between the boxes. Lines of one cause run
together until they part. Lengths are in any one unit, such as inches.

Source: Sugiyama, Tagawa and Toda 1981 (columns, places for long lines, order by barycentres).
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np
from scipy.optimize import isotonic_regression

_SWEEPS = 24
_LANE = 0.04  # height of the place of a line that passes a column


class Link(NamedTuple):
    """A line to be drawn from ``left`` to ``right``, in the order of the columns.

    Links with the same ``trunk`` start at the same box and run together until they part.
    """

    left: str
    right: str
    trunk: Hashable


class Lane(NamedTuple):
    """The place in a column that the links of a trunk pass."""

    trunk: Hashable
    column: int


class Piece(NamedTuple):
    """A line from a column to the next: straight to ``bend[0]``, a cubic Bézier curve, straight."""

    start: tuple[float, float]
    bend: tuple[tuple[float, float], ...]
    end: tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Boxes and lines.

    Attributes
    ----------
    centre : box -> (x, y) of its middle.
    lines : of each link, its pieces from left to right.
    """

    centre: Mapping[str, tuple[float, float]]
    lines: Sequence[Sequence[Piece]]


def columns(
    names: Sequence[str], edges: Sequence[tuple[str, str, bool]], tiers: Sequence[Sequence[str]]
) -> dict[str, int]:
    """Name -> column. Tiers come one after the other; inside a tier every edge leads to the right.

    Parameters
    ----------
    edges : (one, other, whether it is directed from one to the other). An edge that is not, or that
        closes a cycle, is taken in the order of ``names``.
    tiers : names from left to right; names without a tier come before them.
    """
    free = [name for name in names if not any(name in tier for tier in tiers)]
    found = {}
    start = 0
    for tier in filter(None, [free, *tiers]):
        inside = [edge for edge in edges if set(edge[:2]) <= set(tier)]
        order = _order([name for name in names if name in set(tier)], inside)
        for name in order:
            before = [found[a] for a, b in _oriented(inside, order) if b == name]
            found[name] = max(before, default=start - 1) + 1
        start = 1 + max(found[name] for name in order)
    return found


def _order(tier, edges):
    """The names of a tier so that directed edges lead forward, if they have no cycle."""
    directed = nx.DiGraph((a, b) for a, b, is_directed in edges if is_directed)
    directed.add_nodes_from(tier)
    if not nx.is_directed_acyclic_graph(directed):
        return tier
    return list(nx.lexicographical_topological_sort(directed, key=tier.index))


def _oriented(edges, order):
    """The pairs of ``edges``, each in the order of ``order``."""
    return [tuple(sorted(edge[:2], key=order.index)) for edge in edges]


def layered(
    column: Mapping[str, int],
    links: Sequence[Link],
    size: Mapping[str, tuple[float, float]],
    *,
    across: float = 0.6,
    between: float = 0.2,
) -> Layout:
    """The `Layout` of boxes of ``size`` (width, height) in their ``column``.

    ``across`` is the room between columns, ``between`` that between what stands in one column.
    """
    count = 1 + max(column.values())
    stacks = [[name for name in column if column[name] == c] for c in range(count)]
    hops_of = []
    for link in links:
        lanes = [Lane(link.trunk, c) for c in range(column[link.left] + 1, column[link.right])]
        for lane in lanes:
            if lane not in stacks[lane.column]:
                stacks[lane.column].append(lane)
        hops_of.append(list(pairwise([link.left, *lanes, link.right])))
    hops = list(dict.fromkeys(hop for of_link in hops_of for hop in of_link))
    stacks = _uncrossed(stacks, hops)
    height = {one: _LANE if isinstance(one, Lane) else size[one][1] for s in stacks for one in s}
    y = _heights(stacks, hops, height, between)
    left, right = _edges_of_columns(stacks, size, across)
    column = {one: c for c, stack in enumerate(stacks) for one in stack}
    middle = {one: (left[c] + right[c]) / 2 for one, c in column.items()}
    centre = {one: (middle[one], y[one]) for one in column if not isinstance(one, Lane)}
    start = _ports(hops, y, height, 0)
    end = _ports(hops, y, height, 1)
    pieces = {}
    for hop in hops:
        one, other = hop
        x0 = left[column[one]] if isinstance(one, Lane) else middle[one] + size[one][0] / 2
        x3 = left[column[other]] if isinstance(other, Lane) else middle[other] - size[other][0] / 2
        x1 = right[column[one]]
        x2 = left[column[other]]
        half = (x1 + x2) / 2
        a = start[hop]
        b = end[hop]
        pieces[hop] = Piece((x0, a), ((x1, a), (half, a), (half, b), (x2, b)), (x3, b))
    return Layout(centre, [[pieces[hop] for hop in of_link] for of_link in hops_of])


def _edges_of_columns(stacks, size, across):
    """Left and right end of each column."""
    left = []
    right = []
    x = 0.0
    for stack in stacks:
        width = max(size[one][0] for one in stack if not isinstance(one, Lane))
        left.append(x)
        right.append(x + width)
        x += width + across
    return left, right


def _uncrossed(stacks, hops):
    """The stacks, each ordered by the means of its neighbours' places: the best of some sweeps."""
    best = stacks
    fewest = _crossings(stacks, hops)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        stacks = list(stacks)
        for c in range(len(stacks)) if forward else reversed(range(len(stacks))):
            place = {one: i / max(len(s) - 1, 1) for s in stacks for i, one in enumerate(s)}
            sides = _neighbours(hops, 1 if forward else 0)

            def mean(one, place=place, sides=sides):
                near = sides.get(one)
                return np.mean([place[other] for other in near]) if near else place[one]

            stacks[c] = sorted(stacks[c], key=mean)
        found = _crossings(stacks, hops)
        if found < fewest:
            best = stacks
            fewest = found
    return best


def _neighbours(hops, side):
    """What stands at a ``side`` of the hops -> what stands at the other."""
    found = {}
    for hop in hops:
        found.setdefault(hop[side], []).append(hop[1 - side])
    return found


def _crossings(stacks, hops):
    place = {one: (c, i) for c, stack in enumerate(stacks) for i, one in enumerate(stack)}
    ends = np.array([(*place[a], place[b][1]) for a, b in hops]).reshape(-1, 3)
    same = ends[:, None, 0] == ends[None, :, 0]
    start = ends[:, None, 1] - ends[None, :, 1]
    end = ends[:, None, 2] - ends[None, :, 2]
    return int((same & (start * end < 0)).sum())


def _heights(stacks, hops, height, between):
    """What stands in a column -> its y: near its neighbours, in the order of the stack."""
    near = _neighbours(hops, 0)
    for one, others in _neighbours(hops, 1).items():
        near.setdefault(one, []).extend(others)
    offset = {}
    for stack in stacks:
        reach = 0.0
        for one in stack:
            reach += height[one] / 2
            offset[one] = reach
            reach += height[one] / 2 + between
    y = {
        one: offset[one] - (offset[stack[-1]] + offset[stack[0]]) / 2
        for stack in stacks
        for one in stack
    }
    for sweep in range(2 * _SWEEPS):
        for stack in stacks if sweep % 2 == 0 else reversed(stacks):
            wanted = [np.mean([y[other] for other in near.get(one, [one])]) for one in stack]
            # a lane that bends is worse than a box out of the middle
            weights = [4.0 if isinstance(one, Lane) else 1.0 for one in stack]
            base = np.array([offset[one] for one in stack])
            rising = isotonic_regression(np.array(wanted) - base, weights=weights).x
            y.update(zip(stack, (rising + base).tolist(), strict=True))
    return y


def _ports(hops, y, height, side):
    """Hop -> y of its end at a ``side``: spread over the box, sorted by where they go."""
    groups = {}
    for hop in hops:
        groups.setdefault(hop[side], []).append(hop)
    found = {}
    for one, group in groups.items():
        group = sorted(group, key=lambda hop: y[hop[1 - side]])
        room = 0.0 if isinstance(one, Lane) else 0.7 * height[one]
        step = min(room / max(len(group) - 1, 1), 0.14)
        for i, hop in enumerate(group):
            found[hop] = y[one] + step * (i - (len(group) - 1) / 2)
    return found
