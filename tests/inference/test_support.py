"""Verdicts on tables that were built to have counterparts or to lack them, for whom an answer is
left, the rule that marks them, and diagnostics by hand.
"""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from causal_lib.inference import NoOverlapError, effect
from causal_lib.inference.estimators import Sample, arm_weights
from causal_lib.inference.models import Fitting
from causal_lib.inference.support import (
    VERDICTS,
    balance,
    judge_arms,
    judge_instrument,
    judge_slope,
    rule_of,
)


def _sample(t, x, chances, **more):
    """With known propensities: (n,) of the treated, or (n, 2) of both arms."""
    n = len(t)
    chances = np.broadcast_to(chances, n) if np.ndim(chances) < 2 else chances
    known = np.column_stack([1 - chances, chances]) if np.ndim(chances) < 2 else chances
    more = {"groups": np.arange(n), "weights": np.ones(n)} | more
    weights = more["weights"] / more["weights"].mean()
    y = np.arange(n, dtype=float)
    return Sample(y, np.asarray(t), x, **more | {"weights": weights}, known=known)


def _randomised(n=1000, treated=500, seed=0, **columns):
    """Treated at random, columns of noise."""
    rng = np.random.default_rng(seed)
    t = rng.permutation(np.arange(n) < treated).astype(int)
    x = pd.DataFrame({"a": rng.normal(size=n)} | columns)
    return t, x


# ---- verdicts by counts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "treated", "verdict"),
    [
        (50, 100, "supported"),  # 5 treated are due: chance may leave none
        (120, 100, "weak"),  # 12 are due: too many for chance, too few to be sure
        (120, 500, "extrapolated"),  # 60 are due
        (13, 700, "supported"),  # 9 are due, in 1.3% of the rows
        # an error of one deviation in 3% moves the answer by .030; half a standard error is .035
        (30, 700, "supported"),
        (40, 700, "weak"),
        (32, 937, "supported"),  # 30 are due: by chance they may be under three
        (33, 930, "weak"),  # surely none, though half a standard error is .08
    ],
)
def test_a_level_lacks_counterparts_where_chance_would_have_given_some(rows, treated, verdict):
    """Of 1000 rows ``rows`` are of a level of which nobody is treated."""
    level = np.arange(1000) < rows
    t = np.zeros(1000, dtype=int)
    t[rows : rows + treated] = 1
    share = treated / 1000
    chances = np.where(level, share / 50, share)  # as models are bounded
    found = judge_arms(_sample(t, pd.DataFrame({"level": level * 1.0}), chances))
    lacking = rows / 1000 if rows * share >= 9 else 0.0
    assert found.diagnostics["share_without_counterpart"] == pytest.approx(lacking)
    assert found.verdict == verdict
    if verdict == "supported":
        assert (found.reasons, found.members) == ((), None)
    else:
        assert found.reasons[0] == (
            f"{rows / 10:.1f}% of the rows seem to have no counterpart among the control or treated"
        )
        assert found.members.tolist() == (~level).tolist()


