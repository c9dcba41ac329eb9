"""Resampling of rows and clusters, and the intervals that come from it: the only place of the
package that does it.

A bootstrap draws n rows (or n clusters, each with all its rows) from n with replacement. The three
schemes below draw one replicate each; callers repeat them with one generator, so that a seed fixes
all replicates.

- `resampled_indices`: which rows are drawn, for statistics that need the rows themselves;
- `resampled_counts`: how often each row is drawn, for statistics that are sums of weighted rows;
- `poisson_counts`: independent counts of mean 1, whose sum is n on average only. They can be drawn
  for one chunk of rows after another, without knowing n.
"""

import numpy as np
import pandas as pd
from scipy.stats import t

from causal_lib.checks import check_ids


def cluster_codes(frame: pd.DataFrame, column: str | None) -> np.ndarray:
    """(n,) number of each row's cluster, from 0 in the order of appearance; without a ``column``,
    of the row itself. ValueError for ids of mixed types.

    >>> cluster_codes(pd.DataFrame({"user": ["b", "a", "b"]}), "user").tolist()
    [0, 1, 0]
    """
    if not column:
        return np.arange(len(frame))
    check_ids(frame[column])
    return pd.factorize(frame[column])[0]


def group_codes(groups, *, name: str = "groups", sort: bool = False) -> np.ndarray:
    """(n,) number of each row's group, from 0, of one id per row.

    In the order of appearance, or with ``sort`` in that of the ids, whatever the order of the rows.
    ValueError for ids that are missing or of mixed types: 1 and '1' would be one group or two.
    """
    ids = pd.Series(groups, name=name)
    if missing := int(ids.isna().sum()):
        raise ValueError(f"{name}: {missing} of {len(ids)} ids are missing; leave those rows out")
    check_ids(ids, name=name)
    return pd.factorize(ids, sort=sort)[0]


def resampled_indices(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) indices of one bootstrap replicate, drawn from 0..n-1 with replacement."""
    return rng.integers(n, size=n)


def subsampled_indices(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n // 2,) different indices, drawn from 0..n-1 without replacement.

    Source: half-sampling, Bühlmann and Yu 2002; in stability selection, Meinshausen and Bühlmann
    2010.
    """
    return rng.permutation(n)[: n // 2]


def index_counts(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) how often each row occurs in one draw of `resampled_indices`, as floats."""
    return np.bincount(resampled_indices(n, rng), minlength=n).astype(float)


def resampled_counts(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) how often each row is drawn in one bootstrap replicate: multinomial counts, whose sum is
    n.
    """
    return rng.multinomial(n, np.full(n, 1 / n))


def poisson_counts(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) independent Poisson(1) counts: a bootstrap replicate of n rows on average. Source: Oza
    and Russell 2001.
    """
    return rng.poisson(1.0, n)


def percentile_ends(replicates: np.ndarray, tail: float = 0.025) -> tuple[np.ndarray, np.ndarray]:
    """The percentiles ``tail`` and 1 - ``tail`` of ``replicates`` (draws, ...), each of the shape
    of one replicate.

    Undefined replicates (nan) are left out; where all are undefined, the ends are so too.

    >>> percentile_ends(np.arange(101.0))
    (np.float64(2.5), np.float64(97.5))
    """
    replicates = np.asarray(replicates, dtype=float)
    table = pd.DataFrame(replicates.reshape(len(replicates), -1))
    low, high = table.quantile([tail, 1 - tail]).to_numpy()
    shape = replicates.shape[1:]
    return low.reshape(shape)[()], high.reshape(shape)[()]


def mean_with_interval(
    repeats: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, low and high of independent ``repeats`` (m, ...) over the first axis: Student's
    t-interval.

    Source: mean ± t_{m-1} s / √m.

    >>> [round(float(x), 3) for x in mean_with_interval(np.array([3, 4, 5]))]
    [4.0, 1.516, 6.484]
    """
    repeats = np.asarray(repeats)
    m = len(repeats)
    mean = repeats.mean(axis=0)
    half = t.ppf((1 + level) / 2, m - 1) * repeats.std(axis=0, ddof=1) / np.sqrt(m)
    return mean, mean - half, mean + half
