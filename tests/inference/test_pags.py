"""Adjustment under PAGs against classes listed by brute force, and against effects in linear models
with hidden causes.
"""

import itertools
from functools import cache

import numpy as np
import pandas as pd
import pytest

from causal_lib.graph import ARROW, CIRCLE, NONE, TAIL, CausalGraph
from causal_lib.inference import NotIdentifiableError, effect, identify_class, is_adjustment_set
from causal_lib.inference.pags import (
    identify_by_adjustment,
    is_visible,
    mags,
    some_mag,
    why_no_common_adjustment_set,
)
from causal_lib.worlds.random_models import random_dag

ENDS = {"none": (NONE, NONE), "->": (ARROW, TAIL), "<-": (TAIL, ARROW), "<->": (ARROW, ARROW)}


def subsets(names):
    return list(
        itertools.chain.from_iterable(
            itertools.combinations(names, k) for k in range(len(names) + 1)
        )
    )


def ancestors(parents):
    """For each node of a DAG, given by its list of parent lists, the set of it and its ancestors;
    None with a cycle.
    """
    above = [{k} for k in range(len(parents))]
    for _ in parents:
        above = [one.union(*(above[p] for p in parents[k])) for k, one in enumerate(above)]
    return None if any(k in above[p] for k in range(len(parents)) for p in parents[k]) else above


def independences(parents, d):
    """All (a, b, given) among the first d nodes that the DAG separates, by moral graphs of
    ancestors; and who is above whom.
    """
    above = ancestors(parents)
    found = set()
    for a, b in itertools.combinations(range(d), 2):
        for given in subsets([k for k in range(d) if k not in (a, b)]):
            within = above[a].union(above[b], *(above[k] for k in given))
            near = {k: set() for k in within}
            for k in within:
                family = [k, *parents[k]]
                for one in family:
                    near[one] |= set(family) - {one}
            reached = {a}
            stack = [a]
            while stack:
                new = near[stack.pop()] - reached - set(given)
                reached |= new
                stack += new
            if b not in reached:
                found.add((a, b, given))
    return frozenset(found)


def with_hidden(marks, confounded=()):
    """Parents in the DAG with a hidden cause for each ``<->``, and for the pairs ``confounded``."""
    d = len(marks)
    parents = [[k for k in range(d) if (marks[k, j], marks[j, k]) == ENDS["->"]] for j in range(d)]
    for a, b in [
        *((i, j) for i, j in np.argwhere(np.triu(marks == ARROW)) if marks[j, i] == ARROW),
        *confounded,
    ]:
        parents.append([])
        parents[a].append(len(parents) - 1)
        parents[b].append(len(parents) - 1)
    return parents


def mag_of(parents, d):
    """The MAG of a DAG's first d nodes by its definition: adjacent if no set separates, an
    arrowhead where no ancestor.
    """
    above = ancestors(parents)
    separated = {(a, b) for a, b, _ in independences(parents, d)}
    marks = np.zeros((d, d), dtype=np.int8)
    for a, b in itertools.permutations(range(d), 2):
        if (min(a, b), max(a, b)) not in separated:
            marks[a, b] = TAIL if b in above[a] else ARROW
    return marks


def is_mag(marks):
    """Whether the graph is the MAG of the DAG that has a hidden cause for each ``<->``."""
    parents = with_hidden(marks)
    return ancestors(parents) is not None and (mag_of(parents, len(marks)) == marks).all()


def every_marking(d, pairs, signs):
    for choice in itertools.product(signs, repeat=len(pairs)):
        marks = np.zeros((d, d), dtype=np.int8)
        for (i, j), sign in zip(pairs, choice, strict=True):
            marks[i, j], marks[j, i] = ENDS[sign]
        yield marks


def equivalent(marks):
    """All MAGs with the independences of one, by trying every marking of its edges."""
    d = len(marks)
    model = independences(with_hidden(marks), len(marks))
    pairs = [tuple(pair) for pair in np.argwhere(np.triu(marks))]
    found = []
    for other in every_marking(d, pairs, ["->", "<-", "<->"]):
        if is_mag(other) and independences(with_hidden(other), d) == model:
            found.append(other)
    return found


