"""A number of a result: its value, its interval and, on simulated data, the truth."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class Metric:
    """One row of the headline table: ``value`` in ``[low, high]`` (95%), with the ``truth`` where
    it is known.

    A number that is exact by construction (a count) has no interval: leave ``low`` and ``high``
    out.

    >>> Metric("06 causal inference", "effect of exposure, AIPW", 0.051, 0.048, 0.054, truth=0.052)
    06 causal inference: effect of exposure, AIPW = 0.0510 [0.0480, 0.0540], truth 0.0520
    """

    stage: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    truth: float | None = None
    unit: str = ""

    def __post_init__(self):
        if (self.low is None) != (self.high is None):
            raise ValueError(f"metric {self.name!r}: give both ends of the interval or none")
        for name in ("value", "low", "high", "truth"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(
                    f"metric {self.name!r}: {name} is {number}; a result must be a finite number"
                )
        if self.low is not None and not self.low <= self.value <= self.high:
            raise ValueError(
                f"metric {self.name!r}: value {self.value} lies outside [{self.low}, {self.high}]"
            )

    @classmethod
    def of(cls, stage: str, name: str, found, **fields) -> "Metric":
        """The value and the interval of what has value, low and high: an effect, a policy's
        value.
        """
        return cls(stage, name, found.value, found.low, found.high, **fields)

    @classmethod
    def mean_of(cls, stage: str, name: str, values: Iterable[float], **fields) -> "Metric":
        """The mean of independent replicates (worlds, seeds) with its 95% t-interval; two values or
        more.

        >>> Metric.mean_of("05 causal discovery", "SHD", [3, 4, 5])
        05 causal discovery: SHD = 4.0 [1.5, 6.5]
        """
        values = np.asarray(list(values), dtype=float)
        if len(values) < 2:
            raise ValueError(
                f"metric {name!r}: {len(values)} replicates give no interval; at least 2 are needed"
            )
        half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        mean = float(values.mean())
        return cls(stage, name, mean, mean - half, mean + half, **fields)

    def rounded(self) -> tuple[str, str, str]:
        """Value, interval and truth as text, rounded to the tenth of the interval's width (stable
        across machines).
        """
        digits = 3
        if self.low is not None and self.high > self.low:
            digits = max(0, 1 - math.floor(math.log10(self.high - self.low)))
        elif float(self.value).is_integer():
            digits = 0

        def text(number):
            return "" if number is None else f"{number:.{digits}f}"

        interval = "" if self.low is None else f"[{text(self.low)}, {text(self.high)}]"
        return text(self.value), interval, text(self.truth)

    def __repr__(self):
        value, interval, truth = self.rounded()
        truth = f", truth {truth}" if truth else ""
        return (
            f"{self.stage}: {self.name} = "
            f"{' '.join(filter(None, (value, self.unit, interval)))}{truth}"
        )
