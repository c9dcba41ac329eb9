"""Why a metric moved between two periods: the change of its mean, split over mechanisms.

A mechanism is the distribution of a node given its parents in the graph, or those of several nodes
that the caller names together. For a coalition C of mechanisms, v(C) is the mean of the outcome if
those in C were as after and the others as before. The share of a mechanism is its Shapley value
under v, so the shares sum to the change.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import t as student

from causal_lib.cards import card
from causal_lib.checks import check_column_names, check_columns, check_frame, check_outcome
from causal_lib.columns import as_labels, column_kind, number_of
from causal_lib.graph import CausalGraph
from causal_lib.inference.covariates import FEW, Covariates
from causal_lib.inference.effects import shown
from causal_lib.inference.estimators import Sample
from causal_lib.inference.far_values import warn_of_far
from causal_lib.inference.models import FOLDS, Fitting, arm_folds, held_out
from causal_lib.inference.nuisances import NoOverlapError, propensities, standard_error
from causal_lib.inference.support import VERDICTS, judge_arms
from causal_lib.ordering import canonical_columns, canonical_order
from causal_lib.reasons import Reason
from causal_lib.resampling import group_codes

PERIODS = ("before", "after")
MOST = 8
"""Mechanisms: each more doubles the models."""
_FEWEST = 20  # rows of a period
_WEAK_SHARE = 0.02  # rows without a counterpart, as of `support`
_FEWEST_EFFECTIVE = 20  # rows, by their weights
_LARGEST = 0.1  # share of one row among the weights
_FEWEST_CLUSTERS = 10
_ALPHA = 0.05


@dataclass(frozen=True, eq=False)
class ChangeAttribution:
    """The change of a mean split over mechanisms; prints as a sentence.

    Attributes
    ----------
    outcome : its column; values are in its units.
    before, after : its mean in each period.
    value, low, high : the change, after - before, with its 95% interval.
    parts : a row for each mechanism: mechanism, nodes, value, standard_error, low, high (95%, for
        each by itself), p (that it is 0, adjusted for all mechanisms, Holm), verdict.
    buckets : a row for each mechanism and level of ``by``: mechanism, bucket, value,
        standard_error, low, high; None without ``by``.
    moved : the mechanisms with p under 5%, the largest share first. Where no mechanism changed, one
        or more are named in at most 5% of samples.
    verdict : 'supported'; 'weak' (the split rests on few rows, or some rows have no counterpart in
        the other period); 'extrapolated' (over a tenth have none: a model speaks for them).
    reasons : why it is not supported.
    diagnostics : rows and clusters of each period; of the weights that turn a period into a mixture
        of both, the fewest effective rows and the largest share of one row.
    """

    outcome: str
    before: float
    after: float
    value: float
    low: float
    high: float
    parts: pd.DataFrame
    buckets: pd.DataFrame | None
    moved: tuple[str, ...]
    verdict: str
    reasons: tuple[Reason, ...]
    diagnostics: Mapping[str, float]

    def to_frame(self) -> pd.DataFrame:
        """A row for each mechanism; with ``by``, for each mechanism and bucket."""
        return (self.parts if self.buckets is None else self.buckets).copy()

    def to_dict(self) -> dict:
        """Everything as JSON types."""
        return {
            "outcome": self.outcome,
            "before": self.before,
            "after": self.after,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "moved": list(self.moved),
            "verdict": self.verdict,
            "reasons": list(map(str, self.reasons)),
            "parts": self.parts.to_dict("records"),
            "buckets": None if self.buckets is None else self.buckets.to_dict("records"),
            "diagnostics": dict(self.diagnostics),
        }

    def __repr__(self):
        found = self._headline() + self._named()
        if self.verdict != "supported":
            found += f"; {self.verdict}: {', '.join(self.reasons)}"
        return found

    def _headline(self):
        return (
            f"{self.outcome}: {shown(self.before)} before, {shown(self.after)} after, a change of "
            f"{_with_interval(self)}"
        )

    def _named(self):
        if not self.moved:
            return "; no mechanism is seen to have moved it"
        rows = self.parts.set_index("mechanism")
        named = ", ".join(f"{name} by {_with_interval(rows.loc[name])}" for name in self.moved)
        others = len(rows) - len(self.moved)
        rest = f"; no sign of the other {others}" if others else ""
        return f"; moved by {named}{rest}"

    def _repr_html_(self):
        facts = [
            (f"{row.mechanism}{' *' if row.mechanism in self.moved else ''}", _with_interval(row))
            for row in self.parts.itertuples()
        ]
        return card(
            f"Change of {self.outcome}",
            self._headline(),
            verdict=self.verdict,
            reasons=self.reasons,
            interval=(self.value, self.low, self.high),
            facts=[*facts, ("* moved it", ", ".join(self.moved) or "none is seen to have")],
        )


def _with_interval(found):
    return f"{shown(found.value)} [{shown(found.low)}, {shown(found.high)}]"


def attribute_change(
    before: pd.DataFrame,
    after: pd.DataFrame,
    outcome: str,
    graph: CausalGraph,
    *,
    mechanisms: Mapping[str, Sequence[str]] | None = None,
    by: str | None = None,
    cluster: str | None = None,
    learners=None,
    folds: int = FOLDS,
    seed: int = 0,
) -> ChangeAttribution:
    """The change of the mean of ``outcome`` from ``before`` to ``after``, split over mechanisms.

    A mechanism is P(node | parents) of the outcome or one of its ancestors. v(C) is the mean of
    the outcome under Π P(node | parents), each of the period after for mechanisms in C and of the
    period before for others. With the nodes in a topological order, and a switch k wherever two
    neighbours are of different periods,

        v(C) = E_first[γ_1] + Σ_k E_k[α_k (γ_{k+1} - γ_k)],   γ_last = outcome.

    γ_k is the regression of γ_{k+1} on the earlier nodes that are parents of later ones, in the
    period that follows the switch; α_k is the density ratio of the earlier nodes: of each that
    differs, the odds of its period given node and parents over the odds given the parents, or 1
    where the node adds nothing to the prediction of the period. Both are fitted out of fold, and
    α_k is divided by its mean. An error in γ_k is repaired by α_k and the other way round. v of no
    mechanism and of all are the two sample means, so the shares sum to the change.

    Assumes that both periods have this graph, without hidden common causes of its nodes. There are
    about 2^m regressions for m mechanisms, so more than 8 are refused: group them. The order of
    rows and columns, and units, change nothing.

    Parameters
    ----------
    before, after : one row per unit of the metric, with a column for the outcome and each of its
        ancestors; numbers, categories or dates without missing values.
    outcome : a number or 0/1.
    graph : a DAG that holds it. Other nodes than its ancestors are not read.
    mechanisms : name -> nodes that are to be one mechanism, as {"who came": ["age", "city"]}; no
        node in two. A node in none is a mechanism of its own name.
    by : a node of at most 30 levels, an ancestor without parents, as a segment. The share of a
        mechanism is split over its levels: the share in Σ (outcome - mean before) of their rows.
    cluster : column whose ids are kept together in folds and standard errors. The same id in both
        periods is one cluster.
    learners, folds, seed : as of `effects.effect`; 'outcome' for γ, 'propensity' for the periods.

    Raises
    ------
    ValueError
        for an outcome that is not in the graph, a graph that is no DAG, a group that names another
        node than the outcome and its ancestors or one in two groups, over 8 mechanisms, columns
        that one period lacks, missing values, constant columns, other kinds in the two periods,
        under 20 rows of a period, a level of ``by`` without rows in one.

    Source: Quintas-Martínez, Bahadori, Santiago, Mu, Janzing and Heckerman 2024; Budhathoki,
    Janzing, Bloebaum and Ng 2021.

    >>> rng = np.random.default_rng(0)
    >>> def week(rate):
    ...     stock = (rng.random(500) < rate).astype(int)
    ...     return pd.DataFrame({"stock": stock, "sold": stock * (rng.random(500) < 0.5)})
    >>> graph = CausalGraph.from_edges(["stock", "sold"], ["stock -> sold"])
    >>> attribute_change(week(0.9), week(0.5), "sold", graph).moved
    ('stock',)
    """
    check_column_names(outcome=outcome, by=by, cluster=cluster)
    how = Fitting.of(learners, folds, seed)
    nodes = _nodes(graph, outcome, by)
    groups = _groups(mechanisms, nodes, outcome)
    columns = [*nodes, *({cluster} - {None, *nodes})]
    joint = _joined(before, after, columns, nodes)
    y = check_outcome(number_of(joint, outcome, name="before and after"), outcome)
    warn_of_far(y, outcome, "outcome")
    period = np.repeat([0, 1], [len(before), len(after)])
    units = np.arange(len(y)) if cluster is None else group_codes(joint[cluster], name=cluster)
    levels = _levels(joint, by, period)
    two = np.unique(y)
    if len(two) == 2:
        start = two[0]
        scale = two[1] - two[0]
    else:
        start = y[period == 0].mean()
        scale = (y - start).std()
    u = (y - start) / scale
    log = _Log.of(joint, nodes, graph, u, period, units, how)
    shares = shapley(log.scores, list(groups), groups)
    return _answer(log, shares, groups, outcome, y, scale, levels)


def shapley(
    value: Callable[[frozenset], np.ndarray],
    players: Sequence[Hashable],
    members: Mapping[Hashable, Iterable] | None = None,
) -> dict[Hashable, np.ndarray]:
    """Player -> Shapley value of the game ``value``, a function of the coalition; exact.

    φ_i = Σ_{C without i} |C|! (m - |C| - 1)! / m! (v(C with i) - v(C)) for m players. ``value`` is
    called once for each of 2^m coalitions, and may return an array, such as a score for each row.
    With ``members`` it is given the set of the members of the players instead.

    >>> worth = {"": 0.0, "a": 1.0, "b": 2.0, "ab": 5.0}
    >>> {k: float(v) for k, v in shapley(lambda c: worth["".join(sorted(c))], "ab").items()}
    {'a': 2.0, 'b': 3.0}
    """
    m = len(players)
    found = dict.fromkeys(players, 0.0)
    for size in range(m + 1):
        for coalition in combinations(players, size):
            inside = coalition if members is None else [x for p in coalition for x in members[p]]
            worth = value(frozenset(inside))
            for player in players:
                if player in coalition:
                    weight = factorial(size - 1) * factorial(m - size) / factorial(m)
                else:
                    weight = -factorial(size) * factorial(m - size - 1) / factorial(m)
                found[player] = found[player] + weight * worth
    return found


def holm(p: np.ndarray) -> np.ndarray:
    """(m,) p-values adjusted for m tests. Source: Holm 1979.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(found, 1.0)


