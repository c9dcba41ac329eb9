"""Causal discovery: `discover` turns a frame or its `Statistics` into a `CausalGraph` by any of the `METHODS`.

`audit` says beforehand what stands in its way, `edge_stability` how often an edge comes back, `compare_graphs` how far a
graph is from the truth.
"""

from causal_lib.discovery.audit import audit
from causal_lib.discovery.discover import discover
from causal_lib.discovery.distances import compare_graphs, edge_status, shd
from causal_lib.discovery.engines import METHODS
from causal_lib.discovery.lagged import lagged
from causal_lib.discovery.order_search import order_search
from causal_lib.discovery.score import bic
from causal_lib.discovery.sortability import r2_sortability, sort_and_regress, varsortability
from causal_lib.discovery.stability import calibration, calibration_error, edge_stability
from causal_lib.discovery.statistics import Statistics

__all__ = [
    "METHODS",
    "Statistics",
    "audit",
    "bic",
    "calibration",
    "calibration_error",
    "compare_graphs",
    "discover",
    "edge_stability",
    "edge_status",
    "lagged",
    "order_search",
    "r2_sortability",
    "shd",
    "sort_and_regress",
    "varsortability",
]
