"""The value of a policy from another policy's logs, or the verdict that these logs cannot tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.cards import card
from causal_lib.checks import (
    check_column_names,
    check_columns,
    check_frame,
    check_range,
)
from causal_lib.columns import number_of
from causal_lib.data.queries import Query
from causal_lib.inference.covariates import design
from causal_lib.inference.far_values import far_among
from causal_lib.policy.columns import (
    by_label,
    check_labels,
    groups_of,
    propensities,
    read_actions,
)
from causal_lib.policy.estimators import ESTIMATORS, Rounds, estimators_table
from causal_lib.policy.intervals import Clicks, Intervals, check_interval
from causal_lib.policy.reward_model import FOLDS, fit_additive, order_of_rounds
from causal_lib.policy.sums import NO_WEIGHT, sums_of_arrays, sums_of_query
from causal_lib.policy.support import FALSE_ALARM, Support, find_support
from causal_lib.resampling import cluster_codes

# Fewer effective rows than this carry no normal interval of a rate. It also bounds the share of one
# row: the effective sample size is at most one over the square of the largest share, so a row with
# over a tenth of the weight leaves under 100.
MIN_EFFECTIVE = 100
_LARGEST = 10**9  # entries of a table of rounds and actions: 8 GB
_BLOCK = 2_000_000  # entries of (rows, actions) in memory at once
_OF_SUMS = ("ips", "snips")  # estimators of a policy that is a column
_NO_INTERVAL = "no interval: the logs do not say how wrong the model is"
_GRID = 12  # thresholds among which data choose
# What the logs lack is negligible where it can move the value by at most this share of the
# interval's width.
_NEGLIGIBLE = 0.1


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
    bounds : (low, high) that hold the value, with the confidence of the interval, whatever the
        actions earn that the logs lack, within the range of the rewards; (low, high) where the
        verdict is 'ok'. None when the logs cannot tell even that.
    unsupported : share of the policy that the logs lack.
    mean_weight, mean_weight_error : mean of the weights and its standard error; of a policy that
        the logs support, and right propensities, it is 1 but for chance.
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
    bounds: tuple[float, float] | None = None
    unsupported: float = 0.0
    mean_weight: float | None = None
    mean_weight_error: float | None = None

    @property
    def may_lack(self) -> float:
        """Largest share of the policy that the logs may lack unseen, with 95% confidence.

        One less the least mean weight that its error allows. The verdict 'ok' says that nothing in
        the logs speaks against their support, not that this share is 0.
        """
        if self.mean_weight is None:
            return 1.0
        least = self.mean_weight - norm.ppf(0.95) * self.mean_weight_error
        return float(np.clip(1 - least, 0, 1))

    def to_dict(self) -> dict:
        """The value as JSON types."""
        return dict(vars(self))

    def __repr__(self):
        size = f"effective sample size {self.effective_sample_size:,.0f} of {self.rounds:,}"
        told = f"{self.estimator}: "
        if self.value is None:
            told += f"no value, {self.verdict} ({size})"
        else:
            ends = "no interval" if self.low is None else f"[{self.low:.5f}, {self.high:.5f}]"
            told += f"{self.value:.5f} {ends}, {size}"
            if self.low is not None and self.verdict != "ok":
                told += f"; {self.verdict}"
        if self.bounds and self.verdict != "ok":
            told += f"; bounds [{self.bounds[0]:.5f}, {self.bounds[1]:.5f}]"
        return told

    def _repr_html_(self):
        ends = "no interval" if self.low is None else f"[{self.low:.5f}, {self.high:.5f}]"
        bounds = None if self.bounds is None else f"{self.bounds[0]:.5f} to {self.bounds[1]:.5f}"
        known = self.value is not None
        good = self.verdict == "ok"
        return card(
            f"Value of a policy, by {self.estimator}",
            f"{self.value:.5f} {ends}" if known else "no value",
            verdict="supported" if good else "weak" if known else "refused",
            reasons=() if good else (self.verdict,),
            interval=(self.value, self.low, self.high) if known and self.low is not None else None,
            facts=[
                ("effective sample size", f"{self.effective_sample_size:,.0f} of {self.rounds:,}"),
                ("bounds", bounds if not good else None),
                ("share that the logs lack", f"{self.unsupported:.1%}" if self.unsupported else ""),
            ],
        )


def policy_value(
    logs: pd.DataFrame | str, policy: np.ndarray | str, *, estimator: str = "dr", **how
) -> PolicyValue:
    """The mean reward that ``policy`` would have earned in the rounds of ``logs``, by one
    estimator: see `policy_values`.
    """
    return policy_values(logs, policy, estimators=(estimator,), **how)[estimator]


def policy_values(
    logs: pd.DataFrame | str,
    policy: np.ndarray | str,
    *,
    estimators: Sequence[str] | None = None,
    actions: Sequence | None = None,
    action: str = "item_id",
    reward: str = "click",
    propensity: str = "propensity_score",
    context: Sequence[str] = (),
    expected: np.ndarray | None = None,
    logging: np.ndarray | None = None,
    embedding: Sequence | None = None,
    threshold: float | Sequence[float] | None = None,
    reward_range: tuple[float, float] | None = None,
    cluster: str | None = None,
    interval: str = "auto",
    level: float = 0.95,
    seed: int = 0,
    connection=None,
) -> dict[str, PolicyValue]:
    """The mean reward that ``policy`` would have earned in the rounds of ``logs``, which another
    policy chose.

    With w = policy(action | round) / propensity, q a model of the reward (additive in context and
    action, logistic for 0/1, cross-fitted in 3 folds) and q(policy) its mean over the policy's
    actions, the value is the mean over rounds of

    ESTIMATORS_TABLE

    Parameters
    ----------
    logs : one row a round; reward a number, propensity in (0, 1]. With ``connection`` a query, text
        or a select, as in `Statistics.from_sql`: the database computes sums, no row leaves it.
    policy : (n, K) or (K,) action probabilities of the policy to value; rows sum to 1. Columns of a
        DataFrame, with the index of the logs, and entries of a Series are matched to the logged
        actions by label; so are those of ``expected``, ``logging`` and ``embedding``. Or the name
        of a column of the logs, the policy's probability of the logged action: enough for 'ips' and
        'snips', and all that can be done with a query.
    estimators : names of the table. By default all that have what they need: 'mips' if ``logging``
        and ``embedding`` are given; those with q if there are at least 3 rounds to fit it on, or
        ``expected`` is given.
    actions : (K,) labels of the policy's columns in their order. Without them, and without a
        labelled policy, whole numbers are taken for places from 0 to K-1; other labels, which must
        then be K, are sorted, and those of a category taken in its order.
    context : columns for the model of the reward; by their cells, too, the logs are searched for
        actions that they never show there.
    expected : (n, K) expected reward of every action by a model of your own that did not see the
        row, in place of that model.
    logging : (n, K) or (K,) probabilities of the policy that made the logs: an action with 0 is not
        supported. For mips, too.
    embedding : for mips: the group of each action, (K,).
    threshold : t, or several to choose from; by default a grid. The choice is SLOPE's: from the
        widest interval on, the last that meets all wider ones; it is told in ``settings``. It makes
        errors smaller but not intervals: since the logs do not show the bias, these hold the
        interval without a threshold.
    reward_range : (lowest, highest) possible reward, for ``bounds``; by default 0 and 1 where all
        rewards are these, else what is observed.
    cluster : column whose groups are independent of each other, their rounds perhaps not (a user's
        rounds); else rounds are.
    interval : 'normal'; 'bootstrap': percentiles of 500 resamples of the scores; 'auto': for
        rewards of 0 and 1 by gamma quantiles of the weighted clicks, which hold where clicks are
        rare and become normal where they are many, else normal.
    level : of the interval, in (0, 1).
    connection : SQLAlchemy engine or connection of SQLite, MySQL or MariaDB, or a connection of
        DuckDB.

    Notes
    -----
    The order of rows and of columns changes nothing, nor does the unit of a column of the context.

    The verdict is the same for all estimators but 'mips', which needs its groups supported, not
    every action. 'ok' is refused where more than a negligible part of the policy (one that could
    move the value by a tenth of its interval's width) is on actions never logged, at all or in
    cells of the context: then there is no value, but ``bounds``. It is refused, too, where weights
    of an action do not sum to the policy's probabilities, so that propensities are wrong or some
    contexts lack the action. Sums that are within chance of what they should be can hide a lack:
    `PolicyValue.may_lack` tells how large, and only ``context`` or ``logging`` can rule it out. Of
    a policy that is a column only the mean weight can be checked, not the weights of each action.

    Raises
    ------
    ValueError
        for an unknown estimator or interval, propensities outside (0, 1], actions that are no whole
        numbers from 0 to K-1 nor among the labels, labels or rows of tables that do not match,
        probabilities that are missing or do not sum to 1, a table of over 10^9 rounds times
        actions, mips without logging or embedding (or, where no estimators are named, an embedding
        without logging), a model of the reward for fewer than 3 rounds.

    Source: Dudík, Langford and Li 2011; Swaminathan and Joachims 2015; Wang, Agarwal and Dudík 2017
    (switch); Su and others 2020, arXiv 1907.09623 (shrinkage); Su, Srinath and Krishnamurthy 2020,
    Tucker and Lee 2021 (SLOPE and SLOPE++); Saito and Joachims 2022 (mips); Fay and Feuer 1997,
    Tiwari, Clegg and Zou 2006 (intervals of rare clicks); Sachdeva, Su and Joachims 2020
    (deficient support).
    """
    if isinstance(estimators, str):
        raise ValueError(f"estimators: a list of names is needed; write [{estimators!r}]")
    if strange := [name for name in estimators or () if name not in ESTIMATORS]:
        raise ValueError(f"unknown estimator {strange[0]!r}; known: {', '.join(ESTIMATORS)}")
    check_interval(interval, level)
    limits = None if threshold is None else np.atleast_1d(np.asarray(threshold, dtype=float))
    if limits is not None and (not limits.size or not (limits > 0).all()):
        raise ValueError(f"threshold must be above 0, not {threshold}")
    check_column_names(action=action, reward=reward, propensity=propensity, cluster=cluster)
    context = check_columns(context, name="context")
    if isinstance(policy, str):
        given = {
            "actions": actions,
            "context": context or None,
            "expected": expected,
            "logging": logging,
            "embedding": embedding,
            "threshold": threshold,
        }
        columns = {"reward": reward, "propensity": propensity, "target": policy, "cluster": cluster}
        return _values_of_column(
            logs, connection, columns, estimators, given, reward_range, interval, level
        )
    if connection is not None:
        raise ValueError(
            "policy: with a connection, the name of the query's column that holds the policy's "
            f"probability of the logged action is needed, not {type(policy).__name__}"
        )
    check_frame(
        logs,
        [action, reward, propensity, *context, *filter(None, [cluster])],
        complete=True,
        name="logs",
    )
    chance = propensities(logs, propensity)
    r = number_of(logs, reward, name="logs")
    possible = _reward_range(reward_range, r)
    n = len(logs)
    if estimators is None:
        estimators = _possible(n, expected, logging, embedding)
    labels = None if actions is None else check_labels(actions)
    policy, own_labels = by_label(policy, labels, logs.index, "policy")
    policy = _probabilities(policy, n, "policy")
    k = policy.shape[-1]
    codes, labels = read_actions(logs[action], k, labels if own_labels is None else own_labels)
    if logging is not None:
        logging = _probabilities(by_label(logging, labels, logs.index, "logging")[0], n, "logging")
        if logging.shape[-1] != k:
            raise ValueError(f"logging has {logging.shape[-1]} actions; the policy has {k}")
    w = _at(policy, codes) / chance
    if not w.any():
        raise ValueError(NO_WEIGHT)
    groups = cluster_codes(logs, cluster) if cluster else None
    policy_mean = shown_mean = group_w = np.zeros(0)
    if any(ESTIMATORS[name].modelled for name in estimators):
        if expected is None:
            x = design(logs, context, name="logs")
            wide = x.to_numpy()
            order, _ = order_of_rounds(
                wide, codes, r, k, chance, names=list(x.columns), policy=policy, clusters=groups
            )
            of = fit_additive(wide, codes, r, k, seed=seed, order=order).of
        else:
            expected = by_label(expected, labels, logs.index, "expected")[0]
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
            shown_mean[rows] = q[np.arange(len(q)), codes[rows]]
    intervals = Intervals(interval, level, np.random.default_rng(seed), groups)
    about = {
        "possible": possible,
        "known": reward_range is not None,
        "intervals": intervals,
        "limits": limits,
    }
    judged = {}
    if any("embedding" not in ESTIMATORS[name].needs for name in estimators):
        support = find_support(
            policy,
            codes,
            w,
            labels,
            intervals.error(w),
            propensity=chance,
            logging=logging,
            context=logs[list(context)],
        )
        judged[False] = _Judge.of(support, w, r, **about)
    if any("embedding" in ESTIMATORS[name].needs for name in estimators):
        group_w, support = _groups(policy, logging, embedding, codes, labels, intervals)
        judged[True] = _Judge.of(support, group_w, r, **about)
    if reward_range is None and (far := far_among(r, reward, "reward")):
        judged = {
            grouped: replace(one, verdict=str(far[0])) if one.verdict == "ok" else one
            for grouped, one in judged.items()
        }
    rounds = Rounds(w, r, policy_mean, shown_mean, group_w)
    return {
        name: judged["embedding" in ESTIMATORS[name].needs].value(name, rounds)
        for name in estimators
    }


def _values_of_column(logs, connection, columns, estimators, given, reward_range, interval, level):
    """The values of a policy of which a column holds the probability of each logged action."""
    policy = columns["target"]
    estimators = _OF_SUMS if estimators is None else tuple(estimators)
    surplus = [name for name, one in given.items() if one is not None]
    surplus += [f"estimator {name!r}" for name in estimators if name not in _OF_SUMS]
    surplus += ["interval='bootstrap'"] * (interval == "bootstrap")
    if surplus:
        raise ValueError(
            f"policy: column {policy!r} holds the probability of the logged action alone, which is "
            f"enough for {' and '.join(map(repr, _OF_SUMS))} with interval 'auto' or 'normal'; "
            f"leave out {', '.join(surplus)}, or give the probabilities of all actions"
        )
    if connection is None:
        if not isinstance(logs, pd.DataFrame):
            raise ValueError(
                f"logs: a frame is needed, or a query with connection=, not {type(logs).__name__}"
            )
        needed = [columns["reward"], columns["propensity"], policy, columns["cluster"]]
        check_frame(logs, [*filter(None, needed)], complete=True, name="logs")
        chance = propensities(logs, columns["propensity"])
        aimed = number_of(logs, policy, name="logs")
        check_range(aimed, 0, 1, name=f"policy column {policy!r}")
        r = number_of(logs, columns["reward"], name="logs")
        if not aimed.any():
            raise ValueError(NO_WEIGHT)
        groups = cluster_codes(logs, columns["cluster"]) if columns["cluster"] else None
        sums = sums_of_arrays(aimed / chance, r, groups)
        possible = _reward_range(reward_range, r)
        far = far_among(r, columns["reward"], "reward") if reward_range is None else ()
    else:
        sums = sums_of_query(Query(connection, logs), **columns)
        far = ()  # is not seen in sums
        possible = (0.0, 1.0) if reward_range is None else _reward_range(reward_range, ())
        held = (
            f"column {columns['reward']!r} holds numbers from {sums.lowest:g} to {sums.highest:g}"
        )
        if (
            reward_range is not None
            and not possible[0] <= sums.lowest <= sums.highest <= possible[1]
        ):
            raise ValueError(f"reward_range {reward_range}: {held}; widen it")
        if reward_range is None and not sums.binary:
            raise ValueError(
                f"reward_range: rewards other than 0 and 1 need it where a database sums, since "
                f"far values are not seen in sums; {held}"
            )
    known = sums.binary or reward_range is not None
    found = _judge_sums(sums, estimators, possible, known, Intervals(interval, level, None))
    if far:
        found = {
            name: replace(one, verdict=str(far[0])) if one.verdict == "ok" else one
            for name, one in found.items()
        }
    return found


def _judge_sums(sums, estimators, possible, known, intervals):
    """The values of ``estimators`` of `WeightedSums`, with the verdict that their weights allow.

    ``possible`` rewards (lowest, highest) are ``known``, or only observed.
    """
    lowest, highest = possible
    m = sums.ratio
    n = sums.rounds
    clicks = None
    if sums.binary:
        total = sums.weight * n
        weight = sums.group_squares / total / n
        clicks = (
            Clicks(m * sums.weight, sums.error(m, 1), weight),
            Clicks((1 - m) * sums.weight, sums.error(1 - m, -1), weight),
        )

    def ends(mean, error, value):
        # where most rewards are 1, the rounds without a click are what is rare
        if clicks is None or value <= 0.5:
            return intervals.around(mean, error, clicks and clicks[0])
        low, high = intervals.around(-mean, error, clicks[1])
        return -high, -low

    error = sums.error(1, 0)
    off = 1 - sums.weight
    fits = abs(off) <= max(norm.isf(FALSE_ALARM) * error, 1e-9)
    low, high = ends(m, sums.error(0, 1), m)
    negligible = max(_NEGLIGIBLE * (high - low), 1e-6 * (highest - lowest))
    verdict = "ok"
    bounds = None
    if not fits and abs(off) * (highest - lowest) > negligible:
        verdict = (
            f"the weights do not fit the policy: they average {sums.weight:.3g}, not 1; "
            "propensities are wrong, or actions are never shown in some contexts"
        )
        if off > 0:  # what is lacking earns the lowest or the highest reward
            least = ends(m + off * (lowest - m), sums.error(m - lowest, 1), m)[0]
            most = ends(m + off * (highest - m), sums.error(m - highest, 1), m)[1]
            bounds = (float(np.clip(least, *possible)), float(np.clip(most, *possible)))
    size = (sums.weight * n) ** 2 / sums.squares
    found = {}
    for name in estimators:
        if name == "ips":
            value = m * sums.weight
            low, high = ends(value, sums.error(m, 1), 0.0)
        else:
            value = m
            low, high = ends(value, sums.error(0, 1 / sums.weight), value)
        if known:
            low = max(low, min(value, lowest))
            high = min(high, max(value, highest))
        found[name] = _or_none(
            PolicyValue(
                name,
                float(value),
                float(low),
                float(high),
                float(size),
                float(sums.largest / (sums.weight * n)),
                n,
                verdict,
                {},
                (float(low), float(high)) if verdict == "ok" else bounds,
                float(np.clip(off, 0, 1)) if not fits else 0.0,
                sums.weight,
                error,
            )
        )
    return found


def _possible(rounds, expected, logging, embedding):
    """The estimators that have what they need, in the order of `ESTIMATORS`."""
    if embedding is not None and logging is None:
        raise ValueError(
            "embedding is given without logging: estimator 'mips' needs both; give logging, leave "
            "embedding out, or name the estimators"
        )
    model = expected is not None or rounds >= FOLDS
    groups = embedding is not None
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
    reward_range: tuple[float, float] | None = None,
    interval: str = "auto",
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
    logs : one row for each round and position; positions are numbers or an ordered category.
    propensity, target : columns of the probability of the item shown there, under the logging
        policy and the one to value: given the items above for 'slate' and 'cascade', on its own for
        'independent'.
    reward_range : (lowest, highest) possible reward of a position, see `policy_values`; so are
        ``interval``, ``level`` and the verdict: where the weights of a position do not average 1,
        the target shows items that the logs never show, or probabilities are wrong.

    Source: Li and others 2018; McInerney and others 2020, arXiv 2007.12986.
    """
    kinds = ("slate", "cascade", "independent")
    if estimator not in kinds:
        raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(kinds)}")
    check_interval(interval, level)
    check_column_names(
        round_id=round_id, position=position, reward=reward, propensity=propensity, target=target
    )
    check_frame(logs, [round_id, position, reward, propensity, target], complete=True, name="logs")
    chance = propensities(logs, propensity)
    aimed = number_of(logs, target, name="logs")
    check_range(aimed, 0, 1, name=f"target column {target!r}")
    twice = int(logs.duplicated([round_id, position]).sum())
    if twice:
        raise ValueError(
            f"logs: {twice} rows repeat a position of their round; keep one row for each"
        )
    place = logs[position]
    ordered = isinstance(place.dtype, pd.CategoricalDtype) and place.cat.ordered
    rows = pd.DataFrame(
        {
            "round": pd.factorize(logs[round_id])[0],
            "place": place.cat.codes.to_numpy()
            if ordered
            else number_of(logs, position, name="logs"),
            "ratio": aimed / chance,
            "reward": number_of(logs, reward, name="logs"),
        }
    ).sort_values(["round", "place"], kind="stable", ignore_index=True)
    if estimator == "cascade":
        rows["ratio"] = rows.groupby("round")["ratio"].cumprod()
    elif estimator == "slate":
        rows["ratio"] = rows.groupby("round")["ratio"].transform("prod")
    worst = min(
        (_spread(part.to_numpy()) for _, part in rows.groupby("place")["ratio"]),
        key=lambda one: one[0],
    )
    if worst[0] == 0:
        raise ValueError(
            "the policy gives every item logged at a position probability 0: the logs say nothing "
            "about it"
        )
    intervals = Intervals(interval, level, np.random.default_rng(seed))
    return _slate(estimator, rows, worst, _reward_range(reward_range, rows["reward"]), intervals)


