"""Gradients of the dense and the graph network (4.1.1, 4.1.2, 4.2.1, 4.2.2): restated, checked, and
beside what the printed lines give.

A layer computes ``sigma(C H W + b)`` from the rows of ``H``. ``W`` is its weights, ``b`` its bias.
``C`` mixes the rows of a graph network; None is a dense network, whose rows do not meet.
"""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import sympy as sp
from scipy.special import expit
from sklearn.metrics import log_loss

WIDTHS = (4, 5, 3, 1)
"""Units of the dense network: inputs, two hidden layers, output."""
WIDTH = 3
"""Units of every layer of the network in which the article's products have a shape."""
ROWS = 8
STEP = 1e-5
"""Step of the finite differences."""
PAIRS = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (1, 4)])
"""Edges of the graph network: a path of six nodes and a chord."""


def forward(
    x: np.ndarray,
    parameters: Sequence[np.ndarray],
    mixing: np.ndarray | None = None,
    sigma: Callable = expit,
) -> list[np.ndarray]:
    """The outputs of all layers, the inputs first; ``parameters`` are W1, b1, W2, b2, ..."""
    outputs = [x]
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        before = outputs[-1] if mixing is None else mixing @ outputs[-1]
        outputs.append(sigma(before @ weight + bias))
    return outputs


def loss(y: np.ndarray, output: np.ndarray) -> float:
    """Cross-entropy, summed over the outputs and averaged over the rows."""
    return -(y * np.log(output) + (1 - y) * np.log(1 - output)).sum() / len(y)


def backward(
    y: np.ndarray,
    outputs: Sequence[np.ndarray],
    parameters: Sequence[np.ndarray],
    mixing: np.ndarray | None = None,
) -> list[np.ndarray]:
    """The gradients of `loss` by W1, b1, W2, b2, ... (Rumelhart, Hinton and Williams 1986)."""
    weights = parameters[::2]
    delta = (outputs[-1] - y) / len(y)  # the derivative of the output's sigmoid has cancelled
    gradients = []
    for k in reversed(range(len(weights))):
        before = outputs[k] if mixing is None else mixing @ outputs[k]
        gradients = [before.T @ delta, delta.sum(axis=0), *gradients]
        if k:
            sent = delta if mixing is None else mixing.T @ delta
            delta = sent @ weights[k].T * outputs[k] * (1 - outputs[k])
    return gradients


