"""One way to train every recommender that ranks items or predicts ratings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from causal_lib.checks import check_codes, check_number, check_propensity, check_whole
from causal_lib.evaluation.rankings import mean_ranking, top_items
from causal_lib.models import graph_recommender  # noqa: F401  it and debiased fill the registry
from causal_lib.models.interactions import Interactions
from causal_lib.models.methods import (
    ARGUMENTS,
    RECOMMENDERS,
    Given,
    methods_table,
    names_using,
)
from causal_lib.models.training import fit

_K = 10  # of the NDCG that chooses the epoch
_SPREAD = 30  # of ratings; Adam's steps do not reach larger ones, and the penalty drowns smaller
_SCORES = 4_000_000  # scores in memory at once


@dataclass(frozen=True, eq=False, repr=False)
class Recommender:
    """A trained recommender: its scores, and how it was trained.

    Attributes
    ----------
    method, settings : name and arguments.
    shape : users and items.
    ranked : scores of all items (b, items) for user codes (b,), as tensors.
    history : one row for each epoch: epoch, loss, validation (smaller is better). The weights are
        those of the best epoch.
    """

    method: str
    shape: tuple[int, int]
    ranked: Callable[[torch.Tensor], torch.Tensor]
    history: pd.DataFrame
    settings: dict = field(default_factory=dict)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(b, items) scores for user codes (b,): what `top_items` takes.

        Raises ValueError for codes of no user.
        """
        users = check_codes(users, self.shape[0], name="users", of="user")
        with torch.no_grad():
            return self.ranked(torch.as_tensor(users)).numpy()

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) scores of pairs of codes; of a model of ratings, the expected ratings.

        Raises ValueError for codes of no user or item, and for another number of items than users.
        """
        users = check_codes(users, self.shape[0], name="users", of="user")
        items = check_codes(items, self.shape[1], name="items", of="item")
        if users.ndim != 1 or users.shape != items.shape:
            raise ValueError(
                f"users and items have shapes {users.shape} and {items.shape}; one of each a pair "
                "is needed"
            )
        found = np.empty(len(users), dtype=np.float32)
        different, place = np.unique(users, return_inverse=True)
        size = max(1, _SCORES // self.shape[1])
        for start in range(0, len(different), size):
            rows = np.flatnonzero((place >= start) & (place < start + size))
            scores = self.scores(different[start : start + size])
            found[rows] = scores[place[rows] - start, items[rows]]
        return found

    def __repr__(self):
        return (
            f"{self.method} of {self.shape[0]:,} users and {self.shape[1]:,} items, "
            f"epoch {self.epoch} of {len(self.history)}"
        )

    @property
    def epoch(self) -> int:
        """The epoch whose weights these are: the best one; without validation the last one."""
        loss = self.history["validation"]
        return int(self.history["epoch"].iloc[-1 if loss.isna().all() else loss.argmin()])


def train_recommender(
    train: Interactions,
    validation: Interactions | None,
    method: str,
    *,
    propensity: np.ndarray | None = None,
    validation_propensity: np.ndarray | None = None,
    randomised: Interactions | None = None,
    options: Mapping[str, float] | None = None,
    seed: int = 0,
    **training,
) -> Recommender:
    """A recommender trained by one of these methods.

    METHODS_TABLE

    **Bold**: the argument is required. The options stand with their defaults; ``dim`` is the number
    of factors, ``l2`` the penalty.

    Parameters
    ----------
    train, validation : pairs of the same users and items. The weights are those of the epoch with
        the smallest error on ``validation``. The error of ratings is the squared error; that of
        clicks is 1 - NDCG@10 of the full ranking without the pairs of ``train``. None: all
        ``epochs`` are run.
    validation_propensity : (m,) chance of each validation pair to be seen. The error of ratings is
        weighted by one over it; that of clicks is 1 minus the self-normalised pooled gain of
        `evaluate_ranking`.
    propensity : (n,) in (0, 1], chance of each training pair to be seen.
    randomised : pairs shown at random, with value 1 where they were taken, else 0.
    options : of the method.
    seed : of the initial weights, the order of the rows and the negatives.
    training : epochs, batch_size, learning_rate, patience and progress, as of `training.fit`.

    Raises
    ------
    ValueError
        for an unknown method or option, an option that is negative or missing, a size that is no
        whole number, data of other users and items, no rows, ratings that are all equal or have a
        standard deviation outside [1/30, 30], clicks that are not all 1, ``randomised`` other than
        0 and 1, propensities outside (0, 1] or of another number, an argument that the method needs
        and that is missing, and one that it does not use.
    """
    if method not in RECOMMENDERS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(RECOMMENDERS)}")
    entry = RECOMMENDERS[method]
    options = dict(options or {})
    if unknown := sorted(set(options) - set(entry.options)):
        raise ValueError(
            f"unknown option {unknown[0]!r} of method {method!r}; known: "
            f"{', '.join(sorted(entry.options))}"
        )
    for name, default in entry.options.items():
        value = options.get(name, default)
        if isinstance(default, int):
            check_whole(value, name=f"option {name!r} of method {method!r}", low=min(1, default))
        else:
            check_number(value, name=f"option {name!r} of method {method!r}")
    _check_arguments(method, {"propensity": propensity, "randomised": randomised})
    _check_data(train, validation, method, randomised)
    _check_propensities(train, validation, propensity, validation_propensity)
    counts = np.bincount(train.items, minlength=train.shape[1])
    if propensity is not None:
        propensity = torch.as_tensor(np.asarray(propensity, dtype=np.float32))
    given = Given(
        data=train,
        users=torch.from_numpy(train.users.astype(np.int64)),
        items=torch.from_numpy(train.items.astype(np.int64)),
        value=torch.from_numpy(train.value.astype(np.float32)),
        propensity=propensity,
        # one count is added to each, so that an item without a click is not impossible
        popularity=torch.from_numpy((counts + 1) / (counts.max() + 1)).float(),
        randomised=randomised,
        options=options,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = entry.parts(given)
    settings = options | {"seed": seed}
    untrained = Recommender(method, train.shape, parts.ranked, pd.DataFrame(), settings)
    validate = None
    if validation is not None:
        make = _rating_error if entry.learns == "ratings" else _ranking_error
        validate = make(untrained, train, validation, validation_propensity)
    history = fit(parts.module, parts.loss, len(train), validate, seed=seed, **training)
    return Recommender(method, train.shape, parts.ranked, history, settings)


train_recommender.__doc__ = train_recommender.__doc__.replace(
    "METHODS_TABLE", methods_table().replace("\n", "\n    ")
)


def _rating_error(recommender, train, validation, propensity):
    """A function that returns the recommender's weighted squared error on ``validation``."""
    weights = np.ones(len(validation)) if propensity is None else 1 / np.asarray(propensity)

    def error():
        predicted = recommender.predict(validation.users, validation.items)
        return np.average((validation.value - predicted) ** 2, weights=weights)

    return error


