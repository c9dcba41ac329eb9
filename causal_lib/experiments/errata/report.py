"""The verdicts on the 21 lines, the page ``reports/errata.md`` and the benchmark that writes it.

A line is *right* if it holds as printed, *incomplete* if it holds once something that it leaves out
is added, *wrong* if a counterexample contradicts it. Whether a line holds is computed; which
addition still makes it the same formula is our judgement (``completed`` in formulas.toml).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.experiments.errata import densities, enumeration, gradients

FORMULAS = tomllib.loads((Path(__file__).parent / "formulas.toml").read_text(encoding="utf-8"))
"""Line -> what is printed, how to read it, what is wrong, `completed`, and the line it repeats."""
SIX = ("uzxmwy", ["u -> x", "u -> y", "z -> x", "x -> m", "m -> y", "z -> w", "w -> y"])
"""The graph of six variables in which the rules are enumerated; u is hidden for the formulas."""
SURPLUS = (
    "Taking out the surplus σ' alone, or putting in the weights alone, leaves the first layer's "
    "gradient wrong by more than 10%; both together make it right."
)
NEIGHBOURS = (
    "The gradient of 4.2.2, which forgets the neighbours, is wrong by more than 10% in the first "
    "layer even with the dense network's mistakes put right."
)
RULES = (
    "The three rules of do-calculus, in every query of a graph of six variables with at most one "
    "variable set beforehand: where the graph condition holds both sides agree to 1e-12, where it "
    "fails they differ by more than 1e-6 somewhere."
)


@dataclass(frozen=True)
class Evidence:
    """Everything that was computed, by the names of the functions that did."""

    checks: list[dict]
    symbolic: dict[str, list[bool]]
    brackets: dict
    lines: pd.Series
    slopes: pd.Series
    readings: pd.DataFrame
    has_shape: bool
    graph: dict
    derivative: dict
    models: pd.DataFrame
    refused: bool
    likelihood: dict
    formulas: pd.DataFrame
    front_door: list[bool]
    rules: pd.DataFrame

    @classmethod
    def gather(cls, seed: int = 0, graph: tuple[str, Sequence[str]] = SIX) -> "Evidence":
        """Run every check.

        ``seed`` is that of weights, samples and probability tables; ``graph``, its variables and
        edges, is where the rules are enumerated. It has a hidden variable u.
        """
        rng = np.random.default_rng(seed)
        networks, checks = gradients.dense(rng)
        lines, slopes = gradients.one_unit_per_layer(rng)
        graph_network = gradients.graph_network(rng)
        models, refused = enumeration.one_joint_three_models(rng)
        back_door = enumeration.draw(rng, "zxy", ["z -> x", "z -> y", "x -> y"])
        likelihood = densities.likelihood(rng, back_door[1])
        drawn = enumeration.draw(rng, *graph)
        front = ["u -> x", "u -> y", "x -> m", "m -> y"]
        napkin = ["w -> z", "z -> x", "x -> y", "u -> w", "u -> x", "v -> w", "v -> y"]
        cases = {
            "back-door": (*back_door, ""),
            "front-door": (*enumeration.draw(rng, "uxmy", front), "u"),
            "front-door given z": (
                *enumeration.draw(rng, "uzxmy", [*front, "z -> x", "z -> m"]),
                "u",
            ),
            "napkin": (*enumeration.draw(rng, "uvwzxy", napkin), "uv"),
            "drawn": (*drawn, "u"),
        }
        return cls(
            checks=checks + graph_network["checks"],
            symbolic=gradients.symbolic(),
            brackets=gradients.brackets(),
            lines=lines,
            slopes=slopes,
            readings=gradients.readings(networks["square"]),
            has_shape=gradients.has_shape(networks["widths"]),
            graph=graph_network,
            derivative=densities.derivative(),
            models=models,
            refused=refused,
            likelihood=likelihood,
            formulas=enumeration.formulas(cases),
            front_door=enumeration.front_door_symbols(),
            rules=enumeration.rules(*drawn),
        )

    @property
    def relative_errors(self) -> np.ndarray:
        """Of every gradient that was compared, one per array."""
        compared = [error for check in self.checks for error in check["errors"]]
        return np.array([*compared, *self.likelihood["checks"].values()])

    def facts(self) -> dict[str, bool]:
        """What holds by construction: sentence -> whether it is true."""
        twins = self.graph
        fit = self.likelihood
        done = self.models["p(y=1 | do(x=1))"]
        ruled = self.rules
        slope = densities.EFFECT + densities.CONFOUNDING / 2
        found = {
            "the restated gradients agree with finite differences, TensorFlow and PyTorch to "
            "1e-6": (self.relative_errors < 1e-6).all(),
            "as symbols they are the derivatives exactly": all(map(all, self.symbolic.values()))
            and all(self.brackets["output derivatives"]),
            "the printed lines all differ and none is a derivative of the loss": (
                gradients.smallest_gap(self.lines, self.slopes) > 1e-6
            ),
            "between layers of different widths the printed product has no shape": (
                not self.has_shape
            ),
            "a matrix for each pair tells twins apart, a shared one does not": (
                twins["twins, one per pair"] > 1e-6 and twins["twins, one matrix"] < 1e-12
            ),
            "the weighted sum over pairs is the shared gradient": twins["sum over pairs"] < 1e-12,
            "the printed derivative integrates to p'(x)/p(x), the true one to 0": (
                self.derivative["integral of the true one"] == 0
                and self.derivative["integral of the printed one is p'(x)/p(x)"]
                and self.derivative["restated for any p"]
                and self.derivative["error of finite differences"] < 1e-6
            ),
            "the mean of y has the slope effect + confounding / 2 with x seen, and effect with x "
            "set": (
                self.derivative["slope seen"] == slope
                and self.derivative["slope set"] == densities.EFFECT
                and self.derivative["error of sums over the grid"] < 1e-10
            ),
            "at the likelihood's minimum the printed derivative is not 0": (
                fit["largest gradient at the minimum"] < 1e-9
                and abs(fit["printed at the minimum"]) > 1e-6
            ),
            "three models have one p(x, y) but not one p(y | do(x)); the graph is refused": (
                self.models["same p(x, y)"].all() and np.ptp(done) > 1e-6 and self.refused
            ),
            "every formula of identify, and the network, give the truncated factorisation": (
                (self.formulas[["formula", "network"]] < 1e-12).all(axis=None)
                and all(self.front_door)
            ),
            "the weighted likelihood's minimum is p(y | do(x)), the plain one's is not": (
                np.abs(np.subtract(fit["weighted"], fit["set"])).max() < 1e-12
                and np.abs(np.subtract(fit["seen"], fit["set"])).max() > 1e-6
            ),
            "where a rule of do-calculus applies, both sides agree to 1e-12": (
                ruled.loc[ruled["condition"], "agrees"].all()
            ),
        }
        return {sentence: bool(true) for sentence, true in found.items()}

    def claims(self) -> list[Claim]:
        """The predictions as they were first written, each with the number that decides it."""
        alone = self.readings.loc["layer 1", ["weights put in", "surplus σ' taken out"]]
        both = self.readings["both (restated)"].max()
        forgotten = self.graph["forgotten neighbours"][0]
        agreed = self.rules["agrees"].mean()
        return [
            Claim.of(f"{SURPLUS} The smaller error of the two alone", [alone.min()], "above 0.1"),
            Claim.of(f"{SURPLUS} The error of both together", [both], "below 1e-6"),
            Claim.of(f"{NEIGHBOURS} The error", [forgotten], "above 0.1"),
            Claim.of(f"{RULES} The share of queries that agree", [agreed], "at least 1"),
        ]

    def shown(self) -> dict[str, tuple[bool, bool, str]]:
        """Line -> whether it holds as printed, whether its completion holds, and the sentence that
        shows it.

        A line that repeats another has the other's entry; those of 4.2.2 are tried on a graph, with
        the mistakes of the dense network corrected.
        """
        apart = self.brackets
        without = "has a minimum too" if apart["least without"] else "falls without end"
        bracketed = (
            "For labels with mean 0.3 the loss with brackets is least at a prediction of "
            f"{apart['least with brackets']:g}; without brackets it {without} as the prediction "
            "nears 1."
        )
        with_brackets = abs(apart["least with brackets"] - 0.3) < 1e-12
        found = dict.fromkeys(_LOSSES, (apart["least without"], with_brackets, bracketed))
        for name, number in self.lines.items():
            equal = bool((abs(self.slopes - number) <= 1e-6 * abs(self.slopes)).any())
            sentence = (
                f"With one unit in each of three layers the line gives {number:.6g}; "
                f"{'one' if equal else 'none'} of the six derivatives of the loss (below) is that."
            )
            found[name] = (equal, False, sentence)
        products = self.readings.loc["layer 1", "as printed"]
        *start, sentence = found["4.1.1 (6)"]
        found["4.1.1 (6)"] = (
            *start,
            f"{sentence} With three units per layer it is off by {products:.3g} of the largest "
            "entry.",
        )
        ratio = self.lines["4.2.1 (4)"] / self.slopes["z2"]
        *start, sentence = found["4.2.1 (4)"]
        found["4.2.1 (4)"] = (
            *start,
            f"{sentence} It is the derivative by $z^{{(2)}}$ times {ratio:.6g}, which is "
            r"$\sigma'$ of the output: with one unit per layer it would be right for the squared "
            "error.",
        )
        off = self.graph["forgotten neighbours"]
        on_a_graph = (
            "On six nodes, with the mistakes of the dense network corrected, the weights of layers "
            f"1 and 2 are off by {off[0]:.4g} and {off[1]:.4g} of the largest entry."
        )
        for name in ("4.2.2 (2)", "4.2.2 (3)", "4.2.2 (4)"):
            found[name] = (max(off) < 1e-6, False, on_a_graph)
        one_per_pair = self.graph["twins, one per pair"]
        deaf = self.graph["own features change"]
        layer = max(max(check["errors"]) for check in self.checks if check["network"] == "graph")
        found["4.1.2 (1)"] = (
            one_per_pair < 1e-6 and deaf > 1e-6,
            layer < 1e-6,
            "Two nodes with the same features and the same neighbour differ by "
            f"{one_per_pair:.6g}; a node whose own features change keeps its output (change "
            f"{deaf:.6g}). Completed, the layer and its gradient are those of PyTorch Geometric's "
            "`GCNConv`.",
        )
        found["4.1.2 (2)"] = (
            False,
            layer < 1e-6,
            "Completed, the layer and its gradient are those of PyTorch Geometric's `GCNConv`.",
        )
        done = self.models["p(y=1 | do(x=1))"]
        found["4.1.3 (1)"] = (
            bool(self.models["same p(x, y)"].all()),
            False,
            "Three models have the same joint distribution; $p(y = 1)$ with $x$ set to 1 is "
            f"{', '.join(f'{number:.6g}' for number in done)} in them.",
        )
        slope = self.derivative
        found["4.1.3 (2)"] = (
            abs(slope["printed"] - slope["true"]) < 1e-6,
            False,
            f"In a linear Gaussian model, at $x = y = 1$, the line gives {slope['printed']:.6g}; "
            f"the derivative is {slope['true']:.6g}, and with $x$ set {slope['set']:.6g}.",
        )
        fit = self.likelihood
        seen = fit["seen"][1] - fit["seen"][0]
        done = fit["set"][1] - fit["set"][0]
        found["4.2.3 (1)"] = (
            False,
            max(fit["checks"].values()) < 1e-6,
            f"In an enumerated population $p(y = 1)$ at $x = 1$ less that at $x = 0$ is {seen:.6g} "
            f"at the minimum and {done:.6g} with $x$ set.",
        )
        found["4.2.3 (2)"] = (
            abs(fit["printed at the minimum"]) < 1e-9,
            False,
            f"At the minimum, where the gradient is 0, the line gives "
            f"{fit['printed at the minimum']:.6g}.",
        )
        for name, line in FORMULAS.items():
            found.setdefault(name, found.get(line.get("repeats")))
        return found

    def verdicts(self) -> dict[str, str]:
        """Line -> 'right', 'incomplete' or 'wrong'."""
        found = {}
        for name, (holds, completed, _) in sorted(self.shown().items()):
            can = completed and FORMULAS[name].get("completed", False)
            found[name] = "right" if holds else "incomplete" if can else "wrong"
        return found


_LOSSES = ("4.1.1 (1)", "4.2.1 (1)", "4.2.2 (1)")


def counts(verdicts: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Number of lines per verdict, and of distinct lines: one that repeats another's right-hand
    side is not counted again.
    """
    distinct = [verdict for name, verdict in verdicts.items() if "repeats" not in FORMULAS[name]]
    kinds = ("right", "incomplete", "wrong")
    return {
        "lines": {kind: list(verdicts.values()).count(kind) for kind in kinds},
        "distinct": {kind: distinct.count(kind) for kind in kinds},
    }


