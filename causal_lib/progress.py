"""The progress bars of long work, and the switches that hide them.

A bar appears only after some seconds, so whether a call writes one depends on how busy the machine
is. Where a call must write nothing (tests, logs, executed notebooks), hide its bars:
``progress=False`` where the function has that argument, or ``TQDM_DISABLE=1`` in the environment,
tqdm's own switch, for all of them.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm

_hidden = ContextVar("hidden", default=False)


def progress_bar(
    iterable: Iterable | None = None, *, show: bool = True, delay: float = 2.0, **options
) -> tqdm:
    """A bar of tqdm: on stderr, or a widget in a notebook.

    It is hidden where ``show`` is false, inside `without_bars`, and where the environment sets
    TQDM_DISABLE to anything but 0 when the bar is made. Bars of ``tqdm.auto`` in notebooks do not
    heed TQDM_DISABLE by themselves, these do.

    Parameters
    ----------
    iterable : what is counted; None for a bar that is moved by its ``update``.
    show : whether a bar is shown.
    delay : seconds before the bar appears.
    options : tqdm's (desc, total, unit, ...).
    """
    hidden = not show or _hidden.get() or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(iterable, delay=delay, disable=hidden, **options)


@contextmanager
def without_bars(hide: bool = True) -> Iterator[None]:
    """With ``hide``, no bar of the library is shown inside: for many calls under one bar, and for a
    caller who wants none.
    """
    token = _hidden.set(hide or _hidden.get())
    try:
        yield
    finally:
        _hidden.reset(token)
