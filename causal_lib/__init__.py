"""Causal discovery and causal inference in recommender systems, as a thin library under the notebooks."""

from causal_lib import _generated, _triton

_triton.make_loadable()
_generated.remove_at_exit()
