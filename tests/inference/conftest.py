"""What the tests of several estimators share."""

import numpy as np
import pytest
from scipy.stats import chi2

DRAWS = 1000
_MISSED = 2e-4  # chance that right standard errors are called wrong, on either side


def check_pivot(z):
    """Fail unless the distances ``z`` = (estimate - truth) / standard error of independent draws are standard normal.

    The mean may be 4 of its standard errors from 0. The standard deviation must lie between two quantiles of its sampling
    distribution, which are so close together that errors 15% too small cannot pass where right ones do.
    """
    z = np.asarray(z, dtype=float)
    low, high = np.sqrt(chi2.ppf([_MISSED, 1 - _MISSED], len(z) - 1) / (len(z) - 1))
    assert low / 0.85 > high, f"{len(z)} draws are too few to tell an error that is 15% too small"
    assert abs(z.mean()) < 4 / np.sqrt(len(z)), f"mean distance {z.mean():.3f}: the estimates are biased"
    assert low < z.std(ddof=1) < high, f"distances have the deviation {z.std(ddof=1):.3f}: the errors are wrong"


@pytest.fixture(name="check_pivot", scope="session")
def _check_pivot():
    return check_pivot


@pytest.fixture(scope="session")
def draws():
    """How many draws `check_pivot` needs."""
    return DRAWS
