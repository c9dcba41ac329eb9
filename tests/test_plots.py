from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from causal_lib import plots
from causal_lib.discovery import edge_status
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.metric import Metric


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def boxes(ax):
    """Variable -> horizontal place of its box."""
    return {t.get_text().replace("\n", "_"): t.get_position()[0] for t in ax.texts if t.get_text()}


def test_tiers_run_from_left_to_right(world):
    ax = plots.graph(world.graph, knowledge=world.knowledge)
    place = boxes(ax)
    assert set(place) == set(world.graph.names)
    for cause, effect in world.graph.to_networkx().edges:
        assert place[cause] < place[effect]


def test_edges_are_coloured_by_what_became_of_them():
    truth = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    found = CausalGraph.from_edges("abc", ["b -> a", "a -> c"])
    ax = plots.graph(found, status=edge_status(found, truth))
    assert len({patch.get_edgecolor() for patch in ax.patches}) == len(ax.patches) == 3
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["reversed (1)", "extra (1)", "missing (1)"]


def marks(ax):
    """(x, y) of every head and circle, with its colour inside."""
    return [(*line.get_xydata()[0], line.get_markerfacecolor()) for line in ax.lines]


def extents(ax):
    """Variable -> the box as it is drawn, in the axes' units."""
    ax.figure.canvas.draw()
    back = ax.transData.inverted()
    return {
        t.get_text(): back.transform_bbox(t.get_bbox_patch().get_window_extent()) for t in ax.texts
    }


@pytest.mark.parametrize(
    ("edge", "at_a", "at_b"),
    [("a -> b", 0, 1), ("a -- b", 0, 0), ("a <-> b", 1, 1), ("a o-> b", 1, 1), ("a o-o b", 1, 1)],
)
def test_marks_touch_the_boxes_and_an_undirected_edge_has_none(edge, at_a, at_b):
    ax = plots.graph(CausalGraph.from_edges("ab", [edge]))
    box = extents(ax)
    at = [x for x, _, _ in marks(ax)]
    assert len(at) == at_a + at_b
    assert sum(x == pytest.approx(box["a"].x1, abs=0.02) for x in at) == at_a
    assert sum(x == pytest.approx(box["b"].x0, abs=0.02) for x in at) == at_b
    circles = [colour for *_, colour in marks(ax) if colour == "white"]
    assert len(circles) == edge.count("o")


def test_a_head_is_at_the_effect_wherever_it_stands():
    """The tiers put the effect b on the left of its cause a."""
    ax = plots.graph(CausalGraph.from_edges("ab", ["a -> b"]), knowledge=Knowledge([["b"], ["a"]]))
    ((x, _, _),) = marks(ax)
    assert x == pytest.approx(extents(ax)["b"].x1, abs=0.02)


def test_in_narrow_axes_the_graph_is_made_smaller_and_its_heads_still_touch_the_boxes():
    graph = CausalGraph.from_edges(["activity", "exposed", "bought"], ["activity -> exposed",
                                   "exposed -> bought"])  # fmt: skip
    _, axes = plt.subplots(1, 4, figsize=(6, 2))
    ax = plots.graph(graph, ax=axes[0])
    box = extents(ax)
    at = sorted(x for x, _, _ in marks(ax))
    assert at == pytest.approx([box["exposed"].x0, box["bought"].x0], abs=0.05)
    assert box["activity"].x0 > ax.get_xlim()[0]
    assert box["bought"].x1 < ax.get_xlim()[1]


def test_no_line_of_the_shop_passes_behind_a_box(world):
    ax = plots.graph(world.graph, knowledge=world.knowledge)
    boxes = {name.replace("\n", "_"): box for name, box in extents(ax).items()}
    triples = world.graph.triples
    assert len(triples) == len(ax.patches)
    for (cause, _, effect), patch in zip(triples, ax.patches, strict=True):
        drawn = patch.get_path().interpolated(1).to_polygons(closed_only=False)[0]
        points = np.vstack([np.linspace(a, b, 10) for a, b in pairwise(drawn)])
        for name in boxes.keys() - {cause, effect}:
            box = boxes[name]
            inside = (points > box.min) & (points < box.max)
            assert not inside.all(axis=1).any(), (cause, effect, name)


def test_a_missing_edge_has_no_head_since_the_estimate_has_none():
    truth = CausalGraph.from_edges("ab", ["a -> b"])
    found = CausalGraph.from_edges("ab", [])
    assert marks(plots.graph(found, status=edge_status(found, truth))) == []


def test_an_edge_takes_the_colour_that_is_asked_for():
    graph = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    ax = plots.graph(graph, colours={("b", "a"): plots.NAIVE})
    drawn = [to_hex(patch.get_edgecolor()).upper() for patch in ax.patches]
    assert plots.NAIVE in drawn
    assert len(set(drawn)) == 2
    with pytest.raises(ValueError, match="colours: there is no edge between 'a' and 'c'"):
        plots.graph(graph, colours={("a", "c"): plots.NAIVE})


