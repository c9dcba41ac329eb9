"""A simulated forum with known truth: a ranking that favours some topics from a known day on, and news that hits some before."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

EDGES = {
    "exposure": ["interest", "boosted", "comments[t-1]"],
    "posts": ["interest", "news", "comments[t-1]"],
    "comments": ["exposure", "posts", "news"],
    "sentiment": ["interest", "mood", "news", "comments", "sentiment[t-1]"],
}
"""Variable of a topic's day -> its direct causes, on the same day or (``[t-1]``) the day before: the equations below, read as a graph."""
DRIFT = -2.0
"""How far the public mood falls from the first day to the last, in its own standard deviations."""
_CUSTOMARY = -3.9  # logarithm of the comments a head that an ordinary topic has a day
_BEFORE = 30  # days that pass before the log begins, so that it starts in the usual state


@dataclass(frozen=True, repr=False)
class Forum:
    """A simulated forum's daily log with its truth.

    Attributes
    ----------
    users : one row each, with activity (mean 1, what the user contributes to all that is counted).
    topics : one row each: interest, favoured (by the new ranking, 0/1), in_the_news (0/1).
    daily : one row per (topic, day): interest, boosted (1 for the favoured from ``change_day`` on), news (0 to 1, of those in
        the news from ``shock_day`` on, fading), mood (of the public, the same for all topics), exposure (share of the users
        who were shown the topic), posts, comments (counts), sentiment (mean score of the day's comments, 0 is neutral).
    truth : aligned with ``daily``, never known of a real forum: exposure_if_unchanged, comments_if_unchanged,
        sentiment_if_unchanged (the same days without the change of the ranking), sentiment_if_no_news.
    graph : the `CausalGraph` of two days that generated the log, variables named as by `discovery.lagged` (interest, which
        stays, without a day). All causes of [t] are in it; those of [t-1] without what came earlier. knowledge : its tiers.
    change_day, shock_day, seed : what it was drawn with.
    """

    users: pd.DataFrame
    topics: pd.DataFrame
    daily: pd.DataFrame
    truth: pd.DataFrame
    graph: CausalGraph
    knowledge: Knowledge
    change_day: int
    shock_day: int
    seed: int

    @property
    def effect(self) -> float:
        """True average effect of the new ranking on the sentiment of the favoured topics, over the days since the change."""
        return self._average("sentiment_if_unchanged", self.daily["boosted"] == 1)

    @property
    def shock_effect(self) -> float:
        """True average effect of the news on the sentiment of the topics in the news, over the days since it broke."""
        return self._average("sentiment_if_no_news", self.daily["news"] > 0)

    def _average(self, without, rows):
        return float((self.daily["sentiment"] - self.truth[without])[rows].mean())

    def __repr__(self):
        shock = f"{self.shock_effect:.3f}" if (self.daily["news"] > 0).any() else "none"
        return (
            f"Forum of {len(self.users):,} users, {len(self.topics):,} topics ({int(self.topics['favoured'].sum())} favoured from day "
            f"{self.change_day}, {int(self.topics['in_the_news'].sum())} in the news from day {self.shock_day}), "
            f"{self.daily['day'].nunique()} days; true effect on sentiment: ranking {self.effect:.3f}, news {shock} (seed {self.seed})"
        )


