"""Causal discovery: `discover` turns a frame or its `Statistics` into a `CausalGraph` by any of the
`METHODS`.

`audit` says beforehand what stands in its way, `edge_stability` how often an edge comes back,
`compare_graphs` how far a graph is from the truth.
"""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
