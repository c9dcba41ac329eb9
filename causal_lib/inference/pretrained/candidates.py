"""Candidate effects of a table by many small learners, each out of fold and for new rows.

Notation: y the outcome, t the treatment (0 or 1), e(x) = P(t = 1 | x), μ_a(x) = E[y | x, t = a],
m(x) = E[y | x].

First stage, out of fold: μ_a by seven regressions, mixed by their held-out errors: linear,
quadratic, waves, boosted trees, a forest, both (boosted trees of what the quadratic one leaves) and
fine (boosted trees whose leaves may hold two rows); e by a logistic regression and boosted trees.
Second stage, out of fold again, from the held-out values of the first:

- T: μ_1 - μ_0 of each regression and of their mixture.
- S: trees that see the treatment as a column.
- X: imputed effects of each arm, weighed by e (Künzel and others 2019).
- DR: regressions of the doubly robust scores (Kennedy 2023).
- R: regressions of (y - m)/(t - e) with weights (t - e)² (Nie and Wager 2021).
- the average effect alone; and two stacks of all others, by the doubly robust scores and by the
  R-loss.

Settings are small and grow with the rows: they are inputs of a network, which weighs them. Which
columns the models of μ, of e and of the effect are given depends on the roles of the columns, see
`roles`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import lightgbm
import numpy as np
from scipy.special import expit
from sklearn.linear_model import LassoLarsIC, LogisticRegression

from causal_lib.inference.least_squares import stack_weights
from causal_lib.inference.models import arm_folds, is_zero_one, short_stack
from causal_lib.inference.nuisances import bounded, dr_scores, standard_error
from causal_lib.inference.pretrained.encoder import Encoders

FOLDS = 3
OUTCOMES = ("linear", "quadratic", "waves", "boosted", "forest", "both", "fine")
"""Regressions of the outcome."""
NAMES = (
    *(f"t_{kind}" for kind in OUTCOMES),
    "t_mixed",
    "s_boosted",
    "x_linear",
    "x_quadratic",
    "x_boosted",
    "x_forest",
    "x_fine",
    "dr_linear",
    "dr_quadratic",
    "dr_boosted",
    "dr_forest",
    "r_linear",
    "r_quadratic",
    "r_waves",
    "r_sparse",
    "r_boosted",
    "constant",
    "dr_stack",
    "r_stack",
)
"""Candidates, in the order of the columns of their predictions."""
_FITTED = NAMES.index("constant")
_PENALTIES = np.logspace(-4, 1.5, 12)  # of ridge regressions, per row
_TAIL = 0.005  # of the scores on either side, moved to the quantile before regressions
_LABELS = 2.0**12  # steps of a label of trees in a deviation of the outcome
_WEIGHTS = 2.0**20
_BINNING = {"verbosity": -1, "max_bin": 63, "min_data_in_bin": 1, "feature_pre_filter": False}
_GROWING = {
    "objective": "l2",
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "seed": 0,
}
_FINE = {"num_leaves": 6, "learning_rate": 0.1, "min_data_in_leaf": 2, "lambda_l2": 1.0}
_FOREST = {
    "boosting": "rf",
    "bagging_freq": 1,
    "bagging_fraction": 0.63,
    "feature_fraction_bynode": 0.5,
}


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of one table.

    Outcomes are standardised: of mean 0 and deviation 1.

    Attributes
    ----------
    average, error : mean of the doubly robust scores and its standard error, by clusters.
    effects : (n, candidates) held-out predictions.
    levels : (candidates,) their means.
    scores : (n,) doubly robust.
    left, residual : (n,) y - m(x), t - e(x): the parts of the R-loss.
    chances, means : (n,) e(x), (n, 2) the mixed μ_a(x), held out.
    outcomes : (2, kinds, n) μ_a by each regression, held out.
    shares : (2, kinds) of the regressions in the mixture of each arm.
    weights : of the candidates before it, (2, candidates) in 'dr_stack' and 'r_stack'.
    roles : (p,) of the columns.
    rows_per_cluster : the mean number.
    """

    y: np.ndarray
    t: np.ndarray
    events: bool
    average: float
    error: float
    effects: np.ndarray
    levels: np.ndarray
    scores: np.ndarray
    left: np.ndarray
    residual: np.ndarray
    chances: np.ndarray
    means: np.ndarray
    outcomes: np.ndarray
    shares: np.ndarray
    weights: np.ndarray
    roles: tuple[str, ...]
    rows_per_cluster: float
    encoders: Encoders
    folds: tuple["_Fold", ...]

    def predict(self, x: np.ndarray) -> "Predicted":
        """For new rows (m, p), means over the models of the folds."""
        seen = self.encoders.see(x)
        effects = []
        chances = []
        outcomes = []
        for fold in self.folds:
            first = fold.outcomes(seen["outcome"])
            chance = fold.chances(seen["chance"])
            found = fold.effects(first, chance, seen, self.shares)
            effects.append(self._with_stacks(found))
            chances.append(chance)
            outcomes.append(first)
        effects = np.array(effects)
        return Predicted(
            effects.mean(axis=0),
            effects.std(axis=0),
            np.mean(chances, axis=0),
            np.mean(outcomes, axis=0),
        )

    def _with_stacks(self, found):
        """(m, candidates) with the average and the two stacks appended to those fitted."""
        return _appended(found, self.average, self.levels[:_FITTED], self.weights)


