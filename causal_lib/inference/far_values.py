"""Codes for missing and far values among numbers that are no covariates: outcomes, doses, rewards.

Among covariates they are levels of their own, see `covariates.Covariates`.
"""

import warnings

import numpy as np

from causal_lib.columns import far_from_others
from causal_lib.reasons import Reason

ROLES = ("outcome", "treatment", "reward")


def warn_of_far(values: np.ndarray, column, role: str) -> None:
    """A warning for each of `far_among`."""
    for reason in far_among(values, column, role):
        warnings.warn(str(reason), stacklevel=3)


def far_among(values: np.ndarray, column, role: str) -> list[Reason]:
    """Codes for missing and far values among the numbers (n,) of ``column``, which has one of
    `ROLES`: they decide its mean and its slopes.
    """
    what = Reason(f"the_{role}")
    return [
        Reason("far_among", what=what, column=column, value=value, rows=rows)
        for value, rows in far_from_others(values, of_outcome=True)
    ]