def forum(
    n_users: int = 5000,
    n_topics: int = 40,
    days: int = 120,
    seed: int = 0,
    *,
    selection: float = 1.0,
    shock: float = 1.0,
) -> Forum:
    """A forum that changes its ranking half way, in favour of a quarter of the topics, a few days after news broke.

    Exposure brings comments, comments bring exposure the next day, and the more is commented the worse the tone. Tone lasts
    from day to day; news sours it, and so does the public mood, which drifts downwards and moves topics of much interest
    more than others. So topics of much interest would have gone another way than the rest without any change. Simple on
    purpose: no topic reacts to another one, users differ in how much they do only, and the days of a week are alike.

    Parameters
    ----------
    n_users : 100 or more. n_topics : 8 or more. days : 40 or more.
    seed : the same seed gives the same bytes.
    selection : how much interest decides which topics are favoured, which are in the news, and how much the public mood
        moves a topic, from 0: by lot, and all alike.
    shock : strength of the news, from 0: none.

    Raises
    ------
    ValueError
        for a size out of range.

    >>> world = forum(n_users=500, n_topics=8, days=40)
    >>> world.effect < 0, sorted(world.graph.parents("exposure[t]"))
    (True, ['boosted[t]', 'comments[t-1]', 'interest'])
    """
    smallest = {"n_users": (n_users, 100), "n_topics": (n_topics, 8), "days": (days, 40)}
    smallest |= {"selection": (selection, 0), "shock": (shock, 0)}
    for name, (value, least) in smallest.items():
        if not least <= value < np.inf:
            raise ValueError(f"{name} must be at least {least} and finite, not {value}")
    rng = np.random.default_rng(seed)
    users = pd.DataFrame({"user_id": np.arange(n_users, dtype=np.int32), "activity": rng.gamma(2.0, 0.5, n_users)})
    interest, tone = rng.standard_normal(n_topics), 0.3 * rng.standard_normal(n_topics)
    favoured = _largest(selection * interest + rng.standard_normal(n_topics), n_topics // 4)
    in_the_news = _largest(selection * interest + rng.standard_normal(n_topics), n_topics // 2)
    change_day, shock_day = days // 2, days // 2 - 6
    day = np.arange(-_BEFORE, days)
    mood = _mood(day / days, rng)
    noise = {name: rng.standard_normal((len(day), n_topics)) for name in EDGES}
    boosted = favoured & (day >= change_day)[:, None]
    fading = np.exp(-np.maximum(day - shock_day, 0) / 8) * (day >= shock_day)
    news = shock * in_the_news * fading[:, None]
    scale = users["activity"].sum()
    arms = {
        name: _run(interest, tone, change, shocked, mood, selection, noise, scale)
        for name, change, shocked in (
            ("is", boosted, news),
            ("unchanged", np.zeros_like(boosted), news),
            ("no_news", boosted, np.zeros_like(news)),
        )
    }
    topic, when = (a.ravel() for a in np.indices((n_topics, days)))
    at = when + _BEFORE, topic  # rows go topic by topic
    is_so, unchanged = arms["is"], arms["unchanged"]
    daily = pd.DataFrame(
        {
            "topic": topic.astype(np.int32),
            "day": when.astype(np.int16),
            "interest": interest[topic],
            "boosted": boosted[at].astype(np.int8),
            "news": news[at],
            "mood": mood[at[0]],
            **{name: is_so[name][at] for name in EDGES},
        }
    ).astype({"posts": np.int32, "comments": np.int32})
    truth = pd.DataFrame(
        {f"{name}_if_unchanged": unchanged[name][at] for name in ("exposure", "comments", "sentiment")}
    )
    truth["sentiment_if_no_news"] = arms["no_news"]["sentiment"][at]
    topics = pd.DataFrame(
        {
            "topic": np.arange(n_topics, dtype=np.int32),
            "interest": interest,
            "favoured": favoured.astype(np.int8),
            "in_the_news": in_the_news.astype(np.int8),
        }
    )
    return Forum(users, topics, daily, truth, _graph(), _knowledge(), change_day, shock_day, seed)


# ---- the structural equations, each a function of the graph's parents ---------------------------------------------


def expected_exposure(interest, boosted, comments_before) -> np.ndarray:
    """Share of the users who are shown the topic, by what was commented a head the day before."""
    heat = np.log(comments_before + 1e-4) - _CUSTOMARY
    return _sigmoid(-1.8 + 0.5 * interest + 0.9 * boosted + 0.3 * heat)


def expected_posts(interest, news, comments_before) -> np.ndarray:
    """Posts a head."""
    return 0.004 * np.exp(0.5 * interest + 0.8 * news + 0.2 * (np.log(comments_before + 1e-4) - _CUSTOMARY))


def expected_comments(exposure, posts, news) -> np.ndarray:
    """Comments a head."""
    return exposure * _sigmoid(-2.0 + 0.2 * np.log((posts + 1e-4) / 0.004) + 0.5 * news)


def expected_sentiment(tone, loading, mood, news, comments, sentiment_before) -> np.ndarray:
    """Mean score of the day's comments; ``tone`` and ``loading`` are of the topic (`mood_loading` of its interest)."""
    heat = np.log(comments + 1e-4) - _CUSTOMARY
    return 0.5 * tone - 0.1 * heat - 0.2 * news + loading * mood + 0.5 * sentiment_before


def mood_loading(interest, selection) -> np.ndarray:
    """How much the public mood moves a topic's sentiment in a day."""
    return 0.05 + 0.03 * selection * np.asarray(interest)


def _run(interest, tone, boosted, news, mood, selection, noise, scale):
    """The log's days by topics; the same noise in every arm, so that arms differ by what was changed only."""
    loading = mood_loading(interest, selection)
    comments, sentiment = np.full_like(interest, np.exp(_CUSTOMARY)), tone.copy()
    log = {name: np.empty_like(values) for name, values in noise.items()}
    for t in range(len(mood)):
        before = comments
        shown = expected_exposure(interest, boosted[t], before)
        exposure = _sigmoid(np.log(shown / (1 - shown)) + 0.15 * noise["exposure"][t])
        posts = _count(scale * expected_posts(interest, news[t], before), noise["posts"][t])
        count = _count(scale * expected_comments(exposure, posts / scale, news[t]), noise["comments"][t])
        comments = count / scale
        expected = expected_sentiment(tone, loading, mood[t], news[t], comments, sentiment)
        sentiment = expected + 0.08 * noise["sentiment"][t]
        for name, values in zip(EDGES, (exposure, posts, count, sentiment), strict=True):
            log[name][t] = values
    return log


def _count(mean, z):
    """A count near ``mean`` that rises with ``z``: the normal stand-in for a Poisson count, so that arms share their noise."""
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


_OUTER = ["boosted", "news", "mood"]  # what comes from outside and depends on its own past only


def _graph():
    days = [[f"{name}{day}" for name in (*_OUTER, *EDGES)] for day in ("[t-1]", "[t]")]
    edges = [(f"{name}[t-1]", f"{name}[t]") for name in _OUTER]
    for effect, causes in EDGES.items():
        for cause in causes:
            if cause.endswith("[t-1]"):
                edges.append((cause, f"{effect}[t]"))
            else:
                edges += [(cause if cause == "interest" else cause + day, effect + day) for day in ("[t-1]", "[t]")]
    return CausalGraph.from_edges(["interest", *days[0], *days[1]], edges)


def _knowledge():
    groups = [[f"{name}{day}" for name in names] for day in ("[t-1]", "[t]") for names in (_OUTER, EDGES)]
    return Knowledge(tiers=[["interest"], *groups])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
