import numpy as np
import pytest

from causal_lib.experiments.study import logs
from causal_lib.experiments.study.logs import KINDS, known_log, refused_logs
from causal_lib.studies import Roles


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_has_the_effect_that_it_says(kind):
    log = known_log(kind, seed=0, n=20_000)
    assert Roles.from_dict(log.roles).columns
    # by the chance that showed it, a row's weighted outcomes differ by its effect on average
    t = log.frame["shown"]
    chance = log.frame["chance"]
    score = log.frame["bought"] * (t - chance) / (chance * (1 - chance))
    error = score.std() / np.sqrt(len(score))
    assert abs(score.mean() - log.effect.mean()) < 4 * error


def test_there_are_twenty_logs_to_refuse():
    logs = refused_logs(n=500)
    assert len(logs) == 20
    for frame, roles, _ in logs.values():
        assert set(Roles.from_dict(roles).columns) <= set(frame.columns)


def test_without_any_rule_the_claims_about_rules_fail_and_nothing_else_does(monkeypatch):
    def judged(kind, seed, n):
        return {
            "kind": kind,
            "seed": seed,
            "verdict": "supported",
            "truth": 0.1,
            "covered": True,
            "width": 0.1,
            "told": True,
            "recommended": False,
            "true_gain": None,
            "gain_covered": None,
        }

    monkeypatch.setattr(logs, "_judged", judged)
    monkeypatch.setattr(logs, "_graded", lambda name, n: {"log": name, "held": True})
    found = logs.logs(seeds=2, n_jobs=1)
    held = {claim["claim"]: claim["held"] for claim in found["claims"]}
    assert not held["true gain of recommended rules over today"]
    assert not held["its interval covers"]
    assert held["no effect: rules recommended"]
    assert held["intervals that cover where supported"]
