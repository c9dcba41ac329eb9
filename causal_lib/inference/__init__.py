"""Causal inference: `identify` or refuse, estimate an `effect` with an honest interval, value a policy from logs."""

from causal_lib.inference.adjustment import (
    find_instrument,
    is_adjustment_set,
    minimal_adjustment_sets,
    optimal_adjustment_set,
    why_no_adjustment_set,
)
from causal_lib.inference.causation import probabilities_of_causation
from causal_lib.inference.classes import ClassEstimand, identify_class, members
from causal_lib.inference.dose import dose_response
from causal_lib.inference.effects import ESTIMATORS, Effect, effect
from causal_lib.inference.estimators import NoOverlapError
from causal_lib.inference.identification import Estimand, NotIdentifiableError, identify
from causal_lib.inference.networks import CausalNetwork
from causal_lib.inference.off_policy import PolicyValue, policy_value, policy_values, slate_value
from causal_lib.inference.pags import identify_by_adjustment, mags, why_no_common_adjustment_set
from causal_lib.inference.panel import (
    PanelEffect,
    difference_in_differences,
    interrupted_time_series,
    synthetic_control,
)
from causal_lib.inference.policy_learning import Policy, learn_policy
from causal_lib.inference.ranges import EffectRange, best_treatments, effect_range
from causal_lib.inference.sensitivity import Sensitivity, e_value, refute, sensitivity
from causal_lib.inference.uplift import UpliftModel, incremental_outcomes

__all__ = [
    "ESTIMATORS",
    "CausalNetwork",
    "ClassEstimand",
    "Effect",
    "EffectRange",
    "Estimand",
    "NoOverlapError",
    "NotIdentifiableError",
    "PanelEffect",
    "Policy",
    "PolicyValue",
    "Sensitivity",
    "UpliftModel",
    "best_treatments",
    "difference_in_differences",
    "dose_response",
    "e_value",
    "effect",
    "effect_range",
    "find_instrument",
    "identify",
    "identify_by_adjustment",
    "identify_class",
    "incremental_outcomes",
    "interrupted_time_series",
    "is_adjustment_set",
    "learn_policy",
    "mags",
    "members",
    "minimal_adjustment_sets",
    "optimal_adjustment_set",
    "policy_value",
    "policy_values",
    "probabilities_of_causation",
    "refute",
    "sensitivity",
    "slate_value",
    "synthetic_control",
    "why_no_adjustment_set",
    "why_no_common_adjustment_set",
]
