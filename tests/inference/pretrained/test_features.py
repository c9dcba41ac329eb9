"""What the network sees: by hand, in no unit, and with the signs that are told."""

import numpy as np
import pytest

from causal_lib.inference.pretrained.candidates import NAMES, fit
from causal_lib.inference.pretrained.features import (
    CELLS,
    ODD,
    OF_CANDIDATES,
    OF_TABLE,
    ROWS,
    describe_rows,
    describe_table,
)


def _described(y, t, x, new):
    found = fit(y, t, x, np.arange(len(y)), 0)
    table = describe_table(found)
    return found, table, describe_rows(table, found, new)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    t = (rng.random(400) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    return x[:, 0] + (0.5 + x[:, 1]) * t + rng.normal(size=400), t, x, rng.normal(size=(30, 4))


@pytest.fixture(scope="module")
def described(data):
    return _described(*data)


def test_there_is_a_name_for_every_feature(described):
    _, table, rows = described
    assert table.candidates.shape == (len(NAMES), len(OF_CANDIDATES))
    assert table.table.shape == (len(OF_TABLE),)
    assert rows.cells.shape == (30, len(NAMES), len(CELLS))
    assert rows.rows.shape == (30, len(ROWS))
    for kind, odd in ODD.items():
        sizes = {"cells": len(CELLS), "rows": len(ROWS), "candidates": len(OF_CANDIDATES)}
        assert len(odd) == sizes[kind]


def test_features_by_hand(data, described):
    _, t, _, new = data
    found, table, rows = described
    effects, between, chances, outcomes = found.predict(new)
    assert rows.chances == pytest.approx(chances)
    assert rows.outcomes.transpose(1, 2, 0) == pytest.approx(outcomes)
    deviations = found.effects[:, : NAMES.index("constant")].std(axis=0)
    scale = np.median(deviations)
    assert table.scale == pytest.approx(scale)
    assert rows.cells[..., 0] == pytest.approx((effects - found.levels) / scale)
    assert rows.cells[..., 2] == pytest.approx(between / scale)
    offset = table.candidates[:, OF_CANDIDATES.index("offset")]
    # the effect is the average, the level and the difference together
    again = found.average + scale * (offset + rows.cells[..., 0])
    assert again == pytest.approx(effects)
    of = dict(zip(OF_TABLE, table.table, strict=True))
    assert of["log rows"] == pytest.approx(np.log(400))
    assert of["share treated"] == t.mean()
    assert of["log columns of the outcome"] == pytest.approx(np.log(5))
    assert of["share of columns of unknown role"] == 1
    assert of["log rows per cluster"] == 0
    e = found.chances
    pairs = e[t == 1][:, None] - e[t == 0]
    assert of["AUC of propensity"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    k = NAMES.index("r_linear")
    d = found.effects[:, k] - found.levels[k]
    loss = ((found.left - found.residual * (found.average + d)) ** 2).mean()
    base = ((found.left - found.residual * found.average) ** 2).mean()
    explained = 1 - loss / base
    stated = table.candidates[k, OF_CANDIDATES.index("R-loss explained")]
    assert stated == pytest.approx(np.sign(explained) * np.sqrt(abs(explained)))
    pull = found.residual * d
    slope = pull @ (found.left - found.residual * found.average) / (pull @ pull)
    assert table.candidates[k, OF_CANDIDATES.index("R-loss slope")] == pytest.approx(slope)
    best = table.candidates[:, OF_CANDIDATES.index("R-loss rank")].argmin()
    losses = (
        (found.left[:, None]
         - found.residual[:, None] * (found.average + found.effects - found.levels)) ** 2
    ).mean(axis=0)  # fmt: skip
    assert losses[best] == pytest.approx(losses.min())


@pytest.mark.parametrize(("unit", "shift"), [(1000.0, 0.0), (0.01, 77.0)])
def test_units_of_outcome_and_columns_do_not_matter(data, described, unit, shift):
    y, t, x, new = data
    factor = np.array([3.0, 0.2, 50.0, 1.0])
    _, table, rows = _described(unit * y + shift, t, factor * x - shift, factor * new - shift)
    assert table.candidates == pytest.approx(described[1].candidates, abs=1e-5)
    assert table.table == pytest.approx(described[1].table, abs=1e-6)
    assert table.scale == pytest.approx(described[1].scale)
    assert rows.cells == pytest.approx(described[2].cells, abs=1e-5)
    assert rows.rows == pytest.approx(described[2].rows, abs=1e-5)


def test_an_outcome_of_the_other_sign_has_the_features_of_other_sign(data, described):
    y, t, x, new = data
    _, table, rows = _described(-y, t, x, new)

    def signs(kind):
        return np.where(ODD[kind], -1, 1)

    # trees break ties by the sign, so that they may differ a little
    lines = [k for k, name in enumerate(NAMES) if name.endswith(("linear", "quadratic"))]
    before = described[2].cells[:, lines, 0]
    assert rows.cells[:, lines, 0] == pytest.approx(
        -before * described[1].scale / table.scale, abs=0.05
    )
    at = OF_CANDIDATES.index("offset")
    same = (signs("candidates") * described[1].candidates)[lines]
    assert np.corrcoef(table.candidates[lines].ravel(), same.ravel())[0, 1] > 0.99
    assert table.candidates[lines, at] == pytest.approx(same[:, at], abs=0.1)
    k = OF_TABLE.index("explained, control")
    assert table.table[k] == pytest.approx(described[1].table[k], abs=0.02)


def test_degenerate_tables_have_finite_features(data):
    y, t, x, new = data
    for outcome in (np.where(t == 1, 1.0, y), (y > 2.5).astype(float), t * 1.0):
        padded = [np.column_stack([part, 0 * part[:, 0]]) for part in (x, new)]
        _, table, rows = _described(outcome, t, *padded)
        for values in (table.candidates, table.table, rows.cells, rows.rows):
            assert np.isfinite(values).all()
