"""Search over counts: scores by the definition, the best graph by enumeration, knowledge, rare
levels, functions.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from causal_lib.discovery.engines.count_score import (
    SCORES,
    log_binomial,
    make_table,
    regret,
    score_parents,
)
from causal_lib.discovery.engines.count_search import search_counts
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge


def by_definition(codes, z, parents, score):
    """The score of z with ``parents`` (one weight each), from a dict of counts."""
    n = len(codes)
    levels = codes.max(axis=0) + 1
    r = levels[z]
    q = math.prod(levels[p] for p in parents)
    cells = {}
    for row in codes:
        cells.setdefault(tuple(row[list(parents)]), np.zeros(r))[row[z]] += 1
    if score == "bdeu":
        a = 1 / q
        return -2 * sum(
            gammaln(a) - gammaln(a + c.sum()) + sum(gammaln(a / r + c) - gammaln(a / r))
            for c in cells.values()
        )
    fit = -2 * sum((c[c > 0] * np.log(c[c > 0] / c.sum())).sum() for c in cells.values())
    if score == "bic":
        return fit + math.log(n) * q * (r - 1)
    occurring = sum(int((c > 0).sum()) for c in cells.values())
    code = exact_regret(n, occurring) + math.log(math.comb(q * r, occurring))
    return fit + 2 * (code - exact_regret(n, len(cells)) - math.log(math.comb(q, len(cells))))


def exact_regret(n, cells):
    """By the recurrence of Kontkanen and Myllymaki (2007)."""
    sums = [
        1.0,
        math.fsum(math.comb(n, h) * (h / n) ** h * (1 - h / n) ** (n - h) for h in range(n + 1)),
    ]
    while len(sums) < cells:
        sums.append(sums[-1] + n / (len(sums) - 1) * sums[-2])
    return math.log(sums[cells - 1])


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(3)
    a = rng.integers(3, size=200)
    b = np.where(rng.random(200) < 0.8, a, rng.integers(3, size=200))
    c = (a + b + (rng.random(200) < 0.1)) % 4
    d = rng.integers(2, size=200)
    return np.column_stack([a, b, c, d])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("parents", [(), (1,), (0, 1), (0, 1, 3)])
def test_a_score_is_that_of_the_definition(codes, score, parents):
    table = make_table(codes, score)
    more = [c for c in (-1, 0, 1, 3) if c not in parents]
    found = score_parents(table, 2, np.array(parents, dtype=np.int64), np.array(more))
    true = [by_definition(codes, 2, parents + (c,) * (c >= 0), score) for c in more]
    # two regrets, each right to 0.1
    assert found == pytest.approx(true, abs=0.4 if score == "nml" else 1e-8)


@pytest.mark.parametrize("cells", [1, 2, 3, 10, 100, 1000, 10_000])
def test_the_regret_is_right_for_few_and_for_many_cells(cells):
    assert regret(100, float(cells)) == pytest.approx(exact_regret(100, cells), abs=0.1)


@pytest.mark.parametrize(("cells", "chosen"), [(5, 2), (5, 5), (2 * 10**6, 3), (10**9, 40)])
def test_the_number_of_choices_is_that_of_integers(cells, chosen):
    exact = math.log(math.comb(cells, chosen))
    assert log_binomial(float(cells), chosen) == pytest.approx(exact, abs=1e-6)


def test_the_regret_of_more_cells_than_any_table_has_keeps_its_digits():
    # of K cells far above the rows, nearly all ways to fill them: ln C -> n ln K - n ln n + n
    # - 0.5 ln(2 pi n) + ln(sqrt(2 pi n)) in the limit, so that doubling K adds n ln 2
    assert regret(1000, 2e12) - regret(1000, 1e12) == pytest.approx(1000 * math.log(2), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SCORES))
def test_equivalent_graphs_score_alike(seed, score):
    """a -> b and b -> a; a chain and a fork."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(rng.integers(2, 5, size=3), size=(50, 3))
    codes = np.column_stack([np.unique(c, return_inverse=True)[1] for c in codes.T])
    table = make_table(codes, score)

    def total(*parents):
        return sum(
            score_parents(table, z, np.array(own, dtype=np.int64), np.array([-1]))[0]
            for z, own in enumerate(parents)
        )

    chain = total((), (0,), (1,))
    assert chain == pytest.approx(total((1,), (), (1,)), abs=1e-7)
    assert chain == pytest.approx(total((1,), (2,), ()), abs=1e-7)


