"""The value of a policy from another policy's logs, and who should be recommended to: uplift against predicted purchase."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from causal_lib.data.schema import check_frame, check_range
from causal_lib.inference.effects import cross_fit, design

_MIN_EFFECTIVE = 100  # fewer rows than this carry no normal interval of a rate
_MAX_SHARE = 0.1  # one logged row should not make up more of the estimate than this


@dataclass(frozen=True)
class PolicyValue:
    """Expected reward of a policy, or the verdict that the logs cannot tell.

    Attributes
    ----------
    value, low, high : mean reward a round with its 95% interval; None when the verdict is not 'ok'.
    effective_sample_size : (Σw)²/Σw² of the importance weights.
    largest_share : largest weight as a share of their sum.
    verdict : 'ok', or why the value cannot be trusted.
    """

    estimator: str
    value: float | None
    low: float | None
    high: float | None
    effective_sample_size: float
    largest_share: float
    rounds: int
    verdict: str

    def to_dict(self) -> dict:
        """The value as JSON types."""
        return dict(vars(self))

    def __repr__(self):
        size = f"effective sample size {self.effective_sample_size:,.0f} of {self.rounds:,}"
        if self.value is None:
            return f"{self.estimator}: no value, {self.verdict} ({size})"
        return f"{self.estimator}: {self.value:.5f} [{self.low:.5f}, {self.high:.5f}], {size}"


def policy_value(
    logs: pd.DataFrame,
    policy: np.ndarray,
    *,
    estimator: str = "dr",
    action: str = "item_id",
    reward: str = "click",
    propensity: str = "propensity_score",
    context: Sequence[str] = (),
    seed: int = 0,
) -> PolicyValue:
    """The mean reward that ``policy`` would have earned in the rounds of ``logs``, which another policy chose.

    With w = policy(action | round) / propensity:  IPS  mean(w r);  SNIPS  Σ w r / Σ w;  DR  mean(Σ_a policy(a) q(a) +
    w (r - q(action))), q an additive logistic model of reward given action and context, cross-fitted in 3 folds.
    IPS and DR are unbiased when the logged propensities are right and positive wherever ``policy`` is; SNIPS is
    consistent and bounded by the rewards.

    Parameters
    ----------
    logs : one row a round; action 0..K-1, reward 0/1 (numeric for IPS and SNIPS), propensity in (0, 1].
    policy : (n, K) or (K,) action probabilities of the policy to value; rows sum to 1.
    estimator : 'ips', 'snips' or 'dr'.
    context : columns for DR's reward model.

    Raises
    ------
    ValueError
        for propensities outside (0, 1], actions outside 0..K-1, probabilities that do not sum to 1.

    Source: Dudík, Langford and Li 2011; Swaminathan and Joachims 2015.
    """
    if estimator not in ("ips", "snips", "dr"):
        raise ValueError(f"unknown estimator {estimator!r}; known: ips, snips, dr")
    check_frame(logs, [action, reward, propensity, *context], complete=True, name="logs")
    check_range(logs[propensity], 0, 1, name=f"propensity column {propensity!r}", open_low=True)
    policy = np.atleast_2d(np.asarray(policy, dtype=float))
    n, k = len(logs), policy.shape[1]
    if policy.shape[0] not in (1, n):
        raise ValueError(f"policy has {policy.shape[0]} rows for {n} rounds; give one row a round or one for all")
    check_range(policy, 0, 1, name="policy")
    off = np.abs(policy.sum(axis=1) - 1) > 1e-6
    if off.any():
        raise ValueError(f"policy: {int(off.sum())} rows do not sum to 1, first {policy[off][0].sum():g}")
    chosen = logs[action].to_numpy()
    check_range(chosen, 0, k - 1, name=f"action column {action!r}")
    policy = np.broadcast_to(policy, (n, k))
    r = logs[reward].to_numpy(dtype=float)
    w = policy[np.arange(n), chosen.astype(int)] / logs[propensity].to_numpy(dtype=float)
    if not w.any():
        raise ValueError("the policy gives every logged action probability 0: the logs say nothing about it")
    if estimator == "ips":
        score = w * r
    elif estimator == "snips":
        mean = (w @ r) / w.sum()
        score = mean + w / w.mean() * (r - mean)
    else:
        q = _reward_model(logs, r, chosen, k, context, seed)
        score = (policy * q).sum(axis=1) + w * (r - q[np.arange(n), chosen])
    size, share = float(w.sum() ** 2 / (w**2).sum()), float(w.max() / w.sum())
    if size < _MIN_EFFECTIVE:
        verdict = f"effective sample size {size:.0f} is below {_MIN_EFFECTIVE}"
    elif share > _MAX_SHARE:
        verdict = f"one row carries {share:.0%} of the weight"
    else:
        value, half = float(score.mean()), float(1.96 * score.std(ddof=1) / np.sqrt(n))
        return PolicyValue(estimator, value, value - half, value + half, size, share, n, "ok")
    return PolicyValue(estimator, None, None, None, size, share, n, f"the logs cannot tell: {verdict}")


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


def _reward_model(logs, r, chosen, k, context, seed):
    """(n, K) cross-fitted reward probabilities, additive in the log-odds: context part plus action part."""
    side = design(logs, context).to_numpy()
    side = (side - side.mean(axis=0)) / np.where(side.std(axis=0) > 0, side.std(axis=0), 1)
    n, width = side.shape
    x = hstack([csr_matrix(side), csr_matrix((np.ones(n), (np.arange(n), chosen)), shape=(n, k))]).tocsr()
    q = np.empty((n, k))
    for train, test in KFold(3, shuffle=True, random_state=seed).split(x):
        if len(np.unique(r[train])) < 2:
            q[test] = r[train].mean()
            continue
        model = LogisticRegression(max_iter=1000).fit(x[train], r[train])
        weights = model.coef_[0]
        q[test] = expit(model.intercept_[0] + (side[test] @ weights[:width])[:, None] + weights[width:])
    return q
