"""Examples, loss, training and calibration of the networks of effects."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from causal_lib.cli import main
from causal_lib.discovery.engines.pretrained import familiarity
from causal_lib.experiments.pretrained.effects import examples as module
from causal_lib.experiments.pretrained.effects import recipe as recipes
from causal_lib.experiments.pretrained.effects import training
from causal_lib.experiments.pretrained.effects.examples import (
    NUMBERS,
    QUERIES,
    collect,
    example,
    join,
    make,
)
from causal_lib.experiments.pretrained.effects.recipe import (
    LEVELS,
    all_answers,
    all_summaries,
    limits,
    rows_of,
    width_quantiles,
)
from causal_lib.experiments.pretrained.effects.tables import FAMILIES, draw
from causal_lib.experiments.pretrained.effects.training import (
    PARTS,
    answers,
    candidate_errors,
    loss_of,
    table_errors,
    tensors,
    train,
    usual_errors,
    validate,
)
from causal_lib.inference.nuisances import is_reversed, turned
from causal_lib.inference.pretrained import candidates
from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.learner import joint_width
from causal_lib.inference.pretrained.network import EffectNetwork
from causal_lib.inference.pretrained.weights import SIZES, load


@pytest.fixture(scope="module")
def few(few_tables):
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "SHARD", 8)
    found = make(8, 0, folder=few_tables, n_jobs=1, progress=False)
    patch.undo()
    return found


@pytest.fixture(scope="module")
def networks():
    """Two networks of random weights."""
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = EffectNetwork(*SIZES)
        with torch.no_grad():
            for part in network.parameters():
                part += 0.1 * torch.randn_like(part)
        found.append(network.eval())
    return tuple(found)


def test_an_example_s_target_and_candidates_are_effects_in_scales():
    one = example("linear", [0, 3], n=300)
    table = draw("linear", [0, 3], n=300, queries=QUERIES)
    reverse = is_reversed(table.t, table.y)
    t = turned(table.t) if reverse else table.t
    sign = -1 if reverse else 1
    found = candidates.fit(table.y, t, table.x[:300], table.groups, 0, roles=table.roles)
    effects = sign * (found.average + one["scale"] * one["target"]) * table.y.std()
    assert effects == pytest.approx(table.effect[300:], rel=1e-4, abs=1e-4 * table.y.std())
    # a candidate's prediction is put together again from its difference and its offset
    value = found.predict(table.x[300:]).effects
    again = one["cells"][..., 0].astype(float) + one["candidates"][:, 0]
    again = found.average + one["scale"] * again
    assert again == pytest.approx(value, abs=2e-3 * np.abs(value - found.average).max())
    arms = table.y.mean() + table.y.std() * one["truths"].astype(float)
    arms = arms[:, ::sign]
    assert arms[:, 0] == pytest.approx(table.control[300:], abs=1e-4 * table.y.std())
    assert arms[:, 1] - arms[:, 0] == pytest.approx(table.effect[300:], abs=1e-4 * table.y.std())
    mean = sign * (found.average + one["scale"] * one["mean"]) * table.y.std()
    assert mean == pytest.approx(table.effect[:300].mean(), abs=1e-4 * table.y.std())
    assert one["error"] * one["scale"] == pytest.approx(found.error, rel=1e-5)
    assert one["family"] == NUMBERS.index("linear")


def test_families_take_turns_and_the_same_seed_gives_the_same_tables(few):
    assert few.family.tolist() == [k % len(FAMILIES) for k in range(8)]
    again = collect([next(iter(FAMILIES))], [[0, 0]])
    for name in ("cells", "target", "table"):
        assert np.array_equal(getattr(again, name)[0], getattr(few, name)[0])
    for part in fields(few):
        assert np.isfinite(getattr(few, part.name)).all()


def test_tables_that_are_kept_are_not_made_again(few, few_tables, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 8)
    monkeypatch.setattr(module, "collect", None)
    assert make(8, 0, folder=few_tables, n_jobs=1, progress=False).hash() == few.hash()
    assert not list(few_tables.glob("*.part"))
    both = join([few, few.take(np.array([2]))])
    assert len(both) == 9
    assert both.hash() != few.hash()
    assert np.array_equal(both.cells[8], few.cells[2])


def test_errors_by_hand(few):
    values = few.cells[..., 0].astype(float) + few.candidates[:, None, :, 0]
    k = NAMES.index("r_linear")
    by_hand = ((values[3, :, k] - few.target[3]) ** 2).mean()
    assert candidate_errors(few)[3, k] == pytest.approx(by_hand, rel=1e-5)
    fitted = NAMES.index("constant")
    middle = np.median(candidate_errors(few)[3, :fitted])
    assert usual_errors(few)[3] == pytest.approx(middle)
    batch = tensors(few)
    # the median candidate itself has the error 1
    place = int(np.argsort(candidate_errors(few)[3, :fitted])[fitted // 2])
    if fitted % 2:
        found = torch.from_numpy(values[:, :, place].astype(np.float32))
        assert float(table_errors(found, batch)[3]) == pytest.approx(1, rel=1e-4)
    exact = table_errors(batch["target"], batch)
    assert exact.tolist() == [0.0] * 8


def test_the_loss_is_that_of_its_docstring(few, networks):
    batch = tensors(few)
    with torch.no_grad():
        found = networks[0](*(batch[name] for name in PARTS))
        loss = float(loss_of(networks[0], batch))

    def cut(errors):
        return np.where(errors > 4, 4 * np.sqrt(errors) - 4, errors).mean()

    errors = ((found.effects - batch["target"]) ** 2).mean(1) / batch["usual"]
    off = (found.effects - batch["target"]).abs()
    surprise = (found.widths + off / found.widths.exp()).mean()
    averages = ((found.averages.numpy() - few.mean) / np.maximum(few.error, 1e-3)) ** 2
    arms = np.einsum("nqak,nak->nqa", few.outcomes.astype(float), found.shares.double().numpy())
    of_kinds = (few.outcomes.astype(float) - few.truths[..., None]) ** 2
    usual = np.median(of_kinds.mean(axis=(1, 2)), axis=1)
    outcomes = ((arms - few.truths) ** 2).mean(axis=(1, 2)) / usual
    expected = cut(errors.numpy()) + 0.1 * float(surprise) + 0.05 * cut(averages)
    assert loss == pytest.approx(expected + 0.1 * cut(outcomes), rel=1e-3)


def test_turned_outcomes_are_turned_in_every_part(few):
    batch = training._some_rows(tensors(few), np.random.default_rng(0))
    before = tensors(few)
    signs = (batch["mean"] / before["mean"]).numpy()
    assert set(signs.round(6)) == {-1, 1}
    back = signs < 0
    shown = torch.from_numpy(signs.astype(np.float32))
    effects = (batch["truths"][..., 1] - batch["truths"][..., 0]) * shown[:, None]
    rows = before["truths"][..., 1] - before["truths"][..., 0]
    for k in np.flatnonzero(back):
        assert np.isin(effects[k].numpy(), rows[k].numpy()).all()
        assert torch.equal(batch["candidates"][k, :, 0], -before["candidates"][k, :, 0])


def test_training_lowers_the_error_on_what_it_sees(few):
    batch = tensors(few)
    torch.manual_seed(0)
    before = validate(EffectNetwork(*SIZES), batch)
    network, history = train(few, few, seed=0, steps=60, progress=False)
    assert history[-1][0] == 60
    assert history[-1][1] == pytest.approx(validate(network, batch))
    assert validate(network, batch) < 0.9 * before
    again, _ = train(few, few, seed=0, steps=60, progress=False)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_features_that_are_not_shown_change_nothing(few):
    used = {"table": np.arange(SIZES[4]) > 0}
    network, _ = train(few, few, seed=0, steps=3, used=used, progress=False)
    batch = tensors(few)
    found = answers(network, batch).effects
    batch["table"][:, 0] += 7
    assert torch.equal(answers(network, batch).effects, found)


def test_calibrated_intervals_hold_their_share_of_the_rows(few, networks):
    each, widths = all_answers(networks, few)
    assert each.shape == (2, 8, QUERIES)
    quantiles = width_quantiles(each, widths, few)
    off = np.abs(each.mean(axis=0) - few.target) / joint_width(each, widths)
    for level, quantile in zip(LEVELS, quantiles, strict=True):
        # rows that are alike have the same error
        assert (off < quantile).mean() - 2 / off.size <= level
        assert level <= (off <= quantile).mean() + 2 / off.size


def test_limits_by_hand(few, networks):
    reference = familiarity.fit(all_summaries(few), rows_of(few))
    found = limits(networks, reference, few, few)
    far = familiarity.distance(reference, all_summaries(few), rows_of(few))
    families = [far[few.family == number] for number in np.unique(few.family)]
    expected = max(np.quantile(far, 0.99), *(np.quantile(part, 0.9) for part in families))
    assert found["distance"] == pytest.approx(expected)
    assert found["disagreement"] > 0
    assert rows_of(few)[0] == draw("linear", [0, 0]).rows


def test_the_command_makes_the_weights_of_effects(tmp_path, few_tables, monkeypatch, capsys):
    monkeypatch.setattr(module, "SHARD", 8)
    small = recipes.Recipe(examples=8, validation=8, familiar=6, networks=1, steps=2)
    monkeypatch.setattr(recipes, "QUICK", small)
    make_there = recipes.make
    monkeypatch.setattr(
        recipes, "make", lambda *parts, **how: make_there(*parts, **how | {"folder": few_tables})
    )
    path = tmp_path / "made.safetensors"
    assert main(["pretrain", "effects", "--quick", "--jobs", "1", "--output", str(path)]) == 0
    assert "1 networks, validation error" in capsys.readouterr().out
    assert load(path).about["recipe"]["steps"] == 2


def test_the_same_recipe_gives_the_same_bytes(tmp_path, few_tables, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 8)
    small = recipes.Recipe(examples=8, validation=8, familiar=6, networks=2, steps=2)
    paths = [tmp_path / name for name in ("one", "two", "other")]
    for path, recipe in zip(paths, (small, small, replace(small, steps=3)), strict=True):
        recipes.pretrain(recipe, path, folder=few_tables, n_jobs=1, progress=False)
    one, two, other = (path.read_bytes() for path in paths)
    assert one == two
    assert one != other


def test_what_is_forgotten_is_the_usual_value(few, networks):
    batch = tensors(few)
    before = {name: part.clone() for name, part in batch.items()}
    found = training._forgetful(dict(batch), networks[0], np.random.default_rng(0))
    assert torch.equal(found["candidates"][..., 0], before["candidates"][..., 0])
    for name in ("candidates", "table"):
        changed = found[name] != before[name]
        usual = getattr(networks[0], f"{name}_scale")[0].expand_as(found[name])
        assert torch.equal(found[name][changed], usual[changed])
        assert 0.05 < changed.float().mean() < 0.3
    # all candidates of a table forget the same
    lost = (found["candidates"] != before["candidates"]).any(1)
    kept = (found["candidates"] == before["candidates"]).all(1)
    assert torch.equal(lost, ~kept)
    for name in ("cells", "rows", "target"):
        assert torch.equal(found[name], before[name])