# ---- checks --------------------------------------------------------------------------------------


def _nodes(graph, outcome, by):
    """The outcome and its ancestors in a topological order that begins with ``by``."""
    if not isinstance(graph, CausalGraph):
        raise TypeError(f"graph: a CausalGraph is needed, not {type(graph).__name__}")
    graph.require_dag("attribute_change")
    wanted = graph.ancestors(outcome) | {outcome}
    if len(wanted) == 1:
        raise ValueError(
            f"graph: the outcome {outcome!r} has no causes there, so its change has no parts; add "
            "edges into it"
        )
    nodes = [name for name in graph.order() if name in wanted]
    if by is None:
        return nodes
    if by not in wanted or graph.parents(by):
        free = [name for name in nodes if not graph.parents(name)]
        raise ValueError(
            f"by: {by!r} must be an ancestor of {outcome!r} without parents in the graph; those: "
            f"{', '.join(free)}"
        )
    return [by, *(name for name in nodes if name != by)]


def _groups(mechanisms, nodes, outcome):
    """Name -> nodes of every mechanism, in the order of the nodes."""
    if mechanisms is not None and not isinstance(mechanisms, Mapping):
        raise ValueError(
            f"mechanisms: a dict of name -> nodes is needed, not {type(mechanisms).__name__}"
        )
    owner = {}
    for name, given in (mechanisms or {}).items():
        if not isinstance(name, str):
            raise ValueError(f"mechanisms: names are text, not {name!r} ({type(name).__name__})")
        given = check_columns(given, name=f"mechanisms[{name!r}]")
        if not given:
            raise ValueError(f"mechanisms: {name!r} has no nodes; leave it out")
        for node in given:
            if node not in nodes:
                raise ValueError(
                    f"mechanisms: {node!r} of {name!r} is neither {outcome!r} nor an ancestor of "
                    f"it in the graph; those: {', '.join(nodes)}"
                )
            if node in owner:
                raise ValueError(
                    f"mechanisms: {node!r} is in {owner[node]!r} and in {name!r}; keep one"
                )
            owner[node] = name
    for node in nodes:
        if node not in owner and node in (mechanisms or {}):
            raise ValueError(
                f"mechanisms: {node!r} is the name of a group and of a node outside of it; give "
                "the group another name"
            )
    groups = {}
    for node in nodes:
        groups.setdefault(owner.get(node, node), []).append(node)
    if len(groups) > MOST:
        raise ValueError(
            f"mechanisms: {len(groups)} mechanisms ({', '.join(groups)}) need {2 ** len(groups):,} "
            f"coalitions; at most {MOST} are taken: group nodes, as by mechanisms={{'who came': "
            f"[{nodes[0]!r}, {nodes[1]!r}], ...}}"
        )
    return groups