def test_the_end_of_the_propensities_lacks_counterparts_where_an_arm_is_not_seen():
    """No level tells: the fifth of the smallest propensities has no treated row."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=1000)
    order = np.argsort(z)
    e = 0.25 + 0.5 * np.argsort(order) / 999
    t = (rng.random(1000) < e).astype(int)
    t[order[:200]] = 0
    e[order[:200]] /= 10
    found = judge_arms(_sample(t, pd.DataFrame({"z": z}), e))
    assert found.verdict == "extrapolated"
    assert found.diagnostics["share_without_counterpart"] == pytest.approx(0.2, abs=0.01)
    assert not found.members[order[:200]].any()
    mirrored = judge_arms(_sample(1 - t, pd.DataFrame({"z": z}), 1 - e))
    assert mirrored.verdict == "extrapolated"
    assert mirrored.members.tolist() == found.members.tolist()


def test_what_a_target_needs_counterparts_in():
    """A level is never treated: the treated have counterparts, the untreated have not; where it is
    always treated, the other way round.
    """
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"level": (np.arange(1000) < 150) * 1.0, "a": rng.normal(size=1000)})
    t = rng.integers(2, size=1000)
    for arm, fine, lost in ((0, "treated", "untreated"), (1, "untreated", "treated")):
        t[:150] = arm
        e = np.where(x["level"] == 1, arm, 0.5)
        verdicts = {
            target: judge_arms(_sample(t, x, e, target=target))
            for target in ("all", "treated", "untreated", "overlap")
        }
        assert verdicts[fine].verdict == verdicts["overlap"].verdict == "supported"
        assert verdicts["all"].verdict == verdicts[lost].verdict == "extrapolated"
        assert verdicts["all"].members.tolist() == (x["level"] == 0).tolist()
        own = (t == arm) & (x["level"] == 1)
        assert verdicts[lost].diagnostics["share_without_counterpart"] == pytest.approx(
            own.sum() / (0.5 * 850 + 150), rel=1e-9
        )
        assert f"of the {lost} seem to have no counterpart among the " in verdicts[lost].reasons[0]


@pytest.mark.parametrize(
    ("treated", "verdict", "reason"),
    [
        (19, "weak", "the treated have 19 rows, which weigh as much as 19"),
        (20, "supported", None),
        (981, "weak", "the control have 19 rows, which weigh as much as 19"),
    ],
)
def test_an_arm_of_fewer_than_twenty_effective_rows_is_weak(treated, verdict, reason):
    t, x = _randomised(1000, treated)
    found = judge_arms(_sample(t, x, treated / 1000))
    assert found.verdict == verdict
    assert found.reasons == ((reason,) if reason else ())


def test_one_heavy_row_is_weak():
    t, x = _randomised(1000, 200)
    heavy = np.flatnonzero(t == 1)[0]
    weights = np.ones(1000)
    weights[heavy] = 20
    assert judge_arms(_sample(t, x, 0.2, weights=weights)).verdict == "supported"
    weights[heavy] = 40
    found = judge_arms(_sample(t, x, 0.2, weights=weights))
    assert found.verdict == "weak"
    assert found.reasons == ("one row has 17% of the weight of the treated",)
    assert found.diagnostics["largest_share"] == pytest.approx(40 / 239)
    weights[heavy] = 400
    found = judge_arms(_sample(t, x, 0.2, weights=weights))
    assert found.reasons[0] == "the treated have 200 rows, which weigh as much as 2"


def test_few_clusters_are_weak():
    t, x = _randomised(1000, 500)
    for clusters, verdict in ((9, "weak"), (10, "supported")):
        groups = np.arange(1000) % clusters
        found = judge_arms(_sample(t, x, 0.5, groups=groups))
        assert found.verdict == verdict
        assert found.reasons == (
            tuple(f"the {arm} come from 9 clusters" for arm in ("control", "treated"))
            if verdict == "weak"
            else ()
        )
    # clusters of one arm alone: two are treated
    apart = judge_arms(
        _sample(t, x, 0.5, groups=np.where(t == 1, np.arange(1000) % 2, np.arange(1000)))
    )
    assert apart.reasons == ("the treated come from 2 clusters",)


def test_columns_that_weights_do_not_balance_are_weak():
    """Propensities that are known wrongly: the arms differ by two deviations after weighting."""
    rng = np.random.default_rng(0)
    t = np.arange(1000) % 2
    x = pd.DataFrame({"a": rng.normal(size=1000) + 2 * t, "b": rng.normal(size=1000)})
    found = judge_arms(_sample(t, x, 0.5))
    gap = x["a"][t == 1].mean() - x["a"][t == 0].mean()
    scale = np.sqrt((x["a"][t == 1].var(ddof=0) + x["a"][t == 0].var(ddof=0)) / 2)
    assert found.verdict == "weak"
    assert found.reasons == (
        f"the arms differ by {gap / scale:.2f} standard deviations after weighting",
    )
    assert found.diagnostics["imbalance_after"] == pytest.approx(gap / scale)


def test_no_counterpart_no_members():
    x = pd.DataFrame({"z": np.linspace(-1, 1, 600)})
    t = (x["z"] > 0).to_numpy().astype(int)
    with pytest.raises(NoOverlapError, match="100% of the rows have no counterpart"):
        judge_arms(_sample(t, x, np.where(t == 1, 0.98, 0.02)))


def test_members_are_those_of_the_largest_propensities_for_either_arm():
    rng = np.random.default_rng(0)
    z = rng.normal(size=2000)
    e = 1 / (1 + np.exp(-3 * z))
    t = (rng.random(2000) < e).astype(int)
    found = judge_arms(_sample(t, pd.DataFrame({"z": z}), e))
    assert found.verdict != "supported"
    assert 0.3 < found.members.mean() < 0.95
    low, high = np.quantile(e[found.members], [0, 1])
    assert low > 0.05
    assert high < 0.95
    assert found.members.tolist() == ((e >= low) & (e <= high)).tolist()
    part = _sample(t, pd.DataFrame({"z": z}), e).take(found.members)
    assert judge_arms(part).verdict == "supported"


def test_thin_labels_are_compared_within_levels_that_have_both_arms():
    code = np.repeat(np.arange(50), 20)
    t = np.tile([0, 1], 500)
    t[code == 3] = 0
    t[code == 4] = 1
    labels = [f"u{k}" for k in range(50)]
    x = pd.DataFrame({"who": pd.Categorical.from_codes(code, labels)})
    for target in ("all", "treated", "overlap"):
        found = judge_arms(_sample(t, x, 0.5, target=target))
        assert found.verdict == "weak"
        assert "'who' has 20 rows a level: only rows of a level are compared" in found.reasons
        assert found.members.tolist() == (~np.isin(code, (3, 4))).tolist()


# ---- diagnostics by hand -------------------------------------------------------------------------


def test_imbalance_of_labels_is_that_of_their_indicators():
    rng = np.random.default_rng(0)
    codes = rng.choice(40, 500, p=rng.dirichlet(np.ones(40)))
    t = (rng.random(500) < 0.3 + 0.4 * (codes % 3 == 1)).astype(int)
    labels = pd.DataFrame({"shop": pd.Categorical.from_codes(codes, [f"s{k}" for k in range(40)])})
    weights = rng.uniform(0.5, 2, 500)
    found = balance(_sample(t, labels, 0.5, weights=weights), weights**2)
    indicators = pd.DataFrame((codes[:, None] == np.arange(1, 40)).astype(float))
    same = balance(_sample(t, indicators, 0.5, weights=weights), weights**2)
    assert found == pytest.approx(same, rel=1e-12)


def test_imbalance_is_in_units_of_the_arms_mean_deviation():
    """Arms of variance 1 and 4: a deviation of the root of 2.5. The means 1 and 3, or 1 and 2 with
    weights 3 and 1.
    """
    x = pd.DataFrame({"a": [0.0, 2.0, 1.0, 5.0], "same": 1.0})
    t = np.array([0, 0, 1, 1])
    found = balance(_sample(t, x, 0.5), np.array([1.0, 1.0, 3.0, 1.0]))
    assert found == pytest.approx((2 / np.sqrt(2.5), 1 / np.sqrt(2.5)))
    assert balance(_sample(t, x[["same"]], 0.5), np.ones(4)) == (0.0, 0.0)
    assert balance(_sample(t, x[[]], 0.5), np.ones(4)) == (0.0, 0.0)
    weighted = balance(_sample(t, x, 0.5, weights=np.array([1.0, 3.0, 1.0, 1.0])), np.ones(4))
    assert weighted == pytest.approx((1.5 / np.sqrt(2.5), 2 / np.sqrt(2.5)))


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("target", ["all", "treated", "untreated"])
def test_diagnostics_of_arms_by_hand(levels, target):
    rng = np.random.default_rng(4)
    x = pd.DataFrame({"a": rng.normal(size=500), "b": rng.random(500) ** 2})
    odds = np.exp(np.column_stack([0 * x["a"], 0.4 * x["a"] - 0.5, 0.3 * x["b"]])[:, :levels])
    chances = odds / odds.sum(axis=1, keepdims=True)
    t = (rng.random((500, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    own = rng.uniform(0.5, 1.5, 500)
    sample = _sample(t, x, chances[:, :2], weights=own, target=target)
    members = {"all": 1, "treated": chances[:, 1], "untreated": chances[:, 0]}[target]
    weights = own * members * ((t == 0) / chances[:, 0] + (t == 1) / chances[:, 1])
    found = arm_weights(sample)
    assert found / found.sum() == pytest.approx(weights / weights.sum())
    expected = {
        "propensity_min": chances[:, 1].min(),
        "propensity_max": chances[:, 1].max(),
        "share_without_counterpart": 0.0,
    }
    if levels == 3:
        expected["control_propensity_min"] = chances[:, 0].min()
    shares = []
    for arm, name in enumerate(("control", "treated")):
        one = weights[t == arm]
        expected[f"effective_{name}"] = one.sum() ** 2 / (one**2).sum()
        shares.append(one.max() / one.sum())
    expected["largest_share"] = max(shares)
    for label, w in (("before", own), ("after", weights)):
        gaps = []
        for column in x:
            none, one = (x.loc[t == arm, column] for arm in (0, 1))
            gap = np.average(one, weights=w[t == 1]) - np.average(none, weights=w[t == 0])
            gaps.append(abs(gap) / np.sqrt((none.var(ddof=0) + one.var(ddof=0)) / 2))
        expected[f"imbalance_{label}"] = max(gaps)
    assert judge_arms(sample).diagnostics == pytest.approx(expected)


# ---- a numeric treatment and an instrument -------------------------------------------------------


def _dose(left, share_fixed=0.0, n=1000):
    """A treatment of a line in z and of ``left`` of its variance noise; none of it for a share."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    fixed = (np.arange(n) < share_fixed * n) * 1.0
    noise = rng.normal(size=n) * (fixed == 0)
    t = 25 * (np.sqrt(1 - left) * z + np.sqrt(left) * noise)
    how = Fitting(outcome=(LinearRegression(),))
    x = pd.DataFrame({"z": z, "fixed": fixed})
    return Sample(z, t, x, np.arange(n), np.ones(n), how=how), t, fixed


