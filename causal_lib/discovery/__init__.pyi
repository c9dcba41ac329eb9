from .auditing import audit
from .bootstrap import edge_stability
from .distances import compare_graphs, directed_f1, edge_status, shd
from .engines.order_search import order_search
from .engines.pretrained.discoverer import EdgeProbabilities, edge_probabilities
from .methods import METHODS
from .score import bic
from .search import discover
from .sortability import r2_sortability, sort_and_regress, varsortability
from .stability import Stability, calibration, calibration_error, reliability_table
from .statistics import Statistics
from .time_series import lagged

__all__ = [
    "METHODS",
    "EdgeProbabilities",
    "Stability",
    "Statistics",
    "audit",
    "bic",
    "calibration",
    "calibration_error",
    "compare_graphs",
    "directed_f1",
    "discover",
    "edge_probabilities",
    "edge_stability",
    "edge_status",
    "lagged",
    "order_search",
    "r2_sortability",
    "reliability_table",
    "shd",
    "sort_and_regress",
    "varsortability",
]
