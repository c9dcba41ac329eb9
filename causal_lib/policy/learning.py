"""Policies learnt from logs: a softmax of the context, or a tree that can be read, of largest
estimated value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax

from causal_lib.cards import card
from causal_lib.checks import (
    check_column_names,
    check_columns,
    check_frame,
    check_number,
    check_whole,
)
from causal_lib.columns import number_of
from causal_lib.inference.covariates import Covariates, wide, wide_names
from causal_lib.inference.far_values import warn_of_far
from causal_lib.policy.columns import listed, propensities, read_actions
from causal_lib.policy.reward_model import fit_additive, order_of_rounds

LOSSES = ("dr", "ips")
_RULES = 12  # lines of a card
_ENTRIES = 100_000_000  # of (rounds, actions): what the scores may take, 0.8 GB


@dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """Probabilities of actions given a context; 0 for actions that the logs never showed.

    Attributes
    ----------
    context : columns that it looks at.
    labels : (K,) labels of the actions, in the order of the columns of `probabilities`.
    logged : places among ``labels`` of the L actions that the logs showed.
    columns : names of the encoded columns.
    places : of the columns in the order in which the model takes them.
    centre, scale : in that order; the model takes a column less the first, over the second.
    model : the weights (columns + 1, L) of a softmax, or EconML's PolicyTree.
    """

    context: tuple[str, ...]
    labels: pd.Index
    logged: np.ndarray
    covariates: Covariates
    columns: tuple[str, ...]
    places: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    model: object

    @property
    def actions(self) -> int:
        """K, the number of actions."""
        return len(self.labels)

    def probabilities(self, frame: pd.DataFrame) -> np.ndarray:
        """(n, K) probabilities for the rows of ``frame``, columns in the order of ``labels``; of a
        tree 0 and 1. Raises ValueError where n x K passes 10^8.
        """
        check_frame(frame, self.context, complete=True)
        _check_size(len(frame), self.actions, "ask for the rows in parts")
        x = (wide(self.covariates.table(frame))[:, self.places] - self.centre) / self.scale
        found = np.zeros((len(x), self.actions))
        if isinstance(self.model, np.ndarray):
            sides = np.column_stack([np.ones(len(x)), x])
            found[:, self.logged] = np.exp(log_softmax(sides @ self.model, axis=1))
        else:
            found[np.arange(len(x)), self.logged[self.model.predict(x)]] = 1
        return found

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`probabilities` with the labels as columns and the index of ``frame``: what
        `policy_values` matches by label.
        """
        return pd.DataFrame(self.probabilities(frame), index=frame.index, columns=self.labels)

    def rules(self) -> str:
        """A tree's rules, one a line: conditions and the action. A split whose leaves all have the
        same action is left out.
        """
        if isinstance(self.model, np.ndarray):
            raise ValueError("a softmax has no rules; learn the policy with depth=")
        tree = self.model.tree_
        lines = []

        def decided(node):
            """The places of the actions below a node."""
            if tree.children_left[node] < 0:
                return {int(np.argmax(tree.value[node].ravel()))}
            return decided(tree.children_left[node]) | decided(tree.children_right[node])

        def walk(node, conditions):
            actions = decided(node)
            if len(actions) == 1:
                action = self.labels[self.logged[actions.pop()]]
                lines.append(f"{' and '.join(conditions) or 'always'}: action {action}")
                return
            column = tree.feature[node]
            name = self.columns[self.places[column]]
            cut = self.centre[column] + self.scale[column] * tree.threshold[node]
            walk(tree.children_left[node], [*conditions, f"{name} <= {cut:.4g}"])
            walk(tree.children_right[node], [*conditions, f"{name} > {cut:.4g}"])

        walk(0, [])
        return "\n".join(lines)

    def __repr__(self):
        kind = "softmax" if isinstance(self.model, np.ndarray) else "tree"
        left_out = self.labels.delete(self.logged)
        never = f"; never logged and never chosen: {listed(left_out)}" if len(left_out) else ""
        return f"Policy ({kind}) of {self.actions} actions by {', '.join(self.context)}{never}"

    def _repr_html_(self):
        tree = not isinstance(self.model, np.ndarray)
        rules = self.rules().splitlines() if tree else []
        if len(rules) > _RULES:
            rules = [*rules[:_RULES], f"and {len(rules) - _RULES} more"]
        left_out = self.labels.delete(self.logged)
        return card(
            f"Policy of {self.actions} actions",
            "a tree" if tree else "a softmax of the context",
            facts=[
                ("context", ", ".join(map(str, self.context))),
                ("never logged and never chosen", listed(left_out) if len(left_out) else ""),
            ],
            lines=rules,
        )


