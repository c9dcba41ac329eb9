"""The article's networks, dense (TensorFlow) and graph (PyTorch Geometric); recommenders, plain and debiased, on one trainer."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
