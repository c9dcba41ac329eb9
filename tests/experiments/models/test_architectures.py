"""The rule by which the benchmark of architectures decides, at its ends."""

import pytest

from causal_lib.experiments.models import architectures as study


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.01, "same"),
        (0.002, 0.008, "same"),
        (0.011, 0.02, "better"),
        (0.009, 0.02, "not decided"),
        (-0.02, -0.011, "worse"),
        (-0.02, -0.009, "not decided"),
        (-0.02, 0.02, "not decided"),
    ],
)
def test_one_rule_gives_every_interval_one_verdict(low, high, verdict):
    assert study.verdict(low, high) == verdict


@pytest.mark.parametrize("expected", ["same", "better", "worse"])
@pytest.mark.parametrize("ends", [(-0.005, 0.005), (0.02, 0.03), (-0.03, -0.02), (-0.02, 0.02)])
def test_a_claim_is_held_where_the_verdict_is_the_expected_one(expected, ends):
    assert study._claim("", expected, *ends).held == (study.verdict(*ends) == expected)


def test_every_comparison_has_a_prediction():
    assert set(study._WORDS) == set(study.COMPARED)
