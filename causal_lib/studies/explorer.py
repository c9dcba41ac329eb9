"""`explore`: one page on this machine to turn the answers of a finished study over.

The page shows numbers that the study computed and kept in ``results.json``; it computes none. It
is served by the standard library: a kernel for each reader, as Voilà or Panel need, would bring no
number that is not there.
"""

import errno
import hmac
import json
import secrets
import socketserver
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from causal_lib.drawing import graph_svg, legend
from causal_lib.graph import CausalGraph
from causal_lib.inference.adjustment import is_adjustment_set
from causal_lib.reasons import in_language
from causal_lib.studies.errors import LogError
from causal_lib.studies.pictures import tell_signs
from causal_lib.studies.rules import Condition, Rule
from causal_lib.studies.templates import LANGUAGES, render, texts_of

RESULTS = "results.json"
_TARGETS = ("all", "treated", "overlap")
_DOUBTFUL = 0.5


def read_study(folder: str | Path) -> dict:
    """What ``folder`` (or the one folder below it that holds a study) kept in its results.json.

    Raises LogError where there is none, several, or one that is cut short or no study's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LogError(f"{str(folder)!r} is no folder; give the one that `study` wrote")
    path = folder / RESULTS
    if not path.exists():
        below = sorted(folder.rglob(RESULTS))
        if len(below) > 1:
            names = ", ".join(str(one.parent) for one in below[:5])
            raise LogError(f"{str(folder)!r} holds {len(below)} studies; choose one: {names}")
        if not below:
            raise LogError(
                f"{str(folder)!r} holds no {RESULTS}, so it is no finished study; make one by "
                f"`causal-lib study LOG --out {folder.name}`"
            )
        path = below[0]
    again = "run the study again; it goes on after its last step"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LogError(f"{str(path)!r} is cut short or no JSON ({error}); {again}") from None
    try:
        steps = found["steps"]
        kept = [steps[name]["facts"] for name in ("graph", "identify", "effect", "rule")]
        # an earlier version kept rules as text
        kept += (kept[-1].get("grid") or {}).get("rules", [])
        whole = all(isinstance(one, dict) for one in kept) and found["roles"]["treatment"]
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise LogError(f"{str(path)!r} is not that of a study by this version; {again}")
    return found


def page_data(study: Mapping) -> dict:
    """All numbers and texts that the page can show, from what `read_study` gives."""
    steps = study["steps"]
    effect = steps["effect"]["facts"]
    scale = effect.get("scale", 1.0)
    money = bool(study["roles"].get("price"))
    grid = steps["rule"]["facts"].get("grid")
    return {
        "words": texts_of("explorer.toml"),
        "populations": [*_groups(steps), *_parts(grid, scale)],
        "policy": None if grid is None else _policy(grid, steps["rule"]["facts"], scale, money),
        "hidden": _hidden(steps["sensitivity"]["facts"], scale),
        "edges": _edges(study),
        "scale": scale,
    }


def explorer_page(study: Mapping, *, language: str = "en", nonce: str = "") -> str:
    """The page as HTML, in both languages, which its reader can change; one file, no network.

    ``nonce`` : of the one script, for a policy that allows no other.
    """
    graph = CausalGraph.from_dict(study["steps"]["graph"]["facts"]["graph"])
    rows = study["steps"]["graph"]["tables"].get("edges", [])
    doubtful = {(r["cause"], r["effect"]) for r in rows if r.get("found", 1.0) < _DOUBTFUL}
    roles = study["roles"]
    drawn = graph_svg(
        graph.names,
        graph.triples,
        tiers=[*roles.get("before", []), [roles["treatment"]], [roles["outcome"]]],
        doubtful=doubtful,
        choosable=True,
    )
    texts = texts_of("explorer.toml")
    data = json.dumps(page_data(study), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":  # no text of the data can end the element that holds it
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return render(
        "explorer.html.j2",
        study=study,
        roles=roles,
        language=language,
        languages=LANGUAGES,
        words=texts,
        graph=drawn,
        legends={one: legend(tell_signs(graph.triples, one)) for one in LANGUAGES},
        data=data,
        nonce=nonce,
    )


def make_server(page: str, *, port: int = 0, nonce: str = "") -> tuple[ThreadingHTTPServer, str]:
    """A server of ``page`` at 127.0.0.1, and the address, whose token every request must name.

    Raises LogError for a port that is in use, not allowed, or none.
    """
    if not 0 <= port <= 65535:
        raise LogError(f"port: {port} is no port; give 1 to 65535, or 0 for a free one")
    token = secrets.token_urlsafe(24)
    body = page.encode("utf-8")
    handler = type("Handler", (_Handler,), {"token": token, "body": body, "nonce": nonce})
    try:
        server = _Server(("127.0.0.1", port), handler)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        why = "is in use" if in_use else f"cannot be taken ({error.strerror})"
        raise LogError(f"port {port} {why}; give another by --port, or leave it out") from None
    return server, f"http://127.0.0.1:{server.server_port}/{token}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # HTTPServer's own asks the network for the name of this machine
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


class _Handler(BaseHTTPRequestHandler):
    token = ""
    body = b""
    nonce = ""
    timeout = 20
    server_version = "causal-lib"
    sys_version = ""

    def do_GET(self):
        hosts = self.headers.get_all("Host", [])
        own = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        if len(hosts) != 1 or hosts[0].lower() not in own:
            return self._send(403, b"another host was asked for\n")
        if not hmac.compare_digest(self.path.encode(), f"/{self.token}/".encode()):
            return self._send(404, b"nothing here: use the whole address that was printed\n")
        return self._send(200, self.body, "text/html")

    def _send(self, status, body, kind="text/plain"):
        policy = (
            f"default-src 'none'; script-src 'nonce-{self.nonce}'; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Nothing: a log would hold the token."""


