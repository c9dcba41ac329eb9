"""The regression and the supervised numbers that `inference.multimodal` adjusts for."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from causal_lib.experiments.inference.multimodal import standardised, supervised
from causal_lib.inference.effects import effect


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(3)
    z = rng.standard_normal((300, 2))
    exposed = (rng.random(300) < 1 / (1 + np.exp(-z[:, 0]))).astype(int)
    purchased = (rng.random(300) < 0.3 + 0.2 * exposed + 0.1 * (z[:, 0] > 0)).astype(int)
    frame = pd.DataFrame({"exposed": exposed, "purchased": purchased})
    return frame, pd.DataFrame(z, columns=["a", "b"])


def test_the_regression_is_that_of_effect(log):
    frame, z = log
    found = effect(
        frame.join(z), "exposed", "purchased", adjustment=["a", "b"], estimator="regression"
    )
    assert standardised(frame, z) == pytest.approx(found.value, abs=1e-10)


def test_without_columns_it_is_the_difference_of_means(log):
    frame, _ = log
    by_arm = frame.groupby("exposed")["purchased"].mean()
    assert standardised(frame, frame[[]]) == pytest.approx(by_arm[1] - by_arm[0], abs=1e-12)


def test_a_row_has_no_part_in_its_own_supervised_numbers(log):
    frame, _ = log
    words = csr_matrix(np.eye(len(frame)))  # each text has a word of its own: nothing to be learnt
    found = supervised(words, frame)
    # the intercept of the other folds alone: one value for each of the five
    assert found.round(6).nunique().max() <= 5
