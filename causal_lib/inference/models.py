"""Models of outcomes and propensities: sized to the table, stacked out of fold, calibrated.

Five learners are known by name: 'linear' (ridge or logistic), 'splines' (the same on cubic splines
of the numbers and products of two), 'boosted' trees, a 'forest', and 'fine', boosted trees with
small leaves. Which of them are tried depends on the rows, and 'fine' on how much the others
explain; how much each counts, on its predictions of rows that it did not see.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.special import logit
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from causal_lib.inference.covariates import label_columns
from causal_lib.reasons import Reason

NAMES = ("linear", "splines", "boosted", "forest", "fine")
FOLDS = 5
# Rows from which a learner is tried: of the arm for an outcome; for events, twice those of the
# rarer level, and more, since an event says less than a number. Fewer do not pay for its terms.
_ROWS_OF_SPLINES = {False: 100, True: 400}
_ROWS_OF_TREES = {False: 400, True: 1_000}
_FEWEST_EVENTS = 20  # twice: with fewer no penalty is chosen
_MOST_ROWS_OF_FOREST = 50_000  # boosted trees are as good from here on, and quicker
_ROWS_FOR_BOOSTED_ALONE = 100_000  # they find by then what the others assume
_PILOT_FOLDS = 2  # on these every learner is tried; those that count for little are dropped
_PILOT_ROWS = 20_000
_LEAST_WEIGHT = 0.1
LEAST_EXPLAINED = 0.5
"""Share of an outcome's variance that is explained from which on trees with small leaves are tried.
Below it they fit noise: on simulated tables they made errors smaller above and, on one of three,
larger below.
"""
FINE = {  # a few rows with large effects need leaves of their own
    "learning_rate": 0.1,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 1,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
"""Settings of trees with small leaves."""
FINE_TREES = 300
"""Their number, for an outcome."""
_ROWS_OF_CALIBRATION = 200
_RIDGES = np.logspace(-4, 4, 17)
_INVERSE_RIDGES = (0.01, 0.1, 1.0, 10.0)
# Rows for each term of a logistic model. From the first number on it is hardly penalised; from the
# second on by a standard normal prior; with fewer the penalty is chosen by left-out rows.
_ROWS_PER_FREE_TERM = 20
_ROWS_PER_TERM = 4
_MOST_PRODUCTS = 200  # of two columns
ARMS = ("control", "treated")


@dataclass(frozen=True)
class Fitting:
    """How models of outcomes and propensities are fitted.

    Attributes
    ----------
    outcome, propensity : learners: names of `NAMES` or scikit-learn estimators; empty: those that
        the rows allow.
    folds : each row is predicted by models that saw the other folds.
    seed : of folds and models.
    """

    outcome: tuple = ()
    propensity: tuple = ()
    folds: int = FOLDS
    seed: int = 0

    @classmethod
    def of(cls, learners, folds: int = FOLDS, seed: int = 0) -> "Fitting":
        """From what a user gives: None, a learner, several, or {'outcome': ..., 'propensity': ...}.

        Raises ValueError for an unknown name, TypeError for what is no estimator.
        """
        if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2:
            raise ValueError(f"{folds=}: a whole number of at least 2 is needed")
        if isinstance(learners, Mapping):
            if strange := [part for part in learners if part not in ("outcome", "propensity")]:
                raise ValueError(
                    f"learners: no model is called {strange[0]!r}; those that are fitted: outcome, "
                    "propensity"
                )
            given = {part: _checked(one) for part, one in learners.items()}
        else:
            given = dict.fromkeys(("outcome", "propensity"), _checked(learners))
        return cls(given.get("outcome", ()), given.get("propensity", ()), int(folds), seed)


def _checked(learners):
    """Learners as a tuple; errors for what is none."""
    if learners is None:
        return ()
    several = isinstance(learners, (list, tuple))
    for one in learners if several else [learners]:
        if isinstance(one, str):
            if one not in NAMES:
                raise ValueError(f"learners: unknown name {one!r}; known: {', '.join(NAMES)}")
        elif isinstance(one, type):
            raise TypeError(
                f"learners: {one.__name__} is a class; give an instance: {one.__name__}()"
            )
        elif not (hasattr(one, "fit") and hasattr(one, "predict") and hasattr(one, "get_params")):
            raise TypeError(
                f"learners: {one!r} is no scikit-learn estimator; give one, or a name of "
                f"{', '.join(NAMES)}"
            )
    return tuple(learners) if several else (learners,)


# ---- folds ---------------------------------------------------------------------------------------


def folds(
    groups: np.ndarray, seed: int, count: int = FOLDS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (training rows, test rows) that keep ``groups`` (codes from 0) together."""
    clusters = _check_clusters(groups, count)
    kind = KFold if clusters == len(groups) else GroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    return splitter.split(groups, groups=None if kind is KFold else groups)


