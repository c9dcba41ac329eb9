"""The ledger: verdicts by rule, writing that loses nothing, reading what is no ledger."""

import tomllib

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from causal_lib.experiments.reproductions import ledger
from causal_lib.experiments.reproductions.ledger import Entry

BASE = {
    "experiment": "one", "quantity": "a", "source": "a paper, table 1", "setting": "ten rows", "measure": "error",
    "published": 1.0, "published_error": float("nan"), "digits": 1, "value": 1.0, "error": 0.1, "runs": 5, "seeds": "0 to 4",
}  # fmt: skip


def entry(**changed):
    return Entry(**BASE | changed)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"value": 1.24}, "reproduced"),  # 1.96 errors and half a unit of the last digit
        ({"value": 1.25}, "not reproduced"),
        # a reason does not change the verdict
        ({"value": 1.25, "because": "other data"}, "not reproduced"),
        ({"value": 1.0, "because": "other data"}, "reproduced"),
        ({"value": 1.5, "published_error": 0.3}, "reproduced"),
        ({"error": 0.0, "value": 1.049}, "reproduced"),
        ({"error": 0.0, "value": 1.06}, "differs"),  # beyond the rounding, yet within a fifth
        ({"error": 0.0, "value": 1.26}, "not reproduced"),
        ({"error": 0.0, "value": 0.79}, "not reproduced"),
        # nor do numbers that happen to agree
        ({"value": 1.0, "other_method": "boosting for lasso"}, "other method"),
        ({"value": 9.0, "other_method": "boosting for lasso"}, "other method"),
        ({"published": "above 0", "value": 0.2}, "reproduced"),
        ({"published": "above 0", "value": 0.19}, "not reproduced"),  # the interval reaches 0
        ({"published": "at most 1", "value": 0.8}, "reproduced"),
        ({"published": "below 0.5", "value": 0.8}, "not reproduced"),
    ],
)
def test_verdicts(changed, verdict):
    assert entry(**changed).verdict == verdict
    assert verdict in ledger.VERDICTS
    assert verdict in repr(entry(**changed))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"value": 9.0}, "not known"),
        ({"value": 9.0, "because": "other data"}, "other data"),
        ({"value": 1.0, "because": "other data"}, ""),
        ({"other_method": "boosting for lasso", "because": "other data"}, "boosting for lasso"),
    ],
)
def test_a_number_that_is_not_reproduced_has_a_reason_or_says_that_none_is_known(changed, reason):
    assert entry(**changed).reason == reason
    assert ("reason: " in repr(entry(**changed))) == bool(reason)


@pytest.mark.parametrize(
    ("changed", "equivalent", "z"),
    [
        # the ends are value -+ 1.96 errors, over the published 10
        ({"published": 10.0, "value": 10.0, "error": 0.5}, True, 0),
        (
            {"published": 10.0, "value": 10.0, "error": 1.2},
            False,
            0,
        ),  # 7.6 to 12.4: no difference is shown, nor equality
        ({"published": 10.0, "value": 10.0, "error": 1.0}, True, 0),  # 8.04 to 11.96
        (
            {"published": 10.0, "value": 12.0, "error": 0.2, "published_error": 0.1},
            True,
            (2 - 0.05) / 0.05**0.5,
        ),
        # both errors count: each alone leaves 8.2 to 11.8, together they reach 7.5 and 12.5
        ({"published": 10.0, "value": 10.0, "error": 0.9, "published_error": 0.9}, False, 0),
        ({"published": 10.0, "value": 10.0, "error": 0.0, "published_error": 1.2}, False, 0),
        ({"published": -10.0, "value": -8.1, "error": 0.1}, False, (1.9 - 0.05) / 0.1),
        ({"published": 10.0, "value": 10.1, "error": 0.0}, True, float("inf")),
        ({"published": 10.0, "value": 9.96, "error": 0.0}, True, 0),
        ({"published": 0.0, "value": 0.0}, None, 0),
        ({"published": "above 0", "value": 1.0}, None, float("nan")),
        ({"other_method": "another"}, None, 0),
    ],
)
def test_equivalence_asks_for_the_whole_interval_within_the_margin(changed, equivalent, z):
    assert entry(**changed).equivalent is equivalent
    assert entry(**changed).z == pytest.approx(z, nan_ok=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"published": "about 3"}, "no comparison"),
        ({"published": "above zero"}, "no comparison"),
        ({"value": float("nan")}, "must be numbers"),
        ({"error": -1.0}, "must be numbers"),
    ],
)
def test_what_is_no_entry_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        entry(**changed)


