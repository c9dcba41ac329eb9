"""Causal inference: `identify` or refuse, estimate an `effect` with an honest interval, value a policy from logs."""

from causal_lib.inference.effects import ESTIMATORS, Effect, NoOverlapError, effect
from causal_lib.inference.identification import Estimand, NotIdentifiableError, identify
from causal_lib.inference.policies import PolicyValue, incremental_outcomes, policy_value, uplift_scores

__all__ = [
    "ESTIMATORS",
    "Effect",
    "Estimand",
    "NoOverlapError",
    "NotIdentifiableError",
    "PolicyValue",
    "effect",
    "identify",
    "incremental_outcomes",
    "policy_value",
    "uplift_scores",
]
