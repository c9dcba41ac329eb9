"""Full-ranking metrics against a plain computation, user by user, and their propensity-weighted
versions against the truth.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import (
    label_ranking_average_precision_score,
    ndcg_score,
    precision_score,
    recall_score,
)

from causal_lib.evaluation.rankings import (
    Ranking,
    compare,
    evaluate_ranking,
    mean_ranking,
    top_items,
)


def _of(matrix):
    return lambda users: matrix[users]


@pytest.fixture(scope="module")
def case():
    """Scores of 200 users and 50 items, what they have seen, and their positives (some have none)."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 50)).round(1)  # with ties
    seen = sparse.csr_array((rng.random((200, 50)) < 0.2).astype(float))
    test = sparse.csr_array(((rng.random((200, 50)) < 0.06) & ~(seen.toarray() > 0)).astype(float))
    return scores, seen, test


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 12), st.integers(1, 12))
def test_lists_are_those_of_a_stable_sort(seed, users, items, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(4, size=(users, items)).astype(float)
    seen = rng.random((users, items)) < 0.3
    k = min(k, items)
    found = top_items(_of(scores), np.arange(users), k, sparse.csr_array(seen.astype(int)))
    for row in range(users):
        left = [i for i in np.argsort(-scores[row], kind="stable") if not seen[row, i]][:k]
        assert found[row].tolist() == left + [-1] * (k - len(left))


def test_blocks_change_nothing(case, monkeypatch):
    scores, seen, _ = case
    whole = top_items(_of(scores), np.arange(200), 7, seen)
    monkeypatch.setattr("causal_lib.evaluation.rankings._BLOCK", 150)
    sizes = []

    def counted(users):
        sizes.append(len(users))
        return scores[users]

    assert (top_items(counted, np.arange(200), 7, seen) == whole).all()
    assert max(sizes) == 3  # 150 scores in memory at once
    assert (top_items(_of(scores), np.array([5, 3]), 7, seen) == whole[[5, 3]]).all()


def test_metrics_by_hand(case):
    scores, seen, test = case
    top = top_items(_of(scores), np.arange(200), 10, seen)
    found = evaluate_ranking(top, test, popularity=np.asarray(seen.sum(axis=0)).ravel())
    hits = []
    sums = np.zeros(3)
    positives = test.toarray() > 0
    for user in found.per_user.index:
        own = positives[user]
        listed = top[user]
        ranks = [r for r, item in enumerate(listed, start=1) if item >= 0 and own[item]]
        d = sum(1 / np.log2(1 + r) for r in ranks)
        ideal = sum(1 / np.log2(1 + r) for r in range(1, min(own.sum(), 10) + 1))
        hits.append(
            (len(ranks) / own.sum(), len(ranks) / 10, d / ideal, 1 / ranks[0] if ranks else 0, d)
        )
        sums += len(ranks), d, own.sum()
    names = ["recall", "precision", "NDCG", "MRR", "DCG"]
    assert found.per_user["naive"][names].to_numpy() == pytest.approx(np.array(hits))
    value = found.table.loc["naive", "value"]
    assert value[names].to_numpy() == pytest.approx(np.mean(hits, axis=0))
    assert value[["pooled recall", "pooled gain"]].tolist() == pytest.approx(
        (sums[:2] / sums[2]).tolist()
    )
    assert found.left_out == 200 - len(hits) > 0
    counts = np.bincount(top.ravel(), minlength=50)
    assert found.table.loc[("lists", "coverage"), "value"] == (counts > 0).mean()
    gini = np.abs(counts[:, None] - counts).sum() / (2 * 50 * counts.sum())
    assert found.table.loc[("lists", "Gini"), "value"] == pytest.approx(gini)
    inside = found.table.dropna()
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()
    assert "without a positive left out" in repr(found)
    assert found.to_dict()["metrics"]["lists"]["Gini"]["low"] is None


def test_novelty_by_hand():
    """With one count added, the items have shares of 8, 4, 2, 1 and 1 sixteenths: 1, 2, 3, 4 and 4
    bits.
    """
    popularity = np.array([7, 3, 1, 0, 0])
    top = np.array([[0, 2], [3, -1], [1, 4], [-1, -1]])
    test = sparse.csr_array(
        np.array([[1.0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    )
    found = evaluate_ranking(top, test, popularity=popularity, n_boot=2)
    # (1 + 3) / 2, 4 of the only item, and 0 of an empty list; the third user has no positive and is
    # left out
    assert found.per_user[("lists", "novelty")].tolist() == [2, 4, 0]
    assert found.table.loc[("lists", "novelty"), "value"] == 2


def _one_hit(hits, users):
    """Lists of one item and one positive per user; the first ``hits`` users have their positive
    listed.
    """
    top = np.where(np.arange(users) < hits, 0, 1)[:, None]
    return evaluate_ranking(top, sparse.csr_array(np.tile([1.0, 0.0], (users, 1))), n_boot=20_000)


def test_the_interval_of_a_share_of_users_is_binomial():
    """Each user has a recall of 0 or 1, so a bootstrap mean is a Binomial(51, 24 / 51) count over
    51.

    Its 2.5% and 97.5% points are 17 and 31: at 20,000 draws 6 standard errors lie between these
    levels and the next counts.
    """
    users = 51
    hits = 24
    low, high = stats.binom.ppf([0.025, 0.975], users, hits / users) / users
    row = _one_hit(hits, users).table.loc[("naive", "recall")]
    assert (row["low"], row["value"], row["high"]) == pytest.approx(
        (low, hits / users, high), abs=1e-12
    )


def test_the_interval_of_a_difference_is_binomial():
    """24 of 51 users gain 1, the others nothing."""
    users = 51
    hits = 24
    low, high = stats.binom.ppf([0.025, 0.975], users, hits / users) / users
    row = compare(_one_hit(hits, users), _one_hit(0, users), n_draws=20_000).loc[
        ("naive", "recall")
    ]
    assert (row["low"], row["difference"], row["high"]) == pytest.approx(
        (low, hits / users, high), abs=1e-12
    )


def test_ndcg_is_scikit_learn_s(case):
    scores, _, test = case
    scores = scores + 1e-6 * np.random.default_rng(1).random(scores.shape)  # it averages over ties
    found = evaluate_ranking(top_items(_of(scores), np.arange(200), 10), test)
    rows = found.per_user.index
    peer = [ndcg_score(test.toarray()[[u]], scores[[u]], k=10) for u in rows]
    assert found.per_user[("naive", "NDCG")].to_numpy() == pytest.approx(np.array(peer), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 12), st.integers(1, 8))
def test_metrics_of_each_user_are_scikit_learn_s(seed, users, items, k):
    """Short lists are filled up to k by items that nobody likes; what is not listed scores below
    all of them.
    """
    rng = np.random.default_rng(seed)
    likes = rng.random((users, items)) < 0.4
    # one positive each
    likes[::2] = np.arange(items) == rng.integers(items, size=(len(likes[::2]), 1))
    top = np.full((users, k), -1)
    for user, length in enumerate(rng.integers(min(k, items) + 1, size=users)):
        top[user, :length] = rng.permutation(items)[:length]
    found = evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=2)
    assert found.per_user.index.tolist() == np.flatnonzero(likes.any(axis=1)).tolist()
    for user, own in found.per_user["naive"].iterrows():
        truth = np.r_[likes[user], np.zeros(k, dtype=bool)]
        filled = np.where(top[user] < 0, items + np.arange(k), top[user])
        score = np.zeros(items + k)
        score[filled] = np.arange(k, 0, -1)
        listed = score > 0
        assert own["recall"] == pytest.approx(recall_score(truth, listed), abs=1e-9)
        assert own["precision"] == pytest.approx(precision_score(truth, listed), abs=1e-9)
        assert own["NDCG"] == pytest.approx(ndcg_score([truth], [score], k=k), abs=1e-9)
        if truth.sum() == 1:
            of_list = (
                label_ranking_average_precision_score([truth], [score])
                if listed[truth].all()
                else 0
            )
            assert own["MRR"] == pytest.approx(of_list, abs=1e-9)


def test_one_metric_alone_is_the_one_of_the_table(case):
    scores, seen, test = case
    top = top_items(_of(scores), np.arange(200), 10, seen)
    propensity = np.linspace(0.1, 1, 50)
    table = (
        evaluate_ranking(top, test, propensity=propensity, n_boot=2).table["value"].drop("lists")
    )
    assert len(table) == 11
    for metric, value in table.items():
        assert mean_ranking(top, test, metric=metric, propensity=propensity) == pytest.approx(
            value, abs=1e-15
        )
    with pytest.raises(
        ValueError,
        match=r"unknown metric=\('snips', 'pooled gain'\); known: \('naive', 'recall'\), ",
    ):
        mean_ranking(top, test, metric=("snips", "pooled gain"))


def test_users_without_a_positive_change_nothing():
    """Pooled recall of hits 1, 0, 2 among 1, 1, 4 positives is 1/2; a user adds (hits - m / 2) over
    the mean m of 2 to it.
    """
    top = np.array([[0, 1], [1, 2], [2, 3], [0, 1], [4, 5]])
    test = np.zeros((5, 6))
    test[[0, 1, 2, 2, 2, 2], [0, 5, 2, 3, 4, 5]] = 1
    propensity = np.linspace(0.2, 1, 6)
    found = evaluate_ranking(top, sparse.csr_array(test), propensity=propensity)
    assert found.per_user[("naive", "pooled recall")].tolist() == [0.75, 0.25, 0.5]
    assert (found.users, found.left_out) == (3, 2)
    alone = evaluate_ranking(top[:3], sparse.csr_array(test[:3]), propensity=propensity)
    pd.testing.assert_frame_equal(found.per_user, alone.per_user)
    metrics = found.per_user.columns  # coverage and Gini are of all lists
    pd.testing.assert_frame_equal(found.table.reindex(metrics), alone.table.reindex(metrics))


def test_weighted_metrics_are_right_when_positives_go_missing():
    rng = np.random.default_rng(0)
    users = 400
    items = 60
    k = 10
    scores = rng.normal(size=(users, items))
    likes = rng.random((users, items)) < 1 / (1 + np.exp(2 - scores))
    # of the items: some are seen often
    propensity = np.clip(0.15 + 0.8 * rng.random(items) ** 3, 0, 1)
    boost = scores + 2 * propensity  # a list that prefers them looks better than it is
    top = top_items(_of(boost), np.arange(users), k)
    truth = evaluate_ranking(top, sparse.csr_array(likes.astype(float))).table
    errors = {}
    for _ in range(60):
        shown = sparse.csr_array((likes & (rng.random(likes.shape) < propensity)).astype(float))
        found = evaluate_ranking(top, shown, propensity=propensity, n_boot=2)
        for way, metric in (
            ("naive", "pooled recall"),
            ("snips", "pooled recall"),
            ("naive", "precision"),
            ("ips", "precision"),
        ):
            # a sum over positives, which users without one are no part of
            share = found.users / users if metric == "precision" else 1
            off = (
                found.table.loc[(way, metric), "value"] * share
                - truth.loc[("naive", metric), "value"]
            )
            errors.setdefault((way, metric), []).append(off)
    z = {
        key: np.mean(values) / np.std(values, ddof=1) * np.sqrt(60)
        for key, values in errors.items()
    }
    assert abs(z[("snips", "pooled recall")]) < 3.5
    assert abs(z[("ips", "precision")]) < 3.5
    assert z[("naive", "pooled recall")] > 20
    assert z[("naive", "precision")] < -20


def test_models_are_compared_user_by_user(case):
    scores, seen, test = case
    good = scores + 0.8 * test.toarray()
    one, other = (
        evaluate_ranking(top_items(_of(s), np.arange(200), 10, seen), test) for s in (good, scores)
    )
    table = compare(one, other)
    gap = (one.per_user - other.per_user)[("naive", "NDCG")]
    row = table.loc[("naive", "NDCG")]
    assert row["difference"] == pytest.approx(gap.mean())
    assert row["low"] < gap.mean() < row["high"]
    assert row["p"] < 0.01
    assert (compare(one, one)["p"] == 1).all()
    with pytest.raises(ValueError, match="must be evaluated on the same ones"):
        compare(
            one, evaluate_ranking(np.zeros((1, 1), dtype=int), sparse.csr_array(np.ones((1, 50))))
        )


def _of_users(values):
    """A ranking known by its users' values, (users, metrics), alone: all that `compare` looks at."""
    columns = pd.MultiIndex.from_tuples([("naive", f"metric {k}") for k in range(values.shape[1])])
    return Ranking(pd.DataFrame(), pd.DataFrame(values, columns=columns), 1, len(values), 0)


def test_p_is_the_share_of_all_exchanges_of_the_two_models():
    """Against all 2^10 exchanges, from no difference to one of twice its standard deviation."""
    rng = np.random.default_rng(3)
    draws = 20_000
    one = rng.normal(np.linspace(0, 2, 6), 1, (10, 6))
    other = np.zeros((10, 6))
    every = np.abs(np.array(list(itertools.product([-1, 1], repeat=10))) @ one)
    exact = (every >= np.abs(one.sum(axis=0)) - 1e-12).mean(axis=0)
    assert exact.min() < 0.01 < np.median(exact) < 0.1 < exact.max()
    found = compare(_of_users(one), _of_users(other), n_draws=draws)["p"].to_numpy()
    assert (np.abs(found - exact) < 4.5 * np.sqrt(exact * (1 - exact) / draws) + 1 / draws).all()


def test_p_is_uniform_without_a_difference():
    """Of models that may be exchanged, p is at most k / 200 with probability k / 200: 199 exchanges
    and the one that was seen.
    """
    rng = np.random.default_rng(0)
    found = [
        compare(*map(_of_users, rng.random((2, 30, 20))), n_draws=199, seed=seed)["p"]
        for seed in range(100)
    ]
    for level in (0.05, 0.1, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / (100 * 20))
        assert np.mean(np.array(found) <= level + 1e-9) == pytest.approx(level, abs=4 * error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": np.zeros((3, 2), dtype=int)}, "top: 3 lists name an item twice"),
        ({"top": np.array([[0, 9]] * 3)}, "top: 3 codes are of no item; there are 4"),
        ({"top": np.array([[0, 1]])}, r"top has shape \(1, 2\) for 3 users"),
        ({"test": sparse.csr_array((3, 4))}, "none of the 3 users has a positive"),
        ({"propensity": np.zeros(4)}, "propensity of the positives: 2 values outside"),
        ({"propensity": np.full((3, 4), 1.5)}, "propensity of the positives: 2 values outside"),
        (
            {"propensity": np.array([0.5, np.nan, 0.5, 0.5])},
            "propensity of the positives: 1 of 2 are missing or infinite",
        ),
        (
            {"propensity": np.full(3, 0.5)},
            r"propensity has shape \(3,\); \(3, 4\) or \(4,\) is needed",
        ),
        (
            {"propensity": np.full(5, 0.5)},
            r"propensity has shape \(5,\); \(3, 4\) or \(4,\) is needed",
        ),
        ({"propensity": np.full((2, 4), 0.5)}, r"propensity has shape \(2, 4\)"),
        (
            {"popularity": np.ones(3)},
            r"popularity has shape \(3,\); \(4,\) is needed, one count an item",
        ),
        ({"popularity": np.ones(5)}, r"popularity has shape \(5,\)"),
        (
            {"popularity": np.array([1, np.nan, -1, 2])},
            "popularity: 2 of 4 counts are missing, infinite or negative",
        ),
        (
            {"users": np.array([0, 1, 3])},
            "users: 1 codes are of no user; there are 3, coded from 0; first 3",
        ),
        (
            {"users": np.array([0, 1, -1])},
            "users: 1 codes are of no user; there are 3, coded from 0; first -1",
        ),
        ({"users": np.array([0, 1, 1])}, "users: 1 are given twice; one list a user"),
        ({"users": np.array([True, True, False])}, "users: codes are whole numbers, not bool"),
        ({"test": sparse.csr_array([[np.nan, 0, 1.0]] * 3)}, "test: 3 of 6 entries are missing"),
        (
            {"top": np.empty((3, 0), dtype=int)},
            r"top has shape \(3, 0\) for 3 users; .* with one place at least",
        ),
        (
            {"top": np.array([[0.0, 1.0]] * 3)},
            r"top: codes are whole numbers, not float64; .* astype\(int\)",
        ),
    ],
)
def test_bad_rankings(change, message):
    test = sparse.csr_array(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
    given = {"top": np.array([[0, 1]] * 3), "test": test} | change
    with pytest.raises(ValueError, match=message):
        evaluate_ranking(**given)


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        (np.zeros((2, 3)), 4, "k=4: between 1 and the 3 items"),
        (np.zeros((2, 3)), 0, "k=0: between 1 and the 3 items"),
        (
            np.array([[0, np.nan, 0], [0, 0, 0]]),
            1,
            "scores: 1 are missing or infinite, first of user 0",
        ),
        (np.zeros((2, 5)), 1, r"scores of 1 users have shape \(1, 5\)"),
        (np.zeros(2), 1, r"scores of 1 users have shape \(1,\)"),
    ],
)
def test_bad_scores(scores, k, message):
    with pytest.raises(ValueError, match=message):
        top_items(_of(scores), np.arange(2), k, sparse.csr_array((2, 3)))


