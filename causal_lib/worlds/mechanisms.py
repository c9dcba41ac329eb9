"""What random structural models are made of: mechanisms from parents to a signal, increasing functions, unusual noises."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

UNSEEN_NOISES: Mapping[str, Callable] = {
    "two peaks": lambda rng, n: scaled(rng.choice([-1.5, 1.5], n) + 0.5 * rng.standard_normal(n)),
    "arcsine": lambda rng, n: scaled(rng.beta(0.5, 0.5, n)),
    "triangular": lambda rng, n: scaled(rng.triangular(0, 0.2, 1, n)),
    "lognormal": lambda rng, n: scaled(rng.lognormal(0, 0.6, n)),
}
"""As `NOISES`: function of (rng, n); no family of `FAMILIES` uses them."""


def scaled(values):
    """``values`` with mean 0 and variance 1 in each column; a constant one is 0."""
    values = values - values.mean(axis=0)
    deviation = values.std(axis=0)
    return values / np.where(deviation > 1e-12, deviation, 1)


def bent(values, rng):
    """A random increasing function of ``values``, which are clipped at five deviations: beyond, one row would be all."""
    return _BENDS[rng.integers(len(_BENDS))](np.clip(scaled(values), -5, 5))


def _weights(rng, size):
    return rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1], size)


def _linear(rng, x):
    return x @ _weights(rng, x.shape[1])


def _fourier(rng, x):
    """A smooth random curve of each parent: three sines over a line."""
    waves = (
        rng.uniform(0.4, 2.2, (3, x.shape[1])),
        rng.uniform(0, 2 * np.pi, (3, x.shape[1])),
        rng.normal(size=(3, 1, 1)),
    )
    curves = (waves[2] * np.sin(waves[0][:, None] * x + waves[1][:, None])).sum(0) + rng.normal(scale=0.4) * x
    return scaled(curves) @ _weights(rng, x.shape[1])


def _piecewise(rng, x):
    """A broken line of each parent."""
    knots, slopes = rng.uniform(-1.2, 1.2, (3, x.shape[1])), rng.normal(size=(3, 1, 1))
    return scaled((slopes * np.maximum(x - knots[:, None], 0)).sum(0) + rng.normal(scale=0.7) * x) @ _weights(
        rng, x.shape[1]
    )


def _sigmoid(rng, x):
    steep, shift = rng.uniform(0.8, 3, x.shape[1]), rng.uniform(-1, 1, x.shape[1])
    return scaled(expit(steep * (x - shift))) @ _weights(rng, x.shape[1])


def _mlp(rng, x):
    return np.tanh(
        x @ rng.normal(size=(x.shape[1], 16)) * rng.uniform(0.5, 1.5) + rng.uniform(-1.5, 1.5, 16)
    ) @ rng.normal(size=16)


def _tree(rng, x):
    """Random leaves of up to three cuts."""
    leaf = np.zeros(len(x), dtype=int)
    for _ in range(rng.integers(2, 4)):
        leaf = 2 * leaf + (x[:, rng.integers(x.shape[1])] > rng.uniform(-0.8, 0.8))
    return rng.normal(size=leaf.max() + 1)[leaf] + 0.3 * _linear(rng, x)


def _steep(rng, x):
    """A power or an exponential of each parent: what lies far out goes farther."""
    x, count = np.clip(x, -8, 8), x.shape[1]
    power = np.sign(x) * np.abs(x) ** rng.uniform(1.5, 3, count)
    exponential = np.exp(rng.uniform(0.4, 1, count) * rng.choice([-1, 1], count) * x)
    return scaled(np.where(rng.random(count) < 0.5, power, exponential)) @ _weights(rng, count)


def _quadratic(rng, x):
    return (x + rng.uniform(-0.6, 0.6, x.shape[1])) ** 2 @ _weights(rng, x.shape[1])


def _interactions(rng, x):
    """Products of pairs of parents, each parent also by itself."""
    alone, pairs = scaled(_linear(rng, x)), np.triu_indices(x.shape[1], 1)
    if not len(pairs[0]):
        return alone + 0.7 * (x[:, 0] ** 2)
    return alone + scaled((x[:, pairs[0]] * x[:, pairs[1]]) @ _weights(rng, len(pairs[0])))


def _tanh_gp(rng, x):
    """tanh of a draw from a Gaussian process of all parents together, by 100 random features of an RBF kernel."""
    waves = np.cos(x @ rng.normal(size=(x.shape[1], 100)) / 1.2 + rng.uniform(0, 2 * np.pi, 100))
    return np.tanh(1.5 * scaled(waves @ rng.normal(size=100)))


MECHANISMS = {
    "linear": _linear, "fourier": _fourier, "piecewise": _piecewise, "sigmoid": _sigmoid, "mlp": _mlp, "tree": _tree,
    "steep": _steep, "quadratic": _quadratic, "interactions": _interactions, "tanh-gp": _tanh_gp,
}  # fmt: skip
"""Name -> function of (rng, (n, p) parents of unit variance) that gives an (n,) signal."""
_BENDS = (
    lambda u: np.sign(u) * np.abs(u) ** 1.8,
    lambda u: np.exp(0.7 * u),
    lambda u: np.sinh(u),
    lambda u: expit(2 * u),
    lambda u: np.sign(u) * np.log1p(2 * np.abs(u)),
    lambda u: u + 0.7 * np.tanh(3 * u),
)
