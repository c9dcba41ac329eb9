from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causal_lib.studies import LogError, Roles, open_log, prepare
from causal_lib.studies.audit import told
from tests.studies.conftest import ROLES, make_log


def notes(prepared):
    return " ".join(row["note"] for row in prepared.audit.tables["notes"])


def test_columns_become_what_they_mean(own_log, roles):
    found = prepare(own_log, roles)
    kinds = {name: read.kind for name, read in found.readings.items()}
    assert kinds == {"age": "number", "device": "category", "joined": "age", "cost": "number"}
    assert not found.frame.isna().any(axis=None)
    assert "age missing" in found.roles.before[0]
    joined = pd.Timestamp(own_log["joined"][0])
    moment = pd.Timestamp(own_log["time"][0]).tz_convert("UTC").tz_localize(None)
    assert found.frame["joined"][0] == (moment - joined) / pd.Timedelta(days=1)
    assert found.frame["age"].isna().sum() == 0
    filled = found.frame["age"][own_log["age"].isna()]
    assert (filled == own_log["age"].median()).all()


def test_exact_repeats_go_and_are_counted(own_log, roles):
    twice = pd.concat([own_log, own_log[:7]], ignore_index=True)
    found = prepare(twice, roles)
    assert len(found.frame) == len(own_log)
    assert "7 rows were exact duplicates" in notes(found)


def test_rare_levels_are_put_together_and_said(roles):
    log = make_log()
    log["device"] = [f"d{one}" if one < 9 else "phone" for one in range(len(log))]
    found = prepare(log, roles)
    assert set(found.grouped["device"]) == {"phone", "(other)"}
    assert found.frame["device"].nunique() == 10  # the effect is adjusted for each of them
    assert "9 rare levels (9 rows)" in notes(found)


def test_constants_and_identifiers_are_left_out_and_said(roles):
    log = make_log()
    log["cost"] = 1
    log["device"] = [f"row {one}" for one in range(len(log))]
    found = prepare(log, roles)
    assert "cost: constant" in notes(found)
    assert "device: 600 labels identify rows" in notes(found)
    assert found.roles.before == (("age", "age missing", "joined"),)


def test_rows_without_an_outcome_weaken_the_verdict(roles):
    log = make_log()
    log["bought"] = log["bought"].astype(float).mask(np.arange(600) < 30)
    found = prepare(log, roles)
    assert found.audit.verdict == "weak"
    assert "30 rows without bought" in found.audit.reasons[0]


def test_a_name_that_comes_later_weakens_the_verdict():
    log = make_log().rename(columns={"cost": "rating"})
    roles = Roles.from_dict(ROLES | {"before": [["age", "rating"]]})
    assert "'rating' suggests" in prepare(log, roles).audit.reasons[0]


def test_a_column_with_the_outcome_in_it_is_refused():
    log = make_log()
    log["income"] = log["bought"] * 9.5
    with pytest.raises(LogError, match=r"'income' tells 100.0% of the outcome 'bought'"):
        prepare(log, Roles.from_dict(ROLES | {"before": [["age", "income"]]}))


def test_a_column_that_exists_only_where_treated_is_refused():
    log = make_log()
    log["place"] = log["shown"] * (1 + np.arange(len(log)) % 5)
    with pytest.raises(LogError, match=r"'place' is 0 in every row with shown = 0"):
        prepare(log, Roles.from_dict(ROLES | {"before": [["age", "place"]]}))


def test_a_column_of_noise_tells_nothing():
    rng = np.random.default_rng(0)
    assert told(rng.random(2000), (rng.random(2000) < 0.1).astype(float)) < 0.1


def test_labels_of_arms(roles):
    log = make_log()
    log["shown"] = np.where(log["shown"] == 1, "yes", "no")
    chosen = Roles.from_dict(ROLES | {"control": "no", "treated": "yes"})
    assert (prepare(log, chosen).frame["shown"] == make_log()["shown"]).all()


def test_whole_users_are_drawn_from_a_long_log(own_log, roles):
    found = prepare(own_log, roles, rows=200)
    assert 150 < len(found.frame) <= 200
    assert (found.frame.groupby("user").size() == 4).all()
    assert "were drawn at random" in notes(found)


def test_nothing_of_the_log_is_changed(own_log, roles):
    before = own_log.copy(deep=True)
    prepare(own_log, roles)
    pd.testing.assert_frame_equal(own_log, before)


@pytest.mark.parametrize("kind", ["text", "floats with missing values"])
def test_positions_stand_in_the_order_of_numbers(kind, own_log, tmp_path):
    place = pd.Series(1 + np.arange(len(own_log)) % 12).astype(float)
    place[::50] = np.nan
    log = own_log.assign(place=place, bought=own_log["bought"] == 1)
    if kind == "text":
        log.assign(place=place.astype("Int64")).to_csv(tmp_path / "log.csv", index=False)
        log = tmp_path / "log.csv"
    rows = open_log(log, ROLES | {"position": "place"}).audit.tables["positions"]
    assert [row["position"] for row in rows] == [str(one) for one in range(1, 11)]
    for row in rows:
        own = own_log["bought"][place == float(row["position"])]
        assert (row["rows"], row["mean outcome"]) == (len(own), pytest.approx(own.mean()))


def test_positions_with_names_come_after_numbers(own_log):
    place = np.array(["10", "9", "top"])[np.arange(len(own_log)) % 3]
    found = open_log(own_log.assign(place=place), ROLES | {"position": "place"})
    assert [row["position"] for row in found.audit.tables["positions"]] == ["9", "10", "top"]


def test_an_outcome_that_only_treated_rows_have_is_weak(own_log, roles):
    found = prepare(own_log.assign(bought=own_log["bought"] * own_log["shown"]), roles)
    assert found.audit.verdict == "weak"
    assert "bought is 0 in every row with shown = 0" in str(found.audit.reasons[0])


def test_a_flag_of_a_few_units_is_no_trace_of_the_treatment(roles):
    log = make_log(2000, seed=4)
    users = log["user"].unique()
    vip = log["user"].isin(users[:3])
    shown = log["shown"].where(~vip, 1)  # by chance all rows of three users are treated
    found = prepare(
        log.assign(vip=vip.astype(int), shown=shown), replace(roles, before=(("vip",),))
    )
    assert found.roles.before == (("vip",),)


@pytest.mark.parametrize("name", ["border", "clicks_last_30d", "days_since_last_order", "过去点击"])
def test_names_of_what_was_known_before_are_not_doubted(name, own_log, roles):
    found = prepare(own_log.rename(columns={"cost": name}), replace(roles, before=((name,),)))
    assert found.audit.verdict == "supported"


def test_rows_that_seem_to_be_of_one_unit_are_told():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 5)
    log = pd.DataFrame({"age": rng.normal(40, 9, 200)[user]})
    log["shown"] = rng.integers(0, 2, 200)[user]
    log["bought"] = rng.integers(0, 2, 1000)
    roles = {"treatment": "shown", "outcome": "bought", "before": [["age"]]}
    found = prepare(log, Roles.from_dict(roles)).audit
    assert found.verdict == "weak"
    assert "200 groups of rows" in str(found.reasons[0])
    by_row = log.assign(shown=rng.integers(0, 2, 1000))
    assert prepare(by_row, Roles.from_dict(roles)).audit.verdict == "supported"
    few_columns = by_row.assign(age=by_row["age"].round(-1))
    assert prepare(few_columns, Roles.from_dict(roles)).audit.verdict == "supported"
