"""The value of a policy from another policy's logs, or the verdict that these logs cannot tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.checks import check_columns, check_frame, check_range
from causal_lib.inference.covariates import design
from causal_lib.inference.nuisances import standard_error
from causal_lib.policy.estimators import ESTIMATORS, Rounds, estimators_table
from causal_lib.policy.reward_model import FOLDS, check_actions, fit_additive
from causal_lib.resampling import cluster_codes, percentile_ends, resampled_indices

# Fewer effective rows than this carry no normal interval of a rate. It also bounds the share of one
# row: the effective sample size is at most one over the square of the largest share, so a row with
# over a tenth of the weight leaves under 100.
MIN_EFFECTIVE = 100
INTERVALS = ("normal", "bootstrap")
_LARGEST = 10**9  # entries of a table of rounds and actions: 8 GB
_BLOCK = 2_000_000  # entries of (rows, actions) in memory at once
_DRAWS = 500
_NO_INTERVAL = "no interval: the logs do not say how wrong the model is"
_GRID = 12  # thresholds among which data choose


@dataclass(frozen=True)
class PolicyValue:
    """Expected reward of a policy, or the verdict that the logs cannot tell.

    Attributes
    ----------
    value, low, high : mean reward a round with its interval; None when the logs cannot tell, the
        interval too of 'dm'.
    effective_sample_size : (Σw)²/Σw² of the importance weights.
    largest_share : largest weight as a share of their sum.
    verdict : 'ok', or why the value cannot be trusted.
    settings : what was chosen from the data: the threshold of the weights, for estimators that have
        one.
    """

    estimator: str
    value: float | None
    low: float | None
    high: float | None
    effective_sample_size: float
    largest_share: float
    rounds: int
    verdict: str
    settings: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """The value as JSON types."""
        return dict(vars(self))

    def __repr__(self):
        size = f"effective sample size {self.effective_sample_size:,.0f} of {self.rounds:,}"
        if self.value is None:
            return f"{self.estimator}: no value, {self.verdict} ({size})"
        interval = "no interval" if self.low is None else f"[{self.low:.5f}, {self.high:.5f}]"
        return f"{self.estimator}: {self.value:.5f} {interval}, {size}"


def policy_value(
    logs: pd.DataFrame, policy: np.ndarray, *, estimator: str = "dr", **how
) -> PolicyValue:
    """The mean reward that ``policy`` would have earned in the rounds of ``logs``, by one
    estimator: see `policy_values`.
    """
    return policy_values(logs, policy, estimators=(estimator,), **how)[estimator]


def policy_values(
    logs: pd.DataFrame,
    policy: np.ndarray,
    *,
    estimators: Sequence[str] | None = None,
    action: str = "item_id",
    reward: str = "click",
    propensity: str = "propensity_score",
    context: Sequence[str] = (),
    expected: np.ndarray | None = None,
    logging: np.ndarray | None = None,
    embedding: Sequence | None = None,
    threshold: float | Sequence[float] | None = None,
    cluster: str | None = None,
    interval: str = "normal",
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, PolicyValue]:
    """The mean reward that ``policy`` would have earned in the rounds of ``logs``, which another
    policy chose.

    With w = policy(action | round) / propensity, q a model of the reward (additive in context and
    action, logistic for 0/1, cross-fitted in 3 folds) and q(policy) its mean over the policy's
    actions, the value is the mean over rounds of

    ESTIMATORS_TABLE

    Parameters
    ----------
    logs : one row a round; action 0..K-1, reward a number, propensity in (0, 1].
    policy : (n, K) or (K,) action probabilities of the policy to value; rows sum to 1.
    estimators : names of the table. By default all that have what they need: 'mips' if ``logging``
        and ``embedding`` are given; those with q if there are at least 3 rounds to fit it on, or
        ``expected`` is given.
    context : columns for the model of the reward.
    expected : (n, K) expected reward of every action by a model of your own that did not see the
        row, in place of that model.
    logging, embedding : for mips: (n, K) or (K,) probabilities of the policy that made the logs;
        (K,) labels of the actions.
    threshold : t, or several to choose from; by default a grid. The choice is SLOPE's: from the
        widest interval on, the last that meets all wider ones; it is told in ``settings``. It makes
        errors smaller but not intervals: since the logs do not show the bias, these hold the
        interval without a threshold.
    cluster : column whose groups are independent of each other, their rounds perhaps not (a user's
        rounds); else rounds are.
    interval : 'normal', or 'bootstrap': percentiles of 500 resamples of the scores.
    level : of the interval, in (0, 1).

    Raises
    ------
    ValueError
        for an unknown estimator or interval, propensities outside (0, 1], actions that are no whole
        numbers or outside 0..K-1, probabilities that are missing or do not sum to 1, a table of
        over 10^9 rounds times actions, mips without logging or embedding (or, where no estimators
        are named, one of these two without the other), a model of the reward for fewer than 3
        rounds.

    Source: Dudík, Langford and Li 2011; Swaminathan and Joachims 2015; Wang, Agarwal and Dudík 2017
    (switch); Su and others 2020, arXiv 1907.09623 (shrinkage); Su, Srinath and Krishnamurthy 2020,
    Tucker and Lee 2021 (SLOPE and SLOPE++); Saito and Joachims 2022 (mips).
    """
    if strange := [name for name in estimators or () if name not in ESTIMATORS]:
        raise ValueError(f"unknown estimator {strange[0]!r}; known: {', '.join(ESTIMATORS)}")
    _check_interval(interval, level)
    limits = None if threshold is None else np.atleast_1d(np.asarray(threshold, dtype=float))
    if limits is not None and (not limits.size or not (limits > 0).all()):
        raise ValueError(f"threshold must be above 0, not {threshold}")
    context = check_columns(context, name="context")
    check_frame(
        logs,
        [action, reward, propensity, *context, *filter(None, [cluster])],
        complete=True,
        name="logs",
    )
    check_range(logs[propensity], 0, 1, name=f"propensity column {propensity!r}", open_low=True)
    n = len(logs)
    if estimators is None:
        estimators = _possible(n, expected, logging, embedding)
    policy = _probabilities(policy, n, "policy")
    k = policy.shape[-1]
    chosen = check_actions(logs[action], k)
    r = logs[reward].to_numpy(dtype=float)
    w = _at(policy, chosen) / logs[propensity].to_numpy(dtype=float)
    if not w.any():
        raise ValueError(
            "the policy gives every logged action probability 0: the logs say nothing about it"
        )
    policy_mean = shown_mean = group_w = np.zeros(0)
    if any(ESTIMATORS[name].modelled for name in estimators):
        if expected is None:
            of = fit_additive(design(logs, context).to_numpy(), chosen, r, k, seed=seed).of
        else:
            of = _expected(expected, n, k).__getitem__
        policy_mean = np.empty(n)
        shown_mean = np.empty(n)
        for rows in _blocks(n, k):
            q = of(rows)
            policy_mean[rows] = np.einsum(
                "nk,nk->n",
                q,
                policy[rows] if policy.ndim == 2 else np.broadcast_to(policy, q.shape),
            )
            shown_mean[rows] = q[np.arange(len(q)), chosen[rows]]
    if any("embedding" in ESTIMATORS[name].needs for name in estimators):
        group_w = _group_weights(policy, logging, embedding, chosen, n)
    rounds = Rounds(w, r, policy_mean, shown_mean, group_w)
    rng = np.random.default_rng(seed)
    groups = cluster_codes(logs, cluster) if cluster else None
    how = (interval, level, rng, groups)
    return {name: _value_by(name, rounds, limits, how) for name in estimators}


def _possible(rounds, expected, logging, embedding):
    """The estimators that have what they need, in the order of `ESTIMATORS`."""
    if (logging is None) != (embedding is None):
        given, lacking = ("embedding", "logging") if logging is None else ("logging", "embedding")
        raise ValueError(
            f"{given} is given without {lacking}: estimator 'mips' needs both; give {lacking}, "
            f"leave {given} out, or name the "
            "estimators"
        )
    model = expected is not None or rounds >= FOLDS
    groups = logging is not None
    return tuple(
        name
        for name, one in ESTIMATORS.items()
        if (model or not one.modelled) and (groups or not one.needs)
    )


def slate_value(
    logs: pd.DataFrame,
    *,
    estimator: str = "cascade",
    round_id: str = "round_id",
    position: str = "position",
    reward: str = "click",
    propensity: str = "propensity_score",
    target: str = "target",
    interval: str = "normal",
    level: float = 0.95,
    seed: int = 0,
) -> PolicyValue:
    """The mean sum of rewards of a slate under another policy.

    A position's reward is weighted by the ratios target / propensity of, by ``estimator``: 'slate'
    all positions (no assumption); 'cascade' those up to it (users look from the top and are not
    moved by what is below); 'independent' its own (no position moves another). The fewer, the less
    variance.

    Parameters
    ----------
    logs : one row for each round and position.
    propensity, target : columns of the probability of the item shown there, under the logging
        policy and the one to value: given the items above for 'slate' and 'cascade', on its own for
        'independent'.

    Source: Li and others 2018; McInerney and others 2020, arXiv 2007.12986.
    """
    kinds = ("slate", "cascade", "independent")
    if estimator not in kinds:
        raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(kinds)}")
    _check_interval(interval, level)
    check_frame(logs, [round_id, position, reward, propensity, target], complete=True, name="logs")
    check_range(logs[propensity], 0, 1, name=f"propensity column {propensity!r}", open_low=True)
    check_range(logs[target], 0, 1, name=f"target column {target!r}")
    twice = int(logs.duplicated([round_id, position]).sum())
    if twice:
        raise ValueError(
            f"logs: {twice} rows repeat a position of their round; keep one row for each"
        )
    logs = logs.sort_values([round_id, position], kind="stable")
    ratio = logs[target] / logs[propensity]
    if estimator == "cascade":
        ratio = ratio.groupby(logs[round_id]).cumprod()
    elif estimator == "slate":
        ratio = ratio.groupby(logs[round_id]).transform("prod")
    score = (ratio * logs[reward]).groupby(logs[round_id]).sum().to_numpy(dtype=float)
    worst = min(
        (_spread(part.to_numpy(dtype=float)) for _, part in ratio.groupby(logs[position])),
        key=lambda one: one[0],
    )
    if worst[0] == 0:
        raise ValueError(
            "the policy gives every item logged at a position probability 0: the logs say nothing "
            "about it"
        )
    rng = np.random.default_rng(seed)
    return _with_verdict(estimator, score, *worst, _ends(score, interval, level, rng), {})


def _check_interval(interval, level):
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; known: {', '.join(INTERVALS)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")


def _probabilities(given, n, name):
    given = np.asarray(given)
    _check_size(given, name)
    if given.dtype.kind != "f":
        try:
            given = given.astype(float)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must hold probabilities, not {given.dtype}; give numbers, none missing"
            ) from None
    if given.ndim == 2 and len(given) == 1:
        given = given[0]
    if given.ndim not in (1, 2) or (given.ndim == 2 and len(given) != n):
        raise ValueError(
            f"{name} has {len(given)} rows for {n} rounds; give one row a round or one for all"
        )
    missing = np.isnan(given)
    if missing.any():
        rows = int(np.atleast_2d(missing).any(axis=1).sum())
        raise ValueError(
            f"{name}: {int(missing.sum())} probabilities in {rows} of {len(np.atleast_2d(given))} "
            "rows are missing; fill them (0 for an "
            "action that is never taken), or leave those rounds out of both logs and policy"
        )
    check_range(given, 0, 1, name=name)
    sums = np.atleast_1d(given.sum(axis=-1, dtype=float))
    off = np.abs(sums - 1) > 1e-6 * (1 if given.dtype == float else 100)
    if off.any():
        raise ValueError(f"{name}: {int(off.sum())} rows do not sum to 1, first {sums[off][0]:g}")
    return given


def _check_size(table, name):
    if table.size > _LARGEST:
        rounds = table.shape[0]
        k = table.shape[-1]
        raise ValueError(
            f"{name} asks for a dense table of {rounds:,} rounds x {k:,} actions, over "
            f"{_LARGEST:,} entries; give (K,) where it does "
            "not depend on the round, join actions, or value the rounds in parts"
        )


def _expected(given, n, k):
    _check_size(np.asarray(given), "expected")
    given = np.asarray(given, dtype=float)
    if given.shape != (n, k):
        raise ValueError(
            f"expected has shape {given.shape}; {(n, k)} is needed, a number for "
            "each round and action"
        )
    if off := int((~np.isfinite(given)).sum()):
        raise ValueError(f"expected: {off} values are missing or infinite")
    return given


def _at(table, columns):
    return table[columns] if table.ndim == 1 else table[np.arange(len(columns)), columns]


def _blocks(n, k):
    size = max(1, _BLOCK // k)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _group_weights(policy, logging, embedding, chosen, n):
    """(n,) policy(e) / logging(e) of the embedding e of the action shown."""
    k = policy.shape[-1]
    if logging is None or embedding is None:
        lacking = [
            name
            for name, given in (("logging", logging), ("embedding", embedding))
            if given is None
        ]
        raise ValueError(
            "estimator 'mips' needs logging (the logging policy's probabilities) and embedding "
            "(the actions' labels); "
            f"lacking: {' and '.join(lacking)}"
        )
    logging = _probabilities(logging, n, "logging")
    if len(embedding) != k or logging.shape[-1] != k:
        raise ValueError(
            f"embedding has {len(embedding)} and logging {logging.shape[-1]} "
            f"actions; the policy has {k}"
        )
    groups = pd.factorize(pd.Series(list(embedding)))[0]
    member = groups[:, None] == np.arange(groups.max() + 1)
    sums = [_at(table @ member, groups[chosen]) for table in (policy, logging)]
    if (sums[1] <= 0).any():
        raise ValueError(
            f"logging: {int((sums[1] <= 0).sum())} rounds show an action whose embedding has "
            "probability 0"
        )
    return sums[0] / sums[1]


def _value_by(name, rounds, limits, how):
    """The value by one estimator; ``how`` are the options of `_ends`."""
    estimator = ESTIMATORS[name]
    limit = None
    settings = {}
    if estimator.free:
        limit = _slope(estimator.scores, rounds, limits)
        settings = {"threshold": float(limit)}
    score, w = estimator.scores(rounds, limit)
    size, share = _spread(w)
    if not estimator.interval:
        return PolicyValue(
            name, float(score.mean()), None, None, size, share, len(score), _NO_INTERVAL
        )
    low, high = _ends(score, *how)
    # nothing says how large the bias is: the interval holds that of the estimator without a limit
    if estimator.free:
        free, _ = ESTIMATORS[estimator.free].scores(rounds, None)
        ends = _ends(free, *how)
        low = min(low, ends[0])
        high = max(high, ends[1])
    return _with_verdict(name, score, size, share, (low, high), settings)


def _slope(scores, rounds, limits):
    """The threshold among ``limits`` by SLOPE++, with one-sided 95% intervals."""
    most = float(rounds.w.max())
    if limits is None:
        limits = np.geomspace(most, max(np.median(rounds.w[rounds.w > 0]), 1e-3 * most), _GRID)
    found = []
    n = len(rounds.w)
    # an infinite one changes no weight
    for limit in np.minimum(limits, 1e9 * max(most, 1)) if len(limits) > 1 else ():
        score, _ = scores(rounds, limit)
        found.append((norm.ppf(0.95) * score.std(ddof=1) / np.sqrt(n), score.mean(), limit))
    kept = []
    for width, mean, limit in sorted(found, reverse=True):
        if any(abs(mean - other) > width + (np.sqrt(6) - 1) * wide for wide, other, _ in kept):
            break
        kept.append((width, mean, limit))
    return kept[-1][2] if kept else min(float(limits[0]), 1e9 * max(most, 1))


def _spread(w):
    """Effective sample size, and the largest weight's share of all."""
    total = w.sum()
    return (float(total**2 / (w @ w)), float(w.max() / total)) if total else (0.0, 1.0)


