"""What every simulated world has: the log, its truth, its graph and one sentence about itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from causal_lib.cards import card
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class World:
    """A simulated log with its truth; each world adds tables, truths and effects of its own.

    Attributes
    ----------
    frame : the log, one row per unit.
    truth : rows aligned with ``frame``, never known outside a simulation: potential outcomes,
        their probabilities, hidden causes.
    graph : the `CausalGraph` that generated the log.
    knowledge : the tiers of what is logged.
    seed : what the world was drawn with.
    hidden : the variables of ``graph`` that the log lacks.
    contrasts : "treatment -> outcome" to the columns of ``truth`` that hold the outcome (or its
        expectation) with the treatment and without it.
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    graph: CausalGraph
    knowledge: Knowledge
    seed: int

    hidden: ClassVar[tuple[str, ...]] = ()
    contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {}

    @property
    def true_effects(self) -> dict[str, float]:
        """Each "treatment -> outcome" of the world: the average effect over all rows."""
        return {
            question: self._average_effect(treated, untreated)
            for question, (treated, untreated) in self.contrasts.items()
        }

    @property
    def ate(self) -> float:
        """True average effect of the world's main question, the first of `true_effects`."""
        return next(iter(self.true_effects.values()))

    def log(self) -> pd.DataFrame:
        """One row per unit with everything that was logged about it."""
        return self.frame

    def _average_effect(self, treated: str, untreated: str) -> float:
        return float((self.truth[treated] - self.truth[untreated]).mean())

    def _summary(self) -> str:
        """The middle of the world's sentence."""
        return f"{len(self.frame):,} rows"

    def __repr__(self):
        return f"{type(self).__name__} of {self._summary()} (seed {self.seed})"

    def _repr_html_(self):
        told = [f"{question} {value:.4g}" for question, value in self.true_effects.items()]
        return card(
            f"Simulated world: {type(self).__name__}",
            self._summary(),
            facts=[
                ("true average effects", "; ".join(told)),
                ("hidden from the log", ", ".join(self.hidden)),
                ("graph", f"{len(self.graph.names)} variables, {len(self.graph.triples)} edges"),
                ("tiers", "; ".join(", ".join(tier) for tier in self.knowledge.tiers)),
                ("seed", self.seed),
            ],
        )


def structure(
    causes: Mapping[str, Iterable[str]],
    tiers: Sequence[Sequence[str]],
    names: Sequence[str] | None = None,
) -> tuple[CausalGraph, Knowledge]:
    """The graph of a world's equations, and what is known about it before any data are seen.

    Parameters
    ----------
    causes : variable to its direct causes.
    tiers : what is logged, earliest first.
    names : the variables of the graph in their order; those of the tiers where left out.

    >>> structure({"clicked": ["shown"]}, [["shown"], ["clicked"]])[0].edges
    ['shown -> clicked']
    """
    if names is None:
        names = [name for tier in tiers for name in tier]
    edges = [(cause, effect) for effect, of_effect in causes.items() for cause in of_effect]
    return CausalGraph.from_edges(names, edges), Knowledge(tiers=tiers)


def check_sizes(**sizes: tuple[float, float]) -> None:
    """Raise ValueError unless each argument, given as (value, least), is finite and large enough.

    >>> check_sizes(days=(0, 1))
    Traceback (most recent call last):
    ValueError: days must be at least 1, not 0
    """
    for name, (value, least) in sizes.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")


def sigmoid(x):
    """Probability of log-odds ``x``.

    ``scipy.special.expit`` rounds otherwise in the last bit of about two values in a hundred. The
    worlds keep this form, so that a seed goes on giving the same bytes.
    """
    return 1 / (1 + np.exp(-x))


def simulates(article: str) -> Callable:
    """Decorator that puts a function into `listing`, with its section of the article."""

    def register(function):
        function.article = article
        return function

    return register


def listing() -> pd.DataFrame:
    """What can be simulated: one row per function, with its section of the article and its line."""
    from causal_lib import worlds  # here: the room loads its modules lazily, this one first

    rows = {}
    for name in worlds.__all__:
        function = getattr(worlds, name)
        if hasattr(function, "article"):
            rows[name] = (function.article, function.__doc__.partition("\n")[0])
    columns = ["article", "what is simulated"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("function")
