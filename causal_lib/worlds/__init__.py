"""What is simulated, with its truth: a function for each world, and random models and tables."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
