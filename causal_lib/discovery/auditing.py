"""Pre-flight audit: `audit` says what in a table would break or mislead a discovery method, before
any method runs.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy.linalg.lapack import dpstrf

from causal_lib.columns import far_from_others
from causal_lib.discovery.statistics import Statistics
from causal_lib.discovery.table import Table
from causal_lib.knowledge import Knowledge

SEVERITIES = ("error", "warning", "note")
COLUMN_KINDS = ("numeric", "binary", "categorical")
# share of variance left by an exact linear function: rounding of the covariances stays below it
_EXACT = 1e-9
_MANY_LEVELS = 1_000  # `Statistics` takes no more
_FEW_CODES = 10  # an integer column with so few distinct values may be codes


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with ``columns``; ``message`` says the way out."""

    code: str
    severity: str
    columns: tuple[str, ...]
    message: str


@dataclass(frozen=True, repr=False)
class Audit:
    """What `audit` found, gravest first, in a table of ``rows`` rows and ``width`` columns."""

    findings: tuple[Finding, ...]
    rows: int
    width: int

    def raise_errors(self, name: str = "frame", *, allow: Sequence[str] = ()) -> "Audit":
        """The audit itself, or a ValueError that lists every finding of severity 'error', codes in
        ``allow`` left out.
        """
        errors = [f.message for f in self.findings if f.severity == "error" and f.code not in allow]
        if errors:
            raise ValueError(
                f"{name}: {errors[0]}" if len(errors) == 1 else "\n- ".join([f"{name}:", *errors])
            )
        return self

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: severity, code, columns (joined), message."""
        rows = [(f.severity, f.code, ", ".join(f.columns), f.message) for f in self.findings]
        return pd.DataFrame(rows, columns=["severity", "code", "columns", "message"])

    def to_dict(self) -> dict:
        """Sizes and findings as JSON types."""
        return {
            "rows": self.rows,
            "width": self.width,
            "findings": [asdict(f) for f in self.findings],
        }

    def __repr__(self):
        counts = [sum(f.severity == s for f in self.findings) for s in SEVERITIES]
        text = [
            f"{n} {s}{'' if n == 1 else 's'}" for n, s in zip(counts, SEVERITIES, strict=True) if n
        ]
        found = "; ".join(
            f"{f.code} ({', '.join(f.columns)})" if f.columns else f.code for f in self.findings
        )
        what = f"{', '.join(text)}: {found}" if text else "nothing found"
        return f"Audit of {self.rows:,} rows and {self.width} columns: {what}"

    def _repr_html_(self):
        return self.to_frame().to_html(index=False) if self.findings else f"<p>{self!r}</p>"


def audit(
    data: pd.DataFrame | Statistics | Table,
    *,
    knowledge: Knowledge | None = None,
    kinds: Mapping[str, str] | None = None,
    statistics: Statistics | None = None,
    missing: str = "raise",
    near: float = 1e-4,
    rare: int = 5,
    moments: bool = True,
    strict: bool = False,
) -> Audit:
    """What stands in the way of causal discovery on ``data``, each finding with its columns and the
    way out.

    Errors (no method can run, or its answer would be arbitrary): all-missing, missing, infinite,
    constant, identifier (text without repeats), many-levels, date, mixed-types, numeric-text
    (of over two levels), unsupported, kind (not as declared), too-few-rows (D + 3 or fewer for D
    encoded columns), duplicate (affine copy, relabelled category), function (of another category),
    collinear (the smallest group that greedy search finds). Warnings: far-value (a code for missing
    such as -999, or a slip; see `columns.missing_codes`), near-deterministic (R² on the other
    variables above 1 - ``near``), rare-level, few-rows (under 5 D), identifier (integers
    without repeats), leakage (a column of an early tier is determined by later ones). Notes:
    integer-codes.

    Parameters
    ----------
    data : a frame, or the `Table` of one; or `Statistics`, which show all but the types, missing
        and infinite values and identifiers.
    knowledge : its tiers are what leakage is judged by.
    kinds : column -> 'numeric', 'binary' or 'categorical' as it should be; no guess is made about
        these columns.
    statistics : of the same frame, where there are some already; else one pass is made over the
        complete rows.
    missing : 'raise' makes missing values an error; 'complete' or 'em' (see
        `Statistics.from_frame`) a warning.
    near, rare : share of variance left, and number of rows of a level, below which a warning is
        given.
    moments : whether to look at columns together too, through their covariances. False is for
        methods that count levels: it finds nothing that takes two columns to see, nor too few rows.
    strict : raise the errors.

    Raises
    ------
    TypeError, ValueError
        for what is no table (no frame, no rows, a column named twice), kinds or knowledge about
        absent columns, an unknown kind; with ``strict``, for every error found.

    >>> x = np.arange(20.0)
    >>> audit(pd.DataFrame({"x": x, "y": 3 - 2 * x, "z": 1}))
    Audit of 20 rows and 3 columns: 2 errors: constant (z); duplicate (y, x)
    """
    table = data if isinstance(data, Table) else Table(data)
    frame = table.frame
    names = table.names
    kinds = dict(kinds or {})
    for name, kind in kinds.items():
        if name not in names or kind not in COLUMN_KINDS:
            what = (
                f"no column {name!r}"
                if name not in names
                else (f"unknown kind {kind!r} of column {name!r}")
            )
            raise ValueError(
                f"kinds: {what}; columns: {', '.join(names)}; kinds: {', '.join(COLUMN_KINDS)}"
            )
    if knowledge is not None:
        knowledge.allowed(names)  # says at once which variable is absent
    found = []
    usable = list(names)
    if frame is not None:
        for name in names:
            new = [
                _finding(c, s, [name], text)
                for c, s, text in _column(frame[name], kinds.get(name), missing)
            ]
            if any(f.severity == "error" and f.code not in ("missing", "kind") for f in new):
                usable.remove(name)
            found += new
    if not moments:
        statistics = None
    elif frame is None or statistics is not None:
        statistics = (statistics or table.statistics).subset(usable)
    elif names and tuple(usable) == names and frame.notna().all(axis=None):
        statistics = table.statistics
    elif usable and frame[usable].notna().all(axis=1).any():
        statistics = Statistics.from_frame(frame[usable], missing="complete")
    if statistics is not None and usable:
        found += _Moments(statistics).findings(knowledge, near, rare)
    found.sort(key=lambda f: SEVERITIES.index(f.severity))
    result = Audit(tuple(found), table.rows, len(names))
    return result.raise_errors() if strict else result


def _finding(code, severity, columns, text):
    return Finding(code, severity, tuple(columns), f"column {columns[0]!r} {text}")


def _column(column, declared, missing) -> Iterator[tuple[str, str, str]]:
    """Code, severity and the message after "column ..." of what one column alone shows."""
    values = column.dropna()
    dtype = column.dtype
    types = pd.api.types
    n = len(values)
    missing_count = len(column) - len(values)
    if not n:
        yield (
            "all-missing",
            "error",
            (f"holds only missing values ({missing_count} rows); leave it out"),
        )
        return
    if missing_count:
        text = (
            f"has {missing_count} missing value{'s'[: missing_count > 1]}; impute "
            "(preprocess_data) or drop the rows first"
        )
        yield (
            "missing",
            "error" if missing == "raise" else "warning",
            (f"{text}, or use missing='em'"),
        )
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        yield "date", "error", "is a date; leave it out, or make it a number (days since ...)"
        return
    number = types.is_any_real_numeric_dtype(dtype) or types.is_bool_dtype(dtype)
    category = isinstance(dtype, pd.CategoricalDtype)
    text = isinstance(dtype, pd.StringDtype)
    if number:
        infinite = int(np.isinf(values.to_numpy(dtype=float)).sum())
        if infinite:
            yield (
                "infinite",
                "error",
                (f"has {infinite} infinite value{'s'[: infinite > 1]}; replace them first"),
            )
            return
    elif not (category or text):
        sorts = set(map(_sort, values)) if types.is_object_dtype(dtype) else {str(dtype)}
        if len(sorts) > 1 or not sorts <= {"text", "number", "boolean"}:
            code, verb = ("mixed-types", "mixes") if len(sorts) > 1 else ("unsupported", "holds")
            yield (
                code,
                "error",
                (
                    f"{verb} {' and '.join(sorted(sorts))} values; make them "
                    "numbers, booleans or text"
                ),
            )
            return
    if (values.min() == values.max()) if number else (values.nunique() < 2):
        yield "constant", "error", f"is constant ({values.iloc[0]} in {n} rows); leave it out"
        return
    if number and not types.is_bool_dtype(dtype):
        for value, rows in far_from_others(values.to_numpy(dtype=float)):
            yield (
                "far-value",
                "warning",
                (
                    f"holds {value} in {rows} rows, far from all its other values, which decide "
                    "its correlations; if it is a code for missing or a slip, make it NaN or drop "
                    "the rows"
                ),
            )
    distinct = None if types.is_float_dtype(dtype) and declared != "binary" else values.nunique()
    if declared == "binary" and distinct != 2:
        yield (
            "kind",
            "error",
            (f"is declared binary but has {distinct} values; declare it numeric or categorical"),
        )
    elif declared == "numeric" and not number:
        yield (
            "kind",
            "error",
            (f"is declared numeric but is {dtype}; pd.to_numeric first, or declare it categorical"),
        )
    elif declared == "categorical" and number:
        yield "kind", "error", f"is declared categorical but is {dtype}; astype('category') first"
    if not number and distinct == n:
        yield "identifier", "error", f"has a different level in each of {n} rows; leave it out"
    elif not number and distinct > _MANY_LEVELS:
        yield (
            "many-levels",
            "error",
            (f"has {distinct:,} levels; merge the rare ones or leave it out"),
        )
    elif declared is not None or category:
        return  # what was said is not guessed at
    # two levels mean the same as numbers and as labels
    elif not number and distinct > 2 and _reads_as_numbers(values):
        yield (
            "numeric-text",
            "error",
            ("is text that reads as numbers; pd.to_numeric, or astype('category') if codes"),
        )
    elif types.is_integer_dtype(dtype) and distinct == n:
        yield (
            "identifier",
            "warning",
            (f"has a different integer in each of {n} rows; leave it out if it is a key"),
        )
    elif types.is_integer_dtype(dtype) and 2 < distinct <= _FEW_CODES and n >= 10 * distinct:
        yield (
            "integer-codes",
            "note",
            (f"has {distinct} integers, read as numbers; astype('category') if they are codes"),
        )


def _reads_as_numbers(values):
    return pd.to_numeric(pd.Series(values.unique()), errors="coerce").notna().all()


def _sort(value):
    if isinstance(value, bool | np.bool_):
        return "boolean"
    return (
        "text"
        if isinstance(value, str)
        else "number"
        if isinstance(value, Real)
        else type(value).__name__
    )


class _Moments:
    """What counts, means and covariances show; ``owner`` is the variable of each encoded column."""

    def __init__(self, stats: Statistics):
        self.stats = stats
        self.names = stats.names
        self.owner = np.repeat(np.arange(len(stats.names)), stats.widths)
        self.varying = stats.cov.diagonal() > (1e-13 * stats.mean) ** 2
        self.correlation = np.nan_to_num(stats.correlation)

    def findings(self, knowledge, near, rare) -> Iterator[Finding]:
        yield from self.levels(rare)
        n = self.stats.rows
        wide = int(self.varying.sum())
        of = f"{len(self.names)} columns" + (
            f" ({wide} encoded)" if wide != len(self.names) else ""
        )
        if n <= wide + 3:
            message = (
                f"{n} rows are too few for {of}: at least {wide + 4} are needed; leave "
                "some out or merge levels"
            )
            yield Finding("too-few-rows", "error", (), message)
            return  # anything depends on anything then
        if n < 5 * wide:
            message = (
                f"{n} rows are few for {of}: edges are unstable below {5 * wide}; leave "
                "columns out or bootstrap"
            )
            yield Finding("few-rows", "warning", (), message)
        yield from self.dependences(near)
        yield from self.leakage(knowledge, near)

    def levels(self, rare):
        """Constant columns, and levels that hardly occur."""
        for i, (name, levels) in enumerate(zip(self.names, self.stats.levels, strict=True)):
            at = self.owner == i
            if not self.varying[at].any():
                text = f"is constant in {self.stats.rows} rows; leave it out"
                if levels is None:
                    text += (
                        f". If it varies, then by less than numbers of its size hold (mean "
                        f"{self.stats.mean[at].item():.3g}): subtract the mean and rescale"
                    )
                yield _finding("constant", "error", [name], text)
                continue
            share = self.stats.mean[at]
            if levels is None:  # a mean square equal to the mean: zeros and ones
                binary = (
                    abs(self.stats.cov[at, at].item() + share.item() ** 2 - share.item()) < 1e-12
                )
                levels = (0, 1) if binary else ()
            counts = (
                self.stats.count * np.concatenate([1 - share.sum(keepdims=True), share])
                if levels
                else []
            )
            few = [
                str(level)
                for level, count in zip(levels, counts, strict=True)
                if count < rare - 1e-6
            ]
            if few:
                shown = ", ".join(few[:5]) + ", ..." * (len(few) > 5)
                what = (
                    f"has {len(few)} level{'s'[: len(few) > 1]} in fewer than {rare} rows ({shown})"
                )
                yield _finding(
                    "rare-level",
                    "warning",
                    [name],
                    f"{what}; merge with another level or leave it out",
                )

    def functions(self):
        """(cause, effect, whether each is a function of the other) of categories, read off their
        joint counts.
        """
        second = self.stats.cov + np.outer(self.stats.mean, self.stats.mean)
        gone = set()
        categories = [i for i, levels in enumerate(self.stats.levels) if levels is not None]
        blocks = {i: (self.owner == i).nonzero()[0] for i in categories}
        for i, j in itertools.combinations(categories, 2):
            a = blocks[i]
            b = blocks[j]
            if not (len(a) and len(b)):
                continue
            inner = second[np.ix_(a, b)]
            rows = self.stats.mean[a]
            columns = self.stats.mean[b]
            table = np.block([
                [1 - rows.sum() - columns.sum() + inner.sum(), columns - inner.sum(axis=0)],
                [(rows - inner.sum(axis=1))[:, None], inner],
            ])  # fmt: skip
            occurs = table > 1e-12  # of all rows: above the rounding of the moments
            forth = (occurs.sum(axis=1) <= 1).all()
            back = (occurs.sum(axis=0) <= 1).all()
            cause, effect = (i, j) if forth else (j, i)
            if (forth or back) and not {i, j} & gone:
                gone.add(effect)
                yield cause, effect, forth and back

    def dependences(self, near):
        """Variables that are functions of others, exactly or nearly."""
        kept = self.varying.copy()
        reported = set()
        for cause, effect, both in self.functions():
            a = self.names[cause]
            b = self.names[effect]
            code, what = (
                ("duplicate", "one-to-one relabelling") if both else ("function", "function")
            )
            yield _finding(code, "error", [b, a], f"is a {what} of {a!r}; leave one of them out")
            kept[self.owner == effect] = False
        at = kept.nonzero()[0]
        _, pivots, rank, _ = dpstrf(self.correlation[np.ix_(at, at)], tol=_EXACT, lower=1)
        basis = np.sort(at[pivots[:rank] - 1])
        for column in np.sort(at[pivots[rank : len(at)] - 1]):
            group = {self.owner[column], *self.explain(column, basis, 2 * _EXACT)}
            if frozenset(group) not in reported:
                reported.add(frozenset(group))
                numbers = [i for i in group if self.stats.levels[i] is None]
                # The one number among categories is a function of their levels, hardly the other
                # way round.
                first = numbers[0] if len(numbers) == 1 else self.owner[column]
                named = [self.names[first], *(self.names[i] for i in sorted(group - {first}))]
                code = (
                    "duplicate"
                    if len(group) == 2 and self.stats.widths[list(group)].max() == 1
                    else "collinear"
                )
                others = ", ".join(map(repr, named[1:]))
                yield _finding(
                    code, "error", named, f"is a linear function of {others}; leave one of them out"
                )
        owner = self.owner[basis]
        precision = np.linalg.inv(self.correlation[np.ix_(basis, basis)])
        # of each column's variance, given all others; below, given the other variables
        left = 1 / precision.diagonal()
        for i in np.flatnonzero(np.bincount(owner) > 1):
            block = (owner == i).nonzero()[0]
            left[block] = np.linalg.inv(precision[np.ix_(block, block)]).diagonal()
        for i in np.unique(owner[left < near]):
            block = (owner == i).nonzero()[0]
            least = block[left[block].argmin()]
            group = {i, *self.explain(basis[least], basis[owner != i], near)}
            if len(group) > 1 and frozenset(group) not in reported:
                reported.add(frozenset(group))
                named = [self.names[i], *(self.names[k] for k in sorted(group - {i}))]
                what = (
                    f"is determined by {', '.join(map(repr, named[1:]))} but for noise (R² = "
                    f"{1 - left[least]:.6f})"
                )
                yield _finding(
                    "near-deterministic", "warning", named, f"{what}; leave one of them out"
                )

    def leakage(self, knowledge, near):
        """Columns that variables of later tiers determine."""
        tiers = [knowledge.tier(name) if knowledge is not None else None for name in self.names]
        tier = np.array([-1 if t is None else t for t in tiers])
        of = tier[self.owner]
        for t in np.unique(tier[tier >= 0]):
            own, later = ((which & self.varying).nonzero()[0] for which in (of == t, of > t))
            if not (len(own) and len(later)):
                continue
            cross = self.correlation[np.ix_(later, own)]
            solved = np.linalg.lstsq(self.correlation[np.ix_(later, later)], cross, rcond=_EXACT)[0]
            left = 1 - (cross * solved).sum(axis=0)
            for i in np.unique(self.owner[own[left < near]]):
                block = (self.owner[own] == i).nonzero()[0]
                culprits = sorted(self.explain(own[block[left[block].argmin()]], later, near))
                named = [self.names[k] for k in (i, *culprits)]
                what = (
                    f"of tier {t} is determined by {', '.join(map(repr, named[1:]))} of a "
                    "later tier"
                )
                way = "if it was recorded after them, move it to their tier or leave it out"
                yield _finding("leakage", "warning", named, f"{what}; {way}")

    def explain(self, target, pool, tolerance) -> set[int]:
        """Variables of ``pool``, few, whose columns leave ``target`` at most ``tolerance`` of its
        variance (greedy, then pruned).
        """
        pool = np.asarray(pool)
        R = self.correlation
        floor = 1e-3 * _EXACT
        chosen = []
        own = R.diagonal()[pool].copy()
        cross = R[pool, target].copy()
        left = R[target, target]
        rows = np.empty((len(pool), len(pool)))  # of the Cholesky factor of the chosen
        while left > tolerance and len(chosen) < len(pool):
            gain = np.where(own > floor, cross**2, 0) / np.maximum(own, floor)
            best = int(gain.argmax())
            if not gain[best] > 0:
                break
            done = rows[: len(chosen)]
            row = rows[len(chosen)] = (R[pool[best], pool] - done[:, best] @ done) / np.sqrt(
                own[best]
            )
            step = cross[best] / np.sqrt(own[best])
            own = own - row**2
            cross = cross - row * step
            left = left - step**2
            chosen.append(best)
        chosen = pool[chosen]
        inverse = np.linalg.inv(R[np.ix_(chosen, chosen)])
        slopes = inverse @ R[chosen, target]
        kept = np.ones(len(chosen), dtype=bool)
        for k in range(len(chosen)):  # what the target's variance grows by where column k goes
            more = slopes[k] ** 2 / inverse[k, k]
            if left + more <= tolerance:
                row = inverse[k] / inverse[k, k]
                left = left + more
                slopes = slopes - row * slopes[k]
                inverse = inverse - np.outer(inverse[k], row)
                kept[k] = False
        return {int(self.owner[c]) for c in chosen[kept]}
