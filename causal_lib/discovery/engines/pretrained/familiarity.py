"""Does a table resemble the training tables? If not, the networks may be wrong with confidence.

Two out-of-distribution scores. The distance compares the means and deviations of the table's
features with those of the nearest training tables. The disagreement measures how far the networks
differ, which saw the same data in another order from another start. The limits of both are set on
validation tables and on families held out from training.
"""

import numpy as np
from scipy.special import expit

NEIGHBOURS = 5
DIRECTIONS = 30


def summary(nodes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(m,) means and deviations of the features over variables and pairs."""
    parts = [part.astype(np.float64) for part in (nodes, pairs, np.abs(pairs))]
    return np.concatenate(
        [value for part in parts for value in (part.mean(axis=0), part.std(axis=0))]
    )


def fit(summaries: np.ndarray, variables: np.ndarray, kept: int = 1500) -> dict[str, np.ndarray]:
    """What `distance` needs to know of the training tables.

    Returns the mean and scale that standardise a summary, the basis of its main directions, the
    coordinates of the last ``kept`` training tables there, and the usual distance between
    neighbours as a power law of the number of variables: tables of few variables vary more.
    """
    mean = summaries.mean(axis=0)
    scale = np.maximum(summaries.std(axis=0), 1e-6)
    standard = np.clip((summaries - mean) / scale, -10, 10)
    _, sizes, directions = np.linalg.svd(standard[:4000], full_matrices=False)
    basis = directions[:DIRECTIONS].T / np.maximum(
        sizes[:DIRECTIONS] / np.sqrt(min(4000, len(standard))), 1e-6
    )
    reference = {
        "mean": mean,
        "scale": scale,
        "basis": basis,
        "points": (standard @ basis)[-kept:],
        "usual": np.zeros(2),
    }
    gaps = np.log(distance(reference, summaries[-kept:], variables[-kept:], leave_out=True))
    return reference | {"usual": np.polyfit(np.log(variables[-kept:]), gaps, 1)}


def distance(
    reference: dict[str, np.ndarray],
    summaries: np.ndarray,
    variables: np.ndarray,
    leave_out: bool = False,
) -> np.ndarray:
    """(k,) distances of (k, m) ``summaries`` from their nearest training tables, 1 is usual.

    Each is the mean distance to the `NEIGHBOURS` nearest, divided by the usual one for that number
    of ``variables``.
    """
    standard = (
        np.clip((summaries - reference["mean"]) / reference["scale"], -10, 10) @ reference["basis"]
    )
    nearest = [
        np.sort(np.square(one - reference["points"]).mean(axis=1))[int(leave_out) :][:NEIGHBOURS]
        for one in standard
    ]
    return np.sqrt(nearest).mean(axis=1) / np.exp(np.polyval(reference["usual"], np.log(variables)))


def disagreement(logs: np.ndarray) -> float:
    """How far (networks, pairs) log-odds differ, from 0 to 1.

    The sum over pairs of the range of the probabilities, divided by the sum of their maxima.
    """
    if len(logs) < 2:
        return 0.0
    probabilities = expit(logs)
    return float(
        (probabilities.max(axis=0) - probabilities.min(axis=0)).sum()
        / max(probabilities.max(axis=0).sum(), 1e-6)
    )


def judge(weights, features, logs: np.ndarray) -> dict[str, object]:
    """Whether the table is familiar, and its distance and disagreement relative to their limits.

    A table is familiar if neither exceeds its limit.
    """
    limits = weights.about["limits"]
    found = summary(features.nodes, features.pairs)[None]
    d = np.array([len(features.nodes)])
    relative_distance = float(distance(weights.reference, found, d)[0]) / limits["distance"]
    relative_disagreement = disagreement(logs) / limits["disagreement"]
    return {
        "familiar": max(relative_distance, relative_disagreement) <= 1,
        "distance": relative_distance,
        "disagreement": relative_disagreement,
    }
