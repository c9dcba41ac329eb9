"""The graph of a log: learnt in two stages with its stability, or taken from ``graph.toml``."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from causal_lib import paths
from causal_lib.discovery.bootstrap import edge_stability
from causal_lib.discovery.search import discover
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.inference.equivalence import identify_class
from causal_lib.inference.identification import NotIdentifiableError, identify
from causal_lib.knowledge import Knowledge
from causal_lib.reasons import Reason
from causal_lib.resampling import poisson_counts
from causal_lib.studies.audit import Prepared, coded_column, told
from causal_lib.studies.errors import LogError
from causal_lib.studies.roles import quoted
from causal_lib.studies.step import Step
from causal_lib.studies.templates import render

DRAWS = 30
_SHRUNK = 0.001
_FEWEST_UNITS = 50
_OFTEN = 0.5
_MARK = "# as written by a study: "
_DECIDES = 0.999  # share of the treatment told by one column: it is decided by it


@dataclass(frozen=True, eq=False)
class GivenGraph:
    """A graph that a person gave: ``graph`` and the variables of it that the log lacks; or one that
    is ``learnt``, as a study wrote it.
    """

    graph: CausalGraph
    hidden: tuple[str, ...] = ()
    learnt: bool = False


def knowledge_of(prepared: Prepared) -> Knowledge:
    """What the roles say before the data are seen: tiers, known and impossible edges.

    The edge from treatment to outcome is taken for granted: how strong it is, is the question, and
    a search would drop a weak one.
    """
    roles = prepared.roles
    return Knowledge(
        tiers=[*roles.before, [roles.treatment], [roles.outcome]],
        forbidden=roles.impossible,
        required={*roles.known, (roles.treatment, roles.outcome)},
    )


def find_graph(prepared: Prepared, *, draws: int = DRAWS, seed: int = 0) -> Step:
    """The graph of treatment, outcome and what was known before, learnt in two stages.

    First the columns that belong to a unit, and those of an item, each from one row per unit or
    item: a user's thousand rows are one observation of the user's age. Then all columns together,
    with these parts held fixed. Each edge comes with the share of ``draws`` in which it is found;
    a draw weights whole units.
    """
    roles = prepared.roles
    names = [*roles.columns_before, roles.treatment, roles.outcome]
    known = knowledge_of(prepared)
    stages = []
    for role in ("unit", "item"):
        columns = _constant_within(prepared, getattr(roles, role))
        if len(columns) < 2:
            continue
        rows = prepared.grouped.drop_duplicates(getattr(roles, role))[columns]
        if len(rows) < _FEWEST_UNITS:
            continue
        part = discover(_statistics(rows), knowledge=known.restrict(columns), seed=seed)
        known = known.fixing(part)
        stages.append({"of": getattr(roles, role), "rows": len(rows), "columns": columns})
    frame = prepared.grouped[names]
    codes = prepared.frame[roles.unit].to_numpy() if roles.unit else np.arange(len(frame))
    statistics = _statistics(frame, codes, draws, seed)
    graph = discover(statistics, knowledge=known, seed=seed)
    stability = edge_stability(statistics, knowledge=known, seed=seed, progress=False)
    return _step(graph, stability, stages, roles)


def take_graph(prepared: Prepared, given: GivenGraph) -> Step:
    """The graph that a person gave, checked against the columns of the log."""
    roles = prepared.roles
    graph = given.graph
    able = {*roles.columns_before, roles.treatment, roles.outcome, *given.hidden}
    if strange := [name for name in graph.names if name not in able]:
        raise LogError(
            f"graph: {strange[0]!r} is no column of before and is not named in hidden; columns: "
            f"{', '.join(map(repr, sorted(able)))}"
        )
    for role in ("treatment", "outcome"):
        if getattr(roles, role) not in graph.names:
            raise LogError(f"graph: the {role} {getattr(roles, role)!r} has no edge")
    late = Knowledge([*roles.before, [roles.treatment], [roles.outcome]])
    wrong = late.restrict(graph.names).violations(graph)
    if wrong:
        raise LogError(f"graph: edge {wrong[0]} runs against the tiers of the roles; change either")
    if given.learnt:  # its file does not name columns without an edge
        names = [*roles.columns_before, roles.treatment, roles.outcome]
        graph = CausalGraph.from_edges(names, graph.triples)
    facts = {"graph": graph.to_dict(), "hidden": list(given.hidden), "given": True}
    facts["learnt"] = given.learnt
    edges = [{"cause": a, "sign": sign, "effect": b} for a, sign, b in graph.triples]
    says = (("graph_given", {"edges": len(edges), "hidden": len(given.hidden)}),)
    return Step("graph", says=says, facts=facts, tables={"edges": edges})


def read_graph(path: str | Path) -> GivenGraph:
    """The graph of ``graph.toml``; LogError where it is absent or no graph."""
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LogError(f"graph: no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LogError(f"graph: {str(path)!r} cannot be read: {error}") from None
    if strange := sorted(found.keys() - {"edges", "hidden"}):
        raise LogError(f"graph: unknown name {strange[0]!r}; known: edges, hidden")
    edges = found.get("edges", [])
    hidden = found.get("hidden", [])
    if not isinstance(edges, list) or not all(_is_edge(edge) for edge in edges):
        raise LogError('graph: edges is a list of ["cause", "->", "effect"]')
    if not isinstance(hidden, list) or not all(isinstance(name, str) for name in hidden):
        raise LogError("graph: hidden is a list of names")
    names = dict.fromkeys(name for edge in edges for name in (edge[0], edge[2]))
    try:
        graph = CausalGraph.from_edges(names, map(tuple, edges))
        return GivenGraph(graph, tuple(hidden), not is_edited(path))
    except ValueError as error:
        raise LogError(f"graph: {error}") from None


def write_graph(step: Step, path: str | Path) -> Path:
    """Write the graph of a step as an editable file that `read_graph` takes back.

    Its last line tells `is_edited` what was written.
    """
    edges = [
        (row["cause"], row["sign"], row["effect"], row.get("found")) for row in step.tables["edges"]
    ]
    hidden = step.facts.get("hidden", [])
    text = render("graph.toml.j2", edges=edges, hidden=hidden, quoted=quoted)
    return paths.write_text(Path(path), f"{text}{_MARK}{_digest(text)}\n")


def is_edited(path: str | Path) -> bool:
    """Whether there is a file that is not as `write_graph` left it."""
    path = Path(path)
    if not path.exists():
        return False
    text, _, mark = path.read_text(encoding="utf-8-sig", errors="replace").rpartition(_MARK)
    return mark.strip() != _digest(text)


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify_effect(prepared: Prepared, graph: Step) -> Step:
    """Whether the effect is identified under the graph and its class, and by which columns.

    Under a learnt graph all columns of ``before`` are adjusted for: the tiers alone make that right
    if nothing is hidden, whatever edges the search missed. Under a graph that a person changed or
    wrote its own set is used.
    """
    roles = prepared.roles
    found = CausalGraph.from_dict(graph.facts["graph"])
    hidden = graph.facts.get("hidden", [])
    treatment = roles.treatment
    outcome = roles.outcome
    decides = []
    if column := _decided_by(prepared):
        return Step(
            "identify",
            "refused",
            (("identify_decided", {"column": column, "treatment": treatment}),),
            (Reason("decided", column=column, treatment=treatment),),
            {"strategy": "refused", "adjustment": []},
        )
    try:
        if found.kind == "DAG":
            estimand = identify(found, treatment, outcome, hidden=hidden)
        else:
            by_class = identify_class(found, treatment, outcome, hidden=hidden)
            decides = [
                {"edge": edge, "decides": share} for edge, share in list(by_class.deciding.items())
            ]
            estimand = by_class.estimand
    except NotIdentifiableError as error:
        return Step(
            "identify",
            "refused",
            (("identify_refused", {}),),
            (Reason("not_identified", text=str(error), treatment=treatment, outcome=outcome),),
            {"strategy": "refused", "adjustment": []},
            {"deciding": decides},
        )
    except ValueError as error:  # a class of too many members
        return _by_tiers(prepared, found, [Reason.of(error)])
    if not graph.facts["given"] or graph.facts.get("learnt"):
        return _by_tiers(prepared, found, [], estimand)
    in_words = {
        "back-door": Reason("back_door"),
        "front-door": Reason("front_door"),
        "no effect": Reason("no_path"),
    }
    if estimand.strategy not in in_words:
        return Step(
            "identify",
            "refused",
            (("identify_refused", {}),),
            (Reason("no_estimator", estimand=str(estimand)),),
            {"strategy": estimand.strategy, "adjustment": []},
        )
    adjustment = list(estimand.optimal or estimand.adjustment or ())
    facts = {"strategy": estimand.strategy, "adjustment": adjustment}
    says = (
        (
            "identified",
            {
                "strategy": in_words[estimand.strategy],
                "columns": ", ".join(adjustment) or Reason("no_column"),
            },
        ),
    )
    return Step("identify", says=says, facts=facts, tables={"deciding": decides})


def _decided_by(prepared):
    """The column of ``before`` that decides the treatment on its own; '' if none does."""
    t = prepared.frame[prepared.roles.treatment].to_numpy(dtype=float)
    for column in prepared.roles.columns_before:
        if told(coded_column(prepared.frame[column]), t) > _DECIDES:
            return column
    return ""


def _by_tiers(prepared, found, notes, estimand=None):
    """Adjustment for all that was known before, which the tiers justify."""
    roles = prepared.roles
    adjustment = list(roles.columns_before)
    smaller = [] if estimand is None else sorted(estimand.optimal or estimand.adjustment or ())
    random = roles.randomised or bool(roles.propensity)
    if not adjustment and not random:
        return Step(
            "identify",
            "refused",
            (("identify_nothing", {"treatment": roles.treatment}),),
            (Reason("nothing_known"),),
            {"strategy": "refused", "adjustment": []},
        )
    dag = found.extension() if found.kind == "CPDAG" else found
    if not is_adjustment_set(dag, roles.treatment, roles.outcome, adjustment):
        raise RuntimeError("the tiers do not justify the adjustment")  # by construction they do
    key = "identify_random" if random else "identify_tiers"
    told = {"columns": len(adjustment), "smaller": ", ".join(smaller) or Reason("no_column")}
    says = ((key, told),)
    facts = {
        "strategy": "back-door",
        "adjustment": adjustment,
        "smaller": smaller,
        "random": random,
    }
    return Step("identify", says=says, facts=facts, tables={"notes": [{"note": n} for n in notes]})


def _step(graph, stability, stages, roles):
    shares = {}
    table = stability.to_frame()
    for row in table.itertuples(index=False):
        cause, effect, there, back, either, _ = row
        shares[cause, "->", effect] = there
        shares[effect, "->", cause] = back
        shares[cause, "--", effect] = shares[effect, "--", cause] = there + back + either
    edges = [
        {"cause": a, "sign": sign, "effect": b, "found": float(shares.get((a, sign, b), 0.0))}
        for a, sign, b in graph.triples
    ]
    edges.sort(key=lambda row: -row["found"])
    question = (roles.treatment, roles.outcome)
    doubtful = [
        row for row in edges if row["found"] < _OFTEN and (row["cause"], row["effect"]) != question
    ]
    says = [
        (
            "graph",
            {"edges": len(edges), "doubtful": len(doubtful), "draws": stability.draws},
        )
    ]
    says += [
        (
            "graph_stage",
            {"of": stage["of"], "rows": stage["rows"], "columns": len(stage["columns"])},
        )
        for stage in stages
    ]
    facts = {"graph": graph.to_dict(), "hidden": [], "given": False, "stages": stages}
    facts |= {
        "draws": stability.draws,
        # of each edge, in the order of the table: how often each direction is found
        "directions": [
            [shares.get((a, "->", b), 0.0), shares.get((b, "->", a), 0.0)]
            for a, b in ((row["cause"], row["effect"]) for row in edges)
        ],
    }
    return Step("graph", says=tuple(says), facts=facts, tables={"edges": edges})


def _statistics(frame, codes=None, draws=0, seed=0):
    """Moments of ``frame``, and draws that weight whole units; relations are never exact."""
    frame = frame.reset_index(drop=True)
    made = Statistics.from_frame(frame)
    if draws:
        rng = np.random.default_rng(seed)
        drawn = []
        for _ in range(draws):
            counts = np.zeros(0)
            while not counts.any():  # of a few units, none may be drawn
                counts = poisson_counts(int(codes.max()) + 1, rng)
            one = Statistics.from_frame(frame, weights=counts[codes].astype(float))
            drawn.append(one.with_levels(made.levels))  # rare levels are lost in some draws
        made = replace(
            made,
            draws=(
                np.array([one.count for one in drawn]),
                np.array([one.mean for one in drawn]),
                np.array([one.cov for one in drawn]),
            ),
        )
    return made.shrunk(_SHRUNK)


def _constant_within(prepared, column) -> Sequence[str]:
    """Columns of ``before`` that have one value for each level of ``column``."""
    if not column:
        return []
    frame = prepared.frame
    groups = frame.groupby(column, sort=False)
    if groups.ngroups == len(frame):
        return []
    others = [name for name in prepared.roles.columns_before if name != column]
    return [name for name in others if bool((groups[name].nunique() == 1).all())]


def _is_edge(edge):
    return isinstance(edge, list) and len(edge) == 3 and all(isinstance(one, str) for one in edge)
