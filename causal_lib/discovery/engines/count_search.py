"""`search_counts`: search over orders of categorical variables by scores of their counts.

The discrete twin of `order_search`, for many variables or many levels, where blocks of indicator
columns would be too wide. An order determines a graph: each variable takes as parents those
predecessors that a greedy grow and shrink of the score leaves. One variable at a time moves to its
best place until no move improves the score; then a few variables move at random and the descent
starts again.

Why it is quick:

- Only the ``candidates`` variables that improve a variable most when they are its only parent are
  tried as its parents; without an effect on the marginal score, this is the order of mutual
  information.
- The grow and shrink of a variable are steps in a tree (the grow-shrink tree of BOSS). A node is a
  set of parents, its branches are the candidates that improve it, best first. The predecessors
  decide which branch is taken: the first of them that is a predecessor. So the table of a variable
  and a set of parents is counted once, whatever the order.
- Moving v changes the parents only of v and of variables that have v as a candidate.

Sources: BOSS and its trees, Andrews and others, arXiv 2310.17679; see `count_score` for the scores.
"""

import itertools
import math

import numpy as np

from causal_lib.discovery.engines.count_score import Table, score_parents
from causal_lib.discovery.engines.order_search import find_precedences
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

MAX_SWEEPS = 100
_NEVER = 10**9  # the position of a variable that stands before none
_TOLERANCE = 1e-7  # differences of the score below this count as zero


class _Node:
    """A set of parents of one variable in its tree.

    branches : candidates that improve the score, best first.
    best, kept : the score after shrinking, and the parents left; None before it is asked for.
    """

    __slots__ = ("best", "branches", "children", "kept", "parents", "score")

    def __init__(self, parents, score, branches):
        self.parents = parents
        self.score = score
        self.branches = branches
        self.children = {}
        self.best = None
        self.kept = None


class ParentTree:
    """The parents of variable ``z`` for any set of predecessors.

    candidates : variables that may be parents. required : those that always are.
    """

    def __init__(self, table: Table, z: int, candidates, required):
        self.table = table
        self.z = z
        self.candidates = [c for c in candidates if c not in required]
        self.required = frozenset(required)
        self.nodes = {}
        self.scores = {}  # of sets of parents that are no node

    def find(self, position: list[int], limit: int) -> _Node:
        """The node that grows from the variables whose ``position`` is below ``limit``, shrunk."""
        node = self._node(self.required)
        grown = True
        while grown:
            grown = False
            for c in node.branches:
                if position[c] < limit:
                    if c not in node.children:
                        node.children[c] = self._node(node.parents | {c})
                    node = node.children[c]
                    grown = True
                    break
        if node.best is None:
            self._shrink(node)
        return node

    def _node(self, parents):
        node = self.nodes.get(parents)
        if node is None:
            more = [c for c in self.candidates if c not in parents]
            own, *others = self._score(parents, [-1, *more])
            better = sorted(
                (score, c)
                for score, c in zip(others, more, strict=True)
                if score < own - _TOLERANCE
            )
            node = _Node(parents, own, [c for _, c in better])
            self.nodes[parents] = node
        return node

    def _score(self, parents, more):
        return score_parents(
            self.table,
            self.z,
            np.array(sorted(parents), dtype=np.int64),
            np.array(more, dtype=np.int64),
        ).tolist()

    def _shrink(self, node):
        """Remove the worst parent until no removal improves the score."""
        parents = node.parents
        best = node.score
        while True:
            options = [
                (self._alone(parents - {p}), p) for p in sorted(parents) if p not in self.required
            ]
            if not options or min(options)[0] >= best - _TOLERANCE:
                break
            best, worst = min(options)
            parents = parents - {worst}
        node.best = best
        node.kept = parents

    def _alone(self, parents):
        if parents in self.nodes:
            return self.nodes[parents].score
        if parents not in self.scores:
            [self.scores[parents]] = self._score(parents, [-1])
        return self.scores[parents]


