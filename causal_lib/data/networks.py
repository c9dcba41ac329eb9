"""Bayesian networks from files: discrete ones from .bif, read by pyAgrum with every state's name
kept, and linear Gaussian ones from .json.
"""

import gzip
import json
import re
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from causal_lib.graph import CausalGraph


class Network(NamedTuple):
    """A discrete Bayesian network: nodes, edges (parent, child), path of its .bif file."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    path: Path


class GaussianNetwork(NamedTuple):
    """A linear Gaussian network of d nodes: node j is ``intercepts[j]``, plus the values of all
    nodes times ``weights[:, j]``, plus noise of variance ``variances[j]``.

    weights : (d, d), [i, j] is not 0 for an edge from node i to node j.
    intercepts, variances : (d,).
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    path: Path
    weights: np.ndarray
    intercepts: np.ndarray
    variances: np.ndarray


def read_gaussian_network(path: Path) -> GaussianNetwork:
    """The network of a .json file with nodes, arcs and cpds, as pgmpy keeps it; ValueError where it
    is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        nodes = tuple(content["nodes"])
        edges = tuple(sorted(map(tuple, content["arcs"])))
        graph = CausalGraph.from_edges(nodes, edges)
        graph.require_dag("a linear Gaussian network")
        weights = np.zeros((len(nodes), len(nodes)))
        intercepts = np.zeros(len(nodes))
        variances = np.zeros(len(nodes))
        for j, node in enumerate(nodes):
            table = content["cpds"][node]
            coefficients = dict(table["coefficients"])
            [intercepts[j]] = coefficients.pop("(Intercept)")
            [variances[j]] = table["variance"]
            if set(coefficients) != graph.parents(node) or not variances[j] >= 0:
                raise ValueError(
                    f"the coefficients or the variance of {node!r} do not fit its arcs"
                )
            for parent, value in coefficients.items():
                [weights[graph.index(parent), j]] = value
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read as a Gaussian network: {error}") from error
    return GaussianNetwork(nodes, edges, path, weights, intercepts, variances)


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
