"""Identification under a class of graphs: whether all its members have the same effect."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from causal_lib.graph import ARROW, CIRCLE, TAIL, CausalGraph, meek
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.inference.identification import Estimand, NotIdentifiableError, identify
from causal_lib.inference.pags import identify_by_adjustment, mags, some_mag

LIMIT = 2000


@dataclass(frozen=True)
class Case:
    """Members of a class in which the effect is the same function of the data.

    Attributes
    ----------
    estimand : how to compute it in all of them; None where it is refused.
    refusal : why it is refused; None where it is not.
    count : members; None for all of them, where they need not be listed.
    example : one of them.
    """

    estimand: Estimand | None
    refusal: str | None
    count: int | None
    example: CausalGraph


@dataclass(frozen=True)
class ClassEstimand:
    """What a class of DAGs or MAGs says of the effect of ``treatment`` on ``outcome``.

    Attributes
    ----------
    cases : the members by what the effect is in them, the most frequent first.
    deciding : open edge (``--``, or one with a circle) -> share of the entropy of the cases that
        knowing its marks removes: 1 where this edge alone decides.
    among : 'DAGs' or 'MAGs'. Of MAGs only adjustment is tried: 'refused' then means that no set
        serves.
    """

    treatment: str
    outcome: str
    cases: tuple[Case, ...]
    deciding: Mapping[str, float]
    among: str = "DAGs"

    @property
    def verdict(self) -> str:
        """'identified' or 'refused' in every member alike, or 'depends' on the member."""
        if len(self.cases) > 1:
            return "depends"
        return "refused" if self.cases[0].estimand is None else "identified"

    @property
    def estimand(self) -> Estimand:
        """The estimand that holds in every member; NotIdentifiableError where there is none."""
        if self.verdict == "identified":
            return self.cases[0].estimand
        if self.verdict == "refused":
            how = " by adjustment" if self.among == "MAGs" else ""
            raise NotIdentifiableError(
                f"the effect of {self.treatment} on {self.outcome} is identifiable{how} in no "
                "member of the class",
                self.cases[0].refusal,
            )
        raise NotIdentifiableError(
            f"the effect of {self.treatment} on {self.outcome} is not the same in all members of "
            "the class",
            str(self),
        )

    def __str__(self):
        members = sum(case.count or 0 for case in self.cases)
        by_case = [
            (f"{case.count} of {members}: " if case.count else "")
            + str(case.estimand or "not identifiable")
            for case in self.cases
        ]
        edge = next(iter(self.deciding), None)
        decides = ""
        if edge:
            not_alone = ", though not alone" if self.deciding[edge] < 1 else ""
            decides = f"; {edge} decides{not_alone}"
        return "; ".join(by_case) + decides

    def __repr__(self):
        members = sum(case.count or 0 for case in self.cases) or "all"
        return f"{self.verdict} over {members} {self.among}: {self}"


def members(graph: CausalGraph) -> Iterator[CausalGraph]:
    """Every DAG of a CPDAG's class, once; also with further orientations, closed under Meek's
    rules.

    >>> chain = CausalGraph.from_edges("abc", ["a -- b", "b -- c"])
    >>> [str(dag.edges) for dag in members(chain)]
    ["['b -> a', 'c -> b']", "['b -> a', 'b -> c']", "['a -> b', 'b -> c']"]
    """
    if graph.kind not in ("DAG", "CPDAG"):
        raise ValueError(f"a {graph.kind} graph stands for no class of DAGs; give a DAG or a CPDAG")
    stack = [meek(graph.marks)]
    while stack:
        marks = stack.pop()
        undirected = np.argwhere(np.triu((marks == TAIL) & (marks.T == TAIL)))
        if not len(undirected):
            yield CausalGraph(graph.names, marks)
            continue
        for i, j in (undirected[0], undirected[0][::-1]):
            directed = marks.copy()
            directed[i, j] = ARROW
            stack.append(meek(directed))


def identify_class(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    *,
    hidden: Iterable[str] = (),
    instruments: bool = False,
    limit: int = LIMIT,
) -> ClassEstimand:
    """Whether all members of ``graph``'s class have the same effect, and which edge decides if not.

    Of a PAG only adjustment is tried, see `identify_by_adjustment`. Its members are listed where no
    set serves all.

    Parameters
    ----------
    graph : a CPDAG (or one with the orientations that knowledge adds), or a DAG: then there is one
        member; or a PAG or MAG, by ``graph.as_pag()`` where it has no circle: in it every edge may
        hide a common cause unless it is visible.
    hidden, instruments : as in `identify`.
    limit : members at most.

    Raises
    ------
    ValueError
        for a class of more than ``limit`` members, a graph that is neither CPDAG nor PAG, or
        ``instruments`` with a PAG.

    Source: enumeration by Meek 1995's rules; where nothing is hidden, members agree if and only if
    the class is amenable (Perković and others 2018). Of PAGs, see `mags`.

    >>> triangle = CausalGraph.from_edges("zxy", ["z -- x", "x -- y", "z -- y"])
    >>> identify_class(triangle, "x", "y").verdict
    'depends'
    >>> pag = CausalGraph.from_edges("azxy", ["a o-> x", "z o-> x", "z -> y", "x -> y"])
    >>> identify_class(pag, "x", "y")
    identified over all MAGs: effect of x on y: identified by back-door through z
    >>> identify_class(CausalGraph.from_edges("zxy", ["z o-> x", "y o-> x"]), "y", "x")
    depends over 4 MAGs: 2 of 4: not identifiable; 2 of 4: effect of y on x: identified by no
    effect; x <-o y decides
    """
    hidden = tuple(hidden)
    if graph.kind == "PAG":
        return _identify_pag(graph, treatment, outcome, hidden, instruments, limit)
    dags = []
    for dag in members(graph):
        if len(dags) == limit:
            raise ValueError(
                f"graph: its class has more than {limit} members; direct some of its "
                f"{int(graph.undirected.sum()) // 2} "
                "undirected edges by knowledge, or raise limit"
            )
        dags.append(dag)

    def answer(dag):
        return identify(dag, treatment, outcome, hidden=hidden, instruments=instruments)

    return _class_estimand(graph, treatment, outcome, dags, answer, "DAGs")


def _identify_pag(graph, treatment, outcome, hidden, instruments, limit):
    """As `identify_class`, of a PAG: by the criterion, else member by member."""
    if instruments:
        raise ValueError(
            "instruments: a PAG shows none, since any of its edges may hide a common cause"
        )
    try:
        found = identify_by_adjustment(graph, treatment, outcome, hidden=hidden)
        return ClassEstimand(
            treatment, outcome, (Case(found, None, None, some_mag(graph)),), {}, "MAGs"
        )
    except NotIdentifiableError as error:
        reason = error.witness
    try:
        found = list(mags(graph, limit))
    except ValueError as error:
        raise ValueError(f"{error}; no set serves all: {reason}") from error

    def answer(mag):
        return identify_by_adjustment(mag, treatment, outcome, hidden=hidden, member=mag)

    return _class_estimand(graph, treatment, outcome, found, answer, "MAGs")


def _class_estimand(graph, treatment, outcome, graphs, answer, among):
    """The members ``graphs`` by their ``answer``."""
    cases = []
    labels = [_case_of(cases, member, treatment, outcome, answer) for member in graphs]
    counts = Counter(labels)
    found = [case.frozen(counts[number]) for number, case in enumerate(cases)]
    found.sort(key=lambda case: -case.count)
    deciding = _deciding_edges(graph, graphs, labels)
    return ClassEstimand(treatment, outcome, tuple(found), deciding, among)


@dataclass
class _OpenCase:
    """A case while members are added: ``sets`` are the adjustment sets right in all so far."""

    estimand: Estimand | None
    refusal: str | None
    example: CausalGraph
    sets: list

    @property
    def strategy(self):
        return None if self.estimand is None else self.estimand.strategy

    def takes(self, member, estimand, treatment, outcome):
        """Whether the effect in ``member`` is the same function of the data; ``sets`` shrink."""
        if self.strategy != (None if estimand is None else estimand.strategy):
            return False
        if self.strategy == "back-door":
            right = [z for z in self.sets if is_adjustment_set(member, treatment, outcome, z)]
            if right:
                self.sets = right
            return bool(right)
        if self.strategy in ("front-door", "do-calculus", "instrument"):
            return self.estimand.latex == estimand.latex
        return True

    def frozen(self, count):
        """The `Case` of ``count`` members, its estimand by a set that is right in all of them."""
        estimand = self.estimand
        if self.strategy == "back-door" and self.sets[0] != estimand.adjustment:
            estimand = estimand.by(self.sets[0])
        return Case(estimand, self.refusal, count, self.example)


def _case_of(cases, member, treatment, outcome, answer):
    """The number of the case that ``member`` belongs to; a new one is added if need be."""
    estimand = None
    refusal = None
    try:
        estimand = answer(member)
    except NotIdentifiableError as error:
        refusal = error.witness
    for number, case in enumerate(cases):
        if case.takes(member, estimand, treatment, outcome):
            return number
    sets = []
    if estimand is not None and estimand.strategy == "back-door":
        sets = list(dict.fromkeys([*estimand.adjustments, estimand.optimal]))
    cases.append(_OpenCase(estimand, refusal, member, sets))
    return len(cases) - 1


def _deciding_edges(graph, graphs, labels):
    """Open edge -> share of the entropy of the labels that its marks take away, largest first."""
    whole = _entropy(labels)
    shares = {}
    for edge, (i, j) in zip(graph.edges, np.argwhere(np.triu(graph.skeleton)), strict=True):
        if not whole or not (
            graph.undirected[i, j] or CIRCLE in (graph.marks[i, j], graph.marks[j, i])
        ):
            continue
        parts = {}
        for label, one in zip(labels, graphs, strict=True):
            parts.setdefault((one.marks[i, j], one.marks[j, i]), []).append(label)
        left = sum(len(part) / len(labels) * _entropy(part) for part in parts.values())
        if whole - left > 1e-9:
            shares[edge] = round(1 - left / whole, 9)
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _entropy(labels):
    return -sum(
        count / len(labels) * math.log(count / len(labels)) for count in Counter(labels).values()
    )
