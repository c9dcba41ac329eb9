"""Losses by hand, what each method is for on data whose truth is known, and bad input."""

import numpy as np
import pandas as pd
import pytest
import torch

from causal_lib.models.factors import Factors, Negatives
from causal_lib.models.interactions import Interactions
from causal_lib.models.methods import RECOMMENDERS, Given
from causal_lib.models.recommender import train_recommender


def _given(method, seed=0, n_users=6, n_items=5, options=None, **more):
    """A method built on a tiny data set, its parameters random."""
    rng = np.random.default_rng(seed)
    users, items = (rng.random((n_users, n_items)) < 0.4).nonzero()
    value = (
        rng.integers(1, 6, len(users)).astype(float)
        if RECOMMENDERS[method].learns == "ratings"
        else np.ones(len(users))
    )
    data = Interactions(users, items, value, pd.RangeIndex(n_users), pd.RangeIndex(n_items))
    torch.manual_seed(seed)
    given = Given(
        data, torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(value).float(),
        more.get("propensity"), torch.rand(n_items) * 0.9 + 0.1, more.get("randomised"), {"dim": 4, "l2": 0.0} | (options or {}),
    )  # fmt: skip
    parts = RECOMMENDERS[method].parts(given)
    for parameter in parts.module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return given, parts


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


CLIPS = [0.0, 0.05, 0.3]
"""None, one below every propensity of the tests by hand, and one above half of them."""


@pytest.mark.parametrize(
    ("method", "clip"),
    [("mf", None), *((name, clip) for name in ("ips-mf", "snips-mf") for clip in CLIPS)],
)
def test_losses_of_ratings_by_hand(method, clip):
    n = len(_given("mf")[0].value)
    share = torch.tensor([0.1, 0.5, 0.9, 0.2] * 6)[:n]
    given, parts = _given(
        method, propensity=share, options=None if clip is None else {"clip": clip}
    )
    rows = torch.arange(0, n, 2)
    with torch.no_grad():
        score = parts.module(given.users, given.items).numpy()
        found = float(parts.loss(rows, torch.Generator()))
        whole = parts.ranked(torch.arange(6))[given.users, given.items].numpy()
    assert whole == pytest.approx(score, abs=1e-5)
    w = np.ones(n) if method == "mf" else 1 / np.maximum(share.numpy(), clip)
    w = (w / w.mean())[rows]
    error = (given.value.numpy() - score)[rows] ** 2
    assert found == pytest.approx(
        (w * error).sum() / (w.sum() if method == "snips-mf" else len(rows)), rel=1e-5
    )


@pytest.mark.parametrize("clip", CLIPS)
def test_the_doubly_robust_loss_by_hand(clip):
    """The prediction's part over uniform pairs and rows, the imputation's at rows only, and which
    of the two each of them moves.
    """
    n = len(_given("mf")[0].value)
    share = torch.tensor([0.1, 0.5, 0.9, 0.2] * 6)[:n]
    given, parts = _given("dr-mf", propensity=share, options={"clip": clip})
    model, imputed = parts.module
    rows = torch.arange(n)
    same = torch.Generator().manual_seed(3)
    some = [torch.randint(size, rows.shape, generator=same) for size in (6, 5)]
    w = 1 / np.maximum(share.numpy(), clip)
    w = w / w.mean()
    with torch.no_grad():
        score, guess = (part(given.users, given.items).numpy() for part in (model, imputed))
        anywhere = ((imputed(*some) - model(*some)) ** 2).mean().item()
    rating = given.value.numpy()
    error = (rating - score) ** 2
    told = (guess - score) ** 2
    found = parts.loss(rows, torch.Generator().manual_seed(3))
    expected = anywhere + (w * (error - told)).mean() + (w * (error - told) ** 2).mean()
    assert found.item() == pytest.approx(expected, rel=1e-4)
    found.backward()
    with torch.no_grad():
        apart = (model(*some) - imputed(*some)).numpy()
    # The users' levels together shift all scores of a part: their gradient is that of the shift.
    # The prediction is not moved by the imputation's loss, nor the other way round.
    of_model = (2 * apart).mean() + (w * (-2 * (rating - score) + 2 * (guess - score))).mean()
    of_imputed = (w * 2 * (error - told) * -2 * (guess - score)).mean()
    assert model.levels[0].weight.grad.sum().item() == pytest.approx(of_model, rel=1e-3)
    assert imputed.levels[0].weight.grad.sum().item() == pytest.approx(of_imputed, rel=1e-3)


