import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from causal_lib.evaluation.predictions import calibration_table, evaluate

EXACT = 1e-10  # sums of a few thousand terms in another order


def sample(n=3000, users=150, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    score = rng.beta(1, 3, n)
    if ties:
        score = score.round(2)
    y = (rng.random(n) < score).astype(int)
    return y, score, rng.integers(users, size=n), rng.uniform(0.1, 1, n)


def values(evaluation, weighting="naive"):
    return evaluation.to_frame().loc[weighting, "value"]


def classification_by_sklearn(y, score, threshold, weights=None):
    label = score >= threshold
    w = {"sample_weight": weights}
    return {
        "accuracy": metrics.accuracy_score(y, label, **w),
        "precision": metrics.precision_score(y, label, **w),
        "recall": metrics.recall_score(y, label, **w),
        "F1": metrics.f1_score(y, label, **w),
        "ROC AUC": metrics.roc_auc_score(y, score, **w),
        "log loss": metrics.log_loss(y, score, **w),
    }


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_classification_metrics_equal_scikit_learn(ties, threshold):
    y, score, user, propensity = sample(ties=ties)
    e = evaluate(y, score, groups=user, propensity=propensity, threshold=threshold, n_boot=20)
    for weighting, weights in (("naive", None), ("ips", 1 / propensity)):
        for name, expected in classification_by_sklearn(y, score, threshold, weights).items():
            assert values(e, weighting)[name] == pytest.approx(expected, abs=EXACT), (
                weighting,
                name,
            )


def test_weighted_metrics_are_self_normalised():
    y, score, user, propensity = sample()
    a = evaluate(y, score, groups=user, propensity=propensity, n_boot=20)
    scaled = evaluate(y, score, groups=user, propensity=propensity / 7, n_boot=20)
    pd.testing.assert_frame_equal(a.to_frame(), scaled.to_frame(), rtol=EXACT)


def test_calibration_error_equals_scikit_learns_curve():
    y, score, _, _ = sample(ties=False)
    rate, predicted = calibration_curve(y, score, n_bins=10, strategy="quantile")
    expected = np.mean(np.abs(rate - predicted))  # 3000 rows without ties: ten bins of 300
    assert values(evaluate(y, score, n_boot=20))["calibration error"] == pytest.approx(
        expected, abs=EXACT
    )
    table = calibration_table(y, score, n_boot=20)
    np.testing.assert_allclose(table["observed"], rate, atol=EXACT)
    np.testing.assert_allclose(table["predicted"], predicted, atol=EXACT)
    assert table["rows"].tolist() == [300] * 10
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()


def test_weighted_calibration_by_hand():
    y = np.array([0, 1, 0, 1])
    score = np.array([0.1, 0.1, 0.8, 0.8])
    weights = np.array([3.0, 1, 1, 3])
    table = calibration_table(y, score, propensity=1 / (3 * weights), n_boot=20)
    assert table["observed"].tolist() == [0.25, 0.75]
    np.testing.assert_allclose(table["predicted"], [0.1, 0.8], rtol=1e-12)
    e = evaluate(y, score, propensity=1 / (3 * weights), n_boot=20)
    assert values(e, "ips")["calibration error"] == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)
    assert values(e)["calibration error"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)


def test_the_predicted_rate_of_a_bin_is_weighted_as_the_observed_one():
    y = np.array([0, 1, 0, 1])
    score = np.array([0.1, 0.3, 0.6, 0.8])
    weights = np.array([3.0, 1, 1, 3])
    table = calibration_table(y, score, propensity=1 / (3 * weights), bins=2, n_boot=20)
    assert table["observed"].tolist() == [0.25, 0.75]
    np.testing.assert_allclose(
        table["predicted"], [(3 * 0.1 + 0.3) / 4, (0.6 + 3 * 0.8) / 4], rtol=1e-12
    )
    plain = calibration_table(y, score, bins=2, n_boot=20)
    np.testing.assert_allclose(plain["predicted"], [0.2, 0.7], rtol=1e-12)


