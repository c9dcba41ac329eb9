"""Families of random structural models, wider than `simulate`: what the pretrained discoverer learns from and is tested on.

`FAMILIES` are trained on; `HELD_OUT` never are, nor is anything of `simulate` or a real network. `draw` draws one data set.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.mechanisms import MECHANISMS, UNSEEN_NOISES, bent, scaled
from causal_lib.worlds.random_models import NOISES, random_dag


@dataclass(frozen=True)
class Family:
    """What the variables of one family may be: each data set draws from these, most often one choice for all variables.

    kinds : 'numeric', 'binary', 'nominal', 'ordinal', 'count', 'gated'; or 'table' (levels from random tables).
    mechanisms : keys of `MECHANISMS`.
    noises : of numeric variables.
    bends : numbers are seen through a random increasing function of signal plus noise (post-nonlinear).
    loud : the noise's scale changes with the parents (heteroscedastic).
    tiered : earlier tiers hold numbers and levels, later ones counts and gated events, as in a recommender's log.
    """

    kinds: tuple[str, ...] = ("numeric",)
    mechanisms: tuple[str, ...] = ("linear",)
    noises: tuple[str, ...] = tuple(NOISES)
    bends: bool = False
    loud: bool = False
    tiered: bool = False


@dataclass(frozen=True)
class Sample:
    """Rows of a random model, the DAG of its observed variables (hidden ones are roots, left out), its true tiers."""

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
    "post-nonlinear": Family(mechanisms=("linear", *_CURVES, "mlp"), bends=True),
    "heteroscedastic": Family(mechanisms=("linear", *_CURVES, "mlp"), loud=True),
    "discrete": Family(("binary", "nominal", "ordinal"), ("linear", "mlp")),
    "mixed": Family(("numeric", "binary", "nominal", "ordinal"), ("linear", *_CURVES, "mlp")),
    "tables": Family(("table",)),
    "recommender": Family(
        ("numeric", "nominal", "ordinal", "count", "gated"), ("linear", *_CURVES, "tree"), tiered=True
    ),
}
"""Name -> `Family`: trained on."""
HELD_OUT = {
    "quadratic": Family(mechanisms=("quadratic",)),
    "interactions": Family(mechanisms=("interactions",)),
    "tanh-GP": Family(mechanisms=("tanh-gp",)),
    "unseen noises": Family(mechanisms=("linear", *_CURVES), noises=tuple(UNSEEN_NOISES)),
}
"""Name -> `Family`: never trained on."""
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


def draw(
    family: str,
    seed,
    *,
    d: int | None = None,
    n: int | None = None,
    degree: float | None = None,
    troubles: tuple[str, ...] = (),
) -> Sample:
    """One random data set.

    Parameters
    ----------
    family : a key of `FAMILIES` or `HELD_OUT`.
    seed : an integer, a sequence of them or a numpy ``Generator``.
    d, n, degree : variables, rows, edges per variable; drawn where not given (3 to 50; 150 to 3,000, rarely 20,000; 0.5
        to 3).
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
    if strange := sorted(set(troubles) - set(TROUBLES)):
        raise ValueError(f"unknown trouble {strange[0]!r}; known: {', '.join(TROUBLES)}")
    what, rng = known[family], np.random.default_rng(seed)
    d = d or int(np.exp(rng.uniform(np.log(3), np.log(50.99))))
    n = n or int(np.exp(rng.uniform(np.log(150), np.log(3000)))) * (7 if rng.random() < 0.05 else 1)
    most = min(degree or rng.uniform(0.5, 3), (d - 1) / 2)
    kind = "tiered" if what.tiered else str(rng.choice(["er", "er", "scale-free"]))
    most = max(1, int(most)) if kind == "scale-free" else most
    graph = random_dag(d, kind=kind, degree=most, tiers=min(4, d), seed=rng)
    hidden = int(rng.integers(1, 1 + max(1, d // 4))) if "hidden causes" in troubles else 0
    size = 3 * n if "selection" in troubles else n
    for _ in range(20):
        frame = _rows(graph, hidden, size, what, rng)
        for spoil in (name for name in _SPOIL if name in troubles):
            frame = _SPOIL[spoil](frame, n, rng)
        if _varying(frame).all():
            break
    else:  # a rare event that no row shows, again and again: leave it out
        frame = frame.loc[:, _varying(frame)]
    order = tuple(name for name in graph.order() if name in frame.columns)
    return Sample(frame, graph.subgraph(frame.columns), order, family)


def some_knowledge(sample: Sample, rng: np.random.Generator) -> Knowledge:
    """True knowledge about a part of ``sample``: tiers of most variables, a few forbidden and required pairs."""
    order, edges = list(sample.order), [tuple(edge.split(" -> ")) for edge in sample.graph.edges]
    told = [name for name in order if rng.random() < rng.choice([0.6, 1.0])]
    cuts = np.sort(rng.choice(np.arange(1, len(told)), size=min(len(told) - 1, int(rng.integers(1, 4))), replace=False)) \
        if len(told) > 1 else []  # fmt: skip
    tiers = [part.tolist() for part in np.split(np.array(told, dtype=object), cuts)] if rng.random() < 0.8 else []
    absent = np.argwhere(~sample.graph.adjacency & ~np.eye(len(order), dtype=bool))
    some = rng.permutation(absent)[: rng.integers(0, 4)] if rng.random() < 0.3 else []
    sure = rng.permutation(np.array(edges, dtype=object))[: rng.integers(0, 3)] if edges and rng.random() < 0.2 else []
    names = sample.graph.names
    return Knowledge(tiers, [(names[i], names[j]) for i, j in some], [tuple(edge) for edge in sure])


def _rows(graph, hidden, n, family, rng):
    """``n`` rows of a random model over ``graph`` and ``hidden`` roots of two or more children each."""
    names, adjacency, d = graph.names, graph.adjacency, len(graph.names)
    confounds = [rng.choice(d, size=min(d, int(rng.integers(2, 4))), replace=False) for _ in range(hidden)]
    roots = rng.standard_normal((n, hidden))
    one = str(rng.choice(family.mechanisms)) if rng.random() < 0.6 else None
    noise = str(rng.choice(family.noises)) if rng.random() < 0.6 else None
    level = rng.uniform(0.25, 0.7), rng.uniform(0.7, 1.3)  # of the noise
    kinds = _kinds(graph, family, rng)
    columns, seen, codes = {}, {}, {}
    for name in graph.order():
        j = names.index(name)
        above = [names[i] for i in adjacency[:, j].nonzero()[0]]
        parents = [seen[parent](rng) for parent in above]
        parents += [roots[:, h] for h in range(hidden) if j in confounds[h]]
        x = np.column_stack(parents) if parents else np.zeros((n, 0))
        if kinds[name] == "table":
            columns[name], codes[name] = _table([codes[parent] for parent in above], n, rng)
            seen[name] = _effects(codes[name])
            continue

        def signal(outputs=1, x=x):
            mechanism = MECHANISMS[one or str(rng.choice(family.mechanisms))]
            return np.column_stack([scaled(mechanism(rng, x)) if x.shape[1] else np.zeros(n) for _ in range(outputs)])

        own = (NOISES | UNSEEN_NOISES)[noise or str(rng.choice(family.noises))](rng, n) * rng.choice([-1, 1])
        columns[name], seen[name] = _variable(
            kinds[name], signal, own, rng.uniform(*level), family, x, rng, columns, above
        )
    return pd.DataFrame({name: columns[name] for name in names})


def _varying(frame):
    present = [frame[name].dropna().to_numpy() for name in frame]
    return np.array([bool((values != values[:1]).any()) for values in present])


def _kinds(graph, family, rng):
    """Kind of each variable; in a tiered family numbers and levels stand in the first half of the order."""
    order = graph.order()
    if not family.tiered:
        chosen = [str(rng.choice(family.kinds)) for _ in order]
    else:
        early = [k for k in family.kinds if k not in ("count", "gated")]
        late = ["count", "gated", "gated", "numeric", "ordinal"]
        chosen = [str(rng.choice(early if place < len(order) / 2 else late)) for place in range(len(order))]
    return dict(zip(order, chosen, strict=True))


def _variable(kind, signal, noise, sigma, family, x, rng, columns, above):
    """The column of one variable, and a function of rng that gives (n,) what its children see of it."""
    n, strength = len(noise), rng.uniform(0.8, 2.5)
    if kind == "numeric":
        scale = np.exp(rng.uniform(0.5, 1.0) * np.clip(signal()[:, 0], -2, 2)) if family.loud else 1.0
        value = signal()[:, 0] + (sigma if x.shape[1] else 1.0) * scale * noise
        value = bent(value, rng) if family.bends and rng.random() < 0.8 else value
        column = scaled(value)
        return column, lambda _: column
    if kind == "ordinal":
        levels = int(rng.integers(3, 8))
        latent = strength * signal()[:, 0] + noise
        cuts = np.quantile(latent, np.sort(rng.dirichlet(np.full(levels, 2.0)).cumsum()[:-1]))
        code = np.searchsorted(cuts, latent)
        return code if rng.random() < 0.5 else _category(code, ordered=True), _steps(code)
    if kind == "count":
        code = rng.poisson(np.exp(np.minimum(rng.uniform(-0.5, 1.5) + 0.4 * strength * signal()[:, 0], 5)))
        return code, lambda _: scaled(np.log1p(code))
    if kind in ("binary", "gated"):
        base = rng.uniform(-3, 0) if kind == "gated" else rng.uniform(-1, 1)
        happens = rng.random(n) < expit(base + strength * signal()[:, 0])
        gates = [columns[name] for name in above if columns[name].dtype == bool]
        if kind == "gated" and gates and rng.random() < 0.5:  # a purchase needs a click
            happens = gates[0] & (rng.random(n) < expit(base + 2 + strength * signal()[:, 0]))
        return happens, _steps(happens)
    levels = int(rng.integers(3, 7))
    score = strength * signal(levels) + rng.normal(scale=0.7, size=levels)
    code = (score + rng.gumbel(size=(n, levels))).argmax(axis=1)
    return _category(code), _effects(code)


def _steps(code):
    column = scaled(code.astype(float))
    return lambda _: column


def _effects(code):
    """A random effect of each level, another for every child."""
    return lambda rng: scaled(rng.standard_normal(code.max() + 1)[code])


def _category(code, ordered=False):
    return pd.Categorical.from_codes(code, [f"v{level}" for level in range(code.max() + 1)], ordered=ordered)


def _table(parents, n, rng):
    """A level per row from a random table over the parents' levels: rare levels, and nearly a function of them at times."""
    levels = int(rng.integers(2, 5))
    cell = np.zeros(n, dtype=int)
    for parent in parents[:5]:
        cell = cell * (parent.max() + 1) + parent
    _, cell = np.unique(cell, return_inverse=True)
    alpha = np.exp(rng.uniform(np.log(0.1), np.log(2)))
    if parents and rng.random() < 0.5:  # monotone: shares follow a score of the parents, as in noisy-or and severities
        score = scaled(sum(rng.uniform(0.4, 1) * (p / max(1, p.max())) for p in parents))
        latent = rng.uniform(1, 5) * score + rng.logistic(size=n)
        cuts = np.quantile(latent, np.sort(rng.dirichlet(np.full(levels, 0.8)).cumsum()[:-1]))
        code = np.searchsorted(cuts, latent)
    else:
        mean = rng.dirichlet(np.full(levels, 0.8))
        tables = rng.dirichlet(np.maximum(alpha * levels * mean, 0.02), size=cell.max() + 1)
        tables = np.nan_to_num(tables, nan=1 / levels)
        code = (rng.random(n)[:, None] > tables.cumsum(axis=1)[cell]).sum(axis=1).clip(0, levels - 1)
    _, code = np.unique(code, return_inverse=True)
    return _category(code), code


# ---- troubles: (frame, rows wanted, rng) -> frame -------------------------------------------------------------


def _numbers(frame, share, rng):
    return [name for name in frame.select_dtypes("number") if rng.random() < share]


def _measure(frame, n, rng):
    noisy = {k: frame[k] + rng.uniform(0.2, 1) * frame[k].std() * rng.standard_normal(len(frame))
             for k in _numbers(frame, rng.uniform(0.3, 1), rng)}  # fmt: skip
    return frame.assign(**noisy)


def _round(frame, n, rng):
    return frame.assign(
        **{k: (frame[k] / frame[k].std() * rng.uniform(0.7, 4)).round() for k in _numbers(frame, 0.6, rng)}
    )


def _select(frame, n, rng):
    """Rows that lie high in a mixture of two columns are kept more often."""
    codes = frame.apply(lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c).astype(float)
    two = rng.choice(frame.shape[1], size=min(2, frame.shape[1]), replace=False)
    wish = scaled(codes.to_numpy()[:, two]).sum(axis=1) + rng.normal(scale=0.7, size=len(frame))
    return frame.iloc[np.sort(np.argsort(-wish)[: len(frame) // 2][rng.permutation(len(frame) // 2)[:n]])].reset_index(
        drop=True
    )


def _odd(frame, n, rng):
    odd = {k: scaled(bent(frame[k].to_numpy(dtype=float), rng)) for k in _numbers(frame, 0.5, rng)}
    return frame.assign(**odd)


def _outliers(frame, n, rng):
    far = {k: frame[k] + frame[k].std() * rng.uniform(3, 8) * rng.standard_normal(len(frame)) * (rng.random(len(frame)) < 0.01)
           for k in _numbers(frame, 0.5, rng)}  # fmt: skip
    return frame.assign(**far)


def _lose(frame, n, rng):
    """Values are lost by chance alone, or the more of them the higher another column stands."""
    codes = frame.apply(lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c).astype(float)
    lost = {}
    for name in frame:
        if rng.random() < 0.6:
            other = scaled(codes[str(rng.choice(frame.columns))].to_numpy()) * (rng.random() < 0.5)
            lost[name] = frame[name].mask(rng.random(n) < rng.uniform(0.02, 0.25) * 2 * expit(2 * other))
    return frame.assign(**lost)


_SPOIL = {
    "measurement noise": _measure, "coarse values": _round, "selection": _select, "odd scales": _odd, "outliers": _outliers,
    "missing values": _lose,
}  # fmt: skip
