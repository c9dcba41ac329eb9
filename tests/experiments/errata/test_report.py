"""The committed errata are what the checks give, and the verdicts follow from the checks."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from causal_lib import paths
from causal_lib.experiments.errata import report

COMMITTED = paths.ROOT / "reports"


@pytest.fixture(scope="module")
def evidence():
    return report.Evidence.gather()


def test_the_committed_page_is_what_the_checks_give(evidence):
    assert (COMMITTED / "errata.md").read_text(encoding="utf-8") == report.page(evidence)


def test_the_committed_report_has_the_same_verdicts_and_facts(evidence):
    stored = json.loads((COMMITTED / "benchmarks" / "errata.json").read_text(encoding="utf-8"))
    assert stored["verdicts"] == evidence.verdicts()
    assert stored["facts"] == evidence.facts()
    assert all(stored["facts"].values())
    assert stored["counts"] == report.counts(evidence.verdicts())


def test_21_lines_of_which_15_are_distinct(evidence):
    number = report.counts(evidence.verdicts())
    assert number["lines"] == {"right": 1, "incomplete": 6, "wrong": 14}
    assert number["distinct"] == {"right": 1, "incomplete": 5, "wrong": 9}


def test_a_line_that_repeats_another_has_its_right_hand_side_and_no_two_others_have():
    sides = {
        name: line["printed"].partition("=")[2].strip() for name, line in report.FORMULAS.items()
    }
    distinct = [name for name in sides if "repeats" not in report.FORMULAS[name]]
    assert len({sides[name] for name in distinct}) == len(distinct) == 15
    for name, line in report.FORMULAS.items():
        if "repeats" in line:
            assert sides[name] == sides[line["repeats"]]


def test_the_printed_lines_are_the_article_s():
    articles = sorted(paths.ROOT.parent.glob("*/article/*.txt"))
    if not articles:  # its text is not ours to redistribute
        pytest.skip("the article is not beside the checkout (*/article/*.txt)")
    text = re.sub(r"[\s\\&]+", "", articles[0].read_text(encoding="utf-8"))
    for name, line in report.FORMULAS.items():
        assert re.sub(r"[\s\\&]+", "", line["printed"]) in text, name


def test_a_line_that_gives_a_derivative_is_right(evidence):
    lines = evidence.lines.copy()
    lines["4.1.1 (2)"] = evidence.slopes["z3"]
    assert replace(evidence, lines=lines).verdicts()["4.1.1 (2)"] == "right"


def test_a_completion_that_does_not_hold_makes_a_line_wrong(evidence):
    broken = [{**check, "errors": [1.0]} for check in evidence.checks]
    assert replace(evidence, checks=broken).verdicts()["4.1.2 (1)"] == "wrong"


def test_queries_that_disagree_fail_the_prediction_and_the_fact(evidence):
    ruled = evidence.rules.copy()
    ruled.loc[ruled.index[ruled["condition"]][0], "agrees"] = False
    wrong = replace(evidence, rules=ruled)
    assert not wrong.claims()[-1].held
    assert not wrong.facts()["where a rule of do-calculus applies, both sides agree to 1e-12"]


def test_the_predictions_are_the_sentences_that_were_written_first(evidence):
    claims = evidence.claims()
    assert [claim.name.startswith(report.SURPLUS) for claim in claims] == [True, True, False, False]
    assert claims[2].name.startswith(report.NEIGHBOURS)
    assert claims[3].name.startswith(report.RULES)
    assert all(claim.held for claim in claims)


def test_the_derivative_has_the_slopes_of_least_squares(evidence):
    found = evidence.derivative
    # x = z + e and y = -x / 2 + 2 z + e': cov(x, y) / var(x) = -1/2 + 2 / 2
    assert (found["slope seen"], found["slope set"]) == (0.5, -0.5)
    assert pd.Series(found)[["printed", "true", "set"]].nunique() == 3