def ranking_by_loop(y, score, user, weights, k):
    """recall@k and NDCG@k, without ties, straight from the docstring."""
    recall = []
    ndcg = []
    for u in np.unique(user):
        order = np.argsort(-score[user == u])
        gains = (y * weights)[user == u][order]
        bought = y[user == u][order] == 1
        if not bought.any():
            continue
        d = np.array([1 / np.log2(1 + r) if r <= k else 0 for r in range(1, len(gains) + 1)])
        recall.append(gains[:k].sum() / gains.sum())
        ndcg.append((gains * d).sum() / (gains[bought] * d[: bought.sum()]).sum())
    return np.mean(recall), np.mean(ndcg)


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_ranking_metrics_equal_the_loop(k):
    y, score, user, propensity = sample(ties=False)
    e = evaluate(y, score, groups=user, propensity=propensity, k=k, n_boot=20)
    for weighting, weights in (("naive", np.ones(len(y))), ("ips", 1 / propensity)):
        recall, ndcg = ranking_by_loop(y, score, user, weights, k)
        assert values(e, weighting)[f"recall@{k}"] == pytest.approx(recall, abs=EXACT)
        assert values(e, weighting)[f"NDCG@{k}"] == pytest.approx(ndcg, abs=EXACT)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_equals_scikit_learn_with_ties(k):
    y, score, user, _ = sample(ties=True)
    score = score.round(1)  # many ties
    bought = [u for u in np.unique(user) if y[user == u].any()]
    expected = np.mean(
        [metrics.ndcg_score([y[user == u]], [score[user == u]], k=k) for u in bought]
    )
    assert values(evaluate(y, score, groups=user, k=k, n_boot=20))[f"NDCG@{k}"] == pytest.approx(
        expected, abs=EXACT
    )


def test_recall_with_ties_is_the_mean_over_random_orders():
    y, score, user, propensity = sample(n=60, users=4, ties=True)
    score = score.round(1)
    weights = 1 / propensity
    rng = np.random.default_rng(0)
    draws = [
        ranking_by_loop(y, score + rng.random(60) * 1e-6, user, weights, 3)[0] for _ in range(400)
    ]
    exact = values(evaluate(y, score, groups=user, propensity=propensity, k=3, n_boot=20), "ips")[
        "recall@3"
    ]
    assert exact == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(400))


def test_a_perfect_ranking_has_one_whatever_the_weights():
    y, _, user, propensity = sample()
    score = np.where(y == 1, 0.9, 0.1)
    v = values(evaluate(y, score, groups=user, propensity=propensity, k=3, n_boot=20), "ips")
    assert v["ROC AUC"] == pytest.approx(1)
    assert v["NDCG@3"] == pytest.approx(1)
    assert v[["accuracy", "precision", "recall", "F1"]].tolist() == pytest.approx([1] * 4)


def test_rows_of_users_without_a_purchase_do_not_enter_the_ranking():
    y, score, user, _ = sample(n=300, users=60)
    bought = np.isin(user, user[y == 1])
    assert not bought.all()
    a = values(evaluate(y, score, groups=user, n_boot=20))
    b = values(evaluate(y[bought], score[bought], groups=user[bought], n_boot=20))
    assert a[["recall@10", "NDCG@10"]].tolist() == pytest.approx(
        b[["recall@10", "NDCG@10"]].tolist()
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_rank_metrics_do_not_change_under_monotone_transforms(seed):
    y, score, user, w = sample(n=200, users=10, seed=seed)
    a = evaluate(y, score, groups=user, propensity=w, n_boot=20).to_frame()["value"]
    b = evaluate(y, score**2 / 2, groups=user, propensity=w, n_boot=20).to_frame()["value"]
    ranked = a.index.get_level_values("metric").isin(["ROC AUC", "recall@10", "NDCG@10"])
    np.testing.assert_allclose(a[ranked], b[ranked], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1))
