"""For whom the data can answer: overlap as what it does to one question, whatever the estimator.

The question has a target population. Rows of it that have no counterpart in an arm are answered by
a model alone; weights that rest on few rows make an answer weak. Shares are compared with what
chance would give: a treatment that few rows get, at random, is no lack of counterparts.

Rows that only seem to lack counterparts make an answer weak by what they can do to it: their share
times how far a model could be off there, taken for one standard deviation of what it leaves of the
outcome. Against half of the answer's standard error that is little: the 95% interval still covers
92%. A level or an end of the propensities that is surely lacking is told from 2% on, and from a
tenth on the answer is called extrapolated, however well a model happens to do there: of ACIC 2016's
sets nine have 14% to 47% of rows of whom nobody was treated, where hundreds were due.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from causal_lib.columns import number_of
from causal_lib.inference.covariates import (
    POOLED,
    Covariates,
    label_columns,
    with_common_levels,
)
from causal_lib.inference.estimators import Sample, arm_weights
from causal_lib.inference.far_values import far_among
from causal_lib.inference.models import ARMS
from causal_lib.inference.nuisances import NoOverlapError, standard_error, tilt
from causal_lib.reasons import Reason

VERDICTS = ("supported", "weak", "extrapolated")
_EXTRAPOLATED = 0.1  # share of the target surely without a counterpart: a model speaks for it
_NOBODY = 0.99  # share surely without from which nothing can be compared
_WEAK_SHARE = 0.02  # share of the target without a counterpart; a bias of 0.02 deviations is small
_HARMLESS = 0.5  # standard errors of bias: P(|Z + 0.5| < 1.96) = 0.92
_FEWEST = 20  # effective rows of an arm
_FEWEST_CLUSTERS = 10  # with rows of an arm
_LARGEST = 0.1  # share of one row among the weights of its arm
_FAR = 5  # ranges from the 5th to the 95th percentile
_IMBALANCE = 0.1  # standard deviations, beyond three standard errors
# Rows of an arm among some of the target are none where they are under a tenth of the arm's share,
# and of one for each row of the target; and where at least nine were due. They are surely none
# where they would be with three more: 95% of Poisson counts of mean 3 are above 0.
_RARE = 0.1
_EXPECTED = 9
_CHANCE = 3
_ROWS_OF_LEVEL = 40
_TRIMS = (0.0, 0.05, 0.1, 0.2, 0.35)  # propensity over the arm's share, at least
_NOTHING = 0.001  # of a numeric treatment's variance: nobody could have had another
_LEFT = 0.01  # of a numeric treatment's variance: less is none
_WEAK_F = 23.1  # of a first stage: the bias is at most a tenth (Montiel Olea and Pflueger 2013)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the data can say of a question.

    Attributes
    ----------
    verdict : 'supported'; 'weak' (answered, but it rests on few rows, or some of the target has no
        counterpart); 'extrapolated' (a model speaks for over a tenth of the target).
    reasons : why it is not supported; each a `Reason`, which is a string.
    diagnostics : name -> number.
    members : (n,) rows for whom an answer would be supported; None if there are none, or where all
        is supported.
    lacking : (n, 2) rows of the target that seem to have no counterpart among control and treated;
        None where no arms are compared.
    """

    verdict: str
    reasons: tuple[Reason, ...] = ()
    diagnostics: Mapping = field(default_factory=dict)
    members: np.ndarray | None = None
    lacking: np.ndarray | None = None

    def doubted(self, reasons: Sequence[Reason], members: np.ndarray | None) -> "Judgement":
        """The judgement with further reasons not to be supported, if there are any; ``members``
        (n,) are the rows that they do not touch.
        """
        if not reasons:
            return self
        if self.verdict == "supported":
            return replace(self, verdict="weak", reasons=tuple(reasons), members=members)
        if self.members is not None and members is not None:
            members = self.members & members
        else:
            members = self.members
        return replace(self, reasons=(*self.reasons, *reasons), members=members)