@pytest.mark.parametrize("user", [-1, 2])
def test_lists_of_users_that_are_not_there_are_refused(user):
    with pytest.raises(
        ValueError, match=f"users: 1 codes are of no user; there are 2, coded from 0; first {user}"
    ):
        top_items(_of(np.zeros((3, 3))), np.array([0, user]), 1, sparse.csr_array((2, 3)))


def test_a_user_who_has_seen_all_gets_an_empty_list():
    seen = sparse.csr_array(np.ones((1, 3)))
    top = top_items(_of(np.zeros((1, 3))), np.array([0]), 2, seen)
    assert (top == -1).all()
    assert (
        evaluate_ranking(top, sparse.csr_array(np.ones((1, 3))))
        .per_user[("naive", "recall")]
        .item()
        == 0
    )


def test_frames_of_users_keep_their_codes(case):
    scores, seen, test = case
    users = np.array([7, 3, 11])
    found = evaluate_ranking(
        top_items(_of(scores), users, 10, seen), test, users, propensity=np.full((200, 50), 0.5)
    )
    assert isinstance(found.per_user, pd.DataFrame)
    whole = evaluate_ranking(top_items(_of(scores), np.arange(200), 10, seen), test).per_user
    names = ["recall", "precision", "NDCG", "MRR", "DCG"]
    pd.testing.assert_frame_equal(
        found.per_user["naive"][names], whole["naive"].loc[found.per_user.index, names]
    )