def _ends(score, interval, level, rng, groups=None):
    """(low, high) of the mean of ``score``, its rows independent or, within ``groups`` (codes from
    0), not.
    """
    n = len(score)
    if interval == "bootstrap":
        sums = score if groups is None else np.bincount(groups, score)
        counts = np.ones(n) if groups is None else np.bincount(groups)
        draws = (resampled_indices(len(sums), rng) for _ in range(_DRAWS))
        means = [sums[draw].sum() / counts[draw].sum() for draw in draws]
        return percentile_ends(means, (1 - level) / 2)
    mean = score.mean()
    error = (
        score.std(ddof=1) / np.sqrt(n) if groups is None else standard_error(score - mean, groups)
    )
    half = norm.ppf((1 + level) / 2) * error
    return mean - half, mean + half


def _with_verdict(name, score, size, share, ends, settings):
    n = len(score)
    if size < MIN_EFFECTIVE:
        verdict = f"the logs cannot tell: effective sample size {size:.0f} is below {MIN_EFFECTIVE}"
        return PolicyValue(name, None, None, None, size, share, n, verdict, settings)
    return PolicyValue(
        name, float(score.mean()), float(ends[0]), float(ends[1]), size, share, n, "ok", settings
    )


policy_values.__doc__ = policy_values.__doc__.replace(
    "ESTIMATORS_TABLE", estimators_table().replace("\n", "\n    ")
)
