"""Logs and a policy in, its value with an interval out; and policies learnt from logs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