def judge_arms(sample: Sample) -> Judgement:
    """The `Judgement` of a comparison of two arms, for the sample's target population.

    Source: Crump, Hotz, Imbens and Mitnik 2009 (trimming by propensity).
    """
    of_arms = _without_counterpart(sample)
    lacking = of_arms.any(axis=1)
    surely = _without_counterpart(sample, _CHANCE).any(axis=1)
    verdict, reasons, diagnostics = _verdict(sample, lacking, surely)
    members = None
    if verdict != "supported":
        members = _supported_rows(sample, lacking)
    return Judgement(verdict, reasons, diagnostics, members, of_arms)


def doubts_of(
    covariates: Covariates, frame: pd.DataFrame, weights: np.ndarray, **numbers
) -> list[Reason]:
    """Reasons for doubt that codes for missing values, and values far from all others, give.

    Parameters
    ----------
    covariates : their rows with a code count from 2% on: a level of its own has no bias but for
        these rows.
    weights : (n,) of the rows of ``frame``, with mean 1.
    numbers : outcome=column and treatment=column, where it is a number: a code there is a number
        that nobody had, and one far value decides the answer.
    """
    found = []
    share = float((weights * covariates.unknown(frame)).mean())
    if share > _WEAK_SHARE:
        coded = ", ".join(column.name for column in covariates.columns if column.codes)
        found.append(Reason("unknown_rows", share=share, columns=coded))
    for role, column in numbers.items():
        found += far_among(number_of(frame, column), column, role)
    return found


def bounds_of(sample: Sample, lacking: np.ndarray) -> tuple[float, float]:
    """Ends of the 95% interval of the effect when rows that are ``lacking`` (n, 2) an arm may have
    had any outcome there, within the range of those seen.

    By the doubly robust scores of the others. Source: Manski 1990.
    """
    y = sample.y
    t = sample.t
    h, g = tilt(sample.target, t, sample.chances)
    size = np.mean(sample.weights * g)
    found = []
    for ends in ((y.max(), y.min()), (y.min(), y.max())):  # of the control, of the treated
        score = np.zeros(len(y))
        for arm, sign in ((0, -1), (1, 1)):
            mean = sample.means[:, arm]
            own = (t == arm) & ~lacking[:, arm]
            part = g * np.where(lacking[:, arm], ends[arm], mean)
            part[own] += (h * (y - mean))[own] / sample.chances[own, arm]
            score += sign * part
        value = np.mean(sample.weights * score) / size
        influence = sample.weights * (score - g * value) / size
        found.append((value, norm.ppf(0.975) * standard_error(influence, sample.groups)))
    (low, below), (high, above) = found
    return float(low - below), float(high + above)


def judge_slope(sample: Sample) -> Judgement:
    """The `Judgement` of the effect of one unit of a numeric treatment."""
    t = sample.t
    if not sample.x.shape[1]:
        return Judgement("supported", (), {"treatment_left": 1.0})
    left = t - sample.mean(t)
    share = float(left.var() / t.var())
    if share < _NOTHING:
        raise NoOverlapError(Reason("treatment_explained", share=1 - share))
    variance = sample.mean(left**2)
    fixed = variance < _LEFT * t.var()
    diagnostics = {"treatment_left": share, "share_without_counterpart": float(fixed.mean())}
    reasons = []
    if share < 5 * _LEFT:
        reasons.append(Reason("treatment_mostly_explained", share=1 - share))
    if fixed.mean() > _WEAK_SHARE:
        reasons.append(Reason("treatment_fixed", share=fixed.mean(), left=_LEFT))
    if not reasons:
        return Judgement("supported", (), diagnostics)
    far = fixed.mean() > _EXTRAPOLATED or share < _LEFT
    members = ~fixed if 0 < fixed.mean() < 1 and share >= 5 * _LEFT else None
    return Judgement("extrapolated" if far else "weak", tuple(reasons), diagnostics, members)


def judge_instrument(strength: float) -> Judgement:
    """The `Judgement` of an instrument's estimate, by the F of its first stage."""
    if strength >= _WEAK_F:
        return Judgement("supported")
    return Judgement("weak", (Reason("weak_instrument", strength=strength, least=_WEAK_F),))


