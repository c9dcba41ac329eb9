import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import log_loss

from causal_lib.discovery import compare_graphs, discover
from causal_lib.discovery.distances import precision_recall_f1
from causal_lib.discovery.engines import graph_network as network
from causal_lib.discovery.engines.dagma import keep_acyclic
from causal_lib.discovery.engines.graph_likelihood import Columns, Equations, Messages
from causal_lib.discovery.engines.graph_network import Families, fit
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_models import random_dag, simulate

TRUTH = CausalGraph.from_edges("edcba", ["a -> b", "b -> c", "a -> d", "c -> e", "d -> e"])
FAST = {"steps": 200}


def any_edge(d):
    return ~np.eye(d, dtype=bool)


def no_edge(d):
    return np.zeros((d, d), dtype=bool)


def bent(n, seed):
    """Draws of `TRUTH`, each effect a bend and the noise additive; columns standardised."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(5, n))
    a = noise[0]
    b = 1.5 * np.tanh(2 * a) + 0.5 * noise[1]
    c = 1.5 * np.cos(1.5 * b) + 0.5 * noise[2]
    d = 1.5 * np.abs(a) + 0.5 * noise[3]
    e = np.tanh(2 * c) + d + 0.5 * noise[4]
    data = pd.DataFrame({"e": e, "d": d, "c": c, "b": b, "a": a})
    return (data - data.mean()) / data.std()


def kinds(n, seed):
    """A number, two values and a category of three levels."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=n)
    level = np.array(list("pqr"))[rng.integers(3, size=n)]
    return pd.DataFrame({"number": number, "flag": rng.random(n) < 0.3, "level": level})


@pytest.fixture(scope="module")
def found():
    return discover(bent(800, 0), method="graph_network", **FAST)


# ---- the pieces against oracles ------------------------------------------------------------------


def test_messages_are_a_dense_sum_over_parents():
    rng = np.random.default_rng(0)
    adjacency = np.triu(rng.random((6, 6)) < 0.6, 1)
    x = rng.normal(size=(6, 7, 3))
    weight = rng.normal(size=(6, 6, 3, 4)) * adjacency[:, :, None, None]
    sources, targets = adjacency.nonzero()
    edge_index = torch.tensor(np.stack([sources, targets]))
    heard = Messages()(torch.tensor(x), edge_index, torch.tensor(weight[sources, targets]), 6)
    np.testing.assert_allclose(heard.numpy(), np.einsum("irk,ijkh->jrh", x, weight), atol=1e-12)


def test_an_equation_by_hand():
    columns = Columns(kinds(50, 0))
    model = Equations(columns, torch.tensor([0]), torch.tensor([[1, 2], [0, 0]]), hidden=3, seed=1)
    with torch.no_grad():
        model.weight.normal_(generator=torch.Generator().manual_seed(2))
        model.shift.fill_(0.5)
    x, (w1, w2), outer = (
        columns.x.numpy(),
        model.weight.detach().numpy(),
        model.outer.detach().numpy()[0],
    )
    heard = x[1] @ w1 + x[2] @ w2
    expected = heard[:, :2] + np.tanh(heard[:, 2:] + model.bias.detach().numpy()[0]) @ outer + 0.5
    np.testing.assert_allclose(
        model(torch.arange(50)).detach().numpy()[0], expected, rtol=1e-4, atol=1e-5
    )


