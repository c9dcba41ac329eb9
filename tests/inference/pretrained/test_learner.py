"""The learner 'pretrained' and the estimator of that name: what changes nothing, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causal_lib.graph import CausalGraph
from causal_lib.inference import effects, estimators
from causal_lib.inference.pretrained import learner
from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.features import describe_rows
from causal_lib.inference.uplift import UpliftModel

COLUMNS = ["a", "b", "c"]


def _frame(n=240, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=COLUMNS)
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * frame["a"] + 0.4))).astype(int)
    y = frame["a"] + (1 + frame["b"]) * t + rng.normal(size=n)
    return frame.assign(t=t, y=y)


def _arrays(frame):
    return (
        frame["y"].to_numpy(),
        frame["t"].to_numpy(),
        frame[COLUMNS].to_numpy(),
        np.arange(len(frame)),
    )


@pytest.fixture
def known(tiny_effects, monkeypatch):
    """Weights for which every table is familiar."""
    about = tiny_effects.about | {"limits": {"distance": 1e9, "disagreement": 1e9}}
    weights = replace(tiny_effects, about=about)
    monkeypatch.setattr(learner, "load", lambda: weights)
    return weights


@pytest.fixture
def strange(tiny_effects, monkeypatch):
    """Weights for which no table is familiar."""
    about = tiny_effects.about | {"limits": {"distance": 1e-9, "disagreement": 1e9}}
    weights = replace(tiny_effects, about=about)
    monkeypatch.setattr(learner, "load", lambda: weights)
    return weights


def _train(frame, **how):
    return UpliftModel.train(frame, "t", "y", COLUMNS, learner="pretrained", **how)


@pytest.fixture(scope="module")
def frame():
    return _frame()


def test_nothing_but_what_the_rows_say_matters(known, frame):
    """Order of rows and columns, units, a shift; arms exchanged change the sign."""
    expected = _train(frame).predict(frame)
    order = np.random.default_rng(1).permutation(len(frame))
    assert _train(frame.iloc[order]).predict(frame) == pytest.approx(expected, abs=1e-6)
    renamed = frame.rename(columns={"a": "c", "c": "a"})
    assert _train(renamed).predict(renamed) == pytest.approx(expected, abs=1e-6)
    units = frame.assign(b=100 * frame["b"] - 3, y=1000 * frame["y"] + 50)
    assert _train(units).predict(units) / 1000 == pytest.approx(expected, abs=1e-6)
    turned = frame.assign(t=1 - frame["t"])
    assert _train(turned).predict(turned) == pytest.approx(-expected, abs=1e-6)


def test_the_answer_is_the_mean_of_the_networks_in_units_of_the_outcome(known, frame):
    y, t, x, groups = _arrays(frame)
    fitted = learner.fit(y, t, x, groups, 0)
    cells = describe_rows(fitted.table, fitted.candidates, x[:5])
    said = learner.combined(known, fitted.table, cells)
    assert said.effects == pytest.approx(said.each.mean(axis=0))
    answer = fitted.answer(x[:5])
    scale = fitted.table.scale * fitted.unit
    assert answer.effects == pytest.approx(fitted.average + scale * said.effects)
    assert answer.widths == pytest.approx(abs(scale) * said.widths)
    assert fitted.mean == pytest.approx(fitted.average + scale * said.average)
    assert answer.outcomes[:, 1] - answer.outcomes[:, 0] == pytest.approx(answer.effects)
    assert abs(fitted.unit) == pytest.approx(y.std())


def test_the_width_of_several_networks_by_hand():
    each = np.array([[1.0, 2.0], [3.0, 2.0]])
    widths = np.log([[1.0, 2.0], [7.0, 2.0]])
    assert learner.joint_width(each, widths) == pytest.approx([np.sqrt(25 + 1), 2])
    assert learner.disagreement(each) == pytest.approx(np.sqrt(0.5))


def test_intervals_are_multiples_of_the_widths(known, frame):
    model = _train(frame)
    narrow = model.intervals(frame[:6], 0.5).to_numpy()
    wide = model.intervals(frame[:6], 0.9).to_numpy()
    assert narrow[:, 0] == pytest.approx(model.predict(frame[:6]))
    assert narrow[:, 1:].mean(axis=1) == pytest.approx(narrow[:, 0])
    quantiles = known.reference["quantiles"]
    ratio = np.ptp(wide, axis=1) / np.ptp(narrow, axis=1)
    assert ratio == pytest.approx(quantiles[89] / quantiles[49], rel=1e-5)
    with pytest.raises(ValueError, match=r"calibrated up to 0\.99"):
        model.intervals(frame[:6], 0.999)
    users = _train(frame.assign(user=np.arange(len(frame)) // 2), cluster="user")
    assert (users.intervals(frame[:6])["high"] > users.intervals(frame[:6])["low"]).all()


def test_a_table_unlike_those_of_the_training_is_answered_by_the_stack_and_says_so(strange, frame):
    y, t, x, groups = _arrays(frame)
    fitted = learner.fit(y, t, x, groups, 0)
    assert not fitted.familiar
    stack = fitted.candidates.predict(x[:5]).effects[:, NAMES.index("r_stack")]
    assert fitted.answer(x[:5]).effects == pytest.approx(fitted.unit * stack)
    model = _train(frame)
    assert any("unlike the tables" in reason for reason in model.reasons)
    with pytest.raises(ValueError, match="its intervals mean nothing here"):
        model.intervals(frame[:6])


def test_candidates_of_a_large_table_are_fitted_to_some_of_its_rows(known, monkeypatch):
    monkeypatch.setattr(learner, "MOST_ROWS", 200)
    y, t, x, _ = _arrays(_frame(500))
    groups = np.arange(500) // 4
    fitted = learner.fit(y, t, x, groups, 0)
    assert 200 <= len(fitted.candidates.y) <= 204
    kept = learner._some_rows(t, groups, 0)
    assert (np.bincount(groups[kept])[np.unique(groups[kept])] == 4).all()
    assert len(fitted.answer(x).effects) == 500
    monkeypatch.setattr(learner, "_CHUNK", 7)
    assert fitted.answer(x[:30]).effects == pytest.approx(
        np.concatenate([fitted.answer(x[k : k + 5]).effects for k in range(0, 30, 5)]), abs=1e-6
    )


def test_expected_outcomes_are_those_of_the_arms(known):
    """Of 2,000 rows; the arms exchanged exchange them."""
    frame = _frame(2000, 4)
    y, t, x, groups = _arrays(frame)
    for treated, back in ((t, False), (1 - t, True)):
        found = learner.fit(y, treated, x, groups, 0).answer(x).outcomes
        found = found[:, ::-1] if back else found
        assert np.corrcoef(found[:, 0], x[:, 0])[0, 1] > 0.95
        assert found[:, 0].mean() == pytest.approx(0, abs=0.2)
        assert found[:, 1].mean() == pytest.approx(1, abs=0.2)
    model = _train(frame)
    # the model puts the rows into another order first, so that its folds are others
    other = learner.fit(*_arrays(frame), 0).answer(x).outcomes[:, 1]
    assert np.abs(model.relevance(frame) - other).mean() < 0.05
    shown = frame.assign(y=(frame["y"] > 1).astype(int))
    assert _train(shown).relevance(frame).min() >= 0
    assert _train(shown).relevance(frame).max() <= 1


def test_a_graph_tells_roles_and_a_class_is_averaged(known, frame):
    edges = ["a -> t", "a -> y", "t -> y", "b -> y", "c -> t"]
    graph = CausalGraph.from_edges(["a", "b", "c", "t", "y"], edges)
    model = _train(frame, graph=graph)
    moved = frame.assign(c=frame["c"] + 1)  # an instrument
    assert model.predict(moved) == pytest.approx(model.predict(frame), abs=1e-9)
    assert not np.allclose(_train(frame).predict(moved), _train(frame).predict(frame))
    y, t, x, groups = _arrays(frame)
    roles = [("confounder", "modifier", "instrument"), ("confounder",) * 3]
    both = learner.fit(y, t, x, groups, 0, roles=[(roles[0], 0.25), (roles[1], 0.75)])
    parts = [learner.fit(y, t, x, groups, 0, roles=[(one, 1.0)]) for one in roles]
    answers = [part.answer(x[:9]) for part in parts]
    found = both.answer(x[:9])
    mean = 0.25 * answers[0].effects + 0.75 * answers[1].effects
    assert found.effects == pytest.approx(mean)
    outcomes = 0.25 * answers[0].outcomes + 0.75 * answers[1].outcomes
    assert found.outcomes == pytest.approx(outcomes)
    assert (found.widths >= np.min([one.widths for one in answers], axis=0)).all()
    assert both.familiar
    assert both.note == ""
    low, high = both.interval(x[:9], 0.9)
    assert (low < high).all()
    with pytest.raises(ValueError, match="only the learner 'pretrained' makes use of it"):
        UpliftModel.train(frame, "t", "y", COLUMNS, graph=graph)


def test_the_estimator_gives_the_networks_the_roles_of_a_graph(frame):
    """Of encoded columns, each with the role of the column that it is of."""
    kinds = np.array(["x", "y", "z"])[np.arange(len(frame)) % 3]
    frame = frame.assign(kind=kinds)
    edges = ["a -> t", "a -> y", "t -> y", "kind -> y"]
    graph = CausalGraph.from_edges(["a", "kind", "t", "y"], edges)
    how = {"adjustment": ["kind", "a"], "estimator": "pretrained"}
    asked = effects.question_of(frame, "t", "y", graph=graph, **how).sample
    roles = dict(zip(asked.x, asked.roles[0][0], strict=True))
    assert roles == {"a": "confounder", "kind_y": "modifier", "kind_z": "modifier"}
    assert [share for _, share in asked.roles] == [1.0]
    assert effects.question_of(frame, "t", "y", **how).sample.roles is None


def test_the_estimator_is_the_mean_of_doubly_robust_scores(known, frame):
    found = effects.effect(frame, "t", "y", adjustment=COLUMNS, estimator="pretrained")
    forest = effects.effect(frame, "t", "y", adjustment=COLUMNS, estimator="causal_forest")
    assert found.estimator == "pretrained"
    assert abs(found.value - forest.value) < 0.5 * (forest.high - forest.low)
    assert found.diagnostics["unlike training"] == 0
    assert np.isfinite(found.diagnostics["uncorrected"])
    turned = effects.effect(
        frame.assign(t=1 - frame["t"]), "t", "y", adjustment=COLUMNS, estimator="pretrained"
    )
    assert turned.value == pytest.approx(-found.value, abs=1e-6)


def test_the_estimator_corrects_effects_that_are_wrong(known, frame, monkeypatch):
    """With effects that are 100 too large, the average is the same to the first order."""

    class Wrong:
        familiar = True

        def answer(self, x):
            return learner.Answer(np.full(len(x), 1.1), np.ones(len(x)), np.ones((len(x), 2)))

    monkeypatch.setattr(learner, "fit", lambda *parts, **roles: Wrong())
    frame = _frame(2000, 3)
    found = effects.effect(frame, "t", "y", adjustment=COLUMNS, estimator="pretrained")
    assert found.diagnostics["uncorrected"] == pytest.approx(1.1)
    assert found.covers(1.0) or abs(found.value - 1) < 2 * (found.high - found.low)


def test_without_columns_or_weights(tmp_path, frame, monkeypatch):
    with pytest.raises(ValueError, match="'pretrained' needs at least one adjustment column"):
        effects.effect(frame, "t", "y", adjustment=[], estimator="pretrained")

    def absent():
        raise FileNotFoundError("weights of the pretrained learner: no file")

    monkeypatch.setattr(learner, "load", absent)
    with pytest.raises(FileNotFoundError, match="weights of the pretrained learner"):
        _train(frame)


def test_a_treatment_that_is_a_number_is_refused(frame):
    priced = frame.assign(t=np.linspace(0, 1, len(frame)))
    with pytest.raises(ValueError, match="estimator 'pretrained' compares two levels"):
        effects.effect(priced, "t", "y", adjustment=COLUMNS, estimator="pretrained")
    with pytest.raises(ValueError, match="must be 0 or 1 in every row, or give contrast"):
        _train(priced)


def test_it_is_registered_with_its_needs():
    assert estimators.WITHOUT_COLUMNS["pretrained"] == "regression"
    assert estimators.ESTIMATORS["pretrained"].needs_columns
