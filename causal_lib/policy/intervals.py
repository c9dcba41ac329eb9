"""Intervals of a mean over logged rounds: normal, bootstrap, and for rewards of 0 and 1 those that
stay right where clicks are rare.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import gamma, norm

from causal_lib.inference.nuisances import standard_error
from causal_lib.resampling import percentile_ends, resampled_indices

INTERVALS = ("auto", "normal", "bootstrap")
_DRAWS = 500
# The variance of a few clicks is itself uncertain: until there are about as many effective clicks,
# the one expected of clicks with an average weight counts where it is larger.
_FEW = 20


def check_interval(interval: str, level: float) -> None:
    """Raise ValueError for an unknown interval or a level outside (0, 1)."""
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; known: {', '.join(INTERVALS)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")


@dataclass(frozen=True)
class Clicks:
    """Rewards of 0 and 1 in logs of n rounds.

    mean, error : mean of weight x reward, and its standard error.
    weight : Σw² / Σw / n, a click's part of the mean where rewards do not depend on weights.
    """

    mean: float
    error: float
    weight: float

    @classmethod
    def of(cls, w: np.ndarray, r: np.ndarray, groups: np.ndarray | None) -> "Clicks":
        """Of rewards ``r`` with weights ``w`` (n,), dependent within ``groups``."""
        sums = w if groups is None else np.bincount(groups, w)
        weight = float(sums @ sums / sums.sum())
        return cls((w * r).mean(), error_of_mean(w * r, groups), weight / len(w))


def error_of_mean(score: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard error of the mean of ``score`` (n,), of rounds that depend on each other within
    ``groups``; 0 of a single round.
    """
    n = len(score)
    if groups is not None:
        return standard_error(score - score.mean(), groups)
    return score.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0


@dataclass(frozen=True)
class Intervals:
    """How intervals are made: see `policy_values`.

    groups : (n,) numbers of clusters from 0; None where rounds are independent.
    """

    kind: str
    level: float
    rng: np.random.Generator
    groups: np.ndarray | None = None

    def ends(self, score: np.ndarray, clicks: Clicks | None = None) -> tuple[float, float]:
        """(low, high) of the mean of ``score`` (n,); ``clicks`` for rewards of 0 and 1."""
        if self.kind == "bootstrap":
            return self._percentiles(score)
        return self.around(score.mean(), self.error(score), clicks)

    def around(
        self, mean: float, error: float, clicks: Clicks | None = None
    ) -> tuple[float, float]:
        """(low, high) of a mean with this standard error, but for percentiles."""
        if self.kind == "normal" or clicks is None:
            half = norm.ppf((1 + self.level) / 2) * error
            return mean - half, mean + half
        down, up = self._of_counts(clicks, error)
        return mean - down, mean + up

    def error(self, score: np.ndarray) -> float:
        """Standard error of the mean of ``score``; 0 of a single round."""
        return error_of_mean(score, self.groups)

    def _percentiles(self, score):
        sums = score if self.groups is None else np.bincount(self.groups, score)
        counts = np.ones(len(score)) if self.groups is None else np.bincount(self.groups)
        order = np.lexsort([sums, counts])  # so that draws do not depend on the order of the rows
        sums = sums[order]
        counts = counts[order]
        draws = (resampled_indices(len(sums), self.rng) for _ in range(_DRAWS))
        means = [sums[draw].sum() / counts[draw].sum() for draw in draws]
        return percentile_ends(means, (1 - self.level) / 2)

    def _of_counts(self, clicks, error):
        """How far the ends lie below and above the mean.

        Clicks are rare and independent, so that the weighted sum of clicks is a weighted sum of
        Poisson counts; its mean lies between quantiles of gamma distributions of the same mean and
        variance, for the upper end after one more click of average weight (Fay and Feuer 1997;
        Tiwari, Clegg and Zou 2006). An estimator's interval is scaled by its standard error over
        that of the weighted clicks.
        """
        tail = (1 - self.level) / 2
        mean = clicks.mean
        weight = clicks.weight
        sampled = clicks.error
        variance = sampled**2
        if variance > 0:
            count = mean**2 / variance
            variance += max(0.0, mean * weight - variance) * _FEW / (count + _FEW)
        more = (mean + weight, variance + weight**2)
        up = gamma.ppf(1 - tail, more[0] ** 2 / more[1], scale=more[1] / more[0]) - mean
        if variance == 0:
            half = norm.ppf(1 - tail) * error
            return half, max(up, half)
        down = mean - gamma.ppf(tail, mean**2 / variance, scale=variance / mean)
        return down * error / sampled, up * error / sampled
