"""Packages that only a part of the library needs: which extra of the distribution brings them, and
the error that names it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import lazy_loader

from causal_lib import _former

EXTRAS = {
    "networks": ("tensorflow", "torch", "torch_geometric", "safetensors", "lightgbm"),
    "uplift": ("causalml",),
    "language": ("transformers", "accelerate", "gguf"),
    "duckdb": ("duckdb",),
    "tutorials": (
        "bs4",
        "docutils",
        "furo",
        "latex2mathml",
        "myst_nb",
        "nbconvert",
        "nbformat",
        "papermill",
        "pydot",
        "pymysql",
        "sphinx",
        "sympy",
    ),
}
"""Extra -> the packages that it brings, by the names under which they are imported; 'tutorials'
brings all but 'language' and 'duckdb'.
"""


@contextmanager
def naming_extra() -> Iterator[None]:
    """Within it, a package that is not installed is an error that says by which extra it comes."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        if extra is None:
            raise
        message = f"{package} is not installed: pip install 'causal-lib[{extra}]' brings it"
        raise ModuleNotFoundError(message, name=error.name, path=error.path) from error


def attach(
    package: str, file: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names, listed in its stub,
    are loaded at their first use.
    """
    load, list_names, names = lazy_loader.attach_stub(package, file)

    def load_or_name_extra(name):
        if moved := _former.NAMES.get(package, {}).get(name):
            _former.warn(f"{package}.{name}", f"{moved}.{name}")
            return getattr(import_module(moved), name)
        with naming_extra():
            return load(name)

    return load_or_name_extra, list_names, names
