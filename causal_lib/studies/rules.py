"""A rule that a person can read, its value on users that it did not see, and the rule as code."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from causal_lib.inference.covariates import design
from causal_lib.inference.models import fit
from causal_lib.inference.nuisances import clustered_covariance, standard_error
from causal_lib.reasons import Reason
from causal_lib.studies.audit import Prepared
from causal_lib.studies.columns import MISSING, OTHER
from causal_lib.studies.gains import Scores
from causal_lib.studies.step import Step, worst
from causal_lib.studies.templates import render

DEPTH = 3
_FEWEST = 100  # rows of a leaf: the mean of fewer scores is mostly noise
_RARE = 0.05  # share treated below which "as many as today" is no budget
_Z = 1.959963984540054
_BUDGETS = tuple(round(0.05 * step, 2) for step in range(1, 21))
_COSTS = 10  # steps from nothing to what the best leaf earns
_LEVELS = 4  # of a category, and columns, by which the log is divided into parts


@dataclass(frozen=True)
class Condition:
    """A row's ``column`` is at most ``value``, or above it ('<=', '>'); is, or is not, a level."""

    column: str
    sign: str
    value: float | str

    def holds(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) bool."""
        values = frame[self.column]
        if self.sign == "<=":
            return (values <= self.value).to_numpy()
        if self.sign == ">":
            return (values > self.value).to_numpy()
        same = (values.astype(str) == self.value).to_numpy()
        return same if self.sign == "is" else ~same

    def told(self) -> str:
        """The condition in words: a `Reason` where it has any."""
        if self.sign in ("<=", ">"):
            return f"{self.column} {self.sign} {self.value:.4g}"
        key = "is" if self.sign == "is" else "is_not"
        return Reason(key, column=self.column, level=self.value)

    def __str__(self):
        return str(self.told())


@dataclass(frozen=True)
class Rule:
    """Show where all conditions of one of ``cases`` hold; no cases: never; an empty one: always."""

    cases: tuple[tuple[Condition, ...], ...]

    def applies(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) bool: the rows to treat."""
        return self.where(lambda condition: condition.holds(frame), len(frame))

    def where(self, holds: Callable[[Condition], np.ndarray], n: int) -> np.ndarray:
        """(n,) bool: the rows to treat, where ``holds`` says in which a condition holds."""
        shown = np.zeros(n, dtype=bool)
        for case in self.cases:
            inside = np.ones(n, dtype=bool)
            for condition in case:
                inside &= holds(condition)
            shown |= inside
        return shown

    def told(self) -> str:
        """The rule in words: a `Reason`, but for one condition of numbers alone."""
        if not self.cases:
            return Reason("never")
        cases = [
            Reason.chain("both", [one.told() for one in case]) if case else Reason("always")
            for case in self.cases
        ]
        return Reason.chain("either", cases)

    def __str__(self):
        return str(self.told())

    def to_dict(self) -> dict:
        """The rule as JSON types."""
        return {"cases": [[asdict(condition) for condition in case] for case in self.cases]}

    @classmethod
    def from_dict(cls, found: dict) -> "Rule":
        """The rule that `to_dict` wrote."""
        return cls(tuple(tuple(Condition(**one) for one in case) for case in found["cases"]))

    def as_python(self, readings) -> str:
        """A Python function of one row (a mapping) that gives True where to treat."""
        return render("rule.py.j2", rule=self, cases=[
            [_in_python(one, readings[one.column]) for one in case] for case in self.cases
        ])  # fmt: skip

    def as_sql(self, readings) -> str:
        """The rule as a SQL CASE expression, 1 where to treat."""
        return render("rule.sql.j2", rule=self, cases=[
            [_in_sql(one, readings[one.column]) for one in case] for case in self.cases
        ])  # fmt: skip