def common(members):
    """The PAG: marks that all members share, else circles."""
    first = members[0]
    return np.where(np.all([one == first for one in members], axis=0), first, CIRCLE)


@cache
def four_variables():
    """The Markov equivalence classes of MAGs of four variables, one for all ways to name them:
    lists of marks.
    """
    classes = {}
    pairs = list(itertools.combinations(range(4), 2))
    for marks in every_marking(4, pairs, list(ENDS)):
        if is_mag(marks):
            classes.setdefault(independences(with_hidden(marks), 4), []).append(marks)
    kept = {}
    for members in classes.values():
        pag = common(members)
        alike = min(
            pag[np.ix_(order, order)].tobytes() for order in itertools.permutations(range(4))
        )
        kept.setdefault(alike, members)
    return list(kept.values())


def unlike_pairs(pag):
    """Pairs of variables, one of those that another order of the variables turns into each other."""
    kept = {}
    for pair in itertools.permutations(range(len(pag)), 2):
        orders = itertools.permutations([k for k in range(len(pag)) if k not in pair])
        kept.setdefault(
            min(pag[np.ix_([*pair, *rest], [*pair, *rest])].tobytes() for rest in orders), pair
        )
    return list(kept.values())


def random_class(seed, observed, hidden):
    """A DAG's parents, its first ``observed`` nodes not hidden, and the class of its MAG."""
    rng = np.random.default_rng(seed)
    dag = random_dag(observed + hidden, degree=1.2 if observed + hidden > 5 else 1.0, seed=rng)
    order = rng.permutation(observed + hidden)
    adjacency = dag.adjacency[np.ix_(order, order)]
    parents = [[int(k) for k in adjacency[:, j].nonzero()[0]] for j in range(len(order))]
    return parents, equivalent(mag_of(parents, observed))


def linear(parents, d, rng):
    """Covariance and total effects among the first d nodes in a random linear model of a DAG."""
    weights = np.zeros((len(parents),) * 2)
    for k, above in enumerate(parents):
        weights[k, above] = rng.uniform(0.5, 1.5, len(above)) * rng.choice([-1, 1], len(above))
    total = np.linalg.inv(np.eye(len(parents)) - weights)
    return (total @ np.diag(rng.uniform(0.5, 2, len(parents))) @ total.T)[:d, :d], total[:d, :d]


def models(members, rng):
    """Linear models of DAGs that the MAGs stand for: with the hidden causes of ``<->``, and one
    more behind some arrow.
    """
    for marks in members:
        arrows = [(i, j) for i, j in np.argwhere(marks == ARROW) if marks[j, i] == TAIL]
        for confounded in [[], *([arrow] for arrow in arrows)]:
            parents = with_hidden(marks, confounded)
            if not confounded or (mag_of(parents, len(marks)) == marks).all():
                yield linear(parents, len(marks), rng)


def unbiased(model, x, y, given):
    """Whether regression on ``given`` finds the effect."""
    cov, total = model
    at = [x, *given]
    return abs(np.linalg.solve(cov[np.ix_(at, at)], cov[at, y])[0] - total[y, x]) < 1e-8


def variance(cov, x, y, given):
    """That of the regression's estimate, times the rows, as they grow."""

    def left(of, at):
        return (
            cov[of, of] - cov[of, at] @ np.linalg.solve(cov[np.ix_(at, at)], cov[at, of])
            if at
            else cov[of, of]
        )

    return left(y, [x, *given]) / left(x, list(given))


