from . import (
    data,
    discovery,
    evaluation,
    explanation,
    features,
    inference,
    models,
    plots,
    policy,
    studies,
    tooling,
    worlds,
)
from .data.preprocess import preprocess_data
from .data.sources import load
from .discovery.auditing import audit
from .discovery.search import discover
from .evaluation.predictions import evaluate
from .evaluation.rankings import evaluate_ranking
from .explanation import explain
from .features import select_features
from .graph import CausalGraph
from .inference.effects import Effect, effect
from .inference.identification import Estimand, NotIdentifiableError, identify
from .inference.nuisances import NoOverlapError
from .inference.uplift import UpliftModel
from .knowledge import Knowledge
from .metric import Metric
from .models.dnn import build_model, train_model
from .models.gnn import convert_to_graph
from .models.recommender import train_recommender
from .policy.learning import learn_policy
from .policy.value import policy_value
from .studies.run import study

__all__ = [
    "CausalGraph",
    "Effect",
    "Estimand",
    "Knowledge",
    "Metric",
    "NoOverlapError",
    "NotIdentifiableError",
    "UpliftModel",
    "audit",
    "build_model",
    "convert_to_graph",
    "data",
    "discover",
    "discovery",
    "effect",
    "evaluate",
    "evaluate_ranking",
    "evaluation",
    "explain",
    "explanation",
    "features",
    "identify",
    "inference",
    "learn_policy",
    "load",
    "models",
    "plots",
    "policy",
    "policy_value",
    "preprocess_data",
    "select_features",
    "studies",
    "study",
    "tooling",
    "train_model",
    "train_recommender",
    "worlds",
]