def test_columns_are_standardised_and_levels_are_indicators():
    columns = Columns(kinds(400, 0).assign(code=lambda f: f["flag"] * 7.0))
    assert columns.levels.tolist() == [0, 2, 3, 2]
    assert columns.outputs == 2
    np.testing.assert_allclose(columns.x.mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(columns.x.var(dim=1, correction=0).sum(dim=1), 1, rtol=1e-5)
    assert (columns.x[1] == columns.x[3]).all()  # two values are two values
    assert (columns.x[:2, :, 1:] == 0).all()


def test_losses_by_kind_are_those_of_scipy_and_scikit_learn():
    frame = kinds(200, 3)
    rows = torch.arange(200)
    columns = Columns(frame)
    none = torch.zeros((2, 0), dtype=torch.long)
    model = Equations(columns, torch.arange(3), none, hidden=2, seed=0)
    with torch.no_grad():
        model.outer.zero_()
        model.shift.copy_(
            torch.tensor([[[0.3, 9.0]], [[-0.8, 9.0]], [[0.5, -1.0]]])
        )  # the 9 must not be read
        model.log_sd.fill_(0.2)
        loss = model.loss(rows).numpy()
    number = (frame["number"] - frame["number"].mean()) / frame["number"].std(ddof=0)
    np.testing.assert_allclose(loss[0], -norm.logpdf(number, 0.3, np.exp(0.2)), rtol=1e-5)
    chance = np.full(200, 1 / (1 + np.exp(0.8)))
    assert loss[1].mean() == pytest.approx(log_loss(frame["flag"], chance), rel=1e-5)
    shares = np.exp([0, 0.5, -1.0]) / np.exp([0, 0.5, -1.0]).sum()
    assert loss[2].mean() == pytest.approx(
        log_loss(frame["level"], np.tile(shares, (200, 1))), rel=1e-5
    )


def test_a_refit_comes_near_the_true_held_out_loss_and_does_not_depend_on_its_company():
    data = bent(1000, 1)
    alone = Families(Columns(data), 6, 0)
    together = Families(Columns(data), 6, 0)
    family = (3, (4,))  # b given a
    alone.add([family])
    together.add([family, (3, ()), (0, (1, 2)), (2, (3,))])
    assert alone.losses[family] == pytest.approx(together.losses[family], rel=1e-4)
    noise = np.random.default_rng(1).normal(size=(5, 1000))
    mean = 1.5 * np.tanh(2 * noise[0])
    b = mean + 0.5 * noise[1]
    true = -norm.logpdf(data["b"], (mean - b.mean()) / b.std(), 0.5 / b.std())[alone.held].sum()
    line = np.polyfit(data["a"], data["b"], 1)
    error = data["b"] - np.polyval(line, data["a"])
    straight = -norm.logpdf(error, 0, error.std())[alone.held].sum()
    assert (
        true - 5 < alone.losses[family] < true + 8 < straight - 20 < together.losses[3, ()] - 50
    )  # nats over 250 rows


def test_held_out_rows_are_not_learnt_from():
    families = Families(Columns(bent(100, 0)), 4, 0)
    assert len(families.held) == 25
    assert sorted([*families.held.tolist(), *families.train.tolist()]) == list(range(100))


# ---- what it finds -------------------------------------------------------------------------------


def test_bent_equations_show_every_direction(found):
    assert compare_graphs(found, TRUTH)["shd"] <= 1
    assert set(TRUTH.edges) <= set(found.edges)
    blind = discover(
        bent(800, 0), method="order"
    )  # sees correlations only, and |a| and a have none
    assert "a -> d" not in blind.edges
    assert compare_graphs(blind, TRUTH)["shd"] >= 3


def test_mixed_data():
    truth = random_dag(6, degree=1.5, seed=3)
    data = simulate(truth, 1500, kinds="mixed", seed=3).frame
    graph = discover(data, method="graph_network", **FAST)
    assert compare_graphs(graph, truth)["skeleton_f1"] >= 0.85
    assert precision_recall_f1(graph.adjacency, truth.adjacency)[2] >= 0.6
    assert set(graph.info["encoding"]) == {n for n in data if data[n].dtype == "category"}


def test_independent_columns_get_no_edge():
    assert discover(kinds(600, 5), method="graph_network", **FAST).edges == []


def test_more_gain_asked_for_fewer_edges(found):
    assert discover(bent(800, 0), method="graph_network", gain=1e6, **FAST).edges == []
    assert found.edges


def test_strengths_stand_on_edges_alone():
    fitted = fit(bent(300, 0), any_edge(5), no_edge(5), l1=0.05, **FAST)
    assert ((fitted.strength > 0.05) == fitted.adjacency).all()
    assert (fitted.strength[~fitted.adjacency] == 0).all()
    assert fitted.l1 == 0.05
    assert np.isfinite(fitted.loss)


# ---- what it promises ----------------------------------------------------------------------------


def test_knowledge_is_kept_during_the_search():
    knowledge = Knowledge(
        tiers=[["e"], ["a", "b", "c"]], forbidden=[("a", "d")], required=[("b", "a"), ("e", "d")]
    )
    graph = discover(bent(300, 0), method="graph_network", knowledge=knowledge, **FAST)
    assert knowledge.violations(graph) == []
    assert graph.info["overruled"] == []
    assert graph.kind == "DAG"


def test_no_allowed_pair_no_edge():
    apart = Knowledge(tiers=[list("abcde")], within_tiers=False)
    assert discover(bent(100, 0), method="graph_network", knowledge=apart, **FAST).edges == []


def test_the_seed_decides_every_byte_and_the_callers_random_state_stays():
    data = bent(200, 0)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fit(data, any_edge(5), no_edge(5), seed=s, **FAST) for s in (1, 1, 2))
    assert first.strength.tobytes() == again.strength.tobytes()
    assert first.loss == again.loss
    assert first.loss != other.loss
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads


