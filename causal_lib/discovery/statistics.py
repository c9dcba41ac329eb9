"""`Statistics`: count, mean and covariance of a mixed table, all that Gaussian and block scores
read of the data.

One pass over a frame or Parquet files, in memory that does not grow with the rows; parts merge
exactly, so that workers can each take files (map-reduce). Bootstrap covariances are made in the
same pass. A database sums a query's rows itself.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, reduce
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import ThreadpoolController

from causal_lib.checks import check_column_names, check_columns, check_frame
from causal_lib.data.queries import DIALECTS, Query
from causal_lib.discovery.encoding import plain
from causal_lib.discovery.moments import (
    along,
    arrow_batch,
    chunk_moments,
    em_moments,
    is_text,
    pool,
    read_column,
    row_weights,
    sorted_levels,
    take,
)
from causal_lib.discovery.query_moments import none_left, query_moments
from causal_lib.progress import progress_bar

# rows of one chunk: enough to hide Python's cost, few enough to hold two chunks at a time
_ROWS = 131_072
_pools = cache(ThreadpoolController)  # looking for the libraries takes longer than a small table


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Count, mean and population covariance of d variables in D encoded columns, and bootstrap
    draws of the same.

    A number or boolean is one column, its name; a category with k levels is the k - 1 indicators
    ``name=level`` of its sorted levels but the first.

    Parameters
    ----------
    names : the d variables.
    levels : per variable None (number, boolean) or the levels; the first is the reference and has
        no column.
    count : sum of the row weights.
    mean, cov : (D,) and (D, D) float64; ``cov`` is divided by ``count``, not by ``count`` - 1.
    rows, dropped : rows used, and rows left out because a value was missing.
    draws : counts (B,), means (B, D) and covariances (B, D, D) of the bootstrap draws; see `draw`.
    seeds : what the draws were drawn with; parts with a common seed are not merged.

    Raises
    ------
    ValueError
        for a shape that does not fit, a count that is not positive, or moments that are not finite.

    >>> frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 6.0], "city": ["b", "a", "c", "a"]})
    >>> stats = Statistics.from_frame(frame)
    >>> stats
    Statistics of 2 variables in 3 columns (1 category), 4 rows
    >>> stats.columns, stats.mean.tolist(), stats.cov[0].tolist()
    (('x', 'city=b', 'city=c'), [3.0, 0.25, 0.25], [3.5, -0.5, 0.0])
    """

    names: tuple[str, ...]
    levels: tuple[tuple | None, ...]
    count: float
    mean: np.ndarray
    cov: np.ndarray
    rows: int | None = None
    dropped: int = 0
    draws: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    seeds: tuple[int, ...] = ()

    def __post_init__(self):
        names = tuple(map(str, self.names))
        levels = tuple(None if v is None else tuple(v) for v in self.levels)
        if not len(levels) == len(names) == len(set(names)):
            raise ValueError(
                f"{len(names)} names ({len(set(names))} different) for {len(levels)} sets of levels"
            )
        count = float(self.count)
        rows = round(self.count) if self.rows is None else self.rows
        for name, value in {"names": names, "levels": levels, "count": count, "rows": rows}.items():
            object.__setattr__(self, name, value)
        width = len(self.columns)
        drawn = self.draws or (np.zeros(0), np.zeros((0, width)), np.zeros((0, width, width)))
        mean, cov, *drawn = (
            np.array(value, dtype=np.float64) for value in (self.mean, self.cov, *drawn)
        )
        shapes = [(width,), (width, width)]
        shapes += [(len(drawn[0]), *shape) for shape in [(), *shapes]]
        for value, shape in zip([mean, cov, *drawn], shapes, strict=True):
            if value.shape != shape:
                raise ValueError(
                    f"moments of shape {value.shape} where {width} columns need {shape}"
                )
            value.setflags(write=False)
        for name, value in {"mean": mean, "cov": cov, "draws": tuple(drawn)}.items():
            object.__setattr__(self, name, value)
        if not 0 < count < inf:
            raise ValueError(
                f"count is {count}: the weights of the rows must have a positive, finite sum"
            )
        wild = ~(np.isfinite(mean) & np.isfinite(cov).all(axis=0))
        if wild.any():
            raise ValueError(
                f"column {self.columns[int(wild.argmax())]!r}: moments are not finite; rescale it"
            )

    # ---- building --------------------------------------------------------------------------------

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, *, weights=None, missing="raise", n_boot=0, seed=0
    ) -> "Statistics":
        """The statistics of ``frame``'s columns: numbers, booleans, categories or text.

        Parameters
        ----------
        weights : non-negative weight of each row: (n,) array, or the name of a column, which then
            is no variable.
        missing : 'raise'; 'complete' leaves incomplete rows out (right when values are missing
            completely at random); 'em' gives the maximum likelihood under a Gaussian of the encoded
            columns (right when what is missing depends on observed values only, as far as they are
            Gaussian).
        n_boot : B bootstrap draws, rows weighted by independent Poisson(1) counts.
        seed : of the draws. The same seed, rows and chunks (``batch_rows``, ``chunk_rows``) give
            the same draws.

        Raises
        ------
        ValueError
            for missing or infinite values, a column that is neither number, boolean nor category or
            has over 1000 levels, weights that are negative or not finite, an EM that does not
            converge.

        Source: Chan, Golub and LeVeque 1983 (merging moments); Little and Rubin 2002, ch. 11 (EM).
        """
        _check_options(missing, n_boot, _ROWS)
        if isinstance(weights, str):
            check_frame(frame, [weights])
            name = weights
            weights = frame[name]
            frame = frame.drop(columns=name)
        check_frame(frame)  # infinite values are found on the way
        frame = plain(frame)
        w = None if weights is None else row_weights(weights, len(frame))
        batch = arrow_batch(frame)
        holes = any(column.null_count for column in batch.columns)
        check_frame(frame, frame.columns if missing == "raise" and holes else (), complete=True)
        if missing == "em" and holes:
            ((names, columns, _),) = _columns([(batch, w)])
            levels, stack = em_moments(names, columns, w, n_boot, np.random.default_rng([seed, 0]))
            rows = len(frame) if w is None else np.count_nonzero(w)
            return _unstack(names, levels, stack, rows, 0, [seed] * (n_boot > 0))
        parts = (
            (batch[s : s + _ROWS], None if w is None else w[s : s + _ROWS])
            for s in range(0, len(frame), _ROWS)
        )
        return _fold(_columns(parts), missing, n_boot, seed, len(frame))

    @classmethod
    def from_parquet(
        cls, paths, columns=None, *, categories=(), weights=None, missing="raise", n_boot=0, seed=0,
        batch_rows=_ROWS,
    ) -> "Statistics":  # fmt: skip
        """As `from_frame`, of Parquet files read ``batch_rows`` rows at a time; EM is refused.

        ``paths`` is a file, a folder (its ``*.parquet``, sorted) or several of either; ``columns``
        are by default those of the first file; ``categories`` names columns of numbers that are
        codes (Parquet does not tell: a pandas category of numbers is stored as numbers);
        ``weights`` names a column. Raises FileNotFoundError when there is no file.
        """
        _check_options(missing, n_boot, batch_rows, streamed=True)
        categories = check_columns(categories, name="categories")
        if columns is not None:
            columns = check_columns(columns, name="columns")
        paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        files = [
            file for p in paths for file in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])
        ]
        if not files:
            raise FileNotFoundError("paths: no Parquet file there")
        wanted = list(columns if columns is not None else pq.read_schema(files[0]).names)
        wanted += [weights] if weights is not None and weights not in wanted else []
        total = sum(pq.read_metadata(file).num_rows for file in files)
        batches = _weighted(_parquet_batches(files, wanted, batch_rows), weights, categories)
        with ThreadPoolExecutor(1) as reader:  # reads the next batch while this one is worked on
            return _fold(_ahead(reader, _columns(batches)), missing, n_boot, seed, total)

    @classmethod
    def from_sql(
        cls, connection, query, *, categories=(), weights=None, missing="raise", n_boot=0, seed=0,
        chunk_rows=100_000,
    ) -> "Statistics":  # fmt: skip
        """As `from_parquet`, of the rows of ``query``, which the database sums itself.

        Only sums leave SQLite, MySQL, MariaDB and DuckDB, not rows, unless draws are asked for:
        these, and all of another database, read the rows ``chunk_rows`` at a time.

        Parameters
        ----------
        connection : SQLAlchemy engine or connection, or a connection of DuckDB (``pip install
            'causal-lib[duckdb]'``).
        query : text or a select. It runs several times, so it must give the same rows each time. A
            query without ORDER BY may give them in another order next time, and so other draws.
            DuckDB reads Parquet parts by the types of the first, which rounds fractions where the
            first holds whole numbers: write read_parquet(..., union_by_name = true).

        >>> import sqlalchemy
        >>> engine = sqlalchemy.create_engine("sqlite://")
        >>> log = pd.DataFrame({"x": [1.0, 2.0, 3.0, 6.0], "city": ["b", "a", "c", "a"]})
        >>> log.to_sql("log", engine, index=False)
        4
        >>> stats = Statistics.from_sql(engine, "SELECT x, city FROM log WHERE x < 6")
        >>> stats.columns, stats.mean.round(3).tolist()
        (('x', 'city=b', 'city=c'), [2.0, 0.333, 0.333])
        """
        _check_options(missing, n_boot, chunk_rows, streamed=True)
        categories = check_columns(categories, name="categories")
        check_column_names(weights=weights)
        query = Query(connection, query)
        if not n_boot and query.dialect in DIALECTS:
            return _unstack(*query_moments(query, categories, weights, missing), ())
        batches = map(arrow_batch, query.frames(chunk_rows))
        return _fold(_columns(_weighted(batches, weights, categories)), missing, n_boot, seed, None)

    @staticmethod
    def merge(parts: Iterable["Statistics"]) -> "Statistics":
        """The statistics of all rows of ``parts`` together; a level that a part has not met has no
        row there.

        A part's mean is a float64, so an offset of 1e9 costs digits between parts (not within one):
        subtract it before.

        Raises ValueError when parts differ in their variables, a variable's kind or the number of
        draws, or share the seed of their draws, which would weight their rows alike.
        """
        parts = list(parts)
        seeds = set()
        if not parts:
            raise ValueError("merge: no parts")
        names = parts[0].names
        draws = parts[0].n_draws
        for k, part in enumerate(parts):
            different = sorted(set(names) ^ set(part.names))
            if different:
                raise ValueError(
                    f"merge: {', '.join(different)} not in both part 0 and part {k}; "
                    "take a subset first"
                )
            if part.n_draws != draws:
                raise ValueError(
                    f"merge: part {k} has {part.n_draws} draws, part 0 {draws}; give "
                    "all the same n_boot"
                )
            if seeds & set(part.seeds):
                raise ValueError(
                    f"merge: part {k} was drawn with the seed of another part; give "
                    "each its own seed"
                )
            seeds |= set(part.seeds)
        return reduce(
            _pair, [part if part.names == names else part.subset(names) for part in parts]
        )

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """The D encoded columns: ``name``, or ``name=level``."""
        pairs = zip(self.names, self.levels, strict=True)
        return tuple(
            c for n, v in pairs for c in ([n] if v is None else [f"{n}={level}" for level in v[1:]])
        )

    @property
    def widths(self) -> np.ndarray:
        """(d,) int: columns per variable; 0 for a category of one level."""
        return np.array([1 if v is None else len(v) - 1 for v in self.levels], dtype=int)

    @property
    def correlation(self) -> np.ndarray:
        """(D, D) correlations of the columns; nan in row and column of a constant one."""
        variance = self.cov.diagonal()
        scale = np.sqrt(np.where(variance > 0, variance, np.nan))
        return self.cov / scale / scale[:, None]

    @property
    def n_draws(self) -> int:
        """B, the number of bootstrap draws."""
        return len(self.draws[0])

    def draw(self, b: int) -> "Statistics":
        """The b-th bootstrap draw, without the levels that it has no row of.

        Its count is the sum of its random weights, so it differs a little from draw to draw.
        """
        if not 0 <= b < self.n_draws:
            raise ValueError(
                f"draw {b}: there are {self.n_draws} draws, counted from 0; ask for "
                "more with n_boot"
            )
        stack = tuple(moments[b : b + 1] for moments in self.draws)
        levels = []
        keep = []
        end = 0
        for own in self.levels:
            start = end
            end = end + (1 if own is None else len(own) - 1)
            share = stack[1][0, start:end]
            there = (
                [k for k, v in enumerate([1 - share.sum(), *share]) if v > 1e-12]
                if own is not None
                else [0, 1]
            )
            keep += [start + k - 1 for k in there[1:]]
            levels.append(own and tuple(own[k] for k in there))
        return _unstack(self.names, levels, take(stack, keep), self.rows, self.dropped, ())

    def subset(self, names: Sequence[str]) -> "Statistics":
        """The statistics of ``names`` only, in that order."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(
                f"no variable {', '.join(map(repr, unknown))}; variables: {', '.join(self.names)}"
            )
        if self.names == tuple(names):
            return self
        at = [self.names.index(name) for name in names]
        ends = np.cumsum([0, *self.widths])
        keep = [c for i in at for c in range(ends[i], ends[i + 1])]
        stack = take(_stack(self), keep)
        return _unstack(
            names, [self.levels[i] for i in at], stack, self.rows, self.dropped, self.seeds
        )

    def with_levels(self, levels: Sequence[tuple | None]) -> "Statistics":
        """The same in the columns of ``levels``, as in `Statistics`, which include its own."""
        stack = along(_stack(self), self.levels, levels)
        return _unstack(self.names, levels, stack, self.rows, self.dropped, self.seeds)

    def shrunk(self, share: float) -> "Statistics":
        """The same with every covariance between two columns made smaller by ``share`` (0 to 1), in
        the draws too.

        The way to run linear methods where columns determine each other (a category that is a
        function of others): no variance is explained to more than about 1 - ``share`` then, and
        such columns count as very strongly related.

        >>> frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]})
        >>> twins = Statistics.from_frame(frame)
        >>> twins.shrunk(0.01).correlation.round(2).tolist()
        [[1.0, 0.99], [0.99, 1.0]]
        """
        if not 0 <= share < 1:
            raise ValueError(f"share is {share}: it must be at least 0 and less than 1")
        factor = np.where(np.eye(len(self.mean), dtype=bool), 1.0, 1.0 - share)
        counts, means, covs = self.draws
        return replace(self, cov=self.cov * factor, draws=(counts, means, covs * factor))

    def __repr__(self):
        categories = sum(v is not None for v in self.levels)
        text = f"Statistics of {len(self.names)} variables in {len(self.mean)} columns"
        text += f" ({categories} categor{'y' if categories == 1 else 'ies'})" if categories else ""
        text += f", {self.rows:,} rows" + (
            f" of weight {self.count:g}" if self.count != self.rows else ""
        )
        text += f", {self.dropped:,} incomplete ones dropped" if self.dropped else ""
        return text + (f", {self.n_draws} bootstrap draws" if self.n_draws else "")


def _stack(stats):
    """Counts, means and covariances of the data (first) and all draws."""
    own = stats.count, stats.mean, stats.cov
    return [
        np.concatenate([[moment], drawn]) for moment, drawn in zip(own, stats.draws, strict=True)
    ]


def _unstack(names, levels, stack, rows, dropped, seeds):
    own = (moments[0] for moments in stack)
    drawn = tuple(moments[1:] for moments in stack)
    return Statistics(names, levels, *own, rows, dropped, drawn, tuple(sorted(seeds)))


def _pair(a, b):
    """Two parts as one, along the union of their levels."""
    levels = a.levels
    first = _stack(a)
    second = _stack(b)
    if a.levels != b.levels:
        pairs = list(zip(a.names, a.levels, b.levels, strict=True))
        mixed = [name for name, u, v in pairs if (u is None) != (v is None)]
        if mixed:
            raise ValueError(
                f"merge: variable {mixed[0]!r} is a category in one part and a number in the other"
            )
        levels = [None if u is None else sorted_levels(name, {*u, *v}) for name, u, v in pairs]
        first = along(first, a.levels, levels)
        second = along(second, b.levels, levels)
    seeds = {*a.seeds, *b.seeds}
    return _unstack(
        a.names, levels, pool(first, second), a.rows + b.rows, a.dropped + b.dropped, seeds
    )


# ---- chunks: Arrow record batches, whatever the source -------------------------------------------


def _check_options(missing, n_boot, rows, streamed=False):
    if missing not in ("raise", "complete", "em"):
        raise ValueError(f"missing: {missing!r} is not 'raise', 'complete' or 'em'")
    if n_boot < 0 or rows < 1:
        raise ValueError(f"n_boot {n_boot} and rows of a chunk {rows}: must be at least 0 and 1")
    if streamed and missing == "em":
        raise ValueError(
            "missing='em' needs all rows at once: read a sample of the rows and use "
            "Statistics.from_frame"
        )


def _parquet_batches(files, wanted, rows):
    first = pq.read_schema(files[0])
    for path in files:
        schema = pq.read_schema(path)
        lacking = [name for name in wanted if name not in schema.names]
        if lacking:
            there = ", ".join(schema.names)
            raise ValueError(
                f"{path.name}: no column {', '.join(map(repr, lacking))}; columns there: {there}"
            )
        for name in wanted:
            kind = schema.field(name).type
            known = first.field(name).type
            if _is_category(kind) != _is_category(known):
                raise ValueError(
                    f"{path.name}: column {name!r} is of type {kind}, in {files[0].name} of type "
                    f"{known}; write both parts with one type"
                )
        # its codes are all that is needed
        text = [name for name in wanted if is_text(schema.field(name).type)]
        # without pre_buffer, or it would hold the whole file in the end; a buffer keeps the reads
        # few
        with pq.ParquetFile(
            path, read_dictionary=text, pre_buffer=False, buffer_size=1 << 20
        ) as file:
            yield from (batch.select(wanted) for batch in file.iter_batches(rows, columns=wanted))


def _is_category(kind):
    return is_text(kind) or pa.types.is_dictionary(kind)


def _ahead(pool, items):
    coming = pool.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = pool.submit(next, items, None)
        yield item


def _weighted(batches, weights, categories):
    for batch in batches:
        names = batch.schema.names
        for name in [*categories, *([] if weights is None else [weights])]:
            if name not in names:
                raise ValueError(
                    f"categories or weights: no column {name!r}; columns there: {', '.join(names)}"
                )
        for name in categories:
            batch = batch.set_column(
                names.index(name), name, batch.column(name).dictionary_encode()
            )
        w = (
            None
            if weights is None
            else row_weights(batch.column(weights).to_pandas(), batch.num_rows)
        )
        yield batch.select([name for name in names if name != weights]), w


def _columns(batches):
    for batch, w in batches:
        names = batch.schema.names
        yield (
            names,
            [read_column(name, column) for name, column in zip(names, batch.columns, strict=True)],
            w,
        )


def _fold(chunks, missing, n_boot, seed, total):
    """The statistics of all ``chunks`` (names, columns, weights), held one at a time."""
    whole = None
    names = []
    seen = 0
    dropped = 0
    holes = 0
    bar = progress_bar(total=total, unit="row", desc="statistics")
    # products this small only make more threads wait for each other; an overflow is found in the
    # result
    with (
        bar,
        _pools().limit(limits=1, user_api="blas"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        for number, (names, columns, w) in enumerate(chunks):
            n = len(columns[0][0])
            holes = holes + np.array(
                [0 if gap is None else np.count_nonzero(gap) for *_, gap in columns]
            )
            if missing == "raise" and holes.any():
                raise ValueError(
                    f"column {names[holes.argmax()]!r} has {holes.max()} missing values in rows "
                    f"{seen} to {seen + n - 1}; "
                    "fill them in, or leave such rows out (missing='complete')"
                )
            gaps = [gap for *_, gap in columns if gap is not None]
            keep = ~np.any(gaps, axis=0) if gaps else np.ones(n, dtype=bool)
            seen = seen + n
            dropped = dropped + n - np.count_nonzero(keep)
            keep &= w > 0 if w is not None else True
            if not keep.all():
                columns = [(values[keep], levels, None) for values, levels, _ in columns]
                w = w[keep] if w is not None else None
            if keep.any():
                # means are held from here until the end, so that large ones lose no digits
                if whole is None:
                    origin = np.array(
                        [values[0] if levels is None else 0.0 for values, levels, _ in columns]
                    )
                rng = np.random.default_rng([seed, number])
                levels, stack = chunk_moments(names, columns, w, n_boot, rng, origin)
                part = _unstack(names, levels, stack, len(columns[0][0]), 0, [seed] * (n_boot > 0))
                whole = part if whole is None else _pair(whole, part)
            bar.update(n)
    if whole is None:
        gaps = np.broadcast_to(holes, len(names)).tolist()
        raise ValueError(
            none_left(seen, {name: gap for name, gap in zip(names, gaps, strict=True) if gap})
        )
    origin = np.repeat(origin, whole.widths)
    draws = whole.draws[0], whole.draws[1] + origin, whole.draws[2]
    return replace(whole, mean=whole.mean + origin, draws=draws, dropped=dropped)