def arm_folds(
    t: np.ndarray, groups: np.ndarray, seed: int, count: int = FOLDS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `folds`, with the rows of each arm spread over them.

    Clusters are dealt out by their treated rows first, so that no fold lacks an arm while another
    has several. Raises ValueError where control or treated is missing among the rows to train on.
    """
    clusters = _check_clusters(groups, count)
    rng = np.random.default_rng(seed)
    order = rng.permutation(clusters)
    for arm in (0, 1):
        # stable sorts: clusters with as many rows of both arms stay in random order
        order = order[np.argsort(-np.bincount(groups, t == arm)[order], kind="stable")]
    place = np.empty(clusters, dtype=int)
    place[order] = np.arange(clusters) % count
    place = place[groups]
    for fold in range(count):
        train = np.flatnonzero(place != fold)
        for arm in (0, 1):
            if not (t[train] == arm).any():
                rows = int((t == arm).sum())
                raise ValueError(Reason("one_fold", rows=rows, arm=Reason(ARMS[arm]), folds=count))
        yield train, np.flatnonzero(place == fold)


def _check_clusters(groups, count):
    """The number of clusters; ValueError where there are fewer than folds."""
    clusters = int(groups.max()) + 1
    if clusters < count:
        raise ValueError(Reason("few_folds", clusters=clusters, folds=count))
    return clusters


# ---- predictions out of fold ---------------------------------------------------------------------


def held_out(
    values: np.ndarray,
    x: pd.DataFrame,
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    learners: Sequence,
    *,
    seed: int,
    rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    classes: bool | None = None,
) -> np.ndarray:
    """Predictions of ``values`` by models that did not see the row's fold, stacked.

    Each learner is fitted once a fold. Its weight is by least squares of the values on all held-out
    predictions, weights at least 0 with sum 1 (short-stacking). Learners of small weight in the
    first folds are dropped for the rest. Where the rows choose the learners and these explain at
    least half of the variance of numbers in the first folds, 'fine' is tried too.

    Parameters
    ----------
    values : (n,) numbers, or codes from 0 with ``classes``.
    x : (n, k) of `Covariates.table`.
    splits : pairs of training and test rows.
    learners : of `Fitting`; empty for those that the rows allow.
    rows : (n,) of which rows models learn and weights are chosen (an arm); predictions are for all.
    weights : (n,) of rows.
    classes : whether values are codes to be predicted by probabilities; by default, whether they
        are 0 and 1.

    Returns
    -------
    (n,) means; (n,) probabilities of 1 for two classes, (n, classes) for more.

    Source: Ahrens, Hansen, Schaffer and Wiemann 2024 (short-stacking).
    """
    splits = list(splits)
    used = np.ones(len(values), dtype=bool) if rows is None else rows
    classes = is_zero_one(values[used]) if classes is None else classes
    levels = np.unique(values[used])
    shape = (len(values), len(levels)) if classes and len(levels) > 2 else (len(values),)
    if len(levels) == 1:
        return np.full(shape, float(levels[0]))
    if x.shape[1] == 0:
        return _means(values, splits, used, weights, levels if len(shape) > 1 else None, shape)
    tried = [_learner(one, values[used], x, classes, seed) for one in learners]
    tried = tried or _that_fit(values[used], x, classes, seed)
    found = np.empty((len(tried), *shape))
    count = _PILOT_FOLDS if len(tried) > 1 and len(splits) > _PILOT_FOLDS else len(splits)
    rng = np.random.default_rng(seed) if len(tried) > 1 else None
    _fill(found, range(len(tried)), splits[:count], tried, values, x, used, weights, levels, rng)
    kept = range(len(tried))
    if count < len(splits):
        seen = np.concatenate([test for _, test in splits[:count]])
        seen = seen[used[seen]]
        share = short_stack(found[:, seen], values[seen], levels, weights, seen)
        numbers = not (classes or learners) and used.sum() >= _ROWS_OF_TREES[False]
        if numbers and _explain(share @ found[:, seen], values[seen], weights, seen):
            tried.append(_named("fine", values[used], x, classes, seed))
            found = np.concatenate([found, np.empty((1, *shape))])
            rng = np.random.default_rng(seed)  # the training rows that the others had
            parts = (splits[:count], tried, values, x, used, weights, levels, rng)
            _fill(found, [len(tried) - 1], *parts)
            share = short_stack(found[:, seen], values[seen], levels, weights, seen)
        kept = [k for k in range(len(tried)) if share[k] >= _LEAST_WEIGHT] or [int(share.argmax())]
        _fill(found, kept, splits[count:], tried, values, x, used, weights, levels, None)
    if len(kept) == 1:
        return found[kept[0]]
    seen = np.flatnonzero(used)
    share = short_stack(found[kept][:, seen], values[seen], levels, weights, seen)
    return np.tensordot(share, found[kept], 1)


def _explain(predicted, values, weights, rows):
    """Whether predictions (n,) of rows not seen leave at most half of the variance."""
    own = None if weights is None else weights[rows]
    left = np.average((values - predicted) ** 2, weights=own)
    whole = np.average((values - np.average(values, weights=own)) ** 2, weights=own)
    return left <= (1 - LEAST_EXPLAINED) * whole


def _means(values, splits, used, weights, levels, shape):
    """Predictions without columns: the mean, or the share of each level."""
    found = np.empty(shape)
    for train, test in splits:
        train = train[used[train]]
        own = None if weights is None else weights[train]
        if levels is None:
            found[test] = np.average(values[train], weights=own)
        else:
            found[test] = [np.average(values[train] == one, weights=own) for one in levels]
    return found


def _fill(found, which, splits, tried, values, x, used, weights, levels, rng):
    """Write the predictions of the learners ``which`` for the test rows of ``splits``.

    With ``rng``, for the choice of learners, a large table is cut to some training rows; the rows
    are those of the same fold for every learner.
    """
    for train, test in splits:
        train = train[used[train]]
        if rng is not None and len(train) > _PILOT_ROWS:
            train = np.sort(rng.choice(train, _PILOT_ROWS, replace=False))
        for k in which:
            own = None if weights is None else weights[train]
            found[k][test] = _predicted(
                tried[k], values[train], x.iloc[train], x.iloc[test], own, levels
            )


def _predicted(model, values, x, new, weights, levels):
    """Predictions for the rows ``new`` of a clone of ``model`` fitted to the others."""
    present = np.unique(values)
    several = len(levels) > 2 and _predicts_classes(model)
    if len(present) == 1:
        constant = (levels == present[0]).astype(float)
        return np.tile(constant, (len(new), 1)) if several else np.full(len(new), float(present[0]))
    fitted = fit_model(model, values, x, weights)
    if not _predicts_classes(model):
        return fitted.predict(new)
    chances = fitted.predict_proba(new)
    if not several:
        return chances[:, -1]
    whole = np.zeros((len(new), len(levels)))
    whole[:, np.searchsorted(levels, fitted.classes_)] = chances
    return whole


def fit_model(model, values, x, weights=None):
    """A clone of ``model`` fitted to (n, k) ``x``, with weights (n,) where they are given.

    Raises ValueError for a model that takes no weights.
    """
    fresh = clone(model)
    if weights is None:
        return fresh.fit(x, values)
    path = []
    last = fresh
    while isinstance(last, Pipeline):
        step, last = last.steps[-1]
        path.append(step)
    try:
        return fresh.fit(x, values, **{"__".join([*path, "sample_weight"]): weights})
    except (TypeError, ValueError) as error:  # a grid search gathers the former in the latter
        if "unexpected keyword argument 'sample_weight'" not in str(error):
            raise
        raise ValueError(
            f"learners: {type(last).__name__} takes no weights of rows (sample_weight), and "
            "weights= gives them; take another learner, or leave weights out"
        ) from error


def _predicts_classes(model):
    return is_classifier(model) and hasattr(model, "predict_proba")


def short_stack(
    found: np.ndarray,
    values: np.ndarray,
    levels: np.ndarray | None,
    weights: np.ndarray | None,
    rows: np.ndarray,
) -> np.ndarray:
    """(learners,) weights of held-out predictions (learners, n), by least squares of the values.

    Predictions of ``levels`` are (learners, n, classes). ``weights`` are of all rows, ``rows`` the
    positions of these n.
    """
    if found.ndim == 3:
        target = (values[:, None] == levels).astype(float)
        columns = found.reshape(len(found), -1).T
        target = target.ravel()
        scale = np.ones(len(target)) if weights is None else np.repeat(weights[rows], len(levels))
    else:
        columns = found.T
        target = values.astype(float)
        scale = np.ones(len(target)) if weights is None else weights[rows]
    root = np.sqrt(scale)
    # Weights with sum 1 by one heavy equation more; in units of the target's spread, so that it is
    # as heavy for an outcome of billions.
    centre = np.average(target, weights=scale)
    unit = max(float(target.std()), np.finfo(float).tiny)
    columns = (columns - centre) / unit * root[:, None]
    target = (target - centre) / unit * root
    heavy = 1e3 * np.sqrt(len(target))
    share, _ = nnls(
        np.vstack([columns, np.full((1, columns.shape[1]), heavy)]), np.append(target, heavy)
    )
    return share / share.sum() if share.sum() > 0 else np.full(len(share), 1 / len(share))


def calibrated(chances: np.ndarray, t: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Held-out probabilities (n,) of ``t`` (n,) 0 or 1, put on the line that fits their log odds.

    With fewer than 100 rows of either level they are returned as they are. Source: Platt 1999.
    """
    rarer = min(int((t == 1).sum()), int((t == 0).sum()))
    if 2 * rarer < _ROWS_OF_CALIBRATION:
        return chances
    odds = logit(np.clip(chances, 1e-6, 1 - 1e-6))
    if np.ptp(odds) == 0:
        return chances
    line = LogisticRegression(C=np.inf).fit(odds[:, None], t, sample_weight=weights)
    if line.coef_[0, 0] <= 0:
        return chances  # they do not rank the rows; a line would turn them over
    return line.predict_proba(odds[:, None])[:, 1]


# ---- learners ------------------------------------------------------------------------------------


def fit(
    values: np.ndarray,
    x: pd.DataFrame,
    seed: int,
    *,
    learners: Sequence = (),
    classes: bool | None = None,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Callable[[pd.DataFrame], np.ndarray]:
    """One model of ``values`` for new rows: a function of (m, k) ``x`` that gives (m,) predictions.

    The learners and their weights are those that predict held-out rows best; each is then fitted to
    all rows. ``groups`` (n,) are kept together where learners are chosen.
    """
    classes = is_zero_one(values) if classes is None else classes
    levels = np.unique(values)
    if len(levels) == 1 or x.shape[1] == 0:
        mean = float(np.average(values, weights=weights))
        return lambda new: np.full(len(new), mean)
    tried = [_learner(one, values, x, classes, seed) for one in learners]
    tried = tried or _that_fit(values, x, classes, seed)
    share = np.ones(1)
    if len(tried) > 1:
        codes = np.arange(len(values)) if groups is None else pd.factorize(groups)[0]
        splits = list(folds(codes, seed, _PILOT_FOLDS + 1))
        found = np.empty((len(tried), len(values)))
        rng = np.random.default_rng(seed)
        used = np.ones(len(values), dtype=bool)
        parts = (splits, tried, values, x, used, weights, levels, rng)
        _fill(found, range(len(tried)), *parts)
        share = short_stack(found, values, levels, weights, np.arange(len(values)))
        share = np.where(share >= _LEAST_WEIGHT, share, 0.0)
        share = share / share.sum()
    kept = [
        (part, fit_model(model, values, x, weights))
        for part, model in zip(share, tried, strict=True)
        if part
    ]

    def predict(new):
        found = np.zeros(len(new))
        for part, fitted in kept:
            one = (
                fitted.predict_proba(new)[:, -1]
                if _predicts_classes(fitted)
                else fitted.predict(new)
            )
            found += part * one
        return found

    return predict


def _that_fit(values, x, classes, seed):
    """The learners that the rows allow, the simplest first."""
    rows = 2 * int(np.unique(values, return_counts=True)[1].min()) if classes else len(values)
    if len(values) > _ROWS_FOR_BOOSTED_ALONE and rows > _ROWS_OF_TREES[classes]:
        return [_named("boosted", values, x, classes, seed)]
    names = ["linear"]
    if rows >= _ROWS_OF_SPLINES[classes] and _has_curves(x):
        names.append("splines")
    if rows >= _ROWS_OF_TREES[classes]:
        names.append("boosted")
        if len(values) <= _MOST_ROWS_OF_FOREST:
            names.append("forest")
    return [_named(name, values, x, classes, seed) for name in names]


def _learner(learner, values, x, classes, seed) -> BaseEstimator:
    """The estimator of a name, sized to the table; or a user's, which gets numbers for labels.

    Raises ValueError for an estimator that cannot predict ``values``.
    """
    if isinstance(learner, str):
        return _named(learner, values, x, classes, seed)
    last = learner.steps[-1][1] if isinstance(learner, Pipeline) else learner
    name = type(last).__name__
    levels = len(np.unique(values))
    if is_classifier(learner) and not classes:
        raise ValueError(
            f"learners: {name} is a classifier, and what it is to predict is a number with "
            f"{levels} values, no probability; give a regressor, or "
            "{'outcome': ..., 'propensity': ...}"
        )
    if is_classifier(learner) and not hasattr(learner, "predict_proba"):
        raise ValueError(
            f"learners: {name} has no predict_proba, and probabilities are needed; take another "
            "classifier, such as CalibratedClassifierCV of this one"
        )
    if classes and levels > 2 and not is_classifier(learner):
        raise ValueError(
            f"learners: {name} is a regressor, and the treatment has {levels} levels, each with "
            "a probability; give a classifier as {'propensity': ...}, or keep the rows of the two "
            "of contrast"
        )
    labels = label_columns(x)
    encodes = isinstance(learner, Pipeline) and isinstance(learner.steps[0][1], ColumnTransformer)
    if not labels or encodes:
        return learner
    columns = ColumnTransformer(
        [("labels", _label_encoder(seed), labels)],
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    return Pipeline([("columns", columns), ("model", learner)])


def _label_encoder(seed):
    return TargetEncoder(cv=KFold(FOLDS, shuffle=True, random_state=seed))


def _named(learner, values, x, classes, seed) -> BaseEstimator:
    """The estimator of a name, sized to the table."""
    rows = 2 * int(np.unique(values, return_counts=True)[1].min()) if classes else len(values)
    if learner == "linear":
        return Pipeline(
            [("columns", _linear_columns(x)), ("model", _ridge(rows, _terms(x), classes))]
        )
    if learner == "splines":
        columns, terms = _spline_columns(x, rows)
        return Pipeline([("columns", columns), ("model", _ridge(rows, terms, classes))])
    leaf = int(np.clip(rows / 40, 10, 50))
    if learner == "boosted":
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        chosen = rows > 2_000 and len(values) <= _ROWS_FOR_BOOSTED_ALONE
        trees = kind(
            max_iter=300 if chosen else 100,
            learning_rate=0.1,
            max_leaf_nodes=15 if rows > 2_000 else 8,
            min_samples_leaf=leaf,
            l2_regularization=1.0,
            early_stopping=chosen,
            n_iter_no_change=5,
            random_state=seed,
        )
    elif learner == "fine":
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        trees = kind(max_iter=FINE_TREES, **FINE, random_state=seed)
    else:
        kind = RandomForestClassifier if classes else RandomForestRegressor
        trees = kind(
            n_estimators=50,
            min_samples_leaf=max(3, leaf // 4),
            max_features=0.5,
            max_samples=min(1.0, 4_000 / len(values)),
            n_jobs=1,
            random_state=seed,
        )
    # Trees take what is under 1e-7 for constant, of a column, a gain or an outcome's variance.
    if not classes:
        trees = TransformedTargetRegressor(trees, transformer=StandardScaler())
    labels = label_columns(x)
    numbers = [name for name in x.columns if name not in labels]
    columns = [("numbers", StandardScaler(), numbers), ("labels", _label_encoder(seed), labels)]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", trees)])


def _ridge(rows, terms, classes):
    """A ridge or logistic regression whose penalty is chosen by left-out rows."""
    if not classes:
        return RidgeCV(_RIDGES)
    if rows >= _ROWS_PER_FREE_TERM * terms:
        return LogisticRegression(C=10.0, max_iter=500)
    if rows >= _ROWS_PER_TERM * terms or rows < _FEWEST_EVENTS:
        return LogisticRegression(C=1.0, max_iter=500)
    return LogisticRegressionCV(
        Cs=_INVERSE_RIDGES,
        cv=3,
        scoring="neg_log_loss",
        max_iter=500,
        use_legacy_attributes=False,
        l1_ratios=(0,),
    )


def _terms(x):
    labels = label_columns(x)
    return x.shape[1] - len(labels) + sum(len(x[name].cat.categories) for name in labels)


def _linear_columns(x):
    labels = label_columns(x)
    numbers = [name for name in x.columns if name not in labels]
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("labels", OneHotEncoder(handle_unknown="ignore"), labels),
        ]
    )


def _curved(x):
    """Names of columns with enough different values for a spline."""
    labels = label_columns(x)
    return [name for name in x.columns if name not in labels and x[name].nunique() > 6]


def _has_curves(x):
    return bool(_curved(x)) or x.shape[1] > 1


def _spline_columns(x, rows):
    """Splines of the numbers, the other columns as they are, products of two; and the terms."""
    labels = label_columns(x)
    curved = _curved(x)
    plain = [name for name in x.columns if name not in labels]
    knots = 4 if rows < 500 else 6
    parts = [
        (
            "curves",
            Pipeline(
                [
                    (
                        "splines",
                        SplineTransformer(
                            n_knots=knots, degree=3, knots="quantile", extrapolation="linear"
                        ),
                    ),
                    ("scale", StandardScaler()),
                ]
            ),
            curved,
        ),
        ("labels", OneHotEncoder(handle_unknown="ignore"), labels),
    ]
    k = len(plain)
    terms = _terms(x) + len(curved) * (knots + 1)
    if k > 1 and k * (k - 1) / 2 <= min(_MOST_PRODUCTS, rows / 10):
        products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
        terms += k * (k - 1) // 2
    else:
        products = "passthrough"
    steps = [("scale", StandardScaler()), ("products", products), ("rescale", StandardScaler())]
    parts.append(("products", Pipeline(steps), plain))
    return ColumnTransformer(parts), terms


def is_zero_one(values: np.ndarray) -> bool:
    """Whether only 0 and 1 occur."""
    return set(np.unique(values)) <= {0, 1}
