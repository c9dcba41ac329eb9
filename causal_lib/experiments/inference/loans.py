"""Decisions about simulated loans: whom to approve under a budget and a cap on default, at what
limit, and how far an appetite for risk that no log has misleads them. Beside them a scorecard of
real credits by age.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causal_lib.data import load
from causal_lib.evaluation import evaluate
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, prediction, report
from causal_lib.inference import UpliftModel, effect, identify, sensitivity
from causal_lib.metric import Metric
from causal_lib.policy import CappedRule, learn_policy, policy_value
from causal_lib.worlds import FEATURES, loans

LOGGED = ["group", *FEATURES, "leniency"]
"""What a log has of an applicant and of the officer."""
_TREES = {"max_iter": 60, "min_samples_leaf": 100}
_SQUARES = {"estimator": "regression", "target": "overlap"}
_SAFE = "predicted default"
_BOOSTED = "predicted default, boosted"
_PROFIT = "estimated profit"
_NORMAL = 3.29 / 1.96
"""Half a 99.9% interval over half a 95% one."""


def halves(n: int, seed: int) -> np.ndarray:
    """One truth value per applicant: whether they are in the half to learn from."""
    return np.random.default_rng(seed).permutation(n) < n // 2


def rivals(world, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of a rule -> what it maximises and the risk it takes an applicant to have, in the half
    that is not learnt from.

    The last two know what no bank does: the true risk and profit of everybody, as a model of the
    logged columns sees them, and as they are.
    """
    columns = list(identify(world.graph, "approved", "default", hidden=world.hidden).adjustment)
    teach = halves(len(world.frame), seed)
    train = world.frame[teach]
    test = world.frame[~teach]
    trees = _TREES | {"random_state": seed}
    learnt = train[train["approved"] == 1]
    risks = {}
    for name, model in (
        (_SAFE, make_pipeline(StandardScaler(), LogisticRegression())),
        (_BOOSTED, HistGradientBoostingClassifier(**trees)),
    ):
        model.fit(learnt[columns], learnt["default"].astype(int))
        risks[name] = model.predict_proba(test[columns])[:, 1]
    profit = UpliftModel.train(train, "approved", "profit", columns, seed=seed)
    best = []
    for truth in (world.if_approved("gain"), world.if_approved("risk")):
        model = HistGradientBoostingRegressor(**trees).fit(train[columns], truth[teach])
        best.append(model.predict(test[columns]))
    return {
        _SAFE: (np.ones(len(test)), risks[_SAFE]),
        _BOOSTED: (np.ones(len(test)), risks[_BOOSTED]),
        _PROFIT: (profit.predict(test), risks[_SAFE]),
        "true profit, given the columns": (best[0], best[1]),
        "true profit, knowing the appetite": tuple(
            world.if_approved(what)[~teach] for what in ("gain", "risk")
        ),
    }


def decisions(
    world, caps: Sequence[float], *, budget: float = 0.4, seed: int = 0
) -> tuple[list[dict], dict[tuple[str, float], np.ndarray]]:
    """One row for each rule and cap: share approved, default promised and true, true profit per
    applicant and its estimate from the log with a 95% interval. Also (rule, cap) -> who is
    approved, of the half that is not learnt from.
    """
    columns = list(identify(world.graph, "approved", "default", hidden=world.hidden).adjustment)
    teach = halves(len(world.frame), seed)
    test = world.frame[~teach]
    risk = world.if_approved("risk")[~teach]
    gain = world.if_approved("gain")[~teach]
    chance = test["propensity"]
    logged = test.assign(logged=np.where(test["approved"] == 1, chance, 1 - chance))
    asked = {"action": "approved", "reward": "profit", "propensity": "logged", "context": columns}
    rows = []
    chosen = {}
    for name, (aim, promised) in rivals(world, seed).items():
        for cap in caps:
            taken = CappedRule.best(aim, promised, budget=budget, cap=cap).chooses(aim, promised)
            chosen[name, cap] = taken
            policy = np.column_stack([~taken, taken]).astype(float)
            found = policy_value(logged, policy, seed=seed, **asked)
            rows.append(
                {
                    "method": name,
                    "cap": cap,
                    "approved": taken.mean(),
                    "default promised": promised[taken].mean(),
                    "true default": risk[taken].mean(),
                    "true profit": (gain * taken).mean(),
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                }
            )
    return rows, chosen


