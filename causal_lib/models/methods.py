"""The registry of recommenders: what a method is given, what it returns, and one entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from causal_lib.models.interactions import Interactions

ARGUMENTS = {
    "propensity": "the chance of each training pair to be seen",
    "randomised": "pairs shown at random, with value 1 where they were taken, else 0",
}
"""Arguments of `train_recommender` that only some methods use -> what they are."""


@dataclass(frozen=True)
class Given:
    """What a method may use.

    data : the training pairs; users, items, value : the same as tensors (n,).
    propensity : (n,) chance of each pair to be seen, or None.
    popularity : (items,) in (0, 1].
    randomised : pairs shown at random, or None.
    options : name -> number; see `Method`.
    """

    data: Interactions
    users: torch.Tensor
    items: torch.Tensor
    value: torch.Tensor
    propensity: torch.Tensor | None
    popularity: torch.Tensor
    randomised: Interactions | None
    options: Mapping[str, float]

    def option(self, name: str) -> float:
        """The option ``name``, which the method's entry in the registry must have."""
        return float(self.options[name])


@dataclass(frozen=True)
class Parts:
    """A method on given data: the model, its loss, and the scores that rank the items.

    loss : of row numbers (b,) and a generator. ranked : from user codes (b,) to (b, items).
    """

    module: nn.Module
    loss: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
    ranked: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Method:
    """A method of `train_recommender` and what it uses.

    build : `Given` -> `Parts`, with all options filled in.
    learns : "ratings", or "clicks" (pairs that are all positive).
    formula, source : for the table in `train_recommender`.
    options : name -> default.
    needs, uses : arguments (`ARGUMENTS`) that it cannot do without, and that it can use.
    """

    build: Callable[[Given], Parts]
    learns: str
    formula: str
    source: str
    options: Mapping[str, float]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()

    def parts(self, given: Given) -> Parts:
        """The method on ``given``, with the defaults of options that are not given."""
        return self.build(replace(given, options={**self.options, **given.options}))


RECOMMENDERS: dict[str, Method] = {}
"""Name -> `Method`. `debiased` and `graph_recommender` fill it; import it from `recommender`."""


def recommender_method(
    name: str,
    learns: str,
    formula: str,
    source: str,
    *,
    options: Mapping[str, float],
    needs: tuple[str, ...] = (),
    uses: tuple[str, ...] = (),
) -> Callable[[Callable[[Given], Parts]], Callable[[Given], Parts]]:
    """Decorator that enters a function into `RECOMMENDERS`; the arguments are those of `Method`."""

    def register(build):
        RECOMMENDERS[name] = Method(build, learns, formula, source, options, needs, uses)
        return build

    return register


def names_learning(learns: str) -> tuple[str, ...]:
    """Names of the methods that learn from "ratings" or "clicks", in the order of the registry."""
    return tuple(name for name, method in RECOMMENDERS.items() if method.learns == learns)


def names_using(argument: str) -> list[str]:
    """Names of the methods that need or can use an argument of `ARGUMENTS`."""
    return [name for name, method in RECOMMENDERS.items() if argument in method.needs + method.uses]


def methods_table() -> str:
    """The methods as a Markdown table."""
    lines = [
        "| method | learns from | loss | uses | options | source |",
        "|---|---|---|---|---|---|",
    ]
    for name, method in RECOMMENDERS.items():
        uses = [f"**{one}**" for one in method.needs] + list(method.uses)
        options = [f"{option} {default:g}" for option, default in method.options.items()]
        cells = [
            name,
            method.learns,
            method.formula,
            ", ".join(uses),
            ", ".join(options),
            method.source,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
