"""Claims about numbers, each with a target that decides whether it is held, and the measurements
that they are made of.
"""

import operator
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from causal_lib.metric import Metric
from causal_lib.tooling.results import Prediction

_COMPARISONS = {
    "at most": operator.le,
    "at least": operator.ge,
    "below": operator.lt,
    "above": operator.gt,
}
_TARGET = re.compile(rf"({'|'.join(_COMPARISONS)}) (-?\d+(\.\d+)?(e[+-]?\d+)?)")


def is_target(text: str) -> bool:
    """Whether ``text`` is 'at most', 'at least', 'below' or 'above' and a number."""
    return _TARGET.fullmatch(text) is not None


def meets(value: float, target: str) -> bool:
    """Whether ``value`` meets a target such as 'at most 0.25'; ValueError where it is none.

    >>> meets(0.25, "at most 0.25"), meets(0.25, "below 0.25")
    (True, False)
    """
    found = _TARGET.fullmatch(target)
    if found is None:
        raise ValueError(f"{target!r} is no comparison like 'above 0'")
    return bool(_COMPARISONS[found[1]](value, float(found[2])))


@dataclass(frozen=True)
class Claim:
    """A statement that a mean or a median meets a target, and the values that decide it.

    Attributes
    ----------
    name : what the number is.
    value : the ``statistic``, "mean" or "median", of ``pairs`` values.
    low, high : the 95% t-interval of a mean of two values or more; otherwise the least and the
        greatest value. Medians are for times, which are skewed by whatever else the machine does.
    target : a comparison and a number, e.g. 'at most 0.25'.
    """

    name: str
    statistic: str
    value: float
    low: float
    high: float
    pairs: int
    target: str

    @classmethod
    def of(
        cls, name: str, values: Iterable[float], target: str, *, statistic: str = "mean"
    ) -> "Claim":
        """The claim about the ``statistic`` of ``values``; ValueError where there are none.

        >>> Claim.of("time", [0.2, 0.1, 0.5], "at most 0.25", statistic="median").held
        True
        """
        values = [float(value) for value in values]
        if not values:
            raise ValueError(
                f"claim {name!r}: there is no value to decide it; nothing was measured"
            )
        value = getattr(statistics, statistic)(values)
        low = min(values)
        high = max(values)
        if statistic == "mean" and len(values) > 1:
            mean = Metric.mean_of("", name, values)
            low = mean.low
            high = mean.high
        return cls(name, statistic, value, low, high, len(values), target)

    @property
    def held(self) -> bool:
        """Whether the value meets the target."""
        return meets(self.value, self.target)

    @property
    def interval(self) -> list[float] | None:
        """The 95% t-interval of a mean; None where there is none."""
        return [self.low, self.high] if self.statistic == "mean" and self.pairs > 1 else None

    def to_json(self) -> dict:
        """The claim as it stands in a report."""
        return {
            "claim": self.name,
            "statistic": self.statistic,
            "value": self.value,
            "interval" if self.interval else "range": [self.low, self.high],
            "pairs": self.pairs,
            "target": self.target,
            "held": self.held,
        }


def report(claims: Iterable[Claim], **parts: object) -> dict:
    """What a benchmark returns: its claims as JSON types, then the other parts."""
    return {"claims": [claim.to_json() for claim in claims], **parts}


def prediction(
    sentence: str, claims: Iterable[Claim], recorded: str = "", note: str = ""
) -> dict[str, str]:
    """The outcome of a prediction in words, as `Prediction` has it; it is true where all of its
    ``claims`` are held.
    """
    made = Prediction(sentence, all(claim.held for claim in claims), recorded, note)
    return {"sentence": made.sentence, "outcome": made.outcome, "note": made.note}


class Measurements:
    """Rows of what was measured, one for each setting, data set and method; claims about them.

    ``number`` is the name of the column that tells the data sets of a setting apart.
    """

    def __init__(self, number: str = "seed"):
        self.number = number
        self.rows: list[dict] = []

    def add(self, setting: str, number: int, method: str, **values: float) -> None:
        """Append a row."""
        self.rows.append({"setting": setting, self.number: number, "method": method, **values})

    def of(self, setting: str, method: str, what: str) -> np.ndarray:
        """The values of one method, in the order of the data sets."""
        return np.array(
            [
                row[what]
                for row in self.rows
                if (row["setting"], row["method"]) == (setting, method)
            ],
            dtype=float,
        )

    def difference(self, setting: str, what: str, first: str, second: str) -> np.ndarray:
        """The values of the first method less those of the second."""
        return self.of(setting, first, what) - self.of(setting, second, what)

    def tables(self, digits: int, orient: str) -> tuple[list[dict], object]:
        """Means over the data sets, and all rows (``orient`` as in pandas), as JSON types; a
        missing value is None.
        """
        table = pd.DataFrame(self.rows)
        grouped = table.drop(columns=self.number).groupby(["setting", "method"], sort=False)
        means, rows = (
            part.round(digits).astype(object).where(part.notna(), None)
            for part in (grouped.mean().reset_index(), table)
        )
        return means.to_dict("records"), rows.to_dict(orient)
