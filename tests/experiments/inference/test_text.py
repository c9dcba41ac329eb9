"""The study of text as confounder: its rule counts right, and its estimates find the effect."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import text

FILLERS = [f"filler{i}" for i in range(220)]


@pytest.fixture(scope="module")
def reviews():
    """Texts of thirty fillers each, some of them with words of praise or complaint."""
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(700):
        words = [*rng.choice(FILLERS, 30), *rng.choice(["love", "small", "returned", ""], 4)]
        rows.append(" ".join(rng.permutation(words)))
    columns = {"Rating": rng.integers(1, 6, 700), "Age": rng.integers(18, 80, 700)}
    columns["Positive Feedback Count"] = rng.integers(0, 9, 700)
    return pd.DataFrame({"Review Text": rows, **columns, "Department Name": rng.choice(["a", "b"], 700)})  # fmt: skip


def test_the_rule_counts_whole_words_of_praise_less_those_of_complaint():
    texts = pd.Series(["Great, GREAT fit", "it returns smaller", "huge and tight; lovely", "plain"])
    balance = np.array([2, -1, -2, 0])
    expected = (balance - balance.mean()) / balance.std(ddof=1)
    assert text.confounder(texts).to_numpy() == pytest.approx(expected)


def test_counts_of_words_have_variance_1(reviews):
    counts, names = text.word_counts(reviews["Review Text"])
    assert counts.toarray().std(axis=0) == pytest.approx(np.ones(len(names)))
    at = list(names).index("love")
    own = reviews["Review Text"].str.count("love")
    assert np.corrcoef(own, counts[:, [at]].toarray()[:, 0])[0, 1] == pytest.approx(1)


def test_a_sufficient_adjustment_finds_the_effect_and_none_overstates_it(reviews):
    table, words = text.estimates(reviews, draws=4)
    mean = table.groupby("method")["value"].mean()
    error = 2 / np.sqrt(700 * 4) * 2.5  # a difference of means, 2.5 standard errors
    for name in ("the confounder itself", "double selection of words"):
        assert mean[name] == pytest.approx(text.EFFECT, abs=error)
    assert mean["nothing"] > text.EFFECT + 3 * error
    assert {"love", "small", "returned"} <= set(words)


def test_the_predictions_are_decided_by_the_claims():
    values = {"nothing": 1.0, "rating, age, department": 0.9, "embedding of 10": 0.7}
    values |= {"embedding of 150": 0.55, "the confounder itself": 0.5}
    rows = [
        {"draw": draw, "method": name, "value": value + 0.001 * draw * value, "covers": True}
        for name, value in values.items()
        for draw in range(3)
    ]
    claims, predictions = text._judged(pd.DataFrame(rows))
    assert all(claim.held for claim in claims)
    assert [one["outcome"] for one in predictions] == ["held", "held"]
    uncovered = pd.DataFrame(rows).assign(covers=False)
    assert text._judged(uncovered)[1][1]["outcome"] == "failed"
