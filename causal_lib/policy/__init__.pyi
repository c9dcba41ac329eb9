from .capped import CappedRule
from .learning import Policy, learn_policy
from .value import PolicyValue, policy_value, policy_values, slate_value

__all__ = [
    "CappedRule",
    "Policy",
    "PolicyValue",
    "learn_policy",
    "policy_value",
    "policy_values",
    "slate_value",
]