class Predicted(NamedTuple):
    """What the candidates say of m rows.

    Attributes
    ----------
    effects, deviations : (m, candidates) effects, and how far the models of the folds differ.
    chances : (m,) e(x).
    outcomes : (2, kinds, m) μ_a by each regression.
    """

    effects: np.ndarray
    deviations: np.ndarray
    chances: np.ndarray
    outcomes: np.ndarray


def _appended(found, average, levels, weights):
    differences = found - levels
    constant = np.full(len(found), average)
    stacks = [average + differences @ share for share in weights[:, :_FITTED]]
    return np.column_stack([found, constant, *stacks])


def fit(
    y: np.ndarray,
    t: np.ndarray,
    x: np.ndarray,
    groups: np.ndarray,
    seed: int,
    known: np.ndarray | None = None,
    roles: Sequence[str] | None = None,
) -> Candidates:
    """The candidates of n rows.

    Parameters
    ----------
    y : (n,) outcome that varies; t : (n,) treatment, 0 or 1; x : (n, p) columns.
    groups : (n,) cluster of each row, codes from 0; folds keep clusters together.
    seed : of folds and models.
    known : (n,) probabilities of treatment where they are known.
    roles : (p,) of the columns, of `roles.ROLES`; all unknown by default.

    Raises
    ------
    ValueError
        where an arm has no row outside of a fold, or clusters are fewer than folds.
    """
    events = is_zero_one(y)
    origin = y.mean()
    unit = y.std()
    y = (y - origin) / unit
    roles = ("unknown",) * x.shape[1] if roles is None else tuple(roles)
    encoders = Encoders.fit(x, y, t, seed, roles)
    seen = encoders.see(x)
    splits = list(arm_folds(t, groups, seed, FOLDS))
    n = len(y)
    trees = {}
    for purpose, chosen in encoders.columns.items():
        same = [trees[name] for name in trees if encoders.columns[name] == chosen]
        trees[purpose] = same[0] if same else _Trees(seen[purpose].codes, t)
    outcomes = np.empty((2, len(OUTCOMES), n))
    chances = np.empty(n)
    folds = []
    for train, test in splits:
        fold = _Fold.first_stage(y, t, seen, trees, train, events)
        outcomes[:, :, test] = fold.outcomes(seen["outcome"].take(test))
        chances[test] = fold.chances(seen["chance"].take(test))
        folds.append(fold)
    shares = np.array([_shares(outcomes[arm], y, t == arm) for arm in (0, 1)])
    means = (shares[:, :, None] * outcomes).sum(axis=1).T
    chances = chances if known is None else known
    both = bounded(np.column_stack([1 - chances, chances]), t)
    chances = both[:, 1]
    scores = dr_scores(y, t, both, means)[0]
    average = float(scores.mean())
    expected = chances * means[:, 1] + (1 - chances) * means[:, 0]
    left = y - expected
    residual = t - chances
    found = np.empty((n, _FITTED))
    for (train, test), fold in zip(splits, folds, strict=True):
        fine = outcomes[:, OUTCOMES.index("fine")].T
        fold.second_stage(y, t, means, fine, scores, left, residual, seen["effect"],
                          trees["effect"], train)  # fmt: skip
        held = {purpose: part.take(test) for purpose, part in seen.items()}
        found[test] = fold.effects(outcomes[:, :, test], chances[test], held, shares)
    levels = found.mean(axis=0)
    differences = found - levels
    moved = _winsorised(scores)
    weights = np.array(
        [
            stack_weights(differences, moved - moved.mean()),
            stack_weights(residual[:, None] * differences, left - residual * average),
        ]
    )
    effects = _appended(found, average, levels, weights)
    return Candidates(
        y=y,
        t=t,
        events=events,
        average=average,
        error=standard_error(scores - average, groups),
        effects=effects,
        levels=effects.mean(axis=0),
        scores=moved,
        left=left,
        residual=residual,
        chances=chances,
        means=means,
        outcomes=outcomes,
        shares=shares,
        weights=np.column_stack([weights, np.zeros((2, len(NAMES) - _FITTED))]),
        roles=roles,
        rows_per_cluster=n / (groups.max() + 1),
        encoders=encoders,
        folds=tuple(folds),
    )


