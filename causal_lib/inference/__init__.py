"""Causal inference: identify an effect or refuse, then estimate it for all rows or for each row."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