def scorecards(world) -> list[dict]:
    """One row for each scorecard that is fitted to the approved loans: its mean error among the
    refused with a 95% interval over them. Few columns are age and income.
    """
    columns = list(identify(world.graph, "approved", "default", hidden=world.hidden).adjustment)
    approved = world.approved
    refused = (world.frame["approved"] == 0).to_numpy()
    risk = world.if_approved("risk")[refused]
    few = ["age", "income"]
    rows = []
    for name, used, weight in (
        ("few columns", few, None),
        ("few columns, weighted", few, 1 / approved["propensity"]),
        ("all columns", columns, None),
    ):
        card = make_pipeline(StandardScaler(), LogisticRegression())
        card.fit(approved[used], approved["default"], logisticregression__sample_weight=weight)
        error = card.predict_proba(world.frame.loc[refused, used])[:, 1] - risk
        mean = Metric.mean_of("", "", error)
        rows.append({"method": name, "error": mean.value, "low": mean.low, "high": mean.high})
    return rows


def good_payers_refused(world) -> list[dict]:
    """One row for each group: how often the officers refuse those who would repay, by the approved
    weighted with one over the propensity, with its standard error, and the truth.
    """
    frame = world.frame
    rows = []
    for group in (0, 1):
        inside = (frame["group"] == group).to_numpy()
        chance = frame.loc[inside, "propensity"].to_numpy()
        default = frame.loc[inside, "default"].fillna(1).to_numpy()  # missing where refused
        weight = (default == 0) / chance
        rate = np.average(1 - chance, weights=weight)
        error = (weight * (1 - chance - rate)).std() / weight.mean() / np.sqrt(len(weight))
        truth = np.average(1 - chance, weights=1 - world.if_approved("risk")[inside])
        rows.append({"group": group, "rate": rate, "standard error": error, "truth": truth})
    return rows


def had_the_group_been_the_other(
    world, *, cap: float, budget: float = 0.4, seed: int = 0
) -> list[dict]:
    """One row for each path from the group to the decision: what being in group 1 changes in the
    officers' approvals, with its 95% interval, and the shares of the decisions that change if each
    applicant had been of the other group, the officers' and those of the rule by estimated profit.
    """
    columns = list(identify(world.graph, "approved", "default", hidden=world.hidden).adjustment)
    teach = halves(len(world.frame), seed)
    train = world.frame[teach]
    learnt = train[train["approved"] == 1]
    card = make_pipeline(StandardScaler(), LogisticRegression())
    card.fit(learnt[columns], learnt["default"].astype(int))
    profit = UpliftModel.train(train, "approved", "profit", columns, seed=seed)

    def scored(frame):
        part = frame[~teach]
        return profit.predict(part), card.predict_proba(part[columns])[:, 1]

    rule = CappedRule.best(*scored(world.frame), budget=budget, cap=cap)
    before = rule.chooses(*scored(world.frame))
    sign = np.where(world.frame["group"] == 1, -1, 1)
    rows = []
    for name, flip in (
        ("direct (seen)", {"seen": True}),
        ("through work and income (lived)", {"lived": True}),
        ("both", {"seen": True, "lived": True}),
    ):
        other = world.counterfactual(**flip)
        change = sign * (other["approved"] - world.frame["approved"]).to_numpy()
        mean = Metric.mean_of("", "", change)
        row = {"method": name, "group 1": mean.value, "low": mean.low, "high": mean.high}
        row["officers"] = (change != 0).mean()
        row[_PROFIT] = (rule.chooses(*scored(other)) != before).mean()
        rows.append(row)
    return rows