def _joined(before, after, columns, nodes):
    """The rows of both periods one after the other; errors for columns that cannot be compared."""
    frames = dict(zip(PERIODS, (before, after), strict=True))
    for name, frame in frames.items():
        check_frame(frame, columns, complete=True, name=name)
        if len(frame) < _FEWEST:
            rows = f"{len(frame)} row" + ("" if len(frame) == 1 else "s")
            raise ValueError(
                f"{name}: has {rows}; at least {_FEWEST} are needed to fit models of a period; "
                "give a longer one"
            )
    for column in nodes:
        kinds = [column_kind(frame[column], name=name) for name, frame in frames.items()]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"after: column {column!r} holds a {kinds[1]}, and a {kinds[0]} in before; convert "
                "one"
            )
    joint = pd.concat([frame[columns] for frame in frames.values()], ignore_index=True)
    check_frame(joint, nodes, varying=True, name="before and after")
    return joint


def _levels(joint, by, period):
    """(n,) label of each row's bucket; None without ``by``."""
    if by is None:
        return None
    labels = as_labels(joint[by])
    count = labels.nunique()
    if count > FEW:
        raise ValueError(
            f"by: column {by!r} has {count} levels; at most {FEW} are taken: put levels together, "
            "or bin a number (pandas.cut)"
        )
    for code, name in enumerate(PERIODS):
        absent = sorted(set(labels) - set(labels[period == code]), key=str)
        if absent:
            raise ValueError(
                f"by: level {absent[0]!r} of column {by!r} has no rows in {name} "
                f"({len(absent)} of {count} levels); put levels together, or leave its rows out"
            )
    return labels


