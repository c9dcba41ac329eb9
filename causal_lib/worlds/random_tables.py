"""Families of random structural models, wider than `simulate`, to train and test the discoverer on.

The pretrained discoverer learns from `FAMILIES`; it never sees `HELD_OUT`, nor anything of
`simulate` or of a real network. `draw` draws one data set.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.base import simulates
from causal_lib.worlds.mechanisms import MECHANISMS, UNSEEN_NOISES, scaled, transformed
from causal_lib.worlds.random_models import NOISES, random_dag


@dataclass(frozen=True)
class Family:
    """What the variables of one family may be; most data sets use one choice for all variables.

    Attributes
    ----------
    kinds : 'numeric', 'binary', 'nominal', 'ordinal', 'count', 'gated' (a binary event that needs
        another one); or 'table' (levels from random tables).
    mechanisms : keys of `MECHANISMS`.
    noises : of numeric variables.
    post_nonlinear : numbers are seen through a random increasing function of signal plus noise.
    heteroscedastic : the noise's scale changes with the parents.
    tiered : earlier tiers hold numbers and levels, later ones counts and gated events, as in a
        recommender's log.
    """

    kinds: tuple[str, ...] = ("numeric",)
    mechanisms: tuple[str, ...] = ("linear",)
    noises: tuple[str, ...] = tuple(NOISES)
    post_nonlinear: bool = False
    heteroscedastic: bool = False
    tiered: bool = False


@dataclass(frozen=True)
class Sample:
    """Rows of a random model and their truth.

    Attributes
    ----------
    frame : the rows.
    graph : the DAG of the observed variables; hidden variables are roots and left out.
    order : the observed variables in causal order.
    family : a key of `FAMILIES` or `HELD_OUT`.
    """

    frame: pd.DataFrame
    graph: CausalGraph
    order: tuple[str, ...]
    family: str


_CURVES = ("fourier", "piecewise", "sigmoid")
_NON_GAUSSIAN = tuple(name for name in NOISES if name != "gaussian")

FAMILIES = {
    "linear Gaussian": Family(noises=("gaussian",)),
    "linear non-Gaussian": Family(noises=_NON_GAUSSIAN),
    "additive nonlinear": Family(mechanisms=_CURVES),
    "steep": Family(mechanisms=("steep", "steep", "linear", *_CURVES)),
    "multivariate nonlinear": Family(mechanisms=("mlp", "tree")),
    "post-nonlinear": Family(mechanisms=("linear", *_CURVES, "mlp"), post_nonlinear=True),
    "heteroscedastic": Family(mechanisms=("linear", *_CURVES, "mlp"), heteroscedastic=True),
    "discrete": Family(("binary", "nominal", "ordinal"), ("linear", "mlp")),
    "mixed": Family(("numeric", "binary", "nominal", "ordinal"), ("linear", *_CURVES, "mlp")),
    "tables": Family(("table",)),
    "recommender": Family(
        ("numeric", "nominal", "ordinal", "count", "gated"),
        ("linear", *_CURVES, "tree"),
        tiered=True,
    ),
}
"""Name to `Family`: what the discoverer is trained on."""
HELD_OUT = {
    "quadratic": Family(mechanisms=("quadratic",)),
    "interactions": Family(mechanisms=("interactions",)),
    "tanh-GP": Family(mechanisms=("tanh-gp",)),
    "unseen noises": Family(mechanisms=("linear", *_CURVES), noises=tuple(UNSEEN_NOISES)),
}
"""Name to `Family`: never trained on."""
TROUBLES = (
    "hidden causes",
    "measurement noise",
    "coarse values",
    "selection",
    "odd scales",
    "outliers",
    "missing values",
)
"""What may spoil a training set."""


@simulates("4.3")
def draw(
    family: str,
    seed,
    *,
    d: int | None = None,
    n: int | None = None,
    degree: float | None = None,
    troubles: tuple[str, ...] = (),
) -> Sample:
    """One table from a family of random structural models, clean or with the troubles of real data.

    Parameters
    ----------
    family : a key of `FAMILIES` or `HELD_OUT`.
    seed : an integer, a sequence of them or a numpy ``Generator``.
    d, n, degree : variables, rows, edges per variable; drawn where not given (3 to 50; 150 to
        3,000, rarely 20,000; 0.5 to 3).
    troubles : some of `TROUBLES`.

    Raises
    ------
    ValueError
        for an unknown family or trouble.

    >>> draw("linear Gaussian", 0, d=4, n=50).frame.shape
    (50, 4)
    """
    known = FAMILIES | HELD_OUT
    if family not in known:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(known)}")
    if unknown := sorted(set(troubles) - set(TROUBLES)):
        raise ValueError(f"unknown trouble {unknown[0]!r}; known: {', '.join(TROUBLES)}")
    choices = known[family]
    rng = np.random.default_rng(seed)
    d = d or int(np.exp(rng.uniform(np.log(3), np.log(50.99))))
    if not n:
        n = int(np.exp(rng.uniform(np.log(150), np.log(3000))))
        n *= 7 if rng.random() < 0.05 else 1
    degree = min(degree or rng.uniform(0.5, 3), (d - 1) / 2)
    kind = "tiered" if choices.tiered else str(rng.choice(["er", "er", "scale-free"]))
    if kind == "scale-free":
        degree = max(1, int(degree))
    graph = random_dag(d, kind=kind, degree=degree, tiers=min(4, d), seed=rng)
    hidden = int(rng.integers(1, 1 + max(1, d // 4))) if "hidden causes" in troubles else 0
    size = 3 * n if "selection" in troubles else n
    for _ in range(20):
        frame = _rows(graph, hidden, size, choices, rng)
        for name, spoil in _SPOIL.items():
            if name in troubles:
                frame = spoil(frame, n, rng)
        if _varying(frame).all():
            break
    else:  # an event too rare for every one of these attempts: leave it out
        frame = frame.loc[:, _varying(frame)]
    order = tuple(name for name in graph.order() if name in frame.columns)
    return Sample(frame, graph.subgraph(frame.columns), order, family)


def some_knowledge(sample: Sample, rng: np.random.Generator) -> Knowledge:
    """True knowledge about a part of ``sample``: tiers of most variables, a few known pairs."""
    names = sample.graph.names
    edges = [(cause, effect) for cause, _, effect in sample.graph.triples]
    known = [name for name in sample.order if rng.random() < rng.choice([0.6, 1.0])]
    cuts = []
    if len(known) > 1:
        count = min(len(known) - 1, int(rng.integers(1, 4)))
        cuts = np.sort(rng.choice(np.arange(1, len(known)), size=count, replace=False))
    tiers = []
    if rng.random() < 0.8:
        parts = np.split(np.array(known, dtype=object), cuts)
        tiers = [part.tolist() for part in parts]
    absent = np.argwhere(~sample.graph.adjacency & ~np.eye(len(names), dtype=bool))
    forbidden = []
    if rng.random() < 0.3:
        forbidden = rng.permutation(absent)[: rng.integers(0, 4)]
    required = []
    if edges and rng.random() < 0.2:
        required = rng.permutation(np.array(edges, dtype=object))[: rng.integers(0, 3)]
    return Knowledge(
        tiers,
        forbidden=[(names[i], names[j]) for i, j in forbidden],
        required=[tuple(edge) for edge in required],
    )


def _rows(graph, hidden, n, family, rng):
    """``n`` rows of a random model over ``graph`` and ``hidden`` roots of two or three children."""
    d = len(graph.names)
    confounded = [
        rng.choice(d, size=min(d, int(rng.integers(2, 4))), replace=False) for _ in range(hidden)
    ]
    roots = rng.standard_normal((n, hidden))
    mechanism = str(rng.choice(family.mechanisms)) if rng.random() < 0.6 else None
    noise = str(rng.choice(family.noises)) if rng.random() < 0.6 else None
    least = rng.uniform(0.25, 0.7)  # of the noise's scale
    most = rng.uniform(0.7, 1.3)
    kinds = _kinds(graph, family, rng)
    columns = {}
    seen = {}  # name to a function of rng: what one child sees of the variable
    codes = {}
    for name in graph.order():
        j = graph.names.index(name)
        parents = [graph.names[i] for i in graph.adjacency[:, j].nonzero()[0]]
        inputs = [seen[parent](rng) for parent in parents]
        inputs += [roots[:, h] for h in range(hidden) if j in confounded[h]]
        x = np.column_stack(inputs) if inputs else np.zeros((n, 0))
        if kinds[name] == "table":
            codes[name] = _table_codes([codes[parent] for parent in parents], n, rng)
            columns[name] = _category(codes[name])
            seen[name] = _random_effects(codes[name])
            continue
        signal = partial(_signal, mechanism, family, x, rng)
        drawn = (NOISES | UNSEEN_NOISES)[noise or str(rng.choice(family.noises))](rng, n)
        error = drawn * rng.choice([-1, 1])
        scale = rng.uniform(least, most)
        strength = rng.uniform(0.8, 2.5)
        if kinds[name] == "numeric":
            scale = scale if inputs else 1.0
            columns[name], seen[name] = _numeric(signal, scale, error, family, rng)
        else:
            gates = [columns[parent] for parent in parents if columns[parent].dtype == bool]
            columns[name], seen[name] = _levels(kinds[name], signal, strength, error, gates, rng)
    return pd.DataFrame({name: columns[name] for name in graph.names})


def _signal(mechanism, family, x, rng, outputs=1):
    """(n, outputs) standardised signals of the parents ``x``, 0 without parents."""
    function = MECHANISMS[mechanism or str(rng.choice(family.mechanisms))]
    if not x.shape[1]:
        return np.zeros((len(x), outputs))
    return np.column_stack([scaled(function(rng, x)) for _ in range(outputs)])


def _varying(frame):
    present = [frame[name].dropna().to_numpy() for name in frame]
    return np.array([bool((values != values[:1]).any()) for values in present])


def _kinds(graph, family, rng):
    """Kind of each variable; in a tiered family numbers and levels make the first half."""
    order = graph.order()
    early = family.kinds
    late = family.kinds
    if family.tiered:
        early = [kind for kind in family.kinds if kind not in ("count", "gated")]
        late = ["count", "gated", "gated", "numeric", "ordinal"]
    half = len(order) / 2
    return {
        name: str(rng.choice(early if place < half else late)) for place, name in enumerate(order)
    }


def _numeric(signal, scale, error, family, rng):
    """The column of a numeric variable, and what its children see: the same."""
    spread = 1.0
    if family.heteroscedastic:
        spread = np.exp(rng.uniform(0.5, 1.0) * np.clip(signal()[:, 0], -2, 2))
    value = signal()[:, 0] + scale * spread * error
    if family.post_nonlinear and rng.random() < 0.8:
        value = transformed(value, rng)
    column = scaled(value)
    return column, lambda _: column


def _levels(kind, signal, strength, error, gates, rng):
    """The column of a variable with levels or counts, and what a child sees of it.

    ``gates`` are the binary parents, of which a gated event may need the first: a purchase needs a
    click.
    """
    n = len(error)
    if kind == "ordinal":
        levels = int(rng.integers(3, 8))
        code = _cut(strength * signal()[:, 0] + error, rng.dirichlet(np.full(levels, 2.0)))
        column = code if rng.random() < 0.5 else _category(code, ordered=True)
        return column, _steps(code)
    if kind == "count":
        log_mean = rng.uniform(-0.5, 1.5) + 0.4 * strength * signal()[:, 0]
        code = rng.poisson(np.exp(np.minimum(log_mean, 5)))
        return code, lambda _: scaled(np.log1p(code))
    if kind in ("binary", "gated"):
        base = rng.uniform(-3, 0) if kind == "gated" else rng.uniform(-1, 1)
        happens = rng.random(n) < expit(base + strength * signal()[:, 0])
        if kind == "gated" and gates and rng.random() < 0.5:
            happens = gates[0] & (rng.random(n) < expit(base + 2 + strength * signal()[:, 0]))
        return happens, _steps(happens)
    levels = int(rng.integers(3, 7))
    score = strength * signal(levels) + rng.normal(scale=0.7, size=levels)
    code = (score + rng.gumbel(size=(n, levels))).argmax(axis=1)
    return _category(code), _random_effects(code)


def _cut(latent, shares):
    """Levels of ``latent`` that hold ``shares`` of the rows."""
    return np.searchsorted(np.quantile(latent, np.sort(shares.cumsum()[:-1])), latent)


def _steps(code):
    column = scaled(code.astype(float))
    return lambda _: column


def _random_effects(code):
    """A random effect of each level, another for every child."""
    return lambda rng: scaled(rng.standard_normal(code.max() + 1)[code])


def _category(code, ordered=False):
    levels = [f"v{level}" for level in range(code.max() + 1)]
    return pd.Categorical.from_codes(code, levels, ordered=ordered)


def _table_codes(parents, n, rng):
    """(n,) level of each row from a random table over the parents' levels.

    Levels may be rare, and sometimes nearly a function of the parents.
    """
    levels = int(rng.integers(2, 5))
    cell = np.zeros(n, dtype=int)
    for parent in parents[:5]:
        cell = cell * (parent.max() + 1) + parent
    _, cell = np.unique(cell, return_inverse=True)
    alpha = np.exp(rng.uniform(np.log(0.1), np.log(2)))
    if parents and rng.random() < 0.5:
        # monotone: shares follow a score of the parents, as in noisy-or and severities
        score = scaled(sum(rng.uniform(0.4, 1) * (p / max(1, p.max())) for p in parents))
        latent = rng.uniform(1, 5) * score + rng.logistic(size=n)
        code = _cut(latent, rng.dirichlet(np.full(levels, 0.8)))
    else:
        mean = rng.dirichlet(np.full(levels, 0.8))
        tables = rng.dirichlet(np.maximum(alpha * levels * mean, 0.02), size=cell.max() + 1)
        tables = np.nan_to_num(tables, nan=1 / levels)
        above = rng.random(n)[:, None] > tables.cumsum(axis=1)[cell]
        code = above.sum(axis=1).clip(0, levels - 1)
    _, code = np.unique(code, return_inverse=True)
    return code


# ---- troubles: (frame, rows wanted, rng) -> frame ---------------------------------------------


def _numbers(frame, share, rng):
    """Names of numeric columns, each taken with probability ``share``."""
    return [name for name in frame.select_dtypes("number") if rng.random() < share]


def _codes(frame):
    """The frame as floats, levels by their number."""
    return frame.apply(
        lambda column: column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
    ).astype(float)


def _measure(frame, n, rng):
    noisy = {}
    for name in _numbers(frame, rng.uniform(0.3, 1), rng):
        size = rng.uniform(0.2, 1) * frame[name].std()
        noisy[name] = frame[name] + size * rng.standard_normal(len(frame))
    return frame.assign(**noisy)


def _round(frame, n, rng):
    coarse = {}
    for name in _numbers(frame, 0.6, rng):
        coarse[name] = (frame[name] / frame[name].std() * rng.uniform(0.7, 4)).round()
    return frame.assign(**coarse)


def _select(frame, n, rng):
    """Rows that lie high in a mixture of two columns are kept more often."""
    two = rng.choice(frame.shape[1], size=min(2, frame.shape[1]), replace=False)
    chance = scaled(_codes(frame).to_numpy()[:, two]).sum(axis=1)
    chance += rng.normal(scale=0.7, size=len(frame))
    upper_half = np.argsort(-chance)[: len(frame) // 2]
    kept = upper_half[rng.permutation(len(upper_half))[:n]]
    return frame.iloc[np.sort(kept)].reset_index(drop=True)


def _transform(frame, n, rng):
    odd = {}
    for name in _numbers(frame, 0.5, rng):
        odd[name] = scaled(transformed(frame[name].to_numpy(dtype=float), rng))
    return frame.assign(**odd)


def _add_outliers(frame, n, rng):
    far = {}
    for name in _numbers(frame, 0.5, rng):
        size = frame[name].std() * rng.uniform(3, 8)
        jump = size * rng.standard_normal(len(frame)) * (rng.random(len(frame)) < 0.01)
        far[name] = frame[name] + jump
    return frame.assign(**far)


def _lose(frame, n, rng):
    """Values go missing completely at random, or more often where another column is high."""
    codes = _codes(frame)
    lossy = {}
    for name in frame:
        if rng.random() < 0.6:
            cause = scaled(codes[str(rng.choice(frame.columns))].to_numpy())
            cause = cause * (rng.random() < 0.5)
            lost = rng.random(n) < rng.uniform(0.02, 0.25) * 2 * expit(2 * cause)
            lossy[name] = frame[name].mask(lost)
    return frame.assign(**lossy)


_SPOIL = {
    "measurement noise": _measure,
    "coarse values": _round,
    "selection": _select,
    "odd scales": _transform,
    "outliers": _add_outliers,
    "missing values": _lose,
}
