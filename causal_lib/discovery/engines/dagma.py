"""Structure learning by continuous optimisation, with the log-det acyclicity term of DAGMA.

For the weights W of a graph,

    h(W) = d ln s - ln det(sI - W∘W)

is zero if and only if W is the weights of a DAG, and grows with its cycles, as long as the spectral
radius of W∘W is below s. The loss is minimised along a central path: min μ · loss + h, with μ
falling from 1 to 1/1000, each problem starting from the solution of the last. The inner problems
are solved by L-BFGS-B on the positive and negative parts of the weights, so that the L1 penalty is
smooth and unused edges become exactly zero.

The squared loss is smallest if variance grows along the edges. So on raw data the scale of the
columns decides the directions (varsortability), and a good score on raw simulations is no evidence.

Sources: Bello, Aragam and Ravikumar, arXiv 2209.08037; varsortability, Reisach and others, arXiv
2102.13647.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize

PATH = (1.0, 0.1, 0.01, 0.001)  # μ


def acyclicity(squares: torch.Tensor, s: float = 1.0) -> torch.Tensor:
    """h = d ln s - ln det(sI - W∘W) of the (d, d) squared weights W∘W.

    Infinite where their spectral radius reaches s.

    >>> acyclicity(torch.tensor([[0.0, 0.25], [0.0, 0.0]], dtype=torch.float64)).item()
    0.0
    >>> squares = torch.tensor([[0.0, 0.25], [0.25, 0.0]], dtype=torch.float64)
    >>> round(acyclicity(squares).item(), 6)  # -ln(1 - 1/16)
    0.064539
    """
    room = s * torch.eye(len(squares), dtype=squares.dtype) - squares
    # A matrix without positive off-diagonal entries has all eigenvalues right of 0 if and only if
    # its inverse has no negative entry. The sign of the determinant misses pairs of eigenvalues.
    inverse, failed = torch.linalg.inv_ex(room.detach())
    if failed or inverse.min() < -1e-12:
        return torch.tensor(torch.inf, dtype=squares.dtype)
    return len(squares) * np.log(s) - torch.linalg.slogdet(room)[1]


def fit_linear(
    covariance: np.ndarray, allowed: np.ndarray, required: np.ndarray, *, l1: float, steps: int
):
    """Strengths and objective of the linear model x = xW + noise, from the (d, d) ``covariance``.

    Minimises ½ E‖x - xW‖² + l1 Σ|W| over the weights that are ``allowed`` (d, d); ``required`` ones
    are not penalised. ``steps`` limits the iterations of each inner problem. Returns |W|, (d, d),
    [i, j] for i → j, and the objective.
    """
    identity = torch.eye(len(covariance), dtype=torch.float64)
    moments = torch.tensor(covariance)

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
    """As `fit_linear` on (n, d) ``rows``, with ``hidden`` tanh units for each variable.

    The strength of i → j is the Euclidean norm of the first-layer weights from i into the network
    of j. The outer weights are bounded by one standard deviation of the variable. Otherwise they
    would grow while the penalised weights shrink.
    """
    data = torch.tensor(rows)
    d = rows.shape[1]
    rng = np.random.default_rng(seed)

    def loss(weights, rest):
        outer = rest[: d * hidden]
        bias = rest[d * hidden : -d]
        shift = rest[-d:]
        units = torch.tanh(data @ weights.reshape(d, d * hidden) + bias) * outer
        return (
            0.5
            * (data - data.std(0) * (units.reshape(-1, d, hidden).sum(2) + shift)).square().sum()
            / len(data)
        )

    first = rng.uniform(-0.1, 0.1, size=(d, d, hidden))
    outer = rng.uniform(-1, 1, size=d * hidden)
    bias = rng.normal(size=d * hidden)  # with zero biases the function would stay odd
    bound = np.repeat([1, np.inf], [d * hidden, d * hidden + d])
    return _central_path(
        loss, first, np.concatenate([outer, bias, np.zeros(d)]), bound, allowed, required, l1, steps
    )


def keep_acyclic(strength: np.ndarray, threshold: float, required: np.ndarray) -> np.ndarray:
    """(d, d) bool, a DAG: required edges, then those of at least ``threshold``, strongest first.

    An edge that would close a cycle is left out.
    """
    adjacency = np.zeros(required.shape, dtype=bool)
    reach = np.eye(len(required), dtype=bool)
    rank = np.where(required, np.inf, strength)
    for i, j in zip(
        *np.unravel_index(np.argsort(-rank, axis=None, kind="stable"), rank.shape), strict=True
    ):
        if rank[i, j] >= threshold and rank[i, j] > 0 and not reach[j, i]:
            adjacency[i, j] = True
            reach |= np.outer(reach[:, i], reach[j])
    return adjacency


def _central_path(loss: Callable, first, rest, bound, allowed, required, l1, steps):
    """Strengths (d, d) and objective at the end of the central path.

    loss : function of the (d, d, hidden) penalised weights and of the other parameters.
    first, rest : the initial values of both; bound : the largest absolute value of each of
        ``rest``.
    """
    free = np.broadcast_to(allowed[:, :, None], first.shape).ravel().nonzero()[0]
    m = len(free)
    start = first.ravel()[free]
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
            # infeasible: a large constant makes the line search step back
            return 2 * abs(inside) + 1, np.zeros(len(point))
        value = mu * loss(weights, others) + cycles
        value.backward()
        slope = weights.grad.numpy().ravel()[free]
        tail = np.zeros(0) if others.grad is None else others.grad.numpy()
        inside = value.item() + mu * (price @ (point[:m] + point[m : 2 * m]))
        return inside, np.concatenate([slope + mu * price, mu * price - slope, tail])

    options = {"maxiter": steps, "maxfun": 5 * steps}
    threads = torch.get_num_threads()
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