def learn_policy(
    logs: pd.DataFrame,
    context: Sequence[str],
    *,
    loss: str = "dr",
    depth: int | None = None,
    actions: int | Sequence | None = None,
    action: str = "item_id",
    reward: str = "click",
    propensity: str = "propensity_score",
    penalty: float = 1e-3,
    seed: int = 0,
) -> Policy:
    """The policy of largest estimated mean reward among softmax policies linear in the context, or
    among trees.

    Each round gets a score for each action, unbiased where the logged propensities are right: with
    loss 'ips' r / propensity for the action shown, else 0; with 'dr' the same of what the
    cross-fitted reward model leaves, plus its expectation. The policy maximises their mean. It
    never chooses an action that the logs never show. Judge it by `policy_values` on other rounds:
    on its own it looks better than it is. The order of rows and of columns changes nothing, nor
    does the unit of a column.

    Parameters
    ----------
    logs : one row a round; reward a number, propensity in (0, 1].
    depth : of a tree (EconML's PolicyTree, honest: half of the rounds cut, half choose); None for a
        softmax.
    actions : the labels of the actions, or their number K; by default, of actions that are whole
        numbers, 0 to the largest seen, and else their levels, sorted or in the order of the
        category.
    penalty : of the squared weights of the softmax, a round.

    Raises
    ------
    ValueError
        for an unknown loss, propensities outside (0, 1], actions that are no whole numbers from 0
        to K-1 nor among the labels, a single logged action, fewer than 3 rounds with loss 'dr', or
        more than 10^8 rounds x actions.

    Source: Dudík, Langford and Li 2011; Athey and Wager 2021.
    """
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}")
    if depth is not None:
        check_whole(depth, name="depth")
    check_column_names(action=action, reward=reward, propensity=propensity)
    context = check_columns(context, name="context")
    check_number(penalty, name="penalty")
    check_frame(logs, [action, reward, propensity, *context], complete=True, name="logs")
    chance = propensities(logs, propensity)
    k = None
    if not isinstance(actions, Sequence | pd.Index | pd.Series | np.ndarray | None):
        k = check_whole(actions, name="actions (their number, or a list of labels)")
    chosen, labels = read_actions(logs[action], k, actions if k is None else None)
    n = len(logs)
    _check_size(n, len(labels), "learn from a sample of the rounds")
    logged, chosen = np.unique(chosen, return_inverse=True)
    k = len(logged)
    if k == 1:
        raise ValueError(
            f"action column {action!r}: only action {listed(labels[logged])} was logged; a policy "
            "needs at least 2 to choose from"
        )
    r = number_of(logs, reward, name="logs")
    warn_of_far(r, reward, "reward")
    covariates = Covariates.fit(logs, context, name="logs")
    table = covariates.table(logs, name="logs")
    x = wide(table)
    names = wide_names(table)
    order, places = order_of_rounds(x, chosen, r, k, chance, names=names)
    x = x[order][:, places]
    chosen = chosen[order]
    r = r[order]
    chance = chance[order]
    scores = np.zeros((n, k))
    if loss == "dr":
        model = fit_additive(x, chosen, r, k, seed=seed, order=np.arange(n))
        scores = model.of(slice(None))
        r = r - scores[np.arange(n), chosen]
    scores[np.arange(n), chosen] += r / chance
    centre = x.mean(axis=0)
    scale = x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (x - centre) / scale
    if depth is None:
        model = _softmax(np.column_stack([np.ones(n), x]), scores, penalty)
    else:
        from econml.policy import PolicyTree

        tree = PolicyTree(max_depth=depth, min_samples_leaf=max(5, n // 200), random_state=seed)
        model = tree.fit(x, scores)
    return Policy(
        tuple(context),
        labels,
        logged,
        covariates,
        tuple(names),
        places,
        centre,
        scale,
        model,
    )


def _check_size(n, k, way_out):
    if n * k > _ENTRIES:
        raise ValueError(f"{n:,} rounds x {k:,} actions are over {_ENTRIES:,} numbers; {way_out}")


def _softmax(x, scores, penalty):
    """(p, K) weights that maximise the mean of Σ_a softmax(x w)_a score_a - penalty |w|²."""
    n, k = scores.shape

    def lost(flat):
        w = flat.reshape(x.shape[1], k)
        shares = np.exp(log_softmax(x @ w, axis=1))
        gain = (shares * scores).sum(axis=1)
        slope = x.T @ (shares * (scores - gain[:, None])) / n
        return penalty * (w**2).sum() - gain.mean(), (2 * penalty * w - slope).ravel()

    return minimize(lost, np.zeros(x.shape[1] * k), jac=True, method="L-BFGS-B").x.reshape(
        x.shape[1], k
    )
