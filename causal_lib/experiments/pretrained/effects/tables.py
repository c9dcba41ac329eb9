"""Random tables with a treatment and known effects: what the pretrained learner is trained on.

A table is drawn from a family. `FAMILIES` are trained on. `HELD_OUT` are for tests alone: each has
a function, a noise or columns that no table of `FAMILIES` has.

Notation: x the columns, t the treatment (0 or 1), y the outcome, e(x) = P(t = 1 | x) the
propensity, μ_a(x) = E[y | x, t = a], τ(x) = μ_1(x) - μ_0(x) the effect.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr
from scipy.stats import poisson

_LEAST_CHANCE = 0.01  # of either arm: every row could have had both
_FEWEST = 12  # rows of an arm, and events of an arm, of a table
_ATTEMPTS = 50
_AMOUNTS = 0.7  # deviation of the log of a purchase's amount
_REFERENCE = 4000  # rows on which a function is standardised


@dataclass(frozen=True)
class Family:
    """What the tables of one family are made of; each choice is drawn anew for each table.

    Attributes
    ----------
    effect : names of `FUNCTIONS` or `UNSEEN_FUNCTIONS`, of how effects vary.
    baseline : of the outcome without treatment and of the propensity.
    columns : names of kinds of columns.
    noises : names of noises of numeric outcomes.
    """

    effect: tuple[str, ...]
    baseline: tuple[str, ...]
    columns: tuple[str, ...]
    noises: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a random table with their truths.

    The first `rows` are the table; the others are fresh rows of the same population, whose effects
    are asked for. Only the first have a treatment and an outcome.

    Attributes
    ----------
    x : (rows + queries, p) columns.
    t, y : (rows,) treatment and outcome.
    propensity, control, effect : (rows + queries,) e, μ_0 and τ.
    outcome : 'numeric', 'event' or 'revenue' (0 for most rows, otherwise an amount).
    family : of `FAMILIES` or `HELD_OUT`.
    """

    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    propensity: np.ndarray
    control: np.ndarray
    effect: np.ndarray
    outcome: str
    family: str

    @property
    def rows(self) -> int:
        """Rows of the table itself."""
        return len(self.y)


# ---- functions of standardised columns -----------------------------------------------------------


def _linear(rng, p):
    used = _some(rng, p, 6)
    slopes = rng.normal(size=len(used))
    return lambda z: z[:, used] @ slopes


def _additive(rng, p):
    used = _some(rng, p, 5)
    curves = [
        (int(rng.integers(4)), rng.normal(), rng.uniform(0.7, 2), rng.uniform(-1, 1)) for _ in used
    ]

    def value(z):
        total = np.zeros(len(z))
        for j, (kind, slope, rate, shift) in zip(used, curves, strict=True):
            at = rate * (z[:, j] - shift)
            total += slope * (np.tanh(2 * at), at**2, np.sin(2 * at), np.abs(at))[kind]
        return total

    return value


def _interactions(rng, p):
    pairs = rng.integers(p, size=(int(rng.integers(1, 4)), 2))
    slopes = rng.normal(size=len(pairs))
    own = _linear(rng, p)
    share = rng.uniform(0, 0.7)
    return lambda z: (z[:, pairs[:, 0]] * z[:, pairs[:, 1]]) @ slopes + share * own(z)


def _trees(rng, p):
    """The sum of a few random trees of depth 2 or 3."""
    used = _some(rng, p, 5)
    trees = []
    for _ in range(int(rng.integers(1, 5))):
        depth = int(rng.integers(2, 4))
        columns = rng.choice(used, size=depth)
        trees.append((columns, rng.normal(0, 0.7, size=depth), rng.normal(size=2**depth)))

    def value(z):
        total = np.zeros(len(z))
        for columns, cuts, leaves in trees:
            place = (z[:, columns] > cuts) @ (2 ** np.arange(len(columns)))
            total += leaves[place]
        return total

    return value


