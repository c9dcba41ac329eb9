"""Structure learning as continuous optimisation: weights of all edges at once, kept acyclic by DAGMA's log-det term.

For the weights W of a graph, h(W) = d ln s - ln det(sI - W∘W) is zero exactly when W is a DAG's and grows with its
cycles, as long as the spectral radius of W∘W is below s. The loss is minimised along a central path: min μ · loss + h,
with μ falling from 1 to 1/1000, each time from where the last one ended (Bello, Aragam and Ravikumar, arXiv 2209.08037).
The inner problems are solved by L-BFGS-B on the positive and negative parts of the weights, so that the L1 penalty is
smooth and unused edges become exactly zero.

The squared loss is smallest where variance grows along the edges, so on raw data the scale of the columns decides the
directions (varsortability, Reisach and others, arXiv 2102.13647): a good score on raw simulations says nothing.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize

PATH = (1.0, 0.1, 0.01, 0.001)  # μ


def acyclicity(squares: torch.Tensor, s: float = 1.0) -> torch.Tensor:
    """h = d ln s - ln det(sI - W∘W) of the (d, d) squared weights; infinite where their spectral radius reaches s.

    >>> acyclicity(torch.tensor([[0.0, 0.25], [0.0, 0.0]], dtype=torch.float64)).item()
    0.0
    >>> round(acyclicity(torch.tensor([[0.0, 0.25], [0.25, 0.0]], dtype=torch.float64)).item(), 6)  # -ln(1 - 1/16)
    0.064539
    """
    room = s * torch.eye(len(squares), dtype=squares.dtype) - squares
    # A matrix whose off-diagonal entries are not positive has its spectrum right of 0 if and only if it has an inverse
    # without negative entries; the sign of the determinant alone lets pairs of eigenvalues through.
    inverse, failed = torch.linalg.inv_ex(room.detach())
    if failed or inverse.min() < -1e-12:
        return torch.tensor(torch.inf, dtype=squares.dtype)
    return len(squares) * np.log(s) - torch.linalg.slogdet(room)[1]


def fit_linear(
    covariance: np.ndarray, allowed: np.ndarray, required: np.ndarray, *, l1: float, steps: int
):
    """(d, d) absolute weights [i, j] of i → j under x = xW + noise and the objective ½ E‖x - xW‖² + l1 Σ|W| there."""
    identity, moments = torch.eye(len(covariance), dtype=torch.float64), torch.tensor(covariance)

    def loss(weights, _):
        residual = identity - weights[:, :, 0]
        return 0.5 * torch.sum(residual * (moments @ residual))

    return _central_path(
        loss, np.zeros((*allowed.shape, 1)), np.zeros(0), 0.0, allowed, required, l1, steps
    )


def fit_mlp(
    rows: np.ndarray,
    allowed: np.ndarray,
    required: np.ndarray,
    *,
    l1: float,
    hidden: int,
    steps: int,
    seed: int,
):
    """As `fit_linear` on (n, d) ``rows``, each variable one layer of ``hidden`` tanh units of the others.

    The weight of i → j is the Euclidean norm of the first-layer weights from i into the network of j. A unit moves its
    variable by one standard deviation at most, else the penalised weights would shrink and the outer ones grow.
    """
    data, d, rng = torch.tensor(rows), rows.shape[1], np.random.default_rng(seed)

    def loss(weights, rest):
        outer, bias, shift = rest[: d * hidden], rest[d * hidden : -d], rest[-d:]
        units = torch.tanh(data @ weights.reshape(d, d * hidden) + bias) * outer
        return (
            0.5
            * (data - data.std(0) * (units.reshape(-1, d, hidden).sum(2) + shift)).square().sum()
            / len(data)
        )

    first = rng.uniform(-0.1, 0.1, size=(d, d, hidden))
    outer, bias = (
        rng.uniform(-1, 1, size=d * hidden),
        rng.normal(size=d * hidden),
    )  # without biases all would stay odd
    bound = np.repeat([1, np.inf], [d * hidden, d * hidden + d])
    return _central_path(
        loss, first, np.concatenate([outer, bias, np.zeros(d)]), bound, allowed, required, l1, steps
    )


def keep_acyclic(strength: np.ndarray, threshold: float, required: np.ndarray) -> np.ndarray:
    """(d, d) bool DAG: the required edges, then every edge of at least ``threshold``, strongest first, that closes no cycle."""
    adjacency, reach = np.zeros(required.shape, dtype=bool), np.eye(len(required), dtype=bool)
    rank = np.where(required, np.inf, strength)
    for i, j in zip(
        *np.unravel_index(np.argsort(-rank, axis=None, kind="stable"), rank.shape), strict=True
    ):
        if rank[i, j] >= threshold and rank[i, j] > 0 and not reach[j, i]:
            adjacency[i, j] = True
            reach |= np.outer(reach[:, i], reach[j])
    return adjacency


def _central_path(loss: Callable, first, rest, bound, allowed, required, l1, steps):
    """Strengths and objective at the path's end; ``loss`` takes (d, d, hidden) weights and the ``rest``, unpenalised.

    ``first`` and ``rest`` are where to start, ``bound`` the largest absolute value of each number of ``rest``.
    """
    free = np.broadcast_to(allowed[:, :, None], first.shape).ravel().nonzero()[0]
    m, start = len(free), first.ravel()[free]
    price = np.broadcast_to(
        l1 / np.sqrt(first.shape[2]) * ~required[:, :, None], first.shape
    ).ravel()[free]
    point = np.concatenate([np.maximum(start, 0), np.maximum(-start, 0), rest])
    high = np.concatenate([np.full(2 * m, np.inf), np.broadcast_to(bound, rest.shape)])
    bounds = np.column_stack([np.where(np.arange(len(point)) < 2 * m, 0, -high), high])
    inside = 0.0  # last value where h was finite

    def unpack(point):
        flat = np.zeros(first.size)
        flat[free] = point[:m] - point[m : 2 * m]
        parts = torch.tensor(flat.reshape(first.shape)), torch.tensor(point[2 * m :])
        return [part.requires_grad_() for part in parts]

    def objective(point, mu):
        nonlocal inside
        weights, others = unpack(point)
        cycles = acyclicity(weights.square().sum(2))
        if not torch.isfinite(cycles):
            return 2 * abs(inside) + 1, np.zeros(
                len(point)
            )  # a flat wall: the line search steps back
        value = mu * loss(weights, others) + cycles
        value.backward()
        slope, tail = (
            weights.grad.numpy().ravel()[free],
            np.zeros(0) if others.grad is None else others.grad.numpy(),
        )
        inside = value.item() + mu * (price @ (point[:m] + point[m : 2 * m]))
        return inside, np.concatenate([slope + mu * price, mu * price - slope, tail])

    options, threads = {"maxiter": steps, "maxfun": 5 * steps}, torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only make threads wait for each other
    try:
        for mu in PATH:
            point = minimize(
                objective, point, (mu,), jac=True, method="L-BFGS-B", bounds=bounds, options=options
            ).x
    finally:
        torch.set_num_threads(threads)
    weights, others = (part.detach() for part in unpack(point))
    value = loss(weights, others).item() + price @ (point[:m] + point[m : 2 * m])
    return weights.square().sum(2).sqrt().numpy(), float(value)