# ---- estimation ----------------------------------------------------------------------------------


class _Log:
    """The rows of both periods, in canonical order, and the models fitted to them so far."""

    def __init__(self, table, owners, nodes, graph, u, period, units, how, order):
        self.table = table
        self.owners = owners
        self.nodes = nodes
        self.parents = {node: sorted(graph.parents(node), key=nodes.index) for node in nodes}
        self.u = u
        self.period = period
        self.units = units
        self.how = how
        self.order = order
        self.splits = list(arm_folds(period, units, how.seed, how.folds))
        self.sizes = np.bincount(period)
        self.is_event = set(np.unique(u)) == {0.0, 1.0}
        # subtracted from every conditional mean, so that buckets are compared with the mean before
        self.centre = float(u[period == 0].mean())
        self.effective = np.inf
        self.largest = 0.0
        self._chances = {}
        self._means = {}
        self._ratios = {}

    @classmethod
    def of(cls, joint, nodes, graph, u, period, units, how):
        """From the joined frame, in its order."""
        parts = []
        owners = {}
        for node in nodes[:-1]:
            encoded = Covariates.fit(joint, [node], name="before and after").table(joint)
            encoded.columns = [f"{node}\n{title}" for title in encoded.columns]
            owners[node] = set(encoded.columns)
            parts.append(encoded)
        table = pd.concat(parts, axis=1)
        table = table[canonical_columns(table, u, period)]
        order = canonical_order(table, u, period, clusters=units)
        table = table.iloc[order].reset_index(drop=True)
        units = pd.factorize(units[order])[0]
        return cls(table, owners, nodes, graph, u[order], period[order], units, how, order)

    def x(self, nodes):
        """The encoded columns (n, k) of ``nodes``, in canonical order."""
        wanted = set().union(*(self.owners[node] for node in nodes))
        return self.table[[name for name in self.table.columns if name in wanted]]

    def scores(self, changed: frozenset) -> np.ndarray:
        """(n,) scores whose mean is the mean outcome, less that before, with the nodes ``changed``
        as after.
        """
        periods = tuple(int(node in changed) for node in self.nodes)
        found = np.zeros(len(self.u))
        place = 0
        while place < len(periods):
            later = self._next(place, periods)
            rows = self.period == periods[place]
            target = self._mean(later, periods[later:])
            if place == 0:
                part = target[rows]
            else:
                weights = self._weights(place, periods)
                part = weights * (target - self._mean(place, periods[place:]))[rows]
            found[rows] += part * len(rows) / self.sizes[periods[place]]
            place = later
        return found

    def _next(self, place, periods):
        """The first node after ``place`` whose mechanism is of the other period; their number where
        there is none.
        """
        later = place
        while later < len(periods) and periods[later] == periods[place]:
            later += 1
        return later

    def _mean(self, place, periods):
        """(n,) E[outcome | nodes before ``place``], less the centre, with ``periods`` from there
        on; the outcome where there are none.
        """
        if not periods:
            return self.u - self.centre
        key = place, periods
        if key not in self._means:
            later = place + self._next(0, periods)
            target = self._mean(later, periods[later - place :])
            event = self.is_event and later == len(self.nodes)
            found = held_out(
                self.u if event else target,
                self.x(self._frontier(place)),
                self.splits,
                self.how.outcome,
                seed=self.how.seed,
                rows=self.period == periods[0],
                classes=event,
            )
            self._means[key] = found - self.centre if event else found
        return self._means[key]

    def _frontier(self, place):
        """Nodes before ``place`` that are parents of one from there on."""
        needed = set().union(*(self.parents[node] for node in self.nodes[place:]))
        return [node for node in self.nodes[:place] if node in needed]

    def _weights(self, place, periods):
        """Weights, with mean 1, of the rows of the period of ``place`` that make the nodes before
        it like those of ``periods``.
        """
        now = periods[place]
        log_ratio = np.zeros(len(self.u))
        for node, own in zip(self.nodes[:place], periods, strict=False):
            log_ratio += (own - now) * self._log_ratio(node)
        log_ratio = log_ratio[self.period == now]
        weights = np.exp(log_ratio - log_ratio.max())
        weights /= weights.mean()
        self.effective = min(self.effective, weights.sum() ** 2 / (weights**2).sum())
        self.largest = max(self.largest, weights.max() / weights.sum())
        return weights

    def _log_ratio(self, node):
        """(n,) log of the density of ``node`` given its parents, after over before.

        0 where knowing the node does not predict the period better than its parents alone, by over
        a standard error, for rows that were not learnt from. A change that is missed so is of the
        order of the sampling error, and the regressions repair all but its product with theirs.
        """
        if node not in self._ratios:
            own = np.arange(len(self.u)), self.period
            given = self.chances(self.parents[node])
            found = self.chances([*self.parents[node], node])
            gain = np.log(found[own] / given[own])
            if gain.mean() > standard_error(gain - gain.mean(), self.units):
                ratio = logit(found[:, 1]) - logit(given[:, 1])
            else:
                ratio = np.zeros(len(self.u))
            self._ratios[node] = ratio
        return self._ratios[node]

    def chances(self, nodes):
        """(n, 2) probabilities of the periods given ``nodes``, out of fold."""
        key = frozenset(nodes)
        if key not in self._chances:
            x = self.x(nodes)
            self._chances[key] = propensities(self.period, x, self.units, self.how)
        return self._chances[key]

    def overlap(self, node):
        """Verdict of the mechanism of ``node``, and the share of rows without a counterpart.

        The outcome's own distribution is in no weight, so of it only the parents count.
        """
        columns = self.parents[node] + ([node] if node in self.owners else [])
        sample = Sample(
            self.u,
            self.period,
            self.x(columns),
            self.units,
            np.ones(len(self.u)),
            how=self.how,
            known=self.chances(columns),
        )
        try:
            judged = judge_arms(sample)
        except NoOverlapError:
            return "extrapolated", 1.0
        share = float(judged.lacking.any(axis=1).mean())
        if judged.verdict == "extrapolated":
            return "extrapolated", share
        return "weak" if share > _WEAK_SHARE else "supported", share


