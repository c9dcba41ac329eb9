"""Who should be recommended to: uplift against predicted purchase."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from causal_lib.data.schema import check_frame
from causal_lib.inference.estimators import cross_fit, design


def uplift_scores(
    train: pd.DataFrame,
    new: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    cluster: str | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Estimated effect of ``treatment`` on ``outcome`` for each row of ``new``: the DR-learner, (n_new,) float.

    A regression of the cross-fitted AIPW scores of ``train`` on the adjustment columns (Kennedy 2023), by boosting.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    check_frame(train, [treatment, outcome, *adjustment], complete=True, name="train")
    check_frame(new, adjustment, complete=True, name="new")
    x = design(train, adjustment)
    t, y = train[treatment].to_numpy(), train[outcome].to_numpy(dtype=float)
    groups = pd.factorize(train[cluster])[0] if cluster else np.arange(len(train))
    propensity, without, treated = cross_fit(y, t, x, groups, seed)
    residual = y - np.where(t == 1, treated, without)
    score = treated - without + (t / propensity - (1 - t) / (1 - propensity)) * residual
    final = HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=200, random_state=seed
    )
    return final.fit(x, score).predict(design(new, adjustment).reindex(columns=x.columns, fill_value=0.0))


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