def test_equal_weights_are_no_weights(seed, propensity):
    y, score, user, _ = sample(n=200, users=10, seed=seed)
    table = evaluate(
        y, score, groups=user, propensity=np.full(200, propensity), n_boot=20
    ).to_frame()
    pd.testing.assert_frame_equal(table.loc["naive"], table.loc["ips"], rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_rows_and_names_of_users_do_not_matter(seed):
    y, score, user, w = sample(n=200, users=10, seed=seed)
    order = np.random.default_rng(seed).permutation(200)
    names = np.array([f"u{9 - u}" for u in user])
    a = evaluate(y, score, groups=user, propensity=w, n_boot=20).to_frame()["value"]
    b = evaluate(
        y[order], score[order], groups=names[order], propensity=w[order], n_boot=20
    ).to_frame()["value"]
    pd.testing.assert_series_equal(a, b, rtol=1e-9)


def test_swapping_the_classes_mirrors_the_auc():
    y, score, _, w = sample()
    a = values(evaluate(y, score, propensity=w, n_boot=20), "ips")["ROC AUC"]
    assert values(evaluate(1 - y, score, propensity=w, n_boot=20), "ips")[
        "ROC AUC"
    ] == pytest.approx(1 - a)


def test_a_replicate_is_scikit_learn_on_the_rows_drawn():
    y, score, user, propensity = sample(n=400, users=20)
    user = pd.factorize(user)[0]
    e = evaluate(y, score, groups=user, propensity=propensity, n_boot=40, seed=3, k=5)
    rng = np.random.default_rng(3)
    replicates = []
    for _ in range(40):
        rows = np.concatenate([np.flatnonzero(user == u) for u in rng.integers(20, size=20)])
        replicates.append(
            classification_by_sklearn(y[rows], score[rows], 0.5, 1 / propensity[rows])
        )
    low, high = np.percentile(pd.DataFrame(replicates), [2.5, 97.5], axis=0)
    ips = e.to_frame().loc["ips"].loc[list(replicates[0])]
    np.testing.assert_allclose(ips["low"], low, atol=EXACT)
    np.testing.assert_allclose(ips["high"], high, atol=EXACT)


def test_replicates_of_the_calibration_error_are_centred_on_the_value():
    """By hand: 400 rows without ties are ten bins of 40, which stay as they are in every replicate."""
    y, score, user, propensity = sample(n=400, users=20, ties=False)
    user = pd.factorize(user)[0]
    weights = 1 / propensity
    bin_of = np.empty(400, dtype=int)
    bin_of[np.argsort(score)] = np.repeat(np.arange(10), 40)

    def error(rows):
        gaps = [(weights * (score - y))[rows][bin_of[rows] == b].sum() for b in range(10)]
        return np.abs(gaps).sum() / weights[rows].sum()

    rng = np.random.default_rng(3)
    draws = [
        np.concatenate([np.flatnonzero(user == u) for u in rng.integers(20, size=20)])
        for _ in range(40)
    ]
    raw = np.array([error(rows) for rows in draws])
    value = error(np.arange(400))
    assert raw.mean() > 1.15 * value  # noise raises it: not centred, the percentiles lie too high
    centred = np.maximum(raw - raw.mean() + value, 0)
    e = evaluate(y, score, groups=user, propensity=propensity, n_boot=40, seed=3)
    np.testing.assert_allclose(e.draws[("ips", "calibration error")], centred, atol=EXACT)
    row = e.to_frame().loc[("ips", "calibration error")]
    expected = (value, *np.percentile(centred, [2.5, 97.5]))
    assert (row["value"], row["low"], row["high"]) == pytest.approx(expected, abs=EXACT)


def end_error(n_boot):
    """Standard error of a 2.5% or 97.5% point of ``n_boot`` normal draws, in standard deviations of
    a draw.
    """
    return np.sqrt(0.025 * 0.975 / n_boot) / stats.norm.pdf(1.96)


def test_intervals_by_user_are_wider_when_users_differ():
    rng = np.random.default_rng(0)
    rate = rng.beta(1, 2, 100)  # each user buys at a rate of his own, the score is flat
    user = np.repeat(np.arange(100), 50)
    y = (rng.random(5000) < rate[user]).astype(int)
    score = np.full(5000, 0.4)
    by_user = evaluate(y, score, groups=user, n_boot=4000).to_frame().loc[("naive", "accuracy")]
    by_row = evaluate(y, score, n_boot=4000).to_frame().loc[("naive", "accuracy")]
    of_users = np.std([y[user == u].mean() for u in range(100)]) / np.sqrt(100)
    of_rows = np.sqrt(y.mean() * (1 - y.mean()) / 5000)
    assert of_users > 2 * of_rows
    for row, error in ((by_user, of_users), (by_row, of_rows)):
        # skewness moves both ends the same way, and leaves the width
        assert (row["high"] - row["low"]) / 2 / error == pytest.approx(
            1.96, abs=4 * end_error(4000) / np.sqrt(2)
        )


def test_the_interval_of_the_log_loss_is_that_of_its_standard_error():
    """A mean over users of unequal size: its linearised standard error by hand, 1.96 times to
    either side.
    """
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(2000), rng.integers(1, 10, size=2000))
    score = rng.choice([0.2, 0.5, 0.9], size=len(user))
    # a user who buys against the odds does so on most of his rows
    y = (rng.random(2000)[user] < score).astype(int)
    loss = -np.log(np.where(y == 1, score, 1 - score))
    residuals = np.bincount(user, loss - loss.mean())
    error = np.sqrt((residuals**2).sum()) / len(user)
    # rows taken for independent would give too narrow an interval
    assert error > 1.3 * loss.std() / np.sqrt(len(user))
    row = evaluate(y, score, groups=user, n_boot=4000).to_frame().loc[("naive", "log loss")]
    assert row["value"] == pytest.approx(loss.mean(), abs=EXACT)
    skew = np.mean(residuals**3) / np.mean(residuals**2) ** 1.5 / np.sqrt(2000)
    assert (
        abs(skew) * (1.96**2 - 1) / 6 < 0.02
    )  # by how many standard errors skewness moves both ends (Cornish and Fisher)
    for end in (row["value"] - row["low"], row["high"] - row["value"]):
        assert end / error == pytest.approx(1.96, abs=0.02 + 4 * end_error(4000))


