"""Discrete Bayesian networks from .bif files, read by pyAgrum with every state's name kept."""

import gzip
import re
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple


class Network(NamedTuple):
    """A discrete Bayesian network: nodes, edges (parent, child), path of its .bif file."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    path: Path


def read_network(path: Path) -> Network:
    """Nodes and edges of the file; ValueError where it is no network."""
    net = read_bif(path)
    names = {node: net.variable(node).name() for node in sorted(net.nodes())}
    edges = sorted((names[parent], names[child]) for parent, child in net.arcs())
    return Network(tuple(names.values()), tuple(edges), path)


def read_bif(path: Path):
    """The ``pyagrum.BayesNet`` of a .bif or .bif.gz file; ValueError where it is no network."""
    import pyagrum  # here, so that tables load without it

    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with (
            opener(path, "rt", encoding="utf-8") as file,
            tempfile.TemporaryDirectory() as folder,
        ):
            plain = Path(folder, "network.bif")
            plain.write_text(_with_plain_states(file.read()), encoding="utf-8")
            net = pyagrum.loadBN(str(plain))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, pyagrum.GumException) as error:
        reason = re.sub(r"^.*network\.bif:", "line ", str(error).partition("\n")[0])
        raise ValueError(f"{path.name} cannot be read as a network: {reason}") from error
    for node in net.names():
        for label in net.variable(node).labels():
            if label.startswith("hex_"):
                net.changeVariableLabel(node, label, bytes.fromhex(label[4:]).decode())
    problems = net.check()
    if problems:
        raise ValueError(f"{path.name}: {problems[0]}")
    return net


def _with_plain_states(text):
    """``text`` with the states that pyAgrum refuses, such as '<5', in hexadecimal."""

    def plain(state):
        if re.fullmatch(r"(?!hex_)[A-Za-z_][\w.]*|\d+", state[0]):
            return state[0]
        return f"hex_{state[0].encode().hex()}"

    # lists of states: '] { a, b }' and '(a, b)'
    return re.sub(
        r"(?<=\] )\{[^{}]*\}|\([^()]*\)",
        lambda states: re.sub(r"[^\s,(){}|]+", plain, states[0]),
        text,
    )
