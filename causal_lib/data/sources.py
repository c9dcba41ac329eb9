"""Real data by name, as validated frames: `load` reads what `fetch` has brought.

`fetch`, `check`, `listing`, `read_manifest` and `SourceError` are offered here too.
"""

import os
from pathlib import Path

from causal_lib import paths
from causal_lib.data.loaders import KINDS, SACHS_CONDITIONS, SACHS_NAMES, file_path
from causal_lib.data.manifest import SourceError
from causal_lib.data.networks import GaussianNetwork, Network, read_bif
from causal_lib.data.packages import check, fetch, listing, locate, read_manifest

__all__ = [
    "SACHS_CONDITIONS",
    "SACHS_NAMES",
    "GaussianNetwork",
    "Network",
    "SourceError",
    "bayes_net",
    "check",
    "fetch",
    "listing",
    "load",
    "load_or_skip",
    "read_manifest",
]


def load(name: str, *, manifest: Path | None = None, raw: Path = paths.RAW):
    """The data set ``name`` as validated frames; data/README.md describes every column.

    What is returned depends on the kind of the data set:

    KINDS

    Nothing is downloaded here: call `fetch` first.

    Raises
    ------
    SourceError
        for an unknown name, and for files that are absent or of another checksum.
    ValueError
        for content that is not what the kind promises.
    """
    source, root = locate(name, manifest=manifest, raw=raw)
    return KINDS[source.kind].load(source, root)


if load.__doc__:  # python -OO has none
    rows = [f"- {name}: {kind.gives}. Needs {kind.needs}" for name, kind in KINDS.items()]
    load.__doc__ = load.__doc__.replace("KINDS", "\n    ".join(rows))


def load_or_skip(name: str, skipped: list[str], **where):
    """What `load` gives, or None where the files cannot be had.

    The reason is printed and added to ``skipped``. With the environment variable CI set to 'true'
    nothing may be skipped: the error is raised.
    """
    try:
        return load(name, **where)
    except SourceError as error:
        if os.environ.get("CI") == "true":
            raise
        skipped.append(f"real data {name!r}: {str(error).splitlines()[0]}")
        print(f"SKIPPED {skipped[-1]}")
        return None


def bayes_net(name: str, *, manifest: Path | None = None, raw: Path = paths.RAW):
    """The network ``name`` as a ``pyagrum.BayesNet``, with its tables and state labels.

    pyAgrum reads the probabilities of a .bif file in single precision: they are right to 6e-8.
    Raises as `load`.
    """
    source, root = locate(name, manifest=manifest, raw=raw)
    if source.kind != "network":
        raise SourceError(f"{name} is of kind {source.kind!r}, not a network")
    return read_bif(file_path(source, root))