def _network(rng, p):
    used = _some(rng, p, 6)
    inside = rng.normal(size=(len(used), 8)) * 1.5 / np.sqrt(len(used))
    shift = rng.normal(size=8)
    outside = rng.normal(size=8)
    return lambda z: np.tanh(z[:, used] @ inside + shift) @ outside


def _exponential(rng, p):
    used = rng.permutation(p)[:3]
    slopes = rng.normal(0, 0.5, size=len(used))
    return lambda z: np.exp(np.clip(z[:, used] @ slopes, -3, 3))


def _one_column(rng, p):
    j = int(rng.integers(p))
    cut = rng.normal(0, 0.7)
    kind = int(rng.integers(3))
    return lambda z: (z[:, j], 1.0 * (z[:, j] > cut), np.maximum(z[:, j] - cut, 0))[kind]


def _radial(rng, p):
    used = _some(rng, p, 4)
    centre = rng.normal(0, 0.7, size=len(used))
    return lambda z: np.exp(-((z[:, used] - centre) ** 2).mean(axis=1))


def _wave(rng, p):
    used = _some(rng, p, 4)
    slopes = rng.normal(size=len(used))
    slopes = slopes / np.linalg.norm(slopes)
    rate = rng.uniform(1.5, 3)
    shift = rng.uniform(0, 2 * np.pi)
    return lambda z: np.sin(rate * (z[:, used] @ slopes) + shift)


def _largest(rng, p):
    slopes = rng.normal(size=(p, 3)) * (rng.random((p, 3)) < min(1.0, 3 / p))
    return lambda z: (z @ slopes).max(axis=1)


def _corner(rng, p):
    """Whether two or three columns are all beyond a threshold."""
    used = rng.permutation(p)[: int(rng.integers(2, 4))]
    signs = rng.choice([-1, 1], size=len(used))
    return lambda z: 1.0 * (z[:, used] * signs > -0.3).all(axis=1)


def _some(rng, p, most):
    return rng.permutation(p)[: int(rng.integers(1, 1 + min(p, most)))]


Function = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, Callable[[np.random.Generator, int], Function]] = {
    "linear": _linear,
    "additive": _additive,
    "interactions": _interactions,
    "trees": _trees,
    "network": _network,
    "exponential": _exponential,
    "one column": _one_column,
}
"""Name -> (rng, p) -> function of standardised columns (n, p) that gives (n,)."""
UNSEEN_FUNCTIONS: dict[str, Callable[[np.random.Generator, int], Function]] = {
    "radial": _radial,
    "wave": _wave,
    "largest": _largest,
    "corner": _corner,
}
"""As `FUNCTIONS`, for held-out families alone."""


# ---- columns and noises --------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "normal": lambda z, rng: z,
    "uniform": lambda z, rng: ndtr(z),
    "lognormal": lambda z, rng: np.exp(z * rng.uniform(0.4, 1)),
    "binary": lambda z, rng: 1.0 * (z > rng.normal(0, 0.8)),
    "count": lambda z, rng: poisson.ppf(ndtr(z), rng.uniform(0.5, 5)),
    "levels": lambda z, rng: (
        np.digitize(z, np.sort(rng.normal(size=int(rng.integers(2, 6))))) * 1.0
    ),
}
"""Kind -> (standard normals (n,), rng) -> (n,) column."""
UNSEEN_COLUMNS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "two humps": lambda z, rng: np.where(z > 0, z + 1.5, z - 1.5),
    "arcsine": lambda z, rng: np.sin(np.pi * (ndtr(z) - 0.5)),
    "zero or amount": lambda z, rng: np.maximum(np.exp(z) - rng.uniform(0.5, 2), 0),
}
NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t": lambda rng, n: rng.standard_t(4, n) / np.sqrt(2),
    "heteroscedastic": lambda rng, n: rng.standard_normal(n),
}
"""Name -> (rng, n) -> noise of mean 0 and variance 1; 'heteroscedastic' is scaled by a function."""
UNSEEN_NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "exponential": lambda rng, n: rng.exponential(size=n) - 1,
    "lognormal": lambda rng, n: (
        (np.exp(0.8 * rng.standard_normal(n)) - np.exp(0.32))
        / np.sqrt((np.exp(0.64) - 1) * np.exp(0.64))
    ),
}

