"""What estimators share: cross-fitted propensities and outcomes, scores of a target, errors.

Treatments are codes: 0 the control, 1 the treated, 2 any other level of a treatment with more than
two. Rows of other levels are compared with nothing, but the average is over them too.
"""

import numpy as np
import pandas as pd

from causal_lib.inference.models import Fitting, arm_folds, calibrated, folds, held_out

TARGETS = ("all", "treated", "untreated", "overlap")
# A propensity below this share of the arm's own share is set to it: what a model says of rows that
# have hardly a counterpart is noise, and one over it would decide the estimate.
_LEAST = 0.02
_FEWEST_OF_ARM = 50


class NoOverlapError(ValueError):
    """Treated and untreated rows cannot be compared: nothing, or not all that was asked for."""


def standard_error(influence: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of an average with this ``influence`` (n,), clustered by ``groups`` (from 0).

    √(G/(G-1) Σ_g (Σ_{i in g} influence_i)²) / n for G groups.

    Raises ValueError for fewer than two groups.

    >>> standard_error(np.array([-1.0, 1.0]), np.array([0, 1]))
    1.0
    """
    sums = np.bincount(groups, influence)
    if len(sums) < 2:
        raise ValueError(
            f"{len(sums)} row or cluster is too few for a standard error; at least 2 are needed"
        )
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(influence))


def clustered_covariance(influence: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(k, k) covariance of k estimates with influences (n, k), as of `standard_error`."""
    sums = np.column_stack([np.bincount(groups, part) for part in influence.T])
    return sums.T @ sums * len(sums) / (len(sums) - 1) / len(influence) ** 2


def cross_fit(
    y: np.ndarray,
    t: np.ndarray,
    x: pd.DataFrame,
    groups: np.ndarray,
    how: Fitting,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold propensities of both arms (n, 2) and E[y | x, arm] (n, 2)."""
    return propensities(t, x, groups, how, weights), outcomes(y, t, x, groups, how, weights)


def outcomes(
    y: np.ndarray,
    t: np.ndarray,
    x: pd.DataFrame,
    groups: np.ndarray,
    how: Fitting,
    weights: np.ndarray | None = None,
    *,
    joint: bool | None = None,
) -> np.ndarray:
    """(n, 2) E[y | x, arm] without and with treatment, out of fold.

    One model for each arm; or with ``joint`` one of columns and treatment, by default where an arm
    has under 50 rows, too few to learn what the other knows of the columns.
    """
    splits = list(arm_folds(t, groups, how.seed, how.folds))
    if joint is None:
        joint = min((t == arm).sum() for arm in (0, 1)) < _FEWEST_OF_ARM
    if not joint or not x.shape[1]:
        return np.column_stack(
            [
                held_out(y, x, splits, how.outcome, seed=how.seed, rows=t == arm, weights=weights)
                for arm in (0, 1)
            ]
        )
    n = len(y)
    # each row thrice: with its own treatment, to learn from, and with either, to be predicted
    thrice = pd.concat([x.assign(**{"": t * 1.0}), x.assign(**{"": 0.0}), x.assign(**{"": 1.0})])
    found = held_out(
        np.tile(y, 3),
        thrice,
        [(train, np.concatenate([test, test + n, test + 2 * n])) for train, test in splits],
        how.outcome,
        seed=how.seed,
        rows=np.concatenate([t < 2, np.zeros(2 * n, dtype=bool)]),
        weights=None if weights is None else np.tile(weights, 3),
    )
    return found[n:].reshape(2, n).T


def propensities(
    t: np.ndarray,
    x: pd.DataFrame,
    groups: np.ndarray,
    how: Fitting,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Out-of-fold propensities of control and treated (n, 2), calibrated.

    With other levels the models are multinomial. A propensity below a fiftieth of its arm's share
    is set to that. Without columns they are the arms' shares: there is nothing to fit. Raises
    ValueError where a fold has no row of an arm to learn from.
    """
    if not x.shape[1]:
        return np.tile([np.average(t == arm, weights=weights) for arm in (0, 1)], (len(t), 1))
    splits = list(arm_folds(t, groups, how.seed, how.folds))
    found = held_out(t, x, splits, how.propensity, seed=how.seed, weights=weights, classes=True)
    if found.ndim == 1:
        treated = calibrated(found, t, weights)
        found = np.column_stack([1 - treated, treated])
    return bounded(found[:, :2], t, weights)


def bounded(chances: np.ndarray, t: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Propensities (n, 2), none below a fiftieth of its arm's share of the rows."""
    share = [np.average(t == arm, weights=weights) for arm in (0, 1)]
    least = _LEAST * np.array(share)
    if t.max() > 1:
        return np.maximum(chances, least)
    treated = np.clip(chances[:, 1], least[1], 1 - least[0])
    return np.column_stack([1 - treated, treated])


def turned(t: np.ndarray) -> np.ndarray:
    """Codes (n,) of a treatment with control and treated exchanged."""
    return np.where(t < 2, 1 - t, t)


def is_reversed(t: np.ndarray, y: np.ndarray) -> bool:
    """Whether models are to be fitted with the arms exchanged: where the control is the rarer.

    So a contrast turned round gives the value with the other sign, whatever the levels are called.
    Of two arms of the same size, that with the lower outcomes by rank counts as the control.
    """
    ranks = np.unique(y, return_inverse=True)[1]
    control, treated = ((int((t == arm).sum()), -int(ranks[t == arm].sum())) for arm in (0, 1))
    return control < treated


def inverse_propensities(t: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """(n,) one over the propensity (n, 2) of the row's own arm; 0 for rows of other levels."""
    return (t < 2) / np.where(t == 1, chances[:, 1], chances[:, 0])


def tilt(target: str, t: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two weights (n,) of the population ``target``: of its members, and of their scores.

    The first, h, is that of a row as far as its columns say: 1 for 'all', the propensity of the
    treated, the untreated, or for 'overlap' their product. The second also uses the row's own arm:
    what h becomes when the propensity is estimated. Source: Li, Morgan and Zaslavsky 2018; Mao, Li
    and Greene 2019.
    """
    if target == "all":
        return np.ones(len(t)), np.ones(len(t))
    if target == "overlap":
        return chances[:, 0] * chances[:, 1], ((t == 1) - chances[:, 1]) ** 2
    arm = TARGETS.index(target) % 2  # 'treated' is 1, 'untreated' 2
    return chances[:, arm], (t == arm).astype(float)


def dr_scores(
    y: np.ndarray, t: np.ndarray, chances: np.ndarray, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Doubly robust scores (n,), whose mean is the average effect, and weights (n,)."""
    weights = inverse_propensities(t, chances)
    sign = (t == 1).astype(int) - (t == 0)
    return means[:, 1] - means[:, 0] + sign * weights * (
        y - np.where(t == 1, means[:, 1], means[:, 0])
    ), weights


def untreated_scores(
    y: np.ndarray, t: np.ndarray, chances: np.ndarray, means: np.ndarray
) -> np.ndarray:
    """Doubly robust scores (n,), whose mean is that of the outcome were nobody treated."""
    return means[:, 0] + (t == 0) / chances[:, 0] * (y - means[:, 0])


def held_out_mean(
    values: np.ndarray,
    x: pd.DataFrame,
    groups: np.ndarray,
    how: Fitting,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """(n,) E[values | x] by models that did not see the row's fold."""
    splits = folds(groups, how.seed, how.folds)
    return held_out(values, x, splits, how.outcome, seed=how.seed, weights=weights)