def test_each_pair_has_the_propensity_of_its_own_user_and_item():
    """Rows of the lists are not codes of users; hits are (user 2, items 0 and 1) and (user 0, item
    2), missed is (0, 1).
    """
    test = sparse.csr_array(np.array([[0, 1, 1], [0, 0, 0], [1, 1, 0]]))
    propensity = np.array([[0.9, 0.2, 0.25], [0.6, 0.7, 0.8], [0.5, 0.1, 0.3]])
    found = evaluate_ranking(
        np.array([[1, 0], [2, 0]]), test, np.array([2, 0]), propensity=propensity, n_boot=2
    )
    assert found.per_user.index.tolist() == [2, 0]
    assert found.per_user[("ips", "precision")].tolist() == pytest.approx([(10 + 2) / 2, 4 / 2])
    assert found.per_user[("ips", "DCG")].tolist() == pytest.approx([10 + 2 / np.log2(3), 4])
    assert found.table.loc[("snips", "pooled recall"), "value"] == pytest.approx(
        (10 + 2 + 4) / (10 + 2 + 4 + 5)
    )


def test_what_is_pooled_and_weighted_of_one_metric_alone():
    """Of users 2 and 0, the first of whom has his positives at ranks 2 and 1 of three, the second
    one of two at rank 1.
    """
    test = sparse.csr_array(np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 1]]))
    propensity = np.array([0.5, 0.1, 0.25, 0.2])
    how = {"users": np.array([2, 0])}
    top = np.array([[1, 0], [2, 0]])
    d = 1 / np.log2(3)
    found = evaluate_ranking(top, test, propensity=propensity, n_boot=2, **how)
    expected = {
        ("naive", "recall"): (2 / 3 + 1 / 2) / 2,
        ("naive", "precision"): 3 / 4,
        ("naive", "DCG"): (1 + d + 1) / 2,
        ("naive", "NDCG"): (1 + 1 / (1 + d)) / 2,
        ("naive", "pooled recall"): 3 / 5,
        ("naive", "pooled gain"): (2 + d) / 5,
        ("ips", "precision"): ((10 + 2) / 2 + 4 / 2) / 2,
        ("ips", "DCG"): (10 + 2 * d + 4) / 2,
        ("snips", "pooled recall"): (10 + 2 + 4) / (10 + 2 + 5 + 4 + 10),
        ("snips", "pooled gain"): (10 + 2 * d + 4) / (10 + 2 + 5 + 4 + 10),
    }
    for metric, value in expected.items():
        assert found.table.loc[metric, "value"] == pytest.approx(value), metric
        assert mean_ranking(
            top, test, metric=metric, propensity=propensity, **how
        ) == pytest.approx(value), metric
    # a pooled metric's linear approximation: users have 3 and 2 positives, weighing 17 and 14
    pooled = found.per_user[("snips", "pooled gain")].to_numpy()
    ratio = expected["snips", "pooled gain"]
    assert pooled == pytest.approx(
        ratio + (np.array([10 + 2 * d, 4]) - ratio * np.array([17, 14])) / 15.5
    )
    assert (found.k, found.users, found.left_out) == (2, 2, 0)