def page(evidence: Evidence) -> str:
    """The Markdown of ``reports/errata.md``."""
    verdicts = evidence.verdicts()
    number = counts(verdicts)
    lines = number["lines"]
    distinct = number["distinct"]
    shown = evidence.shown()
    table = ["| formula | verdict | repeats |", "|---|---|---|"]
    table += [
        f"| {name} | {verdict} | {FORMULAS[name].get('repeats', '')} |"
        for name, verdict in verdicts.items()
    ]
    slopes = ["| derivative of the loss by | value |", "|---|---|"]
    slopes += [
        f"| ${name[0]}^{{({name[1]})}}$ | {slope:.6g} |" for name, slope in evidence.slopes.items()
    ]
    parts = [
        "# Errata of the article, sections 4.1 and 4.2",
        "Written by `causal-lib bench errata`, which computes every number below; do not edit. "
        "[Notebook 07](../notebooks/07_mathematics.ipynb) teaches what the formulas should say.",
        f"Of {len(verdicts)} lines of formulas {lines['right']} holds as printed, "
        f"{lines['incomplete']} are incomplete and {lines['wrong']} are wrong. Lines that repeat "
        f"others counted once, {distinct['incomplete']} are incomplete and {distinct['wrong']} are "
        "wrong.",
        '"4.1.1 (2)" is the second line of the display in section 4.1.1. A line is *incomplete* if '
        "it holds once something that it leaves out is added, *wrong* if a counterexample "
        "contradicts it. Whether it holds is computed; which addition leaves it the same formula "
        "is our judgement. Two incomplete lines, 4.1.2 (2) and 4.2.3 (1), lack an index without "
        "which they cannot be evaluated. Where a line can be read in several ways the most "
        "favourable reading is taken.",
        "## The three errors that matter",
        "1. **Backpropagation (4.1.1, 4.2.1).** A gradient is passed down through the transposed "
        "weights of the layer above, and added up over its units. The printed product has neither, "
        r"and multiplies by $\sigma'$ of the output, which cancels for the cross-entropy.",
        "2. **The graph network (4.2.2).** Its gradient repeats that of the dense network. No "
        "neighbour occurs in it.",
        '3. **The "causal" derivative (4.1.3, 4.2.3).** The quotient rule gives two terms; the '
        "printed line is one of them with the wrong sign. The right derivative describes what is "
        "seen, not what happens when $x$ is set.",
        "## Verdicts",
        "\n".join(table),
        "## Line by line",
        r"The article never says which parameter $\theta$ is, so a line in the middle of its chain "
        "has no single correct version. Under *Read* stands the step of backpropagation for the "
        "layer that the last factor of the printed line has reached.",
    ]
    for name, verdict in verdicts.items():
        line = FORMULAS[name]
        parts += [
            f"**{name}**, {verdict}. {line['wrong']} {shown[name][2]}",
            f"Printed:\n\n$${line['printed']}$$",
            f"Read:\n\n$${line['read']}$$",
        ]
    parts += [
        "## The derivatives of the network with one unit per layer",
        "Three layers, one sample with label 1.",
        "\n".join(slopes),
    ]
    return "\n\n".join(parts) + "\n"


