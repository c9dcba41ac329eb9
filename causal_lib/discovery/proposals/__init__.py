"""Causal knowledge proposed by a language model, pair by pair, and what the data say to it; it is
never `Knowledge`.

`propose` asks "does V1 directly cause V2, V2 V1, or neither" of every pair of variables, in both
orders, and refuses an answer that is not exactly what was asked for. `Proposals.score` sets the
proposals beside bootstrap frequencies or a graph; `Proposals.as_prior` lets them vote, softly, on
directions. A model has read papers, not the data: treat it as hearsay.
"""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