def test_a_cyclic_tier_and_axes_that_are_given():
    figure, ax = plt.subplots()
    graph = CausalGraph.from_edges("ab", ["a <-> b"])
    assert plots.graph(graph, knowledge=Knowledge(tiers=[["a"], ["b"]]), ax=ax) is ax
    assert plots.graph(CausalGraph.from_edges("abc", ["a -> b", "b -> c", "c -> a"])) is not ax
    assert figure is ax.figure


def test_an_interval_that_misses_the_truth_has_another_colour():
    good = Metric("s", "good", 1.0, 0.5, 1.5, truth=1.2)
    bad = Metric("s", "bad", 1.0, 0.5, 1.5, truth=2.0)
    ax = plots.intervals([good, bad])
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert sorted(colours) == sorted([plots.ESTIMATE, plots.NAIVE])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["bad", "good"]
    told = [t.get_text() for t in ax.get_legend().get_texts()]
    assert sorted(told[:-1]) == ["estimate, 95%", "misses the truth"]
    assert told[-1] == "truth"


def test_the_style_is_in_force_inside_and_leaves_the_callers_settings():
    before = plt.rcParams["axes.spines.top"]
    ax = plots.bars(pd.Series({"a": 1.0}))
    assert not ax.spines["top"].get_visible()
    assert plt.rcParams["axes.spines.top"] == before


def test_a_colour_has_one_meaning():
    roles = [plots.TRUTH, plots.ESTIMATE, plots.NAIVE, plots.REFERENCE, *plots.OTHERS]
    assert len(set(roles)) == len(roles)
    status = [colour for colour, _ in plots.STATUS_STYLE.values()]
    assert len(set(status)) == len(status)
    assert not {plots.TRUTH, plots.ESTIMATE, plots.NAIVE} & set(status)


def test_layers_stand_below_what_feeds_them():
    rows = [
        ("left", "InputLayer", "3", 0, []),
        ("right", "InputLayer", "2", 0, []),
        ("dense_4", "Dense", "1", 6, ["left", "right"]),
    ]
    table = pd.DataFrame(rows, columns=["layer", "kind", "shape", "parameters", "after"])
    ax = plots.layers(table)
    place = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert set(place) == {"InputLayer left\n3", "InputLayer right\n2", "Dense\n1 · 6 weights"}
    left, right, below = place.values()
    assert left[1] == right[1] > below[1]
    assert left[0] < below[0] < right[0]
    assert sum(not text.get_text() for text in ax.texts) == 2  # the arrows


def test_overlap_shows_what_weighting_does():
    """By hand: of the rows with z = 1, three in four are treated; of those with z = 0, one."""
    z = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    treated = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    figure = plots.overlap(
        treated, np.where(z, 0.75, 0.25), pd.DataFrame({"z": z}), names=["not", "yes"]
    )
    left, right = figure.axes
    before, after = (line.get_xdata()[0] for line in right.lines)
    assert before == pytest.approx(0.5 / np.sqrt(0.75 * 0.25))
    assert after == pytest.approx(0, abs=1e-12)
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["not", "yes"]
    with pytest.raises(ValueError, match=r"propensity: its values must lie in \(0, 1\)"):
        plots.overlap([0, 1], [0.5, 1.0], pd.DataFrame({"z": [0, 1]}), names=["not", "yes"])


def test_history_and_bars():
    frame = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4], "val_loss": [0.6, 0.5]})
    assert len(plots.history(frame).lines) == 2
    ax = plots.bars(pd.Series({"a": 1.0, "b": 2.0}), errors=np.ones((2, 2)))
    assert [p.get_width() for p in ax.patches] == [1.0, 2.0]


def test_save_writes_under_the_reports_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path))
    path = plots.save(plt.figure(), "05_graph")
    assert path == tmp_path / "figures" / "05_graph.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_names_are_drawn_as_they_stand():
    names = ("a -> b", "", "x$y$_1", "t u", "100%")
    edges = [(names[0], names[1]), (names[2], "<->", names[3])]
    ax = plots.graph(CausalGraph.from_edges(names, edges))
    ax.figure.canvas.draw()
    drawn = {t.get_text() for t in ax.texts if t.get_text()}
    assert drawn == {"a -> b", " ", "x$y$\n1", "t u", "100%"}
    assert not any(t.get_parse_math() for t in ax.texts if t.get_text())


def test_chinese_names_are_drawn_where_a_font_has_them(recwarn):
    if len(plots._families()) < 2:
        pytest.skip("no font here has Chinese signs (Debian: apt-get install fonts-noto-cjk)")
    ax = plots.graph(CausalGraph.from_edges(["价格", "购买"], ["价格 -> 购买"]))
    ax.figure.canvas.draw()
    assert not [str(one.message) for one in recwarn if "missing from" in str(one.message)]