def check(members, rng, pairs):
    """Everything that is claimed of a class, against its members and models of them."""
    d = len(members[0])
    names = [f"v{k}" for k in range(d)]
    everything = list(models(members, rng))
    pag = CausalGraph(names, common(members))
    assert {one.marks.tobytes() for one in mags(pag)} == {one.tobytes() for one in members}
    alone = members[rng.integers(len(members))]
    verdicts = set()
    own = list(models([alone], rng))
    for x, y in pairs:
        rest = [k for k in range(d) if k not in (x, y)]
        good = [z for z in subsets(rest) if all(unbiased(model, x, y, z) for model in everything)]
        for z in subsets(rest):
            reason = why_no_common_adjustment_set(pag, names[x], names[y], [names[k] for k in z])
            assert (reason is None) == (z in good), (pag, x, y, z, reason)
        for z in subsets(rest):
            reason = why_no_common_adjustment_set(
                CausalGraph(names, alone), names[x], names[y], [names[k] for k in z]
            )
            assert (reason is None) == all(unbiased(model, x, y, z) for model in own), (
                alone,
                x,
                y,
                z,
                reason,
            )
        found = identify_class(pag.as_pag(), names[x], names[y])
        never = all(abs(model[1][y, x]) < 1e-12 for model in everything)
        assert (found.verdict == "identified") == (bool(good) or never), (pag, x, y, found)
        if found.verdict != "identified":
            singles = [CausalGraph(names, one) for one in members]
            refused = [
                identify_class(one.as_pag(), names[x], names[y]).verdict == "refused"
                for one in singles
            ]
            assert (found.verdict == "refused") == all(refused)
            assert sum(case.count for case in found.cases) == len(members)
            assert sum(case.count for case in found.cases if case.refusal) == sum(refused)
        elif found.estimand.strategy == "back-door":
            minimal = {z for z in good if not any(set(other) < set(z) for other in good)}
            assert {tuple(names.index(n) for n in z) for z in found.estimand.adjustments} == minimal
            best = tuple(sorted(names.index(n) for n in found.estimand.optimal))
            assert best in good
            for cov, _ in everything:
                least = variance(cov, x, y, best) / (1 + 1e-9)
                assert all(least <= variance(cov, x, y, z) for z in good), (pag, x, y, best, good)
        else:
            assert never
        verdicts.add(found.verdict)
    return verdicts


def test_all_classes_of_four_variables():
    rng = np.random.default_rng(0)
    classes = four_variables()
    verdicts = set()
    assert len(classes) == 25
    for members in classes:
        verdicts |= check(members, rng, unlike_pairs(common(members)))
    assert verdicts == {"identified", "depends"}


@pytest.mark.parametrize(
    ("seed", "observed", "hidden"), [(15, 5, 0), (4, 5, 1), (30, 5, 1), (42, 5, 2), (55, 5, 2)]
)
def test_classes_of_dags_with_hidden_variables(seed, observed, hidden):
    parents, members = random_class(seed, observed, hidden)
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(list(itertools.permutations(range(observed), 2)))[:8].tolist()
    check(members, rng, pairs)
    names = [f"v{k}" for k in range(len(parents))]
    truth = CausalGraph.from_edges(
        names, [(names[k], name) for above, name in zip(parents, names, strict=True) for k in above]
    )
    pag = CausalGraph(names[:observed], common(members))
    for x, y in itertools.permutations(pag.names, 2):
        try:
            found = identify_by_adjustment(pag, x, y)
        except NotIdentifiableError:
            continue
        assert found.strategy == "back-door" or y not in truth.descendants(x)
        assert all(is_adjustment_set(truth, x, y, z) for z in found.adjustments or ())


def test_what_may_be_below_the_treatment_only_may_be_adjusted_for():
    a, b, w, x, y = range(5)
    members = equivalent(mag_of([[], [], [a, b], [a, b, w], [x]], 5))
    check(members, np.random.default_rng(0), [(x, y)])
    pag = CausalGraph("abwxy", common(members))
    assert "w o-o x" in pag.edges
    assert why_no_common_adjustment_set(pag, "x", "y", ["w"]) is None


