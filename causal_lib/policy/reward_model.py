"""Expected rewards of every action: additive in context and action, cross-fitted, in memory that
does not grow with both.

The model is a logistic regression (0/1 rewards) or a linear one of the context's columns plus one
effect for each action, fitted by Newton's method with the actions eliminated: a million rows of a
hundred actions take a second, where a general solver works with a hundred columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.model_selection import KFold

from causal_lib.ordering import canonical_places

_STEPS = 50
_CLOSE = 1e-8
FOLDS = 3


@dataclass(frozen=True)
class Additive:
    """E[reward | context, action] = link(intercept + context @ weights + effects[action]), one fit
    for each fold.

    Attributes
    ----------
    fold : (n,) which fit was made without the row.
    context : (n, p) standardised.
    intercepts, weights, effects : (folds,), (folds, p), (folds, K).
    logistic : whether the link is expit.
    """

    fold: np.ndarray
    context: np.ndarray
    intercepts: np.ndarray
    weights: np.ndarray
    effects: np.ndarray
    logistic: bool

    def of(self, rows: slice) -> np.ndarray:
        """(rows, K) expected rewards by the fit that did not see the row."""
        fold = self.fold[rows]
        x = self.context[rows]
        level = self.intercepts[fold] + np.einsum("np,np->n", x, self.weights[fold])
        found = level[:, None] + self.effects[fold]
        return expit(found, out=found) if self.logistic else found


def fit_additive(
    context: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    actions: int,
    *,
    seed: int,
    penalty: float = 1.0,
    order: np.ndarray | None = None,
) -> Additive:
    """Cross-fitted in `FOLDS` folds.

    Parameters
    ----------
    context : (n, p) floats, p may be 0; ``action`` : (n,) 0 to ``actions`` - 1; ``reward`` : (n,).
    penalty : of the squares of weights and effects; the intercept is free.
    order : (n,) places of the rounds in the order in which folds are dealt out; by default that of
        `order_of_rounds`.

    Raises ValueError for fewer rounds than folds.
    """
    if len(reward) < FOLDS:
        raise ValueError(
            f"{len(reward)} rounds are too few for the {FOLDS} folds of the model of the reward; "
            "use an estimator or a loss "
            "without that model, such as 'ips'"
        )
    if order is None:
        order = order_of_rounds(context, action, reward, actions)[0]
    scale = context.std(axis=0)
    context = (context - context.mean(axis=0)) / np.where(scale > 0, scale, 1)
    logistic = bool(np.isin(reward, (0, 1)).all())
    fold = np.empty(len(reward), dtype=np.int8)
    fits = []
    for number, (train, test) in enumerate(
        KFold(FOLDS, shuffle=True, random_state=seed).split(reward)
    ):
        fold[order[test]] = number
        train = order[train]
        fits.append(
            _newton(context[train], action[train], reward[train], actions, penalty, logistic)
        )
    return Additive(fold, context, *(np.array(part) for part in zip(*fits, strict=True)), logistic)


def order_of_rounds(
    context: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    actions: int,
    *others: np.ndarray,
    names: Sequence = (),
    policy: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) places that put rounds, and (p,) places that put columns of the context, into an order
    of their values alone.

    It depends neither on how the rows stand, nor on how the columns do, nor on units or the labels
    of actions. Rounds that are the same go by ``others`` (n,), by their row of ``policy`` (n, K)
    and by what else is in their cluster, ``clusters`` (n,); columns that are the same by ``names``.
    """
    rank = _ranks(action, reward, actions)
    if policy is not None and policy.ndim == 2:
        others = (row_digest(policy, rank), *others)
    return canonical_places(context, reward, rank[action], *others, names=names, clusters=clusters)


def row_digest(policy: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(n,) a number for each row of ``policy`` (n, K), another for another row; columns count by
    their ``rank`` (K,).
    """
    return np.einsum("nk,k->n", policy, np.random.default_rng(0).random(policy.shape[1])[rank])


def _ranks(action, reward, k):
    """(K,) rank of each action by its rounds and their rewards, whatever its number."""
    place = np.unique(reward, return_inverse=True)[1]
    sums = np.bincount(action, place, k)
    squares = np.bincount(action, place.astype(float) ** 2, k)
    rank = np.empty(k, dtype=np.intp)
    rank[np.lexsort([squares, sums, np.bincount(action, minlength=k)])] = np.arange(k)
    return rank


def _newton(x, action, reward, actions, penalty, logistic):
    """Intercept, (p,) weights and (K,) effects of least penalised loss."""
    n, p = x.shape
    if not logistic:
        mean = reward.mean()
        size = max(reward.std(), 1e-12)
        reward = (reward - mean) / size
    elif reward.min() == reward.max():
        # No finite log-odds: as if half a reward more of either kind had been seen.
        share = (reward.sum() + 0.5) / (n + 1)
        return np.log(share / (1 - share)), np.zeros(p), np.zeros(actions)
    sides = np.column_stack([np.ones(n), x])
    where = csr_matrix((np.ones(n), (action, np.arange(n))), shape=(actions, n))
    ridge = np.r_[1e-9, np.full(p, penalty)]
    side = np.zeros(p + 1)
    effect = np.zeros(actions)
    for _ in range(_STEPS):
        level = sides @ side + effect[action]
        mean_now = expit(level) if logistic else level
        weight = mean_now * (1 - mean_now) if logistic else np.ones(n)
        left = reward - mean_now
        slope = sides.T @ left - ridge * side
        slopes = where @ left - penalty * effect
        curve = (sides * weight[:, None]).T @ sides + np.diag(ridge)
        cross = (where @ (sides * weight[:, None])).T  # (p + 1, K)
        own = where @ weight + penalty
        step = np.linalg.solve(curve - cross / own @ cross.T, slope - cross / own @ slopes)
        steps = (slopes - cross.T @ step) / own
        side = side + step
        effect = effect + steps
        if max(np.abs(step).max(), np.abs(steps).max()) < _CLOSE or not logistic:
            break
    if not logistic:
        side = side * size
        effect = effect * size
        side[0] += mean
    return side[0], side[1:], effect
