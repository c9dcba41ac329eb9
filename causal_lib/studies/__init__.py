"""`study`: from a log and the roles of its columns to an effect, a rule and one report."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
