"""Propensities and outcomes out of fold against scikit-learn's own; weights of target populations,
scores and errors by hand.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression

from causal_lib.inference import nuisances
from causal_lib.inference.models import Fitting, arm_folds, folds

STUB = Fitting((LinearRegression(),), (LogisticRegression(),))
"""Models that can be fitted again in a line."""


# ---- errors and scores ---------------------------------------------------------------------------


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


def test_a_propensity_of_zero_for_the_other_arm_is_not_divided_by():
    t = np.array([1, 0, 2])
    chances = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.0]])
    assert nuisances.inverse_propensities(t, chances).tolist()[:2] == [1.0, 1.0]
    score, _ = nuisances.dr_scores(np.array([3.0, 1.0]), t[:2], chances[:2], np.ones((2, 2)))
    assert score.tolist() == [2.0, 0.0]


def test_weights_of_the_target_populations_by_hand():
    t = np.array([1, 0, 1, 0])
    e = np.array([0.5, 0.2, 0.9, 0.4])
    chances = np.column_stack([1 - e, e])
    expected = {
        "all": ([1, 1, 1, 1], [1, 1, 1, 1]),
        "treated": ([0.5, 0.2, 0.9, 0.4], [1, 0, 1, 0]),
        "untreated": ([0.5, 0.8, 0.1, 0.6], [0, 1, 0, 1]),
        "overlap": ([0.25, 0.16, 0.09, 0.24], [0.25, 0.04, 0.01, 0.16]),
    }
    assert tuple(expected) == nuisances.TARGETS
    for target, (h, g) in expected.items():
        found = nuisances.tilt(target, t, chances)
        assert found[0] == pytest.approx(h)
        assert found[1] == pytest.approx(g)
    three = np.column_stack([np.full(4, 0.3), np.full(4, 0.2)])
    h, g = nuisances.tilt("untreated", np.array([1, 0, 2, 0]), three)
    assert (h.tolist(), g.tolist()) == ([0.3] * 4, [0, 1, 0, 1])


# ---- propensities --------------------------------------------------------------------------------


def test_propensities_have_a_floor_by_the_share_of_their_arm():
    """A tenth is treated: no propensity is below 0.002 or above 1 - 0.018."""
    t = np.array([1] + [0] * 9)
    treated = np.array([0.001, 0.0021, 0.5, 0.981, 0.983, 0.999, 0.0, 1.0, 0.1, 0.2])
    found = nuisances.bounded(np.column_stack([1 - treated, treated]), t)
    assert found[:, 1] == pytest.approx(np.clip(treated, 0.002, 0.982))
    assert found.sum(axis=1) == pytest.approx(1)
    # with weights, half is
    weights = np.array([9.0] + [1.0] * 9)
    found = nuisances.bounded(np.column_stack([1 - treated, treated]), t, weights)
    assert found[:, 1] == pytest.approx(np.clip(treated, 0.01, 0.99))
    # of three levels neither is bounded above
    three = np.array([[0.0, 0.999], [0.999, 0.0], [0.5, 0.5], [0.2, 0.2]])
    found = nuisances.bounded(three, np.array([0, 1, 2, 2]))
    assert found == pytest.approx(np.maximum(three, 0.005))


def _table(n=400, seed=0, share=0.5):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    t = (rng.random(n) < share / (share + (1 - share) * np.exp(-x["a"]))).astype(int)
    y = x["a"].to_numpy() * (1 + t) + x["b"].to_numpy() + rng.normal(size=n)
    return x, t, y, 1.0 + np.arange(n) % 3, np.arange(n) // 2


@pytest.mark.parametrize("weighted", [False, True])
def test_propensities_are_held_out_then_calibrated(weighted):
    x, t, _, weights, groups = _table()
    w = weights if weighted else None
    raw = np.empty(400)
    for train, test in arm_folds(t, groups, 0):
        own = None if w is None else w[train]
        fitted = LogisticRegression().fit(x.iloc[train], t[train], sample_weight=own)
        raw[test] = fitted.predict_proba(x.iloc[test])[:, 1]
    odds = sm.add_constant(np.log(raw / (1 - raw)))
    line = sm.GLM(t, odds, family=sm.families.Binomial(), freq_weights=w).fit(tol=1e-12)
    found = nuisances.propensities(t, x, groups, STUB, w)
    assert found[:, 1] == pytest.approx(line.predict(odds), abs=1e-4)
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.abs(found[:, 1] - raw).max() > 1e-3  # the line says something


def test_propensities_of_few_rows_and_of_three_levels_are_held_out_alone():
    x, t, _, _, _ = _table(150)
    alone = np.arange(150)
    three = np.where(np.arange(150) % 3 == 2, 2, t)
    for codes in (t, three):
        found = nuisances.propensities(codes, x, alone, STUB)
        for train, test in arm_folds(codes, alone, 0):
            theirs = LogisticRegression().fit(x.iloc[train], codes[train])
            assert found[test] == pytest.approx(theirs.predict_proba(x.iloc[test])[:, :2])


# ---- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_outcomes_are_of_a_model_for_each_arm_or_of_one_with_the_treatment(joint, weighted):
    x, t, y, weights, groups = _table()
    w = weights if weighted else None
    found = nuisances.outcomes(y, t, x, groups, STUB, w, joint=joint)
    for train, test in arm_folds(t, groups, 0):
        own = np.ones(len(train)) if w is None else w[train]
        for arm in (0, 1):
            if joint:
                wide = sm.add_constant(x.iloc[train].assign(t=t[train]))
                asked = sm.add_constant(x.iloc[test].assign(t=arm), has_constant="add")
                fitted = sm.WLS(y[train], wide, weights=own).fit()
            else:
                rows = t[train] == arm
                wide = sm.add_constant(x.iloc[train[rows]])
                asked = sm.add_constant(x.iloc[test])
                fitted = sm.WLS(y[train[rows]], wide, weights=own[rows]).fit()
            assert found[test, arm] == pytest.approx(fitted.predict(asked).to_numpy())


def test_an_arm_of_fewer_than_fifty_rows_shares_its_model():
    x, _, y, _, _ = _table()
    groups = np.arange(400)
    for treated, joint in ((49, True), (50, False)):
        for t in (np.arange(400) < treated, np.arange(400) >= treated):
            found, apart, shared = (
                nuisances.outcomes(y, t.astype(int), x, groups, STUB, joint=one)
                for one in (None, False, True)
            )
            assert found.tolist() == (shared if joint else apart).tolist()
            assert apart.tolist() != shared.tolist()


def test_rows_of_other_levels_teach_no_outcome_but_are_predicted():
    x, t, y, _, _ = _table(300)
    groups = np.arange(300)
    t = np.where(np.arange(300) % 3 == 2, 2, t)
    for joint in (False, True):
        found = nuisances.outcomes(y, t, x, groups, STUB, joint=joint)
        other = nuisances.outcomes(np.where(t == 2, 1e6, y), t, x, groups, STUB, joint=joint)
        assert found.tolist() == other.tolist()


def test_without_columns_propensities_are_shares_and_means_those_of_the_other_folds():
    rng = np.random.default_rng(1)
    t = rng.integers(3, size=60)
    y = rng.normal(size=60)
    groups = np.repeat(np.arange(20), 3)
    how = Fitting(seed=4)
    none = pd.DataFrame(index=range(60))
    chances, means = nuisances.cross_fit(y, t, none, groups, how)
    weights = 1.0 + np.arange(60) % 3
    weighted = nuisances.propensities(t, none, groups, how, weights)
    for arm in (0, 1):
        assert chances[:, arm] == pytest.approx((t == arm).mean())
        assert weighted[:, arm] == pytest.approx(weights[t == arm].sum() / weights.sum())
    for train, test in arm_folds(t, groups, 4):
        for arm in (0, 1):
            assert means[test, arm] == pytest.approx(
                np.full(len(test), y[train][t[train] == arm].mean())
            )


def test_means_of_everybody_are_held_out():
    x, _, y, weights, groups = _table()
    how = Fitting(outcome=(LinearRegression(),), folds=3, seed=2)
    found = nuisances.held_out_mean(y, x, groups, how, weights)
    for train, test in folds(groups, 2, 3):
        fitted = sm.WLS(y[train], sm.add_constant(x.iloc[train]), weights=weights[train]).fit()
        assert found[test] == pytest.approx(
            fitted.predict(sm.add_constant(x.iloc[test])).to_numpy()
        )