_TRAINED = tuple(FUNCTIONS), tuple(COLUMNS), tuple(NOISES)
FAMILIES = {name: Family((name,), *_TRAINED) for name in FUNCTIONS}
"""Name -> `Family` that is trained on: each is named after the function of its effects."""
HELD_OUT = {
    **{name: Family((name,), (name,), *_TRAINED[1:]) for name in UNSEEN_FUNCTIONS},
    "unseen noises": Family(*[_TRAINED[0]] * 2, _TRAINED[1], tuple(UNSEEN_NOISES)),
    "unseen columns": Family(*[_TRAINED[0]] * 2, tuple(UNSEEN_COLUMNS), _TRAINED[2]),
}
"""Name -> `Family` that is never trained on."""


# ---- a table -------------------------------------------------------------------------------------


def draw(
    family: str,
    seed: int | Sequence[int],
    *,
    n: int | None = None,
    p: int | None = None,
    queries: int = 128,
) -> Table:
    """One table of a family.

    Parameters
    ----------
    family : a key of `FAMILIES` or `HELD_OUT`.
    seed : an integer or a sequence of them.
    n, p : rows and columns; drawn where not given: 150 to 2,500, rarely 5,000; 2 to 30, rarely 60.
    queries : fresh rows.

    Raises
    ------
    ValueError
        for an unknown family, or where none of 50 attempts has enough rows and events in each arm.

    >>> draw("linear", 0, n=200, p=3).x.shape
    (328, 3)
    """
    known = FAMILIES | HELD_OUT
    if family not in known:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(known)}")
    root = np.random.default_rng(seed)
    if n is None:
        n = int(np.exp(root.uniform(np.log(150), np.log(2500))))
        n *= 2 if root.random() < 0.1 else 1
    if p is None:
        p = int(np.exp(root.uniform(np.log(2), np.log(31))))
        p *= 2 if root.random() < 0.1 else 1
    for rng in root.spawn(_ATTEMPTS):
        table = _attempt(family, known[family], rng, n, p, queries)
        if _is_enough(table):
            return table
    raise ValueError(
        f"{n} rows are too few for family {family!r}: none of {_ATTEMPTS} tables has {_FEWEST} rows"
        " and events in each arm"
    )


def _is_enough(table):
    """Whether both arms have rows and, of an outcome that is mostly 0, other values."""
    for arm in (0, 1):
        own = table.y[table.t == arm]
        few = min((own != 0).sum(), (own == 0).sum()) if table.outcome == "event" else len(own)
        few = (own > 0).sum() if table.outcome == "revenue" else few
        if min(few, len(own)) < _FEWEST:
            return False
    return len(np.unique(table.y)) > 1


def _attempt(family, choices, rng, n, p, queries):
    whole = n + queries
    z, x = _columns(choices, rng, whole, p)
    baseline = _standardised(_function(choices.baseline, rng, p), z)
    vary = _standardised(_function(choices.effect, rng, p), z)
    if rng.random() < 1 / 3:  # effects go with the outcome without treatment
        vary = _unit(vary + rng.choice([-1, 1]) * rng.uniform(0.3, 2) * baseline)
    size = 0.0 if rng.random() < 0.1 else np.exp(rng.uniform(np.log(0.05), np.log(1.0)))
    average = rng.normal(0, 0.5) * np.exp(rng.uniform(np.log(0.2), 0))
    gain = average + size * vary
    chances = _chances(choices, rng, z, baseline, vary)
    t = (rng.random(n) < chances[:n]).astype(int)
    kind = str(rng.choice(["numeric", "event", "revenue"], p=[0.65, 0.25, 0.1]))
    if kind == "numeric":
        control = baseline
        effect = gain
        y = (control + _noise(choices, rng, z))[:n] + effect[:n] * t
    else:
        control, effect, y = _of_events(kind, rng, baseline, gain, t)
    unit = np.exp(rng.uniform(np.log(0.1), np.log(100))) if kind != "event" else 1.0
    return Table(x, t, unit * y, chances, unit * control, unit * effect, kind, family)


