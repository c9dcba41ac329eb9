import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from causal_lib.inference import incremental_outcomes, policy_value, uplift_scores


def _logs(n, seed, k=5):
    """Rounds with a binary context; rewards and logging depend on it. True values come from the probabilities."""
    rng = np.random.default_rng(seed)
    context = rng.integers(2, size=n)
    rates = np.array([[0.1, 0.2, 0.3, 0.15, 0.05], [0.3, 0.1, 0.2, 0.25, 0.15]])[:, :k]
    logging = np.array([[0.4, 0.2, 0.1, 0.2, 0.1], [0.1, 0.3, 0.2, 0.2, 0.2]])[:, :k]
    action = (rng.random(n)[:, None] > logging[context].cumsum(axis=1)).sum(axis=1)
    reward = (rng.random(n) < rates[context, action]).astype(int)
    frame = pd.DataFrame(
        {"context": context, "item_id": action, "click": reward, "propensity_score": logging[context, action]}
    )
    return frame, rates


TARGET = np.array([0.1, 0.1, 0.5, 0.2, 0.1])


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
def test_intervals_cover_as_announced(estimator):
    runs, covered = 60, 0
    for seed in range(runs):
        logs, rates = _logs(2000, seed)
        found = policy_value(logs, TARGET, estimator=estimator, context=["context"])
        covered += found.low <= (rates @ TARGET).mean() <= found.high
    assert covered >= binom.ppf(1e-4, runs, 0.95)


def test_formulas_by_hand():
    logs = pd.DataFrame({"item_id": [0, 1] * 200, "click": [1, 0, 1, 1] * 100, "propensity_score": [0.5, 0.25] * 200})
    policy = np.array([0.4, 0.6])
    w = np.array([0.8, 2.4] * 200)
    r = logs["click"].to_numpy()
    assert policy_value(logs, policy, estimator="ips").value == pytest.approx((w * r).mean())
    assert policy_value(logs, policy, estimator="snips").value == pytest.approx((w * r).sum() / w.sum())
    assert policy_value(logs, policy).effective_sample_size == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_the_logging_policy_values_at_its_own_mean():
    logs, _ = _logs(1000, 0)
    own = np.array([[0.4, 0.2, 0.1, 0.2, 0.1], [0.1, 0.3, 0.2, 0.2, 0.2]])[logs["context"]]
    for estimator in ("ips", "snips"):
        assert policy_value(logs, own, estimator=estimator).value == pytest.approx(logs["click"].mean())


def test_doubly_robust_is_narrower_where_the_context_tells():
    logs, _ = _logs(5000, 1)
    ips, dr = (policy_value(logs, TARGET, estimator=e, context=["context"]) for e in ("ips", "dr"))
    assert dr.high - dr.low < ips.high - ips.low


def test_hopeless_logs_give_no_value():
    logs, _ = _logs(1000, 2)
    logs.loc[0, "propensity_score"] = 1e-6
    found = policy_value(logs, TARGET)
    assert found.value is None
    assert found.low is None
    assert found.effective_sample_size < 2
    assert "no value, the logs cannot tell: effective sample size 1 is below 100" in repr(found)
    logs.loc[0, "propensity_score"] = 1e-3
    found = policy_value(logs[["item_id", "click", "propensity_score"]].loc[:150], TARGET, estimator="ips")
    assert found.value is None


def _broken(**columns):
    return _logs(50, 0)[0].assign(**columns)


@pytest.mark.parametrize(
    ("logs", "policy", "arguments", "message"),
    [
        (_broken(propensity_score=0.0), TARGET, {}, r"'propensity_score': 50 values outside \(0, 1\], first 0"),
        (_broken(propensity_score=1.5), TARGET, {}, r"50 values outside \(0, 1\], first 1.5"),
        (_broken(item_id=5), TARGET, {}, r"action column 'item_id': 50 values outside \[0, 4\], first 5"),
        (_broken(click=np.nan), TARGET, {}, "column 'click' holds only missing values"),
        (_broken(), TARGET * 2, {}, "do not sum to 1|outside"),
        (_broken(), np.array([0.3, 0.3, 0.3, 0.0, 0.0]), {}, "1 rows do not sum to 1, first 0.9"),
        (_broken(), np.tile(TARGET, (3, 1)), {}, "policy has 3 rows for 50 rounds"),
        (_broken(item_id=1), np.array([1.0, 0, 0, 0, 0]), {}, "every logged action probability 0"),
        (_broken(), TARGET, {"estimator": "magic"}, "unknown estimator 'magic'; known: ips, snips, dr"),
        (_broken(), TARGET, {"reward": "buy"}, "no column 'buy'"),
    ],
)
def test_bad_input(logs, policy, arguments, message):
    with pytest.raises(ValueError, match=message):
        policy_value(logs, policy, **arguments)


def test_uplift_scores_rank_the_effect_not_the_outcome():
    rng = np.random.default_rng(0)
    n = 6000
    need, loyal = rng.normal(size=(2, n))
    t = rng.integers(2, size=n)
    y = 2 * loyal + need * t + rng.normal(size=n)
    frame = pd.DataFrame({"need": need, "loyal": loyal, "t": t, "y": y})
    score = uplift_scores(frame[:4000], frame[4000:], "t", "y", ["need", "loyal"])
    assert np.corrcoef(score, need[4000:])[0, 1] > 0.8
    assert abs(np.corrcoef(score, loyal[4000:])[0, 1]) < 0.3


def test_incremental_outcomes_by_hand():
    score, uplift, users = np.array([3, 1, 2, 0]), np.array([0.3, 0.1, 0.2, 0.0]), np.array([1, 1, 2, 2])
    value, low, high = incremental_outcomes(score, uplift, users, share=0.5)
    assert value == pytest.approx(250)
    assert 200 <= low <= value <= high <= 300
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        incremental_outcomes(score, uplift, users, share=0)