def rule_of(members: np.ndarray, x: pd.DataFrame) -> str:
    """What marks ``members`` (n,) among the rows of ``x`` in words; '' if nothing short does."""
    if not x.shape[1] or members.all():
        return ""
    x = with_common_levels(x)
    names = list(x)
    columns = x.to_numpy(dtype=float)
    scaler = StandardScaler().fit(columns)  # a tree takes spreads under 1e-7 for none
    scaled = scaler.transform(columns)
    tree = DecisionTreeClassifier(
        max_leaf_nodes=4, min_samples_leaf=max(5, len(members) // 100), random_state=0
    ).fit(scaled, members)
    parts = [list(_merged(path, names, columns, scaler)) for path in _leaves(tree.tree_, 0, ())]
    right = (tree.predict(scaled) == members).mean()
    if not parts or not all(parts):  # the tree finds none, or calls all rows members
        return ""
    text = Reason.chain("either", [Reason.chain("both", part) for part in parts])
    return text if right > 0.995 else Reason("mostly", rule=text)


def _without_counterpart(sample, chance=0):
    """(n, 2) rows of the target that have no counterpart in an arm that they need one in.

    ``chance`` is added to the rows of the arm that are seen.
    """
    h, _ = tilt(sample.target, sample.t, sample.chances)
    size = (sample.weights * h).sum()  # rows of the target
    share = sample.weights * h / size
    lacking = np.zeros((len(h), 2), dtype=bool)
    for arm in _needed(sample.target):
        chances = sample.chances[:, arm]
        own = sample.t == arm
        lacking[:, arm] |= chances <= 0
        lacking[:, arm] |= _thin_end(chances, share, own, size, chance)
        for codes in _cells(sample.x):
            seen = np.bincount(codes, own)
            few = _too_few(seen, np.bincount(codes, share), own.sum(), size, chance)
            lacking[:, arm] |= (few & (seen == 0))[codes]
        if not chance:
            for codes, alone in _labels(sample.x):
                lacking[:, arm] |= (np.bincount(codes, own) == 0)[codes] | alone
    return lacking


def _needed(target):
    """Arms in which every row of the target needs counterparts."""
    return {"all": (0, 1), "treated": (0,), "untreated": (1,), "overlap": ()}[target]


def _thin_end(chances, share, own, size, chance):
    """(n,) the longest run of the smallest propensities that holds too few rows of the arm."""
    order = np.argsort(chances, kind="stable")
    few = _too_few(np.cumsum(own[order]), np.cumsum(share[order]), own.sum(), size, chance)
    # rows of equal propensity are all in or all out
    last = np.append(np.diff(chances[order]) > 0, True)
    ends = np.flatnonzero(few & last)
    found = np.zeros(len(chances), dtype=bool)
    if len(ends):
        # of that run, the part that lacks most: it ends where counterparts begin
        part = np.cumsum(share[order])[ends]
        seen = np.cumsum(own[order])[ends]
        lack = part / part[-1] - seen / max(seen[-1], 1)
        found[order[: ends[lack.argmax()] + 1]] = True
    return found


def _too_few(seen, share, of_arm, size, chance):
    """Whether ``seen`` rows of an arm are none for a ``share`` of the ``size`` of the target."""
    due = share * of_arm
    limit = _RARE * np.minimum(due, share * size)
    return (due >= _EXPECTED) & (seen + chance < limit + (chance == 0) * 0.1)


def _cells(x):
    """Codes (n,) of the levels of each column that has few, or labels."""
    for name in x.columns:
        if name in label_columns(x):
            yield x[name].cat.codes.to_numpy()
        elif x[name].nunique() <= 10:
            yield pd.factorize(x[name])[0]


def _labels(x):
    """Codes (n,) of each column of labels, and the rows (n,) that are alone in their level."""
    for name in label_columns(x):
        codes = x[name].cat.codes.to_numpy()
        yield codes, (x[name] == POOLED).to_numpy()


def thin_labels(x: pd.DataFrame) -> list[str]:
    """Columns of labels with too few rows a level for a model of each: under 40 on average.

    Penalties then draw levels together, and some of what they confound is left. Least squares with
    an indicator for each compares within levels alone.
    """
    return [name for name in label_columns(x) if len(x) < _ROWS_OF_LEVEL * x[name].nunique()]


def _verdict(sample, lacking, surely):
    """Verdict, reasons and diagnostics.

    Of the rows, ``lacking`` (n,) seem to have no counterpart, ``surely`` (n,) have none.
    """
    h, _ = tilt(sample.target, sample.t, sample.chances)
    share = sample.weights * h / (sample.weights * h).sum()
    missing = float(share[lacking].sum())
    weights = arm_weights(sample)
    reasons = []
    sizes = []
    largest = []
    for arm in (0, 1):
        own = weights[sample.t == arm]
        sizes.append(float(own.sum() ** 2 / (own**2).sum()))
        largest.append(float(own.max() / own.sum()))
        clusters = len(np.unique(sample.groups[sample.t == arm]))
        called = Reason(ARMS[arm])
        if sizes[arm] < _FEWEST:
            size = sizes[arm]
            reasons.append(Reason("few_effective_rows", arm=called, rows=len(own), size=size))
        elif largest[arm] > _LARGEST:
            reasons.append(Reason("one_row", share=largest[arm], arm=called))
        elif clusters < _FEWEST_CLUSTERS:
            reasons.append(Reason("few_clusters", arm=called, clusters=clusters))
    before, after = balance(sample, weights)
    chance = 3 * np.sqrt(1 / sizes[0] + 1 / sizes[1])
    if after > _IMBALANCE + chance:
        reasons.append(Reason("imbalance", apart=after))
    for name in thin_labels(sample.x):
        rows = len(sample.x) / sample.x[name].nunique()
        reasons.append(Reason("rows_of_level", column=name, rows=rows))
    # both in standard deviations of what models leave of the outcome
    harmless = max(_WEAK_SHARE, _HARMLESS * np.sqrt(1 / sizes[0] + 1 / sizes[1]))
    if missing > harmless or share[surely].sum() > _WEAK_SHARE:
        needed = Reason("_or_".join(ARMS[arm] for arm in _needed(sample.target)))
        members = Reason(_MEMBERS[sample.target])
        reasons.insert(0, Reason("no_counterpart", share=missing, members=members, arm=needed))
    diagnostics = {
        "propensity_min": float(sample.chances[:, 1].min()),
        "propensity_max": float(sample.chances[:, 1].max()),
        "imbalance_before": before,
        "imbalance_after": after,
        "effective_control": sizes[0],
        "effective_treated": sizes[1],
        "largest_share": max(largest),
        "share_without_counterpart": missing,
    }
    if sample.t.max() > 1:
        diagnostics["control_propensity_min"] = float(sample.chances[:, 0].min())
    far = share[surely].sum() > _EXTRAPOLATED
    if share[surely].sum() >= _NOBODY:
        members = Reason(_MEMBERS[sample.target])
        none = float(share[surely].sum())
        raise NoOverlapError(Reason("nothing_to_compare", share=none, members=members))
    verdict = "extrapolated" if far else "weak" if reasons else "supported"
    return verdict, tuple(reasons), diagnostics


_MEMBERS = {"all": "rows", "treated": "treated", "untreated": "untreated", "overlap": "rows"}
"""Target -> the key of what its rows are called."""


def balance(sample: Sample, weights: np.ndarray) -> tuple[float, float]:
    """Largest standardised mean difference of the arms over the columns, without and with weights.

    In standard deviations of a column within the arms, as they are in the sample. Values further
    from the median than five times the range from the 5th to the 95th percentile count as the
    median: beside a 999999 for "unknown" all other rows would be alike.
    """
    if not sample.x.shape[1]:
        return 0.0, 0.0
    arms = [sample.t == arm for arm in (0, 1)]
    parts = [_balance_of_numbers(sample, arms, weights)]
    for name in label_columns(sample.x):
        parts.append(_balance_of_levels(sample.x[name].cat.codes.to_numpy(), sample, arms, weights))
    found = np.max(parts, axis=0)
    return float(found[0]), float(found[1])


def _balance_of_numbers(sample, arms, weights):
    columns = sample.x.drop(columns=label_columns(sample.x)).to_numpy(dtype=float)
    if not columns.shape[1]:
        return [0.0, 0.0]
    low, middle, high = np.quantile(columns, (0.05, 0.5, 0.95), axis=0)
    far = (np.abs(columns - middle) > _FAR * (high - low)) & (high > low)
    columns = np.where(far, middle, columns)
    parts = [columns[rows] for rows in arms]
    scale = np.sqrt((parts[0].var(axis=0) + parts[1].var(axis=0)) / 2)
    level = np.abs(columns).max(axis=0)
    scale = np.where(scale > 1e-13 * level, scale, np.inf)
    found = []
    for own in (sample.weights, weights):
        mean = [
            np.average(part, axis=0, weights=own[rows])
            for part, rows in zip(parts, arms, strict=True)
        ]
        found.append(float((np.abs(mean[1] - mean[0]) / scale).max()))
    return found


def _balance_of_levels(codes, sample, arms, weights):
    """As of an indicator for each level but the first, in memory that the levels do not fill."""
    length = int(codes.max()) + 1
    rows_of = [np.bincount(codes[rows], minlength=length) / rows.sum() for rows in arms]
    scale = np.sqrt(sum(share * (1 - share) for share in rows_of) / 2)
    scale = np.where(scale > 0, scale, np.inf)
    found = []
    for own in (sample.weights, weights):
        share = [np.bincount(codes[rows], own[rows], length) / own[rows].sum() for rows in arms]
        found.append(float((np.abs(share[1] - share[0]) / scale)[1:].max(initial=0.0)))
    return found


def _supported_rows(sample, lacking):
    """(n,) the rows, by a smallest relative propensity, for whom the answer would be supported."""
    needed = _needed(sample.target)
    if thin_labels(sample.x):
        # within levels that have both arms, whoever the target is
        members = np.ones(len(lacking), dtype=bool)
        for codes, alone in _labels(sample.x):
            for arm in (0, 1):
                members &= (np.bincount(codes, sample.t == arm) > 0)[codes] & ~alone
        return members if members.any() else None
    if not needed:
        return None
    ratio = np.full(len(lacking), np.inf)
    for arm in needed:
        ratio = np.minimum(ratio, sample.chances[:, arm] / (sample.t == arm).mean())
    for least in _TRIMS:
        members = ~lacking & (ratio >= least)
        if members.all() or not all((sample.t[members] == arm).sum() >= 2 for arm in (0, 1)):
            continue
        part = sample.take(members)
        part.__dict__["chances"] = sample.chances[members]
        none = np.zeros(int(members.sum()), dtype=bool)
        if _verdict(part, none, none)[0] == "supported":
            return members
    return None


def _leaves(tree, node, path):
    """Paths to the largest subtrees all of whose leaves are mostly members."""
    below = list(_classes(tree, node))
    if all(below):
        yield path
    elif any(below):
        column = tree.feature[node]
        cut = tree.threshold[node]
        yield from _leaves(tree, tree.children_left[node], (*path, (column, "<=", cut)))
        yield from _leaves(tree, tree.children_right[node], (*path, (column, ">", cut)))


def _classes(tree, node):
    """Whether each leaf below ``node`` is mostly of members."""
    if tree.children_left[node] < 0:
        yield tree.value[node][0].argmax() == 1
    else:
        yield from _classes(tree, tree.children_left[node])
        yield from _classes(tree, tree.children_right[node])


def _merged(path, names, columns, scaler):
    """Conditions of a path in words, each column and side once."""
    ends = {}
    for column, sign, cut in path:
        ends[column, sign] = scaler.mean_[column] + cut * scaler.scale_[column]
    for (column, sign), cut in ends.items():
        values = np.unique(columns[:, column])
        if set(values) <= {0, 1}:
            yield f"{names[column]} = {int(sign == '>')}"
        else:
            yield f"{names[column]} {sign} {cut:.4g}"
