"""Identification under a graph that discovery gives: a class of DAGs, of which some may have one effect and some another."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from causal_lib.graph import ARROW, TAIL, CausalGraph, meek
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.inference.identification import Estimand, NotIdentifiableError, identify

LIMIT = 2000


@dataclass(frozen=True)
class Case:
    """Members of a class in which the effect is the same function of the data.

    Attributes
    ----------
    estimand : how to compute it in all of them; None where it is refused.
    refusal : why it is refused; None where it is not.
    count : members.
    example : one of them.
    """

    estimand: Estimand | None
    refusal: str | None
    count: int
    example: CausalGraph


@dataclass(frozen=True)
class ClassEstimand:
    """What a class of DAGs says of the effect of ``treatment`` on ``outcome``.

    Attributes
    ----------
    cases : the members by what the effect is in them, the most frequent first.
    deciding : undirected edge -> share of the doubt between the cases that its direction ends: 1 where it decides alone.
    """

    treatment: str
    outcome: str
    cases: tuple[Case, ...]
    deciding: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """'identified' (the same in every member), 'refused' (in every member) or 'depends' on the member."""
        if len(self.cases) > 1:
            return "depends"
        return "refused" if self.cases[0].estimand is None else "identified"

    @property
    def estimand(self) -> Estimand:
        """The estimand that holds in every member; raises NotIdentifiableError where there is none."""
        if self.verdict == "identified":
            return self.cases[0].estimand
        if self.verdict == "refused":
            raise NotIdentifiableError(
                f"the effect of {self.treatment} on {self.outcome} is identifiable in no member of the class",
                self.cases[0].refusal,
            )
        raise NotIdentifiableError(
            f"the effect of {self.treatment} on {self.outcome} is not the same in all members of the class", str(self)
        )

    def __str__(self):
        members = sum(case.count for case in self.cases)
        told = [f"{case.count} of {members}: {case.estimand or 'not identifiable'}" for case in self.cases]
        edge = next(iter(self.deciding), None)
        decides = f"; {edge} decides" + (", though not alone" if self.deciding[edge] < 1 else "") if edge else ""
        return "; ".join(told) + decides

    def __repr__(self):
        return f"{self.verdict} over {sum(case.count for case in self.cases)} DAGs: {self}"


def members(graph: CausalGraph) -> Iterator[CausalGraph]:
    """Every DAG that a CPDAG stands for, once; also of one with further orientations, closed under Meek's rules.

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
    """Whether the members of ``graph``'s class agree on the effect, and which edge one must know where they do not.

    Parameters
    ----------
    graph : a CPDAG (or one with the orientations that knowledge adds), or a DAG: then there is one member.
    hidden, instruments : as in `identify`.
    limit : members at most.

    Raises
    ------
    ValueError
        for a class of more than ``limit`` members, or a graph that is no CPDAG.

    Source: enumeration by Meek 1995's rules; where nothing is hidden, members agree if and only if the class is amenable
    (Perković and others 2018).

    >>> identify_class(CausalGraph.from_edges("zxy", ["z -- x", "x -- y", "z -- y"]), "x", "y").verdict
    'depends'
    """
    hidden, found, labels = tuple(hidden), [], []
    dags = []
    for dag in members(graph):
        if len(dags) == limit:
            raise ValueError(
                f"graph: its class has more than {limit} members; direct some of its {int(graph.undirected.sum()) // 2} "
                "undirected edges by knowledge, or raise limit"
            )
        dags.append(dag)
        label = _place(found, dag, treatment, outcome, hidden, instruments)
        labels.append(label)
    counts = Counter(labels)
    cases = [Case(_chosen(one), one["refusal"], counts[k], one["example"]) for k, one in enumerate(found)]
    cases.sort(key=lambda case: -case.count)
    return ClassEstimand(treatment, outcome, tuple(cases), _deciding(graph, dags, labels))


def _place(found, dag, treatment, outcome, hidden, instruments):
    """The number of the case that ``dag`` belongs to, a new one if need be; a case keeps the sets that are right in all of it."""
    try:
        estimand, refusal = identify(dag, treatment, outcome, hidden=hidden, instruments=instruments), None
    except NotIdentifiableError as error:
        estimand, refusal = None, error.witness
    key = None if estimand is None else estimand.strategy
    for number, one in enumerate(found):
        if one["key"] != key:
            continue
        if key == "back-door":
            good = [z for z in one["sets"] if is_adjustment_set(dag, treatment, outcome, z)]
            if not good:
                continue
            one["sets"] = good
        elif key in ("front-door", "do-calculus", "instrument") and one["estimand"].latex != estimand.latex:
            continue
        return number
    sets = []
    if key == "back-door":
        sets = list(dict.fromkeys([*estimand.adjustments, estimand.optimal]))
    found.append({"key": key, "estimand": estimand, "refusal": refusal, "example": dag, "sets": sets})
    return len(found) - 1


def _chosen(one):
    """The estimand of a case, by a set that is right in all of it."""
    estimand = one["estimand"]
    if one["key"] != "back-door" or one["sets"][0] == estimand.adjustment:
        return estimand
    return estimand.by(one["sets"][0])


def _deciding(graph, dags, labels):
    """Undirected edge -> share of the entropy of the labels that its direction takes away, largest first."""
    whole = _entropy(labels)
    shares = {}
    for i, j in np.argwhere(np.triu(graph.undirected)) if whole else ():
        sides = [dag.adjacency[i, j] for dag in dags]
        parts = [[label for label, side in zip(labels, sides, strict=True) if side == way] for way in (True, False)]
        left = sum(len(part) / len(labels) * _entropy(part) for part in parts if part)
        if whole - left > 1e-9:
            shares[f"{graph.names[i]} -- {graph.names[j]}"] = round(1 - left / whole, 9)
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _entropy(labels):
    return -sum(count / len(labels) * math.log(count / len(labels)) for count in Counter(labels).values())