def limits(world, approved: np.ndarray, seed: int = 0) -> list[dict]:
    """One row for each policy of the limit and each kind of propensities: value from the log with a
    99.9% interval, and the truth, per applicant of the half that is not learnt from.

    ``approved`` are those whom the first two policies approve, in that half. A learnt tree is the
    third. Propensities are estimated from the log, or those that the officers had, who knew the
    appetite.
    """
    columns = list(identify(world.graph, "approved", "default", hidden=world.hidden).adjustment)
    teach = halves(len(world.frame), seed)
    log = world.frame
    action = np.where(log["approved"] == 1, 1 + (log["limit"] > 5), 0)
    learner = HistGradientBoostingClassifier(**_TREES, random_state=seed)
    estimated = cross_val_predict(learner, log[LOGGED], action, cv=5, method="predict_proba")
    e = log["propensity"].to_numpy()
    h = world.truth["high_propensity"].to_numpy()
    really = np.column_stack([1 - e, e * (1 - h), e * h])
    row = np.arange(len(log))
    rounds = log.assign(action=action, estimated=estimated[row, action], really=really[row, action])
    asked = {"action": "action", "reward": "profit", "seed": seed}
    tree = learn_policy(rounds[teach], columns, depth=2, actions=3, propensity="estimated", **asked)
    test = rounds[~teach]
    yes = approved.astype(float)
    none = np.zeros(len(yes))
    policies = {
        "low limit for the approved": np.column_stack([1 - yes, yes, none]),
        "high limit for the approved": np.column_stack([1 - yes, none, yes]),
        "learnt tree": tree.probabilities(test),
    }
    gains = world.truth.loc[~teach, ["gain_if_low", "gain_if_high"]].to_numpy()
    rows = []
    for name, policy in policies.items():
        truth = (policy[:, 1:] * gains).sum(axis=1).mean()
        for source in ("estimated", "really"):
            found = policy_value(
                test, policy, propensity=source, context=columns, level=0.999, **asked
            )
            told = {"value": found.value, "low": found.low, "high": found.high, "truth": truth}
            rows.append({"method": name, "propensity": source} | told)
    return rows


def true_gain(world) -> float:
    """What the high limit adds to the profit of an approved loan, in thousands."""
    gain = world.truth["gain_if_high"] - world.truth["gain_if_low"]
    return gain[world.frame["approved"] == 1].mean()


def appetite_strengths(world) -> list[float]:
    """Partial R2 of the appetite with the high limit, and with the profit given the limit."""
    approved = world.frame["approved"] == 1
    seen = world.approved.assign(appetite=world.truth["appetite"][approved])
    return [
        sensitivity(seen, "appetite", to, given, **_SQUARES).partial_r2
        for to, given in (("high", LOGGED), ("profit", [*LOGGED, "high"]))
    ]


def sweep(n: int, seed: int, strengths: Sequence[float]) -> Iterator[dict]:
    """One row for each strength of the appetite: effect of the high limit on profit, adjusted for
    all that is logged, with its 95% interval, whether the 99.9% one covers the truth, and the
    truth, in thousands per loan.
    """
    for strength in strengths:
        world = loans(n, seed, appetite=strength)
        found = effect(
            world.approved,
            "high",
            "profit",
            adjustment=LOGGED,
            estimator="regression",
            learners="linear",
        )
        truth = true_gain(world)
        row = {"strength": strength, "value": found.value, "low": found.low, "high": found.high}
        yield row | {"truth": truth, "covers": found.covers(truth, 0.999)}


def german(seed: int = 0) -> list[dict]:
    """German credit, a score with the column of age and one without: AUC among debtors up to 25 and
    older ones, and how much more often good debtors up to 25 are refused if 30% are.
    """
    credits = load("german_credit")
    bad = (credits["creditability"] == "bad").astype(int)
    young = credits["age_in_years"] <= 25
    unused = ["creditability", "personal_status_and_sex"]
    rows = []
    for name, left_out in (("with age", []), ("without age", ["age_in_years"])):
        columns = pd.get_dummies(credits.drop(columns=[*unused, *left_out]), dtype=float)
        card = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
        score = cross_val_predict(card, columns, bad, cv=10, method="predict_proba")[:, 1]
        refused = (score > np.quantile(score, 0.7)).astype(int)
        good = pd.DataFrame({"young": young.astype(int), "refused": refused})[bad == 0]
        gap = effect(good, "young", "refused", adjustment=[], estimator="difference")
        found = {"value": gap.value, "low": gap.low, "high": gap.high}
        rows.append({"setting": name, "what": "good debtors refused, young less older"} | found)
        for label, part in (("young", young), ("older", ~young)):
            judged = evaluate(bad[part], score[part], n_boot=200, seed=seed).to_frame()
            ends = judged.loc[("naive", "ROC AUC"), ["value", "low", "high"]].to_dict()
            rows.append({"setting": name, "what": f"AUC, {label}"} | ends)
    return rows


_TRIED = "Written after sections 1 and 2 had been tried once on a smaller draw."