def test_an_entry_of_0_is_no_positive():
    test = sparse.csr_array(
        (np.array([1.0, 0, 0]), (np.array([0, 0, 1]), np.array([0, 1, 1]))), shape=(2, 2)
    )
    assert test.nnz == 3
    found = evaluate_ranking(np.array([[1], [1]]), test, n_boot=2)
    assert (found.users, found.left_out) == (1, 1)
    assert found.table.loc[("naive", "recall"), "value"] == 0
    assert test.nnz == 3


def test_coverage_and_gini_of_short_lists_by_hand():
    test = sparse.csr_array(np.eye(3, 4))
    lists = np.array([[2, 0], [2, -1], [-1, -1]])  # items listed 1, 0, 2 and 0 times
    table = evaluate_ranking(lists, test, n_boot=2).table["value"]
    assert table[("lists", "coverage")] == 0.5
    # ranks 3 and 4 of four
    assert table[("lists", "Gini")] == pytest.approx((1 * 1 + 3 * 2) / (4 * 3))
    empty = evaluate_ranking(np.full((3, 2), -1), test, n_boot=2)
    assert empty.table.loc[("lists", "coverage"), "value"] == 0
    assert np.isnan(empty.table.loc[("lists", "Gini"), "value"])
    assert empty.to_dict()["metrics"]["lists"]["Gini"]["value"] is None
    assert empty.to_dict()["metrics"]["naive"]["recall"] == {"value": 0, "low": 0, "high": 0}
    assert (empty.to_dict()["k"], empty.to_dict()["users"], empty.to_dict()["left_out"]) == (
        2,
        3,
        0,
    )


