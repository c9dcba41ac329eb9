"""Parts of random structural models: mechanisms, transformations and noises."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

UNSEEN_NOISES: Mapping[str, Callable] = {
    "two peaks": lambda rng, n: scaled(rng.choice([-1.5, 1.5], n) + 0.5 * rng.standard_normal(n)),
    "arcsine": lambda rng, n: scaled(rng.beta(0.5, 0.5, n)),
    "triangular": lambda rng, n: scaled(rng.triangular(0, 0.2, 1, n)),
    "lognormal": lambda rng, n: scaled(rng.lognormal(0, 0.6, n)),
}
"""As `NOISES`, function of (rng, n); no family of `FAMILIES` uses them."""

_INCREASING = (
    lambda u: np.sign(u) * np.abs(u) ** 1.8,
    lambda u: np.exp(0.7 * u),
    lambda u: np.sinh(u),
    lambda u: expit(2 * u),
    lambda u: np.sign(u) * np.log1p(2 * np.abs(u)),
    lambda u: u + 0.7 * np.tanh(3 * u),
)


def scaled(values):
    """``values`` with mean 0 and variance 1 in each column; a constant column becomes 0."""
    values = values - values.mean(axis=0)
    deviation = values.std(axis=0)
    return values / np.where(deviation > 1e-12, deviation, 1)


def transformed(values, rng):
    """A random increasing function of ``values``.

    Values are clipped at five standard deviations, beyond which one row would determine the column.
    """
    function = _INCREASING[rng.integers(len(_INCREASING))]
    return function(np.clip(scaled(values), -5, 5))


def _weights(rng, size):
    return rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1], size)


# ---- mechanisms: (rng, (n, p) parents of unit variance) -> (n,) signal ------------------------


def _linear(rng, x):
    return x @ _weights(rng, x.shape[1])


def _fourier(rng, x):
    """A smooth random curve of each parent: three sines over a line."""
    frequency = rng.uniform(0.4, 2.2, (3, x.shape[1]))
    phase = rng.uniform(0, 2 * np.pi, (3, x.shape[1]))
    amplitude = rng.normal(size=(3, 1, 1))
    waves = (amplitude * np.sin(frequency[:, None] * x + phase[:, None])).sum(0)
    curves = waves + rng.normal(scale=0.4) * x
    return scaled(curves) @ _weights(rng, x.shape[1])


def _piecewise(rng, x):
    """A broken line of each parent."""
    knots = rng.uniform(-1.2, 1.2, (3, x.shape[1]))
    slopes = rng.normal(size=(3, 1, 1))
    hinges = (slopes * np.maximum(x - knots[:, None], 0)).sum(0)
    lines = hinges + rng.normal(scale=0.7) * x
    return scaled(lines) @ _weights(rng, x.shape[1])


def _sigmoid(rng, x):
    slope = rng.uniform(0.8, 3, x.shape[1])
    centre = rng.uniform(-1, 1, x.shape[1])
    return scaled(expit(slope * (x - centre))) @ _weights(rng, x.shape[1])


def _mlp(rng, x):
    enter = rng.normal(size=(x.shape[1], 16))
    units = np.tanh(x @ enter * rng.uniform(0.5, 1.5) + rng.uniform(-1.5, 1.5, 16))
    return units @ rng.normal(size=16)


def _tree(rng, x):
    """Random leaves of two or three cuts, over a weak linear signal."""
    leaf = np.zeros(len(x), dtype=int)
    for _ in range(rng.integers(2, 4)):
        leaf = 2 * leaf + (x[:, rng.integers(x.shape[1])] > rng.uniform(-0.8, 0.8))
    return rng.normal(size=leaf.max() + 1)[leaf] + 0.3 * _linear(rng, x)


def _steep(rng, x):
    """A power or an exponential of each parent, which drives extreme values farther out."""
    x = np.clip(x, -8, 8)
    count = x.shape[1]
    power = np.sign(x) * np.abs(x) ** rng.uniform(1.5, 3, count)
    exponential = np.exp(rng.uniform(0.4, 1, count) * rng.choice([-1, 1], count) * x)
    curves = np.where(rng.random(count) < 0.5, power, exponential)
    return scaled(curves) @ _weights(rng, count)


def _quadratic(rng, x):
    return (x + rng.uniform(-0.6, 0.6, x.shape[1])) ** 2 @ _weights(rng, x.shape[1])


def _interactions(rng, x):
    """Products of pairs of parents, over a linear signal."""
    single = scaled(_linear(rng, x))
    first, second = np.triu_indices(x.shape[1], 1)
    if not len(first):
        return single + 0.7 * (x[:, 0] ** 2)
    return single + scaled((x[:, first] * x[:, second]) @ _weights(rng, len(first)))


def _tanh_gp(rng, x):
    """tanh of a draw from a Gaussian process: 100 random features of an RBF kernel."""
    frequency = rng.normal(size=(x.shape[1], 100))
    waves = np.cos(x @ frequency / 1.2 + rng.uniform(0, 2 * np.pi, 100))
    return np.tanh(1.5 * scaled(waves @ rng.normal(size=100)))


MECHANISMS: Mapping[str, Callable] = {
    "linear": _linear,
    "fourier": _fourier,
    "piecewise": _piecewise,
    "sigmoid": _sigmoid,
    "mlp": _mlp,
    "tree": _tree,
    "steep": _steep,
    "quadratic": _quadratic,
    "interactions": _interactions,
    "tanh-gp": _tanh_gp,
}
"""Name to function of (rng, (n, p) parents of unit variance) that gives an (n,) signal."""
