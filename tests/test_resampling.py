"""Draws against a generator asked by hand, frequencies against their distributions, intervals
against scipy.
"""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import causal_lib
from causal_lib import resampling

N = 7


def rng():
    return np.random.default_rng(3)


def test_each_scheme_takes_the_generators_own_draws_in_their_order():
    drawn = rng()
    by_hand = rng()
    for _ in range(3):
        assert (
            resampling.resampled_indices(N, drawn).tolist() == by_hand.integers(N, size=N).tolist()
        )
    for _ in range(3):
        expected = by_hand.multinomial(N, np.full(N, 1 / N)).tolist()
        assert resampling.resampled_counts(N, drawn).tolist() == expected
    assert resampling.poisson_counts(N, drawn).tolist() == by_hand.poisson(1, N).tolist()
    assert resampling.subsampled_indices(N, drawn).tolist() == by_hand.permutation(N)[:3].tolist()


def test_counts_of_indices_count_the_indices():
    counts = resampling.index_counts(N, rng())
    drawn = resampling.resampled_indices(N, rng()).tolist()
    assert counts.tolist() == [drawn.count(k) for k in range(N)]
    assert counts.dtype == float


@pytest.mark.parametrize(
    "scheme", [resampling.index_counts, resampling.resampled_counts, resampling.poisson_counts]
)
def test_every_row_is_drawn_once_on_average(scheme):
    generator = rng()
    counts = np.array([scheme(N, generator) for _ in range(2000)])
    # the variance of a count is 1 or less
    assert np.abs(counts.mean(axis=0) - 1).max() < 5 / np.sqrt(2000)
    if scheme is not resampling.poisson_counts:
        assert (counts.sum(axis=1) == N).all()


def test_a_subsample_holds_each_row_once_at_most():
    drawn = resampling.subsampled_indices(9, rng())
    assert len(set(drawn.tolist())) == len(drawn) == 4


def test_cluster_codes_count_clusters_by_appearance_and_rows_without_a_column():
    frame = pd.DataFrame({"user": [9, 4, 9, 7]}, index=[3, 1, 4, 1])
    assert resampling.cluster_codes(frame, "user").tolist() == [0, 1, 0, 2]
    assert resampling.cluster_codes(frame, None).tolist() == [0, 1, 2, 3]


def test_percentile_ends_interpolate_between_the_ordered_replicates():
    low, high = resampling.percentile_ends([4.0, 0.0, 1.0, 3.0, 2.0], tail=0.125)
    assert (low, high) == (0.5, 3.5)  # of 0..4, one eighth of the way up and down


def test_percentile_ends_keep_the_shape_and_leave_out_what_is_undefined():
    replicates = np.arange(24.0).reshape(4, 3, 2)
    replicates[0, 0, 0] = np.nan
    replicates[:, 2, 1] = np.nan
    low, high = resampling.percentile_ends(replicates, tail=0.0)
    assert low.tolist()[0] == [6.0, 1.0]
    assert high.tolist()[0] == [18.0, 19.0]
    assert np.isnan(low[2, 1])
    assert np.isnan(high[2, 1])


def test_the_interval_of_a_mean_is_that_of_scipy():
    repeats = rng().normal(size=(6, 2))
    mean, low, high = resampling.mean_with_interval(repeats, level=0.9)
    for k in range(2):
        expected = stats.ttest_1samp(repeats[:, k], 0).confidence_interval(0.9)
        assert (low[k], high[k]) == pytest.approx(tuple(expected), rel=1e-12)
    assert mean.tolist() == repeats.mean(axis=0).tolist()


def test_no_other_module_of_the_library_draws_counts():
    """Bootstrap counts are drawn in `resampling` alone; simulated worlds and experiments draw what
    they need.
    """
    package = Path(causal_lib.__file__).parent
    for path in package.rglob("*.py"):
        place = path.relative_to(package).parts
        if place[0] in ("worlds", "experiments", "resampling.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("poisson", "multinomial"), f"{path}:{node.lineno}"


def test_groups_are_numbered_by_appearance_or_by_id():
    users = pd.Series(["b", "a", "b", "c"], [7, 7, 8, 9])
    assert resampling.group_codes(users).tolist() == [0, 1, 0, 2]
    assert resampling.group_codes(users, sort=True).tolist() == [1, 0, 1, 2]
    assert resampling.group_codes([30, 10, 30], sort=True).tolist() == [1, 0, 1]
