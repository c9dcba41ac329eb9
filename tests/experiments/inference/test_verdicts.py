"""The questions of known status: they are what their names say, and the study counts the answers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import verdicts as study


@pytest.fixture(scope="module")
def drawn():
    return {name: problem.draw(5) for name, problem in study.PROBLEMS.items()}


def test_twenty_questions_cannot_be_answered_and_forty_can():
    status = [problem.answerable for problem in study.PROBLEMS.values()]
    assert (len(status), sum(status)) == (60, 40)
    assert all(name == problem.name for name, problem in study.PROBLEMS.items())


def test_questions_name_columns_that_are_there_and_repeat_by_seed(drawn):
    for name, problem in study.PROBLEMS.items():
        question = drawn[name]
        frame = question.frame
        given = question.arguments
        columns = {"t", "y", *given.get("adjustment", [])}
        columns |= {given[key] for key in ("cluster", "propensity", "weights") if key in given}
        assert columns <= set(frame.columns), name
        assert not frame.isna().any().any(), name
        again = problem.draw(5).frame
        pd.testing.assert_frame_equal(frame, again)
        assert not frame["y"].equals(problem.draw(6).frame["y"]), name
        assert ("adjustment" in given) != ("estimand" in given), name
        if problem.answerable:
            assert question.truth is not None, name


def test_answerable_questions_have_both_arms_of_25_rows_or_a_number(drawn):
    for name, problem in study.PROBLEMS.items():
        treatment = drawn[name].frame["t"]
        if problem.answerable and treatment.nunique() <= 3:
            assert treatment.value_counts().min() >= 25, name


def _mean_difference(question, covariates):
    """Regression with the treatment's columns as they were drawn: an independent, linear answer."""
    frame = question.frame
    x = np.column_stack([np.ones(len(frame)), frame["t"].astype(float), *covariates])
    return np.linalg.lstsq(x, frame["y"].to_numpy(dtype=float), rcond=None)[0][1]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("0.1% treated at random, 30 rows", ["x0", "x1"]),
        ("overlap within [0.05, 0.95]", ["x0", "x1"]),
        ("strong confounding with overlap", ["x0", "x1"]),
        ("effect among the treated, most untreated rows unlike any", ["x0", "x1"]),
        ("effect among the untreated, most treated rows unlike any", ["x0", "x1"]),
        ("effect where arms overlap, rows without counterparts apart", ["x0", "x1"]),
        ("60 clusters, treated as wholes", ["x0"]),
        ("decimal numbers in an object column", ["x0"]),
        ("nullable dtypes", ["age", "x0"]),
        ("counts of small whole numbers", ["visits"]),
        ("a numeric treatment by columns", ["x0", "x1"]),
    ],
)
def test_the_truth_is_what_a_regression_of_the_right_form_finds_on_average(name, columns):
    problem = study.PROBLEMS[name]
    found = []
    for seed in range(40):
        question = problem.draw(seed)
        values = [question.frame[column].astype(float).to_numpy() for column in columns]
        found.append(_mean_difference(question, values))
    error = np.std(found, ddof=1) / np.sqrt(40)
    assert np.mean(found) == pytest.approx(question.truth, abs=4 * error)


@pytest.mark.parametrize(
    "name", ["0/1 outcome of 2%, treatment by a column", "revenue: mostly 0, otherwise skewed"]
)
def test_the_truth_within_strata_of_the_confounder(name):
    found = []
    for seed in range(40):
        frame = study.PROBLEMS[name].draw(seed).frame
        high = frame["x0"] > 0
        mean = frame.groupby([high, "t"])["y"].mean()
        low_gain = mean[False, 1] - mean[False, 0]
        high_gain = mean[True, 1] - mean[True, 0]
        found.append(low_gain * (1 - high.mean()) + high_gain * high.mean())
    truth = study.PROBLEMS[name].draw(0).truth
    assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found, ddof=1) / np.sqrt(40))


def _stub(verdict, low=0.0, high=2.0):
    return SimpleNamespace(verdict=verdict, reasons=("because",), value=1.0, low=low, high=high)


def test_an_answer_tells_refusals_from_crashes_and_verdicts(monkeypatch):
    problem = study.PROBLEMS["95% treated"]
    asked = {}

    def effect(frame, treatment, outcome, **given):
        asked.update(given, rows=len(frame), columns=(treatment, outcome))
        return _stub("weak")

    monkeypatch.setattr(study, "effect", effect)
    row = study.answer(problem, 3)
    assert asked == {"rows": 3000, "columns": ("t", "y"), "adjustment": study.X, "seed": 3}
    assert (row["verdict"], row["reason"], row["covers"]) == ("weak", "because", True)
    for error, verdict in ((ValueError("no\nmore"), "refused"), (KeyError("x0"), "crashed")):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(study, "effect", fails)
        row = study.answer(problem, 3)
        assert (row["verdict"], row["covers"], row["value"]) == (verdict, None, None)
    assert "KeyError" in row["reason"]


def test_the_claims_count_false_alarms_and_misses(monkeypatch):
    def effect(frame, *_, **given):
        if "identifier" not in given and len(frame) == 2000:
            return _stub("supported")
        if len(frame) == 3000:
            raise ValueError("no counterparts")
        return _stub("extrapolated", low=3.0, high=4.0)

    monkeypatch.setattr(study, "effect", effect)
    table = study.verdicts(2)
    assert len(table) == 120
    found = study.study(2)
    claims = {claim["claim"]: claim for claim in found["claims"]}
    can = table[table["answerable"]]
    alarms = can["verdict"].isin(["refused", "extrapolated"]).sum() / 2
    value = claims["answerable questions refused or called extrapolated, of 40"]["value"]
    assert value == alarms > 2
    right = (can["verdict"] == "supported").sum() / 2
    assert claims["answerable questions called supported, of 40"]["value"] == right
    missed = ((~table["answerable"]) & (table["verdict"] == "supported")).sum() / 2
    assert claims["unanswerable questions called supported, of 20"]["value"] == missed > 0
    assert not claims["unanswerable questions called supported, of 20"]["held"]
    given = can["covers"].dropna().astype(float)
    assert claims["answerable questions: coverage of the intervals given"]["value"] == given.mean()
    assert sum(row["questions"] for row in found["counts"]) == 120
    assert len(found["rows"]) == 120