def test_what_is_left_of_a_numeric_treatment():
    for left, verdict in (
        (0.3, "supported"),
        (0.06, "supported"),
        (0.04, "weak"),
        (0.005, "extrapolated"),
    ):
        sample, t, _ = _dose(left)
        found = judge_slope(sample)
        share = (t - sample.mean(t)).var() / t.var()
        assert share == pytest.approx(left, rel=0.1)
        assert found.verdict == verdict
        assert found.diagnostics["treatment_left"] == pytest.approx(share)
        assert found.members is None
        if verdict != "supported":
            reason = f"the adjustment columns explain {1 - share:.1%} of the treatment"
            assert found.reasons[0] == reason


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.01, "supported"), (0.06, "weak"), (0.3, "extrapolated")]
)
def test_rows_alike_in_the_columns_and_in_the_treatment(share, verdict):
    """Their squared residuals are told from the others' by a tree of their column."""
    sample, _, fixed = _dose(0.5, share)
    tree = DecisionTreeRegressor(max_leaf_nodes=2, min_samples_leaf=5)
    how = Fitting(outcome=(tree,))
    z = sample.x["z"].to_numpy()
    t = sample.t - 25 * np.sqrt(0.5) * z  # the noise alone: the tree's means are of two groups
    found = judge_slope(Sample(z, t, sample.x[["fixed"]], sample.groups, sample.weights, how=how))
    assert found.verdict == verdict
    assert found.diagnostics["share_without_counterpart"] == pytest.approx(share)
    if verdict == "supported":
        assert found.members is None
    else:
        assert found.members.tolist() == (fixed == 0).tolist()
        assert (
            f"for {share:.1%} of the rows the adjustment columns leave the treatment under 1%"
            in (found.reasons[0])
        )


