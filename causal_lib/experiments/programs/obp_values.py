"""Values of a policy by the estimators of the package obp (Open Bandit Pipeline)."""

import importlib
import sys
import types
from pathlib import Path


def policy_values(package_folder: str, estimators: dict[str, list]) -> dict[str, float]:
    """Name -> value, for each name -> (class of obp, its settings); the folder holds the arguments
    as ``NAME.npy``.
    """
    import numpy as np

    obp = _estimators(Path(package_folder))
    arguments = {path.stem: np.load(path) for path in Path().glob("*.npy")}
    return {
        name: float(getattr(obp, kind)(**settings).estimate_policy_value(**arguments))
        for name, (kind, settings) in estimators.items()
    }


def _estimators(folder):
    """obp's estimators alone: its own __init__ imports packages that nothing here needs."""
    sys.path.insert(0, str(folder))
    for name in ("obp", "obp.ope"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return importlib.import_module("obp.ope.estimators")
