"""The search against brute force over all orders, exactness of knowledge, invariances; the kernel against plain algebra."""

import itertools

import numpy as np
import pandas as pd
import pytest
from flopsearch import flop
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_lib.discovery.engines import order_state as kernel
from causal_lib.discovery.engines.order_search import _before, order_search
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
    """The least score over all DAGs that ``knowledge`` allows, by all orders and all sets of predecessors."""
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
    # a variable in no tier may stand between two tiers, so the oracle may come lower only by a path late -> free -> early
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
    # Neither x nor y correlates with z, together they explain it; the tiers leave the search no other order for z.
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


def problem_of(stats, max_rows=20):
    d, D = len(stats.names), len(stats.columns)
    first = np.concatenate([[0], np.cumsum(stats.widths)])
    packed = np.concatenate([[0], np.cumsum(stats.widths * (stats.widths + 1) // 2)])
    may = np.zeros((3, d, d), dtype=bool)
    may[kernel.ALLOWED] = ~np.eye(d, dtype=bool)
    widest, price = int(stats.widths.max()), 2 * np.log(stats.count)
    keep = np.exp(-price / stats.count * np.arange(widest**2 + 1))
    start_V = widest * D
    start_G = int(start_V + packed[-1])
    start_R = start_G + max_rows * D
    return kernel.Problem(
        stats.correlation, first, packed, may, float(stats.count), float(price), keep, 1e-6, max_rows,
        start_V, start_G, start_R, start_R + max_rows**2,
    )  # fmt: skip


@pytest.mark.parametrize("kinds", [None, "mixed"])
@settings(max_examples=25)
@given(seed=st.integers(0, 50), moves=st.lists(st.integers(1, 6), min_size=1, max_size=25))
def test_coming_and_going_parents_leave_what_algebra_says(kinds, seed, moves):
    stats = Statistics.from_frame(data_of(7, seed, kinds=kinds, degree=3.0).frame)
    p = problem_of(stats)
    s = kernel.new_state(p)
    kernel.clear(p, s, 0)
    chosen = []
    for r in moves:
        (kernel._remove if r in chosen else kernel.add)(p, s, 0, r)
        chosen = [v for v in chosen if v != r] if r in chosen else [*chosen, r]
    blocks = [np.arange(a, b) for a, b in itertools.pairwise(p.first)]
    P = np.concatenate([blocks[v] for v in chosen]) if chosen else np.zeros(0, dtype=int)
    S, D, t = p.S, len(p.S), s.v[kernel.SLOT, 0]
    left = S - S[:, P] @ np.linalg.solve(S[np.ix_(P, P)], S[P, :]) if chosen else S
    f, k = s.f[t], s.w[t, kernel.ROWS]
    assert k == len(P)
    assert s.w[t, 2 : 2 + len(chosen)].tolist() == chosen
    own = f[: len(blocks[0]) * D].reshape(-1, D)
    np.testing.assert_allclose(own, left[blocks[0]], atol=1e-9)
    packed = np.concatenate([left[np.ix_(b, b)][np.tril_indices(len(b))] for b in blocks])
    np.testing.assert_allclose(f[p.start_V : p.start_G], packed, atol=1e-9)
    G = f[p.start_G : p.start_G + k * D].reshape(k, D)
    np.testing.assert_allclose(G.T @ G, S - left, atol=1e-9)
    R = np.triu(f[p.start_R : p.score].reshape(20, 20)[:k, :k])
    np.testing.assert_allclose(R @ R.T, np.linalg.inv(S[np.ix_(P, P)]) if chosen else R, atol=1e-8)
    # what another parent would change, and what each of them would cost to lose
    det = np.linalg.det(left[np.ix_(blocks[0], blocks[0])])
    for r in set(range(1, 7)) - set(chosen):
        more = np.concatenate([P, blocks[r]])
        after = S - S[:, more] @ np.linalg.solve(S[np.ix_(more, more)], S[more, :])
        ratio = np.linalg.det(after[np.ix_(blocks[0], blocks[0])]) / det
        assert kernel._ratio_added(p, s, 0, r) == pytest.approx(ratio, rel=1e-6)
    for i, r in enumerate(chosen):
        first = sum(len(blocks[v]) for v in chosen[:i])
        less = np.array([c for c in P if c not in blocks[r]], dtype=int)
        before = (
            S - S[:, less] @ np.linalg.solve(S[np.ix_(less, less)], S[less, :]) if len(less) else S
        )
        ratio = np.linalg.det(before[np.ix_(blocks[0], blocks[0])]) / det
        assert kernel._ratio_removed(p, s, 0, first, len(blocks[r])) == pytest.approx(
            ratio, rel=1e-6
        )


def test_what_must_precede_what_by_hand():
    """a before c by tiers, b before a by an edge, so b before c; d, in no tier, only by its edges; e is free."""
    knowledge = Knowledge(tiers=[["a"], ["c"]], required=[("b", "a"), ("c", "d")])
    before = _before(knowledge, list("abcde"))
    pairs = {("abcde"[i], "abcde"[j]) for i, j in np.argwhere(before)}
    assert pairs == {("a", "c"), ("b", "a"), ("b", "c"), ("c", "d"), ("a", "d"), ("b", "d")}


@pytest.mark.parametrize("penalty", [0.5, 1.0, 4.0])
def test_no_graph_scores_better_at_other_prices(penalty):
    for seed in range(3):
        stats = Statistics.from_frame(data_of(4, seed, n=80).frame)
        found = order_search(stats, penalty=penalty, restarts=3)
        assert found.info["score"] == pytest.approx(best_by_brute_force(stats, penalty), abs=1e-6)
