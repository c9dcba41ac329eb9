"""Moments of mixed columns: counting for categories, matrix products for numbers, EM where values
are missing.

A stack is the moments of the data and of B bootstrap draws: counts (1 + B,), means (1 + B, D),
covariances (1 + B, D, D). A column is (float64 values, None, gaps) for numbers or (codes, levels,
gaps); gaps are True where missing, None for nowhere.
"""

from math import inf, prod

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.linalg import block_diag

from causal_lib.discovery.compiled import njit
from causal_lib.resampling import poisson_counts

BOOLEAN = (False, True)
# rows whose numbers stay in the processor's cache while they are laid out and multiplied
_CACHED = 4_096
_CELLS = 64  # cells of a joint table of categories: larger ones are fewer, but leave the cache
MAX_LEVELS = 1_000  # a category of more levels is an identifier, and its block would not fit memory
_EM_STEPS = 2_000


def is_text(kind) -> bool:
    """Whether an Arrow type is text."""
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def row_weights(values, n):
    """(n,) weights of the rows; ValueError unless they are non-negative and finite."""
    w = pd.Series(values).to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~(np.isfinite(w) & (w >= 0))
    if len(w) != n or bad.any():
        raise ValueError(
            f"weights: {len(w)} for {n} rows, {int(bad.sum())} of them negative, "
            "missing or infinite"
        )
    return w


def arrow_batch(frame):
    """``frame`` as one Arrow record batch; ValueError for columns that Arrow cannot hold."""
    arrays = []
    # quicker than Table.from_pandas, which looks at types and index first
    for name, values in frame.items():
        plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf"
        try:
            array = pa.array(values.to_numpy() if plain else values, from_pandas=True)
        except (pa.ArrowException, TypeError) as error:
            raise ValueError(
                f"column {name!r}: {error}: make it numbers, text or a category"
            ) from None
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
    return pa.RecordBatch.from_arrays(arrays, [str(name) for name in frame.columns])


def read_column(name, column):
    """An Arrow array as a column; ValueError for infinite values, over 1000 levels or a type that
    is no variable's.
    """
    kind = column.type
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if np.isfinite(values.sum()):
            return values, None, None
        infinite = np.count_nonzero(np.isinf(values))
        if infinite:
            raise ValueError(f"column {name!r} has {infinite} infinite values; replace them first")
        return values, None, np.isnan(values)
    if pa.types.is_boolean(kind):
        codes = column.cast(pa.int8())
        levels = BOOLEAN
    elif is_text(kind) or pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
        if column.dictionary.null_count:  # a null may also stand among the levels
            column = column.cast(column.type.value_type).dictionary_encode()
        codes = column.indices.cast(pa.int32())
        levels = tuple(column.dictionary.to_pylist())
    else:
        raise ValueError(
            f"column {name!r} is of type {kind}; make it a number or a category, or leave it out"
        )
    gaps = codes.is_null().to_numpy(zero_copy_only=False) if codes.null_count else None
    codes = codes.fill_null(0).to_numpy()
    if len(levels) > MAX_LEVELS:  # few of a dictionary's levels may occur
        used, codes = np.unique(codes, return_inverse=True)
        if len(used) > MAX_LEVELS:
            raise ValueError(
                f"column {name!r} has {len(used)} levels; leave an identifier out, "
                "group other levels"
            )
        levels = tuple(levels[k] for k in used)
    return codes, levels, gaps


def sorted_levels(name, levels):
    """``levels`` sorted, or a ValueError where text and numbers are mixed."""
    try:
        return tuple(sorted(levels))
    except TypeError:
        raise ValueError(
            f"column {name!r} has levels of several types, such as text and numbers; make them one"
        ) from None


def _order(name, levels, occurs):
    """Positions of the levels that occur, sorted by level, and the levels as `Statistics` names
    them.
    """
    if levels is BOOLEAN:
        return [0, 1], None
    there = sorted_levels(name, [level for level, some in zip(levels, occurs, strict=True) if some])
    return [levels.index(level) for level in there], there


def chunk_moments(names, columns, w, n_boot, rng, origin):
    """Levels and stack of complete columns, means counted from ``origin`` (d,).

    Rows are weighted by ``w`` (None: alike), in draws by Poisson(1) counts too.
    """
    numeric = [k for k, (_, levels, _) in enumerate(columns) if levels is None]
    numbers = [columns[k][0] for k in numeric]
    n = len(columns[0][0])
    p = len(numeric)
    shift = [values[:_CACHED].mean() for values in numbers]
    cells, back = _cells([column for column in columns if column[1] is not None], n)
    draws = (poisson_counts(n, rng) * (1.0 if w is None else w) for _ in range(n_boot))
    moments = (_moments(numbers, shift, cells, back, v) for v in (w, *draws))
    counts, means, covs = (np.array(each) for each in zip(*moments, strict=True))
    means[:, :p] += np.subtract(shift, np.asarray(origin)[numeric])
    return by_variable(names, [levels for _, levels, _ in columns], (counts, means, covs))


