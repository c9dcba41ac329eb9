"""A bank's loans with known truth: officers decide, the applicants' appetite for risk is hidden, refused loans show no default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

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
"""Variable -> its direct causes: the equations below, read as a graph. ``group`` reaches ``default`` through income and work only."""

FEATURES = ["age", "employed", "income", "history", "asked"]
"""What is logged of an applicant, without the protected group."""
LOW, HIGH = 5.0, 15.0
"""The two limits that officers grant, in thousands."""
MARGIN, LOSS, COST = 0.15, 0.45, 0.05
"""Of what is used of a limit: earned when it is repaid, lost when it is not; and what a loan costs, in thousands."""


@dataclass(frozen=True, repr=False)
class LoanWorld:
    """Applications for a loan, as logged, with their truth.

    Attributes
    ----------
    frame : one row an applicant: group (0/1, protected), age (years), employed (0/1), income (thousands a year), history (credit
        score, about -3 to 3), asked (limit asked for, thousands), officer, leniency (of the officer, log-odds), propensity (of
        approval, given all of these), approved (0/1), high (0/1, missing when refused), limit (thousands, 0 when refused), default
        (0/1, missing when refused), profit (thousands, 0 when refused).
    truth : aligned with ``frame``, never available at a real bank: appetite (hidden, standard normal), high_propensity
        (of the high limit once approved), default_if_low, default_if_high (0/1, what would happen), risk_if_low, risk_if_high
        (their probabilities), profit_if_low, profit_if_high (of what would happen), gain_if_low, gain_if_high (their expectations).
    graph : the `CausalGraph` of the equations with ``appetite``. As ``high`` acts on ``default`` and both have the hidden cause
        appetite, no latent projection can be drawn: give ``hidden=world.hidden`` to `inference.identify`.
    hidden : ("appetite",); knowledge : tiers of what is logged; appetite : how much it counts for the limit; seed.
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    graph: CausalGraph
    knowledge: Knowledge
    hidden: tuple[str, ...]
    appetite: float
    seed: int
    noise: Mapping[str, np.ndarray]

    @property
    def approved(self) -> pd.DataFrame:
        """The approved rows, complete: high and default as whole numbers."""
        kept = self.frame[self.frame["approved"] == 1]
        return kept.astype({"high": "int8", "default": "int8"})

    def if_approved(self, outcome: str = "risk") -> np.ndarray:
        """(n,) expected 'risk' (of default) or 'gain' of approving each applicant, at the limit that the officer would then grant."""
        high = self.truth["high_propensity"].to_numpy()
        low_and_high = (self.truth[f"{outcome}_if_{level}"].to_numpy() for level in ("low", "high"))
        return np.average(np.column_stack(list(low_and_high)), axis=1, weights=np.column_stack([1 - high, high]))

    def counterfactual(self, *, seen: bool = False, lived: bool = False) -> pd.DataFrame:
        """The log had each applicant's group been the other one, everything random kept.

        Parameters
        ----------
        seen : flip what the officer sees (the direct path group -> approved).
        lived : flip what acts on work and income (the paths through them). Neither gives the log itself, both the total.

        Returns
        -------
        Frame with the columns of ``frame``; ``group`` is what the officer sees.
        """
        group = self.noise["group"]
        return _solve(self.noise, np.where(seen, 1 - group, group), np.where(lived, 1 - group, group), self.appetite)[0]

    def __repr__(self):
        f = self.frame
        return (
            f"LoanWorld of {len(f):,} applicants and {f['officer'].nunique()} officers: {f['approved'].mean():.0%} approved, "
            f"{self.approved['default'].mean():.1%} of these default, {self.if_approved().mean():.1%} of all would "
            f"(seed {self.seed})"
        )


