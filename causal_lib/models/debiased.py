"""Training losses for recommenders: with and without a correction for how the data were selected.

Users choose what they rate, and click what they are shown. A model that learns from such data as
they are learns the selection too. Each function builds one method: a model, the loss of a batch of
training pairs, and the scores that rank the items. σ is the logistic function, s the score of a
pair, r its rating, w its weight: one over its propensity, divided by the mean of these weights.
Every method has the options ``dim``, the number of factors, and ``l2``, the penalty.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, elu, logsigmoid, softplus

from causal_lib.models.factors import Factors, Negatives
from causal_lib.models.methods import Given, Parts, recommender_method

# ---- ratings -------------------------------------------------------------------------------------


@recommender_method(
    "mf",
    "ratings",
    "mean of (r - s)²",
    "Koren, Bell and Volinsky 2009",
    options={"dim": 32, "l2": 0.02},
)
def matrix_factorisation(given: Given) -> Parts:
    """Squared error of the ratings as they are.

    Right if ratings are missing at random; the reference for the weighted losses.
    """
    model = _rating_factors(given)
    l2 = given.option("l2")

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        error = (given.value[rows] - model(users, items)) ** 2
        return error.mean() + l2 * model.size(users, items)

    return Parts(model, loss, model.all_items)


@recommender_method(
    "ips-mf",
    "ratings",
    "mean of w (r - s)², w of mean 1 over the training rows",
    "Schnabel and others 2016",
    options={"dim": 32, "l2": 0.02, "clip": 0.0},
    needs=("propensity",),
)
def inverse_propensity(given: Given) -> Parts:
    """Squared error weighted by one over the propensity.

    Estimates the error over all pairs without bias where propensities are right; small ones make
    it vary. Propensities below ``clip`` are raised to it.
    """
    return _weighted(given, normalised=False)


@recommender_method(
    "snips-mf",
    "ratings",
    "Σ w (r - s)² / Σ w over each batch",
    "Schnabel and others 2016",
    options={"dim": 32, "l2": 0.02, "clip": 0.0},
    needs=("propensity",),
)
def self_normalised(given: Given) -> Parts:
    """As 'ips-mf', with weights divided by their sum in each batch: less variance, a small bias."""
    return _weighted(given, normalised=True)


def _weighted(given: Given, *, normalised: bool) -> Parts:
    model = _rating_factors(given)
    l2 = given.option("l2")
    weights = _weights(given)

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        w = weights[rows]
        error = w * (given.value[rows] - model(users, items)) ** 2
        whole = w.sum() if normalised else len(rows)
        return error.sum() / whole + l2 * model.size(users, items)

    return Parts(model, loss, model.all_items)


@recommender_method(
    "dr-mf",
    "ratings",
    "mean over all pairs of ê + mean over rows of w (e - ê), e = (r - s)², ê = (r̃ - s)²",
    "Wang and others 2019",
    options={"dim": 32, "l2": 0.02, "clip": 0.0},
    needs=("propensity",),
)
def doubly_robust(given: Given) -> Parts:
    """Imputed errors of all pairs, corrected by the observed errors.

    Right if either the propensities or the imputed errors are. The imputation model's ratings r̃
    are learnt jointly, by the mean of w (e - ê)². Pairs are drawn uniformly, as many as rows.
    """
    model = _rating_factors(given)
    imputation = _rating_factors(given)
    both = nn.ModuleList([model, imputation])
    l2 = given.option("l2")
    weights = _weights(given)

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        w = weights[rows]
        rating = given.value[rows]
        drawn = [torch.randint(n, rows.shape, generator=generator) for n in given.data.shape]
        score = model(users, items)
        imputed = imputation(users, items)
        of_all = ((imputation(*drawn).detach() - model(*drawn)) ** 2).mean()
        correction = w * ((rating - score) ** 2 - (imputed.detach() - score) ** 2)
        error = ((rating - score) ** 2).detach()
        imputed_error = (imputed - score.detach()) ** 2
        of_imputation = (w * (error - imputed_error) ** 2).mean()
        penalty = model.size(users, items) + imputation.size(users, items)
        return of_all + correction.mean() + of_imputation + l2 * penalty

    return Parts(both, loss, model.all_items)


# ---- clicks --------------------------------------------------------------------------------------


@recommender_method(
    "bpr",
    "clicks",
    "mean of -log σ(s_ui - s_uj), i a positive, j an item without one",
    "Rendle and others 2009",
    options={"dim": 32, "l2": 0.01},
)
def pairwise_ranking(given: Given) -> Parts:
    """Bayesian personalised ranking: a positive is to score above a random item without one.

    The reference for the other losses of clicks. It learns what was shown along with taste.
    """
    model = _factors(given)
    draw = Negatives(given.data).draw
    l2 = given.option("l2")

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        others = draw(users, generator)
        gap = model(users, items) - model(users, others)
        penalty = model.size(users, items) + model.size(users, others)
        return -logsigmoid(gap).mean() + l2 * penalty

    return Parts(model, loss, model.all_items)


@recommender_method(
    "relevance-mf",
    "clicks",
    "sum over all pairs of -y/θ log σ(s) - (1 - y/θ) log(1 - σ(s))",
    "Saito and others 2020",
    options={"dim": 32, "l2": 0.01, "power": 0.5, "clip": 0.1, "negatives": 5},
    uses=("propensity",),
)
def relevance(given: Given) -> Parts:
    """Relevance, where only what was seen can be clicked.

    y is 1 at the positives. θ is the chance that the pair was seen: the propensities, else
    popularity to the ``power``; it is raised to ``clip``. Unbiased where θ is right and nothing is
    clipped. The sum over all pairs is taken from ``negatives`` uniform pairs for each positive.
    """
    model = _factors(given)
    l2 = given.option("l2")
    negatives = int(given.option("negatives"))
    seen = given.propensity
    if seen is None:
        seen = given.popularity[given.items] ** given.option("power")
    seen = seen.clamp(min=given.option("clip"))
    shape = given.data.shape
    share = len(given.data) / (shape[0] * shape[1])

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        size = (negatives * len(rows),)
        drawn = [torch.randint(n, size, generator=generator) for n in shape]
        score = model(users, items)
        of_all = softplus(model(*drawn)).mean()  # -log(1 - σ(s))
        corrected = ((softplus(-score) - softplus(score)) / seen[rows]).mean()
        penalty = model.size(users, items) + model.size(*drawn)
        return of_all / share + corrected + l2 * penalty

    return Parts(model, loss, model.all_items)


@recommender_method(
    "pda",
    "clicks",
    "BPR on (elu(s) + 1) popularity^gamma, ranked by elu(s) + 1",
    "Zhang and others 2021 (PD)",
    options={"dim": 32, "l2": 0.01, "gamma": 0.1},
)
def popularity_deconfounding(given: Given) -> Parts:
    """The influence of popularity modelled in training and left out of the ranking.

    Items are ranked as if all were equally popular. Right where popularity multiplies the score
    as the formula says.
    """
    model = _factors(given)
    draw = Negatives(given.data).draw
    l2 = given.option("l2")
    factor = given.popularity ** given.option("gamma")

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        others = draw(users, generator)
        of_items = (elu(model(users, items)) + 1) * factor[items]
        of_others = (elu(model(users, others)) + 1) * factor[others]
        penalty = model.size(users, items) + model.size(users, others)
        return -logsigmoid(of_items - of_others).mean() + l2 * penalty

    return Parts(model, loss, lambda users: elu(model.all_items(users)) + 1)


class _MatchAndBranches(nn.Module):
    """A match s of user and item, and logits a of the user's and b of the item's own influence."""

    def __init__(self, shape, dim):
        super().__init__()
        self.match = Factors(shape, dim, levels=False)
        self.by_user = nn.Linear(dim, 1)
        self.by_item = nn.Linear(dim, 1)

    def branches(self, users, items):
        of_user = self.by_user(self.match.user(users))[:, 0]
        of_item = self.by_item(self.match.item(items))[:, 0]
        return of_user, of_item


@recommender_method(
    "macr",
    "clicks",
    "cross-entropy of σ(s) σ(b_i) σ(a_u), ranked by (s - c) σ(b_i) σ(a_u)",
    "Wei and others 2021",
    options={"dim": 32, "l2": 0.01, "alpha": 1e-3, "beta": 1e-3, "c": 0.0},
)
def counterfactual_reasoning(given: Given) -> Parts:
    """The item's own influence, as a branch of the model, subtracted in the ranking.

    The loss adds the cross-entropies of σ(b_i), times ``alpha``, and of σ(a_u), times ``beta``,
    with one negative for each positive. Choose ``c``, the reference score, by validation.
    """
    model = _MatchAndBranches(given.data.shape, int(given.option("dim")))
    draw = Negatives(given.data).draw
    l2 = given.option("l2")
    alpha = given.option("alpha")
    beta = given.option("beta")
    c = given.option("c")

    def loss(rows, generator):
        users = torch.cat([given.users[rows], given.users[rows]])
        items = torch.cat([given.items[rows], draw(given.users[rows], generator)])
        target = torch.cat([torch.ones(len(rows)), torch.zeros(len(rows))])
        of_user, of_item = model.branches(users, items)
        # log of the product of three sigmoids, and of one minus it
        log = logsigmoid(model.match(users, items)) + logsigmoid(of_item) + logsigmoid(of_user)
        log_rest = torch.log1p(-log.exp().clamp(max=1 - 1e-6))
        product = -(target * log + (1 - target) * log_rest).mean()
        item_branch = alpha * binary_cross_entropy_with_logits(of_item, target)
        user_branch = beta * binary_cross_entropy_with_logits(of_user, target)
        penalty = model.match.size(users, items)
        return product + (item_branch + user_branch) + l2 * penalty

    def ranked(users):
        of_item = model.by_item(model.match.item.weight)[:, 0]
        of_user = model.by_user(model.match.user(users))
        return (model.match.all_items(users) - c) * torch.sigmoid(of_item) * torch.sigmoid(of_user)

    return Parts(model, loss, ranked)


@recommender_method(
    "dice",
    "clicks",
    "BPR of interest + conformity, of conformity, and of interest where popularity opposes it",
    "Zheng and others 2021",
    options={
        "dim": 32,
        "l2": 0.01,
        "interest": 0.1,
        "conformity": 0.1,
        "apart": 0.01,
        "interest_only": 0,
    },
)
def interest_and_conformity(given: Given) -> Parts:
    """Factors of interest and factors of conformity, separated by the items' popularity.

    BPR of their sum for every pair. BPR of conformity for every pair, the more popular item first.
    BPR of interest where the clicked item is the less popular one, since only interest explains
    that click. The squared distance of the two kinds of factors is subtracted. The weights are
    ``interest``, ``conformity`` and ``apart``. Items are ranked by the sum; with ``interest_only``
    1 by interest.
    """
    dim = max(1, int(given.option("dim")) // 2)
    interest, conformity = (Factors(given.data.shape, dim, levels=False) for _ in range(2))
    model = nn.ModuleList([interest, conformity])
    draw = Negatives(given.data).draw
    l2 = given.option("l2")
    interest_weight = given.option("interest")
    conformity_weight = given.option("conformity")
    apart = given.option("apart")
    interest_only = bool(given.option("interest_only"))

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        others = draw(users, generator)
        taste = interest(users, items) - interest(users, others)
        crowd = conformity(users, items) - conformity(users, others)
        less_popular = given.popularity[items] < given.popularity[others]
        click = -logsigmoid(taste + crowd).mean()
        by_taste = -(logsigmoid(taste) * less_popular).mean()
        by_crowd = -logsigmoid(torch.where(less_popular, -crowd, crowd)).mean()
        of_users = (interest.user.weight[users] - conformity.user.weight[users]) ** 2
        of_items = (interest.item.weight[items] - conformity.item.weight[items]) ** 2
        distance = of_users.mean() + of_items.mean()
        penalty = sum(
            part.size(users, items) + part.size(users, others) for part in (interest, conformity)
        )
        ranking = click + interest_weight * by_taste + conformity_weight * by_crowd
        return ranking - apart * distance + l2 * penalty

    def ranked(users):
        score = interest.all_items(users)
        return score if interest_only else score + conformity.all_items(users)

    return Parts(model, loss, ranked)


@recommender_method(
    "cause",
    "clicks",
    "cross-entropy of the log and of the randomised pairs, each with item factors of its own",
    "Bonner and Vasile 2018 (prod-C)",
    options={"dim": 32, "l2": 0.01, "near": 0.1},
    needs=("randomised",),
)
def causal_embeddings(given: Given) -> Parts:
    """Two sets of item factors: for logged pairs and for pairs shown at random.

    The loss is the cross-entropy of the logged positives, one negative each, by the first set, that
    of the randomised pairs by the second, and ``near`` times the mean squared distance of the two.
    Items are ranked by the first set.
    """
    logged = _factors(given)
    draw = Negatives(given.data).draw
    l2 = given.option("l2")
    near = given.option("near")
    random_items = nn.Embedding(given.data.shape[1], logged.user.embedding_dim)
    with torch.no_grad():
        random_items.weight.copy_(logged.item.weight)
    shown_users = torch.from_numpy(given.randomised.users.astype(np.int64))
    shown_items = torch.from_numpy(given.randomised.items.astype(np.int64))
    taken = torch.from_numpy(given.randomised.value).float()

    def loss(rows, generator):
        users = given.users[rows]
        items = given.items[rows]
        others = draw(users, generator)
        of_log = softplus(-logged(users, items)).mean() + softplus(logged(users, others)).mean()
        pick = torch.randint(len(taken), rows.shape, generator=generator)
        user = shown_users[pick]
        item = shown_items[pick]
        level = logged.levels[0](user)[:, 0] + logged.levels[1](item)[:, 0]
        score = (logged.user(user) * random_items(item)).sum(dim=1) + level
        of_random = binary_cross_entropy_with_logits(score, taken[pick])
        distance = ((random_items.weight - logged.item.weight) ** 2).sum(dim=1).mean()
        penalty = logged.size(users, items) + logged.size(users, others)
        return of_log + of_random + near * distance + l2 * penalty

    return Parts(nn.ModuleList([logged, random_items]), loss, logged.all_items)


# ---- shared --------------------------------------------------------------------------------------


def _rating_factors(given):
    mean = float(given.value.mean())
    return Factors(given.data.shape, int(given.option("dim")), mean=mean)


def _factors(given):
    return Factors(given.data.shape, int(given.option("dim")))


def _weights(given):
    """(n,) one over the propensity, raised to ``clip`` where it is below, divided by the mean."""
    w = 1 / given.propensity.clamp(min=given.option("clip"))
    return w / w.mean()