def test_inverse_propensity_weighting_recovers_what_all_rows_would_show():
    rng = np.random.default_rng(1)
    n = 60_000
    demand = rng.normal(size=n)
    propensity = 1 / (1 + np.exp(-1.5 * demand))
    propensity = np.clip(propensity, 0.05, 0.95)
    p = 1 / (1 + np.exp(2 - demand))
    y = (rng.random(n) < p).astype(int)
    # too high where demand is high, which is shown more often
    score = np.clip(p + 0.3 * (demand > 1), 0, 1)
    shown = rng.random(n) < propensity
    everything = values(evaluate(y, score, n_boot=20))
    e = evaluate(y[shown], score[shown], propensity=propensity[shown], n_boot=200)
    for metric in ("accuracy", "log loss", "ROC AUC"):
        row = e.to_frame().loc[("ips", metric)]
        slack = (row["high"] - row["low"]) / 2  # all rows are a sample too
        assert row["low"] - slack <= everything[metric] <= row["high"] + slack, metric
    naive = e.to_frame().loc[("naive", "log loss")]
    assert not naive["low"] <= everything["log loss"] <= naive["high"]


def test_effective_sample_size_and_largest_weight():
    e = evaluate([0, 1, 1], [0.2, 0.3, 0.9], propensity=[1, 1, 0.5], n_boot=20)
    assert e.effective_sample_size == pytest.approx(16 / 6)
    assert e.largest_weight == 0.5
    assert evaluate([0, 1, 1], [0.2, 0.3, 0.9], n_boot=20).effective_sample_size == 3


def test_the_same_score_everywhere():
    e = evaluate([0, 1, 0, 1], [0.3] * 4, groups=[1, 1, 2, 2], k=1, n_boot=50)
    v = values(e)
    assert v["ROC AUC"] == 0.5
    assert v["recall@1"] == 0.5
    assert np.isnan(v["precision"])  # nothing reaches 0.5
    assert v["recall"] == v["F1"] == 0
    assert v["calibration error"] == pytest.approx(0.2)
    assert "undefined" in repr(e)
    assert e.to_dict()["metrics"]["naive"]["precision"] == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_replicates_in_which_a_metric_is_undefined_are_counted():
    y = np.array([1, *[0] * 30])
    score = np.linspace(0.9, 0.1, 31)
    row = evaluate(y, score, n_boot=100).to_frame().loc[("naive", "ROC AUC")]
    rng = np.random.default_rng(0)
    drawn = [(rng.integers(31, size=31) == 0).any() for _ in range(100)]  # with probability 0.64
    assert row["replicates"] == sum(drawn)


def test_certain_and_wrong_is_dear_but_finite():
    v = values(evaluate([0, 1, 1, 0], [1.0, 1.0, 0.0, 0.0], n_boot=20))
    assert v["log loss"] == pytest.approx(metrics.log_loss([0, 1, 1, 0], [1.0, 1.0, 0.0, 0.0]))


def test_intervals_hold_their_value_and_the_seed_decides():
    y, score, user, propensity = sample()
    frame = evaluate(y, score, groups=user, propensity=propensity).to_frame()
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    pd.testing.assert_frame_equal(
        frame, evaluate(y, score, groups=user, propensity=propensity).to_frame()
    )
    assert not frame.equals(
        evaluate(y, score, groups=user, propensity=propensity, seed=1).to_frame()
    )


