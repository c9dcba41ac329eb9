"""Notebook files: what a run of them asks for, outputs that are fit to commit, and a page that reads offline."""

import ast
import base64
import contextlib
import hashlib
import html
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat
import yaml

from causal_lib import paths

PNG_BYTES = 100_000
"""Largest picture a committed notebook may hold."""

_LOCAL = {
    f"{place}/"
    for place in (paths.ROOT, paths.ROOT.parent, Path.home(), tempfile.gettempdir(), sys.prefix)
    if len(str(place)) > 1
}


class UsageError(ValueError):
    """A request that cannot be run (unknown notebook or parameter, wrong type); raised before anything runs."""


def find(notebooks: Path = paths.NOTEBOOKS) -> dict[str, Path]:
    """The notebooks ``NN_name.ipynb`` in a folder, by number; UsageError if there are none or a number stands twice."""
    found = sorted(Path(notebooks).glob("[0-9][0-9]_*.ipynb"))
    by_number = {path.name[:2]: path for path in found}
    if not found:
        raise UsageError(f"no notebook NN_name.ipynb in {notebooks}")
    if len(by_number) < len(found):
        raise UsageError(f"two notebooks share a number: {', '.join(path.name for path in found)}")
    return by_number


def defaults(path: Path) -> dict[str, object]:
    """Names and default values of the cell tagged ``parameters``; UsageError if it is not one cell of literals."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise UsageError(f"{Path(path).name}: {len(cells)} cells are tagged `parameters`; exactly one is needed")
    values = {}
    for node in ast.parse(cells[0].source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        try:
            values[target.id] = ast.literal_eval(node.value)
            json.dumps(values[target.id])  # a run writes its parameters down
        except (AttributeError, TypeError, ValueError):
            raise UsageError(
                f"{Path(path).name}: line {node.lineno} of the parameters cell is not `name = literal` (JSON types)"
            ) from None
    return values


@dataclass(frozen=True)
class Job:
    """One notebook of a plan: its effective ``parameters``, those ``changed`` from the defaults, what it ``needs``.

    ``clean`` says that neither it nor a selected notebook that it needs has a changed parameter; ``source`` is a
    digest of the code, by which a resumed run sees that a finished notebook was edited since.
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
    """The jobs of a run in an order that respects what they need.

    Parameters
    ----------
    numbers : two-digit numbers; none means every notebook.
    given : parameter -> value, or its text as typed; goes to every selected notebook that declares it.
    profile : "quick" (defaults) or "full" (overrides of ``full.yaml`` beside the notebooks; ``given`` wins over it).
    results : folder with the results of notebooks that are needed but not selected.

    Raises
    ------
    UsageError
        for an unknown notebook, parameter or profile, a wrong type, or a need that cannot be met.
    """
    found = find(notebooks)
    selected = [str(n).zfill(2) for n in numbers] or list(found)
    unknown = [n for n in selected if n not in found]
    if unknown:
        raise UsageError(f"unknown notebook {', '.join(unknown)}; known: {', '.join(p.stem for p in found.values())}")
    if profile not in ("quick", "full"):
        raise UsageError(f"unknown profile {profile!r}; known: quick, full")
    declared = {number: defaults(path) for number, path in found.items()}
    chosen = _overrides(Path(notebooks) / "full.yaml", declared) if profile == "full" else {}
    given = dict(given or {})
    known = {name for number in selected for name in declared[number]}
    for name in given:
        if name not in known:
            where = {n: [k for k in sorted(set(selected)) if n in declared[k]] for n in sorted(known)}
            listed = ", ".join(f"{n} ({' '.join(numbers)})" for n, numbers in where.items()) or "none"
            raise UsageError(f"unknown parameter {name!r}; the selected notebooks declare: {listed}")
    needs = {number: _needs(found[number], found, selected, results) for number in dict.fromkeys(selected)}
    try:
        order = list(TopologicalSorter({n: [k for k in needs[n] if k in needs] for n in needs}).static_order())
    except CycleError as error:
        raise UsageError(f"notebooks need each other in a circle: {' -> '.join(error.args[1])}") from None
    jobs = {}
    for number in order:
        own = {name: value for name, value in given.items() if name in declared[number]}
        asked = {**chosen.get(number, {}), **own}
        values = {name: _typed(name, value, declared[number][name], found[number]) for name, value in asked.items()}
        changed = {name: value for name, value in values.items() if value != declared[number][name]}
        jobs[number] = Job(
            number=number,
            path=found[number],
            parameters={**declared[number], **values},
            changed=changed,
            needs=needs[number],
            clean=not changed and all(jobs[k].clean for k in needs[number] if k in jobs),
            source=_digest(found[number]),
        )
    return list(jobs.values())


def _overrides(path, declared):
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    overrides = {str(number).zfill(2): dict(values or {}) for number, values in (content or {}).items()}
    for number, values in overrides.items():
        if number not in declared:
            raise UsageError(f"{path.name}: unknown notebook {number}; known: {', '.join(declared)}")
        for name in values:
            if name not in declared[number]:
                raise UsageError(
                    f"{path.name}: notebook {number} declares no {name!r}; known: {', '.join(declared[number])}"
                )
    return overrides


