"""Random tables with a treatment and known effects: what the pretrained learner is trained on.

A table is drawn from a family. `FAMILIES` are trained on. `HELD_OUT` are for tests alone: each has
a function, a noise or columns that no table of `FAMILIES` has.

Notation: x the columns, t the treatment (0 or 1), y the outcome, e(x) = P(t = 1 | x) the
propensity, μ_a(x) = E[y | x, t = a], τ(x) = μ_1(x) - μ_0(x) the effect.

Half of the tables are drawn with a graph: each column has a role of `roles.ROLES`, and e, μ_0 and τ
depend on the columns of their roles alone. A quarter are logs of a recommender: users with several
rows, rare exposure or weak overlap, a position, rare events, columns of many levels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr
from scipy.stats import poisson

from causal_lib.inference.pretrained.roles import columns_for

_LEAST_CHANCE = 0.01  # of either arm: every row could have had both
_FEWEST = 12  # rows of an arm, and events of an arm, of a table
_ATTEMPTS = 50
_OF_GRAPH = {
    "confounder": 0.35,
    "instrument": 0.2,
    "modifier": 0.2,
    "precision": 0.15,
    "neither": 0.1,
}  # chances of roles
_MOST_LEVELS = 40
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
    groups : (rows,) cluster of each row, codes from 0.
    roles : (p,) of the columns as a user would know them, of `roles.ROLES`.
    outcome : 'numeric', 'event' or 'revenue' (0 for most rows, otherwise an amount).
    family : of `FAMILIES` or `HELD_OUT`.
    """

    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    propensity: np.ndarray
    control: np.ndarray
    effect: np.ndarray
    groups: np.ndarray
    roles: tuple[str, ...]
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


def _mixed(rng, p):
    """A sum of two to four functions of different kinds."""
    kinds = rng.choice(list(_SINGLE), size=int(rng.integers(2, 5)), replace=False)
    functions = [_SINGLE[str(kind)](rng, p) for kind in kinds]
    weights = rng.normal(size=len(functions))
    return lambda z: sum(
        weight * _bounded(function(z)) for weight, function in zip(weights, functions, strict=True)
    )


def _bounded(values):
    """(n,) of about the size 1, row by row."""
    return 3 * np.tanh(values / 3)


def _some(rng, p, most):
    return rng.permutation(p)[: int(rng.integers(1, 1 + min(p, most)))]


Function = Callable[[np.ndarray], np.ndarray]
_SINGLE: dict[str, Callable[[np.random.Generator, int], Function]] = {
    "linear": _linear,
    "additive": _additive,
    "interactions": _interactions,
    "trees": _trees,
    "network": _network,
    "exponential": _exponential,
    "one column": _one_column,
}
FUNCTIONS = _SINGLE | {"mixed": _mixed}
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
    n, p : rows and columns; drawn where not given: 100 to 2,500, rarely 5,000; 2 to 30, rarely 90.
        Of a table with a column of many levels, p columns less one, and an indicator for each level
        but the first.
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
        n = int(np.exp(root.uniform(np.log(100), np.log(2500))))
        n *= 2 if root.random() < 0.1 else 1
    if p is None:
        p = int(np.exp(root.uniform(np.log(2), np.log(31))))
        p *= int(root.integers(2, 4)) if root.random() < 0.1 else 1
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
    is_log = rng.random() < 0.25
    users = _users(rng, n, queries) if is_log else np.arange(whole)
    roles = _roles(rng, p) if rng.random() < 0.5 else np.full(p, "unknown", dtype=object)
    z, x, parts = _columns(choices, rng, users, p, is_log)
    has_graph = roles[0] != "unknown"
    shared = _drawn(choices.baseline, rng, z, roles, "chance")
    baseline = shared
    if has_graph:
        own = _drawn(choices.baseline, rng, z, roles, "outcome")
        baseline = _unit(own + rng.uniform(0.3, 2) * shared)
    vary = _drawn(choices.effect, rng, z, roles, "effect")
    tied = rng.random() < 1 / 3  # effects go with the outcome without treatment
    if tied:
        vary = _unit(vary + rng.choice([-1, 1]) * rng.uniform(0.3, 2) * baseline)
    size = 0.0 if rng.random() < 0.1 else np.exp(rng.uniform(np.log(0.05), np.log(1.0)))
    average = rng.normal(0, 0.5) * np.exp(rng.uniform(np.log(0.2), 0))
    gain = average + size * vary
    position = z[:, 0] if is_log and rng.random() < 0.5 else None
    if position is not None and has_graph and roles[0] not in ("confounder", "instrument"):
        position = None
    selected = np.zeros(whole) if has_graph else vary
    chances = _chances(choices, rng, z, roles, shared, selected, position, is_log)
    t = (rng.random(n) < chances[:n]).astype(int)
    of_kind = [0.3, 0.45, 0.25] if is_log else [0.65, 0.25, 0.1]
    kind = str(rng.choice(["numeric", "event", "revenue"], p=of_kind))
    alike = rng.uniform(0, 0.7) if is_log else 0.0  # correlation of the noise of a user's rows
    if kind == "numeric":
        control = baseline
        effect = gain
        noise = _noise(choices, rng, z, roles)[:n]
        if alike:
            of_users = rng.standard_normal(users.max() + 1)[users[:n]]
            noise = np.sqrt(1 - alike) * noise + np.sqrt(alike) * noise.std() * of_users
        y = control[:n] + noise + effect[:n] * t
    else:
        control, effect, y = _of_events(kind, rng, baseline, gain, t, users[:n], alike)
    unit = np.exp(rng.uniform(np.log(0.1), np.log(100))) if kind != "event" else 1.0
    if tied or kind != "numeric":  # what moves the outcome without treatment moves the effect
        roles = np.where(roles == "precision", "modifier", roles)
    groups = np.unique(users[:n], return_inverse=True)[1]
    known = tuple(_as_known(rng, roles)[parts].tolist())
    return Table(
        x, t, unit * y, chances, unit * control, unit * effect, groups, known, kind, family
    )


