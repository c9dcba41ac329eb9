from .adjustment import (
    find_instrument,
    is_adjustment_set,
    minimal_adjustment_sets,
    optimal_adjustment_set,
    why_no_adjustment_set,
)
from .bayes_net import CausalNetwork
from .change import ChangeAttribution, attribute_change
from .counterfactuals import probabilities_of_causation
from .covariates import design
from .dose import dose_response
from .effects import Effect, Support, effect
from .equivalence import ClassEstimand, identify_class, members
from .estimators import ESTIMATORS
from .identification import Estimand, NotIdentifiableError, identify
from .learners import causalml_part
from .models import fit
from .nuisances import NoOverlapError, dr_scores, standard_error
from .pags import identify_by_adjustment, mags, why_no_common_adjustment_set
from .panel import (
    PanelEffect,
    difference_in_differences,
    interrupted_time_series,
    synthetic_control,
    synthetic_difference_in_differences,
)
from .ranges import EffectRange, best_treatments, effect_range
from .robustness import Sensitivity, e_value, refute, sensitivity
from .uplift import UpliftModel, incremental_outcomes

__all__ = [
    "ESTIMATORS",
    "CausalNetwork",
    "ChangeAttribution",
    "ClassEstimand",
    "Effect",
    "EffectRange",
    "Estimand",
    "NoOverlapError",
    "NotIdentifiableError",
    "PanelEffect",
    "Sensitivity",
    "Support",
    "UpliftModel",
    "attribute_change",
    "best_treatments",
    "causalml_part",
    "design",
    "difference_in_differences",
    "dose_response",
    "dr_scores",
    "e_value",
    "effect",
    "effect_range",
    "find_instrument",
    "fit",
    "identify",
    "identify_by_adjustment",
    "identify_class",
    "incremental_outcomes",
    "interrupted_time_series",
    "is_adjustment_set",
    "mags",
    "members",
    "minimal_adjustment_sets",
    "optimal_adjustment_set",
    "probabilities_of_causation",
    "refute",
    "sensitivity",
    "standard_error",
    "synthetic_control",
    "synthetic_difference_in_differences",
    "why_no_adjustment_set",
    "why_no_common_adjustment_set",
]