def loans(n: int = 20_000, seed: int = 0, *, n_officers: int = 40, appetite: float = 1.0) -> LoanWorld:
    """Loan applications (the article's 6.2) of which only the approved ones show whether they default.

    The group acts on work and income, and officers also look at the group itself. An officer, drawn at random, approves by what is
    logged and by leniency; the limit, low or high, is bargained over, and those with an appetite for risk bargain harder. They also
    default more often, as a high limit makes everybody do. So approval is ignorable given the log, the limit is not, and leniency is
    an instrument for it. Each decision has a propensity of at least 0.03 either way.

    Parameters
    ----------
    n : applicants, 1 or more.
    seed : the same seed gives the same bytes.
    n_officers : 1 or more.
    appetite : log-odds of the high limit that a standard deviation of the hidden appetite adds; finite. Worlds of one seed differ in
        nothing else.

    Raises
    ------
    ValueError
        for a size out of range or an appetite that is not finite.

    >>> world = loans(n=100, seed=0)
    >>> world.graph.kind, len(world.graph.edges)
    ('DAG', 34)
    """
    for name, value in (("n", n), ("n_officers", n_officers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if not np.isfinite(appetite):
        raise ValueError(f"appetite must be finite, not {appetite}")
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
    edges = [(cause, effect) for effect, causes in LOANS_EDGES.items() for cause in causes]
    names = ["leniency", "group", "age", "appetite", *LOANS_EDGES]
    tiers = [["group", "age", "leniency"], ["employed"], ["income"], ["history"], ["asked"]]
    tiers += [[name] for name in ("approved", "high", "default", "profit")]
    graph = CausalGraph.from_edges(names, edges)
    return LoanWorld(frame, truth, graph, Knowledge(tiers=tiers), ("appetite",), appetite, seed, noise)


class _Chances(NamedTuple):
    approve: np.ndarray
    high: np.ndarray  # once approved
    default: tuple[np.ndarray, np.ndarray]  # at the low and the high limit
    use: np.ndarray  # share of the limit that is used


def _solve(noise, seen, lived, appetite):
    """(frame, truth) of the structural equations: the group that the officer ``seen`` and the one ``lived`` with."""
    age = (noise["age"] - 38) / 10
    employed = (noise["employed"] < _sigmoid(1.6 + 0.3 * age - 0.6 * lived)).astype(np.int8)
    wealth = 0.3 * age + 1.0 * (employed - 0.8) - 0.6 * lived + 0.8 * noise["income"]  # log income, standardised
    history = 0.5 * wealth + 0.4 * age + 0.3 * (employed - 0.8) + 0.8 * noise["history"]
    demand = 0.5 * wealth + 0.5 * noise["appetite"] + 0.6 * noise["asked"]  # log of what is asked, standardised
    chance = _chances(noise, seen, employed, wealth, history, demand, appetite)
    approved, high = noise["approved"] < chance.approve, noise["high"] < chance.high
    default = [noise["default"] < risk for risk in chance.default]
    profit = [_profit(limit, chance.use, bad) for limit, bad in zip((LOW, HIGH), default, strict=True)]
    gain = [_profit(limit, chance.use, risk) for limit, risk in zip((LOW, HIGH), chance.default, strict=True)]
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
            "default": pd.arrays.IntegerArray(np.where(high, default[1], default[0]).astype(np.int8), ~approved),
            "profit": np.where(approved, np.where(high, profit[1], profit[0]), 0.0),
        }
    )
    truth = pd.DataFrame({"appetite": noise["appetite"], "high_propensity": chance.high})
    for k, level in enumerate(("low", "high")):
        truth[f"default_if_{level}"] = default[k].astype(np.int8)
        truth[f"risk_if_{level}"] = chance.default[k]
        truth[f"profit_if_{level}"] = profit[k]
        truth[f"gain_if_{level}"] = gain[k]
    return frame, truth


def _chances(noise, seen, employed, wealth, history, demand, appetite) -> _Chances:
    """The equations of the two decisions and of default, as probabilities."""
    leniency, hidden, work = noise["leniency"], noise["appetite"], employed - 0.8
    approve = 0.5 + 1.1 * history + 0.4 * wealth + 0.5 * work - 0.4 * demand - 0.8 * seen + leniency
    high = -0.3 + 0.7 * history + 0.4 * wealth + 0.3 * demand + appetite * hidden + leniency
    default = -1.9 - 0.7 * history - 0.4 * wealth - 0.5 * work + 0.2 * demand + 0.9 * hidden
    use = _sigmoid(0.2 + 0.8 * demand - 0.8 * wealth)
    decide = (0.03 + 0.94 * _sigmoid(x) for x in (approve, high))
    return _Chances(*decide, (_sigmoid(default), _sigmoid(default + 0.3)), use)


def _profit(limit, use, default):
    return limit * use * (MARGIN * (1 - default) - LOSS * default) - COST


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
