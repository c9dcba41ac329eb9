"""`CausalGraph`: one type and one edge convention for DAGs, CPDAGs and PAGs, with conversions.

The convention: ``marks[i, j]`` is the mark at the end **at j** of the edge between i and j, so that
i → j is ``marks[i, j] == ARROW and marks[j, i] == TAIL``; ``adjacency[i, j]`` is true exactly then.
Every package's own convention is converted in this module and nowhere else.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral

import networkx as nx
import numpy as np

from causal_lib.drawing import graph_html

NONE = 0
TAIL = 1
ARROW = 2
CIRCLE = 3
_LEFT = {TAIL: "-", ARROW: "<", CIRCLE: "o"}
_RIGHT = {TAIL: "-", ARROW: ">", CIRCLE: "o"}
_SIGNS = {
    sign: (left_mark, right_mark)
    for left_mark, left in _LEFT.items()
    for right_mark, right in _RIGHT.items()
    for sign in (left + right, f"{left}-{right}")
    if "-" in sign
} | {"-": (TAIL, TAIL)}
"""What is written between two variables -> the marks at the first and at the second."""
_SIGN = re.compile(rf"(?<=\s)(?:{'|'.join(map(re.escape, _SIGNS))})(?=\s)")


@dataclass(frozen=True, eq=False, repr=False)
class CausalGraph:
    """A graph of named variables with endpoint marks: DAG (``→``), CPDAG (``→``, ``—``), PAG
    (``→``, ``↔``, ``o→``, ``o–o``).

    Parameters
    ----------
    names : the d variables.
    marks : (d, d) int8, see the module's convention; both ends of an edge must be marked.
    info : how the graph came about (method, settings, seconds, edge probabilities); never compared.
    kind : what the marks say: 'DAG', 'ADMG' (→ and ↔), 'CPDAG' (→ and —, a class of DAGs), 'PAG' (a
        class of ancestral graphs: an edge tells who is an ancestor of whom, and a hidden common
        cause may be behind it) or 'cyclic'. By default read off the marks. Only 'PAG' need be
        given, since a PAG may be left without a circle; it is compared, and every conversion keeps
        it.

    Raises
    ------
    ValueError
        for names given twice, a marks matrix of another shape or with other numbers, a self-loop,
        an edge with one end, or a ``kind`` that the marks are not.

    >>> g = CausalGraph.from_edges(["a", "b", "c"], ["a -> b", "b -- c"])
    >>> g.adjacency.astype(int).tolist(), g.kind
    ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], 'CPDAG')
    """

    names: tuple[str, ...]
    marks: np.ndarray
    info: Mapping[str, object] = field(default_factory=dict)
    kind: str | None = None

    def __post_init__(self):
        names = tuple(map(str, self.names))
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"variable named twice: {', '.join(twice)}")
        marks = np.asarray(self.marks)
        strange = marks[~np.isin(marks, (NONE, TAIL, ARROW, CIRCLE))]
        if strange.size:
            raise ValueError(
                f"marks: {strange.size} are none of 0 (no edge), 1 (tail), 2 (arrow) and 3 "
                f"(circle), first {strange[0]}"
            )
        marks = np.array(marks, dtype=np.int8)
        if marks.shape != (len(names), len(names)):
            raise ValueError(f"marks of shape {marks.shape} do not fit {len(names)} names")
        if marks.diagonal().any():
            raise ValueError(
                f"variable {names[int(marks.diagonal().nonzero()[0][0])]!r} has an edge to itself"
            )
        half = np.argwhere((marks == NONE) != (marks.T == NONE))
        if len(half):
            raise ValueError(
                f"edge {names[half[0][0]]} ? {names[half[0][1]]} has a mark at one end only"
            )
        marks.setflags(write=False)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "marks", marks)
        read = _kind_of(marks)
        if self.kind not in (None, read, "PAG"):
            raise ValueError(
                f"kind={self.kind!r}: these marks are a {read}; give that, 'PAG' or nothing"
            )
        object.__setattr__(self, "kind", self.kind or read)

    # ---- building --------------------------------------------------------------------------------

    @classmethod
    def from_edges(
        cls, names: Iterable[str], edges: Iterable[str | tuple[str, ...]] = (), **info
    ) -> "CausalGraph":
        """A graph from edges written ``"a -> b"``, ``"a -- b"``, ``"a <-> b"``, ``"a o-> b"``, ``"a
        o-o b"``, ``("a", "b")`` for a cause and its effect, or ``("a", "<->", "b")``.

        A name may hold any text, blanks and signs too. ValueError where an edge can be read in two
        ways; a tuple has one.
        """
        names = tuple(names)
        position = {name: i for i, name in enumerate(names)}
        marks = np.zeros((len(names), len(names)), dtype=np.int8)
        for edge in edges:
            left, sign, right = _read_edge(edge, position)
            i = position[left]
            j = position[right]
            if marks[i, j]:
                raise ValueError(f"edge between {left!r} and {right!r} given twice")
            at_left, at_right = _SIGNS[sign]
            marks[j, i] = at_left
            marks[i, j] = at_right
        return cls(names, marks, info)

    @classmethod
    def from_dict(cls, found: Mapping) -> "CausalGraph":
        """The graph that `to_dict` wrote."""
        return replace(cls.from_edges(found["names"], found["edges"]), kind=found["kind"])

    @classmethod
    def from_adjacency(cls, adjacency, names: Iterable[str] | None = None, **info) -> "CausalGraph":
        """A graph from a (d, d) matrix whose entry [i, j] is non-zero for i → j; both [i, j] and
        [j, i] mean i — j.

        The matrix may be sparse, or a frame whose columns are the names; its index holds them too,
        in any order, or numbers the rows from 0 in the order of the columns.
        Raises ValueError for a missing entry and for -1 opposite 1, causal-learn's marks of an
        arrow, which `from_causallearn` reads.
        """
        if hasattr(adjacency, "toarray"):  # sparse
            adjacency = adjacency.toarray()
        if hasattr(adjacency, "columns"):
            names = [*adjacency.columns] if names is None else names
            if [*adjacency.index] != [*range(len(adjacency))]:
                if set(adjacency.index) != set(adjacency.columns):
                    raise ValueError("adjacency: the frame's index and columns are not the same")
                adjacency = adjacency.loc[[*adjacency.columns]]
        weights = np.asarray(adjacency)
        if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
            raise ValueError(f"adjacency must be square, not {weights.shape}")
        if missing := int((weights != weights).sum()):
            raise ValueError(f"adjacency: {missing} entries are missing; write 0 for no edge")
        if ((weights == -1) & (weights.T == 1)).any():
            raise ValueError(
                "adjacency: -1 stands opposite 1, as in a matrix of causal-learn; give its graph "
                "to from_causallearn"
            )
        directed = weights != 0
        names = names if names is not None else [f"x{i}" for i in range(len(directed))]
        marks = np.where(directed & ~directed.T, ARROW, NONE) + np.where(directed.T, TAIL, NONE)
        return cls(tuple(names), marks, info)

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph, **info) -> "CausalGraph":
        """A DAG from a networkx ``DiGraph`` (nodes in the graph's own order).

        ValueError for a graph whose edges have no direction.
        """
        if not graph.is_directed():
            raise ValueError(
                f"from_networkx: the edges of a {type(graph).__name__} have no direction; give a "
                "DiGraph, or write them 'a -- b' for from_edges"
            )
        return cls.from_edges(
            # edges() without keys: several edges of a multigraph are one
            map(str, graph.nodes),
            {(str(a), str(b)): None for a, b in graph.edges()},
            **info,
        )

    @classmethod
    def from_causallearn(
        cls, graph, names: Iterable[str] | None = None, *, kind: str | None = None, **info
    ) -> "CausalGraph":
        """A graph from causal-learn's ``GeneralGraph``; give ``kind='PAG'`` for an answer of FCI,
        which does not say so.

        In its matrix [i, j] holds -1 for a tail, 1 for an arrow and 2 for a circle at the end **at
        i**.
        """
        theirs = np.asarray(graph.graph).astype(int)
        names = names if names is not None else [n.get_name() for n in graph.get_nodes()]
        translate = {0: NONE, -1: TAIL, 1: ARROW, 2: CIRCLE}
        unknown = set(np.unique(theirs)) - translate.keys()
        if unknown:
            raise ValueError(f"causal-learn endpoint codes not understood: {sorted(unknown)}")
        return cls(
            tuple(names), np.vectorize(translate.get, otypes=[np.int8])(theirs.T), info, kind
        )

    @classmethod
    def from_pyagrum(cls, net, **info) -> "CausalGraph":
        """A DAG from the structure of a pyAgrum Bayesian network."""
        names = [net.variable(n).name() for n in sorted(net.nodes())]
        return cls.from_edges(
            names, [(net.variable(a).name(), net.variable(b).name()) for a, b in net.arcs()], **info
        )

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def adjacency(self) -> np.ndarray:
        """(d, d) bool: [i, j] is true exactly for i → j."""
        return (self.marks == ARROW) & (self.marks.T == TAIL)

    @property
    def undirected(self) -> np.ndarray:
        """(d, d) bool, symmetric: i — j."""
        return (self.marks == TAIL) & (self.marks.T == TAIL)

    @property
    def bidirected(self) -> np.ndarray:
        """(d, d) bool, symmetric: i ↔ j, a hidden common cause."""
        return (self.marks == ARROW) & (self.marks.T == ARROW)

    @property
    def skeleton(self) -> np.ndarray:
        """(d, d) bool, symmetric: i and j are adjacent."""
        return self.marks != NONE

    @property
    def triples(self) -> list[tuple[str, str, str]]:
        """Every edge once as (variable, sign, variable), directed ones from the cause."""
        found = []
        for i, j in np.argwhere(np.triu(self.skeleton)):
            if self.marks[i, j] == TAIL and self.marks[j, i] != TAIL:
                i, j = j, i
            left = _LEFT[self.marks[j, i]]
            right = _RIGHT[self.marks[i, j]]
            sign = f"{left}{'' if left == '-' else '-'}{right}"
            found.append((self.names[i], sign, self.names[j]))
        return found

    @property
    def edges(self) -> list[str]:
        """Every edge once, written as `from_edges` reads it, directed ones from the cause."""
        return [" ".join(triple) for triple in self.triples]

    def index(self, name: str) -> int:
        """Position of a variable, or a ValueError that lists the variables."""
        if name not in self.names:
            raise ValueError(
                f"no variable {name!r} in the graph; variables: {', '.join(self.names)}"
            )
        return self.names.index(name)

    def parents(self, name: str) -> set[str]:
        """Variables with a directed edge into ``name``."""
        return {self.names[i] for i in self.adjacency[:, self.index(name)].nonzero()[0]}

    def children(self, name: str) -> set[str]:
        """Variables that ``name`` has a directed edge into."""
        return {self.names[i] for i in self.adjacency[self.index(name)].nonzero()[0]}

    def ancestors(self, name: str) -> set[str]:
        """Variables with a directed path into ``name``, without ``name``."""
        self.index(name)
        return nx.ancestors(self.directed_part(), name)

    def descendants(self, name: str) -> set[str]:
        """Variables that ``name`` has a directed path into, without ``name``."""
        self.index(name)
        return nx.descendants(self.directed_part(), name)

    def require_dag(self, purpose: str) -> "CausalGraph":
        """The graph itself, or a ValueError that shows a cycle or an edge that is not ``→``."""
        if self.kind == "DAG":
            return self
        directed = self.directed_part()
        if not nx.is_directed_acyclic_graph(directed):
            cycle = nx.find_cycle(directed)
            path = " -> ".join([a for a, *_ in cycle] + [cycle[0][0]])
            raise ValueError(f"{purpose} needs an acyclic graph; cycle: {path}")
        loose = next((" ".join(one) for one in self.triples if one[1] != "->"), None)
        if loose is None:
            raise ValueError(
                f"{purpose} needs a DAG; this is a PAG, behind whose edges hidden "
                "common causes may be"
            )
        raise ValueError(
            f"{purpose} needs a DAG; edge {loose!r} of this {self.kind} has no direction"
        )

    def order(self) -> list[str]:
        """A topological order of a DAG's variables, ties in the order of ``names``."""
        self.require_dag("a topological order")
        return list(nx.lexicographical_topological_sort(self.directed_part(), key=self.names.index))

    def d_separated(self, first: str, second: str, given: Iterable[str] = ()) -> bool:
        """Whether a DAG implies that ``first`` and ``second`` are independent given ``given``."""
        self.require_dag("d-separation")
        given = set(given)
        for name in {first, second} | given:
            self.index(name)
        return nx.is_d_separator(self.directed_part(), {first}, {second}, given)

    # ---- changing (always into a new graph) ------------------------------------------------------

    def subgraph(self, names: Iterable[str]) -> "CausalGraph":
        """The graph on ``names`` only, edges to others cut (no projection: see
        `latent_projection`).
        """
        names = list(names)
        keep = [self.index(n) for n in names]
        kind = "PAG" if self.kind == "PAG" else None
        return CausalGraph(names, self.marks[np.ix_(keep, keep)], self.info, kind)

    def as_pag(self) -> "CausalGraph":
        """The same marks read as a PAG: behind every edge that is not visible a hidden common cause
        may be.
        """
        return replace(self, kind="PAG")

    def latent_projection(self, hidden: Iterable[str]) -> "CausalGraph":
        """The graph over the other variables when ``hidden`` are not observed (Verma and Pearl
        1990).

        A → B where a directed path has only hidden variables inside; A ↔ B where a hidden variable
        reaches both through hidden ones. Where both hold, the result has to say both, which marks
        cannot: that pair is refused.
        """
        hidden = set(hidden)
        for name in hidden:
            self.index(name)
        self.require_dag("a latent projection")
        directed = self.directed_part()
        kept = [n for n in self.names if n not in hidden]
        inside = {n: _reach(directed, n, hidden) for n in self.names}
        marks = np.zeros((len(kept), len(kept)), dtype=np.int8)
        for i, a in enumerate(kept):
            for j, b in enumerate(kept):
                if b in inside[a]:
                    marks[i, j] = ARROW
                    marks[j, i] = TAIL
        for i, a in enumerate(kept):
            for j, b in enumerate(kept[:i]):
                if any(a in inside[h] and b in inside[h] for h in hidden):
                    if marks[i, j]:
                        raise ValueError(
                            f"{a} and {b} have both a direct effect and a hidden common cause; "
                            "keep the cause in the graph"
                        )
                    marks[i, j] = marks[j, i] = ARROW
        return CausalGraph(kept, marks)

    def cpdag(self, knowledge=None) -> "CausalGraph":
        """The Markov equivalence class of a DAG as a CPDAG; with ``knowledge``, the orientations
        that it adds too.

        Raises ValueError for a graph that is no DAG, or has an edge the way that ``knowledge``
        forbids.
        """
        self.require_dag("a CPDAG")
        directed = self.adjacency
        marks = np.where(self.skeleton, TAIL, NONE).astype(np.int8)
        for child in range(len(self.names)):
            parents = directed[:, child].nonzero()[0]
            for a in parents:
                if any(b != a and not self.skeleton[a, b] for b in parents):
                    marks[a, child] = ARROW
        if knowledge is not None:
            must = knowledge.orientations(self.names) & self.skeleton
            if (must & directed.T).any():
                i, j = np.argwhere(must & directed.T)[0]
                edge = f"{self.names[j]} -> {self.names[i]}"
                raise ValueError(
                    f"knowledge forbids {edge}, an edge of this DAG; drop one or the other"
                )
            marks[must] = ARROW
        return CausalGraph(self.names, meek(marks))

    def extension(self) -> "CausalGraph":
        """A DAG of the class that a CPDAG stands for, with its directed edges and v-structures (Dor
        and Tarsi 1992).
        """
        if self.kind not in ("DAG", "CPDAG"):
            raise ValueError(
                f"a {self.kind} graph has no extension to a DAG; give a DAG or a CPDAG"
            )
        directed = self.adjacency.copy()
        open_ = self.undirected.copy()
        result = self.adjacency.copy()
        left = list(range(len(self.names)))
        while left:
            # a sink whose undirected neighbours are adjacent to all its other neighbours
            for x in left:
                around = directed[:, x] | open_[x]
                near = open_[x].nonzero()[0]
                joined = self.skeleton[near] | (np.arange(len(around)) == near[:, None])
                if not directed[x].any() and joined[:, around].all():
                    break
            else:
                stuck = ", ".join(self.names[x] for x in left)
                raise ValueError(
                    f"no DAG has the directions and v-structures of this graph; look at {stuck}"
                )
            result[near, x] = True
            directed[:, x] = open_[:, x] = open_[x] = False
            left.remove(x)
        return CausalGraph.from_adjacency(result, self.names)

    # ---- other packages --------------------------------------------------------------------------

    def to_networkx(self) -> nx.DiGraph:
        """A DAG, or a graph with directed cycles, as a networkx ``DiGraph``.

        Raises ValueError where an edge has no direction, which a ``DiGraph`` cannot say: see
        `to_causallearn`, `to_dict`, or take the `directed_part`.
        """
        loose = [" ".join(one) for one in self.triples if one[1] != "->"]
        if loose:
            edges = "an edge that has" if len(loose) == 1 else f"{len(loose)} edges that have"
            raise ValueError(
                f"to_networkx: this {self.kind} has {edges} no single direction, first "
                f"{loose[0]!r}, and a DiGraph cannot keep it; use directed_part() for the others"
            )
        if self.kind == "PAG":
            raise ValueError(
                "to_networkx: an arrow of a PAG says who is an ancestor of whom, which a DiGraph "
                "does not; use directed_part() for the arrows alone"
            )
        return self.directed_part()

    def directed_part(self) -> nx.DiGraph:
        """The directed edges alone, as a networkx ``DiGraph`` over all variables."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.names)
        graph.add_edges_from((self.names[i], self.names[j]) for i, j in np.argwhere(self.adjacency))
        return graph

    def to_pyagrum(self, levels: Mapping[str, int] | int = 2):
        """A pyAgrum Bayesian network with this DAG's arcs and ``levels`` states a variable (tables
        not filled).

        Raises ValueError for a graph that is no DAG, a variable without levels, and numbers of
        levels that are not whole.
        """
        import pyagrum as gum

        self.require_dag("a Bayesian network")
        if not isinstance(levels, Mapping):
            levels = dict.fromkeys(self.names, levels)
        if absent := [name for name in self.names if name not in levels]:
            raise ValueError(f"levels: none given of {', '.join(map(repr, absent))}")
        for name in self.names:
            if not isinstance(levels[name], Integral) or levels[name] < 1:
                raise ValueError(
                    f"levels of {name!r}: a whole number of at least 1 is needed, not "
                    f"{levels[name]!r}"
                )
        net = gum.BayesNet()
        for name in self.names:
            net.add(gum.RangeVariable(name, name, 0, levels[name] - 1))
        for i, j in np.argwhere(self.adjacency):
            net.addArc(self.names[i], self.names[j])
        return net

    def to_causallearn(self):
        """The graph as causal-learn's ``GeneralGraph``, every mark kept (also of a PAG)."""
        from causallearn.graph.Edge import Edge
        from causallearn.graph.Endpoint import Endpoint
        from causallearn.graph.GeneralGraph import GeneralGraph
        from causallearn.graph.GraphNode import GraphNode

        ends = {TAIL: Endpoint.TAIL, ARROW: Endpoint.ARROW, CIRCLE: Endpoint.CIRCLE}
        nodes = [GraphNode(name) for name in self.names]
        theirs = GeneralGraph(nodes)
        for i, j in np.argwhere(np.triu(self.skeleton)):
            theirs.add_edge(
                Edge(nodes[i], nodes[j], ends[int(self.marks[j, i])], ends[int(self.marks[i, j])])
            )
        return theirs

    def to_dict(self) -> dict:
        """Names and edges as JSON types."""
        return {"kind": self.kind, "names": list(self.names), "edges": self.edges}

    def __eq__(self, other):
        if not isinstance(other, CausalGraph) or set(self.names) != set(other.names):
            return NotImplemented if not isinstance(other, CausalGraph) else False
        return self.kind == other.kind and bool(
            (other.subgraph(self.names).marks == self.marks).all()
        )

    __hash__ = None

    def __repr__(self):
        how = f" by {self.info['method']}" if "method" in self.info else ""
        how += (
            f" ({self.info['fallback']} instead: unfamiliar table)"
            if "fallback" in self.info
            else ""
        )
        return (
            f"{self.kind}{how} of {len(self.names)} variables, {len(self.edges)} edges: "
            f"{', '.join(self.edges)}"
        )

    def _repr_html_(self):
        return graph_html(self.names, self.triples, self.kind)


