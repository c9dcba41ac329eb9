"""The search against brute force over all orders, exactness of knowledge, invariances; the kernel
against plain algebra.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from flopsearch import flop
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.discovery.engines import order_state as kernel
from causal_lib.discovery.engines.order_search import make_problem, order_search
from causal_lib.discovery.score import bic
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_models import random_dag, simulate

SEEDS = st.integers(0, 10_000)


def data_of(d, seed, n=300, kinds=None, degree=1.5):
    graph = random_dag(d, degree=min(degree, (d - 1) / 2), seed=seed)
    return simulate(graph, n, kinds=kinds, seed=seed)


def best_by_brute_force(stats, penalty=2.0, knowledge=None):
    """The least score over all DAGs that ``knowledge`` allows, by all orders and all sets of
    predecessors.
    """
    names = list(stats.names)
    allowed = knowledge.allowed(names) if knowledge else ~np.eye(len(names), dtype=bool)
    required = knowledge.required if knowledge else ()
    blocks = np.split(np.arange(len(stats.columns)), np.cumsum(stats.widths)[:-1])

    def log_det(variables):
        columns = (
            np.concatenate([blocks[v] for v in variables]) if variables else np.zeros(0, dtype=int)
        )
        return np.linalg.slogdet(stats.correlation[np.ix_(columns, columns)])[1]

    local = {}
    for z, name in enumerate(names):
        must = {names.index(cause) for cause, effect in required if effect == name}
        for size in range(len(names)):
            for chosen in itertools.combinations(
                [v for v in range(len(names)) if allowed[v, z]], size
            ):
                if must <= set(chosen):
                    fit = log_det([z, *chosen]) - log_det(list(chosen)) - log_det([z])
                    price = (
                        penalty
                        * np.log(stats.count)
                        * stats.widths[z]
                        * sum(stats.widths[v] for v in chosen)
                    )
                    local[z, frozenset(chosen)] = stats.count * fit + price
    best = np.inf
    for order in itertools.permutations(range(len(names))):
        total = 0.0
        for i, z in enumerate(order):
            total += min(
                (s for (v, p), s in local.items() if v == z and p <= set(order[:i])), default=np.inf
            )
        best = min(best, total)
    return best


@pytest.mark.parametrize("kinds", [None, "mixed"])
@settings(max_examples=12)
@given(seed=SEEDS)
def test_no_graph_scores_better(kinds, seed):
    stats = Statistics.from_frame(data_of(5, seed, kinds=kinds).frame)
    found = order_search(stats, seed=seed)
    assert found.info["score"] == pytest.approx(best_by_brute_force(stats), abs=1e-6)
    assert bic(stats, found) == pytest.approx(found.info["score"], abs=1e-6)


@st.composite
def knowledge_of_five(draw):
    names = ["x0", "x1", "x2", "x3", "x4"]
    order = draw(st.permutations(names))
    cut = draw(st.integers(1, 4))
    free = draw(st.sampled_from([None, *names]))
    tiers = [[n for n in part if n != free] for part in (order[:cut], order[cut:])]
    pairs = [(a, b) for a, b in itertools.combinations(order, 2)]
    required = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True))
    against = [(b, a) for a, b in pairs]
    forbidden = draw(
        st.lists(st.sampled_from([p for p in pairs + against if p not in required]), max_size=4)
    )
    return Knowledge(tiers, forbidden, required, within_tiers=draw(st.booleans()) or bool(required))


@settings(max_examples=40)
@given(seed=SEEDS, knowledge=knowledge_of_five())
def test_knowledge_is_exact_and_the_best_of_what_it_allows(seed, knowledge):
    stats = Statistics.from_frame(data_of(5, seed).frame)
    found = order_search(stats, knowledge=knowledge, seed=seed)
    dag = found.extension()
    assert knowledge.violations(dag) == []
    assert dag.cpdag(knowledge) == found
    # a variable in no tier may stand between two tiers, so the oracle may come lower only by a path
    # late -> free -> early
    oracle = best_by_brute_force(stats, knowledge=knowledge)
    if all(name in {n for tier in knowledge.tiers for n in tier} for name in stats.names):
        assert found.info["score"] == pytest.approx(oracle, abs=1e-6)
    else:
        assert found.info["score"] >= oracle - 1e-6


@pytest.mark.parametrize("kinds", [None, "mixed"])
@settings(max_examples=10)
@given(seed=SEEDS, data=st.data())
def test_the_columns_order_plays_no_part(kinds, seed, data):
    frame = data_of(8, seed, kinds=kinds).frame
    found = order_search(Statistics.from_frame(frame), seed=seed)
    shuffled = frame[data.draw(st.permutations(list(frame.columns)))]
    assert order_search(Statistics.from_frame(shuffled), seed=seed) == found


@pytest.mark.parametrize("kinds", [None, "mixed"])
@settings(max_examples=8)
@given(seed=SEEDS)
def test_rows_doubled_at_half_weight_change_nothing(kinds, seed):
    frame = data_of(8, seed, kinds=kinds).frame
    doubled = Statistics.from_frame(pd.concat([frame, frame]), weights=np.full(2 * len(frame), 0.5))
    once = order_search(Statistics.from_frame(frame), seed=seed)
    twice = order_search(doubled, seed=seed)
    assert twice == once
    assert twice.info["score"] == pytest.approx(once.info["score"], abs=1e-6)


def test_scales_and_reference_levels_play_no_part():
    frame = data_of(9, 3, n=500, kinds="mixed").frame
    other = frame.copy()
    for name in frame.select_dtypes("number"):
        other[name] = -7 + 1000 * frame[name]
    for name in frame.select_dtypes("category"):
        levels = list(frame[name].cat.categories)
        other[name] = frame[name].cat.rename_categories(
            dict(zip(levels, levels[::-1], strict=True))
        )
    assert order_search(Statistics.from_frame(other)) == order_search(Statistics.from_frame(frame))


@pytest.mark.parametrize(("d", "degree"), [(20, 2.0), (20, 4.0), (40, 2.0)])
def test_the_score_is_not_worse_than_flops(d, degree):
    differences = []
    for seed in range(100, 106):
        frame = data_of(d, seed, n=500, degree=degree).frame
        frame = (frame - frame.mean()) / frame.std(ddof=0)
        stats = Statistics.from_frame(frame)
        theirs = np.asarray(flop(frame.to_numpy(), 2.0, restarts=20))
        marks = np.select([theirs == 1, theirs.T == 1, theirs == 2], [2, 1, 1], 0)
        differences.append(
            order_search(stats, seed=seed, restarts=20).info["score"]
            - bic(stats, CausalGraph(tuple(frame.columns), marks))
        )
    assert np.mean(differences) <= 0.5


def test_cancelling_parents_are_found():
    # Neither x nor y correlates with z, together they explain it; the tiers leave the search no
    # other order for z.
    rng = np.random.default_rng(5)
    x = rng.normal(size=2000)
    y = x + rng.normal(size=2000)
    frame = pd.DataFrame(
        {"x": x, "y": y, "w": rng.normal(size=2000), "z": 2 * x - y + rng.normal(size=2000)}
    )
    frame["z"] += frame["x"] * (
        np.cov(frame["x"], frame["z"])[0, 1] / -frame["x"].var()
    )  # corr(x, z) = 0 exactly
    found = order_search(
        Statistics.from_frame(frame), knowledge=Knowledge(tiers=[["x"], ["y"], ["w"], ["z"]])
    )
    assert found.edges == ["x -> y", "x -> z", "y -> z"]


def test_tiers_leave_only_their_orders():
    simulation = data_of(12, 8, n=1000, degree=2.0)
    knowledge = simulation.knowledge_of_tiers(
        12
    )  # a full order: nothing but the parents is left to find
    found = order_search(Statistics.from_frame(simulation.frame), knowledge=knowledge)
    assert found.kind == "DAG"
    assert knowledge.violations(found) == []


def test_the_same_seed_gives_the_same_graph():
    stats = Statistics.from_frame(data_of(25, 1, degree=3.0).frame)
    first, second = (order_search(stats, seed=7, restarts=3) for _ in range(2))
    assert first == second
    assert first.info == second.info


BASE = data_of(4, 0).frame


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        (BASE.assign(x1=1.0), {}, "'x1'.*constant|constant.*'x1'"),
        (BASE.assign(copy=BASE["x2"]), {}, "copy.*x2|x2.*copy"),
        (BASE.assign(total=BASE["x0"] + BASE["x3"]), {}, "total"),
        (BASE.head(5), {}, "5 rows"),
        (BASE, {"penalty": 0}, "penalty=0"),
        (BASE, {"restarts": -1}, "restarts=-1"),
        (BASE, {"knowledge": Knowledge(tiers=[["x0"], ["age"]])}, "age"),
    ],
    ids=["constant", "duplicate", "collinear", "few rows", "penalty", "restarts", "absent"],
)
def test_bad_input(frame, settings, message):
    with pytest.raises(ValueError, match=message):
        order_search(Statistics.from_frame(frame), **settings)


def test_contradictory_knowledge_is_named():
    # allowed pair by pair, but x0 -> x1 -> x2 runs against x2 before x0
    knowledge = Knowledge(tiers=[["x2"], ["x0"]], required=[("x0", "x1"), ("x1", "x2")])
    with pytest.raises(ValueError, match="contradict each other around"):
        order_search(Statistics.from_frame(BASE), knowledge=knowledge)


# ---- the kernel ----------------------------------------------------------------------------------


def state_of(stats, max_columns=20):
    """The problem of ``stats`` and a state in which no variable has parents."""
    problem = make_problem(stats, None, 2.0)._replace(max_columns=max_columns)
    state = kernel.allocate_state(problem)
    for z in range(len(stats.names)):
        kernel.remove_all_parents(problem, kernel.get_family(state, z), z)
    return problem, state


@pytest.mark.parametrize("kinds", [None, "mixed"])
@settings(max_examples=25)
@given(seed=st.integers(0, 50), moves=st.lists(st.integers(1, 6), min_size=1, max_size=25))
def test_coming_and_going_parents_leave_what_algebra_says(kinds, seed, moves):
    stats = Statistics.from_frame(data_of(7, seed, kinds=kinds, degree=3.0).frame)
    problem, state = state_of(stats)
    family = kernel.get_family(state, 0)
    S = problem.S
    first = problem.first
    chosen = []
    for r in moves:
        if r in chosen:
            kernel.remove_parent(first, family, 0, r)
            chosen.remove(r)
        else:
            kernel.add_parent(S, first, family, 0, r)
            chosen.append(r)
    blocks = [np.arange(a, b) for a, b in itertools.pairwise(first)]
    own = blocks[0]
    P = np.concatenate([blocks[v] for v in chosen]) if chosen else np.zeros(0, dtype=int)
    K = len(P)

    def given(columns):
        """S without what ``columns`` explain."""
        if not len(columns):
            return S
        return S - S[:, columns] @ np.linalg.solve(S[np.ix_(columns, columns)], S[columns, :])

    left = given(P)
    assert family.count.tolist() == [len(chosen), K]
    assert family.parents[: len(chosen)].tolist() == chosen
    np.testing.assert_allclose(family.C[: len(own)], left[own], atol=1e-9)
    packed = np.concatenate([left[np.ix_(b, b)][np.tril_indices(len(b))] for b in blocks])
    np.testing.assert_allclose(family.V, packed, atol=1e-9)
    G = family.G[:K]
    np.testing.assert_allclose(G.T @ G, S - left, atol=1e-9)
    R = np.triu(family.R[:K, :K])
    np.testing.assert_allclose(R @ R.T, np.linalg.inv(S[np.ix_(P, P)]) if chosen else R, atol=1e-8)
    det = np.linalg.det(left[np.ix_(own, own)])
    score = stats.count * np.log(det) + problem.price * len(own) * K
    assert kernel.compute_score(problem, family, 0) == pytest.approx(score, abs=1e-6)
    # what another parent would change, and what each of them would cost to lose
    for r in set(range(1, 7)) - set(chosen):
        after = given(np.concatenate([P, blocks[r]]))
        ratio = np.linalg.det(after[np.ix_(own, own)]) / det
        found = kernel.ratio_with_parent(first, problem.packed, family.C, family.V, 0, r)
        assert found == pytest.approx(ratio, rel=1e-6)
        share = problem.keep[len(own) * len(blocks[r])]
        if abs(ratio / share - 1) > 1e-6:
            improves = kernel.improves_as_parent(
                first, problem.packed, problem.keep, state.C, state.V, 0, 0, r
            )
            assert improves == (ratio < share)
    for i, r in enumerate(chosen):
        row = sum(len(blocks[v]) for v in chosen[:i])
        before = given(np.array([c for c in P if c not in blocks[r]], dtype=int))
        ratio = np.linalg.det(before[np.ix_(own, own)]) / det
        found = kernel.ratio_without_parent(
            first, family.C, family.G, family.R, K, 0, row, len(blocks[r])
        )
        assert found == pytest.approx(ratio, rel=1e-6)


def test_a_change_leaves_the_old_slot_and_the_best_one_as_they_were():
    problem, state = state_of(Statistics.from_frame(data_of(7, 3, kinds="mixed").frame))
    kernel.add_parent(problem.S, problem.first, kernel.get_family(state, 2), 2, 5)
    state.score[state.slot[2]] = 1.5
    before = [array.copy() for array in kernel.get_family(state, 2)]
    family = kernel.prepare_change(problem.first, state, 2)
    K = family.count[kernel.COLUMNS]
    assert (state.past_slot[2], state.slot[2], state.best_slot[2]) == (6, 7, 6)
    assert state.score[7] == 1.5
    assert state.changed.tolist() == [False, False, True, False, False, False, False]
    assert family.parents[0] == 5
    q = problem.first[3] - problem.first[2]
    np.testing.assert_array_equal(family.C[:q], before[3][:q])
    np.testing.assert_array_equal(family.G[:K], before[5][:K])
    kernel.remove_parent(problem.first, family, 2, 5)
    again = kernel.prepare_change(problem.first, state, 2)  # within the same walk nothing is copied
    assert state.slot[2] == 7
    assert again.count.tolist() == [0, 0]
    state.slot[2] = state.past_slot[2]
    for array, old in zip(kernel.get_family(state, 2), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_the_rules_of_knowledge_for_each_pair():
    stats = Statistics.from_frame(BASE)
    knowledge = Knowledge([["x0"], ["x1", "x2"]], [("x1", "x3")], [("x0", "x1"), ("x2", "x3")])
    problem = make_problem(stats, knowledge, 2.0)
    # row: the child; column: the parent; 0 forbidden, 1 optional, 2 required
    assert problem.edges.tolist() == [[0, 0, 0, 1], [2, 0, 1, 1], [1, 1, 0, 0], [1, 0, 2, 0]]
    assert np.argwhere(problem.precedes).tolist() == [[0, 1], [0, 2], [0, 3], [2, 3]]
    free = make_problem(stats, None, 2.0)
    assert (free.edges == 1 - np.eye(4)).all()
    assert not free.precedes.any()
