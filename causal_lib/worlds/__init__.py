"""What is simulated, with its truth: a function for each world, and random models and tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