class OrderSearch:
    """An order of the variables of ``table`` and the moves that improve it.

    allowed, required : (d, d) bool, [i, j]: i may or must be a parent of j.
    precedes : (d, d) bool, transitively closed: [a, b]: a stands before b in every order.
    """

    def __init__(self, table: Table, allowed, required, precedes, candidates: int, rng):
        d = len(table.levels)
        self.precedes = precedes
        self.rng = rng
        self.trees = []
        self.empty = 0.0  # the score without edges
        for z in range(d):
            may = np.flatnonzero(allowed[:, z] & ~precedes[z])
            scores = score_parents(table, z, np.zeros(0, np.int64), np.append(may, -1))
            self.empty += scores[-1]
            best = may[np.argsort(scores[:-1], kind="stable")[:candidates]]
            self.trees.append(
                ParentTree(table, z, best.tolist(), np.flatnonzero(required[:, z]).tolist())
            )
        self.children = [[] for _ in range(d)]  # of each variable: those it may be a parent of
        for z, tree in enumerate(self.trees):
            for c in tree.candidates:
                self.children[c].append(z)
        # a variable that must stand after others has more predecessors than each of them
        self.order = np.lexsort((rng.random(d), precedes.sum(axis=0))).tolist()

    def families(self) -> tuple[list[frozenset], float]:
        """The parents of each variable in the order, and the score of all."""
        position = self._positions(self.order)
        found = [tree.find(position, position[z]) for z, tree in enumerate(self.trees)]
        return [node.kept for node in found], sum(node.best for node in found)

    def _positions(self, order):
        position = [_NEVER] * len(self.trees)
        for i, z in enumerate(order):
            position[z] = i
        return position

    def descend(self) -> None:
        """Move each variable to its best place until no move improves the score."""
        for _ in range(MAX_SWEEPS):
            change = 0.0
            for v in self.rng.permutation(len(self.order)).tolist():
                change += self._move(v)
            if change > -_TOLERANCE:
                break

    def _move(self, v):
        """Move v to its best place; the change of the score.

        Of equally good places the farthest is taken, so that v may cross a plateau to its edge.
        """
        home = self.order.index(v)
        others = self.order[:home] + self.order[home + 1 :]
        low, high = self._range(v, others)
        position = self._positions(others)
        # what the variables behind each place gain by v standing before them
        gain = np.zeros(len(self.order))
        for z in self.children[v]:
            position[v] = _NEVER
            without = self.trees[z].find(position, position[z]).best
            position[v] = -1
            gain[position[z]] = self.trees[z].find(position, position[z]).best - without
        behind = np.cumsum(gain[::-1])[::-1]
        position[v] = _NEVER
        own = np.empty(len(self.order))
        cuts = sorted({low, *(position[c] + 1 for c in self.trees[v].candidates)})
        cuts = [p for p in cuts if low <= p <= high] + [high + 1]
        for start, end in itertools.pairwise(cuts):
            own[start:end] = self.trees[v].find(position, start).best
        score = (own + behind)[low : high + 1]
        best = score.min()
        tied = low + np.flatnonzero(score <= best + _TOLERANCE)
        place = int(tied[np.abs(tied - home).argmax()])
        self.order = [*others[:place], v, *others[place:]]
        return float(best - score[home - low])

    def _range(self, v, others):
        """The first and the last place among ``others`` that v may take."""
        before = self.precedes[others, v].nonzero()[0]
        after = self.precedes[v, others].nonzero()[0]
        low = int(before[-1]) + 1 if len(before) else 0
        high = int(after[0]) if len(after) else len(others)
        return low, high

    def restart(self, restarts: int) -> tuple[list[frozenset], float]:
        """The best `families` and their score of a descent and so many more, each from the best
        order so far after some random moves.
        """
        best = math.inf
        best_order = self.order
        for attempt in range(restarts + 1):
            if attempt:
                self.order = best_order
                self.shake((1 + attempt % 3) * max(1, round(math.log(len(self.order)))))
            self.descend()
            families, score = self.families()
            if score <= best + _TOLERANCE:
                best = score
                best_order = self.order
                parents = families
        return parents, best

    def shake(self, moves: int) -> None:
        """Move so many random variables to random places that they may take."""
        for v in self.rng.choice(len(self.order), min(moves, len(self.order)), replace=False):
            others = [z for z in self.order if z != v]
            low, high = self._range(v, others)
            others.insert(int(self.rng.integers(low, high + 1)), int(v))
            self.order = others


def search_counts(
    table: Table,
    names,
    *,
    knowledge: Knowledge | None = None,
    seed: int = 0,
    restarts: int = 5,
    candidates: int = 30,
) -> CausalGraph:
    """The CPDAG of the best-scoring order found, with every orientation that ``knowledge`` implies.

    Assumes independent rows and no hidden common cause.

    Parameters
    ----------
    table : of the variables ``names``. A variable may have rare levels, and may be a function of
        others.
    knowledge : tiers limit the moves, forbidden edges are never added, and required edges are
        present from the start and never removed.
    seed : of the first order and of the restarts. Variables are sorted by name first, so the order
        of the columns has no influence.
    restarts : descents from the best order so far, with a few variables moved at random.
    candidates : of parents of a variable, those of the best scores as its only parent.

    Returns
    -------
    `CausalGraph` with ``info["score"]``: that of the graph less that without edges. Lower is
    better.

    Raises ValueError for knowledge about absent variables and contradictory knowledge.
    """
    at = sorted(range(len(names)), key=lambda i: names[i])
    ordered = [names[i] for i in at]
    table = table._replace(codes=table.codes[at], levels=table.levels[at])
    known = knowledge or Knowledge()
    required = known.required_matrix(ordered)
    search = OrderSearch(
        table,
        known.allowed(ordered),
        required,
        find_precedences(known, ordered),
        candidates,
        np.random.default_rng(seed),
    )
    parents, best = search.restart(restarts)
    adjacency = np.zeros((len(names), len(names)), dtype=bool)
    for z, family in enumerate(parents):
        adjacency[sorted(family), z] = True
    dag = CausalGraph.from_adjacency(adjacency, ordered).subgraph(names)
    return CausalGraph(dag.names, dag.cpdag(knowledge).marks, {"score": best - search.empty})
