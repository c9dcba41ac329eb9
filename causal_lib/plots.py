"""Figures: every function takes axes (or makes them) and returns them.

How they look is in ``plots.mplstyle``; a notebook uses the same by
``plt.style.use("causal_lib.plots")``. A colour has one meaning in all figures:

| colour | meaning |
|---|---|
| `TRUTH` | the true value, or the line where a value would be right |
| `ESTIMATE` | the estimate |
| `NAIVE` | a naive or biased estimate, or an interval that misses the truth |
| `REFERENCE` | what is only compared with: zero, chance, the training loss, what is left out |
| `OTHERS` | series without one of these roles, in this order |
| `STATUS_STYLE` | in a drawing of a graph: what became of an edge |

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

import io
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from typing import NamedTuple

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from causal_lib import paths
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.layout import Link, columns, layered
from causal_lib.metric import Metric

STYLE = "causal_lib.plots"
"""Name of the style sheet, for `matplotlib.pyplot.style.use`."""

TRUTH = "#000000"
ESTIMATE = "#0072B2"
NAIVE = "#D55E00"
REFERENCE = "#7f7f7f"
OTHERS = ("#009E73", "#E69F00", "#CC79A7", "#56B4E9")
STATUS_STYLE = {
    "right": ("#009E73", "-"),
    "direction open": ("#E69F00", (0, (8, 2))),
    "reversed": ("#CC79A7", (0, (6, 1.5, 1, 1.5))),
    "extra": ("#56B4E9", (0, (3, 1.5))),
    "missing": ("#7f7f7f", ":"),
}
"""Status of an edge (`discovery.edge_status`) -> colour and line; the dash repeats the colour."""
_LINE = "#444444"  # of edges, frames and error bars without a meaning
# markers whose right end is at the point: a head and a circle
_HEAD = Path([(0, 0), (-1, 0.4), (-1, -0.4), (0, 0)], [1, 2, 2, 79])
_CIRCLE = Path(Path.unit_circle().vertices * 0.36 - [0.36, 0], Path.unit_circle().codes)


def _styled(draw: Callable) -> Callable:
    """``draw`` with the style sheet in force."""

    @wraps(draw)
    def styled(*args, **arguments):
        with plt.style.context(STYLE):
            return draw(*args, **arguments)

    return styled


@_styled
def save(figure, name: str) -> pathlib.Path:
    """Write ``figure`` as ``figures/<name>.png`` under `paths.reports`, whole or not at all, and
    return the path.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return paths.write_bytes(paths.reports() / "figures" / f"{name}.png", drawn.getvalue())


