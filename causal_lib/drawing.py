"""A graph, and intervals, as SVG for a page or a notebook: its texts can be read aloud and have the
fonts of the reader's browser; the edges of a graph can be chosen.

The places of boxes and lines are those of `layout`, as in `plots.graph`. What an edge means is told
by its heads and by its dashes, never by colour; lines have the colour of the text around them.
"""

import math
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import NamedTuple

from causal_lib.layout import Link, columns, layered

SIGNS = {
    "->": ("", "cause"),
    "--": ("9 4", "direction open"),
    "<->": ("2 4", "hidden common cause"),
    "o->": ("9 4 2 4", "cause, or hidden common cause"),
    "o-o": ("5 3", "direction open, or hidden common cause"),
}
"""What stands between two variables -> dashes of the line, and what it means."""
MOST_EDGES = 200  # of more a drawing says nothing
_INCH = 96  # pixels
_LETTER = 7.6  # width of a letter of the names, at 13 pixels
_LINE = 16
_LONGEST = 22  # letters of a name in one line
_PAPER = "var(--jp-layout-color0, Canvas)"
_WIDE = 340  # pixels of the scale of intervals
_ROW = 26
_TICKS = 6  # at most


def graph_svg(
    names: Sequence[str],
    triples: Sequence[tuple[str, str, str]],
    *,
    tiers: Sequence[Sequence[str]] = (),
    doubtful: Collection[tuple[str, str]] = (),
    choosable: bool = False,
    told: Callable[[tuple[str, str, str]], str] | None = None,
) -> str:
    """The drawing, left to right: by ``tiers``, then causes before effects.

    Parameters
    ----------
    triples : (variable, sign, variable) of each edge, as of `CausalGraph.triples`.
    tiers : of names from left to right; those that are not drawn are passed over.
    doubtful : (variable, variable) of edges to be drawn thin.
    choosable : an edge is a button with its place among ``triples`` in ``data-edge``.
    told : what an edge means, for who hears it or points at it; English by default.
    """
    if not names:
        return ""
    none = ", ".join(names)
    if told is None:
        told = _told
        none = f"no edges among {none}"
    directed = [(a, b, sign in ("->", "o->")) for a, sign, b in triples]
    known = set(names)
    tiers = [[name for name in tier if name in known] for tier in tiers]
    column = columns(list(names), directed, [tier for tier in tiers if tier])
    links = [_link(triple, column) for triple in triples]
    lines = {name: _lines(name) for name in names}
    ports = {name: max(_ports(links, name)) for name in names}
    size = {name: _size(parts, ports[name]) for name, parts in lines.items()}
    place = layered(column, links, size, across=0.7)
    corners = [
        (x + side * size[name][0] / 2, y + side * size[name][1] / 2)
        for name, (x, y) in place.centre.items()
        for side in (-1, 1)
    ] + [point for line in place.lines for piece in line for point in piece.bend]
    low = [min(point[axis] for point in corners) - 0.08 for axis in (0, 1)]
    high = [max(point[axis] for point in corners) + 0.08 for axis in (0, 1)]

    def at(point):
        # y grows downwards here
        return (_INCH * (point[0] - low[0]), _INCH * (high[1] - point[1]))

    drawn = [
        _edge(number, told(triple), triple, link, pieces, at, triple[::2] in doubtful, choosable)
        for number, (triple, link, pieces) in enumerate(
            zip(triples, links, place.lines, strict=True)
        )
    ]
    drawn += [_box(lines[name], at(place.centre[name]), size[name], name) for name in names]
    width, height = (_INCH * (high[axis] - low[axis]) for axis in (0, 1))
    role = "group" if choosable else "img"
    label = "; ".join(map(told, triples)) or none
    return (
        f'<svg role="{role}" aria-label="{escape(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="13" fill="currentColor" '
        f'stroke="none" style="display: block">{"".join(drawn)}</svg>'
    )


def legend(meanings: Mapping[str, str]) -> str:
    """What the lines mean: sign -> words."""
    items = []
    for sign, meaning in meanings.items():
        dashes = SIGNS[sign][0]
        line = _stroke([(4, 8), (56, 8)], dashes, 1.4) + _marks(sign, (4, 8), (56, 8), True)
        items.append(
            '<span style="display: inline-flex; align-items: center; gap: .4em; margin-right: 1em">'
            f'<svg aria-hidden="true" width="60" height="16" fill="currentColor">{line}</svg>'
            f"{escape(meaning)}</span>"
        )
    return f'<div style="font-size: .9em">{"".join(items)}</div>'


