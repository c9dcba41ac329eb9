"""The drawn graph: every edge with its marks, names as they are, no two kinds of edge alike."""

import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib import CausalGraph
from causal_lib.drawing import SIGNS, graph_svg, legend

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
