"""The pictures of a report, as SVG: their words are in its language, their fonts the browser's."""

import math
from collections.abc import Iterable

from causal_lib.drawing import SIGNS, Interval, graph_svg, intervals_svg, legend
from causal_lib.graph import CausalGraph
from causal_lib.studies.rules import rows_of
from causal_lib.studies.templates import say, texts_of, word


def pictures(study, language: str = "en") -> dict[str, str]:
    """SVG of the graph, the effect, who gains, and the policies, by the name of the step.

    A step without numbers to draw, as where it is refused, has no picture.
    """
    steps = study.steps
    effect = steps["effect"].facts
    drawn = {"graph": _graph(study, language)}
    if rows := steps["effect"].tables.get("effects"):
        drawn["effect"] = _effect(rows, effect, language)
    if rows := steps["gains"].tables.get("fifths"):
        drawn["gains"] = _gains(rows, effect, language)
    if rows := steps["rule"].tables.get("policies"):
        drawn["rule"] = _rule(rows, 1.0 if study.roles.price else effect["scale"], language)
    return drawn


def _tell_edge(triple, language):
    """What an edge (variable, sign, variable) means, as one phrase."""
    meaning = tell_signs([triple], language).get(triple[1])
    return " ".join(triple) if meaning is None else f"{' '.join(triple)} ({meaning})"


def tell_signs(triples: Iterable[tuple[str, str, str]], language: str) -> dict[str, str]:
    """What the signs among ``triples`` mean, for the legend."""
    texts = texts_of("explorer.toml")
    signs = {sign for _, sign, _ in triples}
    return {sign: texts[f"sign {sign}"][language] for sign in SIGNS if sign in signs}


def _graph(study, language):
    graph = CausalGraph.from_dict(study.steps["graph"].facts["graph"])
    roles = study.roles
    drawn = graph_svg(
        graph.names,
        graph.triples,
        tiers=[*roles.before, [roles.treatment], [roles.outcome]],
        told=None if language == "en" else lambda triple: _tell_edge(triple, language),
    )
    return drawn + legend(tell_signs(graph.triples, language))


def _effect(rows, facts, language):
    from causal_lib import plots

    scale = facts["scale"]
    found = [
        Interval(
            f"{row['estimator']}, {word(row['for'], language)}", *_ends(row, scale), plots.ESTIMATE
        )
        for row in rows
    ]
    naive = {end: facts[f"naive{place}"] for end, place in _NAIVE.items()}
    found.append(Interval(word("naive difference", language), *_ends(naive, scale), plots.NAIVE))
    return intervals_svg(found, label=_axis("effect", facts, language))


_NAIVE = {"value": "", "low": "_low", "high": "_high"}


def _gains(rows, facts, language):
    from causal_lib import plots

    scale = facts["scale"]
    found = [
        Interval(
            say("axis_fifth", language, fifth=row["fifth"]),
            *_ends(row, scale),
            plots.ESTIMATE,
            scale * row["predicted"],
        )
        for row in rows
    ]
    return intervals_svg(found, label=_axis("effect", facts, language))


def _rule(rows, scale, language):
    from causal_lib import plots

    found = [
        Interval(word(row["policy"], language), *_ends(row, scale), plots.ESTIMATE) for row in rows
    ]
    return intervals_svg(found, label=say("axis_gain", language, per=rows_of(scale)))


def _axis(what, facts, language):
    return say(f"axis_{what}{'_events' if facts['events'] else ''}", language)


def _ends(row, scale):
    """Value, low and high in the units of the picture; an end that is not finite is None."""
    found = [row[end] for end in ("value", "low", "high")]
    return [None if one is None or not math.isfinite(one) else scale * one for one in found]