def _users(rng, n, queries):
    """(n + queries,) user of each row: several rows each; fresh rows are of other users."""
    mean = np.exp(rng.uniform(0, np.log(12)))
    of_rows = np.repeat(np.arange(n), rng.geometric(1 / mean, size=n))[:n]
    return np.append(rng.permutation(of_rows), of_rows.max() + 1 + np.arange(queries))


def _roles(rng, p):
    """(p,) of the columns of a graph, one of them at least a confounder or modifier."""
    roles = rng.choice(list(_OF_GRAPH), size=p, p=list(_OF_GRAPH.values())).astype(object)
    if not np.isin(roles, ["confounder", "modifier"]).any():
        roles[rng.integers(p)] = "confounder"
    return roles


def _as_known(rng, roles):
    """(p,) what a user knows of them: often nothing, or not of all columns; a graph does not tell
    a precision variable from a modifier.
    """
    known = np.where((roles == "precision") & (rng.random() < 0.7), "modifier", roles)
    share = rng.choice([0.0, 1.0, rng.random()], p=[0.2, 0.6, 0.2])
    return np.where(rng.random(len(roles)) < share, known, "unknown").astype(object)


def _drawn(names, rng, z, roles, purpose):
    """(n,) values of a random function of the columns for a purpose, standardised.

    The propensity depends on instruments too, see `_chances`; ``purpose`` 'chance' is what it
    shares with the outcome.
    """
    used = columns_for(purpose, list(roles))
    if not len(used):
        return np.zeros(len(z))
    return _unit(_function(names, rng, len(used))(z[:, used]))


def _columns(choices, rng, users, p, is_log):
    """Standard normals (n, p) that functions see; the columns (n, q) that a table shows; and of
    which of the p each is.

    The normals share some factors. Functions see a standardised form of the columns, so that what
    they depend on is in the table. In a log half of the columns are the user's, the first may be a
    position, and the last may be a category of many levels, shown as indicators.
    """
    n = len(users)
    factors = rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) * rng.uniform(0, 0.8)
    z = factors + rng.normal(size=(n, p))
    z = z / z.std(axis=0)
    if is_log:
        of_user = rng.random(p) < 0.5
        first = np.unique(users, return_index=True)[1]
        of_users = np.empty((users.max() + 1, p))
        of_users[users[first]] = z[first]
        z[:, of_user] = of_users[users][:, of_user]
    kinds = COLUMNS | UNSEEN_COLUMNS
    # some tables have columns of one kind only
    one = str(rng.choice(choices.columns)) if rng.random() < 0.3 else None
    x = np.column_stack(
        [kinds[one or str(rng.choice(choices.columns))](z[:, j], rng) for j in range(p)]
    )
    if is_log and rng.random() < 0.5:
        x[:, 0] = np.floor(ndtr(z[:, 0]) * rng.integers(5, 21)) + 1
    parts = np.arange(p)
    shown = x
    if is_log and p > 2 and rng.random() < 0.3:
        count = int(rng.integers(5, _MOST_LEVELS + 1))
        level = np.minimum((ndtr(z[:, -1]) ** rng.uniform(1, 3) * count).astype(int), count - 1)
        x = x.copy()
        x[:, -1] = rng.standard_normal(count)[level]  # what functions see of a level
        shown = np.column_stack([x[:, :-1], 1.0 * (level[:, None] == np.arange(1, count))])
        parts = np.append(parts[:-1], np.full(count - 1, p - 1))
    spread = x.std(axis=0)
    seen = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.clip(seen, -4, 4), shown, parts


