"""Former names of modules: importing one gives the module of today, with a deprecation warning."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

MODULES = {
    "causal_lib.data.simulate": "causal_lib.worlds.random_models",
    "causal_lib.data.worlds": "causal_lib.worlds.online_shop",
    "causal_lib.explain": "causal_lib.explanation",
    "causal_lib.ranking": "causal_lib.evaluation.rankings",
}
_POLICY = ("learn_policy", "policy_value", "policy_values", "slate_value")
NAMES = {"causal_lib.inference": dict.fromkeys(_POLICY, "causal_lib.policy")}


def warn(former: str, now: str) -> None:
    """Say where ``former`` is now."""
    warnings.warn(f"{former} is now {now}", DeprecationWarning, stacklevel=3)


class _Former(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in MODULES else None

    def create_module(self, spec):
        warn(spec.name, MODULES[spec.name])
        module = importlib.import_module(MODULES[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        """The module is there already; it keeps the spec of its own name."""
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Look for former names where every other finder has found nothing."""
    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.append(_Former())