@pytest.mark.parametrize("method", ["bpr", "pda"])
def test_losses_of_pairs_by_hand(method, monkeypatch):
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    given, parts = _given(method, options={"gamma": 0.3} if method == "pda" else None)
    rows = torch.arange(len(given.value))
    with torch.no_grad():
        model = parts.module
        one = model(given.users, given.items).numpy()
        other = model(given.users, (given.users + 1) % 5).numpy()
        found = float(parts.loss(rows, torch.Generator()))
        ranked = parts.ranked(torch.arange(6)).numpy()
        plain = model.all_items(torch.arange(6)).numpy()
    if method == "pda":
        pull = given.popularity.numpy() ** 0.3
        one, other = (
            np.where(s > 0, s + 1, np.exp(s)) * pull[part]
            for s, part in ((one, given.items.numpy()), (other, (given.users.numpy() + 1) % 5))
        )
        assert ranked == pytest.approx(np.where(plain > 0, plain + 1, np.exp(plain)), rel=1e-5)
    assert found == pytest.approx(-np.log(_sigmoid(one - other)).mean(), rel=1e-4)


def test_relevance_is_weighed_by_the_chance_to_be_seen():
    """The loss estimates the sum over all pairs; with uniform pairs in number its mean is that sum,
    by enumeration.
    """
    share = torch.tensor([0.2, 0.5, 0.9, 0.3] * 6)
    given, parts = _given("relevance-mf")
    n = len(given.value)
    given, parts = _given(
        "relevance-mf", propensity=share[:n], options={"negatives": 4000, "clip": 0.25}
    )
    with torch.no_grad():
        found = float(parts.loss(torch.arange(n), torch.Generator().manual_seed(0)))
        score = parts.module.all_items(torch.arange(6)).numpy()
    seen = np.zeros((6, 5))
    seen[given.users, given.items] = 1 / np.maximum(share[:n].numpy(), 0.25)
    all_pairs = -(seen * np.log(_sigmoid(score)) + (1 - seen) * np.log(1 - _sigmoid(score))).sum()
    assert found * n == pytest.approx(all_pairs, rel=0.03)  # 4,000 uniform pairs a positive


def test_macr_subtracts_the_reference_before_it_multiplies(monkeypatch):
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    given, parts = _given("macr", options={"c": 1.5, "alpha": 0.2, "beta": 0.3})
    with torch.no_grad():
        everyone = torch.arange(6)
        model = parts.module
        match = model.match.all_items(everyone).numpy()
        of_item = _sigmoid(model.by_item(model.match.item.weight)[:, 0].numpy())
        of_user = _sigmoid(model.by_user(model.match.user.weight)[:, 0].numpy())
        assert parts.ranked(everyone).numpy() == pytest.approx(
            (match - 1.5) * of_item * of_user[:, None], rel=1e-4
        )
        found = float(parts.loss(torch.arange(len(given.value)), torch.Generator()))
    product = _sigmoid(match) * of_item * of_user[:, None]
    u = given.users.numpy()
    terms = []
    alone = []
    for items, target in ((given.items.numpy(), 1), ((u + 1) % 5, 0)):
        terms += list(np.log(product[u, items] if target else 1 - product[u, items]))
        for weight, p in ((0.2, of_item[items]), (0.3, of_user[u])):
            alone.append(weight * np.log(p if target else 1 - p).sum())
    assert found == pytest.approx(-(np.mean(terms) + sum(alone) / (2 * len(u))), rel=1e-4)