@pytest.mark.parametrize("seed", range(4))
def test_knowledge_leaves_what_is_found_right(seed):
    rng = np.random.default_rng(seed)
    names = list("abcd")
    kept = 0
    for members in four_variables():
        late = rng.permutation(4) < 2
        told = common(members)
        # what is late is no cause of what is early
        told[(told != NONE) & np.outer(~late, late)] = ARROW
        fits = [one for one in members if ((one == told) | (told == CIRCLE)).all()]
        if not fits or len(members) > 100:
            continue
        pag = CausalGraph(names, common(fits))
        everything = list(models(fits, rng))
        assert {one.marks.tobytes() for one in mags(pag)} == {one.tobytes() for one in fits}
        for x, y in itertools.permutations(range(4), 2):
            try:
                found = identify_by_adjustment(pag, names[x], names[y])
            except NotIdentifiableError:
                continue
            for z in found.adjustments or ():
                assert all(
                    unbiased(model, x, y, [names.index(name) for name in z]) for model in everything
                )
            if found.strategy == "no effect":
                assert all(abs(model[1][y, x]) < 1e-12 for model in everything)
            kept += 1
    assert kept > 50


SMOKING = CausalGraph.from_edges(
    ["income", "parents", "smoking", "lung", "genotype"],
    ["income o-> smoking", "parents o-> smoking", "smoking -> lung", "genotype o-> lung"],
)


def test_zhang_s_example_of_smoking():
    assert is_visible(SMOKING, "smoking", "lung")
    assert not is_visible(SMOKING, "lung", "smoking")
    found = identify_class(SMOKING, "smoking", "lung")
    assert found.estimand.adjustment == ()
    assert repr(found).startswith(
        "identified over all MAGs: effect of smoking on lung: identified by back-door"
    )
    assert identify_class(SMOKING, "lung", "smoking").estimand.strategy == "no effect"
    found = identify_class(SMOKING, "genotype", "lung")
    assert found.verdict == "depends"
    assert found.deciding == {"lung <-o genotype": 1.0}
    refused = next(case for case in found.cases if case.refusal)
    assert (
        "genotype -> lung may be causal, but its first edge is not visible: a hidden common cause"
    ) in refused.refusal


@pytest.mark.parametrize(
    ("edges", "good", "bad", "verdict"),
    [
        (["v1 o-o x", "x o-o v3", "x o-o y", "v3 o-o y"], [], [""], "depends"),
        (["x -> v1", "x -> v3", "x -> y", "v3 -> y"], [], [""], "refused"),
        (["v1 -> x", "x -> v3", "x -> y", "v3 -> y"], [""], ["v3"], "identified"),
        (
            [
                "v1 o-> x",
                "v2 o-> x",
                "v4 o-> x",
                "x -> y",
                "x -> v3",
                "v3 o-> y",
                "v4 -> y",
                "v4 -> v3",
            ],
            ["v4", "v1 v4", "v2 v4", "v1 v2 v4"],
            ["", "v1", "v3 v4"],
            "identified",
        ),
        (
            ["v1 o-> x", "v2 o-> x", "v4 <-> x", "x -> v3", "v3 -> y", "v4 -> y", "v4 <-> v3"],
            [],
            ["", "v4", "v3 v4", "v1 v2 v4"],
            "refused",
        ),
    ],
)
def test_the_criterion_s_published_examples(edges, good, bad, verdict):
    """Perković, Textor, Kalisch and Maathuis 2015, figures 3 and 4."""
    names = [
        name
        for name in ("v1", "v2", "x", "y", "v3", "v4")
        if any(name in edge.split() for edge in edges)
    ]
    graph = CausalGraph.from_edges(names, edges)
    assert all(why_no_common_adjustment_set(graph, "x", "y", z.split()) is None for z in good)
    assert all(why_no_common_adjustment_set(graph, "x", "y", z.split()) for z in bad)
    assert identify_class(graph.as_pag(), "x", "y").verdict == verdict


