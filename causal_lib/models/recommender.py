"""One way to train every recommender that ranks items or predicts ratings."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy import sparse

from causal_lib.checks import check_propensity
from causal_lib.evaluation.rankings import mean_ranking, top_items
from causal_lib.models.debiased import CLICKS, RATINGS
from causal_lib.models.factors import Given, Parts, Recommender, fit
from causal_lib.models.graph_recommender import GRAPHS
from causal_lib.models.interactions import Interactions

METHODS: dict[str, Callable[[Given], Parts]] = RATINGS | CLICKS | GRAPHS
_K = 10  # of the NDCG that validation looks at
_WEIGHTED = ("ips-mf", "snips-mf", "dr-mf")  # cannot do without propensities
_USED_BY = {"propensity": (*_WEIGHTED, "relevance-mf"), "randomised": ("cause",), "tags": tuple(GRAPHS)}


def train_recommender(
    train: Interactions,
    validation: Interactions | None,
    method: str,
    *,
    propensity: np.ndarray | None = None,
    validation_propensity: np.ndarray | None = None,
    randomised: Interactions | None = None,
    tags=None,
    options: Mapping[str, float] | None = None,
    seed: int = 0,
    **training,
) -> Recommender:
    """A recommender by one of `METHODS`: of `debiased.RATINGS`, `debiased.CLICKS` or `graph_recommender.GRAPHS`.

    Parameters
    ----------
    train, validation : of the same users and items. The best epoch is the one of least error on ``validation``: of ratings the
        squared error; of clicks 1 - NDCG@10 of the full ranking, what was trained on left out. None: all ``epochs`` are run.
    validation_propensity : (m,) chance of each validation pair to be seen: the error is weighted by one over it; of clicks it is 1
        less the self-normalised pooled gain of `ranking.evaluate_ranking`.
    propensity : (n,) in (0, 1] chance of each training pair to be seen; the methods 'ips-mf', 'snips-mf', 'dr-mf' need it, and
        'relevance-mf' can use it.
    randomised : for 'cause': pairs shown at random, with value 1 where they were taken, else 0.
    tags : (items, tags) array or sparse matrix, nonzero where an item has a tag (category, genre); for the methods on the graph.
    options : of the method (see its docstring); ``dim`` (32) factors and ``l2``, the penalty, of every one.
    training : epochs, batch_size, learning_rate, patience and progress, as of `factors.fit`.

    Raises
    ------
    ValueError
        for an unknown method or option, data of other users and items, no rows, ratings that are all equal, clicks that are
        not all 1, ``randomised`` other than 0 and 1, propensities outside (0, 1] or of another number, tags of other items, what
        a method needs and has not got, and what it is given and does not use.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    options = dict(options or {})
    for name, one in (("propensity", propensity), ("randomised", randomised), ("tags", tags)):
        if one is not None and method not in _USED_BY[name]:
            raise ValueError(
                f"method {method!r} does not use {name}; leave it out. Used by: {', '.join(_USED_BY[name])}"
            )
    _check(train, validation, method, propensity, validation_propensity, randomised)
    if tags is not None:
        tags = _tags(tags, train)
    counts = np.bincount(train.items, minlength=train.shape[1])
    given = Given(
        train,
        torch.from_numpy(train.users.astype(np.int64)),
        torch.from_numpy(train.items.astype(np.int64)),
        torch.from_numpy(train.value.astype(np.float32)),
        None if propensity is None else torch.as_tensor(np.asarray(propensity, dtype=np.float32)),
        torch.from_numpy((counts + 1) / (counts.max() + 1)).float(),  # an item never clicked is not impossible
        randomised,
        options,
        tags,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = METHODS[method](given)
    if unknown := sorted(set(options) - given.asked):
        raise ValueError(f"unknown option {unknown[0]!r} of method {method!r}; known: {', '.join(sorted(given.asked))}")
    recommender = Recommender(method, train.shape, parts.ranked, None, options | {"seed": seed})
    validate = None
    if validation is None:
        pass
    elif method in RATINGS:
        w = np.ones(len(validation)) if validation_propensity is None else 1 / np.asarray(validation_propensity)

        def validate():
            error = (validation.value - recommender.predict(validation.users, validation.items)) ** 2
            return np.average(error, weights=w)
    else:
        seen, truth = train.matrix(), validation.matrix()
        users = np.flatnonzero(np.diff(truth.indptr))
        share, column = None, ("naive", "NDCG")
        if validation_propensity is not None:
            share, column = np.ones(train.shape, dtype=np.float32), ("snips", "pooled gain")
            share[validation.users, validation.items] = validation_propensity

        def validate():
            top = top_items(recommender.scores, users, min(_K, train.shape[1]), seen)
            return 1 - mean_ranking(top, truth, users, metric=column, propensity=share)

    history = fit(parts.module, parts.loss, len(train), validate, seed=seed, **training)
    return Recommender(method, train.shape, parts.ranked, history, options | {"seed": seed})


def _tags(tags, train):
    tags = sparse.coo_array(tags)
    tags.eliminate_zeros()
    if tags.shape[0] != train.shape[1]:
        raise ValueError(f"tags has shape {tags.shape}; one row for each of the {train.shape[1]} items is needed")
    return tags


def _check(train, validation, method, propensity, validation_propensity, randomised):
    for name, one in (("validation", validation), ("randomised", randomised)):
        if one is None:
            continue
        if not (one.user_ids.equals(train.user_ids) and one.item_ids.equals(train.item_ids)):
            raise ValueError(
                f"{name} is of other users or items than train; make it with Interactions.of(..., user_ids=, item_ids=)"
            )
        if not len(one):
            raise ValueError(f"{name} has no rows; give some, or None")
    if not len(train):
        raise ValueError("train has no rows")
    if method in RATINGS and np.ptp(train.value) == 0:
        raise ValueError(f"train: all {len(train)} ratings are {train.value[0]:g}; nothing can be learnt from them")
    for name, one in (("train", train), ("validation", validation)):
        if method not in RATINGS and one is not None and (off := int((one.value != 1).sum())):
            raise ValueError(
                f"{name}: {off} values are not 1; method {method!r} takes positives only, see Interactions.at_least"
            )
    if randomised is not None and (off := int((~np.isin(randomised.value, (0, 1))).sum())):
        raise ValueError(f"randomised: {off} values are neither 0 nor 1; give 1 where the pair was taken, else 0")
    if method in _WEIGHTED and propensity is None:
        raise ValueError(f"method {method!r} needs propensity, the chance of each training pair to be seen")
    for name, values, rows in (
        ("propensity", propensity, train),
        ("validation_propensity", validation_propensity, validation),
    ):
        if values is None:
            continue
        if rows is None:
            raise ValueError(f"{name} is given without {name.partition('_')[0]} data")
        if np.shape(values) != (len(rows),):
            raise ValueError(f"{name} has shape {np.shape(values)}; ({len(rows)},) is needed, one a row")
        check_propensity(values, name=name)