def test_few_rows_and_two_columns():
    assert discover(bent(50, 0), method="graph_network", **FAST).kind == "DAG"
    pair = discover(bent(400, 0)[["b", "a"]], method="graph_network", **FAST)
    assert pair.edges == ["a -> b"]


def test_too_few_rows():
    with pytest.raises(ValueError, match="frame: 7 rows; a graph network needs 8"):
        fit(bent(7, 0), any_edge(5), no_edge(5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"layers": 2},
            "'graph_network' has no setting 'layers'; settings: l1, hidden, steps, gain",
        ),
        ({"gain": -1}, "gain=-1 must be a number from 0.0"),
        ({"hidden": 0}, "hidden=0 must be a whole number from 1"),
        ({"l1": -0.1}, "l1=-0.1 must be a number from 0.0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        discover(bent(50, 0), method="graph_network", **settings)


# ---- the search by hand --------------------------------------------------------------------------


class Told:
    """Families whose losses are known: nats by a variable and its parents."""

    def __init__(self, losses):
        self.losses, self.asked = losses, set()

    def add(self, families):
        self.asked |= set(families)


def graph_of(*edges, d=3):
    adjacency = no_edge(d)
    for i, j in edges:
        adjacency[i, j] = True
    return adjacency


def test_the_moves_from_a_graph_by_hand():
    """0 -> 1, 0 -> 2, 1 -> 2; 0 -> 1 must stay, 2 -> 0 may not be: what can be removed, added and
    turned.
    """
    adjacency = graph_of((0, 1), (0, 2), (1, 2))
    required = graph_of((0, 1))
    may = any_edge(3)
    may[2, 0] = False
    now = network._families(adjacency)
    assert now == [(0, ()), (1, (0,)), (2, (0, 1))]
    found = list(network._changes(adjacency, now, may, required))
    expected = [
        ((2, (1,)),),  # without 0 -> 2
        ((2, (0,)),),  # without 1 -> 2
        ((2, (0,)), (1, (0, 2))),  # 1 -> 2 turned
        ((2, ()), (1, (0, 2))),  # and without 0 -> 2; 0 -> 1 is required
    ]
    assert found == expected
    two = graph_of((0, 1), d=3)
    loose = list(network._changes(two, network._families(two), any_edge(3), no_edge(3)))
    assert ((1, ()),) in loose
    assert ((1, ()), (0, (1,))) in loose
    assert ((2, (0,)),) in loose
    assert ((0, (2,)),) in loose
    assert ((0, (1,)),) not in loose  # they are adjacent already
    assert len(loose) == 2 + 4


def test_what_a_move_is_worth_by_hand():
    """Nats that the new families save, less 3 for each edge more; the best first."""
    losses = {
        (0, ()): 10.0,
        (1, (0,)): 5.0,
        (1, ()): 9.5,
        (0, (1,)): 4.0,
        (2, ()): 7.0,
        (2, (0,)): 3.5,
        (2, (1,)): 6.0,
    }
    losses |= {(0, (2,)): 11.0, (1, (0, 2)): 1.0}
    families = Told(losses)
    adjacency = graph_of((0, 1))
    found = network._moves(adjacency, any_edge(3), no_edge(3), families, 3.0)
    assert [worth for worth, _ in found] == sorted((worth for worth, _ in found), reverse=True)
    worth = {after: value for value, after in found}
    assert worth[((1, ()),)] == pytest.approx(5 - 9.5 + 3)
    assert worth[((1, ()), (0, (1,)))] == pytest.approx(5 - 9.5 + 10 - 4)
    assert worth[((2, (0,)),)] == pytest.approx(7 - 3.5 - 3)
    assert worth[((1, (0, 2)),)] == pytest.approx(5 - 1 - 3)
    assert worth[((0, (2,)),)] == pytest.approx(10 - 11 - 3)
    assert set(losses) <= families.asked


def test_moves_are_made_where_no_circle_closes_and_nothing_moved_before():
    adjacency = graph_of((0, 1), (1, 2))
    moves = [((0, (2,)),), ((1, ()),), ((1, (2,)),), ((2, (0, 1)),)]
    made = network._make(adjacency, moves, no_edge(3))
    assert (
        made.tolist() == graph_of((0, 2), (1, 2)).tolist()
    )  # a circle; made; touched before; made
    assert network._make(adjacency, [], no_edge(3)).tolist() == adjacency.tolist()


def test_the_search_ends_where_no_move_gains():
    """Random losses of all families of three variables: of all 25 DAGs the answer is the best in
    most draws.
    """
    rng = np.random.default_rng(3)
    families = [
        (j, p)
        for j in range(3)
        for k in range(3)
        for p in itertools.combinations([i for i in range(3) if i != j], k)
    ]
    every = [
        graph_of(*np.argwhere(any_edge(3))[np.array(bits)])
        for bits in itertools.product([False, True], repeat=6)
    ]
    dags = [dag for dag in every if keep_acyclic(dag, 0.5, no_edge(3)).sum() == dag.sum()]
    assert len(dags) == 25
    must = graph_of((2, 1))
    gaps = []
    for trial in range(8):
        told = Told({family: 20 * rng.random() for family in families})

        def score(dag, told=told):
            return sum(told.losses[family] for family in network._families(dag)) + 2.0 * dag.sum()

        for required in (no_edge(3), must):
            found = network._search(required, any_edge(3), required, told, 2.0, trial)
            assert found[required].all()
            moves = network._moves(found, any_edge(3), required, told, 2.0)
            for after in [after for worth, after in moves if worth > 1e-6]:
                assert (
                    network._make(found, [after], required) == found
                ).all()  # it would close a circle
            gaps.append(score(found) - min(score(dag) for dag in dags if dag[required].all()))
    assert min(gaps) > -1e-9
    assert np.mean(np.array(gaps) < 1e-9) > 0.7


def test_batches_go_through_all_rows_before_any_comes_again():
    rows = torch.arange(10, 610)
    batches = list(network._batches(rows, 6, 3))
    assert [len(batch) for batch in batches] == [88, 256, 256] * 2
    for half in (batches[:3], batches[3:]):
        assert sorted(torch.cat(half).tolist()) == rows.tolist()
    assert not torch.equal(batches[1], batches[4])
    again = list(network._batches(rows, 6, 3))
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))


