"""Removes the source files that torch_geometric leaves in the temporary folder.

Each of its layers, when a process first uses it, writes a generated module there and loads it
(``module_from_template``). The file stays, one for every layer and process. TensorFlow, which does
the same, removes its files at exit; so do we here.
"""

import atexit
import contextlib
import os
import sys


def remove_at_exit() -> None:
    """Have the files of this process removed when it ends."""
    atexit.unregister(_remove)
    atexit.register(_remove)


def _remove():
    names = [name for name in sys.modules if name.endswith(("_propagate", "_edge_updater"))]
    if not names:
        return
    import tempfile

    places = tempfile.gettempdir(), os.path.join(tempfile.gettempdir(), "__pycache__")
    for name in names:
        module = sys.modules[name]
        for path in filter(
            None, (getattr(module, "__file__", None), getattr(module, "__cached__", None))
        ):
            if os.path.dirname(path) in places and os.path.basename(path).startswith(f"{name}_"):
                with contextlib.suppress(OSError):  # it is gone, or was never written
                    os.unlink(path)