def differences(
    function: Callable[[list[np.ndarray]], float], arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Central finite differences of ``function(arrays)`` by every entry of every array."""
    found = []
    for number, array in enumerate(arrays):
        slope = np.empty_like(array)
        for place in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [one.copy() for one in arrays]
                moved[number][place] += sign * STEP
                ends.append(function(moved))
            slope[place] = (ends[0] - ends[1]) / (2 * STEP)
        found.append(slope)
    return found


def errors(found: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> list[float]:
    """Of each array, the largest difference relative to the largest entry of the reference."""
    return [
        float(np.abs(one - other).max() / np.abs(other).max())
        for one, other in zip(found, reference, strict=True)
    ]


class Sigmoid(sp.Function):
    """A sigmoid by its one property: its derivative is Sigmoid (1 - Sigmoid)."""

    def fdiff(self, argindex=1):
        """The derivative."""
        return self * (1 - self)


def symbols(name: str, *shape: int) -> np.ndarray:
    """An array of symbols."""
    return np.array(sp.symbols(f"{name}:{np.prod(shape)}")).reshape(shape)


def dense(rng: np.random.Generator) -> tuple[dict[str, tuple], list[dict]]:
    """Two dense networks (x, y, parameters and outputs of each), and the errors of their restated
    gradients against finite differences, TensorFlow and PyTorch.
    """
    networks = {}
    checks = []
    for name, sizes in (("widths", WIDTHS), ("square", (WIDTH,) * 4)):
        shapes = [one for before, after in pairwise(sizes) for one in ((before, after), (after,))]
        parameters = [rng.normal(size=shape) for shape in shapes]
        x = rng.normal(size=(ROWS, sizes[0]))
        y = rng.integers(2, size=(ROWS, sizes[-1])).astype(float)
        outputs = forward(x, parameters)
        networks[name] = x, y, parameters, outputs
        ours = backward(y, outputs, parameters)
        others = _references(x, y, parameters)
        for how, reference in others.items():
            checks.append({"network": name, "against": how, "errors": errors(ours, reference)})
        columns = range(sizes[-1])
        by_column = sum(log_loss(y[:, u], outputs[-1][:, u], labels=[0, 1]) for u in columns)
        if abs(by_column - loss(y, outputs[-1])) > 1e-12:
            raise AssertionError("the loss is not scikit-learn's")
    return networks, checks


def _references(x, y, parameters, mixing=None):
    """The gradients of the loss, by finite differences, TensorFlow and PyTorch."""
    import tensorflow as tf
    import torch

    leaves = [torch.tensor(one, requires_grad=True) for one in parameters]
    mixed = None if mixing is None else torch.tensor(mixing)
    output = forward(torch.tensor(x), leaves, mixed, torch.sigmoid)[-1]
    entropy = torch.nn.functional.binary_cross_entropy(output, torch.tensor(y), reduction="sum")
    (entropy / len(y)).backward()
    variables = [tf.constant(one) for one in parameters]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        mixed = None if mixing is None else tf.constant(mixing)
        output = forward(tf.constant(x), variables, mixed, tf.sigmoid)[-1]
        entropies = y * tf.math.log(output) + (1 - y) * tf.math.log(1 - output)
        entropy = -tf.reduce_sum(entropies) / len(y)
    return {
        "finite differences": differences(
            lambda moved: loss(y, forward(x, moved, mixing)[-1]), parameters
        ),
        "TensorFlow": [one.numpy() for one in tape.gradient(entropy, variables)],
        "PyTorch": [leaf.grad.numpy() for leaf in leaves],
    }


def symbolic() -> dict[str, list[bool]]:
    """Whether each derivative of a small dense and of a small graph network equals sympy's."""
    dense_parameters = [
        part
        for k in (1, 2, 3)
        for part in (symbols(f"w{k}_", 2, 2 if k < 3 else 1), symbols(f"b{k}_", 2 if k < 3 else 1))
    ]
    graph_parameters = [
        symbols("w1_", 2, 2),
        symbols("b1_", 2),
        symbols("w2_", 2, 1),
        symbols("b2_", 1),
    ]
    return {
        "dense network": _equal(1, dense_parameters, None),
        "graph network": _equal(2, graph_parameters, symbols("c", 2, 2)),
    }


def _equal(rows, parameters, mixing):
    sigmoid = np.frompyfunc(Sigmoid, 1, 1)
    log = np.frompyfunc(sp.log, 1, 1)
    x = symbols("x", rows, 2)
    y = symbols("y", rows, 1)
    outputs = forward(x, parameters, mixing, sigmoid)
    entropy = -(y * log(outputs[-1]) + (1 - y) * log(1 - outputs[-1])).sum() / rows
    found = []
    for array, gradient in zip(parameters, backward(y, outputs, parameters, mixing), strict=True):
        for symbol, ours in zip(array.ravel(), gradient.ravel(), strict=True):
            gap = sp.together(sp.diff(entropy, symbol) - ours)
            found.append(sp.expand(sp.numer(gap)) == 0)
    return found


def brackets() -> dict[str, object]:
    """Where the cross-entropy of labels with mean 3/10 is least, with and without brackets.

    "output derivatives": whether the derivative by the output's input is (a - y), and for squared
    errors (a - y) a (1 - a).
    """
    a, z, y = sp.symbols("a z y")
    mean = sp.Rational(3, 10)
    inside = sp.Interval.open(0, 1)
    with_brackets = -mean * sp.log(a) - (1 - mean) * sp.log(1 - a)
    as_printed = -mean * sp.log(a) + (1 - mean) * sp.log(1 - a)
    output = Sigmoid(z)
    entropy = -y * sp.log(output) - (1 - y) * sp.log(1 - output)
    by_entropy = sp.diff(entropy, z) - (output - y)
    by_squares = sp.diff((output - y) ** 2 / 2, z) - (output - y) * output * (1 - output)
    return {
        "least with brackets": float(next(iter(sp.solveset(sp.diff(with_brackets, a), a, inside)))),
        "least without": not sp.solveset(sp.diff(as_printed, a), a, inside).is_empty,
        "limit without": str(sp.limit(as_printed, a, 1, "-")),
        "output derivatives": [sp.simplify(by_entropy) == 0, sp.simplify(by_squares) == 0],
    }


def one_unit_per_layer(rng: np.random.Generator) -> tuple[pd.Series, pd.Series]:
    """What the printed lines give with one unit in each of three layers and one sample, and every
    derivative of the loss by a weight or by the input of a layer.

    ``z W`` is read as the input of a layer, so that its derivative by ``z`` is ``W``: every product
    then has a shape.
    """
    x, w1, w2, w3 = rng.normal(size=4)
    parameters = [np.array(one) for one in ([[w1]], [0.0], [[w2]], [0.0], [[w3]], [0.0])]
    outputs = forward(np.array([[x]]), parameters)
    a1, a2, a3 = (layer.item() for layer in outputs[1:])
    s1, s2, s3 = (a * (1 - a) for a in (a1, a2, a3))
    e = a3 - 1  # the label is 1
    lines = {
        "4.1.1 (2)": e * s3,
        "4.1.1 (3)": e * s3 * s3,
        "4.1.1 (4)": e * s3 * (s3 * w3) * w2,
        "4.1.1 (5)": e * s3 * s2 * w2 * w1,
        "4.1.1 (6)": e * s3 * s2 * s1 * w1,
        "4.2.1 (2)": e * s3 * s3,
        "4.2.1 (4)": e * s3 * s2 * w3,
    }
    names = ["W1", "z1", "W2", "z2", "W3", "z3"]  # with one sample the bias's gradient is that by z
    slopes = [one.item() for one in backward(np.ones((1, 1)), outputs, parameters)]
    return pd.Series(lines), pd.Series(slopes, index=names)


def smallest_gap(lines: pd.Series, slopes: pd.Series) -> float:
    """The smallest relative difference between two printed lines of 4.1.1, which "=" joins, and
    between a printed line and a derivative of the loss.
    """
    joined = lines.filter(like="4.1.1")
    pairs = [*combinations(joined, 2), *((line, slope) for line in lines for slope in slopes)]
    return min(abs(one - other) / abs(other) for one, other in pairs)


def printed_product(
    y: np.ndarray,
    outputs: Sequence[np.ndarray],
    parameters: Sequence[np.ndarray],
    *,
    surplus: bool = True,
    weights: bool = False,
) -> list[np.ndarray]:
    """The gradients by W1, W2, ... of the article's product of derivatives, its missing input
    factor supplied.

    ``surplus`` keeps the sigmoid's derivative at the output; ``weights`` puts in the transposed
    weights, summed over units. ValueError where the widths of the layers differ: the product has
    no shape.
    """
    slopes = [one * (1 - one) for one in outputs[1:]]
    delta = (outputs[-1] - y) / len(y)
    if surplus:
        delta = delta * slopes[-1]
    gradients = []
    for k in reversed(range(len(slopes))):
        gradients.insert(0, outputs[k].T @ delta)
        if weights:
            delta = delta @ parameters[2 * k].T
        if k:
            delta = delta * slopes[k - 1]
    return gradients


READINGS = {
    "as printed": {},
    "weights put in": {"weights": True},
    "surplus σ' taken out": {"surplus": False},
    "both (restated)": {"weights": True, "surplus": False},
}
"""The article's product of derivatives and its repairs: name -> arguments of `printed_product`."""


def readings(network: tuple) -> pd.DataFrame:
    """The errors of each reading of the printed product in a network of equal widths, a row per
    layer.
    """
    x, y, parameters, outputs = network
    measured = differences(lambda moved: loss(y, forward(x, moved)[-1]), parameters)[::2]
    return pd.DataFrame(
        {
            name: errors(printed_product(y, outputs, parameters, **how), measured)
            for name, how in READINGS.items()
        },
        index=[f"layer {k}" for k in range(1, len(measured) + 1)],
    )


def has_shape(network: tuple) -> bool:
    """Whether the printed product can be multiplied out in a network."""
    _, y, parameters, outputs = network
    try:
        printed_product(y, outputs, parameters)
    except ValueError:
        return False
    return True


def graph_network(rng: np.random.Generator) -> dict[str, object]:
    """The graph network: the errors of its restated gradient, PyTorch Geometric's among the
    references; how far it is off without neighbours; and what a weight matrix per pair does.
    """
    import torch
    from torch_geometric.nn import GCNConv

    links = np.zeros((6, 6))
    links[PAIRS[:, 0], PAIRS[:, 1]] = 1
    links += links.T
    degree = links.sum(axis=1) + 1
    mixing = (links + np.eye(6)) / np.sqrt(np.outer(degree, degree))
    parameters = [rng.normal(size=shape) for shape in ((3, 4), (4,), (4, 1), (1,))]
    x = rng.normal(size=(6, 3))
    y = rng.integers(2, size=(6, 1)).astype(float)
    outputs = forward(x, parameters, mixing)
    ours = backward(y, outputs, parameters, mixing)
    references = _references(x, y, parameters, mixing)

    layers = [GCNConv(3, 4).double(), GCNConv(4, 1).double()]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, parameters[::2], parameters[1::2], strict=True):
            layer.lin.weight.copy_(torch.tensor(weight.T))
            layer.bias.copy_(torch.tensor(bias))
    hidden = torch.tensor(x)
    edges = torch.tensor(np.vstack([PAIRS, PAIRS[:, ::-1]]).T.copy())
    for layer in layers:
        hidden = torch.sigmoid(layer(hidden, edges))
    torch.nn.functional.binary_cross_entropy(hidden, torch.tensor(y)).backward()
    references["PyTorch"] = [
        one
        for layer in layers
        for one in (layer.lin.weight.grad.numpy().T, layer.bias.grad.numpy())
    ]
    every = torch.tensor(mixing)[:, :, None, None] * torch.tensor(parameters[0])
    every.requires_grad_()  # a weight matrix per pair: the shared one times the pair's number
    first = torch.sigmoid(
        torch.einsum("jt,ijtu->iu", torch.tensor(x), every) + torch.tensor(parameters[1])
    )
    last = torch.sigmoid(
        torch.tensor(mixing) @ first @ torch.tensor(parameters[2]) + torch.tensor(parameters[3])
    )
    torch.nn.functional.binary_cross_entropy(last, torch.tensor(y)).backward()
    (summed,) = errors([np.einsum("ij,ijtu->tu", mixing, every.grad.numpy())], ours[:1])
    return {
        "checks": [
            {"network": "graph", "against": how, "errors": errors(ours, reference)}
            for how, reference in references.items()
        ],
        "forgotten neighbours": errors(backward(y, outputs, parameters), ours)[::2],
        "sum over pairs": summed,
        **_twins(rng),
    }


def _twins(rng):
    """Nodes 0 and 2 of the path 0 - 1 - 2 have the same features and the same neighbour. One layer
    as printed, without the node itself.
    """
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    features = rng.normal(size=(3, 2))[[0, 1, 0]]
    shared = rng.normal(size=(2, 1))
    own = rng.normal(size=(3, 3, 2, 1))
    one_matrix = expit(path @ features @ shared)
    one_per_pair = expit(np.einsum("ij,jt,ijtu->iu", path, features, own))
    moved = features.copy()
    moved[0] += 1
    return {
        "twins, one matrix": abs(one_matrix[0] - one_matrix[2]).item(),
        "twins, one per pair": abs(one_per_pair[0] - one_per_pair[2]).item(),
        "own features change": abs(expit(path @ moved @ shared)[0] - one_matrix[0]).item(),
    }
