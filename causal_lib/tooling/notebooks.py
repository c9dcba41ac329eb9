"""Notebook files: what a run of them asks for, outputs that are fit to commit, and a page that
reads offline.
"""

import ast
import base64
import contextlib
import hashlib
import html
import io
import json
import math
import operator
import os
import re
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import yaml

from causal_lib import paths

PNG_BYTES = 100_000
"""Largest picture a committed notebook may hold."""

_LOCAL = [
    f"{p}/"
    for p in (
        paths.ROOT,
        paths.ROOT.parent,
        os.path.expanduser("~"),
        tempfile.gettempdir(),
        sys.prefix,
    )
]


class UsageError(ValueError):
    """A request that cannot be run (unknown notebook or parameter, wrong type, a limit broken);
    raised before anything runs.
    """


def find(notebooks: Path = paths.NOTEBOOKS) -> dict[str, Path]:
    """The notebooks ``NN_name.ipynb`` in a folder, by number; UsageError if there are none."""
    found = {path.name[:2]: path for path in sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise UsageError(f"no notebook NN_name.ipynb in {notebooks}")
    return found


def defaults(path: Path) -> dict[str, object]:
    """Names and default values of the cell tagged ``parameters``; UsageError if it is not one cell
    of literals.
    """
    return {name: value for name, value, _ in _parameters(path)}


def _parameters(path):
    """Name, default value and comment of each parameter."""
    cells = [
        c
        for c in nbformat.read(path, as_version=4).cells
        if "parameters" in c.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise UsageError(
            f"{Path(path).name}: {len(cells)} cells are tagged `parameters`; exactly one is needed"
        )
    tokens = tokenize.generate_tokens(io.StringIO(cells[0].source).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    for node in ast.parse(cells[0].source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        try:
            name = target.id
            value = ast.literal_eval(node.value)
            json.dumps(value)  # a run writes its parameters down
        except (AttributeError, TypeError, ValueError):
            where = f"{Path(path).name}: line {node.lineno} of the parameters cell"
            raise UsageError(f"{where} is not `name = literal` (JSON types)") from None
        yield (
            name,
            value,
            " ".join(comments.get(line, "") for line in range(node.lineno, node.end_lineno + 1)),
        )


_COMPARED = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
    "exactly": operator.eq,
    "other than": operator.ne,
}
_LIMIT = re.compile(rf"\b({'|'.join(_COMPARED)}) (-?\d+(?:\.\d+)?(?:e-?\d+)?)\b( values?\b)?")
_CHOICES = re.compile(r"\bone of ([\w-]+(?:, [\w-]+)*)")


@dataclass(frozen=True)
class Limit:
    """A limit on a parameter's value, or on each value of a list, or on how ``many`` values it has.

    ``words`` is the limit as the notebook's reader sees it, ``test`` takes one value (or their
    number).
    """

    words: str
    test: Callable[[object], bool]
    many: bool = False

    def broken(self, value: object) -> str:
        """What is wrong with ``value``, in words; empty if nothing is."""
        if self.many:
            return (
                ""
                if self.test(len(value))
                else (f"has {len(value)} values; it must have {self.words}")
            )
        if all(map(self.test, value if isinstance(value, list) else [value])):
            return ""
        return (
            f"is {value!r}; {'each value' if isinstance(value, list) else 'it'} must be "
            f"{self.words}"
        )


def limits(path: Path) -> dict[str, list[Limit]]:
    """The limits that the comments of the parameters cell state, by parameter.

    The comment of a parameter's own line may say ``at least 2``, ``at most 6``, ``above 0``,
    ``below 1``, ``exactly 3``, ``other than 0``, or ``one of coat, yahoo-r3`` (the default is
    allowed without being named). For a list, ``exactly 3 values`` and the like limit how many
    values it has, the others each value. So the rule that `plan` checks before anything runs is the
    one that the notebook's reader sees. A seed must be at least 0 without saying so.
    """
    return {name: _limits(name, value, comment) for name, value, comment in _parameters(path)}


def _limits(name, default, comment):
    found = [
        Limit(
            f"{word} {bound}{values}",
            partial(_compares, _COMPARED[word], float(bound)),
            bool(values),
        )
        for word, bound, values in _LIMIT.findall(comment)
    ]
    for listed in _CHOICES.findall(comment):
        choices = list(dict.fromkeys([default, *listed.split(", ")]))
        found.append(Limit(f"one of {', '.join(choices)}", partial(operator.contains, choices)))
    if name == "seed":
        found.append(Limit("at least 0", partial(_compares, operator.ge, 0)))
    return found


def _compares(compare, bound, value):
    return compare(value, bound)


@dataclass(frozen=True)
class Job:
    """One notebook of a plan: its effective ``parameters``, those ``changed`` from the defaults,
    what it ``needs``.

    ``clean``: neither it nor a selected notebook that it needs has a changed parameter. ``source``:
    a digest of its cells and of the library, by which a resumed run sees an edit.
    """

    number: str
    path: Path
    parameters: dict
    changed: dict
    needs: tuple[str, ...]
    clean: bool
    source: str


def plan(
    numbers: Iterable[str] = (),
    given: Mapping[str, object] | None = None,
    *,
    profile: str = "quick",
    notebooks: Path = paths.NOTEBOOKS,
    results: Path | None = None,
) -> list[Job]:
    """The jobs of a run, each after those it needs, long ones first; UsageError where the request
    cannot be run.

    Parameters
    ----------
    numbers : two-digit numbers; none means every notebook.
    given : parameter -> value, or its text as typed; goes to every selected notebook that declares
        it.
    profile : "quick" (defaults) or "full" (overrides of ``full.yaml`` beside the notebooks;
        ``given`` wins over it).
    results : folder with the results of notebooks that are needed but not selected.
    """
    found = find(notebooks)
    selected = sorted({str(n).zfill(2) for n in numbers} or found)
    _known("notebook", selected, found, [path.stem for path in found.values()])
    _known("profile", [profile], ("quick", "full"))
    declared = {number: defaults(path) for number, path in found.items()}
    limited = {number: limits(found[number]) for number in selected}
    full = Path(notebooks) / "full.yaml"
    overrides = _overrides(full, declared) if profile == "full" and full.exists() else {}
    given = given or {}
    where = {
        name: [k for k in selected if name in declared[k]] for k in selected for name in declared[k]
    }
    _known(
        "parameter", given, where, [f"{name} ({' '.join(where[name])})" for name in sorted(where)]
    )
    needs = {number: _needs(found[number]) for number in selected}
    for number in selected:
        for k in needs[number]:
            if k not in selected and not (results and (results / f"{k}.json").exists()):
                raise UsageError(
                    f"{found[number].name} needs the results of notebook {k}: run {k} too"
                )
    jobs = {}
    for number in _in_order({n: [k for k in needs[n] if k in needs] for n in needs}, found):
        asked = overrides.get(number, {}) | {
            name: value for name, value in given.items() if number in where[name]
        }
        values = {
            name: _typed(name, value, declared[number][name], found[number])
            for name, value in asked.items()
        }
        for name, value in values.items():
            for limit in limited[number][name]:
                if wrong := limit.broken(value):
                    raise UsageError(f"parameter {name!r} of {found[number].name} {wrong}")
        changed = {name: value for name, value in values.items() if value != declared[number][name]}
        cells = [(c.cell_type, c.source) for c in nbformat.read(found[number], as_version=4).cells]
        jobs[number] = Job(
            number=number,
            path=found[number],
            parameters=declared[number] | values,
            changed=changed,
            needs=needs[number],
            clean=not changed and all(jobs[k].clean for k in needs[number] if k in jobs),
            source=hashlib.sha256(json.dumps([cells, paths.code_digest()]).encode()).hexdigest(),
        )
    return list(jobs.values())


def with_dependents(numbers: Iterable[str], notebooks: Path = paths.NOTEBOOKS) -> set[str]:
    """These notebooks and all that read their results, directly or through others; no number stands
    for all of them.
    """
    wanted = {str(n).zfill(2) for n in numbers}
    needs = {number: set(_needs(path)) for number, path in find(notebooks).items()}
    while more := {number for number in needs if needs[number] & wanted} - wanted:
        wanted |= more
    return wanted


def _known(kind, names, known, shown=None):
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"unknown {kind} {unknown[0]!r}; known: {', '.join(shown or known) or 'none'}"
        )


def _overrides(path, declared):
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    overrides = {str(number).zfill(2): values or {} for number, values in content.items()}
    _known(f"notebook in {path.name}", overrides, declared)
    for number, values in overrides.items():
        _known(f"parameter of notebook {number} in {path.name}", values, declared[number])
    return overrides


def _needs(path):
    return tuple(nbformat.read(path, as_version=4).metadata.get("causal_lib", {}).get("needs", ()))


def _in_order(needs, found):
    """Each number after those it needs and, among those that could be next, the longest first: it
    should not run alone last.
    """
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda number: (-_seconds(found[number]), number))
        yield from ready
        sorter.done(*ready)


def _seconds(path):
    """The quick runtime that the first cell announces; 0 where it says none."""
    told = re.search(
        r"Runtime:\D*(\d+)\s+(second|minute|hour)",
        nbformat.read(path, as_version=4).cells[0].source,
    )
    return int(told[1]) * {"second": 1, "minute": 60, "hour": 3600}[told[2]] if told else 0


def _typed(name, value, default, path):
    # papermill writes parameters into its output, so no address with a password may be one
    if "://" in str(value):
        raise UsageError(f"parameter {name!r} holds a URL; URLs come from the environment only")
    wanted = type(default)
    shown = repr(value)
    if isinstance(value, str) and wanted is not str:
        # it stays text, which is refused below
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    if wanted is float and type(value) is int:
        value = float(value)
    if default is not None and not _like(value, default):
        expected = f"{wanted.__name__} (default {default!r})"
        raise UsageError(f"parameter {name!r} of {path.name} must be {expected}, not {shown}")
    return value


def _like(value, default):
    """Whether ``value`` is of the default's type, finite if a number, and if a list of numbers
    holds such numbers too.
    """
    if isinstance(default, list) and default:
        return isinstance(value, list) and all(
            any(
                _like(float(one) if type(one) is int and type(known) is float else one, known)
                for known in default
            )
            for one in value
        )
    return type(value) is type(default) and not (
        isinstance(value, float) and not math.isfinite(value)
    )


def with_outputs(
    notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """``notebook`` with the outputs and execution counts of ``executed`` and nothing else of it.

    Pieces of one stream are joined (how a stream is cut depends on timing) and progress bars left
    out (tqdm's in notebooks, shown where the machine was slow, do not heed TQDM_DISABLE), so that a
    committed notebook changes only when its content does. TensorFlow's lines about processor and
    drivers are left out too: they are printed before any setting is read.
    """
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    written = nbformat.from_dict(notebook)
    executed = nbformat.from_dict(executed)
    for cell, ran in zip(written.cells, executed.cells, strict=True):
        cell.metadata.pop("execution", None)  # JupyterLab's timings
        if cell.cell_type == "code":
            cell.outputs = [one for one in ran.outputs if _WIDGET not in one.get("data", ())]
            cell.execution_count = ran.execution_count
            CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
            cell.outputs = [
                one for one in cell.outputs if one.get("name") != "stderr" or _without_start(one)
            ]
    written.metadata["language_info"] = {"name": "python"}
    return written


def _without_start(stream):
    """The text of ``stream``, from which what TensorFlow prints at its start is removed."""
    stream.text = "".join(
        line
        for line in stream.text.splitlines(keepends=True)
        if not _TENSORFLOW_STARTS.search(line)
    )
    return stream.text


def hygiene(notebook: nbformat.NotebookNode) -> list[str]:
    """What makes a notebook's outputs unfit to commit: errors, stderr, local paths, memory
    addresses, big pictures.
    """
    problems = []
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            body = json.dumps(output)
            if output.output_type == "error":
                problems.append(f"cell {index} holds an error ({output.ename})")
            if output.get("name") == "stderr":
                problems.append(
                    f"cell {index} holds stderr output "
                    f"({output.text.strip()[:80]!r}): fix what warns"
                )
            if any(place in body for place in _LOCAL if len(place) > 2) or re.search(
                r"/(home|Users)/\w", body
            ):
                problems.append(f"cell {index} output holds a local path: print names instead")
            if re.search(r"\bat 0x[0-9a-f]{6,}", body):
                problems.append(
                    f"cell {index} output holds a memory address, which differs from run to run"
                )
            size = len(output.get("data", {}).get("image/png", "")) * 3 // 4
            if size > PNG_BYTES:
                problems.append(
                    f"cell {index} picture has {size:,} bytes ({PNG_BYTES:,} at "
                    "most): lower its dpi"
                )
    return problems


def opening(path: Path) -> dict[str, str]:
    """What a notebook's first cell says: ``title``, ``chinese``, ``question``, ``runtime`` and
    ``summary`` (Chinese).

    The cell reads ``# 01 Preprocessing · 数据预处理``, then ``**Question.** …?``,
    ``Runtime: ….`` and ``**摘要。** …``. ValueError names what is missing.
    """
    text = nbformat.read(path, as_version=4).cells[0].source.replace("*", "")
    found = {
        "title": re.match(r"# (\d\d [^·\n]+) ·", text),
        "chinese": re.match(r"# [^·\n]+ · (.*[\u4e00-\u9fff].*)", text),
        "question": re.search(r"(?s)\bQuestion\.\s+(.+?\?)", text),
        "runtime": re.search(r"(?s)\bRuntime: (.+?)\.(?:\s|$)", text),
        "summary": re.search(r"(?s)摘要。\s*([^。？]+[。？])", text),
    }
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise ValueError(f"{Path(path).name}: the first cell gives no {', '.join(missing)}")
    return {name: re.sub(r"\s+", " ", match.group(1)).strip() for name, match in found.items()}


@dataclass(frozen=True)
class Answered:
    """A heading of the article, its English, and the ``cells`` that answer it: (notebook, index of
    the cell, heading in it).
    """

    heading: str
    english: str
    cells: tuple[tuple[Path, int, str], ...]


def article_answers(notebooks: Path = paths.NOTEBOOKS) -> list[Answered]:
    """Where each heading of the article is answered, by ``coverage.yaml`` beside the notebooks.

    ValueError for a heading without an answer, and for an answer that is not the heading of one
    markdown cell.
    """
    found = find(notebooks)
    headings = {}
    covered = []
    for number, path in found.items():
        for index, cell in enumerate(nbformat.read(path, as_version=4).cells):
            for title in (
                re.findall(r"(?m)^##+ (.+?)\s*$", cell.source)
                if cell.cell_type == "markdown"
                else ()
            ):
                headings.setdefault(f"{number} {title}", []).append((path, index, title))
    for entry in (
        yaml.safe_load((Path(notebooks) / "coverage.yaml").read_text(encoding="utf-8")) or ()
    ):
        if not entry["cells"]:
            raise ValueError(f"coverage.yaml: no cell answers {entry['heading']!r}")
        for cell in entry["cells"]:
            places = len(headings.get(cell, ()))
            if places != 1:
                raise ValueError(
                    f"coverage.yaml: {cell!r}, under {entry['heading']!r}, heads {places} cells; "
                    "it must be one"
                )
        covered.append(
            Answered(
                entry["heading"],
                entry["english"],
                tuple(headings[cell][0] for cell in entry["cells"]),
            )
        )
    return covered


_TENSORFLOW_STARTS = re.compile(
    r"All log messages before absl::InitializeLog|oneDNN custom operations are on"
    r"|Could not find cuda drivers|failed call to cuInit"
)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}"""
_MATH = re.compile(
    r"\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)", re.DOTALL
)


def notebook_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """A page of ``notebook`` that needs no network: nothing is loaded from elsewhere.

    Formulas are drawn by matplotlib's mathtext; one that it cannot draw (``\\begin{aligned}``)
    stays TeX source, and a Mermaid diagram stays its source (JupyterLab and forges draw it).
    """
    from bs4 import BeautifulSoup
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"offline.html.j2": _TEMPLATE})], template_file="offline.html.j2"
    )
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    soup = BeautifulSoup(page, "html.parser")
    for area in soup.select(".jp-RenderedMarkdown, .jp-RenderedLatex, .jp-RenderedHTMLCommon"):
        for node in area.find_all(string=_MATH):
            if not node.find_parent(["code", "pre", "script", "style"]):
                drawn = _MATH.sub(_formula, html.escape(node, quote=False))
                node.replace_with(BeautifulSoup(drawn, "html.parser"))
    return str(soup)


def _formula(match):
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    tex = " ".join(
        html.unescape(match["block"] or match["inline"]).replace("\\displaystyle", "").split()
    )
    picture = io.BytesIO()
    try:
        depth = math_to_image(f"${tex}$", picture, prop=FontProperties(size=11), format="svg")
    except ValueError:  # outside mathtext's subset of TeX: the source says it too
        return match.group()
    style = "display:block;margin:auto" if match["block"] else f"vertical-align:-{depth}pt"
    data = base64.b64encode(picture.getvalue()).decode()
    return f'<img style="{style}" alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{data}"/>'