def check_graph(graph) -> CausalGraph:
    """``graph``; ValueError for what is no `CausalGraph`."""
    if isinstance(graph, CausalGraph):
        return graph
    maker = "from_networkx" if isinstance(graph, nx.Graph) else "from_edges"
    shown = "" if isinstance(graph, nx.Graph) else f"{graph!r} "
    raise ValueError(
        f"graph: a CausalGraph is needed, not {shown}({type(graph).__name__}); see "
        f"CausalGraph.{maker}"
    )


def _read_edge(edge, names):
    """``edge`` as (variable, sign, variable), both of them among ``names``; see `from_edges`."""
    if isinstance(edge, str):
        found = _readings(edge)
    else:
        parts = tuple(edge)
        if len(parts) not in (2, 3):
            raise ValueError(
                f"edge {edge!r} has {len(parts)} parts; write (cause, effect) or (variable, sign, "
                "variable)"
            )
        found = [parts if len(parts) == 3 else (parts[0], "->", parts[1])]
    known = [one for one in found if one[0] in names and one[2] in names]
    if not known and isinstance(edge, str):
        found = [(left.strip(), sign, right.strip()) for left, sign, right in found]
        known = [one for one in found if one[0] in names and one[2] in names]
    if len(known) > 1:
        raise ValueError(
            f"edge {edge!r}: can be read in {len(known)} ways with these names, as {known[0]} or "
            f"{known[1]}; give the tuple"
        )
    left, sign, right = (known or found)[0]
    for name in (left, right):
        if name not in names:
            raise ValueError(
                f"edge {edge!r}: no variable {name!r}; variables: {', '.join(map(str, names))}"
            )
    if sign not in _SIGNS:
        raise ValueError(f"edge {edge!r}: sign {sign!r} is not one of -> <- -- <-> o-> <-o o-o")
    return left, sign, right


