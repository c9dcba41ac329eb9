"""Sixty questions of known status: twenty that the declared columns cannot answer, forty they can.

A question that cannot be answered has rows without a counterpart, or no variation of the treatment
that the adjustment leaves. The right answer is an error or a verdict other than "supported". A
question that can be answered has counterparts for every row it asks about; refusing it, or calling
the answer extrapolated, is a false alarm.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import joblib
import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest

from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.graph import CausalGraph
from causal_lib.inference.effects import effect
from causal_lib.inference.identification import identify

X = ["x0", "x1", "x2", "x3"]
"""The columns that every `_table` has."""


@dataclass(frozen=True)
class Question:
    """A frame and the arguments of `effect`, whose treatment is t and outcome y.

    ``truth``: the effect asked for, in the population that rows are drawn from; None where there
    is none.
    """

    frame: pd.DataFrame
    arguments: dict = field(default_factory=dict)
    truth: float | None = 1.0


@dataclass(frozen=True)
class Problem:
    """``make`` draws a `Question` of this kind by a generator."""

    name: str
    answerable: bool
    make: Callable[[np.random.Generator], Question]

    def draw(self, seed: int) -> Question:
        """The question of this ``seed``."""
        return self.make(np.random.default_rng([seed, len(self.name)]))


PROBLEMS: dict[str, Problem] = {}
"""Name -> `Problem`, the unanswerable first."""


def _problem(name, *, answerable):
    def register(make):
        if name in PROBLEMS:
            raise ValueError(f"two problems named {name!r}")
        PROBLEMS[name] = Problem(name, answerable, make)
        return make

    return register


def _no(name):
    return _problem(name, answerable=False)


def _yes(name):
    return _problem(name, answerable=True)


def _x(rng, n):
    return pd.DataFrame(rng.standard_normal((n, 4)), columns=X)


def _table(rng, x, chance, gain=1.0, base=None, noise=1.0):
    """``x`` with a treatment t of the given ``chance`` and y = base + gain t + noise; by default
    base = x0 + x1.
    """
    n = len(x)
    t = (rng.random(n) < chance).astype(int)
    base = x["x0"] + x["x1"] if base is None else base
    return x.assign(t=t, y=base + gain * t + noise * rng.standard_normal(n))


def _exactly(rng, n, k):
    """(n,) zeros and ``k`` ones in random places."""
    t = np.zeros(n, dtype=int)
    t[rng.choice(n, k, replace=False)] = 1
    return t


# ---- cannot be answered --------------------------------------------------------------------------


@_no("treatment is a rule of a column")
def _rule(rng):
    x = _x(rng, 2000)
    return Question(_table(rng, x, x["x0"] > 0.3), {"adjustment": X})


@_no("a segment of 10% is never treated")
def _segment(rng):
    x = _x(rng, 3000).assign(segment=rng.choice(list("abcd"), 3000, p=[0.4, 0.3, 0.2, 0.1]))
    frame = _table(rng, x, np.where(x["segment"] == "d", 0, 0.5))
    return Question(frame, {"adjustment": ["segment", "x0", "x1"]})


@_no("the oldest 10% are never treated")
def _oldest(rng):
    x = _x(rng, 3000).assign(age=rng.uniform(20, 70, 3000))
    frame = _table(rng, x, np.where(x["age"] > 65, 0, 0.4), base=x["x0"] + 0.02 * x["age"])
    return Question(frame, {"adjustment": ["age", "x0"]})


@_no("an arm that is not in the log")
def _unlogged(rng):
    x = _x(rng, 1000)
    frame = _table(rng, x, 0.5).assign(t=lambda f: f["t"].map({0: "old", 1: "new"}))
    return Question(frame, {"adjustment": X, "contrast": ("old", "newest")})


@_no("one of 30 cities is always treated")
def _city(rng):
    city = rng.integers(30, size=4500)
    x = _x(rng, 4500).assign(city=np.char.add("city ", city.astype(str)))
    frame = _table(rng, x, np.where(city == 7, 1, 0.5), base=x["x0"] + 0.1 * city)
    return Question(frame, {"adjustment": ["city", "x0"]})


@_no("the columns nearly determine the treatment")
def _nearly(rng):
    x = _x(rng, 2000)
    return Question(_table(rng, x, expit(12 * x["x0"] + 6 * x["x1"])), {"adjustment": X})


@_no("one of 20 clusters is treated")
def _one_cluster(rng):
    shop = np.repeat(np.arange(20), 50)
    x = _x(rng, 1000).assign(shop=shop)
    base = x["x0"] + rng.standard_normal(20)[shop]
    frame = _table(rng, x, shop == 3, base=base)
    return Question(frame, {"adjustment": ["x0"], "cluster": "shop"})


@_no("treated and untreated lie apart in two dimensions, in neither alone")
def _apart(rng):
    x = _x(rng, 2000)
    t = rng.random(2000) < 0.5
    along = rng.uniform(-3, 3, 2000)
    across = np.where(t, 0.5, -0.5) + rng.uniform(-0.3, 0.3, 2000)
    x["x0"] = along + across
    x["x1"] = along - across
    return Question(_table(rng, x, t), {"adjustment": ["x0", "x1"]})


@_no("a numeric treatment that the columns determine")
def _determined_dose(rng):
    x = _x(rng, 2000)
    dose = 2 * x["x0"] - x["x1"] + 1e-3 * rng.standard_normal(2000)
    frame = x.assign(t=dose, y=dose + x["x0"] + rng.standard_normal(2000))
    return Question(frame, {"adjustment": X})


@_no("effect among the treated, a third of whom have no counterpart")
def _treated_alone(rng):
    x = _x(rng, 3000)
    chance = np.where(x["x0"] > 0.8, 1, 0.35)
    return Question(_table(rng, x, chance), {"adjustment": X, "target": "treated"})


@_no("effect among the untreated, a third of whom have no counterpart")
def _untreated_alone(rng):
    x = _x(rng, 3000)
    chance = np.where(x["x0"] > 0.8, 0, 0.65)
    return Question(_table(rng, x, chance), {"adjustment": X, "target": "untreated"})


@_no("an identifier of rows among the adjustment")
def _identifier(rng):
    x = _x(rng, 1500).assign(user=[f"user {number}" for number in rng.permutation(1500)])
    return Question(_table(rng, x, expit(x["x0"])), {"adjustment": ["user", "x0"]})


@_no("an instrument that moves nothing")
def _dead_instrument(rng):
    n = 2000
    z = rng.integers(2, size=n)
    h = rng.standard_normal(n)
    t = (rng.random(n) < expit(h)).astype(int)
    frame = pd.DataFrame({"z": z, "t": t, "y": t + h + rng.standard_normal(n)})
    return Question(frame, {"estimand": _instrument()})


@_no("a front-door level that is seen in one arm only")
def _front_door_level(rng):
    n = 3000
    h = rng.standard_normal(n)
    t = (rng.random(n) < expit(h)).astype(int)
    m = np.where(t == 1, rng.choice([0, 1, 2], n, p=[0.3, 0.4, 0.3]), rng.integers(2, size=n))
    frame = pd.DataFrame({"t": t, "m": m, "y": m + h + rng.standard_normal(n)})
    return Question(frame, {"estimand": _front_door()}, None)


@_no("known propensities that are 0 for a fifth of the rows")
def _known_zero(rng):
    x = _x(rng, 3000)
    p = np.where(x["x0"] > 0.84, 0.0, 0.4)
    return Question(_table(rng, x.assign(p=p), p), {"adjustment": ["x0"], "propensity": "p"})


@_no("two treated rows of 3,000")
def _two_rows(rng):
    frame = _table(rng, _x(rng, 3000), _exactly(rng, 3000, 2))
    return Question(frame, {"adjustment": ["x0", "x1"]})


@_no("a copy of the treatment among the adjustment")
def _copy(rng):
    frame = _table(rng, _x(rng, 2000), 0.5)
    return Question(frame.assign(copy=frame["t"] * 2.0 - 1), {"adjustment": ["x0", "copy"]})


@_no("never treated where two columns are both high")
def _corner(rng):
    x = _x(rng, 4000)
    corner = (x["x0"] > 0.5) & (x["x1"] > 0.5)
    return Question(_table(rng, x, np.where(corner, 0, 0.5)), {"adjustment": X})


@_no("all rows are treated from the launch on, none before")
def _launch(rng):
    day = rng.integers(100, size=2000)
    x = _x(rng, 2000).assign(date=pd.Timestamp("2024-03-01") + pd.to_timedelta(day, unit="D"))
    frame = _table(rng, x, day >= 60, base=x["x0"] + 0.01 * day)
    return Question(frame, {"adjustment": ["date", "x0"]})


@_no("one of three arms is never offered to a segment of 15%")
def _never_offered(rng):
    n = 4000
    segment = rng.choice(list("pqr"), n, p=[0.5, 0.35, 0.15])
    x = _x(rng, n).assign(segment=segment)
    arm = rng.integers(3, size=n)
    arm = np.where((segment == "r") & (arm == 2), rng.integers(2, size=n), arm)
    y = x["x0"] + 0.5 * arm + rng.standard_normal(n)
    frame = x.assign(t=np.array(["none", "mail", "call"])[arm], y=y)
    return Question(frame, {"adjustment": ["segment", "x0"], "contrast": ("none", "call")})


# ---- can be answered -----------------------------------------------------------------------------


def _rare(n, k, adjustment):
    def make(rng):
        return Question(_table(rng, _x(rng, n), _exactly(rng, n, k)), {"adjustment": adjustment})

    return make


_yes("0.1% treated at random, 30 rows")(_rare(30_000, 30, ["x0", "x1"]))
_yes("0.2% treated at random, 40 rows, no adjustment")(_rare(20_000, 40, []))
_yes("1% treated at random, 50 rows")(_rare(5000, 50, ["x0", "x1"]))
_yes("2% treated at random, 40 rows, no adjustment")(_rare(2000, 40, []))


@_yes("rare treatment with known propensities")
def _rare_known(rng):
    x = _x(rng, 10_000)
    p = np.where(x["x0"] > 0, 0.012, 0.003)
    return Question(_table(rng, x.assign(p=p), p), {"adjustment": ["x0", "x1"], "propensity": "p"})


@_yes("rare treatment by two columns")
def _rare_by_two(rng):
    x = _x(rng, 10_000)
    chance = 0.01 * np.exp(0.4 * x["x0"] - 0.3 * x["x1"])
    return Question(_table(rng, x, chance), {"adjustment": ["x0", "x1"]})


@_yes("95% treated")
def _mostly(rng):
    x = _x(rng, 3000)
    return Question(_table(rng, x, expit(3 + 0.4 * x["x0"])), {"adjustment": X})


@_yes("overlap within [0.05, 0.95]")
def _weak_overlap(rng):
    x = _x(rng, 2000)
    return Question(_table(rng, x, 0.05 + 0.9 * expit(2 * x["x0"])), {"adjustment": X})


@_yes("strong confounding with overlap")
def _strong(rng):
    x = _x(rng, 2000)
    base = 4 * x["x0"] + 3 * x["x1"]
    chance = 0.12 + 0.76 * expit(1.5 * x["x0"] + x["x1"])
    return Question(_table(rng, x, chance, base=base), {"adjustment": X})


@_yes("two modes of a column, overlap in both")
def _modes(rng):
    x = _x(rng, 2000)
    x["x0"] += 4 * rng.integers(2, size=2000)
    return Question(_table(rng, x, np.where(x["x0"] > 2, 0.8, 0.25)), {"adjustment": X})


@_yes("outcome with heavy tails")
def _heavy(rng):
    x = _x(rng, 2000)
    frame = _table(rng, x, 0.2 + 0.6 * expit(x["x0"]), noise=0)
    return Question(frame.assign(y=frame["y"] + rng.standard_t(3, 2000)), {"adjustment": X})


@_yes("revenue: mostly 0, otherwise skewed")
def _revenue(rng):
    x = _x(rng, 5000)
    t = (rng.random(5000) < 0.3 + 0.4 * (x["x0"] > 0)).astype(int)
    bought = rng.random(5000) < 0.2 + 0.1 * (x["x0"] > 0)
    y = bought * rng.gamma(2, 5, 5000) + t * rng.gamma(2, 0.5, 5000)
    return Question(x.assign(t=t, y=y), {"adjustment": X})


@_yes("0/1 outcome of 2%, treatment at random")
def _binary(rng):
    x = _x(rng, 20_000)
    t = rng.integers(2, size=20_000)
    y = (rng.random(20_000) < 0.02 + 0.01 * t + 0.01 * (x["x0"] > 1)).astype(int)
    return Question(x.assign(t=t, y=y), {"adjustment": ["x0", "x1"]}, 0.01)


@_yes("0/1 outcome of 2%, treatment by a column")
def _binary_confounded(rng):
    x = _x(rng, 20_000)
    t = (rng.random(20_000) < np.where(x["x0"] > 0, 0.7, 0.3)).astype(int)
    y = (rng.random(20_000) < 0.01 + 0.01 * t + 0.015 * (x["x0"] > 0)).astype(int)
    return Question(x.assign(t=t, y=y), {"adjustment": ["x0", "x1"]}, 0.01)


@_yes("counts of small whole numbers")
def _counts(rng):
    x = _x(rng, 3000).assign(visits=rng.poisson(3, 3000))
    t = (rng.random(3000) < 0.2 + 0.06 * x["visits"].clip(upper=10)).astype(int)
    return Question(
        x.assign(t=t, y=rng.poisson(1 + 0.5 * x["visits"] + t)), {"adjustment": ["visits", "x0"]}
    )


@_yes("60 clusters, treated as wholes")
def _clusters(rng):
    shop = np.repeat(np.arange(60), 25)
    x = _x(rng, 1500).assign(shop=shop)
    t = _exactly(rng, 60, 30)[shop]
    frame = _table(rng, x, t, base=x["x0"] + 0.5 * rng.standard_normal(60)[shop])
    return Question(frame, {"adjustment": [], "cluster": "shop"})


@_yes("users with several rows, treated by row")
def _users(rng):
    user = np.repeat(np.arange(400), 5)
    x = _x(rng, 2000).assign(user=user)
    x["x0"] = rng.standard_normal(400)[user]
    base = x["x0"] + rng.standard_normal(400)[user]
    frame = _table(rng, x, 0.2 + 0.6 * expit(x["x0"]), base=base)
    return Question(frame, {"adjustment": ["x0", "x1"], "cluster": "user"})


@_yes("58 columns, four of which matter")
def _many_columns(rng):
    names = [f"c{number}" for number in range(54)]
    x = pd.concat(
        [_x(rng, 3000), pd.DataFrame(rng.standard_normal((3000, 54)), columns=names)], axis=1
    )
    frame = _table(rng, x, 0.15 + 0.7 * expit(x["x0"] - x["x2"]))
    return Question(frame, {"adjustment": [*X, *names]})


def _levels(k, n):
    def make(rng):
        level = rng.integers(k, size=n)
        # fixed by the number of levels: the population's, not the sample's
        pull = np.random.default_rng(k).standard_normal(k)[level]
        x = _x(rng, n).assign(level=np.char.add("level ", level.astype(str)))
        frame = _table(rng, x, 0.15 + 0.7 * expit(pull), base=1.5 * pull + x["x0"])
        return Question(frame, {"adjustment": ["level", "x0"]})

    return make


_yes("30 levels with 200 rows each")(_levels(30, 6000))
_yes("200 levels with 100 rows each")(_levels(200, 20_000))


@_yes("columns in large and small units")
def _units(rng):
    x = _x(rng, 2000)
    base = 2 * x["x0"] + x["x1"] + x["x2"]
    frame = _table(rng, x, 0.15 + 0.7 * expit(x["x0"] + x["x1"]), base=base)
    frame["income"] = 4e9 + 1e9 * frame.pop("x0")
    frame["stamp"] = (1.7e18 + 1e15 * frame.pop("x1")).astype("int64")
    frame["dose"] = 1e-11 * frame.pop("x2")
    return Question(frame, {"adjustment": ["income", "stamp", "dose"]})


@_yes("outcome about a large level")
def _large_level(rng):
    x = _x(rng, 2000)
    frame = _table(rng, x, 0.2 + 0.6 * expit(x["x0"]))
    return Question(frame.assign(y=frame["y"] + 1e9), {"adjustment": X})


@_yes("dates among the columns")
def _dates(rng):
    day = rng.integers(365, size=2000)
    x = _x(rng, 2000).assign(date=pd.Timestamp("2024-01-01") + pd.to_timedelta(day, unit="D"))
    season = (day - 182) / 100
    frame = _table(rng, x, 0.15 + 0.7 * expit(season), base=2 * season + x["x0"])
    return Question(frame, {"adjustment": ["date", "x0"]})


@_yes("nullable dtypes")
def _nullable(rng):
    x = _x(rng, 2000).assign(age=rng.integers(20, 60, 2000))
    base = 0.05 * x["age"] + x["x0"]
    frame = _table(rng, x, 0.2 + 0.015 * (x["age"] - 20), base=base)
    kinds = {"age": "Int64", "x0": "Float64", "t": "boolean", "y": "Float64"}
    return Question(frame.astype(kinds), {"adjustment": ["age", "x0"]})


@_yes("Arrow dtypes")
def _arrow(rng):
    city = rng.choice(["north", "south", "west"], 2000)
    x = _x(rng, 2000).assign(city=city)
    south = city == "south"
    frame = _table(rng, x, np.where(south, 0.7, 0.3), base=x["x0"] + 2 * south)
    kinds = {"city": "string[pyarrow]", "x0": "double[pyarrow]", "y": "double[pyarrow]"}
    return Question(frame.astype(kinds | {"t": "int64[pyarrow]"}), {"adjustment": ["city", "x0"]})


@_yes("decimal numbers in an object column")
def _decimals(rng):
    x = _x(rng, 1500)
    frame = _table(rng, x, 0.2 + 0.6 * expit(1.5 * x["x0"]), base=2 * x["x0"])
    frame["x0"] = [Decimal(f"{value:.6f}") for value in frame["x0"]]
    return Question(frame, {"adjustment": ["x0", "x1"]})


@_yes("constant and collinear columns")
def _collinear(rng):
    x = _x(rng, 2000)
    frame = _table(rng, x, 0.2 + 0.6 * expit(x["x0"]))
    frame["double"] = 2 * frame["x0"]
    frame["sum"] = frame["x0"] + frame["x1"]
    frame["country"] = "NL"
    frame["version"] = 3
    return Question(frame, {"adjustment": ["x0", "x1", "double", "sum", "country", "version"]})


@_yes("a skewed column with far values")
def _skewed(rng):
    x = _x(rng, 2000)
    x["x0"] = np.exp(1.5 * x["x0"])
    pull = np.log(x["x0"])
    return Question(_table(rng, x, 0.2 + 0.6 * expit(pull), base=pull), {"adjustment": X})


@_yes("100 rows, straight lines")
def _small(rng):
    x = _x(rng, 100)
    return Question(_table(rng, x, 0.25 + 0.5 * expit(x["x0"])), {"adjustment": ["x0", "x1"]})


@_yes("300 rows, curves")
def _small_curves(rng):
    x = _x(rng, 300)
    base = 1.5 * np.abs(x["x0"]) + x["x1"]
    return Question(_table(rng, x, 0.2 + 0.6 * expit(x["x0"]), base=base), {"adjustment": X})


@_yes("products and absolute values")
def _products(rng):
    x = _x(rng, 4000)
    base = 1.5 * np.abs(x["x0"]) + x["x0"] * x["x1"]
    chance = 0.15 + 0.7 * expit(x["x0"] * x["x1"] + np.abs(x["x2"]) - 0.8)
    return Question(_table(rng, x, chance, 1 + 0.5 * x["x2"], base), {"adjustment": X})


@_yes("effect among the treated, most untreated rows unlike any")
def _like_lalonde(rng):
    few = _x(rng, 400)
    many = _x(rng, 6000)
    many["x0"] = rng.normal(2.5, 2, 6000)
    x = pd.concat([few, many], ignore_index=True)
    t = np.r_[np.ones(400), np.zeros(6000)]
    frame = _table(rng, x, t, base=2 * x["x0"] + x["x1"])
    return Question(frame, {"adjustment": ["x0", "x1"], "target": "treated"})


@_yes("effect among the untreated, most treated rows unlike any")
def _like_lalonde_turned(rng):
    few = _x(rng, 400)
    many = _x(rng, 6000)
    many["x0"] = rng.normal(-2.5, 2, 6000)
    x = pd.concat([few, many], ignore_index=True)
    t = np.r_[np.zeros(400), np.ones(6000)]
    frame = _table(rng, x, t, base=2 * x["x0"] + x["x1"])
    return Question(frame, {"adjustment": ["x0", "x1"], "target": "untreated"})


@_yes("effect where arms overlap, rows without counterparts apart")
def _overlap_target(rng):
    x = _x(rng, 3000)
    chance = np.select([x["x0"] > 1.2, x["x0"] < -1.2], [1, 0], expit(x["x0"]))
    return Question(_table(rng, x, chance), {"adjustment": ["x0", "x1"], "target": "overlap"})


@_yes("two of three arms, one of them rare")
def _three_arms(rng):
    n = 4000
    x = _x(rng, n)
    arm = np.where(rng.random(n) < 0.08, 2, (rng.random(n) < 0.3 + 0.4 * expit(x["x0"])) * 1)
    y = x["x0"] + np.array([0.0, 3.0, 1.0])[arm] + rng.standard_normal(n)
    frame = x.assign(t=np.array(["none", "mail", "call"])[arm], y=y)
    return Question(frame, {"adjustment": ["x0", "x1"], "contrast": ("none", "call")})


@_yes("a numeric treatment by columns")
def _dose(rng):
    x = _x(rng, 2000)
    dose = 10 + x["x0"] - 0.5 * x["x1"] + rng.standard_normal(2000)
    y = dose + 2 * x["x0"] + rng.standard_normal(2000)
    return Question(x.assign(t=dose, y=y), {"adjustment": X})


@_yes("a numeric treatment at random, no adjustment")
def _dose_at_random(rng):
    price = rng.uniform(1e6, 3e6, 1000)
    frame = pd.DataFrame({"t": price, "y": 5 * price + 1e6 * rng.standard_normal(1000)})
    return Question(frame, {"adjustment": []}, 5.0)


@_yes("survey weights")
def _survey(rng):
    x = _x(rng, 12_000)
    kept = rng.random(12_000) < np.where(x["x0"] > 0, 0.4, 0.1)
    x = x[kept].reset_index(drop=True)
    x["w"] = np.where(x["x0"] > 0, 1.0, 4.0)
    frame = _table(rng, x, 0.25 + 0.5 * expit(x["x0"]), 1 + x["x0"])
    return Question(frame, {"adjustment": ["x0", "x1"], "weights": "w"})


@_yes("an instrument that moves a third")
def _live_instrument(rng):
    n = 3000
    z = rng.integers(2, size=n)
    h = rng.standard_normal(n)
    t = (rng.random(n) < 0.15 + 0.35 * z + 0.4 * (h > 0)).astype(int)
    frame = pd.DataFrame({"z": z, "t": t, "y": t + h + rng.standard_normal(n)})
    return Question(frame, {"estimand": _instrument()})


@_yes("a front-door with both levels in both arms")
def _front_door_open(rng):
    n = 4000
    h = rng.standard_normal(n)
    t = (rng.random(n) < 0.2 + 0.6 * expit(h)).astype(int)
    m = (rng.random(n) < 0.2 + 0.5 * t).astype(int)
    frame = pd.DataFrame({"t": t, "m": m, "y": 2 * m + h + rng.standard_normal(n)})
    return Question(frame, {"estimand": _front_door()})


def _instrument():
    graph = CausalGraph.from_edges(["z", "t", "y", "h"], ["z -> t", "t -> y", "h -> t", "h -> y"])
    return identify(graph, "t", "y", hidden=["h"], instruments=True)


def _front_door():
    graph = CausalGraph.from_edges(["t", "m", "y", "h"], ["t -> m", "m -> y", "h -> t", "h -> y"])
    return identify(graph, "t", "y", hidden=["h"])


# ---- the study -----------------------------------------------------------------------------------


def answer(problem: Problem, seed: int) -> dict:
    """What `effect` says to the problem's question of this ``seed``.

    Keys problem, answerable, seed, truth; verdict: that of the effect, "refused" for a ValueError,
    "crashed" for any other error; reason: its first reason or the error's text; value, low, high;
    covers: whether the interval holds the truth (None without one).
    """
    question = problem.draw(seed)
    row = {
        "problem": problem.name,
        "answerable": problem.answerable,
        "seed": seed,
        "truth": question.truth,
        "value": None,
        "low": None,
        "high": None,
        "covers": None,
    }
    try:
        found = effect(question.frame, "t", "y", seed=seed, **question.arguments)
    except ValueError as error:
        return row | {"verdict": "refused", "reason": _first_line(error)}
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        return row | {"verdict": "crashed", "reason": reason}
    truth = question.truth
    return row | {
        "verdict": found.verdict,
        "reason": next(iter(found.reasons), ""),
        "value": float(found.value),
        "low": float(found.low),
        "high": float(found.high),
        "covers": None if truth is None else bool(found.low <= truth <= found.high),
    }


def _first_line(error):
    return str(error).partition("\n")[0][:200]


def verdicts(
    seeds: int = 3, *, seed: int = 0, problems: list[str] | None = None, n_jobs: int = 1
) -> pd.DataFrame:
    """`answer` of each problem, all by default, and of ``seeds`` seeds from ``seed`` on."""
    jobs = (
        joblib.delayed(answer)(PROBLEMS[name], number)
        for name in problems or PROBLEMS
        for number in range(seed, seed + seeds)
    )
    return pd.DataFrame(joblib.Parallel(n_jobs)(jobs))


@benchmark("inference.verdicts", peer="the status of each question, known by how it is made")
def study(seeds: int = 3, *, problems: list[str] | None = None, n_jobs: int = 1) -> dict:
    """Sixty questions whose answerability is known: how many get the right verdict, and how many
    intervals of the others hold the truth.
    """
    table = verdicts(seeds, problems=problems, n_jobs=n_jobs)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return report(_claims(table), seeds=seeds, counts=_counts_of(table), rows=rows)


def _counts_of(table):
    """Rows of each status and verdict."""
    counted = table.groupby(["answerable", "verdict"], sort=True).size()
    return [
        {"answerable": bool(answerable), "verdict": verdict, "questions": int(number)}
        for (answerable, verdict), number in counted.items()
    ]


def _claims(table):
    """The predictions. None of these questions was put to the estimators while they were written
    down.
    """
    can = table[table["answerable"]]
    cannot = table[~table["answerable"]]
    alarms = can["verdict"].isin(["refused", "crashed", "extrapolated"])
    missed = cannot["verdict"] == "supported"
    covered = can["covers"].dropna().astype(float)
    claims = [
        Claim.of(
            "answerable questions refused or called extrapolated, of 40",
            alarms.groupby(can["seed"]).sum(),
            "at most 2",
        ),
        Claim.of(
            "unanswerable questions called supported, of 20",
            missed.groupby(cannot["seed"]).sum(),
            "at most 0",
        ),
        # added before the rule of rows that seem to have no counterpart went by what they can do
        Claim.of(
            "answerable questions called supported, of 40",
            (can["verdict"] == "supported").groupby(can["seed"]).sum(),
            "at least 38",
        ),
        Claim.of("questions that crash", table["verdict"] == "crashed", "at most 0"),
    ]
    if len(covered):
        low, _ = binomtest(int(covered.sum()), len(covered)).proportion_ci(method="wilson")
        name = "answerable questions: coverage of the intervals given"
        claims += [
            Claim.of(name, covered, "at least 0.92"),
            Claim.of(f"{name}, lower end of its Wilson interval", [low], "at least 0.87"),
        ]
    return claims
