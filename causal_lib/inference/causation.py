"""Would it have happened without? Probabilities of necessity and sufficiency, which data bound and only assumptions fix."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from causal_lib.data.schema import check_binary, check_frame
from causal_lib.inference.estimators import NoOverlapError
from causal_lib.inference.networks import cut


def probabilities_of_causation(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    monotone: bool = False,
    bins: int = 4,
    n_boot: int = 500,
    cluster: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Bounds of three counterfactual probabilities of a binary treatment and outcome, averaged over strata of the adjustment.

    - necessity: of those who were treated and have the outcome, the share that would not have it without treatment ("would this
      user have bought without the recommendation?");
    - sufficiency: of those untreated and without outcome, the share that would have it if treated;
    - both: the share of all who have it if and only if treated.

    No data identify them, not even an experiment: two users who look the same may be moved differently. Bounds are the
    narrowest that hold whatever the mechanism; with ``monotone`` (the treatment takes the outcome from nobody) they close.

    Parameters
    ----------
    frame : treatment and outcome 0/1, no holes.
    adjustment : a back-door set; numbers of more than ``bins`` values are cut into quantile bins, and what a bin hides stays.
    n_boot, cluster, seed : draws for the interval, of rows or of the groups of a column.

    Returns
    -------
    Rows necessity, sufficiency, both; columns lower, upper (the bounds), low, high (2.5% point of the lower, 97.5% point of
    the upper bound over the draws).

    Raises
    ------
    NoOverlapError
        for a stratum with one arm only.
    ValueError
        for ``monotone`` where more than sampling error speaks against it: an effect below 0 in some stratum.

    Source: Tian and Pearl 2000, within strata as in Pearl 2009 and averaged (Kuroki and Cai 2011).
    """
    adjustment = list(adjustment)
    check_frame(frame, [treatment, outcome, *adjustment, *([cluster] if cluster else [])], complete=True)
    t, y = (
        check_binary(frame[name], name=f"{what} {name!r}")
        for name, what in ((treatment, "treatment"), (outcome, "outcome"))
    )
    codes = [cut(frame[name], bins)[0] for name in adjustment]
    stratum = pd.factorize(pd.MultiIndex.from_arrays(codes))[0] if codes else np.zeros(len(t), dtype=int)
    count = stratum.max() + 1
    groups = pd.factorize(frame[cluster])[0] if cluster else np.arange(len(t))
    cell = (stratum * 2 + t) * 2 + y
    rng, draws = np.random.default_rng(seed), []
    for draw in range(n_boot + 1):
        weights = rng.poisson(1, groups.max() + 1)[groups] if draw else np.ones(len(t))
        draws.append(np.bincount(cell, weights, minlength=4 * count).reshape(count, 2, 2))
    cells = np.array(draws)  # (draws, strata, treatment, outcome)
    arms = cells[0].sum(axis=2)
    if (arms == 0).any():
        alone = int((arms == 0).any(axis=1).sum())
        raise NoOverlapError(
            f"{alone} of {count} strata of {', '.join(adjustment)} hold one arm of {treatment!r} only; lower bins, or leave rows "
            "out that could not have had both"
        )
    if monotone:
        _check_monotone(cells[0], treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        bounds = _bounds(cells, monotone)
    names = ["necessity", "sufficiency", "both"]
    table = pd.DataFrame(bounds[:, :, 0], index=names, columns=["lower", "upper"])
    if n_boot:
        table["low"] = np.nanquantile(bounds[:, 0, 1:], 0.025, axis=1)
        table["high"] = np.nanquantile(bounds[:, 1, 1:], 0.975, axis=1)
    return table


def _bounds(cells, monotone):
    """(3, 2, draws) lower and upper bounds of necessity, sufficiency and both."""
    total = cells.sum(axis=(2, 3))  # (draws, strata)
    joint = cells / total[..., None, None]
    rate = cells[..., 1] / cells.sum(axis=3)  # P(y | t, stratum) = P(y_t | stratum)
    without, treated = rate[..., 0], rate[..., 1]
    hit, miss = joint[..., 1, 1], joint[..., 0, 0]  # treated with outcome, untreated without
    low = np.maximum(0, treated - without)
    high = np.where(monotone, low, np.minimum(treated, 1 - without))
    # within a stratum the treatment is as good as random: both tells of necessity and sufficiency
    answers = []
    for weight, base in ((hit, treated), (miss, 1 - without), (np.ones_like(hit), np.ones_like(hit))):
        weight = np.nan_to_num(weight * total)
        parts = [np.nan_to_num(np.minimum(side / base, 1)) for side in (low, high)]
        answers.append([(part * weight).sum(axis=1) / weight.sum(axis=1) for part in parts])
    return np.array(answers)


def _check_monotone(cells, treatment):
    """Raise where an effect lies so far below 0 that chance does not explain it, many strata allowed for."""
    sizes = cells.sum(axis=2)
    rate = (cells[..., 1] + 0.5) / (sizes + 1)
    error = np.sqrt((rate * (1 - rate) / sizes).sum(axis=1))
    z = (cells[:, 1, 1] / sizes[:, 1] - cells[:, 0, 1] / sizes[:, 0]) / error
    limit = -np.sqrt(2 * np.log(20 * len(z)))  # a normal z below it in any of so many strata: less than once in 20
    if z.min() < limit:
        raise ValueError(
            f"monotone: in {int((z < limit).sum())} of {len(z)} strata {treatment!r} lowers the outcome (z = {z.min():.1f}); "
            "give monotone=False"
        )
