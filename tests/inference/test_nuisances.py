"""Checks of overlap at their limits; folds against scikit-learn's; errors, scores and models by
hand.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold

from causal_lib.inference import nuisances


def test_one_row_in_a_hundred_may_lie_outside_one_to_99_percent():
    share = np.full(1000, 0.5)
    share[:6], share[6:10], share[10:30] = 0.0099, 0.9901, 0.0101
    nuisances.check_overlap(np.column_stack([1 - share, share]))
    share[30] = 0.9901
    with pytest.raises(
        nuisances.NoOverlapError,
        match=r"no overlap: 11 of 1000 rows have an estimated propensity outside \[0.01",
    ):
        nuisances.check_overlap(np.column_stack([1 - share, share]))
    # With further levels each of the two must be possible; neither need be unlikely.
    three = np.column_stack([np.full(1000, 0.995), np.full(1000, 0.5)])
    three[:10, 1] = 0.0099
    nuisances.check_overlap(three, others=True)
    three[10, 1] = 0.0099
    with pytest.raises(
        nuisances.NoOverlapError,
        match=r"11 of 1000 rows have an estimated propensity of the treated below 0\.01",
    ):
        nuisances.check_overlap(three, others=True)


def test_a_hundredth_of_the_variance_of_a_numeric_treatment_must_be_left():
    t = np.tile([-1.0, 1.0], 500)
    rest = np.full(1000, 1.0)
    assert nuisances.check_moves(0.11 * t, t)["treatment_left"] == pytest.approx(0.0121)
    with pytest.raises(
        nuisances.NoOverlapError,
        match=r"no overlap: the adjustment columns explain 99\.2% of the treatment",
    ):
        nuisances.check_moves(0.09 * t, t)
    rest[:10] = 0.0099
    nuisances.check_moves(t, t, rest)
    rest[10] = 0.0099
    with pytest.raises(
        nuisances.NoOverlapError,
        match="for 11 of 1000 rows the adjustment columns leave the treatment under 1%",
    ):
        nuisances.check_moves(t, t, rest)


def test_imbalance_is_in_units_of_the_arms_mean_deviation():
    """Arms of variance 2 and 8: a deviation of the root of 5. The means 1 and 3, or 1 and 2 with
    weights 3 and 1.
    """
    x = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0], "same": 1.0})
    t = np.array([0, 0, 1, 1])
    found = nuisances.overlap(np.full((4, 2), 0.5), x, t, np.array([1.0, 1.0, 3.0, 1.0]))
    assert found["imbalance_before"] == pytest.approx(2 / np.sqrt(5))
    assert found["imbalance_after"] == pytest.approx(1 / np.sqrt(5))


def test_folds_are_those_of_scikit_learn_by_seed():
    alone = np.arange(40)
    groups = np.repeat(np.arange(20), 2)
    for seed in (0, 3):
        for found, expected in (
            (nuisances.folds(alone, seed), KFold(5, shuffle=True, random_state=seed).split(alone)),
            (
                nuisances.folds(groups, seed),
                GroupKFold(5, shuffle=True, random_state=seed).split(groups, groups=groups),
            ),
        ):
            for (train, test), (theirs, others) in zip(found, expected, strict=True):
                assert train.tolist() == theirs.tolist()
                assert test.tolist() == others.tolist()
    parts = [[test.tolist() for _, test in nuisances.folds(groups, seed)] for seed in (0, 3)]
    assert parts[0] != parts[1]


def test_categories_of_new_rows_are_coded_as_those_of_training():
    old = pd.DataFrame({"n": [1, 2, 3, 4], "kind": list("abca"), "flag": [True, False, True, True]})
    wide = nuisances.design(old, ["n", "kind", "flag"])
    assert wide.columns.tolist() == ["n", "flag", "kind_b", "kind_c"]
    assert wide["kind_b"].tolist() == [0, 1, 0, 0]
    # no a, and a level that is new
    new = pd.DataFrame({"n": [7, 8, 9], "kind": list("ccd"), "flag": False})
    found = nuisances.design(new, ["n", "kind", "flag"], like=wide.columns)
    assert found.columns.tolist() == wide.columns.tolist()
    assert found.to_numpy().tolist() == [[7, 0, 0, 1], [8, 0, 0, 1], [9, 0, 0, 0]]
    assert nuisances.design(old, ["n", "kind", "flag"], like=wide.columns).equals(wide)
    assert nuisances.design(old, []).shape == (4, 0)


def test_errors_and_covariances_of_unequal_clusters_by_hand():
    influence = np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 0.0], [4.0, -5.0], [-4.0, 2.0]])
    groups = np.array([0, 0, 0, 1, 2])
    sums = np.array([[0.0, 3.0], [4.0, -5.0], [-4.0, 2.0]])
    by_hand = sums.T @ sums * 3 / 2 / 25
    assert nuisances.clustered_covariance(influence, groups) == pytest.approx(by_hand)
    for column in (0, 1):
        assert nuisances.standard_error(influence[:, column], groups) == pytest.approx(
            np.sqrt(by_hand[column, column])
        )
    assert nuisances.standard_error(np.array([3.0, -1.0]), np.array([0, 1])) == pytest.approx(
        np.sqrt(10 * 2) / 2
    )
    with pytest.raises(
        ValueError, match="1 row or cluster is too few for a standard error; at least 2 are needed"
    ):
        nuisances.standard_error(np.array([1.0, 2.0]), np.array([0, 0]))


def test_scores_by_hand():
    y = np.array([3.0, 1.0, 2.0, 5.0])
    t = np.array([1, 0, 2, 1])
    chances = np.array([[0.3, 0.5], [0.2, 0.4], [0.1, 0.6], [0.4, 0.25]])
    means = np.array([[1.0, 2.0], [0.5, 4.0], [1.0, 1.5], [2.0, 3.0]])
    score, weights = nuisances.dr_scores(y, t, chances, means)
    assert weights.tolist() == pytest.approx([2.0, 5.0, 0.0, 4.0])
    assert score.tolist() == pytest.approx(
        [1 + 2 * (3 - 2), 3.5 - 5 * (1 - 0.5), 0.5, 1 + 4 * (5 - 3)]
    )


def test_diagnostics_of_arms_by_hand():
    x = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0, 9.0], "b": [3.0, 1.0, 0.0, -2.0, 9.0]})
    t = np.array([0, 0, 1, 1, 2])
    weights = np.array([1.0, 3.0, 1.0, 1.0, 0.0])
    chances = np.array([[0.2, 0.3], [0.4, 0.5], [0.1, 0.7], [0.3, 0.6], [0.5, 0.25]])
    found = nuisances.overlap(chances, x, t, weights)
    # Arms of b: 3, 1 and 0, -2: means 2 and -1, variances 2 and 2; with the weights 1.5 and -1.
    assert found == pytest.approx(
        {
            "propensity_min": 0.25,
            "propensity_max": 0.7,
            "control_propensity_min": 0.1,
            "imbalance_before": 3 / np.sqrt(2),
            "imbalance_after": 2.5 / np.sqrt(2),
        }
    )
    assert list(nuisances.overlap(chances[:4], x[:4], t[:4], weights[:4])) == [
        "propensity_min", "propensity_max", "imbalance_before", "imbalance_after",
    ]  # fmt: skip
    none = nuisances.overlap(chances, x[[]], t, weights)
    assert (none["imbalance_before"], none["imbalance_after"]) == (0.0, 0.0)


def test_without_columns_shares_and_means_are_those_of_the_other_folds():
    rng = np.random.default_rng(1)
    t = rng.integers(3, size=60)
    y = rng.normal(size=60)
    groups = np.repeat(np.arange(20), 3)
    chances, means = nuisances.cross_fit(y, t, pd.DataFrame(index=range(60)), groups, 4)
    for train, test in GroupKFold(5, shuffle=True, random_state=4).split(groups, groups=groups):
        for arm in (0, 1):
            assert chances[test, arm] == pytest.approx(np.full(len(test), (t[train] == arm).mean()))
            assert means[test, arm] == pytest.approx(
                np.full(len(test), y[train][t[train] == arm].mean())
            )


def test_a_model_of_one_level_says_that_level():
    x = pd.DataFrame({"a": np.arange(80.0)})
    assert nuisances.fit(np.full(80, 3.5), x, 0)(x[:2]).tolist() == [3.5, 3.5]
    two = nuisances.fit(np.arange(80) // 40, x, 5)(x)
    assert two == pytest.approx(
        HistGradientBoostingClassifier(**nuisances.BOOST, random_state=5)
        .fit(x, np.arange(80) // 40)
        .predict_proba(x)[:, 1]
    )
    numbers = nuisances.fit(1 + np.arange(80) // 40, x, 5)(x)  # 1 and 2 are numbers
    assert numbers == pytest.approx(
        HistGradientBoostingRegressor(**nuisances.BOOST, random_state=5)
        .fit(x, 1 + np.arange(80) // 40)
        .predict(x)
    )


def test_the_settings_of_the_boosted_models():
    assert nuisances.BOOST == {
        "max_iter": 100,
        "learning_rate": 0.1,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 50,
    }
    with pytest.raises(ValueError, match="4 rows or clusters are too few for 5 folds"):
        nuisances.folds(np.arange(4), 0)
    assert len(list(nuisances.folds(np.arange(5), 0))) == 5


def test_both_arms_must_be_among_the_rows_to_train_on():
    t = np.array([0, 0, 0, 0, 0, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 5, 5])
    with pytest.raises(
        ValueError,
        match="all 2 rows of the treated fall into one of 5 folds: too few rows or clusters",
    ):
        list(nuisances.arm_folds(t, groups, 0))
    with pytest.raises(ValueError, match="all 2 rows of the control fall into one of 5 folds"):
        list(nuisances.arm_folds(1 - t, groups, 0))