def test_a_networks_column_and_frames_are_taken():
    y, score, user, _ = sample()
    a = evaluate(y, score, groups=user, n_boot=20).to_frame()
    pd.testing.assert_frame_equal(a, evaluate(y, score[:, None], groups=user, n_boot=20).to_frame())
    s = pd.DataFrame({"y": y, "s": score, "u": user}, index=np.arange(len(y))[::-1])
    pd.testing.assert_frame_equal(a, evaluate(s["y"], s["s"], groups=s["u"], n_boot=20).to_frame())


def test_it_prints_as_a_table():
    y, score, user, propensity = sample()
    e = evaluate(y, score, groups=user, propensity=propensity, n_boot=20)
    assert repr(e).startswith("3,000 rows of 150 users")
    assert "NDCG@10" in repr(e)
    assert "<table" in e._repr_html_()
    assert set(e.to_dict()["metrics"]) == {"naive", "ips"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [], "score": []}, "evaluate: has no rows"),
        ({"y": [1, 1, 1, 1]}, "y: only the value 1 occurs in 4 rows"),
        ({"y": [0, 1, 2, 1]}, "y: must be 0 or 1"),
        ({"y": [0, 1, np.nan, 1]}, "column 'y' has 1 missing value"),
        ({"score": [0.1, 0.2, 0.3]}, r"one length; shapes: .*\(4,\), 'score': \(3,\)"),
        ({"score": [0.1, np.nan, 0.3, 0.4]}, "column 'score' has 1 missing value"),
        ({"score": [0.1, 0.2, 3.0, 0.4]}, "score .*: 1 value outside"),
        ({"propensity": [0.5, 0.0, 0.5, 1]}, r"propensity: 1 value outside \(0, 1\]"),
        ({"propensity": [0.5, 1.5, 0.5, 1]}, r"propensity: 1 value outside \(0, 1\]"),
        ({"propensity": [0.5, np.nan, 0.5, 1]}, "column 'propensity' has 1 missing value"),
        ({"propensity": [0.5]}, r"one length; .*'propensity': \(1,\)"),
        ({"groups": [1, 1, 1, 1]}, "groups: only one user"),
        ({"groups": [1, 2]}, r"one length; .*'groups': \(2,\)"),
        ({"groups": [1, 2, None, 1]}, "column 'groups' has 1 missing value"),
        ({"k": 2.5}, "k: a whole number of at least 1"),
        ({"groups": [1, "1", 2, 3]}, "groups: column 'groups' mixes ids of types int and str"),
        (
            {"score": pd.Series([0.1, 0.6, 0.4, 0.9], [1, 0, 2, 3]), "y": pd.Series([0, 1, 0, 1])},
            "score: has the index labels of y in another order",
        ),
        ({"k": 0}, "k: a whole number of at least 1"),
        ({"n_boot": 5}, "n_boot: a whole number of at least 20"),
        ({"threshold": 2}, r"threshold=2: a number in \[0, 1\] is needed"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(**({"y": [0, 1, 0, 1], "score": [0.1, 0.2, 0.3, 0.4]} | arguments))


def test_draws_of_two_scores_are_of_the_same_users():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 5)
    y = rng.integers(2, size=200)
    first, second = (
        evaluate(y, score, groups=users, n_boot=50, seed=3) for score in rng.random((2, 200))
    )
    assert first.draws.shape == (50, 9)
    same = evaluate(y, 1 - 0.5 * (1 - first_score(y)), groups=users, n_boot=50, seed=3)
    raised = evaluate(y, first_score(y), groups=users, n_boot=50, seed=3)
    pd.testing.assert_series_equal(
        same.draws[("naive", "ROC AUC")], raised.draws[("naive", "ROC AUC")]
    )
    assert not first.draws[("naive", "ROC AUC")].equals(second.draws[("naive", "ROC AUC")])


def first_score(y):
    """Scores that rise with ``y`` and are fixed: a monotone change of them keeps every replicate's
    AUC.
    """
    return np.clip(0.3 + 0.2 * y + 0.001 * np.arange(len(y)), 0, 1)