def _answer(log, shares, groups, outcome, y, scale, levels):
    """The `ChangeAttribution` of the scores ``shares`` of each mechanism, in canonical order."""
    freedom = int(log.units.max())
    whole = np.sum(list(shares.values()), axis=0)

    def estimate(scores, lost=0.0):
        """Value, standard error and interval of the mean of ``scores`` (n,), in the outcome's
        units; ``lost`` is taken off for each unit of the mean before.
        """
        influence = scores.copy()
        for code, size in enumerate(log.sizes):
            rows = log.period == code
            influence[rows] -= scores[rows].mean()
            if code == 0 and lost:
                influence[rows] -= lost * (log.u[rows] - log.centre) * len(scores) / size
        value = scale * float(scores.mean())
        error = scale * standard_error(influence, log.units)
        half = student.ppf(0.975, freedom) * error
        return {
            "value": value,
            "standard_error": error,
            "low": value - half,
            "high": value + half,
        }

    of_nodes = {node: log.overlap(node) for node in log.nodes}
    rows = []
    reasons = []
    for name, nodes in groups.items():
        verdict, share = max((of_nodes[node] for node in nodes), key=_severity)
        if verdict != "supported":
            reasons.append(Reason("period_without_counterpart", mechanism=name, share=share))
        rows.append(
            {"mechanism": name, "nodes": ", ".join(nodes), **estimate(shares[name])}
            | {"verdict": verdict}
        )
    parts = pd.DataFrame(rows)
    error = parts["standard_error"].to_numpy()
    size = np.divide(parts["value"].abs(), error, out=np.zeros(len(parts)), where=error > 0)
    parts.insert(6, "p", holm(2 * student.sf(size, freedom)))
    largest = parts.sort_values("value", key=abs, ascending=False, kind="stable")
    moved = tuple(largest.loc[largest["p"] < _ALPHA, "mechanism"])
    diagnostics = _diagnostics(log)
    reasons += _doubts(log, diagnostics)
    verdict = max([*parts["verdict"], "weak" if reasons else "supported"], key=VERDICTS.index)
    buckets = None
    if levels is not None:
        buckets = _buckets(log, shares, groups, levels.to_numpy()[log.order], estimate)
    total = estimate(whole)
    period = np.repeat([0, 1], log.sizes)
    return ChangeAttribution(
        outcome=outcome,
        before=float(y[period == 0].mean()),
        after=float(y[period == 1].mean()),
        value=total["value"],
        low=total["low"],
        high=total["high"],
        parts=parts,
        buckets=buckets,
        moved=moved,
        verdict=verdict,
        reasons=tuple(reasons),
        diagnostics=diagnostics,
    )


