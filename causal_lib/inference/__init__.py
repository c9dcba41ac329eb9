"""Causal inference: identify an effect or refuse, then estimate it for all rows or for each row."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