def _shares(found, y, own):
    """(kinds,) of the regressions (kinds, n) of an arm, the first alone for a constant outcome."""
    if np.ptp(y[own]) == 0:
        return np.eye(len(found))[0]
    return short_stack(found[:, own], y[own], None, None, np.flatnonzero(own))


def _winsorised(scores):
    return np.clip(scores, *np.quantile(scores, [_TAIL, 1 - _TAIL]))


# ---- the models of a fold ------------------------------------------------------------------------


class _Fold:
    """The models that saw the rows outside of one fold."""

    def __init__(self):
        self.lines = {}  # name -> coefficients, the constant first
        self.trees = {}  # name -> booster
        self.logistic = {}  # arm or 'e' -> function of standardised columns

    @classmethod
    def first_stage(cls, y, t, seen, trees, train, events):
        """Outcomes by arm, outcomes by treatment as a column, propensities."""
        fold = cls()
        terms = seen["outcome"].terms
        own = trees["outcome"]
        for arm in (0, 1):
            rows = train[t[train] == arm]
            for kind in ("linear", "quadratic", "waves"):
                fold.lines[arm, kind] = ridge(terms[kind][rows], y[rows, None])[:, 0]
            if events and np.ptp(y[rows]) > 0:
                fold.logistic[arm] = _event_line(terms["linear"][rows], y[rows])
            fold.trees[arm, "boosted"] = own.boosted(rows, y)
            fold.trees[arm, "forest"] = own.forest(rows, y)
            fold.trees[arm, "fine"] = own.fine(rows, y)
            rest = y - _value(fold.lines[arm, "quadratic"], terms["quadratic"])
            fold.trees[arm, "both"] = own.boosted(rows, rest, small=True)
        fold.trees["s"] = own.boosted(train, y, with_treatment=True)
        fold.logistic["e"] = _line_of_chances(seen["chance"].terms["linear"][train], t[train])
        fold.trees["e"] = trees["chance"].boosted(train, t, small=True)
        return fold

    def second_stage(self, y, t, means, fine, scores, left, residual, seen, trees, train):
        """Effects from held-out values of the first stage."""
        terms = seen.terms
        moved = _winsorised(scores)
        imputed = np.where(t == 1, y - means[:, 0], means[:, 1] - y)
        by_fine = np.where(t == 1, y - fine[:, 0], fine[:, 1] - y)
        weights = residual**2
        ratio = left / residual  # propensities are bounded away from 0 and 1
        arms = [train[t[train] == arm] for arm in (0, 1)]
        for kind in ("linear", "quadratic", "waves"):
            self.lines["r", kind] = ridge(terms[kind][train], ratio[train, None], weights[train])[
                :, 0
            ]
        self.lines["r", "sparse"] = _sparse(terms["quadratic"][train], ratio[train], weights[train])
        for kind in ("linear", "quadratic"):
            self.lines["dr", kind] = ridge(terms[kind][train], moved[train, None])[:, 0]
            for arm in (0, 1):
                rows = arms[arm]
                line = ridge(terms[kind][rows], imputed[rows, None])[:, 0]
                self.lines["x", arm, kind] = line
        self.trees["dr", "boosted"] = trees.boosted(train, moved, small=True)
        self.trees["dr", "forest"] = trees.forest(train, moved, small=True)
        self.trees["r", "boosted"] = trees.boosted(train, ratio, weights, small=True)
        for arm in (0, 1):
            self.trees["x", arm, "boosted"] = trees.boosted(arms[arm], imputed, small=True)
            self.trees["x", arm, "forest"] = trees.forest(arms[arm], imputed, small=True)
            self.trees["x", arm, "fine"] = trees.fine(arms[arm], by_fine, share=1 / 3)

    def outcomes(self, seen):
        """(2, kinds, m) μ_a by each regression."""
        terms = seen.terms
        found = []
        for arm in (0, 1):
            lines = [_value(self.lines[arm, kind], terms[kind]) for kind in OUTCOMES[:3]]
            if arm in self.logistic:
                lines[0] = self.logistic[arm](terms["linear"])
            grown = [self.trees[arm, kind].predict(seen.codes) for kind in OUTCOMES[3:]]
            grown[2] = grown[2] + _value(self.lines[arm, "quadratic"], terms["quadratic"])
            found.append([*lines, *grown])
        return np.array(found)

    def chances(self, seen):
        """(m,) e(x)."""
        both = self.logistic["e"](seen.terms["linear"]) + self.trees["e"].predict(seen.codes)
        return np.clip(both / 2, 1e-3, 1 - 1e-3)

    def effects(self, first, chances, seen, shares):
        """(m, fitted candidates)."""
        terms = seen["effect"].terms
        codes = seen["effect"].codes
        with_arm = np.column_stack([seen["outcome"].codes, np.zeros(len(codes))])
        without = self.trees["s"].predict(with_arm)
        with_arm[:, -1] = 1
        mixed = (shares[:, :, None] * first).sum(axis=1)
        found = dict(zip((f"t_{kind}" for kind in OUTCOMES), first[1] - first[0], strict=True))
        found["t_mixed"] = mixed[1] - mixed[0]
        found["s_boosted"] = self.trees["s"].predict(with_arm) - without
        for kind in ("linear", "quadratic"):
            by_arm = [_value(self.lines["x", arm, kind], terms[kind]) for arm in (0, 1)]
            found[f"x_{kind}"] = chances * by_arm[0] + (1 - chances) * by_arm[1]
            for name in ("dr", "r"):
                found[f"{name}_{kind}"] = _value(self.lines[name, kind], terms[kind])
        found["r_waves"] = _value(self.lines["r", "waves"], terms["waves"])
        found["r_sparse"] = _value(self.lines["r", "sparse"], terms["quadratic"])
        for kind in ("boosted", "forest", "fine"):
            by_arm = [self.trees["x", arm, kind].predict(codes) for arm in (0, 1)]
            found[f"x_{kind}"] = chances * by_arm[0] + (1 - chances) * by_arm[1]
        for name in (("dr", "boosted"), ("dr", "forest"), ("r", "boosted")):
            found["_".join(name)] = self.trees[name].predict(codes)
        return np.column_stack([found[name] for name in NAMES[:_FITTED]])


