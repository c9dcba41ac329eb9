"""The "causal" derivative and the likelihood of 4.1.3 and 4.2.3: derived, and beside the printed
lines.
"""

import numpy as np
import sympy as sp
from scipy.special import expit, logit

from causal_lib.experiments.errata.enumeration import Tables, conditional, truncated
from causal_lib.experiments.errata.gradients import STEP, differences, errors

EFFECT = -0.5
"""Slope of y by x in the linear model."""
CONFOUNDING = 2.0
"""Slope of y by the hidden cause of x and y."""


def derivative() -> dict[str, object]:
    """The derivative of p(y|x) by x as printed, restated, and of p(y|do(x)), in the model
    z ~ N(0, 1), x = z + N(0, 1), y = EFFECT x + CONFOUNDING z + N(0, 1).

    Every integral is sympy's; finite differences and sums over a grid are a second opinion.
    """
    x, y, z = sp.symbols("x y z", real=True)
    joint = sp.Function("f")(x, y)
    margin = sp.Function("g")(x)
    restated = joint / margin * (sp.diff(sp.log(joint), x) - sp.diff(sp.log(margin), x))
    beta = sp.nsimplify(EFFECT)
    gamma = sp.nsimplify(CONFOUNDING)
    p_z, p_x_z, p_y_xz = (
        sp.exp(-((of - mean) ** 2) / 2) / sp.sqrt(2 * sp.pi)
        for of, mean in ((z, 0), (x, z), (y, beta * x + gamma * z))
    )
    p_xy = sp.simplify(sp.integrate(sp.expand(p_z * p_x_z * p_y_xz), (z, -sp.oo, sp.oo)))
    p_x = sp.simplify(sp.integrate(p_xy, (y, -sp.oo, sp.oo)))
    p_do = sp.simplify(sp.integrate(sp.expand(p_z * p_y_xz), (z, -sp.oo, sp.oo)))
    p_y_x = sp.simplify(p_xy / p_x)
    true = sp.diff(p_y_x, x)
    printed = sp.diff(p_x, x) * p_y_x / p_x
    over_y = [
        sp.simplify(sp.integrate(sp.expand(term), (y, -sp.oo, sp.oo))) for term in (true, printed)
    ]
    means = [sp.integrate(sp.expand(y * p), (y, -sp.oo, sp.oo)) for p in (p_y_x, p_do)]
    seen, done = (float(sp.simplify(sp.diff(mean, x))) for mean in means)
    at = np.linspace(-4, 4, 161)
    density = sp.lambdify((x, y), p_y_x)
    measured = (density(at + STEP, 1) - density(at - STEP, 1)) / (2 * STEP)
    grid = np.linspace(-12, 12, 4801)
    weights = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) * (grid[1] - grid[0])
    bells = np.exp(-((1 - EFFECT * at[:, None] - CONFOUNDING * grid) ** 2) / 2)
    summed = bells / np.sqrt(2 * np.pi) @ weights
    here = {x: 1, y: 1}
    return {
        "restated for any p": sp.simplify(sp.diff(joint / margin, x) - restated) == 0,
        "integral of the true one": float(over_y[0]),
        "integral of the printed one is p'(x)/p(x)": sp.simplify(over_y[1] - sp.diff(p_x, x) / p_x)
        == 0,
        "error of finite differences": float(
            np.abs(sp.lambdify((x, y), true)(at, 1) - measured).max() / np.abs(measured).max()
        ),
        "error of sums over the grid": float(
            np.abs(summed - sp.lambdify((x, y), p_do)(at, 1)).max()
        ),
        "slope seen": seen,
        "slope set": done,
        "true": float(true.subs(here)),
        "printed": float(printed.subs(here)),
        "set": float(sp.diff(p_do, x).subs(here)),
    }


def likelihood(rng: np.random.Generator, tables: Tables) -> dict[str, object]:
    """What the likelihood learns in the population of x <- z -> y, x -> y (``tables``, enumerated).

    The errors of its restated gradient against finite differences, TensorFlow and PyTorch; what the
    printed line gives at the minimum; p(y = 1 | x) there, weighted by 1 / p(x|z), and by
    intervention.
    """
    everybody = truncated(tables)
    shares = everybody.sum(axis=0)  # P(x, y), the weights of the four kinds of rows
    weight = shares.ravel()
    design = np.array([[1.0, 0], [1, 0], [1, 1], [1, 1]])
    outcome = np.array([0.0, 1, 0, 1])
    seen = shares[:, 1] / shares.sum(axis=1)
    minimum = np.array([logit(seen[0]), logit(seen[1]) - logit(seen[0])])
    checks = _compared(rng.normal(size=2), weight, design, outcome)
    probability = expit(design @ minimum)
    chosen = np.where(outcome == 1, probability, 1 - probability)
    at_minimum = _compared(minimum, weight, design, outcome)
    weighted = (everybody / conditional(everybody, "zxy", "x", "z")).sum(axis=0)
    return {
        "checks": {
            how: errors([checks["restated"]], [found])[0]
            for how, found in checks.items()
            if how != "restated"
        },
        "largest gradient at the minimum": float(
            max(np.abs(found).max() for found in at_minimum.values())
        ),
        "printed at the minimum": float(
            weight @ (np.log(chosen) - np.log(shares.sum(axis=1).repeat(2)))
        ),
        "seen": seen.tolist(),
        "weighted": (weighted[:, 1] / weighted.sum(axis=1)).tolist(),
        "set": conditional(truncated(tables, "x"), "zxy", "y", "x")[0, :, 1].tolist(),
    }


def _compared(theta, weight, design, outcome):
    """The gradient of the likelihood at ``theta``: restated, and by three other ways."""
    import tensorflow as tf
    import torch

    signs = 2 * outcome - 1
    leaf = torch.tensor(theta, requires_grad=True)
    logits = torch.tensor(signs) * (torch.tensor(design) @ leaf)
    (-torch.tensor(weight) @ torch.nn.functional.logsigmoid(logits)).backward()
    variable = tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        logits = tf.linalg.matvec(design, variable)
        entropies = tf.nn.sigmoid_cross_entropy_with_logits(outcome, logits)
        entropy = tf.reduce_sum(weight * entropies)
    numeric = differences(
        lambda moved: -weight @ np.log(expit(signs * (design @ moved[0]))), [theta]
    )
    return {
        "restated": -(weight * (outcome - expit(design @ theta))) @ design,
        "finite differences": numeric[0],
        "TensorFlow": tape.gradient(entropy, variable).numpy(),
        "PyTorch": leaf.grad.numpy(),
    }
