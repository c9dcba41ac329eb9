"""Figures: every function takes axes (or makes them) and returns them; `save` writes one under the reports folder."""

import re
from collections.abc import Iterable, Sequence
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

# Okabe and Ito's palette, told apart by colour-blind readers too; the dash pattern says the same again.
STATUS_STYLE = {
    "right": ("#009E73", "-"),
    "direction open": ("#E69F00", "-"),
    "reversed": ("#CC79A7", "-"),
    "extra": ("#D55E00", "-"),
    "missing": ("#7f7f7f", ":"),
}
TRUTH, ESTIMATE, NAIVE = "#000000", "#0072B2", "#D55E00"


def save(figure, name: str) -> Path:
    """Write ``figure`` as ``figures/<name>.png`` under `paths.reports` and return the path."""
    path = paths.reports() / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    return path


def graph(
    graph: CausalGraph,
    *,
    knowledge: Knowledge | None = None,
    status: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """``graph`` drawn left to right: by the tiers of ``knowledge`` and, inside a tier, by generation.

    ``status`` (from `discovery.edge_status`) colours the edges by right, direction open, reversed, extra and missing,
    and adds the missing ones.
    """
    ax = ax or plt.subplots(figsize=(10.5, 4.6), dpi=80)[1]
    position = _layout(graph, knowledge)
    if status is None:
        links = [(e.split()[0], e.split()[2], e.split()[1], "#444444", "-") for e in graph.edges]
    else:
        signs = {frozenset(e.split()[::2]): e.split()[1] for e in graph.edges}
        links = [
            (r.cause, r.effect, signs.get(frozenset((r.cause, r.effect)), "->"), *STATUS_STYLE[r.status])
            for r in status.itertuples()
        ]
    for cause, effect, sign, colour, dash in links:
        (x0, _), (x1, _) = position[cause], position[effect]
        arrow = {"->": "-|>", "<-": "<|-", "--": "-", "<->": "<|-|>"}.get(sign, "-|>")
        ax.annotate(
            "",
            position[effect],
            position[cause],
            arrowprops={
                "arrowstyle": arrow,
                "color": colour,
                "linestyle": dash,
                "lw": 1.3,
                "shrinkA": 16,
                "shrinkB": 16,
                "connectionstyle": f"arc3,rad={0.12 if abs(x0 - x1) > 0.5 else 0.35}",
            },
        )
    for name, (x, y) in position.items():
        ax.text(
            x, y, name.replace("_", "\n"), ha="center", va="center", fontsize=9,
            bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": "#444444"},
        )  # fmt: skip
    if status is not None:
        shown = [s for s in STATUS_STYLE if (status["status"] == s).any()]
        lines = [Line2D([], [], color=STATUS_STYLE[s][0], ls=STATUS_STYLE[s][1], lw=2) for s in shown]
        labels = [f"{s} ({(status['status'] == s).sum()})" for s in shown]
        ax.legend(lines, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(shown), frameon=False)
    xs, ys = zip(*position.values(), strict=True)
    ax.set(xlim=(min(xs) - 0.5, max(xs) + 0.5), ylim=(min(ys) - 0.7, max(ys) + 0.4))
    ax.axis("off")
    return ax


def intervals(metrics: Iterable[Metric], *, truth: float | None = None, ax: Axes | None = None) -> Axes:
    """Each metric's value with its 95% interval, one line each, and the ``truth`` (or each one's own) as a mark."""
    metrics = list(metrics)
    ax = ax or plt.subplots(figsize=(7, 0.5 * len(metrics) + 1.2))[1]
    for row, m in enumerate(reversed(metrics)):
        low, high = (m.value, m.value) if m.low is None else (m.low, m.high)
        known = truth if truth is not None else m.truth
        colour = NAIVE if known is not None and not low <= known <= high else ESTIMATE
        ax.errorbar(m.value, row, xerr=[[m.value - low], [high - m.value]], fmt="o", color=colour, capsize=3)
        if truth is None and m.truth is not None:
            ax.plot(m.truth, row, marker="|", ms=16, color=TRUTH)
    if truth is not None:
        ax.axvline(truth, color=TRUTH, lw=1, label=f"truth {truth:.4f}")
        ax.legend(frameon=False, loc="best")
    ax.set_yticks(range(len(metrics)), [m.name for m in reversed(metrics)])
    ax.margins(y=0.2)
    return ax


def history(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Training and validation loss by epoch (columns epoch, loss, val_loss)."""
    ax = ax or plt.subplots(figsize=(6, 3.5))[1]
    ax.plot(frame["epoch"], frame["loss"], color=ESTIMATE, label="training")
    ax.plot(frame["epoch"], frame["val_loss"], color=NAIVE, label="validation")
    ax.set(xlabel="epoch", ylabel="cross-entropy")
    ax.legend(frameon=False)
    return ax


def bars(
    values: pd.Series, *, errors: np.ndarray | None = None, colours: Sequence[str] = (ESTIMATE,), ax: Axes | None = None
) -> Axes:
    """Horizontal bars of ``values`` (index = labels, the first on top), with (2, n) ``errors`` below and above."""
    ax = ax or plt.subplots(figsize=(7, 0.35 * len(values) + 1))[1]
    ax.barh(np.arange(len(values)), values, xerr=errors, color=list(colours), capsize=3, ecolor="#444444")
    ax.set_yticks(np.arange(len(values)), [str(v) for v in values.index])
    ax.invert_yaxis()
    return ax


def layers(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """A model from top to bottom, a box for each row of `explain.layer_table`: kind, own name if it has one, output shape, parameters."""
    chain = nx.DiGraph([(one, row.layer) for row in table.itertuples() for one in row.after])
    chain.add_nodes_from(table["layer"])
    rows = list(nx.topological_generations(chain))
    ax = ax or plt.subplots(figsize=(2.9 * max(map(len, rows)), 0.95 * len(rows)), dpi=80)[1]
    position = {
        name: (column - (len(row) - 1) / 2, -depth)
        for depth, row in enumerate(rows)
        for column, name in enumerate(sorted(row, key=list(table["layer"]).index))
    }
    for one, other in chain.edges:
        arrow = {"arrowstyle": "-|>", "color": "#444444", "shrinkA": 14, "shrinkB": 14}
        ax.annotate("", position[other], position[one], arrowprops=arrow)
    for row in table.itertuples():
        size = f"{row.parameters:,} weights" if row.parameters else ""
        given = re.sub(r"_\d+$|_", "", row.layer) != row.kind.lower()  # else Keras made the name up from the kind
        lines = [f"{row.kind} {row.layer}" if given else row.kind, " · ".join(filter(None, [row.shape, size]))]
        ax.text(
            *position[row.layer], "\n".join(filter(None, lines)), ha="center", va="center", fontsize=8,
            bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": ESTIMATE if row.parameters else "#7f7f7f"},
        )  # fmt: skip
    xs = [x for x, _ in position.values()]
    ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(-len(rows) + 0.5, 0.5))
    ax.axis("off")
    return ax


def _layout(graph, knowledge):
    """Name -> (x, y): tiers from left to right, generations of the directed part inside each tier; a ring if neither helps."""
    if knowledge is None and graph.undirected.sum() > graph.adjacency.sum():
        angles = np.linspace(0, 2 * np.pi, len(graph.names), endpoint=False)
        return {n: (2.2 * np.cos(a), 1.8 * np.sin(a)) for n, a in zip(graph.names, angles, strict=True)}
    tiers = [list(t) for t in knowledge.tiers] if knowledge is not None else []
    free = [n for n in graph.names if not any(n in t for t in tiers)]
    directed, position, x = graph.directed_part(), {}, 0.0
    for tier in ([free] if free else []) + tiers:
        inside = directed.subgraph(tier)
        acyclic = nx.is_directed_acyclic_graph(inside)
        for column in nx.topological_generations(inside) if acyclic else [tier]:
            column = sorted(column, key=graph.names.index)
            for row, name in enumerate(column):
                # A slant keeps the edges between distant columns from running through the boxes between them.
                position[name] = (x, 1.1 * ((len(column) - 1) / 2 - row) + 0.7 * np.sin(1.9 * x))
            x += 1.0
    return position
