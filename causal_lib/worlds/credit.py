"""A bank's loans with known truth: officers decide, and refused loans show no default.

The applicants' appetite for risk is hidden: it acts on the limit and on default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from causal_lib.worlds.base import World, check_sizes, sigmoid, simulates, structure

LOANS_EDGES = {
    "employed": ["group", "age"],
    "income": ["group", "age", "employed"],
    "history": ["age", "employed", "income"],
    "asked": ["income", "appetite"],
    "approved": ["group", "employed", "income", "history", "asked", "leniency"],
    "high": ["approved", "income", "history", "asked", "appetite", "leniency"],
    "default": ["approved", "employed", "income", "history", "asked", "appetite", "high"],
    "profit": ["approved", "income", "asked", "high", "default"],
}
"""Variable to its direct causes: the equations below, read as a graph.

``group`` reaches ``default`` through income and work only.
"""

FEATURES = ["age", "employed", "income", "history", "asked"]
"""What is logged of an applicant, without the protected group."""
LOW = 5.0
"""The low limit that officers grant, in thousands."""
HIGH = 15.0
"""The high limit that officers grant, in thousands."""
MARGIN = 0.15
"""Earned on what is used of a limit, when it is repaid."""
LOSS = 0.45
"""Lost of what is used of a limit, when it is not repaid."""
COST = 0.05
"""Cost of a loan, in thousands."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LoanWorld(World):
    """Applications for a loan, as logged, with their truth.

    Attributes
    ----------
    frame : one row per applicant: group (0/1, protected), age (years), employed (0/1), income
        (thousands a year), history (credit score, about -3 to 3), asked (limit asked for,
        thousands), officer, leniency (of the officer, log-odds), propensity (of approval, given all
        of these), approved (0/1), high (0/1, missing when refused), limit (thousands, 0 when
        refused), default (0/1, missing when refused), profit (thousands, 0 when refused).
    truth : appetite (hidden, standard normal), high_propensity (of the high limit once approved),
        default_if_low, default_if_high (0/1, what would happen), risk_if_low, risk_if_high (their
        probabilities), profit_if_low, profit_if_high (of what would happen), gain_if_low,
        gain_if_high (their expectations).
    graph : with the hidden ``appetite``. As ``high`` acts on ``default`` and both have that cause,
        no latent projection can be drawn: give ``hidden=world.hidden`` to `inference.identify`.
    appetite : log-odds of the high limit that a standard deviation of the appetite adds.
    noise : what was drawn before the equations were solved.
    """

    appetite: float
    noise: Mapping[str, np.ndarray]

    hidden: ClassVar = ("appetite",)

    @property
    def approved(self) -> pd.DataFrame:
        """The approved rows, complete: high and default as whole numbers."""
        kept = self.frame[self.frame["approved"] == 1]
        return kept.astype({"high": "int8", "default": "int8"})

    @property
    def true_effects(self) -> dict[str, float]:
        """Average effect of approving on the expected profit; a refused loan brings none."""
        return {"approved -> profit": float(self.if_approved("gain").mean())}

    def if_approved(self, outcome: str = "risk") -> np.ndarray:
        """(n,) expected 'risk' (of default) or 'gain' of approving each applicant.

        The limit is the one that the officer would then grant.
        """
        high = self.truth["high_propensity"].to_numpy()
        levels = self.truth[[f"{outcome}_if_low", f"{outcome}_if_high"]].to_numpy()
        return np.average(levels, axis=1, weights=np.column_stack([1 - high, high]))

    def counterfactual(self, *, seen: bool = False, lived: bool = False) -> pd.DataFrame:
        """The log had each applicant's group been the other one, with the same random draws.

        Parameters
        ----------
        seen : flip what the officer sees (the direct path group -> approved).
        lived : flip what acts on work and income (the paths through them). Neither gives the log
            itself, both the total effect.

        Returns
        -------
        Frame with the columns of ``frame``; ``group`` is what the officer sees.
        """
        group = self.noise["group"]
        frame, _ = _solve(
            self.noise,
            seen=1 - group if seen else group,
            lived=1 - group if lived else group,
            appetite=self.appetite,
        )
        return frame

    def _summary(self):
        return (
            f"{len(self.frame):,} applicants and {self.frame['officer'].nunique()} officers: "
            f"{self.frame['approved'].mean():.0%} approved, "
            f"{self.approved['default'].mean():.1%} of these default, "
            f"{self.if_approved().mean():.1%} of all would"
        )


