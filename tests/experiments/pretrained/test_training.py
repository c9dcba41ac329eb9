"""Examples, batches, loss and calibration of the recipe."""

import dataclasses

import numpy as np
import pytest
import torch

from causal_lib.discovery.engines.pretrained.network import PairNetwork, log_probabilities, reverse
from causal_lib.experiments.pretrained import examples as module
from causal_lib.experiments.pretrained.examples import SHARD, collect, example, make
from causal_lib.experiments.pretrained.recipe import temperature
from causal_lib.experiments.pretrained.training import Batches, loss_of, train, validate


@pytest.fixture(scope="module")
def few(kept):
    return make(SHARD, 0, folder=kept, n_jobs=1, progress=False)


def test_an_example_s_label_is_the_edge_of_the_graph_it_was_drawn_from():
    found, label, family = example([0, 0, 3])
    again, same, _ = example([0, 0, 3])
    assert np.array_equal(found.pairs, again.pairs)
    assert np.array_equal(label, same)
    assert 0 < label.sum() < len(label) / 2
    pairs = set(map(tuple, found.index[:, label].T.tolist()))
    assert not any((j, i) in pairs for i, j in pairs)
    assert not found.required[~label].any()  # the knowledge that goes along is true
    assert found.allowed[label].all()
    assert 0 <= family % 100 < 10


def test_examples_are_kept_and_those_kept_are_not_made_again(few, kept, monkeypatch):
    assert len(few) == SHARD
    monkeypatch.setattr(module, "collect", None)
    assert make(SHARD, 0, folder=kept, n_jobs=1, progress=False).hash() == few.hash()
    assert not list(kept.glob("*.part"))


def test_the_hash_sees_one_label():
    one = collect([[0, 0, 1]])
    other = collect([[0, 0, 1]])
    assert one.hash() == other.hash()
    other.label[0] = ~other.label[0]
    assert one.hash() != other.hash()


def test_batches_hold_every_data_set_once_and_are_what_it_is(few):
    batches = Batches(few)
    split = batches.split(np.random.default_rng(0))
    assert sorted(np.concatenate(split)) == list(range(SHARD))
    sets = split[0]
    batch = batches.take(sets)
    a = batches.first_pair[sets[0]]
    e = int(few.edges[sets[0]])
    assert np.array_equal(batch["pairs"][:e].numpy(), few.pairs[a : a + e].astype(np.float32))
    assert np.array_equal(batch["index"][:, :e].numpy(), few.index[:, a : a + e])
    i, j = batch["index"]
    assert torch.equal(batch["index"][:, batch["back"]], torch.stack([j, i]))
    one, two, three = batch["index"][:, batch["triangles"]].unbind(1)
    assert torch.equal(one, torch.stack([two[0], three[1]]))
    assert torch.equal(two[1], three[0])


def test_loss_is_the_mean_over_variables_of_the_cross_entropy(few):
    torch.manual_seed(0)
    network = PairNetwork(
        few.nodes.shape[1], few.pairs.shape[1], hidden=8, layers=1, width=4
    ).eval()
    batch = Batches(few).take([3])
    d = int(few.variables[3])
    label = batch["label"].numpy()
    with torch.no_grad():
        forth = network(
            *(batch[k] for k in ("nodes", "pairs", "index", "back", "triangles"))
        ).numpy()
    back = batch["back"].numpy()
    chosen = np.where(label, forth, np.where(label[back], forth[back], 0))
    each = np.log1p(np.exp(forth) + np.exp(forth[back])) - chosen
    assert loss_of(network, batch).item() == pytest.approx(each.sum() / (d - 1) / d, rel=1e-4)


def test_training_lowers_the_loss_and_is_seeded(few):
    odd = np.zeros(few.nodes.shape[1], dtype=bool), np.zeros((2, few.pairs.shape[1]), dtype=bool)
    how = {"seed": 1, "steps": 30, "hidden": 16, "layers": 1, "width": 4, "progress": False}
    state = torch.get_rng_state()
    network, history = train(few, few, odd, **how)
    assert torch.equal(state, torch.get_rng_state())
    start = PairNetwork(few.nodes.shape[1], few.pairs.shape[1], hidden=16, layers=1, width=4)
    assert validate(network, few) < 0.8 * validate(start, few)
    assert history[-1] == (30, pytest.approx(validate(network, few)))
    again, _ = train(few, few, odd, **how)
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_features_that_are_not_shown_change_nothing(few):
    odd = np.zeros(few.nodes.shape[1], dtype=bool), np.zeros((2, few.pairs.shape[1]), dtype=bool)
    used = np.arange(few.pairs.shape[1]) < 5
    how = {
        "seed": 1,
        "steps": 5,
        "hidden": 8,
        "layers": 1,
        "width": 4,
        "progress": False,
        "used": used,
    }
    spoilt = collect([[0, 0, k] for k in range(8)])
    clean = collect([[0, 0, k] for k in range(8)])
    spoilt.pairs[:, 5:] = 0
    # the scale of a feature that is not shown does not matter either
    one, _ = train(clean, clean, odd, **how)
    other, _ = train(spoilt, spoilt, odd, **how)
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if "scale" not in name:
            assert torch.allclose(a, b, atol=1e-6), name


def test_temperature_undoes_overconfidence(few, rng):
    """Labels drawn from known probabilities: the odds that gave them are right, those times k need
    the temperature k.
    """
    odds = []
    label = np.zeros(len(few.label), dtype=bool)
    first = np.concatenate([[0], np.cumsum(few.edges)])
    for k in range(len(few)):
        index = torch.from_numpy(few.index[:, first[k] : first[k + 1]].astype(np.int64))
        back = reverse(index)
        logs = torch.from_numpy(rng.normal(-1, 2, few.edges[k]))
        shares = log_probabilities(logs, back).exp().numpy()
        once = (index[0] < index[1]).numpy()
        answer = (rng.random((few.edges[k], 1)) > shares.cumsum(axis=1)).sum(axis=1)
        label[first[k] : first[k + 1]][once & (answer == 1)] = True
        label[first[k] : first[k + 1]][back.numpy()[once & (answer == 2)]] = True
        odds.append(logs.numpy()[None])
    drawn = dataclasses.replace(few, label=label)
    for factor in (0.7, 1.0, 2.0):
        assert temperature([factor * logs for logs in odds], drawn) == pytest.approx(
            factor, rel=0.05
        )