def test_calibration_intervals_are_of_whole_users_and_weighted():
    """By hand: two bins of unequal weights, three users of 1, 2 and 5 rows."""
    y = np.array([1, 0, 1, 0, 0, 1, 1, 0])
    score = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9])
    user = np.array([5, 9, 9, 2, 2, 2, 2, 2])
    weights = np.array([1.0, 4, 2, 3, 1, 2, 5, 1])
    code = np.array([0, 1, 1, 2, 2, 2, 2, 2])
    low_half = score < 0.45
    table = calibration_table(
        y, score, groups=user, propensity=1 / (5 * weights), bins=2, n_boot=60, seed=4
    )
    rng = np.random.default_rng(4)
    rates = []
    for _ in range(60):
        times = np.bincount(rng.integers(3, size=3), minlength=3)[code] * weights
        with np.errstate(invalid="ignore"):
            rates.append(
                [(times * y)[part].sum() / times[part].sum() for part in (low_half, ~low_half)]
            )
    low, high = np.nanquantile(rates, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(table["low"], low, rtol=1e-12)
    np.testing.assert_allclose(table["high"], high, rtol=1e-12)
    np.testing.assert_allclose(table["observed"], [3 / 10, 7 / 9], rtol=1e-12)
    np.testing.assert_allclose(
        table["predicted"], [(0.1 + 0.8 + 0.6 + 1.2) / 10, (0.5 + 1.2 + 3.5 + 0.9) / 9], rtol=1e-12
    )
    assert table["rows"].tolist() == [4, 4]
    by_row = calibration_table(y, score, propensity=1 / (5 * weights), bins=2, n_boot=60, seed=4)
    assert not by_row["low"].equals(table["low"])


def test_bins_that_ties_make_equal_are_merged():
    """Fifths of ten scores: .1, .1, .1, .14, .32 and .5; half of the scores or more are .1."""
    score = np.array([0.1] * 6 + [0.2, 0.3, 0.4, 0.5])
    y = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1, 1])
    table = calibration_table(y, score, bins=5, n_boot=20)
    assert table["rows"].tolist() == [6, 2, 2]
    np.testing.assert_allclose(table["observed"], [1 / 6, 1 / 2, 1])
    np.testing.assert_allclose(table["predicted"], [0.1, 0.25, 0.45])


def test_what_the_table_is_made_of_and_the_defaults():
    y, score, user, propensity = sample(n=500, users=30)
    e = evaluate(y, score, groups=user, propensity=propensity)
    assert (e.rows, e.positives, e.users) == (500, y.sum(), 30)
    assert e.table.index.unique("metric").tolist()[-2:] == ["recall@10", "NDCG@10"]
    assert (e.table["replicates"] == 200).all()
    assert e.draws.shape == (200, 18)
    assert evaluate(y, score, n_boot=20).users is None
    same = evaluate(
        y, score, groups=user, propensity=propensity, threshold=0.5, k=10, n_boot=200, seed=0
    )
    pd.testing.assert_frame_equal(e.draws, same.draws)
    pd.testing.assert_frame_equal(e.table, same.table)
    row = e.table.loc[("ips", "F1")]
    assert e.to_dict()["metrics"]["ips"]["F1"] == row[["value", "low", "high"]].to_dict()
    assert {k: e.to_dict()[k] for k in ("rows", "positives", "users")} == {
        "rows": 500,
        "positives": y.sum(),
        "users": 30,
    }
    table = calibration_table(y, score, groups=user)
    pd.testing.assert_frame_equal(
        table, calibration_table(y, score, groups=user, bins=10, n_boot=200, seed=0)
    )


def test_a_replicate_ranks_within_the_users_drawn():
    """By hand: the mean over the users drawn, as often as they were drawn, of those with a
    positive.
    """
    y, score, user, propensity = sample(n=200, users=12, ties=False)
    y = y * (user % 3 > 0)  # a third of the users have no positive
    user = pd.factorize(user)[0]
    e = evaluate(y, score, groups=user, propensity=propensity, n_boot=25, seed=6, k=3)
    bought = np.array([u for u in range(12) if y[user == u].any()])
    assert len(bought) < 12
    for way, weights in (("naive", np.ones(200)), ("ips", 1 / propensity)):
        own = [
            ranking_by_loop(y[user == u], score[user == u], user[user == u], weights[user == u], 3)
            for u in bought
        ]
        rng = np.random.default_rng(6)
        for replicate in range(25):
            times = np.bincount(rng.integers(12, size=12), minlength=12)[bought]
            expected = np.average(own, weights=times, axis=0)
            found = e.draws[way].loc[replicate, ["recall@3", "NDCG@3"]]
            np.testing.assert_allclose(found, expected, atol=EXACT)


def test_the_calibration_error_of_a_replicate_is_not_below_0():
    """Scores of 1/2 and a half of each outcome: no error, so that centred replicates lie on both
    sides of 0.
    """
    e = evaluate([0, 1, 0, 1], [0.5] * 4, n_boot=50)
    assert e.table.loc[("naive", "calibration error"), "value"] == 0
    assert e.draws[("naive", "calibration error")].min() == 0