def _readings(edge):
    """Every way to cut the text ``edge`` into (variable, sign, variable)."""
    found = []
    for sign in _SIGN.finditer(edge):
        found.append((edge[: sign.start() - 1], sign.group(), edge[sign.end() + 1 :]))
    words = edge.split()
    if not found and len(words) == 3:
        found = [tuple(words)]
    if not found:
        raise ValueError(
            f"edge {edge!r}: write two names with a sign between blanks, as in 'a -> b', or a "
            "tuple such as ('a', '->', 'b')"
        )
    return found


def _kind_of(marks):
    """What the marks (d, d) are by themselves: see `CausalGraph`."""
    if (marks == CIRCLE).any():
        return "PAG"
    directed = (marks == ARROW) & (marks.T == TAIL)
    causes = directed.sum(axis=0)
    first = causes == 0
    while first.any():  # take those without causes away, time and again
        causes = causes - directed[first].sum(axis=0)
        causes[first] = -1
        first = causes == 0
    if (causes > 0).any():
        return "cyclic"
    if ((marks == TAIL) & (marks.T == TAIL)).any():
        return "CPDAG"
    return "ADMG" if ((marks == ARROW) & (marks.T == ARROW)).any() else "DAG"


def meek(marks: np.ndarray) -> np.ndarray:
    """``marks`` with every undirected edge directed that Meek's rules 1-4 direct (Meek 1995), as a
    new array.

    A CPDAG stays a CPDAG; with orientations from background knowledge the result is the maximally
    oriented graph.
    """
    marks = marks.copy()
    while True:
        directed = (marks == ARROW) & (marks.T == TAIL)
        open_ = (marks == TAIL) & (marks.T == TAIL)
        apart = (marks == NONE) & ~np.eye(len(marks), dtype=bool)
        rule_1 = directed.T.astype(np.float32) @ apart > 0  # k → i — j, k and j apart
        rule_2 = directed.astype(np.float32) @ directed > 0  # i → k → j
        new = open_ & (rule_1 | rule_2)
        if not new.any():  # the more expensive rules only for what the others leave
            for i, j in np.argwhere(open_):
                # i — k → j, i — l → j, k and l apart
                spouses = (open_[i] & directed[:, j]).nonzero()[0]
                # i — k → l → j with k and j apart, i and l adjacent
                middle = directed[:, j] & marks[i].astype(bool)
                new[i, j] = apart[np.ix_(spouses, spouses)].any() or any(
                    (open_[i] & directed[:, m] & apart[:, j]).any() for m in middle.nonzero()[0]
                )
        # contradictory knowledge may imply both directions: one of them stands, so that the loop
        # ends
        new &= ~np.tril(new.T)
        if not new.any():
            return marks
        marks[new] = ARROW


def _reach(graph, start, through):
    """Variables reached from ``start`` by directed paths whose inner variables all lie in
    ``through``.
    """
    found = set()
    todo = [start]
    while todo:
        for child in graph.successors(todo.pop()):
            if child not in found:
                found.add(child)
                if child in through:
                    todo.append(child)
    return found
