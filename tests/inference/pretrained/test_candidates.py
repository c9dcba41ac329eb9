"""Candidates: ridge regressions against scikit-learn, held-out values that do not see their fold,
scores and stacks by hand.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from causal_lib.inference.models import arm_folds
from causal_lib.inference.nuisances import dr_scores, standard_error
from causal_lib.inference.pretrained import candidates as module
from causal_lib.inference.pretrained.candidates import FOLDS, NAMES, fit, ridge


def _table(n=300, p=3, seed=0, events=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 0]))).astype(int)
    y = x[:, 0] + (1 + x[:, 1]) * t + 0.5 * rng.normal(size=n)
    if events:
        y = (rng.random(n) < 1 / (1 + np.exp(-y))).astype(float)
    return y, t, x, np.arange(n)


@pytest.fixture(scope="module")
def table():
    return _table()


@pytest.fixture(scope="module")
def found(table):
    return fit(*table, 0)


# ---- ridge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "k"), [(60, 4), (30, 40)])
def test_ridge_is_that_of_scikit_learn_at_the_penalty_of_least_error(n, k, weighted):
    rng = np.random.default_rng(n + k)
    x = rng.normal(size=(n, k)) * rng.uniform(0.5, 2, k) + 3
    y = np.column_stack([x[:, 0] + rng.normal(size=n), rng.normal(size=n) + 10])
    weights = rng.uniform(0.1, 3, n) if weighted else np.ones(n)
    lines = ridge(x, y, weights if weighted else None)
    for j in range(2):
        best = np.inf
        for penalty in module._PENALTIES:
            # scikit-learn's penalty goes with the sum of squares, ours with the weighted mean
            model = Ridge(penalty * weights.sum()).fit(x, y[:, j], sample_weight=weights)
            left = y[:, j] - model.predict(x)
            scaled = np.sqrt(weights)[:, None] * (x - np.average(x, axis=0, weights=weights))
            gram = scaled.T @ scaled
            hat = 1 + np.trace(np.linalg.solve(gram + penalty * weights.sum() * np.eye(k), gram))
            error = np.average(left**2, weights=weights) / max(1 - hat / n, 1e-3) ** 2
            if error < best:
                best = error
                chosen = np.append(model.intercept_, model.coef_)
        assert lines[:, j] == pytest.approx(chosen, abs=1e-8)


def test_ridge_without_noise_is_the_line():
    x = np.random.default_rng(1).normal(size=(50, 2))
    assert ridge(x, (2 + x @ [3, -1])[:, None])[:, 0] == pytest.approx([2, 3, -1], abs=1e-3)


def test_a_sparse_line_leaves_out_what_says_nothing():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, 10))
    line = module._sparse(x, 1 + 2 * x[:, 3] + rng.normal(size=500), np.ones(500))
    assert np.flatnonzero(line[1:]).tolist() == [3]
    assert line[4] == pytest.approx(2, abs=0.4)
    assert line[0] == pytest.approx(1, abs=0.2)


# ---- held-out values -----------------------------------------------------------------------------


def test_no_row_is_predicted_by_models_that_saw_it(table, found):
    y, t, x, groups = table
    _, test = next(iter(arm_folds(t, groups, 0, FOLDS)))
    rng = np.random.default_rng(3)
    shuffled = y.copy()
    for arm in (0, 1):
        own = test[t[test] == arm]
        shuffled[own] = rng.permutation(y[own])
    again = fit(shuffled, t, x, groups, 0)
    assert again.outcomes[:, :, test] == pytest.approx(found.outcomes[:, :, test], abs=1e-9)
    rest = np.setdiff1d(np.arange(len(y)), test)
    assert np.abs(again.outcomes[:, 0, rest] - found.outcomes[:, 0, rest]).max() > 1e-3


def test_the_treatment_of_a_row_does_not_enter_its_propensity(table, found):
    _, t, x, _ = table
    assert ((found.chances > 0) & (found.chances < 1)).all()
    assert np.corrcoef(found.chances, x[:, 0])[0, 1] > 0.8
    assert np.abs(np.corrcoef(found.residual, t - found.chances)[0, 1]) == pytest.approx(1)


def test_average_and_error_by_hand(table, found):
    y, t, _, groups = table
    standard = (y - y.mean()) / y.std()
    both = np.column_stack([1 - found.chances, found.chances])
    scores = dr_scores(standard, t, both, found.means)[0]
    assert found.average == pytest.approx(scores.mean())
    assert found.error == pytest.approx(standard_error(scores - scores.mean(), groups))
    expected = (both * found.means).sum(axis=1)
    assert found.left == pytest.approx(standard - expected)
    low, high = np.quantile(scores, [0.005, 0.995])
    assert found.scores == pytest.approx(scores.clip(low, high))


def test_the_mixture_is_of_the_regressions(found):
    assert found.shares.sum(axis=1) == pytest.approx([1, 1])
    assert (found.shares >= 0).all()
    for arm in (0, 1):
        mixed = np.tensordot(found.shares[arm], found.outcomes[arm], 1)
        assert found.means[:, arm] == pytest.approx(mixed)
    mixed = found.effects[:, NAMES.index("t_mixed")]
    assert mixed == pytest.approx(found.means[:, 1] - found.means[:, 0])


def test_stacks_are_the_best_mixtures_of_the_candidates_before_them(found):
    first = NAMES.index("constant")
    differences = found.effects[:, :first] - found.levels[:first]
    rng = np.random.default_rng(4)
    for place, (target, factor) in enumerate(
        [
            (found.scores - found.scores.mean(), np.ones(len(found.y))),
            (found.left - found.residual * found.average, found.residual),
        ]
    ):
        weights = found.weights[place, :first]
        assert (weights >= 0).all()
        assert weights.sum() <= 1 + 1e-9
        own = ((target - factor * (differences @ weights)) ** 2).mean()
        for _ in range(300):
            other = rng.dirichlet(np.full(first, 0.2)) * rng.random()
            near = 0.9 * weights + 0.1 * other
            for one in (other, near):
                assert own <= ((target - factor * (differences @ one)) ** 2).mean() + 1e-9
        stack = found.average + differences @ weights
        assert found.effects[:, first + 1 + place] == pytest.approx(stack)
    assert (found.effects[:, first] == found.average).all()


def test_known_propensities_are_used(table):
    y, t, x, groups = table
    known = np.linspace(0.2, 0.8, len(y))
    assert fit(y, t, x, groups, 0, known).chances == pytest.approx(known)


def test_new_rows_get_the_mean_of_the_models_of_the_folds(table, found):
    new = table[2][:7]
    predicted = found.predict(new)
    seen = found.encoders.see(new)
    parts = []
    first = []
    for fold in found.folds:
        first.append(fold.outcomes(seen["outcome"]))
        e = fold.chances(seen["chance"])
        parts.append(fold.effects(first[-1], e, seen, found.shares))
    fitted = NAMES.index("constant")
    assert predicted.effects[:, :fitted] == pytest.approx(np.mean(parts, axis=0))
    assert predicted.deviations[:, :fitted] == pytest.approx(np.std(parts, axis=0))
    assert (predicted.effects[:, fitted] == found.average).all()
    assert ((predicted.chances > 0) & (predicted.chances < 1)).all()
    assert predicted.outcomes == pytest.approx(np.mean(first, axis=0))


def test_models_are_given_the_columns_of_their_roles():
    """An instrument that sways the treatment, a precision variable, a column of no use."""
    y, t, x, groups = _table(400, 5, 7)
    roles = ["confounder", "modifier", "instrument", "precision", "neither"]
    found = fit(y, t, x, groups, 0, roles=roles)
    rng = np.random.default_rng(0)

    def changes(column):
        other = x[:20].copy()
        other[:, column] = rng.permutation(other[:, column])
        before = found.predict(x[:20])
        after = found.predict(other)
        second = [k for k, name in enumerate(NAMES) if name.startswith(("dr_", "r_"))]
        second = [k for k in second if not NAMES[k].endswith("stack")]
        return (
            bool(np.abs(after.outcomes - before.outcomes).max() > 1e-9),
            bool(np.abs(after.chances - before.chances).max() > 1e-9),
            bool(np.abs(after.effects - before.effects)[:, second].max() > 1e-9),
        )

    assert [changes(column) for column in range(5)] == [
        (True, True, True),
        (True, False, True),
        (False, False, False),
        (True, False, False),
        (False, False, False),
    ]
    nothing = fit(y, t, x, groups, 0, roles=["instrument"] * 5)
    assert np.isfinite(nothing.predict(x[:3]).effects).all()
    assert nothing.chances == pytest.approx(t.mean(), abs=0.05)


@pytest.mark.parametrize("events", [False, True])
def test_candidates_find_an_effect_that_is_plain(events):
    """Of 4,000 rows, every learner that can see the effect is nearer to it than the average is."""
    y, t, x, groups = _table(4000, 3, 5, events)
    rng = np.random.default_rng(6)
    new = rng.normal(size=(300, 3))
    truth = 1 + new[:, 1]
    if events:
        truth = 1 / (1 + np.exp(-new[:, 0] - 1 - new[:, 1])) - 1 / (1 + np.exp(-new[:, 0]))
    effects = y.std() * fit(y, t, x, groups, 0).predict(new).effects
    errors = pd.Series(np.sqrt(((effects - truth[:, None]) ** 2).mean(axis=0)), index=NAMES)
    assert (errors.drop("constant") < errors["constant"]).all()
    assert errors["r_stack"] < 0.5 * errors["constant"]


def test_an_arm_with_one_outcome_and_a_column_of_one_value():
    y, t, x, groups = _table(120, 2)
    y = np.where(t == 1, 2.0, y)
    found = fit(y, t, np.column_stack([x, np.ones(120)]), groups, 0)
    assert np.isfinite(found.effects).all()
    assert found.means[:, 1] == pytest.approx((2 - y.mean()) / y.std())
    same = fit(y, t, np.ones((120, 1)), groups, 0)
    assert np.isfinite(same.effects).all()


def test_the_same_seed_gives_the_same_candidates(table, found):
    assert np.array_equal(fit(*table, 0).effects, found.effects)


def test_too_few_rows_of_an_arm():
    y, t, x, groups = _table(30)
    t = (np.arange(30) == 3).astype(int)
    with pytest.raises(ValueError, match="all 1 rows of the treated fall into one of 3 folds"):
        fit(y, t, x, groups, 0)