def _slate(name, rows, worst, limits, intervals):
    """The value of slates: ``rows`` with columns round, place, ratio and reward."""
    w = rows["ratio"].to_numpy()
    r = rows["reward"].to_numpy()
    lowest, highest = limits
    binary = np.isin(r, (0, 1)).all()

    def a_round(values):
        return np.bincount(rows["round"], values)

    score = a_round(w * r)
    clicks = None
    if binary:
        weight = float(w @ w / w.sum()) / len(score)
        clicks = Clicks(score.mean(), intervals.error(score), weight)
    low, high = intervals.ends(score, clicks)
    by_place = rows.groupby("place")["ratio"].agg(["mean", "std", "count"])
    by_place["error"] = (by_place["std"] / np.sqrt(by_place["count"])).fillna(0)
    off = by_place["mean"] - 1
    beyond = norm.isf(FALSE_ALARM / len(off)) * by_place["error"]
    lacking = float(-off[off < -beyond].sum())
    extra = float(off[off > beyond].sum())
    wide = _NEGLIGIBLE * (high - low)
    verdict = "ok"
    bounds = (float(low), float(high))
    if max(lacking, extra) * (highest - lowest) > wide:
        place = off.abs().idxmax()
        verdict = (
            f"the weights do not fit: at a position they average {by_place.loc[place, 'mean']:.3g} "
            f"(standard error {by_place.loc[place, 'error']:.2g}), not 1; the target shows items "
            "that the logs never show there, or probabilities are wrong"
        )
        inside = Intervals(intervals.kind, intervals.level, np.random.default_rng(0))
        least = a_round(lowest + w * (r - lowest))
        most = a_round(highest - w * (highest - r))
        bounds = (
            None
            if extra
            else (
                float(inside.ends(least, clicks)[0]),
                float(inside.ends(most, clicks)[1]),
            )
        )
    found = PolicyValue(
        name,
        float(score.mean()),
        float(low),
        float(high),
        *worst,
        len(score),
        verdict,
        {},
        bounds,
        max(0.0, lacking) / len(off),
        float(w.mean()),
        float(by_place["error"].max()),
    )
    return _or_none(found)


