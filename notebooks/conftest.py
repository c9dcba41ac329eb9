"""For `pytest --nbval-lax notebooks`: kernels in the environment of the runner's, started again when they lost a race for a port."""

import os

import nbval.kernel

from causal_lib.tooling.runner import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # kernels inherit it


def _patiently(start, tries=3):
    def start_new_kernel(*arguments, **options):
        for left in reversed(range(tries)):
            try:
                return start(*arguments, **options)
            except (
                RuntimeError
            ):  # it died, or another kernel answers at its port; nothing has run yet
                if not left:
                    raise

    return start_new_kernel


nbval.kernel.start_new_kernel = _patiently(nbval.kernel.start_new_kernel)
