"""The fixtures of the tests of the discoverer: weights of a tiny recipe, and the examples that they
were trained on.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PATH = Path(__file__).parents[2] / "discovery" / "engines" / "pretrained" / "conftest.py"
_spec = spec_from_file_location("fixtures_of_the_discoverer", _PATH)
_module = module_from_spec(_spec)
_spec.loader.exec_module(_module)

kept = _module.kept
trained = _module.trained
tiny = _module.tiny
mixed = _module.mixed
rng = _module.rng
