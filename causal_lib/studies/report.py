"""The report of a study: one page without a network, the same as Markdown, JSON, and the rule."""

import json
from pathlib import Path

from causal_lib import paths
from causal_lib.reasons import Reason
from causal_lib.studies.pictures import pictures
from causal_lib.studies.templates import render, word

_JUDGED = ("identify", "effect", "sensitivity", "gains", "rule")  # steps with a verdict to show
_SHOWN = 12  # rows of a table on the page; results.json holds all
_WORDED = ("read as", "for", "verdict", "policy")  # columns of tables that hold words, not names


def write_report(study, folder: str | Path, language: str = "en") -> Path:
    """Write report.html, report.md, results.json, roles.toml, and rule.py and rule.sql where a rule
    is recommended; the path of the page.
    """
    folder = Path(folder)
    text = json.dumps(study.to_dict(), ensure_ascii=False, indent=1)
    paths.write_text(folder / "results.json", text + "\n")
    study.roles.write(folder / "roles_used.toml")
    rule = study.steps["rule"].facts
    for name, kind in (("rule.py", "python"), ("rule.sql", "sql")):
        if kind in rule:
            paths.write_text(folder / name, rule[kind])
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier run with another answer
    paths.write_text(folder / "report.md", markdown(study, language))
    return paths.write_text(folder / "report.html", html(study, language))


def html(study, language: str = "en", *, whole: bool = True) -> str:
    """The page; without ``whole`` only its body, for a notebook."""
    name = "report.html.j2" if whole else "summary.html.j2"
    return render(name, **_values(study, language))


def markdown(study, language: str = "en") -> str:
    """The report as Markdown, without pictures."""
    return render("report.md.j2", **_values(study, language))


def _values(study, language):
    """What the templates ask for."""
    return {
        "study": study,
        "language": language,
        "conclusion": study.conclusion(language),
        "steps": study.steps,
        "pictures": pictures(study, language),
        "shown": _SHOWN,
        "judged": _JUDGED,
        "cell": cell,
        "table_cell": table_cell,
        "heading": lambda text: word(text, language),
        "rows_of": lambda rows: [
            [_local(name, value, language) for name, value in row.items()] for row in rows[:_SHOWN]
        ],
    }


def _local(name, value, language):
    """A cell of the column ``name``: words and sentences in ``language``, names as they are."""
    if isinstance(value, Reason):
        return value.in_language(language)
    return word(value, language) if name in _WORDED else value


def cell(value) -> str:
    """A value of a table as text."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table_cell(value) -> str:
    """`cell` inside a table of Markdown, where a bar, a line's end and a tag would be markup."""
    text = cell(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return text.replace("<", "&lt;").replace("`", "\\`").replace("[", "\\[")
