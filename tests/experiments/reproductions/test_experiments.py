"""The experiments in small: their data are what the sources state, their scores those of a second
computation.
"""

import tomllib

import numpy as np
import pandas as pd
import pytest

from causal_lib.data.sources import load
from causal_lib.experiments.reproductions import bandits, effects, graphs, ledger, runner
from causal_lib.graph import CausalGraph


def test_unknown_experiments_are_refused():
    with pytest.raises(
        ValueError, match="unknown experiment 'nothing'; known: open-bandit-synthetic"
    ):
        runner.reproduce(["nothing"])


def test_every_experiment_can_be_imported_and_is_in_the_ledger():
    assert all(callable(runner.experiment(name)) for name in runner.EXPERIMENTS)
    assert {entry.experiment for entry in ledger.read()} == set(runner.EXPERIMENTS)


def test_the_ledger_holds_the_verdicts_that_its_numbers_give():
    stored = tomllib.loads(ledger.LEDGER.read_text(encoding="utf-8"))["entry"]
    assert [one["verdict"] for one in stored] == [entry.verdict for entry in ledger.read()]


def test_one_run_of_each_bandit_gives_an_error_for_every_estimator(monkeypatch):
    for run in (bandits._run_synthetic, bandits._run_digits):
        found = run(3)
        assert list(found) == ["DM", "IPW", "SNIPW", "DR", "SNDR", "Switch-DR", "DRos"]
        assert all(np.isfinite(value) and value >= 0 for value in found.values())
        assert found["DR"] < found["DM"]
        assert run(3) == found


@pytest.mark.parametrize("setup", [1, 2, 3, 4])
def test_setups_are_those_of_causalml(setup):
    """Moments of 200,000 rows against the package's own generator."""
    from causalml.dataset import synthetic_data

    n = 200_000
    x, treatment, y, effect = effects.setup_of(setup, n, 6, 0.5, np.random.default_rng(0))
    np.random.seed(1)  # noqa: NPY002 - the package draws from the global state
    y_peer, x_peer, t_peer, effect_peer, _, _ = synthetic_data(mode=setup, n=n, p=6, sigma=0.5)

    def moments(x, t, y, effect):
        wide = np.column_stack([x, t, y, effect])
        return np.concatenate(
            [wide.mean(axis=0), np.cov(wide.T)[np.triu_indices(9)], [((y - y.mean()) ** 3).mean()]]
        )

    ours = moments(x, treatment, y, effect)
    peer = moments(x_peer, t_peer, y_peer, effect_peer)
    blocks = np.array(
        [moments(*(part[k::40] for part in (x, treatment, y, effect))) for k in range(40)]
    )
    error = blocks.std(axis=0, ddof=1) / np.sqrt(40) * np.sqrt(2)
    assert (np.abs(ours - peer) <= 4.5 * error + 1e-9).all()


def test_lalonde_is_exact(real):
    real("nsw", "cps")
    found = {entry.quantity: entry for entry in effects.lalonde()}
    assert found["experiment"].value == pytest.approx(1794.34, abs=0.01)
    assert found["CPS, naive"].verdict == "reproduced"


def test_what_estimators_recover_of_lalonde(real):
    """Verdicts on all rows; regression on the comparable ones against a computation with other
    tools.
    """
    import statsmodels.formula.api as smf

    real("nsw", "cps")
    table = effects.lalonde_recovered().set_index(["target", "rows", "estimator"])
    assert not table.isna().any(axis=None)
    found = table.loc["all"]
    judged = found.loc["all", "verdict"].drop("difference")
    assert (judged == "extrapolated").all()
    frame = pd.concat([load("nsw").query("treat == 1"), load("cps")])
    frame = frame.assign(
        u74=1 * (frame["re74"] == 0), u75=1 * (frame["re75"] == 0), s=frame["re74"] / 1000
    )
    terms = "age + educ + black + hisp + marr + nodegree + s + I(re75 / 1000) + u74 + u75"
    bent = f"treat ~ {terms} + I(age**2 / 100) + I(age**3 / 1000) + I(educ**2 / 10) + I(educ * s)"
    logit = smf.logit(bent, frame).fit(disp=False, maxiter=200)
    trial = load("nsw")
    trial = trial.assign(
        u74=1 * (trial["re74"] == 0), u75=1 * (trial["re75"] == 0), s=trial["re74"] / 1000
    )
    like = trial[logit.predict(trial).between(0.1, 0.9)].groupby("treat")["re78"].mean()
    own = table.loc["treated"].xs("experiment", level="estimator")["value"]
    assert own["all"] == pytest.approx(1794.34, abs=0.01)
    assert own["comparable"] == pytest.approx(like[1] - like[0], rel=1e-9)
    share = logit.predict(frame)
    frame = frame[(share >= 0.1) & (share <= 0.9)]
    assert len(frame) == found.loc[("comparable", "regression"), "n"]
    assert frame["treat"].sum() == found.loc[("comparable", "regression"), "treated"]
    arms = [
        smf.ols(f"re78 ~ {terms}", frame[frame["treat"] == arm]).fit().predict(frame)
        for arm in (0, 1)
    ]
    assert found.loc[("comparable", "regression"), "value"] == pytest.approx(
        (arms[1] - arms[0]).mean(), rel=1e-6
    )


def test_a_class_of_graphs_scores_between_its_best_and_worst_member():
    truth = CausalGraph.from_edges("abc", ["a -> b", "b -> c"])
    assert graphs._to_dag(truth, truth) == 0
    assert 0 < graphs._to_dag(truth.cpdag(), truth) < 2
    rows = pd.DataFrame(graphs._distances(6, 0, tuple(graphs._SIMULATED)))
    assert len(rows) == 2 * len(graphs._SIMULATED)
    given = rows.drop_duplicates("scale").set_index("scale")["varsortability"]
    assert given["raw"] > given["standardised"]
