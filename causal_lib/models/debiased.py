"""Losses of recommenders that allow for why they saw what they saw, beside those that do not.

Ratings come from what users chose to rate, clicks from what was shown and popular: a model that learns from them as they are
learns the choice and the showing too. Every method here is a loss of a batch and the scores that it ranks by; see
`recommender.train_recommender`.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, elu, logsigmoid, softplus

from causal_lib.models.factors import Factors, Given, Negatives, Parts

# ---- ratings ---------------------------------------------------------------------------------------------------


def _mf(given: Given) -> Parts:
    """Squared error of the rows as they are: mean of (r - s)². Source: Koren, Bell and Volinsky 2009."""
    model, l2 = _of_ratings(given), given.option("l2", 0.02)

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        return ((given.value[rows] - model(users, items)) ** 2).mean() + l2 * model.size(users, items)

    return Parts(model, loss, model.all_items)


def _ips(given: Given, *, normalised: bool = False) -> Parts:
    """Squared error weighted by one over the propensity: mean of w (r - s)², w of mean 1 over the training rows.

    ``normalised``: the weights have mean 1 in each batch (self-normalised). Source: Schnabel and others 2016.
    """
    model, l2, w = _of_ratings(given), given.option("l2", 0.02), _weights(given)

    def loss(rows, generator):
        users, items, own = given.users[rows], given.items[rows], w[rows]
        error = own * (given.value[rows] - model(users, items)) ** 2
        whole = own.sum() if normalised else len(rows)
        return error.sum() / whole + l2 * model.size(users, items)

    return Parts(model, loss, model.all_items)


def _doubly_robust(given: Given) -> Parts:
    """Imputed errors for all pairs, corrected by the observed ones: mean over pairs of ê, plus mean over rows of w (e - ê).

    e = (r - s)²; ê = (r̃ - s)² with r̃ the imputation model's rating, learnt jointly by the mean of w (e - ê)². Pairs are drawn
    uniformly, as many as rows. Right if either the propensities or the imputed errors are. Source: Wang and others 2019.
    """
    model, imputed = _of_ratings(given), _of_ratings(given)
    l2, w, shape = given.option("l2", 0.02), _weights(given), given.data.shape
    both = nn.ModuleList([model, imputed])

    def loss(rows, generator):
        users, items, own, rating = given.users[rows], given.items[rows], w[rows], given.value[rows]
        some = [torch.randint(n, rows.shape, generator=generator) for n in shape]
        score, guess = model(users, items), imputed(users, items)
        anywhere = ((imputed(*some).detach() - model(*some)) ** 2).mean()
        at_rows = own * ((rating - score) ** 2 - (guess.detach() - score) ** 2)
        error, told = ((rating - score) ** 2).detach(), (guess - score.detach()) ** 2
        penalty = model.size(users, items) + imputed.size(users, items)
        return anywhere + at_rows.mean() + (own * (error - told) ** 2).mean() + l2 * penalty

    return Parts(both, loss, model.all_items)


# ---- implicit feedback -----------------------------------------------------------------------------------------


def _bpr(given: Given) -> Parts:
    """Pairs of a positive i and an item j without one: mean of -log σ(s_ui - s_uj). Source: Rendle and others 2009."""
    model, draw, l2 = _plain(given), Negatives(given.data).draw, given.option("l2", 0.01)

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        others = draw(users, generator)
        gap = model(users, items) - model(users, others)
        return -logsigmoid(gap).mean() + l2 * (model.size(users, items) + model.size(users, others))

    return Parts(model, loss, model.all_items)


def _relevance(given: Given) -> Parts:
    """Relevance when only what was seen can be clicked: over all pairs, y/θ · -log σ(s) + (1 - y/θ) · -log(1 - σ(s)).

    y 1 at the positives, θ the chance that the pair was seen: the propensities given, else popularity to the power of
    ``power`` (.5), not below ``clip`` (.1). The sum over all pairs is taken from ``negatives`` uniform pairs a positive.
    Source: Saito and others 2020.
    """
    model, l2 = _plain(given), given.option("l2", 0.01)
    seen = given.propensity
    if seen is None:
        seen = given.popularity[given.items] ** given.option("power", 0.5)
    seen = seen.clamp(min=given.option("clip", 0.1))
    shape, share = given.data.shape, len(given.data) / (given.data.shape[0] * given.data.shape[1])
    negatives = int(given.option("negatives", 5))

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        some = [torch.randint(n, (negatives * len(rows),), generator=generator) for n in shape]
        score = model(users, items)
        everywhere = softplus(model(*some)).mean()  # -log(1 - σ(s))
        corrected = ((softplus(-score) - softplus(score)) / seen[rows]).mean()
        return everywhere / share + corrected + l2 * (model.size(users, items) + model.size(*some))

    return Parts(model, loss, model.all_items)


def _pda(given: Given) -> Parts:
    """Popularity's pull put aside: BPR on (elu(s) + 1) · popularity^γ, ranked by elu(s) + 1, as if all were equally popular.

    Options: ``gamma`` (.1). Source: Zhang and others 2021 (there PD; with a popularity to come multiplied in, PDA).
    """
    model, draw = _plain(given), Negatives(given.data).draw
    l2, pull = given.option("l2", 0.01), given.popularity ** given.option("gamma", 0.1)

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        others = draw(users, generator)
        one, other = ((elu(model(users, part)) + 1) * pull[part] for part in (items, others))
        return -logsigmoid(one - other).mean() + l2 * (model.size(users, items) + model.size(users, others))

    return Parts(model, loss, lambda users: elu(model.all_items(users)) + 1)


class _Branches(nn.Module):
    """A match of user and item beside what each of them does by itself."""

    def __init__(self, shape, dim):
        super().__init__()
        self.match = Factors(shape, dim, levels=False)
        self.by_user, self.by_item = nn.Linear(dim, 1), nn.Linear(dim, 1)

    def alone(self, users, items):
        return self.by_user(self.match.user(users))[:, 0], self.by_item(self.match.item(items))[:, 0]


def _macr(given: Given) -> Parts:
    """What an item gets by being itself subtracted: clicks by σ(s) σ(b_i) σ(a_u), ranked by (s - c) σ(b_i) σ(a_u).

    Cross-entropies of the product, of σ(b_i) (times ``alpha``, .001) and of σ(a_u) (times ``beta``, .001), one negative a positive.
    ``c`` (0), the reference score, is to be chosen by validation. Source: Wei and others 2021.
    """
    model, draw, l2 = (
        _Branches(given.data.shape, int(given.option("dim", 32))),
        Negatives(given.data).draw,
        given.option("l2", 0.01),
    )
    alpha, beta, c = (given.option(name, default) for name, default in (("alpha", 1e-3), ("beta", 1e-3), ("c", 0.0)))

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        both, own = torch.cat([users, users]), torch.cat([items, draw(users, generator)])
        target = torch.cat([torch.ones(len(rows)), torch.zeros(len(rows))])
        of_user, of_item = model.alone(both, own)
        # log of the product of three sigmoids, and of one less it
        log = logsigmoid(model.match(both, own)) + logsigmoid(of_item) + logsigmoid(of_user)
        product = -(target * log + (1 - target) * torch.log1p(-log.exp().clamp(max=1 - 1e-6))).mean()
        alone = alpha * binary_cross_entropy_with_logits(of_item, target) + beta * binary_cross_entropy_with_logits(
            of_user, target
        )
        return product + alone + l2 * model.match.size(both, own)

    def ranked(users):
        of_item = model.by_item(model.match.item.weight)[:, 0]
        of_user = model.by_user(model.match.user(users))
        return (model.match.all_items(users) - c) * torch.sigmoid(of_item) * torch.sigmoid(of_user)

    return Parts(model, loss, ranked)


def _dice(given: Given) -> Parts:
    """Two kinds of factors, interest and conformity, told apart by which clicks popularity explains.

    BPR of their sum for every pair; of conformity, the more popular item first, for every pair; of interest where the clicked
    item is the less popular one, since only interest explains it; less the squared distance of the two kinds. Weights
    ``interest`` (.1), ``conformity`` (.1), ``apart`` (.01); ranked by the sum, ``interest_only`` (0) by interest.
    Source: Zheng and others 2021.
    """
    dim, l2 = max(1, int(given.option("dim", 32)) // 2), given.option("l2", 0.01)
    interest, conformity = (Factors(given.data.shape, dim, levels=False) for _ in range(2))
    model, draw, popularity = nn.ModuleList([interest, conformity]), Negatives(given.data).draw, given.popularity
    weights = [
        given.option(name, default) for name, default in (("interest", 0.1), ("conformity", 0.1), ("apart", 0.01))
    ]

    alone = bool(given.option("interest_only", 0))

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        others = draw(users, generator)
        taste, crowd = (part(users, items) - part(users, others) for part in (interest, conformity))
        despite = popularity[items] < popularity[others]
        click = -logsigmoid(taste + crowd).mean()
        by_taste = -(logsigmoid(taste) * despite).mean()
        by_crowd = -logsigmoid(torch.where(despite, -crowd, crowd)).mean()
        distance = sum(
            ((one.weight[part] - other.weight[part]) ** 2).mean()
            for one, other, part in ((interest.user, conformity.user, users), (interest.item, conformity.item, items))
        )
        penalty = sum(part.size(users, items) + part.size(users, others) for part in (interest, conformity))
        return click + weights[0] * by_taste + weights[1] * by_crowd - weights[2] * distance + l2 * penalty

    def ranked(users):
        score = interest.all_items(users)
        return score if alone else score + conformity.all_items(users)

    return Parts(model, loss, ranked)


def _cause(given: Given) -> Parts:
    """Items' factors for what the recommender showed and for what was shown at random, kept near each other.

    Cross-entropy of the logged positives (one negative each) by the first, of the ``randomised`` pairs (value 1 or 0) by the
    second, plus ``near`` (.1) times the mean squared distance of the two; ranked by the first. Source: Bonner and Vasile 2018 (prod-C).
    """
    if given.randomised is None:
        raise ValueError(
            "method 'cause' needs randomised: pairs shown at random, with value 1 where they were taken, else 0"
        )
    logged, draw, l2 = _plain(given), Negatives(given.data).draw, given.option("l2", 0.01)
    random, near = nn.Embedding(given.data.shape[1], logged.user.embedding_dim), given.option("near", 0.1)
    with torch.no_grad():
        random.weight.copy_(logged.item.weight)
    users_r, items_r = (
        torch.from_numpy(part.astype(np.int64)) for part in (given.randomised.users, given.randomised.items)
    )
    value_r = torch.from_numpy(given.randomised.value).float()

    def loss(rows, generator):
        users, items = given.users[rows], given.items[rows]
        others = draw(users, generator)
        fitted = softplus(-logged(users, items)).mean() + softplus(logged(users, others)).mean()
        pick = torch.randint(len(value_r), rows.shape, generator=generator)
        level = logged.levels[0](users_r[pick])[:, 0] + logged.levels[1](items_r[pick])[:, 0]
        score = (logged.user(users_r[pick]) * random(items_r[pick])).sum(dim=1) + level
        at_random = binary_cross_entropy_with_logits(score, value_r[pick])
        distance = ((random.weight - logged.item.weight) ** 2).sum(dim=1).mean()
        return fitted + at_random + near * distance + l2 * (logged.size(users, items) + logged.size(users, others))

    return Parts(nn.ModuleList([logged, random]), loss, logged.all_items)


RATINGS: dict[str, Callable[[Given], Parts]] = {
    "mf": _mf,
    "ips-mf": _ips,
    "snips-mf": lambda given: _ips(given, normalised=True),
    "dr-mf": _doubly_robust,
}
"""Methods that learn ratings."""
CLICKS: dict[str, Callable[[Given], Parts]] = {
    "bpr": _bpr,
    "relevance-mf": _relevance,
    "pda": _pda,
    "macr": _macr,
    "dice": _dice,
    "cause": _cause,
}
"""Methods that learn which items to rank first, from pairs that are all positive."""


def _of_ratings(given):
    return Factors(given.data.shape, int(given.option("dim", 32)), mean=float(given.value.mean()))


def _plain(given):
    return Factors(given.data.shape, int(given.option("dim", 32)))


def _weights(given):
    """(n,) one over the propensity, raised to ``clip`` where it is below, divided by the mean."""
    w = 1 / given.propensity.clamp(min=given.option("clip", 0.0))
    return w / w.mean()