def choose_rule(
    prepared: Prepared,
    identified: Step,
    estimated: Step,
    gains: Step,
    scores: Scores,
    *,
    budget: float | None = None,
    cost: float = 0.0,
    depth: int = DEPTH,
    seed: int = 0,
) -> Step:
    """A tree of ``depth`` that says whom to treat, learnt on half of the units, valued on the rest.

    Its gain is what it adds over treating nobody, a row, less ``cost`` a treated row (in outcomes,
    or in money where the roles name a price). Beside it: as today, everything, and as many as the
    rule by the predicted outcome when treated. There is no rule where no effect can be told from
    zero, and none is recommended that does not beat today's beyond chance.

    Parameters
    ----------
    budget : share of the rows that may be treated; by default as many as today, or all where today
        treats under a twentieth.
    """
    roles = prepared.roles
    if gains.verdict == "refused" or not len(scores.score):
        return Step("rule", "refused", (("rule_refused", {}),), gains.reasons)
    if not estimated.facts["clear"] and not gains.facts["varies"]:
        return Step(
            "rule",
            "refused",
            (("rule_none", {"outcome": roles.outcome}),),
            (Reason("no_effect"),),
        )
    worth = prepared.frame[roles.price].to_numpy() if roles.price else 1.0
    gain = scores.score * worth
    treated = prepared.frame[roles.treatment].to_numpy(dtype=float)
    if budget is None:
        budget = float(treated.mean()) if treated.mean() >= _RARE else 1.0
    units = prepared.frame[roles.unit].to_numpy() if roles.unit else np.arange(len(gain))
    learn = _half(units, seed)
    columns = [
        name
        for name, read in prepared.readings.items()
        if read.kind in ("number", "category") and name in identified.facts["adjustment"]
    ]
    if not columns:
        return Step("rule", "refused", (("rule_refused", {}),), (Reason("nothing_to_ask"),))
    frame = prepared.grouped
    leaves = _Leaves.grown(frame[learn], columns, gain[learn], depth)
    rule = leaves.rule(budget, cost)
    shown = rule.applies(frame).astype(float)
    relevance = _relevance(prepared, learn, seed)
    share = shown[learn].mean()
    cut = np.quantile(relevance[learn], 1 - share) if 0 < share < 1 else (
        np.inf if share == 0 else -np.inf
    )  # fmt: skip
    predicted = (relevance >= cut).astype(float)
    # what today adds is seen: its outcomes less those of nobody. A row's score must not be taken
    # where the row was treated, for the score depends on that.
    outcome = prepared.frame[roles.outcome].to_numpy(dtype=float)
    today = _Policy((outcome - scores.untreated) * worth, treated)
    policies = {
        "the rule": _Policy(shown * gain, shown),
        "as today": today,
        "show everything": _Policy(gain, np.ones(len(gain))),
        "by predicted outcome": _Policy(predicted * gain, predicted),
    }
    test = ~learn
    groups = units[test]
    rows = [
        {
            "policy": name,
            "share": float(one.chosen[test].mean()),
            **_value(one.net(cost)[test], groups),
        }
        for name, one in policies.items()
    ]
    own = policies.pop("the rule").net(cost)
    over = {name: _value((own - one.net(cost))[test], groups) for name, one in policies.items()}
    grid = _grid(leaves, frame, scores.score, gain, today, units, test, budget, cost)
    smallest = None if rule.cases else leaves.smallest(cost)
    return _step(prepared, rule, rows, over, budget, cost, estimated, grid, smallest)


@dataclass(frozen=True, eq=False)
class _Policy:
    """What a policy adds to each row over treating nobody, (n,), and whom it treats, (n,)."""

    added: np.ndarray
    chosen: np.ndarray

    def net(self, cost):
        """(n,) what it adds less the cost."""
        return self.added - cost * self.chosen


def _step(prepared, rule, rows, over, budget, cost, estimated, grid, smallest):
    """``smallest``: the share of the smallest leaf that gains, where none fits the budget."""
    roles = prepared.roles
    scale = 1.0 if roles.price else estimated.facts["scale"]
    better = over["as today"]["low"] > 0
    doubt = Reason("not_better") if smallest is None else Reason("no_room")
    reasons = () if better else (doubt,)
    verdict = worst(estimated.verdict, "supported" if better else "weak")
    told = {
        "rule": rule.told(),
        "share": rows[0]["share"],
        "more": scale * over["as today"]["value"],
        "low": scale * over["as today"]["low"],
        "high": scale * over["as today"]["high"],
        "budget": 100 * budget,
        "unit": roles.price or roles.outcome,
        "per": rows_of(scale),
        "smallest": smallest,
    }
    facts = {
        "rule": rule.to_dict(),
        "text": str(rule),
        "recommended": better,
        "budget": budget,
        "cost": cost,
        "over": over,
        "grid": grid,
    }
    if better:
        key = "rule_all" if () in rule.cases else "rule" if rule.cases else "rule_nobody"
    else:
        key = "rule_not_better" if smallest is None else "rule_no_room"
    says = [(key, told)]
    everything = next(row for row in rows if row["policy"] == "show everything")
    if budget >= 1 and everything["value"] > rows[0]["value"]:
        says.append(("rule_everything", {}))
    if better:
        facts["python"] = rule.as_python(prepared.readings)
        facts["sql"] = rule.as_sql(prepared.readings)
    return Step("rule", verdict, tuple(says), reasons, facts, {"policies": rows})


