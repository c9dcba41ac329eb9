"""The forum's truth against what it realised; bounds are 4 standard errors of the simulated means."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_frame
from causal_lib.inference import NotIdentifiableError, identify
from causal_lib.worlds import opinions as f

SMALL = {"n_users": 500, "n_topics": 8, "days": 40}


@pytest.fixture(scope="module")
def world():
    return f.forum(seed=1)


def _centred(values):
    """The mean of ``values`` is 0, up to chance."""
    values = np.asarray(values, dtype=float)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def _digest(world):
    frames = (world.users, world.topics, world.daily, world.truth)
    return [pd.util.hash_pandas_object(frame, index=False).sum() for frame in frames]


def _with_yesterday(world, *columns):
    """Rows of the days that have a day before, and yesterday's columns beside them."""
    daily = world.daily
    before = daily.groupby("topic")[list(columns)].shift(1)
    rows = before.notna().all(axis=1)
    return daily[rows], before[rows]


def test_same_seed_same_bytes():
    assert _digest(f.forum(**SMALL, seed=5)) == _digest(f.forum(**SMALL, seed=5))
    first, other = (_digest(f.forum(**SMALL, seed=s)) for s in (5, 6))
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_rows_are_distinct_topic_days(world):
    daily = world.daily
    check_frame(daily, daily.columns, key=["topic", "day"], complete=True)
    assert len(daily) == len(world.truth) == 40 * 120
    assert daily["exposure"].between(0, 1).all()
    assert (daily[["posts", "comments"]] >= 0).all(axis=None)
    assert daily.groupby("day")["mood"].nunique().max() == 1
    assert world.topics["favoured"].sum() == 10
    assert world.topics["in_the_news"].sum() == 20


def test_change_and_shock_come_on_their_days_to_their_topics(world):
    daily = world.daily.merge(world.topics.drop(columns="interest"), on="topic")
    boosted = (daily["favoured"] == 1) & (daily["day"] >= world.change_day)
    assert (daily["boosted"] == boosted).all()
    assert (
        (daily["news"] > 0) == ((daily["in_the_news"] == 1) & (daily["day"] >= world.shock_day))
    ).all()
    assert (
        daily.loc[(daily["in_the_news"] == 1) & (daily["day"] == world.shock_day), "news"] == 1
    ).all()
    assert (f.forum(**SMALL, shock=0).daily["news"] == 0).all()


def test_the_graph_holds_what_confounds_the_ranking():
    """Interest decides which topics are favoured and in the news, the day when, and the mood too."""
    world = f.forum(**SMALL)
    for day in ("[t-1]", "[t]"):
        for name, causes in (("boosted", {"interest", "day"}), ("news", {"interest", "day"}), ("mood", {"day"})):  # fmt: skip
            earlier = {f"{name}[t-1]"} if day == "[t]" else set()
            assert world.graph.parents(name + day) == causes | earlier
    with pytest.raises(NotIdentifiableError, match="interest"):
        identify(world.graph, "boosted[t]", "sentiment[t]", hidden=["interest", "tone"])
    at_random = f.forum(**SMALL, selection=0.0).graph
    assert {edge for edge in at_random.edges if edge.startswith("interest ")} == {
        f"interest -> {name}{day}" for name in ("exposure", "posts") for day in ("[t-1]", "[t]")
    }
    assert f.forum(**SMALL, shock=0.0).graph.parents("news[t]") == set()


def test_graph_and_knowledge_agree_with_the_equations(world):
    logged = [name for name in world.graph.names if name not in world.hidden]
    assert world.knowledge.violations(world.graph.subgraph(logged)) == []
    assert world.graph.kind == "DAG"
    usual = {
        "interest": 0.1, "boosted": 0, "news": 0.0, "mood": 0.0, "comments[t-1]": 0.02, "exposure": 0.1, "posts": 0.004,
        "comments": 0.02, "sentiment[t-1]": 0.0,
    }  # fmt: skip
    other = {
        "interest": 0.6, "boosted": 1, "news": 1.0, "mood": 1.0, "comments[t-1]": 0.05, "exposure": 0.3, "posts": 0.008,
        "comments": 0.05, "sentiment[t-1]": 0.5,
    }  # fmt: skip
    equations = {
        "exposure": lambda v: f.expected_exposure(v["interest"], v["boosted"], v["comments[t-1]"]),
        "posts": lambda v: f.expected_posts(v["interest"], v["news"], v["comments[t-1]"]),
        "comments": lambda v: f.expected_comments(v["exposure"], v["posts"], v["news"]),
        "sentiment": lambda v: f.expected_sentiment(
            0.0,
            f.mood_loading(v["interest"], 1.0),
            v["mood"],
            v["news"],
            v["comments"],
            v["sentiment[t-1]"],
        ),
    }
    for effect, equation in equations.items():
        parents = {
            p if p.endswith("[t-1]") or p == "interest" else f"{p}[t]" for p in f.EDGES[effect]
        }
        hidden = {"tone"} if effect == "sentiment" else set()
        assert world.graph.parents(f"{effect}[t]") == parents | hidden
        for name in usual:  # every edge is at work, and no other (the mood acts where it is not 0)
            start = usual | ({"mood": -1.0} if name == "interest" else {})
            moved = equation(start) != equation(start | {name: other[name]})
            assert moved == (name in f.EDGES[effect])