@benchmark("inference.loans", peer="the truth of the simulated loans")
def study(
    *,
    n: int = 30_000,
    larger: int = 100_000,
    budget: float = 0.4,
    caps: Sequence[float] = (0.12, 0.06),
    strengths: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0),
    seed: int = 0,
) -> dict:
    """Decisions about loans: scorecards learnt from approved loans, rules under a budget and a cap
    on default, limits valued with estimated and with real propensities, worlds that differ in how
    much a hidden appetite counts, what a group changes, and a scorecard of real credits by age.
    """
    world = loans(n, seed)
    decided, chosen = decisions(world, caps, budget=budget, seed=seed)
    gain = world.if_approved("gain")[~halves(n, seed)]
    lead = [
        gain * (chosen[_PROFIT, cap].astype(float) - chosen[_SAFE, cap].astype(float))
        for cap in caps
    ]
    valued = limits(world, chosen[_PROFIT, caps[0]], seed)
    swept = list(sweep(n, seed, strengths))
    hidden = [_robust(world), _robust(loans(larger, seed))]
    parts = {
        "scorecards": scorecards(world),
        "refused": good_payers_refused(world),
        "flipped": had_the_group_been_the_other(world, cap=caps[0], budget=budget, seed=seed),
        "german": german(seed),
    }
    claims, predictions = _judged(decided, lead, valued, swept, hidden, parts)
    return report(
        claims,
        predictions=predictions,
        applicants=n,
        decisions=decided,
        limits=valued,
        strengths=swept,
        hidden=hidden,
        **parts,
    )


def _robust(world):
    """The effect of the high limit on profit, what is left of it if corrected by the true strength
    of the appetite, and the strength that its robustness value asks for.
    """
    found = sensitivity(world.approved, "high", "profit", LOGGED, **_SQUARES)
    strong = appetite_strengths(world)
    corrected = found.under(*strong)[0]
    return {
        "applicants": len(world.frame),
        "value": found.value,
        "corrected": corrected,
        "truth": true_gain(world),
        "with the limit": strong[0],
        "with the profit": strong[1],
        "robustness value": found.robustness,
    }


