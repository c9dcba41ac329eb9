import numpy as np
import pandas as pd
import pytest

from causal_lib.inference import incremental_outcomes, uplift_scores


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
