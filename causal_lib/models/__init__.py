"""The article's networks (TensorFlow, PyTorch Geometric), and recommenders, plain and debiased."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
