"""A forum with known truth: a ranking favours some topics from a known day on, after news broke."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from causal_lib.worlds.base import World, check_sizes, sigmoid, simulates, structure

EDGES = {
    "exposure": ["interest", "boosted", "comments[t-1]"],
    "posts": ["interest", "news", "comments[t-1]"],
    "comments": ["exposure", "posts", "news"],
    "sentiment": ["interest", "mood", "news", "comments", "sentiment[t-1]"],
}
"""Variable of a topic's day to its direct causes, on the same day or (``[t-1]``) the day before."""
_EVENTS = {
    "boosted": ["interest", "day"],
    "news": ["interest", "day"],
    "mood": ["day"],
}
"""Variable to its causes that stay the same or pass with time; each also has its own past."""
DRIFT = -2.0
"""How far the public mood falls from the first day to the last, in its own standard deviations."""
_CUSTOMARY = -3.9  # logarithm of the comments per user that an ordinary topic has in a day
_BEFORE = 30  # days that pass before the log begins, so that it starts in the usual state


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Forum(World):
    """A simulated forum's daily log with its truth.

    Attributes
    ----------
    users : one row each, with activity (mean 1, what the user contributes to all counts).
    topics : one row each: interest, favoured (by the new ranking, 0/1), in_the_news (0/1).
    frame : one row per (topic, day): interest, boosted (1 for the favoured from ``change_day`` on),
        news (0 to 1, of the topics in the news from ``shock_day`` on, fading), mood (of the public,
        the same for all topics), exposure (share of the users who were shown the topic), posts,
        comments (counts), sentiment (mean score of the day's comments, 0 is neutral).
    truth : exposure_if_unchanged, comments_if_unchanged, sentiment_if_unchanged (the same days
        without the change of the ranking), sentiment_if_no_news.
    graph : of two days, variables named as by `discovery.lagged` (interest and the hidden tone of a
        topic, which stay the same, and day without one). All causes of [t] are in it; those of
        [t-1] without what came earlier.
    change_day, shock_day : the first day of the new ranking, and of the news.
    """

    users: pd.DataFrame
    topics: pd.DataFrame
    change_day: int
    shock_day: int

    hidden: ClassVar = ("tone",)

    @property
    def daily(self) -> pd.DataFrame:
        """The frame: every topic on every day."""
        return self.frame

    @property
    def true_effects(self) -> dict[str, float]:
        """Effect on sentiment of the ranking, and of the news where there is any.

        Each is the average over the rows that it reached, not over all: the topics that the ranking
        favours since the change, the topics in the news since it broke.
        """
        effects = {}
        for treatment, without in (("boosted", "unchanged"), ("news", "no_news")):
            reached = self.frame[treatment] > 0
            if reached.any():
                change = self.frame["sentiment"] - self.truth[f"sentiment_if_{without}"]
                effects[f"{treatment} -> sentiment"] = float(change[reached].mean())
        return effects

    @property
    def effect(self) -> float:
        """True effect of the new ranking on the favoured topics' sentiment since the change."""
        return self.true_effects["boosted -> sentiment"]

    @property
    def shock_effect(self) -> float:
        """True effect of the news on the sentiment of the topics in it; nan where there is none."""
        return self.true_effects.get("news -> sentiment", np.nan)

    def _summary(self):
        shock = "none" if np.isnan(self.shock_effect) else f"{self.shock_effect:.3f}"
        return (
            f"{len(self.users):,} users, {len(self.topics):,} topics "
            f"({int(self.topics['favoured'].sum())} favoured from day {self.change_day}, "
            f"{int(self.topics['in_the_news'].sum())} in the news from day {self.shock_day}), "
            f"{self.frame['day'].nunique()} days; true effect on sentiment: ranking "
            f"{self.effect:.3f}, news {shock}"
        )


