from . import notebooks, readme, results, runner
from .results import Prediction

__all__ = [
    "Prediction",
    "notebooks",
    "readme",
    "results",
    "runner",
]
