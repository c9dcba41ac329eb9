"""Metrics of predictions and rankings: naive and weighted, with intervals."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
