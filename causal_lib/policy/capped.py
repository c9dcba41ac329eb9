"""Choices under a budget and a cap on the mean risk of those who are chosen."""

from dataclasses import dataclass

import numpy as np

from causal_lib.checks import check_range


@dataclass(frozen=True)
class CappedRule:
    """Choose those whose aim - price (risk - cap) is above ``cut``."""

    price: float
    cap: float
    cut: float

    def chooses(self, aim: np.ndarray, risk: np.ndarray) -> np.ndarray:
        """(n,) truth values: who is chosen."""
        return aim - self.price * (risk - self.cap) > self.cut

    @classmethod
    def best(cls, aim: np.ndarray, risk: np.ndarray, *, budget: float, cap: float) -> "CappedRule":
        """The rule with a large sum of ``aim`` (n,), at most a share ``budget`` chosen, and a mean
        ``risk`` (n,) of at most ``cap`` among them. An aim below 0 is chosen where it makes room.

        The price on risk (a Lagrange multiplier) is raised until the cap holds; nobody is chosen
        where no price up to 1000 is enough.

        >>> risk = np.array([0.3, 0.2, 0.1, 0.05, 0.02])
        >>> CappedRule.best(np.ones(5), risk, budget=0.6, cap=0.05).chooses(np.ones(5), risk)
        array([False, False, False,  True,  True])
        """
        check_range([budget], 0, 1, name="budget", open_low=True)
        aim = np.asarray(aim, dtype=float)
        risk = np.asarray(risk, dtype=float)
        if aim.shape != risk.shape or aim.ndim != 1:
            raise ValueError(f"aim has shape {aim.shape}, risk {risk.shape}; both need (n,)")
        if bad := int((~np.isfinite(aim) | ~np.isfinite(risk)).sum()):
            raise ValueError(f"aim, risk: {bad} of {len(aim)} rows are missing or infinite")
        places = int(budget * len(aim) + 1e-9)
        for price in np.geomspace(0.01, 1000, 500):
            score = aim - price * (risk - cap)
            cut = max(0.0, np.sort(score)[-places - 1]) if places < len(score) else 0.0
            chosen = score > cut
            if chosen.any() and risk[chosen].mean() <= cap:
                return cls(price, cap, cut)
        return cls(price, cap, np.inf)
