from .dnn import (
    build_embedding_model,
    build_image_model,
    build_model,
    build_sequence_model,
    embed,
    predict,
    train_model,
)
from .gnn import EdgePredictor, convert_to_graph, node_numbers, predict_edges, train_gnn
from .interactions import Interactions, clicks_of, hold_out
from .propensity import by_features, by_popularity, by_value, calibration, effective_sample_size
from .recommender import RECOMMENDERS, train_recommender

__all__ = [
    "RECOMMENDERS",
    "EdgePredictor",
    "Interactions",
    "build_embedding_model",
    "build_image_model",
    "build_model",
    "build_sequence_model",
    "by_features",
    "by_popularity",
    "by_value",
    "calibration",
    "clicks_of",
    "convert_to_graph",
    "effective_sample_size",
    "embed",
    "hold_out",
    "node_numbers",
    "predict",
    "predict_edges",
    "train_gnn",
    "train_model",
    "train_recommender",
]
