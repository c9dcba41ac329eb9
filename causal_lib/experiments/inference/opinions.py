"""Panel methods on simulated forums: the effect of a new ranking on sentiment, over many worlds.

The worlds differ in how the topics that the ranking favours were chosen, and in whether news broke
before it changed.
"""

from collections.abc import Iterator

import joblib
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, prediction, report
from causal_lib.inference.panel import (
    difference_in_differences,
    interrupted_time_series,
    synthetic_control,
    synthetic_difference_in_differences,
)
from causal_lib.metric import Metric
from causal_lib.worlds.opinions import Forum, forum

KINDS = {
    "by interest": {},
    "at random": {"selection": 0.0},
    "by interest, no news": {"shock": 0.0},
}
"""How the favoured topics are chosen -> arguments of `forum`."""
_PANEL = {"treated": "boosted", "unit": "topic", "time": "day"}
_BEFORE_AFTER = "before against after"
_ACROSS = "favoured against others"
_ITS = "interrupted time series"
_DID = "difference in differences"
_SC = "synthetic control"
_SDID = "synthetic difference in differences"
_ADJUSTED = ", adjusted for mood and news"
_PAST = ", adjusted for mood and news of four days"
_DAYS = 3
"""How far the longer adjustment reaches back: tone lasts from day to day, halved each day."""


def estimates(world: Forum, placebos: int = 99) -> Iterator[tuple]:
    """(name, value, low, high, p of the check of trends, verdict) of each method; nan and None
    where a method has none.

    The adjusted interrupted time series takes the favoured topics' mean sentiment less what mood
    and news explain by the slopes of `difference_in_differences`.
    """
    rows = world.daily.merge(world.topics[["topic", "favoured"]], on="topic")
    since = rows["day"] >= world.change_day
    mean = rows.groupby(["favoured", since])["sentiment"].mean()
    for name, value in (
        (_BEFORE_AFTER, mean[1, True] - mean[1, False]),
        (_ACROSS, mean[1, True] - mean[0, True]),
    ):
        yield name, value, np.nan, np.nan, np.nan, None
    columns = ["mood", "news"] if rows["news"].any() else ["mood"]
    late, past = with_past(rows, columns)
    for ending, given, part in (("", [], rows), (_ADJUSTED, columns, rows), (_PAST, past, late)):
        how = {"adjustment": given, **_PANEL}
        of_trends = difference_in_differences(part, "sentiment", **how)
        series = of_trends.path["observed"].rename_axis("day").reset_index()
        drawn = how | {"placebos": placebos}
        for name, found in (
            (_ITS, interrupted_time_series(series, "observed", time="day", start=world.change_day)),
            (_DID, of_trends),
            (_SC, synthetic_control(part, "sentiment", **drawn)),
            (f"{_SC}, demeaned", synthetic_control(part, "sentiment", demeaned=True, **drawn)),
            (_SDID, synthetic_difference_in_differences(part, "sentiment", **drawn)),
        ):
            p = found.diagnostics.get("pre_trend_p", np.nan)
            yield name + ending, found.value, found.low, found.high, p, found.verdict


