"""What comes in: columns and their roles, real sources, the SQL store, preprocessing."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