def test_strengths_cycles_and_bounds_by_hand():
    columns = Columns(kinds(60, 0))
    model = Equations(
        columns, torch.arange(3), torch.tensor([[1, 2, 0], [0, 1, 2]]), hidden=2, seed=1
    )
    with torch.no_grad():
        model.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    norms = model.weight.detach().square().sum((1, 2)).sqrt().numpy()
    noise = np.pi / np.sqrt(3)  # of one log-odds, and of the two logits of three levels
    expected = norms / [1, noise, noise * np.sqrt(2)]
    np.testing.assert_allclose(model.strength().detach(), expected, rtol=1e-4)
    # 1 -> 0 -> 2 -> 1: the determinant of I - W∘W is 1 less the product of the squares
    assert network._cycles(model, 3).item() == pytest.approx(
        -np.log(1 - np.prod(expected**2)), rel=1e-3, abs=1e-7
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
    model.train_on(torch.arange(60), 0.0, optimizer)
    assert model.outer.abs().max() <= 1
    assert model.log_sd.min() >= -6


@pytest.mark.parametrize(("n", "held"), [(8, 2), (11, 2), (40, 10), (7999, 1999), (9000, 2000)])
def test_how_many_rows_are_held_out(n, held):
    families = Families(Columns(kinds(n, 0)), 2, 0)
    assert (len(families.held), len(families.train)) == (held, n - held)
