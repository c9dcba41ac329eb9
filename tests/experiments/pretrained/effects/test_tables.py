"""Random tables with known effects: the truths are consistent, and nothing held out is trained on."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from causal_lib.experiments.pretrained.effects.tables import (
    COLUMNS,
    FAMILIES,
    FUNCTIONS,
    HELD_OUT,
    NOISES,
    UNSEEN_COLUMNS,
    UNSEEN_FUNCTIONS,
    UNSEEN_NOISES,
    draw,
)
from causal_lib.inference.nuisances import standard_error

EVERY = (*FAMILIES, *HELD_OUT)


@pytest.fixture(scope="module")
def drawn():
    """Two tables of 4,000 rows of every family."""
    return [draw(family, [3, k], n=4000, p=5, queries=50) for family in EVERY for k in range(2)]


def _expected(table):
    """μ of the arm that each row had."""
    n = table.rows
    return table.control[:n] + table.t * table.effect[:n]


def _z(part, groups):
    """The mean over its standard error; rows of a cluster go together."""
    return part.mean() / standard_error(part - part.mean(), groups)


def test_outcomes_scatter_about_the_mean_of_their_arm(drawn):
    z = []
    for table in drawn:
        left = table.y - _expected(table)
        z.append(_z(left, table.groups))
        if np.ptp(_expected(table)) > 0:
            z.append(_z((_expected(table) - _expected(table).mean()) * left, table.groups))
    z = np.array(z)
    assert np.abs(z).max() < 4.5
    assert (np.abs(z) < 1.96).mean() == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / len(z)))


def test_treatments_are_as_likely_as_the_propensity_says(drawn):
    z = []
    for table in drawn:
        e = table.propensity[: table.rows]
        assert e.min() >= 0.01
        assert e.max() <= 0.99
        for of in (np.ones(table.rows), e - e.mean(), table.control[: table.rows]):
            part = (table.t - e) * of
            if part.std() > 0:
                z.append(part.mean() / (part.std() / np.sqrt(table.rows)))
    assert np.abs(z).max() < 4.5


def test_the_mean_effect_is_what_weighting_by_true_propensities_gives(drawn):
    z = []
    for table in drawn:
        e = table.propensity[: table.rows]
        # outcomes less μ_0 vary less, and the formula stays unbiased
        y = table.y - table.control[: table.rows]
        part = table.t * y / e - (1 - table.t) * y / (1 - e) - table.effect[: table.rows]
        z.append(_z(part, table.groups))
    assert np.abs(z).max() < 4.5


def test_all_kinds_of_outcome_occur_and_keep_their_range(drawn):
    assert {table.outcome for table in drawn} >= {"numeric", "event"}
    for table in drawn:
        if table.outcome == "event":
            assert set(np.unique(table.y)) == {0, 1}
            for arm in (table.control, table.control + table.effect):
                assert arm.min() > 0
                assert arm.max() < 1
        if table.outcome == "revenue":
            assert table.y.min() == 0
            assert (table.y == 0).mean() > 0.2


def test_a_table_is_large_enough_to_compare_its_arms():
    for seed in range(40):
        table = draw(EVERY[seed % len(EVERY)], [4, seed], n=150)
        assert min((table.t == arm).sum() for arm in (0, 1)) >= 12
        if table.outcome != "numeric":
            assert min((table.y[table.t == arm] > 0).sum() for arm in (0, 1)) >= 12


def test_the_same_seed_gives_the_same_table_and_another_another():
    one = draw("trees", [5, 1])
    two = draw("trees", [5, 1])
    for name in ("x", "t", "y", "propensity", "control", "effect"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.x[:100, 0], draw("trees", [5, 2]).x[:100, 0])


@pytest.fixture(scope="module")
def of_graphs():
    """Tables whose roles are known in full."""
    many = (draw(EVERY[k % len(EVERY)], [8, k], n=2000, p=6, queries=1) for k in range(150))
    return [table for table in many if "unknown" not in table.roles]


def test_columns_of_a_graph_say_what_their_roles_allow(of_graphs):
    """Nothing but its own columns explains the propensity, the outcome without treatment, and the
    effect: each is the same in rows that are alike in these, up to what trees of them explain.
    """
    found = {name: [] for name in ("propensity", "control", "effect")}
    for table in of_graphs:
        for name, allowed in {
            "propensity": ("confounder", "instrument"),
            "control": ("confounder", "modifier", "precision"),
            "effect": ("confounder", "modifier"),
        }.items():
            own = np.isin(table.roles, allowed)
            value = getattr(table, name)
            if own.all() or np.ptp(value) < 1e-9:
                continue
            if name == "propensity":
                value = np.log(value / (1 - value))
            if not own.any():
                found[name].append(np.ptp(value) / abs(value).max())
                continue
            near = KNeighborsRegressor(1).fit(table.x[:1000, own], value[:1000])
            all_of = StandardScaler().fit_transform(table.x)
            other = KNeighborsRegressor(1).fit(all_of[:1000], value[:1000])
            left = np.abs(value[1000:] - near.predict(table.x[1000:, own])).mean()
            wrong = np.abs(value[1000:] - other.predict(all_of[1000:])).mean()
            found[name].append(left / max(wrong, 1e-12))
    for name, ratios in found.items():
        assert len(ratios) > 8, name
        assert np.median(ratios) < 0.9, name
    assert {role for table in of_graphs for role in table.roles} >= {
        "confounder", "instrument", "modifier", "precision", "neither",
    }  # fmt: skip


def test_users_have_several_rows_that_go_together():
    tables = [draw("linear", [9, k], n=2000, p=3) for k in range(40)]
    clustered = [table for table in tables if table.groups.max() + 1 < 1600]
    assert 3 <= len(clustered) <= 25
    kinds = set()
    for table in clustered:
        assert set(table.groups) == set(range(table.groups.max() + 1))
        x = table.x[: table.rows]
        same = [x[table.groups == user] for user in range(20)]
        kinds |= {all(np.ptp(part[:, j]) == 0 for part in same) for j in range(x.shape[1])}
    assert kinds == {True, False}  # columns of the user, and of the row
    assert all(len(table.groups) == table.rows for table in tables)


def test_fresh_rows_are_of_the_same_population():
    table = draw("linear", [6, 0], n=4000, p=4, queries=4000)
    for values in (*table.x.T, table.control, table.effect, table.propensity):
        first = values[:4000]
        other = values[4000:]
        error = np.sqrt((first.var() + other.var()) / 4000)
        assert abs(first.mean() - other.mean()) <= 4.5 * error


def test_nothing_held_out_is_trained_on():
    of_training = {
        part: {name for family in FAMILIES.values() for name in getattr(family, part)}
        for part in ("effect", "baseline", "columns", "noises")
    }
    assert of_training["effect"] | of_training["baseline"] == set(FUNCTIONS)
    assert of_training["columns"] == set(COLUMNS)
    assert of_training["noises"] == set(NOISES)
    assert not set(FUNCTIONS) & set(UNSEEN_FUNCTIONS)
    assert not set(COLUMNS) & set(UNSEEN_COLUMNS)
    assert not set(NOISES) & set(UNSEEN_NOISES)
    assert len(HELD_OUT) >= 6
    for family in HELD_OUT.values():
        new = (
            set(family.effect) <= set(UNSEEN_FUNCTIONS),
            set(family.columns) <= set(UNSEEN_COLUMNS),
            set(family.noises) <= set(UNSEEN_NOISES),
        )
        assert sum(new) == 1


@pytest.mark.parametrize("name", [*NOISES, *UNSEEN_NOISES])
def test_noises_have_mean_0_and_variance_1(name):
    values = (NOISES | UNSEEN_NOISES)[name](np.random.default_rng(1), 400_000)
    square = values**2
    assert abs(values.mean()) < 5 / np.sqrt(len(values))
    assert abs(square.mean() - 1) < 5 * square.std() / np.sqrt(len(values))


@pytest.mark.parametrize("name", [*FUNCTIONS, *UNSEEN_FUNCTIONS])
def test_a_function_is_a_function_of_its_row(name):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(50, 6))
    function = (FUNCTIONS | UNSEEN_FUNCTIONS)[name](rng, 6)
    whole = function(z)
    order = rng.permutation(50)
    assert function(z[order]) == pytest.approx(whole[order])
    assert np.isfinite(whole).all()


def test_a_corner_by_hand():
    z = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    for seed in range(20):
        function = UNSEEN_FUNCTIONS["corner"](np.random.default_rng(seed), 3)
        signs = np.random.default_rng(seed)
        used = signs.permutation(3)[: int(signs.integers(2, 4))]
        turned = signs.choice([-1, 1], size=len(used))
        assert function(z).tolist() == [float((turned == 1).all()), float((turned == -1).all())]


def test_events_go_by_the_log_odds():
    """The rate of events of one propensity class is that of a binomial with the table's chances."""
    table = next(
        t for k in range(60) if (t := draw("linear", [7, k], n=3000, p=3)).outcome == "event"
    )
    chance = _expected(table)
    low, high = binom.interval(0.9999, table.rows, chance.mean())
    assert low <= table.y.sum() <= high
    odds = np.log(table.control / (1 - table.control))
    assert expit(odds) == pytest.approx(table.control)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no such", 0), "unknown family 'no such'; known: linear, additive"),
        (("linear", 0, 20), "20 rows are too few for family 'linear': none of 50 tables has 12"),
    ],
)
def test_errors(arguments, message):
    family, seed, *n = arguments
    with pytest.raises(ValueError, match=message):
        draw(family, seed, n=n[0] if n else None)