# ---- what the page shows -------------------------------------------------------------------------


def _groups(steps):
    """The effect among all rows, the treated and the overlap, by each estimator."""
    facts = steps["effect"]["facts"]
    scale = facts.get("scale", 1.0)
    found = []
    for target in _TARGETS:
        rows = [
            {"by": row["estimator"], "verdict": row["verdict"], "interval": _scaled(row, scale)}
            for row in steps["effect"]["tables"].get("effects", [])
            if row["for"] == target
        ]
        if not rows:
            continue
        if target == "all":
            naive = _times(scale, [facts[f"naive{end}"] for end in ("", "_low", "_high")])
            rows.append({"by": "naive", "verdict": "", "interval": naive})
        found.append({"key": target, "name": "", "rows": None, "effects": rows, "policy": 0})
    return found


def _parts(grid, scale):
    """The effect in the parts of the log by which policies are compared."""
    parts = [] if grid is None else list(enumerate(grid["parts"]))[1:]
    return [
        {
            "key": "part",
            "name": _told(Condition(**part["part"])),
            "rows": part["rows"],
            "effects": [
                {"by": "scores", "verdict": "", "interval": _scaled(part["effect"], scale)}
            ],
            "policy": number,
        }
        for number, part in parts
    ]


def _told(rule):
    """A rule or a condition in words, by language."""
    return {language: in_language(rule.told(), language) for language in LANGUAGES}


def _policy(grid, facts, scale, money):
    """The grid of budgets and costs in the units of the page, and where the study stands in it."""
    by = 1.0 if money else scale

    def scaled(rows):
        return [_times(by, row) for row in rows]

    parts = [
        {
            "held_out": part["held_out"],
            "shares": part["shares"],
            "today": scaled(part["today"]),
            "everything": scaled(part["everything"]),
            "worth": [scaled(rows) for rows in part["worth"]],
            "more": [scaled(rows) for rows in part["more"]],
        }
        for part in grid["parts"]
    ]
    return {
        "budgets": grid["budgets"],
        "costs": grid["costs"],
        "rules": [_told(Rule.from_dict(one)) for one in grid["rules"]],
        "which": grid["which"],
        "parts": parts,
        "start": [
            grid["budgets"].index(facts["budget"]),
            grid["costs"].index(facts["cost"]),
        ],
        "per": 1 if by == 1 else round(by),
    }


