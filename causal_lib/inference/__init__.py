"""Causal inference: `identify` or refuse, then estimate an `effect` with an interval, for all or for each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
