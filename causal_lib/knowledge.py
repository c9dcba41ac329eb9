"""`Knowledge`: what is known before looking at data: tiers, forbidden and required edges."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from causal_lib.graph import CausalGraph


@dataclass(frozen=True)
class Knowledge:
    """Background knowledge about the direction of causation.

    Parameters
    ----------
    tiers : groups of variables, earliest first; no variable of a later tier causes one of an
        earlier tier. Variables that stand in no tier are free.
    forbidden : pairs (cause, effect) that are no edge.
    required : pairs (cause, effect) that are an edge.
    within_tiers : whether variables of one tier may cause each other.

    Raises
    ------
    ValueError
        for an edge that is no pair of names, and when the pieces contradict each other: a variable
        in two tiers, a required edge that is also forbidden or runs against the tiers, required
        edges in a cycle.
    TypeError
        for a tier that is a single name.

    >>> Knowledge(tiers=[["price"], ["clicked"]], required=[("clicked", "price")])
    Traceback (most recent call last):
    ValueError: required edge clicked -> price runs against the tiers (1 -> 0)
    """

    tiers: Sequence[Sequence[str]] = ()
    forbidden: Iterable[tuple[str, str]] = ()
    required: Iterable[tuple[str, str]] = ()
    within_tiers: bool = True

    def __post_init__(self):
        tiers = tuple(tuple(t) for t in self.tiers)
        if any(isinstance(t, str) for t in self.tiers):
            raise TypeError("tiers must be lists of variable names, not single names")
        object.__setattr__(self, "tiers", tiers)
        for field in ("forbidden", "required"):
            pairs = frozenset(_pair(edge, field) for edge in getattr(self, field))
            object.__setattr__(self, field, pairs)
        named = [name for tier in tiers for name in tier]
        for name in named:
            if named.count(name) > 1:
                raise ValueError(f"variable {name!r} stands in two tiers")
        for cause, effect in sorted(self.required):
            if (cause, effect) in self.forbidden:
                raise ValueError(f"edge {cause} -> {effect} is both required and forbidden")
            if not self.allows(cause, effect):
                raise ValueError(
                    f"required edge {cause} -> {effect} runs against the tiers "
                    f"({self.tier(cause)} -> {self.tier(effect)})"
                )
        names = sorted({n for edge in self.required for n in edge})
        CausalGraph.from_edges(names, sorted(self.required)).require_dag(
            "knowledge: required edges"
        )

    def tier(self, name: str) -> int | None:
        """Number of the variable's tier, None if it stands in none."""
        return next((i for i, tier in enumerate(self.tiers) if name in tier), None)

    def allows(self, cause: str, effect: str) -> bool:
        """Whether cause → effect is compatible with the tiers and not forbidden."""
        a = self.tier(cause)
        b = self.tier(effect)
        if a is not None and b is not None and (a > b or (a == b and not self.within_tiers)):
            return False
        return (cause, effect) not in self.forbidden

    def allowed(self, names: Sequence[str]) -> np.ndarray:
        """(d, d) bool over ``names``: [i, j] is true where names[i] → names[j] may be an edge.

        Raises ValueError for knowledge about a variable that is not in ``names``.
        """
        named = {n for tier in self.tiers for n in tier} | {
            n for e in self.forbidden | self.required for n in e
        }
        unknown = sorted(named - set(names))
        if unknown:
            raise ValueError(
                f"knowledge names {', '.join(unknown)}, which the data lack; "
                f"columns: {', '.join(names)}"
            )
        number = {name: i for i, tier in enumerate(self.tiers) for name in tier}
        tiers = np.array([number.get(name, -1) for name in names])
        later = tiers[:, None] > tiers if self.within_tiers else tiers[:, None] >= tiers
        allowed = ~np.eye(len(names), dtype=bool) & ~(later & (tiers[:, None] >= 0) & (tiers >= 0))
        at = {name: i for i, name in enumerate(names)}
        for cause, effect in self.forbidden:
            allowed[at[cause], at[effect]] = False
        for cause, effect in self.required:
            allowed[at[effect], at[cause]] = False
        return allowed

    def required_matrix(self, names: Sequence[str]) -> np.ndarray:
        """(d, d) bool over ``names``: [i, j] is true where names[i] → names[j] must be an edge.

        Raises ValueError for a required edge of a variable that is not in ``names``.

        >>> known = Knowledge(required=[("price", "clicked")])
        >>> known.required_matrix(["clicked", "price"]).tolist()
        [[False, False], [True, False]]
        """
        position = {name: i for i, name in enumerate(names)}
        unknown = sorted({name for edge in self.required for name in edge} - position.keys())
        if unknown:
            raise ValueError(
                f"knowledge names {', '.join(unknown)}, which the data lack; columns: "
                f"{', '.join(names)}"
            )
        required = np.zeros((len(names), len(names)), dtype=bool)
        for cause, effect in self.required:
            required[position[cause], position[effect]] = True
        return required

    def orientations(self, names: Sequence[str]) -> np.ndarray:
        """(d, d) bool: an edge between i and j, if there is one, can only be i → j."""
        allowed = self.allowed(list(names))
        return allowed & ~allowed.T

    def restrict(self, names: Iterable[str]) -> "Knowledge":
        """The same knowledge about ``names`` only."""
        names = set(names)
        return Knowledge(
            [kept for tier in self.tiers if (kept := [n for n in tier if n in names])],
            [e for e in self.forbidden if set(e) <= names],
            [e for e in self.required if set(e) <= names],
            self.within_tiers,
        )

    def fixing(self, graph: CausalGraph) -> "Knowledge":
        """The same knowledge and ``graph``: its directed edges required, every pair it leaves apart
        forbidden.

        For two-stage discovery: the graph of user attributes is learnt from one row a user, then
        fixed on the log.
        """
        pairs = [(a, b) for a in graph.names for b in graph.names if a != b]
        apart = [(a, b) for a, b in pairs if not graph.skeleton[graph.index(a), graph.index(b)]]
        directed = [(a, b) for a, b in pairs if graph.adjacency[graph.index(a), graph.index(b)]]
        return Knowledge(
            self.tiers,
            self.forbidden | set(apart),
            self.required | set(directed),
            self.within_tiers,
        )

    def violations(self, graph: CausalGraph) -> list[str]:
        """Edges of ``graph`` that contradict the knowledge, and required edges it lacks."""
        allowed = self.allowed(graph.names)
        wrong = [
            f"{graph.names[i]} -> {graph.names[j]}"
            for i, j in np.argwhere(graph.adjacency & ~allowed)
        ]
        lacking = [
            f"{a} -> {b} (required)" for a, b in sorted(self.required) if b not in graph.children(a)
        ]
        return wrong + lacking

    def to_causallearn(self, names: Sequence[str]):
        """causal-learn's ``BackgroundKnowledge`` over ``names`` (forbidden pairs spelled out, so
        that tiers mean the same).
        """
        from causallearn.graph.GraphNode import GraphNode
        from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

        nodes = {name: GraphNode(name) for name in names}
        allowed = self.allowed(list(names))
        background = BackgroundKnowledge()
        for i, cause in enumerate(names):
            for j, effect in enumerate(names):
                if i != j and not allowed[i, j]:
                    background.add_forbidden_by_node(nodes[cause], nodes[effect])
        for cause, effect in sorted(self.required):
            background.add_required_by_node(nodes[cause], nodes[effect])
        return background


def _pair(edge, field):
    """``edge`` as a pair (cause, effect) of two names."""
    found = () if isinstance(edge, str) else tuple(edge)
    if len(found) != 2 or not all(isinstance(name, str) for name in found):
        raise ValueError(
            f"{field}: {edge!r} is no pair of names; write (cause, effect), as in ('a', 'b')"
        )
    return found
