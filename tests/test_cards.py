"""Cards: what they say, that names are never markup, and how the drawn interval lies to zero."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from causal_lib import CausalGraph, UpliftModel, effect, identify, learn_policy, policy_value
from causal_lib.cards import card, interval_svg
from causal_lib.worlds import shop

ODD = "<script>alert(1)</script> & \"both' quotes"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=30)
TAGS = {"div", "span", "strong", "pre", "svg", "line", "text", "g", "circle"}
KEPT = {"role", "style", "aria-label"}


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.open = []
        self.names = set()
        self.attributes = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        if tag == "div":
            self.attributes |= {name for name, _ in attributes}

    def handle_startendtag(self, tag, attributes):
        self.names.add(tag)

    def handle_data(self, data):
        self.text += data


@given(st.lists(TEXT, min_size=6, max_size=6))
def test_whatever_a_text_holds_it_is_shown_as_written(texts):
    title, headline, reason, name, value, line = texts
    made = card(
        title, headline, verdict="weak", reasons=[reason], interval=(0.1, -0.2, 0.4),
        facts=[(name, value)], lines=[line],
    )  # fmt: skip
    found = Tags(made)
    assert found.names <= TAGS
    assert found.attributes <= KEPT
    shown = [title, headline, reason, line, *([name] if value else []), value]
    for text in shown:
        assert text in found.text


@given(
    st.floats(-1e6, 1e6), st.floats(0, 1e6, exclude_min=True), st.floats(0, 1e6, exclude_min=True)
)
def test_the_drawn_interval_is_in_its_order_beside_zero(value, below, above):
    low = value - below
    high = value + above
    svg = BeautifulSoup(interval_svg(value, low, high), "html.parser")
    zero = float(svg.select_one("[stroke-dasharray]")["x1"])
    bar = svg.select_one("g line")
    at = float(svg.select_one("circle")["cx"])
    start = float(bar["x1"])
    end = float(bar["x2"])
    assert 0 <= start <= at <= end <= 320
    assert (start <= zero) == (low <= 0) or start == zero
    assert (end >= zero) == (high >= 0) or end == zero
    texts = sorted(float(text["x"]) for text in svg.select("text[text-anchor]"))
    assert texts[0] > 0
    assert texts[1] < 320


@pytest.mark.parametrize("broken", [(np.nan, 0, 1), (1, -np.inf, 2), (1, 0, np.inf)])
def test_no_interval_is_drawn_of_numbers_that_are_not_finite(broken):
    assert interval_svg(*broken) == ""


def test_a_verdict_is_told_in_words_and_a_sign():
    found = {name: Tags(card("x", verdict=name)).text for name in
             ("supported", "weak", "extrapolated", "refused")}  # fmt: skip
    assert all(name in text for name, text in found.items())
    assert len({text[1] for text in found.values()}) == 4


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    n = 1200
    x = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(int)
    return pd.DataFrame({ODD: x, "t": t, "y": x + t + rng.normal(size=n)})


def test_the_cards_of_all_results_say_what_the_result_holds_and_escape_names(log):
    found = effect(log, "t", "y", adjustment=[ODD], estimator="regression")
    model = UpliftModel.train(log, "t", "y", [ODD], learner="dr_linear")
    graph = CausalGraph.from_edges([ODD, "t", "y"], [(ODD, "t"), (ODD, "y"), ("t", "y")])
    rounds = pd.DataFrame(
        {ODD: log[ODD], "item_id": log["t"], "click": log["y"] > 0, "propensity_score": 0.5}
    )
    policy = learn_policy(rounds, [ODD], depth=2)
    value = policy_value(rounds, policy.probabilities(rounds), context=[ODD])
    world = shop(n_users=60, n_items=20, days=2, seed=0)
    cards = [
        (found, f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"),
        (model, f"{model.score.mean():.4g}"),
        (identify(graph, "t", "y"), f"adjust for: {ODD}"),
        (policy, policy.rules().splitlines()[0]),
        (value, f"{value.value:.5f}"),
        (world, f"{world.ate:.4g}"),
    ]
    for result, expected in cards:
        page = Tags(result._repr_html_())
        assert page.names <= TAGS
        assert expected in re.sub(r"\s+", " ", page.text), type(result)


def test_a_policy_without_a_value_is_refused_in_its_card(log):
    rounds = pd.DataFrame({"item_id": [0, 0, 1], "click": [0, 1, 1], "propensity_score": 0.5})
    policy = np.array([[0.5, 0.0, 0.5]] * 3)
    found = policy_value(rounds, policy, actions=[0, 1, 2])
    assert found.verdict != "ok"
    assert found.verdict in Tags(found._repr_html_()).text