def test_dice_tells_clicks_against_popularity_from_those_with_it(monkeypatch):
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    given, parts = _given("dice", options={"interest": 0.4, "conformity": 0.7, "apart": 0.0})
    interest, conformity = parts.module
    u = given.users.numpy()
    i = given.items.numpy()
    j = (u + 1) % 5
    with torch.no_grad():
        found = float(parts.loss(torch.arange(len(u)), torch.Generator()))
        a, b = (part.all_items(torch.arange(6)).numpy() for part in (interest, conformity))
        assert parts.ranked(torch.arange(6)).numpy() == pytest.approx(a + b, rel=1e-4, abs=1e-5)
    popularity = given.popularity.numpy()
    total = 0.0
    for user, one, other in zip(u, i, j, strict=True):
        taste = a[user, one] - a[user, other]
        crowd = b[user, one] - b[user, other]
        total -= np.log(_sigmoid(taste + crowd))
        if popularity[one] < popularity[other]:
            total -= 0.4 * np.log(_sigmoid(taste)) + 0.7 * np.log(_sigmoid(-crowd))
        else:
            total -= 0.7 * np.log(_sigmoid(crowd))
    assert found == pytest.approx(total / len(u), rel=1e-4)


def test_negatives_are_no_positives_and_uniform():
    users = np.array([0, 0, 0, 1])
    items = np.array([0, 1, 2, 3])
    data = Interactions(users, items, np.ones(4), pd.RangeIndex(2), pd.RangeIndex(6))
    drawn = (
        Negatives(data)
        .draw(torch.tensor([0, 1] * 30_000), torch.Generator().manual_seed(0))
        .numpy()
    )
    first, second = (np.bincount(drawn[k::2], minlength=6) / 30_000 for k in (0, 1))
    assert first[:3].sum() < 0.1  # (1/2)^4 are left after three tries
    assert first[3:] == pytest.approx(first[3:].mean(), abs=0.02)
    assert second[3] < 0.01