@benchmark("errata", peer="finite differences, TensorFlow, PyTorch, PyTorch Geometric and sympy")
def errata(*, seed: int = 0, graph: tuple[str, Sequence[str]] = SIX) -> dict:
    """The 21 lines of formulas in the article's sections 4.1 and 4.2: which hold, and what they
    should say.

    Writes ``errata.md`` beside the folder of the report. ``rules`` counts the queries of
    do-calculus by rule and by whether the condition of the rule holds; ``formulas`` are those of
    `identify`.
    """
    evidence = Evidence.gather(seed, graph)
    verdicts = evidence.verdicts()
    paths.write_text(paths.reports() / "errata.md", page(evidence))
    ruled = evidence.rules.groupby(["rule", "condition"])
    rules = ruled["agrees"].agg(queries="size", agree="sum").reset_index()
    gaps = ruled["gap"].agg(smallest="min", largest="max").reset_index(drop=True)
    found = evidence.formulas.groupby(["graph", "by"], sort=False)
    formulas = found.agg(
        effects=("effect", "size"),
        largest_error=("formula", "max"),
        largest_error_of_conditioning=("conditioning", "max"),
    ).reset_index()
    return report(
        evidence.claims(),
        counts=counts(verdicts),
        verdicts=verdicts,
        facts=evidence.facts(),
        gradients={
            "compared": len(evidence.relative_errors),
            "largest_error": float(evidence.relative_errors.max()),
            "as_symbols": {how: len(equal) for how, equal in evidence.symbolic.items()},
        },
        readings=evidence.readings.reset_index(names="layer").to_dict("records"),
        derivative={key: evidence.derivative[key] for key in ("printed", "true", "set")},
        rules=pd.concat([rules, gaps], axis=1).to_dict("records"),
        formulas=formulas.to_dict("records"),
    )