@simulates("6.2")
def loans(
    n: int = 20_000,
    seed: int = 0,
    *,
    n_officers: int = 40,
    appetite: float = 1.0,
) -> LoanWorld:
    """A bank that sees default only where it lends, with a hidden cause of limit and default.

    The group acts on work and income, and officers also look at the group itself. An officer, drawn
    at random, approves by what is logged and by leniency; the limit, low or high, is negotiated,
    and applicants with an appetite for risk negotiate harder. They also default more often, as a
    high limit makes everybody do. So approval is ignorable given the log, the limit is not, and
    leniency is an instrument for it. Each decision has a propensity of at least 0.03 either way.

    Parameters
    ----------
    n : applicants, 1 or more.
    seed : the same seed gives the same bytes.
    n_officers : 1 or more.
    appetite : log-odds of the high limit that a standard deviation of the hidden appetite adds;
        finite. Worlds of one seed differ in nothing else.

    Raises
    ------
    ValueError
        for a size out of range or an appetite that is not finite.

    Source: the article, section 6.2.

    >>> world = loans(n=100, seed=0)
    >>> world.graph.kind, len(world.graph.edges)
    ('DAG', 34)
    """
    check_sizes(n=(n, 1), n_officers=(n_officers, 1), appetite=(appetite, -np.inf))
    rng = np.random.default_rng(seed)
    officer = rng.integers(n_officers, size=n)
    noise = {
        "group": (rng.random(n) < 0.35).astype(np.int8),
        "age": np.round(20 + 45 * rng.beta(2, 3, size=n)),
        "officer": officer.astype(np.int16),
        "leniency": rng.standard_normal(n_officers)[officer],
        **{name: rng.standard_normal(n) for name in ("income", "history", "asked", "appetite")},
        **{name: rng.random(n) for name in ("employed", "approved", "high", "default")},
    }
    frame, truth = _solve(noise, noise["group"], noise["group"], appetite)
    graph, knowledge = structure(
        LOANS_EDGES,
        tiers=[["group", "age", "leniency"], *([name] for name in LOANS_EDGES)],
        names=["leniency", "group", "age", "appetite", *LOANS_EDGES],
    )
    return LoanWorld(
        frame=frame,
        truth=truth,
        graph=graph,
        knowledge=knowledge,
        seed=seed,
        appetite=appetite,
        noise=noise,
    )


class _Chances(NamedTuple):
    approve: np.ndarray
    high: np.ndarray  # once approved
    default: tuple[np.ndarray, np.ndarray]  # at the low and the high limit
    use: np.ndarray  # share of the limit that is used


def _solve(noise, seen, lived, appetite):
    """(frame, truth) of the equations, by the group ``seen`` and the group ``lived`` with."""
    age = (noise["age"] - 38) / 10
    employed = noise["employed"] < sigmoid(1.6 + 0.3 * age - 0.6 * lived)
    employed = employed.astype(np.int8)
    # the standardised logarithms of income and of the limit asked for
    wealth = 0.3 * age + 1.0 * (employed - 0.8) - 0.6 * lived + 0.8 * noise["income"]
    history = 0.5 * wealth + 0.4 * age + 0.3 * (employed - 0.8) + 0.8 * noise["history"]
    demand = 0.5 * wealth + 0.5 * noise["appetite"] + 0.6 * noise["asked"]
    chance = _chances(noise, seen, employed, wealth, history, demand, appetite)
    approved = noise["approved"] < chance.approve
    high = noise["high"] < chance.high
    truth = {"appetite": noise["appetite"], "high_propensity": chance.high}
    for level, limit, risk in zip(("low", "high"), (LOW, HIGH), chance.default, strict=True):
        default = noise["default"] < risk
        truth[f"default_if_{level}"] = default.astype(np.int8)
        truth[f"risk_if_{level}"] = risk
        truth[f"profit_if_{level}"] = _profit(limit, chance.use, default)
        truth[f"gain_if_{level}"] = _profit(limit, chance.use, risk)
    default = np.where(high, truth["default_if_high"], truth["default_if_low"])
    profit = np.where(high, truth["profit_if_high"], truth["profit_if_low"])
    frame = pd.DataFrame(
        {
            "group": np.asarray(seen, dtype=np.int8),
            "age": noise["age"],
            "employed": employed,
            "income": np.exp(3.5 + 0.5 * wealth),
            "history": history,
            "asked": np.exp(2.0 + 0.5 * demand),
            "officer": noise["officer"],
            "leniency": noise["leniency"],
            "propensity": chance.approve,
            "approved": approved.astype(np.int8),
            "high": pd.arrays.IntegerArray(high.astype(np.int8), ~approved),
            "limit": np.where(approved, np.where(high, HIGH, LOW), 0.0),
            "default": pd.arrays.IntegerArray(default, ~approved),
            "profit": np.where(approved, profit, 0.0),
        }
    )
    return frame, pd.DataFrame(truth)


def _chances(noise, seen, employed, wealth, history, demand, appetite) -> _Chances:
    """The equations of the two decisions and of default, as probabilities."""
    leniency = noise["leniency"]
    hidden = noise["appetite"]
    work = employed - 0.8
    approve = 0.5 + 1.1 * history + 0.4 * wealth + 0.5 * work - 0.4 * demand - 0.8 * seen
    approve = approve + leniency
    high = -0.3 + 0.7 * history + 0.4 * wealth + 0.3 * demand + appetite * hidden + leniency
    default = -1.9 - 0.7 * history - 0.4 * wealth - 0.5 * work + 0.2 * demand + 0.9 * hidden
    return _Chances(
        approve=0.03 + 0.94 * sigmoid(approve),
        high=0.03 + 0.94 * sigmoid(high),
        default=(sigmoid(default), sigmoid(default + 0.3)),
        use=sigmoid(0.2 + 0.8 * demand - 0.8 * wealth),
    )


def _profit(limit, use, default):
    return limit * use * (MARGIN * (1 - default) - LOSS * default) - COST
