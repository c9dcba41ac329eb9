"""Makes Triton's compiled module loadable in a process that has loaded TensorFlow.

Both link their own LLVM. TensorFlow 2.20 and later put theirs among the global symbols of the
process (tensorflow issue 124205). Triton 3.7, which pip installs beside torch on Linux, then binds
to TensorFlow's copy, and the process dies with a segmentation fault. torch imports Triton by
itself, as late as in its first optimiser.
"""

import os
import sys
from importlib.machinery import ExtensionFileLoader, PathFinder

_MODULE = "triton._C.libtriton"


class _OwnSymbolsFirst(ExtensionFileLoader):
    """Loads an extension module that looks a symbol up in its own library before it looks among the
    global ones.
    """

    def create_module(self, spec):
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
        try:
            return super().create_module(spec)
        finally:
            sys.setdlopenflags(flags)


class _TritonFinder:
    """An entry of ``sys.meta_path``; a base class of importlib.abc would take most of the time of
    ``import causal_lib``.
    """

    def find_spec(self, fullname, path=None, target=None):
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _MODULE else None
        if spec is not None:
            spec.loader = _OwnSymbolsFirst(fullname, spec.origin)
        return spec


def make_loadable() -> None:
    """From now on, import Triton in this process so that TensorFlow may come before or after it;
    import nothing yet.
    """
    # Linux with glibc has the flag. Elsewhere pip installs no Triton.
    if hasattr(os, "RTLD_DEEPBIND") and not any(
        isinstance(finder, _TritonFinder) for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _TritonFinder())