@_styled
def graph(
    graph: CausalGraph,
    *,
    knowledge: Knowledge | None = None,
    status: pd.DataFrame | None = None,
    colours: Mapping[tuple[str, str], str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """``graph`` drawn left to right: by the tiers of ``knowledge``, then causes before effects.

    No line passes behind a box (see `layout`). Heads and circles touch the boxes; an undirected
    edge has neither. Lines of one cause run together until they part.

    Parameters
    ----------
    status : from `discovery.edge_status`: gives the edges the colours of `STATUS_STYLE`, adds the
        missing ones, without heads, and counts them in a legend.
    colours : (one, other) -> colour of the edge between them.
    ax : axes to draw in, where the graph is made smaller until it fits; by default a figure of the
        right size.
    """
    own = ax is None
    ax = plt.subplots()[1] if own else ax
    ax.axis("off")
    lines = _lines(graph, status, colours or {})
    tiers = [] if knowledge is None else knowledge.tiers
    directed = [(one.cause, one.effect, one.sign not in ("--", "o-o", "<->")) for one in lines]
    column = columns(graph.names, directed, tiers)
    links = [_link(one, column) for one in lines]
    boxes = {
        name: _box(ax, (0, 0), name.replace("_", "\n"), size=_NAME_SIZE) for name in graph.names
    }
    size = _sizes(ax, boxes)
    place = layered(column, links, size)
    scale = _fit(ax, place, size, resize=own)
    for name, box in boxes.items():
        box.set_position(place.centre[name])
        box.set_fontsize(scale * _NAME_SIZE)
    for one, link, pieces in zip(lines, links, place.lines, strict=True):
        _draw_line(ax, one, pieces, scale, rightwards=link.left == one.cause)
    if status is not None:
        counts = status["status"].value_counts()
        shown = [name for name in STATUS_STYLE if name in counts]
        ax.legend(
            [Line2D([], [], color=STATUS_STYLE[one][0], ls=STATUS_STYLE[one][1]) for one in shown],
            [f"{name} ({counts[name]})" for name in shown],
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=max(len(shown), 1),
            fontsize=10,
        )
    return ax


_NAME_SIZE = 9  # points


class _Line(NamedTuple):
    """An edge to be drawn."""

    cause: str
    sign: str
    effect: str
    colour: str
    dash: str


def _lines(graph, status, colours):
    signs = {frozenset((cause, effect)): (cause, sign) for cause, sign, effect in graph.triples}
    for one, other in colours:
        if frozenset((one, other)) not in signs:
            raise ValueError(f"colours: there is no edge between {one!r} and {other!r}")
    if status is None:
        styles = [(cause, effect, _LINE, "-") for cause, _, effect in graph.triples]
    else:
        styles = [(row.cause, row.effect, *STATUS_STYLE[row.status]) for row in status.itertuples()]
    lines = []
    for cause, effect, colour, dash in styles:
        # of a missing edge the graph has no sign
        first, sign = signs.get(frozenset((cause, effect)), (cause, "--"))
        if first != cause:
            cause, effect = effect, cause
        colour = colours.get((cause, effect), colours.get((effect, cause), colour))
        lines.append(_Line(cause, sign, effect, colour, dash))
    return lines


def _link(line, column):
    """The line from left to right. Tails without a mark run together."""
    left, right = sorted((line.cause, line.effect), key=column.get)
    bare = line.sign[0 if left == line.cause else -1] == "-"
    trunk = (left, line.colour, line.dash) if bare and line.sign != "--" else line
    return Link(left, right, trunk)


def _sizes(ax, boxes):
    """Name -> width and height of its box in inches."""
    renderer = ax.figure.canvas.get_renderer()
    dpi = ax.figure.dpi
    found = {}
    for name, box in boxes.items():
        box.update_bbox_position_size(renderer)
        extent = box.get_bbox_patch().get_window_extent(renderer)
        found[name] = (extent.width / dpi, extent.height / dpi)
    return found


def _draw_line(ax, line, pieces, scale, rightwards):
    """The line through its pieces, with its marks where it touches the boxes."""
    points = [pieces[0].start]
    codes = [Path.MOVETO]
    for piece in pieces:
        points += [*piece.bend, piece.end]
        codes += [Path.LINETO, *[Path.CURVE4] * 3, Path.LINETO]
    how = {"fc": "none", "ec": line.colour, "ls": line.dash, "lw": 1.3, "zorder": 1}
    ax.add_patch(PathPatch(Path(points, codes), **how))
    marks = (line.sign[0], line.sign[-1]) if rightwards else (line.sign[-1], line.sign[0])
    for mark, point, turn in zip(marks, (points[0], points[-1]), (-1, 1), strict=True):
        if mark == "-":
            continue
        shape = _CIRCLE if mark == "o" else _HEAD
        filled = "white" if mark == "o" else line.colour
        shape = Path(shape.vertices * [turn, 1], shape.codes)
        ax.plot(*point, marker=shape, ms=16 * scale, mfc=filled, mec=line.colour, mew=0.8, zorder=2)


def _fit(ax, place, size, *, resize):
    """Limits in inches that hold every box and line; with ``resize``, a figure of that size.

    Without it the graph stands in the middle of the axes. Returns the scale, 1 or below, at which
    text and marks fit there.
    """
    corners = [
        (x + side * size[name][0] / 2, y + side * size[name][1] / 2)
        for name, (x, y) in place.centre.items()
        for side in (-1, 1)
    ]
    corners += [point for line in place.lines for piece in line for point in piece.bend]
    low = np.min(corners, axis=0) - 0.1
    high = np.max(corners, axis=0) + 0.1
    scale = 1.0
    if resize:
        ax.figure.set_size_inches(high - low)
        ax.set_position((0, 0, 1, 1))
    else:
        inches = ax.get_position().size * ax.figure.get_size_inches()
        scale = min(1.0, *(inches / (high - low)))
        spare = (inches / scale - (high - low)) / 2
        low = low - spare
        high = high + spare
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return scale


def _box(ax, place, text, *, size, edge=_LINE):
    frame = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": edge}
    # names are no formulas, and without any text there would be no box
    return ax.text(
        *place,
        text or " ",
        ha="center",
        va="center",
        fontsize=size,
        fontfamily=_families(),
        bbox=frame,
        parse_math=False,
    )


_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",  # the first face of the same file, which matplotlib goes by
    "Source Han Sans SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "PingFang HK",
    "Heiti SC",
    "Heiti TC",
    "STHeiti",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)


@cache
def _families():
    """The style's fonts, and for signs that they lack the first one here that has Chinese."""
    known = set(font_manager.get_font_names())
    return ["sans-serif", *[name for name in _CHINESE_FONTS if name in known][:1]]


@_styled
def intervals(
    metrics: Iterable[Metric], *, truth: float | None = None, ax: Axes | None = None
) -> Axes:
    """Each metric's value with its 95% interval, one line each, and the truth where it is known.

    ``truth`` is a line for all of them; without it each metric's own truth is a mark. An interval
    that misses the truth has the colour `NAIVE`.
    """
    metrics = list(metrics)
    ax = ax or plt.subplots(figsize=(7, 0.5 * len(metrics) + 1.2))[1]
    labels = {}
    for row, metric in enumerate(reversed(metrics)):
        low = metric.value if metric.low is None else metric.low
        high = metric.value if metric.high is None else metric.high
        known = metric.truth if truth is None else truth
        misses = known is not None and not low <= known <= high
        colour = NAIVE if misses else ESTIMATE
        labels["misses the truth" if misses else "estimate, 95%"] = Line2D(
            [], [], color=colour, marker="o"
        )
        error = [[metric.value - low], [high - metric.value]]
        ax.errorbar(metric.value, row, xerr=error, fmt="o", color=colour)
        if truth is None and metric.truth is not None:
            ax.plot(metric.truth, row, marker="|", ms=16, color=TRUTH)
            labels["truth"] = Line2D([], [], color=TRUTH, marker="|", ls="", ms=12)
    if truth is not None:
        labels[f"truth {truth:.4f}"] = ax.axvline(truth, color=TRUTH, lw=1)
    names = sorted(labels, key=lambda name: name.startswith("truth"))  # the truth comes last
    if any(name.startswith("truth") for name in names):
        ax.legend([labels[name] for name in names], names, loc="best")
    ax.set_yticks(range(len(metrics)), [metric.name for metric in reversed(metrics)])
    ax.margins(y=0.2)
    return ax


@_styled
def overlap(
    treated: Sequence, propensity: Sequence, covariates: pd.DataFrame, *, names: Sequence[str]
) -> Figure:
    """Whether two arms can be compared: their propensities (left), and how far they differ in each
    covariate, before and after weighting by one over the probability of the row's arm (right).

    Parameters
    ----------
    treated : (n,) 0 or 1.
    propensity : (n,) probability of 1, in (0, 1).
    covariates : (n, k) numbers.
    names : of the arms 0 and 1.
    """
    arm = np.asarray(treated)
    chance = np.asarray(propensity, dtype=float)
    if not ((chance > 0) & (chance < 1)).all():
        raise ValueError("propensity: its values must lie in (0, 1)")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    for code, colour in enumerate((REFERENCE, ESTIMATE)):
        bins = np.linspace(0, 1, 41)
        left.hist(
            chance[arm == code], bins, density=True, alpha=0.6, color=colour, label=names[code]
        )
    weights = {
        "before weighting": np.ones(len(arm)),
        "after": 1 / np.where(arm, chance, 1 - chance),
    }
    within = [covariates[arm == code].var(ddof=0) for code in (0, 1)]
    for (name, weight), colour in zip(weights.items(), (NAIVE, ESTIMATE), strict=True):
        mean = [
            np.average(covariates[arm == code], axis=0, weights=weight[arm == code])
            for code in (0, 1)
        ]
        apart = np.abs(mean[1] - mean[0]) / np.sqrt((within[0] + within[1]) / 2)
        right.plot(apart, covariates.columns, "o", color=colour, label=name)
    left.set(xlabel="propensity", ylabel="density", title="Overlap")
    right.set(xlabel="difference of the arms in standard deviations", title="Balance")
    right.margins(y=0.3)
    left.legend()
    right.legend()
    return figure


@_styled
def history(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Training and validation loss by epoch (columns epoch, loss, val_loss)."""
    ax = ax or plt.subplots(figsize=(6, 3.5))[1]
    ax.plot(frame["epoch"], frame["loss"], color=REFERENCE, ls="--", label="training")
    ax.plot(frame["epoch"], frame["val_loss"], color=ESTIMATE, label="validation")
    ax.set(xlabel="epoch", ylabel="cross-entropy")
    ax.legend()
    return ax


@_styled
def bars(
    values: pd.Series,
    *,
    errors: np.ndarray | None = None,
    colours: Sequence[str] = (ESTIMATE,),
    ax: Axes | None = None,
) -> Axes:
    """Horizontal bars of ``values``, the first on top; the index holds their labels.

    ``errors`` (2, n) are the lengths of the intervals below and above.
    """
    ax = ax or plt.subplots(figsize=(7, 0.35 * len(values) + 1))[1]
    places = np.arange(len(values))
    ax.barh(places, values, xerr=errors, color=list(colours), ecolor=_LINE)
    ax.set_yticks(places, [str(value) for value in values.index])
    ax.invert_yaxis()
    return ax


@_styled
def layers(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """A model from top to bottom, a box for each row of `explanation.layer_table`.

    A box shows the kind of the layer, its own name if it has one, the shape of its output and its
    parameters. Boxes of layers with parameters have the colour `ESTIMATE`.
    """
    chain = nx.DiGraph([(before, row.layer) for row in table.itertuples() for before in row.after])
    chain.add_nodes_from(table["layer"])
    rows = list(nx.topological_generations(chain))
    ax = ax or plt.subplots(figsize=(2.9 * max(map(len, rows)), 0.95 * len(rows)))[1]
    order = list(table["layer"])
    position = {
        name: (column - (len(row) - 1) / 2, -depth)
        for depth, row in enumerate(rows)
        for column, name in enumerate(sorted(row, key=order.index))
    }
    arrow = {"arrowstyle": "-|>", "color": _LINE, "shrinkA": 14, "shrinkB": 14}
    for before, after in chain.edges:
        ax.annotate("", position[after], position[before], arrowprops=arrow)
    for row in table.itertuples():
        size = f"{row.parameters:,} weights" if row.parameters else ""
        # a name that Keras made from the kind says nothing new
        named = re.sub(r"_\d+$|_", "", row.layer) != row.kind.lower()
        title = f"{row.kind} {row.layer}" if named else row.kind
        details = " · ".join(filter(None, [row.shape, size]))
        edge = ESTIMATE if row.parameters else REFERENCE
        text = "\n".join(filter(None, [title, details]))
        _box(ax, position[row.layer], text, size=8, edge=edge)
    xs = [x for x, _ in position.values()]
    ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(-len(rows) + 0.5, 0.5))
    ax.axis("off")
    return ax
