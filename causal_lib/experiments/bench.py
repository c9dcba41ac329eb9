"""Benchmarks by name: speed, memory and accuracy of the library beside its peers; never part of the
results.

A benchmark is a function that `benchmark` registers where it is defined. It measures on one thread,
compiling and imports apart, and returns JSON types, ``claims`` among them. `compare` is for code
against a peer's code, in pairs of fresh processes. The first part of a name is the folder or file
of ``experiments`` that defines it, the rest is the name of the function or file.
"""

import inspect
import json
import os
import pkgutil
import platform
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from causal_lib import experiments, paths
from causal_lib.experiments import peers
from causal_lib.experiments.claims import Claim, report
from causal_lib.paths import write_text


@dataclass(frozen=True)
class Benchmark:
    """What is measured by ``function``, whose docstring begins with its description, and against
    what (``peer``).
    """

    name: str
    peer: str
    function: Callable[..., dict]

    @property
    def description(self) -> str:
        """The first paragraph of the function's docstring as a phrase: first letter lowered, no
        full stop.
        """
        text = " ".join(inspect.getdoc(self.function).split("\n\n")[0].split()).removesuffix(".")
        return text if text[1].isupper() else text[0].lower() + text[1:]


_REGISTERED: dict[str, Benchmark] = {}


def benchmark(name: str, *, peer: str) -> Callable[[Callable], Callable]:
    """Register the function below as the benchmark ``name``."""

    def register(function):
        _REGISTERED[name] = Benchmark(name, peer, function)
        return function

    return register


def known(name: str = "") -> list[str]:
    """The benchmarks that ``name`` stands for: itself, or all its parts (discovery:
    discovery.speed, ...); all where it is empty.

    Only the folder or file that the first part names is imported.
    """
    first = name.partition(".")[0]
    for room in pkgutil.iter_modules(experiments.__path__, experiments.__name__ + "."):
        if room.name.rpartition(".")[2] == first or not first:
            module = import_module(room.name)
            for part in pkgutil.walk_packages(getattr(module, "__path__", []), room.name + "."):
                import_module(part.name)
    return sorted(
        other for other in _REGISTERED if name in ("", other) or other.startswith(f"{name}.")
    )


def find(name: str) -> Benchmark:
    """The benchmark of this name; KeyError if there is none."""
    known(name)
    return _REGISTERED[name]


def measured(name: str, arguments: Mapping[str, object] | None = None) -> dict:
    """What the benchmark's function returns for these keywords, by default its own."""
    return find(name).function(**(arguments or {}))


def write(name: str, *, reports: Path | None = None, **arguments: object) -> Path:
    """Run a benchmark in a fresh process and return the path of its JSON report.

    ``arguments``, JSON types, replace those of the benchmark: how long it may take, for example.
    """
    reports = Path(reports or paths.COMMITTED).resolve()
    found = find(name)
    environment = {"CAUSAL_LIB_REPORTS": str(reports)}
    content = {
        "benchmark": name,
        "description": found.description,
        "peer": found.peer,
        **peers.run(
            f"{__name__}.measured",
            {"name": name, **({"arguments": arguments} if arguments else {})},
            environment=environment,
            show_progress=True,
        ),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
    }
    return write_text(reports / "benchmarks" / f"{name}.json", json.dumps(content, indent=1) + "\n")


def _processor():
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return models[0] if models else platform.machine()


def compare(
    own: str,
    peer: str,
    own_sizes: Mapping[str, object] | None = None,
    peer_sizes: Mapping[str, object] | None = None,
    *,
    prepare: tuple[str, Mapping[str, object]] | None = None,
    targets: Mapping[str, float] | None = None,
    pairs: int = 3,
) -> dict:
    """Our function against a peer's, both as `peers.measure` takes them, in ``pairs`` of fresh
    processes.

    ``prepare``, a function and its arguments, runs before in the same folder. ``targets`` are the
    most that a median of the pairs may be, e.g. of 'own peak_mb' or 'ratio of seconds'. The ratio
    is taken within a pair, whose two runs follow each other and so meet the same load of the
    machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        if prepare:
            peers.run(*prepare, folder=folder)
        runs = [
            {
                "own": peers.measure(own, own_sizes or {}, folder=folder),
                "peer": peers.measure(peer, peer_sizes or {}, folder=folder),
            }
            for _ in range(pairs)
        ]
    costs = [key for key in runs[0]["own"] if key != "rows"]
    values = {
        f"ratio of {key}": [run["own"][key] / run["peer"][key] for run in runs] for key in costs
    }
    values |= {f"own {key}": [run["own"][key] for run in runs] for key in costs}
    return report(
        [
            Claim.of(what, values[what], f"at most {most}", statistic="median")
            for what, most in (targets or {}).items()
        ],
        pairs=runs,
        own={key: statistics.median(run["own"][key] for run in runs) for key in runs[0]["own"]},
        ratio={key: statistics.median(values[f"ratio of {key}"]) for key in costs},
    )
