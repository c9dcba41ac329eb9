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

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from causal_lib import paths
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
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
    "direction open": ("#E69F00", "-"),
    "reversed": ("#CC79A7", "-"),
    "extra": ("#56B4E9", "--"),
    "missing": ("#7f7f7f", ":"),
}
"""Status of an edge (`discovery.edge_status`) -> colour and line; the dash repeats the colour."""
_LINE = "#444444"  # of edges, frames and error bars without a meaning
_HEADS = {"->": "-|>", "<-": "<|-", "--": "-", "<->": "<|-|>"}


def _styled(draw: Callable) -> Callable:
    """``draw`` with the style sheet in force."""

    @wraps(draw)
    def styled(*args, **arguments):
        with plt.style.context(STYLE):
            return draw(*args, **arguments)

    return styled


@_styled
def save(figure, name: str) -> Path:
    """Write ``figure`` as ``figures/<name>.png`` under `paths.reports` and return the path."""
    path = paths.reports() / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path


@_styled
def graph(
    graph: CausalGraph,
    *,
    knowledge: Knowledge | None = None,
    status: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """``graph`` drawn left to right: by the tiers of ``knowledge``, then by generation.

    ``status`` (from `discovery.edge_status`) gives the edges the colours of `STATUS_STYLE`, adds
    the missing ones, and counts them in a legend.
    """
    ax = ax or plt.subplots(figsize=(10.5, 4.6))[1]
    position = _layout(graph, knowledge)
    for cause, effect, sign, colour, dash in _links(graph, status):
        apart = abs(position[cause][0] - position[effect][0])
        arrow = {
            "arrowstyle": _HEADS.get(sign, "-|>"),
            "color": colour,
            "linestyle": dash,
            "lw": 1.3,
            "shrinkA": 16,
            "shrinkB": 16,
            "connectionstyle": f"arc3,rad={0.12 if apart > 0.5 else 0.35}",
        }
        ax.annotate("", position[effect], position[cause], arrowprops=arrow)
    for name, place in position.items():
        _box(ax, place, name.replace("_", "\n"), size=9)
    if status is not None:
        counts = status["status"].value_counts()
        shown = [name for name in STATUS_STYLE if name in counts]
        ax.legend(
            [Line2D([], [], color=STATUS_STYLE[one][0], ls=STATUS_STYLE[one][1]) for one in shown],
            [f"{name} ({counts[name]})" for name in shown],
            loc="upper center",
            bbox_to_anchor=(0.5, 0.02),
            ncols=len(shown),
            fontsize=10,
        )
    xs, ys = zip(*position.values(), strict=True)
    ax.set(xlim=(min(xs) - 0.5, max(xs) + 0.5), ylim=(min(ys) - 0.7, max(ys) + 0.4))
    ax.axis("off")
    return ax


def _links(graph, status):
    """Cause, effect, sign, colour and dash of every edge that is drawn."""
    if status is None:
        return [(cause, effect, sign, _LINE, "-") for cause, sign, effect in graph.triples]
    signs = {frozenset((cause, effect)): sign for cause, sign, effect in graph.triples}
    return [
        (
            row.cause,
            row.effect,
            signs.get(frozenset((row.cause, row.effect)), "->"),
            *STATUS_STYLE[row.status],
        )
        for row in status.itertuples()
    ]


def _box(ax, place, text, *, size, edge=_LINE):
    frame = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": edge}
    # names are no formulas, and without any text there would be no box
    ax.text(
        *place, text or " ", ha="center", va="center", fontsize=size, bbox=frame, parse_math=False
    )


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


def _layout(graph, knowledge):
    """Name -> (x, y): tiers from left to right, inside each the generations of the directed part.

    Without tiers, a graph whose edges are mostly undirected is drawn as a ring.
    """
    if knowledge is None and graph.undirected.sum() > graph.adjacency.sum():
        angles = np.linspace(0, 2 * np.pi, len(graph.names), endpoint=False)
        return {
            name: (2.2 * np.cos(angle), 1.8 * np.sin(angle))
            for name, angle in zip(graph.names, angles, strict=True)
        }
    tiers = [] if knowledge is None else [list(tier) for tier in knowledge.tiers]
    free = [name for name in graph.names if not any(name in tier for tier in tiers)]
    if free:
        tiers = [free, *tiers]
    directed = graph.directed_part()
    position = {}
    x = 0.0
    for tier in tiers:
        inside = directed.subgraph(tier)
        acyclic = nx.is_directed_acyclic_graph(inside)
        for column in nx.topological_generations(inside) if acyclic else [tier]:
            names = sorted(column, key=graph.names.index)
            # a slant keeps edges between distant columns from running through boxes between them
            slant = 0.7 * np.sin(1.9 * x)
            for row, name in enumerate(names):
                position[name] = (x, 1.1 * ((len(names) - 1) / 2 - row) + slant)
            x += 1.0
    return position
