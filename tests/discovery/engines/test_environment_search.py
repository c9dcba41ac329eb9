"""The search over environments finds the interventional class that brute force over all DAGs finds
for exact moments.
"""

import itertools
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from causal_lib.discovery.engines.environment_search import (
    find_changes,
    interventional_class,
    make_problem,
    score_parents,
    search_environments,
)
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge


def all_dags(d):
    """Every DAG over d variables as a (d, d) bool adjacency."""
    pairs = list(itertools.combinations(range(d), 2))
    found = []
    for choice in itertools.product((0, 1, 2), repeat=len(pairs)):
        adjacency = np.zeros((d, d), dtype=bool)
        for (i, j), kind in zip(pairs, choice, strict=True):
            adjacency[i, j] = kind == 1
            adjacency[j, i] = kind == 2
        power = np.eye(d, dtype=int)
        for _ in range(d):
            power = power @ adjacency
        if not power.any():
            found.append(adjacency)
    return found


def essence(adjacency, targets):
    """Edges and v-structures of a DAG with a node for each environment that points at its targets:
    what DAGs of one interventional class share (Yang and others 2018).
    """
    d = len(adjacency)
    parents = {j: set(np.flatnonzero(adjacency[:, j]).tolist()) for j in range(d)}
    for number, own in enumerate(targets):
        for z in own:
            parents[z].add(("environment", number))
    edges = {frozenset((a, b)) for b in parents for a in parents[b]}
    colliders = set()
    for b in parents:
        for a, c in itertools.combinations(sorted(parents[b], key=str), 2):
            contexts = isinstance(a, tuple) and isinstance(c, tuple)
            if not contexts and frozenset((a, c)) not in edges:
                colliders.add((frozenset((a, c)), b))
    return frozenset(edges), frozenset(colliders)


def union_of(members, names):
    """The graph with a direction where all members agree."""
    together = np.any(members, axis=0)
    return CausalGraph.from_adjacency(together, names)


def exact(adjacency, targets, rng, hard, count=1e6):
    """Exact statistics of a linear model in each environment."""
    d = len(adjacency)
    names = [f"x{i}" for i in range(d)]
    weights = np.where(adjacency, rng.uniform(0.5, 1.0, (d, d)) * rng.choice([-1, 1], (d, d)), 0.0)
    parts = []
    for own in targets:
        of = weights.copy()
        mean = np.zeros(d)
        noise = np.ones(d)
        for z in own:
            of[:, z] = 0.0 if hard else of[:, z] * rng.uniform(0.2, 0.6, d)
            mean[z] = rng.uniform(0.5, 1.0)
            noise[z] = rng.uniform(1.5, 2.0)
        total = np.linalg.inv(np.eye(d) - of).T  # of the noise on the variables
        cov = total * noise @ total.T
        parts.append(Statistics(names, [None] * d, count, total @ mean, cov))
    return parts


def free_of(d, targets):
    return np.array([[z in own for own in targets] for z in range(d)])


def classes(dags, targets):
    found = defaultdict(list)
    for adjacency in dags:
        found[essence(adjacency, targets)].append(adjacency)
    return found


THREE = all_dags(3)
FOUR = all_dags(4)


def test_there_are_as_many_dags_as_robinson_counted():
    assert (len(THREE), len(FOUR)) == (25, 543)


@pytest.mark.parametrize("number", range(1, 8))
def test_class_of_every_dag_of_three_variables(number):
    targets = [[], *([z] for z in range(3) if number >> z & 1)]
    members = classes(THREE, targets)
    for adjacency in THREE:
        dag = CausalGraph.from_adjacency(adjacency, ["x0", "x1", "x2"])
        wanted = union_of(members[essence(adjacency, targets)], dag.names)
        assert interventional_class(dag, free_of(3, targets)) == wanted