def _columns(choices, rng, n, p):
    """Standard normals (n, p) that functions see, and the columns that a table shows.

    The normals share some factors. Functions see a standardised form of the columns, so that what
    they depend on is in the table.
    """
    factors = rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) * rng.uniform(0, 0.8)
    z = factors + rng.normal(size=(n, p))
    z = z / z.std(axis=0)
    kinds = COLUMNS | UNSEEN_COLUMNS
    # some tables have columns of one kind only
    one = str(rng.choice(choices.columns)) if rng.random() < 0.3 else None
    x = np.column_stack(
        [kinds[one or str(rng.choice(choices.columns))](z[:, j], rng) for j in range(p)]
    )
    spread = x.std(axis=0)
    seen = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.clip(seen, -4, 4), x


def _function(names, rng, p):
    return (FUNCTIONS | UNSEEN_FUNCTIONS)[str(rng.choice(names))](rng, p)


def _standardised(function, z):
    return _unit(function(z))


def _unit(values):
    """Of mean 0 and deviation 1 over the rows; 0 where they do not vary."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros(len(values))


def _chances(choices, rng, z, baseline, vary):
    """(n,) propensities: of an experiment, or by columns, baseline and effect."""
    level = 0.0 if rng.random() < 0.5 else rng.normal(0, 1.3)
    if rng.random() < 0.3:
        return np.full(len(z), np.clip(expit(level), _LEAST_CHANCE, 1 - _LEAST_CHANCE))
    own = _standardised(_function(choices.baseline, rng, z.shape[1]), z)
    mixed = own * rng.random() + baseline * rng.normal() * (rng.random() < 0.6)
    mixed = _unit(mixed + vary * rng.normal() * (rng.random() < 0.3))
    odds = level + rng.uniform(0.2, 1.8) * mixed
    return np.clip(expit(odds), _LEAST_CHANCE, 1 - _LEAST_CHANCE)


def _noise(choices, rng, z):
    """(n,) noise; the baseline, of deviation 1, explains between a tenth and nine tenths."""
    name = str(rng.choice(choices.noises))
    noise = (NOISES | UNSEEN_NOISES)[name](rng, len(z))
    if name == "heteroscedastic":
        scale = np.exp(0.6 * _standardised(_function(choices.baseline, rng, z.shape[1]), z))
        noise = noise * scale / np.sqrt((scale**2).mean())
    explained = rng.uniform(0.1, 0.9)
    return noise * np.sqrt(1 / explained - 1)


def _of_events(kind, rng, baseline, gain, t):
    """μ_0, τ (n + queries,) and y (n,) of an event, or of an amount that an event brings.

    The log odds of the event are linear in baseline and gain. An amount is lognormal.
    """
    rare = kind == "revenue" or rng.random() < 0.5
    rate = np.exp(rng.uniform(np.log(0.01), np.log(0.2))) if rare else rng.uniform(0.2, 0.8)
    level = np.log(rate / (1 - rate))
    slope = rng.uniform(0.3, 1.5)
    arms = [expit(level + slope * baseline), expit(level + slope * (baseline + gain))]
    n = len(t)
    chance = np.where(t == 1, arms[1][:n], arms[0][:n])
    y = (rng.random(n) < chance).astype(float)
    if kind == "revenue":
        pull = rng.normal(0, 0.4) * baseline
        lift = rng.normal(0, 0.2)
        means = [np.exp(pull), np.exp(pull + lift)]  # amounts of an event of each arm
        own = np.where(t == 1, means[1][:n], means[0][:n])
        y = y * own * np.exp(_AMOUNTS * rng.standard_normal(n) - _AMOUNTS**2 / 2)
        arms = [arm * mean for arm, mean in zip(arms, means, strict=True)]
    return arms[0], arms[1] - arms[0], y