def _reward_range(given, r):
    """(lowest, highest) possible reward."""
    if given is None:
        return (0.0, 1.0) if np.isin(r, (0, 1)).all() else (float(r.min()), float(r.max()))
    if np.shape(given) != (2,):
        raise ValueError(f"reward_range must be (lowest, highest), not {given}")
    lowest, highest = map(float, given)
    if not lowest < highest:
        raise ValueError(f"reward_range must be (lowest, highest), not {given}")
    check_range(r, lowest, highest, name="rewards, by reward_range")
    return lowest, highest


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
    if given.ndim > 2:
        raise ValueError(
            f"{name} has shape {given.shape}; (rounds, actions) or (actions,) is needed, as "
            f"{name}[:, :, 0] gives it"
        )
    if given.shape == (n,) and n > 1 and (given > 1).any() and (given == np.floor(given)).all():
        raise ValueError(
            f"{name} seems to hold the number of an action for each of {n} rounds; give "
            f"probabilities, as np.eye(actions)[{name}] does"
        )
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


def _groups(policy, logging, embedding, codes, labels, intervals):
    """(n,) policy(e) / logging(e) of the embedding e of the action shown, and the support of the
    policy over embeddings.
    """
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
    embedding = groups_of(embedding, labels)
    if len(embedding) != k:
        raise ValueError(f"embedding has {len(embedding)} actions; the policy has {k}")
    of_action, names = pd.factorize(pd.Series(embedding))
    member = of_action[:, None] == np.arange(len(names))
    shown = of_action[codes]
    target, made = (table @ member for table in (policy, logging))
    chance = _at(made, shown)
    if (chance <= 0).any():
        raise ValueError(
            f"logging: {int((chance <= 0).sum())} rounds show an action whose embedding has "
            "probability 0"
        )
    w = _at(target, shown) / chance
    support = find_support(
        target, shown, w, names, intervals.error(w), propensity=chance, logging=made
    )
    return w, support


