"""papermill in a process that ends with the runner, and takes its kernel with it.

``python -P notebook_process.py ARGUMENTS`` is ``papermill ARGUMENTS`` whose standard input is a
pipe from the runner. Nothing is ever written to it: it ends when the runner does, however that
ends, and then this process kills what it started and itself. A kernel has a session of its own, so
the signal that ends the runner does not reach it.
"""

import contextlib
import os
import threading

import psutil
from papermill.cli import papermill


def _end_with_the_runner():
    # not through sys.stdin, whose lock a thread that waits would keep when Python ends
    while os.read(0, 1):
        pass
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
            process.kill()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    papermill()