def all_dags(d):
    pairs = list(itertools.permutations(range(d), 2))
    for edges in itertools.product((0, 1, 2), repeat=d * (d - 1) // 2):
        matrix = np.zeros((d, d), dtype=bool)
        for (i, j), kind in zip([p for p in pairs if p[0] < p[1]], edges, strict=True):
            matrix[i, j] = kind == 1
            matrix[j, i] = kind == 2
        if not np.trace(np.linalg.matrix_power(np.eye(d) + matrix, d)) > d:
            yield matrix


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_graphs_of_four_variables_is_found(score, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(3, size=400)
    b = np.where(rng.random(400) < 0.5, a, rng.integers(3, size=400))
    c = rng.integers(2, size=400)
    d = np.where(rng.random(400) < 0.7, (b + c) % 3, rng.integers(3, size=400))
    codes = np.column_stack([a, b, c, d])
    table = make_table(codes, score)
    known = {}

    def local(z, parents):
        if (z, parents) not in known:
            known[z, parents] = score_parents(
                table, z, np.array(parents, dtype=np.int64), np.array([-1])
            )[0]
        return known[z, parents]

    def total(dag):
        return sum(local(z, tuple(np.flatnonzero(dag[:, z]))) for z in range(4))

    best = min(total(dag) for dag in all_dags(4))
    found = search_counts(table, "abcd", seed=seed)
    empty = total(np.zeros((4, 4), dtype=bool))
    assert found.info["score"] == pytest.approx(best - empty, abs=1e-6)
    assert total(found.extension().adjacency) == pytest.approx(best, abs=1e-6)


def sampled(seed=0, n=3000):
    """Rows of the collider a -> c <- b, c -> d."""
    rng = np.random.default_rng(seed)
    a = rng.integers(3, size=n)
    b = rng.integers(2, size=n)
    c = np.where(rng.random(n) < 0.85, (a + 2 * b) % 4, rng.integers(4, size=n))
    d = np.where(rng.random(n) < 0.7, c // 2, rng.integers(2, size=n))
    return np.column_stack([a, b, c, d])


@pytest.mark.parametrize("score", SCORES)
def test_a_collider_and_its_effect_are_found(score):
    found = search_counts(make_table(sampled(), score), "abcd")
    assert found == CausalGraph.from_edges("abcd", ["a -> c", "b -> c", "c -> d"])


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3))
def test_neither_the_order_of_columns_nor_the_names_of_levels_matter(order, turn):
    codes = sampled()
    first = search_counts(make_table(codes), "abcd")
    turned = codes[:, order]
    turned[:, 0] = (turned[:, 0] + turn) % (turned[:, 0].max() + 1)
    second = search_counts(make_table(turned), ["abcd"[i] for i in order])
    assert first == second
    assert first.info["score"] == pytest.approx(second.info["score"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_knowledge_is_never_violated(seed):
    rng = np.random.default_rng(seed)
    names = list("abcdef")
    codes = rng.integers(3, size=(300, 6))
    for z in range(1, 6):
        copied = rng.random(300) < 0.6
        codes[copied, z] = codes[copied, rng.integers(z)]
    tiers = [[n for n in names if rng.random() < 0.3]]
    tiers.append([n for n in names if n not in tiers[0] and rng.random() < 0.5])
    within = bool(rng.random() < 0.7)
    free = Knowledge(tiers, [("a", "b"), ("b", "a"), ("c", "e")], within_tiers=within)
    allowed = free.allowed(names)
    i, j = rng.permutation(np.argwhere(allowed))[0]
    known = Knowledge(tiers, free.forbidden, [(names[i], names[j])], within)
    found = search_counts(make_table(codes), names, knowledge=known, restarts=1)
    assert known.violations(found) == []
    assert not found.skeleton[0, 1]


def test_functions_and_copies_and_states_seen_once_are_taken():
    codes = sampled()
    function = codes[:, 2] // 2
    once = np.zeros(len(codes), dtype=int)
    once[7] = 1
    table = make_table(np.column_stack([codes, function, codes[:, 0], once]))
    found = search_counts(table, [*"abcd", "function", "copy", "once"])
    assert {"function"} <= {
        n for n in found.names if found.skeleton[found.index("c"), found.index(n)]
    }
    assert found.skeleton[found.index("a"), found.index("copy")]
    assert not found.skeleton[found.index("once")].any()


def test_an_identifier_explains_nothing():
    codes = sampled(n=300)
    table = make_table(np.column_stack([codes[:, :2], np.arange(300)]))
    assert search_counts(table, "abi").edges == []
