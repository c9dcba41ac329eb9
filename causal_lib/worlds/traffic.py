"""A city of adaptive signals with known truth: they extend the green where delays are long anyway.

A row is a junction-hour whose signal extended the green, or did not.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from causal_lib.worlds.base import World, check_sizes, sigmoid, simulates, structure

EDGES = {
    "flow": ["lanes", "hour", "rain"],
    "extended": ["flow", "rain"],
    "delay": ["flow", "rain", "lanes", "extended"],
    "accident": ["flow", "rain", "hour", "extended"],
}
"""Variable to its direct causes: the equations below, read as a graph."""
_LANE = 450.0  # vehicles an hour that a lane carries
_NOISE = 0.25  # standard deviation of the logarithm of the delay


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Traffic(World):
    """A simulated city's sensor log with its truth.

    Attributes
    ----------
    frame : one row per (junction, day, hour) with lanes (1 to 3), rain (0 none, 1 light, 2 heavy),
        flow (vehicles an hour), extended (whether the signal gave the main road a longer green),
        delay (seconds a vehicle), accident (0/1).
    truth : propensity of extending; delay_if_extended, delay_if_not (expected delays);
        accident_if_extended, accident_if_not (probabilities).
    """

    contrasts: ClassVar = {
        "extended -> delay": ("delay_if_extended", "delay_if_not"),
        "extended -> accident": ("accident_if_extended", "accident_if_not"),
    }

    @property
    def accident_ate(self) -> float:
        """True average effect of extending the green on the probability of an accident."""
        return self.true_effects["extended -> accident"]

    def _summary(self):
        log = self.frame
        return (
            f"{log['junction'].nunique():,} junctions, {len(log):,} junction-hours, "
            f"{int(log['extended'].sum()):,} with extended green, "
            f"{int(log['accident'].sum()):,} with an accident; "
            f"true effect on the delay {self.ate:.2f} s"
        )


@simulates("7.1")
def city(n_junctions: int = 60, days: int = 14, seed: int = 0) -> Traffic:
    """A city whose adaptive signals extend the green where it is busy or wet.

    Flow follows the hour (two peaks), the rain and the junction's lanes. A signal extends with a
    probability that rises with flow and rain. Extending shortens the delay of a loaded junction,
    and lengthens it a little where few cars come (the side road waits); it makes accidents rarer.
    Delays have multiplicative noise of mean 1. The city is simple on purpose: rain falls at each
    sensor and hour independently, and no queue is carried over to the next hour or junction.

    Parameters
    ----------
    n_junctions, days : sizes, 1 or more.
    seed : the same seed gives the same bytes.

    Raises
    ------
    ValueError
        for a size out of range.

    Source: the article, section 7.1.

    >>> city(n_junctions=5, days=1).graph.parents("extended") == {"flow", "rain"}
    True
    """
    check_sizes(n_junctions=(n_junctions, 1), days=(days, 1))
    rng = np.random.default_rng(seed)
    junction, day, hour = (index.ravel() for index in np.indices((n_junctions, days, 24)))
    n = len(junction)
    lanes = rng.choice([1, 2, 3], size=n_junctions, p=[0.4, 0.4, 0.2])[junction]
    rain = rng.choice(3, size=n, p=[0.75, 0.18, 0.07])
    flow = np.rint(expected_flow(lanes, hour, rain) * np.exp(0.35 * rng.standard_normal(n)))
    propensity = extending(flow, rain)
    extended = rng.random(n) < propensity
    truth = pd.DataFrame(
        {
            "propensity": propensity,
            "delay_if_extended": expected_delay(flow, rain, lanes, 1),
            "delay_if_not": expected_delay(flow, rain, lanes, 0),
            "accident_if_extended": accident_rate(flow, rain, hour, 1),
            "accident_if_not": accident_rate(flow, rain, hour, 0),
        }
    )
    delay = np.where(extended, truth["delay_if_extended"], truth["delay_if_not"])
    delay = delay * np.exp(_NOISE * rng.standard_normal(n) - _NOISE**2 / 2)
    risk = np.where(extended, truth["accident_if_extended"], truth["accident_if_not"])
    accident = rng.random(n) < risk
    frame = pd.DataFrame(
        {
            "junction": junction.astype(np.int32),
            "day": day.astype(np.int16),
            "hour": hour.astype(np.int8),
            "lanes": lanes.astype(np.int8),
            "rain": rain.astype(np.int8),
            "flow": flow,
            "extended": extended.astype(np.int8),
            "delay": delay,
            "accident": accident.astype(np.int8),
        }
    )
    tiers = [["lanes", "hour", "rain"], ["flow"], ["extended"], ["delay", "accident"]]
    graph, knowledge = structure(EDGES, tiers)
    return Traffic(frame=frame, truth=truth, graph=graph, knowledge=knowledge, seed=seed)


# ---- the structural equations, each a function of the graph's parents ------------------------


def expected_flow(lanes, hour, rain) -> np.ndarray:
    """Vehicles an hour of a median day."""
    morning = np.exp(-(((hour - 8) / 2) ** 2) / 2)
    evening = np.exp(-(((hour - 17.5) / 2.5) ** 2) / 2)
    return np.exp(4.7 + 1.3 * (morning + evening) + 0.6 * np.log(lanes) - 0.15 * rain)


def extending(flow, rain) -> np.ndarray:
    """Probability of an extended green, in [0.05, 0.95]."""
    return 0.05 + 0.9 * sigmoid(-0.6 + 1.3 * np.log((flow + 1) / 250) + 0.6 * rain)


def expected_delay(flow, rain, lanes, extended) -> np.ndarray:
    """Seconds a vehicle."""
    load = np.minimum(flow / (_LANE * lanes), 1.3)
    return (12 + 4 * rain + 45 * load**2) * np.where(extended, 1.06 - 0.3 * load, 1.0)


def accident_rate(flow, rain, hour, extended) -> np.ndarray:
    """Probability of an accident in the hour."""
    dark = (hour < 6) | (hour >= 21)
    traffic = 0.7 * np.log((flow + 1) / 250)
    return sigmoid(-4.3 + traffic + 0.8 * rain + 0.5 * dark - 0.5 * np.asarray(extended))
