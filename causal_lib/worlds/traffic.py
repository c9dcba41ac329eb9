"""A simulated city of signals with known truth. A row is a junction-hour whose adaptive signal extended the green, or did not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

EDGES = {
    "flow": ["lanes", "hour", "rain"],
    "extended": ["flow", "rain"],
    "delay": ["flow", "rain", "lanes", "extended"],
    "accident": ["flow", "rain", "hour", "extended"],
}
"""Variable -> its direct causes in the city: the equations below, read as a graph."""
_LANE = 450.0  # vehicles an hour that a lane carries
_NOISE = 0.25  # of the logarithm of the delay


@dataclass(frozen=True, repr=False)
class Traffic:
    """A simulated city's sensor log with its truth.

    Attributes
    ----------
    frame : one row per (junction, day, hour) with lanes (1 to 3), rain (0 none, 1 light, 2 heavy), flow (vehicles an hour),
        extended (whether the signal gave the main road a longer green), delay (seconds a vehicle), accident (0/1).
    truth : aligned with ``frame``, never known of a real city: propensity of extending; delay_if_extended, delay_if_not
        (expected delays); accident_if_extended, accident_if_not (probabilities).
    graph : the `CausalGraph` that generated the log; knowledge : its tiers; seed : what it was drawn with.
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    graph: CausalGraph
    knowledge: Knowledge
    seed: int

    @property
    def ate(self) -> float:
        """True average effect of extending the green on the delay, over the rows, in seconds a vehicle."""
        return float((self.truth["delay_if_extended"] - self.truth["delay_if_not"]).mean())

    @property
    def accident_ate(self) -> float:
        """True average effect of extending the green on the probability of an accident in the hour."""
        return float((self.truth["accident_if_extended"] - self.truth["accident_if_not"]).mean())

    def __repr__(self):
        f = self.frame
        return (
            f"Traffic of {f['junction'].nunique():,} junctions, {len(f):,} junction-hours, {int(f['extended'].sum()):,} with "
            f"extended green, {int(f['accident'].sum()):,} with an accident; true effect on the delay {self.ate:.2f} s "
            f"(seed {self.seed})"
        )


def city(n_junctions: int = 60, days: int = 14, seed: int = 0) -> Traffic:
    """A city whose adaptive signals extend the green where it is busy or wet, so where delays are long anyway.

    Flow follows the hour (two peaks), the rain and the junction's lanes. A signal extends with a probability that rises with
    flow and rain. Extending shortens the delay of a loaded junction, and lengthens it a little where few cars come (the
    side road waits); it makes accidents rarer. Delays have multiplicative noise of mean 1. Simple on purpose: rain falls at
    each sensor and hour on its own, and no queue is carried over to the next hour or junction.

    Parameters
    ----------
    n_junctions, days : sizes, 1 or more.
    seed : the same seed gives the same bytes.

    Raises
    ------
    ValueError
        for a size out of range.

    >>> city(n_junctions=5, days=1).graph.parents("extended") == {"flow", "rain"}
    True
    """
    for name, value in (("n_junctions", n_junctions), ("days", days)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    rng = np.random.default_rng(seed)
    junction, day, hour = (a.ravel() for a in np.indices((n_junctions, days, 24)))
    n = len(junction)
    lanes = rng.choice([1, 2, 3], size=n_junctions, p=[0.4, 0.4, 0.2])[junction]
    rain = rng.choice(3, size=n, p=[0.75, 0.18, 0.07])
    flow = np.rint(expected_flow(lanes, hour, rain) * np.exp(0.35 * rng.standard_normal(n)))
    propensity = extending(flow, rain)
    extended = rng.random(n) < propensity
    delays = np.column_stack([expected_delay(flow, rain, lanes, arm) for arm in (0, 1)])
    accidents = np.column_stack([accident_rate(flow, rain, hour, arm) for arm in (0, 1)])
    row, arm = np.arange(n), extended.astype(int)
    delay = delays[row, arm] * np.exp(_NOISE * rng.standard_normal(n) - _NOISE**2 / 2)
    accident = rng.random(n) < accidents[row, arm]
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
    truth = pd.DataFrame(
        {
            "propensity": propensity,
            "delay_if_extended": delays[:, 1],
            "delay_if_not": delays[:, 0],
            "accident_if_extended": accidents[:, 1],
            "accident_if_not": accidents[:, 0],
        }
    )
    return Traffic(frame, truth, _graph(), _knowledge(), seed)


# ---- the structural equations, each a function of the graph's parents ---------------------------------------------


def expected_flow(lanes, hour, rain) -> np.ndarray:
    """Vehicles an hour of a median day."""
    peaks = np.exp(-(((hour - 8) / 2) ** 2) / 2) + np.exp(-(((hour - 17.5) / 2.5) ** 2) / 2)
    return np.exp(4.7 + 1.3 * peaks + 0.6 * np.log(lanes) - 0.15 * rain)


def extending(flow, rain) -> np.ndarray:
    """Probability of an extended green, in [0.05, 0.95]."""
    return 0.05 + 0.9 * _sigmoid(-0.6 + 1.3 * np.log((flow + 1) / 250) + 0.6 * rain)


def expected_delay(flow, rain, lanes, extended) -> np.ndarray:
    """Seconds a vehicle."""
    load = np.minimum(flow / (_LANE * lanes), 1.3)
    return (12 + 4 * rain + 45 * load**2) * np.where(extended, 1.06 - 0.3 * load, 1.0)


def accident_rate(flow, rain, hour, extended) -> np.ndarray:
    """Probability of an accident in the hour."""
    dark = (hour < 6) | (hour >= 21)
    return _sigmoid(-4.3 + 0.7 * np.log((flow + 1) / 250) + 0.8 * rain + 0.5 * dark - 0.5 * np.asarray(extended))


def _graph():
    edges = [(cause, effect) for effect, causes in EDGES.items() for cause in causes]
    return CausalGraph.from_edges(["lanes", "hour", "rain", "flow", "extended", "delay", "accident"], edges)


def _knowledge():
    return Knowledge(tiers=[["lanes", "hour", "rain"], ["flow"], ["extended"], ["delay", "accident"]])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