def _needs(path, found, selected, results):
    needs = tuple(nbformat.read(path, as_version=4).metadata.get("causal_lib", {}).get("needs", ()))
    for number in needs:
        if number not in found:
            raise UsageError(f"{path.name} needs notebook {number}, which does not exist; known: {', '.join(found)}")
        if number not in selected and not (results and (results / f"{number}.json").exists()):
            raise UsageError(f"{path.name} needs the results of notebook {number}: run {number} too")
    return needs


def _typed(name, value, default, path):
    if "://" in str(value):  # papermill writes parameters into its output, so no address with a password may be one
        raise UsageError(f"parameter {name!r} holds a URL; URLs come from the environment only")
    wanted, shown = type(default), repr(value)
    if isinstance(value, str) and wanted is not str:
        with contextlib.suppress(ValueError, SyntaxError):  # it stays text, which is refused below
            value = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    if wanted is float and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not wanted:
        raise UsageError(
            f"parameter {name!r} of {path.name} must be {wanted.__name__} (default {default!r}), not {shown}"
        )
    return value


def _digest(path):
    cells = [(c.cell_type, c.source) for c in nbformat.read(path, as_version=4).cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def with_outputs(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """``notebook`` with the outputs and execution counts of ``executed`` and nothing else of it.

    No papermill metadata, timings or interpreter versions come along, and pieces of one stream are joined (how a
    stream is cut depends on timing), so that a committed notebook changes only when its content does.
    """
    cells = []
    for cell, ran in zip(notebook.cells, executed.cells, strict=True):
        cell = nbformat.from_dict(cell)
        for noise in ("execution", "papermill", "ExecuteTime"):
            cell.metadata.pop(noise, None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = _joined(ran.outputs), ran.execution_count
        cells.append(cell)
    metadata = {k: v for k, v in notebook.metadata.items() if k not in ("papermill", "widgets")}
    metadata["language_info"] = {"name": "python"}
    return nbformat.from_dict({**notebook, "metadata": metadata, "cells": cells})


def _joined(outputs):
    joined = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1] = nbformat.from_dict({**joined[-1], "text": joined[-1].text + output.text})
        else:
            joined.append(output)
    return joined


def hygiene(notebook: nbformat.NotebookNode) -> list[str]:
    """What makes a notebook's outputs unfit to commit: errors, stderr, local paths, memory addresses, big pictures."""
    problems = []
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            body = json.dumps(output)
            if output.output_type == "error":
                problems.append(f"cell {index} holds an error ({output.ename})")
            if output.get("name") == "stderr":
                problems.append(f"cell {index} holds stderr output ({output.text.strip()[:80]!r}): fix what warns")
            if any(place in body for place in _LOCAL) or re.search(r"/(home|Users)/\w", body):
                problems.append(f"cell {index} output holds a local path: print names instead")
            if re.search(r"\bat 0x[0-9a-f]{6,}", body):
                problems.append(f"cell {index} output holds a memory address, which differs from run to run")
            size = len(output.get("data", {}).get("image/png", "")) * 3 // 4
            if size > PNG_BYTES:
                problems.append(f"cell {index} picture has {size:,} bytes ({PNG_BYTES:,} at most): lower its dpi")
    return problems


def opening(path: Path) -> dict[str, str]:
    """What a notebook's first cell says: ``title``, ``chinese``, ``question``, ``runtime`` and ``summary`` (Chinese).

    The cell reads ``# 01 Preprocessing · 数据预处理``, then ``**Question.** …?``, ``Runtime: ….`` and ``**摘要。** …``.
    ValueError names what is missing.
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


_TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}"""
_MATH = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)", re.DOTALL)


def notebook_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """A page of ``notebook`` that needs no network: nothing is loaded from elsewhere.

    Formulas are drawn by matplotlib's mathtext; one that it cannot draw (``\\begin{aligned}``) stays TeX source, and a
    Mermaid diagram stays its source (JupyterLab and forges draw it).
    """
    from bs4 import BeautifulSoup
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(extra_loaders=[DictLoader({"offline.html.j2": _TEMPLATE})], template_file="offline.html.j2")
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    soup = BeautifulSoup(page, "html.parser")
    for area in soup.select(".jp-RenderedMarkdown, .jp-RenderedLatex, .jp-RenderedHTMLCommon"):
        for node in area.find_all(string=_MATH):
            if not node.find_parent(["code", "pre", "script", "style"]):
                node.replace_with(BeautifulSoup(_drawn(str(node)), "html.parser"))
    return str(soup)


def _drawn(text):
    pieces, end = [], 0
    for match in _MATH.finditer(text):
        pieces += [html.escape(text[end : match.start()]), _formula(match)]
        end = match.end()
    return "".join([*pieces, html.escape(text[end:])])


def _formula(match):
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    tex = " ".join((match["block"] or match["inline"]).replace("\\displaystyle", "").split())
    picture = io.BytesIO()
    try:
        depth = math_to_image(f"${tex}$", picture, prop=FontProperties(size=11), format="svg")
    except ValueError:  # outside mathtext's subset of TeX: the source says it too
        return html.escape(match.group())
    style = "display:block;margin:auto" if match["block"] else f"vertical-align:-{depth}pt"
    data = base64.b64encode(picture.getvalue()).decode()
    return f'<img style="{style}" alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{data}"/>'