def test_without_columns_all_of_a_treatment_is_left():
    sample, t, _ = _dose(0.3)
    found = judge_slope(Sample(t, t, sample.x[[]], sample.groups, sample.weights))
    assert (found.verdict, found.diagnostics) == ("supported", {"treatment_left": 1.0})


def test_an_instrument_is_weak_below_an_f_of_23():
    assert judge_instrument(23.1).verdict == "supported"
    found = judge_instrument(23.0)
    assert found.verdict == "weak"
    assert found.reasons == ("the first-stage F is 23.0, below 23.1: the estimate may be biased",)


# ---- the rule that marks members -----------------------------------------------------------------


def test_the_rule_names_the_column_that_marks_the_members():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"a": rng.normal(size=500), "b": rng.normal(size=500), "c": np.arange(500) % 2}
    )
    rule = rule_of((x["b"] > 0.5).to_numpy(), x)
    assert rule.startswith("b > ")
    assert float(rule.split(" > ")[1]) == pytest.approx(0.5, abs=0.05)
    assert rule_of((x["c"] == 0).to_numpy(), x) == "c = 0"
    assert rule_of((x["c"] == 1).to_numpy(), x) == "c = 1"
    between = rule_of(((x["a"] > -1) & (x["a"] <= 1)).to_numpy(), x)
    low, high = (float(re.search(rf"a {sign} (\S+)", between)[1]) for sign in (">", "<="))
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)
    both = rule_of(((x["c"] == 1) & (x["b"] <= 0)).to_numpy(), x)
    assert "c = 1" in both
    assert "b <= " in both
    assert " and " in both
    either = rule_of(((x["a"] > 1.5) | (x["a"] < -1.5)).to_numpy(), x)
    assert "; or " in either
    assert rule_of(np.ones(500, dtype=bool), x) == ""
    assert rule_of((x["c"] == 0).to_numpy(), x[[]]) == ""
    blurred = (x["b"] > 0.5).to_numpy() ^ (rng.random(500) < 0.05)
    assert rule_of(blurred, x).startswith("mostly b > ")