def test_ours_is_the_mean_or_median_of_independent_runs():
    known = {name: value for name, value in BASE.items() if name not in ("value", "error", "runs")}
    values = np.random.default_rng(0).normal(3, 2, size=10_000)
    mean = Entry.of_runs(values, **known)
    assert (mean.value, mean.runs) == (pytest.approx(values.mean()), 10_000)
    assert mean.error == pytest.approx(values.std(ddof=1) / 100)
    median = Entry.of_runs(values, "median", **known)
    assert median.value == np.median(values)
    blocks = np.repeat(values[:, None], 16, axis=1)  # sixteen copies say no more than one
    assert Entry.of_runs(blocks, **known).error == pytest.approx(mean.error)
    assert Entry.of_runs(blocks, "median", **known).error == pytest.approx(median.error)
    with pytest.raises(ValueError, match="1 runs give no error"):
        Entry.of_runs([1.0], **known)


def test_the_error_of_a_median_is_that_of_all_bootstrap_draws():
    """A draw's median is at most the j-th of 11 values where 6 of 11 draws are: Binomial(11, j /
    11).
    """
    values = np.arange(11.0)
    p = np.diff(stats.binom.sf(5, 11, np.arange(12) / 11))
    variance, fourth = (((values - p @ values) ** power * p).sum() for power in (2, 4))
    # relative, of a standard deviation of 500 draws
    error = np.sqrt((fourth / variance**2 - 1) / (4 * 500))
    known = {name: value for name, value in BASE.items() if name not in ("value", "error", "runs")}
    found = Entry.of_runs(values, "median", **known).error
    assert found == pytest.approx(np.sqrt(variance), rel=3.5 * error)
    assert 3.5 * error < 0.15


def test_written_entries_come_back_and_others_stay(tmp_path):
    path = tmp_path / "ledger.toml"
    assert ledger.read(path) == []
    first = [entry(), entry(quantity='"b" \\ c\nd', published="above 0", because="中文")]
    ledger.write(first, path)
    ledger.write([entry(experiment="two")], path)
    assert {(one.experiment, one.quantity) for one in ledger.read(path)} == {
        ("one", "a"),
        ("one", first[1].quantity),
        ("two", "a"),
    }
    ledger.write([entry(value=2.0)], path)  # the experiment is replaced whole
    assert [(one.experiment, one.value) for one in ledger.read(path)] == [
        ("one", 2.0),
        ("two", 1.0),
    ]
    stored = tomllib.loads(path.read_text(encoding="utf-8"))["entry"]
    assert [one["verdict"] for one in stored] == ["not reproduced", "reproduced"]
    assert ledger.table(ledger.read(path)).shape == (2, 9)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_any_number_survives(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("ledger") / "ledger.toml"
    ledger.write([entry(value=number)], path)
    assert ledger.read(path)[0].value == pytest.approx(number, rel=1e-7)


def test_what_is_no_ledger_is_told(tmp_path):
    path = tmp_path / "ledger.toml"
    for text in ("[[entry]\n", '[[entry]]\nexperiment = "one"\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match="no ledger of reproductions"):
            ledger.read(path)


def test_counts_by_experiment():
    found = ledger.counts(
        [
            entry(error=0.01),  # reproduced and equivalent
            entry(quantity="b", error=1.0),  # reproduced, too uncertain to be equivalent
            entry(quantity="c", value=1.1, error=0.001),  # differs, although equivalent
            entry(quantity="d", value=9.0, code="a package"),
            entry(experiment="two", other_method="another"),
        ]
    )
    assert list(found.index) == ["one", "two"]
    assert found.loc["one"].tolist() == [2, 1, 1, 0, 1, "own; a package"]
    assert found.loc["two"].tolist() == [0, 0, 0, 1, 0, "own"]
    assert found[list(ledger.VERDICTS)].sum().sum() == 5


def test_ratios_are_drawn_with_the_errors_of_both():
    entries = [
        entry(published=2.0, value=3.0, error=0.3, published_error=0.4),
        entry(published="above 0"),  # no number to divide by
        entry(experiment="two", published=-2.0, value=-1.0, other_method="another"),
    ]
    ax = ledger.ratios(entries)
    drawn = [bars for bars in ax.containers if len(bars.lines[0].get_xdata())]
    assert [bars.get_label() for bars in drawn] == ["reproduced", "other method"]
    points = [(bars.lines[0].get_xdata()[0], bars.lines[0].get_ydata()[0]) for bars in drawn]
    assert points == [(0, 1.5), (1, 0.5)]
    half = 1.96 * 0.5 / 2
    low, high = drawn[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((1.5 - half, 1.5 + half))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["one", "two"]
    plt.close(ax.figure)
