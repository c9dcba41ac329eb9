"""Probabilities of necessity and sufficiency: data give bounds, a value needs an assumption."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from causal_lib.checks import (
    check_binary,
    check_column_names,
    check_columns,
    check_draws,
    check_frame,
    check_no_copy,
)
from causal_lib.columns import number_of
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.estimators import Sample
from causal_lib.inference.models import Fitting
from causal_lib.inference.nuisances import (
    NoOverlapError,
    cross_fit,
)
from causal_lib.inference.support import judge_arms
from causal_lib.ordering import canonical_columns, canonical_order
from causal_lib.resampling import cluster_codes, percentile_ends, poisson_counts

_PARTS = ("treated", "hit", "treated without", "miss", "untreated with", "untreated hit")


def probabilities_of_causation(
    frame: pd.DataFrame,
    treatment: str,
    outcome: str,
    adjustment: Sequence[str],
    *,
    monotone: bool = False,
    strata: int = 10,
    n_boot: int = 500,
    cluster: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Bounds of three counterfactual probabilities of a binary treatment and outcome.

    - necessity: of those who were treated and have the outcome, the share that would not have it
      without treatment ("would this user have bought without the recommendation?");
    - sufficiency: of those untreated and without outcome, the share that would have it if treated;
    - both: the share of all who have it if and only if treated.

    No data identify them, not even an experiment: two users who look the same may respond
    differently. The bounds are the narrowest that hold for every mechanism within ``strata`` equal
    groups of rows by their predicted effect; with ``monotone`` (the treatment takes the outcome
    from nobody) they are equal. The outcomes of the treated without treatment and of the others
    with treatment are estimated doubly robustly, as by 'aipw' of `effects.effect`.

    Parameters
    ----------
    frame : treatment and outcome 0/1, no missing values.
    adjustment : a back-door set: numbers, categories or dates.
    n_boot, cluster, seed : draws for the interval, of rows or of the groups of a column; the models
        are held fixed.

    Returns
    -------
    Rows necessity, sufficiency, both; columns lower, upper (the bounds), low, high (2.5% point of
    the lower, 97.5% point of the upper bound over the draws).

    Raises
    ------
    NoOverlapError
        where over a tenth of the rows have no counterpart in the other arm.
    ValueError
        for ``monotone`` where the data contradict it (in some stratum the effect is below 0 by more
        than chance); for fewer than one stratum.

    Source: Tian and Pearl 2000, within strata as in Pearl 2009 and averaged (Kuroki and Cai 2011);
    scores, Robins, Rotnitzky and Zhao 1994.
    """
    check_column_names(treatment=treatment, outcome=outcome, cluster=cluster)
    adjustment = check_columns(adjustment, name="adjustment")
    if own := sorted({treatment, outcome} & set(adjustment)):
        raise ValueError(f"adjustment holds {', '.join(own)} itself")
    others = [] if cluster is None else [cluster]
    check_frame(frame, [treatment, outcome, *adjustment, *others], complete=True)
    check_draws(n_boot)
    if strata < 1:
        raise ValueError(f"{strata=}: at least 1 is needed")
    t = _zero_one(frame, treatment, "treatment")
    y = _zero_one(frame, outcome, "outcome")
    x = Covariates.fit(frame, adjustment).table(frame)
    check_no_copy(x, y, outcome)
    groups = cluster_codes(frame, cluster)
    x = x[canonical_columns(x, y, t)]
    order = canonical_order(x, y, t, clusters=groups)
    t = t[order]
    y = y[order]
    x = x.iloc[order].reset_index(drop=True)
    groups = pd.factorize(groups[order])[0]
    chances, means = cross_fit(y, t, x, groups, Fitting(seed=seed))
    judged = judge_arms(Sample(y, t, x, groups, np.ones(len(y)), known=chances))
    if judged.verdict == "extrapolated":
        raise NoOverlapError(
            f"no overlap: {'; '.join(judged.reasons)}; restrict the question to rows that could "
            "have had either treatment"
        )
    odds = chances[:, 1] / chances[:, 0]
    # its sum counts the treated who would have the outcome without treatment
    without = t * means[:, 0] + (1 - t) * odds * (y - means[:, 0])
    treated = (1 - t) * means[:, 1] + t / odds * (y - means[:, 1])
    parts = np.column_stack([t, t * y, without, (1 - t) * (1 - y), treated, (1 - t) * y])
    predicted = means[:, 1] - means[:, 0]
    stratum = np.searchsorted(
        np.quantile(predicted, np.linspace(0, 1, strata + 1)[1:-1]), predicted, side="right"
    )
    sums = _sums_by_cluster(parts, groups, stratum, strata)
    if monotone:
        _check_monotone(parts, stratum, groups, treatment)
    rng = np.random.default_rng(seed)
    drawn = [np.tensordot(poisson_counts(len(sums), rng), sums, axes=1) for _ in range(n_boot)]
    bounds = _bounds(np.array([sums.sum(axis=0), *drawn]), monotone)
    names = ["necessity", "sufficiency", "both"]
    table = pd.DataFrame(bounds[0], index=names, columns=["lower", "upper"])
    if n_boot:
        table["low"], _ = percentile_ends(bounds[1:, :, 0])
        _, table["high"] = percentile_ends(bounds[1:, :, 1])
    return table


def _zero_one(frame, column, what):
    return check_binary(number_of(frame, column), name=f"{what} {column!r}")


def _sums_by_cluster(parts, groups, stratum, strata):
    """(clusters, strata, parts) sums."""
    cell = groups * strata + stratum
    size = (groups.max() + 1) * strata
    return np.stack([np.bincount(cell, part, minlength=size) for part in parts.T], axis=1).reshape(
        -1, strata, len(_PARTS)
    )


def _bounds(sums, monotone):
    """(draws, 3, 2) lower and upper bounds of the three; ``sums`` (draws, strata, parts)."""
    treated, hit, without, miss, with_it, own = np.moveaxis(sums, 2, 0)
    if monotone:  # no row loses the outcome by treatment
        ends = [(hit - without, with_it - own)] * 2
    else:
        ends = [
            (np.maximum(0, hit - without), np.maximum(0, with_it - own)),
            (np.minimum(hit, treated - without), np.minimum(miss, with_it)),
        ]
    answers = []
    rows = (treated + miss + own).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for needed, enough in ends:
            needed = needed.sum(axis=1)
            enough = enough.sum(axis=1)
            shares = needed / hit.sum(axis=1), enough / miss.sum(axis=1), (needed + enough) / rows
            answers.append(np.clip(np.stack(shares, axis=1), 0, 1))
    return np.stack(answers, axis=2)


def _check_monotone(parts, stratum, groups, treatment):
    """Raise where a stratum's effect lies below 0 by more than chance among all strata."""
    # the effect of each row, doubly robust
    score = parts[:, 1] - parts[:, 2] + parts[:, 4] - parts[:, 5]
    values = []
    for number in np.unique(stratum):
        inside = stratum == number
        spread = np.bincount(groups, inside * (score - score[inside].mean()))
        values.append(score[inside].sum() / np.sqrt((spread**2).sum()))
    z = np.array(values)
    limit = -np.sqrt(2 * np.log(20 * len(values)))  # below it in any: less than once in 20
    if z.min() < limit:
        raise ValueError(
            f"monotone: in {int((z < limit).sum())} of {len(z)} strata {treatment!r} lowers the "
            f"outcome (z = {z.min():.1f}); "
            "give monotone=False"
        )