def _judged(decided, lead, valued, swept, hidden, parts):
    """The claims and the predictions that they decide, each with what to note where it failed;
    they were made in a notebook, with the same sizes.
    """
    profits = [row for row in decided if row["method"] == _PROFIT]
    paired = [Metric.mean_of("", "", 1000 * one) for one in lead]
    told = " and ".join(f"{one.value:.1f} [{one.low:.1f}, {one.high:.1f}]" for one in paired)
    at = " and ".join(f"{row['cap']:.0%}" for row in profits)
    limit = {(row["method"], row["propensity"]): row for row in valued}
    low = limit["low limit for the approved", "estimated"]
    high = limit["high limit for the approved", "estimated"]
    order = [1000 * row[what] for what in ("value", "truth") for row in (low, high)]
    really = [
        row for row in valued if row["propensity"] == "really" and row["method"] != "learnt tree"
    ]
    error = [row["truth"] - row["value"] for row in swept]
    stronger = [
        min(row["with the limit"], row["with the profit"]) - row["robustness value"]
        for row in hidden
    ]
    last = hidden[-1]
    few, weighted, _ = (row["error"] for row in parts["scorecards"])
    first, second = parts["refused"]
    direct, lived, _ = parts["flipped"]
    judged = [
        (
            "A scorecard of few columns, fitted to the approved, promises the refused too little "
            "risk; weighted by one over the propensity of approval its mean error there is less "
            "than half as large.",
            [
                Claim.of("scorecard of few columns: error for the refused", [few], "below 0"),
                Claim.of(
                    "its absolute error if weighted, over that without weights",
                    [abs(weighted / few)],
                    "below 0.5",
                ),
            ],
            _TRIED,
        ),
        (
            "At the same budget and cap, approving by estimated profit truly earns more than "
            "approving by predicted default (95% interval of the paired difference above 0).",
            [
                Claim.of(
                    f"true profit, estimated profit less predicted default, cap {row['cap']:.0%}: "
                    "lower end",
                    [one.low],
                    "above 0",
                )
                for row, one in zip(profits, paired, strict=True)
            ],
            f"The difference, in thousands per 1,000 applicants, at the caps {at}: {told}. Against "
            "the boosted scorecard, in a trial with a third more applicants, it had held.",
        ),
        (
            "[Of approving by estimated profit,] its true default rate stays within a point of the "
            "cap. The values from the log cover the true ones (99.9%).",
            [
                Claim.of(
                    "estimated profit: most that the true default rate lies above the cap",
                    [max(row["true default"] - row["cap"] for row in profits)],
                    "at most 0.01",
                ),
                Claim.of(
                    "all rules and caps: value from the log covers the truth (99.9%)",
                    [
                        abs(row["value"] - row["true profit"])
                        < _NORMAL * (row["high"] - row["value"])
                        for row in decided
                    ],
                    "at least 1",
                ),
            ],
            "",
        ),
        (
            "Valued with propensities estimated from the log, a low limit for all whom the policy "
            "approves beats a high one; by the truth it is the other way round.",
            [
                Claim.of(
                    "estimated propensities: value, low less high limit",
                    [low["value"] - high["value"]],
                    "above 0",
                ),
                Claim.of("truth, low less high limit", [low["truth"] - high["truth"]], "below 0"),
            ],
            "The log puts the low limit at {:.0f} and the high one at {:.0f} thousands per 1,000 "
            "applicants; the truth is {:.0f} and {:.0f}.".format(*order),
        ),
        (
            "With the propensities that the officers really had, both values cover the truth "
            "(99.9%).",
            [
                Claim.of(
                    "the officers' propensities: value of a limit covers the truth (99.9%)",
                    [row["low"] <= row["truth"] <= row["high"] for row in really],
                    "at least 1",
                )
            ],
            "",
        ),
        (
            "The appetite is truly stronger than the robustness value.",
            [
                Claim.of(
                    "appetite's weaker strength less the robustness value, smallest",
                    [min(stronger)],
                    "above 0",
                )
            ],
            f"On {last['applicants']:,} applicants its weaker strength is "
            f"{min(last['with the limit'], last['with the profit']):.2%}, the robustness value "
            f"{last['robustness value']:.2%}. The robustness value supposes equal strengths on "
            "both sides, so the comparison was badly posed.",
        ),
        (
            "Correcting by its [the appetite's] true strength turns the sign. In worlds in which "
            "it does not count for the limit, adjusting covers the truth (99.9%); the error grows "
            "with its strength.",
            [
                Claim.of("high limit on profit, adjusted", [hidden[0]["value"]], "below 0"),
                Claim.of("the same, corrected", [hidden[0]["corrected"]], "above 0"),
                Claim.of(
                    f"appetite of {swept[0]['strength']:g}: covers the truth (99.9%)",
                    [swept[0]["covers"]],
                    "at least 1",
                ),
                Claim.of(
                    "smallest step of the error from strength to strength",
                    [min(np.diff(error))],
                    "above 0",
                ),
            ],
            "",
        ),
        (
            "The direct path and the paths through work and income each lower the approvals of "
            "group 1 (95%). Good payers of group 1 are refused more often, and weighting shows the "
            "rate from the log (99.9%). A policy blind to the group still changes at least 5% of "
            "its decisions when the applicants had lived as the other group.",
            [
                Claim.of(
                    f"group 1 on officers' approvals, {row['method']}: upper end",
                    [row["high"]],
                    "below 0",
                )
                for row in (direct, lived)
            ]
            + [
                Claim.of(
                    "good payers refused, group 1 less group 0",
                    [second["truth"] - first["truth"]],
                    "above 0",
                ),
                Claim.of(
                    "good payers refused: farthest from the truth, in standard errors",
                    [
                        max(
                            abs(row["rate"] - row["truth"]) / row["standard error"]
                            for row in (first, second)
                        )
                    ],
                    "below 3.29",
                ),
                Claim.of(
                    "decisions of the rule by estimated profit that change, lived",
                    [lived[_PROFIT]],
                    "at least 0.05",
                ),
            ],
            "",
        ),
        (
            "The score ranks young and older debtors better than chance (AUC above 0.6, 95%); "
            "good debtors up to 25 years are refused more often than older ones, and leaving the "
            "age out does not close the gap (95%).",
            [
                Claim.of(
                    f"German credit, {row['setting']}: {row['what']}, lower end",
                    [row["low"]],
                    "above 0.6" if row["what"].startswith("AUC") else "above 0",
                )
                for row in parts["german"]
            ],
            "",
        ),
    ]
    claims = [claim for _, made, _ in judged for claim in made]
    predictions = []
    for sentence, made, note in judged:
        failed = not all(claim.held for claim in made)
        recorded = "changed" if note == _TRIED else ""
        told = note if failed or recorded else ""
        predictions.append(prediction(sentence, made, recorded, told))
    return claims, predictions
