"""The city's truth against what it realised; bounds are 4 standard errors of the simulated means."""

import numpy as np
import pandas as pd
import pytest

from causal_lib.checks import check_frame
from causal_lib.worlds import traffic as t


@pytest.fixture(scope="module")
def city():
    return t.city(n_junctions=40, days=14, seed=1)


def _centred(values):
    """The mean of ``values`` is 0, up to chance."""
    values = np.asarray(values, dtype=float)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def _digest(world):
    return [pd.util.hash_pandas_object(f, index=False).sum() for f in (world.frame, world.truth)]


def test_same_seed_same_bytes():
    assert _digest(t.city(3, 2, seed=5)) == _digest(t.city(3, 2, seed=5))
    assert all(
        a != b
        for a, b in zip(_digest(t.city(3, 2, seed=5)), _digest(t.city(3, 2, seed=6)), strict=True)
    )


def test_rows_are_distinct_junction_hours(city):
    check_frame(city.frame, key=["junction", "day", "hour"], complete=True)
    assert len(city.frame) == 40 * 14 * 24
    assert len(city.frame[["junction", "lanes"]].drop_duplicates()) == 40
    assert (city.frame["delay"] > 0).all()


def test_graph_and_knowledge_agree_with_the_equations(city):
    assert city.knowledge.violations(city.graph) == []
    assert city.graph.kind == "DAG"
    for equation, node in (
        (t.expected_flow, "flow"), (t.extending, "extended"), (t.expected_delay, "delay"), (t.accident_rate, "accident"),
    ):  # fmt: skip
        arguments = equation.__code__.co_varnames[: equation.__code__.co_argcount]
        assert city.graph.parents(node) == set(arguments)
        usual = {"flow": 300.0, "rain": 0, "lanes": 2, "hour": 12, "extended": 0}
        other = {"flow": 500.0, "rain": 1, "lanes": 3, "hour": 22, "extended": 1}
        here = {a: usual[a] for a in arguments}
        for parent in arguments:  # every edge is at work
            assert equation(**here) != equation(**here | {parent: other[parent]})


def test_what_the_graph_separates_is_unrelated_in_the_log(city):
    f = city.frame
    truth = city.truth
    g = city.graph
    assert g.d_separated("hour", "rain")
    _centred((f["hour"] - f["hour"].mean()) * (f["rain"] - f["rain"].mean()))
    for other in ("hour", "lanes"):
        assert g.d_separated("extended", other, ["flow", "rain"])
        assert not g.d_separated("extended", other)
        _centred((f["extended"] - truth["propensity"]) * (f[other] - f[other].mean()))
    assert g.d_separated("delay", "hour", ["flow", "rain", "lanes", "extended"])
    expected = np.where(f["extended"] == 1, truth["delay_if_extended"], truth["delay_if_not"])
    _centred((f["delay"] / expected - 1) * (f["hour"] - f["hour"].mean()))


def test_extending_follows_its_propensity(city):
    f = city.frame
    p = city.truth["propensity"]
    _centred(f["extended"] - p)
    for _, rows in p.groupby(pd.qcut(p, 5)):
        _centred(f.loc[rows.index, "extended"] - rows)
    assert p.between(0.05, 0.95).all()
    assert p.to_numpy() == pytest.approx(
        t.extending(f["flow"].to_numpy(), f["rain"].to_numpy()), rel=1e-12
    )


def test_realised_outcomes_follow_the_potential_ones(city):
    f = city.frame
    truth = city.truth
    for outcome in ("delay", "accident"):
        for arm, name in ((0, "not"), (1, "extended")):
            rows = f["extended"] == arm
            _centred((f[outcome] - truth[f"{outcome}_if_{name}"])[rows])


def test_the_true_effects_are_mean_differences_of_potential_outcomes(city):
    truth = city.truth
    assert city.ate == pytest.approx(
        truth["delay_if_extended"].mean() - truth["delay_if_not"].mean(), rel=1e-9
    )
    assert city.accident_ate == pytest.approx(
        truth["accident_if_extended"].mean() - truth["accident_if_not"].mean(), rel=1e-9
    )


def test_weighting_by_the_propensity_gives_the_true_effects_and_the_naive_delay_has_the_wrong_sign(
    city,
):
    f = city.frame
    p = city.truth["propensity"]
    weight = np.where(f["extended"] == 1, 1 / p, -1 / (1 - p))
    for outcome, truth in (("delay", city.ate), ("accident", city.accident_ate)):
        score = weight * f[outcome]
        error = score.std() / np.sqrt(len(score))
        assert abs(score.mean() - truth) < 4 * error
    delay = [f.loc[f["extended"] == arm, "delay"] for arm in (0, 1)]
    error = np.hypot(*(d.std() / np.sqrt(len(d)) for d in delay))
    assert delay[1].mean() - delay[0].mean() > 4 * error
    assert city.ate < 0


def test_it_says_what_it_is():
    assert repr(t.city(2, 1, seed=3)).startswith("Traffic of 2 junctions, 48 junction-hours, ")


@pytest.mark.parametrize("name", ["n_junctions", "days"])
def test_sizes_out_of_range(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        t.city(**{name: 0})


def test_the_city_stays_the_same(fingerprint):
    """Computed once: what changes a number changes every result that was made with the world."""
    small = t.city(5, 3, 6)
    found = [fingerprint(small.frame), fingerprint(small.truth), small.ate, small.accident_ate]
    expected = [331.70545311282547, 47.256378460675485, -2.6287169819634952, -0.009371070021890075]
    assert found == pytest.approx(expected, rel=1e-8)


def test_the_equations_by_hand():
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    # 8 o'clock: the top of one peak and the foot of the other
    morning = 1 + np.exp(-((9.5 / 2.5) ** 2) / 2)
    assert t.expected_flow(2, 8, 1) == pytest.approx(np.exp(4.7 + 1.3 * morning - 0.15) * 2**0.6)
    evening = 1 + np.exp(-((9.5 / 2) ** 2) / 2)
    assert t.expected_flow(1, 17.5, 2) == pytest.approx(np.exp(4.7 + 1.3 * evening - 0.3))
    assert t.extending(np.exp(1) * 250 - 1, 2) == pytest.approx(0.05 + 0.9 * s(-0.6 + 1.3 + 1.2))
    assert t.expected_delay(450, 1, 2, 0) == pytest.approx(12 + 4 + 45 / 4)
    assert t.expected_delay(450, 1, 2, 1) == pytest.approx((12 + 4 + 45 / 4) * (1.06 - 0.15))
    # a load of 1.3 at most
    assert t.expected_delay(9000, 0, 1, 1) == pytest.approx((12 + 45 * 1.69) * (1.06 - 0.39))
    for hour, dark in ((5, 1), (6, 0), (20, 0), (21, 1)):
        assert t.accident_rate(249, 1, hour, 0) == pytest.approx(s(-4.3 + 0.8 + 0.5 * dark))
        assert t.accident_rate(np.exp(1) * 250 - 1, 0, hour, 1) == pytest.approx(
            s(-4.3 + 0.7 + 0.5 * dark - 0.5)
        )