def test_rows_that_nothing_marks_have_no_rule():
    """Three rows of 500 lie anywhere: no part of the rows is mostly without a counterpart."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500)})
    assert rule_of(~np.isin(np.arange(500), rng.permutation(500)[:3]), x) == ""
    assert rule_of(rng.random(500) < 0.97, x) == ""


def test_of_cuts_on_one_side_the_rule_tells_the_last():
    a = np.linspace(0, 10, 1000)
    rule = rule_of(((a > 1) & (a <= 2)) | (a > 8.9), pd.DataFrame({"a": a}))
    cuts = re.fullmatch(r"a <= (\S+) and a > (\S+); or a > (\S+)", rule)
    assert [float(cut) for cut in cuts.groups()] == pytest.approx([2, 1, 8.9], abs=0.02)


def test_the_rule_of_levels():
    code = np.arange(2000) % 40
    labels = [f"u{k}" for k in range(40)]
    x = pd.DataFrame({"a": 0.0, "who": pd.Categorical.from_codes(code, labels)})
    assert rule_of(code != 7, x) == "who_u7 = 0"


# ---- through `effect` ----------------------------------------------------------------------------


def test_a_rare_randomised_treatment_is_supported():
    """One row in a thousand of 100,000: a propensity of 0.001 is no lack of counterparts."""
    rng = np.random.default_rng(0)
    n = 100_000
    t = rng.permutation(np.arange(n) < 100).astype(int)
    z = rng.normal(size=n)
    frame = pd.DataFrame({"z": z, "t": t, "y": z + 2 * t + rng.normal(size=n)})
    found = effect(frame, "t", "y", adjustment=["z"], learners="linear", strict=True)
    assert (found.verdict, found.reasons, found.support) == ("supported", (), None)
    assert abs(found.value - 2) < 4 * found.standard_error
    # the hundred treated rows decide: their mean of noise of variance 1
    assert found.standard_error == pytest.approx(0.1, rel=0.3)


def _never(n=2000, seed=0, share=0.1):
    """A tenth is never treated; its effect would be 5. That of the others is 1 on average."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    group = (rng.permutation(n) < share * n).astype(int)
    p = np.where(group == 1, 0.0, 1 / (1 + np.exp(-0.5 * z)))
    t = (rng.random(n) < p).astype(int)
    y = z + group + t * (1 + 0.5 * z + 4 * group) + rng.normal(size=n)
    return pd.DataFrame({"z": z, "group": group, "p": p, "t": t, "y": y})