def with_past(rows: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The days that have three days before them, and the names of ``columns`` and of their values
    on those three days, such as "mood 2 days before".
    """
    earlier = {
        f"{name} {days} days before": rows.groupby("topic")[name].shift(days)
        for name in columns
        for days in range(1, _DAYS + 1)
    }
    return rows.assign(**earlier).dropna(), [*columns, *earlier]


def _run(kind, seed, sizes):
    world = forum(**sizes, seed=seed, **KINDS[kind])
    truth = world.effect
    return [
        {
            "kind": kind,
            "method": name,
            "world": seed,
            "error": value - truth,
            "covers": None if np.isnan(low) else bool(low <= truth <= high),
            "pre_trend_p": p,
            "verdict": verdict,
        }
        for name, value, low, high, p, verdict in estimates(world)
    ]


def errors(worlds: int = 100, *, n_jobs: int = 1, **sizes: int) -> pd.DataFrame:
    """One row for each kind, world and method: error, covers, pre_trend_p and verdict.

    Worlds are numbered from 0; ``sizes`` are those of `forum`.
    """
    jobs = (joblib.delayed(_run)(kind, seed, sizes) for kind in KINDS for seed in range(worlds))
    return pd.DataFrame([row for rows in joblib.Parallel(n_jobs)(jobs) for row in rows])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind and method: mean error with its 95% interval (low, high), mean absolute
    error, coverage with its Wilson interval (coverage low, coverage high), shares of worlds that
    are supported and in which the check of trends has p < 0.05, coverage among those supported.
    """
    rows = []
    for names, part in table.groupby(["kind", "method"], sort=False):
        mean = Metric.mean_of("", "", part["error"])
        row = dict(zip(("kind", "method"), names, strict=True)) | {
            "worlds": len(part),
            "mean error": mean.value,
            "low": mean.low,
            "high": mean.high,
            "mean absolute error": part["error"].abs().mean(),
        }
        held = part["covers"].dropna().astype(bool)
        ends = (None, None)
        if len(held):
            ends = binomtest(int(held.sum()), len(held)).proportion_ci(method="wilson")
        supported = part["verdict"] == "supported"
        row |= {
            "coverage": held.mean() if len(held) else None,
            "coverage low": ends[0],
            "coverage high": ends[1],
            "supported": supported.mean() if part["verdict"].notna().any() else None,
            "trend seen": (part["pre_trend_p"] < 0.05).mean()
            if part["pre_trend_p"].notna().any()
            else None,
            "coverage where supported": held[supported].mean() if supported.any() else None,
        }
        rows.append(row)
    return pd.DataFrame(rows)


@benchmark("inference.opinions", peer="the truth of the simulated forums")
def study(
    worlds: int = 100,
    *,
    n_users: int = 5000,
    n_topics: int = 40,
    days: int = 120,
    n_jobs: int = 1,
) -> dict:
    """Error and coverage of panel methods for a new ranking's effect on sentiment, in forums whose
    favoured topics are chosen by interest or at random; some 20 minutes on 1 core.
    """
    table = errors(worlds, n_jobs=n_jobs, n_users=n_users, n_topics=n_topics, days=days)
    claims, predictions = _judged(table)
    rows = summary(table).astype(object)
    rows = rows.where(rows.notna(), None).to_dict("records")
    return report(claims, predictions=predictions, worlds=worlds, rows=rows)


_TRIED = (
    "Written after a trial on ten other worlds (seeds 100 to 109) had shown it in the rough; "
    "tested on new ones."
)
_LATER = (
    "Written after the day's mood and news alone had failed, and after difference in differences "
    "had been tried with the longer adjustment on eight other worlds (seeds 100 to 107)."
)
_SEEN = "Written after one world (seed 0) had been seen with this adjustment."


def _judged(table):
    """The claims and the predictions that they decide.

    The first seven predictions were made for 20 worlds in a notebook.
    """
    chosen = "by interest"
    calm = "by interest, no news"

    def values(kind, method, what="error"):
        part = table[(table["kind"] == kind) & (table["method"] == method)].sort_values("world")
        return part[what].to_numpy()

    def excludes_zero(kind, method):
        """How far 0 lies outside the interval of the mean error."""
        mean = Metric.mean_of("", "", values(kind, method))
        name = f"{method}, {kind}: distance of 0 from the interval of the mean error"
        return Claim.of(name, [max(mean.low, -mean.high)], "above 0")

    def within(kind, method, margin):
        mean = Metric.mean_of("", "", values(kind, method))
        name = f"{method}, {kind}: farther end of the interval of the mean error"
        return Claim.of(name, [max(abs(mean.low), abs(mean.high))], f"below {margin}")

    def coverage(kind, method, target):
        held = values(kind, method, "covers").astype(bool)
        return Claim.of(f"{method}, {kind}: coverage", held, target)

    def lower_end(name, difference):
        return Claim.of(f"{name}: lower end", [Metric.mean_of("", "", difference).low], "above 0")

    bent = Metric.mean_of("", "", values(chosen, _ITS) - values(calm, _ITS))
    bend = [max(bent.low, -bent.high)]
    held = values(calm, _ITS, "covers").astype(bool)
    highest = binomtest(int(held.sum()), len(held)).proportion_ci(method="wilson").high
    warned = values(chosen, _DID, "pre_trend_p") < 0.05
    absolute = {name: np.abs(values(chosen, name)) for name in (_DID, _SC, _ITS, _ITS + _ADJUSTED)}
    bent_less = absolute[_ITS] - absolute[_ITS + _ADJUSTED]
    did = _DID + _ADJUSTED
    did_past = _DID + _PAST
    past = f"{_SC}, demeaned{_PAST}"
    demeaned = f"{_SC}, demeaned{_ADJUSTED}"
    judged = [
        (
            "Naive answers are biased where the ranking favours topics of much interest: "
            "the 95% intervals of the mean error over the worlds, of before against after "
            "and of favoured against other topics, exclude 0.",
            [excludes_zero(chosen, _BEFORE_AFTER), excludes_zero(chosen, _ACROSS)],
            _TRIED,
        ),
        (
            "News a few days before the change bends an interrupted time series: in pairs "
            "of worlds with and without it, the interval of the difference excludes 0.",
            [
                Claim.of(
                    f"{_ITS}: distance of 0 from the interval of what news adds", bend, "above 0"
                )
            ],
            _TRIED,
        ),
        (
            "Without news an interrupted time series is no better than its line: the public"
            " mood wanders, so its 95% intervals cover the truth in significantly less than"
            " 95% of the worlds.",
            [Claim.of(f"{_ITS}, {calm}: upper end of the coverage", [highest], "below 0.95")],
            _TRIED,
        ),
        (
            "Difference in differences is biased where topics of interest follow the public"
            " mood more (interval of the mean error excludes 0), and right where topics are"
            " favoured by lot: there the interval of the mean error lies within ±0.02.",
            [excludes_zero(chosen, _DID), within("at random", _DID, 0.02)],
            _TRIED,
        ),
        (
            "Where it [difference in differences] is biased, the check of trends before the"
            " change says so (p < 0.05) in more than half of the worlds.",
            [Claim.of(f"{_DID}, {chosen}: check of trends has p < 0.05", warned, "above 0.5")],
            _TRIED,
        ),
        (
            "Synthetic control errs less than difference in differences there [where it is "
            "biased]: the interval of the difference of absolute errors lies above 0.",
            [lower_end(f"absolute error, {_DID} less {_SC}", absolute[_DID] - absolute[_SC])],
            _TRIED,
        ),
        (
            "Synthetic control's intervals cover the truth there [where difference in "
            "differences is biased] in at least 90% of the worlds.",
            [coverage(chosen, _SC, "at least 0.9")],
            "In the trial and in 20 worlds it had failed.",
        ),
        (
            "Adjusted for mood and news, difference in differences is right where topics "
            "are favoured by interest: the interval of the mean error lies within ±0.02, "
            "and its 95% intervals cover the truth in at least 90% of the worlds.",
            [within(chosen, did, 0.02), coverage(chosen, did, "at least 0.9")],
            _SEEN,
        ),
        (
            "Adjusted for mood and news, the intervals of demeaned synthetic control cover "
            "the truth in at least 90% of the worlds in which topics are favoured by "
            "interest.",
            [coverage(chosen, demeaned, "at least 0.9")],
            _SEEN,
        ),
        (
            "An interrupted time series of what mood and news leave unexplained errs less "
            "than one of the sentiment itself: the interval of the difference of absolute "
            "errors lies above 0.",
            [lower_end(f"absolute error, {_ITS} less the adjusted one", bent_less)],
            "",
        ),
        (
            "Adjusted for mood and news of the day and of the three days before, difference in "
            "differences is right where topics are favoured by interest: the interval of the "
            "mean error lies within ±0.01, and its 95% intervals cover the truth in at least 90% "
            "of the worlds.",
            [within(chosen, did_past, 0.01), coverage(chosen, did_past, "at least 0.9")],
            _LATER,
        ),
        (
            "Adjusted for mood and news of the day and of the three days before, the intervals of "
            "demeaned synthetic control cover the truth in at least 90% of the worlds in which "
            "topics are favoured by interest.",
            [coverage(chosen, past, "at least 0.9")],
            _LATER,
        ),
    ]
    claims = [claim for _, parts, _ in judged for claim in parts]
    predictions = [
        prediction(sentence, parts, "changed" if note in (_TRIED, _SEEN, _LATER) else "", note)
        for sentence, parts, note in judged
    ]
    return claims, predictions