def test_intervals_are_percentiles_of_draws_of_users():
    rng = np.random.default_rng(5)
    likes = rng.random((9, 6)) < 0.4
    top = np.array([rng.permutation(6)[:2] for _ in range(9)])
    found = evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=30, seed=7)
    values = found.per_user.to_numpy()
    same = np.random.default_rng(7)
    n = len(values)
    draws = [same.multinomial(n, np.full(n, 1 / n)) @ values / n for _ in range(30)]
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    table = found.table.reindex(found.per_user.columns)
    assert table["low"].to_numpy() == pytest.approx(low)
    assert table["high"].to_numpy() == pytest.approx(high)
    plain = evaluate_ranking(top, sparse.csr_array(likes.astype(float)))
    pd.testing.assert_frame_equal(
        plain.table,
        evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=500, seed=0).table,
    )


def test_metrics_that_one_side_lacks_are_not_compared():
    test = sparse.csr_array(np.eye(3))
    top = np.array([[0], [2], [2]])
    weighted = evaluate_ranking(top, test, propensity=np.array([0.5, 0.5, 0.25]), n_boot=2)
    plain = evaluate_ranking(np.array([[1], [1], [1]]), test, n_boot=2)
    table = compare(weighted, plain)
    assert set(table.index.get_level_values(0)) == {"naive"}
    assert table.loc[("naive", "recall"), "difference"] == pytest.approx(2 / 3 - 1 / 3)
    turned = compare(plain, weighted)
    assert turned.loc[("naive", "recall"), "difference"] == pytest.approx(1 / 3 - 2 / 3)