def test_refusals_say_why():
    graph = CausalGraph.from_edges("azxy", ["a o-> x", "z o-> x", "z -> y", "x -> y"])
    reason = "no set closes every path that is not causal: x <- z -> y is open"
    with pytest.raises(NotIdentifiableError, match=f"{reason} .in a member of the class."):
        identify_by_adjustment(graph, "x", "y", hidden=["z"])
    found = identify_class(graph, "x", "y", hidden=["z"])
    assert found.verdict == "refused"
    assert found.cases[0].refusal == reason
    with pytest.raises(NotIdentifiableError, match="identifiable by adjustment in no member"):
        _ = found.estimand
    chain = CausalGraph.from_edges("xmy", ["x o-> m", "m -> y"])
    with pytest.raises(
        NotIdentifiableError,
        match="x o-> m -> y may be causal or not: the mark of its first edge at x is",
    ):
        identify_by_adjustment(chain, "x", "y")
    below = CausalGraph.from_edges("axmyw", ["a o-> x", "x -> m", "m -> y", "m -> w"])
    reason = why_no_common_adjustment_set(below, "x", "y", ["w"])
    assert reason == "w may be an effect of x on its way to y, or an effect of one (x -> m -> w)"


def test_a_graph_of_fci_without_circles_may_hide_causes():
    arrow = CausalGraph.from_edges("xy", ["x -> y"])
    told = arrow.as_pag()
    assert identify_class(told, "x", "y").verdict == "refused"
    assert identify_class(arrow, "x", "y").verdict == "identified"


def test_fifty_variables():
    chain = ["x", *(f"m{k}" for k in range(32)), "y"]
    pairs = [f"p{k} o-o q{k}" for k in range(7)]
    edges = ["a o-> x", "z o-> x", "z o-> y", *map(" -> ".join, itertools.pairwise(chain)), *pairs]
    graph = CausalGraph.from_edges(
        [*chain, "a", "z", *(pair[:2] for pair in pairs), *(pair[-2:] for pair in pairs)], edges
    )
    assert len(graph.names) == 50
    assert identify_class(graph, "x", "y").estimand.adjustment == ("z",)
    with pytest.raises(
        ValueError,
        match=r"more than 2000 members; settle some of its 17 circles .*; no set serves all: z o-> y",
    ):
        identify_class(graph, "z", "y")


def test_an_effect_is_computed_under_a_pag():
    rng = np.random.default_rng(0)
    n = 4000
    a, z = rng.integers(0, 2, (2, n))
    x = (rng.random(n) < 0.2 + 0.3 * a + 0.3 * z).astype(int)
    y = x + 2 * z + rng.normal(size=n)
    frame = pd.DataFrame({"a": a, "z": z, "x": x, "y": y})
    graph = CausalGraph.from_edges("azxy", ["a o-> x", "z o-> x", "z -> y", "x -> y"])
    found = effect(frame, "x", "y", graph=graph, estimator="regression")
    assert found.adjustment == ("z",)
    assert found.covers(1, 0.999)
    with pytest.raises(
        ValueError,
        match="does not identify the effect under the graph: x <- z -> y is open in a member",
    ):
        effect(frame, "x", "y", graph=graph, adjustment=[])
    with pytest.raises(
        NotIdentifiableError, match="by adjustment in no member of the class: no set closes"
    ):
        effect(frame.drop(columns="z"), "x", "y", graph=graph)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (["a -- b", "b o-o c"], "edge 'a -- b' says selection on a common effect"),
        (
            ["a -> b", "b o-o c"],
            "not those of a PAG: settling its circles makes a new collider at b",
        ),
        (
            ["a o-o b", "b o-o c", "c o-o d", "d o-o a"],
            "not those of a PAG: its o-o edges have no directions",
        ),
        (
            ["a -> b", "b -> c", "c -> a", "c o-> d"],
            "not those of a PAG: settling its circles gives a cycle",
        ),
        (
            ["a -> b", "b -> c", "a <-> c", "c o-> d"],
            "not those of a PAG: a <-> c, but a is an ancestor of c",
        ),
        (
            ["a <-> b", "b <-> c", "c <-> d", "b -> d", "c -> a"],
            "not those of a PAG: no set separates a and d",
        ),
    ],
)
def test_graphs_that_are_no_pag(edges, message):
    with pytest.raises(ValueError, match=message):
        some_mag(CausalGraph.from_edges("abcd", edges))