def _hidden(facts, scale):
    """The effect by strengths of a hidden cause; where among them the strongest column stands."""
    if "under" not in facts:
        return None
    strengths = facts["strengths"]
    column = [facts["with_treatment"], facts["with_outcome"]]
    inside = column[0] in strengths[0]
    return {
        "strengths": strengths,
        "under": [[_times(scale, cell) for cell in row] for row in facts["under"]],
        "column_at": [strengths[axis].index(column[axis]) for axis in (0, 1)] if inside else None,
    }


def _edges(study):
    """Of each edge of the graph its name and what speaks for it, as sentences in each language."""
    facts = study["steps"]["graph"]["facts"]
    graph = CausalGraph.from_dict(facts["graph"])
    rows = study["steps"]["graph"]["tables"].get("edges", [])
    of_row = {(row["cause"], row["effect"]): number for number, row in enumerate(rows)}
    deciding = {
        row["edge"]: row["decides"]
        for row in study["steps"]["identify"]["tables"].get("deciding", [])
    }
    found = []
    for one, sign, other in graph.triples:
        said = []
        number = of_row.get((one, other))
        row = {} if number is None else rows[number]
        if facts.get("given"):
            said.append(("edge_given", {}))
        elif number is not None and "directions" in facts:
            said.append(("edge_found", {"share": row["found"], "draws": facts["draws"]}))
            there, back = facts["directions"][number]
            ends = {"one": one, "other": other}
            said.append(("edge_directions", ends | {"there": there, "back": back}))
        said.append(_role_of_edge(study, graph, one, sign, other))
        if share := deciding.get(f"{one} {sign} {other}"):
            said.append(("edge_deciding", {"share": share}))
        texts = texts_of("explorer.toml")
        found.append(
            {
                "name": f"{one} {sign} {other}",
                "found": row.get("found"),
                "decides": said[-1][0] in ("edge_decides", "edge_deciding"),
                "says": {
                    language: [texts[key][language].format(**values) for key, values in said]
                    for language in LANGUAGES
                },
            }
        )
    return found


def _role_of_edge(study, graph, one, sign, other):
    """What the effect would be if the edge ran the other way: key of a sentence and its values."""
    roles = study["roles"]
    identified = study["steps"]["identify"]["facts"]
    ends = {"one": one, "other": other}
    if (one, other) == (roles["treatment"], roles["outcome"]):
        return "edge_question", ends
    if sign != "->":
        return "edge_open", ends
    tiers = [*roles.get("before", []), [roles["treatment"]], [roles["outcome"]]]
    tier = {name: number for number, names in enumerate(tiers) for name in names}
    dag = graph.extension() if graph.kind == "CPDAG" else graph
    if identified.get("strategy") != "back-door" or dag.kind != "DAG":
        return "edge_unjudged", ends
    if tier.get(one, 0) < tier.get(other, 0):
        return "edge_tiers", ends
    turned = CausalGraph.from_edges(
        dag.names,
        [(b, a) if (a, b) == (one, other) else (a, b) for a, _, b in dag.triples],
    )
    if turned.kind != "DAG":
        return "edge_cycle", ends
    right = is_adjustment_set(
        turned, roles["treatment"], roles["outcome"], identified["adjustment"]
    )
    return ("edge_free" if right else "edge_decides"), ends


def _scaled(row, scale):
    return _times(scale, [row[name] for name in ("value", "low", "high")])


def _times(scale, values):
    """``values`` in the units of the page; an end that is not finite stays None."""
    return [None if value is None else scale * value for value in values]
