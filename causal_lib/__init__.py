"""Causal discovery and causal inference in recommender systems, as a thin library under the notebooks."""