def _value(line, terms):
    return line[0] + terms @ line[1:]


def ridge(terms: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(1 + k, q) coefficients of ridge regressions of ``targets`` (n, q) on ``terms`` (n, k).

    The constant stands first and is not penalised. The penalty of each target is that with the
    least error by generalised cross-validation, weighted by ``weights`` (n,).

    Source: Golub, Heath and Wahba 1979.
    """
    n = len(terms)
    share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    middle = share @ terms
    level = share @ targets
    root = np.sqrt(share)[:, None]
    x = root * (terms - middle)
    y = root * (targets - level)
    sizes, basis = np.linalg.eigh(x.T @ x)
    sizes = np.maximum(sizes, 0.0)
    pull = basis.T @ (x.T @ y)  # (k, q)
    kept = 1 / (sizes[:, None] + _PENALTIES)  # (k, penalties)
    degrees = 1 + (sizes[:, None] * kept).sum(axis=0)
    # |y - X b|² = |y|² - 2 b'X'y + b'X'X b for b = basis kept pull
    square = pull**2
    error = (y**2).sum(axis=0)[:, None] + square.T @ (sizes[:, None] * kept**2 - 2 * kept)
    criterion = np.maximum(error, 0) / np.maximum(1 - degrees / n, 1e-3) ** 2
    best = criterion.argmin(axis=1)
    slopes = basis @ (kept[:, best] * pull)
    return np.vstack([level - middle @ slopes, slopes])


def _sparse(terms, target, weights):
    """Coefficients of a lasso, the constant first; its penalty is chosen by Schwarz's criterion."""
    share = weights / weights.sum()
    middle = share @ terms
    level = share @ target
    root = np.sqrt(share * len(share))
    x = root[:, None] * (terms - middle)
    y = root * (target - level)
    # effects explain little of a noisy target, so that its variance is that of the noise
    model = LassoLarsIC(
        criterion="bic", fit_intercept=False, noise_variance=float((y**2).mean()), max_iter=30
    )
    slopes = model.fit(x, y).coef_
    return np.append(level - middle @ slopes, slopes)


def _event_line(terms, y):
    """Logistic regression of an event of two values, as a function in their units."""
    low = y.min()
    high = y.max()
    chances = _line_of_chances(terms, y == high)
    return lambda new: low + (high - low) * chances(new)


def _line_of_chances(terms, event):
    model = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=50).fit(terms, event)
    slopes = model.coef_[0]
    level = model.intercept_[0]
    return lambda new: expit(level + new @ slopes)