class Interval(NamedTuple):
    """A value (dot) with its interval, named on the left; an end that is None is not drawn.

    ``beside`` is a number that it is compared with, drawn as a square.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    colour: str
    beside: float | None = None


def intervals_svg(rows: Sequence[Interval], *, label: str) -> str:
    """Intervals below each other on one scale that holds zero; ``label`` stands below the scale."""
    seen = [0.0, *(one for row in rows for one in (*row[1:4], row.beside) if one is not None)]
    ticks = _ticks(min(seen), max(seen))
    left = max(_width(row.name) for row in rows) + 14
    least = min(seen[0], ticks[0], *seen)
    most = max(ticks[-1], *seen)
    scale = (_WIDE - 24) / ((most - least) or 1.0)
    bottom = _ROW * len(rows) + 6

    def at(value):
        return left + 12 + scale * (value - least)

    drawn = [
        f'<path d="M{left:.1f},4 V{bottom} H{left + _WIDE:.1f}" fill="none" '
        'stroke="currentColor" stroke-width="0.8"/>',
        f'<path d="M{at(0.0):.1f},4 V{bottom}" stroke="#7f7f7f" stroke-width="1"/>',
    ]
    for tick in ticks:
        drawn.append(
            f'<path d="M{at(tick):.1f},{bottom} v4" stroke="currentColor" stroke-width="0.8"/>'
            f'<text x="{at(tick):.1f}" y="{bottom + 18}" text-anchor="middle" font-size="12">'
            f"{tick:.10g}</text>"
        )
    for number, row in enumerate(rows):
        drawn.append(_interval(row, left, _ROW * number + _ROW / 2 + 3, at))
    middle = left + _WIDE / 2
    drawn.append(
        f'<text x="{middle:.1f}" y="{bottom + 38}" text-anchor="middle">{escape(label)}</text>'
    )
    # a long label may reach beyond the scale
    half = _width(label) / 2 + 4
    start = min(0.0, middle - half)
    width = max(left + _WIDE + 8, middle + half) - start
    height = bottom + 46
    said = "; ".join(
        f"{row.name}: {row.value:.4g}"
        + (f" ({row.low:.4g}, {row.high:.4g})" if None not in (row.low, row.high) else "")
        for row in rows
    )
    return (
        f'<svg role="img" aria-label="{escape(said)}" '
        f'viewBox="{start:.0f} 0 {width:.0f} {height}" '
        f'width="{width:.0f}" font-size="13" fill="currentColor" stroke="none" '
        f'style="display: block; max-width: 100%; height: auto">{"".join(drawn)}</svg>'
    )


def _interval(row, left, y, at):
    low = row.value if row.low is None else row.low
    high = row.value if row.high is None else row.high
    x = at(row.value)
    ends = "".join(f" M{at(end):.1f},{y - 4:.1f} v8" for end in (low, high))
    drawn = (
        f'<text x="{left - 8:.1f}" y="{y + 4.5:.1f}" text-anchor="end">{escape(row.name)}</text>'
        f'<path d="M{at(low):.1f},{y:.1f} H{at(high):.1f}{ends}" fill="none" '
        f'stroke="{row.colour}" stroke-width="1.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{row.colour}"/>'
    )
    if row.beside is not None:
        drawn += (
            f'<rect x="{at(row.beside) - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="none" '
            'stroke="currentColor" stroke-width="1.4"/>'
        )
    return f"<g>{drawn}</g>"


def _ticks(low, high):
    """A few round numbers within [low, high].

    >>> _ticks(0.0, 270.0)
    [0.0, 50.0, 100.0, 150.0, 200.0, 250.0]
    """
    if low == high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(
        size * power for size in (1, 2, 5, 10, 20) if (high - low) / (size * power) <= _TICKS
    )
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def graph_html(
    names: Sequence[str],
    triples: Sequence[tuple[str, str, str]],
    kind: str,
    tiers: Sequence[Sequence[str]] = (),
) -> str | None:
    """The drawing with its legend for a notebook; None for a graph with too many edges."""
    if len(triples) > MOST_EDGES or not names:
        return None
    drawn = graph_svg(names, triples, tiers=tiers)
    drawn_signs = {sign for _, sign, _ in triples}
    meanings = {sign: words for sign, (_, words) in SIGNS.items() if sign in drawn_signs}
    told = f"{kind} of {len(names)} variables, {len(triples)} edges"
    return (
        '<figure style="margin: 0; color: var(--jp-content-font-color1, inherit)">'
        f'<figcaption>{told}</figcaption><div style="overflow-x: auto">{drawn}</div>'
        f"{legend(meanings)}</figure>"
    )


def _told(triple):
    one, sign, other = triple
    if sign == "->":
        return f"{one} is a cause of {other}"
    meaning = SIGNS.get(sign, ("", "undetermined"))[1]
    return f"{one} {sign} {other} ({meaning})"


def _link(triple, column):
    """The line from left to right. Tails without a mark run together."""
    left, right = sorted(triple[::2], key=column.get)
    bare = triple[1][0 if left == triple[0] else -1] == "-" and triple[1] != "--"
    return Link(left, right, (left, triple[1]) if bare else triple)


def _lines(name):
    """The name in lines that are no longer than a box should be."""
    parts = [
        line for part in name.replace("_", "_\n").split("\n") for line in
        textwrap.wrap(part, _LONGEST, drop_whitespace=False) or [part]
    ]  # fmt: skip
    lines = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) <= 12:
            lines[-1] += part
        else:
            lines.append(part)
    return [line for line in lines if line] or [" "]


def _ports(links, name):
    """How many lines end at the box, on its left and on its right."""
    return (
        sum(link.right == name for link in links),
        len({link.trunk for link in links if link.left == name}),
    )


def _size(lines, ports):
    """Width and height in inches of a box that ``ports`` lines reach on one side."""
    wide = max(map(_width, lines))
    return (wide + 16) / _INCH, max(_LINE * len(lines) + 8, 18 * ports) / _INCH


def _width(line):
    """Pixels of a line of text, as browsers draw it about."""
    return sum(13.0 if unicodedata.east_asian_width(one) in "WF" else _LETTER for one in line)


def _box(lines, centre, size, name):
    x, y = centre
    width = _INCH * size[0]
    height = _INCH * size[1]
    top = y - _LINE * (len(lines) - 1) / 2 + 4.5
    texts = "".join(
        f'<text x="{x:.1f}" y="{top + _LINE * row:.1f}" text-anchor="middle">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
    return (
        f"<g><title>{escape(name)}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="5" stroke="currentColor" style="fill: {_PAPER}"/>{texts}</g>'
    )


def _edge(number, said, triple, link, pieces, at, thin, choosable):
    """The line through its pieces, with its marks where it touches the boxes."""
    rightwards = link.left == triple[0]
    bends = []
    for piece in pieces:
        first, *curve = map(at, piece.bend)
        bends.append(f"L{_point(first)} C{' '.join(map(_point, curve))} L{_point(at(piece.end))}")
    start = at(pieces[0].start)
    end = at(pieces[-1].end)
    path = f"M{_point(start)} {' '.join(bends)}"
    dashes = SIGNS.get(triple[1], ("5 3", ""))[0]
    width = 0.9 if thin else 1.5
    drawn = _path(path, dashes, width) + _marks(triple[1], start, end, rightwards)
    title = f"<title>{escape(said)}</title>"
    if not choosable:
        return f"<g>{title}{drawn}</g>"
    label = escape(said)
    wide = f'<path class="reach" d="{path}" fill="none" stroke="transparent" stroke-width="16"/>'
    return (
        f'<g class="edge" role="button" tabindex="0" aria-label="{label}" '
        f'data-edge="{number}">{wide}{drawn}</g>'
    )


def _point(point):
    return f"{point[0]:.1f},{point[1]:.1f}"


def _path(path, dashes, width):
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="{width}"{dashed}/>'


def _stroke(points, dashes, width):
    return _path("M" + " L".join(map(_point, points)), dashes, width)


def _marks(sign, start, end, rightwards):
    """The marks at both ends of a line from left to right."""
    marks = (sign[0], sign[-1]) if rightwards else (sign[-1], sign[0])
    drawn = []
    for mark, (x, y), turn in zip(marks, (start, end), (-1, 1), strict=True):
        if mark == "o":
            drawn.append(
                f'<circle cx="{x - 4.5 * turn:.1f}" cy="{y:.1f}" r="4.5" stroke="currentColor" '
                f'stroke-width="1.3" style="fill: {_PAPER}"/>'
            )
        elif mark != "-":
            back = x - 11 * turn
            drawn.append(
                f'<path d="M{x:.1f},{y:.1f} L{back:.1f},{y - 5:.1f} L{back:.1f},{y + 5:.1f} Z"/>'
            )
    return "".join(drawn)