def test_a_subgroup_that_is_never_treated_is_left_out():
    frame = _never()
    found = effect(frame, "t", "y", adjustment=["group", "z"], learners="linear")
    assert found.verdict != "supported"
    without = found.diagnostics["share_without_counterpart"]
    assert f"{without:.1%} of the rows seem to have no counterpart" in found.reasons[0]
    # exactly they, but for rows that happen to lie beyond the last one with a counterpart
    assert not found.support.members[frame["group"] == 1].any()
    assert found.support.members[frame["group"] == 0].mean() > 0.995
    assert found.support.rule == "group = 0"
    assert found.support.share == pytest.approx(1 - without)
    by_group = effect(frame, "t", "y", adjustment=["group"], learners="linear")
    assert by_group.support.members.tolist() == (frame["group"] == 0).tolist()
    assert repr(found.support) == (
        f"supported for {found.support.members.sum():,} of 2,000 rows: group = 0; among them "
        f"{found.support.value:.4f} "
        f"[{found.support.low:.4f}, {found.support.high:.4f}]"
    )
    assert repr(found).endswith(f"; {found.support!r}")
    alone = frame[frame["group"] == 0]
    theirs = effect(alone, "t", "y", adjustment=["z"], learners="linear")
    assert theirs.verdict == "supported"
    assert found.support.value == pytest.approx(theirs.value, abs=0.3 * theirs.standard_error)
    assert found.support.high - found.support.low == pytest.approx(
        theirs.high - theirs.low, rel=0.05
    )
    with pytest.raises(
        NoOverlapError, match=r"\w+: 10.\d% of the rows seem to have no counterpart"
    ):
        effect(frame, "t", "y", adjustment=["group", "z"], learners="linear", strict=True)
    treated = effect(
        frame, "t", "y", adjustment=["group", "z"], learners="linear", target="treated", strict=True
    )
    truth = (1 + 0.5 * frame["z"])[frame["t"] == 1].mean()
    assert abs(treated.value - truth) < 4 * treated.standard_error


def test_members_are_marked_in_the_order_of_the_frame():
    frame = _never()
    marked = []
    for part in (frame, frame.sample(frac=1, random_state=1), frame[::-1]):
        found = effect(
            part, "t", "y", adjustment=["group", "z"], propensity="p", estimator="regression"
        )
        assert found.verdict in VERDICTS[1:]
        marked.append(set(part.index[found.support.members]))
    assert marked[0] == marked[1] == marked[2]
    assert not frame.loc[list(marked[0]), "group"].any()


def test_the_effect_among_members_is_that_of_the_members():
    """By known propensities, some of which are 0: over draws, intervals cover 1, not 1.4."""
    distances = []
    hits = []
    for seed in range(40):
        found = effect(
            _never(600, seed), "t", "y", adjustment=["group", "z"], propensity="p", estimator="ipw"
        ).support
        half = (found.high - found.low) / 2
        distances.append((found.value - 1) / (half / 1.96))
        hits.append(found.low <= 1 <= found.high)
    assert abs(np.mean(distances)) < 4 / np.sqrt(40)
    # of 40 intervals that cover 19 times in 20 fewer than 33 do once in ten thousand
    assert sum(hits) >= 33