def _function(names, rng, p):
    return (FUNCTIONS | UNSEEN_FUNCTIONS)[str(rng.choice(names))](rng, p)


def _unit(values):
    """Of mean 0 and deviation 1 over the rows; 0 where they do not vary."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros(len(values))


def _chances(choices, rng, z, roles, shared, selected, position, is_log):
    """(n,) propensities: of an experiment, or by columns, what the outcome shares, the effect."""
    rare = is_log and rng.random() < 0.6
    level = 0.0 if rng.random() < 0.5 else rng.normal(0, 1.3)
    level = rng.uniform(-4, -1) if rare else level
    if position is not None:
        odds = level - rng.uniform(0.3, 1.5) * position
    elif rng.random() < 0.3:
        return np.full(len(z), np.clip(expit(level), _LEAST_CHANCE, 1 - _LEAST_CHANCE))
    else:
        odds = np.full(len(z), level)
    known = columns_for("chance", list(roles)), np.flatnonzero(roles == "instrument")
    used = np.sort(np.concatenate(known))
    own = np.zeros(len(z))
    if len(used):
        own = _unit(_function(choices.baseline, rng, len(used))(z[:, used]))
    mixed = own * rng.random() + shared * rng.normal() * (rng.random() < 0.6)
    mixed = _unit(mixed + selected * rng.normal() * (rng.random() < 0.3))
    weak = rng.random() < (0.3 if is_log else 0.1)  # overlap
    odds = odds + rng.uniform(*((1.8, 4) if weak else (0.2, 1.8))) * mixed
    return np.clip(expit(odds), _LEAST_CHANCE, 1 - _LEAST_CHANCE)


def _noise(choices, rng, z, roles):
    """(n,) noise; the baseline, of deviation 1, explains between a tenth and nine tenths."""
    name = str(rng.choice(choices.noises))
    noise = (NOISES | UNSEEN_NOISES)[name](rng, len(z))
    if name == "heteroscedastic":
        scale = np.exp(0.6 * _drawn(choices.baseline, rng, z, roles, "outcome"))
        noise = noise * scale / np.sqrt((scale**2).mean())
    explained = rng.uniform(0.1, 0.95)
    return noise * np.sqrt(1 / explained - 1)


def _of_events(kind, rng, baseline, gain, t, users, alike):
    """μ_0, τ (n + queries,) and y (n,) of an event, or of an amount that an event brings.

    The log odds of the event are linear in baseline and gain. Events of a user's rows go together
    by a Gaussian copula of correlation ``alike``. An amount is lognormal.
    """
    rare = kind == "revenue" or rng.random() < 0.5
    rate = np.exp(rng.uniform(np.log(0.005), np.log(0.2))) if rare else rng.uniform(0.2, 0.8)
    level = np.log(rate / (1 - rate))
    slope = rng.uniform(0.3, 1.5)
    arms = [expit(level + slope * baseline), expit(level + slope * (baseline + gain))]
    n = len(t)
    chance = np.where(t == 1, arms[1][:n], arms[0][:n])
    normal = np.sqrt(1 - alike) * rng.standard_normal(n)
    normal += np.sqrt(alike) * rng.standard_normal(users.max() + 1)[users]
    y = (ndtr(normal) < chance).astype(float)
    if kind == "revenue":
        pull = rng.normal(0, 0.4) * baseline
        lift = rng.normal(0, 0.2)
        means = [np.exp(pull), np.exp(pull + lift)]  # amounts of an event of each arm
        own = np.where(t == 1, means[1][:n], means[0][:n])
        spread = rng.uniform(0.5, 1.3)  # of the log of an amount
        y = y * own * np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
        arms = [arm * mean for arm, mean in zip(arms, means, strict=True)]
    return arms[0], arms[1] - arms[0], y