def rows_of(scale: float) -> Reason:
    """ "1,000 rows" or "row", by which numbers are given."""
    return Reason("thousand_rows") if scale == 1000 else Reason("a_row")


def _half(units, seed):
    """(n,) bool: the rows of half of the units, drawn at random."""
    names, codes = np.unique(units, return_inverse=True)
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    return (order < len(names) // 2)[codes]


def _value(parts, groups):
    """Mean of ``parts`` (n,) with its 95% interval over clusters."""
    mean = float(parts.mean())
    half = _Z * standard_error(parts - mean, groups)
    return {"value": mean, "low": mean - half, "high": mean + half}


def _relevance(prepared, learn, seed):
    """(n,) the predicted outcome when treated, by a model of the learning half."""
    roles = prepared.roles
    x = design(prepared.grouped, list(roles.columns_before))
    treated = learn & (prepared.frame[roles.treatment] == 1).to_numpy()
    y = prepared.frame[roles.outcome].to_numpy(dtype=float)
    return fit(y[treated], x[treated], seed)(x)


@dataclass(frozen=True, eq=False)
class _Leaves:
    """A tree that cuts where the gains differ most; of its leaves the mean gain, the largest first,
    and the share of the rows. ``meaning`` is that of the tree's columns, see `_questions`.
    """

    tree: DecisionTreeRegressor
    meaning: list
    means: pd.Series
    shares: pd.Series

    @classmethod
    def grown(cls, frame, columns, gain, depth):
        x, meaning = _questions(frame, columns)
        fewest = max(_FEWEST, len(x) // 20)
        tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=fewest, random_state=0)
        tree.fit(x, gain)
        leaves = tree.apply(x)
        means = pd.Series(gain).groupby(leaves).mean().sort_values(ascending=False)
        return cls(tree, meaning, means, pd.Series(leaves).value_counts(normalize=True))

    def rule(self, budget, cost):
        """The leaves that earn most within the budget, the best first: one is taken while what it
        earns is above the cost and the rows taken so far leave room for it.
        """
        taken = set()
        left = budget + 1e-9
        for leaf, mean in self.means.items():
            if mean > cost and self.shares[leaf] <= left:
                taken.add(leaf)
                left -= self.shares[leaf]
        return Rule(_cases(self.tree.tree_, self.meaning, taken, 0, ()))

    def smallest(self, cost):
        """Share of the smallest leaf that earns more than the cost; None where there is none."""
        able = self.shares[self.means.index[self.means > cost]]
        return float(able.min()) if len(able) else None

    def columns(self):
        """Columns that the tree asks for, the one that explains most first."""
        order = np.argsort(-self.tree.feature_importances_, kind="stable")
        asked = [self.meaning[i][0] for i in order if self.tree.feature_importances_[i] > 0]
        return list(dict.fromkeys(asked))


def _grid(leaves, frame, score, gain, today, units, test, budget, cost):
    """What other budgets and costs would choose, and what that is worth, for all and for parts.

    ``which[budget][cost]`` is the place of the rule among ``rules``. Of each part of the log:
    ``effect``, the mean score of its rows with its interval; and of its held-out rows the gain over
    treating nobody, a list by cost, of each rule, of showing ``everything``, and of ``today``, and
    ``more``, of each rule over today.
    """
    top = max(float(leaves.means.max()), cost)
    steps = (
        [float(f"{top * step / _COSTS:.3g}") for step in range(_COSTS + 1)] if top > 0 else [0.0]
    )
    budgets = sorted({*_BUDGETS, budget})
    costs = sorted({*steps, cost})
    rules = {}
    which = [
        [rules.setdefault(leaves.rule(one, price), len(rules)) for price in costs]
        for one in budgets
    ]
    holds = cache(lambda condition: condition.holds(frame))  # the rules share their conditions
    chosen = [rule.where(holds, len(frame)).astype(float) for rule in rules]
    of_rules = [_Policy(one * gain, one) for one in chosen]
    everything = _Policy(gain, np.ones(len(gain)))
    more = [_Policy(one.added - today.added, one.chosen - today.chosen) for one in of_rules]
    parts = []
    for condition, inside in _parts(frame, leaves.columns(), test):
        held_out = inside & test
        worth = [
            _by_cost(one.added[held_out], one.chosen[held_out], costs, units[held_out])
            for one in [today, everything, *of_rules, *more]
        ]
        parts.append(
            {
                "part": condition,
                "rows": int(inside.sum()),
                "held_out": int(held_out.sum()),
                "effect": _value(score[inside], units[inside]),
                "shares": [float(one[held_out].mean()) for one in chosen],
                "today": worth[0],
                "everything": worth[1],
                "worth": worth[2 : 2 + len(chosen)],
                "more": worth[2 + len(chosen) :],
            }
        )
    return {
        "budgets": budgets,
        "costs": costs,
        "rules": [rule.to_dict() for rule in rules],
        "which": which,
        "parts": parts,
    }


def _parts(frame, columns, test):
    """(None, all rows), and parts of the log by the first ``columns``: (condition, (n,) bool)."""
    yield None, np.ones(len(frame), dtype=bool)
    for column in columns[:_LEVELS]:
        values = frame[column]
        if values.dtype.kind in "fiub":
            cut = float(values[test].median())
            conditions = [Condition(column, sign, cut) for sign in ("<=", ">")]
        else:
            levels = values.astype(str).value_counts().index[:_LEVELS]
            conditions = [Condition(column, "is", level) for level in levels]
        for condition in conditions:
            inside = condition.holds(frame)
            if (inside & test).sum() >= _FEWEST:
                yield asdict(condition), inside


def _by_cost(added, chosen, costs, units):
    """[mean, low, high] of added - cost chosen for each cost, as of `_value`."""
    parts = np.column_stack([added, chosen])
    mean = parts.mean(axis=0)
    covariance = clustered_covariance(parts - mean, units)
    found = []
    for cost in costs:
        weights = np.array([1.0, -cost])
        value = float(weights @ mean)
        half = _Z * float(np.sqrt(max(weights @ covariance @ weights, 0.0)))
        found.append([value, value - half, value + half])
    return found


def _questions(frame, columns):
    """(n, k) numbers and indicators of levels, and (column, level or None) of each."""
    parts = []
    meaning = []
    for column in columns:
        values = frame[column]
        if values.dtype.kind in "fiub":
            parts.append(values.to_numpy(dtype=float))
            meaning.append((column, None))
            continue
        text = values.astype(str)
        for level in sorted(text.unique()):
            if level == OTHER:
                continue
            parts.append((text == level).to_numpy(dtype=float))
            meaning.append((column, level))
    return np.column_stack(parts), meaning


def _cases(tree, meaning, taken, node, conditions) -> tuple[tuple[Condition, ...], ...]:
    """The cases in which the subtree of ``node`` treats; branches that all treat become one."""
    left = tree.children_left[node]
    right = tree.children_right[node]
    if left < 0:
        return (conditions,) if node in taken else ()
    column, level = meaning[tree.feature[node]]
    cut = float(tree.threshold[node])
    if level is None:
        low = Condition(column, "<=", cut)
        high = Condition(column, ">", cut)
    else:
        low = Condition(column, "is not", level)
        high = Condition(column, "is", level)
    found = [
        *_cases(tree, meaning, taken, left, _narrowed(conditions, low)),
        *_cases(tree, meaning, taken, right, _narrowed(conditions, high)),
    ]
    if found == [_narrowed(conditions, low), _narrowed(conditions, high)]:
        return (conditions,)
    return tuple(found)


def _narrowed(conditions, new):
    """``conditions`` and ``new``, without those that it makes idle."""
    kept = [
        one
        for one in conditions
        if (one.column, one.sign) != (new.column, new.sign) or one.sign == "is not"
    ]
    if new.sign == "is":
        kept = [one for one in kept if one.column != new.column]
    return (*kept, new)


# ---- as code -------------------------------------------------------------------------------------


def _in_python(condition: Condition, read) -> str:
    value = f"row[{condition.column!r}]"
    if condition.sign in ("<=", ">"):
        if read.missing:
            value = f"({read.fill!r} if {value} is None else {value})"
        return f"{value} {condition.sign} {condition.value!r}"
    same = "==" if condition.sign == "is" else "!="
    level = None if condition.value == MISSING else condition.value
    if level is None:
        return f"{value} is {'' if same == '==' else 'not '}None"
    return f"{value} {same} {level!r}"


def _in_sql(condition: Condition, read) -> str:
    column = '"' + condition.column.replace('"', '""') + '"'
    if condition.sign in ("<=", ">"):
        if read.missing:
            column = f"COALESCE({column}, {read.fill!r})"
        return f"{column} {condition.sign} {condition.value!r}"
    if condition.value == MISSING:
        return f"{column} IS {'' if condition.sign == 'is' else 'NOT '}NULL"
    level = "'" + str(condition.value).replace("'", "''") + "'"
    if condition.sign == "is":
        return f"{column} = {level}"
    return f"({column} <> {level} OR {column} IS NULL)"
