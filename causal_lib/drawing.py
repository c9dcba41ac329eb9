"""A graph as SVG for a page or a notebook: its texts can be read aloud, its edges can be chosen.

The places of boxes and lines are those of `layout`, as in `plots.graph`. What an edge means is told
by its heads and by its dashes, never by colour; lines have the colour of the text around them.
"""

import textwrap
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from html import escape

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


def graph_svg(
    names: Sequence[str],
    triples: Sequence[tuple[str, str, str]],
    *,
    tiers: Sequence[Sequence[str]] = (),
    doubtful: Collection[tuple[str, str]] = (),
    choosable: bool = False,
) -> str:
    """The drawing, left to right: by ``tiers``, then causes before effects.

    Parameters
    ----------
    triples : (variable, sign, variable) of each edge, as of `CausalGraph.triples`.
    doubtful : (variable, variable) of edges to be drawn thin.
    choosable : an edge is a button with its place among ``triples`` in ``data-edge``.
    """
    if not names:
        return ""
    directed = [(a, b, sign in ("->", "o->")) for a, sign, b in triples]
    column = columns(list(names), directed, tiers)
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
        _edge(number, triple, link, pieces, at, triple[::2] in doubtful, choosable)
        for number, (triple, link, pieces) in enumerate(
            zip(triples, links, place.lines, strict=True)
        )
    ]
    drawn += [_box(lines[name], at(place.centre[name]), size[name], name) for name in names]
    width, height = (_INCH * (high[axis] - low[axis]) for axis in (0, 1))
    role = "group" if choosable else "img"
    label = "; ".join(map(_told, triples)) or f"no edges among {', '.join(names)}"
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
    wide = max(
        sum(13.0 if unicodedata.east_asian_width(one) in "WF" else _LETTER for one in line)
        for line in lines
    )
    return (wide + 16) / _INCH, max(_LINE * len(lines) + 8, 18 * ports) / _INCH


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


def _edge(number, triple, link, pieces, at, thin, choosable):
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
    title = f"<title>{escape(_told(triple))}</title>"
    if not choosable:
        return f"<g>{title}{drawn}</g>"
    label = escape(_told(triple))
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
