"""Estimators of a policy's value: one function each, of what the logs tell of every round, and
their registry.

With w = policy(action | round) / propensity, r the reward, q a model of the reward and q(policy)
its mean over the policy's actions, an estimator gives every round a score; the value is the mean of
the scores.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rounds:
    """What estimators see of n logged rounds, arrays (n,) each.

    w : weight, the policy's probability of the logged action over its propensity.
    r : reward.
    policy_mean, shown_mean : expected reward of the policy and of the logged action by the model;
        empty without a model.
    group_w : weight of the logged action's embedding; empty where no estimator needs it.
    """

    w: np.ndarray
    r: np.ndarray
    policy_mean: np.ndarray
    shown_mean: np.ndarray
    group_w: np.ndarray

    def ratio(self, left: np.ndarray) -> np.ndarray:
        """Scores whose mean is Σ w left / Σ w, and whose deviation is that of this ratio."""
        mean = (self.w @ left) / self.w.sum()
        return mean + self.w / self.w.mean() * (left - mean)


Scores = tuple[np.ndarray, np.ndarray]
"""A score and a weight for each round, (n,) each; the weights tell the effective sample size."""


@dataclass(frozen=True)
class Estimator:
    """An estimator and what it needs.

    scores : (rounds, threshold) -> `Scores`.
    formula, right_when : for the table in `policy_values`.
    modelled : whether it uses the model of the reward.
    free : name of the same estimator without a threshold; None for those that have none. The
        interval holds the free one's too, since nothing shows how large the bias of a threshold is.
    needs : arguments of `policy_values` without which it cannot run.
    interval : False where nothing in the logs says how wrong it is.
    shifts : whether a constant added to all rewards, and to the model, adds to the value.
    """

    scores: Callable[[Rounds, float | None], Scores]
    formula: str
    right_when: str
    modelled: bool = False
    free: str | None = None
    needs: tuple[str, ...] = ()
    interval: bool = True
    shifts: bool = True


ESTIMATORS: dict[str, Estimator] = {}
"""Estimator name -> `Estimator`: the one place to add an estimator."""


def _estimator(name, formula, right_when, **about):
    def register(scores):
        ESTIMATORS[name] = Estimator(scores, formula, right_when, **about)
        return scores

    return register


@_estimator(
    "dm",
    "q(policy)",
    "q is right; it has no interval, since nothing in the logs says how wrong q is",
    modelled=True,
    interval=False,
)
def direct_method(rounds: Rounds, threshold: None = None) -> Scores:
    """Direct method: the model's mean over the policy's actions.

    Unbiased when the model is right. Its variance is the smallest, its bias does not shrink with
    more rounds.
    """
    return rounds.policy_mean, rounds.w


@_estimator(
    "ips", "w r", "propensities are right and positive wherever the policy is", shifts=False
)
def inverse_propensity(rounds: Rounds, threshold: None = None) -> Scores:
    """Inverse propensity scoring.

    Unbiased when propensities are right and positive wherever the policy is; prefer it as the plain
    reference. One large weight can decide the value.
    """
    return rounds.w * rounds.r, rounds.w


@_estimator("snips", "w r / mean w", "the same, with many rounds; bounded by the rewards")
def self_normalised(rounds: Rounds, threshold: None = None) -> Scores:
    """Self-normalised inverse propensity scoring: Σ w r / Σ w.

    Its bias vanishes with more rounds; the value stays between the smallest and the largest reward,
    and a constant added to all rewards adds to the value. Source: Swaminathan and Joachims 2015.
    """
    return rounds.ratio(rounds.r), rounds.w


@_estimator("dr", "q(policy) + w (r - q(action))", "propensities are right, or q is", modelled=True)
def doubly_robust(rounds: Rounds, threshold: None = None) -> Scores:
    """Doubly robust: the model's value plus the weighted mean of what the model missed.

    Unbiased when propensities or model are right; the better the model, the smaller the variance.
    Source: Dudík, Langford and Li 2011.
    """
    return rounds.policy_mean + rounds.w * (rounds.r - rounds.shown_mean), rounds.w


@_estimator(
    "sndr", "q(policy) + w / mean w (r - q(action))", "as dr, with many rounds", modelled=True
)
def self_normalised_doubly_robust(rounds: Rounds, threshold: None = None) -> Scores:
    """Doubly robust with weights divided by their mean: less variance than ``dr`` where weights are
    large.
    """
    return rounds.policy_mean + rounds.ratio(rounds.r - rounds.shown_mean), rounds.w


@_estimator(
    "mips",
    "r policy(e) / logging(e), e the action's ``embedding``",
    "actions of the same embedding earn the same",
    needs=("logging", "embedding"),
    shifts=False,
)
def marginalised(rounds: Rounds, threshold: None = None) -> Scores:
    """Marginalised inverse propensity scoring, over groups of actions.

    Prefer it with many actions, of which each was logged rarely. Source: Saito and Joachims 2022.
    """
    return rounds.group_w * rounds.r, rounds.group_w


@_estimator(
    "clipped-ips",
    "min(w, t) r",
    "as ips, but for a bias that grows as t falls",
    free="ips",
    shifts=False,
)
def clipped(rounds: Rounds, threshold: float) -> Scores:
    """Inverse propensity scoring with weights of at most ``threshold``: less variance for a bias
    towards 0.
    """
    w = np.minimum(rounds.w, threshold)
    return w * rounds.r, w


@_estimator(
    "switch-dr",
    "as dr, w = 0 where it is above t",
    "as dr, but for the bias of q there",
    modelled=True,
    free="dr",
)
def switch(rounds: Rounds, threshold: float) -> Scores:
    """Doubly robust that trusts the model alone where the weight is above ``threshold``.

    Source: Wang, Agarwal and Dudík 2017.
    """
    w = np.where(rounds.w <= threshold, rounds.w, 0.0)
    return rounds.policy_mean + w * (rounds.r - rounds.shown_mean), w


@_estimator(
    "dros", "as dr, w t² / (w² + t²)", "as switch-dr, shrunk smoothly", modelled=True, free="dr"
)
def shrunk(rounds: Rounds, threshold: float) -> Scores:
    """Doubly robust with optimistic shrinkage: large weights shrink towards 0, small ones stay.

    Source: Su and others 2020, arXiv 1907.09623.
    """
    w = threshold**2 * rounds.w / (rounds.w**2 + threshold**2)
    return rounds.policy_mean + w * (rounds.r - rounds.shown_mean), w


def estimators_table() -> str:
    """The estimators as a Markdown table."""
    lines = ["| estimator | a round's score | right when |", "|---|---|---|"]
    lines += [f"| {name} | {one.formula} | {one.right_when} |" for name, one in ESTIMATORS.items()]
    return "\n".join(lines)
