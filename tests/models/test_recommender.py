"""What a method is given, and the error that chooses the epoch, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from causal_lib.models.interactions import Interactions
from causal_lib.models.methods import RECOMMENDERS, Parts
from causal_lib.models.recommender import Recommender, train_recommender


def _pairs(pairs, value=None, shape=(3, 14)):
    users, items = np.array(pairs).T
    value = np.ones(len(pairs)) if value is None else np.array(value, dtype=float)
    return Interactions(users, items, value, pd.RangeIndex(shape[0]), pd.RangeIndex(shape[1]))


@pytest.fixture
def fixed(monkeypatch):
    """Methods replaced by one whose scores are a fixed table and whose loss is 1; what they were
    given is kept.
    """
    kept = {}
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 14)))

    def method(given):
        kept["given"], kept["drawn"] = given, torch.rand(1).item()
        module = torch.nn.Linear(1, 1)
        return Parts(
            module, lambda rows, generator: module.bias.sum() * 0 + 1, lambda users: table[users]
        )

    for name in ("mf", "ips-mf", "bpr", "relevance-mf"):
        monkeypatch.setitem(RECOMMENDERS, name, replace(RECOMMENDERS[name], build=method))
    return kept, table.numpy()


def test_a_method_is_given_the_pairs_and_the_popularity(fixed):
    kept, table = fixed
    train = _pairs([(0, 3), (1, 3), (2, 3), (2, 0), (1, 0), (0, 5)], [5, 3, 1, 2, 4, 4])
    share = np.array([0.5, 0.25, 1, 0.125, 0.5, 0.75])
    how = {"options": {"dim": 7}, "epochs": 2, "progress": False, "seed": 4}
    before = torch.random.get_rng_state()
    found = train_recommender(train, None, "ips-mf", propensity=share, **how)
    assert torch.equal(torch.random.get_rng_state(), before)
    given = kept["given"]
    counts = np.zeros(14)
    counts[[3, 0, 5]] = 3, 2, 1
    assert given.popularity.tolist() == ((counts + 1) / 4).tolist()
    assert given.propensity.tolist() == share.tolist()
    assert (given.users.tolist(), given.items.tolist()) == (
        train.users.tolist(),
        train.items.tolist(),
    )
    assert given.value.tolist() == train.value.tolist()
    assert given.randomised is None
    assert given.options == RECOMMENDERS["ips-mf"].options | {"dim": 7}
    assert kept["drawn"] == torch.rand(1, generator=torch.Generator().manual_seed(4)).item()
    assert found.settings == {"dim": 7, "seed": 4}
    assert (found.method, found.shape, len(found.history)) == ("ips-mf", (3, 14), 2)
    assert found.scores([2, 0]).tolist() == table[[2, 0]].tolist()


def test_of_ratings_the_squared_error_is_weighted_by_the_chance_to_be_seen(fixed):
    _, table = fixed
    train = _pairs([(0, 3), (1, 3)], [5, 3])
    last = _pairs([(0, 1), (1, 4), (2, 9), (2, 2)], [1, 5, 2, 4])
    errors = (last.value - table[last.users, last.items]) ** 2
    how = {"epochs": 1, "progress": False}
    plain = train_recommender(train, last, "mf", **how).history["validation"].item()
    assert plain == pytest.approx(errors.mean(), rel=1e-6)
    share = np.array([0.1, 0.5, 1, 0.25])
    weighted = (
        train_recommender(train, last, "mf", validation_propensity=share, **how)
        .history["validation"]
        .item()
    )
    assert weighted == pytest.approx(
        (10 * errors[0] + 2 * errors[1] + errors[2] + 4 * errors[3]) / 17, rel=1e-6
    )


def test_of_clicks_the_error_is_that_of_the_first_ten_that_are_new(fixed):
    _, table = fixed
    best = np.argsort(-table, axis=1)  # what is seen in training is no place in the list
    train = _pairs([(0, best[0, 0]), (0, best[0, 2]), (1, best[1, 5])])
    last = _pairs(
        [(0, best[0, 1]), (0, best[0, 4]), (0, best[0, 12]), (2, best[2, 9]), (2, best[2, 10])]
    )
    how = {"epochs": 1, "progress": False}
    d = 1 / np.log2(1 + np.arange(1, 11))
    # user 0: ranks 1, 3 and 11 of three; user 2: ranks 10 and 11 of two; user 1 has none
    first = (d[0] + d[2]) / d[:3].sum()
    second = d[9] / d[:2].sum()
    found = train_recommender(train, last, "bpr", **how).history["validation"].item()
    assert found == pytest.approx(1 - (first + second) / 2)
    share = np.array([0.5, 0.25, 0.1, 0.2, 1])
    found = (
        train_recommender(train, last, "bpr", validation_propensity=share, **how)
        .history["validation"]
        .item()
    )
    assert found == pytest.approx(
        1 - (2 * d[0] + 4 * d[2] + 5 * d[9]) / (2 + 4 + 10 + 5 + 1), rel=1e-6
    )


def test_fewer_than_ten_items_are_ranked_whole(monkeypatch):
    train, last = (_pairs(pairs, shape=(2, 3)) for pairs in ([(0, 0), (1, 1)], [(0, 2), (1, 0)]))
    table = torch.tensor([[3.0, 2, 1], [1, 2, 3]])

    def method(given):
        module = torch.nn.Linear(1, 1)
        return Parts(
            module, lambda rows, generator: module.bias.sum() * 0, lambda users: table[users]
        )

    monkeypatch.setitem(RECOMMENDERS, "bpr", replace(RECOMMENDERS["bpr"], build=method))
    found = train_recommender(train, last, "bpr", epochs=1, progress=False)
    assert found.history["validation"].item() == pytest.approx(1 - 1 / np.log2(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"validation": None, "validation_propensity": np.ones(2)},
            "validation_propensity is given without validation",
        ),
        (
            {"validation_propensity": np.ones(3)},
            r"validation_propensity has shape \(3,\); \(2,\) is needed, one a row",
        ),
        ({"validation_propensity": np.array([1, 1.5])}, "validation_propensity: 1 value"),
        (
            {"validation": _pairs([(0, 1), (1, 1)], shape=(4, 14))},
            "validation is of other users or items than train",
        ),
        (
            {"validation": _pairs([(0, 1), (1, 1)], shape=(3, 15))},
            "validation is of other users or items than train",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {
        "train": _pairs([(0, 3), (1, 3)], [5, 3]),
        "validation": _pairs([(0, 1), (1, 4)], [1, 5]),
    } | change
    with pytest.raises(ValueError, match=message):
        train_recommender(given.pop("train"), given.pop("validation"), "mf", epochs=1, **given)


def test_pairs_are_predicted_in_blocks_of_users():
    """4 million scores at once: one user of 2.5 million items, two of 2 million, all three of 1
    million.
    """
    for n_items, most in ((2_500_000, 1), (2_000_000, 2), (1_000_000, 3)):
        asked = []
        row = torch.arange(n_items, dtype=torch.float32)

        def ranked(users, asked=asked, row=row):
            asked.append(len(users))
            return row + 0.25 * users[:, None]

        found = Recommender("made", (9, n_items), ranked, pd.DataFrame())
        predicted = found.predict([7, 2, 7, 5], [3, 11, n_items - 1, 0])
        assert predicted.tolist() == pytest.approx([4.75, 11.5, n_items - 1 + 1.75, 1.25], rel=1e-6)
        assert max(asked) == most
        assert sum(asked) == 3