@dataclass(frozen=True)
class _Judge:
    """Values with the verdict that holds for all estimators with the same support.

    possible : (lowest, highest) reward, where it is known and not only observed.
    clicks : for rewards of 0 and 1, the rounds with and those without a click.
    bounds : of the value, whatever is earned by what the logs lack.
    verdict : 'ok' or what is wrong with support and weights.
    untold : whether the logs lack so much that there is no value.
    """

    support: Support
    intervals: Intervals
    limits: np.ndarray | None
    possible: tuple[float, float] | None
    clicks: tuple[Clicks, Clicks] | None
    bounds: tuple[float, float] | None
    verdict: str
    untold: bool

    @classmethod
    def of(cls, support, w, r, *, possible, known, intervals, limits):
        lowest, highest = possible
        groups = intervals.groups
        binary = np.isin(r, (0, 1)).all()
        clicks = (Clicks.of(w, r, groups), Clicks.of(w, 1 - r, groups)) if binary else None
        known = possible if binary or known else None
        if not w.any():
            return cls(support, intervals, limits, known, clicks, None, "ok", False)
        middle = (w @ r) / w.sum()
        # draws of its own: those of a value do not depend on the bounds
        own = Intervals(intervals.kind, intervals.level, np.random.default_rng(0), groups)

        def ends(score):
            return _ends(own, score, clicks, middle)

        told = middle + w * (r - middle)
        low, high = ends(told)
        negligible = max(_NEGLIGIBLE * (high - low), 1e-6 * (highest - lowest))
        missing = support.missing
        if max(support.mass, support.surplus) * (highest - lowest) <= negligible:
            return cls(support, intervals, limits, known, clicks, None, "ok", False)
        # Σw r / Σw of what is shown, and the lowest or the highest reward of what is not
        bounds = None
        if not support.surplus:
            least = ends(told + missing * (lowest - middle))[0]
            most = ends(told + missing * (highest - middle))[1]
            bounds = (float(np.clip(least, *possible)), float(np.clip(most, *possible)))
        if support.never:
            verdict = (
                f"the logs cannot tell: {support.mass:.1%} of the policy is on actions never "
                f"logged ({support.never})"
            )
            return cls(support, intervals, limits, known, clicks, bounds, verdict, True)
        verdict = (
            f"the weights do not fit the policy: {support.misfit}; propensities are wrong, or "
            "actions are never shown in some contexts"
        )
        return cls(support, intervals, limits, known, clicks, bounds, verdict, False)

    def value(self, name: str, rounds: Rounds) -> PolicyValue:
        """The value by one estimator."""
        estimator = ESTIMATORS[name]
        limit = None
        settings = {}
        if estimator.free:
            limit = _slope(estimator.scores, rounds, self.limits)
            settings = {"threshold": float(limit)}
        score, w = estimator.scores(rounds, limit)
        value = float(score.mean())
        low = high = None
        verdict = self.verdict
        bounds = self.bounds
        if estimator.interval:
            low, high = self._ends(estimator, score, value)
            # nothing says how large the bias is: the interval holds that of the estimator without
            # a limit
            if estimator.free:
                free, _ = ESTIMATORS[estimator.free].scores(rounds, None)
                ends = self._ends(estimator, free, free.mean())
                low = min(low, ends[0])
                high = max(high, ends[1])
            if self.possible:
                low = max(low, min(value, self.possible[0]))
                high = min(high, max(value, self.possible[1]))
            low = float(low)
            high = float(high)
            if verdict == "ok":
                bounds = (low, high)
        elif verdict == "ok":
            verdict = _NO_INTERVAL
        if self.untold:
            value = low = high = None
        found = PolicyValue(
            name,
            value,
            low,
            high,
            *_spread(w),
            len(score),
            verdict,
            settings,
            bounds,
            self.support.mass,
            self.support.mean_weight,
            self.support.error,
        )
        return found if not estimator.interval and not self.untold else _or_none(found)

    def _ends(self, estimator, score, value):
        return _ends(self.intervals, score, self.clicks, value if estimator.shifts else 0.0)


