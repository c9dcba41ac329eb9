"""Causal discovery and causal inference in recommender systems, as a thin library under the
notebooks.

Its verbs are loaded when they are first used, so that ``import causal_lib`` is quick.
"""

from causal_lib import _former, _generated, _triton, extras

_former.install()
_triton.make_loadable()
_generated.remove_at_exit()

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
