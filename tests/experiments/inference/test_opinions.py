"""The forum study in small: its table against the world's own truth, and its summary counts right."""

import numpy as np
import pytest

from causal_lib.experiments.inference import opinions as study
from causal_lib.worlds import forum

SMALL = {"n_users": 300, "n_topics": 24, "days": 40}


@pytest.fixture(scope="module")
def table():
    return study.errors(2, **SMALL)


def test_errors_are_those_of_the_estimates_in_each_world(table):
    assert len(table) == 3 * 2 * 17
    world = forum(**SMALL, seed=1)
    log = world.daily.merge(world.topics, on="topic")
    since = log["day"] >= world.change_day
    favoured = log["favoured"] == 1
    before, after = (log.loc[favoured & when, "sentiment"].mean() for when in (~since, since))
    others = log.loc[~favoured & since, "sentiment"].mean()
    found = table[(table["kind"] == "by interest") & (table["world"] == 1)].set_index("method")
    assert found.loc["before against after", "error"] == pytest.approx(
        after - before - world.effect
    )
    assert found.loc["favoured against others", "error"] == pytest.approx(after - others - world.effect)  # fmt: skip
    naive = ["before against after", "favoured against others"]
    assert found.loc[naive, "covers"].isna().all()
    assert found.drop(index=naive)["covers"].notna().all()


def test_the_past_is_that_of_the_same_topic():
    rows = forum(**SMALL).daily
    late, names = study.with_past(rows, ["mood", "news"])
    assert late["day"].min() == 3
    assert names[0] == "mood"
    assert len(names) == 8
    one = late[(late["topic"] == 5) & (late["day"] == 20)].iloc[0]
    then = rows[(rows["topic"] == 5) & (rows["day"] == 18)].iloc[0]
    assert one["news 2 days before"] == then["news"]
    assert one["mood 2 days before"] == then["mood"]


def test_the_summary_counts(table):
    found = study.summary(table).set_index(["kind", "method"])
    for names, part in table.groupby(["kind", "method"]):
        row = found.loc[names]
        assert row["mean error"] == pytest.approx(part["error"].mean())
        assert row["mean absolute error"] == pytest.approx(np.abs(part["error"]).mean())
        if part["covers"].notna().all():
            assert row["coverage"] == pytest.approx(part["covers"].astype(float).mean())
            assert row["coverage low"] <= row["coverage"] <= row["coverage high"]


def test_the_predictions_are_decided_by_the_claims(table):
    claims, predictions = study._judged(table)
    assert len(predictions) == 12
    held = {claim.name: claim.held for claim in claims}
    name = "synthetic control, by interest: coverage"
    seventh = predictions[6]
    assert seventh["sentence"].startswith("Synthetic control's intervals cover the truth there")
    assert (seventh["outcome"] == "held") == held[name]