class _Trees:
    """LightGBM's trees on codes whose bins are made once."""

    def __init__(self, codes, t):
        self.plain = lightgbm.Dataset(codes, label=t, params=_BINNING).construct()
        seen = np.column_stack([codes, t])
        self.treated = lightgbm.Dataset(seen, label=t, params=_BINNING).construct()

    def boosted(self, rows, values, weights=None, *, small=False, with_treatment=False):
        """Boosted trees of ``values`` (n,) at ``rows``: more of them for more rows."""
        n = len(rows)
        rounds = int(np.clip(60 * (n / 1000) ** 0.4, 30, 150))
        leaf = max(10, int((2 if small else 1) * np.sqrt(n)))
        leaves = np.clip(n / 200, 4, 12) if small else np.clip(n / 80, 8, 31)
        how = {
            "num_leaves": int(leaves),
            "learning_rate": 0.05 if small else 0.1,
            "min_data_in_leaf": leaf,
        }
        data = self.treated if with_treatment else self.plain
        return self._grown(data, rows, values, weights, how, rounds)

    def forest(self, rows, values, *, small=False):
        """Bagged trees of ``values`` (n,) at ``rows``."""
        n = len(rows)
        leaf = max(5, int((2 if small else 0.5) * np.sqrt(n)))
        how = {"num_leaves": int(np.clip(n / 20, 8, 48)), "min_data_in_leaf": leaf, **_FOREST}
        return self._grown(self.plain, rows, values, None, how, 40)

    def fine(self, rows, values, *, share=1.0):
        """Boosted trees of small leaves: rows with large effects get leaves of their own."""
        rounds = int(share * np.clip(200 * (len(rows) / 1000) ** 0.5, 60, 300))
        return self._grown(self.plain, rows, values, None, _FINE, rounds)

    def _grown(self, data, rows, values, weights, how, rounds):
        part = data.subset(rows).construct()
        part.set_label(_on_grid(values[rows], _LABELS))
        if weights is not None:
            part.set_weight(_on_grid(weights[rows], _WEIGHTS))
        return lightgbm.train(_BINNING | _GROWING | how, part, rounds, keep_training_booster=True)


def _on_grid(values, steps):
    """Rounded: splits that are equally good are told apart by rounding errors, and these would
    differ with the unit of the outcome. The finer the grid, the more often a rounding error moves a
    value to its next step.
    """
    return np.round(values * steps) / steps
