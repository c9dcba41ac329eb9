"""Where things live. The only module that knows the layout of the repository."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("CAUSAL_LIB_ROOT") or Path(__file__).resolve().parents[1])
"""The repository (or the folder named by the environment variable ``CAUSAL_LIB_ROOT``)."""

NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
RAW = DATA / "raw"
CACHE = DATA / "cache"
RUNS = ROOT / "reports" / "runs"


def reports() -> Path:
    """Folder that results and figures are written to: ``CAUSAL_LIB_REPORTS`` or ``reports/``.

    The runner points the variable at a run's own folder, so that a run with changed parameters
    leaves the committed results alone.
    """
    return Path(os.environ.get("CAUSAL_LIB_REPORTS") or ROOT / "reports")