def test_the_defaults_of_a_comparison():
    one, other = map(_of_users, np.random.default_rng(2).random((2, 30, 2)))
    table = compare(one, other)
    pd.testing.assert_frame_equal(table, compare(one, other, n_draws=2000, seed=0))
    assert not table.equals(compare(one, other, n_draws=2000, seed=1))
    assert not table.equals(compare(one, other, n_draws=2001, seed=0))


def test_dislikes_are_no_positives():
    dislikes = sparse.csr_array(np.array([[1.0, -1, 0], [0, 1, -1]]))
    top = np.array([[1, 2], [2, 0]])
    with pytest.raises(ValueError, match=r"test: 2 of 4 entries are negative, first -1; keep the"):
        evaluate_ranking(top, dislikes)
    # users who are not asked about do not matter
    assert evaluate_ranking(top[:1], sparse.csr_array(np.array([[1.0, 0, 0], [-1, 0, 0]])), [0])


def test_entries_given_twice_are_one_positive():
    twice = sparse.csr_array((np.ones(3), np.array([0, 0, 1]), np.array([0, 3])), shape=(1, 3))
    assert not twice.has_canonical_format
    once = sparse.csr_array(np.array([[1.0, 1, 0]]))
    top = np.array([[0, 2]])
    pd.testing.assert_frame_equal(
        evaluate_ranking(top, twice).table, evaluate_ranking(top, once).table
    )
    assert evaluate_ranking(top, twice).table.loc[("naive", "precision"), "value"] == 0.5


def test_seen_items_are_left_out_whatever_their_value():
    seen = sparse.csr_array((np.array([-1.0, 0.0]), ([0, 0], [0, 1])), shape=(1, 3))
    found = top_items(lambda users: np.array([[3.0, 2, 1]] * len(users)), np.array([0]), 3, seen)
    assert found.tolist() == [[2, -1, -1]]
