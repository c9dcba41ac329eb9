"""Causal inference: `identify` or refuse, then estimate an `effect` with an interval, for all or for each."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
