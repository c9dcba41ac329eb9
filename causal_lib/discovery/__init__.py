"""Causal discovery: `discover` turns a frame into a `CausalGraph`; `compare_graphs` says how far two graphs are apart."""

from causal_lib.discovery.discover import METHODS, discover
from causal_lib.discovery.distances import compare_graphs, edge_status, shd

__all__ = ["METHODS", "compare_graphs", "discover", "edge_status", "shd"]