def _ends(intervals, score, clicks, value):
    """The interval of the mean of ``score``; where most rewards are 1, the rounds without a click
    are what is rare.
    """
    if clicks is None or value <= 0.5:
        return intervals.ends(score, clicks and clicks[0])
    low, high = intervals.ends(-score, clicks[1])
    return -high, -low


def _or_none(found):
    """``found``, without a value where too few rounds carry it."""
    if found.effective_sample_size >= MIN_EFFECTIVE:
        return found
    verdict = (
        f"the logs cannot tell: effective sample size {found.effective_sample_size:.0f} is below "
        f"{MIN_EFFECTIVE}"
    )
    return replace(found, value=None, low=None, high=None, verdict=verdict, bounds=None)


def _slope(scores, rounds, limits):
    """The threshold among ``limits`` by SLOPE++, with one-sided 95% intervals."""
    most = float(rounds.w.max())
    if limits is None:
        limits = np.geomspace(most, max(np.median(rounds.w[rounds.w > 0]), 1e-3 * most), _GRID)
    found = []
    n = len(rounds.w)
    # an infinite one changes no weight
    for limit in np.minimum(limits, 1e9 * max(most, 1)) if min(n, len(limits)) > 1 else ():
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


policy_values.__doc__ = policy_values.__doc__.replace(
    "ESTIMATORS_TABLE", estimators_table().replace("\n", "\n    ")
)
