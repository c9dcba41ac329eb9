"""The article's networks, dense (TensorFlow) and graph (PyTorch Geometric); recommenders, plain and debiased, on one trainer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
