"""Families of random models: the truth is the graph they were drawn from, and held-out families
stay apart.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from causal_lib.worlds.random_models import NOISES
from causal_lib.worlds.random_tables import (
    FAMILIES,
    HELD_OUT,
    TROUBLES,
    UNSEEN_NOISES,
    draw,
    some_knowledge,
)


@pytest.mark.parametrize("family", [*FAMILIES, *HELD_OUT])
def test_same_seed_same_table_and_what_its_variables_are(family):
    one, other = (draw(family, [1, 2], d=8, n=200) for _ in range(2))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert one.graph == other.graph
    assert one.graph.kind == "DAG"
    assert not one.frame.isna().any().any()
    assert all(len(set(column)) > 1 for _, column in one.frame.items())
    assert list(one.frame.columns) == list(one.graph.names)
    assert not draw(family, [1, 3], d=8, n=200).frame.equals(one.frame)


def test_held_out_families_use_a_mechanism_or_a_noise_that_no_other_has():
    mechanisms = {name for family in FAMILIES.values() for name in family.mechanisms}
    noises = {name for family in FAMILIES.values() for name in family.noises}
    for name, family in HELD_OUT.items():
        assert not set(family.mechanisms) & mechanisms or not set(family.noises) & noises, name
    assert not noises & set(UNSEEN_NOISES)
    assert not set(NOISES) & set(UNSEEN_NOISES)


@pytest.mark.parametrize(
    "family", ["additive nonlinear", "heteroscedastic", "quadratic", "tanh-GP", "mixed"]
)
def test_parents_tell_all_that_the_variables_before_tell(family):
    """An oracle without any structure learning: boosted trees on the parents against trees on all
    predecessors.
    """
    fits = []
    for seed in range(4):
        sample = draw(family, [4, seed], d=6, n=1500, degree=1.0)
        frame = sample.frame.apply(
            lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c
        ).astype(float)
        for place, name in enumerate(sample.order):
            parents = sorted(sample.graph.parents(name))
            if parents and len(parents) < place:
                models = [
                    HistGradientBoostingRegressor(max_iter=40, random_state=0) for _ in range(2)
                ]
                columns = parents, list(sample.order[:place])
                shares = [
                    m.fit(frame[c][:1000], frame[name][:1000])
                    for m, c in zip(models, columns, strict=True)
                ]
                fits.append(
                    [
                        m.score(frame[c][1000:], frame[name][1000:])
                        for m, c in zip(shares, columns, strict=True)
                    ]
                )
    of_parents, of_all = np.mean(fits, axis=0)
    assert len(fits) >= 4
    assert of_parents > 0.15
    assert of_all < of_parents + 0.02


def test_roots_of_a_model_without_trouble_are_independent():
    p_small = []
    for seed in range(30):
        sample = draw("linear non-Gaussian", [5, seed], d=6, n=500, degree=0.5)
        roots = [name for name in sample.graph.names if not sample.graph.parents(name)]
        correlation = sample.frame[roots].corr().to_numpy()[np.triu_indices(len(roots), 1)]
        p_small += (np.abs(correlation) > 1.96 / np.sqrt(500)).tolist()
    assert np.mean(p_small) < 0.12


def test_hidden_causes_make_dependence_that_no_edge_explains():
    shares = []
    for troubles in ((), ("hidden causes",)):
        found = []
        for seed in range(15):
            sample = draw("linear Gaussian", [6, seed], d=8, n=1000, degree=0.5, troubles=troubles)
            roots = [name for name in sample.graph.names if not sample.graph.parents(name)]
            correlation = sample.frame[roots].corr().to_numpy()[np.triu_indices(len(roots), 1)]
            found += (np.abs(correlation) > 0.15).tolist()
        shares.append(np.mean(found))
    assert shares[0] < 0.02 < 0.03 < shares[1]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("family", ["additive nonlinear", "mixed", "recommender", "tables"])
def test_trouble_keeps_rows_and_columns_whole(trouble, family):
    sample = draw(family, [8, 1], d=6, n=300, troubles=(trouble,))
    assert sample.frame.shape[0] == 300
    numbers = sample.frame.select_dtypes("number").to_numpy(dtype=float)
    assert np.isfinite(numbers[~np.isnan(numbers)]).all()
    assert sample.frame.isna().any(axis=None) == (trouble == "missing values")
    assert set(sample.order) == set(sample.frame.columns)


def test_some_knowledge_is_true():
    told = 0
    for seed in range(40):
        sample = draw("mixed", [9, seed], d=7, n=100)
        knowledge = some_knowledge(sample, np.random.default_rng(seed))
        assert not knowledge.violations(sample.graph)
        told += len(knowledge.tiers) > 1
    assert told > 10


def test_unknown_families_and_troubles_are_named():
    with pytest.raises(
        ValueError, match=r"unknown family 'cubic'; known: linear Gaussian, .*, unseen noises"
    ):
        draw("cubic", 0)
    with pytest.raises(ValueError, match=r"unknown trouble 'noise'; known: hidden causes, "):
        draw("mixed", 0, troubles=("noise",))


STAYS = {
    "linear Gaussian": -0.23567407351889075,
    "linear non-Gaussian": 0.9009461453116424,
    "additive nonlinear": -0.22985461055228748,
    "steep": -0.6962847121624982,
    "multivariate nonlinear": 0.08174494063781196,
    "post-nonlinear": -0.21971699616884183,
    "heteroscedastic": -0.056002506337894595,
    "discrete": 55.56391173277793,
    "mixed": 47.822339183579615,
    "tables": 34.95155974329491,
    "recommender": 25.89736523660005,
    "quadratic": 0.15382611639807867,
    "interactions": 0.12212238371955256,
    "tanh-GP": 0.1252925044794784,
    "unseen noises": -0.1021408011797825,
}
SPOILT = {
    "hidden causes": 38.34740044823524,
    "measurement noise": 34.125197092492364,
    "coarse values": 36.65655999501796,
    "selection": 46.06709015958774,
    "odd scales": 32.28966543399704,
    "outliers": 34.305112638357954,
    "missing values": 30.617977223401713,
}


@pytest.mark.parametrize("family", [*FAMILIES, *HELD_OUT])
def test_tables_of_a_family_stay_the_same(family, fingerprint):
    """Computed once: what changes a number changes what the published weights were trained and
    tested on.
    """
    tables = [draw(family, [7, seed], d=6, n=80).frame for seed in range(6)]
    assert fingerprint(*tables) == pytest.approx(STAYS[family], rel=1e-8)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_spoilt_tables_stay_the_same(trouble, fingerprint):
    """Computed once, as above."""
    tables = [draw("mixed", [8, seed], d=6, n=80, troubles=(trouble,)).frame for seed in range(6)]
    assert fingerprint(*tables) == pytest.approx(SPOILT[trouble], rel=1e-8)


def test_sizes_that_are_not_given_are_drawn_in_their_ranges():
    samples = [draw("linear Gaussian", [31, seed]) for seed in range(60)]
    d, n = np.array([sample.frame.shape[::-1] for sample in samples]).T
    assert 3 <= d.min() < 6 < 35 < d.max() <= 50
    assert 150 <= n.min() < 250 < 2000 < np.sort(n)[-5]
    assert samples[0].family == "linear Gaussian"
