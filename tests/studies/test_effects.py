"""What a log knows of a row beside the columns that are adjusted for, and treatments drawn with
known chances: logs whose effect is 0.5.
"""

import numpy as np
import pandas as pd
import pytest

from causal_lib.studies import Roles, open_log, study

QUICK = {"draws": 2, "progress": False}
ROLES = {
    "treatment": "shown",
    "outcome": "spent",
    "unit": "user",
    "item": "item",
    "time": "time",
    "before": [["age"]],
}


def log_of(cause, n=3000, seed=0):
    """``cause``: 'item', 'day', 'weekday' or '': what moves both exposure and spending."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, 60, n)
    item = rng.integers(0, 50, n)
    pulls = {
        "item": rng.normal(size=50)[item],
        "day": day / 20 - 1.5,
        "weekday": 2.0 * (day % 7 >= 5),
        "": 0.0,
    }
    age = rng.normal(size=n)
    log = pd.DataFrame({"user": rng.integers(0, 600, n), "item": item, "age": age})
    seconds = pd.to_timedelta(rng.integers(0, 86_400, n), unit="s")
    log["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(day, unit="D") + seconds
    log["joined"] = log["time"].dt.floor("D")
    log["chance"] = 1 / (1 + np.exp(-(age + pulls[cause]) / 2))
    log["shown"] = (rng.random(n) < log["chance"]).astype(int)
    log["spent"] = 0.5 * log["shown"] + age + pulls[cause] + rng.normal(size=n)
    return log


@pytest.mark.parametrize("cause", ["item", "day", "weekday"])
def test_what_the_log_knows_and_the_roles_leave_out_is_told(cause):
    log = log_of(cause)
    found = study(log, ROLES, **QUICK)
    column = "item" if cause == "item" else "time"
    effect = found.steps["effect"].facts
    assert effect["low"] > 0.5  # by the roles as they are, it is wrong
    assert found.verdict == "weak"
    assert any(str(why).startswith(f"adjusted for {column} too") for why in found.reasons)
    mended = study(log, ROLES | {"before": [["age", column]]}, **QUICK)
    effect = mended.steps["effect"].facts
    assert effect["low"] < 0.5 < effect["high"]
    assert not any("adjusted for" in str(why) for why in mended.reasons)


def test_the_day_of_the_week_of_a_date_is_looked_at():
    roles = ROLES | {"time": "", "item": "", "before": [["age", "joined"]]}
    found = study(log_of("weekday"), roles, **QUICK)
    assert any("the day of the week of joined" in str(why) for why in found.reasons)


def test_what_moves_nothing_is_not_told():
    for seed in range(4):
        found = study(log_of("", seed=seed), ROLES, **QUICK)
        assert not any("adjusted for" in str(why) for why in found.reasons)


def test_a_propensity_alone_is_enough():
    roles = ROLES | {"before": [], "propensity": "chance", "time": "", "item": ""}
    effect = study(log_of("day"), roles, **QUICK).steps["effect"]
    assert effect.facts["low"] < 0.5 < effect.facts["high"] < effect.facts["naive"]


def test_a_treatment_said_to_be_random_that_a_column_moves_is_weak():
    roles = ROLES | {"randomised": True, "time": "", "item": ""}
    found = study(log_of(""), roles, **QUICK)
    assert found.verdict == "weak"
    assert any("age differs between the arms" in str(why) for why in found.reasons)
    log = log_of("")
    log["shown"] = np.random.default_rng(1).integers(0, 2, len(log))
    assert study(log, roles, **QUICK).verdict == "supported"


@pytest.mark.parametrize("by", ["item", "day"])
def test_a_treatment_that_item_or_day_decides_is_no_error(by):
    log = log_of("")
    codes = log["item"] if by == "item" else log["time"].dt.day_of_year
    log["shown"] = (codes % 2).astype(int)
    assert study(log, ROLES, **QUICK).steps["effect"].facts


def test_a_unit_that_is_always_treated_has_no_placebo_before():
    """Its earlier outcomes are those of treated rows."""
    log = log_of("")
    log["shown"] = log["user"] % 2
    log["spent"] += 2 * log["shown"]
    found = study(log, ROLES | {"randomised": True, "item": ""}, **QUICK)
    assert not found.steps["sensitivity"].tables["controls"]


def test_an_earlier_outcome_that_tells_of_a_hidden_cause_is_seen():
    log = log_of("")
    rng = np.random.default_rng(1)
    mood = rng.normal(size=600)[log["user"]]
    log["shown"] = (rng.random(len(log)) < 1 / (1 + np.exp(-1.5 * mood))).astype(int)
    log["spent"] = 0.5 * log["shown"] + 2 * mood + rng.normal(size=len(log))
    found = study(log, ROLES | {"item": ""}, **QUICK)
    assert any("previous spent" in str(why) for why in found.reasons)


def test_an_edge_of_the_time_is_one_of_day_and_hour():
    roles = ROLES | {"before": [["time"], ["age"]], "impossible": [["time", "age"]]}
    prepared = open_log(log_of(""), Roles.from_dict(roles))
    assert prepared.roles.impossible == (("time day", "age"), ("time hour", "age"))
