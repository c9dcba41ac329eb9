"""Recall and NDCG against scikit-learn's and by hand; both rooms that use them agree."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import ndcg_score

from causal_lib.evaluation.gains import discounts, recall_and_ndcg
from causal_lib.evaluation.predictions import evaluate
from causal_lib.evaluation.rankings import evaluate_ranking, top_items


def test_discounts_by_hand():
    assert discounts(3).tolist() == pytest.approx([0, 1, 1 / np.log2(3), 0.5])


def test_two_users_by_hand_and_one_without_a_positive():
    owner = np.array([0, 0, 2])
    gain = np.array([1.0, 3.0, 2.0])
    listed = np.array([1.0, 0.0, 1.0])
    discount = np.array([0.5, 0.0, 1.0])
    recall, ndcg = recall_and_ndcg(owner, 3, gain, listed, discount, np.array([2.0, 0.0, 2.0]))
    assert recall.tolist() == pytest.approx([1 / 4, np.nan, 1], nan_ok=True)
    assert ndcg.tolist() == pytest.approx([0.5 / 2, np.nan, 1], nan_ok=True)


def test_scores_of_rows_and_lists_of_items_give_the_same_as_scikit_learn():
    rng = np.random.default_rng(0)
    likes = rng.random((30, 12)) < 0.3
    score = rng.random((30, 12))
    k = 4
    likes[likes.sum(axis=1) == 0, 0] = True
    user = np.repeat(np.arange(30), 12)
    rows = evaluate(
        likes.ravel().astype(int), score.ravel(), groups=user, k=k, n_boot=20
    ).table.loc["naive", "value"]
    top = top_items(lambda users: score[users], np.arange(30), k)
    lists = evaluate_ranking(top, sparse.csr_array(likes.astype(float)), n_boot=2).table.loc[
        "naive", "value"
    ]
    assert rows[f"NDCG@{k}"] == pytest.approx(ndcg_score(likes, score, k=k), rel=1e-12)
    assert lists["NDCG"] == pytest.approx(rows[f"NDCG@{k}"], rel=1e-12)
    assert lists["recall"] == pytest.approx(rows[f"recall@{k}"], rel=1e-12)