def test_the_log_follows_its_equations(world):
    today, before = _with_yesterday(world, "comments", "sentiment")
    scale = world.users["activity"].sum()
    yesterday = before["comments"] / scale
    shown = f.expected_exposure(today["interest"], today["boosted"], yesterday)
    _centred(np.log(today["exposure"] / (1 - today["exposure"])) - np.log(shown / (1 - shown)))
    mean = scale * f.expected_posts(today["interest"], today["news"], yesterday)
    many = mean > 10  # where cutting at 0 is rare
    _centred(((today["posts"] - mean) / np.sqrt(mean))[many])
    mean = scale * f.expected_comments(today["exposure"], today["posts"] / scale, today["news"])
    _centred((today["comments"] - mean) / np.sqrt(mean))
    loading = f.mood_loading(today["interest"], 1.0)
    rest = (
        0.0,
        loading,
        today["mood"],
        today["news"],
        today["comments"] / scale,
        before["sentiment"],
    )
    left = today["sentiment"] - f.expected_sentiment(*rest)  # half the topic's tone and noise
    within = left - left.groupby(today["topic"]).transform("mean")
    assert within.std() == pytest.approx(0.08, rel=4 / np.sqrt(2 * len(within)))
    for name in ("exposure", "posts"):  # act through comments only
        _centred(within * (today[name] - today[name].groupby(today["topic"]).transform("mean")))


def test_potential_outcomes_differ_where_something_was_changed_only(world):
    daily = world.daily
    truth = world.truth
    untouched = daily["boosted"] == 0
    for name in ("exposure", "comments", "sentiment"):
        assert (daily[name] == truth[f"{name}_if_unchanged"])[untouched].all()
    assert (daily["exposure"] > truth["exposure_if_unchanged"])[~untouched].all()
    assert (daily["sentiment"] == truth["sentiment_if_no_news"])[daily["news"] == 0].all()
    gap = (daily["sentiment"] - truth["sentiment_if_unchanged"])[~untouched]
    assert world.effect == pytest.approx(gap.mean(), rel=1e-9)
    assert world.effect < 0
    assert world.shock_effect < 0
    # ten days after the change the effect is where the equations come to rest: -0.1 / (1 - 0.5) a
    # unit of log comments
    late = ~untouched & (daily["day"] >= world.change_day + 10)
    heat = np.log(daily["comments"] / truth["comments_if_unchanged"])[late]
    assert (gap[late]).mean() == pytest.approx(-0.2 * heat.mean(), rel=0.05)


def test_selection_decides_who_is_favoured():
    chosen, by_lot = (
        [
            w.topics.groupby("favoured")["interest"].mean().diff().iloc[1]
            for w in (f.forum(500, 40, 40, seed=s, selection=selection) for s in range(30))
        ]
        for selection in (1, 0)
    )
    _centred(by_lot)
    assert min(np.mean(chosen), np.mean(chosen) - np.mean(by_lot)) > 4 * np.std(chosen) / np.sqrt(
        30
    )


def test_it_says_what_it_is():
    text = repr(f.forum(**SMALL, seed=3))
    assert text.startswith(
        "Forum of 500 users, 8 topics (2 favoured from day 20, 4 in the news from day 14), 40 "
        "days; "
    )
    assert "news none" in repr(f.forum(**SMALL, shock=0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_users": 99}, "n_users must be at least 100, not 99"),
        ({"n_topics": 7}, "n_topics must be at least 8"),
        ({"days": 39}, "days must be at least 40"),
        ({"selection": -0.1}, "selection must be at least 0"),
        ({"shock": np.nan}, "shock must be finite, not nan"),
        ({"shock": np.inf}, "shock must be finite, not inf"),
    ],
)
def test_sizes_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        f.forum(**SMALL | given)


def test_the_world_stays_the_same(fingerprint):
    """Computed once: what changes a number changes every result that was made with the world."""
    small = f.forum(300, 9, 44, 2, selection=1.3, shock=0.8)
    found = [
        fingerprint(small.users, small.topics), fingerprint(small.daily), fingerprint(small.truth), small.effect,
        small.shock_effect,
    ]  # fmt: skip
    expected = [
        154.3382156961764,
        31.03535442176429,
        4.7571580861631615,
        -0.18230052648609102,
        -0.13602577856289186,
    ]
    assert found == pytest.approx(expected, rel=1e-8)
    plain = f.forum(200, 8, 40)
    assert fingerprint(plain.daily, plain.truth) == pytest.approx(30.571196511518817, rel=1e-8)


def test_the_equations_by_hand():
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    usual = np.exp(-3.9) - 1e-4
    e = np.exp(1.0)  # comments a head at which there is no heat
    assert f.expected_exposure(0.6, 1, usual) == pytest.approx(s(-1.8 + 0.3 + 0.9))
    assert f.expected_exposure(0.0, 0, e * (usual + 1e-4) - 1e-4) == pytest.approx(s(-1.8 + 0.3))
    assert f.expected_posts(1.0, 0.5, usual) == pytest.approx(0.004 * np.exp(0.5 + 0.4))
    assert f.expected_posts(0.0, 0.0, e * (usual + 1e-4) - 1e-4) == pytest.approx(
        0.004 * np.exp(0.2)
    )
    assert f.expected_comments(0.3, 0.004 - 1e-4, 1.0) == pytest.approx(0.3 * s(-2.0 + 0.5))
    assert f.expected_comments(0.3, 0.004 * e - 1e-4, 0.0) == pytest.approx(0.3 * s(-2.0 + 0.2))
    assert f.expected_sentiment(0.4, 0.08, -1.5, 0.5, usual, 0.6) == pytest.approx(
        0.2 - 0.1 - 0.12 + 0.3
    )
    assert f.expected_sentiment(0, 0, 0, 0, e * (usual + 1e-4) - 1e-4, 0) == pytest.approx(-0.1)
    assert f.mood_loading(2.0, 0.5) == pytest.approx(0.05 + 0.03)