def test_a_level_that_is_never_treated_is_left_out():
    rng = np.random.default_rng(1)
    kind = rng.choice(list("abcd"), 1200)
    t = rng.integers(2, size=1200) * (kind != "c")
    z = rng.normal(size=1200)
    frame = pd.DataFrame({"kind": kind, "z": z, "t": t, "y": z + t + rng.normal(size=1200)})
    found = effect(frame, "t", "y", adjustment=["kind", "z"], learners="linear")
    assert found.verdict == "extrapolated"
    assert not found.support.members[kind == "c"].any()
    assert found.support.members[kind != "c"].mean() > 0.99
    assert found.support.rule == "kind_c = 0"
    by_kind = effect(frame, "t", "y", adjustment=["kind"], learners="linear")
    assert by_kind.support.members.tolist() == (kind != "c").tolist()
    told = found.to_dict()
    assert told["support"]["rule"] == "kind_c = 0"
    assert told["support"]["share"] == found.support.members.mean()


def test_known_propensities_of_zero_are_no_counterparts():
    """Rows below the cut could not be treated; so a log says of them."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=1500)
    p = np.where(z < -1, 0.0, 0.4)
    t = (rng.random(1500) < p).astype(int)
    frame = pd.DataFrame({"z": z, "p": p, "t": t, "y": z + t + rng.normal(size=1500)})
    for estimator in ("aipw", "ipw", "dr_learner"):
        found = effect(
            frame,
            "t",
            "y",
            adjustment=["z"],
            propensity="p",
            learners="linear",
            estimator=estimator,
        )
        assert found.verdict == "extrapolated"
        assert found.support.members.tolist() == (z >= -1).tolist()
        assert found.support.rule.startswith("z > -")
        assert float(found.support.rule.split("> ")[1]) == pytest.approx(-1, abs=0.02)
        assert np.isfinite([found.value, found.standard_error]).all()
    treated = effect(
        frame, "t", "y", adjustment=["z"], propensity="p", learners="linear", target="treated"
    )
    assert treated.verdict == "supported"
    assert abs(treated.value - 1) < 4 * treated.standard_error


def test_few_treated_rows_are_weak_and_not_left_out():
    rng = np.random.default_rng(0)
    t, x = _randomised(400, 12)
    frame = x.assign(t=t, y=x["a"] + t + rng.normal(size=400))
    found = effect(frame, "t", "y", adjustment=["a"], learners="linear")
    assert found.verdict == "weak"
    assert "the treated have 12 rows, which weigh as much as" in found.reasons[0]
    assert found.support is None
    with pytest.raises(NoOverlapError, match="weak: the treated have 12 rows"):
        effect(frame, "t", "y", adjustment=["a"], learners="linear", strict=True)


def _with_far(far, count):
    """z confounds t and y: the naive difference is 2.4, the truth 1; some rows hold ``far``."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    t = (rng.random(400) < expit(z)).astype(int)
    frame = pd.DataFrame({"z": z, "t": t, "y": 2 * z + t + rng.normal(size=400)})
    frame.loc[rng.choice(400, count, replace=False), "z"] = far
    return frame


@pytest.mark.parametrize("estimator", ["ipw", "regression", "aipw"])
@pytest.mark.parametrize("far", [60.0, 100.0])
def test_a_far_value_does_not_hide_that_arms_differ(estimator, far):
    """Beside it the others look alike to a linear model, which then adjusts for nothing."""
    how = {} if estimator == "regression" else {"learners": "linear"}
    found = effect(_with_far(far, 1), "t", "y", adjustment=["z"], estimator=estimator, **how)
    assert found.verdict != "supported"


@pytest.mark.filterwarnings("default:frame. column 'z' holds")
@pytest.mark.parametrize("estimator", ["ipw", "regression", "aipw"])
@pytest.mark.parametrize(
    ("far", "count"), [(1e12, 1), (300.0, 1), (-250.0, 1), (999_999.0, 8), (-99_999.0, 8)]
)
def test_values_for_unknown_are_a_level_of_their_own(estimator, far, count):
    how = {} if estimator == "regression" else {"learners": "linear"}
    found = effect(_with_far(far, count), "t", "y", adjustment=["z"], estimator=estimator, **how)
    assert found.covers(1)
    assert not found.covers(2.4, 0.999)
    assert f"in {count} rows, far from all" in found.notes[0]