@pytest.mark.parametrize(
    ("query", "how", "message"),
    [
        (("x", "q"), {}, "no variable 'q' in the graph"),
        (("x", "x"), {}, "treatment and outcome are both 'x'"),
        (("x", "y"), {"hidden": ["x"]}, "'x' is hidden"),
        (("x", "y"), {"instruments": True}, "a PAG shows none"),
    ],
)
def test_bad_queries(query, how, message):
    with pytest.raises(ValueError, match=message):
        identify_class(CausalGraph.from_edges("xy", ["x o-> y"]), *query, **how)


def _shown_by_a_path(marks, x, y):
    """Definition 8 of Zhang 2008 by its words: every path of distinct variables that ends with an
    arrow into x.
    """
    d = len(marks)
    for length in range(1, d - 1):
        for start, *inner in itertools.permutations(
            [k for k in range(d) if k not in (x, y)], length
        ):
            path = [start, *inner, x]
            if marks[start, y] != NONE or not all(
                marks[a, b] != NONE for a, b in itertools.pairwise(path)
            ):
                continue
            colliders = all(
                marks[path[k - 1], path[k]] == ARROW == marks[path[k + 1], path[k]]
                for k in range(1, length)
            )
            parents = all((marks[k, y], marks[y, k]) == (ARROW, TAIL) for k in inner)
            if marks[path[-2], x] == ARROW and colliders and parents:
                return True
    return False


def test_an_edge_is_visible_by_the_words_of_the_definition():
    rng = np.random.default_rng(0)
    signs = [*ENDS.values(), (ARROW, CIRCLE), (CIRCLE, ARROW)]
    seen = {}
    of_outcome = [0.3, 0.05, 0.55, 0.05, 0.02, 0.03]
    of_others = [0.15, 0.2, 0.05, 0.5, 0.05, 0.05]
    for _ in range(600):
        marks = np.zeros((5, 5), dtype=np.int8)
        for i, j in itertools.combinations(range(5), 2):
            marks[i, j], marks[j, i] = signs[rng.choice(6, p=of_outcome if i == 1 else of_others)]
        marks[0, 1], marks[1, 0] = ENDS["->"]
        graph = CausalGraph("xyabc", marks)
        expected = _shown_by_a_path(marks, 0, 1)
        assert is_visible(graph, "x", "y") == expected, graph
        direct = any(marks[k, 0] == ARROW and marks[k, 1] == NONE for k in (2, 3, 4))
        seen[expected, direct] = seen.get((expected, direct), 0) + 1
    assert seen[True, False] > 30  # shown by a path of colliders only
    assert seen[False, False] > 30


def test_a_refusal_names_the_path_that_all_ancestors_leave_open():
    """b is an ancestor of x alone and c of y alone; adjusting for both leaves the longest path,
    through what is hidden.
    """
    edges = [
        "a -> x",
        "u -> x",
        "u -> c",
        "c -> y",
        "b -> x",
        "v -> b",
        "v -> y",
        "x -> y",
        "l -> m",
        "m -> n",
        "n -> y",
    ]
    graph = CausalGraph.from_edges("xyabcuvlmn", [*edges, "l -> x"])
    with pytest.raises(
        NotIdentifiableError,
        match=r"closes every path that is not causal: x <- l -> m -> n -> y is open$",
    ):
        identify_by_adjustment(graph, "x", "y", hidden=list("uvlmn"))


def test_knowledge_may_leave_a_single_member_and_a_limit_counts_the_class():
    pag = CausalGraph.from_edges("ab", ["a o-o b"])
    assert len(list(mags(pag, 3))) == 3
    with pytest.raises(ValueError, match="more than 2 members; settle some of its 2 circles"):
        list(mags(pag, 2))
    told = CausalGraph.from_edges("ab", ["a o-> b"])
    assert [one.edges for one in mags(told)] == [["a -> b"], ["a <-> b"]]
    whole = CausalGraph.from_edges("ab", ["a <-> b"])
    assert [one.edges for one in mags(whole)] == [["a <-> b"]]
    assert pag.kind == "PAG"