def by_variable(names, levels, stack):
    """Levels and stack of the columns of variables, of a stack whose columns are the numbers and
    then all ``levels``, references too.
    """
    number_at = 0
    level_at = sum(own is None for own in levels)
    keep = []
    kept_levels = []
    for name, own in zip(names, levels, strict=True):
        if own is None:
            keep.append(number_at)
            kept_levels.append(None)
            number_at += 1
        else:
            order, kept = _order(name, own, stack[1][0, level_at : level_at + len(own)] > 0)
            keep += [level_at + k for k in order[1:]]
            kept_levels.append(kept)
            level_at += len(own)
    return kept_levels, take(stack, keep)


def _cells(coded, n):
    """Joint codes (n, g) of g groups of categories, and the 0-1 matrix that sums their cells to
    levels.

    A pass over a few joint tables costs less than one over every pair of categories.
    """
    groups = []
    size = inf
    for k, (_, levels, _) in enumerate(coded):
        if size * len(levels) > _CELLS:
            groups.append([])
            size = 1
        groups[-1].append(k)
        size *= len(levels)
    sizes = [len(levels) for _, levels, _ in coded]
    starts = np.cumsum([0, *sizes])
    first = 0
    cells = np.zeros((n, len(groups)), dtype=np.int32)
    back = np.zeros((0, sum(sizes)))
    for g, group in enumerate(groups):
        joint = np.zeros(n, dtype=np.int32)
        for k in group:
            joint *= sizes[k]
            joint += coded[k][0]
        np.add(joint, first, out=cells[:, g])
        shape = [sizes[k] for k in group]
        block = np.zeros((prod(shape), sum(sizes)))
        for k, level in zip(group, np.unravel_index(np.arange(len(block)), shape), strict=True):
            block[np.arange(len(block)), starts[k] + level] = 1
        back = np.vstack([back, block])
        first = first + len(block)
    return cells, back


def _moments(numbers, shift, cells, back, w):
    """Count, mean and covariance of the shifted numbers and of the indicators of all levels."""
    n = len(cells)
    p = len(numbers)
    square = np.zeros((p + 1, p + 1))
    buffer = np.ones((_CACHED, p + 1))
    sums = np.zeros((len(back), p + 1))
    counts = np.zeros((len(back), len(back)))
    root = None if w is None else np.sqrt(w)[:, None]
    w = np.ones(n) if w is None else w
    for s in range(0, n, _CACHED):
        e = s + _CACHED
        x = buffer[: n - s]  # the last column stays 1 and counts
        for j, values in enumerate(numbers):
            np.subtract(values[s:e], shift[j], out=x[:, j])
        if cells.shape[1]:
            _tabulate(x, cells[s:e], w[s:e], sums, counts)
        weighted = x if root is None else x * root[s:e]
        square += weighted.T @ weighted
    sums = back.T @ sums
    counts = back.T @ (counts + np.triu(counts, 1).T) @ back
    return of_sums(square, sums, counts)


def of_sums(square, sums, counts):
    """Count, mean and covariance of p numbers and L levels, of weighted sums.

    ``square`` (p + 1, p + 1) of the products of numbers, the last of which is 1; ``sums`` (L, p +
    1) of the numbers in each level; ``counts`` (L, L) of pairs of levels.
    """
    p = len(square) - 1
    count = square[p, p]
    # a draw may have left out every row
    mean = np.concatenate([square[p, :p], sums[:, p]]) / (count or 1)
    second = np.block([[square[:p, :p], sums[:, :p].T], [sums[:, :p], counts]]) / (count or 1)
    return count, mean, (second + second.T) / 2 - np.outer(mean, mean)


@njit(nogil=True)
def _tabulate(x, cells, w, sums, counts):
    """Add the weighted rows of ``x`` to the ``sums`` of their cells, and their weight to the
    ``counts`` of pairs of cells.
    """
    for r in range(len(x)):
        if w[r] > 0:
            for a in range(cells.shape[1]):
                i = np.uint32(cells[r, a])  # unsigned: no test for an index from the end
                for j in range(x.shape[1]):
                    sums[i, j] += w[r] * x[r, j]
                for b in range(a, cells.shape[1]):
                    counts[i, np.uint32(cells[r, b])] += w[r]


