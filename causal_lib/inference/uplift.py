"""Whom to recommend to: the effect for each user and item, whether it can be believed, and the choice under a budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from causal_lib.data.schema import check_frame
from causal_lib.inference.estimators import cross_fit, design, fit, folds

GROUPS = 5
OBJECTIVES = ("uplift", "relevance", "revenue")
_FINAL = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 200}


@dataclass(frozen=True, eq=False, repr=False)
class UpliftModel:
    """Effects that vary between rows, by the DR-learner: a regression of cross-fitted AIPW scores on the adjustment columns.

    Attributes
    ----------
    score : (n,) AIPW score of each training row: a noisy, unbiased measurement of its effect.
    predicted : (n,) the effect predicted by models that did not see the row.
    groups : (n,) cluster of each row.
    """

    treatment: str
    outcome: str
    adjustment: tuple[str, ...]
    score: np.ndarray
    predicted: np.ndarray
    groups: np.ndarray
    columns: pd.Index
    model: HistGradientBoostingRegressor
    relevance_model: object

    @classmethod
    def train(
        cls,
        frame: pd.DataFrame,
        treatment: str,
        outcome: str,
        adjustment: Sequence[str],
        *,
        cluster: str | None = None,
        seed: int = 0,
    ) -> "UpliftModel":
        """Fit on ``frame``, as of `effects.effect`: treatment 0/1, ``adjustment`` a back-door set.

        Source: Kennedy 2023.
        """
        check_frame(
            frame, [treatment, outcome, *adjustment, *([cluster] if cluster else [])], complete=True, name="train"
        )
        x = design(frame, adjustment)
        t, y = frame[treatment].to_numpy(), frame[outcome].to_numpy(dtype=float)
        groups = pd.factorize(frame[cluster])[0] if cluster else np.arange(len(frame))
        propensity, without, treated = cross_fit(y, t, x, groups, seed)
        residual = y - np.where(t == 1, treated, without)
        score = treated - without + (t / propensity - (1 - t) / (1 - propensity)) * residual
        predicted = np.empty(len(y))
        for learn, rest in folds(groups, seed + 1):
            predicted[rest] = _final(seed).fit(x.iloc[learn], score[learn]).predict(x.iloc[rest])
        final = _final(seed).fit(x, score)
        relevance = fit(y[t == 1], x[t == 1], seed)
        return cls(treatment, outcome, tuple(adjustment), score, predicted, groups, x.columns, final, relevance)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) effect for each row."""
        return self.model.predict(self._design(frame))

    def relevance(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) expected outcome when treated: what a recommender without causality ranks by."""
        return self.relevance_model(self._design(frame))

    def calibration(self) -> pd.DataFrame:
        """Best linear predictor: score on 1 and predicted - its mean. Rows average, slope; columns value, low, high.

        A slope of 1 means that predictions differ as effects do; 0 that they say nothing about who gains.
        Source: Chernozhukov and others 2018, arXiv 1712.04802.
        """
        centred = self.predicted - self.predicted.mean()
        basis = np.column_stack([np.ones(len(centred)), centred])
        bread = np.linalg.pinv(basis.T @ basis / len(basis))
        found = bread @ basis.T @ self.score / len(basis)
        influence = (basis * (self.score - basis @ found)[:, None]) @ bread
        rows = [_interval(value, part, self.groups) for value, part in zip(found, influence.T, strict=True)]
        return pd.DataFrame(rows, index=["average", "slope"], columns=["value", "low", "high"])

    def grouped(self, count: int = GROUPS) -> pd.DataFrame:
        """Average effect by ``count`` equal groups of predicted effect, the lowest first: predicted, value, low, high."""
        place, rows = self._places(count), []
        for number in range(count):
            inside = place == number
            value, share = self.score[inside].mean(), inside.mean()
            influence = inside / share * (self.score - value)
            rows.append((self.predicted[inside].mean(), *_interval(value, influence, self.groups)))
        return pd.DataFrame(rows, columns=["predicted", "value", "low", "high"]).rename_axis("group")

    def qini(self) -> tuple[float, float, float]:
        """Area between the curve of gains (treat the rows of largest predicted effect first) and a random order, with interval.

        In outcomes a row: the gain of a share s of the rows beyond s times the average effect, averaged over s.
        Source: Radcliffe 2007, by AIPW scores instead of raw outcomes.
        """
        rank = pd.Series(-self.predicted).rank().to_numpy() / (len(self.score) + 1)
        parts = self.score * (0.5 - rank)
        return _interval(parts.mean(), parts - parts.mean(), self.groups)

    def recommend(
        self,
        candidates: pd.DataFrame,
        *,
        k: int | None = None,
        per: str = "user_id",
        objective: str = "uplift",
        budget: float | None = None,
        cost: float | str = 1.0,
        price: str | None = None,
    ) -> tuple[pd.DataFrame, tuple[float, float, float]]:
        """Which candidates to treat, and what that adds.

        Parameters
        ----------
        candidates : one row a user and item that could be shown, with the adjustment columns.
        k : at most so many for each value of ``per``.
        objective : 'uplift' (outcomes added), 'revenue' (uplift times ``price``), 'relevance' (outcomes when treated, whether
            or not they would come anyway: for comparison).
        budget, cost : total that may be spent, and what a row costs (a number or a column): rows are taken by objective a unit of
            cost. Rows whose objective is not above 0 are never taken.

        Returns
        -------
        The rows taken with uplift, low and high (of the average effect among training rows of like predicted effect), relevance,
        objective, why; and the added outcomes (revenue, for 'revenue') of all of them with their 95% interval.
        """
        if objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {objective!r}; known: {', '.join(OBJECTIVES)}")
        if objective == "revenue" and price is None:
            raise ValueError("objective 'revenue' needs price, the column of what an outcome earns")
        if k is not None and k < 1:
            raise ValueError(f"{k=}: at least 1 is needed")
        if budget is not None and not budget > 0:
            raise ValueError(f"{budget=} must be above 0")
        named = [
            name for name in (per if k is not None else None, price, cost if isinstance(cost, str) else None) if name
        ]
        check_frame(candidates, [*self.adjustment, *named], complete=True, name="candidates")
        worth = candidates[price].to_numpy(dtype=float) if objective == "revenue" else np.ones(len(candidates))
        spent = (
            candidates[cost].to_numpy(dtype=float) if isinstance(cost, str) else np.full(len(candidates), float(cost))
        )
        if (spent <= 0).any():
            raise ValueError(
                f"cost: {int((spent <= 0).sum())} rows cost nothing or less; leave cost out where nothing is limited"
            )
        uplift, relevance = self.predict(candidates), self.relevance(candidates)
        aim = (relevance if objective == "relevance" else uplift) * worth
        table = candidates.assign(uplift=uplift, relevance=relevance, objective=aim, cost_of_row=spent)
        table = table[aim > 0].sort_values("objective", ascending=False, kind="stable")
        if k is not None:
            table = table[table.groupby(per).cumcount() < k]
        if budget is not None:
            ratio = (table["objective"] / table["cost_of_row"]).sort_values(ascending=False, kind="stable")
            table = table.loc[ratio.index]
            table = table[table["cost_of_row"].cumsum() <= budget]
        return self._explained(table, price if objective == "revenue" else None)

    def _explained(self, table, price):
        """``table`` with intervals and reasons, and the total with its interval."""
        known, place = self.grouped(), self._places(GROUPS)
        edges = np.quantile(self.predicted, np.linspace(0, 1, GROUPS + 1)[1:-1])
        mine = np.searchsorted(edges, table["uplift"].to_numpy(), side="right")
        worth = table[price].to_numpy(dtype=float) if price else np.ones(len(table))
        taken = np.bincount(mine, worth, minlength=GROUPS)
        weights = taken[place] / np.bincount(place, minlength=GROUPS)[place]
        total = float(weights @ self.score)
        sums = np.bincount(self.groups, weights * (self.score - known["value"].to_numpy()[place]))
        half = norm.ppf(0.975) * np.sqrt((sums**2).sum())
        why = [
            f"of {anyway + gain:.0%} who would {self.outcome} when shown, {max(anyway, 0):.0%} would anyway"
            for anyway, gain in zip(table["relevance"] - table["uplift"], table["uplift"], strict=True)
        ]
        added = table.assign(low=known["low"].to_numpy()[mine], high=known["high"].to_numpy()[mine], why=why)
        return added.drop(columns="cost_of_row"), (total, total - half, total + half)

    def _places(self, count):
        """(n,) group of each training row by predicted effect."""
        edges = np.quantile(self.predicted, np.linspace(0, 1, count + 1)[1:-1])
        return np.searchsorted(edges, self.predicted, side="right")

    def _design(self, frame):
        check_frame(frame, self.adjustment, complete=True, name="new")
        return design(frame, self.adjustment).reindex(columns=self.columns, fill_value=0.0)

    def __repr__(self):
        slope = self.calibration().loc["slope"]
        return (
            f"UpliftModel of {self.treatment} on {self.outcome} from {len(self.score):,} rows; slope of effects on predictions "
            f"{slope['value']:.2f} [{slope['low']:.2f}, {slope['high']:.2f}]"
        )


def incremental_outcomes(
    score: np.ndarray, uplift: np.ndarray, groups: np.ndarray, *, share: float = 0.1, n_boot: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """True extra outcomes per 1,000 recommendations when the ``share`` of rows with the highest ``score`` is recommended.

    Parameters
    ----------
    score : (n,) what the rows are ranked by; uplift : (n,) the true effect of recommending each row (simulations only).
    groups : (n,) what is resampled for the interval: users.

    Returns
    -------
    value, low, high : the 95% interval is a percentile bootstrap over groups, the ranking held fixed.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    chosen = np.argsort(-np.asarray(score), kind="stable")[: max(1, round(share * len(score)))]
    codes = pd.factorize(np.asarray(groups)[chosen])[0]
    sums, counts = np.bincount(codes, np.asarray(uplift)[chosen]), np.bincount(codes)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=n_boot)
    low, high = np.quantile(weights @ sums / (weights @ counts), [0.025, 0.975])
    return 1000 * float(sums.sum() / counts.sum()), 1000 * float(low), 1000 * float(high)


def _final(seed):
    return HistGradientBoostingRegressor(**_FINAL, random_state=seed)


def _interval(value, influence, groups):
    """Value with the 95% interval of a mean of ``influence``, summed within clusters."""
    sums = np.bincount(groups, influence)
    half = norm.ppf(0.975) * np.sqrt((sums**2).sum()) / len(influence)
    return float(value), float(value - half), float(value + half)