def _confounded(seed, n_users=150, n_items=60):
    """Ratings seen by their own value: train, test at random, the truth and the shares."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n_users, 3)) @ rng.normal(size=(3, n_items)) + rng.normal(size=n_items)
    truth = 1 + np.searchsorted(np.quantile(level, [0.5, 0.75, 0.9, 0.97]), level)
    share = np.where(truth >= 4, 0.5, 0.5 * 0.35 ** (4 - truth))
    seen = rng.random(truth.shape) < share
    return truth, share, seen, rng


def test_weighting_by_known_propensities_is_nearer_to_the_truth():
    gains = {"ips-mf": [], "snips-mf": [], "dr-mf": []}
    for seed in range(3):
        truth, share, seen, rng = _confounded(seed)
        users, items = seen.nonzero()
        later = rng.random(len(users)) < 0.2
        ids = pd.RangeIndex(truth.shape[0]), pd.RangeIndex(truth.shape[1])
        parts = [
            Interactions(users[k], items[k], truth[seen][k].astype(float), *ids)
            for k in (~later, later)
        ]
        shares = [share[seen][k] for k in (~later, later)]
        errors = {}
        for method in ("mf", *gains):
            weights = (
                {}
                if method == "mf"
                else {"propensity": shares[0], "validation_propensity": shares[1]}
            )
            found = train_recommender(
                *parts,
                method,
                **weights,
                options={"dim": 4, "l2": 0.05},
                batch_size=512,
                epochs=60,
                seed=seed,
                progress=False,
            )
            errors[method] = ((found.scores(np.arange(150)) - truth) ** 2)[~seen].mean()
            assert found.history["validation"].idxmin() < len(found.history)
        for method, values in gains.items():
            values.append(errors["mf"] - errors[method])
    assert all(min(values) > 0.05 for values in gains.values()), gains


@pytest.mark.parametrize("method", ["bpr", "relevance-mf", "pda", "macr", "dice", "cause"])
def test_every_method_of_clicks_learns_taste(method):
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 50))
    clicked = rng.random(taste.shape) < 0.4 / (1 + np.exp(-2 * taste))
    users, items = clicked.nonzero()
    ids = (pd.RangeIndex(120), pd.RangeIndex(50))
    last = rng.random(len(users)) < 0.2
    parts = [Interactions(users[k], items[k], np.ones(k.sum()), *ids) for k in (~last, last)]
    more = {}
    if method == "cause":
        shown = rng.random(taste.shape) < 0.05
        taken = (rng.random(taste.shape) < 1 / (1 + np.exp(-2 * taste)))[shown].astype(float)
        more["randomised"] = Interactions(*shown.nonzero(), taken, *ids)
    found = train_recommender(
        *parts,
        method,
        options={"dim": 8, "l2": 0.02},
        batch_size=256,
        epochs=50,
        seed=1,
        progress=False,
        **more,
    )
    within = [np.corrcoef(found.scores(np.array([u]))[0], taste[u])[0, 1] for u in range(120)]
    assert np.mean(within) > 0.35
    again = train_recommender(
        *parts,
        method,
        options={"dim": 8, "l2": 0.02},
        batch_size=256,
        epochs=50,
        seed=1,
        progress=False,
        **more,
    )
    assert (again.scores(np.arange(120)) == found.scores(np.arange(120))).all()
    assert found.predict([3, 1, 3], [7, 2, 0]) == pytest.approx(
        found.scores(np.array([3, 1, 3]))[[0, 1, 2], [7, 2, 0]]
    )


def _small(n=12, value=None):
    users = np.arange(n) % 4
    items = np.arange(n) // 4
    value = np.arange(n) % 5 + 1.0 if value is None else np.full(n, value)
    return Interactions(users, items, value, pd.RangeIndex(4), pd.RangeIndex(n // 4))


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("als", {}, "unknown method 'als'; known: mf, ips-mf"),
        ("mf", {"options": {"clip": 0.1}}, "unknown option 'clip' of method 'mf'; known: dim, l2"),
        ("mf", {"train": _small(value=3.0)}, "train: all 12 ratings are 3; nothing can be learnt"),
        (
            "bpr",
            {},
            "train: 9 values are not 1; method 'bpr' takes positives only, see "
            "Interactions.at_least",
        ),
        ("ips-mf", {}, "method 'ips-mf' needs propensity"),
        ("ips-mf", {"propensity": np.zeros(12)}, "propensity: 12 values outside"),
        (
            "ips-mf",
            {"propensity": np.full(3, 0.5)},
            r"propensity has shape \(3,\); \(12,\) is needed",
        ),
        (
            "ips-mf",
            {"propensity": np.full(12, np.nan)},
            "propensity: 12 of 12 are missing or infinite",
        ),
        ("mf", {"validation": _small(8)}, "validation is of other users or items than train"),
        (
            "bpr",
            {"train": _small(value=1.0)},
            "validation: 9 values are not 1; method 'bpr' takes positives only",
        ),
        (
            "cause",
            {"train": _small(value=1.0), "validation": None},
            "method 'cause' needs randomised",
        ),
        (
            "cause",
            {"train": _small(value=1.0), "validation": None, "randomised": _small()},
            "randomised: 9 values are neither 0 nor 1; give 1 where the pair was taken",
        ),
        (
            "mf",
            {"propensity": np.full(12, 0.5)},
            "'mf' does not use propensity; leave it out. Used by: ips-mf, snips-mf, dr-mf, "
            "relevance-mf",
        ),
        ("bpr", {"propensity": np.full(12, 0.5)}, "'bpr' does not use propensity; leave it out"),
        (
            "lightgcn",
            {"propensity": np.full(12, 0.5)},
            "'lightgcn' does not use propensity; leave it out",
        ),
        (
            "dice",
            {"randomised": _small(value=1.0)},
            "'dice' does not use randomised; leave it out. Used by: cause",
        ),
        ("mf", {"learning_rate": 0.0}, "must be positive"),
        ("mf", {"epochs": 1.5}, "epochs: a whole number of at least 1"),
        (
            "mf",
            {"train": _small(value=np.arange(12) * 1e3)},
            "standard deviation of 3.45e.03; method",
        ),
        (
            "mf",
            {"train": _small(value=np.arange(12) * 1e-3)},
            "standard deviation of 0.00345; .* div",
        ),
        ("mf", {"learning_rate": 1e30}, "lower learning_rate"),
    ],
)
def test_bad_input(method, change, message):
    given = {"train": _small(), "validation": _small()} | change
    with pytest.raises(ValueError, match=message):
        train_recommender(
            given.pop("train"), given.pop("validation"), method, **{"epochs": 3, **given}
        )


def test_a_frame_is_no_pairs():
    for given in ((pd.DataFrame(), None), (_small(), pd.DataFrame())):
        with pytest.raises(
            TypeError, match=r"Interactions are needed, not DataFrame; make them by"
        ):
            train_recommender(*given, "mf")
    with pytest.raises(TypeError, match="train: Interactions are needed, not NoneType"):
        train_recommender(None, None, "mf")


def test_data_without_rows_are_refused():
    none = Interactions(
        *np.empty((2, 0), dtype=int), np.empty(0), pd.RangeIndex(4), pd.RangeIndex(3)
    )
    with pytest.raises(ValueError, match="validation has no rows"):
        train_recommender(_small(), none, "mf")
    with pytest.raises(ValueError, match="train has no rows"):
        train_recommender(none, _small(), "mf")


@pytest.mark.parametrize("method", ["mf", "bpr", "gcn"])
def test_validation_may_be_weighted_for_every_method(method):
    data = _small(value=None if method == "mf" else 1.0)
    found = train_recommender(
        data, data, method, validation_propensity=np.full(12, 0.5), epochs=1, progress=False
    )
    assert np.isfinite(found.history["validation"]).all()


@pytest.mark.parametrize("method", ["mf", "lightgcn"])
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda one: one.scores([0, 4]),
            "users: 1 codes are of no user; there are 4, coded from 0; first 4",
        ),
        (
            lambda one: one.scores([-1]),
            "users: 1 codes are of no user; there are 4, coded from 0; first -1",
        ),
        (lambda one: one.scores([0.5]), "users: codes are whole numbers, not float64"),
        (lambda one: one.predict([0, 9], [0, 0]), "users: 1 codes are of no user; there are 4"),
        (
            lambda one: one.predict([0, 1], [-1, 3]),
            "items: 2 codes are of no item; there are 3, coded from 0; first -1",
        ),
        (
            lambda one: one.predict([0, 1], [0]),
            r"users and items have shapes \(2,\) and \(1,\); one of each a pair",
        ),
        (lambda one: one.predict([0], [0, 1]), r"users and items have shapes \(1,\) and \(2,\)"),
    ],
)
def test_codes_that_training_has_not_are_refused(method, ask, message):
    found = train_recommender(
        _small(value=None if method == "mf" else 1.0), None, method, epochs=1, progress=False
    )
    assert found.predict([], []).shape == (0,)
    with pytest.raises(ValueError, match=message):
        ask(found)


def test_factors_score_pairs_as_they_rank_items():
    torch.manual_seed(0)
    model = Factors((5, 7), 3, mean=2.0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    users = torch.tensor([0, 4, 2])
    items = torch.tensor([6, 0, 3])
    assert torch.allclose(model(users, items), model.all_items(users)[torch.arange(3), items])


# ---- options -------------------------------------------------------------------------------------

OPTIONS = {
    "mf": {"l2": 0.02},
    "ips-mf": {"l2": 0.02, "clip": 0.0},
    "snips-mf": {"l2": 0.02, "clip": 0.0},
    "dr-mf": {"l2": 0.02, "clip": 0.0},
    "bpr": {"l2": 0.01},
    "relevance-mf": {"l2": 0.01, "power": 0.5, "clip": 0.1, "negatives": 5},
    "pda": {"l2": 0.01, "gamma": 0.1},
    "macr": {"l2": 0.01, "alpha": 1e-3, "beta": 1e-3, "c": 0.0},
    "dice": {"l2": 0.01, "interest": 0.1, "conformity": 0.1, "apart": 0.01, "interest_only": 0},
    "cause": {"l2": 0.01, "near": 0.1},
}
"""Of each method as its docstring says; ``dim`` is 32."""


def _outcome(method, options):
    """Loss and scores with ``options`` alone: popularity and propensities from far below every clip
    to 1.
    """
    rng = np.random.default_rng(0)
    users, items = (rng.random((6, 5)) < 0.4).nonzero()
    ids = (pd.RangeIndex(6), pd.RangeIndex(5))
    n = len(users)
    value = (
        rng.integers(1, 6, n).astype(float)
        if RECOMMENDERS[method].learns == "ratings"
        else np.ones(n)
    )
    shown = Interactions(
        np.array([0, 3, 5, 2]), np.array([1, 1, 4, 0]), np.array([1.0, 0, 0, 1]), *ids
    )
    share = torch.linspace(0.01, 1, n) if method.endswith(("ips-mf", "dr-mf")) else None
    torch.manual_seed(0)
    given = Given(
        Interactions(users, items, value, *ids), torch.from_numpy(users), torch.from_numpy(items),
        torch.from_numpy(value).float(), share, torch.tensor([0.001, 0.2, 1, 0.01, 0.5]),
        shown if method == "cause" else None, options,
    )  # fmt: skip
    parts = RECOMMENDERS[method].parts(given)
    for parameter in parts.module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    with torch.no_grad():
        loss = parts.loss(torch.arange(n), torch.Generator().manual_seed(1)).item()
        return loss, parts.ranked(torch.arange(6)).numpy(), given


@pytest.mark.parametrize("method", OPTIONS)
def test_the_defaults_are_those_of_the_docstring_and_every_option_counts(method):
    loss, scores, _ = _outcome(method, {})
    said = OPTIONS[method] | {"dim": 32}
    same, same_scores, _ = _outcome(method, said)
    assert RECOMMENDERS[method].options == said
    assert loss == same
    assert (scores == same_scores).all()
    for name, value in said.items():
        other, other_scores, _ = _outcome(method, {name: 2 * value or 0.5})
        assert other != loss or (other_scores != scores).any(), name


@pytest.mark.parametrize("method", OPTIONS)
def test_the_penalty_is_the_squared_length_of_what_the_pairs_use(method, monkeypatch):
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    more = {"propensity": torch.linspace(0.1, 1, 30)[: len(_given("mf")[0].value)]}
    if method == "cause":
        shown = Interactions(
            np.arange(3), np.arange(3), np.array([1.0, 0, 1]), pd.RangeIndex(6), pd.RangeIndex(5)
        )
        more["randomised"] = shown
    losses = []
    for l2 in (0.0, 0.25):
        given, parts = _given(method, options={"l2": l2}, **more)
        rows = torch.arange(0, len(given.value), 2)
        with torch.no_grad():
            losses.append(parts.loss(rows, torch.Generator().manual_seed(2)).item())

    def lengths(model, users, items):
        found = (model.user.weight[users] ** 2).sum(dim=1) + (model.item.weight[items] ** 2).sum(
            dim=1
        )
        if model.levels is not None:
            found = (
                found
                + model.levels[0].weight[users, 0] ** 2
                + model.levels[1].weight[items, 0] ** 2
            )
        return found.mean().item()

    u = given.users[rows]
    i = given.items[rows]
    module = parts.module
    others = (u + 1) % 5
    generator = torch.Generator().manual_seed(2)
    some = [torch.randint(size, (5 * len(rows),), generator=generator) for size in (6, 5)]
    expected = {
        "mf": lambda: lengths(module, u, i),
        "ips-mf": lambda: lengths(module, u, i),
        "snips-mf": lambda: lengths(module, u, i),
        "dr-mf": lambda: lengths(module[0], u, i) + lengths(module[1], u, i),
        "bpr": lambda: lengths(module, u, i) + lengths(module, u, others),
        "pda": lambda: lengths(module, u, i) + lengths(module, u, others),
        "relevance-mf": lambda: lengths(module, u, i) + lengths(module, *some),
        "macr": lambda: (lengths(module.match, u, i) + lengths(module.match, u, others)) / 2,
        "dice": lambda: sum(lengths(part, u, i) + lengths(part, u, others) for part in module),
        "cause": lambda: lengths(module[0], u, i) + lengths(module[0], u, others),
    }[method]()
    assert losses[1] - losses[0] == pytest.approx(0.25 * expected, rel=1e-4)


def test_relevance_without_propensities_goes_by_popularity():
    given, parts = _given("relevance-mf", options={"power": 0.7, "clip": 0.4, "negatives": 3})
    n = len(given.value)
    same = torch.Generator().manual_seed(5)
    rows = torch.arange(1, n)
    some = [torch.randint(size, (3 * len(rows),), generator=same) for size in (6, 5)]
    with torch.no_grad():
        found = parts.loss(rows, torch.Generator().manual_seed(5)).item()
        score = parts.module.all_items(torch.arange(6)).numpy()
    seen = np.maximum(given.popularity.numpy() ** 0.7, 0.4)[given.items.numpy()]
    assert seen.min() < 0.41 < seen.max()
    at = score[given.users.numpy(), given.items.numpy()]
    everywhere = -np.log(1 - _sigmoid(score[some[0].numpy(), some[1].numpy()])).mean() * 30 / n
    corrected = ((-np.log(_sigmoid(at)) + np.log(1 - _sigmoid(at))) / seen)[1:].mean()
    assert found == pytest.approx(everywhere + corrected, rel=1e-4)


def test_dice_keeps_the_two_kinds_of_factors_apart(monkeypatch):
    """Less the mean squared distance over the clicked pairs and factors, of users and of items."""
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    losses = []
    for apart in (0.0, 2.0):
        given, parts = _given("dice", options={"apart": apart})
        with torch.no_grad():
            losses.append(parts.loss(torch.arange(len(given.value)), torch.Generator()).item())
    interest, conformity = parts.module
    u = given.users.numpy()
    i = given.items.numpy()
    of_users, of_items = (
        (one.weight - other.weight).detach().numpy()[rows] ** 2
        for one, other, rows in (
            (interest.user, conformity.user, u),
            (interest.item, conformity.item, i),
        )
    )
    assert losses[1] - losses[0] == pytest.approx(
        -2 * (of_users.mean() + of_items.mean()), rel=1e-4
    )
    assert interest.user.weight.shape == (6, 2)  # half of ``dim`` each
    _, alone = _given("dice", options={"interest_only": 1})
    with torch.no_grad():
        found = alone.ranked(torch.arange(6))
        expected = alone.module[0].all_items(torch.arange(6))
    assert torch.equal(found, expected)


def test_the_loss_of_cause_by_hand(monkeypatch):
    monkeypatch.setattr(Negatives, "draw", lambda self, users, generator: (users + 1) % 5)
    value = np.array([1.0, 0, 0, 1])
    shown = Interactions(
        np.array([0, 3, 5, 2]), np.array([1, 1, 4, 0]), value, pd.RangeIndex(6), pd.RangeIndex(5)
    )
    given, parts = _given("cause", options={"near": 0.4}, randomised=shown)
    logged, random = parts.module
    rows = torch.arange(len(given.value))
    pick = torch.randint(4, rows.shape, generator=torch.Generator().manual_seed(8)).numpy()
    with torch.no_grad():
        found = parts.loss(rows, torch.Generator().manual_seed(8)).item()
        score = logged.all_items(torch.arange(6)).numpy()
        assert torch.equal(parts.ranked(torch.arange(6)), logged.all_items(torch.arange(6)))
    u, own, other = (part.weight.detach().numpy() for part in (logged.user, logged.item, random))
    level = [part.weight.detach().numpy()[:, 0] for part in logged.levels]
    at_random = u @ other.T + level[0][:, None] + level[1]
    users = given.users.numpy()
    items = given.items.numpy()
    fitted = (
        -np.log(_sigmoid(score[users, items])).mean()
        - np.log(1 - _sigmoid(score[users, (users + 1) % 5])).mean()
    )
    p = _sigmoid(at_random[shown.users, shown.items])
    taken = -(value * np.log(p) + (1 - value) * np.log(1 - p))[pick].mean()
    assert found == pytest.approx(
        fitted + taken + 0.4 * ((other - own) ** 2).sum(axis=1).mean(), rel=1e-4
    )


def test_both_kinds_of_items_start_alike_in_cause():
    shown = Interactions(
        np.arange(3), np.arange(3), np.array([1.0, 0, 1]), pd.RangeIndex(6), pd.RangeIndex(5)
    )
    data = Interactions(np.arange(3), np.arange(3), np.ones(3), pd.RangeIndex(6), pd.RangeIndex(5))
    codes = torch.arange(3)
    parts = RECOMMENDERS["cause"].parts(
        Given(data, codes, codes, torch.ones(3), None, torch.ones(5), shown, {})
    )
    logged, random = parts.module
    assert torch.equal(logged.item.weight, random.weight)