def em_moments(names, columns, w, n_boot, rng):
    """As `chunk_moments`, of incomplete columns: maximum likelihood under a Gaussian; draws start
    at the data's.
    """
    w = np.ones(len(columns[0][0])) if w is None else w
    blocks = []
    kept_levels = []
    for name, (values, levels, gaps) in zip(names, columns, strict=True):
        kept = None
        if levels is not None:
            there = (
                np.bincount(
                    values[w > 0 if gaps is None else (w > 0) & ~gaps], minlength=len(levels)
                )
                > 0
            )
            order, kept = _order(name, levels, there)
            values = (values[:, None] == order[1:]).astype(float)
            values[gaps if gaps is not None else []] = np.nan
        blocks.append(values.reshape(len(w), -1))
        kept_levels.append(kept)
    x = np.hstack(blocks)[w > 0]
    owner = np.repeat(names, [block.shape[1] for block in blocks])
    w = w[w > 0]
    known = ~np.isnan(x)
    together = known.T.astype(float) @ known
    if not known.any(axis=0).all():
        raise ValueError(
            f"column {str(owner[known.any(axis=0).argmin()])!r} holds only missing "
            "values; leave it out"
        )
    if (together == 0).any():
        a, b = (str(owner[k]) for k in np.argwhere(together == 0)[0])
        raise ValueError(
            f"columns {a!r} and {b!r} are never observed in the same row; leave one of them out"
        )
    shift = np.nanmean(x, axis=0)
    scale = np.nanstd(x, axis=0)
    scale[scale == 0] = 1
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    groups = [(seen, np.flatnonzero(which == k)) for k, seen in enumerate(patterns)]
    x = (x - shift) / scale
    own = _em(x, groups, w, np.zeros(len(scale)), np.eye(len(scale)))
    draws = [_em(x, groups, w * poisson_counts(len(w), rng), *own[1:]) for _ in range(n_boot)]
    counts, means, covs = (np.array(each) for each in zip(own, *draws, strict=True))
    return kept_levels, (counts, means * scale + shift, covs * scale * scale[:, None])


def _em(x, groups, w, mean, cov):
    """Count, mean and covariance at which expectation and maximisation agree; ``groups`` are rows
    with the same gaps.
    """
    filled = np.where(np.isnan(x), 0.0, x)
    for _ in range(_EM_STEPS):
        noise = np.zeros_like(cov)
        before = (mean, cov)
        for seen, rows in groups:
            gone = ~seen
            slope = (
                np.linalg.pinv(cov[np.ix_(seen, seen)], rcond=1e-10, hermitian=True)
                @ cov[np.ix_(seen, gone)]
            )
            filled[np.ix_(rows, gone)] = mean[gone] + (x[np.ix_(rows, seen)] - mean[seen]) @ slope
            noise[np.ix_(gone, gone)] += w[rows].sum() * (
                cov[np.ix_(gone, gone)] - cov[np.ix_(gone, seen)] @ slope
            )
        mean = w @ filled / w.sum()
        cov = ((filled - mean).T * w @ (filled - mean) + noise) / w.sum()
        if max(np.abs(mean - before[0]).max(), np.abs(cov - before[1]).max()) < 1e-9:
            return w.sum(), mean, (cov + cov.T) / 2
    raise ValueError(
        f"EM has not converged in {_EM_STEPS} steps, too much is missing; use fewer columns or "
        "missing='complete'"
    )


def take(stack, keep):
    """The stack of the columns ``keep`` only, in that order."""
    keep = np.array(keep, dtype=int)
    return stack[0], stack[1][:, keep], stack[2][:, keep[:, None], keep]


def pool(first, second):
    """The stack of all rows of two stacks of the same columns (Chan, Golub and LeVeque 1983)."""
    count, mean, cov = first
    more, other_mean, other_cov = second
    share = more / np.where(count + more > 0, count + more, 1)
    step = other_mean - mean
    between = (share * (1 - share))[:, None, None] * step[:, :, None] * step[:, None, :]
    return (
        count + more,
        mean + share[:, None] * step,
        cov + share[:, None, None] * (other_cov - cov) + between,
    )


def along(stack, levels, wanted):
    """The stack of columns coded by ``levels`` as coded by the levels ``wanted``, which include
    them: a linear map.
    """
    maps = []
    start = []
    for own, new in zip(levels, wanted, strict=True):
        if own is None:
            maps.append(np.ones((1, 1)))
            start.append(0.0)
        else:
            place = np.array(
                [[level == other for other in own] for level in new[1:]], dtype=float
            ).reshape(-1, len(own))
            # the reference's indicator is 1 less all the others
            maps.append(place[:, 1:] - place[:, :1])
            start += place[:, 0].tolist()
    weights = block_diag(*maps)
    cov = weights @ stack[2] @ weights.T
    return stack[0], stack[1] @ weights.T + start, (cov + cov.swapaxes(1, 2)) / 2
