"""The drawn graph: every edge with its marks, names as they are, no two kinds of edge alike; and
intervals, each at its place on the scale.
"""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib import CausalGraph
from causal_lib.drawing import SIGNS, Interval, _ticks, graph_svg, intervals_svg, legend

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)


def drawn(svg):
    return BeautifulSoup(svg, "html.parser")


@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=5, unique=True), st.data())
def test_names_are_data_and_every_edge_is_there_once(names, data):
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    triples = [(a, data.draw(st.sampled_from(sorted(SIGNS))), b) for a, b in chosen]
    page = drawn(graph_svg(names, triples, choosable=True))
    assert {tag.name for tag in page.find_all(True)} <= {
        "svg", "g", "title", "path", "circle", "rect", "text"
    }  # fmt: skip
    edges = page.select("g.edge")
    assert [int(edge["data-edge"]) for edge in edges] == list(range(len(triples)))
    for edge, (one, _, other) in zip(edges, triples, strict=True):
        assert one in edge["aria-label"]
        assert other in edge["aria-label"]
    boxes = [group.title.string for group in page.select("g") if group.rect]
    assert boxes == names
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d", str(page.svg))]
    assert np.isfinite(numbers).all()


def marks(sign):
    """(heads, circles, dashes) of one edge with this sign."""
    edge = drawn(graph_svg("ab", [("a", sign, "b")])).select_one("g")
    heads = [path for path in edge.select("path") if path["d"].endswith("Z")]
    line = edge.select_one("path[fill=none]")
    return len(heads), len(edge.select("circle")), line.get("stroke-dasharray", "")


def test_kinds_of_edges_differ_without_colour():
    assert marks("->") == (1, 0, "")
    assert marks("--")[:2] == (0, 0)
    assert marks("<->")[:2] == (2, 0)
    assert marks("o->")[:2] == (1, 1)
    assert marks("o-o")[:2] == (0, 2)
    assert len({marks(sign)[2] for sign in SIGNS}) == len(SIGNS)
    assert "currentColor" in graph_svg("ab", [("a", "->", "b")])
    assert not re.search("#[0-9a-f]{3}", graph_svg("ab", [("a", "->", "b")]))


def test_the_head_touches_the_box_of_the_effect():
    page = drawn(graph_svg("ab", [("b", "->", "a")]))
    head = next(path for path in page.select("path") if path["d"].endswith("Z"))
    tip = float(re.match(r"M([\d.]+),", head["d"])[1])
    box = page.find("title", string="a").parent.rect
    assert tip == pytest.approx(float(box["x"]), abs=0.2)


def test_the_legend_names_the_kinds_that_are_drawn():
    text = drawn(legend({"--": "direction open <b>", "->": "cause"})).get_text()
    assert "direction open <b>" in text
    assert text.count("cause") == 1


def test_a_graph_shows_itself_in_a_notebook_unless_it_has_too_many_edges():
    graph = CausalGraph.from_edges("abc", ["a -> b", "b -- c"])
    page = drawn(graph._repr_html_())
    assert page.figcaption.string == "CPDAG of 3 variables, 2 edges"
    assert "b -- c (direction open)" in page.svg["aria-label"]
    assert CausalGraph.from_edges([])._repr_html_() is None
    full = CausalGraph.from_adjacency(np.triu(np.ones((25, 25)), 1))
    assert full._repr_html_() is None


def test_no_edges_are_said():
    assert "no edges among a, b" in graph_svg("ab", [])


def test_tiers_may_name_what_is_not_drawn():
    drawn_alone = graph_svg(["a", "b"], [("a", "->", "b")], tiers=[["a"], ["b"]])
    tiers = [["z"], ["y", "a"], [], ["b"]]
    assert graph_svg(["a", "b"], [("a", "->", "b")], tiers=tiers) == drawn_alone


# ---- intervals -----------------------------------------------------------------------------------


def parsed(rows, label="effect"):
    return ElementTree.fromstring(intervals_svg(rows, label=label))


def test_the_dots_stand_at_their_values_on_the_scale_of_the_ticks():
    rows = [
        Interval("one", 120.0, 90.0, 160.0, "#0072B2", 100.0),
        Interval("two", -30.0, -45.0, -10.0, "#D55E00"),
    ]
    svg = parsed(rows)
    ticks = {
        float(text.text): float(text.get("x"))
        for text in svg.findall("text")
        if text.get("font-size") == "12"
    }
    assert {0.0, 50.0, 100.0, 150.0} <= set(ticks)
    places = np.polyfit(list(ticks), list(ticks.values()), 1)
    for row, drawn in zip(rows, svg.findall("g"), strict=True):
        circle = drawn.find("circle")
        assert float(circle.get("cx")) == pytest.approx(np.polyval(places, row.value), abs=0.11)
        line = drawn.find("path").get("d")
        start, end = re.match(r"M([\d.]+),[\d.]+ H([\d.]+)", line).groups()
        assert float(start) == pytest.approx(np.polyval(places, row.low), abs=0.11)
        assert float(end) == pytest.approx(np.polyval(places, row.high), abs=0.11)
    square = svg.find("g").find("rect")
    assert float(square.get("x")) + 4 == pytest.approx(np.polyval(places, 100.0), abs=0.11)


@pytest.mark.parametrize(
    ("name", "label"),
    [("a" * 60, "x"), ("x", "b" * 90), ("受处理的行" * 8, "每千行增加的结果数" * 6)],
)
def test_no_text_of_intervals_lies_outside_of_the_picture(name, label):
    svg = parsed([Interval(name, 1.0, 0.5, 2.0, "#0072B2")], label)
    start, _, width, _ = map(float, svg.get("viewBox").split())
    letter = 13 if ord(name[0]) > 255 else 7.2
    end_of_name = float(svg.find("g").find("text").get("x"))
    assert end_of_name - letter * len(name) > start
    below = svg.findall("text")[-1]
    half = (13 if ord(label[0]) > 255 else 7.2) * len(label) / 2
    assert float(below.get("x")) - half > start
    assert float(below.get("x")) + half < start + width


def test_values_without_an_end_and_values_alike():
    assert "nan" not in intervals_svg([Interval("a", 0.0, None, None, "#000")], label="")
    assert parsed([Interval("a", 3.0, 3.0, 3.0, "#000")]).find("g") is not None


def test_the_names_of_intervals_are_no_markup():
    odd = '<script>"&'
    svg = parsed([Interval(odd, 1.0, 0.0, 2.0, "#000")], odd)
    assert odd in svg.get("aria-label")
    assert svg.find("g").find("text").text == odd


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, size):
    found = _ticks(low, low + size)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-6 * size <= one <= low + size + 1e-6 * size for one in found)
    apart = np.diff(found)
    assert np.allclose(apart, apart[:1], rtol=1e-3)
