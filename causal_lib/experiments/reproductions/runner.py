"""Experiments by name; each gives the entries of the ledger that it fills."""

from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import signature

from causal_lib.experiments.reproductions.ledger import Entry, write

EXPERIMENTS = {
    "open-bandit-synthetic": "bandits:synthetic",
    "open-bandit-digits": "bandits:digits",
    "open-bandit-small": "bandits:small",
    "lalonde": "effects:lalonde",
    "nie-wager": "effects:nie_wager",
    "sachs": "graphs:sachs",
    "raw-scale": "graphs:scale",
}
"""Name -> module and function of the experiment."""


def experiment(name: str) -> Callable[..., list[Entry]]:
    """The function of an experiment; ValueError for an unknown name."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    module, function = EXPERIMENTS[name].split(":")
    return getattr(import_module(f"causal_lib.experiments.reproductions.{module}"), function)


def reproduce(names: Iterable[str] = (), *, n_jobs: int = 2) -> list[Entry]:
    """Run the experiments (all when none is named), put what they find into the ledger, and return
    it.

    Each is written when it is done, so that one that fails loses nothing of those before it.
    """
    found = []
    for function in [experiment(name) for name in list(names) or EXPERIMENTS]:
        entries = function(
            **({"n_jobs": n_jobs} if "n_jobs" in signature(function).parameters else {})
        )
        write(entries)
        found += entries
    return found
