"""Compiling by numba, with a cache on disk where one can be written."""

from collections.abc import Callable

import numba


def njit(**options: bool) -> Callable[[Callable], Callable]:
    """``numba.njit(**options)`` whose machine code is kept on disk, beside the source file or in
    the user's cache folder.

    Where neither can be written (a read-only installation and no home, as in some containers),
    ``numba.njit(cache=True)`` fails at import. There the function compiles anew in each process
    instead.

    >>> @njit()
    ... def double(x):
    ...     return 2 * x
    >>> double(3)
    6
    """

    def compiled(function):
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return numba.njit(**options)(function)

    return compiled
