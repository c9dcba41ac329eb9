"""Does a table resemble what the networks were trained on? Outside of that they may be wrong with confidence.

Two signs: the distance of the table's features, averaged over pairs and variables, from those of the nearest training
tables; and how far the networks, which saw the same data in another order from another start, disagree. The limits are set
on validation tables and on families that were not trained on (`training`).
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
    """The reference: how to standardise a summary, its main directions, where ``kept`` training tables lie, and how far a
    training table of d ``variables`` lies from its neighbours: tables of few variables vary more.
    """
    mean, scale = summaries.mean(axis=0), np.maximum(summaries.std(axis=0), 1e-6)
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
    """(k,) distance of (k, m) ``summaries`` from their nearest training tables, beside what is usual of so many variables."""
    standard = (
        np.clip((summaries - reference["mean"]) / reference["scale"], -10, 10) @ reference["basis"]
    )
    near = [
        np.sort(np.square(one - reference["points"]).mean(axis=1))[int(leave_out) :][:NEIGHBOURS]
        for one in standard
    ]
    return np.sqrt(near).mean(axis=1) / np.exp(np.polyval(reference["usual"], np.log(variables)))


def disagreement(logs: np.ndarray) -> float:
    """Of (networks, pairs) log-odds: how far they differ, beside the number of edges they expect (0 to 1)."""
    if len(logs) < 2:
        return 0.0
    shares = expit(logs)
    return float(
        (shares.max(axis=0) - shares.min(axis=0)).sum() / max(shares.max(axis=0).sum(), 1e-6)
    )


def judge(weights, features, logs: np.ndarray) -> dict[str, object]:
    """Whether the table is familiar; its distance and the networks' disagreement, both relative to their limits."""
    limits = weights.about["limits"]
    found, d = summary(features.nodes, features.pairs)[None], np.array([len(features.nodes)])
    far = float(distance(weights.reference, found, d)[0]) / limits["distance"]
    apart = disagreement(logs) / limits["disagreement"]
    return {"familiar": max(far, apart) <= 1, "distance": far, "disagreement": apart}