def test_class_of_every_dag_of_four_variables():
    rng = np.random.default_rng(0)
    groups = {}
    for number in range(1, 16):
        targets = [[], *([z] for z in range(4) if number >> z & 1)]
        groups[number] = targets, classes(FOUR, targets)
    for adjacency in FOUR:
        targets, members = groups[int(rng.integers(1, 16))]
        dag = CausalGraph.from_adjacency(adjacency)
        wanted = union_of(members[essence(adjacency, targets)], dag.names)
        assert interventional_class(dag, free_of(4, targets)) == wanted


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_search_finds_the_class_from_exact_moments(hard, known):
    rng = np.random.default_rng([hard, known])
    every = [*THREE, *FOUR[:: len(FOUR) // 30]]
    groups = {}
    for adjacency in every:
        d = len(adjacency)
        own = sorted(rng.choice(d, int(rng.integers(1, d)), replace=False).tolist())
        targets = [[], *([z] for z in own)]
        key = d, tuple(own)
        if key not in groups:
            groups[key] = classes(THREE if d == 3 else FOUR, targets)
        dag = CausalGraph.from_adjacency(adjacency)
        wanted = union_of(groups[key][essence(adjacency, targets)], dag.names)
        true = free_of(d, targets)
        free = true if known else np.ones_like(true) & [False, *[True] * len(own)]
        parts = exact(adjacency, targets, rng, hard)
        found = search_environments(parts, free, np.ones(d, dtype=bool), restarts=20)
        assert (found.info["changed"] == true).all()
        assert found.edges == wanted.edges


def test_without_an_observational_environment_what_both_ends_may_explain_stays_open():
    """Of x -> y with x a target of one environment and y of the other, each has a mechanism of its
    own in each: nothing is shared that could direct the edge.
    """
    dag = CausalGraph.from_edges("xy", ["x -> y"])
    assert interventional_class(dag, np.array([[1, 0], [0, 1]], dtype=bool)).edges == ["x -- y"]
    third = np.array([[1, 0, 0], [0, 1, 0]], dtype=bool)
    assert interventional_class(dag, third).edges == ["x -> y"]


def by_hand(frames, z, parents, price):
    """The score where the mechanism of z is shared by all of ``frames`` but the last, which has one
    of its own, with slopes or without.
    """

    def loss(rows, slopes):
        design = np.column_stack([np.ones(len(rows)), rows[:, parents if slopes else []]])
        residual = rows[:, z] - design @ np.linalg.lstsq(design, rows[:, z], rcond=None)[0]
        return len(rows) * np.log(residual @ residual / len(rows))

    shared = loss(np.vstack(frames[:-1]), True) + price * len(parents)
    own = min(loss(frames[-1], False), loss(frames[-1], True) + price * len(parents))
    together = loss(np.vstack(frames), True) + price * len(parents)
    return min(together, shared + own + 2 * price)


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize("slope", [0.8, 0.0])
def test_score_by_least_squares(shift, slope):
    rng = np.random.default_rng(0)
    frames = []
    for n, own in ((60, False), (50, False), (40, True)):
        x = rng.normal(size=(n, 3))
        x[:, 2] += x[:, 0] * (slope if own else 0.8) + shift * own
        frames.append(x)
    scale = np.vstack(frames).std(axis=0)
    names = ["a", "b", "c"]
    parts = [
        Statistics(names, [None] * 3, len(x), x.mean(axis=0), np.cov(x.T, bias=True))
        for x in frames
    ]
    free = np.zeros((3, 3), dtype=bool)
    free[2, 2] = True
    problem = make_problem(parts, free, np.ones(3, dtype=bool), 2.0)
    for parents in ([], [0], [0, 1]):
        wanted = by_hand([x / scale for x in frames], 2, parents, problem.price)
        [found] = score_parents(problem, 2, np.array(parents, dtype=np.int64), np.array([-1]))
        assert found == pytest.approx(wanted, abs=1e-6)
    changed = find_changes(problem, 2, np.array([0]))
    assert changed.tolist() == [False, False, shift > 0 or slope == 0]


def test_booleans_have_no_variance_of_their_own():
    """Of a rare event a small environment without it has no variance; that is no change."""
    rng = np.random.default_rng(1)
    rare = (rng.random((1000, 1)) < 0.01).astype(float)
    few = np.vstack([np.zeros((30, 1)), rare])
    parts = [
        Statistics(["a"], [None], len(x), x.mean(axis=0), np.atleast_2d(x.var()))
        for x in (few, np.zeros((30, 1)))
    ]
    free = np.array([[False, True]])
    none = np.zeros(0, dtype=np.int64)
    for scaled in (False, True):
        problem = make_problem(parts, free, np.array([scaled]), 2.0)
        assert find_changes(problem, 0, none).tolist() == [False, scaled]


def test_knowledge_is_obeyed_while_searching():
    rng = np.random.default_rng(5)
    adjacency = FOUR[300]
    targets = [[], [0], [1, 2]]
    parts = exact(adjacency, targets, rng, False, count=1000)
    for order in itertools.permutations(range(4)):
        names = [f"x{i}" for i in order]
        known = Knowledge(
            tiers=[names[:1], names[1:3]], forbidden=[(names[1], names[3])],
            required=[(names[0], names[2])],
        )  # fmt: skip
        found = search_environments(
            parts, free_of(4, targets), np.ones(4, dtype=bool), knowledge=known, restarts=0
        )
        assert known.violations(found) == []


@pytest.mark.parametrize("scaled", [False, True])
def test_score_of_a_category_by_least_squares(scaled):
    """Two indicators given a number; in the second environment the level c is twice as frequent."""
    rng = np.random.default_rng(3)
    parts = []
    frames = []
    for n, chances in ((300, [0.4, 0.4, 0.2]), (200, [0.3, 0.3, 0.4])):
        city = rng.choice(list("abc"), n, p=chances)
        frame = pd.DataFrame({"city": city, "x": rng.normal(size=n) + (city == "b")})
        parts.append(Statistics.from_frame(frame))
        frames.append(np.column_stack([city == "b", city == "c", frame["x"]]).astype(float))
    every = np.vstack(frames)
    mean = every.mean(axis=0)
    scale = every.std(axis=0)
    frames = [(one - mean) / scale for one in frames]

    def squares(rows, slopes):
        design = np.column_stack([np.ones(len(rows)), rows[:, [2] if slopes else []]])
        residual = rows[:, :2] - design @ np.linalg.lstsq(design, rows[:, :2], rcond=None)[0]
        return residual.T @ residual

    def loss(total, n):
        return n * np.linalg.slogdet(total / n)[1]

    problem = make_problem(parts, np.ones((2, 2), dtype=bool), np.array([scaled, True]), 2.0)
    together = loss(squares(np.vstack(frames), True), 500) + 2 * problem.price
    wanted = [together]
    for own, other in ((0, 1), (1, 0)):
        for slopes in (False, True):
            out = squares(frames[own], slopes)
            rest = squares(frames[other], True)
            n = len(frames[own])
            fit = loss(out, n) + loss(rest, 500 - n) if scaled else loss(out + rest, 500)
            wanted.append(fit + problem.price * (2 + 2 * slopes + 2 + 3 * scaled))
    [found] = score_parents(problem, 0, np.array([1]), np.array([-1]))
    assert found == pytest.approx(min(wanted), abs=1e-6)
    assert find_changes(problem, 0, np.array([1])).sum() == (min(wanted) < together)


def test_the_best_graph_by_enumeration_also_where_slopes_change_their_sign():
    """Where slopes cancel over all environments, candidates come from single ones."""
    names = list("abcd")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        weights = np.where(FOUR[rng.integers(543)], rng.normal(size=(4, 4)), 0)
        parts = []
        for environment in range(3):
            own = weights.copy()
            level = np.zeros(4)
            if environment:
                z = rng.integers(4)
                own[:, z] *= rng.uniform(-1, 1)
                level[z] = rng.normal()
            values = (rng.normal(size=(150, 4)) + level) @ np.linalg.inv(np.eye(4) - own)
            parts.append(Statistics.from_frame(pd.DataFrame(values, columns=names)))
        free = np.ones((4, 3), dtype=bool)
        scaled = np.ones(4, dtype=bool)
        problem = make_problem(parts, free, scaled, 2.0)

        def score(adjacency, problem=problem):
            total = 0.0
            for z in range(4):
                parents = np.flatnonzero(adjacency[:, z])
                total += score_parents(problem, z, parents, np.array([-1]))[0]
            return total

        best = min(score(adjacency) for adjacency in FOUR)
        found = search_environments(parts, free, scaled)
        assert found.info["score"] == pytest.approx(best - score(FOUR[0] & False), abs=1e-6)
