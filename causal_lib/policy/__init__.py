"""Logs and a policy in, its value with an interval out; and policies learnt from logs."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