@simulates("6.3")
def forum(
    n_users: int = 5000,
    n_topics: int = 40,
    days: int = 120,
    seed: int = 0,
    *,
    selection: float = 1.0,
    shock: float = 1.0,
) -> Forum:
    """A forum that changes its ranking in favour of a quarter of its topics, just after news broke.

    Exposure brings comments, comments bring exposure the next day, and more comments make the tone
    worse. Tone lasts from day to day; news lowers it, and so does the public mood, which drifts
    downwards and moves topics of much interest more than others. So topics of much interest would
    have differed from the rest without any change. The forum is simple on purpose: no topic reacts
    to another one, users differ only in how much they do, and the days of a week are alike.

    Parameters
    ----------
    n_users : 100 or more.
    n_topics : 8 or more.
    days : 40 or more.
    seed : the same seed gives the same bytes.
    selection : how much interest decides which topics are favoured, which are in the news, and how
        much the public mood moves a topic; from 0, which means at random, and all alike.
    shock : strength of the news, from 0, which means none.

    Raises
    ------
    ValueError
        for a size out of range.

    Source: the article, section 6.3.

    >>> world = forum(n_users=500, n_topics=8, days=40)
    >>> world.effect < 0, sorted(world.graph.parents("exposure[t]"))
    (True, ['boosted[t]', 'comments[t-1]', 'interest'])
    """
    check_sizes(
        n_users=(n_users, 100),
        n_topics=(n_topics, 8),
        days=(days, 40),
        selection=(selection, 0),
        shock=(shock, 0),
    )
    rng = np.random.default_rng(seed)
    activity = rng.gamma(2.0, 0.5, n_users)
    users = pd.DataFrame({"user_id": np.arange(n_users, dtype=np.int32), "activity": activity})
    interest = rng.standard_normal(n_topics)
    tone = 0.3 * rng.standard_normal(n_topics)
    favoured = _largest(selection * interest + rng.standard_normal(n_topics), n_topics // 4)
    in_the_news = _largest(selection * interest + rng.standard_normal(n_topics), n_topics // 2)
    change_day = days // 2
    shock_day = days // 2 - 6
    day = np.arange(-_BEFORE, days)
    mood = _mood(day / days, rng)
    noise = {name: rng.standard_normal((len(day), n_topics)) for name in EDGES}
    boosted = favoured & (day >= change_day)[:, None]
    fading = np.exp(-np.maximum(day - shock_day, 0) / 8) * (day >= shock_day)
    news = shock * in_the_news * fading[:, None]
    given = (interest, tone, mood, selection, noise, users["activity"].sum())
    actual = _run(boosted, news, *given)
    unchanged = _run(np.zeros_like(boosted), news, *given)
    no_news = _run(boosted, np.zeros_like(news), *given)
    topic, when = (index.ravel() for index in np.indices((n_topics, days)))
    at = when + _BEFORE, topic  # rows go topic by topic
    daily = pd.DataFrame(
        {
            "topic": topic.astype(np.int32),
            "day": when.astype(np.int16),
            "interest": interest[topic],
            "boosted": boosted[at].astype(np.int8),
            "news": news[at],
            "mood": mood[at[0]],
            **{name: actual[name][at] for name in EDGES},
        }
    ).astype({"posts": np.int32, "comments": np.int32})
    truth = pd.DataFrame(
        {
            "exposure_if_unchanged": unchanged["exposure"][at],
            "comments_if_unchanged": unchanged["comments"][at],
            "sentiment_if_unchanged": unchanged["sentiment"][at],
            "sentiment_if_no_news": no_news["sentiment"][at],
        }
    )
    topics = pd.DataFrame(
        {
            "topic": np.arange(n_topics, dtype=np.int32),
            "interest": interest,
            "favoured": favoured.astype(np.int8),
            "in_the_news": in_the_news.astype(np.int8),
        }
    )
    graph, knowledge = _two_days(selection, shock)
    return Forum(
        frame=daily,
        truth=truth,
        graph=graph,
        knowledge=knowledge,
        seed=seed,
        users=users,
        topics=topics,
        change_day=change_day,
        shock_day=shock_day,
    )


def _two_days(selection, shock):
    """Graph and knowledge of yesterday and today.

    Without ``selection`` interest has no part in what is favoured or in the news, nor in how much
    the mood moves a topic; without ``shock`` nothing acts on the news.
    """
    causes = {}
    tiers = [["interest", "day"]]
    for day in ("[t-1]", "[t]"):
        tiers += [[name + day for name in names] for names in (_EVENTS, EDGES)]
        for event, of_event in _EVENTS.items():
            own = [f"{event}[t-1]"] if day == "[t]" else []
            causes[event + day] = own + of_event
        for effect, of_effect in EDGES.items():
            same_day = [cause + day for cause in of_effect if cause + day in tiers[-1] + tiers[-2]]
            constant = [cause for cause in of_effect if cause == "interest"]
            earlier = [cause for cause in of_effect if cause.endswith("[t-1]") and day == "[t]"]
            causes[effect + day] = [*same_day, *constant, *earlier]
        causes[f"sentiment{day}"].append("tone")
        if selection == 0:
            for name in ("boosted", "news", "sentiment"):
                causes[name + day].remove("interest")
        if shock == 0:
            causes[f"news{day}"] = []
    return structure(causes, tiers, names=["tone", *(name for tier in tiers for name in tier)])


# ---- the structural equations, each a function of the graph's parents ------------------------


def expected_exposure(interest, boosted, comments_before) -> np.ndarray:
    """Share of the users who are shown the topic, given yesterday's comments per user."""
    heat = np.log(comments_before + 1e-4) - _CUSTOMARY
    return sigmoid(-1.8 + 0.5 * interest + 0.9 * boosted + 0.3 * heat)


def expected_posts(interest, news, comments_before) -> np.ndarray:
    """Posts per user."""
    heat = np.log(comments_before + 1e-4) - _CUSTOMARY
    return 0.004 * np.exp(0.5 * interest + 0.8 * news + 0.2 * heat)


def expected_comments(exposure, posts, news) -> np.ndarray:
    """Comments per user."""
    return exposure * sigmoid(-2.0 + 0.2 * np.log((posts + 1e-4) / 0.004) + 0.5 * news)


def expected_sentiment(tone, loading, mood, news, comments, sentiment_before) -> np.ndarray:
    """Mean score of the day's comments, given the topic's ``tone`` and `mood_loading`."""
    heat = np.log(comments + 1e-4) - _CUSTOMARY
    return 0.5 * tone - 0.1 * heat - 0.2 * news + loading * mood + 0.5 * sentiment_before


def mood_loading(interest, selection) -> np.ndarray:
    """How much the public mood moves a topic's sentiment in a day."""
    return 0.05 + 0.03 * selection * np.asarray(interest)


def _run(boosted, news, interest, tone, mood, selection, noise, scale):
    """Variable to (days, topics) values; every arm gets the same noise, so that only it differs."""
    loading = mood_loading(interest, selection)
    comments = np.full_like(interest, np.exp(_CUSTOMARY))
    sentiment = tone.copy()
    log = {name: np.empty_like(values) for name, values in noise.items()}
    for t in range(len(mood)):
        before = comments
        shown = expected_exposure(interest, boosted[t], before)
        exposure = sigmoid(np.log(shown / (1 - shown)) + 0.15 * noise["exposure"][t])
        posts = _count(scale * expected_posts(interest, news[t], before), noise["posts"][t])
        mean = scale * expected_comments(exposure, posts / scale, news[t])
        count = _count(mean, noise["comments"][t])
        comments = count / scale
        expected = expected_sentiment(tone, loading, mood[t], news[t], comments, sentiment)
        sentiment = expected + 0.08 * noise["sentiment"][t]
        log["exposure"][t] = exposure
        log["posts"][t] = posts
        log["comments"][t] = count
        log["sentiment"][t] = sentiment
    return log


def _count(mean, z):
    """A count near ``mean`` that rises with ``z``: a normal approximation to Poisson counts."""
    return np.maximum(np.rint(mean + np.sqrt(mean) * z), 0)


def _mood(time, rng):
    """An autoregression of spread 1 around a line that falls by `DRIFT` from time 0 to 1."""
    swing = np.empty(len(time))
    swing[0] = rng.standard_normal()
    for t in range(1, len(time)):
        swing[t] = 0.8 * swing[t - 1] + 0.6 * rng.standard_normal()
    return DRIFT * np.clip(time, 0, None) + swing


def _largest(values, k):
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(values)[len(values) - k :]] = True
    return chosen
