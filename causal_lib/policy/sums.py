"""Sums of logged rounds that tell a policy's value by 'ips' and 'snips', of arrays or computed by a
database.

With w the weight of a round and r its reward, m = Σ w r / Σ w and u = w (r - m), the score of every
estimator here is a sum of 1, w and u, so that the means and covariances of w and u are enough.
"""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from causal_lib.data.queries import DIALECTS, Query, check_query_columns

NO_WEIGHT = "the policy gives every logged action probability 0: the logs say nothing about it"


@dataclass(frozen=True)
class WeightedSums:
    """What n logged rounds tell.

    Attributes
    ----------
    rounds : n.
    weight : mean of w.
    ratio : m, the weighted mean reward.
    covariance : (2, 2) of the means of w and of u, over rounds or clusters.
    squares, group_squares : Σ w², and the sum over clusters of (Σ w)².
    largest : largest w.
    lowest, highest : rewards.
    binary : whether all rewards are 0 or 1.
    """

    rounds: int
    weight: float
    ratio: float
    covariance: np.ndarray
    squares: float
    group_squares: float
    largest: float
    lowest: float
    highest: float
    binary: bool

    def error(self, of_weight: float, of_rest: float) -> float:
        """Standard error of the mean of ``of_weight`` w + ``of_rest`` u."""
        along = np.array([of_weight, of_rest])
        return float(np.sqrt(max(along @ self.covariance @ along, 0.0)))


def sums_of_arrays(w: np.ndarray, r: np.ndarray, groups: np.ndarray | None) -> WeightedSums:
    """The sums of weights and rewards (n,), dependent within ``groups`` (n,), numbered from 0."""
    n = len(w)
    weight = float(w.mean())
    ratio = float(w @ r / w.sum())
    parts = np.column_stack([w - weight, w * (r - ratio), w])
    if groups is not None:
        parts = np.column_stack([np.bincount(groups, part) for part in parts.T])
    return WeightedSums(
        n,
        weight,
        ratio,
        _covariance(parts[:, :2].T @ parts[:, :2], len(parts), n, groups is not None),
        float(w @ w),
        float(parts[:, 2] @ parts[:, 2]),
        float(w.max()),
        float(r.min()),
        float(r.max()),
        bool(np.isin(r, (0, 1)).all()),
    )


def sums_of_query(
    query: Query, *, target: str, reward: str, propensity: str, cluster: str | None
) -> WeightedSums:
    """The sums that the database computes of the columns of ``query``.

    Raises ValueError for another database than those of `DIALECTS`, and for columns that are
    absent, no numbers, incomplete or out of range.
    """
    if query.dialect not in DIALECTS:
        raise ValueError(
            f"connection: sums are computed by {', '.join(DIALECTS)}, not by {query.dialect}; read "
            "the rows by pandas.read_sql and give the frame"
        )
    with query.reading() as table:
        wanted = {"reward": reward, "propensity": propensity, "policy": target, "cluster": cluster}
        check_query_columns(wanted, table.names)
        wanted = {argument: name for argument, name in wanted.items() if name is not None}
        n, found = table.inspect(list(dict.fromkeys(wanted.values())))
        if not n:
            raise ValueError("logs: the query gives no rows")
        for argument, name in wanted.items():
            _check(argument, name, found[name], n)
        r, chance, aimed = (table.number(name) for name in (reward, propensity, target))
        w = aimed / chance
        for argument, name, value, low in (
            ("propensity", propensity, chance, chance > 0),
            ("policy", target, aimed, aimed >= 0),
        ):
            inside, least, most = table.sums(
                table.table,
                [table.count(low & (value <= 1)), sa.func.min(value), sa.func.max(value)],
            )
            if inside < n:
                percent = "; if these are percentages, divide them by 100" * (
                    least > 0 and 1 < most <= 100
                )
                raise ValueError(
                    f"{argument}: column {name!r} has {n - inside} values that are no probability "
                    f"(least {least:g}, greatest {most:g}){percent}"
                )
        total, weighted, largest, lowest, highest, clicks = table.sums(
            table.table,
            [
                table.total(w),
                table.total(w, r),
                sa.func.max(w),
                sa.func.min(r),
                sa.func.max(r),
                table.count((r == 0) | (r == 1)),
            ],
        )
        if not total:
            raise ValueError(NO_WEIGHT)
        weight = total / n
        ratio = weighted / total
        first = (w - sa.literal(weight)).label("a")
        second = (w * (r - sa.literal(ratio))).label("b")
        rounds = [first, second, w.label("w"), (w * w).label("q")]
        if cluster is None:
            parts = sa.select(*rounds).select_from(table.table).subquery("g")
        else:
            column = table.column(cluster)
            key = table.key(column) if found[cluster].kind == "text" else column
            summed = [
                table.total(part.element).label(name)
                for part, name in zip(rounds, "abwq", strict=True)
            ]
            parts = sa.select(*summed).select_from(table.table).group_by(key).subquery("g")
        a, b, own, square = (parts.c[name] for name in "abwq")
        pairs = [(a, a), (a, b), (b, b), (own, own), (square,)]
        groups, aa, ab, bb, group_squares, squares = table.sums(
            parts, [sa.func.count(), *(table.total(*pair) for pair in pairs)]
        )
        return WeightedSums(
            n,
            weight,
            ratio,
            _covariance(np.array([[aa, ab], [ab, bb]]), groups, n, cluster is not None),
            squares,
            group_squares,
            largest,
            lowest,
            highest,
            clicks == n,
        )


def _covariance(products, groups, n, clustered):
    """Covariance of means, of the ``products`` (2, 2) of the sums of independent ``groups``."""
    if clustered and groups < 2:
        raise ValueError(
            f"{groups} row or cluster is too few for a standard error; at least 2 are needed"
        )
    return products * groups / max(groups - 1, 1) / n**2 if n > 1 else np.zeros((2, 2))


def _check(argument, name, found, n):
    if found.kind != "number" and (argument != "cluster" or found.kind != "text"):
        raise ValueError(
            f"{argument}: column {name!r} is of type {found.kind}; make it a number in the query, "
            "as by CAST"
        )
    if missing := n - found.filled:
        raise ValueError(
            f"{argument}: column {name!r} has {missing} missing values in {n} rows; leave those "
            "rows out in the query, or fill them in"
        )
    if found.infinite:
        raise ValueError(
            f"{argument}: column {name!r} has {found.infinite} infinite values; replace them first"
        )
