"""Policy values and their intervals by hand, distances from the truth over many logs, refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causal_lib.policy import learn_policy, policy_value, policy_values, slate_value
from causal_lib.policy import value as off_policy
from causal_lib.policy.reward_model import fit_additive
from causal_lib.policy.value import ESTIMATORS, PolicyValue


def _logs(n, seed, k=5):
    """Rounds with a binary context; rewards and logging depend on it. True values come from the
    probabilities.
    """
    rng = np.random.default_rng(seed)
    context = rng.integers(2, size=n)
    rates = np.array([[0.1, 0.2, 0.3, 0.15, 0.05], [0.3, 0.1, 0.2, 0.25, 0.15]])[:, :k]
    logging = np.array([[0.4, 0.2, 0.1, 0.2, 0.1], [0.1, 0.3, 0.2, 0.2, 0.2]])[:, :k]
    action = (rng.random(n)[:, None] > logging[context].cumsum(axis=1)).sum(axis=1)
    reward = (rng.random(n) < rates[context, action]).astype(int)
    frame = pd.DataFrame(
        {
            "context": context,
            "item_id": action,
            "click": reward,
            "propensity_score": logging[context, action],
        }
    )
    return frame, rates


TARGET = np.array([0.1, 0.1, 0.5, 0.2, 0.1])


LOGGING = np.array([[0.4, 0.2, 0.1, 0.2, 0.1], [0.1, 0.3, 0.2, 0.2, 0.2]])


def test_distances_from_the_truth_are_standard_normal(draws, check_pivot):
    names = ("ips", "snips", "dr", "sndr", "mips")
    distances = {name: [] for name in names}
    for seed in range(draws):
        logs, rates = _logs(1000, seed)
        truth = (rates @ TARGET).mean()
        # A model that knows the actions and not the context: the propensities must put its error
        # right.
        how = {
            "expected": np.broadcast_to(rates[0], (1000, 5)),
            "logging": LOGGING[logs["context"]],
            "interval": "normal",
        }
        for name, found in policy_values(
            logs, TARGET, estimators=names, embedding=range(5), **how
        ).items():
            error = (found.high - found.low) / 2 / 1.959964
            assert (found.high + found.low) / 2 == pytest.approx(found.value)
            distances[name].append((found.value - truth) / error)
    for name in names:
        check_pivot(distances[name])


def test_bootstrap_intervals_are_as_wide_as_normal_ones():
    """An end is known within 2.7 standard errors over the root of 500 draws: the mean width of 30
    logs within 1%.
    """
    ratio = {level: [] for level in (0.95, 0.8)}
    for seed in range(30):
        logs, _ = _logs(2000, seed)
        for level, found in ratio.items():
            how = {"estimator": "ips", "level": level, "seed": seed}
            drawn, normal = (
                policy_value(logs, TARGET, interval=kind, **how) for kind in ("bootstrap", "normal")
            )
            found.append((drawn.high - drawn.low) / (normal.high - normal.low))
            assert drawn.low < drawn.value < drawn.high
    assert np.mean(ratio[0.95]) == pytest.approx(1, abs=0.03)
    assert np.mean(ratio[0.8]) == pytest.approx(1, abs=0.03)


def test_the_interval_of_a_model_alone_is_none():
    found = policy_value(_logs(2000, 0)[0], TARGET, estimator="dm", context=["context"])
    assert (found.low, found.high) == (None, None)
    assert found.verdict == "no interval: the logs do not say how wrong the model is"
    assert "no interval, effective sample size" in repr(found)


def test_by_default_all_estimators_that_have_what_they_need():
    logs, _ = _logs(400, 6)
    found = policy_values(logs, TARGET)
    assert tuple(found) == tuple(name for name in ESTIMATORS if name != "mips")
    assert all(value.value is not None for value in found.values())
    given = {"logging": LOGGING[logs["context"]], "embedding": range(5)}
    assert tuple(policy_values(logs, TARGET, **given)) == tuple(ESTIMATORS)
    assert "mips" not in policy_values(logs, TARGET, logging=given["logging"])
    with pytest.raises(
        ValueError,
        match="embedding is given without logging: estimator 'mips' needs both; give logging",
    ):
        policy_values(logs, TARGET, embedding=range(5))
    assert tuple(policy_values(logs, TARGET, estimators=["ips"], embedding=range(5))) == ("ips",)
    # Two rounds are too few for three folds: what needs no model is still told, if only that the
    # logs cannot tell.
    assert tuple(policy_values(logs[:2], TARGET)) == ("ips", "snips", "clipped-ips")
    assert "mips" not in (found := policy_values(logs[:2], TARGET, expected=np.full((2, 5), 0.2)))
    assert "dr" in found


def test_logs_that_rest_on_few_rows_give_no_value():
    """Below 100 effective rows, and so whenever one row has over a tenth of the weight."""
    logs = pd.DataFrame(
        {"item_id": [0, 1] * 500, "click": [0, 1, 1, 0] * 250, "propensity_score": 1.0}
    )
    for heavy in (105.0, 112.0):
        logs.loc[0, "propensity_score"] = 1 / heavy
        weight = 0.5 / logs["propensity_score"]
        found = policy_value(logs, [0.5, 0.5], estimator="ips")
        size = weight.sum() ** 2 / (weight**2).sum()
        share = weight.max() / weight.sum()
        assert (found.effective_sample_size, found.largest_share) == pytest.approx((size, share))
        assert (found.value is None) == (size < 100) == (heavy == 112.0)
        assert (share > 0.1) == (heavy == 112.0)
    assert found.verdict == "the logs cannot tell: effective sample size 91 is below 100"
    assert (found.low, found.high) == (None, None)


def test_formulas_by_hand():
    logs = pd.DataFrame(
        {
            "item_id": [0, 1] * 200,
            "click": [1, 0, 1, 1] * 100,
            "propensity_score": [0.5, 0.25] * 200,
        }
    )
    policy = np.array([0.4, 0.6])
    w = np.array([0.8, 2.4] * 200)
    r = logs["click"].to_numpy()
    assert policy_value(logs, policy, estimator="ips").value == pytest.approx((w * r).mean())
    assert policy_value(logs, policy, estimator="snips").value == pytest.approx(
        (w * r).sum() / w.sum()
    )
    assert policy_value(logs, policy).effective_sample_size == pytest.approx(
        w.sum() ** 2 / (w**2).sum()
    )


def test_the_logging_policy_values_at_its_own_mean():
    logs, _ = _logs(1000, 0)
    own = LOGGING[logs["context"]]
    for estimator in ("ips", "snips"):
        assert policy_value(logs, own, estimator=estimator).value == pytest.approx(
            logs["click"].mean()
        )


def test_doubly_robust_is_narrower_where_the_context_tells():
    logs, _ = _logs(5000, 1)
    ips, dr = (policy_value(logs, TARGET, estimator=e, context=["context"]) for e in ("ips", "dr"))
    assert dr.high - dr.low < ips.high - ips.low


def test_hopeless_logs_give_no_value():
    logs, _ = _logs(1000, 2)
    logs.loc[0, "propensity_score"] = 1e-6
    found = policy_value(logs, TARGET)
    assert found.value is None
    assert found.low is None
    assert found.effective_sample_size < 2
    assert "no value, the logs cannot tell: effective sample size 1 is below 100" in repr(found)
    logs.loc[0, "propensity_score"] = 1e-3
    found = policy_value(
        logs[["item_id", "click", "propensity_score"]].loc[:150], TARGET, estimator="ips"
    )
    assert found.value is None


def _broken(**columns):
    return _logs(50, 0)[0].assign(**columns)


HOLES = np.tile(TARGET, (50, 1))
HOLES[3, 1] = HOLES[9, [0, 4]] = np.nan


@pytest.mark.parametrize(
    ("logs", "policy", "arguments", "message"),
    [
        (
            _broken(propensity_score=0.0),
            TARGET,
            {},
            r"'propensity_score': 50 values outside \(0, 1\], first 0",
        ),
        (_broken(propensity_score=1.5), TARGET, {}, r"50 values outside \(0, 1\], first 1.5"),
        (
            _broken(item_id=5),
            TARGET,
            {},
            r"action column 'item_id': 50 values outside \[0, 4\], first 5",
        ),
        (_broken(click=np.nan), TARGET, {}, "column 'click' holds only missing values"),
        (_broken(), TARGET * 2, {}, "do not sum to 1|outside"),
        (_broken(), np.array([0.3, 0.3, 0.3, 0.0, 0.0]), {}, "1 rows do not sum to 1, first 0.9"),
        (_broken(), np.tile(TARGET, (3, 1)), {}, "policy has 3 rows for 50 rounds"),
        (_broken(item_id=1), np.array([1.0, 0, 0, 0, 0]), {}, "every logged action probability 0"),
        (
            _broken(),
            TARGET,
            {"estimator": "magic"},
            "unknown estimator 'magic'; known: dm, ips, snips, dr",
        ),
        (_broken(), TARGET, {"reward": "buy"}, "no column 'buy'"),
        (
            _broken(),
            TARGET,
            {"interval": "wide"},
            "unknown interval 'wide'; known: auto, normal, bootstrap",
        ),
        (_broken(), TARGET, {"level": 95}, r"level must lie in \(0, 1\), not 95"),
        (_broken(), TARGET, {"threshold": 0}, "threshold must be above 0, not 0"),
        (
            _broken(),
            TARGET,
            {"estimator": "mips"},
            "'mips' needs logging .*; lacking: logging and embedding",
        ),
        (
            _broken(),
            TARGET,
            {"estimator": "mips", "logging": TARGET},
            "'mips' needs logging .*; lacking: embedding",
        ),
        (
            _broken().head(2),
            TARGET,
            {"estimator": "dr"},
            "2 rounds are too few for the 3 folds of the model of the reward",
        ),
        (
            _broken(item_id=1.9),
            TARGET,
            {},
            "'item_id': 50 values are no whole numbers, first 1.9; code the actions",
        ),
        (
            _broken(item_id="a"),
            TARGET,
            {},
            "'item_id' holds 1 levels, 'a'; the policy has 5 columns: give actions=, the labels of",
        ),
        (
            _broken(),
            TARGET * np.nan,
            {},
            "policy: 5 probabilities in 1 of 1 rows are missing; fill them",
        ),
        (
            _broken(),
            HOLES,
            {},
            "policy: 3 probabilities in 2 of 50 rows are missing; fill them .* or leave those "
            "rounds",
        ),
        (
            _broken(),
            TARGET,
            {"estimator": "mips", "logging": HOLES, "embedding": range(5)},
            "logging: 3 probabilities in 2 of 50 rows are missing",
        ),
        (_broken(), list("abcde"), {}, "policy must hold probabilities, not <U1; give numbers"),
        (
            _broken(),
            TARGET,
            {"estimator": "mips", "logging": TARGET, "embedding": [0, 1]},
            "embedding has 2 actions; the policy has 5",
        ),
    ],
)
def test_bad_input(logs, policy, arguments, message):
    with pytest.raises(ValueError, match=message):
        policy_value(logs, policy, **arguments)


def test_scores_of_the_other_estimators_by_hand():
    logs, _ = _logs(3000, 3)
    row = np.arange(3000)
    one = logs["item_id"].to_numpy()
    model = fit_additive(
        logs[["context"]].to_numpy(float), one, logs["click"].to_numpy(float), 5, seed=0
    )
    q = model.of(slice(None))
    w = TARGET[one] / logs["propensity_score"].to_numpy()
    r = logs["click"].to_numpy()
    direct = q @ TARGET
    left = r - q[row, one]
    labels = np.array([0, 0, 1, 1, 2])
    share = {e: (TARGET[labels == e].sum(), LOGGING[:, labels == e].sum(axis=1)) for e in range(3)}
    group = np.array(
        [
            share[labels[a]][0] / share[labels[a]][1][c]
            for a, c in zip(one, logs["context"], strict=True)
        ]
    )
    expected = {
        "dm": direct.mean(),
        "dr": (direct + w * left).mean(),
        "sndr": direct.mean() + (w @ left) / w.sum(),
        "clipped-ips": (np.minimum(w, 1.5) * r).mean(),
        "switch-dr": (direct + w * (w <= 1.5) * left).mean(),
        "dros": (direct + 2.25 * w / (w**2 + 2.25) * left).mean(),
        "mips": (group * r).mean(),
    }
    how = {
        "logging": LOGGING[logs["context"]],
        "embedding": labels,
        "threshold": 1.5,
        "context": ["context"],
        "interval": "normal",
    }
    found = policy_values(logs, TARGET, estimators=list(expected), **how)
    assert {name: value.value for name, value in found.items()} == pytest.approx(expected)
    assert found["dros"].settings == {"threshold": 1.5}
    # The scores of a round; those of a ratio are linear around it. A limit's interval holds that of
    # no limit.
    ratio = [(w @ part) / w.sum() for part in (r, left)]
    score = {
        "ips": w * r,
        "snips": w / w.mean() * (r - ratio[0]) + ratio[0],
        "dr": direct + w * left,
        "sndr": direct + w / w.mean() * (left - ratio[1]) + ratio[1],
        "mips": group * r,
        "clipped-ips": np.minimum(w, 1.5) * r,
        "switch-dr": direct + w * (w <= 1.5) * left,
        "dros": direct + 2.25 * w / (w**2 + 2.25) * left,
    }
    free = {"clipped-ips": "ips", "switch-dr": "dr", "dros": "dr"}
    for level, width in ((0.95, 1.959964), (0.8, 1.281552)):
        found = policy_values(logs, TARGET, estimators=list(score), level=level, **how)
        for name, value in found.items():
            ends = []
            for one in {name, free.get(name, name)}:
                half = width * score[one].std(ddof=1) / np.sqrt(3000)
                ends += [score[one].mean() - half, score[one].mean() + half]
            assert (value.low, value.high) == pytest.approx((min(ends), max(ends)), rel=1e-6), (
                name,
                level,
            )


def test_a_threshold_from_the_data_pays_where_weights_are_wild():
    errors = {name: [] for name in ("ips", "dr", "switch-dr", "dros", "clipped-ips")}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logging = np.full(20, 0.002)
        logging[0] = 1 - 19 * 0.002
        action = rng.choice(20, p=logging, size=3000)
        reward = rng.random(3000) < 0.1 + 0.01 * action
        logs = pd.DataFrame(
            {"item_id": action, "click": reward.astype(int), "propensity_score": logging[action]}
        )
        policy = np.full(20, 0.05)
        values = {
            name: found.value
            for name, found in policy_values(logs, policy, estimators=list(errors)).items()
        }
        for name, value in values.items() if None not in values.values() else ():
            errors[name].append(value - (0.1 + 0.01 * np.arange(20)).mean())
    size = {name: np.sqrt(np.mean(np.square(part))) for name, part in errors.items()}
    assert len(errors["ips"]) > 30
    assert size["switch-dr"] < size["dr"]
    assert size["dros"] < size["dr"]


def test_an_embedding_pays_where_actions_are_many():
    widths = {"ips": [], "mips": []}
    rng = np.random.default_rng(0)
    k = 200
    n = 4000
    labels = rng.integers(4, size=k)
    rates = np.array([0.1, 0.2, 0.3, 0.4])[labels]
    logging = rng.dirichlet(np.ones(k))
    policy = rng.dirichlet(np.ones(k))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        action = rng.choice(k, p=logging, size=n)
        logs = pd.DataFrame(
            {"item_id": action, "click": (rng.random(n) < rates[action]).astype(int)}
        )
        logs["propensity_score"] = logging[action]
        found = policy_values(
            logs, policy, estimators=("ips", "mips"), logging=logging, embedding=labels
        )
        for name, value in found.items():
            widths[name].append(
                abs((value.value if value.value is not None else 1) - rates @ policy)
            )
    assert np.mean(widths["mips"]) < 0.5 * np.mean(widths["ips"])


def _slates(n, seed):
    """Rounds of three positions, two items each; a click depends on the item there and on the one
    above.
    """
    rng = np.random.default_rng(seed)
    logging = np.array([0.6, 0.4])
    target = np.array([0.3, 0.7])
    item = (rng.random((n, 3)) < logging[1]).astype(int)
    above = np.column_stack([np.zeros(n, dtype=int), item[:, :-1]])
    rate = 0.1 + 0.3 * item + 0.2 * above
    click = rng.random((n, 3)) < rate
    logs = pd.DataFrame({"round_id": np.repeat(np.arange(n), 3), "position": np.tile([1, 2, 3], n)})
    logs = logs.assign(
        click=click.ravel().astype(int),
        propensity_score=logging[item].ravel(),
        target=target[item].ravel(),
    )
    truth = 3 * (0.1 + 0.3 * target[1]) + 2 * 0.2 * target[1]
    return logs.sample(frac=1, random_state=seed), truth


def test_slates_by_what_moves_what():
    width = {}
    errors = {"slate": [], "cascade": [], "independent": []}
    for seed in range(40):
        logs, truth = _slates(1500, seed)
        for name in errors:
            found = slate_value(logs, estimator=name)
            errors[name].append((found.value - truth) / (found.high - found.low) * 2 * 1.96)
            width[name] = found.high - found.low
    z = {name: np.mean(part) * np.sqrt(40) for name, part in errors.items()}
    assert abs(z["slate"]) < 4
    assert abs(z["cascade"]) < 4
    assert z["independent"] < -10  # the item above matters here
    assert width["independent"] < width["cascade"] < width["slate"]


def test_the_interval_of_a_slate_by_hand():
    logs, _ = _slates(300, 7)
    scores = {"slate": [], "cascade": [], "independent": []}
    for _, part in logs.sort_values("position").groupby("round_id"):
        ratio = (part["target"] / part["propensity_score"]).tolist()
        click = part["click"].tolist()
        scores["slate"].append(ratio[0] * ratio[1] * ratio[2] * sum(click))
        scores["cascade"].append(
            ratio[0] * click[0]
            + ratio[0] * ratio[1] * click[1]
            + ratio[0] * ratio[1] * ratio[2] * click[2]
        )
        scores["independent"].append(sum(a * b for a, b in zip(ratio, click, strict=True)))
    for name, score in scores.items():
        for level, width in ((0.95, 1.959964), (0.8, 1.281552)):
            found = slate_value(logs, estimator=name, level=level, interval="normal")
            half = width * np.std(score, ddof=1) / np.sqrt(300)
            assert found.value == pytest.approx(np.mean(score))
            assert (found.low, found.high) == pytest.approx(
                (found.value - half, found.value + half), rel=1e-6
            )


def test_a_slate_is_judged_by_its_worst_position():
    """The ratios are 1 at position 1, at position 2 0.5 and, one in ten, 5.5; in a slate their
    product counts at both.
    """
    n = 400
    rare = np.arange(400) % 10 == 0
    logs = pd.DataFrame(
        {"round_id": np.repeat(np.arange(n), 2), "position": np.tile([1, 2], n), "click": 1}
    )
    own = np.column_stack([np.ones(n), np.where(rare, 5.5, 0.5)])
    logs["propensity_score"] = 0.1
    logs["target"] = 0.1 * own.ravel()
    size = own[:, 1].sum() ** 2 / (own[:, 1] ** 2).sum()
    assert 100 < size < 150
    for name in ("slate", "cascade", "independent"):
        found = slate_value(logs, estimator=name)
        assert found.effective_sample_size == pytest.approx(size)
        assert found.largest_share == pytest.approx(5.5 / own[:, 1].sum())
    few = slate_value(logs[logs["round_id"] < 200])
    assert few.value is None
    assert few.verdict.startswith("the logs cannot tell: effective sample size 62 ")


@pytest.mark.parametrize(
    ("change", "how", "message"),
    [
        ({}, {"estimator": "sips"}, "unknown estimator 'sips'; known: slate, cascade, independent"),
        ({}, {"interval": "magic"}, "unknown interval 'magic'; known: auto, normal, bootstrap"),
        ({}, {"level": 95}, r"level must lie in \(0, 1\), not 95"),
        ({"propensity_score": 0}, {}, "'propensity_score': 300 values outside"),
        ({"position": 1}, {}, "200 rows repeat a position of their round"),
        ({"target": 0.0}, {}, "every item logged at a position probability 0"),
    ],
)
def test_bad_slates(change, how, message):
    logs, _ = _slates(100, 0)
    with pytest.raises(ValueError, match=message):
        slate_value(logs.assign(**change), **how)


def test_a_reward_model_of_one_s_own_takes_the_place_of_the_additive_one():
    logs, _ = _logs(600, 3)
    chosen = logs["item_id"].to_numpy()
    reward = logs["click"].to_numpy(dtype=float)
    same = fit_additive(logs[["context"]].to_numpy(dtype=float), chosen, reward, 5, seed=0).of(
        slice(None)
    )
    ours = policy_values(logs, TARGET, estimators=("dm", "dr", "dros"), context=["context"])
    theirs = policy_values(logs, TARGET, estimators=("dm", "dr", "dros"), expected=same)
    assert {name: value.value for name, value in theirs.items()} == {
        name: value.value for name, value in ours.items()
    }
    with pytest.raises(ValueError, match=r"expected has shape \(600, 4\); \(600, 5\) is needed"):
        policy_value(logs, TARGET, expected=same[:, :4])
    same[3, 2] = np.nan
    with pytest.raises(ValueError, match="expected: 1 values are missing or infinite"):
        policy_value(logs, TARGET, expected=same)


def test_the_threshold_is_the_last_that_an_independent_scan_keeps():
    """SLOPE++, written again as a loop over pairs."""
    n = 400
    k = 5
    candidates = [1.0, 2.0, 3.0, 5.0, 10.0, 30.0, np.inf]
    ours = []
    theirs = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        policy = rng.dirichlet(np.full(k, 0.3), size=n)
        # the worse the model, the larger the threshold
        expected = rng.random((n, k)) + seed % 4 * 0.3
        logging = rng.dirichlet(np.full(k, 2), size=n).clip(0.01)
        action = (
            rng.random((n, 1)) > (logging / logging.sum(axis=1, keepdims=True)).cumsum(axis=1)
        ).sum(axis=1)
        logs = pd.DataFrame({"item_id": action, "click": rng.integers(2, size=n)})
        logs["propensity_score"] = logging[np.arange(n), action]
        w = policy[np.arange(n), action] / logs["propensity_score"]
        left = logs["click"] - expected[np.arange(n), action]
        for name, shrunk in (
            ("switch-dr", lambda limit, w=w: np.where(w <= limit, w, 0)),
            ("dros", lambda limit, w=w: w / (1 + w**2 / limit**2)),
        ):
            rows = []
            for limit in candidates:
                score = (policy * expected).sum(axis=1) + shrunk(limit) * left
                rows.append((1.6448536 * score.std() / np.sqrt(n), score.mean(), limit))
            rows.sort(reverse=True)
            good = [
                all(abs(a[1] - b[1]) <= a[0] + (6**0.5 - 1) * b[0] for b in rows[:i])
                for i, a in enumerate(rows)
            ]
            theirs.append(
                min(rows[(good.index(False) if False in good else len(good)) - 1][2], 1e9 * w.max())
            )
            found = policy_value(
                logs, policy, estimator=name, expected=expected, threshold=candidates
            )
            ours.append(found.settings["threshold"])
    assert ours == theirs
    assert {1.0, 3.0, 5.0, 10.0} <= set(theirs)  # the rule had to choose


def test_clusters_widen_intervals_as_their_copies_do():
    logs, _ = _logs(500, 5)
    many = pd.concat([logs.assign(user=np.arange(500))] * 9, ignore_index=True)
    for interval in ("normal", "bootstrap"):
        once = policy_value(logs, TARGET, estimator="ips", interval=interval)
        copied = policy_value(many, TARGET, estimator="ips", interval=interval)
        known = policy_value(many, TARGET, estimator="ips", interval=interval, cluster="user")
        assert (copied.high - copied.low) / (once.high - once.low) == pytest.approx(1 / 3, rel=0.2)
        assert (known.high - known.low) / (once.high - once.low) == pytest.approx(1, rel=0.1)
        if interval == "normal":
            assert (known.low, known.high) == pytest.approx((once.low, once.high))
    with pytest.raises(ValueError, match=r"threshold must be above 0, not \[\]"):
        policy_value(many, TARGET, threshold=[])


def _uneven():
    """300 rounds of unequal weights, rewards of 2, 3 and 7, and clusters of 1, 2 and 3 rounds in
    turn.
    """
    rng = np.random.default_rng(11)
    logging = np.array([0.5, 0.3, 0.2])
    action = rng.choice(3, p=[0.5, 0.3, 0.2], size=300)
    logs = pd.DataFrame({"item_id": action, "click": rng.choice([2.0, 3.0, 7.0], size=300)})
    user = np.repeat(np.arange(150), np.tile([1, 2, 3], 50))
    return logs.assign(propensity_score=logging[action], user=user), np.array([0.3, 0.1, 0.6])


def test_intervals_of_clusters_of_unequal_size_by_hand():
    logs, policy = _uneven()
    how = {"estimator": "ips", "cluster": "user", "level": 0.8}
    score = policy[logs["item_id"]] / logs["propensity_score"].to_numpy() * logs["click"].to_numpy()
    totals = pd.Series(score - score.mean()).groupby(logs["user"]).sum()
    error = np.sqrt((totals**2).sum() * 150 / 149) / 300
    found = policy_value(logs, policy, **how)
    assert (found.low, found.high) == pytest.approx(
        (score.mean() - 1.2815516 * error, score.mean() + 1.2815516 * error)
    )
    drawn = policy_value(logs, policy, interval="bootstrap", seed=3, **how)
    rng = np.random.default_rng(3)
    sums = pd.Series(score).groupby(logs["user"]).sum().to_numpy()
    counts = np.tile([1, 2, 3], 50)
    order = np.lexsort([sums, counts])
    sums = sums[order]
    counts = counts[order]
    ratios = []
    for _ in range(500):
        draw = rng.integers(150, size=150)
        ratios.append(sums[draw].sum() / counts[draw].sum())
    assert (drawn.low, drawn.high) == pytest.approx(tuple(np.quantile(ratios, [0.1, 0.9])))
    alone = policy_value(logs, policy, estimator="ips", interval="bootstrap", seed=3)
    rng = np.random.default_rng(3)
    means = [np.sort(score)[rng.integers(300, size=300)].mean() for _ in range(500)]
    assert (alone.low, alone.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    with pytest.raises(ValueError, match="no column 'who'"):
        policy_value(logs, policy, estimator="ips", cluster="who")


@pytest.mark.parametrize("rare", [0.02, 1e-4])
def test_thresholds_of_the_data_run_from_the_largest_weight_to_the_median_of_those_above_0(rare):
    """Or, where that is nearer to 0, to a thousandth of the largest."""
    rng = np.random.default_rng(2)
    action = np.r_[np.zeros(600, dtype=int), np.ones(400, dtype=int)]
    propensity = 0.3 + 0.6 * rng.random(1000)
    propensity[600] = rare
    propensity[601:700] = 0.08
    logs = pd.DataFrame(
        {"item_id": action, "click": rng.integers(2, size=1000), "propensity_score": propensity}
    )
    policy = np.tile([0.0, 1.0], (1000, 1))
    policy[700:] = [0.9, 0.1]
    expected = np.full((1000, 2), 0.9)
    w = policy[np.arange(1000), action] / propensity
    most = w.max()
    middle = np.median(w[w > 0])
    assert (middle < 1e-3 * most) == (rare == 1e-4)
    least = max(middle, 1e-3 * most)
    grid = [most * (least / most) ** (k / 11) for k in range(12)]
    names = ["clipped-ips", "switch-dr", "dros"]
    ours = policy_values(logs, policy, estimators=names, expected=expected)
    told = policy_values(logs, policy, estimators=names, expected=expected, threshold=grid)
    for name in names:
        assert ours[name].settings["threshold"] == pytest.approx(told[name].settings["threshold"])
        assert ours[name].value == pytest.approx(told[name].value)
    # a point that both ends of the grid move
    assert grid[0] > ours["switch-dr"].settings["threshold"] > grid[-1]


def test_an_infinite_threshold_is_a_large_one():
    logs, policy = _uneven()
    for change, largest in ((1, 3e9), (0.1, 1e9)):  # weights of at most 3, and of at most 0.3
        one = logs.assign(propensity_score=np.minimum(logs["propensity_score"] / change, 1.0))
        most = (policy[one["item_id"]] / one["propensity_score"]).max()
        found = policy_value(one, policy, estimator="clipped-ips", threshold=np.inf)
        assert found.settings == {"threshold": pytest.approx(1e9 * max(most, 1))}
        assert found.settings["threshold"] == pytest.approx(largest)
        assert (
            found.effective_sample_size
            == policy_value(one, policy, estimator="ips").effective_sample_size
        )


def test_values_of_a_model_do_not_depend_on_how_many_rounds_are_looked_at_once(monkeypatch):
    logs, policy = _uneven()
    wide = np.random.default_rng(0).dirichlet(np.ones(3), size=300)
    q = np.random.default_rng(1).random((300, 3))
    a = logs["item_id"].to_numpy()
    row = np.arange(300)
    for block in (off_policy._BLOCK, 21, 2):  # all rounds, 7 at once, one
        monkeypatch.setattr(off_policy, "_BLOCK", block)
        for given in (policy, wide):
            table = np.broadcast_to(given, (300, 3))
            w = table[row, a] / logs["propensity_score"].to_numpy()
            score = (q * table).sum(axis=1) + w * (logs["click"].to_numpy() - q[row, a])
            found = policy_values(logs, given, estimators=["dm", "dr"], expected=q)
            assert found["dm"].value == pytest.approx((q * table).sum(axis=1).mean())
            assert found["dr"].value == pytest.approx(score.mean())
            assert found["dm"].effective_sample_size == pytest.approx(w.sum() ** 2 / (w @ w))
            assert found["dm"].largest_share == pytest.approx(w.max() / w.sum())
            assert found["dm"].rounds == 300
    assert off_policy._blocks(5, 1) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_the_model_of_the_reward_is_fitted_with_the_seed_and_the_context():
    logs, _ = _logs(300, 8)
    chosen = logs["item_id"].to_numpy()
    reward = logs["click"].to_numpy(dtype=float)
    for seed in (0, 5):
        for context in ([], ["context"]):
            wide = logs[context].to_numpy(dtype=float)
            q = fit_additive(wide, chosen, reward, 5, seed=seed).of(slice(None))
            found = policy_value(logs, TARGET, estimator="dm", context=context, seed=seed)
            assert found.value == pytest.approx((q @ TARGET).mean(), rel=1e-12)
    three = logs.groupby("item_id").head(1).head(3)
    assert "dr" in policy_values(three, TARGET)


def test_other_forms_of_the_probabilities():
    logs, policy = _uneven()
    value = policy_value(logs, policy, estimator="ips").value
    assert policy_value(logs, policy[None], estimator="ips").value == value
    assert policy_value(logs, np.tile(policy, (300, 1)), estimator="ips").value == value
    single = policy.astype(np.float32)
    assert policy_value(logs, single, estimator="ips").value == pytest.approx(value, rel=1e-6)
    many = pd.concat([logs] * 9)
    sure = policy_value(many, [0, 0, 1], estimator="ips").value
    assert sure == pytest.approx((logs["click"] * (logs["item_id"] == 2) / 0.2).mean())
    for change, kind, refused in (
        (9e-7, float, 0),
        (2e-6, float, 1),
        (9e-5, np.float32, 0),
        (2e-4, np.float32, 1),
    ):
        off = (policy + np.array([0, 0, change])).astype(kind)
        if refused:
            with pytest.raises(ValueError, match="policy: 1 rows do not sum to 1, first 1"):
                policy_value(logs, off, estimator="ips")
        else:
            policy_value(logs, off, estimator="ips")
    some = np.tile(policy, (300, 1))
    some[[4, 9]] = [[0.1, 0.1, 0.1], [0.2, 0.2, 0.2]]
    with pytest.raises(ValueError, match=r"policy: 2 rows do not sum to 1, first 0\.3"):
        policy_value(logs, some, estimator="ips")
    with pytest.raises(ValueError, match=r"policy has shape \(2, 300, 3\); \(rounds, actions\)"):
        policy_value(logs, np.full((2, 300, 3), 1 / 3), estimator="ips")


def test_tables_are_not_larger_than_memory(monkeypatch):
    logs, policy = _uneven()
    monkeypatch.setattr(off_policy, "_LARGEST", 900)
    wide = np.tile(policy, (300, 1))
    policy_value(logs, wide, expected=wide)
    monkeypatch.setattr(off_policy, "_LARGEST", 899)
    message = "asks for a dense table of 300 rounds x 3 actions, over 899 entries"
    with pytest.raises(ValueError, match=f"policy {message}"):
        policy_value(logs, wide)
    with pytest.raises(ValueError, match=f"expected {message}"):
        policy_value(logs, policy, expected=wide)
    with pytest.raises(ValueError, match=f"logging {message}"):
        policy_value(logs, policy, estimator="mips", logging=wide, embedding=range(3))


def test_mips_by_one_row_of_logging_and_what_it_refuses():
    logs, policy = _uneven()
    labels = ["a", "b", "a"]
    ratio = np.array([0.9 / 0.7, 0.1 / 0.3, 0.9 / 0.7])[logs["item_id"]]
    how = {"estimator": "mips", "embedding": labels}
    found = policy_value(logs, policy, logging=[0.5, 0.3, 0.2], **how)
    assert found.value == pytest.approx((ratio * logs["click"]).mean())
    assert found.effective_sample_size == pytest.approx(ratio.sum() ** 2 / (ratio @ ratio))
    half = 1.959964 * np.std(ratio * logs["click"], ddof=1) / np.sqrt(300)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    shown = int((logs["item_id"] == 1).sum())
    with pytest.raises(
        ValueError,
        match=f"logging: {shown} rounds show an action whose embedding has probability 0",
    ):
        policy_value(logs, policy, logging=[0.8, 0.0, 0.2], **how)
    with pytest.raises(ValueError, match=r"'mips' needs logging .*; lacking: logging$"):
        policy_value(logs, policy, **how)
    with pytest.raises(ValueError, match="logging has 2 actions; the policy has 3"):
        policy_value(logs, policy, logging=[0.5, 0.5], **how)


def test_a_value_as_a_dictionary_and_in_print():
    found = PolicyValue("ips", 0.25, 0.2, 0.3, 1234.4, 0.01, 5678, "ok", {"threshold": 2.0})
    assert found.to_dict() == {
        "estimator": "ips", "value": 0.25, "low": 0.2, "high": 0.3, "effective_sample_size": 1234.4,
        "largest_share": 0.01, "rounds": 5678, "verdict": "ok", "settings": {"threshold": 2.0},
        "bounds": None, "unsupported": 0.0, "mean_weight": None, "mean_weight_error": None,
    }  # fmt: skip
    assert repr(found) == "ips: 0.25000 [0.20000, 0.30000], effective sample size 1,234 of 5,678"


def test_slates_of_unequal_length():
    """Slates of one, two and three positions, rewards of 1, 2 and 5, ratios between 1/2 and 3."""
    rng = np.random.default_rng(4)
    logs = pd.DataFrame({"round_id": np.repeat(np.arange(300), np.tile([1, 2, 3], 100))})
    logs["position"] = logs.groupby("round_id").cumcount()
    logs["click"] = rng.choice([1.0, 2.0, 5.0], size=600)
    logs["propensity_score"], logs["target"] = rng.choice(
        [[0.2, 0.3], [0.4, 0.2], [0.1, 0.12]], size=600
    ).T
    logs = logs.sample(frac=1, random_state=1).rename(
        columns={"round_id": "q", "click": "gain", "target": "to"}
    )
    columns = {"round_id": "q", "reward": "gain", "target": "to"}
    score = []
    ratios = {}
    for _, part in logs.sort_values("position").groupby("q"):
        own = (part["to"] / part["propensity_score"]).to_numpy()
        above = [np.prod(own[: k + 1]) for k in range(len(own))]
        score.append(sum(a * g for a, g in zip(above, part["gain"], strict=True)))
        for position, one in zip(part["position"], above, strict=True):
            ratios.setdefault(position, []).append(one)
    found = slate_value(logs, level=0.9, **columns)
    size, share = min(
        (np.sum(one) ** 2 / np.sum(np.square(one)), max(one) / np.sum(one))
        for one in ratios.values()
    )
    assert (size < 100) == (found.value is None)
    assert found.effective_sample_size == pytest.approx(size)
    assert found.largest_share == pytest.approx(share)
    assert found.rounds == 300
    many = pd.concat([logs.assign(q=logs["q"] + 300 * k) for k in range(9)])
    mean = np.mean(score)
    half = 1.644854 * np.std(score * 9, ddof=1) / np.sqrt(2700)
    found = slate_value(many, level=0.9, **columns)
    assert found.value == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    rng = np.random.default_rng(5)
    every = np.sort(score * 9)
    means = [every[rng.integers(2700, size=2700)].mean() for _ in range(500)]
    ordered = slate_value(
        many.sort_values(["q", "position"]), interval="bootstrap", level=0.8, seed=5, **columns
    )
    assert (ordered.low, ordered.high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])))
    with pytest.raises(ValueError, match="target column 'to': 5400 values outside"):
        slate_value(many.assign(to=1.5), **columns)
    with pytest.raises(ValueError, match="column 'gain' has 1 missing value"):
        slate_value(logs.assign(gain=logs["gain"].where(logs.index != 7)), **columns)


def _named(logs):
    """The same logs with fruits for actions, and their names in the order of the numbers."""
    fruits = np.array(["quince", "apple", "fig", "pear", "kiwi"])
    return logs.assign(item_id=fruits[logs["item_id"]]), fruits


def _numbers_of(found):
    return [
        (value.value, value.low, value.high, value.bounds, value.settings)
        for value in found.values()
    ]


def test_labelled_actions_and_tables_have_the_values_of_numbered_ones():
    logs, rates = _logs(600, 9)
    logs.index = np.arange(600) % 7  # repeated
    named, fruits = _named(logs)
    order = [3, 0, 4, 1, 2]
    expected = np.broadcast_to(rates[0], (600, 5))
    logging = LOGGING[logs["context"]]
    embedding = [0, 0, 1, 1, 2]
    how = {"expected": expected, "logging": logging, "embedding": embedding}
    right = _numbers_of(policy_values(logs, TARGET, **how))
    assert _numbers_of(policy_values(named, TARGET, actions=fruits, **how)) == right

    def frame(table):
        return pd.DataFrame(table, index=logs.index, columns=fruits).iloc[:, order]

    moved = {
        "expected": frame(expected),
        "logging": frame(logging),
        "embedding": dict(zip(fruits, embedding, strict=True)),
    }
    series = pd.Series(TARGET, index=fruits).iloc[order]
    for policy in (series, frame(np.tile(TARGET, (600, 1)))):
        for known in ({}, {"actions": fruits}):
            found = policy_values(named, policy, **known, **moved)
            for value, (middle, low, high, *_) in zip(found.values(), right, strict=True):
                assert value.value == pytest.approx(middle)
                if low is not None:
                    assert (value.low, value.high) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="policy: its rows have another index than those of the"):
        policy_values(named, frame(np.tile(TARGET, (600, 1))).iloc[::-1])
    with pytest.raises(ValueError, match=r"expected: its labels are .*; they differ in 'apple'"):
        policy_values(named, series, expected=moved["expected"].rename(columns={"apple": "x"}))


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "float64", object, "category", "str"])
def test_columns_of_other_types_have_the_same_values(kind):
    logs, _ = _logs(400, 10)
    right = _numbers_of(policy_values(logs, TARGET, context=["context"]))
    other = logs.assign(item_id=logs["item_id"].astype(kind))
    if kind != "str":
        other["click"] = logs["click"].astype(kind)
    if kind not in ("Int64", "int64[pyarrow]", "str"):
        other["propensity_score"] = logs["propensity_score"].astype(kind)
    assert _numbers_of(policy_values(other, TARGET, context=["context"])) == right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"click": "1"}, "logs: column 'click' holds numbers as text .*; convert it by astype"),
        ({"propensity_score": "0.5"}, "logs: column 'propensity_score' holds numbers as text"),
        ({"propensity_score": 25}, "'propensity_score': 50 values outside .* divide them by 100"),
    ],
)
def test_columns_that_are_no_numbers_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        policy_values(_broken(**change), TARGET)


@pytest.mark.filterwarnings("error")
def test_one_and_two_rounds():
    logs, _ = _logs(2, 0)
    for n in (1, 2):
        for interval in ("auto", "normal", "bootstrap"):
            found = policy_values(logs[:n], TARGET, interval=interval)
            assert tuple(found) == ("ips", "snips", "clipped-ips")
            for value in found.values():
                assert value.value is None
                assert value.verdict.startswith("the logs cannot tell: effective sample size")
        with pytest.raises(ValueError, match=f"{n} rounds are too few for the 3 folds"):
            policy_values(logs[:n], TARGET, estimators=("dr",))
    slates, _ = _slates(1, 0)
    assert slate_value(slates).value is None


def test_rounds_of_a_slate_in_any_order_index_and_type():
    logs, _ = _slates(400, 3)
    right = slate_value(logs)
    logs.index = np.arange(len(logs)) % 5
    names = {1: "top", 2: "middle", 3: "bottom"}
    places = pd.Categorical(logs["position"].map(names), categories=names.values(), ordered=True)
    for other in (
        logs,
        logs.assign(round_id=logs["round_id"].map(lambda k: k if k % 2 else f"r{k}")),
        logs.assign(position=logs["position"].astype(object)),
        logs.assign(position=places),
    ):
        found = slate_value(other)
        assert (found.value, found.low, found.high) == pytest.approx(
            (right.value, right.low, right.high)
        )
    with pytest.raises(ValueError, match="logs: column 'position' holds numbers as text"):
        slate_value(logs.assign(position=logs["position"].map(str)))


@pytest.mark.parametrize(
    ("policy", "how", "message"),
    [
        (np.full((50, 3, 1), 1 / 3), {}, r"policy has shape \(50, 3, 1\); .* policy\[:, :, 0\]"),
        (np.arange(50) % 3, {}, r"policy seems to hold the number of an action for each of 50"),
        (TARGET, {"estimators": "dr"}, r"estimators: a list of names is needed; write \['dr'\]"),
        (TARGET, {"reward_range": 1}, r"reward_range must be \(lowest, highest\), not 1"),
    ],
)
def test_shapes_that_others_use_are_named(policy, how, message):
    with pytest.raises(ValueError, match=message):
        policy_values(_broken(), policy, **how)


def test_what_logs_may_lack_unseen():
    """By hand from the mean weight .9 with a standard error of .05."""
    found = PolicyValue(
        "ips", 1.0, 0.0, 2.0, 200.0, 0.1, 500, "ok", mean_weight=0.9, mean_weight_error=0.05
    )
    assert found.may_lack == pytest.approx(0.1 + 1.644854 * 0.05)
    assert replace(found, mean_weight=1.2).may_lack == 0
    assert replace(found, mean_weight=None).may_lack == 1


def test_codes_for_missing_among_the_rewards_are_named():
    logs = pd.DataFrame({"item_id": np.arange(3000) % 3, "click": 0.0, "propensity_score": 1 / 3})
    logs["click"] = np.random.default_rng(0).integers(0, 2, len(logs)) * 1.0
    policy = np.array([0.2, 0.3, 0.5])
    assert policy_values(logs, policy, estimators=("ips",))["ips"].verdict == "ok"
    logs.loc[:29, "click"] = -999
    for value in policy_values(logs, policy, estimators=("ips", "snips")).values():
        assert value.verdict.startswith("reward 'click' holds -999 in 30 rows, far from all its")
    known = policy_values(logs, policy, estimators=("ips",), reward_range=(-999, 1))
    assert known["ips"].verdict == "ok"  # whoever names the range means it
    with pytest.warns(UserWarning, match="reward 'click' holds -999 in 30 rows"):
        learn_policy(logs.assign(x=np.arange(len(logs)) % 7), ["x"])