def _ranking_error(recommender, train, validation, propensity):
    """A function that returns 1 minus the gain of the recommender's lists on ``validation``."""
    seen = train.matrix()
    truth = validation.matrix()
    users = np.flatnonzero(np.diff(truth.indptr))
    k = min(_K, train.shape[1])
    metric = ("naive", "NDCG")
    share = None
    if propensity is not None:
        metric = ("snips", "pooled gain")
        share = np.ones(train.shape, dtype=np.float32)
        share[validation.users, validation.items] = propensity

    def error():
        top = top_items(recommender.scores, users, k, seen)
        return 1 - mean_ranking(top, truth, users, metric=metric, propensity=share)

    return error


def _check_arguments(method, arguments):
    """Refuse an argument that the method does not use, and the lack of one that it needs."""
    for name, value in arguments.items():
        used_by = names_using(name)
        if value is not None and method not in used_by:
            raise ValueError(
                f"method {method!r} does not use {name}; leave it out. Used by: "
                f"{', '.join(used_by)}"
            )
        if value is None and name in RECOMMENDERS[method].needs:
            raise ValueError(f"method {method!r} needs {name}: {ARGUMENTS[name]}")


def _check_data(train, validation, method, randomised):
    given = {"train": train, "validation": validation, "randomised": randomised}
    for name, data in given.items():
        if not isinstance(data, Interactions) and not (data is None and name != "train"):
            raise TypeError(
                f"{name}: Interactions are needed, not {type(data).__name__}; make them by "
                "Interactions.of"
            )
    for name, data in (("validation", validation), ("randomised", randomised)):
        if data is None:
            continue
        if not (data.user_ids.equals(train.user_ids) and data.item_ids.equals(train.item_ids)):
            raise ValueError(
                f"{name} is of other users or items than train; make it with Interactions.of(..., "
                "user_ids=, item_ids=)"
            )
        if not len(data):
            raise ValueError(f"{name} has no rows; give some, or None")
    if not len(train):
        raise ValueError("train has no rows")
    ratings = RECOMMENDERS[method].learns == "ratings"
    if ratings and np.ptp(train.value) == 0:
        raise ValueError(
            f"train: all {len(train)} ratings are {train.value[0]:g}; nothing can be "
            "learnt from them"
        )
    spread = train.value.std()
    if ratings and not 1 / _SPREAD <= spread <= _SPREAD:
        raise ValueError(
            f"train: the ratings have a standard deviation of {spread:.3g}; method {method!r} "
            f"learns in steps that suit one between {1 / _SPREAD:.2g} and {_SPREAD:g}; divide all "
            "ratings by it, and multiply the predictions"
        )
    for name, data in (("train", train), ("validation", validation)):
        if not ratings and data is not None and (off := int((data.value != 1).sum())):
            raise ValueError(
                f"{name}: {off} values are not 1; method {method!r} takes positives only, see "
                "Interactions.at_least"
            )
    if randomised is not None and (off := int((~np.isin(randomised.value, (0, 1))).sum())):
        raise ValueError(
            f"randomised: {off} values are neither 0 nor 1; give 1 where the pair was taken, else 0"
        )


def _check_propensities(train, validation, propensity, validation_propensity):
    for name, values, data in (
        ("propensity", propensity, train),
        ("validation_propensity", validation_propensity, validation),
    ):
        if values is None:
            continue
        if data is None:
            raise ValueError(f"{name} is given without validation data")
        if np.shape(values) != (len(data),):
            raise ValueError(
                f"{name} has shape {np.shape(values)}; ({len(data)},) is needed, one a row"
            )
        check_propensity(values, name=name)
