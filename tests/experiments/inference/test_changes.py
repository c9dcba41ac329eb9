"""The study of incidents in small: weeks, their truth, and its table."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import changes as study


def test_weeks_share_half_of_their_users_and_differ_where_they_are_to():
    before, after = study.weeks({"stock": 1.3}, 300, np.random.default_rng(0))
    assert len(before) == len(after) == 300 * study.VISITS
    both = np.intersect1d(before["user"], after["user"])
    assert len(both) == 150
    people = [
        frame.groupby("user")[["age", "activity"]].first().loc[both] for frame in (before, after)
    ]
    pd.testing.assert_frame_equal(*people)
    assert before["stock"].mean() - after["stock"].mean() > 0.1
    assert before["sold"].corr(before["stock"]) > 0
    assert not before.loc[before["stock"] == 0, "sold"].any()


def test_the_truth_is_the_mean_of_many_weeks():
    changed = {"prices": 1.0, "taste": -1.0}
    draws = study.noise(20_000, np.random.default_rng(2))
    shares = study.truth(changed, draws)
    assert set(shares) == set(study.MECHANISMS)
    for name in ("who came", "stock", "ranker"):
        assert shares[name] == pytest.approx(0, abs=1e-12)
    means = [study.week(draws, what)["sold"].mean() for what in ({}, changed)]
    # 60,000 draws of an event have a mean to 0.002
    assert sum(shares.values()) == pytest.approx(means[1] - means[0], abs=0.01)
    alone = study.truth({"prices": 1.0}, draws)["prices"]
    given = (
        study.week(draws, changed)["rate"].mean()
        - study.week(draws, {"taste": -1.0})["rate"].mean()
    )
    assert shares["prices"] == pytest.approx((alone + given) / 2)


def test_each_mechanism_moves_the_rate():
    draws = study.noise(5_000, np.random.default_rng(3))
    for name in study.MECHANISMS:
        for size in (-1, 1):
            share = study.truth({name: size}, draws)[name]
            assert 0.03 < abs(share) < 0.15


def test_the_table_has_a_row_for_each_incident_and_mechanism():
    table = study.incidents({"none": 1, "two": 1}, users=80)
    assert table.groupby("kind", sort=False).size().to_dict() == {"none": 5, "two": 5}
    assert table.groupby("kind")["changed"].sum().to_dict() == {"none": 0, "two": 2}
    assert table.groupby("kind")["first"].sum().to_dict() == {"none": 1, "two": 1}
    assert (table.loc[table["kind"] == "none", "truth"] == 0).all()
    held = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    assert (table["covers"] == held).all()
    pd.testing.assert_frame_equal(table, study.incidents({"none": 1, "two": 1}, users=80))
