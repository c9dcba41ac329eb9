from .predictions import calibration_table, evaluate
from .rankings import compare, evaluate_ranking, top_items

__all__ = [
    "calibration_table",
    "compare",
    "evaluate",
    "evaluate_ranking",
    "top_items",
]
