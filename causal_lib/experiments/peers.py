"""Code in another process or by another interpreter: the one way in which experiments run it.

`run` calls a function in a fresh process, by our interpreter or by that of a peer's environment
(`make peers`). `forked` calls one in a process that is forked from another in which imports are
done already.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths

PROGRAMS = Path(__file__).with_name("programs")
PEERS = paths.ROOT / ".peers" / "bin" / "python"
LENSKIT = paths.ROOT / ".peers" / "lenskit" / "bin" / "python"
NO_ENVIRONMENT = "no environment of peers; build it with `make peers`"


class PeerError(RuntimeError):
    """A call in another process gave no result; ``reason`` says why in one line."""

    def __init__(self, message: str, reason: str | None = None):
        super().__init__(message)
        self.reason = reason or message


def run(
    function: str,
    arguments: Mapping[str, object] | None = None,
    *,
    python: str | Path | None = None,
    folder: str | Path | None = None,
    limit: float | None = None,
    environment: Mapping[str, str] | None = None,
    show_progress: bool = False,
) -> object:
    """What ``function`` returns, called in a process of its own on one thread; arguments and result
    are JSON types.

    Parameters
    ----------
    function : MODULE.FUNCTION; the module lies in ``experiments/programs`` or can be imported.
    arguments : its keywords.
    python : another interpreter, which has no causal_lib; ours by default.
    folder : where it runs; the current folder by default.
    limit : seconds after which it is ended.
    environment : variables of the environment, on top of ours.
    show_progress : whether what it writes to stderr is shown; otherwise an error quotes it.

    Raises
    ------
    PeerError
        if the interpreter does not exist, the process fails, or it takes longer than ``limit``.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    if python is None:
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(paths.ROOT), environment.get("PYTHONPATH", "")]
        )
    elif not Path(python).exists():
        raise PeerError(NO_ENVIRONMENT)
    command = [
        python or sys.executable,
        PROGRAMS / "call.py",
        function,
        json.dumps(arguments or {}),
    ]
    stderr = None if show_progress else subprocess.PIPE
    how = {
        "stdout": subprocess.PIPE,
        "stderr": stderr,
        "text": True,
        "cwd": folder,
        "env": environment,
    }
    try:
        child = subprocess.run(command, timeout=limit, check=False, **how)
    except subprocess.TimeoutExpired:
        raise PeerError(f"had not ended after {limit:.0f} seconds") from None
    if child.returncode:
        message = f"{function} ended with status {child.returncode}"
        said = (child.stderr or "").strip()
        reason = (said or message).splitlines()[-1].replace(str(paths.ROOT), ".")
        raise PeerError(f"{message}:\n{said[-2000:]}", reason)
    return json.loads(child.stdout.splitlines()[-1])


def measure(
    function: str, sizes: Mapping[str, object], *, folder: str | Path | None = None
) -> dict:
    """`programs.measuring.measure` in a fresh process: seconds, CPU seconds and peak memory of what
    ``function`` returns.
    """
    return run("measuring.measure", {"function": function, "sizes": dict(sizes)}, folder=folder)


@contextmanager
def folder_with(**data: pd.DataFrame | np.ndarray) -> Iterator[Path]:
    """A temporary folder that holds each frame as ``NAME.csv`` and each array as ``NAME.npy``."""
    with tempfile.TemporaryDirectory() as folder:
        for name, values in data.items():
            if isinstance(values, pd.DataFrame):
                values.to_csv(Path(folder) / f"{name}.csv", index=False)
            else:
                np.save(Path(folder) / f"{name}.npy", values)
        yield Path(folder)


def forked(job: Callable, *arguments: object, imports: Sequence[str] | None = None) -> object:
    """What ``job(*arguments)`` returns in a process of its own.

    It is forked from a process that has done ``imports`` and nothing else; where they are None,
    from this one.
    """
    context = multiprocessing.get_context("fork" if imports is None else "forkserver")
    if imports is not None:
        context.set_forkserver_preload(list(imports))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(job, *arguments).result()
