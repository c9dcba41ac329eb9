"""What runs, checks and writes the notebooks: runner, notebook files, results, generated pages."""

from causal_lib import extras

__getattr__, __dir__, __all__ = extras.attach(__name__, __file__)