def _severity(judged):
    verdict, share = judged
    return VERDICTS.index(verdict), share


def _buckets(log, shares, groups, levels, estimate):
    """A row for each mechanism and level (n,): a row's scores are those of its level.

    The first node is that of the levels, so it is given in every conditional mean, and the scores
    of a level's rows have the mean of outcome times level.
    """
    rows = []
    first = log.nodes[0]
    for name, nodes in groups.items():
        for level in sorted(set(levels), key=lambda one: (str(type(one)), one)):
            inside = levels == level
            grown = 0.0
            if first in nodes:  # the share of the level moves with the mechanism of its node
                grown = inside[log.period == 1].mean() - inside[log.period == 0].mean()
            found = estimate(shares[name] * inside, grown)
            rows.append({"mechanism": name, "bucket": level, **found})
    return pd.DataFrame(rows)


def _diagnostics(log):
    found = {}
    for code, name in enumerate(PERIODS):
        found[f"rows_{name}"] = int(log.sizes[code])
        found[f"clusters_{name}"] = len(np.unique(log.units[log.period == code]))
    return found | {
        "effective_sample_size": float(log.effective),
        "largest_share": float(log.largest),
    }


def _doubts(log, diagnostics):
    """Reasons why the whole split is weak."""
    found = []
    if log.effective < _FEWEST_EFFECTIVE:
        found.append(Reason("mixture_of_few_rows", size=log.effective))
    elif log.largest > _LARGEST:
        found.append(Reason("mixture_of_one_row", share=log.largest))
    for name in PERIODS:
        clusters = diagnostics[f"clusters_{name}"]
        if clusters < _FEWEST_CLUSTERS:
            found.append(Reason("period_of_few_clusters", period=name, clusters=clusters))
    return found
